//! Where nodes and programs live.

mod bridge;
mod cache;
mod database;
mod embedded;
pub mod encoding;
mod flush;
mod lock;
mod memory;
mod overlay;
mod postgres;
mod state_store;

pub use bridge::{Bridge, Retries};
pub use cache::{CacheStats, ReadCache};
pub use database::{Database, WriteSet};
pub use embedded::EmbeddedDatabase;
pub use flush::{FlushIds, FlushStatus, Group, QueueLimits};
pub use memory::{MemoryLimits, MemoryStore, MemoryStoreStats};
pub use overlay::{RequestOverlay, verified_nodes, verified_programs};
pub use postgres::{PostgresDatabase, PostgresOptions};
pub use state_store::{Claims, LastingOptions, StateStats, StateStore, WriterStep};

use revm::primitives::Bytes;

use crate::tree::{Digest, NodeData};

/// Reads state by content address. Nodes never change, so an answer never goes stale.
pub trait StateReader: Send + Sync {
    /// Returns the node with this hash, `None` if it is not known. Its elements are canonical.
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError>;

    /// Returns the nodes with these hashes, in the order asked for.
    fn nodes(&self, hashes: &[Digest]) -> Result<Vec<Option<NodeData>>, StoreError> {
        hashes.iter().map(|hash| self.node(hash)).collect()
    }

    /// True if many nodes in one call cost far less than one by one: worth reading ahead.
    fn prefers_many(&self) -> bool {
        false
    }

    /// Returns the program with this Poseidon code hash, `None` if it is not known.
    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError>;
}

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

/// Why a store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The node is there but does not have 12 elements.
    #[error("node {hash:?} has {elements} elements instead of 12")]
    InvalidNodeSize {
        /// Hash of the node.
        hash: Digest,
        /// Elements found.
        elements: usize,
    },
    /// The bound of what may be kept for good is reached; reads and volatile writes still work.
    #[error("the state store is full: nothing more can be kept for good within its {} MiB", bytes_max >> 20)]
    Full {
        /// The bound.
        bytes_max: usize,
    },
    /// The store itself failed.
    #[error("store unavailable: {0}")]
    Unavailable(String),
}
