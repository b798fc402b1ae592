//! The strict grammar of `batch_l2_data` (batch §3).

use alloy_primitives::{Address, B256, Bytes, U256};

use super::Transaction;
use zkevm_types::RomError;
use zkevm_types::{ApiVersion, ForkRules};

/// First byte of a ChangeL2Block item.
const CHANGE_L2_BLOCK_PREFIX: u8 = 0x0b;
/// Bytes after the prefix: delta timestamp and L1 info tree index.
const CHANGE_L2_BLOCK_PAYLOAD_BYTES: usize = 8;
/// Bytes of r, s and v after the RLP list.
const SIGNATURE_BYTES: usize = 65;
/// Bytes one keccak-f permutation absorbs.
const KECCAK_RATE_BYTES: u64 = 136;

/// One item of a batch.
#[derive(Clone, Debug)]
pub enum BatchItem {
    /// Opens an L2 block (V2).
    ChangeL2Block {
        /// Seconds after the previous block.
        delta_timestamp: u32,
        /// Index into the L1 info tree, 0 for none.
        l1_info_index: u32,
    },
    /// A transaction.
    Transaction(Box<Transaction>),
}

impl BatchItem {
    /// Returns the transaction, if it is one.
    pub fn transaction(&self) -> Option<&Transaction> {
        match self {
            Self::Transaction(tx) => Some(tx),
            Self::ChangeL2Block { .. } => None,
        }
    }
}

/// Parses the whole batch; one bad item discards all of them (batch §3.2).
///
/// `implicit_block` says that transactions may come without a ChangeL2Block before them: the batch is forced, or the first
/// ChangeL2Block is skipped on request. `forced` batches may hold no ChangeL2Block at all.
pub fn decode(data: &Bytes, rules: &ForkRules, forced: bool, implicit_block: bool) -> Result<Vec<BatchItem>, RomError> {
    let mut items = Vec::new();
    decode_into(&mut items, data, rules, forced, implicit_block)?;
    Ok(items)
}

/// Parses as [`decode`] does; items that come before a bad one are left in `items`.
pub fn decode_into(
    items: &mut Vec<BatchItem>,
    data: &Bytes,
    rules: &ForkRules,
    forced: bool,
    implicit_block: bool,
) -> Result<(), RomError> {
    decode_from(DecodedSoFar::default(), items, data, rules, forced, implicit_block).map(|_| ())
}

/// How far a batch is decoded, at the end of an item. A batch that begins with the same bytes goes on from there: what was
/// asked of each item is asked again of the longer batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecodedSoFar {
    bytes: usize,
    keccaks_used: u64,
    /// The most keccaks that a transaction asked for, with those used before it and without the digest of the batch; 0 if none
    /// asked for any.
    most_keccaks: u64,
}

/// Parses what comes behind `so_far`, into `items`, and returns how far it came. The error is that of the whole batch; items
/// before `so_far` are not among `items`, even if the bad one is there.
pub fn decode_from(
    so_far: DecodedSoFar,
    items: &mut Vec<BatchItem>,
    data: &Bytes,
    rules: &ForkRules,
    forced: bool,
    implicit_block: bool,
) -> Result<DecodedSoFar, RomError> {
    let has_blocks = rules.api == ApiVersion::V2;
    let mut cursor = Cursor { data, position: so_far.bytes, so_far };
    if so_far.most_keccaks > 0 && so_far.most_keccaks + cursor.batch_digest() > rules.counters_max().keccaks {
        return Err(RomError::OutOfCountersKeccak);
    }
    while cursor.position < data.len() {
        if has_blocks && data[cursor.position] == CHANGE_L2_BLOCK_PREFIX {
            items.push(cursor.change_l2_block(forced)?);
            continue;
        }
        if has_blocks && cursor.position == 0 && !implicit_block {
            return Err(RomError::InvalidNotFirstTxChangeL2Block);
        }
        items.push(BatchItem::Transaction(Box::new(cursor.transaction(rules)?)));
    }
    Ok(DecodedSoFar { bytes: cursor.position, ..cursor.so_far })
}

struct Cursor<'a> {
    data: &'a Bytes,
    position: usize,
    /// Its number of bytes is that at the start.
    so_far: DecodedSoFar,
}

impl Cursor<'_> {
    fn change_l2_block(&mut self, forced: bool) -> Result<BatchItem, RomError> {
        let start = self.position + 1;
        let payload = self
            .data
            .get(start..start + CHANGE_L2_BLOCK_PAYLOAD_BYTES)
            .filter(|_| !forced)
            .ok_or(RomError::InvalidDecodeChangeL2Block)?;
        self.position = start + CHANGE_L2_BLOCK_PAYLOAD_BYTES;
        let word = |at: usize| u32::from_be_bytes([payload[at], payload[at + 1], payload[at + 2], payload[at + 3]]);
        Ok(BatchItem::ChangeL2Block { delta_timestamp: word(0), l1_info_index: word(4) })
    }

    fn transaction(&mut self, rules: &ForkRules) -> Result<Transaction, RomError> {
        let invalid = RomError::InvalidRlp;
        let start = self.position;
        let (header_bytes, list_bytes) = self.list_header().ok_or(invalid)?;
        self.reserve_keccaks(header_bytes + list_bytes, rules)?;
        self.position = start + header_bytes;
        let end = self.position + list_bytes;
        let tx = self.fields(end).ok_or(invalid)?;
        let signed = start..end;
        let signature = self.data.get(end..end + SIGNATURE_BYTES).ok_or(invalid)?;
        let mut next = end + SIGNATURE_BYTES;
        let mut percentage = 0;
        if rules.effective_percentage {
            percentage = *self.data.get(next).ok_or(invalid)?;
            next += 1;
        }
        self.position = next;
        Ok(Transaction {
            signed_rlp: self.data.slice(signed),
            r: B256::from_slice(&signature[..32]),
            s: B256::from_slice(&signature[32..64]),
            v: signature[64],
            percentage,
            ..tx
        })
    }

    /// The ROM reserves the keccaks of the signing hash before it reads the fields, so an absurd length is an
    /// out-of-counters error rather than an RLP error (batch §3.1).
    fn reserve_keccaks(&mut self, rlp_bytes: usize, rules: &ForkRules) -> Result<(), RomError> {
        let rlp_bytes = rlp_bytes as u64;
        // A list that is shorter than a block asks for nothing.
        let asked = (rlp_bytes + 1) / KECCAK_RATE_BYTES;
        if asked > 0 {
            let keccaks = self.so_far.keccaks_used + 1 + asked;
            if keccaks + self.batch_digest() > rules.counters_max().keccaks {
                return Err(RomError::OutOfCountersKeccak);
            }
            self.so_far.most_keccaks = self.so_far.most_keccaks.max(keccaks);
        }
        let recovery = u64::from(rules.api == ApiVersion::V2);
        self.so_far.keccaks_used += (rlp_bytes + 1).div_ceil(KECCAK_RATE_BYTES) + recovery;
        Ok(())
    }

    /// Keccaks that are kept for the digest of the batch.
    fn batch_digest(&self) -> u64 {
        (self.data.len() as u64 + 1) / KECCAK_RATE_BYTES + 2
    }

    /// Returns the header's own length and the length it declares.
    fn list_header(&self) -> Option<(usize, usize)> {
        let first = *self.data.get(self.position)?;
        match first {
            0xc1..=0xf7 => Some((1, usize::from(first - 0xc0))),
            0xf8..=0xfa => self.long_length(self.position + 1, usize::from(first - 0xf7)),
            _ => None,
        }
    }

    /// Reads `size` big-endian length bytes: no leading zero, at least 56.
    fn long_length(&self, at: usize, size: usize) -> Option<(usize, usize)> {
        let bytes = self.data.get(at..at + size)?;
        let length = bytes.iter().fold(0usize, |acc, &b| acc << 8 | usize::from(b));
        (bytes[0] != 0 && length >= 56).then_some((1 + size, length))
    }

    fn fields(&mut self, end: usize) -> Option<Transaction> {
        let nonce = self.integer(8, end)?.to::<u64>();
        let gas_price = self.integer(32, end)?;
        let gas_limit = self.integer(8, end)?.to::<u64>();
        let to = self.recipient(end)?;
        let value = self.integer(32, end)?;
        let data = self.bytes(end)?;
        let mut chain_id = None;
        if self.position != end {
            chain_id = Some(self.integer(8, end)?.to::<u64>());
            if end.checked_sub(self.position)? != 2 || self.data.get(self.position..end)? != [0x80, 0x80] {
                return None;
            }
        }
        Some(Transaction {
            nonce,
            gas_price,
            gas_limit,
            to,
            value,
            data,
            chain_id,
            r: B256::ZERO,
            s: B256::ZERO,
            v: 0,
            percentage: 0,
            signed_rlp: Bytes::new(),
        })
    }

    /// Takes `length` bytes, which may not cross the end of the list or of the batch.
    fn take(&mut self, length: usize, end: usize) -> Option<&[u8]> {
        let next = self.position.checked_add(length).filter(|&next| next <= end)?;
        let bytes = self.data.get(self.position..next)?;
        self.position = next;
        Some(bytes)
    }

    fn integer(&mut self, max_bytes: usize, end: usize) -> Option<U256> {
        let first = self.take(1, end)?[0];
        match first {
            0x00..=0x7f => Some(U256::from(first)),
            0x80 => Some(U256::ZERO),
            _ => {
                let length = usize::from(first - 0x80);
                if length > max_bytes {
                    return None;
                }
                let bytes = self.take(length, end)?;
                let canonical = bytes[0] != 0 && (length > 1 || bytes[0] >= 0x80);
                canonical.then(|| U256::from_be_slice(bytes))
            }
        }
    }

    fn recipient(&mut self, end: usize) -> Option<Option<Address>> {
        match self.take(1, end)?[0] {
            0x80 => Some(None),
            0x94 => Some(Some(Address::from_slice(self.take(20, end)?))),
            _ => None,
        }
    }

    fn bytes(&mut self, end: usize) -> Option<Bytes> {
        let first = self.take(1, end)?[0];
        let length = match first {
            0x00..=0x7f => return Some(Bytes::copy_from_slice(&[first])),
            0x80..=0xb7 => usize::from(first - 0x80),
            0xb8..=0xba => {
                let size = usize::from(first - 0xb7);
                let (_, length) = self.long_length(self.position, size)?;
                self.take(size, end)?;
                length
            }
            _ => return None,
        };
        let start = self.position;
        let bytes = self.take(length, end)?;
        if length == 1 && bytes[0] < 0x80 {
            return None;
        }
        Some(self.data.slice(start..start + length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zkevm_types::ForkId;

    fn rules(fork: u64) -> &'static ForkRules {
        ForkId::new(fork).unwrap().rules()
    }

    /// The transaction of batch §16.1.
    const TRANSFER: &str = "ef80843b9aca00830186a0944d5cf5032b2a844602278b01199ed191a86c93ff8901314fb37062980000808203e88080\
        f9ea8e90ae323e360a22bd0b1a972d15cb33df6ccbfbada4a0d49792d1164ea56029d84d5093a7186fb5bf2f1b7258d57e9c09ac89c4cb8eb44a3c961c4dd89b1bff";

    fn bytes(hex: &str) -> Bytes {
        hex::decode(hex.replace(char::is_whitespace, "")).unwrap().into()
    }

    #[test]
    fn reads_the_transfer_of_the_specification() {
        let items = decode(&bytes(TRANSFER), rules(6), false, false).unwrap();
        let [BatchItem::Transaction(tx)] = items.as_slice() else { panic!("{items:?}") };
        assert_eq!(tx.gas_price, U256::from(1_000_000_000));
        assert_eq!(tx.gas_limit, 100_000);
        assert_eq!(tx.value, U256::from(22_000_000_000_000_000_000_u128));
        assert_eq!(tx.chain_id, Some(1000));
        assert_eq!((tx.v, tx.percentage), (27, 255));
        assert_eq!(tx.signed_rlp.len(), 48);
    }

    #[test]
    fn a_missing_percentage_byte_is_invalid_rlp() {
        let data = bytes(TRANSFER);
        let short = data.slice(..data.len() - 1);
        assert_eq!(decode(&short, rules(6), false, false).unwrap_err(), RomError::InvalidRlp);
        assert!(decode(&short, rules(4), false, false).is_ok());
    }

    #[test]
    fn block_items_follow_the_rules_of_the_batch_kind() {
        let with_block = bytes(&format!("0b73e6af6f00000000{TRANSFER}"));
        assert_eq!(decode(&with_block, rules(9), false, false).unwrap().len(), 2);
        let without = bytes(TRANSFER);
        assert_eq!(decode(&without, rules(9), false, false).unwrap_err(), RomError::InvalidNotFirstTxChangeL2Block);
        assert!(decode(&without, rules(9), false, true).is_ok());
        assert_eq!(decode(&with_block, rules(9), true, true).unwrap_err(), RomError::InvalidDecodeChangeL2Block);
        assert_eq!(
            decode(&bytes("0b00000000000000"), rules(9), false, false).unwrap_err(),
            RomError::InvalidDecodeChangeL2Block
        );
        assert_eq!(decode(&with_block, rules(6), false, false).unwrap_err(), RomError::InvalidRlp);
    }

    #[test]
    fn absurd_list_lengths_run_out_of_keccaks_before_they_are_invalid() {
        for (data, error) in [
            ("fa04b000", RomError::OutOfCountersKeccak),
            ("faffffff", RomError::OutOfCountersKeccak),
            ("fa010000", RomError::InvalidRlp),
            ("c0", RomError::InvalidRlp),
            ("fb00000100", RomError::InvalidRlp),
            ("f837", RomError::InvalidRlp),
        ] {
            assert_eq!(decode(&bytes(data), rules(6), false, false).unwrap_err(), error, "{data}");
        }
        // The bound follows the fork's limit: 2258, 4634 and 9386 digests of 136 bytes.
        for (fork, bound_bytes) in [(9, 306_810), (10, 629_946), (11, 1_276_218), (12, 1_276_218), (13, 1_276_218)] {
            let declares = |length: u32| format!("0b0000000000000000fa{}", hex::encode(&length.to_be_bytes()[1..]));
            let error = |length| decode(&bytes(&declares(length)), rules(fork), false, false).unwrap_err();
            assert_eq!(error(bound_bytes), RomError::InvalidRlp, "fork {fork}");
            assert_eq!(error(bound_bytes + 1), RomError::OutOfCountersKeccak, "fork {fork}");
        }
    }
}
