//! The full trace of one transaction, step by step as the original reports it (executor-service §8).

use std::collections::HashMap;

use revm::bytecode::opcode::{self, OpCode};
use revm::interpreter::instructions::gas_table_spec;
use revm::interpreter::interpreter::EthInterpreter;
use revm::interpreter::interpreter_types::{InputsTr, Jumps, MemoryTr, ReturnData};
use revm::interpreter::{
    CallInputs, CallScheme, CreateScheme, FrameInput, InstructionResult, Interpreter, STACK_LIMIT,
};
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, B256, Bytes, U256};

use super::errors::rom_error;
use super::interrupt::Interrupt;
use super::returned::memory_at;
use super::trace_cost::AnswerCost;
use super::trace_memory::MemoryChanges;
use zkevm_types::ForkRules;
use zkevm_types::RomError;
use zkevm_types::{FrameKind, NewStep, StepFrame, StepNumbers, TraceSteps};

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
    /// The entry that takes the trace is that of a transaction that deploys.
    pub is_create: bool,
    /// The use made of the steps.
    pub steps: Steps,
}

/// The use made of the steps of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Steps {
    /// Each is recorded.
    #[default]
    Full,
    /// Each is recorded, but empty: the request counts nothing (executor-service §5.3). A LOG0 is none of these in later forks.
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
    /// The top frame still showed it when its transaction ended.
    shows_created: bool,
}

/// Static gas of CREATE; a create that costs no more had no init code (executor-service §8.3).
pub const CREATE_GAS: u64 = 32_000;
/// Static gas of LOG0, and of each topic.
const LOG_GAS: u64 = 375;

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
    pub(super) fn is_create(&self) -> bool {
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
    steps: TraceSteps,
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
    /// A LOG0 is recorded in full where other steps are empty.
    log0_in_full: bool,
    /// A CALLDATACOPY overwrites what stands for the gas kept by the outermost frame's caller.
    copies_set_outer_gas: bool,
    /// What is shown of a create is of an earlier transaction.
    shows_carried: bool,
    memory: MemoryChanges,
    /// The opcode that runs may reveal memory that nobody paid for.
    unpaid_memory: bool,
    /// Frame of the last step: its stack is known but for what that opcode took and left.
    last_frame: Option<u64>,
    cost: AnswerCost,
    /// What a create returned, and the return data it was last shown before.
    joined: Option<(Bytes, Bytes)>,
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
            log0_in_full: rules.uncounted_log0_noted,
            copies_set_outer_gas: rules.calldatacopy_sets_outermost_gas,
            shows_carried: rules.created_shown_across_transactions && carry_over.shows_created,
            steps: TraceSteps::default(),
            kept_back: 0,
            frames: vec![OpenFrame::default()],
            frame_count: 0,
            entries: HashMap::new(),
            // The number of the top frame.
            shows_created: (rules.created_shown_across_transactions && carry_over.shows_created).then_some(1),
            carry_over,
            memory: MemoryChanges::default(),
            unpaid_memory: false,
            last_frame: None,
            cost: AnswerCost::default(),
            joined: None,
            first_create_returns: false,
            last_root: B256::ZERO,
            root_is_stale: true,
            skipped_stop: false,
        }
    }

    /// True if the step of this opcode shows a root, and the state may have changed since the last one.
    pub fn needs_root(&self, op: u8) -> bool {
        self.root_is_stale && self.options.steps != Steps::Dropped && !self.is_empty_step(op)
    }

    /// True if nothing is recorded of this opcode but that it ran.
    fn is_empty_step(&self, op: u8) -> bool {
        self.options.steps == Steps::Empty && !(self.log0_in_full && op == opcode::LOG0)
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
        if self.is_empty_step(op) {
            return self.push_empty();
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
        let memory = match self.options.memory {
            true => self.memory.next(interpreter, self.frame(), self.steps.is_empty()),
            false => Default::default(),
        };
        // The original asks for the length of the code in the state, which init code does not have.
        let no_code = frame.runs_init_code || interpreter.bytecode.is_empty();
        self.skipped_stop = op == opcode::STOP && no_code && self.stop_is_left_out();
        if self.skipped_stop {
            return;
        }
        // Of an empty step nothing is known, not even that it enters or leaves a frame.
        let opened = self.note_entry(frame.depth) && self.options.steps == Steps::Full;
        let input = &interpreter.input;
        let code_address = input.bytecode_address().copied().unwrap_or(input.target_address());
        let (kind, entry_gas) = self.entries.get(&frame.depth).copied().unwrap_or_default();
        let caller = if kind == FrameKind::DelegateCall { input.target_address() } else { input.caller_address() };
        let memory_size = if self.options.memory { interpreter.memory.size() } else { 0 };
        let shown = interpreter.memory.slice(0..memory_size);
        let step = NewStep {
            numbers: StepNumbers {
                gas,
                gas_cost: static_gas(op),
                gas_refund: refund,
                pc: interpreter.bytecode.pc() as u32,
                op: if is_defined(op) { op } else { opcode::INVALID },
                error: RomError::NoError,
            },
            frame: StepFrame {
                depth: frame.depth,
                address: code_address,
                caller,
                value: input.call_value(),
                gas: entry_gas,
                kind,
            },
            state_root: self.last_root,
            stack: if self.options.stack { interpreter.stack.data() } else { &[] },
            stack_kept: self.stack_kept(),
            memory_offset: memory.start as u32,
            memory: shown.get(memory).unwrap_or_default(),
            memory_size: memory_size as u32,
            return_data,
            contract_data: if opened { frame.data.clone() } else { Bytes::new() },
        };
        self.cost.push(&mut self.steps, step);
        self.last_frame = self.frame().filter(|_| self.options.steps == Steps::Full);
    }

    fn push_empty(&mut self) {
        self.steps.push_empty();
        self.cost.add_empty();
    }

    /// Returns which frame runs.
    fn frame(&self) -> Option<u64> {
        self.frames.last().map(|open| open.id)
    }

    /// Returns how many words at the bottom of the stack the last opcode left alone.
    fn stack_kept(&self) -> usize {
        let Some(last) = self.steps.last().filter(|_| self.last_frame.is_some() && self.last_frame == self.frame())
        else {
            return 0;
        };
        let taken = OpCode::new(last.op).map_or(STACK_LIMIT, |op| usize::from(op.inputs()));
        self.steps.stack_len().saturating_sub(taken)
    }

    /// Records the STOP of a call to an account without code, which revm does not run.
    pub fn codeless_call(&mut self, call: &CallInputs, data: Bytes, depth: u32) {
        // Whatever frame showed what a create returned, this is another.
        self.shows_created = None;
        match self.options.steps {
            Steps::Full => {}
            Steps::Empty => return self.push_empty(),
            Steps::Dropped => return,
        }
        self.price_last_step(call.gas_limit, depth, self.kept_back);
        self.note_entry(depth);
        let (kind, entry_gas) = self.entries.get(&depth).copied().unwrap_or_default();
        let refund = self.steps.last().map_or(0, |step| step.gas_refund);
        if self.options.memory {
            self.memory.clear();
        }
        let caller = if call.scheme == CallScheme::DelegateCall { call.target_address } else { call.caller };
        let step = NewStep {
            numbers: StepNumbers { gas: call.gas_limit, gas_refund: refund, ..StepNumbers::default() },
            frame: StepFrame {
                depth,
                address: call.bytecode_address,
                caller,
                value: call.value.get(),
                gas: entry_gas,
                kind,
            },
            state_root: self.last_root,
            contract_data: data,
            ..NewStep::default()
        };
        self.cost.push(&mut self.steps, step);
        self.last_frame = None;
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
        if let Some(kind) = kind.filter(|_| self.steps.last_depth() != Some(depth)) {
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
        operands: &[U256],
        result: Option<InstructionResult>,
        slot: Option<(Address, U256, U256)>,
    ) {
        if changes_state(op) || result.is_some_and(|result| result != InstructionResult::Suspend) {
            self.root_is_stale = true;
        }
        self.kept_back = interpreter.gas.remaining();
        if self.copies_set_outer_gas && result.is_none() && copies_call_data(op, interpreter) {
            self.carry_over.outer_caller_gas = interpreter.stack.len() as u64;
            if let Some(outermost) = self.frames.first_mut() {
                outermost.kept_by_caller = self.carry_over.outer_caller_gas;
            }
        }
        if self.options.steps == Steps::Dropped {
            return;
        }
        if self.options.memory {
            match std::mem::take(&mut self.unpaid_memory) {
                true => self.memory.note_anything(),
                false => self.memory.note_opcode(op, operands),
            }
        }
        if let Some((address, slot, value)) =
            slot.filter(|_| op == opcode::SLOAD || self.storage_before_gas || result.is_none())
        {
            let shows = self.options.storage && !self.skipped_stop;
            self.steps.note_slot(address, slot, value, shows);
            self.cost.note_slot(address, slot, value, shows);
        }
        if self.skipped_stop {
            return;
        }
        let Some(step) = self.steps.last_mut() else { return };
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
            [offset, length, ..] => memory_at((*offset, *length), &interpreter.memory, None),
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

    /// Notes that a frame returned to `depth` (1-based), 0 for the outermost one.
    pub fn leave(&mut self, depth: u32) {
        // Once a call is over it shows that another frame runs than when the create of an earlier transaction returned.
        if depth > 0 && std::mem::take(&mut self.shows_carried) {
            self.shows_created = None;
        }
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
    pub fn finish(mut self, gas_left: u64) -> (TraceSteps, TraceCarryOver) {
        if self.steps.len() >= 2
            && !self.options.is_create
            && let Some(last) = self.steps.last_mut()
            && last.op != opcode::STOP
            && last.error == RomError::NoError
            && self.options.steps == Steps::Full
        {
            last.gas_cost = last.gas.wrapping_sub(gas_left).wrapping_add(last.gas_refund);
        }
        self.carry_over.shows_created = self.shows_created.is_some();
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
        let before = self.steps.last_but_one().map(|step| step.gas);
        let last_depth = self.steps.last_depth().unwrap_or_default();
        let Some(step) = self.steps.last_mut() else { return };
        let failed = step.error != RomError::NoError;
        let cost = match step.op {
            opcode::STOP | opcode::RETURN | opcode::REVERT => 0,
            // A failed create is priced by the last gas anything asked for, which it may not have got as far as setting.
            opcode::CREATE | opcode::CREATE2 if failed => step.gas.wrapping_sub(requested_gas),
            opcode::CREATE | opcode::CREATE2 => step.gas.wrapping_sub(gas).wrapping_sub(kept_by_caller),
            opcode::CALL | opcode::CALLCODE | opcode::DELEGATECALL | opcode::STATICCALL if last_depth != depth => {
                step.gas.wrapping_sub(kept_by_caller)
            }
            _ if last_depth == depth => step.gas.wrapping_sub(gas),
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
            self.shows_carried = false;
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
            (false, false) => self.joined(shown, own),
        }
    }

    /// Returns what a create returned with the return data behind it: the same bytes as long as both are.
    fn joined(&mut self, shown: Bytes, own: &Bytes) -> Bytes {
        let is_same = |bytes: &Bytes| (bytes.as_ptr(), bytes.len()) == (own.as_ptr(), own.len());
        if let Some((_, joined)) = self.joined.as_ref().filter(|(behind, _)| is_same(behind)) {
            return joined.clone();
        }
        let joined = Bytes::from([&shown[..], &own[..]].concat());
        self.joined = Some((own.clone(), joined.clone()));
        joined
    }

    /// Notes that opcodes may reveal memory that nobody paid for.
    pub(crate) fn memory_is_unpaid(&mut self) {
        self.unpaid_memory = true;
    }

    /// Takes what the trace has grown by. True if the batch is to stop.
    pub(crate) fn take_memory(&mut self, interrupt: &mut Interrupt) -> bool {
        self.cost.take(&self.steps, self.memory.bytes(), interrupt)
    }
}

/// True if the ROM copies call data for this opcode: in init code, which it keeps there, also for a CODECOPY.
fn copies_call_data(op: u8, interpreter: &Interpreter<EthInterpreter>) -> bool {
    op == opcode::CALLDATACOPY || (op == opcode::CODECOPY && interpreter.input.bytecode_address().is_none())
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
