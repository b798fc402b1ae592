//! The two numbers of a key recovery, and their halves: plain arithmetic modulo n, the order of secp256k1.
//!
//! The key of (r, s) over a hash z is u₁·G + u₂·R with u₁ = −z/r and u₂ = s/r.

use alloy_primitives::{B256, U256, U512, uint};

use crate::Signature;

/// n.
const ORDER: U256 = uint!(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141_U256);
/// −n⁻¹ modulo 2^64.
const ORDER_REDC: u64 = negated_inverse(ORDER.as_limbs()[0]);
/// 2^256 modulo n: one, in Montgomery's form.
const ONE_REDC: U256 = uint!(0x14551231950b75fc4402da1732fc9bebf_U256);

/// u₁ and u₂ of a signature, below n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scalars {
    /// −hash/r.
    pub of_generator: U256,
    /// s/r.
    pub of_point: U256,
}

impl Scalars {
    /// Computes those of many signatures with one inversion; `None` where r is zero or not below n.
    pub fn of_many(signatures: &[Signature]) -> Vec<Option<Self>> {
        // Products of all r up to each one; every invalid r counts as one.
        let r_squared = ONE_REDC.mul_mod(ONE_REDC, ORDER);
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
        let mut all = vec![None; signatures.len()];
        for ((scalars, signature), (before, r)) in all.iter_mut().zip(signatures).zip(products).rev() {
            let Some(r) = r else { continue };
            *scalars = Some(Self::of(signature, redc(inverse, before)));
            inverse = redc(inverse, r);
        }
        all
    }

    fn of(signature: &Signature, r_inverse_redc: U256) -> Self {
        let reduced = |word: B256| {
            let word = U256::from_be_bytes(word.0);
            if word < ORDER { word } else { word - ORDER }
        };
        let hash = reduced(signature.hash);
        let minus_hash = if hash.is_zero() { hash } else { ORDER - hash };
        Self { of_generator: redc(r_inverse_redc, minus_hash), of_point: redc(r_inverse_redc, reduced(signature.s)) }
    }
}

/// The number, if it is from 1 to n − 1.
pub(crate) fn in_range(word: B256) -> Option<U256> {
    Some(U256::from_be_bytes(word.0)).filter(|word| !word.is_zero() && *word < ORDER)
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

/// One half of a number: below 2^128, and a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Half {
    pub(crate) size: u128,
    pub(crate) is_negative: bool,
}

/// A short basis of the lattice of all (a, b) with a + b·λ = 0 modulo n: (A₁, −B₁) and (A₂, A₁).
const A1: U256 = uint!(0x3086d221a7d46bcde86c90e49284eb15_U256);
const B1: U256 = uint!(0xe4437ed6010e88286f547fa90abfe4c3_U256);
const A2: U256 = uint!(0x114ca50f7a8e2f3f657c1108d9d44cfd8_U256);
/// round(2^384 · A₁ / n) and round(2^384 · B₁ / n).
const G1: U256 = uint!(0x3086d221a7d46bcde86c90e49284eb153daa8a1471e8ca7fe893209a45dbb031_U256);
const G2: U256 = uint!(0xe4437ed6010e88286f547fa90abfe4c4221208ac9df506c61571b4ae8ac47f71_U256);

/// Splits k below n into k₁ + k₂·λ modulo n.
///
/// The vector of the lattice next to (k, 0) is taken off; what is left is short, so wrapping arithmetic shows its sign.
pub(crate) fn split(k: U256) -> [Half; 2] {
    let (c1, c2) = (rounded_product(k, G1), rounded_product(k, G2));
    let k1 = k.wrapping_sub(c1.wrapping_mul(A1)).wrapping_sub(c2.wrapping_mul(A2));
    let k2 = c1.wrapping_mul(B1).wrapping_sub(c2.wrapping_mul(A1));
    [k1, k2].map(|half| {
        let is_negative = half.bit(255);
        let size = if is_negative { half.wrapping_neg() } else { half };
        let [low, high, ..] = *size.as_limbs();
        Half { size: u128::from(low) | u128::from(high) << 64, is_negative }
    })
}

/// round(k · g / 2^384).
fn rounded_product(k: U256, g: U256) -> U256 {
    let product: U512 = k.widening_mul(g);
    let [.., half, low, high] = *product.as_limbs();
    let rounded = (u128::from(low) | u128::from(high) << 64) + u128::from(half >> 63);
    U256::from(rounded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LAMBDA: U256 = uint!(0x5363ad4cc05c30e0a5261c028812645a122e22ea20816678df02967c1b23bd72_U256);

    /// The same by plain division.
    fn plain(signature: &Signature) -> Option<Scalars> {
        let word = |word: B256| U256::from_be_bytes(word.0);
        let r = Some(word(signature.r)).filter(|r| *r < ORDER)?;
        let inverse = r.inv_mod(ORDER)?;
        let hash = word(signature.hash).reduce_mod(ORDER);
        Some(Scalars {
            of_generator: (ORDER - hash).reduce_mod(ORDER).mul_mod(inverse, ORDER),
            of_point: word(signature.s).mul_mod(inverse, ORDER),
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
                words.into_iter().map(|(hash, r, s)| Signature { hash, r, s, is_odd: false }).collect();
            let expected: Vec<_> = signatures.iter().map(plain).collect();
            prop_assert_eq!(Scalars::of_many(&signatures), expected);
        }

        #[test]
        fn halves_are_short_and_make_up_the_whole(word in word(), lambdas in 0u64..3) {
            let k = U256::from_be_bytes(word.0).reduce_mod(ORDER).add_mod(LAMBDA.mul_mod(U256::from(lambdas), ORDER), ORDER);
            let [k1, k2] = split(k).map(|Half { size, is_negative }| {
                prop_assert!(size < 1 << 127 || size.leading_zeros() == 0);
                let size = U256::from(size);
                Ok(if is_negative { (ORDER - size).reduce_mod(ORDER) } else { size })
            });
            prop_assert_eq!(k1?.add_mod(k2?.mul_mod(LAMBDA, ORDER), ORDER), k);
        }
    }
}
