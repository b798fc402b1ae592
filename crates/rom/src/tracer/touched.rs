//! Accounts and slots that were read or written (main-state-machine §9.8).

use std::collections::{BTreeMap, HashSet};

use alloy_primitives::{Address, U256};
use zkevm_tree::Digest;
use zkevm_types::TouchedAccount;

use super::address_of;
use crate::{Abort, RomTree, TreeAccess};

/// What was touched, with the value seen last.
#[derive(Debug)]
pub(super) struct Touched {
    in_full: bool,
    accounts: BTreeMap<Address, Account>,
    code_hashes: HashSet<Digest>,
}

#[derive(Debug, Default)]
struct Account {
    seen: TouchedAccount,
    balance_key: Option<Digest>,
    nonce_key: Option<Digest>,
}

impl Touched {
    pub(super) fn new(in_full: bool) -> Self {
        Self { in_full, accounts: BTreeMap::new(), code_hashes: HashSet::new() }
    }

    /// Notes an access; those of other trees have kinds above 4.
    pub(super) fn access(&mut self, access: &TreeAccess) {
        let kind = if access.kind > U256::from(4) { 5 } else { access.kind.as_limbs()[0] };
        if kind == 2 && access.is_write {
            self.code_hashes.insert(Digest::from_u256(access.value));
        }
        if kind > 4 || (kind > 1 && !self.in_full) {
            return;
        }
        let account = self.accounts.entry(address_of(access.account)).or_default();
        let value = access.value;
        match kind {
            0 => {
                account.seen.balance = Some(value);
                account.balance_key = Some(access.key);
            }
            1 => {
                account.seen.nonce = Some(value);
                account.nonce_key = Some(access.key);
            }
            2 => account.seen.code_hash = Some(value),
            3 => {
                account.seen.storage.insert(access.slot, value);
            }
            _ => account.seen.code_length = Some(value),
        }
    }

    /// Reads balances and nonces again, at the root the batch ends with.
    pub(super) fn read_again(&mut self, root: Digest, tree: &mut RomTree<'_>) -> Result<(), Abort> {
        for account in self.accounts.values_mut() {
            if let Some(key) = &account.balance_key {
                account.seen.balance = Some(tree.get(root, key)?);
            }
            if let Some(key) = &account.nonce_key {
                account.seen.nonce = Some(tree.get(root, key)?);
            }
        }
        Ok(())
    }

    /// Returns the accounts, and the hashes of code that accounts were given.
    pub(super) fn into_parts(self) -> (BTreeMap<Address, TouchedAccount>, HashSet<Digest>) {
        let accounts = self.accounts.into_iter().map(|(address, account)| (address, account.seen)).collect();
        (accounts, self.code_hashes)
    }
}
