//! Mutations of inputs, without a notion of their grammar.

use fastrand::Rng;

/// Numbers on whose two sides readers behave differently; written in 1 to 8 bytes, of either end first.
const INTERESTING: &[u64] = &[
    0,
    1,
    2,
    7,
    8,
    15,
    16,
    31,
    32,
    33,
    55,
    56,
    63,
    64,
    65,
    96,
    97,
    127,
    128,
    255,
    256,
    1023,
    1024,
    4095,
    4096,
    32767,
    32768,
    65535,
    65536,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    u64::MAX - 16,
    u64::MAX,
];
/// Most mutations of one input.
const STACKED_MAX: usize = 6;
/// Longest piece that is copied or removed at once, but for rare large ones.
const PIECE_BYTES: usize = 64;

/// Mutates `input` one to six times; `other` is another input, from which pieces are taken. Keeps it within `bytes_max`.
pub fn mutate(rng: &mut Rng, input: &mut Vec<u8>, other: &[u8], dictionary: &[&[u8]], bytes_max: usize) {
    for _ in 0..rng.usize(1..=STACKED_MAX) {
        once(rng, input, other, dictionary);
    }
    input.truncate(bytes_max);
}

fn once(rng: &mut Rng, input: &mut Vec<u8>, other: &[u8], dictionary: &[&[u8]]) {
    let Some(at) = (!input.is_empty()).then(|| rng.usize(..input.len())) else {
        input.extend_from_slice(piece(rng, other));
        return;
    };
    match rng.u8(..12) {
        0 | 1 => input[at] ^= 1 << rng.u8(..8),
        2 => input[at] = rng.u8(..),
        3 => input[at] = input[at].wrapping_add(rng.u8(1..=8)).wrapping_sub(4),
        4 => input.truncate(at),
        5 => drop(input.drain(at..end(rng, at, input.len()))),
        6 => {
            let copy = input[at..end(rng, at, input.len())].to_vec();
            let to = rng.usize(..=input.len());
            drop(input.splice(to..to, copy));
        }
        7 => drop(input.splice(at..at, piece(rng, other).iter().copied())),
        8 => {
            // The head of this one and the tail of the other.
            input.truncate(at);
            input.extend_from_slice(&other[rng.usize(..=other.len())..]);
        }
        9 | 10 => {
            let number = number(rng);
            put(rng, input, at, &number);
        }
        _ => {
            let word = rng.choice(dictionary).copied().unwrap_or(b"\0");
            put(rng, input, at, word);
        }
    }
}

/// Writes bytes over those at a place, or between them.
fn put(rng: &mut Rng, input: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let replaced = if rng.bool() { bytes.len().min(input.len() - at) } else { 0 };
    drop(input.splice(at..at + replaced, bytes.iter().copied()));
}

fn number(rng: &mut Rng) -> Vec<u8> {
    let number = rng.choice(INTERESTING).copied().unwrap_or(0).wrapping_add(u64::from(rng.u8(..3))).wrapping_sub(1);
    let bytes = *rng.choice(&[1, 2, 4, 8]).unwrap_or(&1);
    let mut number = number.to_le_bytes()[..bytes].to_vec();
    if rng.bool() {
        number.reverse();
    }
    number
}

/// Returns where a piece that begins at `at` ends.
fn end(rng: &mut Rng, at: usize, length: usize) -> usize {
    let longest = if rng.u8(..8) == 0 { length } else { PIECE_BYTES };
    (at + rng.usize(1..=longest.max(1))).min(length)
}

fn piece<'a>(rng: &mut Rng, other: &'a [u8]) -> &'a [u8] {
    if other.is_empty() {
        return &[];
    }
    let at = rng.usize(..other.len());
    &other[at..end(rng, at, other.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_are_reproducible_and_bounded() {
        let run = |seed| {
            let mut rng = Rng::with_seed(seed);
            let mut input = vec![1; 100];
            for _ in 0..10_000 {
                mutate(&mut rng, &mut input, b"another input", &[b"word"], 200);
                assert!(input.len() <= 200);
            }
            input
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }
}
