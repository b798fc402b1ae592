//! The table of settings: name, environment variable, and what each accepts.

use std::fmt;
use std::net::IpAddr;

use toml::Value;

use super::ConfigError;
use zkevm_types::CountersPolicy;

/// What a setting accepts.
#[derive(Clone, Copy)]
pub(super) enum Kind {
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
    /// Empty for none.
    File,
    /// Empty for none.
    HttpUrl,
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
            Self::File => f.write_str("the name of a file, or empty"),
            Self::HttpUrl => f.write_str("a URL like http://host:port, or empty"),
            Self::OneOf(values) => write!(f, "one of {}", values.join(", ")),
        }
    }
}

pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) environment: &'static str,
    pub(super) kind: Kind,
}

const PORT: Kind = Kind::Integer { min: 0, max: u16::MAX as i64 };
const SECONDS: Kind = Kind::Float { min: 0.01, max: 86_400.0 };
const MEBIBYTES: Kind = Kind::Integer { min: 1, max: 1 << 24 };

/// Every setting, in the order of `config/default.toml`.
pub(super) const SETTINGS: &[Setting] = &[
    Setting { key: "grpc.host", environment: "ZKEVM_GRPC_HOST", kind: Kind::Ip },
    Setting { key: "grpc.port", environment: "EXECUTOR_SERVER_PORT", kind: PORT },
    Setting { key: "http.host", environment: "ZKEVM_HTTP_HOST", kind: Kind::Ip },
    Setting { key: "http.port", environment: "ZKEVM_HTTP_PORT", kind: PORT },
    Setting { key: "hashdb.port", environment: "HASHDB_SERVER_PORT", kind: PORT },
    Setting { key: "hashdb.threads", environment: "MAX_HASHDB_THREADS", kind: Kind::Integer { min: 1, max: 256 } },
    Setting { key: "hashdb.url", environment: "HASHDB_URL", kind: Kind::Text },
    Setting { key: "hashdb.allow_reset", environment: "ZKEVM_HASHDB_ALLOW_RESET", kind: Kind::Bool },
    Setting { key: "tls.cert", environment: "ZKEVM_TLS_CERT", kind: Kind::File },
    Setting { key: "tls.key", environment: "ZKEVM_TLS_KEY", kind: Kind::File },
    Setting { key: "tls.client_ca", environment: "ZKEVM_TLS_CLIENT_CA", kind: Kind::File },
    Setting {
        key: "limits.connections",
        environment: "ZKEVM_LIMITS_CONNECTIONS",
        kind: Kind::Integer { min: 1, max: 1 << 20 },
    },
    Setting {
        key: "limits.streams_per_connection",
        environment: "ZKEVM_LIMITS_STREAMS",
        kind: Kind::Integer { min: 1, max: 65_536 },
    },
    Setting {
        key: "limits.header_kib",
        environment: "ZKEVM_LIMITS_HEADER_KIB",
        kind: Kind::Integer { min: 1, max: 1024 },
    },
    Setting {
        key: "limits.message_mib",
        environment: "ZKEVM_LIMITS_MESSAGE_MIB",
        kind: Kind::Integer { min: 1, max: 2047 },
    },
    Setting { key: "limits.receive_mib", environment: "ZKEVM_LIMITS_RECEIVE_MIB", kind: MEBIBYTES },
    Setting { key: "limits.receive_seconds", environment: "ZKEVM_LIMITS_RECEIVE_SECONDS", kind: SECONDS },
    Setting {
        key: "limits.witness_nodes",
        environment: "ZKEVM_LIMITS_WITNESS_NODES",
        kind: Kind::Integer { min: 1, max: 1 << 30 },
    },
    Setting { key: "limits.handshake_seconds", environment: "ZKEVM_LIMITS_HANDSHAKE_SECONDS", kind: SECONDS },
    Setting { key: "limits.keepalive_seconds", environment: "ZKEVM_LIMITS_KEEPALIVE_SECONDS", kind: SECONDS },
    Setting {
        key: "limits.keepalive_timeout_seconds",
        environment: "ZKEVM_LIMITS_KEEPALIVE_TIMEOUT_SECONDS",
        kind: SECONDS,
    },
    Setting { key: "aggregator.enabled", environment: "RUN_AGGREGATOR_CLIENT_MOCK", kind: Kind::Bool },
    Setting { key: "aggregator.host", environment: "AGGREGATOR_CLIENT_HOST", kind: Kind::Text },
    Setting { key: "aggregator.port", environment: "AGGREGATOR_CLIENT_PORT", kind: PORT },
    Setting {
        key: "aggregator.proof_time_us",
        environment: "AGGREGATOR_CLIENT_MOCK_TIMEOUT",
        kind: Kind::Integer { min: 0, max: i64::MAX },
    },
    Setting {
        key: "aggregator.fork_id",
        environment: "ZKEVM_AGGREGATOR_FORK_ID",
        kind: Kind::Integer { min: 1, max: u32::MAX as i64 },
    },
    Setting { key: "aggregator.prover_name", environment: "PROVER_NAME", kind: Kind::Text },
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
    Setting { key: "executor.helpers", environment: "ZKEVM_HELPERS", kind: Kind::Integer { min: 0, max: 16 } },
    Setting {
        key: "executor.niceness",
        environment: "ZKEVM_EXECUTOR_NICENESS",
        kind: Kind::Integer { min: 0, max: 20 },
    },
    Setting {
        key: "executor.drain_seconds",
        environment: "ZKEVM_DRAIN_SECONDS",
        kind: Kind::Integer { min: 0, max: 3600 },
    },
    Setting {
        key: "executor.slow_batch_seconds",
        environment: "ZKEVM_SLOW_BATCH_SECONDS",
        kind: Kind::Float { min: 0.0, max: 86_400.0 },
    },
    Setting { key: "database.read_only", environment: "DB_READ_ONLY", kind: Kind::Bool },
    Setting { key: "state.permanent_mib", environment: "ZKEVM_STATE_PERMANENT_MIB", kind: MEBIBYTES },
    Setting { key: "state.volatile_mib", environment: "ZKEVM_STATE_VOLATILE_MIB", kind: MEBIBYTES },
    Setting { key: "counters.policy", environment: "ZKEVM_COUNTERS_POLICY", kind: Kind::OneOf(CountersPolicy::NAMES) },
    Setting {
        key: "stats.window_seconds",
        environment: "ZKEVM_STATS_WINDOW_SECONDS",
        kind: Kind::Float { min: 0.05, max: 3600.0 },
    },
    Setting {
        key: "stats.slowest_inputs_mib",
        environment: "ZKEVM_STATS_SLOWEST_INPUTS_MIB",
        kind: Kind::Integer { min: 0, max: 1 << 24 },
    },
    Setting { key: "files.output_path", environment: "OUTPUT_PATH", kind: Kind::Text },
    Setting { key: "files.subfolders", environment: "SAVE_FILES_IN_SUBFOLDERS", kind: Kind::Bool },
    Setting { key: "files.save_request", environment: "SAVE_REQUESTS_TO_FILE", kind: Kind::Bool },
    Setting { key: "files.save_input", environment: "SAVE_INPUT_TO_FILE", kind: Kind::Bool },
    Setting { key: "files.save_db_reads", environment: "SAVE_DB_READS_TO_FILE", kind: Kind::Bool },
    Setting { key: "files.save_db_reads_on_change", environment: "SAVE_DB_READS_TO_FILE_ON_CHANGE", kind: Kind::Bool },
    Setting { key: "files.save_response", environment: "SAVE_RESPONSE_TO_FILE", kind: Kind::Bool },
    Setting { key: "trace.otlp_url", environment: "ZKEVM_TRACE_OTLP_URL", kind: Kind::HttpUrl },
    Setting { key: "trace.service_name", environment: "ZKEVM_TRACE_SERVICE_NAME", kind: Kind::Text },
    Setting {
        key: "trace.sample_ratio",
        environment: "ZKEVM_TRACE_SAMPLE_RATIO",
        kind: Kind::Float { min: 0.0, max: 1.0 },
    },
    Setting { key: "log.server_calls", environment: "ZKEVM_LOG_SERVER_CALLS", kind: Kind::Bool },
    Setting { key: "log.server_txs", environment: "LOG_EXECUTOR_SERVER_TXS", kind: Kind::Bool },
    Setting { key: "log.server_input", environment: "LOG_EXECUTOR_SERVER_INPUT", kind: Kind::Bool },
    Setting { key: "log.server_input_json", environment: "LOG_EXECUTOR_SERVER_INPUT_JSON", kind: Kind::Bool },
    Setting {
        key: "log.server_input_gas_threshold",
        environment: "LOG_EXECUTOR_SERVER_INPUT_GAS_THRESHOLD",
        kind: Kind::Float { min: 0.0, max: 1e18 },
    },
    Setting { key: "log.server_responses", environment: "LOG_EXECUTOR_SERVER_RESPONSES", kind: Kind::Bool },
    Setting { key: "log.format", environment: "ZKEVM_LOG_FORMAT", kind: Kind::OneOf(&["native", "prover"]) },
    Setting { key: "log.json", environment: "JSON_LOGS", kind: Kind::Bool },
    Setting {
        key: "log.level",
        environment: "ZKEVM_LOG_LEVEL",
        kind: Kind::OneOf(&["error", "warn", "info", "debug", "trace"]),
    },
];

pub(super) fn known_keys() -> String {
    let keys: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
    keys.join(", ")
}

pub(super) fn find(key: &str, origin: &str) -> Result<&'static Setting, ConfigError> {
    SETTINGS.iter().find(|setting| setting.key == key).ok_or_else(|| unknown(key.to_owned(), origin))
}

/// Returns the value in its setting's type if it is allowed.
pub(super) fn accepted(value: Value, kind: Kind) -> Option<Value> {
    let allowed = match (&value, kind) {
        (Value::Integer(number), Kind::Integer { min, max }) => (min..=max).contains(number),
        (Value::Integer(number), Kind::Float { .. }) => return accepted(Value::Float(*number as f64), kind),
        (Value::Float(number), Kind::Float { min, max }) => (min..=max).contains(number),
        (Value::Boolean(_), Kind::Bool) => true,
        (Value::String(text), Kind::Ip) => text.parse::<IpAddr>().is_ok(),
        (Value::String(text), Kind::Text) => !text.is_empty(),
        (Value::String(_), Kind::File) => true,
        (Value::String(text), Kind::HttpUrl) => text.is_empty() || text.starts_with("http://"),
        (Value::String(text), Kind::OneOf(values)) => values.contains(&text.as_str()),
        _ => false,
    };
    allowed.then_some(value)
}

pub(super) fn unknown(key: String, origin: &str) -> ConfigError {
    ConfigError::UnknownKey { key, origin: origin.to_owned() }
}

pub(super) fn refused(setting: &Setting, value: &str, origin: &str) -> ConfigError {
    ConfigError::Refused {
        key: setting.key,
        value: value.to_owned(),
        origin: origin.to_owned(),
        allowed: setting.kind.to_string(),
    }
}
