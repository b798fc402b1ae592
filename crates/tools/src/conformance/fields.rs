//! Serialised messages as flat lists of fields, walked by descriptor: no field can be forgotten.
//!
//! Each value gets a *place* such as `responses[2].logs[0].data`; with the indexes removed that is its *field*. Lists
//! and maps have an entry of their own with their length or keys, optional messages one that says whether they are set.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Fields whose values mean nothing between two runs: only set or not set is kept.
const VOLATILE: [&str; 2] = ["prover_id", "flush_id"];
/// Fields not compared: the recordings were made without a database, where `stored_flush_id` stays 0 for ever and
/// clients that wait for it would hang; a server with a store reports what it stored (executor-service §9).
const IGNORED: [&str; 1] = ["stored_flush_id"];
/// Free text: only empty or not is kept.
const FREE_TEXT: [&str; 1] = ["error_log"];
/// Lists without a defined order.
const UNORDERED: [&str; 2] = ["smt_keys", "program_keys"];
/// Nesting at which a message is not followed any more.
const DEPTH_MAX: usize = 16;

/// Suffix of an entry that holds a set of keys, joined by commas.
pub const KEYS: &str = " (keys)";

/// A message as place → value.
pub type Flat = BTreeMap<String, String>;

/// The messages of the contract by full name.
#[derive(Debug)]
pub struct Schema {
    messages: HashMap<String, MessageType>,
    enums: HashMap<String, HashMap<i32, String>>,
}

#[derive(Debug)]
struct MessageType {
    is_map_entry: bool,
    fields: Vec<FieldType>,
}

#[derive(Debug)]
struct FieldType {
    number: u32,
    name: String,
    repeated: bool,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Number,
    Signed,
    Enum(String),
    Text,
    Bytes,
    Message(String),
}

/// One value on the wire.
#[derive(Clone, Copy, Debug)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Why a message cannot be walked.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The bytes end inside a field, or hold a wire type proto3 does not use.
    #[error("malformed message at `{0}`")]
    Malformed(String),
    /// The schema does not know the message.
    #[error("no descriptor for message `{0}`")]
    Unknown(String),
}

impl Schema {
    /// Reads the descriptors of the contract.
    pub fn new(descriptor_set: &[u8]) -> Result<Self, prost::DecodeError> {
        let set = FileDescriptorSet::decode(descriptor_set)?;
        let mut schema = Self { messages: HashMap::new(), enums: HashMap::new() };
        for file in &set.file {
            let package = format!(".{}", file.package());
            for item in &file.enum_type {
                schema.add_enum(&package, item);
            }
            for message in &file.message_type {
                schema.add_message(&package, message);
            }
        }
        Ok(schema)
    }

    /// Flattens the serialised message of this full name, such as `executor.v1.ProcessBatchResponse`.
    pub fn flatten(&self, message: &str, bytes: &[u8]) -> Result<Flat, WalkError> {
        let mut flat = Flat::new();
        self.walk(&format!(".{message}"), bytes, "", DEPTH_MAX, &mut flat)?;
        Ok(flat)
    }

    fn add_enum(&mut self, scope: &str, item: &prost_types::EnumDescriptorProto) {
        let values = item.value.iter().map(|value| (value.number(), value.name().to_owned())).collect();
        self.enums.insert(format!("{scope}.{}", item.name()), values);
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto) {
        let name = format!("{scope}.{}", message.name());
        message.nested_type.iter().for_each(|nested| self.add_message(&name, nested));
        message.enum_type.iter().for_each(|nested| self.add_enum(&name, nested));
        let is_map_entry = message.options.as_ref().is_some_and(|options| options.map_entry());
        let fields = message.field.iter().map(FieldType::new).collect();
        self.messages.insert(name, MessageType { is_map_entry, fields });
    }

    fn message(&self, name: &str) -> Result<&MessageType, WalkError> {
        self.messages.get(name).ok_or_else(|| WalkError::Unknown(name.to_owned()))
    }

    fn walk(&self, name: &str, bytes: &[u8], prefix: &str, depth: usize, flat: &mut Flat) -> Result<(), WalkError> {
        let message = self.message(name)?;
        let mut values = split(bytes).ok_or_else(|| WalkError::Malformed(prefix.to_owned()))?;
        for field in &message.fields {
            let found = values.remove(&field.number).unwrap_or_default();
            self.walk_field(field, &found, &format!("{prefix}{}", field.name), depth, flat)?;
        }
        for (number, found) in values {
            flat.insert(format!("{prefix}unknown field {number}"), format!("{} values", found.len()));
        }
        Ok(())
    }

    fn walk_field(
        &self,
        field: &FieldType,
        found: &[Wire<'_>],
        place: &str,
        depth: usize,
        flat: &mut Flat,
    ) -> Result<(), WalkError> {
        if let Kind::Message(name) = &field.kind {
            if depth == 0 {
                return Err(WalkError::Malformed(place.to_owned()));
            }
            if self.message(name)?.is_map_entry {
                return self.walk_map(name, found, place, depth, flat);
            }
            if field.repeated {
                flat.insert(format!("{place} (count)"), found.len().to_string());
            } else {
                flat.insert(format!("{place} (set)"), if found.is_empty() { "no" } else { "yes" }.to_owned());
            }
            for (index, value) in found.iter().enumerate() {
                let Wire::Bytes(bytes) = value else { return Err(WalkError::Malformed(place.to_owned())) };
                let prefix = if field.repeated { format!("{place}[{index}].") } else { format!("{place}.") };
                self.walk(name, bytes, &prefix, depth - 1, flat)?;
            }
            return Ok(());
        }
        if !field.repeated {
            flat.insert(place.to_owned(), self.render_single(field, found.last().copied()));
            return Ok(());
        }
        let values: Vec<String> = found.iter().map(|value| self.render(&field.kind, Some(*value))).collect();
        if UNORDERED.contains(&field.name.as_str()) {
            let sorted: BTreeSet<String> = values.into_iter().collect();
            flat.insert(format!("{place}{KEYS}"), sorted.into_iter().collect::<Vec<_>>().join(","));
            return Ok(());
        }
        flat.insert(format!("{place} (count)"), values.len().to_string());
        for (index, value) in values.into_iter().enumerate() {
            flat.insert(format!("{place}[{index}]"), value);
        }
        Ok(())
    }

    fn walk_map(
        &self,
        entry: &str,
        found: &[Wire<'_>],
        place: &str,
        depth: usize,
        flat: &mut Flat,
    ) -> Result<(), WalkError> {
        let malformed = || WalkError::Malformed(place.to_owned());
        let [key_field, value_field] = self.message(entry)?.fields.as_slice() else { return Err(malformed()) };
        let mut keys = BTreeSet::new();
        for value in found {
            let Wire::Bytes(bytes) = value else { return Err(malformed()) };
            let mut parts = split(bytes).ok_or_else(malformed)?;
            let key = self.render(&key_field.kind, parts.remove(&1).and_then(|values| values.last().copied()));
            let content = parts.remove(&2).unwrap_or_default();
            match &value_field.kind {
                Kind::Message(name) => {
                    let bytes = match content.last() {
                        Some(Wire::Bytes(bytes)) => bytes,
                        _ => &[][..],
                    };
                    self.walk(name, bytes, &format!("{place}[{key}]."), depth - 1, flat)?;
                }
                kind => {
                    flat.insert(format!("{place}[{key}]"), self.render(kind, content.last().copied()));
                }
            }
            keys.insert(key);
        }
        flat.insert(format!("{place}{KEYS}"), keys.into_iter().collect::<Vec<_>>().join(","));
        Ok(())
    }

    fn render_single(&self, field: &FieldType, value: Option<Wire<'_>>) -> String {
        let is_default = match value {
            None | Some(Wire::Number(0)) => true,
            Some(Wire::Number(_)) => false,
            Some(Wire::Bytes(bytes)) => bytes.is_empty(),
        };
        let name = field.name.as_str();
        if IGNORED.contains(&name) {
            return "any".to_owned();
        }
        if VOLATILE.contains(&name) {
            return if is_default { "not set" } else { "set" }.to_owned();
        }
        if FREE_TEXT.contains(&name) {
            return if is_default { "empty" } else { "not empty" }.to_owned();
        }
        self.render(&field.kind, value)
    }

    fn render(&self, kind: &Kind, value: Option<Wire<'_>>) -> String {
        let number = match value {
            Some(Wire::Number(number)) => number,
            _ => 0,
        };
        let bytes = match value {
            Some(Wire::Bytes(bytes)) => bytes,
            _ => &[],
        };
        match kind {
            Kind::Number => number.to_string(),
            Kind::Signed => (number as i64).to_string(),
            Kind::Enum(name) => {
                let value = number as i32;
                let known = self.enums.get(name).and_then(|values| values.get(&value));
                known.map_or_else(|| value.to_string(), |label| format!("{value} {label}"))
            }
            Kind::Text => format!("\"{}\"", String::from_utf8_lossy(bytes)),
            Kind::Bytes | Kind::Message(_) => format!("0x{}", hex::encode(bytes)),
        }
    }
}

impl FieldType {
    fn new(field: &FieldDescriptorProto) -> Self {
        let kind = match field.r#type() {
            Type::String => Kind::Text,
            Type::Bytes => Kind::Bytes,
            Type::Message | Type::Group => Kind::Message(field.type_name().to_owned()),
            Type::Enum => Kind::Enum(field.type_name().to_owned()),
            Type::Int32 | Type::Int64 | Type::Sfixed32 | Type::Sfixed64 => Kind::Signed,
            _ => Kind::Number,
        };
        let repeated = field.label() == Label::Repeated;
        Self { number: field.number().unsigned_abs(), name: field.name().to_owned(), repeated, kind }
    }
}

/// Removes the indexes and map keys from a place: the field it belongs to.
pub fn field_of(place: &str) -> String {
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

/// Groups the values of a message by field number; `None` if the bytes are malformed.
fn split(mut bytes: &[u8]) -> Option<BTreeMap<u32, Vec<Wire<'_>>>> {
    let mut values: BTreeMap<u32, Vec<Wire<'_>>> = BTreeMap::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Wire::Number(varint(&mut bytes)?),
            1 => Wire::Number(u64::from_le_bytes(take(&mut bytes, 8)?.try_into().ok()?)),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Wire::Bytes(take(&mut bytes, length)?)
            }
            5 => Wire::Number(u32::from_le_bytes(take(&mut bytes, 4)?.try_into().ok()?).into()),
            _ => return None,
        };
        values.entry(u32::try_from(key >> 3).ok()?).or_default().push(value);
    }
    Some(values)
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(length)?;
    *bytes = tail;
    Some(head)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    prost::encoding::decode_varint(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use zkevm_wire::proto::FILE_DESCRIPTOR_SET;
    use zkevm_wire::proto::executor::v1 as wire;

    fn flatten(response: &wire::ProcessBatchResponseV2) -> Flat {
        let schema = Schema::new(FILE_DESCRIPTOR_SET).unwrap();
        schema.flatten("executor.v1.ProcessBatchResponseV2", &response.encode_to_vec()).unwrap()
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
        let schema = Schema::new(FILE_DESCRIPTOR_SET).unwrap();
        assert!(schema.flatten("executor.v1.ProcessBatchResponseV2", &[0x0a, 5, 1]).is_err());
        assert!(schema.flatten("executor.v1.Nothing", &[]).is_err());
    }
}
