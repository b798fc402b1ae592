//! Jobs that wait for an executor: two lanes, one bound.
//!
//! Small requests (a call of an RPC node, a pool check) take a millisecond, a full batch takes fifty. In one line the small
//! ones would wait for every batch ahead of them, so they wait in a lane of their own, the priority lane; all others wait
//! in the bulk lane. Both lanes share the bounds: jobs, and bytes of the requests as sent. The bulk lane leaves an eighth of
//! them to small ones, which so find a place whatever else there is. Within a lane the order is kept.
//!
//! What is small is decided by the size of the request, unless it may run for long however small it is: one that asks for a
//! trace, or whose transactions may use much gas.

use std::collections::VecDeque;

use super::messages::BatchFailure;

/// Share of the bounds that the bulk lane leaves to the other.
const SMALL_SHARE: usize = 8;

/// Bounds of what waits, and of what counts as small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBounds {
    /// Jobs that may wait.
    pub jobs_max: usize,
    /// Bytes of requests that may wait. A job larger than this is taken when nothing else waits.
    pub bytes_max: usize,
    /// Requests of at most this many bytes take the priority lane; 0 for one lane only.
    pub small_bytes_max: usize,
}

impl QueueBounds {
    /// Returns true if small requests have a lane, and with it an executor reserved for them.
    pub const fn has_priority_lane(&self) -> bool {
        self.small_bytes_max > 0
    }

    /// Returns the jobs and bytes that may wait with one more in a lane.
    fn max_before(&self, lane: Lane) -> (usize, usize) {
        let left = |bound: usize| match lane {
            Lane::Bulk if self.has_priority_lane() => bound - bound / SMALL_SHARE,
            _ => bound,
        };
        (left(self.jobs_max), left(self.bytes_max))
    }

    /// Returns the lane of a request of this size.
    pub(super) const fn lane_of(&self, request_bytes: usize, may_be_long: bool) -> Lane {
        if request_bytes <= self.small_bytes_max && !may_be_long { Lane::Priority } else { Lane::Bulk }
    }
}

/// One of the two lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Priority,
    Bulk,
}

/// A job with the size of its request.
#[derive(Debug)]
pub(super) struct Waiting<J> {
    pub(super) job: J,
    pub(super) request_bytes: usize,
    /// It may run for long, however small it is.
    pub(super) may_be_long: bool,
}

/// The lanes. `J` is what waits in them.
#[derive(Debug)]
pub(super) struct Lanes<J> {
    bounds: QueueBounds,
    priority: VecDeque<Waiting<J>>,
    bulk: VecDeque<Waiting<J>>,
    request_bytes: usize,
}

impl<J> Lanes<J> {
    pub(super) fn new(bounds: QueueBounds) -> Self {
        Self { bounds, priority: VecDeque::new(), bulk: VecDeque::new(), request_bytes: 0 }
    }

    pub(super) fn bounds(&self) -> &QueueBounds {
        &self.bounds
    }

    /// Puts a job at the end of its lane; gives it back with the reason if there is no room.
    pub(super) fn push(&mut self, job: Waiting<J>) -> Result<(), (Waiting<J>, BatchFailure)> {
        let lane = self.bounds.lane_of(job.request_bytes, job.may_be_long);
        let (jobs_max, bytes_max) = self.bounds.max_before(lane);
        let jobs = self.len();
        if jobs >= jobs_max {
            return Err((job, BatchFailure::QueueFull { capacity: self.bounds.jobs_max }));
        }
        if jobs > 0 && self.request_bytes.saturating_add(job.request_bytes) > bytes_max {
            return Err((job, BatchFailure::QueueBytesFull { bytes_max: self.bounds.bytes_max }));
        }
        self.request_bytes += job.request_bytes;
        self.lane(lane).push_back(job);
        Ok(())
    }

    /// Takes the first job of a lane.
    pub(super) fn pop(&mut self, lane: Lane) -> Option<Waiting<J>> {
        let job = self.lane(lane).pop_front()?;
        self.request_bytes -= job.request_bytes;
        Some(job)
    }

    /// Passes once over both lanes and takes out the jobs for which `discard` has a reason.
    pub(super) fn sweep<R>(&mut self, discard: impl Fn(&J) -> Option<R>) -> Vec<(J, R)> {
        let mut taken = Vec::new();
        for lane in [Lane::Priority, Lane::Bulk] {
            for waiting in std::mem::take(self.lane(lane)) {
                match discard(&waiting.job) {
                    Some(reason) => {
                        self.request_bytes -= waiting.request_bytes;
                        taken.push((waiting.job, reason));
                    }
                    None => self.lane(lane).push_back(waiting),
                }
            }
        }
        taken
    }

    fn lane(&mut self, lane: Lane) -> &mut VecDeque<Waiting<J>> {
        match lane {
            Lane::Priority => &mut self.priority,
            Lane::Bulk => &mut self.bulk,
        }
    }

    /// Returns the number of jobs in both lanes.
    pub(super) fn len(&self) -> usize {
        self.priority.len() + self.bulk.len()
    }

    /// Returns the number of jobs in the priority lane.
    pub(super) fn priority_len(&self) -> usize {
        self.priority.len()
    }

    /// Returns the bytes of the requests in both lanes.
    pub(super) fn request_bytes(&self) -> usize {
        self.request_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: usize = 10;
    const FULL: usize = 100;

    fn lanes(jobs_max: usize, bytes_max: usize) -> Lanes<&'static str> {
        Lanes::new(QueueBounds { jobs_max, bytes_max, small_bytes_max: SMALL })
    }

    fn push(lanes: &mut Lanes<&'static str>, request_bytes: usize, job: &'static str) -> Option<BatchFailure> {
        lanes.push(Waiting { job, request_bytes, may_be_long: false }).err().map(|(_, failure)| failure)
    }

    fn names(lanes: &mut Lanes<&'static str>, lane: Lane) -> Vec<&'static str> {
        std::iter::from_fn(|| lanes.pop(lane)).map(|taken| taken.job).collect()
    }

    #[test]
    fn each_lane_keeps_its_order() {
        let mut lanes = lanes(8, 1000);
        for (bytes, name) in [(FULL, "a"), (SMALL, "b"), (FULL, "c"), (SMALL, "d")] {
            assert_eq!(push(&mut lanes, bytes, name), None);
        }
        assert_eq!((lanes.len(), lanes.priority_len(), lanes.request_bytes()), (4, 2, 220));
        assert_eq!(names(&mut lanes, Lane::Priority), ["b", "d"]);
        assert_eq!(names(&mut lanes, Lane::Bulk), ["a", "c"]);
        assert_eq!((lanes.len(), lanes.request_bytes()), (0, 0));
    }

    #[test]
    fn bounds_hold_over_both_lanes() {
        let mut few = lanes(2, 1000);
        assert_eq!([push(&mut few, SMALL, ""), push(&mut few, FULL, "")], [None, None]);
        assert_eq!(push(&mut few, SMALL, ""), Some(BatchFailure::QueueFull { capacity: 2 }));

        let mut light = lanes(8, 150);
        assert_eq!(push(&mut light, FULL, ""), None);
        assert_eq!(push(&mut light, FULL, ""), Some(BatchFailure::QueueBytesFull { bytes_max: 150 }));
        assert_eq!(push(&mut light, SMALL, ""), None, "what fits is taken");
        names(&mut light, Lane::Priority);
        names(&mut light, Lane::Bulk);
        assert_eq!(push(&mut light, 1000, ""), None, "any job is taken when nothing waits");
    }

    #[test]
    fn full_batches_leave_room_for_small_ones() {
        let mut lanes = lanes(16, 10_000);
        let pushed = (0..16).filter(|_| push(&mut lanes, FULL, "").is_none()).count();
        assert_eq!(pushed, 14);
        assert_eq!([(); 2].map(|()| push(&mut lanes, SMALL, "")), [None; 2]);
        assert_eq!(push(&mut lanes, SMALL, ""), Some(BatchFailure::QueueFull { capacity: 16 }));
    }

    #[test]
    fn sweeping_takes_out_what_it_is_told() {
        let mut lanes = lanes(8, 1000);
        for (bytes, name) in [(FULL, "a"), (SMALL, "gone"), (FULL, "gone"), (SMALL, "d"), (FULL, "e")] {
            assert_eq!(push(&mut lanes, bytes, name), None);
        }
        assert_eq!(lanes.sweep(|name| (*name == "gone").then_some(())).len(), 2);
        assert_eq!((lanes.len(), lanes.request_bytes()), (3, 210));
        assert_eq!(names(&mut lanes, Lane::Priority), ["d"]);
        assert_eq!(names(&mut lanes, Lane::Bulk), ["a", "e"]);
    }

    #[test]
    fn without_a_size_that_is_small_there_is_one_lane() {
        let mut lanes = Lanes::new(QueueBounds { jobs_max: 8, bytes_max: 1000, small_bytes_max: 0 });
        for (bytes, name) in [(FULL, "a"), (SMALL, "b"), (FULL, "c")] {
            assert_eq!(push(&mut lanes, bytes, name), None);
        }
        assert_eq!(names(&mut lanes, Lane::Bulk), ["a", "b", "c"]);
    }
}
