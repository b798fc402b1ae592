//! `zkevm-executor config`: the defaults, and what the configuration comes to.

use clap::{Args, Subcommand};

use super::layers::{self, Layers};
use crate::config::{Effective, default_document};

/// Arguments of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints every setting in effect, as TOML, with the layer it came from; passwords are masked.
    Check(Layers<layers::Serve>),
    /// Prints every setting with its default and what it means, as TOML: the text of config/default.toml.
    Default,
}

/// Prints what is asked for.
pub fn run(args: &ConfigArgs) -> Result<(), Box<dyn std::error::Error>> {
    match &args.command {
        ConfigCommand::Check(serve) => check(serve),
        ConfigCommand::Default => {
            print!("{}", default_document());
            Ok(())
        }
    }
}

/// Prints the configuration that `serve` with the same flags would use; fails where `serve` would.
fn check(serve: &Layers<layers::Serve>) -> Result<(), Box<dyn std::error::Error>> {
    let builder = serve.builder(|name| std::env::var(name).ok())?;
    print!("{}", document(&builder.effective()?));
    for ignored in builder.ignored() {
        println!("\n# {ignored}");
    }
    builder.build()?;
    Ok(())
}

/// Renders the settings by section, origins in a column of their own.
fn document(settings: &[Effective]) -> String {
    let mut lines = Vec::new();
    let mut last = "";
    for Effective { key, value, origin } in settings {
        let Some((section, name)) = key.split_once('.') else { continue };
        if section != last {
            lines.push((format!("[{section}]"), None));
            last = section;
        }
        lines.push((format!("{name} = {value}"), Some(origin.as_str())));
    }
    let width = lines.iter().filter(|(_, origin)| origin.is_some()).map(|(text, _)| text.len()).max().unwrap_or(0);
    let render = |(text, origin): (String, Option<&str>)| match origin {
        Some(origin) => format!("{text:width$}  # {origin}\n"),
        None => format!("{text}\n"),
    };
    lines.into_iter().map(render).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::{ConfigBuilder, DatabaseUrl};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        serve: Layers<layers::Serve>,
    }

    #[test]
    fn the_document_is_toml_that_names_every_origin() {
        let cli = Cli::try_parse_from(["x", "--port", "7", "--set", "log.level=debug"]).unwrap();
        let variable = |name: &str| (name == "DATABASE_URL").then(|| "postgresql://me:secret@db/x".to_owned());
        let builder = cli.serve.builder(variable).unwrap();
        let text = document(&builder.effective().unwrap());
        let line = |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
        assert!(line("port = 7 ").ends_with("# --port"), "{text}");
        assert!(line("level = \"debug\"").ends_with("# --set"), "{text}");
        assert!(line("url = \"postgresql://me:***@db/x\"").ends_with("# environment variable DATABASE_URL"), "{text}");
        assert!(line("kind = \"postgres\"").ends_with("# store.url is set"), "{text}");
        let remote = |name: &str| (name == "HASHDB_URL").then(|| "db:50061".to_owned());
        let of_remote = document(&cli.serve.builder(remote).unwrap().effective().unwrap());
        assert!(of_remote.contains("# without effect: hashdb.url is set\n"), "{of_remote}");
        assert!(line("window_seconds = 10.0").ends_with("# the embedded defaults"), "{text}");
        assert!(!text.contains("secret"));

        // Read as a file it gives the same settings.
        let mut again = ConfigBuilder::new().unwrap();
        again.toml(&text, "printed").unwrap();
        let mut expected = builder.build().unwrap();
        expected.store.url = DatabaseUrl("postgresql://me:***@db/x".to_owned());
        assert_eq!(again.build().unwrap(), expected);
    }
}
