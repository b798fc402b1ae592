//! The machine: one run of a program over one request (main-state-machine §3 to §7).

mod registers;

use std::collections::HashSet;

use zkevm_pool::{CancelToken, Cancelled};
use zkevm_tree::Digest;
use zkevm_types::{Counters, ExecutorError};

pub use registers::Registers;

use crate::{EventHandler, Memory, Program, Request, RomTree};

/// A machine with its program and its request. It runs once.
#[derive(Debug)]
pub struct Machine<'p, 'a> {
    program: &'p Program,
    request: &'p Request<'a>,
    registers: Registers,
    memory: Memory,
    tree: RomTree<'a>,
    smt_keys: Keys,
    program_keys: Keys,
}

/// Keys in the order of their first use.
#[derive(Debug, Default)]
struct Keys {
    order: Vec<Digest>,
    known: HashSet<Digest>,
}

/// How a run ended (main-state-machine §7, §10.2, §11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// `NoError` if the program came to its end within all limits.
    pub error: ExecutorError,
    /// The cause of an error and the state of the machine; empty if there was none.
    pub message: String,
    /// Counters of the whole run; zero after an abort.
    pub counters: Counters,
    /// Reservations, never below the counters; after an abort those seen so far.
    pub reserved: Counters,
    /// True if the run was aborted: nothing it wrote stays.
    pub is_aborted: bool,
    /// Steps that were run.
    pub steps: u64,
    /// Keys of the state that were used, if the request asks for them.
    pub smt_keys: Vec<Digest>,
    /// Hashes of programs that were made or loaded, if the request asks for them.
    pub program_keys: Vec<Digest>,
}

impl<'p, 'a> Machine<'p, 'a> {
    /// Sets a machine up (main-state-machine §3.1). The request's fork is the program's.
    pub fn new(program: &'p Program, request: &'p Request<'a>, tree: RomTree<'a>) -> Self {
        Self {
            program,
            request,
            registers: Registers::default(),
            memory: Memory::default(),
            tree,
            smt_keys: Keys::default(),
            program_keys: Keys::default(),
        }
    }

    /// Runs the program to its end, or until `cancel` is cancelled.
    pub fn run(&mut self, handler: &mut impl EventHandler, cancel: &CancelToken) -> Result<Outcome, Cancelled> {
        cancel.check()?;
        let _ = (&self.program, &self.request, &self.registers, &self.memory, handler);
        Ok(Outcome {
            error: ExecutorError::Unspecified,
            message: "the machine does not run yet".to_owned(),
            counters: Counters::default(),
            reserved: Counters::default(),
            is_aborted: true,
            steps: 0,
            smt_keys: std::mem::take(&mut self.smt_keys).order,
            program_keys: std::mem::take(&mut self.program_keys).order,
        })
    }

    /// Returns the registers.
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Returns the memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Ends the machine and returns its trees.
    pub fn into_tree(self) -> RomTree<'a> {
        self.tree
    }
}

impl Keys {
    #[allow(dead_code)]
    fn add(&mut self, key: Digest) {
        if self.known.insert(key) {
            self.order.push(key);
        }
    }
}
