//! Attacks on limits of state, of the database and of time: rows of the table that `limits.rs` prints.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tonic::transport::Channel;
use zkevm_wire::proto::hashdb::v1 as hashdb;
use zkevm_wire::proto::hashdb::v1::hash_db_service_client::HashDbServiceClient;

use crate::limits::{ATTACK, Beside, PREFACE, Row, Target, is_asked_for, looping, of_code, row, start, uncounted};
use crate::support::{A, call_of, traced, with_code};

/// Nodes of one LoadDB.
const NODES: u64 = 50_000;
/// Time until SIGTERM, and the time that draining may take, in seconds.
const DRAIN_AFTER: Duration = Duration::from_secs(3);
const DRAIN_SECONDS: u64 = 3;
/// Enough for some more seconds of work: nearly as many as the queue takes.
const DRAIN_CALLERS: usize = 400;
/// Time in which a server that drains must have ended.
const END_MAX: Duration = Duration::from_secs(60);

/// Returns the rows that are asked for.
pub(crate) async fn rows() -> Vec<Row> {
    let folder = tempfile::tempdir().unwrap();
    let path = format!("store.path={}", folder.path().display());
    let rows = [
        row(
            "limits.keepalive_seconds (2), _timeout (1)",
            "900 connections that answer no ping",
            &["limits.keepalive_seconds=2", "limits.keepalive_timeout_seconds=1"],
            |to| async move { to.idle(to.grpc, 900, 1, PREFACE).await },
        )
        .await,
        row(
            "limits.answer_mib, memory_mib",
            "traces of 372 MB, 3 callers",
            // Else it would end where the counters do.
            &["counters.policy=report"],
            |to| async move {
                let request = with_code(call_of(1, 10_000_000), A, looping("", "").into());
                to.flood(3, traced(request, false)).await;
            },
        )
        .await,
        row(
            "state.permanent_mib (256)",
            "50 000 nodes that are new with each LoadDB, 4 callers",
            &["state.permanent_mib=256"],
            |to| load_new_nodes(to, 4),
        )
        .await,
        row(
            "store.backlog_mib (64), cache_mib (64)",
            "50 000 nodes that are new with each LoadDB, 4 callers",
            &["store.kind=embedded", &path, "store.backlog_mib=64", "store.cache_mib=64"],
            |to| load_new_nodes(to, 4),
        )
        .await,
        drained().await,
    ];
    rows.into_iter().flatten().collect()
}

/// Loads nodes that nobody has loaded before, for good, from so many callers.
async fn load_new_nodes(to: Target, callers: u64) {
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let channel = Channel::from_shared(format!("http://{}", to.hashdb)).unwrap().connect().await.unwrap();
        let mut client = HashDbServiceClient::new(channel).max_encoding_message_size(usize::MAX);
        tasks.spawn(async move {
            let ends = Instant::now() + ATTACK;
            let mut from = caller << 40;
            while Instant::now() < ends {
                let input_db = new_nodes(from);
                from += NODES;
                let request = hashdb::LoadDbRequest { input_db, persistent: true, ..Default::default() };
                let _ = client.load_db(request).await;
            }
        });
    }
    tasks.join_all().await;
}

fn new_nodes(from: u64) -> BTreeMap<String, hashdb::FeList> {
    let nodes: Vec<[u64; 12]> = (from..from + NODES).map(|number| [number; 12]).collect();
    let hashes = zkevm_tree::poseidon::hashes_of(&nodes);
    let entry = |(hash, node): (&zkevm_tree::Digest, &[u64; 12])| {
        (format!("{:x}", hash.to_b256()), hashdb::FeList { fe: node.to_vec() })
    };
    hashes.iter().zip(&nodes).map(entry).collect()
}

/// Tells a server to stop that has more work than it may still do. Its recovery is its end.
async fn drained() -> Option<Row> {
    let limit = "executor.drain_seconds (3)";
    if !is_asked_for(limit) {
        return None;
    }
    let (mut process, target) = start(&[&format!("executor.drain_seconds={DRAIN_SECONDS}")]);
    let beside = Beside::start(target);
    let request = uncounted(of_code(looping("", "push 100000\npush 0\nkeccak256\npop"), 40));
    let flood = tokio::spawn(async move { target.flood(DRAIN_CALLERS, request).await });
    tokio::time::sleep(DRAIN_AFTER).await;
    let (times, failed) = beside.end();
    let begun = Instant::now();
    let peak_mib = crate::limits::peak_mib(process.id());
    process.terminate();
    while !process.has_ended() {
        assert!(begun.elapsed() < END_MAX, "the server does not end");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let recovered = begun.elapsed();
    flood.abort();
    let at_least = Duration::from_secs(DRAIN_SECONDS);
    assert!(
        recovered >= at_least / 2 && recovered < at_least + Duration::from_secs(10),
        "it ended after {recovered:?}"
    );
    Some(
        Row {
            limit,
            attack: "SIGTERM while 400 callers have batches that run up to the step limit",
            peak_mib,
            times,
            failed,
            recovered,
        }
        .print(),
    )
}
