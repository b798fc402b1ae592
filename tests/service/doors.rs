//! One gate for every service and every port: what does not end, what is too many, what is idle, whoever asks.

use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;
use zkevm_wire::proto::executor::v1::ProcessBatchResponseV2;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;
use zkevm_wire::proto::hashdb::v1::hash_db_service_client::HashDbServiceClient;

use crate::connections::{PREFACE, SETTINGS, frame, message, request_head_to, until_closed, until_ended};
use crate::process::Process;
use crate::support::{TestServer, config, eventually, request_v2};

const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const REFLECTION_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const STATS: &str = "/stats.v1.StatsService/GetStats";
const HASHDB: &str = "/hashdb.v1.HashDBService/Set";

/// Opens a call and sends `first` of its request.
async fn open(port: SocketAddr, path: &str, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(port).await.unwrap();
    let opening = [PREFACE, SETTINGS, &request_head_to(path, "application/grpc"), &frame(0, 0, first)].concat();
    stream.write_all(&opening).await.unwrap();
    stream
}

fn every_service(server: &TestServer) -> Vec<(SocketAddr, &'static str)> {
    let (executor, hashdb) = (server.running.grpc_addr(), server.running.hashdb_addr());
    let of_port = |port| [REFLECTION, REFLECTION_ALPHA, HEALTH].map(|path| (port, path));
    [&of_port(executor)[..], &of_port(hashdb), &[(executor, STATS), (hashdb, HASHDB)]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_request_is_given_up_whatever_its_service() {
    let mut config = config();
    config.limits.receive = Duration::from_millis(300);
    let server = TestServer::start_with(config).await;
    let services = every_service(&server);
    let mut calls = Vec::new();
    for (port, path) in &services {
        calls.push(open(*port, path, &message(50_000, &[0; 10_000])).await);
    }
    for call in &mut calls {
        until_ended(call).await;
    }
    let expired = services.len() as u64;
    eventually("all are counted", async || server.report().await.totals.sums.expired == expired).await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_every_service_share_the_bound_of_bytes() {
    let mut config = config();
    config.limits.receive_bytes = 100_000;
    let server = TestServer::start_with(config).await;
    let mut held = Vec::new();
    let services = every_service(&server);
    for (port, path) in services.iter().cycle().take(2 * services.len()) {
        // A whole frame of HTTP/2 and less than the request promises.
        held.push(open(*port, path, &message(50_000, &[0; 16_000])).await);
    }
    eventually("some are refused", async || server.report().await.totals.sums.refused >= 1).await;
    drop(held);
    eventually("there is room again", async || {
        let request = request_v2(&[b'x'; 50_000]);
        server.client().await.process_batch_v2(request).await.is_ok()
    })
    .await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_calls_that_only_ask_are_small() {
    let server = TestServer::start().await;
    let executor = server.running.grpc_addr();
    for path in [REFLECTION, REFLECTION_ALPHA, HEALTH, STATS] {
        let mut call = open(executor, path, &message(70_000, b"")).await;
        until_ended(&mut call).await;
    }
    server.assert_healthy().await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_every_service_are_counted_and_timed_by_name() {
    let server = TestServer::start().await;
    for (port, path) in every_service(&server) {
        until_ended(&mut open(port, path, &message(3, &[0xff; 3])).await).await;
    }
    until_ended(&mut open(server.running.grpc_addr(), "/executor.v1.ExecutorService/Nothing", b"").await).await;
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", server.running.hashdb_addr())).unwrap();
    HashDbServiceClient::new(channel.connect().await.unwrap()).get_latest_state_root(()).await.unwrap();

    let totals = server.report().await.totals;
    for (name, count) in [
        ("ServerReflection/ServerReflectionInfo", 4),
        ("Health/Check", 2),
        ("StatsService/GetStats", 1),
        ("HashDBService/Set", 1),
        ("HashDBService/GetLatestStateRoot", 1),
        ("unknown", 1),
    ] {
        assert_eq!(totals.calls_by_rpc.get(name), Some(&count), "{name}: {:?}", totals.calls_by_rpc);
    }
    let failed = |name: &str| totals.failed_calls_by_rpc[name];
    assert_eq!((failed("Health/Check"), failed("HashDBService/Set")), (2, 1));
    assert_eq!((failed("HashDBService/GetLatestStateRoot"), failed("unknown")), (0, 1));
    assert!(totals.call_seconds_by_rpc["HashDBService/GetLatestStateRoot"] > 0.0);
    let metrics = server.get("/metrics").await.1;
    for line in [
        "zkevm_executor_calls_total{rpc=\"HashDBService/GetLatestStateRoot\"} 1",
        "zkevm_executor_failed_calls_total{rpc=\"HashDBService/Set\"} 1",
        "zkevm_executor_call_seconds_total{rpc=\"HashDBService/GetLatestStateRoot\"} 0.",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_request_holds_an_http_connection_for_a_limited_time() {
    let mut config = config();
    config.http.request = Duration::from_millis(300);
    let server = TestServer::start_with(config).await;
    let begun = Instant::now();
    let mut streams = Vec::new();
    for text in ["", "GET / HT", "GET / HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = TcpStream::connect(server.running.http_addr()).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        streams.push(stream);
    }
    // Answered, and then silent.
    let mut stream = TcpStream::connect(server.running.http_addr()).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    streams.push(stream);
    for stream in &mut streams {
        until_closed(stream).await;
    }
    assert!(begun.elapsed() >= Duration::from_millis(300), "closed after {:?}", begun.elapsed());
    assert_eq!(server.get("/healthz").await.0, 200);
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http_connections_of_one_peer_have_a_bound_and_grpc_does_not_feel_it() {
    let mut config = config();
    config.http.connections_per_peer = 3;
    let server = TestServer::start_with(config).await;
    let address = server.running.http_addr();
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        stream.read_u8().await.unwrap();
        held.push(stream);
    }
    assert_eq!(until_closed(&mut TcpStream::connect(address).await.unwrap()).await, b"");
    server.assert_healthy().await;
    held.clear();
    eventually("places come back", async || {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let _ = stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await;
        stream.read_u8().await.is_ok()
    })
    .await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_connections_of_one_peer_have_a_bound() {
    let mut config = config();
    config.limits.connections_per_peer = 3;
    let server = TestServer::start_with(config).await;
    let address = server.running.grpc_addr();
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
        stream.read_u8().await.unwrap();
        held.push(stream);
    }
    assert_eq!(until_closed(&mut TcpStream::connect(address).await.unwrap()).await, b"");
    // The other port has places of its own.
    let channel = tonic::transport::Channel::from_shared(format!("http://{}", server.running.hashdb_addr())).unwrap();
    channel.connect().await.unwrap();
    // All of 127.0.0.0/8 is this machine: another peer.
    let other = tokio::net::TcpSocket::new_v4().unwrap();
    if other.bind("127.0.0.2:0".parse().unwrap()).is_ok() {
        let mut stream = other.connect(address).await.unwrap();
        stream.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
        stream.read_u8().await.unwrap();
    }
    server.running.shutdown().await;
}

/// A connection without calls is ended, one with a call is not, and a client that was idle notices nothing.
#[tokio::test(flavor = "multi_thread")]
async fn connections_without_calls_end_after_a_while() {
    let mut config = config();
    config.limits.idle = Some(Duration::from_millis(300));
    let server = TestServer::start_with(config).await;
    let running = server.spawn_v2(crate::support::BLOCK).await;
    let mut client = server.client().await;
    client.get_flush_status(()).await.unwrap();

    let begun = Instant::now();
    let mut idle = TcpStream::connect(server.running.grpc_addr()).await.unwrap();
    idle.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
    let heard = until_closed(&mut idle).await;
    assert!(begun.elapsed() >= Duration::from_millis(300), "closed after {:?}", begun.elapsed());
    // GOAWAY is frame type 7; its code stands behind the last stream.
    let goodbye = heard.windows(9).any(|head| head[..5] == [0, 0, 8, 7, 0]);
    assert!(goodbye, "{heard:?}");

    server.double.release();
    running.await.unwrap().unwrap();
    client.process_batch_v2(request_v2(b"ok")).await.unwrap();
    server.running.shutdown().await;
}

/// As many idle HTTP connections as there are descriptors leave some for gRPC.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn few_descriptors_are_shared_out_among_the_ports() {
    let binary = Process::binary();
    let mut command = std::process::Command::new("sh");
    command.args(["-c", "ulimit -n 256 && exec \"$0\" serve \"$@\""]).arg(binary.get_program());
    let process = Process::start(command.arg("--set=http.connections_per_peer=1000"));
    assert!(process.says("the system allows 256 open files"), "no line tells of it");
    let mut held = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(process.http).await.unwrap();
        let _ = stream.write_all(b"GET / HT").await;
        held.push(stream);
    }
    let mut client = ExecutorServiceClient::new(process.channel().await);
    client.get_flush_status(()).await.unwrap();
}

/// Sends a request whose bytes are as they are, under the name of an encoding; returns the error of the answer.
async fn send_encoded(server: &TestServer, encoding: &'static str, bytes: Vec<u8>) -> Result<i32, tonic::Status> {
    let message = [&[1][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), &bytes].concat();
    let body = tonic::body::Body::new(axum::body::Body::from(message));
    let request = tonic::codegen::http::Request::post("http://test/executor.v1.ExecutorService/ProcessBatchV2")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("grpc-encoding", encoding)
        .body(body)
        .unwrap();
    let mut channel = server.channel().await;
    std::future::poll_fn(|cx| tonic::codegen::Service::poll_ready(&mut channel, cx)).await.unwrap();
    let answer = tonic::codegen::Service::call(&mut channel, request).await.unwrap();
    assert_eq!(answer.headers()["grpc-accept-encoding"], "identity,deflate,gzip");
    if let Some(status) = tonic::Status::from_header_map(answer.headers()) {
        return Err(status);
    }
    let mut answer = tonic::Streaming::<ProcessBatchResponseV2>::new_response(
        tonic_prost::ProstDecoder::default(),
        answer.into_body(),
        tonic::codegen::http::StatusCode::OK,
        None,
        None,
    );
    answer.message().await.map(|answer| answer.unwrap().error)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_requests_are_answered_like_plain_ones() {
    let server = TestServer::start().await;
    for size in [1, 100_000] {
        let mut request = request_v2(b"ok");
        request.context_id = "x".repeat(size);
        let plain = prost::Message::encode_to_vec(&request);
        let want = server.client().await.process_batch_v2(request).await.unwrap().into_inner().error;
        assert_eq!(send_encoded(&server, "gzip", gzip(&plain)).await.unwrap(), want);
        assert_eq!(send_encoded(&server, "deflate", deflate(&plain)).await.unwrap(), want);
    }
    let refused = send_encoded(&server, "zstd", vec![1, 2, 3]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unimplemented, "{refused:?}");
    let refused = send_encoded(&server, "gzip", vec![1, 2, 3]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Internal, "{refused:?}");
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_compressed_request_becomes_is_bounded() {
    let mut config = config();
    (config.limits.message_bytes, config.limits.receive_bytes) = (1 << 20, 20 << 20);
    let server = TestServer::start_with(config).await;
    let bomb = gzip(&vec![0; 100 << 20]);
    assert!(bomb.len() < 1 << 20);
    let refused = send_encoded(&server, "gzip", bomb).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange, "{refused:?}");
    server.assert_healthy().await;
    server.running.shutdown().await;
}
