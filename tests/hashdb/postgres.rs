//! State in PostgreSQL: zkevm-prover's rows, several executors on one database, outages.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use revm::primitives::{B256, b256};
use zkevm_executor::config::{Config, DatabaseUrl, StoreKind};
use zkevm_executor::server::{RunningServer, Server};
use zkevm_store::encoding::{node_bytes, node_from_bytes};
use zkevm_store::{Database, PostgresDatabase, PostgresOptions, WriteSet};
use zkevm_testkit::sample::genesis::GenesisState;
use zkevm_testkit::sample::workload::Chain;
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_tree::StateReader;
use zkevm_tree::poseidon::hash_node;
use zkevm_tree::{Digest, TreeCheck};
use zkevm_types::ExecutorError;
use zkevm_types::ForkId;
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::request::Request;

use super::postgres_server::PostgresServer;
use super::support::{self, executor, hashdb, stored};

/// A server's configuration over this PostgreSQL; few and quick retries.
fn config(postgres: &PostgresServer) -> Config {
    let mut config = support::config(std::path::Path::new("unused"));
    config.store.kind = StoreKind::Postgres;
    config.store.init = true;
    config.store.url = DatabaseUrl(postgres.url());
    (config.store.connections, config.store.retries) = (8, 3);
    config.store.retry_after = Duration::from_millis(20);
    config
}

pub(crate) fn options(postgres: &PostgresServer) -> PostgresOptions {
    let retry_after = Duration::from_millis(20);
    PostgresOptions { connections: 8, retries: 3, retry_after, ..PostgresOptions::new(&postgres.url()) }
}

/// Opens the database on a thread that may block.
pub(crate) fn open(postgres: &PostgresServer) -> PostgresDatabase {
    PostgresDatabase::open(options(postgres), true, false).unwrap()
}

pub(crate) async fn serve(postgres: &PostgresServer) -> RunningServer {
    Server::new(config(postgres)).start().await.unwrap()
}

/// A chain of one client and its genesis.
pub(crate) fn chain(clients: u64) -> (Arc<Workload>, GenesisState) {
    let workload = Arc::new(Workload::new(ForkId::new(9).unwrap(), clients).unwrap());
    let genesis = workload.genesis().build().unwrap();
    (workload, genesis)
}

/// Writes a genesis into the database, before any server runs.
pub(crate) fn fill(postgres: &PostgresServer, genesis: &GenesisState) {
    let set = WriteSet {
        nodes: genesis.nodes.iter().map(|(hash, node)| (*hash, *node)).collect(),
        programs: genesis.programs.iter().map(|(hash, code)| (*hash, code.clone())).collect(),
        latest_root: Some(genesis.root),
    };
    tokio::task::block_in_place(|| open(postgres).commit(&[&set])).unwrap();
}

/// Runs the next batch of a chain on a server.
async fn run(server: &RunningServer, chain: &mut Chain) -> wire::ProcessBatchResponseV2 {
    let Request::V2(request) = Request::new(&chain.next_batch(Kind::TokenTransfers, 4)) else { panic!("fork 9 is V2") };
    let answer = executor(server).await.process_batch_v2(*request).await.unwrap().into_inner();
    if answer.error == ExecutorError::NoError.number() {
        chain.state_root = B256::from_slice(&answer.new_state_root);
        chain.acc_input_hash = B256::from_slice(&answer.new_acc_input_hash);
    }
    answer
}

#[test]
fn a_database_without_tables_is_refused_until_told_to_make_them() {
    let Some(postgres) = PostgresServer::start("postgres without tables") else { return };
    let refused = PostgresDatabase::open(options(&postgres), false, false).err().unwrap().to_string();
    assert!(refused.contains("state.nodes") && refused.contains("--init-db"), "{refused}");
    open(&postgres);
    let database = PostgresDatabase::open(options(&postgres), false, false).unwrap();
    assert_eq!(database.latest_root(), Ok(Digest::ZERO));
    let other = PostgresOptions { nodes_table: "other.nodes; --".to_owned(), ..options(&postgres) };
    assert!(PostgresDatabase::open(other, true, false).is_err());
}

/// The account of 1000 ETH of the public fork-9 input: rows as zkevm-prover writes them (state-tree §9).
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_zkevm_prover_are_read() {
    let Some(postgres) = PostgresServer::start("rows of zkevm-prover") else { return };
    let database = tokio::task::block_in_place(|| open(&postgres));
    // The value's row has 64 bytes: both lengths are in use.
    let rows = "INSERT INTO state.nodes (hash, data) VALUES
        ('\\x3ca39a7b5b419d1c50c89a8d15d1234f6cbc8baadb465efb609832bbc19f9026',
         '\\xcddc57c0d0fdd4edd24df1950f2d8f154c2f3e938869b82d649e63bfe1247ba4b69b044f5e694795f57d81efba5d4445339438195426ad0a3efad1dd58c2259d0000000000000001000000000000000000000000000000000000000000000000'),
        ('\\x3efad1dd58c2259d339438195426ad0af57d81efba5d4445b69b044f5e694795',
         '\\x00000000dea000000000000035c9adc5000000000000003600000000000000000000000000000000000000000000000000000000000000000000000000000000');
        UPDATE state.nodes SET data = '\\x609832bbc19f90266cbc8baadb465efb50c89a8d15d1234f3ca39a7b5b419d1c00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000'
         WHERE hash = '\\xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff'";
    postgres.client().await.batch_execute(rows).await.unwrap();
    tokio::task::block_in_place(|| {
        let root: Digest = b256!("3ca39a7b5b419d1c50c89a8d15d1234f6cbc8baadb465efb609832bbc19f9026").into();
        assert_eq!(database.latest_root(), Ok(root));
        let count = TreeCheck::new(&database).check(root).unwrap();
        assert_eq!((count.branches, count.leaves, count.values), (0, 1, 1));
        assert_eq!(database.node(&Digest([7; 4])), Ok(None));
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_written_hash_to_their_keys_and_name_the_latest_root() {
    let Some(postgres) = PostgresServer::start("rows written to PostgreSQL") else { return };
    let (workload, genesis) = chain(1);
    fill(&postgres, &genesis);
    let server = serve(&postgres).await;
    let mut chain = workload.chain(0, genesis.root.to_b256());
    let answer = run(&server, &mut chain).await;
    assert_eq!(answer.error, ExecutorError::NoError.number());
    stored(&mut hashdb(&server).await, answer.flush_id).await;
    server.shutdown().await;

    let client = postgres.client().await;
    let (mut nodes, mut root) = (0, None);
    for row in client.query("SELECT hash, data FROM state.nodes", &[]).await.unwrap() {
        let (key, data): (Vec<u8>, Vec<u8>) = (row.get(0), row.get(1));
        assert_eq!((key.len(), data.len()), (32, 96));
        let node = node_from_bytes(&Digest::ZERO, &data, String::new).unwrap();
        assert_eq!(node_bytes(&node)[..], data);
        if key == [0xff; 32] {
            root = Some(Digest([node[0], node[1], node[2], node[3]]).to_b256());
        } else {
            assert_eq!(hash_node(&node).to_b256().0[..], key);
            nodes += 1;
        }
    }
    assert!(nodes > genesis.nodes.len(), "{nodes} rows");
    assert_eq!(root, Some(chain.state_root));
    let programs = client.query("SELECT hash, data FROM state.program", &[]).await.unwrap();
    assert_eq!(programs.len(), genesis.programs.len());
    for row in programs {
        let (key, code): (Vec<u8>, Vec<u8>) = (row.get(0), row.get(1));
        assert_eq!(zkevm_tree::linear_hash(&code).to_b256().0[..], key);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_that_share_a_database_go_on_from_each_other() {
    let Some(postgres) = PostgresServer::start("two executors on PostgreSQL") else { return };
    let (workload, genesis) = chain(1);
    fill(&postgres, &genesis);
    let servers = [serve(&postgres).await, serve(&postgres).await];
    let mut shared = workload.chain(0, genesis.root.to_b256());
    for number in 0..8 {
        let server = &servers[number % 2];
        let answer = run(server, &mut shared).await;
        assert_eq!(answer.error, ExecutorError::NoError.number(), "batch {number}");
        stored(&mut hashdb(server).await, answer.flush_id).await;
        // Both name the row, whoever wrote it last.
        for server in &servers {
            let latest = hashdb(server).await.get_latest_state_root(()).await.unwrap().into_inner();
            assert_eq!(support::digest(latest.latest_root), shared.state_root.into(), "batch {number}");
        }
    }
    for server in servers {
        server.shutdown().await;
    }
    let alone = Server::new(Config { store: support_memory(), ..config(&postgres) }).start().await.unwrap();
    let mut in_memory = workload.chain(0, genesis.root.to_b256());
    let mut first = in_memory.empty_batch();
    first.db = genesis.nodes.iter().map(|(hash, node)| (*hash, node.into())).collect();
    first.contracts_bytecode = genesis.programs.clone();
    let Request::V2(first) = Request::new(&first) else { panic!("fork 9 is V2") };
    executor(&alone).await.process_batch_v2(*first).await.unwrap();
    for _ in 0..8 {
        run(&alone, &mut in_memory).await;
    }
    assert_eq!(shared.state_root, in_memory.state_root);
    alone.shutdown().await;
}

fn support_memory() -> zkevm_executor::config::StoreOptions {
    let mut config = support::config(std::path::Path::new("unused"));
    config.store.kind = StoreKind::Memory;
    config.store
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_executors_write_nothing() {
    let Some(postgres) = PostgresServer::start("read-only on PostgreSQL") else { return };
    let (workload, genesis) = chain(1);
    fill(&postgres, &genesis);
    let client = postgres.client().await;
    let count = async || client.query_one("SELECT COUNT(*) FROM state.nodes", &[]).await.unwrap().get::<_, i64>(0);
    let before = count().await;
    let mut config = config(&postgres);
    config.database.read_only = true;
    let server = Server::new(config).start().await.unwrap();
    let mut input = workload.chain(0, genesis.root.to_b256()).next_batch(Kind::Transfers, 2);
    input.update_merkle_tree = false;
    let Request::V2(request) = Request::new(&input) else { panic!("fork 9 is V2") };
    let answer = executor(&server).await.process_batch_v2(*request).await.unwrap().into_inner();
    assert_eq!((answer.error, answer.flush_id), (ExecutorError::NoError.number(), 0));
    server.shutdown().await;
    assert_eq!(count().await, before);
}

/// PostgreSQL goes away and comes back while clients write: nothing acknowledged is lost, no answer is wrong, what needs the
/// database meanwhile gets a database error.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_loses_nothing_and_ends_by_itself() {
    let Some(mut postgres) = PostgresServer::start("outage of PostgreSQL") else { return };
    const CLIENTS: u64 = 4;
    let (workload, genesis) = chain(CLIENTS);
    fill(&postgres, &genesis);
    let server = Arc::new(serve(&postgres).await);
    let (stop, batches) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (server, stop, batches) = (server.clone(), stop.clone(), batches.clone());
            let mut chain = workload.chain(client, genesis.root.to_b256());
            tokio::spawn(async move {
                let (mut roots, mut last_flush) = (Vec::new(), 0);
                while !stop.load(Ordering::Relaxed) {
                    let before = chain.clone();
                    let answer = run(&server, &mut chain).await;
                    if answer.error == ExecutorError::NoError.number() {
                        last_flush = answer.flush_id;
                        roots.push(chain.state_root);
                        batches.fetch_add(1, Ordering::Relaxed);
                    } else {
                        assert_eq!(answer.error, ExecutorError::DbError.number());
                        chain = before;
                    }
                }
                (roots, last_flush)
            })
        })
        .collect();
    let more_than = async |count: u64| {
        let limit = Instant::now() + Duration::from_secs(30);
        while batches.load(Ordering::Relaxed) <= count {
            assert!(Instant::now() < limit, "no batch for 30 s");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    for _ in 0..2 {
        more_than(batches.load(Ordering::Relaxed) + 8).await;
        tokio::task::block_in_place(|| postgres.down());
        // A state nobody has read before needs the database.
        let mut unknown = workload.chain(0, B256::with_last_byte(7));
        let asked_at = Instant::now();
        let answer = run(&server, &mut unknown).await;
        assert_eq!(answer.error, ExecutorError::DbError.number());
        assert!(asked_at.elapsed() >= Duration::from_millis(60), "three retries, 20 ms apart");
        tokio::time::sleep(Duration::from_millis(300)).await;
        tokio::task::block_in_place(|| postgres.up());
    }
    more_than(batches.load(Ordering::Relaxed) + 8).await;
    stop.store(true, Ordering::Relaxed);
    let mut roots = Vec::new();
    for client in clients {
        let (made, last_flush) = client.await.unwrap();
        stored(&mut hashdb(&server).await, last_flush).await;
        roots.extend(made);
    }
    Arc::into_inner(server).unwrap().shutdown().await;
    tokio::task::block_in_place(|| {
        let database = open(&postgres);
        let mut check = TreeCheck::new(&database);
        for root in &roots {
            check.check((*root).into()).unwrap();
        }
        let latest = database.latest_root().unwrap();
        assert!(roots.contains(&latest.to_b256()));
    });
}
