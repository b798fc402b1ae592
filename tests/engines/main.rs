//! The two engines against each other, on generated batches: every field but counters is equal, and no native counter is below
//! the ROM's. And the machine against itself, with and without native code in the place of lines it knows.
//!
//! Needs ROM files: the folder of `ZKEVM_ROMS`. `ZKEVM_GENERATED` is the number of batches, `ZKEVM_SEED` the first seed. Into
//! the folder `ZKEVM_DIFFERENCES` go input and answers of each batch that is answered differently:
//!
//! ```sh
//! ZKEVM_ROMS=roms ZKEVM_GENERATED=10000 cargo test --release --test engines -- --nocapture
//! ```

mod code;
mod contexts;
mod counts;
mod generator;
mod intrinsics;
mod precompiles;
mod programs;
mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use generator::Generated;
use verdict::Pair;
use zkevm_pool::WorkerPool;
use zkevm_processor::Engine;
use zkevm_rom::{RomEngine, Roms};
use zkevm_testkit::skip;
use zkevm_types::{BatchInput, BatchOutput};

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

/// Writes a batch, the native and the machine's answer into the folder of `ZKEVM_DIFFERENCES`, if there is one.
fn dump(seed: u64, input: &BatchInput, (native, rom): &(BatchOutput, BatchOutput)) {
    let Some(folder) = std::env::var_os("ZKEVM_DIFFERENCES") else { return };
    let write = |name: &str, text: String| fs::write(Path::new(&folder).join(format!("{seed}-{name}")), text).unwrap();
    write("input", format!("{input:#?}"));
    write("native", format!("{native:#?}"));
    write("rom", format!("{rom:#?}"));
}

#[test]
fn generated_batches_are_answered_alike() {
    let Some(folder) = std::env::var_os("ZKEVM_ROMS") else {
        return skip::missing_data("no folder of ROM files (set ZKEVM_ROMS)");
    };
    let roms = Roms::read(Path::new(&folder)).unwrap();
    let pair = Pair { native: Engine::default(), rom: RomEngine::new(roms, WorkerPool::none()) };
    let first = setting("ZKEVM_SEED", 0);
    let forks: Vec<_> = FORKS.filter_map(zkevm_types::ForkId::new).filter(|fork| pair.rom.has_fork(*fork)).collect();
    assert!(!forks.is_empty(), "the folder has a ROM of a fork that the native engine knows");
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut uncounted, mut own_aborts) = (0, 0);
    let mut failures = Vec::new();
    for seed in first..first + setting("ZKEVM_GENERATED", BATCHES) {
        let fork = forks[seed as usize % forks.len()];
        let batch = Generated::new(seed, fork, |input| pair.run(input).0);
        let verdict = pair.compare(&batch.input);
        verdict.outcomes.iter().for_each(|name| *outcomes.entry(name).or_default() += 1);
        uncounted += u64::from(verdict.is_uncounted);
        own_aborts += u64::from(verdict.is_own_abort);
        if !verdict.differences.is_empty() {
            println!("seed {seed}, fork {fork}: {}", verdict.differences.join(", "));
            dump(seed, &batch.input, &verdict.answers);
            failures.push(seed);
        }
    }
    println!("batches by what happened in them: {outcomes:#?}");
    println!("compared without counters: {uncounted}; given up by the original's own checks: {own_aborts}");
    assert!(failures.is_empty(), "{} batches are answered differently: seeds {failures:?}", failures.len());
}

/// The machine gives the same answer with and without native code in the place of lines it knows, and ends in the same state.
#[test]
fn native_code_changes_nothing() {
    let Some(folder) = std::env::var_os("ZKEVM_ROMS") else {
        return skip::missing_data("no folder of ROM files (set ZKEVM_ROMS)");
    };
    let rom = RomEngine::new(Roms::read(Path::new(&folder)).unwrap(), WorkerPool::none());
    let first = setting("ZKEVM_SEED", 0);
    let forks: Vec<_> = FORKS.filter_map(zkevm_types::ForkId::new).filter(|fork| rom.has_fork(*fork)).collect();
    let mut runs = intrinsics::Runs::default();
    let mut failures = Vec::new();
    for seed in first..first + setting("ZKEVM_GENERATED", BATCHES) {
        let fork = forks[seed as usize % forks.len()];
        let answer = |input: &zkevm_types::BatchInput| {
            let nothing = zkevm_store::MemoryStore::new(0);
            let state =
                zkevm_store::RequestOverlay { base: &nothing, nodes: &input.db, programs: &input.contracts_bytecode };
            rom.process(input, &state, &zkevm_pool::CancelToken::default()).unwrap()
        };
        let mut input = Generated::new(seed, fork, answer).input;
        for no_counters in [input.no_counters, !input.no_counters] {
            input.no_counters = no_counters;
            let differences = intrinsics::compare(&rom, &input, &mut runs);
            if !differences.is_empty() {
                println!("seed {seed}, fork {fork}, no_counters {no_counters}: {}", differences.join(", "));
                failures.push(seed);
            }
        }
    }
    runs.print();
    assert!(failures.is_empty(), "{} batches differ: seeds {failures:?}", failures.len());
    assert_eq!(runs.idle(), Vec::<&str>::new(), "native code that never ran");
}
