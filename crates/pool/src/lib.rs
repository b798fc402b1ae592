//! Threads that help running batches while cores are idle, and how a running batch is cancelled.
//!
//! Decides: which idle threads take pieces of a running batch's work. Must not know: what the work is.
//!
//! Two parts of a batch are dear and come in pieces that do not depend on each other: recovering the senders, and hashing a
//! level of the tree. The thread that runs the batch offers the pieces and works on them itself, or goes on with what the first
//! ones give it; helpers take some of them only while there are more cores than running batches and active helpers. None are
//! used until [`allow`] says how many.
//!
//! Other processes may be on those cores. A helper that does not come back in time shows it; then the batch does its piece
//! itself, and nobody is asked again for [`BUSY_FOR`].

mod cancel;

pub use cancel::{Interrupt, Interrupted};

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

/// Most helpers of a process.
const HELPERS_MAX: usize = 16;

/// How long the other cores count as busy once a helper did not come back.
const BUSY_FOR: Duration = Duration::from_millis(200);

/// No helper is asked before this moment, in microseconds after [`START`].
static BUSY_UNTIL: AtomicU64 = AtomicU64::new(0);
/// Start of the process's time, for [`BUSY_UNTIL`].
static START: LazyLock<Instant> = LazyLock::new(Instant::now);
/// Helpers that may work at a time.
static ALLOWED: AtomicUsize = AtomicUsize::new(0);
/// Cores that helpers and batches share.
static CORES: LazyLock<AtomicUsize> =
    LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from).into());
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

/// Counts on so many cores instead of those of the machine. For tests, which want help while other tests run.
pub fn assume_cores(cores: usize) {
    CORES.store(cores, Ordering::Relaxed);
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
struct Job<T, R> {
    items: Vec<T>,
    pieces: Pieces,
    transform: fn(&[T]) -> Vec<R>,
    /// First item that nobody has taken.
    next: AtomicUsize,
    /// What became of each piece, until the batch fetches it.
    done: Mutex<Vec<Option<Vec<R>>>>,
    /// Told of every piece that is done.
    finished: Condvar,
}

impl<T, R> Job<T, R> {
    fn new(items: Vec<T>, pieces: Pieces, transform: fn(&[T]) -> Vec<R>) -> Self {
        let done = (0..items.len().div_ceil(pieces.items)).map(|_| None).collect();
        Self { items, pieces, transform, next: AtomicUsize::new(0), done: Mutex::new(done), finished: Condvar::new() }
    }

    fn piece(&self, start: usize) -> Vec<R> {
        (self.transform)(&self.items[start..self.items.len().min(start + self.pieces.items)])
    }

    /// Takes the next piece and does it. False if there was none.
    fn take_one(&self) -> bool {
        let start = self.next.fetch_add(self.pieces.items, Ordering::Relaxed);
        if start >= self.items.len() {
            return false;
        }
        let result = self.piece(start);
        self.done()[start / self.pieces.items] = Some(result);
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

    /// Waits for a piece that somebody has taken; `None` if `patience` was not enough.
    fn wait_for(&self, piece: usize, patience: Duration) -> Option<Vec<R>> {
        let is_missing = |done: &mut Vec<Option<Vec<R>>>| done[piece].is_none();
        let waited = self.finished.wait_timeout_while(self.done(), patience, is_missing);
        waited.unwrap_or_else(PoisonError::into_inner).0[piece].take()
    }
}

impl<T: Send + Sync, R: Send> Work for Job<T, R> {
    fn work(&self) {
        while self.take_one() {}
    }
}

/// Results that are fetched in the order of their items while helpers still make later ones.
pub struct Ongoing<T, R> {
    job: Arc<Job<T, R>>,
    /// Helpers were asked.
    is_shared: bool,
    /// Results of the last piece that were not asked for yet.
    left: std::vec::IntoIter<R>,
    /// Items whose results were fetched or are in `left`.
    fetched: usize,
    /// How long the next piece is waited for.
    patience: Duration,
}

impl<T, R> Ongoing<T, R> {
    /// Whether helpers were asked. If not, nothing happens but in [`Self::take`].
    pub fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// Returns the next `count` results, fewer at the end. Works on what nobody has taken, and waits for the rest.
    pub fn take(&mut self, count: usize) -> Vec<R> {
        if count == 0 {
            return Vec::new();
        }
        let items = &self.job.items;
        if !self.is_shared {
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
            self.left = self.next_piece().into_iter();
            self.fetched += self.left.len();
        }
    }

    fn next_piece(&mut self) -> Vec<R> {
        let number = self.fetched / self.job.pieces.items;
        loop {
            // In a statement of its own: the lock is not held while a piece is made.
            let done = self.job.done()[number].take();
            if let Some(done) = done {
                return done;
            }
            if !self.job.take_one() {
                break;
            }
        }
        self.job.wait_for(number, self.patience).unwrap_or_else(|| {
            BUSY_UNTIL.store(micros(START.elapsed() + BUSY_FOR), Ordering::Relaxed);
            self.patience = Duration::ZERO;
            self.job.piece(self.fetched)
        })
    }
}

impl<T, R> Drop for Ongoing<T, R> {
    fn drop(&mut self) {
        self.job.give_up();
    }
}

/// Lets idle threads begin to transform the items. `transform` gives as many results as it gets items.
pub fn begin<T, R>(items: Vec<T>, pieces: Pieces, transform: fn(&[T]) -> Vec<R>) -> Ongoing<T, R>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    let helpers = idle().min(items.len().div_ceil(pieces.items).saturating_sub(1));
    let job = Arc::new(Job::new(items, pieces, transform));
    let ask = |offers: &Sender<Arc<dyn Work>>| offers.try_send(Arc::clone(&job) as Arc<dyn Work>).is_ok();
    let asked = (0..helpers).take_while(|_| OFFERS.as_ref().is_some_and(ask)).count();
    Ongoing { job, is_shared: asked > 0, left: Vec::new().into_iter(), fetched: 0, patience: pieces.patience }
}

/// Transforms all items, with the help of idle threads. `transform` gives as many results as it gets items.
pub fn map<T, R>(items: Vec<T>, pieces: Pieces, transform: fn(&[T]) -> Vec<R>) -> Vec<R>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
{
    begin(items, pieces, transform).take(usize::MAX)
}

/// Returns how many helpers may start now.
pub fn idle() -> usize {
    if micros(START.elapsed()) < BUSY_UNTIL.load(Ordering::Relaxed) {
        return 0;
    }
    let busy = BATCHES.load(Ordering::Relaxed) + HELPING.load(Ordering::Relaxed);
    let allowed = ALLOWED.load(Ordering::Relaxed).saturating_sub(HELPING.load(Ordering::Relaxed));
    CORES.load(Ordering::Relaxed).saturating_sub(busy).min(allowed)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Starts the threads; `None` if there is none.
fn start() -> Option<Sender<Arc<dyn Work>>> {
    let (offers, jobs) = bounded(HELPERS_MAX);
    let started = (0..CORES.load(Ordering::Relaxed).saturating_sub(1).min(HELPERS_MAX))
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

    fn shared(numbers: Vec<u64>) -> Ongoing<u64, u64> {
        let job = Arc::new(Job::new(numbers, PIECES, squares));
        Ongoing { job, is_shared: true, left: Vec::new().into_iter(), fetched: 0, patience: PIECES.patience }
    }

    #[test]
    fn shared_work_gives_the_same_results_in_order() {
        for count in [0, 1, 15, 16, 17, 200] {
            let numbers: Vec<u64> = (0..count).collect();
            let expected = squares(&numbers);
            for part in [1, 7, 16, 50, 200] {
                let mut ongoing = shared(numbers.clone());
                let job = Arc::clone(&ongoing.job);
                std::thread::scope(|scope| {
                    scope.spawn(|| job.work());
                    for expected in expected.chunks(part) {
                        assert_eq!(ongoing.take(part), expected);
                    }
                    assert!(ongoing.take(part).is_empty());
                });
            }
            allow(2);
            assert_eq!(map(numbers, PIECES, squares), expected);
        }
    }

    #[test]
    fn a_helper_that_never_answers_costs_nothing_but_time() {
        let numbers: Vec<u64> = (0..40).collect();
        let mut ongoing = shared(numbers.clone());
        ongoing.job.next.fetch_add(PIECES.items, Ordering::Relaxed);
        assert_eq!(ongoing.take(5), squares(&numbers[..5]));
        assert_eq!(ongoing.take(35), squares(&numbers[5..]));
    }

    #[test]
    fn helpers_stop_when_the_batch_does() {
        let mut ongoing = shared((0..40).collect());
        let job = Arc::clone(&ongoing.job);
        assert_eq!(ongoing.take(3), [0, 1, 4]);
        drop(ongoing);
        assert!(!job.take_one());
    }
}
