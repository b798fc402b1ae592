//! The bodies of answers: in pieces, counted until they have left, and with a time for the client to take them.
//!
//! HTTP/2 keeps what it was given until the client's window is open and its socket takes it. So it is given little at a time,
//! and the bytes stay counted until it has dropped the last of them. A longer message ends in a short piece: HTTP/2 asks for
//! it once the window has room for all that came before, so that a call does not end, and its time with it, while much of its
//! answer still waits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::Frame;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, http};

use super::answer_clock::AnswerClock;
use super::call_memory::refused;
use zkevm_pool::memory::{CallMemory, MemoryBudget};

/// Bytes that a connection is given at a time.
const PIECE_BYTES: usize = 64 << 10;
/// Bytes of an encoded message that are copied behind its prefix, so that a small answer is in one frame.
const FIRST_BYTES: usize = PIECE_BYTES / 2;
/// Bytes of the last piece of a message, at most; those of a shorter message are in one.
const LAST_BYTES: usize = 1 << 10;
/// Bytes before a message: it is not compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// A second more to take a message for each so many bytes of it.
const BYTES_PER_SECOND: usize = 1 << 20;

/// An answer on its way out: an extension of the response, whose own message is empty.
#[derive(Clone)]
pub(super) struct Answer {
    /// The encoded message.
    pub(super) bytes: Bytes,
    /// What it takes of, given back once the client has it.
    pub(super) memory: Option<CallMemory>,
}

/// Bytes that stay counted until the last part of them is dropped.
struct Counted {
    bytes: Bytes,
    _memory: Option<CallMemory>,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn counted(bytes: Bytes, memory: Option<CallMemory>) -> Bytes {
    Bytes::from_owner(Counted { bytes, _memory: memory })
}

/// The body of an answer.
pub(super) struct AnswerBody {
    source: Source,
    /// What is left of the message that is being given.
    message: Bytes,
    clock: AnswerClock,
    /// Time to take a message, beside that for its bytes.
    time: Duration,
    budget: MemoryBudget,
}

/// Where messages come from.
enum Source {
    Encoded(Answer),
    /// What comes after an encoded message.
    Trailers(Status),
    Service(Body),
    Nothing,
}

impl AnswerBody {
    /// Makes the body of a response out of its encoded answer, else out of its own body.
    pub(super) fn of(response: http::Response<Body>, time: Duration, budget: MemoryBudget) -> http::Response<Body> {
        let (mut head, body) = response.into_parts();
        let source = match head.extensions.remove::<Answer>() {
            Some(answer) => Source::Encoded(answer),
            // Nothing but a status.
            None if body.is_end_stream() => return http::Response::from_parts(head, body),
            None => Source::Service(body),
        };
        let clock = AnswerClock::of_call();
        http::Response::from_parts(head, Body::new(Self { source, message: Bytes::new(), clock, time, budget }))
    }

    /// Gives the client the time to take so many bytes.
    fn start_clock(&self, len: usize) {
        self.clock.start(self.time.saturating_add(Duration::from_secs((len / BYTES_PER_SECOND) as u64)));
    }

    /// Begins to give an encoded message.
    fn begin(&mut self, Answer { bytes, memory }: Answer) -> Frame<Bytes> {
        let Ok(len) = u32::try_from(bytes.len()) else {
            return self.end(Status::out_of_range("an answer of more than 4 GiB"));
        };
        self.start_clock(bytes.len());
        self.source = Source::Trailers(Status::ok(""));
        self.message = counted(bytes, memory);
        let piece = next_piece(&mut self.message, FIRST_BYTES);
        let mut frame = Vec::with_capacity(PREFIX_BYTES + piece.len());
        frame.push(0);
        frame.extend_from_slice(&len.to_be_bytes());
        frame.extend_from_slice(&piece);
        Frame::data(frame.into())
    }

    /// Ends the answer with a status.
    fn end(&mut self, status: Status) -> Frame<Bytes> {
        self.source = Source::Nothing;
        let mut trailers = http::HeaderMap::new();
        if status.add_header(&mut trailers).is_err() {
            trailers.insert(Status::GRPC_STATUS, (status.code() as i32).into());
        }
        Frame::trailers(trailers)
    }

    /// Takes over what the service made; `None` if it is a message that is given in pieces.
    fn pass(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        let bytes = match frame.into_data() {
            Err(other) => return Some(other),
            Ok(bytes) => bytes,
        };
        self.start_clock(bytes.len());
        if bytes.len() <= LAST_BYTES {
            return Some(Frame::data(bytes));
        }
        let memory = self.budget.call();
        if let Err(bound) = memory.take(bytes.len()) {
            return Some(self.end(refused(bound, &memory)));
        }
        self.message = counted(bytes, Some(memory));
        None
    }
}

/// Takes a piece of at most `bytes_max` off a message. The last one is short.
fn next_piece(message: &mut Bytes, bytes_max: usize) -> Bytes {
    let len = if message.len() <= LAST_BYTES { message.len() } else { bytes_max.min(message.len() - 1) };
    message.split_to(len)
}

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if !this.message.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(next_piece(&mut this.message, PIECE_BYTES)))));
            }
            // Asked for more, the connection has room for all that was given.
            this.clock.stop();
            this.message = Bytes::new();
            let frame = match std::mem::replace(&mut this.source, Source::Nothing) {
                Source::Encoded(answer) => this.begin(answer),
                Source::Trailers(status) => this.end(status),
                Source::Nothing => return Poll::Ready(None),
                Source::Service(mut body) => {
                    let polled = Pin::new(&mut body).poll_frame(cx);
                    this.source = Source::Service(body);
                    match ready!(polled) {
                        Some(Ok(frame)) => match this.pass(frame) {
                            Some(frame) => frame,
                            None => continue,
                        },
                        ended => return Poll::Ready(ended),
                    }
                }
            };
            return Poll::Ready(Some(Ok(frame)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_empty()
            && match &self.source {
                Source::Service(body) => body.is_end_stream(),
                Source::Nothing => true,
                Source::Encoded(_) | Source::Trailers(_) => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use zkevm_pool::memory::MemoryBounds;

    /// A body of one frame.
    struct Whole(Option<Bytes>);

    impl HttpBody for Whole {
        type Data = Bytes;
        type Error = Status;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
            Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
        }
    }

    async fn next(body: &mut Body) -> Option<Result<Frame<Bytes>, Status>> {
        poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await
    }

    fn body_of(response: http::Response<Body>, budget: &MemoryBudget) -> Body {
        AnswerBody::of(response, Duration::from_secs(60), budget.clone()).into_body()
    }

    fn encoded(len: usize, budget: &MemoryBudget) -> Body {
        let memory = budget.call();
        memory.take(len).unwrap();
        let mut response = http::Response::new(Body::empty());
        response.extensions_mut().insert(Answer { bytes: vec![7; len].into(), memory: Some(memory) });
        body_of(response, budget)
    }

    /// The pieces of a body and its status.
    async fn all(body: &mut Body) -> (Vec<Bytes>, Option<String>) {
        let (mut pieces, mut status) = (Vec::new(), None);
        while let Some(frame) = next(body).await {
            match frame.unwrap().into_data() {
                Ok(data) => pieces.push(data),
                Err(other) => {
                    let trailers = other.into_trailers().unwrap();
                    status = Some(trailers[Status::GRPC_STATUS].to_str().unwrap().to_owned());
                }
            }
        }
        (pieces, status)
    }

    #[tokio::test]
    async fn an_answer_comes_in_pieces_and_is_given_back_with_the_last() {
        for len in [0, 1, LAST_BYTES, LAST_BYTES + 1, FIRST_BYTES, FIRST_BYTES + 1, 3 * PIECE_BYTES + 1] {
            let budget = MemoryBudget::new(MemoryBounds::NONE);
            let (pieces, status) = all(&mut encoded(len, &budget)).await;
            let bytes = pieces.concat();
            assert_eq!((bytes.len(), &bytes[1..PREFIX_BYTES]), (PREFIX_BYTES + len, &(len as u32).to_be_bytes()[..]));
            assert_eq!(status.unwrap(), "0");
            let last = pieces.last().unwrap().len();
            assert!(last <= PREFIX_BYTES + LAST_BYTES, "{last} of {len}");
            // What has not been sent is still counted.
            assert_eq!(budget.used() > 0, pieces.len() > 1, "{len}");
            drop((pieces, bytes));
            assert_eq!(budget.used(), 0);
        }
    }

    #[tokio::test]
    async fn messages_of_services_are_counted_and_come_in_pieces() {
        let budget = MemoryBudget::new(MemoryBounds { all_max: 3 * PIECE_BYTES, ..MemoryBounds::NONE });
        let response = |len: usize| http::Response::new(Body::new(Whole(Some(vec![7; len].into()))));
        let (pieces, _) = all(&mut body_of(response(2 * PIECE_BYTES), &budget)).await;
        assert_eq!(
            (pieces.concat().len(), pieces.last().unwrap().len(), budget.used()),
            (2 * PIECE_BYTES, 1, 2 * PIECE_BYTES)
        );
        let refused = all(&mut body_of(response(PIECE_BYTES + 1), &budget)).await;
        assert_eq!(refused, (Vec::new(), Some("8".to_owned())));
        drop(pieces);
        assert_eq!(budget.used(), 0);
    }
}
