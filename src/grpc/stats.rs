//! `stats.v1.StatsService`: the stats actor's answers as messages.

use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use tokio_stream::wrappers::BroadcastStream;
use tonic::{Request, Response, Status};

use super::status::statistics_stopped;
use crate::actors::stats::{Latency, Now, Rates, StatsHandle, StatsReport, Sums, Totals, Window};
use crate::actors::{Lifecycle, Phase};
use zkevm_store::{CacheStats, FlushStatus, IntegrityStats, MemoryStoreStats};
use zkevm_wire::proto::stats::v1 as wire;
use zkevm_wire::proto::stats::v1::stats_service_server::StatsService;

/// The statistics service.
#[derive(Clone)]
pub struct StatsApi {
    stats: StatsHandle,
    lifecycle: Lifecycle,
}

impl StatsApi {
    /// Creates the service over a running stats actor.
    pub fn new(stats: StatsHandle, lifecycle: Lifecycle) -> Self {
        Self { stats, lifecycle }
    }
}

#[tonic::async_trait]
impl StatsService for StatsApi {
    type WatchStatsStream = Pin<Box<dyn Stream<Item = Result<wire::Window, Status>> + Send>>;

    async fn get_stats(
        &self,
        request: Request<wire::GetStatsRequest>,
    ) -> Result<Response<wire::GetStatsResponse>, Status> {
        let windows = request.into_inner().history_windows as usize;
        let report = self.stats.report(windows).await.ok_or_else(statistics_stopped)?;
        Ok(Response::new(report.into()))
    }

    async fn watch_stats(
        &self,
        _: Request<wire::WatchStatsRequest>,
    ) -> Result<Response<Self::WatchStatsStream>, Status> {
        let windows = self.stats.watch().await.ok_or_else(statistics_stopped)?;
        let lifecycle = self.lifecycle.clone();
        let stream = BroadcastStream::new(windows)
            // A watcher that lagged goes on with the oldest window still there.
            .filter_map(|window| async { window.ok().map(|window| Ok(wire::Window::from(&*window))) })
            .take_until(async move { lifecycle.reached(Phase::Stopping).await });
        Ok(Response::new(Box::pin(stream)))
    }
}

impl From<StatsReport> for wire::GetStatsResponse {
    fn from(report: StatsReport) -> Self {
        Self {
            now: Some(report.now.into()),
            totals: Some(report.totals.into()),
            history: report.history.iter().map(wire::Window::from).collect(),
        }
    }
}

impl From<Now> for wire::Now {
    fn from(now: Now) -> Self {
        Self {
            unix_ms: now.unix_ms,
            open_window: Some(wire::Window::from(&now.open_window)),
            queue_length: now.queue_length,
            queue_capacity: now.queue_capacity,
            executors: now.executors,
            executors_busy: now.executors_busy,
            draining: now.draining,
            window_seconds: now.window_seconds,
            state: Some(state_of(now.state.memory, now.state.integrity)),
            cache: Some(cache_of(now.state.cache)),
            flush: Some(flush_of(now.state.flush)),
        }
    }
}

fn state_of(state: MemoryStoreStats, integrity: IntegrityStats) -> wire::State {
    wire::State {
        nodes: state.nodes as u64,
        programs: state.programs as u64,
        permanent_bytes: state.permanent_bytes as u64,
        permanent_bytes_max: state.permanent_bytes_max as u64,
        volatile_bytes: state.volatile_bytes as u64,
        volatile_bytes_max: state.volatile_bytes_max as u64,
        evictions: state.evictions,
        hits: state.hits,
        misses: state.misses,
        damaged_entries: integrity.damaged_entries,
        refused_entries: integrity.refused_entries,
        failing: integrity.failing,
    }
}

fn cache_of(cache: CacheStats) -> wire::Cache {
    wire::Cache { hits: cache.hits, misses: cache.misses, bytes: cache.bytes as u64, bytes_max: cache.bytes_max as u64 }
}

fn flush_of(flush: FlushStatus) -> wire::Flush {
    wire::Flush {
        last_flush_id: flush.last_flush_id,
        stored_flush_id: flush.stored_flush_id,
        pending_nodes: flush.pending_nodes,
        pending_programs: flush.pending_programs,
    }
}

impl From<&Window> for wire::Window {
    fn from(window: &Window) -> Self {
        Self {
            sequence: window.sequence,
            start_unix_ms: window.start_unix_ms,
            end_unix_ms: window.end_unix_ms,
            seconds: window.seconds,
            sums: Some(window.sums.into()),
            rates: Some(window.rates.into()),
            latency: Some(window.latency.into()),
        }
    }
}

impl From<Sums> for wire::Sums {
    fn from(sums: Sums) -> Self {
        Self {
            batches: sums.batches,
            failed_batches: sums.failed_batches,
            gas: sums.gas,
            bytes: sums.bytes,
            txs: sums.txs,
            busy_seconds: sums.busy_seconds,
            queue_wait_seconds: sums.queue_wait_seconds,
            refused: sums.refused,
            cancelled: sums.cancelled,
            expired: sums.expired,
            invalid_requests: sums.invalid_requests,
        }
    }
}

impl From<Rates> for wire::Rates {
    fn from(rates: Rates) -> Self {
        Self {
            batches_per_second: rates.batches_per_second,
            gas_per_second: rates.gas_per_second,
            bytes_per_second: rates.bytes_per_second,
            txs_per_second: rates.txs_per_second,
            executors_busy: rates.executors_busy,
        }
    }
}

impl From<Latency> for wire::Latency {
    fn from(latency: Latency) -> Self {
        Self {
            p50_seconds: latency.p50_seconds,
            p90_seconds: latency.p90_seconds,
            p99_seconds: latency.p99_seconds,
            max_seconds: latency.max_seconds,
        }
    }
}

impl From<Totals> for wire::Totals {
    fn from(totals: Totals) -> Self {
        let named = |counts: std::collections::BTreeMap<&'static str, u64>| {
            counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
        };
        Self {
            start_unix_ms: totals.start_unix_ms,
            seconds: totals.seconds,
            sums: Some(totals.sums.into()),
            rates: Some(totals.rates.into()),
            latency: Some(totals.latency.into()),
            calls_by_rpc: totals.calls_by_rpc.into_iter().collect(),
            failed_calls_by_rpc: totals.failed_calls_by_rpc.into_iter().collect(),
            call_seconds_by_rpc: totals.call_seconds_by_rpc.into_iter().collect(),
            batches_by_fork_id: totals.batches_by_fork_id,
            answers_by_executor_error: named(totals.answers_by_executor_error),
            batches_by_rom_error: named(totals.batches_by_rom_error),
            txs_by_rom_error: named(totals.txs_by_rom_error),
            executor_panics: totals.executor_panics,
            executor_restarts: totals.executor_restarts,
            samples_dropped: totals.samples_dropped,
            batches_by_engine: named(totals.batches_by_engine),
            engine_differences: named(totals.engine_differences),
            rom_steps: totals.rom_steps,
            rom_seconds: totals.rom_seconds,
        }
    }
}
