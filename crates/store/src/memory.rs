//! Nodes and programs in memory: shards by hash, each under its own lock.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use alloy_primitives::Bytes;
use foldhash::fast::RandomState;
use parking_lot::RwLock;
use serde::Serialize;

use crate::writer::{Durability, StateWriter};
use zkevm_tree::{Digest, NodeData};
use zkevm_tree::{StateReader, StoreError};

/// Number of shards; a power of two.
const SHARDS: usize = 64;
/// What one node costs in memory, map and queue slots included.
const NODE_BYTES: usize = 256;
/// What one program costs beside its code.
const PROGRAM_OVERHEAD_BYTES: usize = 192;

/// The bounds of what a [`MemoryStore`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimits {
    /// Volatile entries beyond this are given up, oldest first.
    pub volatile_bytes_max: usize,
    /// Permanent writes that would go beyond this are refused.
    pub permanent_bytes_max: usize,
}

/// A store in memory. Permanent entries stay, and writes past their bound are refused; volatile ones stay within a budget,
/// oldest given up first.
pub struct MemoryStore {
    shards: Box<[Shard]>,
    limits: MemoryLimits,
    /// Estimated memory of permanent entries, writes under way counted as if all they bring were new.
    permanent_bytes: AtomicUsize,
}

/// The counts of what a [`MemoryStore`] holds and of how often it could answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryStoreStats {
    /// Nodes, permanent and volatile.
    pub nodes: usize,
    /// Programs, permanent and volatile.
    pub programs: usize,
    /// Estimated memory of permanent entries.
    pub permanent_bytes: usize,
    /// Bound of the permanent entries.
    pub permanent_bytes_max: usize,
    /// Estimated memory of volatile entries.
    pub volatile_bytes: usize,
    /// Bound of the volatile entries.
    pub volatile_bytes_max: usize,
    /// Volatile entries given up so far.
    pub evictions: u64,
    /// Reads answered with an entry.
    pub hits: u64,
    /// Reads of unknown entries.
    pub misses: u64,
}

#[derive(Default)]
struct Shard {
    entries: RwLock<ShardEntries>,
    hits: AtomicU64,
    misses: AtomicU64,
}

#[derive(Default)]
struct ShardEntries {
    nodes: HashMap<Digest, MemoryEntry<NodeData>, RandomState>,
    programs: HashMap<Digest, MemoryEntry<Bytes>>,
    /// Volatile entries by age. An item whose write is not the entry's latest is stale.
    queue: VecDeque<(Item, u64)>,
    volatile_count: usize,
    volatile_bytes: usize,
    writes: u64,
    evictions: u64,
}

struct MemoryEntry<T> {
    data: T,
    /// Number of the latest volatile write, `None` once permanent.
    volatile_since: Option<u64>,
}

impl<T> MemoryEntry<T> {
    fn is_permanent(&self) -> bool {
        self.volatile_since.is_none()
    }
}

#[derive(Clone, Copy)]
enum Item {
    Node(Digest),
    Program(Digest),
}

impl MemoryStore {
    /// Creates an empty store whose volatile entries take at most about `volatile_bytes_max`; permanent ones are not bounded.
    pub fn new(volatile_bytes_max: usize) -> Self {
        Self::with_limits(MemoryLimits { volatile_bytes_max, permanent_bytes_max: usize::MAX })
    }

    /// Creates an empty store within limits. They count entries, not what the allocator adds to them.
    pub fn with_limits(limits: MemoryLimits) -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect(), limits, permanent_bytes: AtomicUsize::new(0) }
    }

    /// True if the node is known; it then stays as if it had just been written so.
    ///
    /// Spares the caller the hashing that a write must be preceded by.
    pub fn retain_known_node(&self, hash: &Digest, durability: Durability) -> Result<bool, StoreError> {
        let known = self.shard(hash).entries.read().nodes.get(hash).map(|entry| (entry.data, entry.is_permanent()));
        if let Some((data, false)) = known {
            self.write(&[(*hash, data)], &[], durability)?;
        }
        Ok(known.is_some())
    }

    /// True if the program is known; it then stays as if it had just been written so.
    pub fn retain_known_program(&self, hash: &Digest, durability: Durability) -> Result<bool, StoreError> {
        let shard = self.shard(hash);
        let known = shard.entries.read().programs.get(hash).map(|entry| (entry.data.clone(), entry.is_permanent()));
        let is_known = known.is_some();
        if let Some((code, false)) = known {
            self.write(&[], &[(*hash, code)], durability)?;
        }
        Ok(is_known)
    }

    /// True if any volatile entry may be here.
    pub(super) fn has_volatile(&self) -> bool {
        self.shards.iter().any(|shard| shard.entries.read().volatile_count > 0)
    }

    /// Returns a node if it is volatile. Does not count as a read.
    pub(super) fn volatile_node(&self, hash: &Digest) -> Option<NodeData> {
        let entries = self.shard(hash).entries.read();
        entries.nodes.get(hash).filter(|entry| !entry.is_permanent()).map(|entry| entry.data)
    }

    /// Returns a program if it is volatile. Does not count as a read.
    pub(super) fn volatile_program(&self, hash: &Digest) -> Option<Bytes> {
        let entries = self.shard(hash).entries.read();
        entries.programs.get(hash).filter(|entry| !entry.is_permanent()).map(|entry| entry.data.clone())
    }

    /// Forgets every entry, permanent ones too; counts go on.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            let mut entries = shard.entries.write();
            let evictions = entries.evictions;
            *entries = ShardEntries { evictions, ..ShardEntries::default() };
        }
        self.permanent_bytes.store(0, Relaxed);
    }

    /// Returns counts over all shards; not a snapshot of one instant.
    pub fn stats(&self) -> MemoryStoreStats {
        let mut stats = MemoryStoreStats {
            permanent_bytes: self.permanent_bytes.load(Relaxed),
            permanent_bytes_max: self.limits.permanent_bytes_max,
            volatile_bytes_max: self.limits.volatile_bytes_max,
            ..MemoryStoreStats::default()
        };
        for shard in &self.shards {
            let entries = shard.entries.read();
            stats.nodes += entries.nodes.len();
            stats.programs += entries.programs.len();
            stats.volatile_bytes += entries.volatile_bytes;
            stats.evictions += entries.evictions;
            stats.hits += shard.hits.load(Relaxed);
            stats.misses += shard.misses.load(Relaxed);
        }
        stats
    }

    fn shard(&self, hash: &Digest) -> &Shard {
        &self.shards[shard_index(hash)]
    }

    fn volatile_bytes_max_per_shard(&self) -> usize {
        self.limits.volatile_bytes_max / SHARDS
    }

    /// Takes `bytes` out of what permanent entries may still use, or refuses.
    ///
    /// Done before anything is written, so that a write is made whole or not at all.
    fn reserve(&self, bytes: usize) -> Result<(), StoreError> {
        let bytes_max = self.limits.permanent_bytes_max;
        let fitting = |used: usize| used.checked_add(bytes).filter(|used| *used <= bytes_max);
        match self.permanent_bytes.fetch_update(Relaxed, Relaxed, fitting) {
            Ok(_) => Ok(()),
            Err(_) => Err(StoreError::Full { bytes_max }),
        }
    }
}

fn shard_index(hash: &Digest) -> usize {
    hash.0[0] as usize % SHARDS
}

impl Shard {
    fn count<T>(&self, found: Option<T>) -> Option<T> {
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Relaxed);
        found
    }
}

impl StateReader for MemoryStore {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let shard = self.shard(hash);
        let found = shard.entries.read().nodes.get(hash).map(|entry| entry.data);
        Ok(shard.count(found))
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        let shard = self.shard(hash);
        let found = shard.entries.read().programs.get(hash).map(|entry| entry.data.clone());
        Ok(shard.count(found))
    }
}

impl StateWriter for MemoryStore {
    fn write(
        &self,
        nodes: &[(Digest, NodeData)],
        programs: &[(Digest, Bytes)],
        durability: Durability,
    ) -> Result<(), StoreError> {
        let program_bytes = |code: &Bytes| code.len() + PROGRAM_OVERHEAD_BYTES;
        let reserved = match durability {
            Durability::Permanent => {
                nodes.len() * NODE_BYTES + programs.iter().map(|(_, code)| program_bytes(code)).sum::<usize>()
            }
            Durability::Volatile => 0,
        };
        self.reserve(reserved)?;
        let mut became_permanent = 0;
        // By shard, so that each lock is taken once.
        let mut nodes_by_shard: Vec<Vec<usize>> = vec![Vec::new(); SHARDS];
        for (position, (hash, _)) in nodes.iter().enumerate() {
            nodes_by_shard[shard_index(hash)].push(position);
        }
        for (shard, positions) in self.shards.iter().zip(nodes_by_shard) {
            if positions.is_empty() {
                continue;
            }
            let mut entries = shard.entries.write();
            for position in positions {
                let (hash, data) = nodes[position];
                became_permanent += entries.write_node(hash, data, durability);
            }
            entries.evict(self.volatile_bytes_max_per_shard());
        }
        for (hash, code) in programs {
            let mut entries = self.shard(hash).entries.write();
            became_permanent += entries.write_program(*hash, code, durability);
            entries.evict(self.volatile_bytes_max_per_shard());
        }
        self.permanent_bytes.fetch_sub(reserved - became_permanent, Relaxed);
        Ok(())
    }
}

impl ShardEntries {
    /// Returns the bytes that were not permanent before and are now.
    fn write_node(&mut self, hash: Digest, data: NodeData, durability: Durability) -> usize {
        self.writes += 1;
        let stamp = (durability == Durability::Volatile).then_some(self.writes);
        let before = self.nodes.get(&hash).map(|entry| entry.volatile_since);
        if before == Some(None) {
            return 0;
        }
        self.nodes.insert(hash, MemoryEntry { data, volatile_since: stamp });
        self.account(Item::Node(hash), NODE_BYTES, before.is_some(), stamp)
    }

    /// Returns the bytes that were not permanent before and are now.
    fn write_program(&mut self, hash: Digest, code: &Bytes, durability: Durability) -> usize {
        self.writes += 1;
        let stamp = (durability == Durability::Volatile).then_some(self.writes);
        let before = self.programs.get(&hash).map(|entry| entry.volatile_since);
        if before == Some(None) {
            return 0;
        }
        self.programs.insert(hash, MemoryEntry { data: code.clone(), volatile_since: stamp });
        self.account(Item::Program(hash), code.len() + PROGRAM_OVERHEAD_BYTES, before.is_some(), stamp)
    }

    /// Keeps count and queue right after a write over nothing or over a volatile entry; returns the bytes made permanent.
    fn account(&mut self, item: Item, bytes: usize, was_volatile: bool, stamp: Option<u64>) -> usize {
        if was_volatile {
            self.volatile_count -= 1;
            self.volatile_bytes -= bytes;
        }
        if let Some(stamp) = stamp {
            self.volatile_count += 1;
            self.volatile_bytes += bytes;
            self.queue.push_back((item, stamp));
            return 0;
        }
        bytes
    }

    /// Gives up the oldest volatile entries until the others fit, and stale queue items when they outnumber the rest.
    fn evict(&mut self, volatile_bytes_max: usize) {
        while self.volatile_bytes > volatile_bytes_max {
            let Some((item, stamp)) = self.queue.pop_front() else {
                break;
            };
            if self.is_current(item, stamp) {
                let bytes = match item {
                    Item::Node(hash) => self.nodes.remove(&hash).map(|_| NODE_BYTES),
                    Item::Program(hash) => {
                        self.programs.remove(&hash).map(|entry| entry.data.len() + PROGRAM_OVERHEAD_BYTES)
                    }
                };
                self.volatile_count -= 1;
                self.volatile_bytes -= bytes.unwrap_or(0);
                self.evictions += 1;
            }
        }
        if self.queue.len() > 2 * self.volatile_count + 64 {
            let mut queue = std::mem::take(&mut self.queue);
            queue.retain(|(item, stamp)| self.is_current(*item, *stamp));
            self.queue = queue;
        }
    }

    fn is_current(&self, item: Item, stamp: u64) -> bool {
        let latest = match item {
            Item::Node(hash) => self.nodes.get(&hash).and_then(|entry| entry.volatile_since),
            Item::Program(hash) => self.programs.get(&hash).and_then(|entry| entry.volatile_since),
        };
        latest == Some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that fall into one shard.
    fn hash(number: u64) -> Digest {
        Digest([number * SHARDS as u64, 1, 2, 3])
    }

    fn node(number: u64) -> NodeData {
        [number; 12]
    }

    fn write(store: &MemoryStore, numbers: std::ops::Range<u64>, durability: Durability) {
        let nodes: Vec<_> = numbers.map(|number| (hash(number), node(number))).collect();
        store.write(&nodes, &[], durability).unwrap();
    }

    fn known(store: &MemoryStore, number: u64) -> bool {
        store.node(&hash(number)).unwrap().is_some()
    }

    #[test]
    fn what_was_written_is_read_back_and_counted() {
        let store = MemoryStore::new(1 << 20);
        let code = Bytes::from_static(&[0x60, 0x00]);
        store.write(&[(hash(1), node(1))], &[(hash(2), code.clone())], Durability::Permanent).unwrap();
        assert_eq!(store.node(&hash(1)), Ok(Some(node(1))));
        assert_eq!(store.program(&hash(2)), Ok(Some(code)));
        assert_eq!(store.node(&hash(2)), Ok(None));
        let expected = MemoryStoreStats {
            nodes: 1,
            programs: 1,
            permanent_bytes: NODE_BYTES + PROGRAM_OVERHEAD_BYTES + 2,
            permanent_bytes_max: usize::MAX,
            volatile_bytes_max: 1 << 20,
            hits: 2,
            misses: 1,
            ..Default::default()
        };
        assert_eq!(store.stats(), expected);
    }

    #[test]
    fn oldest_volatile_entries_go_first_and_permanent_ones_never() {
        let store = MemoryStore::new(10 * NODE_BYTES * SHARDS);
        write(&store, 0..1000, Durability::Permanent);
        write(&store, 1000..1010, Durability::Volatile);
        assert!((1000..1010).all(|number| known(&store, number)));
        write(&store, 1010..1013, Durability::Volatile);
        assert!((1000..1003).all(|number| !known(&store, number)));
        assert!((1003..1013).all(|number| known(&store, number)));
        assert!((0..1000).all(|number| known(&store, number)));
        assert_eq!(store.stats().evictions, 3);
        assert_eq!(store.stats().volatile_bytes, 10 * NODE_BYTES);
    }

    #[test]
    fn a_volatile_entry_written_again_is_young_again() {
        let store = MemoryStore::new(10 * NODE_BYTES * SHARDS);
        write(&store, 0..10, Durability::Volatile);
        write(&store, 0..1, Durability::Volatile);
        write(&store, 10..11, Durability::Volatile);
        assert!(known(&store, 0));
        assert!(!known(&store, 1));
    }

    #[test]
    fn a_volatile_entry_written_as_permanent_stays() {
        let store = MemoryStore::new(10 * NODE_BYTES * SHARDS);
        write(&store, 0..10, Durability::Volatile);
        write(&store, 0..5, Durability::Permanent);
        write(&store, 0..5, Durability::Volatile);
        write(&store, 100..200, Durability::Volatile);
        assert!((0..5).all(|number| known(&store, number)));
        assert!((5..10).all(|number| !known(&store, number)));
        assert_eq!(store.stats().volatile_bytes, 10 * NODE_BYTES);
    }

    #[test]
    fn writing_the_same_volatile_entries_over_and_over_does_not_grow_the_queue() {
        let store = MemoryStore::new(10 * NODE_BYTES * SHARDS);
        for _ in 0..1000 {
            write(&store, 0..10, Durability::Volatile);
        }
        assert!(store.shards[0].entries.read().queue.len() <= 2 * 10 + 64);
    }

    fn bounded(permanent_bytes_max: usize) -> MemoryStore {
        MemoryStore::with_limits(MemoryLimits { volatile_bytes_max: 10 * NODE_BYTES * SHARDS, permanent_bytes_max })
    }

    #[test]
    fn permanent_writes_past_the_bound_are_refused_whole_and_volatile_ones_go_on() {
        let bytes_max = 10 * NODE_BYTES;
        let store = bounded(bytes_max);
        write(&store, 0..8, Durability::Permanent);
        let more: Vec<_> = (8..11).map(|number| (hash(number), node(number))).collect();
        assert_eq!(store.write(&more, &[], Durability::Permanent), Err(StoreError::Full { bytes_max }));
        assert!((8..11).all(|number| !known(&store, number)));
        assert_eq!(store.stats().permanent_bytes, 8 * NODE_BYTES);
        write(&store, 8..11, Durability::Volatile);
        assert!((0..11).all(|number| known(&store, number)));
        write(&store, 8..10, Durability::Permanent);
        assert_eq!(store.stats().permanent_bytes, bytes_max);
        assert_eq!(store.retain_known_node(&hash(10), Durability::Permanent), Err(StoreError::Full { bytes_max }));
        assert_eq!(store.retain_known_node(&hash(9), Durability::Permanent), Ok(true));
    }

    #[test]
    fn permanent_entries_are_counted_once() {
        let store = bounded(usize::MAX);
        let code = Bytes::from_static(&[1, 2, 3]);
        for _ in 0..3 {
            write(&store, 0..4, Durability::Permanent);
            store.write(&[], &[(hash(9), code.clone())], Durability::Permanent).unwrap();
        }
        assert_eq!(store.stats().permanent_bytes, 4 * NODE_BYTES + PROGRAM_OVERHEAD_BYTES + 3);
    }

    #[test]
    fn known_entries_are_made_young_or_permanent_without_their_data() {
        let store = bounded(usize::MAX);
        assert_eq!(store.retain_known_node(&hash(0), Durability::Permanent), Ok(false));
        assert_eq!(store.retain_known_program(&hash(0), Durability::Permanent), Ok(false));
        write(&store, 0..10, Durability::Volatile);
        assert_eq!(store.retain_known_node(&hash(0), Durability::Volatile), Ok(true));
        assert_eq!(store.retain_known_node(&hash(1), Durability::Permanent), Ok(true));
        write(&store, 10..12, Durability::Volatile);
        assert!(known(&store, 0) && known(&store, 1) && !known(&store, 2));
        assert_eq!(store.stats().permanent_bytes, NODE_BYTES);
        store.write(&[], &[(hash(20), Bytes::from_static(&[7]))], Durability::Volatile).unwrap();
        assert_eq!(store.retain_known_program(&hash(20), Durability::Permanent), Ok(true));
        assert_eq!(store.stats().permanent_bytes, NODE_BYTES + PROGRAM_OVERHEAD_BYTES + 1);
    }

    #[test]
    fn volatile_programs_count_by_their_length() {
        let store = MemoryStore::new(1000 * SHARDS);
        for number in 0..3 {
            let code = Bytes::from(vec![number as u8; 500]);
            store.write(&[], &[(hash(number), code)], Durability::Volatile).unwrap();
        }
        assert_eq!(store.program(&hash(0)), Ok(None));
        assert_eq!(store.program(&hash(1)), Ok(None));
        assert!(store.program(&hash(2)).unwrap().is_some());
    }
}
