//! The memory that calls may take for what they ask for: traces, results, answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Bounds of a [`MemoryBudget`], in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryBounds {
    /// All calls together.
    pub all_max: usize,
    /// One call.
    pub call_max: usize,
    /// One answer as sent; part of what its call takes.
    pub answer_max: usize,
}

impl MemoryBounds {
    /// No bounds.
    pub const NONE: Self = Self { all_max: usize::MAX, call_max: usize::MAX, answer_max: usize::MAX };
}

/// A bound of memory that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryBound {
    /// That of all calls together.
    All,
    /// That of one call.
    Call,
    /// That of one answer.
    Answer,
}

/// The memory that all calls of a server may take. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryBudget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bounds: MemoryBounds,
    used: AtomicUsize,
    peak: AtomicUsize,
    refused: AtomicU64,
}

impl Default for MemoryBudget {
    fn default() -> Self {
        Self::new(MemoryBounds::NONE)
    }
}

impl MemoryBudget {
    /// Creates a budget nobody has taken of.
    pub fn new(bounds: MemoryBounds) -> Self {
        Self(Arc::new(Shared {
            bounds,
            used: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// Returns the bounds.
    pub fn bounds(&self) -> MemoryBounds {
        self.0.bounds
    }

    /// Returns the bytes taken now.
    pub fn used(&self) -> usize {
        self.0.used.load(Relaxed)
    }

    /// Returns the most bytes that were taken at a time.
    pub fn peak(&self) -> usize {
        self.0.peak.load(Relaxed)
    }

    /// Returns how often a call met a bound.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Relaxed)
    }

    /// Opens the account of a call. What it takes is given back when its last clone is dropped.
    pub fn call(&self) -> CallMemory {
        CallMemory(Arc::new(Account { budget: self.clone(), used: AtomicUsize::new(0), answer: AtomicUsize::new(0) }))
    }

    fn refuse(&self, bound: MemoryBound) -> MemoryBound {
        self.0.refused.fetch_add(1, Relaxed);
        bound
    }
}

/// The memory of one call. Clones share it.
#[derive(Clone, Debug)]
pub struct CallMemory(Arc<Account>);

#[derive(Debug)]
struct Account {
    budget: MemoryBudget,
    used: AtomicUsize,
    /// Bytes its answer will take as sent, as far as known; counted in `used`.
    answer: AtomicUsize,
}

/// How much a call had taken at some moment.
#[derive(Clone, Copy, Debug)]
pub struct MemoryMark {
    used: usize,
    answer: usize,
}

impl CallMemory {
    /// Takes so many bytes more, before or right after they are allocated.
    ///
    /// Fails, having taken nothing, when the call or all calls together pass their bound.
    pub fn take(&self, bytes: usize) -> Result<(), MemoryBound> {
        let Account { budget, used, .. } = &*self.0;
        let Shared { bounds, used: all, peak, .. } = &*budget.0;
        let mine = used.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let total = all.fetch_add(bytes, Relaxed).saturating_add(bytes);
        let met = if mine > bounds.call_max {
            MemoryBound::Call
        } else if total > bounds.all_max {
            MemoryBound::All
        } else {
            peak.fetch_max(total, Relaxed);
            return Ok(());
        };
        used.fetch_sub(bytes, Relaxed);
        all.fetch_sub(bytes, Relaxed);
        Err(budget.refuse(met))
    }

    /// Takes the bytes that something adds to the answer as sent.
    ///
    /// Fails as [`Self::take`] does, and when the answer passes its bound.
    pub fn take_answer(&self, bytes: usize) -> Result<(), MemoryBound> {
        let Account { budget, answer, .. } = &*self.0;
        if answer.fetch_add(bytes, Relaxed).saturating_add(bytes) > budget.0.bounds.answer_max {
            return Err(budget.refuse(MemoryBound::Answer));
        }
        self.take(bytes)
    }

    /// Gives everything back but `bytes`: the rest has been freed.
    pub fn shrink_to(&self, bytes: usize) {
        let used = &self.0.used;
        let before = used.fetch_min(bytes, Relaxed);
        self.0.budget.0.used.fetch_sub(before.saturating_sub(bytes), Relaxed);
    }

    /// Notes how much is taken now.
    pub fn mark(&self) -> MemoryMark {
        MemoryMark { used: self.0.used.load(Relaxed), answer: self.0.answer.load(Relaxed) }
    }

    /// Gives back what was taken since the mark: the work it was for begins anew.
    pub fn give_back_to(&self, mark: MemoryMark) {
        self.shrink_to(mark.used);
        self.0.answer.store(mark.answer, Relaxed);
    }

    /// Returns the bytes taken now.
    pub fn used(&self) -> usize {
        self.0.used.load(Relaxed)
    }

    /// Returns the bounds.
    pub fn bounds(&self) -> MemoryBounds {
        self.0.budget.bounds()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(*self.used.get_mut(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: MemoryBounds = MemoryBounds { all_max: 100, call_max: 80, answer_max: 50 };

    #[test]
    fn calls_are_bounded_alone_and_together() {
        let budget = MemoryBudget::new(BOUNDS);
        let (first, second) = (budget.call(), budget.call());
        assert_eq!((first.take(80), first.take(1)), (Ok(()), Err(MemoryBound::Call)));
        assert_eq!((second.take(20), second.take(1)), (Ok(()), Err(MemoryBound::All)));
        assert_eq!((budget.used(), budget.peak(), budget.refused()), (100, 100, 2));
        first.shrink_to(10);
        assert_eq!((budget.used(), second.take(60)), (30, Ok(())));
        let clone = second.clone();
        drop((first, second));
        assert_eq!(budget.used(), 80, "a clone still has it");
        drop(clone);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn an_answer_has_a_bound_of_its_own() {
        let call = MemoryBudget::new(BOUNDS).call();
        assert_eq!((call.take_answer(50), call.take_answer(1)), (Ok(()), Err(MemoryBound::Answer)));
        assert_eq!(call.used(), 50);
    }

    #[test]
    fn work_that_begins_anew_gives_back_what_it_took() {
        let budget = MemoryBudget::new(BOUNDS);
        let call = budget.call();
        assert_eq!((call.take(10), call.take_answer(5)), (Ok(()), Ok(())));
        let mark = call.mark();
        assert_eq!((call.take(20), call.take_answer(45)), (Ok(()), Ok(())));
        call.give_back_to(mark);
        assert_eq!((call.used(), budget.used(), call.take_answer(45)), (15, 15, Ok(())));
    }

    #[test]
    fn absurd_sizes_are_refused() {
        let budget = MemoryBudget::new(BOUNDS);
        let call = budget.call();
        assert_eq!((call.take(1), call.take(usize::MAX - 7)), (Ok(()), Err(MemoryBound::Call)));
        assert_eq!((call.used(), budget.used()), (1, 1));
    }
}
