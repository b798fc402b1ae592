//! Prices tree accesses by the shape of the trees at each of them (exact-counters: P = proof hash counter + 2).
//!
//! Three trees take part: the state tree, the tree of touched accounts and slots, which starts empty with every
//! transaction, and the block info tree, which starts empty with every block. Versions are cheap, so the changes of a
//! frame that failed are taken back by going to the version before it; what they cost stays.

use super::key_trie::{Checkpoint, KeyTrie};
use super::proof_accesses::Access;
use zkevm_batch::observer::StateAccess;
use zkevm_tree::{BlockInfoKind, Digest, LeafKind, StateTree, TreeError, TreeRef, block_info_key};

/// Poseidon hashes that the key of an access takes, beside those of its proof.
const KEY_HASHES: u64 = 2;

/// Shapes of the three trees, between accesses.
#[derive(Debug)]
pub(crate) struct ProofCost {
    /// Touched accounts and slots of the running transaction.
    touched: KeyTrie,
    /// Block info leaves of the open block.
    info: KeyTrie,
    state: TreeRef,
    log_index: u64,
    /// Index of the open transaction in its block.
    tx_index: u64,
    frames: Vec<Frame>,
    /// A transaction is being priced.
    in_transaction: bool,
}

/// What a failed frame goes back to.
#[derive(Clone, Copy, Debug)]
struct Frame {
    state: TreeRef,
    touched: Checkpoint,
    info: Checkpoint,
    log_index: u64,
}

impl Default for ProofCost {
    fn default() -> Self {
        Self {
            touched: KeyTrie::default(),
            info: KeyTrie::default(),
            state: TreeRef::EMPTY,
            log_index: 0,
            tx_index: 0,
            frames: Vec::new(),
            in_transaction: false,
        }
    }
}

impl ProofCost {
    /// Prices accesses of the transaction that started at `start`: the next ones, until [`Self::end_transaction`]. Returns
    /// Poseidon hashes.
    ///
    /// Stops at an access that the store cannot answer: the batch itself fails there.
    pub(crate) fn accesses(
        &mut self,
        accesses: &[Access],
        start: TreeRef,
        state: &mut StateAccess<'_, '_>,
    ) -> Result<u64, TreeError> {
        if !self.in_transaction {
            self.touched.clear();
            self.state = start;
            self.frames.clear();
            self.in_transaction = true;
        }
        let mut hashes = 0;
        for access in accesses {
            hashes += self.access(access, start, state)?;
        }
        Ok(hashes)
    }

    /// Ends the transaction: the accesses that follow are another one's.
    pub(crate) const fn end_transaction(&mut self) {
        self.in_transaction = false;
    }

    fn access(&mut self, access: &Access, start: TreeRef, state: &mut StateAccess<'_, '_>) -> Result<u64, TreeError> {
        match *access {
            Access::Read(address, kind) => {
                let key = state.keys.account_key(address, kind);
                read(state.tree, self.state, &key)
            }
            Access::ReadSlot(address, slot) => {
                let key = state.keys.storage_key(address, slot);
                read(state.tree, self.state, &key)
            }
            Access::ReadOriginalSlot(address, slot) => {
                let key = state.keys.storage_key(address, slot);
                read(state.tree, start, &key)
            }
            Access::Write(address, kind, present) => {
                let key = state.keys.account_key(address, kind);
                write(state.tree, &mut self.state, &key, present)
            }
            Access::WriteSlot(address, slot, present) => {
                let key = state.keys.storage_key(address, slot);
                write(state.tree, &mut self.state, &key, present)
            }
            Access::TouchAccount(address) => {
                let key = state.keys.account_key(address, LeafKind::TouchedAccount);
                Ok(touch(&mut self.touched, &key))
            }
            Access::TouchSlot(address, slot) => {
                let key = state.keys.touched_slot_key(address, slot);
                Ok(touch(&mut self.touched, &key))
            }
            Access::Log => {
                let index = self.log_index;
                self.log_index += 1;
                let key = state.keys.log_key(self.tx_index, index);
                Ok(KEY_HASHES + self.info.write(&key))
            }
            Access::Enter => {
                self.frames.push(Frame {
                    state: self.state,
                    touched: self.touched.checkpoint(),
                    info: self.info.checkpoint(),
                    log_index: self.log_index,
                });
                Ok(0)
            }
            Access::Leave(keeps) => {
                if let Some(before) = self.frames.pop().filter(|_| !keeps) {
                    self.state = before.state;
                    self.touched.revert(before.touched);
                    self.info.revert(before.info);
                    self.log_index = before.log_index;
                }
                Ok(0)
            }
        }
    }

    /// Opens a block: an empty block info tree with its header leaves, if it has a header. `present` says which of the
    /// seven values are not zero.
    pub(crate) fn open_block(&mut self, header: Option<[bool; 7]>) -> u64 {
        self.info.clear();
        self.log_index = 0;
        self.tx_index = 0;
        let mut hashes = 0;
        for (field, present) in header.into_iter().flatten().enumerate() {
            hashes += self.write_info(BlockInfoKind::Header, field as u64, present);
        }
        hashes
    }

    /// Writes the receipt of the transaction just priced, and goes on to the next one of the block.
    pub(crate) fn receipt(&mut self, status: bool, gas_is_used: bool, has_percentage: bool) -> u64 {
        let leaves = [
            (BlockInfoKind::TxHash, true),
            (BlockInfoKind::Status, status),
            (BlockInfoKind::CumulativeGas, gas_is_used),
            (BlockInfoKind::EffectivePercentage, has_percentage),
        ];
        let mut hashes = 0;
        for (kind, present) in leaves {
            hashes += self.write_info(kind, self.tx_index, present);
        }
        self.tx_index += 1;
        hashes
    }

    /// Writes the gas used by the block.
    pub(crate) fn close_block(&mut self, gas_is_used: bool) -> u64 {
        const GAS_USED: u64 = 7;
        self.write_info(BlockInfoKind::Header, GAS_USED, gas_is_used)
    }

    /// Writes a leaf of the block info tree that is no log. No leaf is written twice, so a zero never takes one away.
    fn write_info(&mut self, kind: BlockInfoKind, index: u64, present: bool) -> u64 {
        let key = block_info_key(kind, index, 0);
        KEY_HASHES + if present { self.info.write(&key) } else { self.info.write_nothing(&key) }
    }
}

/// Poseidon hashes of reading a key.
pub(crate) fn read(tree: &mut StateTree<'_>, at: TreeRef, key: &Digest) -> Result<u64, TreeError> {
    Ok(tree.read_proof_hashes(at, key)? + KEY_HASHES)
}

/// Poseidon hashes of writing a key; `at` moves to the shape after it.
pub(crate) fn write(tree: &mut StateTree<'_>, at: &mut TreeRef, key: &Digest, present: bool) -> Result<u64, TreeError> {
    let (hashes, next) = tree.write_proof_hashes(*at, key, present)?;
    *at = next;
    Ok(hashes + KEY_HASHES)
}

/// Reads, and marks what was not marked.
fn touch(trie: &mut KeyTrie, key: &Digest) -> u64 {
    let (hashes, is_marked) = trie.read(key);
    let marking = if is_marked { 0 } else { trie.write(key) + KEY_HASHES };
    hashes + KEY_HASHES + marking
}

#[cfg(test)]
mod tests {
    use revm::primitives::{Address, U256};

    use super::*;
    use zkevm_tree::KeyCache;

    #[test]
    fn a_second_touch_only_reads() {
        let mut state = StateTree::in_memory();
        let mut keys = KeyCache::new(16);
        let mut access = StateAccess { tree: &mut state, keys: &mut keys };
        let mut cost = ProofCost::default();
        let touch = Access::TouchAccount(Address::ZERO);
        // First: read of the empty tree 0 + 2, insert 2 + 2. Second: read of the single leaf 2 + 2.
        let mut transaction = |accesses: &[Access]| {
            cost.end_transaction();
            cost.accesses(accesses, TreeRef::EMPTY, &mut access).unwrap()
        };
        assert_eq!(transaction(&[touch]), 6);
        assert_eq!(transaction(&[touch, touch]), 10);
        // A failed frame forgets the mark, a successful one keeps it.
        let frame = |keeps| [Access::Enter, touch, Access::Leave(keeps), touch];
        assert_eq!(transaction(&frame(false)), 12);
        assert_eq!(transaction(&frame(true)), 10);
        // Told in parts, a transaction costs the same.
        assert_eq!(transaction(&frame(false)[..2]), 6);
        assert_eq!(cost.accesses(&frame(false)[2..], TreeRef::EMPTY, &mut access).unwrap(), 6);
    }

    #[test]
    fn slots_are_read_as_they_were_before_the_transaction() {
        let mut tree = StateTree::in_memory();
        let mut keys = KeyCache::new(16);
        let mut access = StateAccess { tree: &mut tree, keys: &mut keys };
        let slot = U256::from(7);
        let accesses = [
            Access::WriteSlot(Address::ZERO, slot, true),
            Access::ReadSlot(Address::ZERO, slot),
            Access::ReadOriginalSlot(Address::ZERO, slot),
        ];
        let expected = (2 + 2) + (2 + 2) + 2;
        assert_eq!(ProofCost::default().accesses(&accesses, TreeRef::EMPTY, &mut access).unwrap(), expected);
    }
}
