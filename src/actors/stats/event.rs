//! What happened, as the threads that saw it report it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::actors::{BatchFailure, Rpc};
use zkevm_types::TxOutput;
use zkevm_types::{BatchOutput, EngineName, ExecutorError, RomError};

/// One past the largest RomError number.
pub(super) const ROM_ERRORS: usize = 36;

/// The name under which a call of any service is counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CallName(Arc<str>);

impl CallName {
    /// Makes a name of a text.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One thing to count.
#[derive(Clone, Debug)]
pub enum StatsEvent {
    /// A call arrived.
    Call(CallName),
    /// A call has its answer, or nobody waits for it any more.
    CallEnded {
        /// The call.
        name: CallName,
        /// Time from its headers to its answer, or the first message of that.
        time: Duration,
        /// The answer is a status other than OK, or there is none.
        failed: bool,
    },
    /// A request failed validation with this error.
    InvalidRequest(ExecutorError),
    /// A batch ran and was answered.
    Batch(BatchSample),
    /// The two engines answered a batch differently in this field.
    EnginesDiffer(&'static str),
    /// A batch got no answer of its own.
    Unanswered {
        /// The reason.
        failure: BatchFailure,
        /// Executor time it took nevertheless.
        busy: Duration,
    },
    /// A batch made an executor panic.
    ExecutorPanicked,
    /// An executor was started again.
    ExecutorRestarted,
}

impl StatsEvent {
    /// Counts a batch that got no answer and took no executor time.
    pub fn unanswered(failure: BatchFailure) -> Self {
        Self::Unanswered { failure, busy: Duration::ZERO }
    }

    /// Returns when it happened, if the event knows.
    pub(super) fn at(&self) -> Option<Instant> {
        match self {
            Self::Batch(sample) => Some(sample.finished_at),
            _ => None,
        }
    }
}

/// One executed batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchSample {
    /// Call it came by.
    pub rpc: Rpc,
    /// Fork id of the request.
    pub fork_id: u64,
    /// Size of `batch_l2_data`.
    pub bytes: u64,
    /// Totals of the output.
    pub totals: BatchTotals,
    /// The time at which the answer was ready.
    pub finished_at: Instant,
    /// Time on the executor.
    pub busy: Duration,
    /// Time from arrival to the executor.
    pub queue_wait: Duration,
    /// Time from arrival to the answer.
    pub latency: Duration,
}

/// The numbers of one [`BatchOutput`] that are counted (executor-service §10).
#[derive(Clone, Copy, Debug)]
pub struct BatchTotals {
    /// Transactions in the answer.
    pub txs: u64,
    /// Gas in the answer: none after an abort.
    pub gas: u64,
    /// ExecutorError of the answer.
    pub error: ExecutorError,
    /// Batch-level RomError of the answer.
    pub error_rom: RomError,
    /// Transactions by RomError number; saturating, far above what fits a batch.
    pub txs_by_rom_error: [u16; ROM_ERRORS],
    /// The engine whose answer it is.
    pub answered_by: EngineName,
    /// Steps of the ROM that were run.
    pub rom_steps: u64,
    /// Time that took.
    pub rom_time: Duration,
}

impl BatchTotals {
    /// Reads the numbers of an output.
    pub fn of(output: &BatchOutput) -> Self {
        let mut totals = Self {
            txs: 0,
            gas: if output.roots.is_some() { output.gas_used } else { 0 },
            error: output.error,
            error_rom: output.error_rom,
            txs_by_rom_error: [0; ROM_ERRORS],
            answered_by: output.engine.answered_by,
            rom_steps: output.engine.rom_steps,
            rom_time: output.engine.rom_time,
        };
        let in_blocks = output.blocks.iter().flat_map(|block| &block.transactions);
        in_blocks.chain(&output.transactions).for_each(|tx| totals.count(tx));
        totals
    }

    fn count(&mut self, tx: &TxOutput) {
        self.txs += 1;
        let number = usize::try_from(tx.error.number()).unwrap_or(0);
        if let Some(count) = self.txs_by_rom_error.get_mut(number) {
            *count = count.saturating_add(1);
        }
    }

    /// True when the batch as a whole failed, by an abort or by an error that undid it.
    pub fn failed(&self) -> bool {
        self.error != ExecutorError::NoError || self.error_rom != RomError::NoError
    }
}
