//! Offsets of nodes in the log, for those that the redb index does not have yet.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use foldhash::fast::RandomState;

use zkevm_tree::Digest;

/// Offsets by the first limb of the hash, which in practice names one node.
#[derive(Default)]
pub(super) struct OffsetIndex {
    first: HashMap<u64, u64, RandomState>,
    /// Nodes whose first limb is that of another one in `first`: someone may look for such hashes on purpose.
    collisions: HashMap<Digest, u64, RandomState>,
}

/// Returns the limb that an index is sorted by, the most significant one.
pub(super) fn prefix(hash: &Digest) -> u64 {
    hash.0[3]
}

impl OffsetIndex {
    /// Adds a node that is not here yet.
    pub(super) fn add(&mut self, hash: &Digest, offset: u64) {
        match self.first.entry(prefix(hash)) {
            Entry::Vacant(slot) => {
                slot.insert(offset);
            }
            Entry::Occupied(_) => {
                self.collisions.insert(*hash, offset);
            }
        }
    }

    /// Returns the offsets where the node may be, if it is here: the log tells which.
    pub(super) fn candidates(&self, hash: &Digest) -> impl Iterator<Item = u64> + use<> {
        let first = self.first.get(&prefix(hash)).copied();
        let collision = first.and_then(|_| self.collisions.get(hash).copied());
        first.into_iter().chain(collision)
    }

    /// Returns the number of nodes.
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.collisions.len()
    }

    /// Returns prefixes and offsets in the order of the redb index, without collisions.
    pub(super) fn sorted(&self) -> Vec<(u64, u64)> {
        let mut first: Vec<_> = self.first.iter().map(|(prefix, offset)| (*prefix, *offset)).collect();
        first.sort_unstable();
        first
    }

    /// Returns the nodes whose prefix is another one's.
    pub(super) fn collisions(&self) -> impl Iterator<Item = (&Digest, u64)> {
        self.collisions.iter().map(|(hash, offset)| (hash, *offset))
    }
}
