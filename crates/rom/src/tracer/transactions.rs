//! Transactions (main-state-machine §9.4).

use alloy_primitives::{Bytes, U256, keccak256};
use zkevm_batch::Transaction;
use zkevm_types::{ExecutorError, FullTrace, RomError, TraceContext, TraceSteps, TxOutput};

use super::steps::Steps;
use super::{Tracer, address_of, low_u64};
use crate::{Abort, Variable, View};

/// Where forks up to 4 keep call data: words of the stack region from here on.
const CALL_DATA_WORD: u64 = 1024;

/// A transaction of the answer.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) output: TxOutput,
    context: TraceContext,
    steps: TraceSteps,
    is_traced: bool,
}

impl Entry {
    /// Returns an entry that stands for no transaction.
    pub(super) fn bare(output: TxOutput) -> Self {
        Self { output, ..Self::default() }
    }

    /// Returns the transaction as the answer lists it.
    pub(super) fn into_output(self) -> TxOutput {
        let Self { output, context, steps, is_traced } = self;
        let full_trace = is_traced.then(|| Box::new(FullTrace { context, steps }));
        TxOutput { full_trace, ..output }
    }
}

impl Tracer<'_> {
    /// Returns the entry that events of the running transaction are about.
    pub(super) fn target(&mut self) -> Option<&mut Entry> {
        match self.rules.is_v2 && !self.rules.results_follow_rom_index {
            true => self.entries.last_mut(),
            false => self.entries.get_mut(usize::try_from(self.tx_index).ok()?),
        }
    }

    pub(super) fn process_tx(&mut self, view: &mut View<'_, '_>) -> Result<(), Abort> {
        if self.rules.is_v2 {
            self.tx_index = low_u64(view.global(Variable::TxIndex)?);
        }
        let entry = self.new_entry(view)?;
        if view.request.skip_first_change_l2_block && self.open.is_none() {
            self.start_block(view)?;
        }
        self.take(size_of::<Entry>() + 2 * entry.output.rlp_tx.len())?;
        self.entries.push(entry);
        let is_listed = self.target().is_some_and(|entry| entry.is_traced);
        self.opcodes.begin(view.context(), Steps::new(is_listed));
        self.last_error = None;
        Ok(())
    }

    fn new_entry(&self, view: &View<'_, '_>) -> Result<Entry, Abort> {
        let root = view.state_root_digest()?.to_b256();
        let is_create = !view.local(Variable::IsCreateContract)?.is_zero();
        let to = if is_create { None } else { Some(address_of(view.local(Variable::TxDestAddr)?)) };
        let percentage = match self.rules.has_percentages {
            true => low_u64(view.local(Variable::EffectivePercentageRlp)?) as u8,
            false => 0,
        };
        let chain_id = low_u64(view.local(Variable::TxChainId)?);
        let tx = Transaction {
            nonce: low_u64(view.local(Variable::TxNonce)?),
            gas_price: view.local(Variable::TxGasPriceRlp)?,
            gas_limit: low_u64(view.local(Variable::TxGasLimit)?),
            to,
            value: view.local(Variable::TxValue)?,
            data: self.call_data(view)?,
            chain_id: Some(chain_id),
            r: view.local(Variable::TxR)?.into(),
            s: view.local(Variable::TxS)?.into(),
            // One byte of the batch.
            v: low_u64(view.local(Variable::TxV)?) as u8,
            percentage,
            signed_rlp: Bytes::new(),
        };
        let rlp_tx = tx.rlp();
        let tx_hash = keccak256(&rlp_tx);
        let tx_hash_l2 = if self.rules.is_v2 { view.local(Variable::L2TxHash)? } else { U256::ZERO };
        let output = TxOutput {
            tx_hash,
            tx_hash_l2: tx_hash_l2.into(),
            rlp_tx,
            gas_left: tx.gas_limit,
            state_root: root,
            effective_percentage: percentage,
            tx_index: self.tx_index as u32,
            ..TxOutput::default()
        };
        let context = TraceContext {
            is_create,
            from: None,
            to,
            data: tx.data,
            gas: tx.gas_limit,
            value: tx.value,
            output: Bytes::new(),
            gas_used: 0,
            gas_price: tx.gas_price,
            old_state_root: root,
            tx_index: self.tx_index,
            chain_id,
        };
        let is_traced = self.input.trace.as_ref().is_some_and(|config| config.is_for(tx_hash));
        Ok(Entry { output, context, steps: TraceSteps::default(), is_traced })
    }

    /// Returns the call data of the running context.
    pub(super) fn call_data(&self, view: &View<'_, '_>) -> Result<Bytes, Abort> {
        let length = low_u64(view.local(Variable::TxCalldataLen)?);
        if self.rules.has_percentages {
            let context = low_u64(view.local(Variable::CalldataCtx)?);
            let offset = low_u64(view.local(Variable::CalldataOffset)?);
            return Ok(view.memory.bytes_at(context, offset, length)?.into());
        }
        let words = if length == 0 { u64::MAX } else { length.div_ceil(32) };
        let words = view.memory.stack_words_from(view.context(), CALL_DATA_WORD, words)?;
        let mut data: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes::<32>()).collect();
        if length > 0 {
            data.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        }
        Ok(data.into())
    }

    pub(super) fn finish_tx(&mut self, view: &mut View<'_, '_>) -> Result<(), Abort> {
        if self.rules.is_v2 && self.entries.is_empty() {
            return Ok(());
        }
        let rules = self.rules;
        let gas = view.registers.gas();
        let root = view.state_root_digest()?;
        let offset = low_u64(view.local(Variable::RetDataOffset)?);
        let length = low_u64(view.local(Variable::RetDataLength)?);
        let returned = Bytes::from(view.memory.bytes_at(view.context(), offset, length)?);
        self.take(2 * returned.len())?;
        let steps = std::mem::take(&mut self.opcodes.steps);
        let entry = self.target().ok_or(Abort::unspecified("the end of a transaction that did not begin"))?;
        entry.context.from = Some(address_of(view.global(Variable::TxSrcOriginAddr)?));
        let output = &mut entry.output;
        if rules.has_percentages {
            output.effective_gas_price = Some(view.global(Variable::TxGasPrice)?);
        }
        // A register that holds more than the limit is one of another transaction.
        let gas_used = output.gas_left.checked_sub(gas).unwrap_or(output.gas_left);
        output.gas_used = gas_used;
        output.gas_left -= gas_used;
        entry.context.gas_used = gas_used;
        output.return_value = returned.clone();
        entry.context.output = returned;
        if entry.context.is_create {
            output.create_address = Some(address_of(view.local(Variable::TxDestAddr)?));
        }
        output.state_root = root.to_b256();
        if rules.is_v2 {
            output.cumulative_gas_used = low_u64(view.global(Variable::CumulativeGasUsed)?);
            output.status = low_u64(view.local(Variable::TxStatus)?) != 0;
        }
        take_steps(entry, steps, gas, rules.is_v2);
        let (error, status) = (entry.output.error, entry.output.status);
        self.gas_used = self.gas_used.wrapping_add(gas_used);
        if !rules.is_v2 {
            self.kept_roots.push(root);
        }
        if let Some(last) = self.entries.last_mut().filter(|_| rules.has_percentages) {
            last.output.has_gasprice_opcode = self.opcodes.has_gasprice;
            last.output.has_balance_opcode = self.opcodes.has_balance;
        }
        if rules.exact_logs && !rules.is_of_response(error) && (error == RomError::NoError) != status {
            return Err(ExecutorError::InvalidTxStatusError.into());
        }
        self.list_logs();
        self.opcodes.end();
        if !rules.is_v2 {
            self.tx_index += 1;
        }
        Ok(())
    }

    /// Lists the logs of the transaction in the entry listed last.
    fn list_logs(&mut self) {
        let mut logs = self.logs.take();
        let Some(last) = self.entries.last_mut() else { return };
        if self.rules.exact_logs {
            last.output.logs = logs;
            return;
        }
        for (index, log) in logs.iter_mut().enumerate() {
            log.index = index as u32;
        }
        last.output.logs.append(&mut logs);
    }
}

/// Gives the entry its steps, and the error of the last one if it has none itself.
fn take_steps(entry: &mut Entry, mut steps: Steps, gas: u64, is_v2: bool) {
    let count = steps.count();
    let Some(last) = steps.last_mut() else { return };
    if !is_v2 {
        entry.output.gas_refunded = last.gas_refund;
    }
    if count > 1 && last.op != 0 && last.error == RomError::NoError && !entry.context.is_create {
        last.gas_cost = last.gas.wrapping_sub(gas).wrapping_add(last.gas_refund);
    }
    if entry.output.error == RomError::NoError {
        entry.output.error = last.error;
    }
    entry.steps = steps.into_listed();
}
