//! The memory of a call from its first decoded byte to the last byte of its answer.
//!
//! The layer opens an account for each call. Its request takes of it before it is decoded, its batch as it goes, its answer
//! until the client has taken it. HTTP/2 makes a server keep what a client does not take: here an answer goes to the connection
//! in chunks, as the client's window opens, and a client that does not take it in time gets no more of it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body::Frame;
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, Service, http};
use tonic::server::NamedService;

use crate::actors::BatchFailure;
use zkevm_pool::Cancelled;
use zkevm_pool::memory::{CallMemory, MemoryBound, MemoryBudget};
use zkevm_wire::preencoded;

/// Bytes that a connection is given at a time.
const CHUNK_BYTES: usize = 256 << 10;
/// Bytes before a message: it is not compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// A second more to take an answer for each so many bytes of it.
const BYTES_PER_SECOND: usize = 1 << 20;

/// An answer on its way out: an extension of the response, whose own message is empty.
#[derive(Clone)]
pub(super) struct Answer {
    /// The encoded message.
    pub(super) bytes: Bytes,
    /// What it takes of, given back once the client has it.
    pub(super) _memory: Option<CallMemory>,
}

/// Wraps a gRPC service.
#[derive(Clone)]
pub struct CallMemoryLayer<S> {
    inner: S,
    budget: MemoryBudget,
    answer_time: Duration,
}

impl<S> CallMemoryLayer<S> {
    /// Wraps `inner`, whose calls take of `budget` and whose answers must be taken in `answer_time`.
    pub fn new(inner: S, budget: MemoryBudget, answer_time: Duration) -> Self {
        Self { inner, budget, answer_time }
    }
}

impl<S: NamedService> NamedService for CallMemoryLayer<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for CallMemoryLayer<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let memory = self.budget.call();
        request.extensions_mut().insert(memory.clone());
        let answer_time = self.answer_time;
        let call = preencoded::metered(memory, refused, self.inner.call(request));
        Box::pin(async move {
            let Ok(mut response) = call.await;
            Ok(match response.extensions_mut().remove::<Answer>() {
                Some(answer) => response.map(|_| Body::new(AnswerBody::new(answer, answer_time))),
                None => response,
            })
        })
    }
}

/// Returns the status of a request that takes too much memory.
fn refused(bound: MemoryBound, memory: &CallMemory) -> Status {
    BatchFailure::of(Cancelled::Memory(bound), memory.bounds()).into()
}

/// What is left of an answer.
enum Rest {
    Message(Answer, Prefix),
    Trailers,
    Nothing,
    /// The client did not take it in time.
    GivenUp,
}

/// Whether the bytes before the message are still to be sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Prefix {
    Waits,
    Sent,
}

/// The body of an answer, chunk by chunk.
struct AnswerBody {
    rest: Arc<Mutex<Rest>>,
    watch: JoinHandle<()>,
}

impl AnswerBody {
    fn new(answer: Answer, time: Duration) -> Self {
        let more = Duration::from_secs((answer.bytes.len() / BYTES_PER_SECOND) as u64);
        let rest = Arc::new(Mutex::new(Rest::Message(answer, Prefix::Waits)));
        // The connection asks for nothing while the client's window is closed: somebody else has to look.
        let watch = tokio::spawn(give_up_after(time.saturating_add(more), Arc::downgrade(&rest)));
        Self { rest, watch }
    }
}

async fn give_up_after(time: Duration, rest: Weak<Mutex<Rest>>) {
    tokio::time::sleep(time).await;
    if let Some(rest) = rest.upgrade() {
        let left = std::mem::replace(&mut *rest.lock(), Rest::GivenUp);
        if let Rest::Message(answer, _) = left {
            tracing::warn!(
                bytes_left = answer.bytes.len(),
                seconds = time.as_secs_f64(),
                "an answer was not taken by its client (limits.answer_seconds)"
            );
        }
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let rest = &mut *self.rest.lock();
        Poll::Ready(match rest {
            Rest::Message(answer, prefix) => {
                let frame = next_chunk(answer, prefix);
                if answer.bytes.is_empty() {
                    *rest = Rest::Trailers;
                }
                Some(frame)
            }
            Rest::Trailers => {
                *rest = Rest::Nothing;
                let mut trailers = http::HeaderMap::new();
                trailers.insert(Status::GRPC_STATUS, http::HeaderValue::from_static("0"));
                Some(Ok(Frame::trailers(trailers)))
            }
            Rest::Nothing => None,
            Rest::GivenUp => {
                *rest = Rest::Nothing;
                Some(Err(Status::deadline_exceeded("the answer was not taken in time (limits.answer_seconds)")))
            }
        })
    }
}

fn next_chunk(answer: &mut Answer, prefix: &mut Prefix) -> Result<Frame<Bytes>, Status> {
    let waits = std::mem::replace(prefix, Prefix::Sent) == Prefix::Waits;
    if !waits {
        return Ok(Frame::data(answer.bytes.split_to(answer.bytes.len().min(CHUNK_BYTES))));
    }
    let too_long = |_| Status::out_of_range("an answer of more than 4 GiB");
    let len = u32::try_from(answer.bytes.len()).map_err(too_long)?;
    // A small answer goes out in one frame, the first chunk of a large one is a short one.
    let chunk = answer.bytes.split_to(answer.bytes.len().min(CHUNK_BYTES / 8));
    let mut frame = Vec::with_capacity(PREFIX_BYTES + chunk.len());
    frame.push(0);
    frame.extend_from_slice(&len.to_be_bytes());
    frame.extend_from_slice(&chunk);
    Ok(Frame::data(frame.into()))
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use zkevm_pool::memory::MemoryBounds;

    async fn next(body: &mut AnswerBody) -> Option<Result<Frame<Bytes>, Status>> {
        poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    }

    fn answer(len: usize, budget: &MemoryBudget) -> Answer {
        let memory = budget.call();
        memory.take(len).unwrap();
        Answer { bytes: vec![7; len].into(), _memory: Some(memory) }
    }

    #[tokio::test]
    async fn an_answer_comes_in_chunks_and_is_given_back_after_the_last() {
        for len in [0, 1, CHUNK_BYTES / 8, 3 * CHUNK_BYTES + 1] {
            let budget = MemoryBudget::new(MemoryBounds::NONE);
            let mut body = AnswerBody::new(answer(len, &budget), Duration::from_secs(60));
            let (mut bytes, mut trailers) = (Vec::new(), None);
            while let Some(frame) = next(&mut body).await {
                match frame.unwrap().into_data() {
                    Ok(data) => bytes.extend_from_slice(&data),
                    Err(other) => trailers = other.into_trailers().ok(),
                }
            }
            assert_eq!((bytes.len(), &bytes[1..PREFIX_BYTES]), (PREFIX_BYTES + len, &(len as u32).to_be_bytes()[..]));
            assert_eq!(trailers.unwrap()[Status::GRPC_STATUS], "0");
            assert_eq!(budget.used(), 0);
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_is_given_up() {
        let budget = MemoryBudget::new(MemoryBounds::NONE);
        let mut body = AnswerBody::new(answer(3 * CHUNK_BYTES, &budget), Duration::from_millis(20));
        assert!(next(&mut body).await.is_some_and(|frame| frame.is_ok()));
        assert!(budget.used() > 0);
        while budget.used() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(next(&mut body).await.is_some_and(|frame| frame.is_err()));
        assert!(next(&mut body).await.is_none());
    }
}
