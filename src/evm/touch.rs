//! Which leaves a batch read or wrote, as the response reports them (executor-service §6.1, §6.3).

use std::collections::BTreeMap;

use revm::primitives::{Address, U256};

/// Leaves of one account, as bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountLeaves(u8);

impl AccountLeaves {
    /// Balance leaf.
    pub const BALANCE: Self = Self(1);
    /// Nonce leaf.
    pub const NONCE: Self = Self(2);
    /// Code hash leaf.
    pub const CODE_HASH: Self = Self(4);
    /// Code length leaf.
    pub const CODE_LENGTH: Self = Self(8);

    /// True if every leaf of `other` is in.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the leaves of both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Accounts and slots touched so far. Never rolled back: the original reports accesses of reverted frames too.
#[derive(Clone, Debug, Default)]
pub struct TouchLog {
    accounts: BTreeMap<Address, AccountLeaves>,
    slots: BTreeMap<(Address, U256), ()>,
}

impl TouchLog {
    /// Records accesses to leaves of an account.
    pub fn account(&mut self, address: Address, leaves: AccountLeaves) {
        let entry = self.accounts.entry(address).or_default();
        *entry = entry.with(leaves);
    }

    /// Records an access to a storage slot.
    pub fn slot(&mut self, address: Address, slot: U256) {
        self.accounts.entry(address).or_default();
        self.slots.insert((address, slot), ());
    }

    /// Returns the accounts with the leaves touched.
    pub fn accounts(&self) -> impl Iterator<Item = (Address, AccountLeaves)> {
        self.accounts.iter().map(|(&address, &leaves)| (address, leaves))
    }

    /// Returns the slots touched.
    pub fn slots(&self) -> impl Iterator<Item = (Address, U256)> {
        self.slots.keys().copied()
    }
}
