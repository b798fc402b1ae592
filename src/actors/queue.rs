//! The queue between the front and the executors: two lanes, one bound.
//!
//! Small requests (a call of an RPC node, a pool check) take a millisecond, a full batch takes fifty. In one line the small
//! ones would wait for every batch ahead of them, so they have a lane of their own:
//!
//! - an executor that is free takes a small job first, but once these have had as many bytes as its last full batch, and at
//!   the latest after [`SMALL_JOBS_IN_A_ROW_MAX`] of them, one full batch: neither lane starves, and a batch that is just not
//!   small waits little longer than one that just is;
//! - one executor more than configured, the express, takes small jobs only: while all others are in the middle of a full
//!   batch the operating system gives it its share of a core. It costs a thread that mostly sleeps, and no core stays
//!   reserved when nothing small comes.
//!
//! What is small is decided by the size of the request alone, because nothing else is known before decoding. A small
//! request that computes for long holds up the express for that long; the other executors still prefer the small lane.
//!
//! Both lanes share the bounds: jobs, and bytes of the requests as sent. Within a lane the order is kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded, select};

use super::messages::{BatchFailure, BatchJob};

/// Small jobs an executor takes one after the other while a full batch waits.
const SMALL_JOBS_IN_A_ROW_MAX: u32 = 16;

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
}

/// One lane: a channel both ends of which are kept, the receiving one for sweeping.
struct Lane {
    jobs: Sender<Box<BatchJob>>,
    waiting: Receiver<Box<BatchJob>>,
}

impl Lane {
    fn new(jobs_max: usize) -> Self {
        let (jobs, waiting) = bounded(jobs_max);
        Self { jobs, waiting }
    }
}

/// The front's end of the queue. Dropping it ends the executors.
pub(super) struct JobQueue {
    small: Lane,
    full: Lane,
    bytes: Arc<AtomicUsize>,
    bounds: QueueBounds,
}

impl JobQueue {
    pub(super) fn new(bounds: QueueBounds) -> Self {
        let small = Lane::new(bounds.jobs_max);
        let full = Lane::new(bounds.jobs_max);
        Self { small, full, bytes: Arc::default(), bounds }
    }

    /// Puts a job into its lane, or gives it back with the reason. Only the front calls this, so the bounds hold.
    pub(super) fn push(&self, job: Box<BatchJob>) -> Result<(), (Box<BatchJob>, BatchFailure)> {
        let waiting = self.gauge();
        let QueueBounds { jobs_max, bytes_max, small_bytes_max } = self.bounds;
        if waiting.jobs() >= jobs_max {
            return Err((job, self.full()));
        }
        let bytes = job.request_bytes;
        if waiting.jobs() > 0 && waiting.bytes().saturating_add(bytes) > bytes_max {
            return Err((job, BatchFailure::QueueBytesFull { bytes_max }));
        }
        let lane = if bytes <= small_bytes_max { &self.small } else { &self.full };
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        lane.jobs.try_send(job).map_err(|unsent| {
            // Not reachable: a lane has room for all jobs of both, and both its ends are here.
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            (unsent.into_inner(), self.full())
        })
    }

    fn full(&self) -> BatchFailure {
        BatchFailure::QueueFull { capacity: self.bounds.jobs_max }
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
        for lane in [&self.small, &self.full] {
            for _ in 0..lane.waiting.len() {
                let Ok(job) = lane.waiting.try_recv() else { break };
                let bytes = job.request_bytes;
                let out = match discard(&job) {
                    Some(failure) => Some((job, failure)),
                    // Fails never: the place just taken is free, and nobody else sends.
                    None => lane.jobs.try_send(job).err().map(|unsent| (unsent.into_inner(), self.full())),
                };
                if let Some(out) = out {
                    self.bytes.fetch_sub(bytes, Ordering::Relaxed);
                    taken.push(out);
                }
            }
        }
        taken
    }

    /// Returns the end of an executor that takes every job.
    pub(super) fn source(&self) -> JobSource {
        let (small, full) = (self.small.waiting.clone(), self.full.waiting.clone());
        self.source_of(small, Some(full))
    }

    /// Returns the end of the express executor.
    pub(super) fn express_source(&self) -> JobSource {
        self.source_of(self.small.waiting.clone(), None)
    }

    fn source_of(&self, small: Receiver<Box<BatchJob>>, full: Option<Receiver<Box<BatchJob>>>) -> JobSource {
        let small_bytes_max = self.bounds.small_bytes_max;
        let (small_owed, small_in_a_row) = (usize::MAX, 0);
        JobSource { small, full, bytes: Arc::clone(&self.bytes), small_bytes_max, small_owed, small_in_a_row }
    }

    /// Returns a view of what waits.
    pub(super) fn gauge(&self) -> QueueGauge {
        let (small, full) = (self.small.waiting.clone(), self.full.waiting.clone());
        QueueGauge { small, full, bytes: Arc::clone(&self.bytes) }
    }
}

/// An executor's end of the queue.
pub(super) struct JobSource {
    small: Receiver<Box<BatchJob>>,
    /// `None` for the express.
    full: Option<Receiver<Box<BatchJob>>>,
    bytes: Arc<AtomicUsize>,
    small_bytes_max: usize,
    /// Bytes of small jobs that go before the next full batch.
    small_owed: usize,
    small_in_a_row: u32,
}

impl JobSource {
    /// Waits for the next job; `None` once the front is gone.
    pub(super) fn take(&mut self) -> Option<Box<BatchJob>> {
        let job = match &self.full {
            None => self.small.recv().ok()?,
            Some(full) => {
                let prefer_full = self.small_owed == 0 || self.small_in_a_row >= SMALL_JOBS_IN_A_ROW_MAX;
                let (first, second) = if prefer_full { (full, &self.small) } else { (&self.small, full) };
                let ready = first.try_recv().or_else(|_| second.try_recv()).ok();
                ready.or_else(|| select! { recv(self.small) -> job => job.ok(), recv(full) -> job => job.ok() })?
            }
        };
        self.bytes.fetch_sub(job.request_bytes, Ordering::Relaxed);
        if job.request_bytes <= self.small_bytes_max {
            self.small_owed = self.small_owed.saturating_sub(job.request_bytes);
            self.small_in_a_row = self.small_in_a_row.saturating_add(1);
        } else {
            (self.small_owed, self.small_in_a_row) = (job.request_bytes, 0);
        }
        Some(job)
    }
}

/// A view of what waits.
#[derive(Clone)]
pub(super) struct QueueGauge {
    small: Receiver<Box<BatchJob>>,
    full: Receiver<Box<BatchJob>>,
    bytes: Arc<AtomicUsize>,
}

impl QueueGauge {
    /// Returns the number of jobs that wait, in both lanes.
    pub(super) fn jobs(&self) -> usize {
        self.small.len() + self.full.len()
    }

    /// Returns the number of jobs that wait in the small lane.
    pub(super) fn small_jobs(&self) -> usize {
        self.small.len()
    }

    /// Returns the bytes of the requests that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::super::messages::{Executed, InFlight, ReplyPort, Rpc, SendReply};
    use super::*;
    use crate::evm::fork::ForkId;
    use crate::processor::Interrupt;
    use crate::sample::Workload;
    use crate::spans::CallTrace;

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
            trace: CallTrace::default(),
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
