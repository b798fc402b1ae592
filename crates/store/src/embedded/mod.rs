//! The embedded database: an append-only log of nodes, and a redb file (pure Rust, ACID, copy-on-write B+trees) that says
//! where in the log a node is and holds everything else.
//!
//! Keys are hashes, so in a B+tree each new node falls on a page of its own once the tree is large, and the whole page is
//! written again: with nodes in the tree their cost grows with the database. A commit here appends to the log, with one sync.
//! Offsets of new nodes stay in memory until there are enough of them ([`recent_max`]) to bring many to each page of the
//! index; a thread of its own does that. What the index lacks after a kill is read from the log again.
//!
//! | file | table | key | value |
//! |---|---|---|---|
//! | `nodes-<n>.log` | | | [`log`] |
//! | `state.redb` | `offsets` | last 8 bytes of a node's hash as Poseidon has it, its most significant limb | offset in the log |
//! | | `collisions` | 32 bytes, most significant limb first: nodes whose limb is another one's in `offsets` | offset in the log |
//! | | `programs` | 32 bytes, the same | the code |
//! | | `log` | `format` | [`version::FORMAT_VERSION`] |
//! | | | `number` | n of the log's name |
//! | | | `indexed` | the log up to here is in `offsets` and `collisions` |
//! | | `meta` | `latest-root` | that of the log up to `indexed`, 32 bytes like a key |
//!
//! Both files carry the format version, and another one is refused: older, newer, and files of other programs.

mod files;
mod indexed_log;
mod log;
mod offset_index;
mod version;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alloy_primitives::Bytes;
use parking_lot::Mutex;

use self::files::{COLLISIONS, META, OFFSETS, PROGRAMS, failed, log_path, remove_other_logs, start_log};
use self::indexed_log::{IndexedLog, Opened};
use self::log::{GROUP_NODES_MAX, NodeLog};
use self::offset_index::OffsetIndex;
use crate::database::{Database, WriteSet};
use crate::encoding::hash_bytes;
use zkevm_tree::{Digest, NodeData};
use zkevm_tree::{StateReader, StoreError};

/// Wait before the index is tried again after an error.
const MERGE_AGAIN: Duration = Duration::from_secs(5);
/// Fraction of the cache budget for offsets not yet indexed: one in this many.
const OFFSETS_SHARE: usize = 4;
/// What such an offset costs in memory.
const OFFSET_BYTES: usize = 20;
/// Bounds of [`recent_max`]. The upper one fills a hash map of 2^20 slots.
const RECENT_MAX: (usize, usize) = (1 << 14, 7 << 17);

/// A database in one folder. Only one process can have it open.
pub struct EmbeddedDatabase {
    indexed_log: Arc<IndexedLog>,
    writer: Mutex<Writer>,
}

struct Writer {
    log_number: u64,
    /// Where the next group goes.
    end: u64,
    recent_max: usize,
    merge: Option<Merge>,
}

/// The way of `Snapshot::merging` into the index.
struct Merge {
    /// The log up to here is in the index after it.
    until: u64,
    latest_root: Digest,
    state: MergeState,
}

enum MergeState {
    Running(JoinHandle<Result<(), StoreError>>),
    Failed(StoreError, Instant),
}

impl EmbeddedDatabase {
    /// Opens the database in `folder`, creating both if need be. `cache_bytes` bounds the pages and offsets kept in memory.
    /// If another process still has it open, tries again for as long as `patience`.
    ///
    /// Fails if that takes too long, or if the files are damaged or have another format; then nothing is changed.
    pub fn open(folder: &Path, cache_bytes: usize, patience: Duration) -> Result<Self, StoreError> {
        Self::open_with(folder, cache_bytes, recent_max(cache_bytes), patience)
    }

    fn open_with(folder: &Path, cache_bytes: usize, recent_max: usize, patience: Duration) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        let page_bytes = cache_bytes - cache_bytes / OFFSETS_SHARE;
        let Opened { indexed_log, log_number, end } = IndexedLog::open(folder, page_bytes, patience)?;
        let writer = Writer { log_number, end, recent_max, merge: None };
        Ok(Self { indexed_log: Arc::new(indexed_log), writer: Mutex::new(writer) })
    }

    /// Puts the programs of the sets where they belong. Each has the hash it is stored under, so they may be there early.
    fn commit_programs(&self, sets: &[&WriteSet]) -> Result<(), StoreError> {
        let mut programs = sets.iter().flat_map(|set| &set.programs).peekable();
        if programs.peek().is_none() {
            return Ok(());
        }
        self.indexed_log.write(|transaction| {
            let mut table = transaction.open_table(PROGRAMS)?;
            for (hash, code) in programs {
                table.insert(&hash_bytes(hash), code.as_ref())?;
            }
            Ok(())
        })?;
        self.indexed_log.refresh(self.indexed_log.log(), |_| {})
    }

    /// Appends one group, and lets readers see it.
    fn append(
        &self,
        writer: &mut Writer,
        nodes: &[(&Digest, &NodeData)],
        latest_root: Option<Digest>,
    ) -> Result<(), StoreError> {
        self.advance_index(writer)?;
        let appended = self.indexed_log.log().append(writer.end, nodes, latest_root);
        let (offsets, end) =
            appended.map_err(|error| failed(&log_path(&self.indexed_log.folder, writer.log_number), error))?;
        writer.end = end;
        // A little at a time: readers wait meanwhile.
        for (nodes, offsets) in nodes.chunks(1024).zip(offsets.chunks(1024)) {
            let mut snapshot = self.indexed_log.snapshot.write();
            nodes.iter().zip(offsets).for_each(|((hash, _), offset)| snapshot.recent.add(hash, *offset));
        }
        if let Some(root) = latest_root {
            self.indexed_log.snapshot.write().latest_root = root;
        }
        Ok(())
    }

    /// Starts a merge once enough offsets wait in memory. Waits for it, and fails with it, only if they have become twice as
    /// many as they should be.
    fn advance_index(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let recent = self.indexed_log.snapshot.read().recent.len();
        let must = recent >= 2 * writer.recent_max;
        if let Some(merge) = writer.merge.take() {
            writer.merge = self.poll_merge(merge, must);
        }
        match &writer.merge {
            Some(Merge { state: MergeState::Failed(error, _), .. }) if must => return Err(error.clone()),
            None if recent >= writer.recent_max => {}
            _ => return Ok(()),
        }
        let latest_root = {
            let mut snapshot = self.indexed_log.snapshot.write();
            snapshot.merging = Arc::new(std::mem::take(&mut snapshot.recent));
            snapshot.latest_root
        };
        writer.merge = Some(self.start_merge(writer.end, latest_root));
        Ok(())
    }

    /// Returns what a merge has become: nothing once it is done. Waits for the end if it `must`.
    fn poll_merge(&self, merge: Merge, must: bool) -> Option<Merge> {
        match merge.state {
            MergeState::Running(thread) if must || thread.is_finished() => {
                let panicked = |_| Err(StoreError::Unavailable("the index of the database panicked".to_owned()));
                let error = thread.join().unwrap_or_else(panicked).err()?;
                tracing::error!(%error, "the index of the database could not be brought up to date, trying again");
                Some(Merge { state: MergeState::Failed(error, Instant::now()), ..merge })
            }
            MergeState::Failed(_, at) if at.elapsed() >= MERGE_AGAIN => {
                self.poll_merge(self.start_merge(merge.until, merge.latest_root), must)
            }
            _ => Some(merge),
        }
    }

    fn start_merge(&self, until: u64, latest_root: Digest) -> Merge {
        let indexed_log = Arc::clone(&self.indexed_log);
        let thread = std::thread::Builder::new().name("index".to_owned());
        let state = match thread.spawn(move || indexed_log.merge(until, latest_root)) {
            Ok(thread) => MergeState::Running(thread),
            Err(error) => MergeState::Failed(failed(&self.indexed_log.folder, error), Instant::now()),
        };
        Merge { until, latest_root, state }
    }
}

/// Returns how many offsets may wait in memory before they go into the index: the more, the cheaper each of them becomes.
///
/// While they go there as many come after them, and no more than twice as many.
fn recent_max(cache_bytes: usize) -> usize {
    (cache_bytes / OFFSETS_SHARE / 3 / OFFSET_BYTES).clamp(RECENT_MAX.0, RECENT_MAX.1)
}

impl Drop for EmbeddedDatabase {
    fn drop(&mut self) {
        // Whoever opens the database next finds it closed.
        if let Some(merge) = self.writer.get_mut().merge.take() {
            self.poll_merge(merge, true);
        }
    }
}

impl StateReader for EmbeddedDatabase {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        match self.indexed_log.recent_node(hash)? {
            Ok(node) => Ok(Some(node)),
            Err(tables) => self.indexed_log.indexed_node(&tables, hash),
        }
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        let tables = Arc::clone(&self.indexed_log.snapshot.read().tables);
        let found = tables.programs.get(&hash_bytes(hash)).map_err(|error| self.indexed_log.redb_failed(error))?;
        Ok(found.map(|code| Bytes::copy_from_slice(code.value())))
    }
}

impl Database for EmbeddedDatabase {
    fn commit(&self, sets: &[&WriteSet]) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        self.commit_programs(sets)?;
        let all = sets.iter().flat_map(|set| &set.nodes).map(|(hash, node)| (hash, node));
        let (mut nodes, known): (Vec<_>, Vec<_>) = {
            let snapshot = self.indexed_log.snapshot.read();
            all.partition(|(hash, _)| snapshot.candidates(hash).next().is_none())
        };
        // Batches that are executed again leave the same nodes again.
        for (hash, node) in known {
            if self.indexed_log.recent_node(hash)?.is_err() {
                nodes.push((hash, node));
            }
        }
        nodes.sort_unstable_by_key(|(hash, _)| *hash);
        nodes.dedup_by_key(|(hash, _)| *hash);
        let latest_root = sets.iter().rev().find_map(|set| set.latest_root);
        // The root is in the last group, which may have nothing else.
        let (groups, last) = nodes.split_at(nodes.len() - nodes.len() % GROUP_NODES_MAX);
        for group in groups.chunks(GROUP_NODES_MAX) {
            self.append(&mut writer, group, None)?;
        }
        if last.is_empty() && latest_root.is_none() { Ok(()) } else { self.append(&mut writer, last, latest_root) }
    }

    fn latest_root(&self) -> Result<Digest, StoreError> {
        Ok(self.indexed_log.snapshot.read().latest_root)
    }

    fn clear(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        if let Some(merge) = writer.merge.take() {
            self.poll_merge(merge, true);
        }
        let number = writer.log_number + 1;
        let path = log_path(&self.indexed_log.folder, number);
        let log = NodeLog::create(&path).map_err(|error| failed(&path, error))?;
        self.indexed_log.write(|transaction| {
            transaction.delete_table(OFFSETS)?;
            transaction.delete_table(COLLISIONS)?;
            transaction.delete_table(PROGRAMS)?;
            transaction.delete_table(META)?;
            start_log(transaction, number)
        })?;
        self.indexed_log.refresh(Arc::new(log), |snapshot| {
            snapshot.recent = OffsetIndex::default();
            snapshot.merging = Arc::default();
            snapshot.latest_root = Digest::ZERO;
        })?;
        writer.log_number = number;
        writer.end = NodeLog::START;
        remove_other_logs(&self.indexed_log.folder, number)
    }
}
