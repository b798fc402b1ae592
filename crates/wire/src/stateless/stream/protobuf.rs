//! Payloads that are messages of `datastream.v1`, as cdk-erigon sends them (later-forks §8.4). Fields that neither count nor have a
//! form are left out.

use alloy_primitives::B256;
use prost::Message;

use super::{Assembly, Block, BlockState, Entry, StreamError, padded_word};
use zkevm_types::L1InfoLeaf;

const BATCH_START: u32 = 1;
const L2_BLOCK: u32 = 2;
const TRANSACTION: u32 = 3;
const BATCH_END: u32 = 4;
const UPDATE_GER: u32 = 5;
const L2_BLOCK_END: u32 = 6;
/// Bytes of an address.
const ADDRESS_BYTES: usize = 20;

#[derive(Clone, PartialEq, Message)]
struct BatchStart {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint64, tag = "3")]
    fork_id: u64,
    #[prost(uint64, tag = "4")]
    chain_id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct L2Block {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint64, tag = "2")]
    batch_number: u64,
    #[prost(uint32, tag = "4")]
    delta_timestamp: u32,
    #[prost(uint64, tag = "5")]
    min_timestamp: u64,
    #[prost(bytes = "vec", tag = "6")]
    l1_blockhash: Vec<u8>,
    #[prost(uint32, tag = "7")]
    l1_infotree_index: u32,
    #[prost(bytes = "vec", tag = "8")]
    hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    state_root: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    global_exit_root: Vec<u8>,
    #[prost(bytes = "vec", tag = "11")]
    coinbase: Vec<u8>,
    #[prost(bytes = "vec", tag = "13")]
    block_info_root: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Transaction {
    #[prost(uint64, tag = "1")]
    l2block_number: u64,
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
    #[prost(uint32, tag = "5")]
    effective_gas_price_percentage: u32,
    #[prost(bytes = "vec", tag = "6")]
    im_state_root: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct BatchEnd {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(bytes = "vec", tag = "2")]
    local_exit_root: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    state_root: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct UpdateGer {
    #[prost(uint64, tag = "1")]
    batch_number: u64,
    #[prost(bytes = "vec", tag = "3")]
    global_exit_root: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    coinbase: Vec<u8>,
    #[prost(uint64, tag = "5")]
    fork_id: u64,
    #[prost(uint64, tag = "6")]
    chain_id: u64,
    #[prost(bytes = "vec", tag = "7")]
    state_root: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct L2BlockEnd {
    #[prost(uint64, tag = "1")]
    number: u64,
}

pub(super) fn read(entry: &Entry, assembly: &mut Assembly) -> Result<(), StreamError> {
    match entry.kind {
        BATCH_START => batch_start(message(entry)?, assembly),
        L2_BLOCK => l2_block(entry, message(entry)?, assembly),
        TRANSACTION => transaction(entry, message(entry)?, assembly),
        BATCH_END => batch_end(entry, message(entry)?, assembly),
        UPDATE_GER => update_ger(entry, message(entry)?, assembly),
        // A block stays open until the next one.
        L2_BLOCK_END => message::<L2BlockEnd>(entry).map(drop),
        kind => Err(StreamError::EntryType(kind)),
    }
}

fn batch_start(start: BatchStart, assembly: &mut Assembly) -> Result<(), StreamError> {
    if assembly.batch.is_some() {
        return Err(StreamError::Order("more than one batch"));
    }
    if [start.number, start.fork_id].contains(&0) {
        return Err(StreamError::Order("a batch without number or fork"));
    }
    assembly.batch(start.number, kept_fork_id(start.fork_id), kept_chain_id(start.chain_id))
}

fn l2_block(entry: &Entry, block: L2Block, assembly: &mut Assembly) -> Result<(), StreamError> {
    for hash in [&block.hash, &block.state_root, &block.block_info_root] {
        word(entry, hash)?;
    }
    address(entry, &block.coinbase)?;
    let is_complete = !block.hash.is_empty() && !block.state_root.is_empty();
    let state_root = word(entry, &block.state_root)?;
    assembly.open_block(Block {
        batch_number: block.batch_number,
        number: block.number,
        delta_timestamp: block.delta_timestamp,
        l1_info_index: block.l1_infotree_index,
        l1_info: L1InfoLeaf {
            global_exit_root: word(entry, &block.global_exit_root)?,
            block_hash_l1: word(entry, &block.l1_blockhash)?,
            min_timestamp: block.min_timestamp & u64::from(u32::MAX),
            ..L1InfoLeaf::default()
        },
        state: if is_complete { BlockState::Open } else { BlockState::Incomplete },
    })?;
    if let Some(batch) = &mut assembly.batch {
        batch.block_roots.push(state_root);
    }
    Ok(())
}

fn transaction(entry: &Entry, tx: Transaction, assembly: &mut Assembly) -> Result<(), StreamError> {
    word(entry, &tx.im_state_root)?;
    if assembly.latest_block.map(|(number, _)| number) != Some(tx.l2block_number) {
        return Err(StreamError::Order("a transaction of another block"));
    }
    let [percentage, ..] = tx.effective_gas_price_percentage.to_le_bytes();
    assembly.transaction(percentage, &tx.encoded)
}

fn batch_end(entry: &Entry, end: BatchEnd, assembly: &mut Assembly) -> Result<(), StreamError> {
    word(entry, &end.local_exit_root)?;
    if assembly.batch.as_ref().map(|batch| batch.number) != Some(end.number) {
        return Err(StreamError::Order("an end of another batch"));
    }
    assembly.final_root = root(entry, &end.state_root)?;
    Ok(())
}

/// Checks an update of the global exit root, which has no other effect: batches with L2 blocks have none of their own.
fn update_ger(entry: &Entry, update: UpdateGer, assembly: &mut Assembly) -> Result<(), StreamError> {
    word(entry, &update.global_exit_root)?;
    address(entry, &update.coinbase)?;
    let of = (update.batch_number, kept_fork_id(update.fork_id), kept_chain_id(update.chain_id));
    if assembly.batch.as_ref().map(|batch| (batch.number, batch.fork_id, batch.chain_id)) != Some(of) {
        return Err(StreamError::Order("a global exit root of another batch, fork or chain"));
    }
    if root(entry, &update.state_root)? != assembly.final_root {
        return Err(StreamError::Order("a global exit root with another root than the batch"));
    }
    Ok(())
}

const fn kept_fork_id(fork_id: u64) -> u64 {
    fork_id & 0xffff
}

const fn kept_chain_id(chain_id: u64) -> u64 {
    chain_id & 0xffff_ffff
}

fn message<M: Message + Default>(entry: &Entry) -> Result<M, StreamError> {
    M::decode(entry.payload).map_err(|_| entry.malformed())
}

fn word(entry: &Entry, bytes: &[u8]) -> Result<B256, StreamError> {
    padded_word(bytes).ok_or(entry.malformed())
}

/// Returns a root, `None` of no bytes.
fn root(entry: &Entry, bytes: &[u8]) -> Result<Option<B256>, StreamError> {
    Ok(Some(word(entry, bytes)?).filter(|_| !bytes.is_empty()))
}

fn address(entry: &Entry, bytes: &[u8]) -> Result<(), StreamError> {
    if bytes.len() > ADDRESS_BYTES { Err(entry.malformed()) } else { Ok(()) }
}
