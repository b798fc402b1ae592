//! The request of a machine from a validated batch.

use std::collections::HashMap;

use alloy_primitives::U256;
use zkevm_types::{BatchContext, BatchInput, L1InfoLeaf, V2Context};

use crate::Request;

impl<'a> Request<'a> {
    /// Returns what the machine reads of a batch. `no_l1_info` is empty: what a V1 batch has.
    pub fn of(input: &'a BatchInput, no_l1_info: &'a HashMap<u32, L1InfoLeaf>) -> Self {
        let common = Request {
            old_state_root: input.old_state_root.into(),
            old_acc_input_hash: input.old_acc_input_hash.into(),
            // Validation has cut it to 32 bits.
            old_batch_num: input.old_batch_num as u32,
            chain_id: input.chain_id,
            batch_l2_data: &input.batch_l2_data,
            sequencer: input.coinbase,
            global_exit_root: U256::ZERO,
            eth_timestamp: 0,
            l1_info_root: U256::ZERO,
            timestamp_limit: 0,
            forced_blockhash_l1: U256::ZERO,
            l1_info: no_l1_info,
            from: input.from,
            no_counters: input.no_counters,
            get_keys: input.get_keys,
            skip_verify_l1_info_root: false,
            skip_first_change_l2_block: false,
            skip_write_block_info_root: false,
            state_override: &input.state_override,
        };
        match &input.context {
            BatchContext::V1 { global_exit_root, eth_timestamp } => {
                Request { global_exit_root: (*global_exit_root).into(), eth_timestamp: *eth_timestamp, ..common }
            }
            BatchContext::V2(context) => v2(common, context),
        }
    }
}

fn v2<'a>(common: Request<'a>, context: &'a V2Context) -> Request<'a> {
    Request {
        l1_info_root: context.l1_info_root.into(),
        timestamp_limit: context.timestamp_limit,
        forced_blockhash_l1: context.forced_blockhash_l1.into(),
        l1_info: &context.l1_info_tree_data,
        skip_verify_l1_info_root: context.skip_verify_l1_info_root,
        skip_first_change_l2_block: context.skip_first_change_l2_block,
        skip_write_block_info_root: context.skip_write_block_info_root,
        ..common
    }
}
