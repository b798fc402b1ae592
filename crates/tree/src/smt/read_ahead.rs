//! Reading many paths together, level by level: a call to the store per level instead of one per node.

use super::{NodeKind, StateTree, TreeError, TreeRef};
use crate::digest::Digest;
use crate::path::{bit, compare};

impl StateTree<'_> {
    /// Reads the paths of these keys and the values at their ends, so that [`StateTree::get`] and
    /// [`StateTree::update`] find them in memory.
    ///
    /// Fails only if the store does. A node that is missing or corrupt is left unread: the error is that of the access that needs it, if one does.
    pub fn read_ahead(&mut self, at: TreeRef, keys: &mut [Digest]) -> Result<(), TreeError> {
        keys.sort_by(compare);
        // Each place with the keys that pass through it, which stand together.
        let mut level: Vec<(TreeRef, &[Digest])> = vec![(at, keys)];
        let mut values = Vec::new();
        for depth in 0.. {
            level.retain(|(_, keys)| !keys.is_empty());
            if level.is_empty() {
                break;
            }
            self.read_level(&level, depth)?;
            let mut below = Vec::with_capacity(2 * level.len());
            for (at, keys) in level {
                match self.nodes[at.index()].kind {
                    NodeKind::Branch([left, right]) => {
                        let (zeros, ones) = keys.split_at(keys.partition_point(|key| bit(key, depth) == 0));
                        below.extend([(left, zeros), (right, ones)]);
                    }
                    NodeKind::Leaf(index) => values.push(self.leaves[index as usize].value),
                    NodeKind::Empty | NodeKind::Unloaded => {}
                }
            }
            level = below;
        }
        values.retain(|index| self.values[*index as usize].value.is_none());
        let hashes: Vec<Digest> =
            values.iter().map(|index| self.values[*index as usize].hash.unwrap_or_default()).collect();
        for (index, data) in values.into_iter().zip(self.reader.nodes(&hashes)?) {
            let _ = data.map(|data| self.set_value(index, &data));
        }
        Ok(())
    }

    /// Reads what stands at these places, as far as it is not known.
    fn read_level(&mut self, level: &[(TreeRef, &[Digest])], depth: usize) -> Result<(), TreeError> {
        let is_unloaded = |(at, _): &&(TreeRef, &[Digest])| matches!(self.nodes[at.index()].kind, NodeKind::Unloaded);
        let unloaded: Vec<_> = level.iter().filter(is_unloaded).collect();
        let hashes: Vec<Digest> = unloaded.iter().map(|(at, _)| self.hashes[at.index()]).collect();
        if hashes.is_empty() {
            return Ok(());
        }
        for ((at, keys), data) in unloaded.into_iter().zip(self.reader.nodes(&hashes)?) {
            let _ = data.map(|data| self.set_kind(*at, depth, &keys[0], &data));
        }
        Ok(())
    }
}
