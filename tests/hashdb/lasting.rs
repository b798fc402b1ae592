//! Restarts: what was acknowledged is there again, and a chain of batches does not notice.

use std::sync::Arc;
use std::time::Duration;

use revm::primitives::{B256, U256};
use zkevm_executor::actors::BatchState;
use zkevm_executor::evm::fork::ForkId;
use zkevm_executor::processor::{self, Interrupt};
use zkevm_executor::sample::{Kind, Workload};
use zkevm_executor::store::{
    Database, Durability, EmbeddedDatabase, LastingOptions, MemoryLimits, StateReader, StateStore, WriterStep,
};
use zkevm_executor::tree::Digest;

use super::support::*;

const OPTIONS: LastingOptions = LastingOptions {
    volatile_bytes_max: 1 << 24,
    // Small, so that most reads reach the database.
    cache_bytes_max: 1 << 18,
    queue: zkevm_executor::store::QueueLimits {
        backlog_bytes_max: 1 << 26,
        group_bytes_max: 1 << 20,
        wait_max: Duration::from_secs(5),
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_forgets_nothing_and_names_the_process_anew() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let prover_id = server.prover_id().to_owned();
    let mut session = Session::start(hashdb(&server).await, Digest::ZERO).await;
    for key in 1..50 {
        session.set(raw(key), U256::from(key)).await;
    }
    session.set_program(raw(99), &[1, 2, 3]).await;
    let (root, _) = session.flush().await;
    // Not waiting for the flush: an orderly shutdown stores what was accepted.
    server.shutdown().await;

    let server = start(folder.path()).await;
    assert_ne!(server.prover_id(), prover_id);
    let mut client = hashdb(&server).await;
    for key in 1..50 {
        assert_eq!(get(&mut client, root, raw(key)).await, (U256::from(key), SUCCESS));
    }
    assert_eq!(digest(client.get_latest_state_root(()).await.unwrap().into_inner().latest_root), root);
    assert_eq!(client.get_flush_status(()).await.unwrap().into_inner().last_flush_id, 0);
    server.shutdown().await;
}

/// A store over the folder, in its state after a restart.
fn reopened(folder: &std::path::Path) -> StateStore {
    let database: Arc<dyn Database> = Arc::new(EmbeddedDatabase::open(folder, 1 << 20, Duration::ZERO).unwrap());
    StateStore::over(database, OPTIONS).unwrap()
}

/// Runs one batch for good and returns its root.
fn run(store: &StateStore, chain: &mut zkevm_executor::sample::workload::Chain, number: usize) -> B256 {
    let kind = if number.is_multiple_of(2) { Kind::Transfers } else { Kind::TokenTransfers };
    let mut input = chain.next_batch(kind, 5);
    input.update_merkle_tree = true;
    let mut output = processor::process(&input, &*store.reader(&input), &Interrupt::default()).unwrap();
    let roots = output.roots.unwrap_or_else(|| panic!("batch {number}: {}", output.error_log));
    BatchState::keep(store, &input, &mut output).unwrap();
    chain.state_root = roots.new_state_root;
    roots.new_state_root
}

#[test]
fn a_chain_with_a_restart_after_every_batch_has_the_roots_of_one_run_in_memory() {
    const BATCHES: usize = 40;
    let folder = tempfile::tempdir().unwrap();
    let workload = Arc::new(Workload::new(ForkId::new(9).unwrap(), 1).unwrap());
    let genesis = workload.genesis().build().unwrap();
    let set = zkevm_executor::store::WriteSet {
        nodes: genesis.nodes.iter().map(|(hash, node)| (*hash, *node)).collect(),
        programs: genesis.programs.iter().map(|(hash, code)| (*hash, code.clone())).collect(),
        latest_root: Some(genesis.root),
    };
    let memory = StateStore::in_memory(MemoryLimits { volatile_bytes_max: 0, permanent_bytes_max: 1 << 30 });
    memory.keep(set.clone(), Durability::Permanent, 0).unwrap();
    let mut in_memory = workload.chain(0, genesis.root.to_b256());
    let mut restarted = workload.chain(0, genesis.root.to_b256());
    {
        let store = reopened(folder.path());
        store.keep(set, Durability::Permanent, 0).unwrap();
        assert!(matches!(store.write_next(), WriterStep::Stored));
    }
    for number in 0..BATCHES {
        let store = reopened(folder.path());
        let root = run(&store, &mut restarted, number);
        assert_eq!(root, run(&memory, &mut in_memory, number), "batch {number}");
        assert!(matches!(store.write_next(), WriterStep::Stored));
        assert_eq!(store.latest_root(), Digest::from(root));
    }
    let store = reopened(folder.path());
    assert!(store.node(&store.latest_root()).unwrap().is_some());
}
