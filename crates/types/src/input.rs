//! What a batch needs to run: the validated request, free of any wire type.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, Bytes, U256};

use crate::ForkId;
use zkevm_tree::{Digest, SentNodes};

/// Largest `batch_l2_data` the service accepts, in bytes (executor-service §4).
pub const BATCH_L2_DATA_MAX_BYTES: usize = 120_000;

/// One batch to execute (batch §2). Every value has passed the validation of executor-service §4.
#[derive(Clone, Debug)]
pub struct BatchInput {
    /// Fork whose rules apply; its API version agrees with `context`.
    pub fork_id: ForkId,
    /// State root before the batch, as sent: limbs may not be field elements.
    pub old_state_root: B256,
    /// Accumulated input hash before the batch.
    pub old_acc_input_hash: B256,
    /// Number of the batch before this one.
    pub old_batch_num: u64,
    /// Chain id of the L2 network.
    pub chain_id: u64,
    /// The encoded transactions and L2 blocks (batch §3).
    pub batch_l2_data: Bytes,
    /// Sequencer address, paid the fees.
    pub coinbase: Address,
    /// Sender that replaces the recovered one in every transaction (unsigned mode, batch §13).
    pub from: Option<Address>,
    /// Makes the new nodes and programs permanent, instead of volatile.
    pub update_merkle_tree: bool,
    /// Do not account zk counters.
    pub no_counters: bool,
    /// The answer when they pass the limits; the operator's choice, not the client's.
    pub counters_policy: CountersPolicy,
    /// Report the tree keys and code hashes that were touched.
    pub get_keys: bool,
    /// The fields that differ between the two versions of the API.
    pub context: BatchContext,
    /// Nodes sent along with the request: hash → field elements (12 in a well-formed node).
    pub db: SentNodes,
    /// Programs sent along with the request: Poseidon code hash → code.
    pub contracts_bytecode: HashMap<Digest, Bytes>,
    /// Where the state is read.
    pub state_source: StateSource,
    /// Bound of the block gas limit, for forks that have a larger one.
    pub block_gas_limit_max: u64,
    /// Replaced accounts (executor-service §5.9).
    pub state_override: HashMap<Address, AccountOverride>,
    /// The transaction to trace, and how much of it.
    pub trace: Option<TraceConfig>,
}

/// Where the state of a batch is read, and what of the request stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StateSource {
    /// What the request brings first, then the store. What it brings is believed for this batch only.
    #[default]
    Store,
    /// The request alone: each node and program it brings was hashed to find its key (later-forks §8.7).
    Witness {
        /// They and what the batch makes go into the store, for others to read. Else nothing does.
        keep: bool,
    },
}

impl BatchInput {
    /// Returns the block gas limit: the fork's, within the bound.
    pub fn block_gas_limit(&self) -> u64 {
        self.fork_id.rules().block_gas_limit.min(self.block_gas_limit_max)
    }
}

/// The answer to a batch whose zk counters pass the limits (counters §16.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CountersPolicy {
    /// Its regular answer; the client sees the numbers.
    #[default]
    Report,
    /// That it ran out of counters, and nothing of it stays.
    Enforce,
}

impl CountersPolicy {
    /// Names in the configuration and on the command line.
    pub const NAMES: &'static [&'static str] = &["report", "enforce"];

    /// Returns the policy of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "report" => Some(Self::Report),
            "enforce" => Some(Self::Enforce),
            _ => None,
        }
    }
}

/// Fields that only one version of the API carries.
#[derive(Clone, Debug)]
pub enum BatchContext {
    /// `ProcessBatch`, forks up to 6 (batch §5).
    V1 {
        /// Global exit root imported by this batch, zero for none.
        global_exit_root: B256,
        /// TIMESTAMP of every transaction, in seconds.
        eth_timestamp: u64,
    },
    /// `ProcessBatchV2`, forks from 7 (batch §6).
    V2(V2Context),
}

/// Fields of `ProcessBatchV2` (batch §6, §7).
#[derive(Clone, Debug, Default)]
pub struct V2Context {
    /// Root of the L1 info tree; in a forced batch the global exit root itself.
    pub l1_info_root: B256,
    /// Largest allowed block timestamp; in a forced batch the forced timestamp. Seconds.
    pub timestamp_limit: u64,
    /// L1 block hash of a forced batch; zero means not forced.
    pub forced_blockhash_l1: B256,
    /// Accept any L1 info proof.
    pub skip_verify_l1_info_root: bool,
    /// Let the batch start with a transaction, in the block the state is in.
    pub skip_first_change_l2_block: bool,
    /// Write zero instead of the block info root.
    pub skip_write_block_info_root: bool,
    /// L1 info leaves by index.
    pub l1_info_tree_data: HashMap<u32, L1InfoLeaf>,
}

impl V2Context {
    /// True when the batch is forced: no ChangeL2Block inside, one implicit block (batch §2).
    pub fn is_forced(&self) -> bool {
        !self.forced_blockhash_l1.is_zero()
    }
}

/// One leaf of the L1 info tree with its proof (batch §7.1).
#[derive(Clone, Debug, Default)]
pub struct L1InfoLeaf {
    /// Global exit root.
    pub global_exit_root: B256,
    /// L1 block hash at which the root was set.
    pub block_hash_l1: B256,
    /// Smallest timestamp of an L2 block that uses the leaf, in seconds.
    pub min_timestamp: u64,
    /// The 32 siblings, bottom up; fewer are an error when used.
    pub smt_proof: Vec<B256>,
}

/// Replacement of one account for this batch only (eth_call meaning).
#[derive(Clone, Debug, Default)]
pub struct AccountOverride {
    /// New balance.
    pub balance: Option<U256>,
    /// New nonce.
    pub nonce: Option<u64>,
    /// New code.
    pub code: Option<Bytes>,
    /// The whole storage: slots not listed read zero.
    pub state: Option<HashMap<U256, U256>>,
    /// Single slots.
    pub state_diff: HashMap<U256, U256>,
}

/// Options of a full trace (executor-service §8.1).
#[derive(Clone, Debug, Default)]
pub struct TraceConfig {
    /// Leave out storage.
    pub disable_storage: bool,
    /// Leave out the stack.
    pub disable_stack: bool,
    /// Record memory.
    pub enable_memory: bool,
    /// Record return data.
    pub enable_return_data: bool,
    /// Hash of the transaction to trace, as sent; only 32 bytes can match one.
    pub tx_hash: Bytes,
}

impl TraceConfig {
    /// True if the transaction with this hash is the one to trace.
    pub fn is_for(&self, hash: B256) -> bool {
        self.tx_hash[..] == hash[..]
    }
}
