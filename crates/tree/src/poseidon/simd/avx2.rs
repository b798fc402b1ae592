//! AVX2: 4 lanes in a register. There are no masks and no unsigned comparisons, so carries come from sign bits.

use std::arch::x86_64::*;

use super::{Halves, Lane, Pack, hash_packs, power_7};
use crate::digest::Digest;
use crate::goldilocks::EPSILON;

/// Four elements. Exists only where AVX2 does (see the parent module).
#[derive(Clone, Copy)]
struct Vector(__m256i);

/// S-boxes computed together in full rounds: more would not fit the 16 registers.
const GROUP: usize = 3;

/// Hashes `PACKS` times four states.
#[target_feature(enable = "avx2")]
pub(super) fn hash_4<const PACKS: usize>(states: &[[[u64; 12]; 4]; PACKS], out: &mut [[Digest; 4]; PACKS]) {
    hash_packs::<4, PACKS, GROUP, Vector>(states, out);
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
    fn power_7<const N: usize>(x: [Self; N], trust: &mut Self) -> [(Self, Self); N] {
        power_7(x, trust)
    }
}

impl Halves for Vector {
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_and_si256(self.0, other.0) })
    }

    #[inline(always)]
    fn shr_32(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_srli_epi64::<32>(self.0) })
    }

    #[inline(always)]
    fn mul_low(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_mul_epu32(self.0, other.0) })
    }

    #[inline(always)]
    fn beside(self, high: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_blend_epi32::<0b1010_1010>(self.0, high.shl::<32>().0) })
    }

    /// Nine instructions instead of thirteen, for the price of doubt where `low` is below 2^33. From there on the
    /// difference does not borrow and is above 2^32, so without a carry the high half of the sum is above that of the
    /// product, and with one it is not: 32-bit comparisons decide.
    #[inline(always)]
    fn reduce(low: Self, high: Self, trust: &mut Self) -> Self {
        let product = high.mul_low(Self::splat(EPSILON));
        let sum = low.minus(high.shr_32()).plus(product);
        // SAFETY: see above.
        let carry = Self(unsafe { _mm256_cmpeq_epi32(_mm256_max_epu32(sum.0, product.0), product.0) });
        // SAFETY: see above.
        *trust = Self(unsafe { _mm256_min_epu32(trust.0, low.0) });
        sum.plus(carry.shr_32())
    }
}

impl Vector {
    /// Keeps the bits that are not set in `other`.
    #[inline(always)]
    fn and_not(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_andnot_si256(other.0, self.0) })
    }

    /// EPSILON where the sign bit is set, 0 elsewhere.
    #[inline(always)]
    fn sign_correction(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm256_srai_epi32::<31>(self.0) }).shr_32()
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
}
