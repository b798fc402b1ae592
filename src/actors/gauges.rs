//! What the front publishes: who asks before a request is read looks here and never waits for the front.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use super::lifecycle::Lifecycle;
use super::messages::BatchFailure;

/// The front's state in numbers. The front alone writes them, after every message; they are a moment old for all others.
#[derive(Debug)]
pub struct FrontGauges {
    lifecycle: Lifecycle,
    capacity: usize,
    jobs: AtomicUsize,
    busy: AtomicUsize,
    /// Some of what waits may be waited for by nobody.
    may_make_room: AtomicBool,
}

impl FrontGauges {
    pub(super) fn new(lifecycle: Lifecycle, capacity: usize) -> Self {
        Self {
            lifecycle,
            capacity,
            jobs: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            may_make_room: AtomicBool::new(false),
        }
    }

    /// Publishes what waits and how many executors have a job.
    pub(super) fn publish(&self, jobs: usize, busy: usize, may_make_room: bool) {
        self.jobs.store(jobs, Relaxed);
        self.busy.store(busy, Relaxed);
        self.may_make_room.store(may_make_room, Relaxed);
    }

    /// Returns why no call is admitted at all, if so: the one place that asks whether the server is draining
    /// (executor-service §2).
    pub(super) fn closed(&self) -> Option<BatchFailure> {
        self.lifecycle.is_draining().then_some(BatchFailure::Draining)
    }

    /// Returns why the front would surely refuse a call, if so; `None` says nothing, the front decides. Only calls that
    /// bring batches are refused because the queue is full of batches that somebody waits for.
    pub(super) fn refusal(&self, brings_batch: bool) -> Option<BatchFailure> {
        self.closed().or_else(|| {
            let full = brings_batch && self.jobs() >= self.capacity && !self.may_make_room.load(Relaxed);
            full.then_some(BatchFailure::QueueFull { capacity: self.capacity })
        })
    }

    /// Returns the number of jobs that wait.
    pub fn jobs(&self) -> usize {
        self.jobs.load(Relaxed)
    }

    /// Returns the number of jobs that may wait.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Returns the number of executors with a job.
    pub fn busy(&self) -> usize {
        self.busy.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::lifecycle::Phase;
    use super::*;

    #[test]
    fn what_is_published_decides_about_refusals() {
        let gauges = FrontGauges::new(Lifecycle::default(), 2);
        let refused = |jobs, may_make_room| {
            gauges.publish(jobs, 0, may_make_room);
            [true, false].map(|brings_batch| gauges.refusal(brings_batch))
        };
        let full = Some(BatchFailure::QueueFull { capacity: 2 });
        assert_eq!(refused(1, false), [None, None]);
        assert_eq!(refused(2, false), [full, None]);
        assert_eq!(refused(2, true), [None, None], "the front may find room");
        gauges.lifecycle.advance(Phase::Draining);
        assert_eq!(refused(2, false), [Some(BatchFailure::Draining); 2]);
    }
}
