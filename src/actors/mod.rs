//! The actors of the service: a front that admits batches, executors that run them, one that keeps the statistics, and
//! one that writes to the database.
//!
//! Thin shells over plain types: what an actor decides is in functions that run without actix. Nothing here knows tonic or
//! prost. Invariants:
//!
//! - the front alone owns what waits, knows who is idle, and decides about admission; others read what it publishes;
//! - every queue has a bound, and what happens there is an answer ([`BatchFailure`]) or a counted drop;
//! - a job is answered exactly once, straight to the waiting handler, never through the front;
//! - a batch runs on an executor's thread and on no other.

use zkevm_pool::{CancelToken, Cancelled};
use zkevm_tree::StateReader;
pub use zkevm_types::FlushIds;
use zkevm_types::{BatchInput, BatchOutput};

pub mod diagnostics;
mod dispatcher;
mod executor_actor;
pub mod front;
pub mod gauges;
mod lanes;
pub mod lifecycle;
pub mod messages;
pub mod pool;
pub mod state;
pub mod stats;
mod writer;

pub use lanes::QueueBounds;
pub use lifecycle::{Lifecycle, Phase};
pub use messages::{BatchFailure, BatchJob, Executed, ReplyPort, Rpc, SendReply};
pub use pool::{ActorOptions, ActorSystem};

/// Runs one batch. The service uses [`Engines`](crate::engines::Engines); tests put something slow or broken in its place.
pub trait BatchEngine: Send + Sync + 'static {
    /// Executes `input` over `state`, stopping early when `cancel` says so.
    ///
    /// May panic: the batch is then answered with an internal error and the executor starts afresh.
    fn process(
        &self,
        input: &BatchInput,
        state: &dyn StateReader,
        cancel: &CancelToken,
    ) -> Result<BatchOutput, Cancelled>;
}

impl<F> BatchEngine for F
where
    F: Fn(&BatchInput, &dyn StateReader, &CancelToken) -> Result<BatchOutput, Cancelled> + Send + Sync + 'static,
{
    fn process(
        &self,
        input: &BatchInput,
        state: &dyn StateReader,
        cancel: &CancelToken,
    ) -> Result<BatchOutput, Cancelled> {
        self(input, state, cancel)
    }
}

/// Returns what a panic says.
fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    if let Some(text) = panic.downcast_ref::<&str>() {
        text
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text
    } else {
        "no message"
    }
}
