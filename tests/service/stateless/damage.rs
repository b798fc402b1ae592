//! Damaged witnesses and streams, seeded: each is answered, none panics, hangs or makes the server grow.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zkevm_pool::CancelToken;
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::Kind;
use zkevm_types::ExecutorError;
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::validate::{self, ValidationRules, WitnessLimits};

use super::encode::{Payloads, request};
use super::{reads, sample};

const DAMAGES: usize = 3_000;
const SEED: u64 = 0x7a6b_6576_6d22;
/// What one batch of two transfers may take, on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Changes bytes in one of seven ways.
fn damage(bytes: &mut Vec<u8>, random: &mut ChaCha8Rng) {
    let at = random.gen_range(0..bytes.len());
    match random.gen_range(0..7) {
        0 => bytes[at] ^= 1 << random.gen_range(0..8),
        1 => bytes[at] = random.r#gen(),
        2 => bytes.truncate(at),
        3 => drop(bytes.remove(at)),
        4 => bytes.insert(at, random.r#gen()),
        5 => {
            let end = (at + random.gen_range(1..64)).min(bytes.len());
            let copy = bytes[at..end].to_vec();
            bytes.splice(at..at, copy);
        }
        _ => {
            // Where lengths are: a large number.
            let end = (at + 4).min(bytes.len());
            bytes[at..end].fill(0xff);
        }
    }
}

/// Validates and executes, as the service does; returns what it answers.
fn answer(request: wire::ProcessStatelessBatchRequestV2) -> ExecutorError {
    let witness = WitnessLimits { nodes_max: 10_000, ..WitnessLimits::default() };
    let rules = ValidationRules { witness, ..ValidationRules::default() };
    let input = match validate::process_stateless_batch_v2(request, rules) {
        Ok(input) => input,
        Err(error) => return error,
    };
    assert!(input.db.len() <= witness.nodes_max);
    let state = MemoryStore::new(0);
    let reader = zkevm_store::RequestOverlay { base: &state, nodes: &input.db, programs: &input.contracts_bytecode };
    let cancel = CancelToken::new(Some(Instant::now() + LIMIT));
    zkevm_processor::Engine::default().process(&input, &reader, &cancel).expect("ends in time").error
}

#[test]
fn damaged_requests_are_answered() {
    use ExecutorError as E;
    let mut random = ChaCha8Rng::seed_from_u64(SEED);
    let (source, input) = sample(9, Kind::TokenTransfers, 2);
    let read = reads(&source, &input);
    let witness = source.witness(|hash| read.contains(hash));
    let mut answers = std::collections::HashMap::<E, usize>::new();
    for payloads in [Payloads::Fixed, Payloads::Protobuf] {
        let whole = request(&input, witness.clone(), payloads);
        assert_eq!(answer(whole.clone()), E::NoError);
        for number in 0..DAMAGES {
            let mut request = whole.clone();
            let which = if number % 2 == 0 { &mut request.witness } else { &mut request.data_stream };
            let mut bytes = which.to_vec();
            for _ in 0..random.gen_range(1..3) {
                if !bytes.is_empty() {
                    damage(&mut bytes, &mut random);
                }
            }
            *which = bytes.into();
            *answers.entry(answer(request)).or_default() += 1;
        }
    }
    for error in [E::InvalidWitness, E::InvalidCbor, E::InvalidDataStream, E::NoError, E::DbKeyNotFound] {
        assert!(answers.get(&error).is_some_and(|count| *count > 10), "{error:?} in {answers:?}");
    }
}

#[test]
fn every_beginning_of_a_request_is_answered() {
    let (source, input) = sample(9, Kind::Transfers, 1);
    let read = reads(&source, &input);
    let whole = request(&input, source.witness(|hash| read.contains(hash)), Payloads::Protobuf);
    for end in 0..whole.witness.len() {
        let request = wire::ProcessStatelessBatchRequestV2 { witness: whole.witness.slice(..end), ..whole.clone() };
        let error = answer(request);
        assert!(matches!(error, ExecutorError::InvalidWitness | ExecutorError::InvalidCbor), "{end}: {error:?}");
    }
    for end in 0..whole.data_stream.len() {
        let data_stream = whole.data_stream.slice(..end);
        let error = answer(wire::ProcessStatelessBatchRequestV2 { data_stream, ..whole.clone() });
        // Without the entry that ends the batch all blocks are there, so the stream is whole.
        assert!(matches!(error, ExecutorError::InvalidDataStream | ExecutorError::NoError), "{end}: {error:?}");
    }
}
