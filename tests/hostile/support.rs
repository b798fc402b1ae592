//! A server with small limits, requests that need no state, and the client beside them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use revm::primitives::{Address, Bytes, U256};
use tonic::Status;
use tonic::transport::Channel;
use zkevm_executor::config::{Config, ConfigBuilder};
use zkevm_executor::server::{RunningServer, Server};
use zkevm_testkit::sample::{Account, BatchBuilder, Transfer};
use zkevm_types::{ExecutorError, ForkId};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;

pub(crate) const CHAIN_ID: u64 = 1000;
/// The contract that is called, and the one it calls.
pub(crate) const A: Address = Address::repeat_byte(0xaa);
pub(crate) const B: Address = Address::repeat_byte(0xbb);
/// A transaction's gas limit, at most.
pub(crate) const GAS_MAX: u64 = 30_000_000;

/// True if the limits are those of the defaults.
pub(crate) fn is_long() -> bool {
    std::env::var("ZKEVM_HOSTILE").is_ok_and(|value| value == "long")
}

fn config() -> Config {
    let mut builder = ConfigBuilder::new().unwrap();
    builder.toml("[store]\nkind = \"memory\"\n[executor]\nthreads = 2", "test").unwrap();
    if !is_long() {
        builder
            .toml("[limits]\nanswer_mib = 8\ncall_memory_mib = 16\nmemory_mib = 24\nanswer_seconds = 1.0", "test")
            .unwrap();
    }
    builder.build().unwrap().on_free_local_ports()
}

/// A server and the client that must not notice the others.
pub(crate) struct Hostile {
    pub(crate) running: RunningServer,
    pub(crate) channel: Channel,
    bystander: tokio::task::JoinHandle<Vec<Duration>>,
    stop: Arc<AtomicBool>,
}

impl Hostile {
    pub(crate) async fn start() -> Self {
        let running = Server::new(config()).start().await.unwrap();
        let channel = connect(&running).await;
        let stop = Arc::new(AtomicBool::new(false));
        let bystander = tokio::spawn(bystander(connect(&running).await, Arc::clone(&stop)));
        Self { running, channel, bystander, stop }
    }

    pub(crate) fn client(&self) -> ExecutorServiceClient<Channel> {
        ExecutorServiceClient::new(self.channel.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX)
    }

    /// Sends a request that must be refused with a sentence that has these words.
    pub(crate) async fn refused(&self, request: wire::ProcessBatchRequestV2, words: &str) -> Status {
        let status = self.client().process_batch_v2(request).await.map(|_| ()).unwrap_err();
        assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
        assert!(status.message().contains(words), "{status}");
        status
    }

    /// The value of a gauge of `/metrics`.
    pub(crate) async fn gauge(&self, name: &str) -> u64 {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.running.http_addr()).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse::<f64>().unwrap() as u64
    }

    /// Waits until nothing is held, then checks the client beside and prints the row of this attack.
    pub(crate) async fn end(self, attack: &str) {
        let begun = Instant::now();
        while self.gauge("zkevm_executor_call_memory_bytes").await > 1 << 20 {
            assert!(begun.elapsed() < Duration::from_secs(60), "{attack}: memory is still held");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let peak = self.gauge("zkevm_executor_call_memory_bytes_peak").await;
        let max = self.gauge("zkevm_executor_call_memory_bytes_max").await;
        assert!(peak <= max, "{attack}: {peak} bytes taken of {max}");
        self.stop.store(true, Ordering::Relaxed);
        let mut times = self.bystander.await.unwrap();
        times.sort_unstable();
        let slowest = times.last().copied().unwrap_or_default();
        println!(
            "| {attack} | {} MiB | {} MiB | {} calls beside, slowest {slowest:?} |",
            peak >> 20,
            peak_resident_mib(),
            times.len()
        );
        self.running.shutdown().await;
    }
}

async fn connect(running: &RunningServer) -> Channel {
    Channel::from_shared(format!("http://{}", running.grpc_addr())).unwrap().connect().await.unwrap()
}

/// Sends a small batch every 100 ms; each must be answered.
async fn bystander(channel: Channel, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let mut client = ExecutorServiceClient::new(channel);
    let mut times = Vec::new();
    let mut clock = tokio::time::interval(Duration::from_millis(100));
    while !stop.load(Ordering::Relaxed) {
        clock.tick().await;
        let begun = Instant::now();
        let answer = client.process_batch_v2(call_of(1, 30_000)).await.expect("the other client is answered");
        assert_eq!(answer.into_inner().error, ExecutorError::NoError.number());
        times.push(begun.elapsed());
    }
    times
}

/// The most memory this process had; the server runs in it.
fn peak_resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()).unwrap_or_default() >> 10
}

/// A request of so many calls of A, each with this gas, over an empty state.
pub(crate) fn call_of(count: u64, gas_limit: u64) -> wire::ProcessBatchRequestV2 {
    let sender = Account::numbered(0);
    let mut batch = BatchBuilder::new(ForkId::new(9).unwrap(), CHAIN_ID);
    batch.block(1, 0);
    for nonce in 0..count {
        let transfer =
            Transfer { nonce, gas_price: U256::ZERO, gas_limit, to: Some(A), value: U256::ZERO, data: Bytes::new() };
        batch.transaction(&sender, &transfer);
    }
    wire::ProcessBatchRequestV2 {
        chain_id: CHAIN_ID,
        fork_id: 9,
        batch_l2_data: batch.finish().0,
        timestamp_limit: u64::MAX,
        coinbase: Address::repeat_byte(0x11).to_string(),
        ..Default::default()
    }
}

/// Puts code in place for this request only.
pub(crate) fn with_code(
    mut request: wire::ProcessBatchRequestV2,
    address: Address,
    code: Bytes,
) -> wire::ProcessBatchRequestV2 {
    let account = wire::OverrideAccountV2 { code: code.0, ..Default::default() };
    request.state_override.insert(format!("{address:#x}"), account);
    request
}

/// Asks for the trace of the first transaction.
pub(crate) fn traced(mut request: wire::ProcessBatchRequestV2, everything: bool) -> wire::ProcessBatchRequestV2 {
    let items =
        zkevm_batch::decode(&request.batch_l2_data.clone().into(), ForkId::new(9).unwrap().rules(), false, false)
            .unwrap();
    let tx = items.iter().find_map(zkevm_batch::BatchItem::transaction).unwrap();
    request.trace_config = Some(wire::TraceConfigV2 {
        enable_memory: everything.into(),
        enable_return_data: everything.into(),
        tx_hash_to_generate_full_trace: revm::primitives::keccak256(tx.rlp()).0.to_vec().into(),
        ..Default::default()
    });
    request
}
