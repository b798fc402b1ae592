//! The dashboard, the alert rules and `/metrics` fit together.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::TestServer;
use zkevm_testkit::skip;

const DASHBOARD: &str = include_str!("../../../config/grafana/zkevm-executor.json");
const ALERTS: &str = include_str!("../../../config/prometheus/alerts.yml");

/// Names of metrics in a text, without the endings of histograms.
fn metrics(text: &str) -> BTreeSet<&str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let ours = words.filter(|word| word.starts_with("zkevm_executor_") || word.starts_with("process_"));
    ours.map(|word| word.strip_suffix("_bucket").unwrap_or(word)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_dashboard_and_the_alerts_exists() {
    let server = TestServer::start().await;
    let (_, page) = server.get("/metrics").await;
    let known: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ").and_then(|line| line.split(' ').next())).collect();
    serde_json::from_str::<serde_json::Value>(DASHBOARD).expect("the dashboard is JSON");
    for (what, text, at_least) in [("dashboard", DASHBOARD, 25), ("alerts", ALERTS, 9)] {
        let used = metrics(text);
        assert!(used.len() >= at_least, "{what}: {used:?}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{what}: no such metrics: {unknown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_finds_nothing() {
    if Command::new("promtool").arg("--version").output().is_err() {
        skip::missing_tool("no promtool (Debian's package prometheus)");
        return;
    }
    let server = TestServer::start().await;
    server.assert_healthy().await;
    let (_, page) = server.get("/metrics").await;
    let mut check = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let output = check.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/prometheus");
    for (kind, file) in [("rules", "alerts.yml"), ("config", "prometheus.yml")] {
        let output = Command::new("promtool").args(["check", kind]).arg(folder.join(file)).output().unwrap();
        assert!(output.status.success(), "{kind}: {output:?}");
    }
}
