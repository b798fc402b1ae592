//! The block info tree of one L2 block (batch §9).

use revm::primitives::{B256, U256};

use zkevm_batch::log_preimage;
use zkevm_batch::observer::BlockHeader;
use zkevm_tree::poseidon::{linear_hash_many, linear_permutations};
use zkevm_tree::{BlockInfoKind, Digest, KeyCache, StateTree, TreeError, TreeMemory, TreeRef};

/// Header fields, indices of kind `Header` (batch §9).
mod header {
    pub(crate) const PREVIOUS_BLOCK_HASH: u64 = 0;
    pub(crate) const COINBASE: u64 = 1;
    pub(crate) const BLOCK_NUMBER: u64 = 2;
    pub(crate) const GAS_LIMIT: u64 = 3;
    pub(crate) const TIMESTAMP: u64 = 4;
    pub(crate) const GER: u64 = 5;
    pub(crate) const BLOCK_HASH_L1: u64 = 6;
    pub(crate) const GAS_USED: u64 = 7;
}

/// Leaves of a block info tree in the making.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockInfo {
    keys: Vec<(BlockInfoKind, u64, u64)>,
    values: Vec<U256>,
    /// What the values of logs are the hashes of, and where they stand: hashed together at the end.
    logs: Vec<(usize, Vec<u8>)>,
}

/// A block info tree that is complete.
#[derive(Clone, Debug)]
pub(crate) struct FinishedBlockInfo {
    /// Its root.
    pub(crate) root: B256,
    /// Keys of all leaves, those without value included.
    pub(crate) keys: Vec<Digest>,
    /// Poseidon permutations that leaves and root took.
    pub(crate) permutations: u64,
}

impl BlockInfo {
    /// Inserts the header leaves (batch §9.1).
    pub(crate) fn insert_header(&mut self, block: &BlockHeader) {
        self.insert_header_field(header::PREVIOUS_BLOCK_HASH, block.parent_hash.into());
        self.insert_header_field(header::COINBASE, U256::from_be_slice(block.coinbase.as_slice()));
        self.insert_header_field(header::BLOCK_NUMBER, U256::from(block.number));
        self.insert_header_field(header::GAS_LIMIT, U256::from(block.gas_limit));
        self.insert_header_field(header::TIMESTAMP, block.timestamp);
        self.insert_header_field(header::GER, block.ger.into());
        self.insert_header_field(header::BLOCK_HASH_L1, block.block_hash_l1.into());
    }

    /// Inserts a log: exact data and topics, whatever the response shows (batch §9.2).
    pub(crate) fn insert_log(&mut self, tx_index: u64, log_index: u64, data: &[u8], topics: &[B256]) {
        self.logs.push((self.values.len(), log_preimage(data, topics)));
        self.insert(BlockInfoKind::Log, tx_index, log_index, U256::ZERO);
    }

    /// Inserts the leaves of an included transaction (batch §9.2).
    pub(crate) fn insert_transaction(
        &mut self,
        tx_index: u64,
        tx_hash_l2: Digest,
        status: bool,
        cumulative_gas_used: u64,
        percentage: u8,
    ) {
        self.insert(BlockInfoKind::TxHash, tx_index, 0, tx_hash_l2.to_u256());
        self.insert(BlockInfoKind::Status, tx_index, 0, U256::from(u8::from(status)));
        self.insert(BlockInfoKind::CumulativeGas, tx_index, 0, U256::from(cumulative_gas_used));
        self.insert(BlockInfoKind::EffectivePercentage, tx_index, 0, U256::from(percentage));
    }

    /// Inserts the gas used by the block (batch §9.3).
    pub(crate) fn insert_gas_used(&mut self, gas_used: u64) {
        self.insert_header_field(header::GAS_USED, U256::from(gas_used));
    }

    /// Computes the root of all leaves. A zero value leaves no leaf. `memory` is used and left for the next tree.
    pub(crate) fn finish(
        mut self,
        known: &mut KeyCache,
        memory: &mut TreeMemory,
    ) -> Result<FinishedBlockInfo, TreeError> {
        let preimages: Vec<&[u8]> = self.logs.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        let log_permutations: u64 = preimages.iter().map(|bytes| linear_permutations(bytes)).sum();
        for ((index, _), hash) in self.logs.iter().zip(linear_hash_many(&preimages)) {
            self.values[*index] = hash.to_u256();
        }
        let keys = known.block_info_keys(&self.keys);
        let mut entries: Vec<_> = keys.iter().copied().zip(self.values).filter(|(_, value)| !value.is_zero()).collect();
        let mut tree = StateTree::in_memory_with(std::mem::take(memory));
        let version = tree.update(TreeRef::EMPTY, &mut entries)?;
        let root = tree.root(version).to_b256();
        let permutations = log_permutations + tree.permutations();
        *memory = tree.into_memory();
        Ok(FinishedBlockInfo { root, keys, permutations })
    }

    fn insert_header_field(&mut self, field: u64, value: U256) {
        self.insert(BlockInfoKind::Header, field, 0, value);
    }

    fn insert(&mut self, kind: BlockInfoKind, index: u64, log_index: u64, value: U256) {
        self.keys.push((kind, index, log_index));
        self.values.push(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use revm::primitives::{address, b256};

    /// The block of batch §16.2 in forks 8 and 9.
    #[test]
    fn root_of_the_specification_example() {
        let mut info = BlockInfo::default();
        info.insert_header(&BlockHeader {
            parent_hash: b256!("3ca39a7b5b419d1c50c89a8d15d1234f6cbc8baadb465efb609832bbc19f9026"),
            coinbase: address!("617b3a3528F9cDd6630fd3301B9c8911F7Bf063D"),
            number: 1,
            gas_limit: 1 << 50,
            timestamp: U256::from(0x73e6_af6f_u64),
            ger: B256::ZERO,
            block_hash_l1: B256::ZERO,
        });
        let tx_hash_l2 = b256!("f3931966832714d2ff842e3ec070a96b03dafb8d501e6e26244d988b66b42033");
        info.insert_transaction(0, tx_hash_l2.into(), true, 21_000, 255);
        info.insert_gas_used(21_000);
        let info = info.finish(&mut KeyCache::new(16), &mut TreeMemory::default()).unwrap();
        assert_eq!(info.root, b256!("ffef17188127722ba0bdc7861a3d586a888e0a29bb0eec9039a55255ad0866cb"));
        assert_eq!(info.keys.len(), 12);
    }
}
