//! Batches over a large state in the embedded database and in PostgreSQL: time and memory against the number of accounts.
//!
//! `ACCOUNTS=10000,1000000,10000000 cargo bench --bench large_state`; without the variable the first two. For each size the
//! bench fills a database (in a folder of its own, removed at the end; 10 million accounts take about 7 GB of disk and, while
//! filling, of memory), opens it again in a new process with the default cache budget and runs batches of transfers between
//! accounts drawn at random: every recipient is a cold read the first time. `DATABASE=embedded` or `postgresql` leaves the
//! other out; PostgreSQL is one of the bench's own on this machine, left out, loudly, if it is not installed.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use revm::primitives::{Address, B256, Bytes, U256};
use tempfile::TempDir;
use tokio::runtime::Builder;
use zkevm_executor::actors::state;
use zkevm_executor::config::ConfigBuilder;
use zkevm_executor::memory;
use zkevm_pool::CancelToken;
use zkevm_processor::Engine;
use zkevm_store::{
    Database, DurableOptions, EmbeddedDatabase, PostgresDatabase, PostgresOptions, QueueLimits, StateStore, WriteSet,
};
use zkevm_testkit::sample::{Account, BatchBuilder, Transfer};
use zkevm_tools::table::Table;
use zkevm_tree::{Digest, LeafKind, NodeData, StateTree, account_key};
use zkevm_tree::{StateReader, StoreError};
use zkevm_types::ForkId;
use zkevm_types::{BatchContext, BatchInput, CountersPolicy, StateSource, V2Context};

#[path = "../tests/hashdb/postgres_server.rs"]
#[allow(dead_code)]
mod postgres_server;
use postgres_server::PostgresServer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FORK: u64 = 9;
const CHAIN_ID: u64 = 1001;
const DEFAULT_SIZES: &str = "10000,1000000";
/// Accounts with a key; the others only hold a balance.
const SENDERS: u64 = 2048;
const TRANSFERS: usize = 730;
const BATCHES: usize = 24;
/// Accounts put into the tree at a time.
const CHUNK: usize = 500_000;
/// Nodes stored in one transaction.
const NODES_PER_COMMIT: usize = 2_000_000;

fn main() {
    memory::disable_transparent_huge_pages();
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "measure") {
        Some(at) => measure(&arguments[at + 1], &arguments[at + 2], arguments[at + 3].parse().expect("a number")),
        None if arguments.iter().any(|argument| argument == "--test") => {}
        None => fill_and_measure(),
    }
}

fn fill_and_measure() {
    let sizes = std::env::var("ACCOUNTS").unwrap_or_else(|_| DEFAULT_SIZES.to_owned());
    let only = std::env::var("DATABASE").ok();
    let mut table = Table::new(&[
        "accounts",
        "database",
        "size",
        "filled in",
        "first median",
        "of that recover",
        "EVM",
        "tree",
        "again",
        "resident",
        "peak",
    ]);
    for size in sizes.split(',') {
        let accounts: u64 = size.trim().parse().expect("ACCOUNTS is numbers with commas between them");
        for kind in ["embedded", "postgresql"] {
            if only.as_ref().is_some_and(|only| only != kind) {
                continue;
            }
            let Some(place) = Place::new(kind) else { continue };
            let start = Instant::now();
            let root = fill(&*place.open(1 << 30), accounts);
            let filled_in = start.elapsed();
            let this = std::env::current_exe().expect("the path of this program");
            let root = format!("{root:#x}");
            let child = Command::new(this).args(["measure", &place.name(), &root, &accounts.to_string()]).output();
            let child = child.expect("a process can be started");
            assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
            let mut cells = vec![
                accounts.to_string(),
                kind.to_owned(),
                format!("{} MiB", place.bytes() >> 20),
                format!("{:.0} s", filled_in.as_secs_f64()),
            ];
            cells.extend(String::from_utf8_lossy(&child.stdout).trim().split('\t').map(str::to_owned));
            table.row(cells);
            println!("{table}");
        }
    }
}

/// Where a database is.
enum Place {
    Folder(TempDir),
    Server(Box<PostgresServer>),
}

impl Place {
    /// Makes room for a new database; `None`, said loudly, if its server is not installed.
    fn new(kind: &str) -> Option<Self> {
        if kind == "embedded" {
            return Some(Self::Folder(tempfile::tempdir().expect("a folder")));
        }
        PostgresServer::start_synced("the PostgreSQL rows of the bench").map(|server| Self::Server(Box::new(server)))
    }

    /// Returns what [`open`] takes.
    fn name(&self) -> String {
        match self {
            Self::Folder(folder) => folder.path().display().to_string(),
            Self::Server(server) => server.url(),
        }
    }

    fn open(&self, cache_bytes: usize) -> Arc<dyn Database> {
        open(&self.name(), cache_bytes)
    }

    fn bytes(&self) -> u64 {
        match self {
            Self::Folder(folder) => {
                let files = std::fs::read_dir(folder.path()).expect("the folder of the database");
                files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum()
            }
            Self::Server(server) => {
                Builder::new_current_thread().enable_all().build().expect("a runtime starts").block_on(async {
                    let size = "SELECT pg_database_size(current_database())";
                    let row = server.client().await.query_one(size, &[]).await.expect("the server answers");
                    u64::try_from(row.get::<_, i64>(0)).expect("a size")
                })
            }
        }
    }
}

/// Opens the database in a folder, or the one at a URL.
fn open(place: &str, cache_bytes: usize) -> Arc<dyn Database> {
    if place.starts_with("postgresql://") {
        let database = PostgresDatabase::open(PostgresOptions::new(place), true, false);
        return Arc::new(database.expect("the server answers"));
    }
    Arc::new(EmbeddedDatabase::open(Path::new(place), cache_bytes, Duration::ZERO).expect("a database"))
}

/// Nodes made so far, of which the tree reads those on the way to the next key.
#[derive(Default)]
struct Made {
    recent: HashMap<Digest, NodeData>,
}

impl StateReader for Made {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        Ok(self.recent.get(hash).copied())
    }

    fn program(&self, _: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
}

/// Fills a database with accounts that hold an ether and their number in wei, and returns the state root.
fn fill(database: &dyn Database, accounts: u64) -> B256 {
    let mut leaves: Vec<(Digest, U256)> =
        (0..accounts).map(|number| (account_key(address(number), LeafKind::Balance), ether(number))).collect();
    // In the order of the tree: each chunk then meets only nodes that the chunk before it made.
    leaves.sort_unstable_by_key(|(key, _)| path_prefix(key));
    let (mut root, mut made, mut nodes) = (Digest::ZERO, Made::default(), Vec::new());
    for chunk in leaves.chunks_mut(CHUNK) {
        let mut tree = StateTree::new(&made);
        let before = tree.open(root);
        let after = tree.update(before, chunk).expect("the chunk before it is there");
        root = tree.root(after);
        let fresh = tree.new_nodes(&[after]);
        nodes.extend_from_slice(&fresh);
        drop(tree);
        made = Made { recent: fresh.into_iter().collect() };
    }
    drop(made);
    for nodes in nodes.chunks(NODES_PER_COMMIT) {
        let set = WriteSet { nodes: nodes.to_vec(), programs: Vec::new(), latest_root: Some(root) };
        database.commit(&[&set]).expect("the disk has room");
    }
    root.to_b256()
}

/// The first 64 levels of the way to a leaf, the first as the most significant bit (state-tree §7).
fn path_prefix(key: &Digest) -> u64 {
    (0..64).fold(0, |prefix, level| prefix << 1 | (key.0[level % 4] >> (level / 4)) & 1)
}

fn address(number: u64) -> Address {
    if number < SENDERS {
        return Account::numbered(number).address();
    }
    Address::left_padding_from(&revm::primitives::keccak256(number.to_be_bytes())[12..])
}

fn ether(number: u64) -> U256 {
    U256::from(10).pow(U256::from(18)) + U256::from(number)
}

/// Runs the batches twice and prints median times of the first and second run, and the memory of this process.
fn measure(place: &str, root: &str, accounts: u64) {
    let config = ConfigBuilder::new().and_then(ConfigBuilder::build).expect("the defaults are valid");
    let share = config.store.cache_bytes_max / 2;
    let options = DurableOptions {
        volatile_bytes_max: config.state.volatile_bytes_max,
        cache_bytes_max: share,
        queue: QueueLimits::default(),
    };
    let store = StateStore::over(open(place, share), options).expect("the database is filled");
    let root = root.parse().expect("a hash");
    let batches: Vec<BatchInput> = (0..BATCHES).map(|number| batch(number as u64, root, accounts)).collect();
    let engine = Engine::default();
    let mut first: Vec<_> = batches.iter().map(|batch| execute(&engine, &store, batch)).collect();
    let mut again: Vec<_> = batches.iter().map(|batch| execute(&engine, &store, batch)).collect();
    let median = |runs: &mut Vec<(Duration, _)>| {
        runs.sort_by_key(|(total, _)| *total);
        runs.swap_remove(runs.len() / 2)
    };
    let (total, phases) = median(&mut first);
    let (total_again, _) = median(&mut again);
    let times = [total, phases.recover, phases.evm, phases.tree, total_again]
        .map(|time| format!("{:.1} ms", time.as_secs_f64() * 1e3));
    println!("{}\t{}\t{}", times.join("\t"), memory("VmRSS"), memory("VmHWM"));
}

fn execute(engine: &Engine, store: &StateStore, input: &BatchInput) -> (Duration, zkevm_types::PhaseTimes) {
    let start = Instant::now();
    let output = engine.process(input, &state::reader(store, input), &CancelToken::default()).expect("nothing cancels");
    let elapsed = start.elapsed();
    assert!(output.roots.is_some(), "{}", output.error_log);
    assert_eq!(output.gas_used, 21_000 * TRANSFERS as u64, "every transfer goes through");
    (elapsed, output.phases)
}

/// Returns a batch on top of `root`: different senders, recipients drawn from all accounts.
fn batch(number: u64, root: B256, accounts: u64) -> BatchInput {
    let mut random = ChaCha8Rng::seed_from_u64(number);
    let fork_id = ForkId::new(FORK).expect("the fork is in the table");
    let mut builder = BatchBuilder::new(fork_id, CHAIN_ID);
    builder.block(1, 0);
    let first = random.gen_range(0..SENDERS);
    for index in 0..TRANSFERS as u64 {
        let transfer = Transfer {
            nonce: 0,
            gas_price: U256::from(1),
            gas_limit: 21_000,
            to: Some(address(random.gen_range(SENDERS..accounts))),
            value: U256::from(1),
            data: Bytes::new(),
        };
        builder.transaction(&Account::numbered((first + index) % SENDERS), &transfer);
    }
    BatchInput {
        fork_id,
        old_state_root: root,
        old_acc_input_hash: B256::ZERO,
        old_batch_num: number,
        chain_id: CHAIN_ID,
        batch_l2_data: builder.finish(),
        coinbase: Address::repeat_byte(0xaa),
        from: None,
        update_merkle_tree: false,
        no_counters: false,
        counters_policy: CountersPolicy::Report,
        get_keys: false,
        context: BatchContext::V2(V2Context { timestamp_limit: u64::from(u32::MAX), ..V2Context::default() }),
        db: Default::default(),
        contracts_bytecode: HashMap::new(),
        state_source: StateSource::Store,
        block_gas_limit_max: u64::MAX,
        state_override: HashMap::new(),
        trace: None,
    }
}

/// Reads a line of `/proc/self/status`.
fn memory(name: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.map_or("unknown".to_owned(), |kibibytes| format!("{} MiB", kibibytes >> 10))
}
