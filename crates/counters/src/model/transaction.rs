//! Prices of a batch, its blocks and its transactions outside the EVM (counters §8, §9).

use revm::primitives::{U256, uint};
use secp256k1::PublicKey;

use super::{Counters, Prices, accesses, digest, keccaks, rows};
use crate::lengths::{keccak_blocks, poseidon_blocks};

/// What decoding a transaction is priced by (counters §9.1).
#[derive(Clone, Copy, Debug)]
pub(crate) struct DecodedTx {
    /// Bytes in the batch: list, signature and percentage.
    pub(crate) bytes: u64,
    /// Bytes of call data or init code.
    pub(crate) data_bytes: u64,
    /// Byte lengths of gas price, gas limit, value, chain id and nonce; at least 1 each, 0 for a missing chain id.
    pub(crate) number_bytes: [u64; 5],
    /// How far recovery gets.
    pub(crate) signature: SignatureClass,
}

/// How far the recovery of a signature gets (counters §9.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureClass {
    /// Out of range.
    Rejected,
    /// r is not the x of a curve point.
    NoRoot,
    /// The rest.
    Root,
}

/// Order of secp256k1.
pub(crate) const SECP256K1_ORDER: U256 = uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);

impl SignatureClass {
    /// Returns the class of a signature. `s_max` is half the order for a transaction, all but one of it for ECRECOVER.
    pub(crate) fn of(v: U256, r: U256, s: U256, s_max: U256) -> Self {
        if r.is_zero()
            || r >= SECP256K1_ORDER
            || s.is_zero()
            || s > s_max
            || (v != U256::from(27) && v != U256::from(28))
        {
            return Self::Rejected;
        }
        let mut point = [2; 33];
        point[1..].copy_from_slice(&r.to_be_bytes::<32>());
        if PublicKey::from_slice(&point).is_ok() { Self::Root } else { Self::NoRoot }
    }

    /// Returns the price.
    pub(crate) const fn price(self) -> Counters {
        match self {
            Self::Rejected => rows(45, 2, 8, 0),
            Self::NoRoot => rows(4527, 1014, 10, 0),
            Self::Root => Counters::from_array([6294, 528, 523, 0, 1, 0, 0, 0]),
        }
    }
}

/// The call or creation part of a transaction or an opcode, with the length it is priced by (counters §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallPart {
    /// Bytes of the code called.
    Call(u64),
    /// Bytes a creation transaction returns.
    Deploy(u64),
    /// Bytes of CREATE's init code.
    Create(u64),
    /// Bytes of CREATE2's init code.
    Create2(u64),
}

impl Prices {
    /// Price of a batch of so many bytes that decodes.
    pub(crate) fn batch(&self, bytes: u64) -> Counters {
        rows(322, 0, self.revision.batch_binaries, 0)
            + self.div()
            + keccaks(2 + keccak_blocks(bytes))
            + accesses(2 * Self::SMALL_TREE + 2 * self.batch_access)
    }

    /// Price of decoding a ChangeL2Block.
    pub(crate) fn decode_block(&self) -> Counters {
        rows(50, 0, 0, 0)
    }

    /// Price of opening a block, with or without an L1 info entry. A forced batch opens its one block with.
    pub(crate) fn open_block(&self, has_l1_info: bool) -> Counters {
        let base = rows(130, 0, 17, 0) + keccaks(2) + accesses(8 * Self::SMALL_TREE) + self.tree(6);
        if has_l1_info || self.revision.l1_info_always {
            return base + rows(250, 0, self.revision.l1_info_binaries, 0) + keccaks(33);
        }
        base
    }

    /// Price of decoding a transaction.
    pub(crate) fn decode(&self, tx: &DecodedTx) -> Counters {
        let data = tx.data_bytes;
        let mut price = rows(502, 0, 2, 0) + self.div() + rows(170 + 20 * (data / 32), 0, 0, 0) + self.shift_left();
        price += self.byte_length(3);
        for bytes in tx.number_bytes.into_iter().filter(|&bytes| bytes > 0) {
            price += self.byte_length(bytes);
        }
        // A missing number still passes the loop's entry.
        let missing = tx.number_bytes.iter().filter(|&&bytes| bytes == 0).count() as u64;
        price += self.byte_length(0).times(missing);
        if data >= 56 {
            price += self.byte_length(data);
        }
        price += (rows(35, 0, 1, 0) + self.shift_right()).times(data);
        price + keccaks(keccak_blocks(tx.bytes)) + digest(3 + poseidon_blocks(tx.bytes)) + tx.signature.price()
    }

    /// Bound for the data of a transaction: the model's loops, and its length priced as the number it is instead of by a
    /// pass over its bytes (counters §20 names this departure). A long list has its length read as well.
    pub(crate) fn data_bound(&self, bytes: u64) -> Counters {
        let loops = rows(20 * (bytes / 32), 0, 0, 0) + (rows(35, 0, 1, 0) + self.shift_right()).times(bytes);
        rows(100, 2, 10, 0) + loops + self.shift_left() + self.byte_length(3).times(2)
    }

    /// Price of processing a transaction that passed its checks, its call or creation part included.
    pub(crate) fn process(&self, part: CallPart) -> Counters {
        rows(300, 2, self.revision.process_binaries, 0)
            + Counters::from_array([0, 0, 0, 0, 1, 5, 0, 0])
            + self.tree(14)
            + self.cold_account().times(2)
            + rows(10, 0, 1, 0).times(4)
            + self.div()
            + self.mul().times(4)
            + rows(20, 0, 0, 0)
            + accesses(3 * Self::SMALL_TREE)
            + self.part(part)
    }

    /// Price of a call or creation part.
    pub(crate) fn part(&self, part: CallPart) -> Counters {
        let base = rows(65, 0, 10, 0) + digest(1) + self.tree(6);
        let creation =
            |bytes| base + rows(15, 0, 2, 0) + self.tree(2) + self.starts_with_ef() + self.linear_hash(bytes);
        match part {
            CallPart::Call(bytes) => {
                let long = if bytes >= 56 { self.div() } else { Counters::default() };
                base + long + digest(poseidon_blocks(bytes))
            }
            CallPart::Deploy(bytes) => creation(bytes),
            CallPart::Create(bytes) => creation(bytes) + rows(40, 0, 0, 0) + keccaks(1) + self.mask_address(),
            CallPart::Create2(bytes) => {
                creation(bytes)
                    + rows(40, 0, 0, 0)
                    + keccaks(2 + keccak_blocks(bytes))
                    + self.div()
                    + self.memory_word().times(bytes / 32)
                    + self.memory_part()
                    + self.shift_right()
                    + self.mask_address()
            }
        }
    }
}
