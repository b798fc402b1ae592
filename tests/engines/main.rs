//! The two engines against each other, on generated batches and on changed recordings: every field is equal, but for counters of
//! which the native engine has bounds: none is below the ROM's. And the machine against itself, with and without native code in the
//! place of lines it knows.
//!
//! Needs ROM files: the folder of `ZKEVM_ROMS`. `ZKEVM_GENERATED` is the number of batches, `ZKEVM_SEED` the first seed,
//! `ZKEVM_FORK` the only fork. Into the folder `ZKEVM_DIFFERENCES` go input and answers of each batch that is answered differently:
//!
//! ```sh
//! ZKEVM_ROMS=roms ZKEVM_GENERATED=10000 cargo test --release --test engines -- --nocapture
//! ```

mod changes;
mod code;
mod contexts;
mod counts;
mod generator;
mod intrinsics;
mod p256;
mod precompiles;
mod programs;
mod recordings;
mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fastrand::Rng;
use generator::Generated;
use recordings::Recordings;
use verdict::{Pair, Verdict};
use zkevm_batch::SenderCache;
use zkevm_pool::WorkerPool;
use zkevm_processor::Engine;
use zkevm_recovery::Recoverer;
use zkevm_rom::{RomEngine, Roms};
use zkevm_testkit::skip;
use zkevm_types::{BatchInput, BatchOutput, ForkId};

/// Batches without `ZKEVM_GENERATED`.
const BATCHES: u64 = 120;
/// Changed recordings without it.
const CHANGED: u64 = 60;
/// Forks of the batches, in turn.
const FORKS: std::ops::RangeInclusive<u64> = 4..=13;

/// Returns a number out of the environment.
fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")),
        Err(_) => default,
    }
}

/// Returns the native engine. As in the server, senders are recovered eight at a time where the processor can, and one by one with
/// `ZKEVM_EIGHT_LANE_RECOVERY=false`.
fn native() -> Engine {
    match std::env::var("ZKEVM_EIGHT_LANE_RECOVERY") {
        Ok(text) if text == "false" => Engine::default().with_senders(SenderCache::with_recoverer(Recoverer::single())),
        _ => Engine::default(),
    }
}

/// Returns the machine with the ROM files of `ZKEVM_ROMS`; without that folder it says that the calling test is skipped.
fn machine() -> Option<RomEngine> {
    let Some(folder) = std::env::var_os("ZKEVM_ROMS") else {
        skip::missing_data("no folder of ROM files (set ZKEVM_ROMS)");
        return None;
    };
    Some(RomEngine::new(Roms::read(Path::new(&folder)).unwrap(), WorkerPool::none()))
}

/// Returns the forks of the batches that have a ROM, or the one of `ZKEVM_FORK`.
fn forks(rom: &RomEngine) -> Vec<ForkId> {
    let only = setting("ZKEVM_FORK", 0);
    let wanted = FORKS.filter(|fork| only == 0 || *fork == only);
    let forks: Vec<_> = wanted.filter_map(ForkId::new).filter(|fork| rom.has_fork(*fork)).collect();
    assert!(!forks.is_empty(), "the folder has a ROM of a fork that the native engine knows");
    forks
}

/// Writes a batch, the native and the machine's answer into the folder of `ZKEVM_DIFFERENCES`, if there is one.
fn dump(seed: u64, input: &BatchInput, (native, rom): &(BatchOutput, BatchOutput)) {
    let Some(folder) = std::env::var_os("ZKEVM_DIFFERENCES") else { return };
    let write = |name: &str, text: String| fs::write(Path::new(&folder).join(format!("{seed}-{name}")), text).unwrap();
    write("input", format!("{input:#?}"));
    write("native", format!("{native:#?}"));
    write("rom", format!("{rom:#?}"));
}

/// What came of comparing many batches.
#[derive(Default)]
struct Tally {
    outcomes: BTreeMap<&'static str, u64>,
    uncounted: u64,
    own_aborts: u64,
    failures: Vec<u64>,
}

impl Tally {
    fn add(&mut self, seed: u64, name: &str, input: &BatchInput, verdict: &Verdict) {
        verdict.outcomes.iter().for_each(|name| *self.outcomes.entry(name).or_default() += 1);
        self.uncounted += u64::from(verdict.is_uncounted);
        self.own_aborts += u64::from(verdict.is_own_abort);
        if !verdict.differences.is_empty() {
            println!("seed {seed}, fork {}, {name}: {}", input.fork_id, verdict.differences.join(", "));
            dump(seed, input, &verdict.answers);
            self.failures.push(seed);
        }
    }

    fn finish(self) {
        let Self { outcomes, uncounted, own_aborts, failures } = self;
        println!("batches by what happened in them: {outcomes:#?}");
        println!("compared without counters: {uncounted}; given up by the original's own checks: {own_aborts}");
        assert!(failures.is_empty(), "{} batches are answered differently: seeds {failures:?}", failures.len());
    }
}

#[test]
fn generated_batches_are_answered_alike() {
    let Some(rom) = machine() else { return };
    let pair = Pair { native: native(), rom };
    let first = setting("ZKEVM_SEED", 0);
    let forks = forks(&pair.rom);
    let mut tally = Tally::default();
    let mut wrong_signatures = 0;
    for seed in first..first + setting("ZKEVM_GENERATED", BATCHES) {
        let fork = forks[seed as usize % forks.len()];
        let batch = Generated::new(seed, fork, |input| pair.run(input).0);
        let mut verdict = pair.compare(&batch.input);
        if !verdict.differences.is_empty() {
            // What a wrong signature leaves to its caller is known to differ (docs/engines.md, known differences).
            let other = Generated::without_wrong_signatures(seed, fork, |input| pair.run(input).0);
            if other.has_spoiled && pair.compare(&other.input).differences.is_empty() {
                wrong_signatures += 1;
                verdict.differences.clear();
            }
        }
        tally.add(seed, "generated", &batch.input, &verdict);
    }
    println!("different by a wrong signature alone: {wrong_signatures}");
    tally.finish();
}

/// Recorded requests, each changed in a way of its own: what the generator does not think of is there in what was recorded.
#[test]
fn changed_recordings_are_answered_alike() {
    let (Some(rom), Some(recordings)) = (machine(), Recordings::open()) else { return };
    let pair = Pair { native: native(), rom };
    let forks = forks(&pair.rom);
    let first = setting("ZKEVM_SEED", 0);
    let mut tally = Tally::default();
    for seed in first..first + setting("ZKEVM_GENERATED", CHANGED) {
        let mut rng = Rng::with_seed(seed);
        let (name, recorded) = recordings.get(rng.usize(..recordings.len()));
        let Some(recorded) = recorded.filter(|input| forks.contains(&input.fork_id)) else { continue };
        let input = changes::changed(rng, recorded, &forks, |input| pair.run(input).0);
        tally.add(seed, &name, &input, &pair.compare(&input));
    }
    tally.finish();
}

/// The machine gives the same answer with and without native code in the place of lines it knows, and ends in the same state.
#[test]
fn native_code_changes_nothing() {
    let Some(rom) = machine() else { return };
    let first = setting("ZKEVM_SEED", 0);
    let forks = forks(&rom);
    let mut runs = intrinsics::Runs::default();
    let mut failures = Vec::new();
    for seed in first..first + setting("ZKEVM_GENERATED", BATCHES) {
        let fork = forks[seed as usize % forks.len()];
        let answer = |input: &BatchInput| {
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
