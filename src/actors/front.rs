//! The front actor: owns what waits, knows who is idle, and alone decides about admission.
//!
//! Who gets what is decided by plain rules (`dispatcher.rs`); the actor adds mailboxes, the clock and its timer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use actix::prelude::SendError;
use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult, Recipient};

use super::dispatcher::{Assignment, Dispatcher, WorkerId};
use super::gauges::FrontGauges;
use super::lanes::{QueueBounds, RequestFacts};
use super::messages::{BatchFailure, BatchJob, InFlight, InFlightGuard, Rpc};
use super::stats::{StatsEvent, StatsReporter};
use crate::scheduling::request_short_slice;

/// Fewest messages the front's mailbox takes, so that a burst is sorted out by the front and not by its mailbox.
const MAILBOX_MESSAGES_MIN: usize = 256;

/// Asks the front to admit a batch. The answer goes to the job's own reply port.
pub(super) struct Submit(pub(super) Box<BatchJob>);

impl Message for Submit {
    type Result = ();
}

/// Tells the front that an executor is free: it has started, or has answered its job.
pub(super) struct WorkerIdle(pub(super) WorkerId);

impl Message for WorkerIdle {
    type Result = ();
}

/// Tells the front that somebody stopped waiting for a job, so that a full queue is worth sweeping.
struct JobAbandoned;

impl Message for JobAbandoned {
    type Result = ();
}

/// Tells an executor to run a job.
pub(super) struct Run(pub(super) Box<BatchJob>);

impl Message for Run {
    type Result = ();
}

/// Asks the front for its state.
pub(super) struct ObserveFront;

impl Message for ObserveFront {
    type Result = FrontState;
}

/// Snapshot of the front actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FrontState {
    /// Jobs admitted since the start.
    pub admitted: u64,
    /// Jobs turned away since the start, calls refused unread among them.
    pub refused: u64,
    /// Jobs waiting.
    pub queue_length: usize,
    /// Those of them that are small.
    pub queue_small: usize,
    /// Bytes of the requests that wait.
    pub queue_bytes: usize,
    /// Executors that are free, the reserved one among them.
    #[serde(skip)]
    pub idle: usize,
}

type Assigned = Assignment<Box<BatchJob>>;

/// Owns the lanes, the list of idle executors and admission.
pub(super) struct FrontActor {
    dispatcher: Dispatcher<Box<BatchJob>>,
    /// By their numbers. Keeps them alive: their supervisors restart them only while somebody could talk to them.
    workers: Vec<Recipient<Run>>,
    gauges: Arc<FrontGauges>,
    stats: StatsReporter,
    admitted: u64,
    refused: u64,
    /// Some of what waits may be waited for by nobody.
    abandoned: bool,
    /// A look at the priority lane is due.
    look_is_due: bool,
    /// The clock; tests have one of their own.
    clock: fn() -> Instant,
}

impl FrontActor {
    /// Creates the front of `executors` executors, and of a reserved one if small requests have a lane; `workers` are their
    /// addresses in this order.
    pub(super) fn new(
        bounds: QueueBounds,
        executors: usize,
        workers: Vec<Recipient<Run>>,
        gauges: Arc<FrontGauges>,
        stats: StatsReporter,
    ) -> Self {
        Self {
            dispatcher: Dispatcher::new(bounds, executors),
            workers,
            gauges,
            stats,
            admitted: 0,
            refused: 0,
            abandoned: false,
            look_is_due: false,
            clock: Instant::now,
        }
    }

    /// Decides about a job: draining, given up, no room.
    fn admit(&mut self, job: Box<BatchJob>, now: Instant) -> Option<Assigned> {
        let refused = match self.gauges.closed().or_else(|| job.given_up()) {
            Some(failure) => (job, failure),
            None => match self.dispatch(job, now) {
                Ok(assignment) => {
                    self.admitted += 1;
                    return assignment;
                }
                Err(refused) => refused,
            },
        };
        self.refused += 1;
        self.fail(refused.0, refused.1);
        None
    }

    /// Assigns or queues the job; before it counts the queue as full, makes room by sweeping.
    fn dispatch(
        &mut self,
        job: Box<BatchJob>,
        now: Instant,
    ) -> Result<Option<Assigned>, (Box<BatchJob>, BatchFailure)> {
        let request = RequestFacts { bytes: job.request_bytes, may_be_long: job.may_be_long, peer: job.peer };
        match self.dispatcher.submit(job, request, now) {
            Err((job, _)) if std::mem::take(&mut self.abandoned) => {
                for (job, failure) in self.dispatcher.sweep(|job| job.given_up()) {
                    self.fail(job, failure);
                }
                self.dispatcher.submit(job, request, now)
            }
            outcome => outcome,
        }
    }

    /// Sends an assigned job to its executor, then whatever else can go; publishes what is left and sets the timer.
    fn settle(&mut self, assigned: Option<Assigned>, now: Instant, ctx: &mut Context<Self>) {
        let mut next = assigned;
        while let Some(assignment) = next.take().or_else(|| self.dispatcher.look_again(now)) {
            next = self.send(assignment, now);
        }
        let waiting = self.dispatcher.lanes().len();
        self.gauges.publish(waiting, self.dispatcher.busy(), self.abandoned);
        if !self.look_is_due
            && let Some(at) = self.dispatcher.look_again_at()
        {
            self.look_is_due = true;
            ctx.run_later(at.saturating_duration_since(now), |front, ctx| {
                front.look_is_due = false;
                front.settle(None, (front.clock)(), ctx);
            });
        }
    }

    /// Sends a job to its executor. If nobody waits for it any more, the executor gets the next one.
    fn send(&mut self, assigned: Assigned, now: Instant) -> Option<Assigned> {
        let Assignment { worker, job } = assigned;
        if let Some(failure) = job.given_up() {
            self.fail(job, failure);
            return self.dispatcher.worker_idle(worker, now);
        }
        // An executor has one message at most and its arbiter lives as long as this one: only a stop of the system gets
        // between them.
        match self.workers.get(worker).map(|executor| executor.try_send(Run(job))) {
            Some(Err(SendError::Full(Run(job)) | SendError::Closed(Run(job)))) => self.fail(job, BatchFailure::Stopped),
            Some(Ok(())) | None => {}
        }
        None
    }

    fn fail(&self, job: Box<BatchJob>, failure: BatchFailure) {
        self.stats.report(StatsEvent::unanswered(failure));
        job.reply.fail(failure);
    }
}

impl Actor for FrontActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        request_short_slice();
        ctx.set_mailbox_capacity(self.gauges.capacity().max(MAILBOX_MESSAGES_MIN));
    }
}

/// The system stops: what waits is answered.
impl Drop for FrontActor {
    fn drop(&mut self) {
        for (job, failure) in self.dispatcher.sweep(|_| Some(BatchFailure::Stopped)) {
            self.fail(job, failure);
        }
    }
}

impl Handler<Submit> for FrontActor {
    type Result = ();

    fn handle(&mut self, Submit(job): Submit, ctx: &mut Self::Context) {
        let now = (self.clock)();
        let assigned = self.admit(job, now);
        self.settle(assigned, now, ctx);
    }
}

impl Handler<WorkerIdle> for FrontActor {
    type Result = ();

    fn handle(&mut self, WorkerIdle(worker): WorkerIdle, ctx: &mut Self::Context) {
        let now = (self.clock)();
        let assigned = self.dispatcher.worker_idle(worker, now);
        self.settle(assigned, now, ctx);
    }
}

impl Handler<JobAbandoned> for FrontActor {
    type Result = ();

    fn handle(&mut self, _: JobAbandoned, ctx: &mut Self::Context) {
        self.abandoned = true;
        self.settle(None, (self.clock)(), ctx);
    }
}

impl Handler<ObserveFront> for FrontActor {
    type Result = MessageResult<ObserveFront>;

    fn handle(&mut self, _: ObserveFront, _: &mut Self::Context) -> Self::Result {
        let lanes = self.dispatcher.lanes();
        MessageResult(FrontState {
            admitted: self.admitted,
            refused: self.refused,
            queue_length: lanes.len(),
            queue_small: lanes.priority_len(),
            queue_bytes: lanes.request_bytes(),
            idle: self.dispatcher.idle(),
        })
    }
}

/// The way to the front.
#[derive(Clone)]
pub struct FrontHandle {
    front: Addr<FrontActor>,
    gauges: Arc<FrontGauges>,
    in_flight: InFlight,
    stats: StatsReporter,
    /// Calls that were refused unread.
    refused_unread: Arc<AtomicU64>,
}

impl FrontHandle {
    pub(super) fn new(front: Addr<FrontActor>, gauges: Arc<FrontGauges>, stats: StatsReporter) -> Self {
        Self { front, gauges, in_flight: InFlight::default(), stats, refused_unread: Arc::default() }
    }

    /// Refuses a call whose request has not been read yet, if the front would surely refuse it, and counts it then. `None`
    /// says nothing: the front decides.
    pub fn refuse_unread(&self, rpc: Rpc) -> Option<BatchFailure> {
        let failure = self.gauges.refusal(rpc.brings_batch())?;
        self.refused_unread.fetch_add(1, Ordering::Relaxed);
        self.stats.report(StatsEvent::unanswered(failure));
        Some(failure)
    }

    /// Sends a job to the front. Never waits; a front too busy to take it counts as a full queue.
    pub fn submit(&self, job: Box<BatchJob>) {
        let (job, failure) = match self.front.try_send(Submit(job)) {
            Ok(()) => return,
            Err(SendError::Full(Submit(job))) => (job, BatchFailure::QueueFull { capacity: self.gauges.capacity() }),
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

    /// Tells the front that a handler stopped waiting for its job.
    pub fn note_abandoned(&self) {
        self.front.do_send(JobAbandoned);
    }

    /// Returns the front's state; `None` once it has stopped.
    pub async fn observe(&self) -> Option<FrontState> {
        let state = self.front.send(ObserveFront).await.ok()?;
        Some(FrontState { refused: state.refused + self.refused_unread.load(Ordering::Relaxed), ..state })
    }
}

#[cfg(test)]
mod tests;
