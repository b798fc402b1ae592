//! All batch sessions, within bounds on their number, size and idle time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::session::{Session, SessionError};

/// Bounds of the sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// Sessions at the same time.
    pub sessions_max: usize,
    /// Estimated bytes of all of them.
    pub bytes_max: usize,
    /// A session not used for this long may be dropped to make room for another.
    pub idle_max: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { sessions_max: 1024, bytes_max: 1 << 30, idle_max: Duration::from_secs(600) }
    }
}

/// The open sessions. Each has a lock of its own: a slow flush holds up its session only.
pub struct Sessions {
    open: Mutex<HashMap<String, Arc<Mutex<Session>>>>,
    bytes: Arc<AtomicUsize>,
    expired: AtomicU64,
    limits: SessionLimits,
}

impl Sessions {
    pub(super) fn new(limits: SessionLimits) -> Self {
        Self { open: Mutex::default(), bytes: Arc::default(), expired: AtomicU64::new(0), limits }
    }

    /// Returns the session if there is one.
    pub(super) fn find(&self, uuid: &str) -> Option<Arc<Mutex<Session>>> {
        if uuid.is_empty() { None } else { self.open.lock().get(uuid).cloned() }
    }

    /// Returns the session; an error if there is none.
    pub(super) fn known(&self, uuid: &str) -> Result<Arc<Mutex<Session>>, SessionError> {
        self.find(uuid).ok_or(SessionError::Unknown)
    }

    /// Returns the session, a new one if there is none.
    pub(super) fn open(&self, uuid: &str) -> Result<Arc<Mutex<Session>>, SessionError> {
        let mut open = self.open.lock();
        if let Some(session) = open.get(uuid) {
            if let Some(mut session) = session.try_lock() {
                session.used_at = Instant::now();
            }
            return Ok(Arc::clone(session));
        }
        if open.len() >= self.limits.sessions_max || self.bytes.load(Ordering::Relaxed) >= self.limits.bytes_max {
            self.drop_idle(&mut open);
        }
        if open.len() >= self.limits.sessions_max {
            return Err(SessionError::Full);
        }
        let session = Arc::new(Mutex::new(Session::new(Arc::clone(&self.bytes), self.limits.bytes_max)));
        open.insert(uuid.to_owned(), Arc::clone(&session));
        Ok(session)
    }

    /// Drops sessions nobody used for long. One that is locked is in use.
    fn drop_idle(&self, open: &mut HashMap<String, Arc<Mutex<Session>>>) {
        let before = open.len();
        open.retain(|_, session| {
            session.try_lock().is_none_or(|session| session.used_at.elapsed() <= self.limits.idle_max)
        });
        let dropped = before - open.len();
        if dropped > 0 {
            self.expired.fetch_add(dropped as u64, Ordering::Relaxed);
            tracing::warn!(dropped, "dropped batch sessions that were never flushed");
        }
    }

    /// Forgets a session.
    pub(super) fn remove(&self, uuid: &str) {
        self.open.lock().remove(uuid);
    }

    /// Drops all sessions.
    pub(super) fn clear(&self) {
        for session in std::mem::take(&mut *self.open.lock()).into_values() {
            session.lock().end();
        }
    }

    /// Returns how many sessions were dropped because nobody used them.
    pub fn expired(&self) -> u64 {
        self.expired.load(Ordering::Relaxed)
    }
}
