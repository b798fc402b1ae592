//! The price of counting zk counters: the same batches under no observer, with `no_counters` (steps alone are counted) and
//! with all counters, taking turns.
//!
//! `cargo bench --bench counters`. One core, in memory. Medians; shares are those beyond no observer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zkevm_pool::{CancelToken, Cancelled};
use zkevm_processor::Engine;
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::workload::{TOKEN_TRANSFERS_PER_BATCH, TRANSFERS_PER_BATCH};
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_tools::table::Table;
use zkevm_types::ForkId;
use zkevm_types::{BatchInput, BatchOutput};

/// Accounts of the state: enough for a tree of a realistic depth.
const CLIENTS: u64 = 512;
const FORK: u64 = 9;
const ROUNDS: usize = 40;

fn main() {
    let engine = Engine::default();
    let mut table = Table::new(&["batch", "no observer", "steps alone", "share", "all counters", "share"]);
    for (what, kind, count) in [
        ("transfers", Kind::Transfers, TRANSFERS_PER_BATCH),
        ("token transfers", Kind::TokenTransfers, TOKEN_TRANSFERS_PER_BATCH),
    ] {
        let (all, state) = prepare(kind, count);
        let steps = BatchInput { no_counters: true, ..all.clone() };
        let mut times = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            times[0]
                .push(execute(|cancel| engine.process_observed(&all, &state, cancel, ()).map(|(output, ())| output)));
            times[1].push(execute(|cancel| engine.process(&steps, &state, cancel)));
            times[2].push(execute(|cancel| engine.process(&all, &state, cancel)));
        }
        let [none, steps, all] = times.map(|times| median(times).as_secs_f64());
        let ms = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
        let share = |seconds: f64| format!("{:+.1} %", 100.0 * (seconds - none) / none);
        let name = format!("{count} {what}, fork {FORK}");
        table.row(vec![name, ms(none), ms(steps), share(steps), ms(all), share(all)]);
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

fn execute(run: impl FnOnce(&CancelToken) -> Result<BatchOutput, Cancelled>) -> Duration {
    let start = Instant::now();
    let output = run(&CancelToken::default()).expect("nothing cancels");
    assert!(output.roots.is_some(), "{}", output.error_log);
    start.elapsed()
}
