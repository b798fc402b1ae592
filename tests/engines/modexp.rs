//! The counters of MODEXP, which a price list has for short numbers only.

use std::path::Path;
use std::sync::Arc;

use alloy_primitives::{Address, Bytes, U256};
use fastrand::Rng;
use zkevm_pool::{CancelToken, WorkerPool};
use zkevm_processor::Engine;
use zkevm_rom::{RomEngine, Roms};
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::{Account, BatchBuilder, Kind, Transfer, Workload};
use zkevm_testkit::skip;
use zkevm_types::{BatchInput, BatchOutput, ForkId};

use super::setting;

/// Number of the precompile.
const MODEXP: u8 = 5;
/// Longest exponent; the counters of a batch do not suffice for much longer ones.
const EXPONENT_BYTES_MAX: usize = 40;

/// Lengths, numbers and cut-off input at random, each the call of one transaction. `ZKEVM_GENERATED` is the number of batches.
#[test]
fn a_modexp_never_counts_less_than_in_the_rom() {
    let Some(folder) = std::env::var_os("ZKEVM_ROMS") else {
        return skip::missing_data("no folder of ROM files (set ZKEVM_ROMS)");
    };
    let rom = RomEngine::new(Roms::read(Path::new(&folder)).unwrap(), WorkerPool::none());
    let forks: Vec<_> = (7..=13)
        .filter_map(ForkId::new)
        .filter(|fork| fork.rules().has_precompile(MODEXP.into()) && rom.has_fork(*fork))
        .collect();
    let mut rng = Rng::with_seed(setting("ZKEVM_SEED", 0));
    for case in 0..setting("ZKEVM_GENERATED", 100) as usize {
        let fork = forks[case % forks.len()];
        let data = input(&mut rng);
        let (native, counted) = both(fork, &rom, &data);
        let below = native.counters.to_array().iter().zip(counted.counters.to_array()).any(|(ours, rom)| *ours < rom);
        let (ours, rom) = (native.counters, counted.counters);
        assert!(!below, "fork {fork}, {}: {ours:?}, {rom:?}", alloy_primitives::hex::encode(&data));
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
    let lengths = [base, exponent.min(EXPONENT_BYTES_MAX), modulus];
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

fn both(fork: ForkId, rom: &RomEngine, data: &[u8]) -> (BatchOutput, BatchOutput) {
    let workload = Arc::new(Workload::new(fork, 1).unwrap());
    let genesis = workload.genesis().build().unwrap();
    let store = MemoryStore::new(0);
    genesis.write_to(&store).unwrap();
    let any = workload.chain(0, genesis.root.to_b256()).next_batch(Kind::Transfers, 1);
    let mut batch = BatchBuilder::new(fork, any.chain_id);
    let call = Transfer {
        nonce: 0,
        gas_price: U256::ZERO,
        gas_limit: 29_000_000,
        to: Some(Address::with_last_byte(MODEXP)),
        value: U256::ZERO,
        data: Bytes::copy_from_slice(data),
    };
    batch.block(1, 0).transaction(&Account::numbered(77_000), &call);
    let input = BatchInput { batch_l2_data: batch.finish(), ..any };
    let cancel = CancelToken::default();
    (Engine::default().process(&input, &store, &cancel).unwrap(), rom.process(&input, &store, &cancel).unwrap())
}
