//! What one batch has accumulated so far.

use revm::bytecode::opcode;

use super::Counters;
use super::access::AccessLog;
use super::lengths::{keccak_blocks, poseidon_blocks, sha256_blocks};
use super::model::{CallPart, Frame, Operands, Precompile, Prices, R12};
use super::paths::{self, PlainCall, plain_call};

/// Kinds of frames an opcode can run in.
const FRAMES: [Frame; 3] = [Frame::Call, Frame::CreationTx, Frame::Create];

/// Counters of a running batch. Lives beside the EVM's context; nothing is counted unless it is on.
#[derive(Debug)]
pub struct Tally {
    on: bool,
    /// Real keccak, Poseidon and SHA-256 counters; the other fields stay zero.
    pub real: Counters,
    /// Tree accesses of the running transaction.
    pub accesses: AccessLog,
    /// Call part of the running transaction, known when its first frame starts.
    pub transaction_part: CallPart,
    /// The running transaction goes to an account without code, in a fork whose path for that is known.
    pub plain: Option<PlainCall>,
    /// Paths of batches, blocks and transactions are known: the forks with L2 blocks.
    pub known_paths: bool,
    /// The fork's ROM is the one whose opcodes were measured.
    measured_opcodes: bool,
    /// The virtual model's prices.
    pub prices: Prices,
    /// What the model has charged, opcodes of fixed price aside.
    charged: Counters,
    /// The bound's share of the same: real costs where they are known, and operations the model does not price.
    bounded: Counters,
    /// Opcodes of fixed price that ran, by frame kind.
    opcodes: Box<[[u64; 256]; 3]>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            on: false,
            real: Counters::default(),
            accesses: AccessLog::default(),
            transaction_part: CallPart::Call(0),
            prices: Prices::new(&R12, 0),
            charged: Counters::default(),
            bounded: Counters::default(),
            plain: None,
            known_paths: false,
            measured_opcodes: false,
            opcodes: Box::new([[0; 256]; 3]),
        }
    }
}

impl Tally {
    /// Creates a tally that counts, with the model at these prices. `known_paths` and
    /// `measured_opcodes` let the bound use the path costs of the ROMs that they hold for.
    pub fn counting(prices: Prices, known_paths: bool, measured_opcodes: bool) -> Self {
        Self { on: true, prices, known_paths, measured_opcodes, ..Self::default() }
    }

    /// True if anything is counted: the request did not ask for `no_counters`.
    #[inline]
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// Counts a keccak digest.
    #[inline]
    pub const fn keccak(&mut self, bytes: u64) {
        self.real.keccaks += keccak_blocks(bytes);
    }

    /// Counts a linear Poseidon digest.
    #[inline]
    pub const fn linear_poseidon(&mut self, bytes: u64) {
        let blocks = poseidon_blocks(bytes);
        self.real.poseidon_paddings += blocks;
        self.real.poseidons += blocks;
    }

    /// Counts a SHA-256 digest.
    #[inline]
    pub const fn sha256(&mut self, bytes: u64) {
        self.real.sha256s += sha256_blocks(bytes);
    }

    /// Counts an opcode of fixed price.
    #[inline]
    pub fn opcode(&mut self, opcode: u8, frame: Frame) {
        self.opcodes[frame as usize][usize::from(opcode)] += 1;
    }

    /// Takes an opcode back that turned out not to be charged.
    pub fn take_back(&mut self, opcode: u8, frame: Frame) {
        self.opcodes[frame as usize][usize::from(opcode)] -= 1;
    }

    /// Charges an opcode whose price depends on lengths.
    pub fn opcode_by_length(&mut self, opcode: u8, frame: Frame, operands: &Operands) {
        self.charge(self.prices.by_length(opcode, frame, operands));
    }

    /// Adds to the bound what an opcode costs up to where it fails; the model has nothing for it.
    pub fn opcode_failed(&mut self, frame: Frame) {
        self.charge_beyond_model(self.prices.failed_opcode(frame));
    }

    /// Adds to the bound the arguments that a call copies.
    pub fn arguments_copied(&mut self, opcode: u8, operands: &Operands) {
        if matches!(opcode, opcode::CALL | opcode::CALLCODE | opcode::DELEGATECALL | opcode::STATICCALL) {
            self.charge_beyond_model(self.prices.by_length(opcode::RETURN, Frame::Call, operands));
        }
    }

    /// Charges the call or creation part of an opcode.
    pub fn part(&mut self, part: CallPart) {
        self.charge(self.prices.part(part));
    }

    /// Charges the run of a transaction.
    pub fn processed(&mut self, part: CallPart) {
        let price = self.prices.process(part);
        match self.plain {
            Some(call) => self.charge_real(price, plain_call(call)),
            None if self.known_paths && matches!(part, CallPart::Call(1..)) => {
                self.charge_real(price, paths::contract_call());
            }
            None => self.charge(price),
        }
    }

    /// Charges a precompile.
    pub fn precompile(&mut self, run: Precompile<'_>) {
        self.charge(self.prices.precompile(run));
    }

    /// Charges what is priced elsewhere.
    pub fn charge(&mut self, price: Counters) {
        self.charged += price;
        self.bounded += price;
    }

    /// Charges the model for something whose real cost is known.
    pub fn charge_real(&mut self, price: Counters, real: Counters) {
        self.charged += price;
        self.bounded += real;
    }

    /// Adds to the bound what the model does not price.
    pub fn charge_beyond_model(&mut self, price: Counters) {
        self.bounded += price;
    }

    /// Returns what the model has charged for everything but opcodes of fixed price.
    pub const fn charges(&self) -> Counters {
        self.charged
    }

    /// Takes all charges since `before` out of the model; the bound keeps them, and gets `more`.
    pub fn move_beyond_model(&mut self, before: Counters, more: Counters) {
        self.charged = before;
        self.bounded += more;
    }

    /// Returns the upper bound of the batch so far: the model and what it leaves out.
    pub fn bound(&self) -> Counters {
        self.bounded
            + self.opcodes_at(|opcode, frame| {
                let measured = if self.measured_opcodes && frame == Frame::Call { paths::opcode(opcode) } else { None };
                measured.unwrap_or_else(|| self.prices.fixed(opcode, frame))
            })
    }

    /// Returns what the virtual model makes of the batch so far.
    pub fn model(&self) -> Counters {
        self.charged + self.opcodes_at(|opcode, frame| self.prices.fixed(opcode, frame))
    }

    fn opcodes_at(&self, price: impl Fn(u8, Frame) -> Counters) -> Counters {
        let mut sum = Counters::default();
        for frame in FRAMES {
            for (opcode, count) in (0..=u8::MAX).zip(self.opcodes[frame as usize]).filter(|(_, count)| *count > 0) {
                sum += price(opcode, frame).times(count);
            }
        }
        sum
    }
}
