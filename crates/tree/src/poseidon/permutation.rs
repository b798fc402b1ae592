//! The permutation, written once for every kind of lane.
//!
//! A lane holds one state element of one hash (scalar) or of several hashes (one per vector element). Three things
//! make it fast:
//!
//! - The matrix is applied in the frequency domain. Read a state as a polynomial modulo X^12 − 1; with Y = X^3 that
//!   splits into Y = 1, Y = −1 and Y = i, three products of length 3 whose constants are powers of two (see [`mix`]).
//! - Elements travel through the matrix as pairs (low, high) with value low + 2^32·high, so no product overflows 64
//!   bits and nothing is reduced until the end.
//! - In partial rounds only element 0 is reduced each round; the others stay pairs for three rounds.
//! - The last product of an S-box is not reduced at all: it goes into the matrix as a pair.
//!
//! Parts of a pair are exact modulo 2^64 and may be negative in between. How far they get: the two halves of a
//! representative are in [0, 2^32); a product is a pair with low in (−2^33, 2^32) and high in [0, 2^33]. A row of the
//! matrix sums to at most 264 < 2^8.05, and column 0, which a product meets, has entries of at most 41. So after
//! three rounds low is above −2^33 · 41 · (1 + 264 + 264^2) > −2^55 and both are below 2^57; [`join_with`] adds a
//! multiple of p that makes low positive.
//!
//! The code is kept small on purpose: one copy of a full and of a partial round fits the processor's cache of decoded
//! instructions.

use std::ops::Range;

use super::constants::{FIRST_FINAL, FIRST_PARTIAL, FOLDED_CONSTANTS};
use crate::goldilocks::EPSILON;

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
    /// Reduces `low + 2^32 · high`, both in [0, 2^58), to a representative.
    fn join(low: Self, high: Self) -> Self;
    /// Adds a canonical constant to a representative.
    fn add_canonical(self, constant: u64) -> Self;
    /// Raises representatives to the 7th power, step by step together. Returns pairs (low, high) with the value
    /// `low + 2^32 · high`, low in (−2^33, 2^32) and high in [0, 2^33].
    ///
    /// Reductions may leave out a carry that hardly ever happens, if they lower the high half of `trust` to 0 or 1 where
    /// it may have happened.
    fn power_7<const N: usize>(x: [Self; N], trust: &mut Self) -> [(Self, Self); N];
}

/// Applies the permutation to `STATES` states, S-boxes of full rounds `GROUP` at a time (a divisor of 12). Accepts and
/// returns representatives. Several states hide each other's latencies in partial rounds.
///
/// Where the high half of an element of the returned lane is 0 or 1, the states of that lane may be wrong.
#[inline(always)]
pub(super) fn permute<L: Lane, const STATES: usize, const GROUP: usize>(states: &mut [[L; 12]; STATES]) -> L {
    let mut trust = L::splat(u64::MAX);
    for state in states.iter_mut() {
        for (element, constant) in state.iter_mut().zip(&FOLDED_CONSTANTS[0]) {
            *element = element.add_canonical(*constant);
        }
    }
    for first in [0, FIRST_FINAL] {
        for state in states.iter_mut() {
            for round in first..first + FIRST_PARTIAL {
                full_round::<L, GROUP>(state, &FOLDED_CONSTANTS[round + 1], &mut trust);
            }
        }
        let mut round = first + FIRST_PARTIAL;
        while round < FIRST_FINAL {
            let end = FIRST_FINAL.min(round + 3);
            partial_rounds(states, round..end, &mut trust);
            round = end;
        }
    }
    trust
}

/// All 12 S-boxes, the matrix, then the constants of the next round.
#[inline(always)]
fn full_round<L: Lane, const GROUP: usize>(state: &mut [L; 12], next: &[u64; 12], trust: &mut L) {
    // Not copies of the state, which the compiler would really make.
    let (mut low, mut high) = ([state[0]; 12], [state[0]; 12]);
    for first in (0..12).step_by(GROUP) {
        let mut group = [state[0]; GROUP];
        group.copy_from_slice(&state[first..first + GROUP]);
        for (i, power) in L::power_7(group, trust).into_iter().enumerate() {
            (low[first + i], high[first + i]) = power;
        }
    }
    join_all(state, &mix(&low), &mix(&high), next);
}

/// At most three rounds with one S-box each; the elements without S-box are reduced after the last.
#[inline(always)]
fn partial_rounds<L: Lane, const STATES: usize>(states: &mut [[L; 12]; STATES], rounds: Range<usize>, trust: &mut L) {
    let (mut low, mut high) = (*states, *states);
    let mut heads = [states[0][0]; STATES];
    for i in 0..STATES {
        (low[i], high[i]) = split_all(&states[i]);
        heads[i] = states[i][0];
    }
    let next = &FOLDED_CONSTANTS[rounds.end];
    for round in rounds {
        let powers = L::power_7(heads, trust);
        for i in 0..STATES {
            (low[i][0], high[i][0]) = powers[i];
            low[i] = mix(&low[i]);
            high[i] = mix(&high[i]);
            heads[i] = join_with(low[i][0], high[i][0], FOLDED_CONSTANTS[round + 1][0]);
        }
    }
    for i in 0..STATES {
        // Only before round 26 do elements 1 to 11 have constants.
        join_all(&mut states[i], &low[i], &high[i], next);
        states[i][0] = heads[i];
    }
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

/// Reduces a pair plus a constant, which is cheaper to add before the reduction than after. Low may be negative, down to
/// −2^56.
#[inline(always)]
fn join_with<L: Lane>(low: L, high: L, constant: u64) -> L {
    // (1 + 2^56) + 2^32·(EPSILON − 2^24) is p: nothing is added modulo p.
    let low = low.plus(L::splat((constant & EPSILON) + 1 + (1 << 56)));
    let high = high.plus(L::splat((constant >> 32) + EPSILON - (1 << 24)));
    L::join(low, high)
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
