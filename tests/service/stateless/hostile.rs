//! Requests that are nearly those before them: a server that remembers batches and hashes answers each as a fresh one does.

use std::collections::HashMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zkevm_processor::{Engine, PrefixCache};
use zkevm_store::{NoState, RequestOverlay};
use zkevm_types::FlushIds;
use zkevm_wire::respond::{ResponseContext, response_v2};
use zkevm_wire::stateless::WitnessMemo;
use zkevm_wire::validate::{ValidationRules, process_stateless_batch_v2_while};

use super::prefixes::growing;
use super::*;

const SEED: u64 = 0x0068_6f73_7469_6c65;
const BLOCKS: usize = 5;
const CACHE_BYTES: usize = 8 << 20;
/// Opcodes of a witness.
const BRANCH: u8 = 2;
const HASH: u8 = 3;
const CODE: u8 = 4;
const LEAF: u8 = 7;
const STORAGE_LEAF: u8 = 3;
/// Bytes of a stream's entry in front of its payload, and where its length is.
const ENTRY_BYTES: usize = 17;
const ENTRY_LENGTH: std::ops::Range<usize> = 1..5;

type StatelessRequest = wire::ProcessStatelessBatchRequestV2;
type Span = std::ops::Range<usize>;

/// What remembers something from request to request, if anything does.
#[derive(Default)]
struct Memory {
    engine: Engine,
    memo: WitnessMemo,
}

impl Memory {
    /// Answers as the service does, but for the connection and the store. The error is that of a request that does not get as
    /// far as running.
    fn answer(&self, request: &StatelessRequest) -> Result<wire::ProcessBatchResponseV2, ExecutorError> {
        let rules = ValidationRules::default();
        let input = process_stateless_batch_v2_while(request.clone(), rules, &self.memo, &mut |_| true)?;
        let context = ResponseContext::new(&input, Arc::from("test"));
        let state = RequestOverlay { base: &NoState, nodes: &input.db, programs: &input.contracts_bytecode };
        let output = self.engine.process(&input, &state, &CancelToken::default()).unwrap();
        Ok(response_v2(output, &context, FlushIds::default()))
    }
}

/// Lists the nodes and programs of the witness of a node, from below, and returns where it ends.
fn list_nodes(witness: &[u8], start: usize, spans: &mut Vec<Span>) -> usize {
    let item_end = |at: usize| match witness[at] {
        short @ 0x40..=0x57 => at + 1 + usize::from(short - 0x40),
        0x58 => at + 2 + usize::from(witness[at + 1]),
        0x59 => at + 3 + usize::from(u16::from_be_bytes([witness[at + 1], witness[at + 2]])),
        other => panic!("{other:#x} opens no byte string"),
    };
    let end = match witness[start] {
        BRANCH => (0..witness[start + 1].count_ones()).fold(start + 2, |at, _| list_nodes(witness, at, spans)),
        HASH => start + 33,
        LEAF => {
            let items = if witness[start + 1] == STORAGE_LEAF { 3 } else { 2 };
            (0..items).fold(start + 2, |at, _| item_end(at))
        }
        CODE => {
            let end = item_end(start + 1);
            spans.push(start..end);
            return list_nodes(witness, end, spans);
        }
        other => panic!("{other:#x} opens no node"),
    };
    spans.push(start..end);
    end
}

/// Returns where the entries of a stream are.
fn entries(stream: &[u8]) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut at = 0;
    while at < stream.len() {
        let length = stream[at..][ENTRY_LENGTH].try_into().map(u32::from_be_bytes).unwrap();
        spans.push(at..at + length as usize);
        at += length as usize;
    }
    assert!(spans.iter().all(|span| span.len() >= ENTRY_BYTES));
    spans
}

/// Makes every piece missing, twice there, in the place of the one behind it, and another in one bit; and cuts the bytes there.
fn mutations(bytes: &[u8], pieces: &[Span], random: &mut ChaCha8Rng) -> Vec<Vec<u8>> {
    let mut mutations = Vec::new();
    for piece in pieces {
        let (before, behind) = (&bytes[..piece.start], &bytes[piece.end..]);
        let inside = &bytes[piece.clone()];
        mutations.push([before, behind].concat());
        mutations.push([before, inside, inside, behind].concat());
        mutations.push(before.to_vec());
        mutations.push(bytes[..random.gen_range(piece.clone())].to_vec());
        let mut flipped = bytes.to_vec();
        flipped[random.gen_range(piece.clone())] ^= 1 << random.gen_range(0..8);
        mutations.push(flipped);
        if let Some(next) = pieces.iter().find(|next| next.start == piece.end) {
            mutations.push([before, &bytes[next.clone()], inside, &bytes[next.end..]].concat());
        }
    }
    mutations
}

#[test]
fn hostile_requests_are_answered_as_by_a_fresh_server() {
    for (fork, payloads) in [(9, Payloads::Fixed), (13, Payloads::Protobuf)] {
        let mut random = ChaCha8Rng::seed_from_u64(SEED + fork);
        let (source, batches) = growing(fork, BLOCKS);
        let requests: Vec<_> = batches
            .iter()
            .map(|(input, read)| request(input, source.witness(|hash| read.contains(hash)), payloads))
            .collect();
        let cache = PrefixCache::new(CACHE_BYTES);
        let server =
            Memory { engine: Engine::default().with_prefixes(cache.clone()), memo: WitnessMemo::new(CACHE_BYTES) };
        let good: Vec<_> = requests.iter().map(|request| server.answer(request).unwrap()).collect();
        assert_eq!(cache.stats().reused, BLOCKS as u64 - 1);

        let mut hostile = Vec::new();
        let (last, (_, last_reads)) = (&requests[BLOCKS - 1], &batches[BLOCKS - 1]);
        for request in [last, &requests[1]] {
            let mut nodes = Vec::new();
            list_nodes(&request.witness, 1, &mut nodes);
            hostile.extend(
                mutations(&request.witness, &nodes, &mut random)
                    .into_iter()
                    .map(|witness| StatelessRequest { witness: witness.into(), ..request.clone() }),
            );
        }
        // Each node left out that is read, its hash in its place.
        for without in last_reads {
            let witness = source.witness(|hash| last_reads.contains(hash) && hash != without);
            hostile.push(StatelessRequest { witness: witness.into(), ..last.clone() });
        }
        let stream = &last.data_stream;
        hostile.extend(
            mutations(stream, &entries(stream), &mut random)
                .into_iter()
                .map(|stream| StatelessRequest { data_stream: stream.into(), ..last.clone() }),
        );
        // Witnesses with the blocks of other requests.
        for one in &requests {
            hostile.extend(
                requests.iter().map(|other| StatelessRequest { witness: other.witness.clone(), ..one.clone() }),
            );
        }

        let before = cache.stats();
        let mut ends = HashMap::<_, usize>::new();
        for (number, request) in hostile.iter().enumerate() {
            let (answer, fresh) = (server.answer(request), Memory::default().answer(request));
            assert_eq!(answer, fresh, "fork {fork}, hostile request {number}");
            *ends.entry(answer.map_or_else(|error| error.number(), |answer| answer.error)).or_default() += 1;
            assert!(cache.stats().bytes <= CACHE_BYTES);
        }
        let after = cache.stats();
        assert!(after.reused > before.reused && after.uncovered > before.uncovered, "{before:?} {after:?}");
        for error in [ExecutorError::NoError, ExecutorError::InvalidWitness, ExecutorError::DbKeyNotFound] {
            assert!(ends.get(&error.number()).is_some_and(|count| *count > 10), "{error:?}: {ends:?}");
        }
        for (request, expected) in requests.iter().zip(&good) {
            assert_eq!(server.answer(request).as_ref(), Ok(expected), "none of them left anything");
        }
    }
}
