//! Tree accesses (main-state-machine §5.3).

use std::collections::HashMap;

use alloy_primitives::{Address, U256};
use foldhash::fast::RandomState;
use zkevm_tree::poseidon::hash;
use zkevm_tree::{Digest, linear_hash};
use zkevm_types::ExecutorError;

use super::Machine;
use super::registers::wide;
use super::step::Effects;
use crate::event::TreeAccess;
use crate::fea::{self, Fea};
use crate::program::{Line, flags};
use crate::tree::Root;
use crate::{Abort, EventHandler};

/// Keys that were hashed, by what they are the hash of.
pub(super) type LeafKeys = HashMap<([u64; 8], Fea), Digest, RandomState>;
/// Most keys that are remembered: some 2 MiB.
const LEAF_KEYS_MAX: usize = 16_384;

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
        let capacity = hash(c, &[0; 4]);
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

    /// Reads a leaf as a free input.
    pub(super) fn tree_input(&mut self, effects: &mut Effects, handler: &mut impl EventHandler) -> Result<Fea, Abort> {
        let key = self.leaf_key()?;
        if let Some(value) = self.overridden()? {
            effects.tree_value = Some((value, 0));
        }
        let (root, is_override) = (self.root()?, effects.tree_value.is_some());
        let (value, proof_hashes) = self.tree.read(root, &key)?;
        let value = effects.tree_value.map_or(value, |(value, _)| value);
        effects.tree_value = Some((value, proof_hashes));
        if !is_override {
            self.report(key, value, false, handler)?;
        }
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
        let value = self.overridden()?.unwrap_or(value);
        effects.increment = proof_hashes + 2;
        self.report(key, value, false, handler)?;
        if fea::to_scalar(op)? != value {
            return Err(ExecutorError::StorageReadMismatch.into());
        }
        Ok(())
    }

    /// Writes a leaf; returns the new root as a free input.
    pub(super) fn tree_write(&mut self, effects: &mut Effects, handler: &mut impl EventHandler) -> Result<Fea, Abort> {
        let (key, root) = (self.leaf_key()?, self.root()?);
        let value = fea::to_scalar(&self.registers.wide[wide::D])?;
        let old_override = self.overridden()?;
        let written = self.tree.write(root, &key, value)?;
        if old_override.is_some() {
            self.override_value(value)?;
        }
        effects.increment = written.proof_hashes + 2;
        let b = &self.registers.wide[wide::B];
        if b[0] == 0 && b[1] == 0 {
            self.change_balance(old_override.unwrap_or(written.old_value), value);
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
    fn overridden(&self) -> Result<Option<U256>, Abort> {
        if self.overrides.is_empty() {
            return Ok(None);
        }
        let [a, b, c, ..] = &self.registers.wide;
        let Some(account) = self.overrides.get(&address(fea::to_scalar(a)?)) else { return Ok(None) };
        let slot = fea::to_scalar(c)?;
        Ok(match b[0] {
            _ if b[1] != 0 => None,
            0 => account.balance,
            1 => account.nonce.map(U256::from),
            2 => account.code.as_ref().map(|code| code_hash(code)),
            3 => match &account.state {
                Some(state) => {
                    Some(account.state_diff.get(&slot).or_else(|| state.get(&slot)).copied().unwrap_or_default())
                }
                None => account.state_diff.get(&slot).copied(),
            },
            4 => account.code.as_ref().map(|code| U256::from(code.len())),
            _ => None,
        })
    }

    /// Changes what the request put in the place of a leaf.
    fn override_value(&mut self, value: U256) -> Result<(), Abort> {
        let [a, b, c, ..] = &self.registers.wide;
        let (kind, slot) = (b[0], fea::to_scalar(c)?);
        let Some(account) = self.overrides.get_mut(&address(fea::to_scalar(a)?)) else { return Ok(()) };
        match kind {
            0 => account.balance = Some(value),
            1 => account.nonce = Some(value.saturating_to()),
            3 => {
                account.state_diff.insert(slot, value);
            }
            _ => {}
        }
        Ok(())
    }
}

/// Returns the hash of code as its leaf has it: none for no code.
fn code_hash(code: &[u8]) -> U256 {
    if code.is_empty() { U256::ZERO } else { linear_hash(code).to_u256() }
}

fn address(number: U256) -> Address {
    Address::from_word(number.into())
}
