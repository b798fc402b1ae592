//! What the demo asks of the HashDB service: a genesis as zkevm-node makes it, and reading leaves back.

use revm::primitives::{Address, B256, U256};
use tonic::transport::Channel;

use super::DemoError;
use crate::grpc::hashdb::convert::{digest, fea};
use zkevm_testkit::sample::Genesis;
use zkevm_tree::{Digest, LeafKind, account_key};
use zkevm_wire::proto::hashdb::v1 as wire;
use zkevm_wire::proto::hashdb::v1::hash_db_service_client::HashDbServiceClient;

const DATABASE: i32 = wire::Persistence::Database as i32;
const SUCCESS: i32 = wire::result_code::Code::Success as i32;

/// Sets the genesis leaf by leaf in a session and flushes it (hashdb-service §10); returns its root.
pub(super) async fn create_genesis(channel: Channel, genesis: &Genesis) -> Result<Digest, DemoError> {
    let mut client = HashDbServiceClient::new(channel);
    let batch_uuid = uuid::Uuid::new_v4().to_string();
    let mut root = Digest::ZERO;
    let block =
        wire::StartBlockRequest { batch_uuid: batch_uuid.clone(), old_state_root: hex(root), persistence: DATABASE };
    client.start_block(block).await?;
    let (leaves, programs) = genesis.leaves();
    for (key, value) in leaves {
        let request = wire::SetRequest {
            old_root: Some(fea(&root)),
            key: Some(fea(&key)),
            value: format!("{value:064x}"),
            persistence: DATABASE,
            batch_uuid: batch_uuid.clone(),
            ..wire::SetRequest::default()
        };
        root = digest(client.set(request).await?.into_inner().new_root);
    }
    for (hash, code) in programs {
        let request = wire::SetProgramRequest {
            key: Some(fea(&hash)),
            data: code.0,
            persistence: DATABASE,
            batch_uuid: batch_uuid.clone(),
            ..wire::SetProgramRequest::default()
        };
        succeeded(client.set_program(request).await?.into_inner().result)?;
    }
    let block =
        wire::FinishBlockRequest { batch_uuid: batch_uuid.clone(), new_state_root: hex(root), persistence: DATABASE };
    client.finish_block(block).await?;
    let flush = wire::FlushRequest { batch_uuid, new_state_root: hex(root), persistence: DATABASE };
    succeeded(client.flush(flush).await?.into_inner().result)?;
    Ok(root)
}

/// Reads balance and nonce of these accounts, each in the state with its root.
pub(super) async fn read_accounts(channel: Channel, accounts: &[(B256, Address)]) -> Result<Vec<U256>, DemoError> {
    let mut client = HashDbServiceClient::new(channel);
    let mut values = Vec::with_capacity(2 * accounts.len());
    for (root, address) in accounts {
        for kind in [LeafKind::Balance, LeafKind::Nonce] {
            let (root, key) = (Some(fea(&Digest::from(*root))), Some(fea(&account_key(*address, kind))));
            let answer = client.get(wire::GetRequest { root, key, ..Default::default() }).await?.into_inner();
            succeeded(answer.result)?;
            values.push(U256::from_str_radix(&answer.value, 16)?);
        }
    }
    Ok(values)
}

fn succeeded(result: Option<wire::ResultCode>) -> Result<(), DemoError> {
    match result.unwrap_or_default().code {
        SUCCESS => Ok(()),
        code => Err(format!("the HashDB service answered with result code {code}").into()),
    }
}

fn hex(root: Digest) -> String {
    root.to_b256().to_string()
}
