//! Vector kernels for x86-64: one hash per lane, chosen at run time.
//!
//! The only module of the tree with `unsafe` code. The rule that makes it sound: a vector type here is private, and
//! is built only inside a function with `#[target_feature]` that [`Kernel::hash_many`](super::Kernel::hash_many)
//! calls after detecting the feature. So wherever its methods run, the feature is there.

mod avx2;
mod avx512;

use std::array::{from_mut, from_ref};

use super::permutation::{Lane, permute};
use crate::digest::Digest;
use crate::goldilocks::{EPSILON, canonical};

/// From this many states on a padded pack is faster than one hash after the other.
const VECTOR_MIN: usize = 2;

/// A vector of lanes that can be filled and emptied.
trait Pack<const LANES: usize>: Lane {
    /// Takes one element of every hash.
    fn from_lanes(elements: &[u64; LANES]) -> Self;
    /// Gives the elements back.
    fn to_lanes(self) -> [u64; LANES];
}

/// A vector whose multiplication takes 32 bits: what products of 64 bits are made of.
trait Halves: Lane {
    /// Keeps the bits that are set in both.
    fn and(self, other: Self) -> Self;
    /// Shifts right by 32 bits.
    fn shr_32(self) -> Self;
    /// Multiplies the low halves to 64 bits.
    fn mul_low(self, other: Self) -> Self;
    /// Takes the low halves of `self`, and those of `high` as high halves.
    fn beside(self, high: Self) -> Self;
    /// Reduces the product `low + 2^64 · high` to a representative; `trust` as in [`Lane::power_7`].
    fn reduce(low: Self, high: Self, trust: &mut Self) -> Self;
}

/// What [`Lane::power_7`] says.
#[inline(always)]
fn power_7<V: Halves, const N: usize>(x: [V; N], trust: &mut V) -> [(V, V); N] {
    let x2 = mul(x, x, trust);
    let x3 = mul(x2, x, trust);
    let x4 = mul(x2, x2, trust);
    let (low, middle, high) = products(x3, x4);
    let mut power = [(x[0], x[0]); N];
    for i in 0..N {
        // 2^64 = 2^32 − 1 and 2^96 = −1 (mod p).
        let (high_low, high_high) = high[i].split();
        let low = low[i].and(V::splat(EPSILON)).minus(high_low).minus(high_high);
        power[i] = (low, middle[i].and(V::splat(EPSILON)).plus(high_low));
    }
    power
}

/// Multiplies representatives to representatives.
#[inline(always)]
fn mul<V: Halves, const N: usize>(x: [V; N], y: [V; N], trust: &mut V) -> [V; N] {
    let (low, middle, high) = products(x, y);
    let mut product = x;
    for i in 0..N {
        product[i] = V::reduce(low[i].beside(middle[i]), high[i], trust);
    }
    product
}

/// Multiplies to 128 bits: the low halves of the first two, and all of the third, from the lowest part on. Each step is
/// done for all pairs before the next, so that latencies overlap. (No closures: they would not be compiled for the
/// vectors' feature.)
#[inline(always)]
fn products<V: Halves, const N: usize>(x: [V; N], y: [V; N]) -> ([V; N], [V; N], [V; N]) {
    let (mut low_low, mut low_high, mut high_low, mut high_high) = (x, x, x, x);
    for i in 0..N {
        let (x_high, y_high) = (x[i].shr_32(), y[i].shr_32());
        low_low[i] = x[i].mul_low(y[i]);
        low_high[i] = x[i].mul_low(y_high);
        high_low[i] = x_high.mul_low(y[i]);
        high_high[i] = x_high.mul_low(y_high);
    }
    let (mut middle, mut high) = (x, x);
    for i in 0..N {
        let (carried_low, carried_high) = high_low[i].plus(low_low[i].shr_32()).split();
        middle[i] = low_high[i].plus(carried_low);
        high[i] = high_high[i].plus(carried_high).plus(middle[i].shr_32());
    }
    (low_low, middle, high)
}

/// Hashes with AVX-512, 16 lanes at a time, then 8; a rest of at most 4 with AVX2. Hashes nothing and returns false on a
/// machine without it.
pub(super) fn hash_many_avx512(states: &[[u64; 12]], out: &mut [Digest]) -> bool {
    if !is_x86_feature_detected!("avx512f") {
        return false;
    }
    // SAFETY: AVX-512F was detected above.
    let (hash_8, hash_16) = (
        |states: &_, out: &mut _| unsafe { avx512::hash_8::<1>(states, out) },
        |states: &_, out: &mut _| unsafe { avx512::hash_8::<2>(states, out) },
    );
    let small = if states.len() % 8 <= 4 { states.len() % 8 } else { 0 };
    let (states, small) = states.split_at(states.len() - small);
    let (out, small_out) = out.split_at_mut(states.len());
    in_packs(states, out, hash_8, hash_16);
    if !hash_many_avx2(small, small_out) {
        in_packs(small, small_out, hash_8, hash_16);
    }
    true
}

/// Hashes with AVX2, 8 lanes in two registers at a time, then 4. Hashes nothing and returns false on a machine without
/// it.
pub(super) fn hash_many_avx2(states: &[[u64; 12]], out: &mut [Digest]) -> bool {
    if !is_x86_feature_detected!("avx2") {
        return false;
    }
    // SAFETY: AVX2 was detected above.
    let (hash_4, hash_8) = (
        |states: &_, out: &mut _| unsafe { avx2::hash_4::<1>(states, out) },
        |states: &_, out: &mut _| unsafe { avx2::hash_4::<2>(states, out) },
    );
    in_packs(states, out, hash_4, hash_8);
    true
}

/// Cuts the states into pairs of packs, and packs. The last pack is filled up with zeros, or its hashes are made one by
/// one if it is nearly empty.
#[inline(always)]
fn in_packs<const LANES: usize>(
    states: &[[u64; 12]],
    out: &mut [Digest],
    hash_pack: impl Fn(&[[[u64; 12]; LANES]; 1], &mut [[Digest; LANES]; 1]),
    hash_two: impl Fn(&[[[u64; 12]; LANES]; 2], &mut [[Digest; LANES]; 2]),
) {
    let (packs, rest) = states.as_chunks::<LANES>();
    let (packs_out, rest_out) = out.as_chunks_mut::<LANES>();
    let (pairs, single) = packs.as_chunks::<2>();
    let (pairs_out, single_out) = packs_out.as_chunks_mut::<2>();
    for (pair, digests) in pairs.iter().zip(pairs_out) {
        hash_two(pair, digests);
    }
    for (pack, digests) in single.iter().zip(single_out) {
        hash_pack(from_ref(pack), from_mut(digests));
    }
    if rest.len() < VECTOR_MIN {
        for (state, digest) in rest.iter().zip(rest_out) {
            *digest = super::scalar::hash(state);
        }
        return;
    }
    let mut pack = [[[0; 12]; LANES]];
    let mut digests = [[Digest::ZERO; LANES]];
    pack[0][..rest.len()].copy_from_slice(rest);
    hash_pack(&pack, &mut digests);
    rest_out.copy_from_slice(&digests[0][..rest.len()]);
}

/// Hashes packs: transposes, permutes, takes the first four elements.
#[inline(always)]
fn hash_packs<const LANES: usize, const PACKS: usize, const GROUP: usize, P: Pack<LANES>>(
    states: &[[[u64; 12]; LANES]; PACKS],
    out: &mut [[Digest; LANES]; PACKS],
) {
    let mut packs = [[P::splat(0); 12]; PACKS];
    for (elements, states) in packs.iter_mut().zip(states) {
        for (i, element) in elements.iter_mut().enumerate() {
            let mut lanes = [0; LANES];
            for (lane, state) in lanes.iter_mut().zip(states) {
                *lane = state[i];
            }
            *element = P::from_lanes(&lanes);
        }
    }
    let trust = permute::<P, PACKS, GROUP>(&mut packs);
    if trust.to_lanes().iter().any(|lane| lane >> 32 <= 1) {
        return hash_again(states.as_flattened(), out.as_flattened_mut());
    }
    for (elements, digests) in packs.iter().zip(out) {
        for (i, element) in elements.iter().take(4).enumerate() {
            for (digest, lane) in digests.iter_mut().zip(element.to_lanes()) {
                digest.0[i] = canonical(lane);
            }
        }
    }
}

/// Hashes in plain arithmetic what a kernel is not sure of: one pack in ten million, and states made for it.
#[cold]
fn hash_again(states: &[[u64; 12]], out: &mut [Digest]) {
    for (state, digest) in states.iter().zip(out) {
        *digest = super::scalar::hash(state);
    }
}
