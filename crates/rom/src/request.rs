//! What the machine reads of a request.

use std::collections::HashMap;

use alloy_primitives::{Address, U256};
use zkevm_types::{AccountOverride, L1InfoLeaf};

/// The values of a request that a ROM can ask for (main-state-machine §3.1, §8.4), and the options that change what lines do.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Root before the batch, as sent.
    pub old_state_root: U256,
    /// Accumulated input hash before the batch.
    pub old_acc_input_hash: U256,
    /// Number of the batch before this one.
    pub old_batch_num: u32,
    /// Chain id of the network.
    pub chain_id: u64,
    /// The batch's bytes.
    pub batch_l2_data: &'a [u8],
    /// Address of the sequencer.
    pub sequencer: Address,
    /// Global exit root (V1).
    pub global_exit_root: U256,
    /// Timestamp of all transactions, in seconds (V1).
    pub eth_timestamp: u64,
    /// Root of the L1 info tree (V2).
    pub l1_info_root: U256,
    /// Largest timestamp of a block, in seconds (V2).
    pub timestamp_limit: u64,
    /// L1 block hash of a forced batch, else zero (V2).
    pub forced_blockhash_l1: U256,
    /// Leaves of the L1 info tree by index (V2).
    pub l1_info: &'a HashMap<u32, L1InfoLeaf>,
    /// Sender that replaces the recovered ones: an unsigned request.
    pub from: Option<Address>,
    /// No counter moves.
    pub no_counters: bool,
    /// Collect the keys of the tree and the hashes of programs that are used.
    pub get_keys: bool,
    /// Keep whatever L1 info root is proven (V2).
    pub skip_verify_l1_info_root: bool,
    /// Begin within the block the state is in (V2).
    pub skip_first_change_l2_block: bool,
    /// Write no block info root (V2).
    pub skip_write_block_info_root: bool,
    /// Accounts replaced for this request.
    pub state_override: &'a HashMap<Address, AccountOverride>,
}

impl<'a> Request<'a> {
    /// Returns a request of chain 1000 that carries nothing and sets no option.
    pub fn empty(l1_info: &'a HashMap<u32, L1InfoLeaf>, state_override: &'a HashMap<Address, AccountOverride>) -> Self {
        Self {
            old_state_root: U256::ZERO,
            old_acc_input_hash: U256::ZERO,
            old_batch_num: 0,
            chain_id: 1000,
            batch_l2_data: &[],
            sequencer: Address::ZERO,
            global_exit_root: U256::ZERO,
            eth_timestamp: 0,
            l1_info_root: U256::ZERO,
            timestamp_limit: 0,
            forced_blockhash_l1: U256::ZERO,
            l1_info,
            from: None,
            no_counters: false,
            get_keys: false,
            skip_verify_l1_info_root: false,
            skip_first_change_l2_block: false,
            skip_write_block_info_root: false,
            state_override,
        }
    }
}
