//! Responses that are encoded before they reach a gRPC thread.
//!
//! The response to a full batch takes a millisecond to encode and to take apart again. The executor does that, whose thread
//! stands back: on a gRPC thread small calls would wait for it.

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::{BufMut, Bytes};
use tonic::Status;
use tonic::codec::{EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;

/// The request of a call without a message.
pub type Empty = ();

/// A response message as it goes out.
#[derive(Debug)]
pub struct Encoded(Bytes);

impl Encoded {
    /// Encodes a message.
    pub fn new(message: &impl Message) -> Self {
        Self(message.encode_to_vec().into())
    }
}

/// Decodes requests as usual and sends responses as they are.
#[derive(Debug)]
pub struct Codec<T>(PhantomData<T>);

impl<T> Default for Codec<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Default + 'static> tonic::codec::Codec for Codec<T> {
    type Encode = Encoded;
    type Decode = T;
    type Encoder = PassThroughEncoder;
    type Decoder = ProstDecoder<T>;

    fn encoder(&mut self) -> Self::Encoder {
        PassThroughEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

/// Passes encoded bytes through.
#[derive(Debug)]
pub struct PassThroughEncoder;

impl Encoder for PassThroughEncoder {
    type Item = Encoded;
    type Error = Status;

    fn encode(&mut self, item: Encoded, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item.0);
        Ok(())
    }
}
