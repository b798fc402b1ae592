//! Nodes and programs of earlier batches, kept in memory: what a chain of batches needs and nothing more.

use std::collections::HashMap;

use parking_lot::RwLock;
use revm::primitives::Bytes;

use crate::processor::{BatchInput, BatchOutput};
use crate::store::{StateReader, StoreError};
use crate::tree::{Digest, NodeData};

/// Everything that earlier batches brought along or left behind.
#[derive(Debug, Default)]
pub struct KeptState {
    nodes: RwLock<HashMap<Digest, Vec<u64>>>,
    programs: RwLock<HashMap<Digest, Bytes>>,
}

impl KeptState {
    /// Starts with what a request carries.
    pub fn of(input: &BatchInput) -> Self {
        let kept = Self::default();
        kept.keep_input(input);
        kept
    }

    /// Keeps what the request carried.
    pub fn keep_input(&self, input: &BatchInput) {
        self.nodes.write().extend(input.db.iter().map(|(hash, node)| (*hash, node.clone())));
        self.programs.write().extend(input.contracts_bytecode.iter().map(|(hash, code)| (*hash, code.clone())));
    }

    /// Keeps what the batch created.
    pub fn keep_output(&self, output: &BatchOutput) {
        self.nodes.write().extend(output.new_nodes.iter().map(|(hash, node)| (*hash, node.to_vec())));
        self.programs.write().extend(output.new_programs.iter().cloned());
    }
}

impl StateReader for KeptState {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let Some(node) = self.nodes.read().get(hash).cloned() else { return Ok(None) };
        let elements = node.len();
        NodeData::try_from(node).map(Some).map_err(|_| StoreError::InvalidNodeSize { hash: *hash, elements })
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(self.programs.read().get(hash).cloned())
    }
}
