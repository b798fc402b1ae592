//! What revm offers as `unsafe` only, behind safe functions: bytecode with the zkEVM's jump rule (evm §11.4), and frames
//! made outside of revm's own handler.
//!
//! The only module with `unsafe` in the crate.

use revm::bytecode::{Bytecode, JumpTable, opcode};
use revm::context_interface::FrameStack;
use revm::handler::EthFrame;
use revm::interpreter::interpreter::EthInterpreter;
use revm::primitives::Bytes;

/// Zero bytes appended to every code.
///
/// A jump may land on any byte, push data included, so decoding can meet a PUSH32 in the last byte: it reads 32 bytes of
/// immediate, and the STOP after them must still be inside the allocation.
const PADDING_BYTES: usize = 33;

/// Prepares code for revm: every 0x5b is a jump destination, push data included (evm §5, Q10).
pub fn with_unchecked_jumpdests(code: &Bytes) -> Bytecode {
    if code.is_empty() {
        return Bytecode::new();
    }
    let mut padded = Vec::with_capacity(code.len() + PADDING_BYTES);
    padded.extend_from_slice(code);
    padded.resize(code.len() + PADDING_BYTES, 0);
    let mut bits = vec![0u8; code.len().div_ceil(8)];
    for (at, _) in code.iter().enumerate().filter(|&(_, &byte)| byte == opcode::JUMPDEST) {
        bits[at / 8] |= 1 << (at % 8);
    }
    let table = JumpTable::from_slice(&bits, code.len());
    // SAFETY: decoding starts at 0 or at a byte below `code.len()` and advances by at most 33 bytes an instruction. An
    // instruction that starts inside the code therefore ends inside the padding, which is zero: STOP. Immediates are read
    // at most 32 bytes past the opcode, so no read passes `code.len() + PADDING_BYTES`.
    unsafe { Bytecode::new_analyzed(padded.into(), code.len(), table) }
}

/// Pushes the frame that `init` makes.
pub(crate) fn push_frame(
    stack: &mut FrameStack<EthFrame<EthInterpreter>>,
    init: impl FnOnce(&mut EthFrame<EthInterpreter>),
) {
    let is_first = stack.index().is_none();
    let mut slot = if is_first { stack.start_init() } else { stack.get_next() };
    init(slot.get(EthFrame::invalid));
    let token = slot.consume();
    // SAFETY: the token comes from this stack's `start_init` or `get_next` just above, and the frame is initialised.
    unsafe { if is_first { stack.end_init(token) } else { stack.push(token) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jumpdest_byte_is_a_destination() {
        let code = with_unchecked_jumpdests(&Bytes::from_static(&[0x61, 0x5b, 0x7f, 0x5b]));
        let table = code.legacy_jump_table().unwrap();
        assert_eq!((0..4).map(|at| table.is_valid(at)).collect::<Vec<_>>(), [false, true, false, true]);
        assert!(!table.is_valid(4));
        assert_eq!(code.original_byte_slice(), [0x61, 0x5b, 0x7f, 0x5b]);
    }

    #[test]
    fn padding_covers_a_push32_in_the_last_byte() {
        for tail in [&[0x5b, 0x7f][..], &[0x61, 0x5b, 0x7f], &[0x7f]] {
            let code = with_unchecked_jumpdests(&Bytes::copy_from_slice(tail));
            let last = tail.len() - 1;
            assert!(code.bytes_slice().len() > last + 1 + 32, "the STOP after the immediate is allocated");
        }
    }

    #[test]
    fn empty_code_is_revm_s_empty_code() {
        assert!(with_unchecked_jumpdests(&Bytes::new()).is_default());
    }
}
