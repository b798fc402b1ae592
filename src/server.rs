//! Puts one server together: its actors, gRPC and HTTP, in the caller's tokio runtime.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use zkevm_executor::config::ConfigBuilder;
//! use zkevm_executor::server::Server;
//!
//! let config = ConfigBuilder::new()?.build()?.on_free_local_ports();
//! let running = Server::new(config).start().await?;
//! println!("listening on {}", running.grpc_addr());
//! running.shutdown().await;
//! # Ok(())
//! # }
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::actors::diagnostics::running::Running;
use crate::actors::front::FrontHandle;
use crate::actors::stats::StatsHandle;
use crate::actors::{ActorOptions, ActorSystem, BatchEngine, Lifecycle, Phase, QueueBounds};
use crate::capture::{FileWriter, StreamFiles};
use crate::config::{Config, LimitOptions, StoreKind, StoreOptions};
use crate::engines::{EngineError, Engines};
use crate::grpc::capture::RequestCapture;
use crate::grpc::executor_service::{ExecutorApi, ShortCalls};
use crate::grpc::hashdb::HashDbApi;
use crate::grpc::receive_budget::ReceiveBudget;
use crate::grpc::server::Endpoint;
use crate::grpc::stats::StatsApi;
use crate::grpc::tls::TlsFiles;
use crate::http::Diagnosis;
use crate::remote_database::{RemoteDatabase, RemoteOptions};
use crate::scheduling::request_short_slice;
use crate::telemetry::Spans;
use crate::{aggregator, grpc, http};
use zkevm_pool::memory::{MemoryBounds, MemoryBudget};
use zkevm_processor::PrefixCache;
use zkevm_recovery::{LanesRefused, Recoverer};
use zkevm_store::hashdb::{HashDb, SessionLimits};
use zkevm_store::{Database, DurableOptions, EmbeddedDatabase, PostgresDatabase, QueueLimits, StateStore};
use zkevm_tree::StoreError;
use zkevm_wire::stateless::WitnessMemo;
use zkevm_wire::validate::{ValidationRules, WitnessLimits};

/// Time open connections have to end after the last answer.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);

/// Longest wait for the next group of nodes to be stored once the last batch has ended.
const STORE_LIMIT: Duration = Duration::from_secs(30);

/// Interval at which the database is looked at.
const STORE_CHECK: Duration = Duration::from_secs(1);

/// Time the process before this one has to let go of the database.
const OPEN_LIMIT: Duration = Duration::from_secs(10);

/// A server about to start.
pub struct Server {
    config: Config,
    /// In place of those that the settings ask for.
    engine: Option<Arc<dyn BatchEngine>>,
    prover_id: Arc<str>,
}

/// The reason why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The engine that the settings ask for is not there.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Threads could not be started.
    #[error("cannot start the actors: {0}")]
    Actors(#[from] std::io::Error),
    /// Spans cannot be sent to where they are to go.
    #[error("trace.otlp_url: {0}")]
    Spans(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The gRPC endpoint.
    #[error("gRPC: {0}")]
    Grpc(#[from] grpc::server::GrpcStartError),
    /// The HTTP endpoint.
    #[error("HTTP: {0}")]
    Http(#[from] http::HttpStartError),
}

impl Server {
    /// Prepares a server. Opens nothing yet.
    pub fn new(config: Config) -> Self {
        // Clients take a new id for a restart (executor-service §6.1).
        let prover_id = uuid::Uuid::new_v4().to_string().into();
        Self { config, engine: None, prover_id }
    }

    /// Returns the id that names this process in answers and log lines.
    pub fn prover_id(&self) -> &str {
        &self.prover_id
    }

    /// Puts another engine in place: a test double.
    pub fn with_engine(mut self, engine: impl BatchEngine) -> Self {
        self.engine = Some(Arc::new(engine));
        self
    }

    /// Opens the store, starts the actors and binds the ports. When this returns, calls are answered.
    pub async fn start(self) -> Result<RunningServer, StartError> {
        let Self { config, engine, prover_id } = self;
        let config = Arc::new(config);
        let opening = Arc::clone(&config);
        let ended = |error: tokio::task::JoinError| StoreError::Unavailable(error.to_string());
        let prefixes = PrefixCache::new(config.executor.prefix_cache_bytes_max);
        let engine = match engine {
            Some(engine) => engine,
            None => {
                let (options, helpers) = (config.engine.clone(), config.executor.helpers);
                let (recoverer, prefixes) = (recoverer(&config), prefixes.clone());
                let open = move || Engines::open(&options, helpers, recoverer, prefixes);
                Arc::new(tokio::task::spawn_blocking(open).await.map_err(ended)??)
            }
        };
        let store = tokio::task::spawn_blocking(move || open_store(&opening)).await.map_err(ended)??;
        let lifecycle = Lifecycle::default();
        let options = ActorOptions {
            executors: config.executor.threads,
            queue: QueueBounds {
                jobs_max: config.executor.queue_capacity,
                bytes_max: config.executor.queue_bytes_max,
                small_bytes_max: config.executor.small_batch_bytes_max,
            },
            stats_window: config.stats.window,
            slow_after: config.executor.slow_after,
            batch_limit: config.executor.batch_limit,
            executor_niceness: config.executor.niceness,
            slowest_input_bytes_max: config.stats.slowest_input_bytes_max,
            // With every input in the log the slow ones need no line of their own.
            input_gas_threshold: if config.log.input { 0.0 } else { config.log.input_gas_threshold },
        };
        let file_writer = FileWriter::start(config.files.clone())?;
        let spans = Spans::start(&config.trace, &prover_id)?;
        let actors = ActorSystem::start(options, engine, Arc::clone(&store), lifecycle.clone())?;
        let parts = Parts {
            actors: &actors,
            store: &store,
            prefixes,
            lifecycle: &lifecycle,
            file_writer: &file_writer,
            spans: &spans,
        };
        match bind(&config, prover_id, parts).await {
            Ok(listeners) => Ok(RunningServer {
                listeners,
                actors,
                lifecycle,
                file_writer,
                spans,
                drain_limit: config.executor.drain_limit,
            }),
            Err(error) => {
                actors.stop(Duration::ZERO);
                Err(error)
            }
        }
    }
}

/// Opens the store the configuration asks for. If another process has the database open, waits a little for it.
pub fn open_store(config: &Config) -> Result<Arc<StateStore>, StoreError> {
    let store = match open_database(config, OPEN_LIMIT)? {
        None => StateStore::in_memory(config.state.limits()),
        Some(database) => {
            let queue = QueueLimits { backlog_bytes_max: config.store.backlog_bytes_max, ..QueueLimits::default() };
            let (volatile_bytes_max, cache_bytes_max) = (config.state.volatile_bytes_max, cache_share(config));
            StateStore::over(database, DurableOptions { volatile_bytes_max, cache_bytes_max, queue })?
        }
    };
    Ok(Arc::new(store.read_only(config.database.read_only)))
}

/// Opens the database the configuration asks for, `None` if state is to stay in memory.
pub fn open_database(config: &Config, patience: Duration) -> Result<Option<Arc<dyn Database>>, StoreError> {
    match config.store.kind {
        StoreKind::Memory => Ok(None),
        StoreKind::Embedded => {
            let database = EmbeddedDatabase::open(&config.store.path, cache_share(config), patience)?;
            Ok(Some(Arc::new(database)))
        }
        StoreKind::Postgres => {
            let options = config.store.postgres();
            let database = PostgresDatabase::open(options, config.store.init, config.database.read_only)?;
            Ok(Some(Arc::new(database)))
        }
        StoreKind::Remote => {
            let StoreOptions { retries, retry_after, timeout, .. } = config.store;
            let (url, cache_bytes_max) = (config.hashdb.url.clone(), cache_share(config));
            let message_bytes = config.limits.message_bytes;
            let options = RemoteOptions { url, retries, retry_after, timeout, message_bytes, cache_bytes_max };
            Ok(Some(Arc::new(RemoteDatabase::open(options)?)))
        }
    }
}

/// Chooses how senders are recovered: eight at a time, if the settings and the processor allow it and the check passes.
fn recoverer(config: &Config) -> Recoverer {
    if !config.executor.eight_lane_recovery {
        return Recoverer::single();
    }
    Recoverer::detected().unwrap_or_else(|refused| {
        match refused {
            LanesRefused::NotSupported => tracing::debug!("senders are recovered one at a time: {refused}"),
            LanesRefused::Differs { .. } => tracing::warn!("senders are recovered one at a time: {refused}"),
        }
        Recoverer::single()
    })
}

/// The pages of an embedded database and the cache over it share the budget, as do nodes read ahead and the cache.
fn cache_share(config: &Config) -> usize {
    match config.store.kind {
        StoreKind::Embedded | StoreKind::Remote => config.store.cache_bytes_max / 2,
        StoreKind::Memory | StoreKind::Postgres => config.store.cache_bytes_max,
    }
}

struct Listeners {
    grpc_addr: SocketAddr,
    hashdb_addr: SocketAddr,
    http_addr: SocketAddr,
    prover_id: Arc<str>,
    grpc: JoinHandle<()>,
    hashdb: JoinHandle<()>,
    http: JoinHandle<()>,
    http_threads: HttpThreads,
    aggregator: Option<JoinHandle<()>>,
}

/// The runtime of the HTTP pages: health is answered whatever keeps the threads of gRPC.
struct HttpThreads(Option<Runtime>);

impl HttpThreads {
    fn start() -> std::io::Result<Self> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("http").on_thread_start(request_short_slice).enable_all();
        runtime.build().map(Some).map(Self)
    }

    fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match &self.0 {
            Some(runtime) => runtime.spawn(task),
            None => tokio::spawn(task),
        }
    }
}

impl Drop for HttpThreads {
    fn drop(&mut self) {
        // Dropped inside of another runtime, where nothing may wait.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// The parts that the doors of a server lead to.
struct Parts<'a> {
    actors: &'a ActorSystem,
    store: &'a Arc<StateStore>,
    prefixes: PrefixCache,
    lifecycle: &'a Lifecycle,
    file_writer: &'a FileWriter,
    spans: &'a Option<Spans>,
}

async fn bind(config: &Config, prover_id: Arc<str>, parts: Parts<'_>) -> Result<Listeners, StartError> {
    let Parts { actors, store, prefixes, lifecycle, file_writer, spans } = parts;
    let front = actors.front().clone();
    let stats = actors.stats().clone();
    let reporter = stats.reporter().clone();
    let rules = ValidationRules {
        db_read_only: config.database.read_only,
        counters_policy: config.counters.policy,
        witness: WitnessLimits {
            nodes_max: config.limits.witness_nodes,
            waiting_bytes_max: config.executor.queue_bytes_max,
        },
        keep_stateless: config.stateless.keep,
        block_gas_limit_max: match config.executor.block_gas_limit_max {
            0 => u64::MAX,
            limit => limit,
        },
    };
    let memory = MemoryBudget::new(MemoryBounds {
        all_max: config.limits.memory_bytes,
        call_max: config.limits.call_memory_bytes.min(config.limits.memory_bytes),
        answer_max: config.limits.answer_bytes,
    });
    let running = Arc::clone(actors.running());
    let diagnosis = Diagnosis {
        memory: memory.clone(),
        front: front.clone(),
        running: Arc::clone(&running),
        store: Arc::clone(store),
        file_writer: file_writer.clone(),
        slowest: Arc::clone(actors.slowest()),
        prefixes,
    };
    let capture = RequestCapture::new(file_writer.clone(), config.log, spans.clone());
    let executor_api = ExecutorApi::new(
        front.clone(),
        reporter.clone(),
        lifecycle.clone(),
        rules,
        Arc::clone(store),
        Arc::clone(&prover_id),
        capture,
    )
    .with_short_calls(ShortCalls {
        bytes_max: config.executor.small_batch_bytes_max,
        gas_max: config.executor.small_batch_gas,
    })
    .with_witness_memo(WitnessMemo::new(config.stateless.witness_memo_bytes_max));
    let receiving = {
        let LimitOptions { receive_bytes, receive, message_bytes, .. } = config.limits;
        ReceiveBudget::new(receive_bytes, receive, message_bytes, reporter.clone())
    };
    let endpoint = |address| Endpoint {
        address,
        tls: TlsFiles::of(&config.tls),
        limits: config.limits,
        receiving: receiving.clone(),
        memory: memory.clone(),
        stats: reporter.clone(),
        front: front.clone(),
    };
    let stats_api = StatsApi::new(stats.clone(), lifecycle.clone());
    let (grpc_addr, grpc) =
        grpc::server::open(endpoint(config.grpc_addr()), executor_api, stats_api, lifecycle.clone()).await?;
    let database = Arc::new(HashDb::new(Arc::clone(store), SessionLimits::default(), config.hashdb.allow_reset));
    let hashdb_api = HashDbApi::new(database, lifecycle.clone(), Arc::clone(&prover_id), config.hashdb.threads);
    let (hashdb_addr, hashdb) =
        grpc::server::open_hashdb(endpoint(config.hashdb_addr()), hashdb_api, lifecycle.clone()).await?;
    let http_threads = HttpThreads::start()?;
    let opened = http_threads.spawn(http::open(config.http, stats, lifecycle.clone(), diagnosis));
    let (http_addr, http) = opened.await.map_err(std::io::Error::other)??;
    tokio::spawn(watch_slow_batches(running, lifecycle.clone()));
    tokio::spawn(watch_store(Arc::clone(store), lifecycle.clone()));
    let (grpc, hashdb, http) = (tokio::spawn(grpc), tokio::spawn(hashdb), http_threads.spawn(http));
    tracing::info!("executor server listening on {grpc_addr}");
    tracing::info!("HashDB server listening on {hashdb_addr}");
    tracing::info!("statistics server listening on {http_addr}");
    let aggregator = config.aggregator.enabled.then(|| {
        let options = config.aggregator.clone();
        let files = StreamFiles::new(file_writer.clone());
        tokio::spawn(aggregator::run(options, prover_id.to_string(), aggregator::Backoff::default(), files))
    });
    Ok(Listeners { grpc_addr, hashdb_addr, http_addr, prover_id, grpc, hashdb, http, http_threads, aggregator })
}

/// Looks for slow batches until the server stops. Not on an executor: that is where they are.
async fn watch_slow_batches(running: Arc<Running>, lifecycle: Lifecycle) {
    let Some(limit) = running.slow_after() else { return };
    // Late by a quarter of the limit at most, and by a second.
    let mut clock = tokio::time::interval((limit / 4).clamp(Duration::from_millis(10), Duration::from_secs(1)));
    let watch = async {
        loop {
            clock.tick().await;
            running.report_slow();
        }
    };
    tokio::select! {
        () = watch => {}
        () = lifecycle.reached(Phase::Stopping) => {}
    }
}

/// Tells whoever asks for readiness whether state can be read and written, until the server stops. A database that nobody reads
/// is looked at, so that an outage is seen before the first request, and its end without one.
async fn watch_store(store: Arc<StateStore>, lifecycle: Lifecycle) {
    let mut clock = tokio::time::interval(STORE_CHECK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watch = async {
        loop {
            clock.tick().await;
            let probed = Arc::clone(&store);
            // May take as long as the database has to answer; what others find out meanwhile counts as well.
            let mut probe = tokio::task::spawn_blocking(move || probed.probe());
            while tokio::time::timeout(STORE_CHECK, &mut probe).await.is_err() {
                tell_failure(&store, &lifecycle);
            }
            tell_failure(&store, &lifecycle);
        }
    };
    tokio::select! {
        () = watch => {}
        () = lifecycle.reached(Phase::Stopping) => {}
    }
}

fn tell_failure(store: &StateStore, lifecycle: &Lifecycle) {
    let (before, now) = (lifecycle.failure(), store.failure());
    match &now {
        Some(failure) if before.is_none() => tracing::error!(%failure, "not ready"),
        None if before.is_some() => tracing::info!("ready again: state can be read and written"),
        _ => {}
    }
    lifecycle.set_failure(now);
}

/// A server that answers calls.
pub struct RunningServer {
    listeners: Listeners,
    actors: ActorSystem,
    lifecycle: Lifecycle,
    file_writer: FileWriter,
    spans: Option<Spans>,
    drain_limit: Duration,
}

impl RunningServer {
    /// Returns the address of the gRPC services.
    pub fn grpc_addr(&self) -> SocketAddr {
        self.listeners.grpc_addr
    }

    /// Returns the address of the HashDB service.
    pub fn hashdb_addr(&self) -> SocketAddr {
        self.listeners.hashdb_addr
    }

    /// Returns the address of the HTTP pages.
    pub fn http_addr(&self) -> SocketAddr {
        self.listeners.http_addr
    }

    /// Returns the id that names this process in answers.
    pub fn prover_id(&self) -> &str {
        &self.listeners.prover_id
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

    /// Drains, gives admitted batches the configured time to finish, waits until their state is stored, then stops
    /// everything. Returns false if the database stored nothing for so long that the wait was given up.
    pub async fn shutdown(self) -> bool {
        self.drain();
        if let Some(client) = &self.listeners.aggregator {
            client.abort();
        }
        let Self { listeners, actors, lifecycle, file_writer, spans, drain_limit } = self;
        if tokio::time::timeout(drain_limit, actors.front().idle()).await.is_err() {
            tracing::warn!(drain_seconds = drain_limit.as_secs(), "batches still running, giving them up");
        }
        lifecycle.advance(Phase::Stopping);
        close(listeners.grpc).await;
        close(listeners.hashdb).await;
        close(listeners.http).await;
        drop(listeners.http_threads);
        // Waits for the database: not on a thread of the runtime.
        let stop = move || {
            let stored = actors.stop(STORE_LIMIT);
            file_writer.close(CLOSE_LIMIT);
            if let Some(spans) = spans {
                spans.stop(CLOSE_LIMIT);
            }
            stored
        };
        tokio::task::spawn_blocking(stop).await.unwrap_or_else(|error| {
            tracing::error!(%error, "the actors ended badly");
            false
        })
    }
}

/// Waits for a server to close by itself, then closes it.
async fn close(mut server: JoinHandle<()>) {
    if tokio::time::timeout(CLOSE_LIMIT, &mut server).await.is_err() {
        server.abort();
    }
}
