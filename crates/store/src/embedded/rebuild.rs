//! Makes the index anew from the log, which has everything that is in the index.

use std::fs::OpenOptions;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::files::{FILE_NAME, failed, log_numbers, log_path, start_log};
use super::index::{IndexError, guarded};
use super::indexed_log::{Programs, add_offsets};
use super::log::{Found, NodeLog};
use super::offset_index::OffsetIndex;
use super::record::Record;
use super::salvage::{DamagedPart, salvage};
use crate::encoding::hash_from_bytes;
use zkevm_tree::{Digest, StoreError};

/// What [`super::EmbeddedDatabase::rebuild`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The log it was made from.
    pub log: PathBuf,
    /// The name that the index before it has now, if there was one.
    pub before: Option<PathBuf>,
    /// Nodes in the log, each as often as it was written.
    pub nodes: u64,
    /// Programs in the log, each as often as it was written.
    pub programs: u64,
    /// The latest root.
    pub latest_root: Digest,
    /// Damaged parts of the log that were passed over.
    pub damaged: Vec<DamagedPart>,
}

/// What to do about damage in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// Say where it is and change nothing.
    Refuse,
    /// Keep what is intact before, in and behind it.
    PassOver,
}

pub(super) fn rebuild(
    folder: &Path,
    cache_bytes: usize,
    recent_max: usize,
    damage: Damage,
    progress: impl FnMut(u64, u64),
) -> Result<Rebuilt, StoreError> {
    let path = folder.join(FILE_NAME);
    let held = hold(&path, cache_bytes)?;
    let number = only_log(folder)?;
    let new = free_name(folder, "new").map_err(|error| failed(folder, error))?;
    OpenOptions::new().write(true).create_new(true).open(&new).map_err(|error| failed(&new, error))?;
    let built = build(folder, &new, number, (cache_bytes, recent_max), damage, progress);
    let mut rebuilt = match built {
        Ok(rebuilt) => rebuilt,
        Err(error) => {
            // This call made it.
            let _ = std::fs::remove_file(&new);
            return Err(error);
        }
    };
    if path.exists() {
        let before = free_name(folder, "before").map_err(|error| failed(folder, error))?;
        std::fs::rename(&path, &before).map_err(|error| failed(&path, error))?;
        rebuilt.before = Some(before);
    }
    let put = || {
        std::fs::rename(&new, &path)?;
        std::fs::File::open(folder)?.sync_all()
    };
    put().map_err(|error| failed(&new, error))?;
    // Closing a damaged file may panic as well; nothing hangs on it any more.
    let _ = guarded(|| {
        drop(held);
        Ok(())
    });
    Ok(rebuilt)
}

/// Opens the index before, so that nobody else does meanwhile; `None` if it cannot be opened, which is why it is made anew.
///
/// Fails if another process has it open.
fn hold(path: &Path, cache_bytes: usize) -> Result<Option<redb::Database>, StoreError> {
    match guarded(|| Ok(redb::Builder::new().set_cache_size(cache_bytes).open(path)?)) {
        Ok(redb) => Ok(Some(redb)),
        Err(IndexError::Redb(error @ redb::Error::DatabaseAlreadyOpen)) => Err(failed(path, error)),
        Err(_) => Ok(None),
    }
}

/// Returns the number of the only log with something in it.
fn only_log(folder: &Path) -> Result<u64, StoreError> {
    let mut with_content = Vec::new();
    for number in log_numbers(folder).map_err(|error| failed(folder, error))? {
        let path = log_path(folder, number);
        if NodeLog::has_content(&path).map_err(|error| failed(&path, error))? {
            with_content.push(number);
        }
    }
    match with_content[..] {
        [number] => Ok(number),
        [] => Err(failed(folder, "there is no log with nodes in it")),
        _ => {
            let names: Vec<_> = with_content.iter().map(|number| format!("nodes-{number}.log")).collect();
            let sentence = format!("there are several logs: move away all but one of {}", names.join(", "));
            Err(failed(folder, sentence))
        }
    }
}

/// Returns a name that no file has.
fn free_name(folder: &Path, what: &str) -> std::io::Result<PathBuf> {
    for number in 1..=u32::MAX {
        let path = folder.join(format!("{FILE_NAME}.{what}-{number}"));
        if !path.try_exists()? {
            return Ok(path);
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// What is read of the log and not yet in the new index.
#[derive(Default)]
struct Batch {
    offsets: OffsetIndex,
    programs: Programs,
    is_full: bool,
    nodes: u64,
    programs_found: u64,
}

fn build(
    folder: &Path,
    new: &Path,
    number: u64,
    (cache_bytes, recent_max): (usize, usize),
    damage: Damage,
    mut progress: impl FnMut(u64, u64),
) -> Result<Rebuilt, StoreError> {
    let path = log_path(folder, number);
    let log = NodeLog::open(&path).map_err(|error| failed(&path, error))?;
    let length = log.length().map_err(|error| failed(&path, error))?;
    let work = || {
        let redb = redb::Builder::new().set_cache_size(cache_bytes).create(new)?;
        let transaction = redb.begin_write()?;
        start_log(&transaction, number)?;
        transaction.commit()?;
        let batch = std::cell::RefCell::new(Batch::default());
        let found = |Found { record, offset }| {
            let batch = &mut *batch.borrow_mut();
            match record {
                Record::Node(node) => {
                    batch.offsets.add(&hash_from_bytes(&node.hash), offset);
                    batch.nodes += 1;
                    batch.is_full |= batch.offsets.len() >= recent_max;
                }
                Record::Program(program) => {
                    batch.is_full |= batch.programs.push(program);
                    batch.programs_found += 1;
                }
            }
            Ok::<_, IndexError>(())
        };
        let (mut damaged, mut latest_root) = (Vec::new(), None);
        // Where the last whole group ends.
        let mut end = NodeLog::START;
        loop {
            let replayed = log.replay(end, found, |replayed| {
                progress(replayed.end, length);
                end = replayed.end;
                latest_root = replayed.latest_root.or(latest_root);
                let batch = &mut *batch.borrow_mut();
                if std::mem::take(&mut batch.is_full) {
                    store(&redb, &log, batch, end, latest_root)?;
                }
                Ok(())
            });
            match replayed {
                Ok(replayed) => {
                    end = replayed.end;
                    break;
                }
                Err(IndexError::Log(error)) if error.kind() == ErrorKind::InvalidData && damage == Damage::PassOver => {
                    let part = salvage(&log, end, found)?;
                    end = part.offset + part.bytes;
                    damaged.push(part);
                }
                Err(error) => return Err(error),
            }
        }
        let mut batch = batch.into_inner();
        store(&redb, &log, &mut batch, end, latest_root)?;
        redb.close()?;
        Ok((batch, latest_root, damaged))
    };
    let (batch, latest_root, damaged) = guarded(work).map_err(|error: IndexError| match error {
        IndexError::Log(error) if error.kind() == ErrorKind::InvalidData => {
            failed(&path, format_args!("{error} (--skip-damaged keeps what is intact around it)"))
        }
        IndexError::Log(error) => failed(&path, error),
        error => failed(new, error),
    })?;
    Ok(Rebuilt {
        log: path,
        before: None,
        nodes: batch.nodes,
        programs: batch.programs_found,
        latest_root: latest_root.unwrap_or_default(),
        damaged,
    })
}

/// Puts a batch into the new index, which then has the log up to `until`.
fn store(
    redb: &redb::Database,
    log: &NodeLog,
    batch: &mut Batch,
    until: u64,
    latest_root: Option<Digest>,
) -> Result<(), IndexError> {
    let mut transaction = redb.begin_write()?;
    transaction.set_quick_repair(true);
    add_offsets(&transaction, log, &std::mem::take(&mut batch.offsets), until, latest_root.unwrap_or_default())?;
    batch.programs.put(&transaction)?;
    Ok(transaction.commit()?)
}
