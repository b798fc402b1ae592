//! Batches out of a seed: a state of its own, transactions of every kind, blocks, options.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use fastrand::Rng;
use zkevm_testkit::sample::genesis::{Genesis, GenesisAccount};
use zkevm_testkit::sample::{Account, BatchBuilder, Transfer};
use zkevm_types::{
    ApiVersion, BatchContext, BatchInput, BatchOutput, CountersPolicy, ForkId, StateSource, TraceConfig, V2Context,
};

use super::programs;

const CHAIN_ID: u64 = 1001;
const SENDERS: usize = 3;
const CONTRACTS: usize = 4;
const ETHER: u64 = 1_000_000_000_000_000_000;

/// A batch with the state it runs on.
pub(crate) struct Generated {
    /// The batch; state and programs are part of it.
    pub input: BatchInput,
}

struct Generator {
    rng: Rng,
    fork: ForkId,
    senders: Vec<Account>,
    nonces: Vec<u64>,
    contracts: Vec<Address>,
}

impl Generated {
    /// Makes the batch of a seed. `run` answers it without a trace: a trace is asked for by hash.
    pub(crate) fn new(seed: u64, fork: ForkId, run: impl Fn(&BatchInput) -> BatchOutput) -> Self {
        let rng = Rng::with_seed(seed);
        let senders: Vec<Account> = (0..SENDERS).map(|n| Account::named(&format!("engines {n}"))).collect();
        let contracts = (0..CONTRACTS).map(contract_address).collect();
        let mut generator = Generator { rng, fork, nonces: vec![0; senders.len()], senders, contracts };
        let genesis = generator.genesis();
        let mut input = generator.batch();
        let state = genesis.build().unwrap();
        input.old_state_root = state.root.to_b256();
        input.db = state.nodes.iter().map(|(hash, node)| (*hash, node.to_vec())).collect();
        input.contracts_bytecode = state.programs;
        if generator.rng.u8(..10) < 3 {
            input.trace = generator.trace(&run(&input));
        }
        Self { input }
    }
}

fn contract_address(number: usize) -> Address {
    Address::from_slice(&keccak256(format!("engines contract {number}"))[12..])
}

impl Generator {
    fn genesis(&mut self) -> Genesis {
        let mut accounts: Vec<GenesisAccount> = self
            .senders
            .iter()
            .map(|sender| GenesisAccount {
                address: sender.address(),
                balance: U256::from(ETHER) * U256::from(10),
                ..GenesisAccount::default()
            })
            .collect();
        for address in self.contracts.clone() {
            let storage =
                (0..self.rng.u64(..4)).map(|slot| (U256::from(slot), U256::from(self.rng.u64(..5)))).collect();
            accounts.push(GenesisAccount {
                address,
                balance: U256::from(self.rng.u64(..1000)),
                nonce: 1,
                code: programs::program(&mut self.rng, &self.contracts),
                storage,
            });
        }
        Genesis { accounts }
    }

    fn batch(&mut self) -> BatchInput {
        let is_v2 = self.fork.rules().api == ApiVersion::V2;
        let is_forced = is_v2 && self.rng.u8(..10) == 0;
        let skips_first = is_v2 && !is_forced && self.rng.u8(..12) == 0;
        let mut builder = BatchBuilder::new(self.fork, CHAIN_ID);
        if !is_forced && !skips_first && self.rng.u8(..40) > 0 {
            builder.block(self.rng.u32(..1000), 0);
        }
        for _ in 0..self.rng.usize(1..6) {
            let (sender, transfer) = self.transaction();
            match self.rng.u8(..10) {
                0 => builder.plain_transaction(&sender, &transfer),
                _ => builder.transaction(&sender, &transfer),
            };
            if !is_forced && self.rng.u8(..4) == 0 {
                builder.block(self.rng.u32(..1000), 0);
            }
        }
        let mut data = builder.finish().to_vec();
        self.damage(&mut data);
        let timestamp_limit = if self.rng.u8(..30) == 0 { self.rng.u64(..2000) } else { u64::from(u32::MAX) };
        let context = match is_v2 {
            false => BatchContext::V1 {
                global_exit_root: if self.rng.bool() { B256::ZERO } else { B256::with_last_byte(self.rng.u8(..)) },
                eth_timestamp: self.rng.u64(..1 << 31),
            },
            true => BatchContext::V2(V2Context {
                l1_info_root: if is_forced { B256::with_last_byte(self.rng.u8(..)) } else { B256::ZERO },
                timestamp_limit,
                forced_blockhash_l1: if is_forced { B256::repeat_byte(self.rng.u8(1..)) } else { B256::ZERO },
                skip_first_change_l2_block: skips_first,
                skip_write_block_info_root: self.rng.u8(..12) == 0,
                ..V2Context::default()
            }),
        };
        BatchInput {
            fork_id: self.fork,
            old_state_root: B256::ZERO,
            old_acc_input_hash: B256::repeat_byte(self.rng.u8(..)),
            old_batch_num: self.rng.u64(..1 << 20),
            chain_id: CHAIN_ID,
            batch_l2_data: data.into(),
            coinbase: if self.rng.bool() { contract_address(9) } else { self.senders[0].address() },
            from: (self.rng.u8(..12) == 0).then(|| self.senders[self.rng.usize(..SENDERS)].address()),
            update_merkle_tree: true,
            no_counters: self.rng.u8(..10) == 0,
            counters_policy: CountersPolicy::Report,
            get_keys: is_v2 && self.rng.u8(..10) == 0,
            context,
            db: HashMap::new(),
            contracts_bytecode: HashMap::new(),
            state_source: StateSource::Store,
            block_gas_limit_max: u64::MAX,
            state_override: HashMap::new(),
            trace: None,
        }
    }

    /// Damages one batch in thirty.
    fn damage(&mut self, data: &mut Vec<u8>) {
        if self.rng.u8(..30) > 0 || data.is_empty() {
            return;
        }
        let at = self.rng.usize(..data.len());
        match self.rng.u8(..3) {
            0 => data.truncate(at),
            1 => data[at] ^= 1 << self.rng.u8(..8),
            _ => data.push(self.rng.u8(..)),
        }
    }

    fn transaction(&mut self) -> (Account, Transfer) {
        let lane = self.rng.usize(..SENDERS);
        let sender = self.senders[lane];
        let (to, data) = self.target();
        let mut transfer = Transfer {
            nonce: self.nonces[lane],
            gas_price: U256::from(self.rng.u64(..3)) * U256::from(1_000_000_000),
            gas_limit: self.rng.u64(60_000..600_000),
            to,
            value: if self.rng.u8(..3) == 0 { U256::from(self.rng.u64(..1000)) } else { U256::ZERO },
            data,
        };
        match self.rng.u8(..24) {
            0 => transfer.nonce += 1,
            1 => transfer.gas_limit = self.rng.u64(..60_000),
            2 => transfer.value = U256::from(ETHER) * U256::from(1000),
            3 => transfer.gas_price = U256::MAX,
            4 => transfer.gas_limit = self.rng.u64(29_999_990..30_000_010),
            _ => self.nonces[lane] += 1,
        }
        (sender, transfer)
    }

    fn target(&mut self) -> (Option<Address>, Bytes) {
        let length = self.rng.usize(..70);
        let data: Bytes =
            (0..length).map(|_| if self.rng.bool() { 0 } else { self.rng.u8(..) }).collect::<Vec<_>>().into();
        match self.rng.u8(..12) {
            0 => (Some(contract_address(100 + self.rng.usize(..3))), Bytes::new()),
            1 => (Some(self.senders[self.rng.usize(..SENDERS)].address()), data),
            2 => (Some(Address::with_last_byte(self.rng.u8(1..=10))), programs::precompile_input(&mut self.rng).into()),
            3 | 4 => (None, programs::init_code(&mut self.rng, &self.contracts.clone())),
            _ => (Some(self.contracts[self.rng.usize(..CONTRACTS)]), data),
        }
    }

    fn trace(&mut self, output: &BatchOutput) -> Option<TraceConfig> {
        let in_blocks = output.blocks.iter().flat_map(|block| &block.transactions);
        let hashes: Vec<B256> = in_blocks.chain(&output.transactions).map(|tx| tx.tx_hash).collect();
        let tx_hash = *hashes.get(self.rng.usize(..hashes.len().max(1)))?;
        Some(TraceConfig {
            disable_storage: self.rng.u8(..4) == 0,
            disable_stack: self.rng.u8(..4) == 0,
            enable_memory: self.rng.bool(),
            enable_return_data: self.rng.bool(),
            tx_hash: tx_hash.0.to_vec().into(),
        })
    }
}
