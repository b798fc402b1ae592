//! The shapes statistics are reported in; their field names are those of `stats.proto`.

use std::collections::BTreeMap;

use serde::Serialize;

use zkevm_store::StateStats;

/// The answer to one question about statistics.
#[derive(Clone, Debug, Serialize)]
pub struct StatsReport {
    /// The present.
    pub now: Now,
    /// Everything since the start.
    pub totals: Totals,
    /// Closed windows, oldest first.
    pub history: Vec<Window>,
}

/// Gauges and the open window.
#[derive(Clone, Debug, Serialize)]
pub struct Now {
    /// Unix time in milliseconds.
    pub unix_ms: u64,
    /// The open window so far.
    pub open_window: Window,
    /// Batches waiting.
    pub queue_length: u64,
    /// Batches that may wait.
    pub queue_capacity: u64,
    /// Executor actors.
    pub executors: u64,
    /// Executor actors with a batch at hand.
    pub executors_busy: u64,
    /// New batches are refused.
    pub draining: bool,
    /// Length of a window.
    pub window_seconds: f64,
    /// Open file descriptors of the process.
    #[serde(skip)]
    pub open_files: u64,
    /// The state that is kept.
    #[serde(flatten)]
    pub state: StateStats,
}

/// A stretch of time, closed by the clock.
#[derive(Clone, Debug, Serialize)]
pub struct Window {
    /// Counts from 1.
    pub sequence: u64,
    /// Unix time in milliseconds.
    pub start_unix_ms: u64,
    /// Unix time in milliseconds.
    pub end_unix_ms: u64,
    /// Length.
    pub seconds: f64,
    /// Sums of its batches.
    pub sums: Sums,
    /// Sums divided by the length.
    pub rates: Rates,
    /// Time from arrival to answer.
    pub latency: Latency,
}

/// Sums over a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Sums {
    /// Batches executed, failed ones included.
    pub batches: u64,
    /// Batches that failed as a whole.
    pub failed_batches: u64,
    /// L2 gas.
    pub gas: u64,
    /// Bytes of batch data.
    pub bytes: u64,
    /// L2 transactions.
    pub txs: u64,
    /// Executor time.
    pub busy_seconds: f64,
    /// Waiting time.
    pub queue_wait_seconds: f64,
    /// Calls refused: queue or state full, draining or stopping.
    pub refused: u64,
    /// Batches dropped or stopped because the client left.
    pub cancelled: u64,
    /// Batches dropped or stopped because the deadline passed, and calls whose request did not come in in time.
    pub expired: u64,
    /// Requests that failed validation.
    pub invalid_requests: u64,
}

/// Sums divided by the length of the stretch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    /// Batches per second.
    pub batches_per_second: f64,
    /// Gas per second.
    pub gas_per_second: f64,
    /// Bytes per second.
    pub bytes_per_second: f64,
    /// Transactions per second.
    pub txs_per_second: f64,
    /// Executors busy on average.
    pub executors_busy: f64,
}

impl Rates {
    pub(super) fn of(sums: &Sums, seconds: f64) -> Self {
        if seconds <= 0.0 {
            return Self::default();
        }
        Self {
            batches_per_second: sums.batches as f64 / seconds,
            gas_per_second: sums.gas as f64 / seconds,
            bytes_per_second: sums.bytes as f64 / seconds,
            txs_per_second: sums.txs as f64 / seconds,
            executors_busy: sums.busy_seconds / seconds,
        }
    }
}

/// Quantiles of the time from arrival to answer; zero without a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the batches took at most this.
    pub p50_seconds: f64,
    /// 90 %.
    pub p90_seconds: f64,
    /// 99 %.
    pub p99_seconds: f64,
    /// All of them.
    pub max_seconds: f64,
}

/// Batches that took at most a bound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatencyBucket {
    /// The bound.
    pub at_most_seconds: f64,
    /// Batches, those of smaller bounds included.
    pub batches: u64,
}

/// Everything since the start.
#[derive(Clone, Debug, Serialize)]
pub struct Totals {
    /// Unix time of the start in milliseconds.
    pub start_unix_ms: u64,
    /// Time since then.
    pub seconds: f64,
    /// Sums of its batches.
    pub sums: Sums,
    /// Averages since the start.
    pub rates: Rates,
    /// Time from arrival to answer.
    pub latency: Latency,
    /// Calls by name: those of the executor service by their own, others with that of their service before it.
    pub calls_by_rpc: BTreeMap<String, u64>,
    /// Those of them that ended without an answer or with a status other than OK.
    pub failed_calls_by_rpc: BTreeMap<String, u64>,
    /// Time they took from their headers to their answer, summed.
    pub call_seconds_by_rpc: BTreeMap<String, f64>,
    /// Batches by fork id.
    pub batches_by_fork_id: BTreeMap<u64, u64>,
    /// Answers by ExecutorError name.
    pub answers_by_executor_error: BTreeMap<&'static str, u64>,
    /// Batches by the name of their batch-level RomError.
    pub batches_by_rom_error: BTreeMap<&'static str, u64>,
    /// Transactions by RomError name.
    pub txs_by_rom_error: BTreeMap<&'static str, u64>,
    /// Batches by the engine whose answer went out.
    pub batches_by_engine: BTreeMap<&'static str, u64>,
    /// Batches whose two answers differed, by field.
    pub engine_differences: BTreeMap<&'static str, u64>,
    /// Steps of ROMs that were run.
    pub rom_steps: u64,
    /// Time that took.
    pub rom_seconds: f64,
    /// Batches that made an executor panic.
    pub executor_panics: u64,
    /// Executors started again.
    pub executor_restarts: u64,
    /// Samples lost.
    pub samples_dropped: u64,
    /// Latency for a Prometheus histogram: `/metrics` only.
    #[serde(skip)]
    pub latency_buckets: Vec<LatencyBucket>,
    /// Batches whose latency is recorded: `/metrics` only.
    #[serde(skip)]
    pub latency_batches: u64,
    /// Sum of all latencies: `/metrics` only.
    #[serde(skip)]
    pub latency_seconds_sum: f64,
}
