//! The state database behind the HashDB service: single reads and writes of the tree, batch sessions, flushes
//! (hashdb-service §4, §5).
//!
//! Knows nothing of gRPC. Calls may block: on the database, and for room in its queue.

mod session;
mod sessions;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Bytes, U256};
use parking_lot::Mutex;

pub use session::{Persistence, Position, SessionError};
pub use sessions::{SessionLimits, Sessions};

use crate::database::WriteSet;
use crate::overlay::{verified_nodes, verified_programs};
use crate::state_store::StateStore;
use crate::writer::Durability;
use zkevm_tree::poseidon::linear_hash;
use zkevm_tree::{Digest, GetDetails, NodeData, SetDetails, StateTree, TreeError};
use zkevm_tree::{StateReader, StoreError};
use zkevm_types::FlushIds;

/// How long a reset waits for the writes before it.
const RESET_WAIT: Duration = Duration::from_secs(30);

/// The reason why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HashDbError {
    /// The tree could not be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The session does not allow this.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// An entry does not have the hash it is listed under, or not the length of a node.
    #[error("entry {} does not have the hash it is listed under", .0.to_b256())]
    HashMismatch(Digest),
    /// Resets are switched off.
    #[error("resetting the database is not enabled (hashdb.allow_reset)")]
    ResetDisabled,
}

impl HashDbError {
    /// Returns the number clients know this by (hashdb-service §2).
    pub fn result_code(&self) -> i32 {
        match self {
            Self::Tree(TreeError::MissingNode(_)) => 2,
            Self::Tree(TreeError::Store(StoreError::InvalidNodeSize { .. }))
            | Self::Store(StoreError::InvalidNodeSize { .. }) => 8,
            Self::Session(_) => 25,
            Self::Tree(_) | Self::Store(_) | Self::ResetDisabled => 3,
            Self::HashMismatch(_) => 4,
        }
    }
}

/// Nodes read, by hash.
pub type ReadLog = BTreeMap<Digest, NodeData>;

/// A write of one leaf.
#[derive(Clone, Debug)]
pub struct SetCall<'a> {
    /// Root to write on.
    pub root: Digest,
    /// Key of the leaf.
    pub key: Digest,
    /// New value; zero deletes.
    pub value: U256,
    /// The target of the write.
    pub persistence: Persistence,
    /// Session, empty to write at once.
    pub batch_uuid: &'a str,
    /// Place in the session.
    pub position: Position,
}

/// The state database. Shared by all calls.
pub struct HashDb {
    store: Arc<StateStore>,
    sessions: Sessions,
    allow_reset: bool,
}

impl HashDb {
    /// Creates the database over a store.
    pub fn new(store: Arc<StateStore>, limits: SessionLimits, allow_reset: bool) -> Self {
        Self { store, sessions: Sessions::new(limits), allow_reset }
    }

    /// Returns the store.
    pub fn store(&self) -> &StateStore {
        &self.store
    }

    /// Reads one leaf, with what a session wrote. The log has the nodes read, also if the read failed.
    pub fn get(&self, root: Digest, key: &Digest, batch_uuid: &str) -> (Result<GetDetails, HashDbError>, ReadLog) {
        self.reading(batch_uuid, |reader| {
            let mut tree = StateTree::new(reader);
            let at = tree.open(root);
            Ok(tree.get_with_details(at, key)?)
        })
    }

    /// Reads many leaves of one tree. The log has the nodes that prove them.
    pub fn read_tree(&self, root: Digest, keys: &[Digest]) -> (Result<Vec<U256>, HashDbError>, ReadLog) {
        self.reading("", |reader| {
            let mut tree = StateTree::new(reader);
            let at = tree.open(root);
            keys.iter().map(|key| Ok(tree.get(at, key)?)).collect()
        })
    }

    fn reading<T>(
        &self,
        batch_uuid: &str,
        read: impl FnOnce(&dyn StateReader) -> Result<T, HashDbError>,
    ) -> (Result<T, HashDbError>, ReadLog) {
        let session = self.sessions.find(batch_uuid);
        let session = session.as_ref().map(|session| session.lock());
        let session = session.as_ref().map(|session| session.reader(&*self.store));
        let recorder = match &session {
            Some(session) => Recorder::new(session),
            None => Recorder::new(&*self.store),
        };
        let outcome = read(&recorder);
        (outcome, recorder.log.into_inner())
    }

    /// Writes one leaf: into a session, or at once. A failed write leaves everything as it was.
    pub fn set(&self, call: &SetCall<'_>) -> Result<(SetDetails, ReadLog), HashDbError> {
        if !call.batch_uuid.is_empty() {
            let session = self.sessions.open(call.batch_uuid)?;
            let mut session = session.lock();
            let (details, nodes, log) = write_leaf(&session.reader(&*self.store), call)?;
            session.set(call.position, call.persistence, (details.old_root, details.new_root), nodes)?;
            return Ok((details, log));
        }
        let (details, nodes, log) = write_leaf(&*self.store, call)?;
        let latest_root = (call.persistence == Persistence::Database && details.new_root != details.old_root)
            .then_some(details.new_root);
        self.store.persist(WriteSet { nodes, latest_root, ..WriteSet::default() }, call.persistence.durability(), 0)?;
        Ok((details, log))
    }

    /// Writes a program: into a session, or at once.
    ///
    /// Fails with [`HashDbError::HashMismatch`], and changes nothing, if it does not have the hash.
    pub fn set_program(
        &self,
        hash: Digest,
        code: Bytes,
        persistence: Persistence,
        batch_uuid: &str,
        position: Position,
    ) -> Result<(), HashDbError> {
        if linear_hash(&code) != hash {
            return Err(self.refused(hash));
        }
        if batch_uuid.is_empty() {
            let set = WriteSet { programs: vec![(hash, code)], ..WriteSet::default() };
            self.store.persist(set, persistence.durability(), 0)?;
        } else {
            self.sessions.open(batch_uuid)?.lock().set_program(position, persistence, hash, code)?;
        }
        Ok(())
    }

    /// Returns a program, with what a session wrote.
    pub fn program(&self, hash: &Digest, batch_uuid: &str) -> Result<Option<Bytes>, HashDbError> {
        if let Some(session) = self.sessions.find(batch_uuid)
            && let Some(code) = session.lock().program(hash)
        {
            return Ok(Some(code));
        }
        Ok(self.store.program(hash)?)
    }

    /// Persists nodes and programs that have the hash they are listed under.
    ///
    /// Fails with [`HashDbError::HashMismatch`], and changes nothing, if one has not.
    pub fn load(
        &self,
        nodes: &BTreeMap<Digest, Vec<u64>>,
        programs: &BTreeMap<Digest, Bytes>,
        durability: Durability,
    ) -> Result<(), HashDbError> {
        let nodes = verified(nodes).map_err(|hash| self.refused(hash))?;
        let programs = verified_codes(programs).map_err(|hash| self.refused(hash))?;
        let set = WriteSet { nodes, programs, latest_root: None };
        self.store.persist(set, durability, 0)?;
        Ok(())
    }

    /// Counts an entry that does not have the hash it is listed under.
    fn refused(&self, hash: Digest) -> HashDbError {
        self.store.count_refused_entry(&hash);
        HashDbError::HashMismatch(hash)
    }

    /// Makes a root the latest one, if its node is here; other roots are left alone, so that the latest root never points
    /// at nothing.
    pub fn set_latest_root(&self, root: Digest) -> Result<(), HashDbError> {
        if self.store.node(&root)?.is_some() {
            let set = WriteSet { latest_root: Some(root), ..WriteSet::default() };
            self.store.persist(set, Durability::Permanent, 0)?;
        }
        Ok(())
    }

    /// Starts a block of a session.
    pub fn start_block(&self, batch_uuid: &str) -> Result<(), HashDbError> {
        if !batch_uuid.is_empty() {
            self.sessions.open(batch_uuid)?.lock().start_block()?;
        }
        Ok(())
    }

    /// Ends a block of a session.
    pub fn finish_block(&self, batch_uuid: &str, root: Digest, persistence: Persistence) -> Result<(), HashDbError> {
        if !batch_uuid.is_empty() {
            self.sessions.known(batch_uuid)?.lock().finish_block(root, persistence)?;
        }
        Ok(())
    }

    /// Ends a transaction of a session.
    pub fn finish_tx(&self, batch_uuid: &str, root: Digest, persistence: Persistence) -> Result<(), HashDbError> {
        if !batch_uuid.is_empty() {
            self.sessions.known(batch_uuid)?.lock().finish_tx(root, persistence)?;
        }
        Ok(())
    }

    /// Persists what a session wrote, ends it, and takes a flush id. Without such a session just takes an id.
    ///
    /// `root` is the final root; the root the session started from drops it. If this fails, the session stays.
    pub fn flush(
        &self,
        batch_uuid: &str,
        root: Option<Digest>,
        persistence: Persistence,
    ) -> Result<FlushIds, HashDbError> {
        let durability = persistence.durability();
        let Some(session) = self.sessions.find(batch_uuid) else {
            return Ok(self.store.persist(WriteSet::default(), durability, 1)?);
        };
        let mut session = session.lock();
        let written = session.written(root)?;
        if durability == Durability::Volatile {
            // Programs of the database are kept whatever the flush says (hashdb-service §5).
            let programs = written.database_programs;
            self.store.persist(WriteSet { programs, ..WriteSet::default() }, Durability::Permanent, 0)?;
        }
        let ids = self.store.persist(written.set, durability, 1)?;
        session.end();
        self.sessions.remove(batch_uuid);
        Ok(ids)
    }

    /// Drops a session.
    pub fn cancel(&self, batch_uuid: &str) -> Result<(), HashDbError> {
        self.sessions.known(batch_uuid)?.lock().end();
        self.sessions.remove(batch_uuid);
        Ok(())
    }

    /// Deletes all state and all sessions, if that is enabled.
    pub fn reset(&self) -> Result<(), HashDbError> {
        if !self.allow_reset {
            return Err(HashDbError::ResetDisabled);
        }
        self.sessions.clear();
        Ok(self.store.clear(RESET_WAIT)?)
    }
}

/// What happened, the new nodes, the nodes read.
type LeafWritten = (SetDetails, Vec<(Digest, NodeData)>, ReadLog);

/// Writes one leaf over a reader.
fn write_leaf(below: &dyn StateReader, call: &SetCall<'_>) -> Result<LeafWritten, TreeError> {
    let recorder = Recorder::new(below);
    let mut tree = StateTree::new(&recorder);
    let at = tree.open(call.root);
    let (version, details) = tree.set_with_details(at, &call.key, call.value)?;
    let nodes = tree.new_nodes(&[version]);
    drop(tree);
    Ok((details, nodes, recorder.log.into_inner()))
}

/// Notes the nodes that are read.
struct Recorder<'a> {
    below: &'a dyn StateReader,
    log: Mutex<ReadLog>,
}

impl<'a> Recorder<'a> {
    fn new(below: &'a dyn StateReader) -> Self {
        Self { below, log: Mutex::default() }
    }
}

impl StateReader for Recorder<'_> {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let found = self.below.node(hash)?;
        self.log.lock().extend(found.map(|node| (*hash, node)));
        Ok(found)
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        self.below.program(hash)
    }
}

/// Returns the nodes if all have their hash, else the first that has not. Nodes without capacity get one of zeros.
fn verified(entries: &BTreeMap<Digest, Vec<u64>>) -> Result<Vec<(Digest, NodeData)>, Digest> {
    all_there(entries.keys(), verified_nodes(entries))
}

fn verified_codes(entries: &BTreeMap<Digest, Bytes>) -> Result<Vec<(Digest, Bytes)>, Digest> {
    all_there(entries.keys(), verified_programs(entries))
}

fn all_there<'a, T>(
    keys: impl Iterator<Item = &'a Digest>,
    verified: Vec<(Digest, T)>,
) -> Result<Vec<(Digest, T)>, Digest> {
    // Verifying keeps the order.
    let mut present = verified.iter().map(|(hash, _)| hash).peekable();
    for hash in keys {
        if present.next_if(|next| *next == hash).is_none() {
            return Err(*hash);
        }
    }
    Ok(verified)
}
