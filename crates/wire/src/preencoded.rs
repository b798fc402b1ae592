//! Messages on the gRPC threads: requests are counted before they are decoded, responses are encoded before they get there.
//!
//! The response to a full batch takes a millisecond to encode and to take apart again. The executor does that, whose thread
//! stands back: on a gRPC thread small calls would wait for it. A request above [`INLINE_BYTES_MAX`] is decoded while another
//! thread takes over the calls of this one.

use std::marker::PhantomData;
use std::time::Instant;

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
    /// What bounds the decoding of the call that runs.
    static CALL: Metered;
}

/// What bounds the decoding of a call.
#[derive(Clone, Debug)]
pub struct Metered {
    /// What its request takes of.
    pub memory: CallMemory,
    /// Makes the status of one that takes too much.
    pub refuse: fn(MemoryBound, &CallMemory) -> Status,
    /// When its client gives up.
    pub deadline: Option<Instant>,
    /// Makes the status of one whose client has given up.
    pub expire: fn() -> Status,
}

impl Metered {
    fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Bytes that a message is read from, none of them any more once nobody waits for the message: its decoding then comes to an
/// end, right or wrong.
struct Watched<'a, B> {
    inner: &'a mut B,
    call: &'a Metered,
    parts: u32,
    is_late: bool,
}

/// Parts of a message read between two looks: less than a millisecond.
const PARTS_PER_LOOK: u32 = 1 << 12;

impl<B: Buf> Watched<'_, B> {
    fn look(&mut self) {
        self.parts += 1;
        if self.parts >= PARTS_PER_LOOK {
            (self.parts, self.is_late) = (0, self.is_late || self.call.is_late());
        }
    }
}

impl<B: Buf> Buf for Watched<'_, B> {
    fn remaining(&self) -> usize {
        if self.is_late { 0 } else { self.inner.remaining() }
    }

    fn chunk(&self) -> &[u8] {
        if self.is_late { &[] } else { self.inner.chunk() }
    }

    fn advance(&mut self, count: usize) {
        self.inner.advance(count);
        self.look();
    }

    fn copy_to_bytes(&mut self, len: usize) -> Bytes {
        let bytes = self.inner.copy_to_bytes(len);
        self.look();
        bytes
    }
}

/// Runs a call whose request takes of its memory before it is decoded, and is decoded while its client waits.
pub fn metered<F: Future>(metered: Metered, call: F) -> impl Future<Output = F::Output> {
    CALL.scope(metered, call)
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
            let Ok(call) = CALL.try_with(Metered::clone) else { return self.0.decode(buffer) };
            let bytes = decoded_bytes(&T::full_name(), buffer.chunk());
            call.memory.take(bytes).map_err(|bound| (call.refuse)(bound, &call.memory))?;
            if request_bytes <= INLINE_BYTES_MAX {
                return self.0.decode(buffer);
            }
            let mut watched = Watched { inner: buffer, call: &call, parts: 0, is_late: false };
            let decoded = T::decode(&mut watched);
            if watched.is_late {
                return Err((call.expire)());
            }
            decoded.map(Some).map_err(|error| Status::internal(error.to_string()))
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
