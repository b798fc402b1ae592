//! The types that all crates of the engine share: the fork table, a batch before and after it ran, error numbers, counter values.
//!
//! Decides: what differs between forks, in one table. Must not know: how anything of it is computed or sent.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod counters;
mod errors;
mod fork;
mod input;
mod output;
mod trace;

pub use counters::Counters;
pub use errors::{ExecutorError, RomError};
pub use fork::{
    ApiVersion, CounterRevision, ForkId, ForkRules, LogShape, P256_VERIFY, RecoveryRules, RomVersion, TX_GAS_LIMIT_MAX,
};
pub use input::{
    AccountOverride, BATCH_L2_DATA_MAX_BYTES, BatchContext, BatchInput, CountersPolicy, L1InfoLeaf, StateSource,
    TraceConfig, V2Context,
};
pub use output::{
    BatchOutput, BatchRoots, BlockOutput, EngineName, EngineReport, FlushIds, LogOutput, PhaseTimes, TouchedAccount,
    TxOutput,
};
pub use trace::{FrameKind, FullTrace, NewStep, StepFrame, StepNumbers, TraceContext, TraceStep, TraceSteps};
