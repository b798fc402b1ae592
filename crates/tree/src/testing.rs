//! A store for the tests of this crate.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use alloy_primitives::Bytes;

use crate::{Digest, NodeData, StateReader, StoreError};

/// Nodes in a map.
#[derive(Debug, Default)]
pub(crate) struct NodeMap {
    nodes: RwLock<HashMap<Digest, NodeData>>,
}

impl NodeMap {
    pub(crate) fn write(&self, nodes: &[(Digest, NodeData)]) {
        self.nodes.write().unwrap_or_else(PoisonError::into_inner).extend(nodes.iter().copied());
    }
}

impl StateReader for NodeMap {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        Ok(self.nodes.read().unwrap_or_else(PoisonError::into_inner).get(hash).copied())
    }

    fn program(&self, _: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
}
