//! Where nodes are in the log, for those that the index does not have yet.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use foldhash::fast::RandomState;

use zkevm_tree::Digest;

/// Places by the first limb of the hash, which in practice names one node.
#[derive(Default)]
pub(super) struct Places {
    first: HashMap<u64, u64, RandomState>,
    /// Nodes whose first limb is that of another one in `first`: someone may look for such hashes on purpose.
    twins: HashMap<Digest, u64, RandomState>,
}

/// The limb that an index of places is sorted by, the most significant one.
pub(super) fn prefix(hash: &Digest) -> u64 {
    hash.0[3]
}

impl Places {
    /// Adds a node that is not here yet.
    pub fn add(&mut self, hash: &Digest, place: u64) {
        match self.first.entry(prefix(hash)) {
            Slot::Vacant(slot) => {
                slot.insert(place);
            }
            Slot::Occupied(_) => {
                self.twins.insert(*hash, place);
            }
        }
    }

    /// Returns the places where the node may be, if it is here: what the log has there tells.
    pub fn candidates(&self, hash: &Digest) -> impl Iterator<Item = u64> + use<> {
        let first = self.first.get(&prefix(hash)).copied();
        let twin = first.and_then(|_| self.twins.get(hash).copied());
        first.into_iter().chain(twin)
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.first.len() + self.twins.len()
    }

    /// Returns first limbs and places in the order of an index, without twins.
    pub fn sorted(&self) -> Vec<(u64, u64)> {
        let mut first: Vec<_> = self.first.iter().map(|(prefix, place)| (*prefix, *place)).collect();
        first.sort_unstable();
        first
    }

    /// Returns the twins.
    pub fn twins(&self) -> impl Iterator<Item = (&Digest, u64)> {
        self.twins.iter().map(|(hash, place)| (hash, *place))
    }
}
