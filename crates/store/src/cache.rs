//! The read cache: nodes and programs that are in the database, or on their way there.
//!
//! Shards by hash, each with a budget in bytes and the CLOCK rule: an entry read since the hand last passed it gets
//! another round. The upper levels of the tree, read by every batch, so stay. An entry that is not stored yet is nowhere
//! else, and stays whatever the budget says.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use alloy_primitives::Bytes;
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use serde::Serialize;

use crate::database::{CACHED_NODE_BYTES, WriteSet};
use zkevm_tree::{Digest, NodeData};

/// Number of shards; a power of two.
const SHARDS: usize = 64;
/// What one program costs beside its code.
const PROGRAM_OVERHEAD_BYTES: usize = 192;
/// Share of the budget programs may take: one in this many.
const PROGRAM_SHARE: usize = 8;
/// Entries that are not stored yet and that the hand passes before it gives up: there may be nothing else.
const PASSED_MAX: usize = 4;
/// Number of the set of an entry that came from the database.
const STORED: u64 = 0;

/// The counts of a cache since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CacheStats {
    /// Reads answered.
    pub hits: u64,
    /// Reads that went on to the database.
    pub misses: u64,
    /// Estimated bytes held.
    pub bytes: usize,
    /// Bound on the bytes.
    pub bytes_max: usize,
}

/// A cache over a database.
pub struct ReadCache {
    nodes: Box<[Shard<NodeData>]>,
    programs: Box<[Shard<Bytes>]>,
    bytes_max: usize,
    /// Number of the last set that is stored; all before it are.
    stored: AtomicU64,
}

impl ReadCache {
    /// Creates an empty cache of about `bytes_max`, an eighth of it for programs.
    pub fn new(bytes_max: usize) -> Self {
        let programs = bytes_max / PROGRAM_SHARE;
        Self { nodes: shards(bytes_max - programs), programs: shards(programs), bytes_max, stored: AtomicU64::new(0) }
    }

    /// Returns a node if it is here.
    pub fn node(&self, hash: &Digest) -> Option<NodeData> {
        self.nodes[shard_index(hash)].get(hash)
    }

    /// Returns a program if it is here.
    pub fn program(&self, hash: &Digest) -> Option<Bytes> {
        self.programs[shard_index(hash)].get(hash)
    }

    /// True if the node is here. Does not count as a read.
    pub fn has_node(&self, hash: &Digest) -> bool {
        self.nodes[shard_index(hash)].ring.read().entries.contains_key(hash)
    }

    /// True if the program is here. Does not count as a read.
    pub fn has_program(&self, hash: &Digest) -> bool {
        self.programs[shard_index(hash)].ring.read().entries.contains_key(hash)
    }

    /// Adds a node of the database.
    pub fn put_node(&self, hash: Digest, node: NodeData) {
        self.put_node_of(hash, node, STORED);
    }

    /// Adds a program of the database.
    pub fn put_program(&self, hash: Digest, code: Bytes) {
        self.put_program_of(hash, code, STORED);
    }

    /// Adds the entries of a queued set, which stay at least until [`Self::set_stored`] has come to its number. Numbers begin with
    /// 1.
    pub fn put_queued(&self, set: &WriteSet, number: u64) {
        set.nodes.iter().for_each(|(hash, node)| self.put_node_of(*hash, *node, number));
        set.programs.iter().for_each(|(hash, code)| self.put_program_of(*hash, code.clone(), number));
    }

    /// Notes that all sets up to this number are in the database.
    pub fn set_stored(&self, number: u64) {
        self.stored.store(number, Release);
    }

    fn put_node_of(&self, hash: Digest, node: NodeData, number: u64) {
        self.nodes[shard_index(&hash)].put(hash, node, CACHED_NODE_BYTES, number, &self.stored);
    }

    fn put_program_of(&self, hash: Digest, code: Bytes, number: u64) {
        let bytes = code.len() + PROGRAM_OVERHEAD_BYTES;
        self.programs[shard_index(&hash)].put(hash, code, bytes, number, &self.stored);
    }

    /// Removes everything; counts go on.
    pub fn clear(&self) {
        self.nodes.iter().for_each(|shard| *shard.ring.write() = Ring::default());
        self.programs.iter().for_each(|shard| *shard.ring.write() = Ring::default());
    }

    /// Returns counts over all shards; not a snapshot of one instant.
    pub fn stats(&self) -> CacheStats {
        let mut stats = CacheStats { bytes_max: self.bytes_max, ..CacheStats::default() };
        self.nodes.iter().for_each(|shard| shard.add_to(&mut stats));
        self.programs.iter().for_each(|shard| shard.add_to(&mut stats));
        stats
    }
}

fn shard_index(hash: &Digest) -> usize {
    hash.0[1] as usize % SHARDS
}

fn shards<T>(bytes_max: usize) -> Box<[Shard<T>]> {
    (0..SHARDS)
        .map(|_| Shard {
            ring: RwLock::new(Ring::default()),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            bytes_max: bytes_max / SHARDS,
        })
        .collect()
}

struct Shard<T> {
    ring: RwLock<Ring<T>>,
    hits: AtomicU64,
    misses: AtomicU64,
    bytes_max: usize,
}

struct Ring<T> {
    entries: HashMap<Digest, CacheEntry<T>, RandomState>,
    /// Entries in the order the hand passes them.
    clock: VecDeque<Digest>,
    bytes: usize,
}

struct CacheEntry<T> {
    data: T,
    bytes: usize,
    /// Number of the set it came with, or [`STORED`].
    number: u64,
    read: AtomicBool,
}

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self { entries: HashMap::default(), clock: VecDeque::new(), bytes: 0 }
    }
}

impl<T: Clone> Shard<T> {
    fn get(&self, hash: &Digest) -> Option<T> {
        let ring = self.ring.read();
        let Some(entry) = ring.entries.get(hash) else {
            self.misses.fetch_add(1, Relaxed);
            return None;
        };
        if !entry.read.load(Relaxed) {
            entry.read.store(true, Relaxed);
        }
        self.hits.fetch_add(1, Relaxed);
        Some(entry.data.clone())
    }

    fn put(&self, hash: Digest, data: T, bytes: usize, number: u64, stored: &AtomicU64) {
        if bytes > self.bytes_max && number == STORED {
            return;
        }
        let mut ring = self.ring.write();
        match ring.entries.entry(hash) {
            // Stored already, or queued before: then it is stored no later.
            Entry::Occupied(_) => return,
            Entry::Vacant(vacant) => vacant.insert(CacheEntry { data, bytes, number, read: AtomicBool::new(false) }),
        };
        ring.clock.push_back(hash);
        ring.bytes += bytes;
        ring.shrink(self.bytes_max, stored);
    }
}

impl<T> Shard<T> {
    fn add_to(&self, stats: &mut CacheStats) {
        stats.hits += self.hits.load(Relaxed);
        stats.misses += self.misses.load(Relaxed);
        stats.bytes += self.ring.read().bytes;
    }
}

impl<T> Ring<T> {
    /// Passes the hand until the rest fits. Ends: each pass clears a mark, removes an entry or is one of a few.
    fn shrink(&mut self, bytes_max: usize, stored: &AtomicU64) {
        let mut passed = 0;
        while self.bytes > bytes_max && passed < PASSED_MAX {
            let Some(hash) = self.clock.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&hash) else { continue };
            if entry.number > stored.load(Acquire) {
                passed += 1;
                self.clock.push_back(hash);
            } else if std::mem::take(entry.read.get_mut()) {
                self.clock.push_back(hash);
            } else {
                self.bytes -= entry.bytes;
                self.entries.remove(&hash);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that fall into one shard.
    fn hash(number: u64) -> Digest {
        Digest([number, 0, 2, 3])
    }

    #[test]
    fn entries_read_since_the_last_pass_outlive_others() {
        let cache = ReadCache::new(
            4 * CACHED_NODE_BYTES * SHARDS * PROGRAM_SHARE / (PROGRAM_SHARE - 1) + SHARDS * PROGRAM_SHARE,
        );
        (0..4).for_each(|number| cache.put_node(hash(number), [number; 12]));
        assert_eq!(cache.node(&hash(0)), Some([0; 12]));
        (4..7).for_each(|number| cache.put_node(hash(number), [number; 12]));
        let left: Vec<u64> = (0..7).filter(|number| cache.has_node(&hash(*number))).collect();
        assert_eq!(left, [0, 4, 5, 6]);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.bytes), (1, 0, 4 * CACHED_NODE_BYTES));
        cache.clear();
        assert_eq!(cache.node(&hash(0)), None);
        assert_eq!(cache.stats().bytes, 0);
    }

    #[test]
    fn what_does_not_fit_is_not_kept() {
        let cache = ReadCache::new(SHARDS * PROGRAM_SHARE * 1000);
        cache.put_program(hash(1), Bytes::from(vec![0; 1000]));
        cache.put_program(hash(2), Bytes::from(vec![0; 500]));
        assert!(!cache.has_program(&hash(1)));
        assert_eq!(cache.program(&hash(2)), Some(Bytes::from(vec![0; 500])));
    }

    #[test]
    fn what_is_not_stored_stays_past_the_budget_until_it_is() {
        let cache = ReadCache::new(SHARDS * PROGRAM_SHARE * CACHED_NODE_BYTES * 4 / (PROGRAM_SHARE - 1));
        let set = |numbers: std::ops::Range<u64>| WriteSet {
            nodes: numbers.map(|number| (hash(number), [number; 12])).collect(),
            programs: vec![(hash(1), Bytes::from(vec![0; 1000]))],
            latest_root: None,
        };
        cache.put_queued(&set(0..20), 1);
        cache.put_queued(&set(10..40), 2);
        let nodes_left = |cache: &ReadCache| (0..40).filter(|number| cache.has_node(&hash(*number))).count();
        assert_eq!(nodes_left(&cache), 40);
        assert!(cache.has_program(&hash(1)), "larger than its shard");
        cache.set_stored(1);
        cache.put_node(hash(50), [0; 12]);
        assert!((20..40).all(|number| cache.has_node(&hash(number))));
        cache.set_stored(2);
        // Each new entry makes room for itself and goes on.
        (60..70).for_each(|number| cache.put_node(hash(number), [0; 12]));
        assert!(nodes_left(&cache) <= 4);
    }
}
