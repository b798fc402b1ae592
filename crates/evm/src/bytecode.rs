//! What a look at code shows.

use revm::bytecode::opcode;

/// True for code whose last byte is a PUSH without any immediate byte (evm Q7).
pub(crate) fn ends_in_bare_push(code: &[u8]) -> bool {
    // Only a byte that is reached as an opcode counts; whether it is, only the run can tell.
    code.last().is_some_and(|last| (opcode::PUSH1..=opcode::PUSH32).contains(last))
}
