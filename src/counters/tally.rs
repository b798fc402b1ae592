//! What one batch has accumulated so far.

use super::Counters;
use super::access::AccessLog;
use super::lengths::{keccak_blocks, poseidon_blocks, sha256_blocks};
use super::model::{CallPart, Frame, Operands, Precompile, Prices, R12};

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
    /// The virtual model's prices.
    pub prices: Prices,
    /// What the model has charged, opcodes of fixed price aside.
    charged: Counters,
    /// What the bound has beyond the model: operations the model does not price.
    beyond_model: Counters,
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
            beyond_model: Counters::default(),
            opcodes: Box::new([[0; 256]; 3]),
        }
    }
}

impl Tally {
    /// Creates a tally that counts, with the model at these prices.
    pub fn counting(prices: Prices) -> Self {
        Self { on: true, prices, ..Self::default() }
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

    /// Charges the call or creation part of an opcode.
    pub fn part(&mut self, part: CallPart) {
        self.charge(self.prices.part(part));
    }

    /// Charges the run of a transaction.
    pub fn processed(&mut self, part: CallPart) {
        self.charge(self.prices.process(part));
    }

    /// Charges a precompile.
    pub fn precompile(&mut self, run: Precompile<'_>) {
        self.charge(self.prices.precompile(run));
    }

    /// Charges what is priced elsewhere.
    pub fn charge(&mut self, price: Counters) {
        self.charged += price;
    }

    /// Adds to the bound what the model does not price.
    pub fn charge_beyond_model(&mut self, price: Counters) {
        self.beyond_model += price;
    }

    /// Returns what the model has charged for everything but opcodes of fixed price.
    pub const fn charges(&self) -> Counters {
        self.charged
    }

    /// Takes all charges since `before` out of the model, into the bound alone, with `more`.
    pub fn move_beyond_model(&mut self, before: Counters, more: Counters) {
        let since: [u64; 8] = std::array::from_fn(|i| self.charged.to_array()[i] - before.to_array()[i]);
        self.charged = before;
        self.beyond_model += Counters::from_array(since) + more;
    }

    /// Returns the upper bound of the batch so far: the model and what it leaves out.
    pub fn bound(&self) -> Counters {
        self.model() + self.beyond_model
    }

    /// Returns what the virtual model makes of the batch so far.
    pub fn model(&self) -> Counters {
        let mut sum = self.charged;
        for frame in FRAMES {
            for (opcode, count) in (0..=u8::MAX).zip(self.opcodes[frame as usize]).filter(|(_, count)| *count > 0) {
                sum += self.prices.fixed(opcode, frame).times(count);
            }
        }
        sum
    }
}
