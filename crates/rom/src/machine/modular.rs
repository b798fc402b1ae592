//! Arithmetic modulo the primes of the curves (main-state-machine §5.5, §8.5).

use alloy_primitives::ruint::algorithms;
use alloy_primitives::{U256, uint};

/// Prime of the coordinates of secp256k1.
pub(super) const SECP256K1: U256 = uint!(0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f_U256);
/// Order of secp256k1.
pub(super) const SECP256K1_ORDER: U256 = uint!(0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141_U256);
/// Prime of the coordinates of secp256r1.
pub(super) const SECP256R1: U256 = uint!(0xffffffff00000001000000000000000000000000ffffffffffffffffffffffff_U256);
/// Order of secp256r1.
pub(super) const SECP256R1_ORDER: U256 = uint!(0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551_U256);
/// Prime of the coordinates of BN254.
pub(super) const BN254: U256 = uint!(0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47_U256);

/// A prime.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field(pub(super) U256);

impl Field {
    pub(super) fn add(self, a: U256, b: U256) -> U256 {
        a.add_mod(b, self.0)
    }

    pub(super) fn sub(self, a: U256, b: U256) -> U256 {
        let b = b % self.0;
        a.add_mod(if b.is_zero() { b } else { self.0 - b }, self.0)
    }

    pub(super) fn mul(self, a: U256, b: U256) -> U256 {
        a.mul_mod(b, self.0)
    }

    pub(super) fn inverse(self, a: U256) -> Option<U256> {
        (a % self.0).inv_mod(self.0)
    }

    #[cfg(test)]
    pub(super) fn pow(self, a: U256, exponent: U256) -> U256 {
        a.pow_mod(exponent, self.0)
    }
}

/// A curve whose points commands add and double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Curve {
    Secp256k1,
    Secp256r1,
}

impl Curve {
    /// Returns the prime of the coordinates.
    pub(super) fn prime(self) -> U256 {
        match self {
            Self::Secp256k1 => SECP256K1,
            Self::Secp256r1 => SECP256R1,
        }
    }

    fn field(self) -> Field {
        Field(self.prime())
    }

    /// Adds two points by the formula for different ones, on the curve or not; `None` if their x are equal.
    pub(super) fn add(self, [x1, y1, x2, y2]: [U256; 4]) -> Option<(U256, U256)> {
        let field = self.field();
        let slope = field.mul(field.sub(y2, y1), field.inverse(field.sub(x2, x1))?);
        Some(self.third(slope, x1, y1, x2))
    }

    /// Doubles a point, on the curve or not; `None` if its y is zero.
    pub(super) fn double(self, x: U256, y: U256) -> Option<(U256, U256)> {
        let field = self.field();
        let mut numerator = field.mul(field.mul(x, x), U256::from(3));
        if self == Self::Secp256r1 {
            numerator = field.sub(numerator, U256::from(3));
        }
        let slope = field.mul(numerator, field.inverse(field.add(y, y))?);
        Some(self.third(slope, x, y, x))
    }

    fn third(self, slope: U256, x1: U256, y1: U256, x2: U256) -> (U256, U256) {
        let field = self.field();
        let x3 = field.sub(field.sub(field.mul(slope, slope), x1), x2);
        let y3 = field.sub(field.mul(slope, field.sub(x1, x3)), y1);
        (x3, y3)
    }
}

/// Multiplies two numbers of the quadratic extension of BN254's field: (x1 + y1·i)·(x2 + y2·i).
pub(super) fn fp2_mul([x1, y1, x2, y2]: [U256; 4]) -> (U256, U256) {
    let field = Field(BN254);
    let x = field.sub(field.mul(x1, x2), field.mul(y1, y2));
    let y = field.add(field.mul(x1, y2), field.mul(x2, y1));
    (x, y)
}

/// Divides numbers of several digits of 256 bits, the lowest first. Returns quotient and remainder without leading zeros;
/// `None` if the divisor is zero.
pub(super) fn divide(dividend: &[U256], divisor: &[U256]) -> Option<(Vec<U256>, Vec<U256>)> {
    let mut numerator = limbs(dividend);
    let mut denominator = limbs(divisor);
    while denominator.last() == Some(&0) {
        denominator.pop();
    }
    if denominator.is_empty() {
        return None;
    }
    if numerator.len() < denominator.len() {
        return Some((Vec::new(), digits(&numerator)));
    }
    // The quotient takes the place of the numerator, the remainder that of the divisor.
    algorithms::div(&mut numerator, &mut denominator);
    Some((digits(&numerator), digits(&denominator)))
}

fn limbs(digits: &[U256]) -> Vec<u64> {
    let mut limbs: Vec<u64> = digits.iter().flat_map(|digit| *digit.as_limbs()).collect();
    while limbs.last() == Some(&0) {
        limbs.pop();
    }
    limbs
}

fn digits(limbs: &[u64]) -> Vec<U256> {
    let mut digits: Vec<U256> = limbs.chunks(4).map(U256::from_limbs_slice).collect();
    while digits.last() == Some(&U256::ZERO) {
        digits.pop();
    }
    digits
}
