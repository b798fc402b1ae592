//! The field against plain arithmetic, with limbs at their bounds.

use alloy_primitives::{U256, U512, uint};

use super::field::{Columns, Element, Factor, inverse, roots};
use super::vector::Vector;

const FIELD: U256 = uint!(0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f_U256);

/// Limbs of eight elements.
type Limbs = [[u64; 8]; 5];

fn value(limbs: &Limbs, lane: usize) -> U256 {
    let value = limbs.iter().rev().fold(U512::ZERO, |value, limb| (value << 52) + U512::from(limb[lane]));
    U256::from(value % U512::from(FIELD))
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 11) ^ (*state << 31)
}

/// Limbs that are zero, one, random, the largest or next to it; the top one below `top_end`.
fn limbs(state: &mut u64, top_end: u64) -> Limbs {
    std::array::from_fn(|limb| {
        let end = if limb == 4 { top_end } else { 1 << 52 };
        std::array::from_fn(|_| match random(state) % 6 {
            0 => 0,
            1 => 1,
            2 => end - 1,
            3 => end - 2,
            _ => random(state) % end,
        })
    })
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn element(limbs: &Limbs) -> Element {
    let [a, b, c, d, e] = limbs;
    Element::of_limbs([Vector::load(a), Vector::load(b), Vector::load(c), Vector::load(d), Vector::load(e)])
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn values(element: Element) -> [U256; 8] {
    let mut words = [[0; 8]; 4];
    for (word, lanes) in element.canonical().to_words().into_iter().zip(&mut words) {
        word.store(lanes);
    }
    std::array::from_fn(|lane| U256::from_limbs([words[0][lane], words[1][lane], words[2][lane], words[3][lane]]))
}

/// Loose elements, and reduced ones as subtrahends.
const LOOSE: u64 = 1 << 51;
const REDUCED: u64 = (1 << 48) + (1 << 9);

#[target_feature(enable = "avx512f,avx512ifma")]
fn check_arithmetic() {
    let mut state = 7;
    let minus = |a: U256, b: U256| a.add_mod(FIELD - b, FIELD);
    for _ in 0..3_000 {
        let (a, b) = (limbs(&mut state, LOOSE), limbs(&mut state, LOOSE));
        let (c, d) = (limbs(&mut state, REDUCED), limbs(&mut state, REDUCED));
        let (ea, eb, ec, ed) = (element(&a), element(&b), element(&c), element(&d));
        let got = [
            values(ea),
            values(ea.times(&eb)),
            values(ea.squared()),
            values(ea.times_scaled::<8>(&eb).masked()),
            values(ea.squared_scaled::<3>().masked()),
            values(ec.minus(&ed)),
            values(ec.minus_raw(&ed).times(&eb)),
            values(ec.plus_or_minus_raw(0x0f, &ed).times(&eb)),
            values(Columns::square(&ea).plus(&ec).minus_both(&ed, &ed).reduced::<1>().masked()),
            values(Columns::zero().minus_8(&ed).plus_product(&ea, &eb).reduced::<1>().masked()),
            values(Columns::zero().minus(&ed).plus_product(&ea, &eb).plus_product(&ec, &eb).reduced::<1>().masked()),
            values(element(&c).doubled()),
        ];
        for lane in 0..8 {
            let (a, b, c, d) = (value(&a, lane), value(&b, lane), value(&c, lane), value(&d, lane));
            let (ab, aa) = (a.mul_mod(b, FIELD), a.mul_mod(a, FIELD));
            let times = |x: U256, factor: u64| x.mul_mod(U256::from(factor), FIELD);
            let plus_or_minus = if lane < 4 { c.add_mod(d, FIELD) } else { minus(c, d) };
            let expected = [
                a,
                ab,
                aa,
                times(ab, 8),
                times(aa, 3),
                minus(c, d),
                minus(c, d).mul_mod(b, FIELD),
                plus_or_minus.mul_mod(b, FIELD),
                minus(aa.add_mod(c, FIELD), times(d, 2)),
                minus(ab, times(d, 8)),
                minus(ab.add_mod(c.mul_mod(b, FIELD), FIELD), d),
                times(c, 2),
            ];
            for (operation, (got, expected)) in got.iter().zip(expected).enumerate() {
                assert_eq!(got[lane], expected, "operation {operation} of {a:#x}, {b:#x}, {c:#x}, {d:#x}");
            }
        }
    }
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn check_powers() {
    let mut state = 8;
    for _ in 0..20 {
        let a = limbs(&mut state, LOOSE);
        let inverses = values(inverse(&element(&a)));
        let mut root = [element(&a).squared(); 2];
        roots(&mut root);
        let (first, second) = (values(root[0]), values(root[1]));
        for lane in 0..8 {
            let a = value(&a, lane);
            assert_eq!(inverses[lane], a.inv_mod(FIELD).unwrap_or_default());
            assert!(first[lane] == a || first[lane] == (FIELD - a).reduce_mod(FIELD), "{a:#x}");
            assert_eq!(first[lane], second[lane]);
        }
    }
}

#[test]
fn the_field_is_that_of_plain_arithmetic() {
    if super::is_supported() {
        // SAFETY: the features were detected.
        #[allow(unsafe_code)]
        unsafe {
            check_arithmetic();
            check_powers();
        }
    }
}
