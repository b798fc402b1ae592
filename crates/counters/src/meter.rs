//! The counters of a running batch: [`CounterMeter`], told what happens as an observer ([`crate::batch_events`],
//! [`crate::evm_events`]).

use revm::bytecode::opcode;
use revm::primitives::Bytes;

use super::lengths::{KECCAK_RATE_BYTES, sha256_blocks};
use super::limits::{self, Counter};
use super::model::{CallPart, Frame, Operands, Precompile, Prices};
use super::opcodes;
use super::proof_accesses::ProofAccesses;
use super::proof_cost::ProofCost;
use super::rom_costs::reservations::{self, Reservation};
use super::rom_costs::{PlainCall, RomCosts};
use super::sums::{Decoded, Sums};
use zkevm_batch::observer::{Stage, StateAccess};
use zkevm_tree::{TreeError, TreeRef};
use zkevm_types::{BatchInput, BatchOutput, Counters, CountersPolicy, ExecutorError, ForkRules, RomError};

/// Kinds of frames an opcode can run in.
const FRAMES: [Frame; 3] = [Frame::Call, Frame::CreationTx, Frame::Create];

/// Opcodes between two looks at the limits inside a transaction.
const OPCODES_UNWATCHED: u32 = 1024;
/// Opcodes that a call counts for: a precompile may take as many steps as thousands of them.
const OPCODES_OF_A_CALL: u32 = 64;

/// Contexts that the ROM opens beside those of items, calls and creates: one for call data, one to find the end of the data.
const CONTEXTS_OF_BATCH: u64 = 2;

/// Keccaks that the ROM keeps for the end of a batch, beside whole blocks of its data.
const END_KECCAKS: u64 = 2;

/// Opcodes looked at together; divides 256.
const OPCODES_TOGETHER: usize = 16;

/// Counts one batch.
#[derive(Debug)]
pub struct CounterMeter {
    pub(crate) rules: &'static ForkRules,
    /// The encoded batch.
    pub(crate) batch_data: Bytes,
    /// All counters are wanted, not steps alone.
    pub(crate) counts_all: bool,
    /// A batch that passes the limits ends there.
    pub(crate) enforces: bool,
    /// What all up to the end of decoding comes to at most.
    decoding_at_most: Counters,
    /// Keccaks counted for the end of the batch.
    pub(crate) end_keccaks: u64,
    /// The error with which the batch ends, once that is known inside a transaction.
    stopped: Option<RomError>,
    /// A batch without counters took more steps than the machine has rows for.
    out_of_steps: bool,
    /// The most that a check of the ROM wanted free, as it states it.
    pub(crate) most_wanted: Counters,
    /// Opcodes to run before the limits are looked at.
    pub(crate) unwatched: u32,
    /// Output areas of the calls that lead to the running frame, in bytes.
    pub(crate) output_areas: Vec<u64>,
    /// Path lengths of the fork's ROM.
    pub(crate) rom: Option<&'static RomCosts>,
    /// The virtual model's prices.
    pub(crate) prices: Prices,
    /// What was counted before decoding, once that is told apart: the ROM decodes all items before it runs the first, so this
    /// and `decoded` come before `sums`, whenever they are told.
    start: Option<Sums>,
    /// What decoding items came to.
    pub(crate) decoded: Decoded,
    /// What was counted since.
    pub(crate) sums: Sums,
    /// Tree accesses of the running transaction.
    pub(crate) accesses: ProofAccesses,
    /// Shapes of the trees that the accesses are priced by.
    pub(crate) proof_cost: ProofCost,
    /// Call part of the running transaction, known when its first frame starts.
    pub(crate) transaction_part: CallPart,
    /// The running transaction has a chain id.
    pub(crate) has_chain_id: bool,
    /// The running transaction goes to an account that is no precompile: how, and whether it has code.
    pub(crate) call: Option<(PlainCall, bool)>,
    /// Kind of the running frame.
    pub(crate) frame: Frame,
    /// The last call opcode has a known path, up to the code it loads.
    pub(crate) call_is_known: bool,
    /// Memory ended inside a word somewhere in the running transaction.
    pub(crate) partial_memory: bool,
    /// Opcodes of fixed price that ran and are not in the sums yet, by frame kind.
    opcodes: Box<[[u64; 256]; 3]>,
    /// There are some.
    opcodes_ran: bool,
}

impl CounterMeter {
    /// Creates the meter of a batch, with the model at these prices.
    pub fn new(input: &BatchInput, prices: Prices) -> Self {
        let rules = input.fork_id.rules();
        let counts_all = !input.no_counters;
        Self {
            rules,
            batch_data: input.batch_l2_data.clone(),
            counts_all,
            enforces: input.counters_policy == CountersPolicy::Enforce,
            decoding_at_most: Counters::default(),
            end_keccaks: 0,
            stopped: None,
            out_of_steps: false,
            most_wanted: Counters::default(),
            unwatched: OPCODES_UNWATCHED,
            output_areas: Vec::new(),
            rom: rules.rom.map(RomCosts::of),
            prices,
            start: None,
            decoded: Decoded::default(),
            sums: Sums::default(),
            accesses: ProofAccesses::new(counts_all),
            proof_cost: ProofCost::default(),
            transaction_part: CallPart::Call(0),
            has_chain_id: true,
            call: None,
            frame: Frame::Call,
            call_is_known: false,
            partial_memory: false,
            opcodes: Box::new([[0; 256]; 3]),
            opcodes_ran: false,
        }
    }

    /// Writes the counters into the answer of the batch. A batch without an answer has reservations only.
    pub fn report(mut self, output: &mut BatchOutput) {
        self.flush_opcodes();
        output.model_counters = self.total().charged;
        output.counters = if output.error == ExecutorError::NoError { self.counters() } else { Counters::default() };
        output.reserved = self.reservations(output.counters);
        output.engine.contexts = self.contexts();
    }

    /// Returns the counters as reported; all opcodes are in the sums. Without counting there are only steps, as in the original.
    fn counters(&self) -> Counters {
        let used = self.total().used();
        if self.counts_all { used } else { Counters { steps: used.steps, ..Counters::default() } }
    }

    /// Returns the reservations as reported, never below the counters.
    fn reservations(&self, used: Counters) -> Counters {
        let Sums { reserved, reservation, .. } = self.total();
        if !self.counts_all {
            // The checks saw nothing used. The first of them asks for the keccaks of the end alone.
            let end = if self.reserves() { self.end_keccaks_wanted() } else { 0 };
            let keccaks = reservation.keccaks.saturating_add(end);
            return used.max(Counters { keccaks, ..reservation });
        }
        // Keccaks for the batch's end are set aside by dividing its length and one: a part of a block is left out, and it is
        // counted here from the start.
        let has_part = !(self.batch_data.len() as u64 + 1).is_multiple_of(KECCAK_RATE_BYTES);
        let keccaks = reserved.keccaks.saturating_sub(has_part.into());
        used.max(Counters { keccaks, ..reserved })
    }

    /// Adds the keccaks that the ROM keeps for the end of the batch to those that a check states.
    pub(crate) fn with_end_keccaks(&self, stated: Counters) -> Counters {
        let end = self.end_keccaks_wanted();
        let keccaks = if stated.keccaks > 0 { stated.keccaks.saturating_add(end) } else { 0 };
        Counters { keccaks, ..stated }
    }

    /// Returns the keccaks that the ROM keeps for the end of the batch.
    fn end_keccaks_wanted(&self) -> u64 {
        (self.batch_data.len() as u64 + 1) / KECCAK_RATE_BYTES + END_KECCAKS
    }

    /// Returns the error of a batch that ran out of counters, under policy `enforce`. All items are decoded.
    pub(crate) fn exceeded(&mut self, stage: Stage) -> Option<RomError> {
        if !self.enforces {
            return None;
        }
        if let Some(stopped) = self.stopped {
            return Some(stopped);
        }
        if !self.counts_all {
            return None;
        }
        self.flush_opcodes();
        let counters = self.counters();
        let weighed = limits::weighed(counters, self.total().at_least());
        let exceeded = match stage {
            Stage::Decoded => limits::exceeded_by_decoding(counters.binaries, weighed, self.rules),
            Stage::Ran => limits::exceeded(weighed, self.rules),
        };
        exceeded.map(Counter::error)
    }

    /// True if decoding alone may pass a limit.
    pub(crate) fn decoding_may_exceed(&self) -> bool {
        let at_most = self.at_most();
        let weighed = limits::weighed(at_most, self.sure_at_most());
        self.enforces
            && self.counts_all
            && limits::exceeded_by_decoding(at_most.binaries, weighed, self.rules).is_some()
    }

    /// True if the batch may be out of counters: whether it is takes what decoding really came to.
    pub(crate) fn may_exceed(&mut self) -> bool {
        self.flush_opcodes();
        self.enforces
            && self.counts_all
            && self.stopped.is_none()
            && self.start.is_some()
            && limits::exceeded(limits::weighed(self.at_most(), self.sure_at_most()), self.rules).is_some()
    }

    /// Returns what is counted so far, with decoding at its most; opcodes are in the sums.
    pub(crate) fn at_most(&self) -> Counters {
        self.sums.used() + self.decoding_at_most
    }

    /// Returns the most that [`Self::at_least`] can come to once all is decoded, by what is counted so far.
    fn sure_at_most(&self) -> Counters {
        self.total_at_most().at_least()
    }

    /// Returns no less than the counters that any look at the limits has judged so far.
    pub(crate) fn judged_at_most(&self) -> Counters {
        // What the checks want is sure only as long as all else is.
        let Sums { sure, reserved, .. } = self.total_at_most();
        let arithmetics = sure.arithmetics.max(reserved.arithmetics);
        limits::weighed(self.at_most(), Counters { arithmetics, ..sure })
    }

    /// Returns the sums of the batch so far, with decoding at its most.
    fn total_at_most(&self) -> Sums {
        let sure = self.decoding_at_most;
        let reserved = if self.reserves() { sure + reservations::RECOVERY.beyond } else { Counters::default() };
        self.sums.after(Sums { bounded: sure, sure, reserved, ..Sums::default() })
    }

    /// Returns what the ROM counts at least of steps, arithmetics, binaries and mem-aligns; with what its last checks want,
    /// where all of them are known.
    pub fn at_least(&mut self) -> Counters {
        self.flush_opcodes();
        self.total().at_least()
    }

    /// True if the batch has passed a limit inside a transaction.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.is_some() || self.out_of_steps || self.passed_last_digest() || self.passed_last_context()
    }

    /// Returns the contexts that the ROM has opened once all items are decoded.
    fn contexts(&self) -> u64 {
        CONTEXTS_OF_BATCH + self.decoded.items + self.sums.contexts
    }

    /// True if the ROM has used a context beyond the last one that a proof has room for.
    pub(crate) fn passed_last_context(&self) -> bool {
        // While nothing ran, the last is the one in which the data was found to be at its end, and nothing is kept there.
        let unused = self.start.is_some() && self.sums.contexts == 0;
        self.rules.contexts_max.is_some_and(|max| self.contexts() - u64::from(unused) > max)
    }

    /// True if a batch without counters made more digests of a kind than the machine has numbers for (later-forks §7). Those
    /// of decoding are taken at their most. A batch with counters is out of them long before.
    pub(crate) fn passed_last_digest(&self) -> bool {
        if self.counts_all {
            return false;
        }
        let most = self.sums.digests + self.decoded.digests;
        most.most() > self.rules.digests_max
    }

    /// True if a batch without counters took more steps than the machine has rows for.
    pub(crate) fn passed_last_step(&mut self) -> bool {
        self.flush_opcodes();
        self.out_of_steps |=
            self.enforces && !self.counts_all && self.total().bounded.steps > self.rules.uncounted_steps_max;
        self.out_of_steps
    }

    /// Counts an opcode towards the next look at the limits. True if that is due.
    #[inline]
    pub(crate) const fn watch(&mut self) -> bool {
        self.unwatched = self.unwatched.saturating_sub(1);
        if self.unwatched > 0 {
            return false;
        }
        self.unwatched = OPCODES_UNWATCHED;
        self.enforces
    }

    /// Counts a call towards the next look at the limits.
    pub(crate) const fn watch_call(&mut self) {
        self.unwatched = self.unwatched.saturating_sub(OPCODES_OF_A_CALL);
    }

    /// Looks at the limits inside a transaction.
    pub(crate) fn look_at_limits(&mut self, start: TreeRef, mut state: StateAccess<'_, '_>) {
        if !self.counts_all {
            self.passed_last_step();
            return;
        }
        // A failing store fails the execution at the same access.
        let _: Result<(), TreeError> = self.price_accesses(start, &mut state);
        self.flush_opcodes();
        self.stopped = self.stopped.or_else(|| limits::exceeded(self.at_most(), self.rules).map(Counter::error));
    }

    /// Prices the accesses told since the last time.
    pub(crate) fn price_accesses(&mut self, start: TreeRef, state: &mut StateAccess<'_, '_>) -> Result<(), TreeError> {
        let hashes = self.proof_cost.accesses(self.accesses.entries(), start, state);
        self.accesses.clear();
        self.sums.real.poseidons += hashes?;
        Ok(())
    }

    /// Ends the batch, under policy `enforce`, if what is surely used and what a check of the ROM wants passes a limit: with
    /// `no_counters` too, where the ROM sees nothing used.
    fn enforce(&mut self, reservation: Reservation) {
        if !self.enforces || self.stopped.is_some() {
            return;
        }
        self.most_wanted = self.most_wanted.max(reservation.stated);
        let mut used = Counters::default();
        if self.counts_all {
            used = self.at_most_real();
        }
        let wanted = self.with_end_keccaks(reservation.stated);
        self.stopped = limits::short(used, wanted, self.rules).map(Counter::error);
    }

    /// Returns the keccaks, paddings and SHA-256 blocks that the ROM has counted so far: the end of the batch is not over.
    pub(crate) fn at_most_real(&self) -> Counters {
        let Counters { keccaks, poseidon_paddings, sha256s, .. } = self.sums.real + self.decoding_at_most;
        Counters {
            keccaks: keccaks.saturating_sub(self.end_keccaks),
            poseidon_paddings,
            sha256s,
            ..Counters::default()
        }
    }

    /// Sets what was counted so far apart as decoding: more of it is still to be told.
    pub(crate) fn set_decoding_apart(&mut self) {
        self.decoding_at_most = self.sums.used() + self.decoded.at_most;
        self.start = Some(std::mem::take(&mut self.sums));
    }

    /// Returns the sums that decoding belongs to.
    pub(crate) fn decoding(&mut self) -> &mut Sums {
        if self.start.is_some() { &mut self.decoded.sums } else { &mut self.sums }
    }

    /// Returns the sums of the batch so far.
    fn total(&self) -> Sums {
        self.sums.after(self.decoded.sums.after(self.start.unwrap_or_default()))
    }

    /// True if the ROM's checks for free counters show in the answer.
    pub(crate) fn reserves(&self) -> bool {
        self.rom.is_some_and(|rom| rom.reserves)
    }

    /// Notes that a check of the ROM wants so much free.
    pub(crate) fn reserve(&mut self, reservation: Reservation) {
        self.enforce(reservation);
        if self.reserves() {
            self.flush_opcodes();
            self.sums.reserve(reservation);
        }
    }

    /// Notes that a check of the ROM wants so much free while it decodes.
    pub(crate) fn reserve_decoding(&mut self, reservation: Reservation) {
        if self.reserves() {
            self.decoding().reserve(reservation);
        }
    }

    /// Counts what the ROM does on a path that the price lists leave out, in the forks whose paths are known.
    pub(crate) fn count_path(&mut self, cost: Counters) {
        if self.rom.is_some() {
            self.sums.charge_bound_only(cost);
            self.sums.is_sure(cost);
        }
    }

    /// Counts what the ROM does at most where the price lists leave it out, in the forks whose paths are known.
    pub(crate) fn count_bound(&mut self, cost: Counters) {
        if self.rom.is_some() {
            self.sums.charge_bound_only(cost);
        }
    }

    /// Counts the test whether an address is that of a precompile, where a price list or path leaves it out.
    pub(crate) fn precompile_tested(&mut self) {
        if let Some(rom) = self.rom {
            self.count_path(rom.precompile_test);
        }
    }

    /// Counts the checkpoint of a create.
    pub(crate) fn create_checkpointed(&mut self) {
        if let Some(rom) = self.rom {
            self.sums.charge_bound_only(rom.create_checkpoint);
        }
    }

    /// Counts a SHA-256 digest.
    #[inline]
    pub(crate) const fn sha256(&mut self, bytes: u64) {
        self.sums.real.sha256s += sha256_blocks(bytes);
        self.sums.digests.sha256 += 1;
    }

    /// Notes the output area of the call that starts the frame at this depth.
    pub(crate) fn output_area(&mut self, depth: usize, bytes: u64) {
        self.output_areas.resize(depth + 1, 0);
        self.output_areas[depth] = bytes;
    }

    /// Returns how many of the bytes that the frame at this depth returns are copied to its caller.
    pub(crate) fn copied_to_caller(&self, depth: usize, bytes: u64) -> u64 {
        bytes.min(self.output_areas.get(depth).copied().unwrap_or(0))
    }

    /// Counts an opcode of fixed price.
    #[inline]
    pub(crate) fn opcode(&mut self, opcode: u8, frame: Frame) {
        self.opcodes[frame as usize][usize::from(opcode)] += 1;
        self.opcodes_ran = true;
    }

    /// Takes an opcode back that turned out not to be charged.
    pub(crate) fn take_back(&mut self, opcode: u8, frame: Frame) {
        self.opcodes[frame as usize][usize::from(opcode)] -= 1;
    }

    /// Charges an opcode whose price depends on lengths.
    pub(crate) fn opcode_by_length(&mut self, opcode: u8, frame: Frame, operands: &Operands) {
        let price = self.prices.by_length(opcode, frame, operands);
        let known = self.rom_in(frame).and_then(|rom| opcodes::by_length(rom, opcode, operands));
        self.call_is_known = known.is_some();
        self.sums.charge_exact(price, known.unwrap_or(price));
    }

    /// Adds to the bound what an opcode costs up to where it fails; the model has nothing for it.
    pub(crate) fn opcode_failed(&mut self, opcode: u8, frame: Frame) {
        let known = self.rom_in(frame).map(|rom| opcodes::failed(rom, opcode));
        self.sums.charge_bound_only(known.unwrap_or_else(|| self.prices.failed_opcode(frame)));
    }

    /// Adds to the bound what a LOG costs that could pay for its data and not for its topics: the ROM charges for them once it
    /// has read the data.
    pub(crate) fn log_read(&mut self, opcode: u8, frame: Frame, operands: &Operands) {
        let known = self.rom_in(frame).and_then(|rom| opcodes::by_length(rom, opcode, operands));
        self.sums.charge_bound_only(known.unwrap_or_else(|| self.prices.by_length(opcode, frame, operands)));
    }

    /// The ROM, if its paths are known for opcodes in such a frame.
    fn rom_in(&self, frame: Frame) -> Option<&'static RomCosts> {
        self.rom.filter(|_| frame == Frame::Call)
    }

    /// Adds to the bound the growth of memory by an opcode that needs it up to `end`, where it is not in the opcode's price.
    ///
    /// The ROM knows the length to the byte: once it ended inside a word, the last word can grow without the memory.
    pub(crate) fn memory_used(&mut self, frame: Frame, end: u64, bytes_before: u64, bytes_after: u64) {
        if self.rom_in(frame).is_none() {
            return;
        }
        let inside_last = self.partial_memory && end.saturating_add(32) > bytes_after;
        self.partial_memory |= !end.is_multiple_of(32);
        if bytes_after > bytes_before || inside_last {
            self.sums.charge_bound_only(opcodes::memory_growth(bytes_after.div_ceil(32)));
        }
    }

    /// Adds to the bound the arguments that a call copies.
    pub(crate) fn arguments_copied(&mut self, opcode: u8, operands: &Operands) {
        if matches!(opcode, opcode::CALL | opcode::CALLCODE | opcode::DELEGATECALL | opcode::STATICCALL) {
            let price = self.prices.by_length(opcode::RETURN, Frame::Call, operands);
            self.sums.charge_bound_only(self.rom.map_or(price, |_| opcodes::arguments_copied(operands)));
        }
    }

    /// Charges the call or creation part of an opcode. The path of a call includes it, unless a precompile is called.
    pub(crate) fn part(&mut self, part: CallPart, is_precompile: bool) {
        let price = self.prices.part(part);
        if self.call_is_known && !is_precompile && matches!(part, CallPart::Call(_)) {
            self.sums.charge_exact(price, Counters::default());
        } else {
            self.sums.charge(price);
        }
    }

    /// Charges the run of a transaction.
    pub(crate) fn processed(&mut self, part: CallPart) {
        let price = self.prices.process(part);
        self.partial_memory = false;
        match self.rom.zip(self.call) {
            Some((rom, (call, false))) => self.sums.charge_real(price, rom.plain_call(call)),
            Some((rom, (call, true))) => self.sums.charge_exact(price, rom.contract_call(call)),
            None => self.sums.charge(price),
        }
    }

    /// Charges a precompile.
    pub(crate) fn precompile(&mut self, run: Precompile<'_>) {
        self.sums.charge(self.prices.precompile(run));
    }

    /// Prices the opcodes of fixed price that ran since the last time. Called after each transaction and before each check
    /// of the ROM: totals are asked for often. No opcode is half counted there: [`Self::take_back`] follows its own
    /// [`Self::opcode`] with no check between.
    pub(crate) fn flush_opcodes(&mut self) {
        if !std::mem::take(&mut self.opcodes_ran) {
            return;
        }
        let (mut prices, mut bounds) = (Counters::default(), Counters::default());
        for (opcode, frame, count) in ran(&self.opcodes) {
            let price = self.prices.fixed(opcode, frame);
            prices += price.times(count);
            bounds += self.fixed_in_rom(opcode, frame).unwrap_or(price).times(count);
        }
        self.sums.charge_exact(prices, bounds);
        for counts in self.opcodes.as_flattened_mut().chunks_exact_mut(OPCODES_TOGETHER) {
            if !are_zero(counts) {
                counts.fill(0);
            }
        }
    }

    fn fixed_in_rom(&self, opcode: u8, frame: Frame) -> Option<Counters> {
        self.rom_in(frame).and_then(|rom| opcodes::fixed(rom, opcode))
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

/// True if none of these opcodes ran; a few instructions.
fn are_zero(counts: &[u64]) -> bool {
    counts.iter().fold(0, |any, count| any | count) == 0
}
