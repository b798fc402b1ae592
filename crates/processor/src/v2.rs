//! `ProcessBatchV2`: forks from 7, L2 blocks inside a batch (batch §6, §7).

mod resumed;

pub(crate) use resumed::process_with_prefixes;

use revm::primitives::{B256, Log, U256};

use super::Observer;
use super::block_info::BlockInfo;
use super::engine::Engine;
use super::prepare::{PreparedItem, PreparedTx};
use super::run::{Abort, BatchRun, Entry, GER_MANAGER_ADDRESS, Halt, TxEnd};
use super::state_view::StateError;
use zkevm_batch::observer::{BlockHeader, BlockStep, DecodedBatch, ExitRoot, Stage};
use zkevm_batch::{
    DecodedSoFar, L1_INFO_TREE_LEVELS, ZERO_LEAF_HASH, acc_input_hash_v2, keccak_slot, l1_info_leaf_hash, l1_info_root,
};
use zkevm_evm::context::SYSTEM_ADDRESS;
use zkevm_pool::{CancelToken, Cancelled};
use zkevm_tree::StateReader;
use zkevm_tree::{GOLDILOCKS_PRIME, TreeRef};
use zkevm_types::LogShape;
use zkevm_types::{BatchInput, L1InfoLeaf, V2Context};
use zkevm_types::{BatchOutput, BlockOutput, TxOutput};
use zkevm_types::{ExecutorError, RomError};

/// Slots of the system contract (batch §2).
const LAST_BLOCK_SLOT: U256 = U256::ZERO;
const TIMESTAMP_SLOT: U256 = U256::from_limbs([2, 0, 0, 0]);
const BLOCK_INFO_ROOT_SLOT: U256 = U256::from_limbs([3, 0, 0, 0]);
/// Mapping of block number to state root.
const STATE_ROOT_MAPPING: u64 = 1;

/// Executes a V2 batch.
pub(crate) fn process<O: Observer>(
    engine: &Engine,
    input: &BatchInput,
    context: &V2Context,
    state: &dyn StateReader,
    cancel: &CancelToken,
    observer: O,
) -> Result<(BatchOutput, O), Cancelled> {
    let mut batch = V2Batch::new(BatchRun::new(engine, input, state, cancel, observer), context);
    let end = batch.execute();
    batch.finish(end)
}

/// Why the batch does not go on.
enum Stop {
    /// A batch-level error: everything is undone, the answer is regular (batch §10).
    Invalid(RomError),
    /// No answer beyond a code.
    Abort(Abort),
    /// The caller gave up.
    Cancelled(Cancelled),
}

impl From<Cancelled> for Stop {
    fn from(cancelled: Cancelled) -> Self {
        Self::Cancelled(cancelled)
    }
}

impl From<Abort> for Stop {
    fn from(abort: Abort) -> Self {
        Self::Abort(abort)
    }
}

impl From<Halt> for Stop {
    fn from(halt: Halt) -> Self {
        match halt {
            Halt::Abort(abort) => Self::Abort(abort),
            Halt::Cancelled(cancelled) => Self::Cancelled(cancelled),
        }
    }
}

impl From<StateError> for Stop {
    fn from(error: StateError) -> Self {
        Self::Abort(error.into())
    }
}

struct V2Batch<'a, O: Observer> {
    run: BatchRun<'a, O>,
    context: &'a V2Context,
    /// Number of the current block.
    block_number: U256,
    /// Timestamp of the current block.
    timestamp: U256,
    /// The state before the batch.
    old_version: TreeRef,
    open: Option<OpenBlock>,
    closed: Vec<BlockOutput>,
    /// L1 info entries that were asked for, each time.
    l1_indices: Vec<u32>,
}

/// The block being run.
#[derive(Default)]
struct OpenBlock {
    info: BlockInfo,
    parent_hash: B256,
    ger: B256,
    block_hash_l1: B256,
    transactions: Vec<TxOutput>,
    /// What is known of each transaction beside its result.
    listed: Vec<Listed>,
    tx_index: u64,
    log_index: u64,
    cumulative_gas_used: u64,
}

/// A transaction of the block being run.
struct Listed {
    /// State after it; all are hashed together when the block closes.
    version: TreeRef,
    /// It deploys a contract.
    is_create: bool,
}

impl<'a, O: Observer> V2Batch<'a, O> {
    fn new(run: BatchRun<'a, O>, context: &'a V2Context) -> Self {
        let mut batch = Self {
            run,
            context,
            block_number: U256::ZERO,
            timestamp: U256::ZERO,
            old_version: TreeRef::EMPTY,
            open: None,
            closed: Vec::new(),
            l1_indices: Vec::new(),
        };
        batch.old_version = batch.run.state().version();
        batch
    }

    /// Makes the answer of a batch that ended so.
    fn finish(mut self, end: Result<(), Stop>) -> Result<(BatchOutput, O), Cancelled> {
        let mut error_rom = RomError::NoError;
        let end = match end {
            Ok(()) => Ok(()),
            Err(Stop::Cancelled(cancelled)) => return Err(cancelled),
            Err(Stop::Abort(abort)) => Err(abort),
            Err(Stop::Invalid(error)) => {
                error_rom = error;
                self.run.kept_versions.clear();
                self.run.state().restore(self.old_version);
                Ok(())
            }
        };
        let Self { run, context, closed, .. } = self;
        let input = run.input;
        let acc_input_hash = acc_input_hash_v2(
            input.old_acc_input_hash,
            &input.batch_l2_data,
            context.l1_info_root,
            context.timestamp_limit,
            input.coinbase,
            context.forced_blockhash_l1,
        );
        let (output, observer) = run.finish(end, acc_input_hash)?;
        let invalid_batch = error_rom != RomError::NoError;
        Ok((BatchOutput { blocks: closed, invalid_batch, error_rom, ..output }, observer))
    }

    fn execute(&mut self) -> Result<(), Stop> {
        self.begin()?;
        let forced = self.context.is_forced();
        if self.run.input.batch_l2_data.is_empty() {
            let empty = DecodedBatch { items: &[], end: Ok(()), is_forced: forced };
            self.run.observer().batch_decoded(empty, |_| Vec::new());
            return Ok(());
        }
        let implicit_block = forced || self.context.skip_first_change_l2_block;
        let decoded = self.run.prepare(forced, implicit_block, DecodedSoFar::default())?;
        self.run.check_overflow()?;
        decoded.map_err(Stop::Invalid)?;
        let slots = [LAST_BLOCK_SLOT, TIMESTAMP_SLOT, BLOCK_INFO_ROOT_SLOT].map(|slot| (SYSTEM_ADDRESS, slot));
        self.run.read_ahead(&slots)?;
        self.block_number = self.run.system_slot(SYSTEM_ADDRESS, LAST_BLOCK_SLOT)?;
        if self.context.skip_first_change_l2_block {
            // The original reads this slot behind the back of its own bookkeeping: it is not reported as touched.
            self.timestamp = self.run.state().slot(SYSTEM_ADDRESS, TIMESTAMP_SLOT)?;
        }
        if forced {
            self.open_block(None)?;
        }
        self.run_items()
    }

    /// Checks the old state root, and begins to count.
    fn begin(&mut self) -> Result<(), Stop> {
        let old_root: U256 = self.run.input.old_state_root.into();
        if old_root.as_limbs().iter().any(|&limb| limb >= GOLDILOCKS_PRIME) {
            return Err(Abort::new(ExecutorError::BinaryLt4Mismatch, "old state root is out of range").into());
        }
        self.run.observer().batch_data_hashed();
        Ok(())
    }

    /// Runs the items that have not run, and closes the last block.
    fn run_items(&mut self) -> Result<(), Stop> {
        while let Some(item) = self.run.next_item()? {
            match item {
                PreparedItem::ChangeL2Block { delta_timestamp, l1_info_index } => {
                    self.close_block()?;
                    self.open_block(Some((delta_timestamp, l1_info_index)))?;
                }
                PreparedItem::Transaction(prepared) => self.transaction(&prepared)?,
            }
            self.check_counters()?;
        }
        self.close_block()?;
        self.check_counters()
    }

    /// Ends a batch that ran out of counters: the block in progress is dropped, the closed ones stay listed (counters §15.1).
    ///
    /// A batch that starts inside a block is a sequencer's trial of a transaction: it keeps the block, with the error on
    /// the transaction that showed it (counters §16.3).
    fn check_counters(&mut self) -> Result<(), Stop> {
        let Some(error) = self.run.out_of_counters(Stage::Ran)? else { return Ok(()) };
        if self.context.skip_first_change_l2_block
            && let Some(mut block) = self.open.take()
        {
            if let Some(last) = block.transactions.last_mut() {
                last.error = error;
            }
            let output = self.block_output(block, B256::ZERO, B256::ZERO);
            self.closed.push(BlockOutput { error, ..output });
        }
        Err(Stop::Invalid(error))
    }

    fn block_output(&self, block: OpenBlock, block_info_root: B256, block_hash: B256) -> BlockOutput {
        BlockOutput {
            parent_hash: block.parent_hash,
            coinbase: self.run.input.coinbase,
            gas_limit: self.run.input.block_gas_limit(),
            block_number: self.block_number.saturating_to(),
            timestamp: self.timestamp.saturating_to(),
            ger: block.ger,
            block_hash_l1: block.block_hash_l1,
            gas_used: block.cumulative_gas_used,
            block_info_root,
            block_hash,
            transactions: block.transactions,
            error: RomError::NoError,
        }
    }

    /// Opens a block for a ChangeL2Block (`delta`, `index`) or for a forced batch (batch §7).
    fn open_block(&mut self, change: Option<(u32, u32)>) -> Result<(), Stop> {
        self.run.observer().block_started(change.map(|(_, l1_info_index)| l1_info_index));
        let parent_hash = self.run.state().root();
        self.run.set_system(keccak_slot(self.block_number, STATE_ROOT_MAPPING), parent_hash.into())?;
        self.block_number = self.block_number.wrapping_add(U256::from(1));
        self.run.set_system(LAST_BLOCK_SLOT, self.block_number)?;
        let (ger, block_hash_l1) = match change {
            Some((delta, index)) => self.open_regular(delta, index)?,
            None => self.open_forced()?,
        };
        let mut root = None;
        if !ger.is_zero() {
            let slot = keccak_slot(ger.into(), 0);
            self.run.observer().mapping_slot_hashed();
            root = Some(ExitRoot::Known);
            if self.run.system_slot(GER_MANAGER_ADDRESS, slot)?.is_zero() {
                self.run.set_system_slot(GER_MANAGER_ADDRESS, slot, block_hash_l1.into())?;
                root = Some(ExitRoot::New);
            }
        }
        if change.is_none_or(|(_, index)| index != 0) {
            self.run.observer().block_step(BlockStep::ExitRoot { is_forced: change.is_none(), root });
        }
        let mut block = OpenBlock { parent_hash, ger, block_hash_l1, ..OpenBlock::default() };
        let header = BlockHeader {
            parent_hash,
            coinbase: self.run.input.coinbase,
            number: self.block_number.saturating_to(),
            gas_limit: self.run.input.block_gas_limit(),
            timestamp: self.timestamp,
            ger,
            block_hash_l1,
        };
        self.run.observer().block_header_written(&header);
        block.info.insert_header(&header);
        self.open = Some(block);
        Ok(())
    }

    fn open_regular(&mut self, delta: u32, index: u32) -> Result<(B256, B256), Stop> {
        let current = self.run.system_slot(SYSTEM_ADDRESS, TIMESTAMP_SLOT)?;
        let timestamp = current.wrapping_add(U256::from(delta));
        if timestamp > U256::from(self.context.timestamp_limit) {
            self.run.observer().block_step(BlockStep::BadTimestamp);
            return Err(Stop::Invalid(RomError::InvalidTxChangeL2BlockLimitTimestamp));
        }
        self.run.observer().block_step(BlockStep::Timestamp { has_l1_info: index != 0 });
        self.run.set_system(TIMESTAMP_SLOT, timestamp)?;
        self.timestamp = timestamp;
        if index == 0 {
            return Ok((B256::ZERO, B256::ZERO));
        }
        let leaf = self.context.l1_info_tree_data.get(&index).ok_or_else(|| {
            Abort::new(ExecutorError::InvalidL1InfoTreeIndex, format!("no L1 info for index {index}"))
        })?;
        self.l1_indices.push(index);
        self.run.observer().l1_info_proved(index);
        self.verify_l1_info(index, leaf)?;
        if timestamp < U256::from(leaf.min_timestamp) {
            self.run.observer().block_step(BlockStep::BadTimestamp);
            return Err(Stop::Invalid(RomError::InvalidTxChangeL2BlockMinTimestamp));
        }
        Ok((leaf.global_exit_root, leaf.block_hash_l1))
    }

    /// Checks the proof of an L1 info leaf (batch §7.1).
    fn verify_l1_info(&self, index: u32, leaf: &L1InfoLeaf) -> Result<(), Stop> {
        let skip = self.context.skip_verify_l1_info_root;
        if !skip && leaf.smt_proof.len() < L1_INFO_TREE_LEVELS {
            let message = format!("L1 info proof of index {index} has {} of 32 levels", leaf.smt_proof.len());
            return Err(Abort::new(ExecutorError::InvalidL1InfoTreeSmtProofValue, message).into());
        }
        let hash = l1_info_leaf_hash(leaf);
        let is_zero_leaf = self.run.rules.zero_l1_leaf_rule && hash == ZERO_LEAF_HASH;
        let hash = if is_zero_leaf { B256::ZERO } else { hash };
        if !skip && l1_info_root(hash, index, &leaf.smt_proof) != self.context.l1_info_root {
            let message = format!("L1 info proof of index {index} leads to another root");
            return Err(Abort::new(ExecutorError::Assert, message).into());
        }
        if is_zero_leaf {
            return Err(Stop::Invalid(RomError::InvalidL1InfoTreeIndex));
        }
        Ok(())
    }

    fn open_forced(&mut self) -> Result<(B256, B256), Stop> {
        let current = self.run.system_slot(SYSTEM_ADDRESS, TIMESTAMP_SLOT)?;
        let limit = U256::from(self.context.timestamp_limit);
        self.timestamp = current;
        self.run.observer().block_step(BlockStep::ForcedTimestamp { moves: current < limit });
        if current < limit {
            self.run.set_system(TIMESTAMP_SLOT, limit)?;
            self.timestamp = limit;
        }
        Ok((self.context.l1_info_root, self.context.forced_blockhash_l1))
    }

    fn transaction(&mut self, prepared: &PreparedTx) -> Result<(), Stop> {
        // Without a ChangeL2Block before it, the transaction runs in the block the state is in (batch §13).
        let mut block = self.open.take().unwrap_or_default();
        let env = &mut self.run.evm.context().block;
        env.number = self.block_number;
        env.timestamp = self.timestamp;
        let before = self.run.state().version();
        // Where the original writes the result: a skipped transaction does not advance the ROM's index.
        let follows_index = self.run.rules.results_follow_rom_index;
        if follows_index {
            let mut listed = self.run.listed_output(prepared);
            if let Some(trace) = &mut listed.full_trace {
                trace.context.tx_index = block.tx_index;
            }
            block.transactions.push(listed);
            block.listed.push(Listed { version: before, is_create: prepared.tx.to.is_none() });
        }
        let place = if follows_index { block.tx_index as usize } else { block.transactions.len() };
        let entry = match (block.transactions.get(place), block.listed.get(place)) {
            (Some(output), Some(listed)) => Entry { tx_hash: output.tx_hash, is_create: listed.is_create },
            _ => Entry::of(prepared),
        };
        let (mut output, end) = self.run.transaction(prepared, entry)?;
        if follows_index && let Some(last) = block.transactions.last_mut() {
            // Unlike the rest of the result, flags and logs are written to the transaction's own entry.
            last.has_gasprice_opcode = output.has_gasprice_opcode;
            last.has_balance_opcode = output.has_balance_opcode;
            last.logs = std::mem::take(&mut output.logs);
            last.tx_index = block.tx_index as u32;
        }
        output.tx_index = block.tx_index as u32;
        if let Some(trace) = &mut output.full_trace {
            trace.context.tx_index = block.tx_index;
        }
        self.run.note_logs(block.tx_index, block.log_index);
        let told_at_once = !matches!(end, TxEnd::Included { is_told_at_once: false, .. });
        if let TxEnd::Included { logs, status, .. } = end {
            self.include(&mut block, prepared, &mut output, &logs, status);
        }
        output.cumulative_gas_used = block.cumulative_gas_used;
        let version = self.run.state().version();
        match (block.transactions.get_mut(place), block.listed.get_mut(place)) {
            (Some(result), Some(listed)) => {
                // Of the entry is only whether it has an address: the address itself is that of what ran.
                output.create_address =
                    listed.is_create.then(|| output.create_address.or(prepared.tx.to).unwrap_or_default());
                self.run.overwrite_result(result, output, told_at_once);
                listed.version = version;
            }
            _ => {
                block.transactions.push(output);
                block.listed.push(Listed { version, is_create: prepared.tx.to.is_none() });
            }
        }
        self.open = Some(block);
        Ok(())
    }

    /// Adds an included transaction to its block (batch §6, §9.2).
    fn include(
        &mut self,
        block: &mut OpenBlock,
        prepared: &PreparedTx,
        output: &mut TxOutput,
        logs: &[Log],
        status: bool,
    ) {
        let included_gas = prepared.tx.gas_limit - self.run.gas_register();
        block.cumulative_gas_used = block.cumulative_gas_used.wrapping_add(included_gas);
        if self.run.rules.logs == LogShape::Exact {
            output.logs.iter_mut().for_each(|log| log.index = log.index.wrapping_add(block.log_index as u32));
        }
        for log in logs {
            block.info.insert_log(block.tx_index, block.log_index, &log.data.data, log.topics());
            block.log_index += 1;
        }
        let percentage = prepared.tx.percentage;
        self.run.observer().receipt_written(status, block.cumulative_gas_used, percentage);
        block.info.insert_transaction(block.tx_index, prepared.l2_hash, status, block.cumulative_gas_used, percentage);
        block.tx_index += 1;
    }

    /// Closes the open block, if there is one (batch §9.3).
    fn close_block(&mut self) -> Result<(), Stop> {
        let Some(mut block) = self.open.take() else { return Ok(()) };
        block.info.insert_gas_used(block.cumulative_gas_used);
        self.run.observer().block_closed(block.cumulative_gas_used);
        let start = std::time::Instant::now();
        let info = self.run.state().finish_block_info(std::mem::take(&mut block.info))?;
        let info_root = info.root;
        self.run.phases.info_tree += start.elapsed();
        self.run.phases.permutations += info.permutations;
        if self.run.input.get_keys {
            info.keys.into_iter().for_each(|key| self.run.state().note_key(key));
        }
        let written = if self.context.skip_write_block_info_root { B256::ZERO } else { info_root };
        self.run.set_system(BLOCK_INFO_ROOT_SLOT, written.into())?;
        let state = self.run.state();
        let version = state.version();
        let versions: Vec<TreeRef> = block.listed.iter().map(|listed| listed.version).chain([version]).collect();
        state.hash_versions(&versions);
        for (output, version) in block.transactions.iter_mut().zip(&versions) {
            output.state_root = state.root_of(*version);
        }
        let block_hash = state.root_of(version);
        self.run.kept_versions.push(version);
        let output = self.block_output(block, info_root, block_hash);
        self.closed.push(output);
        Ok(())
    }
}
