//! The front with executors that only note what they are told, on a clock that the tests move.

use std::cell::Cell;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use actix_rt::System;

use super::super::dispatcher::SMALL_JOB_TIME;
use super::super::lifecycle::{Lifecycle, Phase};
use super::super::messages::{Executed, ReplyPort, SendReply};
use super::*;
use crate::telemetry::CallSpan;
use zkevm_pool::CancelToken;
use zkevm_testkit::sample::Workload;
use zkevm_types::ForkId;

const SMALL: usize = 10;
const FULL: usize = 100;
const BOUNDS: QueueBounds = QueueBounds { jobs_max: 2, bytes_max: 1_000, small_bytes_max: SMALL };
/// The reserved one of two executors.
const RESERVED: WorkerId = 1;

thread_local! {
    /// The front's clock: an actor's thread is its test's.
    static NOW: Cell<Instant> = Cell::new(Instant::now());
}

/// Notes the jobs it gets, and keeps them as if they ran.
struct Recorder {
    worker: WorkerId,
    began: Sender<(WorkerId, String)>,
    #[expect(clippy::vec_box, reason = "jobs travel boxed")]
    jobs: Vec<Box<BatchJob>>,
}

impl Actor for Recorder {
    type Context = Context<Self>;
}

impl Handler<Run> for Recorder {
    type Result = ();

    fn handle(&mut self, Run(job): Run, _: &mut Self::Context) {
        self.began.send((self.worker, job.context_id.clone())).unwrap();
        self.jobs.push(job);
    }
}

/// Notes why a job got no answer.
struct Port {
    name: &'static str,
    failed: Sender<(&'static str, BatchFailure)>,
    client_left: Arc<AtomicBool>,
}

impl ReplyPort for Port {
    fn is_closed(&self) -> bool {
        self.client_left.load(Ordering::Relaxed)
    }

    fn finish(self: Box<Self>, _: Executed) -> SendReply {
        Box::new(|| ())
    }

    fn fail(self: Box<Self>, failure: BatchFailure) {
        self.failed.send((self.name, failure)).unwrap();
    }
}

/// A front over one executor and a reserved one.
struct Bench {
    front: FrontHandle,
    lifecycle: Lifecycle,
    began: Receiver<(WorkerId, String)>,
    failed: Receiver<(&'static str, BatchFailure)>,
    note_failure: Sender<(&'static str, BatchFailure)>,
    client_left: Arc<AtomicBool>,
    workload: Arc<Workload>,
}

impl Bench {
    fn start() -> Self {
        let (lifecycle, (stats, _)) = (Lifecycle::default(), StatsReporter::new());
        let ((note_begin, began), (note_failure, failed)) = (mpsc::channel(), mpsc::channel());
        let gauges = Arc::new(FrontGauges::new(lifecycle.clone(), BOUNDS.jobs_max));
        let worker = |worker| Recorder { worker, began: note_begin.clone(), jobs: Vec::new() }.start().recipient();
        let workers = vec![worker(0), worker(RESERVED)];
        let mut front = FrontActor::new(BOUNDS, 1, workers, Arc::clone(&gauges), stats.clone());
        front.clock = || NOW.get();
        Self {
            front: FrontHandle::new(front.start(), gauges, stats),
            lifecycle,
            began,
            failed,
            note_failure,
            client_left: Arc::default(),
            workload: Arc::new(Workload::new(ForkId::new(9).unwrap(), 1).unwrap()),
        }
    }

    fn submit(&self, request_bytes: usize, name: &'static str) {
        let reply = Port { name, failed: self.note_failure.clone(), client_left: Arc::clone(&self.client_left) };
        self.front.submit(Box::new(BatchJob {
            rpc: Rpc::ProcessBatchV2,
            input: self.workload.chain(0, Default::default()).empty_batch(),
            request_bytes,
            may_be_long: false,
            peer: None,
            context_id: name.to_owned(),
            files: None,
            trace: CallSpan::default(),
            cancel: CancelToken::new(None),
            received_at: Instant::now(),
            reply: Box::new(reply),
            in_flight: self.front.enter(),
        }));
    }

    fn idle(&self, worker: WorkerId) {
        self.front.front.do_send(WorkerIdle(worker));
    }

    /// Lets the front come to the end of its mailbox, and the executors to that of theirs.
    async fn settled(&self) -> FrontState {
        let state = self.front.observe().await.unwrap();
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        state
    }

    async fn began(&self) -> Vec<(WorkerId, String)> {
        self.settled().await;
        self.began.try_iter().collect()
    }

    fn failed(&self) -> Vec<(&'static str, BatchFailure)> {
        self.failed.try_iter().collect()
    }
}

fn began(jobs: &[(WorkerId, &str)]) -> Vec<(WorkerId, String)> {
    jobs.iter().map(|&(worker, name)| (worker, name.to_owned())).collect()
}

/// Runs a test in an actor system.
fn run<F: Future<Output = ()>>(test: impl FnOnce() -> F) {
    System::new().block_on(async { test().await });
}

#[test]
fn a_small_job_that_waits_beside_an_idle_reserved_executor_is_looked_at_again_in_time() {
    run(|| async {
        let bench = Bench::start();
        [0, RESERVED].into_iter().for_each(|worker| bench.idle(worker));
        // The quick one goes to the reserved executor, the long one, small by its size, to the other.
        bench.submit(SMALL, "quick");
        bench.submit(SMALL, "long");
        assert_eq!(bench.began().await, began(&[(RESERVED, "quick"), (0, "long")]));
        bench.idle(RESERVED);
        bench.submit(SMALL, "waits");
        // The executor could be back soon, until its time is over by the front's clock.
        NOW.set(NOW.get() + SMALL_JOB_TIME - Duration::from_nanos(1));
        tokio::time::sleep(2 * SMALL_JOB_TIME).await;
        assert_eq!((bench.began().await, bench.settled().await.queue_small), (Vec::new(), 1));
        // Nothing more comes in and nobody else is done: the timer is all that happens.
        NOW.set(NOW.get() + Duration::from_nanos(1));
        let limit = Instant::now() + Duration::from_secs(10);
        while bench.settled().await.queue_small > 0 && Instant::now() < limit {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(bench.began().await, began(&[(RESERVED, "waits")]));
    });
}

#[test]
fn executors_get_jobs_once_they_have_announced_themselves() {
    run(|| async {
        let bench = Bench::start();
        bench.submit(FULL, "early");
        assert_eq!((bench.began().await, bench.settled().await.idle), (Vec::new(), 0));
        bench.idle(0);
        assert_eq!(bench.began().await, began(&[(0, "early")]));
        // Again after a restart in the middle of the job, or after its end: it is never lost.
        bench.idle(0);
        bench.idle(0);
        assert_eq!(bench.settled().await.idle, 1);
        bench.submit(FULL, "late");
        bench.submit(FULL, "later");
        assert_eq!(bench.began().await, began(&[(0, "late")]));
    });
}

#[test]
fn admission_is_decided_by_room_by_who_waits_and_by_draining() {
    run(|| async {
        let bench = Bench::start();
        ["a", "b", "c"].into_iter().for_each(|name| bench.submit(FULL, name));
        bench.settled().await;
        let full = BatchFailure::QueueFull { capacity: 2 };
        assert_eq!(bench.failed(), [("c", full)]);
        assert_eq!(bench.front.refuse_unread(Rpc::ProcessBatch), Some(full));
        assert_eq!(bench.front.refuse_unread(Rpc::GetFlushStatus), None);

        // All who wait leave: there is room again, and their jobs do not run.
        bench.client_left.store(true, Ordering::Relaxed);
        bench.front.note_abandoned();
        bench.settled().await;
        assert_eq!(bench.front.refuse_unread(Rpc::ProcessBatch), None);
        bench.client_left.store(false, Ordering::Relaxed);
        bench.submit(FULL, "d");
        bench.settled().await;
        assert_eq!(bench.failed(), [("d", full)], "somebody waits for them after all");

        bench.client_left.store(true, Ordering::Relaxed);
        bench.idle(0);
        assert_eq!((bench.began().await, bench.settled().await.idle), (Vec::new(), 1));
        assert_eq!(bench.failed(), [("a", BatchFailure::Cancelled), ("b", BatchFailure::Cancelled)]);

        bench.client_left.store(false, Ordering::Relaxed);
        bench.lifecycle.advance(Phase::Draining);
        bench.submit(FULL, "e");
        let state = bench.settled().await;
        assert_eq!(bench.failed(), [("e", BatchFailure::Draining)]);
        assert_eq!((state.admitted, state.refused), (2, 4));
    });
}

#[test]
fn what_waits_when_the_system_stops_is_answered() {
    let failed = Arc::new(parking_lot::Mutex::new(None));
    let kept = Arc::clone(&failed);
    run(|| async move {
        let bench = Bench::start();
        bench.submit(FULL, "a");
        bench.settled().await;
        *kept.lock() = Some(bench.failed);
    });
    let failed: Vec<_> = failed.lock().take().unwrap().try_iter().collect();
    assert_eq!(failed, [("a", BatchFailure::Stopped)]);
}
