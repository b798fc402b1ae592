//! The files of the embedded database: tables of the redb file, opening both, refusing what has another format.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alloy_primitives::B256;
use redb::{ReadableDatabase, StorageError, TableDefinition, TableError, WriteTransaction};

use super::index::{IndexError, guarded};
use super::log::NodeLog;
use super::version::{FORMAT_VERSION, FORMAT_VERSION_BEFORE, found_version, needs_rebuild, refusal};
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
    /// Version of the format that the index says.
    pub(super) version: u64,
}

/// Returns an error that names the file.
pub(super) fn failed(path: &Path, error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

/// Returns the path of a log.
pub(super) fn log_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("nodes-{number}.log"))
}

/// Returns the numbers of the logs in a folder, lowest first. Files that are only similarly named are not ours.
pub(super) fn log_numbers(folder: &Path) -> std::io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let name = entry?.file_name();
        numbers.extend(log_number(&name).filter(|number| log_path(folder, *number).file_name() == Some(&name)));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn log_number(name: &OsStr) -> Option<u64> {
    name.to_str()?.strip_prefix("nodes-")?.strip_suffix(".log")?.parse().ok()
}

/// Fails, and names them, if there are logs with something in them: an index that names none must not begin over them.
fn refuse_content(folder: &Path, found: &str) -> Result<(), StoreError> {
    let numbers = log_numbers(folder).map_err(|error| failed(folder, error))?;
    for number in numbers {
        let path = log_path(folder, number);
        if NodeLog::has_content(&path).map_err(|error| failed(&path, error))? {
            let sentence = format_args!("no index names {}: {found}", path.display());
            return Err(failed(&folder.join(FILE_NAME), needs_rebuild(sentence)));
        }
    }
    Ok(())
}

/// Opens the redb file, and waits for another process to close it for as long as `patience`.
pub(super) fn open_redb(folder: &Path, cache_bytes: usize, patience: Duration) -> Result<redb::Database, StoreError> {
    let path = folder.join(FILE_NAME);
    let limit = Instant::now() + patience;
    loop {
        match guarded(|| Ok(redb::Builder::new().set_cache_size(cache_bytes).open(&path)?)) {
            Ok(database) => return Ok(database),
            Err(IndexError::Redb(redb::Error::DatabaseAlreadyOpen)) if Instant::now() < limit => {
                std::thread::sleep(OPEN_AGAIN);
            }
            Err(error) => return Err(failed(&path, refused(error))),
        }
    }
}

/// Says why a redb file was not opened.
fn refused(error: IndexError) -> String {
    match error {
        IndexError::Redb(redb::Error::Io(error)) if error.kind() == ErrorKind::InvalidData => {
            refusal(format_args!("the file is not a database of redb ({error})"))
        }
        IndexError::Redb(redb::Error::UpgradeRequired(version)) => {
            refusal(format_args!("the file is a database of redb's file format {version}"))
        }
        error @ (IndexError::Panicked(_) | IndexError::Redb(redb::Error::Corrupted(_))) => needs_rebuild(error),
        error => error.to_string(),
    }
}

/// Makes the redb file if there is none, or an empty one.
///
/// Fails, and changes nothing, if there are logs with something in them.
pub(super) fn create_redb(folder: &Path) -> Result<(), StoreError> {
    let path = folder.join(FILE_NAME);
    match std::fs::metadata(&path) {
        Ok(found) if found.len() > 0 => return Ok(()),
        Ok(_) => refuse_content(folder, "the file is empty")?,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            refuse_content(folder, "the file is missing")?;
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(&path, error)),
                _ => {}
            }
        }
        Err(error) => return Err(failed(&path, error)),
    }
    match guarded(|| Ok(redb::Database::create(&path)?)) {
        // Somebody else makes it: opening it waits.
        Ok(_) | Err(IndexError::Redb(redb::Error::DatabaseAlreadyOpen)) => Ok(()),
        Err(error) => Err(failed(&path, error)),
    }
}

/// Opens the log that the redb file names. A new database gets one.
///
/// Fails, and changes nothing, if one of the two has another format version, or if a new database would begin over the log of
/// another one.
pub(super) fn open_log(redb: &redb::Database, folder: &Path) -> Result<NamedLog, StoreError> {
    let redb_path = folder.join(FILE_NAME);
    match guarded(|| read_content(redb)).map_err(|error| failed(&redb_path, refused(error)))? {
        Content::Other(found) => Err(failed(&redb_path, refusal(found))),
        Content::Log { number, indexed, version } => {
            let path = log_path(folder, number);
            let log = NodeLog::open(&path).map_err(|error| failed(&path, error))?;
            Ok(NamedLog { log, number, indexed, version })
        }
        Content::Nothing => {
            refuse_content(folder, "the file has nothing in it")?;
            let (log, number) = create_log(folder, 1)?;
            let start = guarded(|| {
                let transaction = redb.begin_write()?;
                start_log(&transaction, number)?;
                Ok(transaction.commit()?)
            });
            start.map_err(|error| failed(&redb_path, error))?;
            Ok(NamedLog { log, number, indexed: NodeLog::START, version: FORMAT_VERSION })
        }
    }
}

/// Makes an empty log with the first number from `lowest` on that no file has.
pub(super) fn create_log(folder: &Path, lowest: u64) -> Result<(NodeLog, u64), StoreError> {
    let mut number = lowest;
    loop {
        let path = log_path(folder, number);
        match NodeLog::create(&path) {
            Ok(log) => return Ok((log, number)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && number < u64::MAX => number += 1,
            Err(error) => return Err(failed(&path, error)),
        }
    }
}

/// Makes the tables there are not yet, and names an empty log.
pub(super) fn start_log(transaction: &WriteTransaction, number: u64) -> Result<(), IndexError> {
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
pub(super) enum Content {
    /// Nothing: it is new.
    Nothing,
    /// A database of the present format or the one before.
    Log { number: u64, indexed: u64, version: u64 },
    /// Another format; a sentence says which.
    Other(String),
}

pub(super) fn read_content(redb: &redb::Database) -> Result<Content, IndexError> {
    let transaction = redb.begin_read()?;
    let table = match transaction.open_table(LOG) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) if transaction.list_tables()?.next().is_none() => {
            return Ok(Content::Nothing);
        }
        Err(TableError::Storage(error)) => return Err(error.into()),
        Err(_) => return Ok(Content::Other("the file has no format version".to_owned())),
    };
    let value = |key| Ok::<_, IndexError>(table.get(key)?.map(|value| value.value()));
    let version = match value(LOG_FORMAT)? {
        None => return Ok(Content::Other("the file has no format version".to_owned())),
        Some(version @ (FORMAT_VERSION_BEFORE | FORMAT_VERSION)) => version,
        Some(version) => return Ok(Content::Other(found_version(version))),
    };
    match (value(LOG_NUMBER)?, value(LOG_INDEXED)?) {
        (Some(number), Some(indexed)) => Ok(Content::Log { number, indexed, version }),
        _ => Err(StorageError::Corrupted("it does not name its log of nodes".to_owned()).into()),
    }
}

/// Reads the latest root of what is indexed.
pub(super) fn read_latest_root(redb: &redb::Database) -> Result<Digest, IndexError> {
    let table = redb.begin_read()?.open_table(META)?;
    Ok(table.get(LATEST_ROOT)?.map_or(Digest::ZERO, |root| B256::from(*root.value()).into()))
}
