//! Reads a ROM file: untrusted JSON to a checked program (main-state-machine §2).
//!
//! Lines are read one after the other and decoded at once, so what is in memory is the program and never the file's tree.

mod build;
mod commands;
mod draft;
mod known;
mod numbers;
mod raw;
mod reads;
mod shapes;
#[cfg(test)]
mod tests;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::Program;
use crate::rules::Rules;
use build::Build;
use raw::RawConstant;

/// Largest file, in bytes: sixteen times the largest known.
const FILE_BYTES_MAX: usize = 64 << 20;
/// Most lines of a program.
const LINES_MAX: usize = 1 << 20;
/// Unknown fields that are listed.
const UNKNOWN_FIELDS_MAX: usize = 32;

/// A program, and what its file has that nobody knows.
#[derive(Debug)]
pub struct Loaded {
    /// The program.
    pub program: Program,
    /// Fields that are not known and change nothing, each once; 32 at most.
    pub unknown_fields: Vec<String>,
}

/// The reason why a file is no program, with the place of what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LoadError(pub(crate) String);

/// Reads the ROM of a fork.
///
/// Refuses what the machine does not know, and a file that lacks what the machine or its listeners look up.
pub fn load(json: &[u8], fork: u64) -> Result<Loaded, LoadError> {
    read(json, fork, true)
}

/// Reads a program that need not have what only whole ROMs have, if `is_whole` is false.
fn read(json: &[u8], fork: u64, is_whole: bool) -> Result<Loaded, LoadError> {
    let rules = Rules::of(fork).ok_or_else(|| LoadError(format!("no machine runs fork {fork}")))?;
    if json.len() > FILE_BYTES_MAX {
        return Err(LoadError(format!("{} bytes, more than the {FILE_BYTES_MAX} of a ROM file", json.len())));
    }
    let mut build = Build::new(rules);
    let mut reader = serde_json::Deserializer::from_slice(json);
    let read = Top(&mut build).deserialize(&mut reader).and_then(|()| reader.end());
    read.map_err(|error| LoadError(error.to_string()))?;
    build.finish(is_whole).map_err(LoadError)
}

/// Reads a program without what only whole ROMs have.
#[cfg(test)]
pub(crate) fn load_part(json: &[u8], fork: u64) -> Result<Program, LoadError> {
    read(json, fork, false).map(|loaded| loaded.program)
}

/// The object of the file.
struct Top<'b>(&'b mut Build);

impl<'de> DeserializeSeed<'de> for Top<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Top<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object with program, labels and constants")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "program" => map.next_value_seed(Lines(self.0))?,
                "labels" => map.next_value_seed(Labels(self.0))?,
                "constants" => map.next_value_seed(Constants(self.0))?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    self.0.unknown_field(&key);
                }
            }
        }
        Ok(())
    }
}

/// The lines.
struct Lines<'b>(&'b mut Build);

impl<'de> DeserializeSeed<'de> for Lines<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Lines<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the lines of the program")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut lines: S) -> Result<(), S::Error> {
        while let Some(()) = lines.next_element_seed(OneLine(self.0))? {
            if self.0.line_count() > LINES_MAX {
                return Err(S::Error::custom(format!("more than {LINES_MAX} lines")));
            }
        }
        Ok(())
    }
}

/// One line.
struct OneLine<'b>(&'b mut Build);

impl<'de> DeserializeSeed<'de> for OneLine<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for OneLine<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an object for line {} of the program", self.0.line_count())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        let mut draft = draft::Draft::default();
        let number = self.0.line_count();
        while let Some(key) = map.next_key::<raw::Name<'de>>()? {
            let key = key.0;
            let known = draft
                .read_field(&key, &mut map)
                .map_err(|error| M::Error::custom(format!("line {number}, {key}: {error}")))?;
            if !known {
                map.next_value::<IgnoredAny>()?;
                if draft::acts(&key) {
                    return Err(M::Error::custom(format!("line {number}: unknown field {key}")));
                }
                self.0.unknown_field(&key);
            }
        }
        self.0.add_line(draft).map_err(|error| M::Error::custom(format!("line {number}: {error}")))
    }
}

/// The labels.
struct Labels<'b>(&'b mut Build);

impl<'de> DeserializeSeed<'de> for Labels<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Labels<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the addresses of the labels")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some((name, address)) = map.next_entry::<String, u32>()? {
            self.0.add_label(name, address);
        }
        Ok(())
    }
}

/// The constants.
struct Constants<'b>(&'b mut Build);

impl<'de> DeserializeSeed<'de> for Constants<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Constants<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the constants")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<(), M::Error> {
        while let Some((name, constant)) = map.next_entry::<String, RawConstant>()? {
            let value = numbers::wide(&constant.value).map_err(|error| M::Error::custom(format!("{name}: {error}")))?;
            self.0.add_constant(name, value);
        }
        Ok(())
    }
}
