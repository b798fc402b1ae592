//! The data stream of one batch → `batch_l2_data` and what goes with it (executor-service §5.10).
//!
//! A stream is a row of entries: u8 packet (2 data, 0 padding) ‖ u32 length, of header and payload ‖ u32 type ‖ u64 number ‖
//! payload. There are two sets of payloads. In zkevm-prover's own they have fixed offsets; those of cdk-erigon are protobuf
//! messages. Both begin with an entry of type 1: its first byte is the highest of a batch number, hence 0, in the one, and a
//! field's tag, never 0, in the other.
//!
//! The original keeps the low 32 bits of numbers of 64; here all count, and clients send none that large.

use std::collections::HashMap;

use alloy_primitives::B256;
use prost::Message;

use super::reader::{Reader, padded_word};
use super::transcode::append_transaction;
use zkevm_types::{BATCH_L2_DATA_MAX_BYTES, L1InfoLeaf};

/// Packet types.
const PADDING: u8 = 0;
const DATA: u8 = 2;
/// Bytes of an entry before its payload.
const ENTRY_HEADER_BYTES: usize = 17;
/// Type of the entries that help to find others.
const BOOKMARK: u32 = 0xb0;
/// First byte of a ChangeL2Block item (batch §3).
const CHANGE_L2_BLOCK: u8 = 0x0b;

/// The batch of a stream.
#[derive(Clone, Debug, Default)]
pub struct StreamBatch {
    /// Number of the batch.
    pub number: u64,
    /// Fork whose rules it follows.
    pub fork_id: u64,
    /// Chain id of the L2 network.
    pub chain_id: u64,
    /// The batch as it would stand on L1. Of one that is longer than [`BATCH_L2_DATA_MAX_BYTES`] only so much that it shows.
    pub batch_l2_data: Vec<u8>,
    /// L1 info by index, without proofs; the first block with an index decides.
    pub l1_info_tree_data: HashMap<u32, L1InfoLeaf>,
}

/// The reason why bytes are no stream of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Fewer bytes than an entry says, or a length that none has.
    #[error("an entry with a wrong length")]
    Length,
    /// Neither data nor padding.
    #[error("packet type {0}")]
    Packet(u8),
    /// Not an entry of this kind of stream.
    #[error("unknown entry type {0}")]
    EntryType(u32),
    /// The payload is not what its type says.
    #[error("a malformed entry of type {0}")]
    Payload(u32),
    /// Entries that do not fit together.
    #[error("{0}")]
    Order(&'static str),
    /// A transaction that cannot stand in a batch.
    #[error("a transaction that cannot stand in a batch: {0}")]
    Transaction(&'static str),
}

/// Reads the stream of one batch.
pub fn read_stream(bytes: &[u8]) -> Result<StreamBatch, StreamError> {
    let mut entries = Entries { reader: Reader::new(bytes) };
    let mut assembly = Assembly::default();
    let mut read: Option<ReadEntry> = None;
    while let Some(entry) = entries.next()? {
        if entry.kind == BOOKMARK {
            continue;
        }
        let is_fixed = entry.payload.first() == Some(&0);
        read.get_or_insert(if is_fixed { fixed::read } else { protobuf::read })(&entry, &mut assembly)?;
    }
    assembly.finish()
}

/// Reads an entry of one kind of stream.
type ReadEntry = fn(&Entry, &mut Assembly) -> Result<(), StreamError>;

struct Entry<'a> {
    kind: u32,
    payload: &'a [u8],
}

impl Entry<'_> {
    fn malformed(&self) -> StreamError {
        StreamError::Payload(self.kind)
    }
}

struct Entries<'a> {
    reader: Reader<'a>,
}

impl<'a> Entries<'a> {
    /// Returns the next entry with data.
    fn next(&mut self) -> Result<Option<Entry<'a>>, StreamError> {
        while !self.reader.is_empty() {
            let (packet, entry) = self.entry().ok_or(StreamError::Length)?;
            match packet {
                PADDING => {}
                DATA => return Ok(Some(entry)),
                packet => return Err(StreamError::Packet(packet)),
            }
        }
        Ok(None)
    }

    fn entry(&mut self) -> Option<(u8, Entry<'a>)> {
        let packet = self.reader.byte()?;
        let payload_bytes = usize::try_from(self.reader.u32()?).ok()?.checked_sub(ENTRY_HEADER_BYTES)?;
        let kind = self.reader.u32()?;
        let _number = self.reader.u64()?;
        Some((packet, Entry { kind, payload: self.reader.take(payload_bytes)? }))
    }
}

/// The batch as far as it has been read. Both kinds of streams are put together here, so both obey the same rules.
#[derive(Default)]
struct Assembly {
    batch: Option<StreamBatch>,
    /// Number of the latest block.
    latest_block: Option<u64>,
    is_open: bool,
    is_ended: bool,
}

/// The start of a block.
struct Block {
    batch_number: u64,
    number: u64,
    delta_timestamp: u32,
    l1_info_index: u32,
    l1_info: L1InfoLeaf,
}

impl Assembly {
    /// Says which batch it is. Saying it again must be saying the same.
    fn batch(&mut self, number: u64, fork_id: u64, chain_id: u64) -> Result<(), StreamError> {
        let batch =
            self.batch.get_or_insert_with(|| StreamBatch { number, fork_id, chain_id, ..StreamBatch::default() });
        if (batch.number, batch.fork_id, batch.chain_id) != (number, fork_id, chain_id) {
            return Err(StreamError::Order("more than one batch, fork or chain"));
        }
        Ok(())
    }

    fn open_block(&mut self, block: Block) -> Result<(), StreamError> {
        let Some(batch) = self.batch.as_mut().filter(|_| !self.is_ended && !self.is_open) else {
            return Err(StreamError::Order("a block in the wrong place"));
        };
        if block.batch_number != batch.number {
            return Err(StreamError::Order("a block of another batch"));
        }
        let follows = self.latest_block.is_none_or(|latest| latest.checked_add(1) == Some(block.number));
        if block.number == 0 || !follows {
            return Err(StreamError::Order("a block number that does not follow"));
        }
        (self.latest_block, self.is_open) = (Some(block.number), true);
        if has_room(batch) {
            batch.batch_l2_data.push(CHANGE_L2_BLOCK);
            batch.batch_l2_data.extend(block.delta_timestamp.to_be_bytes());
            batch.batch_l2_data.extend(block.l1_info_index.to_be_bytes());
            // Index 0 says that there is none.
            if block.l1_info_index != 0 {
                batch.l1_info_tree_data.entry(block.l1_info_index).or_insert(block.l1_info);
            }
        }
        Ok(())
    }

    fn transaction(&mut self, percentage: u8, encoded: &[u8]) -> Result<(), StreamError> {
        let Some(batch) = self.batch.as_mut().filter(|_| self.is_open) else {
            return Err(StreamError::Order("a transaction outside a block"));
        };
        let before = batch.batch_l2_data.len();
        let room = has_room(batch);
        append_transaction(&mut batch.batch_l2_data, encoded, batch.chain_id, percentage)
            .map_err(StreamError::Transaction)?;
        if !room {
            batch.batch_l2_data.truncate(before);
        }
        Ok(())
    }

    fn close_block(&mut self, number: u64) -> Result<(), StreamError> {
        if !self.is_open || self.latest_block != Some(number) {
            return Err(StreamError::Order("an end of a block that is not open"));
        }
        self.is_open = false;
        Ok(())
    }

    fn finish(self) -> Result<StreamBatch, StreamError> {
        match self.batch {
            Some(batch) if self.latest_block.is_some() && !self.is_open => Ok(batch),
            Some(_) if self.is_open => Err(StreamError::Order("a block without an end")),
            _ => Err(StreamError::Order("no block")),
        }
    }
}

/// False once it shows that the batch is too long: what follows is checked, but not kept.
fn has_room(batch: &StreamBatch) -> bool {
    batch.batch_l2_data.len() <= BATCH_L2_DATA_MAX_BYTES
}

/// Payloads with fixed offsets, as zkevm-prover v6 reads them. Numbers are big-endian.
mod fixed {
    use super::*;

    const START_BLOCK: u32 = 1;
    const TRANSACTION: u32 = 2;
    const END_BLOCK: u32 = 3;

    pub(super) fn read(entry: &Entry, assembly: &mut Assembly) -> Result<(), StreamError> {
        let mut payload = Reader::new(entry.payload);
        match entry.kind {
            START_BLOCK => {
                let (block, fork_id, chain_id) = start(&mut payload).ok_or(entry.malformed())?;
                assembly.batch(block.batch_number, fork_id, chain_id)?;
                assembly.open_block(block)
            }
            TRANSACTION => {
                let (percentage, encoded) = transaction(&mut payload).ok_or(entry.malformed())?;
                assembly.transaction(percentage, encoded)
            }
            END_BLOCK => {
                let number = end(&mut payload).ok_or(entry.malformed())?;
                assembly.close_block(number)
            }
            kind => Err(StreamError::EntryType(kind)),
        }
    }

    fn start(payload: &mut Reader) -> Option<(Block, u64, u64)> {
        let (batch_number, number, _timestamp) = (payload.u64()?, payload.u64()?, payload.u64()?);
        let (delta_timestamp, l1_info_index) = (payload.u32()?, payload.u32()?);
        let (block_hash_l1, global_exit_root) = (payload.word()?, payload.word()?);
        let _coinbase: [u8; 20] = payload.array()?;
        let (fork_id, chain_id) = (payload.u16()?, payload.u32()?);
        let l1_info = L1InfoLeaf { global_exit_root, block_hash_l1, ..L1InfoLeaf::default() };
        let block = Block { batch_number, number, delta_timestamp, l1_info_index, l1_info };
        payload.is_empty().then_some((block, fork_id.into(), chain_id.into()))
    }

    fn transaction<'a>(payload: &mut Reader<'a>) -> Option<(u8, &'a [u8])> {
        let (percentage, _is_valid, _state_root) = (payload.byte()?, payload.byte()?, payload.word()?);
        let length = usize::try_from(payload.u32()?).ok()?;
        let encoded = payload.take(length)?;
        payload.is_empty().then_some((percentage, encoded))
    }

    fn end(payload: &mut Reader) -> Option<u64> {
        let (number, _block_hash, _state_root) = (payload.u64()?, payload.word()?, payload.word()?);
        payload.is_empty().then_some(number)
    }
}

/// Payloads that are messages of `datastream.v1`, as cdk-erigon sends them. Fields that do not count here are left out.
mod protobuf {
    use super::*;

    const BATCH_START: u32 = 1;
    const L2_BLOCK: u32 = 2;
    const TRANSACTION: u32 = 3;
    const BATCH_END: u32 = 4;
    const UPDATE_GER: u32 = 5;
    const L2_BLOCK_END: u32 = 6;

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
        #[prost(bytes = "vec", tag = "10")]
        global_exit_root: Vec<u8>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Transaction {
        #[prost(uint64, tag = "1")]
        l2block_number: u64,
        #[prost(bytes = "vec", tag = "4")]
        encoded: Vec<u8>,
        #[prost(uint32, tag = "5")]
        effective_gas_price_percentage: u32,
    }

    /// The number of a block or batch that ends.
    #[derive(Clone, PartialEq, Message)]
    struct End {
        #[prost(uint64, tag = "1")]
        number: u64,
    }

    pub(super) fn read(entry: &Entry, assembly: &mut Assembly) -> Result<(), StreamError> {
        match entry.kind {
            BATCH_START => {
                let start: BatchStart = message(entry)?;
                if assembly.batch.is_some() {
                    return Err(StreamError::Order("more than one batch"));
                }
                assembly.batch(start.number, start.fork_id, start.chain_id)
            }
            L2_BLOCK => {
                let block: L2Block = message(entry)?;
                // Streams of before September 2024 do not say where a block ends.
                assembly.is_open = false;
                assembly.open_block(Block {
                    batch_number: block.batch_number,
                    number: block.number,
                    delta_timestamp: block.delta_timestamp,
                    l1_info_index: block.l1_infotree_index,
                    l1_info: L1InfoLeaf {
                        global_exit_root: word(entry, &block.global_exit_root)?,
                        block_hash_l1: word(entry, &block.l1_blockhash)?,
                        min_timestamp: block.min_timestamp,
                        ..L1InfoLeaf::default()
                    },
                })
            }
            TRANSACTION => {
                let tx: Transaction = message(entry)?;
                let percentage = u8::try_from(tx.effective_gas_price_percentage).map_err(|_| entry.malformed())?;
                if assembly.latest_block != Some(tx.l2block_number) {
                    return Err(StreamError::Order("a transaction of another block"));
                }
                assembly.transaction(percentage, &tx.encoded)
            }
            L2_BLOCK_END => {
                let end: End = message(entry)?;
                assembly.close_block(end.number)
            }
            BATCH_END => {
                let end: End = message(entry)?;
                if assembly.batch.as_ref().map(|batch| batch.number) != Some(end.number) {
                    return Err(StreamError::Order("an end of another batch"));
                }
                (assembly.is_open, assembly.is_ended) = (false, true);
                Ok(())
            }
            // Of batches before L2 blocks.
            UPDATE_GER => Ok(()),
            kind => Err(StreamError::EntryType(kind)),
        }
    }

    fn message<M: Message + Default>(entry: &Entry) -> Result<M, StreamError> {
        M::decode(entry.payload).map_err(|_| entry.malformed())
    }

    fn word(entry: &Entry, bytes: &[u8]) -> Result<B256, StreamError> {
        padded_word(bytes).ok_or(entry.malformed())
    }
}

#[cfg(test)]
mod tests;
