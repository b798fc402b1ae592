//! An engine that remembers batches answers as one that does not.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use fastrand::Rng;
use revm::primitives::{Address, B256, Bytes, U256};
use zkevm_pool::CancelToken;
use zkevm_processor::{Engine, PrefixCache};
use zkevm_store::{MemoryStore, NoState, RequestOverlay};
use zkevm_testkit::sample::genesis::{GenesisAccount, GenesisState};
use zkevm_testkit::sample::{Account, BatchBuilder, Genesis, Transfer};
use zkevm_tree::{Digest, NodeData, StateReader, StoreError};
use zkevm_types::{ApiVersion, BatchContext, BatchInput, BatchOutput, CountersPolicy, ExecutorError, ForkId};
use zkevm_types::{L1InfoLeaf, PhaseTimes, StateSource, V2Context};

const CHAIN_ID: u64 = 1000;
const SENDERS: u64 = 4;
/// What the contracts do with their call data, and code that does it.
const CONTRACTS: [&str; 5] = [
    // The second word names a slot, the first is what it gets.
    "6000356020355500",
    // MODEXP of it, into slot 0.
    "3660006000376040600036600060055afa5060005160005500",
    // Balance of the caller and gas price, hash of the last block, code size of an account.
    "33313a0160015560014303406002556000353b60035500",
    // CREATE with it for init code, the address into slot 4.
    "3660006000373660006000f060045500",
    // Sends all it has, and logs it.
    "36600060003736600061abcd90a16000600060006000343361fffff15000",
];
/// Deploys the first of them.
const INIT_CODE: &str = "67600035602035550060005260086018f3";

fn forks() -> impl Iterator<Item = ForkId> {
    (0..64).filter_map(ForkId::new).filter(|fork| fork.rules().api == ApiVersion::V2)
}

fn code(text: &str) -> Bytes {
    let digit = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    (0..text.len() / 2).map(digit).collect::<Vec<_>>().into()
}

fn contract(number: usize) -> Address {
    Address::repeat_byte(0xc0 + number as u8)
}

fn genesis() -> GenesisState {
    let ether = U256::from(10).pow(U256::from(18));
    let senders = (0..SENDERS).map(|number| GenesisAccount {
        address: Account::numbered(number).address(),
        balance: ether * U256::from(100),
        ..GenesisAccount::default()
    });
    let contracts = CONTRACTS.iter().enumerate().map(|(number, text)| GenesisAccount {
        address: contract(number),
        nonce: 1,
        code: code(text),
        storage: (0..6).map(|slot| (U256::from(slot), U256::from(7 + slot))).collect(),
        ..GenesisAccount::default()
    });
    let others = (0..40_u64).map(|number| GenesisAccount {
        address: Address::from_word(B256::from(U256::from(0x5000 + number))),
        balance: U256::from(number + 1),
        ..GenesisAccount::default()
    });
    Genesis { accounts: senders.chain(contracts).chain(others).collect() }.build().unwrap()
}

/// Remembers what is read.
struct Recorder<'a> {
    state: &'a GenesisState,
    nodes: Mutex<HashSet<Digest>>,
    programs: Mutex<HashSet<Digest>>,
}

impl StateReader for Recorder<'_> {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        self.nodes.lock().unwrap().insert(*hash);
        Ok(self.state.nodes.get(hash).copied())
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        self.programs.lock().unwrap().insert(*hash);
        Ok(self.state.programs.get(hash).cloned())
    }
}

/// A block, and what the senders' nonces are behind it.
#[derive(Clone)]
struct Block {
    bytes: Vec<u8>,
    nonces: [u64; SENDERS as usize],
}

struct Client {
    rng: Rng,
    fork: ForkId,
    state: GenesisState,
    store: MemoryStore,
    blocks: Vec<Block>,
    l1_info: HashMap<u32, L1InfoLeaf>,
}

impl Client {
    fn new(fork: ForkId, seed: u64) -> Self {
        let state = genesis();
        let store = MemoryStore::new(0);
        state.write_to(&store).unwrap();
        let mut client =
            Self { rng: Rng::with_seed(seed), fork, state, store, blocks: Vec::new(), l1_info: HashMap::new() };
        for index in 1..4 {
            client.change_l1_info(index);
        }
        client
    }

    fn change_l1_info(&mut self, index: u32) {
        let leaf = L1InfoLeaf {
            global_exit_root: B256::repeat_byte(self.rng.u8(1..)),
            block_hash_l1: B256::repeat_byte(self.rng.u8(1..)),
            min_timestamp: self.rng.u64(0..2),
            smt_proof: Vec::new(),
        };
        self.l1_info.insert(index, leaf);
    }

    fn extend(&mut self) {
        let mut nonces = self.blocks.last().map_or([0; SENDERS as usize], |block| block.nonces);
        let mut builder = BatchBuilder::new(self.fork, CHAIN_ID);
        let index = if self.rng.u8(..3) == 0 { self.rng.u32(1..4) } else { 0 };
        builder.block(self.rng.u32(1..4), index);
        for _ in 0..self.rng.usize(0..4) {
            let lane = self.rng.usize(0..nonces.len());
            let mut transfer = self.transfer(nonces[lane]);
            match self.rng.u8(..12) {
                0 => transfer.nonce += 1,
                1 => transfer.value = U256::MAX,
                2 => transfer.gas_limit = 20_000,
                _ => nonces[lane] += 1,
            }
            builder.transaction(&Account::numbered(lane as u64), &transfer);
        }
        let bytes = builder.finish().to_vec();
        self.blocks.push(Block { bytes, nonces });
    }

    fn transfer(&mut self, nonce: u64) -> Transfer {
        let word = |number: u64| U256::from(number).to_be_bytes::<32>();
        let kind = self.rng.usize(0..9);
        let deployed = self.rng.u64(1..5);
        let (to, data) = match kind {
            0 => (Some(contract(0)), [word(self.rng.u64(..3)), word(self.rng.u64(..8))].concat()),
            1 => {
                let lengths = [word(1), word(1), word(self.rng.u64(0..70))].concat();
                (Some(contract(1)), [lengths, (0..72).map(|_| self.rng.u8(..)).collect()].concat())
            }
            2 => (Some(contract(2)), [[0; 12].to_vec(), contract(self.rng.usize(..6)).to_vec()].concat()),
            3 => (Some(contract(3)), code(INIT_CODE).to_vec()),
            4 => (Some(contract(4)), (0..self.rng.usize(..40)).map(|_| self.rng.u8(..)).collect()),
            5 => (None, code(INIT_CODE).to_vec()),
            6 => (Some(contract(3).create(deployed)), [word(self.rng.u64(..2)), word(self.rng.u64(..4))].concat()),
            7 => {
                let sender = Account::numbered(self.rng.u64(..SENDERS)).address();
                (Some(sender.create(deployed - 1)), [word(1), word(self.rng.u64(..4))].concat())
            }
            _ => (Some(Address::from_word(B256::from(U256::from(0x5000 + self.rng.u64(..60))))), Vec::new()),
        };
        let value = U256::from(if kind == 3 || kind == 0 { 0 } else { self.rng.u64(..3) });
        Transfer {
            nonce,
            gas_price: U256::from(1 + self.rng.u64(..2)),
            gas_limit: 300_000,
            to,
            value,
            data: data.into(),
        }
    }

    fn input(&self) -> BatchInput {
        BatchInput {
            fork_id: self.fork,
            old_state_root: self.state.root.to_b256(),
            old_acc_input_hash: B256::ZERO,
            old_batch_num: 0,
            chain_id: CHAIN_ID,
            batch_l2_data: self.blocks.iter().flat_map(|block| block.bytes.clone()).collect::<Vec<_>>().into(),
            coinbase: Address::repeat_byte(0x5e),
            from: None,
            update_merkle_tree: true,
            no_counters: false,
            counters_policy: CountersPolicy::Report,
            get_keys: false,
            context: BatchContext::V2(V2Context {
                timestamp_limit: u64::MAX,
                skip_verify_l1_info_root: true,
                l1_info_tree_data: self.l1_info.clone(),
                ..V2Context::default()
            }),
            db: Default::default(),
            contracts_bytecode: HashMap::new(),
            state_source: StateSource::Store,
            block_gas_limit_max: u64::MAX,
            state_override: HashMap::new(),
            trace: None,
        }
    }

    /// Makes a batch bring what it reads, but for what is cut off now and then.
    fn bring_witness(&mut self, input: &mut BatchInput, cuts: bool) {
        let recorder = Recorder { state: &self.state, nodes: Mutex::default(), programs: Mutex::default() };
        Engine::default().process(input, &recorder, &CancelToken::default()).unwrap();
        input.state_source = StateSource::Witness { keep: self.rng.bool() };
        // In the order of the hashes: that of a set differs from run to run.
        let mut nodes: Vec<Digest> = recorder.nodes.into_inner().unwrap().into_iter().collect();
        nodes.sort_unstable();
        let (cuts_node, cuts_program) = (cuts && self.rng.u8(..6) == 0, cuts && self.rng.u8(..8) == 0);
        if cuts_node && !nodes.is_empty() {
            nodes.remove(self.rng.usize(..nodes.len()));
        }
        let known = |hash: &Digest| Some((*hash, self.state.nodes.get(hash)?.into()));
        input.db = nodes.iter().filter_map(known).collect();
        let mut programs: Vec<Digest> = recorder.programs.into_inner().unwrap().into_iter().collect();
        programs.sort_unstable();
        if cuts_program && !programs.is_empty() {
            programs.remove(self.rng.usize(..programs.len()));
        }
        let known = |hash: &Digest| Some((*hash, self.state.programs.get(hash)?.clone()));
        input.contracts_bytecode = programs.iter().filter_map(known).collect();
    }

    /// The next request: mostly one block more.
    fn next(&mut self) -> BatchInput {
        match self.rng.u8(..20) {
            0..3 => self.blocks.truncate(self.rng.usize(..=self.blocks.len())),
            3 => self.change_l1_info(1),
            4 => {}
            5 => self.blocks.clear(),
            _ => self.extend(),
        }
        let mut input = self.input();
        let BatchContext::V2(context) = &mut input.context else { unreachable!() };
        match self.rng.u8(..30) {
            0 => input.coinbase = Address::repeat_byte(0x5f),
            1 => context.timestamp_limit = self.rng.u64(..20),
            2 => input.no_counters = true,
            3 => input.counters_policy = CountersPolicy::Enforce,
            4 => input.block_gas_limit_max = 1 << 30,
            5 => input.old_acc_input_hash = B256::repeat_byte(1),
            6 => input.batch_l2_data = [&input.batch_l2_data[..], &[0xc0]].concat().into(),
            7 => context.skip_write_block_info_root = true,
            8 => input.get_keys = true,
            9 => context.skip_verify_l1_info_root = false,
            10 => context.l1_info_tree_data.clear(),
            11 => {
                // A transaction more in the last block.
                let mut builder = BatchBuilder::new(self.fork, CHAIN_ID);
                builder.transaction(&Account::numbered(0), &self.transfer(0));
                input.batch_l2_data = [&input.batch_l2_data[..], &builder.finish()].concat().into();
            }
            _ => {}
        }
        if self.rng.u8(..4) > 0 {
            self.bring_witness(&mut input, true);
        }
        input
    }

    fn run(&self, engine: &Engine, input: &BatchInput) -> BatchOutput {
        let base: &dyn StateReader = match input.state_source {
            StateSource::Store => &self.store,
            StateSource::Witness { .. } => &NoState,
        };
        let reader = RequestOverlay { base, nodes: &input.db, programs: &input.contracts_bytecode };
        engine.process(input, &reader, &CancelToken::default()).unwrap()
    }
}

/// All that an output says, times apart.
fn text(mut output: BatchOutput) -> String {
    output.phases = PhaseTimes::default();
    output.new_nodes.sort_unstable();
    output.new_programs.sort_unstable();
    format!("{output:#?}")
}

#[track_caller]
fn assert_same(one: BatchOutput, other: BatchOutput, what: &str) {
    let (one, other) = (text(one), text(other));
    if one != other {
        let differing = one.lines().zip(other.lines()).find(|(one, other)| one != other);
        panic!("{what}: {differing:?}\n{} and {} lines", one.lines().count(), other.lines().count());
    }
}

#[test]
fn answers_are_those_of_an_engine_that_remembers_nothing() {
    for fork in forks() {
        for seed in 0..4 {
            let mut client = Client::new(fork, 1000 * fork.get() + seed);
            // From room for everything to room for little.
            let cache = PrefixCache::new([64 << 20, 64 << 20, 300 << 10, 60 << 10][seed as usize]);
            let remembering = Engine::default().with_prefixes(cache.clone());
            let fresh = Engine::default();
            let mut ends = HashMap::new();
            for step in 0..60 {
                let input = client.next();
                if client.rng.u8(..10) == 0 {
                    cache.shrink_to(cache.stats().bytes / 2);
                }
                let output = client.run(&fresh, &input);
                *ends.entry((output.error, output.error_rom)).or_insert(0) += 1;
                let what = format!("fork {fork}, seed {seed}, step {step}");
                assert_same(client.run(&remembering, &input), output, &what);
            }
            let stats = cache.stats();
            assert!(stats.bytes <= stats.bytes_max, "{stats:?}");
            assert!(seed > 1 || stats.reused > 2, "fork {fork}, seed {seed}: {stats:?} {ends:?}");
        }
    }
}

#[test]
fn what_one_request_brought_does_not_serve_another() {
    let mut client = Client::new(forks().last().unwrap(), 1);
    (0..3).for_each(|_| client.extend());
    let cache = PrefixCache::new(64 << 20);
    let engine = Engine::default().with_prefixes(cache.clone());
    let mut input = client.input();
    client.bring_witness(&mut input, false);
    assert_eq!(client.run(&engine, &input).error, ExecutorError::NoError);
    assert_eq!(client.run(&engine, &input).error, ExecutorError::NoError);
    assert_eq!((cache.stats().reused, cache.stats().reused_blocks), (1, 3));
    let mut missed = 0;
    for hash in input.db.keys().copied().collect::<Vec<_>>() {
        let mut without = input.clone();
        without.db.remove(&hash);
        let before = cache.stats().reused;
        let output = client.run(&Engine::default(), &without);
        let is_missed = output.error == ExecutorError::DbKeyNotFound;
        assert_same(client.run(&engine, &without), output, "a node less");
        assert!(!is_missed || cache.stats().reused == before);
        missed += usize::from(is_missed);
    }
    // The rest was read together with what is needed.
    assert!(missed > input.db.len() / 2, "{missed} of {}", input.db.len());
    for hash in input.contracts_bytecode.keys().copied().collect::<Vec<_>>() {
        let mut without = input.clone();
        without.contracts_bytecode.remove(&hash);
        assert_eq!(client.run(&engine, &without).error, ExecutorError::DbKeyNotFound);
    }
}

#[test]
fn everything_that_decides_a_batch_is_asked_for() {
    let mut client = Client::new(forks().last().unwrap(), 7);
    while client.blocks.len() < 6 {
        client.extend();
    }
    let cache = PrefixCache::new(64 << 20);
    let engine = Engine::default().with_prefixes(cache.clone());
    let input = client.input();
    client.run(&engine, &input);
    let reuses = |input: &BatchInput| {
        let before = cache.stats().reused;
        assert_same(client.run(&engine, input), client.run(&Engine::default(), input), "changed");
        cache.stats().reused > before
    };
    assert!(reuses(&input));
    let v2 = |change: fn(&mut V2Context)| {
        let mut changed = input.clone();
        let BatchContext::V2(context) = &mut changed.context else { unreachable!() };
        change(context);
        changed
    };
    let used = cache.stats().entries;
    assert_eq!(used, 1);
    // What only the accumulated input hash has does not matter, nor what no block asks for.
    assert!(reuses(&BatchInput { old_acc_input_hash: B256::repeat_byte(9), ..input.clone() }));
    assert!(reuses(&v2(|context| context.l1_info_root = B256::repeat_byte(9))));
    assert!(reuses(&v2(|context| context.timestamp_limit = 1 << 40)));
    assert!(reuses(&v2(|context| {
        context.l1_info_tree_data.insert(77, L1InfoLeaf::default());
    })));
    for changed in [
        BatchInput { coinbase: Address::repeat_byte(1), ..input.clone() },
        BatchInput { chain_id: CHAIN_ID + 1, ..input.clone() },
        BatchInput { no_counters: true, ..input.clone() },
        BatchInput { counters_policy: CountersPolicy::Enforce, ..input.clone() },
        BatchInput { block_gas_limit_max: 1 << 30, ..input.clone() },
        BatchInput { old_state_root: B256::with_last_byte(1), ..input.clone() },
        BatchInput { fork_id: forks().next().unwrap(), ..input.clone() },
        v2(|context| context.timestamp_limit = 5),
        v2(|context| context.skip_write_block_info_root = true),
        v2(|context| context.skip_verify_l1_info_root = false),
        v2(|context| context.l1_info_tree_data.clear()),
        v2(|context| context.l1_info_tree_data.values_mut().for_each(|leaf| leaf.global_exit_root.0[7] ^= 1)),
        v2(|context| context.l1_info_tree_data.values_mut().for_each(|leaf| leaf.block_hash_l1.0[7] ^= 1)),
        v2(|context| context.l1_info_tree_data.values_mut().for_each(|leaf| leaf.min_timestamp ^= 1)),
    ] {
        assert!(!reuses(&changed), "{changed:?}");
    }
}

#[test]
fn memory_is_bounded_and_given_back() {
    let mut client = Client::new(forks().last().unwrap(), 3);
    let cache = PrefixCache::new(1 << 20);
    let engine = Engine::default().with_prefixes(cache.clone());
    for _ in 0..40 {
        client.extend();
        client.run(&engine, &client.input());
        assert!(cache.stats().bytes <= 1 << 20, "{:?}", cache.stats());
    }
    let stats = cache.stats();
    assert!(stats.evictions > 0 && stats.entries > 0, "{stats:?}");
    cache.shrink_to(0);
    assert_eq!((cache.stats().bytes, cache.stats().entries), (0, 0));
}
