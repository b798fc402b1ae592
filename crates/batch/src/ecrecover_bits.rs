//! The bits of the two scalars of a key recovery that the ROM's work depends on (exact-counters §3.1).

use zkevm_recovery::Scalars;

/// Bits of −hash/r and s/r modulo n, between which the ROM doubles and adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScalarBits {
    /// Bits set in both.
    pub both: u16,
    /// Bits set in one of them.
    pub one: u16,
    /// Leading bits set in neither.
    pub leading: u16,
}

impl From<Scalars> for ScalarBits {
    fn from(Scalars { of_generator: k1, of_point: k2 }: Scalars) -> Self {
        Self {
            both: (k1 & k2).count_ones() as u16,
            one: (k1 ^ k2).count_ones() as u16,
            leading: (k1 | k2).leading_zeros() as u16,
        }
    }
}
