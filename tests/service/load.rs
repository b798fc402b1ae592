//! The command `load` against a running server, as a user runs it.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::sync::Arc;

use parking_lot::Mutex;
use revm::primitives::Bytes;
use serde_json::Value;
use zkevm_executor::server::Server;
use zkevm_pool::CancelToken;
use zkevm_tree::StateReader;
use zkevm_types::BatchInput;

use crate::support::{TestServer, config};

async fn load(arguments: Vec<String>) -> Output {
    let command = move || {
        std::process::Command::new(env!("CARGO_BIN_EXE_zkevm-executor")).arg("load").args(arguments).output().unwrap()
    };
    tokio::task::spawn_blocking(command).await.unwrap()
}

fn arguments(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_are_sent_and_their_roots_hold() {
    let running = Server::new(config()).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    // The queue of this server holds two batches: some calls are refused and sent again.
    for rate in ["", "--rate 20"] {
        let file = folder.path().join("summary.json");
        let line = format!(
            "--target {} --clients 4 --connections 6 --batch-txs 2 --duration 1s --retry-refused --mix tokens:1,transfers:1 --json {} {rate}",
            running.grpc_addr(),
            file.display()
        );
        let output = load(arguments(&line)).await;
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("latency, from the intended time"), "{text}");
        let summary: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let batches = summary["batches"].as_u64().unwrap();
        assert!(batches > 0 && summary["txs"] == 2 * batches, "{summary}");
        assert!(summary["verified"]["batches"].as_u64().unwrap() > 0, "{summary}");
        assert_eq!((&summary["clients"], &summary["connections"]), (&4.into(), &6.into()));
        assert_eq!(summary["latency"]["count"], summary["service_time"]["count"]);
        if !rate.is_empty() {
            assert!(batches <= 20, "{summary}");
        }
    }
    running.shutdown().await;
}

/// Growing batches of the first and the newest fork with stateless batches, and one between.
#[tokio::test(flavor = "multi_thread")]
async fn sequencers_send_growing_batches_and_every_root_holds() {
    let running = Server::new(config()).start().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    for fork in [7, 9, 13] {
        let file = folder.path().join("summary.json");
        let line = format!(
            "--target {} --mix stateless --fork {fork} --clients 3 --blocks 4 --batch-txs 2 --duration 2s --retry-refused --json {}",
            running.grpc_addr(),
            file.display()
        );
        let output = load(arguments(&line)).await;
        assert!(output.status.success(), "fork {fork}: {output:?}");
        let summary: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let requests = summary["batches"].as_u64().unwrap();
        assert!(requests > 12, "fork {fork}: more than one batch of each client: {summary}");
        assert_eq!((&summary["verified"]["batches"], &summary["txs"]), (&requests.into(), &(2 * requests).into()));
    }
    let refused = load(arguments(&format!("--target {} --mix stateless --fork 6", running.grpc_addr()))).await;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("fork 6 has no stateless batches"), "{text}");
    running.shutdown().await;
}

/// Runs a load of three clients and returns the data of their batches by number: three each, in order of their bytes.
async fn sent(seed: &str) -> BTreeMap<u64, BTreeSet<Bytes>> {
    let batches = Arc::<Mutex<BTreeMap<u64, BTreeSet<Bytes>>>>::default();
    let noted = Arc::clone(&batches);
    let engine = move |input: &BatchInput, reader: &dyn StateReader, cancel: &CancelToken| {
        if !input.batch_l2_data.is_empty() {
            noted.lock().entry(input.old_batch_num).or_default().insert(input.batch_l2_data.clone());
        }
        zkevm_processor::Engine::default().process(input, reader, cancel)
    };
    let running = Server::new(config()).with_engine(engine).start().await.unwrap();
    let line = format!("--target {} --clients 3 --batch-txs 2 --duration 2s {seed}", running.grpc_addr());
    let output = load(arguments(&format!("{line} --mix tokens:1,transfers:1 --retry-refused"))).await;
    assert!(output.status.success(), "{output:?}");
    running.shutdown().await;
    // At the end of the time not every client has got equally far.
    let mut batches = batches.lock().clone();
    batches.retain(|_, batches| batches.len() == 3);
    batches
}

#[tokio::test(flavor = "multi_thread")]
async fn two_loads_of_one_seed_send_the_same_requests() {
    let (one, again, other, none) =
        (sent("--seed 7").await, sent("--seed 7").await, sent("--seed 8").await, sent("").await);
    let common = one.len().min(again.len());
    assert!(common > 0, "no batch was sent by all clients");
    assert_eq!(one.iter().take(common).collect::<Vec<_>>(), again.iter().take(common).collect::<Vec<_>>());
    for different in [&other, &none] {
        assert!(one[&0].is_disjoint(&different[&0]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_wrong_roots_is_found_out() {
    // The double answers every batch with the same root.
    let server = TestServer::start().await;
    let output = load(arguments(&format!("--target {} --clients 1 --duration 1s", server.running.grpc_addr()))).await;
    assert!(!output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_an_error() {
    let output = load(arguments("--target 127.0.0.1:1 --clients 1 --duration 1s")).await;
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("cannot connect to 127.0.0.1:1"), "{text}");
}
