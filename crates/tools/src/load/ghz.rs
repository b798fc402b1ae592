//! Request files for the load generator ghz, as protobuf JSON.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::LoadError;
use zkevm_testkit::sample::genesis::GenesisState;
use zkevm_testkit::sample::workload::{TOKEN_TRANSFERS_PER_BATCH, TRANSFERS_PER_BATCH};
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::request::Request;

/// Transactions of the small batches.
const SMALL_BATCH_TXS: usize = 10;

/// Writes the genesis request and files of independent batches, all of them on top of the genesis state.
pub(super) fn export(folder: &Path, workload: &Arc<Workload>, genesis: &GenesisState) -> Result<(), LoadError> {
    fs::create_dir_all(folder)?;
    let root = genesis.root.to_b256();
    let mut first = workload.chain(0, root).empty_batch();
    first.db = genesis.nodes.iter().map(|(hash, node)| (*hash, node.into())).collect();
    first.contracts_bytecode = genesis.programs.clone();
    write(folder, "genesis.json", &[request(Request::new(&first))?])?;

    let clients = workload.clients();
    let batches = |kind: Kind, count: usize, clients: u64| -> Result<Vec<Value>, LoadError> {
        let batch = |client| {
            let mut input = workload.chain(client, root).next_batch(kind, count);
            input.update_merkle_tree = false;
            request(Request::new(&input))
        };
        (0..clients).map(batch).collect()
    };
    write(folder, "transfers.json", &batches(Kind::Transfers, SMALL_BATCH_TXS, clients)?)?;
    write(folder, "token-transfers.json", &batches(Kind::TokenTransfers, SMALL_BATCH_TXS, clients)?)?;
    write(folder, "transfers-730.json", &batches(Kind::Transfers, TRANSFERS_PER_BATCH, 1)?)?;
    write(folder, "token-transfers-197.json", &batches(Kind::TokenTransfers, TOKEN_TRANSFERS_PER_BATCH, 1)?)?;
    Ok(())
}

fn write(folder: &Path, name: &str, requests: &[Value]) -> Result<(), LoadError> {
    let path = folder.join(name);
    fs::write(&path, serde_json::to_vec(requests)?)?;
    println!("{}: {} requests", path.display(), requests.len());
    Ok(())
}

fn request(request: Request) -> Result<Value, LoadError> {
    match request {
        Request::V1(_) => Err("ghz files are made for ProcessBatchV2: fork id 7 and up".into()),
        Request::V2(request) => Ok(to_json(&request)),
    }
}

/// Only the fields a sample batch sets.
fn to_json(request: &wire::ProcessBatchRequestV2) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    put("old_state_root", base64(&request.old_state_root).into());
    put("old_acc_input_hash", base64(&request.old_acc_input_hash).into());
    put("old_batch_num", json!(request.old_batch_num));
    put("chain_id", json!(request.chain_id));
    put("fork_id", json!(request.fork_id));
    put("batch_l2_data", base64(&request.batch_l2_data).into());
    put("l1_info_root", base64(&request.l1_info_root).into());
    put("timestamp_limit", json!(request.timestamp_limit));
    put("coinbase", request.coinbase.clone().into());
    put("forced_blockhash_l1", base64(&request.forced_blockhash_l1).into());
    put("update_merkle_tree", json!(request.update_merkle_tree));
    if !request.db.is_empty() {
        put("db", json!(request.db));
        put("contracts_bytecode", json!(request.contracts_bytecode));
    }
    Value::Object(fields)
}

/// Standard base64 with padding, as protobuf JSON wants bytes.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let byte = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit) & 0x3f) as usize;
            text.push(if digit <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads() {
        let cases = [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")];
        for (plain, encoded) in cases {
            assert_eq!(base64(plain.as_bytes()), encoded);
        }
        assert_eq!(base64(&[0xff, 0xfe]), "//4=");
    }
}
