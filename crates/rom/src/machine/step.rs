//! One step (main-state-machine §4, §6).

use alloy_primitives::U256;
use zkevm_types::{Counters, ExecutorError};

use super::Machine;
use super::registers::{small, wide};
use crate::fea::{self, Fea, add_fe};
use crate::memory::{CONTEXT_SPAN, EVM_MEMORY, STACK};
use crate::program::{Free, Hash, Jump, Line, MemAlign, NONE, Range, Source, Sum, Term, flags};
use crate::{Abort, EventHandler};
use zkevm_tree::GOLDILOCKS_PRIME as P;

/// Words of a region that addresses must not reach.
const BOUND_MARGIN: i64 = 2048;
/// Largest number that JMPN takes for one.
const JMPN_MAX: u64 = 0xffff_ffff;
/// Indices of the counters (main-state-machine §6.2).
const ARITH: usize = 1;
const BINARY: usize = 2;
const MEM_ALIGN: usize = 3;
const KECCAK: usize = 4;
const PADDING: usize = 5;
const POSEIDON: usize = 6;
const SHA256: usize = 7;

/// What the operations of one step leave to its end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Effects {
    /// How far HASHPOS moves.
    pub(super) hashed_bytes: u64,
    /// What the hash and tree counters gain.
    pub(super) increment: u64,
    /// What the tree gave as a free input, and its counter.
    pub(super) tree_value: Option<(U256, u64)>,
    /// What the binary operation gave as a free input.
    binary: Option<(U256, bool)>,
}

impl Machine<'_, '_> {
    /// Runs one step; returns true if it was the last of the program.
    #[inline(always)]
    pub(super) fn run_step(&mut self, handler: &mut impl EventHandler) -> Result<bool, Abort> {
        let program = self.program;
        let zkpc = self.registers.zkpc;
        let Some(line) = program.lines.get(zkpc as usize) else {
            return Err(Abort::unspecified("a jump out of the program"));
        };
        if line.flags & flags::NATIVE != 0 && self.intrinsics && self.run_native(line, handler)? {
            return Ok(false);
        }
        handler.line(zkpc);
        if self.run_quick(line)? { Ok(false) } else { self.run_general(line, handler) }
    }

    /// Runs a line of any shape.
    #[inline(never)]
    fn run_general(&mut self, line: &Line, handler: &mut impl EventHandler) -> Result<bool, Abort> {
        if self.marks & line.reads != 0 {
            self.resolve_registers(line.reads)?;
        }
        if line.flags & flags::BEFORE != 0 {
            self.run_commands(line.before, handler)?;
        }
        let address = self.address(line)?;
        let mut effects = Effects::default();
        let mut free = fea::ZERO;
        let mut op = fea::ZERO;
        if line.flags & flags::PLAIN_FREE == 0 {
            self.set_sum(line, &mut op);
            if line.free != Free::None {
                free = self.free_input(line, address, &mut effects, handler)?;
                op = self.with_free(line, &op, &mut free)?;
            }
        } else if line.free == Free::Memory {
            op = self.memory.read(address);
        } else {
            free = self.free_input(line, address, &mut effects, handler)?;
            op = free;
        }
        if fea::is_mark(&op) && line.flags & flags::INSPECTS != 0 {
            op = self.tree.resolved(op)?;
        }
        if line.flags & (flags::MEM_WRITE | flags::MEM_CHECK | flags::ASSERT) != 0 {
            self.check_and_store(line, address, &op, &free)?;
        }
        if line.flags & flags::SPECIAL != 0 {
            self.replace_op(line, &mut op);
        }
        if line.flags & flags::OPERATION != 0 {
            self.operate(line, address, &op, &mut effects, handler)?;
        }
        self.set_registers(line, &op);
        self.jump(line, address, &op)?;
        if line.flags & flags::OPERATION != 0 {
            self.count(line, &effects);
            let position = &mut self.registers.small[small::HASHPOS];
            *position = add_fe(*position, effects.hashed_bytes);
        }
        if line.flags & flags::AFTER != 0 && self.step + 1 < self.step_limit {
            self.resolve_registers(line.reads_after)?;
            self.run_commands(line.after, handler)?;
        }
        Ok(line.flags & flags::FINAL != 0)
    }

    /// Puts the roots in the place of the marks in these registers.
    pub(super) fn resolve_registers(&mut self, registers: u8) -> Result<(), Abort> {
        let mut marked = self.marks & registers;
        self.marks &= !registers;
        while marked != 0 {
            if let Some(register) = self.registers.wide.get_mut(marked.trailing_zeros() as usize) {
                *register = self.tree.resolved(*register)?;
            }
            marked &= marked - 1;
        }
        Ok(())
    }

    /// Adds the free input to the sources.
    fn with_free(&self, line: &Line, op: &Fea, free: &mut Fea) -> Result<Fea, Abort> {
        let op = self.tree.resolved(*op)?;
        *free = self.tree.resolved(*free)?;
        Ok(match line.free_scales {
            (1, 0) => fea::add_fea(&op, free),
            (all, low) => with_scaled(&op, free, all, low),
        })
    }

    /// Adds the sources (main-state-machine §4.1) to nothing.
    #[inline(always)]
    fn set_sum(&self, line: &Line, op: &mut Fea) {
        let constant = |place: u32| self.program.constants.get(place as usize).copied().unwrap_or(fea::ZERO);
        match line.sum {
            Sum::Zero => {}
            Sum::Constant(place) => *op = constant(place),
            Sum::Register(place) => *op = self.registers.wide[usize::from(place)],
            Sum::Low(terms, constant) => op[0] = self.low_sum(terms, constant),
            Sum::RegisterAndLow(place, terms, constant) => {
                *op = self.registers.wide[usize::from(place)];
                op[0] = add_fe(op[0], self.low_sum(terms, constant));
            }
            Sum::Terms(terms, place) => *op = self.general_sum(terms, constant(place)),
        }
    }

    /// Adds sources of limb 0.
    #[inline(always)]
    pub(super) fn low_sum(&self, terms: Range, constant: u64) -> u64 {
        let added = |sum: u64, term: &Term| add_fe(sum, scaled(self.element(term.source), term.coefficient));
        match terms.get(&self.program.terms) {
            [] => constant,
            [only] => added(constant, only),
            [first, second] => added(added(constant, first), second),
            more => more.iter().fold(constant, added),
        }
    }

    pub(super) fn general_sum(&self, terms: Range, constant: Fea) -> Fea {
        let mut sum = constant;
        for Term { source, coefficient } in terms.get(&self.program.terms) {
            match source {
                Source::Wide(place) => add_wide(&mut sum, &self.registers.wide[usize::from(*place)], *coefficient),
                Source::RotatedC => {
                    let mut rotated = self.registers.wide[wide::C];
                    rotated.rotate_right(1);
                    add_wide(&mut sum, &rotated, *coefficient);
                }
                low => sum[0] = add_fe(sum[0], scaled(self.element(*low), *coefficient)),
            }
        }
        sum
    }

    /// Returns a source of limb 0; of a wide one its limb 0.
    #[inline]
    fn element(&self, source: Source) -> u64 {
        let registers = &self.registers;
        match source {
            Source::Small(place) => registers.small[usize::from(place)],
            Source::Counter(place) => fea::canonical_fe(registers.counters[usize::from(place)]),
            Source::Step if self.request.no_counters => 0,
            Source::Step => self.step,
            Source::Wide(place) => registers.wide[usize::from(place)][0],
            Source::RotatedC => registers.wide[wide::C][7],
        }
    }

    /// Computes the address (main-state-machine §4.3).
    #[inline(never)]
    pub(super) fn address(&self, line: &Line) -> Result<u64, Abort> {
        let is = |flag| line.flags & flag != 0;
        let mut address = 0;
        if is(flags::ADDRESS) {
            let mut relative = i64::from(line.offset);
            if is(flags::IND | flags::IND_RR | flags::IS_STACK) {
                relative = self.relative(line)?;
            }
            if relative >= 63_488 {
                self.check_bound(line, relative)?;
            }
            if relative < 0 {
                return Err(ExecutorError::AddressNegative.into());
            }
            address = relative as u64;
        }
        if is(flags::USE_CTX) {
            let context = self.registers.small[small::CTX];
            if self.program.rules.context_max.is_some_and(|max| context > max) {
                return Err(Abort::unspecified("too many contexts"));
            }
            address = address.wrapping_add(context.wrapping_mul(CONTEXT_SPAN));
        }
        if is(flags::IS_STACK) {
            address = address.wrapping_add(STACK);
        }
        if is(flags::IS_MEM) {
            address = address.wrapping_add(EVM_MEMORY);
        }
        Ok(address)
    }

    fn relative(&self, line: &Line) -> Result<i64, Abort> {
        let indexed = |coefficient: i32, element: u64| match coefficient {
            0 => Ok(0),
            1 => fea::signed32(element),
            other => fea::signed32(fea::mul_fe(fea::fe_of(other.into()), element)),
        };
        let mut relative = indexed(line.ind, self.registers.wide[wide::E][0])?;
        relative += indexed(line.ind_rr, self.registers.small[small::RR])?;
        relative += i64::from(line.offset);
        if line.flags & flags::IS_STACK != 0 {
            relative += fea::signed32(self.registers.small[small::SP])?;
        }
        Ok(relative)
    }

    #[cold]
    fn check_bound(&self, line: &Line, relative: i64) -> Result<(), Abort> {
        let is_mem = line.flags & flags::IS_MEM != 0;
        let is_out = if self.old_bound {
            relative >= 0x2_0000 || is_mem && relative >= 0x1_0000
        } else {
            relative >= if is_mem { 0x2_0000 } else { 0x1_0000 } - BOUND_MARGIN
        };
        if is_out { Err(ExecutorError::AddressOutOfRange.into()) } else { Ok(()) }
    }

    /// Returns the free input (main-state-machine §5.1).
    #[inline]
    fn free_input(
        &mut self,
        line: &Line,
        address: u64,
        effects: &mut Effects,
        handler: &mut impl EventHandler,
    ) -> Result<Fea, Abort> {
        match line.free {
            Free::Memory => Ok(self.memory.read(address)),
            Free::Command => self.command_fea(line.free_command, handler),
            Free::Binary => {
                let (result, carry) = self.binary_result(line)?;
                effects.binary = Some((result, carry));
                Ok(fea::to_fea(result))
            }
            Free::MemAlign => Ok(fea::to_fea(self.aligned_read()?)),
            Free::Hash => self.hash_input(line, address),
            Free::TreeRead => self.tree_input(effects, handler),
            Free::TreeWrite => self.tree_write(effects, handler),
            Free::None => Ok(fea::ZERO),
            Free::Unclear => Err(ExecutorError::MultipleFreeInputs.into()),
        }
    }

    fn check_and_store(&mut self, line: &Line, address: u64, op: &Fea, free: &Fea) -> Result<(), Abort> {
        if line.flags & flags::ASSERT != 0 && *op != self.registers.wide[wide::A] {
            return Err(ExecutorError::Assert.into());
        }
        let value = if line.flags & flags::ASSUME_FREE != 0 { free } else { op };
        if line.flags & flags::MEM_WRITE != 0 {
            self.memory.write(address, value)?;
        } else if line.flags & flags::MEM_CHECK != 0
            && self.tree.resolved(self.memory.read(address))? != self.tree.resolved(*value)?
        {
            return Err(ExecutorError::Memory.into());
        }
        Ok(())
    }

    /// Applies the options of the request that replace the sum (main-state-machine §5.9).
    #[cold]
    fn replace_op(&self, line: &Line, op: &mut Fea) {
        if line.special & flags::CHECK_FIRST_TX_TYPE != 0 && self.request.skip_first_change_l2_block {
            *op = [1; 8];
        }
        if line.special & flags::WRITE_BLOCK_INFO_ROOT != 0 && self.request.skip_write_block_info_root {
            *op = fea::ZERO;
        }
    }

    /// Runs the operations of a line (main-state-machine §5.3 to §5.7).
    fn operate(
        &mut self,
        line: &Line,
        address: u64,
        op: &Fea,
        effects: &mut Effects,
        handler: &mut impl EventHandler,
    ) -> Result<(), Abort> {
        if line.flags & (flags::TREE_READ | flags::TREE_WRITE) != 0 {
            self.check_soon();
        }
        if line.flags & flags::TREE_READ != 0 {
            self.check_tree_read(line, op, effects, handler)?;
        }
        if line.flags & flags::TREE_WRITE != 0 {
            self.check_tree_write(line, op)?;
        }
        if let Some((machine, what)) = line.hash {
            self.hash(machine, what, address, op, effects)?;
        }
        if let Some(equation) = line.arith {
            self.check_equation(equation, op)?;
        }
        if line.binary.is_some() {
            let (result, carry) = match effects.binary {
                Some(result) => result,
                None => self.binary_result(line)?,
            };
            if line.flags & flags::FREE_ONLY == 0 && fea::to_scalar(op)? != result {
                return Err(self.binary_mismatch(line));
            }
            self.carry = carry;
        }
        match line.mem_align {
            None => Ok(()),
            Some(MemAlign::Read) if line.flags & flags::FREE_ONLY != 0 => Ok(()),
            Some(kind) => self.check_alignment(kind, op),
        }
    }

    /// Sets the registers (main-state-machine §6.1).
    #[inline]
    fn set_registers(&mut self, line: &Line, op: &Fea) {
        let registers = &mut self.registers;
        let mut sets = line.sets_wide;
        if fea::is_mark(op) {
            self.marks |= sets;
        } else {
            self.marks &= !sets;
        }
        let is_low = line.flags & flags::LOW_ONLY != 0;
        while sets != 0 {
            if let Some(register) = registers.wide.get_mut(sets.trailing_zeros() as usize) {
                if is_low {
                    // Limb by limb: a copy of what was just written in part waits until it is in memory.
                    register[0] = op[0];
                    register[1..].fill(0);
                } else {
                    *register = *op;
                }
            }
            sets &= sets - 1;
        }
        if line.flags & flags::SETS_SMALL != 0 {
            self.set_small_registers(line, op[0]);
        }
        if line.flags & flags::SPECIAL != 0 {
            self.set_special_registers(line);
        }
    }

    pub(super) fn set_small_registers(&mut self, line: &Line, value: u64) {
        let small = &mut self.registers.small;
        let is_set = |place: usize| line.sets_small >> place & 1 == 1;
        if is_set(small::RCX) {
            small[small::RCX] = value;
        } else if line.flags & flags::REPEAT != 0 {
            self.repeats_left = small[small::RCX];
            small[small::RCX] = small[small::RCX].saturating_sub(1);
        }
        for place in [small::CTX, small::SP, small::PC, small::GAS, small::RR, small::HASHPOS] {
            if is_set(place) {
                small[place] = value;
            }
        }
        if !is_set(small::SP) && line.inc_stack != 0 {
            small[small::SP] = add_fe(small[small::SP], fea::fe_of(line.inc_stack.into()));
        }
        if is_set(small::CTX) {
            self.memory.enter(value);
        }
    }

    /// Applies the options of the request that set registers (main-state-machine §6.1).
    #[cold]
    fn set_special_registers(&mut self, line: &Line) {
        if let Some(from) = self.request.from
            && line.special & flags::CHECK_AND_SAVE_FROM != 0
            && line.sets_wide & 1 == 0
        {
            self.registers.wide[wide::A] = fea::to_fea(U256::from_be_slice(from.as_slice()));
            self.marks &= !(1 << wide::A);
        }
        let sets_c = line.sets_wide >> wide::C & 1 == 1;
        if line.special & flags::VERIFY_MERKLE_PROOF_END != 0 && !sets_c && self.request.skip_verify_l1_info_root {
            self.registers.wide[wide::C] = fea::to_fea(self.request.l1_info_root);
            self.marks &= !(1 << wide::C);
        }
    }

    /// Moves to the next line (main-state-machine §6.3).
    #[inline]
    fn jump(&mut self, line: &Line, address: u64, op: &Fea) -> Result<(), Abort> {
        let next = self.registers.zkpc.wrapping_add(1);
        if line.jump == Jump::None {
            let stays = line.flags & flags::REPEAT != 0 && self.repeats_left != 0;
            if !stays {
                self.registers.zkpc = next;
            }
            return Ok(());
        }
        let target = if line.flags & flags::USE_JUMP != 0 { line.jump_to } else { address_line(address) };
        let taken = match line.jump {
            Jump::IfNegative => self.is_negative(line, op[0])?,
            Jump::IfCarry => self.carry,
            Jump::IfZero => op[0] == 0,
            Jump::Call => {
                if line.sets_small >> small::RR & 1 == 0 {
                    self.registers.small[small::RR] = next.into();
                }
                true
            }
            Jump::Return => {
                self.registers.zkpc = address_line(self.registers.small[small::RR]);
                return Ok(());
            }
            Jump::Always | Jump::None => true,
        };
        let never_else = || line.flags & flags::UNSIGNED_ELSE != 0 && self.request.from.is_some();
        self.registers.zkpc = if taken || never_else() {
            target
        } else if line.flags & flags::USE_ELSE != 0 {
            line.else_to
        } else {
            next
        };
        Ok(())
    }

    /// Decides JMPN, and remembers a reservation before (main-state-machine §6.5).
    #[inline(always)]
    pub(super) fn is_negative(&mut self, line: &Line, element: u64) -> Result<bool, Abort> {
        if line.reserve > 0 {
            self.reserve(usize::from(line.reserve) - 1, element);
        }
        if element >= P - JMPN_MAX {
            Ok(true)
        } else if element <= JMPN_MAX {
            Ok(false)
        } else {
            Err(ExecutorError::JmpnOutOfRange.into())
        }
    }

    #[inline(never)]
    fn reserve(&mut self, counter: usize, left: u64) {
        let planned = self.program.limits.planned.to_array()[counter];
        let reserve = i128::from(planned) - i128::from(fea::signed(left));
        let mut reserved = self.reserved.to_array();
        if reserve > i128::from(reserved[counter]) {
            reserved[counter] = u64::try_from(reserve).unwrap_or(u64::MAX);
            self.reserved = Counters::from_array(reserved);
        }
    }

    /// Moves the counters (main-state-machine §6.2).
    fn count(&mut self, line: &Line, effects: &Effects) {
        if self.request.no_counters {
            return;
        }
        let counters = &mut self.registers.counters;
        let writes = line.flags & flags::TREE_WRITE != 0;
        let digest = match line.hash {
            Some((machine, Hash::Digest)) => Some(machine),
            _ => None,
        };
        let poseidon_digest = digest == Some(crate::program::HashMachine::Poseidon);
        counters[ARITH] += u64::from(line.arith.is_some());
        counters[BINARY] += u64::from(line.binary.is_some() || writes || poseidon_digest);
        counters[MEM_ALIGN] += u64::from(line.mem_align.is_some());
        match digest {
            Some(crate::program::HashMachine::Keccak) => counters[KECCAK] += effects.increment,
            Some(crate::program::HashMachine::Poseidon) => counters[PADDING] += effects.increment,
            Some(crate::program::HashMachine::Sha256) => counters[SHA256] += effects.increment,
            None => {}
        }
        if writes || poseidon_digest || line.flags & flags::TREE_READ != 0 {
            counters[POSEIDON] += effects.increment;
        }
    }
}

/// Returns the line at an address; one that no program has if it is out of range.
#[inline]
pub(super) fn address_line(address: u64) -> u32 {
    u32::try_from(address).unwrap_or(NONE)
}

#[inline]
fn scaled(element: u64, coefficient: u64) -> u64 {
    match coefficient {
        1 => element,
        MINUS_ONE => negated(element),
        other => fea::mul_fe(element, other),
    }
}

const MINUS_ONE: u64 = P - 1;

#[inline]
fn negated(element: u64) -> u64 {
    if element == 0 { 0 } else { P - element }
}

#[inline]
fn add_wide(sum: &mut Fea, register: &Fea, coefficient: u64) {
    let limbs = sum.iter_mut().zip(register);
    match coefficient {
        1 => limbs.for_each(|(limb, element)| *limb = add_fe(*limb, *element)),
        MINUS_ONE => limbs.for_each(|(limb, element)| *limb = fea::sub_fe(*limb, *element)),
        other => limbs.for_each(|(limb, element)| *limb = add_fe(*limb, fea::mul_fe(*element, other))),
    }
}

/// Adds a free input with coefficients of its own (main-state-machine §4, step 5).
fn with_scaled(op: &Fea, free: &Fea, all: u64, low: u64) -> Fea {
    let mut sum = *op;
    if all != 0 {
        sum = fea::add_fea(&sum, &fea::scale_fea(free, all));
    }
    sum[0] = add_fe(sum[0], fea::mul_fe(free[0], low));
    sum
}
