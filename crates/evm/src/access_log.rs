//! Which leaves a batch read or wrote, as the response reports them (executor-service §6.1, §6.3).

use std::collections::BTreeMap;

use revm::primitives::{Address, B256, U256};

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

    /// Returns the leaves read to load code: the length, and the hash if there is code.
    pub const fn of_code(has_code: bool) -> Self {
        if has_code { Self::CODE_LENGTH.with(Self::CODE_HASH) } else { Self::CODE_LENGTH }
    }

    /// Returns the leaves of both.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Accounts and slots touched so far. Never rolled back: the original reports accesses of reverted frames too.
#[derive(Clone, Debug, Default)]
pub struct AccessedLeaves {
    accounts: BTreeMap<Address, AccountLeaves>,
    slots: BTreeMap<(Address, U256), U256>,
    deployed: BTreeMap<Address, (B256, u64)>,
}

impl AccessedLeaves {
    /// Records accesses to leaves of an account.
    pub fn account(&mut self, address: Address, leaves: AccountLeaves) {
        let entry = self.accounts.entry(address).or_default();
        *entry = entry.with(leaves);
    }

    /// Records an access to a storage slot with the value read or written: the last one is reported.
    pub fn slot(&mut self, address: Address, slot: U256, value: U256) {
        self.slots.insert((address, slot), value);
    }

    /// Records a deployed code, which is the last value seen of its leaves even if the deployment is undone.
    pub fn deployed(&mut self, address: Address, code_hash: B256, code_length: u64) {
        self.account(address, AccountLeaves::CODE_HASH.with(AccountLeaves::CODE_LENGTH));
        self.deployed.insert(address, (code_hash, code_length));
    }

    /// Records the reads of the ROM's emptiness test, which stops at the first leaf that is not zero.
    pub fn emptiness_test(&mut self, address: Address, balance_is_zero: bool, nonce_is_zero: bool) {
        let mut leaves = AccountLeaves::BALANCE;
        if balance_is_zero {
            leaves = leaves.with(AccountLeaves::NONCE);
            if nonce_is_zero {
                leaves = leaves.with(AccountLeaves::CODE_HASH);
            }
        }
        self.account(address, leaves);
    }

    /// Returns the accounts with the leaves touched.
    pub fn accounts(&self) -> impl Iterator<Item = (Address, AccountLeaves)> {
        self.accounts.iter().map(|(&address, &leaves)| (address, leaves))
    }

    /// Returns the slots touched with the last value seen.
    pub fn slots(&self) -> impl Iterator<Item = (Address, U256, U256)> {
        self.slots.iter().map(|(&(address, slot), &value)| (address, slot, value))
    }

    /// Returns the last value seen of a slot.
    pub fn last_value(&self, address: Address, slot: U256) -> Option<U256> {
        self.slots.get(&(address, slot)).copied()
    }

    /// Returns the code hash and length last deployed at an address in this batch.
    pub fn last_deployed(&self, address: Address) -> Option<(B256, u64)> {
        self.deployed.get(&address).copied()
    }
}
