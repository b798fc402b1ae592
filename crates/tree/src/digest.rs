//! Four field elements: a hash, a root or a key ("H4", state-tree §3).

use alloy_primitives::{B256, U256};

/// The Goldilocks prime, 2^64 − 2^32 + 1.
pub const GOLDILOCKS_PRIME: u64 = 0xffff_ffff_0000_0001;

/// Four canonical field elements, least significant limb first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u64; 4]);

impl Digest {
    /// The hash of an empty subtree.
    pub const ZERO: Self = Self([0; 4]);

    /// True for the empty subtree.
    pub fn is_zero(&self) -> bool {
        self.0 == [0; 4]
    }

    /// Splits a 256-bit value into limbs, each reduced modulo the prime (state-tree §1).
    pub fn from_u256(value: U256) -> Self {
        Self(value.into_limbs().map(|limb| if limb >= GOLDILOCKS_PRIME { limb - GOLDILOCKS_PRIME } else { limb }))
    }

    /// Joins the limbs to a 256-bit value.
    pub fn to_u256(self) -> U256 {
        U256::from_limbs(self.0)
    }

    /// Returns the 32 bytes, most significant limb first.
    pub fn to_b256(self) -> B256 {
        self.to_u256().into()
    }
}

impl From<B256> for Digest {
    fn from(bytes: B256) -> Self {
        Self::from_u256(bytes.into())
    }
}

impl From<Digest> for B256 {
    fn from(digest: Digest) -> Self {
        digest.to_b256()
    }
}
