//! The configuration as it takes effect, for people: each value with the layer it came from, without secrets.

use toml::Value;

use super::settings::SETTINGS;
use super::{ConfigBuilder, ConfigError, StoreKind};

/// What stands in place of a secret.
const MASK: &str = "***";

/// One setting in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// Section and name.
    pub key: &'static str,
    /// The value as TOML; passwords in it are masked.
    pub value: String,
    /// The layer it came from.
    pub origin: String,
}

impl ConfigBuilder {
    /// Returns every setting in effect, in the order of `config/default.toml`.
    pub fn effective(&self) -> Result<Vec<Effective>, ConfigError> {
        let mut all = Vec::with_capacity(SETTINGS.len());
        for setting in SETTINGS {
            let (value, origin) = self.value(setting)?;
            let (mut value, mut origin) = (masked(value).to_string(), origin.to_owned());
            // A database that is named decides about the kind, unless that is named too.
            if setting.key == "store.kind" {
                match self.store_kind()? {
                    StoreKind::Postgres if value != "\"postgres\"" => {
                        (value, origin) = ("\"postgres\"".to_owned(), "store.url is set".to_owned());
                    }
                    StoreKind::Remote => origin = "without effect: hashdb.url is set".to_owned(),
                    _ => {}
                }
            }
            all.push(Effective { key: setting.key, value, origin });
        }
        Ok(all)
    }
}

/// Hides the password of a connection text: `scheme://user:password@host` and `password=…`.
fn masked(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(masked_text(text)),
        other => other.clone(),
    }
}

/// The same of a text.
pub(super) fn masked_text(text: &str) -> String {
    mask_pairs(&mask_authority(text))
}

fn mask_authority(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    // The last @ ends the password: it may hold one, and a slash, that nobody escaped.
    let Some((user, host)) = rest.rsplit_once('@') else { return text.to_owned() };
    let user = user.split_once(':').map_or(user.to_owned(), |(name, _)| format!("{name}:{MASK}"));
    format!("{scheme}://{user}@{host}")
}

fn mask_pairs(text: &str) -> String {
    let mut hidden = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.to_ascii_lowercase().find("password") {
        let after = start + "password".len();
        let (before, tail) = rest.split_at(after);
        hidden.push_str(before);
        rest = tail;
        let value = tail.trim_start();
        let Some(value) = value.strip_prefix('=').map(str::trim_start) else { continue };
        hidden.push('=');
        hidden.push_str(MASK);
        // A quoted value ends at its quote, and may hold anything: hide to the end of the text.
        let end = if value.starts_with('\'') { None } else { value.find([' ', '&']) };
        rest = end.map_or("", |end| &value[end..]);
    }
    hidden.push_str(rest);
    hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_in_every_spelling() {
        for (text, expected) in [
            ("postgresql://me:secret@db:5432/x", "postgresql://me:***@db:5432/x"),
            ("postgresql://me:p@ss/w@db/x", "postgresql://me:***@db/x"),
            ("postgresql://me@db/x", "postgresql://me@db/x"),
            ("postgresql://db/x?user=me&password=secret&a=1", "postgresql://db/x?user=me&password=***&a=1"),
            ("host=db Password = secret user=me", "host=db Password=*** user=me"),
            ("host=db password='a b' user=me", "host=db password=***"),
            ("data", "data"),
            ("local", "local"),
        ] {
            assert_eq!(masked(&Value::String(text.to_owned())), Value::String(expected.to_owned()), "{text}");
        }
    }
}
