//! Batches out of a seed: a state of its own, transactions of every kind, blocks, options.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, Bytes, U256, address, keccak256};
use fastrand::Rng;
use zkevm_testkit::sample::genesis::{Genesis, GenesisAccount};
use zkevm_testkit::sample::{Account, BatchBuilder, Transfer};
use zkevm_types::{
    AccountOverride, ApiVersion, BatchContext, BatchInput, BatchOutput, CountersPolicy, ForkId, StateSource,
};

use super::contexts;
use super::precompiles::{self, Precompiles};
use super::programs::{Programs, edge};

const CHAIN_ID: u64 = 1001;
const SENDERS: usize = 3;
const CONTRACTS: usize = 4;
const ETHER: u64 = 1_000_000_000_000_000_000;
/// Keeps numbers and roots of blocks.
const SYSTEM: Address = address!("000000000000000000000000000000005ca1ab1e");

/// A batch with the state it runs on.
pub(crate) struct Generated {
    /// The batch; state and programs are part of it.
    pub input: BatchInput,
    /// Wrong signatures for P256VERIFY were made malformed ones.
    pub has_spoiled: bool,
}

struct Generator {
    rng: Rng,
    fork: ForkId,
    senders: Vec<Account>,
    nonces: Vec<u64>,
    contracts: Vec<Address>,
    precompiles: Precompiles,
}

impl Generated {
    /// Makes the batch of a seed. `run` answers it without a trace: a trace is asked for by hash.
    pub(crate) fn new(seed: u64, fork: ForkId, run: impl Fn(&BatchInput) -> BatchOutput) -> Self {
        Self::with(seed, fork, Precompiles::default(), run)
    }

    /// The same, with malformed signatures for P256VERIFY where the other batch has wrong ones.
    pub(crate) fn without_wrong_signatures(seed: u64, fork: ForkId, run: impl Fn(&BatchInput) -> BatchOutput) -> Self {
        let spoiling = Precompiles { spoils_wrong_signatures: true, ..Precompiles::default() };
        Self::with(seed, fork, spoiling, run)
    }

    fn with(seed: u64, fork: ForkId, precompiles: Precompiles, run: impl Fn(&BatchInput) -> BatchOutput) -> Self {
        let rng = Rng::with_seed(seed);
        let senders: Vec<Account> = (0..SENDERS).map(|n| Account::named(&format!("engines {n}"))).collect();
        let contracts = (0..CONTRACTS).map(contract_address).collect();
        let nonces = vec![0; senders.len()];
        let mut generator = Generator { rng, fork, nonces, senders, contracts, precompiles };
        let genesis = generator.genesis();
        let mut input = generator.batch();
        let state = genesis.build().unwrap();
        input.old_state_root = state.root.to_b256();
        input.db = state.nodes.iter().map(|(hash, node)| (*hash, node.into())).collect();
        input.contracts_bytecode = state.programs;
        if generator.rng.u8(..3) == 0 {
            input.trace = contexts::trace(&mut generator.rng, &run(&input));
        }
        Self { input, has_spoiled: generator.precompiles.has_spoiled }
    }
}

fn contract_address(number: usize) -> Address {
    Address::from_slice(&keccak256(format!("engines contract {number}"))[12..])
}

impl Generator {
    /// Returns true once in so many times.
    fn once_in(&mut self, times: u32) -> bool {
        self.rng.u32(..times) == 0
    }

    fn programs(&mut self) -> Programs<'_> {
        Programs { rng: &mut self.rng, contracts: &self.contracts, precompiles: &mut self.precompiles }
    }

    fn genesis(&mut self) -> Genesis {
        let mut accounts = Vec::new();
        for lane in 0..SENDERS {
            if self.once_in(12) {
                self.nonces[lane] = [1, 255, u64::from(u32::MAX), u64::MAX - 1][self.rng.usize(..4)];
            }
            let account = GenesisAccount {
                address: self.senders[lane].address(),
                balance: U256::from(ETHER) * U256::from(10),
                nonce: self.nonces[lane],
                code: if self.once_in(60) { self.programs().contract() } else { Bytes::new() },
                ..GenesisAccount::default()
            };
            accounts.push(account);
        }
        for address in self.contracts.clone() {
            accounts.push(self.contract(address));
            if self.once_in(4) {
                accounts.push(self.occupied(address, 1));
            }
        }
        if self.once_in(8) {
            accounts.push(self.occupied(self.senders[0].address(), self.nonces[0]));
        }
        let block = self.rng.u64(..300);
        if self.once_in(2) {
            let mut storage: HashMap<U256, U256> =
                [(0, block), (2, 500)].map(|(slot, value)| (U256::from(slot), U256::from(value))).into();
            let mapped = [U256::from(block).to_be_bytes::<32>(), U256::from(1).to_be_bytes::<32>()].concat();
            storage.insert(keccak256(mapped).into(), U256::from(7));
            accounts.push(GenesisAccount { address: SYSTEM, storage, ..GenesisAccount::default() });
        }
        Genesis { accounts }
    }

    fn contract(&mut self, address: Address) -> GenesisAccount {
        let storage = (0..self.rng.u64(..4)).map(|slot| (U256::from(slot), U256::from(self.rng.u64(..5)))).collect();
        GenesisAccount {
            address,
            // With what senders have, a sum beyond all there can be.
            balance: if self.once_in(40) { U256::MAX } else { U256::from(self.rng.u64(..1000)) },
            nonce: if self.once_in(40) { u64::MAX } else { 1 },
            code: self.programs().contract(),
            storage,
        }
    }

    /// An account where the creator's next create goes: one that stops it, or one that does not.
    fn occupied(&mut self, creator: Address, nonce: u64) -> GenesisAccount {
        let kind = self.rng.u8(..4);
        GenesisAccount {
            address: creator.create(nonce),
            balance: U256::from(if kind == 0 { 5 } else { 0 }),
            nonce: u64::from(kind == 1),
            code: if kind == 2 { self.programs().contract() } else { Bytes::new() },
            storage: if kind == 3 { [(U256::from(1), U256::from(9))].into() } else { HashMap::new() },
        }
    }

    fn batch(&mut self) -> BatchInput {
        let is_v2 = self.fork.rules().api == ApiVersion::V2;
        let is_forced = is_v2 && self.once_in(10);
        let skips_first = is_v2 && !is_forced && self.once_in(12);
        let l1_info = contexts::L1Info::new(&mut self.rng);
        let mut builder = BatchBuilder::new(self.fork, CHAIN_ID);
        if !is_forced && !skips_first && !self.once_in(40) {
            self.block(&mut builder, &l1_info);
        }
        for _ in 0..self.rng.usize(1..6) {
            self.transaction(&mut builder);
            if !is_forced && self.once_in(4) {
                self.block(&mut builder, &l1_info);
            }
        }
        let mut data = if self.once_in(100) { Vec::new() } else { builder.finish().to_vec() };
        self.damage(&mut data);
        let context = match is_v2 {
            false => BatchContext::V1 {
                global_exit_root: if self.rng.bool() { B256::ZERO } else { B256::with_last_byte(self.rng.u8(..)) },
                eth_timestamp: self.rng.u64(..1 << 31),
            },
            true => BatchContext::V2(contexts::v2(&mut self.rng, is_forced, skips_first, l1_info)),
        };
        let from = match self.rng.u8(..30) {
            0 | 1 => Some(self.senders[self.rng.usize(..SENDERS)].address()),
            2 => Some(self.contracts[self.rng.usize(..CONTRACTS)]),
            _ => None,
        };
        BatchInput {
            fork_id: self.fork,
            old_state_root: B256::ZERO,
            old_acc_input_hash: B256::repeat_byte(self.rng.u8(..)),
            old_batch_num: self.rng.u64(..1 << 20),
            chain_id: CHAIN_ID,
            batch_l2_data: data.into(),
            coinbase: if self.rng.bool() { contract_address(9) } else { self.senders[0].address() },
            from,
            update_merkle_tree: true,
            no_counters: self.once_in(10),
            counters_policy: CountersPolicy::Report,
            get_keys: is_v2 && self.once_in(10),
            context,
            db: Default::default(),
            contracts_bytecode: HashMap::new(),
            state_source: StateSource::Store,
            block_gas_limit_max: u64::MAX,
            state_override: self.state_override(),
            trace: None,
        }
    }

    fn block(&mut self, builder: &mut BatchBuilder, l1_info: &contexts::L1Info) {
        let index = if self.once_in(3) { l1_info.index } else { 0 };
        builder.block(self.rng.u32(..1000), index);
    }

    /// Replaces an account that nothing reads: one that something reads ends the batch (executor-service §5.9).
    fn state_override(&mut self) -> HashMap<Address, AccountOverride> {
        if !self.once_in(20) {
            return HashMap::new();
        }
        let balance = Some(U256::from(self.rng.u8(..)));
        [(contract_address(50), AccountOverride { balance, ..AccountOverride::default() })].into()
    }

    /// Damages one batch in forty.
    fn damage(&mut self, data: &mut Vec<u8>) {
        if !self.once_in(40) || data.is_empty() {
            return;
        }
        let at = self.rng.usize(..data.len());
        match self.rng.u8(..3) {
            0 => data.truncate(at),
            1 => data[at] ^= 1 << self.rng.u8(..8),
            _ => data.push(self.rng.u8(..)),
        }
    }

    fn transaction(&mut self, builder: &mut BatchBuilder) {
        let lane = self.rng.usize(..SENDERS);
        let (to, data) = self.target();
        let mut transfer = Transfer {
            nonce: self.nonces[lane],
            gas_price: U256::from(self.rng.u64(..3)) * U256::from(1_000_000_000),
            gas_limit: self.gas_limit(),
            to,
            value: if self.once_in(3) { U256::from(self.rng.u64(..1000)) } else { U256::ZERO },
            data,
        };
        let mut chain_id = CHAIN_ID;
        match self.rng.u8(..40) {
            0 => transfer.nonce = transfer.nonce.wrapping_add(1),
            1 => transfer.gas_limit = self.rng.u64(..30_000),
            2 => transfer.value = U256::from(ETHER) * U256::from(1000),
            3 => transfer.gas_price = U256::MAX,
            4 => transfer.gas_limit = self.rng.u64(29_999_990..30_000_010),
            5 => chain_id += 1,
            6 => transfer.value = edge(&mut self.rng),
            _ => self.nonces[lane] = self.nonces[lane].wrapping_add(1),
        }
        let sender = self.senders[lane];
        let mut signed = BatchBuilder::new(self.fork, chain_id);
        match self.once_in(10) {
            true => signed.plain_transaction(&sender, &transfer),
            false => signed.transaction(&sender, &transfer),
        };
        builder.raw(&signed.finish());
        if self.once_in(4) {
            builder.percentage(self.rng.u8(..));
        }
    }

    /// Enough for most programs, or for part of one.
    fn gas_limit(&mut self) -> u64 {
        match self.rng.u8(..12) {
            0 => self.rng.u64(21_000..60_000),
            1 => self.rng.u64(1_000_000..8_000_000),
            _ => self.rng.u64(60_000..600_000),
        }
    }

    fn target(&mut self) -> (Option<Address>, Bytes) {
        let length = self.rng.usize(..70);
        let data: Bytes =
            (0..length).map(|_| if self.rng.bool() { 0 } else { self.rng.u8(..) }).collect::<Vec<_>>().into();
        match self.rng.u8(..24) {
            0 | 1 => (Some(contract_address(100 + self.rng.usize(..3))), Bytes::new()),
            2 => (Some(self.senders[self.rng.usize(..SENDERS)].address()), data),
            3..=5 => {
                let number = if self.once_in(10) { 10 } else { self.precompiles.number(&mut self.rng) };
                (Some(precompiles::address(number)), self.precompiles.input(&mut self.rng, number).into())
            }
            6..=9 => (None, self.programs().init_code()),
            10 => (None, data),
            _ => (Some(self.contracts[self.rng.usize(..CONTRACTS)]), data),
        }
    }
}
