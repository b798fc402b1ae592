//! The data stream of one batch → `batch_l2_data` and what goes with it (later-forks §8.4, executor-service §5.10).
//!
//! A stream is a row of entries: u8 packet (2 data, 0 padding) ‖ u32 length, of header and payload ‖ u32 type ‖ u64 number ‖
//! payload. There are two sets of payloads. In zkevm-prover's own they have fixed offsets; those of cdk-erigon are protobuf
//! messages. Both begin with an entry of type 1: its first byte is the highest of a batch number, hence 0, in the one, and a
//! field's tag, never 0, in the other.
//!
//! Roots, hashes, times and the flag of a valid transaction are not compared with the execution: what decides is the form.
//! As the original does, this keeps the low bits of a fork id (16), a chain id (32), a minimum timestamp (32) and a percentage
//! (8).

use std::collections::HashMap;

use alloy_primitives::B256;

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
    /// L1 info by index, without proofs; the last block with an index decides.
    pub l1_info_tree_data: HashMap<u32, L1InfoLeaf>,
    /// Roots that the stream names, one a block; none if it has fixed places.
    pub block_roots: Vec<B256>,
    /// The stream has fixed places, and so no minimum timestamps.
    pub is_fixed: bool,
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
    let mut stream = None;
    while let Some(entry) = entries.next()? {
        if entry.kind == BOOKMARK {
            continue;
        }
        let is_fixed = *stream.get_or_insert(entry.payload.first() == Some(&0));
        if is_fixed {
            fixed::read(&entry, &mut assembly)?;
        } else {
            protobuf::read(&entry, &mut assembly)?;
        }
    }
    assembly.finish(stream.unwrap_or_default())
}

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

/// The batch as far as it has been read. Both kinds of streams are put together here.
#[derive(Default)]
struct Assembly {
    batch: Option<StreamBatch>,
    /// Number of the latest block, and whether it takes transactions.
    latest_block: Option<(u64, BlockState)>,
    /// Root that the batch's end says, if it has been read.
    final_root: Option<B256>,
}

/// What the latest block takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockState {
    /// Transactions.
    Open,
    /// None: its hash or state root is not there.
    Incomplete,
    /// None: it has ended.
    Closed,
}

/// The start of a block.
struct Block {
    batch_number: u64,
    number: u64,
    delta_timestamp: u32,
    l1_info_index: u32,
    l1_info: L1InfoLeaf,
    state: BlockState,
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
        let Some(batch) = self.batch.as_mut() else {
            return Err(StreamError::Order("a block in the wrong place"));
        };
        if block.batch_number != batch.number || batch.number == 0 {
            return Err(StreamError::Order("a block of another batch"));
        }
        let follows = self.latest_block.is_none_or(|(latest, _)| latest.checked_add(1) == Some(block.number));
        if block.number == 0 || !follows {
            return Err(StreamError::Order("a block number that does not follow"));
        }
        self.latest_block = Some((block.number, block.state));
        if has_room(batch) {
            batch.batch_l2_data.push(CHANGE_L2_BLOCK);
            batch.batch_l2_data.extend(block.delta_timestamp.to_be_bytes());
            batch.batch_l2_data.extend(block.l1_info_index.to_be_bytes());
            // Index 0 says that there is none.
            if block.l1_info_index != 0 {
                batch.l1_info_tree_data.insert(block.l1_info_index, block.l1_info);
            }
        }
        Ok(())
    }

    fn transaction(&mut self, percentage: u8, encoded: &[u8]) -> Result<(), StreamError> {
        let is_open = matches!(self.latest_block, Some((_, BlockState::Open)));
        let Some(batch) = self.batch.as_mut().filter(|_| is_open) else {
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
        if self.latest_block != Some((number, BlockState::Open)) {
            return Err(StreamError::Order("an end of a block that is not open"));
        }
        self.latest_block = Some((number, BlockState::Closed));
        Ok(())
    }

    /// Returns the batch. Its last block has ended if the stream is one that says so, else it must be complete.
    fn finish(self, is_fixed: bool) -> Result<StreamBatch, StreamError> {
        let complete = if is_fixed { BlockState::Closed } else { BlockState::Open };
        match (self.batch, self.latest_block) {
            (Some(batch), Some((_, state))) if state == complete => Ok(StreamBatch { is_fixed, ..batch }),
            (Some(_), Some((_, BlockState::Incomplete))) => {
                Err(StreamError::Order("a last block without hash or state root"))
            }
            (Some(_), Some(_)) => Err(StreamError::Order("a block without an end")),
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
                if matches!(assembly.latest_block, Some((_, BlockState::Open))) {
                    return Err(StreamError::Order("a block in the wrong place"));
                }
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
        let state = BlockState::Open;
        let block = Block { batch_number, number, delta_timestamp, l1_info_index, l1_info, state };
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

mod protobuf;

#[cfg(test)]
mod tests;
