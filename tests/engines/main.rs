//! The two engines against each other, on generated batches: every field but counters is equal, and no native counter is below
//! the ROM's.
//!
//! Needs ROM files: the folder of `ZKEVM_ROMS`. `ZKEVM_GENERATED` is the number of batches, `ZKEVM_SEED` the first seed:
//!
//! ```sh
//! ZKEVM_ROMS=roms ZKEVM_GENERATED=10000 cargo test --release --test engines -- --nocapture
//! ```

mod generator;
mod programs;

use std::collections::BTreeMap;
use std::path::Path;

use generator::Generated;
use zkevm_executor::engines::differences;
use zkevm_pool::{CancelToken, WorkerPool};
use zkevm_processor::Engine;
use zkevm_rom::{RomEngine, Roms};
use zkevm_store::{MemoryStore, RequestOverlay};
use zkevm_testkit::skip;
use zkevm_types::{BatchOutput, ExecutorError, RomError};

/// Batches without `ZKEVM_GENERATED`.
const BATCHES: u64 = 120;
/// Forks of the batches, in turn.
const FORKS: std::ops::RangeInclusive<u64> = 4..=12;

/// Returns a number out of the environment.
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}

#[test]
fn generated_batches_are_answered_alike() {
    let Some(folder) = std::env::var_os("ZKEVM_ROMS") else {
        return skip::missing_data("no folder of ROM files (set ZKEVM_ROMS)");
    };
    let roms = Roms::read(Path::new(&folder)).unwrap();
    let (rom, native) = (RomEngine::new(roms, WorkerPool::none()), Engine::default());
    let first = setting("ZKEVM_SEED", 0);
    let forks: Vec<_> = FORKS.filter_map(zkevm_types::ForkId::new).filter(|fork| rom.has_fork(*fork)).collect();
    assert!(!forks.is_empty(), "the folder has a ROM of a fork that the native engine knows");
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    let mut failures = Vec::new();
    for seed in first..first + setting("ZKEVM_GENERATED", BATCHES) {
        let fork = forks[seed as usize % forks.len()];
        let batch = Generated::new(seed, fork, |input| run(&native, &rom, input).0);
        let (native, rom) = run(&native, &rom, &batch.input);
        *outcomes.entry(outcome(&rom)).or_default() += 1;
        let found = differences(&native, &rom, fork.rules());
        // What only the original's own checks raise, and what the native engine does not judge.
        let is_own = own_abort(rom.error) || out_of_counters(&rom);
        if !found.is_empty() && !is_own {
            println!("seed {seed}, fork {fork}: {}", found.join(", "));
            failures.push(seed);
        }
    }
    println!("{outcomes:#?}");
    assert!(failures.is_empty(), "{} batches are answered differently: seeds {failures:?}", failures.len());
}

fn run(native: &Engine, rom: &RomEngine, input: &zkevm_types::BatchInput) -> (BatchOutput, BatchOutput) {
    let nothing = MemoryStore::new(0);
    let state = RequestOverlay { base: &nothing, nodes: &input.db, programs: &input.contracts_bytecode };
    let cancel = CancelToken::default();
    (native.process(input, &state, &cancel).unwrap(), rom.process(input, &state, &cancel).unwrap())
}

fn own_abort(error: ExecutorError) -> bool {
    matches!(error.number(), 11 | 12 | 117)
}

fn errors(output: &BatchOutput) -> impl Iterator<Item = RomError> {
    let in_blocks = output.blocks.iter().flat_map(|block| &block.transactions);
    in_blocks.chain(&output.transactions).map(|tx| tx.error).chain([output.error_rom])
}

fn out_of_counters(output: &BatchOutput) -> bool {
    errors(output).any(RomError::is_out_of_counters)
}

/// Names how a batch ended.
fn outcome(output: &BatchOutput) -> String {
    match (output.error, output.error_rom) {
        (ExecutorError::NoError, RomError::NoError) => {
            let failed = errors(output).filter(|error| *error != RomError::NoError).count();
            if failed > 0 { "with failed transactions" } else { "all well" }.to_owned()
        }
        (ExecutorError::NoError, error) => error.name().to_owned(),
        (error, _) => error.name().to_owned(),
    }
}
