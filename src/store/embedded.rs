//! The embedded database: one redb file (pure Rust, ACID, copy-on-write B+trees).
//!
//! Chosen for its transactions and steadiness: of the stores measured, LMDB inserts and reads about 1.6 times as fast but
//! needs a map size fixed in advance and is C, fjall pauses for seconds, sled reads ten times slower. A group commit makes
//! one transaction of many batches, so the price of a synced commit is shared.
//!
//! | table | key | value |
//! |---|---|---|
//! | `nodes` | 32 bytes, most significant limb first | 64 bytes of content, and 32 of capacity unless that is zero |
//! | `programs` | the same | the code |
//! | `meta` | `latest-root` | 32 bytes like a key |

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use redb::{ReadOnlyTable, ReadableDatabase, TableDefinition};
use revm::primitives::{B256, Bytes};

use super::database::{Database, WriteSet};
use super::encoding::{CONTENT_BYTES, hash_bytes, node_bytes, node_from_bytes};
use super::{StateReader, StoreError};
use crate::tree::{Digest, NodeData};

const NODES: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("nodes");
const PROGRAMS: TableDefinition<&[u8; 32], &[u8]> = TableDefinition::new("programs");
const META: TableDefinition<&str, &[u8; 32]> = TableDefinition::new("meta");
const LATEST_ROOT: &str = "latest-root";
/// Name of the file inside the data folder.
const FILE_NAME: &str = "state.redb";
/// Wait before a database that is open elsewhere is tried again.
const OPEN_AGAIN: Duration = Duration::from_millis(20);

/// A database in one file. Only one process can have it open.
pub struct EmbeddedDatabase {
    database: redb::Database,
    path: PathBuf,
    /// What the last commit left behind; readers share it, so that a read opens no transaction of its own.
    snapshot: RwLock<Arc<Snapshot>>,
}

struct Snapshot {
    nodes: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
    programs: ReadOnlyTable<&'static [u8; 32], &'static [u8]>,
}

impl EmbeddedDatabase {
    /// Opens the database in `folder`, creating both if need be. `cache_bytes` bounds the pages kept in memory. If another
    /// process still has it open, tries again for as long as `patience`.
    ///
    /// Fails if that takes too long or the file is not such a database.
    pub fn open(folder: &Path, cache_bytes: usize, patience: Duration) -> Result<Self, StoreError> {
        let path = folder.join(FILE_NAME);
        let failed = |what: &dyn std::fmt::Display| StoreError::Unavailable(format!("{}: {what}", path.display()));
        std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        let limit = Instant::now() + patience;
        let database = loop {
            match redb::Builder::new().set_cache_size(cache_bytes).create(&path) {
                Ok(database) => break database,
                Err(redb::DatabaseError::DatabaseAlreadyOpen) if Instant::now() < limit => {
                    std::thread::sleep(OPEN_AGAIN)
                }
                Err(error) => return Err(failed(&error)),
            }
        };
        create_tables(&database).map_err(|error| failed(&error))?;
        let snapshot = RwLock::new(Arc::new(snapshot(&database).map_err(|error| failed(&error))?));
        Ok(Self { database, path, snapshot })
    }

    fn failed(&self, error: redb::Error) -> StoreError {
        StoreError::Unavailable(format!("{}: {error}", self.path.display()))
    }

    fn read<T>(&self, read: impl FnOnce(&Snapshot) -> Result<T, redb::Error>) -> Result<T, StoreError> {
        let snapshot = Arc::clone(&self.snapshot.read());
        read(&snapshot).map_err(|error| self.failed(error))
    }

    fn write(&self, write: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>) -> Result<(), StoreError> {
        let transaction = || {
            let mut transaction = self.database.begin_write()?;
            // A killed process must be back at once, however large the file is.
            transaction.set_quick_repair(true);
            write(&transaction)?;
            transaction.commit()?;
            snapshot(&self.database)
        };
        let fresh = transaction().map_err(|error| self.failed(error))?;
        *self.snapshot.write() = Arc::new(fresh);
        Ok(())
    }
}

fn create_tables(database: &redb::Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(NODES)?;
    transaction.open_table(PROGRAMS)?;
    transaction.open_table(META)?;
    transaction.commit()?;
    Ok(())
}

fn snapshot(database: &redb::Database) -> Result<Snapshot, redb::Error> {
    let transaction = database.begin_read()?;
    Ok(Snapshot { nodes: transaction.open_table(NODES)?, programs: transaction.open_table(PROGRAMS)? })
}

/// Leaves out a capacity of zeros, that of most nodes.
fn stored_bytes(bytes: &[u8; 96]) -> &[u8] {
    let (content, capacity) = bytes.split_at(CONTENT_BYTES);
    if capacity.iter().all(|byte| *byte == 0) { content } else { bytes }
}

impl StateReader for EmbeddedDatabase {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let found = self.read(|snapshot| Ok(snapshot.nodes.get(&hash_bytes(hash))?))?;
        found.map(|data| node_from_bytes(hash, data.value())).transpose()
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        let found = self.read(|snapshot| Ok(snapshot.programs.get(&hash_bytes(hash))?))?;
        Ok(found.map(|code| Bytes::copy_from_slice(code.value())))
    }
}

impl Database for EmbeddedDatabase {
    fn commit(&self, sets: &[&WriteSet]) -> Result<(), StoreError> {
        // In the order of the tree's pages, and each entry once.
        let mut nodes: Vec<_> =
            sets.iter().flat_map(|set| &set.nodes).map(|(hash, node)| (hash_bytes(hash), node)).collect();
        nodes.sort_unstable_by_key(|(hash, _)| *hash);
        nodes.dedup_by_key(|(hash, _)| *hash);
        self.write(|transaction| {
            let mut table = transaction.open_table(NODES)?;
            for (hash, node) in nodes {
                table.insert(&hash, stored_bytes(&node_bytes(node)))?;
            }
            let mut table = transaction.open_table(PROGRAMS)?;
            for (hash, code) in sets.iter().flat_map(|set| &set.programs) {
                table.insert(&hash_bytes(hash), code.as_ref())?;
            }
            if let Some(root) = sets.iter().rev().find_map(|set| set.latest_root) {
                transaction.open_table(META)?.insert(LATEST_ROOT, &hash_bytes(&root))?;
            }
            Ok(())
        })
    }

    fn latest_root(&self) -> Result<Digest, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let table = self.database.begin_read()?.open_table(META)?;
            Ok(table.get(LATEST_ROOT)?.map(|root| B256::from(*root.value())))
        };
        Ok(read().map_err(|error| self.failed(error))?.map_or(Digest::ZERO, Digest::from))
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.delete_table(NODES)?;
            transaction.delete_table(PROGRAMS)?;
            transaction.delete_table(META)?;
            transaction.open_table(NODES)?;
            transaction.open_table(PROGRAMS)?;
            transaction.open_table(META)?;
            Ok(())
        })
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
    }

    #[test]
    fn a_database_that_is_open_elsewhere_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _open = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).unwrap();
        let error = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).err().unwrap().to_string();
        assert!(error.contains("state.redb") && error.contains("already open"), "{error}");
    }
}
