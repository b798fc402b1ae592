//! Answers to recorded requests: by the engine of this process, or by a server over gRPC.

use std::sync::Arc;

use prost::Message;
use tonic::transport::Channel;

use crate::engine::CommandEngine;
use zkevm_store::{Durability, MemoryStore, NoState, RequestOverlay, StateWriter};
use zkevm_testkit::vectors::golden::Rpc;
use zkevm_tree::StateReader;
use zkevm_types::{BatchInput, BatchOutput, CountersPolicy, ExecutorError, FlushIds, StateSource};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;
use zkevm_wire::respond::{self, ResponseContext};
use zkevm_wire::validate::{self, ValidationRules};

/// Largest answer accepted, in bytes.
const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// Returns the serialised answer of the engine, or why there is none. `kept` is the state earlier steps left.
pub(super) fn from_engine(
    rpc: Rpc,
    request: &[u8],
    kept: &MemoryStore,
    counters_policy: CountersPolicy,
    engine: &CommandEngine,
) -> Result<Vec<u8>, String> {
    let rules = ValidationRules { counters_policy, ..ValidationRules::default() };
    let undecodable = |error: prost::DecodeError| format!("the request does not decode: {error}");
    match rpc {
        Rpc::ProcessBatch => {
            let request = wire::ProcessBatchRequest::decode(request).map_err(undecodable)?;
            let answer = match validate::process_batch(request, rules) {
                Ok(input) => {
                    let (output, context, flush) = execute(&input, kept, engine)?;
                    respond::response_v1(output, &context, flush)
                }
                Err(error) => respond::invalid_request_v1(error),
            };
            Ok(answer.encode_to_vec())
        }
        Rpc::ProcessBatchV2 => {
            let request = wire::ProcessBatchRequestV2::decode(request).map_err(undecodable)?;
            answer_v2(validate::process_batch_v2(request, rules), kept, engine)
        }
        Rpc::ProcessStatelessBatchV2 => {
            let request = wire::ProcessStatelessBatchRequestV2::decode(request).map_err(undecodable)?;
            answer_v2(validate::process_stateless_batch_v2(request, rules), kept, engine)
        }
    }
}

fn answer_v2(
    validated: Result<BatchInput, ExecutorError>,
    kept: &MemoryStore,
    engine: &CommandEngine,
) -> Result<Vec<u8>, String> {
    let answer = match validated {
        Ok(input) => {
            let (output, context, flush) = execute(&input, kept, engine)?;
            respond::response_v2(output, &context, flush)
        }
        Err(error) => respond::invalid_request_v2(error),
    };
    Ok(answer.encode_to_vec())
}

fn execute(
    input: &BatchInput,
    kept: &MemoryStore,
    engine: &CommandEngine,
) -> Result<(BatchOutput, ResponseContext, FlushIds), String> {
    let base: &dyn StateReader = match input.state_source {
        StateSource::Store => kept,
        StateSource::Witness { .. } => &NoState,
    };
    let state = RequestOverlay { base, nodes: &input.db, programs: &input.contracts_bytecode };
    let output = engine.process(input, &state).map_err(|cancelled| cancelled.to_string())?;
    if input.state_source == StateSource::Store {
        // The next step of a chain starts from what this one brought along and left behind.
        let written = kept
            .write(&state.verified_nodes(), &state.verified_programs(), Durability::Permanent)
            .and_then(|()| kept.write(&output.new_nodes, &output.new_programs, Durability::Permanent));
        written.map_err(|error| error.to_string())?;
    }
    // The ids belong to the server; a batch that ran to its end has some, an aborted one none (executor-service §9).
    let takes_id = input.state_source == StateSource::Store || input.fork_id.rules().stateless_takes_flush_id;
    let id = u64::from(output.is_kept() && takes_id);
    let context = ResponseContext::new(input, Arc::from("conformance"));
    Ok((output, context, FlushIds { flush_id: id, stored_flush_id: id }))
}

/// Connects to a server, `host:port` or a URL.
pub(super) async fn connect(
    address: &str,
) -> Result<ExecutorServiceClient<Channel>, Box<dyn std::error::Error + Send + Sync>> {
    let url = if address.contains("://") { address.to_owned() } else { format!("http://{address}") };
    let channel = Channel::from_shared(url)?.connect().await?;
    Ok(ExecutorServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// Returns the serialised answer of a server, or its status.
pub(super) async fn from_server(
    client: &mut ExecutorServiceClient<Channel>,
    rpc: Rpc,
    request: &[u8],
) -> Result<Vec<u8>, String> {
    let undecodable = |error: prost::DecodeError| format!("the request does not decode: {error}");
    let status = |status: tonic::Status| format!("gRPC status {:?}: {}", status.code(), status.message());
    match rpc {
        Rpc::ProcessBatch => {
            let request = wire::ProcessBatchRequest::decode(request).map_err(undecodable)?;
            client.process_batch(request).await.map(|answer| answer.into_inner().encode_to_vec()).map_err(status)
        }
        Rpc::ProcessBatchV2 => {
            let request = wire::ProcessBatchRequestV2::decode(request).map_err(undecodable)?;
            client.process_batch_v2(request).await.map(|answer| answer.into_inner().encode_to_vec()).map_err(status)
        }
        Rpc::ProcessStatelessBatchV2 => {
            let request = wire::ProcessStatelessBatchRequestV2::decode(request).map_err(undecodable)?;
            let answer = client.process_stateless_batch_v2(request).await;
            answer.map(|answer| answer.into_inner().encode_to_vec()).map_err(status)
        }
    }
}
