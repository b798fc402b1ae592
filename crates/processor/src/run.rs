//! What both versions of the API share: intrinsic checks, one transaction, the final answer (batch §8, §12).

mod checkpoint;

pub(crate) use checkpoint::RunCheckpoint;

use std::collections::BTreeMap;
use std::time::Instant;

use revm::primitives::{Address, B256, TxKind, U256, address};
use revm::state::EvmState;

use super::Observer;
use super::engine::Engine;
use super::prepare::{Items, PreparedTx};
use super::state_view::{StateError, StateView};
use zkevm_batch::DecodedSoFar;
use zkevm_batch::observer::Stage;
use zkevm_evm::access_log::{AccessedLeaves, AccountLeaves};
use zkevm_evm::context::{SYSTEM_ADDRESS, ZkContext};
use zkevm_evm::errors::rom_error;
use zkevm_evm::interrupt::Interrupt;
use zkevm_evm::transaction::{EvmFailure, TxCall, TxOutcome};
use zkevm_evm::zk_evm::ZkEvm;
use zkevm_pool::{CancelToken, Cancelled};
use zkevm_tree::StateReader;
use zkevm_tree::{LeafKind, TreeRef};
use zkevm_types::{ApiVersion, ForkRules, LogShape, TX_GAS_LIMIT_MAX};
use zkevm_types::{BatchInput, StateSource};
use zkevm_types::{BatchOutput, BatchRoots, LogOutput, PhaseTimes, TouchedAccount, TxOutput};
use zkevm_types::{ExecutorError, RomError};

/// Bytes of a result without its data, in memory and in the answer.
const RESULT_BYTES: usize = 512;
/// Bytes of a log without its data.
const LOG_BYTES: usize = 384;

/// GlobalExitRootManagerL2, the same for every chain and fork (batch §2).
pub(crate) const GER_MANAGER_ADDRESS: Address = address!("a40D5f56745a118D0906a34E69aeC8C0Db1cB8fA");
/// Slot of the local exit root in the GER manager.
pub(crate) const LOCAL_EXIT_ROOT_SLOT: U256 = U256::from_limbs([1, 0, 0, 0]);

/// Why a batch was given up before its end, with the code the client sees.
#[derive(Clone, Debug)]
pub(crate) struct Abort {
    /// Code in the response.
    pub(crate) error: ExecutorError,
    /// What happened, for the log.
    pub(crate) message: String,
}

impl Abort {
    /// Creates an abort.
    pub(crate) fn new(error: ExecutorError, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}

/// Why a running batch does not go on.
#[derive(Clone, Debug)]
pub(crate) enum Halt {
    /// No answer beyond a code.
    Abort(Abort),
    /// It was given up.
    Cancelled(Cancelled),
}

impl From<Abort> for Halt {
    fn from(abort: Abort) -> Self {
        Self::Abort(abort)
    }
}

impl From<Cancelled> for Halt {
    fn from(cancelled: Cancelled) -> Self {
        Self::Cancelled(cancelled)
    }
}

impl From<StateError> for Halt {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Cancelled(cancelled) => Self::Cancelled(cancelled),
            error => Self::Abort(error.into()),
        }
    }
}

impl From<StateError> for Abort {
    fn from(error: StateError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<EvmFailure<StateError>> for Halt {
    fn from(failure: EvmFailure<StateError>) -> Self {
        match failure {
            EvmFailure::Database(error) => error.into(),
            EvmFailure::NeverEnds => Abort::new(ExecutorError::CountersOverflowSteps, failure.to_string()).into(),
            EvmFailure::Cancelled(cancelled) => cancelled.into(),
            EvmFailure::Internal(message) => Abort::new(ExecutorError::Assert, message).into(),
            EvmFailure::GivenUp { .. } => Abort::new(ExecutorError::Assert, failure.to_string()).into(),
        }
    }
}

/// The entry of the response that takes the result of a transaction: not its own where results follow the ROM's index.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// A trace is asked for by it.
    pub tx_hash: B256,
    /// The entry is that of a transaction that deploys.
    pub is_create: bool,
}

impl Entry {
    /// Returns the entry of a transaction itself.
    pub(crate) fn of(prepared: &PreparedTx) -> Self {
        Self { tx_hash: prepared.hash, is_create: prepared.tx.to.is_none() }
    }
}

/// How a transaction passed through the batch.
pub(crate) enum TxEnd {
    /// It failed an intrinsic check and changed nothing.
    Skipped,
    /// It ran out of counters, and the batch ends.
    GivenUp,
    /// It ran and paid its fee.
    Included {
        /// Exact logs, for the block info tree.
        logs: Vec<revm::primitives::Log>,
        /// Status of the block info tree and of the response.
        status: bool,
        /// Its error, if there is one, was told before any opcode ran.
        is_told_at_once: bool,
    },
}

/// A running batch, under an observer.
pub(crate) struct BatchRun<'a, O: Observer> {
    /// What batches share.
    pub(super) engine: &'a Engine,
    /// The request.
    pub(crate) input: &'a BatchInput,
    /// Rules of its fork.
    pub(crate) rules: &'static ForkRules,
    /// The EVM over the state.
    pub(crate) evm: ZkEvm<StateView<'a>, O>,
    /// Sum of reported gas so far.
    pub(crate) gas_used: u64,
    /// Where the time went.
    pub(crate) phases: PhaseTimes,
    /// The ROM's gas register: what a skipped transaction reports (batch §12.1).
    gas_register: u64,
    /// Effective price of the last transaction that got as far.
    last_price: U256,
    /// Decoded transactions that may still fill the trace asked for.
    pub(super) traces_ahead: usize,
    /// Versions whose nodes must survive the batch.
    pub(crate) kept_versions: Vec<TreeRef>,
    /// Accounts of a transaction that could not be written, as far as they are reported.
    abandoned: EvmState,
    /// Items that have not run, from when the batch is decoded.
    pub(super) items: Option<Items>,
    /// How far the batch is decoded.
    pub(super) decoded: DecodedSoFar,
    /// Whether to go on, and the memory to take from.
    pub(super) cancel: CancelToken,
    /// Memory of the state that has been taken.
    state_bytes: usize,
    /// Memory of the results that has been taken.
    taken: checkpoint::Taken,
}

impl<'a, O: Observer> BatchRun<'a, O> {
    /// Opens the state of a batch.
    pub(crate) fn new(
        engine: &'a Engine,
        input: &'a BatchInput,
        state: &'a dyn StateReader,
        cancel: &CancelToken,
        observer: O,
    ) -> Self {
        let rules = input.fork_id.rules();
        let state = StateView::new(engine, state, input.old_state_root, &input.state_override, input.get_keys)
            .stopped_by(cancel.clone());
        let mut evm = ZkEvm::new(state, rules, input.chain_id, Interrupt::new(cancel.clone()), observer);
        evm.context().block.beneficiary = input.coinbase;
        evm.context().block.gas_limit = input.block_gas_limit();
        evm.context().chain.log_hashes = input.get_keys.then(Vec::new);
        Self {
            engine,
            input,
            rules,
            evm,
            gas_used: 0,
            phases: PhaseTimes::default(),
            gas_register: input.chain_id,
            last_price: U256::ZERO,
            traces_ahead: 0,
            kept_versions: Vec::new(),
            abandoned: EvmState::default(),
            items: None,
            decoded: DecodedSoFar::default(),
            cancel: cancel.clone(),
            state_bytes: 0,
            taken: Default::default(),
        }
    }

    /// Returns the state.
    pub(crate) fn state(&mut self) -> &mut StateView<'a> {
        self.evm.db()
    }

    /// Returns the observer.
    pub(crate) fn observer(&mut self) -> &mut O {
        self.evm.observer()
    }

    /// Returns the ROM's gas register: gas left of the last included transaction.
    pub(crate) fn gas_register(&self) -> u64 {
        self.gas_register
    }

    /// Reads a slot the ROM reads outside transactions.
    pub(crate) fn system_slot(&mut self, address: Address, slot: U256) -> Result<U256, Abort> {
        let (observer, state) = self.evm.observer_and_db();
        observer.slot_read(address, slot, state.version(), state.state_access());
        let value = self.state().slot(address, slot)?;
        self.evm.context().chain.touched.slot(address, slot, value);
        Ok(value)
    }

    /// Writes a slot the ROM writes outside transactions.
    pub(crate) fn set_system_slot(&mut self, address: Address, slot: U256, value: U256) -> Result<(), Abort> {
        self.evm.context().chain.touched.slot(address, slot, value);
        let (observer, state) = self.evm.observer_and_db();
        observer.slot_written(address, slot, !value.is_zero(), state.version(), state.state_access());
        Ok(self.state().set_slot(address, slot, value)?)
    }

    /// Writes a slot of the system contract.
    pub(crate) fn set_system(&mut self, slot: U256, value: U256) -> Result<(), Abort> {
        self.set_system_slot(SYSTEM_ADDRESS, slot, value)
    }

    /// Writes the root of a version into the system contract. Nothing is hashed before the slot or the root is read.
    ///
    /// As a touched slot it has no value: forks that report values write no roots this way (executor-service §6.3).
    pub(crate) fn set_system_root(&mut self, slot: U256, of: TreeRef) -> Result<(), Abort> {
        self.evm.context().chain.touched.slot(SYSTEM_ADDRESS, slot, U256::ZERO);
        let (observer, state) = self.evm.observer_and_db();
        observer.slot_written(SYSTEM_ADDRESS, slot, true, state.version(), state.state_access());
        Ok(self.state().set_slot_to_root(SYSTEM_ADDRESS, slot, of)?)
    }

    /// Runs one transaction: intrinsic checks, execution, commit. Returns its response without state root and cumulative
    /// gas, which depend on the version of the API. `entry` takes the result.
    pub(crate) fn transaction(&mut self, prepared: &PreparedTx, entry: Entry) -> Result<(TxOutput, TxEnd), Halt> {
        let start = Instant::now();
        let tree_before = self.state().tree_time();
        let result = self.run_transaction(prepared, entry);
        let tree_time = self.state().tree_time() - tree_before;
        self.phases.evm += start.elapsed().saturating_sub(tree_time);
        result
    }

    fn run_transaction(&mut self, prepared: &PreparedTx, entry: Entry) -> Result<(TxOutput, TxEnd), Halt> {
        let tx = &prepared.tx;
        let mut output = self.empty_output(prepared);
        let start = self.state().version();
        self.observer().transaction_started(tx);
        let checked = self.intrinsic_checks(prepared, &mut output)?;
        output.effective_gas_price = self.rules.effective_percentage.then_some(self.last_price);
        output.full_trace = self.empty_trace(prepared, entry.tx_hash);
        let (end, register) = match checked {
            Err(error) => {
                self.observer().transaction_rejected(tx, error);
                output.error = error;
                (TxEnd::Skipped, self.gas_register)
            }
            Ok(call) => {
                self.observer().transaction_accepted(tx);
                let trace = self.trace_options(output.full_trace.is_some(), entry.is_create);
                let overflow = (prepared.tx.nonce == u64::MAX).then_some(call.caller);
                self.state().set_nonce_overflow(overflow);
                match self.evm.transact(&call, trace) {
                    Ok(outcome) => {
                        self.check_missing()?;
                        self.observer().transaction_ran();
                        let register = outcome.gas_left;
                        (self.finish_transaction(prepared, outcome, &mut output)?, register)
                    }
                    Err(EvmFailure::GivenUp { gas_left }) => {
                        self.observer().transaction_given_up();
                        self.note_abandoned(&call, false);
                        (TxEnd::GivenUp, gas_left)
                    }
                    Err(failure) => {
                        self.note_abandoned(&call, matches!(failure, EvmFailure::NeverEnds));
                        return Err(failure.into());
                    }
                }
            }
        };
        let (observer, state) = self.evm.observer_and_db();
        observer.transaction_ended(start, state.state_access());
        self.gas_register = register;
        output.gas_used = tx.gas_limit.checked_sub(register).unwrap_or(tx.gas_limit);
        output.gas_left = tx.gas_limit - output.gas_used;
        self.gas_used = self.gas_used.wrapping_add(output.gas_used);
        if let Some(trace) = &mut output.full_trace {
            trace.context.gas_used = output.gas_used;
            trace.context.output = output.return_value.clone();
        }
        let scratch = &self.evm.context().chain;
        let flags = self.rules.effective_percentage && !self.input.no_counters;
        output.has_gasprice_opcode = flags && scratch.used_gasprice;
        output.has_balance_opcode = flags && scratch.used_balance;
        self.take_memory(&output)?;
        Ok((output, end))
    }

    /// Takes the memory of a result, and what the state has grown by.
    fn take_memory(&mut self, output: &TxOutput) -> Result<(), Cancelled> {
        let logs: usize = output.logs.iter().map(|log| LOG_BYTES + log.data.len()).sum();
        let shown = output.return_value.len() + output.rlp_tx.len();
        // Each block lists the logs of its transactions once more, and a trace the return value.
        let again = output.full_trace.as_ref().map_or(0, |trace| trace.context.data.len() + output.return_value.len());
        self.take_result(RESULT_BYTES + shown + logs, RESULT_BYTES + shown + 2 * logs + again)?;
        let state_bytes = self.state().memory_bytes();
        let more = state_bytes.saturating_sub(self.state_bytes);
        self.state_bytes = self.state_bytes.max(state_bytes);
        self.cancel.take(more)
    }

    /// Fails once the batch has taken more of something than the machine has, counted or not.
    pub(crate) fn check_overflow(&mut self) -> Result<(), Abort> {
        let Some(error) = self.observer().overflow() else { return Ok(()) };
        let message = match error {
            ExecutorError::CountersOverflowSteps => "the batch takes more steps than the machine has without counters",
            ExecutorError::AddressOutOfRange => "the batch makes more digests of one kind than the machine can number",
            _ => "the batch opens more contexts than the machine can number",
        };
        Err(Abort::new(error, message))
    }

    /// Returns the error with which a batch ends that ran out of counters, judged by all that it has counted.
    pub(crate) fn out_of_counters(&mut self, stage: Stage) -> Result<Option<RomError>, Halt> {
        self.check_overflow()?;
        if self.observer().needs_decoding() {
            self.prepare_rest()?;
        }
        Ok(self.observer().out_of_counters(stage))
    }

    /// Fails if the ROM would have read a leaf that is not there.
    fn check_missing(&mut self) -> Result<(), Abort> {
        let ZkContext { chain, journaled_state, .. } = self.evm.context();
        Ok(journaled_state.database.check_missing(&chain.touched)?)
    }

    /// Notes the keys and hashes of the logs the last transaction made, reverted ones included.
    pub(crate) fn note_logs(&mut self, tx_index: u64, first_log_index: u64) {
        let Some(hashes) = &mut self.evm.context().chain.log_hashes else { return };
        for (log_index, hash) in std::mem::take(hashes) {
            let key = self.state().state_access().keys.log_key(tx_index, first_log_index + log_index);
            self.state().note_key(key);
            self.state().note_program(hash);
        }
    }

    /// Writes a result over one that is listed already, as fork 7 of the original does after a skipped transaction.
    ///
    /// The listed entry keeps what names its transaction, and its logs; gas is counted down from what the entry has left. An error
    /// `told_at_once` takes the place of the one that is listed; that of an opcode only fills a gap.
    pub(crate) fn overwrite_result(&mut self, listed: &mut TxOutput, result: TxOutput, told_at_once: bool) {
        self.gas_used = self.gas_used.wrapping_sub(result.gas_used);
        let used = listed.gas_left.checked_sub(self.gas_register).unwrap_or(listed.gas_left);
        self.gas_used = self.gas_used.wrapping_add(used);
        let mut full_trace = listed.full_trace.take();
        if let (Some(trace), Some(run)) = (&mut full_trace, result.full_trace) {
            trace.context.from = run.context.from;
            trace.context.output = run.context.output;
            trace.context.gas_used = used;
            if !run.steps.is_empty() {
                trace.steps = run.steps;
            }
        }
        *listed = TxOutput {
            full_trace,
            logs: std::mem::take(&mut listed.logs),
            tx_hash: listed.tx_hash,
            tx_hash_l2: listed.tx_hash_l2,
            rlp_tx: std::mem::take(&mut listed.rlp_tx),
            effective_percentage: listed.effective_percentage,
            has_gasprice_opcode: listed.has_gasprice_opcode,
            has_balance_opcode: listed.has_balance_opcode,
            gas_used: used,
            gas_left: listed.gas_left - used,
            tx_index: listed.tx_index,
            error: match (listed.error, result.error) {
                (listed, RomError::NoError) => listed,
                (RomError::NoError, result) => result,
                (_, result) if told_at_once => result,
                (listed, _) => listed,
            },
            ..result
        };
    }

    /// Returns the response of a transaction that has not run.
    pub(crate) fn empty_output(&self, prepared: &PreparedTx) -> TxOutput {
        TxOutput {
            tx_hash: prepared.hash,
            tx_hash_l2: prepared.l2_hash.to_b256(),
            rlp_tx: prepared.rlp.clone(),
            gas_left: prepared.tx.gas_limit,
            create_address: prepared.tx.to.is_none().then_some(Address::ZERO),
            effective_percentage: prepared.tx.percentage,
            ..TxOutput::default()
        }
    }

    /// The intrinsic checks in the ROM's order; the first failure wins (batch §8.1).
    fn intrinsic_checks(
        &mut self,
        prepared: &PreparedTx,
        output: &mut TxOutput,
    ) -> Result<Result<TxCall, RomError>, Halt> {
        let tx = &prepared.tx;
        let Some(caller) = prepared.signer else {
            return Ok(Err(RomError::IntrinsicInvalidSignature));
        };
        self.observer().account_read(caller, LeafKind::CodeLength);
        let has_code = !self.state().code_length_leaf(caller)?.is_zero();
        self.evm.context().chain.touched.code(caller, AccountLeaves::CODE_LENGTH, has_code);
        if has_code && self.input.from.is_none() {
            return Ok(Err(RomError::IntrinsicInvalidSenderCode));
        }
        if tx.chain_id.is_some_and(|chain_id| chain_id != self.input.chain_id) {
            return Ok(Err(RomError::IntrinsicInvalidChainId));
        }
        self.observer().sender_touched(caller);
        output.status = true;
        let gas_price = if self.rules.effective_percentage { tx.scaled_gas_price() } else { tx.gas_price };
        self.last_price = gas_price;
        self.touch(caller, AccountLeaves::NONCE);
        self.observer().account_read(caller, LeafKind::Nonce);
        if self.state().nonce(caller)? != U256::from(tx.nonce) {
            return Ok(Err(RomError::IntrinsicInvalidNonce));
        }
        self.observer().account_written(caller, LeafKind::Nonce, true);
        if tx.gas_limit > TX_GAS_LIMIT_MAX {
            return Ok(Err(RomError::IntrinsicInvalidBatchGasLimit));
        }
        let intrinsic_gas = tx.intrinsic_gas();
        if tx.gas_limit < intrinsic_gas {
            return Ok(Err(RomError::IntrinsicInvalidGasLimit));
        }
        let Some(fee) = gas_price.checked_mul(U256::from(tx.gas_limit)) else {
            return Ok(Err(RomError::IntrinsicTxGasOverflow));
        };
        self.touch(caller, AccountLeaves::BALANCE);
        self.observer().account_read(caller, LeafKind::Balance);
        let balance = self.state().balance(caller)?;
        if fee.checked_add(tx.value).is_none_or(|cost| cost > balance) {
            return Ok(Err(RomError::IntrinsicInvalidBalance));
        }
        self.observer().account_written(caller, LeafKind::Balance, fee < balance);
        Ok(Ok(TxCall {
            caller,
            kind: tx.to.map_or(TxKind::Create, TxKind::Call),
            nonce: tx.nonce,
            gas_limit: tx.gas_limit,
            intrinsic_gas,
            gas_price,
            value: tx.value,
            data: tx.data.clone(),
        }))
    }

    fn touch(&mut self, address: Address, leaves: AccountLeaves) {
        self.evm.context().chain.touched.account(address, leaves);
    }

    fn finish_transaction(
        &mut self,
        prepared: &PreparedTx,
        outcome: TxOutcome,
        output: &mut TxOutput,
    ) -> Result<TxEnd, Halt> {
        let error = rom_error(outcome.result);
        let mut status = outcome.result.is_ok();
        if outcome.unsupported_precompile && self.rules.unsupported_precompile_top_level_status {
            status = true;
        }
        output.error = if outcome.ended_in_collision { RomError::ContractAddressCollision } else { error };
        output.status = status;
        // The original finds the refund in the last step, of which nothing is filled without counters.
        if self.rules.api == ApiVersion::V1 && !self.input.no_counters {
            output.gas_refunded = outcome.refund_counter;
        }
        output.return_value = outcome.output;
        if let Some(trace) = &mut output.full_trace {
            trace.steps = outcome.steps;
        }
        output.create_address = outcome.created;
        output.logs = shown_logs(&outcome.logs, self.rules, self.input.no_counters);
        if self.input.get_keys {
            for (hash, _) in &outcome.new_programs {
                self.state().note_program(*hash);
            }
        }
        if let Err(error) = self.state().commit(&outcome.state, outcome.new_programs) {
            self.note_unwritten(prepared, outcome.state);
            return Err(error.into());
        }
        Ok(TxEnd::Included { logs: outcome.logs, status, is_told_at_once: !outcome.ran_opcodes })
    }

    /// Notes what the ROM would show of a transaction that could not go on: its fee is taken, nothing paid back.
    ///
    /// A transaction that `never_ends` shows the state as it stands.
    fn note_abandoned(&mut self, call: &TxCall, never_ends: bool) {
        self.abandoned = self.evm.take_abandoned();
        if never_ends {
            return;
        }
        if let Some(sender) = self.abandoned.get_mut(&call.caller) {
            sender.info.balance =
                sender.info.balance.saturating_sub(self.last_price.saturating_mul(U256::from(call.gas_limit)));
            sender.info.nonce = sender.info.nonce.saturating_add(1);
        }
    }

    /// Notes what the ROM would show of a transaction that could not be written: it stops at the write that has no path, with the
    /// fee taken and nothing paid back. Writes are made together here; those that need more than their own path are deletions.
    fn note_unwritten(&mut self, prepared: &PreparedTx, mut changed: EvmState) {
        self.state().forget();
        for (address, account) in &changed {
            for (slot, value) in account.storage.iter().filter(|(_, value)| value.present_value.is_zero()) {
                self.evm.context().chain.touched.slot(*address, *slot, value.original_value);
            }
        }
        let fee = self.last_price.saturating_mul(U256::from(prepared.tx.gas_limit));
        let Some(sender) = prepared.signer else { return };
        if let (Ok(before), Some(mut account)) = (self.state().balance(sender), changed.remove(&sender)) {
            account.info.balance = before.saturating_sub(fee);
            self.abandoned.insert(sender, account);
        }
    }

    /// Builds the answer of a batch that ran to its end, or was given up, and returns it with the observer.
    pub(crate) fn finish(
        mut self,
        end: Result<(), Abort>,
        new_acc_input_hash: B256,
    ) -> Result<(BatchOutput, O), Cancelled> {
        let output = match end.map_err(Halt::from).and_then(|()| self.final_output(new_acc_input_hash)) {
            Ok(output) => output,
            Err(Halt::Abort(abort)) => self.aborted(abort)?,
            Err(Halt::Cancelled(cancelled)) => return Err(cancelled),
        };
        // A tree whose batch is to stop hashes no more: its roots are none.
        self.cancel.check()?;
        Ok((output, self.evm.into_observer()))
    }

    fn final_output(&mut self, new_acc_input_hash: B256) -> Result<BatchOutput, Halt> {
        let new_local_exit_root = self.system_slot(GER_MANAGER_ADDRESS, LOCAL_EXIT_ROOT_SLOT)?;
        let new_state_root = self.state().root();
        let roots = BatchRoots { new_state_root, new_acc_input_hash, new_local_exit_root: new_local_exit_root.into() };
        let touched = std::mem::take(&mut self.evm.context().chain.touched);
        let read_write_addresses = self.touched_accounts(&touched)?;
        if self.input.get_keys {
            self.state().note_touched(&touched);
        }
        let mut output = self.output(ExecutorError::NoError)?;
        output.roots = Some(roots);
        output.gas_used = self.gas_used;
        output.read_write_addresses = read_write_addresses;
        let is_kept = self.input.state_source != StateSource::Witness { keep: false };
        if new_state_root != self.input.old_state_root && is_kept {
            let mut versions = std::mem::take(&mut self.kept_versions);
            versions.push(self.state().version());
            output.new_nodes = self.state().new_nodes(&versions);
            output.new_programs = self.state().take_new_programs();
        }
        (output.smt_keys, output.program_keys) = self.state().take_keys();
        Ok(output)
    }

    fn aborted(&mut self, abort: Abort) -> Result<BatchOutput, Cancelled> {
        let abandoned = std::mem::take(&mut self.abandoned);
        let mut touched = std::mem::take(&mut self.evm.context().chain.touched);
        // The ROM had read what led it to a program that is missing.
        let missing = self.state().missing_program();
        for (address, _) in abandoned.iter().filter(|(_, account)| Some(account.info.code_hash) == missing) {
            touched.account(*address, AccountLeaves::of_code(true));
            if let Ok(length) = self.state().code_length_leaf(*address) {
                self.observer().program_missing(length.saturating_to());
            }
        }
        let mut output = self.output(abort.error)?;
        // What can still be read is reported; a second failure adds nothing.
        let mut accounts = self.touched_accounts(&touched).unwrap_or_default();
        for (address, account) in &abandoned {
            let Some(reported) = accounts.get_mut(address) else { continue };
            reported.nonce = reported.nonce.map(|_| U256::from(account.info.nonce));
            reported.balance = reported.balance.map(|_| account.info.balance);
        }
        output.read_write_addresses = accounts;
        if self.input.get_keys {
            self.state().note_touched(&touched);
            (output.smt_keys, output.program_keys) = self.state().take_keys();
        }
        output.error_log = abort.message;
        Ok(output)
    }

    fn output(&mut self, error: ExecutorError) -> Result<BatchOutput, Cancelled> {
        self.finish_decoding()?;
        self.phases.tree = self.state().tree_time() + self.phases.info_tree;
        self.phases.permutations += self.state().permutations();
        Ok(BatchOutput { phases: self.phases, ..BatchOutput::of_error(error) })
    }

    /// Reads every touched account at the final state (executor-service §6.1).
    fn touched_accounts(&mut self, touched: &AccessedLeaves) -> Result<BTreeMap<Address, TouchedAccount>, Abort> {
        let in_full = self.rules.touched_accounts_in_full;
        let state = self.state();
        let mut accounts = BTreeMap::new();
        for (address, leaves) in touched.accounts() {
            let mut account = TouchedAccount::default();
            if leaves.contains(AccountLeaves::NONCE) {
                account.nonce = Some(state.nonce(address)?);
            }
            if leaves.contains(AccountLeaves::BALANCE) {
                account.balance = Some(state.balance(address)?);
            }
            if in_full && leaves.contains(AccountLeaves::CODE_HASH) {
                account.code_hash = Some(match touched.last_code_hash(address) {
                    Some(hash) => hash,
                    None => state.code_hash(address)?,
                });
            }
            if in_full && leaves.contains(AccountLeaves::CODE_LENGTH) {
                account.code_length = Some(match touched.last_code_length(address) {
                    Some(length) => U256::from(length),
                    None => state.code_length_leaf(address)?,
                });
            }
            if account != TouchedAccount::default() {
                accounts.insert(address, account);
            }
        }
        if in_full {
            for (address, slot, value) in touched.slots() {
                accounts.entry(address).or_default().storage.insert(slot, value);
            }
        }
        Ok(accounts)
    }
}

/// Returns the logs as the response of a fork shows them; indices start at 0 (batch §12.2). Without counters the original may
/// pass over the opcode, by which alone it knows of a log that has neither data nor topics.
fn shown_logs(logs: &[revm::primitives::Log], rules: &ForkRules, no_counters: bool) -> Vec<LogOutput> {
    let shows_empty = match rules.logs {
        LogShape::Padded => false,
        LogShape::Exact => !no_counters || rules.uncounted_log0_noted,
    };
    let mut shown = Vec::with_capacity(logs.len());
    for (place, log) in logs.iter().enumerate() {
        let mut data = log.data.data.clone();
        if !shows_empty && data.is_empty() && log.topics().is_empty() {
            continue;
        }
        let mut index = place;
        if rules.logs == LogShape::Padded {
            index = shown.len();
            if data.len() % 32 != 0 {
                let mut padded = data.to_vec();
                padded.resize(data.len().next_multiple_of(32), 0);
                data = padded.into();
            }
        }
        shown.push(LogOutput { address: log.address, topics: log.topics().to_vec(), data, index: index as u32 });
    }
    shown
}
