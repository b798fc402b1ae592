//! Runs a frame one opcode at a time for the tracer (executor-service §8).

use revm::bytecode::opcode;
use revm::context::Context;
use revm::context_interface::Host;
use revm::handler::EthFrame;
use revm::handler::evm::ContextDbError;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{InputsTr, Jumps, LegacyBytecode};
use revm::interpreter::{FrameInput, Interpreter, InterpreterAction};
use revm::primitives::{Address, U256};

use super::access_log::AccessedLeaves;
use super::context::{StateDatabase, ZkContext};
use super::error_order;
use super::instructions::ZkInstructions;
use super::modexp_memory::UnpaidWords;
use super::observer::EvmObserver;
use super::trace::{CREATE_GAS, FrameView, Tracer};

/// Operands that are looked at, at most.
const OPERANDS_MAX: usize = 4;
/// Opcodes that a traced one counts as.
const STEPS_PER_TRACED: u32 = 16;

/// Runs a frame one opcode at a time, recording each; `None` if the batch is to stop.
pub(super) fn run_traced<DB: StateDatabase, O: EvmObserver>(
    frame: &mut EthFrame<EthInterpreter>,
    table: &ZkInstructions<DB, O>,
    context: &mut ZkContext<DB, O>,
    tracer: &mut Tracer,
    mut unpaid: Option<&mut UnpaidWords>,
) -> Result<Option<InterpreterAction>, ContextDbError<ZkContext<DB, O>>> {
    let data = match &frame.input {
        FrameInput::Create(create) => create.init_code().clone(),
        _ => frame.interpreter.input.input.as_bytes(&*context).to_vec().into(),
    };
    let view = FrameView::new(&frame.input, frame.depth, data);
    let interpreter = &mut frame.interpreter;
    loop {
        let op = interpreter.bytecode.opcode();
        if tracer.needs_root(op) {
            let Context { journaled_state, .. } = context;
            let root = journaled_state.database.speculative_root(&journaled_state.inner.state)?;
            tracer.set_root(root);
        }
        tracer.begin_step(interpreter, &view);
        if tracer.take_memory(&mut context.chain.interrupt) || context.chain.interrupt.spend(STEPS_PER_TRACED) {
            return Ok(None);
        }
        let gas_before = interpreter.gas.remaining();
        let operands_count = interpreter.stack.len();
        let mut operands = [U256::ZERO; OPERANDS_MAX];
        let copied = operands.iter_mut().zip(interpreter.stack.data().iter().rev());
        let operands_copied = copied.map(|(operand, word)| *operand = *word).count();
        let operands = &operands[..operands_copied];
        if let Some(unpaid) = &mut unpaid {
            tracer.memory_is_unpaid();
            unpaid.reveal(interpreter, context.gas_params());
        }
        let end = O::run_opcode(interpreter, table, context).err();
        if end.is_none() {
            settle_truncated_push(interpreter, op, view.is_create());
        }
        let result = end.map(|end| error_order::reported(interpreter, end));
        if op == opcode::RETURN && tracer.wants_returned_memory() {
            tracer.create_returned(interpreter, operands);
        }
        let touched = &context.chain.touched;
        tracer.end_step(interpreter, op, operands, result, storage_access(op, operands, interpreter, touched));
        if let Some(gas) = requested_gas(op, gas_before, operands_count, operands, interpreter) {
            tracer.request_gas(gas);
        }
        if let Some(end) = end {
            return Ok(Some(error_order::finish(interpreter, end)));
        }
    }
}

/// Shows what the ROM pushed where code ends inside the data of a PUSH: the bytes there are, and the program counter at the
/// end of the code (later-forks §2.1). In the code of a create it reads zeros behind the end, if there is any byte before it.
fn settle_truncated_push(interpreter: &mut Interpreter<EthInterpreter>, op: u8, is_create: bool) {
    if !(opcode::PUSH1..=opcode::PUSH32).contains(&op) {
        return;
    }
    let missing = interpreter.bytecode.pc().saturating_sub(interpreter.bytecode.bytecode_len());
    let has_some = missing < usize::from(op - opcode::PUSH0);
    if missing == 0 || (is_create && has_some) {
        return;
    }
    if let Ok(value) = interpreter.stack.pop() {
        // As many bytes as are missing were read as zeros.
        let _ = interpreter.stack.push(value >> (8 * missing));
    }
    interpreter.bytecode.relative_jump(-(missing as isize));
}

/// Returns the gas a call or create asked for, also if it failed after it had: the low 64 bits of what the stack said, or
/// all that a CREATE left once its static gas was paid, all that a CREATE2 left once all was.
fn requested_gas(
    op: u8,
    gas_before: u64,
    stack_len: usize,
    operands: &[U256],
    interpreter: &Interpreter<EthInterpreter>,
) -> Option<u64> {
    match op {
        opcode::CREATE => gas_before.checked_sub(CREATE_GAS),
        opcode::CREATE2 => match &interpreter.bytecode.action {
            Some(InterpreterAction::NewFrame(FrameInput::Create(create))) => {
                Some(interpreter.gas.remaining() + create.gas_limit())
            }
            _ => None,
        },
        opcode::CALL | opcode::CALLCODE if stack_len >= 7 => operands.first().map(|gas| gas.as_limbs()[0]),
        opcode::DELEGATECALL | opcode::STATICCALL if stack_len >= 6 => operands.first().map(|gas| gas.as_limbs()[0]),
        _ => None,
    }
}

/// Returns the slot an opcode read or wrote, with the value the trace shows for it.
fn storage_access(
    op: u8,
    operands: &[U256],
    interpreter: &Interpreter<EthInterpreter>,
    touched: &AccessedLeaves,
) -> Option<(Address, U256, U256)> {
    let address = interpreter.input.target_address();
    match (op, operands) {
        (opcode::SLOAD, [slot, ..]) => Some((address, *slot, touched.last_value(address, *slot)?)),
        (opcode::SSTORE, [slot, value, ..]) => Some((address, *slot, *value)),
        _ => None,
    }
}
