//! What a database gives is checked before it is used, and what fails is counted and remembered.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use alloy_primitives::Bytes;
use parking_lot::Mutex;
use serde::Serialize;

use crate::database::{Database, Entry};
use zkevm_tree::poseidon::{hash_node, hashes_of, linear_hash};
use zkevm_tree::{Digest, NodeData, StateReader, StoreError};

/// Shortest time between two log lines about entries that are not what they claim.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Reads a database, and fails with [`StoreError::Damaged`] on an entry that does not have the hash it is stored under.
#[derive(Clone, Copy)]
pub struct VerifiedReader<'a>(pub &'a dyn Database);

impl VerifiedReader<'_> {
    fn damaged(&self, hash: &Digest, entry: Entry<'_>) -> StoreError {
        StoreError::Damaged { hash: *hash, place: self.0.place(entry) }
    }
}

impl StateReader for VerifiedReader<'_> {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let found = self.0.node(hash)?;
        match found {
            Some(node) if !self.0.checks_nodes() && hash_node(&node) != *hash => {
                Err(self.damaged(hash, Entry::Node(hash)))
            }
            found => Ok(found),
        }
    }

    fn nodes(&self, hashes: &[Digest]) -> Result<Vec<Option<NodeData>>, StoreError> {
        let found = self.0.nodes(hashes)?;
        if self.0.checks_nodes() {
            return Ok(found);
        }
        // Hashed together: that is quicker than one by one.
        let (keys, nodes): (Vec<&Digest>, Vec<NodeData>) =
            hashes.iter().zip(&found).filter_map(|(hash, node)| Some((hash, (*node)?))).unzip();
        match keys.iter().zip(hashes_of(&nodes)).find(|(key, hash)| **key != hash) {
            Some((hash, _)) => Err(self.damaged(hash, Entry::Node(hash))),
            None => Ok(found),
        }
    }

    fn prefers_many(&self) -> bool {
        self.0.prefers_many()
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        match self.0.program(hash)? {
            Some(code) if linear_hash(&code) != *hash => Err(self.damaged(hash, Entry::Program(hash))),
            found => Ok(found),
        }
    }
}

/// The counts of entries that do not have the hash they are said to have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IntegrityStats {
    /// Reads that found such an entry in the database.
    pub damaged_entries: u64,
    /// Such entries that clients of the HashDB service brought along.
    pub refused_entries: u64,
    /// True while state cannot be read or written.
    pub failing: bool,
}

/// What is wrong with a store.
#[derive(Default)]
pub(super) struct Integrity {
    damaged: AtomicU64,
    refused: AtomicU64,
    logged: Mutex<Option<Instant>>,
    /// True if one of the two below may be there; read without a lock by every read.
    failing: AtomicBool,
    read_failure: Mutex<Option<String>>,
    write_failure: Mutex<Option<String>>,
}

impl Integrity {
    /// Takes note of a read of the database, and passes it on.
    pub(super) fn note_read<T>(&self, read: Result<T, StoreError>) -> Result<T, StoreError> {
        match &read {
            Ok(_) if !self.failing.load(Relaxed) => {}
            Ok(_) => self.set(&self.read_failure, None),
            Err(error @ (StoreError::Damaged { .. } | StoreError::InvalidNodeSize { .. })) => {
                let count = self.damaged.fetch_add(1, Relaxed) + 1;
                self.log(format_args!("an entry of the database is not used: {error}; reads of such so far: {count}"));
            }
            Err(error) => self.set(&self.read_failure, Some(format!("state cannot be read: {error}"))),
        }
        read
    }

    /// Takes note of a write to the database.
    pub(super) fn note_write(&self, error: Option<&StoreError>) {
        self.set(&self.write_failure, error.map(|error| format!("state cannot be written: {error}")));
    }

    /// Counts an entry that a client brought along.
    pub(super) fn note_refused(&self, hash: &Digest) {
        let count = self.refused.fetch_add(1, Relaxed) + 1;
        let hash = hash.to_b256();
        self.log(format_args!(
            "an entry of a HashDB request does not have its hash {hash} and is refused; so far: {count}"
        ));
    }

    /// Returns what keeps state from being read or written.
    pub(super) fn failure(&self) -> Option<String> {
        if !self.failing.load(Relaxed) {
            return None;
        }
        self.read_failure.lock().clone().or_else(|| self.write_failure.lock().clone())
    }

    pub(super) fn stats(&self) -> IntegrityStats {
        IntegrityStats {
            damaged_entries: self.damaged.load(Relaxed),
            refused_entries: self.refused.load(Relaxed),
            failing: self.failing.load(Relaxed),
        }
    }

    fn set(&self, failure: &Mutex<Option<String>>, sentence: Option<String>) {
        *failure.lock() = sentence;
        // Set again by whoever fails meanwhile: it looks at both only after its own sentence is there.
        let failing = self.read_failure.lock().is_some() || self.write_failure.lock().is_some();
        self.failing.store(failing, Relaxed);
    }

    /// Not for each: a client may ask for one damaged node as often as it likes.
    fn log(&self, line: fmt::Arguments<'_>) {
        let mut logged = self.logged.lock();
        if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            *logged = Some(Instant::now());
            tracing::error!("{line}");
        }
    }
}
