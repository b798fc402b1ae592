//! The opcodes of a transaction: the last ones in short, and all of them in full where a trace is asked for.

use alloy_primitives::{Address, U256};
use zkevm_types::{RomError, TraceStep, TraceSteps};

/// What later opcodes, and errors, correct of a step.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    /// As listed: 0xfe for one that is not defined.
    pub(super) op: u8,
    pub(super) depth: i64,
    pub(super) gas: u64,
    pub(super) gas_cost: u64,
    pub(super) gas_refund: u64,
    pub(super) error: RomError,
    /// Recorded without counters: nothing of it is known.
    pub(super) is_empty: bool,
}

/// The steps of one transaction.
#[derive(Debug, Default)]
pub(super) struct Steps {
    count: usize,
    last: Option<Step>,
    gas_before_last: u64,
    /// All steps. What [`Step`] has is filled in when the next one comes.
    full: Option<Listed>,
}

impl Steps {
    /// Creates the steps of a transaction, listed if `in_full`.
    pub(super) fn new(in_full: bool) -> Self {
        Self { full: in_full.then(Listed::default), ..Self::default() }
    }

    /// True if steps are listed.
    pub(super) fn are_listed(&self) -> bool {
        self.full.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.last.is_none()
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn last(&self) -> Option<&Step> {
        self.last.as_ref()
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Step> {
        self.last.as_mut()
    }

    /// Gas at the step before the last one.
    pub(super) fn gas_before_last(&self) -> u64 {
        self.gas_before_last
    }

    /// Notes a slot that the last step read or wrote.
    pub(super) fn note_slot(&mut self, account: Address, slot: U256, value: U256) {
        if let Some(full) = &mut self.full {
            full.slots.push((account, slot, value));
        }
    }

    /// Adds a step; `listed` is what it shows, if steps are listed.
    pub(super) fn push(&mut self, step: Step, listed: Option<TraceStep>) {
        self.fill_in();
        if let (Some(full), Some(listed)) = (&mut self.full, listed) {
            full.pack_last();
            full.last = Some(listed);
        }
        self.gas_before_last = self.last.map_or(0, |last| last.gas);
        self.last = Some(step);
        self.count += 1;
    }

    /// Returns all listed steps.
    pub(super) fn into_listed(mut self) -> TraceSteps {
        self.fill_in();
        let mut listed = self.full.unwrap_or_default();
        listed.pack_last();
        listed.steps
    }

    fn fill_in(&mut self) {
        let (Some(step), Some(listed)) = (self.last, self.full.as_mut().and_then(|full| full.last.as_mut())) else {
            return;
        };
        listed.error = step.error;
        if step.is_empty {
            return;
        }
        listed.op = step.op;
        // A depth that falls below 1 is one of a hostile ROM.
        listed.depth = step.depth as u32;
        listed.gas = step.gas;
        listed.gas_cost = step.gas_cost;
        listed.gas_refund = step.gas_refund;
    }
}

/// All steps, the last one as it is shown: later opcodes correct it.
#[derive(Debug, Default)]
struct Listed {
    steps: TraceSteps,
    last: Option<TraceStep>,
    /// Slots that the last step read or wrote, with their accounts.
    slots: Vec<(Address, U256, U256)>,
}

impl Listed {
    /// Packs the last step.
    fn pack_last(&mut self) {
        let Some(last) = self.last.take() else { return };
        self.steps.push_shown(last);
        for (account, slot, value) in self.slots.drain(..) {
            self.steps.note_slot(account, slot, value, true);
        }
    }
}
