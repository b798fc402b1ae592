//! Engines of one process share nothing.

use std::sync::Arc;

use zkevm_batch::{BatchItem, Signature, decode};
use zkevm_pool::{CancelToken, WorkerPool};
use zkevm_processor::Engine;
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_types::{BatchInput, ForkId};

fn batch() -> (BatchInput, MemoryStore) {
    let workload = Arc::new(Workload::new(ForkId::new(9).unwrap(), 1).unwrap());
    let genesis = workload.genesis().build().unwrap();
    let store = MemoryStore::new(0);
    genesis.write_to(&store).unwrap();
    (workload.chain(0, genesis.root.to_b256()).next_batch(Kind::Transfers, 3), store)
}

fn signatures(input: &BatchInput) -> Vec<Signature> {
    let items = decode(&input.batch_l2_data, input.fork_id.rules(), false, false).unwrap();
    items.iter().filter_map(BatchItem::transaction).map(|tx| tx.signature()).collect()
}

#[test]
fn a_sender_known_to_one_engine_is_unknown_to_another() {
    let (input, store) = batch();
    let (first, second) = (Engine::default(), Engine::default());
    let clone = first.clone();
    let output = first.process(&input, &store, &CancelToken::default()).unwrap();
    assert!(output.roots.is_some(), "{}", output.error_log);
    let rules = input.fork_id.rules().recovery();
    for signature in signatures(&input) {
        let known = [&first, &clone, &second].map(|engine| engine.senders().knows(signature, rules));
        assert_eq!(known, [true, true, false]);
    }
    let again = second.process(&input, &store, &CancelToken::default()).unwrap();
    assert_eq!(again.roots, output.roots);
}

#[test]
fn a_batch_of_one_engine_takes_no_core_of_another() {
    let (input, store) = batch();
    let [first, second] = [(); 2].map(|()| WorkerPool::with_cores(2, 3));
    let (busy, other) = (Engine::new(first.clone()), Engine::new(second.clone()));
    let running = [first.batch_guard(), first.batch_guard()];
    assert_eq!((first.idle(), second.idle()), (1, 2));
    for engine in [&busy, &other] {
        engine.process(&input, &store, &CancelToken::default()).unwrap();
    }
    drop(running);
    assert_eq!((first.idle(), second.idle()), (2, 2));
}
