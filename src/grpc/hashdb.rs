//! `hashdb.v1.HashDBService`: the state database on the wire (hashdb-service §3, §4).
//!
//! Calls may block on the database, so each runs on a blocking thread, a bounded number at a time; others wait.
//! `GetFlushStatus` reads a few counters and runs at once.

pub(crate) mod convert;

use std::sync::Arc;
use std::time::Duration;

use super::status::{hashdb_panicked, hashdb_status, malformed, shutting_down};
use revm::primitives::Bytes;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::actors::{Lifecycle, Phase};
use convert::{digest, key_map, outcome_code, persistence, result, root_text, success, value};
use zkevm_store::hashdb::{HashDb, HashDbError, Position, SetCall};
use zkevm_store::{Durability, FlushGroup};
use zkevm_tree::Digest;
use zkevm_types::FlushIds;
use zkevm_wire::proto::hashdb::v1 as wire;
use zkevm_wire::proto::hashdb::v1::hash_db_service_server::HashDbService;

/// Time `GetFlushData` waits for a stored set.
const FLUSH_DATA_WAIT: Duration = Duration::from_secs(60);
/// Interval at which it looks.
const FLUSH_DATA_POLL: Duration = Duration::from_millis(20);
/// Keys of one `ReadTree`.
const READ_TREE_KEYS_MAX: usize = 1 << 16;
/// Longest id of a session; clients send UUIDs of 36.
const BATCH_UUID_BYTES_MAX: usize = 256;

/// The HashDB service.
#[derive(Clone)]
pub struct HashDbApi {
    database: Arc<HashDb>,
    lifecycle: Lifecycle,
    prover_id: Arc<str>,
    running: Arc<Semaphore>,
}

type Answer<T> = Result<Response<T>, Status>;

impl HashDbApi {
    /// Creates the service; at most `threads` calls run at the same time.
    pub fn new(database: Arc<HashDb>, lifecycle: Lifecycle, prover_id: Arc<str>, threads: usize) -> Self {
        Self { database, lifecycle, prover_id, running: Arc::new(Semaphore::new(threads)) }
    }

    /// Runs a call on a blocking thread, once there is a place for it.
    async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce(&HashDb) -> Result<T, Status> + Send + 'static,
    ) -> Answer<T> {
        let gone = |_| shutting_down();
        let place = Arc::clone(&self.running).acquire_owned().await.map_err(gone)?;
        let database = Arc::clone(&self.database);
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            call(&database)
        });
        match done.await {
            Ok(answer) => answer.map(Response::new),
            Err(error) if error.is_panic() => {
                tracing::error!("a HashDB call panicked");
                Err(hashdb_panicked())
            }
            Err(_) => Err(shutting_down()),
        }
    }
}

fn flushed(outcome: Result<FlushIds, HashDbError>) -> wire::FlushResponse {
    let code = outcome_code(&outcome);
    if let Err(error) = &outcome {
        tracing::warn!(%error, "flush failed");
    }
    let ids = outcome.unwrap_or_default();
    wire::FlushResponse { flush_id: ids.flush_id, stored_flush_id: ids.stored_flush_id, result: result(code) }
}

/// Session calls answer OK whatever happens (hashdb-service §4).
fn noted(call: &'static str, outcome: Result<(), HashDbError>) {
    if let Err(error) = outcome {
        tracing::warn!(call, %error, "batch session call had no effect");
    }
}

fn batch_uuid(uuid: String) -> Result<String, Status> {
    if uuid.len() > BATCH_UUID_BYTES_MAX {
        return Err(malformed(format!("batch_uuid is longer than {BATCH_UUID_BYTES_MAX} bytes")));
    }
    Ok(uuid)
}

#[tonic::async_trait]
impl HashDbService for HashDbApi {
    async fn get_latest_state_root(&self, _: Request<()>) -> Answer<wire::GetLatestStateRootResponse> {
        self.run(|database| {
            let latest_root = database.store().latest_root().map_err(HashDbError::from);
            let code = outcome_code(&latest_root);
            let latest_root = Some(convert::fea(&latest_root.unwrap_or_default()));
            Ok(wire::GetLatestStateRootResponse { latest_root, result: result(code) })
        })
        .await
    }

    async fn set(&self, request: Request<wire::SetRequest>) -> Answer<wire::SetResponse> {
        let request = request.into_inner();
        let (root, key) = (digest(request.old_root), digest(request.key));
        let (value, persistence) = (value(&request.value)?, persistence(request.persistence)?);
        let batch_uuid = batch_uuid(request.batch_uuid)?;
        let position = Position { block: request.block_index, tx: request.tx_index };
        self.run(move |database| {
            let call = SetCall { root, key, value, persistence, batch_uuid: &batch_uuid, position };
            // An error, not an answer: clients take the new root of an answer without looking at its code.
            let (details, log) = database.set(&call).map_err(hashdb_status)?;
            Ok(convert::set_response(&details, request.details, request.get_db_read_log.then_some(log)))
        })
        .await
    }

    async fn get(&self, request: Request<wire::GetRequest>) -> Answer<wire::GetResponse> {
        let request = request.into_inner();
        let (root, key) = (digest(request.root), digest(request.key));
        let batch_uuid = batch_uuid(request.batch_uuid)?;
        self.run(move |database| {
            let (outcome, log) = database.get(root, &key, &batch_uuid);
            if let Err(error) = &outcome {
                tracing::debug!(%error, root = %root.to_b256(), key = %key.to_b256(), "read failed");
            }
            Ok(convert::get_response(outcome, request.details, request.get_db_read_log.then_some(log)))
        })
        .await
    }

    async fn set_program(&self, request: Request<wire::SetProgramRequest>) -> Answer<wire::SetProgramResponse> {
        let request = request.into_inner();
        let (hash, persistence) = (digest(request.key), persistence(request.persistence)?);
        let batch_uuid = batch_uuid(request.batch_uuid)?;
        let position = Position { block: request.block_index, tx: request.tx_index };
        self.run(move |database| {
            let outcome = database.set_program(hash, request.data.into(), persistence, &batch_uuid, position);
            Ok(wire::SetProgramResponse { result: result(outcome_code(&outcome)) })
        })
        .await
    }

    async fn get_program(&self, request: Request<wire::GetProgramRequest>) -> Answer<wire::GetProgramResponse> {
        let request = request.into_inner();
        let hash = digest(request.key);
        let batch_uuid = batch_uuid(request.batch_uuid)?;
        self.run(move |database| {
            let outcome = database.program(&hash, &batch_uuid);
            let code = match &outcome {
                Ok(None) => wire::result_code::Code::DbKeyNotFound as i32,
                outcome => outcome_code(outcome),
            };
            let data = outcome.ok().flatten().unwrap_or_default();
            Ok(wire::GetProgramResponse { data: data.0, result: result(code) })
        })
        .await
    }

    async fn load_db(&self, request: Request<wire::LoadDbRequest>) -> Answer<()> {
        let request = request.into_inner();
        let durability = convert::durability(request.persistent);
        let nodes = key_map(request.input_db, |list| list.fe)?;
        let root = digest(request.state_root);
        self.run(move |database| {
            database.load(&nodes, &Default::default(), durability).map_err(hashdb_status)?;
            if durability == Durability::Permanent && root != Digest::ZERO {
                database.set_latest_root(root).map_err(hashdb_status)?;
            }
            Ok(())
        })
        .await
    }

    async fn load_program_db(&self, request: Request<wire::LoadProgramDbRequest>) -> Answer<()> {
        let request = request.into_inner();
        let durability = convert::durability(request.persistent);
        let programs = key_map(request.input_program_db, Bytes::from)?;
        self.run(move |database| database.load(&Default::default(), &programs, durability).map_err(hashdb_status)).await
    }

    async fn finish_tx(&self, request: Request<wire::FinishTxRequest>) -> Answer<()> {
        let request = request.into_inner();
        let (root, persistence) = (root_text(&request.new_state_root)?, persistence(request.persistence)?);
        let batch_uuid = batch_uuid(request.batch_uuid)?;
        self.run(move |database| {
            noted("FinishTx", database.finish_tx(&batch_uuid, root.unwrap_or_default(), persistence));
            Ok(())
        })
        .await
    }

    async fn start_block(&self, request: Request<wire::StartBlockRequest>) -> Answer<()> {
        let request = request.into_inner();
        // Blocks begin with the root of their first write: what is said here only has to be a root.
        root_text(&request.old_state_root)?;
        persistence(request.persistence)?;
        let batch_uuid = batch_uuid(request.batch_uuid)?;
        self.run(move |database| {
            noted("StartBlock", database.start_block(&batch_uuid));
            Ok(())
        })
        .await
    }

    async fn finish_block(&self, request: Request<wire::FinishBlockRequest>) -> Answer<()> {
        let request = request.into_inner();
        let (root, persistence) = (root_text(&request.new_state_root)?, persistence(request.persistence)?);
        let batch_uuid = batch_uuid(request.batch_uuid)?;
        self.run(move |database| {
            noted("FinishBlock", database.finish_block(&batch_uuid, root.unwrap_or_default(), persistence));
            Ok(())
        })
        .await
    }

    async fn flush(&self, request: Request<wire::FlushRequest>) -> Answer<wire::FlushResponse> {
        let request = request.into_inner();
        let (root, persistence) = (root_text(&request.new_state_root)?, persistence(request.persistence)?);
        let batch_uuid = batch_uuid(request.batch_uuid)?;
        self.run(move |database| Ok(flushed(database.flush(&batch_uuid, root, persistence)))).await
    }

    async fn get_flush_status(&self, _: Request<()>) -> Answer<wire::GetFlushStatusResponse> {
        let status = self.database.store().flush_status();
        Ok(Response::new(wire::GetFlushStatusResponse {
            stored_flush_id: status.stored_flush_id,
            storing_flush_id: status.storing_flush_id,
            last_flush_id: status.last_flush_id,
            pending_to_flush_nodes: status.pending_nodes,
            pending_to_flush_program: status.pending_programs,
            storing_nodes: status.storing_nodes,
            storing_program: status.storing_programs,
            prover_id: self.prover_id.to_string(),
        }))
    }

    async fn get_flush_data(&self, request: Request<wire::GetFlushDataRequest>) -> Answer<wire::GetFlushDataResponse> {
        let known = request.into_inner().flush_id;
        let limit = Instant::now() + FLUSH_DATA_WAIT;
        let newer = || self.database.store().latest_group().filter(|group| group.flush_id > known);
        let mut group: Option<Arc<FlushGroup>> = newer();
        while group.is_none() && Instant::now() < limit && self.lifecycle.phase() < Phase::Stopping {
            tokio::time::sleep(FLUSH_DATA_POLL).await;
            group = newer();
        }
        let stored_flush_id = self.database.store().flush_status().stored_flush_id;
        self.run(move |_| Ok(convert::flush_data(group.as_deref(), stored_flush_id))).await
    }

    async fn consolidate_state(
        &self,
        request: Request<wire::ConsolidateStateRequest>,
    ) -> Answer<wire::ConsolidateStateResponse> {
        let request = request.into_inner();
        let (root, persistence) = (digest(request.virtual_state_root), persistence(request.persistence)?);
        self.run(move |database| {
            let outcome = database.flush("", None, persistence);
            let code = outcome_code(&outcome);
            let ids = outcome.unwrap_or_default();
            Ok(wire::ConsolidateStateResponse {
                consolidated_state_root: Some(convert::fea(&root)),
                flush_id: ids.flush_id,
                stored_flush_id: ids.stored_flush_id,
                result: result(code),
            })
        })
        .await
    }

    async fn purge(&self, request: Request<wire::PurgeRequest>) -> Answer<wire::PurgeResponse> {
        // Sessions keep every root until they end: there is nothing to trim.
        persistence(request.into_inner().persistence)?;
        Ok(Response::new(wire::PurgeResponse { result: success() }))
    }

    async fn read_tree(&self, request: Request<wire::ReadTreeRequest>) -> Answer<wire::ReadTreeResponse> {
        let request = request.into_inner();
        if request.keys.len() > READ_TREE_KEYS_MAX {
            return Err(malformed(format!("more than {READ_TREE_KEYS_MAX} keys")));
        }
        let root = digest(request.state_root);
        let keys: Vec<Digest> = request.keys.into_iter().map(|key| digest(Some(key))).collect();
        self.run(move |database| {
            let (outcome, log) = database.read_tree(root, &keys);
            Ok(convert::read_tree_response(&keys, outcome, log))
        })
        .await
    }

    async fn cancel_batch(&self, request: Request<wire::CancelBatchRequest>) -> Answer<wire::CancelBatchResponse> {
        let batch_uuid = batch_uuid(request.into_inner().batch_uuid)?;
        self.run(move |database| {
            let outcome = database.cancel(&batch_uuid);
            Ok(wire::CancelBatchResponse { result: result(outcome_code(&outcome)) })
        })
        .await
    }

    async fn reset_db(&self, _: Request<()>) -> Answer<wire::ResetDbResponse> {
        self.run(move |database| {
            let outcome = database.reset();
            match &outcome {
                Ok(()) => tracing::warn!("all state was deleted"),
                Err(error) => tracing::warn!(%error, "state was not deleted"),
            }
            Ok(wire::ResetDbResponse { result: result(outcome_code(&outcome)) })
        })
        .await
    }
}
