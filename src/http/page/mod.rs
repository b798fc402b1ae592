//! The live page at `/` and its stream of numbers at `/events`: plain files in the binary, nothing from elsewhere.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use super::{Pages, unavailable};
use crate::actors::Phase;
use crate::actors::diagnostics::slowest::SlowBatch;
use crate::actors::stats::StatsReport;

/// Listeners at one time; further ones get 503.
const LISTENERS_MAX: usize = 32;
/// Messages a slow listener may be behind before it is dropped.
const MESSAGES_BEHIND_MAX: usize = 4;
const INTERVAL: Duration = Duration::from_secs(1);
/// Closed windows in the first message; later ones bring only the newest.
const WINDOWS_FIRST: usize = 60;
/// Windows may be as short as 50 ms: so many can close between two messages.
const WINDOWS_NEXT: usize = 20;

/// The page may load its own files and listen to its own server, nothing else.
const SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                               base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One message: the content of `/stats`, and what was slow.
#[derive(serde::Serialize)]
struct Message {
    #[serde(flatten)]
    report: StatsReport,
    slowest_batches: Vec<SlowBatch>,
}

/// Room for listeners.
#[derive(Clone)]
pub(super) struct Listeners(Arc<Semaphore>);

impl Default for Listeners {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LISTENERS_MAX)))
    }
}

/// What stands in the page for the state of its moment.
const STATE_MARK: &str = "STATE";
const NO_STATE: &str = "null";

/// `GET /`: the page with the state of this moment, so that it is there before the first event.
pub(super) async fn index(State(pages): State<Pages>) -> Response {
    let state = match message(&pages, WINDOWS_FIRST).await {
        Some(message) => serde_json::to_string(&message).unwrap_or_else(|_| NO_STATE.to_owned()),
        None => NO_STATE.to_owned(),
    };
    // A text of a client could end the element that holds the state.
    let state = state.replace('<', "\\u003c");
    file("text/html; charset=utf-8", include_str!("index.html").replacen(STATE_MARK, &state, 1))
}

async fn message(pages: &Pages, windows: usize) -> Option<Message> {
    let report = pages.stats.report(windows).await?;
    Some(Message { report, slowest_batches: pages.diagnosis.slowest.batches() })
}

/// `GET /page.css`.
pub(super) async fn style() -> Response {
    file("text/css; charset=utf-8", include_str!("page.css"))
}

/// `GET /page.js`.
pub(super) async fn script() -> Response {
    file("text/javascript; charset=utf-8", include_str!("page.js"))
}

fn file(content_type: &'static str, text: impl IntoResponse) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (header::CONTENT_SECURITY_POLICY, SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

/// `GET /events`: the statistics as server-sent events, in the shape of `/stats` with the slowest batches beside, once a second
/// until the server stops.
pub(super) async fn events(State(pages): State<Pages>) -> Response {
    let Ok(place) = Arc::clone(&pages.listeners.0).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many listeners\n").into_response();
    };
    if pages.lifecycle.phase() >= Phase::Stopping {
        return unavailable();
    }
    let (messages, stream) = mpsc::channel::<Result<Event, Infallible>>(MESSAGES_BEHIND_MAX);
    tokio::spawn(async move {
        let _place = place;
        let stopping = pages.lifecycle.reached(Phase::Stopping);
        tokio::pin!(stopping);
        let mut ticks = tokio::time::interval(INTERVAL);
        let mut windows = WINDOWS_FIRST;
        loop {
            tokio::select! {
                () = &mut stopping => return,
                () = messages.closed() => return,
                _ = ticks.tick() => {}
            }
            let Some(message) = message(&pages, windows).await else { return };
            windows = WINDOWS_NEXT;
            let Ok(event) = Event::default().json_data(&message) else { return };
            // Full: the listener does not read. It may come again.
            if messages.try_send(Ok(event)).is_err() {
                return;
            }
        }
    });
    Sse::new(ReceiverStream::new(stream)).into_response()
}
