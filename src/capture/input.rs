//! A batch as an executor-input file: the shape of the public vectors (executor-service §12).

use std::collections::HashMap;

use revm::primitives::{B256, Bytes, U256};
use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use serde_json::{Map, Value, json};

use super::reads::Reads;
use zkevm_tree::Digest;
use zkevm_types::BatchRoots;
use zkevm_types::{AccountOverride, BatchContext, BatchInput, V2Context};

/// A rough size of one input's text without its nodes and programs.
const FIXED_BYTES: usize = 4096;
/// Twelve elements of sixteen digits, with key, quotes and indents.
pub(super) const NODE_TEXT_BYTES: usize = 512;

/// Returns the input as JSON. Zero and empty values are left out, keys are sorted.
///
/// With `run`, nodes and programs the batch has read are put in, and the roots it came to if it got that far: the file
/// then replays without a store. Other than the original's, the file carries `stateOverride` too: without it the batch
/// would not replay to the same root.
pub fn input_json(input: &BatchInput, run: Option<(&Reads, Option<BatchRoots>)>) -> Value {
    let mut file = File::default();
    file.put("forkID", json!(input.fork_id.get()));
    file.put("chainID", json!(input.chain_id));
    file.word("oldStateRoot", input.old_state_root);
    file.word("oldAccInputHash", input.old_acc_input_hash);
    file.number("oldNumBatch", input.old_batch_num);
    file.data("batchL2Data", &input.batch_l2_data);
    file.put("sequencerAddr", json!(format!("{:#x}", input.coinbase)));
    file.put("updateMerkleTree", json!(input.update_merkle_tree));
    file.flag("noCounters", input.no_counters);
    file.flag("getKeys", input.get_keys);
    if let Some(from) = input.from {
        file.put("from", json!(format!("{from:#x}")));
    }
    match &input.context {
        BatchContext::V1 { global_exit_root, eth_timestamp } => {
            file.word("globalExitRoot", *global_exit_root);
            file.number("timestamp", *eth_timestamp);
        }
        BatchContext::V2(context) => file.v2(context),
    }
    if let Some(trace) = &input.trace {
        file.flag("disableStorage", trace.disable_storage);
        file.flag("disableStack", trace.disable_stack);
        file.flag("enableMemory", trace.enable_memory);
        file.flag("enableReturnData", trace.enable_return_data);
        // Also when empty: without the key there would be no trace configuration at all.
        file.put("txHashToGenerateFullTrace", json!(format!("{:#x}", trace.tx_hash)));
    }
    file.object("stateOverride", input.state_override.iter().map(|(of, account)| (format!("{of:#x}"), over(account))));
    let nodes = input.db.iter().map(|(hash, elements)| node(hash, elements));
    let programs = input.contracts_bytecode.iter().map(|(hash, code)| program(hash, code));
    match run {
        None => {
            file.object("db", nodes);
            file.object("contractsBytecode", programs);
        }
        Some((reads, roots)) => {
            file.object("db", nodes.chain(reads.nodes.iter().map(|(hash, data)| node(hash, data))));
            let read = reads.programs.iter().map(|(hash, code)| program(hash, code));
            file.object("contractsBytecode", programs.chain(read));
            if let Some(roots) = roots {
                file.word("newStateRoot", roots.new_state_root);
                file.word("newAccInputHash", roots.new_acc_input_hash);
                file.word("newLocalExitRoot", roots.new_local_exit_root);
                file.number("newNumBatch", input.old_batch_num.saturating_add(1));
            }
        }
    }
    Value::Object(file.0)
}

/// Renders the file, four spaces to a level.
pub(super) fn text(file: &Value) -> Vec<u8> {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    "));
    // Writing values to memory cannot fail.
    let _ = file.serialize(&mut serializer);
    text.push(b'\n');
    text
}

/// Returns about how many bytes the text of an input takes.
pub(super) fn estimated_bytes(input: &BatchInput) -> usize {
    let programs: usize = input.contracts_bytecode.values().map(|code| 2 * code.len() + 128).sum();
    FIXED_BYTES + 2 * input.batch_l2_data.len() + input.db.len() * NODE_TEXT_BYTES + programs
}

#[derive(Default)]
struct File(Map<String, Value>);

impl File {
    fn put(&mut self, key: &str, value: Value) {
        self.0.insert(key.to_owned(), value);
    }

    fn word(&mut self, key: &str, word: B256) {
        if !word.is_zero() {
            self.put(key, hex_word(word));
        }
    }

    fn number(&mut self, key: &str, number: u64) {
        if number > 0 {
            self.put(key, json!(number));
        }
    }

    fn flag(&mut self, key: &str, set: bool) {
        if set {
            self.put(key, json!(true));
        }
    }

    /// Also when empty: no data is a valid batch, and an empty code an override.
    fn data(&mut self, key: &str, data: &Bytes) {
        self.put(key, json!(format!("{data:#x}")));
    }

    fn object(&mut self, key: &str, entries: impl Iterator<Item = (String, Value)>) {
        let entries: Map<String, Value> = entries.collect();
        if !entries.is_empty() {
            self.put(key, Value::Object(entries));
        }
    }

    fn v2(&mut self, context: &V2Context) {
        self.word("l1InfoRoot", context.l1_info_root);
        self.number("timestampLimit", context.timestamp_limit);
        self.word("forcedBlockHashL1", context.forced_blockhash_l1);
        self.flag("skipVerifyL1InfoRoot", context.skip_verify_l1_info_root);
        self.flag("skipFirstChangeL2Block", context.skip_first_change_l2_block);
        self.flag("skipWriteBlockInfoRoot", context.skip_write_block_info_root);
        let leaf = |(index, leaf): (&u32, &zkevm_types::L1InfoLeaf)| {
            let proof: Vec<Value> = leaf.smt_proof.iter().copied().map(hex_word).collect();
            let mut entry = File::default();
            entry.word("globalExitRoot", leaf.global_exit_root);
            entry.word("blockHash", leaf.block_hash_l1);
            entry.put("timestamp", json!(leaf.min_timestamp.to_string()));
            if !proof.is_empty() {
                entry.put("smtProof", Value::Array(proof));
            }
            (index.to_string(), Value::Object(entry.0))
        };
        self.object("l1InfoTree", context.l1_info_tree_data.iter().map(leaf));
    }
}

fn hex_word(word: B256) -> Value {
    json!(format!("{word:#x}"))
}

fn node(hash: &Digest, elements: &[u64]) -> (String, Value) {
    let elements: Vec<String> = elements.iter().map(|element| format!("{element:016x}")).collect();
    (hex::encode(hash.to_b256()), json!(elements))
}

fn program(hash: &Digest, code: &Bytes) -> (String, Value) {
    (hex::encode(hash.to_b256()), json!(format!("{code:#x}")))
}

fn over(account: &AccountOverride) -> Value {
    let slots = |slots: &HashMap<U256, U256>| -> Map<String, Value> {
        slots.iter().map(|(slot, value)| (format!("{slot:#066x}"), json!(format!("{value:#x}")))).collect()
    };
    let mut entry = File::default();
    if let Some(balance) = account.balance {
        entry.put("balance", json!(balance.to_string()));
    }
    if let Some(nonce) = account.nonce {
        entry.number("nonce", nonce);
    }
    if let Some(code) = &account.code {
        entry.data("code", code);
    }
    if let Some(state) = &account.state {
        entry.put("state", Value::Object(slots(state)));
    }
    entry.object("stateDiff", slots(&account.state_diff).into_iter());
    Value::Object(entry.0)
}
