//! The configuration: one typed [`Config`] out of four layers, each setting checked by name.
//!
//! Layers, later ones win: the embedded `config/default.toml`, a TOML file, the environment (zkevm-prover's names where it
//! has one, executor-service §11.3), the command line. A wrong value is refused with its name, its origin and what is allowed.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Value;

use crate::store::{MemoryLimits, PostgresOptions};

/// The defaults as they are documented.
pub const DEFAULT_TOML: &str = include_str!("../config/default.toml");

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
    /// Executor actors, at least 1.
    pub executors: usize,
    /// Batches that may wait.
    pub queue_capacity: usize,
    /// Bytes of requests that may wait for an executor.
    pub queue_bytes_max: usize,
    /// Requests of at most this many bytes have a lane and an executor of their own; 0 for neither.
    pub small_batch_bytes_max: usize,
    /// Time admitted batches have to finish when the server goes down.
    pub drain_limit: Duration,
    /// Requests with update_merkle_tree are refused.
    pub db_read_only: bool,
    /// How much state is kept in memory.
    pub state: MemoryLimits,
    /// Where state lasts.
    pub store: StoreConfig,
    /// Length of a statistics window.
    pub stats_window: Duration,
    /// Log lines are JSON objects.
    pub log_json: bool,
    /// Least severe level that is logged.
    pub log_level: tracing::Level,
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
}

impl StoreKind {
    fn parse(name: &str) -> Option<Self> {
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
        /// The value as given.
        value: String,
        /// The layer.
        origin: String,
        /// What would be right.
        allowed: String,
    },
}

/// What a setting accepts.
#[derive(Clone, Copy)]
enum Kind {
    Integer {
        min: i64,
        max: i64,
    },
    Float {
        min: f64,
        max: f64,
    },
    Bool,
    Ip,
    /// Not empty.
    Text,
    OneOf(&'static [&'static str]),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { min, max } => write!(f, "a whole number from {min} to {max}"),
            Self::Float { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Bool => f.write_str("true or false"),
            Self::Ip => f.write_str("an IP address"),
            Self::Text => f.write_str("a text that is not empty"),
            Self::OneOf(values) => write!(f, "one of {}", values.join(", ")),
        }
    }
}

struct Setting {
    key: &'static str,
    environment: &'static str,
    kind: Kind,
}

const PORT: Kind = Kind::Integer { min: 0, max: u16::MAX as i64 };
const MEBIBYTES: Kind = Kind::Integer { min: 1, max: 1 << 24 };

const SETTINGS: [Setting; 30] = [
    Setting { key: "grpc.host", environment: "ZKEVM_GRPC_HOST", kind: Kind::Ip },
    Setting { key: "grpc.port", environment: "EXECUTOR_SERVER_PORT", kind: PORT },
    Setting { key: "http.host", environment: "ZKEVM_HTTP_HOST", kind: Kind::Ip },
    Setting { key: "http.port", environment: "ZKEVM_HTTP_PORT", kind: PORT },
    Setting { key: "hashdb.port", environment: "HASHDB_SERVER_PORT", kind: PORT },
    Setting { key: "hashdb.threads", environment: "MAX_HASHDB_THREADS", kind: Kind::Integer { min: 1, max: 256 } },
    Setting { key: "hashdb.allow_reset", environment: "ZKEVM_HASHDB_ALLOW_RESET", kind: Kind::Bool },
    Setting {
        key: "store.kind",
        environment: "ZKEVM_STORE_KIND",
        kind: Kind::OneOf(&["embedded", "memory", "postgres"]),
    },
    Setting { key: "store.path", environment: "ZKEVM_STORE_PATH", kind: Kind::Text },
    Setting { key: "store.cache_mib", environment: "DB_MT_CACHE_SIZE", kind: MEBIBYTES },
    Setting { key: "store.backlog_mib", environment: "ZKEVM_STORE_BACKLOG_MIB", kind: MEBIBYTES },
    Setting { key: "store.url", environment: "DATABASE_URL", kind: Kind::Text },
    Setting { key: "store.init", environment: "ZKEVM_STORE_INIT", kind: Kind::Bool },
    Setting {
        key: "store.connections",
        environment: "DB_NUMBER_OF_POOL_CONNECTIONS",
        kind: Kind::Integer { min: 1, max: 1000 },
    },
    Setting { key: "store.retries", environment: "DB_READ_RETRY_COUNTER", kind: Kind::Integer { min: 0, max: 1000 } },
    Setting {
        key: "store.retry_delay_us",
        environment: "DB_READ_RETRY_DELAY",
        kind: Kind::Integer { min: 0, max: 60_000_000 },
    },
    Setting {
        key: "store.timeout_seconds",
        environment: "ZKEVM_STORE_TIMEOUT_SECONDS",
        kind: Kind::Integer { min: 1, max: 3600 },
    },
    Setting { key: "store.nodes_table", environment: "DB_NODES_TABLE_NAME", kind: Kind::Text },
    Setting { key: "store.program_table", environment: "DB_PROGRAM_TABLE_NAME", kind: Kind::Text },
    Setting { key: "executor.threads", environment: "MAX_EXECUTOR_THREADS", kind: Kind::Integer { min: 0, max: 1024 } },
    Setting {
        key: "executor.queue_capacity",
        environment: "ZKEVM_QUEUE_CAPACITY",
        kind: Kind::Integer { min: 1, max: 65_536 },
    },
    Setting { key: "executor.queue_mib", environment: "ZKEVM_QUEUE_MIB", kind: MEBIBYTES },
    Setting {
        key: "executor.small_batch_bytes",
        environment: "ZKEVM_SMALL_BATCH_BYTES",
        kind: Kind::Integer { min: 0, max: 1 << 20 },
    },
    Setting {
        key: "executor.drain_seconds",
        environment: "ZKEVM_DRAIN_SECONDS",
        kind: Kind::Integer { min: 0, max: 3600 },
    },
    Setting { key: "database.read_only", environment: "DB_READ_ONLY", kind: Kind::Bool },
    Setting { key: "state.permanent_mib", environment: "ZKEVM_STATE_PERMANENT_MIB", kind: MEBIBYTES },
    Setting { key: "state.volatile_mib", environment: "ZKEVM_STATE_VOLATILE_MIB", kind: MEBIBYTES },
    Setting {
        key: "stats.window_seconds",
        environment: "ZKEVM_STATS_WINDOW_SECONDS",
        kind: Kind::Float { min: 0.05, max: 3600.0 },
    },
    Setting { key: "log.json", environment: "JSON_LOGS", kind: Kind::Bool },
    Setting {
        key: "log.level",
        environment: "ZKEVM_LOG_LEVEL",
        kind: Kind::OneOf(&["error", "warn", "info", "debug", "trace"]),
    },
];

fn known_keys() -> String {
    SETTINGS.map(|setting| setting.key).join(", ")
}

/// Collects the layers. Later calls win.
pub struct ConfigBuilder {
    values: BTreeMap<&'static str, (Value, String)>,
}

impl ConfigBuilder {
    /// Starts with the embedded defaults.
    pub fn new() -> Result<Self, ConfigError> {
        let mut builder = Self { values: BTreeMap::new() };
        builder.toml(DEFAULT_TOML, DEFAULT_ORIGIN)?;
        Ok(builder)
    }

    /// Adds a TOML file.
    pub fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let read_error = |source| ConfigError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read_error)?;
        self.toml(&text, &path.display().to_string())
    }

    /// Adds TOML text; `origin` names it in errors.
    pub fn toml(&mut self, text: &str, origin: &str) -> Result<(), ConfigError> {
        let syntax_error = |error: toml::de::Error| ConfigError::Syntax {
            origin: origin.to_owned(),
            message: error.message().to_owned(),
        };
        let table: toml::Table = text.parse().map_err(syntax_error)?;
        for (section, content) in table {
            let Value::Table(content) = content else { return Err(unknown(section, origin)) };
            for (key, value) in content {
                self.put(&format!("{section}.{key}"), value, origin)?;
            }
        }
        Ok(())
    }

    /// Adds the environment, looked up by name.
    pub fn environment(&mut self, lookup: impl Fn(&str) -> Option<String>) -> Result<(), ConfigError> {
        for setting in &SETTINGS {
            if let Some(text) = lookup(setting.environment) {
                self.put_text(setting, &text, &format!("environment variable {}", setting.environment))?;
            }
        }
        Ok(())
    }

    /// Adds one setting of the command line.
    pub fn flag(&mut self, key: &str, text: &str, flag: &str) -> Result<(), ConfigError> {
        self.put_text(find(key, flag)?, text, flag)
    }

    fn put(&mut self, key: &str, value: Value, origin: &str) -> Result<(), ConfigError> {
        let setting = find(key, origin)?;
        let Some(value) = accepted(value.clone(), setting.kind) else {
            return Err(refused(setting, &value.to_string(), origin));
        };
        self.values.insert(setting.key, (value, origin.to_owned()));
        Ok(())
    }

    fn put_text(&mut self, setting: &Setting, text: &str, origin: &str) -> Result<(), ConfigError> {
        let text = text.trim();
        let value = match setting.kind {
            Kind::Integer { .. } => text.parse().ok().map(Value::Integer),
            Kind::Float { .. } => text.parse().ok().map(Value::Float),
            Kind::Bool => text.to_ascii_lowercase().parse().ok().map(Value::Boolean),
            Kind::Ip | Kind::Text | Kind::OneOf(_) => Some(Value::String(text.to_owned())),
        };
        let Some(value) = value else { return Err(refused(setting, text, origin)) };
        self.put(setting.key, value, origin)
    }

    /// Builds the configuration.
    pub fn build(self) -> Result<Config, ConfigError> {
        let executors = match self.integer("executor.threads")? {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        Ok(Config {
            grpc: SocketAddr::new(self.ip("grpc.host")?, self.integer("grpc.port")?),
            http: SocketAddr::new(self.ip("http.host")?, self.integer("http.port")?),
            hashdb: SocketAddr::new(self.ip("grpc.host")?, self.integer("hashdb.port")?),
            hashdb_threads: self.integer("hashdb.threads")?,
            hashdb_allow_reset: self.get("hashdb.allow_reset", Value::as_bool)?,
            executors,
            queue_capacity: self.integer("executor.queue_capacity")?,
            queue_bytes_max: self.mebibytes("executor.queue_mib")?,
            small_batch_bytes_max: self.integer("executor.small_batch_bytes")?,
            drain_limit: Duration::from_secs(self.integer("executor.drain_seconds")?),
            db_read_only: self.get("database.read_only", Value::as_bool)?,
            state: MemoryLimits {
                permanent_bytes_max: self.mebibytes("state.permanent_mib")?,
                volatile_bytes_max: self.mebibytes("state.volatile_mib")?,
            },
            store: StoreConfig {
                kind: self.store_kind()?,
                path: self.get("store.path", |value| Some(value.as_str()?.into()))?,
                cache_bytes_max: self.mebibytes("store.cache_mib")?,
                backlog_bytes_max: self.mebibytes("store.backlog_mib")?,
                init: self.get("store.init", Value::as_bool)?,
                postgres: PostgresOptions {
                    url: self.text("store.url")?,
                    connections: self.integer("store.connections")?,
                    retries: self.integer("store.retries")?,
                    retry_after: Duration::from_micros(self.integer("store.retry_delay_us")?),
                    timeout: Duration::from_secs(self.integer("store.timeout_seconds")?),
                    nodes_table: self.text("store.nodes_table")?,
                    program_table: self.text("store.program_table")?,
                },
            },
            stats_window: Duration::from_secs_f64(self.get("stats.window_seconds", Value::as_float)?),
            log_json: self.get("log.json", Value::as_bool)?,
            log_level: self.get("log.level", |value| value.as_str()?.parse().ok())?,
        })
    }

    /// Returns the kind of store. Whoever names a database and no kind means PostgreSQL, as with zkevm-prover, whose
    /// `local` is no database.
    fn store_kind(&self) -> Result<StoreKind, ConfigError> {
        let is_set = |key| self.values.get(key).is_some_and(|(_, origin)| origin != DEFAULT_ORIGIN);
        if is_set("store.url") && !is_set("store.kind") && self.text("store.url")? != "local" {
            return Ok(StoreKind::Postgres);
        }
        self.get("store.kind", |value| StoreKind::parse(value.as_str()?))
    }

    fn text(&self, key: &'static str) -> Result<String, ConfigError> {
        self.get(key, |value| value.as_str().map(str::to_owned))
    }

    fn integer<T: TryFrom<i64>>(&self, key: &'static str) -> Result<T, ConfigError> {
        self.get(key, |value| value.as_integer()?.try_into().ok())
    }

    fn mebibytes(&self, key: &'static str) -> Result<usize, ConfigError> {
        self.get(key, |value| usize::try_from(value.as_integer()?).ok()?.checked_mul(1 << 20))
    }

    fn ip(&self, key: &'static str) -> Result<IpAddr, ConfigError> {
        self.get(key, |value| value.as_str()?.parse().ok())
    }

    /// Reads a setting that was checked when it was put; a missing one is missing in the embedded defaults.
    fn get<T>(&self, key: &'static str, read: impl Fn(&Value) -> Option<T>) -> Result<T, ConfigError> {
        let setting = find(key, "the program")?;
        let Some((value, origin)) = self.values.get(key) else { return Err(refused(setting, "nothing", "no layer")) };
        read(value).ok_or_else(|| refused(setting, &value.to_string(), origin))
    }
}

fn find(key: &str, origin: &str) -> Result<&'static Setting, ConfigError> {
    SETTINGS.iter().find(|setting| setting.key == key).ok_or_else(|| unknown(key.to_owned(), origin))
}

/// Returns the value in its setting's type if it is allowed.
fn accepted(value: Value, kind: Kind) -> Option<Value> {
    let allowed = match (&value, kind) {
        (Value::Integer(number), Kind::Integer { min, max }) => (min..=max).contains(number),
        (Value::Integer(number), Kind::Float { .. }) => return accepted(Value::Float(*number as f64), kind),
        (Value::Float(number), Kind::Float { min, max }) => (min..=max).contains(number),
        (Value::Boolean(_), Kind::Bool) => true,
        (Value::String(text), Kind::Ip) => text.parse::<IpAddr>().is_ok(),
        (Value::String(text), Kind::Text) => !text.is_empty(),
        (Value::String(text), Kind::OneOf(values)) => values.contains(&text.as_str()),
        _ => false,
    };
    allowed.then_some(value)
}

fn unknown(key: String, origin: &str) -> ConfigError {
    ConfigError::UnknownKey { key, origin: origin.to_owned() }
}

fn refused(setting: &Setting, value: &str, origin: &str) -> ConfigError {
    ConfigError::Refused {
        key: setting.key,
        value: value.to_owned(),
        origin: origin.to_owned(),
        allowed: setting.kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(change: impl Fn(&mut ConfigBuilder) -> Result<(), ConfigError>) -> Result<Config, ConfigError> {
        let mut builder = ConfigBuilder::new()?;
        change(&mut builder)?;
        builder.build()
    }

    fn refusal(change: impl Fn(&mut ConfigBuilder) -> Result<(), ConfigError>) -> String {
        match built(change) {
            Ok(config) => panic!("accepted: {config:?}"),
            Err(error) => error.to_string(),
        }
    }

    fn variable<'a>(name: &'a str, value: &'a str) -> impl Fn(&str) -> Option<String> + 'a {
        move |asked| (asked == name).then(|| value.to_owned())
    }

    #[test]
    fn defaults_are_those_of_the_original() {
        let config = built(|_| Ok(())).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config.grpc.to_string(), "0.0.0.0:50071");
        assert_eq!(config.http.to_string(), "0.0.0.0:9091");
        assert_eq!(config.hashdb.to_string(), "0.0.0.0:50061");
        assert_eq!(config.store.kind, StoreKind::Embedded);
        assert_eq!(config.store.path, Path::new("data"));
        assert!(config.executors >= 1);
        assert_eq!(config.stats_window, Duration::from_secs(10));
        assert_eq!(config.state.permanent_bytes_max, 8 << 30);
        assert_eq!(config.state.volatile_bytes_max, 512 << 20);
    }

    #[test]
    fn every_default_names_its_environment_variable() {
        for setting in &SETTINGS {
            assert!(DEFAULT_TOML.contains(setting.environment), "{} is not documented", setting.environment);
        }
    }

    #[test]
    fn later_layers_win() {
        let config = built(|builder| {
            builder.toml("[grpc]\nport = 1\n[http]\nport = 2\n[executor]\nthreads = 3", "a file")?;
            builder.environment(variable("EXECUTOR_SERVER_PORT", "4"))?;
            builder.environment(variable("MAX_EXECUTOR_THREADS", "5"))?;
            builder.flag("executor.threads", "6", "--threads")
        });
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((config.grpc.port(), config.http.port(), config.executors), (4, 2, 6));
    }

    #[test]
    fn wrong_values_are_refused_with_name_origin_and_range() {
        assert_eq!(
            refusal(|b| b.environment(variable("EXECUTOR_SERVER_PORT", "70000"))),
            "grpc.port = 70000 (from environment variable EXECUTOR_SERVER_PORT) is refused: \
             it must be a whole number from 0 to 65535"
        );
        assert_eq!(
            refusal(|b| b.toml("[executor]\nqueue_capacity = 0", "my.toml")),
            "executor.queue_capacity = 0 (from my.toml) is refused: it must be a whole number from 1 to 65536"
        );
        assert_eq!(
            refusal(|b| b.flag("log.level", "loud", "--set")),
            "log.level = loud (from --set) is refused: it must be one of error, warn, info, debug, trace"
                .replace("= loud", "= \"loud\"")
        );
        assert_eq!(
            refusal(|b| b.environment(variable("DB_READ_ONLY", "maybe"))),
            "database.read_only = maybe (from environment variable DB_READ_ONLY) is refused: it must be true or false"
        );
        assert_eq!(
            refusal(|b| b.toml("[stats]\nwindow_seconds = 0.001", "my.toml")),
            "stats.window_seconds = 0.001 (from my.toml) is refused: it must be a number from 0.05 to 3600"
        );
        assert_eq!(
            refusal(|b| b.toml("[grpc]\nhost = \"localhost\"", "my.toml")),
            "grpc.host = \"localhost\" (from my.toml) is refused: it must be an IP address"
        );
    }

    #[test]
    fn unknown_settings_and_broken_files_are_refused() {
        assert!(refusal(|b| b.toml("[grpc]\nprot = 1", "my.toml")).starts_with("unknown setting grpc.prot in my.toml"));
        assert!(refusal(|b| b.toml("port = 1", "my.toml")).starts_with("unknown setting port in my.toml"));
        assert!(refusal(|b| b.flag("a.b", "1", "--set")).starts_with("unknown setting a.b in --set"));
        assert!(refusal(|b| b.toml("[grpc", "my.toml")).starts_with("my.toml is not valid TOML: "));
        let missing = refusal(|b| b.file(Path::new("/nonexistent/executor.toml")));
        assert!(missing.starts_with("cannot read configuration file /nonexistent/executor.toml: "), "{missing}");
    }
}
