//! The slowest of the recent batches, with their inputs, for people who ask what was slow.
//!
//! Written once at the end of a batch, after its answer has gone out. Bounded in number, in age and in bytes of inputs:
//! an input that does not fit is not kept, the batch is listed all the same.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::Serialize;

use super::super::stats::BatchSample;
use zkevm_types::BatchInput;

/// Batches that are listed.
const BATCHES_MAX: usize = 10;
/// Age from which on a batch is not recent any more.
const AGE_MAX: Duration = Duration::from_secs(600);
/// Bytes an input takes beside its request: maps, and the buffer the request was received in.
const FIXED_BYTES: usize = 16 << 10;
/// Characters of the client's free text that are kept.
const CONTEXT_ID_CHARS_MAX: usize = 128;

/// A batch that was slow.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SlowBatch {
    /// Number of the batch in this process, counted by begin.
    pub id: u64,
    /// Call it came by.
    pub rpc: &'static str,
    /// Free text of the client, shortened.
    pub context_id: String,
    /// Number of the batch before this one, from the request.
    pub old_batch_num: u64,
    /// Fork id.
    pub fork_id: u64,
    /// End of the batch, in Unix milliseconds.
    pub end_unix_ms: u64,
    /// Time on the executor, in seconds: what the list is sorted by.
    pub seconds: f64,
    /// Time from arrival to the executor, in seconds.
    pub queue_wait_seconds: f64,
    /// Transactions in the answer.
    pub txs: u64,
    /// Gas in the answer.
    pub gas: u64,
    /// Size of `batch_l2_data`.
    pub bytes: u64,
    /// ExecutorError of the answer.
    pub error: &'static str,
    /// The input is kept and can be downloaded.
    pub has_input: bool,
}

#[derive(Debug)]
struct Entry {
    batch: SlowBatch,
    finished_at: Instant,
    input: Option<Arc<BatchInput>>,
    input_bytes: usize,
}

/// A batch that ended, beside its sample.
pub(crate) struct Ended {
    pub(crate) id: u64,
    pub(crate) context_id: String,
    pub(crate) input: BatchInput,
    /// Size of the request as sent.
    pub(crate) request_bytes: usize,
}

/// The list. Its lock is held for a comparison at the end of a batch, and for a copy of few lines when somebody asks.
#[derive(Debug)]
pub struct Slowest {
    input_bytes_max: usize,
    /// Slowest first.
    entries: Mutex<Vec<Entry>>,
}

impl Slowest {
    /// Creates an empty list whose inputs take at most about `input_bytes_max` bytes together; 0 keeps none.
    pub fn new(input_bytes_max: usize) -> Arc<Self> {
        Arc::new(Self { input_bytes_max, entries: Mutex::default() })
    }

    /// Takes in a batch if it is among the slowest.
    pub(crate) fn note(&self, ended: Ended, sample: &BatchSample) {
        // Made before the lock, so dropped after it: inputs may be large.
        let mut gone = Vec::new();
        let mut entries = self.entries.lock();
        gone.extend(entries.extract_if(.., |entry| is_old(entry, sample.finished_at)).map(|entry| entry.input));
        let place = entries.partition_point(|entry| entry.batch.seconds >= sample.busy.as_secs_f64());
        if place >= BATCHES_MAX {
            return;
        }
        entries.insert(place, entry(ended, sample));
        gone.extend(if entries.len() > BATCHES_MAX { entries.pop() } else { None }.map(|entry| entry.input));
        let mut bytes = 0_usize;
        for entry in entries.iter_mut().filter(|entry| entry.input.is_some()) {
            let with_this = bytes.saturating_add(entry.input_bytes);
            if with_this > self.input_bytes_max {
                entry.batch.has_input = false;
                gone.push(entry.input.take());
            } else {
                bytes = with_this;
            }
        }
    }

    /// Returns the slowest batches of the last ten minutes, slowest first.
    pub fn batches(&self) -> Vec<SlowBatch> {
        let now = Instant::now();
        self.entries.lock().iter().filter(|entry| !is_old(entry, now)).map(|entry| entry.batch.clone()).collect()
    }

    /// Returns the input of a listed batch, if it is kept.
    pub fn input(&self, id: u64) -> Option<Arc<BatchInput>> {
        self.entries.lock().iter().find(|entry| entry.batch.id == id)?.input.clone()
    }
}

fn is_old(entry: &Entry, now: Instant) -> bool {
    now.saturating_duration_since(entry.finished_at) >= AGE_MAX
}

fn entry(ended: Ended, sample: &BatchSample) -> Entry {
    let Ended { id, context_id, input, request_bytes } = ended;
    let end = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let batch = SlowBatch {
        id,
        rpc: sample.rpc.name(),
        context_id: context_id.chars().take(CONTEXT_ID_CHARS_MAX).collect(),
        old_batch_num: input.old_batch_num,
        fork_id: sample.fork_id,
        end_unix_ms: end.as_millis().try_into().unwrap_or(u64::MAX),
        seconds: sample.busy.as_secs_f64(),
        queue_wait_seconds: sample.queue_wait.as_secs_f64(),
        txs: sample.totals.txs,
        gas: sample.totals.gas,
        bytes: sample.bytes,
        error: sample.totals.error.name(),
        has_input: true,
    };
    let input_bytes = request_bytes.saturating_add(FIXED_BYTES);
    Entry { batch, finished_at: sample.finished_at, input: Some(Arc::new(input)), input_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actors::Rpc;
    use crate::actors::stats::BatchTotals;
    use zkevm_testkit::sample::Workload;
    use zkevm_types::ForkId;
    use zkevm_types::{EngineName, ExecutorError, RomError};

    const REQUEST: usize = 100;

    fn note(slowest: &Slowest, id: u64, busy_ms: u64, finished_at: Instant) {
        let workload = Arc::new(Workload::new(ForkId::new(9).unwrap(), 1).unwrap());
        let input = workload.chain(0, Default::default()).empty_batch();
        let (error, error_rom) = (ExecutorError::NoError, RomError::NoError);
        let busy = Duration::from_millis(busy_ms);
        let sample = BatchSample {
            rpc: Rpc::ProcessBatchV2,
            fork_id: 9,
            bytes: 0,
            totals: BatchTotals {
                txs: 1,
                gas: 2,
                error,
                error_rom,
                txs_by_rom_error: [0; 36],
                answered_by: EngineName::Native,
                rom_steps: 0,
                rom_time: Duration::ZERO,
            },
            finished_at,
            busy,
            queue_wait: Duration::ZERO,
            latency: busy,
        };
        slowest.note(Ended { id, context_id: "x".repeat(1000), input, request_bytes: REQUEST }, &sample);
    }

    fn ids(slowest: &Slowest) -> Vec<u64> {
        slowest.batches().iter().map(|batch| batch.id).collect()
    }

    #[test]
    fn the_slowest_stay_and_are_sorted() {
        let slowest = Slowest::new(1 << 20);
        let now = Instant::now();
        for id in 0..100 {
            note(&slowest, id, id * 37 % 100, now);
        }
        let times: Vec<f64> = slowest.batches().iter().map(|batch| batch.seconds * 1e3).collect();
        assert_eq!(times, (90..100).rev().map(f64::from).collect::<Vec<_>>());
        assert!(slowest.batches().iter().all(|batch| batch.has_input && slowest.input(batch.id).is_some()));
        assert_eq!(slowest.batches()[0].context_id.len(), CONTEXT_ID_CHARS_MAX);
        assert!(slowest.input(0).is_none(), "not among the slowest");
    }

    #[test]
    fn inputs_have_a_bound_and_the_slowest_keep_theirs() {
        let slowest = Slowest::new(2 * (REQUEST + FIXED_BYTES));
        for id in 1..=4 {
            note(&slowest, id, id, Instant::now());
        }
        let kept: Vec<bool> = slowest.batches().iter().map(|batch| batch.has_input).collect();
        assert_eq!((ids(&slowest), kept), (vec![4, 3, 2, 1], vec![true, true, false, false]));
        assert!(slowest.input(4).is_some() && slowest.input(2).is_none());
    }

    #[test]
    fn old_batches_make_room() {
        let slowest = Slowest::new(1 << 20);
        let Some(long_ago) = Instant::now().checked_sub(AGE_MAX) else { return };
        for id in 0..10 {
            note(&slowest, id, 1000, long_ago);
        }
        assert_eq!(ids(&slowest), [0; 0]);
        note(&slowest, 11, 1, Instant::now());
        assert_eq!(ids(&slowest), [11]);
        assert!(slowest.input(1).is_none());
    }
}
