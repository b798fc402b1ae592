//! The sums behind the statistics: pure, with the time as an argument.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use super::batch_log::LineRates;
use super::event::{BatchSample, CallName, StatsEvent};
use super::report::{Latency, LatencyBucket, Rates, Sums, Totals, Window};
use crate::actors::BatchFailure;
use zkevm_types::{EngineName, ExecutorError, RomError};

/// Closed windows that are kept: an hour of 10 s.
pub(super) const HISTORY_WINDOWS_MAX: usize = 360;
/// Longest latency told apart, in microseconds: an hour.
const LATENCY_MICROS_MAX: u64 = 3_600_000_000;
/// Decimal digits a recorded latency keeps.
const LATENCY_DIGITS: u8 = 3;
/// Bounds of the exported latency histogram, in microseconds.
const LATENCY_BUCKETS_MICROS: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 60_000_000,
];

/// Sums and latencies of one stretch of time.
struct Accumulator {
    sums: Sums,
    latency: Option<Histogram<u64>>,
}

impl Accumulator {
    fn new() -> Self {
        // The bounds are constants that the histogram accepts; a test creates one.
        Self { sums: Sums::default(), latency: Histogram::new_with_bounds(1, LATENCY_MICROS_MAX, LATENCY_DIGITS).ok() }
    }

    fn clear(&mut self) {
        self.sums = Sums::default();
        if let Some(latency) = &mut self.latency {
            latency.reset();
        }
    }

    fn record(&mut self, event: &StatsEvent) {
        let sums = &mut self.sums;
        match event {
            StatsEvent::Batch(sample) => self.record_batch(sample),
            StatsEvent::InvalidRequest(_) => sums.invalid_requests += 1,
            StatsEvent::Unanswered { failure, busy } => {
                sums.busy_seconds += busy.as_secs_f64();
                match failure {
                    BatchFailure::QueueFull { .. }
                    | BatchFailure::QueueBytesFull { .. }
                    | BatchFailure::ReceptionFull { .. }
                    | BatchFailure::StateFull { .. }
                    | BatchFailure::Draining
                    | BatchFailure::CallMemory { .. }
                    | BatchFailure::ServerMemory { .. }
                    | BatchFailure::AnswerTooLarge { .. }
                    | BatchFailure::Stopped => sums.refused += 1,
                    BatchFailure::Cancelled => sums.cancelled += 1,
                    BatchFailure::DeadlineExceeded
                    | BatchFailure::ReceptionSlow { .. }
                    | BatchFailure::TooLong { .. } => sums.expired += 1,
                    BatchFailure::Panicked => {}
                }
            }
            StatsEvent::ExecutorPanicked => {
                sums.batches += 1;
                sums.failed_batches += 1;
            }
            StatsEvent::Call(_)
            | StatsEvent::CallEnded { .. }
            | StatsEvent::EnginesDiffer(_)
            | StatsEvent::ExecutorRestarted => {}
        }
    }

    fn record_batch(&mut self, sample: &BatchSample) {
        let sums = &mut self.sums;
        sums.batches += 1;
        sums.failed_batches += u64::from(sample.totals.failed());
        // Gas can be a stale register value near 2^64 (executor-service §6.6).
        sums.gas = sums.gas.saturating_add(sample.totals.gas);
        sums.bytes += sample.bytes;
        sums.txs += sample.totals.txs;
        sums.busy_seconds += sample.busy.as_secs_f64();
        sums.queue_wait_seconds += sample.queue_wait.as_secs_f64();
        if let Some(latency) = &mut self.latency {
            let micros = u64::try_from(sample.latency.as_micros()).unwrap_or(u64::MAX);
            latency.saturating_record(micros.max(1));
        }
    }

    fn latency(&self) -> Latency {
        let Some(latency) = self.latency.as_ref().filter(|latency| !latency.is_empty()) else {
            return Latency::default();
        };
        let seconds = |micros: u64| micros as f64 / 1e6;
        Latency {
            p50_seconds: seconds(latency.value_at_quantile(0.5)),
            p90_seconds: seconds(latency.value_at_quantile(0.9)),
            p99_seconds: seconds(latency.value_at_quantile(0.99)),
            max_seconds: seconds(latency.max()),
        }
    }

    fn latency_buckets(&self) -> Vec<LatencyBucket> {
        let at_most = |micros| self.latency.as_ref().map_or(0, |latency| latency.count_between(0, micros));
        let bucket = |&micros| LatencyBucket { at_most_seconds: micros as f64 / 1e6, batches: at_most(micros) };
        LATENCY_BUCKETS_MICROS.iter().map(bucket).collect()
    }
}

/// The calls of one name.
#[derive(Clone, Copy, Default)]
struct Calls {
    arrived: u64,
    /// Of those that ended.
    failed: u64,
    /// Of those that ended, summed.
    seconds: f64,
}

/// Counters by kind, since the start.
#[derive(Default)]
struct Counters {
    calls: BTreeMap<CallName, Calls>,
    batches_by_fork_id: BTreeMap<u64, u64>,
    answers_by_executor_error: BTreeMap<ExecutorError, u64>,
    batches_by_rom_error: BTreeMap<RomError, u64>,
    txs_by_rom_error: BTreeMap<RomError, u64>,
    batches_by_engine: BTreeMap<EngineName, u64>,
    engine_differences: BTreeMap<&'static str, u64>,
    rom_steps: u64,
    rom_seconds: f64,
    executor_panics: u64,
    executor_restarts: u64,
    latency_seconds_sum: f64,
}

impl Counters {
    fn record(&mut self, event: &StatsEvent) {
        match event {
            StatsEvent::Call(name) => self.calls(name).arrived += 1,
            StatsEvent::CallEnded { name, time, failed } => {
                let calls = self.calls(name);
                calls.seconds += time.as_secs_f64();
                calls.failed += u64::from(*failed);
            }
            StatsEvent::InvalidRequest(error) => *self.answers_by_executor_error.entry(*error).or_default() += 1,
            StatsEvent::Batch(sample) => self.record_batch(sample),
            StatsEvent::EnginesDiffer(field) => *self.engine_differences.entry(field).or_default() += 1,
            StatsEvent::ExecutorPanicked => self.executor_panics += 1,
            StatsEvent::ExecutorRestarted => self.executor_restarts += 1,
            StatsEvent::Unanswered { .. } => {}
        }
    }

    fn by_call<T>(&self, read: impl Fn(&Calls) -> T) -> BTreeMap<String, T> {
        self.calls.iter().map(|(name, calls)| (name.as_str().to_owned(), read(calls))).collect()
    }

    fn calls(&mut self, name: &CallName) -> &mut Calls {
        self.calls.entry(name.clone()).or_default()
    }

    fn record_batch(&mut self, sample: &BatchSample) {
        *self.batches_by_fork_id.entry(sample.fork_id).or_default() += 1;
        *self.answers_by_executor_error.entry(sample.totals.error).or_default() += 1;
        *self.batches_by_rom_error.entry(sample.totals.error_rom).or_default() += 1;
        for error in RomError::ALL {
            let number = usize::try_from(error.number()).unwrap_or(0);
            let txs = sample.totals.txs_by_rom_error.get(number).copied().unwrap_or(0);
            if txs > 0 {
                *self.txs_by_rom_error.entry(*error).or_default() += u64::from(txs);
            }
        }
        *self.batches_by_engine.entry(sample.totals.answered_by).or_default() += 1;
        self.rom_steps += sample.totals.rom_steps;
        self.rom_seconds += sample.totals.rom_time.as_secs_f64();
        self.latency_seconds_sum += sample.latency.as_secs_f64();
    }
}

/// All statistics of one process.
pub struct StatsAggregator {
    window_length: Duration,
    started: Instant,
    started_unix: Duration,
    open: Accumulator,
    /// Sequence number of the open window, from 1.
    open_sequence: u64,
    open_since: Instant,
    closed: VecDeque<Arc<Window>>,
    totals: Accumulator,
    counters: Counters,
    /// Start of the first batch ever, for the log line (executor-service §10).
    first_batch_at: Option<Instant>,
}

impl StatsAggregator {
    /// Opens the first window at `now`; `wall` is the same moment on the calendar.
    pub fn new(window_length: Duration, now: Instant, wall: SystemTime) -> Self {
        Self {
            window_length: window_length.max(Duration::from_millis(1)),
            started: now,
            started_unix: wall.duration_since(UNIX_EPOCH).unwrap_or_default(),
            open: Accumulator::new(),
            open_sequence: 1,
            open_since: now,
            closed: VecDeque::with_capacity(HISTORY_WINDOWS_MAX),
            totals: Accumulator::new(),
            counters: Counters::default(),
            first_batch_at: None,
        }
    }

    /// Counts one event that happened at `at`. Windows that ended before must have been closed.
    pub fn record(&mut self, event: &StatsEvent, at: Instant) {
        self.open.record(event);
        self.totals.record(event);
        self.counters.record(event);
        if let StatsEvent::Batch(sample) = event {
            self.first_batch_at.get_or_insert(at.checked_sub(sample.latency).unwrap_or(at));
        }
    }

    /// Closes the windows whose end is not after `now`, empty ones too, and returns them, oldest first.
    pub fn close_windows(&mut self, now: Instant) -> Vec<Arc<Window>> {
        let mut closed = Vec::new();
        while now.saturating_duration_since(self.open_since) >= self.window_length {
            let end = self.open_since + self.window_length;
            let window = Arc::new(self.window_until(end));
            if self.closed.len() == HISTORY_WINDOWS_MAX {
                self.closed.pop_front();
            }
            self.closed.push_back(Arc::clone(&window));
            closed.push(window);
            self.open.clear();
            self.open_sequence += 1;
            self.open_since = end;
        }
        closed
    }

    /// Returns the open window so far.
    pub fn open_window(&self, now: Instant) -> Window {
        self.window_until(now)
    }

    /// Returns the last closed windows, oldest first.
    pub fn history(&self, windows: usize) -> Vec<Window> {
        let skipped = self.closed.len().saturating_sub(windows);
        self.closed.iter().skip(skipped).map(|window| Window::clone(window)).collect()
    }

    /// Returns everything since the start; dropped samples are not known here.
    pub fn totals(&self, now: Instant) -> Totals {
        let seconds = now.saturating_duration_since(self.started).as_secs_f64();
        let counters = &self.counters;
        let executor_errors = counters.answers_by_executor_error.iter().map(|(error, n)| (error.name(), *n));
        let batch_errors = counters.batches_by_rom_error.iter().map(|(error, n)| (error.name(), *n));
        let tx_errors = counters.txs_by_rom_error.iter().map(|(error, n)| (error.name(), *n));
        Totals {
            start_unix_ms: millis(self.started_unix),
            seconds,
            sums: self.totals.sums,
            rates: Rates::of(&self.totals.sums, seconds),
            latency: self.totals.latency(),
            calls_by_rpc: counters.by_call(|calls| calls.arrived),
            failed_calls_by_rpc: counters.by_call(|calls| calls.failed),
            call_seconds_by_rpc: counters.by_call(|calls| calls.seconds),
            batches_by_fork_id: counters.batches_by_fork_id.clone(),
            answers_by_executor_error: executor_errors.collect(),
            batches_by_rom_error: batch_errors.collect(),
            txs_by_rom_error: tx_errors.collect(),
            batches_by_engine: counters.batches_by_engine.iter().map(|(engine, n)| (engine.name(), *n)).collect(),
            engine_differences: counters.engine_differences.clone(),
            rom_steps: counters.rom_steps,
            rom_seconds: counters.rom_seconds,
            executor_panics: counters.executor_panics,
            executor_restarts: counters.executor_restarts,
            samples_dropped: 0,
            latency_buckets: self.totals.latency_buckets(),
            latency_batches: self.totals.latency.as_ref().map_or(0, Histogram::len),
            latency_seconds_sum: counters.latency_seconds_sum,
        }
    }

    /// Returns what the log line of a batch says about all batches.
    pub fn line_rates(&self, now: Instant, open_files: u64) -> LineRates {
        let sums = &self.totals.sums;
        let since_first = self.first_batch_at.map(|first| now.saturating_duration_since(first).as_secs_f64());
        LineRates {
            window: self.closed.back().map(|window| window.rates).unwrap_or_default(),
            ever: Rates::of(sums, since_first.unwrap_or_default().max(1.0)),
            busy_seconds: sums.busy_seconds,
            open_files,
        }
    }

    /// Returns the length of a window.
    pub fn window_length(&self) -> Duration {
        self.window_length
    }

    /// Returns the calendar time of a moment, in milliseconds since 1970.
    pub fn unix_ms(&self, at: Instant) -> u64 {
        millis(self.started_unix + at.saturating_duration_since(self.started))
    }

    fn window_until(&self, end: Instant) -> Window {
        let seconds = end.saturating_duration_since(self.open_since).as_secs_f64();
        Window {
            sequence: self.open_sequence,
            start_unix_ms: self.unix_ms(self.open_since),
            end_unix_ms: self.unix_ms(end),
            seconds,
            sums: self.open.sums,
            rates: Rates::of(&self.open.sums, seconds),
            latency: self.open.latency(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
