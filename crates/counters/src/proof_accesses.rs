//! The tree accesses of one transaction, in the ROM's order.
//!
//! Written down while the transaction runs, priced after it ([`super::proof_cost`]): the ROM's accesses depend on the path
//! of execution, their price on the shape of the trees at that moment.

use revm::primitives::{Address, U256};

use zkevm_tree::LeafKind;

/// One access, or a change of frame between accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Reads a leaf of an account.
    Read(Address, LeafKind),
    /// Writes a leaf of an account; the flag says whether the value is not zero.
    Write(Address, LeafKind, bool),
    /// Reads a storage slot.
    ReadSlot(Address, U256),
    /// Reads a storage slot as it was before the transaction.
    ReadOriginalSlot(Address, U256),
    /// Writes a storage slot; the flag says whether the value is not zero.
    WriteSlot(Address, U256, bool),
    /// Asks whether an account was touched in this transaction, and marks it.
    TouchAccount(Address),
    /// Asks whether a slot was touched in this transaction, and marks it.
    TouchSlot(Address, U256),
    /// Adds a log to the block info tree.
    Log,
    /// A frame starts: what follows can be taken back.
    Enter,
    /// The innermost frame ends; the flag says whether its changes stay.
    Leave(bool),
}

/// Accesses of the running transaction; empty when hashes are not counted.
#[derive(Debug, Default)]
pub(crate) struct ProofAccesses {
    entries: Vec<Access>,
    on: bool,
}

impl ProofAccesses {
    /// Creates a log that takes accesses in, or leaves them out.
    pub(crate) const fn new(on: bool) -> Self {
        Self { entries: Vec::new(), on }
    }

    /// Appends an access.
    #[inline]
    pub(crate) fn push(&mut self, access: Access) {
        if self.on {
            self.entries.push(access);
        }
    }

    /// Appends the accesses that move value between two accounts: nothing for zero (the ROM's own rule).
    ///
    /// `have` says whether payer and receiver have something after it. Stops after the first read if it cannot be paid.
    pub(crate) fn transfer(&mut self, from: Address, to: Address, can_pay: bool, have: [bool; 2]) {
        self.push(Access::Read(from, LeafKind::Balance));
        if can_pay {
            self.push(Access::Write(from, LeafKind::Balance, have[0]));
            self.push(Access::Read(to, LeafKind::Balance));
            self.push(Access::Write(to, LeafKind::Balance, have[1]));
        }
    }

    /// Appends the reads that find out whether an account is empty: balance, then nonce, then code, up to the first that
    /// is not zero.
    pub(crate) fn emptiness(&mut self, address: Address, has_balance: bool, has_nonce: bool) {
        self.push(Access::Read(address, LeafKind::Balance));
        if !has_balance {
            self.push(Access::Read(address, LeafKind::Nonce));
            if !has_nonce {
                self.push(Access::Read(address, LeafKind::CodeHash));
            }
        }
    }

    /// Returns all entries, to be priced.
    pub(crate) fn entries(&self) -> &[Access] {
        &self.entries
    }

    /// Removes all entries, keeping their memory.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }
}
