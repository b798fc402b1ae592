//! `payload_<batch>.json`: the stateless request of a batch as cdk-erigon dumps it (later-forks §9.5).
//!
//! The JSON that Go writes of the request message: names in snake case, bytes in base64, what is zero left out.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::bytes::Bytes;
use serde::{Deserialize, Deserializer};

use zkevm_wire::proto::executor::v1 as wire;

#[derive(Debug, Deserialize)]
struct Payload {
    #[serde(deserialize_with = "base64")]
    witness: Bytes,
    #[serde(deserialize_with = "base64")]
    data_stream: Bytes,
    #[serde(default)]
    coinbase: String,
    #[serde(default, deserialize_with = "base64")]
    old_acc_input_hash: Bytes,
    #[serde(default, deserialize_with = "base64")]
    l1_info_root: Bytes,
    #[serde(default)]
    timestamp_limit: u64,
    #[serde(default, deserialize_with = "base64")]
    forced_blockhash_l1: Bytes,
    #[serde(default)]
    context_id: String,
    #[serde(default)]
    l1_info_tree_index_min_timestamp: BTreeMap<u64, u64>,
    #[serde(default)]
    no_counters: u32,
}

/// Reads the request of a dump; `None` if the text is something else, or a dump that is damaged.
pub(super) fn read(text: &[u8]) -> Option<wire::ProcessStatelessBatchRequestV2> {
    let payload: Payload = serde_json::from_slice(text).ok()?;
    Some(wire::ProcessStatelessBatchRequestV2 {
        witness: payload.witness,
        data_stream: payload.data_stream,
        coinbase: payload.coinbase,
        old_acc_input_hash: payload.old_acc_input_hash,
        l1_info_root: payload.l1_info_root,
        timestamp_limit: payload.timestamp_limit,
        forced_blockhash_l1: payload.forced_blockhash_l1,
        context_id: payload.context_id,
        trace_config: None,
        l1_info_tree_index_min_timestamp: payload.l1_info_tree_index_min_timestamp,
        no_counters: payload.no_counters,
    })
}

fn base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map(Bytes::from).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_becomes_the_request() {
        let text = r#"{"witness": "AQID", "data_stream": "BA==", "coinbase": "0x01", "timestamp_limit": 18446744073709551615,
            "forced_blockhash_l1": "AA==", "context_id": "7", "l1_info_tree_index_min_timestamp": {"5": 6}}"#;
        let request = read(text.as_bytes()).expect("a dump");
        assert_eq!((&request.witness[..], &request.data_stream[..]), (&[1, 2, 3][..], &[4][..]));
        assert_eq!((request.timestamp_limit, &request.forced_blockhash_l1[..]), (u64::MAX, &[0][..]));
        assert_eq!(request.l1_info_tree_index_min_timestamp, [(5, 6)].into());
        assert!(request.old_acc_input_hash.is_empty() && request.no_counters == 0);
    }

    #[test]
    fn anything_else_is_none() {
        for text in ["", "{}", "[]", r#"{"witness": "AQID"}"#, r#"{"witness": "?", "data_stream": ""}"#] {
            assert!(read(text.as_bytes()).is_none(), "{text}");
        }
    }
}
