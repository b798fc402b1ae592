//! The lock around shards that executors share.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A lock for many readers or one writer. Who waits for it sleeps.
///
/// parking_lot's yields the core first. While full batches compute, a thread that yields comes back with the next tick of the
/// system only, and one that sleeps as soon as it is woken up: the difference is 4 ms for a small call that meets a writer.
#[derive(Debug, Default)]
pub struct Lock<T>(RwLock<T>);

impl<T> Lock<T> {
    /// Creates an open lock around a value.
    pub fn new(value: T) -> Self {
        Self(RwLock::new(value))
    }

    /// Waits to read. What a panic left behind is read as it is, as with parking_lot.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits to write.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
