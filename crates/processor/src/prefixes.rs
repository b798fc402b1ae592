//! Beginnings of batches that ran, so that a longer one runs only what is new.
//!
//! A sequencer of cdk-erigon has every batch verified block by block: 1, 2, …, k blocks of it in k requests, each with a
//! witness of its own (later-forks §9.1). A node of another kind sends a whole batch again. Both are served from here.
//!
//! An entry is a whole batch that ended well, at the end of its last block. It is used for a batch that begins with the same
//! bytes, if all else that decided it is the same ([`PrefixKey`], and what its blocks used of timestamps and L1 data), and if
//! every node and program that it read can be read through the other's reader. So a batch is answered as if nothing were
//! remembered: what one request brought never serves another that does not bring it.
//!
//! The cache is bounded in bytes; what was not used for longest gives way. Entries that share a beginning share its blocks.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use revm::primitives::{Address, B256, Bytes, U256};

use super::run::RunCheckpoint;
use zkevm_tree::{Digest, NodeData, StateReader, StoreError};
use zkevm_types::{BatchInput, BlockOutput, CountersPolicy, ForkId, L1InfoLeaf};
use zkevm_types::{LogOutput, StateSource, TxOutput, V2Context};

/// First byte of the item that opens a block (batch §3).
const CHANGE_L2_BLOCK_PREFIX: u8 = 0x0b;
/// What data takes beside itself if it is shared, estimated.
const SHARED_BYTES: usize = 64;
/// Entries whose reads are looked up for one batch, the longest first.
const TRIES_MAX: usize = 3;

/// What decides the run of a batch beside its bytes, the state at its old root, and what its blocks ask of timestamps and L1
/// data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PrefixKey {
    old_state_root: B256,
    fork_id: ForkId,
    chain_id: u64,
    coinbase: Address,
    no_counters: bool,
    counters_policy: CountersPolicy,
    block_gas_limit: u64,
    pub(crate) state_source: StateSource,
    /// The root that L1 data is proved against, `None` if any is accepted.
    l1_info_root: Option<B256>,
    skip_write_block_info_root: bool,
}

impl PrefixKey {
    /// Returns the key of a batch; `None` if it is one that is not remembered: a rare kind, or over state that need not have
    /// the hashes it is listed under.
    pub(crate) fn of(input: &BatchInput, context: &V2Context) -> Option<Self> {
        let brings_unverified = !input.db.is_empty() || !input.contracts_bytecode.is_empty();
        let is_rare = input.trace.is_some()
            || input.from.is_some()
            || input.get_keys
            || !input.state_override.is_empty()
            || input.batch_l2_data.is_empty()
            || context.is_forced()
            || context.skip_first_change_l2_block;
        if is_rare || (input.state_source == StateSource::Store && brings_unverified) {
            return None;
        }
        Some(Self {
            old_state_root: input.old_state_root,
            fork_id: input.fork_id,
            chain_id: input.chain_id,
            coinbase: input.coinbase,
            no_counters: input.no_counters,
            counters_policy: input.counters_policy,
            block_gas_limit: input.block_gas_limit(),
            state_source: input.state_source,
            l1_info_root: (!context.skip_verify_l1_info_root).then_some(context.l1_info_root),
            skip_write_block_info_root: context.skip_write_block_info_root,
        })
    }
}

/// A batch that ran, at the end of its last block.
#[derive(Debug)]
pub(crate) struct Checkpoint {
    /// What it consists of: each piece is what one run added.
    pub(crate) segments: Vec<Arc<Segment>>,
    /// Length of its `batch_l2_data`.
    pub(crate) bytes: usize,
    /// Number of its last block.
    pub(crate) block_number: U256,
    /// Timestamp of its last block, which none of its blocks passes.
    pub(crate) timestamp: U256,
    /// What the run left.
    pub(crate) run: RunCheckpoint,
    charge: Charge,
}

/// Some blocks of a batch, which ran together.
#[derive(Debug, Default)]
pub(crate) struct Segment {
    /// Their part of `batch_l2_data`.
    pub(crate) bytes: Vec<u8>,
    /// Their part of the answer.
    pub(crate) blocks: Vec<BlockOutput>,
    /// The L1 data they asked for.
    pub(crate) l1_info: Vec<(u32, L1InfoLeaf)>,
    /// Nodes that were read of the state.
    pub(crate) nodes_read: Vec<Digest>,
    /// Programs that were read of the state.
    pub(crate) programs_read: Vec<Digest>,
    /// Programs that were deployed.
    pub(crate) programs: Vec<(B256, Bytes)>,
    /// New nodes of all block roots, where the batch is kept.
    pub(crate) new_nodes: Vec<(Digest, NodeData)>,
    pub(crate) charge: Charge,
}

impl Segment {
    fn bytes_in_memory(&self) -> usize {
        let proofs: usize = self.l1_info.iter().map(|(_, leaf)| vec_bytes(&leaf.smt_proof)).sum();
        let programs: usize = self.programs.iter().map(|(_, code)| data_bytes(code)).sum();
        let results: usize = self.blocks.iter().flat_map(|block| &block.transactions).map(result_bytes).sum();
        size_of::<Self>()
            + vec_bytes(&self.bytes)
            + vec_bytes(&self.blocks)
            + self.blocks.iter().map(|block| vec_bytes(&block.transactions)).sum::<usize>()
            + results
            + vec_bytes(&self.l1_info)
            + proofs
            + vec_bytes(&self.nodes_read)
            + vec_bytes(&self.programs_read)
            + vec_bytes(&self.programs)
            + programs
            + vec_bytes(&self.new_nodes)
    }

    /// True if the batch has the L1 data that these blocks asked for; its proofs count where they are looked at.
    fn has_l1_info(&self, context: &V2Context) -> bool {
        self.l1_info.iter().all(|(index, leaf)| {
            context.l1_info_tree_data.get(index).is_some_and(|other| {
                other.global_exit_root == leaf.global_exit_root
                    && other.block_hash_l1 == leaf.block_hash_l1
                    && other.min_timestamp == leaf.min_timestamp
                    && (context.skip_verify_l1_info_root || other.smt_proof == leaf.smt_proof)
            })
        })
    }

    /// True if the state has all that these blocks read of it.
    fn is_covered(&self, state: &dyn StateReader) -> Result<bool, StoreError> {
        if !state.has_nodes(&self.nodes_read)? {
            return Ok(false);
        }
        for hash in &self.programs_read {
            if state.program(hash)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Returns what a result has elsewhere in memory.
fn result_bytes(tx: &TxOutput) -> usize {
    let log = |log: &LogOutput| vec_bytes(&log.topics) + data_bytes(&log.data);
    data_bytes(&tx.rlp_tx) + data_bytes(&tx.return_value) + vec_bytes(&tx.logs) + tx.logs.iter().map(log).sum::<usize>()
}

fn vec_bytes<T>(list: &Vec<T>) -> usize {
    list.capacity() * size_of::<T>()
}

/// Bytes that are shared take as many as there are, rounded up, and a count of who shares them.
fn data_bytes(data: &Bytes) -> usize {
    if data.is_empty() { 0 } else { data.len() + SHARED_BYTES }
}

impl Checkpoint {
    /// Creates the end of a batch that goes on from another one, or begins.
    pub(crate) fn new(before: Option<&Self>, run: RunCheckpoint) -> Self {
        let mut checkpoint = Self {
            segments: Vec::new(),
            bytes: 0,
            block_number: U256::ZERO,
            timestamp: U256::ZERO,
            run,
            charge: Charge::default(),
        };
        if let Some(before) = before {
            checkpoint.segments.clone_from(&before.segments);
        }
        checkpoint
    }

    /// Returns the blocks.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &BlockOutput> {
        self.segments.iter().flat_map(|segment| &segment.blocks)
    }

    /// Returns the programs deployed.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &(B256, Bytes)> {
        self.segments.iter().flat_map(|segment| &segment.programs)
    }

    /// True if a batch begins with this one, and with whole blocks of it.
    fn begins(&self, data: &[u8]) -> bool {
        if data.get(self.bytes).is_some_and(|next| *next != CHANGE_L2_BLOCK_PREFIX) {
            return false;
        }
        let Some(mut rest) = data.get(..self.bytes) else { return false };
        self.segments.iter().all(|segment| match rest.split_at_checked(segment.bytes.len()) {
            Some((part, behind)) => {
                rest = behind;
                part == segment.bytes
            }
            None => false,
        })
    }

    /// True if it is the same batch.
    fn is_same(&self, other: &Self) -> bool {
        // Nearly all others have another length: their bytes are left alone.
        let bytes = || other.segments.iter().map(|segment| &segment.bytes[..]).collect::<Vec<_>>().concat();
        self.bytes == other.bytes && self.begins(&bytes())
    }

    /// True if the blocks pass the tests of another batch's own.
    fn suits(&self, context: &V2Context) -> bool {
        self.timestamp <= U256::from(context.timestamp_limit)
            && self.segments.iter().all(|segment| segment.has_l1_info(context))
    }

    fn is_covered(&self, state: &dyn StateReader) -> bool {
        // A store that cannot answer fails the run as well.
        self.segments.iter().all(|segment| segment.is_covered(state).unwrap_or(false))
    }

    fn bytes_in_memory(&self) -> usize {
        size_of::<Self>() + vec_bytes(&self.segments) + self.run.bytes()
    }
}

/// Memory that counts as long as this lives.
#[derive(Debug, Default)]
pub(crate) struct Charge {
    bytes: usize,
    total: Arc<AtomicUsize>,
}

impl Charge {
    fn new(bytes: usize, total: &Arc<AtomicUsize>) -> Self {
        total.fetch_add(bytes, Relaxed);
        Self { bytes, total: Arc::clone(total) }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Relaxed);
    }
}

/// Remembers batches that ran, up to a number of bytes. Clones share the memory; the default remembers nothing.
#[derive(Clone, Debug, Default)]
pub struct PrefixCache(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    bytes_max: usize,
    /// What all entries take, those included that gave way but are in use.
    bytes: Arc<AtomicUsize>,
    kept: Mutex<Kept>,
    reused: AtomicU64,
    reused_blocks: AtomicU64,
    unknown: AtomicU64,
    uncovered: AtomicU64,
    reruns: AtomicU64,
    evictions: AtomicU64,
}

/// What the cache has done so far, and what it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefixStats {
    /// Batches that went on from one that was remembered.
    pub reused: u64,
    /// Blocks that did not run again for it.
    pub reused_blocks: u64,
    /// Batches of which no beginning was known.
    pub unknown: u64,
    /// Batches with a known beginning whose reads they did not bring.
    pub uncovered: u64,
    /// Batches that went on from one that was remembered, ended badly, and ran again from their start.
    pub reruns: u64,
    /// Entries that gave way.
    pub evictions: u64,
    /// Entries.
    pub entries: usize,
    /// Memory of all entries, estimated.
    pub bytes: usize,
    /// Bound of it.
    pub bytes_max: usize,
}

#[derive(Debug, Default)]
struct Kept {
    by_key: HashMap<PrefixKey, Vec<Entry>>,
    /// The last use of each entry, and its key.
    by_use: BTreeMap<u64, PrefixKey>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    last_use: u64,
    checkpoint: Arc<Checkpoint>,
}

impl Kept {
    fn next_use(&mut self, key: &PrefixKey) -> u64 {
        self.uses += 1;
        self.by_use.insert(self.uses, key.clone());
        self.uses
    }

    fn note_use(&mut self, key: &PrefixKey, checkpoint: &Arc<Checkpoint>) {
        let last_use = self.next_use(key);
        let entries = self.by_key.get_mut(key).into_iter().flatten();
        match entries.into_iter().find(|entry| Arc::ptr_eq(&entry.checkpoint, checkpoint)) {
            Some(entry) => {
                let before = std::mem::replace(&mut entry.last_use, last_use);
                self.by_use.remove(&before);
            }
            // It gave way in the meantime.
            None => {
                self.by_use.remove(&last_use);
            }
        }
    }

    /// Keeps an entry, and returns the one whose place it takes.
    fn insert(&mut self, key: PrefixKey, checkpoint: Arc<Checkpoint>) -> Option<Arc<Checkpoint>> {
        let last_use = self.next_use(&key);
        let entries = self.by_key.entry(key).or_default();
        // The longest first. Of two of the same batch the newer one is what requests bring now.
        let is_same = |entry: &Entry| entry.checkpoint.is_same(&checkpoint);
        if let Some(entry) = entries.iter_mut().find(|entry| is_same(entry)) {
            self.by_use.remove(&std::mem::replace(&mut entry.last_use, last_use));
            return Some(std::mem::replace(&mut entry.checkpoint, checkpoint));
        }
        let place = entries.partition_point(|entry| entry.checkpoint.bytes > checkpoint.bytes);
        entries.insert(place, Entry { last_use, checkpoint });
        None
    }

    /// Takes out what was not used for longest.
    fn pop(&mut self) -> Option<Arc<Checkpoint>> {
        let (last_use, key) = self.by_use.pop_first()?;
        let entries = self.by_key.get_mut(&key)?;
        let place = entries.iter().position(|entry| entry.last_use == last_use)?;
        let entry = entries.remove(place);
        if entries.is_empty() {
            self.by_key.remove(&key);
        }
        Some(entry.checkpoint)
    }
}

impl PrefixCache {
    /// Creates a cache of so many bytes; 0 remembers nothing.
    pub fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Shared { bytes_max, ..Shared::default() }))
    }

    /// True if it remembers anything at all.
    pub fn is_on(&self) -> bool {
        self.0.bytes_max > 0
    }

    /// Returns what it has done so far, and what it takes.
    pub fn stats(&self) -> PrefixStats {
        let Shared { bytes_max, bytes, reused, reused_blocks, unknown, uncovered, reruns, evictions, .. } = &*self.0;
        PrefixStats {
            reused: reused.load(Relaxed),
            reused_blocks: reused_blocks.load(Relaxed),
            unknown: unknown.load(Relaxed),
            uncovered: uncovered.load(Relaxed),
            reruns: reruns.load(Relaxed),
            evictions: evictions.load(Relaxed),
            entries: self.lock().by_use.len(),
            bytes: bytes.load(Relaxed),
            bytes_max: *bytes_max,
        }
    }

    /// Lets entries give way, those not used for longest first, until the others take so many bytes at most.
    pub fn shrink_to(&self, bytes_max: usize) {
        while self.0.bytes.load(Relaxed) > bytes_max {
            // Dropped outside of the lock.
            let Some(gone) = self.lock().pop() else { return };
            drop(gone);
            self.0.evictions.fetch_add(1, Relaxed);
        }
    }

    /// Returns the longest batch that this one begins with and whose reads `state` has.
    pub(crate) fn find(
        &self,
        key: &PrefixKey,
        input: &BatchInput,
        context: &V2Context,
        state: &dyn StateReader,
    ) -> Option<Arc<Checkpoint>> {
        let known: Vec<Arc<Checkpoint>> = {
            let kept = self.lock();
            let entries = kept.by_key.get(key).into_iter().flatten();
            entries.map(|entry| Arc::clone(&entry.checkpoint)).collect()
        };
        let is_beginning = |known: &&Arc<Checkpoint>| known.begins(&input.batch_l2_data) && known.suits(context);
        let mut beginnings = known.iter().filter(is_beginning).take(TRIES_MAX).peekable();
        if beginnings.peek().is_none() {
            self.0.unknown.fetch_add(1, Relaxed);
            return None;
        }
        let found = beginnings.find(|known| known.is_covered(state)).cloned();
        match &found {
            Some(checkpoint) => self.lock().note_use(key, checkpoint),
            None => {
                self.0.uncovered.fetch_add(1, Relaxed);
            }
        }
        found
    }

    /// Remembers a batch that ended well.
    pub(crate) fn insert(&self, key: PrefixKey, mut checkpoint: Checkpoint, mut segment: Segment) {
        let Shared { bytes, bytes_max, .. } = &*self.0;
        segment.charge = Charge::new(segment.bytes_in_memory(), bytes);
        checkpoint.segments.push(Arc::new(segment));
        checkpoint.charge = Charge::new(checkpoint.bytes_in_memory(), bytes);
        let known = Arc::new(checkpoint);
        // Dropped outside of the lock.
        let replaced = self.lock().insert(key, known);
        drop(replaced);
        self.shrink_to(*bytes_max);
    }

    /// Counts a batch that went on from another one and ended well.
    pub(crate) fn note_reused(&self, checkpoint: &Checkpoint) {
        self.0.reused.fetch_add(1, Relaxed);
        self.0.reused_blocks.fetch_add(checkpoint.blocks().count() as u64, Relaxed);
    }

    /// Counts a batch that went on from another one and has to run again.
    pub(crate) fn note_rerun(&self) {
        self.0.reruns.fetch_add(1, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
