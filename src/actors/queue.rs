//! The queue between the front and the executors: two lanes, one bound.
//!
//! Small requests (a call of an RPC node, a pool check) take a millisecond, a full batch takes fifty. In one line the small
//! ones would wait for every batch ahead of them, so they have a lane of their own:
//!
//! - an executor that is free takes a small job first, but once these have had as many bytes as its last full batch, and at
//!   the latest after [`SMALL_JOBS_IN_A_ROW_MAX`] of them, one full batch: neither lane starves, and a batch that is just not
//!   small waits little longer than one that just is;
//! - one executor more than configured, the express, takes small jobs only. Its thread keeps the niceness of the process, so
//!   that while all others are in the middle of a full batch the operating system gives it a core. It costs a thread that
//!   mostly sleeps, and no core stays reserved when nothing small comes. While one of the others has just begun a small job
//!   ([`SMALL_JOB_TIME`]) and none is idle, it takes nothing: many small jobs would keep it busy, and whoever shares its core
//!   would starve with the job at hand.
//!
//! What is small is decided by the size of the request alone, because nothing else is known before decoding. A small
//! request that computes for long holds up the express for that long; the other executors still prefer the small lane.
//!
//! Both lanes share the bounds: jobs, and bytes of the requests as sent. Within a lane the order is kept.
//!
//! Lanes fill only while every executor that may take the job is busy. Otherwise the job is handed to the express, or to the
//! executor that has been idle for the shortest time: its core and its caches are still warm.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::messages::{BatchFailure, BatchJob};

/// Small jobs an executor takes one after the other while a full batch waits.
const SMALL_JOBS_IN_A_ROW_MAX: u32 = 16;

/// How long an executor with a small job counts as one that will soon take the next. One that computes for longer does not hold
/// up the others: the express takes them, when the next job comes or an executor is done.
const SMALL_JOB_TIME: Duration = Duration::from_millis(5);

/// What may wait, and what counts as small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// Jobs that may wait.
    pub jobs_max: usize,
    /// Bytes of requests that may wait. A job larger than this is taken when nothing else waits.
    pub bytes_max: usize,
    /// Requests of at most this many bytes take the small lane; 0 for one lane only.
    pub small_bytes_max: usize,
}

impl QueueBounds {
    /// True if small requests have a lane, and with it the express executor.
    pub const fn has_small_lane(&self) -> bool {
        self.small_bytes_max > 0
    }

    fn lane_of(&self, job: &BatchJob) -> Lane {
        if job.request_bytes <= self.small_bytes_max { Lane::Small } else { Lane::Full }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Small,
    Full,
}

/// What the front and the executors share.
#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// What waits in the lanes, for those who only look: written under the lock.
    small_jobs: AtomicUsize,
    full_jobs: AtomicUsize,
    bytes: AtomicUsize,
}

/// Jobs that wait for executors, or executors that wait for jobs.
#[derive(Default)]
struct Waiting {
    small: VecDeque<Box<BatchJob>>,
    full: VecDeque<Box<BatchJob>>,
    /// The last one has been idle for the shortest time.
    idle: Vec<IdleExecutor>,
    /// When the executors but the express began the small jobs they run.
    small_since: Vec<Option<Instant>>,
    /// The front is gone.
    closed: bool,
}

/// The way to an executor that waits.
struct IdleExecutor {
    /// Place in [`Waiting::small_since`], `None` for the express.
    number: Option<usize>,
    hand: Arc<Hand>,
}

/// Where an executor waits for its next job.
///
/// No channel: its receiver yields the core a few times before it sleeps. While full batches compute, a thread that yields
/// comes back with the next tick of the system only, and the small job that comes meanwhile is up to 4 ms late.
#[derive(Default)]
struct Hand {
    held: Mutex<Held>,
    filled: Condvar,
}

#[derive(Default)]
enum Held {
    #[default]
    Nothing,
    Job(Box<BatchJob>),
    /// There will be no more jobs.
    End,
}

impl Hand {
    /// Gives the executor, which waits or is about to, what it waits for.
    fn give(&self, what: Held) {
        *self.held.lock() = what;
        self.filled.notify_one();
    }

    /// Waits for a job; `None` once there will be no more.
    fn take(&self) -> Option<Box<BatchJob>> {
        let mut held = self.held.lock();
        loop {
            match std::mem::take(&mut *held) {
                Held::Nothing => self.filled.wait(&mut held),
                Held::Job(job) => return Some(job),
                Held::End => return None,
            }
        }
    }
}

impl Waiting {
    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Box<BatchJob>> {
        match lane {
            Lane::Small => &mut self.small,
            Lane::Full => &mut self.full,
        }
    }

    /// Takes out the executor that such a job goes to, if one is idle, and notes that it begins.
    fn idle_for(&mut self, lane: Lane) -> Option<IdleExecutor> {
        let others = self.idle.iter().rposition(|executor| executor.number.is_some());
        let express = self.idle.iter().position(|executor| executor.number.is_none());
        let found = match lane {
            // The others stay free for full batches.
            Lane::Small => express.filter(|_| others.is_some() || !self.small_job_ends_soon()).or(others),
            Lane::Full => others,
        };
        let executor = self.idle.remove(found?);
        self.begins(executor.number, Some(lane));
        Some(executor)
    }

    /// Notes what an executor does from now on.
    fn begins(&mut self, number: Option<usize>, lane: Option<Lane>) {
        if let Some(number) = number {
            self.small_since[number] = (lane == Some(Lane::Small)).then(Instant::now);
        }
    }

    /// True if an executor but the express will soon take the next small job.
    fn small_job_ends_soon(&self) -> bool {
        self.small_since.iter().flatten().any(|since| since.elapsed() < SMALL_JOB_TIME)
    }
}

impl Shared {
    fn jobs(&self, lane: Lane) -> &AtomicUsize {
        match lane {
            Lane::Small => &self.small_jobs,
            Lane::Full => &self.full_jobs,
        }
    }

    /// Notes that a job entered a lane. Call with the lock held.
    fn entered(&self, lane: Lane, request_bytes: usize) {
        self.jobs(lane).fetch_add(1, Relaxed);
        self.bytes.fetch_add(request_bytes, Relaxed);
    }

    /// Gives the express a small job that waits, if it is idle and nobody else will soon take one.
    fn call_express(&self, mut waiting: MutexGuard<'_, Waiting>) {
        if waiting.small.is_empty() || waiting.small_job_ends_soon() {
            return;
        }
        let Some(place) = waiting.idle.iter().position(|executor| executor.number.is_none()) else { return };
        let Some(job) = waiting.small.pop_front() else { return };
        let express = waiting.idle.remove(place);
        self.left(Lane::Small, job.request_bytes);
        drop(waiting);
        express.hand.give(Held::Job(job));
    }

    /// Notes that a job left a lane. Call with the lock held.
    fn left(&self, lane: Lane, request_bytes: usize) {
        self.jobs(lane).fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(request_bytes, Relaxed);
    }
}

/// The front's end of the queue. Dropping it ends the executors, once nothing waits.
pub(super) struct JobQueue {
    shared: Arc<Shared>,
    bounds: QueueBounds,
}

impl JobQueue {
    pub(super) fn new(bounds: QueueBounds) -> Self {
        Self { shared: Arc::default(), bounds }
    }

    /// Hands a job to an idle executor or puts it into its lane; gives it back with the reason if there is no room.
    pub(super) fn push(&self, job: Box<BatchJob>) -> Result<(), (Box<BatchJob>, BatchFailure)> {
        let QueueBounds { jobs_max, bytes_max, .. } = self.bounds;
        let (lane, bytes) = (self.bounds.lane_of(&job), job.request_bytes);
        let mut waiting = self.shared.waiting.lock();
        if let Some(executor) = waiting.idle_for(lane) {
            drop(waiting);
            executor.hand.give(Held::Job(job));
            return Ok(());
        }
        let jobs = waiting.small.len() + waiting.full.len();
        if jobs >= jobs_max {
            return Err((job, BatchFailure::QueueFull { capacity: jobs_max }));
        }
        if jobs > 0 && self.shared.bytes.load(Relaxed).saturating_add(bytes) > bytes_max {
            return Err((job, BatchFailure::QueueBytesFull { bytes_max }));
        }
        self.shared.entered(lane, bytes);
        waiting.lane(lane).push_back(job);
        self.shared.call_express(waiting);
        Ok(())
    }

    /// Returns the number of jobs that may wait.
    pub(super) fn jobs_max(&self) -> usize {
        self.bounds.jobs_max
    }

    /// Passes once over both lanes and takes out the jobs for which `discard` has a reason.
    pub(super) fn sweep(
        &self,
        discard: impl Fn(&BatchJob) -> Option<BatchFailure>,
    ) -> Vec<(Box<BatchJob>, BatchFailure)> {
        let mut taken = Vec::new();
        let mut waiting = self.shared.waiting.lock();
        for lane in [Lane::Small, Lane::Full] {
            let jobs = waiting.lane(lane);
            for job in std::mem::take(jobs) {
                match discard(&job) {
                    Some(failure) => {
                        self.shared.left(lane, job.request_bytes);
                        taken.push((job, failure));
                    }
                    None => jobs.push_back(job),
                }
            }
        }
        taken
    }

    /// Returns the end of an executor that takes every job.
    pub(super) fn source(&self) -> JobSource {
        self.source_of(false)
    }

    /// Returns the end of the express executor.
    pub(super) fn express_source(&self) -> JobSource {
        self.source_of(true)
    }

    fn source_of(&self, is_express: bool) -> JobSource {
        let (shared, bounds) = (Arc::clone(&self.shared), self.bounds);
        let number = (!is_express).then(|| {
            let small_since = &mut shared.waiting.lock().small_since;
            small_since.push(None);
            small_since.len() - 1
        });
        JobSource { shared, bounds, number, hand: Arc::default(), small_owed: usize::MAX, small_in_a_row: 0 }
    }

    /// Returns a view of what waits.
    pub(super) fn gauge(&self) -> QueueGauge {
        QueueGauge { shared: Arc::clone(&self.shared) }
    }
}

impl Drop for JobQueue {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting.lock();
        waiting.closed = true;
        waiting.idle.drain(..).for_each(|executor| executor.hand.give(Held::End));
    }
}

/// An executor's end of the queue.
pub(super) struct JobSource {
    shared: Arc<Shared>,
    bounds: QueueBounds,
    /// Place in [`Waiting::small_since`], `None` for the express.
    number: Option<usize>,
    hand: Arc<Hand>,
    /// Bytes of small jobs that go before the next full batch.
    small_owed: usize,
    small_in_a_row: u32,
}

impl JobSource {
    /// True if small jobs are all it takes.
    pub(super) fn is_express(&self) -> bool {
        self.number.is_none()
    }

    /// Waits for the next job; `None` once the front is gone.
    pub(super) fn take(&mut self) -> Option<Box<BatchJob>> {
        let job = self.take_waiting().or_else(|| self.hand.take())?;
        match self.bounds.lane_of(&job) {
            Lane::Small => {
                self.small_owed = self.small_owed.saturating_sub(job.request_bytes);
                self.small_in_a_row = self.small_in_a_row.saturating_add(1);
            }
            Lane::Full => (self.small_owed, self.small_in_a_row) = (job.request_bytes, 0),
        }
        Some(job)
    }

    /// Takes a job out of the lanes. If none waits, the executor counts as idle from here on, and what comes next is put into
    /// its hand.
    fn take_waiting(&self) -> Option<Box<BatchJob>> {
        let prefer_full = self.small_owed == 0 || self.small_in_a_row >= SMALL_JOBS_IN_A_ROW_MAX;
        let mut waiting = self.shared.waiting.lock();
        waiting.begins(self.number, None);
        let lanes = match (self.is_express(), prefer_full) {
            (true, _) if waiting.small_job_ends_soon() => &[][..],
            (true, _) => &[Lane::Small],
            (false, true) => &[Lane::Full, Lane::Small],
            (false, false) => &[Lane::Small, Lane::Full],
        };
        for &lane in lanes {
            if let Some(job) = waiting.lane(lane).pop_front() {
                self.shared.left(lane, job.request_bytes);
                waiting.begins(self.number, Some(lane));
                self.shared.call_express(waiting);
                return Some(job);
            }
        }
        if waiting.closed {
            self.hand.give(Held::End);
        } else {
            waiting.idle.push(IdleExecutor { number: self.number, hand: Arc::clone(&self.hand) });
        }
        None
    }
}

/// A view of what waits.
#[derive(Clone)]
pub(super) struct QueueGauge {
    shared: Arc<Shared>,
}

impl QueueGauge {
    /// Returns the number of jobs that wait, in both lanes.
    pub(super) fn jobs(&self) -> usize {
        self.small_jobs() + self.shared.full_jobs.load(Relaxed)
    }

    /// Returns the number of jobs that wait in the small lane.
    pub(super) fn small_jobs(&self) -> usize {
        self.shared.small_jobs.load(Relaxed)
    }

    /// Returns the bytes of the requests that wait.
    pub(super) fn bytes(&self) -> usize {
        self.shared.bytes.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_channel::bounded;

    use super::super::messages::{Executed, InFlight, ReplyPort, Rpc, SendReply};
    use super::*;
    use crate::telemetry::CallSpan;
    use zkevm_pool::Interrupt;
    use zkevm_testkit::sample::Workload;
    use zkevm_types::ForkId;

    const SMALL: usize = 10;
    const FULL: usize = 100;

    struct Nobody;

    impl ReplyPort for Nobody {
        fn is_closed(&self) -> bool {
            false
        }

        fn finish(self: Box<Self>, _: Executed) -> SendReply {
            Box::new(|| ())
        }

        fn fail(self: Box<Self>, _: BatchFailure) {}
    }

    fn job(request_bytes: usize, name: &str) -> Box<BatchJob> {
        let workload = Arc::new(Workload::new(ForkId::new(9).unwrap(), 1).unwrap());
        Box::new(BatchJob {
            rpc: Rpc::ProcessBatchV2,
            input: workload.chain(0, Default::default()).empty_batch(),
            request_bytes,
            context_id: name.to_owned(),
            files: None,
            trace: CallSpan::default(),
            interrupt: Interrupt::new(None),
            received_at: Instant::now(),
            reply: Box::new(Nobody),
            in_flight: InFlight::default().enter(),
        })
    }

    fn queue(jobs_max: usize, bytes_max: usize) -> JobQueue {
        JobQueue::new(QueueBounds { jobs_max, bytes_max, small_bytes_max: SMALL })
    }

    fn names(source: &mut JobSource, count: usize) -> Vec<String> {
        (0..count).map(|_| source.take().unwrap().context_id).collect()
    }

    #[test]
    fn small_jobs_go_first_and_each_lane_keeps_its_order() {
        let queue = queue(8, 1000);
        for (bytes, name) in [(FULL, "a"), (SMALL, "b"), (FULL, "c"), (SMALL, "d")] {
            assert!(queue.push(job(bytes, name)).is_ok());
        }
        assert_eq!((queue.gauge().jobs(), queue.gauge().bytes()), (4, 220));
        assert_eq!(names(&mut queue.source(), 4), ["b", "d", "a", "c"]);
        assert_eq!((queue.gauge().jobs(), queue.gauge().bytes()), (0, 0));
    }

    #[test]
    fn full_batches_do_not_starve() {
        let queue = queue(100, 10_000);
        assert!(queue.push(job(FULL, "full")).is_ok());
        for _ in 0..40 {
            assert!(queue.push(job(SMALL, "small")).is_ok());
        }
        let order = names(&mut queue.source(), 41);
        assert_eq!(order.iter().position(|name| name == "full"), Some(SMALL_JOBS_IN_A_ROW_MAX as usize));
    }

    #[test]
    fn batches_that_are_just_not_small_take_turns_with_small_ones() {
        let queue = queue(100, 10_000);
        for name in ["full", "small"] {
            let bytes = if name == "full" { SMALL * 2 } else { SMALL };
            (0..8).for_each(|_| assert!(queue.push(job(bytes, name)).is_ok()));
        }
        let mut source = queue.source();
        let order = names(&mut source, 9);
        assert_eq!(order[8], "full", "before the first full batch all small ones go first: {order:?}");
        (0..8).for_each(|_| assert!(queue.push(job(SMALL, "small")).is_ok()));
        assert_eq!(names(&mut source, 6), ["small", "small", "full", "small", "small", "full"]);
    }

    #[test]
    fn the_express_takes_small_jobs_only() {
        let queue = queue(8, 1000);
        let mut express = queue.express_source();
        for (bytes, name) in [(FULL, "a"), (SMALL, "b")] {
            assert!(queue.push(job(bytes, name)).is_ok());
        }
        assert_eq!(names(&mut express, 1), ["b"]);
        drop(queue);
        assert!(express.take().is_none(), "without the front the express ends");
    }

    #[test]
    fn the_express_leaves_small_jobs_to_an_executor_that_has_just_begun_one() {
        let queue = queue(8, 1000);
        let (mut executor, mut express) = (queue.source(), queue.express_source());
        assert!(queue.push(job(SMALL, "a")).is_ok() && queue.push(job(SMALL, "b")).is_ok());
        assert_eq!(names(&mut executor, 1), ["a"]);
        assert!(express.take_waiting().is_none(), "the executor will be back soon");
        assert_eq!(queue.gauge().small_jobs(), 1);
        // It takes a full batch instead: the express, idle by now, is given what waits.
        assert!(queue.push(job(FULL, "c")).is_ok());
        executor.small_owed = 0;
        assert_eq!(names(&mut executor, 1), ["c"]);
        assert_eq!(express.hand.take().map(|job| job.context_id), Some("b".to_owned()));
        // With a full batch at hand nobody is waited for, and neither is a small job that computes for long.
        assert!(queue.push(job(SMALL, "d")).is_ok());
        assert_eq!(names(&mut express, 1), ["d"]);
        assert!(queue.push(job(SMALL, "e")).is_ok());
        executor.small_owed = usize::MAX;
        assert_eq!(names(&mut executor, 1), ["e"]);
        std::thread::sleep(SMALL_JOB_TIME);
        assert!(queue.push(job(SMALL, "f")).is_ok());
        assert_eq!(names(&mut express, 1), ["f"]);
    }

    #[test]
    fn the_executor_that_went_idle_last_is_first_to_work() {
        let queue = queue(8, 1000);
        let (done, worked) = bounded(8);
        std::thread::scope(|scope| {
            for (number, mut source) in [queue.source(), queue.source(), queue.express_source()].into_iter().enumerate()
            {
                let done = done.clone();
                scope.spawn(move || {
                    while let Some(job) = source.take() {
                        done.send((number, job.context_id)).unwrap();
                    }
                });
                while queue.shared.waiting.lock().idle.len() <= number {
                    std::thread::yield_now();
                }
            }
            let run = |bytes, name: &str| {
                assert!(queue.push(job(bytes, name)).is_ok());
                let (number, ran) = worked.recv().unwrap();
                assert_eq!(ran, name);
                while queue.shared.waiting.lock().idle.len() < 3 {
                    std::thread::yield_now();
                }
                number
            };
            assert_eq!([run(FULL, "a"), run(FULL, "b"), run(SMALL, "c"), run(FULL, "d")], [1, 1, 2, 1]);
            let at_once = ["e", "f"].map(|name| assert!(queue.push(job(FULL, name)).is_ok()));
            let mut ran = at_once.map(|()| worked.recv().unwrap().0);
            ran.sort_unstable();
            assert!(ran == [0, 1] || ran == [1, 1], "one that was busy may be back already: {ran:?}");
            drop(queue);
        });
    }

    #[test]
    fn bounds_hold_over_both_lanes() {
        let few = queue(2, 1000);
        assert!(few.push(job(SMALL, "")).is_ok() && few.push(job(FULL, "")).is_ok());
        assert_eq!(few.push(job(SMALL, "")).map_err(|(_, why)| why), Err(BatchFailure::QueueFull { capacity: 2 }));

        let light = queue(8, 150);
        assert!(light.push(job(FULL, "")).is_ok());
        assert_eq!(
            light.push(job(FULL, "")).map_err(|(_, why)| why),
            Err(BatchFailure::QueueBytesFull { bytes_max: 150 })
        );
        assert!(light.push(job(SMALL, "")).is_ok(), "what fits is taken");
        names(&mut light.source(), 2);
        assert!(light.push(job(1000, "")).is_ok(), "any job is taken when nothing waits");
    }

    #[test]
    fn sweeping_takes_out_what_it_is_told() {
        let queue = queue(8, 1000);
        for (bytes, name) in [(FULL, "a"), (SMALL, "gone"), (FULL, "gone"), (SMALL, "d"), (FULL, "e")] {
            assert!(queue.push(job(bytes, name)).is_ok());
        }
        assert_eq!(queue.sweep(|job| (job.context_id == "gone").then_some(BatchFailure::Cancelled)).len(), 2);
        assert_eq!((queue.gauge().jobs(), queue.gauge().bytes()), (3, 210));
        assert_eq!(names(&mut queue.source(), 3), ["d", "a", "e"]);
    }

    #[test]
    fn one_lane_keeps_one_order() {
        let queue = JobQueue::new(QueueBounds { jobs_max: 8, bytes_max: 1000, small_bytes_max: 0 });
        for (bytes, name) in [(FULL, "a"), (SMALL, "b"), (FULL, "c")] {
            assert!(queue.push(job(bytes, name)).is_ok());
        }
        assert_eq!(names(&mut queue.source(), 3), ["a", "b", "c"]);
    }
}
