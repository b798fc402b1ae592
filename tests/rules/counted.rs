//! zk counters of generated programs against those that the ROM itself has on them.

use std::sync::Arc;

use revm::primitives::{Address, Bytes, U256};
use zkevm_pool::CancelToken;
use zkevm_processor::Engine;
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{Account, BatchBuilder, Kind, Transfer, Workload};
use zkevm_types::{BatchInput, BatchOutput, Counters};

use super::support::{A, B, State, bytes, ether, fork, request};

/// Who sends in unsigned mode.
const ANYBODY: Address = Address::repeat_byte(0x11);
/// A call of A with 500 000 gas at price 1 and the signature that nodes put under unsigned transactions (batch §3.4).
const CALL_OF_A: &str = "e280018307a120941000000000000000000000000000000000000001 80 80 8203e8 8080
    a54492cfacf71aef702421b7fbc70636537a7b2fbe5718c5ed970a001bb7756b
    2e9fb27acc75955b898f0b12ec52aa34bf08f01db654374484b80bf12f0d841e1c";

fn run(fork_id: u64, code_of_a: &str, code_of_b: &str, no_counters: bool) -> BatchOutput {
    let account = |address, code| GenesisAccount { address, code: bytes(code), ..GenesisAccount::default() };
    let rich = GenesisAccount { address: ANYBODY, balance: ether(1), ..GenesisAccount::default() };
    let state = State::new(vec![rich, account(A, code_of_a), account(B, code_of_b)]);
    let block = if fork_id < 7 { "" } else { "0b0000000500000000" };
    let percentage = if fork_id < 5 { "" } else { "ff" };
    let data: Bytes = bytes(&format!("{block}{CALL_OF_A}{percentage}"));
    state.run(&BatchInput { from: Some(ANYBODY), no_counters, ..request(fork_id, state.root, data) })
}

/// A frame's return data is copied as far as its caller has room: part of a word is the dear path, however long the data.
///
/// Rows: bytes returned and their offset, offset and bytes of the caller's area; then steps, arithmetics, binaries and
/// mem-aligns of the ROMs of forks 4, 5, 6, 7 and 9.
#[test]
fn what_a_frame_returns_never_counts_less_than_in_the_rom() {
    const ROWS: [([u8; 4], [[u64; 4]; 5]); 8] = [
        (
            [32, 0, 0, 5],
            [[7877, 480, 886, 1], [7903, 482, 887, 1], [7528, 481, 699, 1], [7832, 226, 715, 1], [7258, 481, 670, 1]],
        ),
        (
            [32, 0, 32, 1],
            [[7877, 480, 886, 1], [7903, 482, 887, 1], [7528, 481, 699, 1], [7832, 226, 715, 1], [7258, 481, 670, 1]],
        ),
        (
            [96, 17, 7, 33],
            [[8043, 482, 892, 5], [8069, 484, 893, 5], [7694, 483, 705, 5], [7998, 228, 721, 5], [7424, 483, 676, 5]],
        ),
        (
            [160, 0, 0, 31],
            [[7950, 481, 890, 1], [7976, 483, 891, 1], [7601, 482, 703, 1], [7905, 227, 719, 1], [7331, 482, 674, 1]],
        ),
        (
            [160, 5, 32, 33],
            [[7999, 481, 891, 3], [8025, 483, 892, 3], [7650, 482, 704, 3], [7954, 227, 720, 3], [7380, 482, 675, 3]],
        ),
        (
            [64, 0, 0, 64],
            [[7786, 472, 882, 1], [7812, 474, 883, 1], [7437, 473, 695, 1], [7741, 218, 711, 1], [7167, 473, 666, 1]],
        ),
        (
            [33, 0, 0, 64],
            [[7994, 481, 891, 1], [8020, 483, 892, 1], [7645, 482, 704, 1], [7949, 227, 720, 1], [7375, 482, 675, 1]],
        ),
        (
            [0, 0, 0, 32],
            [[7544, 471, 867, 1], [7570, 473, 868, 1], [7195, 472, 680, 1], [7499, 217, 696, 1], [6925, 472, 651, 1]],
        ),
    ];
    for ([bytes, offset, area, area_bytes], counted) in ROWS {
        for end in ["f3", "fd"] {
            let returns = format!("6001 6000 52 60{bytes:02x} 60{offset:02x} {end}");
            let calls = format!("60{area_bytes:02x} 60{area:02x} 6000 6000 73{} 620186a0 fa 00", hex::encode(B));
            for (fork_id, [steps, arithmetics, binaries, mem_aligns]) in [4, 5, 6, 7, 9].into_iter().zip(counted) {
                let ours = run(fork_id, &calls, &returns, false).counters;
                let place = format!("fork {fork_id}, {bytes} bytes into {area_bytes}: {ours:?}");
                // REVERT takes a step more.
                assert!(ours.steps > steps && ours.steps < steps + 1000, "{place}");
                assert!(ours.arithmetics >= arithmetics && ours.arithmetics < arithmetics + 40, "{place}");
                assert!(ours.binaries >= binaries && ours.binaries < binaries + 80, "{place}");
                assert!(ours.mem_aligns >= mem_aligns && ours.mem_aligns < mem_aligns + 15, "{place}");
            }
        }
    }
}

/// Without counters the checks of the ROM see nothing used: what is reserved is the largest wish.
///
/// Columns: mem-aligns, keccaks, paddings, SHA-256. The other four are those of any such transaction.
#[test]
fn without_counters_the_largest_wish_is_reserved() {
    let code_of_300_bytes = "5b".repeat(300);
    let call_b = format!("60206000 6000 6000 6000 73{} 61c350 f1", hex::encode(B));
    let copy_of_b = format!("6032 6000 6000 73{} 3c", hex::encode(B));
    let rows = [
        ("nothing special", "00", [0, 4, 1, 0]),
        ("KECCAK256 of 5 bytes", "6005 6000 20", [1, 4, 1, 0]),
        ("KECCAK256 of 300 bytes", "61012c 6000 20", [1, 5, 1, 0]),
        ("CREATE2 of 200 bytes", "6007 60c8 6000 6000 f5", [1, 5, 1, 0]),
        ("LOG2 of 130 bytes", "6001 6001 6082 6000 a2", [1, 4, 6, 0]),
        ("SHA-256 of 200 bytes", "6020 6000 60c8 6000 6000 6002 61c350 f1", [1, 4, 1, 3]),
        ("CODECOPY of 50 bytes", "6032 6000 6000 39", [50, 4, 1, 0]),
        ("a call of 300 bytes of code", &call_b, [0, 4, 6, 0]),
        ("EXTCODECOPY of 50 bytes", &copy_of_b, [50, 4, 6, 0]),
        ("BLOCKHASH", "6000 40", [0, 4, 1, 0]),
    ];
    for fork_id in [8, 9] {
        for (name, code, [mem_aligns, keccaks, poseidon_paddings, sha256s]) in rows {
            let output = run(fork_id, code, &code_of_300_bytes, true);
            let reserved = output.reserved;
            let exact = [reserved.steps, reserved.arithmetics, reserved.binaries, reserved.keccaks];
            assert_eq!(exact, [100_000, 1100, 550, keccaks], "fork {fork_id}: {name}");
            let exact = [reserved.poseidon_paddings, reserved.poseidons, reserved.sha256s];
            assert_eq!(exact, [poseidon_paddings, 7 * 518, sha256s], "fork {fork_id}: {name}");
            // Any code counts as if it looked at memory once.
            assert_eq!(reserved.mem_aligns, mem_aligns.max(1), "fork {fork_id}: {name}");
            assert_eq!(output.counters, Counters { steps: output.counters.steps, ..Counters::default() });
        }
    }
    // In fork 7 the field repeats what is used.
    let output = run(7, "61012c 6000 20", "", true);
    assert_eq!(output.reserved, output.counters);
}

/// A word that is small, near a power of two, or anything.
fn any_word(next: &mut impl FnMut() -> u64) -> [u8; 32] {
    let mut word = [0; 32];
    match next() % 4 {
        0 => word[31] = next() as u8,
        1 => word[24..].copy_from_slice(&u64::MAX.wrapping_sub(next() % 70).to_be_bytes()),
        2 => word = [0xff; 32],
        _ => word[(next() % 32) as usize] = next() as u8,
    }
    word
}

/// Lengths and offsets at the ends of their ranges: tests check all arithmetic.
#[test]
fn no_operand_overflows_what_is_counted() {
    // A call whose arguments end inside a word and whose output area ends at the last number of 64 bits.
    let area_at_the_end = "60ff6000 60bf 67ffffffffffffff40 6040 60ff 6000 6004 5a f1";
    let inside_a_word = "6040 67ffffffffffffffbf 6040 60ff 6000 6004 5a f1";
    let memory_opcodes: [&[u8]; 10] =
        [&[0x20], &[0x37], &[0x39], &[0x3c], &[0x51], &[0x53], &[0xa1], &[0xf1], &[0xf5], &[0xfa]];
    let mut seed = 1_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let generated = (0..150).map(|_| {
        let mut code = String::from("60ff60ff53");
        for _ in 0..3 {
            for _ in 0..7 {
                code += &format!("7f{}", hex::encode(any_word(&mut next)));
            }
            code += &hex::encode(memory_opcodes[(next() % 10) as usize]);
            if next() % 2 == 0 {
                code += "5b";
            }
        }
        code
    });
    let programs: Vec<String> =
        [area_at_the_end, inside_a_word].map(str::to_owned).into_iter().chain(generated).collect();
    for code in &programs {
        for fork_id in [4, 6, 7, 9] {
            // The caller goes on, so the callee's faults stay inside.
            let calls = format!("6000600060006000600073{} 61ffff f1 00", hex::encode(B));
            let output = run(fork_id, &calls, code, false);
            assert!(output.roots.is_some(), "fork {fork_id}: {:?}, {code}", output.error);
            assert!(output.counters.steps < 1_000_000, "fork {fork_id}: {:?}, {code}", output.counters);
        }
    }
}

/// Each pair of a pairing is read word by word, however the model of the counters sees it: 12 words and the result, by the ROM of
/// fork 9.
#[test]
fn a_pairing_of_two_pairs_counts_what_it_reads() {
    // Calls it with twelve words of zeros and room for one.
    let output = run(9, "60206000610180600060085afa", "", false);
    assert!(output.counters.mem_aligns >= 13, "{:?}", output.counters);
}

/// The ROM halves the head of the exponent to find its length, before it sees that nothing is raised: 256 divisions.
#[test]
fn a_modexp_of_nothing_counts_the_length_of_its_exponent() {
    let head = "ff".repeat(32);
    // No base, 33 bytes of exponent, 64 of modulus.
    let code = format!("6021602052 6040604052 7f{head}606052 6000600060c160006005 5a fa");
    for fork_id in [7, 8, 9, 12] {
        let output = run(fork_id, &code, "", false);
        assert!(output.counters.arithmetics >= 256, "fork {fork_id}: {:?}", output.counters);
    }
}

/// The price list has less than the ROM for a modulus of several words: 0xff^(2^256 - 1) modulo 2^512 - 1 and modulo
/// 2^1536 - 1 by the ROM of fork 7, whole batches.
#[test]
fn a_modexp_of_a_long_modulus_counts_no_less_than_in_the_rom() {
    for (modulus_bytes, [steps, arithmetics, binaries]) in
        [(64, [482_550, 6020, 30_794]), (192, [1_597_618, 35_315, 154_721])]
    {
        let numbers = format!("ff{}{}", "ff".repeat(32), "ff".repeat(modulus_bytes));
        let words: String = [1, 32, modulus_bytes].map(|length| format!("{length:064x}")).concat() + &numbers;
        let stores: String = words
            .as_bytes()
            .chunks(64)
            .enumerate()
            .map(|(place, word)| format!("7f{:0<64}61{:04x}52", str::from_utf8(word).unwrap(), 32 * place))
            .collect();
        let code = format!("{stores} 6000600061{:04x}6000 6005 5a fa", words.len() / 2);
        let Counters { steps: ours, arithmetics: our_arithmetics, binaries: our_binaries, .. } =
            run(7, &code, "", false).counters;
        assert!(ours >= steps && our_arithmetics >= arithmetics && our_binaries >= binaries, "{modulus_bytes} bytes");
    }
}

/// What the first checks of the ROM ask for: the keccaks of the end and a division; one keccak more before any item.
#[test]
fn without_counters_an_empty_or_undecodable_batch_reserves_what_the_first_checks_want() {
    let state = State::new(Vec::new());
    for fork_id in [8, 9, 10, 12] {
        let reserved = |data: &str| {
            let data = bytes(data);
            state.run(&BatchInput { no_counters: true, ..request(fork_id, state.root, data) }).reserved
        };
        let Counters { arithmetics, binaries, keccaks, .. } = reserved("");
        assert_eq!((arithmetics, binaries, keccaks), (1, 3, 2), "fork {fork_id}");
        assert_eq!(reserved("0b").keccaks, 3, "fork {fork_id}");
    }
}

/// A proof of the later forks has a bounded number of contexts. Two are those of every batch, and one that of each item.
#[test]
fn every_item_and_call_opens_a_context() {
    // Two calls of an account without code, one of a precompile, and a create of nothing.
    let call = |to: &str| format!("6000600060006000600073{to}61fffff1 50");
    // More than there is: in the ROM a call has begun, a create has not.
    let beyond_funds = ["600060006000600061ffff 6077 61fffff1 50", "6000600061fffff0 50"].concat();
    let stranger = hex::encode(Address::repeat_byte(0x77));
    let precompile = hex::encode(Address::with_last_byte(4));
    let code = [call(&stranger), call(&stranger), call(&precompile), "600060006000f0 50".to_owned()].concat();
    for fork_id in [7, 9, 10, 12, 13] {
        let contexts = |code: &str| run(fork_id, code, "", false).engine.contexts;
        assert_eq!(contexts("00"), 4, "fork {fork_id}");
        assert_eq!(contexts(&code), 8, "fork {fork_id}");
        assert_eq!(contexts(&beyond_funds), 5, "fork {fork_id}");
    }
}

/// Data is read before topics are paid for: two words, by the ROM of fork 4.
#[test]
fn a_log_that_cannot_pay_for_a_topic_counts_the_data_it_read() {
    let call_b = "6000600060006000600073 3000000000000000000000000000000000000003 6103e8 f1";
    for fork_id in [4, 5, 6, 7] {
        let output = run(fork_id, call_b, "6000600060406000a2", false);
        assert!(output.counters.mem_aligns >= 2, "fork {fork_id}: {:?}", output.counters);
    }
}

/// A create is decoded without a recipient, and the gas it needs is looked up apart: rejected for its gas limit or for want of
/// balance it counts what the ROM counts.
///
/// Rows: fork, steps of the two in its ROM.
#[test]
fn rejected_creates_count_as_in_the_rom() {
    const ROWS: [(u64, [u64; 2]); 6] = [
        (4, [5802, 5985]),
        (5, [5833, 6016]),
        (6, [5457, 5625]),
        (7, [5746, 5914]),
        (9, [5746, 5914]),
        (12, [5746, 5914]),
    ];
    let poor = Account::numbered(77_000);
    for (fork_id, steps) in ROWS {
        let workload = Arc::new(Workload::new(fork(fork_id), 1).unwrap());
        let genesis = workload.genesis().build().unwrap();
        let store = MemoryStore::new(0);
        genesis.write_to(&store).unwrap();
        for ((gas_limit, gas_price), steps) in [(22_010, 0), (100_000, 1)].into_iter().zip(steps) {
            let mut batch = BatchBuilder::new(fork(fork_id), 1001);
            batch.block(1, 0);
            let create = Transfer {
                nonce: 0,
                gas_price: U256::from(gas_price),
                gas_limit,
                to: None,
                value: U256::ZERO,
                data: Bytes::new(),
            };
            batch.transaction(&poor, &create);
            let any = workload.chain(0, genesis.root.to_b256()).next_batch(Kind::Transfers, 1);
            let input = BatchInput { batch_l2_data: batch.finish(), ..any };
            let output = Engine::default().process(&input, &store, &CancelToken::default()).unwrap();
            assert_eq!(output.counters.steps, steps, "fork {fork_id}, gas limit {gas_limit}");
        }
    }
}
