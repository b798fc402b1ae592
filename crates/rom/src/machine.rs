//! The machine: one run of a program over one request (main-state-machine §3 to §7).

mod arith;
mod commands;
mod hashes;
mod intrinsics;
mod modular;
mod points;
mod quick;
mod registers;
mod step;
mod storage;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use alloy_primitives::U256;
use zkevm_pool::{CancelToken, Cancelled};
use zkevm_tree::Digest;
use zkevm_types::{AccountOverride, Counters, ExecutorError};

pub use registers::Registers;

use crate::fea;
use crate::program::Native;
use crate::scalar::Scalar;
use crate::tree::Root;
use crate::{Abort, EventHandler, Memory, Program, Request, RomTree, Variable};
use commands::Division;
use hashes::HashBuffers;
use points::Points;
use registers::{small, wide};

/// Steps between two looks at the cancellation.
const STEPS_BETWEEN_CHECKS: u64 = 4096;

/// Key of the timestamp in the system contract's storage (main-state-machine §3.1).
const TIMESTAMP_KEY: Digest =
    Digest([13748230500842749409, 4428676446262882967, 12167292013585018040, 12161933621946006603]);

/// A machine with its program and its request. It runs once.
#[derive(Debug)]
pub struct Machine<'p, 'a> {
    program: &'p Program,
    request: &'p Request<'a>,
    registers: Registers,
    memory: Memory,
    tree: RomTree<'a>,
    hashes: HashBuffers,
    /// The variables of commands, by number.
    variables: Vec<Option<Scalar>>,
    division: Division,
    points: Points,
    /// Whether known lines are run by native code.
    intrinsics: bool,
    /// How often each piece of native code took the place of lines, and the steps of those.
    native_runs: [(u64, u64); Native::ALL.len()],
    /// Step at which the cancellation is looked at next.
    next_check: u64,
    /// The carry of the last binary operation.
    carry: bool,
    step: u64,
    /// RCX before the last `repeat`.
    repeats_left: u64,
    /// Root of the last write to a tree.
    last_write: Root,
    /// Bit n: register n of A, B, C, D, E, SR holds the mark of a root.
    marks: u8,
    /// A write to a replaced leaf brought the root of another write: the state that follows cannot be kept.
    has_lost_root: bool,
    /// Sum of the changes of balances: modulo 2^256, and what was carried.
    balance_sum: (U256, i64),
    reserved: Counters,
    /// Whether the address bound is the old one (main-state-machine §4.3).
    old_bound: bool,
    /// Largest number of a context.
    context_max: u64,
    /// Steps that a batch may take.
    step_limit: u64,
    /// Replaced accounts, as the run changes them.
    overrides: HashMap<alloy_primitives::Address, AccountOverride>,
    leaf_keys: storage::LeafKeys,
    smt_keys: Keys,
    program_keys: Keys,
}

/// What a machine leaves that the next one can use again: room, and hashes.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    pub(crate) memory: Memory,
    leaf_keys: storage::LeafKeys,
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
        let rules = program.rules;
        let mut registers = Registers::default();
        registers.wide[wide::B] = fea::to_fea(request.old_state_root);
        registers.wide[wide::C] = fea::to_fea(request.old_acc_input_hash);
        registers.small[small::SP] = u64::from(request.old_batch_num);
        registers.small[small::GAS] = fea::canonical_fe(request.chain_id);
        registers.small[small::CTX] = rules.id;
        let uncounted = if request.no_counters { rules.uncounted_log2 } else { 0 };
        Self {
            program,
            request,
            registers,
            memory: Memory::default(),
            tree,
            hashes: HashBuffers::default(),
            variables: vec![None; program.variable_names.len()],
            division: Division::default(),
            points: Points::default(),
            intrinsics: true,
            native_runs: Default::default(),
            next_check: 0,
            carry: false,
            step: 0,
            repeats_left: 0,
            last_write: Root::Known(Digest::ZERO),
            marks: 0,
            has_lost_root: false,
            balance_sum: (U256::ZERO, 0),
            reserved: Counters::default(),
            old_bound: rules.old_bound_until.is_some_and(|last| request.old_batch_num <= last),
            context_max: rules.context_max.unwrap_or(u64::MAX),
            step_limit: 1 << (rules.steps_log2 + uncounted),
            overrides: storage::as_replaced(request.state_override),
            leaf_keys: storage::LeafKeys::default(),
            smt_keys: Keys::default(),
            program_keys: Keys::default(),
        }
    }

    /// Lets native code take the place of lines it knows, or not. It does unless told otherwise; the steps it takes are not
    /// shown to [`EventHandler::line`].
    pub fn with_intrinsics(self, intrinsics: bool) -> Self {
        Self { intrinsics, ..self }
    }

    /// Returns the name of each piece of native code, how often it took the place of lines, and the steps of those.
    pub fn native_runs(&self) -> impl Iterator<Item = (&'static str, u64, u64)> {
        Native::ALL.into_iter().zip(self.native_runs).map(|(native, (runs, steps))| (native.name(), runs, steps))
    }

    /// Takes what a machine that ended left.
    pub(crate) fn with_remains(mut self, mut remains: Remains) -> Self {
        remains.memory.clear();
        self.memory = remains.memory;
        self.leaf_keys = remains.leaf_keys;
        self
    }

    /// Runs the program to its end, or until `cancel` is cancelled.
    pub fn run(&mut self, handler: &mut impl EventHandler, cancel: &CancelToken) -> Result<Outcome, Cancelled> {
        let ended = self.start().and_then(|()| self.run_steps(handler, cancel));
        let steps = self.step;
        let mut outcome = match ended {
            Ok(last_step) => self.ended(last_step),
            Err(Abort::Cancelled(cancelled)) => return Err(cancelled),
            Err(Abort::Error(error, cause)) => Outcome {
                error,
                message: self.message(error, &cause),
                counters: Counters::default(),
                reserved: self.reserved,
                is_aborted: true,
                steps,
                smt_keys: Vec::new(),
                program_keys: Vec::new(),
            },
        };
        outcome.smt_keys = std::mem::take(&mut self.smt_keys).order;
        outcome.program_keys = std::mem::take(&mut self.program_keys).order;
        Ok(outcome)
    }

    /// Returns the registers.
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Returns the memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Returns the number of the last context that the ROM opened, 0 if the program has no such variable.
    pub fn contexts(&self) -> u64 {
        let opened = self.program.offset(Variable::LastCtxUsed).map(|offset| self.memory.read(offset));
        opened.map_or(0, |number| number[0])
    }

    /// Returns the number of the next step.
    pub fn step(&self) -> u64 {
        self.step
    }

    /// Ends the machine and returns its trees, and what the next machine can use again.
    pub(crate) fn into_parts(self) -> (RomTree<'a>, Remains) {
        (self.tree, Remains { memory: self.memory, leaf_keys: self.leaf_keys })
    }

    /// Reads the block's timestamp where the batch goes on in a block (main-state-machine §3.1).
    fn start(&mut self) -> Result<(), Abort> {
        if !self.request.skip_first_change_l2_block || !self.program.rules.is_v2 {
            return Ok(());
        }
        let Some(offset) = self.program.offset(Variable::Timestamp) else { return Ok(()) };
        let root = fea::root_of(&self.registers.wide[wide::B])?;
        let (timestamp, _) = self.tree.read(root, &TIMESTAMP_KEY)?;
        self.memory.write(offset, &fea::to_fea(timestamp))
    }

    /// Returns the number of the last step, 0 if the steps ran out.
    fn run_steps(&mut self, handler: &mut impl EventHandler, cancel: &CancelToken) -> Result<u64, Abort> {
        while self.step < self.step_limit {
            if self.step >= self.next_check {
                cancel.check()?;
                self.next_check = self.step + STEPS_BETWEEN_CHECKS;
            }
            if self.run_step(handler)? {
                self.resolve_registers(u8::MAX)?;
                return Ok(self.step);
            }
            self.step += 1;
        }
        Ok(0)
    }

    /// Has the cancellation looked at before the next step: this one may have taken long.
    fn check_soon(&mut self) {
        self.next_check = self.step;
    }

    /// Says how a run ended that was not aborted (main-state-machine §7, §11).
    fn ended(&self, last_step: u64) -> Outcome {
        let counters = self.registers.counters(last_step);
        let reserved = if self.program.rules.reserves { self.reserved.max(counters) } else { counters };
        let error = match self.limit_passed(&counters) {
            ExecutorError::NoError if self.has_lost_root => ExecutorError::StateManager,
            error => error,
        };
        let message = match error {
            ExecutorError::NoError => String::new(),
            error => self.message(error, ""),
        };
        Outcome {
            error,
            message,
            counters,
            reserved,
            is_aborted: false,
            steps: self.step,
            smt_keys: Vec::new(),
            program_keys: Vec::new(),
        }
    }

    /// Returns the error of the last limit that was passed; later ones take the place of earlier ones.
    fn limit_passed(&self, counters: &Counters) -> ExecutorError {
        let mut error = if counters.steps == 0 { ExecutorError::CountersOverflowSteps } else { ExecutorError::NoError };
        if self.request.no_counters {
            return error;
        }
        let limits = &self.program.limits.hard;
        let passed = [
            (counters.steps > limits.steps, ExecutorError::CountersOverflowSteps),
            (counters.arithmetics > limits.arithmetics, ExecutorError::CountersOverflowArith),
            (counters.binaries > limits.binaries, ExecutorError::CountersOverflowBinary),
            (counters.mem_aligns > limits.mem_aligns, ExecutorError::CountersOverflowMem),
            (counters.keccaks > limits.keccaks, ExecutorError::CountersOverflowKeccak),
            (counters.poseidon_paddings > limits.poseidon_paddings, ExecutorError::CountersOverflowPadding),
            (counters.poseidons > limits.poseidons, ExecutorError::CountersOverflowPoseidon),
            (counters.sha256s > limits.sha256s, ExecutorError::CountersOverflowSha256),
        ];
        for (is_passed, limit) in passed {
            if is_passed {
                error = limit;
            }
        }
        error
    }

    /// Returns the text for people: the cause, the place in the program and the registers.
    fn message(&self, error: ExecutorError, cause: &str) -> String {
        let Registers { wide, small, zkpc, counters } = &self.registers;
        let place = self.program.place(*zkpc as usize);
        let (file, line) = place.map_or(("", 0), |place| (place.file, place.line));
        let name = error.name().trim_start_matches("EXECUTOR_ERROR_");
        let mut text = format!(
            "{name}{}{cause} step={} zkPC={zkpc} {file}:{line}",
            if cause.is_empty() { "" } else { ": " },
            self.step
        );
        for (name, value) in ["A", "B", "C", "D", "E", "SR"].iter().zip(wide) {
            let limbs: Vec<String> = value.iter().rev().map(|limb| format!("{limb:x}")).collect();
            text.push_str(&format!(" {name}={}", limbs.join(":")));
        }
        for (name, value) in ["CTX", "SP", "PC", "GAS", "RR", "HASHPOS", "RCX"].iter().zip(small) {
            text.push_str(&format!(" {name}={value:x}"));
        }
        text.push_str(&format!(" counters={:?}", &counters[1..]));
        text
    }
}

impl Keys {
    fn add(&mut self, key: Digest) {
        if self.known.insert(key) {
            self.order.push(key);
        }
    }
}
