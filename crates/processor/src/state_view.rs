//! The state a batch runs on: one version of the tree, with what was read or written of it in memory.

mod checkpoint;

pub(crate) use checkpoint::StateCheckpoint;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use revm::bytecode::Bytecode;
use revm::database_interface::{DBErrorMarker, Database};
use revm::primitives::{Address, B256, Bytes, KECCAK_EMPTY, U256};
use revm::state::{Account, AccountInfo, EvmState};

use super::block_info::{BlockInfo, FinishedBlockInfo};
use super::engine::{Engine, Scratch};
use zkevm_batch::observer::StateAccess;
use zkevm_evm::access_log::{AccessedLeaves, AccountLeaves};
use zkevm_evm::context::StateDatabase;
use zkevm_evm::unchecked::with_unchecked_jumpdests;
use zkevm_pool::{CancelToken, Cancelled};
use zkevm_tree::poseidon::linear_hash_while;
use zkevm_tree::{Digest, KeyCache, LeafKind, NodeData, StateTree, TreeError, TreeMemory, TreeRef};
use zkevm_tree::{StateReader, StoreError};
use zkevm_types::AccountOverride;
use zkevm_types::ExecutorError;

/// Code hash that stands for one that cannot be read, of an account that has code or may have.
const UNREADABLE_CODE: B256 = B256::repeat_byte(0xff);

/// Code that stands for one that is not there. No frame runs it: it fails where the ROM loads it.
const PLACEHOLDER_CODE: &[u8] = &[0xfe];

/// Leaves of an account whose path is not all there, and a node that is missing of it. The ROM may never read them: they fail
/// where it does.
#[derive(Clone, Copy, Debug)]
struct MissingLeaves {
    leaves: AccountLeaves,
    node: Digest,
}
/// Bytes of a node of the tree, its leaf and its value, and of a slot that was read or written.
const NODE_BYTES: usize = 128;
const SLOT_BYTES: usize = 256;

/// Leaves read of every account.
const ACCOUNT_LEAVES: [LeafKind; 3] = [LeafKind::Balance, LeafKind::Nonce, LeafKind::CodeHash];
/// What a transaction reads of its sender and its recipient: the length of the code says that there is none to run.
const TRANSACTION_LEAVES: [LeafKind; 4] =
    [LeafKind::Balance, LeafKind::Nonce, LeafKind::CodeHash, LeafKind::CodeLength];

/// Why the state could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StateError {
    /// The tree could not be read or updated.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// A program is not known.
    #[error("program {0} is missing")]
    MissingProgram(B256),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The batch was given up meanwhile.
    #[error(transparent)]
    Cancelled(Cancelled),
}

impl DBErrorMarker for StateError {}

impl StateError {
    /// Returns the code the client sees (executor-service §6.6).
    pub(crate) fn code(&self) -> ExecutorError {
        match self {
            Self::Tree(TreeError::MissingNode(_)) | Self::MissingProgram(_) => ExecutorError::DbKeyNotFound,
            Self::Tree(TreeError::Store(error)) | Self::Store(error) => match error {
                StoreError::InvalidNodeSize { .. } => ExecutorError::SmtInvalidDataSize,
                _ => ExecutorError::DbError,
            },
            Self::Tree(_) | Self::Cancelled(_) => ExecutorError::DbError,
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct CachedAccount {
    balance: U256,
    nonce: U256,
    code_hash: U256,
}

/// An account after a transaction.
struct ChangedAccount {
    account: CachedAccount,
    /// Set when the code changed.
    code_length: Option<U256>,
}

/// The state of a running batch.
pub(crate) struct StateView<'a> {
    /// Where the keys and the memory of the trees come from and go back to.
    engine: &'a Engine,
    reader: &'a dyn StateReader,
    tree: StateTree<'a>,
    version: TreeRef,
    keys: KeyCache,
    /// For the block info trees.
    spare: TreeMemory,
    accounts: HashMap<Address, CachedAccount, RandomState>,
    /// Accounts that could be read in part only; in `accounts` the missing leaves are zero.
    missing: HashMap<Address, MissingLeaves, RandomState>,
    code_lengths: HashMap<Address, U256, RandomState>,
    storage: HashMap<(Address, U256), U256, RandomState>,
    programs: HashMap<B256, Bytecode>,
    new_programs: HashMap<B256, Bytes>,
    /// Replaced accounts: in front of the tree, which never sees what is written to them.
    overrides: &'a HashMap<Address, AccountOverride>,
    /// Programs that were asked for and are not there; the ROM may never load them.
    missing_programs: HashSet<B256>,
    missing_program: Option<B256>,
    /// Programs that the reader gave.
    programs_read: Vec<Digest>,
    smt_keys: Option<BTreeSet<B256>>,
    program_keys: Option<BTreeSet<B256>>,
    tree_time: Duration,
    cancel: CancelToken,
    /// The sender of the running transaction, if its nonce goes from 2^64 − 1 to 2^64, which revm cannot hold.
    nonce_overflow: Option<Address>,
    /// The last version that was made to be thrown away.
    speculation: Option<Speculation>,
}

/// A version with the changes of a transaction that still runs.
struct Speculation {
    base: TreeRef,
    version: TreeRef,
    writes: HashMap<Digest, U256, RandomState>,
}

impl<'a> StateView<'a> {
    /// Opens the state at `root` with `overrides` in front. Reads nothing yet. `collect_keys` keeps the set of tree keys and
    /// code hashes.
    pub(crate) fn new(
        engine: &'a Engine,
        reader: &'a dyn StateReader,
        root: B256,
        overrides: &'a HashMap<Address, AccountOverride>,
        collect_keys: bool,
    ) -> Self {
        let Scratch { keys, state_tree, block_tree } = engine.lend_scratch();
        let mut tree = StateTree::with_memory(reader, engine.pool.clone(), state_tree);
        let version = tree.open(Digest::from(root));
        Self {
            engine,
            reader,
            tree,
            version,
            keys,
            spare: block_tree,
            missing: HashMap::default(),
            missing_programs: HashSet::new(),
            missing_program: None,
            programs_read: Vec::new(),
            accounts: HashMap::default(),
            code_lengths: HashMap::default(),
            storage: HashMap::default(),
            programs: HashMap::new(),
            new_programs: HashMap::new(),
            overrides,
            smt_keys: collect_keys.then(BTreeSet::new),
            program_keys: collect_keys.then(BTreeSet::new),
            tree_time: Duration::ZERO,
            cancel: CancelToken::default(),
            nonce_overflow: None,
            speculation: None,
        }
    }

    /// Puts the token in place at which long work looks.
    pub(crate) fn stopped_by(mut self, cancel: CancelToken) -> Self {
        self.tree.stop_by(cancel.clone());
        self.cancel = cancel;
        self
    }

    /// Returns the bytes that the batch keeps of the state, estimated.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.tree.node_count() * NODE_BYTES + self.storage.len() * SLOT_BYTES
    }

    /// Makes the tree keys of these accounts together.
    pub(crate) fn learn_accounts(&mut self, addresses: impl IntoIterator<Item = Address>) {
        self.keys.learn_accounts(addresses);
    }

    /// True if the store is one where reading ahead pays.
    pub(crate) fn prefers_many(&self) -> bool {
        self.reader.prefers_many()
    }

    /// Reads what these accounts and slots hold with few calls.
    pub(crate) fn read_ahead(
        &mut self,
        addresses: impl IntoIterator<Item = Address>,
        slots: &[(Address, U256)],
    ) -> Result<(), StateError> {
        let mut keys = Vec::new();
        for address in addresses {
            keys.extend(TRANSACTION_LEAVES.map(|kind| self.keys.account_key(address, kind)));
        }
        keys.extend(slots.iter().map(|(address, slot)| self.keys.storage_key(*address, *slot)));
        Ok(self.tree.read_ahead(self.version, &mut keys)?)
    }

    /// Returns the tree and the keys known so far: to price accesses, to know more keys.
    pub(crate) fn state_access(&mut self) -> StateAccess<'_, 'a> {
        StateAccess { tree: &mut self.tree, keys: &mut self.keys }
    }

    /// Returns the current version of the tree.
    pub(crate) fn version(&self) -> TreeRef {
        self.version
    }

    /// Goes back (or forth) to a version of this batch.
    pub(crate) fn restore(&mut self, version: TreeRef) {
        if version != self.version {
            self.version = version;
            self.forget();
        }
    }

    /// Forgets what was read or written: it is read again from the current version.
    pub(crate) fn forget(&mut self) {
        self.accounts.clear();
        self.missing.clear();
        self.code_lengths.clear();
        self.storage.clear();
    }

    /// Returns the root of the current version, hashing what is new.
    pub(crate) fn root(&mut self) -> B256 {
        self.root_of(self.version)
    }

    /// Returns the root of a version, hashing what is new.
    pub(crate) fn root_of(&mut self, version: TreeRef) -> B256 {
        let start = Instant::now();
        let root = self.tree.root(version).to_b256();
        self.tree_time += start.elapsed();
        root
    }

    /// Hashes several versions together, so that lanes are full.
    pub(crate) fn hash_versions(&mut self, versions: &[TreeRef]) {
        let start = Instant::now();
        self.tree.hash_versions(versions);
        self.tree_time += start.elapsed();
    }

    /// Returns the new nodes of these hashed versions.
    pub(crate) fn new_nodes(&self, versions: &[TreeRef]) -> Vec<(Digest, NodeData)> {
        self.tree.new_nodes(versions)
    }

    /// Takes the programs deployed in this batch.
    pub(crate) fn take_new_programs(&mut self) -> Vec<(Digest, Bytes)> {
        self.new_programs.drain().map(|(hash, code)| (Digest::from(hash), code)).collect()
    }

    /// Completes a block info tree.
    pub(crate) fn finish_block_info(&mut self, info: BlockInfo) -> Result<FinishedBlockInfo, StateError> {
        Ok(info.finish(&mut self.keys, &mut self.spare)?)
    }

    /// Number of Poseidon permutations that hashing the state tree has taken.
    pub(crate) fn permutations(&self) -> u64 {
        self.tree.permutations()
    }

    /// Time spent updating and hashing the tree.
    pub(crate) fn tree_time(&self) -> Duration {
        self.tree_time
    }

    /// Takes the tree keys and code hashes seen, if they were collected.
    pub(crate) fn take_keys(&mut self) -> (Vec<B256>, Vec<B256>) {
        let take = |set: &mut Option<BTreeSet<B256>>| set.take().unwrap_or_default().into_iter().collect();
        (take(&mut self.smt_keys), take(&mut self.program_keys))
    }

    /// Notes a key of another tree of this batch, such as the block info tree.
    pub(crate) fn note_key(&mut self, key: Digest) {
        if let Some(keys) = &mut self.smt_keys {
            keys.insert(key.to_b256());
        }
    }

    /// Notes the keys of everything the batch touched.
    pub(crate) fn note_touched(&mut self, touched: &AccessedLeaves) {
        let leaf_kinds = [
            (AccountLeaves::BALANCE, LeafKind::Balance),
            (AccountLeaves::NONCE, LeafKind::Nonce),
            (AccountLeaves::CODE_HASH, LeafKind::CodeHash),
            (AccountLeaves::CODE_LENGTH, LeafKind::CodeLength),
        ];
        for (address, leaves) in touched.accounts() {
            for (_, kind) in leaf_kinds.into_iter().filter(|&(leaf, _)| leaves.contains(leaf)) {
                let key = self.keys.account_key(address, kind);
                self.note_key(key);
            }
        }
        for (address, slot, _) in touched.slots() {
            let key = self.keys.storage_key(address, slot);
            self.note_key(key);
        }
    }

    /// Notes a code that was loaded or hashed.
    pub(crate) fn note_program(&mut self, hash: B256) {
        if let Some(keys) = &mut self.program_keys {
            keys.insert(hash);
        }
    }

    /// Returns the balance of an account.
    pub(crate) fn balance(&mut self, address: Address) -> Result<U256, StateError> {
        Ok(self.account_with(address, AccountLeaves::BALANCE)?.balance)
    }

    /// Returns the nonce of an account; after an edge case it can be 2^64 (evm Q16).
    pub(crate) fn nonce(&mut self, address: Address) -> Result<U256, StateError> {
        Ok(self.account_with(address, AccountLeaves::NONCE)?.nonce)
    }

    /// Returns the code hash leaf, zero without code.
    pub(crate) fn code_hash(&mut self, address: Address) -> Result<U256, StateError> {
        Ok(self.account_with(address, AccountLeaves::CODE_HASH)?.code_hash)
    }

    /// Returns the code length leaf.
    pub(crate) fn code_length_leaf(&mut self, address: Address) -> Result<U256, StateError> {
        if let Some(length) = self.code_lengths.get(&address) {
            return Ok(*length);
        }
        let length = match self.overrides.get(&address).and_then(|account| account.code.as_ref()) {
            Some(code) => U256::from(code.len()),
            None => self.leaf(address, LeafKind::CodeLength)?,
        };
        self.code_lengths.insert(address, length);
        Ok(length)
    }

    /// Returns a storage slot.
    pub(crate) fn slot(&mut self, address: Address, slot: U256) -> Result<U256, StateError> {
        if let Some(value) = self.storage.get(&(address, slot)) {
            return Ok(*value);
        }
        let overridden = self.overrides.get(&address).and_then(|account| overridden_slot(account, slot));
        let value = match overridden {
            Some(value) => value,
            None => {
                let key = self.keys.storage_key(address, slot);
                self.tree.get(self.version, &key)?
            }
        };
        self.storage.insert((address, slot), value);
        Ok(value)
    }

    /// Writes a storage slot outside any transaction.
    pub(crate) fn set_slot(&mut self, address: Address, slot: U256, value: U256) -> Result<(), StateError> {
        if !self.overrides.contains_key(&address) {
            let key = self.keys.storage_key(address, slot);
            self.update(&mut [(key, value)])?;
        }
        self.storage.insert((address, slot), value);
        Ok(())
    }

    /// Writes the root of a version into a storage slot outside any transaction.
    pub(crate) fn set_slot_to_root(&mut self, address: Address, slot: U256, of: TreeRef) -> Result<(), StateError> {
        if self.overrides.contains_key(&address) {
            let root = self.root_of(of);
            return self.set_slot(address, slot, root.into());
        }
        let key = self.keys.storage_key(address, slot);
        self.advance(|tree, version| tree.update_to_root(version, key, of))?;
        self.storage.remove(&(address, slot));
        Ok(())
    }

    /// Writes what a transaction changed: differences only, nothing is ever cleared (evm §7.1, §11.7).
    pub(crate) fn commit(&mut self, state: &EvmState, new_programs: Vec<(B256, Bytes)>) -> Result<(), StateError> {
        let mut writes = Vec::new();
        for (address, account) in state {
            let new = self.account_writes(*address, account, &mut writes)?;
            if let Some(length) = new.code_length {
                self.code_lengths.insert(*address, length);
            }
            self.accounts.insert(*address, new.account);
            for (slot, value) in account.storage.iter().filter(|(_, value)| value.is_changed()) {
                self.storage.insert((*address, *slot), value.present_value);
            }
        }
        for (hash, code) in new_programs {
            self.programs.insert(hash, with_unchecked_jumpdests(&code));
            self.missing_programs.remove(&hash);
            self.new_programs.insert(hash, code);
        }
        self.update(&mut writes)
    }

    /// Names the sender of the transaction that runs next, if its nonce goes beyond 64 bits.
    pub(crate) fn set_nonce_overflow(&mut self, sender: Option<Address>) {
        self.nonce_overflow = sender;
    }

    /// Adds the leaves of an account that differ from the state to `writes`.
    fn account_writes(
        &mut self,
        address: Address,
        account: &Account,
        writes: &mut Vec<(Digest, U256)>,
    ) -> Result<ChangedAccount, StateError> {
        let old = self.account(address)?;
        let nonce =
            if self.nonce_overflow == Some(address) { U256::from(1) << 64 } else { U256::from(account.info.nonce) };
        let code_hash = account.info.code_hash;
        let new = CachedAccount {
            balance: account.info.balance,
            // A nonce beyond 64 bits reads as the largest one and cannot change.
            nonce: if old.nonce > U256::from(u64::MAX) { old.nonce } else { nonce },
            code_hash: if code_hash == KECCAK_EMPTY { U256::ZERO } else { code_hash.into() },
        };
        let is_overridden = self.overrides.contains_key(&address);
        let keys = &mut self.keys;
        let mut leaf = |kind, old: U256, new: U256| {
            if old != new && !is_overridden {
                writes.push((keys.account_key(address, kind), new));
            }
        };
        leaf(LeafKind::Balance, old.balance, new.balance);
        leaf(LeafKind::Nonce, old.nonce, new.nonce);
        let mut code_length = None;
        if old.code_hash != new.code_hash {
            let length = U256::from(account.info.code.as_ref().map_or(0, |code| code.len()));
            leaf(LeafKind::CodeHash, old.code_hash, new.code_hash);
            leaf(LeafKind::CodeLength, U256::MAX, length);
            code_length = Some(length);
        }
        for (slot, value) in account.storage.iter().filter(|(_, value)| value.is_changed() && !is_overridden) {
            writes.push((self.keys.storage_key(address, *slot), value.present_value));
        }
        Ok(ChangedAccount { account: new, code_length })
    }

    /// Returns the current version with these writes. Goes on from the last such version, so that a long trace makes as many
    /// nodes as its transaction changes leaves, not the square of it.
    fn speculate(&mut self, writes: HashMap<Digest, U256, RandomState>) -> Result<TreeRef, StateError> {
        let last = self.speculation.take().filter(|last| last.base == self.version);
        let (from, before) =
            last.map_or_else(|| (self.version, HashMap::default()), |last| (last.version, last.writes));
        let mut changes: Vec<_> = writes
            .iter()
            .filter(|(key, value)| before.get(key) != Some(value))
            .map(|(key, value)| (*key, *value))
            .collect();
        for key in before.keys().filter(|key| !writes.contains_key(key)) {
            changes.push((*key, self.tree.get(self.version, key)?));
        }
        let version = if changes.is_empty() { from } else { self.tree.update(from, &mut changes)? };
        self.speculation = Some(Speculation { base: self.version, version, writes });
        Ok(version)
    }

    fn update(&mut self, writes: &mut [(Digest, U256)]) -> Result<(), StateError> {
        self.advance(|tree, version| tree.update(version, writes))
    }

    /// Makes the current version the one that `update` makes of it.
    fn advance(
        &mut self,
        update: impl FnOnce(&mut StateTree<'a>, TreeRef) -> Result<TreeRef, TreeError>,
    ) -> Result<(), StateError> {
        let start = Instant::now();
        let updated = update(&mut self.tree, self.version);
        self.tree_time += start.elapsed();
        self.version = updated?;
        Ok(())
    }

    fn account(&mut self, address: Address) -> Result<CachedAccount, StateError> {
        if let Some(account) = self.accounts.get(&address) {
            return Ok(*account);
        }
        let [balance, nonce, code_hash] = ACCOUNT_LEAVES.map(|kind| self.leaf(address, kind));
        let mut account = CachedAccount {
            balance: self.unless_missing(address, AccountLeaves::BALANCE, balance)?.unwrap_or_default(),
            nonce: self.unless_missing(address, AccountLeaves::NONCE, nonce)?.unwrap_or_default(),
            code_hash: match self.unless_missing(address, AccountLeaves::CODE_HASH, code_hash)? {
                Some(code_hash) => code_hash,
                // The ROM reads the length first, and no hash of code without length.
                None => match self.code_length_leaf(address) {
                    Ok(U256::ZERO) => U256::ZERO,
                    Ok(_) | Err(StateError::Tree(TreeError::MissingNode(_))) => UNREADABLE_CODE.into(),
                    Err(error) => return Err(error),
                },
            },
        };
        if let Some(replaced) = self.overrides.get(&address) {
            account.balance = replaced.balance.unwrap_or(account.balance);
            account.nonce = replaced.nonce.map_or(account.nonce, U256::from);
            if let Some(code) = &replaced.code {
                let mut stop = None;
                let hash = linear_hash_while(code, || {
                    stop = self.cancel.check().err();
                    stop.is_none()
                });
                if let Some(cancelled) = stop {
                    return Err(StateError::Cancelled(cancelled));
                }
                let hash = hash.unwrap_or_default().to_b256();
                account.code_hash = hash.into();
                self.programs.insert(hash, with_unchecked_jumpdests(code));
            }
        }
        self.accounts.insert(address, account);
        Ok(account)
    }

    /// Returns an account of which the ROM reads this leaf.
    fn account_with(&mut self, address: Address, leaf: AccountLeaves) -> Result<CachedAccount, StateError> {
        let account = self.account(address)?;
        match self.missing.get(&address) {
            Some(missing) if missing.leaves.intersects(leaf) => Err(TreeError::MissingNode(missing.node).into()),
            _ => Ok(account),
        }
    }

    /// Returns the hash of the program whose lack ended the batch.
    pub(crate) fn missing_program(&self) -> Option<B256> {
        self.missing_program
    }

    /// Notes a leaf that is missing, and returns `None` for it.
    fn unless_missing(
        &mut self,
        address: Address,
        leaf: AccountLeaves,
        read: Result<U256, StateError>,
    ) -> Result<Option<U256>, StateError> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(StateError::Tree(TreeError::MissingNode(node))) => {
                let missing = self.missing.entry(address).or_insert(MissingLeaves { leaves: leaf, node });
                missing.leaves = missing.leaves.with(leaf);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Fails if a touched leaf is one that could not be read.
    pub(crate) fn check_missing(&self, touched: &AccessedLeaves) -> Result<(), StateError> {
        let read =
            |(address, missing): &(&Address, &MissingLeaves)| touched.leaves_of(**address).intersects(missing.leaves);
        match self.missing.iter().find(read) {
            Some((_, missing)) => Err(TreeError::MissingNode(missing.node).into()),
            None => Ok(()),
        }
    }

    fn leaf(&mut self, address: Address, kind: LeafKind) -> Result<U256, StateError> {
        let key = self.keys.account_key(address, kind);
        Ok(self.tree.get(self.version, &key)?)
    }
}

impl Drop for StateView<'_> {
    fn drop(&mut self) {
        let keys = std::mem::replace(&mut self.keys, KeyCache::new(0));
        let state_tree = std::mem::replace(&mut self.tree, StateTree::new(self.reader)).into_memory();
        let block_tree = std::mem::take(&mut self.spare);
        self.engine.keep_scratch(Scratch { keys, state_tree, block_tree });
    }
}

/// Returns what an override says of a slot: `state` is the whole storage, `state_diff` single slots on top.
fn overridden_slot(account: &AccountOverride, slot: U256) -> Option<U256> {
    let whole = account.state.as_ref().map(|state| state.get(&slot).copied().unwrap_or_default());
    account.state_diff.get(&slot).copied().or(whole)
}

impl Database for StateView<'_> {
    type Error = StateError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, StateError> {
        let CachedAccount { balance, nonce, code_hash } = self.account(address)?;
        if balance.is_zero() && nonce.is_zero() && code_hash.is_zero() {
            return Ok(None);
        }
        Ok(Some(
            AccountInfo {
                balance,
                nonce: nonce.saturating_to(),
                code_hash: if code_hash.is_zero() { KECCAK_EMPTY } else { code_hash.into() },
                ..AccountInfo::default()
            }
            .without_code(),
        ))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, StateError> {
        if code_hash == KECCAK_EMPTY {
            return Ok(Bytecode::new());
        }
        if code_hash == UNREADABLE_CODE {
            return Ok(with_unchecked_jumpdests(&Bytes::from_static(PLACEHOLDER_CODE)));
        }
        if let Some(code) = self.programs.get(&code_hash) {
            return Ok(code.clone());
        }
        let Some(code) = self.reader.program(&Digest::from(code_hash))? else {
            self.missing_programs.insert(code_hash);
            return Ok(with_unchecked_jumpdests(&Bytes::from_static(PLACEHOLDER_CODE)));
        };
        self.programs_read.push(Digest::from(code_hash));
        let code = with_unchecked_jumpdests(&code);
        self.programs.insert(code_hash, code.clone());
        Ok(code)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, StateError> {
        self.slot(address, slot)
    }

    fn block_hash(&mut self, _number: u64) -> Result<B256, StateError> {
        // BLOCKHASH reads the system contract's mapping in its own instruction.
        Ok(B256::ZERO)
    }
}

impl StateDatabase for StateView<'_> {
    fn lacks_code(&self, code_hash: B256) -> bool {
        code_hash == UNREADABLE_CODE || self.missing_programs.contains(&code_hash)
    }

    fn require_code(&mut self, code_hash: B256) -> Result<(), StateError> {
        if !self.lacks_code(code_hash) {
            self.note_program(code_hash);
            return Ok(());
        }
        if code_hash == UNREADABLE_CODE {
            let node = self.missing.values().find(|missing| missing.leaves.contains(AccountLeaves::CODE_HASH));
            return Err(TreeError::MissingNode(node.map(|missing| missing.node).unwrap_or_default()).into());
        }
        self.missing_program = Some(code_hash);
        Err(StateError::MissingProgram(code_hash))
    }

    fn code_length(&mut self, address: Address) -> Result<u64, StateError> {
        Ok(self.code_length_leaf(address)?.saturating_to())
    }

    fn with_state_access<R>(&mut self, look: impl FnOnce(TreeRef, StateAccess<'_, '_>) -> R) -> R {
        let version = self.version;
        look(version, self.state_access())
    }

    fn speculative_root(&mut self, state: &EvmState) -> Result<B256, StateError> {
        let mut writes = Vec::new();
        for (address, account) in state {
            self.account_writes(*address, account, &mut writes)?;
        }
        let writes: HashMap<_, _, RandomState> = writes.into_iter().collect();
        let version = self.speculate(writes)?;
        Ok(self.root_of(version))
    }
}
