//! Counters of what takes long areas of memory, long code or large numbers: bounds must hold for these too.

use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256, hex};
use fastrand::Rng;
use revm::bytecode::OpCode;
use revm::bytecode::opcode::{JUMP, JUMPDEST, POP, PUSH0, PUSH32, RETURN, REVERT, SELFDESTRUCT};
use zkevm_executor::actors::BatchEngine;
use zkevm_executor::config::{EngineKind, EngineOptions, Exact};
use zkevm_executor::engines::Engines;
use zkevm_pool::CancelToken;
use zkevm_processor::{Engine, PrefixCache};
use zkevm_recovery::Recoverer;
use zkevm_rom::RomEngine;
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{Account, BatchBuilder, Kind, Transfer, Workload};
use zkevm_types::{BatchInput, BatchOutput, CountersPolicy, EngineName, ForkId, P256_VERIFY};

use super::precompiles::address;
use super::programs::edge;
use super::{forks, machine, p256, setting};

/// Has the code under test.
pub(crate) const CODE: Address = alloy_primitives::address!("00000000000000000000000000000000000c0de1");
/// Has code to be copied and called.
const OTHER: Address = alloy_primitives::address!("00000000000000000000000000000000000c0de2");
/// Opcodes and their operands, the top of the stack first: numbers, extents, addresses, zero, gas.
const OPCODES: &[(u8, &str)] = &[
    (0x04, "nn"),
    (0x05, "nn"),
    (0x06, "nn"),
    (0x07, "nn"),
    (0x08, "nnn"),
    (0x09, "nnn"),
    (0x0a, "nn"),
    (0x0b, "nn"),
    (0x1a, "nn"),
    (0x1b, "nn"),
    (0x1c, "nn"),
    (0x1d, "nn"),
    (0x20, "ee"),
    (0x31, "a"),
    (0x35, "e"),
    (0x37, "eee"),
    (0x39, "eee"),
    (0x3b, "a"),
    (0x3c, "aeee"),
    (0x3e, "eze"),
    (0x3f, "a"),
    (0x40, "n"),
    (0x51, "e"),
    (0x52, "en"),
    (0x53, "en"),
    (0x54, "n"),
    (0x55, "nn"),
    (0xa0, "ee"),
    (0xa1, "een"),
    (0xa4, "eennnn"),
    (0xf0, "zee"),
    (0xf1, "gazeeee"),
    (0xf1, "ganeeee"),
    (0xf2, "gazeeee"),
    (0xf3, "ee"),
    (0xf4, "gaeeee"),
    (0xf5, "zeen"),
    (0xfa, "gaeeee"),
    (0xfd, "ee"),
    (0xff, "a"),
];
/// Number of the precompile.
const MODEXP: u8 = 5;
/// Longest exponent; the counters of a batch do not suffice for much longer ones.
const EXPONENT_BYTES_MAX: usize = 70;

/// Opcodes whose operands are lengths and numbers of all sizes.
#[test]
fn long_operands_never_count_less_than_in_the_rom() {
    let Some(rom) = machine() else { return };
    let forks = forks(&rom);
    let first = setting("ZKEVM_SEED", 0);
    let mut failures = Vec::new();
    for seed in first..first + setting("ZKEVM_GENERATED", 100) {
        let mut rng = Rng::with_seed(seed);
        let fork = forks[seed as usize % forks.len()];
        let code = program(&mut rng);
        let data = numbers(&mut rng, 2_000);
        if let Some(difference) = below(fork, &rom, &code, CODE, &data) {
            println!("seed {seed}, fork {fork}: {difference}, {}", hex::encode(&code));
            failures.push(seed);
        }
    }
    assert!(failures.is_empty(), "{} programs count less than in the ROM: seeds {failures:?}", failures.len());
}

/// Batches that spend much gas in loops, whose counters end on either side of a limit: what is served is the ROM's verdict,
/// though the machine runs only where a native bound comes near a limit.
#[test]
fn no_batch_beyond_the_limits_is_accepted_and_none_within_is_refused() {
    let Some(rom) = machine() else { return };
    let options = EngineOptions {
        kind: EngineKind::Native,
        rom_dir: std::env::var_os("ZKEVM_ROMS").map(Into::into),
        exact: Exact::NearLimit,
        intrinsics: true,
    };
    let served = Engines::open(&options, 0, Recoverer::single(), PrefixCache::default()).unwrap();
    let forks = forks(&rom);
    let first = setting("ZKEVM_SEED", 0);
    let mut failures = Vec::new();
    let (mut beyond, mut by_machine) = (0, 0);
    for seed in first..first + setting("ZKEVM_GENERATED", 30) {
        let mut rng = Rng::with_seed(seed);
        let fork = forks[seed as usize % forks.len()];
        let calls = rng.usize(1..4);
        let gas_limit = 29_000_000 >> rng.u8(..6);
        let code = looping(&mut rng);
        let data = numbers(&mut rng, 300);
        let (input, store) = batch(fork, &code, CODE, &data, gas_limit, calls);
        let cancel = CancelToken::default();
        let expected = rom.process(&input, &store, &cancel).unwrap();
        let answer = served.process(&input, &store, &cancel).unwrap();
        let verdict = |output: &BatchOutput| (output.error, output.error_rom, output.roots);
        beyond += u64::from(expected.error_rom.is_out_of_counters());
        by_machine += u64::from(answer.engine.answered_by == EngineName::Rom);
        if verdict(&answer) != verdict(&expected) {
            println!("seed {seed}, fork {fork}: {:?}, by the ROM {:?}", verdict(&answer), verdict(&expected));
            failures.push(seed);
        }
    }
    println!("{beyond} batches ran out of counters, {by_machine} were answered by the machine");
    assert!(failures.is_empty(), "{} batches are judged differently: seeds {failures:?}", failures.len());
}

/// A loop without an end over a few opcodes.
fn looping(rng: &mut Rng) -> Vec<u8> {
    let mut code = vec![JUMPDEST];
    for _ in 0..rng.usize(1..4) {
        let (opcode, operands) = OPCODES[rng.usize(..OPCODES.len())];
        if matches!(opcode, RETURN | REVERT | SELFDESTRUCT) {
            continue;
        }
        push_operands(rng, &mut code, operands);
        code.push(opcode);
        let outputs = OpCode::new(opcode).map_or(0, |opcode| opcode.outputs());
        code.extend(std::iter::repeat_n(POP, outputs.into()));
    }
    code.extend([PUSH0 + 1, 0, JUMP]);
    code
}

/// A few opcodes with their operands, then the end.
fn program(rng: &mut Rng) -> Vec<u8> {
    let mut code = Vec::new();
    for _ in 0..rng.usize(1..6) {
        let (opcode, operands) = OPCODES[rng.usize(..OPCODES.len())];
        push_operands(rng, &mut code, operands);
        code.push(opcode);
    }
    code
}

fn push_operands(rng: &mut Rng, code: &mut Vec<u8>, operands: &str) {
    for operand in operands.chars().rev() {
        let word = match operand {
            'n' => edge(rng),
            'a' => [CODE, OTHER, Address::with_last_byte(rng.u8(..10))][rng.usize(..3)].into_word().into(),
            'z' => U256::ZERO,
            'g' => U256::from(3_000_000),
            _ => U256::from(extent(rng)),
        };
        code.push(PUSH32);
        code.extend(word.to_be_bytes::<32>());
    }
}

/// An offset or a length.
fn extent(rng: &mut Rng) -> usize {
    match rng.u8(..5) {
        0 => 32 * rng.usize(..8),
        1 => rng.usize(..300),
        2 => rng.usize(..5_000),
        3 => [31, 32, 33, 55, 56, 57, 135, 136, 137, 4_095, 9_999][rng.usize(..11)],
        _ => rng.usize(..66),
    }
}

fn numbers(rng: &mut Rng, bytes_max: usize) -> Vec<u8> {
    let bytes = rng.usize(..bytes_max);
    (0..bytes).map(|_| rng.u8(..)).collect()
}

/// Lengths, numbers and cut-off input at random, each the call of one transaction and of a contract. `ZKEVM_GENERATED` is the
/// number of inputs.
#[test]
fn a_modexp_never_counts_less_than_in_the_rom() {
    let Some(rom) = machine() else { return };
    let forks: Vec<_> = forks(&rom).into_iter().filter(|fork| fork.rules().has_precompile(MODEXP.into())).collect();
    if forks.is_empty() {
        return println!("no MODEXP in this fork");
    }
    // Gives its input to MODEXP, and has as many bytes of the answer.
    let code = hex!("365f5f37 365f365f60055afa");
    let mut rng = Rng::with_seed(setting("ZKEVM_SEED", 0));
    for case in 0..setting("ZKEVM_GENERATED", 100) as usize {
        let fork = forks[case % forks.len()];
        let data = input(&mut rng);
        for to in [CODE, Address::with_last_byte(MODEXP)] {
            let difference = below(fork, &rom, &code, to, &data);
            assert_eq!(difference, None, "to {to}, fork {fork}, {}", hex::encode(&data));
        }
    }
}

/// Signatures of all kinds, each the call of one transaction and of a contract. `ZKEVM_GENERATED` is the number of signatures.
#[test]
fn a_p256_verification_never_counts_less_than_in_the_rom() {
    let Some((rom, fork)) = p256::fork_13() else { return };
    // Gives its input to P256VERIFY, twice.
    let code = hex!("365f5f37 60205f365f610100612710fa 60205f365f5f610100612710f1");
    let mut rng = Rng::with_seed(setting("ZKEVM_SEED", 0));
    for _ in 0..setting("ZKEVM_GENERATED", 100) {
        let mut data = p256::input(&mut rng);
        if rng.u8(..6) == 0 {
            data.resize(rng.usize(..200), 0);
        }
        for to in [CODE, address(P256_VERIFY)] {
            let difference = below(fork, &rom, &code, to, &data);
            assert_eq!(difference, None, "{}", hex::encode(&data));
        }
    }
}

/// Lengths, then numbers: full ones, random ones, with zeros in front; a quarter of all is cut off.
fn input(rng: &mut Rng) -> Vec<u8> {
    let lengths: [usize; 3] = std::array::from_fn(|_| match rng.u8(..5) {
        0 => 1,
        1 => 32,
        2 => 64,
        3 => rng.usize(1..65),
        _ => rng.usize(1..200),
    });
    let [base, exponent, modulus] = lengths;
    let mut lengths = [base, exponent.min(EXPONENT_BYTES_MAX), modulus];
    if rng.u8(..10) == 0 {
        // Counters suffice for long numbers where the exponent is short.
        let base = if rng.u8(..4) == 0 { 0 } else { rng.usize(1..1025) };
        lengths = [base, rng.usize(..2), rng.usize(1..1025)];
    }
    let mut data: Vec<u8> = lengths.iter().flat_map(|&length| U256::from(length).to_be_bytes::<32>()).collect();
    let style = rng.u8(..3);
    for length in lengths {
        data.extend((0..length).map(|place| match style {
            0 => 0xff,
            1 if place < length / 2 => 0,
            _ => rng.u8(..),
        }));
    }
    if rng.u8(..4) == 0 {
        data.truncate(rng.usize(96..=data.len()));
    }
    data
}

/// Calls an address with `data`, CODE having this code. Returns the native counters and the ROM's if any is below.
fn below(fork: ForkId, rom: &RomEngine, code: &[u8], to: Address, data: &[u8]) -> Option<String> {
    let (input, store) = batch(fork, code, to, data, 29_000_000, 1);
    // A batch that the native engine gives up has not counted all.
    let input = BatchInput { counters_policy: CountersPolicy::Report, ..input };
    let cancel = CancelToken::default();
    let [native, rom] = [
        Engine::default().process(&input, &store, &cancel).unwrap().counters,
        rom.process(&input, &store, &cancel).unwrap().counters,
    ];
    let is_below = native.to_array().iter().zip(rom.to_array()).any(|(native, rom)| *native < rom);
    is_below.then(|| format!("{native:?}, by the ROM {rom:?}"))
}

/// Returns a batch of so many calls of an address, and the state in which CODE has this code.
pub(crate) fn batch(
    fork: ForkId,
    code: &[u8],
    to: Address,
    data: &[u8],
    gas_limit: u64,
    calls: usize,
) -> (BatchInput, MemoryStore) {
    let workload = Arc::new(Workload::new(fork, 1).unwrap());
    let mut genesis = workload.genesis().clone();
    for (address, code) in [(CODE, code), (OTHER, &[JUMPDEST; 2_500][..])] {
        genesis.accounts.push(GenesisAccount {
            address,
            balance: U256::from(7),
            code: Bytes::copy_from_slice(code),
            ..GenesisAccount::default()
        });
    }
    let genesis = genesis.build().unwrap();
    let store = MemoryStore::new(0);
    genesis.write_to(&store).unwrap();
    let any = workload.chain(0, genesis.root.to_b256()).next_batch(Kind::Transfers, 1);
    let mut batch = BatchBuilder::new(fork, any.chain_id);
    batch.block(1, 0);
    for nonce in 0..calls as u64 {
        let data = Bytes::copy_from_slice(data);
        let call = Transfer { nonce, gas_price: U256::ZERO, gas_limit, to: Some(to), value: U256::ZERO, data };
        batch.transaction(&Account::numbered(77_000), &call);
    }
    let input = BatchInput { batch_l2_data: batch.finish(), counters_policy: CountersPolicy::Enforce, ..any };
    (input, store)
}
