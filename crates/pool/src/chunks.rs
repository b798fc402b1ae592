//! Work in chunks: who takes which, and the results in order.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::workers::Load;

/// The way work is cut into chunks.
#[derive(Clone, Copy, Debug)]
pub struct ChunkOptions {
    /// Items of one chunk; at least one.
    pub items: usize,
    /// The time a batch waits for a worker before it does the worker's chunk itself: far more than a chunk takes.
    pub steal_timeout: Duration,
}

/// A job workers can help with.
pub(crate) trait Work: Send + Sync {
    /// Works until everything is taken.
    fn work(&self);
}

/// Makes as many results as it gets items.
type Transform<T, R> = Box<dyn Fn(&[T]) -> Vec<R> + Send + Sync>;

/// The items of one batch, and their results.
pub(crate) struct Job<T, R> {
    items: Vec<T>,
    options: ChunkOptions,
    transform: Transform<T, R>,
    /// First item not taken yet.
    next: AtomicUsize,
    /// The results of each chunk, until the batch fetches them.
    done: Mutex<Vec<Option<Vec<R>>>>,
    /// Notified of every chunk that is done.
    finished: Condvar,
}

impl<T, R> Job<T, R> {
    pub(crate) fn new(items: Vec<T>, options: ChunkOptions, transform: Transform<T, R>) -> Arc<Self> {
        let done = (0..items.len().div_ceil(options.items)).map(|_| None).collect();
        let (next, done, finished) = (AtomicUsize::new(0), Mutex::new(done), Condvar::new());
        Arc::new(Self { items, options, transform, next, done, finished })
    }

    fn chunk(&self, start: usize) -> Vec<R> {
        (self.transform)(&self.items[start..self.items.len().min(start + self.options.items)])
    }

    /// Takes the next chunk and does it. False if there was none.
    fn take_one(&self) -> bool {
        let start = self.next.fetch_add(self.options.items, Ordering::Relaxed);
        if start >= self.items.len() {
            return false;
        }
        let result = self.chunk(start);
        self.done()[start / self.options.items] = Some(result);
        self.finished.notify_all();
        true
    }

    fn done(&self) -> MutexGuard<'_, Vec<Option<Vec<R>>>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves nothing to take.
    fn give_up(&self) {
        self.next.store(self.items.len(), Ordering::Relaxed);
    }

    /// Waits for a chunk that a worker has taken; `None` if `timeout` was not enough.
    fn wait_for(&self, chunk: usize, timeout: Duration) -> Option<Vec<R>> {
        let is_missing = |done: &mut Vec<Option<Vec<R>>>| done[chunk].is_none();
        let waited = self.finished.wait_timeout_while(self.done(), timeout, is_missing);
        waited.unwrap_or_else(PoisonError::into_inner).0[chunk].take()
    }
}

impl<T: Send + Sync, R: Send> Work for Job<T, R> {
    fn work(&self) {
        while self.take_one() {}
    }
}

/// Results that are fetched in the order of their items while workers still make later ones.
pub struct PendingResults<T, R> {
    job: Arc<Job<T, R>>,
    /// The load of the pool whose workers were asked.
    asked: Option<Arc<Load>>,
    /// Results of the last chunk that were not asked for yet.
    left: std::vec::IntoIter<R>,
    /// Items whose results were fetched or are in `left`.
    fetched: usize,
    /// How long the next chunk is waited for.
    steal_timeout: Duration,
}

impl<T, R> PendingResults<T, R> {
    pub(crate) fn new(job: Arc<Job<T, R>>, asked: Option<Arc<Load>>) -> Self {
        let steal_timeout = job.options.steal_timeout;
        Self { job, asked, left: Vec::new().into_iter(), fetched: 0, steal_timeout }
    }

    /// True if workers were asked. If not, nothing happens but in [`Self::take`].
    pub fn is_shared(&self) -> bool {
        self.asked.is_some()
    }

    /// Returns the next `count` results, fewer at the end. Does the chunks not taken yet, and waits for the rest.
    pub fn take(&mut self, count: usize) -> Vec<R> {
        if count == 0 {
            return Vec::new();
        }
        let items = &self.job.items;
        if !self.is_shared() {
            let start = self.fetched;
            self.fetched = items.len().min(start.saturating_add(count));
            return (self.job.transform)(&items[start..self.fetched]);
        }
        let mut results = Vec::with_capacity(count.min(items.len()));
        loop {
            results.extend(self.left.by_ref().take(count - results.len()));
            if results.len() == count || self.fetched == self.job.items.len() {
                return results;
            }
            self.left = self.next_chunk().into_iter();
            self.fetched += self.left.len();
        }
    }

    fn next_chunk(&mut self) -> Vec<R> {
        let number = self.fetched / self.job.options.items;
        loop {
            // In a statement of its own: the lock is not held while a chunk is made.
            let done = self.job.done()[number].take();
            if let Some(done) = done {
                return done;
            }
            if !self.job.take_one() {
                break;
            }
        }
        self.job.wait_for(number, self.steal_timeout).unwrap_or_else(|| {
            if let Some(load) = &self.asked {
                load.note_late_worker();
            }
            self.steal_timeout = Duration::ZERO;
            self.job.chunk(self.fetched)
        })
    }
}

impl<T, R> Drop for PendingResults<T, R> {
    fn drop(&mut self) {
        self.job.give_up();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: ChunkOptions = ChunkOptions { items: 16, steal_timeout: Duration::from_millis(20) };

    fn squares(numbers: &[u64]) -> Vec<u64> {
        numbers.iter().map(|number| number * number).collect()
    }

    /// Results that count as shared, though only the test works on them.
    fn shared(numbers: Vec<u64>) -> PendingResults<u64, u64> {
        PendingResults::new(Job::new(numbers, OPTIONS, Box::new(squares)), Some(Load::of(2, 8)))
    }

    #[test]
    fn shared_work_gives_the_same_results_in_order() {
        for count in [0, 1, 15, 16, 17, 200] {
            let numbers: Vec<u64> = (0..count).collect();
            let expected = squares(&numbers);
            for part in [1, 7, 16, 50, 200] {
                let mut pending = shared(numbers.clone());
                let job = Arc::clone(&pending.job);
                std::thread::scope(|scope| {
                    scope.spawn(|| job.work());
                    for expected in expected.chunks(part) {
                        assert_eq!(pending.take(part), expected);
                    }
                    assert!(pending.take(part).is_empty());
                });
            }
        }
    }

    #[test]
    fn a_worker_that_never_answers_costs_nothing_but_time() {
        let numbers: Vec<u64> = (0..40).collect();
        let mut pending = shared(numbers.clone());
        pending.job.next.fetch_add(OPTIONS.items, Ordering::Relaxed);
        assert_eq!(pending.take(5), squares(&numbers[..5]));
        assert_eq!(pending.take(35), squares(&numbers[5..]));
    }

    #[test]
    fn workers_stop_when_the_batch_does() {
        let mut pending = shared((0..40).collect());
        let job = Arc::clone(&pending.job);
        assert_eq!(pending.take(3), [0, 1, 4]);
        drop(pending);
        assert!(!job.take_one());
    }
}
