//! Wire types of the HashDB service to domain types and back.

use std::collections::BTreeMap;

use revm::primitives::U256;
use tonic::Status;

use super::super::status::malformed;
use super::wire;
use zkevm_store::encoding::{hash_bytes, node_bytes, root_row};
use zkevm_store::hashdb::{HashDbError, Persistence, ReadLog};
use zkevm_store::{Durability, FlushGroup};
use zkevm_tree::{Digest, GetDetails, NodeData, SetDetails};

/// Digits of a 256-bit number.
const DIGITS_MAX: usize = 64;

/// Returns four field elements, each reduced; a missing message reads as zeros.
pub(crate) fn digest(fea: Option<wire::Fea>) -> Digest {
    let wire::Fea { fe0, fe1, fe2, fe3 } = fea.unwrap_or_default();
    Digest::from_u256(U256::from_limbs([fe0, fe1, fe2, fe3]))
}

pub(crate) fn fea(digest: &Digest) -> wire::Fea {
    let [fe0, fe1, fe2, fe3] = digest.0;
    wire::Fea { fe0, fe1, fe2, fe3 }
}

fn fea12(node: &NodeData) -> wire::Fea12 {
    let [fe0, fe1, fe2, fe3, fe4, fe5, fe6, fe7, fe8, fe9, fe10, fe11] = *node;
    wire::Fea12 { fe0, fe1, fe2, fe3, fe4, fe5, fe6, fe7, fe8, fe9, fe10, fe11 }
}

/// Reads 1 to 64 hexadecimal digits.
fn number(digits: &str, what: &str) -> Result<U256, Status> {
    let valid = (1..=DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let parsed = if valid { U256::from_str_radix(digits, 16).ok() } else { None };
    parsed.ok_or_else(|| malformed(format!("{what} must be 1 to {DIGITS_MAX} hexadecimal digits")))
}

/// Reads a leaf value: digits without 0x.
pub(super) fn value(text: &str) -> Result<U256, Status> {
    number(text, "value")
}

/// Reads a root with or without 0x; an empty text is no root.
pub(super) fn root_text(text: &str) -> Result<Option<Digest>, Status> {
    match text.strip_prefix("0x").unwrap_or(text) {
        "" => Ok(None),
        digits => Ok(Some(Digest::from_u256(number(digits, "a state root")?))),
    }
}

/// Reads the keys of a map.
pub(super) fn key_map<V, T>(map: BTreeMap<String, V>, convert: impl Fn(V) -> T) -> Result<BTreeMap<Digest, T>, Status> {
    map.into_iter()
        .map(|(key, value)| {
            let digits = key.strip_prefix("0x").unwrap_or(&key);
            Ok((Digest::from_u256(number(digits, "a key")?), convert(value)))
        })
        .collect()
}

/// Reads a persistence; the original ends on unknown ones.
pub(super) fn persistence(number: i32) -> Result<Persistence, Status> {
    Persistence::from_number(number).ok_or_else(|| malformed(format!("persistence {number} is unknown")))
}

pub(super) fn durability(persistent: bool) -> Durability {
    if persistent { Durability::Permanent } else { Durability::Volatile }
}

pub(super) fn result(code: i32) -> Option<wire::ResultCode> {
    Some(wire::ResultCode { code })
}

pub(super) fn success() -> Option<wire::ResultCode> {
    result(wire::result_code::Code::Success as i32)
}

pub(super) fn outcome_code<T>(outcome: &Result<T, HashDbError>) -> i32 {
    match outcome {
        Ok(_) => wire::result_code::Code::Success as i32,
        Err(error) => error.result_code(),
    }
}

fn hex_number(value: U256) -> String {
    format!("{value:x}")
}

fn siblings(nodes: &[NodeData]) -> BTreeMap<u64, wire::SiblingList> {
    let lists = nodes.iter().map(|node| wire::SiblingList { sibling: node.to_vec() });
    (0..).zip(lists).collect()
}

fn read_log(log: Option<ReadLog>) -> BTreeMap<String, wire::FeList> {
    let entries = log.into_iter().flatten();
    entries.map(|(hash, node)| (hex::encode(hash_bytes(&hash)), wire::FeList { fe: node.to_vec() })).collect()
}

pub(super) fn set_response(details: &SetDetails, with_details: bool, log: Option<ReadLog>) -> wire::SetResponse {
    let mut response = wire::SetResponse {
        new_root: Some(fea(&details.new_root)),
        db_read_log: read_log(log),
        result: success(),
        ..wire::SetResponse::default()
    };
    if with_details {
        let (ins_key, ins_value) = details.other_leaf.unwrap_or_default();
        let [left, right] = &details.sibling_children;
        response.old_root = Some(fea(&details.old_root));
        response.key = Some(fea(&details.key));
        response.siblings = siblings(&details.siblings);
        response.ins_key = Some(fea(&ins_key));
        response.ins_value = hex_number(ins_value);
        response.is_old0 = details.is_old_zero();
        response.old_value = hex_number(details.old_value);
        response.new_value = hex_number(details.new_value);
        response.mode = details.mode.name().to_owned();
        response.proof_hash_counter = details.proof_hash_counter;
        response.sibling_left_child = Some(fea(left));
        response.sibling_right_child = Some(fea(right));
    }
    response
}

/// The value is there even if the read failed: clients parse it without looking at the code.
pub(super) fn get_response(
    outcome: Result<GetDetails, HashDbError>,
    with_details: bool,
    log: Option<ReadLog>,
) -> wire::GetResponse {
    let value = outcome.as_ref().map(|details| details.value).unwrap_or_default();
    let mut response = wire::GetResponse {
        value: format!("{value:064x}"),
        db_read_log: read_log(log),
        result: result(outcome_code(&outcome)),
        ..wire::GetResponse::default()
    };
    if let (true, Ok(details)) = (with_details, outcome) {
        let (ins_key, ins_value) = details.other_leaf.unwrap_or_default();
        response.root = Some(fea(&details.root));
        response.key = Some(fea(&details.key));
        response.siblings = siblings(&details.siblings);
        response.ins_key = Some(fea(&ins_key));
        response.ins_value = hex_number(ins_value);
        response.is_old0 = details.is_old_zero();
        response.proof_hash_counter = details.proof_hash_counter;
    }
    response
}

pub(super) fn read_tree_response(
    keys: &[Digest],
    outcome: Result<Vec<U256>, HashDbError>,
    log: ReadLog,
) -> wire::ReadTreeResponse {
    let code = outcome_code(&outcome);
    let values = outcome.unwrap_or_default();
    let key_value = keys.iter().zip(values);
    let hash_value =
        log.iter().map(|(hash, node)| wire::HashValueGl { hash: Some(fea(hash)), value: Some(fea12(node)) });
    wire::ReadTreeResponse {
        key_value: key_value
            .map(|(key, value)| wire::KeyValue { key: Some(fea(key)), value: hex_number(value) })
            .collect(),
        hash_value: hash_value.collect(),
        result: result(code),
    }
}

/// An empty answer if nothing was stored meanwhile.
pub(super) fn flush_data(group: Option<&FlushGroup>, stored_flush_id: u64) -> wire::GetFlushDataResponse {
    let mut response =
        wire::GetFlushDataResponse { stored_flush_id, result: success(), ..wire::GetFlushDataResponse::default() };
    for set in group.into_iter().flat_map(|group| &group.sets) {
        let nodes = set.nodes.iter().map(|(hash, node)| (hex::encode(hash_bytes(hash)), hex::encode(node_bytes(node))));
        response.nodes.extend(nodes);
        let programs = set.programs.iter().map(|(hash, code)| (hex::encode(hash_bytes(hash)), hex::encode(code)));
        response.program.extend(programs);
        if let Some(root) = &set.latest_root {
            response.nodes_state_root = hex::encode(root_row(root));
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use zkevm_tree::GOLDILOCKS_PRIME;

    #[test]
    fn numbers_are_read_in_either_case_and_within_their_digits() {
        assert_eq!(value("aB").unwrap(), U256::from(0xab));
        assert_eq!(value(&"f".repeat(64)).unwrap(), U256::MAX);
        for bad in ["", "0x1", "g", "-1", "+1", "1_0", " 1", &"0".repeat(65)] {
            assert_eq!(value(bad).unwrap_err().code(), tonic::Code::Cancelled, "{bad:?}");
        }
        assert_eq!(root_text("").unwrap(), None);
        assert_eq!(root_text("0x").unwrap(), None);
        assert_eq!(root_text("0x0").unwrap(), Some(Digest::ZERO));
        assert!(root_text(&format!("0x{}", "0".repeat(65))).is_err());
    }

    #[test]
    fn limbs_are_reduced_and_a_missing_message_is_zero() {
        let fea = wire::Fea { fe0: GOLDILOCKS_PRIME + 5, fe1: 1, fe2: 0, fe3: u64::MAX };
        assert_eq!(digest(Some(fea)), Digest([5, 1, 0, u64::MAX - GOLDILOCKS_PRIME]));
        assert_eq!(digest(None), Digest::ZERO);
    }

    #[test]
    fn persistences_of_the_contract_and_the_unnamed_one_are_known() {
        assert_eq!(persistence(3).unwrap(), Persistence::TemporaryHash);
        assert_eq!(persistence(4).unwrap_err().code(), tonic::Code::Cancelled);
        assert_eq!(persistence(-1).unwrap_err().code(), tonic::Code::Cancelled);
    }
}
