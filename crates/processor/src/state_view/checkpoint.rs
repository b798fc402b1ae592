//! The state at the end of a block, apart from the batch that made it.

use revm::primitives::{Address, B256, Bytes, U256};

use super::{CachedAccount, StateError, StateView};
use zkevm_evm::unchecked::with_unchecked_jumpdests;
use zkevm_tree::{Digest, TreeSnapshot};

/// What was made of the state, and the accounts it was looked up for.
#[derive(Debug)]
pub(crate) struct StateCheckpoint {
    tree: TreeSnapshot,
    accounts: Vec<(Address, CachedAccount)>,
    code_lengths: Vec<(Address, U256)>,
}

impl StateCheckpoint {
    /// Returns its size in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + self.tree.bytes()
            + self.accounts.capacity() * size_of::<(Address, CachedAccount)>()
            + self.code_lengths.capacity() * size_of::<(Address, U256)>()
    }
}

impl StateView<'_> {
    /// Returns the state as it is now; `None` while it is not hashed.
    ///
    /// An account that was read in part is left out: another reader may have all of it.
    pub(crate) fn checkpoint(&self) -> Option<StateCheckpoint> {
        let accounts = self.accounts.iter().filter(|(address, _)| !self.missing.contains_key(*address));
        Some(StateCheckpoint {
            tree: self.tree.snapshot(self.version)?,
            accounts: accounts.map(|(address, account)| (*address, *account)).collect(),
            code_lengths: self.code_lengths.iter().map(|(address, length)| (*address, *length)).collect(),
        })
    }

    /// Goes on from there: nothing was read yet, and the reader has what the batches before read. `programs` are those that
    /// they deployed.
    pub(crate) fn go_on_from<'p>(
        &mut self,
        checkpoint: &StateCheckpoint,
        programs: impl IntoIterator<Item = &'p (B256, Bytes)>,
    ) -> Result<(), StateError> {
        self.version = self.tree.go_on_from(&checkpoint.tree)?;
        self.accounts.extend(checkpoint.accounts.iter().copied());
        self.code_lengths.extend(checkpoint.code_lengths.iter().copied());
        self.programs.extend(programs.into_iter().map(|(hash, code)| (*hash, with_unchecked_jumpdests(code))));
        Ok(())
    }

    /// Returns the hashes of the nodes that were read.
    pub(crate) fn nodes_read(&self) -> Vec<Digest> {
        self.tree.hashes_read()
    }

    /// Returns the hashes of the programs that were read.
    pub(crate) fn programs_read(&self) -> &[Digest] {
        &self.programs_read
    }

    /// Returns the programs that were deployed.
    pub(crate) fn deployed_programs(&self) -> impl Iterator<Item = (B256, &Bytes)> {
        self.new_programs.iter().map(|(hash, code)| (*hash, code))
    }
}
