//! `/metrics`: the statistics as Prometheus text, counters ending in `_total`, times in seconds.
//!
//! The values belong to others; a scrape takes a copy of them, which the encoder of `prometheus-client` writes. Rates
//! are left to Prometheus, which takes them over any stretch of time.

use std::collections::BTreeMap;
use std::fmt::{self, Display};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet, prometheus_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::debug::Diagnosis;
use crate::actors::stats::{StatsReport, Totals};
use crate::capture::FileWriterStats;
use zkevm_pool::memory::MemoryBudget;
use zkevm_processor::PrefixStats;
use zkevm_store::StateStats;

pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Renders every metric.
pub(super) fn render(report: StatsReport, diagnosis: &Diagnosis) -> Result<String, fmt::Error> {
    let (open_files, start_unix_ms) = (report.now.open_files, report.totals.start_unix_ms);
    let files = diagnosis.file_writer.stats();
    let (memory, slow_batches) = (diagnosis.memory.clone(), diagnosis.running.slow_batches());
    let prefixes = diagnosis.prefixes.stats();
    let executor = Executor { report, files, slow_batches, memory, prefixes };
    let process = Process { open_files, start_unix_ms, resident_bytes: resident_bytes() };

    let mut registry = Registry::default();
    registry.sub_registry_with_prefix("zkevm_executor").register_collector(Box::new(executor));
    registry.sub_registry_with_prefix("process").register_collector(Box::new(process));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

/// The metrics of the service: their names begin with `zkevm_executor_`.
#[derive(Debug)]
struct Executor {
    report: StatsReport,
    files: FileWriterStats,
    slow_batches: u64,
    memory: MemoryBudget,
    prefixes: PrefixStats,
}

/// The metrics of a process, under the names that Prometheus' own clients give them: `process_…`.
#[derive(Debug)]
struct Process {
    open_files: u64,
    start_unix_ms: u64,
    resident_bytes: Option<u64>,
}

impl Collector for Executor {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Exposition(encoder);
        let StatsReport { now, totals, .. } = &self.report;
        batches(&mut to, totals)?;
        latency(&mut to, totals)?;

        to.gauge("queue_length", "Batches waiting for an executor.", now.queue_length)?;
        to.gauge("queue_capacity", "Batches that may wait.", now.queue_capacity)?;
        to.gauge("executors", "Executor actors.", now.executors)?;
        to.gauge("executors_busy", "Executor actors with a batch at hand.", now.executors_busy)?;
        to.gauge("draining", "1 when new batches are refused.", u32::from(now.draining))?;
        to.gauge("start_time_seconds", "Unix time of the start.", totals.start_unix_ms as f64 / 1e3)?;
        to.gauge("open_files", "Open file descriptors.", now.open_files)?;
        state(&mut to, &now.state)?;
        memory(&mut to, &self.memory)?;
        prefixes(&mut to, self.prefixes)?;

        to.counter("slow_batches", "Batches longer than the limit.", self.slow_batches)?;
        to.counter("files_saved", "Files of requests written.", self.files.saved)?;
        to.counter("files_dropped", "Files of requests lost because too many were waiting.", self.files.dropped)?;
        to.counter("files_failed", "Files of requests the disk refused.", self.files.failed)?;

        let version = [("version", env!("CARGO_PKG_VERSION"))];
        to.0.encode_descriptor("build", "1, with the version of the program.", None, MetricType::Info)?
            .encode_info(&version)
    }
}

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut to = Exposition(encoder);
        to.gauge("open_fds", "Open file descriptors.", self.open_files)?;
        to.gauge("start_time_seconds", "Unix time of the start.", self.start_unix_ms as f64 / 1e3)?;
        if let Some(bytes) = self.resident_bytes {
            to.gauge("resident_memory_bytes", "Memory of the process in RAM.", bytes)?;
        }
        Ok(())
    }
}

fn batches(to: &mut Exposition<'_>, totals: &Totals) -> fmt::Result {
    let sums = &totals.sums;
    to.counter("batches", "Batches executed, failed ones included.", sums.batches)?;
    to.counter("failed_batches", "Batches that failed as a whole.", sums.failed_batches)?;
    to.counter("gas", "L2 gas used.", sums.gas)?;
    to.counter("batch_data_bytes", "Bytes of batch_l2_data.", sums.bytes)?;
    to.counter("transactions", "L2 transactions executed.", sums.txs)?;
    to.counter("busy_seconds", "Executor time, summed over executors.", sums.busy_seconds)?;
    to.counter("queue_wait_seconds", "Time batches waited for an executor.", sums.queue_wait_seconds)?;
    to.counter("refused_calls", "Calls refused: queue or state full, or draining.", sums.refused)?;
    to.counter("cancelled_batches", "Batches given up because the client left.", sums.cancelled)?;
    let expired = "Calls given up because a deadline passed: the client's, or that for receiving.";
    to.counter("expired_batches", expired, sums.expired)?;
    to.counter("invalid_requests", "Requests that failed validation.", sums.invalid_requests)?;
    to.counter("panics", "Batches that made an executor panic.", totals.executor_panics)?;
    to.counter("restarts", "Executors started again after a panic.", totals.executor_restarts)?;
    to.counter("dropped_samples", "Statistics samples lost.", totals.samples_dropped)?;

    to.counter("rom_steps", "Steps of ROMs that were run.", totals.rom_steps)?;
    to.counter("rom_seconds", "Time that running ROMs took.", totals.rom_seconds)?;
    to.counters("engine_batches", "Batches by the engine that answered.", "engine", &totals.batches_by_engine)?;
    let differing = "Batches that the two engines answered differently, by field.";
    to.counters("engine_differences", differing, "field", &totals.engine_differences)?;

    to.counters("calls", "Calls by RPC.", "rpc", &totals.calls_by_rpc)?;
    let failed = "Calls by RPC that ended with a status other than OK, or without an answer.";
    to.counters("failed_calls", failed, "rpc", &totals.failed_calls_by_rpc)?;
    let seconds = "Time from the headers of calls to their answers by RPC.";
    to.counters("call_seconds", seconds, "rpc", &totals.call_seconds_by_rpc)?;
    to.counters("fork_batches", "Batches by fork id.", "fork_id", &totals.batches_by_fork_id)?;
    to.counters("answers", "Answers by ExecutorError.", "error", &totals.answers_by_executor_error)?;
    to.counters("batch_rom_errors", "Batches by RomError.", "error", &totals.batches_by_rom_error)?;
    to.counters("transaction_rom_errors", "Transactions by RomError.", "error", &totals.txs_by_rom_error)
}

fn latency(to: &mut Exposition<'_>, totals: &Totals) -> fmt::Result {
    // The encoder sums up; our buckets hold those of smaller bounds already.
    let mut below = 0;
    let buckets: Vec<(f64, u64)> = totals
        .latency_buckets
        .iter()
        .map(|bucket| {
            let own = bucket.batches.saturating_sub(below);
            below = bucket.batches;
            (bucket.at_most_seconds, own)
        })
        .collect();
    let help = "Time from the arrival of a call to its answer.";
    to.0.encode_descriptor("batch_latency_seconds", help, None, MetricType::Histogram)?.encode_histogram::<NoLabelSet>(
        totals.latency_seconds_sum,
        totals.latency_batches,
        &buckets,
        None,
    )
}

fn state(to: &mut Exposition<'_>, stats: &StateStats) -> fmt::Result {
    let StateStats { memory, cache, flush, integrity } = stats;
    to.counter("state_hits", "Reads of nodes and programs that were kept.", memory.hits)?;
    to.counter("state_misses", "Reads of unknown nodes and programs.", memory.misses)?;
    to.counter("state_evictions", "Volatile nodes and programs given up.", memory.evictions)?;
    to.gauge("state_nodes", "Nodes kept.", memory.nodes as u64)?;
    to.gauge("state_programs", "Programs kept.", memory.programs as u64)?;
    to.gauge("state_permanent_bytes", "Estimated size of what is permanent.", memory.permanent_bytes as u64)?;
    to.gauge("state_permanent_bytes_max", "Bound of what is permanent.", memory.permanent_bytes_max as u64)?;
    to.gauge("state_volatile_bytes", "Estimated size of volatile entries.", memory.volatile_bytes as u64)?;
    to.gauge("state_volatile_bytes_max", "Bound of volatile entries.", memory.volatile_bytes_max as u64)?;
    to.counter("cache_hits", "Reads answered by the cache over the database.", cache.hits)?;
    to.counter("cache_misses", "Reads the cache over the database could not answer.", cache.misses)?;
    to.gauge("cache_bytes", "Estimated size of the cache over the database.", cache.bytes as u64)?;
    to.gauge("cache_bytes_max", "Bound of the cache over the database.", cache.bytes_max as u64)?;
    to.gauge("flush_last_id", "Flush id handed out last.", flush.last_flush_id)?;
    to.gauge("flush_stored_id", "Flush id up to which everything is stored.", flush.stored_flush_id)?;
    to.gauge("flush_pending_nodes", "Nodes waiting for the database.", flush.pending_nodes)?;
    to.gauge("flush_pending_programs", "Programs waiting for the database.", flush.pending_programs)?;
    let damaged = "Reads that found an entry in the database without the hash it is stored under.";
    to.counter("damaged_entries", damaged, integrity.damaged_entries)?;
    let refused = "Entries of HashDB requests without the hash they were listed under.";
    to.counter("refused_entries", refused, integrity.refused_entries)?;
    to.gauge("store_failing", "1 while state cannot be read or written.", u32::from(integrity.failing))
}

fn memory(to: &mut Exposition<'_>, memory: &MemoryBudget) -> fmt::Result {
    let bounds = memory.bounds();
    to.gauge("call_memory_bytes", "Memory that calls take for what they ask for.", memory.used() as u64)?;
    to.gauge("call_memory_bytes_peak", "The most of it at a time.", memory.peak() as u64)?;
    to.gauge("call_memory_bytes_max", "Bound of all calls together.", bounds.all_max as u64)?;
    to.counter("call_memory_refused", "Calls that met a bound of memory or of their answer.", memory.refused())
}

fn prefixes(to: &mut Exposition<'_>, stats: PrefixStats) -> fmt::Result {
    to.counter("prefix_reused", "Batches that went on from one that was remembered.", stats.reused)?;
    to.counter("prefix_reused_blocks", "Blocks that did not run again for it.", stats.reused_blocks)?;
    to.counter("prefix_unknown", "Batches of which no beginning was remembered.", stats.unknown)?;
    let uncovered = "Batches that did not bring what their remembered beginning read.";
    to.counter("prefix_uncovered", uncovered, stats.uncovered)?;
    let reruns = "Batches that went on from one that was remembered, ended badly, and ran again from their start.";
    to.counter("prefix_reruns", reruns, stats.reruns)?;
    to.counter("prefix_evictions", "Remembered batches that gave way.", stats.evictions)?;
    to.gauge("prefix_entries", "Batches that are remembered.", stats.entries as u64)?;
    to.gauge("prefix_bytes", "Estimated size of them.", stats.bytes as u64)?;
    to.gauge("prefix_bytes_max", "Bound of it.", stats.bytes_max as u64)
}

/// The encoder, with a word for each kind of metric.
struct Exposition<'a>(DescriptorEncoder<'a>);

impl Exposition<'_> {
    /// Writes a counter; the encoder appends `_total` to its name.
    fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    /// Writes a counter for each value of a label.
    fn counters<K: Display, V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &BTreeMap<K, V>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        values.iter().try_for_each(|(key, value)| {
            let labels = [(label, key.to_string())];
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, V, u64>(value, None)
        })
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }
}

/// Returns the memory in RAM by Linux' own account; `None` elsewhere.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn the_memory_of_this_process_is_known() {
        assert!(super::resident_bytes().is_some_and(|bytes| bytes > 1 << 20));
    }
}
