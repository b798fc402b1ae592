//! The service over loopback: latency of small batches, throughput against the engine alone, small calls beside full
//! batches, scaling with the executors, and how long a small call waits beside small requests that compute for long.
//!
//! `cargo bench --bench service`; one argument picks a part (`single`, `throughput`, `mixed`, `reserved`, `scaling`). Callers send encoded
//! requests and do not decode answers, so that their cost stays small, but server, executors and callers share the machine.
//! On Linux `SERVER_CORES=2` gives the first two cores to the server and its executors, and the others to the callers.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use alloy_rlp::{Encodable, Header};
use hdrhistogram::Histogram;
use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes};
use tokio::runtime::{Builder, Runtime};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use zkevm_executor::cli::serve::rpc_threads;
use zkevm_executor::config::{Config, ConfigBuilder, StoreKind};
use zkevm_executor::memory;
use zkevm_executor::scheduling::request_short_slice;
use zkevm_executor::server::{RunningServer, Server};
use zkevm_pool::{CancelToken, Cancelled};
use zkevm_processor::Engine;
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::genesis::GenesisState;
use zkevm_testkit::sample::workload::TRANSFERS_PER_BATCH;
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_tools::table::Table;
use zkevm_tree::StateReader;
use zkevm_types::ForkId;
use zkevm_types::{BatchInput, CountersPolicy};
use zkevm_types::{BatchOutput, ExecutorError};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::request;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FORK: u64 = 9;
/// Accounts of the state: enough for a tree of a realistic depth.
const WORKLOAD_CLIENTS: u64 = 512;
const WARM_UP: Duration = Duration::from_millis(500);
const MEASURE: Duration = Duration::from_secs(5);
const SMALL_CALL_INTERVAL: Duration = Duration::from_millis(10);
const PROCESS: &str = "/executor.v1.ExecutorService/ProcessBatchV2";
const PROCESS_V1: &str = "/executor.v1.ExecutorService/ProcessBatch";
const FLUSH_STATUS: &str = "/executor.v1.ExecutorService/GetFlushStatus";

fn main() {
    memory::disable_transparent_huge_pages();
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let bench = Bench::new(std::env::var("SERVER_CORES").ok().map(|count| count.parse().expect("a number")));
    println!("{} cores for the server; every executor count above that shares them\n", bench.cores);
    let parts = [
        ("single", Bench::single as Part),
        ("throughput", Bench::throughput),
        ("mixed", Bench::mixed),
        ("reserved", Bench::reserved),
        ("scaling", Bench::scaling),
    ];
    for (name, part) in parts {
        if filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
            part(&bench);
        }
    }
}

type Part = fn(&Bench);
/// What differs from the defaults.
type Change = fn(&mut Config);

/// What all parts use.
struct Bench {
    cores: usize,
    genesis: GenesisState,
    workload: Arc<Workload>,
    state: MemoryStore,
    engine: Engine,
    server_threads: Runtime,
    caller_threads: Runtime,
    /// Of one who makes small calls, a node of its own: in the threads of others it would wait for their answers.
    small_caller_thread: Runtime,
}

impl Bench {
    fn new(server_cores: Option<usize>) -> Self {
        let workload = Workload::new(ForkId::new(FORK).expect("the fork is in the table"), WORKLOAD_CLIENTS);
        let workload = Arc::new(workload.expect("the token assembles"));
        let genesis = workload.genesis().build().expect("the state is built in memory");
        let state = MemoryStore::new(0);
        genesis.write_to(&state).expect("the state is kept in memory");
        let all_cores = cores();
        let start = |name, count| {
            let mut threads = Builder::new_multi_thread();
            threads.worker_threads(count).thread_name(name).on_thread_start(request_short_slice).enable_all();
            threads.build().expect("threads start")
        };
        // Threads start on the cores of the one that starts them.
        if let Some(count) = server_cores {
            use_cores(count..all_cores);
        }
        let caller_threads = start("callers", rpc_threads(all_cores));
        let small_caller_thread = start("small-caller", 1);
        if let Some(count) = server_cores {
            use_cores(0..count);
        }
        let server_threads = start("server", rpc_threads(cores()));
        let engine = Engine::default();
        Self { cores: cores(), genesis, workload, state, engine, server_threads, caller_threads, small_caller_thread }
    }

    fn batch(&self, transfers: usize) -> BatchInput {
        self.workload.chain(0, self.genesis.root.to_b256()).next_batch(Kind::Transfers, transfers)
    }

    /// Starts a server with this many executors that knows the genesis.
    fn serve(&self, executors: usize) -> Running<'_> {
        self.serve_native(config(executors))
    }

    fn serve_native(&self, config: Config) -> Running<'_> {
        self.start(Server::new(config))
    }

    fn serve_with<E>(&self, config: Config, engine: E) -> Running<'_>
    where
        E: Fn(&BatchInput, &dyn StateReader, &CancelToken) -> Result<BatchOutput, Cancelled> + Send + Sync + 'static,
    {
        self.start(Server::new(config).with_engine(engine))
    }

    fn start(&self, server: Server) -> Running<'_> {
        let server = self.server_threads.block_on(server.start()).expect("the server starts");
        let endpoint = Endpoint::from_shared(format!("http://{}", server.grpc_addr())).expect("an address");
        let endpoint = endpoint.initial_stream_window_size(2 << 20).initial_connection_window_size(16 << 20);
        let running = Running { bench: self, endpoint, server: Some(server) };
        let mut first = self.batch(0);
        first.db = self.genesis.nodes.iter().map(|(hash, node)| (*hash, node.into())).collect();
        first.contracts_bytecode = self.genesis.programs.clone();
        self.caller_threads.block_on(async {
            let answer = Caller::connect(&running.endpoint).await.call(encode(&first)).await.expect("it is answered");
            let answer = wire::ProcessBatchResponseV2::decode(answer).expect("a response");
            assert_eq!(answer.error, ExecutorError::NoError.number());
        });
        running
    }

    /// Latency of one small batch at a time, and where it goes.
    fn single(&self) {
        println!("One transfer per batch, one call at a time");
        let mut table = Table::new(&["", "p50", "p90", "p99"]);
        let input = self.batch(1);
        let alone = repeat(|| {
            self.engine.process(&input, &self.state, &CancelToken::default()).expect("nothing cancels");
        });
        table.row(row("engine alone", &alone));
        let answer = self.engine.process(&input, &self.state, &CancelToken::default()).expect("nothing cancels");
        let median = Duration::from_nanos(alone.value_at_quantile(0.5));
        for (name, time) in [("that does nothing", Duration::ZERO), ("that waits busily as long as it takes", median)] {
            let answer = answer.clone();
            let engine = move |_: &BatchInput, _: &dyn StateReader, _: &CancelToken| {
                let start = Instant::now();
                while start.elapsed() < time {
                    std::hint::spin_loop();
                }
                Ok(answer.clone())
            };
            let running = self.serve_with(config(1), engine);
            if time.is_zero() {
                let grpc = running.closed_loop_of(FLUSH_STATUS, 1, &Bytes::new(), MEASURE);
                table.row(row("gRPC alone (GetFlushStatus)", &grpc.latency));
            }
            let outcome = running.closed_loop(1, &encode(&input), MEASURE);
            table.row(row(&format!("service, engine {name}"), &outcome.latency));
        }
        let running = self.serve(self.cores);
        table.row(row("service", &running.closed_loop(1, &encode(&input), MEASURE).latency));
        println!("{table}");
    }

    /// Batches per second with many callers, against the cores times one core's rate, and against that of the engine alone
    /// on all cores at once: less where cores are the two halves of one, or share its memory.
    fn throughput(&self) {
        println!("Closed loop, {} executors, senders known", self.cores);
        let mut table = Table::new(&[
            "",
            "batches/s",
            "of cores x engine",
            "of engines",
            "p50",
            "p90",
            "p99",
            "p99 / p50",
            "refused",
        ]);
        for transfers in [10, TRANSFERS_PER_BATCH] {
            let input = self.batch(transfers);
            let message = encode(&input);
            for callers in [16, 256] {
                let (rate, together) = (self.engine_rate(&input), self.engines_rate(&input, self.cores));
                let running = self.serve(self.cores);
                // Long enough for every caller to be answered more than once.
                let length = MEASURE.max(Duration::from_secs_f64(3.0 * callers as f64 / (self.cores as f64 * rate)));
                let outcome = running.closed_loop(callers, &message, length);
                let share = outcome.per_second() / (self.cores as f64 * rate);
                let mut cells =
                    vec![format!("{transfers} transfers, {callers} callers"), format!("{:.0}", outcome.per_second())];
                cells.extend([share, outcome.per_second() / together].map(|share| format!("{share:.2}")));
                cells.extend(quantiles(&outcome.latency));
                let spread =
                    outcome.latency.value_at_quantile(0.99) as f64 / outcome.latency.value_at_quantile(0.5) as f64;
                cells.extend([format!("{spread:.2}"), outcome.refused.to_string()]);
                table.row(cells);
            }
        }
        println!("{table}");
    }

    /// Small calls at a steady rate while full batches keep every executor busy.
    fn mixed(&self) {
        println!(
            "One transfer every {SMALL_CALL_INTERVAL:?} while 16 callers send full batches, {} executors",
            self.cores
        );
        let mut table = Table::new(&["", "p50", "p90", "p99", "max", "full batches/s"]);
        let (small, full) = (encode(&self.batch(1)), encode(&self.batch(TRANSFERS_PER_BATCH)));
        let ways: [(&str, Change); 3] = [
            ("two lanes", |_| ()),
            // As the image and the systemd unit have it.
            ("two lanes, executors idle class", |config| config.executor.niceness = 20),
            ("one lane", |config| config.executor.small_batch_bytes_max = 0),
        ];
        for (name, way) in ways {
            let mut config = config(self.cores);
            way(&mut config);
            let running = self.serve_native(config);
            let outcome = running.beside_full_batches(&small, &full);
            let mut cells = row(name, &outcome.0);
            cells.push(in_ms(outcome.0.max()));
            cells.push(format!("{:.1}", outcome.1));
            table.row(cells);
        }
        println!("{table}");
    }

    /// How long an empty batch waits while the one executor runs a request that is small by its size and computes for long,
    /// and the reserved executor has just answered a quick one: at most until the front looks at it again.
    fn reserved(&self) {
        const TRIALS: usize = 40;
        const WAIT_MAX: Duration = Duration::from_millis(50);
        println!("An empty batch beside a long call of small size, 1 executor, {TRIALS} trials");
        let running = self.serve(1);
        let (quick, long) = (endless_loops(&[400_000]), endless_loops(&[30_000_000; 5]));
        let empty = endless_loops(&[]);
        let (waits, longs) = self.caller_threads.block_on(async {
            let connect = async || Caller::connect(&running.endpoint).await;
            let (quick_caller, long_caller, mut caller) = (connect().await, connect().await, connect().await);
            let spawn = |mut caller: Caller, message: Bytes| {
                tokio::spawn(async move {
                    let start = Instant::now();
                    let answer = caller.call_method(PROCESS_V1, message).await.expect("it is answered");
                    let answer = wire::ProcessBatchResponse::decode(answer).expect("a response");
                    assert_eq!(answer.error, ExecutorError::NoError.number());
                    (start.elapsed(), answer.responses.len())
                })
            };
            let (mut waits, mut longs) = (histogram(), histogram());
            for _ in 0..TRIALS {
                let quick = spawn(quick_caller.clone(), quick.clone());
                let long = spawn(long_caller.clone(), long.clone());
                quick.await.expect("a caller does not panic");
                let start = Instant::now();
                caller.call_method(PROCESS_V1, empty.clone()).await.expect("it is answered");
                waits.saturating_record(nanoseconds(start.elapsed()));
                let (took, txs) = long.await.expect("a caller does not panic");
                assert_eq!(txs, 5);
                longs.saturating_record(nanoseconds(took));
                tokio::time::sleep(WAIT_MAX).await;
            }
            (waits, longs)
        });
        let mut table = Table::new(&["", "p50", "p90", "p99", "longest"]);
        for (name, times) in [("empty batch", &waits), ("long call", &longs)] {
            let mut cells = row(name, times);
            cells.push(in_ms(times.max()));
            table.row(cells);
        }
        println!("{table}");
        let late = waits.iter_recorded().filter(|step| step.value_iterated_to() > nanoseconds(WAIT_MAX));
        println!(
            "{} of {TRIALS} waited longer than {WAIT_MAX:?}\n",
            late.map(|step| step.count_at_value()).sum::<u64>()
        );
    }

    /// Throughput of full batches with 1, 2, 4, 8, 16 executors, against as many threads that do nothing but execute. Without
    /// helpers, which would give the cores that are left to the few.
    fn scaling(&self) {
        println!("Full batches, {TRANSFERS_PER_BATCH} transfers, senders known, no helpers, 4 callers per executor");
        let mut table = Table::new(&[
            "executors",
            "batches/s",
            "of linear",
            "of engines",
            "engines",
            "of linear",
            "possible on this machine",
        ]);
        let input = self.batch(TRANSFERS_PER_BATCH);
        let message = encode(&input);
        let mut one = None;
        for executors in [1, 2, 4, 8, 16] {
            let mut config = config(executors);
            config.executor.helpers = 0;
            let running = self.serve_native(config);
            let rate = running.closed_loop(4 * executors, &message, MEASURE).per_second();
            let engines = self.engines_rate(&input, executors);
            let (one_rate, one_engine) = *one.get_or_insert((rate, engines));
            let possible = executors.min(self.cores) as f64 / executors as f64;
            let linear = |rate, one: f64| format!("{:.2}", rate / one / executors as f64);
            table.row(vec![
                executors.to_string(),
                format!("{rate:.1}"),
                linear(rate, one_rate),
                format!("{:.2}", rate / engines),
                format!("{engines:.1}"),
                linear(engines, one_engine),
                format!("{possible:.2}"),
            ]);
        }
        println!("{table}");
    }

    /// Batches per second of this many threads that do nothing but execute.
    fn engines_rate(&self, input: &BatchInput, threads: usize) -> f64 {
        std::thread::scope(|scope| {
            let engines: Vec<_> = (0..threads).map(|_| scope.spawn(|| self.engine_rate(input))).collect();
            engines.into_iter().map(|engine| engine.join().expect("nothing cancels")).sum()
        })
    }

    /// Batches per second of one core that does nothing but execute.
    fn engine_rate(&self, input: &BatchInput) -> f64 {
        let times = repeat(|| {
            self.engine.process(input, &self.state, &CancelToken::default()).expect("nothing cancels");
        });
        1e9 / times.mean()
    }
}

/// Cores this thread may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Confines this thread, and those it starts, to some of the machine's cores.
#[cfg(target_os = "linux")]
fn use_cores(cores: Range<usize>) {
    let mut set = rustix::thread::CpuSet::new();
    cores.for_each(|core| set.set(core));
    rustix::thread::sched_setaffinity(None, &set).expect("the machine has these cores");
}

#[cfg(not(target_os = "linux"))]
fn use_cores(_: Range<usize>) {
    panic!("SERVER_CORES needs Linux");
}

/// A server with its callers' address.
struct Running<'a> {
    bench: &'a Bench,
    endpoint: Endpoint,
    server: Option<RunningServer>,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.bench.server_threads.block_on(server.shutdown());
        }
    }
}

/// What callers saw.
struct Outcome {
    latency: Histogram<u64>,
    refused: u64,
    elapsed: Duration,
}

impl Outcome {
    fn per_second(&self) -> f64 {
        self.latency.len() as f64 / self.elapsed.as_secs_f64()
    }
}

impl Running<'_> {
    /// Lets `callers` callers send the request again and again, each on a connection of its own.
    fn closed_loop(&self, callers: usize, message: &Bytes, length: Duration) -> Outcome {
        self.closed_loop_of(PROCESS, callers, message, length)
    }

    fn closed_loop_of(&self, method: &'static str, callers: usize, message: &Bytes, length: Duration) -> Outcome {
        self.bench.caller_threads.block_on(async {
            let measuring = Arc::new(AtomicBool::new(false));
            let over = Arc::new(AtomicBool::new(false));
            let refused = Arc::new(AtomicU64::new(0));
            let mut tasks = Vec::new();
            for _ in 0..callers {
                let mut caller = Caller::connect(&self.endpoint).await;
                let (measuring, over, refused) = (measuring.clone(), over.clone(), refused.clone());
                let message = message.clone();
                tasks.push(tokio::spawn(async move {
                    let mut latency = histogram();
                    while !over.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        let answer = caller.call_method(method, message.clone()).await;
                        if !measuring.load(Ordering::Relaxed) || over.load(Ordering::Relaxed) {
                            continue;
                        }
                        match answer {
                            Ok(_) => latency.saturating_record(nanoseconds(start.elapsed())),
                            Err(_) => _ = refused.fetch_add(1, Ordering::Relaxed),
                        }
                    }
                    latency
                }));
            }
            tokio::time::sleep(WARM_UP).await;
            measuring.store(true, Ordering::Relaxed);
            let start = Instant::now();
            tokio::time::sleep(length).await;
            let elapsed = start.elapsed();
            over.store(true, Ordering::Relaxed);
            let mut latency = histogram();
            for task in tasks {
                latency.add(task.await.expect("a caller does not panic")).expect("the same bounds");
            }
            Outcome { latency, refused: refused.load(Ordering::Relaxed), elapsed }
        })
    }

    /// Returns the latency of small calls, from when each was due, and the full batches per second beside them.
    fn beside_full_batches(&self, small: &Bytes, full: &Bytes) -> (Histogram<u64>, f64) {
        let over = Arc::new(AtomicBool::new(false));
        let runtime = &self.bench.small_caller_thread;
        let caller = runtime.block_on(Caller::connect(&self.endpoint));
        let threads = runtime.handle().clone();
        let calls = {
            let (over, small) = (over.clone(), small.clone());
            // The runtime's timers are late by up to a millisecond.
            runtime.spawn_blocking(move || {
                std::thread::sleep(WARM_UP);
                let mut due = Instant::now();
                let mut calls = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    due += SMALL_CALL_INTERVAL;
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    let (mut caller, message) = (caller.clone(), small.clone());
                    calls.push(threads.spawn(async move { caller.call(message).await.map(|_| due.elapsed()) }));
                }
                calls
            })
        };
        let batches = self.closed_loop(16, full, MEASURE);
        over.store(true, Ordering::Relaxed);
        let mut latency = histogram();
        for call in runtime.block_on(calls).expect("the caller does not panic") {
            let call = runtime.block_on(call).expect("a call does not panic");
            latency.saturating_record(nanoseconds(call.expect("no small call is refused")));
        }
        (latency, batches.per_second())
    }
}

/// Sends encoded requests and leaves answers encoded.
#[derive(Clone)]
struct Caller {
    grpc: Grpc<Channel>,
}

impl Caller {
    async fn connect(endpoint: &Endpoint) -> Self {
        let channel = endpoint.connect().await.expect("the server is there");
        Self { grpc: Grpc::new(channel).max_decoding_message_size(usize::MAX).max_encoding_message_size(usize::MAX) }
    }

    async fn call(&mut self, message: Bytes) -> Result<Bytes, Status> {
        self.call_method(PROCESS, message).await
    }

    async fn call_method(&mut self, method: &'static str, message: Bytes) -> Result<Bytes, Status> {
        self.grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let answer = self.grpc.unary(Request::new(message), PathAndQuery::from_static(method), AsIs).await?;
        Ok(answer.into_inner())
    }
}

/// A codec that leaves messages as they are.
#[derive(Clone, Copy)]
struct AsIs;

impl Codec for AsIs {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for AsIs {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for AsIs {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

fn config(executors: usize) -> Config {
    let config = ConfigBuilder::new().and_then(ConfigBuilder::build).expect("the defaults are valid");
    let mut config = config.on_free_local_ports();
    config.store.kind = StoreKind::Memory;
    config.executor.threads = executors;
    // Full batches are larger than what can be proven: 730 transfers run out of arithmetics.
    config.counters.policy = CountersPolicy::Report;
    // The callers repeat one batch, and a remembered one does not run.
    config.executor.prefix_cache_bytes_max = 0;
    config
}

fn encode(input: &BatchInput) -> Bytes {
    match request::Request::new(input) {
        request::Request::V1(request) => request.encode_to_vec().into(),
        request::Request::V2(request) => request.encode_to_vec().into(),
    }
}

/// Runs it for a while and returns how long each run took, in nanoseconds.
fn repeat(mut run: impl FnMut()) -> Histogram<u64> {
    let warm_up = Instant::now();
    while warm_up.elapsed() < WARM_UP {
        run();
    }
    let mut times = histogram();
    let start = Instant::now();
    while start.elapsed() < MEASURE / 2 {
        let before = Instant::now();
        run();
        times.saturating_record(nanoseconds(before.elapsed()));
    }
    times
}

/// Returns an encoded request of fork 6 with an unsigned call for each of these amounts of gas, which it burns in a loop.
fn endless_loops(gas: &[u64]) -> Bytes {
    const CALLEE: [u8; 20] = [0x11; 20];
    const CHAIN_ID: u64 = 1000;
    // JUMPDEST PUSH1 0 JUMP
    const LOOP: &[u8] = &[0x5b, 0x60, 0x00, 0x56];
    let transaction = |(nonce, &gas): (usize, &u64)| {
        let mut fields = Vec::new();
        // Nonce, gas price, gas limit, to, value, no data, chain id, and two empty fields.
        [nonce as u64, 0, gas].iter().for_each(|number| Encodable::encode(number, &mut fields));
        Encodable::encode(CALLEE.as_slice(), &mut fields);
        [0, 0, CHAIN_ID, 0, 0].iter().for_each(|number: &u64| Encodable::encode(number, &mut fields));
        let mut raw = Vec::new();
        Header { list: true, payload_length: fields.len() }.encode(&mut raw);
        raw.extend(fields);
        // The signature is not looked at; the whole gas price is paid.
        let mut one = [0; 32];
        one[31] = 1;
        raw.extend([one, one].concat());
        raw.extend([0x1b, 0xff]);
        raw
    };
    let mut request = wire::ProcessBatchRequest {
        old_state_root: vec![0; 32].into(),
        old_acc_input_hash: vec![0; 32].into(),
        global_exit_root: vec![0; 32].into(),
        chain_id: CHAIN_ID,
        fork_id: 6,
        eth_timestamp: 1,
        coinbase: "0x617b3a3528F9cDd6630fd3301B9c8911F7Bf063D".to_owned(),
        no_counters: 1,
        from: format!("0x{}", "22".repeat(20)),
        batch_l2_data: gas.iter().enumerate().flat_map(transaction).collect::<Vec<u8>>().into(),
        ..Default::default()
    };
    let callee = wire::OverrideAccount { code: Bytes::from_static(LOOP), ..Default::default() };
    request.state_override.insert(format!("0x{}", "11".repeat(20)), callee);
    request.encode_to_vec().into()
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(100, 600_000_000_000, 3).expect("valid bounds")
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn row(name: &str, latency: &Histogram<u64>) -> Vec<String> {
    let mut cells = vec![name.to_owned()];
    cells.extend(quantiles(latency));
    cells
}

fn quantiles(latency: &Histogram<u64>) -> Vec<String> {
    [0.5, 0.9, 0.99].map(|quantile| in_ms(latency.value_at_quantile(quantile))).to_vec()
}

fn in_ms(nanoseconds: u64) -> String {
    format!("{:.3} ms", nanoseconds as f64 / 1e6)
}
