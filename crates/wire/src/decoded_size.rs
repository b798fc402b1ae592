//! How much memory a request takes once it is decoded and validated, told from its bytes before.
//!
//! An empty item of a list takes two bytes on the wire and dozens in memory, an empty entry of a map hundreds. The estimate
//! walks over the fields as the descriptors of the contracts name them, and allocates nothing.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorSet};

use super::proto::FILE_DESCRIPTOR_SET;

/// Memory of a string, a byte string or a list, and of any of them behind it.
const HANDLE_BYTES: usize = 32;
const ALLOCATION_BYTES: usize = 16;
/// Share of a node of a sorted map that an entry takes beside itself.
const MAP_ENTRY_BYTES: usize = 64;
/// A list that grows has room for twice what it holds.
const LIST_GROWTH: usize = 2;
/// Messages inside of each other, at most; no contract has as many.
const DEPTH_MAX: usize = 16;

static COSTS: LazyLock<Costs> = LazyLock::new(Costs::of_contracts);

/// Returns about how many bytes of memory the message called `name` takes, decoded and validated. What the bytes say behind a
/// fault counts nothing: decoding ends there.
pub fn decoded_bytes(name: &str, bytes: &[u8]) -> usize {
    let costs = &*COSTS;
    let Some(message) = costs.by_name.get(name) else { return 2 * bytes.len() };
    let decoded = costs.walk(*message, bytes, 0).saturating_add(costs.messages[*message].own_bytes);
    // While it is validated a part is there twice.
    decoded.saturating_add(decoded / 2)
}

/// What each message of the contracts costs.
#[derive(Debug, Default)]
struct Costs {
    by_name: HashMap<String, usize>,
    messages: Vec<MessageCost>,
}

#[derive(Clone, Debug, Default)]
struct MessageCost {
    /// Memory of its fields without what is behind them.
    own_bytes: usize,
    is_map_entry: bool,
    fields: HashMap<u32, FieldCost>,
}

/// What each occurrence of a field costs.
#[derive(Clone, Copy, Debug)]
enum FieldCost {
    /// A number, in a list or not.
    Number { is_list: bool },
    /// A string or a byte string.
    Text { is_list: bool },
    /// A message, or an entry of a map.
    Message { index: usize, is_list: bool },
}

impl Costs {
    fn of_contracts() -> Self {
        let mut costs = Self::default();
        let Ok(contracts) = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET) else { return costs };
        let mut described = Vec::new();
        for file in &contracts.file {
            collect(file.package(), &file.message_type, &mut described);
        }
        costs.by_name = described.iter().enumerate().map(|(index, (name, _))| (name.clone(), index)).collect();
        costs.messages = described.iter().map(|(_, message)| costs.message(message)).collect();
        // Twice: a message holds others, whose own bytes are known after the first time.
        for _ in 0..2 {
            for (index, (_, message)) in described.iter().enumerate() {
                costs.messages[index].own_bytes = costs.own_bytes(message);
            }
        }
        costs
    }

    fn message(&self, message: &DescriptorProto) -> MessageCost {
        let is_map_entry = message.options.as_ref().is_some_and(|options| options.map_entry());
        let fields =
            message.field.iter().filter_map(|field| Some((u32::try_from(field.number()).ok()?, self.field(field))));
        MessageCost { own_bytes: 0, is_map_entry, fields: fields.collect() }
    }

    fn field(&self, field: &FieldDescriptorProto) -> FieldCost {
        let is_list = field.label() == Label::Repeated;
        match field.r#type() {
            Type::String | Type::Bytes => FieldCost::Text { is_list },
            Type::Message | Type::Group => match self.by_name.get(field.type_name().trim_start_matches('.')) {
                Some(&index) => FieldCost::Message { index, is_list },
                None => FieldCost::Text { is_list },
            },
            _ => FieldCost::Number { is_list },
        }
    }

    fn own_bytes(&self, message: &DescriptorProto) -> usize {
        let of_field = |field: &FieldDescriptorProto| match self.field(field) {
            FieldCost::Number { is_list: false } => 8,
            FieldCost::Message { index, is_list: false } => {
                8 + self.messages.get(index).map_or(0, |inner| inner.own_bytes)
            }
            _ => HANDLE_BYTES,
        };
        message.field.iter().map(of_field).sum()
    }

    fn walk(&self, message: usize, mut bytes: &[u8], depth: usize) -> usize {
        let Some(MessageCost { fields, .. }) = self.messages.get(message).filter(|_| depth < DEPTH_MAX) else {
            return bytes.len();
        };
        let mut total = 0_usize;
        while !bytes.is_empty() {
            let Ok((tag, wire_type)) = decode_key(&mut bytes) else { break };
            let field = fields.get(&tag);
            let Some(content) = content(wire_type, &mut bytes) else { break };
            let cost = match (field, content) {
                (Some(FieldCost::Number { is_list: true }), Some(packed)) => packed.len().max(1) * 8 * LIST_GROWTH,
                (Some(FieldCost::Number { is_list: true }), None) => 8 * LIST_GROWTH,
                (Some(FieldCost::Text { is_list }), Some(text)) => {
                    let handle = if *is_list { HANDLE_BYTES * LIST_GROWTH } else { 0 };
                    handle + if text.is_empty() { 0 } else { text.len() + ALLOCATION_BYTES }
                }
                (Some(FieldCost::Message { index, is_list }), Some(inner)) => {
                    let around = match self.messages.get(*index) {
                        Some(cost) if cost.is_map_entry => MAP_ENTRY_BYTES + LIST_GROWTH * cost.own_bytes,
                        Some(cost) if *is_list => LIST_GROWTH * cost.own_bytes,
                        _ => 0,
                    };
                    self.walk(*index, inner, depth + 1).saturating_add(around)
                }
                _ => 0,
            };
            total = total.saturating_add(cost);
        }
        total
    }
}

/// Passes over the content of a field: `Some(None)` for a number, `None` at a fault.
fn content<'a>(wire_type: WireType, bytes: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let len = match wire_type {
        WireType::Varint => return decode_varint(bytes).ok().map(|_| None),
        WireType::SixtyFourBit => 8,
        WireType::ThirtyTwoBit => 4,
        WireType::LengthDelimited => usize::try_from(decode_varint(bytes).ok()?).ok()?,
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    let (content, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some((wire_type == WireType::LengthDelimited).then_some(content))
}

/// Collects messages with their full names, those inside of others included.
fn collect<'a>(scope: &str, messages: &'a [DescriptorProto], into: &mut Vec<(String, &'a DescriptorProto)>) {
    for message in messages {
        let name = format!("{scope}.{}", message.name());
        collect(&name, &message.nested_type, into);
        into.push((name, message));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::proto::executor::v1 as wire;
    use crate::proto::hashdb::v1 as hashdb;

    const COUNT: usize = 10_000;

    fn per_item(name: &str, message: &impl Message) -> usize {
        decoded_bytes(name, &message.encode_to_vec()) / COUNT
    }

    #[test]
    fn what_is_small_on_the_wire_counts_as_what_it_takes() {
        let batch = "executor.v1.ProcessBatchRequestV2";
        let keys = || (0..COUNT).map(|i| format!("{i:x}"));
        let proofs = wire::L1DataV2 { smt_proof: vec![Default::default(); COUNT], ..Default::default() };
        let proofs = wire::ProcessBatchRequestV2 { l1_info_tree_data: [(1, proofs)].into(), ..Default::default() };
        let l1: BTreeMap<_, _> = (0..COUNT as u32).map(|i| (i, wire::L1DataV2::default())).collect();
        let l1 = wire::ProcessBatchRequestV2 { l1_info_tree_data: l1, ..Default::default() };
        let db =
            wire::ProcessBatchRequestV2 { db: keys().map(|key| (key, String::new())).collect(), ..Default::default() };
        let slots =
            wire::OverrideAccountV2 { state: keys().map(|key| (key, String::new())).collect(), ..Default::default() };
        let slots = wire::ProcessBatchRequestV2 { state_override: [("a".into(), slots)].into(), ..Default::default() };
        let read = hashdb::ReadTreeRequest { keys: vec![hashdb::Fea::default(); COUNT], ..Default::default() };
        // Measured as resident memory of a server, in bytes an item.
        for (name, bytes, measured) in [
            ("proofs", per_item(batch, &proofs), 74),
            ("l1", per_item(batch, &l1), 422),
            ("db", per_item(batch, &db), 238),
            ("slots", per_item(batch, &slots), 246),
            ("keys", per_item("hashdb.v1.ReadTreeRequest", &read), 52),
        ] {
            assert!((measured * 3 / 4..=measured * 2).contains(&bytes), "{name}: {bytes} bytes, measured {measured}");
        }
    }

    #[test]
    fn long_content_counts_about_once() {
        let batch = wire::ProcessBatchRequestV2 { batch_l2_data: vec![1; 100_000].into(), ..Default::default() };
        let bytes = decoded_bytes("executor.v1.ProcessBatchRequestV2", &batch.encode_to_vec());
        assert!((100_000..160_000).contains(&bytes), "{bytes}");
    }

    #[test]
    fn any_bytes_end_the_walk() {
        for bytes in [&[0xff; 40][..], &[0x8a, 0x01, 0xff, 0xff, 0xff, 0xff, 0x0f], &[0x0b; 9], &[0x92, 0x01]] {
            assert!(decoded_bytes("executor.v1.ProcessBatchRequestV2", bytes) < 2000);
        }
    }
}
