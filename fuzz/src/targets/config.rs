//! Configuration: TOML, zkevm-prover's JSON, and the environment.

use std::mem::discriminant;

use zkevm_executor::config::{ConfigBuilder, ConfigError};

use super::{Target, kind_of};

/// The first byte chooses the layer; the rest is its text.
pub const TARGET: Target = Target {
    name: "config",
    run: target,
    seeds,
    dictionary: &[
        b"[store]\n",
        b"url = \"postgres://a:b@c/d?sslmode=require\"\n",
        b"[limits]\nreceive_seconds = ",
        b"1e308",
        b"-1",
        b"9223372036854775807",
        b"nan",
        b"inf",
        b"\"databaseURL\": ",
        b"password=",
        b"://",
        b"@",
        "é".as_bytes(),
        "\u{feff}".as_bytes(),
    ],
    input_bytes_max: 32 << 10,
    memory_bytes_max: 32 << 20,
};

/// Reads one layer over the defaults; what is accepted must also build or be refused in words.
pub fn target(data: &[u8]) -> u64 {
    let Some((&layer, text)) = data.split_first() else { return 0 };
    let text = String::from_utf8_lossy(text);
    match read(layer, &text) {
        Ok(()) => kind_of(&(layer % 3, "accepted")),
        Err(error) => {
            // A refusal begins with the name of the setting; the rest has the value.
            let text = error.to_string();
            let name = text.split(' ').next().filter(|name| !name.is_empty());
            kind_of(&(layer % 3, discriminant(&error), name.expect("a refusal has words")))
        }
    }
}

fn read(layer: u8, text: &str) -> Result<(), ConfigError> {
    let mut builder = ConfigBuilder::new().expect("the defaults are valid");
    match layer % 3 {
        0 => builder.toml(text, "a file")?,
        1 => builder.prover_json(text, "a file")?,
        _ => {
            // Lines are `NAME=value`.
            let lines: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once('=')).collect();
            let lookup = |name: &str| lines.iter().find(|line| line.0 == name).map(|line| line.1.to_owned());
            builder.environment(lookup)?;
        }
    }
    for ignored in builder.ignored() {
        let _ = ignored.to_string();
    }
    let shown = builder.effective()?;
    assert!(!shown.is_empty(), "no setting is in effect");
    builder.build().map(drop)
}

fn seeds() -> Vec<Vec<u8>> {
    let defaults = include_bytes!("../../../config/default.toml");
    let json = include_bytes!("../../../config/prover-example.json");
    let environment = b"EXECUTOR_SERVER_PORT=1\nDATABASE_URL=postgres://a:b@c/d\nZKEVM_EXECUTOR_NICENESS=3\n";
    let short = b"[grpc]\nport = 0\n[store]\nkind = \"memory\"\n[limits]\nreceive_seconds = 0.5\n";
    [(0, &defaults[..]), (0, short), (1, json), (2, environment)]
        .into_iter()
        .map(|(layer, text)| [&[layer][..], text].concat())
        .collect()
}
