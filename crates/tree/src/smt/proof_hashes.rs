//! What an access would cost a prover in Poseidon hashes: the proof hash counter of state-tree §8, from the tree's shape.
//!
//! Only the place a key ends at matters, so nothing is hashed and no value is read.

use alloy_primitives::U256;
use zkevm_pool::WorkerPool;

use super::update::with_bit;
use super::{NoStore, NodeKind, StateTree, TreeError, TreeMemory, TreeRef};
use crate::digest::Digest;
use crate::path::first_difference;

/// What stands where a key ends.
enum End {
    Empty,
    /// The leaf of the key.
    Own,
    /// Another leaf; the first level at which the two keys differ.
    Other(usize),
}

impl StateTree<'static> {
    /// Creates a tree that is backed by nothing and starts empty.
    pub fn in_memory() -> Self {
        Self::in_memory_with(TreeMemory::default())
    }

    /// Creates a tree as [`Self::in_memory`] does, in the memory of one that is gone.
    pub fn in_memory_with(memory: TreeMemory) -> Self {
        Self::with_memory(&NoStore, WorkerPool::none(), memory)
    }
}

impl StateTree<'_> {
    /// Returns the proof hash counter of reading a key (state-tree §8.1).
    pub fn read_proof_hashes(&mut self, at: TreeRef, key: &Digest) -> Result<u64, TreeError> {
        let (end, depth) = self.descend(at, key, |_| {})?;
        Ok(depth as u64 + if self.leaf(end).is_some() { 2 } else { 0 })
    }

    /// Returns the proof hash counter of writing a key (state-tree §8.2). `present` says whether the value written is not zero.
    pub fn write_cost(&mut self, at: TreeRef, key: &Digest, present: bool) -> Result<u64, TreeError> {
        Ok(self.write_cost_and_change(at, key, present)?.0)
    }

    /// Returns the proof hash counter of writing a key (state-tree §8.2), and the version whose shape is that after the
    /// write. `present` says whether the value written is not zero.
    ///
    /// The version returned has the right keys; the values of keys that it adds are placeholders.
    pub fn write_proof_hashes(
        &mut self,
        at: TreeRef,
        key: &Digest,
        present: bool,
    ) -> Result<(u64, TreeRef), TreeError> {
        let (hashes, changes_shape) = self.write_cost_and_change(at, key, present)?;
        if !changes_shape {
            return Ok((hashes, at));
        }
        let value = if present { U256::ONE } else { U256::ZERO };
        Ok((hashes, self.update(at, &mut [(*key, value)])?))
    }

    /// Returns the proof hash counter of writing a key, and whether the write changes the shape of the tree.
    fn write_cost_and_change(&mut self, at: TreeRef, key: &Digest, present: bool) -> Result<(u64, bool), TreeError> {
        let (end, depth) = self.descend(at, key, |_| {})?;
        let end = match self.leaf(end) {
            None => End::Empty,
            Some(leaf) => first_difference(&leaf.key, key).map_or(End::Own, End::Other),
        };
        let depth = depth as u64;
        Ok(match (end, present) {
            (End::Own, true) => (2 * depth + 4, false),
            (End::Empty, true) => (2 * depth + 2, true),
            (End::Other(parting), true) => (depth + parting as u64 + 6, true),
            (End::Empty, false) => (depth, false),
            (End::Other(_), false) => (depth + 2, false),
            (End::Own, false) => (self.removal_proof_hashes(at, key)?, true),
        })
    }

    /// Removing a leaf: its sibling, if a leaf, rises over all branches that have no other child (state-tree §8.2).
    fn removal_proof_hashes(&mut self, at: TreeRef, key: &Digest) -> Result<u64, TreeError> {
        let mut passed = Vec::with_capacity(24);
        self.descend(at, key, |branch| passed.push(branch))?;
        let branches: Vec<_> = passed.into_iter().filter_map(|branch| self.children_of(branch)).collect();
        let depth = branches.len();
        let Some(parent) = branches.last() else { return Ok(2) };
        let own_side = crate::path::bit(key, depth - 1);
        let sibling = parent[1 - own_side];
        match self.load(sibling, depth, &with_bit(key, depth - 1, 1 - own_side))? {
            NodeKind::Leaf(_) => {
                let mut risen = depth - 1;
                while risen > 0 && branches[risen - 1].iter().filter(|child| !child.is_empty()).count() == 1 {
                    risen -= 1;
                }
                Ok((depth + risen + 5) as u64)
            }
            _ => Ok(2 * depth as u64 + 3),
        }
    }

    fn children_of(&self, at: TreeRef) -> Option<[TreeRef; 2]> {
        match self.nodes[at.index()].kind {
            NodeKind::Branch(children) => Some(children),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sequence S1 of state-tree §12, whose counters are recorded there.
    #[test]
    fn counters_are_those_of_the_specification() {
        let key = |low: u64, second: u64| Digest([low, second, 0, 0]);
        let high = Digest([0, 0, 0, 1 << 63]);
        let steps = [
            (key(0, 0), 0, 0),
            (key(1, 0), 2, 2),
            (key(1, 0), 3, 4),
            (key(0, 0), 5, 6),
            (key(2, 0), 7, 11),
            (key(2, 1), 8, 6),
            (key(2, 0), 7, 14),
            (key(4, 0), 0, 7),
            (key(0, 0), 0, 12),
            (key(2, 1), 0, 8),
            (key(2, 0), 0, 6),
            (key(2, 0), 0, 2),
            (key(1, 0), 0, 2),
            (high, 9, 2),
            (key(0, 0), 1, 261),
            (high, 0, 261),
        ];
        let mut tree = StateTree::in_memory();
        let mut at = TreeRef::EMPTY;
        for (step, (key, value, expected)) in steps.into_iter().enumerate() {
            let (hashes, next) = tree.write_proof_hashes(at, &key, value != 0).unwrap();
            assert_eq!(hashes, expected, "step {}", step + 1);
            at = next;
        }
    }

    #[test]
    fn reads_count_branches_and_the_leaf_they_end_at() {
        let mut tree = StateTree::in_memory();
        let entries = &mut [(Digest([0; 4]), U256::from(1)), (Digest([1, 0, 0, 0]), U256::from(2))];
        let at = tree.update(TreeRef::EMPTY, entries).unwrap();
        for (low, expected) in [(0, 3), (2, 3), (3, 3)] {
            assert_eq!(tree.read_proof_hashes(at, &Digest([low, 0, 0, 0])).unwrap(), expected, "key {low}");
        }
        assert_eq!(tree.read_proof_hashes(TreeRef::EMPTY, &Digest([5; 4])).unwrap(), 0);
    }
}
