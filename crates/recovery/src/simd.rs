//! Recovery of eight keys side by side with AVX-512 IFMA.
//!
//! The only module of the crate with `unsafe` code. The rule that makes it sound: a [`vector::Vector`] is private to this
//! module and is made only inside functions with `#[target_feature]`, which [`recover`] calls after detecting the features.
//! So wherever its methods run, the features are there. No closure may contain vector code: it would not be compiled for the
//! features.
//!
//! Nothing here is secret, so that nothing takes constant time.

// Limbs, lanes and groups are walked in step; iterators would hide which belong together.
#![allow(clippy::needless_range_loop)]

mod field;
mod point;
mod vector;

use std::array::{from_fn, from_mut};
use std::sync::LazyLock;

use alloy_primitives::{U256, uint};

use crate::digits::{self, Digits};
use crate::scalars::{Scalars, split};
use crate::{Key, Outcome, Signature, generator_multiples};
use field::{Columns, Element, Factor, roots};
use point::{LaneTable, Line, Sum, add_own, add_shared, affine, by_lambda, double, multiples};
use vector::{Mask, Vector, transpose};

/// Signatures in one group.
const LANES: usize = 8;
/// Groups that share one inversion: what they need stays in a core's cache.
const GROUPS_MAX: usize = 16;

/// Bits of a digit of the halves of u₂, and their number.
const OWN_BITS: usize = 5;
const OWN_DIGITS: usize = 26;
/// Bits of a digit of the halves of u₁, and their number. Wider tables were not faster.
const SHARED_BITS: usize = 10;
const SHARED_DIGITS: usize = 13;

/// x of the generator: the point of lanes without a valid signature.
const GENERATOR_X: U256 = uint!(0x79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798_U256);

/// Multiples 1 to 512 of the generator.
static GENERATOR: LazyLock<SharedTable> = LazyLock::new(SharedTable::of_generator);

/// Multiples of one point for all lanes, and the same with β·x.
struct SharedTable {
    plain: Vec<Line>,
    by_lambda: Vec<Line>,
}

impl SharedTable {
    /// The processor has the features: asked for by whoever asks for the table.
    fn of_generator() -> Self {
        let line = |key: Key| {
            let word = |at: usize| {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&key.0[at..at + 8]);
                u64::from_be_bytes(bytes)
            };
            Line(from_fn(|i| word(if i < 4 { 24 - 8 * i } else { 56 - 8 * (i - 4) })))
        };
        let plain: Vec<Line> = generator_multiples(1 << (SHARED_BITS - 1)).into_iter().map(line).collect();
        // SAFETY: see above.
        #[allow(unsafe_code)]
        let by_lambda = unsafe { by_lambda(&plain) };
        Self { plain, by_lambda }
    }
}

/// True if the processor has what [`recover`] needs.
pub(crate) fn is_supported() -> bool {
    is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512ifma")
}

/// Recovers the keys; `None` if the processor cannot. `scalars` are those of the signatures.
pub(crate) fn recover(signatures: &[Signature], scalars: &[Option<Scalars>]) -> Option<Vec<Outcome>> {
    if !is_supported() {
        return None;
    }
    let mut outcomes = Vec::with_capacity(signatures.len());
    for (signatures, scalars) in signatures.chunks(LANES * GROUPS_MAX).zip(scalars.chunks(LANES * GROUPS_MAX)) {
        // SAFETY: the features were detected above.
        #[allow(unsafe_code)]
        unsafe {
            recover_groups(signatures, scalars, &mut outcomes);
        }
    }
    Some(outcomes)
}

/// Eight signatures, prepared.
struct Group {
    /// The halves of u₂.
    own: [[Digits; OWN_DIGITS]; 2],
    /// The halves of u₁.
    shared: [[Digits; SHARED_DIGITS]; 2],
    /// x of the points, as words of all lanes.
    x: [[u64; LANES]; 4],
    /// Lanes whose y is to be odd.
    odd: Mask,
    /// Lanes without a valid signature.
    invalid: Mask,
}

impl Group {
    fn new(signatures: &[Signature], scalars: &[Option<Scalars>]) -> Self {
        let mut group = Self {
            own: [[Digits::default(); OWN_DIGITS]; 2],
            shared: [[Digits::default(); SHARED_DIGITS]; 2],
            x: [[0; LANES]; 4],
            odd: 0,
            invalid: 0,
        };
        for lane in 0..LANES {
            let valid = signatures.get(lane).and_then(|signature| {
                let (x, _) = signature.in_range()?;
                Some((x, scalars.get(lane).copied().flatten()?, signature.is_odd))
            });
            let dummy = Scalars { of_generator: U256::ONE, of_point: U256::ONE };
            let (x, scalars, is_odd) = valid.unwrap_or((GENERATOR_X, dummy, false));
            group.invalid |= u8::from(valid.is_none()) << lane;
            group.odd |= u8::from(is_odd) << lane;
            for (word, value) in group.x.iter_mut().zip(x.into_limbs()) {
                word[lane] = value;
            }
            for (half, digits) in split(scalars.of_point).into_iter().zip(&mut group.own) {
                digits::write(half, OWN_BITS as u32, lane, digits);
            }
            for (half, digits) in split(scalars.of_generator).into_iter().zip(&mut group.shared) {
                digits::write(half, SHARED_BITS as u32, lane, digits);
            }
        }
        group
    }
}

/// Recovers the keys of up to [`GROUPS_MAX`] groups.
#[target_feature(enable = "avx512f,avx512ifma")]
fn recover_groups(signatures: &[Signature], scalars: &[Option<Scalars>], outcomes: &mut Vec<Outcome>) {
    let mut groups = Vec::with_capacity(GROUPS_MAX);
    for (signatures, scalars) in signatures.chunks(LANES).zip(scalars.chunks(LANES)) {
        groups.push(Group::new(signatures, scalars));
    }
    let points = Points::new(&mut groups);
    let mut sums = vec![Sum::empty(); groups.len()];
    let mut stretches = vec![Element::one(); groups.len()];
    let mut tables: [[LaneTable; 2]; 2] = [[[[Line([0; 8]); LANES]; 16]; 2]; 2];
    for k in 0..groups.len() {
        let [plain, by_lambda] = &mut tables[k % 2];
        stretches[k] = multiples(&points.x[k], &points.y[k], plain, by_lambda);
        // Two groups side by side, so that one computes while the other waits for its results.
        if k % 2 == 1 {
            let pair: &mut [Sum; 2] = (&mut sums[k - 1..=k]).try_into().expect("two of them");
            sum_up(pair, [&tables[0], &tables[1]], [&groups[k - 1], &groups[k]], &[stretches[k - 1], stretches[k]]);
        } else if k + 1 == groups.len() {
            sum_up(from_mut(&mut sums[k]), [&tables[0]], [&groups[k]], &[stretches[k]]);
        }
    }
    let (keys, unsure) = affine(&sums, &stretches);
    for (k, key) in keys.into_iter().enumerate() {
        let (x, y) = (key.x.to_words(), key.y.to_words());
        let rows = transpose([x[0], x[1], x[2], x[3], y[0], y[1], y[2], y[3]]);
        for lane in 0..LANES.min(signatures.len() - k * LANES) {
            let bit = 1 << lane;
            let mut words = [0; 8];
            rows[lane].store(&mut words);
            outcomes.push(if groups[k].invalid & bit != 0 {
                Outcome::Invalid
            } else if unsure[k] & bit != 0 {
                Outcome::Unsure
            } else {
                Outcome::Key { key: Key::of_words(&words), root_is_odd: points.root_is_odd[k] & bit != 0 }
            });
        }
    }
}

/// The points R of some groups.
struct Points {
    x: Vec<Element>,
    y: Vec<Element>,
    /// Lanes where the root that (x³ + 7)^((p+1)/4) gives is odd.
    root_is_odd: Vec<Mask>,
}

impl Points {
    /// Computes y, several groups side by side. Lanes whose x is that of no point are marked as invalid.
    #[target_feature(enable = "avx512f,avx512ifma")]
    fn new(groups: &mut [Group]) -> Self {
        let count = groups.len();
        let mut points = Self { x: Vec::new(), y: Vec::new(), root_is_odd: Vec::with_capacity(count) };
        let mut squares = Vec::with_capacity(count);
        for group in &*groups {
            let [a, b, c, d] = &group.x;
            let x = Element::of_words([Vector::load(a), Vector::load(b), Vector::load(c), Vector::load(d)]);
            points.x.push(x);
            squares.push(Columns::splat(7).plus_product(&x.squared(), &x).reduced::<1>().masked());
        }
        points.y.clone_from(&squares);
        let (fours, rest) = points.y.as_chunks_mut::<4>();
        for four in fours {
            roots(four);
        }
        let (twos, rest) = rest.as_chunks_mut::<2>();
        for two in twos {
            roots(two);
        }
        for one in rest {
            roots(from_mut(one));
        }
        for k in 0..count {
            let group = &mut groups[k];
            let root = points.y[k].canonical();
            group.invalid |= !root.squared().minus(&squares[k]).zeros();
            let root_is_odd = root.odd();
            points.y[k] = root.replaced(root_is_odd ^ group.odd, &Element::zero().minus(&root));
            points.root_is_odd.push(root_is_odd);
        }
        points
    }
}

/// Doubles and adds, from the highest digit down.
#[target_feature(enable = "avx512f,avx512ifma")]
fn sum_up<const N: usize>(
    sums: &mut [Sum; N],
    tables: [&[LaneTable; 2]; N],
    groups: [&Group; N],
    stretches: &[Element; N],
) {
    let highest = OWN_BITS * (OWN_DIGITS - 1);
    let mut lane_tables = [&tables[0][0]; N];
    let mut digits = [&groups[0].own[0][0]; N];
    for bit in (0..=highest).rev() {
        if bit < highest {
            double(sums);
        }
        if bit % OWN_BITS == 0 {
            for half in 0..2 {
                for i in 0..N {
                    lane_tables[i] = &tables[i][half];
                    digits[i] = &groups[i].own[half][bit / OWN_BITS];
                }
                add_own(sums, lane_tables, digits);
            }
        }
        if bit % SHARED_BITS == 0 {
            for half in 0..2 {
                for i in 0..N {
                    digits[i] = &groups[i].shared[half][bit / SHARED_BITS];
                }
                let table = if half == 0 { &GENERATOR.plain } else { &GENERATOR.by_lambda };
                add_shared(sums, table, digits, stretches);
            }
        }
    }
}

impl Key {
    /// Words 0 to 3 of x and of y, lowest first.
    fn of_words(words: &[u64; 8]) -> Self {
        let (x, y) = words.split_at(4);
        let mut key = [0; 64];
        for (bytes, word) in key.chunks_exact_mut(8).zip(x.iter().rev().chain(y.iter().rev())) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        Self(key)
    }
}

#[cfg(test)]
mod tests;
