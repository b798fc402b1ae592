//! Compressed requests: gzip and deflate, as gRPC's own servers take them.
//!
//! Here and not in tonic, so that what a message grows to is counted while it grows: 1 KiB can be 1 MiB decoded. Answers are
//! never compressed.

use std::io::{self, Write};

use flate2::write::{GzDecoder, ZlibDecoder};
use tonic::Status;
use tonic::codegen::Bytes;
use tonic::codegen::http::{HeaderMap, HeaderValue};

use crate::actors::BatchFailure;

const ENCODING_HEADER: &str = "grpc-encoding";
const ACCEPTED_HEADER: &str = "grpc-accept-encoding";
/// What requests may be encoded with.
const ACCEPTED: HeaderValue = HeaderValue::from_static("identity,deflate,gzip");
/// A flag and the length of what follows.
const HEAD_BYTES: usize = 5;
/// Compressed bytes decoded between two looks at the bounds; they make 1 032 times as many at most.
const STEP_BYTES: usize = 1 << 10;

/// Tells in the headers of an answer how requests may be compressed (gRPC's compression.md).
pub(super) fn tell_accepted(headers: &mut HeaderMap) {
    headers.insert(ACCEPTED_HEADER, ACCEPTED);
}

/// How the messages of a request are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    /// With zlib's head, as RFC 9110 §8.4.1.2 has it.
    Deflate,
}

impl Encoding {
    /// Takes the encoding out of the headers of a request. One that is not known stays there, for tonic to refuse.
    pub(super) fn take(headers: &mut HeaderMap) -> Option<Self> {
        let encoding = match headers.get(ENCODING_HEADER)?.as_bytes() {
            b"gzip" => Self::Gzip,
            b"deflate" => Self::Deflate,
            _ => return None,
        };
        headers.remove(ENCODING_HEADER);
        Some(encoding)
    }

    fn decoder(self) -> Decoder {
        match self {
            Self::Gzip => Decoder::Gzip(GzDecoder::new(Vec::new())),
            Self::Deflate => Decoder::Deflate(ZlibDecoder::new(Vec::new())),
        }
    }
}

/// Decodes into memory.
enum Decoder {
    Gzip(GzDecoder<Vec<u8>>),
    Deflate(ZlibDecoder<Vec<u8>>),
}

impl Decoder {
    fn decoded(&self) -> usize {
        match self {
            Self::Gzip(decoder) => decoder.get_ref().len(),
            Self::Deflate(decoder) => decoder.get_ref().len(),
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.write_all(bytes),
            Self::Deflate(decoder) => decoder.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip(decoder) => decoder.finish(),
            Self::Deflate(decoder) => decoder.finish(),
        }
    }
}

/// Makes plain messages of compressed ones, as their bytes come in.
pub(super) struct Inflate {
    encoding: Encoding,
    message_bytes_max: usize,
    head: Vec<u8>,
    /// The message whose head is complete.
    message: Option<Message>,
}

/// A message that comes in.
struct Message {
    /// Bytes that are still to come.
    left: usize,
    /// `None` if it is not compressed.
    decoder: Option<Decoder>,
}

impl Inflate {
    /// Reads messages that may become `message_bytes_max` bytes each.
    pub(super) fn new(encoding: Encoding, message_bytes_max: usize) -> Self {
        Self { encoding, message_bytes_max, head: Vec::with_capacity(HEAD_BYTES), message: None }
    }

    /// Takes in bytes of the request and returns those for the service, perhaps none yet. `grow` is asked for what a decoded
    /// message takes.
    pub(super) fn feed(
        &mut self,
        data: &[u8],
        mut grow: impl FnMut(usize) -> Result<(), BatchFailure>,
    ) -> Result<Bytes, Status> {
        let mut plain = Vec::new();
        let mut rest = data;
        while !rest.is_empty() {
            if self.message.is_none() {
                let (head, tail) = rest.split_at(rest.len().min(HEAD_BYTES.saturating_sub(self.head.len())));
                self.head.extend_from_slice(head);
                rest = tail;
                self.begin(&mut plain)?;
            }
            let Some(message) = &mut self.message else { continue };
            let (part, tail) = rest.split_at(rest.len().min(message.left));
            rest = tail;
            message.left -= part.len();
            match &mut message.decoder {
                None => plain.extend_from_slice(part),
                Some(decoder) => decode(decoder, part, self.message_bytes_max, &mut grow)?,
            }
            if message.left == 0
                && let Some(Message { decoder: Some(decoder), .. }) = self.message.take()
            {
                finish(decoder, self.message_bytes_max, &mut plain, &mut grow)?;
            }
        }
        Ok(plain.into())
    }

    /// Reads the head once it is complete.
    fn begin(&mut self, plain: &mut Vec<u8>) -> Result<(), Status> {
        let &[flag, a, b, c, d] = self.head.as_slice() else { return Ok(()) };
        let left = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        // Decoded it can be smaller, but nobody compresses for that.
        if left > self.message_bytes_max {
            return Err(too_large(self.message_bytes_max));
        }
        let decoder = (flag == 1).then(|| self.encoding.decoder());
        if decoder.is_none() {
            plain.append(&mut self.head);
        }
        self.head.clear();
        self.message = Some(Message { left, decoder });
        if left == 0 {
            // Nothing is no stream of either encoding; gRPC's clients send an empty message like this all the same.
            if let Some(Message { decoder: Some(_), .. }) = self.message.take() {
                plain.extend_from_slice(&[0; HEAD_BYTES]);
            }
        }
        Ok(())
    }
}

fn decode(
    decoder: &mut Decoder,
    bytes: &[u8],
    bytes_max: usize,
    grow: &mut impl FnMut(usize) -> Result<(), BatchFailure>,
) -> Result<(), Status> {
    for step in bytes.chunks(STEP_BYTES) {
        let before = decoder.decoded();
        decoder.write_all(step).map_err(malformed)?;
        grow(decoder.decoded().saturating_sub(before))?;
        if decoder.decoded() > bytes_max {
            return Err(too_large(bytes_max));
        }
    }
    Ok(())
}

/// Appends the decoded message with its head.
fn finish(
    decoder: Decoder,
    bytes_max: usize,
    plain: &mut Vec<u8>,
    grow: &mut impl FnMut(usize) -> Result<(), BatchFailure>,
) -> Result<(), Status> {
    let before = decoder.decoded();
    let message = decoder.finish().map_err(malformed)?;
    grow(message.len().saturating_sub(before))?;
    let length = u32::try_from(message.len()).ok().filter(|_| message.len() <= bytes_max);
    plain.push(0);
    plain.extend_from_slice(&length.ok_or_else(|| too_large(bytes_max))?.to_be_bytes());
    plain.extend_from_slice(&message);
    Ok(())
}

/// The status of a message that is not what its flag says (gRPC's compression.md).
fn malformed(error: io::Error) -> Status {
    Status::internal(format!("the request cannot be decompressed: {error}"))
}

/// The status tonic gives for a plain message that is too large.
fn too_large(bytes_max: usize) -> Status {
    Status::out_of_range(format!(
        "the message is larger than {} MiB decompressed (limits.message_mib)",
        bytes_max >> 20
    ))
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn compress(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
        match encoding {
            Encoding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            Encoding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    fn framed(flag: u8, bytes: &[u8]) -> Vec<u8> {
        [&[flag][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    /// Messages of all sizes, compressed and not, cut into pieces at every distance, become the same plain messages.
    #[test]
    fn messages_become_plain_wherever_they_are_cut() {
        let texts: [&[u8]; 4] = [b"", b"one", &[b'x'; 5000], b"last"];
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let mut sent = Vec::new();
            let mut want = Vec::new();
            for (i, text) in texts.iter().enumerate() {
                sent.extend(if i % 2 == 1 { framed(0, text) } else { framed(1, &compress(encoding, text)) });
                want.extend(framed(0, text));
            }
            sent.extend(framed(1, b""));
            want.extend(framed(0, b""));
            for piece in [1, 2, 3, 7, 100, sent.len()] {
                let mut inflate = Inflate::new(encoding, 5000);
                let mut grown = 0;
                let mut plain = Vec::new();
                for part in sent.chunks(piece) {
                    let fed = inflate.feed(part, |more| {
                        grown += more;
                        Ok(())
                    });
                    plain.extend_from_slice(&fed.unwrap());
                }
                assert_eq!(plain, want, "{encoding:?} in pieces of {piece}");
                assert_eq!(grown, 5000);
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_while_it_grows() {
        let bomb = framed(1, &compress(Encoding::Gzip, &vec![0; 50 << 20]));
        let mut grown = 0;
        let count = |more| {
            grown += more;
            Ok(())
        };
        let status = Inflate::new(Encoding::Gzip, 1 << 20).feed(&bomb, count).unwrap_err();
        assert_eq!(status.code(), tonic::Code::OutOfRange);
        assert!(grown < 3 << 20, "{grown} bytes were decoded");
        let full = BatchFailure::ReceptionFull { bytes_max: 7 };
        let refused = Inflate::new(Encoding::Gzip, 100 << 20).feed(&bomb, |_| Err(full)).unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
    }

    #[test]
    fn what_is_not_compressed_as_it_says_is_refused() {
        let mut cut = compress(Encoding::Gzip, b"some text");
        cut.truncate(12);
        for bytes in [&b"no gzip at all"[..], &cut, &compress(Encoding::Deflate, b"other")] {
            let status = Inflate::new(Encoding::Gzip, 1000).feed(&framed(1, bytes), |_| Ok(())).unwrap_err();
            assert_eq!(status.code(), tonic::Code::Internal, "{bytes:?}");
        }
    }

    #[test]
    fn encodings_are_taken_out_of_the_headers() {
        let take = |value: &'static str| {
            let mut headers = HeaderMap::from_iter([("grpc-encoding".parse().unwrap(), value.parse().unwrap())]);
            (Encoding::take(&mut headers), headers.len())
        };
        assert_eq!(take("gzip"), (Some(Encoding::Gzip), 0));
        assert_eq!(take("deflate"), (Some(Encoding::Deflate), 0));
        assert_eq!(take("identity"), (None, 1));
        assert_eq!(take("zstd"), (None, 1));
    }
}
