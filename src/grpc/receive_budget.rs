//! The bytes of requests that are being received, and the time they take.
//!
//! A request takes memory from its first byte on, long before anything can queue it. All requests that are being received,
//! on every port of the server, share one bound. A client that sends too slowly, or stops in the middle, does not hold
//! its part for ever: the whole request must be there in time. A compressed request counts with what it becomes as well.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use http_body::{Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, Service, http};

use super::compression::{Encoding, Inflate};
use crate::actors::BatchFailure;
use crate::actors::stats::{StatsEvent, StatsReporter};

/// Bytes of requests that are being received, their bound, and the time each may take.
#[derive(Clone)]
pub struct ReceiveBudget {
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    time_max: Duration,
    /// Bytes of one message once it is decompressed.
    message_bytes_max: usize,
    stats: StatsReporter,
}

impl ReceiveBudget {
    /// Creates a budget of `bytes_max` bytes and `time_max` for each request, whose messages have `message_bytes_max` bytes at
    /// most when they are decompressed; refusals are counted in `stats`.
    pub fn new(bytes_max: usize, time_max: Duration, message_bytes_max: usize, stats: StatsReporter) -> Self {
        Self { bytes: Arc::default(), bytes_max, time_max, message_bytes_max, stats }
    }

    fn refused(&self, failure: BatchFailure) -> BatchFailure {
        self.stats.report(StatsEvent::unanswered(failure));
        failure
    }
}

/// Bytes one request has taken of the budget. Given back when dropped.
struct BudgetPermit {
    budget: ReceiveBudget,
    bytes: usize,
}

impl BudgetPermit {
    /// Takes more. Fails when all requests together pass the bound, but never for the only one.
    fn grow(&mut self, more: usize) -> Result<(), BatchFailure> {
        let all = self.budget.bytes.fetch_add(more, Ordering::Relaxed);
        let alone = all <= self.bytes;
        self.bytes += more;
        let bytes_max = self.budget.bytes_max;
        if alone || all.saturating_add(more) <= bytes_max {
            return Ok(());
        }
        Err(self.budget.refused(BatchFailure::ReceptionFull { bytes_max }))
    }
}

impl Drop for BudgetPermit {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A request body that counts what comes in, and for how long. tonic drops it once the message is decoded.
struct CountedBody {
    body: Body,
    permit: BudgetPermit,
    /// For a request with compressed messages.
    inflate: Option<Inflate>,
    started: Instant,
    /// Made when the body has to be waited for: most requests are there at once and need no timer.
    limit: Option<Pin<Box<Sleep>>>,
}

impl CountedBody {
    fn new(body: Body, encoding: Option<Encoding>, budget: ReceiveBudget) -> Self {
        let inflate = encoding.map(|encoding| Inflate::new(encoding, budget.message_bytes_max));
        Self { body, permit: BudgetPermit { budget, bytes: 0 }, inflate, started: Instant::now(), limit: None }
    }

    /// Counts bytes that came in and returns those for the service, perhaps none yet.
    fn take(&mut self, data: Bytes) -> Result<Bytes, Status> {
        let Self { permit, inflate, .. } = self;
        permit.grow(data.len())?;
        match inflate {
            None => Ok(data),
            Some(inflate) => inflate.feed(&data, |more| permit.grow(more)),
        }
    }

    /// Ready when the time for the rest of the body is over.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<BatchFailure> {
        let Self { permit, started, limit, .. } = self;
        let time_max = permit.budget.time_max;
        let limit = limit.get_or_insert_with(|| Box::pin(tokio::time::sleep_until((*started + time_max).into())));
        ready!(limit.as_mut().poll(cx));
        Poll::Ready(permit.budget.refused(BatchFailure::ReceptionSlow { limit: time_max }))
    }
}

impl HttpBody for CountedBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
                return this.poll_limit(cx).map(|failure| Some(Err(failure.into())));
            };
            let data = match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(status)) => return Poll::Ready(Some(Err(status))),
                None => return Poll::Ready(None),
            };
            match this.take(data) {
                Ok(plain) if plain.is_empty() && !this.body.is_end_stream() => {}
                taken => return Poll::Ready(Some(taken.map(Frame::data))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.inflate.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}

/// Wraps a gRPC service: its request bodies count against a [`ReceiveBudget`].
#[derive(Clone)]
pub struct ReceiveLimit<S> {
    inner: S,
    budget: ReceiveBudget,
}

impl<S> ReceiveLimit<S> {
    /// Wraps `inner`.
    pub fn new(inner: S, budget: ReceiveBudget) -> Self {
        Self { inner, budget }
    }
}

impl<S> Service<http::Request<Body>> for ReceiveLimit<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let budget = self.budget.clone();
        let encoding = Encoding::take(request.headers_mut());
        self.inner.call(request.map(|body| Body::new(CountedBody::new(body, encoding, budget))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_are_bounded_together_and_given_back() {
        let budget = ReceiveBudget::new(100, Duration::from_secs(1), 100, StatsReporter::new().0);
        let permit = || BudgetPermit { budget: budget.clone(), bytes: 0 };
        let (mut first, mut second) = (permit(), permit());
        assert_eq!((first.grow(60), second.grow(40)), (Ok(()), Ok(())));
        assert_eq!(second.grow(1), Err(BatchFailure::ReceptionFull { bytes_max: 100 }));
        drop(second);
        assert_eq!((first.grow(40), first.grow(1000)), (Ok(()), Ok(())), "the only one may be larger than the bound");
        assert!(permit().grow(1).is_err());
        drop(first);
        assert_eq!(budget.bytes.load(Ordering::Relaxed), 0);
    }
}
