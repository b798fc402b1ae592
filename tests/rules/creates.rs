//! CREATE: warmth, collisions, leftovers, rejected code (evm §4.2, appendix A).

use revm::primitives::U256;

use super::calls::CALL_D;
use super::support::{A, CODE_OF_D, Case, D, N, bytes, check};

/// Forks in which a failed create takes the warmth of its address back.
const UNTIL_11: &[u64] = &[4, 5, 6, 7, 8, 9, 10, 11];

#[test]
fn a_contract_s_first_create_has_the_known_address() {
    assert_eq!(A.create(0), N);
}

#[test]
fn a_failed_create_leaves_its_address_cold_until_fork_11() {
    let reverts = |name| {
        Case::new(name).gas_limit(10_000_000).code(
            A,
            "7f60006000fd000000000000000000000000000000000000000000000000000000600052
             600560006000f0505a735dddfce53ee040d9eb21afbc0ae1bb4dbb0ba64331505a9003600055",
        )
    };
    let taken = |name| {
        Case::new(name)
            .gas_limit(10_000_000)
            .nonce(N, 1)
            .code(
                A,
                "5a7f0000000000000000000000000000000000000000000000000000000000000000600052600160006000f0
                 6001555a90036002553d6003555a735dddfce53ee040d9eb21afbc0ae1bb4dbb0ba64331505a9003600055",
            )
            .slots_are(&[(1, 0), (2, 9_825_782), (3, 0)])
            .nonce_is(A, 1)
    };
    check(&[
        reverts("the init code reverts").forks(UNTIL_11).slot_is(0, 2_607),
        reverts("the init code reverts, and the address is warm").forks(&[12, 13]).slot_is(0, 107),
        taken("the address is taken: all forwarded gas is lost").forks(UNTIL_11).slot_is(0, 2_607),
        taken("the address is taken, and warm").forks(&[12, 13]).slot_is(0, 107),
    ]);
}

#[test]
fn storage_survives_a_create() {
    check(&[Case::new("init code reads the slot that was there")
        .storage(N, 3, 7)
        .code(A, "7f6003546000550000000000000000000000000000000000000000000000000000600052600660006000f0600155")
        .slots_of(N)
        .slots_are(&[(0, 7), (3, 7)])]);
}

#[test]
fn code_that_starts_with_ef_is_rejected() {
    check(&[Case::new("all forwarded gas is lost and nothing is left")
        .gas_limit(10_000_000)
        .code(
            A,
            "5a7f60ef60005360016000f300000000000000000000000000000000000000000000600052
             600a60006000f06001555a90036002553d600355",
        )
        .slots_are(&[(1, 0), (2, 9_825_782), (3, 0)])
        .nonce_is(A, 1)
        .nonce_is(N, 0)
        .balance_is(N, 0)
        .code_length_is(N, 0)]);
}

#[test]
fn a_rejected_ef_create_leaks_its_refund_only_in_fork_4() {
    let case = |name| {
        Case::new(name)
            .gas_limit(200_000)
            .code(A, "7f6001600055600060005560ef60005360016000f3000000000000000000000000600052601460006000f050")
    };
    check(&[
        case("the child's refund is paid").forks(&[4]).gas_is(177_806),
        case("the child's refund is gone").forks(&[5, 6, 7, 8, 9, 10, 11, 12, 13]).gas_is(197_706),
    ]);
}

#[test]
fn a_create_that_cannot_start_costs_its_overhead() {
    let code = "5a7f0000000000000000000000000000000000000000000000000000000000000000600052
                600160006005f06001555a90036002553d600101600355";
    let case = |name| {
        Case::new(name).code(A, &[CALL_D, code].concat()).code(D, CODE_OF_D).slots_are(&[(1, 0), (2, 34_226), (3, 1)])
    };
    check(&[
        case("no funds").nonce_is(A, 0),
        case("no nonce left").balance(A, 5).nonce(A, u64::MAX).nonce_is(A, u64::MAX).balance_is(A, 5),
    ]);
}

#[test]
fn init_code_is_its_own_calldata_only_in_fork_4() {
    let init_code = "6000356000553660010160015560206000600037600051600255";
    let mut word = [0; 32];
    word[..26].copy_from_slice(&bytes(init_code));
    let word = U256::from_be_bytes(word);
    let case = |name| {
        let code = format!("7f{init_code}000000000000600052601a60006000f050600035600355");
        Case::new(name).gas_limit(400_000).tx(|tx| tx.data = bytes("11223344")).code(A, &code).slots_of(N)
    };
    check(&[
        case("CALLDATALOAD and CALLDATACOPY see it, CALLDATASIZE is 0")
            .forks(&[4])
            .word_is(0, word)
            .slot_is(1, 1)
            .word_is(2, word),
        case("there is no call data").forks(&[5, 6, 7, 8, 9, 10, 11, 12, 13]).slots_are(&[(0, 0), (1, 1), (2, 0)]),
    ]);
}
