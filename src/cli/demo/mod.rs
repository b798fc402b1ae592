//! `demo`: a server in this process, many clients with chains of signed batches, the statistics afterwards, and their state
//! read back from the database after a restart.

mod report;
mod state;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use revm::primitives::{Address, B256};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use super::load::client;
use crate::config::ConfigBuilder;
use crate::server::{RunningServer, Server};
use zkevm_testkit::sample::genesis::GenesisState;
use zkevm_testkit::sample::workload::Chain;
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_tools::engine::{EngineArgs, EngineKind};
use zkevm_types::ForkId;
use zkevm_wire::proto::stats::v1::stats_service_client::StatsServiceClient;
use zkevm_wire::proto::stats::v1::{GetStatsRequest, GetStatsResponse};

type DemoError = Box<dyn std::error::Error + Send + Sync>;

/// Errors that are printed; the rest is counted.
const ERRORS_KEPT: usize = 5;
const HISTORY_WINDOWS: u32 = 360;
const POLL: Duration = Duration::from_millis(200);

/// Arguments of `demo`.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// How long batches are sent, in seconds.
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: u64,
    /// Clients, each with a connection and a chain of batches of its own.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub clients: u64,
    /// Transactions per batch.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u64).range(1..=700))]
    pub batch_txs: u64,
    /// Fork id of the batches.
    #[arg(long, value_name = "N", default_value_t = 13)]
    pub fork: u64,
    /// Executor threads of the server; default one per core.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub executors: Option<u16>,
    /// Engine of the server.
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// What all clients add to and the progress line reads.
#[derive(Debug, Default)]
struct Progress {
    batches: AtomicU64,
    txs: AtomicU64,
    gas: AtomicU64,
    errors: AtomicU64,
    stop: AtomicBool,
    first_errors: Mutex<Vec<String>>,
}

impl Progress {
    fn count_error(&self, error: String) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        let mut kept = self.first_errors.lock();
        if kept.len() < ERRORS_KEPT {
            kept.push(error);
        }
    }

    fn load(&self) -> [u64; 4] {
        [&self.batches, &self.txs, &self.gas, &self.errors].map(|number| number.load(Ordering::Relaxed))
    }
}

/// Runs the demo; fails if any batch was not answered as it should be.
pub fn run(args: &DemoArgs) -> Result<(), Box<dyn std::error::Error>> {
    match try_run(args) {
        Ok(true) => Ok(()),
        Ok(false) => Err("some batches were not answered as they should be".into()),
        Err(error) => Err(error),
    }
}

fn try_run(args: &DemoArgs) -> Result<bool, DemoError> {
    let fork_id = ForkId::new(args.fork).ok_or_else(|| format!("fork {} is not supported", args.fork))?;
    let workload = Arc::new(Workload::new(fork_id, args.clients)?);
    let genesis = workload.genesis().build()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve_and_send(args, workload, genesis))
}

async fn serve_and_send(args: &DemoArgs, workload: Arc<Workload>, genesis: GenesisState) -> Result<bool, DemoError> {
    let folder = tempfile::tempdir()?;
    let server = start_server(args, folder.path()).await?;
    let endpoint = endpoint(server.grpc_addr())?;
    println!(
        "server     gRPC {}, HashDB {}, HTTP http://{}/stats, embedded database",
        server.grpc_addr(),
        server.hashdb_addr(),
        server.http_addr()
    );
    let hashdb = self::endpoint(server.hashdb_addr())?;
    let root = state::create_genesis(hashdb.connect().await?, workload.genesis()).await?;
    if root != genesis.root {
        return Err(format!("the HashDB service made root {}, not {}", root.to_b256(), genesis.root.to_b256()).into());
    }
    println!(
        "genesis    {} accounts, set leaf by leaf through the HashDB service, state root {}",
        workload.genesis().accounts.len(),
        root.to_b256()
    );
    println!(
        "clients    {}, half of them with plain transfers, half with token transfers, {} per batch, fork id {}",
        args.clients, args.batch_txs, args.fork
    );

    let progress = Arc::new(Progress::default());
    let clients = start_clients(args, &endpoint, &workload, root.to_b256(), &progress).await?;
    let start = Instant::now();
    show_progress(Duration::from_secs(args.seconds), &progress).await;
    progress.stop.store(true, Ordering::Relaxed);
    let chains = clients.join_all().await;
    let elapsed = start.elapsed();

    let stats = closed_windows(endpoint.connect().await?).await?;
    report::print(&stats, &progress, elapsed);
    let accounts: Vec<(B256, Address)> =
        chains.iter().flat_map(|chain| chain.senders().map(|sender| (chain.state_root, sender))).collect();
    let before = state::read_accounts(hashdb.connect().await?, &accounts).await?;
    let stored = server.shutdown().await;

    let server = start_server(args, folder.path()).await?;
    let hashdb = self::endpoint(server.hashdb_addr())?;
    let after = state::read_accounts(hashdb.connect().await?, &accounts).await?;
    server.shutdown().await;
    let is_same = stored && before == after;
    println!(
        "restart    balance and nonce of {} accounts at the last {} state roots read back: {}",
        accounts.len(),
        chains.len(),
        if is_same { "the same" } else { "NOT the same" }
    );
    Ok(is_same && progress.errors.load(Ordering::Relaxed) == 0)
}

fn endpoint(address: SocketAddr) -> Result<Endpoint, DemoError> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?)
}

async fn start_server(args: &DemoArgs, data: &Path) -> Result<RunningServer, DemoError> {
    let mut config = ConfigBuilder::new()?.build()?.on_free_local_ports();
    config.store.path = data.to_owned();
    config.engine.rom_dir = args.engine.rom_dir.clone();
    if args.engine.kind == EngineKind::Rom {
        config.engine.kind = crate::config::EngineKind::Rom;
    }
    if let Some(executors) = args.executors {
        config.executor.threads = executors.into();
    }
    // Every client has one batch under way, so none is ever refused.
    config.executor.queue_capacity = config.executor.queue_capacity.max(usize::try_from(args.clients)?);
    Ok(Server::new(config).start().await?)
}

async fn start_clients(
    args: &DemoArgs,
    endpoint: &Endpoint,
    workload: &Arc<Workload>,
    genesis_root: B256,
    progress: &Arc<Progress>,
) -> Result<JoinSet<Chain>, DemoError> {
    let mut clients = JoinSet::new();
    for number in 0..args.clients {
        let kind = if number % 2 == 0 { Kind::Transfers } else { Kind::TokenTransfers };
        let chain = workload.chain(number, genesis_root);
        let channel = endpoint.connect().await?;
        let batch_txs = usize::try_from(args.batch_txs)?;
        clients.spawn(send_chain(channel, chain, kind, batch_txs, Arc::clone(progress)));
    }
    Ok(clients)
}

/// Sends batch after batch until told to stop; returns how far the chain got. After a wrong answer it ends: nothing could be
/// built on it.
async fn send_chain(
    channel: Channel,
    mut chain: Chain,
    kind: Kind,
    batch_txs: usize,
    progress: Arc<Progress>,
) -> Chain {
    let mut client = client::connect(channel);
    while !progress.stop.load(Ordering::Relaxed) {
        let input = chain.next_batch(kind, batch_txs);
        match client::send_checked(&mut client, &input, batch_txs).await {
            Ok(answer) => {
                chain.state_root = answer.new_state_root;
                chain.acc_input_hash = answer.new_acc_input_hash;
                progress.batches.fetch_add(1, Ordering::Relaxed);
                progress.txs.fetch_add(answer.transactions as u64, Ordering::Relaxed);
                progress.gas.fetch_add(answer.gas_used, Ordering::Relaxed);
            }
            Err(error) => {
                progress.count_error(error.to_string());
                break;
            }
        }
    }
    chain
}

/// Prints a line per second until the time is over.
async fn show_progress(length: Duration, progress: &Progress) {
    let start = Instant::now();
    let mut before = [0; 4];
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    while start.elapsed() < length {
        ticks.tick().await;
        let now = progress.load();
        let [batches, txs, gas, errors] = now;
        println!(
            "{:>4} s     {batches} batches, {txs} txs, {:.1} Mgas, errors {errors}   now {} batches/s, {} txs/s",
            start.elapsed().as_secs(),
            gas as f64 / 1e6,
            batches - before[0],
            txs - before[1],
        );
        before = now;
    }
}

/// Waits until the open window has closed and returns the statistics with every closed one.
async fn closed_windows(channel: Channel) -> Result<GetStatsResponse, DemoError> {
    let mut client = StatsServiceClient::new(channel);
    let request = GetStatsRequest { history_windows: HISTORY_WINDOWS };
    let first = client.get_stats(request).await?.into_inner();
    let closed = first.history.last().map_or(0, |window| window.sequence);
    let window = first.now.as_ref().map_or(10.0, |now| now.window_seconds);
    println!("           waiting for the open window to close");
    let give_up = Instant::now() + Duration::try_from_secs_f64(window + 2.0)?;
    loop {
        let stats = client.get_stats(request).await?.into_inner();
        if stats.history.last().is_some_and(|window| window.sequence > closed) || Instant::now() > give_up {
            return Ok(stats);
        }
        tokio::time::sleep(POLL).await;
    }
}
