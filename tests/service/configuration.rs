//! The configuration through the public doors: the binary, and a server that starts from zkevm-prover's own file.

use std::path::Path;
use std::process::Command;

use zkevm_executor::config::ConfigBuilder;
use zkevm_executor::server::Server;

const PROVER_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/prover-example.json");

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_from_a_prover_file() {
    let mut builder = ConfigBuilder::new().unwrap();
    builder.file(Path::new(PROVER_FILE)).unwrap();
    // What the file cannot have on a test machine: its ports and its database.
    for (key, value) in [("store.kind", "memory"), ("grpc.port", "0"), ("hashdb.port", "0"), ("http.port", "0")] {
        builder.flag(key, value, "--set").unwrap();
    }
    let running = Server::new(builder.build().unwrap()).start().await.unwrap();
    assert_ne!(running.grpc_addr().port(), 0);
    running.shutdown().await;
}

#[test]
fn config_check_prints_origins_and_ignored_keys_and_no_secret() {
    let output = Command::new(env!("CARGO_BIN_EXE_zkevm-executor"))
        .args(["config", "check", "-c", PROVER_FILE, "--set", "executor.threads=5"])
        .env("HASHDB_SERVER_PORT", "6")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{text}"));
    assert!(line("threads = 5 ").ends_with("# --set"), "{text}");
    assert!(line("port = 6 ").ends_with("# environment variable HASHDB_SERVER_PORT"), "{text}");
    assert!(line("url = \"postgresql").contains("prover_user:***@zkevm-state-db"), "{text}");
    assert!(line("url = \"postgresql").ends_with("prover-example.json, databaseURL"), "{text}");
    assert!(line("# ignored keys of ").contains("unknown: inputFile"), "{text}");
    assert!(!text.contains("prover_pass"), "{text}");
}

#[test]
fn config_check_fails_where_serve_would() {
    let output = Command::new(env!("CARGO_BIN_EXE_zkevm-executor"))
        .args(["config", "check", "--set", "grpc.port=x"])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("grpc.port = x (from --set) is refused"), "{text}");
}
