//! Messages on the gRPC threads: requests are counted before they are decoded, responses are encoded before they get there.
//!
//! The response to a full batch takes a millisecond to encode and to take apart again. The executor does that, whose thread
//! stands back: on a gRPC thread small calls would wait for it. A request above [`INLINE_BYTES_MAX`] is decoded while another
//! thread takes over the calls of this one.

use std::marker::PhantomData;

use prost::bytes::{Buf, BufMut, Bytes};
use prost::{Message, Name};
use tokio::runtime::{Handle, RuntimeFlavor};
use tonic::Status;
use tonic::codec::{DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic_prost::{ProstDecoder, ProstEncoder};

use super::decoded_size::decoded_bytes;
use zkevm_pool::memory::{CallMemory, MemoryBound};

/// Bytes of a request that are decoded and validated on the thread that received them.
pub const INLINE_BYTES_MAX: usize = 256 << 10;

tokio::task_local! {
    /// The memory of the call that runs, and the status of one that takes too much.
    static CALL: (CallMemory, fn(MemoryBound, &CallMemory) -> Status);
}

/// Runs a call whose request takes of `memory` before it is decoded; `refuse` makes the status if it may not.
pub fn metered<F: Future>(
    memory: CallMemory,
    refuse: fn(MemoryBound, &CallMemory) -> Status,
    call: F,
) -> impl Future<Output = F::Output> {
    CALL.scope((memory, refuse), call)
}

/// Runs long work for a request of so many bytes where no other call waits for it.
pub fn without_blocking<R>(request_bytes: usize, work: impl FnOnce() -> R) -> R {
    let can_move = || Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    if request_bytes > INLINE_BYTES_MAX && can_move() { tokio::task::block_in_place(work) } else { work() }
}

/// The request of a call without a message.
pub type Empty = ();

/// A response message as it goes out.
#[derive(Debug, Default)]
pub struct Encoded(Bytes);

impl Encoded {
    /// Encodes a message.
    pub fn new(message: &impl Message) -> Self {
        Self(message.encode_to_vec().into())
    }

    /// Returns the bytes.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// Counts a request against the memory of its call, then decodes it as usual.
#[derive(Debug, Default)]
pub struct CountedDecoder<T>(ProstDecoder<T>);

impl<T: Message + Name + Default + 'static> Decoder for CountedDecoder<T> {
    type Item = T;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<T>, Status> {
        let request_bytes = buffer.remaining();
        without_blocking(request_bytes, || {
            let taken = CALL.try_with(|(memory, refuse)| {
                let bytes = decoded_bytes(&T::full_name(), buffer.chunk());
                memory.take(bytes).map_err(|bound| refuse(bound, memory))
            });
            taken.unwrap_or(Ok(()))?;
            self.0.decode(buffer)
        })
    }
}

/// Sends and receives messages as usual, but for what [`CountedDecoder`] does.
#[derive(Debug)]
pub struct CountedCodec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for CountedCodec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for CountedCodec<T, U>
where
    T: Message + 'static,
    U: Message + Name + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = CountedDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::default()
    }

    fn decoder(&mut self) -> Self::Decoder {
        CountedDecoder::default()
    }
}

/// Counts and decodes requests and sends responses as they are.
#[derive(Debug)]
pub struct Codec<T>(PhantomData<T>);

impl<T> Default for Codec<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Message + Name + Default + 'static> tonic::codec::Codec for Codec<T> {
    type Encode = Encoded;
    type Decode = T;
    type Encoder = PassThroughEncoder;
    type Decoder = CountedDecoder<T>;

    fn encoder(&mut self) -> Self::Encoder {
        PassThroughEncoder
    }

    fn decoder(&mut self) -> Self::Decoder {
        CountedDecoder::default()
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
