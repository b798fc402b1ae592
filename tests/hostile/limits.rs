//! One attack on each limit of `config/default.toml`, on a server that is a process of its own, beside a client with a small
//! batch every 100 ms. Only with `ZKEVM_HOSTILE=long`: prints the table of docs/operations.md.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tonic::Request;
use tonic::codegen::{Body as HttpBody, Bytes, Service, http};
use tonic::transport::Channel;
use zkevm_testkit::sample::easm::assemble;
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;
use zkevm_wire::proto::hashdb::v1 as hashdb;
use zkevm_wire::proto::hashdb::v1::hash_db_service_client::HashDbServiceClient;
use zkevm_wire::proto::stats::v1::WatchStatsRequest;
use zkevm_wire::proto::stats::v1::stats_service_client::StatsServiceClient;

use crate::limits_of_state;
use crate::process::Process;
use crate::support::{A, B, GAS_MAX, call_of, is_long, traced, with_code};
use crate::unread::{EXECUTE, Unread};

/// Time an attack goes on for.
pub(crate) const ATTACK: Duration = Duration::from_secs(10);
/// Where connections of many peers come from.
const PEERS: u8 = 6;
/// Where the other client comes from: it is a peer of its own.
const OTHER_CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 2, 1));
/// What a client of HTTP/2 says first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The server that is attacked.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) grpc: SocketAddr,
    pub(crate) hashdb: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Target {
    async fn channel(self) -> Channel {
        self.channel_from(None).await
    }

    async fn channel_from(self, peer: Option<IpAddr>) -> Channel {
        let endpoint = Channel::from_shared(format!("http://{}", self.grpc)).unwrap();
        endpoint.local_address(peer).connect().await.unwrap()
    }

    async fn executor(self) -> ExecutorServiceClient<Channel> {
        ExecutorServiceClient::new(self.channel().await)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }

    /// Sends this from so many callers, again and again; answers and refusals are both fine.
    pub(crate) async fn flood(self, callers: usize, request: wire::ProcessBatchRequestV2) {
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let (mut client, request) = (self.executor().await, request.clone());
            tasks.spawn(async move {
                let ends = Instant::now() + ATTACK;
                while Instant::now() < ends {
                    let mut request = Request::new(request.clone());
                    request.set_timeout(ends.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
                    let _ = client.process_batch_v2(request).await;
                }
            });
        }
        tasks.join_all().await;
    }

    /// Opens connections that say `first` and no more, and holds those that stay.
    pub(crate) async fn idle(self, address: SocketAddr, count: usize, peers: u8, first: &[u8]) {
        let mut held = Vec::new();
        for at in 0..count {
            let socket = TcpSocket::new_v4().unwrap();
            let peer = Ipv4Addr::new(127, 0, 1, 1 + (at % usize::from(peers)) as u8);
            socket.bind(SocketAddr::new(IpAddr::V4(peer), 0)).unwrap();
            let Ok(mut stream) = socket.connect(address).await else { continue };
            let _ = stream.write_all(first).await;
            held.push(stream);
        }
        tokio::time::sleep(ATTACK).await;
    }
}

/// What one attack did.
pub(crate) struct Row {
    pub(crate) limit: &'static str,
    pub(crate) attack: &'static str,
    pub(crate) peak_mib: u64,
    /// Times of the other client's calls, the shortest first.
    pub(crate) times: Vec<Duration>,
    pub(crate) failed: usize,
    pub(crate) recovered: Duration,
}

impl Row {
    /// The 99th percentile of the other client's calls.
    fn p99(&self) -> Duration {
        let at = (self.times.len() * 99).div_ceil(100).saturating_sub(1);
        self.times.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn print(self) -> Self {
        let Self { limit, attack, peak_mib, times, failed, recovered } = &self;
        println!(
            "| {limit} | {attack} | {peak_mib} MiB | {} ms of {} | {failed} | {:.1} s |",
            self.p99().as_millis(),
            times.len(),
            recovered.as_secs_f64()
        );
        self
    }
}

/// Peak resident memory of a process.
pub(crate) fn peak_mib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or_default() >> 10
}

/// The other client: sends a small batch every 100 ms from a thread of its own.
pub(crate) struct Beside {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(Vec<Duration>, usize)>,
}

impl Beside {
    pub(crate) fn start(target: Target) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stops = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let mut client = ExecutorServiceClient::new(target.channel_from(Some(OTHER_CLIENT)).await);
                let (mut times, mut failed) = (Vec::new(), 0);
                let mut clock = tokio::time::interval(Duration::from_millis(100));
                while !stops.load(Ordering::Relaxed) {
                    clock.tick().await;
                    let begun = Instant::now();
                    match client.process_batch_v2(call_of(1, 30_000)).await {
                        Ok(_) => times.push(begun.elapsed()),
                        Err(status) => {
                            eprintln!("the other client: {status}");
                            failed += 1;
                        }
                    }
                }
                (times, failed)
            })
        });
        Self { stop, thread }
    }

    /// Stops it; returns the times of its calls, the shortest first, and how many failed.
    pub(crate) fn end(self) -> (Vec<Duration>, usize) {
        self.stop.store(true, Ordering::Relaxed);
        let (mut times, failed) = self.thread.join().unwrap();
        times.sort_unstable();
        (times, failed)
    }
}

/// Waits until no executor is busy and calls hold no memory.
async fn recovered(target: Target) -> Duration {
    let begun = Instant::now();
    loop {
        let text = metrics(target).await;
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|line| line.trim().parse::<f64>().ok()).unwrap_or(f64::MAX)
        };
        // The other client goes on: an executor may be busy with it.
        let is_free = value("zkevm_executor_executors_busy") <= 1.0 && value("zkevm_executor_queue_length") <= 1.0;
        if is_free && value("zkevm_executor_call_memory_bytes") < f64::from(1 << 20) {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "the server does not recover");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn metrics(target: Target) -> String {
    let mut text = String::new();
    if let Ok(mut stream) = TcpStream::connect(target.http).await {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await;
        let _ = stream.read_to_string(&mut text).await;
    }
    text
}

/// True if the row of a limit is to be measured.
pub(crate) fn is_asked_for(limit: &str) -> bool {
    std::env::var("ZKEVM_HOSTILE_ONLY").map_or(true, |only| limit.contains(&only))
}

/// Starts a server with default settings but for these.
pub(crate) fn start(settings: &[&str]) -> (Process, Target) {
    let mut command = Process::binary();
    command.arg("serve").args(["--set=store.kind=memory"]);
    command.args(settings.iter().map(|setting| format!("--set={setting}")));
    let process = Process::start_over_state(&mut command);
    let lines = process.lines();
    let address = lines.iter().find_map(|line| line.split_once("HashDB server listening on ")?.1.trim().parse().ok());
    let target = Target { grpc: process.grpc, hashdb: address.unwrap(), http: process.http };
    (process, target)
}

/// Attacks a fresh server and measures.
pub(crate) async fn row<F: Future<Output = ()>>(
    limit: &'static str,
    attack: &'static str,
    settings: &[&str],
    run: impl FnOnce(Target) -> F,
) -> Option<Row> {
    if !is_asked_for(limit) {
        return None;
    }
    let (process, target) = start(settings);
    let beside = Beside::start(target);
    tokio::time::sleep(Duration::from_millis(300)).await;
    run(target).await;
    let recovered = recovered(target).await;
    let (times, failed) = beside.end();
    Some(Row { limit, attack, peak_mib: peak_mib(process.id()), times, failed, recovered }.print())
}

pub(crate) fn looping(before: &str, again: &str) -> Bytes {
    assemble(&format!("{before}\nagain:\n{again}\npush @again\njump")).unwrap().0
}

pub(crate) fn of_code(code: Bytes, calls: u64) -> wire::ProcessBatchRequestV2 {
    with_code(call_of(calls, GAS_MAX), A, revm::primitives::Bytes(code))
}

pub(crate) fn uncounted(request: wire::ProcessBatchRequestV2) -> wire::ProcessBatchRequestV2 {
    wire::ProcessBatchRequestV2 { no_counters: 1, ..request }
}

/// The body of a request that comes to no end.
struct Unfinished {
    /// Not compressed, and as long as a message may be.
    head: Option<[u8; 5]>,
    left: usize,
}

impl HttpBody for Unfinished {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        const PART: usize = 16_000;
        if let Some(head) = self.head.take() {
            return Poll::Ready(Some(Ok(Frame::data(Bytes::copy_from_slice(&head)))));
        }
        if self.left < PART {
            return Poll::Pending;
        }
        self.left -= PART;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; PART])))))
    }
}

/// Begins a request, sends so many bytes of it, and waits.
fn unfinished(mut channel: Channel, bytes: usize) -> tokio::task::JoinHandle<()> {
    let request = http::Request::post(format!("http://test{EXECUTE}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(Unfinished { head: Some([0, 0x0f, 0xff, 0xff, 0xff]), left: bytes }))
        .unwrap();
    tokio::spawn(async move {
        if std::future::poll_fn(|cx| Service::poll_ready(&mut channel, cx)).await.is_ok() {
            let answer = channel.call(request).await;
            tokio::time::sleep(ATTACK).await;
            drop(answer);
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_limit_is_reached_beside_another_client() {
    if !is_long() {
        return;
    }
    println!("| Limit | Attack | Peak RSS | p99 beside | Failed | Recovered |\n|---|---|---|---|---|---|");
    let mut rows = Vec::new();
    rows.push(
        row("limits.connections, _per_peer", "6 peers open 1 000 idle connections each", &[], |to| async move {
            to.idle(to.grpc, 1000 * usize::from(PEERS), PEERS, PREFACE).await;
        })
        .await,
    );
    rows.push(
        row("limits.handshake_seconds", "900 connections that say nothing", &[], |to| async move {
            to.idle(to.grpc, 900, 1, b"").await;
        })
        .await,
    );
    rows.push(
        row("limits.idle_seconds (3)", "900 connections without calls", &["limits.idle_seconds=3"], |to| async move {
            to.idle(to.grpc, 900, 1, PREFACE).await;
        })
        .await,
    );
    rows.push(
        row("limits.streams_per_connection", "3 000 streams of statistics on one connection", &[], |to| async move {
            let client = StatsServiceClient::new(to.channel().await);
            let mut watches = JoinSet::new();
            for _ in 0..3000 {
                let mut client = client.clone();
                watches.spawn(async move {
                    let watch = client.watch_stats(WatchStatsRequest::default()).await;
                    tokio::time::sleep(ATTACK).await;
                    drop(watch);
                });
            }
            tokio::time::sleep(ATTACK).await;
            watches.shutdown().await;
        })
        .await,
    );
    rows.push(
        row("limits.header_kib", "headers of 60 KiB, 16 callers", &[], |to| async move {
            let mut tasks = JoinSet::new();
            for _ in 0..16 {
                let mut client = to.executor().await;
                tasks.spawn(async move {
                    let ends = Instant::now() + ATTACK;
                    while Instant::now() < ends {
                        let mut request = Request::new(call_of(1, 30_000));
                        request.metadata_mut().insert("x", "x".repeat(60 << 10).parse().unwrap());
                        let _ = client.process_batch_v2(request).await;
                    }
                });
            }
            tasks.join_all().await;
        })
        .await,
    );
    rows.push(
        row("limits.message_mib", "requests of 300 MiB, 4 callers", &[], |to| async move {
            to.flood(4, wire::ProcessBatchRequestV2 { context_id: "x".repeat(300 << 20), ..call_of(1, 30_000) }).await;
        })
        .await,
    );
    rows.push(
        row("limits.receive_mib", "8 unfinished requests of 100 MiB", &[], |to| async move {
            let mut calls = Vec::new();
            for _ in 0..8 {
                calls.push(unfinished(to.channel().await, 100 << 20));
            }
            tokio::time::sleep(ATTACK).await;
            calls.iter().for_each(|call| call.abort());
        })
        .await,
    );
    rows.push(
        row("limits.receive_seconds", "900 requests that stop after 1 KiB", &[], |to| async move {
            let mut calls = Vec::new();
            for _ in 0..900 {
                calls.push(unfinished(to.channel().await, 16 << 10));
            }
            tokio::time::sleep(Duration::from_secs(32)).await;
            calls.iter().for_each(|call| call.abort());
        })
        .await,
    );
    rows.push(
        row("limits.answer_mib", "traced loops over a stack of 1 000 words, 4 callers", &[], |to| async move {
            to.flood(4, traced(of_code(looping(&"push 0xffffffffffffffff\n".repeat(1000), ""), 1), false)).await;
        })
        .await,
    );
    rows.push(
        row("limits.answer_mib", "traced loops behind 100 000 bytes of return data, 4 callers", &[], |to| async move {
            let call = format!("push 0\npush 0\npush 0\npush 0\npush 0\npush 0x{}\ngas\ncall\npop", "bb".repeat(20));
            let request =
                with_code(of_code(looping(&call, ""), 1), B, assemble("push 100000\npush 0\nreturn").unwrap());
            to.flood(4, traced(request, true)).await;
        })
        .await,
    );
    rows.push(
        row(
            "limits.answer_seconds",
            "200 answers of 3 MB on each of 4 connections with window 1",
            &[],
            |to| async move {
                let request = uncounted(of_code(assemble("push 3000000\npush 0\nreturn").unwrap().0, 1));
                let mut readers = Vec::new();
                for _ in 0..4 {
                    let mut connection = Unread::connect(to.grpc, 1).await;
                    connection.ask(200, EXECUTE, &request).await;
                    readers.push(connection.read());
                }
                tokio::time::sleep(Duration::from_secs(35)).await;
                readers.into_iter().for_each(|(_, reader)| reader.abort());
            },
        )
        .await,
    );
    rows.push(
        row(
            "limits.call_memory_mib",
            "16 million empty items in a request of 32 MiB, 4 callers",
            &[],
            |to| async move {
                let proofs = wire::L1DataV2 { smt_proof: vec![Default::default(); 16 << 20], ..Default::default() };
                let mut request = call_of(1, 30_000);
                request.l1_info_tree_data.insert(1, proofs);
                to.flood(4, request).await;
            },
        )
        .await,
    );
    rows.push(
        row("limits.memory_mib", "400 transactions that return 3.8 MB each, 8 callers", &[], |to| async move {
            to.flood(8, uncounted(of_code(assemble("push 3800000\npush 0\nreturn").unwrap().0, 400))).await;
        })
        .await,
    );
    rows.push(
        row("limits.witness_nodes", "witnesses of single branches, 4 callers", &[], |to| async move {
            let mut tree = [&[0x02, 0x01].repeat(240)[..], &[0x03], &[0; 32]].concat();
            for _ in 0..14 {
                tree = [&[0x02, 0x03][..], &tree, &tree].concat();
            }
            let request = wire::ProcessStatelessBatchRequestV2 {
                witness: [&[1][..], &tree].concat().into(),
                ..Default::default()
            };
            let mut tasks = JoinSet::new();
            for _ in 0..4 {
                let (mut client, request) = (to.executor().await, request.clone());
                tasks.spawn(async move {
                    let ends = Instant::now() + ATTACK;
                    while Instant::now() < ends {
                        let _ = client.process_stateless_batch_v2(request.clone()).await;
                    }
                });
            }
            tasks.join_all().await;
        })
        .await,
    );
    rows.push(
        row("executor.queue_capacity, queue_mib", "batches of 1 000 signatures, 700 callers", &[], |to| async move {
            to.flood(700, call_of(1000, 21_000)).await;
        })
        .await,
    );
    rows.push(row("executor.small_batch_bytes, _gas", "one transaction with 30 000 000 gas of MODEXP, 32 callers", &[], |to| async move {
        let code = looping("push 1024\npush 0\nmstore\npush 690\npush 32\nmstore\npush 1024\npush 64\nmstore\npush 0xff\npush 96\nmstore8\npush 0xff\npush 1120\nmstore8\npush 0xff\npush 1810\nmstore8", "push 0\npush 0\npush 2834\npush 0\npush 5\ngas\nstaticcall\npop");
        to.flood(32, uncounted(of_code(code, 1))).await;
    }).await);
    rows.push(
        row(
            "executor.batch_seconds (0.01)",
            "40 loops of 30 000 000 gas each, 8 callers",
            &["executor.batch_seconds=0.01"],
            |to| async move {
                to.flood(8, uncounted(of_code(looping("", "push 100000\npush 0\nkeccak256\npop"), 40))).await;
            },
        )
        .await,
    );
    rows.push(
        row("hashdb.threads", "LoadDB of 40 000 nodes, 32 callers", &[], |to| async move {
            let node = || hashdb::FeList { fe: vec![7; 12] };
            let input_db = (0..40_000_u32).map(|key| (format!("{key:064x}"), node())).collect();
            let request = hashdb::LoadDbRequest { input_db, persistent: true, ..Default::default() };
            let mut tasks = JoinSet::new();
            for _ in 0..32 {
                let request = request.clone();
                let channel = Channel::from_shared(format!("http://{}", to.hashdb)).unwrap().connect().await.unwrap();
                let mut client = HashDbServiceClient::new(channel).max_encoding_message_size(usize::MAX);
                tasks.spawn(async move {
                    let ends = Instant::now() + ATTACK;
                    while Instant::now() < ends {
                        let _ = client.load_db(request.clone()).await;
                    }
                });
            }
            tasks.join_all().await;
        })
        .await,
    );
    rows.push(
        row("state.volatile_mib", "100 000 nodes that are new with each request, 4 callers", &[], |to| async move {
            let mut tasks = JoinSet::new();
            for caller in 0..4_u64 {
                let mut client = to.executor().await;
                tasks.spawn(async move {
                    let ends = Instant::now() + ATTACK;
                    let mut number = caller << 40;
                    while Instant::now() < ends {
                        let mut request = call_of(1, 30_000);
                        let nodes: Vec<[u64; 12]> = (0..100_000).map(|at| [number + at; 12]).collect();
                        number += 100_000;
                        let hashes = zkevm_tree::poseidon::hashes_of(&nodes);
                        let text = |node: &[u64; 12]| node.iter().map(|element| format!("{element:016x}")).collect();
                        request.db = hashes
                            .iter()
                            .zip(&nodes)
                            .map(|(hash, node)| (format!("{:x}", hash.to_b256()), text(node)))
                            .collect();
                        let _ = client.process_batch_v2(request).await;
                    }
                });
            }
            tasks.join_all().await;
        })
        .await,
    );
    rows.push(
        row(
            "http.connections, _per_peer, request_seconds",
            "3 peers open 200 connections of HTTP each",
            &[],
            |to| async move {
                to.idle(to.http, 600, 3, b"GET / HT").await;
            },
        )
        .await,
    );
    rows.push(
        row(
            "log.line_kib, queue_mib, repeats",
            "invalid requests with 100 KiB of context_id, 16 callers",
            &[],
            |to| async move {
                to.flood(
                    16,
                    wire::ProcessBatchRequestV2 {
                        context_id: "\n".repeat(100 << 10),
                        chain_id: 0,
                        ..call_of(1, 30_000)
                    },
                )
                .await;
            },
        )
        .await,
    );
    rows.push(
        row("stats.slowest_inputs_mib", "batches with 20 MiB of programs, 4 callers", &[], |to| async move {
            let mut request = call_of(1, 30_000);
            request.contracts_bytecode = [("1".to_owned(), "5b".repeat(10 << 20))].into();
            to.flood(4, request).await;
        })
        .await,
    );
    let mut rows: Vec<_> = rows.into_iter().flatten().collect();
    rows.extend(limits_of_state::rows().await);
    let failed: Vec<_> = rows.iter().filter(|row| row.failed > 0).map(|row| (row.limit, row.attack)).collect();
    assert!(failed.is_empty(), "calls of the other client failed: {failed:?}");
    for row in rows.iter().filter(|row| row.peak_mib > 1536 || row.p99() > Duration::from_millis(250)) {
        let Row { limit, attack, peak_mib, times, recovered, .. } = row;
        let p99 = row.p99();
        println!(
            "beyond the targets: {limit}, {attack}: {peak_mib} MiB, {p99:?}, {} calls, {recovered:?}",
            times.len()
        );
    }
}
