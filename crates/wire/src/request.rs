//! A batch as the request message that carries it: what a client would send.

use std::collections::BTreeMap;
use std::collections::HashMap;

use alloy_primitives::{Address, B256, Bytes};

use crate::proto::executor::v1 as wire;
use zkevm_tree::{Digest, SentNodes};
use zkevm_types::{AccountOverride, BatchContext, BatchInput, L1InfoLeaf, TraceConfig, V2Context};

/// The request of either API version.
#[derive(Clone, Debug)]
pub enum Request {
    /// Forks up to 6.
    V1(Box<wire::ProcessBatchRequest>),
    /// Forks from 7.
    V2(Box<wire::ProcessBatchRequestV2>),
}

impl Request {
    /// Makes the request for a batch (executor-service §1.2).
    pub fn new(input: &BatchInput) -> Self {
        match &input.context {
            BatchContext::V1 { global_exit_root, eth_timestamp } => {
                Self::V1(Box::new(request_v1(input, *global_exit_root, *eth_timestamp)))
            }
            BatchContext::V2(context) => Self::V2(Box::new(request_v2(input, context))),
        }
    }
}

fn request_v1(input: &BatchInput, global_exit_root: B256, eth_timestamp: u64) -> wire::ProcessBatchRequest {
    wire::ProcessBatchRequest {
        old_state_root: bytes(input.old_state_root),
        old_acc_input_hash: bytes(input.old_acc_input_hash),
        old_batch_num: input.old_batch_num,
        chain_id: input.chain_id,
        fork_id: input.fork_id.get(),
        batch_l2_data: input.batch_l2_data.0.clone(),
        global_exit_root: bytes(global_exit_root),
        eth_timestamp,
        coinbase: input.coinbase.to_string(),
        update_merkle_tree: input.update_merkle_tree.into(),
        no_counters: input.no_counters.into(),
        from: input.from.map(|from| from.to_string()).unwrap_or_default(),
        db: nodes(&input.db),
        contracts_bytecode: programs(&input.contracts_bytecode),
        trace_config: input.trace.as_ref().map(|trace| wire::TraceConfig {
            disable_storage: trace.disable_storage.into(),
            disable_stack: trace.disable_stack.into(),
            enable_memory: trace.enable_memory.into(),
            enable_return_data: trace.enable_return_data.into(),
            tx_hash_to_generate_full_trace: trace.tx_hash.0.clone(),
        }),
        state_override: input
            .state_override
            .iter()
            .map(|(address, account)| {
                let (balance, nonce, code, state, state_diff) = override_fields(account);
                (key(*address), wire::OverrideAccount { balance, nonce, code, state, state_diff })
            })
            .collect(),
        ..Default::default()
    }
}

fn request_v2(input: &BatchInput, context: &V2Context) -> wire::ProcessBatchRequestV2 {
    wire::ProcessBatchRequestV2 {
        old_state_root: bytes(input.old_state_root),
        old_acc_input_hash: bytes(input.old_acc_input_hash),
        old_batch_num: input.old_batch_num,
        chain_id: input.chain_id,
        fork_id: input.fork_id.get(),
        batch_l2_data: input.batch_l2_data.0.clone(),
        l1_info_root: bytes(context.l1_info_root),
        timestamp_limit: context.timestamp_limit,
        coinbase: input.coinbase.to_string(),
        forced_blockhash_l1: bytes(context.forced_blockhash_l1),
        update_merkle_tree: input.update_merkle_tree.into(),
        no_counters: input.no_counters.into(),
        from: input.from.map(|from| from.to_string()).unwrap_or_default(),
        skip_verify_l1_info_root: context.skip_verify_l1_info_root.into(),
        skip_first_change_l2_block: context.skip_first_change_l2_block.into(),
        skip_write_block_info_root: context.skip_write_block_info_root.into(),
        l1_info_tree_data: context.l1_info_tree_data.iter().map(|(index, leaf)| (*index, l1_data(leaf))).collect(),
        db: nodes(&input.db),
        contracts_bytecode: programs(&input.contracts_bytecode),
        trace_config: input.trace.as_ref().map(trace_v2),
        get_keys: input.get_keys.into(),
        state_override: input
            .state_override
            .iter()
            .map(|(address, account)| {
                let (balance, nonce, code, state, state_diff) = override_fields(account);
                (key(*address), wire::OverrideAccountV2 { balance, nonce, code, state, state_diff })
            })
            .collect(),
        ..Default::default()
    }
}

fn bytes(word: B256) -> prost::bytes::Bytes {
    prost::bytes::Bytes::copy_from_slice(word.as_slice())
}

/// Overrides are matched against lowercase hex (executor-service §5.9).
fn key(address: Address) -> String {
    format!("{address:#x}")
}

fn nodes(db: &SentNodes) -> BTreeMap<String, String> {
    let elements = |node: &[u64]| node.iter().map(|element| format!("{element:016x}")).collect();
    db.iter().map(|(hash, node)| (hex::encode(hash.to_b256()), elements(node))).collect()
}

fn programs(codes: &HashMap<Digest, Bytes>) -> BTreeMap<String, String> {
    codes.iter().map(|(hash, code)| (hex::encode(hash.to_b256()), hex::encode(code))).collect()
}

fn l1_data(leaf: &L1InfoLeaf) -> wire::L1DataV2 {
    wire::L1DataV2 {
        global_exit_root: bytes(leaf.global_exit_root),
        block_hash_l1: bytes(leaf.block_hash_l1),
        min_timestamp: leaf.min_timestamp,
        smt_proof: leaf.smt_proof.iter().copied().map(bytes).collect(),
    }
}

fn trace_v2(trace: &TraceConfig) -> wire::TraceConfigV2 {
    wire::TraceConfigV2 {
        disable_storage: trace.disable_storage.into(),
        disable_stack: trace.disable_stack.into(),
        enable_memory: trace.enable_memory.into(),
        enable_return_data: trace.enable_return_data.into(),
        tx_hash_to_generate_full_trace: trace.tx_hash.0.clone(),
    }
}

type Slots = BTreeMap<String, String>;

fn override_fields(account: &AccountOverride) -> (prost::bytes::Bytes, u64, prost::bytes::Bytes, Slots, Slots) {
    let slots = |slots: &HashMap<_, _>| -> Slots {
        slots.iter().map(|(slot, value)| (format!("{slot:064x}"), format!("{value:064x}"))).collect()
    };
    let balance = account.balance.map(|balance| bytes(balance.into())).unwrap_or_default();
    let code = account.code.as_ref().map(|code| code.0.clone()).unwrap_or_default();
    let state = account.state.as_ref().map(slots).unwrap_or_default();
    (balance, account.nonce.unwrap_or(0), code, state, slots(&account.state_diff))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::validate::{self, ValidationRules};
    use zkevm_testkit::sample::{Kind, Workload};
    use zkevm_types::ForkId;

    #[test]
    fn a_request_validates_to_the_same_batch() {
        for fork in [6, 9] {
            let workload = Arc::new(Workload::new(ForkId::new(fork).unwrap(), 1).unwrap());
            let mut input = workload.chain(0, B256::with_last_byte(5)).next_batch(Kind::TokenTransfers, 3);
            input.db.insert(Digest([1, 2, 3, 4]), vec![7; 12].into());
            input.contracts_bytecode.insert(Digest([4, 3, 2, 1]), Bytes::from_static(&[0x60, 0x01]));
            let back = match Request::new(&input) {
                Request::V1(request) => validate::process_batch(*request, ValidationRules::default()),
                Request::V2(request) => validate::process_batch_v2(*request, ValidationRules::default()),
            };
            assert_eq!(format!("{:?}", back.unwrap()), format!("{input:?}"), "fork {fork}");
        }
    }
}
