//! Where a running transaction looks whether it should go on: every thousand opcodes, before long ones, and as it takes memory.

use zkevm_pool::{CancelToken, Cancelled};

/// Opcodes from one look to the next.
pub(crate) const STEPS_PER_LOOK: u32 = 1024;
/// Opcodes that starting a frame counts as: some frames run none.
pub(crate) const FRAME_STEPS: u32 = 32;
/// Bytes that hashing counts as one opcode.
const HASHED_BYTES_PER_STEP: usize = 32;
/// Bytes that are hashed from one look to the next.
pub(crate) const HASHED_BYTES_PER_LOOK: usize = HASHED_BYTES_PER_STEP * STEPS_PER_LOOK as usize;
/// Bytes that copying counts as one opcode.
const COPIED_BYTES_PER_STEP: usize = 1024;

/// The token of a batch, and why the batch stops once it does.
#[derive(Debug, Default)]
pub struct Interrupt {
    token: CancelToken,
    steps: u32,
    reason: Option<Cancelled>,
}

impl Interrupt {
    /// Creates the interrupt of a batch that stops when `token` says so.
    pub fn new(token: CancelToken) -> Self {
        Self { token, steps: 0, reason: None }
    }

    /// Returns the token.
    pub fn token(&self) -> &CancelToken {
        &self.token
    }

    /// Returns why the batch stops, once it does.
    pub fn reason(&self) -> Option<Cancelled> {
        self.reason
    }

    /// Counts opcodes, and looks at the token when it is time. True if the batch stops.
    #[inline]
    pub(crate) fn spend(&mut self, steps: u32) -> bool {
        self.steps = self.steps.saturating_add(steps);
        if self.steps < STEPS_PER_LOOK {
            return self.reason.is_some();
        }
        self.look()
    }

    /// Counts bytes that are about to be hashed. True if the batch stops.
    #[inline]
    pub(crate) fn spend_hashing(&mut self, bytes: usize) -> bool {
        self.spend((bytes / HASHED_BYTES_PER_STEP).try_into().unwrap_or(u32::MAX))
    }

    /// Counts bytes that are about to be copied. True if the batch stops.
    #[inline]
    pub(crate) fn spend_copying(&mut self, bytes: usize) -> bool {
        self.spend((bytes / COPIED_BYTES_PER_STEP).try_into().unwrap_or(u32::MAX))
    }

    /// Takes memory for what is kept. True if the batch stops.
    pub(crate) fn take(&mut self, bytes: usize) -> bool {
        let taken = self.token.take(bytes);
        self.note(taken)
    }

    /// Takes what the answer grows by. True if the batch stops.
    pub(crate) fn take_answer(&mut self, bytes: usize) -> bool {
        let taken = self.token.take_answer(bytes);
        self.note(taken)
    }

    #[cold]
    fn look(&mut self) -> bool {
        self.steps = 0;
        let looked = self.token.check();
        self.note(looked)
    }

    fn note(&mut self, outcome: Result<(), Cancelled>) -> bool {
        self.reason = self.reason.or(outcome.err());
        self.reason.is_some()
    }
}
