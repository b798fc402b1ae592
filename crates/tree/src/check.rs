//! Reads whole trees and checks every node against its hash (state-tree §7).

use std::collections::HashSet;

use super::NodeData;
use super::digest::Digest;
use super::poseidon::hash_many;
use super::smt::{Corruption, TreeError};
use crate::StateReader;

/// Nodes hashed together.
const GROUP: usize = 1024;

/// The numbers of entries of a tree. Nodes shared with trees checked before are not counted again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeCount {
    /// Nodes with two halves.
    pub branches: u64,
    /// Leaves.
    pub leaves: u64,
    /// Distinct values.
    pub values: u64,
}

/// Checks trees of one store. What was found whole once is not read again for the next root.
pub struct TreeCheck<'a> {
    reader: &'a dyn StateReader,
    checked: HashSet<Digest>,
}

#[derive(Clone, Copy)]
enum Place {
    Node,
    Value,
}

impl<'a> TreeCheck<'a> {
    /// Starts with nothing checked. Remembers 40 bytes per node.
    pub fn new(reader: &'a dyn StateReader) -> Self {
        Self { reader, checked: HashSet::new() }
    }

    /// Reads the tree with this root: every node must be there and have its hash.
    ///
    /// Fails with the first node that is missing or wrong.
    pub fn check(&mut self, root: Digest) -> Result<TreeCount, TreeError> {
        let mut count = TreeCount::default();
        let mut waiting = vec![(root, Place::Node)];
        let (mut nodes, mut hashes): (Vec<(Digest, NodeData)>, Vec<Digest>) = (Vec::new(), Vec::new());
        while !waiting.is_empty() {
            nodes.clear();
            while let Some((hash, place)) = waiting.pop() {
                if hash.is_zero() || !self.checked.insert(hash) {
                    continue;
                }
                let node = self.reader.node(&hash)?.ok_or(TreeError::MissingNode(hash))?;
                nodes.push((hash, node));
                match (place, &node[8..]) {
                    (Place::Value, _) => count.values += 1,
                    (Place::Node, [1, 0, 0, 0]) => {
                        count.leaves += 1;
                        waiting.push((half(&node, 4), Place::Value));
                    }
                    (Place::Node, [0, 0, 0, 0]) => {
                        count.branches += 1;
                        waiting.extend([(half(&node, 0), Place::Node), (half(&node, 4), Place::Node)]);
                    }
                    _ => return Err(TreeError::CorruptNode(hash, Corruption::Capacity)),
                }
                if nodes.len() == GROUP {
                    break;
                }
            }
            let states: Vec<NodeData> = nodes.iter().map(|(_, node)| *node).collect();
            hashes.resize(states.len(), Digest::ZERO);
            hash_many(&states, &mut hashes);
            if let Some(((claimed, _), _)) = nodes.iter().zip(&hashes).find(|((claimed, _), hash)| claimed != *hash) {
                return Err(TreeError::CorruptNode(*claimed, Corruption::Hash));
            }
        }
        Ok(count)
    }
}

fn half(node: &NodeData, from: usize) -> Digest {
    Digest([node[from], node[from + 1], node[from + 2], node[from + 3]])
}

#[cfg(test)]
mod tests {
    use alloy_primitives::U256;

    use super::*;
    use crate::testing::NodeMap;
    use crate::{StateTree, TreeRef};

    fn tree() -> (Digest, Vec<(Digest, NodeData)>) {
        let empty = NodeMap::default();
        let mut tree = StateTree::new(&empty);
        let mut writes: Vec<_> = (0..3000).map(|key| (Digest([key, 1, 2, 3]), U256::from(key % 7 + 1))).collect();
        let version = tree.update(TreeRef::EMPTY, &mut writes).unwrap();
        (tree.root(version), tree.new_nodes(&[version]))
    }

    fn store(nodes: &[(Digest, NodeData)]) -> NodeMap {
        let store = NodeMap::default();
        store.write(nodes);
        store
    }

    #[test]
    fn a_whole_tree_is_counted_once() {
        let (root, nodes) = tree();
        let store = store(&nodes);
        let mut check = TreeCheck::new(&store);
        let count = check.check(root).unwrap();
        assert_eq!(count.branches + count.leaves + count.values, nodes.len() as u64);
        assert_eq!(count.values, 7);
        assert_eq!(check.check(root), Ok(TreeCount::default()));
    }

    #[test]
    fn any_missing_or_wrong_node_is_found() {
        let (root, nodes) = tree();
        for place in [0, nodes.len() / 2, nodes.len() - 1] {
            let hash = nodes[place].0;
            let mut without = nodes.clone();
            without.remove(place);
            assert_eq!(TreeCheck::new(&store(&without)).check(root), Err(TreeError::MissingNode(hash)));
        }
        let mut wrong = nodes.clone();
        let leaf = wrong.iter().position(|(_, node)| node[8] == 1).unwrap();
        wrong[leaf].1[0] ^= 1;
        let error = TreeError::CorruptNode(wrong[leaf].0, Corruption::Hash);
        assert_eq!(TreeCheck::new(&store(&wrong)).check(root), Err(error));
    }
}
