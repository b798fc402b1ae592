//! Batch-level hashes (batch §4).

use alloy_primitives::Keccak256;
use alloy_primitives::{Address, B256, U256, keccak256};

use zkevm_tree::{Digest, linear_hash};

/// Returns the accumulated input hash of a V1 batch.
pub fn acc_input_hash_v1(
    old_acc_input_hash: B256,
    batch_l2_data: &[u8],
    global_exit_root: B256,
    eth_timestamp: u64,
    coinbase: Address,
) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(old_acc_input_hash);
    hasher.update(keccak256(batch_l2_data));
    hasher.update(global_exit_root);
    hasher.update(eth_timestamp.to_be_bytes());
    hasher.update(coinbase);
    hasher.finalize()
}

/// Returns the accumulated input hash of a V2 batch.
pub fn acc_input_hash_v2(
    old_acc_input_hash: B256,
    batch_l2_data: &[u8],
    l1_info_root: B256,
    timestamp_limit: u64,
    coinbase: Address,
    forced_blockhash_l1: B256,
) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(old_acc_input_hash);
    hasher.update(keccak256(batch_l2_data));
    hasher.update(l1_info_root);
    hasher.update(timestamp_limit.to_be_bytes());
    hasher.update(coinbase);
    hasher.update(forced_blockhash_l1);
    hasher.finalize()
}

/// Returns the storage slot of `key` in the Solidity mapping at `slot`: keccak(key ‖ pad32(slot)).
pub fn keccak_slot(key: U256, slot: u64) -> U256 {
    let mut preimage = [0u8; 64];
    preimage[..32].copy_from_slice(&key.to_be_bytes::<32>());
    preimage[56..].copy_from_slice(&slot.to_be_bytes());
    keccak256(preimage).into()
}

/// Returns the hash that stands for a log in the block info tree (batch §9).
pub fn log_hash(data: &[u8], topics: &[B256]) -> Digest {
    linear_hash(&log_preimage(data, topics))
}

/// Returns what [`log_hash`] is the linear hash of: exact data, then the topics.
pub fn log_preimage(data: &[u8], topics: &[B256]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(data.len() + 32 * topics.len());
    bytes.extend_from_slice(data);
    topics.iter().for_each(|topic| bytes.extend_from_slice(topic.as_slice()));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::{address, b256, uint};

    #[test]
    fn slot_of_block_hash_zero() {
        let expected = uint!(0xa6eef7e35abe7026729641147f7915573c7e97b47efa546f5f6e3230263bcb49_U256);
        assert_eq!(keccak_slot(U256::ZERO, 1), expected);
    }

    #[test]
    fn accumulated_hashes_of_the_specification_examples() {
        let coinbase = address!("617b3a3528F9cDd6630fd3301B9c8911F7Bf063D");
        let ger = b256!("090bcaf734c4f06c93954a827b45a6e8c67b8e0fd1e0a35a1c5982d6961828f9");
        let tx = hex::decode(concat!(
            "ef80843b9aca00830186a0944d5cf5032b2a844602278b01199ed191a86c93ff8901314fb37062980000808203e88080",
            "f9ea8e90ae323e360a22bd0b1a972d15cb33df6ccbfbada4a0d49792d1164ea5",
            "6029d84d5093a7186fb5bf2f1b7258d57e9c09ac89c4cb8eb44a3c961c4dd89b1bff"
        ))
        .unwrap();
        assert_eq!(
            acc_input_hash_v1(B256::ZERO, &tx, ger, 1_944_498_031, coinbase),
            b256!("94f26844ae8499200eb4d472c28ace6d527548ccff182dea8bb6781cd7d5259e")
        );
        let data = [hex::decode("0b73e6af6f00000000").unwrap(), tx].concat();
        assert_eq!(
            acc_input_hash_v2(B256::ZERO, &data, ger, 1_944_498_035, coinbase, B256::ZERO),
            b256!("e90aebab9b50f404ab1b422b3577c9bd8c1261ea3483eb1a3c5283049c0ba3bf")
        );
    }
}
