//! Every row of executor-service §4.3 and later-forks §8.3, through gRPC and in order.

use zkevm_types::BATCH_L2_DATA_MAX_BYTES;
use zkevm_types::ExecutorError;
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::validate::{self, ValidationRules};

use super::encode::{Head, Payloads, StreamBlock, entry, stream};
use crate::support::{TestServer, config};

type Request = wire::ProcessStatelessBatchRequestV2;

const GOOD: Head = Head { batch: 8, fork_id: 9, chain_id: 1000 };

fn set_stream(request: &mut Request, head: Head, blocks: &[StreamBlock]) {
    request.data_stream = stream(Payloads::Protobuf, head, blocks).into();
}

fn one_block() -> [StreamBlock; 1] {
    [StreamBlock { delta_timestamp: 1, ..StreamBlock::default() }]
}

/// The smallest request without a fault: an empty storage slot pruned away, and one block.
fn good() -> Request {
    let witness = [&[1, 3][..], &[0; 32]].concat();
    let mut request = Request {
        witness: witness.into(),
        coinbase: "0x617b3a3528F9cDd6630fd3301B9c8911F7Bf063D".to_owned(),
        forced_blockhash_l1: vec![0].into(),
        timestamp_limit: 1_000,
        ..Request::default()
    };
    set_stream(&mut request, GOOD, &one_block());
    request
}

fn long() -> prost::bytes::Bytes {
    vec![1; 33].into()
}

type Row = (&'static str, fn(&mut Request), ExecutorError);

/// The rows in the order of the table. A row that spoils the stream leaves it spoiled for the rows after it as well.
fn rows() -> Vec<Row> {
    use ExecutorError as E;
    const FORK: Head = Head { fork_id: 6, ..GOOD };
    const CHAIN: Head = Head { chain_id: 0, ..FORK };
    const NUMBER: Head = Head { batch: 0, ..CHAIN };
    /// More blocks of 9 bytes than fit.
    const TOO_MANY: usize = BATCH_L2_DATA_MAX_BYTES / 9 + 1;
    vec![
        ("1 witness empty", |r| r.witness.clear(), E::InvalidWitness),
        ("2 witness of another version", |r| r.witness = vec![2, 3].into(), E::InvalidWitness),
        ("2 witness cut off", |r| r.witness = vec![1, 3, 0].into(), E::InvalidWitness),
        ("2 CBOR cut off", |r| r.witness = vec![1, 4, 0x41].into(), E::InvalidCbor),
        ("3 stream empty", |r| r.data_stream.clear(), E::InvalidDataStream),
        ("3 stream cut off", |r| r.data_stream = vec![2, 0].into(), E::InvalidDataStream),
        ("3 stream without a block", |r| r.data_stream = entry(0xb0, &[]).into(), E::InvalidDataStream),
        (
            "4 a transaction that is none",
            |r| {
                let mut blocks = vec![StreamBlock::default(); TOO_MANY];
                blocks[TOO_MANY - 1].transactions = vec![(0, vec![0xc0].into())];
                set_stream(r, CHAIN, &blocks);
            },
            E::InvalidDataStream,
        ),
        ("4 batch number 0", |r| set_stream(r, NUMBER, &one_block()), E::InvalidDataStream),
        ("5 batch too long", |r| set_stream(r, CHAIN, &vec![StreamBlock::default(); TOO_MANY]), E::InvalidBatchL2Data),
        ("6 old_acc_input_hash of 33 bytes", |r| r.old_acc_input_hash = long(), E::InvalidOldAccInputHash),
        ("8 chain id 0", |r| set_stream(r, CHAIN, &one_block()), E::InvalidChainId),
        ("9 fork id below 7", |r| set_stream(r, FORK, &one_block()), E::UnsupportedForkId),
        ("9 fork id unknown", |r| set_stream(r, Head { fork_id: 1_000, ..GOOD }, &one_block()), E::UnsupportedForkId),
        ("10 l1_info_root of 33 bytes", |r| r.l1_info_root = long(), E::InvalidL1InfoRoot),
        ("11 forced_blockhash_l1 of 33 bytes", |r| r.forced_blockhash_l1 = long(), E::InvalidForcedBlockhashL1),
        ("12 coinbase of 41 digits", |r| r.coinbase = "1".repeat(41), E::InvalidCoinbase),
        ("12 coinbase not hex", |r| r.coinbase = "0X11".to_owned(), E::InvalidCoinbase),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_row_answers_its_error_and_nothing_else() {
    let server = TestServer::start().await;
    let mut client = server.client().await.max_encoding_message_size(256 << 20);
    for (row, spoil, error) in rows() {
        let mut request = good();
        spoil(&mut request);
        let answer = client.process_stateless_batch_v2(request).await.unwrap().into_inner();
        let want = wire::ProcessBatchResponseV2 { error: error.number(), ..Default::default() };
        assert_eq!(answer, want, "{row}");
    }
    assert_eq!(server.double.started(), 0, "a refused request must not run");
    assert_eq!(server.report().await.totals.sums.invalid_requests, rows().len() as u64);
}

#[test]
fn the_first_bad_field_decides() {
    let mut request = good();
    for (row, spoil, error) in rows().into_iter().rev() {
        spoil(&mut request);
        let outcome = validate::process_stateless_batch_v2(request.clone(), ValidationRules::default());
        assert_eq!(outcome.map(|_| ()), Err(error), "{row}");
    }
}

#[test]
fn the_fixed_options_are_set() {
    let input = validate::process_stateless_batch_v2(good(), ValidationRules::default()).unwrap();
    assert_eq!((input.old_batch_num, input.chain_id, input.fork_id.get()), (7, 1000, 9));
    assert!(input.old_state_root.is_zero() && input.from.is_none() && input.trace.is_none());
    assert!(input.update_merkle_tree && !input.no_counters && !input.get_keys);
    assert!(input.state_override.is_empty());
    let context = super::encode::v2_context(&input);
    assert!(context.skip_verify_l1_info_root && !context.skip_first_change_l2_block);
    assert!(!context.skip_write_block_info_root && !context.is_forced());
    assert_eq!(context.timestamp_limit, 1_000);
    assert_eq!(input.batch_l2_data[..], [0x0b, 0, 0, 0, 1, 0, 0, 0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_server_takes_it_and_keeps_nothing() {
    let mut config = config();
    config.database.read_only = true;
    let server = TestServer::start_with(config).await;
    let answer = server.client().await.process_stateless_batch_v2(good()).await.unwrap().into_inner();
    assert_eq!((answer.error, answer.flush_id), (ExecutorError::NoError.number(), 0));
}
