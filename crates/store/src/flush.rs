//! Flush ids and the queue of write sets between those who leave state and the writer (hashdb-service §6).
//!
//! Guarantees: ids grow by exactly 1 per flush, the first is 1; the stored id is `n` only once everything of flushes 1 to
//! `n` is committed; without further requests it reaches the last one. The queue has a bound in bytes: whoever brings more
//! waits for room, and is refused if there is none in time. What was accepted is never dropped.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use serde::Serialize;

use crate::database::WriteSet;
use zkevm_tree::Digest;
use zkevm_tree::StoreError;
use zkevm_types::FlushIds;

/// The answer of `GetFlushStatus`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FlushStatus {
    /// Everything up to here is in the database.
    pub stored_flush_id: u64,
    /// Handed to the database last; stays there once it is stored.
    pub storing_flush_id: u64,
    /// Handed out last.
    pub last_flush_id: u64,
    /// Nodes accepted and not yet handed to the database.
    pub pending_nodes: u64,
    /// Programs accepted and not yet handed to the database.
    pub pending_programs: u64,
    /// Nodes that the database is writing; zero once they are stored.
    pub storing_nodes: u64,
    /// Programs that the database is writing; zero once they are stored.
    pub storing_programs: u64,
}

/// Bounds of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    /// Bytes accepted and not yet stored, estimated; a set that is larger still goes in alone.
    pub backlog_bytes_max: usize,
    /// Bytes of one group.
    pub group_bytes_max: usize,
    /// The time a writer waits for room.
    pub wait_max: Duration,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self { backlog_bytes_max: 512 << 20, group_bytes_max: 64 << 20, wait_max: Duration::from_secs(30) }
    }
}

/// Sets that are committed together.
#[derive(Debug)]
pub struct FlushGroup {
    /// In the order they came.
    pub sets: Vec<Arc<WriteSet>>,
    /// Everything up to this flush is stored with the group.
    pub flush_id: u64,
    /// Number of its last set.
    pub number: u64,
    bytes: usize,
}

impl FlushGroup {
    /// Nodes of all sets.
    pub fn nodes(&self) -> u64 {
        self.sets.iter().map(|set| set.nodes.len() as u64).sum()
    }

    /// Programs of all sets.
    pub fn programs(&self) -> u64 {
        self.sets.iter().map(|set| set.programs.len() as u64).sum()
    }
}

/// The numbers of [`FlushStatus`], read without a lock: clients poll them in a loop without pause.
#[derive(Debug, Default)]
struct FlushCounters {
    stored: AtomicU64,
    storing: AtomicU64,
    last: AtomicU64,
    pending_nodes: AtomicU64,
    pending_programs: AtomicU64,
    storing_nodes: AtomicU64,
    storing_programs: AtomicU64,
}

struct Queued {
    set: Arc<WriteSet>,
    number: u64,
    bytes: usize,
    /// Last id handed out when nothing but this set was waiting behind it.
    flush_id: u64,
}

#[derive(Default)]
struct Waiting {
    pending: VecDeque<Queued>,
    /// Taken by the writer and not yet stored.
    storing: Option<Arc<FlushGroup>>,
    bytes: usize,
    last: u64,
    /// Sets taken in so far. Not the flush ids: a set may come without one.
    sets: u64,
    closed: bool,
}

/// The queue. Anyone may submit; one writer takes.
pub(crate) struct FlushQueue {
    waiting: Mutex<Waiting>,
    room: Condvar,
    work: Condvar,
    stored: Condvar,
    counters: FlushCounters,
    limits: QueueLimits,
}

impl FlushQueue {
    /// Creates an empty queue.
    pub(crate) fn new(limits: QueueLimits) -> Self {
        Self {
            waiting: Mutex::default(),
            room: Condvar::new(),
            work: Condvar::new(),
            stored: Condvar::new(),
            counters: FlushCounters::default(),
            limits,
        }
    }

    /// Takes a set in, with `flushes` new ids, and returns them and the set's number, one more than that of the set before.
    ///
    /// Waits for room. Fails with [`StoreError::Unavailable`], and takes nothing in, if there is none in time or the
    /// queue is closed.
    pub(crate) fn submit(&self, set: Arc<WriteSet>, flushes: u64) -> Result<(FlushIds, u64), StoreError> {
        let bytes = set.bytes();
        let mut waiting = self.waiting.lock();
        let limit = Instant::now() + self.limits.wait_max;
        while !set.is_empty() && waiting.bytes > 0 && waiting.bytes + bytes > self.limits.backlog_bytes_max {
            if waiting.closed {
                break;
            }
            if self.room.wait_until(&mut waiting, limit).timed_out() {
                return Err(StoreError::Unavailable("the database does not keep up with the writes".to_owned()));
            }
        }
        if waiting.closed {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        waiting.last += flushes;
        self.counters.last.store(waiting.last, Ordering::Release);
        let last = waiting.last;
        if set.is_empty() {
            // Nothing of its own to wait for, but everything before it.
            let nothing_stores = waiting.storing.is_none();
            match waiting.pending.back_mut() {
                Some(queued) => queued.flush_id = last,
                None if nothing_stores => self.counters.stored.store(last, Ordering::Release),
                None => {}
            }
        } else {
            waiting.bytes += bytes;
            waiting.sets += 1;
            let number = waiting.sets;
            self.counters.pending_nodes.fetch_add(set.nodes.len() as u64, Ordering::Relaxed);
            self.counters.pending_programs.fetch_add(set.programs.len() as u64, Ordering::Relaxed);
            waiting.pending.push_back(Queued { set, number, bytes, flush_id: last });
            self.work.notify_one();
        }
        let ids = FlushIds { flush_id: last, stored_flush_id: self.counters.stored.load(Ordering::Acquire) };
        Ok((ids, waiting.sets))
    }

    /// Returns the group to write next: the one not confirmed yet, else what is waiting. Waits until there is something.
    ///
    /// `None` once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Arc<FlushGroup>> {
        let mut waiting = self.waiting.lock();
        loop {
            if let Some(group) = &waiting.storing {
                return Some(Arc::clone(group));
            }
            if !waiting.pending.is_empty() {
                break;
            }
            if waiting.closed {
                return None;
            }
            self.work.wait(&mut waiting);
        }
        let group = Arc::new(self.next_group(&mut waiting));
        waiting.storing = Some(Arc::clone(&group));
        let (nodes, programs) = (group.nodes(), group.programs());
        self.counters.storing.store(group.flush_id, Ordering::Release);
        self.counters.pending_nodes.fetch_sub(nodes, Ordering::Relaxed);
        self.counters.pending_programs.fetch_sub(programs, Ordering::Relaxed);
        self.counters.storing_nodes.store(nodes, Ordering::Relaxed);
        self.counters.storing_programs.store(programs, Ordering::Relaxed);
        Some(group)
    }

    fn next_group(&self, waiting: &mut Waiting) -> FlushGroup {
        let mut group = FlushGroup { sets: Vec::new(), flush_id: 0, number: 0, bytes: 0 };
        while let Some(queued) = waiting.pending.front() {
            if !group.sets.is_empty() && group.bytes + queued.bytes > self.limits.group_bytes_max {
                break;
            }
            group.bytes += queued.bytes;
            group.flush_id = queued.flush_id;
            group.number = queued.number;
            group.sets.extend(waiting.pending.pop_front().map(|queued| queued.set));
        }
        group
    }

    /// Notes that a group taken is in the database.
    pub(crate) fn confirm(&self, group: &FlushGroup) {
        let mut waiting = self.waiting.lock();
        waiting.storing = None;
        waiting.bytes -= group.bytes;
        self.counters.storing_nodes.store(0, Ordering::Relaxed);
        self.counters.storing_programs.store(0, Ordering::Relaxed);
        let stored = if waiting.pending.is_empty() { waiting.last } else { group.flush_id };
        self.counters.stored.store(stored, Ordering::Release);
        self.room.notify_all();
        self.stored.notify_all();
    }

    /// Accepts nothing more; the writer goes on until everything is stored.
    pub(crate) fn close(&self) {
        self.waiting.lock().closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Waits until everything accepted is stored; false if that takes longer than `limit`.
    pub(crate) fn wait_stored(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut waiting = self.waiting.lock();
        while waiting.bytes > 0 || waiting.storing.is_some() || !waiting.pending.is_empty() {
            if self.stored.wait_until(&mut waiting, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    /// Returns the latest root of what is accepted and not yet stored.
    pub(crate) fn latest_root(&self) -> Option<Digest> {
        let waiting = self.waiting.lock();
        let storing = waiting.storing.iter().flat_map(|group| &group.sets);
        let mut sets = storing.chain(waiting.pending.iter().map(|queued| &queued.set));
        sets.rfind(|set| set.latest_root.is_some()).and_then(|set| set.latest_root)
    }

    /// Returns the present numbers. Never waits.
    pub(crate) fn status(&self) -> FlushStatus {
        // In this order no id is read ahead of one that must be at least as large.
        let stored_flush_id = self.counters.stored.load(Ordering::Acquire);
        let storing_flush_id = self.counters.storing.load(Ordering::Acquire);
        FlushStatus {
            stored_flush_id,
            storing_flush_id,
            last_flush_id: self.counters.last.load(Ordering::Acquire),
            pending_nodes: self.counters.pending_nodes.load(Ordering::Relaxed),
            pending_programs: self.counters.pending_programs.load(Ordering::Relaxed),
            storing_nodes: self.counters.storing_nodes.load(Ordering::Relaxed),
            storing_programs: self.counters.storing_programs.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: QueueLimits =
        QueueLimits { backlog_bytes_max: 2560, group_bytes_max: 1024, wait_max: Duration::from_millis(20) };

    fn set(nodes: u64) -> Arc<WriteSet> {
        let nodes = (0..nodes).map(|number| (Digest([number; 4]), [number; 12])).collect();
        Arc::new(WriteSet { nodes, ..WriteSet::default() })
    }

    fn submit(queue: &FlushQueue, nodes: u64) -> FlushIds {
        queue.submit(set(nodes), 1).unwrap().0
    }

    fn ids(flush_id: u64, stored_flush_id: u64) -> FlushIds {
        FlushIds { flush_id, stored_flush_id }
    }

    #[test]
    fn ids_grow_by_one_and_empty_flushes_are_stored_at_once() {
        let queue = FlushQueue::new(LIMITS);
        assert_eq!(submit(&queue, 0), ids(1, 1));
        assert_eq!(submit(&queue, 2), ids(2, 1));
        assert_eq!(submit(&queue, 0), ids(3, 1), "stored must not pass what waits before it");
        let group = queue.take().unwrap();
        assert_eq!((group.flush_id, group.nodes()), (3, 2));
        assert_eq!(submit(&queue, 0), ids(4, 1));
        let status = queue.status();
        assert_eq!((status.pending_nodes, status.storing_nodes, status.storing_flush_id), (0, 2, 3));
        queue.confirm(&group);
        let stored = FlushStatus { stored_flush_id: 4, last_flush_id: 4, storing_nodes: 0, ..status };
        assert_eq!(queue.status(), stored);
    }

    #[test]
    fn a_group_that_was_not_confirmed_comes_again_before_newer_ones() {
        let queue = FlushQueue::new(LIMITS);
        submit(&queue, 3);
        submit(&queue, 3);
        let first = queue.take().unwrap();
        assert_eq!(first.flush_id, 1, "two sets exceed one group");
        assert!(Arc::ptr_eq(&first, &queue.take().unwrap()));
        queue.confirm(&first);
        assert_eq!(queue.status().stored_flush_id, 1);
        let second = queue.take().unwrap();
        queue.confirm(&second);
        assert_eq!(queue.status().stored_flush_id, 2);
    }

    #[test]
    fn who_brings_more_than_fits_waits_and_is_refused_in_the_end() {
        let queue = FlushQueue::new(LIMITS);
        submit(&queue, 100);
        let error = queue.submit(set(1), 1).unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        assert_eq!(submit(&queue, 0), ids(2, 0), "an empty flush needs no room");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let patient = QueueLimits { wait_max: Duration::from_secs(10), ..LIMITS };
                let queue = FlushQueue::new(patient);
                queue.submit(set(10), 1).unwrap();
                std::thread::scope(|scope| {
                    let blocked = scope.spawn(|| queue.submit(set(1), 1));
                    std::thread::sleep(Duration::from_millis(20));
                    assert!(!blocked.is_finished());
                    queue.confirm(&queue.take().unwrap());
                    blocked.join().unwrap().unwrap().0
                })
            });
            assert_eq!(waiting.join().unwrap(), ids(2, 1));
        });
    }

    #[test]
    fn a_closed_queue_gives_out_the_rest_and_takes_nothing_in() {
        let queue = FlushQueue::new(LIMITS);
        submit(&queue, 1);
        queue.close();
        assert!(queue.submit(set(1), 1).is_err());
        assert!(!queue.wait_stored(Duration::from_millis(1)));
        queue.confirm(&queue.take().unwrap());
        assert!(queue.take().is_none());
        assert!(queue.wait_stored(Duration::from_millis(1)));
    }
}
