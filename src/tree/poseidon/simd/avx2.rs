//! AVX2: 4 lanes in a register. There are no masks and no unsigned comparisons, so carries come from sign bits.

use std::arch::x86_64::*;

use super::{Lane, Pack, hash_pack};
use crate::tree::digest::Digest;
use crate::tree::goldilocks::EPSILON;

/// Four elements. Exists only where AVX2 does (see the parent module).
#[derive(Clone, Copy)]
struct Vector(__m256i);

/// Hashes four states.
#[target_feature(enable = "avx2")]
pub(super) fn hash_4(states: &[[u64; 12]; 4], out: &mut [Digest; 4]) {
    hash_pack::<4, Vector>(states, out);
}

impl Pack<4> for Vector {
    #[inline(always)]
    fn from_lanes(elements: &[u64; 4]) -> Self {
        // SAFETY: reads 32 bytes of a 32-byte array, no alignment needed; AVX2 as the module's rule says.
        Self(unsafe { _mm256_loadu_si256(elements.as_ptr().cast()) })
    }

    #[inline(always)]
    fn to_lanes(self) -> [u64; 4] {
        let mut elements = [0u64; 4];
        // SAFETY: writes 32 bytes of a 32-byte array, no alignment needed; AVX2 as the module's rule says.
        unsafe { _mm256_storeu_si256(elements.as_mut_ptr().cast(), self.0) };
        elements
    }
}

// The bodies below run register to register. SAFETY of all of them: AVX2 as the module's rule says.
impl Lane for Vector {
    #[inline(always)]
    fn splat(x: u64) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_set1_epi64x(x.cast_signed()) })
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_sub_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self) -> Self {
        // SAFETY: see above. The count is a constant: this becomes a shift by an immediate.
        Self(unsafe { _mm256_sll_epi64(self.0, _mm_set1_epi64x(BITS as i64)) })
    }

    #[inline(always)]
    fn split(self) -> (Self, Self) {
        (self.and(Self::splat(EPSILON)), self.shr_32())
    }

    #[inline(always)]
    fn join(low: Self, high: Self) -> Self {
        // high = h1·2^32 + h0 and 2^64 = EPSILON (mod p); low + h1·EPSILON < 2^59 cannot wrap.
        let small = low.plus(high.shr_32().mul_low(Self::splat(EPSILON)));
        let large = high.shl::<32>();
        let sum = small.plus(large);
        // `small` is below 2^63, so there was a carry where the sign of `large` got lost.
        sum.plus(large.and_not(sum).sign_correction())
    }

    #[inline(always)]
    fn add_canonical(self, constant: u64) -> Self {
        self.plus_mod(Self::splat(constant))
    }

    #[inline(always)]
    fn power_7<const N: usize>(x: [Self; N]) -> [Self; N] {
        let x2 = mul(x, x);
        let x3 = mul(x2, x);
        let x4 = mul(x2, x2);
        mul(x3, x4)
    }
}

impl Vector {
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_and_si256(self.0, other.0) })
    }

    /// Keeps the bits that are not set in `other`.
    #[inline(always)]
    fn and_not(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_andnot_si256(other.0, self.0) })
    }

    #[inline(always)]
    fn shr_32(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_srli_epi64::<32>(self.0) })
    }

    /// EPSILON where the sign bit is set, 0 elsewhere.
    #[inline(always)]
    fn sign_correction(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_srai_epi32::<31>(self.0) }).shr_32()
    }

    /// Multiplies the low halves to 64 bits.
    #[inline(always)]
    fn mul_low(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_mul_epu32(self.0, other.0) })
    }

    /// Takes the low halves of `self` and the high halves of `high`.
    #[inline(always)]
    fn with_high(self, high: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_blend_epi32::<0b1010_1010>(self.0, high.0) })
    }

    /// Adds modulo p; the caller knows that the sum minus 2^64 leaves room for EPSILON.
    #[inline(always)]
    fn plus_mod(self, other: Self) -> Self {
        let sum = self.plus(other);
        let sign = Self::splat(1 << 63);
        // SAFETY: see above.
        let carry =
            Self(unsafe { _mm256_cmpgt_epi64(_mm256_xor_si256(other.0, sign.0), _mm256_xor_si256(sum.0, sign.0)) });
        sum.plus(carry.shr_32())
    }

    /// Subtracts a number below 2^32 modulo p.
    #[inline(always)]
    fn minus_mod(self, other: Self) -> Self {
        let difference = self.minus(other);
        // Subtracting so little sets the sign bit only by a borrow.
        difference.minus(difference.and_not(self).sign_correction())
    }
}

/// Multiplies representatives, each step for all pairs before the next: latencies overlap.
#[inline(always)]
fn mul<const N: usize>(x: [Vector; N], y: [Vector; N]) -> [Vector; N] {
    let mut product = x;
    let (x_high, y_high) = (x.map(Vector::shr_32), y.map(Vector::shr_32));
    let (mut low_low, mut low_high, mut high_low, mut high_high) = (x, x, x, x);
    for i in 0..N {
        low_low[i] = x[i].mul_low(y[i]);
        low_high[i] = x[i].mul_low(y_high[i]);
        high_low[i] = x_high[i].mul_low(y[i]);
        high_high[i] = x_high[i].mul_low(y_high[i]);
    }
    let (mut low, mut high) = (x, x);
    for i in 0..N {
        let middle = high_low[i].plus(low_low[i].shr_32());
        let (middle_low, middle_high) = middle.split();
        let upper = low_high[i].plus(middle_low);
        high[i] = high_high[i].plus(middle_high).plus(upper.shr_32());
        low[i] = low_low[i].with_high(upper.shl::<32>());
    }
    for i in 0..N {
        product[i] = low[i].minus_mod(high[i].shr_32());
    }
    for i in 0..N {
        product[i] = product[i].plus_mod(high[i].mul_low(Vector::splat(EPSILON)));
    }
    product
}
