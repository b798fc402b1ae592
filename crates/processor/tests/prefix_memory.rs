//! What the cache of prefixes says that it takes is no less than what it takes.
//!
//! A test of its own process: bytes are counted where they are allocated. What an allocator adds is not in them.

use std::sync::Arc;

use peak_alloc::PeakAlloc;
use revm::primitives::{Address, U256};
use zkevm_pool::CancelToken;
use zkevm_processor::{Engine, PrefixCache};
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{Account, BatchBuilder, Genesis, Kind, Transfer, Workload};
use zkevm_testkit::stateless::Source;
use zkevm_types::{BatchInput, ExecutorError, ForkId};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const FORK: u64 = 13;

/// Returns what the cache says that it takes after these batches, and what it gives back.
fn said_and_taken(batches: impl IntoIterator<Item = (BatchInput, Arc<Source>)>) -> (usize, usize) {
    let cache = PrefixCache::new(usize::MAX);
    let engine = Engine::default().with_prefixes(cache.clone());
    let mut count = 0;
    for (input, state) in batches {
        let output = engine.process(&input, &*state, &CancelToken::default()).unwrap();
        assert_eq!(output.error, ExecutorError::NoError, "{}", output.error_log);
        count += 1;
    }
    assert_eq!(cache.stats().entries, count);
    let (said, before) = (cache.stats().bytes, ALLOCATOR.current_usage());
    cache.shrink_to(0);
    assert_eq!((cache.stats().bytes, cache.stats().entries), (0, 0));
    (said, before - ALLOCATOR.current_usage())
}

/// Batches with 1, 2, … blocks.
fn growing(kind: Kind, blocks: usize) -> Vec<(BatchInput, Arc<Source>)> {
    let workload = Arc::new(Workload::new(ForkId::new(FORK).unwrap(), 4).unwrap());
    let state = Arc::new(Source::new(workload.genesis()).unwrap());
    let mut chain = workload.chain(0, state.state.root.to_b256());
    let mut data = Vec::new();
    let block = |_| {
        let mut input = chain.next_batch(kind, 10);
        data.extend_from_slice(&input.batch_l2_data);
        input.batch_l2_data = data.clone().into();
        (input, Arc::clone(&state))
    };
    (0..blocks).map(block).collect()
}

/// Batches with nothing in common: one transaction each, which calls or makes a contract.
fn different(count: u64, code: &[u8], data: impl Fn(u64) -> Vec<u8>, creates: bool) -> Vec<(BatchInput, Arc<Source>)> {
    let fork = ForkId::new(FORK).unwrap();
    let workload = Arc::new(Workload::new(fork, 1).unwrap());
    let contract = Address::repeat_byte(0xcc);
    let sender = Account::numbered(0);
    let accounts = vec![
        GenesisAccount {
            address: sender.address(),
            balance: U256::from(10).pow(U256::from(20)),
            ..GenesisAccount::default()
        },
        GenesisAccount { address: contract, nonce: 1, code: code.to_vec().into(), ..GenesisAccount::default() },
    ];
    let state = Arc::new(Source::new(&Genesis { accounts }).unwrap());
    let empty = workload.chain(0, state.state.root.to_b256()).empty_batch();
    let batch = |number| {
        let mut builder = BatchBuilder::new(fork, empty.chain_id);
        let transfer = Transfer {
            nonce: 0,
            gas_limit: 2_000_000,
            to: (!creates).then_some(contract),
            data: data(number).into(),
            value: U256::ZERO,
            gas_price: U256::ONE,
        };
        builder.block(1, 0).transaction(&sender, &transfer);
        (BatchInput { batch_l2_data: builder.finish(), ..empty.clone() }, Arc::clone(&state))
    };
    (0..count).map(batch).collect()
}

#[test]
fn the_cache_does_not_take_more_than_it_says() {
    let word = |number: u64| U256::from(number).to_be_bytes::<32>().to_vec();
    // CALLDATACOPY of all, then a log of it, the same returned, or nothing.
    let logs = [0x36, 0x60, 0, 0x60, 0, 0x37, 0x36, 0x60, 0, 0xa0, 0x36, 0x60, 0, 0xf3];
    // A large memory, and little of it returned.
    let returns = [0x60, 1, 0x61, 0x80, 0, 0x52, 0x60, 0x20, 0x60, 0, 0xf3];
    // Init code that deploys itself.
    let deploys =
        |number: u64| [&[0x36, 0x38, 0x60, 0, 0x60, 0, 0x39, 0x38, 0x60, 0, 0xf3][1..], &word(number)].concat();
    for (what, batches) in [
        ("transfers", growing(Kind::Transfers, 12)),
        ("token transfers", growing(Kind::TokenTransfers, 12)),
        ("mints", growing(Kind::Mints, 12)),
        ("little", different(300, &[0], word, false)),
        ("logs", different(100, &logs, |number| [word(number), vec![7; 3000]].concat(), false)),
        ("returned", different(100, &returns, word, false)),
        ("programs", different(100, &[], deploys, true)),
    ] {
        let (said, taken) = said_and_taken(batches);
        println!("{what}: {said} bytes said, {taken} taken, {:.2}", said as f64 / taken as f64);
        assert!(taken <= said, "{what}: {taken} bytes taken, {said} said");
        // Nor so much less that the memory is not used.
        assert!(said < 2 * taken, "{what}: {taken} bytes taken, {said} said");
    }
}
