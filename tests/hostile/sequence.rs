//! What a node asks for `debug_traceBatchByNumber`: each transaction of a batch traced on top of its predecessors, several at
//! once.

use std::time::{Duration, Instant};

use revm::primitives::{Address, Bytes, U256};
use zkevm_testkit::sample::easm::assemble;
use zkevm_testkit::sample::{Account, BatchBuilder, Transfer};
use zkevm_types::{ExecutorError, ForkId};
use zkevm_wire::proto::executor::v1 as wire;

use crate::support::{A, CHAIN_ID, Hostile, call_of, is_long, with_code};

/// Calls that a node has under way.
const AT_A_TIME: usize = 8;

/// Moves an amount from the caller's slot to the receiver's, and logs it: what a token does.
const TOKEN: &str = "
    push 100\ncaller\nsload\nsub\ncaller\nsstore
    push 100\npush 0\ncalldataload\nsload\nadd\npush 0\ncalldataload\nsstore
    push 100\npush 0\nmstore\npush 0\ncalldataload\ncaller\npush 0xddf252ad\npush 32\npush 0\nlog3
    push 1\npush 0\nmstore\npush 32\npush 0\nreturn";

/// The batch up to a transfer, with that one traced.
fn traced_transfer(last: u64) -> wire::ProcessBatchRequestV2 {
    let mut batch = BatchBuilder::new(ForkId::new(9).unwrap(), CHAIN_ID);
    batch.block(1, 0);
    for nonce in 0..=last {
        let data = Bytes::copy_from_slice(Address::from_word(U256::from(1000 + nonce).into()).into_word().as_slice());
        let transfer =
            Transfer { nonce, gas_price: U256::ZERO, gas_limit: 100_000, to: Some(A), value: U256::ZERO, data };
        batch.transaction(&Account::numbered(0), &transfer);
    }
    let request = wire::ProcessBatchRequestV2 { batch_l2_data: batch.finish().0, ..call_of(1, 30_000) };
    let items =
        zkevm_batch::decode(&request.batch_l2_data.clone().into(), ForkId::new(9).unwrap().rules(), false, false)
            .unwrap();
    let tx = items.iter().filter_map(zkevm_batch::BatchItem::transaction).next_back().unwrap();
    let hash = revm::primitives::keccak256(tx.rlp());
    let config = wire::TraceConfigV2 {
        enable_memory: 1,
        enable_return_data: 1,
        tx_hash_to_generate_full_trace: hash.to_vec().into(),
        ..Default::default()
    };
    with_code(wire::ProcessBatchRequestV2 { trace_config: Some(config), ..request }, A, assemble(TOKEN).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transaction_of_a_batch_is_traced_on_top_of_its_predecessors() {
    let server = Hostile::start().await;
    let count = if is_long() { 241 } else { 24 };
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let mut calls = tokio::task::JoinSet::new();
    for last in 0..count {
        if calls.len() >= AT_A_TIME {
            slowest = slowest.max(calls.join_next().await.unwrap().unwrap());
        }
        let mut client = server.client();
        calls.spawn(async move {
            let asked = Instant::now();
            let answer = client.process_batch_v2(traced_transfer(last)).await.unwrap().into_inner();
            assert_eq!((answer.error, answer.error_rom), (ExecutorError::NoError.number(), 1), "transfer {last}");
            let results = &answer.block_responses[0].responses;
            assert_eq!(results.len() as u64, last + 1);
            for (at, result) in results.iter().enumerate() {
                assert_eq!((result.error, result.logs.len()), (1, 1), "transfer {at}");
                let steps = result.full_trace.as_ref().map_or(0, |trace| trace.steps.len());
                assert_eq!(steps > 0, at as u64 == last, "{steps} steps of transfer {at}, {last} is traced");
            }
            asked.elapsed()
        });
    }
    while let Some(answered) = calls.join_next().await {
        slowest = slowest.max(answered.unwrap());
    }
    println!("{count} traced calls in {:?}, slowest {slowest:?}", begun.elapsed());
    server.end("each transfer of a batch traced, eight at a time").await;
}
