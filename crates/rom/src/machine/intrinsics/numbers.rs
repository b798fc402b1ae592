//! Divisions, shifts to the right, and offsets in words and bytes.

use alloy_primitives::U256;

use super::{OPERANDS, Tally};
use crate::fea::{self, Fea};
use crate::machine::Machine;
use crate::machine::registers::{small, wide};
use crate::machine::step::address_line;
use crate::program::{Divide, Shift};

/// Bytes of a shift that are looked at here, at most.
const BYTES_MAX: u64 = 64;

impl Machine<'_, '_> {
    /// Divides two variables.
    pub(super) fn divide(&mut self) -> Option<()> {
        let places = self.program.natives.divide?;
        let [a, b] = places.operands.map(|offset| self.global(offset));
        let (a, b) = (fea::to_scalar(&a?).ok()?, fea::to_scalar(&b?).ok()?);
        let mut tally = self.tally();
        count_division(&mut tally, a, b);
        if self.marks & OPERANDS != 0 || !self.has_room(&tally) {
            return None;
        }
        let registers = &self.registers;
        let [ka, kb, kc, kd, ke, _] = registers.wide;
        self.end_division(&places, (a, b), &[ka, kb, kc, kd, ke], registers.small[small::RR])?;
        self.registers.zkpc = address_line(self.registers.small[small::RR]);
        self.count_lines(&tally);
        Some(())
    }

    /// Sets what a division leaves: A to E stay as they are.
    fn end_division(
        &mut self,
        places: &Divide,
        (a, b): (U256, U256),
        kept: &[Fea; 5],
        return_address: u64,
    ) -> Option<()> {
        let (quotient, rest) = if b.is_zero() { (U256::ZERO, U256::ZERO) } else { a.div_rem(b) };
        self.set_global(places.return_address, &fea::low(return_address))?;
        for (offset, register) in places.kept.into_iter().zip(kept) {
            self.set_global(offset, register)?;
        }
        for (offset, result) in places.results.into_iter().zip([quotient, rest]) {
            self.set_global(offset, &fea::to_fea(result))?;
        }
        self.carry = true;
        Some(())
    }

    /// Shifts A by D bytes.
    pub(super) fn shift_bytes(&mut self) -> Option<()> {
        let count = self.registers.wide[wide::D];
        if count != fea::low(count[0]) || count[0] > BYTES_MAX {
            return None;
        }
        let mut tally = self.tally();
        tally.check_steps(50);
        tally.check_binaries(2);
        tally.check_arithmetics(1);
        tally.lines(10);
        tally.arithmetic();
        tally.lines(1);
        self.shift(tally, U256::from(count[0] * 8), fea::ZERO)
    }

    /// Shifts A by D bits.
    pub(super) fn shift_bits(&mut self) -> Option<()> {
        let bits = fea::to_scalar(&self.registers.wide[wide::D]).ok()?;
        let mut tally = self.tally();
        tally.check_steps(30);
        tally.check_binaries(2);
        tally.lines(5);
        self.shift(tally, bits, self.registers.wide[wide::C])
    }

    /// Shifts A. `divides_with` is what C is in the division.
    fn shift(&mut self, mut tally: Tally, bits: U256, divides_with: Fea) -> Option<()> {
        let places: Shift = self.program.natives.shift?;
        let value = fea::to_scalar(&self.registers.wide[wide::A]).ok()?;
        let is_far = bits > U256::from(255);
        let divides = !value.is_zero() && !is_far;
        let divisor = if divides { U256::from(1) << bits.to::<usize>() } else { U256::ZERO };
        tally.lines(1);
        tally.binary();
        if !value.is_zero() {
            tally.lines(3);
            tally.binary();
            if is_far {
                tally.lines(1);
            } else {
                tally.lines(5);
                count_division(&mut tally, value, divisor);
                tally.lines(1);
            }
        }
        tally.lines(5);
        if self.marks & OPERANDS != 0 || !self.has_room(&tally) {
            return None;
        }
        let [a, b, c, d, e, _] = self.registers.wide;
        let return_address = self.registers.small[small::RR];
        self.set_global(places.return_address, &fea::low(return_address))?;
        for (offset, register) in places.kept.into_iter().zip([b, c, d, e]) {
            self.set_global(offset, &register)?;
        }
        let mut result = U256::ZERO;
        if divides {
            result = value >> bits.to::<usize>();
            let divisor_word = fea::to_fea(divisor);
            for (offset, operand) in places.divide.operands.into_iter().zip([&a, &divisor_word]) {
                self.set_global(offset, operand)?;
            }
            let kept = [a, divisor_word, divides_with, fea::to_fea(bits), a];
            self.end_division(&places.divide, (value, divisor), &kept, places.divided.into())?;
        }
        self.registers.wide[wide::A] = fea::to_fea(result);
        self.registers.zkpc = address_line(return_address);
        self.carry = true;
        self.count_lines(&tally);
        Some(())
    }

    /// Splits A into words (E) and bytes (C).
    pub(super) fn split_offset(&mut self) -> Option<()> {
        let [kept_a, kept_b] = self.program.natives.split_offset?;
        let [a, b, ..] = self.registers.wide;
        let mut tally = self.tally();
        tally.check_steps(20);
        tally.check_binaries(1);
        tally.lines(7);
        tally.binary();
        tally.lines(2);
        let is_usual = self.marks & OPERANDS == 0 && a == fea::low(a[0]) && a[0] <= u64::from(u32::MAX);
        if !is_usual || !self.has_room(&tally) {
            return None;
        }
        self.set_global(kept_a, &a)?;
        self.set_global(kept_b, &b)?;
        let registers = &mut self.registers;
        registers.wide[wide::E] = fea::low(a[0] >> 5);
        registers.wide[wide::C] = fea::low(a[0] & 31);
        registers.zkpc = address_line(registers.small[small::RR]);
        self.carry = true;
        self.count_lines(&tally);
        Some(())
    }
}

/// Counts the lines of a division.
fn count_division(tally: &mut Tally, a: U256, b: U256) {
    tally.check_steps(50);
    tally.check_binaries(3);
    tally.check_arithmetics(1);
    tally.lines(9);
    tally.binary();
    if !b.is_zero() {
        tally.lines(3);
        tally.binary();
        if a >= b {
            tally.lines(4);
            tally.arithmetic();
            tally.lines(4);
            tally.binary();
            // The end of the other two ways has two lines before the registers are loaded.
            tally.lines(8);
            return;
        }
    }
    tally.lines(9);
}
