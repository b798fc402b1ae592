//! Decimal numbers of a ROM file.

use alloy_primitives::U256;
use zkevm_tree::GOLDILOCKS_PRIME as P;

/// Longest decimal number, sign included.
const DIGITS_MAX: usize = 80;

/// Returns the field element of a signed decimal number whose magnitude is below the prime.
pub(super) fn element(text: &str) -> Result<u64, String> {
    let wrong = || format!("{:?} is no field element", shortened(text));
    if text.len() > DIGITS_MAX {
        return Err(wrong());
    }
    let value: i128 = text.parse().map_err(|_| wrong())?;
    if value.unsigned_abs() >= u128::from(P) {
        return Err(wrong());
    }
    // Below the prime in magnitude: it fits.
    Ok(if value < 0 { (value + i128::from(P)) as u64 } else { value as u64 })
}

/// Returns the sign and the magnitude of a decimal number of at most 256 bits.
pub(super) fn signed(text: &str) -> Result<(bool, U256), String> {
    let wrong = || format!("{:?} is no number of 256 bits", shortened(text));
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || text.len() > DIGITS_MAX || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let magnitude = U256::from_str_radix(digits, 10).map_err(|_| wrong())?;
    Ok((digits.len() < text.len(), magnitude))
}

/// Returns a signed decimal number modulo 2^256.
pub(super) fn wide(text: &str) -> Result<U256, String> {
    let (negative, magnitude) = signed(text)?;
    Ok(if negative { magnitude.wrapping_neg() } else { magnitude })
}

/// Returns enough of a text to recognise it.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}
