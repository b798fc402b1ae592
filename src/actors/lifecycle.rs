//! Serving, draining, stopping: the phase of the server.

use std::sync::Arc;

use tokio::sync::watch;

/// Phase of the server. Only moves down this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Batches are admitted.
    Serving,
    /// New batches get CANCELLED; admitted ones finish.
    Draining,
    /// Whatever still runs is given up.
    Stopping,
}

/// Shared view of the server's [`Phase`], and the way to move it on; and of what keeps it from serving meanwhile.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    phase: Arc<watch::Sender<Phase>>,
    /// Why state cannot be read or written at present.
    failure: Arc<watch::Sender<Option<String>>>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { phase: Arc::new(watch::Sender::new(Phase::Serving)), failure: Arc::new(watch::Sender::new(None)) }
    }
}

impl Lifecycle {
    /// Returns the present phase.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// True once new batches are refused.
    pub fn is_draining(&self) -> bool {
        self.phase() >= Phase::Draining
    }

    /// Moves on to `phase`; never moves back.
    pub fn advance(&self, phase: Phase) {
        self.phase.send_if_modified(|current| {
            let later = phase > *current;
            *current = phase.max(*current);
            later
        });
    }

    /// Returns why state cannot be read or written at present.
    pub fn failure(&self) -> Option<String> {
        self.failure.borrow().clone()
    }

    /// Notes why state cannot be read or written; nothing once it can be.
    pub fn set_failure(&self, failure: Option<String>) {
        self.failure.send_if_modified(|current| {
            let is_new = *current != failure;
            *current = failure;
            is_new
        });
    }

    /// Waits until state can be read and written, or, if `failing` is false, until it cannot be.
    pub async fn failing_is_not(&self, failing: bool) {
        let mut receiver = self.failure.subscribe();
        // Fails only without a sender, and `self` holds one.
        let _ = receiver.wait_for(|failure| failure.is_some() != failing).await;
    }

    /// Waits until the server is in `phase` or later.
    pub async fn reached(&self, phase: Phase) {
        let mut receiver = self.phase.subscribe();
        // Fails only without a sender, and `self` holds one.
        let _ = receiver.wait_for(|current| *current >= phase).await;
    }
}
