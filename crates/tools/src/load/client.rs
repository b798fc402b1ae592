//! One call: a batch sent with either API version, its answer checked.

use std::sync::Arc;

use revm::primitives::B256;
use tonic::transport::Channel;

use super::LoadError;
use zkevm_testkit::sample::Workload;
use zkevm_testkit::sample::genesis::GenesisState;
use zkevm_types::BatchInput;
use zkevm_types::{ExecutorError, RomError};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;
use zkevm_wire::request::Request;

const MESSAGE_BYTES_MAX: usize = 256 << 20;

/// The part of an answer that a client needs, of either API version.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// State root after the batch.
    pub new_state_root: B256,
    /// Accumulated input hash after the batch.
    pub new_acc_input_hash: B256,
    /// Transactions answered.
    pub transactions: usize,
    /// L2 gas of the batch.
    pub gas_used: u64,
}

/// Sends the genesis with an empty batch: its nodes and programs are known to the server afterwards.
pub async fn send_genesis(channel: Channel, workload: &Arc<Workload>, genesis: &GenesisState) -> Result<(), LoadError> {
    let mut client = connect(channel);
    let mut input = workload.chain(0, genesis.root.to_b256()).empty_batch();
    input.db = genesis.nodes.iter().map(|(hash, node)| (*hash, node.into())).collect();
    input.contracts_bytecode = genesis.programs.clone();
    let answer = send(&mut client, &input).await?;
    check("state root of an empty batch", answer.new_state_root, genesis.root.to_b256())?;
    Ok(())
}

/// Makes a client of the executor service over a connection.
pub fn connect(channel: Channel) -> ExecutorServiceClient<Channel> {
    ExecutorServiceClient::new(channel)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX)
}

/// Sends one batch of transfers that must all succeed. An error that is no [`tonic::Status`] is a wrong answer.
pub async fn send_checked(
    client: &mut ExecutorServiceClient<Channel>,
    input: &BatchInput,
    batch_txs: usize,
) -> Result<Answer, LoadError> {
    let answer = send(client, input).await?;
    check("number of transactions", answer.transactions, batch_txs)?;
    if answer.new_state_root == input.old_state_root {
        return Err("the state root did not change".into());
    }
    Ok(answer)
}

async fn send(client: &mut ExecutorServiceClient<Channel>, input: &BatchInput) -> Result<Answer, LoadError> {
    match Request::new(input) {
        Request::V1(request) => answer_v1(client.process_batch(*request).await?.into_inner()),
        Request::V2(request) => answer_v2(client.process_batch_v2(*request).await?.into_inner(), input),
    }
}

fn answer_v1(answer: wire::ProcessBatchResponse) -> Result<Answer, LoadError> {
    check_error(answer.error)?;
    for tx in &answer.responses {
        check("error of a transaction", tx.error, RomError::NoError.number())?;
    }
    Ok(Answer {
        new_state_root: word(&answer.new_state_root)?,
        new_acc_input_hash: word(&answer.new_acc_input_hash)?,
        transactions: answer.responses.len(),
        gas_used: answer.cumulative_gas_used,
    })
}

fn answer_v2(answer: wire::ProcessBatchResponseV2, input: &BatchInput) -> Result<Answer, LoadError> {
    check_error(answer.error)?;
    check("error_rom", answer.error_rom, RomError::NoError.number())?;
    check("old_state_root", word(&answer.old_state_root)?, input.old_state_root)?;
    let new_state_root = word(&answer.new_state_root)?;
    if let (Some(first), Some(last)) = (answer.block_responses.first(), answer.block_responses.last()) {
        check("parent_hash of the first block", word(&first.parent_hash)?, input.old_state_root)?;
        check("block_hash of the last block", word(&last.block_hash)?, new_state_root)?;
    }
    let transactions: Vec<_> = answer.block_responses.iter().flat_map(|block| &block.responses).collect();
    for tx in &transactions {
        check("error of a transaction", tx.error, RomError::NoError.number())?;
        check("status of a transaction", tx.status, 1)?;
    }
    Ok(Answer {
        new_state_root,
        new_acc_input_hash: word(&answer.new_acc_input_hash)?,
        transactions: transactions.len(),
        gas_used: answer.gas_used,
    })
}

pub(super) fn check_error(error: i32) -> Result<(), LoadError> {
    match ExecutorError::from_number(error) {
        Some(ExecutorError::NoError) => Ok(()),
        Some(error) => Err(error.name().into()),
        None => Err(format!("unknown executor error {error}").into()),
    }
}

pub(super) fn word(bytes: &[u8]) -> Result<B256, LoadError> {
    B256::try_from(bytes).map_err(|_| format!("a root of {} bytes instead of 32", bytes.len()).into())
}

pub(super) fn check<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), LoadError> {
    if found == expected { Ok(()) } else { Err(format!("{what}: got {found:?}, expected {expected:?}").into()) }
}
