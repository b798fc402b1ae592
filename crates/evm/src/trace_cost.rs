//! What the steps of a trace take in memory, and about what they will take in the answer, while they are recorded.

use std::collections::HashMap;

use revm::primitives::{Address, U256};
use zkevm_types::{NewStep, TraceSteps};

use super::interrupt::Interrupt;

/// Bytes after which what was taken is told.
const BYTES_AT_A_TIME: usize = 64 << 10;
/// Bytes of a step in the answer without stack, memory, return data, call data, value and storage: fixed fields, and numbers
/// of usual size.
const STEP_BYTES: usize = 152;
/// Bytes of a step that is only counted.
const EMPTY_STEP_BYTES: usize = 9;
/// Bytes around a string in the answer.
const FIELD_BYTES: usize = 2;
/// Bytes around an entry of a map.
const ENTRY_BYTES: usize = 2 + 2 * FIELD_BYTES;

/// Counts the bytes of a growing trace.
#[derive(Debug, Default)]
pub(super) struct AnswerCost {
    /// Bytes of the answer that have not been taken yet.
    answer_bytes: usize,
    /// Memory that has been taken.
    memory_taken: usize,
    /// For each height of the stack, the bytes of the answer for the words up to there.
    stack: Vec<usize>,
    /// Of each account, its slots with the bytes of their values.
    slots: HashMap<Address, AccountSlots>,
    slot_count: usize,
}

#[derive(Debug, Default)]
struct AccountSlots {
    value_bytes: HashMap<U256, usize>,
    all_bytes: usize,
}

impl AnswerCost {
    /// Adds a step to the trace, counting it.
    pub(super) fn push(&mut self, steps: &mut TraceSteps, step: NewStep<'_>) {
        let (stack, value) = (step.stack, step.frame.value);
        let own = step.memory.len() + step.return_data.len() + step.contract_data.len();
        let kept = steps.push(step);
        self.stack.truncate(kept);
        let mut bytes = self.stack.last().copied().unwrap_or_default();
        for word in stack.get(kept..).unwrap_or_default() {
            bytes += FIELD_BYTES + hex_digits(word);
            self.stack.push(bytes);
        }
        self.answer_bytes += STEP_BYTES + bytes + own + hex_digits(&value);
    }

    /// Counts a step that is only counted.
    pub(super) fn add_empty(&mut self) {
        self.answer_bytes += EMPTY_STEP_BYTES;
    }

    /// Counts a slot that was read or written, and all of its account if the step shows them.
    pub(super) fn note_slot(&mut self, address: Address, slot: U256, value: U256, shows: bool) {
        let account = self.slots.entry(address).or_default();
        match account.value_bytes.insert(slot, hex_digits(&value)) {
            Some(old) => account.all_bytes -= old,
            None => {
                account.all_bytes += ENTRY_BYTES + hex_digits(&slot);
                self.slot_count += 1;
            }
        }
        account.all_bytes += hex_digits(&value);
        if shows {
            self.answer_bytes += account.all_bytes;
        }
    }

    /// Takes what the trace has grown by since the last time, once it is worth it. True if the batch is to stop.
    pub(super) fn take(&mut self, steps: &TraceSteps, other_bytes: usize, interrupt: &mut Interrupt) -> bool {
        let slot_bytes = self.slot_count * 2 * size_of::<(U256, usize)>();
        let memory = steps.bytes() + other_bytes + slot_bytes;
        let more = memory.saturating_sub(self.memory_taken);
        if more.saturating_add(self.answer_bytes) < BYTES_AT_A_TIME {
            return false;
        }
        self.memory_taken += more;
        interrupt.take_answer(std::mem::take(&mut self.answer_bytes)) || interrupt.take(more)
    }
}

/// Returns the digits of a number in hexadecimal, at least one.
fn hex_digits(number: &U256) -> usize {
    number.bit_len().div_ceil(4).max(1)
}
