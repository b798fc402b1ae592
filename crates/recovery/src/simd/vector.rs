//! Eight lanes of 64 bits in one register of AVX-512.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

/// Eight lanes. Exists only where AVX-512F and IFMA do (see the parent module).
#[derive(Clone, Copy)]
pub(super) struct Vector(__m512i);

/// One bit for each lane.
pub(super) type Mask = u8;

// SAFETY of all bodies: the features are there as the module's rule says; but for `load` and `store` they run register to
// register.
impl Vector {
    #[inline(always)]
    pub(super) fn splat(x: u64) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_set1_epi64(x.cast_signed()) })
    }

    #[inline(always)]
    pub(super) fn zero() -> Self {
        Self::splat(0)
    }

    #[inline(always)]
    pub(super) fn load(lanes: &[u64; 8]) -> Self {
        // SAFETY: reads 64 bytes of a 64-byte array, no alignment needed.
        Self(unsafe { _mm512_loadu_epi64(lanes.as_ptr().cast()) })
    }

    #[inline(always)]
    pub(super) fn store(self, lanes: &mut [u64; 8]) {
        // SAFETY: writes 64 bytes of a 64-byte array, no alignment needed.
        unsafe { _mm512_storeu_epi64(lanes.as_mut_ptr().cast(), self.0) }
    }

    #[inline(always)]
    pub(super) fn plus(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_add_epi64(self.0, other.0) })
    }

    #[inline(always)]
    pub(super) fn minus(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_sub_epi64(self.0, other.0) })
    }

    /// Adds where the mask has a bit, and subtracts elsewhere.
    #[inline(always)]
    pub(super) fn plus_or_minus(self, plus: Mask, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_mask_add_epi64(_mm512_sub_epi64(self.0, other.0), plus, self.0, other.0) })
    }

    #[inline(always)]
    pub(super) fn and(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_and_epi64(self.0, other.0) })
    }

    #[inline(always)]
    pub(super) fn or(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_or_epi64(self.0, other.0) })
    }

    #[inline(always)]
    pub(super) fn shr<const BITS: u32>(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_srli_epi64::<BITS>(self.0) })
    }

    #[inline(always)]
    pub(super) fn shl<const BITS: u32>(self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_slli_epi64::<BITS>(self.0) })
    }

    /// Adds the low 52 bits of the product of the low 52 bits of `x` and `y`.
    #[inline(always)]
    pub(super) fn plus_low(self, x: Self, y: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_madd52lo_epu64(self.0, x.0, y.0) })
    }

    /// Adds the high 52 bits of the product of the low 52 bits of `x` and `y`.
    #[inline(always)]
    pub(super) fn plus_high(self, x: Self, y: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_madd52hi_epu64(self.0, x.0, y.0) })
    }

    /// Takes `other` where the mask has a bit.
    #[inline(always)]
    pub(super) fn replaced(self, mask: Mask, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_mask_blend_epi64(mask, self.0, other.0) })
    }

    /// Returns the lanes that are zero.
    #[inline(always)]
    pub(super) fn zeros(self) -> Mask {
        // SAFETY: see above.
        unsafe { _mm512_testn_epi64_mask(self.0, self.0) }
    }

    /// The even words of both, and the odd ones: (a0 b0 a2 b2 …, a1 b1 a3 b3 …).
    #[inline(always)]
    fn unpacked(self, other: Self) -> (Self, Self) {
        // SAFETY: see above.
        unsafe { (Self(_mm512_unpacklo_epi64(self.0, other.0)), Self(_mm512_unpackhi_epi64(self.0, other.0))) }
    }

    /// Two quarters of 128 bits of each, as `SELECT` says.
    #[inline(always)]
    fn quarters<const SELECT: i32>(self, other: Self) -> Self {
        // SAFETY: see above.
        Self(unsafe { _mm512_shuffle_i64x2::<SELECT>(self.0, other.0) })
    }
}

/// Quarters 0 and 2 of each, and 1 and 3.
const EVEN: i32 = 0x88;
const ODD: i32 = 0xdd;

/// Transposes eight rows of eight words.
#[inline(always)]
pub(super) fn transpose(rows: [Vector; 8]) -> [Vector; 8] {
    let (even_01, odd_01) = rows[0].unpacked(rows[1]);
    let (even_23, odd_23) = rows[2].unpacked(rows[3]);
    let (even_45, odd_45) = rows[4].unpacked(rows[5]);
    let (even_67, odd_67) = rows[6].unpacked(rows[7]);
    let [w0, w2, w4, w6] = pairs_to_columns([even_01, even_23, even_45, even_67]);
    let [w1, w3, w5, w7] = pairs_to_columns([odd_01, odd_23, odd_45, odd_67]);
    [w0, w1, w2, w3, w4, w5, w6, w7]
}

/// Of four vectors that hold, quarter by quarter, a pair of rows each: the columns of the four quarters.
#[inline(always)]
fn pairs_to_columns([a, b, c, d]: [Vector; 4]) -> [Vector; 4] {
    let (even_ab, even_cd) = (a.quarters::<EVEN>(b), c.quarters::<EVEN>(d));
    let (odd_ab, odd_cd) = (a.quarters::<ODD>(b), c.quarters::<ODD>(d));
    [
        even_ab.quarters::<EVEN>(even_cd),
        odd_ab.quarters::<EVEN>(odd_cd),
        even_ab.quarters::<ODD>(even_cd),
        odd_ab.quarters::<ODD>(odd_cd),
    ]
}
