//! Tree accesses (main-state-machine §5.3).

use std::collections::HashMap;
use std::sync::LazyLock;

use alloy_primitives::{Address, U256};
use foldhash::fast::RandomState;
use zkevm_tree::poseidon::hash;
use zkevm_tree::{Digest, linear_hash};
use zkevm_types::{AccountOverride, ExecutorError};

use super::Machine;
use super::registers::wide;
use super::step::Effects;
use crate::event::TreeAccess;
use crate::fea::{self, Fea};
use crate::program::{Line, flags};
use crate::tree::Root;
use crate::{Abort, EventHandler};

/// Keys that were hashed, by what they are the hash of: true whatever the batch.
pub(crate) type LeafKeys = HashMap<([u64; 8], Fea), Digest, RandomState>;
/// Most keys that are remembered: some 2 MiB.
const LEAF_KEYS_MAX: usize = 16_384;

/// What nearly all keys but those of storage are made of.
static NOTHING_HASHED: LazyLock<Digest> = LazyLock::new(|| hash(&fea::ZERO, &[0; 4]));

/// Kinds of leaves whose keys are not reported: marks of what a transaction touched.
const TOUCHED: [u64; 2] = [5, 6];

impl Machine<'_, '_> {
    /// Returns the key that A, B and C name.
    fn leaf_key(&mut self) -> Result<Digest, Abort> {
        let [a, b, c, ..] = &self.registers.wide;
        if a[5..] != [0; 3] || b[2..] != [0; 6] {
            return Err(ExecutorError::StorageInvalidKey.into());
        }
        let content = [a[0], a[1], a[2], a[3], a[4], a[5], b[0], b[1]];
        if let Some(key) = self.leaf_keys.get(&(content, *c)) {
            return Ok(*key);
        }
        let capacity = if *c == fea::ZERO { *NOTHING_HASHED } else { hash(c, &[0; 4]) };
        let key = hash(&content, &capacity.0);
        if self.leaf_keys.len() >= LEAF_KEYS_MAX {
            self.leaf_keys.clear();
        }
        self.leaf_keys.insert((content, *c), key);
        Ok(key)
    }

    fn root(&self) -> Result<Root, Abort> {
        fea::root_of(&self.registers.wide[wide::SR])
    }

    /// Reads a leaf as a free input. What the request puts in its place is not reported, nor does it stand in the check that
    /// follows: the line fails where the two differ, as the original does.
    pub(super) fn tree_input(&mut self, effects: &mut Effects, handler: &mut impl EventHandler) -> Result<Fea, Abort> {
        let key = self.leaf_key()?;
        if let Some(value) = self.overridden()? {
            return Ok(fea::to_fea(value));
        }
        let root = self.root()?;
        let (value, proof_hashes) = self.tree.read(root, &key)?;
        effects.tree_value = Some((value, proof_hashes));
        self.report(key, value, false, handler)?;
        Ok(fea::to_fea(value))
    }

    /// Checks a leaf that was read.
    pub(super) fn check_tree_read(
        &mut self,
        line: &Line,
        op: &Fea,
        effects: &mut Effects,
        handler: &mut impl EventHandler,
    ) -> Result<(), Abort> {
        if let Some((value, proof_hashes)) = effects.tree_value {
            effects.increment = proof_hashes + 2;
            if line.flags & flags::FREE_ONLY == 0 && fea::to_scalar(op)? != value {
                return Err(ExecutorError::StorageReadMismatch.into());
            }
            return Ok(());
        }
        let (key, root) = (self.leaf_key()?, self.root()?);
        let (value, proof_hashes) = self.tree.read(root, &key)?;
        effects.increment = proof_hashes + 2;
        self.report(key, value, false, handler)?;
        if fea::to_scalar(op)? != value {
            return Err(ExecutorError::StorageReadMismatch.into());
        }
        Ok(())
    }

    /// Writes a leaf; returns the new root as a free input. What the request puts in its place is changed instead of the tree,
    /// whose root is then that of the last write.
    pub(super) fn tree_write(&mut self, effects: &mut Effects, handler: &mut impl EventHandler) -> Result<Fea, Abort> {
        let key = self.leaf_key()?;
        let value = fea::to_scalar(&self.registers.wide[wide::D])?;
        let root = self.root()?;
        if self.override_value(value)? {
            self.report(key, value, true, handler)?;
            self.has_lost_root |= self.tree.digest(root)? != self.tree.digest(self.last_write)?;
            return Ok(fea::of_root(&self.last_write));
        }
        let written = self.tree.write(root, &key, value)?;
        effects.increment = written.proof_hashes + 2;
        let b = &self.registers.wide[wide::B];
        if b[0] == 0 && b[1] == 0 {
            self.change_balance(written.old_value, value);
        }
        self.last_write = written.root;
        self.report(key, value, true, handler)?;
        Ok(fea::of_root(&written.root))
    }

    /// Checks the root of a write.
    pub(super) fn check_tree_write(&self, line: &Line, op: &Fea) -> Result<(), Abort> {
        if line.flags & flags::FREE_ONLY == 0 && fea::to_scalar(op)? != self.tree.digest(self.last_write)?.to_u256() {
            return Err(ExecutorError::StorageWriteMismatch.into());
        }
        Ok(())
    }

    fn change_balance(&mut self, old: U256, new: U256) {
        let (sum, carried) = &mut self.balance_sum;
        let (raised, over) = sum.overflowing_add(new);
        let (lowered, under) = raised.overflowing_sub(old);
        *sum = lowered;
        *carried += i64::from(over) - i64::from(under);
    }

    pub(super) fn is_balanced(&self) -> bool {
        self.balance_sum.0.is_zero() && self.balance_sum.1 == 0
    }

    /// Tells of an access.
    fn report(
        &mut self,
        key: Digest,
        value: U256,
        is_write: bool,
        handler: &mut impl EventHandler,
    ) -> Result<(), Abort> {
        let [a, b, c, ..] = &self.registers.wide;
        if self.request.get_keys && !TOUCHED.contains(&b[0]) {
            self.smt_keys.add(key);
        }
        let (account, kind, slot) = (fea::to_scalar(a)?, fea::to_scalar(b)?, fea::to_scalar(c)?);
        handler.tree_access(&TreeAccess { account, kind, slot, value, key, is_write })
    }

    /// Returns what the request puts in the place of the leaf that A, B and C name.
    fn overridden(&mut self) -> Result<Option<U256>, Abort> {
        if self.overrides.is_empty() {
            return Ok(None);
        }
        let [_, b, c, ..] = self.registers.wide;
        if b[1] != 0 {
            return Ok(None);
        }
        let Some(account) = self.overriding_account()? else { return Ok(None) };
        Ok(match b[0] {
            0 => account.balance,
            1 => account.nonce.map(U256::from),
            2 => account.code.as_ref().map(|code| code_hash(code)),
            3 => {
                let slot = fea::to_scalar(&c)?;
                slots(account).map(|slots| slots.get(&slot).copied().unwrap_or_default())
            }
            4 => account.code.as_ref().map(|code| U256::from(code.len())),
            _ => None,
        })
    }

    /// Changes what the request puts in the place of a leaf; false if it puts nothing there.
    fn override_value(&mut self, value: U256) -> Result<bool, Abort> {
        if self.overrides.is_empty() {
            return Ok(false);
        }
        let [_, b, c, ..] = self.registers.wide;
        if b[1] != 0 {
            return Ok(false);
        }
        let slot = fea::to_scalar(&c)?;
        let Some(account) = self.overriding_account()? else { return Ok(false) };
        Ok(match b[0] {
            0 => account.balance.as_mut().map(|balance| *balance = value).is_some(),
            1 => account.nonce.as_mut().map(|nonce| *nonce = value.saturating_to()).is_some(),
            2 => account.code.is_some(),
            3 => slots(account).is_some_and(|slots| {
                slots.insert(slot, value);
                true
            }),
            _ => false,
        })
    }

    fn overriding_account(&mut self) -> Result<Option<&mut AccountOverride>, Abort> {
        let account = fea::to_scalar(&self.registers.wide[wide::A])?;
        Ok(self.overrides.get_mut(&address(account)))
    }
}

/// Returns the slots that stand in the place of an account's, if the request gives some.
fn slots(account: &mut AccountOverride) -> Option<&mut HashMap<U256, U256>> {
    match &mut account.state {
        Some(state) => Some(state),
        None => Some(&mut account.state_diff).filter(|slots| !slots.is_empty()),
    }
}

/// Returns the accounts of a request as the original replaces them: slots that are given read zero until they are written, since
/// it looks them up under another spelling than it keeps them by (executor-service §5.9).
pub(super) fn as_replaced(accounts: &HashMap<Address, AccountOverride>) -> HashMap<Address, AccountOverride> {
    let mut accounts = accounts.clone();
    for account in accounts.values_mut() {
        let slots = account.state.iter_mut().flatten().chain(&mut account.state_diff);
        slots.for_each(|(_, value)| *value = U256::ZERO);
    }
    accounts
}

/// Returns the hash of code as its leaf has it: none for no code.
fn code_hash(code: &[u8]) -> U256 {
    if code.is_empty() { U256::ZERO } else { linear_hash(code).to_u256() }
}

fn address(number: U256) -> Address {
    Address::from_word(number.into())
}
