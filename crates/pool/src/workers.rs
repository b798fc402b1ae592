//! The threads of a pool, and how many of them may work.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::chunks::{ChunkOptions, Job, PendingResults, Work};

/// Most workers of a pool.
const WORKERS_MAX: usize = 16;

/// How long the other cores count as busy once a worker did not come back.
const BUSY_FOR: Duration = Duration::from_millis(200);

/// A pool of threads that help running batches. Clones share the pool.
///
/// The threads start when work is first offered, and end when the last clone is dropped.
#[derive(Clone, Debug, Default)]
pub struct WorkerPool {
    /// `None` never helps.
    shared: Option<Arc<Shared>>,
}

/// What the clones of a pool share.
#[derive(Debug)]
struct Shared {
    load: Arc<Load>,
    /// Offers to the workers, `None` if no thread could be started. Bounded; offering does not wait for room.
    offers: OnceLock<Option<Sender<Arc<dyn Work>>>>,
}

/// Decides whether a worker may start.
#[derive(Debug)]
pub(crate) struct Load {
    /// Cores that workers and batches share.
    cores: usize,
    /// Workers that may work at a time.
    workers_max: usize,
    /// Batches running.
    batches: AtomicUsize,
    /// Workers working.
    working: AtomicUsize,
    started_at: Instant,
    /// No worker is asked before this moment, in microseconds after `started_at`.
    busy_until: AtomicU64,
}

impl WorkerPool {
    /// Creates a pool of at most `workers` threads (16 at most) that work beside the threads that run batches. The cores
    /// are those of the machine.
    pub fn new(workers: usize) -> Self {
        Self::with_cores(workers, std::thread::available_parallelism().map_or(1, usize::from))
    }

    /// Creates a pool as [`Self::new`] does that counts on `cores` cores instead of those of the machine.
    pub fn with_cores(workers: usize, cores: usize) -> Self {
        let workers_max = workers.min(WORKERS_MAX);
        if workers_max == 0 {
            return Self::none();
        }
        Self { shared: Some(Arc::new(Shared { load: Load::of(workers_max, cores), offers: OnceLock::new() })) }
    }

    /// Returns a pool without threads: the caller does all of the work.
    pub fn none() -> Self {
        Self::default()
    }

    /// Counts its thread as one that runs a batch, until the guard is dropped.
    pub fn batch_guard(&self) -> BatchGuard {
        let load = self.shared.as_ref().map(|shared| Arc::clone(&shared.load));
        if let Some(load) = &load {
            load.batches.fetch_add(1, Ordering::Relaxed);
        }
        BatchGuard { load }
    }

    /// Returns how many workers may start now.
    #[inline]
    pub fn idle(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| shared.load.idle())
    }

    /// Lets idle workers begin to transform the items. `transform` returns as many results as it gets items.
    pub fn spawn_chunks<T, R>(
        &self,
        items: Vec<T>,
        options: ChunkOptions,
        transform: impl Fn(&[T]) -> Vec<R> + Send + Sync + 'static,
    ) -> PendingResults<T, R>
    where
        T: Send + Sync + 'static,
        R: Send + 'static,
    {
        let wanted = items.len().div_ceil(options.items).saturating_sub(1);
        let job = Job::new(items, options, Box::new(transform));
        let load = self.shared.as_ref().filter(|shared| shared.offer(wanted, &job)).map(|shared| &shared.load);
        PendingResults::new(job, load.map(Arc::clone))
    }

    /// Transforms all items, with the help of idle workers. `transform` returns as many results as it gets items.
    pub fn map<T, R>(
        &self,
        items: Vec<T>,
        options: ChunkOptions,
        transform: impl Fn(&[T]) -> Vec<R> + Send + Sync + 'static,
    ) -> Vec<R>
    where
        T: Send + Sync + 'static,
        R: Send + 'static,
    {
        self.spawn_chunks(items, options, transform).take(usize::MAX)
    }
}

impl Shared {
    /// Offers a job to at most `wanted` idle workers. True if at least one was asked.
    fn offer<T, R>(&self, wanted: usize, job: &Arc<Job<T, R>>) -> bool
    where
        T: Send + Sync + 'static,
        R: Send + 'static,
    {
        let workers = self.load.idle().min(wanted);
        if workers == 0 {
            return false;
        }
        let Some(offers) = self.offers.get_or_init(|| start(&self.load)) else { return false };
        let ask = |_: &usize| offers.try_send(Arc::clone(job) as Arc<dyn Work>).is_ok();
        (0..workers).take_while(ask).count() > 0
    }
}

impl Load {
    /// Returns the load of a pool on which nothing runs yet.
    pub(crate) fn of(workers_max: usize, cores: usize) -> Arc<Self> {
        Arc::new(Self {
            cores,
            workers_max,
            batches: AtomicUsize::new(0),
            working: AtomicUsize::new(0),
            started_at: Instant::now(),
            busy_until: AtomicU64::new(0),
        })
    }

    fn idle(&self) -> usize {
        if micros(self.started_at.elapsed()) < self.busy_until.load(Ordering::Relaxed) {
            return 0;
        }
        let working = self.working.load(Ordering::Relaxed);
        let busy = self.batches.load(Ordering::Relaxed) + working;
        self.cores.saturating_sub(busy).min(self.workers_max.saturating_sub(working))
    }

    /// Notes that a worker did not come back in time.
    pub(crate) fn note_late_worker(&self) {
        self.busy_until.store(micros(self.started_at.elapsed() + BUSY_FOR), Ordering::Relaxed);
    }
}

/// Counts its thread as one that runs a batch, until dropped.
#[derive(Debug)]
#[must_use = "a batch counts as running until the guard is dropped"]
pub struct BatchGuard {
    load: Option<Arc<Load>>,
}

impl Drop for BatchGuard {
    fn drop(&mut self) {
        if let Some(load) = &self.load {
            load.batches.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Starts the threads; `None` if there is none.
fn start(load: &Arc<Load>) -> Option<Sender<Arc<dyn Work>>> {
    let (offers, jobs) = bounded(WORKERS_MAX);
    let started = (0..load.workers_max.min(load.cores.saturating_sub(1)))
        .filter(|number| {
            let (jobs, load): (Receiver<Arc<dyn Work>>, _) = (jobs.clone(), Arc::clone(load));
            let name = format!("worker-{number}");
            std::thread::Builder::new().name(name).spawn(move || work(&jobs, &load)).is_ok()
        })
        .count();
    (started > 0).then_some(offers)
}

/// Works until the pool is gone.
fn work(jobs: &Receiver<Arc<dyn Work>>, load: &Load) {
    for job in jobs {
        load.working.fetch_add(1, Ordering::Relaxed);
        job.work();
        load.working.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: ChunkOptions = ChunkOptions { items: 16, steal_timeout: Duration::from_millis(20) };

    fn squares(numbers: &[u64]) -> Vec<u64> {
        numbers.iter().map(|number| number * number).collect()
    }

    #[test]
    fn every_pool_gives_the_same_results_in_order() {
        for pool in [WorkerPool::none(), WorkerPool::new(2), WorkerPool::with_cores(2, 1), WorkerPool::with_cores(2, 8)]
        {
            for count in [0, 1, 15, 16, 17, 200] {
                let numbers: Vec<u64> = (0..count).collect();
                assert_eq!(pool.map(numbers.clone(), OPTIONS, squares), squares(&numbers), "{pool:?}");
            }
        }
    }

    #[test]
    fn the_load_of_one_pool_is_not_that_of_another() {
        let (first, second) = (WorkerPool::with_cores(2, 3), WorkerPool::with_cores(2, 3));
        let guards: Vec<_> = (0..2).map(|_| first.batch_guard()).collect();
        assert_eq!((first.idle(), first.clone().idle(), second.idle()), (1, 1, 2));
        drop(guards);
        assert_eq!(first.idle(), 2);
        first.shared.as_ref().unwrap().load.note_late_worker();
        assert_eq!((first.idle(), second.idle()), (0, 2));
    }

    #[test]
    fn a_pool_without_workers_has_none_idle() {
        for pool in [WorkerPool::none(), WorkerPool::new(0), WorkerPool::with_cores(4, 0)] {
            let _batch = pool.batch_guard();
            assert_eq!(pool.idle(), 0);
            assert!(!pool.spawn_chunks((0..100).collect(), OPTIONS, squares).is_shared());
        }
    }

    #[test]
    fn the_threads_end_with_the_last_clone() {
        let pool = WorkerPool::with_cores(2, 8);
        let other = pool.clone();
        let load = Arc::downgrade(&pool.shared.as_ref().unwrap().load);
        let pending = other.spawn_chunks((0..100).collect(), OPTIONS, squares);
        assert!(pending.is_shared());
        drop((pool, other, pending));
        // Each thread holds the load until it ends.
        for _ in 0..1_000 {
            if load.strong_count() == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{} threads still run", load.strong_count());
    }
}
