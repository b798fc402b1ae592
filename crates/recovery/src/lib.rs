//! Public keys of secp256k1 signatures, eight at a time where the processor can.
//!
//! Decides: how keys are recovered, and by whom: eight lanes of AVX-512 IFMA for two signatures or more, libsecp256k1 on all
//! other processors, for a single signature, and as judge of every lane the lanes are not sure of. Must not know: what is
//! signed, what makes a transaction's signature valid beside having a key, addresses, who remembers what.
//!
//! Nothing here is secret, so that nothing takes constant time.
//!
//! The curve's formulas are those of the textbooks; how they are put together, the bounds of the limbs and why no step looks
//! for equal points is written where it is done (`simd/field.rs`, `simd/point.rs`) and in `docs/decisions/019`.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]
// What only the lanes need.
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, unused_imports))]

mod digits;
mod scalars;
#[cfg(target_arch = "x86_64")]
mod simd;
mod single;

use std::sync::LazyLock;

use alloy_primitives::{B256, U256};

pub use scalars::Scalars;
use single::generator_multiples;

/// A signature and what it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    /// Signed hash.
    pub hash: B256,
    /// r, not range-checked.
    pub r: B256,
    /// s, not range-checked.
    pub s: B256,
    /// True if y of the point whose x is r is odd.
    pub is_odd: bool,
}

impl Signature {
    /// Returns r and s if both are from 1 to n − 1.
    fn in_range(&self) -> Option<(U256, U256)> {
        Some((scalars::in_range(self.r)?, scalars::in_range(self.s)?))
    }
}

/// A public key: x and y, big endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(pub [u8; 64]);

/// What is found out about one signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The key; `None` if r or s is out of range, r is the x of no point, or the key is the point at infinity.
    pub key: Option<Key>,
    /// The numbers that the key is made with; `None` if r is zero or not below n.
    pub scalars: Option<Scalars>,
    /// True if (r³ + 7)^((p+1)/4) is odd. Told by the lanes only, where there is a key.
    pub root_is_odd: Option<bool>,
}

/// What the lanes say of one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Key {
        key: Key,
        root_is_odd: bool,
    },
    Invalid,
    /// A formula did not hold, or the key is at infinity.
    Unsure,
}

/// Why keys are not recovered eight at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LanesRefused {
    /// The processor lacks AVX-512 IFMA.
    #[error("the processor has no AVX-512 IFMA")]
    NotSupported,
    /// Known signatures gave other keys than libsecp256k1.
    #[error("keys recovered with AVX-512 IFMA differ from those of libsecp256k1 ({different} of {checked})")]
    Differs {
        /// Signatures whose outcome differs.
        different: usize,
        /// Signatures that were looked at.
        checked: usize,
    },
}

/// Recovers keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recoverer {
    lanes: bool,
}

/// Signatures of the check at start: valid, invalid and on the edge.
const CHECKED: u64 = 64;

impl Recoverer {
    /// Returns one that asks libsecp256k1 only.
    pub fn single() -> Self {
        Self { lanes: false }
    }

    /// Returns one that takes eight at a time, once 64 known signatures have given the same both ways (about 3 ms).
    pub fn lanes() -> Result<Self, LanesRefused> {
        let signatures: Vec<_> = (0..CHECKED).map(known_signature).collect();
        let scalars = Scalars::of_many(&signatures);
        let outcomes = in_lanes(&signatures, &scalars).ok_or(LanesRefused::NotSupported)?;
        let differs = |(signature, outcome): (&Signature, &Outcome)| match outcome {
            Outcome::Key { key, .. } => single::recover(signature) != Some(*key),
            Outcome::Invalid => single::recover(signature).is_some(),
            Outcome::Unsure => false,
        };
        let missing = signatures.len() - outcomes.len();
        match missing + signatures.iter().zip(&outcomes).filter(|pair| differs(*pair)).count() {
            0 => Ok(Self { lanes: true }),
            different => Err(LanesRefused::Differs { different, checked: signatures.len() }),
        }
    }

    /// Returns what [`Self::lanes`] does, checked once for the process.
    pub fn detected() -> Result<Self, LanesRefused> {
        static DETECTED: LazyLock<Result<Recoverer, LanesRefused>> = LazyLock::new(Recoverer::lanes);
        *DETECTED
    }

    /// True if it takes eight at a time.
    pub fn has_lanes(&self) -> bool {
        self.lanes
    }

    /// Recovers the keys of signatures, in their order. Best called with 64 or more.
    pub fn recover(&self, signatures: &[Signature]) -> Vec<Recovery> {
        let scalars = Scalars::of_many(signatures);
        // The lanes take as long for one as for eight: longer than libsecp256k1 for one.
        let outcomes = if self.lanes && signatures.len() > 1 { in_lanes(signatures, &scalars) } else { None };
        let outcomes = outcomes.unwrap_or_else(|| vec![Outcome::Unsure; signatures.len()]);
        let decide = |((signature, scalars), outcome): ((&Signature, Option<Scalars>), Outcome)| match outcome {
            Outcome::Key { key, root_is_odd } => Recovery { key: Some(key), scalars, root_is_odd: Some(root_is_odd) },
            Outcome::Invalid => Recovery { key: None, scalars, root_is_odd: None },
            Outcome::Unsure => Recovery { key: single::recover(signature), scalars, root_is_odd: None },
        };
        signatures.iter().zip(scalars).zip(outcomes).map(decide).collect()
    }
}

#[cfg(target_arch = "x86_64")]
fn in_lanes(signatures: &[Signature], scalars: &[Option<Scalars>]) -> Option<Vec<Outcome>> {
    simd::recover(signatures, scalars)
}

#[cfg(not(target_arch = "x86_64"))]
fn in_lanes(_: &[Signature], _: &[Option<Scalars>]) -> Option<Vec<Outcome>> {
    None
}

/// A signature that is the same in every process: about half of them have a key.
fn known_signature(number: u64) -> Signature {
    let word = |part: u64| alloy_primitives::keccak256((number * 3 + part).to_be_bytes());
    Signature { hash: word(0), r: word(1), s: word(2), is_odd: number % 2 == 1 }
}

#[cfg(test)]
mod tests;
