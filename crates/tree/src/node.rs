//! The three kinds of nodes, as 12 elements (state-tree §7).

use super::keys::value_limbs;
use super::{Digest, NodeData};
use alloy_primitives::U256;

/// Capacity of a leaf.
const LEAF_CAPACITY: [u64; 4] = [1, 0, 0, 0];
/// Capacity of branches and values.
const PLAIN_CAPACITY: [u64; 4] = [0; 4];

/// Returns a branch with these children.
pub fn branch_node(left: &Digest, right: &Digest) -> NodeData {
    joined(left, right, PLAIN_CAPACITY)
}

/// Returns a leaf: what of its key is left below its level, and the hash of its value's node.
pub fn leaf_node(remaining_key: &Digest, value_hash: &Digest) -> NodeData {
    joined(remaining_key, value_hash, LEAF_CAPACITY)
}

/// Returns the node of a value.
pub fn value_node(value: U256) -> NodeData {
    with_capacity(value_limbs(value), PLAIN_CAPACITY)
}

fn joined(first: &Digest, second: &Digest, capacity: [u64; 4]) -> NodeData {
    let mut content = [0; 8];
    content[..4].copy_from_slice(&first.0);
    content[4..].copy_from_slice(&second.0);
    with_capacity(content, capacity)
}

fn with_capacity(content: [u64; 8], capacity: [u64; 4]) -> NodeData {
    let mut data = [0; 12];
    data[..8].copy_from_slice(&content);
    data[8..].copy_from_slice(&capacity);
    data
}
