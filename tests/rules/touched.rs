//! What `read_write_addresses` lists: what the ROM read or wrote, with the last value it saw (executor-service §6.1).

use revm::primitives::{Address, Bytes, U256, address};
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{BatchBuilder, Transfer};
use zkevm_types::{BatchInput, BatchOutput, ExecutorError, TouchedAccount};

use super::support::{A, B, CHAIN_ID, State, bytes, ether, fork, request, sender};

/// Forks whose answers list code and storage too.
const IN_FULL: [u64; 2] = [8, 9];

fn run(fork_id: u64, code_of_a: &str, code_of_b: &str, no_counters: bool) -> BatchOutput {
    let account = |address, code| GenesisAccount {
        address,
        code: bytes(code),
        balance: U256::from(9),
        storage: [(U256::from(1), U256::from(7))].into(),
        ..GenesisAccount::default()
    };
    let rich = GenesisAccount { address: sender().address(), balance: ether(1), ..GenesisAccount::default() };
    let state = State::new(vec![rich, account(A, code_of_a), account(B, code_of_b)]);
    let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
    batch.block(1, 0);
    let transfer = Transfer {
        nonce: 0,
        gas_price: U256::from(1),
        gas_limit: 300_000,
        to: Some(A),
        value: U256::ZERO,
        data: Bytes::new(),
    };
    batch.transaction(&sender(), &transfer);
    state.run(&BatchInput { no_counters, ..request(fork_id, state.root, batch.finish()) })
}

fn touched(output: &BatchOutput, address: Address) -> Option<&TouchedAccount> {
    output.read_write_addresses.get(&address)
}

/// Calls B with so little gas (two bytes).
fn call_b(gas: &str) -> String {
    format!("60006000600060006000733000000000000000000000000000000000000003 61{gas} f1 00")
}

/// The ROM reads a slot, and a balance, before it charges for that.
#[test]
fn what_is_read_is_listed_even_if_it_cannot_be_paid() {
    for fork_id in IN_FULL {
        // PUSH1 takes 3 of 102 gas, so SLOAD has one too little.
        let output = run(fork_id, &call_b("0066"), "600154", false);
        let storage = touched(&output, B).map(|account| account.storage.clone());
        assert_eq!(storage, Some([(U256::from(1), U256::from(7))].into()), "fork {fork_id}");
        let output = run(fork_id, &call_b("0066"), "61123431", false);
        let stranger = address!("0000000000000000000000000000000000001234");
        let balance = touched(&output, stranger).and_then(|account| account.balance);
        assert_eq!(balance, Some(U256::ZERO), "fork {fork_id}");
    }
}

/// SELFDESTRUCT asks whether its receiver is empty before it charges for the access, not before its fixed gas.
#[test]
fn a_receiver_of_all_is_listed_even_if_its_access_cannot_be_paid() {
    let stranger = address!("0000000000000000000000000000000000001234");
    for fork_id in IN_FULL {
        // PUSH2 takes 3, SELFDESTRUCT 5000, and an access 2600.
        for (gas, listed) in [("1389", None), ("1400", Some(Some(U256::ZERO)))] {
            let output = run(fork_id, &call_b(gas), "611234ff", false);
            let seen = touched(&output, stranger).map(|account| account.balance);
            assert_eq!(seen, listed, "fork {fork_id}, gas 0x{gas}");
        }
    }
}

/// A call with value asks whether its receiver is empty once memory, access and value are paid for, not before.
#[test]
fn a_receiver_is_not_listed_by_a_call_that_cannot_pay_for_its_value() {
    let five = Address::with_last_byte(5);
    // The first call, without value, only loads precompile 5; the second has not gas enough for its value.
    let pays_too_little = "60006000600060006000600560 00f1 50 6000600060006000600160056000f1 00";
    for fork_id in IN_FULL {
        let output = run(fork_id, &call_b("2000"), pays_too_little, false);
        assert_eq!(touched(&output, five), None, "fork {fork_id}: 8192 gas");
        // 9100 gas and more: the receiver is looked at, and the 25 000 for a new account are missing.
        let output = run(fork_id, &call_b("3000"), pays_too_little, false);
        let looked_at = touched(&output, five).map(|account| (account.balance, account.nonce, account.code_hash));
        assert_eq!(
            looked_at,
            Some((Some(U256::ZERO), Some(U256::ZERO), Some(U256::ZERO))),
            "fork {fork_id}: 12 288 gas"
        );
    }
}

/// Deploys one zero byte with CREATE2, then reverts.
const DEPLOYS_AND_REVERTS: &str = "6460016000f3 6000 52 6000 6005 601b 6000 f5 50 60006000fd";

/// The original notes each access: the code of a deployment that was undone, until somebody reads the leaf again.
#[test]
fn undone_code_is_listed_until_its_leaf_is_read_again() {
    let init_code = bytes("60016000f3");
    let created = B.create2_from_code([0; 32], &init_code);
    let hash = zkevm_tree::linear_hash(&[0]).to_b256();
    for fork_id in IN_FULL {
        let calls = call_b("ffff");
        let output = run(fork_id, &calls, DEPLOYS_AND_REVERTS, false);
        let seen = touched(&output, created).map(|account| (account.code_hash, account.code_length));
        assert_eq!(seen, Some((Some(hash.into()), Some(U256::from(1)))), "fork {fork_id}");
        let reads = calls.trim_end_matches("00").to_owned() + &format!("50 73{} 3f 00", hex::encode(created));
        let output = run(fork_id, &reads, DEPLOYS_AND_REVERTS, false);
        let seen = touched(&output, created).map(|account| (account.code_hash, account.code_length));
        assert_eq!(seen, Some((Some(U256::ZERO), Some(U256::from(1)))), "fork {fork_id}");
    }
}

/// BALANCE and GASPRICE set their flag when they are met, paid for or not.
#[test]
fn an_opcode_that_cannot_be_paid_sets_its_flag() {
    for fork_id in [5, 6, 7, 8, 9] {
        for (code, no_counters, expected) in
            [("30 31", false, [false, true]), ("3a", false, [true, false]), ("30 31", true, [false, false])]
        {
            // Gas for what comes before the opcode and one more.
            let gas = if code == "3a" { "0001" } else { "0003" };
            let output = run(fork_id, &call_b(gas), code, no_counters);
            let tx = super::support::transactions(&output)[0];
            assert_eq!([tx.has_gasprice_opcode, tx.has_balance_opcode], expected, "fork {fork_id}, {code}");
        }
    }
}

/// The original takes the refund from the last step, and its steps are empty without counters.
#[test]
fn without_counters_no_refund_is_shown() {
    for fork_id in [4, 5, 6] {
        let clears = "6000 6001 55 00";
        let refund = |no_counters| {
            let output = run(fork_id, clears, "", no_counters);
            let tx = &output.transactions[0];
            (tx.gas_refunded, tx.gas_used)
        };
        let (shown, gas) = refund(false);
        assert_eq!(shown, 15_000, "fork {fork_id}");
        assert_eq!(refund(true), (0, gas), "fork {fork_id}: it is granted all the same");
    }
}

/// The ROM stops in the middle of it: the nonce is up, the fee is taken and nothing is paid back.
#[test]
fn code_that_never_ends_has_taken_the_fee() {
    for fork_id in IN_FULL {
        // Code that ends in a PUSH1 without data.
        let output = run(fork_id, "60", "", false);
        assert_eq!(output.error, ExecutorError::CountersOverflowSteps, "fork {fork_id}");
        let account = touched(&output, sender().address());
        let shown = account.map(|account| (account.nonce, account.balance));
        let left = ether(1) - U256::from(300_000);
        assert_eq!(shown, Some((Some(U256::from(1)), Some(left))), "fork {fork_id}");
    }
}
