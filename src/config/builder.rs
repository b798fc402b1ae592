//! Collects the layers and builds the configuration.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Value;

use super::prover::{self, IgnoredKeys};
use super::settings::{Kind, SETTINGS, Setting, accepted, find, refused, unknown};
use super::{
    AggregatorConfig, Config, ConfigError, DEFAULT_ORIGIN, DEFAULT_TOML, LogConfig, LogFormat, StoreConfig, StoreKind,
};
use crate::aggregator::AggregatorOptions;
use crate::dump::FileOptions;
use crate::grpc::record::RequestLog;
use crate::grpc::server::DoorLimits;
use crate::grpc::tls::TlsFiles;
use crate::spans::SpanOptions;
use zkevm_store::{MemoryLimits, PostgresOptions};
use zkevm_types::CountersPolicy;

/// Collects the layers. Later calls win.
pub struct ConfigBuilder {
    pub(super) values: BTreeMap<&'static str, (Value, String)>,
    ignored: Vec<IgnoredKeys>,
}

impl ConfigBuilder {
    /// Starts with the embedded defaults.
    pub fn new() -> Result<Self, ConfigError> {
        let mut builder = Self { values: BTreeMap::new(), ignored: Vec::new() };
        builder.toml(DEFAULT_TOML, DEFAULT_ORIGIN)?;
        Ok(builder)
    }

    /// Adds a file: TOML, or zkevm-prover's JSON, told apart by the brace JSON begins with.
    pub fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let read_error = |source| ConfigError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read_error)?;
        let origin = path.display().to_string();
        if prover::is_json(&text) { self.prover_json(&text, &origin) } else { self.toml(&text, &origin) }
    }

    /// Adds the text of zkevm-prover's configuration; `origin` names it in errors (executor-service §11.3).
    pub fn prover_json(&mut self, text: &str, origin: &str) -> Result<(), ConfigError> {
        let ignored = prover::put(self, text, origin)?;
        if !ignored.is_empty() {
            self.ignored.push(ignored);
        }
        Ok(())
    }

    /// Returns the keys of files that took no effect, by file.
    pub fn ignored(&self) -> &[IgnoredKeys] {
        &self.ignored
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
        for setting in SETTINGS {
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

    pub(super) fn put_text(&mut self, setting: &Setting, text: &str, origin: &str) -> Result<(), ConfigError> {
        let text = text.trim();
        let value = match setting.kind {
            Kind::Integer { .. } => text.parse().ok().map(Value::Integer),
            Kind::Float { .. } => text.parse().ok().map(Value::Float),
            Kind::Bool => text.to_ascii_lowercase().parse().ok().map(Value::Boolean),
            Kind::Ip | Kind::Text | Kind::File | Kind::HttpUrl | Kind::OneOf(_) => Some(Value::String(text.to_owned())),
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
            tls: self.tls()?,
            limits: DoorLimits {
                connections: self.integer("limits.connections")?,
                streams_per_connection: self.integer("limits.streams_per_connection")?,
                header_bytes: self.integer::<u32>("limits.header_kib")? << 10,
                receive_bytes: self.mebibytes("limits.receive_mib")?,
                receive: self.seconds("limits.receive_seconds")?,
                message_bytes: self.mebibytes("limits.message_mib")?,
                handshake: self.seconds("limits.handshake_seconds")?,
                keepalive: self.seconds("limits.keepalive_seconds")?,
                keepalive_timeout: self.seconds("limits.keepalive_timeout_seconds")?,
            },
            aggregator: AggregatorConfig {
                enabled: self.get("aggregator.enabled", Value::as_bool)?,
                options: AggregatorOptions {
                    host: self.text("aggregator.host")?,
                    port: self.integer("aggregator.port")?,
                    proof_time: Duration::from_micros(self.integer("aggregator.proof_time_us")?),
                    fork_id: self.integer("aggregator.fork_id")?,
                    prover_name: self.text("aggregator.prover_name")?,
                },
            },
            executors,
            queue_capacity: self.integer("executor.queue_capacity")?,
            queue_bytes_max: self.mebibytes("executor.queue_mib")?,
            witness_nodes_max: self.integer("limits.witness_nodes")?,
            small_batch_bytes_max: self.integer("executor.small_batch_bytes")?,
            helpers: self.integer("executor.helpers")?,
            executor_niceness: self.integer("executor.niceness")?,
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
                hashdb_url: self.text("hashdb.url")?,
            },
            counters_policy: self.get("counters.policy", |value| CountersPolicy::parse(value.as_str()?))?,
            stats_window: Duration::from_secs_f64(self.get("stats.window_seconds", Value::as_float)?),
            slow_batch_limit: match self.get("executor.slow_batch_seconds", Value::as_float)? {
                0.0 => None,
                seconds => Some(Duration::from_secs_f64(seconds)),
            },
            slowest_input_bytes_max: self.mebibytes("stats.slowest_inputs_mib")?,
            files: FileOptions {
                output_path: self.get("files.output_path", |value| Some(value.as_str()?.into()))?,
                subfolders: self.get("files.subfolders", Value::as_bool)?,
                requests: self.get("files.save_request", Value::as_bool)?,
                inputs: self.get("files.save_input", Value::as_bool)?,
                db_reads: self.get("files.save_db_reads", Value::as_bool)?,
                db_reads_on_change: self.get("files.save_db_reads_on_change", Value::as_bool)?,
                responses: self.get("files.save_response", Value::as_bool)?,
            },
            request_log: RequestLog {
                calls: self.get("log.server_calls", Value::as_bool)?,
                txs: self.get("log.server_txs", Value::as_bool)?,
                input: self.get("log.server_input", Value::as_bool)?,
                input_json: self.get("log.server_input_json", Value::as_bool)?,
                input_gas_threshold: self.get("log.server_input_gas_threshold", Value::as_float)?,
                responses: self.get("log.server_responses", Value::as_bool)?,
            },
            trace: SpanOptions {
                otlp_url: self.text("trace.otlp_url")?,
                service_name: self.text("trace.service_name")?,
                sample_ratio: self.get("trace.sample_ratio", Value::as_float)?,
            },
            log: LogConfig {
                format: self.get("log.format", |value| LogFormat::parse(value.as_str()?))?,
                json: self.get("log.json", Value::as_bool)?,
                level: self.get("log.level", |value| value.as_str()?.parse().ok())?,
            },
        })
    }

    /// Returns the kind of store. Whoever names a database and no kind means PostgreSQL, as with zkevm-prover, whose
    /// `local` is no database. Whoever names a HashDB of another process gets that.
    pub(super) fn store_kind(&self) -> Result<StoreKind, ConfigError> {
        if self.text("hashdb.url")? != "local" {
            return Ok(StoreKind::Remote);
        }
        let is_set = |key| self.values.get(key).is_some_and(|(_, origin)| origin != DEFAULT_ORIGIN);
        if is_set("store.url") && !is_set("store.kind") && self.text("store.url")? != "local" {
            return Ok(StoreKind::Postgres);
        }
        self.get("store.kind", |value| StoreKind::parse(value.as_str()?))
    }

    /// Certificate and key go together; a client authority is nothing without them.
    fn tls(&self) -> Result<Option<TlsFiles>, ConfigError> {
        let file = |key| Ok(Some(PathBuf::from(self.text(key)?)).filter(|path| !path.as_os_str().is_empty()));
        let missing = |key: &'static str, with: &str| ConfigError::Refused {
            key,
            value: "nothing".to_owned(),
            origin: self.values.get(key).map_or_else(String::new, |(_, origin)| origin.clone()),
            allowed: format!("the name of a file, as {with} is set"),
        };
        match (file("tls.cert")?, file("tls.key")?, file("tls.client_ca")?) {
            (Some(cert), Some(key), client_ca) => Ok(Some(TlsFiles { cert, key, client_ca })),
            (Some(_), None, _) => Err(missing("tls.key", "tls.cert")),
            (None, Some(_), _) => Err(missing("tls.cert", "tls.key")),
            (None, None, Some(_)) => Err(missing("tls.cert", "tls.client_ca")),
            (None, None, None) => Ok(None),
        }
    }

    fn seconds(&self, key: &'static str) -> Result<Duration, ConfigError> {
        self.get(key, |value| Duration::try_from_secs_f64(value.as_float()?).ok())
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
