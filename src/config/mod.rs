//! The configuration: one typed [`Config`] out of four layers, each setting checked by name.
//!
//! Layers, later ones win: the embedded `config/default.toml`, a file (TOML, or zkevm-prover's JSON), the environment (zkevm-prover's names where it
//! has one, executor-service §11.3), the command line. A wrong value is refused with its name, its origin and what is allowed.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::aggregator::AggregatorOptions;
use crate::dump::FileOptions;
use crate::grpc::record::RequestLog;
use crate::grpc::server::DoorLimits;
use crate::grpc::tls::TlsFiles;
use crate::spans::SpanOptions;
use zkevm_store::{MemoryLimits, PostgresOptions};
use zkevm_types::CountersPolicy;

mod builder;
mod effective;
mod prover;
mod settings;

#[cfg(test)]
mod tests;

pub use builder::ConfigBuilder;
pub use effective::Effective;
pub use prover::IgnoredKeys;

/// The defaults as they are documented.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// Names the lowest layer.
const DEFAULT_ORIGIN: &str = "the embedded defaults";

/// Everything the service can be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Address of the gRPC services.
    pub grpc: SocketAddr,
    /// Address of the HTTP pages.
    pub http: SocketAddr,
    /// Address of the HashDB service.
    pub hashdb: SocketAddr,
    /// Calls of the HashDB service that run at the same time, at least 1.
    pub hashdb_threads: usize,
    /// `ResetDB` deletes everything; else it is refused.
    pub hashdb_allow_reset: bool,
    /// TLS of both gRPC ports, `None` for plaintext.
    pub tls: Option<TlsFiles>,
    /// Limits of each gRPC port.
    pub limits: DoorLimits,
    /// The mock aggregator client.
    pub aggregator: AggregatorConfig,
    /// Executor actors, at least 1.
    pub executors: usize,
    /// Batches that may wait.
    pub queue_capacity: usize,
    /// Bytes of requests that may wait for an executor.
    pub queue_bytes_max: usize,
    /// Nodes of one witness.
    pub witness_nodes_max: usize,
    /// Requests of at most this many bytes have a lane and an executor of their own; 0 for neither.
    pub small_batch_bytes_max: usize,
    /// Most threads that help running batches while cores are idle.
    pub helpers: usize,
    /// Niceness of the executors' threads (Linux): how far they stand back behind those that answer calls.
    pub executor_niceness: i32,
    /// Time admitted batches have to finish when the server goes down.
    pub drain_limit: Duration,
    /// Requests with update_merkle_tree are refused.
    pub db_read_only: bool,
    /// What happens when the zk counters of a batch pass the limits.
    pub counters_policy: CountersPolicy,
    /// How much state is kept in memory.
    pub state: MemoryLimits,
    /// Where state lasts.
    pub store: StoreConfig,
    /// Length of a statistics window.
    pub stats_window: Duration,
    /// A batch that runs longer is reported; `None` for never.
    pub slow_batch_limit: Option<Duration>,
    /// Bytes of inputs that are kept of the slowest batches, for download.
    pub slowest_input_bytes_max: usize,
    /// Files of requests.
    pub files: FileOptions,
    /// Log lines of requests.
    pub request_log: RequestLog,
    /// Spans of calls.
    pub trace: SpanOptions,
    /// The log.
    pub log: LogConfig,
}

/// What log lines look like, and which there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Their outer form.
    pub format: LogFormat,
    /// They are JSON objects.
    pub json: bool,
    /// Least severe level that is logged.
    pub level: tracing::Level,
}

/// The outer forms of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// This program's own.
    Native,
    /// zkevm-prover's (executor-service §11.1).
    Prover,
}

impl LogFormat {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "native" => Some(Self::Native),
            "prover" => Some(Self::Prover),
            _ => None,
        }
    }
}

/// The mock aggregator client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregatorConfig {
    /// Run it beside the server.
    pub enabled: bool,
    /// Where it dials and what it says.
    pub options: AggregatorOptions,
}

/// Where state lasts, and what there is in front of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// The kind of store.
    pub kind: StoreKind,
    /// Folder of the embedded database.
    pub path: PathBuf,
    /// Budget of the read cache.
    pub cache_bytes_max: usize,
    /// Bound of what is accepted and not yet stored.
    pub backlog_bytes_max: usize,
    /// Make schema and tables in PostgreSQL if they are missing.
    pub init: bool,
    /// Where PostgreSQL is and how to deal with it.
    pub postgres: PostgresOptions,
    /// Address of the HashDB service for [`StoreKind::Remote`], else `local`.
    pub hashdb_url: String,
}

/// The kinds of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreKind {
    /// In this process only.
    Memory,
    /// A database in a folder.
    Embedded,
    /// A PostgreSQL database, in zkevm-prover's schema.
    Postgres,
    /// The HashDB service of another process; asked for with `hashdb.url`.
    Remote,
}

impl StoreKind {
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "memory" => Some(Self::Memory),
            "embedded" => Some(Self::Embedded),
            "postgres" => Some(Self::Postgres),
            _ => None,
        }
    }
}

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A layer is not TOML.
    #[error("{origin} is not valid TOML: {message}")]
    Syntax {
        /// The layer.
        origin: String,
        /// What the parser says.
        message: String,
    },
    /// A file that begins like JSON is none.
    #[error("{origin} is not a valid JSON object: {message}")]
    Json {
        /// The file.
        origin: String,
        /// What the parser says.
        message: String,
    },
    /// No such setting.
    #[error("unknown setting {key} in {origin}; known are {}", settings::known_keys())]
    UnknownKey {
        /// The name as given.
        key: String,
        /// The layer.
        origin: String,
    },
    /// The value is not allowed.
    #[error("{key} = {value} (from {origin}) is refused: it must be {allowed}")]
    Refused {
        /// The setting.
        key: &'static str,
        /// The value as given.
        value: String,
        /// The layer.
        origin: String,
        /// What would be right.
        allowed: String,
    },
}
