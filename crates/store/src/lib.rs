//! Where nodes and programs live: in memory, in an embedded database, in PostgreSQL; and the batch sessions of the HashDB
//! service over them.
//!
//! Decides: what is kept how long, in which order it is stored, and under which flush id. Must not know: which roots are in
//! use, batches, the wire.

mod bridge;
mod cache;
mod database;
mod embedded;
pub mod encoding;
mod flush;
pub mod hashdb;
mod lock;
mod memory;
mod overlay;
pub mod pem;
mod postgres;
mod state_store;

pub use bridge::{Bridge, Retries};
pub use cache::{CacheStats, ReadCache};
pub use database::{Database, WriteSet};
pub use embedded::EmbeddedDatabase;
pub use flush::{FlushStatus, Group, QueueLimits};
pub use memory::{MemoryLimits, MemoryStore, MemoryStoreStats};
pub use overlay::{RequestOverlay, verified_nodes, verified_programs};
pub use postgres::{PostgresDatabase, PostgresOptions};
pub use state_store::{Claims, LastingOptions, StateStats, StateStore, WriterStep};

use alloy_primitives::Bytes;

use zkevm_tree::{Digest, NodeData, StoreError};

/// Writes state by content address. Writing what is already there changes nothing but its durability.
///
/// The caller vouches that every node and program has the hash it is written under.
pub trait StateWriter: Send + Sync {
    /// Writes nodes and programs.
    fn write(
        &self,
        nodes: &[(Digest, NodeData)],
        programs: &[(Digest, Bytes)],
        durability: Durability,
    ) -> Result<(), StoreError>;
}

/// How long a written entry must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Part of the chain: never given up.
    Permanent,
    /// Of a batch run without `update_merkle_tree`: readable across requests, given up oldest first when memory runs
    /// out (state-tree §10).
    Volatile,
}
