//! Bytes of hashes, nodes and the latest root in a database (state-tree §9), the same in every kind of database.
//!
//! The order of limbs differs on purpose: a hash starts with its most significant limb, the data of a node with element 0.

use alloy_primitives::B256;

use zkevm_tree::StoreError;
use zkevm_tree::goldilocks::canonical;
use zkevm_tree::{Digest, NodeData};

/// Key of the row that names the latest root. No hash is like that: its limbs are not field elements.
pub const LATEST_ROOT_KEY: [u8; 32] = [0xff; 32];
/// Bytes of a node's data.
pub const NODE_BYTES: usize = 96;
/// Bytes of a node's data without its capacity, which is then zero.
pub const CONTENT_BYTES: usize = 64;

/// Returns the key of a node or program.
pub fn hash_bytes(hash: &Digest) -> [u8; 32] {
    hash.to_b256().0
}

/// Reads the key of a node or program.
pub fn hash_from_bytes(bytes: &[u8; 32]) -> Digest {
    B256::from(*bytes).into()
}

/// Returns the data of a node: its elements in order, each big-endian.
pub fn node_bytes(node: &NodeData) -> [u8; NODE_BYTES] {
    let mut bytes = [0; NODE_BYTES];
    for (place, element) in bytes.chunks_exact_mut(8).zip(node) {
        place.copy_from_slice(&element.to_be_bytes());
    }
    bytes
}

/// Reads the data of a node, with or without capacity. Elements are reduced modulo the prime. `place` is where the bytes are.
///
/// Fails with [`StoreError::InvalidNodeSize`] on any other length.
pub fn node_from_bytes(hash: &Digest, bytes: &[u8], place: impl FnOnce() -> String) -> Result<NodeData, StoreError> {
    if bytes.len() != NODE_BYTES && bytes.len() != CONTENT_BYTES {
        return Err(StoreError::InvalidNodeSize { hash: *hash, elements: bytes.len() / 8, place: place() });
    }
    let mut node = [0; 12];
    for (element, place) in node.iter_mut().zip(bytes.chunks_exact(8)) {
        let limb = place.iter().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
        *element = canonical(limb);
    }
    Ok(node)
}

/// Returns the data of the latest-root row: the root's limbs 0 to 3, then zeros.
pub fn root_row(root: &Digest) -> [u8; NODE_BYTES] {
    let mut row = [0; 12];
    row[..4].copy_from_slice(&root.0);
    node_bytes(&row)
}

/// Reads the latest-root row. `place` is where it is.
pub fn root_from_row(bytes: &[u8], place: impl FnOnce() -> String) -> Result<Digest, StoreError> {
    let row = node_from_bytes(&Digest([u64::MAX; 4]), bytes, place)?;
    Ok(Digest([row[0], row[1], row[2], row[3]]))
}

#[cfg(test)]
mod tests {
    use alloy_primitives::b256;

    use super::*;

    /// A leaf of the public fork-9 input with one account of 1000 ETH (state-tree §9).
    #[test]
    fn a_row_of_the_specification_is_written_and_read() {
        let row = "cddc57c0d0fdd4edd24df1950f2d8f154c2f3e938869b82d649e63bfe1247ba4b69b044f5e694795f57d81efba5d4445\
                   339438195426ad0a3efad1dd58c2259d0000000000000001000000000000000000000000000000000000000000000000";
        let hash: Digest = b256!("3ca39a7b5b419d1c50c89a8d15d1234f6cbc8baadb465efb609832bbc19f9026").into();
        assert_eq!(hash_bytes(&hash)[..2], [0x3c, 0xa3]);
        let bytes = hex::decode(row).unwrap();
        let node = node_from_bytes(&hash, &bytes, String::new).unwrap();
        assert_eq!((node[0], node[7], node[8]), (0xcddc57c0d0fdd4ed, 0x3efad1dd58c2259d, 1));
        assert_eq!(zkevm_tree::poseidon::hash_node(&node), hash);
        assert_eq!(node_bytes(&node)[..], bytes);
    }

    #[test]
    fn a_missing_capacity_reads_as_zeros_and_other_lengths_are_refused() {
        let node = node_from_bytes(&Digest::ZERO, &[1; 64], String::new).unwrap();
        assert_eq!((node[7], node[8]), (0x0101010101010101, 0));
        let error = node_from_bytes(&Digest::ZERO, &[1; 72], || "a row".to_owned()).unwrap_err();
        assert_eq!(error, StoreError::InvalidNodeSize { hash: Digest::ZERO, elements: 9, place: "a row".to_owned() });
    }

    #[test]
    fn the_root_row_starts_with_the_least_significant_limb() {
        let root = Digest([1, 2, 3, 4]);
        assert_eq!(root_row(&root)[7], 1);
        assert_eq!(root_from_row(&root_row(&root), String::new), Ok(root));
    }
}
