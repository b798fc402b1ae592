//! `/debug/actors`: what waits, what runs and since when; and its share of `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use super::metrics::Exposition;
use crate::actors::front::FrontHandle;
use crate::actors::running::Running;
use crate::dump::Saver;
use crate::store::StateStore;

/// Time the front has to say how it is; a page for diagnosis must not hang with what it shows.
const FRONT_LIMIT: Duration = Duration::from_secs(1);

/// Where the page looks.
#[derive(Clone)]
pub struct Diagnosis {
    /// The front.
    pub front: FrontHandle,
    /// The batches at hand.
    pub running: Arc<Running>,
    /// The store, with what waits for the database.
    pub store: Arc<StateStore>,
    /// Files of requests.
    pub saver: Saver,
}

pub(super) fn router(diagnosis: Diagnosis) -> Router {
    Router::new().route("/debug/actors", get(actors)).with_state(diagnosis)
}

/// `GET /debug/actors`: JSON.
async fn actors(State(diagnosis): State<Diagnosis>) -> Response {
    let Diagnosis { front, running, store, saver } = diagnosis;
    // Null when the front does not answer, which is worth knowing.
    let front = tokio::time::timeout(FRONT_LIMIT, front.observe()).await.ok().flatten();
    let flush = store.flush_status();
    Json(json!({
        "front": front,
        "executors": running.executors(),
        "slow_batches": running.slow_batches(),
        "slow_batch_seconds": running.slow_after().map(|limit| limit.as_secs_f64()),
        "writer": {
            "last_flush_id": flush.last_flush_id,
            "storing_flush_id": flush.storing_flush_id,
            "stored_flush_id": flush.stored_flush_id,
            "pending_nodes": flush.pending_nodes,
            "pending_programs": flush.pending_programs,
            "storing_nodes": flush.storing_nodes,
            "storing_programs": flush.storing_programs,
        },
        "files": saver.stats(),
    }))
    .into_response()
}

/// Adds what the statistics do not know.
pub(super) fn metrics(text: &mut Exposition, diagnosis: &Diagnosis) {
    let files = diagnosis.saver.stats();
    text.counter("slow_batches_total", "Batches longer than the limit.", diagnosis.running.slow_batches());
    text.counter("files_saved_total", "Files of requests written.", files.saved);
    text.counter("files_dropped_total", "Files of requests lost because too many were waiting.", files.dropped);
    text.counter("files_failed_total", "Files of requests the disk refused.", files.failed);
}
