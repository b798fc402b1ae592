//! The redb file: opening it, running transactions, and opening it again after an I/O error, without which redb answers nothing
//! any more. A panic of redb, which a damaged file may cause, is an error of the call.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use redb::WriteTransaction;

use super::files::{Content, FILE_NAME, failed, open_redb, read_content};
use zkevm_tree::StoreError;

/// Shortest time between two tries to open the file again.
const OPEN_AGAIN: Duration = Duration::from_millis(500);

/// Why a transaction failed.
#[derive(Debug)]
pub(super) enum IndexError {
    /// redb says no.
    Redb(redb::Error),
    /// The log could not be read.
    Log(std::io::Error),
    /// redb panicked.
    Panicked(String),
}

macro_rules! from_redb {
    ($($error:ident),*) => {
        $(impl From<redb::$error> for IndexError {
            fn from(error: redb::$error) -> Self {
                Self::Redb(error.into())
            }
        })*
    };
}

from_redb!(Error, StorageError, TableError, TransactionError, CommitError, DatabaseError, SetDurabilityError);

impl From<std::io::Error> for IndexError {
    fn from(error: std::io::Error) -> Self {
        Self::Log(error)
    }
}

impl std::fmt::Display for IndexError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Redb(error) => error.fmt(f),
            Self::Log(error) => write!(f, "the log: {error}"),
            Self::Panicked(message) => write!(f, "the file is damaged, which made redb panic: {message}"),
        }
    }
}

impl IndexError {
    /// True if the file has to be opened again before it answers.
    fn needs_opening(&self) -> bool {
        use redb::Error;
        matches!(
            self,
            Self::Redb(Error::Io(_) | Error::PreviousIo | Error::DatabaseClosed | Error::LockPoisoned(_))
                | Self::Panicked(_)
        )
    }
}

/// Runs work with redb, whose panics are errors.
pub(super) fn guarded<T>(work: impl FnOnce() -> Result<T, IndexError>) -> Result<T, IndexError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(IndexError::Panicked(panic_message(&*panic))))
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

/// The redb file of a folder, open most of the time.
pub(super) struct Index {
    folder: PathBuf,
    cache_bytes: usize,
    redb: RwLock<Option<redb::Database>>,
    /// True if it has to be opened again.
    away: AtomicBool,
    last_error: Mutex<String>,
    tried_at: Mutex<Instant>,
    /// What the last transaction that said so left in the file: number of the log, and how far it is indexed.
    number: AtomicU64,
    indexed: AtomicU64,
}

impl Index {
    pub(super) fn new(redb: redb::Database, folder: &Path, cache_bytes: usize, number: u64, indexed: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            cache_bytes,
            redb: RwLock::new(Some(redb)),
            away: AtomicBool::new(false),
            last_error: Mutex::default(),
            tried_at: Mutex::new(Instant::now()),
            number: AtomicU64::new(number),
            indexed: AtomicU64::new(indexed),
        }
    }

    /// Notes what a transaction left in the file.
    pub(super) fn set_content(&self, number: u64, indexed: u64) {
        self.number.store(number, Ordering::Relaxed);
        self.indexed.store(indexed, Ordering::Relaxed);
    }

    /// True if the file has to be opened again.
    pub(super) fn is_away(&self) -> bool {
        self.away.load(Ordering::Acquire)
    }

    /// Returns an error of the file.
    pub(super) fn failed(&self, error: impl std::fmt::Display) -> StoreError {
        failed(&self.folder.join(FILE_NAME), error)
    }

    /// Runs work with the file. Fails at once if it has to be opened again.
    pub(super) fn run<T>(&self, work: impl FnOnce(&redb::Database) -> Result<T, IndexError>) -> Result<T, StoreError> {
        let redb = self.redb.read();
        let Some(redb) = redb.as_ref().filter(|_| !self.is_away()) else {
            return Err(self.failed(format_args!("to be opened again after: {}", self.last_error.lock())));
        };
        self.note(guarded(|| work(redb)))
    }

    /// Takes note of what a piece of work with the file came to.
    pub(super) fn note<T>(&self, done: Result<T, IndexError>) -> Result<T, StoreError> {
        done.map_err(|error| {
            if error.needs_opening() {
                // What redb says from then on does not tell the reason.
                if !self.is_away() {
                    *self.last_error.lock() = error.to_string();
                }
                self.away.store(true, Ordering::Release);
            }
            match error {
                IndexError::Redb(redb::Error::PreviousIo | redb::Error::DatabaseClosed) => {
                    self.failed(format_args!("to be opened again after: {}", self.last_error.lock()))
                }
                error => self.failed(error),
            }
        })
    }

    /// Runs a transaction.
    pub(super) fn write(
        &self,
        write: impl FnOnce(&WriteTransaction) -> Result<(), IndexError>,
    ) -> Result<(), StoreError> {
        self.run(|redb| {
            let mut transaction = redb.begin_write()?;
            // A killed process must be back at once, however large the file is.
            transaction.set_quick_repair(true);
            write(&transaction)?;
            Ok(transaction.commit()?)
        })
    }

    /// Opens the file again if it has to be, and calls `opened` with it before anybody else uses it. True if it was.
    ///
    /// Tries no more than twice a second, and not while somebody uses the file.
    pub(super) fn open_again(
        &self,
        opened: impl FnOnce(&redb::Database) -> Result<(), IndexError>,
    ) -> Result<bool, StoreError> {
        if !self.is_away() {
            return Ok(false);
        }
        let Some(mut redb) = self.redb.try_write() else { return Ok(false) };
        {
            let mut tried_at = self.tried_at.lock();
            if !self.is_away() || tried_at.elapsed() < OPEN_AGAIN {
                return Ok(false);
            }
            *tried_at = Instant::now();
        }
        let before = redb.take();
        // A file that is in disorder may panic when it is closed, too.
        let _ = guarded(|| {
            drop(before);
            Ok(())
        });
        let file = open_redb(&self.folder, self.cache_bytes, Duration::ZERO)?;
        let checked = guarded(|| {
            let (number, indexed) = (self.number.load(Ordering::Relaxed), self.indexed.load(Ordering::Relaxed));
            match read_content(&file)? {
                // A transaction may have come through although it said that it failed.
                Content::Log { number: found, indexed: until, .. } if found == number && until >= indexed => {}
                _ => {
                    let sentence = "it is not the file that was open before".to_owned();
                    return Err(IndexError::Redb(redb::Error::Corrupted(sentence)));
                }
            }
            opened(&file)
        });
        checked.map_err(|error| self.failed(error))?;
        *redb = Some(file);
        self.away.store(false, Ordering::Release);
        tracing::warn!(after = %self.last_error.lock(), "the index of the database was opened again");
        Ok(true)
    }

    /// Makes the file unusable until it is opened again, as an I/O error does.
    #[cfg(test)]
    pub(super) fn fail(&self) {
        let error = redb::Error::Io(std::io::Error::from_raw_os_error(28));
        let _: Result<(), StoreError> = self.note(Err(error.into()));
    }

    /// Runs a test while nobody else can write.
    #[cfg(test)]
    pub(super) fn hold(&self) -> WriteTransaction {
        self.redb.read().as_ref().unwrap().begin_write().unwrap()
    }
}
