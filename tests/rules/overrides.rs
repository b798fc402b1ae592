//! Replaced accounts of a request: the meaning of eth_call (executor-service §5.9, batch §13).

use std::collections::HashMap;

use revm::primitives::{Bytes, U256};
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{BatchBuilder, Transfer};
use zkevm_types::AccountOverride;
use zkevm_types::BatchOutput;

use super::support::{A, CHAIN_ID, State, ether, fork, new_root, request, same, sender, transactions};

/// Returns the balance of the account, its slots 1 and 2, 32 bytes each, and adds one to slot 1.
const PROBE: &str = "476000526001546020526002546040526001546001016001556060 6000f3";

fn probe(fork_id: u64, account: AccountOverride) -> (State, BatchOutput) {
    let state = State::new(vec![
        GenesisAccount { address: sender().address(), balance: ether(1), ..GenesisAccount::default() },
        GenesisAccount {
            address: A,
            balance: U256::from(5),
            storage: [(U256::from(1), U256::from(10)), (U256::from(2), U256::from(20))].into(),
            ..GenesisAccount::default()
        },
    ]);
    let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
    let call = Transfer {
        nonce: 0,
        gas_price: U256::from(1),
        gas_limit: 100_000,
        to: Some(A),
        value: U256::ZERO,
        data: Bytes::new(),
    };
    batch.transaction(&sender(), &call);
    let mut input = request(fork_id, state.root, batch.finish());
    input.state_override = HashMap::from([(A, account)]);
    let output = state.run(&input);
    (state, output)
}

fn words(output: &BatchOutput) -> Vec<U256> {
    transactions(output)[0].return_value.chunks(32).map(U256::from_be_slice).collect()
}

fn code() -> Option<Bytes> {
    Some(super::support::bytes(PROBE))
}

#[test]
fn single_slots_and_the_balance_are_replaced_and_the_rest_is_read_from_state() {
    let account = AccountOverride {
        balance: Some(U256::from(77)),
        code: code(),
        state_diff: HashMap::from([(U256::from(1), U256::from(11))]),
        ..AccountOverride::default()
    };
    let (_, output) = probe(6, account);
    same("balance, slot 1, slot 2", words(&output), [77, 11, 20].map(U256::from).to_vec());
}

#[test]
fn a_whole_storage_hides_the_slots_it_does_not_list() {
    let account = AccountOverride {
        code: code(),
        state: Some(HashMap::from([(U256::from(1), U256::from(11))])),
        ..AccountOverride::default()
    };
    let (_, output) = probe(6, account);
    same("balance, slot 1, slot 2", words(&output), [5, 11, 0].map(U256::from).to_vec());
}

#[test]
fn what_is_written_to_a_replaced_account_stays_out_of_the_tree() {
    let (state, output) = probe(6, AccountOverride { code: code(), ..AccountOverride::default() });
    same("balance, slot 1, slot 2", words(&output), [5, 10, 20].map(U256::from).to_vec());
    let root = new_root(&output).expect("the batch ends");
    same("slot 1 in the tree", state.slot(root, A, U256::from(1)), U256::from(10));
}
