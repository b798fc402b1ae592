//! Balances are sums modulo 2^256, as in the ROM (evm §4.1). No chain holds that much; replaced balances and made-up
//! geneses can.

use revm::primitives::{Bytes, U256};
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{BatchBuilder, Transfer};
use zkevm_tree::LeafKind;
use zkevm_types::RomError;

use super::support::{A, ALL, B, CHAIN_ID, N, R, State, bytes, ether, fork, new_root, request, sender, transactions};

/// Calls R with 5 wei, keeps the result in slot 0.
const PAYS_R: &str = "600060006000600060057320000000000000000000000000000000000000025af1600055";
/// The same in a frame that reverts; A keeps that frame's result.
const REVERTS: &str = "60006000600060006005732000000000000000000000000000000000000002 5af1 60006000fd";
const CALLS_B: &str = "60006000600060006000733000000000000000000000000000000000000003 5af1 600055";
/// Creates an account with 5 wei and no code, keeps its address in slot 0.
const CREATES: &str = "600060006005f0600055";
/// Leaves everything to R.
const SENDS_ALL: &str = "732000000000000000000000000000000000000002ff";

struct After {
    /// Slot 0 of A.
    result: U256,
    gas_used: u64,
    of_r: U256,
    of_a: U256,
    of_n: U256,
}

/// Runs a transaction: a call of A, which has this code and 100 wei, or 5 wei to R. R and N have what is given.
fn run(fork_id: u64, code: &str, [of_r, of_n]: [U256; 2], to_r: bool) -> After {
    let account = |address, balance, code: &str| GenesisAccount {
        address,
        balance,
        code: bytes(code),
        ..GenesisAccount::default()
    };
    let state = State::new(vec![
        account(sender().address(), ether(1), ""),
        account(A, U256::from(100), code),
        account(B, U256::from(100), REVERTS),
        account(R, of_r, ""),
        account(N, of_n, ""),
    ]);
    let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
    batch.block(1, 0);
    let transfer = Transfer {
        nonce: 0,
        gas_price: U256::from(1),
        gas_limit: 1_000_000,
        to: Some(if to_r { R } else { A }),
        value: U256::from(if to_r { 5 } else { 0 }),
        data: Bytes::new(),
    };
    batch.transaction(&sender(), &transfer);
    let output = state.run(&request(fork_id, state.root, batch.finish()));
    let root = new_root(&output).expect("the batch ends");
    let tx = transactions(&output)[0];
    assert_eq!(tx.error, RomError::NoError, "fork {fork_id}, {code}");
    let balance = |address| state.account(root, address, LeafKind::Balance);
    let result = state.slot(root, A, U256::ZERO);
    After { result, gas_used: tx.gas_used, of_r: balance(R), of_a: balance(A), of_n: balance(N) }
}

#[test]
fn a_balance_wraps_around() {
    const FULL: U256 = U256::MAX;
    let number = U256::from::<u64>;
    for &fork_id in ALL {
        let after = run(fork_id, "", [FULL, U256::ZERO], true);
        assert_eq!((after.of_r, after.gas_used), (number(4), 21_000), "fork {fork_id}: a transaction");
        let after = run(fork_id, PAYS_R, [FULL, U256::ZERO], false);
        assert_eq!((after.result, after.of_r, after.of_a), (number(1), number(4), number(95)), "fork {fork_id}: CALL");
        let after = run(fork_id, SENDS_ALL, [FULL, U256::ZERO], false);
        assert_eq!((after.of_r, after.of_a), (number(99), U256::ZERO), "fork {fork_id}: SELFDESTRUCT");
        let after = run(fork_id, CREATES, [U256::ZERO, FULL], false);
        let created = N.into_word().into();
        assert_eq!((after.result, after.of_n, after.of_a), (created, number(4), number(95)), "fork {fork_id}: CREATE");
    }
}

#[test]
fn a_sum_of_exactly_zero_leaves_nothing() {
    let below = U256::MAX - U256::from(4);
    for &fork_id in ALL {
        let after = run(fork_id, PAYS_R, [below, U256::ZERO], false);
        assert_eq!((after.result, after.of_r), (U256::from(1), U256::ZERO), "fork {fork_id}");
    }
}

#[test]
fn a_frame_that_reverts_takes_a_wrapped_sum_back() {
    for &fork_id in ALL {
        let after = run(fork_id, CALLS_B, [U256::MAX, U256::ZERO], false);
        assert_eq!((after.result, after.of_r), (U256::ZERO, U256::MAX), "fork {fork_id}");
    }
}

#[test]
fn the_largest_balance_is_an_ordinary_sum() {
    let below = U256::MAX - U256::from(5);
    assert_eq!(run(9, PAYS_R, [below, U256::ZERO], false).of_r, U256::MAX);
}
