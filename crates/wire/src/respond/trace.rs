//! Full traces (executor-service §8.2, §8.3).

use alloy_primitives::B256;
use prost::bytes::Bytes;

use super::{bytes32, hex_prefixed, wire};
use crate::full_trace;
use zkevm_types::{FullTrace, TraceContext};

/// Converts the trace of a V1 transaction; the context repeats the hash of the batch.
pub(super) fn full_trace_v1(trace: FullTrace, batch_hash: Option<B256>) -> full_trace::FullTrace {
    let batch = batch_hash.map(bytes32).unwrap_or_default();
    full_trace::FullTrace::recorded(context_v1(trace.context, batch), trace.steps)
}

/// Converts the trace of a V2 transaction.
pub(super) fn full_trace_v2(trace: FullTrace) -> full_trace::FullTraceV2 {
    full_trace::FullTraceV2::recorded(context_v2(trace.context), trace.steps)
}

fn context_v1(context: TraceContext, batch: Bytes) -> wire::TransactionContext {
    wire::TransactionContext {
        r#type: kind(&context),
        from: context.from.map(hex_prefixed).unwrap_or_default(),
        to: recipient(&context),
        data: context.data.0,
        gas: context.gas,
        value: hex_prefixed(context.value),
        batch,
        output: context.output.0,
        gas_used: context.gas_used,
        gas_price: hex_prefixed(context.gas_price),
        execution_time: 0,
        old_state_root: bytes32(context.old_state_root),
    }
}

fn context_v2(context: TraceContext) -> wire::TransactionContextV2 {
    wire::TransactionContextV2 {
        r#type: kind(&context),
        from: context.from.map(hex_prefixed).unwrap_or_default(),
        to: recipient(&context),
        data: context.data.0,
        gas: context.gas,
        value: hex_prefixed(context.value),
        // The original sets neither block_hash nor nonce (executor-service §8.2).
        block_hash: Bytes::new(),
        output: context.output.0,
        gas_used: context.gas_used,
        gas_price: hex_prefixed(context.gas_price),
        execution_time: 0,
        old_state_root: bytes32(context.old_state_root),
        nonce: 0,
        tx_index: context.tx_index,
        chain_id: context.chain_id,
    }
}

fn kind(context: &TraceContext) -> String {
    if context.is_create { "CREATE" } else { "CALL" }.to_owned()
}

fn recipient(context: &TraceContext) -> String {
    context.to.map_or_else(|| "0x".to_owned(), hex_prefixed)
}
