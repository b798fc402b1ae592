//! The batch at hand of each executor, for diagnosis: written at the begin and the end of a batch, read by anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use super::super::messages::BatchJob;

/// The batches at hand, by executor.
#[derive(Debug)]
pub struct Running {
    slots: Vec<Slot>,
    /// Batches get their number here, in the order they begin.
    begun: AtomicU64,
    slow_after: Option<Duration>,
    slow_batches: AtomicU64,
}

#[derive(Debug, Default)]
struct Slot {
    /// Takes small requests only.
    is_reserved: bool,
    restarts: AtomicU64,
    batch: Mutex<Option<Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    view: BatchView,
    since: Instant,
    reported: bool,
}

/// A batch that runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BatchView {
    /// Number of the batch in this process, counted by begin.
    pub id: u64,
    /// Call it came by.
    pub rpc: &'static str,
    /// Free text of the client.
    pub context_id: String,
    /// Number of the batch before this one, from the request.
    pub old_batch_num: u64,
    /// Fork id.
    pub fork_id: u64,
    /// Time since its begin on the executor, in seconds.
    pub seconds: f64,
}

/// One executor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExecutorView {
    /// Its number, from 0.
    pub executor: usize,
    /// Takes small requests only.
    #[serde(rename = "express")]
    pub is_reserved: bool,
    /// Starts after a panic.
    pub restarts: u64,
    /// Its batch at hand.
    pub batch: Option<BatchView>,
}

impl Running {
    /// Creates the slots of idle executors, given which of them are reserved. A batch is slow after `slow_after`.
    pub fn new(reserved: impl IntoIterator<Item = bool>, slow_after: Option<Duration>) -> Arc<Self> {
        let slots = reserved.into_iter().map(|is_reserved| Slot { is_reserved, ..Slot::default() }).collect();
        Arc::new(Self { slots, begun: AtomicU64::new(0), slow_after, slow_batches: AtomicU64::new(0) })
    }

    /// Notes that an executor begins a batch, until the guard is dropped.
    pub(crate) fn begin(&self, executor: usize, job: &BatchJob) -> Option<RunningGuard<'_>> {
        let slot = self.slots.get(executor)?;
        let view = BatchView {
            id: self.begun.fetch_add(1, Ordering::Relaxed) + 1,
            rpc: job.rpc.name(),
            context_id: job.context_id.clone(),
            old_batch_num: job.input.old_batch_num,
            fork_id: job.input.fork_id.get(),
            seconds: 0.0,
        };
        let id = view.id;
        *slot.batch.lock() = Some(Entry { view, since: Instant::now(), reported: false });
        Some(RunningGuard { slot, id })
    }

    /// Notes that an executor was started again.
    pub(crate) fn restarted(&self, executor: usize) {
        if let Some(slot) = self.slots.get(executor) {
            slot.restarts.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns every executor with its batch.
    pub fn executors(&self) -> Vec<ExecutorView> {
        let view = |(executor, slot): (usize, &Slot)| {
            let entry = slot.batch.lock().clone();
            let batch =
                entry.map(|Entry { view, since, .. }| BatchView { seconds: since.elapsed().as_secs_f64(), ..view });
            ExecutorView {
                executor,
                is_reserved: slot.is_reserved,
                restarts: slot.restarts.load(Ordering::Relaxed),
                batch,
            }
        };
        self.slots.iter().enumerate().map(view).collect()
    }

    /// Returns the batches that have run longer than the limit and were not returned before, and counts them.
    pub fn newly_slow(&self) -> Vec<(usize, BatchView)> {
        let Some(limit) = self.slow_after else { return Vec::new() };
        let mut slow = Vec::new();
        for (executor, slot) in self.slots.iter().enumerate() {
            let mut batch = slot.batch.lock();
            let Some(entry) = batch.as_mut().filter(|entry| !entry.reported && entry.since.elapsed() >= limit) else {
                continue;
            };
            entry.reported = true;
            slow.push((executor, BatchView { seconds: entry.since.elapsed().as_secs_f64(), ..entry.view.clone() }));
        }
        self.slow_batches.fetch_add(slow.len() as u64, Ordering::Relaxed);
        slow
    }

    /// Returns how many batches ran longer than the limit so far.
    pub fn slow_batches(&self) -> u64 {
        self.slow_batches.load(Ordering::Relaxed)
    }

    /// Returns the limit; `None` when no batch counts as slow.
    pub fn slow_after(&self) -> Option<Duration> {
        self.slow_after
    }

    /// Logs every batch that has become slow.
    pub fn report_slow(&self) {
        for (executor, batch) in self.newly_slow() {
            let BatchView { id, rpc, context_id, old_batch_num, fork_id, seconds } = batch;
            tracing::warn!(
                id,
                rpc,
                context_id,
                old_batch_num,
                fork_id,
                executor,
                seconds,
                "a batch runs longer than executor.slow_batch_seconds"
            );
        }
    }
}

/// A batch at hand. Dropped, also by a panic, it leaves the executor idle.
pub(crate) struct RunningGuard<'a> {
    slot: &'a Slot,
    id: u64,
}

impl RunningGuard<'_> {
    /// Returns the number of the batch.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for RunningGuard<'_> {
    fn drop(&mut self) {
        *self.slot.batch.lock() = None;
    }
}
