//! What the ROM of the forks with L2 blocks takes on paths whose length is known: real steps, arithmetics and binaries
//! (exact-counters §3.1). Constants are rows of the ROM, none of these paths touches memory.

use revm::bytecode::opcode as op;
use revm::primitives::U256;

use super::Counters;
use crate::batch::Ladder;

/// Bytes below which the division that sizes the batch digest takes its short path.
const SHORT_DIVISION_BYTES: u64 = 136;

const fn rows(steps: u64, arithmetics: u64, binaries: u64) -> Counters {
    Counters::from_array([steps, arithmetics, binaries, 0, 0, 0, 0, 0])
}

/// Start and end of a batch of so many bytes.
pub fn batch(bytes: u64) -> Counters {
    let start = if bytes + 1 < SHORT_DIVISION_BYTES { rows(64, 0, 4) } else { rows(73, 1, 5) };
    start + rows(51, 0, 1)
}

/// Decoding a ChangeL2Block.
pub const fn block_decoded() -> Counters {
    rows(52, 0, 0)
}

/// Opening a block without an L1 info entry.
pub const fn block_opened() -> Counters {
    rows(100, 0, 13)
}

/// Closing a block.
pub const fn block_closed() -> Counters {
    rows(19, 0, 2)
}

/// What decoding a transaction without data depends on.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    /// Nonce, gas price, gas limit, value and, if there is one, chain id.
    pub numbers: [Option<U256>; 5],
    /// It has a recipient.
    pub has_recipient: bool,
}

/// Decoding a transaction without data and with a short list, its recovery aside; and its L2 hash.
pub fn decoded(fields: &Fields) -> Counters {
    let (mut long, mut bytes, mut zeros) = (0, 0, 0);
    for number in fields.numbers.into_iter().flatten() {
        if number.is_zero() {
            zeros += 1;
        } else if number >= U256::from(0x80) {
            long += 1;
            bytes += number.byte_len() as u64;
        }
    }
    let recipient = 26 * u64::from(fields.has_recipient);
    let chain_id = 43 * u64::from(fields.numbers[4].is_some());
    rows(307 + 35 * long + 74 * bytes + 2 * zeros + recipient + chain_id, 2 * bytes - long, 2 + 6 * bytes)
        + rows(40, 0, 1)
}

/// Recovering a key from a valid signature: a double-and-add over the bits of −hash/r and s/r. Doublings count as
/// arithmetics unless the fork's prover leaves them out.
pub fn recovery(ladder: Ladder, v: u8, counts_doublings: bool) -> Counters {
    let [both, one, leading] = [ladder.both, ladder.one, ladder.leading].map(u64::from);
    let none = 256 - leading - both - one;
    let odd = u64::from(v.saturating_sub(27));
    let steps = 140 + 8 * leading + 12 * none + 19 * one + 20 * both + 2 * odd;
    let doublings = if counts_doublings { (none + one + both).saturating_sub(1) } else { 0 };
    rows(steps, 14 + doublings + one + both, 525 + odd)
}

/// A transaction to an account without code that is no precompile.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainCall {
    /// The recipient is the sender.
    pub to_self: bool,
    /// The recipient is the zero address.
    pub to_zero: bool,
    /// Value moves.
    pub has_value: bool,
}

/// Checks, transfer, fees and receipt of such a transaction.
pub fn plain_call(call: PlainCall) -> Counters {
    let checks = match (call.to_self, call.to_zero) {
        (true, _) => rows(200, 3, 20),
        (false, false) => rows(201, 3, 21),
        (false, true) => rows(197, 3, 19),
    };
    let transfer = if call.has_value { rows(40, 0, 7) } else { rows(16, 0, 2) };
    checks + transfer + rows(119, 2, 6) + rows(32, 0, 5)
}

/// The dearest path of a transaction to an account with code, its opcodes aside: checks, transfer, loading the code, fees,
/// receipt.
pub const fn contract_call() -> Counters {
    rows(560, 8, 50)
}

/// The dearest path of an opcode in code of an account, in the ROM these were measured on (exact-counters §3.2): steps,
/// arithmetics, binaries, mem-aligns. Opcodes that are not here keep the model's price.
pub const fn opcode(opcode: u8) -> Option<Counters> {
    let [s, a, b, m] = match opcode {
        op::ADD | op::LT..=op::EQ | op::AND..=op::XOR => [18, 0, 1, 0],
        op::SUB => [19, 0, 1, 0],
        op::ISZERO | op::NOT => [17, 0, 1, 0],
        op::MUL => [46, 1, 1, 0],
        op::DIV => [55, 1, 3, 0],
        op::SHR => [76, 1, 5, 0],
        op::SHL => [50, 1, 2, 0],
        op::PUSH0 => [15, 0, 0, 0],
        op::PUSH1 => [23, 0, 0, 0],
        op::PUSH2 => [25, 0, 0, 0],
        op::PUSH4 => [27, 0, 0, 0],
        op::PUSH20 => [51, 0, 0, 0],
        op::PUSH32 => [63, 0, 0, 0],
        op::DUP1..=op::DUP16 => [16, 0, 0, 0],
        op::SWAP1..=op::SWAP16 => [17, 0, 0, 0],
        op::POP => [13, 0, 0, 0],
        op::JUMPDEST => [12, 0, 0, 0],
        op::JUMP => [24, 0, 1, 0],
        op::JUMPI => [27, 0, 2, 0],
        // With memory expansion: 73 1 4 0 more.
        op::MLOAD => [76 + 73, 1, 6 + 4, 1],
        op::MSTORE => [66 + 73, 1, 5 + 4, 1],
        op::MSTORE8 => [58 + 73, 1, 5 + 4, 1],
        op::CALLDATALOAD => [196, 4, 11, 1],
        op::SLOAD => [37, 0, 1, 0],
        op::SSTORE => [67, 0, 6, 0],
        _ => return None,
    };
    Some(Counters::from_array([s, a, b, m, 0, 0, 0, 0]))
}

/// Why a transaction was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// Its chain id.
    ChainId,
    /// Its nonce.
    Nonce,
    /// The sender's balance.
    Balance,
}

/// The checks of a rejected transaction.
pub const fn rejected(why: Rejection) -> Counters {
    match why {
        Rejection::ChainId => rows(9 + 18, 0, 1),
        Rejection::Nonce => rows(9 + 66, 2, 6),
        Rejection::Balance => rows(9 + 141, 3, 14),
    }
}
