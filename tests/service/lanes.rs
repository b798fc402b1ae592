//! Small requests beside full batches, and what may wait.

use std::net::IpAddr;

use tonic::Code;
use tonic::transport::Channel;
use zkevm_executor::config::Config;
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;

use crate::support::{BLOCK, TestServer, config, eventually, request_v2};

/// A request too large for the small lane.
fn full(data: &'static [u8], bytes: usize) -> wire::ProcessBatchRequestV2 {
    wire::ProcessBatchRequestV2 { context_id: "x".repeat(bytes), ..request_v2(data) }
}

fn two_lanes() -> Config {
    let mut config = config();
    config.executor.small_batch_bytes_max = 1_000;
    config.executor.queue_capacity = 8;
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_request_does_not_wait_for_full_batches() {
    let server = TestServer::start_with(two_lanes()).await;
    let mut running = Vec::new();
    for _ in 0..3 {
        let mut client = server.client().await;
        running.push(tokio::spawn(async move { client.process_batch_v2(full(BLOCK, 1_000)).await }));
    }
    // The first leaves the queue a moment before it starts.
    eventually("one full batch runs, two wait", async || {
        server.double.started() == 1 && server.report().await.now.queue_length == 2
    })
    .await;
    server.assert_healthy().await;
    let now = server.report().await.now;
    assert_eq!(
        (now.executors, now.queue_length),
        (2, 2),
        "one executor and the reserved one, which takes no full batch"
    );
    server.double.release();
    for call in running {
        call.await.unwrap().unwrap();
    }
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_lanes_share_the_bound_of_jobs() {
    let mut config = two_lanes();
    config.executor.queue_capacity = 2;
    let server = TestServer::start_with(config).await;
    let mut running = vec![server.spawn_v2(BLOCK).await];
    eventually("the reserved executor runs one", async || server.double.started() == 1).await;
    running.push(server.spawn_v2(BLOCK).await);
    eventually("the executor runs one", async || server.double.started() == 2).await;
    running.push(server.spawn_v2(BLOCK).await);
    eventually("one waits", async || server.report().await.now.queue_length == 1).await;
    let mut client = server.client().await;
    running.push(tokio::spawn(async move {
        client.process_batch_v2(full(BLOCK, 1_000)).await.map(tonic::Response::into_inner)
    }));
    eventually("two wait", async || server.report().await.now.queue_length == 2).await;
    let status = server.client().await.process_batch_v2(request_v2(b"ok")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "the executor queue is full: 2 batches are waiting, try again later");
    server.double.release();
    for call in running {
        call.await.unwrap().unwrap();
    }
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_bytes_have_a_bound() {
    let mut config = two_lanes();
    config.executor.queue_bytes_max = 1 << 20;
    let server = TestServer::start_with(config).await;
    let mut running = Vec::new();
    for waiting in [0, 1] {
        let mut client = server.client().await;
        running.push(tokio::spawn(async move { client.process_batch_v2(full(BLOCK, 600_000)).await }));
        eventually("the first runs, the second waits", async || {
            server.double.started() == 1 && server.report().await.now.queue_length == waiting
        })
        .await;
    }
    let status = server.client().await.process_batch_v2(full(b"ok", 600_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let sentence = "the executor queue is full: the waiting requests take 1 MiB (executor.queue_mib), try again later";
    assert_eq!(status.message(), sentence);
    server.assert_healthy().await;
    server.double.release();
    for call in running {
        call.await.unwrap().unwrap();
    }
    // Nothing waits now: a request above the bound is taken.
    server.client().await.process_batch_v2(full(b"ok", 2 << 20)).await.unwrap();
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_peer_does_not_fill_the_queue() {
    let server = TestServer::start_with(two_lanes()).await;
    let mut running = Vec::new();
    for waiting in 0..=6 {
        let mut client = server.client().await;
        running.push(tokio::spawn(async move { client.process_batch_v2(full(BLOCK, 1_000)).await }));
        eventually("the first runs, the others wait", async || {
            server.double.started() == 1 && server.report().await.now.queue_length == waiting
        })
        .await;
    }
    // Of eight places one is for small requests, and one for peers that have nothing waiting.
    let status = server.client().await.process_batch_v2(full(b"ok", 1_000)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let other = Channel::from_shared(format!("http://{}", server.running.grpc_addr())).unwrap();
    let other = other.local_address(Some(IpAddr::from([127, 0, 0, 2]))).connect().await.unwrap();
    let mut other = ExecutorServiceClient::new(other);
    running.push(tokio::spawn(async move { other.process_batch_v2(full(b"ok", 1_000)).await }));
    eventually("the other one waits too", async || server.report().await.now.queue_length == 7).await;
    server.double.release();
    for call in running {
        call.await.unwrap().unwrap();
    }
    server.running.shutdown().await;
}
