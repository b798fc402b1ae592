//! Whole batches through the engine on one core, with the split into decode, recover, EVM and tree.
//!
//! `cargo bench --bench batches`; one argument filters by name. For scale: zkevm-prover needs about 1.6 to 1.9 s of one core
//! for batches of this size.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zkevm_executor::batch::forget_signers;
use zkevm_executor::cli::table::Table;
use zkevm_executor::evm::fork::ForkId;
use zkevm_executor::processor::input::BatchInput;
use zkevm_executor::processor::output::PhaseTimes;
use zkevm_executor::processor::{self, BatchOutput, Interrupt};
use zkevm_executor::sample::workload::{TOKEN_TRANSFERS_PER_BATCH, TRANSFERS_PER_BATCH};
use zkevm_executor::sample::{Kind, Workload};
use zkevm_executor::store::MemoryStore;

/// Accounts of the state: enough for a tree of a realistic depth.
const CLIENTS: u64 = 512;
const FORKS: [u64; 2] = [6, 9];
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURE: Duration = Duration::from_secs(3);
const RUNS_MIN: usize = 10;

struct Run {
    total: Duration,
    phases: PhaseTimes,
}

fn main() {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut table = Table::new(&[
        "batch", "bytes", "Mgas", "median", "fastest", "decode", "recover", "EVM", "tree", "rest", "txs/s",
    ]);
    for fork in FORKS {
        let kinds = [
            ("transfers", Kind::Transfers, TRANSFERS_PER_BATCH),
            ("token transfers", Kind::TokenTransfers, TOKEN_TRANSFERS_PER_BATCH),
        ];
        for (what, kind, count) in kinds {
            let name = format!("{count} {what}, fork {fork}");
            if filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
                let (input, state) = prepare(fork, kind, count);
                table.row(measure(format!("{name}, new senders"), &input, &state, count, true));
                table.row(measure(format!("{name}, known senders"), &input, &state, count, false));
            }
        }
    }
    println!("{table}");
}

/// Measures one batch; with `new_senders` every run recovers every signature.
fn measure(name: String, input: &BatchInput, state: &MemoryStore, count: usize, new_senders: bool) -> Vec<String> {
    let execute = |input, state| {
        if new_senders {
            forget_signers();
        }
        execute(input, state)
    };
    let output = execute(input, state).1;
    assert!(output.roots.is_some(), "{name}: {}", output.error_log);
    let warm_up = Instant::now();
    while warm_up.elapsed() < WARM_UP {
        black_box(execute(input, state));
    }
    let start = Instant::now();
    let mut runs = Vec::new();
    while start.elapsed() < MEASURE || runs.len() < RUNS_MIN {
        let (total, output) = execute(input, state);
        runs.push(Run { total, phases: output.phases });
    }
    runs.sort_by_key(|run| run.total);
    let fastest = runs[0].total;
    let median = &runs[runs.len() / 2];
    let PhaseTimes { decode, recover, evm, tree, info_tree: _ } = median.phases;
    let rest = median.total.saturating_sub(decode + recover + evm + tree);
    let mut row = vec![name, input.batch_l2_data.len().to_string(), format!("{:.2}", output.gas_used as f64 / 1e6)];
    row.extend([median.total, fastest, decode, recover, evm, tree, rest].map(in_ms));
    row.push(format!("{:.0}", count as f64 / median.total.as_secs_f64()));
    row
}

fn prepare(fork: u64, kind: Kind, count: usize) -> (BatchInput, MemoryStore) {
    let fork_id = ForkId::new(fork).expect("the fork is in the table");
    let workload = Arc::new(Workload::new(fork_id, CLIENTS).expect("the token assembles"));
    let genesis = workload.genesis().build().expect("the state is built in memory");
    let input = workload.chain(0, genesis.root.to_b256()).next_batch(kind, count);
    let state = MemoryStore::new(0);
    genesis.write_to(&state).expect("the state is kept in memory");
    (input, state)
}

fn execute(input: &BatchInput, state: &MemoryStore) -> (Duration, BatchOutput) {
    let start = Instant::now();
    let output = processor::process(input, state, &Interrupt::default()).expect("nobody interrupts");
    (start.elapsed(), output)
}

fn in_ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
