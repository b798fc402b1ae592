//! AVX-512: 8 lanes in a register, carries in mask registers.

use std::arch::x86_64::*;

use super::{Halves, Lane, Pack, hash_packs, power_7};
use crate::digest::Digest;
use crate::goldilocks::EPSILON;

/// Eight elements. Exists only where AVX-512F does (see the parent module).
#[derive(Clone, Copy)]
struct Vector(__m512i);

/// S-boxes computed together in full rounds.
const GROUP: usize = 6;

/// Hashes `PACKS` times eight states.
#[target_feature(enable = "avx512f")]
pub(super) fn hash_8<const PACKS: usize>(states: &[[[u64; 12]; 8]; PACKS], out: &mut [[Digest; 8]; PACKS]) {
    hash_packs::<8, PACKS, GROUP, Vector>(states, out);
}

impl Pack<8> for Vector {
    #[inline(always)]
    fn from_lanes(elements: &[u64; 8]) -> Self {
        // SAFETY: reads 64 bytes of a 64-byte array, no alignment needed; AVX-512F as the module's rule says.
        Self(unsafe { _mm512_loadu_epi64(elements.as_ptr().cast()) })
    }

    #[inline(always)]
    fn to_lanes(self) -> [u64; 8] {
        let mut elements = [0u64; 8];
        // SAFETY: writes 64 bytes of a 64-byte array, no alignment needed; AVX-512F as the module's rule says.
        unsafe { _mm512_storeu_epi64(elements.as_mut_ptr().cast(), self.0) };
        elements
    }
}

// The bodies below run register to register. SAFETY of all of them: AVX-512F as the module's rule says.
impl Lane for Vector {
    #[inline(always)]
    fn splat(x: u64) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_set1_epi64(x.cast_signed()) })
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_sub_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_slli_epi64::<BITS>(self.0) })
    }

    #[inline(always)]
    fn split(self) -> (Self, Self) {
        (self.and(Self::splat(EPSILON)), self.shr_32())
    }

    #[inline(always)]
    fn join(low: Self, high: Self) -> Self {
        // high = h1·2^32 + h0 and 2^64 = EPSILON (mod p); low + h1·EPSILON < 2^59 cannot wrap.
        let small = low.plus(high.shr_32().mul_low(Self::splat(EPSILON)));
        small.plus_mod(high.shl::<32>())
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
        Self(unsafe { _mm512_and_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn shr_32(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_srli_epi64::<32>(self.0) })
    }

    #[inline(always)]
    fn mul_low(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_mul_epu32(self.0, other.0) })
    }

    #[inline(always)]
    fn beside(self, high: Self) -> Self {
        // SAFETY: see above. Copies the even halves of `high` over the odd ones of `self`: shift and blend in one.
        Self(unsafe {
            let (low, high) = (_mm512_castsi512_ps(self.0), _mm512_castsi512_ps(high.0));
            _mm512_castps_si512(_mm512_mask_moveldup_ps(low, 0xaaaa, high))
        })
    }

    /// Leaves the borrow of the difference out, which takes a `low` below 2^32.
    #[inline(always)]
    fn reduce(low: Self, high: Self, trust: &mut Self) -> Self {
        // SAFETY: see above.
        *trust = Self(unsafe { _mm512_min_epu32(trust.0, low.0) });
        low.minus(high.shr_32()).plus_mod(high.mul_low(Self::splat(EPSILON)))
    }
}

impl Vector {
    /// Adds modulo p; the caller knows that the sum minus 2^64 leaves room for EPSILON.
    #[inline(always)]
    fn plus_mod(self, other: Self) -> Self {
        let sum = self.plus(other);
        // SAFETY: see above.
        unsafe {
            let carry = _mm512_cmplt_epu64_mask(sum.0, other.0);
            Self(_mm512_mask_add_epi64(sum.0, carry, sum.0, Self::splat(EPSILON).0))
        }
    }
}
