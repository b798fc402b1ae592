//! Points of curves that commands add and double.
//!
//! What a sum is depends on its operands alone, so it may be computed ahead: a recovery multiplies two points bit by bit, and
//! every step of it asks for a division. When it begins, all its sums are computed with one division for all. Whatever is asked
//! for then is compared with what was foreseen; what was not is computed as it comes. The results are the same.

use alloy_primitives::U256;
use k256::elliptic_curve::BatchNormalize;
use k256::elliptic_curve::group::Group;
use k256::elliptic_curve::sec1::{FromEncodedPoint, ToEncodedPoint};
use k256::{AffinePoint, EncodedPoint, FieldElement, ProjectivePoint};

use super::modular::Curve;

/// Operands of a sum or, with a second point that no register holds, of a doubling.
type Operands = [U256; 4];
/// A result; `None` if the formula divides by zero.
type Sum = Option<(U256, U256)>;

/// Bits of a factor.
const BITS: usize = 256;

/// The points of a run.
#[derive(Debug, Default)]
pub(super) struct Points {
    /// The last point of each curve: x and y come one after the other, and then the equation.
    last: [Option<(Operands, Sum)>; 2],
    /// What a recovery will ask for, the next last.
    foreseen: Vec<(Operands, (U256, U256))>,
}

/// Two points and their factors: what a recovery begins with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    /// x1, y1, x2, y2.
    pub(super) points: Operands,
    pub(super) factors: [U256; 2],
}

/// What the ROM's loop over the bits of a product leaves when all but the lowest bit are done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BitsDone {
    /// What is accumulated, if anything.
    pub(super) accumulated: Option<(U256, U256)>,
    /// The point that was added last, or taken: the first, the second or both.
    pub(super) last_addend: Option<usize>,
    pub(super) steps: u64,
    pub(super) additions: u64,
    pub(super) doublings: u64,
    pub(super) binaries: u64,
}

/// Runs the ROM's loop over the bits of a product, but for the lowest bit. `both` is the sum of the two points.
///
/// `None` where the loop leaves its way: points of the same x, the point at infinity; and for points off the curve.
pub(super) fn do_bits(product: &Product, both: (U256, U256)) -> Option<BitsDone> {
    let [x1, y1, x2, y2] = product.points;
    let points = [point(x1, y1)?, point(x2, y2)?, point(both.0, both.1)?];
    if ProjectivePoint::from(points[0]) + points[1] != ProjectivePoint::from(points[2]) {
        return None;
    }
    let addends = [(field(x1)?, field(y1)?), (field(x2)?, field(y2)?), (field(both.0)?, field(both.1)?)];
    let mut done = BitsDone::default();
    let mut accumulated: Option<Jacobian> = None;
    for bit in (1..BITS).rev() {
        // Shifts of both factors, and the choice of the addend.
        done.binaries += 2;
        let (addend, steps) = match (product.factors[0].bit(bit), product.factors[1].bit(bit)) {
            (false, false) => (None, 6),
            (true, false) => (Some(0), 7),
            (false, true) => (Some(1), 7),
            (true, true) => (Some(2), 8),
        };
        done.steps += steps;
        if let Some(addend) = addend {
            done.last_addend = Some(addend);
            let (x, y) = addends[addend];
            accumulated = Some(match accumulated {
                None => {
                    done.steps += 3;
                    Jacobian { x, y, z: FieldElement::ONE }
                }
                Some(point) => {
                    done.steps += 6;
                    done.additions += 1;
                    point.plus(&x, &y)?
                }
            });
        }
        // The end of the round, and the doubling.
        done.steps += 2;
        if let Some(point) = accumulated {
            done.steps += 4;
            done.doublings += 1;
            accumulated = Some(point.doubled());
        }
    }
    if let Some(point) = accumulated {
        done.accumulated = Some(point.coordinates()?);
    }
    Some(done)
}

/// A point (x/z², y/z³) that is not at infinity.
///
/// The sums of the library hold for all points. These hold for points of different x only, tell when that is not so, and take
/// less time. There is no point of order two. Numbers in comments are magnitudes: products take up to 8.
#[derive(Clone, Copy)]
struct Jacobian {
    x: FieldElement,
    y: FieldElement,
    z: FieldElement,
}

impl Jacobian {
    /// Returns the double, of magnitudes 1, 1, 2: dbl-2009-l of the Explicit-Formulas Database.
    fn doubled(&self) -> Self {
        let (xx, yy) = (self.x.square(), self.y.square());
        let d = (self.x * yy).mul_single(4);
        let e = xx.mul_single(3);
        let x = (e.square() + d.double().negate(8)).normalize_weak();
        let y = (e * (d + x.negate(1)) + yy.square().mul_single(8).negate(8)).normalize_weak();
        Self { x, y, z: (self.y * self.z).double() }
    }

    /// Returns the sum of a double and the point (x, y), of magnitudes 6, 3, 1; `None` if both have the same x.
    fn plus(&self, x: &FieldElement, y: &FieldElement) -> Option<Self> {
        let zz = self.z.square();
        let h = *x * zz + self.x.negate(1);
        if bool::from(h.normalizes_to_zero()) {
            return None;
        }
        let r = *y * zz * self.z + self.y.negate(1);
        let hh = h.square();
        let (hhh, v) = (hh * h, self.x * hh);
        let x = r.square() + hhh.negate(1) + v.double().negate(2);
        let y = r * (v + x.negate(6)) + (self.y * hhh).negate(1);
        Some(Self { x, y, z: self.z * h })
    }

    /// Returns x and y.
    fn coordinates(&self) -> Option<(U256, U256)> {
        let inverse = self.z.invert().into_option()?;
        let square = inverse.square();
        let number = |element: FieldElement| U256::from_be_slice(&element.normalize().to_bytes());
        Some((number(self.x * square), number(self.y * square * inverse)))
    }
}

/// Returns the element of a number below the prime.
fn field(number: U256) -> Option<FieldElement> {
    FieldElement::from_bytes(&number.to_be_bytes::<32>().into()).into_option()
}

impl Points {
    /// Returns the sum of two points by the formula for different ones. `product` is what a recovery would begin with.
    pub(super) fn sum(&mut self, curve: Curve, operands: Operands, product: impl FnOnce() -> Option<Product>) -> Sum {
        if let Some(sum) = self.known(curve, &operands) {
            return sum;
        }
        if curve == Curve::Secp256k1
            && let Some(product) = product().filter(|product| product.points == operands)
        {
            self.foreseen = foresee(&product);
            if let Some(sum) = self.known(curve, &operands) {
                return sum;
            }
        }
        self.remember(curve, operands, curve.add(operands))
    }

    /// Returns the double of a point.
    pub(super) fn double(&mut self, curve: Curve, x: U256, y: U256) -> Sum {
        let operands = doubling(curve, x, y);
        match self.known(curve, &operands) {
            Some(sum) => sum,
            None => self.remember(curve, operands, curve.double(x, y)),
        }
    }

    fn known(&mut self, curve: Curve, operands: &Operands) -> Option<Sum> {
        if let Some((known, sum)) = &self.last[curve as usize]
            && known == operands
        {
            return Some(*sum);
        }
        let (_, sum) = *self.foreseen.last().filter(|(next, _)| next == operands && curve == Curve::Secp256k1)?;
        self.foreseen.pop();
        Some(self.remember(curve, *operands, Some(sum)))
    }

    fn remember(&mut self, curve: Curve, operands: Operands, sum: Sum) -> Sum {
        self.last[curve as usize] = Some((operands, sum));
        sum
    }
}

/// Returns the operands of a doubling. No second point is like this: registers hold any number below 2^256, but sums reduce
/// them, and the primes are not below themselves.
fn doubling(curve: Curve, x: U256, y: U256) -> Operands {
    [x, y, U256::MAX, curve.prime()]
}

/// Computes the sums of k1·P1 + k2·P2, from the highest bits on, in the order of the ROM and with the next one last. Ends where
/// the point at infinity comes in; nothing if a point is not on the curve.
fn foresee(product: &Product) -> Vec<(Operands, (U256, U256))> {
    let [x1, y1, x2, y2] = product.points;
    let (Some(first), Some(second)) = (point(x1, y1), point(x2, y2)) else { return Vec::new() };
    let both = ProjectivePoint::from(first) + second;
    if bool::from(both.is_identity()) {
        return Vec::new();
    }
    let both = both.to_affine();
    let (addends, sums) = sums(&[first, second, both], &product.factors);
    let affine = <ProjectivePoint as BatchNormalize<[ProjectivePoint]>>::batch_normalize(&sums);
    let coordinates_of_addends = [(x1, y1), (x2, y2), coordinates(&both)];
    let mut accumulated = (U256::ZERO, U256::ZERO);
    let mut foreseen = vec![(product.points, coordinates_of_addends[2])];
    for (addend, sum) in addends.into_iter().zip(affine) {
        let sum = coordinates(&sum);
        match addend {
            // The first summand is taken as it is.
            Step::Take(addend) => accumulated = coordinates_of_addends[addend],
            Step::Add(addend) => {
                let (x, y) = coordinates_of_addends[addend];
                foreseen.push(([accumulated.0, accumulated.1, x, y], sum));
                accumulated = sum;
            }
            Step::Double => {
                foreseen.push((doubling(Curve::Secp256k1, accumulated.0, accumulated.1), sum));
                accumulated = sum;
            }
        }
    }
    foreseen.reverse();
    foreseen
}

/// A step of a multiplication.
#[derive(Clone, Copy)]
enum Step {
    Take(usize),
    Add(usize),
    Double,
}

/// Returns the steps and what stands after each.
fn sums(addends: &[AffinePoint; 3], factors: &[U256; 2]) -> (Vec<Step>, Vec<ProjectivePoint>) {
    let (mut steps, mut sums) = (Vec::with_capacity(2 * BITS), Vec::with_capacity(2 * BITS));
    let mut accumulated: Option<ProjectivePoint> = None;
    for bit in (0..BITS).rev() {
        if let Some(point) = accumulated {
            let double = point.double();
            steps.push(Step::Double);
            sums.push(double);
            accumulated = Some(double);
        }
        let addend = match (factors[0].bit(bit), factors[1].bit(bit)) {
            (false, false) => continue,
            (true, false) => 0,
            (false, true) => 1,
            (true, true) => 2,
        };
        let (step, sum) = match accumulated {
            None => (Step::Take(addend), ProjectivePoint::from(addends[addend])),
            Some(point) => (Step::Add(addend), point + addends[addend]),
        };
        if bool::from(sum.is_identity()) {
            break;
        }
        steps.push(step);
        sums.push(sum);
        accumulated = Some(sum);
    }
    (steps, sums)
}

/// Returns the square root of a number below the prime of secp256k1, the power (p + 1) / 4; `None` if it has none.
pub(super) fn square_root(square: U256) -> Option<U256> {
    let root = field(square)?.sqrt().into_option()?;
    Some(U256::from_be_slice(&root.to_bytes()))
}

/// Returns a point if it is on the curve.
fn point(x: U256, y: U256) -> Option<AffinePoint> {
    let (x, y) = (x.to_be_bytes::<32>().into(), y.to_be_bytes::<32>().into());
    AffinePoint::from_encoded_point(&EncodedPoint::from_affine_coordinates(&x, &y, false)).into_option()
}

/// Returns the coordinates of a point that is not at infinity.
fn coordinates(point: &AffinePoint) -> (U256, U256) {
    let encoded = point.to_encoded_point(false);
    let number = |bytes: Option<&[u8]>| bytes.map(U256::from_be_slice).unwrap_or_default();
    (number(encoded.x().map(|x| &x[..])), number(encoded.y().map(|y| &y[..])))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::uint;

    use super::*;
    use crate::machine::modular::Field;

    const G: (U256, U256) = (
        uint!(0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798_U256),
        uint!(0x483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8_U256),
    );

    /// What is foreseen is what the formulas give, step by step as the ROM takes them.
    #[test]
    fn sums_foreseen_are_those_of_the_formulas() {
        let curve = Curve::Secp256k1;
        let other = curve.double(G.0, G.1).and_then(|(x, y)| curve.double(x, y)).unwrap();
        let points = [G.0, G.1, other.0, other.1];
        let factors = [
            uint!(0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0_U256),
            uint!(0x0000000012345678deadbeef00000000ffffffffffffffff0123456789abcdef_U256),
        ];
        let foreseen = foresee(&Product { points, factors });
        let both = curve.add(points).unwrap();
        let (mut accumulated, mut asked): (Sum, _) = (None, vec![(points, both)]);
        for bit in (0..256).rev() {
            if let Some((x, y)) = accumulated {
                accumulated = curve.double(x, y);
                asked.push((doubling(curve, x, y), accumulated.unwrap()));
            }
            let addend = match (factors[0].bit(bit), factors[1].bit(bit)) {
                (false, false) => continue,
                (true, false) => G,
                (false, true) => other,
                (true, true) => both,
            };
            match accumulated {
                None => accumulated = Some(addend),
                Some((x, y)) => {
                    let operands = [x, y, addend.0, addend.1];
                    accumulated = curve.add(operands);
                    asked.push((operands, accumulated.unwrap()));
                }
            }
        }
        asked.reverse();
        assert_eq!(foreseen, asked);
    }

    /// All bits but the lowest, by the formulas of the curve. `None` where they divide by zero.
    fn bits_by_formulas(product: &Product, both: (U256, U256)) -> Option<Sum> {
        let curve = Curve::Secp256k1;
        let [x1, y1, x2, y2] = product.points;
        let mut accumulated: Sum = None;
        for bit in (1..BITS).rev() {
            let addend = match (product.factors[0].bit(bit), product.factors[1].bit(bit)) {
                (false, false) => None,
                (true, false) => Some((x1, y1)),
                (false, true) => Some((x2, y2)),
                (true, true) => Some(both),
            };
            accumulated = match (accumulated, addend) {
                (Some((x, y)), Some(addend)) => Some(curve.add([x, y, addend.0, addend.1])?),
                (None, addend) => addend,
                (accumulated, None) => accumulated,
            };
            if let Some((x, y)) = accumulated {
                accumulated = Some(curve.double(x, y)?);
            }
        }
        Some(accumulated)
    }

    /// Small multiples of one point, whose sums meet, and others, whose sums do not.
    #[test]
    fn native_bits_are_those_of_the_formulas() {
        let curve = Curve::Secp256k1;
        let double = curve.double(G.0, G.1).unwrap();
        let far = (0..70).fold(G, |point, _| curve.double(point.0, point.1).unwrap());
        let large = uint!(0xe456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef012_U256);
        let small = |factor: u64, bits: usize| U256::from(factor) << bits;
        let factors = [large, small(1, 255), small(1, 254), small(5, 100), small(2, 100), U256::MAX, U256::ZERO];
        let negative = (double.0, curve.prime() - double.1);
        let (mut met, mut passed) = (0, 0);
        for second in [double, negative, far] {
            let points = [G.0, G.1, second.0, second.1];
            let both = curve.add(points).unwrap();
            for (first, second) in factors.iter().flat_map(|first| factors.iter().map(move |second| (*first, *second)))
            {
                let product = Product { points, factors: [first, second] };
                let (done, expected) = (do_bits(&product, both), bits_by_formulas(&product, both));
                assert_eq!(done.map(|done| done.accumulated), expected, "{first} and {second}");
                if done.is_some() { passed += 1 } else { met += 1 }
            }
        }
        assert!(met >= 4 && passed > 100, "{met} and {passed}");
        let points = [G.0, G.1, double.0, double.1];
        assert_eq!(do_bits(&Product { points, factors: [large; 2] }, G), None, "not the sum of both");
    }

    #[test]
    fn square_roots_are_powers() {
        let field = Field(Curve::Secp256k1.prime());
        let exponent = (field.0 >> 2) + U256::from(1);
        for number in (0..20).map(U256::from).chain([field.0 - U256::from(1), G.0, G.1]) {
            let root = field.pow(number, exponent);
            let expected = (field.mul(root, root) == number).then_some(root);
            assert_eq!(square_root(number), expected, "{number}");
        }
        assert_eq!(square_root(field.0), None);
    }

    #[test]
    fn infinity_and_points_off_the_curve_foresee_nothing() {
        let negative = (G.0, Curve::Secp256k1.prime() - G.1);
        let factors = [U256::from(5); 2];
        for second in [negative, (U256::from(3), U256::from(4))] {
            let points = [G.0, G.1, second.0, second.1];
            assert_eq!(foresee(&Product { points, factors }), vec![], "{second:?}");
        }
    }
}
