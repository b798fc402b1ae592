//! The way of a key through the tree: bits interleave over the four limbs (state-tree §7).

use std::cmp::Ordering;

use super::digest::Digest;
use super::goldilocks::GOLDILOCKS_PRIME;

/// Number of bits of a key, hence the greatest depth of a leaf.
pub(crate) const KEY_BITS: usize = 256;

/// Returns the bit that decides at this level: level 0 is the root's, the limbs take turns.
#[inline]
pub fn bit(key: &Digest, level: usize) -> usize {
    (key.0[level % 4] >> (level / 4) & 1) as usize
}

/// Returns the key that takes these turns from the root on, and left ones below.
pub fn key_of_turns(turns: impl IntoIterator<Item = usize>) -> Digest {
    let mut key = Digest::ZERO;
    for (level, side) in turns.into_iter().take(KEY_BITS).enumerate() {
        key.0[level % 4] |= (side as u64 & 1) << (level / 4);
    }
    key
}

/// Returns the first level at which two keys part, `None` if they are equal.
#[inline]
pub fn first_difference(a: &Digest, b: &Digest) -> Option<usize> {
    (0..4)
        .filter_map(|limb| {
            let difference = a.0[limb] ^ b.0[limb];
            (difference != 0).then(|| difference.trailing_zeros() as usize * 4 + limb)
        })
        .min()
}

/// Orders keys as their leaves stand in the tree, left to right.
#[inline]
pub(crate) fn compare(a: &Digest, b: &Digest) -> Ordering {
    match first_difference(a, b) {
        None => Ordering::Equal,
        Some(level) => bit(a, level).cmp(&bit(b, level)),
    }
}

/// Number of bits of each limb consumed by the first `depth` levels, 0 to 64.
fn consumed(depth: usize) -> [u32; 4] {
    std::array::from_fn(|limb| (depth / 4 + usize::from(limb < depth % 4)) as u32)
}

/// Returns what is left of a key below the first `depth` levels. A limb consumed whole leaves 0.
pub fn remaining(key: &Digest, depth: usize) -> Digest {
    let shifts = consumed(depth);
    Digest(std::array::from_fn(|limb| key.0[limb].checked_shr(shifts[limb]).unwrap_or(0)))
}

/// Returns the key whose first `depth` bits are those of `prefix` and whose rest is `remaining`.
///
/// `None` if no key is like that: a remaining limb has too many bits, or the joined limb is not a field element.
pub(crate) fn join(prefix: &Digest, depth: usize, remaining: &Digest) -> Option<Digest> {
    let shifts = consumed(depth);
    let mut key = [0; 4];
    for limb in 0..4 {
        let (shift, rest) = (shifts[limb], remaining.0[limb]);
        if rest.leading_zeros() < shift {
            return None;
        }
        let low_bits = !u64::MAX.checked_shl(shift).unwrap_or(0);
        key[limb] = rest.checked_shl(shift).unwrap_or(0) | prefix.0[limb] & low_bits;
        if key[limb] >= GOLDILOCKS_PRIME {
            return None;
        }
    }
    Some(Digest(key))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::b256;
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Digest> {
        prop_oneof![any::<[u64; 4]>(), prop::array::uniform4(0..4u64)]
            .prop_map(|limbs| Digest(limbs.map(|limb| limb % GOLDILOCKS_PRIME)))
    }

    #[test]
    fn bits_take_turns_over_the_limbs() {
        let balance_key: Digest = b256!("649e63bfe1247ba44c2f3e938869b82dd24df1950f2d8f15cddc57c0d0fdd4ed").into();
        let bits: String = (0..16).map(|level| if bit(&balance_key, level) == 1 { '1' } else { '0' }).collect();
        assert_eq!(bits, "1110000011111010");
    }

    #[test]
    fn remaining_key_loses_one_more_bit_in_the_limbs_that_had_their_turn() {
        assert_eq!(remaining(&Digest([0xff; 4]), 6), Digest([0x3f, 0x3f, 0x7f, 0x7f]));
    }

    #[test]
    fn a_limb_consumed_whole_leaves_zero() {
        let key = Digest([GOLDILOCKS_PRIME - 1; 4]);
        assert_eq!(remaining(&key, 253), Digest([0, 1, 1, 1]));
        assert_eq!(remaining(&key, 256), Digest::ZERO);
        assert_eq!(join(&key, 256, &Digest::ZERO), Some(key));
    }

    #[test]
    fn impossible_remaining_keys_do_not_join() {
        assert_eq!(join(&Digest::ZERO, 4, &Digest([1 << 63, 0, 0, 0])), None);
        assert_eq!(join(&Digest::ZERO, 256, &Digest([1, 0, 0, 0])), None);
        assert_eq!(join(&Digest::ZERO, 0, &Digest([GOLDILOCKS_PRIME, 0, 0, 0])), None);
    }

    proptest! {
        #[test]
        fn turns_lead_back_to_their_key(key in key()) {
            prop_assert_eq!(key_of_turns((0..KEY_BITS).map(|level| bit(&key, level))), key);
        }

        #[test]
        fn joining_undoes_splitting(key in key(), depth in 0..=KEY_BITS) {
            prop_assert_eq!(join(&key, depth, &remaining(&key, depth)), Some(key));
        }

        #[test]
        fn order_is_that_of_the_bits(a in key(), b in key()) {
            let bits = |key: &Digest| (0..KEY_BITS).map(|level| bit(key, level)).collect::<Vec<_>>();
            prop_assert_eq!(compare(&a, &b), bits(&a).cmp(&bits(&b)));
            let parting = bits(&a).iter().zip(bits(&b)).position(|(x, y)| *x != y);
            prop_assert_eq!(first_difference(&a, &b), parting);
        }
    }
}
