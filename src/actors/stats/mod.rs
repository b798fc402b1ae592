//! The stats actor: 10-second windows, totals and counters, in an arbiter of its own.
//!
//! Samples reach it through a bounded crossbeam-channel that can never make a batch wait: when it is full the sample is
//! dropped and the drop counted. The actor empties the channel on a short tick and before it answers a question, so whoever
//! got the answer to a batch also finds the batch in the statistics. The sums themselves are in [`StatsAggregator`], without actix.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, MessageResult};
use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::RwLock;
use tokio::sync::broadcast;

use super::gauges::FrontGauges;
use super::lifecycle::Lifecycle;
use zkevm_store::StateStore;

mod aggregate;
mod batch_log;
mod event;
mod report;

pub use aggregate::StatsAggregator;
pub use batch_log::{BatchLogLine, LineRates};
pub use event::{BatchSample, BatchTotals, CallName, StatsEvent};
pub use report::{Latency, LatencyBucket, Now, Rates, StatsReport, Sums, Totals, Window};

/// Samples that may wait for the stats actor.
pub const STATS_CHANNEL_EVENTS_MAX: usize = 8192;
/// Interval at which the stats actor empties its channel.
const TICK: Duration = Duration::from_millis(20);
/// Interval at which the open file descriptors are counted: on Linux that walks a directory.
const OPEN_FILES_INTERVAL: Duration = Duration::from_secs(1);
/// Closed windows a slow watcher may lag behind before it skips some.
const WATCH_WINDOWS_MAX: usize = 16;

/// The way in for samples, one clone per thread that reports.
#[derive(Clone)]
pub struct StatsReporter {
    events: Sender<StatsEvent>,
    shared: Arc<ReporterShared>,
}

#[derive(Default)]
struct ReporterShared {
    dropped: AtomicU64,
    /// Rates of all batches for the log line of one, refreshed by the actor.
    rates: RwLock<LineRates>,
}

impl StatsReporter {
    /// Creates the channel.
    pub fn new() -> (Self, Receiver<StatsEvent>) {
        let (events, receiver) = bounded(STATS_CHANNEL_EVENTS_MAX);
        (Self { events, shared: Arc::default() }, receiver)
    }

    /// Hands in one event without ever waiting; counts it as dropped if the channel is full.
    pub fn report(&self, event: StatsEvent) {
        if self.events.try_send(event).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns how many events were dropped.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Returns the sums and rates for a log line, as of the last tick.
    pub fn rates(&self) -> LineRates {
        *self.shared.rates.read()
    }
}

/// The gauges that the stats actor reads.
pub struct PoolGauges {
    pub(super) front: Arc<FrontGauges>,
    pub(super) executors: usize,
    pub(super) lifecycle: Lifecycle,
    pub(super) state: Arc<StateStore>,
}

/// Asks for the statistics with the last `history_windows` closed windows.
pub struct GetReport {
    /// Closed windows to return.
    pub history_windows: usize,
}

impl Message for GetReport {
    type Result = StatsReport;
}

/// Asks for every window closed from now on.
pub struct WatchWindows;

impl Message for WatchWindows {
    type Result = broadcast::Receiver<Arc<Window>>;
}

/// Owns the statistics.
pub struct StatsActor {
    aggregator: StatsAggregator,
    events: Receiver<StatsEvent>,
    reporter: StatsReporter,
    gauges: PoolGauges,
    watchers: broadcast::Sender<Arc<Window>>,
    open_files: u64,
    open_files_counted_at: Option<Instant>,
}

impl StatsActor {
    pub(super) fn new(
        window: Duration,
        events: Receiver<StatsEvent>,
        reporter: StatsReporter,
        gauges: PoolGauges,
    ) -> Self {
        Self {
            aggregator: StatsAggregator::new(window, Instant::now(), SystemTime::now()),
            events,
            reporter,
            gauges,
            watchers: broadcast::Sender::new(WATCH_WINDOWS_MAX),
            open_files: 0,
            open_files_counted_at: None,
        }
    }

    /// Takes in what is waiting, closes the windows whose time is over, shows the new rates to the log lines.
    fn tick(&mut self) {
        for _ in 0..STATS_CHANNEL_EVENTS_MAX {
            let Ok(event) = self.events.try_recv() else { break };
            let at = event.at().unwrap_or_else(Instant::now);
            self.close_windows(at);
            self.aggregator.record(&event, at);
        }
        self.close_windows(Instant::now());
        self.count_open_files();
        *self.reporter.shared.rates.write() = self.aggregator.line_rates(Instant::now(), self.open_files);
    }

    fn close_windows(&mut self, now: Instant) {
        for window in self.aggregator.close_windows(now) {
            // Nobody may be watching.
            let _ = self.watchers.send(window);
        }
    }

    fn count_open_files(&mut self) {
        let due = self.open_files_counted_at.is_none_or(|at| at.elapsed() >= OPEN_FILES_INTERVAL);
        if due {
            self.open_files_counted_at = Some(Instant::now());
            self.open_files = std::fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
        }
    }

    fn report(&self, history_windows: usize) -> StatsReport {
        let now = Instant::now();
        let mut totals = self.aggregator.totals(now);
        totals.samples_dropped = self.reporter.dropped();
        StatsReport {
            now: Now {
                unix_ms: self.aggregator.unix_ms(now),
                open_window: self.aggregator.open_window(now),
                queue_length: self.gauges.front.jobs() as u64,
                queue_capacity: self.gauges.front.capacity() as u64,
                executors: self.gauges.executors as u64,
                executors_busy: self.gauges.front.busy() as u64,
                draining: self.gauges.lifecycle.is_draining(),
                window_seconds: self.aggregator.window_length().as_secs_f64(),
                open_files: self.open_files,
                state: self.gauges.state.stats(),
            },
            totals,
            history: self.aggregator.history(history_windows),
        }
    }
}

impl Actor for StatsActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        ctx.run_interval(TICK, |actor, _| actor.tick());
    }
}

impl Handler<GetReport> for StatsActor {
    type Result = MessageResult<GetReport>;

    fn handle(&mut self, request: GetReport, _: &mut Self::Context) -> Self::Result {
        self.tick();
        MessageResult(self.report(request.history_windows))
    }
}

impl Handler<WatchWindows> for StatsActor {
    type Result = MessageResult<WatchWindows>;

    fn handle(&mut self, _: WatchWindows, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.watchers.subscribe())
    }
}

/// The way to ask the stats actor.
#[derive(Clone)]
pub struct StatsHandle {
    pub(super) stats: Addr<StatsActor>,
    pub(super) reporter: StatsReporter,
}

impl StatsHandle {
    /// Returns the statistics; `None` once the actor has stopped.
    pub async fn report(&self, history_windows: usize) -> Option<StatsReport> {
        self.stats.send(GetReport { history_windows }).await.ok()
    }

    /// Returns the windows closed from now on; `None` once the actor has stopped.
    pub async fn watch(&self) -> Option<broadcast::Receiver<Arc<Window>>> {
        self.stats.send(WatchWindows).await.ok()
    }

    /// Returns the way in for samples.
    pub fn reporter(&self) -> &StatsReporter {
        &self.reporter
    }
}
