//! What the EVM is asked to run, and what comes of it.

use revm::interpreter::InstructionResult;
use revm::primitives::{Address, B256, Bytes, Log, TxKind, U256};
use revm::state::EvmState;
use zkevm_pool::Cancelled;
use zkevm_types::TraceSteps;

/// A transaction that passed the intrinsic checks (batch §8.1).
#[derive(Clone, Debug)]
pub struct TxCall {
    /// Sender.
    pub caller: Address,
    /// Recipient, or deploy.
    pub kind: TxKind,
    /// Nonce of the transaction, equal to the sender's.
    pub nonce: u64,
    /// Gas limit.
    pub gas_limit: u64,
    /// Intrinsic gas, at most the gas limit.
    pub intrinsic_gas: u64,
    /// Effective gas price.
    pub gas_price: U256,
    /// Value.
    pub value: U256,
    /// Call data or init code.
    pub data: Bytes,
}

/// The result of a transaction.
#[derive(Debug)]
pub struct TxOutcome {
    /// The result of the top frame.
    pub result: InstructionResult,
    /// Gas left, refund included.
    pub gas_left: u64,
    /// Refund counter after the last opcode, before any cap; 0 when none ran.
    pub refund_counter: u64,
    /// Return or revert data, or the deployed code.
    pub output: Bytes,
    /// Logs of surviving frames.
    pub logs: Vec<Log>,
    /// Touched accounts after the transaction.
    pub state: EvmState,
    /// Programs deployed, also in frames that failed later.
    pub new_programs: Vec<(B256, Bytes)>,
    /// Steps of a traced transaction.
    pub steps: TraceSteps,
    /// Address of a deploy transaction.
    pub created: Option<Address>,
    /// The transaction went straight to an address of a precompile this fork does not run.
    pub unsupported_precompile: bool,
    /// An opcode ran; without one, an error is told of the transaction itself (executor-service §7.3).
    pub ran_opcodes: bool,
    /// The last opcode of a successful top frame was a create that met an existing account.
    pub ended_in_collision: bool,
}

/// The reason why a transaction could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum EvmFailure<E> {
    /// The database failed.
    #[error(transparent)]
    Database(E),
    /// The code never ends (evm Q7).
    #[error("the code ends in a PUSH without immediate, which this fork never finishes")]
    NeverEnds,
    /// It was given up before its end.
    #[error(transparent)]
    Cancelled(Cancelled),
    /// The observer ended the transaction.
    #[error("the observer ended the transaction")]
    GivenUp {
        /// Gas that the running frame had left.
        gas_left: u64,
    },
    /// revm refused in a way the checks before it rule out.
    #[error("internal: {0}")]
    Internal(String),
}
