//! Points of secp256k1, eight at a time.
//!
//! No case is special in the formulas. Where they do not hold, because the points are equal or opposite, Z becomes zero and
//! stays zero through every later step, since all of them multiply it; whoever reads the result asks for that.

use super::field::{Columns, Element, Factor, Raw, inverse};
use super::vector::{Mask, Vector, transpose};
use crate::digits::Digits;

/// x and y of one point, in four words each, lowest first: a cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u64; 8]);

/// Multiples of a point for each lane: 1 to 16 times it.
pub(super) type LaneTable = [[Line; 8]; 16];

/// Eight sums on the way: x = X/Z², y = Y/(±Z)³.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Sum {
    /// Reduced.
    x: Element,
    /// Reduced.
    y: Element,
    z: Raw,
    /// Lanes whose Z is to be negated.
    flipped: Mask,
    /// Lanes to which nothing was added yet.
    empty: Mask,
}

/// Eight points as tables hold them.
#[derive(Clone, Copy)]
struct TablePoints {
    x: Raw,
    y: Raw,
}

/// The coordinates of eight sums.
pub(super) struct Affine {
    pub(super) x: Element,
    pub(super) y: Element,
}

impl Sum {
    #[inline(always)]
    pub(super) fn empty() -> Self {
        let zero = Element::zero();
        Self { x: zero, y: zero, z: zero.raw(), flipped: 0, empty: !0 }
    }

    /// Takes in a first point: with Z = 1 and Y = 0, U is its x and R its −y in [`add`].
    #[cold]
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn begin(&mut self, first: Mask) {
        self.z = self.z.replaced(first, &Element::one().raw());
        self.y = self.y.replaced(first, &Element::zero());
        self.flipped &= !first;
    }
}

/// Doubles sums, several side by side. 3 products, 4 squares.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn double<const N: usize>(sums: &mut [Sum; N]) {
    let raw = Element::zero().raw();
    let (mut e, mut b) = ([raw; N], [raw; N]);
    let (mut c, mut d) = ([Element::zero(); N], [Element::zero(); N]);
    for i in 0..N {
        // E = 3X², B = Y², Z' = 2YZ.
        e[i] = sums[i].x.squared_scaled::<3>();
        b[i] = sums[i].y.squared_raw();
        sums[i].z = sums[i].y.times_scaled::<2>(&sums[i].z);
    }
    for i in 0..N {
        // D = 4XB, C = B², X' = E² − 2D.
        d[i] = sums[i].x.times_scaled::<4>(&b[i]).masked();
        c[i] = b[i].squared();
        sums[i].x = Columns::square(&e[i]).minus_both(&d[i], &d[i]).reduced::<1>().masked();
    }
    for i in 0..N {
        // Y' = E(D − X') − 8C.
        let difference = d[i].minus_raw(&sums[i].x);
        sums[i].y = Columns::zero().minus_8(&c[i]).plus_product(&e[i], &difference).reduced::<1>().masked();
    }
}

/// Adds points of tables that lie on the curve of the sums.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn add_own<const N: usize>(sums: &mut [Sum; N], tables: [&LaneTable; N], digits: [&Digits; N]) {
    let zero = Element::zero().raw();
    let mut points = [TablePoints { x: zero, y: zero }; N];
    for i in 0..N {
        let index = &digits[i].index;
        let mut lines = [&tables[i][0][0]; 8];
        for lane in 0..8 {
            lines[lane] = &tables[i][usize::from(index[lane]) % 16][lane];
        }
        points[i] = gather(lines);
    }
    add(sums, &points, digits, None);
}

/// Adds points of a table of secp256k1 itself to sums on the curves that are stretched by `stretch`: there such a point has
/// Z · stretch for Z.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn add_shared<const N: usize>(
    sums: &mut [Sum; N],
    table: &[Line],
    digits: [&Digits; N],
    stretch: &[Element; N],
) {
    let zero = Element::zero().raw();
    let mut points = [TablePoints { x: zero, y: zero }; N];
    for i in 0..N {
        let index = &digits[i].index;
        let mut lines = [&table[0]; 8];
        for lane in 0..8 {
            lines[lane] = &table[usize::from(index[lane]) % table.len()];
        }
        points[i] = gather(lines);
    }
    add(sums, &points, digits, Some(stretch));
}

/// Adds the points whose digits are not zero, negated where the digits are negative. 8 products, 3 squares; one product more
/// with `stretch`.
///
/// H and R are the negatives of the textbook's, which makes all signs but that of Z positive: `flipped` keeps that one.
#[target_feature(enable = "avx512f,avx512ifma")]
#[inline]
fn add<const N: usize>(
    sums: &mut [Sum; N],
    points: &[TablePoints; N],
    digits: [&Digits; N],
    stretch: Option<&[Element; N]>,
) {
    let zero = Element::zero();
    let mut first = [0; N];
    let mut z = [zero.raw(); N];
    for i in 0..N {
        first[i] = sums[i].empty & !digits[i].zero;
        if first[i] != 0 {
            sums[i].begin(first[i]);
        }
        z[i] = match stretch {
            Some(stretch) => sums[i].z.times_raw(&stretch[i]),
            None => sums[i].z,
        };
    }
    let (mut u, mut h, mut r) = ([zero; N], [zero.raw(); N], [zero.raw(); N]);
    let mut zz = z;
    for i in 0..N {
        zz[i] = z[i].squared_raw();
    }
    for i in 0..N {
        // U = x·Z², H = X − U.
        u[i] = points[i].x.times(&zz[i]);
        h[i] = sums[i].x.minus_raw(&u[i]);
        z[i] = z[i].times_raw(&zz[i]);
    }
    let mut hh = h;
    for i in 0..N {
        // S = y·Z³, R = Y ∓ S.
        hh[i] = h[i].squared_raw();
        let s = points[i].y.times(&z[i]);
        r[i] = sums[i].y.plus_or_minus_raw(digits[i].negative ^ sums[i].flipped, &s);
    }
    let (mut hhh, mut v, mut x) = ([zero; N], [zero; N], [zero; N]);
    let mut new_z = h;
    for i in 0..N {
        // V = X·H², X' = R² + H³ − 2V, Z' = Z·H.
        hhh[i] = h[i].times(&hh[i]);
        v[i] = sums[i].x.times(&hh[i]);
        new_z[i] = sums[i].z.times_raw(&h[i]);
        x[i] = Columns::square(&r[i]).plus(&hhh[i]).minus_both(&v[i], &v[i]).reduced::<1>().masked();
    }
    for i in 0..N {
        // Y' = R(X' − V) + Y·H³.
        let difference = x[i].minus_raw(&v[i]);
        let columns = Columns::zero().plus_product(&sums[i].y, &hhh[i]).plus_product(&r[i], &difference);
        let mut y = columns.reduced::<1>().masked();
        if first[i] != 0 {
            take_first(first[i], &mut x[i], &mut y, &mut new_z[i], (&u[i], &r[i]));
        }
        let kept = digits[i].zero;
        sums[i].empty &= !first[i];
        sums[i].x = x[i].replaced(kept, &sums[i].x);
        sums[i].y = y.replaced(kept, &sums[i].y);
        sums[i].z = new_z[i].replaced(kept, &sums[i].z);
        sums[i].flipped ^= !kept;
    }
}

/// The sum of nothing and a first point: X = U, Y = R, Z = 1.
#[cold]
#[target_feature(enable = "avx512f,avx512ifma")]
fn take_first(first: Mask, x: &mut Element, y: &mut Element, z: &mut Raw, (u, r): (&Element, &Raw)) {
    *x = x.replaced(first, u);
    *y = y.replaced(first, &r.masked());
    *z = z.replaced(first, &Element::one().raw());
}

/// Reads one point for each lane.
#[inline(always)]
fn gather(lines: [&Line; 8]) -> TablePoints {
    let mut rows = [Vector::zero(); 8];
    for lane in 0..8 {
        rows[lane] = Vector::load(&lines[lane].0);
    }
    let [a, b, c, d, e, f, g, h] = transpose(rows);
    TablePoints { x: Raw::of_words([a, b, c, d]), y: Raw::of_words([e, f, g, h]) }
}

/// Writes one point for each lane.
#[inline(always)]
fn scatter(x: [Vector; 4], y: [Vector; 4], lines: &mut [Line; 8]) {
    let rows = transpose([x[0], x[1], x[2], x[3], y[0], y[1], y[2], y[3]]);
    for lane in 0..8 {
        rows[lane].store(&mut lines[lane].0);
    }
}

/// Makes the multiples 1 to 16 of the points (x, y), and the same with β·x; y is not zero. Returns the factor by which their
/// curve is stretched: there they have Z = 1, so nothing is inverted.
///
/// 2P and P begin with one Z; then each addition of P to iP keeps one Z for both, and brings P along. Going back, all are
/// brought to the last Z.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn multiples(x: &Element, y: &Element, plain: &mut LaneTable, by_lambda: &mut LaneTable) -> Element {
    let zero = Element::zero();
    let (mut xs, mut ys, mut ratios) = ([zero; 17], [zero; 17], [zero; 17]);
    // M = 3x², S = 4xy², E = 8y⁴: P is (S, E), 2P is (M² − 2S, M(S − X) − E), both with Z = 2y.
    let m = x.squared_scaled::<3>();
    let yy = y.squared();
    let (mut px, mut py) = (x.times_scaled::<4>(&yy).masked(), yy.squared_scaled::<8>().masked());
    xs[2] = Columns::square(&m).minus_both(&px, &px).reduced::<1>().masked();
    let difference = px.minus_raw(&xs[2]);
    ys[2] = Columns::zero().minus(&py).plus_product(&m, &difference).reduced::<1>().masked();
    for i in 2..16 {
        // d = x₁ − x₂, W = x·d², X = (y₁ − y₂)² − W₁ − W₂, A = y₁(W₁ − W₂), Y = (y₁ − y₂)(W₁ − X) − A; P is (W₁, A).
        let (qx, qy) = (xs[i], ys[i]);
        let d = px.minus(&qx);
        let dd = d.squared();
        let (w1, w2) = (px.times(&dd), qx.times(&dd));
        let dy = py.minus_raw(&qy);
        py = py.times(&w1.minus_raw(&w2));
        xs[i + 1] = Columns::square(&dy).minus_both(&w1, &w2).reduced::<1>().masked();
        let difference = w1.minus_raw(&xs[i + 1]);
        ys[i + 1] = Columns::zero().minus(&py).plus_product(&dy, &difference).reduced::<1>().masked();
        px = w1;
        ratios[i] = d;
    }
    (xs[1], ys[1]) = (px, py);
    let mut ratio = Element::one();
    for i in (1..17).rev() {
        // The last is where it shall be, and P came along; the first ratio brings 2P to the Z of 3P.
        if 1 < i && i < 16 {
            ratio = ratio.times(&ratios[i]);
            let square = ratio.squared();
            (xs[i], ys[i]) = (xs[i].times(&square), ys[i].times(&square.times_raw(&ratio)));
        }
        let (x, y) = (xs[i].below_2_256().to_words(), ys[i].below_2_256().to_words());
        let beta_x = xs[i].times(&Element::beta()).below_2_256().to_words();
        scatter(x, y, &mut plain[i - 1]);
        scatter(beta_x, y, &mut by_lambda[i - 1]);
    }
    y.doubled().times(&ratio)
}

/// Multiplies x of each point by β.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn by_lambda(points: &[Line]) -> Vec<Line> {
    let mut out = Vec::with_capacity(points.len());
    for eight in points.chunks(8) {
        let mut lines = [Line([0; 8]); 8];
        lines[..eight.len()].copy_from_slice(eight);
        let mut rows = [Vector::zero(); 8];
        for lane in 0..8 {
            rows[lane] = Vector::load(&lines[lane].0);
        }
        let [a, b, c, d, e, f, g, h] = transpose(rows);
        let x = Element::of_words([a, b, c, d]).times(&Element::beta()).canonical().to_words();
        scatter(x, [e, f, g, h], &mut lines);
        out.extend_from_slice(&lines[..eight.len()]);
    }
    out
}

/// Computes the coordinates of sums with one inversion; `stretches` are those of their curves. Lanes without a sum, or where
/// a formula did not hold, are told: their coordinates mean nothing.
#[target_feature(enable = "avx512f,avx512ifma")]
pub(super) fn affine(sums: &[Sum], stretches: &[Element]) -> (Vec<Affine>, Vec<Mask>) {
    let one = Element::one();
    let mut unsure = Vec::with_capacity(sums.len());
    let mut steps = Vec::with_capacity(sums.len());
    let mut product = one;
    for (sum, stretch) in sums.iter().zip(stretches) {
        let z = sum.z.times(stretch);
        let none = z.zeros() | sum.empty;
        let z = z.replaced(none, &one);
        unsure.push(none);
        steps.push((z, product));
        product = product.times(&z);
    }
    let mut inverse = inverse(&product);
    let mut points = Vec::with_capacity(sums.len());
    for (sum, (z, before)) in sums.iter().zip(&steps).rev() {
        let z_inverse = inverse.times(before);
        inverse = inverse.times(z);
        let square = z_inverse.squared();
        let x = sum.x.times(&square).canonical();
        let y = sum.y.times(&square.times_raw(&z_inverse));
        let y = y.replaced(sum.flipped, &Element::zero().minus(&y)).canonical();
        points.push(Affine { x, y });
    }
    points.reverse();
    (points, unsure)
}
