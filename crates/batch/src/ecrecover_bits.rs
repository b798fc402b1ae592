//! The two scalars of a key recovery, as far as the ROM's work depends on them (exact-counters §3.1).

use alloy_primitives::{B256, U256, uint};

use super::signer::Signature;

/// n, the order of secp256k1.
const ORDER: U256 = uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);
/// −n⁻¹ modulo 2^64.
const ORDER_REDC: u64 = negated_inverse(ORDER.as_limbs()[0]);
/// 2^256 modulo n: one, in Montgomery's form.
const ONE_REDC: U256 = uint!(0x14551231950b75fc4402da1732fc9bebf_U256);

/// Bits of −hash/r and s/r modulo n, between which the ROM doubles and adds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScalarBits {
    /// Bits set in both.
    pub both: u16,
    /// Bits set in one of them.
    pub one: u16,
    /// Leading bits set in neither.
    pub leading: u16,
}

impl ScalarBits {
    /// Computes those of many signatures with one inversion; `None` where r is zero or not below n.
    pub fn of_many(signatures: &[Signature]) -> Vec<Option<Self>> {
        // Products of all r up to each one; every invalid r counts as one.
        let r_squared = ONE_REDC.mul_mod(ONE_REDC, ORDER);
        let in_range = |r: B256| Some(U256::from_be_bytes(r.0)).filter(|r| !r.is_zero() && *r < ORDER);
        let mut product = ONE_REDC;
        let products: Vec<(U256, Option<U256>)> = signatures
            .iter()
            .map(|signature| {
                let before = product;
                let r = in_range(signature.r).map(|r| redc(r, r_squared));
                product = r.map_or(product, |r| redc(product, r));
                (before, r)
            })
            .collect();
        let Some(inverse) = redc(product, U256::ONE).inv_mod(ORDER) else {
            return vec![None; signatures.len()];
        };
        let mut inverse = redc(inverse, r_squared);
        let mut all_bits = vec![None; signatures.len()];
        for ((bits, signature), (before, r)) in all_bits.iter_mut().zip(signatures).zip(products).rev() {
            let Some(r) = r else { continue };
            *bits = Some(Self::of(signature, redc(inverse, before)));
            inverse = redc(inverse, r);
        }
        all_bits
    }

    fn of(signature: &Signature, r_inverse_redc: U256) -> Self {
        let scalar = |word: B256| {
            let word = U256::from_be_bytes(word.0);
            if word < ORDER { word } else { word - ORDER }
        };
        let hash = scalar(signature.hash);
        let minus_hash = if hash.is_zero() { hash } else { ORDER - hash };
        let k1 = redc(r_inverse_redc, minus_hash);
        let k2 = redc(r_inverse_redc, scalar(signature.s));
        Self {
            both: (k1 & k2).count_ones() as u16,
            one: (k1 ^ k2).count_ones() as u16,
            leading: (k1 | k2).leading_zeros() as u16,
        }
    }
}

/// Montgomery's product: a · b / 2^256 modulo n, for a and b below n.
fn redc(a: U256, b: U256) -> U256 {
    a.mul_redc(b, ORDER, ORDER_REDC)
}

/// Newton's iteration: each step doubles the bits that are right.
const fn negated_inverse(odd: u64) -> u64 {
    let mut inverse = odd;
    let mut step = 0;
    while step < 6 {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        step += 1;
    }
    inverse.wrapping_neg()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by plain division.
    fn plain(signature: &Signature) -> Option<ScalarBits> {
        let word = |word: B256| U256::from_be_bytes(word.0);
        let r = Some(word(signature.r)).filter(|r| *r < ORDER)?;
        let inverse = r.inv_mod(ORDER)?;
        let hash = word(signature.hash).reduce_mod(ORDER);
        let k1 = (ORDER - hash).reduce_mod(ORDER).mul_mod(inverse, ORDER);
        let k2 = word(signature.s).mul_mod(inverse, ORDER);
        Some(ScalarBits {
            both: (k1 & k2).count_ones() as u16,
            one: (k1 ^ k2).count_ones() as u16,
            leading: (k1 | k2).leading_zeros() as u16,
        })
    }

    fn word() -> impl Strategy<Value = B256> {
        prop_oneof![
            6 => any::<[u8; 32]>().prop_map(B256::from),
            1 => Just(B256::ZERO),
            1 => Just(B256::repeat_byte(0xff)),
            1 => Just(B256::from(ORDER)),
            1 => Just(B256::from(ORDER - U256::ONE)),
        ]
    }

    proptest! {
        #[test]
        fn one_inversion_for_many_gives_what_one_each_gives(words in prop::collection::vec((word(), word(), word()), 0..20)) {
            let signatures: Vec<_> =
                words.into_iter().map(|(hash, r, s)| Signature { hash, r, s, v: 27 }).collect();
            let expected: Vec<_> = signatures.iter().map(plain).collect();
            prop_assert_eq!(ScalarBits::of_many(&signatures), expected);
        }
    }
}
