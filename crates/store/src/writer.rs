//! Writing state.

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

/// The time that a written entry must stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Part of the chain: never given up.
    Permanent,
    /// Of a batch run without `update_merkle_tree`: readable across requests, given up oldest first when memory runs
    /// out (state-tree §10).
    Volatile,
}
