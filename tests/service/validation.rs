//! Every row of executor-service §4.1 and §4.2, through gRPC and in order.

use std::collections::BTreeMap;

use revm::primitives::{Address, B256, U256, address};
use zkevm_tree::Digest;
use zkevm_types::ExecutorError;
use zkevm_types::{BATCH_L2_DATA_MAX_BYTES, BatchContext, BatchInput};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::validate::{self, ValidationRules};

use crate::support::{TestServer, config, request_v1, request_v2};

type Row<R> = (&'static str, fn(&mut R), ExecutorError);

fn long(bytes: usize) -> prost::bytes::Bytes {
    vec![1; bytes].into()
}

fn entry(key: &str, value: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(key.to_owned(), value.to_owned())])
}

const HASH: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
const HASH_65: &str = "000000000000000000000000000000000000000000000000000000000000000aa";

fn rows_v1() -> Vec<Row<wire::ProcessBatchRequest>> {
    use ExecutorError as E;
    vec![
        ("old_state_root of 33 bytes", |r| r.old_state_root = long(33), E::InvalidOldStateRoot),
        ("old_acc_input_hash of 33 bytes", |r| r.old_acc_input_hash = long(33), E::InvalidOldAccInputHash),
        ("chain_id 0", |r| r.chain_id = 0, E::InvalidChainId),
        ("fork_id above 6", |r| r.fork_id = 7, E::UnsupportedForkId),
        ("fork_id 0", |r| r.fork_id = 0, E::UnsupportedForkId),
        (
            "batch_l2_data over the limit",
            |r| r.batch_l2_data = long(BATCH_L2_DATA_MAX_BYTES + 1),
            E::InvalidBatchL2Data,
        ),
        ("global_exit_root of 33 bytes", |r| r.global_exit_root = long(33), E::InvalidGlobalExitRoot),
        ("coinbase of 41 digits", |r| r.coinbase = "0x0".to_owned() + &"1".repeat(40), E::InvalidCoinbase),
        ("coinbase with 0X", |r| r.coinbase = "0X11".to_owned(), E::InvalidCoinbase),
        ("from of 41 digits", |r| r.from = "1".repeat(41), E::InvalidFrom),
        ("from with 0X", |r| r.from = "0X11".to_owned(), E::InvalidFrom),
        ("update_merkle_tree on a read-only database", |r| r.update_merkle_tree = 2, E::InvalidUpdateMerkleTree),
        ("db key of 65 digits", |r| r.db = entry(HASH_65, ""), E::InvalidDbKey),
        ("db key not hex", |r| r.db = entry("zz", ""), E::InvalidDbKey),
        ("db value with 0x", |r| r.db = entry(HASH, "0x00000000000000"), E::InvalidDbValue),
        ("db value of 15 digits", |r| r.db = entry(HASH, "000000000000000"), E::InvalidDbValue),
        ("program key of 65 digits", |r| r.contracts_bytecode = entry(HASH_65, "00"), E::InvalidContractsBytecodeKey),
        ("program key not hex", |r| r.contracts_bytecode = entry("0xg", "00"), E::InvalidContractsBytecodeKey),
        ("program not hex", |r| r.contracts_bytecode = entry(HASH, "0x0g"), E::InvalidContractsBytecodeValue),
        ("balance of 33 bytes", |r| override_v1(r, |a| a.balance = long(33)), E::InvalidBalance),
        ("state key of 65 digits", |r| override_v1(r, |a| a.state = entry(HASH_65, "1")), E::InvalidDbKey),
        ("state value not hex", |r| override_v1(r, |a| a.state = entry("1", "x")), E::InvalidDbValue),
        ("state_diff key not hex", |r| override_v1(r, |a| a.state_diff = entry("x", "1")), E::InvalidDbKey),
        (
            "state_diff value of 65 digits",
            |r| override_v1(r, |a| a.state_diff = entry("1", HASH_65)),
            E::InvalidDbValue,
        ),
    ]
}

fn override_v1(request: &mut wire::ProcessBatchRequest, change: fn(&mut wire::OverrideAccount)) {
    change(request.state_override.entry(ANY_ADDRESS.to_owned()).or_default());
}

fn rows_v2() -> Vec<Row<wire::ProcessBatchRequestV2>> {
    use ExecutorError as E;
    vec![
        ("old_state_root of 33 bytes", |r| r.old_state_root = long(33), E::InvalidOldStateRoot),
        ("old_acc_input_hash of 33 bytes", |r| r.old_acc_input_hash = long(33), E::InvalidOldAccInputHash),
        ("chain_id 0", |r| r.chain_id = 0, E::InvalidChainId),
        ("fork_id below 7", |r| r.fork_id = 6, E::UnsupportedForkId),
        ("fork_id unknown", |r| r.fork_id = 1_000, E::UnsupportedForkId),
        (
            "batch_l2_data over the limit",
            |r| r.batch_l2_data = long(BATCH_L2_DATA_MAX_BYTES + 1),
            E::InvalidBatchL2Data,
        ),
        ("l1_info_root of 33 bytes", |r| r.l1_info_root = long(33), E::InvalidL1InfoRoot),
        ("forced_blockhash_l1 of 33 bytes", |r| r.forced_blockhash_l1 = long(33), E::InvalidForcedBlockhashL1),
        ("coinbase of 41 digits", |r| r.coinbase = "1".repeat(41), E::InvalidCoinbase),
        ("coinbase not hex", |r| r.coinbase = "0x0x".to_owned(), E::InvalidCoinbase),
        ("from of 41 digits", |r| r.from = "0x".to_owned() + &"1".repeat(41), E::InvalidFrom),
        ("from not hex", |r| r.from = "nobody".to_owned(), E::InvalidFrom),
        ("update_merkle_tree on a read-only database", |r| r.update_merkle_tree = 1, E::InvalidUpdateMerkleTree),
        ("db key not hex", |r| r.db = entry("0xzz", ""), E::InvalidDbKey),
        ("db value not hex", |r| r.db = entry(HASH, "000000000000000g"), E::InvalidDbValue),
        ("program key not hex", |r| r.contracts_bytecode = entry("x", "00"), E::InvalidContractsBytecodeKey),
        ("program not hex", |r| r.contracts_bytecode = entry(HASH, "0xx"), E::InvalidContractsBytecodeValue),
        ("entry's global_exit_root", |r| l1(r, |l| l.global_exit_root = long(33)), E::InvalidL1DataGlobalExitRoot),
        ("entry's block_hash_l1", |r| l1(r, |l| l.block_hash_l1 = long(33)), E::InvalidL1DataBlockHashL1),
        ("entry's proof item", |r| l1(r, |l| l.smt_proof = vec![long(32), long(33)]), E::InvalidL1SmtProof),
        ("balance of 33 bytes", |r| override_v2(r, |a| a.balance = long(33)), E::InvalidBalance),
        ("state key not hex", |r| override_v2(r, |a| a.state = entry("x", "1")), E::InvalidDbKey),
        ("state value of 65 digits", |r| override_v2(r, |a| a.state = entry("1", HASH_65)), E::InvalidDbValue),
        ("state_diff key of 65 digits", |r| override_v2(r, |a| a.state_diff = entry(HASH_65, "1")), E::InvalidDbKey),
        ("state_diff value not hex", |r| override_v2(r, |a| a.state_diff = entry("1", "x")), E::InvalidDbValue),
        ("debug.new_state_root", |r| debug(r, |d| d.new_state_root = long(33)), E::InvalidNewStateRoot),
        ("debug.new_acc_input_hash", |r| debug(r, |d| d.new_acc_input_hash = long(33)), E::InvalidNewAccInputHash),
        ("debug.new_local_exit_root", |r| debug(r, |d| d.new_local_exit_root = long(33)), E::InvalidNewLocalExitRoot),
    ]
}

fn l1(request: &mut wire::ProcessBatchRequestV2, change: fn(&mut wire::L1DataV2)) {
    change(request.l1_info_tree_data.entry(7).or_default());
}

fn override_v2(request: &mut wire::ProcessBatchRequestV2, change: fn(&mut wire::OverrideAccountV2)) {
    change(request.state_override.entry(ANY_ADDRESS.to_owned()).or_default());
}

fn debug(request: &mut wire::ProcessBatchRequestV2, change: fn(&mut wire::DebugV2)) {
    change(request.debug.get_or_insert_default());
}

/// A read-only server, so that row 12 can fail too.
async fn read_only() -> TestServer {
    let mut config = config();
    config.database.read_only = true;
    TestServer::start_with(config).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_v1_row_answers_its_error_and_nothing_else() {
    let server = read_only().await;
    let mut client = server.client().await;
    for (row, spoil, error) in rows_v1() {
        let mut request = request_v1(b"ok");
        spoil(&mut request);
        let answer = client.process_batch(request).await.unwrap().into_inner();
        let want = wire::ProcessBatchResponse { error: error.number(), ..Default::default() };
        assert_eq!(answer, want, "{row}");
    }
    assert_eq!(server.double.started(), 0, "a refused request must not run");
    assert_eq!(server.report().await.totals.sums.invalid_requests, rows_v1().len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_v2_row_answers_its_error_and_nothing_else() {
    let server = read_only().await;
    let mut client = server.client().await;
    for (row, spoil, error) in rows_v2() {
        let mut request = request_v2(b"ok");
        spoil(&mut request);
        let answer = client.process_batch_v2(request).await.unwrap().into_inner();
        let want = wire::ProcessBatchResponseV2 { error: error.number(), ..Default::default() };
        assert_eq!(answer, want, "{row}");
    }
    assert_eq!(server.double.started(), 0, "a refused request must not run");
}

/// Spoils rows from the last to the first: the first in the table's order must always win.
fn assert_in_order<R>(rows: Vec<Row<R>>, mut request: R, validate: impl Fn(&R) -> Result<BatchInput, ExecutorError>) {
    for (row, spoil, error) in rows.into_iter().rev() {
        spoil(&mut request);
        assert_eq!(validate(&request).map(|_| ()), Err(error), "{row}");
    }
}

#[test]
fn the_first_bad_field_decides() {
    let rules = ValidationRules { db_read_only: true, ..ValidationRules::default() };
    assert_in_order(rows_v1(), request_v1(b""), |r| validate::process_batch(r.clone(), rules));
    assert_in_order(rows_v2(), request_v2(b""), |r| validate::process_batch_v2(r.clone(), rules));
}

fn accepted_v1(change: impl Fn(&mut wire::ProcessBatchRequest)) -> BatchInput {
    let mut request = request_v1(b"");
    change(&mut request);
    validate::process_batch(request, ValidationRules::default()).unwrap_or_else(|error| panic!("{}", error.name()))
}

fn accepted_v2(change: impl Fn(&mut wire::ProcessBatchRequestV2)) -> BatchInput {
    let mut request = request_v2(b"");
    change(&mut request);
    validate::process_batch_v2(request, ValidationRules::default()).unwrap_or_else(|error| panic!("{}", error.name()))
}

#[test]
fn limits_are_accepted() {
    let input = accepted_v2(|r| {
        r.batch_l2_data = long(BATCH_L2_DATA_MAX_BYTES);
        r.old_state_root = long(32);
        r.l1_info_root = long(32);
        r.update_merkle_tree = 9;
    });
    assert_eq!(input.batch_l2_data.len(), BATCH_L2_DATA_MAX_BYTES);
    assert!(input.update_merkle_tree);
}

#[test]
fn short_bytes_are_small_numbers() {
    let input = accepted_v1(|r| r.old_state_root = vec![1].into());
    assert_eq!(input.old_state_root, B256::with_last_byte(1));
    assert_eq!(input.old_acc_input_hash, B256::ZERO);
}

#[test]
fn coinbase_and_from_are_read_in_any_spelling() {
    let full = address!("0x617b3a3528F9cDd6630fd3301B9c8911F7Bf063D");
    for (text, want) in [
        ("617b3a3528f9cdd6630fd3301b9c8911f7bf063d", full),
        ("0x617B3A3528F9CDD6630FD3301B9C8911F7BF063D", full),
        ("", Address::ZERO),
        ("0x", Address::ZERO),
        ("0x5", Address::with_last_byte(5)),
    ] {
        assert_eq!(accepted_v1(|r| r.coinbase = text.to_owned()).coinbase, want, "{text:?}");
    }
    for (text, want) in
        [("", None), ("0x", None), ("0x0", Some(Address::ZERO)), ("11", Some(Address::with_last_byte(17)))]
    {
        assert_eq!(accepted_v2(|r| r.from = text.to_owned()).from, want, "{text:?}");
    }
}

#[test]
fn the_batch_number_keeps_its_low_32_bits() {
    assert_eq!(accepted_v1(|r| r.old_batch_num = (1 << 40) + 3).old_batch_num, 3);
}

#[test]
fn flags_are_true_when_not_zero() {
    let input = accepted_v2(|r| {
        r.no_counters = 2;
        r.get_keys = 3;
        r.skip_verify_l1_info_root = 4;
        r.skip_first_change_l2_block = 5;
        r.forced_blockhash_l1 = vec![1].into();
    });
    let BatchContext::V2(context) = &input.context else { panic!("V1 context: {:?}", input.context) };
    assert!(input.no_counters && input.get_keys && context.is_forced());
    assert!(context.skip_verify_l1_info_root && context.skip_first_change_l2_block);
    assert!(!context.skip_write_block_info_root);
}

#[test]
fn nodes_programs_and_proofs_are_read() {
    let input = accepted_v2(|r| {
        r.db = entry("0xAA", &("000000000000000a".to_owned() + "ffffffff00000000"));
        r.contracts_bytecode = entry(HASH, "0x60f");
        l1(r, |leaf| leaf.smt_proof = vec![vec![2].into()]);
    });
    let hash = Digest::from_u256(U256::from(0xaa));
    assert_eq!(input.db[&hash][..], [10, 0xffff_ffff_0000_0000]);
    assert_eq!(input.contracts_bytecode[&hash].as_ref(), [0x06, 0x0f], "an odd number of digits gets a leading zero");
    let BatchContext::V2(context) = &input.context else { panic!("V1 context: {:?}", input.context) };
    assert_eq!(context.l1_info_tree_data[&7].smt_proof, [B256::with_last_byte(2)]);
}

const ANY_ADDRESS: &str = "0x617b3a3528f9cdd6630fd3301b9c8911f7bf063d";

fn overridden(keys: &[&str]) -> Result<BatchInput, ExecutorError> {
    let change = |r: &mut wire::ProcessBatchRequestV2| {
        for key in keys {
            let account = wire::OverrideAccountV2 {
                balance: vec![0].into(),
                state_diff: entry("0x1", "0x2"),
                ..Default::default()
            };
            r.state_override.insert((*key).to_owned(), account);
        }
    };
    let mut request = request_v2(b"");
    change(&mut request);
    validate::process_batch_v2(request, ValidationRules::default())
}

#[test]
fn an_override_counts_in_every_spelling_of_its_address() {
    let address = ANY_ADDRESS.parse::<Address>().unwrap();
    let digits = &ANY_ADDRESS[2..];
    let spellings = [
        ANY_ADDRESS.to_owned(),
        address.to_checksum(None),
        digits.to_owned(),
        digits.to_uppercase(),
        format!("0x{}", digits.to_uppercase()),
        format!("0X{digits}"),
    ];
    for spelling in &spellings {
        let input = overridden(&[spelling]).unwrap();
        assert_eq!(input.state_override.len(), 1, "{spelling}");
        let account = &input.state_override[&address];
        assert_eq!((account.balance, account.nonce), (Some(U256::ZERO), None), "{spelling}");
        assert!(account.code.is_none() && account.state.is_none());
        assert_eq!(account.state_diff[&U256::from(1)], U256::from(2));
    }
}

#[test]
fn an_override_of_what_is_no_address_is_refused() {
    let digits = &ANY_ADDRESS[2..];
    let long = format!("{ANY_ADDRESS}0");
    let padded = format!("0x{digits:0>64}");
    let twice = format!("0x0x{digits}");
    let not_hex = ANY_ADDRESS.replace('6', "g");
    let spaced = format!(" {ANY_ADDRESS}");
    let nonsense = ["", "0x", "hello", "0x1", &ANY_ADDRESS[..41], &long, &padded, &twice, &not_hex, &spaced, "\u{130}"];
    for key in nonsense {
        assert_eq!(overridden(&[key]).err(), Some(ExecutorError::InvalidFrom), "{key:?}");
    }
    // Two spellings of one account cannot both be meant.
    assert_eq!(overridden(&[ANY_ADDRESS, digits]).err(), Some(ExecutorError::InvalidFrom));
}
