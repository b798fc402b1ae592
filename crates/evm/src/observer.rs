//! What an observer of the EVM is told while a transaction runs.
//!
//! Decides: which events there are inside a transaction, and in what order they come. Must not know: who listens, and to
//! what end.
//!
//! An observer changes nothing, but it may end the transaction: [`EvmObserver::gives_up`]. `()` is the one that listens to
//! nothing: what it is told compiles to nothing, and its frames run revm's plain loop over the instruction table.

use revm::handler::FrameResult;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::{CallInputs, CreateInputs, InstructionExecResult, Interpreter};
use revm::primitives::{Address, U256};
use revm::state::EvmState;

use super::context::{StateDatabase, ZkContext};
use super::instructions::ZkInstructions;

/// Listens to the EVM of a batch. Every method does nothing unless it is overridden.
#[allow(unused_variables)]
pub trait EvmObserver: Sized {
    /// A frame starts to run, or goes on after one that it called.
    #[inline]
    fn frame_resumed(&mut self, interpreter: &Interpreter<EthInterpreter>) {}

    /// Runs the next opcode. An observer of opcodes looks at operands and result around the one
    /// [`step`](Interpreter::step) it has to make.
    ///
    /// Returns what the step returns.
    #[inline]
    fn run_opcode<DB: StateDatabase>(
        interpreter: &mut Interpreter<EthInterpreter>,
        table: &ZkInstructions<DB, Self>,
        context: &mut ZkContext<DB, Self>,
    ) -> InstructionExecResult {
        interpreter.step(table.instruction_table(), table.gas_table(), context)
    }

    /// True if the transaction ends where it is, and nothing of it stays. Asked after every stretch of opcodes; to end one
    /// early, [`Self::run_opcode`] returns an error.
    #[inline]
    fn gives_up(&self) -> bool {
        false
    }

    /// A call starts `depth` frames deep, its value not yet moved: a transaction's own has depth 0. `state` holds the
    /// accounts loaded so far.
    #[inline]
    fn call_started(&mut self, inputs: &CallInputs, depth: usize, state: &EvmState) {}

    /// A create starts, and comes so far; a deploy transaction has depth 0.
    #[inline]
    fn create_started(&mut self, inputs: &CreateInputs, depth: usize, start: CreateStart) {}

    /// A create leaves code of so many bytes at its address.
    #[inline]
    fn code_deployed(&mut self, created: Address, bytes: u64, is_transaction: bool) {}

    /// A precompile that this fork runs was called, and ended.
    #[inline]
    fn precompile_ended(&mut self, run: &PrecompileRun<'_>) {}

    /// A frame that was called ended, and its changes stay or not.
    #[inline]
    fn frame_ended(&mut self, keeps: bool) {}

    /// The transaction's own frame ended; fees come next.
    #[inline]
    fn execution_ended(&mut self, result: &FrameResult) {}

    /// Gas was paid back to the sender, or out to the sequencer. `balance` is the receiver's after it.
    #[inline]
    fn fee_paid(&mut self, to: Address, balance: U256) {}
}

impl EvmObserver for () {}

/// The point that a create reached before it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateStart {
    /// The creator cannot pay.
    NoFunds,
    /// The creator's nonce is the largest one.
    NonceOverflow,
    /// The new address has a nonce.
    HasNonce(Address),
    /// The new address has code.
    HasCode(Address),
    /// It runs.
    Runs {
        /// The new address.
        created: Address,
        /// The creator has something left after paying.
        creator_keeps: bool,
    },
}

/// One call of a precompile.
#[derive(Clone, Copy, Debug)]
pub struct PrecompileRun<'a> {
    /// Number of its address.
    pub number: u16,
    /// Its input.
    pub input: &'a [u8],
    /// Bytes of the area that the caller gave for the output.
    pub output_bytes: u64,
    /// The outcome of the call.
    pub end: PrecompileEnd,
}

/// The outcome of a precompile call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrecompileEnd {
    /// Its gas was too little.
    OutOfGas,
    /// It ran, and has no output: the input is at fault.
    Failed,
    /// It has an output. MODEXP counts as answered also with an empty one.
    Answered,
}
