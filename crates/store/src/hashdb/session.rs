//! One batch session: writes that nobody else sees until they are flushed (hashdb-service §5).
//!
//! A session holds blocks, a block transactions, a transaction one lane per persistence. Each write is one step of its
//! lane, from a root to a root. Undoing is finishing a transaction or block with an earlier root: the steps from there
//! on are dropped, though what they wrote stays readable until the session ends. A flush keeps the nodes of every
//! step that leads from its lane's first root to its last; nothing that a later step replaced is taken out again, so
//! that every root in between stays readable.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use alloy_primitives::Bytes;

use crate::database::WriteSet;
use crate::writer::Durability;
use zkevm_tree::{Digest, NodeData};
use zkevm_tree::{StateReader, StoreError};

/// Blocks of a session and transactions of a block, at most.
const POSITION_MAX: u64 = 1 << 16;
/// What one node costs in memory, with its place in a step.
const NODE_BYTES: usize = 288;
/// What one program costs beside its code.
const PROGRAM_OVERHEAD_BYTES: usize = 192;
/// What one block, transaction or step costs in its list, which may be grown to twice what is in it.
const BLOCK_BYTES: usize = 2 * size_of::<Block>();
const TX_BYTES: usize = 2 * size_of::<Tx>();
const STEP_BYTES: usize = 2 * size_of::<Step>();

/// The target of a write (hashdb-service §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Memory of the process.
    Cache,
    /// The database.
    Database,
    /// Only as long as the session.
    Temporary,
    /// The same, for the block info tree.
    TemporaryHash,
}

impl Persistence {
    /// Returns the persistence with this number.
    pub fn from_number(number: i32) -> Option<Self> {
        match number {
            0 => Some(Self::Cache),
            1 => Some(Self::Database),
            2 => Some(Self::Temporary),
            3 => Some(Self::TemporaryHash),
            _ => None,
        }
    }

    /// Returns how long a write outside a session stays.
    pub fn durability(self) -> Durability {
        if self == Self::Database { Durability::Permanent } else { Durability::Volatile }
    }

    fn is_temporary(self) -> bool {
        matches!(self, Self::Temporary | Self::TemporaryHash)
    }
}

/// Place of a write in a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Counts from 0.
    pub block: u64,
    /// Within the block, counts from 0.
    pub tx: u64,
}

/// The reason why a session refuses a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// No session has this id.
    #[error("there is no such batch session")]
    Unknown,
    /// Block or transaction do not exist.
    #[error("the batch session has no such block or transaction")]
    Position,
    /// The steps of a lane do not lead from its first root to its last.
    #[error("the writes of the batch session do not form a chain of roots")]
    Broken,
    /// Too many sessions, or too much in them.
    #[error("the batch sessions are at their bound")]
    Full,
}

/// One write.
struct Step {
    old_root: Digest,
    new_root: Digest,
    nodes: Vec<Digest>,
}

/// Writes of one persistence in one transaction.
#[derive(Default)]
struct Lane {
    steps: Vec<Step>,
    programs: Vec<Digest>,
}

#[derive(Default)]
struct Tx {
    lanes: [Lane; 4],
}

#[derive(Default)]
struct Block {
    txs: Vec<Tx>,
}

/// What a flush keeps.
pub(super) struct Written {
    /// Everything, with the last root if it changed.
    pub set: WriteSet,
    /// Programs written for the database, again.
    pub database_programs: Vec<(Digest, Bytes)>,
}

/// A session.
pub(super) struct Session {
    nodes: HashMap<Digest, NodeData>,
    programs: HashMap<Digest, Bytes>,
    blocks: Vec<Block>,
    current_block: usize,
    /// That of the first write that is not temporary.
    old_root: Option<Digest>,
    bytes: usize,
    /// Bytes of all sessions, and their bound.
    shared_bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    ended: bool,
    /// When it was used last.
    pub(super) used_at: Instant,
}

impl Session {
    pub(super) fn new(shared_bytes: Arc<AtomicUsize>, bytes_max: usize) -> Self {
        Self {
            nodes: HashMap::new(),
            programs: HashMap::new(),
            blocks: Vec::new(),
            current_block: 0,
            old_root: None,
            bytes: 0,
            shared_bytes,
            bytes_max,
            ended: false,
            used_at: Instant::now(),
        }
    }

    /// Reads what the session wrote, then what is `below`.
    pub(super) fn reader<'a>(&'a self, below: &'a dyn StateReader) -> SessionReader<'a> {
        SessionReader { session: self, below }
    }

    pub(super) fn program(&self, hash: &Digest) -> Option<Bytes> {
        self.programs.get(hash).cloned()
    }

    /// Records a write that led from one root to another.
    pub(super) fn set(
        &mut self,
        position: Position,
        persistence: Persistence,
        (old_root, new_root): (Digest, Digest),
        nodes: Vec<(Digest, NodeData)>,
    ) -> Result<(), SessionError> {
        let bytes = STEP_BYTES + nodes.len() * NODE_BYTES;
        let lane = &mut self.tx(position, bytes)?.lanes[persistence as usize];
        lane.steps.push(Step { old_root, new_root, nodes: nodes.iter().map(|(hash, _)| *hash).collect() });
        self.nodes.extend(nodes);
        if !persistence.is_temporary() {
            self.old_root.get_or_insert(old_root);
        }
        Ok(())
    }

    pub(super) fn set_program(
        &mut self,
        position: Position,
        persistence: Persistence,
        hash: Digest,
        code: Bytes,
    ) -> Result<(), SessionError> {
        // Unlike a leaf, a program makes no blocks or transactions but the first and the next.
        let block_exists = position.block == 0 || position.block < self.blocks.len() as u64;
        let txs = self.blocks.get(position.block as usize).map_or(0, |block| block.txs.len() as u64);
        if !block_exists || position.tx > txs {
            return Err(SessionError::Position);
        }
        let bytes = code.len() + PROGRAM_OVERHEAD_BYTES;
        self.tx(position, bytes)?.lanes[persistence as usize].programs.push(hash);
        self.programs.insert(hash, code);
        Ok(())
    }

    /// Adds a block and makes it the current one.
    pub(super) fn start_block(&mut self) -> Result<(), SessionError> {
        if self.blocks.len() as u64 >= POSITION_MAX {
            return Err(SessionError::Position);
        }
        self.grow(BLOCK_BYTES)?;
        self.blocks.push(Block::default());
        self.current_block = self.blocks.len() - 1;
        Ok(())
    }

    /// Ends the current transaction: with its last root keeps it, with an earlier one drops the steps from there on.
    pub(super) fn finish_tx(&mut self, root: Digest, persistence: Persistence) -> Result<(), SessionError> {
        let block = self.blocks.get_mut(self.current_block).ok_or(SessionError::Position)?;
        let Some(tx) = block.txs.last_mut() else { return Ok(()) };
        let lane = &mut tx.lanes[persistence as usize];
        if lane.steps.last().is_some_and(|step| step.new_root == root) {
            return Ok(());
        }
        if let Some(first) = lane.steps.iter().position(|step| step.old_root == root) {
            lane.steps.truncate(first);
        }
        Ok(())
    }

    /// Ends the current block: with its last root keeps it, with an earlier one drops the transactions from there on.
    pub(super) fn finish_block(&mut self, root: Digest, persistence: Persistence) -> Result<(), SessionError> {
        let block = self.blocks.get_mut(self.current_block).ok_or(SessionError::Position)?;
        let lane = persistence as usize;
        let last_root = block.txs.iter().rev().find_map(|tx| tx.lanes[lane].steps.last()).map(|step| step.new_root);
        if last_root == Some(root) {
            return Ok(());
        }
        let starts_there = |tx: &Tx| tx.lanes[lane].steps.first().is_some_and(|step| step.old_root == root);
        if let Some(first) = block.txs.iter().position(starts_there) {
            block.txs.truncate(first);
        }
        Ok(())
    }

    /// Returns what a flush with this final root keeps; nothing if it is the root the session started from.
    ///
    /// Fails if a lane's writes do not form a chain.
    pub(super) fn written(&self, root: Option<Digest>) -> Result<Written, SessionError> {
        self.alive()?;
        let mut written = Written { set: WriteSet::default(), database_programs: Vec::new() };
        if root.is_some() && root == self.old_root {
            return Ok(written);
        }
        for tx in self.blocks.iter().flat_map(|block| &block.txs) {
            for persistence in [Persistence::Cache, Persistence::Database] {
                self.add_lane(&tx.lanes[persistence as usize], persistence, &mut written)?;
            }
        }
        Ok(written)
    }

    fn add_lane(&self, lane: &Lane, persistence: Persistence, written: &mut Written) -> Result<(), SessionError> {
        for step in chain(&lane.steps)? {
            let nodes = step.nodes.iter().filter_map(|hash| Some((*hash, *self.nodes.get(hash)?)));
            written.set.nodes.extend(nodes);
        }
        if let (Some(first), Some(last)) = (lane.steps.first(), lane.steps.last())
            && first.old_root != last.new_root
        {
            written.set.latest_root = Some(last.new_root);
        }
        for hash in &lane.programs {
            let Some(code) = self.programs.get(hash) else { continue };
            written.set.programs.push((*hash, code.clone()));
            if persistence == Persistence::Database {
                written.database_programs.push((*hash, code.clone()));
            }
        }
        Ok(())
    }

    /// Ends the session: whoever still holds it can write nothing more into it.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.nodes = HashMap::new();
        self.programs = HashMap::new();
        self.blocks = Vec::new();
        self.shared_bytes.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }

    /// Returns the transaction, made with all before it if need be, once there is room for it and for `bytes` of what is
    /// going to be put into it. A block that is made becomes the current one.
    fn tx(&mut self, position: Position, bytes: usize) -> Result<&mut Tx, SessionError> {
        if position.block >= POSITION_MAX || position.tx >= POSITION_MAX {
            return Err(SessionError::Position);
        }
        let (block, tx) = (position.block as usize, position.tx as usize);
        let txs = self.blocks.get(block).map_or(0, |block| block.txs.len());
        let new_blocks = (block + 1).saturating_sub(self.blocks.len());
        let new_txs = (tx + 1).saturating_sub(txs);
        self.grow(bytes + new_blocks * BLOCK_BYTES + new_txs * TX_BYTES)?;
        if new_blocks > 0 {
            self.blocks.resize_with(block + 1, Block::default);
            self.current_block = block;
        }
        let txs = &mut self.blocks[block].txs;
        if new_txs > 0 {
            txs.resize_with(tx + 1, Tx::default);
        }
        Ok(&mut txs[tx])
    }

    fn alive(&self) -> Result<(), SessionError> {
        if self.ended { Err(SessionError::Unknown) } else { Ok(()) }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), SessionError> {
        self.alive()?;
        if self.shared_bytes.load(Ordering::Relaxed) + bytes > self.bytes_max {
            return Err(SessionError::Full);
        }
        self.shared_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns the steps that lead from the first root of a lane to its last, latest first.
fn chain(steps: &[Step]) -> Result<Vec<&Step>, SessionError> {
    let (Some(first), Some(mut step)) = (steps.first(), steps.last()) else { return Ok(Vec::new()) };
    let mut before = &steps[..steps.len() - 1];
    let mut found = vec![step];
    while step.old_root != first.old_root {
        let previous = before.iter().rposition(|earlier| earlier.new_root == step.old_root);
        let index = previous.ok_or(SessionError::Broken)?;
        step = &before[index];
        before = &before[..index];
        found.push(step);
    }
    Ok(found)
}

/// Reads through a session.
pub(super) struct SessionReader<'a> {
    session: &'a Session,
    below: &'a dyn StateReader,
}

impl StateReader for SessionReader<'_> {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        match self.session.nodes.get(hash) {
            Some(node) => Ok(Some(*node)),
            None => self.below.node(hash),
        }
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        match self.session.programs.get(hash) {
            Some(code) => Ok(Some(code.clone())),
            None => self.below.program(hash),
        }
    }
}
