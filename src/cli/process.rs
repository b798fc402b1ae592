//! `process FILE…`: executes executor-input files, and dumps of stateless requests, and prints what came out.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use zkevm_store::{NoState, RequestOverlay};
use zkevm_testkit::vectors::{Vector, VectorError};
use zkevm_tools::engine::{CommandEngine, EngineArgs, ProfilePart};
use zkevm_types::{BatchInput, BatchOutput, BatchRoots, Counters, ExecutorError, RomError, TxOutput};
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
    /// Files that could not be read, and batches that were aborted.
    #[error("{0} of the files have no result")]
    NoResult(usize),
}

/// Executes the files in order. Fails if a file cannot be read or a batch is aborted, after all files.
pub fn run(args: &ProcessArgs) -> Result<(), Box<dyn std::error::Error>> {
    let engine = args.engine.open()?;
    let mut failed = 0;
    for file in &args.files {
        match execute(file, &engine, args.profile) {
            Ok(report) => {
                failed += usize::from(report.output.roots.is_none());
                if args.json { println!("{}", report.to_json()) } else { report.print() }
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
    output: BatchOutput,
    elapsed: Duration,
    /// Parts of the ROM, if they were asked for.
    parts: Vec<ProfilePart>,
}

fn execute<'a>(file: &'a Path, engine: &CommandEngine, profile: bool) -> Result<Report<'a>, ProcessError> {
    let text = std::fs::read(file)
        .map_err(|source| ProcessError::Vector(VectorError::Read { path: file.to_path_buf(), source }))?;
    if let Some(request) = payload::read(&text) {
        let input =
            validate::process_stateless_batch_v2(request, ValidationRules::default()).map_err(ProcessError::Refused)?;
        let state = RequestOverlay { base: &NoState, nodes: &input.db, programs: &input.contracts_bytecode };
        let start = Instant::now();
        let output = engine.process(&input, &state)?;
        return Ok(Report { file, elapsed: start.elapsed(), input, expected: None, output, parts: Vec::new() });
    }
    let vector = Vector::read(file)?;
    let start = Instant::now();
    let (output, parts) = match profile {
        true => engine.profile_vector(&vector)?,
        false => (engine.process_vector(&vector)?, Vec::new()),
    };
    let elapsed = start.elapsed();
    let expected = BatchRoots {
        new_state_root: vector.expected.new_state_root,
        new_acc_input_hash: vector.expected.new_acc_input_hash,
        new_local_exit_root: vector.expected.new_local_exit_root,
    };
    Ok(Report { file, elapsed, input: vector.input, expected: Some(expected), output, parts })
}

impl Report<'_> {
    fn transactions(&self) -> impl Iterator<Item = (Option<u64>, &TxOutput)> {
        let in_blocks = self.output.blocks.iter();
        let v2 = in_blocks.flat_map(|block| block.transactions.iter().map(move |tx| (Some(block.block_number), tx)));
        self.output.transactions.iter().map(|tx| (None, tx)).chain(v2)
    }

    /// True if the batch came to the roots that the file names, `None` if it names none.
    fn matches_file(&self) -> Option<bool> {
        self.expected.map(|expected| self.output.roots == Some(expected))
    }

    fn print(&self) {
        let Self { output, input, elapsed, .. } = self;
        println!("{}", self.file.display());
        println!("  fork id                {}", input.fork_id);
        println!("  error                  {}", output.error.name());
        if output.error_rom != RomError::NoError {
            println!("  batch error            {}", output.error_rom.name());
        }
        if !output.error_log.is_empty() {
            println!("  error log              {}", output.error_log);
        }
        println!("  old state root         {}", input.old_state_root);
        if let Some(roots) = output.roots {
            println!("  new state root         {}", roots.new_state_root);
            println!("  new acc input hash     {}", roots.new_acc_input_hash);
            println!("  new local exit root    {}", roots.new_local_exit_root);
            if let Some(matches) = self.matches_file() {
                println!("  as the file expects    {}", if matches { "yes" } else { "no" });
            }
        }
        println!("  gas used               {}", output.gas_used);
        let names = ["steps", "arithmetics", "binaries", "mem-aligns", "keccaks", "paddings", "Poseidons", "SHA-256"];
        let counted = names.into_iter().zip(output.counters.to_array());
        let counted: Vec<String> = counted.map(|(name, count)| format!("{name} {count}")).collect();
        println!("  zk counters            {}", counted.join(", "));
        println!("  transactions           {}", self.transactions().count());
        for (block, tx) in self.transactions() {
            let block = block.map(|number| format!("block {number} ")).unwrap_or_default();
            println!("    {block}{} gas {:>9} {} root {}", tx.tx_hash, tx.gas_used, tx.error.name(), tx.state_root);
        }
        println!("  time                   {}", in_ms(*elapsed));
        for (name, time) in self.phases() {
            println!("    {name:<20} {}", in_ms(time));
        }
        for part in &self.parts {
            println!("{part}");
        }
    }

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
