//! The memory of a call from its first decoded byte to the last byte of its answer.
//!
//! The layer opens an account for each call. Its request takes of it before it is decoded, its batch as it goes, its answer
//! until the client has taken it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;

use super::answer_body::AnswerBody;
use super::compression::tell_accepted;
use super::deadline::CallTiming;
use crate::actors::BatchFailure;
use zkevm_pool::Cancelled;
use zkevm_pool::memory::{CallMemory, MemoryBound, MemoryBudget};
use zkevm_wire::preencoded::{self, Metered};

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
        let (answer_time, budget) = (self.answer_time, self.budget.clone());
        let deadline = request.extensions().get::<CallTiming>().and_then(|timing| timing.deadline);
        let metered = Metered { memory, refuse: refused, deadline, expire: || BatchFailure::DeadlineExceeded.into() };
        let call = preencoded::metered(metered, self.inner.call(request));
        Box::pin(async move {
            let Ok(mut response) = call.await;
            tell_accepted(response.headers_mut());
            Ok(AnswerBody::of(response, answer_time, budget))
        })
    }
}

/// Returns the status of a request that takes too much memory.
pub(super) fn refused(bound: MemoryBound, memory: &CallMemory) -> Status {
    BatchFailure::of(Cancelled::Memory(bound), memory.bounds()).into()
}
