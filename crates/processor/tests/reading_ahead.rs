//! What a batch reads of a store in which one call for many nodes is cheaper than many calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use revm::primitives::Bytes;
use zkevm_pool::CancelToken;
use zkevm_processor::Engine;
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_tree::{Digest, NodeData, StateReader, StoreError};
use zkevm_types::ForkId;

/// A store far away, which counts the calls.
struct FarAway {
    store: MemoryStore,
    for_one: AtomicUsize,
    for_many: AtomicUsize,
}

impl StateReader for FarAway {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        self.for_one.fetch_add(1, Relaxed);
        self.store.node(hash)
    }

    fn nodes(&self, hashes: &[Digest]) -> Result<Vec<Option<NodeData>>, StoreError> {
        self.for_many.fetch_add(1, Relaxed);
        self.store.nodes(hashes)
    }

    fn prefers_many(&self) -> bool {
        true
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        self.store.program(hash)
    }
}

#[test]
fn transfers_take_one_call_for_each_level_of_the_tree() {
    let workload = Arc::new(Workload::new(ForkId::new(9).unwrap(), 64).unwrap());
    let genesis = workload.genesis().build().unwrap();
    let store = MemoryStore::new(0);
    genesis.write_to(&store).unwrap();
    let input = workload.chain(0, genesis.root.to_b256()).next_batch(Kind::Transfers, 100);
    let reader = FarAway { store, for_one: AtomicUsize::new(0), for_many: AtomicUsize::new(0) };
    let output = Engine::default().process(&input, &reader, &CancelToken::default()).unwrap();
    assert!(output.roots.is_some(), "{}", output.error_log);
    let (for_one, for_many) = (reader.for_one.into_inner(), reader.for_many.into_inner());
    // A few slots of system contracts depend on what comes before them.
    assert!(for_one <= 10, "{for_one} nodes were read by themselves");
    assert!(for_many <= 30, "{for_many} calls for many nodes");
}
