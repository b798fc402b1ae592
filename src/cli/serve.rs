//! `zkevm-executor serve`: the server, until SIGTERM or ctrl-c.

use std::path::{Path, PathBuf};

use clap::Args;

use super::logging;
use super::state::StoreArgs;
use crate::config::{Config, ConfigBuilder, ConfigError};
use crate::scheduling::wake_soon;
use crate::server::Server;

/// The gRPC threads only decode, validate and wait: a quarter of the cores serves all executors on the others.
const CORES_PER_RPC_THREAD: usize = 4;
const RPC_THREADS_MIN: usize = 2;
const RPC_THREADS_MAX: usize = 16;

/// Flags of `serve`.
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// File with settings that differ from the defaults: TOML, or zkevm-prover's config.json as it is.
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Port of the gRPC services, 0 for any free one.
    #[arg(long)]
    port: Option<String>,
    /// Port of the HTTP pages, 0 for any free one.
    #[arg(long)]
    http_port: Option<String>,
    /// Port of the HashDB service, 0 for any free one.
    #[arg(long)]
    hashdb_port: Option<String>,
    /// Folder of the embedded database.
    #[arg(long, value_name = "FOLDER")]
    data: Option<String>,
    /// Make schema and tables in PostgreSQL if they are missing.
    #[arg(long)]
    init_db: bool,
    /// Executor actors, 0 for one per core.
    #[arg(long)]
    threads: Option<String>,
    /// Batches that may wait for an executor.
    #[arg(long)]
    queue_capacity: Option<String>,
    /// Any setting of config/default.toml; repeatable.
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
}

pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("expected SECTION.KEY=VALUE".to_owned()),
    }
}

impl ServeArgs {
    /// Only the flags that say where the store is.
    pub fn of_store(args: &StoreArgs) -> Self {
        let StoreArgs { config, data, init_db, set } = args.clone();
        Self { config, data, init_db, set, ..Self::default() }
    }

    /// Builds the configuration: defaults, file, environment, flags.
    pub fn config(&self, environment: impl Fn(&str) -> Option<String>) -> Result<Config, ConfigError> {
        self.builder(environment)?.build()
    }

    /// Puts the layers together: defaults, file, environment, flags.
    pub fn builder(&self, environment: impl Fn(&str) -> Option<String>) -> Result<ConfigBuilder, ConfigError> {
        let flags = [
            ("grpc.port", self.port.as_deref(), "--port"),
            ("http.port", self.http_port.as_deref(), "--http-port"),
            ("hashdb.port", self.hashdb_port.as_deref(), "--hashdb-port"),
            ("store.path", self.data.as_deref(), "--data"),
            ("executor.threads", self.threads.as_deref(), "--threads"),
            ("executor.queue_capacity", self.queue_capacity.as_deref(), "--queue-capacity"),
            ("store.init", self.init_db.then_some("true"), "--init-db"),
        ];
        layers(self.config.as_deref(), environment, &self.set, &flags)
    }
}

/// A setting, what a flag of its own gives for it, and the flag.
pub(super) type Flag<'a> = (&'static str, Option<&'a str>, &'static str);

/// Puts the layers of the configuration together, later ones win: defaults, file, environment, `--set`, flags.
pub(super) fn layers(
    file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
    set: &[(String, String)],
    flags: &[Flag<'_>],
) -> Result<ConfigBuilder, ConfigError> {
    let mut builder = ConfigBuilder::new()?;
    if let Some(path) = file {
        builder.file(path)?;
    }
    builder.environment(environment)?;
    for (key, value) in set {
        builder.flag(key, value, "--set")?;
    }
    for (key, value, flag) in flags {
        if let Some(value) = value {
            builder.flag(key, value, flag)?;
        }
    }
    Ok(builder)
}

/// Returns how many threads serve the doors of a server on this many cores.
pub fn rpc_threads(cores: usize) -> usize {
    (cores / CORES_PER_RPC_THREAD).clamp(RPC_THREADS_MIN, RPC_THREADS_MAX)
}

/// Starts the server and blocks until it has shut down.
pub fn run(args: ServeArgs) -> Result<(), Box<dyn std::error::Error>> {
    let builder = args.builder(|name| std::env::var(name).ok())?;
    let ignored = builder.ignored().to_vec();
    let config = builder.build()?;
    let log = config.log;
    let server = Server::new(config);
    let _log = logging::start(log, server.prover_id())?;
    for keys in ignored {
        tracing::warn!("{keys}");
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(rpc_threads(cores))
        .thread_name("grpc")
        .on_thread_start(wake_soon)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server = server.start().await?;
        let signal = shutdown_signal().await?;
        tracing::info!(signal, "draining");
        tokio::select! {
            stored = server.shutdown() => {
                tracing::info!("stopped");
                if stored { Ok(()) } else { Err("stopped before all state was stored".into()) }
            }
            // Whoever asks twice does not want to wait.
            signal = shutdown_signal() => {
                tracing::warn!(signal = signal?, "stopped before the batches ended");
                Ok(())
            }
        }
    })
}

/// Waits for SIGTERM or ctrl-c and returns which one came.
pub(super) async fn shutdown_signal() -> std::io::Result<&'static str> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = terminate.recv() => Ok("SIGTERM"),
            interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| "ctrl-c"),
        }
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c().await.map(|()| "ctrl-c")
    }
}
