//! What a setting accepts, and how a checked value becomes the field's type.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use toml::Value;

use super::{AggregatorProtocol, DatabaseUrl, EngineKind, Exact, LogFormat, StoreKind};
use zkevm_types::CountersPolicy;

/// What a setting accepts.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    /// A number of units: of bytes for sizes, of microseconds for times.
    Integer {
        min: i64,
        max: i64,
        unit: i64,
    },
    Float {
        min: f64,
        max: f64,
    },
    Bool,
    Ip,
    /// Not empty.
    Text,
    /// Empty for none.
    File,
    /// Empty for none.
    HttpUrl,
    OneOf(&'static [&'static str]),
}

pub(super) const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max, unit: 1 }
}

pub(super) const fn kib(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max, unit: 1 << 10 }
}

pub(super) const fn mib(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max, unit: 1 << 20 }
}

pub(super) const fn micros(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max, unit: 1 }
}

pub(super) const fn whole_seconds(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max, unit: 1_000_000 }
}

pub(super) const fn seconds(min: f64, max: f64) -> Kind {
    Kind::Float { min, max }
}

pub(super) const fn one_of(names: &'static [&'static str]) -> Kind {
    Kind::OneOf(names)
}

impl Kind {
    /// Returns the value in the kind's type if it is allowed.
    pub(super) fn accept(self, value: Value) -> Option<Value> {
        let allowed = match (&value, self) {
            (Value::Integer(number), Self::Integer { min, max, .. }) => (min..=max).contains(number),
            (Value::Integer(number), Self::Float { .. }) => return self.accept(Value::Float(*number as f64)),
            (Value::Float(number), Self::Float { min, max }) => (min..=max).contains(number),
            (Value::Boolean(_), Self::Bool) | (Value::String(_), Self::File) => true,
            (Value::String(text), Self::Ip) => text.parse::<IpAddr>().is_ok(),
            (Value::String(text), Self::Text) => !text.is_empty(),
            (Value::String(text), Self::HttpUrl) => text.is_empty() || text.starts_with("http://"),
            (Value::String(text), Self::OneOf(names)) => names.contains(&text.as_str()),
            _ => false,
        };
        allowed.then_some(value)
    }

    /// Returns the value that a text of the environment or the command line stands for; its bounds are not checked.
    pub(super) fn parse(self, text: &str) -> Option<Value> {
        match self {
            Self::Integer { .. } => text.parse().ok().map(Value::Integer),
            Self::Float { .. } => text.parse().ok().map(Value::Float),
            Self::Bool => text.to_ascii_lowercase().parse().ok().map(Value::Boolean),
            Self::Ip | Self::Text | Self::File | Self::HttpUrl | Self::OneOf(_) => Some(Value::String(text.to_owned())),
        }
    }

    fn unit(self) -> i64 {
        if let Self::Integer { unit, .. } = self { unit } else { 1 }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer { min, max, .. } => write!(f, "a whole number from {min} to {max}"),
            Self::Float { min, max } => write!(f, "a number from {min} to {max}"),
            Self::Bool => f.write_str("true or false"),
            Self::Ip => f.write_str("an IP address"),
            Self::Text => f.write_str("a text that is not empty"),
            Self::File => f.write_str("the name of a file, or empty"),
            Self::HttpUrl => f.write_str("a URL like http://host:port, or empty"),
            Self::OneOf(names) => write!(f, "one of {}", names.join(", ")),
        }
    }
}

/// A type of field.
pub(super) trait FromSetting: Sized {
    /// Returns the field's value of an accepted one, `None` if it has no place in the type.
    fn from_setting(value: &Value, kind: Kind) -> Option<Self>;
}

/// Types made of a number of units.
macro_rules! from_integer {
    ($($type:ty)+) => {
        $(impl FromSetting for $type {
            fn from_setting(value: &Value, kind: Kind) -> Option<Self> {
                value.as_integer()?.checked_mul(kind.unit())?.try_into().ok()
            }
        })+
    };
}

/// Types made of a text.
macro_rules! from_text {
    ($($type:ty = $read:expr;)+) => {
        $(impl FromSetting for $type {
            fn from_setting(value: &Value, _: Kind) -> Option<Self> {
                value.as_str().and_then($read)
            }
        })+
    };
}

from_integer! { u16 u32 u64 usize i32 }

from_text! {
    String = |text| Some(text.to_owned());
    PathBuf = |text| Some(text.into());
    Option<PathBuf> = |text| Some(Some(text).filter(|text| !text.is_empty()).map(Into::into));
    IpAddr = |text| text.parse().ok();
    DatabaseUrl = |text| Some(Self(text.to_owned()));
    StoreKind = Self::parse;
    AggregatorProtocol = Self::parse;
    EngineKind = Self::parse;
    Exact = Self::parse;
    CountersPolicy = Self::parse;
    LogFormat = Self::parse;
    tracing::Level = |text| text.parse().ok();
}

impl FromSetting for bool {
    fn from_setting(value: &Value, _: Kind) -> Option<Self> {
        value.as_bool()
    }
}

impl FromSetting for f64 {
    fn from_setting(value: &Value, _: Kind) -> Option<Self> {
        value.as_float()
    }
}

impl FromSetting for Duration {
    fn from_setting(value: &Value, kind: Kind) -> Option<Self> {
        match value {
            Value::Float(seconds) => Self::try_from_secs_f64(*seconds).ok(),
            units => u64::from_setting(units, kind).map(Self::from_micros),
        }
    }
}

/// Zero is none.
impl FromSetting for Option<Duration> {
    fn from_setting(value: &Value, kind: Kind) -> Option<Self> {
        Duration::from_setting(value, kind).map(|time| Some(time).filter(|time| !time.is_zero()))
    }
}
