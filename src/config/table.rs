//! The macro that makes sections, their fields and the table of settings of one declaration; and what is read out of it.

use std::fmt::Write;

use super::kind::Kind;
use super::settings::{SECTIONS, SETTINGS};
use super::{ConfigError, unknown};

/// One setting as it is declared.
pub(crate) struct Setting {
    /// Section and name.
    pub(crate) key: &'static str,
    /// Lines of documentation.
    pub(super) doc: &'static [&'static str],
    /// The default, as TOML.
    pub(super) default: &'static str,
    pub(crate) kind: Kind,
    pub(super) environment: &'static str,
    /// Its key in zkevm-prover's file.
    pub(super) prover: Option<&'static str>,
    /// The commands that have a flag for it, and that flag with its dashes.
    pub(crate) flag: Option<(FlagOf, &'static str)>,
}

/// The commands that have a flag for a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagOf {
    /// `serve`.
    Serve,
    /// `serve` and the commands that open a store.
    Store,
    /// `aggregator`.
    Aggregator,
}

/// Declares [`Config`](super::Config), its sections and the tables `SECTIONS` and `SETTINGS`. Rows: `settings.rs`.
macro_rules! settings {
    ($(
        $(#[doc = $section_doc:literal])+
        $(#[derive($derive:ident)])?
        [$section:ident] $options:ident {
            $(
                $(#[doc = $doc:literal])+
                $field:ident $(($name:literal))?: $type:ty = $default:literal, $kind:expr, env $environment:literal
                    $(, prover $prover:literal)? $(, flag $command:ident $flag:literal)?;
            )+
        }
    )+) => {
        /// Everything the service can be told: one field per section of `config/default.toml`.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $section_doc])+ pub $section: $options,)+
        }

        $(
            $(#[doc = $section_doc])+
            #[derive(Clone, Debug, PartialEq $(, $derive)?)]
            pub struct $options {
                $($(#[doc = $doc])+ pub $field: $type,)+
            }
        )+

        impl Config {
            /// Reads every setting out of the merged layers.
            pub(super) fn read(layers: &$crate::config::ConfigBuilder) -> Result<Self, $crate::config::ConfigError> {
                Ok(Self {
                    $($section: $options {
                        $($field: layers.get($crate::config::table::key!($section $field $($name)?))?,)+
                    },)+
                })
            }
        }

        /// Every section with its documentation.
        pub(super) const SECTIONS: &[(&str, &[&str])] = &[$((stringify!($section), &[$($section_doc),+]),)+];

        /// Every setting, by section.
        pub(crate) const SETTINGS: &[$crate::config::table::Setting] = &[$($(
            $crate::config::table::Setting {
                key: $crate::config::table::key!($section $field $($name)?),
                doc: &[$($doc),+],
                default: stringify!($default),
                kind: $kind,
                environment: $environment,
                prover: $crate::config::table::option!($($prover)?),
                flag: $crate::config::table::option!($(($crate::config::table::FlagOf::$command, $flag))?),
            },
        )+)+];
    };
}

/// Section and name: the one given, else the field's.
macro_rules! key {
    ($section:ident $field:ident) => {
        concat!(stringify!($section), ".", stringify!($field))
    };
    ($section:ident $field:ident $name:literal) => {
        concat!(stringify!($section), ".", $name)
    };
}

macro_rules! option {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

pub(super) use {key, option, settings};

impl Setting {
    /// Returns the setting of that section and name.
    pub(super) fn find(key: &str, origin: &str) -> Result<&'static Self, ConfigError> {
        SETTINGS.iter().find(|setting| setting.key == key).ok_or_else(|| unknown(key.to_owned(), origin))
    }

    /// Returns the first sentence of the documentation, for the help of a command.
    pub(crate) fn summary(&self) -> String {
        let text: Vec<&str> = self.doc.iter().map(|line| line.trim()).collect();
        let text = text.join(" ");
        text.split_once(". ").map_or(text.trim_end_matches('.'), |(first, _)| first).to_owned()
    }

    /// Returns what is allowed and the names in other layers, in one line.
    fn names(&self) -> String {
        let prover = self.prover.map(|key| format!("; zkevm-prover: {key}")).unwrap_or_default();
        let flag = match self.flag {
            Some((FlagOf::Aggregator, flag)) => format!("; flag of `aggregator`: {flag}"),
            Some((FlagOf::Serve | FlagOf::Store, flag)) => format!("; flag: {flag}"),
            None => String::new(),
        };
        format!("{}; environment: {}{flag}{prover}", self.kind, self.environment)
    }
}

/// Returns every setting with its default and its documentation, as TOML: the text of `config/default.toml`.
pub fn default_document() -> String {
    let mut text = HEAD.to_owned();
    for (section, doc) in SECTIONS {
        text.push('\n');
        doc.iter().for_each(|line| _ = writeln!(text, "#{line}"));
        _ = writeln!(text, "[{section}]");
        for setting in SETTINGS {
            let Some((of, name)) = setting.key.split_once('.') else { continue };
            if of == *section {
                setting.doc.iter().for_each(|line| _ = writeln!(text, "#{line}"));
                _ = writeln!(text, "# ({})\n{name} = {}", setting.names(), setting.default);
            }
        }
    }
    text
}

const HEAD: &str = "\
# Defaults of zkevm-executor, as they are built into the binary. Written by `zkevm-executor config default`.
#
# A file given with `-c` needs only what differs. Later layers win: these defaults, the file, the environment, the command
# line. Every setting can be set on the command line with `--set section.key=value`. In parentheses stand what is allowed, the
# environment variable, the flag if there is one, and the key of zkevm-prover's file if it has one. A file that begins with a
# brace is read as that: docs/operations.md says what its keys do here.
";
