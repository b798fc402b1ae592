//! What a line looks at: registers whose limbs matter, and whether those of the sum do. What is only carried from one place to
//! another may be the mark of a root that nobody hashed.

use super::build::Build;
use crate::Register;
use crate::program::{Command, CommandId, EventCommand, Free, Hash, Jump, Line, NONE, Range, Source, Sum, flags};

const A: u8 = 1;
const C: u8 = 1 << 2;
const D: u8 = 1 << 3;
const E: u8 = 1 << 4;
/// A, B and C: what keys of trees are made of.
const KEY: u8 = 0b111;
/// A to E: what operations are made of.
const OPERANDS: u8 = 0b1_1111;

impl Build {
    /// Says what a line looks at. All else of the line is set.
    pub(super) fn mark_reads(&self, line: &mut Line) {
        let is = |flag| line.flags & flag != 0;
        let mut reads = self.reads_of_list(line.before) | self.reads_of(line.free_command);
        if let Sum::RegisterAndLow(register, ..) = line.sum {
            reads |= 1 << register;
        }
        if let Sum::Terms(terms, _) = line.sum {
            for term in terms.get(&self.terms) {
                reads |= match term.source {
                    Source::Wide(register) => 1 << register,
                    Source::RotatedC => C,
                    Source::Small(_) | Source::Counter(_) | Source::Step => 0,
                };
            }
        }
        let operates = line.binary.is_some() || line.arith.is_some() || line.mem_align.is_some();
        let looks = [
            (is(flags::IND), E),
            (is(flags::ASSERT), A),
            (is(flags::TREE_READ), KEY),
            (is(flags::TREE_WRITE), KEY | D),
            (matches!(line.hash, Some((_, Hash::Bytes))), D),
            (operates, OPERANDS),
        ];
        line.reads = looks.iter().filter(|(looks, _)| *looks).fold(reads, |reads, (_, registers)| reads | registers);
        line.reads_after = self.reads_of_list(line.after);
        let is_carried_root = is(flags::TREE_WRITE) && is(flags::FREE_ONLY);
        let inspects = operates
            || line.hash.is_some()
            || is(flags::ASSERT | flags::MEM_CHECK | flags::TREE_READ)
            || is(flags::TREE_WRITE) && !is_carried_root
            || is(flags::MEM_WRITE) && is(flags::IS_STACK | flags::IS_MEM)
            || matches!(line.jump, Jump::IfNegative | Jump::IfZero)
            || line.sets_small != 0;
        if inspects {
            line.flags |= flags::INSPECTS;
        }
        if line.free == Free::None && matches!(line.sum, Sum::Low(..)) {
            line.flags |= flags::LOW_ONLY;
        }
        if line.before.count > 0 {
            line.flags |= flags::BEFORE;
        }
        if line.after.count > 0 {
            line.flags |= flags::AFTER;
        }
        if line.free != Free::None && line.sum == Sum::Zero && line.free_scales == (1, 0) {
            line.flags |= flags::PLAIN_FREE;
        }
    }

    fn reads_of_list(&self, commands: Range) -> u8 {
        commands.get(&self.commands).iter().fold(0, |reads, command| match command {
            Command::Argument(root) => reads | self.reads_of(*root),
            _ => reads,
        })
    }

    /// Returns the registers that a command names.
    fn reads_of(&self, id: CommandId) -> u8 {
        if id == NONE {
            return 0;
        }
        match self.commands.get(id as usize) {
            Some(Command::Register(register)) => bit(*register),
            Some(Command::Set { value, .. } | Command::Unary(_, value) | Command::Argument(value)) => {
                self.reads_of(*value)
            }
            Some(Command::Binary(_, left, right)) => self.reads_of(*left) | self.reads_of(*right),
            Some(Command::If(operands)) => operands.iter().fold(0, |reads, id| reads | self.reads_of(*id)),
            Some(Command::Function(_, arguments)) => arguments.iter().fold(0, |reads, id| reads | self.reads_of(*id)),
            Some(Command::BitLength(first, count)) => self.reads_of_list(Range { first: *first, count: *count }),
            // Listeners resolve what they read.
            Some(Command::Event(EventCommand::Opcode(code))) => self.reads_of(*code),
            _ => 0,
        }
    }
}

fn bit(register: Register) -> u8 {
    match register {
        Register::A => 1,
        Register::B => 1 << 1,
        Register::C => 1 << 2,
        Register::D => 1 << 3,
        Register::E => 1 << 4,
        Register::Sr => 1 << 5,
        _ => 0,
    }
}
