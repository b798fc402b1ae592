//! Input for precompiles: well formed, nearly so, and of odd lengths.

use alloy_primitives::{Address, B256, U256, uint};
use fastrand::Rng;
use zkevm_testkit::sample::Account;
use zkevm_types::P256_VERIFY;

use super::p256;
use super::programs::edge;

/// Order of the field of the curve alt_bn128.
const FIELD: U256 = uint!(0x30644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd47_U256);
/// Twice the generator of its first group.
const DOUBLE: [U256; 2] = [
    uint!(0x030644e72e131a029b85045b68181585d97816a916871ca8d3c208c16d87cfd3_U256),
    uint!(0x15ed738c0e0a7c92e7845f96b2ae9c0a68a6a449e3538fc7ff3ebf7a5a18a2c4_U256),
];
/// Generator of its second group, as the pairing takes it (EIP-197).
const SECOND: [U256; 4] = [
    uint!(0x198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2_U256),
    uint!(0x1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed_U256),
    uint!(0x090689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b_U256),
    uint!(0x12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa_U256),
];
/// Lengths on whose two sides hashes take another block, and words begin.
const LENGTHS: [usize; 16] = [0, 1, 31, 32, 33, 55, 56, 63, 64, 65, 96, 128, 135, 136, 192, 213];

/// Returns the address with a number.
pub(crate) fn address(number: u16) -> Address {
    Address::left_padding_from(&number.to_be_bytes())
}

/// Makes input for precompiles.
#[derive(Debug, Default)]
pub(crate) struct Precompiles {
    /// Signatures for P256VERIFY that are wrong are made malformed.
    pub(crate) spoils_wrong_signatures: bool,
    /// Some were.
    pub(crate) has_spoiled: bool,
}

impl Precompiles {
    /// Chooses a precompile.
    pub(crate) fn number(&self, rng: &mut Rng) -> u16 {
        match rng.u16(..12) {
            number @ 1..=9 => number,
            _ => P256_VERIFY,
        }
    }

    /// Returns input for a precompile, cut or extended now and then.
    pub(crate) fn input(&mut self, rng: &mut Rng, number: u16) -> Vec<u8> {
        let mut input = input(rng, number);
        if number == P256_VERIFY && self.spoils_wrong_signatures {
            self.has_spoiled |= p256::spoil_if_wrong(&mut input);
        }
        input
    }
}

fn input(rng: &mut Rng, number: u16) -> Vec<u8> {
    let mut input = match number {
        1 => recovery(rng),
        5 => modexp(rng),
        6 => [point(rng), point(rng)].concat(),
        7 => [point(rng), words(&[edge(rng)])].concat(),
        P256_VERIFY => p256::input(rng),
        8 => (0..rng.usize(..3)).flat_map(|_| pair(rng)).collect(),
        _ => bytes(rng),
    };
    match rng.u8(..8) {
        0 => input.truncate(rng.usize(..=input.len())),
        1 => input.resize(input.len() + rng.usize(..40), rng.u8(..)),
        2 => return bytes(rng),
        _ => {}
    }
    input
}

fn bytes(rng: &mut Rng) -> Vec<u8> {
    let length = LENGTHS[rng.usize(..LENGTHS.len())];
    (0..length).map(|_| rng.u8(..)).collect()
}

fn words(words: &[U256]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes::<32>()).collect()
}

/// A hash and its signature; one part of it is something else now and then.
fn recovery(rng: &mut Rng) -> Vec<u8> {
    let hash = B256::from(std::array::from_fn(|_| rng.u8(..)));
    let signature = Account::named("engines precompile").sign(hash);
    let mut parts = [hash.into(), U256::from(signature.v), signature.r.into(), signature.s.into()];
    if rng.u8(..3) == 0 {
        parts[rng.usize(..4)] = edge(rng);
    }
    words(&parts)
}

fn modexp(rng: &mut Rng) -> Vec<u8> {
    let mut lengths = [(); 3].map(|()| [0, 1, 2, 31, 32, 33, 64, 70][rng.usize(..8)]);
    match rng.u8(..16) {
        0 | 1 => lengths[1] = rng.usize(..5),
        // Up to the longest, and beyond.
        2 => {
            lengths[1] = rng.usize(..3);
            lengths[[0, 2][rng.usize(..2)]] = [255, 1023, 1024, 1025][rng.usize(..4)];
        }
        _ => {}
    }
    let mut input = words(&lengths.map(U256::from));
    for length in lengths {
        let kind = rng.u8(..4);
        let number = (0..length).map(|_| rng.u8(..)).collect::<Vec<_>>();
        input.extend(number.iter().enumerate().map(|(at, byte)| match kind {
            0 => 0,
            1 => u8::from(at + 1 == length),
            2 => byte | u8::from(at + 1 == length),
            _ => *byte,
        }));
    }
    if rng.u8(..12) == 0 {
        input[32 * rng.usize(..3)..][..32].copy_from_slice(&edge(rng).to_be_bytes::<32>());
    }
    input
}

/// A point of the first group; one in eight is none.
fn point(rng: &mut Rng) -> Vec<u8> {
    let one = U256::from(1);
    words(&match rng.u8(..8) {
        0 => [U256::ZERO; 2],
        1..=3 => [one, U256::from(2)],
        4 => [one, FIELD - U256::from(2)],
        5 | 6 => DOUBLE,
        _ => [edge(rng), edge(rng)],
    })
}

/// A pair for the pairing; the second point is infinite or damaged now and then.
fn pair(rng: &mut Rng) -> Vec<u8> {
    let mut second = SECOND;
    match rng.u8(..8) {
        0 => second = [U256::ZERO; 4],
        1 => second[rng.usize(..4)] = edge(rng),
        _ => {}
    }
    [point(rng), words(&second)].concat()
}
