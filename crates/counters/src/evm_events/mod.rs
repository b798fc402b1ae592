//! Counting while executing: what the ROM hashes, reads and writes at each opcode and frame (exact-counters §2).
//!
//! The accesses follow the ROM's own order, also where an opcode fails half way: what was read before the failure counts.

use revm::bytecode::opcode;
use revm::context_interface::Host;
use revm::interpreter::STACK_LIMIT;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{InputsTr, Jumps, LegacyBytecode, RuntimeFlag};
use revm::interpreter::{InstructionExecResult, InstructionResult, Interpreter};
use revm::primitives::{Address, KECCAK_EMPTY, U256};

use revm::handler::FrameResult;
use revm::interpreter::{CallInputs, CreateInputs};
use revm::state::EvmState;

mod frames;
mod precompiles;

use crate::meter::CounterMeter;
use crate::model::{Frame, Operands, is_priced_by_length};
use crate::proof_accesses::Access;
use crate::rom_costs::reservations;
use zkevm_batch::keccak_slot;
use zkevm_evm::call_gas;
use zkevm_evm::context::{SYSTEM_ADDRESS, StateDatabase};
use zkevm_evm::instructions::ZkInstructions;
use zkevm_evm::observer::{CreateStart, EvmObserver, PrecompileRun};
use zkevm_tree::LeafKind;
use zkevm_types::ApiVersion;

/// Context of an EVM that is counted.
type Context<DB> = zkevm_evm::context::ZkContext<DB, CounterMeter>;

/// Gas of EXP, its exponent aside.
const EXP_GAS: u64 = 10;
/// Gas of SELFBALANCE, charged before the balance is read.
const SELFBALANCE_GAS: u64 = 5;
/// Gas of CODESIZE, charged before the length is read.
const CODESIZE_GAS: u64 = 2;
/// Gas of BLOCKHASH, charged before the slot is read.
const BLOCKHASH_GAS: u64 = 20;
/// Gas of SELFDESTRUCT, charged before anything is read.
const SENDALL_GAS: u64 = 5000;
/// Gas an SSTORE must leave (EIP-2200).
const SSTORE_SENTRY_GAS: u64 = 2300;
/// Gas of a warm and of a cold account access.
const WARM_ACCOUNT_GAS: u64 = 100;
const COLD_ACCOUNT_GAS: u64 = 2600;
/// Gas of a call that moves value.
const CALL_VALUE_GAS: u64 = 9000;
/// Gas of bringing an account into existence.
const NEW_ACCOUNT_GAS: u64 = 25_000;
/// Bytes of the digest that names a slot of a mapping: key and slot.
const MAPPING_KEY_BYTES: u64 = 64;

/// What an opcode counts only once its result is known.
enum DeferredCount {
    None,
    /// A word written to a slot.
    Store {
        slot: U256,
        present: bool,
    },
    /// A leaf read after the charge for touching its account.
    ReadLeaf(Address, LeafKind),
    /// The code that EXTCODECOPY loads.
    ExternalCode {
        address: Address,
        gas: u64,
    },
    Keccak {
        bytes: U256,
    },
    Log {
        bytes: U256,
        topics: u64,
    },
    /// The touch, and the receiver's emptiness when value moves.
    Call {
        receiver: Address,
        has_value: bool,
        gas: u64,
        memory_bytes: usize,
        areas: [U256; 4],
    },
    SendAll {
        own: Address,
        receiver: Address,
        balance: U256,
        gas: u64,
    },
}

impl EvmObserver for CounterMeter {
    fn frame_resumed(&mut self, interpreter: &Interpreter<EthInterpreter>) {
        self.frame = frame_kind(interpreter);
    }

    #[inline]
    fn run_opcode<DB: StateDatabase>(
        interpreter: &mut Interpreter<EthInterpreter>,
        table: &ZkInstructions<DB, Self>,
        context: &mut Context<DB>,
    ) -> InstructionExecResult {
        let result = counted_step(interpreter, table, context);
        if context.chain.observer.watch() {
            let Context { journaled_state, chain, .. } = context;
            journaled_state.database.with_state_access(|start, state| chain.observer.look_at_limits(start, state));
        }
        if context.chain.observer.is_stopped() {
            return Err(InstructionResult::FatalExternalError);
        }
        result
    }

    fn gives_up(&self) -> bool {
        self.is_stopped()
    }

    fn call_started(&mut self, inputs: &CallInputs, depth: usize, state: &EvmState) {
        // That of a transaction was opened when it was decoded.
        self.sums.contexts += u64::from(depth > 0);
        frames::call_started(self, inputs, depth, state);
    }

    fn create_started(&mut self, inputs: &CreateInputs, depth: usize, start: CreateStart) {
        let opens = !matches!(start, CreateStart::NoFunds | CreateStart::NonceOverflow);
        self.sums.contexts += u64::from(depth > 0 && opens);
        frames::create_started(self, inputs, depth, start);
    }

    fn code_deployed(&mut self, created: Address, bytes: u64, is_transaction: bool) {
        frames::code_deployed(self, created, bytes, is_transaction);
    }

    fn precompile_ended(&mut self, run: &PrecompileRun<'_>) {
        precompiles::precompile_ended(self, run);
    }

    fn frame_ended(&mut self, keeps: bool) {
        frames::frame_ended(self, keeps);
    }

    fn execution_ended(&mut self, result: &FrameResult) {
        frames::execution_ended(self, result);
    }

    fn fee_paid(&mut self, to: Address, balance: U256) {
        frames::fee_paid(self, to, balance);
    }
}

/// Gas of a byte of a log.
const LOG_DATA_GAS: u64 = 8;

#[inline]
fn counted_step<DB: StateDatabase>(
    interpreter: &mut Interpreter<EthInterpreter>,
    table: &ZkInstructions<DB, CounterMeter>,
    context: &mut Context<DB>,
) -> InstructionExecResult {
    let frame = context.chain.observer.frame;
    let opcode = interpreter.bytecode.opcode();
    if is_metered(opcode) {
        return metered_step(opcode, interpreter, table, context, frame);
    }
    context.chain.observer.opcode(opcode, frame);
    let memory = memory_end(opcode, interpreter).map(|end| (end, interpreter.memory.len() as u64));
    let result = interpreter.step(table.instruction_table(), table.gas_table(), context);
    if let Some((end, before)) = memory
        && result.is_ok()
    {
        context.chain.observer.memory_used(frame, end, before, interpreter.memory.len() as u64);
    }
    if let Err(end) = result
        && !is_charged(opcode, end, interpreter.stack.len(), 0, interpreter)
    {
        context.chain.observer.take_back(opcode, frame);
        context.chain.observer.opcode_failed(opcode, frame);
    }
    result
}

fn metered_step<DB: StateDatabase>(
    opcode: u8,
    interpreter: &mut Interpreter<EthInterpreter>,
    table: &ZkInstructions<DB, CounterMeter>,
    context: &mut Context<DB>,
    frame: Frame,
) -> InstructionExecResult {
    let (stack, gas) = (interpreter.stack.len(), interpreter.gas.remaining());
    let memory = (memory_areas(opcode, interpreter), interpreter.memory.len() as u64);
    let mut operands = operands(opcode, interpreter, context);
    let deferred = pre_opcode(opcode, interpreter, context);
    let result = interpreter.step(table.instruction_table(), table.gas_table(), context);
    if let Some(code_bytes) = post_opcode(deferred, result, interpreter, context) {
        operands.code_bytes = code_bytes;
    }
    if result.is_ok() || result.is_err_and(|end| is_charged(opcode, end, stack, gas, interpreter)) {
        if is_priced_by_length(opcode) {
            context.chain.observer.opcode_by_length(opcode, frame, &operands);
        } else {
            context.chain.observer.opcode(opcode, frame);
        }
        let (areas, before) = memory;
        for end in areas.into_iter().flatten() {
            context.chain.observer.memory_used(frame, end, before, interpreter.memory.len() as u64);
        }
        if matches!(opcode, opcode::CODECOPY | opcode::EXTCODECOPY)
            && (frame == Frame::Call || opcode != opcode::CODECOPY)
        {
            context.chain.observer.reserve(reservations::code_copy(operands.bytes));
        }
        if context.chain.rules.calls_copy_arguments {
            context.chain.observer.arguments_copied(opcode, &operands);
        }
    } else {
        context.chain.observer.opcode_failed(opcode, frame);
        if matches!(opcode, opcode::LOG0..=opcode::LOG4) && operands.bytes <= gas / LOG_DATA_GAS {
            context.chain.observer.log_read(opcode, frame, &operands);
        }
    }
    result
}

/// Returns where the memory that an opcode of fixed price needs ends.
#[inline]
fn memory_end(opcode: u8, interpreter: &Interpreter<EthInterpreter>) -> Option<u64> {
    let bytes = match opcode {
        opcode::MLOAD | opcode::MSTORE => 32,
        opcode::MSTORE8 => 1,
        _ => return None,
    };
    interpreter.stack.data().last().and_then(|offset| offset.saturating_to::<u64>().checked_add(bytes))
}

/// Returns where each area of memory that an opcode needs ends.
fn memory_areas(opcode: u8, interpreter: &Interpreter<EthInterpreter>) -> [Option<u64>; 2] {
    let end = |offset: &U256, bytes: &U256| {
        let bytes = Some(bytes.saturating_to::<u64>()).filter(|bytes| *bytes > 0)?;
        offset.saturating_to::<u64>().checked_add(bytes)
    };
    match (opcode, interpreter.stack.data().as_slice()) {
        (opcode::KECCAK256 | opcode::RETURN | opcode::REVERT | opcode::LOG0..=opcode::LOG4, [.., bytes, offset])
        | (opcode::CALLDATACOPY | opcode::CODECOPY | opcode::RETURNDATACOPY, [.., bytes, _, offset])
        | (opcode::EXTCODECOPY, [.., bytes, _, offset, _])
        | (opcode::CREATE, [.., bytes, offset, _])
        | (opcode::CREATE2, [.., _, bytes, offset, _]) => [end(offset, bytes), None],
        (opcode::CALL | opcode::CALLCODE, [.., out_bytes, out, in_bytes, input, _, _, _])
        | (opcode::DELEGATECALL | opcode::STATICCALL, [.., out_bytes, out, in_bytes, input, _, _]) => {
            [end(input, in_bytes), end(out, out_bytes)]
        }
        _ => [None; 2],
    }
}

/// Returns which code this is; only code of an account has an address to be loaded from.
fn frame_kind(interpreter: &Interpreter<EthInterpreter>) -> Frame {
    match (interpreter.input.bytecode_address(), interpreter.input.depth) {
        (Some(_), _) => Frame::Call,
        (None, 0) => Frame::CreationTx,
        (None, _) => Frame::Create,
    }
}

/// True if the model charges an opcode that ended its frame this way (counters §12). `stack` and `gas` are those before it.
fn is_charged(
    opcode: u8,
    end: InstructionResult,
    stack: usize,
    gas: u64,
    interpreter: &Interpreter<EthInterpreter>,
) -> bool {
    use InstructionResult as R;
    match end {
        // The stop that stands behind every code is not one of its opcodes.
        R::Stop if opcode == opcode::STOP => interpreter.bytecode.pc() <= interpreter.bytecode.bytecode_len(),
        R::Stop | R::Return | R::SelfDestruct | R::Revert | R::Suspend => true,
        R::StackOverflow if stack < STACK_LIMIT && !is_dup_or_swap(opcode) => stack >= needed_for_gas(opcode),
        R::StackUnderflow => stack >= needed_for_gas(opcode),
        R::StackOverflow | R::InvalidJump => true,
        R::OutOfGas => opcode == opcode::EXP && gas >= EXP_GAS,
        _ => false,
    }
}

fn is_dup_or_swap(opcode: u8) -> bool {
    (opcode::DUP1..=opcode::SWAP16).contains(&opcode)
}

/// Stack words without which the gas of an opcode cannot be computed.
fn needed_for_gas(opcode: u8) -> usize {
    match opcode {
        opcode::BALANCE
        | opcode::EXTCODESIZE
        | opcode::EXTCODEHASH
        | opcode::MLOAD
        | opcode::MSTORE
        | opcode::MSTORE8
        | opcode::SLOAD
        | opcode::SELFDESTRUCT => 1,
        opcode::KECCAK256
        | opcode::EXP
        | opcode::SSTORE
        | opcode::LOG0..=opcode::LOG4
        | opcode::RETURN
        | opcode::REVERT => 2,
        opcode::CALLDATACOPY | opcode::CODECOPY | opcode::RETURNDATACOPY | opcode::CREATE => 3,
        opcode::EXTCODECOPY | opcode::CREATE2 => 4,
        opcode::DELEGATECALL | opcode::STATICCALL => 6,
        opcode::CALL | opcode::CALLCODE => 7,
        _ => 0,
    }
}

/// Returns the lengths an opcode is priced by, the code of its target aside.
fn operands<DB: StateDatabase>(
    opcode: u8,
    interpreter: &Interpreter<EthInterpreter>,
    context: &Context<DB>,
) -> Operands {
    let stack = interpreter.stack.data();
    let length = |word: &U256| word.saturating_to::<u32>().into();
    match (opcode, stack.as_slice()) {
        (opcode::RETURN | opcode::REVERT, [.., bytes, _]) => {
            let ends_transaction = interpreter.input.depth == 0;
            let bytes = length(bytes);
            let return_bytes = context.chain.observer.copied_to_caller(interpreter.input.depth, bytes);
            Operands { bytes, return_bytes, ends_transaction, ..Operands::default() }
        }
        (opcode::CALLDATACOPY, [.., bytes, offset, _]) => {
            let end = offset.saturating_to::<u64>().checked_add(length(bytes));
            let within_call_data = end.is_some_and(|end| end <= interpreter.input.input().len() as u64);
            Operands { bytes: length(bytes), within_call_data, ..Operands::default() }
        }
        (opcode::EXP, [.., exponent, _]) => Operands { number_bytes: byte_length(*exponent), ..Operands::default() },
        (opcode::KECCAK256 | opcode::LOG0..=opcode::LOG4, [.., bytes, _])
        | (opcode::CODECOPY | opcode::RETURNDATACOPY, [.., bytes, _, _])
        | (opcode::EXTCODECOPY, [.., bytes, _, _, _]) => Operands { bytes: length(bytes), ..Operands::default() },
        (opcode::CALL, [.., return_bytes, _, bytes, _, value, _, _]) => Operands {
            bytes: length(bytes),
            return_bytes: length(return_bytes),
            has_value: !value.is_zero(),
            ..Operands::default()
        },
        (opcode::CALLCODE, [.., return_bytes, _, bytes, _, _, _, _])
        | (opcode::DELEGATECALL | opcode::STATICCALL, [.., return_bytes, _, bytes, _, _, _]) => {
            Operands { bytes: length(bytes), return_bytes: length(return_bytes), ..Operands::default() }
        }
        (opcode::CREATE, [.., bytes, _, _]) | (opcode::CREATE2, [.., bytes, _, _]) => {
            let own = context.journaled_state.inner.state.get(&interpreter.input.target_address());
            let nonce = U256::from(own.map_or(0, |own| own.info.nonce)) + U256::ONE;
            Operands { bytes: length(bytes), number_bytes: byte_length(nonce), ..Operands::default() }
        }
        _ => Operands::default(),
    }
}

/// Bytes of a number without leading zeros, at least one.
fn byte_length(number: U256) -> u64 {
    number.byte_len().max(1) as u64
}

/// True for the opcodes that read or write a tree, make a digest, or are priced by a length.
#[inline]
const fn is_metered(opcode: u8) -> bool {
    METERED[opcode as usize]
}

const METERED: [bool; 256] = {
    let mut table = [false; 256];
    let metered = [
        opcode::KECCAK256,
        opcode::BALANCE,
        opcode::CODESIZE,
        opcode::EXTCODESIZE,
        opcode::EXTCODECOPY,
        opcode::EXTCODEHASH,
        opcode::BLOCKHASH,
        opcode::SELFBALANCE,
        opcode::SLOAD,
        opcode::SSTORE,
        opcode::LOG0,
        opcode::LOG1,
        opcode::LOG2,
        opcode::LOG3,
        opcode::LOG4,
        opcode::CALL,
        opcode::CALLCODE,
        opcode::DELEGATECALL,
        opcode::STATICCALL,
        opcode::SELFDESTRUCT,
        opcode::EXP,
        opcode::CALLDATACOPY,
        opcode::CODECOPY,
        opcode::RETURNDATACOPY,
        opcode::RETURN,
        opcode::REVERT,
        opcode::CREATE,
        opcode::CREATE2,
    ];
    let mut i = 0;
    while i < metered.len() {
        table[metered[i] as usize] = true;
        i += 1;
    }
    table
};

/// Counts what comes before any charge, and returns what is left for later.
fn pre_opcode<DB: StateDatabase>(
    opcode: u8,
    interpreter: &Interpreter<EthInterpreter>,
    context: &mut Context<DB>,
) -> DeferredCount {
    let stack = interpreter.stack.data();
    let gas = interpreter.gas.remaining();
    let own = interpreter.input.target_address();
    let meter = &mut context.chain.observer;
    let address = |word: &U256| Address::from_word((*word).into());
    match (opcode, stack.as_slice()) {
        (opcode::SLOAD, [.., slot]) => {
            meter.accesses.push(Access::ReadSlot(own, *slot));
            meter.accesses.push(Access::TouchSlot(own, *slot));
        }
        (opcode::SSTORE, [.., value, slot]) if gas > SSTORE_SENTRY_GAS && !interpreter.runtime_flag.is_static() => {
            meter.accesses.push(Access::ReadSlot(own, *slot));
            meter.accesses.push(Access::ReadOriginalSlot(own, *slot));
            meter.accesses.push(Access::TouchSlot(own, *slot));
            return DeferredCount::Store { slot: *slot, present: !value.is_zero() };
        }
        (opcode::BALANCE, [.., word]) => {
            meter.accesses.push(Access::Read(address(word), LeafKind::Balance));
            touch(meter, address(word));
        }
        (opcode::SELFBALANCE, _) if gas >= SELFBALANCE_GAS => {
            meter.accesses.push(Access::Read(own, LeafKind::Balance));
        }
        (opcode::CODESIZE, _) if gas >= CODESIZE_GAS => {
            if let Some(code) = interpreter.input.bytecode_address() {
                meter.accesses.push(Access::Read(*code, LeafKind::CodeLength));
            }
        }
        (opcode::EXTCODESIZE, [.., word]) => {
            touch(meter, address(word));
            return DeferredCount::ReadLeaf(address(word), LeafKind::CodeLength);
        }
        (opcode::EXTCODEHASH, [.., word]) => {
            touch(meter, address(word));
            return DeferredCount::ReadLeaf(address(word), LeafKind::CodeHash);
        }
        (opcode::EXTCODECOPY, [.., _, _, _, word]) => {
            touch(meter, address(word));
            return DeferredCount::ExternalCode { address: address(word), gas };
        }
        (opcode::BLOCKHASH, [.., number]) if gas >= BLOCKHASH_GAS => {
            meter.reserve(reservations::ONE_KECCAK);
            meter.sums.keccak(MAPPING_KEY_BYTES);
            meter.accesses.push(Access::ReadSlot(SYSTEM_ADDRESS, keccak_slot(*number, 1)));
        }
        (opcode::KECCAK256, [.., bytes, _]) => return DeferredCount::Keccak { bytes: *bytes },
        (opcode::LOG0..=opcode::LOG4, [.., bytes, _]) => {
            return DeferredCount::Log { bytes: *bytes, topics: u64::from(opcode - opcode::LOG0) };
        }
        (opcode::CALL, [.., out_bytes, out, in_bytes, input, value, word, _gas]) => {
            let areas = [*input, *in_bytes, *out, *out_bytes];
            if interpreter.runtime_flag.is_static() && !value.is_zero() {
                return DeferredCount::None;
            }
            let memory_bytes = interpreter.memory.len();
            return DeferredCount::Call {
                receiver: address(word),
                has_value: !value.is_zero(),
                gas,
                memory_bytes,
                areas,
            };
        }
        (opcode::CALLCODE, [.., out_bytes, out, in_bytes, input, _, word, _gas])
        | (opcode::DELEGATECALL | opcode::STATICCALL, [.., out_bytes, out, in_bytes, input, word, _gas]) => {
            let areas = [*input, *in_bytes, *out, *out_bytes];
            let memory_bytes = interpreter.memory.len();
            return DeferredCount::Call { receiver: address(word), has_value: false, gas, memory_bytes, areas };
        }
        (opcode::SELFDESTRUCT, [.., word]) if gas >= SENDALL_GAS && !interpreter.runtime_flag.is_static() => {
            meter.accesses.push(Access::Read(own, LeafKind::Balance));
            let receiver = address(word);
            let balance = context.journaled_state.inner.state.get(&own).map_or(U256::ZERO, |own| own.info.balance);
            if !balance.is_zero() && receiver != own {
                return DeferredCount::SendAll { own, receiver, balance, gas: gas - SENDALL_GAS };
            }
        }
        _ => {}
    }
    DeferredCount::None
}

/// Counts what depends on how the opcode ended. Returns the bytes of the external code it loaded.
fn post_opcode<DB: StateDatabase>(
    deferred: DeferredCount,
    result: InstructionExecResult,
    interpreter: &Interpreter<EthInterpreter>,
    context: &mut Context<DB>,
) -> Option<u64> {
    let went_well = result.is_ok();
    let own = interpreter.input.target_address();
    match deferred {
        DeferredCount::None => {}
        DeferredCount::Store { slot, present } if went_well => {
            context.chain.observer.accesses.push(Access::WriteSlot(own, slot, present));
        }
        DeferredCount::ReadLeaf(address, leaf) if went_well => {
            context.chain.observer.accesses.push(Access::Read(address, leaf));
        }
        DeferredCount::Keccak { bytes } if went_well => {
            let bytes = bytes.saturating_to();
            context.chain.observer.reserve(reservations::keccak(bytes));
            context.chain.observer.sums.keccak(bytes);
        }
        DeferredCount::Log { bytes, topics } if went_well && context.chain.rules.api == ApiVersion::V2 => {
            let bytes = bytes.saturating_to::<u64>();
            context.chain.observer.reserve(reservations::log_digest(bytes));
            let bytes = bytes.saturating_add(32 * topics);
            context.chain.observer.sums.linear_poseidon(bytes);
            context.chain.observer.accesses.push(Access::Log);
        }
        // The code is loaded before memory grows, so running out of gas there has paid for it.
        DeferredCount::ExternalCode { address, gas }
            if went_well || gas >= COLD_ACCOUNT_GAS || (gas >= WARM_ACCOUNT_GAS && is_warm(context, address)) =>
        {
            return Some(external_code(context, address));
        }
        DeferredCount::Call { receiver, has_value, gas, memory_bytes, areas } => {
            let started = result == Err(InstructionResult::Suspend);
            call_opcode(context, receiver, has_value, started, || call_gas::after_memory(gas, memory_bytes, areas));
        }
        DeferredCount::SendAll { own, receiver, balance, gas } => {
            send_all(context, own, receiver, balance, gas, result == Err(InstructionResult::Stop));
        }
        _ => {}
    }
    None
}

/// Marks an account touched; precompiles always are.
fn touch(meter: &mut CounterMeter, address: Address) {
    meter.precompile_tested();
    if meter.rules.precompile_number(&address).is_none() {
        meter.accesses.push(Access::TouchAccount(address));
    }
}

fn is_warm<DB: StateDatabase>(context: &mut Context<DB>, address: Address) -> bool {
    context.load_account_info_skip_cold_load(address, false, true).is_ok_and(|account| !account.is_cold)
}

fn external_code<DB: StateDatabase>(context: &mut Context<DB>, address: Address) -> u64 {
    let bytes = context
        .load_account_info_skip_cold_load(address, true, false)
        .ok()
        .and_then(|account| account.account.code.as_ref().map(|code| code.original_byte_slice().len() as u64));
    let bytes = bytes.unwrap_or(0);
    code_loaded(&mut context.chain.observer, address, bytes);
    bytes
}

/// Reads the length of a code, and if there is any its hash, and digests it.
fn code_loaded(meter: &mut CounterMeter, address: Address, bytes: u64) {
    meter.accesses.push(Access::Read(address, LeafKind::CodeLength));
    if bytes > 0 {
        meter.reserve(reservations::code_digest(bytes));
        meter.accesses.push(Access::Read(address, LeafKind::CodeHash));
        meter.sums.linear_poseidon(bytes);
    }
}

/// CALL and its kin up to the new frame: touch, then emptiness when value moves.
fn call_opcode<DB: StateDatabase>(
    context: &mut Context<DB>,
    receiver: Address,
    has_value: bool,
    started: bool,
    gas_after_memory: impl FnOnce() -> Option<u64>,
) {
    if !started {
        let Some(gas) = gas_after_memory() else { return };
        touch(&mut context.chain.observer, receiver);
        let access_gas = if is_warm(context, receiver) { WARM_ACCOUNT_GAS } else { COLD_ACCOUNT_GAS };
        if gas < access_gas + CALL_VALUE_GAS {
            return;
        }
    } else {
        touch(&mut context.chain.observer, receiver);
    }
    if has_value {
        emptiness(context, receiver, U256::ZERO);
    }
}

/// Reads what tells whether an account is empty. `received` is what it got since. Returns whether it is.
fn emptiness<DB: StateDatabase>(context: &mut Context<DB>, address: Address, received: U256) -> bool {
    let Ok(account) = context.load_account_info_skip_cold_load(address, false, false) else { return false };
    let has_balance = account.account.balance.wrapping_sub(received) != U256::ZERO;
    let has_nonce = account.account.nonce != 0;
    let has_code = account.account.code_hash != KECCAK_EMPTY;
    context.chain.observer.accesses.emptiness(address, has_balance, has_nonce);
    !has_balance && !has_nonce && !has_code
}

fn send_all<DB: StateDatabase>(
    context: &mut Context<DB>,
    own: Address,
    receiver: Address,
    balance: U256,
    gas: u64,
    went_well: bool,
) {
    let received = if went_well { balance } else { U256::ZERO };
    let is_empty = emptiness(context, receiver, received);
    if !went_well && is_empty && gas < NEW_ACCOUNT_GAS {
        return;
    }
    let meter = &mut context.chain.observer;
    touch(meter, receiver);
    if went_well {
        meter.accesses.push(Access::Read(receiver, LeafKind::Balance));
        meter.accesses.push(Access::Write(receiver, LeafKind::Balance, true));
        meter.accesses.push(Access::Write(own, LeafKind::Balance, false));
    }
}
