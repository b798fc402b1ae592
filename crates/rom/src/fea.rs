//! Field elements and vectors of eight of them (main-state-machine §1).

use alloy_primitives::U256;
use zkevm_tree::Digest;
use zkevm_tree::GOLDILOCKS_PRIME as P;
use zkevm_tree::goldilocks::{canonical, mul};
use zkevm_types::ExecutorError;

use crate::Abort;
use crate::tree::Root;

/// The value of a register or of a word of memory: eight canonical field elements, the lowest first. Not bound to 32 bits.
///
/// Inside of the machine it may be the mark of a root instead (`is_mark`).
pub type Fea = [u64; 8];

/// Nothing in all limbs.
pub(crate) const ZERO: Fea = [0; 8];

/// Adds two canonical elements.
#[inline(always)]
pub(crate) fn add_fe(a: u64, b: u64) -> u64 {
    // Both are below the prime: what is over it is over by less than it.
    let (sum, carry) = a.overflowing_add(b);
    if carry || sum >= P { sum.wrapping_sub(P) } else { sum }
}

/// Subtracts canonical elements.
#[inline(always)]
pub(crate) fn sub_fe(a: u64, b: u64) -> u64 {
    let (difference, borrow) = a.overflowing_sub(b);
    if borrow { difference.wrapping_add(P) } else { difference }
}

/// Returns the element of a number.
pub(crate) const fn canonical_fe(value: u64) -> u64 {
    canonical(value)
}

/// Multiplies two canonical elements.
#[inline(always)]
pub(crate) fn mul_fe(a: u64, b: u64) -> u64 {
    // The product of two numbers of 32 bits is below the prime.
    if (a | b) >> 32 == 0 { a * b } else { canonical(mul(a, b)) }
}

/// Returns the element of a signed number.
#[inline]
pub(crate) const fn fe_of(value: i64) -> u64 {
    if value < 0 { P - value.unsigned_abs() % P } else { value as u64 }
}

/// Adds limb by limb.
#[inline(always)]
pub(crate) fn add_fea(a: &Fea, b: &Fea) -> Fea {
    std::array::from_fn(|limb| add_fe(a[limb], b[limb]))
}

/// Multiplies every limb.
#[inline]
pub(crate) fn scale_fea(a: &Fea, by: u64) -> Fea {
    a.map(|limb| mul_fe(limb, by))
}

/// Returns a vector with this element in limb 0.
#[inline(always)]
pub(crate) const fn low(element: u64) -> Fea {
    [element, 0, 0, 0, 0, 0, 0, 0]
}

/// Returns the eight 32-bit limbs of a number.
#[inline(always)]
pub(crate) fn to_fea(value: U256) -> Fea {
    let [a, b, c, d] = value.into_limbs();
    const LOW: u64 = 0xffff_ffff;
    [a & LOW, a >> 32, b & LOW, b >> 32, c & LOW, c >> 32, d & LOW, d >> 32]
}

/// Returns the number of eight limbs, error 12 if one has more than 32 bits.
#[inline(always)]
pub(crate) fn to_scalar(fea: &Fea) -> Result<U256, Abort> {
    let [a, b, c, d, e, f, g, h] = *fea;
    if (a | b | c | d | e | f | g | h) >> 32 != 0 {
        return Err(Abort::new(ExecutorError::Fea2Scalar));
    }
    Ok(U256::from_limbs([a | b << 32, c | d << 32, e | f << 32, g | h << 32]))
}

/// Returns the signed number of an element, between −(p − 1)/2 and (p − 1)/2.
#[inline]
pub(crate) const fn signed(element: u64) -> i64 {
    if element <= P / 2 { element as i64 } else { -((P - element) as i64) }
}

/// Returns the number of an element in 32 bits, error 13 if it is out of range; so is −2^31.
#[inline]
pub(crate) fn signed32(element: u64) -> Result<i64, Abort> {
    if element <= 0x7fff_ffff {
        Ok(element as i64)
    } else if element > P - 0x8000_0000 {
        Ok(-((P - element) as i64))
    } else {
        Err(Abort::new(ExecutorError::ToS32))
    }
}

/// Stands in limb 7 of a mark: no element is like this.
const MARK: u64 = u64::MAX;

/// True if a vector is the mark of a root that is not hashed yet.
#[inline(always)]
pub(crate) fn is_mark(fea: &Fea) -> bool {
    fea[7] == MARK
}

/// Returns the root in a vector, error 12 if a limb has more than 32 bits, 107 if a pair is no field element: no tree has it.
#[inline]
pub(crate) fn root_of(fea: &Fea) -> Result<Root, Abort> {
    if is_mark(fea) {
        return Ok(Root::Marked(fea[0] as u32));
    }
    let root = Digest(to_scalar(fea)?.into_limbs());
    if root.0.iter().any(|limb| *limb >= P) {
        return Err(Abort::Error(ExecutorError::DbKeyNotFound, "a root that no tree has".into()));
    }
    Ok(Root::Known(root))
}

/// Returns the vector of a root.
#[inline]
pub(crate) fn of_root(root: &Root) -> Fea {
    match root {
        Root::Known(digest) => to_fea(digest.to_u256()),
        Root::Marked(number) => [(*number).into(), 0, 0, 0, 0, 0, 0, MARK],
    }
}
