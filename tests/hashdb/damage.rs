//! Entries that do not have the hash they are listed under: from clients, and in the rows of a database.

use revm::primitives::U256;
use tonic::Code;
use zkevm_executor::server::RunningServer;
use zkevm_store::{Database, PostgresDatabase, WriteSet};
use zkevm_tree::{Digest, linear_hash};
use zkevm_wire::proto::hashdb::v1 as wire;
use zkevm_wire::proto::stats::v1::stats_service_client::StatsServiceClient;
use zkevm_wire::proto::stats::v1::{GetStatsRequest, GetStatsResponse};

use super::postgres::{open, options, serve};
use super::postgres_server::PostgresServer;
use super::support::*;

const LEAVES: u64 = 200;

async fn statistics(server: &RunningServer) -> GetStatsResponse {
    let mut client = StatsServiceClient::new(connect(server.grpc_addr()).await);
    client.get_stats(GetStatsRequest { history_windows: 0 }).await.unwrap().into_inner()
}

/// Keys that are spread over the tree.
fn key(number: u64) -> Digest {
    Digest([number * 7919, number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1, number * 3, number * 5])
}

#[tokio::test(flavor = "multi_thread")]
async fn other_code_under_the_hash_of_a_program_is_refused_before_and_after_it_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    let (right, other) = (vec![0x60, 0x2a, 0x5f, 0x52], vec![0x60, 0x66, 0x5f, 0x52]);
    let hash = linear_hash(&right);
    let set = |data: &[u8], persistence, uuid: &str| wire::SetProgramRequest {
        key: fea(hash),
        data: data.to_vec().into(),
        persistence,
        batch_uuid: uuid.to_owned(),
        ..Default::default()
    };
    let mut refused = 0;
    for round in 0..2 {
        for (persistence, uuid) in [(DATABASE, ""), (CACHE, ""), (DATABASE, "session"), (CACHE, "session")] {
            let answer = client.set_program(set(&other, persistence, uuid)).await.unwrap().into_inner();
            assert_eq!(code(answer.result), wire::result_code::Code::InternalError as i32, "round {round}");
            refused += 1;
        }
        let answer = client.set_program(set(&right, DATABASE, "")).await.unwrap().into_inner();
        assert_eq!(code(answer.result), SUCCESS);
    }
    let input_program_db = [(hex(hash), other.clone().into())].into();
    let load = wire::LoadProgramDbRequest { input_program_db, persistent: true };
    assert_eq!(client.load_program_db(load).await.unwrap_err().code(), Code::Cancelled);
    let stats = statistics(&server).await;
    assert_eq!(stats.now.unwrap().state.unwrap().refused_entries, refused + 1);
    assert!(server.shutdown().await);

    // Nothing that came with a wrong hash has taken the place of what is right.
    let server = start(folder.path()).await;
    let request = wire::GetProgramRequest { key: fea(hash), ..Default::default() };
    let answer = hashdb(&server).await.get_program(request).await.unwrap().into_inner();
    assert_eq!((code(answer.result), answer.data.to_vec()), (SUCCESS, right));
    server.shutdown().await;
}

/// Writes leaves through the service and returns their root.
async fn fill(server: &RunningServer) -> Digest {
    let client = hashdb(server).await;
    let mut session = Session::start(client.clone(), Digest::ZERO).await;
    for number in 1..=LEAVES {
        session.set(key(number), U256::from(number * 1000)).await;
    }
    session.set_program(linear_hash(&[7, 7]), &[7, 7]).await;
    let (root, flush_id) = session.flush().await;
    stored(&mut client.clone(), flush_id).await;
    root
}

/// Reads all leaves: how many are right and how many are an error. None may be wrong.
async fn read(server: &RunningServer, root: Digest) -> (u64, u64) {
    let (mut client, mut right, mut errors) = (hashdb(server).await, 0, 0);
    for number in 1..=LEAVES {
        let (value, code) = get(&mut client, root, key(number)).await;
        match code {
            SUCCESS => {
                assert_eq!(value, U256::from(number * 1000), "leaf {number} is wrong with a success code");
                right += 1;
            }
            code => {
                assert_ne!(code, NOT_FOUND, "damage is no missing node");
                errors += 1;
            }
        }
    }
    (right, errors)
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_rows_of_postgres_are_errors_that_name_table_and_row() {
    let Some(postgres) = PostgresServer::start("changed rows") else { return };
    let server = serve(&postgres).await;
    let root = fill(&server).await;
    server.shutdown().await;

    let sql = postgres.client().await;
    let spared = root.to_b256();
    let change = format!(
        "UPDATE state.nodes SET data = set_byte(data, 7, (get_byte(data, 7) + 1) % 256)
           WHERE get_byte(hash, 31) % 50 = 0 AND get_byte(hash, 0) < 255 AND hash <> '\\x{spared:x}';
         UPDATE state.program SET data = '\\x0808';
         UPDATE state.nodes SET data = substring(data from 1 for 56) WHERE get_byte(hash, 31) % 50 = 1
           AND hash <> '\\x{spared:x}' AND get_byte(hash, 0) < 255"
    );
    sql.batch_execute(&change).await.unwrap();
    let server = serve(&postgres).await;
    let (right, errors) = read(&server, root).await;
    assert!(right > 0 && errors > 0, "{right} right, {errors} errors");
    let request = wire::GetProgramRequest { key: fea(linear_hash(&[7, 7])), ..Default::default() };
    let answer = hashdb(&server).await.get_program(request).await.unwrap().into_inner();
    assert_eq!((code(answer.result), answer.data.len()), (wire::result_code::Code::DbError as i32, 0));
    assert!(statistics(&server).await.now.unwrap().state.unwrap().damaged_entries > errors);
    server.shutdown().await;

    let database = tokio::task::block_in_place(|| PostgresDatabase::open(options(&postgres), false, false).unwrap());
    let rows = sql.query("SELECT hash FROM state.nodes WHERE length(data) = 56", &[]).await.unwrap();
    let hash: Vec<u8> = rows[0].get(0);
    let hash = revm::primitives::B256::from_slice(&hash);
    let error = tokio::task::block_in_place(|| zkevm_tree::StateReader::node(&database, &hash.into())).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("state.nodes") && error.contains(&hash.to_string()), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_latest_root_row_that_names_nothing_is_an_error() {
    let Some(postgres) = PostgresServer::start("changed latest root") else { return };
    let set = WriteSet { latest_root: Some(Digest([1, 2, 3, 4])), ..WriteSet::default() };
    tokio::task::block_in_place(|| open(&postgres).commit(&[&set])).unwrap();
    let server = serve(&postgres).await;
    let answer = hashdb(&server).await.get_latest_state_root(()).await.unwrap().into_inner();
    assert_eq!(code(answer.result), wire::result_code::Code::DbError as i32);
    server.shutdown().await;
}
