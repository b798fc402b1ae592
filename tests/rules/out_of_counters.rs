//! Policy `enforce`: what a batch comes to that runs out of zk counters (counters §15, §16.3).

use revm::primitives::{B256, Bytes, U256};
use zkevm_pool::WorkerPool;
use zkevm_processor::Engine;
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{BatchBuilder, Transfer};
use zkevm_types::ApiVersion;
use zkevm_types::{BatchInput, CountersPolicy};
use zkevm_types::{BatchOutput, ExecutorError, RomError};

use super::support::{A, ALL, CHAIN_ID, R, State, UNTIL_9, bytes, ether, fork, request, sender, transactions, v2};

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
        // The gas of one transaction does not reach the limits of later forks.
        for &fork_id in UNTIL_9 {
            let input = batch(fork_id, state.root, CountersPolicy::Enforce);
            assert_undone(&state.run(&input), &input, error);
        }
    }
}

/// Of plain transfers every counter is the ROM's own, so they end at the limit itself: 473 arithmetics each, most for the key.
#[test]
fn plain_transfers_end_at_the_limit_of_arithmetics() {
    let state = state("");
    let transfers = |fork_id, count| {
        let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
        batch.block(1, 0);
        for nonce in 0..count {
            let (gas_price, value) = (U256::from(1), U256::from(1));
            let transfer = Transfer { nonce, gas_price, gas_limit: 21_000, to: Some(R), value, data: Bytes::new() };
            batch.transaction(&sender(), &transfer);
        }
        BatchInput { counters_policy: CountersPolicy::Enforce, ..request(fork_id, state.root, batch.finish()) }
    };
    for fork_id in [8, 9] {
        let limit = fork(fork_id).rules().counters_max().arithmetics;
        let count = limit / 474;
        let fits = state.run(&transfers(fork_id, count));
        assert_eq!((fits.error_rom, fits.gas_used), (RomError::NoError, count * 21_000), "fork {fork_id}");
        assert!(fits.counters.arithmetics > limit * 99 / 100, "fork {fork_id}: {:?} of {limit}", fits.counters);
        let input = transfers(fork_id, limit / 472);
        assert_undone(&state.run(&input), &input, RomError::OutOfCountersArith);
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
        let input = batch(fork_id, state.root, CountersPolicy::Report);
        for input in [BatchInput { no_counters: true, ..input.clone() }, input] {
            let output = state.run(&input);
            let errors: Vec<RomError> = transactions(&output).iter().map(|tx| tx.error).collect();
            assert_eq!(errors, [RomError::NoError, RomError::OutOfGas, RomError::NoError], "fork {fork_id}");
            assert_ne!(output.roots.map(|roots| roots.new_state_root), Some(input.old_state_root));
        }
    }
}

/// Anybody can post such a batch on L1: deploys that digest for ever, at no price, from an account without money.
#[test]
fn a_forced_batch_out_of_counters_is_empty_and_its_work_ends() {
    let state = State::new(Vec::new());
    for fork_id in [7, 8, 9] {
        let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
        for nonce in 0..3 {
            let data = bytes("5b 610400 6000 20 50 6000 56");
            let gas_limit = 30_000_000;
            let deploy = Transfer { nonce, gas_price: U256::ZERO, gas_limit, to: None, value: U256::ZERO, data };
            batch.transaction(&sender(), &deploy);
        }
        let mut input = request(fork_id, state.root, batch.finish());
        input.counters_policy = CountersPolicy::Enforce;
        v2(&mut input).forced_blockhash_l1 = B256::with_last_byte(1);
        let output = state.run(&input);
        assert_undone(&output, &input, RomError::OutOfCountersKeccak);
        // Eight digests of one KiB take 64 keccaks and some 1700 gas: the limit comes after 500 000 gas, or once the
        // counters are looked at again.
        assert!(output.gas_used < 600_000, "fork {fork_id}: {} gas", output.gas_used);
    }
}

/// The counter that runs out first names the error: these loops take one much faster than the others.
#[test]
fn the_first_counter_to_run_out_names_the_error() {
    let loops = [
        // Each round writes a number to slot 0: tree accesses. Steps would pass their limit in the same transaction.
        ("6001 5b 80 6000 55 6001 01 6002 56", RomError::OutOfCountersPoseidon),
        (KECCAK_LOOP, RomError::OutOfCountersKeccak),
        ("5b 601f 51 50 6000 56", RomError::OutOfCountersStep),
    ];
    for (code, error) in loops {
        let state = state(code);
        for &fork_id in UNTIL_9 {
            let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
            batch.block(1, 0);
            let (gas_price, gas_limit) = (U256::from(1), 30_000_000);
            let call = Transfer { nonce: 0, gas_price, gas_limit, to: Some(A), value: U256::ZERO, data: Bytes::new() };
            batch.transaction(&sender(), &call);
            let mut input = request(fork_id, state.root, batch.finish());
            input.counters_policy = CountersPolicy::Enforce;
            let output = state.run(&input);
            let found = if fork_id < 7 { output.transactions[0].error } else { output.error_rom };
            assert_eq!(found, error, "fork {fork_id}, {code}");
            assert!(output.gas_used < gas_limit, "fork {fork_id}: the work ends at the limit");
            if error == RomError::OutOfCountersPoseidon {
                // A node shows what was used, which has to be beyond its own limit.
                assert!((252_358..280_000).contains(&output.counters.poseidons), "{:?}", output.counters);
            }
        }
    }
}

/// Idle threads recover keys ahead of the run; how far they are must not show.
#[test]
fn the_verdict_does_not_depend_on_the_threads() {
    let state = state(KECCAK_LOOP);
    for &fork_id in ALL {
        let input = batch(fork_id, state.root, CountersPolicy::Enforce);
        let alone = state.run(&input);
        let helped = state.run_on(&Engine::new(WorkerPool::new(3)), &input);
        assert_eq!(
            (alone.gas_used, alone.counters, alone.error_rom),
            (helped.gas_used, helped.counters, helped.error_rom)
        );
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
