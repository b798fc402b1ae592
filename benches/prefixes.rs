//! Growing prefixes: what a batch of cdk-erigon costs that is sent block by block, and where the time of a request goes.
//!
//! `cargo bench --bench prefixes [NAME]`: parts `growing`, `witness`. All figures are CPU time of one thread, the best of
//! some runs.
//!
//! - `growing`: 40 requests with 1, 2, …, 40 blocks of 18 transfers (16 calls) each, with and without the cache of prefixes, against
//!   the last request alone on an engine that knows nothing.
//! - `witness`: reading witnesses of 1 and 20 MB, per node, and how much of it is hashing; the same with a memory of hashes that
//!   knows nothing of it or all that it has room for; the same batch over them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message;
use revm::primitives::{Address, B256, Bytes, U256};
use zkevm_batch::{BatchItem, decode};
use zkevm_pool::CancelToken;
use zkevm_processor::{Engine, PrefixCache};
use zkevm_store::{NoState, RequestOverlay};
use zkevm_testkit::sample::genesis::{GenesisAccount, GenesisState};
use zkevm_testkit::sample::{Genesis, Kind, Workload};
use zkevm_testkit::stateless::{Head, Payloads, Source, StreamBlock, stream};
use zkevm_tools::table::Table;
use zkevm_tree::poseidon::hashes_of;
use zkevm_tree::{Digest, NodeData, StateReader, StoreError};
use zkevm_types::{BatchInput, ExecutorError, FlushIds, ForkId};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::respond::{ResponseContext, response_v2};
use zkevm_wire::stateless::{WitnessMemo, read_stream, read_witness, read_witness_while};
use zkevm_wire::validate::{ValidationRules, process_stateless_batch_v2_while};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FORK: u64 = 12;
const BLOCKS: usize = 40;
/// Transactions of a block: of calls, which are longer, fewer fit into a batch.
const TRANSFERS: usize = 18;
const CALLS: usize = 16;
/// Clients of the sample state: each has eight senders, with ether and tokens.
const CLIENTS: u64 = 1000;
const RUNS: usize = 3;
const WITNESS_BYTES: [usize; 2] = [1_000_000, 20_000_000];
const CACHE_BYTES: usize = 64 << 20;
const MEMO_BYTES: usize = 64 << 20;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    let wanted = |name: &str| arguments.first().is_none_or(|filter| name.contains(filter.as_str()));
    if wanted("growing") {
        growing();
    }
    if wanted("witness") {
        witness();
    }
}

/// CPU time of this thread so far.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn timed<R>(work: impl FnOnce() -> R) -> (R, Duration) {
    let start = cpu_time();
    let result = work();
    (result, cpu_time() - start)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1e3)
}

// ------------------------------------------------------------------------------------------------------------- requests

/// Remembers what is read.
struct Recorder<'a> {
    state: &'a GenesisState,
    nodes: Mutex<HashSet<Digest>>,
}

impl StateReader for Recorder<'_> {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        self.nodes.lock().expect("no other thread").insert(*hash);
        Ok(self.state.nodes.get(hash).copied())
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state.programs.get(hash).cloned())
    }
}

/// The requests with 1, 2, … blocks of one batch, as bytes.
fn growing_requests(source: &Source, workload: &Arc<Workload>, kind: Kind) -> Vec<Bytes> {
    let transactions = if kind == Kind::Transfers { TRANSFERS } else { CALLS };
    let mut chain = workload.chain(0, source.state.root.to_b256());
    let mut blocks: Vec<BatchInput> = (0..BLOCKS).map(|_| chain.next_batch(kind, transactions)).collect();
    let mut data = Vec::new();
    let mut requests = Vec::new();
    for block in &mut blocks {
        data.extend_from_slice(&block.batch_l2_data);
        block.batch_l2_data = data.clone().into();
        requests.push(request(source, block));
    }
    requests
}

fn request(source: &Source, input: &BatchInput) -> Bytes {
    let recorder = Recorder { state: &source.state, nodes: Mutex::default() };
    let output = Engine::default().process(input, &recorder, &CancelToken::default()).expect("nobody cancels");
    assert_eq!(output.error, ExecutorError::NoError);
    let read = recorder.nodes.into_inner().expect("no other thread");
    encode(input, source.witness(|hash| read.contains(hash)))
}

fn encode(input: &BatchInput, witness: Vec<u8>) -> Bytes {
    let mut blocks: Vec<StreamBlock> = Vec::new();
    for item in decode(&input.batch_l2_data, input.fork_id.rules(), false, false).expect("a batch") {
        match item {
            BatchItem::ChangeL2Block { delta_timestamp, l1_info_index } => {
                blocks.push(StreamBlock { delta_timestamp, l1_info_index, ..StreamBlock::default() });
            }
            BatchItem::Transaction(tx) => {
                blocks.last_mut().expect("a block").transactions.push((tx.percentage, tx.rlp()));
            }
        }
    }
    let head = Head { batch: 1, fork_id: FORK as u16, chain_id: input.chain_id as u32 };
    let word = || prost::bytes::Bytes::from(vec![0; 32]);
    let request = wire::ProcessStatelessBatchRequestV2 {
        witness: witness.into(),
        data_stream: stream(Payloads::Protobuf, head, &blocks).into(),
        coinbase: input.coinbase.to_string(),
        old_acc_input_hash: word(),
        timestamp_limit: u64::from(u32::MAX),
        forced_blockhash_l1: vec![0].into(),
        context_id: "1".to_owned(),
        ..wire::ProcessStatelessBatchRequestV2::default()
    };
    request.encode_to_vec().into()
}

/// Times of one request.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    /// Decoding the message, the witness, the stream.
    request: Duration,
    execution: Duration,
    response: Duration,
}

impl Times {
    fn sum(self) -> Duration {
        self.request + self.execution + self.response
    }

    fn add(&mut self, other: Self) {
        self.request += other.request;
        self.execution += other.execution;
        self.response += other.response;
    }
}

/// What remembers something from request to request.
#[derive(Default)]
struct Server {
    engine: Engine,
    memo: WitnessMemo,
}

impl Server {
    /// Remembers batches in `prefixes`, and hashes of witnesses.
    fn remembering(prefixes: PrefixCache) -> Self {
        Self { engine: Engine::default().with_prefixes(prefixes), memo: WitnessMemo::new(MEMO_BYTES) }
    }
}

/// Answers a request on this thread, as the service does but for the connection.
fn answer(Server { engine, memo }: &Server, request: &Bytes) -> (Vec<u8>, Times) {
    let (input, reading) = timed(|| {
        let request = wire::ProcessStatelessBatchRequestV2::decode(&request[..]).expect("a request");
        let rules = ValidationRules::default();
        process_stateless_batch_v2_while(request, rules, memo, &mut |_| true).expect("a valid request")
    });
    let context = ResponseContext::new(&input, Arc::from("bench"));
    let (output, execution) = timed(|| {
        let state = RequestOverlay { base: &NoState, nodes: &input.db, programs: &input.contracts_bytecode };
        engine.process(&input, &state, &CancelToken::default()).expect("nobody cancels")
    });
    assert_eq!(output.error, ExecutorError::NoError, "{}", output.error_log);
    let (bytes, response) = timed(|| response_v2(output, &context, FlushIds::default()).encode_to_vec());
    let ((), dropping) = timed(|| drop(input));
    (bytes, Times { request: reading + dropping, execution, response })
}

// --------------------------------------------------------------------------------------------------------------- growing

fn growing() {
    let fork = ForkId::new(FORK).expect("the fork is in the table");
    let workload = Arc::new(Workload::new(fork, CLIENTS).expect("the contracts assemble"));
    let source = Source::new(workload.genesis()).expect("the state is built in memory");
    let columns = ["transactions", "requests", "request", "execution", "response", "all ms", "× last alone"];
    let mut table = Table::new(&columns);
    for (name, kind) in
        [("transfers", Kind::Transfers), ("token transfers", Kind::TokenTransfers), ("mints", Kind::Mints)]
    {
        let requests = growing_requests(&source, &workload, kind);
        let last = requests.last().expect("a request");
        // Senders are recovered once, whatever is remembered of batches: the last alone recovers them all.
        let alone = best(|| answer(&Server::default(), last).1);
        let mut row = |what: &str, times: Times| {
            let share = times.sum().as_secs_f64() / alone.sum().as_secs_f64();
            let parts = [times.request, times.execution, times.response, times.sum()].map(milliseconds);
            table.row(
                [[name.to_owned(), what.to_owned()].to_vec(), parts.to_vec(), vec![format!("{share:.2}")]].concat(),
            );
        };
        row("the last alone", alone);
        let all = |server: &Server| {
            let mut sum = Times::default();
            requests.iter().for_each(|request| sum.add(answer(server, request).1));
            sum
        };
        row("40, no cache", best(|| all(&Server::default())));
        row("40, with cache", best(|| all(&Server::remembering(PrefixCache::new(CACHE_BYTES)))));
        let cache = PrefixCache::new(CACHE_BYTES);
        let (server, fresh) = (Server::remembering(cache.clone()), Server::default());
        for (number, request) in requests.iter().enumerate() {
            assert_eq!(answer(&server, request).0, answer(&fresh, request).0);
            if number % 8 == 7 {
                cache.shrink_to(cache.stats().bytes / 2);
            }
        }
        println!("{name}: last witness and stream {} bytes, {:?}", last.len(), cache.stats());
    }
    println!("{table}");
}

fn best(run: impl FnMut() -> Times) -> Times {
    std::iter::repeat_with(run).take(RUNS).min_by_key(|times| times.sum()).unwrap_or_default()
}

// --------------------------------------------------------------------------------------------------------------- witness

/// A state whose whole witness has about so many bytes: an account of four has a few slots.
fn large_state(workload: &Workload, bytes: usize) -> Genesis {
    let mut accounts = workload.genesis().accounts.clone();
    let mut size = 0;
    for number in 0_u64.. {
        if size >= bytes {
            break;
        }
        let slots = if number % 4 == 0 { 8 } else { 0 };
        accounts.push(GenesisAccount {
            address: Address::left_padding_from(&(0xabcd_0000_0000_0000 + number).to_be_bytes()),
            balance: U256::from(10).pow(U256::from(18)) + U256::from(number),
            nonce: number % 7 + 1,
            storage: (0..slots).map(|slot| (U256::from(slot), U256::from(number + 1) << 128)).collect(),
            ..GenesisAccount::default()
        });
        size += 68 + slots as usize * 74;
    }
    Genesis { accounts }
}

fn witness() {
    let fork = ForkId::new(FORK).expect("the fork is in the table");
    let workload = Arc::new(Workload::new(fork, 1).expect("the contracts assemble"));
    let columns = [
        "witness",
        "nodes",
        "ms",
        "ns a node",
        "of that hashing",
        "beside it",
        "remembering",
        "known",
        "stream ms",
        "execution ms",
    ];
    let mut table = Table::new(&columns);
    for bytes in WITNESS_BYTES {
        let genesis = large_state(&workload, bytes);
        let slots: usize = genesis.accounts.iter().map(|account| account.storage.len()).sum();
        let source = Source::new(&genesis).expect("the state is built in memory");
        let mut chain = workload.chain(0, source.state.root.to_b256());
        let data: Vec<u8> =
            (0..BLOCKS).flat_map(|_| chain.next_batch(Kind::TokenTransfers, CALLS).batch_l2_data).collect();
        let input = BatchInput { batch_l2_data: data.into(), ..chain.empty_batch() };
        let witness = source.witness(|_| true);
        let size = witness.len();
        let request = encode(&input, witness.clone());
        let message = wire::ProcessStatelessBatchRequestV2::decode(&request[..]).expect("a request");
        let best = |work: &mut dyn FnMut() -> Duration| (0..RUNS).map(|_| work()).min().unwrap_or_default();
        let nodes = read_witness(&witness, usize::MAX).expect("a witness").nodes;
        let reading = best(&mut || timed(|| drop(read_witness(&witness, usize::MAX).expect("a witness"))).1);
        let reading_with = |memo: &WitnessMemo| {
            timed(|| drop(read_witness_while(&witness, usize::MAX, memo, &mut |_| true).expect("a witness"))).1
        };
        let remembering = best(&mut || reading_with(&WitnessMemo::new(MEMO_BYTES)));
        let memo = WitnessMemo::new(MEMO_BYTES);
        reading_with(&memo);
        let known = best(&mut || reading_with(&memo));
        // Its nodes, a hash for the key of each leaf, and one for each slot.
        let mut states: Vec<NodeData> = nodes.values().map(|node| node[..].try_into().expect("12 elements")).collect();
        let count = states.len();
        let leaves = states.iter().filter(|node| node[8] == 1).count();
        states.extend_from_within(..leaves);
        states.extend_from_within(..slots);
        let hashing = best(&mut || {
            timed(|| states.chunks(1024).for_each(|states| drop(std::hint::black_box(hashes_of(states))))).1
        });
        let streaming = best(&mut || timed(|| drop(read_stream(&message.data_stream).expect("a stream"))).1);
        let execution = best(&mut || answer(&Server::default(), &request).1.execution);
        let per_node = |time: Duration| format!("{:.0}", time.as_secs_f64() * 1e9 / count as f64);
        table.row(vec![
            format!("{:.1} MB", size as f64 / 1e6),
            count.to_string(),
            milliseconds(reading),
            per_node(reading),
            per_node(hashing),
            per_node(reading.saturating_sub(hashing)),
            per_node(remembering),
            per_node(known),
            milliseconds(streaming),
            milliseconds(execution),
        ]);
        assert_eq!(B256::from(source.state.root), input.old_state_root);
    }
    println!("{table}");
}
