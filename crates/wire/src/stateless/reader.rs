//! Reads bytes front to back: plain numbers, and the two kinds of CBOR items a witness has.

use alloy_primitives::{B256, U256};

/// Major types of CBOR, the high three bits of an item's first byte (RFC 8949 §3.1).
const CBOR_UNSIGNED: u8 = 0;
const CBOR_NEGATIVE: u8 = 1;
const CBOR_BYTES: u8 = 2;
const CBOR_SIMPLE: u8 = 7;

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

    /// Reads the head of a CBOR item. Of integers and simple values the original takes the low five bits of the first byte and
    /// no byte behind it, whatever they say; lengths of byte strings it reads as CBOR has them (later-forks §8.7).
    fn cbor_head(&mut self) -> Option<CborHead> {
        let first = self.byte()?;
        let low = first & 0x1f;
        let length = match first >> 5 {
            CBOR_UNSIGNED | CBOR_NEGATIVE | CBOR_SIMPLE => return Some(CborHead::Number(low)),
            CBOR_BYTES => match low {
                small @ 0..24 => u64::from(small),
                24 => u64::from(self.byte()?),
                25 => u64::from(self.u16()?),
                26 => u64::from(self.u32()?),
                27 => self.u64()?,
                // Reserved, and indefinite lengths.
                _ => return None,
            },
            _ => return None,
        };
        usize::try_from(length).ok().map(CborHead::Bytes)
    }

    /// Reads a CBOR integer.
    pub(super) fn cbor_unsigned(&mut self) -> Option<u64> {
        match self.cbor_head()? {
            CborHead::Number(number) => Some(number.into()),
            CborHead::Bytes(_) => None,
        }
    }

    /// Reads a CBOR byte string.
    pub(super) fn cbor_bytes(&mut self) -> Option<&'a [u8]> {
        match self.cbor_head()? {
            CborHead::Bytes(length) => self.take(length),
            CborHead::Number(_) => None,
        }
    }

    /// Reads a CBOR number: a byte string of at most 32 bytes, big-endian, as clients send it, or an integer.
    pub(super) fn cbor_number(&mut self) -> Option<U256> {
        match self.cbor_head()? {
            CborHead::Number(number) => Some(U256::from(number)),
            CborHead::Bytes(length @ 0..=32) => self.take(length).map(U256::from_be_slice),
            CborHead::Bytes(_) => None,
        }
    }
}

/// The head of a CBOR item that a witness may have.
enum CborHead {
    /// A number in the head itself.
    Number(u8),
    /// A byte string of so many bytes.
    Bytes(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_low_bits_of_their_first_byte() {
        for (first, number) in
            [(0x00, 0), (0x17, 23), (0x18, 24), (0x1b, 27), (0x20, 0), (0x38, 24), (0xf6, 22), (0xe0, 0)]
        {
            let mut reader = Reader::new(&[0; 0]);
            let bytes = [first, 0x42];
            for read in [Reader::cbor_number, |reader: &mut Reader| reader.cbor_unsigned().map(U256::from)] {
                reader = Reader::new(&bytes);
                assert_eq!(read(&mut reader), Some(U256::from(number)), "{first:#x}");
                assert_eq!(reader.byte(), Some(0x42), "{first:#x}");
            }
            assert!(reader.is_empty());
        }
    }

    #[test]
    fn lengths_of_every_size_are_read() {
        let string = |head: &[u8], length: usize| [head, &vec![7; length]].concat();
        for (head, length) in [
            (&[0x40][..], 0),
            (&[0x57], 23),
            (&[0x58, 24], 24),
            (&[0x59, 1, 0], 256),
            (&[0x5a, 0, 0, 1, 0], 256),
            (&[0x5b, 0, 0, 0, 0, 0, 0, 1, 0], 256),
        ] {
            let bytes = string(head, length);
            assert_eq!(Reader::new(&bytes).cbor_bytes(), Some(&vec![7; length][..]));
            assert_eq!(Reader::new(&bytes).cbor_number().is_some(), length <= 32);
            assert_eq!(Reader::new(&bytes).cbor_unsigned(), None);
            assert_eq!(Reader::new(&bytes[..bytes.len() - 1]).cbor_bytes(), None);
        }
        assert_eq!(Reader::new(&[0x44, 1, 2, 3, 4]).cbor_bytes(), Some(&[1, 2, 3, 4][..]));
        assert_eq!(Reader::new(&[0x58, 2, 1, 0]).cbor_number(), Some(U256::from(256)));
    }

    #[test]
    fn what_is_not_asked_for_is_refused() {
        for bytes in [
            &[][..],                                                    // nothing
            &[0x61, b'a'],                                              // text
            &[0x81, 0x01],                                              // array
            &[0xa0],                                                    // map
            &[0xc0, 0x01],                                              // tag
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
