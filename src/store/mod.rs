//! Where nodes and programs live.

use revm::primitives::Bytes;

use crate::tree::{Digest, NodeData};

/// Reads state by content address. Nodes never change, so an answer never goes stale.
pub trait StateReader: Send + Sync {
    /// Returns the node with this hash, `None` if it is not known.
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError>;

    /// Returns the program with this Poseidon code hash, `None` if it is not known.
    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError>;
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
    /// The store itself failed.
    #[error("store unavailable: {0}")]
    Unavailable(String),
}
