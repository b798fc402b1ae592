//! Forced batches (batch §7): one implicit block, the request names its time and its L1 info.

use revm::primitives::{B256, U256};
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_types::BatchInput;
use zkevm_types::{BatchOutput, RomError};

use super::batch_errors::transfer;
use super::support::{GER_MANAGER, SYSTEM, State, V2, bytes, ether, mapping_slot, new_root, request, same, sender, v2};

const GER: B256 = B256::repeat_byte(0x6e);
const L1_HASH: B256 = B256::repeat_byte(0x11);
const LAST_TIME: u64 = 2_000;

/// A state whose last block is number 5, with the entry of GER in the GER manager, 0 for none.
fn state(ger_entry: U256) -> State {
    let slots = |slots: &[(U256, U256)]| slots.iter().copied().collect();
    State::new(vec![
        GenesisAccount { address: sender().address(), balance: ether(1), ..GenesisAccount::default() },
        GenesisAccount {
            address: SYSTEM,
            storage: slots(&[(U256::ZERO, U256::from(5)), (U256::from(2), U256::from(LAST_TIME))]),
            ..GenesisAccount::default()
        },
        GenesisAccount {
            address: GER_MANAGER,
            storage: slots(&[(mapping_slot(GER.into(), 0), ger_entry)]),
            ..GenesisAccount::default()
        },
    ])
}

fn run(state: &State, fork_id: u64, data: &[u8], forced_time: u64) -> BatchOutput {
    let mut input: BatchInput = request(fork_id, state.root, data.to_vec().into());
    let context = v2(&mut input);
    context.l1_info_root = GER;
    context.forced_blockhash_l1 = L1_HASH;
    context.timestamp_limit = forced_time;
    state.run(&input)
}

#[test]
fn time_never_goes_back() {
    for &fork_id in V2 {
        for (forced_time, expected) in [(LAST_TIME + 1, LAST_TIME + 1), (LAST_TIME, LAST_TIME), (7, LAST_TIME)] {
            let state = state(U256::ZERO);
            let output = run(&state, fork_id, &transfer(fork_id, 0), forced_time);
            let place = format!("fork {fork_id}, forced time {forced_time}");
            let [block] = &output.blocks[..] else { panic!("{place}: one block: {output:?}") };
            same(&place, (block.block_number, block.timestamp), (6, expected));
            let root = new_root(&output).expect("the batch runs");
            same(&format!("{place}, stored"), state.slot(root, SYSTEM, U256::from(2)), U256::from(expected));
            same(&format!("{place}, parent"), block.parent_hash, state.root);
            let parent_slot = mapping_slot(U256::from(5), 1);
            same(&format!("{place}, root of 5"), state.slot(root, SYSTEM, parent_slot), state.root.into());
        }
    }
}

#[test]
fn a_known_global_exit_root_keeps_its_entry() {
    for &fork_id in V2 {
        for (entry, expected) in [(U256::ZERO, L1_HASH.into()), (U256::from(9), U256::from(9))] {
            let state = state(entry);
            let output = run(&state, fork_id, &transfer(fork_id, 0), LAST_TIME);
            let root = new_root(&output).expect("the batch runs");
            let place = format!("fork {fork_id}, entry {entry}");
            same(&place, state.slot(root, GER_MANAGER, mapping_slot(GER.into(), 0)), expected);
            // The header has what the request says, known or not.
            let block = &output.blocks[0];
            same(&format!("{place}, header"), (block.ger, block.block_hash_l1), (GER, L1_HASH));
        }
    }
}

#[test]
fn what_cannot_be_in_a_forced_batch_empties_it() {
    use RomError::{InvalidDecodeChangeL2Block, InvalidRlp, NoError};
    for &fork_id in V2 {
        let tx = transfer(fork_id, 0);
        let rows = [
            ("nothing", vec![], NoError),
            ("a block", bytes("0b 00000001 00000000").to_vec(), InvalidDecodeChangeL2Block),
            ("a block at the end", [&tx[..], &bytes("0b 00000001 00000000")].concat(), InvalidDecodeChangeL2Block),
            ("garbage", bytes("c0ffee").to_vec(), InvalidRlp),
        ];
        for (name, data, error) in rows {
            let state = state(U256::ZERO);
            let output = run(&state, fork_id, &data, LAST_TIME + 1);
            let place = format!("fork {fork_id}, {name}");
            same(&place, (output.error_rom, output.blocks.len(), output.gas_used), (error, 0, 0));
            same(&format!("{place}, root"), new_root(&output), Ok(state.root));
        }
    }
}
