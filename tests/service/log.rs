//! The log of the process: text of clients in it, floods, and a log that nobody reads.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tonic::transport::Channel;
use zkevm_wire::proto::executor::v1::ProcessBatchRequestV2;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;

use crate::process::Process;
use crate::support::{eventually, request_v2};

/// An id that would start a line of its own and colour it.
const FORGING: &str = "id\r\n2026-01-01T00:00:00Z ERROR forged: all is lost\u{1b}[31m\u{9b}32m";

fn request(context_id: String) -> ProcessBatchRequestV2 {
    ProcessBatchRequestV2 { context_id, ..request_v2(b"") }
}

async fn client(process: &Process) -> ExecutorServiceClient<Channel> {
    ExecutorServiceClient::new(process.channel().await).max_encoding_message_size(64 << 20)
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_a_client_starts_no_line_and_has_a_bound() {
    for form in [&["--set=log.format=native"][..], &["--set=log.format=prover"], &["--set=log.json=true"]] {
        let mut command = Process::binary();
        let process = Process::start(command.arg("serve").args(form).arg("--set=log.server_calls=true"));
        let mut client = client(&process).await;
        for id in [FORGING.to_owned(), "x".repeat(5 << 20)] {
            client.process_batch_v2(request(id)).await.unwrap();
        }
        // Not valid: a warning of its own.
        let invalid = ProcessBatchRequestV2 { chain_id: 0, ..request(FORGING.to_owned()) };
        client.process_batch_v2(invalid).await.unwrap();
        eventually("all lines are there", async || {
            process.says("invalid request")
                && process.lines().iter().filter(|line| line.contains("done counter")).count() == 2
        })
        .await;
        let lines = process.lines();
        assert!(lines.iter().any(|line| line.contains("forged")), "{form:?}: the text is not there at all");
        for line in lines {
            assert!(
                !line.starts_with("2026-01-01") && !line.contains(['\u{1b}', '\u{9b}', '\r']),
                "{form:?}: {line:?}"
            );
            assert!(line.len() < 4096, "{form:?}: a line of {} bytes", line.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_warnings_are_counted() {
    let mut command = Process::binary();
    let process = Process::start(command.args(["serve", "--set=log.repeats=3"]));
    let mut client = client(&process).await;
    for _ in 0..50 {
        let invalid = ProcessBatchRequestV2 { chain_id: 0, ..request(String::new()) };
        client.process_batch_v2(invalid).await.unwrap();
    }
    process.terminate();
    eventually("the end is logged", async || process.says("stopped")).await;
    eventually("the rest is told", async || process.says("47 lines more left out within 10 s")).await;
    let lines = process.lines();
    let written = lines.iter().filter(|line| line.contains("invalid request") && !line.contains("left out"));
    assert_eq!(written.count(), 3, "{lines:?}");
}

/// Calls go on while a full pipe takes no line, memory stays small, and SIGTERM ends the process.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_holds_up_nothing() {
    let mut command = Process::binary();
    command.args(["serve", "--port=0", "--http-port=0", "--hashdb-port=0", "--set=store.kind=memory"]);
    command.args(["--set=grpc.host=127.0.0.1", "--set=log.server_calls=true"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let address = lines.find_map(|line| Some(line.split_once("executor server listening on ")?.1.to_owned())).unwrap();
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = ExecutorServiceClient::new(channel).max_encoding_message_size(64 << 20);
    // Far more than a pipe holds.
    for i in 0..400 {
        let size = if i % 20 == 0 { 4 << 20 } else { 1000 };
        client.process_batch_v2(request("x".repeat(size))).await.unwrap();
    }
    let resident = crate::process::resident_mib(child.id());
    assert!(resident.is_none_or(|mib| mib < 300), "{resident:?} MiB");
    Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        let waited = began.elapsed();
        if waited > Duration::from_secs(30) {
            let _ = child.kill();
            panic!("still running after {waited:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(lines);
}
