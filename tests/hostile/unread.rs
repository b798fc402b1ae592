//! Answers that their client does not take: a connection whose window is 0, by hand.

use std::time::Duration;

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zkevm_testkit::sample::easm::assemble;

use crate::support::{A, GAS_MAX, Hostile, call_of, with_code};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = &(payload.len() as u32).to_be_bytes()[1..];
    [len, &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header that is not indexed.
fn literal(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8][..], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

fn headers() -> Vec<u8> {
    // 83, 86: POST, http.
    [
        vec![0x83, 0x86],
        literal(":path", "/executor.v1.ExecutorService/ProcessBatchV2"),
        literal(":authority", "x"),
        literal("content-type", "application/grpc"),
        literal("te", "trailers"),
    ]
    .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_takes_are_bounded_and_given_up() {
    let server = Hostile::start().await;
    let mut request = with_code(call_of(1, GAS_MAX), A, assemble("push 3000000\npush 0\nreturn").unwrap());
    request.no_counters = 1;
    let message = request.encode_to_vec();
    let message = [&[0][..], &(message.len() as u32).to_be_bytes(), &message].concat();

    let mut stream = TcpStream::connect(server.running.grpc_addr()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE[..], &[0; 4]].concat())).await.unwrap();
    for call in 0..20 {
        let id = 2 * call + 1;
        stream.write_all(&frame(HEADERS, END_HEADERS, id, &headers())).await.unwrap();
        stream.write_all(&frame(DATA, END_STREAM, id, &message)).await.unwrap();
    }
    let (mut from, mut to) = stream.into_split();
    let reader = tokio::spawn(async move {
        // Takes everything but data, and answers pings and settings.
        let mut head = [0; 9];
        while from.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            from.read_exact(&mut payload).await.unwrap();
            if head[3] == PING && head[4] & ACK == 0 {
                to.write_all(&frame(PING, ACK, 0, &payload)).await.unwrap();
            }
            if head[3] == SETTINGS && head[4] & ACK == 0 {
                to.write_all(&frame(SETTINGS, ACK, 0, &[])).await.unwrap();
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    // The connection is still there, and nothing is held once their time is over.
    server.end("20 answers of 3 MB on a connection with window 0").await;
    reader.abort();
}
