//! What a database that survives the process must be able to do.

use alloy_primitives::Bytes;

use zkevm_tree::{Digest, NodeData};
use zkevm_tree::{StateReader, StoreError};

/// Nodes, programs and at most one latest root that become permanent together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteSet {
    /// Nodes by hash.
    pub nodes: Vec<(Digest, NodeData)>,
    /// Programs by Poseidon code hash.
    pub programs: Vec<(Digest, Bytes)>,
    /// Root to remember as the latest one, once all of the set is there.
    pub latest_root: Option<Digest>,
}

/// Estimated memory of one node in the read cache, table and clock included.
pub(crate) const CACHED_NODE_BYTES: usize = 256;
/// Estimated memory of one queued node: in its set, and in the cache until it is stored.
const QUEUED_NODE_BYTES: usize = size_of::<(Digest, NodeData)>() + CACHED_NODE_BYTES;
/// What one queued program costs beside its code.
const PROGRAM_OVERHEAD_BYTES: usize = 192;

impl WriteSet {
    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty() && self.programs.is_empty() && self.latest_root.is_none()
    }

    /// Estimated size in bytes.
    pub fn bytes(&self) -> usize {
        let programs = self.programs.iter().map(|(_, code)| code.len() + PROGRAM_OVERHEAD_BYTES).sum::<usize>();
        self.nodes.len() * QUEUED_NODE_BYTES + programs
    }
}

/// A database that survives the process.
///
/// Implementations keep the crash order: whenever the process or the machine stops, a latest root that can be read back
/// belongs to a set that was written whole.
pub trait Database: StateReader {
    /// Writes the sets, in order, so that they survive once this returns. Entries already there stay as they are.
    ///
    /// On error nothing or a part of the entries is written, never a later latest root without all sets before it.
    fn commit(&self, sets: &[&WriteSet]) -> Result<(), StoreError>;

    /// Returns the latest root written, zero for a new database.
    fn latest_root(&self) -> Result<Digest, StoreError>;

    /// Deletes everything.
    fn clear(&self) -> Result<(), StoreError>;

    /// Returns where an entry is kept, for people: table and row, or file and offset.
    fn place(&self, entry: Entry<'_>) -> String;

    /// True if the database checks by itself that a node it returns has not changed since it was written.
    fn checks_nodes(&self) -> bool {
        false
    }

    /// Fails with what keeps state from being read or written, if anything does. Mends what it can by itself, and may wait
    /// for the database.
    fn probe(&self) -> Result<(), StoreError> {
        self.latest_root().map(drop)
    }
}

/// What a database keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// The node with this hash.
    Node(&'a Digest),
    /// The program with this Poseidon code hash.
    Program(&'a Digest),
    /// The latest root.
    LatestRoot,
}
