//! The L1 info tree: leaves and Merkle proofs (batch §7.1).

use alloy_primitives::Keccak256;
use alloy_primitives::{B256, b256};

use zkevm_types::L1InfoLeaf;

/// Height of the L1 info tree.
pub const L1_INFO_TREE_LEVELS: usize = 32;

/// Hash of the leaf whose three fields are zero; fork 9 treats it as the empty leaf.
pub const ZERO_LEAF_HASH: B256 = b256!("3cac317908c699fe873a7f6ee4e8cd63fbe9918b2315c97be91585590168e301");

/// Returns keccak(ger ‖ L1 block hash ‖ minimum timestamp).
pub fn l1_info_leaf_hash(leaf: &L1InfoLeaf) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(leaf.global_exit_root);
    hasher.update(leaf.block_hash_l1);
    hasher.update(leaf.min_timestamp.to_be_bytes());
    hasher.finalize()
}

/// Folds a proof, bottom up, to the root it proves.
pub fn l1_info_root(leaf: B256, index: u32, proof: &[B256]) -> B256 {
    let pair = |left: B256, right: B256| {
        let mut hasher = Keccak256::new();
        hasher.update(left);
        hasher.update(right);
        hasher.finalize()
    };
    proof.iter().take(L1_INFO_TREE_LEVELS).enumerate().fold(leaf, |node, (level, sibling)| {
        if index >> level & 1 == 0 { pair(node, *sibling) } else { pair(*sibling, node) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaf_hashes_of_the_specification() {
        assert_eq!(l1_info_leaf_hash(&L1InfoLeaf::default()), ZERO_LEAF_HASH);
        let leaf = L1InfoLeaf {
            global_exit_root: b256!("16994edfddddb9480667b64174fc00d3b6da7290d37b8db3a16571b4ddf0789f"),
            block_hash_l1: b256!("24a5871d68723340d9eadc674aa8ad75f3e33b61d5a9db7db92af856a19270bb"),
            min_timestamp: 42,
            smt_proof: Vec::new(),
        };
        assert_eq!(l1_info_leaf_hash(&leaf), b256!("0312659ccc1839f6cdc8db9cbaefabc1ee9a9c1f71b3a20ceb906d80575c5736"));
    }
}
