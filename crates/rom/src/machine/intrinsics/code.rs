//! The reading of code: the next opcode, and the bytes of a PUSH.

use alloy_primitives::U256;

use super::{JMPN_MAX, OPERANDS, Tally, UNCHECKED_MAX};
use crate::fea::{self, Fea};
use crate::machine::Machine;
use crate::machine::registers::{small, wide};
use crate::memory::STACK;
use crate::program::{HashMachine, Push};
use crate::{Abort, Event, EventHandler};
use zkevm_tree::GOLDILOCKS_PRIME as P;

/// Words of a stack, at most.
const STACK_MAX: u64 = 1024;
/// What a PUSH costs.
const PUSH_GAS: u64 = 3;

impl Machine<'_, '_> {
    /// Reads the next opcode and goes to its line in the table.
    pub(super) fn read_code(&mut self, handler: &mut impl EventHandler) -> Result<bool, Abort> {
        let Some(places) = self.program.natives.read_code else { return Ok(false) };
        let Some(base) = self.local_base() else { return Ok(false) };
        let mut load = |offset: u32| self.memory.load(base + u64::from(offset));
        let (is_create, hash_id) = (load(places.is_create), load(places.hash_id));
        let (address, length) = (load(places.address), load(places.length));
        let mut tally = self.tally();
        tally.check_steps(500);
        tally.lines(8);
        let pc = self.registers.small[small::PC];
        let is_usual = is_create[0] == 0
            && pc < length[0]
            && length[0] <= JMPN_MAX
            && hash_id[0] < UNCHECKED_MAX
            && ![is_create, hash_id, address, length].iter().any(fea::is_mark);
        if !is_usual || !self.has_room(&tally) {
            return Ok(false);
        }
        let Some(opcode) = self.hashes.read_byte(HashMachine::Poseidon, hash_id[0], pc)? else { return Ok(false) };
        let registers = &mut self.registers;
        registers.wide[wide::A] = address;
        registers.wide[wide::B] = length;
        registers.wide[wide::E] = hash_id;
        self.marks &= !(1 << wide::A | 1 << wide::B | 1 << wide::E);
        registers.small[small::HASHPOS] = pc + 1;
        registers.small[small::RR] = opcode.into();
        registers.zkpc = places.read + 1;
        self.count_lines(&tally);
        // The opcode is told after the line that reads it, which is the one before the last.
        self.step -= 1;
        self.show(Event::Opcode(opcode), handler)?;
        self.step += 1;
        self.registers.small[small::PC] = pc + 1;
        self.registers.zkpc = places.table + u32::from(opcode);
        Ok(true)
    }

    /// Puts the bytes of a PUSH on the stack.
    pub(super) fn push(&mut self) -> Option<()> {
        let places = self.program.natives.push?;
        let base = self.local_base()?;
        let registers = &self.registers;
        let [pc, gas, stack] = [small::PC, small::GAS, small::SP].map(|place| registers.small[place]);
        let count = registers.wide[wide::D][0];
        let hash_id = self.memory.load(base + u64::from(places.hash_id));
        let length = self.memory.load(base + u64::from(places.length));
        let is_usual = self.marks & OPERANDS == 0
            && registers.wide[wide::D] == fea::low(count)
            && (1..=32).contains(&count)
            && (PUSH_GAS..=JMPN_MAX).contains(&gas)
            && stack < STACK_MAX
            && length[0] <= JMPN_MAX
            && pc < length[0]
            && pc + count < length[0]
            && hash_id[0] < UNCHECKED_MAX
            && ![hash_id, length].iter().any(fea::is_mark);
        if !is_usual {
            return None;
        }
        let mut tally = self.tally();
        tally.check_steps(100);
        tally.lines(4);
        match places.blocks {
            Some(_) => count_blocks(&mut tally, count),
            None => tally.lines(unrolled_lines(count)),
        }
        tally.lines(3);
        if !self.has_room(&tally) {
            return None;
        }
        let bytes = self.hashes.read_bytes(HashMachine::Poseidon, hash_id[0], pc, count as usize)?;
        let value = U256::try_from_be_slice(bytes)?;
        self.registers.wide[wide::B] = length;
        match places.blocks {
            Some(variables) => self.end_blocks(&places, variables, count, value)?,
            None => self.end_unrolled(&places, count, value)?,
        }
        let pushed = fea::to_fea(value);
        self.registers.wide[wide::E] = pushed;
        self.memory.write(base + STACK + stack, &pushed).ok()?;
        let registers = &mut self.registers;
        registers.small[small::SP] = stack + 1;
        registers.small[small::GAS] = gas - PUSH_GAS;
        registers.small[small::PC] = pc + count;
        registers.small[small::RR] = places.returns_to.into();
        registers.zkpc = places.next;
        self.count_lines(&tally);
        Some(())
    }

    /// Sets what the lines leave that read blocks of four bytes, the last block first.
    fn end_blocks(&mut self, places: &Push, variables: [u32; 3], count: u64, value: U256) -> Option<()> {
        let (blocks, left) = (fea::low(count / 4), fea::low(count % 4));
        let words = fea::to_fea(value);
        for (offset, word) in variables.into_iter().zip([&blocks, &left, &words]) {
            self.set_global(offset, word)?;
        }
        self.set_global(places.bytes, &fea::low(count))?;
        let registers = &mut self.registers;
        // Counted down to minus one if there are single bytes.
        registers.wide[wide::A] = if left[0] == 0 { fea::ZERO } else { fea::low(P - 1) };
        registers.wide[wide::B] = blocks;
        registers.wide[wide::C] = only((count as usize - 1) / 4, &words);
        registers.small[small::HASHPOS] = registers.small[small::PC] - 1;
        self.carry = true;
        Some(())
    }

    /// Sets what the lines leave that read byte by byte, from the first on.
    fn end_unrolled(&mut self, places: &Push, count: u64, value: U256) -> Option<()> {
        let byte = |from_end: usize| u64::from(value.byte(from_end));
        let count_bytes = count as usize;
        let registers = &mut self.registers;
        match count_bytes {
            1 => {}
            2 => registers.wide[wide::C] = fea::low(byte(1)),
            3 => {
                registers.wide[wide::A] = fea::low(byte(2));
                registers.wide[wide::C] = fea::low(byte(1));
            }
            4 => {
                registers.wide[wide::A] = fea::low(byte(3));
                registers.wide[wide::B] = fea::low(byte(2));
                registers.wide[wide::C] = fea::low(byte(1));
            }
            _ => {
                registers.wide[wide::A] = fea::low(byte(0));
                registers.wide[wide::B] = fea::low(byte(3));
                registers.wide[wide::C] = fea::to_fea(value >> 32);
                registers.small[small::RCX] = byte(2);
            }
        }
        registers.small[small::HASHPOS] = registers.small[small::PC] + count;
        if (5..32).contains(&count) {
            self.set_global(places.bytes, &fea::low(count))?;
        }
        Some(())
    }
}

/// Returns one limb in its place.
fn only(limb: usize, words: &Fea) -> Fea {
    let mut word = fea::ZERO;
    word[limb] = words[limb];
    word
}

/// Counts the lines that read so many bytes of a PUSH in blocks of four.
fn count_blocks(tally: &mut Tally, count: u64) {
    let (blocks, left) = (count / 4, count % 4);
    tally.check_steps(20);
    tally.check_binaries(1);
    tally.lines(11);
    tally.binary();
    tally.lines(1);
    for block in 0..=blocks {
        tally.check_steps(20);
        tally.check_binaries(1);
        tally.lines(2);
        tally.binary();
        if block < blocks {
            // The block is put in its place by one turn for each before it.
            tally.lines(12 + 4 * block);
            tally.check_steps(20);
            tally.lines(5);
        }
    }
    tally.lines(1);
    if left > 0 {
        tally.lines(2);
        for byte in 0..=left {
            tally.check_steps(20);
            tally.check_binaries(4);
            tally.lines(1);
            tally.binary();
            if byte < left {
                tally.lines(3 + 4 * byte);
                tally.check_steps(10);
                tally.lines(3);
            }
        }
        tally.lines(2 + 4 * blocks);
        tally.check_steps(10);
        tally.lines(4);
    }
    tally.lines(2);
}

/// Number of the lines that read so many bytes of a PUSH one by one.
fn unrolled_lines(count: u64) -> u64 {
    match count {
        1 => 4,
        2..=4 => count + 4,
        32 => 44,
        _ => 7 + count + count.div_ceil(4),
    }
}
