//! The live page: its files, its stream, and how it looks in a headless browser while data flows and after the server has gone.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use zkevm_executor::server::{RunningServer, Server};
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_testkit::skip;
use zkevm_tools::load::client;
use zkevm_types::ForkId;
use zkevm_wire::proto::executor::v1::ProcessBatchRequestV2;

use crate::support::{TestServer, config, page, request_v2};

const LISTENERS_MAX: usize = 32;

async fn listen(server: &TestServer) -> TcpStream {
    let mut stream = TcpStream::connect(server.running.http_addr()).await.unwrap();
    stream.write_all(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    stream
}

/// Reads until the text is there.
async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut read = Vec::new();
    let all = async {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&read).contains(text) {
            let count = stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "ended before {text:?}");
            read.extend_from_slice(&buffer[..count]);
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.unwrap_or_else(|_| panic!("no {text:?}"));
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_needs_nothing_from_elsewhere() {
    let server = TestServer::start().await;
    for path in ["/", "/page.css", "/page.js"] {
        let (status, text) = server.get(path).await;
        assert_eq!(status, 200, "{path}");
        let elsewhere = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!elsewhere.contains("http://") && !elsewhere.contains("https://"), "{path}");
    }
}

/// Also a text that looks like the end of what holds it.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_the_state_of_its_moment() {
    let server = TestServer::start().await;
    let context_id = "</script><script>alert(1)</script>".to_owned();
    let request = ProcessBatchRequestV2 { context_id: context_id.clone(), ..request_v2(b"ok") };
    server.client().await.process_batch_v2(request).await.unwrap();
    let text = server.get("/").await.1;
    let (_, state) = text.split_once("<script type=\"application/json\" id=\"state\">").unwrap();
    let state: Value = serde_json::from_str(state.split_once("</script>").unwrap().0).unwrap();
    assert_eq!(state["totals"]["sums"]["batches"], 1);
    assert_eq!(state["slowest_batches"][0]["context_id"], context_id);
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_bring_the_statistics_and_have_a_bound() {
    let server = TestServer::start().await;
    let mut listeners = Vec::new();
    for _ in 0..LISTENERS_MAX {
        let mut stream = listen(&server).await;
        let text = read_until(&mut stream, "\n\n").await;
        assert!(text.starts_with("HTTP/1.1 200") && text.contains("text/event-stream"), "{text}");
        listeners.push(stream);
    }
    read_until(&mut listeners[0], "\"open_window\"").await;
    let refused = read_until(&mut listen(&server).await, "too many listeners").await;
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");

    // Who leaves makes room.
    listeners.clear();
    for _ in 0..100 {
        let mut stream = listen(&server).await;
        if read_until(&mut stream, "\r\n").await.starts_with("HTTP/1.1 200") {
            server.running.shutdown().await;
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no room after all listeners left");
}

/// Says so when the tests that need a browser cannot run.
fn browser() -> bool {
    let installed = |program: &str| Command::new(program).arg("--version").output().is_ok_and(|o| o.status.success());
    let there = installed("chromium") && installed("node");
    if !there {
        skip::missing_tool("chromium and node are not both installed (Debian's packages chromium and nodejs)");
    }
    there
}

/// A server, with the engine, that is sent small batches until the task is aborted.
async fn under_load() -> (RunningServer, JoinHandle<()>) {
    let running = Server::new(config()).start().await.unwrap();
    let workload = Arc::new(Workload::new(ForkId::new(9).unwrap(), 1).unwrap());
    let genesis = workload.genesis().build().unwrap();
    let uri = format!("http://{}", running.grpc_addr());
    let channel = Channel::from_shared(uri).unwrap().connect().await.unwrap();
    client::send_genesis(channel.clone(), &workload, &genesis).await.unwrap();
    let mut chain = workload.chain(0, genesis.root.to_b256());
    let load = tokio::spawn(async move {
        let mut client = client::connect(channel);
        for count in (1..=8).cycle() {
            let batch = chain.next_batch(Kind::TokenTransfers, count);
            let Ok(answer) = client::send_checked(&mut client, &batch, count).await else { return };
            (chain.state_root, chain.acc_input_hash) = (answer.new_state_root, answer.new_acc_input_hash);
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    });
    (running, load)
}

fn look(server: &RunningServer, size: [&str; 2], scheme: &str, picture: &Path, mode: &[&str]) -> Child {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service/statistics/page.mjs");
    Command::new("node")
        .arg(script)
        .arg(format!("http://{}/", server.http_addr()))
        .args(size)
        .arg(scheme)
        .arg(picture)
        .args(mode)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Pictures stay beside the build, for people to look at.
fn picture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_moving_numbers_on_desk_and_phone() {
    if !browser() {
        return;
    }
    let (server, load) = under_load().await;
    let own = format!("http://{}/", server.http_addr());
    for (name, size, scheme) in
        [("page-desk.png", ["1100", "2000"], "light"), ("page-phone.png", ["320", "2600"], "dark")]
    {
        let child = look(&server, size, scheme, &picture(name), &[]);
        let output = tokio::task::spawn_blocking(|| child.wait_with_output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&seen["status"], &seen["overflow"]), (&"live".into(), &0.into()), "{name}: {seen}");
        assert!(seen["windows"].as_u64() > Some(0), "{name}: {seen}");
        let (status, input) = page(server.http_addr(), &format!("/{}", seen["download"].as_str().unwrap())).await;
        let input: Value = serde_json::from_str(&input).unwrap();
        assert_eq!((status, &input["forkID"]), (200, &9.into()), "{name}: {seen}");
        assert_eq!(seen["messages"], Value::Array(vec![]), "{name}: the console has messages");
        let requests = seen["requests"].as_array().unwrap();
        let elsewhere = |url: &&Value| url.as_str().is_none_or(|url| !url.starts_with(&own) && url != "data:,");
        assert_eq!(requests.iter().find(elsewhere), None, "{name}");
        assert!(picture(name).metadata().unwrap().len() > 10_000, "{name}");
    }
    load.abort();
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_when_the_server_has_gone() {
    if !browser() {
        return;
    }
    let (server, load) = under_load().await;
    let mut child = look(&server, ["320", "2600"], "light", &picture("page-gone.png"), &["gone"]);
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let read = move || (lines.next().unwrap().unwrap(), lines);
    let (ready, mut lines) = tokio::task::spawn_blocking(read).await.unwrap();
    assert_eq!(ready, "{\"ready\":true}");
    server.shutdown().await;
    load.abort();
    let seen = tokio::task::spawn_blocking(move || lines.next().unwrap().unwrap()).await.unwrap();
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert!(seen["status"].as_str().unwrap().starts_with("no answer since"), "{seen}");
    assert_eq!(seen["overflow"], 0);
    tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap();
}
