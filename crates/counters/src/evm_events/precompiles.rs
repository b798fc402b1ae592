//! What precompiles digest, and what the model charges for them (counters §11).

use revm::primitives::U256;

use crate::meter::CounterMeter;
use crate::model::{ModexpInput, Precompile, SECP256K1_ORDER, SignatureClass};
use crate::rom_costs::reservations;
use zkevm_evm::observer::{PrecompileEnd, PrecompileRun};
use zkevm_types::{Counters, RomVersion};

/// Bytes of one pair of a pairing.
const PAIR_BYTES: u64 = 192;
/// Number of MODEXP.
const MODEXP: u8 = 5;

/// Counts a precompile that had gas enough, whatever it answered, and a MODEXP that had not.
pub(super) fn precompile_ended(meter: &mut CounterMeter, run: &PrecompileRun<'_>) {
    let PrecompileRun { number, input, output_bytes, end } = *run;
    if end == PrecompileEnd::OutOfGas {
        if number == MODEXP {
            modexp_refused(meter);
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
            let word = |index: usize| U256::from_be_bytes(padded_word(input, index));
            Precompile::Recover(if answered {
                SignatureClass::Root
            } else {
                SignatureClass::of(word(1), word(2), word(3), SECP256K1_ORDER - U256::ONE)
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
        _ => Precompile::EcPairing(bytes / PAIR_BYTES),
    };
    meter.precompile(run);
}

fn padded_word(input: &[u8], index: usize) -> [u8; 32] {
    let mut word = [0; 32];
    let present = input.get(32 * index..).unwrap_or_default();
    let length = present.len().min(32);
    word[..length].copy_from_slice(&present[..length]);
    word
}

/// Adds to the bound what MODEXP reads before it refuses; the model has nothing for that.
fn modexp_refused(meter: &mut CounterMeter) {
    meter.sums.charge_bound_only(meter.prices.precompile(Precompile::Modexp(0, 0, None)));
}

/// MODEXP is charged for lengths it accepts, its numbers only if the modulus is not zero (counters §11).
fn modexp_ran(meter: &mut CounterMeter, input: &[u8], output_bytes: u64) {
    const LENGTH_MAX_BYTES: u64 = 1024;
    let [base, exponent, modulus] =
        [0, 1, 2].map(|index| U256::from_be_bytes(padded_word(input, index)).saturating_to::<u64>());
    if base == 0 || modulus == 0 || [base, exponent, modulus].iter().any(|&length| length > LENGTH_MAX_BYTES) {
        return modexp_refused(meter);
    }
    let mut numbers = input.get(96..).unwrap_or_default().to_vec();
    numbers.resize((base + exponent + modulus) as usize, 0);
    let (base, rest) = numbers.split_at(base as usize);
    let (exponent, modulus) = rest.split_at(exponent as usize);
    let numbers = ModexpInput { base, exponent, modulus };
    let numbers = modulus.iter().any(|&byte| byte != 0).then_some(&numbers);
    meter.precompile(Precompile::Modexp(input.len() as u64, output_bytes, numbers));
}
