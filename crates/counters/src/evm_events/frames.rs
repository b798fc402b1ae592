//! What frames and whole transactions read, write and digest (exact-counters §2).

use revm::handler::FrameResult;
use revm::interpreter::{CallInputs, CreateInputs, CreateScheme, InstructionResult};
use revm::primitives::{Address, U256};
use revm::state::EvmState;

use super::{code_loaded, touch};
use crate::meter::CounterMeter;
use crate::model::CallPart;
use crate::proof_accesses::Access;
use crate::rom_costs::{PlainCall, reservations};
use zkevm_evm::observer::CreateStart;
use zkevm_tree::LeafKind;

/// Bytes of the digest that names a CREATE2 account: prefix, creator, salt, code hash.
const CREATE2_ADDRESS_BYTES: u64 = 85;
/// Bytes of the digest that names a CREATE account, at most: the list of creator and nonce.
const CREATE_ADDRESS_BYTES: u64 = 31;

/// Counts the start of a call frame: touch, value, code (exact-counters §2).
pub(super) fn call_started(meter: &mut CounterMeter, inputs: &CallInputs, depth: usize, state: &EvmState) {
    let code = &inputs.known_bytecode.1;
    let code_bytes = if code.is_empty() { 0 } else { code.original_byte_slice().len() as u64 };
    let precompile = meter.rules.precompile_number(&inputs.bytecode_address);
    meter.precompile_tested();
    meter.watch_call();
    meter.output_area(depth, inputs.return_memory_offset.len() as u64);
    match depth {
        0 => {
            meter.transaction_part = CallPart::Call(code_bytes);
            let call = PlainCall {
                to_self: inputs.caller == inputs.bytecode_address,
                to_zero: inputs.bytecode_address.is_zero(),
                has_value: !inputs.value.get().is_zero(),
            };
            meter.call = precompile.is_none().then_some((call, code_bytes > 0));
        }
        _ => meter.part(CallPart::Call(code_bytes), precompile.is_some()),
    }
    meter.accesses.push(Access::Enter);
    touch(meter, inputs.bytecode_address);
    if let Some(number) = precompile {
        meter.reserve(reservations::precompile(number, inputs.input.len() as u64));
    }
    if precompile.is_some_and(|number| !meter.rules.has_precompile(number)) {
        return;
    }
    let value = inputs.value.transfer().unwrap_or_default();
    if !value.is_zero() {
        let balance = state.get(&inputs.caller).map_or(U256::ZERO, |caller| caller.info.balance);
        let received = state.get(&inputs.target_address).map_or(U256::ZERO, |account| account.info.balance);
        let sum = received.wrapping_add(value);
        let receiver_has = inputs.caller == inputs.target_address || !sum.is_zero();
        let kept = [balance != value, receiver_has];
        meter.accesses.transfer(inputs.caller, inputs.target_address, balance >= value, kept);
        if balance < value {
            return;
        }
    }
    if precompile.is_none() {
        code_loaded(meter, inputs.bytecode_address, code_bytes);
    }
}

/// Counts the start of a create frame: the creator's leaves (those of a transaction were checked before), the name of
/// the new account, then its leaves.
pub(super) fn create_started(meter: &mut CounterMeter, inputs: &CreateInputs, depth: usize, start: CreateStart) {
    let creator = inputs.caller();
    meter.output_area(depth, 0);
    if depth > 0 {
        meter.accesses.push(Access::Read(creator, LeafKind::Balance));
        if start != CreateStart::NoFunds {
            meter.accesses.push(Access::Read(creator, LeafKind::Nonce));
        }
        if !matches!(start, CreateStart::NoFunds | CreateStart::NonceOverflow) {
            meter.accesses.push(Access::Write(creator, LeafKind::Nonce, true));
        }
    }
    let created = match start {
        CreateStart::NoFunds | CreateStart::NonceOverflow => None,
        CreateStart::HasNonce(created) | CreateStart::HasCode(created) | CreateStart::Runs { created, .. } => {
            Some(created)
        }
    };
    let stays_warm = meter.rules.failed_create_leaves_address_warm;
    if let Some(created) = created.filter(|_| stays_warm) {
        touch(meter, created);
    }
    meter.accesses.push(Access::Enter);
    let bytes = inputs.init_code().len() as u64;
    match inputs.scheme() {
        _ if depth == 0 => {}
        CreateScheme::Create2 { .. } => meter.part(CallPart::Create2(bytes), false),
        _ if created.is_some() => meter.part(CallPart::Create(bytes), false),
        _ => {}
    }
    let Some(created) = created else { return };
    match inputs.scheme() {
        CreateScheme::Create2 { .. } => {
            meter.reserve(reservations::create2_name(bytes));
            meter.sums.keccak(bytes);
            meter.sums.keccak(CREATE2_ADDRESS_BYTES);
        }
        _ => {
            meter.reserve(reservations::ONE_KECCAK);
            meter.sums.keccak(CREATE_ADDRESS_BYTES);
        }
    }
    if !stays_warm {
        touch(meter, created);
    }
    meter.create_checkpointed();
    meter.accesses.push(Access::Read(created, LeafKind::Nonce));
    if matches!(start, CreateStart::HasNonce(_)) {
        return;
    }
    meter.accesses.push(Access::Read(created, LeafKind::CodeHash));
    if let CreateStart::Runs { creator_keeps, .. } = start {
        meter.accesses.push(Access::Write(created, LeafKind::Nonce, true));
        if !inputs.value().is_zero() {
            meter.accesses.transfer(creator, created, true, [creator_keeps, true]);
        }
    }
}

/// Counts the end of a frame: whether its changes stay.
pub(super) fn frame_ended(meter: &mut CounterMeter, keeps: bool) {
    meter.accesses.push(Access::Leave(keeps));
}

/// Counts the end of execution. A top frame that never ran, such as a precompile's, has not ended by itself.
pub(super) fn execution_ended(meter: &mut CounterMeter, result: &FrameResult) {
    let end = result.instruction_result();
    meter.accesses.push(Access::Leave(end.is_ok()));
    if matches!(result, FrameResult::Create(_)) {
        meter.call = None;
    }
    let part = match result {
        FrameResult::Call(_) => meter.transaction_part,
        FrameResult::Create(outcome) if end.is_ok() || end == InstructionResult::Revert => {
            CallPart::Deploy(outcome.output().len() as u64)
        }
        FrameResult::Create(_) => CallPart::Deploy(0),
    };
    meter.processed(part);
}

/// Counts the code that a create frame leaves. A transaction that returns nothing writes nothing.
pub(super) fn code_deployed(meter: &mut CounterMeter, created: Address, bytes: u64, is_transaction: bool) {
    if is_transaction && bytes == 0 {
        return;
    }
    meter.accesses.push(Access::Write(created, LeafKind::CodeLength, bytes > 0));
    if bytes > 0 {
        meter.reserve(reservations::code_digest(bytes));
        meter.sums.linear_poseidon(bytes);
    }
    meter.accesses.push(Access::Write(created, LeafKind::CodeHash, bytes > 0));
}

/// Counts a fee paid back or out: balance read, balance written.
pub(super) fn fee_paid(meter: &mut CounterMeter, to: Address, balance_after: U256) {
    meter.accesses.push(Access::Read(to, LeafKind::Balance));
    meter.accesses.push(Access::Write(to, LeafKind::Balance, !balance_after.is_zero()));
}
