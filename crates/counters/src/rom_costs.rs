//! What the ROM takes on paths whose length is known: real steps, arithmetics and binaries (exact-counters §3.1).
//!
//! Constants are rows of the ROM's routines, counted along the path; none of these paths touches memory. [`RomCosts`] holds
//! what differs between the ROMs of the forks, [`super::opcodes`] the paths of the opcodes.

use revm::primitives::U256;

use super::lengths::KECCAK_RATE_BYTES;
use zkevm_batch::ScalarBits;
use zkevm_batch::observer::{BlockStep, ExitRoot};
use zkevm_types::Counters;
use zkevm_types::RomVersion;

/// Smallest number whose list item has a prefix.
const PREFIXED: u64 = 0x80;
/// What the long path of a division takes more.
const LONG_DIVISION: Counters = rows(9, 1, 1);

pub(crate) const fn rows(steps: u64, arithmetics: u64, binaries: u64) -> Counters {
    Counters::from_array([steps, arithmetics, binaries, 0, 0, 0, 0, 0])
}

const fn plus(a: Counters, b: Counters) -> Counters {
    rows(a.steps + b.steps, a.arithmetics + b.arithmetics, a.binaries + b.binaries)
}

/// A path with the division of a digest's bytes by the keccak rate, which is short below it.
const fn divided(bytes: u64, own: Counters) -> Counters {
    if bytes + 1 < KECCAK_RATE_BYTES { own } else { plus(own, LONG_DIVISION) }
}

/// Path lengths that differ between ROMs.
#[derive(Debug)]
pub(crate) struct RomCosts {
    /// Start and end of a batch.
    batch: Counters,
    /// A batch without data: its start and end.
    empty_batch: Counters,
    /// Decoding a transaction without data, its numbers aside.
    decoding: Counters,
    /// Steps of reading a recipient beyond those of reading none.
    recipient_steps: u64,
    /// Reading a chain id, and comparing it.
    chain_id: Counters,
    /// Recovering a key, and the rounds of its ladder after the leading ones: bits set in neither, in one, in both.
    recovery: [Counters; 4],
    /// The recovery is a fit to recordings (exact-counters §2): near the ROM's, not its own.
    pub(super) recovery_is_fitted: bool,
    /// Checks of a transaction up to its execution, to an account that is neither the sender nor zero.
    checks: Counters,
    /// Checks up to the one of the signature or the sender's code, the chain id, the nonce, the balance, the fee's size.
    rejected: [Counters; 5],
    /// Refund and fees, and what enters a transaction into the block or the system contract.
    fees: Counters,
    /// PUSH reads its data in a loop over groups of four bytes.
    pub(super) push_loop: bool,
    /// LOG hashes its data and topics.
    pub(super) hashes_logs: bool,
    /// The prover reports what the ROM's checks asked for.
    pub(super) reserves: bool,
    /// CALLDATALOAD and CALLDATACOPY read the call data from where the decoder left it.
    pub(super) shared_call_data: bool,
    /// The test whether an address is that of a precompile, beyond what the paths have.
    pub(super) precompile_test: Counters,
    /// The checkpoint that a create takes behind the warm address.
    pub(super) create_checkpoint: Counters,
}

/// ROM of fork 4.
pub(crate) const ROM_4: RomCosts = RomCosts {
    batch: rows(105, 0, 3),
    empty_batch: rows(105, 0, 3),
    decoding: rows(225, 0, 3),
    recipient_steps: 19,
    chain_id: rows(38, 0, 2),
    recovery: [rows(139, 14, 524), rows(12, 1, 0), rows(21, 2, 1), rows(22, 2, 1)],
    recovery_is_fitted: true,
    checks: rows(186, 1, 21),
    rejected: [rows(22, 0, 2), rows(26, 0, 2), rows(60, 0, 6), rows(135, 1, 14), rows(218, 2, 18)],
    fees: rows(144, 2, 9),
    push_loop: true,
    hashes_logs: false,
    reserves: false,
    shared_call_data: false,
    precompile_test: rows(0, 0, 0),
    create_checkpoint: rows(0, 0, 0),
};

/// ROM of fork 5.
pub(crate) const ROM_5: RomCosts = RomCosts {
    batch: rows(108, 0, 3),
    empty_batch: rows(108, 0, 3),
    decoding: rows(241, 0, 3),
    checks: rows(198, 3, 22),
    rejected: [rows(24, 0, 2), rows(28, 0, 2), rows(72, 2, 7), rows(147, 3, 15), rows(230, 4, 19)],
    shared_call_data: true,
    ..ROM_4
};

/// ROM of fork 6.
pub(crate) const ROM_6: RomCosts = RomCosts {
    recovery: [rows(143, 13, 525), rows(12, 1, 0), rows(19, 2, 0), rows(20, 2, 0)],
    recovery_is_fitted: false,
    ..ROM_5
};

/// ROM of fork 7, where doubling a point does not count as an arithmetic.
pub(crate) const ROM_7: RomCosts = RomCosts {
    batch: rows(115, 0, 5),
    empty_batch: rows(105, 0, 5),
    decoding: rows(344, 0, 2),
    recipient_steps: 26,
    chain_id: rows(46, 0, 1),
    recovery: [rows(140, 14, 525), rows(12, 0, 0), rows(19, 1, 0), rows(20, 1, 0)],
    checks: rows(201, 3, 21),
    rejected: [rows(26, 0, 1), rows(27, 0, 1), rows(75, 2, 6), rows(150, 3, 14), rows(234, 4, 19)],
    fees: rows(151, 2, 11),
    hashes_logs: true,
    ..ROM_6
};

/// ROM of forks 8 to 11.
pub(crate) const ROM_8: RomCosts = RomCosts {
    recovery: [rows(140, 13, 525), rows(12, 1, 0), rows(19, 2, 0), rows(20, 2, 0)],
    push_loop: false,
    reserves: true,
    ..ROM_7
};

/// ROM of fork 12 (later-forks §5.2).
pub(crate) const ROM_12: RomCosts = RomCosts { create_checkpoint: rows(3, 0, 0), ..ROM_8 };

/// ROM of fork 13, whose tests for precompiles know 0x100 too.
pub(crate) const ROM_13: RomCosts = RomCosts { precompile_test: rows(2, 0, 1), ..ROM_12 };

impl RomCosts {
    /// Returns the path lengths of a fork's ROM.
    pub(crate) const fn of(version: RomVersion) -> &'static Self {
        match version {
            RomVersion::Rom4 => &ROM_4,
            RomVersion::Rom5 => &ROM_5,
            RomVersion::Rom6 => &ROM_6,
            RomVersion::Rom7 => &ROM_7,
            RomVersion::Rom8 => &ROM_8,
            RomVersion::Rom12 => &ROM_12,
            RomVersion::Rom13 => &ROM_13,
        }
    }

    /// Start and end of a batch of so many bytes.
    pub(crate) fn batch(&self, bytes: u64) -> Counters {
        divided(bytes, if bytes == 0 { self.empty_batch } else { self.batch })
    }

    /// Importing the global exit root, in the forks without blocks.
    pub(crate) const fn exit_root(root: ExitRoot) -> Counters {
        match root {
            ExitRoot::New => rows(13, 0, 1),
            ExitRoot::Known => rows(11, 0, 0),
        }
    }

    /// Decoding a transaction, its recovery aside; and its L2 hash. Real without data, else never less.
    pub(crate) fn decoded(&self, tx: &Fields) -> Counters {
        let (mut long, mut bytes, mut zeros, mut extra) = (0, 0, 0, 0);
        for number in tx.numbers.into_iter().flatten() {
            if number.is_zero() {
                zeros += 1;
            } else if number >= U256::from(PREFIXED) {
                long += 1;
                bytes += number.byte_len() as u64;
                // A prefixed byte has to be one that needs its prefix.
                extra += u64::from(number.byte_len() == 1);
            }
        }
        // The length of the nonce is kept.
        extra += u64::from(tx.numbers[0].is_some_and(|nonce| nonce >= U256::from(PREFIXED)));
        let recipient = self.recipient_steps * u64::from(tx.has_recipient);
        let numbers = rows(35 * long + 74 * bytes + 2 * zeros + extra + recipient, 2 * bytes - long, 6 * bytes);
        let chain_id = if tx.numbers[4].is_some() { self.chain_id } else { NO_CHAIN_ID };
        plus(plus(plus(self.decoding, numbers), chain_id), plus(list(tx.list_bytes), data(tx.data_bytes)))
    }

    /// The dearest recovery of a key from any signature.
    pub(crate) fn dearest_recovery(&self) -> Counters {
        const ROUNDS: u64 = 256;
        let [own, rounds @ ..] = self.recovery;
        let dearest = rounds.into_iter().fold(Counters::default(), Counters::max);
        own + rows(5, 0, 2) + dearest.times(ROUNDS)
    }

    /// Recovering a key from a valid signature: a double-and-add over the bits of −hash/r and s/r.
    ///
    /// `root_is_negated` counts in the ROMs that compare points.
    pub(crate) fn recovery(&self, bits: ScalarBits, v: u8, root_is_negated: bool) -> Counters {
        let [both, one, leading] = [bits.both, bits.one, bits.leading].map(u64::from);
        let [own, round_none, round_one, round_both] = self.recovery;
        let none = 256 - leading - both - one;
        let odd = u64::from(v.saturating_sub(27));
        let negated = u64::from(root_is_negated);
        own + rows(8 * leading + 2 * odd + 3 * negated, 0, odd + negated)
            + round_none.times(none)
            + round_one.times(one)
            + round_both.times(both)
    }

    /// The checks of a rejected transaction with so many bytes of data; the gas of a create is looked up apart.
    pub(crate) fn rejected(&self, why: Rejection, data_bytes: u64, is_create: bool) -> Counters {
        let [signature, chain_id, nonce, balance, overflow] = self.rejected;
        let gas = data_gas(data_bytes) + rows(u64::from(is_create), 0, 0);
        match why {
            Rejection::Signature => signature,
            Rejection::ChainId => chain_id,
            Rejection::Nonce => nonce,
            Rejection::GasLimit => nonce + rows(9, 0, 3),
            Rejection::IntrinsicGas => nonce + rows(17, 0, 5) + gas,
            Rejection::Balance => balance + gas,
            Rejection::GasOverflow => overflow + gas,
        }
    }

    /// Checks, transfer, fees and receipt of a transaction to an account without code that is no precompile.
    pub(crate) fn plain_call(&self, call: PlainCall) -> Counters {
        let saved = match (call.to_self, call.to_zero) {
            (true, _) => rows(1, 0, 1),
            (false, false) => rows(0, 0, 0),
            (false, true) => rows(4, 0, 2),
        };
        let transfer = if call.has_value { rows(40, 0, 7) } else { rows(16, 0, 2) };
        let checks =
            rows(self.checks.steps - saved.steps, self.checks.arithmetics, self.checks.binaries - saved.binaries);
        checks + transfer + self.fees
    }

    /// The dearest path of a transaction to an account with code, its opcodes aside: checks, transfer, loading the code,
    /// a refund of storage, fees, receipt.
    pub(crate) fn contract_call(&self, call: PlainCall) -> Counters {
        let transfer = if call.has_value { rows(24, 0, 5) } else { rows(0, 0, 0) };
        self.checks + transfer + rows(62, 1, 6) + rows(42, 1, 3) + self.fees
    }
}

/// Testing the chain id of a transaction. It is counted with the decoding of one that has none, and taken back where such a
/// transaction passes the test without it.
pub(crate) const NO_CHAIN_ID: Counters = rows(3, 0, 1);

/// Adding up the gas of the data.
pub(crate) const fn data_gas(bytes: u64) -> Counters {
    if bytes == 0 { rows(0, 0, 0) } else { rows(4 + 9 * bytes, 0, 0) }
}

/// Reading the length of a list of so many bytes in all.
const fn list(bytes: u64) -> Counters {
    let length = match bytes {
        0..=56 => rows(0, 0, 0),
        57..=257 => rows(106, 1, 6),
        _ => rows(260, 5, 18),
    };
    divided(bytes, length)
}

/// The dearest path of reading data: each byte is shifted out of its word.
const fn data(bytes: u64) -> Counters {
    match bytes {
        0 => rows(0, 0, 0),
        1..=55 => rows(90 + 87 * bytes, 2 + 2 * bytes, 2 + 6 * bytes),
        _ => rows(330 + 87 * bytes, 8 + 2 * bytes, 22 + 6 * bytes),
    }
}

/// Poseidon hashes that the ROM's checks allow a tree access.
const ACCESS: u64 = 518;

/// What the ROM checks to be free before a step.
pub(crate) mod reservations {
    use super::{ACCESS, Counters, KECCAK_RATE_BYTES};
    use zkevm_types::{P256_VERIFY, RomVersion};

    /// One check.
    #[derive(Clone, Copy, Debug, Default)]
    pub(crate) struct Reservation {
        /// Beyond what is counted here at that moment. The end of a batch is counted at its start, so this is less than what
        /// the ROM states.
        pub(crate) beyond: Counters,
        /// What the ROM states: all that a check sees of a batch without counters. Keccaks are without those that the ROM
        /// keeps for the end of the batch.
        pub(crate) stated: Counters,
    }

    const fn both(wish: Counters) -> Reservation {
        Reservation { beyond: wish, stated: wish }
    }

    const fn stated(wish: Counters) -> Reservation {
        Reservation { beyond: Counters::from_array([0; 8]), stated: wish }
    }

    const fn keccaks(count: u64) -> Counters {
        Counters::from_array([0, 0, 0, 0, count, 0, 0, 0])
    }

    const fn want(steps: u64, arithmetics: u64, binaries: u64, accesses: u64) -> Counters {
        Counters::from_array([steps, arithmetics, binaries, 0, 0, 0, accesses * ACCESS, 0])
    }

    /// Recovering a key. What is decoded of a transaction after that is counted with it: 85 steps and two binaries.
    pub(crate) const RECOVERY: Reservation = Reservation {
        beyond: Counters::from_array([6315, 1100, 548, 0, 1, 0, 0, 0]),
        stated: Counters::from_array([6400, 1100, 550, 0, 1, 0, 0, 0]),
    };
    /// Opening a block.
    pub(crate) const BLOCK: Reservation = Reservation {
        beyond: Counters::from_array([467, 0, 8, 0, 2, 0, 6 * ACCESS, 0]),
        stated: Counters::from_array([500, 0, 8, 0, 2, 0, 6 * ACCESS, 0]),
    };
    /// Writing the header of a block.
    pub(crate) const HEADER: Reservation = both(want(0, 0, 0, 7));
    /// Finding out how many keccaks the end of a batch takes.
    pub(crate) const DIVISION: Reservation = both(want(50, 1, 3, 0));
    /// Running a transaction.
    pub(crate) const TRANSACTION: Reservation =
        Reservation { beyond: want(99_966, 2, 99, 0), stated: want(100_000, 2, 100, 0) };
    /// Anything inside a transaction that runs code, after it: the largest constants of opcodes and precompiles beyond
    /// their own cost.
    pub(crate) const CODE: Reservation = Reservation {
        beyond: Counters::from_array([13_000, 700, 60, 1, 0, 0, 0, 0]),
        stated: Counters::from_array([0, 0, 0, 1, 0, 0, 0, 0]),
    };
    /// Verifying an L1 info leaf.
    pub(crate) const L1_INFO_PROOF: Reservation = both(keccaks(33));
    /// BLOCKHASH, and naming a CREATE account.
    pub(crate) const ONE_KECCAK: Reservation = stated(keccaks(1));

    /// MODEXP of fork 13: the dearest of its helpers, squaring, and the way to it (later-forks §5.2). Its checks are those of
    /// 1024-byte numbers, whatever their size.
    pub(crate) const MODEXP: Reservation =
        Reservation { beyond: want(42_000, 2060, 11_660, 0), stated: Counters::from_array([0; 8]) };

    /// A precompile that was called with so many bytes, whether or not it can pay: the constants of the precompile and of
    /// the way to it.
    pub(crate) fn precompile(number: u16, bytes: u64) -> Reservation {
        let (own, stated) = match number {
            1 => (want(6450, 1100, 551, 0), Counters::default()),
            5 => (MODEXP.beyond, Counters::default()),
            P256_VERIFY => (want(8050, 550, 26, 0), Counters::default()),
            6 => (want(800, 50, 50, 0), want(800, 50, 50, 0)),
            7 => (want(175_000, 20_000, 20_000, 0), want(175_000, 20_000, 20_000, 0)),
            8 => (pairing(RomVersion::Rom8, bytes).stated, Counters::default()),
            _ => (want(500, 5, 20, 0), Counters::default()),
        };
        Reservation { beyond: own + want(1000, 10, 60, 0), stated }
    }

    /// A pairing of so many bytes that is paid for.
    pub(crate) fn pairing(rom: RomVersion, bytes: u64) -> Reservation {
        const PAIR_BYTES: u64 = 192;
        let pairs = bytes / PAIR_BYTES;
        stated(match rom {
            RomVersion::Rom7 => want(550_000, 45_000, 700, 0) + want(200_000, 14_000, 400, 0).times(pairs),
            _ => want(175_000, 17_500, 750, 0) + want(200_000, 15_000, 4100, 0).times(pairs),
        })
    }

    /// A SHA-256 digest of so many bytes that is paid for.
    pub(crate) const fn sha256(bytes: u64) -> Reservation {
        const BLOCK_BYTES: u64 = 64;
        stated(Counters::from_array([0, 0, 0, 0, 0, 0, 0, bytes.saturating_add(1) / BLOCK_BYTES]))
    }

    /// KECCAK256 over so many bytes.
    pub(crate) const fn keccak(bytes: u64) -> Reservation {
        stated(keccaks(1 + bytes.saturating_add(1) / KECCAK_RATE_BYTES))
    }

    /// Naming a CREATE2 account with init code of so many bytes.
    pub(crate) const fn create2_name(init_code_bytes: u64) -> Reservation {
        stated(keccaks(2 + init_code_bytes.saturating_add(1) / KECCAK_RATE_BYTES))
    }

    /// A linear Poseidon digest of code.
    pub(crate) const fn code_digest(bytes: u64) -> Reservation {
        both(paddings(1, bytes.saturating_add(1)))
    }

    /// The digest of a log with so many bytes of data.
    pub(crate) const fn log_digest(bytes: u64) -> Reservation {
        both(paddings(4, bytes))
    }

    const fn paddings(some: u64, bytes: u64) -> Counters {
        const BLOCK_BYTES: u64 = 56;
        Counters::from_array([0, 0, 0, 0, 0, some + bytes / BLOCK_BYTES, 0, 0])
    }

    /// Copying so many bytes of code, each aligned by itself.
    pub(crate) const fn code_copy(bytes: u64) -> Reservation {
        stated(Counters::from_array([0, 0, 0, bytes, 0, 0, 0, 0]))
    }

    /// Writing the receipt of a transaction.
    pub(crate) const RECEIPT: Reservation = both(want(0, 0, 0, 4));
    /// Closing a block.
    pub(crate) const CLOSE: Reservation = both(want(0, 0, 0, 2));
}

/// Verifying an L1 info leaf: a row more for each bit set in its index, and in the later ROM the test for the leaf that
/// stands for none; then the comparison of timestamps.
pub(crate) fn l1_info_proof(index: u32, tests_zero_leaf: bool) -> Counters {
    let test = if tests_zero_leaf { rows(5, 0, 1) } else { rows(0, 0, 0) };
    rows(220 + u64::from(index.count_ones()), 0, 1) + test
}

/// Decoding a ChangeL2Block.
pub(crate) const fn block_decoded() -> Counters {
    rows(52, 0, 0)
}

/// The start of a block, for a ChangeL2Block or a forced batch.
pub(crate) fn block_started(is_forced: bool) -> Counters {
    if is_forced { rows(38, 0, 3) } else { rows(46, 0, 3) }
}

/// A step of opening a block.
pub(crate) fn block_step(step: BlockStep) -> Counters {
    match step {
        BlockStep::BadTimestamp => rows(6, 0, 2),
        BlockStep::Timestamp { has_l1_info: false } => rows(10, 0, 3),
        BlockStep::Timestamp { has_l1_info: true } => rows(14, 0, 3),
        BlockStep::ForcedTimestamp { moves: false } => rows(4, 0, 1),
        BlockStep::ForcedTimestamp { moves: true } => rows(10, 0, 2),
        BlockStep::ExitRoot { is_forced, root } => {
            let own = match root {
                None => rows(4, 0, 1),
                Some(ExitRoot::Known) => rows(17, 0, 2),
                Some(ExitRoot::New) => rows(21, 0, 3),
            };
            own + rows(2 * u64::from(is_forced), 0, 0)
        }
    }
}

/// The header of a block.
pub(crate) fn block_header() -> Counters {
    rows(44, 0, 7)
}

/// Closing a block.
pub(crate) const fn block_closed() -> Counters {
    rows(19, 0, 2)
}

/// What decoding a transaction depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    /// Nonce, gas price, gas limit, value and, if there is one, chain id.
    pub(crate) numbers: [Option<U256>; 5],
    /// It has a recipient.
    pub(crate) has_recipient: bool,
    /// Bytes of the signed list.
    pub(crate) list_bytes: u64,
    /// Bytes of call data or init code.
    pub(crate) data_bytes: u64,
}

/// A transaction to an account.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PlainCall {
    /// The recipient is the sender.
    pub(crate) to_self: bool,
    /// The recipient is the zero address.
    pub(crate) to_zero: bool,
    /// Value moves.
    pub(crate) has_value: bool,
}

/// Why a transaction was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// Its signature, or the code of its sender.
    Signature,
    /// Its chain id.
    ChainId,
    /// Its nonce.
    Nonce,
    /// A gas limit beyond that of a batch.
    GasLimit,
    /// A gas limit below what it costs before it runs.
    IntrinsicGas,
    /// The sender's balance.
    Balance,
    /// The product of gas limit and price.
    GasOverflow,
}
