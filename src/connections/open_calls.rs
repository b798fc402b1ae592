//! The calls of one connection: how many are open, and since when none is.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tonic::codegen::Body as HttpBody;

/// Share of the limit after which a connection with open calls is looked at again.
const LOOKS_PER_LIMIT: u32 = 4;
/// Shortest time between two looks.
const LOOK_INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Counts the open calls of one connection.
#[derive(Clone)]
pub(crate) struct OpenCalls(Arc<Mutex<Calls>>);

struct Calls {
    open: usize,
    /// The time at which the last one ended.
    idle_since: Instant,
}

/// One open call. Ends when dropped.
pub(crate) struct OpenCall(OpenCalls);

impl OpenCalls {
    /// Starts without a call.
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Calls { open: 0, idle_since: Instant::now() })))
    }

    /// Counts a call until what is returned is dropped.
    pub(crate) fn begin(&self) -> OpenCall {
        self.0.lock().open += 1;
        OpenCall(self.clone())
    }

    /// Returns since when no call is open, `None` if one is.
    fn idle_since(&self) -> Option<Instant> {
        let calls = self.0.lock();
        (calls.open == 0).then_some(calls.idle_since)
    }

    /// Waits until no call has been open for `limit`, and at most a quarter of that longer; for ever without a limit.
    pub(crate) async fn idle(&self, limit: Option<Duration>) {
        let Some(limit) = limit else { return std::future::pending().await };
        loop {
            let wait = match self.idle_since() {
                Some(since) if since.elapsed() >= limit => return,
                Some(since) => limit.saturating_sub(since.elapsed()),
                None => (limit / LOOKS_PER_LIMIT).max(LOOK_INTERVAL_MIN),
            };
            tokio::time::sleep(wait).await;
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut calls = self.0.0.lock();
        calls.open = calls.open.saturating_sub(1);
        calls.idle_since = Instant::now();
    }
}

/// The body of an answer; with it the call ends.
pub(crate) struct CallBody<B> {
    body: B,
    _call: OpenCall,
}

impl<B> CallBody<B> {
    /// Lets `call` last as long as `body`.
    pub(crate) fn new(body: B, call: OpenCall) -> Self {
        Self { body, _call: call }
    }
}

impl<B: HttpBody + Unpin> HttpBody for CallBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn idle_time_begins_when_the_last_call_ends() {
        let calls = OpenCalls::new();
        let limit = Some(Duration::from_millis(40));
        let (first, second) = (calls.begin(), calls.begin());
        drop(first);
        assert_eq!(calls.idle_since(), None);
        assert!(tokio::time::timeout(Duration::from_millis(200), calls.idle(limit)).await.is_err());
        drop(second);
        assert!(calls.idle_since().is_some());
    }

    #[tokio::test]
    async fn a_connection_without_calls_becomes_idle_only_with_a_limit() {
        let calls = OpenCalls::new();
        calls.idle(Some(Duration::from_millis(20))).await;
        assert!(tokio::time::timeout(Duration::from_millis(50), calls.idle(None)).await.is_err());
    }
}
