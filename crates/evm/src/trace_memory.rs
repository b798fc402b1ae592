//! What of memory changed from one step of a trace to the next (executor-service §8.5).

use std::ops::Range;

use revm::bytecode::opcode;
use revm::interpreter::Interpreter;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::MemoryTr;
use revm::primitives::U256;

const WORD_BYTES: usize = 32;

/// The memory of the last step that shows it, and where the opcodes since may have written.
#[derive(Debug, Default)]
pub(super) struct MemoryChanges {
    previous: Vec<u8>,
    /// Frame whose memory `previous` is.
    frame: Option<u64>,
    written: Written,
}

/// Where in the memory of its frame opcodes may have written.
#[derive(Clone, Debug, Default)]
enum Written {
    /// Anywhere.
    #[default]
    Anywhere,
    /// There.
    Part(Range<usize>),
}

impl Written {
    /// Returns what both may have written.
    fn and(self, more: Self) -> Self {
        match (self, more) {
            (Self::Anywhere, _) | (_, Self::Anywhere) => Self::Anywhere,
            (Self::Part(part), Self::Part(more)) if part.is_empty() => Self::Part(more),
            (Self::Part(part), Self::Part(more)) if more.is_empty() => Self::Part(part),
            (Self::Part(a), Self::Part(b)) => Self::Part(a.start.min(b.start)..a.end.max(b.end)),
        }
    }
}

impl MemoryChanges {
    /// Returns the changed part of memory, and keeps memory for the next step. The first step shows all of it, and does not
    /// count as one before the next.
    pub(super) fn next(
        &mut self,
        interpreter: &Interpreter<EthInterpreter>,
        frame: Option<u64>,
        is_first: bool,
    ) -> Range<usize> {
        let size = interpreter.memory.size();
        if is_first {
            return 0..size;
        }
        let memory = interpreter.memory.slice(0..size);
        let is_known = self.frame.is_some() && self.frame == frame && size >= self.previous.len();
        let part = match &self.written {
            Written::Part(part) if is_known => part.clone(),
            Written::Anywhere | Written::Part(_) => 0..usize::MAX,
        };
        let range = changed_range(&self.previous, &memory, part.clone());
        if is_known {
            let old_len = self.previous.len();
            let part = part.start.min(old_len)..part.end.min(old_len);
            self.previous[part.clone()].copy_from_slice(&memory[part]);
            self.previous.extend_from_slice(&memory[old_len..]);
        } else {
            self.previous.clear();
            self.previous.extend_from_slice(&memory);
        }
        self.frame = frame;
        self.written = Written::Part(0..0);
        range
    }

    /// Notes what an opcode may write; `operands` are those on top of the stack before it, topmost first.
    pub(super) fn note_opcode(&mut self, op: u8, operands: &[U256]) {
        let area = |offset: Option<&U256>, length: usize| {
            let start = offset.map_or(usize::MAX, |offset| offset.saturating_to());
            Written::Part(start..start.saturating_add(length))
        };
        let length = |at: usize| operands.get(at).map_or(0, |length| length.saturating_to());
        let written = match op {
            opcode::MSTORE => area(operands.first(), WORD_BYTES),
            opcode::MSTORE8 => area(operands.first(), 1),
            opcode::CALLDATACOPY | opcode::CODECOPY | opcode::RETURNDATACOPY => area(operands.first(), length(2)),
            opcode::EXTCODECOPY => area(operands.get(1), length(3)),
            opcode::CALL
            | opcode::CALLCODE
            | opcode::DELEGATECALL
            | opcode::STATICCALL
            | opcode::CREATE
            | opcode::CREATE2 => Written::Anywhere,
            _ => return,
        };
        self.written = std::mem::take(&mut self.written).and(written);
    }

    /// Notes that memory may have been written behind the back of the opcodes.
    pub(super) fn note_anything(&mut self) {
        self.written = Written::Anywhere;
    }

    /// Forgets the memory: the next step shows all of its own.
    pub(super) fn clear(&mut self) {
        self.previous.clear();
        self.frame = None;
    }

    /// Returns the bytes it keeps.
    pub(super) fn bytes(&self) -> usize {
        self.previous.capacity()
    }
}

/// Returns the range of `new` that differs from `old`, empty if only zero bytes were appended. Of what both have, only
/// `part` can differ.
fn changed_range(old: &[u8], new: &[u8], part: Range<usize>) -> Range<usize> {
    if new.len() < old.len() {
        return 0..new.len();
    }
    let (kept, appended) = new.split_at(old.len());
    let (start, end) = (part.start.min(old.len()), part.end.min(old.len()));
    let (kept, old_kept) = (&kept[start..end], &old[start..end]);
    let differs =
        || kept.iter().zip(old_kept).enumerate().filter(|(_, (new, old))| new != old).map(|(at, _)| at + start);
    let first_changed = differs().next();
    let last_changed = || kept.iter().zip(old_kept).rposition(|(new, old)| new != old).map(|at| at + start);
    let first_appended = || appended.iter().position(|&byte| byte != 0).map(|at| at + old.len());
    let last_appended = appended.iter().rposition(|&byte| byte != 0).map(|at| at + old.len());
    match (first_changed.or_else(first_appended), last_appended.or_else(last_changed)) {
        (Some(first), Some(last)) => first..last + 1,
        _ => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_shown() {
        let everywhere = || 0..usize::MAX;
        assert_eq!(changed_range(&[], &[0, 0], everywhere()), 0..0);
        assert_eq!(changed_range(&[1, 2, 3, 4], &[1, 0, 3, 0], everywhere()), 1..4);
        assert_eq!(changed_range(&[1, 2, 3, 4], &[1, 0, 3, 4, 0, 5, 0], 1..2), 1..6);
        assert_eq!(changed_range(&[1, 2, 3, 4], &[1, 2], everywhere()), 0..2);
        assert_eq!(changed_range(&[1, 2], &[1, 2, 0, 9], 7..9), 3..4);
    }

    #[test]
    fn what_several_opcodes_wrote_is_looked_at() {
        let written = |parts: &[(u64, u64)]| {
            let mut changes = MemoryChanges { written: Written::Part(0..0), ..MemoryChanges::default() };
            for &(offset, length) in parts {
                let operands = [offset, 0, length].map(U256::from);
                changes.note_opcode(opcode::CALLDATACOPY, &operands);
            }
            match changes.written {
                Written::Part(part) => part,
                Written::Anywhere => 0..usize::MAX,
            }
        };
        assert_eq!(written(&[(64, 32), (7, 1)]), 7..96);
        assert_eq!(written(&[(900, 0), (7, 1), (5_000, 0)]), 7..8);
    }
}
