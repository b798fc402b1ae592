//! The dearest path of each opcode in code of an account, its fetch included (exact-counters §3.2): steps, arithmetics,
//! binaries, mem-aligns.
//!
//! Most were found by walking all paths through the ROM's routine, errors aside; docs/counters.md names the others. Growing
//! the memory is a path of its own, counted where it happens; so are the words of an operand. Opcodes and frames that are
//! not here keep the model's price.

use revm::bytecode::opcode as op;

use super::model::Operands;
use super::rom_costs::RomCosts;
use zkevm_types::Counters;

const fn path(s: u64, a: u64, b: u64, m: u64) -> Counters {
    Counters::from_array([s, a, b, m, 0, 0, 0, 0])
}

/// Fetching an opcode.
const FETCH: Counters = path(10, 0, 0, 0);
/// Ending a frame with an error.
const ERROR: Counters = path(20, 0, 1, 0);
/// Reading a word of memory, unaligned.
pub(crate) const MEMORY_WORD: Counters = path(44, 0, 2, 1);
/// Copying a word from memory to memory, both unaligned.
const COPIED_WORD: Counters = path(91, 0, 4, 2);
/// Copying part of a word from memory to memory.
const COPIED_PART: Counters = path(517, 14, 30, 2);
/// Copying a byte of code to memory.
const COPIED_BYTE: Counters = path(37, 0, 3, 1);

/// Growing the memory to so many words.
pub(crate) const fn memory_growth(words: u64) -> Counters {
    // The square of the words is divided by 512: the short path below it.
    if words * words < 512 { path(73, 1, 4, 0) } else { path(82, 2, 5, 0) }
}

/// An opcode that failed before its loops.
pub(crate) fn failed(rom: &RomCosts, opcode: u8) -> Counters {
    fixed(rom, opcode).unwrap_or(path(300, 5, 31, 0)) + memory_growth(u32::MAX as u64) + ERROR
}

/// An opcode whose path does not depend on lengths.
pub(crate) const fn fixed(rom: &RomCosts, opcode: u8) -> Option<Counters> {
    let [s, a, b, m] = match opcode {
        op::STOP => [28, 0, 0, 0],
        op::ADD | op::LT..=op::EQ | op::AND..=op::XOR => [18, 0, 1, 0],
        op::SUB => [19, 0, 1, 0],
        op::ISZERO | op::NOT => [17, 0, 1, 0],
        op::MUL => [46, 1, 1, 0],
        op::DIV | op::MOD => [55, 1, 3, 0],
        op::SDIV | op::SMOD => [77, 1, 8, 0],
        op::ADDMOD => [33, 1, 3, 0],
        op::MULMOD => [82, 3, 5, 0],
        op::SIGNEXTEND => [36, 0, 6, 0],
        op::BYTE => [90, 2, 7, 0],
        op::SHR => [76, 1, 5, 0],
        op::SHL => [50, 1, 2, 0],
        op::SAR => [94, 1, 10, 0],
        op::ADDRESS | op::CALLDATASIZE => [16, 0, 0, 0],
        op::BALANCE => [46, 0, 4, 0],
        op::ORIGIN
        | op::CALLER
        | op::CALLVALUE
        | op::GASPRICE
        | op::COINBASE
        | op::TIMESTAMP
        | op::DIFFICULTY
        | op::GASLIMIT
        | op::CHAINID
        | op::PUSH0 => [15, 0, 0, 0],
        op::NUMBER => [17, 0, 1, 0],
        op::CODESIZE => [20, 0, 0, 0],
        op::EXTCODESIZE | op::EXTCODEHASH => [48, 0, 4, 0],
        op::RETURNDATASIZE => [21, 0, 1, 0],
        op::BLOCKHASH => [29, 0, 0, 0],
        op::SELFBALANCE => [18, 0, 0, 0],
        op::POP => [13, 0, 0, 0],
        op::MLOAD => [76, 0, 6, 1],
        op::MSTORE => [66, 0, 5, 1],
        op::MSTORE8 => [58, 0, 5, 1],
        op::CALLDATALOAD if rom.shared_call_data => [196, 4, 11, 1],
        op::CALLDATALOAD => [39, 0, 2, 1],
        op::SLOAD => [37, 0, 1, 0],
        op::SSTORE => [77, 0, 9, 0],
        op::JUMP => [24, 0, 1, 0],
        op::JUMPI => [27, 0, 2, 0],
        op::PC | op::GAS => [14, 0, 0, 0],
        op::MSIZE => [60, 1, 4, 0],
        op::JUMPDEST => [12, 0, 0, 0],
        op::PUSH1..=op::PUSH32 => return Some(push(rom, (opcode - op::PUSH0) as u64)),
        op::DUP1..=op::DUP16 => [16, 0, 0, 0],
        op::SWAP1..=op::SWAP16 => [17, 0, 0, 0],
        op::SELFDESTRUCT => [133, 0, 12, 0],
        op::INVALID => [30, 0, 1, 0],
        _ => return None,
    };
    Some(path(s, a, b, m))
}

/// PUSH of so many bytes. Where the data is read in groups of four, a group is rotated by its place, and so is what is
/// left over, byte by byte.
const fn push(rom: &RomCosts, bytes: u64) -> Counters {
    if !rom.push_loop {
        return match bytes {
            1 => path(23, 0, 0, 0),
            2..=4 => path(23 + bytes, 0, 0, 0),
            5..=31 => path(27 + bytes + (bytes - 1) / 4, 0, 0, 0),
            _ => path(63, 0, 0, 0),
        };
    }
    let (groups, left) = (bytes / 4, bytes % 4);
    let own = 43 + 23 * groups + 2 * groups * groups.saturating_sub(1);
    if left == 0 {
        return path(own, 0, 2 + groups, 0);
    }
    let rest = 13 + 11 * left + 2 * left * (left - 1) + 4 * groups;
    path(own + rest, 0, 3 + groups + left, 0)
}

/// An opcode whose path depends on lengths.
pub(crate) fn by_length(rom: &RomCosts, opcode: u8, operands: &Operands) -> Option<Counters> {
    let Operands { bytes, number_bytes, .. } = *operands;
    let (words, has_part) = (bytes / 32, !bytes.is_multiple_of(32));
    let part = |cost: Counters| if has_part { cost } else { Counters::default() };
    let body = match opcode {
        op::EXP => {
            let bits = 8 * number_bytes;
            path(190, 4, 16, 0) + path(74, 2, 6, 0).times(number_bytes) + path(146, 4, 11, 0).times(bits)
        }
        op::KECCAK256 => path(150, 3, 11, 0) + MEMORY_WORD.times(words) + part(path(229, 6, 14, 1)),
        op::LOG0..=op::LOG4 if rom.hashes_logs => {
            let topics = path(7, 0, 0, 0).times(u64::from(opcode - op::LOG0));
            path(136, 2, 11, 0) + topics + MEMORY_WORD.times(words) + part(path(250, 6, 16, 1))
        }
        op::LOG0..=op::LOG4 => {
            let topics = path(6, 0, 0, 0).times(u64::from(opcode - op::LOG0));
            path(74, 1, 6, 0) + topics + MEMORY_WORD.times(words) + part(path(160, 4, 9, 1))
        }
        op::RETURN | op::REVERT if operands.ends_transaction => path(53, 0, 5, 0),
        op::RETURN | op::REVERT => {
            // What is copied is what the caller has room for.
            let copied = operands.return_bytes;
            let rest = if copied.is_multiple_of(32) { Counters::default() } else { COPIED_PART };
            path(62, 0, 5, 0) + COPIED_WORD.times(copied / 32) + rest
        }
        op::RETURNDATACOPY => path(115, 2, 10, 0) + COPIED_WORD.times(words) + part(COPIED_PART),
        op::CALLDATACOPY => {
            // What lies beyond the call data is filled with zeros by a loop of its own, after a part of a word.
            let beyond = if operands.within_call_data { Counters::default() } else { path(560, 16, 31, 2) };
            let word = path(98, 0, 3, 2);
            path(75, 0, 7, 0) + word.times(words) + part(path(540, 16, 31, 2)) + beyond + beyond
        }
        op::CODECOPY => path(115, 2, 9, 0) + COPIED_BYTE.times(bytes),
        op::EXTCODECOPY => path(207, 3, 18, 0) + COPIED_BYTE.times(bytes),
        op::CALL if operands.has_value => path(338, 1, 36, 0),
        op::CALL => path(283, 1, 28, 0),
        op::CALLCODE => path(303, 1, 32, 0),
        op::DELEGATECALL => path(272, 1, 25, 0),
        op::STATICCALL => path(265, 1, 25, 0),
        _ => return None,
    };
    Some(body + FETCH)
}

/// The arguments that a call copies when it starts, in the forks that do.
pub(crate) fn arguments_copied(operands: &Operands) -> Counters {
    path(60, 0, 5, 0) + MEMORY_WORD.times(operands.bytes / 32) + path(230, 6, 15, 1)
}

#[cfg(test)]
mod tests {
    use super::super::rom_costs::{ROM_7, ROM_8};
    use super::*;

    #[test]
    fn pushes_are_read_at_once_or_in_groups_of_four() {
        let steps = |rom: &RomCosts, bytes| [push(rom, bytes).steps, push(rom, bytes).binaries];
        assert_eq!([1, 2, 3, 4, 11, 20, 28, 32].map(|n| steps(&ROM_8, n)[0]), [23, 25, 26, 27, 40, 51, 61, 63]);
        assert_eq!([1, 2, 4, 5, 32].map(|n| steps(&ROM_7, n)), [[67, 4], [82, 5], [66, 3], [94, 5], [339, 10]]);
    }

    #[test]
    fn every_word_of_an_operand_costs_the_same() {
        let cost = |bytes| by_length(&ROM_8, op::KECCAK256, &Operands { bytes, ..Operands::default() }).unwrap();
        assert_eq!(cost(96) + cost(32), cost(64) + cost(64));
        assert!(cost(33).steps > cost(64).steps);
        assert_eq!(by_length(&ROM_8, op::CREATE, &Operands::default()), None);
    }

    #[test]
    fn memory_growth_divides_once_the_square_is_large_enough() {
        assert_eq!(memory_growth(22), path(73, 1, 4, 0));
        assert_eq!(memory_growth(23), path(82, 2, 5, 0));
    }
}
