//! Errors of a whole batch: what is undone, what is still reported (batch §3, §7, §10).

use revm::primitives::{B256, Bytes, U256, keccak256};
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{BatchBuilder, Transfer};
use zkevm_tree::storage_key;
use zkevm_types::ApiVersion;
use zkevm_types::{BatchContext, BatchInput, L1InfoLeaf};
use zkevm_types::{BatchOutput, ExecutorError, RomError};

use super::support::{
    ALL, CHAIN_ID, GER_MANAGER, R, State, V2, bytes, ether, fork, l1_leaf_hash, l1_proof, l1_root, mapping_slot,
    request, same, sender, transactions, v2,
};

const V1: &[u64] = &[4, 5, 6];
/// A ChangeL2Block 100 seconds after the block before, without and with L1 info.
const BLOCK: &str = "0b 00000064 00000000";
const BLOCK_WITH_INFO: &str = "0b 00000064 00000001";
/// The time of the first block that they open on an empty state.
const TIME: u64 = 100;
const GER: B256 = B256::repeat_byte(0x6e);
const L1_HASH: B256 = B256::repeat_byte(0x11);
/// More data than a list header may promise: the keccaks for it cannot be reserved.
const ABSURD_HEADERS: [&str; 2] = ["fa04b000", "faffffff"];

pub(crate) fn funded() -> State {
    let account = GenesisAccount { address: sender().address(), balance: ether(1), ..GenesisAccount::default() };
    State::new(vec![account])
}

/// One signed transfer of 1 wei to R.
pub(crate) fn transfer(fork_id: u64, nonce: u64) -> Bytes {
    let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
    let transfer = Transfer {
        nonce,
        gas_price: U256::from(1),
        gas_limit: 100_000,
        to: Some(R),
        value: U256::from(1),
        data: Bytes::new(),
    };
    batch.transaction(&sender(), &transfer);
    batch.finish()
}

pub(crate) fn concat(items: &[&[u8]]) -> Bytes {
    items.concat().into()
}

/// What a batch comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It ran: closed blocks.
    Valid(usize),
    /// Undone by an error of the rules: closed blocks that stay listed.
    Invalid(RomError, usize),
    /// No roots at all.
    Aborted(ExecutorError),
}

impl Answer {
    fn of(output: &BatchOutput) -> Self {
        match (output.roots, output.invalid_batch) {
            (None, _) => Self::Aborted(output.error),
            (Some(_), true) => Self::Invalid(output.error_rom, output.blocks.len()),
            (Some(_), false) => Self::Valid(output.blocks.len()),
        }
    }
}

/// The accumulated input hash covers the bytes as sent, whatever came of them (batch §4).
fn expected_acc_input_hash(input: &BatchInput) -> B256 {
    let batch_hash = keccak256(&input.batch_l2_data);
    let tail = match &input.context {
        BatchContext::V1 { global_exit_root, eth_timestamp } => {
            [&global_exit_root[..], &eth_timestamp.to_be_bytes(), &input.coinbase[..]].concat()
        }
        BatchContext::V2(context) => [
            &context.l1_info_root[..],
            &context.timestamp_limit.to_be_bytes(),
            &input.coinbase[..],
            &context.forced_blockhash_l1[..],
        ]
        .concat(),
    };
    keccak256([&input.old_acc_input_hash[..], &batch_hash[..], &tail].concat())
}

/// Runs a V2 row under `forks` and compares the answer; an invalid batch also has the old root and the hash of its data.
fn expect(name: &str, forks: &[u64], data: impl Fn(u64) -> Bytes, change: impl Fn(&mut BatchInput), answer: Answer) {
    for &fork_id in forks {
        let state = funded();
        let mut input = request(fork_id, state.root, data(fork_id));
        change(&mut input);
        let output = state.run(&input);
        let place = format!("fork {fork_id}, {name}");
        assert_eq!(Answer::of(&output), answer, "{place}: {}", output.error_log);
        let Some(roots) = output.roots else { continue };
        same(&format!("{place}, hash"), roots.new_acc_input_hash, expected_acc_input_hash(&input));
        same(&format!("{place}, executor error"), output.error, ExecutorError::NoError);
        if let Answer::Invalid(..) = answer {
            same(&format!("{place}, root"), roots.new_state_root, state.root);
        }
    }
}

fn unchanged(_input: &mut BatchInput) {}

#[test]
fn undecodable_items_empty_a_batch_of_blocks() {
    use RomError::{InvalidDecodeChangeL2Block, InvalidNotFirstTxChangeL2Block, InvalidRlp, OutOfCountersKeccak};
    let after = |tail: &'static str| move |fork_id| concat(&[&bytes(BLOCK), &transfer(fork_id, 0), &bytes(tail)]);
    expect("a whole batch", V2, after(""), unchanged, Answer::Valid(1));
    expect("a byte at the end", V2, after("00"), unchanged, Answer::Invalid(InvalidRlp, 0));
    expect("a typed transaction", V2, after("02c0"), unchanged, Answer::Invalid(InvalidRlp, 0));
    expect("a bare block prefix", V2, after("0b"), unchanged, Answer::Invalid(InvalidDecodeChangeL2Block, 0));
    let cut_block = after("0b 00000064 000000");
    expect("a cut block item", V2, cut_block, unchanged, Answer::Invalid(InvalidDecodeChangeL2Block, 0));
    let no_percentage = |fork_id| {
        let tx = transfer(fork_id, 0);
        concat(&[&bytes(BLOCK), &tx[..tx.len() - 1]])
    };
    expect("no percentage byte", V2, no_percentage, unchanged, Answer::Invalid(InvalidRlp, 0));
    let no_block = |fork_id| transfer(fork_id, 0);
    expect("no block", V2, no_block, unchanged, Answer::Invalid(InvalidNotFirstTxChangeL2Block, 0));
    let garbage = |_| bytes("ff");
    let not_first = Answer::Invalid(InvalidNotFirstTxChangeL2Block, 0);
    expect("no block, before looking at the list", V2, garbage, unchanged, not_first);
    for header in ABSURD_HEADERS {
        let answer = Answer::Invalid(OutOfCountersKeccak, 0);
        expect("an absurd list header", &[7, 8, 9], after(header), unchanged, answer);
    }
    let answer = Answer::Invalid(OutOfCountersKeccak, 0);
    expect("the longest list header", V2, after("faffffff"), unchanged, answer);
    let answer = Answer::Invalid(InvalidRlp, 0);
    expect("one within the limit of keccaks", &[10, 11, 12, 13], after("fa04b000"), unchanged, answer);
}

#[test]
fn undecodable_items_empty_a_batch_without_blocks() {
    const TIMESTAMP: u64 = 77;
    let with_percentage = |fork_id| fork_id >= 5;
    for &fork_id in V1 {
        let tx = transfer(fork_id, 0);
        let tail = |text: &str| concat(&[&tx, &bytes(text)]);
        let mut rows = vec![
            ("a byte at the end", tail("00"), RomError::InvalidRlp),
            ("a block item", concat(&[&bytes(BLOCK), &tx]), RomError::InvalidRlp),
            ("a cut transaction", concat(&[&tx[..tx.len() - 1]]), RomError::InvalidRlp),
        ];
        rows.extend(ABSURD_HEADERS.map(|header| ("an absurd header", tail(header), RomError::OutOfCountersKeccak)));
        for (name, data, error) in rows {
            let mut state = funded();
            let mut input = request(fork_id, state.root, data);
            input.context = BatchContext::V1 { global_exit_root: GER, eth_timestamp: TIMESTAMP };
            let output = state.run(&input);
            let place = format!("fork {fork_id}, {name}");
            let roots = output.roots.expect("an undecodable batch has roots");
            let ger_slot = mapping_slot(GER.into(), 0);
            let batch_root = state.write(&[(storage_key(GER_MANAGER, ger_slot), U256::from(TIMESTAMP))]);
            same(&format!("{place}: root"), roots.new_state_root, batch_root);
            same(&format!("{place}: hash"), roots.new_acc_input_hash, expected_acc_input_hash(&input));
            same(&format!("{place}: gas"), output.gas_used, 0);
            let listed: Vec<_> = transactions(&output).iter().map(|tx| (tx.error, tx.gas_used)).collect();
            // Only fork 4 keeps silent about a list that does not decode.
            let silent = error == RomError::InvalidRlp && !with_percentage(fork_id);
            let expected = if silent { vec![] } else { vec![(error, 0)] };
            same(&format!("{place}: transactions"), listed, expected);
        }
    }
}

fn info_leaf(min_timestamp: u64) -> L1InfoLeaf {
    let leaf = L1InfoLeaf { global_exit_root: GER, block_hash_l1: L1_HASH, min_timestamp, smt_proof: l1_proof(&[]) };
    assert_eq!(leaf.smt_proof.len(), 32);
    leaf
}

/// Makes `leaf` leaf 1 of the L1 info tree.
fn prove(input: &mut BatchInput, leaf: L1InfoLeaf) {
    let context = v2(input);
    context.l1_info_root = l1_root(l1_leaf_hash(&leaf), 1, &leaf.smt_proof);
    context.l1_info_tree_data = [(1, leaf)].into();
}

#[test]
fn block_times_have_a_limit_and_a_minimum() {
    let one = |_| bytes(BLOCK);
    let too_late = RomError::InvalidTxChangeL2BlockLimitTimestamp;
    expect("at the limit", V2, one, |input| v2(input).timestamp_limit = TIME, Answer::Valid(1));
    let answer = Answer::Invalid(too_late, 0);
    expect("one over the limit", V2, one, |input| v2(input).timestamp_limit = TIME - 1, answer);
    let two = |fork_id| concat(&[&bytes(BLOCK), &transfer(fork_id, 0), &bytes(BLOCK)]);
    let answer = Answer::Invalid(too_late, 1);
    expect("a closed block stays listed", V2, two, |input| v2(input).timestamp_limit = 2 * TIME - 1, answer);
    let same_time = |_| bytes("0b 00000064 00000000 0b 00000000 00000000");
    expect("two blocks of one time", V2, same_time, |input| v2(input).timestamp_limit = TIME, Answer::Valid(2));

    let with_info = |_| bytes(BLOCK_WITH_INFO);
    expect("at the minimum", V2, with_info, |input| prove(input, info_leaf(TIME)), Answer::Valid(1));
    let answer = Answer::Invalid(RomError::InvalidTxChangeL2BlockMinTimestamp, 0);
    expect("one under the minimum", V2, with_info, |input| prove(input, info_leaf(TIME + 1)), answer);
}

#[test]
fn an_undone_batch_keeps_its_gas_sum() {
    for &fork_id in V2 {
        let state = funded();
        let data = concat(&[&bytes(BLOCK), &transfer(fork_id, 0), &bytes(BLOCK)]);
        let mut input = request(fork_id, state.root, data);
        v2(&mut input).timestamp_limit = TIME;
        let output = state.run(&input);
        same("gas used", (output.gas_used, output.blocks.len()), (21_000, 1));
        same("new nodes", output.new_nodes.len(), 0);
    }
}

#[test]
fn l1_info_must_be_there_and_be_proven() {
    use ExecutorError::{Assert, InvalidL1InfoTreeIndex, InvalidL1InfoTreeSmtProofValue};
    let data = |_| bytes(BLOCK_WITH_INFO);
    expect("no entry", V2, data, unchanged, Answer::Aborted(InvalidL1InfoTreeIndex));
    let short = |input: &mut BatchInput| {
        prove(input, info_leaf(0));
        v2(input).l1_info_tree_data.get_mut(&1).expect("just put there").smt_proof.pop();
    };
    expect("a proof of 31 levels", V2, data, short, Answer::Aborted(InvalidL1InfoTreeSmtProofValue));
    let other_root = |input: &mut BatchInput| {
        prove(input, info_leaf(0));
        v2(input).l1_info_root = B256::repeat_byte(1);
    };
    expect("another root", V2, data, other_root, Answer::Aborted(Assert));
    let other_index = |input: &mut BatchInput| {
        let leaf = info_leaf(0);
        prove(input, leaf.clone());
        v2(input).l1_info_root = l1_root(l1_leaf_hash(&leaf), 2, &leaf.smt_proof);
    };
    expect("the proof of another index", V2, data, other_index, Answer::Aborted(Assert));
}

#[test]
fn a_zero_l1_leaf_is_an_error_of_its_own_in_fork_9() {
    let zero = || L1InfoLeaf { smt_proof: l1_proof(&[]), ..L1InfoLeaf::default() };
    let data = |_| bytes(BLOCK_WITH_INFO);
    let as_empty_leaf = |input: &mut BatchInput| {
        prove(input, zero());
        v2(input).l1_info_root = l1_root(B256::ZERO, 1, &zero().smt_proof);
    };
    let invalid = Answer::Invalid(RomError::InvalidL1InfoTreeIndex, 0);
    expect("proven as empty", &[9], data, as_empty_leaf, invalid);
    expect("proven as empty", &[7, 8], data, as_empty_leaf, Answer::Aborted(ExecutorError::Assert));
    let as_hash = |input: &mut BatchInput| prove(input, zero());
    expect("proven by its hash", &[9], data, as_hash, Answer::Aborted(ExecutorError::Assert));
}

#[test]
fn an_old_root_with_a_limb_out_of_the_field_is_refused() {
    const PRIME: u64 = 0xffff_ffff_0000_0001;
    for limb in 0..4 {
        let mut limbs = [0; 4];
        limbs[limb] = PRIME;
        let change = |input: &mut BatchInput| input.old_state_root = U256::from_limbs(limbs).into();
        let answer = Answer::Aborted(ExecutorError::BinaryLt4Mismatch);
        expect(&format!("limb {limb}"), V2, |_| bytes(BLOCK), change, answer);
    }
}

#[test]
fn a_first_transaction_that_is_skipped_reports_the_chain_id_as_gas_left() {
    for &fork_id in ALL {
        let state = funded();
        let has_blocks = fork(fork_id).rules().api == ApiVersion::V2;
        let block = if has_blocks { bytes(BLOCK) } else { Bytes::new() };
        let output = state.run(&request(fork_id, state.root, concat(&[&block, &transfer(fork_id, 1)])));
        let listed: Vec<_> = transactions(&output).iter().map(|tx| (tx.error, tx.gas_used, tx.gas_left)).collect();
        same(&format!("fork {fork_id}"), listed, vec![(RomError::IntrinsicInvalidNonce, 99_000, 1_000)]);
        same(&format!("fork {fork_id}, sum"), output.gas_used, 99_000);
    }
}

/// Hashes of transactions are made when the batch is decoded: it may end in any way after that (executor-service §5.7).
#[test]
fn keys_of_programs_have_the_hashes_of_all_that_was_decoded() {
    for &fork_id in V2 {
        let state = State::new(vec![GenesisAccount {
            address: sender().address(),
            balance: ether(1),
            ..GenesisAccount::default()
        }]);
        let data = concat(&[&bytes(BLOCK), &transfer(fork_id, 0)]);
        let ask = |data: Bytes, change: fn(&mut BatchInput)| {
            let mut input = BatchInput { get_keys: true, ..request(fork_id, state.root, data) };
            change(&mut input);
            state.run(&input)
        };
        let regular = ask(data.clone(), unchanged);
        let hash = regular.blocks[0].transactions[0].tx_hash_l2;
        assert!(regular.program_keys.contains(&hash), "fork {fork_id}");
        let late = ask(data.clone(), |input| v2(input).timestamp_limit = 0);
        assert_eq!((late.invalid_batch, late.program_keys), (true, vec![hash]), "fork {fork_id}");
        let undecodable = ask(concat(&[&data, &bytes("00")]), unchanged);
        assert_eq!((undecodable.invalid_batch, undecodable.program_keys), (true, vec![hash]), "fork {fork_id}");
        // A batch that is given up shows what it had by then.
        let with_info = concat(&[&bytes("0b 00000064 00000001"), &transfer(fork_id, 0)]);
        let aborted = ask(with_info, unchanged);
        assert_eq!(aborted.error, ExecutorError::InvalidL1InfoTreeIndex, "fork {fork_id}");
        assert_eq!((aborted.program_keys, aborted.smt_keys.is_empty()), (vec![hash], false), "fork {fork_id}");
    }
}
