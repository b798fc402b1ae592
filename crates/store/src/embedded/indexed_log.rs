//! The log together with its index: what readers see, and how the index catches up.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use redb::{ReadOnlyTable, ReadableDatabase, WriteTransaction};

use super::files::{
    COLLISIONS, FILE_NAME, LATEST_ROOT, LOG, LOG_INDEXED, META, NamedLog, OFFSETS, PROGRAMS, failed, log_path,
    open_log, open_redb, read_latest_root,
};
use super::log::NodeLog;
use super::offset_index::{OffsetIndex, prefix};
use crate::encoding::{hash_bytes, node_from_bytes};
use zkevm_tree::{Digest, NodeData, StoreError};

/// What readers, the writer and the thread that brings the index up to date share.
pub(super) struct IndexedLog {
    pub(super) redb: redb::Database,
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
    offsets: ReadOnlyTable<u64, u64>,
    collisions: ReadOnlyTable<&'static [u8; 32], u64>,
    pub(super) programs: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
}

impl TableHandles {
    fn new(redb: &redb::Database, log: Arc<NodeLog>) -> Result<Self, redb::Error> {
        let transaction = redb.begin_read()?;
        Ok(Self {
            log,
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
    /// Opens the files in a folder, and reads the end of the log that the index lacks.
    pub(super) fn open(folder: &Path, cache_bytes: usize, patience: std::time::Duration) -> Result<Opened, StoreError> {
        let redb = open_redb(folder, cache_bytes, patience)?;
        let NamedLog { log, number: log_number, indexed } = open_log(&redb, folder)?;
        let mut recent = OffsetIndex::default();
        let replayed = log.replay(indexed, |hash, offset| recent.add(&hash, offset));
        let replayed = replayed.map_err(|error| failed(&log_path(folder, log_number), error))?;
        let indexed_root = read_latest_root(&redb).map_err(|error| failed(folder, error))?;
        let tables = TableHandles::new(&redb, Arc::new(log)).map_err(|error| failed(folder, error))?;
        let latest_root = replayed.latest_root.unwrap_or(indexed_root);
        let snapshot = Snapshot { tables: Arc::new(tables), recent, merging: Arc::default(), latest_root };
        let indexed_log = Self { redb, folder: folder.to_owned(), snapshot: RwLock::new(snapshot) };
        Ok(Opened { indexed_log, log_number, end: replayed.end })
    }

    /// Runs a transaction of redb.
    pub(super) fn write(
        &self,
        write: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let transaction = || {
            let mut transaction = self.redb.begin_write()?;
            // A killed process must be back at once, however large the file is.
            transaction.set_quick_repair(true);
            write(&transaction)?;
            Ok(transaction.commit()?)
        };
        transaction().map_err(|error: redb::Error| self.redb_failed(error))
    }

    /// Returns an error of the redb file.
    pub(super) fn redb_failed(&self, error: impl std::fmt::Display) -> StoreError {
        failed(&self.folder.join(FILE_NAME), error)
    }

    /// Returns the present log.
    pub(super) fn log(&self) -> Arc<NodeLog> {
        Arc::clone(&self.snapshot.read().tables.log)
    }

    /// Lets readers see what has been written to redb, with `change` at the same moment.
    pub(super) fn refresh(&self, log: Arc<NodeLog>, change: impl FnOnce(&mut Snapshot)) -> Result<(), StoreError> {
        let mut snapshot = self.snapshot.write();
        // Not before: another thread may have refreshed with a later transaction.
        let tables = TableHandles::new(&self.redb, log);
        snapshot.tables = Arc::new(tables.map_err(|error| self.redb_failed(error))?);
        change(&mut snapshot);
        Ok(())
    }

    /// Brings `Snapshot::merging`, the log up to `until`, into the index.
    pub(super) fn merge(&self, until: u64, latest_root: Digest) -> Result<(), StoreError> {
        let log = self.log();
        let merging = Arc::clone(&self.snapshot.read().merging);
        self.write(|transaction| {
            let mut offsets = transaction.open_table(OFFSETS)?;
            let mut collisions = transaction.open_table(COLLISIONS)?;
            for (prefix, offset) in merging.sorted() {
                let Some(before) = offsets.insert(prefix, offset)?.map(|before| before.value()) else { continue };
                // The same node once more, or another one.
                let read = |offset| log.read(offset).map_err(redb::Error::Io);
                let (kept, new) = (read(before)?, read(offset)?);
                if kept.hash != new.hash {
                    offsets.insert(prefix, before)?;
                    collisions.insert(&new.hash, offset)?;
                }
            }
            for (hash, offset) in merging.collisions() {
                collisions.insert(&hash_bytes(hash), offset)?;
            }
            transaction.open_table(LOG)?.insert(LOG_INDEXED, until)?;
            transaction.open_table(META)?.insert(LATEST_ROOT, &hash_bytes(&latest_root))?;
            Ok(())
        })?;
        self.refresh(log, |snapshot| snapshot.merging = Arc::default())
    }

    /// Returns a node whose offset is in memory, else the tables to look in.
    pub(super) fn recent_node(&self, hash: &Digest) -> Result<Result<NodeData, Arc<TableHandles>>, StoreError> {
        let (tables, candidates) = {
            let snapshot = self.snapshot.read();
            let mut candidates = [None; 4];
            let found = snapshot.candidates(hash);
            candidates.iter_mut().zip(found).for_each(|(candidate, offset)| *candidate = Some(offset));
            (Arc::clone(&snapshot.tables), candidates)
        };
        for offset in candidates.into_iter().flatten() {
            if let Some(node) = self.node_at(&tables, offset, hash)? {
                return Ok(Ok(node));
            }
        }
        Ok(Err(tables))
    }

    /// Returns a node that is in the index.
    pub(super) fn indexed_node(&self, tables: &TableHandles, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let failed = |error| self.redb_failed(error);
        let Some(offset) = tables.offsets.get(prefix(hash)).map_err(failed)?.map(|offset| offset.value()) else {
            return Ok(None);
        };
        if let Some(node) = self.node_at(tables, offset, hash)? {
            return Ok(Some(node));
        }
        match tables.collisions.get(&hash_bytes(hash)).map_err(failed)? {
            Some(offset) => self.node_at(tables, offset.value(), hash),
            None => Ok(None),
        }
    }

    /// Returns the node at an offset if it is the one looked for.
    fn node_at(&self, tables: &TableHandles, offset: u64, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let record = tables.log.read(offset).map_err(|error| failed(&self.folder, error))?;
        if record.hash != hash_bytes(hash) {
            return Ok(None);
        }
        node_from_bytes(hash, record.data()).map(Some)
    }
}
