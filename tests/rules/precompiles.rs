//! Precompiles: which run, how they fail, and the quirks of MODEXP and ECRECOVER (evm §6, appendix A).

use revm::primitives::{Address, Bytes, U256, address, b256};
use zkevm_testkit::sample::easm::assemble;
use zkevm_types::RomError;

use super::calls::CALL_D;
use super::support::{A, CODE_OF_D, Case, D, V2, bytes, check, sender};

const fn precompile(number: u8) -> Address {
    Address::with_last_byte(number)
}

#[test]
fn a_nested_call_of_an_unsupported_precompile_reverts_for_free() {
    let case = |name| {
        Case::new(name).code(
            A,
            "60016000525a60206000602060006000600361c350f16000555a90036001553d600255
             5a6020600060206000600961c350fa6003555a9003600455
             5a60206000606060006000600561c350f16005555a9003600655",
        )
    };
    let ripemd_and_blake = &[(0, 0), (1, 2_326), (2, 0), (3, 0), (4, 2_323)];
    check(&[
        case("RIPEMD160, BLAKE2F, MODEXP")
            .forks(&[4, 5, 6, 8, 9, 10, 11, 12])
            .slots_are(ripemd_and_blake)
            .slots_are(&[(5, 0), (6, 2_332)]),
        case("RIPEMD160, BLAKE2F; MODEXP runs")
            .forks(&[7, 13])
            .slots_are(ripemd_and_blake)
            .slots_are(&[(5, 1), (6, 22_432)]),
    ]);
}

#[test]
fn value_reaches_only_precompiles_that_run() {
    check(&[Case::new("to RIPEMD160 once, to IDENTITY twice")
        .balance(A, 10)
        .code(
            A,
            "5a60006000600060006001600361c350f16000555a9003600155
             5a60006000600060006001600461c350f16002555a9003600355
             5a60006000600060006001600461c350f16004555a9003600555",
        )
        .slots_are(&[(0, 0), (1, 34_026), (2, 1), (3, 53_941), (4, 1), (5, 28_941)])
        .balance_is(precompile(3), 0)
        .balance_is(precompile(4), 2)]);
}

#[test]
fn a_point_off_the_curve_takes_the_forwarded_gas() {
    let case = |name| {
        Case::new(name).code(
            A,
            "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff600052
             5a60406080608060006000600661ea60f16000555a90036001553d600255",
        )
    };
    check(&[
        case("ECADD runs and fails").forks(&[7, 8, 9, 10, 11, 12, 13]).slots_are(&[(0, 0), (1, 62_341), (2, 0)]),
        case("ECADD does not run").forks(&[4, 5, 6]).slots_are(&[(0, 0), (1, 2_341), (2, 0)]),
    ]);
}

#[test]
fn a_transaction_to_a_precompile_that_fails_moves_nothing() {
    let direct = |name, number| {
        Case::new(name)
            .to(precompile(number))
            .gas_limit(100_000)
            .tx(|tx| tx.value = U256::from(7))
            .nonce_is(sender().address(), 1)
            .balance_is(precompile(number), 0)
    };
    let bad_points = || Bytes::from(vec![0xff; 64]);
    check(&[
        direct("ECADD runs and takes all gas", 6)
            .forks(&[7, 8, 9, 10, 11, 12, 13])
            .tx(|tx| tx.data = bad_points())
            .gas_is(100_000)
            .status_is(false),
        direct("ECADD does not run", 6)
            .forks(&[4, 5, 6])
            .tx(|tx| tx.data = bad_points())
            .gas_is(22_024)
            .error_is(RomError::ExecutionReverted),
        direct("RIPEMD160 never runs", 3)
            .tx(|tx| tx.data = bytes("01"))
            .gas_is(21_016)
            .error_is(RomError::ExecutionReverted),
        direct("RIPEMD160 has status 1 in fork 7", 3).forks(&[7]).status_is(true),
        direct("RIPEMD160 has status 0 from fork 8", 3).forks(&[8, 9, 10, 11, 12, 13]).status_is(false),
    ]);
}

/// The length of a pairing's input is looked at between its fixed gas and that of the pairs.
#[test]
fn a_pairing_of_a_wrong_length_fails_before_its_pairs_are_paid() {
    let direct = |name| Case::new(name).to(precompile(8)).forks(V2).tx(|tx| tx.data = Bytes::from(vec![0; 193]));
    check(&[
        direct("the fixed gas is there").gas_limit(80_000).gas_is(80_000).status_is(false).error_is(RomError::NoError),
        direct("it is not").gas_limit(60_000).gas_is(60_000).error_is(RomError::OutOfGas),
    ]);
}

#[test]
fn ecrecover_of_the_point_at_infinity_returns_an_address_until_fork_5() {
    let case = |name| {
        Case::new(name).code(
            A,
            "6005600052601b602052
             7f79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798604052
             600560605260076080525a60206080608060006001620186a0fa6000555a90036001553d600255608051600355",
        )
    };
    let of_zero_point = address!("3f17f1962b36e491b30a40b2405849e597ba5fb5").into_word();
    check(&[
        case("the address of the zero point")
            .forks(&[4, 5])
            .slots_are(&[(0, 1), (2, 32)])
            .word_is(3, of_zero_point.into()),
        case("nothing").forks(&[6, 7, 8, 9, 10, 11, 12, 13]).slots_are(&[(0, 1), (2, 0), (3, 7)]),
    ]);
}

#[test]
fn modexp_beyond_its_length_limit_gives_the_gas_back() {
    let case = |name, modulus_length: &str| {
        let code = format!(
            "60016000526001602052{modulus_length}6040525a602061010060c8600060006005620186a0f1
             6000555a90036001553d600101600255"
        );
        Case::new(name).code(A, &[CALL_D, &code].concat()).code(D, CODE_OF_D)
    };
    let gives_back = &[(0, 0), (1, 2_344), (2, 1)];
    check(&[
        // Before fork 7 the precompile does not run, which looks the same; fork 4 keeps the return data.
        case("a modulus of 1025 bytes", "610401").forks(&[5, 6, 7, 8, 9, 10, 11, 12, 13]).slots_are(gives_back),
        case("a modulus of no bytes keeps the return data", "6000").forks(&[7, 13]).slots_are(&[
            (0, 1),
            (1, 22_444),
            (2, 33),
        ]),
        case("a modulus of no bytes where it does not run", "6000")
            .forks(&[5, 6, 8, 9, 10, 11, 12])
            .slots_are(gives_back),
    ]);
}

#[test]
fn modexp_of_fork_7_copies_its_whole_output() {
    check(&[Case::new("64 bytes into an area of one byte")
        .forks(&[7])
        .code(
            A,
            "7faaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa61010052
             7fbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb61012052
             600160005260016020526040604052600360605360056061536007606253600160a153
             5a600161010060a2600060006005620186a0f16000555a90036001553d600255
             6101005160035561012051600455",
        )
        .slots_are(&[(0, 1), (1, 0x579a), (2, 64), (3, 0), (4, 0xf3)])]);
}

#[test]
fn modexp_of_fork_7_writes_memory_that_nobody_paid_for() {
    // 3^5 mod (7 · 2^504 + 1) in 64 bytes: a zero word, then 0xf3.
    let input = "push 1 push 0 mstore push 1 push 32 mstore push 64 push 64 mstore
                 push 3 push 0x60 mstore8 push 5 push 0x61 mstore8 push 7 push 0x62 mstore8 push 1 push 0xa1 mstore8";
    let case = |name, area: &str, value: &str, after: &str| {
        let code = assemble(&format!("{input} push {area} push 162 push 0 {value} push 5 gas {after}"));
        Case::new(name).forks(&[7]).code(A, &hex::encode(code.expect("the code assembles")))
    };
    let read = "push 0 sstore msize push 1 sstore push 0x120 mload push 2 sstore msize push 3 sstore";
    let call = |kind: &str| format!("{kind} {read}");
    let behind_a_byte = &[(0, 1), (1, 0x120), (2, 0xf3), (3, 0x140)];
    check(&[
        case("behind an area of one byte", "1 push 0x100", "push 0", &call("call")).slots_are(behind_a_byte),
        case("by CALLCODE", "1 push 0x100", "push 0", &call("callcode")).slots_are(behind_a_byte),
        case("by DELEGATECALL", "1 push 0x100", "", &call("delegatecall")).slots_are(behind_a_byte),
        case("by STATICCALL", "1 push 0x100", "", &call("staticcall")).slots_are(behind_a_byte),
        case("at an area of no bytes", "0 push 0x100", "push 0", &call("call")).slots_are(&[
            (0, 1),
            (1, 0xc0),
            (2, 0xf3),
            (3, 0x140),
        ]),
        case(
            "its last word stays out of sight until it is reached",
            "0 push 0x1f0",
            "push 0",
            "call pop push 0x220 push 0 keccak256 pop msize push 1 sstore push 0x210 mload push 2 sstore",
        )
        .slots_are(&[(1, 0x220), (2, 0xf3)]),
        case(
            "its caller writes over it",
            "0 push 0x100",
            "push 0",
            "call pop push 9 push 0x120 mstore push 0x120 mload push 2 sstore",
        )
        .slots_are(&[(2, 9)]),
    ]);
}

#[test]
fn modexp_shows_high_words_of_intermediate_results() {
    // Calls MODEXP with the call data and keeps the four words of its answer.
    let code = assemble(
        "calldatasize push 0 push 0 calldatacopy
         push 128 push 512 calldatasize push 0 push 0 push 5 gas call push 10 sstore
         push 512 mload push 0 sstore push 544 mload push 1 sstore
         push 576 mload push 2 sstore push 608 mload push 3 sstore",
    )
    .expect("the code assembles");
    let word = |value: u64| U256::from(value).to_be_bytes_vec();
    let mut base = [0; 128];
    base[127 - 37] = 1 << 4; // 2^300
    // 2^900 − 7
    let mut modulus = [0; 128];
    modulus[127 - 112] = 0x0f;
    modulus[128 - 112..].fill(0xff);
    modulus[127] = 0xf9;
    let data = [word(128), word(1), word(128), base.to_vec(), vec![3], modulus.to_vec()].concat();
    check(&[Case::new("2^900 mod 2^900 − 7 reads 2^300 + 7")
        .forks(&[7, 13])
        .code(A, &hex::encode(&code))
        .tx(|tx| tx.data = data.into())
        .slots_are(&[(10, 1), (0, 0), (1, 0), (2, 1 << 44), (3, 7)])]);
}

#[test]
fn extcodehash_of_created_code_is_known() {
    // evm §7.2: code `60` hashes to this; the init code returns it.
    let hash = b256!("b86e9f37a91a745645a85cd159aa69aa5e61562e484b8ca4a2dd7795d988bdc8");
    check(&[Case::new("in the transaction that created it")
        .code(A, "7f606060005360016000f300000000000000000000000000000000000000000000600052600a60006000f03f600055")
        .word_is(0, hash.into())]);
}
