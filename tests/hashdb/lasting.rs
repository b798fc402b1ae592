//! Restarts: what was acknowledged is there again, and a chain of batches does not notice.

use std::sync::Arc;
use std::time::Duration;

use revm::primitives::{B256, U256};
use zkevm_executor::actors::state;
use zkevm_pool::CancelToken;
use zkevm_store::{
    Database, Durability, DurableOptions, EmbeddedDatabase, MemoryLimits, PostgresDatabase, PostgresOptions,
    StateStore, WriterStep,
};
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_tree::Digest;
use zkevm_tree::StateReader;
use zkevm_types::ForkId;

use super::postgres_server::PostgresServer;
use super::support::*;

const OPTIONS: DurableOptions = DurableOptions {
    volatile_bytes_max: 1 << 24,
    // Small, so that most reads reach the database.
    cache_bytes_max: 1 << 18,
    queue: zkevm_store::QueueLimits {
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
    session.set_program(zkevm_tree::linear_hash(&[1, 2, 3]), &[1, 2, 3]).await;
    let (root, _) = session.flush().await;
    // Not waiting for the flush: an orderly shutdown stores what was accepted.
    assert!(server.shutdown().await);

    let server = start(folder.path()).await;
    assert_ne!(server.prover_id(), prover_id);
    let mut client = hashdb(&server).await;
    for key in 1..50 {
        assert_eq!(get(&mut client, root, raw(key)).await, (U256::from(key), SUCCESS));
    }
    assert_eq!(digest(client.get_latest_state_root(()).await.unwrap().into_inner().latest_root), root);
    assert_eq!(client.get_flush_status(()).await.unwrap().into_inner().last_flush_id, 0);
    assert!(server.shutdown().await);
}

/// Runs one permanent batch and returns its root.
fn run(store: &StateStore, chain: &mut zkevm_testkit::sample::workload::Chain, number: usize) -> B256 {
    let kind = if number.is_multiple_of(2) { Kind::Transfers } else { Kind::TokenTransfers };
    let mut input = chain.next_batch(kind, 5);
    input.update_merkle_tree = true;
    let mut output = zkevm_processor::Engine::default()
        .process(&input, &state::reader(store, &input), &CancelToken::default())
        .unwrap();
    let roots = output.roots.unwrap_or_else(|| panic!("batch {number}: {}", output.error_log));
    state::persist(store, &input, &mut output, &CancelToken::default()).unwrap();
    chain.state_root = roots.new_state_root;
    roots.new_state_root
}

/// Batches of the chain that is restarted after each: 200 take a while.
fn batches() -> usize {
    std::env::var("ZKEVM_CHAIN_BATCHES").ok().and_then(|batches| batches.parse().ok()).unwrap_or(40)
}

#[test]
fn a_chain_with_a_restart_after_every_batch_has_the_roots_of_one_run_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    restarted_chain(|| Arc::new(EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).unwrap()));
}

#[test]
fn a_chain_in_postgresql_has_the_roots_of_one_run_in_memory() {
    let Some(postgres) = PostgresServer::start("restarted chain in PostgreSQL") else { return };
    let options = PostgresOptions::new(&postgres.url());
    restarted_chain(|| Arc::new(PostgresDatabase::open(options.clone(), true, false).unwrap()));
}

/// Runs a chain with a new store, in its state after a restart, for each batch, and one in memory beside it.
fn restarted_chain(open: impl Fn() -> Arc<dyn Database>) {
    let reopened = || StateStore::over(open(), OPTIONS).unwrap();
    let workload = Arc::new(Workload::new(ForkId::new(9).unwrap(), 1).unwrap());
    let genesis = workload.genesis().build().unwrap();
    let set = zkevm_store::WriteSet {
        nodes: genesis.nodes.iter().map(|(hash, node)| (*hash, *node)).collect(),
        programs: genesis.programs.iter().map(|(hash, code)| (*hash, code.clone())).collect(),
        latest_root: Some(genesis.root),
    };
    let memory = StateStore::in_memory(MemoryLimits { volatile_bytes_max: 0, permanent_bytes_max: 1 << 30 });
    memory.persist(set.clone(), Durability::Permanent, 0).unwrap();
    let mut in_memory = workload.chain(0, genesis.root.to_b256());
    let mut restarted = workload.chain(0, genesis.root.to_b256());
    {
        let store = reopened();
        store.persist(set, Durability::Permanent, 0).unwrap();
        assert!(matches!(store.write_next(), WriterStep::Stored { .. }));
    }
    for number in 0..batches() {
        let store = reopened();
        let root = run(&store, &mut restarted, number);
        assert_eq!(root, run(&memory, &mut in_memory, number), "batch {number}");
        assert!(matches!(store.write_next(), WriterStep::Stored { .. }));
        assert_eq!(store.latest_root(), Ok(Digest::from(root)));
    }
    let store = reopened();
    assert!(store.node(&store.latest_root().unwrap()).unwrap().is_some());
}
