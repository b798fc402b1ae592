//! `zkevm-executor config`: what the configuration comes to.

use clap::{Args, Subcommand};

use super::serve::ServeArgs;
use crate::config::Effective;

/// Arguments of `config`.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints every setting in effect, as TOML, with the layer it came from; passwords are masked.
    Check(Box<ServeArgs>),
}

/// Prints the configuration that `serve` with the same flags would use; fails where `serve` would.
pub fn run(args: &ConfigArgs) -> Result<(), Box<dyn std::error::Error>> {
    let ConfigCommand::Check(serve) = &args.command;
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
    let mut sections: Vec<&str> = Vec::new();
    let mut lines = Vec::new();
    // Sections in the order of their first setting: settings of one section need not be neighbours.
    for setting in settings {
        let section = setting.key.split_once('.').map_or("", |(section, _)| section);
        if !sections.contains(&section) {
            sections.push(section);
        }
    }
    for section in sections {
        lines.push((format!("[{section}]"), None));
        for setting in settings {
            if let Some((of, name)) = setting.key.split_once('.')
                && of == section
            {
                lines.push((format!("{name} = {}", setting.value), Some(setting.origin.as_str())));
            }
        }
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
    use crate::config::ConfigBuilder;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        serve: ServeArgs,
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
        expected.store.postgres.url = "postgresql://me:***@db/x".to_owned();
        assert_eq!(again.build().unwrap(), expected);
    }
}
