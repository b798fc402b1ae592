//! What the demo prints at the end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Progress;
use zkevm_tools::table::Table;
use zkevm_wire::proto::stats::v1::{GetStatsResponse, Window};

/// Prints the closed windows and the summary.
pub(super) fn print(stats: &GetStatsResponse, progress: &Progress, elapsed: Duration) {
    let mut table = Table::new(&[
        "window",
        "seconds",
        "batches",
        "failed",
        "txs",
        "txs/s",
        "Mgas",
        "Mgas/s",
        "busy",
        "queue wait",
        "p50",
        "p90",
        "p99",
        "max",
    ]);
    for window in &stats.history {
        table.row(row(window));
    }
    println!("\n{table}");
    let [batches, txs, gas, errors] = progress.load();
    let seconds = elapsed.as_secs_f64();
    println!("seconds    {seconds:.1}");
    println!("batches    {batches}  ({:.1} per second)", batches as f64 / seconds);
    println!("txs        {txs}  ({:.0} per second)", txs as f64 / seconds);
    println!("gas        {gas}  ({:.1} million per second)", gas as f64 / seconds / 1e6);
    println!("errors     {errors}");
    for error in progress.first_errors.lock().iter() {
        println!("           {error}");
    }
    if let Some(totals) = &stats.totals {
        let counted = totals.sums.as_ref().map_or(0, |sums| sums.batches);
        println!("server     counted {counted} batches; {} samples dropped", totals.samples_dropped);
    }
    debug_assert!(progress.stop.load(Ordering::Relaxed));
}

fn row(window: &Window) -> Vec<String> {
    let sums = window.sums.unwrap_or_default();
    let rates = window.rates.unwrap_or_default();
    let latency = window.latency.unwrap_or_default();
    let in_ms = |seconds: f64| format!("{:.1} ms", seconds * 1e3);
    let mean_wait = if sums.batches == 0 { 0.0 } else { sums.queue_wait_seconds / sums.batches as f64 };
    vec![
        window.sequence.to_string(),
        format!("{:.1}", window.seconds),
        sums.batches.to_string(),
        sums.failed_batches.to_string(),
        sums.txs.to_string(),
        format!("{:.0}", rates.txs_per_second),
        format!("{:.1}", sums.gas as f64 / 1e6),
        format!("{:.1}", rates.gas_per_second / 1e6),
        format!("{:.2}", rates.executors_busy),
        in_ms(mean_wait),
        in_ms(latency.p50_seconds),
        in_ms(latency.p90_seconds),
        in_ms(latency.p99_seconds),
        in_ms(latency.max_seconds),
    ]
}
