//! `zkevm-executor aggregator`: the mock aggregator client alone, until SIGTERM or ctrl-c.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::logging;
use super::serve::{key_value, layers, shutdown_signal};
use crate::aggregator::{self, Backoff};
use crate::dump::{Saver, StreamFiles};

/// Time the last files have to be written.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Flags of `aggregator`.
#[derive(Debug, Args)]
pub struct AggregatorArgs {
    /// TOML file with settings that differ from the defaults.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name or address of the aggregator.
    #[arg(long)]
    host: Option<String>,
    /// Port of the aggregator.
    #[arg(long)]
    port: Option<String>,
    /// Fork id the prover claims; it must be the chain's.
    #[arg(long)]
    fork_id: Option<String>,
    /// Microseconds a proof takes.
    #[arg(long)]
    proof_time_us: Option<String>,
    /// Name the prover tells.
    #[arg(long)]
    prover_name: Option<String>,
    /// Any setting of config/default.toml; repeatable.
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

/// Runs the client and blocks until a signal comes.
pub fn run(args: &AggregatorArgs) -> Result<(), Box<dyn std::error::Error>> {
    let flags = [
        ("aggregator.host", args.host.as_deref(), "--host"),
        ("aggregator.port", args.port.as_deref(), "--port"),
        ("aggregator.fork_id", args.fork_id.as_deref(), "--fork-id"),
        ("aggregator.proof_time_us", args.proof_time_us.as_deref(), "--proof-time-us"),
        ("aggregator.prover_name", args.prover_name.as_deref(), "--prover-name"),
    ];
    let config = layers(args.config.as_deref(), |name| std::env::var(name).ok(), &args.set, &flags)?.build()?;
    let prover_id = uuid::Uuid::new_v4().to_string();
    let _log = logging::start(config.log, &prover_id)?;
    let saver = Saver::start(config.files)?;
    let files = StreamFiles::new(saver.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            () = aggregator::run(config.aggregator.options, prover_id, Backoff::default(), files) => {}
            signal = shutdown_signal() => tracing::info!(signal = signal?, "stopped"),
        }
        Ok::<_, std::io::Error>(())
    })?;
    saver.close(CLOSE_LIMIT);
    Ok(())
}
