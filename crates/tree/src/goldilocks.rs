//! Arithmetic modulo the Goldilocks prime p = 2^64 − 2^32 + 1 (state-tree §1).
//!
//! A *representative* is any `u64`; a *canonical* element is smaller than p. Arithmetic accepts representatives and
//! returns representatives; only [`canonical`] makes them comparable.

pub use super::digest::GOLDILOCKS_PRIME;

/// 2^64 mod p.
pub(crate) const EPSILON: u64 = 0xffff_ffff;

/// Returns the canonical element of a representative.
#[inline(always)]
pub const fn canonical(x: u64) -> u64 {
    if x >= GOLDILOCKS_PRIME { x - GOLDILOCKS_PRIME } else { x }
}

/// Adds a canonical element to a representative.
#[inline(always)]
pub const fn add(x: u64, canonical: u64) -> u64 {
    let (sum, carry) = x.overflowing_add(canonical);
    // With `canonical` < p the wrapped sum is below p − 1, so adding 2^64 mod p cannot wrap again.
    sum.wrapping_add(if carry { EPSILON } else { 0 })
}

/// Reduces a 128-bit number.
#[inline(always)]
pub const fn reduce(x: u128) -> u64 {
    let high = (x >> 64) as u64;
    let (mut difference, borrow) = (x as u64).overflowing_sub(high >> 32);
    if borrow {
        difference = difference.wrapping_sub(EPSILON);
    }
    let middle = (high & EPSILON) * EPSILON;
    let (sum, carry) = difference.overflowing_add(middle);
    if carry { sum.wrapping_add(EPSILON) } else { sum }
}

/// Multiplies two representatives.
#[inline(always)]
pub const fn mul(x: u64, y: u64) -> u64 {
    reduce(x as u128 * y as u128)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Residue by division: the definition.
    fn residue(x: u128) -> u64 {
        (x % u128::from(GOLDILOCKS_PRIME)) as u64
    }

    const EDGES: [u64; 9] = [
        0,
        1,
        EPSILON - 1,
        EPSILON,
        EPSILON + 1,
        GOLDILOCKS_PRIME - 1,
        GOLDILOCKS_PRIME,
        GOLDILOCKS_PRIME + 1,
        u64::MAX,
    ];

    #[test]
    fn edge_values_reduce_to_their_residue() {
        for x in EDGES {
            for y in EDGES {
                let product = u128::from(x) * u128::from(y);
                assert_eq!(canonical(mul(x, y)), residue(product), "{x:#x} * {y:#x}");
                let raw = u128::from(x) << 64 | u128::from(y);
                assert_eq!(canonical(reduce(raw)), residue(raw), "{raw:#x}");
                let sum = u128::from(x) + u128::from(canonical(y));
                assert_eq!(canonical(add(x, canonical(y))), residue(sum), "{x:#x} + {y:#x}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_value_reduces_to_its_residue(x: u128, y: u64, z: u64) {
            prop_assert_eq!(canonical(reduce(x)), residue(x));
            prop_assert_eq!(canonical(mul(y, z)), residue(u128::from(y) * u128::from(z)));
        }
    }
}
