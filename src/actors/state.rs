//! State as the executors need it: read together with what a request brought along, kept after a batch.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use revm::primitives::Bytes;

use crate::processor::{BatchInput, BatchOutput};
use crate::store::{StateReader, StoreError};
use crate::tree::{Digest, NodeData};

/// Flush ids an answer carries (executor-service §9); zero after an abort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushIds {
    /// Names the write of this batch's state.
    pub flush_id: u64,
    /// Highest id known to be stored.
    pub stored_flush_id: u64,
}

/// Where batches read state from and leave it.
pub trait BatchState: Send + Sync + 'static {
    /// Returns a reader over the kept state and over the nodes and programs of the request.
    fn reader<'a>(&'a self, input: &'a BatchInput) -> Box<dyn StateReader + 'a>;

    /// Keeps the new nodes and programs of a batch that ran to its end, and those of its request, taking them out of the
    /// output: for good if the request says `update_merkle_tree`, else in this process only.
    ///
    /// Must be done before the answer goes out: the client's next batch starts from the new root.
    fn keep(&self, input: &BatchInput, output: &mut BatchOutput) -> Result<FlushIds, StoreError>;
}

/// Hands out flush ids of a store where everything is stored as soon as it is written (executor-service §9).
#[derive(Debug, Default)]
pub struct FlushLedger {
    last_flush_id: AtomicU64,
}

impl FlushLedger {
    /// Takes the ids of one request: one for each map it brought along that is not empty, and one for the batch if it ran
    /// to its end. An aborted batch has no ids to show.
    pub fn flush(&self, input: &BatchInput, completed: bool) -> FlushIds {
        let maps = u64::from(!input.db.is_empty()) + u64::from(!input.contracts_bytecode.is_empty());
        let taken = maps + u64::from(completed);
        let last = self.last_flush_id.fetch_add(taken, Ordering::AcqRel) + taken;
        if completed { FlushIds { flush_id: last, stored_flush_id: last } } else { FlushIds::default() }
    }

    /// Returns the id handed out last.
    pub fn last(&self) -> u64 {
        self.last_flush_id.load(Ordering::Acquire)
    }
}

/// Keeps everything in this process.
#[derive(Default)]
pub struct ProcessState {
    nodes: RwLock<HashMap<Digest, NodeData>>,
    programs: RwLock<HashMap<Digest, Bytes>>,
    flushes: FlushLedger,
}

struct RequestView<'a> {
    kept: &'a ProcessState,
    input: &'a BatchInput,
}

impl StateReader for RequestView<'_> {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let Some(elements) = self.input.db.get(hash) else { return Ok(self.kept.nodes.read().get(hash).copied()) };
        let size_error = || StoreError::InvalidNodeSize { hash: *hash, elements: elements.len() };
        NodeData::try_from(elements.as_slice()).map(Some).map_err(|_| size_error())
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        let brought = self.input.contracts_bytecode.get(hash).cloned();
        Ok(brought.or_else(|| self.kept.programs.read().get(hash).cloned()))
    }
}

impl BatchState for ProcessState {
    fn reader<'a>(&'a self, input: &'a BatchInput) -> Box<dyn StateReader + 'a> {
        Box::new(RequestView { kept: self, input })
    }

    fn keep(&self, input: &BatchInput, output: &mut BatchOutput) -> Result<FlushIds, StoreError> {
        self.nodes.write().extend(output.new_nodes.drain(..));
        self.programs.write().extend(output.new_programs.drain(..));
        Ok(self.flushes.flush(input, output.roots.is_some()))
    }
}
