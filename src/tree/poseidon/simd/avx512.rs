//! AVX-512: 8 lanes in a register, carries in mask registers; 16 lanes as two registers whose latencies overlap.

use std::arch::x86_64::*;

use super::{Lane, Pack, hash_pack};
use crate::tree::digest::Digest;
use crate::tree::goldilocks::EPSILON;

/// Eight elements. Exists only where AVX-512F does (see the parent module).
#[derive(Clone, Copy)]
struct Vector(__m512i);

/// Hashes eight states.
#[target_feature(enable = "avx512f")]
pub(super) fn hash_8(states: &[[u64; 12]; 8], out: &mut [Digest; 8]) {
    hash_pack::<8, Vector>(states, out);
}

/// Hashes sixteen states.
#[target_feature(enable = "avx512f")]
pub(super) fn hash_16(states: &[[u64; 12]; 16], out: &mut [Digest; 16]) {
    hash_pack::<16, Pair>(states, out);
}

/// Sixteen elements.
#[derive(Clone, Copy)]
struct Pair(Vector, Vector);

impl Pack<16> for Pair {
    #[inline(always)]
    fn from_lanes(elements: &[u64; 16]) -> Self {
        let (halves, _) = elements.as_chunks::<8>();
        Self(Vector::from_lanes(&halves[0]), Vector::from_lanes(&halves[1]))
    }

    #[inline(always)]
    fn to_lanes(self) -> [u64; 16] {
        let mut elements = [0; 16];
        elements[..8].copy_from_slice(&self.0.to_lanes());
        elements[8..].copy_from_slice(&self.1.to_lanes());
        elements
    }
}

impl Lane for Pair {
    #[inline(always)]
    fn splat(x: u64) -> Self {
        Self(Vector::splat(x), Vector::splat(x))
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(self.0.plus(other.0), self.1.plus(other.1))
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self(self.0.minus(other.0), self.1.minus(other.1))
    }

    #[inline(always)]
    fn shl<const BITS: u32>(self) -> Self {
        Self(self.0.shl::<BITS>(), self.1.shl::<BITS>())
    }

    #[inline(always)]
    fn split(self) -> (Self, Self) {
        let (low, high) = (self.0.split(), self.1.split());
        (Self(low.0, high.0), Self(low.1, high.1))
    }

    #[inline(always)]
    fn join(low: Self, high: Self) -> Self {
        Self(Vector::join(low.0, high.0), Vector::join(low.1, high.1))
    }

    #[inline(always)]
    fn add_canonical(self, constant: u64) -> Self {
        Self(self.0.add_canonical(constant), self.1.add_canonical(constant))
    }

    #[inline(always)]
    fn power_7<const N: usize>(x: [Self; N]) -> [Self; N] {
        let mut power = x;
        // One S-box alone would wait for each of its own steps; both halves together do not.
        if let [only] = &mut power[..] {
            let [first, second] = Vector::power_7([only.0, only.1]);
            *only = Self(first, second);
            return power;
        }
        let (first, second) = (Vector::power_7(x.map(|x| x.0)), Vector::power_7(x.map(|x| x.1)));
        for (power, (first, second)) in power.iter_mut().zip(first.into_iter().zip(second)) {
            *power = Self(first, second);
        }
        power
    }
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
        Self(unsafe { _mm512_and_epi64(self.0, other.0) })
    }

    #[inline(always)]
    fn shr_32(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_srli_epi64::<32>(self.0) })
    }

    /// Multiplies the low halves to 64 bits.
    #[inline(always)]
    fn mul_low(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_mul_epu32(self.0, other.0) })
    }

    /// Takes the low halves of `self` and the high halves of `high`.
    #[inline(always)]
    fn with_high(self, high: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_mask_blend_epi32(0xaaaa, self.0, high.0) })
    }

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

    /// Subtracts a number below 2^32 modulo p.
    #[inline(always)]
    fn minus_mod(self, other: Self) -> Self {
        let difference = self.minus(other);
        // SAFETY: see above.
        unsafe {
            let borrow = _mm512_cmplt_epu64_mask(self.0, other.0);
            Self(_mm512_mask_sub_epi64(difference.0, borrow, difference.0, Self::splat(EPSILON).0))
        }
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
