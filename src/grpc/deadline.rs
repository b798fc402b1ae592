//! Content type, arrival time and deadline of a call.
//!
//! tonic takes any content type; gRPC asks for 415 (Unsupported Media Type) unless it begins with `application/grpc`.
//!
//! tonic honours `grpc-timeout` by itself but answers CANCELLED. This layer notes when the headers arrived and answers
//! DEADLINE_EXCEEDED a little earlier, so that the sentence still reaches the client in time.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tonic::body::Body;
use tonic::codegen::{Service, http};

use crate::actors::BatchFailure;

/// First bytes of every content type of gRPC.
const CONTENT_TYPE_PREFIX: &[u8] = b"application/grpc";
const TIMEOUT_HEADER: &str = "grpc-timeout";
/// Digits the header may have besides its unit.
const TIMEOUT_DIGITS_MAX: usize = 8;
/// Time the server gives up ahead of the client, at most.
const MARGIN_MAX: Duration = Duration::from_millis(5);

/// The times at which a call arrived and its client stops waiting. An extension of every request that came through the
/// layer.
#[derive(Clone, Copy, Debug)]
pub struct CallTiming {
    /// The time at which the headers arrived.
    pub arrived_at: Instant,
    /// The time at which to give up; `None` if the client waits for ever.
    pub deadline: Option<Instant>,
}

impl CallTiming {
    fn of(headers: &http::HeaderMap) -> Self {
        let arrived_at = Instant::now();
        let timeout = headers.get(TIMEOUT_HEADER).and_then(|value| value.to_str().ok()).and_then(parse_timeout);
        let give_up_after = timeout.map(|timeout| timeout - MARGIN_MAX.min(timeout / 8));
        Self { arrived_at, deadline: give_up_after.and_then(|after| arrived_at.checked_add(after)) }
    }

    /// Starts now and waits for ever.
    pub fn unbounded() -> Self {
        Self { arrived_at: Instant::now(), deadline: None }
    }
}

/// Reads a `grpc-timeout`: up to 8 digits and a unit from hours to nanoseconds.
fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > TIMEOUT_DIGITS_MAX || !digits.bytes().all(|d| d.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

fn is_grpc(headers: &http::HeaderMap) -> bool {
    let content_type = headers.get(http::header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(CONTENT_TYPE_PREFIX))
}

fn unsupported_media_type() -> http::Response<Body> {
    let mut response = http::Response::new(Body::empty());
    *response.status_mut() = http::StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response
}

/// Wraps a gRPC service with [`CallTiming`] and its deadline.
#[derive(Clone, Debug)]
pub struct DeadlineLayer<S> {
    inner: S,
}

impl<S> DeadlineLayer<S> {
    /// Wraps `inner`.
    pub fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S> Service<http::Request<Body>> for DeadlineLayer<S>
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
        if !is_grpc(request.headers()) {
            return Box::pin(std::future::ready(Ok(unsupported_media_type())));
        }
        let timing = CallTiming::of(request.headers());
        request.extensions_mut().insert(timing);
        let answer = self.inner.call(request);
        let Some(deadline) = timing.deadline else { return Box::pin(answer) };
        Box::pin(async move {
            match tokio::time::timeout_at(deadline.into(), answer).await {
                Ok(response) => response,
                Err(_) => Ok(tonic::Status::from(BatchFailure::DeadlineExceeded).into_http()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A service that notes the timing it is given and never answers.
    #[derive(Clone, Default)]
    struct Silent {
        timing: std::sync::Arc<parking_lot::Mutex<Option<CallTiming>>>,
    }

    impl Service<http::Request<Body>> for Silent {
        type Response = http::Response<Body>;
        type Error = Infallible;
        type Future = std::future::Pending<Result<Self::Response, Infallible>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: http::Request<Body>) -> Self::Future {
            *self.timing.lock() = request.extensions().get().copied();
            std::future::pending()
        }
    }

    #[tokio::test]
    async fn a_passed_deadline_is_answered_ahead_of_the_client() -> Result<(), Box<dyn std::error::Error>> {
        let silent = Silent::default();
        let asked_at = Instant::now();
        let request = http::Request::builder()
            .header(http::header::CONTENT_TYPE, "application/grpc")
            .header(TIMEOUT_HEADER, "80m")
            .body(Body::empty())?;
        let Ok(response) = DeadlineLayer::new(silent.clone()).call(request).await;
        assert_eq!(response.headers().get("grpc-status").map(|code| code.as_bytes()), Some(&b"4"[..]));
        let timing = *silent.timing.lock();
        let given = timing.and_then(|timing| Some(timing.deadline? - timing.arrived_at));
        assert_eq!(given, Some(Duration::from_millis(75)));
        assert!(asked_at.elapsed() >= Duration::from_millis(75), "answered after {:?}", asked_at.elapsed());
        Ok(())
    }

    #[test]
    fn timeouts_are_read_in_every_unit() {
        for (text, want) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("4S", Duration::from_secs(4)),
            ("250m", Duration::from_millis(250)),
            ("99999999u", Duration::from_micros(99_999_999)),
            ("0n", Duration::ZERO),
        ] {
            assert_eq!(parse_timeout(text), Some(want), "{text}");
        }
    }

    #[test]
    fn malformed_timeouts_are_ignored() {
        for text in ["", "S", "1", "1s", "-1S", "123456789S", "1.5S", "ä"] {
            assert_eq!(parse_timeout(text), None, "{text}");
        }
    }
}
