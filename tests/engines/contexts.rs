//! What comes with a batch: L1 info, forced batches, flags, which transaction is traced.

use std::collections::HashMap;

use alloy_primitives::B256;
use fastrand::Rng;
use zkevm_batch::{L1_INFO_TREE_LEVELS, l1_info_leaf_hash, l1_info_root};
use zkevm_types::{BatchOutput, L1InfoLeaf, TraceConfig, TxOutput, V2Context};

/// One leaf of the L1 info tree, and the root that has it.
pub(crate) struct L1Info {
    pub(crate) index: u32,
    root: B256,
    leaves: HashMap<u32, L1InfoLeaf>,
}

impl L1Info {
    /// Makes a leaf with its proof; one of the two is damaged now and then.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let index = if rng.u8(..8) == 0 { rng.u32(1..) } else { rng.u32(1..6) };
        let mut word = || B256::from(std::array::from_fn(|_| rng.u8(..)));
        let mut leaf = L1InfoLeaf {
            global_exit_root: word(),
            block_hash_l1: word(),
            min_timestamp: 0,
            smt_proof: (0..L1_INFO_TREE_LEVELS).map(|_| word()).collect(),
        };
        leaf.min_timestamp = rng.u64(..1200);
        if rng.u8(..20) == 0 {
            // In forks that know it, no leaf at all.
            leaf = L1InfoLeaf { smt_proof: leaf.smt_proof, ..L1InfoLeaf::default() };
        }
        let mut root = l1_info_root(l1_info_leaf_hash(&leaf), index, &leaf.smt_proof);
        match rng.u8(..30) {
            0 => _ = leaf.smt_proof.pop(),
            1 => root = B256::repeat_byte(1),
            2 => return Self { index, root, leaves: HashMap::new() },
            _ => {}
        }
        Self { index, root, leaves: [(index, leaf)].into() }
    }
}

/// Returns the context of a batch, forced or not.
pub(crate) fn v2(rng: &mut Rng, is_forced: bool, skips_first: bool, l1_info: L1Info) -> V2Context {
    let flags = V2Context {
        timestamp_limit: if rng.u8(..30) == 0 { rng.u64(..2000) } else { u64::from(u32::MAX) },
        skip_first_change_l2_block: skips_first,
        skip_write_block_info_root: rng.u8(..12) == 0,
        skip_verify_l1_info_root: rng.u8(..12) == 0,
        ..V2Context::default()
    };
    if is_forced {
        let (root, hash) = (B256::with_last_byte(rng.u8(..)), B256::repeat_byte(rng.u8(1..)));
        return V2Context { l1_info_root: root, forced_blockhash_l1: hash, ..flags };
    }
    V2Context { l1_info_root: l1_info.root, l1_info_tree_data: l1_info.leaves, ..flags }
}

/// Returns the trace of one of the transactions of a batch, `None` if it has none.
pub(crate) fn trace(rng: &mut Rng, output: &BatchOutput) -> Option<TraceConfig> {
    let in_blocks = output.blocks.iter().flat_map(|block| &block.transactions);
    let hashes: Vec<B256> = in_blocks.chain(&output.transactions).map(|tx: &TxOutput| tx.tx_hash).collect();
    let tx_hash = *hashes.get(rng.usize(..hashes.len().max(1)))?;
    Some(TraceConfig {
        disable_storage: rng.u32(..4) == 0,
        disable_stack: rng.u32(..4) == 0,
        enable_memory: rng.bool(),
        enable_return_data: rng.bool(),
        tx_hash: tx_hash.0.to_vec().into(),
    })
}
