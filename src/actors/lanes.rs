//! Jobs that wait for an executor: two lanes, one bound.
//!
//! Small requests (a call of an RPC node, a pool check) take a millisecond, a full batch takes fifty. In one line the small
//! ones would wait for every batch ahead of them, so they wait in a lane of their own, the priority lane; all others wait
//! in the bulk lane. Both lanes share the bounds: jobs, and bytes of the requests as sent. The bulk lane leaves an eighth of
//! them to small ones, which so find a place whatever else there is.
//!
//! Within a lane peers take turns, and the order of each is kept: one with many jobs delays another's by one job. And who has
//! jobs waiting leaves an eighth of the bounds to those who have none, so that no peer fills the queue. While there is one
//! peer only, a lane is a plain line.
//!
//! What is small is decided by the size of the request, unless it may run for long however small it is: one that asks for a
//! trace, or whose transactions may use much gas.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use super::messages::BatchFailure;

/// Share of the bounds that the bulk lane leaves to the other.
const SMALL_SHARE: usize = 8;
/// Share of the bounds that peers with jobs in the lanes leave to others.
const OTHERS_SHARE: usize = 8;

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

    /// Returns the jobs and bytes that may wait with one more in a lane; `waits` says if its peer has jobs there already.
    fn max_before(&self, lane: Lane, waits: bool) -> (usize, usize) {
        let left = |bound: usize| {
            let to_small = if lane == Lane::Bulk && self.has_priority_lane() { bound / SMALL_SHARE } else { 0 };
            bound - to_small - if waits { bound / OTHERS_SHARE } else { 0 }
        };
        (left(self.jobs_max), left(self.bytes_max))
    }

    /// Returns the lane of a request.
    pub(super) const fn lane_of(&self, request: &RequestFacts) -> Lane {
        if request.bytes <= self.small_bytes_max && !request.may_be_long { Lane::Priority } else { Lane::Bulk }
    }
}

/// What decides about the place of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestFacts {
    /// Its size.
    pub(super) bytes: usize,
    /// It may run for long, however small it is.
    pub(super) may_be_long: bool,
    /// Who sent it; those of whom it is not known are one peer.
    pub(super) peer: Option<IpAddr>,
}

/// One of the two lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    Priority,
    Bulk,
}

/// A job and its request.
#[derive(Debug)]
pub(super) struct Waiting<J> {
    pub(super) job: J,
    pub(super) request: RequestFacts,
}

/// Jobs of one lane: a line for each peer, and the peers in turn.
#[derive(Debug)]
struct Line<J> {
    /// None of them is empty.
    of_peers: HashMap<Option<IpAddr>, VecDeque<Waiting<J>>>,
    /// Peers with jobs, each once; the first is served next.
    turns: VecDeque<Option<IpAddr>>,
    len: usize,
}

impl<J> Line<J> {
    fn new() -> Self {
        Self { of_peers: HashMap::new(), turns: VecDeque::new(), len: 0 }
    }

    fn push(&mut self, job: Waiting<J>) {
        let peer = job.request.peer;
        let line = self.of_peers.entry(peer).or_default();
        if line.is_empty() {
            self.turns.push_back(peer);
        }
        line.push_back(job);
        self.len += 1;
    }

    fn pop(&mut self) -> Option<Waiting<J>> {
        let peer = self.turns.pop_front()?;
        let line = self.of_peers.get_mut(&peer)?;
        let job = line.pop_front()?;
        self.len -= 1;
        match line.is_empty() {
            true => drop(self.of_peers.remove(&peer)),
            false => self.turns.push_back(peer),
        }
        Some(job)
    }

    /// Takes out the jobs for which `discard` has a reason.
    fn sweep<R>(&mut self, discard: impl Fn(&J) -> Option<R>, taken: &mut Vec<(Waiting<J>, R)>) {
        for line in self.of_peers.values_mut() {
            for waiting in std::mem::take(line) {
                match discard(&waiting.job) {
                    Some(reason) => taken.push((waiting, reason)),
                    None => line.push_back(waiting),
                }
            }
        }
        self.of_peers.retain(|_, line| !line.is_empty());
        self.turns.retain(|peer| self.of_peers.contains_key(peer));
        self.len = self.of_peers.values().map(VecDeque::len).sum();
    }

    fn has(&self, peer: Option<IpAddr>) -> bool {
        self.of_peers.contains_key(&peer)
    }
}

/// The lanes. `J` is what waits in them.
#[derive(Debug)]
pub(super) struct Lanes<J> {
    bounds: QueueBounds,
    priority: Line<J>,
    bulk: Line<J>,
    request_bytes: usize,
}

impl<J> Lanes<J> {
    pub(super) fn new(bounds: QueueBounds) -> Self {
        Self { bounds, priority: Line::new(), bulk: Line::new(), request_bytes: 0 }
    }

    pub(super) fn bounds(&self) -> &QueueBounds {
        &self.bounds
    }

    /// Puts a job at the end of its peer's line in its lane; gives it back with the reason if there is no room.
    pub(super) fn push(&mut self, job: Waiting<J>) -> Result<(), (Waiting<J>, BatchFailure)> {
        let RequestFacts { bytes, peer, .. } = job.request;
        let lane = self.bounds.lane_of(&job.request);
        let waits = self.priority.has(peer) || self.bulk.has(peer);
        let (jobs_max, bytes_max) = self.bounds.max_before(lane, waits);
        let jobs = self.len();
        if jobs >= jobs_max {
            return Err((job, BatchFailure::QueueFull { capacity: self.bounds.jobs_max }));
        }
        if jobs > 0 && self.request_bytes.saturating_add(bytes) > bytes_max {
            return Err((job, BatchFailure::QueueBytesFull { bytes_max: self.bounds.bytes_max }));
        }
        self.request_bytes += bytes;
        self.lane(lane).push(job);
        Ok(())
    }

    /// Takes the next job of a lane.
    pub(super) fn pop(&mut self, lane: Lane) -> Option<Waiting<J>> {
        let job = self.lane(lane).pop()?;
        self.request_bytes -= job.request.bytes;
        Some(job)
    }

    /// Passes once over both lanes and takes out the jobs for which `discard` has a reason.
    pub(super) fn sweep<R>(&mut self, discard: impl Fn(&J) -> Option<R>) -> Vec<(J, R)> {
        let mut taken = Vec::new();
        for lane in [Lane::Priority, Lane::Bulk] {
            self.lane(lane).sweep(&discard, &mut taken);
        }
        self.request_bytes -= taken.iter().map(|(waiting, _)| waiting.request.bytes).sum::<usize>();
        taken.into_iter().map(|(waiting, reason)| (waiting.job, reason)).collect()
    }

    fn lane(&mut self, lane: Lane) -> &mut Line<J> {
        match lane {
            Lane::Priority => &mut self.priority,
            Lane::Bulk => &mut self.bulk,
        }
    }

    /// Returns the number of jobs in both lanes.
    pub(super) fn len(&self) -> usize {
        self.priority.len + self.bulk.len
    }

    /// Returns the number of jobs in the priority lane.
    pub(super) fn priority_len(&self) -> usize {
        self.priority.len
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
        push_of(lanes, 1, request_bytes, job)
    }

    fn push_of(lanes: &mut Lanes<&'static str>, peer: u8, bytes: usize, job: &'static str) -> Option<BatchFailure> {
        let peer = Some(IpAddr::from([10, 0, 0, peer]));
        let request = RequestFacts { bytes, may_be_long: false, peer };
        lanes.push(Waiting { job, request }).err().map(|(_, failure)| failure)
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
        let pushed = (0..16).filter(|peer| push_of(&mut lanes, *peer, FULL, "").is_none()).count();
        assert_eq!(pushed, 14);
        assert_eq!([20, 21].map(|peer| push_of(&mut lanes, peer, SMALL, "")), [None; 2]);
        assert_eq!(push_of(&mut lanes, 22, SMALL, ""), Some(BatchFailure::QueueFull { capacity: 16 }));
    }

    #[test]
    fn who_waits_leaves_room_to_those_who_do_not() {
        let full = |capacity| Some(BatchFailure::QueueFull { capacity });
        let mut few = lanes(16, 10_000);
        let pushed = (0..16).filter(|_| push_of(&mut few, 1, FULL, "").is_none()).count();
        assert_eq!((pushed, push_of(&mut few, 2, FULL, ""), push_of(&mut few, 2, FULL, "")), (12, None, full(16)));
        // With small ones as well: 14 of 16 are for those who wait.
        assert_eq!([1, 1, 3].map(|peer| push_of(&mut few, peer, SMALL, "")), [None, full(16), None]);

        let mut light = lanes(100, 800);
        let pushed = (0..16).filter(|_| push_of(&mut light, 1, FULL, "").is_none()).count();
        let heavy = Some(BatchFailure::QueueBytesFull { bytes_max: 800 });
        assert_eq!((pushed, push_of(&mut light, 2, FULL, ""), push_of(&mut light, 2, FULL, "")), (6, None, heavy));
        assert_eq!(names(&mut light, Lane::Bulk).len(), 7);
        assert_eq!(
            (push_of(&mut light, 1, FULL, ""), light.request_bytes()),
            (None, 100),
            "who waits no more begins anew"
        );
    }

    #[test]
    fn peers_take_turns() {
        let mut lanes = lanes(16, 10_000);
        for (peer, name) in [(1, "a1"), (1, "a2"), (1, "gone"), (1, "a3"), (2, "b1"), (3, "gone"), (2, "b2"), (4, "d1")]
        {
            assert_eq!(push_of(&mut lanes, peer, FULL, name), None);
        }
        assert_eq!(lanes.pop(Lane::Bulk).map(|taken| taken.job), Some("a1"));
        assert_eq!(lanes.sweep(|name| (*name == "gone").then_some(())).len(), 2);
        assert_eq!((lanes.len(), lanes.request_bytes()), (5, 500));
        assert_eq!(names(&mut lanes, Lane::Bulk), ["b1", "d1", "a2", "b2", "a3"]);
        assert_eq!((lanes.len(), lanes.request_bytes()), (0, 0));
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
