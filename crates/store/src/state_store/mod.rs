//! The state of the service: permanent in a database (or in memory), volatile in memory.
//!
//! ```text
//! read:   cache, with all that is queued → volatile → database (→ cache)
//! write:  permanent → queue → writer → database       volatile → memory, within its budget
//! ```
//!
//! Without a database everything stays in this process, and flushes count as stored at once.

mod integrity;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::Bytes;
use parking_lot::Mutex;
use serde::Serialize;

use self::integrity::Integrity;
pub use self::integrity::{IntegrityStats, VerifiedReader};
use crate::cache::{CacheStats, ReadCache};
use crate::database::{Database, Entry, WriteSet};
use crate::flush::{FlushGroup, FlushQueue, FlushStatus, QueueLimits};
use crate::memory::{MemoryLimits, MemoryStore, MemoryStoreStats};
use crate::overlay::{NODES_TOGETHER, canonical_nodes, verified_nodes_while, verified_programs_while};
use crate::writer::{Durability, StateWriter};
use zkevm_tree::keys::value_from_limbs;
use zkevm_tree::{Digest, NodeData, SentNodes, StateReader, StoreError};
use zkevm_types::FlushIds;

/// Sizes and mode of a [`StateStore`] over a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DurableOptions {
    /// Budget of volatile entries.
    pub volatile_bytes_max: usize,
    /// Budget of the read cache.
    pub cache_bytes_max: usize,
    /// Bounds of the write queue.
    pub queue: QueueLimits,
}

/// The counts of what a [`StateStore`] holds and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StateStats {
    /// Entries in memory: volatile ones, and without a database all.
    #[serde(rename = "state")]
    pub memory: MemoryStoreStats,
    /// The read cache; zeros without a database.
    pub cache: CacheStats,
    /// Flush ids and the queue.
    pub flush: FlushStatus,
    /// Entries that do not have their hash.
    pub integrity: IntegrityStats,
}

/// Nodes and programs of the service.
pub struct StateStore {
    memory: MemoryStore,
    tier: Option<DatabaseTier>,
    queue: FlushQueue,
    /// Latest permanent root, without a database.
    latest_root: Mutex<Digest>,
    /// Group stored last, for those who follow along.
    latest_group: Mutex<Option<Arc<FlushGroup>>>,
    read_only: bool,
    integrity: Integrity,
}

/// A database and the cache in front of it. All of it is permanent: in the database or in the queue.
struct DatabaseTier {
    database: Arc<dyn Database>,
    cache: ReadCache,
}

/// Nodes and programs that a request brought along.
#[derive(Clone, Copy, Debug)]
pub struct WitnessEntries<'a> {
    /// Nodes by the hash they are said to have.
    pub nodes: &'a SentNodes,
    /// Programs by the Poseidon code hash they are said to have.
    pub programs: &'a HashMap<Digest, Bytes>,
    /// True if the keys were found by hashing the entries.
    pub verified: bool,
}

/// The outcome of one step of the writer.
#[derive(Debug)]
pub enum WriterStep {
    /// A group is stored.
    Stored {
        /// The time the database took.
        took: Duration,
    },
    /// The group could not be stored; it is tried again with the next step.
    Failed {
        /// Last flush id of the group.
        flush_id: u64,
        /// The reason.
        error: StoreError,
    },
    /// The queue is closed and empty.
    Closed,
}

impl StateStore {
    /// Creates a store that holds everything in this process.
    pub fn in_memory(limits: MemoryLimits) -> Self {
        Self {
            memory: MemoryStore::with_limits(limits),
            tier: None,
            queue: FlushQueue::new(QueueLimits::default()),
            latest_root: Mutex::default(),
            latest_group: Mutex::default(),
            read_only: false,
            integrity: Integrity::default(),
        }
    }

    /// Creates a store over a database. Somebody must call [`Self::write_next`] in a loop.
    pub fn over(database: Arc<dyn Database>, options: DurableOptions) -> Result<Self, StoreError> {
        // Now rather than with the first request: a database that cannot be read refuses the start.
        database.latest_root()?;
        let limits = MemoryLimits { volatile_bytes_max: options.volatile_bytes_max, permanent_bytes_max: 0 };
        Ok(Self {
            memory: MemoryStore::with_limits(limits),
            queue: FlushQueue::new(options.queue),
            latest_root: Mutex::default(),
            latest_group: Mutex::default(),
            read_only: false,
            integrity: Integrity::default(),
            tier: Some(DatabaseTier { database, cache: ReadCache::new(options.cache_bytes_max) }),
        })
    }

    /// Makes everything volatile from now on, with flush ids of zero (hashdb-service §9).
    pub fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Persists a set, or holds it if it is volatile, and takes `flushes` new flush ids, all zero in read-only mode.
    ///
    /// The set is readable when this returns, and a permanent one is stored once the stored id reaches the one returned. Nodes
    /// that it refers to and that so far are volatile become permanent with it.
    ///
    /// Fails, leaving everything as it was, if memory or the queue have no room.
    pub fn persist(&self, mut set: WriteSet, durability: Durability, flushes: u64) -> Result<FlushIds, StoreError> {
        if self.read_only || durability == Durability::Volatile {
            self.write_volatile(&set)?;
            set = WriteSet::default();
        } else {
            self.include_referenced(&mut set);
        }
        if self.read_only {
            return Ok(FlushIds::default());
        }
        let ids = match &self.tier {
            None => {
                self.memory.write(&set.nodes, &set.programs, Durability::Permanent)?;
                if let Some(root) = set.latest_root {
                    *self.latest_root.lock() = root;
                }
                self.queue.submit(Arc::default(), flushes)?.0
            }
            Some(tier) => {
                tier.leave_out_known(&mut set);
                // What waits is counted by what is in it.
                set.nodes.shrink_to_fit();
                set.programs.shrink_to_fit();
                let set = Arc::new(set);
                let (ids, number) = self.queue.submit(Arc::clone(&set), flushes)?;
                // Only now: whoever finds an entry in the cache may rely on its being queued already.
                tier.cache.put_queued(&set, number);
                ids
            }
        };
        Ok(ids)
    }

    fn write_volatile(&self, set: &WriteSet) -> Result<(), StoreError> {
        let tier = |hash: &Digest| self.tier.as_ref().is_some_and(|tier| tier.cache.has_node(hash));
        let nodes: Vec<_> = set.nodes.iter().filter(|(hash, _)| !tier(hash)).copied().collect();
        self.memory.write(&nodes, &set.programs, Durability::Volatile)
    }

    /// Adds what the set's nodes refer to and only volatile memory holds: a permanent batch may start from the root of a
    /// volatile one.
    fn include_referenced(&self, set: &mut WriteSet) {
        if !self.memory.has_volatile() {
            return;
        }
        let mut present: HashSet<Digest> = set.nodes.iter().map(|(hash, _)| *hash).collect();
        present.extend(set.programs.iter().map(|(hash, _)| *hash));
        let mut next = 0;
        while let Some((_, node)) = set.nodes.get(next) {
            next += 1;
            let (children, program) = references(node);
            for child in children {
                if let Some(data) = self.memory.volatile_node(&child)
                    && present.insert(child)
                {
                    set.nodes.push((child, data));
                }
            }
            if let Some(hash) = program
                && let Some(code) = self.memory.volatile_program(&hash)
                && present.insert(hash)
            {
                set.programs.push((hash, code));
            }
        }
    }

    /// Returns the entries of a request that have their hash and are not here yet (executor-service §5.8).
    ///
    /// Entries that are here already had their hash when they came and are not hashed again. Asks `goes_on` every few
    /// milliseconds, and gives up with `None` if told so.
    pub fn unknown_entries(
        &self,
        entries: WitnessEntries<'_>,
        durability: Durability,
        goes_on: &mut dyn FnMut() -> bool,
    ) -> Result<Option<WriteSet>, StoreError> {
        let mut set = WriteSet::default();
        let mut new_nodes = Vec::new();
        for (at, node) in entries.nodes.iter().enumerate() {
            if at % NODES_TOGETHER == 0 && !goes_on() {
                return Ok(None);
            }
            if !self.retain_known_node(node.0, durability, &mut set)? {
                new_nodes.push(node);
            }
        }
        let mut new_programs = Vec::new();
        for (at, program) in entries.programs.iter().enumerate() {
            if at % NODES_TOGETHER == 0 && !goes_on() {
                return Ok(None);
            }
            if !self.retain_known_program(program.0, durability, &mut set)? {
                new_programs.push(program);
            }
        }
        if entries.verified {
            set.nodes.extend(canonical_nodes(new_nodes));
            set.programs.extend(new_programs.into_iter().map(|(hash, code)| (*hash, code.clone())));
        } else {
            let nodes = verified_nodes_while(new_nodes, goes_on);
            let Some((nodes, programs)) = nodes.zip(verified_programs_while(new_programs, goes_on)) else {
                return Ok(None);
            };
            set.nodes.extend(nodes);
            set.programs.extend(programs);
        }
        Ok(Some(set))
    }

    fn retain_known_node(&self, hash: &Digest, durability: Durability, set: &mut WriteSet) -> Result<bool, StoreError> {
        let Some(tier) = &self.tier else { return self.memory.retain_known_node(hash, durability) };
        if tier.cache.has_node(hash) {
            return Ok(true);
        }
        if durability == Durability::Volatile {
            return self.memory.retain_known_node(hash, durability);
        }
        let known = self.memory.volatile_node(hash);
        set.nodes.extend(known.map(|data| (*hash, data)));
        Ok(known.is_some())
    }

    fn retain_known_program(
        &self,
        hash: &Digest,
        durability: Durability,
        set: &mut WriteSet,
    ) -> Result<bool, StoreError> {
        let Some(tier) = &self.tier else { return self.memory.retain_known_program(hash, durability) };
        if tier.cache.has_program(hash) {
            return Ok(true);
        }
        if durability == Durability::Volatile {
            return self.memory.retain_known_program(hash, durability);
        }
        let known = self.memory.volatile_program(hash);
        let is_known = known.is_some();
        set.programs.extend(known.map(|code| (*hash, code)));
        Ok(is_known)
    }

    /// Writes the next group of the queue to the database, waiting until there is one. For the writer only.
    pub fn write_next(&self) -> WriterStep {
        let (Some(group), Some(tier)) = (self.queue.take(), &self.tier) else { return WriterStep::Closed };
        let sets: Vec<&WriteSet> = group.sets.iter().map(|set| &**set).collect();
        let start = Instant::now();
        if let Err(error) = tier.database.commit(&sets) {
            self.integrity.note_write(Some(&error));
            return WriterStep::Failed { flush_id: group.flush_id, error };
        }
        let took = start.elapsed();
        self.integrity.note_write(None);
        self.queue.confirm(&group);
        tier.cache.set_stored(group.number);
        *self.latest_group.lock() = Some(group);
        WriterStep::Stored { took }
    }

    /// Returns a node that is not in the database only, or known to the cache.
    fn node_in_memory(&self, tier: &DatabaseTier, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        // Cache before database: what is queued leaves the cache only once the database has it.
        match tier.cache.node(hash) {
            None => self.memory.node(hash),
            found => Ok(found),
        }
    }

    /// True if there is a database, and so a writer is needed.
    pub fn needs_writer(&self) -> bool {
        self.tier.is_some()
    }

    /// Accepts nothing permanent any more and waits until everything accepted is stored, however long that takes; false if
    /// nothing gets stored for `limit`.
    pub fn close(&self, limit: Duration) -> bool {
        self.queue.close();
        loop {
            let before = self.queue.status().stored_flush_id;
            if self.queue.wait_stored(limit) {
                return true;
            }
            if self.queue.status().stored_flush_id == before {
                return false;
            }
        }
    }

    /// Returns flush ids and queue counts. Never waits: clients poll this in a loop without pause.
    pub fn flush_status(&self) -> FlushStatus {
        if self.read_only { FlushStatus::default() } else { self.queue.status() }
    }

    /// Returns the group stored last, for processes that follow along.
    pub fn latest_group(&self) -> Option<Arc<FlushGroup>> {
        self.latest_group.lock().clone()
    }

    /// Returns the latest permanent root, zero if there is none: of what is queued, else the database's, which
    /// other processes may have moved.
    pub fn latest_root(&self) -> Result<Digest, StoreError> {
        let Some(tier) = &self.tier else { return Ok(*self.latest_root.lock()) };
        // Queued before database: a root leaves the queue only once the database has it.
        if let Some(root) = self.queue.latest_root() {
            return Ok(root);
        }
        let root = self.integrity.note_read(tier.database.latest_root())?;
        // The root of nothing is not the latest one: its row is damaged.
        if !root.is_zero() && self.node(&root)?.is_none() {
            let place = tier.database.place(Entry::LatestRoot);
            return self.integrity.note_read(Err(StoreError::Damaged { hash: root, place }));
        }
        Ok(root)
    }

    /// Returns what keeps state from being read or written at present, as a sentence. Never waits.
    pub fn failure(&self) -> Option<String> {
        self.integrity.failure()
    }

    /// Looks whether the database can be read. May wait for it.
    pub fn probe(&self) {
        if let Some(tier) = &self.tier {
            // The outcome is in `failure`.
            let _ = self.integrity.note_read(tier.database.probe());
        }
    }

    /// Counts an entry that a client of the HashDB service listed under a hash that it does not have.
    pub(crate) fn count_refused_entry(&self, hash: &Digest) {
        self.integrity.note_refused(hash);
    }

    /// Deletes everything. Batches that run meanwhile may fail or leave a part of their state.
    ///
    /// Fails if the queue does not empty within `limit`, or the database fails.
    pub fn clear(&self, limit: Duration) -> Result<(), StoreError> {
        if !self.queue.wait_stored(limit) {
            return Err(StoreError::Unavailable("writes are still waiting".to_owned()));
        }
        if let Some(tier) = &self.tier {
            tier.database.clear()?;
            tier.cache.clear();
        }
        self.memory.clear();
        *self.latest_root.lock() = Digest::ZERO;
        *self.latest_group.lock() = None;
        Ok(())
    }

    /// Returns what is held and what was done.
    pub fn stats(&self) -> StateStats {
        StateStats {
            memory: self.memory.stats(),
            cache: self.tier.as_ref().map(|tier| tier.cache.stats()).unwrap_or_default(),
            flush: self.flush_status(),
            integrity: self.integrity.stats(),
        }
    }
}

impl DatabaseTier {
    fn verified(&self) -> VerifiedReader<'_> {
        VerifiedReader(&*self.database)
    }

    /// Takes out what is queued or stored already if the set is that of a batch executed before: a sequencer's batch comes
    /// back to be verified and to be synchronised.
    fn leave_out_known(&self, set: &mut WriteSet) {
        if set.latest_root.is_some_and(|root| self.cache.has_node(&root)) {
            set.nodes.retain(|(hash, _)| !self.cache.has_node(hash));
            set.programs.retain(|(hash, _)| !self.cache.has_program(hash));
        }
    }
}

impl StateReader for StateStore {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let Some(tier) = &self.tier else { return self.memory.node(hash) };
        if let Some(node) = self.node_in_memory(tier, hash)? {
            return Ok(Some(node));
        }
        let stored = self.integrity.note_read(tier.verified().node(hash))?;
        stored.iter().for_each(|node| tier.cache.put_node(*hash, *node));
        Ok(stored)
    }

    fn nodes(&self, hashes: &[Digest]) -> Result<Vec<Option<NodeData>>, StoreError> {
        let Some(tier) = &self.tier else { return self.memory.nodes(hashes) };
        let mut found = Vec::with_capacity(hashes.len());
        let (mut unknown, mut places) = (Vec::new(), Vec::new());
        for (place, hash) in hashes.iter().enumerate() {
            found.push(self.node_in_memory(tier, hash)?);
            if found[place].is_none() {
                unknown.push(*hash);
                places.push(place);
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let stored = self.integrity.note_read(tier.verified().nodes(&unknown))?;
        for ((place, hash), node) in places.into_iter().zip(unknown).zip(stored) {
            node.iter().for_each(|node| tier.cache.put_node(hash, *node));
            found[place] = node;
        }
        Ok(found)
    }

    fn prefers_many(&self) -> bool {
        self.tier.as_ref().is_some_and(|tier| tier.database.prefers_many())
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        let Some(tier) = &self.tier else { return self.memory.program(hash) };
        if let Some(code) = tier.cache.program(hash) {
            return Ok(Some(code));
        }
        if let Some(code) = self.memory.program(hash)? {
            return Ok(Some(code));
        }
        let stored = self.integrity.note_read(tier.verified().program(hash))?;
        stored.iter().for_each(|code| tier.cache.put_program(*hash, code.clone()));
        Ok(stored)
    }
}

/// Returns the nodes a node may refer to, and the program its value may name (state-tree §7).
///
/// A value node looks like a branch: what it seems to refer to is never the hash of anything.
fn references(node: &NodeData) -> ([Digest; 2], Option<Digest>) {
    let [content @ .., a, b, c, d] = node;
    let half = |from: usize| Digest([content[from], content[from + 1], content[from + 2], content[from + 3]]);
    match [a, b, c, d] {
        [1, 0, 0, 0] => ([half(4), Digest::ZERO], None),
        _ => ([half(0), half(4)], value_from_limbs(content).map(Digest::from_u256)),
    }
}

#[cfg(test)]
mod tests;
