//! Recorded requests, changed: transactions, blocks, state, code, options, fork.

use std::collections::HashMap;

use alloy_primitives::{Address, B256, Bytes, U256};
use fastrand::Rng;
use zkevm_batch::{BatchItem, SenderCache, Transaction, decode};
use zkevm_evm::context::SYSTEM_ADDRESS;
use zkevm_store::{MemoryStore, RequestOverlay};
use zkevm_testkit::sample::{Account, BatchBuilder, Transfer};
use zkevm_tree::{Digest, LeafKind, StateTree, account_key, linear_hash, storage_key};
use zkevm_types::{AccountOverride, ApiVersion, BatchContext, BatchInput, BatchOutput, ForkId, StateSource};

use super::contexts;
use super::precompiles::Precompiles;
use super::programs::{Programs, edge};

/// First byte of a ChangeL2Block item.
const CHANGE_L2_BLOCK_PREFIX: u8 = 0x0b;

/// Most items of a changed batch.
const ITEMS_MAX: usize = 24;

/// How the changed transactions of a batch are signed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Signing {
    /// As they were: those that change have another sender, mostly one that has nothing.
    Kept,
    /// By accounts that have the balance and the nonce of the senders.
    Again,
    /// Unsigned calls of one sender.
    From,
}

/// An item, encoded, and the transaction it was.
#[derive(Clone)]
struct Item {
    bytes: Vec<u8>,
    transaction: Option<Transaction>,
}

struct Changer<'a> {
    rng: &'a mut Rng,
    input: BatchInput,
    /// Addresses that the batch touches.
    touched: Vec<Address>,
    /// Who signs for each sender.
    signers: HashMap<Option<Address>, (Account, u64)>,
}

/// Changes a request. `run` answers a batch without trace.
pub(crate) fn changed(
    mut rng: Rng,
    input: BatchInput,
    forks: &[ForkId],
    run: impl Fn(&BatchInput) -> BatchOutput,
) -> BatchInput {
    // Those of the recordings replace what is read.
    let input = BatchInput { state_override: HashMap::new(), ..input };
    let before = run(&BatchInput { trace: None, ..input.clone() });
    let mut touched: Vec<Address> = before.read_write_addresses.keys().copied().collect();
    touched.push(input.coinbase);
    let mut changer = Changer { rng: &mut rng, input, touched, signers: HashMap::new() };
    changer.state(&before);
    changer.items(forks);
    changer.options();
    let mut input = changer.input;
    // What it brings is all there is.
    input.state_source = StateSource::Store;
    if rng.u8(..3) == 0 {
        input.trace = contexts::trace(&mut rng, &run(&input));
    }
    input
}

impl Changer<'_> {
    /// Returns true once in so many times.
    fn once_in(&mut self, times: u32) -> bool {
        self.rng.u32(..times) == 0
    }

    fn address(&mut self) -> Address {
        match self.rng.u8(..8) {
            0 => Address::with_last_byte(self.rng.u8(..=11)),
            1 => Address::from(std::array::from_fn(|_| self.rng.u8(..))),
            _ => self.touched[self.rng.usize(..self.touched.len())],
        }
    }

    /// Reads a leaf of the state, if it is there.
    fn leaf(&self, key: &Digest) -> Option<U256> {
        let nothing = MemoryStore::new(0);
        let state = RequestOverlay { base: &nothing, nodes: &self.input.db, programs: &self.input.contracts_bytecode };
        let mut tree = StateTree::new(&state);
        let version = tree.open(self.input.old_state_root.into());
        tree.get(version, key).ok()
    }

    /// Writes leaves into the state; does nothing where nodes are missing.
    fn write(&mut self, mut leaves: Vec<(Digest, U256)>) {
        let nothing = MemoryStore::new(0);
        let state = RequestOverlay { base: &nothing, nodes: &self.input.db, programs: &self.input.contracts_bytecode };
        let mut tree = StateTree::new(&state);
        let version = tree.open(self.input.old_state_root.into());
        let Ok(version) = tree.update(version, &mut leaves) else { return };
        let root = tree.root(version).to_b256();
        let nodes = tree.new_nodes(&[version]);
        self.input.old_state_root = root;
        self.input.db.extend(nodes.iter().map(|(hash, node)| (*hash, node.into())));
    }

    /// Changes accounts, slots and code that the batch touches.
    fn state(&mut self, before: &BatchOutput) {
        let mut slots = Vec::new();
        for (address, account) in &before.read_write_addresses {
            slots.extend(account.storage.keys().map(|slot| (*address, *slot)));
        }
        slots.sort_unstable();
        if !slots.is_empty() && self.once_in(4) {
            let (address, slot) = slots[self.rng.usize(..slots.len())];
            // The number and the time of a block are no numbers without bounds.
            let is_system = address == SYSTEM_ADDRESS;
            let value = if is_system { U256::from(self.rng.u64(..1 << 40)) } else { edge(self.rng) };
            self.write(vec![(storage_key(address, slot), value)]);
        }
        if self.once_in(8) {
            let address = self.address();
            let nonce = [0, 1, 127, 128, 255, 256, u64::MAX - 1, u64::MAX][self.rng.usize(..8)];
            self.write(vec![(account_key(address, LeafKind::Nonce), U256::from(nonce))]);
        }
        if self.once_in(8) {
            let address = self.address();
            let balance = edge(self.rng);
            self.write(vec![(account_key(address, LeafKind::Balance), balance)]);
        }
        if self.once_in(3) {
            self.code();
        }
    }

    /// Gives an account other code.
    fn code(&mut self) {
        let address = self.address();
        let Some(hash) = self.leaf(&account_key(address, LeafKind::CodeHash)) else { return };
        let old = self.input.contracts_bytecode.get(&Digest::from(B256::from(hash)));
        let code = match old.cloned() {
            Some(old) if !old.is_empty() && !self.once_in(4) => self.changed_code(&old),
            None if !self.once_in(4) => return,
            _ => self.contract(),
        };
        let mut leaves = vec![(account_key(address, LeafKind::CodeLength), U256::from(code.len()))];
        let mut hash = U256::ZERO;
        if !code.is_empty() {
            let digest = linear_hash(&code);
            hash = digest.to_b256().into();
            self.input.contracts_bytecode.insert(digest, code);
        }
        leaves.push((account_key(address, LeafKind::CodeHash), hash));
        self.write(leaves);
    }

    /// Returns the code of a contract. What a wrong signature leaves to its caller is known to differ (docs/engines.md).
    fn contract(&mut self) -> Bytes {
        let mut precompiles = Precompiles { spoils_wrong_signatures: true, ..Precompiles::default() };
        let contracts = self.touched.clone();
        Programs { rng: &mut *self.rng, contracts: &contracts, precompiles: &mut precompiles }.contract()
    }

    /// Returns code, or data, with a few bytes changed.
    fn changed_code(&mut self, old: &[u8]) -> Bytes {
        let mut code = old.to_vec();
        for _ in 0..self.rng.usize(1..4) {
            let at = self.rng.usize(..=code.len());
            match self.rng.u8(..7) {
                0 => code.truncate(at),
                1 => code.insert(at, self.rng.u8(..)),
                2 if at < code.len() => _ = code.remove(at),
                3 => {
                    let piece = self.contract();
                    let end = self.rng.usize(at..=code.len());
                    code.splice(at..end, piece);
                }
                _ if at < code.len() => code[at] = self.rng.u8(..),
                _ => code.push(self.rng.u8(..)),
            }
        }
        code.truncate(25_000);
        code.into()
    }

    /// Changes the items of the batch, or its bytes if it does not decode; and its fork.
    fn items(&mut self, forks: &[ForkId]) {
        let (forced, implicit_block) = match &self.input.context {
            BatchContext::V1 { .. } => (false, false),
            BatchContext::V2(context) => {
                (context.is_forced(), context.is_forced() || context.skip_first_change_l2_block)
            }
        };
        let rules = self.input.fork_id.rules();
        let Ok(decoded) = decode(&self.input.batch_l2_data, rules, forced, implicit_block) else {
            return self.damage();
        };
        if self.once_in(3) {
            self.fork(forks);
        }
        let signing = [Signing::Kept, Signing::Again, Signing::Again, Signing::From][self.rng.usize(..4)];
        self.prepare_signers(&decoded, signing);
        let mut items: Vec<Item> = decoded.into_iter().filter_map(|item| self.item(item, signing)).collect();
        self.rearrange(&mut items);
        if !implicit_block && self.input.fork_id.rules().api == ApiVersion::V2 {
            let starts_with_block = items.first().is_some_and(|item| item.transaction.is_none());
            if !starts_with_block && !self.once_in(20) {
                items.insert(0, self.block());
            }
        }
        self.input.batch_l2_data = items.into_iter().flat_map(|item| item.bytes).collect::<Vec<_>>().into();
        if self.once_in(25) {
            self.damage();
        }
    }

    fn damage(&mut self) {
        let mut data = self.input.batch_l2_data.to_vec();
        if data.is_empty() {
            return;
        }
        let at = self.rng.usize(..data.len());
        match self.rng.u8(..4) {
            0 => data.truncate(at),
            1 => data[at] ^= 1 << self.rng.u8(..8),
            2 => data.insert(at, self.rng.u8(..)),
            _ => data.push(self.rng.u8(..)),
        }
        self.input.batch_l2_data = data.into();
    }

    /// Runs the batch under another fork.
    fn fork(&mut self, forks: &[ForkId]) {
        let fork = forks[self.rng.usize(..forks.len())];
        let api = fork.rules().api;
        self.input.fork_id = fork;
        if api == ApiVersion::V1 {
            // The other version's option.
            self.input.get_keys = false;
        }
        match (&self.input.context, api) {
            (BatchContext::V1 { .. }, ApiVersion::V1) | (BatchContext::V2(_), ApiVersion::V2) => {}
            (_, ApiVersion::V1) => self.input.context = self.v1(),
            (_, ApiVersion::V2) => {
                let l1_info = contexts::L1Info::new(self.rng);
                self.input.context = BatchContext::V2(contexts::v2(self.rng, false, false, l1_info));
            }
        }
    }

    fn v1(&mut self) -> BatchContext {
        let global_exit_root = if self.rng.bool() { B256::ZERO } else { B256::with_last_byte(self.rng.u8(..)) };
        BatchContext::V1 { global_exit_root, eth_timestamp: self.rng.u64(..1 << 34) }
    }

    /// Finds out who sends, and gives accounts that can sign what they have.
    fn prepare_signers(&mut self, items: &[BatchItem], signing: Signing) {
        let cache = SenderCache::new();
        let recovery = self.input.fork_id.rules().recovery();
        for tx in items.iter().filter_map(BatchItem::transaction) {
            let sender = self.input.from.or(cache.recover_one(tx.signature(), recovery).signer);
            if self.signers.contains_key(&sender) {
                continue;
            }
            let signer = Account::named(&format!("changes {}", self.signers.len()));
            let read = |kind| self.leaf(&account_key(sender.unwrap_or_default(), kind)).unwrap_or_default();
            let (nonce, balance) = (read(LeafKind::Nonce), read(LeafKind::Balance));
            self.signers.insert(sender, (signer, nonce.saturating_to()));
            match signing {
                Signing::Kept => {}
                Signing::Again => {
                    let address = signer.address();
                    self.touched.push(address);
                    let leaves = [(LeafKind::Nonce, nonce), (LeafKind::Balance, balance)];
                    self.write(leaves.map(|(kind, value)| (account_key(address, kind), value)).to_vec());
                }
                Signing::From => self.input.from = sender,
            }
        }
        if signing == Signing::Again {
            self.input.from = None;
        }
    }

    /// Encodes an item under the fork of the batch, changed or not; `None` if it has none such.
    fn item(&mut self, item: BatchItem, signing: Signing) -> Option<Item> {
        let rules = self.input.fork_id.rules();
        let tx = match item {
            BatchItem::ChangeL2Block { delta_timestamp, l1_info_index } => {
                return match rules.api {
                    ApiVersion::V1 => None,
                    ApiVersion::V2 => Some(self.block_of(delta_timestamp, l1_info_index)),
                };
            }
            BatchItem::Transaction(tx) => *tx,
        };
        let percentage = match self.rng.u8(..6) {
            0 => self.rng.u8(..),
            _ if self.input.fork_id.rules().effective_percentage && tx.percentage == 0 => u8::MAX,
            _ => tx.percentage,
        };
        let mut bytes = if signing == Signing::Kept && !self.once_in(4) {
            let signature = [&tx.r[..], &tx.s[..], &[tx.v]].concat();
            [&tx.signed_rlp[..], &signature].concat()
        } else {
            self.signed_again(&tx, signing)
        };
        if rules.effective_percentage {
            bytes.push(percentage);
        }
        Some(Item { bytes, transaction: Some(tx) })
    }

    /// Changes some fields of a transaction and signs it.
    fn signed_again(&mut self, tx: &Transaction, signing: Signing) -> Vec<u8> {
        let recovery = self.input.fork_id.rules().recovery();
        let sender = match signing {
            Signing::From => self.input.from,
            _ => SenderCache::new().recover_one(tx.signature(), recovery).signer,
        };
        let known = self.signers.get(&sender).copied();
        let (signer, next_nonce) = known.unwrap_or_else(|| (Account::named("changes nobody"), 0));
        let mut transfer = Transfer {
            nonce: if self.once_in(12) { tx.nonce } else { next_nonce },
            gas_price: tx.gas_price,
            gas_limit: tx.gas_limit,
            to: tx.to,
            value: tx.value,
            data: tx.data.clone(),
        };
        let mut chain_id = tx.chain_id;
        for _ in 0..self.rng.usize(..4) {
            self.change(&mut transfer, &mut chain_id);
        }
        if let Some((_, nonce)) = self.signers.get_mut(&sender) {
            *nonce = transfer.nonce.wrapping_add(1);
        }
        // Without percentage: what is added is that of the item.
        let fork = ForkId::new(4).expect("the fork is in the table");
        let mut builder = BatchBuilder::new(fork, chain_id.unwrap_or_default());
        match chain_id {
            Some(_) => builder.transaction(&signer, &transfer),
            None => builder.plain_transaction(&signer, &transfer),
        };
        builder.finish().to_vec()
    }

    fn change(&mut self, transfer: &mut Transfer, chain_id: &mut Option<u64>) {
        match self.rng.u8(..20) {
            0..=4 => {
                transfer.gas_limit = match self.rng.u8(..8) {
                    0 => self.rng.u64(20_990..21_100),
                    1 => self.rng.u64(52_990..54_000),
                    2 => self.rng.u64(29_999_998..30_000_003),
                    3 => transfer.gas_limit / 2,
                    4 => transfer.gas_limit.saturating_sub(self.rng.u64(..2_000)),
                    5 => self.rng.u64(21_000..200_000),
                    _ => self.rng.u64(100_000..3_000_000),
                }
            }
            5 | 6 => transfer.gas_price = edge(self.rng),
            7 => transfer.gas_price = U256::from(self.rng.u64(..2_000_000_000)),
            8 | 9 => transfer.value = if self.rng.bool() { U256::ZERO } else { U256::from(self.rng.u64(..1000)) },
            10 => transfer.value = edge(self.rng),
            11 => transfer.nonce = transfer.nonce.wrapping_add(self.rng.u64(..3)).wrapping_sub(1),
            12 => {
                *chain_id =
                    [None, Some(0), Some(self.input.chain_id), Some(self.rng.u64(..1 << 32))][self.rng.usize(..4)]
            }
            13 => transfer.to = self.rng.bool().then(|| self.address()),
            14 => transfer.to = Some(self.address()),
            15 => transfer.data = Bytes::new(),
            16 => {
                let mut data = transfer.data.to_vec();
                data.resize(data.len() + self.rng.usize(..200), self.rng.u8(..2));
                transfer.data = data.into();
            }
            17 => {
                let length = self.rng.usize(..=transfer.data.len());
                transfer.data = transfer.data.slice(..length);
            }
            _ => transfer.data = self.changed_code(&transfer.data.clone()),
        }
    }

    fn block(&mut self) -> Item {
        let index = match &self.input.context {
            BatchContext::V2(context) if self.rng.u8(..4) == 0 => {
                let mut indexes: Vec<u32> = context.l1_info_tree_data.keys().copied().collect();
                indexes.sort_unstable();
                indexes.first().copied().unwrap_or_default()
            }
            _ => 0,
        };
        let delta = if self.once_in(40) { self.rng.u32(..) } else { self.rng.u32(..100) };
        self.block_of(delta, index)
    }

    fn block_of(&mut self, mut delta_timestamp: u32, mut l1_info_index: u32) -> Item {
        match self.rng.u8(..12) {
            0 => delta_timestamp = self.rng.u32(..200),
            1 => l1_info_index = 0,
            _ => {}
        }
        let mut bytes = vec![CHANGE_L2_BLOCK_PREFIX];
        bytes.extend(delta_timestamp.to_be_bytes());
        bytes.extend(l1_info_index.to_be_bytes());
        Item { bytes, transaction: None }
    }

    /// Swaps, repeats and leaves out items, and adds blocks.
    fn rearrange(&mut self, items: &mut Vec<Item>) {
        for _ in 0..self.rng.usize(..4) {
            if items.is_empty() {
                break;
            }
            let (a, b) = (self.rng.usize(..items.len()), self.rng.usize(..items.len()));
            match self.rng.u8(..6) {
                0 => items.swap(a, b),
                1 => _ = items.remove(a),
                2 | 3 => items.insert(b, items[a].clone()),
                _ if self.input.fork_id.rules().api == ApiVersion::V2 => {
                    let block = self.block();
                    items.insert(a, block);
                }
                _ => {}
            }
        }
        items.truncate(ITEMS_MAX);
    }

    /// Changes what the request says beside its data.
    fn options(&mut self) {
        for _ in 0..self.rng.usize(..3) {
            match self.rng.u8(..10) {
                0 => self.input.coinbase = self.address(),
                1 => self.input.old_batch_num = self.rng.u64(..1 << 32),
                2 if self.once_in(3) => self.input.chain_id = self.rng.u64(1..1 << 32),
                3 | 4 => self.input.no_counters = !self.input.no_counters,
                5 => self.input.old_acc_input_hash = B256::repeat_byte(self.rng.u8(..)),
                6 if self.once_in(2) => self.state_override(),
                7 => self.input.from = if self.rng.bool() { None } else { Some(self.address()) },
                _ => self.context(),
            }
        }
    }

    fn context(&mut self) {
        let v1 = self.v1();
        match &mut self.input.context {
            context @ BatchContext::V1 { .. } => *context = v1,
            BatchContext::V2(context) => match self.rng.u8(..8) {
                0 => context.timestamp_limit = self.rng.u64(..1 << 33),
                1 => context.skip_verify_l1_info_root = !context.skip_verify_l1_info_root,
                2 => context.skip_write_block_info_root = !context.skip_write_block_info_root,
                3 => context.skip_first_change_l2_block = !context.skip_first_change_l2_block,
                4 => context.l1_info_root = B256::repeat_byte(self.rng.u8(..)),
                5 => context.l1_info_tree_data.values_mut().for_each(|leaf| leaf.min_timestamp = self.rng.u64(..300)),
                6 => context.forced_blockhash_l1 = B256::repeat_byte(self.rng.u8(..)),
                _ => self.input.get_keys = !self.input.get_keys,
            },
        }
    }

    /// Replaces an account that nothing touches: the native engine puts one before the tree, the original ends the batch that
    /// reads what was replaced (executor-service §5.9).
    fn state_override(&mut self) {
        let address = Address::from(std::array::from_fn(|_| self.rng.u8(..)));
        let mut replaced = AccountOverride::default();
        match self.rng.u8(..4) {
            0 => replaced.balance = Some(edge(self.rng)),
            1 => replaced.nonce = Some(self.rng.u64(..300)),
            2 => replaced.code = Some(self.contract()),
            _ => replaced.state_diff = [(U256::from(self.rng.u64(..3)), edge(self.rng))].into(),
        }
        self.input.state_override.insert(address, replaced);
    }
}
