//! What frames and whole transactions read, write and digest (exact-counters §2).

use revm::handler::FrameResult;
use revm::interpreter::{CallInputs, CreateInputs, CreateScheme, InstructionResult};
use revm::primitives::{Address, U256};

use super::{code_loaded, touch};
use crate::context::{StateDatabase, ZkContext};
use crate::precompiles::ZkPrecompiles;
use zkevm_counters::model::CallPart;
use zkevm_counters::paths::{PlainCall, wanted};
use zkevm_counters::{Access, Tally};
use zkevm_tree::LeafKind;

/// Bytes of the digest that names a CREATE2 account: prefix, creator, salt, code hash.
const CREATE2_ADDRESS_BYTES: u64 = 85;
/// Bytes of the digest that names a CREATE account, at most: the list of creator and nonce.
const CREATE_ADDRESS_BYTES: u64 = 31;

/// Counts the start of a call frame: touch, value, code (exact-counters §2).
pub fn call_frame<DB: StateDatabase>(context: &mut ZkContext<DB>, inputs: &CallInputs, depth: usize) {
    let tally = &mut context.chain.counters;
    let code = &inputs.known_bytecode.1;
    let code_bytes = if code.is_empty() { 0 } else { code.original_byte_slice().len() as u64 };
    let precompile = ZkPrecompiles::number(&inputs.bytecode_address);
    match depth {
        0 => {
            tally.transaction_part = CallPart::Call(code_bytes);
            let call = PlainCall {
                to_self: inputs.caller == inputs.bytecode_address,
                to_zero: inputs.bytecode_address.is_zero(),
                has_value: !inputs.value.get().is_zero(),
            };
            tally.call = precompile.is_none().then_some((call, code_bytes > 0));
        }
        _ => tally.part(CallPart::Call(code_bytes), precompile.is_some()),
    }
    tally.accesses.push(Access::Enter);
    touch(tally, inputs.bytecode_address);
    if let Some(number) = precompile {
        tally.reserve(wanted::precompile(number, inputs.input.len() as u64));
    }
    if precompile.is_some_and(|number| !context.chain.rules.has_precompile(number)) {
        return;
    }
    let value = inputs.value.transfer().unwrap_or_default();
    if !value.is_zero() {
        let state = &context.journaled_state.inner.state;
        let balance = state.get(&inputs.caller).map_or(U256::ZERO, |caller| caller.info.balance);
        tally.accesses.transfer(inputs.caller, inputs.target_address, balance >= value, balance != value);
        if balance < value {
            return;
        }
    }
    if precompile.is_none() {
        code_loaded(tally, inputs.bytecode_address, code_bytes);
    }
}

/// How far a create frame came before it ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateStart {
    /// The creator cannot pay.
    NoFunds,
    /// The creator's nonce is the largest one.
    NonceOverflow,
    /// The new address has a nonce.
    HasNonce(Address),
    /// The new address has code.
    HasCode(Address),
    /// It runs.
    Runs {
        /// The new address.
        created: Address,
        /// The creator has something left after paying.
        creator_keeps: bool,
    },
}

/// Counts the start of a create frame: the creator's leaves (those of a transaction were checked before), the name of
/// the new account, then its leaves.
pub fn create_frame(tally: &mut Tally, inputs: &CreateInputs, depth: usize, start: CreateStart) {
    let creator = inputs.caller();
    if depth > 0 {
        tally.accesses.push(Access::Read(creator, LeafKind::Balance));
        if start != CreateStart::NoFunds {
            tally.accesses.push(Access::Read(creator, LeafKind::Nonce));
        }
        if !matches!(start, CreateStart::NoFunds | CreateStart::NonceOverflow) {
            tally.accesses.push(Access::Write(creator, LeafKind::Nonce, true));
        }
    }
    tally.accesses.push(Access::Enter);
    let bytes = inputs.init_code().len() as u64;
    let attempted = !matches!(start, CreateStart::NoFunds | CreateStart::NonceOverflow);
    match inputs.scheme() {
        _ if depth == 0 => {}
        CreateScheme::Create2 { .. } => tally.part(CallPart::Create2(bytes), false),
        _ if attempted => tally.part(CallPart::Create(bytes), false),
        _ => {}
    }
    let created = match start {
        CreateStart::NoFunds | CreateStart::NonceOverflow => return,
        CreateStart::HasNonce(created) | CreateStart::HasCode(created) | CreateStart::Runs { created, .. } => created,
    };
    match inputs.scheme() {
        CreateScheme::Create2 { .. } => {
            tally.keccak(bytes);
            tally.keccak(CREATE2_ADDRESS_BYTES);
        }
        _ => tally.keccak(CREATE_ADDRESS_BYTES),
    }
    touch(tally, created);
    tally.accesses.push(Access::Read(created, LeafKind::Nonce));
    if matches!(start, CreateStart::HasNonce(_)) {
        return;
    }
    tally.accesses.push(Access::Read(created, LeafKind::CodeHash));
    if let CreateStart::Runs { creator_keeps, .. } = start {
        tally.accesses.push(Access::Write(created, LeafKind::Nonce, true));
        if !inputs.value().is_zero() {
            tally.accesses.transfer(creator, created, true, creator_keeps);
        }
    }
}

/// Counts the end of a frame: whether its changes stay.
pub fn frame_ended(tally: &mut Tally, keeps: bool) {
    tally.accesses.push(Access::Leave(keeps));
}

/// Counts the end of execution. A top frame that never ran, such as a precompile's, has not ended by itself.
pub fn transaction_ended(tally: &mut Tally, result: &FrameResult) {
    let end = result.instruction_result();
    tally.accesses.push(Access::Leave(end.is_ok()));
    if matches!(result, FrameResult::Create(_)) {
        tally.call = None;
    }
    let part = match result {
        FrameResult::Call(_) => tally.transaction_part,
        FrameResult::Create(outcome) if end.is_ok() || end == InstructionResult::Revert => {
            CallPart::Deploy(outcome.output().len() as u64)
        }
        FrameResult::Create(_) => CallPart::Deploy(0),
    };
    tally.processed(part);
}

/// Counts the code that a create frame leaves. A transaction that returns nothing writes nothing.
pub fn code_deployed(tally: &mut Tally, created: Address, bytes: u64, is_transaction: bool) {
    if is_transaction && bytes == 0 {
        return;
    }
    tally.accesses.push(Access::Write(created, LeafKind::CodeLength, bytes > 0));
    if bytes > 0 {
        tally.linear_poseidon(bytes);
    }
    tally.accesses.push(Access::Write(created, LeafKind::CodeHash, bytes > 0));
}

/// Counts a fee paid back or out: balance read, balance written.
pub fn payment(tally: &mut Tally, to: Address, balance_after: U256) {
    tally.accesses.push(Access::Read(to, LeafKind::Balance));
    tally.accesses.push(Access::Write(to, LeafKind::Balance, !balance_after.is_zero()));
}
