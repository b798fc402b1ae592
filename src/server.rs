//! Puts the rooms together: actors, gRPC and HTTP of one server, in the caller's tokio runtime.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use zkevm_executor::config::ConfigBuilder;
//! use zkevm_executor::server::Server;
//!
//! let mut config = ConfigBuilder::new()?.build()?;
//! config.grpc.set_port(0); // any free port
//! config.http.set_port(0);
//! let running = Server::new(config).start().await?;
//! println!("listening on {}", running.grpc_addr());
//! running.shutdown().await;
//! # Ok(())
//! # }
//! ```

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::actors::front::FrontHandle;
use crate::actors::stats::StatsHandle;
use crate::actors::{ActorOptions, ActorSystem, BatchEngine, BatchState, Lifecycle, MemoryState, NativeEngine, Phase};
use crate::config::Config;
use crate::grpc::executor::ExecutorApi;
use crate::grpc::stats::StatsApi;
use crate::grpc::validate::ValidationRules;
use crate::{grpc, http};

/// Time open connections have to end after the last answer.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// A server about to start: its configuration, and the engine and state it will use.
pub struct Server {
    config: Config,
    engine: Arc<dyn BatchEngine>,
    state: Arc<dyn BatchState>,
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Threads could not be started.
    #[error("cannot start the actors: {0}")]
    Actors(#[from] std::io::Error),
    /// The gRPC door.
    #[error("gRPC: {0}")]
    Grpc(#[from] grpc::server::GrpcStartError),
    /// The HTTP door.
    #[error("HTTP: {0}")]
    Http(#[from] http::HttpStartError),
}

impl Server {
    /// Prepares a server with the native engine and state kept in this process.
    pub fn new(config: Config) -> Self {
        let state = Arc::new(MemoryState::new(config.state));
        Self { config, engine: Arc::new(NativeEngine), state }
    }

    /// Puts another engine in place: a test double.
    pub fn with_engine(mut self, engine: impl BatchEngine) -> Self {
        self.engine = Arc::new(engine);
        self
    }

    /// Puts another state in place.
    pub fn with_state(mut self, state: Arc<dyn BatchState>) -> Self {
        self.state = state;
        self
    }

    /// Starts the actors and opens both doors. When this returns, calls are answered.
    pub async fn start(self) -> Result<RunningServer, StartError> {
        let Self { config, engine, state } = self;
        let lifecycle = Lifecycle::default();
        let options = ActorOptions {
            executors: config.executors,
            queue_capacity: config.queue_capacity,
            stats_window: config.stats_window,
        };
        let actors = ActorSystem::start(options, engine, state, lifecycle.clone())?;
        match open_doors(&config, &actors, &lifecycle).await {
            Ok(doors) => Ok(RunningServer { doors, actors, lifecycle, drain_limit: config.drain_limit }),
            Err(error) => {
                actors.stop();
                Err(error)
            }
        }
    }
}

struct Doors {
    grpc_addr: SocketAddr,
    http_addr: SocketAddr,
    prover_id: Arc<str>,
    grpc: JoinHandle<()>,
    http: JoinHandle<()>,
}

async fn open_doors(config: &Config, actors: &ActorSystem, lifecycle: &Lifecycle) -> Result<Doors, StartError> {
    // Clients take a new id for a restart (executor-service §6.1).
    let prover_id: Arc<str> = uuid::Uuid::new_v4().to_string().into();
    let front = actors.front().clone();
    let stats = actors.stats().clone();
    let reporter = stats.reporter().clone();
    let rules = ValidationRules { db_read_only: config.db_read_only };
    let executor_api = ExecutorApi::new(front, reporter, lifecycle.clone(), rules, Arc::clone(&prover_id));
    let stats_api = StatsApi::new(stats.clone(), lifecycle.clone());
    let (grpc_addr, grpc) = grpc::server::open(config.grpc, executor_api, stats_api, lifecycle.clone()).await?;
    let (http_addr, http) = http::open(config.http, stats, lifecycle.clone()).await?;
    let grpc = tokio::spawn(logged("gRPC", grpc));
    let http = tokio::spawn(logged("HTTP", http));
    tracing::info!("executor server listening on {grpc_addr}");
    tracing::info!("statistics server listening on {http_addr}");
    Ok(Doors { grpc_addr, http_addr, prover_id, grpc, http })
}

async fn logged<E: std::fmt::Display>(door: &'static str, server: impl Future<Output = Result<(), E>>) {
    if let Err(error) = server.await {
        tracing::error!(door, %error, "server ended badly");
    }
}

/// A server that answers calls.
pub struct RunningServer {
    doors: Doors,
    actors: ActorSystem,
    lifecycle: Lifecycle,
    drain_limit: Duration,
}

impl RunningServer {
    /// Returns the address of the gRPC services.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.doors.grpc_addr
    }

    /// Returns the address of the HTTP pages.
    pub fn http_addr(&self) -> SocketAddr {
        self.doors.http_addr
    }

    /// Returns the id that names this process in answers.
    pub fn prover_id(&self) -> &str {
        &self.doors.prover_id
    }

    /// Returns the way to the statistics.
    pub fn stats(&self) -> &StatsHandle {
        self.actors.stats()
    }

    /// Returns the way to the front.
    pub fn front(&self) -> &FrontHandle {
        self.actors.front()
    }

    /// Refuses new batches from now on; admitted ones go on.
    pub fn drain(&self) {
        self.lifecycle.advance(Phase::Draining);
    }

    /// Drains, gives admitted batches the configured time to finish, then stops everything.
    pub async fn shutdown(self) {
        self.drain();
        let Self { doors, actors, lifecycle, drain_limit } = self;
        if tokio::time::timeout(drain_limit, actors.front().idle()).await.is_err() {
            tracing::warn!(drain_seconds = drain_limit.as_secs(), "batches still running, giving them up");
        }
        lifecycle.advance(Phase::Stopping);
        close(doors.grpc).await;
        close(doors.http).await;
        actors.stop();
    }
}

/// Waits for a door to close by itself, then closes it.
async fn close(mut door: JoinHandle<()>) {
    if tokio::time::timeout(CLOSE_LIMIT, &mut door).await.is_err() {
        door.abort();
    }
}
