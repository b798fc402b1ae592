//! Native code in the place of known lines, and lines of the usual shapes done at once, change nothing: each batch runs three ways.

use std::sync::Arc;

use zkevm_pool::{CancelToken, WorkerPool};
use zkevm_rom::{Machine, NoHandler, Outcome, Program, Registers, Request, RomTree, load};
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_types::{BatchInput, ForkId};

/// Transactions of a batch: recoveries, calls, memory and storage.
const TRANSACTIONS: usize = 3;

fn run(program: &Program, input: &BatchInput, state: &MemoryStore, intrinsics: bool) -> (Outcome, Registers) {
    let no_l1_info = Default::default();
    let request = Request::of(input, &no_l1_info);
    let tree = RomTree::new(state, WorkerPool::none(), Default::default());
    let mut machine = Machine::new(program, &request, tree).with_intrinsics(intrinsics);
    let outcome = machine.run(&mut NoHandler, &CancelToken::default()).unwrap();
    (outcome, machine.registers().clone())
}

#[test]
fn a_batch_ends_alike_in_every_way_to_run_it() {
    for fork in 4..=13 {
        let Some(json) = super::rom(fork) else { return };
        let program = load(&json, fork).unwrap().program;
        let general = load(&json, fork).unwrap().program.without_shapes();
        let workload = Arc::new(Workload::new(ForkId::new(fork).unwrap(), 1).unwrap());
        let genesis = workload.genesis().build().unwrap();
        let state = MemoryStore::new(0);
        genesis.write_to(&state).unwrap();
        let chain = workload.chain(0, genesis.root.to_b256());
        for kind in [Kind::Transfers, Kind::TokenTransfers, Kind::Mints] {
            let input = BatchInput { no_counters: false, ..chain.clone().next_batch(kind, TRANSACTIONS) };
            let expected = run(&general, &input, &state, false);
            assert!(!expected.0.is_aborted, "fork {fork}, {kind:?}: {}", expected.0.message);
            assert_eq!(run(&general, &input, &state, true), expected, "native code, fork {fork}, {kind:?}");
            assert_eq!(run(&program, &input, &state, false), expected, "shapes, fork {fork}, {kind:?}");
            assert_eq!(run(&program, &input, &state, true), expected, "both, fork {fork}, {kind:?}");
            let mut uncounted = BatchInput { no_counters: true, ..input };
            let expected = run(&general, &uncounted, &state, false);
            assert_eq!(run(&program, &uncounted, &state, true), expected, "without counters, fork {fork}, {kind:?}");
            // Cut short, so that the batch ends in an error.
            uncounted.batch_l2_data = uncounted.batch_l2_data.slice(..uncounted.batch_l2_data.len() - 7);
            let expected = run(&general, &uncounted, &state, false);
            assert_eq!(run(&program, &uncounted, &state, true), expected, "cut, fork {fork}, {kind:?}");
        }
    }
}
