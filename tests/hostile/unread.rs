//! Answers that their client does not take, on connections by hand: what waits is bounded, and its streams are reset.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use zkevm_testkit::sample::easm::assemble;
use zkevm_tree::poseidon::linear_hash;
use zkevm_wire::proto::hashdb::v1 as hashdb;
use zkevm_wire::proto::hashdb::v1::hash_db_service_client::HashDbServiceClient;

use crate::support::{A, GAS_MAX, Hostile, call_of, is_long, with_code};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
const CANCEL: u32 = 8;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = &(payload.len() as u32).to_be_bytes()[1..];
    [len, &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header that is not indexed.
fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8][..], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

fn headers(path: &str) -> Vec<u8> {
    // 83, 86: POST, http.
    [
        vec![0x83, 0x86],
        literal(":path", path),
        literal(":authority", "x"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
    ]
    .concat()
}

/// What a connection has seen.
#[derive(Default)]
pub(crate) struct Seen {
    resets: AtomicUsize,
    bytes: AtomicUsize,
}

/// A connection whose streams begin with a window of so many bytes.
pub(crate) struct Unread {
    stream: tokio::net::tcp::OwnedWriteHalf,
    from: Option<OwnedReadHalf>,
}

impl Unread {
    pub(crate) async fn connect(address: SocketAddr, window: u32) -> Self {
        let (from, mut stream) = TcpStream::connect(address).await.unwrap().into_split();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        let settings = [&INITIAL_WINDOW_SIZE[..], &window.to_be_bytes()].concat();
        stream.write_all(&frame(SETTINGS, 0, 0, &settings)).await.unwrap();
        Self { stream, from: Some(from) }
    }

    /// Asks the same on so many streams.
    pub(crate) async fn ask(&mut self, count: u32, path: &str, message: &impl Message) {
        let message = message.encode_to_vec();
        let message = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();
        for call in 0..count {
            let id = 2 * call + 1;
            self.stream.write_all(&frame(HEADERS, END_HEADERS, id, &headers(path))).await.unwrap();
            for part in message.chunks(16_000) {
                self.stream.write_all(&frame(DATA, 0, id, part)).await.unwrap();
            }
            self.stream.write_all(&frame(DATA, END_STREAM, id, &[])).await.unwrap();
        }
    }

    /// Takes what comes, answers pings and settings, and counts.
    pub(crate) fn read(mut self) -> (Arc<Seen>, JoinHandle<()>) {
        let seen = Arc::new(Seen::default());
        let counts = Arc::clone(&seen);
        let mut from = self.from.take().unwrap();
        let reader = tokio::spawn(async move {
            let mut head = [0; 9];
            while from.read_exact(&mut head).await.is_ok() {
                let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
                from.read_exact(&mut payload).await.unwrap();
                match head[3] {
                    kind @ (PING | SETTINGS) if head[4] & ACK == 0 => {
                        let payload = if kind == PING { &payload[..] } else { &[] };
                        self.stream.write_all(&frame(kind, ACK, 0, payload)).await.unwrap();
                    }
                    RST_STREAM => {
                        assert_eq!(u32::from_be_bytes(payload[..4].try_into().unwrap()), CANCEL);
                        counts.resets.fetch_add(1, Ordering::Relaxed);
                    }
                    DATA => drop(counts.bytes.fetch_add(payload.len(), Ordering::Relaxed)),
                    _ => {}
                }
            }
        });
        (seen, reader)
    }
}

/// Waits until so many streams were reset.
async fn reset(seen: &Seen, count: usize) {
    let begun = Instant::now();
    while seen.resets.load(Ordering::Relaxed) < count {
        let resets = seen.resets.load(Ordering::Relaxed);
        assert!(begun.elapsed() < Duration::from_secs(60), "{resets} of {count} streams were reset");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) const EXECUTE: &str = "/executor.v1.ExecutorService/ProcessBatchV2";

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_are_bounded_and_their_streams_reset() {
    let server = Hostile::start().await;
    let mut request = with_code(call_of(1, GAS_MAX), A, assemble("push 3000000\npush 0\nreturn").unwrap());
    request.no_counters = 1;
    // Nothing is taken at all, or so little that what is behind it could pass for sent.
    for window in [0, 1, 100, 70_000] {
        let count = if is_long() { 200 } else { 4 };
        let mut connection = Unread::connect(server.running.grpc_addr(), window).await;
        connection.ask(count, EXECUTE, &request).await;
        let (seen, reader) = connection.read();
        reset(&seen, count as usize).await;
        assert!(seen.bytes.load(Ordering::Relaxed) <= (count * window) as usize);
        reader.abort();
    }
    server.end("answers of 3 MB on connections with small windows").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_nobody_reads_holds_little() {
    let server = Hostile::start().await;
    let mut request = with_code(call_of(1, GAS_MAX), A, assemble("push 3000000\npush 0\nreturn").unwrap());
    request.no_counters = 1;
    // The window is open, but nothing is read.
    let mut connection = Unread::connect(server.running.grpc_addr(), i32::MAX as u32).await;
    connection.stream.write_all(&frame(WINDOW_UPDATE, 0, 0, &(1_u32 << 30).to_be_bytes())).await.unwrap();
    connection.ask(4, EXECUTE, &request).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    server.end("answers of 3 MB on a socket that is not read").await;
    drop(connection);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_of_hashdb_are_reset_as_well() {
    let server = Hostile::start().await;
    let address = server.running.hashdb_addr();
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = HashDbServiceClient::new(channel);
    let code = vec![0x5b; 3_000_000];
    let hash = linear_hash(&code).0;
    let key = hashdb::Fea { fe0: hash[0], fe1: hash[1], fe2: hash[2], fe3: hash[3] };
    let program = hashdb::SetProgramRequest { key: Some(key), data: code.into(), ..Default::default() };
    client.set_program(program).await.unwrap();
    let mut connection = Unread::connect(address, 1).await;
    let asks = hashdb::GetProgramRequest { key: Some(key), ..Default::default() };
    connection.ask(4, "/hashdb.v1.HashDBService/GetProgram", &asks).await;
    let (seen, reader) = connection.read();
    reset(&seen, 4).await;
    reader.abort();
    server.end("answers of HashDB that nobody takes").await;
}
