//! The layers and what they refuse.

use std::path::Path;
use std::time::Duration;

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
    assert_eq!(config.grpc_addr().to_string(), "0.0.0.0:50071");
    assert_eq!(config.http_addr().to_string(), "127.0.0.1:9091");
    assert_eq!(config.hashdb_addr().to_string(), "0.0.0.0:50061");
    assert_eq!(config.store.kind, StoreKind::Embedded);
    assert_eq!(config.store.path, Path::new("data"));
    assert!(config.executor.threads >= 1);
    assert_eq!(config.stats.window, Duration::from_secs(10));
    assert_eq!(config.state.permanent_bytes_max, 8 << 30);
    assert_eq!(config.state.volatile_bytes_max, 512 << 20);
}

/// The file is written by the program: `cargo run -- config default > config/default.toml`.
#[test]
fn the_file_of_defaults_is_what_the_program_prints() {
    let (file, printed) = (include_str!("../../config/default.toml"), default_document());
    for (number, (in_file, printed)) in file.lines().zip(printed.lines()).enumerate() {
        assert_eq!(in_file, printed, "config/default.toml:{}", number + 1);
    }
    assert_eq!(file.len(), printed.len());
}

#[test]
fn the_printed_defaults_read_as_a_file_change_nothing() {
    let defaults = built(|_| Ok(())).unwrap_or_else(|error| panic!("{error}"));
    let read = built(|builder| {
        builder.toml(&default_document(), "config/default.toml")?;
        // Said by a file, it would mean PostgreSQL.
        builder.flag("store.kind", "embedded", "--set")
    });
    assert_eq!(read.unwrap_or_else(|error| panic!("{error}")), defaults);
}

#[test]
fn no_name_is_given_twice() {
    let prover = SETTINGS.iter().filter_map(|setting| setting.prover);
    let flags = SETTINGS.iter().filter_map(|setting| Some(format!("{:?}", setting.flag?)));
    let names = SETTINGS.iter().flat_map(|setting| [setting.key, setting.environment]).chain(prover);
    let mut names: Vec<String> = names.map(str::to_owned).chain(flags).collect();
    names.sort();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1]);
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
    assert_eq!((config.grpc.port, config.http.port, config.executor.threads), (4, 2, 6));
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
fn the_files_of_config_are_accepted() {
    let text = include_str!("../../config/compose/executor.toml");
    let config = built(|builder| builder.toml(text, "config/compose/executor.toml"));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.store.kind, StoreKind::Postgres);
    assert!(config.aggregator.enabled);
    assert_eq!(config.aggregator.proof_time, Duration::from_micros(1));
}

#[test]
fn tls_needs_certificate_and_key() {
    let files = |text: &'static str| built(move |b| b.toml(text, "my.toml"));
    let config = files("[tls]\ncert = \"a\"\nkey = \"b\"").unwrap_or_else(|error| panic!("{error}"));
    let want = TlsOptions { cert: Some("a".into()), key: Some("b".into()), client_ca: None };
    assert_eq!(config.tls, want);
    assert_eq!(
        refusal(|b| b.toml("[tls]\ncert = \"a\"", "my.toml")),
        "tls.key = nothing (from the embedded defaults) is refused: it must be the name of a file, as tls.cert is set"
    );
    assert!(refusal(|b| b.toml("[tls]\nkey = \"a\"", "my.toml")).starts_with("tls.cert = nothing"));
    assert!(refusal(|b| b.toml("[tls]\nclient_ca = \"a\"", "my.toml")).contains("as tls.client_ca is set"));
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

#[test]
fn a_prover_file_sets_what_it_names_and_the_rest_is_listed() {
    let mut builder = ConfigBuilder::new().unwrap();
    let file = r#"{"executorServerPort": 7, "maxExecutorThreads": "3", "dbReadOnly": true, "dbMTCacheSize": 64,
        "databaseURL": "postgresql://me@db/x", "useMainExecC": true, "runHashDBServer": false, "hashDBURL": "local",
        "zkevmCircuits": {"a": [1]}, "another": 1}"#;
    builder.prover_json(file, "config.json").unwrap();
    let [ignored] = builder.ignored() else { panic!("{:?}", builder.ignored()) };
    assert_eq!(
        ignored.to_string(),
        "ignored keys of config.json: without effect in this program: runHashDBServer, useMainExecC; \
         unknown: another, zkevmCircuits; switched off there, running all the same: runHashDBServer"
    );
    // Environment and flags win over the file, as they do over ours.
    builder.environment(variable("EXECUTOR_SERVER_PORT", "8")).unwrap();
    let config = builder.build().unwrap();
    assert_eq!((config.grpc.port, config.executor.threads, config.database.read_only), (8, 3, true));
    assert_eq!((config.store.kind, config.store.cache_bytes_max), (StoreKind::Postgres, 64 << 20));
}

/// As kurtosis-cdk writes it for a sequencer of cdk-erigon (later-forks §12).
#[test]
fn the_file_of_a_stateless_executor_needs_no_database() {
    let file = |singleton: bool, url: &str| {
        format!(
            r#"{{"runExecutorServer": true, "runHashDBServer": true, "databaseURL": "{url}", "dbReadOnly": true,
                "hashDBSingleton": {singleton}, "stateManager": false, "useMainExecGenerated": true,
                "dbMTCacheSize": 1024, "dbProgramCacheSize": 1024, "maxExecutorThreads": 20, "executorServerPort": 50071}}"#
        )
    };
    let of = |text: String| built(|b| b.prover_json(&text, "config.json")).unwrap_or_else(|error| panic!("{error}"));
    let config = of(file(false, "local"));
    assert_eq!((config.store.kind, config.database.read_only), (StoreKind::Memory, true));
    assert_eq!((config.executor.threads, config.grpc.port, config.stateless.keep), (20, 50071, false));
    assert_eq!(of(file(true, "local")).store.kind, StoreKind::Embedded);
    assert_eq!(of(file(false, "postgresql://me@db/x")).store.kind, StoreKind::Postgres);

    let ignored = |text: String| {
        let mut builder = ConfigBuilder::new().unwrap();
        builder.prover_json(&text, "config.json").unwrap();
        builder.ignored()[0].without_effect.contains(&"hashDBSingleton".to_owned())
    };
    assert!(!ignored(file(false, "local")), "it chose the store");
    assert!(ignored(file(true, "local")));
}

#[test]
fn a_prover_file_brings_the_originals_log_lines_unless_told_otherwise() {
    let log = |environment: &'static str| {
        let config = built(|builder| {
            builder.prover_json(r#"{"jsonLogs": true}"#, "config.json")?;
            builder.environment(variable("ZKEVM_LOG_FORMAT", environment))
        });
        let config = config.unwrap_or_else(|error| panic!("{error}"));
        (config.log.format, config.log.json)
    };
    assert_eq!(log("prover"), (LogFormat::Prover, true));
    assert_eq!(log("native"), (LogFormat::Native, true));
    let config = built(|builder| builder.prover_json("{}", "config.json")).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((config.log.format, config.log.json), (LogFormat::Prover, false));
}

#[test]
fn a_wrong_prover_file_is_refused_with_file_and_key() {
    assert_eq!(
        refusal(|b| b.prover_json(r#"{"executorServerPort": 70000}"#, "config.json")),
        "grpc.port = 70000 (from config.json, executorServerPort) is refused: it must be a whole number from 0 to 65535"
    );
    let broken = refusal(|b| b.prover_json("{", "config.json"));
    assert!(broken.starts_with("config.json is not a valid JSON object: "), "{broken}");
}

#[test]
fn a_prover_file_can_name_a_remote_hashdb() {
    let config = built(|b| b.prover_json(r#"{"hashDBURL": "10.0.0.1:50061"}"#, "config.json"));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!((config.store.kind, config.hashdb.url.as_str()), (StoreKind::Remote, "10.0.0.1:50061"));
}

#[test]
fn the_example_prover_file_is_accepted_as_it_is() {
    let mut builder = ConfigBuilder::new().unwrap();
    builder.file(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config/prover-example.json"))).unwrap();
    assert_eq!(builder.ignored()[0].unknown, ["inputFile"]);
    let config = builder.build().unwrap();
    assert_eq!((config.executor.threads, config.hashdb.threads, config.store.kind), (20, 8, StoreKind::Postgres));
    assert!(config.aggregator.enabled);
    assert_eq!(config.aggregator.prover_name, "test-prover");
}

/// Also in the sentence about a value that is refused.
#[test]
fn a_refused_url_does_not_show_its_password() {
    let mut builder = ConfigBuilder::new().unwrap();
    for error in [
        builder.flag("trace.otlp_url", "https://me:p@ss/w@host:4317", "--set").unwrap_err(),
        builder.toml("[trace]\notlp_url = \"https://me:p@ss/w@host:4317\"", "a file").unwrap_err(),
    ] {
        let sentence = error.to_string();
        assert!(sentence.contains("me:***@host:4317") && !sentence.contains("ss/w"), "{sentence}");
    }
}
