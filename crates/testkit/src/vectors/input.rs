//! One `executor-input` file: a batch, the state it touches, and what should come out.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use revm::primitives::{Address, B256, Bytes};
use serde::Deserialize;

use super::json::{HexData, HexWord, Number, strip_prefix};
use super::{VectorError, read};
use zkevm_pool::{CancelToken, Cancelled};
use zkevm_store::{MemoryStore, RequestOverlay};
use zkevm_tree::{Digest, NodeData, SentNodes};
use zkevm_types::BatchOutput;
use zkevm_types::{
    AccountOverride, BatchContext, BatchInput, CountersPolicy, L1InfoLeaf, StateSource, TraceConfig, V2Context,
};
use zkevm_types::{ApiVersion, ForkId};

/// Elements of a stored node; files may leave the four zero capacity elements out.
const NODE_ELEMENTS: usize = std::mem::size_of::<NodeData>() / std::mem::size_of::<u64>();
const CONTENT_ELEMENTS: usize = 8;
/// Digits of a code hash key from which on it cannot be an address any more.
const ADDRESS_DIGITS: usize = 40;

/// One batch of a vector file with its expected result.
#[derive(Clone, Debug)]
pub struct Vector {
    /// The batch.
    pub input: BatchInput,
    /// The result the file names.
    pub expected: Expected,
    /// Block gas limit the vector was made with, if it is not the fork's own. No released fork knows the option.
    pub block_gas_limit: Option<u64>,
}

/// The result of a batch as far as vector files name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// State root after the batch.
    pub new_state_root: B256,
    /// Accumulated input hash after the batch.
    pub new_acc_input_hash: B256,
    /// Local exit root after the batch.
    pub new_local_exit_root: B256,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InputFile {
    #[serde(rename = "forkID")]
    fork_id: Number,
    #[serde(rename = "chainID")]
    chain_id: Number,
    // Writers leave out what is zero or empty (executor-service §12).
    #[serde(default)]
    old_state_root: HexWord,
    #[serde(default)]
    old_acc_input_hash: HexWord,
    #[serde(default)]
    old_num_batch: Number,
    #[serde(default)]
    batch_l2_data: HexData,
    #[serde(default)]
    sequencer_addr: HexWord,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    update_merkle_tree: bool,
    #[serde(default)]
    no_counters: bool,
    #[serde(default)]
    get_keys: bool,
    #[serde(default)]
    global_exit_root: HexWord,
    #[serde(default)]
    timestamp: Number,
    #[serde(default)]
    l1_info_root: HexWord,
    #[serde(default)]
    timestamp_limit: Number,
    #[serde(default)]
    forced_block_hash_l1: HexWord,
    #[serde(default)]
    l1_info_tree: BTreeMap<String, serde_json::Value>,
    #[serde(default)]
    skip_verify_l1_info_root: bool,
    #[serde(default)]
    skip_first_change_l2_block: bool,
    #[serde(default)]
    skip_write_block_info_root: bool,
    #[serde(default)]
    gas_limit: Option<Number>,
    #[serde(default)]
    disable_storage: bool,
    #[serde(default)]
    disable_stack: bool,
    #[serde(default)]
    enable_memory: bool,
    #[serde(default)]
    enable_return_data: bool,
    #[serde(default)]
    tx_hash_to_generate_full_trace: Option<HexData>,
    #[serde(default)]
    state_override: BTreeMap<String, OverrideFile>,
    #[serde(default)]
    db: BTreeMap<String, Vec<HexWord>>,
    #[serde(default)]
    contracts_bytecode: BTreeMap<String, HexData>,
    #[serde(default)]
    new_state_root: HexWord,
    #[serde(default)]
    new_acc_input_hash: HexWord,
    #[serde(default)]
    new_local_exit_root: HexWord,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OverrideFile {
    balance: Option<Number>,
    nonce: Option<Number>,
    code: Option<HexData>,
    state: Option<BTreeMap<String, Number>>,
    #[serde(default)]
    state_diff: BTreeMap<String, Number>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct L1InfoFile {
    #[serde(default)]
    global_exit_root: HexWord,
    #[serde(default)]
    block_hash: HexWord,
    #[serde(default)]
    timestamp: Number,
    #[serde(default)]
    smt_proof: Vec<HexWord>,
}

#[derive(Deserialize)]
struct ForkOnly {
    #[serde(rename = "forkID")]
    fork_id: Number,
}

impl Vector {
    /// Executes the batch over the state the file brings.
    pub fn execute(&self) -> Result<BatchOutput, Cancelled> {
        let nothing = MemoryStore::new(0);
        let state = RequestOverlay { base: &nothing, nodes: &self.input.db, programs: &self.input.contracts_bytecode };
        zkevm_processor::Engine::default().process(&self.input, &state, &CancelToken::default())
    }

    /// Reads the file at `path`.
    pub fn read(path: &Path) -> Result<Self, VectorError> {
        Self::parse(path, &read(path)?)
    }

    /// Reads only the fork id of the file at `path`, of any fork.
    pub fn read_fork_id(path: &Path) -> Result<u64, VectorError> {
        let file: ForkOnly = from_json(path, &read(path)?)?;
        small(file.fork_id, "forkID")
    }

    /// Parses the content of the file at `path`; the path only serves the error.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, VectorError> {
        let fork: ForkOnly = from_json(path, text)?;
        let number = small(fork.fork_id, "forkID")?;
        let fork_id = ForkId::new(number).ok_or(VectorError::UnsupportedFork(number))?;
        from_json::<InputFile>(path, text)?.into_vector(fork_id)
    }
}

impl InputFile {
    fn into_vector(self, fork_id: ForkId) -> Result<Vector, VectorError> {
        debug_assert_eq!(self.fork_id.to_u64(), Some(fork_id.get()));
        let context = match fork_id.rules().api {
            ApiVersion::V1 => BatchContext::V1 {
                global_exit_root: self.global_exit_root.0,
                eth_timestamp: small(self.timestamp, "timestamp")?,
            },
            ApiVersion::V2 => BatchContext::V2(self.v2_context()?),
        };
        let input = BatchInput {
            fork_id,
            old_state_root: self.old_state_root.0,
            old_acc_input_hash: self.old_acc_input_hash.0,
            old_batch_num: small(self.old_num_batch, "oldNumBatch")?,
            chain_id: small(self.chain_id, "chainID")?,
            coinbase: address(self.sequencer_addr, "sequencerAddr")?,
            from: sender(self.from.as_deref())?,
            update_merkle_tree: self.update_merkle_tree,
            no_counters: self.no_counters,
            counters_policy: CountersPolicy::Report,
            get_keys: self.get_keys,
            context,
            db: nodes(&self.db)?,
            contracts_bytecode: programs(self.contracts_bytecode)?,
            state_source: StateSource::Store,
            block_gas_limit_max: u64::MAX,
            state_override: overrides(self.state_override)?,
            trace: self.tx_hash_to_generate_full_trace.map(|tx_hash| TraceConfig {
                disable_storage: self.disable_storage,
                disable_stack: self.disable_stack,
                enable_memory: self.enable_memory,
                enable_return_data: self.enable_return_data,
                tx_hash: tx_hash.0,
            }),
            batch_l2_data: self.batch_l2_data.0,
        };
        let expected = Expected {
            new_state_root: self.new_state_root.0,
            new_acc_input_hash: self.new_acc_input_hash.0,
            new_local_exit_root: self.new_local_exit_root.0,
        };
        let block_gas_limit = self.gas_limit.map(|limit| small(limit, "gasLimit")).transpose()?;
        Ok(Vector { input, expected, block_gas_limit })
    }

    fn v2_context(&self) -> Result<V2Context, VectorError> {
        let mut context = V2Context {
            l1_info_root: self.l1_info_root.0,
            timestamp_limit: small(self.timestamp_limit, "timestampLimit")?,
            forced_blockhash_l1: self.forced_block_hash_l1.0,
            skip_verify_l1_info_root: self.skip_verify_l1_info_root,
            skip_first_change_l2_block: self.skip_first_change_l2_block,
            skip_write_block_info_root: self.skip_write_block_info_root,
            l1_info_tree_data: HashMap::new(),
        };
        for (key, value) in &self.l1_info_tree {
            let problem = |problem: String| VectorError::value(format!("l1InfoTree.{key}"), problem);
            if key == "skipVerifyL1InfoRoot" {
                context.skip_verify_l1_info_root |= value.as_bool().unwrap_or(false);
                continue;
            }
            let index = key.parse::<u32>().map_err(|error| problem(error.to_string()))?;
            let leaf = L1InfoFile::deserialize(value).map_err(|error| problem(error.to_string()))?;
            let leaf = L1InfoLeaf {
                global_exit_root: leaf.global_exit_root.0,
                block_hash_l1: leaf.block_hash.0,
                min_timestamp: small(leaf.timestamp, "timestamp")?,
                smt_proof: leaf.smt_proof.into_iter().map(|sibling| sibling.0).collect(),
            };
            context.l1_info_tree_data.insert(index, leaf);
        }
        Ok(context)
    }
}

fn from_json<'a, T: Deserialize<'a>>(path: &Path, text: &'a [u8]) -> Result<T, VectorError> {
    serde_json::from_slice(text).map_err(|source| VectorError::Json { path: path.to_path_buf(), source })
}

fn small(number: Number, key: &str) -> Result<u64, VectorError> {
    number.to_u64().ok_or_else(|| VectorError::value(key, format!("{} has more than 64 bits", number.0)))
}

fn address(word: HexWord, key: &str) -> Result<Address, VectorError> {
    Number(word.0.into()).to_address().ok_or_else(|| VectorError::value(key, "more than 40 hex digits"))
}

fn word(text: &str, key: &str) -> Result<B256, VectorError> {
    HexWord::parse(text).map(|word| word.0).map_err(|problem| VectorError::value(key, problem))
}

/// An empty `from` or a bare `0x` means signed transactions (executor-service §5.2).
fn sender(from: Option<&str>) -> Result<Option<Address>, VectorError> {
    match from.map(strip_prefix) {
        None | Some("") => Ok(None),
        Some(digits) => address(HexWord(word(digits, "from")?), "from").map(Some),
    }
}

fn nodes(db: &BTreeMap<String, Vec<HexWord>>) -> Result<SentNodes, VectorError> {
    let mut nodes = SentNodes::default();
    for (key, elements) in db {
        let mut node = Vec::with_capacity(NODE_ELEMENTS);
        for element in elements {
            node.push(small(Number(element.0.into()), &format!("db.{key}"))?);
        }
        if node.len() == CONTENT_ELEMENTS {
            node.resize(NODE_ELEMENTS, 0);
        }
        nodes.insert(Digest::from(word(key, "db")?), node.into());
    }
    Ok(nodes)
}

fn programs(codes: BTreeMap<String, HexData>) -> Result<HashMap<Digest, Bytes>, VectorError> {
    let mut programs = HashMap::with_capacity(codes.len());
    for (key, code) in codes {
        if strip_prefix(&key).len() > ADDRESS_DIGITS {
            programs.insert(Digest::from(word(&key, "contractsBytecode")?), code.0);
        }
    }
    Ok(programs)
}

fn overrides(accounts: BTreeMap<String, OverrideFile>) -> Result<HashMap<Address, AccountOverride>, VectorError> {
    let slots = |slots: BTreeMap<String, Number>| {
        let entry = |(slot, value): (String, Number)| Ok((word(&slot, "stateOverride")?.into(), value.0));
        slots.into_iter().map(entry).collect::<Result<HashMap<_, _>, VectorError>>()
    };
    let mut overrides = HashMap::with_capacity(accounts.len());
    for (key, account) in accounts {
        // The request cannot tell nonce 0 from no nonce (executor-service §5.9).
        let nonce = account.nonce.map(|nonce| small(nonce, "stateOverride.nonce")).transpose()?;
        let account = AccountOverride {
            balance: account.balance.map(|balance| balance.0),
            nonce: nonce.filter(|nonce| *nonce > 0),
            code: account.code.map(|code| code.0).filter(|code| !code.is_empty()),
            state: account.state.map(slots).transpose()?,
            state_diff: slots(account.state_diff)?,
        };
        overrides.insert(address(HexWord(word(&key, "stateOverride")?), "stateOverride")?, account);
    }
    Ok(overrides)
}

#[cfg(test)]
mod tests {
    use revm::primitives::U256;

    use super::*;

    const V2_FILE: &str = r#"{
        "forkID": 9, "chainID": "1001", "oldStateRoot": "0x2", "oldAccInputHash": "0x0", "oldNumBatch": 3,
        "newStateRoot": "0x05", "newAccInputHash": "0x06", "newLocalExitRoot": "0x07",
        "batchL2Data": "0x0b0000000100000001", "sequencerAddr": "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
        "l1InfoRoot": "0x01", "timestampLimit": "0x03e8", "forcedBlockHashL1": "0x0", "unknownKey": [1, 2],
        "l1InfoTree": {"skipVerifyL1InfoRoot": true, "1": {"globalExitRoot": "0x0a", "blockHash": "0x0b", "timestamp": "42"}},
        "db": {"0x02": ["1", "2", "3", "4", "5", "6", "7", "ffffffff"]},
        "contractsBytecode": {"0x1234": "0x00", "0x0a5eeb8d8d1251c076368ce61bee4ec42cfd6d4e1cb9ce1899a9ed6fa4d9ccfc": "0x6001"},
        "stateOverride": {"0x01": {"balance": "7", "nonce": 0, "stateDiff": {"0x10": "0x20"}}}, "gasLimit": "100000000"
    }"#;

    #[test]
    fn a_v2_file_becomes_a_batch() {
        let vector = Vector::parse(Path::new("v2.json"), V2_FILE.as_bytes()).unwrap();
        let BatchContext::V2(context) = &vector.input.context else { panic!("V1 context for fork 9") };
        assert!(context.skip_verify_l1_info_root);
        assert_eq!(context.timestamp_limit, 1000);
        assert_eq!(context.l1_info_tree_data[&1].min_timestamp, 42);
        let node = vector.input.db.values().next().unwrap();
        assert_eq!(node[..], [1, 2, 3, 4, 5, 6, 7, 0xffff_ffff, 0, 0, 0, 0], "eight elements are padded to 12");
        assert_eq!(vector.input.contracts_bytecode.len(), 1, "entries keyed by address are left out");
        assert_eq!(vector.block_gas_limit, Some(100_000_000));
        let account = &vector.input.state_override[&Address::with_last_byte(1)];
        assert_eq!(account.nonce, None, "nonce 0 is no override");
        assert_eq!(account.state_diff[&U256::from(0x10)], U256::from(0x20));
        assert_eq!(vector.expected.new_local_exit_root, B256::with_last_byte(7));
    }

    #[test]
    fn a_fork_outside_the_table_is_named() {
        let text = V2_FILE.replace("\"forkID\": 9", "\"forkID\": 99");
        let error = Vector::parse(Path::new("v2.json"), text.as_bytes()).unwrap_err();
        assert!(matches!(error, VectorError::UnsupportedFork(99)), "{error}");
    }

    #[test]
    fn a_bad_value_is_an_error_with_its_key() {
        let text = V2_FILE.replace("\"ffffffff\"", "\"1ffffffffffffffff\"");
        let error = Vector::parse(Path::new("v2.json"), text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("db.0x02"), "{error}");
    }
}
