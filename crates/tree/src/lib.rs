//! The Poseidon sparse Merkle tree over Goldilocks (state-tree).
//!
//! Decides: keys, nodes, their hashes, how versions of a tree are read, updated, hashed and proved. Must not know: where nodes
//! are kept (it reads them through [`StateReader`]), what a batch or a transaction is.
//!
//! `unsafe` stands in one module, the vector kernels of [`poseidon`].

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod check;
mod digest;
pub mod goldilocks;
pub mod keys;
mod node;
mod path;
pub mod poseidon;
mod proof;
mod reader;
mod sent;
mod smt;
#[cfg(test)]
mod testing;

pub use check::{TreeCheck, TreeCount};
pub use digest::{Digest, GOLDILOCKS_PRIME};
pub use keys::{BlockInfoKind, KeyCache, LeafKind, account_key, block_info_key, leaf_keys, storage_key};
pub use node::{branch_node, leaf_node, value_node};
pub use path::{bit, first_difference, key_of_turns, remaining};
pub use poseidon::linear_hash;
pub use proof::ProofError;
pub use reader::{StateReader, StoreError};
pub use sent::{NodeElements, SentNodes};
pub use smt::{
    Corruption, GetDetails, SetDetails, SetMode, StateTree, TreeError, TreeMemory, TreeRef, TreeSnapshot,
    root_of_entries,
};

/// A stored node: 8 content elements and 4 capacity elements, all canonical (state-tree §7).
pub type NodeData = [u64; 12];
