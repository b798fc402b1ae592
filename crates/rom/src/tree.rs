//! The trees of a run: any root that a register can hold, old or new.
//!
//! A write makes a version and hashes nothing. What the program gets for its root is a mark; whoever asks what the root is has
//! the version hashed. Most roots are only carried around: those within a transaction, those of trees that end with it.

use std::cell::RefCell;
use std::collections::HashMap;

use alloy_primitives::{Bytes, U256};
use foldhash::fast::RandomState;
use zkevm_pool::WorkerPool;
use zkevm_tree::{Digest, NodeData, StateReader, StateTree, TreeMemory, TreeRef};

use crate::fea::{self, Fea};
use crate::{Abort, abort};

/// Nodes of all trees of a run, at most: some 2 GiB. A full batch makes less than 200 000.
const NODES_MAX: usize = 1 << 25;

/// The trees over a store, with every version made in this run, and the programs made in it.
pub struct RomTree<'a> {
    reader: &'a dyn StateReader,
    versions: RefCell<Versions<'a>>,
    /// Roots that stay.
    kept: Vec<Digest>,
    programs: HashMap<Digest, Bytes, RandomState>,
}

/// Every version of the trees.
struct Versions<'a> {
    tree: StateTree<'a>,
    /// Those whose root a mark stands for, by number.
    marked: Vec<TreeRef>,
    /// Those made here whose root is known.
    by_root: HashMap<Digest, TreeRef, RandomState>,
    /// Root used last, and its version.
    last: (Digest, TreeRef),
}

/// A root: known, or that of a version by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// What it is.
    Known(Digest),
    /// The version it is the root of.
    Marked(u32),
}

/// What a write did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    pub(crate) root: Root,
    pub(crate) old_value: U256,
    pub(crate) proof_hashes: u64,
}

impl std::fmt::Debug for RomTree<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RomTree").field("kept", &self.kept.len()).finish_non_exhaustive()
    }
}

impl<'a> RomTree<'a> {
    /// Creates the trees over a store, in the memory of trees that are gone; `pool` helps to hash. Reads nothing.
    pub fn new(reader: &'a dyn StateReader, pool: WorkerPool, memory: TreeMemory) -> Self {
        let versions = Versions {
            tree: StateTree::with_memory(reader, pool, memory),
            marked: Vec::new(),
            by_root: HashMap::default(),
            last: (Digest::ZERO, TreeRef::EMPTY),
        };
        Self { reader, versions: RefCell::new(versions), kept: Vec::new(), programs: HashMap::default() }
    }

    /// Returns the value of a key in the tree with this root, zero if it has none.
    pub fn get(&mut self, root: Digest, key: &Digest) -> Result<U256, Abort> {
        let versions = self.versions.get_mut();
        let at = versions.open(Root::Known(root))?;
        Ok(versions.tree.get(at, key)?)
    }

    /// Says that the tree with this root stays: its new nodes are among [`Self::new_nodes`].
    pub fn keep(&mut self, root: Digest) {
        if self.kept.last() != Some(&root) {
            self.kept.push(root);
        }
    }

    /// Returns the nodes that the kept trees added to what the store holds.
    pub fn new_nodes(&self) -> Vec<(Digest, NodeData)> {
        let versions = self.versions.borrow();
        // A root that was not made here added nothing.
        let kept: Vec<TreeRef> = self.kept.iter().filter_map(|root| versions.by_root.get(root).copied()).collect();
        versions.tree.new_nodes(&kept)
    }

    /// Returns every program made in this run.
    pub fn new_programs(&self) -> Vec<(Digest, Bytes)> {
        self.programs.iter().map(|(hash, program)| (*hash, program.clone())).collect()
    }

    /// Number of Poseidon permutations that hashing nodes has taken so far.
    pub fn permutations(&self) -> u64 {
        self.versions.borrow().tree.permutations()
    }

    /// Ends the trees and returns their memory for the next run.
    pub fn into_memory(self) -> TreeMemory {
        self.versions.into_inner().tree.into_memory()
    }

    /// Returns a value and what proving it takes.
    pub(crate) fn read(&mut self, root: Root, key: &Digest) -> Result<(U256, u64), Abort> {
        let versions = self.versions.get_mut();
        let at = versions.open(root)?;
        let value = versions.tree.get(at, key)?;
        Ok((value, versions.tree.read_proof_hashes(at, key)?))
    }

    /// Writes a value into a new version.
    pub(crate) fn write(&mut self, root: Root, key: &Digest, value: U256) -> Result<Written, Abort> {
        let versions = self.versions.get_mut();
        if versions.tree.node_count() > NODES_MAX {
            return Err(Abort::unspecified("the trees of the machine are full"));
        }
        let at = versions.open(root)?;
        let old_value = versions.tree.get(at, key)?;
        let proof_hashes = versions.tree.write_cost(at, key, !value.is_zero())?;
        let version = versions.tree.update(at, &mut [(*key, value)])?;
        let root = if version == at { root } else { versions.mark(version)? };
        Ok(Written { root, old_value, proof_hashes })
    }

    /// Returns a root, hashing its version if nobody did.
    pub(crate) fn digest(&self, root: Root) -> Result<Digest, Abort> {
        match root {
            Root::Known(digest) => Ok(digest),
            Root::Marked(_) => self.versions.borrow_mut().digest(root),
        }
    }

    /// Returns a value of a register or a word, a root in the place of its mark.
    #[inline]
    pub(crate) fn resolved(&self, value: Fea) -> Result<Fea, Abort> {
        if fea::is_mark(&value) { self.resolve(&value) } else { Ok(value) }
    }

    #[cold]
    fn resolve(&self, mark: &Fea) -> Result<Fea, Abort> {
        Ok(fea::to_fea(self.digest(fea::root_of(mark)?)?.to_u256()))
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
}

impl Versions<'_> {
    /// Returns the version with a root.
    fn open(&mut self, root: Root) -> Result<TreeRef, Abort> {
        let digest = match root {
            Root::Known(digest) => digest,
            Root::Marked(number) => return self.marked.get(number as usize).copied().ok_or(abort::UNKNOWN_VERSION),
        };
        if self.last.0 != digest {
            let at = self.by_root.get(&digest).copied().unwrap_or_else(|| self.tree.open(digest));
            self.last = (digest, at);
        }
        Ok(self.last.1)
    }

    /// Returns a mark for the root of a version.
    fn mark(&mut self, version: TreeRef) -> Result<Root, Abort> {
        if version == TreeRef::EMPTY {
            return Ok(Root::Known(Digest::ZERO));
        }
        let number = u32::try_from(self.marked.len()).map_err(|_| abort::UNKNOWN_VERSION)?;
        self.marked.push(version);
        Ok(Root::Marked(number))
    }

    fn digest(&mut self, root: Root) -> Result<Digest, Abort> {
        let version = self.open(root)?;
        let digest = self.tree.root(version);
        self.by_root.entry(digest).or_insert(version);
        Ok(digest)
    }
}
