use super::*;
use crate::actors::Rpc;
use crate::actors::stats::BatchTotals;

const WINDOW: Duration = Duration::from_secs(10);

fn aggregator() -> (StatsAggregator, Instant) {
    let start = Instant::now();
    (StatsAggregator::new(WINDOW, start, UNIX_EPOCH + Duration::from_secs(1_000)), start)
}

fn batch(finished_at: Instant, latency: Duration) -> StatsEvent {
    let mut txs_by_rom_error = [0; 36];
    txs_by_rom_error[1] = 2;
    txs_by_rom_error[7] = 1;
    StatsEvent::Batch(BatchSample {
        rpc: Rpc::ProcessBatchV2,
        fork_id: 9,
        bytes: 300,
        totals: BatchTotals {
            txs: 3,
            gas: 63_000,
            error: ExecutorError::NoError,
            error_rom: RomError::NoError,
            txs_by_rom_error,
            answered_by: EngineName::Rom,
            rom_steps: 1000,
            rom_time: Duration::from_micros(10),
        },
        finished_at,
        busy: latency / 2,
        queue_wait: latency / 2,
        latency,
    })
}

#[test]
fn windows_close_by_the_clock_even_when_idle() {
    let (mut aggregator, start) = aggregator();
    assert!(aggregator.close_windows(start + WINDOW - Duration::from_millis(1)).is_empty());
    let closed = aggregator.close_windows(start + 3 * WINDOW + Duration::from_secs(1));
    let bounds: Vec<_> = closed.iter().map(|w| (w.sequence, w.start_unix_ms, w.end_unix_ms)).collect();
    assert_eq!(bounds, [(1, 1_000_000, 1_010_000), (2, 1_010_000, 1_020_000), (3, 1_020_000, 1_030_000)]);
    assert!(closed.iter().all(|w| w.sums == Sums::default() && w.latency == Latency::default()));
}

/// Windows go by the monotonic clock. The calendar is asked once, so a step of it moves no window and loses no batch.
#[test]
fn a_step_of_the_wall_clock_changes_no_window() {
    let start = Instant::now();
    let calendars = [UNIX_EPOCH - Duration::from_secs(3600), UNIX_EPOCH, SystemTime::now() + 1000 * WINDOW];
    for wall in calendars {
        let mut aggregator = StatsAggregator::new(WINDOW, start, wall);
        let at = start + Duration::from_secs(1);
        aggregator.record(&batch(at, Duration::from_millis(5)), at);
        let closed = aggregator.close_windows(start + 2 * WINDOW);
        assert_eq!(closed.iter().map(|window| window.sums.batches).collect::<Vec<_>>(), [1, 0]);
        let lengths: Vec<_> = closed.iter().map(|window| window.end_unix_ms - window.start_unix_ms).collect();
        assert_eq!(lengths, [10_000, 10_000]);
        // An event that is older than the window it meets is counted there.
        assert!(aggregator.close_windows(start).is_empty());
    }
}

#[test]
fn a_window_holds_sums_rates_and_latencies_of_its_batches_only() {
    let (mut aggregator, start) = aggregator();
    for n in 1..=100 {
        let at = start + Duration::from_millis(90 * n);
        aggregator.record(&batch(at, Duration::from_millis(n)), at);
    }
    let window = aggregator.close_windows(start + WINDOW).remove(0);
    assert_eq!((window.sums.batches, window.sums.txs, window.sums.bytes), (100, 300, 30_000));
    assert_eq!(window.sums.gas, 6_300_000);
    assert_eq!((window.rates.batches_per_second, window.rates.gas_per_second), (10.0, 630_000.0));
    assert!((window.sums.busy_seconds - 2.525).abs() < 1e-9, "{}", window.sums.busy_seconds);
    assert!((window.rates.executors_busy - 0.2525).abs() < 1e-9, "{}", window.rates.executors_busy);
    for (got, want) in [
        (window.latency.p50_seconds, 0.050),
        (window.latency.p90_seconds, 0.090),
        (window.latency.p99_seconds, 0.099),
        (window.latency.max_seconds, 0.100),
    ] {
        assert!((got - want).abs() / want < 0.01, "latency {got}, expected about {want}");
    }
    let next = aggregator.close_windows(start + 2 * WINDOW).remove(0);
    assert_eq!(next.sums, Sums::default());
}

#[test]
fn the_ring_keeps_the_last_360_windows() {
    let (mut aggregator, start) = aggregator();
    aggregator.close_windows(start + 400 * WINDOW);
    let history = aggregator.history(1_000);
    assert_eq!(history.len(), HISTORY_WINDOWS_MAX);
    assert_eq!((history[0].sequence, history[359].sequence), (41, 400));
    assert_eq!(aggregator.history(2).iter().map(|w| w.sequence).collect::<Vec<_>>(), [399, 400]);
    assert!(aggregator.history(0).is_empty());
}

#[test]
fn totals_count_by_kind() {
    let (mut aggregator, start) = aggregator();
    let name = CallName::new("ProcessBatchV2");
    aggregator.record(&StatsEvent::Call(name.clone()), start);
    let time = Duration::from_millis(250);
    for failed in [false, true] {
        aggregator.record(&StatsEvent::CallEnded { name: name.clone(), time, failed }, start);
    }
    aggregator
        .record(&batch(start + Duration::from_secs(4), Duration::from_millis(20)), start + Duration::from_secs(4));
    aggregator.record(&StatsEvent::InvalidRequest(ExecutorError::InvalidChainId), start);
    aggregator.record(&StatsEvent::unanswered(BatchFailure::QueueFull { capacity: 4 }), start);
    aggregator.record(&StatsEvent::unanswered(BatchFailure::Cancelled), start);
    aggregator.record(&StatsEvent::unanswered(BatchFailure::DeadlineExceeded), start);
    aggregator.record(&StatsEvent::ExecutorPanicked, start);
    aggregator.record(&StatsEvent::ExecutorRestarted, start);
    let totals = aggregator.totals(start + Duration::from_secs(4));
    let sums = totals.sums;
    assert_eq!((sums.batches, sums.failed_batches, sums.invalid_requests), (2, 1, 1));
    assert_eq!((sums.refused, sums.cancelled, sums.expired), (1, 1, 1));
    assert_eq!((totals.executor_panics, totals.executor_restarts), (1, 1));
    let by_rpc = |count| BTreeMap::from([("ProcessBatchV2".to_owned(), count)]);
    assert_eq!((totals.calls_by_rpc, totals.failed_calls_by_rpc), (by_rpc(1), by_rpc(1)));
    assert_eq!(totals.call_seconds_by_rpc["ProcessBatchV2"], 0.5);
    assert_eq!(totals.batches_by_fork_id, BTreeMap::from([(9, 1)]));
    assert_eq!(
        totals.answers_by_executor_error,
        BTreeMap::from([("EXECUTOR_ERROR_INVALID_CHAIN_ID", 1), ("EXECUTOR_ERROR_NO_ERROR", 1)])
    );
    assert_eq!(
        totals.txs_by_rom_error,
        BTreeMap::from([("ROM_ERROR_EXECUTION_REVERTED", 1), ("ROM_ERROR_NO_ERROR", 2)])
    );
    assert_eq!(totals.rates.txs_per_second, 0.75);
    let within = |s: f64| totals.latency_buckets.iter().find(|b| b.at_most_seconds == s).map(|b| b.batches);
    assert_eq!((within(0.01), within(0.025), within(60.0)), (Some(0), Some(1), Some(1)));
}

#[test]
fn stale_gas_near_the_limit_does_not_overflow_the_sums() {
    let (mut aggregator, start) = aggregator();
    let mut event = batch(start, Duration::ZERO);
    if let StatsEvent::Batch(sample) = &mut event {
        sample.totals.gas = u64::MAX;
    }
    aggregator.record(&event, start);
    aggregator.record(&event, start);
    assert_eq!(aggregator.totals(start).sums.gas, u64::MAX);
}

#[test]
fn engines_are_counted() {
    let (mut aggregator, start) = aggregator();
    for _ in 0..2 {
        aggregator.record(&batch(start, Duration::from_millis(1)), start);
    }
    for field in ["error", "gas_used", "error"] {
        aggregator.record(&StatsEvent::EnginesDiffer(field), start);
    }
    let totals = aggregator.totals(start);
    assert_eq!(totals.batches_by_engine, BTreeMap::from([("rom", 2)]));
    assert_eq!(totals.engine_differences, BTreeMap::from([("error", 2), ("gas_used", 1)]));
    assert_eq!((totals.rom_steps, totals.rom_seconds), (2000, 2e-5));
}
