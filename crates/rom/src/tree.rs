//! The trees of a run: any root that a register can hold, old or new.

use std::collections::HashMap;

use alloy_primitives::{Bytes, U256};
use foldhash::fast::RandomState;
use zkevm_pool::WorkerPool;
use zkevm_tree::{Digest, NodeData, StateReader, StateTree, TreeMemory, TreeRef};

use crate::Abort;

/// The trees over a store, with every version made in this run, and the programs made in it.
pub struct RomTree<'a> {
    reader: &'a dyn StateReader,
    tree: StateTree<'a>,
    /// Versions made here, by root.
    versions: HashMap<Digest, TreeRef, RandomState>,
    /// Root used last, and its version.
    last: (Digest, TreeRef),
    /// Versions that stay.
    kept: Vec<TreeRef>,
    programs: HashMap<Digest, Bytes, RandomState>,
}

/// What a write did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) root: Digest,
    pub(crate) old_value: U256,
    pub(crate) proof_hashes: u64,
}

impl std::fmt::Debug for RomTree<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RomTree").field("versions", &self.versions.len()).finish_non_exhaustive()
    }
}

impl<'a> RomTree<'a> {
    /// Creates the trees over a store, in the memory of trees that are gone; `pool` helps to hash. Reads nothing.
    pub fn new(reader: &'a dyn StateReader, pool: WorkerPool, memory: TreeMemory) -> Self {
        Self {
            reader,
            tree: StateTree::with_memory(reader, pool, memory),
            versions: HashMap::default(),
            last: (Digest::ZERO, TreeRef::EMPTY),
            kept: Vec::new(),
            programs: HashMap::default(),
        }
    }

    /// Returns the value of a key in the tree with this root, zero if it has none.
    pub fn get(&mut self, root: Digest, key: &Digest) -> Result<U256, Abort> {
        let at = self.open(root);
        Ok(self.tree.get(at, key)?)
    }

    /// Says that the tree with this root stays: its new nodes are among [`Self::new_nodes`].
    pub fn keep(&mut self, root: Digest) {
        let at = self.open(root);
        if self.kept.last() != Some(&at) {
            self.kept.push(at);
        }
    }

    /// Returns the nodes that the kept trees added to what the store holds.
    pub fn new_nodes(&self) -> Vec<(Digest, NodeData)> {
        self.tree.new_nodes(&self.kept)
    }

    /// Returns every program made in this run.
    pub fn new_programs(&self) -> Vec<(Digest, Bytes)> {
        self.programs.iter().map(|(hash, program)| (*hash, program.clone())).collect()
    }

    /// Number of Poseidon permutations that hashing nodes has taken so far.
    pub fn permutations(&self) -> u64 {
        self.tree.permutations()
    }

    /// Ends the trees and returns their memory for the next run.
    pub fn into_memory(self) -> TreeMemory {
        self.tree.into_memory()
    }

    /// Returns a value and what proving it takes.
    pub(crate) fn read(&mut self, root: Digest, key: &Digest) -> Result<(U256, u64), Abort> {
        let at = self.open(root);
        let value = self.tree.get(at, key)?;
        Ok((value, self.tree.read_proof_hashes(at, key)?))
    }

    /// Writes a value into a new version and hashes it.
    pub(crate) fn write(&mut self, root: Digest, key: &Digest, value: U256) -> Result<Written, Abort> {
        let at = self.open(root);
        let old_value = self.tree.get(at, key)?;
        let proof_hashes = self.tree.write_cost(at, key, !value.is_zero())?;
        let version = self.tree.update(at, &mut [(*key, value)])?;
        let root = self.tree.root(version);
        self.versions.insert(root, version);
        self.last = (root, version);
        Ok(Written { root, old_value, proof_hashes })
    }

    /// Remembers a program under its hash.
    pub(crate) fn add_program(&mut self, hash: Digest, program: &[u8]) {
        self.programs.entry(hash).or_insert_with(|| Bytes::copy_from_slice(program));
    }

    /// Returns a program, `None` if it is not known.
    pub(crate) fn program(&self, hash: &Digest) -> Result<Option<Bytes>, Abort> {
        match self.programs.get(hash) {
            Some(program) => Ok(Some(program.clone())),
            None => Ok(self.reader.program(hash)?),
        }
    }

    fn open(&mut self, root: Digest) -> TreeRef {
        if self.last.0 != root {
            let at = self.versions.get(&root).copied().unwrap_or_else(|| self.tree.open(root));
            self.last = (root, at);
        }
        self.last.1
    }
}
