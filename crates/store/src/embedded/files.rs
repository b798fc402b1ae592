//! The files of the embedded database: tables of the redb file, opening both, refusing what has another format.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use redb::{ReadableDatabase, StorageError, TableDefinition, TableError, WriteTransaction};

use super::log::NodeLog;
use super::version::{FORMAT_VERSION, found_version, refusal};
use zkevm_tree::{Digest, StoreError};

pub(super) const OFFSETS: TableDefinition<'static, u64, u64> = TableDefinition::new("offsets");
pub(super) const COLLISIONS: TableDefinition<'static, &[u8; 32], u64> = TableDefinition::new("collisions");
pub(super) const PROGRAMS: TableDefinition<'static, &[u8; 32], &[u8]> = TableDefinition::new("programs");
pub(super) const LOG: TableDefinition<'static, &str, u64> = TableDefinition::new("log");
pub(super) const META: TableDefinition<'static, &str, &[u8; 32]> = TableDefinition::new("meta");
pub(super) const LATEST_ROOT: &str = "latest-root";
pub(super) const LOG_FORMAT: &str = "format";
pub(super) const LOG_NUMBER: &str = "number";
pub(super) const LOG_INDEXED: &str = "indexed";
/// Name of the redb file inside the data folder.
pub(super) const FILE_NAME: &str = "state.redb";
/// Wait before a database that is open elsewhere is tried again.
const OPEN_AGAIN: Duration = Duration::from_millis(20);

/// The log that a redb file names.
pub(super) struct NamedLog {
    pub(super) log: NodeLog,
    /// Number in its name.
    pub(super) number: u64,
    /// The log up to here is in the index.
    pub(super) indexed: u64,
}

/// Returns an error that names the file.
pub(super) fn failed(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

/// Returns the path of a log.
pub(super) fn log_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("nodes-{number}.log"))
}

/// Opens the redb file, creating it if there is none, and waits for another process to close it for as long as `patience`.
pub(super) fn open_redb(folder: &Path, cache_bytes: usize, patience: Duration) -> Result<redb::Database, StoreError> {
    let path = folder.join(FILE_NAME);
    let limit = Instant::now() + patience;
    loop {
        match redb::Builder::new().set_cache_size(cache_bytes).create(&path) {
            Ok(database) => return Ok(database),
            Err(redb::DatabaseError::DatabaseAlreadyOpen) if Instant::now() < limit => std::thread::sleep(OPEN_AGAIN),
            Err(redb::DatabaseError::Storage(StorageError::Io(error)))
                if error.kind() == std::io::ErrorKind::InvalidData =>
            {
                return Err(failed(&path, refusal(format_args!("the file is not a database of redb ({error})"))));
            }
            Err(redb::DatabaseError::UpgradeRequired(version)) => {
                let found = format_args!("the file is a database of redb's file format {version}");
                return Err(failed(&path, refusal(found)));
            }
            Err(error) => return Err(failed(&path, error)),
        }
    }
}

/// Opens the log that the redb file names. A new database gets one.
///
/// Fails, and changes nothing, if one of the two has another format version, or if a new database would begin over the log of
/// another one.
pub(super) fn open_log(redb: &redb::Database, folder: &Path) -> Result<NamedLog, StoreError> {
    let redb_path = folder.join(FILE_NAME);
    let redb_failed = |error: redb::Error| failed(&redb_path, error);
    let content = read_content(redb).map_err(redb_failed)?;
    if let Content::Other(found) = content {
        return Err(failed(&redb_path, refusal(found)));
    }
    if let Content::Log { number, indexed } = content {
        let path = log_path(folder, number);
        let log = NodeLog::open(&path).map_err(|error| failed(&path, error))?;
        remove_other_logs(folder, number)?;
        return Ok(NamedLog { log, number, indexed });
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
    Ok(NamedLog { log, number, indexed: NodeLog::START })
}

/// Removes logs that nothing names any more, or not yet.
pub(super) fn remove_other_logs(folder: &Path, number: u64) -> Result<(), StoreError> {
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
pub(super) fn start_log(transaction: &WriteTransaction, number: u64) -> Result<(), redb::Error> {
    transaction.open_table(OFFSETS)?;
    transaction.open_table(COLLISIONS)?;
    transaction.open_table(PROGRAMS)?;
    transaction.open_table(META)?;
    let mut log = transaction.open_table(LOG)?;
    log.insert(LOG_FORMAT, FORMAT_VERSION)?;
    log.insert(LOG_NUMBER, number)?;
    log.insert(LOG_INDEXED, NodeLog::START)?;
    Ok(())
}

/// What a redb file holds.
enum Content {
    /// Nothing: it is new.
    Nothing,
    /// A database of the present format.
    Log { number: u64, indexed: u64 },
    /// Another format; a sentence says which.
    Other(String),
}

fn read_content(redb: &redb::Database) -> Result<Content, redb::Error> {
    let transaction = redb.begin_read()?;
    let table = match transaction.open_table(LOG) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) if transaction.list_tables()?.next().is_none() => {
            return Ok(Content::Nothing);
        }
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Ok(Content::Other("the file has no format version".to_owned())),
    };
    let value = |key| Ok::<_, redb::Error>(table.get(key)?.map(|value| value.value()));
    match value(LOG_FORMAT)? {
        None => return Ok(Content::Other("the file has no format version".to_owned())),
        Some(FORMAT_VERSION) => {}
        Some(version) => return Ok(Content::Other(found_version(version))),
    }
    match (value(LOG_NUMBER)?, value(LOG_INDEXED)?) {
        (Some(number), Some(indexed)) => Ok(Content::Log { number, indexed }),
        _ => Err(redb::Error::Corrupted("it does not name its log of nodes".to_owned())),
    }
}

/// Reads the latest root of what is indexed.
pub(super) fn read_latest_root(redb: &redb::Database) -> Result<Digest, redb::Error> {
    let table = redb.begin_read()?.open_table(META)?;
    Ok(table.get(LATEST_ROOT)?.map_or(Digest::ZERO, |root| B256::from(*root.value()).into()))
}
