//! The request of a stateless batch, made of the same batch with its state.

use revm::primitives::B256;
use zkevm_batch::{BatchItem, decode};
pub(super) use zkevm_testkit::stateless::{Head, Payloads, Source, StreamBlock, entry, stream};
use zkevm_types::{BatchContext, BatchInput, V2Context};
use zkevm_wire::proto::executor::v1 as wire;

pub(super) fn v2_context(input: &BatchInput) -> &V2Context {
    match &input.context {
        BatchContext::V2(context) => context,
        BatchContext::V1 { .. } => panic!("a batch of a V1 fork"),
    }
}

/// Takes a batch apart into the blocks of its stream.
fn blocks(input: &BatchInput) -> Vec<StreamBlock> {
    let mut blocks: Vec<StreamBlock> = Vec::new();
    for item in decode(&input.batch_l2_data, input.fork_id.rules(), false, false).unwrap() {
        match item {
            BatchItem::ChangeL2Block { delta_timestamp, l1_info_index } => blocks.push(StreamBlock {
                delta_timestamp,
                l1_info_index,
                l1_info: v2_context(input).l1_info_tree_data.get(&l1_info_index).cloned().unwrap_or_default(),
                transactions: Vec::new(),
            }),
            BatchItem::Transaction(tx) => blocks.last_mut().unwrap().transactions.push((tx.percentage, tx.rlp())),
        }
    }
    blocks
}

/// The request that carries a batch, with everything cdk-erigon fills in.
pub(super) fn request(
    input: &BatchInput,
    witness: Vec<u8>,
    payloads: Payloads,
) -> wire::ProcessStatelessBatchRequestV2 {
    let context = v2_context(input);
    let head = Head {
        batch: input.old_batch_num + 1,
        fork_id: input.fork_id.get().try_into().unwrap(),
        chain_id: input.chain_id.try_into().unwrap(),
    };
    let word = |word: B256| prost::bytes::Bytes::copy_from_slice(word.as_slice());
    wire::ProcessStatelessBatchRequestV2 {
        no_counters: 0,
        witness: witness.into(),
        data_stream: stream(payloads, head, &blocks(input)).into(),
        coinbase: input.coinbase.to_string(),
        old_acc_input_hash: word(input.old_acc_input_hash),
        l1_info_root: word(context.l1_info_root),
        timestamp_limit: context.timestamp_limit,
        forced_blockhash_l1: vec![0].into(),
        context_id: head.batch.to_string(),
        trace_config: None,
        l1_info_tree_index_min_timestamp: context
            .l1_info_tree_data
            .iter()
            .map(|(index, leaf)| (u64::from(*index), leaf.min_timestamp))
            .collect(),
    }
}
