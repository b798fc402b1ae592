//! The log together with its index: what readers see, and how the index catches up.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::Bytes;
use parking_lot::RwLock;
use redb::{ReadOnlyTable, ReadableDatabase, ReadableTable, WriteTransaction};

use super::files::{
    COLLISIONS, FILE_NAME, LATEST_ROOT, LOG, LOG_FORMAT, LOG_INDEXED, META, NamedLog, OFFSETS, PROGRAMS, create_redb,
    failed, log_path, open_log, open_redb, read_latest_root,
};
use super::index::{Index, IndexError, guarded};
use super::log::{Found, GROUP_PROGRAMS_BYTES_MAX, NodeLog};
use super::offset_index::{OffsetIndex, prefix};
use super::record::{NodeRecord, ProgramRecord, Record};
use super::version::{FORMAT_VERSION, needs_rebuild};
use crate::encoding::{hash_bytes, hash_from_bytes, node_from_bytes};
use zkevm_tree::poseidon::hash_node;
use zkevm_tree::{Digest, NodeData, StoreError};

/// What readers, the writer and the thread that brings the index up to date share.
pub(super) struct IndexedLog {
    pub(super) index: Index,
    pub(super) folder: PathBuf,
    pub(super) snapshot: RwLock<Snapshot>,
}

/// What readers see.
pub(super) struct Snapshot {
    pub(super) tables: Arc<TableHandles>,
    /// Offsets that the index lacks and that nobody is bringing there.
    pub(super) recent: OffsetIndex,
    /// Offsets that are on their way into the index.
    pub(super) merging: Arc<OffsetIndex>,
    pub(super) latest_root: Digest,
}

impl Snapshot {
    /// Returns the offsets in memory where the node may be.
    pub(super) fn candidates(&self, hash: &Digest) -> impl Iterator<Item = u64> + use<> {
        self.recent.candidates(hash).chain(self.merging.candidates(hash))
    }
}

/// The log, and the tables as the last transaction left them. Readers share the handles, so that a read opens no transaction
/// of its own.
pub(super) struct TableHandles {
    log: Arc<NodeLog>,
    /// Number in the name of the log.
    log_number: u64,
    offsets: ReadOnlyTable<u64, u64>,
    collisions: ReadOnlyTable<&'static [u8; 32], u64>,
    pub(super) programs: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
}

impl TableHandles {
    fn new(redb: &redb::Database, log: Arc<NodeLog>, log_number: u64) -> Result<Self, IndexError> {
        let transaction = redb.begin_read()?;
        Ok(Self {
            log,
            log_number,
            offsets: transaction.open_table(OFFSETS)?,
            collisions: transaction.open_table(COLLISIONS)?,
            programs: transaction.open_table(PROGRAMS)?,
        })
    }
}

/// An open log with its index, and where its next group goes.
pub(super) struct Opened {
    pub(super) indexed_log: IndexedLog,
    pub(super) log_number: u64,
    pub(super) end: u64,
}

impl IndexedLog {
    /// Opens the files in a folder, and reads the end of the log that the index lacks. Files of the format version before are
    /// brought up to the present one.
    pub(super) fn open(folder: &Path, cache_bytes: usize, patience: Duration) -> Result<Opened, StoreError> {
        create_redb(folder)?;
        let redb = open_redb(folder, cache_bytes, patience)?;
        let index_failed = |error: IndexError| failed(&folder.join(FILE_NAME), error);
        let NamedLog { log, number: log_number, indexed, version } = open_log(&redb, folder)?;
        let log_failed = |error: &dyn std::fmt::Display| failed(&log_path(folder, log_number), error);
        let (mut recent, mut programs) = (OffsetIndex::default(), Programs::default());
        let replayed = log.replay(
            indexed,
            |Found { record, offset }| {
                match record {
                    Record::Node(node) => recent.add(&hash_from_bytes(&node.hash), offset),
                    Record::Program(program) => programs.add(&redb, program)?,
                }
                Ok(())
            },
            |_| Ok(()),
        );
        let replayed = replayed.map_err(|error: IndexError| match error {
            IndexError::Log(error) => log_failed(&error),
            error => index_failed(error),
        })?;
        programs.store(&redb).map_err(index_failed)?;
        let indexed_root = guarded(|| read_latest_root(&redb)).map_err(index_failed)?;
        let mut end = replayed.end;
        if version < FORMAT_VERSION {
            end = upgrade(&redb, &log, end).map_err(index_failed)?;
        }
        let tables = guarded(|| TableHandles::new(&redb, Arc::new(log), log_number)).map_err(index_failed)?;
        let latest_root = replayed.latest_root.unwrap_or(indexed_root);
        let snapshot = Snapshot { tables: Arc::new(tables), recent, merging: Arc::default(), latest_root };
        let index = Index::new(redb, folder, cache_bytes, log_number, indexed);
        let indexed_log = Self { index, folder: folder.to_owned(), snapshot: RwLock::new(snapshot) };
        indexed_log.check_latest_root()?;
        Ok(Opened { indexed_log, log_number, end })
    }

    /// Fails if the latest root is not that of a node, which a damaged index would say.
    fn check_latest_root(&self) -> Result<(), StoreError> {
        let root = self.snapshot.read().latest_root;
        if root.is_zero() || self.node(&root)?.is_some() {
            return Ok(());
        }
        Err(self
            .index
            .failed(needs_rebuild(format_args!("it names a latest root {} that is not there", root.to_b256()))))
    }

    /// Runs a transaction of redb.
    pub(super) fn write(
        &self,
        write: impl FnOnce(&WriteTransaction) -> Result<(), IndexError>,
    ) -> Result<(), StoreError> {
        self.mend()?;
        self.index.write(write)
    }

    /// Opens the index again if an I/O error made it useless.
    pub(super) fn mend(&self) -> Result<(), StoreError> {
        if !self.index.is_away() {
            return Ok(());
        }
        self.index.open_again(|redb| {
            let mut snapshot = self.snapshot.write();
            let tables = TableHandles::new(redb, Arc::clone(&snapshot.tables.log), snapshot.tables.log_number)?;
            snapshot.tables = Arc::new(tables);
            Ok(())
        })?;
        Ok(())
    }

    /// Reads the index; once more if it had to be opened again.
    fn read_index<T>(&self, read: impl Fn(&TableHandles) -> Result<T, IndexError>) -> Result<T, StoreError> {
        self.mend()?;
        let tables = || Arc::clone(&self.snapshot.read().tables);
        let now = tables();
        match self.index.note(guarded(|| read(&now))) {
            Err(error) if self.index.is_away() => {
                self.mend()?;
                if self.index.is_away() {
                    return Err(error);
                }
                let now = tables();
                self.index.note(guarded(|| read(&now)))
            }
            done => done,
        }
    }

    /// Returns the present log.
    pub(super) fn log(&self) -> Arc<NodeLog> {
        Arc::clone(&self.snapshot.read().tables.log)
    }

    /// Lets readers see what has been written to redb, with `change` at the same moment.
    pub(super) fn refresh(
        &self,
        log: Arc<NodeLog>,
        log_number: u64,
        change: impl FnOnce(&mut Snapshot),
    ) -> Result<(), StoreError> {
        self.index.run(|redb| {
            let mut snapshot = self.snapshot.write();
            // Not before: another thread may have refreshed with a later transaction.
            snapshot.tables = Arc::new(TableHandles::new(redb, log, log_number)?);
            change(&mut snapshot);
            Ok(())
        })
    }

    /// Lets readers see what has been written to redb.
    pub(super) fn refresh_tables(&self, change: impl FnOnce(&mut Snapshot)) -> Result<(), StoreError> {
        let (log, number) = {
            let tables = &self.snapshot.read().tables;
            (Arc::clone(&tables.log), tables.log_number)
        };
        self.refresh(log, number, change)
    }

    /// Brings `Snapshot::merging`, the log up to `until`, into the index.
    pub(super) fn merge(&self, until: u64, latest_root: Digest) -> Result<(), StoreError> {
        let (log, number, merging) = {
            let snapshot = self.snapshot.read();
            (Arc::clone(&snapshot.tables.log), snapshot.tables.log_number, Arc::clone(&snapshot.merging))
        };
        self.write(|transaction| add_offsets(transaction, &log, &merging, until, latest_root))?;
        self.index.set_content(number, until);
        self.refresh_tables(|snapshot| snapshot.merging = Arc::default())
    }

    /// Returns a node.
    pub(super) fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        match self.recent_node(hash) {
            Ok(Some(node)) => Ok(Some(node)),
            Ok(None) => self.indexed_node(hash),
            // Another node whose hash begins alike may be the damaged one.
            Err(error) => self.indexed_node(hash)?.map_or(Err(error), |node| Ok(Some(node))),
        }
    }

    /// Returns a node whose offset is in memory. Fails if it is damaged wherever it is.
    pub(super) fn recent_node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let (tables, candidates) = {
            let snapshot = self.snapshot.read();
            let mut candidates = [None; 4];
            let found = snapshot.candidates(hash);
            candidates.iter_mut().zip(found).for_each(|(candidate, offset)| *candidate = Some(offset));
            (Arc::clone(&snapshot.tables), candidates)
        };
        let mut damage = None;
        for offset in candidates.into_iter().flatten() {
            match self.node_at(&tables, offset, hash) {
                Ok(None) => {}
                Ok(found) => return Ok(found),
                Err(error) => damage = Some(error),
            }
        }
        damage.map_or(Ok(None), Err)
    }

    /// Returns a node that is in the index.
    fn indexed_node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let first = |tables: &TableHandles| Ok(tables.offsets.get(prefix(hash))?.map(|offset| offset.value()));
        let Some(offset) = self.read_index(first)? else { return Ok(None) };
        let tables = Arc::clone(&self.snapshot.read().tables);
        let found = self.node_at(&tables, offset, hash);
        if let Ok(Some(_)) = found {
            return found;
        }
        let key = hash_bytes(hash);
        let other = |tables: &TableHandles| Ok(tables.collisions.get(&key)?.map(|offset| offset.value()));
        match self.read_index(other)? {
            Some(offset) => self.node_at(&tables, offset, hash),
            None => found,
        }
    }

    /// Returns a program.
    pub(super) fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        let key = hash_bytes(hash);
        self.read_index(|tables| Ok(tables.programs.get(&key)?.map(|code| Bytes::copy_from_slice(code.value()))))
    }

    /// Returns the node at an offset if it is the one looked for, `None` if it is another one whose hash begins alike.
    ///
    /// Fails with [`StoreError::Damaged`] if it is neither.
    fn node_at(&self, tables: &TableHandles, offset: u64, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let path = log_path(&self.folder, tables.log_number);
        let damaged = |what: &dyn std::fmt::Display| StoreError::Damaged {
            hash: *hash,
            place: format!("{}, offset {offset}: {what}", path.display()),
        };
        let record = tables.log.read(offset).map_err(|error| match error.kind() {
            ErrorKind::InvalidData => damaged(&error),
            _ => failed(&path, error),
        })?;
        let found = hash_from_bytes(&record.hash);
        if prefix(&found) != prefix(hash) {
            return Err(damaged(&"the index names another record"));
        }
        let node = node_from_bytes(&found, record.data(), || path.display().to_string())?;
        if !is_right(&record, &node) {
            return Err(damaged(&"the record does not have its hash"));
        }
        Ok((found == *hash).then_some(node))
    }
}

/// True if what was read is what was written: by the record's checksum, or, without one, by its hash.
fn is_right(record: &NodeRecord, node: &NodeData) -> bool {
    record.is_whole.unwrap_or_else(|| hash_bytes(&hash_node(node)) == record.hash)
}

/// Adds offsets to the tables, and says that the log is indexed up to `until`.
pub(super) fn add_offsets(
    transaction: &WriteTransaction,
    log: &NodeLog,
    new: &OffsetIndex,
    until: u64,
    latest_root: Digest,
) -> Result<(), IndexError> {
    let mut offsets = transaction.open_table(OFFSETS)?;
    let mut collisions = transaction.open_table(COLLISIONS)?;
    for (prefix, offset) in new.sorted() {
        let Some(before) = offsets.insert(prefix, offset)?.map(|before| before.value()) else { continue };
        // The same node once more, or another one. One that is damaged gives way.
        match (undamaged(log.read(before))?, undamaged(log.read(offset))?) {
            (Some(kept), Some(new)) if kept.hash != new.hash => {
                offsets.insert(prefix, before)?;
                collisions.insert(&new.hash, offset)?;
            }
            (_, None) => drop(offsets.insert(prefix, before)?),
            _ => {}
        }
    }
    for (hash, offset) in new.collisions() {
        collisions.insert(&hash_bytes(hash), offset)?;
    }
    transaction.open_table(LOG)?.insert(LOG_INDEXED, until)?;
    transaction.open_table(META)?.insert(LATEST_ROOT, &hash_bytes(&latest_root))?;
    Ok(())
}

/// Returns what was read, `None` if it is damaged.
fn undamaged(read: std::io::Result<NodeRecord>) -> std::io::Result<Option<NodeRecord>> {
    match read {
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok(None),
        read => read.map(Some),
    }
}

/// Programs found in the log that the index may lack: it does if it was put back from an older copy.
#[derive(Default)]
pub(super) struct Programs {
    found: Vec<ProgramRecord>,
    bytes: usize,
}

impl Programs {
    /// Adds one, and stores those before it once they are many.
    fn add(&mut self, redb: &redb::Database, program: ProgramRecord) -> Result<(), IndexError> {
        if self.push(program) { self.store(redb) } else { Ok(()) }
    }

    /// Adds one; true if they have become many.
    pub(super) fn push(&mut self, program: ProgramRecord) -> bool {
        self.bytes += program.code.len();
        self.found.push(program);
        self.bytes >= GROUP_PROGRAMS_BYTES_MAX
    }

    fn store(&mut self, redb: &redb::Database) -> Result<(), IndexError> {
        if self.found.is_empty() {
            return Ok(());
        }
        guarded(|| {
            let transaction = redb.begin_write()?;
            self.put(&transaction)?;
            Ok(transaction.commit()?)
        })
    }

    /// Puts those into the table that are not there, and forgets them.
    pub(super) fn put(&mut self, transaction: &WriteTransaction) -> Result<(), IndexError> {
        let mut table = transaction.open_table(PROGRAMS)?;
        for ProgramRecord { hash, code } in self.found.drain(..) {
            let is_there = table.get(&hash)?.is_some_and(|known| known.value() == code);
            if !is_there {
                table.insert(&hash, &code[..])?;
            }
        }
        self.bytes = 0;
        Ok(())
    }
}

/// Brings files of the version before up to the present one: puts the programs, which only the index had, into the log.
/// Returns where the next group goes.
fn upgrade(redb: &redb::Database, log: &NodeLog, end: u64) -> Result<u64, IndexError> {
    tracing::info!("the database is brought to format version {FORMAT_VERSION}: its programs go into the log");
    log.set_version()?;
    guarded(|| {
        let mut end = end;
        let table = redb.begin_read()?.open_table(PROGRAMS)?;
        let (mut group, mut bytes): (Vec<([u8; 32], Bytes)>, usize) = (Vec::new(), 0);
        let append = |end: u64, group: &[([u8; 32], Bytes)]| {
            let programs: Vec<_> = group.iter().map(|(hash, code)| (hash, code)).collect();
            log.append(end, &[], &programs, None).map(|(_, end)| end)
        };
        for program in table.range::<&[u8; 32]>(..)? {
            let (hash, code) = program?;
            bytes += code.value().len();
            group.push((*hash.value(), Bytes::copy_from_slice(code.value())));
            if bytes >= GROUP_PROGRAMS_BYTES_MAX {
                end = append(end, &group)?;
                (group, bytes) = (Vec::new(), 0);
            }
        }
        if !group.is_empty() {
            end = append(end, &group)?;
        }
        let transaction = redb.begin_write()?;
        transaction.open_table(LOG)?.insert(LOG_FORMAT, FORMAT_VERSION)?;
        transaction.commit()?;
        Ok(end)
    })
}
