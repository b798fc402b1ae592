//! Prices of precompiles (counters §11).

use revm::primitives::{U256, uint};

use super::modexp::{ModexpInput, modexp};
use super::{Counters, Prices, SignatureClass, rows};

/// One run of a precompile, with what its price depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Precompile<'a> {
    /// ECRECOVER.
    Recover(SignatureClass),
    /// SHA-256 of so many bytes.
    Sha256(u64),
    /// IDENTITY of so many bytes, with an output area of so many.
    Identity(u64, u64),
    /// MODEXP of so many bytes, with an output area of so many; its numbers, if the modulus is not zero.
    Modexp(u64, u64, Option<&'a ModexpInput<'a>>),
    /// Addition on the pairing curve.
    EcAdd,
    /// Multiplication on the pairing curve.
    EcMul,
    /// A pairing of so many pairs.
    EcPairing(u64),
    /// Verification of a secp256r1 signature.
    P256Verify(P256Class),
}

/// How far the verification of a secp256r1 signature gets (counters §11.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum P256Class {
    /// r is zero.
    RZero,
    /// r is no less than the order.
    RBig,
    /// s is zero.
    SZero,
    /// s is no less than the order.
    SBig,
    /// x is no field element.
    XBig,
    /// y is no field element.
    YBig,
    /// The point (0, 0).
    ZeroPoint,
    /// The point is not on the curve.
    OffCurve,
    /// The signature is looked at.
    Verified,
}

/// Order, prime and coefficients of secp256r1 (later-forks §4.1).
const P256_ORDER: U256 = uint!(0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551_U256);
const P256_PRIME: U256 = uint!(0xffffffff00000001000000000000000000000000ffffffffffffffffffffffff_U256);
const P256_A: U256 = uint!(0xffffffff00000001000000000000000000000000fffffffffffffffffffffffc_U256);
const P256_B: U256 = uint!(0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b_U256);

impl P256Class {
    /// Returns the class of hash, r, s, x and y.
    pub(crate) fn of([_, r, s, x, y]: &[U256; 5]) -> Self {
        let (x, y) = (*x, *y);
        let on_curve = || {
            let cubed = x.mul_mod(x, P256_PRIME).mul_mod(x, P256_PRIME);
            let right = cubed.add_mod(x.mul_mod(P256_A, P256_PRIME), P256_PRIME).add_mod(P256_B, P256_PRIME);
            y.mul_mod(y, P256_PRIME) == right
        };
        match () {
            () if r.is_zero() => Self::RZero,
            () if *r >= P256_ORDER => Self::RBig,
            () if s.is_zero() => Self::SZero,
            () if *s >= P256_ORDER => Self::SBig,
            () if x >= P256_PRIME => Self::XBig,
            () if y >= P256_PRIME => Self::YBig,
            () if x.is_zero() && y.is_zero() => Self::ZeroPoint,
            () if !on_curve() => Self::OffCurve,
            () => Self::Verified,
        }
    }

    /// Steps, arithmetics and binaries of the verification itself.
    const fn price(self) -> Counters {
        match self {
            Self::RZero => rows(13, 0, 1, 0),
            Self::RBig => rows(15, 0, 2, 0),
            Self::SZero => rows(17, 0, 3, 0),
            Self::SBig => rows(19, 0, 4, 0),
            Self::XBig => rows(22, 0, 5, 0),
            Self::YBig => rows(24, 0, 6, 0),
            Self::ZeroPoint => rows(29, 0, 8, 0),
            Self::OffCurve => rows(104, 12, 15, 0),
            Self::Verified => rows(7718, 531, 22, 0),
        }
    }
}

impl Prices {
    /// Price of a precompile that had gas enough, whatever it answers.
    pub(crate) fn precompile(&self, run: Precompile<'_>) -> Counters {
        let read = self.calldata_read();
        let store = self.memory_store();
        let own = |[s, a, b]: [u64; 3]| rows(s, a, b, 0);
        match run {
            Precompile::Recover(class) => rows(35, 0, 1, 0) + read.times(4) + class.price() + store.times(2),
            Precompile::Sha256(bytes) => {
                let blocks = (bytes + self.revision.sha256_padding_bytes).div_ceil(64);
                rows(100, 0, 1, 0)
                    + self.div().times(2)
                    + store.times(2)
                    + (rows(11, 0, 0, 0) + read).times(bytes / 32)
                    + read
                    + self.shift_right()
                    + Counters::from_array([0, 0, 0, 0, 0, 0, 0, blocks])
            }
            Precompile::Identity(bytes, output) => {
                rows(45, 0, 2, 0)
                    + self.div()
                    + (rows(8, 0, 0, 0) + read + store).times(bytes / 32)
                    + read
                    + store
                    + (rows(12, 0, 0, 0) + self.memory_word() + store).times(output / 32)
                    + self.memory_part()
                    + store
            }
            Precompile::Modexp(bytes, output, input) => {
                rows(100, 0, 20, 0)
                    + read.times(4)
                    + self.shift_right()
                    + rows(10, 0, 1, 0).times(3)
                    + self.div().times(3)
                    + self.mul().times(3)
                    + self.shift_left().times(2)
                    + store.times(2)
                    + (rows(8, 0, 0, 0) + store).times(bytes / 32 + output / 32)
                    + input.map_or_else(Counters::default, |input| modexp(input, self.revision.modexp_corrected))
            }
            Precompile::EcAdd => rows(50, 0, 1, 0) + read.times(4) + store.times(5) + own(self.revision.ec_add),
            Precompile::EcMul => rows(50, 0, 1, 0) + read.times(3) + store.times(5) + own(self.revision.ec_mul),
            Precompile::EcPairing(pairs) => {
                let (base, pair) = self.revision.ec_pairing;
                let work = own(base) + own(pair).times(pairs);
                rows(50, 0, 1, 0) + read.times(6) + self.div() + store.times(2) + work
            }
            Precompile::P256Verify(class) => rows(50, 0, 1, 0) + read.times(5) + class.price() + store.times(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::R12;
    use super::*;

    /// Rows of counters §11 and §18.1.
    #[test]
    fn prices_are_those_of_the_specification() {
        let cases = [
            (Precompile::Recover(SignatureClass::Root), [7729, 560, 596, 6, 1, 0, 0, 0]),
            (Precompile::Recover(SignatureClass::NoRoot), [5962, 1046, 83, 6, 0, 0, 0, 0]),
            (Precompile::Recover(SignatureClass::Rejected), [1480, 34, 81, 6, 0, 0, 0, 0]),
            (Precompile::Sha256(55), [1301, 28, 64, 4, 0, 0, 0, 1]),
            (Precompile::Sha256(119), [1693, 36, 84, 6, 0, 0, 0, 2]),
            (Precompile::Identity(100, 32), [3171, 73, 161, 12, 0, 0, 0, 0]),
            (Precompile::EcAdd, [3240, 106, 171, 9, 0, 0, 0, 0]),
            (Precompile::EcMul, [177_255, 20_052, 20_111, 8, 0, 0, 0, 0]),
            (Precompile::EcPairing(2), [576_876, 47_541, 9046, 8, 0, 0, 0, 0]),
            (Precompile::Modexp(0, 0, None), [1930, 44, 116, 6, 0, 0, 0, 0]),
        ];
        for (run, expected) in cases {
            assert_eq!(Prices::new(&R12, 0).precompile(run).to_array(), expected, "{run:?}");
        }
    }
}
