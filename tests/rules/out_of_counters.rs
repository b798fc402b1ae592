//! Policy `enforce`: what a batch comes to that runs out of zk counters (counters §15, §16.3).

use revm::primitives::{B256, Bytes, U256};
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{BatchBuilder, Transfer};
use zkevm_types::ApiVersion;
use zkevm_types::{BatchInput, CountersPolicy};
use zkevm_types::{BatchOutput, ExecutorError, RomError};

use super::support::{A, ALL, CHAIN_ID, R, State, bytes, ether, fork, request, sender, transactions, v2};

/// Digests 64 KiB over and over until the gas is gone: 482 keccaks each time, the limit is 2258.
const KECCAK_LOOP: &str = "5b 62010000 6000 20 50 6000 56";
/// Multiplies over and over.
const STEPS_LOOP: &str = "5b 6002 6003 02 50 6000 56";

fn state(code: &str) -> State {
    let rich = GenesisAccount { address: sender().address(), balance: ether(1), ..GenesisAccount::default() };
    let contract = GenesisAccount { address: A, code: bytes(code), ..GenesisAccount::default() };
    State::new(vec![rich, contract])
}

/// A transfer, a call of the contract, a transfer.
fn batch(fork_id: u64, root: B256, policy: CountersPolicy) -> BatchInput {
    let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
    batch.block(1, 0);
    for (nonce, to) in [R, A, R].into_iter().enumerate() {
        let transfer = Transfer {
            nonce: nonce as u64,
            gas_price: U256::from(1),
            gas_limit: if to == A { 10_000_000 } else { 21_000 },
            to: Some(to),
            value: U256::ZERO,
            data: Bytes::new(),
        };
        batch.transaction(&sender(), &transfer);
    }
    BatchInput { counters_policy: policy, ..request(fork_id, root, batch.finish()) }
}

fn assert_undone(output: &BatchOutput, input: &BatchInput, error: RomError) {
    assert_eq!(output.error, ExecutorError::NoError);
    assert_eq!(output.roots.map(|roots| roots.new_state_root), Some(input.old_state_root));
    assert!(output.new_nodes.is_empty(), "nothing of the batch stays");
    match input.fork_id.rules().api {
        ApiVersion::V2 => {
            assert_eq!((output.error_rom, output.invalid_batch), (error, true));
            assert!(output.blocks.is_empty(), "the block in progress is dropped");
        }
        ApiVersion::V1 => {
            let errors: Vec<RomError> = output.transactions.iter().map(|tx| tx.error).collect();
            assert_eq!(errors, [RomError::NoError, error], "nothing runs after the failing transaction");
            assert_eq!(output.transactions[1].state_root, input.old_state_root);
        }
    }
}

#[test]
fn enforce_undoes_the_batch_and_names_the_counter() {
    for (code, error) in [(KECCAK_LOOP, RomError::OutOfCountersKeccak), (STEPS_LOOP, RomError::OutOfCountersStep)] {
        let state = state(code);
        for &fork_id in ALL {
            let input = batch(fork_id, state.root, CountersPolicy::Enforce);
            assert_undone(&state.run(&input), &input, error);
        }
    }
}

/// The block of a sequencer's trial stays, so that it can tell which transaction to drop.
#[test]
fn a_batch_inside_a_block_keeps_it() {
    let state = state(KECCAK_LOOP);
    for fork_id in [7, 8, 9] {
        let mut input = batch(fork_id, state.root, CountersPolicy::Enforce);
        input.batch_l2_data = input.batch_l2_data.slice(9..);
        v2(&mut input).skip_first_change_l2_block = true;
        let output = state.run(&input);
        assert_eq!((output.error_rom, output.invalid_batch), (RomError::OutOfCountersKeccak, true));
        assert_eq!(output.roots.map(|roots| roots.new_state_root), Some(input.old_state_root));
        let errors: Vec<RomError> = transactions(&output).iter().map(|tx| tx.error).collect();
        assert_eq!(errors, [RomError::NoError, RomError::OutOfCountersKeccak], "fork {fork_id}");
    }
}

#[test]
fn report_and_no_counters_refuse_nothing() {
    let state = state(KECCAK_LOOP);
    for &fork_id in ALL {
        let reported = batch(fork_id, state.root, CountersPolicy::Report);
        let uncounted = BatchInput { no_counters: true, ..batch(fork_id, state.root, CountersPolicy::Enforce) };
        for input in [reported, uncounted] {
            let output = state.run(&input);
            let errors: Vec<RomError> = transactions(&output).iter().map(|tx| tx.error).collect();
            assert_eq!(errors, [RomError::NoError, RomError::OutOfGas, RomError::NoError], "fork {fork_id}");
            assert_ne!(output.roots.map(|roots| roots.new_state_root), Some(input.old_state_root));
        }
    }
}

#[test]
fn enforce_leaves_a_batch_within_the_limits_alone() {
    let state = state("00");
    for &fork_id in ALL {
        let [enforced, reported] = [CountersPolicy::Enforce, CountersPolicy::Report]
            .map(|policy| state.run(&batch(fork_id, state.root, policy)));
        assert_eq!(enforced.roots, reported.roots);
        assert_eq!(enforced.counters, reported.counters);
        assert_eq!(transactions(&enforced).len(), 3);
    }
}
