//! The spellings of numbers and bytes in vector files: a number may be a JSON number, decimal or hex text.

use std::fmt;

use revm::primitives::{Address, B256, Bytes, U256};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// An unsigned number: JSON number, decimal text or `0x` text. Empty text and `0x` are zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Number(pub U256);

impl Number {
    /// Returns the number as 64 bits, `None` if it does not fit.
    pub fn to_u64(self) -> Option<u64> {
        u64::try_from(self.0).ok()
    }

    /// Returns the number as 32 big-endian bytes.
    pub fn to_b256(self) -> B256 {
        self.0.into()
    }

    /// Returns the number as an address, `None` if it has more than 160 bits.
    pub fn to_address(self) -> Option<Address> {
        (self.0.bit_len() <= 160).then(|| Address::from_word(self.0.into()))
    }

    /// Parses decimal or `0x` text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            Some("") => Ok(U256::ZERO),
            Some(digits) => U256::from_str_radix(digits, 16),
            None if text.is_empty() => Ok(U256::ZERO),
            None => U256::from_str_radix(text, 10),
        };
        parsed.map(Self).map_err(|error| format!("`{text}` is not a number: {error}"))
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, decimal text or 0x text")
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number(U256::from(value)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                Number::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

/// Up to 32 bytes of hex, with or without `0x`, as a left-padded number: hashes, roots, slots, addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HexWord(pub B256);

impl HexWord {
    /// Parses hex text of at most 64 digits.
    pub fn parse(text: &str) -> Result<Self, String> {
        let digits = strip_prefix(text);
        let bytes = decode_hex(digits).map_err(|problem| format!("`{text}`: {problem}"))?;
        if bytes.len() > 32 {
            return Err(format!("`{text}` has more than 64 hex digits"));
        }
        Ok(Self(B256::left_padding_from(&bytes)))
    }
}

impl<'de> Deserialize<'de> for HexWord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(D::Error::custom)
    }
}

/// Bytes of hex, with or without `0x`; an odd number of digits gets a leading zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HexData(pub Bytes);

impl<'de> Deserialize<'de> for HexData {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        decode_hex(strip_prefix(&text)).map(|bytes| Self(bytes.into())).map_err(D::Error::custom)
    }
}

/// Removes `0x`.
pub fn strip_prefix(text: &str) -> &str {
    text.strip_prefix("0x").unwrap_or(text)
}

fn decode_hex(digits: &str) -> Result<Vec<u8>, String> {
    let decoded = if digits.len().is_multiple_of(2) { hex::decode(digits) } else { hex::decode(format!("0{digits}")) };
    decoded.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_number_are_equal() {
        for text in ["1000", "\"1000\"", "\"0x3e8\"", "\"0x03e8\""] {
            let number: Number = serde_json::from_str(text).unwrap();
            assert_eq!(number.to_u64(), Some(1000), "{text}");
        }
        assert_eq!(Number::parse("").unwrap().to_u64(), Some(0));
        assert!(Number::parse("12x").is_err());
        assert!(serde_json::from_str::<Number>("-1").is_err());
    }

    #[test]
    fn words_are_left_padded_and_bounded() {
        let word: HexWord = serde_json::from_str("\"0x1ff\"").unwrap();
        assert_eq!(U256::from_be_bytes(word.0.0), U256::from(0x1ff));
        assert!(HexWord::parse(&"1".repeat(65)).is_err());
        assert!(HexWord::parse("0xzz").is_err());
    }
}
