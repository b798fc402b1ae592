//! What reporting one batch costs the executor that ran it: our channel against one lock around the same sums.
//!
//! - `channel`: the sample goes into the bounded channel of the stats actor, a consumer does the sums;
//! - `channel, line`: the same, and the thread formats its log line from a copy of the rates, as the executors do;
//! - `lock, line`: sums and log line under one mutex, as zkevm-prover does it (executor-service §10).
//!
//! `cargo bench --bench stats` gives the time per sample over all threads, then a table of single waits: it is the held
//! lock that hurts, not the average. The threads do nothing but report, a thousand times more often than real batches
//! would; what the channel then drops is in the table.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant, SystemTime};

use criterion::{BenchmarkId, Criterion, Throughput};
use crossbeam_channel::Receiver;
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use zkevm_executor::actors::Rpc;
use zkevm_executor::actors::stats::{
    BatchSample, BatchTally, DoneLine, LineRates, StatsBook, StatsEvent, StatsReporter,
};
use zkevm_executor::processor::{ExecutorError, RomError};

const THREADS: [usize; 3] = [1, 8, 64];
const WINDOW: Duration = Duration::from_secs(10);
/// Samples per thread for the table of waits.
const WAIT_SAMPLES: u64 = 20_000;
/// Longest wait told apart in that table.
const WAIT_NANOS_MAX: u64 = 60_000_000_000;

fn sample() -> BatchSample {
    let busy = Duration::from_millis(20);
    BatchSample {
        rpc: Rpc::ProcessBatchV2,
        fork_id: 9,
        bytes: 81_000,
        tally: BatchTally {
            txs: 730,
            gas: 15_330_000,
            error: ExecutorError::NoError,
            error_rom: RomError::NoError,
            txs_by_rom_error: [0; 36],
        },
        finished_at: Instant::now(),
        busy,
        queue_wait: Duration::from_millis(1),
        latency: busy + Duration::from_millis(1),
    }
}

fn line(counter: u64, sample: &BatchSample, rates: LineRates) -> String {
    DoneLine { counter, rpc: sample.rpc, sample, rates }.to_string()
}

/// One way to report a sample. Shared by all threads.
trait Way: Sync {
    fn report(&self, sample: &BatchSample);

    fn dropped(&self) -> u64 {
        0
    }
}

struct Channel {
    reporter: StatsReporter,
    with_line: bool,
}

impl Way for Channel {
    fn report(&self, sample: &BatchSample) {
        self.reporter.report(StatsEvent::Batch(*sample));
        if self.with_line {
            black_box(line(1, sample, self.reporter.rates()));
        }
    }

    fn dropped(&self) -> u64 {
        self.reporter.dropped()
    }
}

struct Lock {
    book: Mutex<StatsBook>,
}

impl Way for Lock {
    fn report(&self, sample: &BatchSample) {
        let mut book = self.book.lock();
        book.close_windows(sample.finished_at);
        book.record(&StatsEvent::Batch(*sample), sample.finished_at);
        let rates = book.line_rates(sample.finished_at, 42);
        black_box(line(1, sample, rates));
    }
}

/// Does the sums of the channel until every sender is gone.
fn consume(events: &Receiver<StatsEvent>) {
    let mut book = StatsBook::new(WINDOW, Instant::now(), SystemTime::now());
    while let Ok(event) = events.recv() {
        let now = Instant::now();
        book.close_windows(now);
        book.record(&event, now);
    }
    black_box(book.totals(Instant::now()));
}

/// Runs `measure` with each way to report.
fn with_each_way(mut measure: impl FnMut(&'static str, &dyn Way)) {
    for (name, with_line) in [("channel", false), ("channel, line", true)] {
        let (reporter, events) = StatsReporter::new();
        let consumer = std::thread::spawn(move || consume(&events));
        measure(name, &Channel { reporter, with_line });
        let _ = consumer.join();
    }
    measure("lock, line", &Lock { book: Mutex::new(StatsBook::new(WINDOW, Instant::now(), SystemTime::now())) });
}

/// Lets every thread report its share and returns the time from the common start to the last end.
fn run(way: &dyn Way, threads: usize, reports_per_thread: u64) -> Duration {
    let start = Barrier::new(threads + 1);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let sample = sample();
                start.wait();
                for _ in 0..reports_per_thread {
                    way.report(black_box(&sample));
                }
            });
        }
        start.wait();
        Instant::now()
    })
    .elapsed()
}

fn time_per_sample(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stats sample");
    group.throughput(Throughput::Elements(1));
    for threads in THREADS {
        with_each_way(|name, way| {
            group.bench_function(BenchmarkId::new(name, threads), |bencher| {
                bencher.iter_custom(|samples| run(way, threads, samples.div_ceil(threads as u64)));
            });
        });
    }
    group.finish();
}

/// Times every single report and prints how long the reporting thread was held up.
fn table_of_waits() {
    println!(
        "\n{:<14} {:>7} {:>9} {:>9} {:>9} {:>11} {:>9}",
        "way", "threads", "p50 ns", "p99 ns", "p99.9 ns", "max ns", "dropped"
    );
    for threads in THREADS {
        with_each_way(|name, way| {
            let waits = Mutex::new(None::<Histogram<u64>>);
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| record_waits(way, &waits));
                }
            });
            let Some(waits) = waits.into_inner() else { return };
            let dropped = way.dropped() as f64 / (threads as f64 * WAIT_SAMPLES as f64);
            println!(
                "{name:<14} {threads:>7} {:>9} {:>9} {:>9} {:>11} {:>8.1}%",
                waits.value_at_quantile(0.5),
                waits.value_at_quantile(0.99),
                waits.value_at_quantile(0.999),
                waits.max(),
                100.0 * dropped,
            );
        });
    }
}

fn record_waits(way: &dyn Way, all: &Mutex<Option<Histogram<u64>>>) {
    let Ok(mut own) = Histogram::<u64>::new_with_bounds(1, WAIT_NANOS_MAX, 3) else { return };
    let sample = sample();
    for _ in 0..WAIT_SAMPLES {
        let asked_at = Instant::now();
        way.report(black_box(&sample));
        own.saturating_record(asked_at.elapsed().as_nanos() as u64);
    }
    let mut all = all.lock();
    match &mut *all {
        Some(all) => {
            let _ = all.add(&own);
        }
        None => *all = Some(own),
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args();
    time_per_sample(&mut criterion);
    criterion.final_summary();
    // `cargo test --benches` only wants to know that it runs.
    if !std::env::args().any(|argument| argument == "--test") {
        table_of_waits();
    }
}
