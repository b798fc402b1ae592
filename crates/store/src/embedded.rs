//! The embedded database: an append-only log of nodes, and a redb file (pure Rust, ACID, copy-on-write B+trees) that says
//! where in the log a node is and holds everything else.
//!
//! Keys are hashes, so in a B+tree each new node falls on a page of its own once the tree is large, and the whole page is
//! written again: with nodes in the tree their cost grew with the database. A commit here appends to the log, with one sync.
//! Places of new nodes stay in memory until there are enough of them ([`recent_max`]) to bring many to each page of the
//! index; a thread of its own does that. What the index lacks after a kill is read from the log again.
//!
//! | file | table | key | value |
//! |---|---|---|---|
//! | `nodes-<n>.log` | | | [`log`] |
//! | `state.redb` | `places` | last 8 bytes of a node's hash as Poseidon has it, its most significant limb | place in the log |
//! | | `twins` | 32 bytes, most significant limb first: nodes whose limb is another one's in `places` | place in the log |
//! | | `programs` | 32 bytes, the same | the code |
//! | | `log` | `number` | n of the log's name |
//! | | | `indexed` | the log up to here is in `places` and `twins` |
//! | | `meta` | `latest-root` | that of the log up to `indexed`, 32 bytes like a key |
//! | | `nodes` | 32 bytes, the same | nodes of databases made before there was a log: read, not written |

mod log;
mod places;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use alloy_primitives::{B256, Bytes};
use parking_lot::Mutex;
use redb::{ReadOnlyTable, ReadableDatabase, TableDefinition, TableError, WriteTransaction};

use self::log::{GROUP_NODES_MAX, NodeLog};
use self::places::{Places, prefix};
use super::database::{Database, WriteSet};
use super::encoding::{hash_bytes, node_from_bytes};
use super::lock::Lock;
use zkevm_tree::{Digest, NodeData};
use zkevm_tree::{StateReader, StoreError};

const PLACES: TableDefinition<u64, u64> = TableDefinition::new("places");
const TWINS: TableDefinition<&[u8; 32], u64> = TableDefinition::new("twins");
const PROGRAMS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("programs");
const LOG: TableDefinition<&str, u64> = TableDefinition::new("log");
const META: TableDefinition<&str, &[u8; 32]> = TableDefinition::new("meta");
const OLD_NODES: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("nodes");
const LATEST_ROOT: &str = "latest-root";
const LOG_NUMBER: &str = "number";
const LOG_INDEXED: &str = "indexed";
/// Name of the redb file inside the data folder.
const FILE_NAME: &str = "state.redb";
/// Wait before a database that is open elsewhere is tried again.
const OPEN_AGAIN: Duration = Duration::from_millis(20);
/// Wait before the index is tried again after an error.
const MERGE_AGAIN: Duration = Duration::from_secs(5);
/// One of so many parts of the cache's bytes is for places of nodes that are not in the index.
const PLACES_SHARE: usize = 4;
/// What such a place costs in memory.
const PLACE_BYTES: usize = 20;
/// Bounds of [`recent_max`]. The upper one fills a hash map of 2^20 slots.
const RECENT_MAX: (usize, usize) = (1 << 14, 7 << 17);

/// A database in one folder. Only one process can have it open.
pub struct EmbeddedDatabase {
    shared: Arc<Shared>,
    writer: Mutex<Writer>,
}

/// What readers, the writer and the thread that brings the index up to date share.
struct Shared {
    redb: redb::Database,
    folder: PathBuf,
    view: Lock<View>,
}

/// What readers see.
struct View {
    base: Arc<Base>,
    /// Places that the index lacks and that nobody is bringing there.
    recent: Places,
    /// Places that are on their way into the index.
    merging: Arc<Places>,
    latest_root: Digest,
}

impl View {
    /// Returns the places in memory where the node may be.
    fn candidates(&self, hash: &Digest) -> impl Iterator<Item = u64> + use<> {
        self.recent.candidates(hash).chain(self.merging.candidates(hash))
    }
}

/// The log, and what the last transaction left behind; readers share it, so that a read opens no transaction of its own.
struct Base {
    log: Arc<NodeLog>,
    places: ReadOnlyTable<u64, u64>,
    twins: ReadOnlyTable<&'static [u8; 32], u64>,
    programs: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    old_nodes: Option<ReadOnlyTable<&'static [u8; 32], &'static [u8]>>,
}

struct Writer {
    log_number: u64,
    /// Where the next group goes.
    end: u64,
    recent_max: usize,
    merge: Option<Merge>,
}

/// The way of `View::merging` into the index.
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
    /// Opens the database in `folder`, creating both if need be. `cache_bytes` bounds the pages and places kept in memory.
    /// If another process still has it open, tries again for as long as `patience`.
    ///
    /// Fails if that takes too long, or if the files are not such a database or are damaged.
    pub fn open(folder: &Path, cache_bytes: usize, patience: Duration) -> Result<Self, StoreError> {
        Self::open_with(folder, cache_bytes, recent_max(cache_bytes), patience)
    }

    fn open_with(folder: &Path, cache_bytes: usize, recent_max: usize, patience: Duration) -> Result<Self, StoreError> {
        std::fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        let redb = open_redb(&folder.join(FILE_NAME), cache_bytes - cache_bytes / PLACES_SHARE, patience)?;
        let (log, log_number, indexed) = open_log(&redb, folder)?;
        let mut recent = Places::default();
        let replayed = log.replay(indexed, |hash, place| recent.add(&hash, place));
        let replayed = replayed.map_err(|error| failed(&log_path(folder, log_number), error))?;
        let indexed_root = read_latest_root(&redb).map_err(|error| failed(folder, error))?;
        let base = Base::new(&redb, Arc::new(log)).map_err(|error| failed(folder, error))?;
        let latest_root = replayed.latest_root.unwrap_or(indexed_root);
        let view = View { base: Arc::new(base), recent, merging: Arc::default(), latest_root };
        let shared = Arc::new(Shared { redb, folder: folder.to_owned(), view: Lock::new(view) });
        let writer = Writer { log_number, end: replayed.end, recent_max, merge: None };
        Ok(Self { shared, writer: Mutex::new(writer) })
    }

    /// Puts the programs of the sets where they belong. Each has the hash it is stored under, so they may be there early.
    fn commit_programs(&self, sets: &[&WriteSet]) -> Result<(), StoreError> {
        let mut programs = sets.iter().flat_map(|set| &set.programs).peekable();
        if programs.peek().is_none() {
            return Ok(());
        }
        self.shared.write(|transaction| {
            let mut table = transaction.open_table(PROGRAMS)?;
            for (hash, code) in programs {
                table.insert(&hash_bytes(hash), code.as_ref())?;
            }
            Ok(())
        })?;
        self.shared.renew(self.shared.log(), |_| {})
    }

    /// Appends one group, and lets readers see it.
    fn append(
        &self,
        writer: &mut Writer,
        nodes: &[(&Digest, &NodeData)],
        latest_root: Option<Digest>,
    ) -> Result<(), StoreError> {
        self.keep_index_up(writer)?;
        let appended = self.shared.log().append(writer.end, nodes, latest_root);
        let (places, end) =
            appended.map_err(|error| failed(&log_path(&self.shared.folder, writer.log_number), error))?;
        writer.end = end;
        // A little at a time: readers wait meanwhile.
        for (nodes, places) in nodes.chunks(1024).zip(places.chunks(1024)) {
            let mut view = self.shared.view.write();
            nodes.iter().zip(places).for_each(|((hash, _), place)| view.recent.add(hash, *place));
        }
        if let Some(root) = latest_root {
            self.shared.view.write().latest_root = root;
        }
        Ok(())
    }

    /// Sees to it that places in memory find their way into the index. Waits for that, and fails with it, only if they
    /// have become twice as many as they should be.
    fn keep_index_up(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let recent = self.shared.view.read().recent.len();
        let must = recent >= 2 * writer.recent_max;
        if let Some(merge) = writer.merge.take() {
            writer.merge = self.follow(merge, must);
        }
        match &writer.merge {
            Some(Merge { state: MergeState::Failed(error, _), .. }) if must => return Err(error.clone()),
            None if recent >= writer.recent_max => {}
            _ => return Ok(()),
        }
        let latest_root = {
            let mut view = self.shared.view.write();
            view.merging = Arc::new(std::mem::take(&mut view.recent));
            view.latest_root
        };
        writer.merge = Some(self.start(writer.end, latest_root));
        Ok(())
    }

    /// Returns what a merge has become: nothing once it is done. Waits for the end if it `must`.
    fn follow(&self, merge: Merge, must: bool) -> Option<Merge> {
        match merge.state {
            MergeState::Running(thread) if must || thread.is_finished() => {
                let panicked = |_| Err(StoreError::Unavailable("the index of the database panicked".to_owned()));
                let error = thread.join().unwrap_or_else(panicked).err()?;
                tracing::error!(%error, "the index of the database could not be brought up to date, trying again");
                Some(Merge { state: MergeState::Failed(error, Instant::now()), ..merge })
            }
            MergeState::Failed(_, at) if at.elapsed() >= MERGE_AGAIN => {
                self.follow(self.start(merge.until, merge.latest_root), must)
            }
            _ => Some(merge),
        }
    }

    fn start(&self, until: u64, latest_root: Digest) -> Merge {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("index".to_owned());
        let state = match thread.spawn(move || shared.merge(until, latest_root)) {
            Ok(thread) => MergeState::Running(thread),
            Err(error) => MergeState::Failed(failed(&self.shared.folder, error), Instant::now()),
        };
        Merge { until, latest_root, state }
    }
}

impl Drop for EmbeddedDatabase {
    fn drop(&mut self) {
        // Whoever opens the database next finds it closed.
        if let Some(merge) = self.writer.get_mut().merge.take() {
            self.follow(merge, true);
        }
    }
}

impl Shared {
    fn write(&self, write: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>) -> Result<(), StoreError> {
        let transaction = || {
            let mut transaction = self.redb.begin_write()?;
            // A killed process must be back at once, however large the file is.
            transaction.set_quick_repair(true);
            write(&transaction)?;
            Ok(transaction.commit()?)
        };
        transaction().map_err(|error: redb::Error| self.redb_failed(error))
    }

    fn redb_failed(&self, error: impl std::fmt::Display) -> StoreError {
        failed(&self.folder.join(FILE_NAME), error)
    }

    fn log(&self) -> Arc<NodeLog> {
        Arc::clone(&self.view.read().base.log)
    }

    /// Lets readers see what has been written to redb, with `change` at the same moment.
    fn renew(&self, log: Arc<NodeLog>, change: impl FnOnce(&mut View)) -> Result<(), StoreError> {
        let mut view = self.view.write();
        // Not before: another thread may have renewed with a later transaction.
        let base = Base::new(&self.redb, log);
        view.base = Arc::new(base.map_err(|error| self.redb_failed(error))?);
        change(&mut view);
        Ok(())
    }

    /// Brings `View::merging` into the index.
    fn merge(&self, until: u64, latest_root: Digest) -> Result<(), StoreError> {
        let log = self.log();
        let merging = Arc::clone(&self.view.read().merging);
        self.write(|transaction| {
            let mut place_table = transaction.open_table(PLACES)?;
            let mut twin_table = transaction.open_table(TWINS)?;
            for (prefix, place) in merging.sorted() {
                let Some(before) = place_table.insert(prefix, place)?.map(|before| before.value()) else { continue };
                // The same node once more, or another one.
                let read = |place| log.read(place).map_err(redb::Error::Io);
                let (kept, new) = (read(before)?, read(place)?);
                if kept.hash != new.hash {
                    place_table.insert(prefix, before)?;
                    twin_table.insert(&new.hash, place)?;
                }
            }
            for (hash, place) in merging.twins() {
                twin_table.insert(&hash_bytes(hash), place)?;
            }
            transaction.open_table(LOG)?.insert(LOG_INDEXED, until)?;
            transaction.open_table(META)?.insert(LATEST_ROOT, &hash_bytes(&latest_root))?;
            Ok(())
        })?;
        self.renew(log, |view| view.merging = Arc::default())
    }

    /// Returns a node whose place is in memory, and else what else there is.
    fn recent_node(&self, hash: &Digest) -> Result<Result<NodeData, Arc<Base>>, StoreError> {
        let (base, candidates) = {
            let view = self.view.read();
            let mut candidates = [None; 4];
            candidates.iter_mut().zip(view.candidates(hash)).for_each(|(candidate, place)| *candidate = Some(place));
            (Arc::clone(&view.base), candidates)
        };
        for place in candidates.into_iter().flatten() {
            if let Some(node) = self.node_at(&base, place, hash)? {
                return Ok(Ok(node));
            }
        }
        Ok(Err(base))
    }

    fn indexed_node(&self, base: &Base, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let failed = |error| self.redb_failed(error);
        let Some(place) = base.places.get(prefix(hash)).map_err(failed)?.map(|place| place.value()) else {
            return Ok(None);
        };
        if let Some(node) = self.node_at(base, place, hash)? {
            return Ok(Some(node));
        }
        match base.twins.get(&hash_bytes(hash)).map_err(failed)? {
            Some(place) => self.node_at(base, place.value(), hash),
            None => Ok(None),
        }
    }

    /// Returns the node at a place if it is the one looked for.
    fn node_at(&self, base: &Base, place: u64, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let record = base.log.read(place).map_err(|error| failed(&self.folder, error))?;
        if record.hash != hash_bytes(hash) {
            return Ok(None);
        }
        node_from_bytes(hash, record.data()).map(Some)
    }
}

impl Base {
    fn new(redb: &redb::Database, log: Arc<NodeLog>) -> Result<Self, redb::Error> {
        let transaction = redb.begin_read()?;
        let old_nodes = match transaction.open_table(OLD_NODES) {
            Ok(table) => Some(table),
            Err(TableError::TableDoesNotExist(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let (places, twins) = (transaction.open_table(PLACES)?, transaction.open_table(TWINS)?);
        Ok(Self { log, places, twins, programs: transaction.open_table(PROGRAMS)?, old_nodes })
    }
}

/// So many places may wait in memory before they go into the index: the more, the cheaper each of them becomes.
///
/// While they go there as many come after them, and no more than twice as many.
fn recent_max(cache_bytes: usize) -> usize {
    (cache_bytes / PLACES_SHARE / 3 / PLACE_BYTES).clamp(RECENT_MAX.0, RECENT_MAX.1)
}

fn failed(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

fn open_redb(path: &Path, cache_bytes: usize, patience: Duration) -> Result<redb::Database, StoreError> {
    let limit = Instant::now() + patience;
    loop {
        match redb::Builder::new().set_cache_size(cache_bytes).create(path) {
            Ok(database) => return Ok(database),
            Err(redb::DatabaseError::DatabaseAlreadyOpen) if Instant::now() < limit => std::thread::sleep(OPEN_AGAIN),
            Err(error) => return Err(failed(path, error)),
        }
    }
}

fn log_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("nodes-{number}.log"))
}

/// Opens the log the redb file names, and returns it with its number and how far it is indexed. A new database gets one.
fn open_log(redb: &redb::Database, folder: &Path) -> Result<(NodeLog, u64, u64), StoreError> {
    let redb_failed = |error: redb::Error| failed(&folder.join(FILE_NAME), error);
    if let Some((number, indexed)) = read_log_position(redb).map_err(redb_failed)? {
        let path = log_path(folder, number);
        let log = NodeLog::open(&path).map_err(|error| failed(&path, error))?;
        remove_other_logs(folder, number)?;
        return Ok((log, number, indexed));
    }
    let number = 1;
    let path = log_path(folder, number);
    let log = NodeLog::create(&path).map_err(|error| failed(&path, error))?;
    let start = || {
        let transaction = redb.begin_write()?;
        start_log(&transaction, number)?;
        Ok(transaction.commit()?)
    };
    start().map_err(redb_failed)?;
    Ok((log, number, NodeLog::START))
}

/// Removes logs that nothing names any more, or not yet.
fn remove_other_logs(folder: &Path, number: u64) -> Result<(), StoreError> {
    let current = log_path(folder, number);
    let remove = || {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.starts_with("nodes-") && name.ends_with(".log") && path != current {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    };
    remove().map_err(|error: std::io::Error| failed(folder, error))
}

/// Makes the tables there are not yet, and names an empty log.
fn start_log(transaction: &WriteTransaction, number: u64) -> Result<(), redb::Error> {
    transaction.open_table(PLACES)?;
    transaction.open_table(TWINS)?;
    transaction.open_table(PROGRAMS)?;
    transaction.open_table(META)?;
    let mut log = transaction.open_table(LOG)?;
    log.insert(LOG_NUMBER, number)?;
    log.insert(LOG_INDEXED, NodeLog::START)?;
    Ok(())
}

fn read_log_position(redb: &redb::Database) -> Result<Option<(u64, u64)>, redb::Error> {
    let table = match redb.begin_read()?.open_table(LOG) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let value = |key| Ok::<_, redb::Error>(table.get(key)?.map(|value| value.value()));
    Ok(value(LOG_NUMBER)?.zip(value(LOG_INDEXED)?))
}

fn read_latest_root(redb: &redb::Database) -> Result<Digest, redb::Error> {
    let table = redb.begin_read()?.open_table(META)?;
    Ok(table.get(LATEST_ROOT)?.map_or(Digest::ZERO, |root| B256::from(*root.value()).into()))
}

impl StateReader for EmbeddedDatabase {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let base = match self.shared.recent_node(hash)? {
            Ok(node) => return Ok(Some(node)),
            Err(base) => base,
        };
        if let Some(node) = self.shared.indexed_node(&base, hash)? {
            return Ok(Some(node));
        }
        let Some(old_nodes) = &base.old_nodes else { return Ok(None) };
        let found = old_nodes.get(&hash_bytes(hash)).map_err(|error| self.shared.redb_failed(error))?;
        found.map(|data| node_from_bytes(hash, data.value())).transpose()
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        let base = Arc::clone(&self.shared.view.read().base);
        let found = base.programs.get(&hash_bytes(hash)).map_err(|error| self.shared.redb_failed(error))?;
        Ok(found.map(|code| Bytes::copy_from_slice(code.value())))
    }
}

impl Database for EmbeddedDatabase {
    fn commit(&self, sets: &[&WriteSet]) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        self.commit_programs(sets)?;
        let all = sets.iter().flat_map(|set| &set.nodes).map(|(hash, node)| (hash, node));
        let (mut nodes, known): (Vec<_>, Vec<_>) = {
            let view = self.shared.view.read();
            all.partition(|(hash, _)| view.candidates(hash).next().is_none())
        };
        // Batches that are executed again leave the same nodes again.
        for (hash, node) in known {
            if self.shared.recent_node(hash)?.is_err() {
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
        Ok(self.shared.view.read().latest_root)
    }

    fn clear(&self) -> Result<(), StoreError> {
        let mut writer = self.writer.lock();
        if let Some(merge) = writer.merge.take() {
            self.follow(merge, true);
        }
        let number = writer.log_number + 1;
        let path = log_path(&self.shared.folder, number);
        let log = NodeLog::create(&path).map_err(|error| failed(&path, error))?;
        self.shared.write(|transaction| {
            transaction.delete_table(OLD_NODES)?;
            transaction.delete_table(PLACES)?;
            transaction.delete_table(TWINS)?;
            transaction.delete_table(PROGRAMS)?;
            transaction.delete_table(META)?;
            start_log(transaction, number)
        })?;
        self.shared.renew(Arc::new(log), |view| {
            view.recent = Places::default();
            view.merging = Arc::default();
            view.latest_root = Digest::ZERO;
        })?;
        writer.log_number = number;
        writer.end = NodeLog::START;
        remove_other_logs(&self.shared.folder, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(number: u64) -> WriteSet {
        let mut leaf = [number; 12];
        leaf[8..].copy_from_slice(&[1, 0, 0, 0]);
        let mut branch = [number; 12];
        branch[8..].fill(0);
        WriteSet {
            nodes: vec![(Digest([number, 0, 0, 1]), leaf), (Digest([number, 0, 0, 2]), branch)],
            programs: vec![(Digest([number, 0, 0, 3]), Bytes::copy_from_slice(&[number as u8; 3]))],
            latest_root: Some(Digest([number, 0, 0, 1])),
        }
    }

    fn assert_holds(database: &EmbeddedDatabase, set: &WriteSet) {
        for (hash, node) in &set.nodes {
            assert_eq!(database.node(hash), Ok(Some(*node)));
        }
        for (hash, code) in &set.programs {
            assert_eq!(database.program(hash), Ok(Some(code.clone())));
        }
    }

    #[test]
    fn what_was_committed_is_there_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (set(1), set(2));
        {
            let database = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).unwrap();
            assert_eq!(database.latest_root(), Ok(Digest::ZERO));
            database.commit(&[&first, &second]).unwrap();
            database.commit(&[&first, &WriteSet { latest_root: None, ..first.clone() }]).unwrap();
            assert_holds(&database, &second);
        }
        let database = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).unwrap();
        assert_holds(&database, &first);
        assert_holds(&database, &second);
        assert_eq!(database.node(&Digest([9; 4])), Ok(None));
        assert_eq!(database.latest_root(), Ok(Digest([1, 0, 0, 1])));
        database.clear().unwrap();
        assert_eq!(database.node(&first.nodes[0].0), Ok(None));
        assert_eq!(database.latest_root(), Ok(Digest::ZERO));
        database.commit(&[&second]).unwrap();
        drop(database);
        let database = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).unwrap();
        assert_holds(&database, &second);
        assert_eq!(database.node(&first.nodes[0].0), Ok(None));
    }

    fn open(folder: &Path, recent_max: usize) -> EmbeddedDatabase {
        EmbeddedDatabase::open_with(folder, 1 << 20, recent_max, Duration::ZERO).unwrap()
    }

    /// Nodes whose first limbs are those of sixteen others.
    fn twins(numbers: std::ops::Range<u64>) -> WriteSet {
        let node = |number| (Digest([number, 1, 2, number % 16]), [number; 12]);
        WriteSet { nodes: numbers.map(node).collect(), ..WriteSet::default() }
    }

    #[test]
    fn nodes_stay_apart_and_readable_on_their_way_into_the_index() {
        let folder = tempfile::tempdir().unwrap();
        let all: Vec<_> = (0..40).map(|step| twins(step * 7..step * 7 + 9)).collect();
        {
            let database = open(folder.path(), 20);
            for (number, set) in all.iter().enumerate() {
                database.commit(&[set]).unwrap();
                all[..=number].iter().for_each(|set| assert_holds(&database, set));
            }
            let view = database.shared.view.read();
            assert!(view.recent.len() <= 40, "{} places wait", view.recent.len());
        }
        let database = open(folder.path(), 20);
        all.iter().for_each(|set| assert_holds(&database, set));
        assert_eq!(database.node(&Digest([9_999, 1, 2, 3])), Ok(None), "a twin of others that was never written");
    }

    #[test]
    fn what_a_kill_left_out_of_the_index_is_read_from_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let sets: Vec<_> = (0..5).map(|step| twins(step * 10..step * 10 + 10)).collect();
        {
            let database = open(folder.path(), 1000);
            database.commit(&sets.iter().collect::<Vec<_>>()).unwrap();
            database.commit(&[&set(1)]).unwrap();
        }
        // A commit that a kill cut short.
        let path = log_path(folder.path(), 1);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], &whole[16..100]].concat()).unwrap();
        let database = open(folder.path(), 1000);
        sets.iter().for_each(|set| assert_holds(&database, set));
        assert_eq!(database.latest_root(), Ok(Digest([1, 0, 0, 1])));
        database.commit(&sets.iter().collect::<Vec<_>>()).unwrap();
        assert_eq!(database.writer.lock().end, whole.len() as u64, "the latest nodes are not written again");
        database.commit(&[&set(2)]).unwrap();
        drop(database);
        assert_holds(&open(folder.path(), 1), &set(2));
        std::fs::remove_file(&path).unwrap();
        let error = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).err().unwrap().to_string();
        assert!(error.contains("nodes-1.log"), "{error}");
    }

    #[test]
    fn an_index_that_cannot_be_written_holds_writes_up_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let database = open(folder.path(), 10);
        // Nobody else can write to redb as long as this lasts.
        let transaction = database.shared.redb.begin_write().unwrap();
        let sets: Vec<_> = (0..3).map(|step| twins(step * 10..step * 10 + 10)).collect();
        sets.iter().for_each(|set| database.commit(&[set]).unwrap());
        std::thread::scope(|scope| {
            let late = scope.spawn(|| database.commit(&[&set(7)]));
            std::thread::sleep(Duration::from_millis(50));
            assert!(!late.is_finished(), "there are twice as many places as there should be");
            sets.iter().for_each(|set| assert_holds(&database, set));
            drop(transaction);
            late.join().unwrap().unwrap();
        });
        assert_holds(&database, &set(7));
    }

    #[test]
    fn a_database_of_the_time_before_the_log_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (set(1), set(2));
        {
            let redb = redb::Database::create(folder.path().join(FILE_NAME)).unwrap();
            let transaction = redb.begin_write().unwrap();
            for (hash, node) in &old.nodes {
                let data = crate::encoding::node_bytes(node);
                transaction.open_table(OLD_NODES).unwrap().insert(&hash_bytes(hash), &data[..]).unwrap();
            }
            transaction.open_table(PROGRAMS).unwrap().insert(&hash_bytes(&old.programs[0].0), &[1; 3][..]).unwrap();
            transaction.open_table(META).unwrap().insert(LATEST_ROOT, &hash_bytes(&Digest([1, 0, 0, 1]))).unwrap();
            transaction.commit().unwrap();
        }
        let database = open(folder.path(), 1);
        assert_eq!(database.latest_root(), Ok(Digest([1, 0, 0, 1])));
        database.commit(&[&new]).unwrap();
        assert_holds(&database, &old);
        assert_holds(&database, &new);
        database.clear().unwrap();
        assert_eq!(database.node(&old.nodes[0].0), Ok(None));
    }

    #[test]
    fn a_database_that_is_open_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _open = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).unwrap();
        let error = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).err().unwrap().to_string();
        assert!(error.contains("state.redb") && error.contains("already open"), "{error}");
    }
}
