//! The pairing check of bn254 (EIP-197), a few pairs at a time: the gas of one transaction pays for several hundred, a third of
//! a second, and the batch may be told to stop meanwhile.
//!
//! The product of the pairs' Miller loops does not depend on how they are grouped; the final exponentiation is done once.

use ark_bn254::{Bn254, Fq, Fq2, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ec::pairing::{MillerLoopOutput, Pairing};
use ark_ff::{BigInt, One, PrimeField, Zero};
use revm::precompile::{EthPrecompileOutput, EthPrecompileResult, PrecompileHalt};
use revm::primitives::U256;

use super::interrupt::{Interrupt, STEPS_PER_LOOK};

/// Gas of a check, and of each pair (EIP-1108).
const BASE_GAS: u64 = 45_000;
const PAIR_GAS: u64 = 34_000;
/// Bytes of a coordinate, and of a pair: two of the first point, four of the second.
const FIELD_BYTES: usize = 32;
const PAIR_BYTES: usize = 6 * FIELD_BYTES;
/// Pairs between two looks: as many as the library takes together anyway.
const PAIRS_TOGETHER: usize = 4;

/// Runs one call; `None` if the batch stops.
pub(crate) fn run(input: &[u8], gas_limit: u64, interrupt: &mut Interrupt) -> Option<EthPrecompileResult> {
    // The ROM looks at the length between the two charges.
    if BASE_GAS > gas_limit {
        return Some(Err(PrecompileHalt::OutOfGas));
    }
    let (pairs, []) = input.as_chunks::<PAIR_BYTES>() else {
        return Some(Err(PrecompileHalt::Bn254PairLength));
    };
    let gas = BASE_GAS + PAIR_GAS * pairs.len() as u64;
    if gas > gas_limit {
        return Some(Err(PrecompileHalt::OutOfGas));
    }
    let mut product = <Bn254 as Pairing>::TargetField::one();
    for pairs in pairs.chunks(PAIRS_TOGETHER) {
        if interrupt.spend(STEPS_PER_LOOK) {
            return None;
        }
        let pairs: Result<Vec<_>, _> = pairs.iter().map(pair).collect();
        let (first, second): (Vec<_>, Vec<_>) = match pairs {
            // Pairs with a point at infinity do not count.
            Ok(pairs) => pairs.into_iter().filter(|(first, second)| !first.is_zero() && !second.is_zero()).unzip(),
            Err(halt) => return Some(Err(halt)),
        };
        product *= Bn254::multi_miller_loop(first, second).0;
    }
    let result = Bn254::final_exponentiation(MillerLoopOutput(product));
    let is_one = result.is_some_and(|result| result.0.is_one());
    Some(Ok(EthPrecompileOutput::new(gas, U256::from(is_one).to_be_bytes::<FIELD_BYTES>().into())))
}

/// Reads a pair of points; fails for one that is not on its curve or in its group.
fn pair(bytes: &[u8; PAIR_BYTES]) -> Result<(G1Affine, G2Affine), PrecompileHalt> {
    let word = |at: usize| field(&bytes[at * FIELD_BYTES..(at + 1) * FIELD_BYTES]);
    let first = point(G1Affine::new_unchecked(word(0)?, word(1)?), G1Affine::is_on_curve, |point| {
        point.is_in_correct_subgroup_assuming_on_curve()
    })?;
    // The imaginary part comes first.
    let (x, y) = (Fq2::new(word(3)?, word(2)?), Fq2::new(word(5)?, word(4)?));
    let second = point(G2Affine::new_unchecked(x, y), G2Affine::is_on_curve, |point| {
        point.is_in_correct_subgroup_assuming_on_curve()
    })?;
    Ok((first, second))
}

/// Checks a point as it was read; zeros are the point at infinity.
fn point<P: AffineRepr>(
    point: P,
    is_on_curve: impl FnOnce(&P) -> bool,
    is_in_group: impl FnOnce(&P) -> bool,
) -> Result<P, PrecompileHalt> {
    if point.xy().is_some_and(|(x, y)| x.is_zero() && y.is_zero()) {
        return Ok(P::zero());
    }
    if is_on_curve(&point) && is_in_group(&point) { Ok(point) } else { Err(PrecompileHalt::Bn254AffineGFailedToCreate) }
}

fn field(bytes: &[u8]) -> Result<Fq, PrecompileHalt> {
    let number = BigInt::new(U256::from_be_slice(bytes).into_limbs());
    Fq::from_bigint(number).ok_or(PrecompileHalt::Bn254FieldPointNotAMember)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ec::CurveGroup;
    use ark_ff::BigInteger;
    use revm::precompile::bn254;
    use zkevm_pool::CancelToken;

    fn bytes_of(fields: &[Fq]) -> Vec<u8> {
        fields.iter().flat_map(|field| field.into_bigint().to_bytes_be()).collect()
    }

    fn encoded(first: G1Affine, second: G2Affine) -> Vec<u8> {
        let (x1, y1) = first.xy().unwrap_or_default();
        let (x2, y2) = second.xy().unwrap_or_default();
        bytes_of(&[x1, y1, x2.c1, x2.c0, y2.c1, y2.c0])
    }

    /// e(aP, Q) and e(-P, aQ): their product is one.
    fn canceling(factor: u64) -> Vec<u8> {
        let (first, second) = (G1Affine::generator(), G2Affine::generator());
        let times = |point: G1Affine| (point * ark_bn254::Fr::from(factor)).into_affine();
        let second_times = (second * ark_bn254::Fr::from(factor)).into_affine();
        [encoded(times(first), second), encoded(-first, second_times)].concat()
    }

    fn check(input: &[u8], gas_limit: u64) {
        let ours = run(input, gas_limit, &mut Interrupt::default()).unwrap();
        let stock = bn254::run_pair(input, PAIR_GAS, BASE_GAS, gas_limit);
        match (&ours, &stock) {
            (Ok(ours), Ok(stock)) => assert_eq!((ours.gas_used, &ours.bytes), (stock.gas_used, &stock.bytes)),
            (ours, stock) => assert_eq!(format!("{ours:?}"), format!("{stock:?}")),
        }
    }

    #[test]
    fn answers_as_the_stock_precompile() {
        let one = encoded(G1Affine::generator(), G2Affine::generator());
        let many: Vec<u8> = (1..6).flat_map(canceling).collect();
        let infinities =
            [encoded(G1Affine::zero(), G2Affine::generator()), encoded(G1Affine::generator(), G2Affine::zero())];
        for input in [vec![], one.clone(), canceling(7), many.clone(), [&many[..], &one].concat(), infinities.concat()]
        {
            check(&input, u64::MAX);
            check(&input, BASE_GAS + PAIR_GAS * (input.len() / PAIR_BYTES) as u64);
            check(&input, BASE_GAS + PAIR_GAS * (input.len() / PAIR_BYTES) as u64 - 1);
            check(&[&input[..], &[0]].concat(), u64::MAX);
        }
        // A wrong bit anywhere: off the curve, out of the group, not in the field.
        for at in (0..one.len()).step_by(5) {
            let mut input = [&canceling(3)[..], &one].concat();
            let at = input.len() - 1 - at;
            input[at] ^= 0x40;
            check(&input, u64::MAX);
        }
        let mut field = [&many[..], &one].concat();
        field[many.len()..many.len() + FIELD_BYTES].fill(0xff);
        check(&field, u64::MAX);
    }

    #[test]
    fn points_out_of_their_group_are_refused() {
        // On the twist, but for a share of one in the cofactor not in the group.
        let found = (1_u64..).find_map(|x| {
            G2Affine::get_point_from_x_unchecked(Fq2::new(Fq::from(x), Fq::one()), true)
                .filter(|point| !point.is_in_correct_subgroup_assuming_on_curve())
        });
        let input = encoded(G1Affine::generator(), found.unwrap());
        assert!(run(&input, u64::MAX, &mut Interrupt::default()).unwrap().is_err());
        check(&input, u64::MAX);
    }

    #[test]
    fn a_long_one_ends_when_it_is_told_to() {
        let cancel = CancelToken::default();
        cancel.cancel();
        let input = encoded(G1Affine::generator(), G2Affine::generator()).repeat(800);
        assert!(run(&input, u64::MAX, &mut Interrupt::new(cancel)).is_none());
    }
}
