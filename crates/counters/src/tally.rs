//! What one batch has accumulated so far.

use revm::bytecode::opcode;

use super::access::AccessLog;
use super::lengths::{keccak_blocks, poseidon_blocks, sha256_blocks};
use super::model::{CallPart, Frame, Operands, Precompile, Prices, R12};
use super::opcodes;
use super::paths::{PlainCall, Rom};
use zkevm_types::Counters;

/// Kinds of frames an opcode can run in.
const FRAMES: [Frame; 3] = [Frame::Call, Frame::CreationTx, Frame::Create];

/// Opcodes looked at together; divides 256.
const OPCODES_TOGETHER: usize = 16;

/// Counters of a running batch. Lives beside the EVM's context.
#[derive(Debug)]
pub struct Tally {
    /// Real keccak, Poseidon and SHA-256 counters; the other fields stay zero.
    pub real: Counters,
    /// Tree accesses of the running transaction.
    pub accesses: AccessLog,
    /// Call part of the running transaction, known when its first frame starts.
    pub transaction_part: CallPart,
    /// The running transaction goes to an account that is no precompile: how, and whether it has code.
    pub call: Option<(PlainCall, bool)>,
    /// Path lengths of the fork's ROM.
    pub rom: Option<&'static Rom>,
    /// The last call opcode has a known path, up to the code it loads.
    call_is_known: bool,
    /// Memory ended inside a word somewhere in the running transaction.
    partial_memory: bool,
    /// The virtual model's prices.
    pub prices: Prices,
    /// What the model has charged, opcodes of fixed price aside.
    charged: Counters,
    /// The bound's share of the same: real costs where they are known, and operations the model does not price.
    bounded: Counters,
    /// Opcodes of fixed price that ran and are not settled, by frame kind.
    opcodes: Box<[[u64; 256]; 3]>,
    /// There are some.
    opcodes_ran: bool,
    /// Largest sum of what was counted and what a check of the ROM wanted free.
    reserved: Counters,
    /// Largest of what the checks wanted.
    wanted: Counters,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            real: Counters::default(),
            accesses: AccessLog::default(),
            transaction_part: CallPart::Call(0),
            prices: Prices::new(&R12, 0),
            charged: Counters::default(),
            bounded: Counters::default(),
            call: None,
            rom: None,
            call_is_known: false,
            partial_memory: false,
            opcodes: Box::new([[0; 256]; 3]),
            opcodes_ran: false,
            reserved: Counters::default(),
            wanted: Counters::default(),
        }
    }
}

impl Tally {
    /// Creates a tally with the model at these prices and the bound along the paths of this ROM. `hashes` says whether tree
    /// accesses are noted for [`super::replay`].
    pub fn new(prices: Prices, rom: Option<&'static Rom>, hashes: bool) -> Self {
        Self { prices, rom, accesses: AccessLog::new(hashes), ..Self::default() }
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
        self.opcodes_ran = true;
    }

    /// Takes an opcode back that turned out not to be charged.
    pub fn take_back(&mut self, opcode: u8, frame: Frame) {
        self.opcodes[frame as usize][usize::from(opcode)] -= 1;
    }

    /// Charges an opcode whose price depends on lengths.
    pub fn opcode_by_length(&mut self, opcode: u8, frame: Frame, operands: &Operands) {
        let price = self.prices.by_length(opcode, frame, operands);
        let known = self.rom_in(frame).and_then(|rom| opcodes::by_length(rom, opcode, operands));
        self.call_is_known = known.is_some();
        self.charge_real(price, known.unwrap_or(price));
    }

    /// Adds to the bound what an opcode costs up to where it fails; the model has nothing for it.
    pub fn opcode_failed(&mut self, opcode: u8, frame: Frame) {
        let known = self.rom_in(frame).map(|rom| opcodes::failed(rom, opcode));
        self.charge_beyond_model(known.unwrap_or_else(|| self.prices.failed_opcode(frame)));
    }

    /// The ROM, if its paths are known for opcodes in such a frame.
    fn rom_in(&self, frame: Frame) -> Option<&'static Rom> {
        self.rom.filter(|_| frame == Frame::Call)
    }

    /// Adds to the bound the growth of memory by an opcode that needs it up to `end`, where it is not in the opcode's price.
    ///
    /// The ROM knows the length to the byte: once it ended inside a word, the last word can grow without the memory.
    pub fn memory_used(&mut self, frame: Frame, end: u64, bytes_before: u64, bytes_after: u64) {
        if self.rom_in(frame).is_none() {
            return;
        }
        let inside_last = self.partial_memory && end + 32 > bytes_after;
        self.partial_memory |= !end.is_multiple_of(32);
        if bytes_after > bytes_before || inside_last {
            self.charge_beyond_model(opcodes::memory_growth(bytes_after.div_ceil(32)));
        }
    }

    /// Adds to the bound the arguments that a call copies.
    pub fn arguments_copied(&mut self, opcode: u8, operands: &Operands) {
        if matches!(opcode, opcode::CALL | opcode::CALLCODE | opcode::DELEGATECALL | opcode::STATICCALL) {
            let price = self.prices.by_length(opcode::RETURN, Frame::Call, operands);
            self.charge_beyond_model(self.rom.map_or(price, |_| opcodes::arguments_copied(operands)));
        }
    }

    /// Charges the call or creation part of an opcode. The path of a call includes it, unless a precompile is called.
    pub fn part(&mut self, part: CallPart, is_precompile: bool) {
        let price = self.prices.part(part);
        if self.call_is_known && !is_precompile && matches!(part, CallPart::Call(_)) {
            self.charge_real(price, Counters::default());
        } else {
            self.charge(price);
        }
    }

    /// Charges the run of a transaction.
    pub fn processed(&mut self, part: CallPart) {
        let price = self.prices.process(part);
        self.partial_memory = false;
        match self.rom.zip(self.call) {
            Some((rom, (call, false))) => self.charge_real(price, rom.plain_call(call)),
            Some((rom, (call, true))) => self.charge_real(price, rom.contract_call(call)),
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

    /// Prices the opcodes of fixed price that ran since the last time. Called after each transaction and before each check
    /// of the ROM: totals are asked for often. No opcode is half counted there: [`Self::take_back`] follows its own
    /// [`Self::opcode`] with no check between.
    pub fn settle(&mut self) {
        if !std::mem::take(&mut self.opcodes_ran) {
            return;
        }
        let (mut prices, mut bounds) = (Counters::default(), Counters::default());
        for (opcode, frame, count) in ran(&self.opcodes) {
            let price = self.prices.fixed(opcode, frame);
            prices += price.times(count);
            bounds += self.fixed_in_rom(opcode, frame).unwrap_or(price).times(count);
        }
        self.charge_real(prices, bounds);
        for counts in self.opcodes.as_flattened_mut().chunks_exact_mut(OPCODES_TOGETHER) {
            if !are_zero(counts) {
                counts.fill(0);
            }
        }
    }

    /// Returns the upper bound of the batch so far: the model and what it leaves out.
    pub fn bound(&self) -> Counters {
        self.bounded
            + self.opcodes_at(|opcode, frame| {
                self.fixed_in_rom(opcode, frame).unwrap_or_else(|| self.prices.fixed(opcode, frame))
            })
    }

    fn fixed_in_rom(&self, opcode: u8, frame: Frame) -> Option<Counters> {
        self.rom_in(frame).and_then(|rom| opcodes::fixed(rom, opcode))
    }

    /// Returns what is reported: keccaks, Poseidons and SHA-256 as the ROM counts them, the others as a bound.
    pub fn used(&self) -> Counters {
        let Counters { steps, arithmetics, binaries, mem_aligns, .. } = self.bound();
        Counters { steps, arithmetics, binaries, mem_aligns, ..self.real }
    }

    /// Notes that a check of the ROM wants so much free.
    pub fn reserve(&mut self, wanted: Counters) {
        if self.rom.is_some_and(|rom| rom.reserves) {
            self.settle();
            self.wanted = self.wanted.max(wanted);
            self.reserved = self.reserved.max(self.used() + wanted);
        }
    }

    /// Puts what another tally counted before what this one did, as if one had counted both.
    pub fn follow(&mut self, earlier: &Self) {
        let wanted_here = self.reserved != Counters::default();
        let reserved = if wanted_here { earlier.used() + self.reserved } else { Counters::default() };
        self.reserved = reserved.max(earlier.reserved);
        self.wanted = self.wanted.max(earlier.wanted);
        self.real += earlier.real;
        self.charge_real(earlier.model(), earlier.bound());
    }

    /// Returns what was reserved at most, and what a single check wanted at most.
    pub const fn reservations(&self) -> (Counters, Counters) {
        (self.reserved, self.wanted)
    }

    /// Returns what the virtual model makes of the batch so far.
    pub fn model(&self) -> Counters {
        self.charged + self.opcodes_at(|opcode, frame| self.prices.fixed(opcode, frame))
    }

    fn opcodes_at(&self, price: impl Fn(u8, Frame) -> Counters) -> Counters {
        let mut sum = Counters::default();
        if !self.opcodes_ran {
            return sum;
        }
        for (opcode, frame, count) in ran(&self.opcodes) {
            sum += price(opcode, frame).times(count);
        }
        sum
    }
}

/// Returns the opcodes that ran, with how often.
fn ran(opcodes: &[[u64; 256]; 3]) -> impl Iterator<Item = (u8, Frame, u64)> {
    FRAMES.into_iter().flat_map(|frame| {
        let groups = opcodes[frame as usize].chunks_exact(OPCODES_TOGETHER);
        // Few kinds of opcodes run: most groups are empty.
        let groups = (0..=u8::MAX).step_by(OPCODES_TOGETHER).zip(groups).filter(|(_, counts)| !are_zero(counts));
        groups.flat_map(move |(first, counts)| {
            (first..=u8::MAX)
                .zip(counts)
                .filter(|(_, count)| **count > 0)
                .map(move |(opcode, count)| (opcode, frame, *count))
        })
    })
}

/// Whether none of these opcodes ran; a few instructions.
fn are_zero(counts: &[u64]) -> bool {
    counts.iter().fold(0, |any, count| any | count) == 0
}
