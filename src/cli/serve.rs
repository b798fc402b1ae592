//! `zkevm-executor serve`: the server, until SIGTERM or ctrl-c.

use super::layers::{self, Layers};
use super::logging;
use crate::descriptors;
use crate::scheduling::request_short_slice;
use crate::server::Server;

/// The gRPC threads only decode, validate and wait: a quarter of the cores serves all executors on the others.
const CORES_PER_RPC_THREAD: usize = 4;
const RPC_THREADS_MIN: usize = 2;
const RPC_THREADS_MAX: usize = 16;

/// Returns how many threads serve the ports of a server on this many cores.
pub fn rpc_threads(cores: usize) -> usize {
    (cores / CORES_PER_RPC_THREAD).clamp(RPC_THREADS_MIN, RPC_THREADS_MAX)
}

/// Starts the server and blocks until it has shut down.
pub fn run(args: &Layers<layers::Serve>) -> Result<(), Box<dyn std::error::Error>> {
    let builder = args.builder(|name| std::env::var(name).ok())?;
    let ignored = builder.ignored().to_vec();
    let mut config = builder.build()?;
    let shortage = descriptors::fit(&mut config);
    let log = config.log;
    let server = Server::new(config);
    let _log = logging::start(log, server.prover_id())?;
    for keys in ignored {
        tracing::warn!("{keys}");
    }
    if let Some(shortage) = shortage {
        tracing::warn!("{shortage}");
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(rpc_threads(cores))
        .thread_name("grpc")
        .on_thread_start(request_short_slice)
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
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok("SIGTERM"),
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| "ctrl-c"),
    }
}
