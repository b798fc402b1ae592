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
//! | `nodes-<n>.log` | | | [`log`]: everything; the index can be made from it again ([`rebuild`]) |
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
mod index;
mod indexed_log;
mod log;
mod offset_index;
mod rebuild;
mod record;
mod salvage;
mod tail;
mod version;

#[cfg(test)]
mod tests;

pub use self::rebuild::Rebuilt;
pub use self::salvage::DamagedPart;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alloy_primitives::Bytes;
use parking_lot::Mutex;

use self::files::{COLLISIONS, FILE_NAME, META, OFFSETS, PROGRAMS, create_log, failed, log_path, start_log};
use self::indexed_log::{IndexedLog, Opened};
use self::log::{GROUP_NODES_MAX, GROUP_PROGRAMS_BYTES_MAX, NodeLog};
use self::offset_index::OffsetIndex;
use self::rebuild::Damage;
use crate::database::{Database, Entry, WriteSet};
use crate::encoding::hash_bytes;
use zkevm_tree::{Digest, NodeData};
use zkevm_tree::{StateReader, StoreError};

/// Wait before the index is tried again after an error, unless a write waits for it.
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
    /// Programs that the log has and that could not be put into the index yet.
    logged_programs: HashSet<[u8; 32]>,
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
        let writer = Writer { log_number, end, recent_max, merge: None, logged_programs: HashSet::new() };
        Ok(Self { indexed_log: Arc::new(indexed_log), writer: Mutex::new(writer) })
    }

    /// Builds the index anew from the log, which must not be open elsewhere. The file before it gets another name. `progress`
    /// is told how many bytes of the log are read, of how many.
    ///
    /// Fails if there is not exactly one log with something in it, or if that is damaged; then everything is as it was.
    pub fn rebuild(folder: &Path, cache_bytes: usize, progress: impl FnMut(u64, u64)) -> Result<Rebuilt, StoreError> {
        rebuild::rebuild(folder, cache_bytes, recent_max(cache_bytes), Damage::Refuse, progress)
    }

    /// The same, but passes over damaged parts of the log and keeps the records in and behind them that have their hash. The log
    /// stays as it is. What is gone is missing from then on, perhaps below the latest root.
    pub fn rebuild_around_damage(
        folder: &Path,
        cache_bytes: usize,
        progress: impl FnMut(u64, u64),
    ) -> Result<Rebuilt, StoreError> {
        rebuild::rebuild(folder, cache_bytes, recent_max(cache_bytes), Damage::PassOver, progress)
    }

    /// Returns the programs of the sets that the index does not have, each once.
    fn unknown_programs<'a>(&self, sets: &[&'a WriteSet]) -> Result<Vec<([u8; 32], &'a Bytes)>, StoreError> {
        let mut programs = Vec::new();
        for (hash, code) in sets.iter().flat_map(|set| &set.programs) {
            if self.indexed_log.program(hash)?.as_ref() != Some(code) {
                programs.push((hash_bytes(hash), code));
            }
        }
        programs.sort_unstable_by_key(|(hash, _)| *hash);
        programs.dedup_by_key(|(hash, _)| *hash);
        Ok(programs)
    }

    /// Puts programs that the log has into the index, for readers.
    fn index_programs(&self, writer: &mut Writer, programs: &[([u8; 32], &Bytes)]) -> Result<(), StoreError> {
        if programs.is_empty() {
            return Ok(());
        }
        self.indexed_log.write(|transaction| {
            let mut table = transaction.open_table(PROGRAMS)?;
            for (hash, code) in programs {
                table.insert(hash, code.as_ref())?;
            }
            Ok(())
        })?;
        writer.logged_programs.clear();
        self.indexed_log.refresh_tables(|_| {})
    }

    /// Appends one group, and lets readers see it.
    fn append(
        &self,
        writer: &mut Writer,
        nodes: &[(&Digest, &NodeData)],
        programs: &[([u8; 32], &Bytes)],
        latest_root: Option<Digest>,
    ) -> Result<(), StoreError> {
        self.advance_index(writer)?;
        let of_log: Vec<_> = programs.iter().map(|(hash, code)| (hash, *code)).collect();
        let appended = self.indexed_log.log().append(writer.end, nodes, &of_log, latest_root);
        let (offsets, end) =
            appended.map_err(|error| failed(&log_path(&self.indexed_log.folder, writer.log_number), error))?;
        writer.end = end;
        writer.logged_programs.extend(programs.iter().map(|(hash, _)| *hash));
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
            MergeState::Failed(_, at) if must || at.elapsed() >= MERGE_AGAIN => {
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

/// Splits programs into groups of the log, at least one program each.
fn groups_of_programs<'a, 'b>(programs: &'a [([u8; 32], &'b Bytes)]) -> Vec<&'a [([u8; 32], &'b Bytes)]> {
    let mut groups = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (place, (_, code)) in programs.iter().enumerate() {
        if place > start && bytes + code.len() > GROUP_PROGRAMS_BYTES_MAX {
            groups.push(&programs[start..place]);
            (start, bytes) = (place, 0);
        }
        bytes += code.len();
    }
    if start < programs.len() {
        groups.push(&programs[start..]);
    }
    groups
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
        self.indexed_log.node(hash)
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        self.indexed_log.program(hash)
    }
}

impl Database for EmbeddedDatabase {
    fn commit(&self, sets: &[&WriteSet]) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        let programs = self.unknown_programs(sets)?;
        let all = sets.iter().flat_map(|set| &set.nodes).map(|(hash, node)| (hash, node));
        let (mut nodes, known): (Vec<_>, Vec<_>) = {
            let snapshot = self.indexed_log.snapshot.read();
            all.partition(|(hash, _)| snapshot.candidates(hash).next().is_none())
        };
        // Batches that are executed again leave the same nodes again.
        for (hash, node) in known {
            // One that is damaged is written again.
            if !matches!(self.indexed_log.recent_node(hash), Ok(Some(_))) {
                nodes.push((hash, node));
            }
        }
        nodes.sort_unstable_by_key(|(hash, _)| *hash);
        nodes.dedup_by_key(|(hash, _)| *hash);
        let latest_root = sets.iter().rev().find_map(|set| set.latest_root);
        // Tried again after an error, they are in the log already.
        let unlogged = programs.iter().filter(|(hash, _)| !writer.logged_programs.contains(hash)).copied();
        let unlogged: Vec<_> = unlogged.collect();
        let mut program_groups = groups_of_programs(&unlogged);
        while program_groups.len() > 1 {
            self.append(&mut writer, &[], program_groups.remove(0), None)?;
        }
        let mut programs_left = program_groups.pop().unwrap_or_default();
        // The root is in the last group, which may have nothing else.
        let (groups, last) = nodes.split_at(nodes.len() - nodes.len() % GROUP_NODES_MAX);
        for group in groups.chunks(GROUP_NODES_MAX) {
            self.append(&mut writer, group, std::mem::take(&mut programs_left), None)?;
        }
        if !last.is_empty() || !programs_left.is_empty() || latest_root.is_some() {
            self.append(&mut writer, last, programs_left, latest_root)?;
        }
        self.index_programs(&mut writer, &programs)
    }

    fn latest_root(&self) -> Result<Digest, StoreError> {
        Ok(self.indexed_log.snapshot.read().latest_root)
    }

    fn clear(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        if let Some(merge) = writer.merge.take() {
            self.poll_merge(merge, true);
        }
        let before = log_path(&self.indexed_log.folder, writer.log_number);
        let (log, number) = create_log(&self.indexed_log.folder, writer.log_number.saturating_add(1))?;
        self.indexed_log.write(|transaction| {
            transaction.delete_table(OFFSETS)?;
            transaction.delete_table(COLLISIONS)?;
            transaction.delete_table(PROGRAMS)?;
            transaction.delete_table(META)?;
            start_log(transaction, number)
        })?;
        self.indexed_log.index.set_content(number, NodeLog::START);
        self.indexed_log.refresh(Arc::new(log), number, |snapshot| {
            snapshot.recent = OffsetIndex::default();
            snapshot.merging = Arc::default();
            snapshot.latest_root = Digest::ZERO;
        })?;
        writer.log_number = number;
        writer.end = NodeLog::START;
        writer.logged_programs.clear();
        // The one log that was asked to be deleted, and no other.
        std::fs::remove_file(&before).map_err(|error| failed(&before, error))
    }

    fn checks_nodes(&self) -> bool {
        true
    }

    fn probe(&self) -> Result<(), StoreError> {
        // Any key will do: it is the way that counts.
        self.indexed_log.program(&Digest::ZERO).map(drop)
    }

    fn place(&self, entry: Entry<'_>) -> String {
        let folder = self.indexed_log.folder.display();
        match entry {
            Entry::Node(hash) => format!("{folder}, node {}", hash.to_b256()),
            Entry::Program(hash) => format!("{folder}/{FILE_NAME}, table programs, row {}", hash.to_b256()),
            Entry::LatestRoot => format!("{folder}, latest root"),
        }
    }
}
