//! Signatures for comparing ways to recover keys: random ones, and all that is special about the curve and its order.

use alloy_primitives::{B256, U256, uint};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secp256k1::{PublicKey, SECP256K1, SecretKey};
use zkevm_recovery::Signature;

/// p, the order of the field.
const FIELD: U256 = uint!(0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f_U256);
/// n, the order of the curve.
const ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
/// A cube root of one modulo n: λ·(x, y) is (β·x, y).
const LAMBDA: U256 = uint!(0x5363ad4cc05c30e0a5261c028812645a122e22ea20816678df02967c1b23bd72_U256);
/// 2^128: what halves of scalars are smaller than.
const HALF_BITS: U256 = uint!(0x100000000000000000000000000000000_U256);

/// Makes signatures of a seed.
pub struct Signatures(ChaCha8Rng);

impl Signatures {
    /// Creates a generator that makes the same signatures for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn word(&mut self) -> B256 {
        let mut word = [0; 32];
        self.0.fill_bytes(&mut word);
        B256::from(word)
    }

    /// Returns random signatures, 1 to 100 of them: half of their r are the x of a point.
    pub fn random(&mut self) -> Vec<Signature> {
        let count = 1 + self.0.next_u64() % 100;
        let signature = |this: &mut Self| {
            let (hash, r, s) = (this.word(), this.word(), this.word());
            Signature { hash, r, s, is_odd: this.0.next_u64() % 2 == 1 }
        };
        (0..count).map(|_| signature(self)).collect()
    }

    /// Returns signatures with every r below `count`, and random hash and s.
    pub fn small_r(&mut self, count: u64) -> Vec<Signature> {
        let signature = |r: u64| Signature {
            hash: self.word(),
            r: B256::from(U256::from(r / 2)),
            s: self.word(),
            is_odd: r % 2 == 1,
        };
        (0..2 * count).map(signature).collect()
    }

    /// Returns signatures whose sums meet, cancel or vanish: R is a small multiple of G, u₁ and u₂ are a + b·λ with small a and
    /// b, or u₁·G + u₂·R is the point at infinity or beside it.
    pub fn related(&mut self) -> Vec<Signature> {
        let mut signatures = Vec::new();
        for (a, b) in [
            (1, 0),
            (-1, 0),
            (0, 1),
            (0, -1),
            (1, 1),
            (2, 0),
            (3, 0),
            (31, 0),
            (32, 0),
            (511, 0),
            (512, 0),
            (4096, 0),
            (0, 33),
        ] {
            let factor = combination(a, b);
            let (r, is_odd) = multiple_of_generator(factor);
            let mut push = |u1: U256, u2: U256| {
                // z = −u₁·r, s = u₂·r.
                let (hash, s) = (B256::from(negated(u1.mul_mod(r, ORDER))), B256::from(u2.mul_mod(r, ORDER)));
                signatures.push(Signature { hash, r: B256::from(r), s, is_odd });
            };
            for a in
                [-513, -512, -511, -33, -32, -31, -17, -16, -15, -2, -1, 0, 1, 2, 15, 16, 17, 31, 32, 33, 511, 512, 513]
            {
                for b in [-32, -1, 0, 1, 16, 512] {
                    for c in [-33, -32, -17, -16, -2, -1, 0, 1, 2, 15, 16, 17, 32, 33] {
                        for d in [-33, -1, 0, 1, 32] {
                            push(combination(a, b), combination(c, d));
                        }
                    }
                }
            }
            for _ in 0..50 {
                let u2 = U256::from_be_bytes(self.word().0).reduce_mod(ORDER);
                for beside in -1..=1 {
                    push(negated(u2.mul_mod(factor, ORDER)).add_mod(small(beside), ORDER), u2);
                }
            }
        }
        signatures
    }
}

/// Returns every combination of hash, r, s and parity with values that are next to a bound.
pub fn at_bounds() -> Vec<Signature> {
    let bounds = [U256::ZERO, ORDER, FIELD, ORDER >> 1, FIELD - ORDER, LAMBDA, negated(LAMBDA), HALF_BITS, U256::MAX];
    let beside = |bound: &U256| {
        let bound = *bound;
        (0..7).map(move |step| B256::from(bound.wrapping_add(U256::from(step)).wrapping_sub(U256::from(3))))
    };
    let values: Vec<B256> = bounds.iter().flat_map(beside).collect();
    let mut signatures = Vec::with_capacity(2 * values.len().pow(3));
    for &r in &values {
        for &s in &values {
            for &hash in &values {
                signatures.extend([false, true].map(|is_odd| Signature { hash, r, s, is_odd }));
            }
        }
    }
    signatures
}

/// a + b·λ modulo n.
fn combination(a: i64, b: i64) -> U256 {
    small(a).add_mod(small(b).mul_mod(LAMBDA, ORDER), ORDER)
}

fn small(x: i64) -> U256 {
    let size = U256::from(x.unsigned_abs());
    if x < 0 { negated(size) } else { size }
}

fn negated(x: U256) -> U256 {
    (ORDER - x.reduce_mod(ORDER)).reduce_mod(ORDER)
}

/// The x of a multiple of the generator modulo n, and whether its y is odd.
fn multiple_of_generator(factor: U256) -> (U256, bool) {
    let secret = SecretKey::from_byte_array(factor.to_be_bytes()).expect("it is from 1 to n - 1");
    let point = PublicKey::from_secret_key(SECP256K1, &secret).serialize();
    (U256::from_be_slice(&point[1..]).reduce_mod(ORDER), point[0] == 3)
}
