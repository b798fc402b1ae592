//! The read cache: nodes and programs that are in the database, or on their way there.
//!
//! Shards by hash, each with a budget in bytes and the CLOCK rule: an entry read since the hand last passed it gets
//! another round. The upper levels of the tree, read by every batch, so stay.

use std::collections::hash_map::Entry as Place;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use foldhash::fast::RandomState;
use parking_lot::RwLock;
use revm::primitives::Bytes;
use serde::Serialize;

use crate::tree::{Digest, NodeData};

/// Number of shards; a power of two.
const SHARDS: usize = 64;
/// What one node costs in memory, map and clock slots included.
const NODE_BYTES: usize = 256;
/// What one program costs beside its code.
const PROGRAM_OVERHEAD_BYTES: usize = 192;
/// Share of the budget programs may take: one in this many.
const PROGRAM_SHARE: usize = 8;

/// What a cache did since the start.
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
}

impl ReadCache {
    /// Creates an empty cache of about `bytes_max`, an eighth of it for programs.
    pub fn new(bytes_max: usize) -> Self {
        let programs = bytes_max / PROGRAM_SHARE;
        Self { nodes: shards(bytes_max - programs), programs: shards(programs), bytes_max }
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

    /// Keeps a node.
    pub fn put_node(&self, hash: Digest, node: NodeData) {
        self.nodes[shard_index(&hash)].put(hash, node, NODE_BYTES);
    }

    /// Keeps a program.
    pub fn put_program(&self, hash: Digest, code: Bytes) {
        let bytes = code.len() + PROGRAM_OVERHEAD_BYTES;
        self.programs[shard_index(&hash)].put(hash, code, bytes);
    }

    /// Forgets everything; counts go on.
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
    entries: HashMap<Digest, Entry<T>, RandomState>,
    /// Entries in the order the hand passes them.
    clock: VecDeque<Digest>,
    bytes: usize,
}

struct Entry<T> {
    data: T,
    bytes: usize,
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

    fn put(&self, hash: Digest, data: T, bytes: usize) {
        if bytes > self.bytes_max {
            return;
        }
        let mut ring = self.ring.write();
        match ring.entries.entry(hash) {
            Place::Occupied(_) => return,
            Place::Vacant(place) => place.insert(Entry { data, bytes, read: AtomicBool::new(false) }),
        };
        ring.clock.push_back(hash);
        ring.bytes += bytes;
        ring.shrink(self.bytes_max);
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
    /// Passes the hand until the rest fits. Ends: each pass clears a mark or removes an entry.
    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some(hash) = self.clock.pop_front() else { return };
            let Some(entry) = self.entries.get_mut(&hash) else { continue };
            if std::mem::take(entry.read.get_mut()) {
                self.clock.push_back(hash);
            } else {
                self.bytes -= entry.bytes;
                self.entries.remove(&hash);
            }
        }
    }
}

/// Entries by hash with the number of queued sets each is in: readable until the last of those is stored.
pub(super) struct PendingEntries<T> {
    shards: Box<[RwLock<Counted<T>>]>,
}

/// Entries with the number of sets.
type Counted<T> = HashMap<Digest, (T, u32), RandomState>;

impl<T: Clone> PendingEntries<T> {
    pub(super) fn new() -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect() }
    }

    pub(super) fn get(&self, hash: &Digest) -> Option<T> {
        self.shards[shard_index(hash)].read().get(hash).map(|(data, _)| data.clone())
    }

    pub(super) fn add(&self, entries: &[(Digest, T)]) {
        for (hash, data) in entries {
            let mut shard = self.shards[shard_index(hash)].write();
            shard.entry(*hash).or_insert_with(|| (data.clone(), 0)).1 += 1;
        }
    }

    pub(super) fn remove(&self, entries: &[(Digest, T)]) {
        for (hash, _) in entries {
            let mut shard = self.shards[shard_index(hash)].write();
            if let Place::Occupied(mut place) = shard.entry(*hash) {
                place.get_mut().1 -= 1;
                if place.get().1 == 0 {
                    place.remove();
                }
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
        let cache =
            ReadCache::new(4 * NODE_BYTES * SHARDS * PROGRAM_SHARE / (PROGRAM_SHARE - 1) + SHARDS * PROGRAM_SHARE);
        (0..4).for_each(|number| cache.put_node(hash(number), [number; 12]));
        assert_eq!(cache.node(&hash(0)), Some([0; 12]));
        (4..7).for_each(|number| cache.put_node(hash(number), [number; 12]));
        let left: Vec<u64> = (0..7).filter(|number| cache.has_node(&hash(*number))).collect();
        assert_eq!(left, [0, 4, 5, 6]);
        let stats = cache.stats();
        assert_eq!((stats.hits, stats.misses, stats.bytes), (1, 0, 4 * NODE_BYTES));
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
    fn pending_entries_stay_until_their_last_set_is_stored() {
        let pending = PendingEntries::new();
        let set = [(hash(1), [1; 12])];
        pending.add(&set);
        pending.add(&set);
        pending.remove(&set);
        assert_eq!(pending.get(&hash(1)), Some([1; 12]));
        pending.remove(&set);
        assert_eq!(pending.get(&hash(1)), None);
    }
}
