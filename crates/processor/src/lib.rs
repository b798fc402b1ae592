//! One batch, start to end: decode, execute, update the tree, answer.
//!
//! Pure: no actors, no gRPC, no runtime. The caller gives the state as a [`StateReader`](zkevm_tree::StateReader) and
//! writes the new nodes of the [`BatchOutput`] where it wants.

mod block_info;
mod counting;
mod prepare;
mod run;
mod tracing;
mod v1;
mod v2;
mod world;

use zkevm_counters::model::{Prices, Revision};
use zkevm_pool::RunningBatch;
use zkevm_pool::{Interrupt, Interrupted};
use zkevm_tree::StateReader;
use zkevm_types::{BatchContext, BatchInput, BatchOutput};

/// Level of the state tree that the virtual model prices accesses by; up to 32 they are all priced alike (counters §4).
/// It only matters where Poseidon hashes are the model's.
const STATE_TREE_LEVEL: u32 = 32;

/// Executes one batch over the state that `state` reads.
///
/// Domain failures are part of the output; the only error is an interrupt.
pub fn process(input: &BatchInput, state: &dyn StateReader, interrupt: &Interrupt) -> Result<BatchOutput, Interrupted> {
    let prices = Prices::new(Revision::of(input.fork_id.rules().counter_prices), STATE_TREE_LEVEL);
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
