//! More about rows in PostgreSQL: the `db` maps of public vectors as rows, a database that is slow.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use revm::primitives::B256;
use serde_json::Value;
use zkevm_store::{Database, PostgresDatabase, PostgresOptions, WriteSet};
use zkevm_testkit::skip;
use zkevm_testkit::vectors::{Vector, executor_inputs};
use zkevm_tree::Digest;
use zkevm_tree::StateReader;
use zkevm_types::ExecutorError;
use zkevm_wire::request::Request;

use super::postgres::{open, options, serve};
use super::postgres_server::PostgresServer;
use super::support::executor;

/// Vectors whose maps are written.
const FILES: usize = 12;

/// Statements that write a file's maps as zkevm-prover would, made from its text and not with our encoder.
fn statements(file: &Path) -> String {
    let json: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut sql = String::new();
    let mut row = |table: &str, key: &str, data: &str| {
        let key = key.trim_start_matches("0x");
        let _ =
            writeln!(sql, "INSERT INTO state.{table} VALUES ('\\x{key:0>64}', '\\x{data}') ON CONFLICT DO NOTHING;");
    };
    for (key, elements) in json["db"].as_object().into_iter().flatten() {
        let elements = elements.as_array().unwrap().iter().map(|element| element.as_str().unwrap());
        row("nodes", key, &elements.collect::<String>());
    }
    for (key, code) in json["contractsBytecode"].as_object().into_iter().flatten() {
        // A key may also be an address, with a hash for its value.
        if key.trim_start_matches("0x").len() > 40 {
            row("program", key, code.as_str().unwrap().trim_start_matches("0x"));
        }
    }
    sql
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_run_on_the_db_maps_of_vectors_written_as_rows() {
    let Some(folder) = skip::vectors("executor-input/fork-9/forced") else { return };
    let Some(postgres) = PostgresServer::start("db maps of vectors as rows") else { return };
    let server = serve(&postgres).await;
    let sql = postgres.client().await;
    let mut client = executor(&server).await;
    let mut count = 0;
    for file in executor_inputs(&[folder]).unwrap() {
        let vector = Vector::read(&file).unwrap();
        // Made with options no released fork knows, or a tree without nodes.
        if vector.block_gas_limit.is_some() || vector.input.db.is_empty() {
            continue;
        }
        sql.batch_execute(&statements(&file)).await.unwrap_or_else(|error| panic!("{}: {error:?}", file.display()));
        // Not the root the file names: that of some files is not what zkevm-prover answers.
        let with_map = vector.execute().unwrap().roots.expect("the batch runs").new_state_root;
        let mut input = vector.input;
        input.db.clear();
        input.contracts_bytecode.clear();
        let Request::V2(request) = Request::new(&input) else { panic!("fork 9 is V2") };
        let answer = client.process_batch_v2(*request).await.unwrap().into_inner();
        assert_eq!(answer.error, ExecutorError::NoError.number(), "{}", file.display());
        assert_eq!(B256::from_slice(&answer.new_state_root), with_map, "{}", file.display());
        count += 1;
        if count == FILES {
            break;
        }
    }
    assert_eq!(count, FILES);
    server.shutdown().await;
}

/// Each statement takes a while here, and all together longer than one may: the group is stored nevertheless.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_group_gets_through_a_slow_database() {
    let Some(postgres) = PostgresServer::start("slow PostgreSQL") else { return };
    tokio::task::block_in_place(|| drop(open(&postgres)));
    let slow = "CREATE FUNCTION state.wait() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(1); RETURN NULL; END $$;
        CREATE TRIGGER slow AFTER INSERT ON state.nodes FOR EACH STATEMENT EXECUTE FUNCTION state.wait();";
    postgres.client().await.batch_execute(slow).await.unwrap();
    tokio::task::block_in_place(|| {
        let options = PostgresOptions { timeout: Duration::from_secs(4), ..options(&postgres) };
        let database = PostgresDatabase::open(options, false, true).unwrap();
        // Six statements of at most 8192 rows. What the nodes hash to does not matter to the database.
        let nodes: Vec<_> = (0..45_000).map(|number| (Digest([number, 0, 0, 1]), [number; 12])).collect();
        let set = WriteSet { nodes, programs: Vec::new(), latest_root: None };
        database.commit(&[&set]).unwrap();
        assert_eq!(database.node(&Digest([44_999, 0, 0, 1])), Ok(Some([44_999; 12])));
    });
}

/// A reader of a replica may ask for a node before it has come.
#[tokio::test(flavor = "multi_thread")]
async fn who_only_reads_waits_for_a_node_that_is_on_its_way() {
    let Some(postgres) = PostgresServer::start("lagging replica of PostgreSQL") else { return };
    tokio::task::block_in_place(|| drop(open(&postgres)));
    let late = Digest([1, 2, 3, 4]);
    let patient = PostgresOptions { retries: 200, ..options(&postgres) };
    let reader = tokio::task::block_in_place(|| PostgresDatabase::open(patient, false, true).unwrap());
    let reading = tokio::task::spawn_blocking(move || reader.node(&late));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!reading.is_finished());
    let set = WriteSet { nodes: vec![(late, [5; 12])], ..WriteSet::default() };
    tokio::task::block_in_place(|| open(&postgres).commit(&[&set])).unwrap();
    assert_eq!(reading.await.unwrap(), Ok(Some([5; 12])));

    let (absent, asked_at) = (Digest([9; 4]), Instant::now());
    let hasty = PostgresOptions { retries: 3, retry_after: Duration::from_millis(20), ..options(&postgres) };
    tokio::task::block_in_place(|| {
        let reader = PostgresDatabase::open(hasty.clone(), false, true).unwrap();
        assert_eq!(reader.node(&absent), Ok(None));
        assert!(asked_at.elapsed() >= Duration::from_millis(60), "three times, 20 ms apart");
        // Who writes knows what is there.
        let slow = PostgresOptions { retries: 3, retry_after: Duration::from_secs(20), ..hasty };
        let asked_at = Instant::now();
        assert_eq!(PostgresDatabase::open(slow, false, false).unwrap().node(&absent), Ok(None));
        assert!(asked_at.elapsed() < Duration::from_secs(20));
    });
}
