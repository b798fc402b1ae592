//! Keys recovered eight at a time against libsecp256k1.
//!
//! Where the processor cannot, these tests are skipped. The long run:
//! `ZKEVM_RECOVERY_SIGNATURES=10000000 cargo test --release --test recovery`.

use zkevm_recovery::{LanesRefused, Recoverer, Signature};
use zkevm_testkit::signatures::{Signatures, at_bounds};
use zkevm_testkit::skip;

/// Random signatures that are looked at, and every combination at the bounds if there are more than these.
const SIGNATURES: usize = 20_000;

fn signatures() -> usize {
    std::env::var("ZKEVM_RECOVERY_SIGNATURES").ok().and_then(|count| count.parse().ok()).unwrap_or(SIGNATURES)
}

/// Returns the recoverer with lanes, or says why there is none.
fn lanes() -> Option<Recoverer> {
    match Recoverer::lanes() {
        Ok(lanes) => Some(lanes),
        Err(refused @ LanesRefused::NotSupported) => {
            skip::missing_data(&format!("recovery in lanes: {refused}"));
            None
        }
        Err(refused) => panic!("{refused}"),
    }
}

fn assert_same(lanes: Recoverer, signatures: &[Signature]) -> usize {
    let expected = Recoverer::single().recover(signatures);
    let recovered = lanes.recover(signatures);
    assert_eq!(recovered.len(), expected.len());
    for ((signature, recovered), expected) in signatures.iter().zip(&recovered).zip(&expected) {
        assert_eq!((recovered.key, recovered.scalars), (expected.key, expected.scalars), "{signature:x?}");
    }
    recovered.iter().filter(|recovery| recovery.key.is_some()).count()
}

#[test]
fn random_signatures_in_groups_of_all_sizes() {
    let Some(lanes) = lanes() else { return };
    let mut signatures = Signatures::new(1);
    let (mut seen, mut keys) = (0, 0);
    while seen < self::signatures() {
        let some = signatures.random();
        seen += some.len();
        keys += assert_same(lanes, &some);
    }
    assert!((seen / 3..seen).contains(&keys), "{keys} keys of {seen} signatures");
}

#[test]
fn few_signatures_fill_few_lanes() {
    let Some(lanes) = lanes() else { return };
    let all: Vec<_> = (2..6).flat_map(|seed| Signatures::new(seed).random()).collect();
    for count in (0..=20).chain([63, 64, 65, 127, 128, 129]) {
        assert_same(lanes, &all[..count]);
    }
}

#[test]
fn values_at_bounds() {
    let Some(lanes) = lanes() else { return };
    let step = if signatures() > SIGNATURES { 1 } else { 23 };
    let some: Vec<_> = at_bounds().into_iter().step_by(step).collect();
    let keys: usize = some.chunks(61).map(|some| assert_same(lanes, some)).sum();
    assert!(keys > 1_000, "{keys} keys");
}

#[test]
fn small_r() {
    let Some(lanes) = lanes() else { return };
    let keys = assert_same(lanes, &Signatures::new(3).small_r(1_000));
    assert!(keys > 500, "{keys} keys");
}

#[test]
fn sums_that_meet_cancel_or_vanish() {
    let Some(lanes) = lanes() else { return };
    let step = if signatures() > SIGNATURES { 1 } else { 5 };
    let some: Vec<_> = Signatures::new(4).related().into_iter().step_by(step).collect();
    let keys: usize = some.chunks(64).map(|some| assert_same(lanes, some)).sum();
    assert!(keys > 10_000, "{keys} keys");
}
