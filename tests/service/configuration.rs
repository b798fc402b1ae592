//! The configuration through the public interfaces: the binary, and a server that starts from zkevm-prover's own file.

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

/// Runs the binary to its end and returns what it wrote to stdout and to stderr.
fn refused_start(args: &[&str]) -> [String; 2] {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zkevm-executor"));
    command.args(["serve", "-c", PROVER_FILE, "--set=store.kind=memory", "--set=grpc.port=0", "--set=hashdb.port=0"]);
    let output = command.args(["--set=grpc.host=127.0.0.1", "--set=http.host=192.0.2.1"]).args(args).output().unwrap();
    assert!(!output.status.success());
    [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap())
}

/// 192.0.2.1 is nobody's address, so the start ends by itself; by then the ignored keys have been logged.
#[test]
fn a_prover_file_brings_the_originals_log_lines() {
    let [out, _] = refused_start(&[]);
    let line = out.lines().find(|line| line.contains("ignored keys")).unwrap_or_else(|| panic!("{out}"));
    let parts: Vec<&str> = line.splitn(4, ' ').collect();
    let [time, pid, tid, message] = parts[..] else { panic!("{line}") };
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
    assert_eq!(shape, "99999999_999999_999999", "{line}");
    for id in [pid, tid] {
        assert!(id.len() == 7 && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{line}");
    }
    assert!(message.starts_with("zkWarning: ignored keys of "), "{line}");

    let [out, _] = refused_start(&["--set=log.json=true"]);
    let line = out.lines().find(|line| line.contains("ignored keys")).unwrap_or_else(|| panic!("{out}"));
    let object: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(object["level"], "warn", "{line}");
    for key in ["ts", "msg", "pid", "tid", "version"] {
        assert!(object[key].is_string(), "{key}: {line}");
    }

    let [out, _] = refused_start(&["--set=log.format=native"]);
    assert!(out.contains(" WARN zkevm_executor::cli::serve: ignored keys"), "{out}");
}
