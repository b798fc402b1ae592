//! Counts the calls of every service, by name and with the time they took.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::body::Body;
use tonic::codegen::{Service, http};

use crate::actors::stats::{CallName, StatsEvent, StatsReporter};
use zkevm_wire::proto::executor::v1::executor_service_server::SERVICE_NAME as EXECUTOR_SERVICE;

/// Name of calls that no contract has.
const UNKNOWN: &str = "unknown";
const STATUS_HEADER: &str = "grpc-status";
const STATUS_OK: &[u8] = b"0";

/// The names of all calls by their paths. What a client calls beside them is counted under one name.
#[derive(Clone)]
pub(super) struct CallNames {
    by_path: Arc<HashMap<String, CallName>>,
    unknown: CallName,
}

impl CallNames {
    /// Reads them out of encoded descriptors.
    pub(super) fn of(descriptors: &[&[u8]]) -> Result<Self, prost::DecodeError> {
        let mut by_path = HashMap::new();
        for encoded in descriptors {
            for file in FileDescriptorSet::decode(*encoded)?.file {
                for service in &file.service {
                    let full = format!("{}.{}", file.package(), service.name());
                    for method in &service.method {
                        let name = match full == EXECUTOR_SERVICE {
                            true => method.name().to_owned(),
                            false => format!("{}/{}", service.name(), method.name()),
                        };
                        by_path.insert(format!("/{full}/{}", method.name()), CallName::new(name));
                    }
                }
            }
        }
        Ok(Self { by_path: Arc::new(by_path), unknown: CallName::new(UNKNOWN) })
    }

    fn of_path(&self, path: &str) -> CallName {
        self.by_path.get(path).unwrap_or(&self.unknown).clone()
    }
}

/// Wraps services: each call is counted when it comes, and timed until its answer.
#[derive(Clone)]
pub(super) struct CallCount<S> {
    inner: S,
    names: CallNames,
    stats: StatsReporter,
}

impl<S> CallCount<S> {
    /// Wraps `inner`.
    pub(super) fn new(inner: S, names: CallNames, stats: StatsReporter) -> Self {
        Self { inner, names, stats }
    }
}

impl<S> Service<http::Request<Body>> for CallCount<S>
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

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let name = self.names.of_path(request.uri().path());
        self.stats.report(StatsEvent::Call(name.clone()));
        let mut call = Call { name, stats: self.stats.clone(), began: Instant::now(), failed: true };
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            call.failed = answer.as_ref().is_ok_and(is_failure);
            drop(call);
            answer
        })
    }
}

/// True if the head tells of an error. The end of a stream could tell one as well; unary calls never do.
fn is_failure(answer: &http::Response<Body>) -> bool {
    answer.headers().get(STATUS_HEADER).is_some_and(|status| status.as_bytes() != STATUS_OK)
}

/// A call without its answer. Dropped before that, it has failed.
struct Call {
    name: CallName,
    stats: StatsReporter,
    began: Instant,
    failed: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        let ended = StatsEvent::CallEnded { name: self.name.clone(), time: self.began.elapsed(), failed: self.failed };
        self.stats.report(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zkevm_wire::proto::FILE_DESCRIPTOR_SET;

    #[test]
    fn calls_have_the_names_of_their_contracts() {
        let names = CallNames::of(&[FILE_DESCRIPTOR_SET, tonic_health::pb::FILE_DESCRIPTOR_SET]).unwrap();
        for (path, name) in [
            ("/executor.v1.ExecutorService/ProcessBatchV2", "ProcessBatchV2"),
            ("/hashdb.v1.HashDBService/GetFlushStatus", "HashDBService/GetFlushStatus"),
            ("/stats.v1.StatsService/GetStats", "StatsService/GetStats"),
            ("/grpc.health.v1.Health/Check", "Health/Check"),
            ("/executor.v1.ExecutorService/ProcessBatchV3", UNKNOWN),
            ("/", UNKNOWN),
        ] {
            assert_eq!(names.of_path(path).as_str(), name, "{path}");
        }
        assert!(CallNames::of(&[b"\xff"]).is_err());
    }
}
