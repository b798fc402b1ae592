//! The opcodes of a transaction: the last ones in short, and all of them in full where a trace is asked for.

use zkevm_types::{RomError, TraceStep};

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
    full: Option<Vec<TraceStep>>,
}

impl Steps {
    /// Creates the steps of a transaction, listed if `in_full`.
    pub(super) fn new(in_full: bool) -> Self {
        Self { full: in_full.then(Vec::new), ..Self::default() }
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

    /// Returns the last listed step.
    pub(super) fn last_listed(&mut self) -> Option<&mut TraceStep> {
        self.full.as_mut()?.last_mut()
    }

    /// Adds a step; `listed` is what it shows, if steps are listed.
    pub(super) fn push(&mut self, step: Step, listed: Option<TraceStep>) {
        self.fill_in();
        if let (Some(full), Some(listed)) = (&mut self.full, listed) {
            full.push(listed);
        }
        self.gas_before_last = self.last.map_or(0, |last| last.gas);
        self.last = Some(step);
        self.count += 1;
    }

    /// Returns all listed steps.
    pub(super) fn into_listed(mut self) -> Vec<TraceStep> {
        self.fill_in();
        self.full.unwrap_or_default()
    }

    fn fill_in(&mut self) {
        let (Some(step), Some(listed)) = (self.last, self.last_listed()) else { return };
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

/// Returns a step of which nothing is known (executor-service §5.3).
pub(super) fn empty_step() -> TraceStep {
    TraceStep {
        state_root: Default::default(),
        depth: 0,
        pc: 0,
        gas: 0,
        gas_cost: 0,
        gas_refund: 0,
        op: 0,
        stack: Vec::new(),
        memory: Default::default(),
        memory_size: 0,
        memory_offset: 0,
        return_data: Default::default(),
        contract_address: Default::default(),
        contract_caller: Default::default(),
        contract_value: Default::default(),
        contract_data: Default::default(),
        contract_gas: 0,
        contract_kind: Default::default(),
        error: RomError::NoError,
        storage: Default::default(),
    }
}
