//! Shapes of a ROM file's JSON.

use std::borrow::Cow;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Most arguments of a command: far above any.
const ARGUMENTS_MAX: usize = 64;
/// Deepest command.
const DEPTH_MAX: usize = 32;

/// A name, borrowed from the file where it has no escapes.
pub(super) struct Name<'de>(pub(super) Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// A constant.
#[derive(serde::Deserialize)]
pub(super) struct RawConstant {
    /// Decimal.
    pub(super) value: String,
}

/// A command as it stands in the file (main-state-machine §2.3).
#[derive(Debug, Default)]
pub(super) struct RawCommand {
    pub(super) op: String,
    pub(super) function: Option<String>,
    pub(super) parameters: Option<Vec<Self>>,
    pub(super) values: Option<Vec<Self>>,
    pub(super) variable: Option<String>,
    pub(super) register: Option<String>,
    pub(super) number: Option<String>,
    pub(super) offset: i64,
    pub(super) use_ctx: bool,
    /// Levels below, itself included.
    pub(super) depth: usize,
}

/// Commands, few.
#[derive(Debug, Default)]
pub(super) struct RawCommands(pub(super) Vec<RawCommand>);

impl<'de> Deserialize<'de> for RawCommands {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = RawCommands;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of commands")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<RawCommands, S::Error> {
                let mut commands = Vec::new();
                while let Some(command) = items.next_element()? {
                    if commands.len() == ARGUMENTS_MAX {
                        return Err(S::Error::custom(format!("more than {ARGUMENTS_MAX} commands in one place")));
                    }
                    commands.push(command);
                }
                Ok(RawCommands(commands))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

impl<'de> Deserialize<'de> for RawCommand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = RawCommand;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a command")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<RawCommand, M::Error> {
                let mut command = RawCommand::default();
                let mut op = None;
                let mut below = 0;
                while let Some(key) = map.next_key::<Name<'de>>()? {
                    match &*key.0 {
                        "op" => op = Some(map.next_value()?),
                        "funcName" => command.function = Some(map.next_value()?),
                        name @ ("params" | "values") => {
                            let list = map.next_value::<RawCommands>()?.0;
                            below = below.max(list.iter().map(|command| command.depth).max().unwrap_or(0));
                            let place = if name == "params" { &mut command.parameters } else { &mut command.values };
                            *place = Some(list);
                        }
                        "varName" => command.variable = Some(map.next_value()?),
                        "regName" => command.register = Some(map.next_value()?),
                        "num" => command.number = Some(map.next_value()?),
                        "offset" => command.offset = map.next_value::<Offset>()?.0,
                        "useCTX" => command.use_ctx = map.next_value::<u64>()? == 1,
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                command.depth = below + 1;
                if command.depth > DEPTH_MAX {
                    return Err(M::Error::custom(format!("a command of more than {DEPTH_MAX} levels")));
                }
                command.op = op.ok_or_else(|| M::Error::missing_field("op"))?;
                Ok(command)
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// An offset. One known file has an object in its place, which counts as zero.
struct Offset(i64);

impl<'de> Deserialize<'de> for Offset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrObject;
        impl<'de> Visitor<'de> for NumberOrObject {
            type Value = Offset;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an offset")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Offset, E> {
                Ok(Offset(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Offset, E> {
                i64::try_from(value).map(Offset).map_err(|_| E::custom("an offset out of range"))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Offset, M::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Offset(0))
            }
        }
        deserializer.deserialize_any(NumberOrObject)
    }
}
