//! Summary of a load, as a table and as JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::verify::Verified;
use super::worker::{WorkerResult, histogram};
use crate::table::Table;

/// Wrong answers that are printed.
const WRONG_KEPT: usize = 5;

/// The result of a load; the fields are those of the JSON file.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Summary {
    /// Clients, each with one batch under way.
    pub clients: usize,
    /// Connections held open.
    pub connections: usize,
    /// From the first batch due to the last answer.
    pub seconds: f64,
    /// Batches answered.
    pub batches: u64,
    /// Transactions in them.
    pub txs: u64,
    /// Their L2 gas.
    pub gas: u64,
    /// Batches per second.
    pub batches_per_second: f64,
    /// Transactions per second.
    pub txs_per_second: f64,
    /// L2 gas per second.
    pub gas_per_second: f64,
    /// Calls refused with RESOURCE_EXHAUSTED.
    pub refused: u64,
    /// Batches that were due but that no client was free to send (open loop).
    pub unsent: u64,
    /// Failed calls by gRPC status, refused ones excluded.
    pub errors: BTreeMap<String, u64>,
    /// Wrong answers; the first few.
    pub wrong: Vec<String>,
    /// Roots compared with an execution here.
    pub verified: Verified,
    /// From the intended time of sending to the answer.
    pub latency: Quantiles,
    /// From the actual time of sending to the answer.
    pub service_time: Quantiles,
    /// From sending to being refused.
    pub refusal_time: Quantiles,
}

/// Quantiles of a time in seconds; zero when nothing was measured.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Quantiles {
    /// Number of measurements.
    pub count: u64,
    /// Half took at most this.
    pub p50_seconds: f64,
    /// 90 %.
    pub p90_seconds: f64,
    /// 99 %.
    pub p99_seconds: f64,
    /// 99.9 %.
    pub p999_seconds: f64,
    /// All.
    pub max_seconds: f64,
}

impl Quantiles {
    fn of<'a>(parts: impl Iterator<Item = &'a Histogram<u64>>) -> Self {
        let mut all = histogram();
        for part in parts {
            // All histograms have the same bounds.
            let _ = all.add(part);
        }
        let seconds = |quantile: f64| all.value_at_quantile(quantile) as f64 / 1e6;
        Self {
            count: all.len(),
            p50_seconds: seconds(0.5),
            p90_seconds: seconds(0.9),
            p99_seconds: seconds(0.99),
            p999_seconds: seconds(0.999),
            max_seconds: all.max() as f64 / 1e6,
        }
    }

    fn row(&self, name: &str) -> Vec<String> {
        let times = [self.p50_seconds, self.p90_seconds, self.p99_seconds, self.p999_seconds, self.max_seconds];
        let mut row = vec![name.to_owned(), self.count.to_string()];
        row.extend(times.map(|seconds| format!("{:.2} ms", seconds * 1e3)));
        row
    }
}

impl Summary {
    /// Adds up what the clients saw; `scheduled` is the number of batches due in an open loop.
    pub(super) fn new(results: &[WorkerResult], elapsed: Duration, scheduled: Option<u64>, connections: usize) -> Self {
        let sum = |field: fn(&WorkerResult) -> u64| results.iter().map(field).sum::<u64>();
        let (batches, txs, gas) = (sum(|r| r.batches), sum(|r| r.txs), sum(|r| r.gas));
        let seconds = elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
        let mut errors = BTreeMap::new();
        for (code, count) in results.iter().flat_map(|result| &result.errors) {
            *errors.entry(code.clone()).or_default() += count;
        }
        let wrong = results
            .iter()
            .filter_map(|result| result.wrong.as_ref().map(|wrong| format!("client {}: {wrong}", result.client)));
        Self {
            clients: results.len(),
            connections,
            seconds,
            batches,
            txs,
            gas,
            batches_per_second: batches as f64 / seconds,
            txs_per_second: txs as f64 / seconds,
            gas_per_second: gas as f64 / seconds,
            refused: sum(|r| r.refusal.len()),
            unsent: scheduled.map_or(0, |scheduled| scheduled.saturating_sub(sum(|r| r.due))),
            errors,
            wrong: wrong.take(WRONG_KEPT).collect(),
            verified: Verified::default(),
            latency: Quantiles::of(results.iter().map(|r| &r.latency)),
            service_time: Quantiles::of(results.iter().map(|r| &r.service)),
            refusal_time: Quantiles::of(results.iter().map(|r| &r.refusal)),
        }
    }

    /// Says what was not as it should be. Refused calls are an answer.
    pub(super) fn failure(&self) -> Option<&'static str> {
        if !self.wrong.is_empty() || !self.verified.differences.is_empty() {
            return Some("some answers were wrong");
        }
        if !self.errors.is_empty() {
            return Some("some calls failed");
        }
        (self.batches == 0).then_some("no batch was answered")
    }
}

/// Prints the summary.
pub(super) fn print(summary: &Summary) {
    let s = summary;
    println!("clients    {} over {} connections, {:.1} s", s.clients, s.connections, s.seconds);
    println!("batches    {}  ({:.1} per second)", s.batches, s.batches_per_second);
    println!("txs        {}  ({:.0} per second)", s.txs, s.txs_per_second);
    println!("gas        {}  ({:.1} million per second)", s.gas, s.gas_per_second / 1e6);
    println!("refused    {}, not sent for want of a free client {}", s.refused, s.unsent);
    println!("errors     {}", s.errors.values().sum::<u64>());
    for (code, count) in &s.errors {
        println!("           {code} {count}");
    }
    for wrong in s.wrong.iter().chain(&s.verified.differences) {
        println!("WRONG      {wrong}");
    }
    println!("roots      {} of {} executed again here and compared\n", s.verified.batches, s.batches);
    let mut table = Table::new(&["time", "count", "p50", "p90", "p99", "p99.9", "max"]);
    table.row(s.latency.row("latency, from the intended time"));
    table.row(s.service_time.row("service, from the actual time"));
    table.row(s.refusal_time.row("until refused"));
    println!("{table}");
}
