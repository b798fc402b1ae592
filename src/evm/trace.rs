//! The full trace of one transaction, step by step as the original reports it (executor-service §8).

use std::collections::{BTreeMap, HashMap};

use revm::bytecode::opcode;
use revm::interpreter::instructions::gas_table_spec;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{InputsTr, Jumps, MemoryTr, ReturnData};
use revm::interpreter::{CallInputs, CallScheme, CreateScheme, FrameInput, InstructionResult, Interpreter};
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, B256, Bytes, U256};

use super::errors::rom_error;
use super::fork::ForkRules;
use crate::processor::RomError;
use crate::processor::output::{FrameKind, TraceStep};

/// What a trace leaves out or takes in.
#[derive(Clone, Copy, Debug, Default)]
pub struct TraceOptions {
    /// Record storage.
    pub storage: bool,
    /// Record the stack.
    pub stack: bool,
    /// Record memory.
    pub memory: bool,
    /// Record return data.
    pub return_data: bool,
    /// Steps are recorded empty: the request counts nothing (executor-service §5.3).
    pub empty_steps: bool,
}

/// Static gas of CREATE; a create that costs no more had no init code (executor-service §8.3).
pub const CREATE_GAS: u64 = 32_000;

/// Where a frame stands: its depth, how it was entered and by whom.
#[derive(Clone, Debug)]
pub struct FrameView {
    /// Depth, 1 for the outermost frame.
    pub depth: u32,
    /// How the frame was entered.
    pub kind: FrameKind,
    /// Call data or init code.
    pub data: Bytes,
}

impl FrameView {
    /// Describes a frame from what it was entered with.
    pub fn new(input: &FrameInput, depth: usize, data: Bytes) -> Self {
        let kind = match input {
            _ if depth == 0 => FrameKind::Call,
            FrameInput::Call(call) => match call.scheme {
                CallScheme::Call => FrameKind::Call,
                CallScheme::CallCode => FrameKind::CallCode,
                CallScheme::DelegateCall => FrameKind::DelegateCall,
                CallScheme::StaticCall => FrameKind::StaticCall,
            },
            FrameInput::Create(create) => match create.scheme() {
                CreateScheme::Create2 { .. } => FrameKind::Create2,
                _ => FrameKind::Create,
            },
            FrameInput::Empty => FrameKind::Call,
        };
        Self { depth: depth as u32 + 1, kind, data }
    }
}

/// The step that has begun and not yet been priced.
#[derive(Clone, Copy, Debug)]
struct Pending {
    /// Gas left in the frame once the opcode had run: what a call or create kept back.
    kept_back: u64,
    /// Gas a call or create forwarded.
    forwarded: u64,
}

/// Records the steps of one transaction.
#[derive(Debug)]
pub struct Tracer {
    options: TraceOptions,
    steps: Vec<TraceStep>,
    pending: Option<Pending>,
    /// Refund counter of the callers, by depth.
    refund_bases: Vec<u64>,
    /// How each depth was last entered, and the gas asked for: kept until the depth is entered again.
    entries: HashMap<u32, (FrameKind, u64)>,
    /// Gas the last call or create asked for, at whatever depth: the ROM has one variable for it.
    asked_gas: u64,
    /// Slots are shown as soon as their opcode starts, not only once it is paid for.
    storage_before_gas: bool,
    /// Slots seen in this transaction.
    storage: HashMap<Address, BTreeMap<U256, U256>>,
    previous_memory: Vec<u8>,
    /// Code a create returned, shown as return data of the creator's frame at this depth.
    created_code: Option<(u32, Bytes)>,
    last_return_data: Bytes,
    last_root: B256,
    root_is_stale: bool,
    /// A create frame without init code: its STOP is not a step.
    skipped_stop: bool,
}

impl Tracer {
    /// Creates an empty trace.
    pub fn new(options: TraceOptions, rules: &ForkRules) -> Self {
        Self {
            options,
            storage_before_gas: rules.storage_traced_before_gas,
            steps: Vec::new(),
            pending: None,
            refund_bases: vec![0],
            entries: HashMap::new(),
            asked_gas: 0,
            storage: HashMap::new(),
            previous_memory: Vec::new(),
            created_code: None,
            last_return_data: Bytes::new(),
            last_root: B256::ZERO,
            root_is_stale: true,
            skipped_stop: false,
        }
    }

    /// True if the state may have changed since the last root.
    pub fn needs_root(&self) -> bool {
        self.root_is_stale && !self.options.empty_steps
    }

    /// Takes the state root before the next step.
    pub fn set_root(&mut self, root: B256) {
        self.last_root = root;
        self.root_is_stale = false;
    }

    /// Records the opcode that is about to run.
    pub fn begin_step(&mut self, interpreter: &Interpreter<EthInterpreter>, frame: &FrameView) {
        let op = interpreter.bytecode.opcode();
        let code_is_empty = interpreter.bytecode.is_empty();
        self.skipped_stop = op == opcode::STOP && self.stands_for_no_code(code_is_empty);
        if self.skipped_stop {
            return;
        }
        let gas = interpreter.gas.remaining();
        self.price_last_step(gas, frame.depth);
        let refund = self.refund_counter(interpreter);
        // An SSTORE shows the counter after it, unless that is zero.
        if let Some(last) = self.steps.last_mut().filter(|last| last.op == opcode::SSTORE && refund > 0) {
            last.gas_refund = refund;
        }
        if self.options.empty_steps {
            self.steps.push(empty_step());
            return;
        }
        let opened = self.note_entry(frame.depth);
        let memory = self.memory_of(interpreter);
        let input = &interpreter.input;
        let code_address = input.bytecode_address().copied().unwrap_or(input.target_address());
        let return_data = match &self.created_code {
            Some((depth, code)) if *depth == frame.depth => code.clone(),
            _ => interpreter.return_data.buffer().clone(),
        };
        self.last_return_data = return_data.clone();
        let (kind, entry_gas) = self.entries.get(&frame.depth).copied().unwrap_or_default();
        self.steps.push(TraceStep {
            state_root: self.last_root,
            depth: frame.depth,
            pc: interpreter.bytecode.pc() as u64,
            gas,
            gas_cost: static_gas(op),
            gas_refund: refund,
            op: if is_defined(op) { op } else { opcode::INVALID },
            stack: if self.options.stack { interpreter.stack.data().clone() } else { Vec::new() },
            memory: memory.0,
            memory_size: memory.1,
            memory_offset: memory.2,
            return_data: if self.options.return_data { return_data } else { Bytes::new() },
            contract_address: code_address,
            contract_caller: match frame.kind {
                FrameKind::DelegateCall => input.target_address(),
                _ => input.caller_address(),
            },
            contract_value: input.call_value(),
            contract_data: if opened { frame.data.clone() } else { Bytes::new() },
            contract_gas: entry_gas,
            contract_kind: kind,
            error: RomError::NoError,
            storage: BTreeMap::new(),
        });
    }

    /// Records the STOP of a call to an account without code, which revm does not run.
    pub fn codeless_call(&mut self, call: &CallInputs, data: Bytes, depth: u32) {
        self.price_last_step(call.gas_limit, depth);
        if self.options.empty_steps {
            self.steps.push(empty_step());
            return;
        }
        self.note_entry(depth);
        let (kind, entry_gas) = self.entries.get(&depth).copied().unwrap_or_default();
        let refund = self.steps.last().map_or(0, |step| step.gas_refund);
        if self.options.memory {
            self.previous_memory.clear();
        }
        self.steps.push(TraceStep {
            state_root: self.last_root,
            depth,
            gas: call.gas_limit,
            gas_refund: refund,
            contract_address: call.bytecode_address,
            contract_caller: match call.scheme {
                CallScheme::DelegateCall => call.target_address,
                _ => call.caller,
            },
            contract_value: call.value.get(),
            contract_data: data,
            contract_gas: entry_gas,
            contract_kind: kind,
            ..empty_step()
        });
        self.pending = Some(Pending { kept_back: 0, forwarded: 0 });
        self.created_code = None;
    }

    /// Notes how the frame of this step was entered, if the last step changed the depth by a call or a create.
    ///
    /// Returns whether call data is shown on this step.
    fn note_entry(&mut self, depth: u32) -> bool {
        let Some(last) = self.steps.last() else { return false };
        let kind = match last.op {
            opcode::CALL => Some(FrameKind::Call),
            opcode::CALLCODE => Some(FrameKind::CallCode),
            opcode::DELEGATECALL => Some(FrameKind::DelegateCall),
            opcode::STATICCALL => Some(FrameKind::StaticCall),
            opcode::CREATE => Some(FrameKind::Create),
            opcode::CREATE2 => Some(FrameKind::Create2),
            _ => None,
        };
        if let Some(kind) = kind.filter(|_| last.depth != depth) {
            // Also when the opcode failed and ended its frame: the caller's frame then shows the opcode.
            self.entries.insert(depth, (kind, self.asked_gas));
        }
        kind.is_some() || matches!(last.op, opcode::STOP | opcode::RETURN | opcode::REVERT)
    }

    /// Records what the opcode did. `result` is how it ended the frame, if it did.
    pub fn end_step(
        &mut self,
        interpreter: &Interpreter<EthInterpreter>,
        op: u8,
        result: Option<InstructionResult>,
        slot: Option<(Address, U256, U256)>,
    ) {
        if changes_state(op) || result.is_some_and(|result| result != InstructionResult::Suspend) {
            self.root_is_stale = true;
        }
        let slot = slot.filter(|_| self.storage_before_gas || result.is_none());
        if let Some((address, slot, value)) = slot {
            self.storage.entry(address).or_default().insert(slot, value);
        }
        if self.skipped_stop {
            return;
        }
        let storage = match slot {
            Some((address, ..)) if self.options.storage => self.storage.get(&address).cloned().unwrap_or_default(),
            _ => BTreeMap::new(),
        };
        self.pending = Some(Pending { kept_back: interpreter.gas.remaining(), forwarded: 0 });
        let Some(step) = self.steps.last_mut() else { return };
        step.storage = storage;
        if self.options.empty_steps {
            return;
        }
        if let Some(error) = result.map(rom_error).filter(|&error| error != RomError::NoError) {
            step.error = error;
        }
    }

    /// Notes the gas a call or create asked for.
    pub fn ask(&mut self, gas: u64) {
        self.asked_gas = gas;
    }

    /// Notes that a call or create starts a frame (or would) with this gas.
    pub fn forward(&mut self, gas: u64) {
        if let Some(pending) = &mut self.pending {
            pending.forwarded = gas;
        }
    }

    /// Notes that a frame was entered at `depth` (1-based), its callers having this refund counter.
    pub fn enter(&mut self, depth: u32, refund_of_callers: u64) {
        self.refund_bases.truncate(depth as usize - 1);
        self.refund_bases.resize(depth as usize - 1, 0);
        self.refund_bases.push(refund_of_callers);
        self.created_code = None;
        self.root_is_stale = true;
    }

    /// Returns the refund counter a frame called from this one starts with.
    pub fn refund_counter(&self, interpreter: &Interpreter<EthInterpreter>) -> u64 {
        let base = self.refund_bases.last().copied().unwrap_or(0);
        base.saturating_add_signed(interpreter.gas.refunded())
    }

    /// Notes that a frame returned to `depth` (1-based); `created` is the code a create returned.
    pub fn leave(&mut self, depth: u32, created: Option<Bytes>) {
        self.refund_bases.truncate(depth.max(1) as usize);
        self.created_code = created.map(|code| (depth, code));
        self.root_is_stale = true;
    }

    /// Notes that the return data shown at `depth` stays: the call reverted before the original replaced it.
    pub fn leave_return_data(&mut self, depth: u32) {
        self.created_code = Some((depth, self.last_return_data.clone()));
    }

    /// Puts an error on the last step, where the original puts one that has no step of its own.
    pub fn place_error(&mut self, error: RomError) {
        self.root_is_stale = true;
        if let Some(step) = self.steps.last_mut() {
            step.error = error;
        }
    }

    /// Ends the trace. `gas_left` is the gas register at the end.
    pub fn finish(mut self, gas_left: u64, is_create: bool) -> Vec<TraceStep> {
        if self.steps.len() >= 2
            && !is_create
            && let Some(last) = self.steps.last_mut()
            && last.op != opcode::STOP
            && last.error == RomError::NoError
            && !self.options.empty_steps
        {
            last.gas_cost = last.gas.wrapping_sub(gas_left).wrapping_add(last.gas_refund);
        }
        self.steps
    }

    /// A STOP that stands for "no code here" (executor-service §8.3).
    fn stands_for_no_code(&self, code_is_empty: bool) -> bool {
        match self.steps.last() {
            None => code_is_empty,
            Some(step) => {
                matches!(step.op, opcode::CREATE | opcode::CREATE2)
                    && self.pending.is_some_and(|pending| {
                        step.gas.saturating_sub(pending.kept_back).saturating_sub(pending.forwarded) <= CREATE_GAS
                    })
            }
        }
    }

    /// Prices the last step now that the gas of the next one is known (executor-service §8.4).
    fn price_last_step(&mut self, gas: u64, depth: u32) {
        let Some(pending) = self.pending.take() else { return };
        if self.options.empty_steps {
            return;
        }
        let count = self.steps.len();
        let before = count.checked_sub(2).map(|at| self.steps[at].gas);
        let Some(step) = self.steps.last_mut() else { return };
        let same_depth = step.depth == depth;
        let cost = match step.op {
            opcode::STOP | opcode::RETURN | opcode::REVERT => Some(0),
            opcode::CREATE | opcode::CREATE2 if same_depth => {
                step.gas.checked_sub(pending.kept_back + pending.forwarded)
            }
            opcode::CREATE | opcode::CREATE2 => {
                step.gas.checked_sub(gas).and_then(|cost| cost.checked_sub(pending.kept_back))
            }
            opcode::CALL | opcode::CALLCODE | opcode::DELEGATECALL | opcode::STATICCALL
                if !same_depth && step.error == RomError::NoError =>
            {
                step.gas.checked_sub(pending.kept_back)
            }
            _ if !same_depth && step.error != RomError::NoError => Some(step.gas),
            _ if !same_depth => Some(step.gas_cost),
            _ => step.gas.checked_sub(gas),
        };
        step.gas_cost = match (cost, before) {
            (Some(cost), _) => cost,
            (None, Some(before)) => before.wrapping_sub(step.gas),
            (None, None) => step.gas_cost,
        };
    }

    /// Returns changed bytes, length and offset of memory (executor-service §8.5).
    fn memory_of(&mut self, interpreter: &Interpreter<EthInterpreter>) -> (Bytes, u32, u32) {
        if !self.options.memory {
            return (Bytes::new(), 0, 0);
        }
        let size = interpreter.memory.size();
        let memory = interpreter.memory.slice(0..size).to_vec();
        let result = if self.steps.is_empty() {
            (memory.clone().into(), size as u32, 0)
        } else {
            let (start, end) = changed_range(&self.previous_memory, &memory);
            (Bytes::copy_from_slice(&memory[start..end]), size as u32, if start == end { 0 } else { start as u32 })
        };
        if !self.steps.is_empty() {
            self.previous_memory = memory;
        }
        result
    }
}

/// Returns the slice of `new` that differs from `old`, empty if only zero bytes were appended.
fn changed_range(old: &[u8], new: &[u8]) -> (usize, usize) {
    if new.len() < old.len() {
        return (0, new.len());
    }
    let (kept, appended) = new.split_at(old.len());
    let first_changed = kept.iter().zip(old).position(|(new, old)| new != old);
    let last_changed = kept.iter().zip(old).rposition(|(new, old)| new != old);
    let first_appended = appended.iter().position(|&byte| byte != 0).map(|at| at + old.len());
    let last_appended = appended.iter().rposition(|&byte| byte != 0).map(|at| at + old.len());
    match (first_changed.or(first_appended), last_appended.or(last_changed)) {
        (Some(first), Some(last)) => (first, last + 1),
        _ => (0, 0),
    }
}

fn empty_step() -> TraceStep {
    TraceStep {
        state_root: B256::ZERO,
        depth: 0,
        pc: 0,
        gas: 0,
        gas_cost: 0,
        gas_refund: 0,
        op: 0,
        stack: Vec::new(),
        memory: Bytes::new(),
        memory_size: 0,
        memory_offset: 0,
        return_data: Bytes::new(),
        contract_address: Address::ZERO,
        contract_caller: Address::ZERO,
        contract_value: U256::ZERO,
        contract_data: Bytes::new(),
        contract_gas: 0,
        contract_kind: FrameKind::Call,
        error: RomError::NoError,
        storage: BTreeMap::new(),
    }
}

fn changes_state(op: u8) -> bool {
    matches!(
        op,
        opcode::SSTORE
            | opcode::CALL
            | opcode::CALLCODE
            | opcode::DELEGATECALL
            | opcode::STATICCALL
            | opcode::CREATE
            | opcode::CREATE2
            | opcode::SELFDESTRUCT
    )
}

/// True for the opcodes the ROM knows under their own byte.
fn is_defined(op: u8) -> bool {
    matches!(op,
        0x00..=0x0b | 0x10..=0x1d | 0x20 | 0x30..=0x47 | 0x50..=0x5b | 0x5f..=0xa4 | 0x48 | 0xf0..=0xf5 | 0xfa | 0xfd | 0xff)
}

/// Static gas of an opcode as the original's table has it.
fn static_gas(op: u8) -> u64 {
    match op {
        opcode::SSTORE => 100,
        opcode::CREATE | opcode::CREATE2 => CREATE_GAS,
        _ => u64::from(gas_table_spec(SpecId::BERLIN)[op as usize]),
    }
}
