//! Batches per second with state in memory, in the embedded database and in PostgreSQL, alternating in one run.
//!
//! `cargo bench --bench store`. Each store gets the same chains of batches with `update_merkle_tree`, run by as many threads as
//! there are cores, while a writer stores what they leave. A run ends when everything is stored, so that the cost of storing
//! counts. PostgreSQL is one of the bench's own on this machine, with synced commits; left out, loudly, if it is not installed.
//!
//! Before that, what one node costs the embedded database alone as it grows, `MILLIONS=20` million nodes large (3 without the
//! variable). The last of the stores above starts with these.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use zkevm_executor::actors::state;
use zkevm_pool::CancelToken;
use zkevm_processor::Engine;
use zkevm_store::{
    Database, Durability, DurableOptions, EmbeddedDatabase, MemoryLimits, PostgresDatabase, PostgresOptions,
    QueueLimits, StateStore, WriteSet, WriterStep,
};
use zkevm_testkit::sample::genesis::GenesisState;
use zkevm_testkit::sample::workload::{Chain, TOKEN_TRANSFERS_PER_BATCH, TRANSFERS_PER_BATCH};
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_tools::table::Table;
use zkevm_tree::StateReader;
use zkevm_tree::{Digest, GOLDILOCKS_PRIME};
use zkevm_types::ForkId;

#[path = "../tests/hashdb/postgres_server.rs"]
#[allow(dead_code)]
mod postgres_server;
use postgres_server::PostgresServer;

const FORK: u64 = 9;
/// Chains, each with its own accounts.
const CLIENTS: u64 = 256;
const MEASURE: Duration = Duration::from_secs(10);
const CACHE_BYTES: usize = 256 << 20;
const KINDS: [(&str, Kind, usize); 2] = [
    ("token transfers", Kind::TokenTransfers, TOKEN_TRANSFERS_PER_BATCH),
    ("transfers", Kind::Transfers, TRANSFERS_PER_BATCH),
];

fn main() {
    let large = tempfile::tempdir().expect("a folder");
    let millions = std::env::var("MILLIONS").map_or(3, |number| number.parse().expect("MILLIONS is a number"));
    fill(large.path(), millions);
    let mut table = Table::new(&[
        "batch",
        "store",
        "batches",
        "batches/s",
        "of memory",
        "last commit after",
        "status p99",
        "status max",
    ]);
    for (what, kind, count) in KINDS {
        let name = format!("{count} {what}");
        let memory = measure(kind, count, &StateStore::in_memory(LIMITS));
        table.row(row(&name, "memory", &memory, memory.per_second()));
        let new = tempfile::tempdir().expect("a folder");
        for (what, folder) in [("embedded, new", &new), ("embedded, large", &large)] {
            let database = EmbeddedDatabase::open(folder.path(), CACHE_BYTES, Duration::ZERO).expect("a database");
            let store = StateStore::over(Arc::new(database), OPTIONS).expect("a database");
            let embedded = measure(kind, count, &store);
            table.row(row(&name, what, &embedded, memory.per_second()));
        }
        let Some(server) = PostgresServer::start_synced("the PostgreSQL rows of the bench") else { continue };
        let options = PostgresOptions::new(&server.url());
        let database = PostgresDatabase::open(options, true, false).expect("a new database");
        let store = StateStore::over(Arc::new(database), OPTIONS).expect("a new database");
        let postgres = measure(kind, count, &store);
        table.row(row(&name, "PostgreSQL", &postgres, memory.per_second()));
    }
    println!("{table}");
}

/// Fills a new database, a million nodes at a time, and prints what each million cost.
fn fill(folder: &Path, millions: u64) {
    let mut table = Table::new(&["millions", "nodes/s", "CPU of a node", "stored bytes of a node", "one read"]);
    let database = EmbeddedDatabase::open(folder, CACHE_BYTES, Duration::ZERO).expect("a new database");
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut sample = Vec::new();
    for million in 1..=millions {
        let groups: Vec<WriteSet> = (0..GROUPS).map(|_| random_nodes(&mut random)).collect();
        let (start, cpu) = (Instant::now(), cpu_time());
        groups.iter().for_each(|set| database.commit(&[set]).expect("the disk has room"));
        let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_time() - cpu);
        sample.extend(groups.iter().flat_map(|set| set.nodes.iter().step_by(100).copied()));
        sample.shuffle(&mut random);
        let read = &sample[..sample.len().min(20_000)];
        let start = Instant::now();
        read.iter().for_each(|(hash, node)| assert_eq!(database.node(hash), Ok(Some(*node))));
        let read = start.elapsed().as_secs_f64() / read.len() as f64;
        let nodes = (GROUPS * GROUP_NODES) as f64;
        table.row(vec![
            million.to_string(),
            format!("{:.0}", nodes / elapsed),
            format!("{:.2} us", cpu.as_secs_f64() / nodes * 1e6),
            format!("{:.0}", folder_bytes(folder) as f64 / nodes / million as f64),
            format!("{:.2} us", read * 1e6),
        ]);
    }
    println!("{table}");
}

/// Groups of a million nodes.
const GROUPS: usize = 20;
const GROUP_NODES: usize = 50_000;

/// Branches: most nodes are.
fn random_nodes(random: &mut ChaCha8Rng) -> WriteSet {
    let mut element = || random.gen_range(0..GOLDILOCKS_PRIME);
    let mut node = || {
        (Digest(std::array::from_fn(|_| element())), std::array::from_fn(|place| if place < 8 { element() } else { 0 }))
    };
    WriteSet { nodes: (0..GROUP_NODES).map(|_| node()).collect(), ..WriteSet::default() }
}

/// CPU time of the whole process, system calls included.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn folder_bytes(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).expect("the folder of the database");
    files.map(|file| file.and_then(|file| file.metadata()).map_or(0, |file| file.len())).sum()
}

const LIMITS: MemoryLimits = MemoryLimits { volatile_bytes_max: 256 << 20, permanent_bytes_max: 16 << 30 };
const OPTIONS: DurableOptions = DurableOptions {
    volatile_bytes_max: 256 << 20,
    cache_bytes_max: CACHE_BYTES,
    queue: QueueLimits { backlog_bytes_max: 512 << 20, group_bytes_max: 64 << 20, wait_max: Duration::from_secs(60) },
};

struct Outcome {
    batches: u64,
    elapsed: Duration,
    /// From the end of the last batch until everything was stored.
    stored_after: Duration,
    status: Histogram<u64>,
}

impl Outcome {
    fn per_second(&self) -> f64 {
        self.batches as f64 / self.elapsed.as_secs_f64()
    }
}

fn row(name: &str, store: &str, outcome: &Outcome, memory: f64) -> Vec<String> {
    let in_us = |nanoseconds: u64| format!("{:.1} us", nanoseconds as f64 / 1e3);
    vec![
        name.to_owned(),
        store.to_owned(),
        outcome.batches.to_string(),
        format!("{:.1}", outcome.per_second()),
        format!("{:.2}", outcome.per_second() / memory),
        format!("{:.0} ms", outcome.stored_after.as_secs_f64() * 1e3),
        in_us(outcome.status.value_at_quantile(0.99)),
        in_us(outcome.status.max()),
    ]
}

fn measure(kind: Kind, count: usize, store: &StateStore) -> Outcome {
    let fork_id = ForkId::new(FORK).expect("the fork is in the table");
    let workload = Arc::new(Workload::new(fork_id, CLIENTS).expect("the token assembles"));
    let genesis = workload.genesis().build().expect("the state is built in memory");
    keep_genesis(store, &genesis);
    let executors = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let chains: Vec<Chain> = (0..executors).map(|client| workload.chain(client, genesis.root.to_b256())).collect();
    let (stop, batches) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        if store.needs_writer() {
            scope.spawn(|| while let WriterStep::Stored { .. } = store.write_next() {});
        }
        let watcher = scope.spawn(|| watch_status(store, &stop));
        let start = Instant::now();
        let (stop, batches) = (&stop, &batches);
        let runners: Vec<_> = chains
            .into_iter()
            .map(|chain| scope.spawn(move || run_chain(store, chain, kind, count, stop, batches)))
            .collect();
        std::thread::sleep(MEASURE);
        stop.store(true, Ordering::Relaxed);
        runners.into_iter().for_each(|runner| runner.join().expect("batches run"));
        let executed = Instant::now();
        assert!(store.close(Duration::from_secs(600)), "the writer is stuck");
        Outcome {
            batches: batches.load(Ordering::Relaxed),
            elapsed: start.elapsed(),
            stored_after: executed.elapsed(),
            status: watcher.join().expect("the status is read"),
        }
    })
}

fn keep_genesis(store: &StateStore, genesis: &GenesisState) {
    let set = WriteSet {
        nodes: genesis.nodes.iter().map(|(hash, node)| (*hash, *node)).collect(),
        programs: genesis.programs.iter().map(|(hash, code)| (*hash, code.clone())).collect(),
        latest_root: Some(genesis.root),
    };
    store.persist(set, Durability::Permanent, 0).expect("there is room");
}

fn run_chain(store: &StateStore, mut chain: Chain, kind: Kind, count: usize, stop: &AtomicBool, batches: &AtomicU64) {
    let engine = Engine::default();
    while !stop.load(Ordering::Relaxed) {
        let mut input = chain.next_batch(kind, count);
        input.update_merkle_tree = true;
        let reader = state::reader(store, &input);
        let mut output = engine.process(&input, &reader, &CancelToken::default()).expect("nothing cancels");
        let roots = output.roots.unwrap_or_else(|| panic!("{}", output.error_log));
        state::persist(store, &input, &mut output, &CancelToken::default()).expect("there is room");
        chain.state_root = roots.new_state_root;
        batches.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads the flush status now and then; returns how long that took, in nanoseconds.
fn watch_status(store: &StateStore, stop: &AtomicBool) -> Histogram<u64> {
    let mut times = Histogram::new(3).expect("three digits are allowed");
    while !stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        std::hint::black_box(store.flush_status());
        times.saturating_record(start.elapsed().as_nanos() as u64);
        std::thread::sleep(Duration::from_millis(1));
    }
    times
}
