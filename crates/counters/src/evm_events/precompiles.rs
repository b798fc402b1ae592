//! What precompiles digest, and what the model charges for them (counters §11).

use revm::primitives::U256;

use crate::meter::CounterMeter;
use crate::model::{ModexpInput, P256Class, Precompile, SECP256K1_ORDER, SignatureClass};
use crate::opcodes::MEMORY_WORD;
use crate::rom_costs::{reservations, rows};
use zkevm_evm::observer::{PrecompileEnd, PrecompileRun};
use zkevm_types::{Counters, P256_VERIFY, RomVersion};

/// Bytes of a word.
const WORD_BYTES: u64 = 32;
/// Bytes of one pair of a pairing.
const PAIR_BYTES: u64 = 192;
/// Halving the head of an exponent once, to find its length.
const LENGTH_BIT: Counters = rows(41, 1, 4);
/// Reading a word of a number of MODEXP that is cut off, at most; not counted row by row.
const MISSING_WORD: Counters = Counters { mem_aligns: 1, ..rows(1000, 30, 150) };
/// What a MODEXP takes beyond the price list at most: reading lengths and a cut-off input.
const MODEXP_EXTRA: Counters = rows(4000, 80, 300);
/// Number of MODEXP.
const MODEXP: u16 = 5;
/// Longest number of MODEXP.
const MODEXP_BYTES_MAX: u64 = 1024;

/// Counts a precompile that had gas enough, whatever it answered, and a MODEXP that had not.
pub(super) fn precompile_ended(meter: &mut CounterMeter, run: &PrecompileRun<'_>) {
    let PrecompileRun { number, input, output_bytes, end } = *run;
    if end == PrecompileEnd::OutOfGas {
        if number == MODEXP {
            modexp_refused(meter, input);
        }
        return;
    }
    let answered = end == PrecompileEnd::Answered;
    let bytes = input.len() as u64;
    match number {
        1 => meter.reserve(reservations::Reservation {
            stated: reservations::RECOVERY.stated,
            ..reservations::Reservation::default()
        }),
        2 => meter.reserve(reservations::sha256(bytes)),
        8 if bytes > 0 && bytes.is_multiple_of(PAIR_BYTES) => {
            // The model reads one pair, the ROM all.
            meter.sums.charge_bound_only(MEMORY_WORD.times(PAIR_BYTES / WORD_BYTES * (bytes / PAIR_BYTES - 1)));
            meter.reserve(reservations::pairing(meter.rules.rom.unwrap_or(RomVersion::Rom8), bytes));
        }
        _ => {}
    }
    /// Bytes of a public key.
    const PUBLIC_KEY_BYTES: u64 = 64;
    let run = match number {
        1 => {
            let binaries = meter.rules.recovery_extra_binaries;
            meter.sums.charge_bound_only(Counters { binaries, ..Counters::default() });
            if answered {
                meter.sums.keccak(PUBLIC_KEY_BYTES);
            }
            let [_, v, r, s] = words(input);
            Precompile::Recover(if answered {
                SignatureClass::Root
            } else {
                SignatureClass::of(v, r, s, SECP256K1_ORDER - U256::ONE)
            })
        }
        2 => {
            meter.sha256(bytes);
            Precompile::Sha256(bytes)
        }
        4 => Precompile::Identity(bytes, output_bytes),
        MODEXP => return modexp_ran(meter, input, output_bytes),
        6 => Precompile::EcAdd,
        7 => Precompile::EcMul,
        P256_VERIFY => Precompile::P256Verify(P256Class::of(&words(input))),
        _ => Precompile::EcPairing(bytes / PAIR_BYTES),
    };
    meter.precompile(run);
}

/// Returns the first words of an input, zeros behind its end.
fn words<const N: usize>(input: &[u8]) -> [U256; N] {
    std::array::from_fn(|index| U256::from_be_bytes(padded_word(input, index)))
}

fn padded_word(input: &[u8], index: usize) -> [u8; 32] {
    let mut word = [0; 32];
    let present = input.get(32 * index..).unwrap_or_default();
    let length = present.len().min(32);
    word[..length].copy_from_slice(&present[..length]);
    word
}

/// Adds to the bound what MODEXP reads before it refuses, and the zeros it answers where the base has no bytes: they are stored
/// and copied. The model has nothing for that.
fn modexp_refused(meter: &mut CounterMeter, input: &[u8]) {
    let measured = LENGTH_BIT.times(exponent_head_bits(input));
    let [_, _, modulus]: [U256; 3] = words(input);
    let zeros = modulus.saturating_to::<u64>();
    let zeros = if zeros > MODEXP_BYTES_MAX { 0 } else { zeros.next_multiple_of(WORD_BYTES) };
    let read = meter.prices.precompile(Precompile::Modexp(zeros, zeros, None));
    meter.sums.charge_bound_only(read + MODEXP_EXTRA + measured);
}

/// Returns the bits of the first word of a MODEXP's exponent, without the zeros in front: the ROM halves it to find them.
fn exponent_head_bits(input: &[u8]) -> u64 {
    let [base, exponent]: [U256; 2] = words(input);
    let length = exponent.saturating_to::<usize>().min(WORD_BYTES as usize);
    // The ROM adds modulo 2^256.
    let start = base.wrapping_add(U256::from(3 * WORD_BYTES)).saturating_to::<usize>();
    let present = input.get(start..).unwrap_or_default();
    let mut head = vec![0; length];
    let present = &present[..present.len().min(length)];
    head[..present.len()].copy_from_slice(present);
    U256::from_be_slice(&head).bit_len() as u64
}

/// MODEXP is charged for lengths it accepts, its numbers only if the modulus is not zero (counters §11).
fn modexp_ran(meter: &mut CounterMeter, input: &[u8], output_bytes: u64) {
    let [base, exponent, modulus] = words::<3>(input).map(|length| length.saturating_to::<u64>());
    if base == 0 || modulus == 0 || [base, exponent, modulus].iter().any(|&length| length > MODEXP_BYTES_MAX) {
        return modexp_refused(meter, input);
    }
    if (input.len() as u64) < 3 * WORD_BYTES + base + exponent + modulus {
        // The model knows nothing of reading what is not there.
        let words: u64 = [base, exponent, modulus].into_iter().map(|bytes| bytes.div_ceil(WORD_BYTES)).sum();
        meter.sums.charge_bound_only(MISSING_WORD.times(words));
    }
    let mut numbers = input.get(96..).unwrap_or_default().to_vec();
    numbers.resize((base + exponent + modulus) as usize, 0);
    let (base, rest) = numbers.split_at(base as usize);
    let (exponent, modulus) = rest.split_at(exponent as usize);
    let numbers = ModexpInput { base, exponent, modulus };
    let numbers = modulus.iter().any(|&byte| byte != 0).then_some(&numbers);
    if numbers.is_none() {
        // In the model's price of an exponentiation, and missing where there is none.
        meter.sums.charge_bound_only(LENGTH_BIT.times(exponent_head_bits(input)));
    }
    // The model stores the result in the output area alone, the ROM in the memory of the call as well.
    let mem_aligns = (modulus.len() as u64).div_ceil(WORD_BYTES);
    meter.sums.charge_bound_only(Counters { mem_aligns, ..Counters::default() });
    let run = Precompile::Modexp(input.len() as u64, output_bytes, numbers);
    let price = meter.prices.precompile(run);
    let dearest = numbers.map_or_else(Counters::default, dearest_modexp);
    meter.sums.charge_exact(price, price.max(dearest) + MODEXP_EXTRA);
    meter.reserve(reservations::MODEXP);
}

/// The dearest exponentiation with numbers of these lengths: what the ROM reserves for each helper of 32 words (later-forks
/// §5.2), by the square of the words of the modulus and somewhat more. How much more is fitted to the ROM of fork 7
/// (`tests/engines/counts.rs`).
fn dearest_modexp(input: &ModexpInput<'_>) -> Counters {
    const FULL_WORDS: u64 = 32;
    const SQUARE: Counters = rows(41_201, 1055, 11_595);
    const MULTIPLY: Counters = rows(38_228, 2048, 3970);
    const DIVIDE: Counters = rows(39_616, 2016, 4038);
    const HALVE_WORD: Counters = rows(863 / FULL_WORDS + 10, 0, 101 / FULL_WORDS + 3);
    let significant = input.exponent.iter().position(|&byte| byte != 0).unwrap_or(input.exponent.len());
    let exponent = input.exponent.get(significant..).unwrap_or_default();
    let bits = 8 * exponent.len() as u64;
    let ones: u64 = exponent.iter().map(|byte| u64::from(byte.count_ones())).sum();
    let words = (input.modulus.len() as u64).div_ceil(32).min(FULL_WORDS);
    let full = (SQUARE + DIVIDE).times(bits) + (MULTIPLY + DIVIDE).times(ones + 1);
    let [steps, arithmetics, binaries, ..] = full.to_array();
    let scaled = |rows: u64, square: u64| rows.saturating_mul(square.min(FULL_WORDS * FULL_WORDS)) / FULL_WORDS.pow(2);
    // Part of the work grows with the words alone: few words have more of it than their square tells.
    let steps = scaled(steps, words * (words + 7));
    let [arithmetics, binaries] = [arithmetics, binaries].map(|rows| scaled(rows, words * (words + 1)));
    // The exponent is halved for every bit, all of its words each time.
    let halves = HALVE_WORD.times(bits.saturating_mul((exponent.len() as u64).div_ceil(WORD_BYTES)));
    rows(steps, arithmetics, binaries) + halves
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bits of the head where these lengths stand before an exponent.
    fn head_bits(base: U256, exponent: &[u8]) -> u64 {
        let lengths = [base, U256::from(exponent.len()), U256::from(1)].map(|word| word.to_be_bytes::<32>());
        exponent_head_bits(&[lengths.as_flattened(), exponent].concat())
    }

    #[test]
    fn the_head_of_an_exponent_is_looked_for_where_the_rom_does() {
        assert_eq!(head_bits(U256::ZERO, &[0, 3, 0]), 10);
        assert_eq!(head_bits(U256::from(1), &[0, 3, 0]), 18);
        assert_eq!(head_bits(U256::from(3), &[0, 3, 0]), 0);
        // A base so long that its end lies in front of it: the last byte of the modulus' length, then 0, 3.
        assert_eq!(head_bits(U256::MAX, &[0, 3, 0]), 17);
        assert_eq!(head_bits(U256::MAX - U256::from(96), &[0, 3, 0]), 0);
    }
}
