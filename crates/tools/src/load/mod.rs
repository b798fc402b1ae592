//! `load`: chains of signed batches against a running server, in closed or open loop, with the answers checked.
//!
//! Every client owns a chain and has one batch under way. With `--rate` the batches have intended times of sending, shared
//! by all clients, and latency counts from there: a slow server cannot hide by slowing down its callers (coordinated
//! omission). Roots are checked after the load by executing the chains again with the engine in this process, so that the
//! check takes no time away from the measurement.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use tonic::transport::{Channel, Endpoint};

use crate::engine::{CommandEngine, EngineArgs};
use zkevm_testkit::sample::Workload;
use zkevm_testkit::sample::genesis::GenesisState;
use zkevm_types::ForkId;
use zkevm_wire::error_chain;

pub mod client;
mod ghz;
mod report;
mod stateless;
mod verify;
mod worker;
mod workload_mix;

use report::Summary;
use stateless::{ChainPlan, StatelessChain};
use worker::{Plan, Requests, Shared, Worker, WorkerResult};
use workload_mix::WorkloadMix;

/// Any failure of a load command.
pub type LoadError = Box<dyn std::error::Error + Send + Sync>;

const CONNECTS_AT_ONCE: usize = 32;
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

/// Arguments of `load`.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct LoadArgs {
    #[command(subcommand)]
    command: Option<LoadCommand>,
    /// Server under load, host:port of its executor service.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50071")]
    target: String,
    /// The kinds of batches that are sent, and their shares: transfers, tokens. Or `stateless`: after each block all blocks of
    /// the batch so far, with witness and data stream, as the sequencer of cdk-erigon sends them.
    #[arg(long, value_name = "MIX", default_value = "transfers:80,tokens:20")]
    mix: WorkloadMix,
    /// Clients, each with a chain of batches and one of them under way.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..=4096))]
    clients: u64,
    /// Connections; more than clients leaves the rest idle. Default: one per client.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=16_384))]
    connections: Option<u64>,
    /// Batches per second over all clients (open loop); without it every client sends after its last answer (closed loop).
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    rate: Option<f64>,
    /// How long, like 30, 30s or 5m.
    #[arg(long, value_name = "D", default_value = "15s", value_parser = parse_duration)]
    duration: Duration,
    /// Transactions per batch; of stateless batches per block. A server that enforces zk counters refuses more than can be proven:
    /// in fork 9 about 500 plain transfers.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=700))]
    batch_txs: u64,
    /// Blocks of a stateless batch, which is sent in as many requests.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1000))]
    blocks: u64,
    /// Fork id of the batches.
    #[arg(long, value_name = "N", default_value_t = 9)]
    fork: u64,
    /// Accounts and order of batches of this seed; with the same one two runs send the same requests. Without a seed
    /// they are the same in every run, too.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Send a batch again, after a growing pause, when the server refused it (RESOURCE_EXHAUSTED).
    #[arg(long)]
    retry_refused: bool,
    /// Give a call up after this long.
    #[arg(long, value_name = "D", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,
    /// Batches of every chain that are executed here afterwards to compare roots; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(0..=100_000))]
    verify: u64,
    /// What executes them here.
    #[command(flatten)]
    engine: EngineArgs,
    /// Write the summary to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum LoadCommand {
    /// Writes request files for the load generator ghz.
    ExportGhz {
        /// Folder of the files.
        dir: PathBuf,
        /// Different requests per file of small batches.
        #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..=1024))]
        clients: u64,
    },
}

/// Runs the load; fails if an answer was wrong or a call failed otherwise than by being refused.
pub fn run(args: &LoadArgs) -> Result<(), Box<dyn std::error::Error>> {
    try_run(args).map_err(|error| -> Box<dyn std::error::Error> { error })
}

fn try_run(args: &LoadArgs) -> Result<(), LoadError> {
    if let Some(LoadCommand::ExportGhz { dir, clients }) = &args.command {
        let (workload, genesis) = prepare(9, *clients, None)?;
        return ghz::export(dir, &workload, &genesis);
    }
    let engine = args.engine.open()?;
    let mix = args.mix.clone().seeded(args.seed);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let summary = if mix.is_stateless() {
        runtime.block_on(put_stateless_load(args, mix, engine))?
    } else {
        let (workload, genesis) = prepare(args.fork, args.clients, args.seed)?;
        let (mut summary, results) = runtime.block_on(put_stateful_load(args, &mix, &workload, &genesis))?;
        let roots = results.iter().map(|result| result.roots.as_slice());
        summary.verified = verify::chains(&workload, &genesis, &mix, args.batch_txs as usize, roots, &engine)?;
        summary
    };
    report::print(&summary);
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&summary)?)
            .map_err(|error| format!("{}: {error}", path.display()))?;
    }
    match summary.failure() {
        Some(failure) => Err(failure.into()),
        None => Ok(()),
    }
}

fn fork_id(fork: u64) -> Result<ForkId, LoadError> {
    ForkId::new(fork).ok_or_else(|| format!("fork {fork} is not supported").into())
}

fn prepare(fork: u64, clients: u64, seed: Option<u64>) -> Result<(Arc<Workload>, GenesisState), LoadError> {
    let workload = Arc::new(Workload::seeded(fork_id(fork)?, clients, seed)?);
    let genesis = workload.genesis().build()?;
    Ok((workload, genesis))
}

async fn put_stateful_load(
    args: &LoadArgs,
    mix: &WorkloadMix,
    workload: &Arc<Workload>,
    genesis: &GenesisState,
) -> Result<(Summary, Vec<WorkerResult>), LoadError> {
    let channels = connect(args).await?;
    let first = channels.first().ok_or("no connection")?;
    client::send_genesis(first.clone(), workload, genesis).await.map_err(|error| format!("genesis: {error}"))?;
    let chain = |client| Box::new(workload.chain(client, genesis.root.to_b256()));
    let requests = (0..args.clients).map(|client| Requests::Stateful { chain: chain(client), pending: None });
    Ok(put_load(args, mix, &channels, requests.collect()).await)
}

async fn put_stateless_load(args: &LoadArgs, mix: WorkloadMix, engine: CommandEngine) -> Result<Summary, LoadError> {
    let channels = connect(args).await?;
    let plan = ChainPlan {
        fork_id: fork_id(args.fork)?,
        seed: args.seed,
        mix: mix.clone(),
        blocks: args.blocks as usize,
        block_txs: args.batch_txs as usize,
    };
    let requests = |client| {
        let chain = Box::new(StatelessChain::new(client, plan.clone(), engine.clone())?);
        Ok(Requests::Stateless { chain, pending: None })
    };
    let requests = (0..args.clients).map(requests).collect::<Result<_, LoadError>>()?;
    let (mut summary, results) = put_load(args, &mix, &channels, requests).await;
    summary.verified.batches = results.iter().map(|result| result.checked).sum();
    Ok(summary)
}

/// Lets each client send its requests until the time is over.
async fn put_load(
    args: &LoadArgs,
    mix: &WorkloadMix,
    channels: &[Channel],
    requests: Vec<Requests>,
) -> (Summary, Vec<WorkerResult>) {
    let start = Instant::now();
    let plan = Plan {
        start,
        end: start + args.duration,
        rate: args.rate,
        batch_txs: args.batch_txs as usize,
        mix: mix.clone(),
        retry_refused: args.retry_refused,
        roots_max: args.verify as usize,
    };
    let shared = Arc::new(Shared::default());
    let mut workers = tokio::task::JoinSet::new();
    for ((number, requests), channel) in (0..).zip(requests).zip(channels.iter().cycle()) {
        let channel = client::connect(channel.clone());
        let worker = Worker::new(number, requests, channel, plan.clone(), Arc::clone(&shared));
        workers.spawn(worker.run());
    }
    let progress = tokio::spawn(show_progress(args.duration, start, Arc::clone(&shared)));
    let mut results = workers.join_all().await;
    let elapsed = start.elapsed();
    progress.abort();
    results.sort_by_key(|result| result.client);
    let scheduled = args.rate.map(|rate| (rate * args.duration.as_secs_f64()).floor() as u64);
    (Summary::new(&results, elapsed, scheduled, channels.len()), results)
}

async fn connect(args: &LoadArgs) -> Result<Vec<Channel>, LoadError> {
    let endpoint = Endpoint::from_shared(format!("http://{}", args.target))?
        .connect_timeout(CONNECT_LIMIT)
        .timeout(args.timeout)
        .tcp_nodelay(true);
    let count = args.connections.unwrap_or(args.clients);
    stream::iter(0..count)
        .map(|_| endpoint.connect())
        .buffer_unordered(CONNECTS_AT_ONCE)
        .try_collect()
        .await
        .map_err(|error| format!("cannot connect to {}: {}", args.target, error_chain(&error)).into())
}

async fn show_progress(length: Duration, start: Instant, shared: Arc<Shared>) {
    // Draws on standard error, and nothing at all where that is no terminal.
    let bar = indicatif::ProgressBar::new(length.as_secs());
    let style = indicatif::ProgressStyle::with_template("{elapsed_precise} {bar:30} {pos}/{len} s  {msg}");
    bar.set_style(style.unwrap_or_else(|_| indicatif::ProgressStyle::default_bar()));
    let mut before = (Instant::now(), 0);
    loop {
        tokio::time::sleep(PROGRESS_INTERVAL).await;
        let batches = shared.answered.load(Ordering::Relaxed);
        let per_second = (batches - before.1) as f64 / before.0.elapsed().as_secs_f64();
        before = (Instant::now(), batches);
        let (refused, errors) = (shared.refused.load(Ordering::Relaxed), shared.errors.load(Ordering::Relaxed));
        bar.set_position(start.elapsed().as_secs().min(length.as_secs()));
        bar.set_message(format!("{batches} batches, {per_second:.0}/s, refused {refused}, errors {errors}"));
    }
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let seconds_per_unit = match &text[digits.len()..] {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "m" => 60.0,
        "h" => 3600.0,
        unit => return Err(format!("unknown unit {unit}: use ms, s, m or h")),
    };
    let number: f64 = digits.parse().map_err(|_| format!("{text} is no duration"))?;
    let seconds = number * seconds_per_unit;
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err("between 1 ms and 24 h".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.01..=1e6).contains(&rate) => Ok(rate),
        _ => Err("a number of batches per second, 0.01 to 1000000".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_and_bounds() {
        for (text, ms) in [("30", 30_000), ("1.5s", 1500), ("20ms", 20), ("2m", 120_000), ("1h", 3_600_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1", "0", "25h", "3d", "NaN", "inf", "1é"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_have_bounds() {
        assert_eq!(parse_rate("12.5"), Ok(12.5));
        for text in ["0", "-1", "NaN", "inf", "x"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }
}
