//! What a batch leaves behind: the answer, free of any wire type, and the new nodes.

use std::collections::BTreeMap;
use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256};

use super::errors::{ExecutorError, RomError};
use super::trace::FullTrace;
use crate::Counters;
use zkevm_tree::{Digest, NodeData};

/// The answer to one batch (batch §12, executor-service §6).
#[derive(Clone, Debug)]
pub struct BatchOutput {
    /// `NoError` when the batch ran to its end, however its transactions ended.
    pub error: ExecutorError,
    /// Roots and hashes; `None` when the execution was aborted.
    pub roots: Option<BatchRoots>,
    /// Sum of all transactions' `gas_used`, stale values of skipped ones included. Wraps.
    pub gas_used: u64,
    /// Transactions of a V1 batch, in order. Empty for V2.
    pub transactions: Vec<TxOutput>,
    /// Finished L2 blocks of a V2 batch, in order. Empty for V1.
    pub blocks: Vec<BlockOutput>,
    /// A batch-level error undid the whole batch (V2).
    pub invalid_batch: bool,
    /// The batch-level error, or `NoError`.
    pub error_rom: RomError,
    /// Accounts read or written.
    pub read_write_addresses: BTreeMap<Address, TouchedAccount>,
    /// Tree keys of every leaf read or written, when asked for.
    pub smt_keys: Vec<B256>,
    /// Code hashes computed or loaded, when asked for.
    pub program_keys: Vec<B256>,
    /// Message of an internal error; empty when there was none.
    pub error_log: String,
    /// New nodes of every surviving state root, for the store; none of a batch of which nothing is kept.
    pub new_nodes: Vec<(Digest, NodeData)>,
    /// New programs, for the store; none of a batch of which nothing is kept.
    pub new_programs: Vec<(Digest, Bytes)>,
    /// The time that each phase took.
    pub phases: PhaseTimes,
    /// zk counters used; all zero when nothing was counted or the execution was aborted.
    pub counters: Counters,
    /// zk counters that the batch needs free at its busiest moment; never below `counters`.
    pub reserved: Counters,
    /// The counters of the virtual model, exactly as its reference computes them.
    pub model_counters: Counters,
    /// Which engine made this answer, and how.
    pub engine: EngineReport,
}

impl BatchOutput {
    /// Returns an answer that says nothing but this.
    pub fn of_error(error: ExecutorError) -> Self {
        Self {
            error,
            roots: None,
            gas_used: 0,
            transactions: Vec::new(),
            blocks: Vec::new(),
            invalid_batch: false,
            error_rom: RomError::NoError,
            read_write_addresses: BTreeMap::new(),
            smt_keys: Vec::new(),
            program_keys: Vec::new(),
            error_log: String::new(),
            new_nodes: Vec::new(),
            new_programs: Vec::new(),
            phases: PhaseTimes::default(),
            counters: Counters::default(),
            reserved: Counters::default(),
            model_counters: Counters::default(),
            engine: EngineReport::default(),
        }
    }
}

impl BatchOutput {
    /// True if the state that the batch leaves is kept, and the answer carries flush ids (executor-service §9). A run that
    /// used up its steps leaves no roots, but is not aborted: it takes an id.
    pub fn is_kept(&self) -> bool {
        match self.roots {
            Some(_) => self.error != ExecutorError::StateManager,
            None => self.error == ExecutorError::CountersOverflowSteps,
        }
    }
}

/// Which engine made an answer, and what asking the other one showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EngineReport {
    /// The engine whose answer it is.
    pub answered_by: EngineName,
    /// Steps of the ROM that were run, 0 if it was not.
    pub rom_steps: u64,
    /// Time the ROM took.
    pub rom_time: Duration,
    /// Fields in which the answer of the native engine is another, if both were asked.
    pub differences: Vec<&'static str>,
    /// Contexts that the ROM opens (forks 7 and later): two, and one for each item, call and create.
    pub contexts: u64,
}

/// The two engines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineName {
    /// Follows the rules; its counters are bounds.
    #[default]
    Native,
    /// Runs the ROM; its counters are those of the prover.
    Rom,
}

impl EngineName {
    /// Returns the name in settings, metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Rom => "rom",
        }
    }
}

/// Roots and hashes of a batch that ran to its end (batch §4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchRoots {
    /// State root after the batch.
    pub new_state_root: B256,
    /// Accumulated input hash after the batch.
    pub new_acc_input_hash: B256,
    /// Local exit root in the final state.
    pub new_local_exit_root: B256,
}

/// Wall time of the parts of one batch, and how much it hashed.
#[derive(Clone, Copy, Debug, Default)]
pub struct PhaseTimes {
    /// Parsing `batch_l2_data` and hashing transactions.
    pub decode: Duration,
    /// Recovering senders.
    pub recover: Duration,
    /// Running the EVM, reads from the tree included.
    pub evm: Duration,
    /// Updating and hashing the trees, block info trees included.
    pub tree: Duration,
    /// The share of the block info trees in `tree`.
    pub info_tree: Duration,
    /// Poseidon permutations computed for roots, block info trees and L2 hashes; those of tree keys are not counted.
    pub permutations: u64,
}

/// An account that was read or written, at the final state root. `None` = that item was never touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TouchedAccount {
    /// Nonce at the end of the batch.
    pub nonce: Option<U256>,
    /// Balance at the end of the batch.
    pub balance: Option<U256>,
    /// Code hash, last value seen (forks 8 and later report it).
    pub code_hash: Option<U256>,
    /// Code length, last value seen (forks 8 and later report it).
    pub code_length: Option<U256>,
    /// Storage slots, last value seen (forks 8 and later report it).
    pub storage: BTreeMap<U256, U256>,
}

/// One finished L2 block (batch §12.3).
#[derive(Clone, Debug)]
pub struct BlockOutput {
    /// State root when the block started; zero for a block opened by skip_first.
    pub parent_hash: B256,
    /// Sequencer address.
    pub coinbase: Address,
    /// Block gas limit of the fork.
    pub gas_limit: u64,
    /// L2 block number.
    pub block_number: u64,
    /// Timestamp in seconds.
    pub timestamp: u64,
    /// Global exit root taken with this block.
    pub ger: B256,
    /// L1 block hash of that root.
    pub block_hash_l1: B256,
    /// Gas of the block's included transactions.
    pub gas_used: u64,
    /// Root of the block info tree.
    pub block_info_root: B256,
    /// State root after closing the block.
    pub block_hash: B256,
    /// Transactions, skipped ones included.
    pub transactions: Vec<TxOutput>,
    /// Error of the block.
    pub error: RomError,
}

/// One transaction, included or skipped (batch §12.1).
#[derive(Clone, Debug, Default)]
pub struct TxOutput {
    /// Ethereum transaction hash.
    pub tx_hash: B256,
    /// Poseidon L2 hash (V2; zero in V1).
    pub tx_hash_l2: B256,
    /// Canonical signed RLP.
    pub rlp_tx: Bytes,
    /// Return or revert data; deployed code of a successful create.
    pub return_value: Bytes,
    /// Gas limit minus `gas_used`.
    pub gas_left: u64,
    /// Gas used, refund taken off; stale for a skipped transaction.
    pub gas_used: u64,
    /// Running gas of the block (V2).
    pub cumulative_gas_used: u64,
    /// Refund counter as the original reports it.
    pub gas_refunded: u64,
    /// The outcome of the transaction.
    pub error: RomError,
    /// Address of the created contract for every deploy transaction; zero if it failed an intrinsic check.
    pub create_address: Option<Address>,
    /// State root after the transaction.
    pub state_root: B256,
    /// Logs of surviving frames.
    pub logs: Vec<LogOutput>,
    /// Effective gas price; `None` before fork 5.
    pub effective_gas_price: Option<U256>,
    /// Effective percentage byte.
    pub effective_percentage: u8,
    /// Some transaction so far in the batch used GASPRICE.
    pub has_gasprice_opcode: bool,
    /// Some transaction so far in the batch used BALANCE.
    pub has_balance_opcode: bool,
    /// EVM status (V2).
    pub status: bool,
    /// Position inside its block (V2) or batch (V1) as logs report it.
    pub tx_index: u32,
    /// Trace of the transaction, when it was the one asked for.
    pub full_trace: Option<Box<FullTrace>>,
}

/// One log entry, with the numbers the response carries (batch §12.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOutput {
    /// Emitting contract.
    pub address: Address,
    /// Topics, 0 to 4.
    pub topics: Vec<B256>,
    /// Data as the response of this fork shows it.
    pub data: Bytes,
    /// Log index: within the transaction (forks up to 7) or the block (from fork 8).
    pub index: u32,
}

/// Flush ids an answer carries (executor-service §9); zero after an abort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushIds {
    /// Names the write of this batch's state.
    pub flush_id: u64,
    /// Highest id known to be stored.
    pub stored_flush_id: u64,
}
