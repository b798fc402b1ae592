//! Serialised messages as flat lists of fields, walked by descriptor: no field can be forgotten.
//!
//! Each value gets a *place* such as `responses[2].logs[0].data`; with the indexes removed that is its *field*. Lists
//! and maps have an entry of their own with their length or keys, optional messages one that says whether they are set.

use std::collections::{BTreeMap, BTreeSet};

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MapKey, ReflectMessage, Value};
use zkevm_wire::protobuf_text::message_type;

/// Fields whose values mean nothing between two runs: only set or not set is kept.
const VOLATILE: [&str; 2] = ["prover_id", "flush_id"];
/// Fields not compared: the recordings were made without a database, where `stored_flush_id` stays 0 for ever and
/// clients that wait for it would hang; a server with a store reports what it stored (executor-service §9).
const IGNORED: [&str; 1] = ["stored_flush_id"];
/// Free text: only empty or not is kept.
const FREE_TEXT: [&str; 1] = ["error_log"];
/// Lists without a defined order.
const UNORDERED: [&str; 2] = ["smt_keys", "program_keys"];

/// Suffix of an entry that holds a set of keys, joined by commas.
pub(super) const KEYS: &str = " (keys)";

/// A message as place → value.
pub(super) type Flat = BTreeMap<String, String>;

/// Why a message cannot be walked.
#[derive(Debug, thiserror::Error)]
pub(super) enum WalkError {
    /// The bytes are not such a message.
    #[error("malformed {message}: {source}")]
    Malformed { message: String, source: prost::DecodeError },
    /// The contracts do not know the message.
    #[error("no descriptor for message `{0}`")]
    Unknown(String),
}

/// Flattens the serialised message of this full name, such as `executor.v1.ProcessBatchResponse`.
pub(super) fn flatten(message: &str, bytes: &[u8]) -> Result<Flat, WalkError> {
    let message_type = message_type(message).ok_or_else(|| WalkError::Unknown(message.to_owned()))?;
    let decoded = DynamicMessage::decode(message_type, bytes)
        .map_err(|source| WalkError::Malformed { message: message.to_owned(), source })?;
    let mut flat = Flat::new();
    add_message(&decoded, "", &mut flat);
    Ok(flat)
}

fn add_message(message: &DynamicMessage, prefix: &str, flat: &mut Flat) {
    for field in message.descriptor().fields() {
        add_field(message, &field, format!("{prefix}{}", field.name()), flat);
    }
    let mut unknown: BTreeMap<u32, usize> = BTreeMap::new();
    for field in message.unknown_fields() {
        *unknown.entry(field.number()).or_default() += 1;
    }
    for (number, count) in unknown {
        flat.insert(format!("{prefix}unknown field {number}"), format!("{count} values"));
    }
}

fn add_field(message: &DynamicMessage, field: &FieldDescriptor, place: String, flat: &mut Flat) {
    let kind = field.kind();
    match message.get_field(field).as_ref() {
        Value::List(items) if UNORDERED.contains(&field.name()) => {
            let keys = items.iter().map(|item| render(&kind, item)).collect();
            flat.insert(format!("{place}{KEYS}"), joined(keys));
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                add_item(&kind, item, format!("{place}[{index}]"), flat);
            }
            flat.insert(format!("{place} (count)"), items.len().to_string());
        }
        Value::Map(entries) => {
            let value_kind = kind.as_message().map(|entry| entry.map_entry_value_field().kind()).unwrap_or(kind);
            let mut keys = BTreeSet::new();
            for (key, value) in entries {
                let key = render_key(key);
                add_item(&value_kind, value, format!("{place}[{key}]"), flat);
                keys.insert(key);
            }
            flat.insert(format!("{place}{KEYS}"), joined(keys));
        }
        Value::Message(inner) => {
            let is_set = message.has_field(field);
            flat.insert(format!("{place} (set)"), if is_set { "yes" } else { "no" }.to_owned());
            if is_set {
                add_message(inner, &format!("{place}."), flat);
            }
        }
        value => {
            let text = render_single(field, value);
            flat.insert(place, text);
        }
    }
}

/// Adds an element of a list or map.
fn add_item(kind: &Kind, item: &Value, place: String, flat: &mut Flat) {
    match item {
        Value::Message(message) => add_message(message, &format!("{place}."), flat),
        value => {
            flat.insert(place, render(kind, value));
        }
    }
}

fn joined(keys: BTreeSet<String>) -> String {
    keys.into_iter().collect::<Vec<_>>().join(",")
}

fn render_single(field: &FieldDescriptor, value: &Value) -> String {
    let (name, is_default) = (field.name(), value.is_default_for_field(field));
    if IGNORED.contains(&name) {
        return "any".to_owned();
    }
    if VOLATILE.contains(&name) {
        return if is_default { "not set" } else { "set" }.to_owned();
    }
    if FREE_TEXT.contains(&name) {
        return if is_default { "empty" } else { "not empty" }.to_owned();
    }
    render(&field.kind(), value)
}

fn render(kind: &Kind, value: &Value) -> String {
    match value {
        Value::Bool(value) => value.to_string(),
        Value::I32(value) => value.to_string(),
        Value::I64(value) => value.to_string(),
        Value::U32(value) => value.to_string(),
        Value::U64(value) => value.to_string(),
        Value::F32(value) => value.to_string(),
        Value::F64(value) => value.to_string(),
        Value::EnumNumber(number) => {
            let known = kind.as_enum().and_then(|values| values.get_value(*number));
            known.map_or_else(|| number.to_string(), |label| format!("{number} {}", label.name()))
        }
        Value::String(text) => format!("\"{text}\""),
        Value::Bytes(bytes) => format!("0x{}", hex::encode(bytes)),
        // No list of lists, no message where a scalar stands: the callers have taken them apart.
        Value::Message(_) | Value::List(_) | Value::Map(_) => String::new(),
    }
}

fn render_key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(key) => key.to_string(),
        MapKey::I32(key) => key.to_string(),
        MapKey::I64(key) => key.to_string(),
        MapKey::U32(key) => key.to_string(),
        MapKey::U64(key) => key.to_string(),
        MapKey::String(key) => format!("\"{key}\""),
    }
}

/// Removes the indexes and map keys from a place: the field it belongs to.
pub(super) fn field_of(place: &str) -> String {
    let mut field = String::with_capacity(place.len());
    let mut depth = 0_usize;
    for character in place.chars() {
        match character {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 => field.push(character),
            _ => {}
        }
    }
    field
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use zkevm_wire::proto::executor::v1 as wire;

    fn flatten(response: &wire::ProcessBatchResponseV2) -> Flat {
        super::flatten("executor.v1.ProcessBatchResponseV2", &response.encode_to_vec()).unwrap()
    }

    #[test]
    fn lists_maps_and_optional_messages_have_places() {
        let mut response = wire::ProcessBatchResponseV2 { error: 1, prover_id: "abc".into(), ..Default::default() };
        response.block_responses.push(wire::ProcessBlockResponseV2 {
            responses: vec![wire::ProcessTransactionResponseV2 { gas_used: 21_000, ..Default::default() }],
            ..Default::default()
        });
        response
            .read_write_addresses
            .insert("0xaa".into(), wire::InfoReadWriteV2 { nonce: "1".into(), ..Default::default() });
        response.smt_keys = vec![vec![2].into(), vec![1].into()];
        let flat = flatten(&response);
        assert_eq!(flat["block_responses[0].responses[0].gas_used"], "21000");
        assert_eq!(flat["block_responses[0].responses[0].full_trace (set)"], "no");
        assert_eq!(flat["error"], "1 EXECUTOR_ERROR_NO_ERROR");
        assert_eq!(flat["prover_id"], "set");
        assert_eq!(flat["flush_id"], "not set");
        assert_eq!(flat["smt_keys (keys)"], "0x01,0x02");
        assert_eq!(flat["debug (set)"], "no");
        assert_eq!(flat["read_write_addresses[\"0xaa\"].nonce"], "\"1\"");
        assert_eq!(field_of("read_write_addresses[\"0xaa\"].nonce"), "read_write_addresses.nonce");
    }

    #[test]
    fn malformed_bytes_are_an_error() {
        let error = super::flatten("executor.v1.ProcessBatchResponseV2", &[0x0a, 5, 1]).unwrap_err();
        assert!(error.to_string().starts_with("malformed executor.v1.ProcessBatchResponseV2: "), "{error}");
        assert!(super::flatten("executor.v1.Nothing", &[]).is_err());
    }
}
