//! [`BatchOutput`] → response messages, quirks included (executor-service §6 and §8.2, §8.3).
//!
//! The engine delivers what happened; here it gets the shapes the clients of each API version rely on. Block, batch and
//! transaction coordinates of logs are put in here.

use std::collections::BTreeMap;
use std::fmt::LowerHex;
use std::sync::Arc;

use alloy_primitives::{Address, B256, U256};
use prost::bytes::Bytes;

use super::proto::executor::v1 as wire;
use zkevm_types::FlushIds;
use zkevm_types::{BatchInput, BatchOutput, ExecutorError};
use zkevm_types::{BatchRoots, BlockOutput, LogOutput, TouchedAccount, TxOutput};
use zkevm_types::{ForkId, LogShape};

mod trace;

/// Values of the request and the server that an answer repeats.
#[derive(Clone, Debug)]
pub struct ResponseContext {
    /// Fork id of the request.
    pub fork_id: ForkId,
    /// State root before the batch, as sent.
    pub old_state_root: B256,
    /// Number of this batch.
    pub batch_num: u64,
    /// Identifies the process.
    pub prover_id: Arc<str>,
}

impl ResponseContext {
    /// Takes what the answer to `input` repeats.
    pub fn new(input: &BatchInput, prover_id: Arc<str>) -> Self {
        Self {
            fork_id: input.fork_id,
            old_state_root: input.old_state_root,
            batch_num: input.old_batch_num + 1,
            prover_id,
        }
    }
}

/// Makes the answer to a `ProcessBatch` request that failed validation: only the error is set (executor-service §4).
pub fn invalid_request_v1(error: ExecutorError) -> wire::ProcessBatchResponse {
    wire::ProcessBatchResponse { error: error.number(), ..Default::default() }
}

/// Makes the answer to a `ProcessBatchV2` request that failed validation: only the error is set (executor-service §4).
pub fn invalid_request_v2(error: ExecutorError) -> wire::ProcessBatchResponseV2 {
    wire::ProcessBatchResponseV2 { error: error.number(), ..Default::default() }
}

/// Makes the answer to `ProcessBatch` (executor-service §6.1, §6.2).
pub fn response_v1(output: BatchOutput, context: &ResponseContext, flush: FlushIds) -> wire::ProcessBatchResponse {
    let batch_hash = output.roots.map(|roots| roots.new_acc_input_hash);
    let (new_state_root, new_acc_input_hash, new_local_exit_root) = roots(output.roots);
    wire::ProcessBatchResponse {
        new_state_root,
        new_acc_input_hash,
        new_local_exit_root,
        // The sum is taken when the batch ends: an aborted one has none.
        cumulative_gas_used: if output.roots.is_some() { output.gas_used } else { 0 },
        responses: output.transactions.into_iter().map(|tx| tx_v1(tx, context.batch_num, batch_hash)).collect(),
        error: output.error.number(),
        read_write_addresses: accounts_v1(output.read_write_addresses),
        flush_id: flush.flush_id,
        stored_flush_id: flush.stored_flush_id,
        prover_id: context.prover_id.to_string(),
        fork_id: context.fork_id.get(),
        cnt_keccak_hashes: saturate(output.counters.keccaks),
        cnt_poseidon_hashes: saturate(output.counters.poseidons),
        cnt_poseidon_paddings: saturate(output.counters.poseidon_paddings),
        cnt_mem_aligns: saturate(output.counters.mem_aligns),
        cnt_arithmetics: saturate(output.counters.arithmetics),
        cnt_binaries: saturate(output.counters.binaries),
        cnt_steps: saturate(output.counters.steps),
        ..Default::default()
    }
}

/// Makes the answer to `ProcessBatchV2` (executor-service §6.1, §6.3).
pub fn response_v2(output: BatchOutput, context: &ResponseContext, flush: FlushIds) -> wire::ProcessBatchResponseV2 {
    let rules = context.fork_id.rules();
    let (new_state_root, new_acc_input_hash, new_local_exit_root) = roots(output.roots);
    let debug = (!output.error_log.is_empty()).then_some(wire::ResponseDebug { error_log: output.error_log });
    wire::ProcessBatchResponseV2 {
        new_state_root,
        new_acc_input_hash,
        new_local_exit_root,
        block_responses: output.blocks.into_iter().map(|block| block_v2(block, rules.logs)).collect(),
        error: output.error.number(),
        read_write_addresses: accounts_v2(output.read_write_addresses, rules.touched_accounts_in_full),
        flush_id: flush.flush_id,
        stored_flush_id: flush.stored_flush_id,
        prover_id: context.prover_id.to_string(),
        gas_used: if output.roots.is_some() { output.gas_used } else { 0 },
        smt_keys: output.smt_keys.into_iter().map(bytes32).collect(),
        program_keys: output.program_keys.into_iter().map(bytes32).collect(),
        fork_id: context.fork_id.get(),
        invalid_batch: output.invalid_batch.into(),
        error_rom: output.error_rom.number(),
        old_state_root: bytes32(context.old_state_root),
        debug,
        cnt_keccak_hashes: saturate(output.counters.keccaks),
        cnt_poseidon_hashes: saturate(output.counters.poseidons),
        cnt_poseidon_paddings: saturate(output.counters.poseidon_paddings),
        cnt_mem_aligns: saturate(output.counters.mem_aligns),
        cnt_arithmetics: saturate(output.counters.arithmetics),
        cnt_binaries: saturate(output.counters.binaries),
        cnt_steps: saturate(output.counters.steps),
        cnt_sha256_hashes: saturate(output.counters.sha256s),
        cnt_reserve_keccak_hashes: saturate(output.reserved.keccaks),
        cnt_reserve_poseidon_hashes: saturate(output.reserved.poseidons),
        cnt_reserve_poseidon_paddings: saturate(output.reserved.poseidon_paddings),
        cnt_reserve_mem_aligns: saturate(output.reserved.mem_aligns),
        cnt_reserve_arithmetics: saturate(output.reserved.arithmetics),
        cnt_reserve_binaries: saturate(output.reserved.binaries),
        cnt_reserve_steps: saturate(output.reserved.steps),
        cnt_reserve_sha256_hashes: saturate(output.reserved.sha256s),
        ..Default::default()
    }
}

/// 32 bytes each when the batch ran to its end, else empty.
fn roots(roots: Option<BatchRoots>) -> (Bytes, Bytes, Bytes) {
    match roots {
        Some(r) => (bytes32(r.new_state_root), bytes32(r.new_acc_input_hash), bytes32(r.new_local_exit_root)),
        None => Default::default(),
    }
}

fn tx_v1(tx: TxOutput, batch_num: u64, batch_hash: Option<B256>) -> wire::ProcessTransactionResponse {
    if is_bare_error(&tx) {
        return bare_error(&tx);
    }
    let log = |log: LogOutput| wire::Log {
        address: hex_prefixed(log.address),
        topics: log.topics.into_iter().map(bytes32).collect(),
        data: log.data.0,
        batch_number: batch_num,
        tx_hash: bytes32(tx.tx_hash),
        tx_index: tx.tx_index,
        batch_hash: batch_hash.map(bytes32).unwrap_or_default(),
        index: log.index,
    };
    wire::ProcessTransactionResponse {
        tx_hash: bytes32(tx.tx_hash),
        rlp_tx: tx.rlp_tx.0,
        r#type: 0,
        return_value: tx.return_value.0,
        gas_left: tx.gas_left,
        gas_used: tx.gas_used,
        gas_refunded: tx.gas_refunded,
        error: tx.error.number(),
        create_address: tx.create_address.map(hex_plain).unwrap_or_default(),
        state_root: bytes32(tx.state_root),
        logs: tx.logs.into_iter().map(log).collect(),
        full_trace: tx.full_trace.map(|full| trace::full_trace_v1(*full, batch_hash)),
        effective_gas_price: tx.effective_gas_price.map(hex_prefixed).unwrap_or_default(),
        effective_percentage: tx.effective_percentage.into(),
        has_gasprice_opcode: tx.has_gasprice_opcode.into(),
        has_balance_opcode: tx.has_balance_opcode.into(),
    }
}

/// True for the entry that stands for a batch which could not be decoded: it carries an error and nothing else
/// (executor-service §6.2, batch §3.3). Every real transaction has an RLP.
fn is_bare_error(tx: &TxOutput) -> bool {
    tx.rlp_tx.is_empty()
}

/// The entry carries what the end of the batch wrote to it: root and price, if it ran out of counters.
fn bare_error(tx: &TxOutput) -> wire::ProcessTransactionResponse {
    wire::ProcessTransactionResponse {
        error: tx.error.number(),
        state_root: if tx.state_root.is_zero() { Bytes::new() } else { bytes32(tx.state_root) },
        effective_gas_price: tx.effective_gas_price.map(hex_prefixed).unwrap_or_default(),
        ..Default::default()
    }
}

fn block_v2(block: BlockOutput, shape: LogShape) -> wire::ProcessBlockResponseV2 {
    let place = BlockPlace { number: block.block_number, hash: block.block_hash, shape };
    let logs = match shape {
        LogShape::Padded => Vec::new(),
        LogShape::Exact => place.block_logs(&block.transactions),
    };
    wire::ProcessBlockResponseV2 {
        parent_hash: bytes32(block.parent_hash),
        coinbase: hex_prefixed(block.coinbase),
        gas_limit: block.gas_limit,
        block_number: block.block_number,
        timestamp: block.timestamp,
        ger: bytes32(block.ger),
        block_hash_l1: bytes32(block.block_hash_l1),
        gas_used: block.gas_used,
        block_info_root: bytes32(block.block_info_root),
        block_hash: bytes32(block.block_hash),
        responses: block.transactions.into_iter().map(|tx| tx_v2(tx, place)).collect(),
        logs,
        error: block.error.number(),
    }
}

/// The coordinates of a block that its logs repeat.
#[derive(Clone, Copy)]
struct BlockPlace {
    number: u64,
    hash: B256,
    shape: LogShape,
}

impl BlockPlace {
    /// All logs of the block by index, each with the L2 hash of its transaction (executor-service §6.4).
    fn block_logs(self, transactions: &[TxOutput]) -> Vec<wire::LogV2> {
        let mut logs: Vec<_> = transactions
            .iter()
            .flat_map(|tx| tx.logs.iter().map(move |log| self.log(tx, log, bytes32(tx.tx_hash_l2))))
            .collect();
        logs.sort_by_key(|log| log.index);
        logs
    }

    fn log(self, tx: &TxOutput, log: &LogOutput, tx_hash_l2: Bytes) -> wire::LogV2 {
        wire::LogV2 {
            address: hex_prefixed(log.address),
            topics: log.topics.iter().copied().map(bytes32).collect(),
            data: log.data.0.clone(),
            block_number: self.number,
            tx_hash: bytes32(tx.tx_hash),
            tx_hash_l2,
            tx_index: tx.tx_index,
            block_hash: match self.shape {
                LogShape::Padded => Bytes::new(),
                LogShape::Exact => bytes32(self.hash),
            },
            index: log.index,
        }
    }
}

fn tx_v2(tx: TxOutput, place: BlockPlace) -> wire::ProcessTransactionResponseV2 {
    wire::ProcessTransactionResponseV2 {
        tx_hash: bytes32(tx.tx_hash),
        tx_hash_l2: bytes32(tx.tx_hash_l2),
        // The original never sets these two at transaction level (executor-service §6.4).
        block_hash: Bytes::new(),
        block_number: 0,
        r#type: 0,
        gas_left: tx.gas_left,
        gas_used: tx.gas_used,
        cumulative_gas_used: tx.cumulative_gas_used,
        gas_refunded: tx.gas_refunded,
        error: tx.error.number(),
        create_address: tx.create_address.map(hex_plain).unwrap_or_default(),
        state_root: bytes32(tx.state_root),
        logs: tx.logs.iter().map(|log| place.log(&tx, log, Bytes::new())).collect(),
        effective_gas_price: tx.effective_gas_price.map(hex_prefixed).unwrap_or_default(),
        effective_percentage: tx.effective_percentage.into(),
        has_gasprice_opcode: tx.has_gasprice_opcode.into(),
        has_balance_opcode: tx.has_balance_opcode.into(),
        status: tx.status.into(),
        full_trace: tx.full_trace.map(|full| trace::full_trace_v2(*full)),
        return_value: tx.return_value.0,
        rlp_tx: tx.rlp_tx.0,
    }
}

fn accounts_v1(accounts: BTreeMap<Address, TouchedAccount>) -> BTreeMap<String, wire::InfoReadWrite> {
    let account = |(address, account): (Address, TouchedAccount)| {
        let info = wire::InfoReadWrite { nonce: decimal(account.nonce), balance: decimal(account.balance) };
        (hex_prefixed(address), info)
    };
    accounts.into_iter().map(account).collect()
}

/// Code and storage are reported by the forks that do so `in_full` (executor-service §6.3).
fn accounts_v2(accounts: BTreeMap<Address, TouchedAccount>, in_full: bool) -> BTreeMap<String, wire::InfoReadWriteV2> {
    let account = |(address, account): (Address, TouchedAccount)| {
        let mut info = wire::InfoReadWriteV2 {
            nonce: decimal(account.nonce),
            balance: decimal(account.balance),
            ..Default::default()
        };
        if in_full {
            info.sc_code = account.code_hash.map(hex_plain).unwrap_or_default();
            info.sc_length = decimal(account.code_length);
            info.sc_storage = slots(account.storage);
        }
        (hex_prefixed(address), info)
    };
    accounts.into_iter().map(account).collect()
}

/// Slot → value, both minimal hex without `0x`.
fn slots(storage: BTreeMap<U256, U256>) -> BTreeMap<String, String> {
    storage.into_iter().map(|(slot, value)| (hex_plain(slot), hex_plain(value))).collect()
}

/// Empty for an item that was never touched; "0" is a real zero (executor-service §6.2).
fn decimal(value: Option<U256>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// A counter as the 32 bits of its field.
fn saturate(counter: u64) -> u32 {
    counter.try_into().unwrap_or(u32::MAX)
}

fn bytes32(word: B256) -> Bytes {
    Bytes::copy_from_slice(word.as_slice())
}

/// Lowercase hex with `0x`: 40 digits for an address, as few as needed for a number.
fn hex_prefixed(value: impl LowerHex) -> String {
    format!("{value:#x}")
}

/// Lowercase hex without `0x`: 40 digits for an address, as few as needed for a number.
fn hex_plain(value: impl LowerHex) -> String {
    format!("{value:x}")
}
