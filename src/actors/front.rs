//! The front actor: admits a batch or refuses it at once, and hands it to the executors.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actix::{Actor, Addr, Context, Handler, Message, MessageResult, Supervised};

use super::lifecycle::Lifecycle;
use super::messages::{BatchFailure, BatchJob, InFlight, InFlightGuard, Rpc};
use super::queue::{JobQueue, QueueGauge};
use super::stats::{StatsEvent, StatsReporter};
use crate::scheduling::wake_soon;

/// Fewest messages the front's mailbox takes, so that a burst is sorted out by the front and not by its mailbox.
const MAILBOX_MESSAGES_MIN: usize = 256;

/// Asks the front to admit a batch. The answer goes to the job's own reply port.
pub struct Submit(pub Box<BatchJob>);

impl Message for Submit {
    type Result = ();
}

/// Asks the front for its state.
pub struct ObserveFront;

impl Message for ObserveFront {
    type Result = FrontState;
}

/// Snapshot of the front actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FrontState {
    /// Jobs handed to the executors since the start.
    pub admitted: u64,
    /// Jobs turned away since the start.
    pub refused: u64,
    /// Jobs waiting.
    pub queue_length: usize,
    /// Those of them that are small.
    pub queue_small: usize,
    /// Bytes of the requests that wait.
    pub queue_bytes: usize,
}

/// Set when somebody stopped waiting for a job, so that a full queue is worth sweeping.
#[derive(Clone, Debug, Default)]
pub struct Abandoned {
    flag: Arc<AtomicBool>,
}

impl Abandoned {
    /// Notes that a job may be waiting for nobody.
    pub fn note(&self) {
        self.flag.store(true, Ordering::Relaxed);
    }

    fn is_noted(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    fn take(&self) -> bool {
        self.flag.swap(false, Ordering::Relaxed)
    }
}

/// Decides about admission: draining, deadline, queue bound. Owns the queue.
pub struct FrontActor {
    queue: JobQueue,
    abandoned: Abandoned,
    lifecycle: Lifecycle,
    stats: StatsReporter,
    admitted: u64,
    /// Counts with the handles, which turn calls away as well.
    refused: Arc<AtomicU64>,
}

impl FrontActor {
    /// Creates the front. The returned handle needs its address.
    pub(super) fn new(
        queue: JobQueue,
        lifecycle: Lifecycle,
        stats: StatsReporter,
    ) -> (Self, impl FnOnce(Addr<Self>) -> FrontHandle) {
        let (abandoned, refused) = (Abandoned::default(), Arc::<AtomicU64>::default());
        let handle = {
            let (gauge, capacity) = (queue.gauge(), queue.jobs_max());
            let (abandoned, lifecycle, stats, refused) =
                (abandoned.clone(), lifecycle.clone(), stats.clone(), Arc::clone(&refused));
            let in_flight = InFlight::default();
            move |front| FrontHandle { front, queue: gauge, capacity, in_flight, abandoned, lifecycle, stats, refused }
        };
        (Self { queue, abandoned, lifecycle, stats, admitted: 0, refused }, handle)
    }

    fn admit(&mut self, job: Box<BatchJob>) {
        if self.lifecycle.is_draining() {
            return self.turn_away(job, BatchFailure::Draining);
        }
        if let Some(failure) = job.given_up() {
            return self.turn_away(job, failure);
        }
        match self.dispatch(job) {
            Ok(()) => self.admitted += 1,
            Err((job, failure)) => self.turn_away(job, failure),
        }
    }

    /// Queues the job; before it counts the queue as full, makes room by sweeping.
    fn dispatch(&mut self, job: Box<BatchJob>) -> Result<(), (Box<BatchJob>, BatchFailure)> {
        match self.queue.push(job) {
            Err((job, _)) if self.abandoned.take() => {
                self.sweep();
                self.queue.push(job)
            }
            outcome => outcome,
        }
    }

    /// Drops the jobs nobody waits for.
    fn sweep(&mut self) {
        for (job, failure) in self.queue.sweep(BatchJob::given_up) {
            self.stats.report(StatsEvent::unanswered(failure));
            job.reply.fail(failure);
        }
    }

    fn turn_away(&mut self, job: Box<BatchJob>, failure: BatchFailure) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.stats.report(StatsEvent::unanswered(failure));
        job.reply.fail(failure);
    }
}

impl Actor for FrontActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        wake_soon();
        ctx.set_mailbox_capacity(self.queue.jobs_max().max(MAILBOX_MESSAGES_MIN));
    }
}

impl Supervised for FrontActor {}

impl Handler<Submit> for FrontActor {
    type Result = ();

    fn handle(&mut self, Submit(job): Submit, _: &mut Self::Context) {
        self.admit(job);
    }
}

impl Handler<ObserveFront> for FrontActor {
    type Result = MessageResult<ObserveFront>;

    fn handle(&mut self, _: ObserveFront, _: &mut Self::Context) -> Self::Result {
        let queue = self.queue.gauge();
        MessageResult(FrontState {
            admitted: self.admitted,
            refused: self.refused.load(Ordering::Relaxed),
            queue_length: queue.jobs(),
            queue_small: queue.small_jobs(),
            queue_bytes: queue.bytes(),
        })
    }
}

/// What the doors know of the front.
#[derive(Clone)]
pub struct FrontHandle {
    front: Addr<FrontActor>,
    queue: QueueGauge,
    capacity: usize,
    in_flight: InFlight,
    abandoned: Abandoned,
    lifecycle: Lifecycle,
    stats: StatsReporter,
    refused: Arc<AtomicU64>,
}

impl FrontHandle {
    /// Refuses a call whose request has not been read yet, if the front would surely refuse its batch: the queue is full of
    /// batches that somebody waits for. Counts it then. `None` says nothing: the front decides.
    pub fn refuse_unread(&self, rpc: Rpc) -> Option<BatchFailure> {
        let full = self.queue.jobs() >= self.capacity && !self.abandoned.is_noted() && !self.lifecycle.is_draining();
        full.then(|| {
            let failure = BatchFailure::QueueFull { capacity: self.capacity };
            self.refused.fetch_add(1, Ordering::Relaxed);
            self.stats.report(StatsEvent::Call(rpc));
            self.stats.report(StatsEvent::unanswered(failure));
            failure
        })
    }

    /// Sends a job to the front. Never waits; a front too busy to take it counts as a full queue.
    pub fn submit(&self, job: Box<BatchJob>) {
        use actix::prelude::SendError;
        let (job, failure) = match self.front.try_send(Submit(job)) {
            Ok(()) => return,
            Err(SendError::Full(Submit(job))) => (job, BatchFailure::QueueFull { capacity: self.capacity }),
            Err(SendError::Closed(Submit(job))) => (job, BatchFailure::Stopped),
        };
        self.stats.report(StatsEvent::unanswered(failure));
        job.reply.fail(failure);
    }

    /// Counts a job as in flight.
    pub fn enter(&self) -> InFlightGuard {
        self.in_flight.enter()
    }

    /// Waits until every admitted job is answered or given up.
    pub async fn idle(&self) {
        self.in_flight.none_left().await;
    }

    /// Returns the note to leave when a handler stops waiting.
    pub fn abandoned(&self) -> &Abandoned {
        &self.abandoned
    }

    /// Returns the front's state; `None` once it has stopped.
    pub async fn observe(&self) -> Option<FrontState> {
        self.front.send(ObserveFront).await.ok()
    }
}
