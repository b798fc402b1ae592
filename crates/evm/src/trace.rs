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
use zkevm_types::ForkRules;
use zkevm_types::RomError;
use zkevm_types::{FrameKind, TraceStep};

/// The parts that a trace leaves out or takes in.
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
    /// The use made of the steps.
    pub steps: Steps,
}

/// The use made of the steps of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Steps {
    /// Each is recorded.
    #[default]
    Full,
    /// Each is recorded, but empty: the request counts nothing (executor-service §5.3).
    Empty,
    /// None is recorded; only what a later transaction's trace shows of this one is kept.
    Dropped,
}

/// The values that the ROM and the original's tracer keep from one transaction of a batch to the next.
#[derive(Clone, Debug, Default)]
pub struct TraceCarryOver {
    /// Gas the last call or create asked for, at whatever depth: the ROM has one variable for it.
    requested_gas: u64,
    /// What stands where the gas kept by the caller of the outermost frame would, which has none.
    pub(super) outer_caller_gas: u64,
    /// What the first create of the batch returned: the original never reads the others.
    first_created: Option<Bytes>,
}

/// Static gas of CREATE; a create that costs no more had no init code (executor-service §8.3).
pub const CREATE_GAS: u64 = 32_000;
/// Static gas of LOG0, and of each topic.
const LOG_GAS: u64 = 375;
/// Longest return data shown of a create whose RETURN could not pay for its memory, in bytes.
const UNPAID_RETURN_MAX: usize = 1 << 20;

/// The position of a frame: its depth, how it was entered and by whom.
#[derive(Clone, Debug)]
pub struct FrameView {
    /// Depth, 1 for the outermost frame.
    pub depth: u32,
    /// The way the frame was entered.
    pub kind: FrameKind,
    /// Call data or init code.
    pub data: Bytes,
    /// It runs init code, of a create or of a deploy transaction.
    pub runs_init_code: bool,
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
        Self { depth: depth as u32 + 1, kind, data, runs_init_code: matches!(input, FrameInput::Create(_)) }
    }

    /// True in the frame of a CREATE or CREATE2; a deploy transaction is none.
    fn is_create(&self) -> bool {
        matches!(self.kind, FrameKind::Create | FrameKind::Create2)
    }
}

/// A frame that is running, or waits for one it called.
#[derive(Clone, Copy, Debug, Default)]
struct OpenFrame {
    /// Tells this frame from every other of the transaction.
    id: u64,
    /// Refund counter of its callers.
    refund_base: u64,
    /// Gas its caller kept back; see [`TraceCarryOver::outer_caller_gas`] for the outermost.
    kept_by_caller: u64,
}

/// Records the steps of one transaction.
#[derive(Debug)]
pub struct Tracer {
    options: TraceOptions,
    steps: Vec<TraceStep>,
    /// Gas left in the frame once the last opcode had run: what a call or create kept back.
    kept_back: u64,
    /// Open frames, outermost first.
    frames: Vec<OpenFrame>,
    /// Frames opened so far.
    frame_count: u64,
    /// How each depth was last entered, and the gas asked for: kept until the depth is entered again.
    entries: HashMap<u32, (FrameKind, u64)>,
    carry_over: TraceCarryOver,
    /// Slots are shown as soon as their opcode starts, not only once it is paid for.
    storage_before_gas: bool,
    /// Slots seen in this transaction.
    storage: HashMap<Address, BTreeMap<U256, U256>>,
    previous_memory: Vec<u8>,
    /// Frame that shows what a create returned as return data, until another runs.
    shows_created: Option<u64>,
    /// The RETURN that runs is the batch's first of a create.
    first_create_returns: bool,
    last_root: B256,
    root_is_stale: bool,
    /// A create frame without init code: its STOP is not a step.
    skipped_stop: bool,
}

impl Tracer {
    /// Creates an empty trace.
    pub fn new(options: TraceOptions, rules: &ForkRules, carry_over: TraceCarryOver) -> Self {
        Self {
            options,
            storage_before_gas: rules.storage_traced_before_gas,
            steps: Vec::new(),
            kept_back: 0,
            frames: vec![OpenFrame::default()],
            frame_count: 0,
            entries: HashMap::new(),
            carry_over,
            storage: HashMap::new(),
            previous_memory: Vec::new(),
            shows_created: None,
            first_create_returns: false,
            last_root: B256::ZERO,
            root_is_stale: true,
            skipped_stop: false,
        }
    }

    /// True if the state may have changed since the last root.
    pub fn needs_root(&self) -> bool {
        self.root_is_stale && self.shows_roots()
    }

    /// True if steps are recorded with the state root before them.
    pub fn shows_roots(&self) -> bool {
        self.options.steps == Steps::Full
    }

    /// True if the STOP that stands for "no code" is a step too.
    pub fn keeps_every_stop(&self) -> bool {
        self.options.steps == Steps::Empty
    }

    /// Takes the state root before the next step.
    pub fn set_root(&mut self, root: B256) {
        self.last_root = root;
        self.root_is_stale = false;
    }

    /// Records the opcode that is about to run.
    pub fn begin_step(&mut self, interpreter: &Interpreter<EthInterpreter>, frame: &FrameView) {
        let op = interpreter.bytecode.opcode();
        self.skipped_stop = false;
        if self.options.steps == Steps::Empty {
            self.steps.push(empty_step());
            return;
        }
        let return_data = self.return_data_of(interpreter, frame, op);
        if self.options.steps == Steps::Dropped {
            return;
        }
        let gas = interpreter.gas.remaining();
        let kept_by_caller = self.frames.last().map_or(0, |open| open.kept_by_caller);
        self.price_last_step(gas, frame.depth, kept_by_caller);
        let refund = self.refund_counter(interpreter);
        // An SSTORE shows the counter after it, unless that is zero.
        if let Some(last) = self.steps.last_mut().filter(|last| last.op == opcode::SSTORE && refund > 0) {
            last.gas_refund = refund;
        }
        let memory = self.memory_of(interpreter);
        // The original asks for the length of the code in the state, which init code does not have.
        let no_code = frame.runs_init_code || interpreter.bytecode.is_empty();
        self.skipped_stop = op == opcode::STOP && no_code && self.stop_is_left_out();
        if self.skipped_stop {
            return;
        }
        let opened = self.note_entry(frame.depth);
        let input = &interpreter.input;
        let code_address = input.bytecode_address().copied().unwrap_or(input.target_address());
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
            return_data,
            contract_address: code_address,
            contract_caller: match kind {
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
        // Whatever frame showed what a create returned, this is another.
        self.shows_created = None;
        match self.options.steps {
            Steps::Full => {}
            Steps::Empty => return self.steps.push(empty_step()),
            Steps::Dropped => return,
        }
        self.price_last_step(call.gas_limit, depth, self.kept_back);
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
            self.entries.insert(depth, (kind, self.carry_over.requested_gas));
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
        self.kept_back = interpreter.gas.remaining();
        if self.options.steps == Steps::Dropped {
            return;
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
        let Some(step) = self.steps.last_mut() else { return };
        step.storage = storage;
        if let Some(error) = result.map(rom_error).filter(|&error| error != RomError::NoError) {
            step.error = error;
        }
    }

    /// True if the RETURN about to run is the one whose memory [`Self::create_returned`] wants.
    pub fn wants_returned_memory(&self) -> bool {
        self.first_create_returns
    }

    /// Notes what the memory says behind the operands of a create's RETURN, whether or not it succeeded.
    pub fn create_returned(&mut self, interpreter: &Interpreter<EthInterpreter>, operands: &[U256]) {
        self.first_create_returns = false;
        let returned = match operands {
            [offset, length, ..] => memory_behind(interpreter, *offset, *length),
            _ => Bytes::new(),
        };
        self.carry_over.first_created = Some(returned);
    }

    /// Notes the gas a call or create asked for.
    pub fn request_gas(&mut self, gas: u64) {
        self.carry_over.requested_gas = gas;
    }

    /// Notes that a frame was entered at `depth` (1-based), its callers having this refund counter.
    pub fn enter(&mut self, depth: u32, refund_of_callers: u64) {
        let callers = depth as usize - 1;
        self.frames.truncate(callers);
        self.frames.resize(callers, OpenFrame::default());
        self.frame_count += 1;
        let kept_by_caller = if callers == 0 { self.carry_over.outer_caller_gas } else { self.kept_back };
        self.frames.push(OpenFrame { id: self.frame_count, refund_base: refund_of_callers, kept_by_caller });
        self.root_is_stale = true;
    }

    /// Returns the refund counter a frame called from this one starts with.
    pub fn refund_counter(&self, interpreter: &Interpreter<EthInterpreter>) -> u64 {
        let base = self.frames.last().map_or(0, |open| open.refund_base);
        base.saturating_add_signed(interpreter.gas.refunded())
    }

    /// Notes that a frame returned to `depth` (1-based).
    pub fn leave(&mut self, depth: u32) {
        self.frames.truncate(depth.max(1) as usize);
        self.root_is_stale = true;
    }

    /// Puts an error on the last step, where the original puts one that has no step of its own.
    pub fn place_error(&mut self, error: RomError) {
        self.root_is_stale = true;
        if let Some(step) = self.steps.last_mut() {
            step.error = error;
        }
    }

    /// Ends the trace. `gas_left` is the gas register at the end.
    pub fn finish(mut self, gas_left: u64, is_create: bool) -> (Vec<TraceStep>, TraceCarryOver) {
        if self.steps.len() >= 2
            && !is_create
            && let Some(last) = self.steps.last_mut()
            && last.op != opcode::STOP
            && last.error == RomError::NoError
            && self.options.steps == Steps::Full
        {
            last.gas_cost = last.gas.wrapping_sub(gas_left).wrapping_add(last.gas_refund);
        }
        (self.steps, self.carry_over)
    }

    /// True for a STOP without code that is the first opcode, or right behind a create that cost no more than its static
    /// gas (executor-service §8.3). The create has been priced.
    fn stop_is_left_out(&self) -> bool {
        self.steps.last().is_none_or(|step| {
            matches!(step.op, opcode::CREATE | opcode::CREATE2) && step.gas_cost as i64 <= CREATE_GAS as i64
        })
    }

    /// Prices the last step now that the gas of the next one is known (executor-service §8.4). `kept_by_caller` is what
    /// the caller of the frame that runs now keeps back. In 64 bits with sign, as the original.
    fn price_last_step(&mut self, gas: u64, depth: u32, kept_by_caller: u64) {
        let requested_gas = self.carry_over.requested_gas;
        let before = self.steps.len().checked_sub(2).map(|at| self.steps[at].gas);
        let Some(step) = self.steps.last_mut() else { return };
        let failed = step.error != RomError::NoError;
        let cost = match step.op {
            opcode::STOP | opcode::RETURN | opcode::REVERT => 0,
            // A failed create is priced by the last gas anything asked for, which it may not have got as far as setting.
            opcode::CREATE | opcode::CREATE2 if failed => step.gas.wrapping_sub(requested_gas),
            opcode::CREATE | opcode::CREATE2 => step.gas.wrapping_sub(gas).wrapping_sub(kept_by_caller),
            opcode::CALL | opcode::CALLCODE | opcode::DELEGATECALL | opcode::STATICCALL if step.depth != depth => {
                step.gas.wrapping_sub(kept_by_caller)
            }
            _ if step.depth == depth => step.gas.wrapping_sub(gas),
            _ if failed => step.gas,
            _ => step.gas_cost,
        };
        step.gas_cost = match before {
            // Gas came back from a deeper frame.
            Some(before) if (cost as i64) < 0 => before.wrapping_sub(step.gas),
            _ => cost,
        };
    }

    /// Returns the return data of the step about to run, with what a create returned (executor-service §8.6).
    fn return_data_of(&mut self, interpreter: &Interpreter<EthInterpreter>, frame: &FrameView, op: u8) -> Bytes {
        if !self.options.return_data {
            return Bytes::new();
        }
        let this = self.frames.last().map(|open| open.id);
        let mut shown = Bytes::new();
        if self.shows_created == this {
            shown = self.carry_over.first_created.clone().unwrap_or_default();
        } else {
            self.shows_created = None;
        }
        if frame.is_create() {
            if op == opcode::RETURN {
                self.shows_created = self.frames.iter().nth_back(1).map(|creator| creator.id);
                self.first_create_returns = self.carry_over.first_created.is_none();
            }
            return shown;
        }
        let own = interpreter.return_data.buffer();
        match (shown.is_empty(), own.is_empty()) {
            (true, _) => own.clone(),
            (false, true) => shown,
            (false, false) => [&shown[..], &own[..]].concat().into(),
        }
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
pub(super) fn is_defined(op: u8) -> bool {
    matches!(op,
        0x00..=0x0b | 0x10..=0x1d | 0x20 | 0x30..=0x47 | 0x50..=0x5b | 0x5f..=0xa4 | 0x48 | 0xf0..=0xf5 | 0xfa | 0xfd | 0xff)
}

/// Static gas of an opcode as the original's table has it.
fn static_gas(op: u8) -> u64 {
    match op {
        opcode::SSTORE => 100,
        opcode::CREATE | opcode::CREATE2 => CREATE_GAS,
        opcode::LOG0..=opcode::LOG4 => LOG_GAS * u64::from(op - opcode::LOG0 + 1),
        opcode::PUSH0 => 3,
        _ if is_defined(op) => u64::from(gas_table_spec(SpecId::BERLIN)[op as usize]),
        _ => 0,
    }
}

/// Returns `length` bytes of memory from `offset`, zero where it does not reach.
fn memory_behind(interpreter: &Interpreter<EthInterpreter>, offset: U256, length: U256) -> Bytes {
    let Some(length) = usize::try_from(length)
        .ok()
        .filter(|&length| length <= interpreter.memory.size() || length <= UNPAID_RETURN_MAX)
    else {
        return Bytes::new();
    };
    let size = interpreter.memory.size();
    let start = usize::try_from(offset).map_or(size, |offset| offset.min(size));
    let end = start.saturating_add(length).min(size);
    let mut bytes = interpreter.memory.slice(start..end).to_vec();
    bytes.resize(length, 0);
    bytes.into()
}
