//! Arithmetic where the micro programs do not go.

use alloy_primitives::{U256, uint};

use crate::fea;
use crate::machine::modular::{Curve, divide};
use crate::scalar::Scalar;

fn n(value: u64) -> U256 {
    U256::from(value)
}

/// A generator of numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn digits(&mut self, count: usize) -> Vec<U256> {
        (0..count)
            .map(|_| {
                let limbs = std::array::from_fn(|_| match self.next() % 4 {
                    0 => 0,
                    1 => u64::MAX,
                    _ => self.next(),
                });
                U256::from_limbs(limbs)
            })
            .collect()
    }
}

/// Multiplies and adds digit by digit: the definition.
fn product_plus(a: &[U256], b: &[U256], c: &[U256]) -> Vec<U256> {
    let mut sum = vec![U256::ZERO; a.len() + b.len() + c.len() + 2];
    let mut add_at = |mut place: usize, mut value: U256| {
        while !value.is_zero() {
            let (digit, carry) = sum[place].overflowing_add(value);
            sum[place] = digit;
            value = U256::from(u64::from(carry));
            place += 1;
        }
    };
    for (i, x) in a.iter().enumerate() {
        for (j, y) in b.iter().enumerate() {
            let product: alloy_primitives::U512 = x.widening_mul(*y);
            let limbs = product.as_limbs();
            add_at(i + j, U256::from_limbs_slice(&limbs[..4]));
            add_at(i + j + 1, U256::from_limbs_slice(&limbs[4..]));
        }
    }
    c.iter().enumerate().for_each(|(place, digit)| add_at(place, *digit));
    while sum.last() == Some(&U256::ZERO) {
        sum.pop();
    }
    sum
}

fn trimmed(mut digits: Vec<U256>) -> Vec<U256> {
    while digits.last() == Some(&U256::ZERO) {
        digits.pop();
    }
    digits
}

fn is_less(a: &[U256], b: &[U256]) -> bool {
    (a.len(), a.iter().rev().collect::<Vec<_>>()) < (b.len(), b.iter().rev().collect())
}

#[test]
fn division_is_undone_by_multiplication() {
    let mut numbers = Numbers(7);
    for round in 0..500 {
        let (long, short) = ((round % 9) + 1, (round % 5) + 1);
        let (dividend, divisor) = (numbers.digits(long), trimmed(numbers.digits(short)));
        if divisor.is_empty() {
            continue;
        }
        let (quotient, remainder) = divide(&dividend, &divisor).unwrap();
        assert!(is_less(&remainder, &divisor), "round {round}");
        assert_eq!(product_plus(&quotient, &divisor, &remainder), trimmed(dividend), "round {round}");
        assert_eq!((trimmed(quotient.clone()), trimmed(remainder.clone())), (quotient, remainder));
    }
    assert_eq!(divide(&[n(5)], &[n(0)]), None);
    assert_eq!(divide(&[], &[n(3)]), Some((vec![], vec![])));
    assert_eq!(divide(&[n(2)], &[n(0), n(1)]), Some((vec![], vec![n(2)])));
}

#[test]
fn the_other_curve_doubles_and_adds() {
    let x = uint!(0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296_U256);
    let y = uint!(0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5_U256);
    let double = Curve::Secp256r1.double(x, y).unwrap();
    let triple = Curve::Secp256r1.add([x, y, double.0, double.1]).unwrap();
    assert_eq!(double.0, uint!(0x7cf27b188d034f7e8a52380304b51ac3c08969e277f21b35a60b48fc47669978_U256));
    assert_eq!(triple.0, uint!(0x5ecbe4d1a6330a44c8f7ef951d4bf165e6c6b721efada985fb41661bc6e7fd6c_U256));
    assert_eq!(Curve::Secp256r1.add([x, y, x, y]), None);
    assert_eq!(Curve::Secp256k1.double(x, n(0)), None);
}

/// Signed numbers against machine integers.
#[test]
fn numbers_follow_the_rules_of_small_ones() {
    let scalar = |value: i64| match value {
        value if value < 0 => Scalar::from(value.unsigned_abs()).neg(),
        value => Scalar::from(value as u64),
    };
    let values = [0, 1, -1, 2, -2, 7, -7, 63, 64, -64, 255, 1 << 40, -(1 << 40), (1 << 40) + 1];
    for a in values {
        assert_eq!(scalar(a).bit_not().unwrap(), scalar(!a), "not {a}");
        assert_eq!(scalar(a).residue(n(97)), n(a.rem_euclid(97) as u64), "{a}");
        for b in values {
            let (x, y) = (scalar(a), scalar(b));
            assert_eq!(x.add(y).unwrap(), scalar(a + b), "{a} + {b}");
            assert_eq!(x.sub(y).unwrap(), scalar(a - b), "{a} - {b}");
            assert_eq!(x.bitwise(y, |x, y| x & y).unwrap(), scalar(a & b), "{a} & {b}");
            assert_eq!(x.bitwise(y, |x, y| x | y).unwrap(), scalar(a | b), "{a} | {b}");
            assert_eq!(x.bitwise(y, |x, y| x ^ y).unwrap(), scalar(a ^ b), "{a} ^ {b}");
            assert_eq!(x.cmp(&y), a.cmp(&b), "{a} to {b}");
            if let Some(product) = a.checked_mul(b) {
                assert_eq!(x.mul(y).unwrap(), scalar(product), "{a} * {b}");
            }
            match a.checked_div(b) {
                Some(quotient) => {
                    assert_eq!(x.div(y).unwrap(), scalar(quotient), "{a} / {b}");
                    assert_eq!(x.rem(y).unwrap(), scalar(a % b), "{a} % {b}");
                }
                None => assert!(x.div(y).is_err() && x.rem(y).is_err()),
            }
        }
        for bits in [0, 1, 5, 40] {
            let by = Scalar::from(bits);
            assert_eq!(scalar(a).shr(by).unwrap(), scalar(a >> bits), "{a} >> {bits}");
            assert_eq!(scalar(a).shl(by).unwrap().shr(by).unwrap(), scalar(a), "{a} << {bits}");
        }
        assert_eq!(scalar(a).shr(Scalar::from(4000)).unwrap(), scalar(a >> 63), "{a} >> 4000");
    }
}

#[test]
fn numbers_have_an_end() {
    let large = Scalar::from(U256::MAX);
    let square = large.mul(large).unwrap();
    assert!(square.mul(square).is_err());
    assert!(square.shl(Scalar::from(64)).is_ok());
    assert!(square.shl(Scalar::from(65)).is_err());
    assert!(large.shl(Scalar::from(5000)).is_err());
    assert_eq!(square.neg().modulo_2_256(), U256::MAX);
    assert_eq!(square.modulo_2_256(), n(1));
}

#[test]
fn elements_add_and_subtract_modulo_the_prime() {
    const P: u64 = zkevm_tree::GOLDILOCKS_PRIME;
    let values = [0, 1, 2, 0xffff_ffff, 1 << 32, P / 2, P / 2 + 1, P - 0xffff_ffff, P - 2, P - 1];
    for a in values {
        for b in values {
            let (wide, p) = (u128::from(a) + u128::from(b), u128::from(P));
            assert_eq!(u128::from(fea::add_fe(a, b)), wide % p, "{a} + {b}");
            assert_eq!(fea::add_fe(fea::sub_fe(a, b), b), a, "{a} - {b}");
        }
    }
}

#[test]
fn elements_have_signs() {
    assert_eq!(fea::signed(fea::fe_of(-5)), -5);
    assert_eq!(fea::signed(fea::fe_of(-(1 << 62))), -(1 << 62));
    assert_eq!(fea::signed32(fea::fe_of(-0x7fff_ffff)), Ok(-0x7fff_ffff));
    assert!(fea::signed32(fea::fe_of(-0x8000_0000)).is_err());
    assert!(fea::signed32(0x8000_0000).is_err());
}
