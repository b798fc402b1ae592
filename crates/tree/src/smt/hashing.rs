//! Hashing many versions together, and listing what they added (state-tree §7).

use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::{NodeKind, Origin, StateTree, TreeRef};
use crate::NodeData;
use crate::digest::Digest;
use crate::node::{branch_node, leaf_node, value_node};
use crate::path::remaining;
use crate::poseidon::{hash_many, hashes_of};
use zkevm_pool::ChunkOptions;

/// Nodes hashed at a time: full packs of every kernel, and a buffer that stays in the cache.
const NODES_TOGETHER: usize = 32;
/// Versions hashed at a time where no other thread helps, as a rule: full packs on every level, and nodes that stay in the cache
/// from one level to the next.
const VERSIONS_TOGETHER: usize = 64;
/// Nodes hashed from one look to the next: some ten milliseconds.
const NODES_PER_LOOK: usize = 1 << 14;
/// A chunk of a level takes some 50 microseconds.
const CHUNKS: ChunkOptions = ChunkOptions { items: 96, steal_timeout: Duration::from_micros(300) };
/// From this many nodes on a level is worth the hand-over to workers.
const SHARED_NODES_MIN: usize = 3 * CHUNKS.items;

impl StateTree<'_> {
    /// Computes the hash of every node of these versions, oldest first, that has none yet: first all values, then all
    /// leaves, then the branches of many versions level by level, deepest first.
    pub fn hash_versions(&mut self, versions: &[TreeRef]) {
        if versions.is_empty() || self.is_stopped() {
            return;
        }
        // Groups of one size: a few versions left over would not fill packs.
        let groups = ((versions.len() + VERSIONS_TOGETHER / 2) / VERSIONS_TOGETHER).max(1);
        let together = versions.len().div_ceil(groups);
        if self.deferred_roots > 0 {
            return versions.chunks(together).for_each(|versions| self.hash_with_deferred_roots(versions));
        }
        let together = if self.pool.idle() > 0 { versions.len() } else { together };
        versions.chunks(together).for_each(|versions| self.hash_group(versions));
    }

    fn hash_group(&mut self, versions: &[TreeRef]) {
        let (branches_by_depth, leaves) = self.unhashed(versions);
        for leaves in leaves.chunks(NODES_PER_LOOK) {
            if self.is_stopped() {
                return;
            }
            self.hash_values(leaves);
        }
        for level in std::iter::once(&leaves).chain(branches_by_depth.iter().rev()) {
            for nodes in level.chunks(NODES_PER_LOOK) {
                if self.is_stopped() {
                    return;
                }
                self.hash_nodes(nodes);
            }
        }
    }

    /// True if nobody wants the hashes any more. Then what is not hashed stays so, and roots are none.
    pub(super) fn is_stopped(&self) -> bool {
        self.cancel.check().is_err()
    }

    /// Returns the root of a version, computing what hashes it still needs.
    pub fn root(&mut self, at: TreeRef) -> Digest {
        if !self.nodes[at.index()].hashed {
            self.hash_versions(&[at]);
        }
        self.hashes[at.index()]
    }

    /// Returns every node that these versions added to what the reader holds (branches, leaves and value nodes), each
    /// once. Versions not hashed yet add nothing: call [`Self::hash_versions`] first.
    pub fn new_nodes(&self, versions: &[TreeRef]) -> Vec<(Digest, NodeData)> {
        let mut is_new = vec![false; self.nodes.len()];
        let mut count = 0_usize;
        let mut values = Vec::new();
        let mut stack: Vec<TreeRef> = versions.to_vec();
        while let Some(at) = stack.pop() {
            let node = &self.nodes[at.index()];
            if node.origin != Origin::Created || !node.hashed || std::mem::replace(&mut is_new[at.index()], true) {
                continue;
            }
            count += 1;
            match node.kind {
                NodeKind::Branch(children) => stack.extend(children),
                NodeKind::Leaf(index) => {
                    let value = &self.values[self.leaves[index as usize].value as usize];
                    if let (true, Some(hash), Some(number)) = (value.origin == Origin::Created, value.hash, value.value)
                    {
                        values.push((hash, number));
                    }
                }
                NodeKind::Empty | NodeKind::Unloaded => {}
            }
        }
        let mut found = Listed::with_capacity(count + values.len());
        // In the order of the arena, which is that of memory.
        let new = (0..).zip(is_new).filter(|(_, is_new)| *is_new).map(|(index, _)| TreeRef(index));
        new.for_each(|at| found.push(self.hashes[at.index()], || self.node_data(at)));
        values.into_iter().for_each(|(hash, number)| found.push(hash, || value_node(number)));
        found.nodes
    }

    /// Collects the unhashed branches of these versions by depth, and the unhashed leaves.
    fn unhashed(&mut self, versions: &[TreeRef]) -> (Vec<Vec<TreeRef>>, Vec<TreeRef>) {
        let mut branches_by_depth: Vec<Vec<TreeRef>> = vec![Vec::new()];
        let mut leaves = Vec::new();
        let mut level = versions.to_vec();
        while !level.is_empty() {
            let mut branches = Vec::new();
            let mut below = Vec::new();
            for at in level {
                let node = &mut self.nodes[at.index()];
                // A node without hash was made after its children: below a hashed node everything is hashed.
                if node.hashed || std::mem::replace(&mut node.visited, true) {
                    continue;
                }
                match node.kind {
                    NodeKind::Branch(children) => {
                        branches.push(at);
                        below.extend(children);
                    }
                    _ => leaves.push(at),
                }
            }
            branches_by_depth.push(branches);
            level = below;
        }
        (branches_by_depth, leaves)
    }

    /// Hashes the value nodes of these leaves.
    pub(super) fn hash_values(&mut self, leaves: &[TreeRef]) {
        let mut pending: Vec<u32> = leaves.iter().filter_map(|at| self.leaf(*at)).map(|leaf| leaf.value).collect();
        pending.retain(|index| self.values[*index as usize].hash.is_none());
        pending.sort_unstable();
        pending.dedup();
        let states: Vec<NodeData> = pending
            .iter()
            .map(|index| self.values[*index as usize].value.unwrap_or_default())
            .map(value_node)
            .collect();
        self.permutations += pending.len() as u64;
        for (index, hash) in pending.iter().zip(self.hash_all(states)) {
            self.values[*index as usize].hash = Some(hash);
        }
    }

    /// Hashes branches or leaves whose children are hashed.
    fn hash_nodes(&mut self, nodes: &[TreeRef]) {
        if nodes.len() >= SHARED_NODES_MIN && self.pool.idle() > 0 {
            let hashes = self.hash_all(nodes.iter().map(|at| self.node_data(*at)).collect());
            return self.set_hashes(nodes, &hashes);
        }
        let mut states = [[0; 12]; NODES_TOGETHER];
        let mut hashes = [Digest::ZERO; NODES_TOGETHER];
        for nodes in nodes.chunks(NODES_TOGETHER) {
            let (states, hashes) = (&mut states[..nodes.len()], &mut hashes[..nodes.len()]);
            for (state, at) in states.iter_mut().zip(nodes) {
                *state = self.node_data(*at);
            }
            hash_many(states, hashes);
            self.set_hashes(nodes, hashes);
        }
    }

    /// Hashes all states, with the help of idle threads.
    fn hash_all(&self, states: Vec<NodeData>) -> Vec<Digest> {
        self.pool.map(states, CHUNKS, hashes_of)
    }

    pub(super) fn set_hashes(&mut self, nodes: &[TreeRef], hashes: &[Digest]) {
        self.permutations += nodes.len() as u64;
        for (at, hash) in nodes.iter().zip(hashes) {
            let node = &mut self.nodes[at.index()];
            node.hashed = true;
            node.visited = false;
            self.hashes[at.index()] = *hash;
        }
    }

    /// Returns the 12 elements of a loaded branch or leaf whose children are hashed.
    pub(super) fn node_data(&self, at: TreeRef) -> NodeData {
        match self.nodes[at.index()].kind {
            NodeKind::Branch([left, right]) => branch_node(&self.hashes[left.index()], &self.hashes[right.index()]),
            NodeKind::Leaf(index) => {
                let leaf = &self.leaves[index as usize];
                let value = self.values[leaf.value as usize].hash.unwrap_or_default();
                leaf_node(&remaining(&leaf.key, leaf.depth.into()), &value)
            }
            NodeKind::Empty | NodeKind::Unloaded => [0; 12],
        }
    }
}

/// Nodes, each once.
struct Listed {
    nodes: Vec<(Digest, NodeData)>,
    /// Their places by hash: a set of the hashes themselves would not stay in the cache.
    places: HashTable<u32>,
    hasher: RandomState,
}

impl Listed {
    /// Creates an empty list with room for `count` nodes. Pre-sized: rehashing dominated the profile.
    fn with_capacity(count: usize) -> Self {
        let hasher = RandomState::default();
        Self { nodes: Vec::with_capacity(count), places: HashTable::with_capacity(count), hasher }
    }

    fn push(&mut self, hash: Digest, data: impl FnOnce() -> NodeData) {
        let Self { nodes, places, hasher } = self;
        let listed = |place: &u32| nodes[*place as usize].0;
        let is_same = |place: &u32| listed(place) == hash;
        if let Entry::Vacant(entry) =
            places.entry(hasher.hash_one(hash), is_same, |place| hasher.hash_one(listed(place)))
        {
            entry.insert(nodes.len() as u32);
            nodes.push((hash, data()));
        }
    }
}
