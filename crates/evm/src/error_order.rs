//! What the ROM reports when an opcode has two faults at once (evm §8.2).
//!
//! Gas and state are the same either way; the error of a transaction or of a traced step is not.

use super::context::{StateDatabase, ZkContext};
use super::interrupt::STEPS_PER_LOOK;
use super::observer::EvmObserver;
use revm::bytecode::opcode::{self, OpCode};
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{Jumps, LegacyBytecode, LoopControl, RuntimeFlag};
use revm::interpreter::{InstructionExecResult, InstructionResult, Interpreter, InterpreterAction, STACK_LIMIT};

/// Runs a frame step by step to its next action; `None` if the batch is to stop.
pub(super) fn run<DB: StateDatabase, O: EvmObserver>(
    interpreter: &mut Interpreter<EthInterpreter>,
    context: &mut ZkContext<DB, O>,
    mut step: impl FnMut(&mut Interpreter<EthInterpreter>, &mut ZkContext<DB, O>) -> InstructionExecResult,
) -> Option<InterpreterAction> {
    loop {
        for _ in 0..STEPS_PER_LOOK {
            if let Err(end) = step(interpreter, context) {
                return Some(finish(interpreter, end));
            }
        }
        if context.chain.interrupt.spend(STEPS_PER_LOOK) {
            return None;
        }
    }
}

/// Ends a frame whose last opcode returned `end`, and returns what comes next.
pub(super) fn finish(interpreter: &mut Interpreter<EthInterpreter>, end: InstructionResult) -> InterpreterAction {
    if interpreter.bytecode.action().is_none() {
        let reported = reported(interpreter, end);
        if reported != end {
            interpreter.gas.spend_all();
        }
        interpreter.halt(reported);
    }
    interpreter.take_next_action()
}

/// Returns the fault that the ROM reports of an opcode which revm ended with `end`.
pub(super) fn reported(interpreter: &Interpreter<EthInterpreter>, end: InstructionResult) -> InstructionResult {
    match end {
        // revm reports a DUP or SWAP beyond the stack's bottom as an overflow.
        InstructionResult::StackOverflow if interpreter.stack.len() < STACK_LIMIT => InstructionResult::StackUnderflow,
        InstructionResult::OutOfGas if static_gas_failed(interpreter) => static_fault(interpreter),
        other => other,
    }
}

/// True if the static gas of the opcode was too much: it has wrapped, and the stack is as it was before.
fn static_gas_failed(interpreter: &Interpreter<EthInterpreter>) -> bool {
    interpreter.gas.remaining() > interpreter.gas.limit()
}

/// The ROM looks at the stack before it charges, but for a few opcodes, and refuses value in a static frame before all gas.
fn static_fault(interpreter: &Interpreter<EthInterpreter>) -> InstructionResult {
    // The program counter already stands behind the opcode.
    let at = interpreter.bytecode.pc().wrapping_sub(1);
    let Some(&op) = interpreter.bytecode.bytecode_slice().get(at) else { return InstructionResult::OutOfGas };
    let needed = OpCode::new(op).map_or(0, |op| usize::from(op.inputs()));
    let charges_first = matches!(op, opcode::ADDMOD | opcode::JUMPI | opcode::SELFDESTRUCT);
    match interpreter.stack.data()[..] {
        _ if charges_first => InstructionResult::OutOfGas,
        ref stack if stack.len() < needed => InstructionResult::StackUnderflow,
        [.., value, _, _] if op == opcode::CALL && interpreter.runtime_flag.is_static() && !value.is_zero() => {
            InstructionResult::CallNotAllowedInsideStatic
        }
        _ => InstructionResult::OutOfGas,
    }
}
