//! `process FILE…`: executes executor-input files, and dumps of stateless requests, and prints what came out.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use revm::primitives::B256;
use serde_json::{Value, json};

use zkevm_store::{NoState, RequestOverlay};
use zkevm_testkit::vectors::{Vector, VectorError};
use zkevm_tools::engine::{CommandEngine, EngineArgs, ProfilePart};
use zkevm_types::{BatchInput, BatchOutput, BatchRoots, Counters, ExecutorError, RomError, TxOutput};
use zkevm_wire::stateless::read_stream;
use zkevm_wire::validate::{self, ValidationRules};

use super::payload;

/// Arguments of `process`.
#[derive(Debug, clap::Args)]
pub struct ProcessArgs {
    /// executor-input JSON files, or payload_*.json dumps of cdk-erigon, each executed by itself.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Print one JSON object per file instead of text.
    #[arg(long)]
    pub json: bool,
    /// Largest block gas limit of a dump, 0 for that of its fork: the server's executor.block_gas_limit_max.
    #[arg(long, value_name = "GAS", default_value_t = 0, env = "ZKEVM_BLOCK_GAS_LIMIT_MAX")]
    pub block_gas_limit_max: u64,
    /// What executes them.
    #[command(flatten)]
    pub engine: EngineArgs,
    /// Print where the steps of the ROM go: by file of its sources and by label.
    #[arg(long, requires = "rom_dir")]
    pub profile: bool,
}

/// The reason why `process` fails.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// A file cannot be read.
    #[error(transparent)]
    Vector(#[from] VectorError),
    /// A dump holds a request that is refused.
    #[error("the request is refused: {}", .0.name())]
    Refused(ExecutorError),
    /// Somebody stopped the batch.
    #[error(transparent)]
    Cancelled(#[from] zkevm_pool::Cancelled),
    /// Standard output takes no more.
    #[error("standard output: {0}")]
    Output(#[from] io::Error),
    /// Files that could not be read, and batches that were aborted.
    #[error("{0} of the files have no result")]
    NoResult(usize),
}

/// Executes the files in order. Fails if a file cannot be read or a batch is aborted, after all files.
pub fn run(args: &ProcessArgs) -> Result<(), Box<dyn std::error::Error>> {
    let engine = args.engine.open()?;
    let mut failed = 0;
    for file in &args.files {
        match execute(file, &engine, args) {
            Ok(report) => {
                failed += usize::from(report.output.roots.is_none());
                let text = if args.json { format!("{}\n", report.to_json()) } else { report.to_string() };
                match io::stdout().write_all(text.as_bytes()) {
                    // Whoever reads it has seen enough.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                    written => written.map_err(ProcessError::Output)?,
                }
            }
            Err(error) => {
                failed += 1;
                eprintln!("{}: {error}", file.display());
            }
        }
    }
    if failed > 0 { Err(ProcessError::NoResult(failed).into()) } else { Ok(()) }
}

struct Report<'a> {
    file: &'a Path,
    input: BatchInput,
    /// The roots that the file names.
    expected: Option<BatchRoots>,
    /// The roots that the stream of a dump names, one a block: those the node came to.
    stream_roots: Vec<B256>,
    output: BatchOutput,
    elapsed: Duration,
    /// Parts of the ROM, if they were asked for.
    parts: Vec<ProfilePart>,
}

fn execute<'a>(file: &'a Path, engine: &CommandEngine, args: &ProcessArgs) -> Result<Report<'a>, ProcessError> {
    let text = std::fs::read(file)
        .map_err(|source| ProcessError::Vector(VectorError::Read { path: file.to_path_buf(), source }))?;
    if let Some(request) = payload::read(&text) {
        let stream_roots = read_stream(&request.data_stream).map(|stream| stream.block_roots).unwrap_or_default();
        let mut rules = ValidationRules::default();
        if args.block_gas_limit_max != 0 {
            rules.block_gas_limit_max = args.block_gas_limit_max;
        }
        let input = validate::process_stateless_batch_v2(request, rules).map_err(ProcessError::Refused)?;
        let state = RequestOverlay { base: &NoState, nodes: &input.db, programs: &input.contracts_bytecode };
        let start = Instant::now();
        let output = engine.process(&input, &state)?;
        let elapsed = start.elapsed();
        return Ok(Report { file, elapsed, input, expected: None, stream_roots, output, parts: Vec::new() });
    }
    let vector = Vector::read(file)?;
    let start = Instant::now();
    let (output, parts) = match args.profile {
        true => engine.profile_vector(&vector)?,
        false => (engine.process_vector(&vector)?, Vec::new()),
    };
    let elapsed = start.elapsed();
    let expected = BatchRoots {
        new_state_root: vector.expected.new_state_root,
        new_acc_input_hash: vector.expected.new_acc_input_hash,
        new_local_exit_root: vector.expected.new_local_exit_root,
    };
    let stream_roots = Vec::new();
    Ok(Report { file, elapsed, input: vector.input, expected: Some(expected), stream_roots, output, parts })
}

impl Report<'_> {
    fn transactions(&self) -> impl Iterator<Item = (Option<u64>, &TxOutput)> {
        let in_blocks = self.output.blocks.iter();
        let v2 = in_blocks.flat_map(|block| block.transactions.iter().map(move |tx| (Some(block.block_number), tx)));
        self.output.transactions.iter().map(|tx| (None, tx)).chain(v2)
    }

    /// True if the batch came to the roots that the file names, `None` if it names none.
    fn matches_file(&self) -> Option<bool> {
        let Self { expected, stream_roots, output, .. } = self;
        match expected {
            Some(expected) => Some(output.roots == Some(*expected)),
            None if stream_roots.is_empty() => None,
            None => Some(output.blocks.iter().map(|block| &block.block_hash).eq(stream_roots)),
        }
    }

    /// Returns the first block with another root than the stream's, and that root.
    fn first_different_block(&self) -> Option<(u64, B256)> {
        let mut blocks = self.output.blocks.iter().zip(&self.stream_roots);
        let (block, root) = blocks.find(|(block, root)| block.block_hash != **root)?;
        Some((block.block_number, *root))
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { output, input, elapsed, .. } = self;
        writeln!(f, "{}", self.file.display())?;
        writeln!(f, "  fork id                {}", input.fork_id)?;
        writeln!(f, "  error                  {}", output.error.name())?;
        if output.error_rom != RomError::NoError {
            writeln!(f, "  batch error            {}", output.error_rom.name())?;
        }
        if !output.error_log.is_empty() {
            writeln!(f, "  error log              {}", output.error_log)?;
        }
        writeln!(f, "  old state root         {}", input.old_state_root)?;
        if let Some(roots) = output.roots {
            writeln!(f, "  new state root         {}", roots.new_state_root)?;
            writeln!(f, "  new acc input hash     {}", roots.new_acc_input_hash)?;
            writeln!(f, "  new local exit root    {}", roots.new_local_exit_root)?;
            match (self.matches_file(), self.first_different_block()) {
                (Some(false), Some((block, root))) => {
                    writeln!(f, "  as the file expects    no: from block {block} on, where it names {root}")?;
                }
                (Some(matches), _) => writeln!(f, "  as the file expects    {}", if matches { "yes" } else { "no" })?,
                (None, _) => {}
            }
        }
        writeln!(f, "  gas used               {}", output.gas_used)?;
        let names = ["steps", "arithmetics", "binaries", "mem-aligns", "keccaks", "paddings", "Poseidons", "SHA-256"];
        let counted = names.into_iter().zip(output.counters.to_array());
        let counted: Vec<String> = counted.map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(f, "  zk counters            {}", counted.join(", "))?;
        writeln!(f, "  transactions           {}", self.transactions().count())?;
        for (block, tx) in self.transactions() {
            let block = block.map(|number| format!("block {number} ")).unwrap_or_default();
            writeln!(f, "    {block}{} gas {:>9} {} root {}", tx.tx_hash, tx.gas_used, tx.error.name(), tx.state_root)?;
        }
        writeln!(f, "  time                   {}", in_ms(*elapsed))?;
        for (name, time) in self.phases() {
            writeln!(f, "    {name:<20} {}", in_ms(time))?;
        }
        for part in &self.parts {
            writeln!(f, "{part}")?;
        }
        Ok(())
    }
}

impl Report<'_> {
    fn phases(&self) -> [(&'static str, Duration); 4] {
        let phases = self.output.phases;
        [("decode", phases.decode), ("recover", phases.recover), ("evm", phases.evm), ("tree", phases.tree)]
    }

    fn to_json(&self) -> Value {
        let Self { output, input, .. } = self;
        let hash = |pick: fn(&BatchRoots) -> revm::primitives::B256| output.roots.as_ref().map(pick);
        json!({
            "file": self.file,
            "forkID": input.fork_id.get(),
            "error": output.error.name(),
            "errorRom": output.error_rom.name(),
            "errorLog": output.error_log,
            "invalidBatch": output.invalid_batch,
            "oldStateRoot": input.old_state_root.to_string(),
            "newStateRoot": hash(|roots| roots.new_state_root).map(|hash| hash.to_string()),
            "newAccInputHash": hash(|roots| roots.new_acc_input_hash).map(|hash| hash.to_string()),
            "newLocalExitRoot": hash(|roots| roots.new_local_exit_root).map(|hash| hash.to_string()),
            "matchesFile": self.matches_file(),
            "gasUsed": output.gas_used,
            "engine": output.engine.answered_by.name(),
            "counters": counters_json(&output.counters),
            "reserved": counters_json(&output.reserved),
            "transactions": self.transactions().map(|(block, tx)| json!({
                "block": block,
                "txHash": tx.tx_hash.to_string(),
                "gasUsed": tx.gas_used,
                "error": tx.error.name(),
                "status": tx.status,
                "logs": tx.logs.len(),
                "stateRoot": tx.state_root.to_string(),
            })).collect::<Vec<_>>(),
            "timeMs": self.elapsed.as_secs_f64() * 1e3,
            "phasesMs": self.phases().map(|(name, time)| (name.to_owned(), json!(time.as_secs_f64() * 1e3)))
                .into_iter().collect::<serde_json::Map<_, _>>(),
        })
    }
}

fn counters_json(counters: &Counters) -> Value {
    let Counters { steps, arithmetics, binaries, mem_aligns, keccaks, poseidon_paddings, poseidons, sha256s } =
        counters;
    json!({
        "steps": steps, "arithmetics": arithmetics, "binaries": binaries, "memAligns": mem_aligns,
        "keccaks": keccaks, "poseidonPaddings": poseidon_paddings, "poseidons": poseidons, "sha256s": sha256s,
    })
}

fn in_ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}
