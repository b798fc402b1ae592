//! A server on free ports with an engine that does what the batch data says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use revm::primitives::{Address, B256, Bytes, U256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::transport::Channel;
use zkevm_executor::actors::stats::StatsReport;
use zkevm_executor::config::{Config, ConfigBuilder};
use zkevm_executor::server::{RunningServer, Server};
use zkevm_pool::{CancelToken, Cancelled};
use zkevm_tree::StateReader;
use zkevm_types::BatchContext;
use zkevm_types::{BatchInput, BatchOutput, ExecutorError, RomError};
use zkevm_types::{BatchRoots, BlockOutput, PhaseTimes, TxOutput};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;

/// Batch data on which the double waits until it is released or cancelled.
pub(crate) const BLOCK: &[u8] = b"block";
/// Batch data on which the double panics.
pub(crate) const PANIC: &[u8] = b"panic";
/// Batch data on which the double aborts with a missing node.
pub(crate) const ABORT: &[u8] = b"abort";
/// Gas of every batch the double executes.
pub(crate) const GAS: u64 = 21_000;

/// An engine that obeys the batch data, and counts.
#[derive(Clone)]
pub(crate) struct Double {
    released: watch::Sender<bool>,
    started: Arc<AtomicUsize>,
}

impl Double {
    pub(crate) fn new() -> Self {
        Self { released: watch::Sender::new(false), started: Arc::default() }
    }

    /// Lets the blocked batches end.
    pub(crate) fn release(&self) {
        self.released.send_replace(true);
    }

    /// Batches whose execution has begun.
    pub(crate) fn started(&self) -> usize {
        self.started.load(Ordering::SeqCst)
    }

    fn process(&self, input: &BatchInput, cancel: &CancelToken) -> Result<BatchOutput, Cancelled> {
        self.started.fetch_add(1, Ordering::SeqCst);
        match input.batch_l2_data.as_ref() {
            PANIC => panic!("told to panic"),
            BLOCK => {
                while !*self.released.borrow() {
                    cancel.check()?;
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
            ABORT => {
                let mut output = output(input);
                output.roots = None;
                output.error = ExecutorError::DbKeyNotFound;
                return Ok(output);
            }
            _ => {}
        }
        Ok(output(input))
    }
}

/// One transaction in one block; the root tells the input apart.
pub(crate) fn output(input: &BatchInput) -> BatchOutput {
    let tx = transaction();
    let mut output = BatchOutput {
        error: ExecutorError::NoError,
        roots: Some(BatchRoots {
            new_state_root: B256::repeat_byte(0x11),
            new_acc_input_hash: B256::repeat_byte(0x22),
            new_local_exit_root: B256::ZERO,
        }),
        gas_used: GAS,
        transactions: Vec::new(),
        blocks: Vec::new(),
        invalid_batch: false,
        error_rom: RomError::NoError,
        read_write_addresses: Default::default(),
        smt_keys: Vec::new(),
        program_keys: Vec::new(),
        error_log: String::new(),
        counters: Default::default(),
        model_counters: Default::default(),
        engine: Default::default(),
        reserved: Default::default(),
        new_nodes: Vec::new(),
        new_programs: Vec::new(),
        phases: PhaseTimes::default(),
    };
    match input.context {
        BatchContext::V1 { .. } => output.transactions.push(tx),
        BatchContext::V2(_) => output.blocks.push(block(vec![tx])),
    }
    output
}

pub(crate) fn transaction() -> TxOutput {
    TxOutput {
        tx_hash: B256::repeat_byte(0x33),
        tx_hash_l2: B256::repeat_byte(0x44),
        rlp_tx: Bytes::from_static(&[0xc0]),
        return_value: Bytes::new(),
        gas_left: 9_000,
        gas_used: GAS,
        cumulative_gas_used: GAS,
        gas_refunded: 0,
        error: RomError::NoError,
        create_address: None,
        state_root: B256::repeat_byte(0x11),
        logs: Vec::new(),
        effective_gas_price: Some(U256::from(1_000_000_000_u64)),
        effective_percentage: 255,
        has_gasprice_opcode: false,
        has_balance_opcode: false,
        status: true,
        tx_index: 0,
        full_trace: None,
    }
}

pub(crate) fn block(transactions: Vec<TxOutput>) -> BlockOutput {
    BlockOutput {
        parent_hash: B256::ZERO,
        coinbase: Address::repeat_byte(0xaa),
        gas_limit: 1 << 50,
        block_number: 5,
        timestamp: 1_700_000_000,
        ger: B256::ZERO,
        block_hash_l1: B256::ZERO,
        gas_used: GAS,
        block_info_root: B256::repeat_byte(0x55),
        block_hash: B256::repeat_byte(0x11),
        transactions,
        error: RomError::NoError,
    }
}

/// A server with the double as its engine.
pub(crate) struct TestServer {
    pub double: Double,
    pub running: RunningServer,
}

/// Free ports, one executor, short windows.
pub(crate) fn config() -> Config {
    let mut builder = ConfigBuilder::new().unwrap();
    builder.toml("[grpc]\nhost = \"127.0.0.1\"\nport = 0\n[http]\nhost = \"127.0.0.1\"\nport = 0", "test").unwrap();
    builder.toml("[hashdb]\nport = 0\n[store]\nkind = \"memory\"", "test").unwrap();
    builder
        .toml("[executor]\nthreads = 1\nsmall_batch_bytes = 0\nqueue_capacity = 2\ndrain_seconds = 5", "test")
        .unwrap();
    builder.toml("[stats]\nwindow_seconds = 0.2", "test").unwrap();
    builder.build().unwrap()
}

impl TestServer {
    pub(crate) async fn start() -> Self {
        Self::start_with(config()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let double = Double::new();
        let engine = double.clone();
        let process =
            move |input: &BatchInput, _: &dyn StateReader, cancel: &CancelToken| engine.process(input, cancel);
        let running = Server::new(config).with_engine(process).start().await.unwrap();
        Self { double, running }
    }

    pub(crate) async fn channel(&self) -> Channel {
        let uri = format!("http://{}", self.running.grpc_addr());
        Channel::from_shared(uri).unwrap().connect().await.unwrap()
    }

    pub(crate) async fn client(&self) -> ExecutorServiceClient<Channel> {
        ExecutorServiceClient::new(self.channel().await).max_decoding_message_size(256 << 20)
    }

    pub(crate) async fn report(&self) -> StatsReport {
        self.running.stats().report(1_000).await.unwrap()
    }

    /// Sends a batch and leaves it running.
    pub(crate) async fn spawn_v2(&self, data: &'static [u8]) -> tokio::task::JoinHandle<Answer> {
        let mut client = self.client().await;
        tokio::spawn(async move { client.process_batch_v2(request_v2(data)).await.map(tonic::Response::into_inner) })
    }

    /// One batch that must succeed.
    pub(crate) async fn assert_healthy(&self) {
        let answer = self.client().await.process_batch_v2(request_v2(b"ok")).await;
        assert_eq!(answer.unwrap().into_inner().error, ExecutorError::NoError.number());
    }

    /// GETs a page and returns its status and body.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        page(self.running.http_addr(), path).await
    }
}

/// GETs a page of any server and returns its status and body.
pub(crate) async fn page(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

pub(crate) type Answer = Result<wire::ProcessBatchResponseV2, tonic::Status>;

/// A valid V1 request of fork 6.
pub(crate) fn request_v1(data: &'static [u8]) -> wire::ProcessBatchRequest {
    wire::ProcessBatchRequest {
        chain_id: 1000,
        fork_id: 6,
        batch_l2_data: data.into(),
        coinbase: "0x617b3a3528F9cDd6630fd3301B9c8911F7Bf063D".to_owned(),
        ..Default::default()
    }
}

/// A valid V2 request of fork 9.
pub(crate) fn request_v2(data: &'static [u8]) -> wire::ProcessBatchRequestV2 {
    wire::ProcessBatchRequestV2 {
        chain_id: 1000,
        fork_id: 9,
        batch_l2_data: data.into(),
        coinbase: "0x617b3a3528F9cDd6630fd3301B9c8911F7Bf063D".to_owned(),
        ..Default::default()
    }
}

/// Waits until the condition holds, at most a minute: the machine may be busy.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let limit = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < limit, "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
