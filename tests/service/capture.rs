//! Files of requests through the public interfaces: they are there, and what was saved with its reads replays without a store.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use revm::primitives::B256;
use tonic::transport::Channel;
use zkevm_executor::config::Config;
use zkevm_executor::config::FileOptions;
use zkevm_executor::server::Server;
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_types::ForkId;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;
use zkevm_wire::request::Request;

use crate::process::Process;
use crate::support::{BLOCK, TestServer, config, eventually, page, request_v2};

fn all_files(folder: &Path) -> FileOptions {
    FileOptions {
        output_path: folder.to_owned(),
        subfolders: false,
        requests: true,
        inputs: true,
        db_reads: true,
        db_reads_on_change: true,
        responses: true,
    }
}

/// Runs batches on a server that saves files and returns the root they come to.
async fn run_saved(fork: u64, files: FileOptions) -> B256 {
    let running = Server::new(Config { files, ..config() }).start().await.unwrap();
    let root = run_batches(fork, running.grpc_addr()).await;
    running.shutdown().await;
    root
}

/// Runs two batches of token transfers, the first of which brings the state, and returns the root they come to.
async fn run_batches(fork: u64, server: SocketAddr) -> B256 {
    let uri = format!("http://{server}");
    let mut client = ExecutorServiceClient::new(Channel::from_shared(uri).unwrap().connect().await.unwrap());
    let workload = Arc::new(Workload::new(ForkId::new(fork).unwrap(), 1).unwrap());
    let genesis = workload.genesis().build().unwrap();
    let mut chain = workload.chain(0, genesis.root.to_b256());

    // The state comes with one batch; the next finds it in the store and brings nothing.
    let mut first = chain.next_batch(Kind::TokenTransfers, 2);
    first.db = genesis.nodes.iter().map(|(hash, node)| (*hash, node.into())).collect();
    first.contracts_bytecode = genesis.programs.clone();
    let mut roots = Vec::new();
    for (number, mut input) in [first].into_iter().chain([chain.next_batch(Kind::TokenTransfers, 3)]).enumerate() {
        if let Some(root) = roots.last() {
            input.old_state_root = *root;
        }
        input.old_batch_num = number as u64;
        let root = match Request::new(&input) {
            Request::V1(request) => client.process_batch(*request).await.unwrap().into_inner().new_state_root,
            Request::V2(request) => client.process_batch_v2(*request).await.unwrap().into_inner().new_state_root,
        };
        roots.push(B256::from_slice(&root));
    }
    assert_ne!(roots[0], roots[1]);
    roots[1]
}

/// Returns the files below a folder by what follows time and id in their names.
fn saved(folder: &Path) -> BTreeMap<String, PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let what = |path: &PathBuf| path.file_name()?.to_str()?.split_once('.').map(|(_, what)| what.to_owned());
    entries.filter_map(|path| Some((what(&path)?, path))).collect()
}

fn process(file: &Path) -> serde_json::Value {
    let run =
        Command::new(env!("CARGO_BIN_EXE_zkevm-executor")).args(["process", "--json"]).arg(file).output().unwrap();
    serde_json::from_slice(&run.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&run.stderr)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_saved_with_its_reads_replays_to_the_same_root_without_a_store() {
    for fork in [6, 9] {
        let folder = tempfile::tempdir().unwrap();
        let root = run_saved(fork, all_files(folder.path())).await;
        let files = saved(folder.path());
        let report = process(&files["1.process_batch_input_db.json"]);
        assert_eq!(report["newStateRoot"], root.to_string(), "fork {fork}: {report}");
        assert_eq!(report["matchesFile"], true, "fork {fork}: {report}");

        // Without the reads the file is understood, and the state is what is missing.
        let report = process(&files["1.process_batch_input.json"]);
        assert_eq!(report["error"], "EXECUTOR_ERROR_DB_KEY_NOT_FOUND", "fork {fork}: {report}");
        // The first batch brought its state along: its input alone is enough.
        assert!(process(&files["0.process_batch_input.json"])["newStateRoot"].is_string());

        let text = |name: &str| std::fs::read_to_string(&files[name]).unwrap();
        assert!(text("executor_request.txt").contains(&format!("fork_id: {fork}")));
        assert!(text("executor_response.txt").contains("new_state_root: "));
        assert!(text("1.process_batch_input.json").starts_with("{\n    \"batchL2Data\": \"0x"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_refuses_costs_the_files_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let not_a_folder = folder.path().join("file");
    std::fs::write(&not_a_folder, b"").unwrap();
    assert!(!run_saved(9, all_files(&not_a_folder)).await.is_zero());
}

/// A limit on the size of files stands in for a full disk, which needs a file system of its own: the first bytes of a file are
/// taken, then the system refuses. A full disk says ENOSPC where this says EFBIG.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_is_reported_and_batches_are_unaffected() {
    let folder = tempfile::tempdir().unwrap();
    // The signal would end the process; ignored, the write fails.
    let limited = "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"";
    let binary = Process::binary();
    let mut command = Command::new("sh");
    command.args(["-c", limited]).arg(binary.get_program()).arg("serve");
    command.arg(format!("--set=files.output_path={}", folder.path().display()));
    command.args(["--set=files.save_input=true", "--set=files.save_db_reads=true", "--set=files.save_response=true"]);
    let process = Process::start(&mut command);
    assert_eq!(run_batches(9, process.grpc).await, run_saved(9, config().files).await);
    eventually("all six files are given up", async || {
        page(process.http, "/metrics").await.1.contains("zkevm_executor_files_failed_total 6\n")
    })
    .await;
    eventually("the log says so", async || process.says("file of a request could not be saved")).await;
    assert_eq!(saved(folder.path()), BTreeMap::new(), "no part of a file may stay");
    run_batches(9, process.grpc).await;
}

/// Returns the list of slow batches once it has this many. A batch is listed after its answer has gone out.
async fn slow_batches(http: SocketAddr, count: usize) -> Vec<serde_json::Value> {
    let list = async || serde_json::from_str::<Vec<serde_json::Value>>(&page(http, "/debug/batches").await.1).unwrap();
    eventually("the batches are listed", async || list().await.len() == count).await;
    list().await
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_batches_are_listed_with_an_input_that_replays() {
    let running = Server::new(config()).start().await.unwrap();
    let http = running.http_addr();
    let root = run_batches(9, running.grpc_addr()).await;
    let list = slow_batches(http, 2).await;
    assert!(list[0]["seconds"].as_f64() >= list[1]["seconds"].as_f64(), "slowest first: {list:?}");
    let of = |number: u64| list.iter().find(|batch| batch["old_batch_num"] == number).unwrap();
    let first = of(0);
    assert_eq!((&first["txs"], &first["fork_id"], &first["rpc"]), (&2.into(), &9.into(), &"ProcessBatchV2".into()));
    assert_eq!((&first["error"], &first["has_input"]), (&"EXECUTOR_ERROR_NO_ERROR".into(), &true.into()));

    // The first batch brought its state along, so its input is enough; the second starts where the first ended.
    let folder = tempfile::tempdir().unwrap();
    let download = async |batch: &serde_json::Value| {
        let (status, text) = page(http, &format!("/debug/batches/{}/input", batch["id"])).await;
        assert_eq!(status, 200, "{text}");
        let file = folder.path().join(format!("{}.json", batch["id"]));
        std::fs::write(&file, &text).unwrap();
        (file, serde_json::from_str::<serde_json::Value>(&text).unwrap())
    };
    let (file, _) = download(first).await;
    let (_, second) = download(of(1)).await;
    assert_eq!(process(&file)["newStateRoot"], second["oldStateRoot"]);
    assert_ne!(second["oldStateRoot"], root.to_string());
    assert_eq!(page(http, "/debug/batches/99/input").await.0, 404);
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_are_only_kept_within_their_bound() {
    let mut config = config();
    config.stats.slowest_input_bytes_max = 0;
    let server = TestServer::start_with(config).await;
    server.assert_healthy().await;
    let list = slow_batches(server.running.http_addr(), 1).await;
    assert_eq!(list[0]["has_input"], false, "{list:?}");
    assert_eq!(server.get(&format!("/debug/batches/{}/input", list[0]["id"])).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_logged_with_the_originals_lines() {
    let mut command = Process::binary();
    let process = Process::start(command.args(["serve", "--set=log.server_calls=true", "--set=log.server_txs=false"]));
    run_batches(9, process.grpc).await;
    for text in
        ["ExecutorServiceImpl::ProcessBatchV2() got sequencerAddr=0x", "() returns result=EXECUTOR_ERROR_NO_ERROR "]
    {
        eventually(text, async || process.says(text)).await;
    }
    assert!(!process.says(" tx[0].hash="));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_batch_is_shown_and_counted_while_it_runs() {
    let mut config = config();
    config.executor.slow_after = Some(Duration::from_millis(50));
    let server = TestServer::start_with(config).await;
    let mut client = server.client().await;
    let mut request = request_v2(BLOCK);
    request.context_id = "the slow one".to_owned();
    request.old_batch_num = 41;
    let waiting = tokio::spawn(async move { client.process_batch_v2(request).await });
    eventually("the batch counts as slow", async || {
        server.get("/metrics").await.1.contains("zkevm_executor_slow_batches_total 1")
    })
    .await;
    let page: serde_json::Value = serde_json::from_str(&server.get("/debug/actors").await.1).unwrap();
    let batch = &page["executors"][0]["batch"];
    assert_eq!((&batch["context_id"], &batch["old_batch_num"]), (&"the slow one".into(), &41.into()), "{page}");
    assert_eq!((&batch["rpc"], &batch["fork_id"]), (&"ProcessBatchV2".into(), &9.into()), "{page}");
    assert!(batch["seconds"].as_f64().unwrap() >= 0.05, "{page}");
    assert_eq!(page["front"]["queue_length"], 0, "{page}");
    server.double.release();
    waiting.await.unwrap().unwrap();
    eventually("the executor is idle", async || {
        let page: serde_json::Value = serde_json::from_str(&server.get("/debug/actors").await.1).unwrap();
        page["executors"][0]["batch"].is_null()
    })
    .await;
}
