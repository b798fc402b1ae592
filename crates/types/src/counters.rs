//! Values of the zk counters.

use std::ops::{Add, AddAssign};

/// Values of the eight counters, in the order every table of the specification uses (counters §2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Rows of the main state machine.
    pub steps: u64,
    /// Arithmetic operations.
    pub arithmetics: u64,
    /// Binary operations.
    pub binaries: u64,
    /// Unaligned memory accesses.
    pub mem_aligns: u64,
    /// Keccak-f permutations.
    pub keccaks: u64,
    /// Blocks of linear Poseidon digests, padding included.
    pub poseidon_paddings: u64,
    /// Poseidon permutations of digests and tree accesses.
    pub poseidons: u64,
    /// SHA-256 blocks.
    pub sha256s: u64,
}

impl Counters {
    /// Builds from `[S, A, B, M, K, D, P, H]`.
    pub const fn from_array(values: [u64; 8]) -> Self {
        let [steps, arithmetics, binaries, mem_aligns, keccaks, poseidon_paddings, poseidons, sha256s] = values;
        Self { steps, arithmetics, binaries, mem_aligns, keccaks, poseidon_paddings, poseidons, sha256s }
    }

    /// Returns `[S, A, B, M, K, D, P, H]`.
    pub const fn to_array(self) -> [u64; 8] {
        [
            self.steps,
            self.arithmetics,
            self.binaries,
            self.mem_aligns,
            self.keccaks,
            self.poseidon_paddings,
            self.poseidons,
            self.sha256s,
        ]
    }

    /// Returns the larger value of each counter.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        let (mut largest, other) = (self.to_array(), other.to_array());
        largest.iter_mut().zip(other).for_each(|(largest, value)| *largest = (*largest).max(value));
        Self::from_array(largest)
    }

    /// Multiplies every counter.
    #[must_use]
    #[inline]
    pub fn times(self, factor: u64) -> Self {
        Self::from_array(self.to_array().map(|value| value.saturating_mul(factor)))
    }
}

impl Add for Counters {
    type Output = Self;

    #[inline]
    fn add(self, other: Self) -> Self {
        let (mut sum, other) = (self.to_array(), other.to_array());
        sum.iter_mut().zip(other).for_each(|(sum, value)| *sum = sum.saturating_add(value));
        Self::from_array(sum)
    }
}

impl AddAssign for Counters {
    #[inline]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Counters {
    fn sum<I: Iterator<Item = Self>>(counters: I) -> Self {
        counters.fold(Self::default(), Add::add)
    }
}
