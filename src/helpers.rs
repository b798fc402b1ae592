//! Threads that help running batches while cores are idle.
//!
//! Two parts of a batch are dear and come in pieces that do not depend on each other: recovering the senders, and hashing a
//! level of the tree. The thread that runs the batch offers the pieces and works on them itself; helpers take some of them only
//! while there are more cores than running batches and active helpers. None are used until [`allow`] says how many.
//!
//! Other processes may be on those cores. A helper that does not come back in time shows it; then the batch does its piece
//! itself, and nobody is asked again for [`BUSY_FOR`].

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex};

/// Most helpers of a process.
const HELPERS_MAX: usize = 16;

/// How long the other cores count as busy once a helper did not come back.
const BUSY_FOR: Duration = Duration::from_millis(200);

/// Start of the process's time, for [`BUSY_UNTIL`].
static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Until when no helper is asked, in microseconds after [`START`].
static BUSY_UNTIL: AtomicU64 = AtomicU64::new(0);
/// Helpers that may work at a time.
static ALLOWED: AtomicUsize = AtomicUsize::new(0);
/// Cores of the machine that helpers and batches share.
static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
/// Batches running.
static BATCHES: AtomicUsize = AtomicUsize::new(0);
/// Helpers working.
static HELPING: AtomicUsize = AtomicUsize::new(0);
/// Offers to helpers. Started on first use; bounded, and nobody waits for room.
static OFFERS: LazyLock<Option<Sender<Arc<dyn Work>>>> = LazyLock::new(start);

/// Lets at most `helpers` threads (16 at most) work beside the threads that run batches; 0 for none.
pub fn allow(helpers: usize) {
    ALLOWED.store(helpers.min(HELPERS_MAX), Ordering::Relaxed);
}

/// Counts its thread as one that runs a batch, until dropped.
#[derive(Debug)]
pub struct RunningBatch(());

impl RunningBatch {
    /// Says that a batch starts on this thread.
    pub fn start() -> Self {
        BATCHES.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for RunningBatch {
    fn drop(&mut self) {
        BATCHES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How work is cut.
#[derive(Clone, Copy, Debug)]
pub struct Pieces {
    /// Items of one piece.
    pub items: usize,
    /// How long a batch waits for a helper before it does the helper's piece itself: far more than a piece takes.
    pub patience: Duration,
}

/// Something to help with.
trait Work: Send + Sync {
    /// Works until everything is taken.
    fn work(&self);
}

/// The items of one batch, and what became of them.
struct Job<T, R, F> {
    items: Vec<T>,
    pieces: Pieces,
    transform: F,
    /// First item that nobody has taken.
    next: AtomicUsize,
    done: Mutex<Done<R>>,
    /// Told when the last piece is done.
    finished: Condvar,
}

struct Done<R> {
    /// By piece; `None` where nobody has answered yet.
    results: Vec<Option<Vec<R>>>,
    missing: usize,
}

impl<T, R, F: Fn(&[T]) -> Vec<R>> Job<T, R, F> {
    fn new(items: Vec<T>, pieces: Pieces, transform: F) -> Self {
        let count = items.len().div_ceil(pieces.items);
        let done = Done { results: (0..count).map(|_| None).collect(), missing: count };
        Self { items, pieces, transform, next: AtomicUsize::new(0), done: Mutex::new(done), finished: Condvar::new() }
    }

    fn take_all(&self) {
        loop {
            let start = self.next.fetch_add(self.pieces.items, Ordering::Relaxed);
            if start >= self.items.len() {
                return;
            }
            let piece = &self.items[start..self.items.len().min(start + self.pieces.items)];
            let result = (self.transform)(piece);
            let mut done = self.done.lock();
            if done.results[start / self.pieces.items].replace(result).is_none() {
                done.missing -= 1;
            }
            if done.missing == 0 {
                self.finished.notify_all();
            }
        }
    }

    /// Returns all results once nothing is left to take; does the piece of a helper that does not come back.
    fn finish(&self) -> Vec<R> {
        let mut done = self.done.lock();
        while done.missing > 0 {
            if self.finished.wait_for(&mut done, self.pieces.patience).timed_out() {
                BUSY_UNTIL.store(micros(BUSY_FOR), Ordering::Relaxed);
                break;
            }
        }
        let pieces = self.items.chunks(self.pieces.items).zip(&mut done.results);
        pieces.flat_map(|(piece, result)| result.take().unwrap_or_else(|| (self.transform)(piece))).collect()
    }
}

impl<T: Send + Sync, R: Send, F: Fn(&[T]) -> Vec<R> + Send + Sync> Work for Job<T, R, F> {
    fn work(&self) {
        self.take_all();
    }
}

/// Transforms all items, with the help of idle threads. `transform` gives as many results as it gets items.
pub fn map<T, R, F>(items: Vec<T>, pieces: Pieces, transform: F) -> Vec<R>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
    F: Fn(&[T]) -> Vec<R> + Send + Sync + 'static,
{
    let count = items.len().div_ceil(pieces.items);
    let helpers = idle().min(count.saturating_sub(1));
    let offers = if helpers > 0 { OFFERS.as_ref() } else { None };
    let Some(offers) = offers else { return transform(&items) };
    let job = Arc::new(Job::new(items, pieces, transform));
    for _ in 0..helpers {
        if offers.try_send(Arc::clone(&job) as Arc<dyn Work>).is_err() {
            break;
        }
    }
    job.take_all();
    job.finish()
}

/// Returns how many helpers may start now.
pub fn idle() -> usize {
    if micros(Duration::ZERO) < BUSY_UNTIL.load(Ordering::Relaxed) {
        return 0;
    }
    let busy = BATCHES.load(Ordering::Relaxed) + HELPING.load(Ordering::Relaxed);
    let allowed = ALLOWED.load(Ordering::Relaxed).saturating_sub(HELPING.load(Ordering::Relaxed));
    CORES.saturating_sub(busy).min(allowed)
}

/// Microseconds since the start, `later` from now.
fn micros(later: Duration) -> u64 {
    u64::try_from((START.elapsed() + later).as_micros()).unwrap_or(u64::MAX)
}

/// Starts the threads; `None` if there is none.
fn start() -> Option<Sender<Arc<dyn Work>>> {
    let (offers, jobs) = bounded(HELPERS_MAX);
    let started = (0..CORES.saturating_sub(1).min(HELPERS_MAX))
        .filter(|number| {
            let jobs: Receiver<Arc<dyn Work>> = jobs.clone();
            let name = format!("helper-{number}");
            std::thread::Builder::new().name(name).spawn(move || help(&jobs)).is_ok()
        })
        .count();
    (started > 0).then_some(offers)
}

fn help(jobs: &Receiver<Arc<dyn Work>>) {
    for job in jobs {
        HELPING.fetch_add(1, Ordering::Relaxed);
        job.work();
        HELPING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECES: Pieces = Pieces { items: 16, patience: Duration::from_millis(20) };

    fn squares(numbers: &[u64]) -> Vec<u64> {
        numbers.iter().map(|number| number * number).collect()
    }

    #[test]
    fn shared_work_gives_the_same_results_in_order() {
        for count in [0, 1, 15, 16, 17, 200] {
            let numbers: Vec<u64> = (0..count).collect();
            let expected = squares(&numbers);
            let job = Job::new(numbers.clone(), PIECES, squares);
            std::thread::scope(|scope| {
                scope.spawn(|| job.take_all());
                job.take_all();
                assert_eq!(job.finish(), expected);
            });
            allow(2);
            assert_eq!(map(numbers, PIECES, squares), expected);
        }
    }

    #[test]
    fn a_helper_that_never_answers_costs_nothing_but_time() {
        let numbers: Vec<u64> = (0..40).collect();
        let job = Job::new(numbers.clone(), PIECES, squares);
        job.next.fetch_add(PIECES.items, Ordering::Relaxed);
        job.take_all();
        assert_eq!(job.finish(), squares(&numbers));
    }
}
