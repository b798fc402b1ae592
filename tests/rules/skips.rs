//! The three skip flags of a request (batch §7.1, §13).

use revm::primitives::{Address, B256, Bytes, U256, address};
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{BatchBuilder, Transfer};
use zkevm_tree::{BlockInfoKind, block_info_key, root_of_entries};
use zkevm_types::TxOutput;
use zkevm_types::{BatchInput, L1InfoLeaf};
use zkevm_types::{BatchOutput, ExecutorError, RomError};

use super::support::{
    CHAIN_ID, GER_MANAGER, SYSTEM, State, V2, bytes, ether, fork, mapping_slot, new_root, request, same, sender, v2,
};

/// Stores NUMBER in slot 0 and TIMESTAMP in slot 1.
const CLOCK: Address = address!("000000000000000000000000000000000c10c000");
const CLOCK_CODE: &str = "4360005542600155";
const LAST_BLOCK: u64 = 5;
const LAST_TIME: u64 = 2_000;
const LAST_INFO_ROOT: u64 = 3;
const GER: B256 = B256::repeat_byte(0x6e);
const L1_HASH: B256 = B256::repeat_byte(0x11);
const BLOCK: &str = "0b 0000000a 00000000";
const BLOCK_WITH_INFO: &str = "0b 0000000a 00000001";
/// Ten seconds after the last block.
const TIME: u64 = LAST_TIME + 10;

fn state() -> State {
    let number = |slot: u64, value: u64| (U256::from(slot), U256::from(value));
    State::new(vec![
        GenesisAccount { address: sender().address(), balance: ether(1), ..GenesisAccount::default() },
        GenesisAccount { address: CLOCK, code: bytes(CLOCK_CODE), ..GenesisAccount::default() },
        GenesisAccount {
            address: SYSTEM,
            storage: [number(0, LAST_BLOCK), number(2, LAST_TIME), number(3, LAST_INFO_ROOT)].into(),
            ..GenesisAccount::default()
        },
    ])
}

/// A call of CLOCK.
fn call(fork_id: u64, nonce: u64) -> Bytes {
    let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
    let transfer = Transfer {
        nonce,
        gas_price: U256::from(1),
        gas_limit: 100_000,
        to: Some(CLOCK),
        value: U256::ZERO,
        data: Bytes::new(),
    };
    batch.transaction(&sender(), &transfer);
    batch.finish()
}

fn run(state: &State, fork_id: u64, data: &[&[u8]], change: impl FnOnce(&mut BatchInput)) -> BatchOutput {
    let mut input = request(fork_id, state.root, data.concat().into());
    change(&mut input);
    state.run(&input)
}

/// Root of a block info tree with one transaction and no header.
fn headless_info_root(tx: &TxOutput) -> B256 {
    let leaf = |kind, index, value| (block_info_key(kind, index, 0), value);
    let mut leaves = [
        leaf(BlockInfoKind::TxHash, 0, tx.tx_hash_l2.into()),
        leaf(BlockInfoKind::Status, 0, U256::from(1)),
        leaf(BlockInfoKind::CumulativeGas, 0, U256::from(tx.gas_used)),
        leaf(BlockInfoKind::EffectivePercentage, 0, U256::from(255)),
        leaf(BlockInfoKind::Header, 7, U256::from(tx.gas_used)),
    ];
    root_of_entries(&mut leaves).expect("five leaves make a tree").to_b256()
}

#[test]
fn without_its_first_block_a_batch_goes_on_in_the_last_one() {
    for &fork_id in V2 {
        let state = state();
        let tx = call(fork_id, 0);
        let output = run(&state, fork_id, &[&tx], |input| v2(input).skip_first_change_l2_block = true);
        let root = new_root(&output).expect("the batch runs");
        let [block] = &output.blocks[..] else { panic!("fork {fork_id}: one block: {output:?}") };
        let clock = [0, 1].map(|slot| state.slot(root, CLOCK, U256::from(slot)));
        same("NUMBER and TIMESTAMP", clock, [U256::from(LAST_BLOCK), U256::from(LAST_TIME)]);
        same("number and time", (block.block_number, block.timestamp), (LAST_BLOCK, LAST_TIME));
        same("nothing above it", (block.parent_hash, block.ger, block.block_hash_l1), Default::default());
        same("last block", state.slot(root, SYSTEM, U256::ZERO), U256::from(LAST_BLOCK));
        same("root of the last block", state.slot(root, SYSTEM, mapping_slot(U256::from(LAST_BLOCK), 1)), U256::ZERO);
        let info_root = headless_info_root(&block.transactions[0]);
        same("block info root", block.block_info_root, info_root);
        same("stored info root", state.slot(root, SYSTEM, U256::from(3)), info_root.into());
    }
}

#[test]
fn a_block_after_the_skipped_one_closes_it() {
    for &fork_id in V2 {
        let state = state();
        let data = [&call(fork_id, 0)[..], &bytes(BLOCK), &call(fork_id, 1)];
        let output = run(&state, fork_id, &data, |input| v2(input).skip_first_change_l2_block = true);
        let root = new_root(&output).expect("the batch runs");
        let [skipped, next] = &output.blocks[..] else { panic!("fork {fork_id}: two blocks: {output:?}") };
        same("numbers", [skipped.block_number, next.block_number], [LAST_BLOCK, LAST_BLOCK + 1]);
        same("times", [skipped.timestamp, next.timestamp], [LAST_TIME, TIME]);
        same("parent", next.parent_hash, skipped.block_hash);
        same("NUMBER", state.slot(root, CLOCK, U256::ZERO), U256::from(LAST_BLOCK + 1));
        let stored = state.slot(root, SYSTEM, mapping_slot(U256::from(LAST_BLOCK), 1));
        same("root of the last block", stored, skipped.block_hash.into());
    }
}

#[test]
fn a_first_block_that_is_there_is_not_skipped() {
    for &fork_id in V2 {
        let answer = |skip| {
            let state = state();
            let data = [&bytes(BLOCK)[..], &call(fork_id, 0)];
            let output = run(&state, fork_id, &data, |input| v2(input).skip_first_change_l2_block = skip);
            (new_root(&output), output.blocks.len())
        };
        same("root and blocks", answer(true), answer(false));
    }
}

#[test]
fn an_undecodable_first_transaction_is_invalid_rlp_when_the_block_is_skipped() {
    for &fork_id in V2 {
        let state = state();
        let output = run(&state, fork_id, &[&[0xff]], |input| v2(input).skip_first_change_l2_block = true);
        same("error", (output.error_rom, new_root(&output)), (RomError::InvalidRlp, Ok(state.root)));
    }
}

#[test]
fn a_block_info_root_that_is_not_written_deletes_the_last_one() {
    for &fork_id in V2 {
        let state = state();
        let data = [&bytes(BLOCK)[..], &call(fork_id, 0)];
        let [written, skipped] =
            [false, true].map(|skip| run(&state, fork_id, &data, |input| v2(input).skip_write_block_info_root = skip));
        let stored = [&written, &skipped].map(|output| {
            let root = new_root(output).expect("the batch runs");
            state.slot(root, SYSTEM, U256::from(3))
        });
        let reported = [&written, &skipped].map(|output| output.blocks[0].block_info_root);
        same("reported", reported[0], reported[1]);
        same("stored", stored, [reported[0].into(), U256::ZERO]);
        assert_ne!(new_root(&written), new_root(&skipped), "fork {fork_id}: the roots differ");
    }
}

#[test]
fn an_unverified_l1_info_entry_is_still_held_to_its_time() {
    let entry = |min_timestamp| L1InfoLeaf {
        global_exit_root: GER,
        block_hash_l1: L1_HASH,
        min_timestamp,
        smt_proof: Vec::new(),
    };
    let with = |leaf: Option<L1InfoLeaf>| {
        move |input: &mut BatchInput| {
            v2(input).skip_verify_l1_info_root = true;
            v2(input).l1_info_tree_data = leaf.map(|leaf| (1, leaf)).into_iter().collect();
        }
    };
    let data = bytes(BLOCK_WITH_INFO);
    for &fork_id in V2 {
        let state = state();
        let output = run(&state, fork_id, &[&data], with(Some(entry(TIME))));
        let root = new_root(&output).expect("no proof is needed");
        same("its L1 block hash", state.slot(root, GER_MANAGER, mapping_slot(GER.into(), 0)), L1_HASH.into());

        let output = run(&state, fork_id, &[&data], with(Some(entry(TIME + 1))));
        let too_early = RomError::InvalidTxChangeL2BlockMinTimestamp;
        same("too early", (output.error_rom, new_root(&output)), (too_early, Ok(state.root)));

        let output = run(&state, fork_id, &[&data], with(None));
        same("no entry", (output.error, output.roots), (ExecutorError::InvalidL1InfoTreeIndex, None));

        let output = run(&state, fork_id, &[&data], with(Some(L1InfoLeaf::default())));
        let (error, blocks) = if fork_id >= 9 { (RomError::InvalidL1InfoTreeIndex, 0) } else { (RomError::NoError, 1) };
        same(&format!("fork {fork_id}, all zero"), (output.error_rom, output.blocks.len()), (error, blocks));
        if let [block] = &output.blocks[..] {
            same("no exit root", (block.ger, block.block_hash_l1), Default::default());
        }
    }
}
