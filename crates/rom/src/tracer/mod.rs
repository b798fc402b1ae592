//! The events of a run → the parts of the answer (main-state-machine §9).
//!
//! Reads variables and registers at the event, never later: the ROM uses them again.

mod blocks;
mod errors;
mod logs;
mod memory_delta;
mod opcodes;
mod return_data;
mod rules;
mod steps;
mod touched;
mod transactions;

use std::collections::{BTreeMap, HashSet};

use alloy_primitives::{Address, B256, U256};
use zkevm_tree::Digest;
use zkevm_types::{BatchInput, BatchRoots, BlockOutput, ExecutorError, RomError, TouchedAccount, TxOutput};

use crate::{Abort, Event, EventHandler, TreeAccess, View};
use blocks::OpenBlock;
use errors::BatchError;
use logs::Logs;
use opcodes::OpcodeTrace;
pub(crate) use rules::TracerRules;
use touched::Touched;
use transactions::Entry;

/// Longest answer that is collected, in bytes: an end for what a hostile ROM could say.
const ANSWER_BYTES_MAX: usize = 4 << 30;

/// Makes the answer of a batch while it runs.
pub(crate) struct Tracer<'a> {
    input: &'a BatchInput,
    rules: TracerRules,
    has_started: bool,
    /// Transactions of the batch (V1), of the open block (V2).
    entries: Vec<Entry>,
    /// V1: finished transactions. V2: the ROM's index within the block.
    tx_index: u64,
    open: Option<OpenBlock>,
    closed: Vec<BlockOutput>,
    batch_error: BatchError,
    /// The last error told, cleared by a transaction.
    last_error: Option<RomError>,
    opcodes: OpcodeTrace,
    logs: Logs,
    touched: Touched,
    /// Sum of the gas of all transactions.
    gas_used: u64,
    roots: Option<BatchRoots>,
    /// Roots that stay, besides the last one.
    kept_roots: Vec<Digest>,
    /// Bytes of the answer so far, roughly.
    bytes: usize,
}

/// What a run told.
pub(crate) struct Traced {
    pub(crate) roots: Option<BatchRoots>,
    /// Roots that stay.
    pub(crate) kept_roots: Vec<Digest>,
    pub(crate) gas_used: u64,
    pub(crate) transactions: Vec<TxOutput>,
    pub(crate) blocks: Vec<BlockOutput>,
    pub(crate) invalid_batch: bool,
    pub(crate) error_rom: RomError,
    pub(crate) read_write_addresses: BTreeMap<Address, TouchedAccount>,
    /// Hashes of code that accounts were given.
    pub(crate) code_hashes: HashSet<Digest>,
}

impl<'a> Tracer<'a> {
    /// Creates a tracer of a batch that has told nothing yet.
    pub(crate) fn new(input: &'a BatchInput, rules: TracerRules) -> Self {
        Self {
            input,
            rules,
            has_started: false,
            entries: Vec::new(),
            tx_index: 0,
            open: None,
            closed: Vec::new(),
            batch_error: BatchError::default(),
            last_error: None,
            opcodes: OpcodeTrace::default(),
            logs: Logs::default(),
            touched: Touched::new(rules.touched_in_full),
            gas_used: 0,
            roots: None,
            kept_roots: Vec::new(),
            bytes: 0,
        }
    }

    /// Returns what the run told, after its end or where it was given up.
    pub(crate) fn finish(self) -> Traced {
        let (read_write_addresses, code_hashes) = self.touched.into_parts();
        let transactions = if self.rules.is_v2 { Vec::new() } else { outputs(self.entries) };
        Traced {
            roots: self.roots,
            kept_roots: self.kept_roots,
            gas_used: self.gas_used,
            transactions,
            blocks: self.closed,
            invalid_batch: self.batch_error.is_invalid,
            error_rom: self.batch_error.error,
            read_write_addresses,
            code_hashes,
        }
    }

    /// All that came in is zero again, unless the counters ran out before that (main-state-machine §9.1).
    fn check_balance(&self, view: &View<'_, '_>) -> Result<(), Abort> {
        let is_exempt = self.last_error.is_some_and(|error| self.rules.may_leave_unbalanced(error));
        if view.is_balanced || is_exempt { Ok(()) } else { Err(ExecutorError::BalanceMismatch.into()) }
    }

    /// The batch is over (main-state-machine §9.2).
    fn finish_batch(&mut self, view: &mut View<'_, '_>) -> Result<(), Abort> {
        use crate::Variable::{NewAccInputHash, NewLocalExitRoot};
        let root = view.state_root_digest()?;
        self.roots = Some(BatchRoots {
            new_state_root: root.to_b256(),
            new_acc_input_hash: view.global(NewAccInputHash)?.into(),
            new_local_exit_root: view.global(NewLocalExitRoot)?.into(),
        });
        self.kept_roots.push(root);
        self.touched.read_again(root, view.tree)
    }

    /// Counts bytes of the answer.
    fn take(&mut self, bytes: usize) -> Result<(), Abort> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > ANSWER_BYTES_MAX { Err(Abort::unspecified("the answer is too long")) } else { Ok(()) }
    }
}

impl EventHandler for Tracer<'_> {
    fn event(&mut self, event: Event<'_>, view: &mut View<'_, '_>) -> Result<(), Abort> {
        match event {
            Event::StartBatch => {
                if !std::mem::replace(&mut self.has_started, true) {
                    self.entries.clear();
                    self.closed.clear();
                }
                Ok(())
            }
            Event::StartBlock => self.start_block(view),
            Event::ProcessTx => self.process_tx(view),
            Event::FinishTx => {
                self.check_balance(view)?;
                self.finish_tx(view)
            }
            Event::FinishBlock => {
                self.check_balance(view)?;
                self.finish_block(view)
            }
            Event::FinishBatch => {
                self.check_balance(view)?;
                self.finish_batch(view)
            }
            Event::Error(name) => self.error(name, view),
            Event::Opcode(code) => self.opcode(code, view),
            Event::UpdateStorage { key, value } => self.update_storage(key, value, view),
            Event::StoreLog { index, is_topic, value } => self.store_log(index, is_topic, value, view),
        }
    }

    fn tree_access(&mut self, access: &TreeAccess) -> Result<(), Abort> {
        self.touched.access(access);
        self.take(size_of::<TreeAccess>() / 4)
    }
}

/// Returns the entries as the answer lists them.
fn outputs(entries: Vec<Entry>) -> Vec<TxOutput> {
    entries.into_iter().map(Entry::into_output).collect()
}

/// Returns the low 64 bits.
fn low_u64(value: U256) -> u64 {
    value.as_limbs()[0]
}

/// Returns the low 160 bits as an address.
fn address_of(value: U256) -> Address {
    Address::from_word(B256::from(value))
}
