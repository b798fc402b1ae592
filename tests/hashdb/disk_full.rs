//! A full volume under the database and the log of the process: the server says that it is not ready, and recovers by itself.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use revm::primitives::U256;
use tempfile::TempDir;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use zkevm_store::EmbeddedDatabase;
use zkevm_testkit::skip;
use zkevm_tree::{Digest, linear_hash};
use zkevm_wire::proto::hashdb::v1::hash_db_service_client::HashDbServiceClient;

use super::support::*;

/// Leaves and programs of one flush.
const LEAVES: u64 = 10;
const PROGRAMS: u64 = 3;
const PROGRAM_BYTES: usize = 20_000;
/// Time for the server to notice, and to recover.
const LIMIT: Duration = Duration::from_secs(60);

/// A small volume of its own.
struct Volume {
    folder: TempDir,
}

impl Volume {
    /// Mounts one; `None`, said loudly, where that is not allowed.
    fn mount(test: &str, size: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        if run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], folder.path()) {
            return Some(Self { folder });
        }
        skip::missing_data(&format!("{test}: not allowed to mount a tmpfs"));
        None
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn remount(&self, options: &str) {
        assert!(run("mount", &["-o", &format!("remount,{options}")], self.path()));
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        run("umount", &["-l"], self.path());
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    let output = Command::new(program).args(arguments).arg(path).output();
    output.is_ok_and(|output| output.status.success())
}

/// The server as a process, whose log is on the volume as well.
struct Process {
    child: Child,
    ports: [u16; 3],
}

impl Process {
    fn start(volume: &Path) -> Self {
        let ports = [0; 3].map(|_| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        let log = File::options().append(true).create(true).open(volume.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_zkevm-executor"))
            .args(["serve", "--threads", "1", "--port", &ports[0].to_string(), "--hashdb-port", &ports[1].to_string()])
            .args([
                "--http-port",
                &ports[2].to_string(),
                "--set",
                "grpc.host=127.0.0.1",
                "--set",
                "http.host=127.0.0.1",
            ])
            .args(["--set", "store.cache_mib=4", "--set", "store.backlog_mib=8", "--data"])
            .arg(volume.join("data"))
            .stdout(Stdio::from(log.try_clone().unwrap()))
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        Self { child, ports }
    }

    async fn hashdb(&self) -> HashDbServiceClient<tonic::transport::Channel> {
        HashDbServiceClient::new(connect(([127, 0, 0, 1], self.ports[1]).into()).await)
    }

    /// Status and body of `/readyz`; nothing while the port is not open.
    fn ready(&self) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.ports[2])).ok()?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let status = answer.split(' ').nth(1)?.parse().ok()?;
        Some((status, answer.split("\r\n\r\n").nth(1)?.to_owned()))
    }

    async fn until_ready(&self) {
        let limit = Instant::now() + LIMIT;
        while self.ready().is_none_or(|(status, _)| status != 200) {
            assert!(Instant::now() < limit, "not ready: {:?}", self.ready());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn health(&self, port: u16) -> i32 {
        let mut client = HealthClient::new(connect(([127, 0, 0, 1], port).into()).await);
        client.check(HealthCheckRequest::default()).await.unwrap().into_inner().status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn key(round: u64, leaf: u64) -> Digest {
    Digest([(round * LEAVES + leaf).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1, round, leaf, 7])
}

fn code(round: u64, number: u64) -> Vec<u8> {
    let mut bytes = vec![round as u8; PROGRAM_BYTES];
    bytes[..16].copy_from_slice(&[round.to_be_bytes(), number.to_be_bytes()].concat());
    bytes
}

/// Adds a round of leaves and programs; the root it leads to and its flush id.
async fn write(
    client: &HashDbServiceClient<tonic::transport::Channel>,
    root: Digest,
    round: u64,
) -> Option<(Digest, u64)> {
    let mut session = Session::try_start(client.clone(), root).await.ok()?;
    for leaf in 0..LEAVES {
        session.try_set(key(round, leaf), U256::from(round * LEAVES + leaf + 1)).await.ok()?;
    }
    for number in 0..PROGRAMS {
        let code = code(round, number);
        session.set_program(linear_hash(&code), &code).await;
    }
    session.try_flush().await.ok()
}

/// Reads one leaf of each root: right, or an error. Returns the number of errors.
async fn read(process: &Process, roots: &[(Digest, u64)]) -> usize {
    let (mut client, mut errors) = (process.hashdb().await, 0);
    for (round, (root, _)) in (0..).zip(roots) {
        let (value, code) = get(&mut client, *root, key(round, 3)).await;
        match code {
            SUCCESS => assert_eq!(value, U256::from(round * LEAVES + 4), "round {round} is wrong with a success code"),
            _ => errors += 1,
        }
    }
    errors
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_volume_is_not_ready_and_what_was_taken_is_stored_once_there_is_room() {
    let Some(volume) = Volume::mount("full volume", "12m") else { return };
    let mut process = Process::start(volume.path());
    process.until_ready().await;
    let client = process.hashdb().await;
    let (mut roots, mut root): (Vec<(Digest, u64)>, _) = (Vec::new(), Digest::ZERO);
    let limit = Instant::now() + LIMIT;
    let reason = loop {
        if let Some((503, reason)) = process.ready() {
            break reason;
        }
        assert!(Instant::now() < limit, "the volume does not fill, or nobody says so");
        // Not more than the queue takes: a write beyond waits.
        let status = client.clone().get_flush_status(()).await.unwrap().into_inner();
        if status.last_flush_id > status.stored_flush_id + 10 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        }
        if let Some(written) = write(&client, root, roots.len() as u64).await {
            root = written.0;
            roots.push(written);
        }
    };
    assert!(reason.contains("state cannot be") && reason.contains("No space left"), "{reason}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    for port in [process.ports[0], process.ports[1]] {
        assert_eq!(process.health(port).await, ServingStatus::NotServing as i32);
    }
    read(&process, &roots).await;

    volume.remount("size=200m");
    process.until_ready().await;
    let last = roots[roots.len() - 1].1;
    let recovered = Instant::now();
    stored(&mut process.hashdb().await, last).await;
    assert!(recovered.elapsed() < LIMIT);
    assert_eq!(read(&process, &roots).await, 0, "all that was taken is there without a restart");
    assert_eq!(process.health(process.ports[0]).await, ServingStatus::Serving as i32);
    let round = roots.len() as u64;
    roots.push(write(&client, root, round).await.expect("writes go on"));

    assert!(run("kill", &["-TERM"], &PathBuf::from(process.child.id().to_string())));
    assert!(process.child.wait().unwrap().success());
    let process = Process::start(volume.path());
    process.until_ready().await;
    assert_eq!(read(&process, &roots).await, 0, "all of it is there after a restart");
}

#[test]
fn a_folder_that_cannot_be_written_refuses_the_start_and_is_named() {
    let Some(volume) = Volume::mount("read-only volume", "8m") else { return };
    let folder = volume.path().join("data");
    volume.remount("ro");
    let open = || EmbeddedDatabase::open(&folder, 1 << 20, Duration::ZERO);
    let error = open().err().unwrap().to_string();
    assert!(error.contains(&folder.display().to_string()) && error.contains("Read-only"), "{error}");
    volume.remount("rw");
    drop(open().unwrap());
    volume.remount("ro");
    let error = open().err().unwrap().to_string();
    assert!(error.contains("state.redb") && error.contains("Read-only"), "{error}");
}
