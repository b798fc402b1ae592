//! Input for P256VERIFY: signatures of keys, wrong ones, numbers on both sides of what is allowed, points off the curve.

use alloy_primitives::{U256, hex, uint};
use fastrand::Rng;
use p256::elliptic_curve::PrimeField;
use p256::elliptic_curve::ops::Reduce;
use p256::elliptic_curve::sec1::ToEncodedPoint;
use p256::{ProjectivePoint, Scalar};
use revm::precompile::secp256r1;
use zkevm_pool::CancelToken;
use zkevm_processor::Engine;
use zkevm_rom::RomEngine;
use zkevm_testkit::skip;
use zkevm_types::{ExecutorError, ForkId, P256_VERIFY};

use super::counts::{CODE, batch};
use super::machine;
use super::precompiles::address;
use super::programs::edge;

/// Prime of the field.
const P: U256 = uint!(0xffffffff00000001000000000000000000000000ffffffffffffffffffffffff_U256);
/// Order of the group.
const N: U256 = uint!(0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551_U256);
/// Gas of one verification.
const GAS: u64 = 3450;

/// Returns hash, r, s, x and y.
pub(crate) fn input(rng: &mut Rng) -> Vec<u8> {
    let one = U256::from(1);
    let (key, nonce) = (scalar(rng), scalar(rng));
    let hash = match rng.u8(..8) {
        0 => edge(rng),
        _ => any(rng),
    };
    let mut words = signed(hash, key, nonce);
    let [_, r, s, _, y] = words;
    match rng.u8(..14) {
        0 => words[rng.usize(..5)] = edge(rng),
        1 | 2 => words[rng.usize(1..5)] = [U256::ZERO, one, N, N - one, P, P - one, U256::MAX][rng.usize(..7)],
        // Another signature of the same hash.
        3 => words[2] = N.wrapping_sub(s),
        // The negative of the point.
        4 => words[4] = P - y,
        5 => words[rng.usize(..5)] ^= one << rng.usize(..256),
        6 => words[3..].fill(U256::ZERO),
        7 => words.swap(3, 4),
        // The sum of both products is the point at infinity.
        8 => words[0] = number(-reduced(r) * key),
        _ => {}
    }
    bytes(&words)
}

fn bytes(words: &[U256; 5]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes::<32>()).collect()
}

/// Returns a hash, its signature by a key, and the point of the key.
fn signed(hash: U256, key: Scalar, nonce: Scalar) -> [U256; 5] {
    let r = reduced(coordinates(nonce)[0]);
    let s = nonce.invert().unwrap_or(Scalar::ONE) * (reduced(hash) + r * key);
    let [x, y] = coordinates(key);
    [hash, number(r), number(s), x, y]
}

/// Makes r zero where the signature does not verify: all such input is answered alike then. True if anything changed.
pub(crate) fn spoil_if_wrong(input: &mut [u8]) -> bool {
    let mut padded = [0; 160];
    padded.iter_mut().zip(&*input).for_each(|(to, from)| *to = *from);
    if secp256r1::p256_verify(&padded, GAS).is_ok_and(|output| !output.bytes.is_empty()) {
        return false;
    }
    let before = input.to_vec();
    input.iter_mut().skip(32).take(32).for_each(|byte| *byte = 0);
    before != input
}

/// A key or a nonce; one in three is so small, or its negative, that sums meet while points are multiplied.
fn scalar(rng: &mut Rng) -> Scalar {
    let small = Scalar::from(rng.u64(1..6));
    match rng.u8(..6) {
        0 => small,
        1 => -small,
        _ => reduced(any(rng)),
    }
}

fn any(rng: &mut Rng) -> U256 {
    U256::from_be_bytes(std::array::from_fn::<u8, 32, _>(|_| rng.u8(..)))
}

fn reduced(number: U256) -> Scalar {
    Scalar::reduce_bytes(&number.to_be_bytes::<32>().into())
}

fn number(scalar: Scalar) -> U256 {
    U256::from_be_slice(&scalar.to_repr())
}

/// Returns x and y of so many times the generator.
fn coordinates(factor: Scalar) -> [U256; 2] {
    let point = (ProjectivePoint::GENERATOR * factor).to_affine().to_encoded_point(false);
    [point.x(), point.y()].map(|number| number.map(|number| U256::from_be_slice(number)).unwrap_or_default())
}

/// Returns the machine and the fork of P256VERIFY; without its ROM it says loudly that a test is skipped.
pub(crate) fn fork_13() -> Option<(RomEngine, ForkId)> {
    let fork = ForkId::new(13).unwrap();
    let rom = machine()?;
    if rom.has_fork(fork) {
        return Some((rom, fork));
    }
    skip::missing_data("no ROM file of fork 13");
    None
}

/// Differences that docs/engines.md names: what a wrong signature leaves behind, to a caller and at the top. Signatures that are
/// right or malformed are answered alike.
#[test]
fn wrong_signatures_differ_as_documented() {
    let Some((rom, fork)) = fork_13() else { return };
    // Has IDENTITY return five bytes, gives its input to P256VERIFY, and returns the size of the return data.
    let code = hex!("365f5f37 5f5f60055f60045afa50 5f5f365f6101005afa50 3d5f5260205ff3");
    let right = signed(U256::from(77), Scalar::from(3_u64), Scalar::from(1_000_003_u64));
    let (mut wrong, mut malformed) = (right, right);
    wrong[0] += U256::from(1);
    malformed[1] = N;
    for (words, native_size, rom_size) in [(right, 32, 32), (wrong, 0, 5), (malformed, 0, 0)] {
        let (input, store) = batch(fork, &code, CODE, &bytes(&words), 1_000_000, 1);
        let cancel = CancelToken::default();
        let native = Engine::default().process(&input, &store, &cancel).unwrap();
        let exact = rom.process(&input, &store, &cancel).unwrap();
        for (output, size) in [(native, native_size), (exact, rom_size)] {
            let returned = &output.blocks[0].transactions[0].return_value;
            assert_eq!(U256::from_be_slice(returned), U256::from(size), "{words:?}");
        }
        let (input, store) = batch(fork, &[], address(P256_VERIFY), &bytes(&words), 1_000_000, 1);
        let native = Engine::default().process(&input, &store, &cancel).unwrap();
        let exact = rom.process(&input, &store, &cancel).unwrap();
        assert!(native.blocks[0].transactions[0].status, "{words:?}");
        if words == wrong {
            assert_eq!((exact.error, exact.roots), (ExecutorError::Unspecified, None));
        } else {
            assert_eq!((exact.error, exact.roots), (native.error, native.roots), "{words:?}");
        }
    }
}
