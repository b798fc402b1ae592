//! Collects the layers and builds the configuration.

use std::collections::BTreeMap;
use std::path::Path;

use toml::Value;

use super::kind::FromSetting;
use super::prover::{self, IgnoredKeys};
use super::settings::{Config, SETTINGS};
use super::table::Setting;
use super::{ConfigError, StoreKind, refused, unknown};

/// Names the lowest layer.
const DEFAULT_ORIGIN: &str = "the embedded defaults";

/// Collects the layers, each value checked as it comes. Later calls win.
pub struct ConfigBuilder {
    /// Per setting its value, and the layer that value came from.
    values: BTreeMap<&'static str, (Value, String)>,
    ignored: Vec<IgnoredKeys>,
}

impl ConfigBuilder {
    /// Starts with the embedded defaults.
    pub fn new() -> Result<Self, ConfigError> {
        let mut builder = Self { values: BTreeMap::new(), ignored: Vec::new() };
        for setting in SETTINGS {
            let value = setting.default.parse().map_err(|error| syntax_error(DEFAULT_ORIGIN, &error))?;
            builder.put(setting, value, DEFAULT_ORIGIN)?;
        }
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
        let table: toml::Table = text.parse().map_err(|error| syntax_error(origin, &error))?;
        for (section, content) in table {
            let Value::Table(content) = content else { return Err(unknown(section, origin)) };
            for (name, value) in content {
                self.put(Setting::find(&format!("{section}.{name}"), origin)?, value, origin)?;
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
        self.put_text(Setting::find(key, flag)?, text, flag)
    }

    /// Adds a value in the type of its setting.
    fn put(&mut self, setting: &Setting, value: Value, origin: &str) -> Result<(), ConfigError> {
        let Some(value) = setting.kind.accept(value.clone()) else {
            return Err(refused(setting, &value.to_string(), origin));
        };
        self.values.insert(setting.key, (value, origin.to_owned()));
        Ok(())
    }

    /// Adds a value given as text.
    pub(super) fn put_text(&mut self, setting: &Setting, text: &str, origin: &str) -> Result<(), ConfigError> {
        let Some(value) = setting.kind.parse(text.trim()) else { return Err(refused(setting, text.trim(), origin)) };
        self.put(setting, value, origin)
    }

    /// Builds the configuration.
    pub fn build(self) -> Result<Config, ConfigError> {
        let mut config = Config::read(&self)?;
        config.store.kind = self.store_kind()?;
        if config.executor.threads == 0 {
            config.executor.threads = std::thread::available_parallelism().map_or(1, usize::from);
        }
        let tls = &config.tls;
        // Certificate and key go together; a client authority is nothing without them.
        match (&tls.cert, &tls.key, &tls.client_ca) {
            (Some(_), None, _) => Err(self.missing_file("tls.key", "tls.cert")?),
            (None, Some(_), _) => Err(self.missing_file("tls.cert", "tls.key")?),
            (None, None, Some(_)) => Err(self.missing_file("tls.cert", "tls.client_ca")?),
            (Some(_), Some(_), _) | (None, None, None) => Ok(config),
        }
    }

    /// Returns the kind of store. Whoever names a database and no kind means PostgreSQL, as with zkevm-prover, whose
    /// `local` is no database. Whoever names a HashDB of another process gets that.
    pub(super) fn store_kind(&self) -> Result<StoreKind, ConfigError> {
        if self.get::<String>("hashdb.url")? != "local" {
            return Ok(StoreKind::Remote);
        }
        let is_set = |key| self.values.get(key).is_some_and(|(_, origin)| origin != DEFAULT_ORIGIN);
        if is_set("store.url") && !is_set("store.kind") && self.get::<String>("store.url")? != "local" {
            return Ok(StoreKind::Postgres);
        }
        self.get("store.kind")
    }

    fn missing_file(&self, key: &'static str, with: &str) -> Result<ConfigError, ConfigError> {
        let (_, origin) = self.value(Setting::find(key, DEFAULT_ORIGIN)?)?;
        let (value, origin) = ("nothing".to_owned(), origin.to_owned());
        Ok(ConfigError::Refused { key, value, origin, allowed: format!("the name of a file, as {with} is set") })
    }

    /// Returns the value of a setting and the layer it came from.
    pub(super) fn value(&self, setting: &Setting) -> Result<(&Value, &str), ConfigError> {
        match self.values.get(setting.key) {
            Some((value, origin)) => Ok((value, origin)),
            None => Err(refused(setting, "nothing", "no layer")),
        }
    }

    /// Returns the value of a setting in the type of its field.
    pub(super) fn get<T: FromSetting>(&self, key: &str) -> Result<T, ConfigError> {
        let setting = Setting::find(key, "the program")?;
        let (value, origin) = self.value(setting)?;
        T::from_setting(value, setting.kind).ok_or_else(|| refused(setting, &value.to_string(), origin))
    }
}

fn syntax_error(origin: &str, error: &toml::de::Error) -> ConfigError {
    ConfigError::Syntax { origin: origin.to_owned(), message: error.message().to_owned() }
}
