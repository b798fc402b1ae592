//! The command `load` against a running server, as a user runs it.

use std::process::Output;

use serde_json::Value;
use zkevm_executor::server::Server;

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
