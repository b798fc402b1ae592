//! Batches of plain transfers, token transfers and mints, alone or in chains.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use revm::primitives::{Address, B256, Bytes, U256, keccak256};

use super::easm::AssemblyError;
use super::genesis::GenesisAccount;
use super::{Account, BatchBuilder, Genesis, Transfer, collectible, token};
use zkevm_types::{ApiVersion, ForkId};
use zkevm_types::{BatchContext, BatchInput, CountersPolicy, StateSource, V2Context};

/// Transfers that fill a batch of the size zkevm-prover is measured with.
pub const TRANSFERS_PER_BATCH: usize = 730;
/// Token transfers of the same kind of batch.
pub const TOKEN_TRANSFERS_PER_BATCH: usize = 197;
/// Mints of the same kind of batch.
pub const MINTS_PER_BATCH: usize = 133;

const CHAIN_ID: u64 = 1001;
const SENDERS_PER_CLIENT: u64 = 8;
const RECIPIENTS: u64 = 1024;
const GAS_PRICE_WEI: u64 = 1_000_000_000;
const TRANSFER_GAS: u64 = 21_000;
const TOKEN_TRANSFER_GAS_LIMIT: u64 = 100_000;
const MINT_GAS_LIMIT: u64 = 200_000;
const SECONDS_PER_BATCH: u32 = 1;
/// Far after every timestamp of a chain.
const TIMESTAMP_LIMIT: u64 = u32::MAX as u64;

/// Kind of the transactions of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Send wei.
    Transfers,
    /// Call `transfer` of the token.
    TokenTransfers,
    /// Call `mint` of the collectible.
    Mints,
}

/// A genesis and the accounts that send from it.
#[derive(Clone, Debug)]
pub struct Workload {
    fork_id: ForkId,
    clients: u64,
    seed: Option<u64>,
    genesis: Genesis,
}

/// The batches of one client, each on top of the one before.
#[derive(Clone, Debug)]
pub struct Chain {
    workload: Arc<Workload>,
    senders: Vec<Account>,
    nonces: Vec<u64>,
    transfers_sent: u64,
    batches_sent: u64,
    /// State root the next batch starts from.
    pub state_root: B256,
    /// Accumulated input hash the next batch starts from.
    pub acc_input_hash: B256,
    client: u64,
}

impl Workload {
    /// Prepares the accounts of `clients` clients, the token they all hold and the collectible they mint.
    pub fn new(fork_id: ForkId, clients: u64) -> Result<Self, AssemblyError> {
        Self::seeded(fork_id, clients, None)
    }

    /// The same with senders and recipients of this seed: another one gives other accounts, so other state and batches.
    pub fn seeded(fork_id: ForkId, clients: u64, seed: Option<u64>) -> Result<Self, AssemblyError> {
        let senders = accounts(0..clients * SENDERS_PER_CLIENT, seed);
        let ether = U256::from(10).pow(U256::from(18));
        let balance = ether * U256::from(1_000_000);
        let mut accounts: Vec<GenesisAccount> = senders
            .iter()
            .map(|sender| GenesisAccount { address: sender.address(), balance, ..GenesisAccount::default() })
            .collect();
        let supply = balance * U256::from(senders.len());
        let mut storage: HashMap<U256, U256> =
            senders.iter().map(|sender| (token::balance_slot(sender.address()), balance)).collect();
        storage.insert(token::TOTAL_SUPPLY_SLOT, supply);
        accounts.push(GenesisAccount {
            address: token_address(),
            code: token::code()?,
            nonce: 1,
            storage,
            ..GenesisAccount::default()
        });
        accounts.push(GenesisAccount {
            address: collectible_address(),
            code: collectible::code()?,
            nonce: 1,
            ..GenesisAccount::default()
        });
        Ok(Self { fork_id, clients, seed, genesis: Genesis { accounts } })
    }

    /// Returns the state the chains start from.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Returns the number of clients the state was made for.
    pub fn clients(&self) -> u64 {
        self.clients
    }

    /// Returns the chain of client `client` on top of the state with this root.
    pub fn chain(self: &Arc<Self>, client: u64, state_root: B256) -> Chain {
        let first = client % self.clients.max(1) * SENDERS_PER_CLIENT;
        let senders = accounts(first..first + SENDERS_PER_CLIENT, self.seed);
        Chain {
            workload: Arc::clone(self),
            nonces: vec![0; senders.len()],
            senders,
            transfers_sent: 0,
            batches_sent: 0,
            state_root,
            acc_input_hash: B256::ZERO,
            client,
        }
    }
}

impl Chain {
    /// Returns the next batch, with `count` transactions in one L2 block and no state attached.
    ///
    /// The caller advances [`Chain::state_root`] and [`Chain::acc_input_hash`] with the answer before the next call.
    pub fn next_batch(&mut self, kind: Kind, count: usize) -> BatchInput {
        let fork_id = self.workload.fork_id;
        let mut builder = BatchBuilder::new(fork_id, CHAIN_ID);
        builder.block(SECONDS_PER_BATCH, 0);
        for _ in 0..count {
            let lane = (self.transfers_sent % SENDERS_PER_CLIENT) as usize;
            let transfer = self.transfer(kind, self.nonces[lane]);
            builder.transaction(&self.senders[lane], &transfer);
            self.nonces[lane] += 1;
            self.transfers_sent += 1;
        }
        self.batch(builder.finish())
    }

    /// Returns the addresses that send.
    pub fn senders(&self) -> impl Iterator<Item = Address> {
        self.senders.iter().map(Account::address)
    }

    /// Returns a batch without any item, to carry state to a server. It does not count as one of the chain.
    pub fn empty_batch(&self) -> BatchInput {
        self.clone().batch(Bytes::new())
    }

    fn batch(&mut self, batch_l2_data: Bytes) -> BatchInput {
        let fork_id = self.workload.fork_id;
        let context = match fork_id.rules().api {
            ApiVersion::V1 => BatchContext::V1 { global_exit_root: B256::ZERO, eth_timestamp: self.batches_sent + 1 },
            ApiVersion::V2 => BatchContext::V2(V2Context { timestamp_limit: TIMESTAMP_LIMIT, ..V2Context::default() }),
        };
        self.batches_sent += 1;
        BatchInput {
            fork_id,
            old_state_root: self.state_root,
            old_acc_input_hash: self.acc_input_hash,
            old_batch_num: self.batches_sent - 1,
            chain_id: CHAIN_ID,
            batch_l2_data,
            coinbase: coinbase(),
            from: None,
            update_merkle_tree: true,
            no_counters: false,
            counters_policy: CountersPolicy::Report,
            get_keys: false,
            context,
            db: Default::default(),
            contracts_bytecode: HashMap::new(),
            state_source: StateSource::Store,
            block_gas_limit_max: u64::MAX,
            state_override: HashMap::new(),
            trace: None,
        }
    }

    fn transfer(&self, kind: Kind, nonce: u64) -> Transfer {
        let to = recipient(self.client, self.transfers_sent % RECIPIENTS, self.workload.seed);
        let gas_price = U256::from(GAS_PRICE_WEI);
        let amount = U256::from(1 + self.transfers_sent);
        match kind {
            Kind::Transfers => {
                Transfer { nonce, gas_price, gas_limit: TRANSFER_GAS, to: Some(to), value: amount, data: Bytes::new() }
            }
            Kind::TokenTransfers => Transfer {
                nonce,
                gas_price,
                gas_limit: TOKEN_TRANSFER_GAS_LIMIT,
                to: Some(token_address()),
                value: U256::ZERO,
                data: token::transfer_data(to, amount),
            },
            Kind::Mints => Transfer {
                nonce,
                gas_price,
                gas_limit: MINT_GAS_LIMIT,
                to: Some(collectible_address()),
                value: U256::ZERO,
                data: collectible::mint_data(to),
            },
        }
    }
}

/// Returns the address of the token.
pub fn token_address() -> Address {
    named_address("token")
}

/// Returns the address of the collectible.
pub fn collectible_address() -> Address {
    named_address("collectible")
}

fn coinbase() -> Address {
    named_address("sequencer")
}

fn accounts(numbers: Range<u64>, seed: Option<u64>) -> Vec<Account> {
    numbers.map(|number| Account::named(&of_seed("account", number, seed))).collect()
}

fn recipient(client: u64, number: u64, seed: Option<u64>) -> Address {
    named_address(&format!("{} of client {client}", of_seed("recipient", number, seed)))
}

fn of_seed(what: &str, number: u64, seed: Option<u64>) -> String {
    match seed {
        None => format!("{what} {number}"),
        Some(seed) => format!("{what} {number} of seed {seed}"),
    }
}

fn named_address(name: &str) -> Address {
    Address::from_slice(&keccak256(format!("zkevm-executor sample {name}"))[12..])
}
