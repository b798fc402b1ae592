//! Equations, binary operations, unaligned accesses (main-state-machine §5.5 to §5.7).

use alloy_primitives::{U256, U512};
use zkevm_types::ExecutorError;

use super::Machine;
use super::modular::{BN254, Curve, Field, fp2_mul};
use super::registers::wide;
use crate::Abort;
use crate::fea::{self, Fea};
use crate::program::{Line, MemAlign};

/// Bytes of a word.
const WORD: u64 = 32;

impl Machine<'_, '_> {
    #[inline]
    fn wide_scalar(&self, place: usize) -> Result<U256, Abort> {
        fea::to_scalar(&self.registers.wide[place])
    }

    /// Checks an equation, numbered from 0 (main-state-machine §5.5).
    pub(super) fn check_equation(&mut self, equation: u8, op: &Fea) -> Result<(), Abort> {
        let (a, b) = (self.wide_scalar(wide::A)?, self.wide_scalar(wide::B)?);
        // A doubling has no second point.
        let is_doubling = equation == 2 || equation == 7;
        let (c, d) = match is_doubling {
            true => (U256::ZERO, U256::ZERO),
            false => (self.wide_scalar(wide::C)?, self.wide_scalar(wide::D)?),
        };
        let result = fea::to_scalar(op)?;
        if equation == 0 {
            return check(is_product(a, b, c, d, result), ExecutorError::ArithMismatch);
        }
        let e = self.wide_scalar(wide::E)?;
        let point = match equation {
            1 => self.sum_of_points(Curve::Secp256k1, [a, b, c, d]),
            2 => self.doubled_point(Curve::Secp256k1, a, b),
            6 => self.sum_of_points(Curve::Secp256r1, [a, b, c, d]),
            7 => self.doubled_point(Curve::Secp256r1, a, b),
            _ => return check(is_fp2(equation, [a, b, c, d], e, result), ExecutorError::ArithMismatch),
        };
        let point = point.ok_or(Abort::new(ExecutorError::ArithEcrecoverDivideByZero))?;
        check(point == (e, result), ExecutorError::ArithEcrecoverMismatch)
    }

    /// Returns the result and the carry of a line's binary operation (main-state-machine §5.6).
    #[inline]
    pub(super) fn binary_result(&self, line: &Line) -> Result<(U256, bool), Abort> {
        let (a, b) = (self.wide_scalar(wide::A)?, self.wide_scalar(wide::B)?);
        let truth = |is_true: bool| (U256::from(u64::from(is_true)), is_true);
        Ok(match line.binary.unwrap_or_default() {
            0 => a.overflowing_add(b),
            1 => a.overflowing_sub(b),
            2 => truth(a < b),
            3 => {
                let sign = U256::from(1) << 255;
                truth((a ^ sign) < (b ^ sign))
            }
            4 => truth(a == b),
            5 => {
                let result = a & b;
                (result, !result.is_zero())
            }
            6 => (a | b, false),
            7 => (a ^ b, false),
            _ => truth(a.as_limbs().iter().zip(b.as_limbs()).all(|(a, b)| a < b)),
        })
    }

    pub(super) fn binary_mismatch(&self, line: &Line) -> Abort {
        let error = match line.binary {
            _ if self.program.rules.shared_errors => ExecutorError::BinaryAddMismatch,
            Some(1) => ExecutorError::BinarySubMismatch,
            Some(2) => ExecutorError::BinaryLtMismatch,
            Some(3) => ExecutorError::BinarySltMismatch,
            Some(4) => ExecutorError::BinaryEqMismatch,
            Some(5) => ExecutorError::BinaryAndMismatch,
            Some(6) => ExecutorError::BinaryOrMismatch,
            Some(7) => ExecutorError::BinaryXorMismatch,
            Some(8) => ExecutorError::BinaryLt4Mismatch,
            _ => ExecutorError::BinaryAddMismatch,
        };
        error.into()
    }

    /// Returns the two words of an unaligned access, and its offset in bytes.
    fn alignment(&self) -> Result<(U256, U256, usize), Abort> {
        let (first, second) = (self.wide_scalar(wide::A)?, self.wide_scalar(wide::B)?);
        let offset = self.wide_scalar(wide::C)?;
        match u64::try_from(offset) {
            Ok(offset @ 0..=WORD) => Ok((first, second, offset as usize)),
            _ => Err(ExecutorError::MemalignOffsetOutOfRange.into()),
        }
    }

    /// Returns what an unaligned read gives.
    pub(super) fn aligned_read(&self) -> Result<U256, Abort> {
        let (first, second, offset) = self.alignment()?;
        Ok(shl(first, 8 * offset) + shr(second, 256 - 8 * offset))
    }

    /// Checks an unaligned access (main-state-machine §5.7).
    pub(super) fn check_alignment(&self, kind: MemAlign, op: &Fea) -> Result<(), Abort> {
        let (first, second, offset) = self.alignment()?;
        let value = fea::to_scalar(op)?;
        match kind {
            MemAlign::Read => check(value == self.aligned_read()?, ExecutorError::MemalignReadMismatch),
            MemAlign::Write => {
                let words = (self.wide_scalar(wide::D)?, self.wide_scalar(wide::E)?);
                let expected = aligned_write(first, second, value, offset);
                check(words == expected, ExecutorError::MemalignWriteMismatch)
            }
            MemAlign::Write8 => {
                let expected =
                    aligned_write8(first, value, offset).ok_or(Abort::new(ExecutorError::MemalignOffsetOutOfRange))?;
                check(self.wide_scalar(wide::D)? == expected, ExecutorError::MemalignWrite8Mismatch)
            }
        }
    }
}

fn check(holds: bool, error: ExecutorError) -> Result<(), Abort> {
    if holds { Ok(()) } else { Err(error.into()) }
}

/// True if a·b + c = d·2^256 + result.
fn is_product(a: U256, b: U256, c: U256, d: U256, result: U256) -> bool {
    let product: U512 = a.widening_mul(b);
    let limbs = product.as_limbs();
    let low = U256::from_limbs([limbs[0], limbs[1], limbs[2], limbs[3]]);
    let high = U256::from_limbs([limbs[4], limbs[5], limbs[6], limbs[7]]);
    let (low, carry) = low.overflowing_add(c);
    // The product leaves room for a carry.
    let high = high.wrapping_add(U256::from(u64::from(carry)));
    (high, low) == (d, result)
}

/// Compares modulo the prime of BN254.
fn is_fp2(equation: u8, [a, b, c, d]: [U256; 4], e: U256, result: U256) -> bool {
    let field = Field(BN254);
    let (x, y) = match equation {
        3 => fp2_mul([a, b, c, d]),
        4 => (field.add(a, c), field.add(b, d)),
        _ => (field.sub(a, c), field.sub(b, d)),
    };
    x == e % BN254 && y == result % BN254
}

/// Shifts left; everything out from 256 bits on.
pub(super) fn shl(value: U256, bits: usize) -> U256 {
    if bits >= 256 { U256::ZERO } else { value << bits }
}

/// Shifts right; everything out from 256 bits on.
pub(super) fn shr(value: U256, bits: usize) -> U256 {
    if bits >= 256 { U256::ZERO } else { value >> bits }
}

/// Returns the two words after a write at an offset of 0 to 32 bytes.
fn aligned_write(first: U256, second: U256, value: U256, offset: usize) -> (U256, U256) {
    let kept_first = first & shl(U256::MAX, 8 * (32 - offset));
    let kept_second = second & shr(U256::MAX, 8 * offset);
    (kept_first | shr(value, 8 * offset), kept_second | shl(value, 256 - 8 * offset))
}

/// Returns the word after a byte was written at an offset of 0 to 31.
fn aligned_write8(word: U256, value: U256, offset: usize) -> Option<U256> {
    let bits = 8 * 31_usize.checked_sub(offset)?;
    Some(word & !(U256::from(255) << bits) | (value & U256::from(255)) << bits)
}

/// What `memAlignWR_W0`, `memAlignWR_W1` and `memAlignWR8_W0` give; `None` for an offset out of range.
pub(super) mod hints {
    use super::{U256, aligned_write, aligned_write8};

    pub(in crate::machine) fn first_word(word: U256, value: U256, offset: u64) -> Option<U256> {
        (offset <= 32).then(|| aligned_write(word, U256::ZERO, value, offset as usize).0)
    }

    pub(in crate::machine) fn second_word(word: U256, value: U256, offset: u64) -> Option<U256> {
        (offset <= 32).then(|| aligned_write(U256::ZERO, word, value, offset as usize).1)
    }

    pub(in crate::machine) fn byte(word: U256, value: U256, offset: u64) -> Option<U256> {
        aligned_write8(word, value, usize::try_from(offset).ok()?)
    }
}
