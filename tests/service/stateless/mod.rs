//! `ProcessStatelessBatchV2`: a batch that brings its state as a witness and its blocks as a data stream is answered as
//! `ProcessBatchV2` answers the same batch.

mod damage;
mod encode;
mod hostile;
mod prefixes;
mod rows;
mod vectors;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use revm::primitives::{B256, Bytes, U256};
use tonic::transport::Channel;
use zkevm_batch::{BatchItem, decode};
use zkevm_executor::config::Config;
use zkevm_executor::config::FileOptions;
use zkevm_executor::server::{RunningServer, Server};
use zkevm_pool::CancelToken;
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::{Account, BatchBuilder, Kind, Transfer, Workload};
use zkevm_tree::{Digest, NodeData};
use zkevm_tree::{StateReader, StoreError};
use zkevm_types::ForkId;
use zkevm_types::{BatchContext, L1InfoLeaf};
use zkevm_types::{BatchInput, ExecutorError, RomError};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;
use zkevm_wire::request::Request;

use self::encode::{Payloads, Source, request};
use crate::process::Process;
use crate::support::{config, eventually, page};

type Client = ExecutorServiceClient<Channel>;

/// The genesis of the sample workload, and a batch on it.
fn sample(fork: u64, kind: Kind, transactions: usize) -> (Source, BatchInput) {
    let workload = Arc::new(Workload::new(ForkId::new(fork).unwrap(), 1).unwrap());
    let source = Source::new(workload.genesis()).unwrap();
    let mut input = workload.chain(0, source.state.root.to_b256()).next_batch(kind, transactions);
    set_context(&mut input, |context| context.skip_verify_l1_info_root = true);
    (source, input)
}

fn set_context(input: &mut BatchInput, change: impl FnOnce(&mut zkevm_types::V2Context)) {
    let BatchContext::V2(context) = &mut input.context else { panic!("a batch of a V1 fork") };
    change(context);
}

async fn start() -> (RunningServer, Client) {
    start_with(config()).await
}

async fn start_with(config: Config) -> (RunningServer, Client) {
    let server = Server::new(config).start().await.unwrap();
    let client = connect(server.grpc_addr()).await;
    (server, client)
}

async fn connect(address: std::net::SocketAddr) -> Client {
    let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
    ExecutorServiceClient::new(channel).max_encoding_message_size(256 << 20)
}

/// Asks a fresh server, which knows nothing but what the request brings.
async fn stateless(request: wire::ProcessStatelessBatchRequestV2) -> wire::ProcessBatchResponseV2 {
    let (server, mut client) = start().await;
    let answer = client.process_stateless_batch_v2(request).await.unwrap().into_inner();
    server.shutdown().await;
    anonymous(answer)
}

/// Asks the other call for the same batch, with the whole state sent along.
async fn stateful(source: &Source, input: &BatchInput) -> wire::ProcessBatchResponseV2 {
    let input = BatchInput {
        db: source.state.nodes.iter().map(|(hash, node)| (*hash, node.into())).collect(),
        contracts_bytecode: source.state.programs.clone(),
        ..input.clone()
    };
    let Request::V2(request) = Request::new(&input) else { panic!("a batch of a V1 fork") };
    let (server, mut client) = start().await;
    let answer = client.process_batch_v2(*request).await.unwrap().into_inner();
    server.shutdown().await;
    anonymous(answer)
}

/// Takes out what tells the servers apart, and the flush ids: a stateless batch of later forks has none.
fn anonymous(mut answer: wire::ProcessBatchResponseV2) -> wire::ProcessBatchResponseV2 {
    if answer.error == ExecutorError::NoError.number() {
        assert!(!answer.prover_id.is_empty());
    }
    answer.prover_id.clear();
    (answer.flush_id, answer.stored_flush_id) = (0, 0);
    answer
}

/// Remembers which nodes are read.
struct Recorder {
    state: MemoryStore,
    read: Mutex<HashSet<Digest>>,
}

impl StateReader for Recorder {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        self.read.lock().unwrap().insert(*hash);
        self.state.node(hash)
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        self.state.program(hash)
    }
}

/// The nodes a batch reads.
fn reads(source: &Source, input: &BatchInput) -> HashSet<Digest> {
    let recorder = Recorder { state: MemoryStore::new(0), read: Mutex::default() };
    source.state.write_to(&recorder.state).unwrap();
    zkevm_processor::Engine::default().process(input, &recorder, &CancelToken::default()).unwrap();
    recorder.read.into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_process_batch_v2() {
    for fork in [7, 8, 9, 10, 11, 12, 13] {
        for kind in [Kind::Transfers, Kind::TokenTransfers, Kind::Mints] {
            let (source, input) = sample(fork, kind, 5);
            let expected = stateful(&source, &input).await;
            assert_eq!(expected.error, ExecutorError::NoError.number());
            assert_eq!(expected.block_responses[0].responses.len(), 5);
            assert_ne!(expected.new_state_root, expected.old_state_root);

            let whole = source.witness(|_| true);
            let answer = stateless(request(&input, whole.clone(), Payloads::Fixed)).await;
            assert_eq!(answer, expected, "fork {fork}, {kind:?}, whole state, fixed places");

            let read = reads(&source, &input);
            let pruned = source.witness(|hash| read.contains(hash));
            assert!(pruned.len() < whole.len(), "{} of {} bytes", pruned.len(), whole.len());
            let answer = stateless(request(&input, pruned, Payloads::Protobuf)).await;
            assert_eq!(answer, expected, "fork {fork}, {kind:?}, pruned state, protobuf");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pruned_node_that_is_read_is_a_missing_one() {
    let (source, input) = sample(9, Kind::Transfers, 2);
    let root = source.state.root;
    for witness in [source.witness(|_| false), source.witness(|hash| *hash == root)] {
        let answer = stateless(request(&input, witness, Payloads::Protobuf)).await;
        assert_eq!(answer.error, ExecutorError::DbKeyNotFound.number());
        assert!(answer.new_state_root.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn l1_info_comes_from_the_blocks_with_its_minimum() {
    let leaf = L1InfoLeaf {
        global_exit_root: B256::repeat_byte(0x22),
        block_hash_l1: B256::repeat_byte(0x11),
        min_timestamp: 3,
        smt_proof: Vec::new(),
    };
    let (source, mut input) = sample(9, Kind::Transfers, 1);
    let mut builder = BatchBuilder::new(input.fork_id, input.chain_id);
    builder.block(4, 7).block(1, 0).block(1, 7);
    input.batch_l2_data = builder.finish();
    set_context(&mut input, |context| context.l1_info_tree_data = [(7, leaf)].into());
    let expected = stateful(&source, &input).await;
    assert_eq!(expected.error_rom, RomError::NoError.number());
    assert_eq!(expected.block_responses[0].ger, [0x22; 32][..]);
    let error = RomError::InvalidTxChangeL2BlockMinTimestamp.number();

    for payloads in [Payloads::Fixed, Payloads::Protobuf] {
        let request = request(&input, source.witness(|_| true), payloads);
        assert_eq!(stateless(request.clone()).await, expected, "{payloads:?}");
        let mut without = request.clone();
        without.l1_info_tree_index_min_timestamp.clear();
        assert_eq!(stateless(without).await.new_state_root, expected.new_state_root, "{payloads:?}");
        // A block of protobuf tells its minimum itself, and nothing else does.
        let mut late = request;
        late.l1_info_tree_index_min_timestamp.insert(7, 5);
        let answer = stateless(late).await;
        match payloads {
            Payloads::Fixed => assert_eq!((answer.error_rom, answer.invalid_batch), (error, 1)),
            Payloads::Protobuf => assert_eq!(answer, expected),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_stands_alone_and_leaves_nothing() {
    let (source, input) = sample(9, Kind::TokenTransfers, 3);
    let whole = request(&input, source.witness(|_| true), Payloads::Protobuf);
    let bare = request(&input, source.witness(|_| false), Payloads::Protobuf);
    for keep in [false, true] {
        let mut config = config();
        config.stateless.keep = keep;
        let (server, mut client) = start_with(config).await;
        let expected = client.process_stateless_batch_v2(whole.clone()).await.unwrap().into_inner();
        assert_eq!(expected.error, ExecutorError::NoError.number());
        // Another request brought the nodes: not this one.
        let answer = client.process_stateless_batch_v2(bare.clone()).await.unwrap().into_inner();
        assert_eq!(answer.error, ExecutorError::DbKeyNotFound.number());
        assert!(!answer.debug.unwrap_or_default().error_log.is_empty());
        let Request::V2(same) = Request::new(&input) else { panic!("a batch of a V1 fork") };
        let answer = client.process_batch_v2(*same).await.unwrap().into_inner();
        if keep {
            assert_eq!(answer.new_state_root, expected.new_state_root);
        } else {
            assert_eq!(answer.error, ExecutorError::DbKeyNotFound.number());
        }
        let (_, metrics) = page(server.http_addr(), "/metrics").await;
        let mut nodes = metrics.lines().filter(|line| line.starts_with("zkevm_executor_state_nodes"));
        assert!(keep || nodes.all(|line| line.ends_with(" 0")), "{metrics}");
        server.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counters_can_be_left_out() {
    let (source, input) = sample(13, Kind::Transfers, 2);
    let mut request = request(&input, source.witness(|_| true), Payloads::Protobuf);
    let counted = stateless(request.clone()).await;
    request.no_counters = 1;
    let uncounted = stateless(request).await;
    assert_eq!(counted.new_state_root, uncounted.new_state_root);
    assert!(counted.cnt_keccak_hashes > 0 && uncounted.cnt_keccak_hashes == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_block_gas_limit_of_fork_7_is_a_setting() {
    let (source, input) = sample(7, Kind::Transfers, 1);
    let request = request(&input, source.witness(|_| true), Payloads::Protobuf);
    let mut roots = Vec::new();
    for (setting, limit) in [(0, u64::MAX), (1 << 50, 1 << 50)] {
        let mut config = config();
        config.executor.block_gas_limit_max = setting;
        let (server, mut client) = start_with(config).await;
        let answer = client.process_stateless_batch_v2(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.block_responses[0].gas_limit, limit);
        roots.push(answer.new_state_root);
        server.shutdown().await;
    }
    assert_ne!(roots[0], roots[1], "the header of the block has it");
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_of_before_eip_155_are_executed() {
    let (source, mut input) = sample(9, Kind::Transfers, 1);
    let transfer = Transfer {
        nonce: 0,
        gas_price: U256::from(1_000_000_000),
        gas_limit: 21_000,
        to: Some(revm::primitives::Address::repeat_byte(5)),
        value: U256::from(1),
        data: Bytes::new(),
    };
    let mut builder = BatchBuilder::new(input.fork_id, input.chain_id);
    builder.block(1, 0).plain_transaction(&Account::numbered(0), &transfer);
    input.batch_l2_data = builder.finish();
    let items = decode(&input.batch_l2_data, input.fork_id.rules(), false, false).unwrap();
    assert_eq!(items.last().and_then(BatchItem::transaction).unwrap().chain_id, None);
    let expected = stateful(&source, &input).await;
    assert_eq!(expected.block_responses[0].responses[0].error, RomError::NoError.number());
    let answer = stateless(request(&input, source.witness(|_| true), Payloads::Protobuf)).await;
    assert_eq!(answer, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_of_many_mebibytes_passes() {
    let (source, input) = sample(9, Kind::Transfers, 1);
    let mut witness = source.witness(|_| true);
    // Bytes behind the tree do not count.
    witness.resize(20 << 20, 0xbb);
    let answer = stateless(request(&input, witness, Payloads::Protobuf)).await;
    assert_eq!(answer.error, ExecutorError::NoError.number());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_nodes_is_a_setting() {
    let (source, input) = sample(9, Kind::Transfers, 1);
    let request = request(&input, source.witness(|_| true), Payloads::Protobuf);
    let mut config = config();
    config.limits.witness_nodes = 10;
    let (server, mut client) = start_with(config).await;
    let answer = client.process_stateless_batch_v2(request).await.unwrap().into_inner();
    assert_eq!(answer.error, ExecutorError::InvalidWitness.number());
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stateless_batch_is_counted_and_listed_under_its_own_name() {
    let (source, input) = sample(9, Kind::Transfers, 3);
    let request = request(&input, source.witness(|_| true), Payloads::Protobuf);
    let (server, mut client) = start().await;
    client.process_stateless_batch_v2(request).await.unwrap();
    let sums = server.stats().report(0).await.unwrap().totals.sums;
    assert_eq!((sums.batches, sums.txs), (1, 3));
    assert_eq!(sums.bytes, input.batch_l2_data.len() as u64, "the batch that was put together counts");
    let (_, metrics) = page(server.http_addr(), "/metrics").await;
    assert!(metrics.contains("zkevm_executor_calls_total{rpc=\"ProcessStatelessBatchV2\"} 1\n"), "{metrics}");
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_the_originals_lines_for_it() {
    let (source, input) = sample(9, Kind::Transfers, 3);
    let mut command = Process::binary();
    let process = Process::start(command.args(["serve", "--set=log.server_calls=true"]));
    let request = request(&input, source.witness(|_| true), Payloads::Fixed);
    connect(process.grpc).await.process_stateless_batch_v2(request).await.unwrap();
    let call = "ExecutorServiceImpl::ProcessStatelessBatchV2()";
    let bytes = input.batch_l2_data.len();
    for text in [
        format!("{call} got sequencerAddr=0x"),
        format!("{call} returns result=EXECUTOR_ERROR_NO_ERROR "),
        format!("{call} done counter=1 B={bytes} TX=3 gas="),
    ] {
        eventually(&text, async || process.says(&text)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_lacks_a_node_says_so_in_the_log() {
    let (source, input) = sample(9, Kind::Transfers, 2);
    let mut command = Process::binary();
    let process = Process::start(command.arg("serve"));
    let request = request(&input, source.witness(|_| false), Payloads::Protobuf);
    let answer = connect(process.grpc).await.process_stateless_batch_v2(request).await.unwrap().into_inner();
    for text in [answer.debug.unwrap().error_log, " error=EXECUTOR_ERROR_DB_KEY_NOT_FOUND".to_owned()] {
        eventually(&text, async || process.says("batch failed") && process.says(&text)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saved_input_replays_to_the_same_root() {
    let folder = tempfile::tempdir().unwrap();
    let files = FileOptions {
        output_path: folder.path().to_owned(),
        subfolders: false,
        requests: true,
        inputs: true,
        db_reads: false,
        db_reads_on_change: false,
        responses: false,
    };
    let (source, input) = sample(9, Kind::TokenTransfers, 2);
    let (server, mut client) = start_with(Config { files, ..config() }).await;
    let request = request(&input, source.witness(|_| true), Payloads::Protobuf);
    let answer = client.process_stateless_batch_v2(request).await.unwrap().into_inner();
    server.shutdown().await;
    let file = |end: &str| {
        let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        names.into_iter().find(|path| path.to_str().unwrap().ends_with(end)).unwrap_or_else(|| panic!("no {end}"))
    };
    assert!(std::fs::read_to_string(file("executor_request.txt")).unwrap().starts_with("witness: \""));
    let saved = file("0.process_batch_input.json");
    let run = Process::binary().args(["process", "--json"]).arg(saved).output().unwrap();
    let report: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(report["newStateRoot"], B256::from_slice(&answer.new_state_root).to_string(), "{report}");
}

/// The node's own roots stand in the stream of its dump.
#[tokio::test(flavor = "multi_thread")]
async fn a_dump_tells_where_the_node_has_another_root() {
    let folder = tempfile::tempdir().unwrap();
    let dump = folder.path().join("payload_1.json");
    let (source, input) = sample(7, Kind::Transfers, 2);
    let request = request(&input, source.witness(|_| true), Payloads::Protobuf);
    let text = serde_json::json!({
        "witness": STANDARD.encode(&request.witness),
        "data_stream": STANDARD.encode(&request.data_stream),
        "coinbase": request.coinbase,
        "timestamp_limit": request.timestamp_limit,
    });
    std::fs::write(&dump, text.to_string()).unwrap();
    let process = |arguments: &[&str]| {
        let run = Process::binary().arg("process").args(arguments).arg(&dump).output().unwrap();
        String::from_utf8(run.stdout).unwrap()
    };
    let text = process(&[]);
    assert!(text.contains("  as the file expects    no: from block 1 on, where it names 0x"), "{text}");
    let root = |arguments: &[&str]| {
        let report: serde_json::Value = serde_json::from_str(&process(arguments)).unwrap();
        assert_eq!(report["matchesFile"], false, "{report}");
        report["newStateRoot"].clone()
    };
    assert_ne!(root(&["--json"]), root(&["--json", "--block-gas-limit-max", "1125899906842624"]));
}
