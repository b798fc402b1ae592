//! GetStats, WatchStats, `/stats` and `/metrics` over a server that executed something.

mod monitoring;
mod page;

use tokio_stream::StreamExt;
use zkevm_wire::proto::stats::v1 as wire;
use zkevm_wire::proto::stats::v1::stats_service_client::StatsServiceClient;

use crate::support::{ABORT, GAS, TestServer, eventually, request_v1, request_v2};

async fn get_stats(server: &TestServer, history_windows: u32) -> wire::GetStatsResponse {
    let mut client = StatsServiceClient::new(server.channel().await);
    client.get_stats(wire::GetStatsRequest { history_windows }).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_batch_is_in_the_statistics_at_once() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    client.process_batch(request_v1(b"12345")).await.unwrap();
    client.process_batch_v2(request_v2(ABORT)).await.unwrap();
    let mut invalid = request_v2(b"");
    invalid.chain_id = 0;
    client.process_batch_v2(invalid).await.unwrap();

    let totals = get_stats(&server, 0).await.totals.unwrap();
    let sums = totals.sums.unwrap();
    assert_eq!((sums.batches, sums.failed_batches, sums.invalid_requests), (2, 1, 1));
    assert_eq!((sums.gas, sums.bytes, sums.txs), (GAS, 10, 2));
    assert!(sums.busy_seconds > 0.0 && sums.queue_wait_seconds > 0.0, "{sums:?}");
    let latency = totals.latency.unwrap();
    assert!(latency.p50_seconds > 0.0 && latency.p50_seconds <= latency.max_seconds, "{latency:?}");
    assert_eq!(totals.calls_by_rpc["ProcessBatch"], 1);
    assert_eq!(totals.calls_by_rpc["ProcessBatchV2"], 2);
    assert_eq!((totals.batches_by_fork_id[&6], totals.batches_by_fork_id[&9]), (1, 1));
    assert_eq!(totals.answers_by_executor_error["EXECUTOR_ERROR_NO_ERROR"], 1);
    assert_eq!(totals.answers_by_executor_error["EXECUTOR_ERROR_DB_KEY_NOT_FOUND"], 1);
    assert_eq!(totals.answers_by_executor_error["EXECUTOR_ERROR_INVALID_CHAIN_ID"], 1);
    assert_eq!(totals.txs_by_rom_error["ROM_ERROR_NO_ERROR"], 2);
    assert_eq!(totals.samples_dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_close_by_the_clock_and_hold_their_batches() {
    let server = TestServer::start().await;
    eventually("two idle windows close", async || get_stats(&server, 10).await.history.len() >= 2).await;
    server.assert_healthy().await;
    let with_batch = |stats: &wire::GetStatsResponse| {
        let sums = stats.history.iter().filter_map(|window| window.sums);
        sums.map(|sums| sums.batches).sum::<u64>() == 1
    };
    eventually("the batch's window closes", async || with_batch(&get_stats(&server, 100).await)).await;
    let stats = get_stats(&server, 100).await;
    let now = stats.now.unwrap();
    assert_eq!((now.executors, now.queue_capacity, now.draining, now.window_seconds), (1, 2, false, 0.2));
    for pair in stats.history.windows(2) {
        assert_eq!(pair[1].sequence, pair[0].sequence + 1);
        assert!(pair[1].start_unix_ms >= pair[0].end_unix_ms, "{pair:?}");
        assert!((pair[0].seconds - 0.2).abs() < 1e-6, "{pair:?}");
    }
    assert_eq!(get_stats(&server, 1).await.history.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_yields_each_window_as_it_closes_until_the_server_stops() {
    let server = TestServer::start().await;
    let mut client = StatsServiceClient::new(server.channel().await);
    let mut windows = client.watch_stats(wire::WatchStatsRequest {}).await.unwrap().into_inner();
    let first = windows.next().await.unwrap().unwrap();
    let second = windows.next().await.unwrap().unwrap();
    assert_eq!(second.sequence, first.sequence + 1);
    server.assert_healthy().await;
    let mut batches = 0;
    while batches == 0 {
        batches = windows.next().await.unwrap().unwrap().sums.unwrap().batches;
    }
    assert_eq!(batches, 1);
    server.running.shutdown().await;
    while let Some(Ok(_)) = windows.next().await {}
}

#[tokio::test(flavor = "multi_thread")]
async fn http_stats_have_the_content_of_get_stats() {
    let server = TestServer::start().await;
    server.assert_healthy().await;
    let (status, body) = server.get("/stats?history_windows=2").await;
    assert_eq!(status, 200);
    let json: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(json["totals"]["sums"]["batches"], 1);
    assert_eq!(json["totals"]["sums"]["gas"], GAS);
    assert_eq!(json["totals"]["batches_by_fork_id"]["9"], 1);
    assert_eq!(json["now"]["executors"], 1);
    assert!(json["now"]["open_window"]["latency"]["p99_seconds"].is_f64());
    assert!(json["history"].is_array());
    assert_eq!(server.get("/stats?history_windows=many").await.0, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_prometheus_text() {
    let server = TestServer::start().await;
    server.assert_healthy().await;
    let (status, body) = server.get("/metrics").await;
    assert_eq!(status, 200);
    for line in [
        "# TYPE zkevm_executor_batches_total counter",
        "zkevm_executor_batches_total 1",
        "zkevm_executor_gas_total 21000",
        "zkevm_executor_calls_total{rpc=\"ProcessBatchV2\"} 1",
        "zkevm_executor_fork_batches_total{fork_id=\"9\"} 1",
        "zkevm_executor_answers_total{error=\"EXECUTOR_ERROR_NO_ERROR\"} 1",
        "zkevm_executor_batch_latency_seconds_bucket{le=\"60\"} 1",
        "zkevm_executor_batch_latency_seconds_bucket{le=\"+Inf\"} 1",
        "zkevm_executor_batch_latency_seconds_count 1",
        "zkevm_executor_queue_capacity 2",
        "zkevm_executor_draining 0",
    ] {
        assert!(body.lines().any(|found| found == line), "no line {line:?} in\n{body}");
    }
    for line in body.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let ours = name.starts_with("zkevm_executor_") || name.starts_with("process_");
        assert!(ours && value.parse::<f64>().is_ok(), "{line}");
    }
}
