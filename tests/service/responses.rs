//! The shapes of answers per API version and fork (executor-service §6, §8).

use std::collections::BTreeMap;

use revm::primitives::{Address, B256, Bytes, U256};
use zkevm_types::FlushIds;
use zkevm_types::{BatchInput, BatchOutput, RomError};
use zkevm_types::{FrameKind, FullTrace, LogOutput, TouchedAccount, TraceContext, TraceStep, TxOutput};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::respond::{ResponseContext, response_v1, response_v2};
use zkevm_wire::validate::{ValidationRules, process_batch, process_batch_v2};

use crate::support::{block, output, request_v1, request_v2, transaction};

fn input_v1(fork_id: u64) -> BatchInput {
    let request = wire::ProcessBatchRequest { fork_id, old_batch_num: 41, ..request_v1(b"") };
    process_batch(request, ValidationRules::default()).unwrap()
}

fn input_v2(fork_id: u64) -> BatchInput {
    let request = wire::ProcessBatchRequestV2 { fork_id, ..request_v2(b"") };
    process_batch_v2(request, ValidationRules::default()).unwrap()
}

fn answer_v1(change: impl Fn(&mut BatchOutput)) -> wire::ProcessBatchResponse {
    let input = input_v1(6);
    let mut output = output(&input);
    change(&mut output);
    let flush = FlushIds { flush_id: 3, stored_flush_id: 3 };
    response_v1(output, &ResponseContext::new(&input, "id".into()), flush)
}

fn answer_v2(fork_id: u64, change: impl Fn(&mut BatchOutput)) -> wire::ProcessBatchResponseV2 {
    let input = input_v2(fork_id);
    let mut output = output(&input);
    change(&mut output);
    let answer = response_v2(output, &ResponseContext::new(&input, "id".into()), FlushIds::default());
    // As a client reads it: recorded traces are made into messages by encoding only.
    prost::Message::decode(prost::Message::encode_to_vec(&answer).as_slice()).unwrap()
}

fn log(index: u32) -> LogOutput {
    LogOutput {
        address: Address::repeat_byte(0xbb),
        topics: vec![B256::repeat_byte(7)],
        data: Bytes::from_static(b"data"),
        index,
    }
}

fn touched() -> BTreeMap<Address, TouchedAccount> {
    let account = TouchedAccount {
        nonce: Some(U256::ZERO),
        balance: None,
        code_hash: Some(U256::from(0xabc)),
        code_length: Some(U256::from(12)),
        storage: BTreeMap::from([(U256::from(0x1f), U256::ZERO)]),
    };
    BTreeMap::from([(Address::repeat_byte(0xcc), account)])
}

const TOUCHED: &str = "0xcccccccccccccccccccccccccccccccccccccccc";
const EMITTER: &str = "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

#[test]
fn v1_logs_carry_batch_coordinates() {
    let answer = answer_v1(|output| output.transactions[0].logs.push(log(0)));
    let want = wire::Log {
        address: EMITTER.to_owned(),
        topics: vec![vec![7; 32].into()],
        data: b"data"[..].into(),
        batch_number: 42,
        tx_hash: vec![0x33; 32].into(),
        tx_index: 0,
        batch_hash: vec![0x22; 32].into(),
        index: 0,
    };
    assert_eq!(answer.responses[0].logs, [want]);
}

#[test]
fn v1_accounts_tell_untouched_from_zero() {
    let answer = answer_v1(|output| output.read_write_addresses = touched());
    let want = wire::InfoReadWrite { nonce: "0".to_owned(), balance: String::new() };
    assert_eq!(answer.read_write_addresses, BTreeMap::from([(TOUCHED.to_owned(), want)]));
}

#[test]
fn v1_entry_of_an_undecodable_batch_carries_only_the_error() {
    let answer = answer_v1(|output| {
        let tx = &mut output.transactions[0];
        tx.error = RomError::InvalidRlp;
        tx.rlp_tx = Bytes::new();
        (tx.state_root, tx.effective_gas_price) = (B256::ZERO, None);
    });
    let want = wire::ProcessTransactionResponse { error: RomError::InvalidRlp.number(), ..Default::default() };
    assert_eq!(answer.responses, [want]);
}

#[test]
fn transactions_spell_addresses_and_prices_as_clients_parse_them() {
    let spoil = |tx: &mut TxOutput| {
        tx.create_address = Some(Address::with_last_byte(0xab));
        tx.has_balance_opcode = true;
    };
    let v1 = answer_v1(|output| spoil(&mut output.transactions[0])).responses.remove(0);
    let v2 = answer_v2(9, |output| spoil(&mut output.blocks[0].transactions[0])).block_responses[0].responses.remove(0);
    assert_eq!(v1.create_address, "00000000000000000000000000000000000000ab");
    assert_eq!(v1.create_address, v2.create_address);
    assert_eq!((v1.effective_gas_price.as_str(), v1.effective_percentage), ("0x3b9aca00", 255));
    assert_eq!((v1.has_gasprice_opcode, v1.has_balance_opcode), (0, 1));
    let none = answer_v1(|output| output.transactions[0].effective_gas_price = None).responses.remove(0);
    assert_eq!(none.effective_gas_price, "", "forks before 5 have no effective price");
}

#[test]
fn v2_never_sets_block_coordinates_at_transaction_level() {
    let tx = answer_v2(9, |_| ()).block_responses[0].responses.remove(0);
    assert_eq!((tx.block_hash.len(), tx.block_number, tx.status), (0, 0, 1));
    assert_eq!(tx.tx_hash_l2.as_ref(), [0x44; 32]);
}

#[test]
fn v2_block_fields_are_32_bytes_even_when_zero() {
    let block = answer_v2(9, |_| ()).block_responses.remove(0);
    for bytes in [&block.parent_hash, &block.ger, &block.block_hash_l1, &block.block_info_root, &block.block_hash] {
        assert_eq!(bytes.len(), 32);
    }
    assert_eq!(block.coinbase, "0xaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    assert_eq!(block.error, RomError::NoError.number());
}

fn two_txs_with_logs(output: &mut BatchOutput) {
    let mut first = transaction();
    first.logs = vec![log(0), log(1)];
    let mut second = transaction();
    second.tx_index = 1;
    second.tx_hash_l2 = B256::repeat_byte(0x45);
    second.logs = vec![log(2)];
    output.blocks = vec![block(vec![first, second])];
}

#[test]
fn v2_logs_from_fork_8_name_their_block_and_are_listed_there_too() {
    for fork_id in [8, 9] {
        let block = answer_v2(fork_id, two_txs_with_logs).block_responses.remove(0);
        let in_block: Vec<_> = block.logs.iter().map(|log| (log.index, log.tx_index, log.tx_hash_l2[0])).collect();
        assert_eq!(in_block, [(0, 0, 0x44), (1, 0, 0x44), (2, 1, 0x45)], "fork {fork_id}");
        let in_tx = &block.responses[1].logs[0];
        assert_eq!((in_tx.index, in_tx.tx_index, in_tx.block_number), (2, 1, 5), "fork {fork_id}");
        assert!(in_tx.tx_hash_l2.is_empty(), "only the block's list has the L2 hash");
        assert_eq!(in_tx.block_hash, block.block_hash, "fork {fork_id}");
        assert_eq!(in_tx.address, EMITTER);
    }
}

#[test]
fn v2_logs_of_fork_7_have_no_block_hash_and_no_block_list() {
    let block = answer_v2(7, two_txs_with_logs).block_responses.remove(0);
    assert!(block.logs.is_empty());
    assert!(block.responses[0].logs[0].block_hash.is_empty());
    assert_eq!(block.responses[0].logs[0].block_number, 5);
}

#[test]
fn v2_accounts_are_in_full_from_fork_8() {
    let of = |fork_id| {
        let mut answer = answer_v2(fork_id, |output| output.read_write_addresses = touched());
        answer.read_write_addresses.remove(TOUCHED).unwrap()
    };
    let short = wire::InfoReadWriteV2 { nonce: "0".to_owned(), ..Default::default() };
    assert_eq!(of(7), short);
    let full = wire::InfoReadWriteV2 {
        sc_code: "abc".to_owned(),
        sc_length: "12".to_owned(),
        sc_storage: BTreeMap::from([("1f".to_owned(), "0".to_owned())]),
        ..short
    };
    assert_eq!((of(8), of(9)), (full.clone(), full));
}

#[test]
fn v2_tells_invalid_batches_keys_and_internal_errors() {
    let answer = answer_v2(9, |output| {
        output.invalid_batch = true;
        output.error_rom = RomError::OutOfCountersKeccak;
        output.smt_keys = vec![B256::repeat_byte(1)];
        output.program_keys = vec![B256::repeat_byte(2)];
        output.error_log = "node missing".to_owned();
    });
    assert_eq!((answer.invalid_batch, answer.error_rom), (1, 9));
    assert_eq!((answer.smt_keys[0].as_ref(), answer.program_keys[0].as_ref()), (&[1; 32][..], &[2; 32][..]));
    assert_eq!(answer.debug, Some(wire::ResponseDebug { error_log: "node missing".to_owned() }));
    assert_eq!(answer_v2(9, |_| ()).debug, None, "clients take any text for a failure");
}

fn trace() -> Option<Box<FullTrace>> {
    let step = TraceStep {
        state_root: B256::ZERO,
        depth: 1,
        pc: 2,
        gas: 3,
        gas_cost: 4,
        gas_refund: 5,
        op: 0x55,
        stack: vec![U256::ZERO, U256::from(0xff)],
        memory: vec![9],
        memory_size: 32,
        memory_offset: 31,
        return_data: Bytes::new(),
        contract_address: Address::with_last_byte(1),
        contract_caller: Address::with_last_byte(2),
        contract_value: U256::from(16),
        contract_data: Bytes::new(),
        contract_gas: 6,
        contract_kind: FrameKind::DelegateCall,
        error: RomError::NoError,
        storage: BTreeMap::from([(U256::from(10), U256::from(11))]),
    };
    let context =
        TraceContext { is_create: true, value: U256::ZERO, tx_index: 3, chain_id: 1000, ..Default::default() };
    Some(Box::new(FullTrace { context, steps: [step].into_iter().collect() }))
}

#[test]
fn traces_follow_the_encodings_of_each_field() {
    let trace = answer_v2(9, |output| output.blocks[0].transactions[0].full_trace = trace()).block_responses[0]
        .responses
        .remove(0)
        .full_trace
        .unwrap();
    let context = trace.context.unwrap();
    assert_eq!((context.r#type.as_str(), context.to.as_str(), context.value.as_str()), ("CREATE", "0x", "0x0"));
    assert_eq!((context.tx_index, context.chain_id, context.nonce, context.block_hash.len()), (3, 1000, 0, 0));
    assert_eq!(context.old_state_root.len(), 32);
    let step = &trace.steps[0];
    assert_eq!(step.stack, ["0", "ff"]);
    assert_eq!(step.storage, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    assert_eq!((step.op, step.error, step.memory_offset), (0x55, 1, 31));
    let contract = step.contract.as_ref().unwrap();
    assert_eq!(contract.address, "0000000000000000000000000000000000000001");
    assert_eq!((contract.r#type.as_str(), contract.value.as_str()), ("DELEGATECALL", "0x10"));
}

#[test]
fn v1_trace_context_repeats_the_batch_hash() {
    let mut answer = answer_v1(|output| output.transactions[0].full_trace = trace());
    let context = answer.responses.remove(0).full_trace.unwrap().context.unwrap();
    assert_eq!(context.batch.as_ref(), [0x22; 32]);
}
