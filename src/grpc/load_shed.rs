//! Refuses calls that the front would refuse, before their request has been read.
//!
//! A full queue is known from what the front publishes. Such a call is refused before a byte of its request is decoded, so that
//! an overload costs little and the refusal is quick. The front decides again about whatever passes here.

use std::convert::Infallible;
use std::future::Ready;
use std::task::{Context, Poll};

use futures_util::future::Either;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::{Service, http};

use crate::actors::front::FrontHandle;
use crate::actors::{BatchFailure, Rpc};
use zkevm_wire::proto::executor::v1::executor_service_server::SERVICE_NAME as EXECUTOR_SERVICE;

/// Wraps services, of which it knows the executor service.
#[derive(Clone)]
pub struct LoadShed<S> {
    inner: S,
    front: FrontHandle,
}

impl<S> LoadShed<S> {
    /// Wraps `inner`, whose batches go to `front`.
    pub fn new(inner: S, front: FrontHandle) -> Self {
        Self { inner, front }
    }

    fn refusal(&self, path: &str) -> Option<BatchFailure> {
        self.front.refuse_unread(call_of(path)?)
    }
}

/// Returns the call of the executor service that a path names.
fn call_of(path: &str) -> Option<Rpc> {
    let name = path.strip_prefix('/')?.strip_prefix(EXECUTOR_SERVICE)?.strip_prefix('/')?;
    Rpc::ALL.into_iter().find(|rpc| rpc.name() == name)
}

impl<S> Service<http::Request<Body>> for LoadShed<S>
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
        match self.refusal(request.uri().path()) {
            Some(failure) => Either::Left(std::future::ready(Ok(Status::from(failure).into_http()))),
            None => Either::Right(self.inner.call(request)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_the_calls_of_the_executor_service() {
        for rpc in Rpc::ALL {
            let path = format!("/executor.v1.ExecutorService/{}", rpc.name());
            assert_eq!(call_of(&path), Some(rpc), "{path}");
        }
        for path in ["", "/", "/hashdb.v1.HashDBService/ProcessBatch", "/executor.v1.ExecutorServiceX/ProcessBatch"] {
            assert_eq!(call_of(path), None, "{path}");
        }
    }
}
