//! The HTTP pages for operators: the live page at `/`, `/events`, `/stats`, `/metrics`, `/healthz`, `/readyz`, `/debug/…`.

use std::future::Future;
use std::net::SocketAddr;

use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::actors::Lifecycle;
use crate::actors::stats::StatsHandle;
use crate::config::HttpOptions;
use crate::connections::{self, ConnectionLimits};

mod connection;
mod debug;
mod metrics;
mod page;

use connection::Port;
pub use debug::Diagnosis;

/// Closed windows `/stats` returns when the query does not say.
const HISTORY_WINDOWS_DEFAULT: usize = 6;

#[derive(Clone)]
struct Pages {
    stats: StatsHandle,
    lifecycle: Lifecycle,
    diagnosis: Diagnosis,
    listeners: page::Listeners,
}

/// The reason why the HTTP port could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {source}")]
pub struct HttpStartError {
    address: SocketAddr,
    source: std::io::Error,
}

/// Listens and returns the bound address with the server's future, which runs until the lifecycle says stopping.
pub async fn open(
    options: HttpOptions,
    stats: StatsHandle,
    lifecycle: Lifecycle,
    diagnosis: Diagnosis,
) -> Result<(SocketAddr, impl Future<Output = ()> + Send), HttpStartError> {
    let address = SocketAddr::new(options.host, options.port);
    let places = ConnectionLimits { all: options.connections, per_peer: options.connections_per_peer };
    let (request_limit, answer_limit) = (options.request, options.answer);
    let listen_error = |source| HttpStartError { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    let router = Router::new()
        .route("/", get(page::index))
        .route("/page.css", get(page::style))
        .route("/page.js", get(page::script))
        .route("/events", get(page::events))
        .route("/stats", get(stats_json))
        .route("/metrics", get(metrics_text))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .with_state(Pages {
            stats,
            lifecycle: lifecycle.clone(),
            diagnosis: diagnosis.clone(),
            listeners: page::Listeners::default(),
        })
        .merge(debug::router(diagnosis))
        .layer(from_fn(move |request, next: Next| async move {
            let answer = tokio::time::timeout(answer_limit, next.run(request)).await;
            answer.unwrap_or_else(|_| (StatusCode::SERVICE_UNAVAILABLE, "no answer in time\n").into_response())
        }));
    let port = Port { router, request_limit, answer_limit, lifecycle: lifecycle.clone() };
    let serve = move |stream, place| port.clone().serve(stream, place);
    Ok((bound, connections::serve(listener, places, lifecycle, serve)))
}

/// `GET /stats?history_windows=6`: the content of `stats.v1.GetStatsResponse` as JSON.
async fn stats_json(State(pages): State<Pages>, RawQuery(query): RawQuery) -> Response {
    let Some(windows) = history_windows(query.as_deref().unwrap_or_default()) else {
        return (StatusCode::BAD_REQUEST, "history_windows must be a number\n").into_response();
    };
    match pages.stats.report(windows).await {
        Some(report) => Json(report).into_response(),
        None => unavailable(),
    }
}

/// Reads the one parameter; others are ignored.
fn history_windows(query: &str) -> Option<usize> {
    let mut parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
    match parameters.find(|(name, _)| *name == "history_windows") {
        Some((_, value)) => value.parse().ok(),
        None => Some(HISTORY_WINDOWS_DEFAULT),
    }
}

/// `GET /metrics`: Prometheus text.
async fn metrics_text(State(pages): State<Pages>) -> Response {
    let Some(report) = pages.stats.report(0).await else { return unavailable() };
    match metrics::render(report, &pages.diagnosis) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// `GET /readyz`: 200 while batches are admitted; 503 from draining on, and while state cannot be read or written, with the
/// reason.
async fn ready(State(pages): State<Pages>) -> Response {
    if pages.lifecycle.is_draining() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response();
    }
    if let Some(failure) = pages.lifecycle.failure() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{failure}\n")).into_response();
    }
    "ready\n".into_response()
}

fn unavailable() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "the statistics have stopped\n").into_response()
}
