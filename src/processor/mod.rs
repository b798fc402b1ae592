//! One batch, start to end: decode, execute, update the tree, answer.
//!
//! Pure: no actors, no gRPC, no runtime. The caller gives the state as a [`StateReader`](crate::store::StateReader) and
//! writes the new nodes of the [`BatchOutput`] where it wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

pub mod errors;
pub mod input;
pub mod output;

mod block_info;
mod counting;
mod prepare;
mod run;
mod tracing;
mod v1;
mod v2;
mod world;

pub use errors::{ExecutorError, RomError};
pub use input::{BatchContext, BatchInput};
pub use output::BatchOutput;

use crate::counters::model::Prices;
use crate::helpers::RunningBatch;
use crate::store::StateReader;

/// Level of the state tree that the virtual model prices accesses by; up to 32 they are all priced alike (counters §4).
/// It only matters where Poseidon hashes are the model's.
const STATE_TREE_LEVEL: u32 = 32;

/// Tells a running batch to stop: the client left, or its deadline passed. Looked at between transactions.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    cancelled: Arc<AtomicBool>,
    deadline: Option<Instant>,
}

impl Interrupt {
    /// Creates an interrupt that fires at `deadline`, or only when cancelled.
    pub fn new(deadline: Option<Instant>) -> Self {
        Self { cancelled: Arc::default(), deadline }
    }

    /// Fires the interrupt.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Returns why the batch should stop, if it should.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(Interrupted::Cancelled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(Interrupted::DeadlineExceeded),
            _ => Ok(()),
        }
    }
}

/// Why a batch was given up before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// The client left.
    #[error("the client cancelled the call")]
    Cancelled,
    /// The client's deadline passed.
    #[error("the deadline passed")]
    DeadlineExceeded,
}

/// Executes one batch over the state that `state` reads.
///
/// Domain failures are part of the output; the only error is an interrupt.
pub fn process(input: &BatchInput, state: &dyn StateReader, interrupt: &Interrupt) -> Result<BatchOutput, Interrupted> {
    let prices = Prices::new(input.fork_id.rules().counter_prices, STATE_TREE_LEVEL);
    process_priced(input, state, interrupt, prices)
}

/// Executes one batch as [`process`] does, with other prices for the virtual counters.
pub fn process_priced(
    input: &BatchInput,
    state: &dyn StateReader,
    interrupt: &Interrupt,
    prices: Prices,
) -> Result<BatchOutput, Interrupted> {
    interrupt.check()?;
    let _running = RunningBatch::start();
    match &input.context {
        BatchContext::V1 { global_exit_root, eth_timestamp } => {
            v1::process(input, *global_exit_root, *eth_timestamp, state, interrupt, prices)
        }
        BatchContext::V2(context) => v2::process(input, context, state, interrupt, prices),
    }
}
