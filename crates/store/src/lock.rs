//! The lock around what executors share.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A lock for many readers or one writer, whose waiters park at once.
///
/// That of parking_lot yields the core first. While full batches compute, a thread that yields comes back with the next tick of
/// the system only, and one that is parked as soon as it is woken up: a difference of 4 ms for a small call that meets a writer.
#[derive(Debug, Default)]
pub(crate) struct ParkingRwLock<T>(RwLock<T>);

impl<T> ParkingRwLock<T> {
    /// Creates an open lock around a value.
    pub(crate) fn new(value: T) -> Self {
        Self(RwLock::new(value))
    }

    /// Locks for reading. What a panic left behind is read as it is, as with parking_lot.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks for writing.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}
