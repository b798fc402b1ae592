//! Peers that speak wrongly, vanish, or come in masses, on raw sockets. After each the server still answers.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_stream::StreamExt;
use tonic::{Code, Request};
use zkevm_executor::config::Config;
use zkevm_wire::proto::executor::v1::ProcessBatchResponseV2;

use crate::support::{BLOCK, TestServer, config, eventually, request_v2};

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// An empty SETTINGS frame (RFC 9113 §6.5).
pub(crate) const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const PROCESS_BATCH_V2: &str = "/executor.v1.ExecutorService/ProcessBatchV2";
/// How long a closed connection may take to show, far above every limit set here.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// Limits in parts of a second.
fn impatient() -> Config {
    let mut config = config();
    config.limits.handshake = Duration::from_millis(200);
    config.limits.keepalive = Duration::from_millis(200);
    config.limits.keepalive_timeout = Duration::from_millis(200);
    config
}

async fn connect(server: &TestServer) -> TcpStream {
    TcpStream::connect(server.running.grpc_addr()).await.unwrap()
}

/// Reads until the server closes and returns what came.
pub(crate) async fn until_closed(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(CLOSE_LIMIT, stream.read_to_end(&mut bytes)).await;
    // A reset closes as well.
    let _ = read.expect("the server never closed the connection");
    bytes
}

/// Sends a POST with one gRPC frame header over HTTP/2 by hand: literal HPACK fields without indexing (RFC 7541 §6.2.2).
fn request_head(content_type: &str) -> Vec<u8> {
    request_head_to(PROCESS_BATCH_V2, content_type)
}

pub(crate) fn request_head_to(path: &str, content_type: &str) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "test"),
        ("content-type", content_type),
        ("te", "trailers"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    // HEADERS with END_HEADERS on stream 1.
    frame(1, 4, &block)
}

pub(crate) fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, 1]);
    frame.extend(payload);
    frame
}

/// A gRPC message of `claimed` bytes of which only `sent` are there.
pub(crate) fn message(claimed: u32, sent: &[u8]) -> Vec<u8> {
    let mut message = vec![0];
    message.extend(claimed.to_be_bytes());
    message.extend(sent);
    message
}

/// A valid request.
fn whole(data: &'static [u8]) -> Vec<u8> {
    let request = prost::Message::encode_to_vec(&request_v2(data));
    message(u32::try_from(request.len()).unwrap(), &request)
}

async fn open_call(server: &TestServer, content_type: &str) -> TcpStream {
    let mut stream = connect(server).await;
    let opening = [PREFACE, SETTINGS, &request_head(content_type)].concat();
    stream.write_all(&opening).await.unwrap();
    stream
}

/// Reads frames until one ends stream 1: HEADERS or DATA with END_STREAM, or RST_STREAM.
pub(crate) async fn until_ended(stream: &mut (impl AsyncRead + Unpin)) {
    let ended = tokio::time::timeout(CLOSE_LIMIT, async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.expect("closed before the call was answered");
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut payload).await.unwrap();
            let (kind, flags, on_stream_1) = (head[3], head[4], head[5..] == [0, 0, 0, 1]);
            if on_stream_1 && (kind == 3 || (kind <= 1 && flags & 1 == 1)) {
                return;
            }
        }
    });
    ended.await.expect("never answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_a_call_before_its_request_is_there() {
    let server = TestServer::start().await;
    let mut waiting = vec![server.spawn_v2(BLOCK).await];
    eventually("the executor is busy", async || server.double.started() == 1).await;
    for _ in 0..2 {
        waiting.push(server.spawn_v2(BLOCK).await);
    }
    eventually("the queue is full", async || {
        server.running.front().observe().await.is_some_and(|front| front.queue_length == 2)
    })
    .await;
    let mut stream = open_call(&server, "application/grpc").await;
    stream.write_all(&frame(0, 0, &message(1 << 20, b"only the first bytes"))).await.unwrap();
    until_ended(&mut stream).await;
    let sums = server.report().await.totals;
    assert_eq!((sums.sums.refused, sums.calls_by_rpc["ProcessBatchV2"]), (1, 4));
    server.double.release();
    for batch in waiting {
        batch.await.unwrap().unwrap();
    }
    server.assert_healthy().await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_under_way_share_a_bound() {
    let mut config = config();
    config.limits.receive_bytes = 2000;
    let server = TestServer::start_with(config).await;
    let mut half = open_call(&server, "application/grpc").await;
    half.write_all(&frame(0, 0, &message(1 << 20, &[0; 1000]))).await.unwrap();
    let large = async || {
        let mut client = server.client().await;
        client.process_batch_v2(request_v2(&[b'x'; 1500])).await
    };
    // The half request may not have come in yet.
    let refused = tokio::time::timeout(CLOSE_LIMIT, async {
        loop {
            if let Err(refused) = large().await {
                return refused;
            }
        }
    });
    let refused = refused.await.expect("never refused");
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(
        refused.message(),
        "too much is being received at once: requests under way take 0 MiB (limits.receive_mib), try again later"
    );
    assert!(server.report().await.totals.sums.refused >= 1);
    server.assert_healthy().await;
    drop(half);
    eventually("there is room again", async || large().await.is_ok()).await;
    server.running.shutdown().await;
}

/// Stopping in the middle, dripping, and never ending a complete message: all hold their share for a limited time only.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_does_not_come_in_is_given_up_on_both_ports() {
    let mut config = config();
    config.limits.receive = Duration::from_millis(300);
    config.limits.receive_bytes = 4000;
    let server = TestServer::start_with(config).await;
    let call = async |port: SocketAddr, path: &str, first: Vec<u8>| {
        let mut stream = TcpStream::connect(port).await.unwrap();
        let opening = [PREFACE, SETTINGS, &request_head_to(path, "application/grpc"), &frame(0, 0, &first)].concat();
        stream.write_all(&opening).await.unwrap();
        stream
    };
    let executor = server.running.grpc_addr();
    let begun = Instant::now();
    let half = || message(1 << 20, &[0; 1000]);
    let mut stopped = call(executor, PROCESS_BATCH_V2, half()).await;
    let mut hashdb = call(server.running.hashdb_addr(), "/hashdb.v1.HashDBService/SetProgram", half()).await;
    let mut endless = call(executor, PROCESS_BATCH_V2, whole(b"ok")).await;
    let (mut answers, mut drops) = call(executor, PROCESS_BATCH_V2, message(1 << 20, b"")).await.into_split();
    let dripping = tokio::spawn(async move {
        while drops.write_all(&frame(0, 0, b"x")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    for stream in [&mut stopped, &mut hashdb, &mut endless] {
        until_ended(stream).await;
    }
    until_ended(&mut answers).await;
    let status = never_ending_call(&server).await;
    assert_eq!(
        (status.code(), status.message()),
        (Code::DeadlineExceeded, "the request was not complete within 0.3 s (limits.receive_seconds)")
    );
    assert!(begun.elapsed() >= Duration::from_millis(300), "given up after {:?}", begun.elapsed());
    dripping.abort();
    eventually("all are counted", async || server.report().await.totals.sums.expired == 5).await;
    assert_eq!(server.double.started(), 0, "no part of them may run");
    // With the shares of the given up ones this would not fit.
    let mut client = server.client().await;
    client.process_batch_v2(request_v2(&[b'x'; 3000])).await.unwrap();
    server.running.shutdown().await;
}

/// Sends one whole message and does not end the request; returns the status that comes.
async fn never_ending_call(server: &TestServer) -> tonic::Status {
    let mut client = tonic::client::Grpc::new(server.channel().await);
    client.ready().await.unwrap();
    let messages = tokio_stream::iter([request_v2(b"ok")]).chain(tokio_stream::pending());
    let codec = tonic_prost::ProstCodec::<_, ProcessBatchResponseV2>::default();
    client.client_streaming(Request::new(messages), PROCESS_BATCH_V2.parse().unwrap(), codec).await.unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn http1_gets_an_http_answer() {
    let server = TestServer::start().await;
    let mut stream = connect(&server).await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").await.unwrap();
    let answer = String::from_utf8(until_closed(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 505 "), "{answer}");
    assert!(answer.ends_with("\r\n\r\nthis port speaks gRPC (HTTP/2) only.\n"), "{answer}");
    server.assert_healthy().await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_and_rubbish_to_the_plaintext_port_are_closed() {
    let server = TestServer::start().await;
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], b"\xff\xfe\x00\x01", b"PRI * HTTP/2.0\r\nno"] {
        let mut stream = connect(&server).await;
        stream.write_all(bytes).await.unwrap();
        until_closed(&mut stream).await;
        server.assert_healthy().await;
    }
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_instead_of_a_handshake_is_closed() {
    let server = TestServer::start_with(impatient()).await;
    for sent in [&b""[..], b"PRI * HT"] {
        let mut stream = connect(&server).await;
        stream.write_all(sent).await.unwrap();
        assert_eq!(until_closed(&mut stream).await, b"");
    }
    server.assert_healthy().await;
    server.running.shutdown().await;
}

/// A peer that vanished acknowledges nothing, like this one that never reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_is_pinged_and_closed() {
    let server = TestServer::start_with(impatient()).await;
    let mut stream = open_call(&server, "application/grpc").await;
    stream.write_all(&frame(0, 0, &message(100, b"abc"))).await.unwrap();
    let opened = Instant::now();
    let heard = until_closed(&mut stream).await;
    assert!(heard.len() >= SETTINGS.len(), "{heard:?}");
    assert!(opened.elapsed() >= Duration::from_millis(200), "closed after {:?}", opened.elapsed());
    server.assert_healthy().await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn living_idle_connections_stay() {
    let server = TestServer::start_with(impatient()).await;
    let mut client = server.client().await;
    client.process_batch_v2(request_v2(b"ok")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    client.process_batch_v2(request_v2(b"ok")).await.unwrap();
    server.running.shutdown().await;
}

/// A client that asks and then does not read its answers holds up nobody, and is closed.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_up_nobody() {
    let server = TestServer::start_with(impatient()).await;
    // No window for answers at all: SETTINGS_INITIAL_WINDOW_SIZE = 0.
    let closed_window = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0];
    let mut stream = connect(&server).await;
    let opening = [PREFACE, &closed_window, &request_head("application/grpc")].concat();
    stream.write_all(&opening).await.unwrap();
    stream.write_all(&frame(0, 1, &message(0, b""))).await.unwrap();
    for _ in 0..5 {
        server.assert_healthy().await;
    }
    until_closed(&mut stream).await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_while_the_batch_runs_stops_it() {
    let server = TestServer::start().await;
    let mut stream = open_call(&server, "application/grpc").await;
    stream.write_all(&frame(0, 1, &whole(BLOCK))).await.unwrap();
    eventually("the batch runs", async || server.double.started() == 1).await;
    reset(stream);
    eventually("it is counted", async || server.report().await.totals.sums.cancelled == 1).await;
    server.assert_healthy().await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_in_the_middle_of_a_request_leaves_nothing() {
    let server = TestServer::start().await;
    for _ in 0..20 {
        let mut stream = open_call(&server, "application/grpc").await;
        stream.write_all(&frame(0, 0, &message(1_000_000, &[7; 5_000]))).await.unwrap();
        reset(stream);
    }
    server.assert_healthy().await;
    assert_eq!(server.double.started(), 1, "only the healthy batch may run");
    server.running.shutdown().await;
}

/// Closes with RST: what is unread is thrown away.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_messages_are_refused() {
    let server = TestServer::start().await;
    // The stream ends 97 bytes early.
    let mut stream = open_call(&server, "application/grpc").await;
    stream.write_all(&frame(0, 1, &message(100, b"abc"))).await.unwrap();
    until_ended(&mut stream).await;
    // A whole frame with a protobuf field that promises more than there is.
    let mut stream = open_call(&server, "application/grpc").await;
    stream.write_all(&frame(0, 1, &message(3, &[0x0a, 0x7f, 0x01]))).await.unwrap();
    until_ended(&mut stream).await;
    assert_eq!(server.double.started(), 0);
    server.assert_healthy().await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_claims_too_much_is_refused_by_its_length_alone() {
    let server = TestServer::start().await;
    let mut stream = open_call(&server, "application/grpc").await;
    stream.write_all(&frame(0, 0, &message(u32::MAX, b"abc"))).await.unwrap();
    until_ended(&mut stream).await;
    server.assert_healthy().await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_messages_is_a_setting() {
    let mut config = config();
    config.limits.message_bytes = 1 << 20;
    let server = TestServer::start_with(config).await;
    let mut request = request_v2(b"ok");
    request.context_id = "x".repeat(2 << 20);
    let status = server.client().await.process_batch_v2(request).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    server.assert_healthy().await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_headers_are_refused() {
    let server = TestServer::start().await;
    let mut request = tonic::Request::new(request_v2(b"ok"));
    request.metadata_mut().insert("x-large", "x".repeat(64 << 10).parse().unwrap());
    assert!(server.client().await.process_batch_v2(request).await.is_err());
    assert_eq!(server.double.started(), 0);
    server.assert_healthy().await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_content_type_is_refused() {
    let server = TestServer::start().await;
    let mut stream = open_call(&server, "text/html").await;
    stream.write_all(&frame(0, 1, &whole(b"ok"))).await.unwrap();
    until_ended(&mut stream).await;
    assert_eq!(server.double.started(), 0);
    // The same with the right one is executed.
    let mut stream = open_call(&server, "application/grpc+proto").await;
    stream.write_all(&frame(0, 1, &whole(b"ok"))).await.unwrap();
    until_ended(&mut stream).await;
    assert_eq!(server.double.started(), 1);
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_are_closed_and_places_come_back() {
    let mut config = config();
    config.limits.connections = 3;
    let server = TestServer::start_with(config).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&server).await;
        stream.write_all(&[PREFACE, SETTINGS].concat()).await.unwrap();
        // The server's SETTINGS: this connection is in.
        stream.read_u8().await.unwrap();
        held.push(stream);
    }
    let mut fourth = connect(&server).await;
    assert_eq!(until_closed(&mut fourth).await, b"");
    held.clear();
    eventually("a place is free", async || {
        let mut stream = connect(&server).await;
        let _ = stream.write_all(&[PREFACE, SETTINGS].concat()).await;
        stream.read_u8().await.is_ok()
    })
    .await;
    eventually("the server answers", async || {
        let uri = format!("http://{}", server.running.grpc_addr());
        tonic::transport::Channel::from_shared(uri).unwrap().connect().await.is_ok()
    })
    .await;
    server.running.shutdown().await;
}
