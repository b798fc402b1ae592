//! The public vectors of the tree and both genesis roots through the HashDB service, the way zkevm-node does it.

use revm::primitives::{Address, U256};
use serde_json::Value;
use zkevm_testkit::skip;
use zkevm_tree::{Digest, LeafKind, account_key, linear_hash, storage_key};
use zkevm_wire::proto::hashdb::v1 as wire;

use super::support::*;

fn vectors(file: &str) -> Option<Value> {
    let path = skip::vectors(&format!("unit/{file}"))?;
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn number(value: &Value) -> U256 {
    parse(value.as_str().unwrap_or_else(|| panic!("not a string: {value}")))
}

/// Decimal, leading zeros do not mean octal; or hexadecimal with 0x.
fn parse(text: &str) -> U256 {
    match text.strip_prefix("0x") {
        Some(digits) => U256::from_str_radix(digits, 16),
        None => U256::from_str_radix(text, 10),
    }
    .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Sets the leaves of an account in the order of zkevm-node; returns them.
async fn set_account(session: &mut Session, account: &Value) -> Vec<(Digest, U256)> {
    let owner: Address = account["address"].as_str().and_then(|text| text.parse().ok()).expect("an address");
    let mut leaves = vec![
        (account_key(owner, LeafKind::Balance), number(&account["balance"])),
        (account_key(owner, LeafKind::Nonce), number(&account["nonce"])),
    ];
    if let Some(text) = account["bytecode"].as_str() {
        let code = hex::decode(text.strip_prefix("0x").unwrap_or(text)).unwrap();
        let hash = linear_hash(&code);
        session.set_program(hash, &code).await;
        leaves.push((account_key(owner, LeafKind::CodeHash), hash.to_u256()));
        leaves.push((account_key(owner, LeafKind::CodeLength), U256::from(code.len())));
    }
    for (slot, value) in account["storage"].as_object().into_iter().flatten() {
        leaves.push((storage_key(owner, parse(slot)), number(value)));
    }
    for (key, value) in &leaves {
        session.set(*key, *value).await;
    }
    leaves
}

async fn assert_genesis(server: &zkevm_executor::server::RunningServer, accounts: &[Value], root: U256, what: &str) {
    let mut client = hashdb(server).await;
    let mut session = Session::start(client.clone(), Digest::ZERO).await;
    // Leaves occur twice: the last value counts.
    let mut leaves = std::collections::HashMap::new();
    for account in accounts {
        leaves.extend(set_account(&mut session, account).await);
    }
    let (built, _) = session.flush().await;
    assert_eq!(hex(built), format!("{root:#066x}"), "{what}");
    for (key, value) in leaves {
        assert_eq!(get(&mut client, built, key).await, (value, SUCCESS), "{what}, key {}", hex(key));
    }
    for account in accounts {
        let Some(text) = account["bytecode"].as_str() else { continue };
        let code_bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text)).unwrap();
        let request = wire::GetProgramRequest { key: fea(linear_hash(&code_bytes)), ..Default::default() };
        let answer = client.get_program(request).await.unwrap().into_inner();
        assert_eq!((answer.data.to_vec(), code(answer.result)), (code_bytes, SUCCESS), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn raw_trees() {
    let Some(file) = vectors("smt/smt-raw.json") else { return };
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    let mut client = hashdb(&server).await;
    for entry in file.as_array().expect("entries") {
        let mut session = Session::start(client.clone(), Digest::ZERO).await;
        let keys: Vec<Digest> = list(entry, "keys").iter().map(|key| Digest::from_u256(number(key))).collect();
        let values: Vec<U256> = list(entry, "values").iter().map(number).collect();
        for (key, value) in keys.iter().zip(&values) {
            session.set(*key, *value).await;
        }
        let (root, _) = session.flush().await;
        assert_eq!(root.to_u256(), number(&entry["expectedRoot"]), "{entry}");
        for key in &keys {
            // A key may be set twice: the last value counts.
            let last = keys.iter().rposition(|other| other == key).map(|place| values[place]).unwrap();
            assert_eq!(get(&mut client, root, *key).await, (last, SUCCESS), "{entry}");
        }
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn genesis_roots_of_accounts() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    for name in ["smt-genesis", "smt-full-genesis", "commonjs-smt-full-genesis"] {
        let Some(file) = vectors(&format!("smt/{name}.json")) else { continue };
        for (position, entry) in file.as_array().expect("entries").iter().enumerate() {
            let what = format!("{name} entry {}", position + 1);
            assert_genesis(&server, list(entry, "addresses"), number(&entry["expectedRoot"]), &what).await;
        }
    }
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn genesis_roots_of_networks() {
    let folder = tempfile::tempdir().unwrap();
    let server = start(folder.path()).await;
    for name in ["cdk-mainnet-genesis", "node-test.genesis.config"] {
        let Some(file) = vectors(&format!("genesis-root/{name}.json")) else { continue };
        assert_genesis(&server, list(&file, "genesis"), number(&file["root"]), name).await;
    }
    server.shutdown().await;
}
