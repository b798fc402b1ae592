//! Opcodes (main-state-machine §9.6, executor-service §8.3, §8.4).

use std::collections::HashMap;

use alloy_primitives::{Address, Bytes, U256};
use zkevm_types::{FrameKind, RomError, TraceConfig, TraceStep};

use super::return_data::ReturnedByCreate;
use super::steps::{Step, Steps};
use super::{Tracer, address_of, low_u64, memory_delta};
use crate::{Abort, Register, Variable, View};

const STOP: u8 = 0x00;
const BALANCE: u8 = 0x31;
const GASPRICE: u8 = 0x3a;
const SSTORE: u8 = 0x55;
const LOG0: u8 = 0xa0;
const CREATE: u8 = 0xf0;
const CALL: u8 = 0xf1;
const CALLCODE: u8 = 0xf2;
const RETURN: u8 = 0xf3;
const DELEGATECALL: u8 = 0xf4;
const CREATE2: u8 = 0xf5;
const STATICCALL: u8 = 0xfa;
const REVERT: u8 = 0xfd;
const INVALID: u8 = 0xfe;
const SELFDESTRUCT: u8 = 0xff;

/// A create that costs no more had no init code.
const CREATE_GAS: i64 = 32_000;

/// What is kept from opcode to opcode.
#[derive(Debug, Default)]
pub(super) struct OpcodeTrace {
    pub(super) steps: Steps,
    /// Opcodes of the transaction, listed or not.
    pub(super) count: u64,
    pub(super) has_gasprice: bool,
    pub(super) has_balance: bool,
    depth: i64,
    previous_context: u64,
    previous_memory: Vec<u8>,
    /// Gas a depth was entered with.
    forwarded: HashMap<i64, u64>,
    /// How the frame of a context was entered.
    frames: HashMap<u64, FrameKind>,
    returned: ReturnedByCreate,
}

impl OpcodeTrace {
    /// Begins a transaction.
    pub(super) fn begin(&mut self, context: u64, steps: Steps) {
        self.steps = steps;
        self.depth = 1;
        self.previous_context = context;
        self.previous_memory.clear();
        self.forwarded.clear();
        self.frames.insert(context, FrameKind::Call);
    }

    /// Ends a transaction.
    pub(super) fn end(&mut self) {
        self.steps = Steps::default();
        self.frames.clear();
        self.count = 0;
    }
}

impl Tracer<'_> {
    /// An opcode is about to run.
    pub(super) fn opcode(&mut self, code: u8, view: &View<'_, '_>) -> Result<(), Abort> {
        let context = view.context();
        let trace = &mut self.opcodes;
        trace.count += 1;
        match trace.previous_context.cmp(&context) {
            std::cmp::Ordering::Less => trace.depth += 1,
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => trace.depth -= 1,
        }
        trace.previous_context = context;
        if self.input.no_counters && !(self.rules.later && code == LOG0) {
            return self.push_step(Step { is_empty: true, ..Step::default() }, TraceStep::default);
        }
        let op = if is_defined(code) { code } else { INVALID };
        if self.rules.has_percentages {
            self.opcodes.has_gasprice |= op == GASPRICE;
            self.opcodes.has_balance |= op == BALANCE;
        }
        if self.rules.exact_logs && op == LOG0 {
            self.begin_log0(view)?;
        }
        self.regular_opcode(op, view)
    }

    fn regular_opcode(&mut self, op: u8, view: &View<'_, '_>) -> Result<(), Abort> {
        let step = Step {
            op,
            depth: self.opcodes.depth,
            gas: view.registers.gas(),
            gas_cost: static_gas(op),
            gas_refund: low_u64(view.local(Variable::GasRefund)?),
            error: RomError::NoError,
            is_empty: false,
        };
        let mut shown = match &self.input.trace {
            Some(config) if self.opcodes.steps.are_listed() => Some(self.shown_step(config, view)?),
            _ => None,
        };
        self.correct_last(&step, view)?;
        if self.input.trace.as_ref().is_some_and(|config| config.enable_return_data) {
            let returned = self.opcodes.returned.before(op, view)?;
            if let Some(shown) = &mut shown {
                shown.return_data = returned;
            }
        }
        self.note_entry(view)?;
        if let Some(shown) = &mut shown {
            let kind = self.opcodes.frames.get(&view.context()).copied().unwrap_or_default();
            if kind == FrameKind::DelegateCall {
                shown.contract_caller = address_of(view.local(Variable::StorageAddr)?);
            }
            shown.contract_kind = kind;
            shown.contract_gas = self.opcodes.forwarded.get(&step.depth).copied().unwrap_or(0);
        }
        if op == STOP && self.stop_is_left_out() && view.local(Variable::BytecodeLength)?.is_zero() {
            return Ok(());
        }
        self.push_step(step, || shown.unwrap_or_default())
    }

    fn push_step(&mut self, step: Step, shown: impl FnOnce() -> TraceStep) -> Result<(), Abort> {
        if !self.opcodes.steps.are_listed() {
            self.opcodes.steps.push(step, None);
            return Ok(());
        }
        let shown = shown();
        let heap = 32 * shown.stack.len() + shown.memory.len() + shown.return_data.len();
        self.take(size_of::<TraceStep>() + heap)?;
        self.opcodes.steps.push(step, Some(shown));
        Ok(())
    }

    /// Returns what a listed step shows beyond gas and depth.
    fn shown_step(&mut self, config: &TraceConfig, view: &View<'_, '_>) -> Result<TraceStep, Abort> {
        let mut shown = TraceStep::default();
        if config.enable_memory {
            self.show_memory(&mut shown, view)?;
        }
        if !config.disable_stack {
            shown.stack = view.memory.stack(view.context(), view.registers.sp() as u16)?;
        }
        shown.pc = view.registers.pc();
        shown.state_root = view.state_root_digest()?.to_b256();
        shown.contract_address = address_of(view.local(Variable::TxDestAddr)?);
        shown.contract_caller = address_of(view.local(Variable::TxSrcAddr)?);
        shown.contract_value = view.local(Variable::TxValue)?;
        shown.contract_data = match self.opcodes.steps.last() {
            Some(last) if !last.is_empty && (entered_by(last.op).is_some() || ends_frame(last.op)) => {
                self.call_data(view)?
            }
            _ => Bytes::new(),
        };
        Ok(shown)
    }

    /// Shows memory: all of it on the first step, then what changed since the step before.
    fn show_memory(&mut self, shown: &mut TraceStep, view: &View<'_, '_>) -> Result<(), Abort> {
        let length = low_u64(view.local(Variable::MemLength)?).next_multiple_of(32);
        let memory = view.memory.bytes_at(view.context(), 0, length)?;
        shown.memory_size = memory.len() as u32;
        if self.opcodes.steps.is_empty() {
            shown.memory = memory;
            return Ok(());
        }
        let changed = memory_delta::changed(&self.opcodes.previous_memory, &memory);
        if !changed.is_empty() {
            shown.memory_offset = changed.start as u32;
            shown.memory = memory[changed].to_vec();
        }
        self.opcodes.previous_memory = memory;
        Ok(())
    }

    /// Prices the last step now that the gas of the next one is known, and brings its refund up to date.
    fn correct_last(&mut self, step: &Step, view: &View<'_, '_>) -> Result<(), Abort> {
        let steps = &mut self.opcodes.steps;
        let (count, gas_before) = (steps.count(), steps.gas_before_last());
        let Some(last) = steps.last_mut() else { return Ok(()) };
        let has_failed = last.error != RomError::NoError;
        let kept_back = || -> Result<u64, Abort> {
            let origin = low_u64(view.local(Variable::OriginCtx)?);
            Ok(low_u64(view.local_of(Variable::GasCtx, origin)?))
        };
        let consumed = last.gas.wrapping_sub(step.gas);
        let cost = match last.op {
            // Of an empty step nothing is known, not even that it is a STOP.
            op if ends_frame(op) && !last.is_empty => 0,
            CREATE | CREATE2 if has_failed => last.gas.wrapping_sub(low_u64(view.global(Variable::GasCall)?)),
            CREATE | CREATE2 => consumed.wrapping_sub(kept_back()?),
            CALL | CALLCODE | DELEGATECALL | STATICCALL if last.depth != step.depth => {
                last.gas.wrapping_sub(kept_back()?)
            }
            _ if last.depth == step.depth => consumed,
            _ if has_failed => last.gas,
            _ => last.gas_cost,
        };
        last.gas_cost = match (cost as i64) < 0 {
            // Gas came back from a deeper frame.
            true if count > 2 => gas_before.wrapping_sub(last.gas),
            true => return Err(Abort::unspecified("the cost of an opcode is negative")),
            false => cost,
        };
        if step.gas_refund > 0 && last.op == SSTORE {
            last.gas_refund = step.gas_refund;
        }
        Ok(())
    }

    /// Notes how the frame of this opcode was entered, if the opcode before is a call or a create at another depth.
    fn note_entry(&mut self, view: &View<'_, '_>) -> Result<(), Abort> {
        let trace = &mut self.opcodes;
        let Some(last) = trace.steps.last() else { return Ok(()) };
        let Some(kind) = entered_by(last.op).filter(|_| last.depth != trace.depth) else { return Ok(()) };
        trace.frames.insert(view.context(), kind);
        trace.forwarded.insert(trace.depth, low_u64(view.global(Variable::GasCall)?));
        Ok(())
    }

    /// True for a STOP that may stand for "no code here": the first opcode, or right behind a create without init code.
    fn stop_is_left_out(&self) -> bool {
        self.opcodes.steps.last().is_none_or(|last| {
            let is_create = matches!(last.op, CREATE | CREATE2);
            let has_failed = self.rules.later && last.error != RomError::NoError;
            is_create && !has_failed && last.gas_cost as i64 <= CREATE_GAS
        })
    }

    /// A slot was read or written: the step shows all slots of its account seen so far.
    pub(super) fn update_storage(&mut self, key: Register, value: Register, view: &View<'_, '_>) -> Result<(), Abort> {
        let is_wanted = self.input.trace.as_ref().is_some_and(|config| !config.disable_storage);
        if !is_wanted || !self.opcodes.steps.are_listed() {
            return Ok(());
        }
        let (slot, value) = (view.register(key)?, view.register(value)?);
        let account = address_of(view.local(Variable::StorageAddr)?);
        self.opcodes.steps.note_slot(account, slot, value);
        self.take(size_of::<(Address, U256, U256)>())
    }
}

/// Returns how the frame was entered that begins behind this opcode.
fn entered_by(op: u8) -> Option<FrameKind> {
    match op {
        CREATE => Some(FrameKind::Create),
        CALL => Some(FrameKind::Call),
        CALLCODE => Some(FrameKind::CallCode),
        DELEGATECALL => Some(FrameKind::DelegateCall),
        CREATE2 => Some(FrameKind::Create2),
        STATICCALL => Some(FrameKind::StaticCall),
        _ => None,
    }
}

fn ends_frame(op: u8) -> bool {
    matches!(op, STOP | RETURN | REVERT)
}

/// True if the opcode has a name of its own.
fn is_defined(op: u8) -> bool {
    matches!(
        op,
        0x00..=0x0b | 0x10..=0x1d | 0x20 | 0x30..=0x48 | 0x50..=0x5b | 0x5f..=0xa4 | 0xf0..=0xf5 | 0xfa | 0xfd..=0xff
    )
}

/// Returns the gas of an opcode before anything it depends on, 0 for one that is not defined.
fn static_gas(op: u8) -> u64 {
    match op {
        // ADDRESS, ORIGIN, CALLER, CALLVALUE, CALLDATASIZE, CODESIZE, GASPRICE, RETURNDATASIZE.
        0x30 | 0x32..=0x34 | 0x36 | 0x38 | GASPRICE | 0x3d => 2,
        // COINBASE … CHAINID, BASEFEE, POP, PC, MSIZE, GAS.
        0x41..=0x46 | 0x48 | 0x50 | 0x58..=0x5a => 2,
        // MUL, DIV, SDIV, MOD, SMOD, SIGNEXTEND, SELFBALANCE.
        0x02 | 0x04..=0x07 | 0x0b | 0x47 => 5,
        // ADDMOD, MULMOD, JUMP; EXP, JUMPI; SHA3; BLOCKHASH; JUMPDEST.
        0x08 | 0x09 | 0x56 => 8,
        0x0a | 0x57 => 10,
        0x20 => 30,
        0x40 => 20,
        0x5b => 1,
        // ADD, SUB, comparisons and bits, copies, MLOAD … MSTORE8, pushes, DUP, SWAP.
        0x01 | 0x03 | 0x10..=0x1d | 0x35 | 0x37 | 0x39 | 0x3e | 0x51..=0x53 | 0x5f..=0x9f => 3,
        // What looks at an account or a slot, at its warm price.
        BALANCE | 0x3b | 0x3c | 0x3f | 0x54 | SSTORE | CALL | CALLCODE | DELEGATECALL | STATICCALL => 100,
        LOG0..=0xa4 => 375 * (u64::from(op - LOG0) + 1),
        CREATE | CREATE2 => CREATE_GAS as u64,
        SELFDESTRUCT => 5000,
        _ => 0,
    }
}
