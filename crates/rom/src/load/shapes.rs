//! Shapes of lines: most lines of a ROM do one of a few things, and those have code of their own (`machine/quick.rs`).
//!
//! A shape is given only where that code does all that the line does; whatever it does not expect it leaves to the general way.

use super::build::Build;
use crate::program::{
    Addressing, Binary, Command, CommandId, Free, Hash, Jump, Line, NONE, Shape, Source, Sum, Term, flags,
};

/// Addresses from here on are checked against bounds.
const UNCHECKED_MAX: i32 = 63_488;
/// What only the general way does.
const GENERAL_FLAGS: u32 = flags::MEM_CHECK
    | flags::ASSUME_FREE
    | flags::ASSERT
    | flags::TREE_READ
    | flags::TREE_WRITE
    | flags::UNSIGNED_ELSE
    | flags::REPEAT
    | flags::SPECIAL
    | flags::FINAL
    | flags::BEFORE
    | flags::AFTER;
/// Nodes of a command that is evaluated the quick way, at most.
const NODES_MAX: usize = 16;

impl Build {
    /// Gives lines their shapes. All else is set.
    pub(super) fn shape_lines(&mut self) {
        for address in 0..self.lines.len() {
            let Some(mut line) = self.lines.get(address).cloned() else { return };
            let next = address as u32 + 1;
            line.otherwise = if line.flags & flags::USE_ELSE != 0 { line.else_to } else { next };
            self.keep_limb_0(&mut line);
            line.shape = self.shape_of(&mut line).unwrap_or(Shape::General);
            if let Some(place) = self.lines.get_mut(address) {
                *place = line;
            }
        }
    }

    /// Leaves the other limbs of a sum out where nothing looks at them.
    fn keep_limb_0(&mut self, line: &mut Line) {
        const OTHERS: u32 = GENERAL_FLAGS | flags::OPERATION | flags::MEM_WRITE;
        if line.flags & OTHERS != 0 || line.sets_wide != 0 || line.free != Free::None {
            return;
        }
        let wide = |register: u8| Term { source: Source::Wide(register), coefficient: 1 };
        let (terms, constant) = match line.sum {
            Sum::Zero | Sum::Low(..) => return,
            Sum::Constant(place) => (Vec::new(), self.low_constant(place)),
            Sum::Register(register) => (vec![wide(register)], 0),
            Sum::RegisterAndLow(register, low, constant) => {
                let mut terms = low.get(&self.terms).to_vec();
                terms.push(wide(register));
                (terms, constant)
            }
            Sum::Terms(terms, place) => (terms.get(&self.terms).to_vec(), self.low_constant(place)),
        };
        let Some(range) = self.add_terms(&terms) else { return };
        line.reads |= wide_sources(&terms);
        line.sum = Sum::Low(range, constant);
        line.flags |= flags::LOW_ONLY;
    }

    fn add_terms(&mut self, terms: &[Term]) -> Option<crate::program::Range> {
        let range = crate::program::Range { first: self.terms.len() as u32, count: u16::try_from(terms.len()).ok()? };
        self.terms.extend(terms);
        Some(range)
    }

    fn low_constant(&self, place: u32) -> u64 {
        self.constants.get(place as usize).map_or(0, |constant| constant[0])
    }

    /// Returns the shape of a line, `None` if it has none of its own.
    fn shape_of(&self, line: &mut Line) -> Option<Shape> {
        if line.flags & GENERAL_FLAGS != 0 || line.arith.is_some() || line.mem_align.is_some() {
            return None;
        }
        self.set_target(line)?;
        set_addressing(line);
        line.touches |= line.reads;
        let shape = self.shape_by_input(line)?;
        let writes = line.flags & flags::MEM_WRITE != 0;
        let makes_address = writes || matches!(shape, Shape::Load | Shape::HashByte);
        // An address that nobody uses can be out of range all the same.
        let is_safe = line.addressing == Addressing::Global || line.flags & (flags::ADDRESS | flags::USE_CTX) == 0;
        (makes_address || is_safe).then_some(shape)
    }

    fn shape_by_input(&self, line: &mut Line) -> Option<Shape> {
        let writes = line.flags & flags::MEM_WRITE != 0;
        if line.flags & flags::OPERATION != 0 {
            return self.operation(line).filter(|_| !writes);
        }
        if line.free == Free::None {
            return Some(match line.sum {
                Sum::Zero if line.sets_wide == 0 && !writes => {
                    line.sum = Sum::Low(Default::default(), 0);
                    Shape::Low
                }
                Sum::Zero => {
                    line.sum = Sum::Low(Default::default(), 0);
                    Shape::SetLow
                }
                Sum::Low(..) if line.sets_wide == 0 && !writes => Shape::Low,
                Sum::Low(..) => Shape::SetLow,
                Sum::Constant(_) => Shape::Constant,
                Sum::Register(register) => {
                    line.touches |= 1 << register;
                    Shape::Copy
                }
                Sum::RegisterAndLow(..) => Shape::CopyAndLow,
                Sum::Terms(..) => Shape::Terms,
            });
        }
        if line.flags & flags::PLAIN_FREE == 0 || writes {
            return None;
        }
        match line.free {
            Free::Memory => Some(Shape::Load),
            Free::Command if self.is_plain(line.free_command) => Some(Shape::Command),
            _ => None,
        }
    }

    /// Returns the shape of a line with an operation.
    fn operation(&self, line: &Line) -> Option<Shape> {
        const PLAIN: u32 = flags::PLAIN_FREE | flags::FREE_ONLY;
        if line.flags & PLAIN != PLAIN {
            return None;
        }
        match (line.free, line.binary, line.hash) {
            (Free::Binary, Some(_), None) => Some(Shape::Binary),
            (Free::Hash, None, Some((_, Hash::Byte))) => Some(Shape::HashByte),
            _ => None,
        }
    }

    /// Sets where a jump goes; `None` if only the general way knows.
    fn set_target(&self, line: &mut Line) -> Option<()> {
        let is_fixed =
            line.flags & (flags::IND | flags::IND_RR | flags::IS_STACK | flags::USE_CTX | flags::IS_MEM) == 0;
        line.target = match line.jump {
            Jump::None | Jump::Return => NONE,
            _ if line.flags & flags::USE_JUMP != 0 => line.jump_to,
            _ if is_fixed && (0..UNCHECKED_MAX).contains(&line.offset) => line.offset as u32,
            _ => return None,
        };
        Some(())
    }

    /// True if a command is a number out of registers, memory and arithmetic, and does nothing.
    fn is_plain(&self, id: CommandId) -> bool {
        let is_small = |command: &Command| matches!(command, Command::Register(register) if !register.is_wide());
        let mut open = vec![id];
        let mut nodes = 0;
        while let Some(id) = open.pop() {
            nodes += 1;
            let Some(command) = self.commands.get(id as usize).filter(|_| nodes <= NODES_MAX) else { return false };
            match command {
                // Its value is a field element.
                _ if nodes == 1 && is_small(command) => return false,
                Command::Number(_) | Command::Register(_) | Command::Memory { .. } => {}
                Command::Binary(Binary::And | Binary::Or, ..) => return false,
                Command::Binary(_, left, right) => open.extend([left, right]),
                Command::If(operands) => open.extend(operands),
                _ => return false,
            }
        }
        true
    }
}

/// Says how the address of a line is made; one that needs a check is left to the general way to make addresses.
fn set_addressing(line: &mut Line) {
    const PARTS: u32 = flags::ADDRESS | flags::USE_CTX | flags::IND | flags::IND_RR | flags::IS_STACK | flags::IS_MEM;
    const LOCAL: u32 = flags::ADDRESS | flags::USE_CTX;
    const STACK: u32 = LOCAL | flags::IS_STACK;
    const INDEXED: u32 = LOCAL | flags::IS_MEM | flags::IND;
    line.addressing = match line.flags & PARTS {
        flags::ADDRESS if (0..UNCHECKED_MAX).contains(&line.offset) => Addressing::Global,
        LOCAL if (0..UNCHECKED_MAX).contains(&line.offset) => Addressing::Local,
        STACK => Addressing::Stack,
        INDEXED if line.ind == 1 => Addressing::Indexed,
        _ => Addressing::General,
    };
}

fn wide_sources(terms: &[Term]) -> u8 {
    terms.iter().fold(0, |sources, term| match term.source {
        Source::Wide(register) => sources | 1 << register,
        Source::RotatedC => sources | 1 << 2,
        _ => sources,
    })
}
