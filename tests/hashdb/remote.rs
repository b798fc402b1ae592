//! An executor without a store of its own: state in the HashDB service of another server (`hashdb.url`).

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use revm::primitives::{B256, U256};
use tonic::transport::Channel;
use zkevm_executor::config::{Config, ConfigBuilder, StoreKind};
use zkevm_executor::server::{RunningServer, Server};
use zkevm_testkit::sample::Kind;
use zkevm_testkit::sample::genesis::GenesisState;
use zkevm_tree::Digest;
use zkevm_types::BatchInput;
use zkevm_types::ExecutorError;
use zkevm_wire::proto::executor::v1 as executor_wire;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;
use zkevm_wire::proto::hashdb::v1 as wire;
use zkevm_wire::request::Request;

use super::postgres::chain;
use super::support::*;

/// Server with a database, its HashDB on a port that stays the same over restarts.
async fn start_at(folder: &Path, hashdb: SocketAddr) -> RunningServer {
    let mut config = config(folder);
    config.hashdb.port = hashdb.port();
    Server::new(config).start().await.unwrap()
}

/// Executor that uses the HashDB at this address; `retries` quick ones.
fn remote_config(hashdb: SocketAddr, retries: u32) -> Config {
    let mut config = config(Path::new("unused"));
    config.store.kind = StoreKind::Remote;
    config.hashdb.url = hashdb.to_string();
    config.store.retries = retries;
    config.store.retry_after = Duration::from_millis(20);
    config
}

async fn load_genesis(server: &RunningServer, genesis: &GenesisState) {
    let mut client = hashdb(server).await;
    let name = |hash: &Digest| hex::encode(hash.to_b256());
    let input_db = genesis.nodes.iter().map(|(hash, node)| (name(hash), wire::FeList { fe: node.to_vec() })).collect();
    client.load_db(wire::LoadDbRequest { input_db, persistent: true, state_root: fea(genesis.root) }).await.unwrap();
    let input_program_db = genesis.programs.iter().map(|(hash, code)| (name(hash), code.0.clone())).collect();
    client.load_program_db(wire::LoadProgramDbRequest { input_program_db, persistent: true }).await.unwrap();
    let latest = client.get_latest_state_root(()).await.unwrap().into_inner().latest_root;
    assert_eq!(digest(latest), genesis.root);
}

async fn send(
    client: &mut ExecutorServiceClient<Channel>,
    input: &BatchInput,
) -> executor_wire::ProcessBatchResponseV2 {
    let mut input = input.clone();
    input.update_merkle_tree = true;
    let Request::V2(request) = Request::new(&input) else { panic!("fork 9 is V2") };
    client.process_batch_v2(*request).await.unwrap().into_inner()
}

/// Waits the way zkevm-node does: on the executor's own status.
async fn stored_by(client: &mut ExecutorServiceClient<Channel>, flush_id: u64, prover_id: &str) {
    let start = Instant::now();
    loop {
        let status = client.get_flush_status(()).await.unwrap().into_inner();
        assert_eq!(status.prover_id, prover_id);
        if status.stored_flush_id >= flush_id {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(20), "flush {flush_id} was not stored in 20 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_goes_through_a_remote_hashdb_and_its_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut database = start_at(folder.path(), ([127, 0, 0, 1], 0).into()).await;
    let address = database.hashdb_addr();
    let (workload, genesis) = chain(1);
    load_genesis(&database, &genesis).await;

    let remote = Server::new(remote_config(address, 20)).start().await.unwrap();
    let mut client = executor(&remote).await;
    let mut chain = workload.chain(0, genesis.root.to_b256());
    let mut ids = 0;
    for number in 0..12 {
        let kind = if number % 2 == 0 { Kind::Transfers } else { Kind::TokenTransfers };
        let answer = send(&mut client, &chain.next_batch(kind, 4)).await;
        assert_eq!(answer.error, ExecutorError::NoError.number(), "batch {number}: {:?}", answer.debug);
        assert_eq!((answer.flush_id, answer.prover_id.as_str()), (ids + 1, remote.prover_id()));
        ids = answer.flush_id;
        chain.state_root = B256::from_slice(&answer.new_state_root);
        chain.acc_input_hash = B256::from_slice(&answer.new_acc_input_hash);
        if number == 5 {
            // What was accepted and is not stored yet has to survive this too.
            database.shutdown().await;
            database = start_at(folder.path(), address).await;
        }
    }
    stored_by(&mut client, ids, remote.prover_id()).await;

    // The other side has all of it, and another executor that starts from nothing goes on from there.
    let mut other = hashdb(&database).await;
    let root = Digest::from(chain.state_root);
    assert_eq!(digest(other.get_latest_state_root(()).await.unwrap().into_inner().latest_root), root);
    let second = Server::new(remote_config(address, 20)).start().await.unwrap();
    let answer = send(&mut executor(&second).await, &chain.next_batch(Kind::TokenTransfers, 4)).await;
    assert_eq!(answer.error, ExecutorError::NoError.number());
    // So it does with its own HashDB service.
    for account in &workload.genesis().accounts {
        let key = zkevm_tree::account_key(account.address, zkevm_tree::LeafKind::Balance);
        let expected = get(&mut other, root, key).await;
        assert_eq!(expected.1, SUCCESS);
        assert_eq!(get(&mut hashdb(&second).await, root, key).await, expected);
    }
    for server in [remote, second, database] {
        server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_remote_hashdb_requests_get_a_database_error_until_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let database = start_at(folder.path(), ([127, 0, 0, 1], 0).into()).await;
    let address = database.hashdb_addr();
    let (workload, genesis) = chain(1);
    load_genesis(&database, &genesis).await;
    let remote = Server::new(remote_config(address, 2)).start().await.unwrap();
    database.shutdown().await;

    let mut client = executor(&remote).await;
    let input = workload.chain(0, genesis.root.to_b256()).next_batch(Kind::Transfers, 3);
    let refused = send(&mut client, &input).await;
    assert_eq!(refused.error, ExecutorError::DbError.number(), "{:?}", refused.debug);
    assert_eq!((refused.flush_id, refused.stored_flush_id), (0, 0));

    let database = start_at(folder.path(), address).await;
    let start = Instant::now();
    let answer = loop {
        let answer = send(&mut client, &input).await;
        if answer.error != ExecutorError::DbError.number() || start.elapsed() > Duration::from_secs(20) {
            break answer;
        }
    };
    assert_eq!(answer.error, ExecutorError::NoError.number());
    stored_by(&mut client, answer.flush_id, remote.prover_id()).await;
    // A node that is nowhere is that, not an error of the database.
    let mut own = hashdb(&remote).await;
    assert_eq!(get(&mut own, raw(12345), raw(1)).await, (U256::ZERO, NOT_FOUND));
    remote.shutdown().await;
    database.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_hashdb_that_is_not_there_refuses_the_start() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = Server::new(remote_config(free, 1)).start().await.err().expect("nobody is there").to_string();
    assert!(error.contains(&free.to_string()), "{error}");
}

#[test]
fn the_setting_chooses_the_store() {
    let config = |url| {
        let mut builder = ConfigBuilder::new().unwrap();
        builder.flag("hashdb.url", url, "test").unwrap();
        builder.build().unwrap()
    };
    assert_eq!(config("10.0.0.1:50061").store.kind, StoreKind::Remote);
    assert_eq!(config("local").store.kind, StoreKind::Embedded);
}
