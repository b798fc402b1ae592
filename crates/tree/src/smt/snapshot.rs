//! What batches made of one version, taken out of its tree: another tree, over a reader that has what they read, goes on from
//! it.

use super::{Leaf, Node, NodeKind, Origin, StateTree, TreeError, TreeRef, Value};
use crate::digest::Digest;

/// The nodes of one version that its reader does not hold. Places that the reader holds are known by hash only, wherever
/// their nodes stand: they are read again.
#[derive(Clone)]
pub struct TreeSnapshot {
    /// The first stands for the empty tree, as in a tree.
    nodes: Vec<Node>,
    hashes: Vec<Digest>,
    leaves: Vec<Leaf>,
    values: Vec<Value>,
    root: TreeRef,
}

impl TreeSnapshot {
    /// Returns its size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        self.nodes.capacity() * size_of::<Node>()
            + self.hashes.capacity() * size_of::<Digest>()
            + self.leaves.capacity() * size_of::<Leaf>()
            + self.values.capacity() * size_of::<Value>()
    }

    fn push(&mut self, hash: Digest, node: Node) -> TreeRef {
        self.hashes.push(hash);
        self.nodes.push(node);
        TreeRef(self.nodes.len() as u32 - 1)
    }
}

impl std::fmt::Debug for TreeSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeSnapshot").field("nodes", &self.nodes.len()).finish()
    }
}

impl StateTree<'_> {
    /// Returns what was made of a version; `None` of one that is not hashed.
    pub fn snapshot(&self, version: TreeRef) -> Option<TreeSnapshot> {
        let empty = self.nodes.first().copied()?;
        if !self.nodes[version.index()].hashed || self.deferred_roots > 0 {
            return None;
        }
        let mut snapshot = TreeSnapshot {
            nodes: vec![empty],
            hashes: vec![Digest::ZERO],
            leaves: Vec::new(),
            values: Vec::new(),
            root: TreeRef::EMPTY,
        };
        snapshot.root = self.copy_made(version, &mut snapshot);
        Some(snapshot)
    }

    /// Copies a place and what was made below it; a tree is at most as deep as a key has bits.
    fn copy_made(&self, at: TreeRef, to: &mut TreeSnapshot) -> TreeRef {
        if at.is_empty() {
            return TreeRef::EMPTY;
        }
        let (node, hash) = (self.nodes[at.index()], self.hashes[at.index()]);
        let kind = match node.kind {
            _ if node.origin == Origin::Reader => {
                return to.push(hash, Node { kind: NodeKind::Unloaded, visited: false, ..node });
            }
            NodeKind::Branch(children) => NodeKind::Branch(children.map(|child| self.copy_made(child, to))),
            NodeKind::Leaf(index) => {
                let leaf = self.leaves[index as usize];
                let value = self.values[leaf.value as usize];
                // One that was read is as good as one that was made: the reader has to hold it.
                let origin = if value.value.is_some() { Origin::Snapshot } else { Origin::Reader };
                to.values.push(Value { origin, ..value });
                to.leaves.push(Leaf { value: to.values.len() as u32 - 1, ..leaf });
                NodeKind::Leaf(to.leaves.len() as u32 - 1)
            }
            kind @ (NodeKind::Empty | NodeKind::Unloaded) => kind,
        };
        to.push(hash, Node { kind, origin: Origin::Snapshot, visited: false, ..node })
    }

    /// Puts a version of another tree in place, and returns it. What it takes of the reader must be there:
    /// [`Self::hashes_read`] of the tree that it was taken from.
    pub fn go_on_from(&mut self, snapshot: &TreeSnapshot) -> Result<TreeRef, TreeError> {
        self.check_room(snapshot.nodes.len())?;
        // The first of each is the empty tree.
        let (nodes, leaves, values) = (self.nodes.len() as u32 - 1, self.leaves.len() as u32, self.values.len() as u32);
        let moved = |at: TreeRef| if at.is_empty() { at } else { TreeRef(at.0 + nodes) };
        self.nodes.extend(snapshot.nodes.iter().skip(1).map(|node| {
            let kind = match node.kind {
                NodeKind::Branch(children) => NodeKind::Branch(children.map(moved)),
                NodeKind::Leaf(index) => NodeKind::Leaf(index + leaves),
                kind => kind,
            };
            Node { kind, ..*node }
        }));
        self.hashes.extend(snapshot.hashes.iter().skip(1));
        self.leaves.extend(snapshot.leaves.iter().map(|leaf| Leaf { value: leaf.value + values, ..*leaf }));
        self.values.extend(&snapshot.values);
        Ok(moved(snapshot.root))
    }

    /// Returns the hashes of all nodes that were read from the reader so far. A hash that stands at several places may come
    /// more than once.
    pub fn hashes_read(&self) -> Vec<Digest> {
        let is_read =
            |node: &Node| node.origin == Origin::Reader && matches!(node.kind, NodeKind::Branch(_) | NodeKind::Leaf(_));
        let nodes = self.nodes.iter().zip(&self.hashes).filter(|(node, _)| is_read(node)).map(|(_, hash)| *hash);
        let read_values = self.values.iter().filter(|value| value.origin == Origin::Reader && value.value.is_some());
        nodes.chain(read_values.filter_map(|value| value.hash)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Mutex;

    use alloy_primitives::{Bytes, U256};
    use proptest::prelude::*;

    use super::*;
    use crate::testing::NodeMap;
    use crate::{NodeData, StateReader, StoreError};

    /// Tells what was asked of it.
    struct Asked {
        state: NodeMap,
        hashes: Mutex<HashSet<Digest>>,
    }

    impl StateReader for Asked {
        fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
            self.hashes.lock().unwrap().insert(*hash);
            self.state.node(hash)
        }

        fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
            self.state.program(hash)
        }
    }

    type Writes = Vec<(Digest, U256)>;

    fn writes() -> impl Strategy<Value = Writes> {
        let limb = || prop_oneof![0..8_u64, any::<u32>().prop_map(u64::from)];
        let key = [limb(), limb(), limb(), limb()].prop_map(Digest);
        prop::collection::vec((key, (0..3_u64).prop_map(U256::from)), 0..12)
    }

    proptest! {
        #[test]
        fn a_tree_goes_on_from_another(state in writes(), steps in prop::collection::vec(writes(), 1..5)) {
            let reader = Asked { state: NodeMap::default(), hashes: Mutex::default() };
            let mut genesis = StateTree::new(&reader);
            let version = genesis.update(TreeRef::EMPTY, &mut state.clone()).unwrap();
            let root = genesis.root(version);
            reader.state.write(&genesis.new_nodes(&[version]));
            let mut whole = StateTree::new(&reader);
            let mut expected = whole.open(root);
            let mut last: Option<TreeSnapshot> = None;
            let mut read = HashSet::new();
            for step in steps {
                expected = whole.update(expected, &mut step.clone()).unwrap();
                reader.hashes.lock().unwrap().clear();
                let mut tree = StateTree::new(&reader);
                let opened = tree.open(root);
                let from = last.as_ref().map_or(Ok(opened), |snapshot| tree.go_on_from(snapshot)).unwrap();
                let version = tree.update(from, &mut step.clone()).unwrap();
                for (key, _) in &step {
                    prop_assert_eq!(tree.get(version, key), whole.get(expected, key));
                    prop_assert_eq!(tree.read_proof_hashes(version, key), whole.read_proof_hashes(expected, key));
                }
                prop_assert_eq!(tree.root(version), whole.root(expected));
                prop_assert_eq!(tree.hashes_read().into_iter().collect::<HashSet<_>>(), reader.hashes.lock().unwrap().clone());
                read.extend(tree.hashes_read());
                last = tree.snapshot(version);
                prop_assert!(last.is_some());
            }
            prop_assert_eq!(whole.hashes_read().into_iter().collect::<HashSet<_>>(), read);
        }
    }

    #[test]
    fn a_version_without_hash_has_no_snapshot() {
        let mut tree = StateTree::in_memory();
        let version = tree.update(TreeRef::EMPTY, &mut [(Digest([1, 2, 3, 4]), U256::ONE)]).unwrap();
        assert!(tree.snapshot(version).is_none());
        tree.root(version);
        let snapshot = tree.snapshot(version).unwrap();
        assert!(snapshot.bytes() > 0 && tree.snapshot(TreeRef::EMPTY).is_some());
    }
}
