//! How a running batch is told to stop.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::memory::{CallMemory, MemoryBound, MemoryMark};

/// Tells a running batch to stop: the client left, its deadline passed, or what it asks for takes too long or too much
/// memory. Looked at every few thousand opcodes.
#[derive(Clone, Debug, Default)]
pub struct CancelToken {
    shared: Arc<Shared>,
    deadline: Option<Instant>,
    memory: Option<CallMemory>,
}

#[derive(Debug, Default)]
struct Shared {
    cancelled: AtomicBool,
    /// Longest run, from when the batch began.
    run: OnceLock<(Instant, Duration)>,
}

impl CancelToken {
    /// Creates a token that is cancelled at `deadline`, or only by [`Self::cancel`].
    pub fn new(deadline: Option<Instant>) -> Self {
        Self { deadline, ..Self::default() }
    }

    /// Puts the memory in place that the batch takes from; without it there is no bound.
    #[must_use]
    pub fn with_memory(self, memory: CallMemory) -> Self {
        Self { memory: Some(memory), ..self }
    }

    /// Returns the memory that the batch takes from.
    pub fn memory(&self) -> Option<&CallMemory> {
        self.memory.as_ref()
    }

    /// Cancels the batch.
    pub fn cancel(&self) {
        self.shared.cancelled.store(true, Ordering::Relaxed);
    }

    /// Notes that the batch begins to run now, and may run for `limit`. Only the first note counts.
    pub fn begin_run(&self, limit: Duration) {
        let _ = self.shared.run.set((Instant::now(), limit));
    }

    /// Returns why the batch should stop, if it should.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.shared.cancelled.load(Ordering::Relaxed) {
            return Err(Cancelled::Client);
        }
        let run = self.shared.run.get();
        if self.deadline.is_none() && run.is_none() {
            return Ok(());
        }
        let now = Instant::now();
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(Cancelled::Deadline);
        }
        match run {
            Some(&(begun, limit)) if now.saturating_duration_since(begun) >= limit => Err(Cancelled::TooLong { limit }),
            _ => Ok(()),
        }
    }

    /// Takes memory for what the batch keeps; fails at its bound, as [`CallMemory::take`] says.
    pub fn take(&self, bytes: usize) -> Result<(), Cancelled> {
        self.memory.as_ref().map_or(Ok(()), |memory| memory.take(bytes)).map_err(Cancelled::Memory)
    }

    /// Notes the memory taken so far, for work that may have to begin anew.
    pub fn mark(&self) -> Option<MemoryMark> {
        self.memory.as_ref().map(CallMemory::mark)
    }

    /// Gives back what was taken since the mark.
    pub fn give_back_to(&self, mark: Option<MemoryMark>) {
        if let Some((memory, mark)) = self.memory.as_ref().zip(mark) {
            memory.give_back_to(mark);
        }
    }

    /// Takes what something adds to the answer as sent; fails at its bound, as [`CallMemory::take_answer`] says.
    pub fn take_answer(&self, bytes: usize) -> Result<(), Cancelled> {
        self.memory.as_ref().map_or(Ok(()), |memory| memory.take_answer(bytes)).map_err(Cancelled::Memory)
    }
}

/// The reason why a batch was given up before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cancelled {
    /// The client left.
    #[error("the client cancelled the call")]
    Client,
    /// The client's deadline passed.
    #[error("the deadline passed")]
    Deadline,
    /// It ran for as long as one batch may.
    #[error("the batch ran for {} s, as long as one may", limit.as_secs_f64())]
    TooLong {
        /// Longest run of a batch.
        limit: Duration,
    },
    /// What it asks for takes more memory than it may.
    #[error("the batch met a bound of memory: {0:?}")]
    Memory(MemoryBound),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::{MemoryBounds, MemoryBudget};

    #[test]
    fn the_first_reason_stops_the_batch() {
        let token = CancelToken::default();
        assert_eq!(token.check(), Ok(()));
        token.begin_run(Duration::ZERO);
        token.begin_run(Duration::MAX);
        assert_eq!(token.check(), Err(Cancelled::TooLong { limit: Duration::ZERO }));
        token.clone().cancel();
        assert_eq!(token.check(), Err(Cancelled::Client));
        assert_eq!(CancelToken::new(Some(Instant::now())).check(), Err(Cancelled::Deadline));
    }

    #[test]
    fn memory_is_bounded_where_there_is_a_budget() {
        assert_eq!(CancelToken::default().take(usize::MAX), Ok(()));
        let budget = MemoryBudget::new(MemoryBounds { call_max: 10, ..MemoryBounds::NONE });
        let token = CancelToken::default().with_memory(budget.call());
        assert_eq!((token.take(10), token.take_answer(1)), (Ok(()), Err(Cancelled::Memory(MemoryBound::Call))));
        drop(token);
        assert_eq!(budget.used(), 0);
    }
}
