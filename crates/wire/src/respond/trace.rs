//! Full traces (executor-service §8.2, §8.3).

use alloy_primitives::B256;
use prost::bytes::Bytes;

use super::{bytes32, hex_plain, hex_prefixed, slots, wire};
use zkevm_types::{FullTrace, TraceContext, TraceStep};

/// Converts the trace of a V1 transaction; the context repeats the hash of the batch.
pub(super) fn full_trace_v1(trace: FullTrace, batch_hash: Option<B256>) -> wire::FullTrace {
    let batch = batch_hash.map(bytes32).unwrap_or_default();
    wire::FullTrace {
        context: Some(context_v1(trace.context, batch)),
        steps: trace.steps.into_iter().map(step_v1).collect(),
    }
}

/// Converts the trace of a V2 transaction.
pub(super) fn full_trace_v2(trace: FullTrace) -> wire::FullTraceV2 {
    wire::FullTraceV2 {
        context: Some(context_v2(trace.context)),
        steps: trace.steps.into_iter().map(step_v2).collect(),
    }
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

/// The two versions of a step have the same fields under different type names.
macro_rules! step_conversion {
    ($function:ident, $step:ident, $contract:ident) => {
        fn $function(step: TraceStep) -> wire::$step {
            // A request without counters has its steps counted, not recorded (executor-service §5.3).
            if step.depth == 0 {
                let error = step.error.number();
                let contract = wire::$contract { value: hex_prefixed(step.contract_value), ..Default::default() };
                let storage = slots(step.storage);
                return wire::$step { error, contract: Some(contract), storage, ..Default::default() };
            }
            wire::$step {
                state_root: bytes32(step.state_root),
                depth: step.depth,
                pc: step.pc,
                gas: step.gas,
                gas_cost: step.gas_cost,
                gas_refund: step.gas_refund,
                op: step.op.into(),
                stack: step.stack.into_iter().map(hex_plain).collect(),
                memory: step.memory.0,
                memory_size: step.memory_size,
                memory_offset: step.memory_offset,
                return_data: step.return_data.0,
                contract: Some(wire::$contract {
                    address: hex_plain(step.contract_address),
                    caller: hex_plain(step.contract_caller),
                    value: hex_prefixed(step.contract_value),
                    data: step.contract_data.0,
                    gas: step.contract_gas,
                    r#type: step.contract_kind.name().to_owned(),
                }),
                error: step.error.number(),
                storage: slots(step.storage),
            }
        }
    };
}

step_conversion!(step_v1, TransactionStep, Contract);
step_conversion!(step_v2, TransactionStepV2, ContractV2);
