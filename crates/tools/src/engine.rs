//! The engine that a command runs batches with.

use std::fmt;
use std::path::PathBuf;

use zkevm_pool::{CancelToken, Cancelled, WorkerPool};
use zkevm_processor::Engine;
use zkevm_rom::{ProfileEntry, RomEngine, Roms, RomsError};
use zkevm_store::{MemoryStore, RequestOverlay};
use zkevm_testkit::vectors::Vector;
use zkevm_tree::StateReader;
use zkevm_types::{BatchInput, BatchOutput};

use crate::table::Table;

/// Parts of a ROM that are listed by name.
const PARTS_SHOWN: usize = 40;

/// Arguments that choose the engine.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct EngineArgs {
    /// What runs the batches: the native engine, or the machine that runs the ROM of their fork (docs/engines.md).
    #[arg(long = "engine", value_name = "NAME", value_enum, default_value_t)]
    pub kind: EngineKind,
    /// Folder with the ROM files, named as in the prover's image.
    #[arg(long, value_name = "DIR", required_if_eq("kind", "rom"))]
    pub rom_dir: Option<PathBuf>,
}

/// Values of `--engine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum EngineKind {
    /// The native engine: its counters are bounds.
    #[default]
    Native,
    /// The machine: its counters are those of the prover.
    Rom,
}

impl EngineArgs {
    /// Makes the engine; reads the ROM files if there are to be any.
    pub fn open(&self) -> Result<CommandEngine, RomsError> {
        match (self.kind, &self.rom_dir) {
            (EngineKind::Rom, Some(folder)) => {
                Ok(CommandEngine::Rom(RomEngine::new(Roms::read(folder)?, WorkerPool::none())))
            }
            _ => Ok(CommandEngine::Native(Engine::default())),
        }
    }
}

/// One of the two engines.
#[derive(Clone, Debug)]
pub enum CommandEngine {
    /// The native engine.
    Native(Engine),
    /// The machine.
    Rom(RomEngine),
}

impl CommandEngine {
    /// True if counters are those of the prover, not bounds.
    pub fn is_exact(&self) -> bool {
        matches!(self, Self::Rom(_))
    }

    /// Executes a batch over a state.
    pub fn process(&self, input: &BatchInput, state: &dyn StateReader) -> Result<BatchOutput, Cancelled> {
        let cancel = CancelToken::default();
        match self {
            Self::Native(engine) => engine.process(input, state, &cancel),
            Self::Rom(engine) => engine.process(input, state, &cancel),
        }
    }

    /// Executes the batch of a file over the state the file brings.
    pub fn process_vector(&self, vector: &Vector) -> Result<BatchOutput, Cancelled> {
        let nothing = MemoryStore::new(0);
        let input = &vector.input;
        let state = RequestOverlay { base: &nothing, nodes: &input.db, programs: &input.contracts_bytecode };
        self.process(input, &state)
    }

    /// Executes the batch of a file as [`Self::process_vector`] does, and says where the steps of the ROM go; nothing of the native
    /// engine.
    pub fn profile_vector(&self, vector: &Vector) -> Result<(BatchOutput, Vec<ProfilePart>), Cancelled> {
        let nothing = MemoryStore::new(0);
        let input = &vector.input;
        let state = RequestOverlay { base: &nothing, nodes: &input.db, programs: &input.contracts_bytecode };
        if let Self::Rom(engine) = self
            && let Some(program) = engine.roms().program(input.fork_id.get())
            && let Some((output, profile)) = engine.process_profiled(input, &state, &CancelToken::default())?
        {
            let part = |by, entries| ProfilePart { by, steps: profile.steps(), entries };
            let parts = vec![part("file", profile.by_file(program)), part("label", profile.by_label(program))];
            return Ok((output, parts));
        }
        Ok((self.process(input, &state)?, Vec::new()))
    }
}

/// Steps of a ROM, by one way to name its parts.
#[derive(Clone, Debug)]
pub struct ProfilePart {
    /// What the parts are.
    pub by: &'static str,
    /// All steps.
    pub steps: u64,
    /// The parts, most steps first.
    pub entries: Vec<ProfileEntry>,
}

impl fmt::Display for ProfilePart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&[self.by, "steps", "percent"]);
        for ProfileEntry { name, steps } in self.entries.iter().take(PARTS_SHOWN) {
            let percent = 100.0 * *steps as f64 / self.steps.max(1) as f64;
            table.row(vec![name.clone(), steps.to_string(), format!("{percent:.2}")]);
        }
        let rest: u64 = self.entries.iter().skip(PARTS_SHOWN).map(|entry| entry.steps).sum();
        if rest > 0 {
            let percent = 100.0 * rest as f64 / self.steps.max(1) as f64;
            table.row(vec!["others".to_owned(), rest.to_string(), format!("{percent:.2}")]);
        }
        write!(f, "{table}")
    }
}
