//! Admission of stateless witnesses: read off the threads that answer calls, a few at a time, within a bound of bytes.
//!
//! A witness is hashed before it is known to be one, up to seconds for a large one. It counts against a bound of bytes from the
//! moment it has been received until it has been read; from then on its batch is the front's matter.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::actors::BatchFailure;

/// Requests read at the same time; others wait. Each needs some hundred bytes per node meanwhile.
const AT_A_TIME: usize = 4;
/// Bytes one permit of [`WitnessAdmission::waiting`] stands for: a permit count has 32 bits.
const PERMIT_BYTES: usize = 1 << 10;

/// Admits witnesses to be read.
#[derive(Clone)]
pub(super) struct WitnessAdmission {
    waiting: Arc<Semaphore>,
    running: Arc<Semaphore>,
    bytes_max: usize,
}

impl WitnessAdmission {
    /// Lets `bytes_max` bytes of requests in.
    pub(super) fn new(bytes_max: usize) -> Self {
        let all = permits(bytes_max) as usize;
        Self { waiting: Arc::new(Semaphore::new(all)), running: Arc::new(Semaphore::new(AT_A_TIME)), bytes_max }
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
        let share = permits(request_bytes).min(permits(self.bytes_max));
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
fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes / PERMIT_BYTES).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_much_is_refused_at_once_but_never_the_only_one() {
        let admission = WitnessAdmission::new(100 * PERMIT_BYTES);
        let (release, held) = std::sync::mpsc::channel::<()>();
        let first = {
            let admission = admission.clone();
            tokio::spawn(async move { admission.run(1000 * PERMIT_BYTES, move || held.recv().is_err()).await })
        };
        while admission.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let full = BatchFailure::QueueBytesFull { bytes_max: 100 * PERMIT_BYTES };
        assert_eq!(admission.run(1, || ()).await, Err(full));
        drop(release);
        assert_eq!(first.await.unwrap(), Ok(true));
        assert_eq!(admission.run(1, || 7).await, Ok(7));
        assert_eq!(admission.waiting.available_permits(), 100);
    }

    #[tokio::test]
    async fn a_panic_costs_its_call_and_no_place() {
        let admission = WitnessAdmission::new(1);
        for _ in 0..2 * AT_A_TIME {
            let outcome: Result<(), _> = admission.run(1, || panic!("told to panic")).await;
            assert_eq!(outcome, Err(BatchFailure::Panicked));
        }
        assert_eq!(admission.run(1, || ()).await, Ok(()));
    }
}
