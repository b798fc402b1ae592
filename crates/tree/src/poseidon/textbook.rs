//! The permutation exactly as defined (state-tree §2), slow and obvious: what the kernels are tested against.

use super::constants::{CIRCULANT, FIRST_FINAL, FIRST_PARTIAL, ROUND_CONSTANTS, ROUNDS};
use crate::goldilocks::GOLDILOCKS_PRIME;

/// Added to entry (0, 0) of the circulant.
const DIAGONAL_0: u64 = 8;

fn add(x: u64, y: u64) -> u64 {
    ((u128::from(x) + u128::from(y)) % u128::from(GOLDILOCKS_PRIME)) as u64
}

fn mul(x: u64, y: u64) -> u64 {
    ((u128::from(x) * u128::from(y)) % u128::from(GOLDILOCKS_PRIME)) as u64
}

fn s_box(x: u64) -> u64 {
    (0..6).fold(x, |power, _| mul(power, x))
}

/// Returns the whole state after the permutation, canonical.
pub(super) fn permute(input: &[u64; 12]) -> [u64; 12] {
    let mut state = input.map(|x| x % GOLDILOCKS_PRIME);
    for (round, constants) in ROUND_CONSTANTS.iter().enumerate().take(ROUNDS) {
        for i in 0..12 {
            state[i] = add(state[i], constants[i]);
        }
        let full = !(FIRST_PARTIAL..FIRST_FINAL).contains(&round);
        for element in state.iter_mut().take(if full { 12 } else { 1 }) {
            *element = s_box(*element);
        }
        let before = state;
        for (i, element) in state.iter_mut().enumerate() {
            *element = if i == 0 { mul(DIAGONAL_0, before[0]) } else { 0 };
            for k in 0..12 {
                *element = add(*element, mul(CIRCULANT[k], before[(i + k) % 12]));
            }
        }
    }
    state
}
