//! Lines that are known by their digest: native code may take their place.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::build::Build;
use crate::program::{Command, CommandId, Line, NONE, ProductLoop, Range, Sum, flags};

/// SHA-256 of what the lines of the loop do, as [`Build::text_of`] writes it, and the equations that a doubling takes: ROMs of
/// forks 6 and 8 to 12, and of fork 7, whose doublings are not checked.
const PRODUCT_LOOPS: [(&str, u64); 2] = [
    ("63600a391244846e04a0e08743f5be1a3ab4c1f820419f1fc28dd7e828451b87", 1),
    ("b0b5c5a417b98350f7c387c615dbbf7f63f8cdff7d941538521e1c2099cf4d66", 0),
];
/// Names of the variables that the loop uses begin with this.
const PRODUCT_PREFIX: &str = "mulPointEc_";
/// Flags that say what a line does: those after them follow from them.
const KNOWN_FLAGS: u32 = flags::PRODUCT_LOOP - 1;
/// Lines of the loop, at most.
const LINES_MAX: usize = 64;

impl Build {
    /// Marks the loop over the bits of a product of points, if its lines are known; returns its variables.
    pub(super) fn product_loop(&mut self) -> Option<ProductLoop> {
        let (start, end) = (*self.labels.get("mulPointEc_loop")?, *self.labels.get("mulPointEc_end_loop")?);
        let lines = self.lines.get(start as usize..end as usize).filter(|lines| lines.len() <= LINES_MAX)?;
        let mut hash = Sha256::new();
        lines.iter().for_each(|line| hash.update(self.text_of(line, start)));
        let digest: String = hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let (_, doubling_ariths) = *PRODUCT_LOOPS.iter().find(|(known, _)| *known == digest)?;
        let [x1, y1, x2, y2, k1, k2, sum_x, sum_y, both_x, both_y, both_empty] = self.offsets_of([
            "mulPointEc_p1_x",
            "mulPointEc_p1_y",
            "mulPointEc_p2_x",
            "mulPointEc_p2_y",
            "mulPointEc_k1",
            "mulPointEc_k2",
            "mulPointEc_p3_x",
            "mulPointEc_p3_y",
            "mulPointEc_p12_x",
            "mulPointEc_p12_y",
            "mulPointEc_p12_empty",
        ])?;
        self.lines.get_mut(start as usize)?.flags |= flags::PRODUCT_LOOP;
        let operands = [x1, y1, x2, y2, k1, k2];
        Some(ProductLoop { operands, sum: [sum_x, sum_y], both: [both_x, both_y], both_empty, doubling_ariths })
    }

    /// Writes what a line does: addresses from `start` on, variables by name.
    fn text_of(&self, line: &Line, start: u32) -> String {
        let flags = line.flags & KNOWN_FLAGS;
        let relative = |address: u32| if address == NONE { None } else { Some(i64::from(address) - i64::from(start)) };
        let Line {
            sum,
            free,
            jump,
            sets_wide,
            sets_small,
            inc_stack,
            binary,
            arith,
            mem_align,
            hash,
            reserve,
            special,
            ..
        } = line;
        let mut text = format!(
            "{flags:x} {free:?} {jump:?} {sets_wide:x} {sets_small:x} {inc_stack} {binary:?} {arith:?} {mem_align:?} {hash:?} \
             {reserve} {special} {} {} {:?} {} {:?} {:?}",
            line.ind,
            line.ind_rr,
            line.free_scales,
            self.name_of(line.offset as u32),
            relative(line.jump_to),
            relative(line.else_to),
        );
        let constant = match sum {
            Sum::Terms(terms, constant) => {
                let _ = write!(text, " {:?}", terms.get(&self.terms));
                self.constants.get(*constant as usize)
            }
            Sum::Constant(constant) => self.constants.get(*constant as usize),
            Sum::Low(terms, constant) => {
                let _ = write!(text, " {:?} {constant}", terms.get(&self.terms));
                None
            }
            Sum::RegisterAndLow(register, terms, constant) => {
                let _ = write!(text, " {register} {:?} {constant}", terms.get(&self.terms));
                None
            }
            Sum::Zero | Sum::Register(_) => {
                let _ = write!(text, " {sum:?}");
                None
            }
        };
        let _ = write!(text, " {constant:?}");
        self.write_command(&mut text, line.free_command);
        for commands in [line.before, line.after] {
            self.write_commands(&mut text, commands);
        }
        text.push('\n');
        text
    }

    fn write_commands(&self, text: &mut String, commands: Range) {
        for command in commands.get(&self.commands) {
            if let Command::Argument(root) = command {
                self.write_command(text, *root);
            }
        }
    }

    /// Writes a command and what is below it.
    fn write_command(&self, text: &mut String, id: CommandId) {
        let Some(command) = self.commands.get(id as usize) else { return };
        let below: &[CommandId] = match command {
            Command::Set { value, .. } => &[*value],
            Command::Unary(_, operand) => &[*operand],
            Command::Binary(_, left, right) => &[*left, *right],
            Command::If(operands) => operands,
            Command::Function(_, arguments) => arguments,
            _ => &[],
        };
        let _ = match command {
            Command::Number(place) => write!(text, " ({:?}", self.numbers.get(*place as usize)),
            Command::Memory { offset, use_ctx } => write!(text, " ({} {use_ctx}", self.name_of(*offset)),
            Command::Unary(operation, _) => write!(text, " ({operation:?}"),
            Command::Binary(operation, ..) => write!(text, " ({operation:?}"),
            Command::If(_) => write!(text, " (if"),
            Command::Function(function, _) => write!(text, " ({function:?}"),
            Command::Set { variable, declares, .. } => write!(text, " (set {variable} {declares}"),
            other => write!(text, " ({other:?}"),
        };
        below.iter().filter(|id| **id != NONE).for_each(|id| self.write_command(text, *id));
        text.push(')');
    }

    /// Returns the name of the loop's variable at an offset, else the number.
    fn name_of(&self, offset: u32) -> String {
        let mut names = self.memory_variables.iter().filter(|(name, _)| name.starts_with(PRODUCT_PREFIX));
        names.find(|(_, place)| place.0 == offset).map_or_else(|| offset.to_string(), |(name, _)| name.clone())
    }
}
