//! The input of P256VERIFY (later-forks §4.1): hash, r, s, x, y. The verification itself is revm's.

use revm::primitives::{U256, uint};

const WORDS: usize = 5;
const WORD_BYTES: usize = 32;

uint! {
    /// Prime of the field.
    const P: U256 = 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffff_U256;
    /// Order of the group.
    const N: U256 = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551_U256;
    /// The curve is y² = x³ − 3x + b.
    const B: U256 = 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b_U256;
    const THREE: U256 = 3_U256;
}

/// Returns the five words of an input: a shorter one is padded with zeros, a longer one cut.
pub(crate) fn padded(input: &[u8]) -> [u8; WORDS * WORD_BYTES] {
    let mut padded = [0; WORDS * WORD_BYTES];
    padded.iter_mut().zip(input).for_each(|(to, from)| *to = *from);
    padded
}

/// True if the ROM gets as far as verifying: r and s are in range, and (x, y) is a point of the curve.
pub(crate) fn is_well_formed(input: &[u8; WORDS * WORD_BYTES]) -> bool {
    let word = |at: usize| U256::from_be_slice(&input[at * WORD_BYTES..(at + 1) * WORD_BYTES]);
    let [r, s, x, y] = [1, 2, 3, 4].map(word);
    let in_group = |number: U256| !number.is_zero() && number < N;
    let right = x.mul_mod(x, P).add_mod(P - THREE, P).mul_mod(x, P).add_mod(B, P);
    in_group(r) && in_group(s) && x < P && y < P && y.mul_mod(y, P) == right
}

#[cfg(test)]
mod tests {
    use super::*;

    uint! {
        const X: U256 = 0x6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296_U256;
        const Y: U256 = 0x4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5_U256;
    }

    fn is_well_formed(r: U256, s: U256, x: U256, y: U256) -> bool {
        let words = [U256::ZERO, r, s, x, y].map(|word| word.to_be_bytes::<WORD_BYTES>());
        super::is_well_formed(&padded(words.as_flattened()))
    }

    #[test]
    fn the_generator_with_numbers_in_range_is_well_formed() {
        let one = U256::ONE;
        assert!(is_well_formed(one, one, X, Y) && is_well_formed(N - one, N - one, X, P - Y));
        for (r, s, x, y) in [
            (U256::ZERO, one, X, Y),
            (N, one, X, Y),
            (one, U256::ZERO, X, Y),
            (one, N, X, Y),
            (one, one, X, Y - one),
            (one, one, Y, X),
            (one, one, U256::ZERO, U256::ZERO),
            (one, one, X.wrapping_add(P), Y),
        ] {
            assert!(!is_well_formed(r, s, x, y), "{r} {s} {x} {y}");
        }
    }

    #[test]
    fn inputs_are_padded_and_cut() {
        assert_eq!(padded(&[]), [0; 160]);
        let long = [7; 161];
        assert_eq!(padded(&long), [7; 160]);
        assert_eq!(padded(&long[..159])[158..], [7, 0]);
    }
}
