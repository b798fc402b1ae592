//! The field of secp256k1, eight elements at a time: one for each lane, in five limbs of 52 bits.
//!
//! p = 2^256 − 2^32 − 977. Three forms:
//!
//! - [`Element`]: limbs 0 to 3 below 2^52, limb 4 below 2^51. The value is below 2^259 and not unique.
//! - *reduced*: an [`Element`] with limb 4 below 2^48 + 2^9. All products are. **Only a reduced element may be
//!   subtracted**: what stands for −b below is a multiple of p whose limbs are larger than those of a reduced b, so that no
//!   limb goes below zero.
//! - [`Raw`]: bits above 52 are left in limbs 0 to 3. Good as a factor only, because the multiplier reads 52 bits; it saves
//!   the masks.

use super::vector::{Mask, Vector};

const LIMB: u64 = (1 << 52) - 1;
/// Of the limb that holds bits 208 to 255.
const TOP_LIMB: u64 = (1 << 48) - 1;
/// 2^256 mod p.
const FOLD_256: u64 = (1 << 32) + 977;
/// 2^260 mod p: what a limb is worth five limbs lower.
const FOLD_260: u64 = FOLD_256 << 4;
/// 4p, limb by limb as much as three reduced subtrahends or more.
const P_4: [u64; 5] = multiple_of_p(4);
/// 16p, limb by limb as much as eight times a reduced subtrahend or more.
const P_16: [u64; 5] = multiple_of_p(16);
/// A cube root of one: (β·x, y) is λ times the point (x, y).
const BETA: [u64; 5] =
    [0x9_6c28_7195_01ee, 0x7_512f_5899_5c13, 0xc_3434_e99c_f049, 0x0_7106_e644_79ea, 0x7ae9_6a2b_657c];

/// m·p with limbs m times as large as those of p, none of them carried.
const fn multiple_of_p(m: u64) -> [u64; 5] {
    [m * (LIMB + 1 - FOLD_256), m * LIMB, m * LIMB, m * LIMB, m * TOP_LIMB]
}

/// Eight elements.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Element([Vector; 5]);

/// Eight elements with bits above 52 in their limbs: factors only.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Raw([Vector; 5]);

/// Sums of products by their weight 2^(52·i), each below 2^58.
#[derive(Clone, Copy)]
pub(super) struct Columns([Vector; 10]);

/// What a product takes.
pub(super) trait Factor: Copy {
    fn limbs(&self) -> &[Vector; 5];

    #[inline(always)]
    fn times(&self, other: &impl Factor) -> Element {
        Columns::zero().plus_product(self, other).reduced::<1>().masked()
    }

    #[inline(always)]
    fn times_raw(&self, other: &impl Factor) -> Raw {
        Columns::zero().plus_product(self, other).reduced::<1>()
    }

    /// The product times `SCALE`, which is 1, 2, 3, 4 or 8.
    #[inline(always)]
    fn times_scaled<const SCALE: u32>(&self, other: &impl Factor) -> Raw {
        Columns::zero().plus_product(self, other).reduced::<SCALE>()
    }

    #[inline(always)]
    fn squared(&self) -> Element {
        Columns::square(self).reduced::<1>().masked()
    }

    #[inline(always)]
    fn squared_raw(&self) -> Raw {
        Columns::square(self).reduced::<1>()
    }

    /// The square times `SCALE`, as [`Self::times_scaled`].
    #[inline(always)]
    fn squared_scaled<const SCALE: u32>(&self) -> Raw {
        Columns::square(self).reduced::<SCALE>()
    }
}

impl Factor for Element {
    #[inline(always)]
    fn limbs(&self) -> &[Vector; 5] {
        &self.0
    }
}

impl Factor for Raw {
    #[inline(always)]
    fn limbs(&self) -> &[Vector; 5] {
        &self.0
    }
}

impl Raw {
    /// Drops the bits above 52, which have been carried.
    #[inline(always)]
    pub(super) fn masked(mut self) -> Element {
        for limb in &mut self.0[..4] {
            *limb = limb.and(Vector::splat(LIMB));
        }
        Element(self.0)
    }

    /// Takes `other` where the mask has a bit.
    #[inline(always)]
    pub(super) fn replaced(self, mask: Mask, other: &Raw) -> Raw {
        Raw(replaced(self.0, mask, &other.0))
    }

    /// Carries from limb to limb and leaves what was carried.
    #[inline(always)]
    fn carried(mut limbs: [Vector; 5]) -> Raw {
        for i in 0..4 {
            limbs[i + 1] = limbs[i + 1].plus(limbs[i].shr::<52>());
        }
        Raw(limbs)
    }
}

#[inline(always)]
fn replaced(mut limbs: [Vector; 5], mask: Mask, other: &[Vector; 5]) -> [Vector; 5] {
    for i in 0..5 {
        limbs[i] = limbs[i].replaced(mask, other[i]);
    }
    limbs
}

impl Element {
    #[inline(always)]
    fn splat(limbs: [u64; 5]) -> Self {
        let [a, b, c, d, e] = limbs;
        Self([Vector::splat(a), Vector::splat(b), Vector::splat(c), Vector::splat(d), Vector::splat(e)])
    }

    /// Takes limbs within the bounds of a loose element.
    #[cfg(test)]
    pub(super) fn of_limbs(limbs: [Vector; 5]) -> Self {
        Self(limbs)
    }

    #[inline(always)]
    pub(super) fn zero() -> Self {
        Self::splat([0; 5])
    }

    #[inline(always)]
    pub(super) fn one() -> Self {
        Self::splat([1, 0, 0, 0, 0])
    }

    #[inline(always)]
    pub(super) fn beta() -> Self {
        Self::splat(BETA)
    }

    /// Returns the same as a factor.
    #[inline(always)]
    pub(super) fn raw(&self) -> Raw {
        Raw(self.0)
    }

    /// Takes `other` where the mask has a bit.
    #[inline(always)]
    pub(super) fn replaced(self, mask: Mask, other: &Element) -> Element {
        Element(replaced(self.0, mask, &other.0))
    }

    /// Reads words 0 to 3 of eight values below 2^256, lowest first.
    #[inline(always)]
    pub(super) fn of_words(words: [Vector; 4]) -> Element {
        Raw::of_words(words).masked()
    }

    /// The words of eight values that are below 2^256.
    #[inline(always)]
    pub(super) fn to_words(self) -> [Vector; 4] {
        let [a, b, c, d, e] = self.0;
        [
            a.or(b.shl::<52>()),
            b.shr::<12>().or(c.shl::<40>()),
            c.shr::<24>().or(d.shl::<28>()),
            d.shr::<36>().or(e.shl::<16>()),
        ]
    }

    /// Carries limbs below 2^60 of values below 2^259.
    #[inline(always)]
    fn carried(mut limbs: [Vector; 5]) -> Element {
        for i in 0..4 {
            limbs[i + 1] = limbs[i + 1].plus(limbs[i].shr::<52>());
            limbs[i] = limbs[i].and(Vector::splat(LIMB));
        }
        Element(limbs)
    }

    /// Folds what is above 2^256 and carries: a reduced element; below 2^256 after the second time.
    #[inline(always)]
    fn folded(self) -> Element {
        let mut limbs = self.0;
        let over = limbs[4].shr::<48>();
        limbs[4] = limbs[4].and(Vector::splat(TOP_LIMB));
        limbs[0] = limbs[0].plus_low(over, Vector::splat(FOLD_256));
        Self::carried(limbs)
    }

    /// A representative below 2^256, not unique.
    #[inline(always)]
    pub(super) fn below_2_256(self) -> Element {
        self.folded().folded()
    }

    /// The representative below p.
    #[inline(always)]
    pub(super) fn canonical(self) -> Element {
        let value = self.below_2_256();
        // p + 2^32 + 977 is 2^256: what is not below p gets a bit there.
        let mut limbs = value.0;
        limbs[0] = limbs[0].plus(Vector::splat(FOLD_256));
        let raised = Self::carried(limbs);
        let mut canonical = value.replaced(!raised.0[4].shr::<48>().zeros(), &raised);
        canonical.0[4] = canonical.0[4].and(Vector::splat(TOP_LIMB));
        canonical
    }

    /// Returns the lanes that are zero modulo p.
    #[inline(always)]
    pub(super) fn zeros(self) -> Mask {
        let [a, b, c, d, e] = self.canonical().0;
        a.or(b).or(c).or(d).or(e).zeros()
    }

    /// Returns the lanes whose canonical form is odd; this must be canonical.
    #[inline(always)]
    pub(super) fn odd(self) -> Mask {
        !self.0[0].and(Vector::splat(1)).zeros()
    }

    #[inline(always)]
    pub(super) fn doubled(mut self) -> Element {
        for limb in &mut self.0 {
            *limb = limb.plus(*limb);
        }
        Self::carried(self.0)
    }

    /// Minus `other`, which is reduced.
    #[inline(always)]
    pub(super) fn minus(&self, other: &Element) -> Element {
        Self::carried(self.minus_limbs(other))
    }

    /// Minus `other`, which is reduced.
    #[inline(always)]
    pub(super) fn minus_raw(&self, other: &Element) -> Raw {
        Raw::carried(self.minus_limbs(other))
    }

    /// Plus `other` where the mask has a bit, minus `other` elsewhere; `other` is reduced.
    #[inline(always)]
    pub(super) fn plus_or_minus_raw(&self, plus: Mask, other: &Element) -> Raw {
        let mut limbs = self.0;
        for i in 0..5 {
            limbs[i] = limbs[i].plus(Vector::splat(P_4[i])).plus_or_minus(plus, other.0[i]);
        }
        Raw::carried(limbs)
    }

    #[inline(always)]
    fn minus_limbs(&self, other: &Element) -> [Vector; 5] {
        let mut limbs = self.0;
        for i in 0..5 {
            limbs[i] = limbs[i].plus(Vector::splat(P_4[i])).minus(other.0[i]);
        }
        limbs
    }
}

impl Raw {
    /// As [`Element::of_words`], good as a factor.
    #[inline(always)]
    pub(super) fn of_words([a, b, c, d]: [Vector; 4]) -> Raw {
        Raw([
            a,
            a.shr::<52>().or(b.shl::<12>()),
            b.shr::<40>().or(c.shl::<24>()),
            c.shr::<28>().or(d.shl::<36>()),
            d.shr::<16>(),
        ])
    }
}

impl Columns {
    #[inline(always)]
    pub(super) fn zero() -> Self {
        Self([Vector::zero(); 10])
    }

    #[inline(always)]
    pub(super) fn splat(x: u64) -> Self {
        let mut columns = Self::zero();
        columns.0[0] = Vector::splat(x);
        columns
    }

    /// Adds a product. Low and high halves have sums of their own, so that chains of additions stay short.
    #[inline(always)]
    pub(super) fn plus_product(self, a: &impl Factor, b: &impl Factor) -> Self {
        let (a, b) = (a.limbs(), b.limbs());
        let (mut low, mut high) = (self.0, [Vector::zero(); 10]);
        for i in 0..5 {
            for j in 0..5 {
                low[i + j] = low[i + j].plus_low(a[i], b[j]);
                high[i + j + 1] = high[i + j + 1].plus_high(a[i], b[j]);
            }
        }
        for i in 1..10 {
            low[i] = low[i].plus(high[i]);
        }
        Self(low)
    }

    /// The square: the ten mixed products once, doubled as columns (doubled limbs would have 53 bits).
    #[inline(always)]
    pub(super) fn square(a: &impl Factor) -> Self {
        let a = a.limbs();
        let (mut low, mut high) = ([Vector::zero(); 10], [Vector::zero(); 10]);
        for i in 0..5 {
            for j in i + 1..5 {
                low[i + j] = low[i + j].plus_low(a[i], a[j]);
                high[i + j + 1] = high[i + j + 1].plus_high(a[i], a[j]);
            }
        }
        for i in 1..9 {
            low[i] = low[i].plus(high[i]);
            low[i] = low[i].plus(low[i]);
        }
        for i in 0..5 {
            low[2 * i] = low[2 * i].plus_low(a[i], a[i]);
            low[2 * i + 1] = low[2 * i + 1].plus_high(a[i], a[i]);
        }
        Self(low)
    }

    #[inline(always)]
    pub(super) fn plus(mut self, a: &Element) -> Self {
        for i in 0..5 {
            self.0[i] = self.0[i].plus(a.0[i]);
        }
        self
    }

    /// Minus `a`, which is reduced.
    #[inline(always)]
    pub(super) fn minus(mut self, a: &Element) -> Self {
        for i in 0..5 {
            self.0[i] = self.0[i].plus(Vector::splat(P_4[i]).minus(a.0[i]));
        }
        self
    }

    /// Minus the sum of `a` and `b`, which are reduced.
    #[inline(always)]
    pub(super) fn minus_both(mut self, a: &Element, b: &Element) -> Self {
        for i in 0..5 {
            self.0[i] = self.0[i].plus(Vector::splat(P_4[i]).minus(a.0[i].plus(b.0[i])));
        }
        self
    }

    /// Minus eight times `a`, which is reduced.
    #[inline(always)]
    pub(super) fn minus_8(mut self, a: &Element) -> Self {
        for i in 0..5 {
            self.0[i] = self.0[i].plus(Vector::splat(P_16[i]).minus(a.0[i].shl::<3>()));
        }
        self
    }

    /// Reduces to `SCALE` times the value: the upper five columns are folded by 2^260 = 16·(2^32 + 977), then what is above
    /// 2^256 by 2^32 + 977. Once masked, the result is a reduced element.
    #[inline(always)]
    pub(super) fn reduced<const SCALE: u32>(self) -> Raw {
        let mut columns = self.0;
        for i in 5..9 {
            columns[i + 1] = columns[i + 1].plus(columns[i].shr::<52>());
        }
        let fold = Vector::splat(FOLD_260);
        let [mut a, mut b, mut c, mut d, mut e, f, g, h, i, j] = columns;
        a = a.plus_low(f, fold);
        b = b.plus_high(f, fold).plus_low(g, fold);
        c = c.plus_high(g, fold).plus_low(h, fold);
        d = d.plus_high(h, fold).plus_low(i, fold);
        e = e.plus_high(i, fold).plus_low(j, fold);
        let over = Vector::zero().plus_high(j, fold);
        let mut limbs = [a, b, c, d, e];
        for limb in &mut limbs {
            *limb = scaled::<SCALE>(*limb);
        }
        let over = limbs[4].shr::<48>().plus(scaled::<SCALE>(over).shl::<4>());
        limbs[4] = limbs[4].and(Vector::splat(TOP_LIMB));
        limbs[0] = limbs[0].plus_low(over, Vector::splat(FOLD_256));
        limbs[1] = limbs[1].plus_high(over, Vector::splat(FOLD_256));
        Raw::carried(limbs)
    }
}

#[inline(always)]
fn scaled<const SCALE: u32>(x: Vector) -> Vector {
    match SCALE {
        1 => x,
        2 => x.plus(x),
        3 => x.plus(x.plus(x)),
        4 => x.shl::<2>(),
        8 => x.shl::<3>(),
        _ => unreachable!(),
    }
}

/// Squares `count` times, several side by side.
#[inline(always)]
fn squared_times<const N: usize>(mut a: [Raw; N], count: usize) -> [Raw; N] {
    for _ in 0..count {
        for x in &mut a {
            *x = x.squared_raw();
        }
    }
    a
}

#[inline(always)]
fn products<const N: usize>(mut a: [Raw; N], b: &[Raw; N]) -> [Raw; N] {
    for i in 0..N {
        a[i] = a[i].times_raw(&b[i]);
    }
    a
}

/// Powers whose exponents are all ones: 2, 22 and 223 of them. p − 2 and (p + 1)/4 begin with 223.
#[inline(always)]
fn powers_of_ones<const N: usize>(a: &[Raw; N]) -> ([Raw; N], [Raw; N], [Raw; N]) {
    let a2 = products(squared_times(*a, 1), a);
    let a3 = products(squared_times(a2, 1), a);
    let a6 = products(squared_times(a3, 3), &a3);
    let a9 = products(squared_times(a6, 3), &a3);
    let a11 = products(squared_times(a9, 2), &a2);
    let a22 = products(squared_times(a11, 11), &a11);
    let a44 = products(squared_times(a22, 22), &a22);
    let a88 = products(squared_times(a44, 44), &a44);
    let a176 = products(squared_times(a88, 88), &a88);
    let a220 = products(squared_times(a176, 44), &a44);
    let a223 = products(squared_times(a220, 3), &a3);
    (a2, a22, a223)
}

/// a^((p+1)/4), a square root where there is one, several side by side.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn roots<const N: usize>(squares: &mut [Element; N]) {
    let mut raw = [squares[0].raw(); N];
    for i in 0..N {
        raw[i] = squares[i].raw();
    }
    let (a2, a22, a223) = powers_of_ones(&raw);
    let root = products(squared_times(a223, 23), &a22);
    let root = squared_times(products(squared_times(root, 6), &a2), 2);
    for i in 0..N {
        squares[i] = root[i].masked();
    }
}

/// a^(p−2), the inverse, zero for zero.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn inverse(a: &Element) -> Element {
    let a = [a.raw()];
    let (a2, a22, a223) = powers_of_ones(&a);
    let inverse = products(squared_times(a223, 23), &a22);
    let inverse = products(squared_times(inverse, 5), &a);
    let inverse = products(squared_times(inverse, 3), &a2);
    products(squared_times(inverse, 2), &a)[0].masked()
}
