//! The configuration: one typed [`Config`] out of four layers, each setting checked by name.
//!
//! Layers, later ones win: the defaults, a file (TOML, or zkevm-prover's JSON), the environment (zkevm-prover's names where it
//! has one, executor-service §11.3), the command line. A wrong value is refused with its name, its origin and what is allowed.
//!
//! To add a setting:
//! 1. write its row in `settings.rs`: the comment is its documentation, the row its type, default, bounds and other names;
//! 2. use the field where it is needed (`config.section.field`);
//! 3. run `cargo run -- config default > config/default.toml`; a test fails while that file differs from the rows.
//!
//! A new type of field needs a row in `kind.rs`. This module knows nothing of those that use it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use zkevm_store::{MemoryLimits, PostgresOptions};

mod builder;
mod effective;
mod kind;
mod prover;
mod settings;
mod table;

#[cfg(test)]
mod tests;

pub use builder::ConfigBuilder;
pub use effective::Effective;
pub(crate) use kind::Kind;
pub use prover::IgnoredKeys;
pub(crate) use settings::SETTINGS;
pub use settings::{
    AggregatorOptions, Config, CountersOptions, DatabaseOptions, EngineOptions, ExecutorOptions, FileOptions,
    GrpcOptions, HashDbOptions, HttpOptions, LimitOptions, LogOptions, SpanOptions, StateOptions, StatsOptions,
    StoreOptions, TlsOptions,
};
pub use table::FlagOf;
pub(crate) use table::Setting;
pub use table::default_document;

impl Config {
    /// Returns the address of the gRPC services.
    pub fn grpc_addr(&self) -> SocketAddr {
        SocketAddr::new(self.grpc.host, self.grpc.port)
    }

    /// Returns the address of the HashDB service.
    pub fn hashdb_addr(&self) -> SocketAddr {
        SocketAddr::new(self.grpc.host, self.hashdb.port)
    }

    /// Returns the address of the HTTP pages.
    pub fn http_addr(&self) -> SocketAddr {
        SocketAddr::new(self.http.host, self.http.port)
    }

    /// Moves all services to free ports of this machine's own address, for a server that only this process calls.
    pub fn on_free_local_ports(mut self) -> Self {
        let localhost = std::net::Ipv4Addr::LOCALHOST.into();
        (self.grpc.host, self.http.host) = (localhost, localhost);
        (self.grpc.port, self.hashdb.port, self.http.port) = (0, 0, 0);
        self
    }
}

impl StoreOptions {
    /// Returns where PostgreSQL is and how to deal with it.
    pub fn postgres(&self) -> PostgresOptions {
        PostgresOptions {
            url: self.url.0.clone(),
            connections: self.connections,
            retries: self.retries,
            retry_after: self.retry_after,
            timeout: self.timeout,
            nodes_table: self.nodes_table.clone(),
            program_table: self.program_table.clone(),
        }
    }
}

impl StateOptions {
    /// Returns how much state is kept in memory.
    pub fn limits(&self) -> MemoryLimits {
        let Self { permanent_bytes_max, volatile_bytes_max } = *self;
        MemoryLimits { permanent_bytes_max, volatile_bytes_max }
    }
}

/// The URL of a database. Never shown: it may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(pub String);

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DatabaseUrl(***)")
    }
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
    const NAMES: &[&str] = &["native", "prover"];

    fn parse(name: &str) -> Option<Self> {
        match name {
            "native" => Some(Self::Native),
            "prover" => Some(Self::Prover),
            _ => None,
        }
    }
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
    const NAMES: &[&str] = &["embedded", "memory", "postgres"];

    fn parse(name: &str) -> Option<Self> {
        match name {
            "memory" => Some(Self::Memory),
            "embedded" => Some(Self::Embedded),
            "postgres" => Some(Self::Postgres),
            _ => None,
        }
    }
}

/// The engines that answer batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineKind {
    /// The native engine.
    Native,
    /// The machine that runs the ROM of the batch's fork.
    Rom,
    /// Both, compared; the machine's answer goes out.
    Both,
}

impl EngineKind {
    const NAMES: &[&str] = &["native", "rom", "both"];

    fn parse(name: &str) -> Option<Self> {
        match name {
            "native" => Some(Self::Native),
            "rom" => Some(Self::Rom),
            "both" => Some(Self::Both),
            _ => None,
        }
    }
}

/// The contract that an aggregator speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregatorProtocol {
    /// Of zkevm-prover up to v6.0.2.
    V6,
    /// Of v6.0.8 to v9.
    V9,
}

impl AggregatorProtocol {
    const NAMES: &[&str] = &["v6", "v9"];

    fn parse(name: &str) -> Option<Self> {
        match name {
            "v6" => Some(Self::V6),
            "v9" => Some(Self::V9),
            _ => None,
        }
    }
}

/// When the machine is asked although the native engine answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exact {
    /// Not at all.
    Never,
    /// When a bound of the native engine is near a limit.
    NearLimit,
    /// For every batch.
    Always,
}

impl Exact {
    const NAMES: &[&str] = &["never", "near_limit", "always"];

    fn parse(name: &str) -> Option<Self> {
        match name {
            "never" => Some(Self::Never),
            "near_limit" => Some(Self::NearLimit),
            "always" => Some(Self::Always),
            _ => None,
        }
    }
}

/// The reason why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A layer is not TOML.
    #[error("{origin} is not valid TOML: {message}")]
    Syntax {
        /// The layer.
        origin: String,
        /// The message of the parser.
        message: String,
    },
    /// A file that begins like JSON is none.
    #[error("{origin} is not a valid JSON object: {message}")]
    Json {
        /// The file.
        origin: String,
        /// The message of the parser.
        message: String,
    },
    /// No such setting.
    #[error("unknown setting {key} in {origin}; known are {}", known_keys())]
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
        /// The value as given; passwords in it are masked.
        value: String,
        /// The layer.
        origin: String,
        /// The values that are allowed.
        allowed: String,
    },
}

fn known_keys() -> String {
    let keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    keys.join(", ")
}

fn unknown(key: String, origin: &str) -> ConfigError {
    ConfigError::UnknownKey { key, origin: origin.to_owned() }
}

fn refused(setting: &Setting, value: &str, origin: &str) -> ConfigError {
    let (key, allowed) = (setting.key, setting.kind.to_string());
    ConfigError::Refused { key, value: effective::masked_text(value), origin: origin.to_owned(), allowed }
}
