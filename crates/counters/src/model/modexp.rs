//! The price of modular exponentiation by its numbers (counters §11.2).

use num_bigint::BigUint;

use super::Counters;

/// Numbers of a MODEXP with a modulus that is not zero, big-endian.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ModexpInput<'a> {
    /// Base; its length is the declared one.
    pub(crate) base: &'a [u8],
    /// Exponent.
    pub(crate) exponent: &'a [u8],
    /// Modulus.
    pub(crate) modulus: &'a [u8],
}

/// Words of a number, at least one.
fn words(number: &BigUint) -> i64 {
    (number.bits().div_ceil(256)).max(1) as i64
}

/// Position of the first word in which two numbers differ, counted from the top. Only the low half of a word is looked
/// at, as the reference does.
fn differing_word(a: &BigUint, b: &BigUint) -> i64 {
    if words(a) != words(b) {
        return words(a);
    }
    let mask = (BigUint::from(1u8) << 128u32) - 1u8;
    let half = |number: &BigUint, word: i64| (number >> (256 * word as u64)) & &mask;
    (0..words(a)).rev().find(|&word| half(a, word) != half(b, word)).map_or(0, |word| word + 1)
}

/// Returns the price of the exponentiation itself: a setup, then half or full work for each bit of the exponent.
pub(crate) fn modexp(input: &ModexpInput<'_>, corrected: bool) -> Counters {
    let number = BigUint::from_bytes_be;
    let (base, exponent, modulus) = (number(input.base), number(input.exponent), number(input.modulus));
    let length = |bytes: &[u8]| bytes.len().div_ceil(32) as i64;
    let ones = exponent.count_ones() as i64;
    let parts = if corrected {
        let (exponent_words, modulus_words) = (length(input.exponent), length(input.modulus));
        let even = 256 * exponent_words - ones;
        corrected_parts(length(input.base), exponent_words, modulus_words, &base, &modulus)
            .map(|part| (part, even, ones))
    } else {
        // The reference exchanges the two lengths on entry.
        let (exponent_words, modulus_words) = (length(input.modulus), length(input.exponent));
        let even = 256 * exponent_words - ones;
        first_parts(length(input.base), exponent_words, modulus_words, &base, &modulus).map(|part| (part, even, ones))
    };
    let [steps, arithmetics, binaries] =
        parts.map(|([setup, half, full], even, ones)| (setup + even * half + ones * full).max(0) as u64);
    Counters { steps, arithmetics, binaries, ..Counters::default() }
}

/// Setup, half and full work, for steps, arithmetics and binaries: the formulas of R13.
fn corrected_parts(lb: i64, le: i64, l: i64, base: &BigUint, modulus: &BigUint) -> [[i64; 3]; 3] {
    let half_exponent = (le / 2).max(1);
    let quotient = words(&(base / modulus));
    let remainder = words(&(base % modulus));
    let square = l * (l - 1);
    [
        [
            86 + 10 * lb + 3 * l + (8 + 19 * l) * quotient + 12 * remainder,
            153 + 82 * l + 6 * le + 40 * square + 19 * l * l + 25 * half_exponent,
            263 + 114 * l + 6 * le + 40 * square + 57 * l * l + 25 * half_exponent,
        ],
        [l * quotient, 2 * l - 1 + square + l * l, 2 * l - 1 + square + 3 * l * l],
        [
            4 - l + remainder + 2 * l * quotient,
            9 + 6 * l + 23 * square / 2 + 2 * l * l + 3 * half_exponent,
            17 + 3 * l + 23 * square / 2 + 6 * l * l + 3 * half_exponent,
        ],
    ]
}

/// The same by the formulas of R7, R9 and R12.
fn first_parts(b: i64, e: i64, l: i64, base: &BigUint, modulus: &BigUint) -> [[i64; 3]; 3] {
    let q = (e / 2).max(1);
    let triangle = b * (b + 1) / 2;
    let square = base * base;
    let product = base * modulus;
    let rest = |number: &BigUint| number % modulus;
    let (quotient, remainder) = (words(&(base / modulus)), words(&rest(base)));
    let (quotient2, remainder2) = (words(&(&square / modulus)), words(&rest(&square)));
    let z = 2 * b - words(&square);
    let f = differing_word(base, modulus);
    let f_rest = differing_word(modulus, &rest(base));
    let f_square = differing_word(&square, modulus);
    let f_square_rest = differing_word(modulus, &rest(&square));
    let f_product = differing_word(&product, modulus);
    let half_steps = 100 * b + 61 * triangle + 19 * e + 44 * q + quotient2 * (30 + 33 * l) + 14 * remainder2
        - 14 * f_square
        - 7 * f_square_rest
        - 5 * z;
    let half_binaries =
        9 * triangle + 2 * e + 3 * q + quotient2 * (1 + 4 * l) + remainder2 - 4 * f_square - 2 * f_square_rest - z;
    [
        [
            218 + 39 * b + 45 * l + quotient * (30 + 33 * l) + 17 * remainder - 14 * f - 7 * f_rest,
            399 + 48 * l + half_steps,
            674 + 80 * b + 149 * l + 66 * b * l - 14 * f_product - 7 * words(modulus) + half_steps,
        ],
        [1 + quotient * l, 2 + b + triangle + q + quotient2 * l, 4 + b + triangle + q + 2 * b * l + quotient2 * l],
        [
            12 + 6 * b + 3 * l + quotient * (1 + 4 * l) + remainder - 4 * f - 2 * f_rest,
            23 + 14 * b + 3 * l + half_binaries,
            36 + 21 * b + 12 * l + 8 * b * l - 4 * f_product - 2 * words(modulus) + half_binaries,
        ],
    ]
}

#[cfg(test)]
mod tests {
    use super::super::{Precompile, Prices, R12, R13};
    use super::*;

    fn bytes(value: &BigUint, length: usize) -> Vec<u8> {
        let tail = value.to_bytes_be();
        let mut bytes = vec![0; length.saturating_sub(tail.len())];
        bytes.extend(tail);
        bytes
    }

    /// The four MODEXP rows of counters §18.1.
    #[test]
    fn prices_are_those_of_the_specification() {
        let power = |exponent: u32| BigUint::from(1u8) << exponent;
        let small = |value: u32| BigUint::from(value);
        let cases = [
            ((small(3), 1), (small(5), 1), (small(7), 1), (99, 1), [189_139, 1614, 13_815], [76_402, 585, 5308]),
            (
                (power(255) + 1u8, 32),
                (power(256) - power(32) - 978u32, 32),
                (power(256) - power(32) - 977u32, 32),
                (192, 32),
                [308_448, 2634, 19_772],
                [122_214, 1111, 7595],
            ),
            (
                (power(511) + 5u8, 64),
                (power(260) + 1u8, 33),
                (power(500) + 3u8, 64),
                (257, 64),
                [617_764, 7315, 51_111],
                [267_264, 4750, 28_480],
            ),
            (
                (small(3), 1),
                (power(1600) - 1u8, 200),
                (small(7), 1),
                (298, 1),
                [2_719_849, 28_796, 237_443],
                [957_942, 6901, 61_258],
            ),
        ];
        for ((base, lb), (exponent, le), (modulus, lm), (n, o), first, corrected) in cases {
            let (base, exponent, modulus) = (bytes(&base, lb), bytes(&exponent, le), bytes(&modulus, lm));
            let input = ModexpInput { base: &base, exponent: &exponent, modulus: &modulus };
            for (revision, expected) in [(&R12, first), (&R13, corrected)] {
                let price = Prices::new(revision, 0).precompile(Precompile::Modexp(n, o, Some(&input))).to_array();
                assert_eq!(price[..3], expected, "{} {lb} {le} {lm}", revision.name);
            }
        }
    }
}
