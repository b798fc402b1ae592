//! The loop over the bits of a product of points, which takes most steps of a batch of transfers: all bits but the lowest are done
//! at once, and the lowest bit is left to the lines.

use alloy_primitives::U256;

use crate::fea;
use crate::machine::Machine;
use crate::machine::points::{Product, do_bits};
use crate::machine::registers::{small, wide};
use crate::program::ProductLoop;

/// Rounds of the loop.
const ROUNDS: u64 = 256;
/// Steps of a round, at most.
const ROUND_STEPS_MAX: u64 = 20;
/// Indices of the counters.
const ARITH: usize = 1;
const BINARY: usize = 2;

impl Machine<'_, '_> {
    /// Does the bits of a product, if the loop is at its beginning; true if it did.
    #[cold]
    pub(super) fn skip_bits(&mut self) -> bool {
        let Some(places) = self.program.natives.product_loop else { return false };
        let registers = &self.registers;
        let begins = registers.small[small::RCX] == ROUNDS && registers.small[small::HASHPOS] == 0;
        if !begins || self.step + ROUNDS * ROUND_STEPS_MAX >= self.step_limit {
            return false;
        }
        // Whatever is not as expected is left to the lines.
        self.try_skip_bits(&places).is_some()
    }

    fn try_skip_bits(&mut self, places: &ProductLoop) -> Option<()> {
        let read = |offset: u32| fea::to_scalar(&self.memory.read(offset.into())).ok();
        let [x1, y1, x2, y2, k1, k2] = places.operands;
        let [both_x, both_y] = places.both;
        if self.memory.read(places.both_empty.into()) != fea::ZERO {
            return None;
        }
        let points = [read(x1)?, read(y1)?, read(x2)?, read(y2)?];
        let (factors, both) = ([read(k1)?, read(k2)?], (read(both_x)?, read(both_y)?));
        let done = do_bits(&Product { points, factors }, both)?;
        for (offset, factor) in [k1, k2].into_iter().zip(factors) {
            self.memory.write(offset.into(), &fea::to_fea(factor << (ROUNDS as usize - 1))).ok()?;
        }
        if let Some((x, y)) = done.accumulated {
            let [sum_x, sum_y] = places.sum;
            self.memory.write(sum_x.into(), &fea::to_fea(x)).ok()?;
            self.memory.write(sum_y.into(), &fea::to_fea(y)).ok()?;
            self.registers.small[small::HASHPOS] = 1;
        }
        if let Some(addend) = done.last_addend {
            let addends: [(U256, U256); 3] = [(points[0], points[1]), (points[2], points[3]), both];
            let (x, y) = addends[addend];
            self.registers.wide[wide::C] = fea::to_fea(x);
            self.registers.wide[wide::D] = fea::to_fea(y);
            self.marks &= !(1 << wide::C | 1 << wide::D);
        }
        self.registers.small[small::RCX] = 1;
        self.step += done.steps;
        if !self.request.no_counters {
            self.registers.counters[ARITH] += done.additions + done.doublings * places.doubling_ariths;
            self.registers.counters[BINARY] += done.binaries;
        }
        Some(())
    }
}
