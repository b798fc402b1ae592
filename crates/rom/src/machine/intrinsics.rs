//! Native code in the place of lines whose content is known.
//!
//! Where lines are those whose digest the loader knows, what they do is done at once: registers, memory, buffers, counters and
//! reservations are then as the lines leave them. Where the lines would leave their usual way, nothing is done, and they run.

mod bytes;
mod code;
mod numbers;
mod product;

use super::Machine;
use crate::fea::{self, Fea};
use crate::memory::context_base;
use crate::program::{Line, Native};
use crate::{Abort, EventHandler};

/// Largest number of a context whose addresses are computed here.
const CONTEXT_MAX: u64 = u32::MAX as u64;
/// Largest number that JMPN takes for one.
const JMPN_MAX: u64 = 0xffff_ffff;
/// Addresses from here on are checked against bounds.
const UNCHECKED_MAX: u64 = 63_488;
/// Bits of the marks of registers A to E.
const OPERANDS: u8 = 0b1_1111;

/// What lines count until some place in them, and what they want free.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    /// False if lines see no counter move.
    is_counted: bool,
    steps: u64,
    arithmetics: u64,
    binaries: u64,
    /// The most that a check of steps, arithmetics, binaries wants, itself included.
    wanted: [u64; 3],
}

impl Tally {
    /// Runs lines that count nothing.
    fn lines(&mut self, count: u64) {
        self.steps += count;
    }

    /// Runs the line of a binary operation.
    fn binary(&mut self) {
        self.steps += 1;
        self.binaries += 1;
    }

    /// Runs the line of an equation.
    fn arithmetic(&mut self) {
        self.steps += 1;
        self.arithmetics += 1;
    }

    fn want(&mut self, counter: usize, count: u64, margin: u64) {
        let count = if self.is_counted { count } else { 0 };
        self.wanted[counter] = self.wanted[counter].max(count + margin);
    }

    /// Runs a line that checks whether so many steps are left.
    fn check_steps(&mut self, margin: u64) {
        self.want(0, self.steps, margin);
        self.steps += 1;
    }

    /// The same of equations.
    fn check_arithmetics(&mut self, margin: u64) {
        self.want(1, self.arithmetics, margin);
        self.steps += 1;
    }

    /// The same of binary operations.
    fn check_binaries(&mut self, margin: u64) {
        self.want(2, self.binaries, margin);
        self.steps += 1;
    }
}

impl Machine<'_, '_> {
    /// Does what the lines from this one on do, if it can; the step of the last of them is then the current one. Returns false,
    /// with nothing done, where the lines have to run.
    pub(super) fn run_native(&mut self, line: &Line, handler: &mut impl EventHandler) -> Result<bool, Abort> {
        let Some(native) = line.native else { return Ok(false) };
        let first = self.step;
        let is_done = match native {
            // All of it but the lowest bits.
            Native::ProductLoop => self.skip_bits(),
            Native::ReadCode => self.read_code(handler)?,
            Native::Push => self.push().is_some(),
            Native::Divide => self.divide().is_some(),
            Native::ShiftBytes => self.shift_bytes().is_some(),
            Native::ShiftBits => self.shift_bits().is_some(),
            Native::SplitOffset => self.split_offset().is_some(),
            Native::AddBytes => self.add_bytes(),
            Native::DataGas => self.data_gas().is_some(),
        };
        if is_done {
            let runs = &mut self.native_runs[native as usize];
            *runs = (runs.0 + 1, runs.1 + self.step - first + 1);
        }
        Ok(is_done && native != Native::ProductLoop)
    }

    /// Returns a count of nothing.
    fn tally(&self) -> Tally {
        Tally { is_counted: !self.request.no_counters, ..Tally::default() }
    }

    /// True if all that is counted here stays within what a batch is planned with, so that no check of it jumps.
    fn has_room(&self, tally: &Tally) -> bool {
        let counters = &self.registers.counters;
        let planned = &self.program.limits.planned;
        let steps = if self.request.no_counters { 0 } else { self.step };
        let [wanted_steps, wanted_arithmetics, wanted_binaries] = tally.wanted;
        self.step + tally.steps < self.step_limit
            && steps + wanted_steps <= planned.steps
            && counters[1] + wanted_arithmetics <= planned.arithmetics
            && counters[2] + wanted_binaries <= planned.binaries
    }

    /// Counts what the lines count; the step of the last line is then the current one.
    fn count_lines(&mut self, tally: &Tally) {
        let counters = &mut self.registers.counters;
        let mut first = [0; 3];
        if !self.request.no_counters {
            first = [self.step, counters[1], counters[2]];
            counters[1] += tally.arithmetics;
            counters[2] += tally.binaries;
        }
        self.step += tally.steps - 1;
        if self.program.rules.reserves {
            let reserved = &mut self.reserved;
            let all = [&mut reserved.steps, &mut reserved.arithmetics, &mut reserved.binaries];
            for ((reserved, first), wanted) in all.into_iter().zip(first).zip(tally.wanted) {
                if wanted > 0 {
                    *reserved = (*reserved).max(first + wanted);
                }
            }
        }
    }

    /// Returns the first address of the running context, `None` if that needs a check.
    fn local_base(&self) -> Option<u64> {
        let context = self.registers.ctx();
        (context <= self.context_max.min(CONTEXT_MAX)).then(|| context_base(context))
    }

    /// Returns a variable of context 0 that is no mark.
    fn global(&mut self, offset: u32) -> Option<Fea> {
        Some(self.memory.load(offset.into())).filter(|word| !fea::is_mark(word))
    }

    /// Sets a variable of context 0; `None` if the memory is full, as lines will find as well.
    fn set_global(&mut self, offset: u32, value: &Fea) -> Option<()> {
        self.memory.write(offset.into(), value).ok()
    }
}
