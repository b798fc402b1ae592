//! zkevm-prover's own configuration file: flat JSON, its keys (executor-service §11.3) put into the settings.
//!
//! Its files carry many keys that mean nothing here (the prover's circuits, its generated code) and some that no version
//! knows. None of them stops the start, as with the original; each is named once, so that nobody believes it took effect.

use std::fmt;

use serde_json::Value;

use super::settings::SETTINGS;
use super::table::Setting;
use super::{ConfigBuilder, ConfigError};

/// Keys of the original that change nothing here.
const WITHOUT_EFFECT: &[&str] = &[
    "aggregatorClientMaxStreams",
    "aggregatorClientWatchdogTimeout",
    "cleanerPollingPeriod",
    "configPath",
    "dbGetTree",
    "dbMetrics",
    "dbMultiWrite",
    "dbMultiWriteSingleQuerySize",
    "dbProgramCacheSize",
    "executeInParallel",
    "executorClientHost",
    "executorClientPort",
    "executorROMLineTraces",
    "executorTimeStatistics",
    "fullTracerTraceReserveSize",
    "hashDB64",
    "hashDBSingleton",
    "keccakScriptFile",
    "logRemoteDbReads",
    "maxProverThreads",
    "opcodeTracer",
    "requestsPersistence",
    "runAggregatorClient",
    "runAggregatorServer",
    "runExecutorServer",
    "runHashDBServer",
    "saveOutputToFile",
    "saveProofToFile",
    "stateManager",
    "stateManagerPurge",
    "useAssociativeCache",
    "useMainExecC",
    "useMainExecGenerated",
];

/// Whether all requests share one tree.
const SINGLETON: &str = "hashDBSingleton";

/// Services of the original that always run here.
const ALWAYS_RUNNING: [&str; 2] = ["runExecutorServer", "runHashDBServer"];

/// Keys of one file that took no effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IgnoredKeys {
    /// The file.
    pub origin: String,
    /// Known from the original, without effect here, in alphabetical order.
    pub without_effect: Vec<String>,
    /// Known to nobody, in alphabetical order.
    pub unknown: Vec<String>,
    /// Services the file switches off that run all the same.
    pub running_anyway: Vec<String>,
}

impl IgnoredKeys {
    /// True when every key took effect.
    pub fn is_empty(&self) -> bool {
        self.without_effect.is_empty() && self.unknown.is_empty()
    }
}

impl fmt::Display for IgnoredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ignored keys of {}:", self.origin)?;
        let groups = [
            ("without effect in this program", &self.without_effect),
            ("unknown", &self.unknown),
            ("switched off there, running all the same", &self.running_anyway),
        ];
        let mut separator = "";
        for (name, keys) in groups.into_iter().filter(|(_, keys)| !keys.is_empty()) {
            write!(f, "{separator} {name}: {}", keys.join(", "))?;
            separator = ";";
        }
        Ok(())
    }
}

/// True if the text is a JSON object and not TOML, which cannot begin with a brace.
pub(super) fn is_json(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with('{')
}

/// Puts the mapped keys into the builder and returns the others. A value of the wrong kind is refused by its own name.
pub(super) fn put(builder: &mut ConfigBuilder, text: &str, origin: &str) -> Result<IgnoredKeys, ConfigError> {
    let syntax_error =
        |error: serde_json::Error| ConfigError::Json { origin: origin.to_owned(), message: error.to_string() };
    let text = text.trim_start_matches('\u{feff}');
    let keys: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(syntax_error)?;
    // Whoever comes with the original's file has tools that read the original's log.
    builder.put_text(Setting::find("log.format", origin)?, "prover", &format!("{origin}, a file of zkevm-prover"))?;
    let stateless = is_stateless(&keys);
    if stateless {
        builder.put_text(Setting::find("store.kind", origin)?, "memory", &format!("{origin}, {SINGLETON}"))?;
    }
    let mut ignored = IgnoredKeys { origin: origin.to_owned(), ..IgnoredKeys::default() };
    for (key, value) in keys {
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.prover == Some(key.as_str())) {
            builder.put_text(setting, &scalar(&value), &format!("{origin}, {key}"))?;
            continue;
        }
        if stateless && key == SINGLETON {
            continue; // it chose the store
        }
        if ALWAYS_RUNNING.contains(&key.as_str()) && value == false {
            ignored.running_anyway.push(key.clone());
        }
        let group = match WITHOUT_EFFECT.contains(&key.as_str()) {
            true => &mut ignored.without_effect,
            false => &mut ignored.unknown,
        };
        group.push(key);
    }
    for group in [&mut ignored.without_effect, &mut ignored.unknown] {
        group.sort_unstable();
    }
    Ok(ignored)
}

/// True for the file of a stateless executor: each request has a tree of its own, and no database is behind it (later-forks
/// §8.3). Other files with that key stop the original at its start.
fn is_stateless(keys: &serde_json::Map<String, Value>) -> bool {
    let says = |key: &str, text: &str| keys.get(key).is_none_or(|value| scalar(value) == text);
    keys.get(SINGLETON).is_some_and(|value| scalar(value) == "false") && says("databaseURL", "local")
}

/// Returns the text of a value as the environment would give it.
fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
