//! MODEXP as the ROMs of forks 7 and 13 compute it, with its length limit and its stale result buffer (evm §6.3, Q4, Q15).

use num_bigint::BigUint;
use revm::precompile::modexp::berlin_gas_calc;
use revm::primitives::U256;

use super::interrupt::Interrupt;
use zkevm_types::ForkRules;

/// Largest length of base, exponent and modulus, in bytes.
const LENGTH_MAX_BYTES: u64 = 1024;
/// Words of the ROM's result buffer.
const BUFFER_WORDS: usize = 32;
/// Bytes of a word.
const WORD_BYTES: usize = 32;

/// The ROM's result buffer: 32 words of 256 bits, least significant first.
///
/// Zero when a request starts and never cleared within it, so short results show the high words of earlier ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModexpBuffer {
    words: [U256; BUFFER_WORDS],
    /// The partial top word of an output is stored back, shifted to its upper end.
    keeps_shifted_top_word: bool,
}

/// How a call ended, gas aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ModexpOutcome {
    /// Not enough gas.
    OutOfGas,
    /// A length is over the limit.
    LengthFailure,
    /// Success without output: the caller's return data stays as it was.
    Empty {
        /// Gas of the call.
        gas: u64,
    },
    /// Success.
    Output {
        /// Gas of the call.
        gas: u64,
        /// As many bytes as the modulus has.
        bytes: Vec<u8>,
    },
    /// The batch was told to stop.
    Stopped,
}

impl ModexpBuffer {
    /// Creates the buffer of a request under these rules.
    pub(crate) fn new(rules: &ForkRules) -> Self {
        Self { keeps_shifted_top_word: rules.modexp_keeps_shifted_top_word, ..Self::default() }
    }

    /// Runs one call, and looks now and then whether it should go on.
    pub(crate) fn run(&mut self, input: &[u8], gas_limit: u64, interrupt: &mut Interrupt) -> ModexpOutcome {
        let word = |index: usize| U256::from_be_bytes(padded::<WORD_BYTES>(input, index * WORD_BYTES));
        let [base_bytes, exponent_bytes, modulus_bytes] =
            [word(0), word(1), word(2)].map(|length| length.try_into().unwrap_or(u64::MAX));
        let data = input.get(3 * WORD_BYTES..).unwrap_or_default();

        let gas = call_gas(data, base_bytes, exponent_bytes, modulus_bytes);
        if gas > gas_limit {
            return ModexpOutcome::OutOfGas;
        }
        if modulus_bytes == 0 {
            return ModexpOutcome::Empty { gas };
        }
        let exceeds = |lengths: &[u64]| lengths.iter().any(|&length| length > LENGTH_MAX_BYTES);
        if exceeds(&[base_bytes, modulus_bytes]) || (base_bytes != 0 && exceeds(&[exponent_bytes])) {
            return ModexpOutcome::LengthFailure;
        }
        if base_bytes == 0 {
            self.words[0] = U256::ZERO;
        } else {
            let (base_bytes, exponent_bytes) = (base_bytes as usize, exponent_bytes as usize);
            let base = number(data, 0, base_bytes);
            let exponent = number(data, base_bytes, exponent_bytes);
            let modulus = number(data, base_bytes + exponent_bytes, modulus_bytes as usize);
            if !self.compute(&base, &exponent, &modulus, interrupt) {
                return ModexpOutcome::Stopped;
            }
        }
        ModexpOutcome::Output { gas, bytes: self.read(modulus_bytes as usize) }
    }

    /// Right-to-left square and multiply, storing every intermediate result as the ROM does. False if it was told to stop.
    fn compute(&mut self, base: &BigUint, exponent: &BigUint, modulus: &BigUint, interrupt: &mut Interrupt) -> bool {
        let (zero, one) = (BigUint::ZERO, BigUint::from(1u8));
        if *modulus <= one || (*base == zero && *exponent != zero) {
            self.words[0] = U256::ZERO;
            return true;
        }
        // Multiplying and dividing take time in the square of the length.
        let words = (modulus.bits() / 64) as u32 + 1;
        let steps_per_bit = (words * words / 64).max(1);
        self.words[0] = U256::from(1);
        let mut square = base % modulus;
        let mut result = one;
        for bit in 0..exponent.bits() {
            if interrupt.spend(steps_per_bit) {
                return false;
            }
            if square == zero {
                self.words[0] = U256::ZERO;
                return true;
            }
            if exponent.bit(bit) {
                result = result * &square % modulus;
                self.store(&result);
            }
            square = &square * &square % modulus;
        }
        true
    }

    fn store(&mut self, value: &BigUint) {
        let bytes = value.to_bytes_le();
        for (word, chunk) in self.words.iter_mut().zip(bytes.chunks(WORD_BYTES)) {
            *word = U256::from_le_slice(chunk);
        }
    }

    /// Returns the low `length` bytes of the buffer, big-endian.
    fn read(&mut self, length: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.words.iter().flat_map(|word| word.to_le_bytes::<WORD_BYTES>()).collect();
        bytes.truncate(length);
        bytes.reverse();
        let (top, partial_bytes) = (length / WORD_BYTES, length % WORD_BYTES);
        if self.keeps_shifted_top_word
            && partial_bytes > 0
            && let Some(word) = self.words.get_mut(top)
        {
            *word <<= 8 * (WORD_BYTES - partial_bytes);
        }
        bytes
    }
}

fn call_gas(data: &[u8], base_bytes: u64, exponent_bytes: u64, modulus_bytes: u64) -> u64 {
    let head_bytes = exponent_bytes.min(WORD_BYTES as u64) as usize;
    let head = match usize::try_from(base_bytes) {
        Ok(at) => U256::try_from_be_slice(&padded_vec(data, at, head_bytes)).unwrap_or_default(),
        Err(_) => U256::ZERO,
    };
    berlin_gas_calc(base_bytes, exponent_bytes, modulus_bytes, &head)
}

fn number(data: &[u8], at: usize, length: usize) -> BigUint {
    BigUint::from_bytes_be(&padded_vec(data, at, length))
}

/// Reads bytes that may lie behind the end of the input, where zeros are.
fn padded_vec(data: &[u8], at: usize, length: usize) -> Vec<u8> {
    let present = data.get(at.min(data.len())..).unwrap_or_default();
    let mut out = present[..present.len().min(length)].to_vec();
    out.resize(length, 0);
    out
}

fn padded<const N: usize>(data: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&padded_vec(data, at, N));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use zkevm_pool::CancelToken;

    fn call(base: &BigUint, exponent: u8, modulus: &BigUint, bytes: usize) -> Vec<u8> {
        let length = |n: usize| U256::from(n).to_be_bytes::<32>().to_vec();
        let field = |value: &BigUint| {
            let raw = value.to_bytes_be();
            [vec![0; bytes - raw.len()], raw].concat()
        };
        [length(bytes), length(1), length(bytes), field(base), vec![exponent], field(modulus)].concat()
    }

    fn run(buffer: &mut ModexpBuffer, input: &[u8], gas_limit: u64) -> ModexpOutcome {
        buffer.run(input, gas_limit, &mut Interrupt::default())
    }

    #[test]
    fn a_long_one_ends_when_it_is_told_to() {
        let length = U256::from(1024).to_be_bytes::<32>();
        let input = [&length.repeat(3)[..], &[0xfd; 2 * 1024], &[0xff; 1024]].concat();
        let cancel = CancelToken::default();
        cancel.cancel();
        let mut buffer = ModexpBuffer::default();
        assert_eq!(buffer.run(&input, u64::MAX, &mut Interrupt::new(cancel)), ModexpOutcome::Stopped);
    }

    /// The oracle case "modexp stale words" of evm appendix A: 2^300 + 7 instead of 7.
    #[test]
    fn intermediate_words_shine_through() {
        let (base, modulus) = (BigUint::from(1u8) << 300, (BigUint::from(1u8) << 900) - 7u8);
        let ModexpOutcome::Output { bytes, .. } =
            run(&mut ModexpBuffer::default(), &call(&base, 3, &modulus, 128), u64::MAX)
        else {
            panic!("the call succeeds");
        };
        assert_eq!(BigUint::from_bytes_be(&bytes), base + 7u8);
    }

    #[test]
    fn earlier_results_stay_in_the_high_words() {
        let mut buffer = ModexpBuffer::default();
        let wide = BigUint::from_bytes_be(&[0x11; 64]);
        let modulus = BigUint::from(1u8) << 511;
        let output =
            |buffer: &mut ModexpBuffer, base: &BigUint| match run(buffer, &call(base, 1, &modulus, 64), u64::MAX) {
                ModexpOutcome::Output { bytes, .. } => bytes,
                other => panic!("{other:?}"),
            };
        assert_eq!(output(&mut buffer, &wide), vec![0x11; 64]);
        let five = output(&mut buffer, &BigUint::from(5u8));
        assert_eq!((&five[..32], five[63]), (&[0x11; 32][..], 5));
    }

    #[test]
    fn special_lengths() {
        let mut buffer = ModexpBuffer::default();
        let header = |base: u64, exponent: u64, modulus: u64| {
            [base, exponent, modulus].map(|n| U256::from(n).to_be_bytes::<32>()).concat()
        };
        assert_eq!(run(&mut buffer, &header(1, 1, 0), 200), ModexpOutcome::Empty { gas: 200 });
        assert_eq!(run(&mut buffer, &header(1, 1, 0), 199), ModexpOutcome::OutOfGas);
        assert_eq!(run(&mut buffer, &header(1, 1025, 1), u64::MAX), ModexpOutcome::LengthFailure);
        assert_eq!(
            run(&mut buffer, &header(0, 1025, 3), u64::MAX),
            ModexpOutcome::Output { gas: buffer_gas(1025, 3), bytes: vec![0; 3] }
        );
        assert_eq!(run(&mut buffer, &header(0, 0, 1025), u64::MAX), ModexpOutcome::LengthFailure);
    }

    fn buffer_gas(exponent: u64, modulus: u64) -> u64 {
        berlin_gas_calc(0, exponent, modulus, &U256::ZERO)
    }
}
