//! Reads bytes front to back: plain numbers, and the two kinds of CBOR items a witness has.

use alloy_primitives::{B256, U256};

/// Major types of CBOR, the high three bits of an item's first byte (RFC 8949 §3.1).
const CBOR_UNSIGNED: u8 = 0;
const CBOR_BYTES: u8 = 2;

/// Returns a word whose first bytes, zeros, may be left out; `None` of more than 32 bytes.
pub(super) fn padded_word(bytes: &[u8]) -> Option<B256> {
    (bytes.len() <= 32).then(|| B256::left_padding_from(bytes))
}

/// Bytes with a position. `None` is always: not enough bytes left, or not what was asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn word(&mut self) -> Option<B256> {
        self.array().map(B256::new)
    }

    /// Reads the first byte of a CBOR item and its number: `(major type, number)`.
    fn cbor_head(&mut self) -> Option<(u8, u64)> {
        let first = self.byte()?;
        let number = match first & 0x1f {
            small @ 0..24 => u64::from(small),
            24 => u64::from(self.byte()?),
            25 => u64::from(self.u16()?),
            26 => u64::from(self.u32()?),
            27 => self.u64()?,
            // Reserved, and indefinite lengths.
            _ => return None,
        };
        Some((first >> 5, number))
    }

    /// Reads a CBOR unsigned integer. The original takes the first byte's low five bits for any integer from 24 on; no
    /// client sends one that large, so here it is what CBOR says.
    pub(super) fn cbor_unsigned(&mut self) -> Option<u64> {
        self.cbor_head().filter(|head| head.0 == CBOR_UNSIGNED).map(|head| head.1)
    }

    /// Reads a CBOR byte string.
    pub(super) fn cbor_bytes(&mut self) -> Option<&'a [u8]> {
        let (_, length) = self.cbor_head().filter(|head| head.0 == CBOR_BYTES)?;
        self.take(usize::try_from(length).ok()?)
    }

    /// Reads a CBOR number: a byte string of at most 32 bytes, big-endian, as clients send it, or an unsigned integer.
    pub(super) fn cbor_number(&mut self) -> Option<U256> {
        match self.cbor_head()? {
            (CBOR_UNSIGNED, number) => Some(U256::from(number)),
            (CBOR_BYTES, length @ 0..=32) => self.take(length as usize).map(U256::from_be_slice),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cbor_heads_of_every_size_are_read() {
        // RFC 8949, appendix A.
        for (bytes, number) in [
            (&[0x17][..], 23),
            (&[0x18, 0x18], 24),
            (&[0x19, 0x03, 0xe8], 1000),
            (&[0x1a, 0x00, 0x0f, 0x42, 0x40], 1_000_000),
            (&[0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], u64::MAX),
        ] {
            assert_eq!(Reader::new(bytes).cbor_unsigned(), Some(number));
            assert_eq!(Reader::new(bytes).cbor_number(), Some(U256::from(number)));
            assert_eq!(Reader::new(&bytes[..bytes.len() - 1]).cbor_unsigned(), None);
        }
        assert_eq!(Reader::new(&[0x44, 1, 2, 3, 4]).cbor_bytes(), Some(&[1, 2, 3, 4][..]));
        assert_eq!(Reader::new(&[0x58, 2, 1, 0]).cbor_number(), Some(U256::from(256)));
        assert_eq!(Reader::new(&[0x40]).cbor_number(), Some(U256::ZERO));
    }

    #[test]
    fn what_is_not_asked_for_is_refused() {
        for bytes in [
            &[][..],                                                    // nothing
            &[0x20],                                                    // −1
            &[0x61, b'a'],                                              // text
            &[0x81, 0x01],                                              // array
            &[0xc0, 0x01],                                              // tag
            &[0xf6],                                                    // null
            &[0x1c],                                                    // reserved
            &[0x5f, 0x41, 1, 0xff],                                     // bytes without a length
            &[0x43, 1, 2],                                              // bytes cut off
            &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1], // an absurd length
        ] {
            assert_eq!(Reader::new(bytes).cbor_number(), None, "{bytes:x?}");
            assert_eq!(Reader::new(bytes).cbor_bytes(), None, "{bytes:x?}");
            assert_eq!(Reader::new(bytes).cbor_unsigned(), None, "{bytes:x?}");
        }
        let too_long = [&[0x58, 33][..], &[0; 33]].concat();
        assert_eq!(Reader::new(&too_long).cbor_number(), None);
    }
}
