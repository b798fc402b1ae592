//! Which engine answers a batch: the native one, or the machine that runs the ROM of its fork.
//!
//! Decides: when the machine is asked, and whose answer goes out. Must not know: how either of them works.

mod compare;

pub use compare::differences;

use std::path::Path;

use zkevm_batch::SenderCache;
use zkevm_pool::{CancelToken, Cancelled, WorkerPool};
use zkevm_processor::{Engine, PrefixCache};
use zkevm_recovery::Recoverer;
use zkevm_rom::{Program, RomEngine, Roms, RomsError};
use zkevm_tree::StateReader;
use zkevm_types::{BatchInput, BatchOutput, Counters, ExecutorError};

use crate::actors::BatchEngine;
use crate::config::{EngineKind, EngineOptions, Exact};

/// Percent of a ROM's limits at which a bound of the native engine counts as near. The bound includes what the ROM's checks
/// want free, in the forks where that is known; what is left is for what it does not know.
const NEAR_PERCENT: u64 = 80;

/// The same where it is not known what the ROM's checks want free.
const NEAR_PERCENT_UNRESERVED: u64 = 60;

/// The engines of a server.
#[derive(Clone, Debug)]
pub struct Engines {
    native: Engine,
    rom: Option<RomEngine>,
    kind: EngineKind,
    exact: Exact,
}

/// The reason why there is no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The ROM files cannot be used.
    #[error("engine.rom_dir: {0}")]
    Roms(#[from] RomsError),
    /// What is asked for needs ROM files.
    #[error("{0} needs ROM files: set engine.rom_dir (docs/engines.md)")]
    NoFolder(&'static str),
}

impl Engines {
    /// Makes the engines that the settings ask for; reads the ROM files. `helpers` threads help running batches, and
    /// `recoverer` recovers their senders. The native engine remembers batches in `prefixes`.
    pub fn open(
        options: &EngineOptions,
        helpers: usize,
        recoverer: Recoverer,
        prefixes: PrefixCache,
    ) -> Result<Self, EngineError> {
        let EngineOptions { kind, rom_dir, exact, intrinsics } = options;
        let pool = WorkerPool::new(helpers);
        let rom = match rom_dir {
            Some(folder) => Some(RomEngine::new(read_roms(folder)?, pool.clone()).with_intrinsics(*intrinsics)),
            None => None,
        };
        match (kind, exact) {
            _ if rom.is_some() => {}
            (EngineKind::Rom, _) => return Err(EngineError::NoFolder("engine.kind = \"rom\"")),
            (EngineKind::Both, _) => return Err(EngineError::NoFolder("engine.kind = \"both\"")),
            (EngineKind::Native, Exact::Always) => return Err(EngineError::NoFolder("engine.exact = \"always\"")),
            (EngineKind::Native, Exact::Never | Exact::NearLimit) => {}
        }
        let native = Engine::new(pool).with_senders(SenderCache::with_recoverer(recoverer)).with_prefixes(prefixes);
        Ok(Self { native, rom, kind: *kind, exact: *exact })
    }

    /// Runs both engines; the machine's answer goes out, with the fields in which the other one differs.
    fn both(
        &self,
        rom: &RomEngine,
        input: &BatchInput,
        state: &dyn StateReader,
        cancel: &CancelToken,
    ) -> Result<BatchOutput, Cancelled> {
        let native = self.native.process(input, state, cancel)?;
        let mut exact = rom.process(input, state, cancel)?;
        exact.engine.differences = differences(&native, &exact, input.fork_id.rules());
        Ok(exact)
    }

    /// Runs the native engine, and the machine if a counter could have reached a limit.
    fn near_limit(
        &self,
        rom: &RomEngine,
        program: &Program,
        input: &BatchInput,
        state: &dyn StateReader,
        cancel: &CancelToken,
    ) -> Result<BatchOutput, Cancelled> {
        let native = self.native.process(input, state, cancel)?;
        if could_reach_limit(input, &native, program) { rom.process(input, state, cancel) } else { Ok(native) }
    }
}

impl BatchEngine for Engines {
    fn process(
        &self,
        input: &BatchInput,
        state: &dyn StateReader,
        cancel: &CancelToken,
    ) -> Result<BatchOutput, Cancelled> {
        let native = || self.native.process(input, state, cancel);
        let Some(rom) = &self.rom else { return native() };
        if self.kind == EngineKind::Rom {
            return rom.process(input, state, cancel);
        }
        let Some(program) = rom.roms().program(input.fork_id.get()) else { return native() };
        match (self.kind, self.exact) {
            (EngineKind::Both, _) => self.both(rom, input, state, cancel),
            (_, Exact::Always) => rom.process(input, state, cancel),
            (_, Exact::NearLimit) => self.near_limit(rom, program, input, state, cancel),
            (_, Exact::Never) => native(),
        }
    }
}

/// True if the batch ran out of counters by the native engine's own judgement, or if one of its bounds is near a limit.
fn could_reach_limit(input: &BatchInput, output: &BatchOutput, program: &Program) -> bool {
    if output.error == ExecutorError::CountersOverflowSteps || compare::ran_out(output) {
        return true;
    }
    let rules = input.fork_id.rules();
    if rules.contexts_max.is_some_and(|max| output.engine.contexts > max) {
        return true;
    }
    let bound = output.counters.max(output.reserved);
    let percent = if output.reserved == output.counters { NEAR_PERCENT_UNRESERVED } else { NEAR_PERCENT };
    let mut limits = program.planned_limits();
    if input.no_counters {
        // Nothing is counted, and there are more steps; what one check asks for alone has the limits of all.
        limits.steps = rules.uncounted_steps_max;
    }
    is_near(bound, limits, percent)
}

/// True if a counter has so many percent of its limit.
fn is_near(counters: Counters, limits: Counters, percent: u64) -> bool {
    let pairs = counters.to_array().into_iter().zip(limits.to_array());
    // A ROM without a limit for a counter has no check of it.
    pairs
        .into_iter()
        .any(|(value, limit)| limit > 0 && u128::from(value) * 100 >= u128::from(limit) * u128::from(percent))
}

fn read_roms(folder: &Path) -> Result<Roms, RomsError> {
    let roms = Roms::read(folder)?;
    for (fork, rom) in roms.iter() {
        let (lines, file) = (rom.program.line_count(), rom.file.display());
        tracing::info!(fork, lines, %file, "ROM loaded");
        if !rom.unknown_fields.is_empty() {
            tracing::warn!(fork, %file, fields = rom.unknown_fields.join(", "), "the ROM has fields that are not known");
        }
    }
    Ok(roms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_near_from_its_share_of_the_limit_on() {
        let limits = Counters { steps: 1000, keccaks: 50, ..Counters::default() };
        let near = |counters| is_near(counters, limits, 80);
        assert!(!near(Counters { steps: 799, keccaks: 39, sha256s: 1 << 40, ..Counters::default() }));
        assert!(near(Counters { steps: 800, ..Counters::default() }));
        assert!(near(Counters { keccaks: 40, ..Counters::default() }));
        assert!(near(Counters { steps: u64::MAX, ..Counters::default() }));
    }

    #[test]
    fn what_needs_roms_is_refused_without() {
        let options = |kind, exact| EngineOptions { kind, rom_dir: None, exact, intrinsics: true };
        for exact in [Exact::Never, Exact::NearLimit] {
            assert!(
                Engines::open(&options(EngineKind::Native, exact), 0, Recoverer::single(), PrefixCache::default())
                    .is_ok()
            );
        }
        for (kind, exact, name) in [
            (EngineKind::Rom, Exact::NearLimit, "engine.kind = \"rom\""),
            (EngineKind::Both, Exact::Never, "engine.kind = \"both\""),
            (EngineKind::Native, Exact::Always, "engine.exact = \"always\""),
        ] {
            let error = Engines::open(&options(kind, exact), 0, Recoverer::single(), PrefixCache::default())
                .unwrap_err()
                .to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_folder_without_roms_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let options = EngineOptions {
            kind: EngineKind::Native,
            rom_dir: Some(folder.path().to_path_buf()),
            exact: Exact::NearLimit,
            intrinsics: true,
        };
        assert!(
            Engines::open(&options, 0, Recoverer::single(), PrefixCache::default())
                .unwrap_err()
                .to_string()
                .contains("holds no ROM")
        );
        std::fs::write(folder.path().join("rom_9.json"), "{\"program\":").unwrap();
        let error = Engines::open(&options, 0, Recoverer::single(), PrefixCache::default()).unwrap_err().to_string();
        assert!(error.contains("rom_9.json is no ROM of fork 9"), "{error}");
    }
}
