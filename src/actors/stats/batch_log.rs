//! The log line of one batch, with the original's keys (executor-service §10); the engine that answered and
//! the error of a batch that failed stand behind them.

use std::fmt;
use std::time::Duration;

use super::event::BatchSample;
use super::report::Rates;
use crate::actors::Rpc;
use zkevm_types::{ExecutorError, RomError};

/// The part of the line about all batches: a copy the stats actor refreshes, so that no line is built under a lock.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineRates {
    /// Rates of the last closed window.
    pub window: Rates,
    /// Rates since the first batch.
    pub ever: Rates,
    /// Executor time of all batches.
    pub busy_seconds: f64,
    /// Open file descriptors.
    pub open_files: u64,
}

/// Displays as the line: `ExecutorServiceImpl::<Rpc>() done counter=… filedesc=…`.
///
/// `time` is the time on the executor: like the original's, it leaves out the wait for a free thread.
pub struct BatchLogLine<'a> {
    /// Number of this batch among all counted ones.
    pub counter: u64,
    /// Call it came by.
    pub rpc: Rpc,
    /// The batch.
    pub sample: &'a BatchSample,
    /// All batches.
    pub rates: LineRates,
}

impl fmt::Display for BatchLogLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BatchSample { bytes, busy, totals, .. } = *self.sample;
        let busy_seconds = seconds(busy);
        let own = Throughput {
            bytes: bytes as f64 / busy_seconds,
            txs: totals.txs as f64 / busy_seconds,
            gas: totals.gas as f64 / busy_seconds,
            gas_per_byte: totals.gas as f64 / bytes as f64,
        };
        write!(f, "ExecutorServiceImpl::{}() done", self.rpc.name())?;
        write!(f, " counter={} B={bytes} TX={} gas={}", self.counter, totals.txs, totals.gas)?;
        write!(f, " time={} TP={own}", Double(busy_seconds))?;
        write!(f, " totalTP(10s)={}", Throughput::of(&self.rates.window))?;
        write!(f, " totalTP(ever)={}", Throughput::of(&self.rates.ever))?;
        write!(f, " totalTime={} filedesc={}", Double(self.rates.busy_seconds), self.rates.open_files)?;
        write!(f, " engine={}", totals.answered_by.name())?;
        if totals.error != ExecutorError::NoError {
            write!(f, " error={}", totals.error.name())?;
        }
        if totals.error_rom != RomError::NoError {
            write!(f, " error_rom={}", totals.error_rom.name())?;
        }
        if totals.rom_steps == 0 {
            return Ok(());
        }
        let steps_per_second = totals.rom_steps as f64 / seconds(totals.rom_time);
        write!(f, " romSteps={} romTime={}", totals.rom_steps, Double(seconds(totals.rom_time)))?;
        write!(f, " romTP={}steps/s", Double(steps_per_second))
    }
}

/// Whole microseconds, as the original measures.
fn seconds(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1e6
}

struct Throughput {
    bytes: f64,
    txs: f64,
    gas: f64,
    gas_per_byte: f64,
}

impl Throughput {
    fn of(rates: &Rates) -> Self {
        Self {
            bytes: rates.bytes_per_second,
            txs: rates.txs_per_second,
            gas: rates.gas_per_second,
            gas_per_byte: rates.gas_per_second / rates.bytes_per_second.max(1.0),
        }
    }
}

impl fmt::Display for Throughput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, txs, gas, gas_per_byte } = *self;
        let (bytes, txs, gas, gas_per_byte) = (Double(bytes), Double(txs), Double(gas), Double(gas_per_byte));
        write!(f, "{bytes}B/s={txs}TX/s={gas}gas/s={gas_per_byte}gas/B")
    }
}

/// Six decimals; `inf` and `nan` as C prints them.
struct Double(f64);

impl fmt::Display for Double {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rust says NaN.
        if self.0.is_nan() { f.write_str("nan") } else { write!(f, "{:.6}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::actors::stats::BatchTotals;
    use zkevm_types::EngineName;

    fn sample(bytes: u64, txs: u64, gas: u64, busy: Duration) -> BatchSample {
        let (error, error_rom) = (ExecutorError::NoError, RomError::NoError);
        BatchSample {
            rpc: Rpc::ProcessBatchV2,
            fork_id: 9,
            bytes,
            totals: BatchTotals {
                txs,
                gas,
                error,
                error_rom,
                txs_by_rom_error: [0; 36],
                answered_by: EngineName::Native,
                rom_steps: 0,
                rom_time: Duration::ZERO,
            },
            finished_at: Instant::now(),
            busy,
            queue_wait: Duration::from_millis(7),
            latency: busy + Duration::from_millis(7),
        }
    }

    #[test]
    fn line_has_the_originals_keys_in_order() {
        let window =
            Rates { gas_per_second: 3000.0, bytes_per_second: 150.0, txs_per_second: 2.5, ..Default::default() };
        let ever = Rates { gas_per_second: 10.0, bytes_per_second: 0.5, txs_per_second: 0.25, ..Default::default() };
        let rates = LineRates { window, ever, busy_seconds: 1.5, open_files: 42 };
        let sample = sample(200, 2, 42_000, Duration::from_micros(500_000));
        let line = BatchLogLine { counter: 7, rpc: Rpc::ProcessBatchV2, sample: &sample, rates };
        assert_eq!(
            line.to_string(),
            "ExecutorServiceImpl::ProcessBatchV2() done counter=7 B=200 TX=2 gas=42000 time=0.500000 \
             TP=400.000000B/s=4.000000TX/s=84000.000000gas/s=210.000000gas/B \
             totalTP(10s)=150.000000B/s=2.500000TX/s=3000.000000gas/s=20.000000gas/B \
             totalTP(ever)=0.500000B/s=0.250000TX/s=10.000000gas/s=10.000000gas/B \
             totalTime=1.500000 filedesc=42 engine=native"
        );
    }

    #[test]
    fn line_names_the_errors_of_a_batch() {
        let mut sample = sample(200, 2, 42_000, Duration::from_micros(500_000));
        sample.totals.error = ExecutorError::DbKeyNotFound;
        sample.totals.error_rom = RomError::OutOfCountersKeccak;
        let line = BatchLogLine { counter: 1, rpc: Rpc::ProcessBatch, sample: &sample, rates: LineRates::default() };
        let text = line.to_string();
        let errors = " error=EXECUTOR_ERROR_DB_KEY_NOT_FOUND error_rom=ROM_ERROR_OUT_OF_COUNTERS_KECCAK";
        assert!(text.ends_with(&format!(" engine=native{errors}")), "{text}");
    }

    #[test]
    fn line_says_how_fast_a_rom_ran() {
        let mut sample = sample(200, 2, 42_000, Duration::from_micros(500_000));
        sample.totals.answered_by = EngineName::Rom;
        sample.totals.rom_steps = 1_000_000;
        sample.totals.rom_time = Duration::from_millis(10);
        let line = BatchLogLine { counter: 1, rpc: Rpc::ProcessBatch, sample: &sample, rates: LineRates::default() };
        let text = line.to_string();
        assert!(
            text.ends_with(" engine=rom romSteps=1000000 romTime=0.010000 romTP=100000000.000000steps/s"),
            "{text}"
        );
    }

    #[test]
    fn division_by_zero_prints_inf_and_nan() {
        let sample = sample(0, 0, 5, Duration::ZERO);
        let line = BatchLogLine { counter: 1, rpc: Rpc::ProcessBatch, sample: &sample, rates: LineRates::default() };
        let text = line.to_string();
        assert!(text.contains(" TP=nanB/s=nanTX/s=infgas/s=infgas/B "), "{text}");
    }
}
