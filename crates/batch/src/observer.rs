//! What an observer of a batch is told outside the EVM.
//!
//! Decides: which events there are between transactions, and in what order they come. Must not know: who listens, and to
//! what end.
//!
//! An observer changes nothing, but it may end the batch: [`BatchObserver::out_of_counters`]. `()` is the one that listens
//! to nothing: what it is told compiles to nothing.
//!
//! Events come in the order of the ROM, with one exception that the observer has to know of. The ROM decodes all items
//! before it runs the first; here items are prepared while earlier ones run. So [`BatchObserver::block_decoded`] and
//! [`BatchObserver::transaction_decoded`] come at any time after [`BatchObserver::batch_decoded`], and belong there. They
//! come for every item, also for those that never run.

use alloy_primitives::{Address, B256, U256};

use super::{BatchItem, Recovered, Signature, Transaction};
use zkevm_tree::{KeyCache, LeafKind, StateTree, TreeRef};
use zkevm_types::{ExecutorError, RomError};

/// Listens to a batch. Every method does nothing unless it is overridden.
#[allow(unused_variables)]
pub trait BatchObserver {
    /// The data of the batch goes into the accumulated input hash.
    #[inline]
    fn batch_data_hashed(&mut self) {}

    /// The batch was parsed, or a bad item was met. `recover` recovers senders of the items before it.
    #[inline]
    fn batch_decoded(&mut self, batch: DecodedBatch<'_>, recover: impl FnOnce(&[Signature]) -> Vec<Recovered>) {}

    /// A ChangeL2Block was decoded.
    #[inline]
    fn block_decoded(&mut self) {}

    /// A transaction was decoded and its sender recovered, or not.
    #[inline]
    fn transaction_decoded(&mut self, tx: &Transaction, recovered: Recovered) {}

    /// The global exit root of a batch without blocks was looked up.
    #[inline]
    fn exit_root_imported(&mut self, root: ExitRoot) {}

    /// The slot of a mapping's entry was computed.
    #[inline]
    fn mapping_slot_hashed(&mut self) {}

    /// A slot is about to be read outside transactions, in the version `at`.
    #[inline]
    fn slot_read(&mut self, address: Address, slot: U256, at: TreeRef, state: StateAccess<'_, '_>) {}

    /// A slot is about to be written outside transactions, over the version `at`. `present` says that the value is not 0.
    #[inline]
    fn slot_written(&mut self, address: Address, slot: U256, present: bool, at: TreeRef, state: StateAccess<'_, '_>) {}

    /// A block is opened. `change` is the index of the L1 info entry of its ChangeL2Block, `None` in a forced batch.
    #[inline]
    fn block_started(&mut self, change: Option<u32>) {}

    /// A step of opening a block was made.
    #[inline]
    fn block_step(&mut self, step: BlockStep) {}

    /// The proof of an L1 info leaf is computed.
    #[inline]
    fn l1_info_proved(&mut self, index: u32) {}

    /// The header of the block is written into its block info tree.
    #[inline]
    fn block_header_written(&mut self, header: &BlockHeader) {}

    /// A transaction starts, its checks first.
    #[inline]
    fn transaction_started(&mut self, tx: &Transaction) {}

    /// A leaf of an account is about to be read for the checks.
    #[inline]
    fn account_read(&mut self, address: Address, leaf: LeafKind) {}

    /// A leaf of an account is written with the checks. `present` says that the value is not 0.
    #[inline]
    fn account_written(&mut self, address: Address, leaf: LeafKind, present: bool) {}

    /// The sender becomes warm.
    #[inline]
    fn sender_touched(&mut self, sender: Address) {}

    /// A check failed: the transaction is skipped.
    #[inline]
    fn transaction_rejected(&mut self, tx: &Transaction, error: RomError) {}

    /// All checks passed: the transaction is about to run.
    #[inline]
    fn transaction_accepted(&mut self, tx: &Transaction) {}

    /// The transaction ran, its fees are paid; nothing is written to the tree yet.
    #[inline]
    fn transaction_ran(&mut self) {}

    /// The observer ended the transaction while it ran.
    #[inline]
    fn transaction_given_up(&mut self) {}

    /// The transaction, which started in the version `start`, is over: rejected, or written to the tree.
    #[inline]
    fn transaction_ended(&mut self, start: TreeRef, state: StateAccess<'_, '_>) {}

    /// An included transaction of a fork without blocks makes up one of its own.
    #[inline]
    fn implicit_block_opened(&mut self) {}

    /// The receipt of an included transaction is written into the block info tree. `gas_used` is that of the block so far.
    #[inline]
    fn receipt_written(&mut self, status: bool, gas_used: u64, percentage: u8) {}

    /// The block ends with so much gas used.
    #[inline]
    fn block_closed(&mut self, gas_used: u64) {}

    /// The program of a transaction, of so many bytes, is not there: the batch has no answer.
    #[inline]
    fn program_missing(&mut self, bytes: u64) {}

    /// True if the observer may end the batch before anything runs: then all items are prepared before the first runs.
    #[inline]
    fn judges_decoding(&self) -> bool {
        false
    }

    /// True if the verdict of [`Self::out_of_counters`] takes what decoding all items came to.
    #[inline]
    fn needs_decoding(&mut self) -> bool {
        false
    }

    /// Returns the error of a batch that has no answer: it took more than the machine has room for.
    #[inline]
    fn overflow(&mut self) -> Option<ExecutorError> {
        None
    }

    /// Returns the error with which the batch has to end here, if the observer ends it.
    #[inline]
    fn out_of_counters(&mut self, stage: Stage) -> Option<RomError> {
        None
    }
}

impl BatchObserver for () {}

/// The moment at which an observer is asked whether the batch ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// All is decoded, nothing ran.
    Decoded,
    /// An item ran, or the last block closed.
    Ran,
}

/// The state tree of a batch, with the keys known so far.
pub struct StateAccess<'a, 'store> {
    /// The tree.
    pub tree: &'a mut StateTree<'store>,
    /// Its keys.
    pub keys: &'a mut KeyCache,
}

/// The result of parsing a batch.
#[derive(Clone, Copy, Debug)]
pub struct DecodedBatch<'a> {
    /// The items, up to the first bad one.
    pub items: &'a [BatchItem],
    /// The reason why the next item is bad.
    pub end: Result<(), RomError>,
    /// The batch is forced.
    pub is_forced: bool,
}

/// The use made of a global exit root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitRoot {
    /// It is written.
    New,
    /// It is known.
    Known,
}

/// Steps of opening a block between its start and its header, in the order of the ROM (batch §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockStep {
    /// A timestamp beyond the limit, or before that of the L1 info entry: the batch is invalid.
    BadTimestamp,
    /// A new timestamp, with an L1 info entry or without.
    Timestamp {
        /// There is an entry.
        has_l1_info: bool,
    },
    /// A forced batch's timestamp, which moves or stays.
    ForcedTimestamp {
        /// It moves.
        moves: bool,
    },
    /// The global exit root of an entry or a forced batch.
    ExitRoot {
        /// The batch is forced.
        is_forced: bool,
        /// The use made of it; `None` for zero.
        root: Option<ExitRoot>,
    },
}

/// The seven header leaves of a block that a ChangeL2Block (or a forced batch) opened (batch §9).
#[derive(Clone, Copy, Debug)]
pub struct BlockHeader {
    /// State root when the block started.
    pub parent_hash: B256,
    /// Sequencer address.
    pub coinbase: Address,
    /// L2 block number.
    pub number: u64,
    /// Block gas limit of the fork.
    pub gas_limit: u64,
    /// Timestamp in seconds.
    pub timestamp: U256,
    /// Global exit root.
    pub ger: B256,
    /// L1 block hash of that root.
    pub block_hash_l1: B256,
}
