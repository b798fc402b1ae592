//! What the machine tells while it runs (main-state-machine §9), and what a listener can read then.

use alloy_primitives::U256;
use zkevm_tree::Digest;
use zkevm_types::Counters;

use crate::memory::Memory;
use crate::{Abort, Program, Register, Registers, Request, RomTree, Variable, fea};

/// One call of `eventLog` or `storeLog` (main-state-machine §9.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'p> {
    /// The batch starts.
    StartBatch,
    /// A block starts.
    StartBlock,
    /// A transaction starts.
    ProcessTx,
    /// A transaction is over.
    FinishTx,
    /// A block is over.
    FinishBlock,
    /// The batch is over.
    FinishBatch,
    /// An error of this name.
    Error(&'p str),
    /// An opcode is about to run.
    Opcode(u8),
    /// A slot was read or written; the registers hold its key and its value.
    UpdateStorage {
        /// Register of the key.
        key: Register,
        /// Register of the value.
        value: Register,
    },
    /// A part of a log.
    StoreLog {
        /// Register of the log's index.
        index: Register,
        /// True for a topic, false for a word of data.
        is_topic: bool,
        /// Register of the topic or the word.
        value: Register,
    },
}

/// One access of a line to a tree (main-state-machine §9.8).
#[derive(Clone, Copy, Debug)]
pub struct TreeAccess {
    /// What stands in A: an account, or the index of an entry.
    pub account: U256,
    /// What stands in B: the kind of the leaf.
    pub kind: U256,
    /// What stands in C: the slot.
    pub slot: U256,
    /// The value read, or written.
    pub value: U256,
    /// The key of the leaf.
    pub key: Digest,
    /// True for a write.
    pub is_write: bool,
}

/// What a listener can read at an event. Registers are those before the step in `cmdBefore`, those after it in `cmdAfter`.
#[derive(Debug)]
pub struct View<'m, 'a> {
    /// The program that runs.
    pub program: &'m Program,
    /// The request.
    pub request: &'m Request<'a>,
    /// The registers.
    pub registers: &'m Registers,
    /// The memory.
    pub memory: &'m Memory,
    /// The trees. Whoever finishes something says which roots stay ([`RomTree::keep`]).
    pub tree: &'m mut RomTree<'a>,
    /// The counters so far; steps are the number of the step.
    pub counters: Counters,
    /// True if the sum of all changes of balances is zero.
    pub is_balanced: bool,
}

impl View<'_, '_> {
    /// Returns the number of the running context.
    pub fn context(&self) -> u64 {
        self.registers.ctx()
    }

    /// Returns a variable of context 0 ("g(x)").
    pub fn global(&self, variable: Variable) -> Result<U256, Abort> {
        self.local_of(variable, 0)
    }

    /// Returns a variable of the running context ("c(x)").
    pub fn local(&self, variable: Variable) -> Result<U256, Abort> {
        self.local_of(variable, self.registers.ctx())
    }

    /// Returns a variable of a context ("c(x, k)").
    pub fn local_of(&self, variable: Variable, context: u64) -> Result<U256, Abort> {
        let word = self.memory.variable(self.program, variable, context)?;
        fea::to_scalar(&self.tree.resolved(word)?)
    }

    /// Returns a register as a number, error 12 if it is none.
    pub fn register(&self, register: Register) -> Result<U256, Abort> {
        match self.registers.fea(register) {
            Some(fea) => fea::to_scalar(&self.tree.resolved(*fea)?),
            None => self.registers.scalar(register),
        }
    }

    /// Returns the root in SR as a number.
    pub fn state_root(&self) -> Result<U256, Abort> {
        self.register(Register::Sr)
    }

    /// Returns the root in SR.
    pub fn state_root_digest(&self) -> Result<Digest, Abort> {
        self.tree.digest(fea::root_of(&self.registers.wide[5])?)
    }
}

/// Listens to a run. An error ends it.
pub trait EventHandler {
    /// Takes an event.
    fn event(&mut self, event: Event<'_>, view: &mut View<'_, '_>) -> Result<(), Abort>;

    /// Takes an access to a tree.
    fn tree_access(&mut self, access: &TreeAccess) -> Result<(), Abort>;

    /// Takes the address of the line that is about to run: called at every step.
    #[inline(always)]
    fn line(&mut self, _address: u32) {}
}

/// Listens to nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHandler;

impl EventHandler for NoHandler {
    fn event(&mut self, _event: Event<'_>, _view: &mut View<'_, '_>) -> Result<(), Abort> {
        Ok(())
    }

    fn tree_access(&mut self, _access: &TreeAccess) -> Result<(), Abort> {
        Ok(())
    }
}
