//! Policy `enforce` and `no_counters`: what the ROM still checks, and how long it may run (batch §11,
//! main-state-machine §3.4). A node calls this way for `eth_call`.

use revm::primitives::{B256, Bytes, U256};
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{BatchBuilder, Transfer};
use zkevm_types::{BatchInput, BatchOutput, Counters, CountersPolicy, ExecutorError, RomError};

use super::support::{
    A, ALL, CHAIN_ID, State, UNTIL_9, V2, bytes, ether, fork, new_root, request, sender, transactions,
};

const GAS: u64 = 30_000_000;

fn run(fork_id: u64, code: &str, gas_limit: u64, policy: CountersPolicy) -> (BatchOutput, B256) {
    let rich = GenesisAccount { address: sender().address(), balance: ether(1), ..GenesisAccount::default() };
    let contract = GenesisAccount { address: A, code: bytes(code), ..GenesisAccount::default() };
    let state = State::new(vec![rich, contract]);
    let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
    batch.block(1, 0);
    let call =
        Transfer { nonce: 0, gas_price: U256::from(1), gas_limit, to: Some(A), value: U256::ZERO, data: Bytes::new() };
    batch.transaction(&sender(), &call);
    let data = batch.finish();
    // What the ROM keeps for the end of the batch is a keccak for each 136 bytes, and two.
    assert!(data.len() < 135, "{} bytes", data.len());
    let input = BatchInput { no_counters: true, counters_policy: policy, ..request(fork_id, state.root, data) };
    (state.run(&input), state.root)
}

/// Returns the error of the batch in which A runs this code.
fn error(fork_id: u64, code: &str) -> RomError {
    let (output, old_root) = run(fork_id, code, GAS, CountersPolicy::Enforce);
    assert_eq!(output.error, ExecutorError::NoError, "fork {fork_id}, {code}");
    let found = if fork_id < 7 { output.transactions[0].error } else { output.error_rom };
    let root = new_root(&output).expect("the batch has an answer");
    assert_eq!(root == old_root, found.is_out_of_counters(), "fork {fork_id}, {code}: {found:?}");
    if found.is_out_of_counters() && fork_id >= 7 {
        assert!(output.invalid_batch && output.blocks.is_empty(), "fork {fork_id}, {code}");
    }
    let Counters { keccaks, poseidons, .. } = output.counters;
    assert_eq!((keccaks, poseidons), (0, 0), "nothing is counted");
    found
}

/// A call of a precompile with so many zero bytes.
fn precompile(number: u8, input_bytes: u32) -> String {
    format!("60006000 62{input_bytes:06x} 6000 6000 60{number:02x} 5a f1 00")
}

fn check(forks: &[u64], code: impl Fn(u32) -> String, last: u32, expected: RomError) {
    for &fork_id in forks {
        let found = [last, last + 1].map(|size| error(fork_id, &code(size)));
        assert_eq!(found, [RomError::NoError, expected], "fork {fork_id}, {}", code(last));
    }
}

#[test]
fn a_single_digest_that_passes_the_limit_is_out_of_keccaks() {
    // 2258 are allowed: 1 + 2 for the end of the batch, 2255 whole blocks of 136 bytes, counting a byte of padding.
    check(UNTIL_9, |size| format!("62{size:06x} 6000 20 00"), 2256 * 136 - 2, RomError::OutOfCountersKeccak);
    // CREATE2 wants one more; there is no limit to init code.
    check(UNTIL_9, |size| format!("6000 62{size:06x} 6000 6000 f5 00"), 2255 * 136 - 2, RomError::OutOfCountersKeccak);
    // 7 353: the limit of fork 10 is 4 634, that of later ones 9 386.
    for fork_id in [4, 5, 6, 7, 8, 9, 10] {
        assert_eq!(error(fork_id, "620f4240 6000 20 00"), RomError::OutOfCountersKeccak, "1 000 000 bytes");
    }
}

#[test]
fn a_single_copy_of_code_that_passes_the_limit_is_out_of_mem_aligns() {
    check(UNTIL_9, |size| format!("62{size:06x} 6000 6000 39 00"), 249_037, RomError::OutOfCountersMem);
    check(UNTIL_9, |size| format!("62{size:06x} 6000 6000 30 3c 00"), 249_037, RomError::OutOfCountersMem);
}

#[test]
fn a_single_sha256_that_passes_the_limit_is_out_of_sha256() {
    check(&[7, 8, 9], |size| precompile(2, size), 1770 * 64 - 2, RomError::OutOfCountersSha);
}

#[test]
fn a_single_pairing_that_passes_the_limit_is_out_of_arithmetics() {
    let pairs = |forks: &[u64], last: u32| {
        for &fork_id in forks {
            let found = [last, last + 1].map(|pairs| error(fork_id, &precompile(8, 192 * pairs)));
            assert_eq!(found, [RomError::NoError, RomError::OutOfCountersArith], "fork {fork_id}");
        }
    };
    pairs(&[7], 14);
    pairs(&[8, 9], 15);
    // The ROM asks for binaries first.
    for fork_id in [8, 9] {
        assert_eq!(error(fork_id, &precompile(8, 192 * 122)), RomError::OutOfCountersBinary);
    }
}

/// A digest whose gas is not paid for is never checked.
#[test]
fn what_cannot_be_paid_is_out_of_gas() {
    for &fork_id in ALL {
        let (output, _) = run(fork_id, "620f4240 6000 20 00", 100_000, CountersPolicy::Enforce);
        assert_eq!(transactions(&output)[0].error, RomError::OutOfGas, "fork {fork_id}");
    }
}

/// Up to fork 9 eight times the rows of the machine, 67 108 864: a round of this loop takes 59 steps and 12 gas (67 or more steps
/// where a PUSH is a loop). No gas limit reaches the last step of later forks.
#[test]
fn a_run_beyond_the_last_step_has_no_answer() {
    const LOOP: &str = "5b 6000 56";
    for &fork_id in ALL {
        let (output, _) = run(fork_id, LOOP, GAS, CountersPolicy::Report);
        assert_eq!(transactions(&output)[0].error, RomError::OutOfGas, "fork {fork_id}: nothing is enforced");
        if !UNTIL_9.contains(&fork_id) {
            let (output, _) = run(fork_id, LOOP, GAS, CountersPolicy::Enforce);
            assert_eq!(transactions(&output)[0].error, RomError::OutOfGas, "fork {fork_id}");
            continue;
        }
        let (output, _) = run(fork_id, LOOP, GAS, CountersPolicy::Enforce);
        assert_eq!(output.error, ExecutorError::CountersOverflowSteps, "fork {fork_id}");
        assert!(output.roots.is_none() && output.new_nodes.is_empty(), "fork {fork_id}");
        assert_eq!((output.counters, output.gas_used), (Counters::default(), 0), "fork {fork_id}");
        let (output, _) = run(fork_id, LOOP, 6_000_000, CountersPolicy::Enforce);
        assert_eq!(transactions(&output)[0].error, RomError::OutOfGas, "fork {fork_id}: some 30 million steps");
    }
}

/// The ROM numbers the digests of a kind, up to 63 487 (later-forks §7).
#[test]
fn more_digests_than_have_numbers_have_no_answer() {
    // The gas of a round, and the first fork that has it. A round with a call takes more steps than the bound leaves it.
    let loops = [("5b 6000 6000 20 50 6000 56", 50, 4)];
    for (code, gas_of_round, first_fork) in loops {
        for &fork_id in ALL.iter().filter(|&&fork_id| fork_id >= first_fork) {
            for policy in [CountersPolicy::Enforce, CountersPolicy::Report] {
                let (output, _) = run(fork_id, code, 63_500 * gas_of_round + 100_000, policy);
                assert_eq!(output.error, ExecutorError::AddressOutOfRange, "fork {fork_id}, {code}");
                assert!(output.roots.is_none() && !output.error_log.is_empty(), "fork {fork_id}, {code}");
                let (output, _) = run(fork_id, code, 63_000 * gas_of_round, policy);
                assert_eq!(transactions(&output)[0].error, RomError::OutOfGas, "fork {fork_id}, {code}");
            }
        }
    }
}

/// From fork 10 on the ROM numbers contexts up to 8191, counted or not (main-state-machine §4.3). Four are those of the batch,
/// its block and its transaction.
#[test]
fn more_contexts_than_have_numbers_have_no_answer() {
    for &fork_id in ALL {
        for calls in [8187, 8188] {
            let code = format!("61{calls:04x} 5b 6000600060006000 6004 5a fa 50 6001 90 03 80 6003 57");
            for policy in [CountersPolicy::Enforce, CountersPolicy::Report] {
                let (output, _) = run(fork_id, &code, GAS, policy);
                let is_beyond = calls > 8187 && fork_id >= 10;
                let expected = if is_beyond { ExecutorError::Unspecified } else { ExecutorError::NoError };
                assert_eq!(output.error, expected, "fork {fork_id}, {calls} calls");
                assert_eq!(output.roots.is_none(), is_beyond, "fork {fork_id}, {calls} calls");
            }
        }
    }
}

/// One that does not decode is known to only once its context is opened.
#[test]
fn more_items_than_have_contexts_have_no_answer() {
    let state = State::new(Vec::new());
    for &fork_id in V2 {
        let error = |blocks: usize, rest: &[u8]| {
            let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
            (0..blocks).for_each(|_| _ = batch.block(1, 0));
            batch.raw(rest);
            let output = state.run(&request(fork_id, state.root, batch.finish()));
            (output.error, output.error_rom)
        };
        let undecodable = (ExecutorError::NoError, RomError::InvalidDecodeChangeL2Block);
        let beyond = (ExecutorError::Unspecified, RomError::NoError);
        assert_eq!(error(8189, &[0x0b]), undecodable, "fork {fork_id}");
        if fork_id < 10 {
            assert_eq!(error(8190, &[0x0b]), undecodable, "fork {fork_id}");
        } else {
            assert_eq!(error(8190, &[0x0b]), beyond, "fork {fork_id}");
            assert_eq!(error(8191, &[]), beyond, "fork {fork_id}");
        }
    }
}

/// The ROM has asked for two arithmetics, of a shift, when it finds that the last number of a list is cut off: no batch that does
/// not decode reserves less. From the ROM of fork 12.
#[test]
fn a_list_that_does_not_decode_reserves_a_shift() {
    let state = State::new(Vec::new());
    // Fork 7 reports no reservations.
    for &fork_id in V2.iter().filter(|fork_id| **fork_id > 7) {
        let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
        batch.block(1, 0);
        batch.raw(&bytes("f86780843b9aca0082c461940000000000000000000000000000000000000009820387b83f8aad39"));
        let input = request(fork_id, state.root, batch.finish());
        let output = state.run(&BatchInput { no_counters: true, ..input });
        assert_eq!(output.error_rom, RomError::InvalidRlp, "fork {fork_id}");
        assert_eq!(output.reserved.arithmetics, 2, "fork {fork_id}");
    }
}
