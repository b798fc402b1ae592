//! The price of counting zk counters: the same batches with counters and with `no_counters`, taking turns.
//!
//! `cargo bench --bench counters`. One core, in memory.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zkevm_pool::Interrupt;
use zkevm_processor::Engine;
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::workload::{TOKEN_TRANSFERS_PER_BATCH, TRANSFERS_PER_BATCH};
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_tools::table::Table;
use zkevm_types::BatchInput;
use zkevm_types::ForkId;

/// Accounts of the state: enough for a tree of a realistic depth.
const CLIENTS: u64 = 512;
const FORK: u64 = 9;
const ROUNDS: usize = 40;

fn main() {
    let engine = Engine::default();
    let mut table = Table::new(&["batch", "counters off", "counters on", "per batch", "share"]);
    for (what, kind, count) in [
        ("transfers", Kind::Transfers, TRANSFERS_PER_BATCH),
        ("token transfers", Kind::TokenTransfers, TOKEN_TRANSFERS_PER_BATCH),
    ] {
        let (counting, state) = prepare(kind, count);
        let silent = BatchInput { no_counters: true, ..counting.clone() };
        let (mut off, mut on) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            off.push(execute(&engine, &silent, &state));
            on.push(execute(&engine, &counting, &state));
        }
        let [off, on] = [off, on].map(median);
        let more = on.as_secs_f64() - off.as_secs_f64();
        let ms = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
        table.row(vec![
            format!("{count} {what}, fork {FORK}"),
            ms(off.as_secs_f64()),
            ms(on.as_secs_f64()),
            ms(more),
            format!("{:+.1} %", 100.0 * more / off.as_secs_f64()),
        ]);
    }
    println!("{table}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn prepare(kind: Kind, count: usize) -> (BatchInput, MemoryStore) {
    let fork_id = ForkId::new(FORK).expect("the fork is in the table");
    let workload = Arc::new(Workload::new(fork_id, CLIENTS).expect("the token assembles"));
    let genesis = workload.genesis().build().expect("the state is built in memory");
    let input = workload.chain(0, genesis.root.to_b256()).next_batch(kind, count);
    let state = MemoryStore::new(0);
    genesis.write_to(&state).expect("the state is kept in memory");
    (BatchInput { no_counters: false, ..input }, state)
}

fn execute(engine: &Engine, input: &BatchInput, state: &MemoryStore) -> Duration {
    let start = Instant::now();
    let output = engine.process(input, state, &Interrupt::default()).expect("nobody interrupts");
    assert!(output.roots.is_some(), "{}", output.error_log);
    start.elapsed()
}
