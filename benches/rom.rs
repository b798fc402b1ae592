//! Whole batches by the ROM's machine against the native engine, on one core.
//!
//! `ZKEVM_ROMS=DIR cargo bench --bench rom`; one argument filters by name. Times are CPU time of the thread, medians of runs that
//! take turns: the native engine with senders it has to recover, the machine, the machine without native code in the place of
//! lines it knows. The answers of the last two are compared, counters included. Memory is the peak of a process that runs the
//! batch once, less what it had before (Linux). The last table is the price of asking after each batch whether the machine has to
//! run (`engine.exact = "near_limit"`), for ordinary batches.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use zkevm_batch::SenderCache;
use zkevm_executor::actors::BatchEngine;
use zkevm_executor::config::{EngineKind, EngineOptions, Exact};
use zkevm_executor::engines::Engines;
use zkevm_executor::memory;
use zkevm_pool::{CancelToken, WorkerPool};
use zkevm_processor::{Engine, PrefixCache};
use zkevm_recovery::Recoverer;
use zkevm_rom::{RomEngine, Roms};
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::workload::{MINTS_PER_BATCH, TOKEN_TRANSFERS_PER_BATCH};
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_tools::table::Table;
use zkevm_types::{BatchInput, BatchOutput, ForkId};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Eight accounts each.
const CLIENTS: u64 = 512;
const FORKS: [u64; 4] = [6, 7, 9, 13];
/// Transfers of a batch: each with accounts of its own, the ROMs run out of counters at some 480.
const TRANSFERS_PER_BATCH: usize = 450;
/// Transactions of a batch that is far from every limit.
const ORDINARY: usize = 25;
const ROUNDS: usize = 9;
const ORDINARY_ROUNDS: usize = 101;
/// Set in the process that measures memory.
const MEMORY_OF: &str = "ZKEVM_BENCH_MEMORY_OF";

fn main() {
    memory::disable_transparent_huge_pages();
    let Some(folder) = std::env::var_os("ZKEVM_ROMS").map(PathBuf::from) else {
        eprintln!("SKIPPED rom: no folder of ROM files (set ZKEVM_ROMS)");
        return;
    };
    let roms = Roms::read(&folder).expect("the folder holds ROM files");
    let machine = RomEngine::new(roms, WorkerPool::none());
    if let Ok(case) = std::env::var(MEMORY_OF) {
        return print_memory(&machine, &case);
    }
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut table = Table::new(&[
        "batch",
        "steps",
        "native",
        "machine",
        "ns a step",
        "of native",
        "line by line",
        "ns a step",
        "of native",
        "MiB",
    ]);
    for (fork, what, kind, count) in batches() {
        let name = format!("{count} {what}, fork {fork}");
        if filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
            table.row(measure(name, &machine, &prepare(fork, kind, count)));
        }
    }
    println!("{table}");
    if filter.is_none() {
        println!("{}", near_limit(&folder));
    }
}

/// Returns the batches: fork, kind, number of transactions.
fn batches() -> impl Iterator<Item = (u64, &'static str, Kind, usize)> {
    FORKS.into_iter().flat_map(|fork| {
        [
            (fork, "transfers", Kind::Transfers, TRANSFERS_PER_BATCH),
            (fork, "token transfers", Kind::TokenTransfers, TOKEN_TRANSFERS_PER_BATCH),
            (fork, "mints", Kind::Mints, MINTS_PER_BATCH),
        ]
    })
}

/// A batch and its state.
struct Case {
    input: BatchInput,
    state: MemoryStore,
}

fn prepare(fork: u64, kind: Kind, count: usize) -> Case {
    let fork_id = ForkId::new(fork).expect("the fork is in the table");
    let workload = Arc::new(Workload::new(fork_id, CLIENTS).expect("the contracts assemble"));
    let genesis = workload.genesis().build().expect("the state is built in memory");
    let input = workload.chain(0, genesis.root.to_b256()).next_batch(kind, count);
    let state = MemoryStore::new(0);
    genesis.write_to(&state).expect("the state is kept in memory");
    Case { input: BatchInput { no_counters: false, ..input }, state }
}

/// Measures a batch under both engines, taking turns.
fn measure(name: String, machine: &RomEngine, case: &Case) -> Vec<String> {
    let plain = machine.clone().with_intrinsics(false);
    let mut native = Engine::default();
    let mut times = [const { Vec::new() }; 3];
    let mut steps = 0;
    let cancel = CancelToken::default();
    for _ in 0..ROUNDS {
        native = native.with_senders(SenderCache::new());
        let bound =
            timed(&mut times[0], || native.process(&case.input, &case.state, &cancel).expect("nothing cancels"));
        let exact =
            timed(&mut times[1], || machine.process(&case.input, &case.state, &cancel).expect("nothing cancels"));
        let stepped =
            timed(&mut times[2], || plain.process(&case.input, &case.state, &cancel).expect("nothing cancels"));
        assert!(bound.roots.is_some(), "{name}: {}", bound.error_log);
        assert_eq!(bound.roots, exact.roots, "{name}: {}", exact.error_log);
        for other in [&exact, &bound] {
            assert_eq!(stepped.roots, other.roots, "{name}");
        }
        assert_eq!((exact.counters, exact.reserved), (stepped.counters, stepped.reserved), "{name}");
        assert_eq!(bound.counters.max(exact.counters), bound.counters, "{name}: a bound below its count");
        steps = exact.engine.rom_steps;
    }
    let [native, machine, plain] = times.map(|times| median(times).as_secs_f64());
    let mut row = vec![name.clone(), steps.to_string(), in_ms(native)];
    for time in [machine, plain] {
        row.extend([in_ms(time), format!("{:.1}", time * 1e9 / steps as f64), format!("{:.2}", time / native)]);
    }
    row.push(memory_of(&name));
    row
}

/// Compares `near_limit` with `never` on batches that are far from every limit.
fn near_limit(folder: &Path) -> Table {
    let engines = |exact| {
        let options =
            EngineOptions { kind: EngineKind::Native, rom_dir: Some(folder.to_path_buf()), exact, intrinsics: true };
        Engines::open(&options, 0, Recoverer::detected().unwrap_or_default(), PrefixCache::default())
            .expect("the folder holds ROM files")
    };
    let both = [engines(Exact::Never), engines(Exact::NearLimit)];
    let mut table = Table::new(&["batch, known senders", "never", "near_limit", "of never"]);
    for (fork, what, kind, _) in batches() {
        let case = prepare(fork, kind, ORDINARY);
        let mut times = [const { Vec::new() }; 2];
        for _ in 0..ORDINARY_ROUNDS {
            for (engines, times) in both.iter().zip(&mut times) {
                let output = timed(times, || run(engines, &case));
                assert_eq!(output.engine.rom_steps, 0, "an ordinary batch is not near a limit");
            }
        }
        let [never, near] = times.map(|times| median(times).as_secs_f64());
        let name = format!("{ORDINARY} {what}, fork {fork}");
        table.row(vec![name, in_ms(never), in_ms(near), format!("{:.3}", near / never)]);
    }
    table
}

fn run(engines: &Engines, case: &Case) -> BatchOutput {
    engines.process(&case.input, &case.state, &CancelToken::default()).expect("nothing cancels")
}

/// Runs a case in a process of its own and returns the MiB that it took.
fn memory_of(name: &str) -> String {
    let run = std::env::current_exe().and_then(|program| Command::new(program).env(MEMORY_OF, name).output());
    let printed = run.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if printed.is_empty() { "-".to_owned() } else { printed }
}

/// Runs the case of this name once and prints by how much the peak of the memory grew, in MiB; nothing where it is not known.
fn print_memory(machine: &RomEngine, name: &str) {
    let Some((fork, _, kind, count)) =
        batches().find(|(fork, what, _, count)| name == format!("{count} {what}, fork {fork}"))
    else {
        return;
    };
    let case = prepare(fork, kind, count);
    // The peak so far is forgotten (proc(5)).
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let Some(before) = peak_kib() else { return };
    black_box(machine.process(&case.input, &case.state, &CancelToken::default()).expect("nothing cancels"));
    let Some(after) = peak_kib() else { return };
    println!("{:.1}", after.saturating_sub(before) as f64 / 1024.0);
}

fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Runs once and notes the CPU time.
fn timed<T>(times: &mut Vec<Duration>, run: impl FnOnce() -> T) -> T {
    let start = cpu_time();
    let result = black_box(run());
    times.push(cpu_time().saturating_sub(start));
    result
}

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn in_ms(seconds: f64) -> String {
    format!("{:.2} ms", seconds * 1e3)
}
