//! Vector kernels for x86-64: one hash per lane, chosen at run time.
//!
//! The only module of the tree with `unsafe` code. The rule that makes it sound: a vector type here is private, and
//! is built only inside a function with `#[target_feature]` that [`Kernel::hash_many`](super::Kernel::hash_many)
//! calls after detecting the feature. So wherever its methods run, the feature is there.

mod avx2;
mod avx512;

use super::permutation::{Lane, permute};
use crate::tree::digest::Digest;
use crate::tree::goldilocks::canonical;

/// From this many states on a padded pack is faster than one hash after the other.
const VECTOR_MIN: usize = 3;

/// A vector of lanes that can be filled and emptied.
trait Pack<const LANES: usize>: Lane {
    /// Takes one element of every hash.
    fn from_lanes(elements: &[u64; LANES]) -> Self;
    /// Gives the elements back.
    fn to_lanes(self) -> [u64; LANES];
}

/// Hashes with AVX-512, 16 lanes at a time, then 8; a rest of at most 4 with AVX2. Hashes nothing and returns false on a
/// machine without it.
pub(super) fn hash_many_avx512(states: &[[u64; 12]], out: &mut [Digest]) -> bool {
    if !is_x86_feature_detected!("avx512f") {
        return false;
    }
    let hash_packs = |states: &[[u64; 12]], out: &mut [Digest]| {
        in_packs::<8>(states, out, |pack, out| {
            // SAFETY: AVX-512F was detected above.
            unsafe { avx512::hash_8(pack, out) }
        });
    };
    let (wide, rest) = states.as_chunks::<16>();
    let (wide_out, rest_out) = out.as_chunks_mut::<16>();
    for (pack, digests) in wide.iter().zip(wide_out) {
        // SAFETY: AVX-512F was detected above.
        unsafe { avx512::hash_16(pack, digests) }
    }
    let small = rest.len() % 8;
    let (whole, small) = rest.split_at(if small <= 4 { rest.len() - small } else { rest.len() });
    let (whole_out, small_out) = rest_out.split_at_mut(whole.len());
    hash_packs(whole, whole_out);
    if !hash_many_avx2(small, small_out) {
        hash_packs(small, small_out);
    }
    true
}

/// Hashes with AVX2, 4 lanes at a time. Hashes nothing and returns false on a machine without it.
pub(super) fn hash_many_avx2(states: &[[u64; 12]], out: &mut [Digest]) -> bool {
    if !is_x86_feature_detected!("avx2") {
        return false;
    }
    in_packs::<4>(states, out, |pack, out| {
        // SAFETY: AVX2 was detected above.
        unsafe { avx2::hash_4(pack, out) }
    });
    true
}

/// Cuts the states into packs. The last one is filled up with zeros, or hashed one by one if it is nearly empty.
#[inline(always)]
fn in_packs<const LANES: usize>(
    states: &[[u64; 12]],
    out: &mut [Digest],
    hash_pack: impl Fn(&[[u64; 12]; LANES], &mut [Digest; LANES]),
) {
    let (packs, rest) = states.as_chunks::<LANES>();
    let (packs_out, rest_out) = out.as_chunks_mut::<LANES>();
    for (pack, digests) in packs.iter().zip(packs_out) {
        hash_pack(pack, digests);
    }
    if rest.len() < VECTOR_MIN {
        for (state, digest) in rest.iter().zip(rest_out) {
            *digest = super::scalar::hash(state);
        }
        return;
    }
    let mut pack = [[0; 12]; LANES];
    let mut digests = [Digest::ZERO; LANES];
    pack[..rest.len()].copy_from_slice(rest);
    hash_pack(&pack, &mut digests);
    rest_out.copy_from_slice(&digests[..rest.len()]);
}

/// Hashes one pack: transposes, permutes, takes the first four elements.
#[inline(always)]
fn hash_pack<const LANES: usize, P: Pack<LANES>>(states: &[[u64; 12]; LANES], out: &mut [Digest; LANES]) {
    let mut elements = [P::splat(0); 12];
    for (i, element) in elements.iter_mut().enumerate() {
        let mut lanes = [0; LANES];
        for (lane, state) in lanes.iter_mut().zip(states) {
            *lane = state[i];
        }
        *element = P::from_lanes(&lanes);
    }
    permute(&mut elements);
    for (i, element) in elements.iter().take(4).enumerate() {
        for (digest, lane) in out.iter_mut().zip(element.to_lanes()) {
            digest.0[i] = canonical(lane);
        }
    }
}
