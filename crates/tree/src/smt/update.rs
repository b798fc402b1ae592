//! Bulk updates in canonical form: one pass over the sorted writes rebuilds each touched node once (state-tree §7).

use alloy_primitives::U256;

use super::{Corruption, Leaf, NodeKind, Origin, StateTree, TreeError, TreeRef, Value, push};
use crate::digest::Digest;
use crate::keys::small_value_hash;
use crate::path::{KEY_BITS, bit, compare};

impl StateTree<'_> {
    /// Returns the version with these values set; a zero deletes. Values that do not change anything give the same
    /// version back.
    ///
    /// Sorts the writes by their place in the tree. Of several writes to one key the last counts. On error the tree
    /// and all versions are as before.
    pub fn update(&mut self, at: TreeRef, writes: &mut [(Digest, U256)]) -> Result<TreeRef, TreeError> {
        writes.sort_by(|(a, _), (b, _)| compare(a, b));
        // Each write makes at most one node per level, a leaf lifted from there, and loads the sibling.
        self.check_room(writes.len().saturating_mul(4 * KEY_BITS))?;
        if writes.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            let distinct: Vec<_> = (0..writes.len())
                .filter(|&i| i + 1 == writes.len() || writes[i].0 != writes[i + 1].0)
                .map(|i| writes[i])
                .collect();
            return self.update_at(at, 0, &distinct);
        }
        self.update_at(at, 0, writes)
    }

    /// Rebuilds one place and what is below it. `writes` are sorted, distinct and all pass through the place.
    fn update_at(&mut self, at: TreeRef, depth: usize, writes: &[(Digest, U256)]) -> Result<TreeRef, TreeError> {
        let Some((path, _)) = writes.first() else {
            return Ok(at);
        };
        match self.load(at, depth, path)? {
            NodeKind::Branch(children) => self.update_branch(at, children, depth, writes),
            NodeKind::Leaf(index) => self.update_leaf(at, self.leaves[index as usize], depth, writes),
            NodeKind::Empty | NodeKind::Unloaded => {
                let entries = self.entries(writes, None);
                Ok(self.build(&entries, depth))
            }
        }
    }

    fn update_branch(
        &mut self,
        at: TreeRef,
        children: [TreeRef; 2],
        depth: usize,
        writes: &[(Digest, U256)],
    ) -> Result<TreeRef, TreeError> {
        let path = writes[0].0;
        let (left, right) = writes.split_at(writes.partition_point(|(key, _)| bit(key, depth) == 0));
        let updated = [self.update_at(children[0], depth + 1, left)?, self.update_at(children[1], depth + 1, right)?];
        if updated == children {
            return Ok(at);
        }
        // Without this check a tree that is not canonical would get a root that depends on its history.
        for side in 0..2 {
            if children[side].is_empty() && self.leaf(children[1 - side]).is_some() {
                return Err(TreeError::CorruptNode(self.hashes[at.index()], Corruption::LoneLeaf));
            }
        }
        let only_child = match updated {
            [TreeRef::EMPTY, TreeRef::EMPTY] => return Ok(TreeRef::EMPTY),
            [TreeRef::EMPTY, child] => (child, 1),
            [child, TreeRef::EMPTY] => (child, 0),
            both => return Ok(self.push_created(NodeKind::Branch(both))),
        };
        // A branch stays below its one-child parent; a leaf rises to where its path is unique, level by level.
        let (child, side) = only_child;
        match self.load(child, depth + 1, &with_bit(&path, depth, side))? {
            NodeKind::Leaf(index) => {
                let leaf = self.leaves[index as usize];
                Ok(self.push_leaf(leaf.key, leaf.value, depth))
            }
            _ => Ok(self.push_created(NodeKind::Branch(updated))),
        }
    }

    fn update_leaf(
        &mut self,
        at: TreeRef,
        leaf: Leaf,
        depth: usize,
        writes: &[(Digest, U256)],
    ) -> Result<TreeRef, TreeError> {
        let own = writes.iter().find(|(key, _)| *key == leaf.key);
        let kept = match own {
            Some((_, value)) if *value == self.value(leaf.value)? => Some(leaf),
            Some(_) => None,
            None => Some(leaf),
        };
        let entries = self.entries(writes, kept);
        match (&entries[..], kept) {
            ([_], Some(_)) => Ok(at),
            _ => Ok(self.build(&entries, depth)),
        }
    }

    /// Returns the leaves that stand after the writes, in order: those with a value, and the one kept.
    fn entries(&mut self, writes: &[(Digest, U256)], kept: Option<Leaf>) -> Vec<(Digest, u32)> {
        let mut entries = Vec::with_capacity(writes.len() + 1);
        for (key, value) in writes {
            if !value.is_zero() && kept.is_none_or(|leaf| leaf.key != *key) {
                entries.push((*key, self.push_value(*value)));
            }
        }
        if let Some(leaf) = kept {
            let place = entries.partition_point(|(key, _)| compare(key, &leaf.key).is_lt());
            entries.insert(place, (leaf.key, leaf.value));
        }
        entries
    }

    /// Builds a subtree of sorted, distinct leaves.
    fn build(&mut self, entries: &[(Digest, u32)], depth: usize) -> TreeRef {
        match entries {
            [] => TreeRef::EMPTY,
            [(key, value)] => self.push_leaf(*key, *value, depth),
            _ => {
                let (left, right) = entries.split_at(entries.partition_point(|(key, _)| bit(key, depth) == 0));
                let children = [self.build(left, depth + 1), self.build(right, depth + 1)];
                self.push_created(NodeKind::Branch(children))
            }
        }
    }

    fn push_leaf(&mut self, key: Digest, value: u32, depth: usize) -> TreeRef {
        let leaf = push(&mut self.leaves, Leaf { key, value, depth: depth as u16 });
        self.push_created(NodeKind::Leaf(leaf))
    }

    fn push_value(&mut self, value: U256) -> u32 {
        push(
            &mut self.values,
            Value {
                value: Some(value),
                hash: small_value_hash(value),
                origin: Origin::Created,
                root_of: TreeRef::EMPTY,
            },
        )
    }
}

/// Returns the key with the bit of one level set to `side`.
pub(super) fn with_bit(key: &Digest, level: usize, side: usize) -> Digest {
    let mut changed = *key;
    let mask = 1 << (level / 4);
    match side {
        0 => changed.0[level % 4] &= !mask,
        _ => changed.0[level % 4] |= mask,
    }
    changed
}
