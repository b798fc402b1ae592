//! What happens when too much comes in, clients leave, time runs out, a batch panics, the server goes down.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tonic::{Code, Request};
use zkevm_executor::actors::stats::Sums;
use zkevm_executor::actors::{BatchFailure, BatchJob, Executed, ReplyPort, Rpc, SendReply};
use zkevm_executor::telemetry::CallSpan;
use zkevm_pool::CancelToken;
use zkevm_types::ExecutorError;
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::validate::{ValidationRules, process_batch_v2};

use crate::support::{BLOCK, PANIC, TestServer, config, eventually, request_v1, request_v2};

/// How long a stop may take, far above every limit set here.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A server whose one executor is busy and whose queue of two is full.
async fn overfull() -> (TestServer, Vec<tokio::task::JoinHandle<crate::support::Answer>>) {
    let server = TestServer::start().await;
    let mut waiting = vec![server.spawn_v2(BLOCK).await];
    eventually("the executor is busy", async || server.double.started() == 1).await;
    for _ in 0..2 {
        waiting.push(server.spawn_v2(BLOCK).await);
    }
    eventually("the queue is full", async || queue_length(&server).await == 2).await;
    (server, waiting)
}

async fn queue_length(server: &TestServer) -> usize {
    server.running.front().observe().await.unwrap().queue_length
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overfull_queue_refuses_at_once_and_the_server_stays_healthy() {
    let (server, waiting) = overfull().await;
    // Nothing ends before it is released, so an answer at all is one that did not wait.
    let status = server.client().await.process_batch_v2(request_v2(b"ok")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "the executor queue is full: 2 batches are waiting, try again later");

    server.double.release();
    for batch in waiting {
        assert_eq!(batch.await.unwrap().unwrap().error, ExecutorError::NoError.number());
    }
    server.assert_healthy().await;
    let sums = server.report().await.totals.sums;
    assert_eq!((sums.refused, sums.batches), (1, 4));
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_clients_free_the_queue_and_the_executor() {
    let (server, waiting) = overfull().await;
    for client in &waiting {
        client.abort();
    }
    for client in waiting {
        assert!(client.await.is_err());
    }
    // Nothing was released: the running batch must be cancelled, the queued ones dropped.
    server.assert_healthy().await;
    eventually("all three are counted", async || server.report().await.totals.sums.cancelled == 3).await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_killed_clients_do_not_hold_places_in_a_full_queue() {
    let (server, waiting) = overfull().await;
    for client in &waiting[1..] {
        client.abort();
    }
    // The executor is still blocked by the first batch, so only a sweep can make room.
    eventually("a new batch is admitted", async || {
        let admitted = server.running.front().observe().await.unwrap().admitted;
        let call = server.spawn_v2(b"ok").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = server.running.front().observe().await.unwrap().admitted;
        call.abort();
        now > admitted
    })
    .await;
    assert_eq!(server.double.started(), 1, "batches nobody waits for must not run");
    server.double.release();
    server.assert_healthy().await;
    server.running.shutdown().await;
}

/// tonic's client gives up by itself at the same time as the server: either status may win the race.
fn assert_gave_up(status: &tonic::Status) {
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_deadlines_stop_running_and_drop_queued_batches() {
    let server = TestServer::start().await;
    let deadline = |data| {
        let mut request = Request::new(request_v2(data));
        request.set_timeout(Duration::from_millis(300));
        request
    };
    let mut client = server.client().await;
    let mut other = server.client().await;
    let (running, queued) =
        tokio::join!(client.process_batch_v2(deadline(BLOCK)), other.process_batch_v2(deadline(BLOCK)));
    assert_gave_up(&running.unwrap_err());
    assert_gave_up(&queued.unwrap_err());
    // If the client's clock is first, its leaving is what the server sees.
    let given_up = |sums: Sums| sums.expired + sums.cancelled;
    eventually("both are counted", async || given_up(server.report().await.totals.sums) == 2).await;
    server.assert_healthy().await;
    server.running.shutdown().await;
}

/// Reports what became of a job.
struct Outcome(oneshot::Sender<Option<BatchFailure>>);

impl ReplyPort for Outcome {
    fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    fn finish(self: Box<Self>, _: Executed) -> SendReply {
        Box::new(move || self.0.send(None).unwrap())
    }

    fn fail(self: Box<Self>, failure: BatchFailure) {
        self.0.send(Some(failure)).unwrap();
    }
}

fn submit(server: &TestServer, data: &'static [u8], timeout: Duration) -> oneshot::Receiver<Option<BatchFailure>> {
    let (sender, receiver) = oneshot::channel();
    let input = process_batch_v2(request_v2(data), ValidationRules::default()).unwrap();
    server.running.front().submit(Box::new(BatchJob {
        rpc: Rpc::ProcessBatchV2,
        input,
        request_bytes: 0,
        may_be_long: false,
        peer: None,
        context_id: String::new(),
        files: None,
        trace: CallSpan::default(),
        cancel: CancelToken::new(Some(Instant::now() + timeout)),
        received_at: Instant::now(),
        reply: Box::new(Outcome(sender)),
        in_flight: server.running.front().enter(),
    }));
    receiver
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_in_the_queue_and_while_running_count_as_expired() {
    let server = TestServer::start().await;
    let running = submit(&server, BLOCK, Duration::from_millis(300));
    eventually("the batch runs", async || server.double.started() == 1).await;
    let queued = submit(&server, b"ok", Duration::from_millis(100));
    let late = submit(&server, b"ok", Duration::ZERO);
    for outcome in [late, running, queued] {
        assert_eq!(outcome.await.unwrap(), Some(BatchFailure::DeadlineExceeded));
    }
    assert_eq!(server.double.started(), 1, "a late batch must not run");
    let sums = server.report().await.totals.sums;
    assert_eq!((sums.expired, sums.cancelled, sums.batches), (3, 0, 0));
    assert!(sums.busy_seconds > 0.1, "the time of the stopped batch counts: {}", sums.busy_seconds);
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_runs_for_a_limited_time() {
    let mut config = config();
    config.executor.batch_limit = Some(Duration::from_millis(300));
    let server = TestServer::start_with(config).await;
    let status = server.client().await.process_batch_v2(request_v2(BLOCK)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.message(), "the batch was given up after 0.3 s (executor.batch_seconds)");
    server.assert_healthy().await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_costs_one_call_and_one_restart() {
    let server = TestServer::start().await;
    for round in 1..=3 {
        let status = server.client().await.process_batch_v2(request_v2(PANIC)).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "the batch made the executor fail; only this call is affected");
        server.assert_healthy().await;
        let totals = server.report().await.totals;
        assert_eq!((totals.executor_panics, totals.executor_restarts), (round, round));
        assert_eq!((totals.sums.batches, totals.sums.failed_batches), (2 * round, round));
    }
    eventually("the executor is free", async || server.report().await.now.executors_busy == 0).await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_executor_is_lost_to_panics() {
    let mut config = config();
    (config.executor.threads, config.executor.small_batch_bytes_max, config.executor.queue_capacity) = (2, 1_000, 64);
    let server = TestServer::start_with(config).await;
    let calls: Vec<_> =
        futures_util::future::join_all((0..30).map(|n| server.spawn_v2(if n % 3 == 0 { b"ok" } else { PANIC }))).await;
    let mut answered = 0;
    for call in calls {
        answered += usize::from(call.await.unwrap().is_ok());
    }
    assert_eq!(answered, 10);
    // Two executors and the reserved one.
    let idle = async || server.running.front().observe().await.unwrap().idle;
    eventually("all three are idle", async || idle().await == 3).await;
    let totals = server.report().await.totals;
    assert_eq!((totals.executor_panics, totals.executor_restarts), (20, 20));
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_refuses_new_calls_and_finishes_admitted_ones() {
    let server = TestServer::start().await;
    let running = server.spawn_v2(BLOCK).await;
    eventually("the batch runs", async || server.double.started() == 1).await;
    server.running.drain();

    let mut client = server.client().await;
    for status in [
        client.process_batch(request_v1(b"ok")).await.unwrap_err(),
        client.process_batch_v2(request_v2(b"ok")).await.unwrap_err(),
        client.process_stateless_batch_v2(wire::ProcessStatelessBatchRequestV2::default()).await.unwrap_err(),
        client.get_flush_status(()).await.unwrap_err(),
    ] {
        assert_eq!(status.code(), Code::Cancelled, "{status:?}");
        assert_eq!(status.message(), "the server is shutting down and accepts no new batches");
    }
    let TestServer { double, running: handle } = server;
    let shutdown = tokio::spawn(handle.shutdown());
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!shutdown.is_finished(), "must wait for the running batch");
    double.release();
    assert_eq!(running.await.unwrap().unwrap().error, ExecutorError::NoError.number());
    tokio::time::timeout(STOP_LIMIT, shutdown).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_has_a_limit() {
    let mut config = config();
    config.executor.drain_limit = Duration::from_millis(100);
    let server = TestServer::start_with(config).await;
    let running = server.spawn_v2(BLOCK).await;
    eventually("the batch runs", async || server.double.started() == 1).await;
    tokio::time::timeout(STOP_LIMIT, server.running.shutdown()).await.unwrap();
    let status = running.await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Cancelled, "the server stopped before the batch ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_clients_at_once_are_all_answered() {
    let mut config = config();
    config.executor.threads = 4;
    // They are one peer, which does not get all places.
    config.executor.queue_capacity = 512;
    let server = TestServer::start_with(config).await;
    let client = server.client().await;
    let calls: Vec<_> = (0..256)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move { client.process_batch_v2(request_v2(b"ok")).await })
        })
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().into_inner().error, ExecutorError::NoError.number());
    }
    assert_eq!(server.report().await.totals.sums.batches, 256);
    server.running.shutdown().await;
}
