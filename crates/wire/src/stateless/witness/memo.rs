//! What nodes of witnesses hash to, remembered: the witnesses of one batch that is sent block by block are much the same.
//!
//! A hash is a function of what is hashed. It is found only by whoever brings all of that, so a request learns nothing of others.

use std::sync::Arc;

use alloy_primitives::{Address, U256};
use foldhash::fast::RandomState;
use quick_cache::Weighter;
use quick_cache::sync::{Cache, DefaultLifecycle};

use zkevm_tree::{Digest, LeafKind};

/// Memory of an entry beside what is hashed and its hashes, estimated.
const ENTRY_BYTES: usize = 48;
/// Of the memory, one in so many parts is for branches, and for programs; the rest is for leaves.
const BRANCHES: usize = 4;
const PROGRAMS: usize = 8;

/// Remembers hashes, up to a number of bytes; what is not asked for gives way. Clones share the memory. The default
/// remembers nothing.
#[derive(Clone, Default)]
pub struct WitnessMemo(Option<Arc<Hashes>>);

struct Hashes {
    leaves: Cache<FoundLeaf, HashedLeaf, quick_cache::UnitWeighter, RandomState>,
    branches: Cache<[Digest; 2], Digest, quick_cache::UnitWeighter, RandomState>,
    programs: Cache<Box<[u8]>, Digest, ProgramWeight, RandomState>,
}

/// A leaf and the level at which it stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct FoundLeaf {
    pub(super) address: Address,
    pub(super) kind: LeafKind,
    pub(super) slot: U256,
    pub(super) value: U256,
    pub(super) level: u16,
}

/// What is hashed of a leaf.
#[derive(Clone, Copy, Default)]
pub(super) struct HashedLeaf {
    pub(super) key: Digest,
    pub(super) value: Digest,
    pub(super) leaf: Digest,
}

#[derive(Clone)]
struct ProgramWeight;

impl Weighter<Box<[u8]>, Digest> for ProgramWeight {
    fn weight(&self, code: &Box<[u8]>, _: &Digest) -> u64 {
        (code.len() + size_of::<Digest>() + ENTRY_BYTES) as u64
    }
}

impl WitnessMemo {
    /// Creates a memo of so many bytes; 0 remembers nothing.
    pub fn new(bytes_max: usize) -> Self {
        if bytes_max == 0 {
            return Self(None);
        }
        let (branches, programs) = (bytes_max / BRANCHES, bytes_max / PROGRAMS);
        let leaves = bytes_max - branches - programs;
        let leaves = leaves / (size_of::<(FoundLeaf, HashedLeaf)>() + ENTRY_BYTES);
        let branches = branches / (size_of::<([Digest; 2], Digest)>() + ENTRY_BYTES);
        fn cache<K: Eq + std::hash::Hash, V: Clone, W: Weighter<K, V> + Clone>(
            items: usize,
            weight: usize,
            weighter: W,
        ) -> Cache<K, V, W, RandomState> {
            Cache::with(items, weight as u64, weighter, RandomState::default(), DefaultLifecycle::default())
        }
        Self(Some(Arc::new(Hashes {
            leaves: cache(leaves, leaves, quick_cache::UnitWeighter),
            branches: cache(branches, branches, quick_cache::UnitWeighter),
            programs: cache(programs >> 12, programs, ProgramWeight),
        })))
    }

    /// Returns the hashes of a leaf, if they are known.
    pub(super) fn leaf(&self, leaf: &FoundLeaf) -> Option<HashedLeaf> {
        self.0.as_ref()?.leaves.get(leaf)
    }

    /// Remembers the hashes of a leaf.
    pub(super) fn insert_leaf(&self, leaf: FoundLeaf, hashed: HashedLeaf) {
        if let Some(hashes) = &self.0 {
            hashes.leaves.insert(leaf, hashed);
        }
    }

    /// Returns the hash of a branch, if it is known.
    pub(super) fn branch(&self, children: &[Digest; 2]) -> Option<Digest> {
        self.0.as_ref()?.branches.get(children)
    }

    /// Remembers the hash of a branch.
    pub(super) fn insert_branch(&self, children: [Digest; 2], hash: Digest) {
        if let Some(hashes) = &self.0 {
            hashes.branches.insert(children, hash);
        }
    }

    /// Returns the hash of a program, if it is known.
    pub(super) fn program(&self, code: &[u8]) -> Option<Digest> {
        self.0.as_ref()?.programs.get(code)
    }

    /// Remembers the hash of a program.
    pub(super) fn insert_program(&self, code: &[u8], hash: Digest) {
        if let Some(hashes) = &self.0 {
            hashes.programs.insert(code.into(), hash);
        }
    }
}

impl std::fmt::Debug for WitnessMemo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = self.0.as_ref().map(|hashes| (hashes.leaves.len(), hashes.branches.len(), hashes.programs.len()));
        f.debug_tuple("WitnessMemo").field(&counts).finish()
    }
}
