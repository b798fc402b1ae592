//! One hash at a time, in plain integer arithmetic.

use super::permutation::{Lane, permute};
use crate::digest::Digest;
use crate::goldilocks::{EPSILON, canonical};

/// Hashes one state: 8 input elements, then 4 capacity elements.
pub(super) fn hash(state: &[u64; 12]) -> Digest {
    let mut states = [*state];
    // All carries are taken here.
    let _trust = permute::<u64, 1, 4>(&mut states);
    let [a, b, c, d, ..] = states[0].map(canonical);
    Digest([a, b, c, d])
}

/// 2^64 mod p if there was a carry (or borrow), without a branch: the carry is as good as random.
#[inline(always)]
fn correction(carry: bool) -> u64 {
    u64::from(carry).wrapping_neg() & EPSILON
}

#[inline(always)]
fn mul(x: u64, y: u64) -> u64 {
    let product = u128::from(x) * u128::from(y);
    let (low, high) = (product as u64, (product >> 64) as u64);
    let (difference, borrow) = low.overflowing_sub(high >> 32);
    let difference = difference.wrapping_sub(correction(borrow));
    let (sum, carry) = difference.overflowing_add((high & EPSILON) * EPSILON);
    sum.wrapping_add(correction(carry))
}

impl Lane for u64 {
    #[inline(always)]
    fn splat(x: u64) -> Self {
        x
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self) -> Self {
        self << BITS
    }

    #[inline(always)]
    fn split(self) -> (Self, Self) {
        (self & EPSILON, self >> 32)
    }

    #[inline(always)]
    fn join(low: Self, high: Self) -> Self {
        // high = h1·2^32 + h0 and 2^64 = EPSILON (mod p); low + h1·EPSILON < 2^59 cannot wrap.
        let (sum, carry) = (low + (high >> 32) * EPSILON).overflowing_add(high << 32);
        sum.wrapping_add(correction(carry))
    }

    #[inline(always)]
    fn add_canonical(self, constant: u64) -> Self {
        let (sum, carry) = self.overflowing_add(constant);
        sum.wrapping_add(correction(carry))
    }

    #[inline(always)]
    fn power_7<const N: usize>(x: [Self; N], _trust: &mut Self) -> [(Self, Self); N] {
        let mut power = [(0, 0); N];
        for (power, x) in power.iter_mut().zip(x) {
            let x2 = mul(x, x);
            let product = u128::from(mul(x2, x)) * u128::from(mul(x2, x2));
            let (low, high) = (product as u64, (product >> 64) as u64);
            // 2^64 = 2^32 − 1 and 2^96 = −1 (mod p).
            *power =
                ((low & EPSILON).wrapping_sub(high & EPSILON).wrapping_sub(high >> 32), (low >> 32) + (high & EPSILON));
        }
        power
    }
}
