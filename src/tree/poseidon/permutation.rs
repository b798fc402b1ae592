//! The permutation, written once for every kind of lane.
//!
//! A lane holds one state element of one hash (scalar) or of several hashes (one per vector element). Three things
//! make it fast:
//!
//! - The matrix is applied in the frequency domain. Read a state as a polynomial modulo X^12 − 1; with Y = X^3 that
//!   splits into Y = 1, Y = −1 and Y = i, three products of length 3 whose constants are powers of two (see [`mix`]).
//! - Elements travel through the matrix as pairs (low, high) with value low + 2^32·high, so no product overflows 64
//!   bits and nothing is reduced until the end.
//! - In partial rounds only element 0 is reduced each round; the others stay pairs for three rounds. One application
//!   of the matrix multiplies by at most 264 < 2^8.05: 2^32 · 264^3 < 2^57 leaves room.

use super::constants::{FIRST_FINAL, FIRST_PARTIAL, FOLDED_CONSTANTS, ROUNDS};
use crate::tree::goldilocks::EPSILON;

/// One state element of one or several hashes. All arithmetic is per vector element.
pub(super) trait Lane: Copy {
    /// The same number in every hash.
    fn splat(x: u64) -> Self;
    /// Adds modulo 2^64.
    fn plus(self, other: Self) -> Self;
    /// Subtracts modulo 2^64.
    fn minus(self, other: Self) -> Self;
    /// Shifts left by 1, 2, 3, 4 or 32 bits.
    fn shl<const BITS: u32>(self) -> Self;
    /// Splits a representative into its low and high 32 bits.
    fn split(self) -> (Self, Self);
    /// Reduces `low + 2^32 · high`, both below 2^58, to a representative.
    fn join(low: Self, high: Self) -> Self;
    /// Adds a canonical constant to a representative.
    fn add_canonical(self, constant: u64) -> Self;
    /// Raises representatives to the 7th power, step by step together.
    fn power_7<const N: usize>(x: [Self; N]) -> [Self; N];
}

/// Applies the permutation. Accepts and returns representatives.
#[inline(always)]
pub(super) fn permute<L: Lane>(state: &mut [L; 12]) {
    for (element, constant) in state.iter_mut().zip(&FOLDED_CONSTANTS[0]) {
        *element = element.add_canonical(*constant);
    }
    for round in 0..FIRST_PARTIAL {
        full_round(state, &FOLDED_CONSTANTS[round + 1]);
    }
    let mut round = FIRST_PARTIAL;
    while round + 3 < FIRST_FINAL {
        partial_rounds::<L, 3>(state, round);
        round += 3;
    }
    partial_rounds::<L, 1>(state, round);
    for round in FIRST_FINAL..ROUNDS - 1 {
        full_round(state, &FOLDED_CONSTANTS[round + 1]);
    }
    full_round(state, &[0; 12]);
}

/// All 12 S-boxes, the matrix, then the constants of the next round.
#[inline(always)]
fn full_round<L: Lane>(state: &mut [L; 12], next: &[u64; 12]) {
    for group in state.chunks_exact_mut(4) {
        let powers = L::power_7([group[0], group[1], group[2], group[3]]);
        group.copy_from_slice(&powers);
    }
    let (low, high) = split_all(state);
    join_all(state, &mix(&low), &mix(&high), next);
}

/// `N` rounds with one S-box each; the elements without S-box are reduced after the last.
#[inline(always)]
fn partial_rounds<L: Lane, const N: usize>(state: &mut [L; 12], first: usize) {
    let (mut low, mut high) = split_all(state);
    let mut head = state[0];
    for round in first..first + N {
        [head] = L::power_7([head]);
        (low[0], high[0]) = head.split();
        low = mix(&low);
        high = mix(&high);
        head = join_with(low[0], high[0], FOLDED_CONSTANTS[round + 1][0]);
    }
    // Only before round 26 do elements 1 to 11 have constants.
    join_all(state, &low, &high, &FOLDED_CONSTANTS[first + N]);
    state[0] = head;
}

#[inline(always)]
fn split_all<L: Lane>(state: &[L; 12]) -> ([L; 12], [L; 12]) {
    let (mut low, mut high) = (*state, *state);
    for i in 0..12 {
        (low[i], high[i]) = state[i].split();
    }
    (low, high)
}

#[inline(always)]
fn join_all<L: Lane>(state: &mut [L; 12], low: &[L; 12], high: &[L; 12], constants: &[u64; 12]) {
    for i in 0..12 {
        state[i] = join_with(low[i], high[i], constants[i]);
    }
}

/// Reduces a pair plus a constant; adding before the reduction is cheaper than after.
#[inline(always)]
fn join_with<L: Lane>(low: L, high: L, constant: u64) -> L {
    L::join(low.plus(L::splat(constant & EPSILON)), high.plus(L::splat(constant >> 32)))
}

/// Multiplies by the matrix: y[i] = Σ circ[k]·x[(i+k) mod 12], plus 8·x[0] for i = 0.
///
/// As polynomials y = c·x modulo X^12 − 1 with c[j] = circ[−j mod 12]. Writing x = Σ X^b·x_b(X^3), b = 0, 1, 2:
///
/// | Y = X^3 | x_b(Y) | constants c_0, c_1, c_2, scaled by 1/4, 1/4, 1/2 for the way back |
/// |---|---|---|
/// | 1 | sum of the four elements | 16, 32, 16 |
/// | −1 | alternating sum | −1, −8, 2 |
/// | i | (x[b] − x[b+6]) + i(x[b+3] − x[b+9]) | 2+i, −4−i, 16−i |
///
/// Intermediate values may be negative: they are exact modulo 2^64 and the results are small and positive.
#[inline(always)]
fn mix<L: Lane>(x: &[L; 12]) -> [L; 12] {
    let mut even = [x[0]; 3];
    let mut odd = [x[0]; 3];
    let mut re = [x[0]; 3];
    let mut im = [x[0]; 3];
    for b in 0..3 {
        let (outer, inner) = (x[b].plus(x[b + 6]), x[b + 3].plus(x[b + 9]));
        even[b] = outer.plus(inner);
        odd[b] = outer.minus(inner);
        re[b] = x[b].minus(x[b + 6]);
        im[b] = x[b + 3].minus(x[b + 9]);
    }

    // 16·(e[b] + 2·e[b−1] + e[b−2]) = 16·(sum + e[b−1]), indices modulo 3.
    let sum = even[0].plus(even[1]).plus(even[2]);
    let even = [
        sum.plus(even[2]).shl::<4>(), //
        sum.plus(even[0]).shl::<4>(),
        sum.plus(even[1]).shl::<4>(),
    ];

    // Constants −1, −8, 2 with X^3 = −1.
    let (odd_2, odd_8) = (odd.map(L::shl::<1>), odd.map(L::shl::<3>));
    let odd = [
        odd_8[2].minus(odd_2[1]).minus(odd[0]),
        L::splat(0).minus(odd_8[0].plus(odd[1]).plus(odd_2[2])),
        odd_2[0].minus(odd_8[1]).minus(odd[2]),
    ];

    // Constants 2+i, −4−i, 16−i with X^3 = i.
    let (re_2, re_4, re_16) = (re.map(L::shl::<1>), re.map(L::shl::<2>), re.map(L::shl::<4>));
    let (im_2, im_4, im_16) = (im.map(L::shl::<1>), im.map(L::shl::<2>), im.map(L::shl::<4>));
    let real = [
        re_2[0].minus(im[0]).plus(re[1].minus(im_16[1])).plus(re[2].plus(im_4[2])),
        im[0].minus(re_4[0]).plus(re_2[1].minus(im[1])).plus(re[2].minus(im_16[2])),
        re_16[0].plus(im[0]).plus(im[1].minus(re_4[1])).plus(re_2[2].minus(im[2])),
    ];
    let imaginary = [
        re[0].plus(im_2[0]).plus(re_16[1].plus(im[1])).plus(im[2].minus(re_4[2])),
        re[1].plus(im_2[1]).minus(re[0].plus(im_4[0])).plus(re_16[2].plus(im[2])),
        im_16[0].minus(re[0]).minus(re[1].plus(im_4[1])).plus(re[2].plus(im_2[2])),
    ];

    let mut y = *x;
    for b in 0..3 {
        let (outer, inner) = (even[b].plus(odd[b]), even[b].minus(odd[b]));
        y[b] = outer.plus(real[b]);
        y[b + 3] = inner.plus(imaginary[b]);
        y[b + 6] = outer.minus(real[b]);
        y[b + 9] = inner.minus(imaginary[b]);
    }
    y[0] = y[0].plus(x[0].shl::<3>());
    y
}
