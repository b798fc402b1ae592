//! What the tree needs of a store.

use alloy_primitives::Bytes;

use super::{Digest, NodeData};

/// Reads state by content address. Nodes never change, so an answer never goes stale.
pub trait StateReader: Send + Sync {
    /// Returns the node with this hash, `None` if it is not known. Its elements are canonical.
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError>;

    /// Returns the nodes with these hashes, in the order asked for.
    fn nodes(&self, hashes: &[Digest]) -> Result<Vec<Option<NodeData>>, StoreError> {
        hashes.iter().map(|hash| self.node(hash)).collect()
    }

    /// True if all of these nodes are known.
    fn has_nodes(&self, hashes: &[Digest]) -> Result<bool, StoreError> {
        Ok(self.nodes(hashes)?.iter().all(Option::is_some))
    }

    /// True if many nodes in one call cost far less than one by one: worth reading ahead.
    fn prefers_many(&self) -> bool {
        false
    }

    /// Returns the program with this Poseidon code hash, `None` if it is not known.
    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError>;
}

/// The reason why a store could not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The node is there but has neither 12 elements nor the 8 without capacity.
    #[error("node {} has {elements} elements instead of 12 ({place})", .hash.to_b256())]
    InvalidNodeSize {
        /// Hash of the node.
        hash: Digest,
        /// Elements found.
        elements: usize,
        /// Where the node is: the request, or table and row.
        place: String,
    },
    /// What is stored under a hash has another one. It is not used.
    #[error("{} is damaged: it does not have the hash it is stored under ({place})", .hash.to_b256())]
    Damaged {
        /// The hash it is stored under.
        hash: Digest,
        /// Where it is stored: file and offset, or table and row.
        place: String,
    },
    /// The bound of permanent state is reached; reads and volatile writes still work.
    #[error("the state store is full: no more permanent state fits within its {} MiB", bytes_max >> 20)]
    Full {
        /// The bound.
        bytes_max: usize,
    },
    /// The store itself failed.
    #[error("store unavailable: {0}")]
    Unavailable(String),
}
