//! Signed numbers of commands (main-state-machine §8.1): 576 bits and a sign, enough for what ROMs compute; more is an error.

use std::cmp::Ordering;

use alloy_primitives::{U256, Uint};

use crate::Abort;
use crate::fea::{self, Fea};

/// The magnitude of a number.
pub(crate) type Wide = Uint<576, 9>;

/// A signed number. Zero is never negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    negative: bool,
    magnitude: Wide,
}

const TOO_LARGE: Abort = Abort::unspecified("a number has more than 576 bits");
const DIVISION_BY_ZERO: Abort = Abort::unspecified("division by zero");
/// Largest shift.
const SHIFT_MAX: u64 = 4096;

impl From<U256> for Scalar {
    #[inline]
    fn from(value: U256) -> Self {
        let mut limbs = [0; 9];
        limbs[..4].copy_from_slice(value.as_limbs());
        Self { negative: false, magnitude: Wide::from_limbs(limbs) }
    }
}

impl From<u64> for Scalar {
    #[inline]
    fn from(value: u64) -> Self {
        Self { negative: false, magnitude: Wide::from_limbs([value, 0, 0, 0, 0, 0, 0, 0, 0]) }
    }
}

impl From<bool> for Scalar {
    fn from(value: bool) -> Self {
        u64::from(value).into()
    }
}

impl PartialOrd for Scalar {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scalar {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude.cmp(&other.magnitude),
            (true, true) => other.magnitude.cmp(&self.magnitude),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl Scalar {
    pub(crate) const ZERO: Self = Self { negative: false, magnitude: Wide::ZERO };

    /// Returns the number of a sign and a magnitude.
    pub(crate) fn new(negative: bool, magnitude: Wide) -> Self {
        Self { negative: negative && !magnitude.is_zero(), magnitude }
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.magnitude.is_zero()
    }

    /// Returns the number if it is one of 256 bits without sign.
    pub(crate) fn to_u256(self) -> Option<U256> {
        if self.negative { None } else { self.small_magnitude() }
    }

    /// Returns the number modulo 2^256.
    #[inline]
    pub(crate) fn modulo_2_256(self) -> U256 {
        let low = self.low_magnitude();
        if self.negative { low.wrapping_neg() } else { low }
    }

    /// Returns the number modulo a prime, never negative.
    pub(crate) fn residue(self, prime: U256) -> U256 {
        let rest = match self.small_magnitude() {
            Some(magnitude) if magnitude < prime => magnitude,
            Some(magnitude) => magnitude % prime,
            None => Self::new(false, self.magnitude % Self::from(prime).magnitude).low_magnitude(),
        };
        if self.negative && !rest.is_zero() { prime - rest } else { rest }
    }

    /// Returns its limbs (main-state-machine §1).
    pub(crate) fn to_fea(self) -> Fea {
        fea::to_fea(self.modulo_2_256())
    }

    /// Returns the low 64 bits of the magnitude: what an address, a length or a shift is.
    pub(crate) fn low_u64(self) -> u64 {
        self.magnitude.as_limbs()[0]
    }

    /// Number of bits of the magnitude.
    pub(crate) fn bit_len(self) -> usize {
        self.magnitude.bit_len()
    }

    fn low_magnitude(&self) -> U256 {
        let limbs = self.magnitude.as_limbs();
        U256::from_limbs([limbs[0], limbs[1], limbs[2], limbs[3]])
    }

    pub(crate) fn neg(self) -> Self {
        Self::new(!self.negative, self.magnitude)
    }

    pub(crate) fn add(self, other: Self) -> Result<Self, Abort> {
        if self.negative == other.negative {
            let sum = self.magnitude.checked_add(other.magnitude).ok_or(TOO_LARGE)?;
            return Ok(Self::new(self.negative, sum));
        }
        let (larger, smaller) = if self.magnitude >= other.magnitude { (self, other) } else { (other, self) };
        Ok(Self::new(larger.negative, larger.magnitude.wrapping_sub(smaller.magnitude)))
    }

    pub(crate) fn sub(self, other: Self) -> Result<Self, Abort> {
        self.add(other.neg())
    }

    pub(crate) fn mul(self, other: Self) -> Result<Self, Abort> {
        let negative = self.negative != other.negative;
        if let (Some(a), Some(b)) = (self.small_magnitude(), other.small_magnitude()) {
            let product: Uint<512, 8> = a.widening_mul(b);
            let mut limbs = [0; 9];
            limbs[..8].copy_from_slice(product.as_limbs());
            return Ok(Self::new(negative, Wide::from_limbs(limbs)));
        }
        let product = self.magnitude.checked_mul(other.magnitude).ok_or(TOO_LARGE)?;
        Ok(Self::new(negative, product))
    }

    fn small_magnitude(&self) -> Option<U256> {
        self.magnitude.as_limbs()[4..].iter().all(|limb| *limb == 0).then(|| self.low_magnitude())
    }

    /// Divides, truncating toward zero.
    pub(crate) fn div(self, by: Self) -> Result<Self, Abort> {
        let quotient = self.magnitude.checked_div(by.magnitude).ok_or(DIVISION_BY_ZERO)?;
        Ok(Self::new(self.negative != by.negative, quotient))
    }

    /// Returns the remainder of [`Self::div`], with the sign of the dividend.
    pub(crate) fn rem(self, by: Self) -> Result<Self, Abort> {
        let rest = self.magnitude.checked_rem(by.magnitude).ok_or(DIVISION_BY_ZERO)?;
        Ok(Self::new(self.negative, rest))
    }

    pub(crate) fn shl(self, by: Self) -> Result<Self, Abort> {
        let bits = by.shift()?;
        if self.is_zero() {
            return Ok(self);
        }
        if self.magnitude.bit_len() + bits > 576 {
            return Err(TOO_LARGE);
        }
        Ok(Self::new(self.negative, self.magnitude << bits))
    }

    /// Divides by a power of two, rounding down.
    pub(crate) fn shr(self, by: Self) -> Result<Self, Abort> {
        let bits = by.shift()?;
        let shifted = if bits >= 576 { Wide::ZERO } else { self.magnitude >> bits };
        if self.negative && self.magnitude.trailing_zeros() < bits {
            return Ok(Self::new(true, shifted.checked_add(Wide::from(1)).ok_or(TOO_LARGE)?));
        }
        Ok(Self::new(self.negative, shifted))
    }

    fn shift(self) -> Result<usize, Abort> {
        match self.low_u64() {
            bits @ ..=SHIFT_MAX => Ok(bits as usize),
            _ => Err(Abort::unspecified("a shift of more than 4096 bits")),
        }
    }

    /// Applies an operation to the two's complements, which have no end.
    pub(crate) fn bitwise(self, other: Self, operation: impl Fn(Wide, Wide) -> Wide) -> Result<Self, Abort> {
        Ok(Self::of_complement(operation(self.complement()?, other.complement()?)))
    }

    /// Returns −a − 1.
    pub(crate) fn bit_not(self) -> Result<Self, Abort> {
        self.neg().sub(1.into())
    }

    fn complement(self) -> Result<Wide, Abort> {
        if self.magnitude.bit_len() >= 576 {
            return Err(TOO_LARGE);
        }
        Ok(if self.negative { self.magnitude.wrapping_neg() } else { self.magnitude })
    }

    fn of_complement(value: Wide) -> Self {
        if value.bit(575) { Self::new(true, value.wrapping_neg()) } else { Self::new(false, value) }
    }
}
