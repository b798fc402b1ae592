//! Prices of opcodes (counters §10).

use revm::bytecode::opcode as op;

use super::{Counters, Prices, accesses, digest, keccaks, rows};

/// Which code an opcode runs in (counters §10.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Code of an account.
    #[default]
    Call,
    /// Init code of a creation transaction.
    CreationTx,
    /// Init code of CREATE or CREATE2.
    Create,
}

/// Lengths an opcode's price depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Operands {
    /// Bytes copied, hashed, logged, returned, or of the call's arguments.
    pub(crate) bytes: u64,
    /// Bytes of the call's return area; for RETURN and REVERT, what is copied to the caller's.
    pub(crate) return_bytes: u64,
    /// Bytes of the account's code, for EXTCODECOPY and calls.
    pub(crate) code_bytes: u64,
    /// Byte length of the exponent, or of the creator's next nonce.
    pub(crate) number_bytes: u64,
    /// The call moves value.
    pub(crate) has_value: bool,
    /// What is copied ends within the call data.
    pub(crate) within_call_data: bool,
    /// The opcode ends the transaction's own frame.
    pub(crate) ends_transaction: bool,
}

/// True for the opcodes priced by [`Prices::by_length`].
pub(crate) const fn is_priced_by_length(opcode: u8) -> bool {
    matches!(
        opcode,
        op::EXP | op::KECCAK256 | op::CALLDATACOPY | op::CODECOPY | op::EXTCODECOPY | op::RETURNDATACOPY | op::LOG0
            ..=op::LOG4
                | op::RETURN
                | op::REVERT
                | op::CALL
                | op::CALLCODE
                | op::DELEGATECALL
                | op::STATICCALL
                | op::CREATE
                | op::CREATE2
    )
}

impl Prices {
    /// What every opcode pays on top in init code.
    fn surcharge(&self, frame: Frame) -> Counters {
        let pays = match frame {
            Frame::Call => false,
            Frame::CreationTx => self.revision.surcharge_in_creation_tx,
            Frame::Create => true,
        };
        if pays { self.memory_part() + self.shift_right() } else { Counters::default() }
    }

    /// Price of an opcode whose price does not depend on lengths; zero for undefined ones and those that do.
    pub(crate) fn fixed(&self, opcode: u8, frame: Frame) -> Counters {
        let own = match opcode {
            op::STOP => rows(20, 0, 0, 0),
            op::ADD | op::SUB => rows(10, 0, 1, 0),
            op::AND | op::OR | op::XOR | op::NOT => {
                rows(10, 0, 1, 0) + self.tree(u64::from(self.revision.bitwise_tree_access))
            }
            op::MUL => rows(10, 0, 0, 0) + self.mul(),
            op::DIV => rows(15, 0, 0, 0) + self.div(),
            op::SDIV => rows(45, 0, 5, 0) + self.div(),
            op::MOD => rows(20, 0, 0, 0) + self.div(),
            op::SMOD => rows(40, 0, 5, 0) + self.div(),
            op::ADDMOD => rows(30, 1, 3, 0),
            op::MULMOD => rows(60, 2, 4, 0) + self.mul(),
            op::SIGNEXTEND => rows(20, 0, 6, 0) + self.tree(2),
            op::LT..=op::ISZERO => rows(8, 0, 1, 0),
            op::BYTE => rows(15, 0, 2, 0) + self.shift_right(),
            op::SHL => rows(58, 2, 3, 0),
            op::SHR => rows(8, 0, 1, 0) + self.shift_right_bits(),
            op::SAR => rows(25, 0, 5, 0) + self.shift_right_bits(),
            op::ADDRESS => rows(6, 0, 0, 0),
            op::BALANCE => rows(8, 0, 0, 0) + self.mask_address() + self.cold_account() + self.tree(1),
            op::ORIGIN | op::CALLER | op::CALLVALUE | op::GASPRICE => rows(5, 0, 0, 0),
            op::CALLDATALOAD => rows(15, 0, 0, 0) + self.calldata_read(),
            op::CALLDATASIZE => rows(10, 0, 0, 0),
            op::CODESIZE => rows(10, 0, 0, 0) + self.tree(1),
            op::EXTCODESIZE | op::EXTCODEHASH => {
                rows(10, 0, 0, 0) + self.mask_address() + self.cold_account() + self.tree(1)
            }
            op::RETURNDATASIZE => rows(11, 0, 1, 0),
            op::BLOCKHASH => rows(15, 0, 0, 0) + self.tree(1) + keccaks(1),
            op::COINBASE..=op::CHAINID => rows(5, 0, 0, 0),
            op::SELFBALANCE => rows(8, 0, 0, 0) + self.tree(1),
            op::POP => rows(3, 0, 0, 0),
            op::MLOAD => rows(8, 0, 0, 0) + self.expansion(32) + self.memory_word(),
            op::MSTORE => rows(22, 0, 0, 1) + self.expansion(32) + self.offset(),
            op::MSTORE8 => rows(13, 0, 0, 1) + self.expansion(1) + self.offset(),
            op::SLOAD => rows(10, 0, 0, 0) + self.cold_slot() + self.tree(1),
            op::SSTORE => rows(70, 0, 8, 0) + self.cold_slot() + self.tree(3),
            op::JUMP => rows(15, 0, 0, 0) + self.jump(frame),
            op::JUMPI => rows(20, 0, 1, 0) + self.jump(frame),
            op::PC => rows(4, 0, 0, 0),
            op::MSIZE => rows(15, 0, 0, 0) + self.div(),
            op::GAS => rows(4, 0, 0, 0),
            op::JUMPDEST => rows(2, 0, 0, 0),
            op::PUSH0 => rows(4, 0, 0, 0),
            op::PUSH1..=op::PUSH32 => self.push(u64::from(opcode - op::PUSH0), frame),
            op::DUP1..=op::DUP16 => rows(6, 0, 0, 0),
            op::SWAP1..=op::SWAP16 => rows(7, 0, 0, 0),
            op::SELFDESTRUCT => {
                rows(70, 0, 4, 0) + self.mask_address() + self.cold_account() + self.empty_account() + self.tree(4)
            }
            _ => return Counters::default(),
        };
        own + rows(12, 0, 0, 0) + self.surcharge(frame)
    }

    fn cold_slot(&self) -> Counters {
        rows(20, 0, 1, 0) + accesses(2 * Self::SMALL_TREE)
    }

    fn empty_account(&self) -> Counters {
        rows(30, 0, 3, 0) + self.tree(3)
    }

    /// The check of a jump's destination, its steps aside.
    fn jump(&self, frame: Frame) -> Counters {
        let check = rows(0, 0, self.revision.jump_binaries, 0);
        if frame == Frame::Create { check + rows(0, 0, 1, 0) + self.memory_part() } else { check }
    }

    /// PUSH of so many bytes, entry and surcharge aside.
    fn push(&self, bytes: u64, frame: Frame) -> Counters {
        match frame {
            Frame::Call if self.revision.push_loop => {
                let groups = bytes.div_ceil(4);
                let (last, single) = (4 * groups * (groups - 1), bytes % 4);
                rows(29 + 20 * (groups + 1) + last + 40 * single, 0, 2 + groups + 4 * single, 0)
            }
            Frame::Call => {
                let reads = match bytes {
                    1 => 2,
                    2 => 4,
                    3 => 5,
                    4 => 6,
                    32 => 45,
                    _ => 6 + 2 * bytes,
                };
                rows(12 + reads, 0, 0, 0)
            }
            Frame::CreationTx => {
                let (steps, binaries, shifts) = self.revision.push_in_creation_tx;
                let shift = if shifts { self.shift_left() } else { Counters::default() };
                rows(steps, 0, binaries, 0) + (rows(10, 0, 0, 0) + shift).times(bytes)
            }
            Frame::Create => {
                let (steps, binaries) = self.revision.push_in_create;
                rows(steps, 0, binaries, 0) + self.memory_part() + self.shift_right()
            }
        }
    }

    /// Price of an opcode whose price depends on lengths, without the call or creation part.
    pub(crate) fn by_length(&self, opcode: u8, frame: Frame, operands: &Operands) -> Counters {
        let Operands { bytes, return_bytes, code_bytes, number_bytes, .. } = *operands;
        let words = bytes / 32;
        let entry = rows(12, 0, 0, 0) + self.surcharge(frame);
        let call_areas =
            || self.expansion(bytes) + self.expansion(return_bytes) + rows(25, 0, 2, 0) + rows(12, 0, 0, 0);
        let copy_out = || {
            let word = rows(12, 0, 0, 0) + self.memory_word() + self.memory_store();
            self.expansion(bytes) + word.times(words) + self.memory_part() + self.memory_store()
        };
        let own = match opcode {
            op::EXP => {
                let bit = rows(9, 0, 1, 0) + self.div() + rows(12, 0, 2, 0) + self.div() + self.mul().times(2);
                rows(52, 0, 2, 0) + self.byte_length(number_bytes) + bit.times(8 * number_bytes)
            }
            op::KECCAK256 => {
                rows(40, 0, 0, 0)
                    + self.expansion(bytes)
                    + self.div().times(2)
                    + self.mul()
                    + (rows(8, 0, 0, 0) + self.memory_word()).times(words)
                    + self.memory_part()
                    + self.shift_right()
                    + keccaks((bytes + 1).div_ceil(self.revision.sha3_rate_bytes))
            }
            op::CALLDATACOPY | op::CODECOPY | op::EXTCODECOPY | op::RETURNDATACOPY if bytes == 0 => {
                return Counters::default();
            }
            op::CALLDATACOPY => self.calldata_copy(bytes),
            op::CODECOPY if frame == Frame::Call => {
                rows(40, 0, 3, 0) + self.expansion(bytes) + self.div() + self.mul() + rows(40, 0, 3, 1).times(bytes)
            }
            // The entry is charged a second time.
            op::CODECOPY => self.calldata_copy(bytes) + entry,
            op::EXTCODECOPY => {
                rows(60, 0, 1, bytes)
                    + self.mask_address()
                    + self.cold_account()
                    + self.div().times(2)
                    + self.expansion(bytes)
                    + self.mul()
                    + rows(40, 0, 3, 1).times(bytes)
                    + self.tree(2)
                    + digest(code_bytes.div_ceil(56))
            }
            op::RETURNDATACOPY => {
                let word = rows(10, 0, 0, 0) + self.memory_word() + self.memory_store();
                rows(50, 0, 2, 0)
                    + self.expansion(bytes)
                    + self.div()
                    + self.mul()
                    + word.times(words)
                    + self.memory_part()
                    + self.memory_store()
            }
            op::LOG0..=op::LOG4 => {
                let reads = if self.revision.log_by_bytes { bytes } else { (bytes + 1) / 32 };
                rows(73, 0, 2, 0)
                    + self.expansion(bytes)
                    + self.mul()
                    + self.div()
                    + (rows(10, 0, 0, 0) + self.memory_word()).times(reads)
                    + self.memory_part()
                    + self.shift_right()
                    + accesses(Self::SMALL_TREE)
                    + digest(4 + bytes.div_ceil(56))
            }
            op::RETURN => match frame {
                Frame::Call => rows(30, 0, 1, 0) + copy_out(),
                Frame::CreationTx => rows(30, 0, 1, 0) + self.expansion(bytes),
                Frame::Create => {
                    rows(55, 0, 3, 0)
                        + self.expansion(bytes)
                        + self.tree(2)
                        + self.starts_with_ef()
                        + self.linear_hash(bytes)
                }
            },
            op::REVERT => rows(46, 0, 1, 0) + copy_out(),
            op::CALL => {
                rows(80, 0, 5, 0) + self.mask_address() + self.cold_account() + call_areas() + self.empty_account()
            }
            op::CALLCODE => rows(80, 0, 5, 0) + self.mask_address() + self.cold_account() + call_areas(),
            op::DELEGATECALL | op::STATICCALL => {
                rows(80, 0, 0, 0) + self.mask_address() + self.cold_account() + call_areas()
            }
            op::CREATE => rows(70, 0, 3, 0) + self.tree(3) + self.creation(bytes, number_bytes),
            op::CREATE2 => rows(80, 0, 4, 0) + self.tree(2) + self.div() + self.creation(bytes, number_bytes),
            _ => return Counters::default(),
        };
        own + entry
    }

    /// What an opcode costs at most that fails before its loops: its operands, memory expansion, gas.
    pub(crate) fn failed_opcode(&self, frame: Frame) -> Counters {
        let surcharge =
            if frame == Frame::Call { Counters::default() } else { self.memory_part() + self.shift_right() };
        rows(150, 4, 20, 0) + self.expansion(1).times(2) + surcharge
    }

    fn calldata_copy(&self, bytes: u64) -> Counters {
        let word = rows(30, 0, 0, 1) + self.calldata_read() + self.offset();
        rows(100, 0, 2, 0)
            + self.expansion(bytes)
            + self.offset()
            + word.times(bytes / 32)
            + self.calldata_read()
            + self.memory_store().times(2)
    }

    fn creation(&self, bytes: u64, nonce_bytes: u64) -> Counters {
        self.expansion(bytes) + self.byte_length(nonce_bytes) + rows(25, 0, 2, 0) + rows(12, 0, 0, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{R7, R12};
    use super::*;

    fn prices() -> Prices {
        Prices::new(&R12, 0)
    }

    /// Rows of counters §10.2 and §18.1.
    #[test]
    fn fixed_prices_are_those_of_the_specification() {
        let cases: &[(u8, Frame, [u64; 8])] = &[
            (op::STOP, Frame::Call, [32, 0, 0, 0, 0, 0, 0, 0]),
            (op::MUL, Frame::Call, [62, 1, 1, 0, 0, 0, 0, 0]),
            (op::MULMOD, Frame::Call, [112, 3, 5, 0, 0, 0, 0, 0]),
            (op::SIGNEXTEND, Frame::Call, [32, 0, 6, 0, 0, 0, 38, 0]),
            (op::SHL, Frame::Call, [70, 2, 3, 0, 0, 0, 0, 0]),
            (op::SAR, Frame::Call, [107, 1, 10, 0, 0, 0, 0, 0]),
            (op::BALANCE, Frame::Call, [126, 0, 4, 0, 0, 0, 65, 0]),
            (op::EXTCODEHASH, Frame::Call, [128, 0, 4, 0, 0, 0, 65, 0]),
            (op::SSTORE, Frame::Call, [102, 0, 9, 0, 0, 0, 103, 0]),
            (op::SSTORE, Frame::Create, [342, 6, 24, 1, 0, 0, 103, 0]),
            (op::JUMPI, Frame::Create, [432, 10, 28, 2, 0, 0, 0, 0]),
            (op::PUSH32, Frame::Call, [69, 0, 0, 0, 0, 0, 0, 0]),
            (op::PUSH32, Frame::CreationTx, [1624, 64, 64, 0, 0, 0, 0, 0]),
            (op::PUSH5, Frame::Create, [514, 12, 30, 2, 0, 0, 0, 0]),
            (op::MLOAD, Frame::Call, [320, 6, 19, 1, 0, 0, 0, 0]),
            (op::SELFDESTRUCT, Frame::Call, [218, 0, 11, 0, 0, 0, 46 + 7 * 19, 0]),
            (op::INVALID, Frame::Create, [0; 8]),
        ];
        for (opcode, frame, expected) in cases {
            assert_eq!(prices().fixed(*opcode, *frame).to_array(), *expected, "{opcode:#x} in {frame:?}");
        }
    }

    #[test]
    fn prices_by_length_are_those_of_the_specification() {
        let of = |opcode, frame, bytes, return_bytes, code_bytes, number_bytes| {
            let operands = Operands { bytes, return_bytes, code_bytes, number_bytes, ..Operands::default() };
            prices().by_length(opcode, frame, &operands).to_array()
        };
        use Frame::{Call, Create};
        assert_eq!(of(op::CREATE, Call, 100, 0, 0, 1), [348, 4, 20, 0, 0, 0, 57, 0]);
        assert_eq!(of(op::CALL, Call, 36, 32, 0, 0), [525, 4, 32, 0, 0, 0, 103, 0]);
        assert_eq!(of(op::KECCAK256, Call, 64, 0, 0, 0), [898, 19, 51, 3, 1, 0, 0, 0]);
        assert_eq!(of(op::LOG3, Call, 32, 0, 0, 0), [715, 14, 40, 2, 0, 5, 28, 0]);
        assert_eq!(of(op::EXP, Call, 0, 0, 0, 32), [49196, 1088, 3010, 0, 0, 0, 0, 0]);
        assert_eq!(of(op::EXTCODECOPY, Call, 10, 0, 100, 0), [828, 5, 51, 20, 0, 2, 86, 0]);
        assert_eq!(of(op::RETURN, Create, 0, 0, 0, 0), [909, 19, 54, 3, 0, 1, 39, 0]);
        assert_eq!(of(op::CODECOPY, Call, 0, 0, 0, 0), [0; 8]);
    }

    #[test]
    fn the_first_release_reads_push_data_in_a_loop() {
        let seven = Prices::new(&R7, 0);
        assert_eq!(seven.fixed(op::PUSH1, Frame::Call).to_array()[..3], [121, 0, 7]);
        assert_eq!(seven.fixed(op::PUSH4, Frame::Call).to_array()[..3], [81, 0, 3]);
    }
}
