//! The service with its own engine and state: chains of batches and public vectors, compared with the engine alone.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::StreamExt;
use revm::primitives::B256;
use tonic::transport::Channel;
use tonic::{Code, Status};
use zkevm_executor::server::{RunningServer, Server};
use zkevm_pool::CancelToken;
use zkevm_store::{Durability, MemoryStore, StateWriter};
use zkevm_testkit::sample::genesis::GenesisState;
use zkevm_testkit::sample::workload::Chain;
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_testkit::skip;
use zkevm_testkit::vectors::{Vector, VectorError, executor_inputs};
use zkevm_types::BATCH_L2_DATA_MAX_BYTES;
use zkevm_types::FlushIds;
use zkevm_types::ForkId;
use zkevm_types::{BatchInput, BatchOutput, ExecutorError};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;
use zkevm_wire::request::Request;
use zkevm_wire::respond::{self, ResponseContext};

use crate::support::{config, page};

const MESSAGE_BYTES_MAX: usize = 256 << 20;
const CLIENTS: u64 = 4;
const BATCHES_PER_CHAIN: usize = 6;
const TXS_PER_BATCH: usize = 8;
const VECTORS_IN_FLIGHT: usize = 64;
/// Share of the vectors that runs by default, so that the whole test suite stays short.
const VECTORS_EVERY_BY_DEFAULT: usize = 9;

pub(crate) type Client = ExecutorServiceClient<Channel>;

/// The answer of either API version.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    V1(Box<wire::ProcessBatchResponse>),
    V2(Box<wire::ProcessBatchResponseV2>),
}

impl Answer {
    /// Makes the answer to an output as the service would, but without what only the service knows.
    fn of(input: &BatchInput, output: BatchOutput) -> Self {
        let context = ResponseContext::new(input, Arc::from(""));
        let flush = FlushIds::default();
        match Request::new(input) {
            Request::V1(_) => Self::V1(Box::new(respond::response_v1(output, &context, flush))),
            Request::V2(_) => Self::V2(Box::new(respond::response_v2(output, &context, flush))),
        }
    }

    /// Makes the answer to a request that fails validation.
    fn invalid(input: &BatchInput, error: ExecutorError) -> Self {
        match Request::new(input) {
            Request::V1(_) => Self::V1(Box::new(respond::invalid_request_v1(error))),
            Request::V2(_) => Self::V2(Box::new(respond::invalid_request_v2(error))),
        }
    }

    /// Takes out what only the service knows.
    fn anonymous(mut self) -> Self {
        let (prover_id, flush_id, stored_flush_id) = match &mut self {
            Self::V1(answer) => (&mut answer.prover_id, &mut answer.flush_id, &mut answer.stored_flush_id),
            Self::V2(answer) => (&mut answer.prover_id, &mut answer.flush_id, &mut answer.stored_flush_id),
        };
        prover_id.clear();
        (*flush_id, *stored_flush_id) = (0, 0);
        self
    }
}

pub(crate) async fn send(client: &mut Client, input: &BatchInput) -> Result<Answer, Status> {
    Ok(match Request::new(input) {
        Request::V1(request) => Answer::V1(Box::new(client.process_batch(*request).await?.into_inner())),
        Request::V2(request) => Answer::V2(Box::new(client.process_batch_v2(*request).await?.into_inner())),
    })
}

async fn start(executors: usize) -> RunningServer {
    let mut config = config();
    config.executor.threads = executors;
    config.executor.queue_capacity = 256;
    Server::new(config).start().await.unwrap()
}

pub(crate) async fn connect(server: &RunningServer) -> Client {
    let channel = Channel::from_shared(format!("http://{}", server.grpc_addr())).unwrap().connect().await.unwrap();
    ExecutorServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

fn workload(fork: u64) -> (Arc<Workload>, GenesisState) {
    let workload = Arc::new(Workload::new(ForkId::new(fork).unwrap(), CLIENTS).unwrap());
    let genesis = workload.genesis().build().unwrap();
    (workload, genesis)
}

/// A batch without transactions that carries the genesis.
fn genesis_batch(workload: &Arc<Workload>, genesis: &GenesisState, update_merkle_tree: bool) -> BatchInput {
    BatchInput {
        db: genesis.nodes.iter().map(|(hash, node)| (*hash, node.into())).collect(),
        contracts_bytecode: genesis.programs.clone(),
        update_merkle_tree,
        ..workload.chain(0, genesis.root.to_b256()).empty_batch()
    }
}

/// Sends a chain of batches; each must be answered as the engine answers it over a store of its own.
async fn check_chain(mut client: Client, mut chain: Chain, kind: Kind, genesis: GenesisState, for_good: bool) {
    let store = MemoryStore::new(0);
    genesis.write_to(&store).unwrap();
    let mut roots = vec![chain.state_root];
    for number in 0..BATCHES_PER_CHAIN {
        let mut input = chain.next_batch(kind, TXS_PER_BATCH);
        input.update_merkle_tree = for_good;
        assert!(input.db.is_empty() && input.contracts_bytecode.is_empty());
        let mut output = zkevm_processor::Engine::default().process(&input, &store, &CancelToken::default()).unwrap();
        let (nodes, programs) = (std::mem::take(&mut output.new_nodes), std::mem::take(&mut output.new_programs));
        store.write(&nodes, &programs, Durability::Permanent).unwrap();
        let new = output.roots.unwrap();
        assert_eq!(output.error, ExecutorError::NoError);
        assert!(!roots.contains(&new.new_state_root), "batch {number} changed nothing");
        let served = send(&mut client, &input).await.unwrap().anonymous();
        assert_eq!(served, Answer::of(&input, output), "batch {number}, fork {}, {kind:?}", input.fork_id);
        roots.push(new.new_state_root);
        (chain.state_root, chain.acc_input_hash) = (new.new_state_root, new.new_acc_input_hash);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_from_a_genesis_sent_once_are_answered_as_the_engine_alone_answers() {
    for (fork, for_good) in [(6, true), (9, true), (9, false)] {
        let server = start(3).await;
        let (workload, genesis) = workload(fork);
        let root = genesis.root.to_b256();
        send(&mut connect(&server).await, &genesis_batch(&workload, &genesis, for_good)).await.unwrap();
        let mut chains = tokio::task::JoinSet::new();
        for number in 0..CLIENTS {
            let kind = if number % 2 == 0 { Kind::Transfers } else { Kind::TokenTransfers };
            let chain = workload.chain(number, root);
            chains.spawn(check_chain(connect(&server).await, chain, kind, genesis.clone(), for_good));
        }
        chains.join_all().await;
        let report = server.stats().report(0).await.unwrap();
        assert_eq!(report.totals.sums.batches, CLIENTS * BATCHES_PER_CHAIN as u64 + 1);
        assert_eq!(report.totals.sums.failed_batches, 0);
        let state = report.now.state;
        assert!(state.cache.hits + state.memory.hits > 0 && state.memory.nodes > genesis.nodes.len(), "{state:?}");
        assert_eq!(
            (state.memory.permanent_bytes > 0, state.memory.volatile_bytes > 0),
            (for_good, !for_good),
            "{state:?}"
        );
        server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_nobody_sent_is_a_missing_node() {
    let server = start(1).await;
    let (workload, _) = workload(9);
    let input = workload.chain(0, B256::with_last_byte(7)).next_batch(Kind::Transfers, 1);
    let Answer::V2(answer) = send(&mut connect(&server).await, &input).await.unwrap() else { panic!("not V2") };
    assert_eq!(answer.error, ExecutorError::DbKeyNotFound.number());
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_state_refuses_what_would_stay_and_serves_the_rest() {
    let mut config = config();
    config.state.permanent_bytes_max = 1 << 12;
    let server = Server::new(config).start().await.unwrap();
    let mut client = connect(&server).await;
    let (workload, genesis) = workload(9);
    let status = send(&mut client, &genesis_batch(&workload, &genesis, true)).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("state.permanent_mib"), "{}", status.message());
    let Answer::V2(answer) = send(&mut client, &genesis_batch(&workload, &genesis, false)).await.unwrap() else {
        panic!("not V2");
    };
    assert_eq!(answer.error, ExecutorError::NoError.number());
    let (_, metrics) = page(server.http_addr(), "/metrics").await;
    for line in [
        "zkevm_executor_refused_calls_total 1",
        "zkevm_executor_state_permanent_bytes 0",
        "zkevm_executor_state_permanent_bytes_max 4096",
        &format!("zkevm_executor_state_nodes {}", genesis.nodes.len()),
        &format!("zkevm_executor_state_programs {}", genesis.programs.len()),
    ] {
        assert!(metrics.lines().any(|found| found == line), "no line {line:?} in\n{metrics}");
    }
    server.shutdown().await;
}

/// Returns a share of the vectors; none if they are not here.
fn vector_files() -> Vec<PathBuf> {
    let Some(inputs) = skip::vectors("executor-input") else { return Vec::new() };
    let every = if std::env::var_os("ZKEVM_VECTORS_ALL").is_some() { 1 } else { VECTORS_EVERY_BY_DEFAULT };
    executor_inputs(&[inputs]).unwrap().into_iter().step_by(every).collect()
}

/// Returns what file mode answers; `None` if that is a missing node, which another vector may have brought to the server.
fn file_mode(vector: &Vector) -> Option<Answer> {
    let input = &vector.input;
    if input.batch_l2_data.len() > BATCH_L2_DATA_MAX_BYTES {
        return Some(Answer::invalid(input, ExecutorError::InvalidBatchL2Data));
    }
    let output = vector.execute().unwrap();
    (output.error != ExecutorError::DbKeyNotFound).then(|| Answer::of(input, output))
}

/// Sends one vector and compares; returns whether it was compared, or what differs.
async fn check_vector(mut client: Client, path: PathBuf) -> Result<bool, String> {
    let name = path.display().to_string();
    let vector = match Vector::read(&path) {
        Ok(vector) => Arc::new(vector),
        Err(VectorError::UnsupportedFork(_)) => return Ok(false),
        Err(error) => return Err(format!("{name}: {error}")),
    };
    let served = send(&mut client, &vector.input).await.map_err(|status| format!("{name}: {status:?}"))?;
    let alone = tokio::task::spawn_blocking(move || file_mode(&vector)).await;
    let Some(alone) = alone.map_err(|error| format!("{name}: {error}"))? else { return Ok(false) };
    let served = served.anonymous();
    if served == alone { Ok(true) } else { Err(format!("{name}\n  served {served:?}\n  alone  {alone:?}")) }
}

#[tokio::test(flavor = "multi_thread")]
async fn vectors_with_64_in_flight_are_answered_as_in_file_mode() {
    let files = vector_files();
    if files.is_empty() {
        return;
    }
    let server = start(std::thread::available_parallelism().map_or(2, usize::from)).await;
    let client = connect(&server).await;
    let checks = futures_util::stream::iter(files).map(|path| check_vector(client.clone(), path));
    let results: Vec<_> = checks.buffer_unordered(VECTORS_IN_FLIGHT).collect().await;
    let compared = results.iter().filter(|result| **result == Ok(true)).count();
    let different: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    println!("{compared} of {} vectors compared, {} differ", results.len(), different.len());
    for difference in different.iter().take(5) {
        println!("{}", difference.chars().take(2_000).collect::<String>());
    }
    assert!(different.is_empty() && compared > 0, "{} vectors differ", different.len());
    let totals = server.stats().report(0).await.unwrap().totals;
    assert_eq!((totals.executor_panics, totals.sums.refused), (0, 0));
    server.shutdown().await;
}
