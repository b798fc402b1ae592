//! The public vectors of the tree: Poseidon, keys, bytecode hashes, raw trees, genesis roots (state-tree §13).

use revm::primitives::{Address, B256, U256};
use serde_json::Value;
use zkevm_store::{Durability, MemoryStore, StateWriter};
use zkevm_testkit::skip;
use zkevm_tree::poseidon::{hash, linear_hash};
use zkevm_tree::{Digest, LeafKind, StateTree, TreeRef, account_key, storage_key};

/// Returns a parsed vector file, or says that its tests are skipped.
fn vectors(file: &str) -> Option<Value> {
    let path = skip::vectors(&format!("unit/{file}"))?;
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    Some(serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn entries(value: &Value) -> &[Value] {
    let entries = value.as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(!entries.is_empty(), "no entries");
    entries
}

/// Parses decimal (leading zeros do not mean octal) or 0x-prefixed numbers; "-1" counts modulo the field's prime.
fn number(value: &Value) -> U256 {
    let text = value.as_str().unwrap_or_else(|| panic!("not a string: {value}"));
    match text.strip_prefix("0x") {
        Some(digits) => U256::from_str_radix(digits, 16),
        None if text == "-1" => Ok(U256::from(0xffff_ffff_0000_0000u64)),
        None => U256::from_str_radix(text, 10),
    }
    .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn address(value: &Value) -> Address {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("not an address: {value}"))
}

fn code(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let padded = if digits.len() % 2 == 1 { format!("0{digits}") } else { digits.to_owned() };
    hex::decode(&padded).unwrap_or_else(|error| panic!("{padded}: {error}"))
}

#[test]
fn poseidon_hashes() {
    let Some(file) = vectors("poseidon/raw-hash.json") else { return };
    for entry in entries(&file) {
        let element = |value: &Value| number(value).to::<u64>();
        let input: Vec<u64> = list(entry, "input").iter().map(element).collect();
        let capacity: Vec<u64> = list(entry, "capacity").iter().map(element).collect();
        let expected: Vec<u64> = list(entry, "expectedOutput").iter().map(element).collect();
        let actual = hash(&input.try_into().unwrap(), &capacity.try_into().unwrap());
        assert_eq!(actual.0.to_vec(), expected, "{entry}");
    }
}

#[test]
fn leaf_keys() {
    let files = [
        ("smt-key-eth-balance", LeafKind::Balance),
        ("smt-key-eth-nonce", LeafKind::Nonce),
        ("smt-key-contract-code", LeafKind::CodeHash),
        ("commonjs-smt-key-contract-code", LeafKind::CodeHash),
        ("smt-key-contract-storage", LeafKind::Storage),
        ("smt-key-contract-length", LeafKind::CodeLength),
        ("commonjs-smt-key-contract-length", LeafKind::CodeLength),
    ];
    for (name, kind) in files {
        let Some(file) = vectors(&format!("smt/{name}.json")) else { continue };
        for entry in entries(&file) {
            assert_eq!(entry["leafType"], kind as u64, "{name}: {entry}");
            let account = address(&entry["ethAddr"]);
            let key = match kind {
                LeafKind::Storage => storage_key(account, number(&entry["storagePosition"])),
                _ => account_key(account, kind),
            };
            assert_eq!(key.to_u256(), number(&entry["expectedKey"]), "{name}: {entry}");
        }
    }
}

#[test]
fn bytecode_hashes() {
    for name in ["smt-hash-bytecode", "commonjs-smt-hash-bytecode"] {
        let Some(file) = vectors(&format!("smt/{name}.json")) else { continue };
        for entry in entries(&file) {
            let hash = linear_hash(&code(&entry["bytecode"]));
            assert_eq!(hash.to_u256(), number(&entry["expectedHash"]), "{name}: {entry}");
        }
    }
}

/// Builds a tree all at once and write by write (each from a store); both must give this root.
fn assert_root(writes: &[(Digest, U256)], expected: U256, what: &str) {
    let empty = MemoryStore::new(0);
    let mut tree = StateTree::new(&empty);
    let whole = tree.update(TreeRef::EMPTY, &mut writes.to_vec()).unwrap();
    assert_eq!(B256::from(tree.root(whole)), B256::from(expected), "{what}, all at once");

    let store = MemoryStore::new(0);
    let mut root = Digest::ZERO;
    for write in writes {
        let mut tree = StateTree::new(&store);
        let before = tree.open(root);
        let after = tree.update(before, &mut [*write]).unwrap();
        root = tree.root(after);
        store.write(&tree.new_nodes(&[after]), &[], Durability::Permanent).unwrap();
    }
    assert_eq!(B256::from(root), B256::from(expected), "{what}, write by write");
}

#[test]
fn raw_trees() {
    let Some(file) = vectors("smt/smt-raw.json") else { return };
    for entry in entries(&file) {
        let keys = list(entry, "keys").iter().map(|key| Digest::from_u256(number(key)));
        let writes: Vec<_> = keys.zip(list(entry, "values").iter().map(number)).collect();
        assert_root(&writes, number(&entry["expectedRoot"]), &entry.to_string());
    }
}

/// Returns the writes of a genesis account, in the order of the original.
fn account_writes(account: &Value) -> Vec<(Digest, U256)> {
    let owner = address(&account["address"]);
    let mut writes = vec![
        (account_key(owner, LeafKind::Balance), number(&account["balance"])),
        (account_key(owner, LeafKind::Nonce), number(&account["nonce"])),
    ];
    if account["bytecode"].is_string() {
        let code = code(&account["bytecode"]);
        writes.push((account_key(owner, LeafKind::CodeHash), linear_hash(&code).to_u256()));
        writes.push((account_key(owner, LeafKind::CodeLength), U256::from(code.len())));
    }
    for (slot, value) in account["storage"].as_object().into_iter().flatten() {
        writes.push((storage_key(owner, number(&Value::from(slot.as_str()))), number(value)));
    }
    writes
}

#[test]
fn genesis_roots_of_accounts() {
    for name in ["smt-genesis", "smt-full-genesis", "commonjs-smt-full-genesis"] {
        let Some(file) = vectors(&format!("smt/{name}.json")) else { continue };
        for (position, entry) in entries(&file).iter().enumerate() {
            let writes: Vec<_> = list(entry, "addresses").iter().flat_map(account_writes).collect();
            assert_root(&writes, number(&entry["expectedRoot"]), &format!("{name} entry {}", position + 1));
        }
    }
}

#[test]
fn genesis_roots_of_networks() {
    for name in ["cdk-mainnet-genesis", "node-test.genesis.config"] {
        let Some(file) = vectors(&format!("genesis-root/{name}.json")) else { continue };
        let accounts = list(&file, "genesis");
        assert_eq!(accounts.len(), 9, "{name}");
        let writes: Vec<_> = accounts.iter().flat_map(account_writes).collect();
        assert_root(&writes, number(&file["root"]), name);
    }
}
