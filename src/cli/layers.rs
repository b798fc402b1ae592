//! The flags that give settings: `-c`, `--set`, and those that stand beside a setting in its table (`src/config`).

use std::marker::PhantomData;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Config, ConfigBuilder, ConfigError, FlagOf, Kind, SETTINGS, Setting};

/// A command, by the settings it has flags for.
pub trait Flags {
    /// The groups of these settings.
    const GROUPS: &'static [FlagOf];
}

/// `serve`.
#[derive(Clone, Debug)]
pub struct Serve;

/// The commands that open a store.
#[derive(Clone, Debug)]
pub struct Store;

/// `aggregator`.
#[derive(Clone, Debug)]
pub struct Aggregator;

impl Flags for Serve {
    const GROUPS: &'static [FlagOf] = &[FlagOf::Serve, FlagOf::Store];
}

impl Flags for Store {
    const GROUPS: &'static [FlagOf] = &[FlagOf::Store];
}

impl Flags for Aggregator {
    const GROUPS: &'static [FlagOf] = &[FlagOf::Aggregator];
}

/// The settings that the command line gives, for a command of kind `C`.
#[derive(Clone, Debug)]
pub struct Layers<C> {
    file: Option<PathBuf>,
    /// Key, value and flag; `--set` first, so that flags of their own win.
    values: Vec<(String, String, &'static str)>,
    command: PhantomData<C>,
}

impl<C: Flags> Layers<C> {
    /// Returns the same with one flag more.
    pub fn with(mut self, key: &str, value: &str, flag: &'static str) -> Self {
        self.values.push((key.to_owned(), value.to_owned(), flag));
        self
    }

    /// Builds the configuration: defaults, file, environment of the process, flags.
    pub fn config(&self) -> Result<Config, ConfigError> {
        self.builder(|name| std::env::var(name).ok())?.build()
    }

    /// Puts the layers together: defaults, file, environment, flags.
    pub fn builder(&self, environment: impl Fn(&str) -> Option<String>) -> Result<ConfigBuilder, ConfigError> {
        let mut builder = ConfigBuilder::new()?;
        if let Some(path) = &self.file {
            builder.file(path)?;
        }
        builder.environment(environment)?;
        for (key, value, flag) in &self.values {
            builder.flag(key, value, flag)?;
        }
        Ok(builder)
    }

    /// Returns the settings with a flag of this command, and that flag.
    fn settings() -> impl Iterator<Item = (&'static Setting, &'static str)> {
        let flag =
            |setting: &Setting| setting.flag.filter(|(group, _)| C::GROUPS.contains(group)).map(|(_, flag)| flag);
        SETTINGS.iter().filter_map(move |setting| Some((setting, flag(setting)?)))
    }
}

impl<C: Flags> Args for Layers<C> {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config").short('c').long("config").value_name("FILE");
        let file = file.value_parser(clap::value_parser!(PathBuf));
        let mut command = command.arg(
            file.help("File with settings that differ from the defaults: TOML, or zkevm-prover's config.json as it is"),
        );
        for (setting, flag) in Self::settings() {
            let arg = Arg::new(setting.key).long(flag.trim_start_matches('-')).help(setting.summary());
            command = command.arg(match setting.kind {
                Kind::Bool => arg.action(ArgAction::SetTrue),
                _ => arg,
            });
        }
        let set = Arg::new("set").long("set").value_name("SECTION.KEY=VALUE").action(ArgAction::Append);
        command.arg(set.value_parser(key_value).help("Any setting of config/default.toml; repeatable"))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<C: Flags> FromArgMatches for Layers<C> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let set = matches.get_many::<(String, String)>("set").into_iter().flatten();
        let mut values: Vec<_> = set.map(|(key, value)| (key.clone(), value.clone(), "--set")).collect();
        for (setting, flag) in Self::settings() {
            let value = match setting.kind {
                Kind::Bool => matches.get_flag(setting.key).then(|| "true".to_owned()),
                _ => matches.get_one::<String>(setting.key).cloned(),
            };
            values.extend(value.map(|value| (setting.key.to_owned(), value, flag)));
        }
        Ok(Self { file: matches.get_one::<PathBuf>("config").cloned(), values, command: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
        None => Err("expected SECTION.KEY=VALUE".to_owned()),
    }
}
