//! Requests as they come in: protobuf, then the rules of each field (executor-service §4).

use std::collections::HashMap;

use prost::Message;
use revm::primitives::{Address, B256, Bytes, U256};
use zkevm_testkit::stateless::{Head, Payloads, Source, StreamBlock, stream};
use zkevm_tree::Digest;
use zkevm_types::{AccountOverride, BatchContext, BatchInput, L1InfoLeaf, TraceConfig};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::request::Request;
use zkevm_wire::validate::{
    ValidationRules, WitnessLimits, process_batch, process_batch_v2, process_stateless_batch_v2,
};

use super::{Target, batches, kind_of, workload};

/// The first byte chooses the call; the rest is the message.
pub const TARGET: Target = Target {
    name: "validate",
    run: target,
    seeds,
    dictionary: &[
        &[0x0a, 0x20],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        b"0x",
        b"0X",
        b"0000000000000000000000000000000000000000000000000000000000000000",
        b"617b3a3528F9cDd6630fd3301B9c8911F7Bf063D",
        b"ffffffffffffffff",
        "é".as_bytes(),
    ],
    input_bytes_max: 32 << 10,
    memory_bytes_max: 32 << 20,
};

/// Nodes that a witness may have; fewer than inputs can ask for.
const NODES_MAX: usize = 4 << 10;

/// Decodes and validates. A valid batch, sent again as the request made of it, must be the same batch.
pub fn target(data: &[u8]) -> u64 {
    let Some((&call, data)) = data.split_first() else { return 0 };
    let witness = WitnessLimits { nodes_max: NODES_MAX, ..WitnessLimits::default() };
    let rules = ValidationRules { db_read_only: call & 0x80 != 0, witness, ..ValidationRules::default() };
    let validated = match call % 3 {
        0 => wire::ProcessBatchRequest::decode(data).map(|request| process_batch(request, rules)),
        1 => wire::ProcessBatchRequestV2::decode(data).map(|request| process_batch_v2(request, rules)),
        _ => {
            wire::ProcessStatelessBatchRequestV2::decode(data).map(|request| process_stateless_batch_v2(request, rules))
        }
    };
    match validated {
        Ok(Ok(input)) => {
            let sizes =
                (input.db.len().min(4), input.state_override.len().min(3), input.contracts_bytecode.len().min(3));
            let kind = kind_of(&(call % 3, input.fork_id.get(), sizes, input.from.is_some(), input.trace.is_some()));
            sent_again(&input);
            kind
        }
        Ok(Err(error)) => kind_of(&(call % 3, error.number())),
        Err(_) => kind_of(&(call % 3, "protobuf")),
    }
}

/// Checks that the request made of a batch validates to the batch: the same request can be made of it again.
fn sent_again(input: &BatchInput) {
    let rules = ValidationRules::default();
    let first = Request::new(input);
    let again = match first.clone() {
        Request::V1(request) => process_batch(*request, rules),
        Request::V2(request) => process_batch_v2(*request, rules),
    };
    match (first, again.map(|input| Request::new(&input))) {
        (Request::V1(first), Ok(Request::V1(again))) => assert_eq!(first, again, "sent again, it is another batch"),
        (Request::V2(first), Ok(Request::V2(again))) => assert_eq!(first, again, "sent again, it is another batch"),
        (first, again) => panic!("sent again, it is {again:?}: {first:?}"),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for fork in [4, 6, 7, 9] {
        for mut input in batches(fork, B256::repeat_byte(5)) {
            seeds.push(request_of(&input));
            fill(&mut input);
            seeds.push(request_of(&input));
        }
    }
    seeds.push(stateless());
    seeds
}

fn request_of(input: &BatchInput) -> Vec<u8> {
    match Request::new(input) {
        Request::V1(request) => [&[0][..], &request.encode_to_vec()].concat(),
        Request::V2(request) => [&[1][..], &request.encode_to_vec()].concat(),
    }
}

/// Sets every field that the workload leaves empty.
fn fill(input: &mut BatchInput) {
    input.db.insert(Digest([1, 2, 3, 4]), [7; 12].into());
    input.contracts_bytecode.insert(Digest([4, 3, 2, 1]), Bytes::from_static(&[0x60, 0x01]));
    input.from = Some(Address::repeat_byte(0x22));
    input.trace = Some(TraceConfig { enable_memory: true, tx_hash: vec![1; 32].into(), ..TraceConfig::default() });
    let slots = HashMap::from([(U256::from(1), U256::from(2))]);
    let account = AccountOverride {
        balance: Some(U256::from(3)),
        nonce: Some(4),
        code: Some(Bytes::from_static(&[0x5b, 0x60, 0x00, 0x56])),
        state_diff: slots,
        ..AccountOverride::default()
    };
    input.state_override.insert(Address::repeat_byte(0x11), account);
    if let BatchContext::V2(context) = &mut input.context {
        let leaf = L1InfoLeaf { min_timestamp: 6, smt_proof: vec![B256::repeat_byte(8); 3], ..L1InfoLeaf::default() };
        context.l1_info_tree_data.insert(1, leaf);
    }
}

fn stateless() -> Vec<u8> {
    let source = Source::new(workload(9).genesis()).expect("the sample state is a tree");
    let head = Head { batch: 3, fork_id: 9, chain_id: 1001 };
    let block = StreamBlock { delta_timestamp: 1, ..StreamBlock::default() };
    let request = wire::ProcessStatelessBatchRequestV2 {
        witness: source.witness(|_| true).into(),
        data_stream: stream(Payloads::Protobuf, head, &[block]).into(),
        coinbase: "0x617b3a3528F9cDd6630fd3301B9c8911F7Bf063D".to_owned(),
        timestamp_limit: 1_000,
        l1_info_tree_index_min_timestamp: [(2, 7)].into_iter().collect(),
        ..Default::default()
    };
    [&[2][..], &request.encode_to_vec()].concat()
}
