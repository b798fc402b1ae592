//! What is decided about a call before its request has been read: is there room for it in the queue, and in memory.
//!
//! A full queue is known from a few counters. Such a call is refused before a byte of its request is decoded, so that an
//! overload costs little and the refusal is quick. The front decides again about whatever passes here.
//!
//! A request takes memory from its first byte on, long before anything can queue it. All requests that are being received,
//! on every port of the server, share one bound. A client that sends too slowly, or stops in the middle, does not hold
//! its share for ever: the whole request must be there in time.

use std::convert::Infallible;
use std::future::{Future, Ready};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::future::Either;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Body as HttpBody, Bytes, Service, http};
use tonic::server::NamedService;

use crate::actors::front::FrontHandle;
use crate::actors::stats::{StatsEvent, StatsReporter};
use crate::actors::{BatchFailure, Rpc};
use zkevm_wire::proto::executor::v1::executor_service_server::SERVICE_NAME as EXECUTOR_SERVICE;

/// Bytes of requests that are being received, their bound, and the time each may take.
#[derive(Clone)]
pub struct ReceiveBudget {
    bytes: Arc<AtomicUsize>,
    bytes_max: usize,
    time_max: Duration,
    stats: StatsReporter,
}

impl ReceiveBudget {
    /// Creates a budget of `bytes_max` bytes and `time_max` for each request; refusals are counted in `stats`.
    pub fn new(bytes_max: usize, time_max: Duration, stats: StatsReporter) -> Self {
        Self { bytes: Arc::default(), bytes_max, time_max, stats }
    }

    fn refused(&self, failure: BatchFailure) -> BatchFailure {
        self.stats.report(StatsEvent::unanswered(failure));
        failure
    }
}

/// What one request has taken of the budget. Given back when dropped.
struct Share {
    budget: ReceiveBudget,
    bytes: usize,
}

impl Share {
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

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A request body that counts what comes in, and for how long. tonic drops it once the message is decoded.
struct Metered {
    body: Body,
    share: Share,
    started: Instant,
    /// Made when the body has to be waited for: most requests are there at once and need no timer.
    limit: Option<Pin<Box<Sleep>>>,
}

impl Metered {
    fn new(body: Body, budget: ReceiveBudget) -> Self {
        Self { body, share: Share { budget, bytes: 0 }, started: Instant::now(), limit: None }
    }

    /// Ready when the time for the rest of the body is over.
    fn poll_limit(&mut self, cx: &mut Context<'_>) -> Poll<BatchFailure> {
        let Self { share, started, limit, .. } = self;
        let time_max = share.budget.time_max;
        let limit = limit.get_or_insert_with(|| Box::pin(tokio::time::sleep_until((*started + time_max).into())));
        ready!(limit.as_mut().poll(cx));
        Poll::Ready(share.budget.refused(BatchFailure::ReceptionSlow { limit: time_max }))
    }
}

impl HttpBody for Metered {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            return this.poll_limit(cx).map(|failure| Some(Err(failure.into())));
        };
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(failure) = this.share.grow(data.len())
        {
            return Poll::Ready(Some(Err(failure.into())));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Wraps a gRPC service with both decisions.
#[derive(Clone)]
pub struct ReceptionLayer<S> {
    inner: S,
    budget: ReceiveBudget,
    front: Option<FrontHandle>,
}

impl<S> ReceptionLayer<S> {
    /// Wraps `inner`. With a front, calls that bring batches are refused while its queue is full.
    pub fn new(inner: S, budget: ReceiveBudget, front: Option<FrontHandle>) -> Self {
        Self { inner, budget, front }
    }

    fn refusal(&self, path: &str) -> Option<BatchFailure> {
        let front = self.front.as_ref()?;
        front.refuse_unread(batch_call(path)?)
    }
}

/// Returns the call if it brings a batch.
fn batch_call(path: &str) -> Option<Rpc> {
    let name = path.strip_prefix('/')?.strip_prefix(EXECUTOR_SERVICE)?.strip_prefix('/')?;
    let batches = [Rpc::ProcessBatch, Rpc::ProcessBatchV2, Rpc::ProcessStatelessBatchV2];
    batches.into_iter().find(|rpc| rpc.name() == name)
}

impl<S: NamedService> NamedService for ReceptionLayer<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for ReceptionLayer<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<http::Response<Body>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if let Some(failure) = self.refusal(request.uri().path()) {
            return Either::Left(std::future::ready(Ok(Status::from(failure).into_http())));
        }
        let budget = self.budget.clone();
        Either::Right(self.inner.call(request.map(|body| Body::new(Metered::new(body, budget)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_bring_batches_are_looked_at() {
        for rpc in Rpc::ALL {
            let brings_batch = rpc != Rpc::GetFlushStatus;
            let path = format!("/executor.v1.ExecutorService/{}", rpc.name());
            assert_eq!(batch_call(&path), brings_batch.then_some(rpc), "{path}");
        }
        for path in ["", "/", "/hashdb.v1.HashDBService/ProcessBatch", "/executor.v1.ExecutorServiceX/ProcessBatch"] {
            assert_eq!(batch_call(path), None, "{path}");
        }
    }

    #[test]
    fn shares_are_bounded_together_and_given_back() {
        let budget = ReceiveBudget::new(100, Duration::from_secs(1), StatsReporter::new().0);
        let share = || Share { budget: budget.clone(), bytes: 0 };
        let (mut first, mut second) = (share(), share());
        assert_eq!((first.grow(60), second.grow(40)), (Ok(()), Ok(())));
        assert_eq!(second.grow(1), Err(BatchFailure::ReceptionFull { bytes_max: 100 }));
        drop(second);
        assert_eq!((first.grow(40), first.grow(1000)), (Ok(()), Ok(())), "the only one may be larger than the bound");
        assert!(share().grow(1).is_err());
        drop(first);
        assert_eq!(budget.bytes.load(Ordering::Relaxed), 0);
    }
}
