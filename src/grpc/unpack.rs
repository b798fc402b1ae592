//! Where requests are read that take long to: off the threads that answer calls, a few at a time.
//!
//! A witness is hashed before it is known to be one, up to seconds for a large one. It counts against a bound of bytes from the
//! moment it has been received until the queue has taken its batch.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::actors::BatchFailure;

/// Requests read at the same time; others wait. Each needs some hundred bytes per node meanwhile.
const AT_A_TIME: usize = 4;
/// Bytes one permit of [`Unpacking::waiting`] stands for: a permit count has 32 bits.
const GRAIN_BYTES: usize = 1 << 10;

/// Admits requests to be read.
#[derive(Clone)]
pub(super) struct Unpacking {
    waiting: Arc<Semaphore>,
    running: Arc<Semaphore>,
    bytes_max: usize,
}

impl Unpacking {
    /// Lets `bytes_max` bytes of requests in.
    pub(super) fn new(bytes_max: usize) -> Self {
        let permits = grains(bytes_max) as usize;
        Self { waiting: Arc::new(Semaphore::new(permits)), running: Arc::new(Semaphore::new(AT_A_TIME)), bytes_max }
    }

    /// Runs `read` for a request of this many bytes. Fails at once if too much waits; the only request is never too large.
    ///
    /// Dropping the future gives the place up; a reading that has begun goes on to its end.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        request_bytes: usize,
        read: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, BatchFailure> {
        let full = BatchFailure::QueueBytesFull { bytes_max: self.bytes_max };
        let share = grains(request_bytes).min(grains(self.bytes_max));
        let place = Arc::clone(&self.waiting).try_acquire_many_owned(share).map_err(|_| full)?;
        // Nobody closes these.
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| BatchFailure::Stopped)?;
        let reading = tokio::task::spawn_blocking(move || {
            let outcome = read();
            drop((turn, place));
            outcome
        });
        reading.await.map_err(|_| BatchFailure::Panicked)
    }
}

/// Returns the permits for this many bytes, at least one.
fn grains(bytes: usize) -> u32 {
    u32::try_from(bytes / GRAIN_BYTES).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_much_is_refused_at_once_but_never_the_only_one() {
        let unpacking = Unpacking::new(100 * GRAIN_BYTES);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let first = {
            let unpacking = unpacking.clone();
            tokio::spawn(async move { unpacking.run(1000 * GRAIN_BYTES, move || held.recv().is_err()).await })
        };
        while unpacking.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let full = BatchFailure::QueueBytesFull { bytes_max: 100 * GRAIN_BYTES };
        assert_eq!(unpacking.run(1, || ()).await, Err(full));
        drop(release);
        assert_eq!(first.await.unwrap(), Ok(true));
        assert_eq!(unpacking.run(1, || 7).await, Ok(7));
        assert_eq!(unpacking.waiting.available_permits(), 100);
    }

    #[tokio::test]
    async fn a_panic_costs_its_call_and_no_place() {
        let unpacking = Unpacking::new(1);
        for _ in 0..2 * AT_A_TIME {
            let outcome: Result<(), _> = unpacking.run(1, || panic!("told to panic")).await;
            assert_eq!(outcome, Err(BatchFailure::Panicked));
        }
        assert_eq!(unpacking.run(1, || ()).await, Ok(()));
    }
}
