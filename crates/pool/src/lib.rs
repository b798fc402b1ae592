//! Threads that help running batches while cores are idle, the token that stops a batch, and the memory calls may take.
//!
//! Decides: which idle threads take chunks of a running batch's work; when a batch must stop. Must not know: what the work is.
//!
//! Two parts of a batch are dear and come in chunks that do not depend on each other: recovering the senders, and hashing a
//! level of the tree. The thread that runs the batch offers the chunks and works on them itself, or goes on with what the first
//! ones give it; workers take some of them only while there are more cores than running batches and busy workers.
//!
//! Other processes may be on those cores. A worker that does not come back in time shows it; then the batch does its chunk
//! itself, and no worker of the pool is asked again for 200 ms.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod cancel;
mod chunks;
pub mod memory;
mod workers;

pub use cancel::{CancelToken, Cancelled};
pub use chunks::{ChunkOptions, PendingResults};
pub use workers::{BatchGuard, WorkerPool};
