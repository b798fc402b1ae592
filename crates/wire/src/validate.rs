//! Request → [`BatchInput`], field by field in the order of executor-service §4.
//!
//! The first field that fails decides the answer. Nothing here looks at state.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::{Address, B256, Bytes, U256};

use super::proto::executor::v1 as wire;
use crate::stateless::{WitnessError, WitnessMemo, read_stream, read_witness_while};
use zkevm_tree::{Digest, SentNodes};
use zkevm_types::ExecutorError;
use zkevm_types::{
    AccountOverride, BATCH_L2_DATA_MAX_BYTES, BatchContext, BatchInput, CountersPolicy, L1InfoLeaf, StateSource,
    TraceConfig, V2Context,
};
use zkevm_types::{ApiVersion, ForkId};

/// Hex digits of one field element in a `db` value (executor-service §4.1 row 14).
const ELEMENT_HEX_DIGITS: usize = 16;
const WORD_HEX_DIGITS: usize = 64;
const ADDRESS_HEX_DIGITS: usize = 40;

/// Checks that depend on the server's configuration.
#[derive(Clone, Copy, Debug)]
pub struct ValidationRules {
    /// The database is read-only: `update_merkle_tree` is refused (executor-service §4.1 row 12).
    pub db_read_only: bool,
    /// Policy for batches whose zk counters pass the limits.
    pub counters_policy: CountersPolicy,
    /// Bounds of witnesses.
    pub witness: WitnessLimits,
    /// What a stateless batch brings and makes goes into the store.
    pub keep_stateless: bool,
    /// Bound of the block gas limit, for forks that have a larger one.
    pub block_gas_limit_max: u64,
}

impl Default for ValidationRules {
    fn default() -> Self {
        Self {
            db_read_only: false,
            counters_policy: CountersPolicy::default(),
            witness: WitnessLimits::default(),
            keep_stateless: false,
            block_gas_limit_max: u64::MAX,
        }
    }
}

/// Bounds of witnesses: their nodes take many times the bytes they come in.
#[derive(Clone, Copy, Debug)]
pub struct WitnessLimits {
    /// Nodes of one witness.
    pub nodes_max: usize,
    /// Bytes of requests whose witness has not been read yet.
    pub waiting_bytes_max: usize,
}

impl Default for WitnessLimits {
    fn default() -> Self {
        Self { nodes_max: 1 << 22, waiting_bytes_max: 256 << 20 }
    }
}

impl ValidationRules {
    fn update_merkle_tree(self, flag: u32) -> Result<bool, ExecutorError> {
        let update = flag != 0;
        if update && self.db_read_only {
            return Err(ExecutorError::InvalidUpdateMerkleTree);
        }
        Ok(update)
    }
}

/// Validates a `ProcessBatch` request (executor-service §4.1).
pub fn process_batch(request: wire::ProcessBatchRequest, rules: ValidationRules) -> Result<BatchInput, ExecutorError> {
    process_batch_while(request, rules, &mut |_| true)
}

/// Validates as [`process_batch`] does. Now and then `goes_on` is asked, and may give the validation up, which then looks like
/// an invalid request.
pub fn process_batch_while(
    request: wire::ProcessBatchRequest,
    rules: ValidationRules,
    goes_on: &mut dyn FnMut(usize) -> bool,
) -> Result<BatchInput, ExecutorError> {
    let mut looks = Looks::new(goes_on);
    let old_state_root = word(&request.old_state_root, ExecutorError::InvalidOldStateRoot)?;
    let old_acc_input_hash = word(&request.old_acc_input_hash, ExecutorError::InvalidOldAccInputHash)?;
    let chain_id = chain_id(request.chain_id)?;
    let fork_id = fork_id(request.fork_id, ApiVersion::V1)?;
    let batch_l2_data = batch_l2_data(request.batch_l2_data)?;
    let global_exit_root = word(&request.global_exit_root, ExecutorError::InvalidGlobalExitRoot)?;
    let coinbase = coinbase(&request.coinbase)?;
    let from = from(&request.from)?;
    let update_merkle_tree = rules.update_merkle_tree(request.update_merkle_tree)?;
    let trace = request.trace_config.map(trace_config_v1);
    let db = db(request.db, &mut looks)?;
    let contracts_bytecode = contracts_bytecode(request.contracts_bytecode, &mut looks)?;
    let accounts = request.state_override.into_iter().map(|(k, v)| (k, RawOverride::from(v)));
    let state_override = overrides(accounts, &mut looks)?;
    Ok(BatchInput {
        fork_id,
        old_state_root,
        old_acc_input_hash,
        old_batch_num: truncated_batch_num(request.old_batch_num),
        chain_id,
        batch_l2_data,
        coinbase,
        from,
        update_merkle_tree,
        no_counters: request.no_counters != 0,
        counters_policy: rules.counters_policy,
        get_keys: false,
        context: BatchContext::V1 { global_exit_root, eth_timestamp: request.eth_timestamp },
        db,
        contracts_bytecode,
        state_source: StateSource::Store,
        block_gas_limit_max: rules.block_gas_limit_max,
        state_override,
        trace,
    })
}

/// Validates a `ProcessBatchV2` request (executor-service §4.2).
pub fn process_batch_v2(
    request: wire::ProcessBatchRequestV2,
    rules: ValidationRules,
) -> Result<BatchInput, ExecutorError> {
    process_batch_v2_while(request, rules, &mut |_| true)
}

/// Validates as [`process_batch_v2`] does, and asks `goes_on` as [`process_batch_while`] does.
pub fn process_batch_v2_while(
    request: wire::ProcessBatchRequestV2,
    rules: ValidationRules,
    goes_on: &mut dyn FnMut(usize) -> bool,
) -> Result<BatchInput, ExecutorError> {
    let mut looks = Looks::new(goes_on);
    let old_state_root = word(&request.old_state_root, ExecutorError::InvalidOldStateRoot)?;
    let old_acc_input_hash = word(&request.old_acc_input_hash, ExecutorError::InvalidOldAccInputHash)?;
    let chain_id = chain_id(request.chain_id)?;
    let fork_id = fork_id(request.fork_id, ApiVersion::V2)?;
    let batch_l2_data = batch_l2_data(request.batch_l2_data)?;
    let l1_info_root = word(&request.l1_info_root, ExecutorError::InvalidL1InfoRoot)?;
    let forced_blockhash_l1 = word(&request.forced_blockhash_l1, ExecutorError::InvalidForcedBlockhashL1)?;
    let coinbase = coinbase(&request.coinbase)?;
    let from = from(&request.from)?;
    let update_merkle_tree = rules.update_merkle_tree(request.update_merkle_tree)?;
    let trace = request.trace_config.map(trace_config_v2);
    let db = db(request.db, &mut looks)?;
    let contracts_bytecode = contracts_bytecode(request.contracts_bytecode, &mut looks)?;
    let l1_info_tree_data = l1_info_tree_data(request.l1_info_tree_data, &mut looks)?;
    let accounts = request.state_override.into_iter().map(|(k, v)| (k, RawOverride::from(v)));
    let state_override = overrides(accounts, &mut looks)?;
    if let Some(debug) = &request.debug {
        expected_results(debug)?;
    }
    Ok(BatchInput {
        fork_id,
        old_state_root,
        old_acc_input_hash,
        old_batch_num: truncated_batch_num(request.old_batch_num),
        chain_id,
        batch_l2_data,
        coinbase,
        from,
        update_merkle_tree,
        no_counters: request.no_counters != 0,
        counters_policy: rules.counters_policy,
        get_keys: request.get_keys != 0,
        context: BatchContext::V2(V2Context {
            l1_info_root,
            timestamp_limit: request.timestamp_limit,
            forced_blockhash_l1,
            skip_verify_l1_info_root: request.skip_verify_l1_info_root != 0,
            skip_first_change_l2_block: request.skip_first_change_l2_block != 0,
            skip_write_block_info_root: request.skip_write_block_info_root != 0,
            l1_info_tree_data,
        }),
        db,
        contracts_bytecode,
        state_source: StateSource::Store,
        block_gas_limit_max: rules.block_gas_limit_max,
        state_override,
        trace,
    })
}

/// Validates a `ProcessStatelessBatchV2` request in the order of later-forks §8.3: reads the witness and the data stream, which
/// make what `ProcessBatchV2` gets as fields, and sets the options that are fixed. Minimum timestamps are those of the blocks;
/// only for a stream without any those of the request.
///
/// Hashes the whole witness, which can take seconds.
pub fn process_stateless_batch_v2(
    request: wire::ProcessStatelessBatchRequestV2,
    rules: ValidationRules,
) -> Result<BatchInput, ExecutorError> {
    process_stateless_batch_v2_while(request, rules, &WitnessMemo::default(), &mut |_| true)
}

/// Validates as [`process_stateless_batch_v2`] does; hashes that `memo` knows are not computed. Now and then `goes_on` is told the bytes of memory that what comes next
/// will take, and may give the reading up, which then looks like an invalid witness.
pub fn process_stateless_batch_v2_while(
    request: wire::ProcessStatelessBatchRequestV2,
    rules: ValidationRules,
    memo: &WitnessMemo,
    goes_on: &mut dyn FnMut(usize) -> bool,
) -> Result<BatchInput, ExecutorError> {
    let witness = read_witness_while(&request.witness, rules.witness.nodes_max, memo, goes_on).map_err(|error| {
        tracing::warn!(%error, context_id = request.context_id, "invalid witness");
        if error == WitnessError::Cbor { ExecutorError::InvalidCbor } else { ExecutorError::InvalidWitness }
    })?;
    let stream = read_stream(&request.data_stream).map_err(|error| {
        tracing::warn!(%error, context_id = request.context_id, "invalid data stream");
        ExecutorError::InvalidDataStream
    })?;
    let batch_l2_data = batch_l2_data(stream.batch_l2_data.into())?;
    let old_acc_input_hash = word(&request.old_acc_input_hash, ExecutorError::InvalidOldAccInputHash)?;
    let old_batch_num = stream.number.checked_sub(1).ok_or(ExecutorError::InvalidDataStream)?;
    let chain_id = chain_id(stream.chain_id)?;
    let fork_id = fork_id(stream.fork_id, ApiVersion::V2)?;
    let l1_info_root = word(&request.l1_info_root, ExecutorError::InvalidL1InfoRoot)?;
    let forced_blockhash_l1 = word(&request.forced_blockhash_l1, ExecutorError::InvalidForcedBlockhashL1)?;
    let coinbase = coinbase(&request.coinbase)?;
    let mut l1_info_tree_data = stream.l1_info_tree_data;
    if stream.is_fixed {
        // Only the request can say them.
        for (index, leaf) in &mut l1_info_tree_data {
            let said = request.l1_info_tree_index_min_timestamp.get(&u64::from(*index));
            leaf.min_timestamp = said.copied().unwrap_or_default();
        }
    }
    Ok(BatchInput {
        fork_id,
        old_state_root: witness.root.to_b256(),
        old_acc_input_hash,
        old_batch_num: truncated_batch_num(old_batch_num),
        chain_id,
        batch_l2_data,
        coinbase,
        from: None,
        update_merkle_tree: true,
        no_counters: request.no_counters != 0,
        counters_policy: rules.counters_policy,
        get_keys: false,
        context: BatchContext::V2(V2Context {
            l1_info_root,
            timestamp_limit: request.timestamp_limit,
            forced_blockhash_l1,
            skip_verify_l1_info_root: true,
            skip_first_change_l2_block: false,
            skip_write_block_info_root: false,
            l1_info_tree_data,
        }),
        db: witness.nodes,
        contracts_bytecode: witness.programs,
        state_source: StateSource::Witness { keep: rules.keep_stateless },
        block_gas_limit_max: rules.block_gas_limit_max,
        state_override: HashMap::new(),
        trace: request.trace_config.map(trace_config_v2),
    })
}

/// Reads at most 32 big-endian bytes, shorter ones as a smaller number (executor-service §3).
fn word(bytes: &[u8], error: ExecutorError) -> Result<B256, ExecutorError> {
    if bytes.len() > 32 {
        return Err(error);
    }
    Ok(B256::left_padding_from(bytes))
}

fn chain_id(chain_id: u64) -> Result<u64, ExecutorError> {
    if chain_id == 0 {
        return Err(ExecutorError::InvalidChainId);
    }
    Ok(chain_id)
}

/// Accepts a fork this build executes, if its batches travel by this RPC (executor-service §4.1 rows 5, 6; §4.2 rows 5, 6).
fn fork_id(fork_id: u64, api: ApiVersion) -> Result<ForkId, ExecutorError> {
    ForkId::new(fork_id).filter(|fork| fork.rules().api == api).ok_or(ExecutorError::UnsupportedForkId)
}

fn batch_l2_data(data: prost::bytes::Bytes) -> Result<Bytes, ExecutorError> {
    if data.len() > BATCH_L2_DATA_MAX_BYTES {
        return Err(ExecutorError::InvalidBatchL2Data);
    }
    Ok(Bytes(data))
}

/// Keeps the low 32 bits, as the original stores it (executor-service §3).
fn truncated_batch_num(old_batch_num: u64) -> u64 {
    old_batch_num & u64::from(u32::MAX)
}

fn coinbase(text: &str) -> Result<Address, ExecutorError> {
    address(without_prefix(text)).ok_or(ExecutorError::InvalidCoinbase)
}

/// Reads the sender of unsigned mode; "" and "0x" mean signed execution (executor-service §4.1 row 11, §5.2).
fn from(text: &str) -> Result<Option<Address>, ExecutorError> {
    match without_prefix(text) {
        "" => Ok(None),
        digits => address(digits).map(Some).ok_or(ExecutorError::InvalidFrom),
    }
}

fn trace_config_v1(config: wire::TraceConfig) -> TraceConfig {
    TraceConfig {
        disable_storage: config.disable_storage != 0,
        disable_stack: config.disable_stack != 0,
        enable_memory: config.enable_memory != 0,
        enable_return_data: config.enable_return_data != 0,
        tx_hash: Bytes(config.tx_hash_to_generate_full_trace),
    }
}

fn trace_config_v2(config: wire::TraceConfigV2) -> TraceConfig {
    TraceConfig {
        disable_storage: config.disable_storage != 0,
        disable_stack: config.disable_stack != 0,
        enable_memory: config.enable_memory != 0,
        enable_return_data: config.enable_return_data != 0,
        tx_hash: Bytes(config.tx_hash_to_generate_full_trace),
    }
}

/// When a long validation asks whether it should go on.
struct Looks<'a> {
    goes_on: &'a mut dyn FnMut(usize) -> bool,
    bytes: usize,
}

impl<'a> Looks<'a> {
    /// Bytes of a request from one question to the next: about a millisecond.
    const BYTES: usize = 1 << 18;
    /// Bytes that an entry counts as, whatever its length.
    const ENTRY_BYTES: usize = 128;

    fn new(goes_on: &'a mut dyn FnMut(usize) -> bool) -> Self {
        Self { goes_on, bytes: 0 }
    }

    /// Counts an entry of so many bytes. Fails with `error` if nobody waits any more.
    fn count(&mut self, bytes: usize, error: ExecutorError) -> Result<(), ExecutorError> {
        self.bytes = self.bytes.saturating_add(bytes).saturating_add(Self::ENTRY_BYTES);
        if self.bytes < Self::BYTES {
            return Ok(());
        }
        self.bytes = 0;
        if (self.goes_on)(0) { Ok(()) } else { Err(error) }
    }
}

/// Reads the nodes sent along; a value must not carry a `0x` (executor-service §4.1 row 14, §5.8).
fn db(entries: BTreeMap<String, String>, looks: &mut Looks<'_>) -> Result<SentNodes, ExecutorError> {
    let mut nodes = SentNodes::with_capacity_and_hasher(entries.len(), Default::default());
    for (key, value) in entries {
        looks.count(value.len(), ExecutorError::InvalidDbKey)?;
        let hash = digest(&key).ok_or(ExecutorError::InvalidDbKey)?;
        let elements = field_elements(&value).ok_or(ExecutorError::InvalidDbValue)?;
        nodes.insert(hash, elements.into());
    }
    Ok(nodes)
}

fn field_elements(digits: &str) -> Option<Vec<u64>> {
    if !is_hex(digits) || !digits.len().is_multiple_of(ELEMENT_HEX_DIGITS) {
        return None;
    }
    let elements = digits.as_bytes().chunks_exact(ELEMENT_HEX_DIGITS);
    Some(elements.map(|element| element.iter().fold(0, |sum, &d| sum << 4 | u64::from(nibble(d)))).collect())
}

/// Reads the programs sent along (executor-service §4.1 row 15).
fn contracts_bytecode(
    entries: BTreeMap<String, String>,
    looks: &mut Looks<'_>,
) -> Result<HashMap<Digest, Bytes>, ExecutorError> {
    let mut programs = HashMap::with_capacity(entries.len());
    for (key, value) in entries {
        let hash = digest(&key).ok_or(ExecutorError::InvalidContractsBytecodeKey)?;
        let code = code(&value, looks)?;
        programs.insert(hash, code);
    }
    Ok(programs)
}

/// Reads code in hex, `0x` allowed; an odd number of digits gets one leading zero (executor-service §3).
fn code(text: &str, looks: &mut Looks<'_>) -> Result<Bytes, ExecutorError> {
    let error = ExecutorError::InvalidContractsBytecodeValue;
    let digits = without_prefix(text).as_bytes();
    let (head, pairs) = digits.split_at(digits.len() % 2);
    let mut bytes = Vec::with_capacity(digits.len().div_ceil(2));
    for digits in std::iter::once(head).chain(pairs.chunks(Looks::BYTES)) {
        looks.count(digits.len(), error)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(error);
        }
        bytes.extend(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, &digit| byte << 4 | nibble(digit))));
    }
    Ok(bytes.into())
}

fn l1_info_tree_data(
    entries: BTreeMap<u32, wire::L1DataV2>,
    looks: &mut Looks<'_>,
) -> Result<HashMap<u32, L1InfoLeaf>, ExecutorError> {
    let mut leaves = HashMap::with_capacity(entries.len());
    for (index, entry) in entries {
        let global_exit_root = word(&entry.global_exit_root, ExecutorError::InvalidL1DataGlobalExitRoot)?;
        let block_hash_l1 = word(&entry.block_hash_l1, ExecutorError::InvalidL1DataBlockHashL1)?;
        let siblings = entry.smt_proof.iter().map(|item| {
            looks.count(item.len(), ExecutorError::InvalidL1SmtProof)?;
            word(item, ExecutorError::InvalidL1SmtProof)
        });
        let smt_proof = siblings.collect::<Result<_, _>>()?;
        let min_timestamp = entry.min_timestamp;
        leaves.insert(index, L1InfoLeaf { global_exit_root, block_hash_l1, min_timestamp, smt_proof });
    }
    Ok(leaves)
}

/// The fields of both `OverrideAccount` messages.
struct RawOverride {
    balance: prost::bytes::Bytes,
    nonce: u64,
    code: prost::bytes::Bytes,
    state: BTreeMap<String, String>,
    state_diff: BTreeMap<String, String>,
}

impl From<wire::OverrideAccount> for RawOverride {
    fn from(account: wire::OverrideAccount) -> Self {
        let wire::OverrideAccount { balance, nonce, code, state, state_diff } = account;
        Self { balance, nonce, code, state, state_diff }
    }
}

impl From<wire::OverrideAccountV2> for RawOverride {
    fn from(account: wire::OverrideAccountV2) -> Self {
        let wire::OverrideAccountV2 { balance, nonce, code, state, state_diff } = account;
        Self { balance, nonce, code, state, state_diff }
    }
}

/// Reads the replaced accounts. Their addresses have 40 hex digits in any case, with `0x`, `0X` or without; anything else, and
/// one account spelled twice, is refused. The original passes over all but one spelling (executor-service §5.9).
fn overrides(
    entries: impl Iterator<Item = (String, RawOverride)>,
    looks: &mut Looks<'_>,
) -> Result<HashMap<Address, AccountOverride>, ExecutorError> {
    let mut accounts = HashMap::new();
    for (key, raw) in entries {
        let account = account_override(raw, looks)?;
        let address = spelled_address(&key).ok_or(ExecutorError::InvalidFrom)?;
        if accounts.insert(address, account).is_some() {
            return Err(ExecutorError::InvalidFrom);
        }
    }
    Ok(accounts)
}

fn account_override(raw: RawOverride, looks: &mut Looks<'_>) -> Result<AccountOverride, ExecutorError> {
    let balance: U256 = word(&raw.balance, ExecutorError::InvalidBalance)?.into();
    let state = slots(&raw.state, looks)?;
    let state_diff = slots(&raw.state_diff, looks)?;
    Ok(AccountOverride {
        balance: (!raw.balance.is_empty()).then_some(balance),
        nonce: (raw.nonce > 0).then_some(raw.nonce),
        code: (!raw.code.is_empty()).then_some(Bytes(raw.code)),
        state: (!state.is_empty()).then_some(state),
        state_diff,
    })
}

fn slots(entries: &BTreeMap<String, String>, looks: &mut Looks<'_>) -> Result<HashMap<U256, U256>, ExecutorError> {
    let mut slots = HashMap::with_capacity(entries.len());
    for (key, value) in entries {
        looks.count(key.len(), ExecutorError::InvalidDbKey)?;
        let slot = number(without_prefix(key), WORD_HEX_DIGITS).ok_or(ExecutorError::InvalidDbKey)?;
        let value = number(without_prefix(value), WORD_HEX_DIGITS).ok_or(ExecutorError::InvalidDbValue)?;
        slots.insert(slot, value);
    }
    Ok(slots)
}

/// Checks the expectations of a test build; they are not compared with the result (executor-service §5.11).
fn expected_results(debug: &wire::DebugV2) -> Result<(), ExecutorError> {
    word(&debug.new_state_root, ExecutorError::InvalidNewStateRoot)?;
    word(&debug.new_acc_input_hash, ExecutorError::InvalidNewAccInputHash)?;
    word(&debug.new_local_exit_root, ExecutorError::InvalidNewLocalExitRoot)?;
    Ok(())
}

/// Removes the exact characters `0x`, never `0X` (executor-service §3).
fn without_prefix(text: &str) -> &str {
    text.strip_prefix("0x").unwrap_or(text)
}

/// True if every character is a hex digit: the empty text passes (executor-service §3).
fn is_hex(text: &str) -> bool {
    text.bytes().all(|digit| digit.is_ascii_hexdigit())
}

fn nibble(hex_digit: u8) -> u8 {
    match hex_digit {
        b'0'..=b'9' => hex_digit - b'0',
        b'a'..=b'f' => hex_digit - b'a' + 10,
        b'A'..=b'F' => hex_digit - b'A' + 10,
        _ => 0,
    }
}

/// Reads up to `digits_max` hex digits; fewer make a smaller number.
fn number(digits: &str, digits_max: usize) -> Option<U256> {
    if digits.len() > digits_max || !is_hex(digits) {
        return None;
    }
    let mut limbs = [0_u64; 4];
    for (position, digit) in digits.bytes().rev().enumerate() {
        limbs[position / ELEMENT_HEX_DIGITS] |= u64::from(nibble(digit)) << (4 * (position % ELEMENT_HEX_DIGITS));
    }
    Some(U256::from_limbs(limbs))
}

fn address(digits: &str) -> Option<Address> {
    number(digits, ADDRESS_HEX_DIGITS).map(|value| Address::from_word(value.into()))
}

/// Reads an address of exactly 20 bytes, in any spelling.
fn spelled_address(text: &str) -> Option<Address> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    (digits.len() == ADDRESS_HEX_DIGITS).then(|| address(digits)).flatten()
}

/// Reads a node or code hash: up to 64 digits, `0x` allowed.
fn digest(text: &str) -> Option<Digest> {
    number(without_prefix(text), WORD_HEX_DIGITS).map(Digest::from_u256)
}
