//! Threads that recover senders for running batches while cores are idle.
//!
//! Recovery is the dearest part of a batch and depends on nothing. The thread that runs the batch offers its signatures and
//! works on them itself; helpers take part of them only while there are more cores than running batches and active
//! helpers. None are used until [`allow`] says how many.

use std::sync::Arc;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::{Condvar, Mutex};
use revm::primitives::Address;

use super::signer::{Signature, recover_signer};

/// Most helpers of a process.
const HELPERS_MAX: usize = 16;
/// Signatures taken at a time: about half a millisecond of work.
const CHUNK: usize = 16;
/// How long a batch waits for a helper before it does the helper's share itself.
const PATIENCE: Duration = Duration::from_millis(50);

/// Helpers that may work at a time.
static ALLOWED: AtomicUsize = AtomicUsize::new(0);
/// Cores of the machine that helpers and batches share.
static CORES: LazyLock<usize> = LazyLock::new(|| std::thread::available_parallelism().map_or(1, usize::from));
/// Batches running.
static BATCHES: AtomicUsize = AtomicUsize::new(0);
/// Helpers working.
static HELPING: AtomicUsize = AtomicUsize::new(0);
/// Offers to helpers. Started on first use; bounded, and nobody waits for room.
static OFFERS: LazyLock<Option<Sender<Arc<Job>>>> = LazyLock::new(start);

/// Lets at most `helpers` threads (16 at most) recover senders beside the threads that run batches; 0 for none.
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

/// Signatures of one batch.
struct Job {
    signatures: Vec<Signature>,
    infinity_bug: bool,
    /// First signature that nobody has taken.
    next: AtomicUsize,
    done: Mutex<Done>,
    /// Told when the last one is done.
    finished: Condvar,
}

struct Done {
    /// `None` where nobody has answered yet.
    signers: Vec<Option<Option<Address>>>,
    missing: usize,
}

impl Job {
    fn new(signatures: Vec<Signature>, infinity_bug: bool) -> Self {
        let count = signatures.len();
        Self {
            signatures,
            infinity_bug,
            next: AtomicUsize::new(0),
            done: Mutex::new(Done { signers: vec![None; count], missing: count }),
            finished: Condvar::new(),
        }
    }

    /// Works until everything is taken.
    fn work(&self) {
        loop {
            let start = self.next.fetch_add(CHUNK, Ordering::Relaxed);
            if start >= self.signatures.len() {
                return;
            }
            self.recover(start);
        }
    }

    fn recover(&self, start: usize) {
        let chunk = &self.signatures[start..self.signatures.len().min(start + CHUNK)];
        let signers: Vec<_> = chunk.iter().map(|signature| recover(signature, self.infinity_bug)).collect();
        let mut done = self.done.lock();
        for (place, signer) in (start..).zip(signers) {
            if done.signers[place].replace(signer).is_none() {
                done.missing -= 1;
            }
        }
        if done.missing == 0 {
            self.finished.notify_all();
        }
    }

    /// Returns all signers once nothing is left to take; does the share of a helper that does not come back.
    fn finish(&self) -> Vec<Option<Address>> {
        let mut done = self.done.lock();
        while done.missing > 0 {
            if self.finished.wait_for(&mut done, PATIENCE).timed_out() {
                break;
            }
        }
        let answers = done.signers.iter().zip(&self.signatures);
        answers.map(|(signer, signature)| signer.unwrap_or_else(|| recover(signature, self.infinity_bug))).collect()
    }
}

/// Recovers all signers, with the help of idle threads.
pub(super) fn recover_all(signatures: Vec<Signature>, infinity_bug: bool) -> Vec<Option<Address>> {
    let chunks = signatures.len().div_ceil(CHUNK);
    let helpers = idle().min(chunks.saturating_sub(1));
    let offers = if helpers > 0 { OFFERS.as_ref() } else { None };
    let Some(offers) = offers else {
        return signatures.iter().map(|signature| recover(signature, infinity_bug)).collect();
    };
    let job = Arc::new(Job::new(signatures, infinity_bug));
    for _ in 0..helpers {
        if offers.try_send(Arc::clone(&job)).is_err() {
            break;
        }
    }
    job.work();
    job.finish()
}

fn recover(signature: &Signature, infinity_bug: bool) -> Option<Address> {
    recover_signer(signature.hash, signature.r, signature.s, signature.v, infinity_bug)
}

/// Helpers that may start now.
fn idle() -> usize {
    let busy = BATCHES.load(Ordering::Relaxed) + HELPING.load(Ordering::Relaxed);
    let allowed = ALLOWED.load(Ordering::Relaxed).saturating_sub(HELPING.load(Ordering::Relaxed));
    CORES.saturating_sub(busy).min(allowed)
}

/// Starts the threads; `None` if there is none.
fn start() -> Option<Sender<Arc<Job>>> {
    let (offers, jobs) = bounded(HELPERS_MAX);
    let started = (0..CORES.saturating_sub(1).min(HELPERS_MAX))
        .filter(|number| {
            let jobs: Receiver<Arc<Job>> = jobs.clone();
            let name = format!("recover-{number}");
            std::thread::Builder::new().name(name).spawn(move || help(&jobs)).is_ok()
        })
        .count();
    (started > 0).then_some(offers)
}

fn help(jobs: &Receiver<Arc<Job>>) {
    for job in jobs {
        HELPING.fetch_add(1, Ordering::Relaxed);
        job.work();
        HELPING.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use revm::primitives::b256;

    use super::*;

    fn signatures(count: usize) -> Vec<Signature> {
        let valid = Signature {
            hash: b256!("5d62354c599338d6895f7898ad0a3e45beaae359f1a180c244f13d92dfeb3a5b"),
            r: b256!("f9ea8e90ae323e360a22bd0b1a972d15cb33df6ccbfbada4a0d49792d1164ea5"),
            s: b256!("6029d84d5093a7186fb5bf2f1b7258d57e9c09ac89c4cb8eb44a3c961c4dd89b"),
            v: 27,
        };
        (0..count).map(|i| Signature { v: 27 + (i % 3) as u8, ..valid }).collect()
    }

    #[test]
    fn shared_work_gives_the_same_signers() {
        for count in [0, 1, 15, 16, 17, 200] {
            let signatures = signatures(count);
            let expected: Vec<_> = signatures.iter().map(|signature| recover(signature, false)).collect();
            let job = Arc::new(Job::new(signatures.clone(), false));
            std::thread::scope(|scope| {
                scope.spawn(|| job.work());
                job.work();
                assert_eq!(job.finish(), expected);
            });
            allow(2);
            assert_eq!(recover_all(signatures, false), expected);
        }
    }

    #[test]
    fn a_helper_that_never_answers_costs_nothing_but_time() {
        let signatures = signatures(40);
        let expected: Vec<_> = signatures.iter().map(|signature| recover(signature, false)).collect();
        let job = Job::new(signatures, false);
        job.next.fetch_add(CHUNK, Ordering::Relaxed);
        job.work();
        assert_eq!(job.finish(), expected);
    }
}
