//! Which leaves a batch read or wrote, as the response reports them (executor-service §6.1, §6.3).

use std::collections::BTreeMap;

use revm::primitives::{Address, B256, KECCAK_EMPTY, U256};
use revm::state::AccountInfo;

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

    /// True if some leaf is in both.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
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
    deployed: BTreeMap<Address, Deployed>,
}

/// Code that was deployed in this batch, and whether the last access to each leaf found it: a deployment that was undone
/// can be read, and written, again.
#[derive(Clone, Copy, Debug)]
struct Deployed {
    code_hash: B256,
    code_length: u64,
    hash_seen: bool,
    length_seen: bool,
}

impl AccessedLeaves {
    /// Returns its size in memory, in bytes, estimated.
    pub fn bytes(&self) -> usize {
        // Nodes of the maps are filled by a half at least.
        2 * (self.accounts.len() * size_of::<(Address, AccountLeaves)>()
            + self.slots.len() * size_of::<(Address, U256, U256)>()
            + self.deployed.len() * size_of::<(Address, Deployed)>())
    }

    /// Records accesses to leaves of an account.
    pub fn account(&mut self, address: Address, leaves: AccountLeaves) {
        let entry = self.accounts.entry(address).or_default();
        *entry = entry.with(leaves);
    }

    /// Records reads of the code leaves of an account, which has code at this moment or has none.
    pub fn code(&mut self, address: Address, leaves: AccountLeaves, has_code: bool) {
        self.account(address, leaves);
        if let Some(deployed) = self.deployed.get_mut(&address) {
            if leaves.contains(AccountLeaves::CODE_HASH) {
                deployed.hash_seen = has_code;
            }
            if leaves.contains(AccountLeaves::CODE_LENGTH) {
                deployed.length_seen = has_code;
            }
        }
    }

    /// Records an access to a storage slot with the value read or written: the last one is reported.
    pub fn slot(&mut self, address: Address, slot: U256, value: U256) {
        self.slots.insert((address, slot), value);
    }

    /// Records a deployed code, which is the last value seen of its leaves even if the deployment is undone, until they are
    /// read again.
    pub fn deployed(&mut self, address: Address, code_hash: B256, code_length: u64) {
        self.account(address, AccountLeaves::CODE_HASH.with(AccountLeaves::CODE_LENGTH));
        let deployed = Deployed { code_hash, code_length, hash_seen: true, length_seen: true };
        self.deployed.insert(address, deployed);
    }

    /// Records the reads of the ROM's emptiness test, which stops at the first leaf that is not zero.
    pub fn emptiness_test(&mut self, address: Address, account: &AccountInfo) {
        let mut leaves = AccountLeaves::BALANCE;
        if account.balance.is_zero() {
            leaves = leaves.with(AccountLeaves::NONCE);
            if account.nonce == 0 {
                leaves = leaves.with(AccountLeaves::CODE_HASH);
            }
        }
        self.code(address, leaves, account.code_hash != KECCAK_EMPTY);
    }

    /// Returns the accounts with the leaves touched.
    pub fn accounts(&self) -> impl Iterator<Item = (Address, AccountLeaves)> {
        self.accounts.iter().map(|(&address, &leaves)| (address, leaves))
    }

    /// Returns the leaves of an account that were touched.
    pub fn leaves_of(&self, address: Address) -> AccountLeaves {
        self.accounts.get(&address).copied().unwrap_or_default()
    }

    /// Returns the slots touched with the last value seen.
    pub fn slots(&self) -> impl Iterator<Item = (Address, U256, U256)> {
        self.slots.iter().map(|(&(address, slot), &value)| (address, slot, value))
    }

    /// Returns the last value seen of a slot.
    pub fn last_value(&self, address: Address, slot: U256) -> Option<U256> {
        self.slots.get(&(address, slot)).copied()
    }

    /// Returns the last value seen of the code hash of an account for which code was deployed in this batch.
    pub fn last_code_hash(&self, address: Address) -> Option<U256> {
        self.deployed
            .get(&address)
            .map(|deployed| if deployed.hash_seen { deployed.code_hash.into() } else { U256::ZERO })
    }

    /// Returns the last value seen of the code length of an account for which code was deployed in this batch.
    pub fn last_code_length(&self, address: Address) -> Option<u64> {
        self.deployed.get(&address).map(|deployed| if deployed.length_seen { deployed.code_length } else { 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_access_to_a_code_leaf_decides_what_is_reported() {
        let (address, hash) = (Address::repeat_byte(7), B256::repeat_byte(9));
        let mut log = AccessedLeaves::default();
        log.code(address, AccountLeaves::CODE_HASH, false);
        assert_eq!(log.last_code_hash(address), None, "nothing was deployed: the state tells");
        log.deployed(address, hash, 5);
        assert_eq!((log.last_code_hash(address), log.last_code_length(address)), (Some(hash.into()), Some(5)));
        log.code(address, AccountLeaves::CODE_HASH, false);
        assert_eq!((log.last_code_hash(address), log.last_code_length(address)), (Some(U256::ZERO), Some(5)));
        log.code(address, AccountLeaves::CODE_LENGTH, false);
        assert_eq!(log.last_code_length(address), Some(0));
        log.deployed(address, hash, 6);
        assert_eq!((log.last_code_hash(address), log.last_code_length(address)), (Some(hash.into()), Some(6)));
    }
}
