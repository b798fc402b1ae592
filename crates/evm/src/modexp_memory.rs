//! Memory that MODEXP of fork 7 writes without its caller having paid for it (evm Q6).
//!
//! The ROM copies the whole output, however small the area the caller named, and expands nothing. What lies behind the end
//! of memory stays out of sight until an opcode expands memory over it.

use std::collections::{BTreeMap, HashMap};

use revm::bytecode::opcode;
use revm::context_interface::Host;
use revm::context_interface::cfg::GasParams;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{Jumps, MemoryTr};
use revm::interpreter::{Interpreter, InterpreterAction, SharedMemory, num_words};
use revm::primitives::U256;

use super::context::{StateDatabase, ZkContext};
use super::error_order;
use super::instructions::ZkInstructions;
use super::observer::EvmObserver;

const WORD_BYTES: usize = 32;
/// End of the memory the ROM can address, in bytes.
const MEMORY_MAX_BYTES: usize = 0x3f_ffe0;

/// The unpaid memory of every running frame.
#[derive(Debug, Default)]
pub(crate) struct UnpaidMemory {
    frames: HashMap<usize, UnpaidWords>,
}

/// The unpaid words of one frame, by number.
#[derive(Debug, Default)]
pub(crate) struct UnpaidWords {
    words: BTreeMap<usize, [u8; WORD_BYTES]>,
}

impl UnpaidMemory {
    /// Forgets everything: a transaction starts.
    pub(crate) fn clear(&mut self) {
        self.frames.clear();
    }

    /// Forgets the words of a frame that ended.
    pub(crate) fn frame_ended(&mut self, depth: usize) {
        self.frames.remove(&depth);
    }

    /// Returns the words of a frame, if it has any.
    pub(crate) fn of_frame(&mut self, depth: usize) -> Option<&mut UnpaidWords> {
        self.frames.get_mut(&depth).filter(|unpaid| !unpaid.words.is_empty())
    }

    /// Writes `bytes` to the memory of a frame without expanding it.
    ///
    /// Nothing is written where the ROM cannot address memory.
    pub(crate) fn write(&mut self, depth: usize, memory: &mut SharedMemory, offset: U256, bytes: &[u8]) {
        let Ok(offset) = usize::try_from(offset) else { return };
        if offset >= MEMORY_MAX_BYTES {
            return;
        }
        let paid_bytes = memory.size().saturating_sub(offset).min(bytes.len());
        let (paid, unpaid) = bytes.split_at(paid_bytes);
        if !paid.is_empty() {
            memory.set(offset, paid);
        }
        if unpaid.is_empty() {
            return;
        }
        let words = &mut self.frames.entry(depth).or_default().words;
        for (at, byte) in (offset + paid_bytes..).zip(unpaid) {
            words.entry(at / WORD_BYTES).or_default()[at % WORD_BYTES] = *byte;
        }
    }
}

impl UnpaidWords {
    /// Puts the words in place over which the next opcode will expand memory, if it can pay for that.
    pub(crate) fn reveal(&mut self, interpreter: &mut Interpreter<EthInterpreter>, gas_params: &GasParams) {
        let present = interpreter.memory.size() / WORD_BYTES;
        let needed = words_needed(interpreter.bytecode.opcode(), interpreter.stack.data());
        let Some(needed) =
            needed.filter(|&needed| self.words.range(present..).next().is_some_and(|(at, _)| *at < needed))
        else {
            return;
        };
        if gas_params.memory_cost(needed) - gas_params.memory_cost(present) > interpreter.gas.remaining() {
            return;
        }
        let behind = self.words.split_off(&needed);
        interpreter.memory.resize(needed * WORD_BYTES);
        for (word, bytes) in std::mem::replace(&mut self.words, behind) {
            interpreter.memory.set(word * WORD_BYTES, &bytes);
        }
    }
}

impl UnpaidWords {
    /// Copies what lies at `offset` over these bytes.
    pub(crate) fn copy_to(&self, offset: usize, bytes: &mut [u8]) {
        let end = offset.saturating_add(bytes.len());
        for (at, word) in self.words.range(offset / WORD_BYTES..end.div_ceil(WORD_BYTES)) {
            for (byte, position) in word.iter().zip(at * WORD_BYTES..).filter(|(_, at)| (offset..end).contains(at)) {
                bytes[position - offset] = *byte;
            }
        }
    }
}

/// Runs a frame that has unpaid memory, one opcode at a time; `None` if the batch is to stop.
pub(crate) fn run<DB: StateDatabase, O: EvmObserver>(
    interpreter: &mut Interpreter<EthInterpreter>,
    table: &ZkInstructions<DB, O>,
    context: &mut ZkContext<DB, O>,
    unpaid: &mut UnpaidWords,
) -> Option<InterpreterAction> {
    error_order::run(interpreter, context, |interpreter, context| {
        unpaid.reveal(interpreter, context.gas_params());
        O::run_opcode(interpreter, table, context)
    })
}

/// Length of an area of memory.
enum Length {
    /// Stack position from the top.
    Operand(usize),
    /// Bytes.
    Fixed(usize),
}

/// Returns how many words of memory an opcode needs; `None` if none, or more than any gas pays for.
fn words_needed(op: u8, stack: &[U256]) -> Option<usize> {
    use Length::{Fixed, Operand};
    use opcode::*;
    let areas: &[(usize, Length)] = match op {
        MLOAD | MSTORE => &[(0, Fixed(WORD_BYTES))],
        MSTORE8 => &[(0, Fixed(1))],
        KECCAK256 | LOG0..=LOG4 | RETURN | REVERT => &[(0, Operand(1))],
        CALLDATACOPY | CODECOPY | RETURNDATACOPY => &[(0, Operand(2))],
        EXTCODECOPY => &[(1, Operand(3))],
        CREATE | CREATE2 => &[(1, Operand(2))],
        CALL | CALLCODE => &[(3, Operand(4)), (5, Operand(6))],
        DELEGATECALL | STATICCALL => &[(2, Operand(3)), (4, Operand(5))],
        _ => return None,
    };
    let operand = |position: usize| usize::try_from(*stack.get(stack.len().checked_sub(position + 1)?)?).ok();
    let mut end = 0;
    for (offset, length) in areas {
        let length = match length {
            Fixed(bytes) => *bytes,
            Operand(position) => operand(*position)?,
        };
        if length > 0 {
            end = end.max(operand(*offset)?.checked_add(length)?);
        }
    }
    (end <= MEMORY_MAX_BYTES).then(|| num_words(end))
}
