//! Messages in protobuf's text form, for people: walked by the descriptors of the contract, so no field is forgotten.

use std::sync::OnceLock;

use prost_reflect::text_format::FormatOptions;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};

use super::proto::{CLIENT_DESCRIPTOR_SET, FILE_DESCRIPTOR_SET};

/// Returns the descriptor of the message type with this full name, such as `executor.v1.ProcessBatchRequest`.
pub fn message_type(type_name: &str) -> Option<MessageDescriptor> {
    static CONTRACTS: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    CONTRACTS.get_or_init(contracts).as_ref()?.get_message_by_name(type_name)
}

/// Returns the text of an encoded message of the type with this full name. Undecodable input becomes a comment line.
pub fn text_form(type_name: &str, encoded: &[u8]) -> String {
    let Some(message_type) = message_type(type_name) else {
        return format!("# unknown message type {type_name}");
    };
    match DynamicMessage::decode(message_type, encoded) {
        Ok(message) => message.to_text_format_with_options(&FormatOptions::new().pretty(true)),
        Err(error) => format!("# not a {type_name}: {error}"),
    }
}

/// Returns the same as the content of a file.
pub fn text_file(type_name: &str, encoded: &[u8]) -> Vec<u8> {
    let mut text = text_form(type_name, encoded);
    text.push('\n');
    text.into_bytes()
}

fn contracts() -> Option<DescriptorPool> {
    let mut contracts = DescriptorPool::decode(FILE_DESCRIPTOR_SET).ok()?;
    contracts.decode_file_descriptor_set(CLIENT_DESCRIPTOR_SET).ok()?;
    Some(contracts)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::proto::executor::v1 as wire;

    #[test]
    fn a_request_reads_as_text_and_rubbish_says_so() {
        let mut request = wire::ProcessBatchRequestV2 { chain_id: 1001, ..Default::default() };
        request.coinbase = "0x01".to_owned();
        request.contracts_bytecode.insert("02".to_owned(), "6001".to_owned());
        let text = text_form("executor.v1.ProcessBatchRequestV2", &request.encode_to_vec());
        assert!(text.contains("chain_id: 1001") && text.contains("coinbase: \"0x01\""), "{text}");
        assert!(text.contains("key: \"02\"") && text.contains("value: \"6001\""), "{text}");
        assert!(text_form("executor.v1.ProcessBatchRequestV2", &[0xff]).starts_with("# not a "));
        assert!(text_form("executor.v1.Nothing", &[]).starts_with("# unknown message type"));
    }
}
