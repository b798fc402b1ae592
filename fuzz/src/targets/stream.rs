//! The data stream of a stateless batch, in both sets of payloads (executor-service §5.10).

use revm::primitives::{B256, Bytes};
use zkevm_batch::{BatchItem, decode};
use zkevm_testkit::stateless::{Head, Payloads, StreamBlock, stream};
use zkevm_types::{ApiVersion, BATCH_L2_DATA_MAX_BYTES, ForkId, L1InfoLeaf};
use zkevm_wire::stateless::read_stream;

use super::{Target, batches, kind_of, without_digits};

/// The bytes are the stream.
pub const TARGET: Target = Target {
    name: "stream",
    run: target,
    seeds,
    dictionary: &[
        &[2, 0, 0, 0, 17, 0, 0, 0, 1],
        &[2, 0, 0, 0, 17, 0, 0, 0, 2],
        &[2, 0, 0, 0, 17, 0, 0, 0, 3],
        &[2, 0, 0, 0, 17, 0, 0, 0, 0xb0],
        &[0, 0, 0, 0],
        &[0xff, 0xff, 0xff, 0xff],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        &[0xf8],
        &[0xb8],
    ],
    input_bytes_max: 32 << 10,
    memory_bytes_max: 32 << 20,
};

/// Reads the stream, and decodes the batch made of it: fields of transactions are passed on as they are, for the grammar to judge.
pub fn target(data: &[u8]) -> u64 {
    match read_stream(data) {
        Ok(batch) => {
            let bytes = batch.batch_l2_data.len();
            assert!(bytes <= data.len() + BATCH_L2_DATA_MAX_BYTES, "{bytes} bytes made of {}", data.len());
            let fork = ForkId::new(batch.fork_id).filter(|fork| fork.rules().api == ApiVersion::V2);
            let decoded = fork.filter(|_| bytes <= BATCH_L2_DATA_MAX_BYTES).map(|fork| {
                decode(&Bytes::from(batch.batch_l2_data), fork.rules(), false, false).map(|items| items.len())
            });
            kind_of(&(
                format!("{:?}", decoded.map(|items| items.map(|items| items.min(8)))),
                batch.l1_info_tree_data.len().min(3),
            ))
        }
        Err(error) => kind_of(&without_digits(&error)),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for fork in [7, 8, 9] {
        for batch in batches(fork, B256::ZERO) {
            for payloads in [Payloads::Fixed, Payloads::Protobuf] {
                let items = decode(&batch.batch_l2_data, batch.fork_id.rules(), false, false);
                let head = Head { batch: 3, fork_id: fork as u16, chain_id: 1001 };
                seeds.push(stream(payloads, head, &blocks(&items.expect("the sample decodes"))));
            }
        }
    }
    seeds
}

/// Returns two blocks with the transactions of a batch.
fn blocks(items: &[BatchItem]) -> Vec<StreamBlock> {
    let transactions = items.iter().filter_map(BatchItem::transaction).map(|tx| (tx.percentage, tx.rlp())).collect();
    let l1_info = L1InfoLeaf { global_exit_root: B256::repeat_byte(3), min_timestamp: 5, ..L1InfoLeaf::default() };
    vec![
        StreamBlock { delta_timestamp: 1, l1_info_index: 2, l1_info, transactions },
        StreamBlock { delta_timestamp: 2, ..StreamBlock::default() },
    ]
}
