//! `/debug/actors`: what waits, what runs and since when; `/debug/batches`: what was slow.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::actors::diagnostics::running::Running;
use crate::actors::diagnostics::slowest::Slowest;
use crate::actors::front::FrontHandle;
use crate::capture::{FileWriter, input_file};
use zkevm_pool::memory::MemoryBudget;
use zkevm_processor::PrefixCache;
use zkevm_store::StateStore;

/// Time the front has to say how it is; a page for diagnosis must not hang with what it shows.
const FRONT_LIMIT: Duration = Duration::from_secs(1);
/// Texts of inputs that are made at the same time.
const DOWNLOADS_MAX: usize = 2;

/// Sources of the pages.
#[derive(Clone)]
pub struct Diagnosis {
    /// The front.
    pub front: FrontHandle,
    /// The batches at hand.
    pub running: Arc<Running>,
    /// The store, with what waits for the database.
    pub store: Arc<StateStore>,
    /// Files of requests.
    pub file_writer: FileWriter,
    /// The slowest of the recent batches.
    pub slowest: Arc<Slowest>,
    /// The memory that calls take.
    pub memory: MemoryBudget,
    /// The batches that are remembered.
    pub prefixes: PrefixCache,
}

pub(super) fn router(diagnosis: Diagnosis) -> Router {
    let downloads = Arc::new(Semaphore::new(DOWNLOADS_MAX));
    let slowest = Arc::clone(&diagnosis.slowest);
    let input = move |Path(id): Path<u64>| input(slowest, downloads, id);
    Router::new()
        .route("/debug/actors", get(actors))
        .route("/debug/batches", get(async |State(pages): State<Diagnosis>| Json(pages.slowest.batches())))
        .route("/debug/batches/{id}/input", get(input))
        .with_state(diagnosis)
}

/// `GET /debug/batches/ID/input`: the input of a listed batch as a file for `process`. Its text takes several times the room of
/// the input, so only a few are made at a time.
async fn input(slowest: Arc<Slowest>, downloads: Arc<Semaphore>, id: u64) -> Response {
    let Some(input) = slowest.input(id) else {
        return (StatusCode::NOT_FOUND, "the input of this batch is not kept\n").into_response();
    };
    let Ok(_place) = downloads.acquire().await else { return StatusCode::SERVICE_UNAVAILABLE.into_response() };
    let name = format!("attachment; filename=\"{}.process_batch_input.json\"", input.old_batch_num);
    match tokio::task::spawn_blocking(move || input_file(&input)).await {
        Ok(text) => {
            ([(header::CONTENT_TYPE, "application/json".to_owned()), (header::CONTENT_DISPOSITION, name)], text)
                .into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// `GET /debug/actors`: JSON.
async fn actors(State(diagnosis): State<Diagnosis>) -> Response {
    let Diagnosis { front, running, store, file_writer, .. } = diagnosis;
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
        "files": file_writer.stats(),
    }))
    .into_response()
}
