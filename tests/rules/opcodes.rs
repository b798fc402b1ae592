//! Opcodes that differ from Ethereum's (evm §5, appendix A).

use revm::primitives::{U256, b256, keccak256};
use zkevm_types::{ExecutorError, RomError};

use super::support::{A, B, Case, R, SYSTEM, check, sender};

const SENDALL_TO_R: &str = "732000000000000000000000000000000000000002ff";

#[test]
fn sendall_moves_the_balance_and_deletes_nothing() {
    check(&[
        Case::new("nothing to move: no charge for a cold receiver").code(A, SENDALL_TO_R).gas_is(26_003),
        Case::new("an empty cold receiver costs a new account")
            .code(A, SENDALL_TO_R)
            .balance(A, 5)
            .gas_is(53_603)
            .balance_is(R, 5)
            .balance_is(A, 0)
            .code_length_is(A, 22),
        Case::new("an existing cold receiver costs the access")
            .code(A, SENDALL_TO_R)
            .balance(A, 5)
            .balance(R, 1)
            .gas_is(28_603)
            .balance_is(R, 6),
        Case::new("to self keeps the balance").code(A, "30ff").balance(A, 5).gas_is(26_002).balance_is(A, 5),
        Case::new("gives no refund of its own")
            .code(A, "6000600055732000000000000000000000000000000000000002ff")
            .balance(A, 5)
            .storage(A, 0, 1)
            .balance(R, 1)
            .gas_is(18_609),
        Case::new("inside init code leaves an account without code")
            .deploy(SENDALL_TO_R)
            .tx(|tx| tx.value = U256::from(5))
            .balance(R, 1)
            .gas_is(60_739)
            .balance_is(R, 6)
            .nonce_is(sender().address().create(0), 1)
            .code_length_is(sender().address().create(0), 0),
    ]);
}

#[test]
fn sendall_warms_its_receiver_only_when_something_moves() {
    let case = |name| {
        Case::new(name)
            .code(A, SENDALL_TO_R)
            .code(
                B,
                "60006000600060006000731000000000000000000000000000000000000001620186a0f1
                 505a73200000000000000000000000000000000000000231505a9003600055",
            )
            .balance(R, 1)
            .to(B)
    };
    check(&[
        case("nothing moved: the receiver is still cold").slot_is(0, 2_607),
        case("something moved: the receiver is warm").balance(A, 3).slot_is(0, 107),
    ]);
}

#[test]
fn extcodehash_is_the_poseidon_hash_or_zero() {
    let hash = b256!("680fd6f506dc27cf331170131a2bcf35fdb872c0f865c0cd8de716695ccd3e81");
    check(&[Case::new("only code has a hash")
        .code(
            A,
            "735e000000000000000000000000000000000000053f600055323f600155
             7320000000000000000000000000000000000000023f600255303f60035560013f6004556009600a55",
        )
        .slots_are(&[(0, 0), (1, 0), (2, 0), (4, 0), (10, 9)])
        .word_is(3, hash.into())]);
}

#[test]
fn a_jump_may_land_in_push_data() {
    let code = "600456605b6009600055";
    check(&[
        Case::new("in a contract").code(A, code).slot_is(0, 9).gas_is(43_118),
        Case::new("in init code").deploy(code).slot_is(0, 9).gas_is(75_266),
    ]);
}

#[test]
fn clearing_slots_refunds_at_most_half_of_the_gas() {
    let code = "6000600055600060015560006002556000600355600060045560006005556000600655600060075560006008556000600955";
    let case = Case::new("ten slots cleared").code(A, code);
    check(&[(0..10).fold(case, |case, slot| case.storage(A, slot, 1)).gas_is(35_530)]);
}

#[test]
fn code_may_end_inside_a_push() {
    check(&[
        Case::new("PUSH1 as last byte stops").forks(&[4, 5, 6, 7, 10, 11, 12, 13]).code(A, "60").gas_is(21_003),
        Case::new("PUSH1 as last byte never ends")
            .forks(&[8, 9])
            .code(A, "60")
            .aborts_with(ExecutorError::CountersOverflowSteps),
        Case::new("PUSH3 with one byte stops").code(A, "60016000556201").gas_is(43_109).slot_is(0, 1),
        Case::new("PUSH1 as last byte of init code stops").deploy("60").gas_is(53_000 + 16 + 3),
    ]);
}

#[test]
fn failed_and_skipped_transactions_count_as_their_kind() {
    let case = |name| {
        Case::new(name)
            .code(A, "fe")
            .gas_limit(50_000)
            .tx(|tx| tx.value = U256::from(3))
            .another_tx(|tx| (tx.nonce, tx.value) = (5, U256::ZERO))
            .another_tx(|tx| (tx.nonce, tx.value, tx.gas_limit) = (1, U256::ZERO, 20_999))
            .another_tx(|tx| (tx.nonce, tx.value) = (1, U256::ZERO))
            .gas_is(100_000)
            .nonce_is(sender().address(), 2)
            .balance_is(A, 0)
            .slots_of(SYSTEM)
    };
    let errors = [
        RomError::InvalidOpcode,
        RomError::IntrinsicInvalidNonce,
        RomError::IntrinsicInvalidGasLimit,
        RomError::InvalidOpcode,
    ];
    check(&[
        case("two transactions were executed").forks(&[4, 5, 6]).slot_is(0, 2).errors_are(&errors),
        // Fork 7 of the original lists results after a skipped one in the wrong place; the state is right.
        case("one block was made").forks(&[7]).slot_is(0, 1),
        case("one block was made").forks(&[8, 9, 10, 11, 12, 13]).slot_is(0, 1).errors_are(&errors),
    ]);
}

/// Error of the transaction when an opcode has two faults at once (evm §8.2).
#[test]
fn the_stack_is_looked_at_before_gas_but_for_a_few_opcodes() {
    let case = |name, code, gas: u64| Case::new(name).code(A, code).gas_limit(21_000 + gas).gas_is(21_000 + gas);
    let underflow = [
        case("ADD", "600101", 5),
        case("MSTORE", "600152", 5),
        case("BALANCE", "31", 99),
        case("JUMP", "56", 7),
        case("DUP2", "600181", 5),
        case("SWAP1", "600190", 5),
        case("LOG0", "6000a0", 377),
        case("LOG1 of much data without a topic", "63ffffffff6000a1", 100_000),
        case("CALL of much data without an output area", "63ffffffff60006000600060006000f1", 100_000),
        case("CREATE2 of much code without a salt", "63ffffffff60006000f5", 100_000),
    ];
    let out_of_gas = [
        case("ADDMOD", "08", 7),
        case("JUMPI", "57", 9),
        case("CREATE", "60016000f0", 31_000),
        case("CREATE2", "60016000f5", 31_000),
        case("SELFDESTRUCT", "ff", 4_999),
        case("ADD with both operands", "6001600101", 8),
    ];
    check(&underflow.map(|case| case.error_is(RomError::StackUnderflow)));
    check(&out_of_gas.map(|case| case.error_is(RomError::OutOfGas)));
}

/// Bytes that only later forks of Ethereum define cost nothing before they fail (evm §2).
#[test]
fn an_unassigned_byte_is_an_invalid_opcode_without_any_gas() {
    let cases: Vec<Case> = ["1e", "49", "4a", "5c", "5d", "5e", "f6", "fe"]
        .map(|code| Case::new(code).code(A, code).gas_limit(21_000).gas_is(21_000).error_is(RomError::InvalidOpcode))
        .into();
    check(&cases);
}

/// It is hashed in pieces of 32 KiB: hash, gas, and the end without gas are those of the opcode as it is.
#[test]
fn what_is_long_is_hashed_like_what_is_short() {
    for length in [32_767_u64, 32_768, 32_769, 65_536, 100_001] {
        // One byte is not zero, the one before the last; hashed from the second on.
        let code = format!("60ff 62{:06x} 53 62{length:06x} 6001 20 6000 55", length - 1);
        let mut memory = vec![0; length as usize];
        memory[length as usize - 2] = 0xff;
        let words = (length + 1).div_ceil(32);
        let hashing = 30 + 6 * length.div_ceil(32) + 3 * words + words * words / 512;
        let gas = 21_000 + 6 * 3 + hashing + 22_100;
        let case = |name, gas_limit| Case::new(name).code(A, &code).gas_limit(gas_limit);
        check(&[
            case("enough gas", 1_000_000).gas_is(gas).word_is(0, keccak256(&memory).into()),
            case("not enough for the hash", gas - 22_200).error_is(RomError::OutOfGas),
        ]);
    }
}
