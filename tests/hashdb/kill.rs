//! Killing the server in the middle of writing: what it said is stored is there, whole.
//!
//! `ZKEVM_KILL_ROUNDS=50 cargo test --release --test hashdb killed -- --nocapture` runs longer.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use revm::primitives::U256;
use tokio::sync::Notify;
use zkevm_store::{Database, EmbeddedDatabase, PostgresDatabase, PostgresOptions};
use zkevm_tree::{Digest, TreeCheck};
use zkevm_wire::proto::hashdb::v1::hash_db_service_client::HashDbServiceClient;

use super::postgres_server::PostgresServer;
use super::support::*;

const ROUNDS: u64 = 3;
const WRITERS: u64 = 4;
/// Leaves of one flush.
const LEAVES: u64 = 20;

/// The server as a process of its own.
struct Process {
    child: Child,
    hashdb: SocketAddr,
}

impl Process {
    fn start(store: &[String]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_zkevm-executor"))
            .args(["serve", "--port", "0", "--http-port", "0", "--hashdb-port", "0", "--threads", "1"])
            .args(["--set", "grpc.host=127.0.0.1", "--set", "http.host=127.0.0.1", "--set", "store.cache_mib=16"])
            .args(store)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains("HashDB server listening on")));
        let line = line.expect("the server starts").unwrap();
        // Nobody reads on: keep the pipe from filling up.
        std::thread::spawn(move || lines.count());
        let address = line.rsplit(' ').next().unwrap().trim();
        Self { child, hashdb: address.parse().unwrap_or_else(|_| panic!("no address in {line:?}")) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Flushes one root after the other until the server is gone; returns them with their ids.
async fn write(address: SocketAddr, writer: u64, round: u64) -> Vec<(Digest, u64)> {
    let client = HashDbServiceClient::new(connect(address).await);
    let (mut root, mut flushed) = (Digest::ZERO, Vec::new());
    for number in 0.. {
        let Ok(mut session) = Session::try_start(client.clone(), root).await else { return flushed };
        for leaf in 0..LEAVES {
            let place = number * LEAVES + leaf;
            let key = Digest([place.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1, writer, place, round]);
            if session.try_set(key, U256::from(place + 1)).await.is_err() {
                return flushed;
            }
        }
        let Ok(answer) = session.try_flush().await else { return flushed };
        root = answer.0;
        flushed.push(answer);
    }
    flushed
}

/// Returns the highest id the server said is stored, until it is gone; says when there is one.
async fn watch(address: SocketAddr, any_stored: Arc<Notify>) -> u64 {
    let mut client = HashDbServiceClient::new(connect(address).await);
    let mut stored = 0;
    while let Ok(status) = client.get_flush_status(()).await {
        let now = status.into_inner().stored_flush_id;
        assert!(now >= stored, "the stored id went back from {stored} to {now}");
        stored = now;
        if stored > 0 {
            any_stored.notify_one();
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    stored
}

/// Kills a server over this store again and again; `open` opens the database while no server has it.
async fn kill_rounds(store: &[String], open: impl Fn() -> Box<dyn Database>) {
    let rounds = std::env::var("ZKEVM_KILL_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(ROUNDS);
    let (mut roots, mut acknowledged, mut lost) = (Vec::new(), 0, 0);
    for round in 0..rounds {
        let process = Process::start(store);
        let writers: Vec<_> = (0..WRITERS).map(|writer| tokio::spawn(write(process.hashdb, writer, round))).collect();
        let any_stored = Arc::new(Notify::new());
        let watcher = tokio::spawn(watch(process.hashdb, Arc::clone(&any_stored)));
        // On a busy machine the first commit takes its time.
        tokio::time::timeout(Duration::from_secs(60), any_stored.notified()).await.expect("something is stored");
        // Not always at the same point of a commit.
        tokio::time::sleep(Duration::from_millis(300 + round * 37 % 500)).await;
        drop(process);
        let stored = watcher.await.unwrap();
        for writer in writers {
            for (root, flush_id) in writer.await.unwrap() {
                if flush_id <= stored {
                    roots.push(root);
                    acknowledged += 1;
                } else {
                    lost += 1;
                }
            }
        }
        tokio::task::block_in_place(|| {
            let reopened = Instant::now();
            let database = open();
            let reopened = reopened.elapsed();
            let mut check = TreeCheck::new(&*database);
            for root in &roots {
                check.check(*root).unwrap_or_else(|error| panic!("round {round}, root {}: {error}", hex(*root)));
            }
            let latest = database.latest_root().unwrap();
            assert_ne!(latest, Digest::ZERO, "round {round}");
            check.check(latest).unwrap_or_else(|error| panic!("round {round}, latest root: {error}"));
            println!(
                "round {round}: {acknowledged} roots said to be stored are whole, {lost} were not yet, opened in {reopened:?}"
            );
        });
    }
    assert!(acknowledged > 0, "nothing was ever stored");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_said_is_stored_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    kill_rounds(&["--data".to_owned(), path.display().to_string()], || {
        Box::new(EmbeddedDatabase::open(path, 1 << 24, Duration::from_secs(5)).unwrap())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_server_said_is_stored_in_postgresql_is_whole() {
    let Some(postgres) = PostgresServer::start("killed server over PostgreSQL") else { return };
    let options = PostgresOptions::new(&postgres.url());
    let store = ["--init-db".to_owned(), "--set".to_owned(), format!("store.url={}", postgres.url())];
    kill_rounds(&store, || Box::new(PostgresDatabase::open(options.clone(), false, true).unwrap())).await;
}
