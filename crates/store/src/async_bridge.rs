//! The bridge from callers that block to a driver that does not.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use tokio::runtime::{EnterGuard, Runtime};

/// Threads of a driver. A caller waits for its answer on a channel, which also works on threads that drive another runtime.
pub struct AsyncBridge {
    /// `None` only while dropping.
    runtime: Option<Runtime>,
}

impl AsyncBridge {
    /// Starts the threads; fails if the system has none left.
    pub fn new(threads: usize, name: &str) -> io::Result<Self> {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(threads).thread_name(name).enable_all().build()?;
        Ok(Self { runtime: Some(runtime) })
    }

    /// Makes the threads known to the calling one, for drivers that look for them.
    pub fn enter(&self) -> Option<EnterGuard<'_>> {
        self.runtime.as_ref().map(Runtime::enter)
    }

    /// Runs work on the threads and waits for it; `None` if it panicked.
    pub fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let (sender, receiver) = bounded(1);
        self.runtime.as_ref()?.spawn(async move {
            // Whoever asked waits below until the sender is used or gone.
            let _ = sender.send(work.await);
        });
        receiver.recv().ok()
    }
}

impl Drop for AsyncBridge {
    fn drop(&mut self) {
        // An ordinary drop would block, which a thread that drives another runtime must not.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The number and the times of tries after something failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// Tries after the first.
    pub times: u32,
    /// Wait before the first of these; it doubles.
    pub pause: Duration,
    /// Longest wait.
    pub pause_max: Duration,
    /// No try starts later than this after the first.
    pub limit: Duration,
}

impl Retries {
    /// Tries until it works; an error that will not go away by itself ends it at once.
    pub fn run<T, E: Display>(&self, is_final: impl Fn(&E) -> bool, work: impl Fn() -> Result<T, E>) -> Result<T, E> {
        let (start, mut tries, mut pause) = (Instant::now(), 0, self.pause);
        loop {
            match work() {
                Err(error) if tries < self.times && !is_final(&error) && start.elapsed() + pause <= self.limit => {
                    tries += 1;
                    tracing::debug!(%error, tries, "database call failed, trying again");
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(self.pause_max);
                }
                ended => return ended,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const RETRIES: Retries = Retries {
        times: 3,
        pause: Duration::from_millis(1),
        pause_max: Duration::from_millis(2),
        limit: Duration::from_secs(60),
    };

    fn tries(retries: Retries, works_at: u32, is_final: bool) -> (Result<u32, String>, u32) {
        let tries = Cell::new(0);
        let work = || {
            tries.set(tries.get() + 1);
            if tries.get() == works_at { Ok(works_at) } else { Err("broken".to_owned()) }
        };
        (retries.run(|_| is_final, work), tries.get())
    }

    #[test]
    fn what_fails_is_tried_again_as_often_as_allowed() {
        assert_eq!(tries(RETRIES, 3, false), (Ok(3), 3));
        assert_eq!(tries(RETRIES, 9, false), (Err("broken".to_owned()), 4));
        assert_eq!(tries(RETRIES, 2, true), (Err("broken".to_owned()), 1), "what will not go away is tried once");
        let hurried = Retries { limit: Duration::ZERO, ..RETRIES };
        assert_eq!(tries(hurried, 2, false), (Err("broken".to_owned()), 1));
    }

    #[test]
    fn work_that_panics_is_no_answer() {
        let bridge = AsyncBridge::new(1, "bridge").unwrap();
        assert_eq!(bridge.wait(async { 7 }), Some(7));
        let panics: Option<u32> = bridge.wait(async { panic!("on purpose") });
        assert_eq!(panics, None);
    }

    #[tokio::test]
    async fn a_bridge_may_be_used_and_dropped_on_the_thread_of_another_runtime() {
        let bridge = AsyncBridge::new(1, "bridge").unwrap();
        assert_eq!(bridge.wait(async { 7 }), Some(7));
        drop(bridge);
    }
}
