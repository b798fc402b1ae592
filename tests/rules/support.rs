//! A state, a batch and what is expected of them.

use std::collections::HashMap;
use std::fmt::{Debug, Display};

use revm::primitives::{Address, B256, Bytes, U256, address, keccak256};
use zkevm_pool::CancelToken;
use zkevm_processor::Engine;
use zkevm_store::{Durability, MemoryStore, StateWriter};
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{Account, BatchBuilder, Genesis, Transfer};
use zkevm_tree::{Digest, LeafKind, StateReader, StateTree, account_key, storage_key};
use zkevm_types::TxOutput;
use zkevm_types::{ApiVersion, ForkId};
use zkevm_types::{BatchContext, BatchInput, CountersPolicy, L1InfoLeaf, StateSource, TraceConfig, V2Context};
use zkevm_types::{BatchOutput, ExecutorError, RomError};

/// Every fork with a known answer.
pub(crate) const ALL: &[u64] = &[4, 5, 6, 7, 8, 9, 10, 11, 12, 13];
/// Forks whose proof has 2^23 steps: the limits of the zk counters are alike.
pub(crate) const UNTIL_9: &[u64] = &[4, 5, 6, 7, 8, 9];
/// Forks with L2 blocks.
pub(crate) const V2: &[u64] = &[7, 8, 9, 10, 11, 12, 13];
pub(crate) const CHAIN_ID: u64 = 1000;
/// The contract under test, unless a case says otherwise.
pub(crate) const A: Address = address!("1000000000000000000000000000000000000001");
/// A receiver.
pub(crate) const R: Address = address!("2000000000000000000000000000000000000002");
/// A second contract.
pub(crate) const B: Address = address!("3000000000000000000000000000000000000003");
/// Returns 32 bytes.
pub(crate) const D: Address = address!("4000000000000000000000000000000000000004");
pub(crate) const CODE_OF_D: &str = "600760005260206000f3";
/// The first contract that A creates.
pub(crate) const N: Address = address!("5dddfce53ee040d9eb21afbc0ae1bb4dbb0ba643");
pub(crate) const SYSTEM: Address = address!("000000000000000000000000000000005ca1ab1e");
pub(crate) const GER_MANAGER: Address = address!("a40D5f56745a118D0906a34E69aeC8C0Db1cB8fA");
/// Paid the fees; nobody has heard of it before, so at gas price 1 its balance is the gas used.
pub(crate) const SEQUENCER: Address = address!("5e00000000000000000000000000000000000005");
/// Levels of the L1 info tree.
const L1_INFO_TREE_LEVELS: usize = 32;

/// The sender of every transaction.
pub(crate) fn sender() -> Account {
    Account::numbered(0)
}

pub(crate) fn ether(count: u64) -> U256 {
    U256::from(count) * U256::from(10).pow(U256::from(18))
}

pub(crate) fn bytes(text: &str) -> Bytes {
    let digits: String = text.split_whitespace().collect();
    hex::decode(digits).expect("hexadecimal digits").into()
}

pub(crate) fn fork(id: u64) -> ForkId {
    ForkId::new(id).expect("a known fork")
}

/// The slot of `key` in the mapping at `slot`.
pub(crate) fn mapping_slot(key: U256, slot: u64) -> U256 {
    let preimage = [key.to_be_bytes::<32>(), U256::from(slot).to_be_bytes::<32>()].concat();
    keccak256(preimage).into()
}

/// A proof that starts with `siblings`; what is not listed is the root of an empty subtree.
pub(crate) fn l1_proof(siblings: &[B256]) -> Vec<B256> {
    let mut empty = B256::ZERO;
    let mut proof = Vec::with_capacity(L1_INFO_TREE_LEVELS);
    for level in 0..L1_INFO_TREE_LEVELS {
        proof.push(siblings.get(level).copied().unwrap_or(empty));
        empty = node(empty, empty);
    }
    proof
}

pub(crate) fn node(left: B256, right: B256) -> B256 {
    keccak256([left.0, right.0].concat())
}

/// Folds a leaf with its proof, lowest level first.
pub(crate) fn l1_root(leaf: B256, index: u32, proof: &[B256]) -> B256 {
    let fold = |hash, (level, &sibling): (usize, &B256)| {
        if index >> level & 1 == 0 { node(hash, sibling) } else { node(sibling, hash) }
    };
    proof.iter().enumerate().fold(leaf, fold)
}

/// Leaf hash of an L1 info tree entry.
pub(crate) fn l1_leaf_hash(leaf: &L1InfoLeaf) -> B256 {
    let timestamp = leaf.min_timestamp.to_be_bytes();
    keccak256([&leaf.global_exit_root[..], &leaf.block_hash_l1[..], &timestamp].concat())
}

/// A request with nothing special in it.
pub(crate) fn request(fork_id: u64, old_state_root: B256, batch_l2_data: Bytes) -> BatchInput {
    let fork_id = fork(fork_id);
    let context = match fork_id.rules().api {
        ApiVersion::V1 => BatchContext::V1 { global_exit_root: B256::ZERO, eth_timestamp: 1_000 },
        ApiVersion::V2 => BatchContext::V2(V2Context { timestamp_limit: u64::MAX, ..V2Context::default() }),
    };
    BatchInput {
        fork_id,
        old_state_root,
        old_acc_input_hash: B256::ZERO,
        old_batch_num: 0,
        chain_id: CHAIN_ID,
        batch_l2_data,
        coinbase: SEQUENCER,
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

/// Returns the V2 part of a request.
pub(crate) fn v2(input: &mut BatchInput) -> &mut V2Context {
    match &mut input.context {
        BatchContext::V2(context) => context,
        BatchContext::V1 { .. } => panic!("fork {} has no L2 blocks", input.fork_id.rules().id),
    }
}

/// A state that can be executed on and read.
pub(crate) struct State {
    store: MemoryStore,
    pub root: B256,
}

impl State {
    pub(crate) fn new(accounts: Vec<GenesisAccount>) -> Self {
        let genesis = Genesis { accounts }.build().expect("a genesis of distinct accounts");
        let store = MemoryStore::new(0);
        genesis.write_to(&store).expect("memory takes the genesis");
        Self { store, root: genesis.root.to_b256() }
    }

    /// Runs a batch and keeps what it wrote.
    pub(crate) fn run(&self, input: &BatchInput) -> BatchOutput {
        self.run_on(&Engine::default(), input)
    }

    /// Runs a batch on an engine and keeps what it wrote.
    pub(crate) fn run_on(&self, engine: &Engine, input: &BatchInput) -> BatchOutput {
        let output = engine.process(input, &self.store, &CancelToken::default()).expect("nothing cancels");
        self.store
            .write(&output.new_nodes, &output.new_programs, Durability::Permanent)
            .expect("memory takes the new nodes");
        output
    }

    /// Returns what can be read of this state.
    pub(crate) fn reader(&self) -> &dyn StateReader {
        &self.store
    }

    fn leaf(&self, root: B256, key: &Digest) -> U256 {
        let mut tree = StateTree::new(&self.store);
        let version = tree.open(root.into());
        tree.get(version, key).expect("the new root can be read")
    }

    pub(crate) fn slot(&self, root: B256, address: Address, slot: U256) -> U256 {
        self.leaf(root, &storage_key(address, slot))
    }

    pub(crate) fn account(&self, root: B256, address: Address, kind: LeafKind) -> U256 {
        self.leaf(root, &account_key(address, kind))
    }

    /// Writes leaves by hand and returns the root they lead to.
    pub(crate) fn write(&mut self, leaves: &[(Digest, U256)]) -> B256 {
        let mut tree = StateTree::new(&self.store);
        let version = tree.open(self.root.into());
        let version = tree.update(version, &mut leaves.to_vec()).expect("the root can be read");
        let root = tree.root(version).to_b256();
        let nodes = tree.new_nodes(&[version]);
        self.store.write(&nodes, &[], Durability::Permanent).expect("memory takes the nodes");
        self.root = root;
        root
    }
}

/// Returns the new state root, or what came instead.
pub(crate) fn new_root(output: &BatchOutput) -> Result<B256, String> {
    match output.roots {
        Some(roots) => Ok(roots.new_state_root),
        None => Err(format!("{:?}: {}", output.error, output.error_log)),
    }
}

/// Returns every transaction of an answer, in order.
pub(crate) fn transactions(output: &BatchOutput) -> Vec<&TxOutput> {
    output.transactions.iter().chain(output.blocks.iter().flat_map(|block| &block.transactions)).collect()
}

/// One expected fact about the state or the answer.
#[derive(Clone, Debug)]
enum Fact {
    Gas(u64),
    Slot(Address, u64, U256),
    Balance(Address, U256),
    Nonce(Address, U256),
    CodeLength(Address, u64),
    Error(RomError),
    Errors(Vec<RomError>),
    Status(bool),
    Aborted(ExecutorError),
}

/// A row of a table: set-up, forks, and what comes out.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    name: &'static str,
    forks: &'static [u64],
    accounts: Vec<GenesisAccount>,
    transfers: Vec<Transfer>,
    contract: Address,
    facts: Vec<Fact>,
}

impl Case {
    /// Starts a row with one transaction to A: gas limit 1 000 000, no value, no data.
    pub(crate) fn new(name: &'static str) -> Self {
        let transfer = Transfer {
            nonce: 0,
            gas_price: U256::from(1),
            gas_limit: 1_000_000,
            to: Some(A),
            value: U256::ZERO,
            data: Bytes::new(),
        };
        Self { name, forks: ALL, accounts: Vec::new(), transfers: vec![transfer], contract: A, facts: Vec::new() }
            .with(sender().address(), |account| account.balance = U256::from(10).pow(U256::from(24)))
    }

    fn with(mut self, address: Address, change: impl FnOnce(&mut GenesisAccount)) -> Self {
        let at = self.accounts.iter().position(|account| account.address == address).unwrap_or_else(|| {
            self.accounts.push(GenesisAccount { address, ..GenesisAccount::default() });
            self.accounts.len() - 1
        });
        change(&mut self.accounts[at]);
        self
    }

    pub(crate) fn forks(mut self, forks: &'static [u64]) -> Self {
        self.forks = forks;
        self
    }

    pub(crate) fn code(self, address: Address, code: &str) -> Self {
        let code = bytes(code);
        self.with(address, |account| account.code = code)
    }

    pub(crate) fn balance(self, address: Address, wei: u64) -> Self {
        self.with(address, |account| account.balance = U256::from(wei))
    }

    pub(crate) fn nonce(self, address: Address, nonce: u64) -> Self {
        self.with(address, |account| account.nonce = nonce)
    }

    pub(crate) fn storage(self, address: Address, slot: u64, value: u64) -> Self {
        self.with(address, |account| {
            account.storage.insert(U256::from(slot), U256::from(value));
        })
    }

    /// Changes the first transaction.
    pub(crate) fn tx(mut self, change: impl FnOnce(&mut Transfer)) -> Self {
        change(&mut self.transfers[0]);
        self
    }

    /// Adds a transaction like the first one, changed.
    pub(crate) fn another_tx(mut self, change: impl FnOnce(&mut Transfer)) -> Self {
        let mut transfer = self.transfers[0].clone();
        change(&mut transfer);
        self.transfers.push(transfer);
        self
    }

    pub(crate) fn gas_limit(self, gas_limit: u64) -> Self {
        self.tx(|tx| tx.gas_limit = gas_limit)
    }

    /// Sends the transaction to `address`, whose slots the row is about.
    pub(crate) fn to(mut self, address: Address) -> Self {
        self.contract = address;
        self.tx(|tx| tx.to = Some(address))
    }

    /// Deploys; the slots the row is about are those of the new contract.
    pub(crate) fn deploy(mut self, init_code: &str) -> Self {
        self.contract = sender().address().create(0);
        let data = bytes(init_code);
        self.tx(|tx| (tx.to, tx.data) = (None, data))
    }

    /// Reads the expected slots from `address`.
    pub(crate) fn slots_of(mut self, address: Address) -> Self {
        self.contract = address;
        self
    }

    fn fact(mut self, fact: Fact) -> Self {
        self.facts.push(fact);
        self
    }

    pub(crate) fn gas_is(self, gas: u64) -> Self {
        self.fact(Fact::Gas(gas))
    }

    pub(crate) fn slot_is(self, slot: u64, value: u64) -> Self {
        self.word_is(slot, U256::from(value))
    }

    pub(crate) fn word_is(self, slot: u64, value: U256) -> Self {
        let fact = Fact::Slot(self.contract, slot, value);
        self.fact(fact)
    }

    pub(crate) fn slots_are(self, expected: &[(u64, u64)]) -> Self {
        expected.iter().fold(self, |case, &(slot, value)| case.slot_is(slot, value))
    }

    pub(crate) fn balance_is(self, address: Address, wei: u64) -> Self {
        self.fact(Fact::Balance(address, U256::from(wei)))
    }

    pub(crate) fn nonce_is(self, address: Address, nonce: u64) -> Self {
        self.fact(Fact::Nonce(address, U256::from(nonce)))
    }

    pub(crate) fn code_length_is(self, address: Address, length: u64) -> Self {
        self.fact(Fact::CodeLength(address, length))
    }

    pub(crate) fn error_is(self, error: RomError) -> Self {
        self.fact(Fact::Error(error))
    }

    pub(crate) fn errors_are(self, errors: &[RomError]) -> Self {
        self.fact(Fact::Errors(errors.to_vec()))
    }

    pub(crate) fn status_is(self, status: bool) -> Self {
        self.fact(Fact::Status(status))
    }

    pub(crate) fn aborts_with(self, error: ExecutorError) -> Self {
        self.fact(Fact::Aborted(error))
    }

    /// Runs the row under each of its forks: plain, with zk counters, and with its first transaction traced. Returns the
    /// facts that do not hold.
    fn mismatches(&self) -> Vec<String> {
        let mut found = Mismatches::default();
        for &fork_id in self.forks {
            let state = State::new(self.accounts.clone());
            let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
            batch.block(1, 0);
            for transfer in &self.transfers {
                batch.transaction(&sender(), transfer);
            }
            let plain = BatchInput { no_counters: true, ..request(fork_id, state.root, batch.finish()) };
            let counted = BatchInput { no_counters: false, ..plain.clone() };
            let first_hash = transactions(&state.run(&counted)).first().map(|tx| tx.tx_hash.0.into());
            let trace = first_hash.map(|tx_hash| TraceConfig { tx_hash, ..TraceConfig::default() });
            let traced = BatchInput { trace, ..plain.clone() };
            for (how, input) in [("plain", plain), ("counted", counted), ("traced", traced)] {
                found.place = format!("fork {fork_id}, {how}, {}", self.name);
                let output = state.run(&input);
                for fact in &self.facts {
                    found.fact(&state, &output, fact);
                }
            }
        }
        found.lines
    }
}

/// Facts that do not hold, one line each.
#[derive(Default)]
struct Mismatches {
    place: String,
    lines: Vec<String>,
}

impl Mismatches {
    fn fact(&mut self, state: &State, output: &BatchOutput, fact: &Fact) {
        if let Fact::Aborted(error) = fact {
            self.compare("executor error", format!("{:?}", output.error), format!("{error:?}"));
            return self.compare("state root", format!("{:?}", output.roots), "None".into());
        }
        let root = match new_root(output) {
            Ok(root) => root,
            Err(error) => return self.compare("answer", error, format!("{fact:?}")),
        };
        let listed = transactions(output);
        let number = |address, kind| state.account(root, address, kind);
        match fact {
            Fact::Gas(gas) => {
                self.compare("gas used", number(SEQUENCER, LeafKind::Balance), U256::from(*gas));
            }
            Fact::Slot(address, slot, value) => {
                let found = state.slot(root, *address, U256::from(*slot));
                self.compare(&format!("slot {slot} of {address}"), format!("{found:#x}"), format!("{value:#x}"));
            }
            Fact::Balance(address, wei) => {
                self.compare(&format!("balance of {address}"), number(*address, LeafKind::Balance), *wei);
            }
            Fact::Nonce(address, nonce) => {
                self.compare(&format!("nonce of {address}"), number(*address, LeafKind::Nonce), *nonce);
            }
            Fact::CodeLength(address, length) => {
                let found = number(*address, LeafKind::CodeLength);
                self.compare(&format!("code length of {address}"), found, U256::from(*length));
            }
            Fact::Error(error) => {
                let found = listed.last().map(|tx| tx.error);
                self.compare("error", format!("{found:?}"), format!("{:?}", Some(error)));
            }
            Fact::Errors(errors) => {
                let found: Vec<_> = listed.iter().map(|tx| tx.error).collect();
                self.compare("errors", format!("{found:?}"), format!("{errors:?}"));
            }
            Fact::Status(status) => {
                let found = listed.last().map(|tx| tx.status);
                self.compare("status", format!("{found:?}"), format!("{:?}", Some(status)));
            }
            Fact::Aborted(_) => {}
        }
    }

    fn compare<T: PartialEq + Display>(&mut self, what: &str, found: T, expected: T) {
        if found != expected {
            self.lines.push(format!("{}: {what} is {found}, expected {expected}", self.place));
        }
    }
}

/// Runs every row of a table and fails with all that is wrong in it.
pub(crate) fn check(table: &[Case]) {
    let wrong: Vec<String> = table.iter().flat_map(Case::mismatches).collect();
    assert!(wrong.is_empty(), "{} facts do not hold:\n{}", wrong.len(), wrong.join("\n"));
}

/// Compares one value; the message shows both sides and where they are from.
#[track_caller]
pub(crate) fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) {
    assert_eq!(found, expected, "{what}: found on the left, expected on the right");
}
