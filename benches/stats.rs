//! What reporting one batch costs the executor that ran it: our channel against one lock around the same sums.
//!
//! - `channel`: the sample goes into the bounded channel of the stats actor, a consumer does the sums;
//! - `channel, line`: the same, and the thread formats its log line from a copy of the rates, as the executors do;
//! - `lock, line`: sums and log line under one mutex, as zkevm-prover does it (executor-service §10).
//!
//! `cargo bench --bench stats` gives the time per sample over all threads, then a table of single waits: it is the held
//! lock that hurts, not the average. The threads do nothing but report, a thousand times more often than real batches
//! would; what the channel then drops is in the table. A last table lets them work between reports as long as the smallest
//! batch takes, and gives the share of their time that reporting takes.

use std::cell::RefCell;
use std::fmt::Write;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use criterion::{BenchmarkId, Criterion, Throughput};
use crossbeam_channel::{Receiver, TryRecvError};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use zkevm_executor::actors::Rpc;
use zkevm_executor::actors::stats::{
    BatchLogLine, BatchSample, BatchTotals, LineRates, StatsAggregator, StatsEvent, StatsReporter,
};
use zkevm_types::{EngineName, ExecutorError, RomError};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const THREADS: [usize; 3] = [1, 8, 64];
const WINDOW: Duration = Duration::from_secs(10);
/// How often the stats actor empties its channel.
const TICK: Duration = Duration::from_millis(20);
/// Samples per thread for the table of waits.
const WAIT_SAMPLES: u64 = 20_000;
/// Work between two reports in the table of shares.
const BATCH_TIME_MIN: Duration = Duration::from_micros(250);
/// Samples of all threads together for the table of shares.
const SHARE_SAMPLES: u64 = 12_800;
/// Longest wait told apart in the table of waits.
const WAIT_NANOS_MAX: u64 = 60_000_000_000;

fn sample() -> BatchSample {
    let busy = Duration::from_millis(20);
    BatchSample {
        rpc: Rpc::ProcessBatchV2,
        fork_id: 9,
        bytes: 81_000,
        totals: BatchTotals {
            txs: 730,
            gas: 15_330_000,
            error: ExecutorError::NoError,
            error_rom: RomError::NoError,
            txs_by_rom_error: [0; 36],
            answered_by: EngineName::Native,
            rom_steps: 0,
            rom_time: Duration::ZERO,
        },
        finished_at: Instant::now(),
        busy,
        queue_wait: Duration::from_millis(1),
        latency: busy + Duration::from_millis(1),
    }
}

thread_local! {
    /// Where the log writes its lines: as in the program, memory that stays.
    static LINE: RefCell<String> = const { RefCell::new(String::new()) };
}

fn write_line(counter: u64, sample: &BatchSample, rates: LineRates) {
    LINE.with_borrow_mut(|line| {
        line.clear();
        let done = BatchLogLine { counter, rpc: sample.rpc, sample, rates };
        write!(line, "{done}").expect("a string takes every line");
        black_box(line);
    });
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
            write_line(1, sample, self.reporter.rates());
        }
    }

    fn dropped(&self) -> u64 {
        self.reporter.dropped()
    }
}

struct Lock {
    aggregator: Mutex<StatsAggregator>,
}

impl Way for Lock {
    fn report(&self, sample: &BatchSample) {
        let mut aggregator = self.aggregator.lock();
        aggregator.close_windows(sample.finished_at);
        aggregator.record(&StatsEvent::Batch(*sample), sample.finished_at);
        let rates = aggregator.line_rates(sample.finished_at, 42);
        write_line(1, sample, rates);
    }
}

/// Does the sums of the channel until every sender is gone, on a tick like the stats actor: nobody who reports ever has to
/// wake it.
fn consume(events: &Receiver<StatsEvent>) {
    let mut aggregator = StatsAggregator::new(WINDOW, Instant::now(), SystemTime::now());
    loop {
        match events.try_recv() {
            Ok(event) => {
                let now = Instant::now();
                aggregator.close_windows(now);
                aggregator.record(&event, now);
            }
            Err(TryRecvError::Empty) => std::thread::sleep(TICK),
            Err(TryRecvError::Disconnected) => break,
        }
    }
    black_box(aggregator.totals(Instant::now()));
}

/// Runs `measure` with each way to report.
fn with_each_way(mut measure: impl FnMut(&'static str, &dyn Way)) {
    for (name, with_line) in [("channel", false), ("channel, line", true)] {
        let (reporter, events) = StatsReporter::new();
        let consumer = std::thread::spawn(move || consume(&events));
        measure(name, &Channel { reporter, with_line });
        let _ = consumer.join();
    }
    measure(
        "lock, line",
        &Lock { aggregator: Mutex::new(StatsAggregator::new(WINDOW, Instant::now(), SystemTime::now())) },
    );
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

/// Lets every thread work a quarter of a millisecond, the smallest batch there is, before each report, and prints which
/// share of the threads' time the reports took.
fn table_of_shares() {
    let rounds_per_batch = calibrate(BATCH_TIME_MIN);
    println!("\n{:<14} {:>7} {:>9} {:>9}", "way", "threads", "share", "dropped");
    for threads in THREADS {
        with_each_way(|name, way| {
            let (reporting, total) = (AtomicU64::new(0), AtomicU64::new(0));
            std::thread::scope(|scope| {
                for _ in 0..threads {
                    scope.spawn(|| {
                        let (sample, start, mut own) = (sample(), Instant::now(), Duration::ZERO);
                        for _ in 0..SHARE_SAMPLES / threads as u64 {
                            work(rounds_per_batch);
                            let asked_at = Instant::now();
                            way.report(black_box(&sample));
                            own += asked_at.elapsed();
                        }
                        reporting.fetch_add(own.as_nanos() as u64, Ordering::Relaxed);
                        total.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
                    });
                }
            });
            let share = 100.0 * reporting.into_inner() as f64 / total.into_inner() as f64;
            let dropped = 100.0 * way.dropped() as f64 / SHARE_SAMPLES as f64;
            println!("{name:<14} {threads:>7} {share:>8.2}% {dropped:>8.1}%");
        });
    }
}

fn work(rounds: u64) {
    let mut state = 1_u64;
    for _ in 0..rounds {
        state = black_box(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    }
}

/// Returns how many rounds of [`work`] take this long on a thread of its own: the quickest of some tries.
fn calibrate(length: Duration) -> u64 {
    const ROUNDS: u64 = 100_000;
    let quickest = (0..50).map(|_| {
        let start = Instant::now();
        work(ROUNDS);
        start.elapsed()
    });
    let quickest = quickest.min().unwrap_or(length).max(Duration::from_nanos(1));
    (ROUNDS as f64 * length.as_secs_f64() / quickest.as_secs_f64()) as u64
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
        table_of_shares();
    }
}
