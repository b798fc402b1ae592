//! Loops over single bytes: those added to what is hashed of the batch, and those of call data, which cost gas.

use super::{JMPN_MAX, OPERANDS, UNCHECKED_MAX};
use crate::fea;
use crate::machine::Machine;
use crate::machine::registers::{small, wide};
use crate::program::{AddBytes, HashMachine};

/// Gas of a byte of call data that is zero, and of another one.
const ZERO_GAS: u64 = 4;
const BYTE_GAS: u64 = 16;
/// Bytes of a word.
const WORD: u64 = 32;

impl Machine<'_, '_> {
    /// Adds the bytes of a word to what is hashed of the batch. Ends before any line that has to run; false if that is the first.
    pub(super) fn add_bytes(&mut self) -> bool {
        let Some(places) = self.program.natives.add_bytes else { return false };
        let first = self.step;
        // Each of the three parts ends with the step of its last line as the current one.
        let mut before = self.step;
        while self.registers.zkpc == places.start && self.begin_byte(&places).is_some() {
            before = self.step;
            self.step += 1;
            if self.shift_bytes().is_none() {
                break;
            }
            before = self.step;
            self.step += 1;
            if self.registers.zkpc != places.shifted || self.end_byte(&places).is_none() {
                break;
            }
            before = self.step;
            self.step += 1;
        }
        let has_run = self.step > first;
        if has_run {
            self.step = before;
        }
        has_run
    }

    /// Runs the lines before the shift.
    fn begin_byte(&mut self, places: &AddBytes) -> Option<()> {
        let number = self.registers.wide[wide::D];
        let word = self.global(places.word)?;
        let mut tally = self.tally();
        tally.check_steps(50);
        tally.check_binaries(1);
        tally.lines(2);
        let is_usual = self.marks & OPERANDS == 0 && number == fea::low(number[0]) && (1..=WORD).contains(&number[0]);
        if !is_usual || !self.has_room(&tally) {
            return None;
        }
        let registers = &mut self.registers;
        registers.wide[wide::D] = fea::low(WORD - number[0]);
        registers.wide[wide::A] = word;
        registers.small[small::RR] = places.shifted.into();
        registers.zkpc = places.shift;
        self.count_lines(&tally);
        Some(())
    }

    /// Runs the lines after the shift.
    fn end_byte(&mut self, places: &AddBytes) -> Option<()> {
        let [a, _, c, d, ..] = self.registers.wide;
        let [count, hash_id, position, last_id] =
            [places.count, places.hash_id, places.position, places.last_id].map(|offset| self.global(offset));
        let (count, hash_id, position, last_id) = (count?, hash_id?, position?, last_id?);
        let mut tally = self.tally();
        tally.lines(1);
        tally.binary();
        tally.lines(12);
        let is_usual = self.marks & OPERANDS == 0
            && a.iter().all(|limb| *limb <= JMPN_MAX)
            && d == fea::low(d[0])
            && d[0] < WORD
            && count[0] <= JMPN_MAX
            && hash_id[0] < UNCHECKED_MAX;
        if !is_usual || !self.has_room(&tally) {
            return None;
        }
        let byte = a[0] as u8;
        if !self.hashes.append_byte(HashMachine::Keccak, hash_id[0], position[0], byte) {
            return None;
        }
        self.set_global(places.position, &fea::low(position[0] + 1))?;
        let next = WORD + 1 - d[0];
        let registers = &mut self.registers;
        registers.wide[wide::A] = fea::low(byte.into());
        registers.wide[wide::B] = count;
        registers.wide[wide::D] = fea::low(next);
        registers.wide[wide::E] = last_id;
        registers.small[small::HASHPOS] = c[0];
        registers.small[small::RR] = places.hashed.into();
        // The end of the loop stands after its last line, four lines after the hashing.
        registers.zkpc = if next <= count[0] { places.start } else { places.hashed + 4 };
        self.carry = byte != 0;
        self.count_lines(&tally);
        Some(())
    }

    /// Sums the gas of the bytes C to A - 1 of the call data up, in E.
    pub(super) fn data_gas(&mut self) -> Option<()> {
        let hash_id = self.program.natives.data_gas?;
        let hash_id = self.global(hash_id)?;
        let [a, _, c, _, e, _] = self.registers.wide;
        let position = self.registers.small[small::HASHPOS];
        let is_usual = self.marks & OPERANDS == 0
            && c == fea::low(c[0])
            && e == fea::low(e[0])
            && e[0] <= JMPN_MAX
            && a[0] <= JMPN_MAX
            && c[0] < a[0]
            && position <= JMPN_MAX
            && hash_id[0] < UNCHECKED_MAX;
        if !is_usual {
            return None;
        }
        let count = a[0] - c[0];
        let mut tally = self.tally();
        tally.lines(9 * (count - 1));
        tally.check_steps(10);
        tally.lines(8);
        if !self.has_room(&tally) {
            return None;
        }
        let bytes = self.hashes.read_bytes(HashMachine::Keccak, hash_id[0], position, usize::try_from(count).ok()?)?;
        let last = *bytes.last()?;
        let gas_of = |byte: u8| if byte == 0 { ZERO_GAS } else { BYTE_GAS };
        let gas: u64 = e[0] + bytes.iter().map(|byte| gas_of(*byte)).sum::<u64>();
        let registers = &mut self.registers;
        registers.wide[wide::B] = fea::low(gas - gas_of(last));
        registers.wide[wide::C] = fea::low(a[0]);
        registers.wide[wide::D] = fea::low(last.into());
        registers.wide[wide::E] = fea::low(gas);
        registers.small[small::HASHPOS] = position + count;
        self.count_lines(&tally);
        Some(())
    }
}
