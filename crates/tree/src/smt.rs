//! The sparse Merkle tree: many versions in one arena, hashed on demand (state-tree §7, §8).
//!
//! A version is the handle of its root node. Updating copies the nodes on the changed paths and leaves the older
//! version as it was, so rolling back is using the older handle. New nodes have no hash until
//! [`StateTree::hash_versions`] computes those of many versions together, level by level, in full lanes.
//!
//! Every node has one place: the bits from the root to it. Nodes are loaded from the reader in place, on first visit.

mod deferred_roots;
mod details;
mod hashing;
mod proof_hashes;
mod read_ahead;
mod snapshot;
mod update;

#[cfg(test)]
mod tests;

pub use details::{GetDetails, SetDetails, SetMode};
pub use snapshot::TreeSnapshot;

use std::collections::HashMap;

use alloy_primitives::{Bytes, U256};
use zkevm_pool::{CancelToken, WorkerPool};

use super::NodeData;
use super::digest::Digest;
use super::keys::value_from_limbs;
use super::path::{KEY_BITS, bit, join};
use crate::{StateReader, StoreError};

/// One version of a tree: the handle of its root node within one [`StateTree`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct TreeRef(u32);

impl TreeRef {
    /// The empty tree.
    pub const EMPTY: Self = Self(0);

    fn index(self) -> usize {
        self.0 as usize
    }

    fn is_empty(self) -> bool {
        self == Self::EMPTY
    }
}

/// The reason why a tree could not be read or updated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// The reader does not know a node that the tree refers to.
    #[error("node {} is missing", .0.to_b256())]
    MissingNode(Digest),
    /// A node is there but cannot be part of a tree.
    #[error("node {} is corrupt: {}", .0.to_b256(), .1)]
    CorruptNode(Digest, Corruption),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// More nodes than handles.
    #[error("too many nodes in one tree")]
    TooManyNodes,
}

/// The reason why a node is corrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corruption {
    /// The capacity is neither that of a branch nor that of a leaf.
    #[error("unknown capacity")]
    Capacity,
    /// The content is not what the hash says.
    #[error("content of another hash")]
    Hash,
    /// A branch without children.
    #[error("branch without children")]
    EmptyBranch,
    /// A branch whose only child is a leaf.
    #[error("branch with nothing but a leaf")]
    LoneLeaf,
    /// A branch below the last bit of a key.
    #[error("deeper than a key has bits")]
    TooDeep,
    /// A leaf whose remaining key does not fit its place.
    #[error("remaining key does not fit the place of the leaf")]
    RemainingKey,
    /// A leaf without value.
    #[error("leaf without value")]
    EmptyValue,
    /// A value node with a capacity, a limb above 32 bits, or value zero.
    #[error("malformed value")]
    Value,
}

/// A tree over a store, with all the versions made from it.
pub struct StateTree<'a> {
    reader: &'a dyn StateReader,
    /// Helps to hash.
    pool: WorkerPool,
    nodes: Vec<Node>,
    /// Of each node, meaningful when it is `hashed`. Apart, since most passes need one or the other.
    hashes: Vec<Digest>,
    leaves: Vec<Leaf>,
    values: Vec<Value>,
    opened: HashMap<Digest, TreeRef>,
    /// Values that are deferred roots: those of versions without hash.
    deferred_roots: usize,
    permutations: u64,
    /// Ends long hashing.
    cancel: CancelToken,
}

/// One node at one place.
#[derive(Clone, Copy)]
struct Node {
    kind: NodeKind,
    hashed: bool,
    origin: Origin,
    /// Marks the node during one traversal.
    visited: bool,
}

/// Where a node or a value comes from. Below a node that the reader holds there is none of another origin, and below one of a
/// snapshot none that was created here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// The reader.
    Reader,
    /// A snapshot: it was created in another tree, which this one goes on from.
    Snapshot,
    /// Created here.
    Created,
}

#[derive(Clone, Copy)]
enum NodeKind {
    Empty,
    /// Only the hash is known.
    Unloaded,
    Branch([TreeRef; 2]),
    /// Index into `leaves`.
    Leaf(u32),
}

/// A leaf at one depth.
#[derive(Clone, Copy)]
struct Leaf {
    /// The full key.
    key: Digest,
    /// Index into `values`.
    value: u32,
    depth: u16,
}

/// A value, shared by the leaf's copies at other depths.
#[derive(Clone, Copy)]
struct Value {
    /// `None` until loaded, or until the root that it is is known.
    value: Option<U256>,
    /// `None` until hashed.
    hash: Option<Digest>,
    origin: Origin,
    /// The version without hash whose root the value is, or the empty one.
    root_of: TreeRef,
}

impl<'a> StateTree<'a> {
    /// Creates a tree over a store that no other thread helps to hash. Reads nothing.
    pub fn new(reader: &'a dyn StateReader) -> Self {
        Self::with_memory(reader, WorkerPool::none(), TreeMemory::default())
    }

    /// Creates a tree over a store in the memory of one that is gone; `pool` helps to hash. Reads nothing.
    pub fn with_memory(reader: &'a dyn StateReader, pool: WorkerPool, memory: TreeMemory) -> Self {
        let TreeMemory { nodes, hashes, leaves, values } = memory;
        let (opened, cancel) = (HashMap::new(), CancelToken::default());
        let mut tree =
            Self { reader, pool, nodes, hashes, leaves, values, opened, deferred_roots: 0, permutations: 0, cancel };
        tree.push_node(
            Digest::ZERO,
            Node { kind: NodeKind::Empty, hashed: true, origin: Origin::Reader, visited: false },
        );
        tree
    }

    /// Puts the token in place that ends long hashing. Once it is cancelled nothing is hashed any more and roots mean nothing, so
    /// that whoever uses one has to look at the token first.
    pub fn stop_by(&mut self, cancel: CancelToken) {
        self.cancel = cancel;
    }

    /// Ends the tree and returns its memory for the next one.
    pub fn into_memory(self) -> TreeMemory {
        let Self { nodes, hashes, leaves, values, .. } = self;
        TreeMemory { nodes, hashes, leaves, values }.cleared()
    }

    /// Returns the version with this root. Reads nothing: a wrong root shows on first use.
    pub fn open(&mut self, root: Digest) -> TreeRef {
        if root.is_zero() {
            return TreeRef::EMPTY;
        }
        if let Some(known) = self.opened.get(&root) {
            return *known;
        }
        let opened = self.push_unloaded(root);
        self.opened.insert(root, opened);
        opened
    }

    /// Returns the value of a key, zero if it has none (state-tree §8.1).
    pub fn get(&mut self, at: TreeRef, key: &Digest) -> Result<U256, TreeError> {
        let (end, _) = self.descend(at, key, |_| {})?;
        match self.leaf(end) {
            Some(leaf) if leaf.key == *key => self.value(leaf.value),
            _ => Ok(U256::ZERO),
        }
    }

    /// Number of nodes in memory, loaded and made.
    pub fn node_count(&self) -> usize {
        self.nodes.len() - 1
    }

    /// Number of Poseidon permutations that hashing the nodes has taken so far.
    pub fn permutations(&self) -> u64 {
        self.permutations
    }

    /// Follows a key down to a leaf or an empty place; returns it and its depth. Shows every branch on the way.
    fn descend(
        &mut self,
        at: TreeRef,
        key: &Digest,
        mut passed: impl FnMut(TreeRef),
    ) -> Result<(TreeRef, usize), TreeError> {
        let (mut node, mut depth) = (at, 0);
        while let NodeKind::Branch(children) = self.load(node, depth, key)? {
            passed(node);
            node = children[bit(key, depth)];
            depth += 1;
        }
        Ok((node, depth))
    }

    /// Returns what stands at a place, reading it on first visit. `path` is any key that passes through the place.
    fn load(&mut self, at: TreeRef, depth: usize, path: &Digest) -> Result<NodeKind, TreeError> {
        let node = self.nodes[at.index()];
        if !matches!(node.kind, NodeKind::Unloaded) {
            return Ok(node.kind);
        }
        let data = self.read(&self.hashes[at.index()])?;
        self.set_kind(at, depth, path, &data)
    }

    /// Sets what stands at a place, from the content of its node.
    fn set_kind(&mut self, at: TreeRef, depth: usize, path: &Digest, data: &NodeData) -> Result<NodeKind, TreeError> {
        let hash = self.hashes[at.index()];
        let corrupt = |what| TreeError::CorruptNode(hash, what);
        let (first, second) = halves(data);
        let kind = match data[8..] {
            [0, 0, 0, 0] => {
                if first.is_zero() && second.is_zero() {
                    return Err(corrupt(Corruption::EmptyBranch));
                }
                if depth >= KEY_BITS {
                    return Err(corrupt(Corruption::TooDeep));
                }
                self.check_room(2)?;
                NodeKind::Branch([self.push_unloaded(first), self.push_unloaded(second)])
            }
            [1, 0, 0, 0] => {
                let key = join(path, depth, &first).ok_or(corrupt(Corruption::RemainingKey))?;
                if second.is_zero() {
                    return Err(corrupt(Corruption::EmptyValue));
                }
                self.check_room(1)?;
                let value = push(
                    &mut self.values,
                    Value { value: None, hash: Some(second), origin: Origin::Reader, root_of: TreeRef::EMPTY },
                );
                NodeKind::Leaf(push(&mut self.leaves, Leaf { key, value, depth: depth as u16 }))
            }
            _ => return Err(corrupt(Corruption::Capacity)),
        };
        self.nodes[at.index()].kind = kind;
        Ok(kind)
    }

    /// Returns a value, reading it on first visit.
    fn value(&mut self, index: u32) -> Result<U256, TreeError> {
        let Value { value, hash, root_of, .. } = self.values[index as usize];
        if let Some(value) = value {
            return Ok(value);
        }
        if !root_of.is_empty() {
            let root = self.root(root_of);
            return Ok(self.resolve_root(index, root));
        }
        // A value that was not loaded is known by its hash.
        let data = self.read(&hash.unwrap_or_default())?;
        self.set_value(index, &data)
    }

    /// Sets a value from the content of its node.
    fn set_value(&mut self, index: u32, data: &NodeData) -> Result<U256, TreeError> {
        let hash = self.values[index as usize].hash.unwrap_or_default();
        let corrupt = TreeError::CorruptNode(hash, Corruption::Value);
        let [limbs @ .., 0, 0, 0, 0] = data else {
            return Err(corrupt);
        };
        match value_from_limbs(limbs) {
            Some(value) if !value.is_zero() => {
                self.values[index as usize].value = Some(value);
                Ok(value)
            }
            _ => Err(corrupt),
        }
    }

    fn read(&self, hash: &Digest) -> Result<NodeData, TreeError> {
        self.reader.node(hash)?.ok_or(TreeError::MissingNode(*hash))
    }

    /// Returns the leaf at a loaded place.
    fn leaf(&self, at: TreeRef) -> Option<Leaf> {
        match self.nodes[at.index()].kind {
            NodeKind::Leaf(index) => Some(self.leaves[index as usize]),
            _ => None,
        }
    }

    fn push_unloaded(&mut self, hash: Digest) -> TreeRef {
        if hash.is_zero() {
            return TreeRef::EMPTY;
        }
        self.push_node(hash, Node { kind: NodeKind::Unloaded, hashed: true, origin: Origin::Reader, visited: false })
    }

    fn push_created(&mut self, kind: NodeKind) -> TreeRef {
        self.push_node(Digest::ZERO, Node { kind, hashed: false, origin: Origin::Created, visited: false })
    }

    fn push_node(&mut self, hash: Digest, node: Node) -> TreeRef {
        self.hashes.push(hash);
        TreeRef(push(&mut self.nodes, node))
    }

    /// Refuses once handles might run out. Far below `u32::MAX`, so that [`Self::open`] always has one left.
    fn check_room(&self, more: usize) -> Result<(), TreeError> {
        if self.nodes.len().saturating_add(more) > NODES_MAX { Err(TreeError::TooManyNodes) } else { Ok(()) }
    }
}

/// Memory kept of one tree, at most: a full batch needs about half of it.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// The memory of a tree that is gone, for the next one: growing it afresh for every batch would have the operating system
/// clear and map it again each time. At most 16 MiB.
#[derive(Default)]
pub struct TreeMemory {
    nodes: Vec<Node>,
    hashes: Vec<Digest>,
    leaves: Vec<Leaf>,
    values: Vec<Value>,
}

impl TreeMemory {
    fn bytes(&self) -> usize {
        fn of<T>(arena: &Vec<T>) -> usize {
            arena.capacity() * size_of::<T>()
        }
        of(&self.nodes) + of(&self.hashes) + of(&self.leaves) + of(&self.values)
    }

    /// Empties the memory, and gives it back to the allocator if it is too much to keep.
    fn cleared(mut self) -> Self {
        if self.bytes() > KEPT_BYTES_MAX {
            return Self::default();
        }
        self.nodes.clear();
        self.hashes.clear();
        self.leaves.clear();
        self.values.clear();
        self
    }
}

impl std::fmt::Debug for TreeMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeMemory").field("bytes", &self.bytes()).finish()
    }
}

/// Computes the root of a tree that holds just these entries.
pub fn root_of_entries(entries: &mut [(Digest, U256)]) -> Result<Digest, TreeError> {
    let mut tree = StateTree::in_memory();
    let version = tree.update(TreeRef::EMPTY, entries)?;
    Ok(tree.root(version))
}

/// The store of a tree that starts empty.
struct NoStore;

impl StateReader for NoStore {
    fn node(&self, _hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        Ok(None)
    }

    fn program(&self, _hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
}

/// Bound on the nodes of one tree. At 48 bytes a node, memory ends first.
const NODES_MAX: usize = 1 << 31;

/// Appends and returns the index. Indices fit: [`StateTree::check_room`] bounds all three arenas.
fn push<T>(arena: &mut Vec<T>, item: T) -> u32 {
    let index = arena.len() as u32;
    arena.push(item);
    index
}

/// Splits the content of a node into its two hashes.
fn halves(data: &NodeData) -> (Digest, Digest) {
    (Digest([data[0], data[1], data[2], data[3]]), Digest([data[4], data[5], data[6], data[7]]))
}
