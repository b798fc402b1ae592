//! Which transaction of a batch is traced, and where its trace is listed (executor-service §8.1, §8.2).

use revm::primitives::{B256, Bytes};

use super::Observer;
use super::prepare::{PreparedItem, PreparedTx};
use super::run::BatchRun;
use zkevm_evm::trace::{Steps, TraceOptions};
use zkevm_types::{FullTrace, TraceContext, TxOutput};

impl<O: Observer> BatchRun<'_, O> {
    /// Counts the decoded transactions that will be traced, so that those before them can be watched.
    pub(super) fn expect_traces(&mut self) {
        let Some(config) = self.input.trace.as_ref().filter(|_| !self.input.no_counters) else { return };
        let is_wanted = |item: &&PreparedItem| matches!(item, PreparedItem::Transaction(tx) if config.is_for(tx.hash));
        let items = self.prepared_items();
        let traces_ahead = items.iter().filter(is_wanted).count();
        let last_length = items.iter().rev().find_map(|item| match item {
            PreparedItem::Transaction(prepared) => Some(prepared.tx.signed_rlp.len()),
            PreparedItem::ChangeL2Block { .. } => None,
        });
        self.traces_ahead = traces_ahead;
        if self.rules.outermost_caller_keeps_rlp_length {
            self.evm.outermost_caller_keeps(last_length.unwrap_or(0) as u64);
        }
    }

    /// Returns what to trace of a transaction, `wanted` or not (executor-service §8.1). `is_create` is that of its entry.
    pub(super) fn trace_options(&mut self, wanted: bool, is_create: bool) -> Option<TraceOptions> {
        let config = self.input.trace.as_ref()?;
        let steps = match wanted {
            true if self.input.no_counters => Steps::Empty,
            true => Steps::Full,
            // What it leaves behind shows in a trace that is still to come.
            false if self.traces_ahead > 0 => Steps::Dropped,
            false => return None,
        };
        if wanted {
            self.traces_ahead = self.traces_ahead.saturating_sub(1);
        }
        Some(TraceOptions {
            storage: !config.disable_storage,
            stack: !config.disable_stack,
            memory: config.enable_memory,
            return_data: config.enable_return_data,
            is_create,
            steps,
        })
    }

    /// Returns the trace of a transaction without steps, if the one with this hash is to be traced.
    pub(super) fn empty_trace(&mut self, prepared: &PreparedTx, hash: B256) -> Option<Box<FullTrace>> {
        self.input.trace.as_ref().filter(|config| config.is_for(hash))?;
        let context = trace_context(prepared, self.state().root());
        Some(Box::new(FullTrace { context, ..FullTrace::default() }))
    }

    /// Returns the entry of a transaction that is about to run, for a fork that lists it before its result.
    pub(crate) fn listed_output(&mut self, prepared: &PreparedTx) -> TxOutput {
        let mut full_trace = self.empty_trace(prepared, prepared.hash);
        if let Some(trace) = &mut full_trace {
            trace.context.from = None;
        }
        TxOutput { full_trace, create_address: None, ..self.empty_output(prepared) }
    }
}

fn trace_context(prepared: &PreparedTx, old_state_root: B256) -> TraceContext {
    let tx = &prepared.tx;
    TraceContext {
        is_create: tx.to.is_none(),
        from: Some(prepared.signer.unwrap_or_default()),
        to: tx.to,
        data: tx.data.clone(),
        gas: tx.gas_limit,
        value: tx.value,
        output: Bytes::new(),
        gas_used: 0,
        gas_price: tx.gas_price,
        old_state_root,
        tx_index: 0,
        chain_id: tx.chain_id.unwrap_or(0),
    }
}
