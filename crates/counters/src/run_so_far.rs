//! Going on from where another meter stood: between two blocks, in a batch that begins with the same items.

use super::limits;
use super::meter::CounterMeter;
use super::model::{CallPart, Frame};
use super::rom_costs::PlainCall;
use super::sums::{Decoded, Sums};
use zkevm_types::Counters;

/// What a meter has counted of the items of a batch and of their run, up to the end of a block.
#[derive(Clone, Debug)]
pub struct RunSoFar {
    decoded: Decoded,
    sums: Sums,
    most_wanted: Counters,
    unwatched: u32,
    output_areas: Vec<u64>,
    transaction_part: CallPart,
    call: Option<(PlainCall, bool)>,
    frame: Frame,
    call_is_known: bool,
    partial_memory: bool,
}

impl RunSoFar {
    /// Returns its size in memory, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.output_areas.capacity() * size_of::<u64>()
    }
}

impl CounterMeter {
    /// Returns what was counted of the run so far. A block has ended and no limit was passed: of the transactions and blocks
    /// before, nothing but sums is left.
    pub fn run_so_far(&mut self) -> RunSoFar {
        self.flush_opcodes();
        RunSoFar {
            decoded: self.decoded,
            sums: self.sums,
            most_wanted: self.most_wanted,
            unwatched: self.unwatched,
            output_areas: self.output_areas.clone(),
            transaction_part: self.transaction_part,
            call: self.call,
            frame: self.frame,
            call_is_known: self.call_is_known,
            partial_memory: self.partial_memory,
        }
    }

    /// Takes over what decoding the first items came to. The batch is about to be decoded, and is told of the others only.
    pub fn go_on_decoding_from(&mut self, run: &RunSoFar) {
        self.decoded = run.decoded;
    }

    /// Goes on from there; the batch is decoded.
    ///
    /// Returns false if the batch might have ended on the way here: what its decoding comes to and what a check of the ROM
    /// wanted pass a limit together. Then it has to run from its start.
    #[must_use]
    pub fn go_on_from(&mut self, run: &RunSoFar) -> bool {
        let RunSoFar { sums, most_wanted, unwatched, output_areas, .. } = run;
        let RunSoFar { transaction_part, call, frame, call_is_known, partial_memory, .. } = *run;
        (self.sums, self.most_wanted, self.unwatched) = (*sums, *most_wanted, *unwatched);
        self.output_areas.clone_from(output_areas);
        (self.transaction_part, self.call, self.frame) = (transaction_part, call, frame);
        (self.call_is_known, self.partial_memory) = (call_is_known, partial_memory);
        !self.may_have_ended()
    }

    /// True if a look at the limits, or a check of the ROM, may have failed so far. What they judge only grows, so none did that
    /// does not fail now.
    fn may_have_ended(&mut self) -> bool {
        if self.passed_last_digest() || self.passed_last_context() {
            return true;
        }
        if !self.enforces {
            return false;
        }
        let mut used = Counters::default();
        if self.counts_all {
            used = self.at_most_real();
            if limits::exceeded(self.judged_at_most(), self.rules).is_some() {
                return true;
            }
        }
        let wanted = self.with_end_keccaks(self.most_wanted);
        limits::short(used, wanted, self.rules).is_some() || self.passed_last_step()
    }
}
