//! Signed digits of eight scalars: which multiple of a table is added at each position.

use crate::scalars::Half;

/// Digits of eight scalars at one position.
#[derive(Clone, Copy, Default)]
pub(crate) struct Digits {
    /// The place in the table of multiples that begins with one; zero for the digit zero, too.
    pub(crate) index: [u16; 8],
    /// Lanes whose digit is negative.
    pub(crate) negative: u8,
    /// Lanes whose digit is zero.
    pub(crate) zero: u8,
}

/// Writes the digits of one lane, each from −2^(bits−1) + 1 to 2^(bits−1), the lowest first. They fill 129 bits or more.
pub(crate) fn write(half: Half, bits: u32, lane: usize, digits: &mut [Digits]) {
    let mut rest = half.size;
    let mut carry = 0;
    for digits in digits {
        let digit = (rest & ((1 << bits) - 1)) as u32 + carry;
        rest >>= bits;
        carry = u32::from(digit > 1 << (bits - 1));
        let size = if carry == 1 { (1 << bits) - digit } else { digit };
        digits.index[lane] = size.saturating_sub(1) as u16;
        digits.zero |= u8::from(size == 0) << lane;
        digits.negative |= u8::from((carry == 1) ^ half.is_negative) << lane;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_make_up_the_number() {
        for bits in [5, 10] {
            for size in
                [0, 1, 15, 16, 17, 31, 32, 511, 512, 513, u128::MAX, u128::MAX - 15, 1 << 127, 0x1234_5678 << 77]
            {
                let mut digits = vec![Digits::default(); 130_usize.div_ceil(bits as usize)];
                write(Half { size, is_negative: true }, bits, 3, &mut digits);
                // Highest first, modulo 2^128: the highest digit may stand for 2^128 itself.
                let value = digits.iter().rev().fold(0_u128, |value, digits| {
                    let digit = u128::from(digits.index[3]) + u128::from(digits.zero & 8 == 0);
                    assert!(digit <= 1 << (bits - 1));
                    let shifted = value.wrapping_shl(bits);
                    if digits.negative & 8 == 0 { shifted.wrapping_sub(digit) } else { shifted.wrapping_add(digit) }
                });
                assert_eq!(value, size, "{bits} bits");
            }
        }
    }
}
