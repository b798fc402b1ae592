//! Prometheus text exposition of a [`StatsReport`]: counters end in `_total`, times are in seconds.

use std::fmt::{Display, Write};

use super::debug::{self, Diagnosis};
use crate::actors::stats::{StatsReport, Totals};
use zkevm_store::StateStats;

pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Renders every metric. Rates are left to Prometheus, which takes them over any stretch of time.
pub(super) fn render(report: &StatsReport, diagnosis: &Diagnosis) -> String {
    let mut text = Exposition::default();
    let StatsReport { now, totals, .. } = report;
    let sums = &totals.sums;

    text.counter("batches_total", "Batches executed, failed ones included.", sums.batches);
    text.counter("failed_batches_total", "Batches that failed as a whole.", sums.failed_batches);
    text.counter("gas_total", "L2 gas used.", sums.gas);
    text.counter("batch_data_bytes_total", "Bytes of batch_l2_data.", sums.bytes);
    text.counter("transactions_total", "L2 transactions executed.", sums.txs);
    text.counter("busy_seconds_total", "Executor time, summed over executors.", sums.busy_seconds);
    text.counter("queue_wait_seconds_total", "Time batches waited for an executor.", sums.queue_wait_seconds);
    text.counter("refused_calls_total", "Calls refused: queue or state full, or draining.", sums.refused);
    text.counter("cancelled_batches_total", "Batches given up because the client left.", sums.cancelled);
    text.counter(
        "expired_batches_total",
        "Calls given up because a deadline passed: the client's, or that for receiving.",
        sums.expired,
    );
    text.counter("invalid_requests_total", "Requests that failed validation.", sums.invalid_requests);
    text.counter("panics_total", "Batches that made an executor panic.", totals.executor_panics);
    text.counter("restarts_total", "Executors started again after a panic.", totals.executor_restarts);
    text.counter("dropped_samples_total", "Statistics samples lost.", totals.samples_dropped);

    text.labelled("calls_total", "Calls by RPC.", "rpc", &totals.calls_by_rpc);
    text.labelled("fork_batches_total", "Batches by fork id.", "fork_id", &totals.batches_by_fork_id);
    text.labelled("answers_total", "Answers by ExecutorError.", "error", &totals.answers_by_executor_error);
    text.labelled("batch_rom_errors_total", "Batches by RomError.", "error", &totals.batches_by_rom_error);
    text.labelled("transaction_rom_errors_total", "Transactions by RomError.", "error", &totals.txs_by_rom_error);

    text.latency_histogram(totals);

    text.gauge("queue_length", "Batches waiting for an executor.", now.queue_length);
    text.gauge("queue_capacity", "Batches that may wait.", now.queue_capacity);
    text.gauge("executors", "Executor actors.", now.executors);
    text.gauge("executors_busy", "Executor actors with a batch at hand.", now.executors_busy);
    text.gauge("draining", "1 when new batches are refused.", u8::from(now.draining));
    text.gauge("start_time_seconds", "Unix time of the start.", totals.start_unix_ms as f64 / 1e3);
    text.gauge("open_files", "Open file descriptors.", now.open_files);
    text.state(&now.state);
    debug::metrics(&mut text, diagnosis);
    text.header("build_info", "1, with the version of the program.", "gauge");
    text.line("build_info", concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}"), 1);
    text.process(now.open_files, totals.start_unix_ms);
    text.text
}

#[derive(Default)]
pub(super) struct Exposition {
    text: String,
}

impl Exposition {
    pub(super) fn counter(&mut self, name: &str, help: &str, value: impl Display) {
        self.header(name, help, "counter");
        self.line(name, "", value);
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.header(name, help, "gauge");
        self.line(name, "", value);
    }

    fn state(&mut self, stats: &StateStats) {
        let StateStats { memory: state, cache, flush } = stats;
        self.counter("state_hits_total", "Reads of nodes and programs that were kept.", state.hits);
        self.counter("state_misses_total", "Reads of unknown nodes and programs.", state.misses);
        self.counter("state_evictions_total", "Volatile nodes and programs given up.", state.evictions);
        self.gauge("state_nodes", "Nodes kept.", state.nodes);
        self.gauge("state_programs", "Programs kept.", state.programs);
        self.gauge("state_permanent_bytes", "Estimated size of permanent state.", state.permanent_bytes);
        self.gauge("state_permanent_bytes_max", "Bound of permanent state.", state.permanent_bytes_max);
        self.gauge("state_volatile_bytes", "Estimated size of volatile entries.", state.volatile_bytes);
        self.gauge("state_volatile_bytes_max", "Bound of volatile entries.", state.volatile_bytes_max);
        self.counter("cache_hits_total", "Reads answered by the cache over the database.", cache.hits);
        self.counter("cache_misses_total", "Reads the cache over the database could not answer.", cache.misses);
        self.gauge("cache_bytes", "Estimated size of the cache over the database.", cache.bytes);
        self.gauge("cache_bytes_max", "Bound of the cache over the database.", cache.bytes_max);
        self.gauge("flush_last_id", "Flush id handed out last.", flush.last_flush_id);
        self.gauge("flush_stored_id", "Flush id up to which everything is stored.", flush.stored_flush_id);
        self.gauge("flush_pending_nodes", "Nodes waiting for the database.", flush.pending_nodes);
        self.gauge("flush_pending_programs", "Programs waiting for the database.", flush.pending_programs);
    }

    fn labelled<K: Display>(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        values: &std::collections::BTreeMap<K, u64>,
    ) {
        self.header(name, help, "counter");
        for (key, value) in values {
            self.line(name, &format!("{{{label}=\"{key}\"}}"), value);
        }
    }

    fn latency_histogram(&mut self, totals: &Totals) {
        let name = "batch_latency_seconds";
        self.header(name, "Time from the arrival of a call to its answer.", "histogram");
        for bucket in &totals.latency_buckets {
            self.line(&format!("{name}_bucket"), &format!("{{le=\"{}\"}}", bucket.at_most_seconds), bucket.batches);
        }
        let all = totals.latency_batches;
        self.line(&format!("{name}_bucket"), "{le=\"+Inf\"}", all);
        self.line(&format!("{name}_sum"), "", totals.latency_seconds_sum);
        self.line(&format!("{name}_count"), "", all);
    }

    /// The metrics of a process under the names that Prometheus' own clients give them.
    fn process(&mut self, open_files: u64, start_unix_ms: u64) {
        let mut gauge = |name: &str, help: &str, value: f64| {
            let _ = writeln!(
                self.text,
                "# HELP process_{name} {help}\n# TYPE process_{name} gauge\nprocess_{name} {value}"
            );
        };
        gauge("open_fds", "Open file descriptors.", open_files as f64);
        gauge("start_time_seconds", "Unix time of the start.", start_unix_ms as f64 / 1e3);
        if let Some(bytes) = resident_bytes() {
            gauge("resident_memory_bytes", "Memory of the process in RAM.", bytes as f64);
        }
    }

    fn header(&mut self, name: &str, help: &str, kind: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP zkevm_executor_{name} {help}\n# TYPE zkevm_executor_{name} {kind}");
    }

    fn line(&mut self, name: &str, labels: &str, value: impl Display) {
        let _ = writeln!(self.text, "zkevm_executor_{name}{labels} {value}");
    }
}

/// Memory in RAM by Linux' own account; `None` elsewhere.
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
