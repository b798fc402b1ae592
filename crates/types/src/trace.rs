//! The trace of a transaction, kept as what changes from step to step (executor-service §8).
//!
//! A step shows the whole stack, the return data and the frame it runs in, which are mostly those of the step before. Kept
//! as shown, one of the mainnet's larger transactions takes gigabytes; kept as changes, about a hundred bytes a step.

use std::collections::{BTreeMap, HashMap};

use alloy_primitives::{Address, B256, Bytes, U256};

use super::errors::RomError;

/// A full trace (executor-service §8).
#[derive(Clone, Debug, Default)]
pub struct FullTrace {
    /// Context of the transaction.
    pub context: TraceContext,
    /// One step per opcode.
    pub steps: TraceSteps,
}

/// Transaction context of a trace (executor-service §8.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// True for a contract creation.
    pub is_create: bool,
    /// Sender; `None` in the entry of a transaction that fork 7 wrote no result to.
    pub from: Option<Address>,
    /// Recipient; `None` for a creation.
    pub to: Option<Address>,
    /// Input data.
    pub data: Bytes,
    /// Gas limit.
    pub gas: u64,
    /// Value in wei.
    pub value: U256,
    /// Output of the top frame.
    pub output: Bytes,
    /// Gas used.
    pub gas_used: u64,
    /// Gas price of the signed transaction.
    pub gas_price: U256,
    /// State root before the transaction.
    pub old_state_root: B256,
    /// Index in the block (V2).
    pub tx_index: u64,
    /// Chain id of the transaction, 0 before EIP-155 (V2).
    pub chain_id: u64,
}

/// The way a frame was entered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// CALL, and the outermost frame.
    #[default]
    Call,
    /// CALLCODE.
    CallCode,
    /// DELEGATECALL.
    DelegateCall,
    /// STATICCALL.
    StaticCall,
    /// CREATE.
    Create,
    /// CREATE2.
    Create2,
}

impl FrameKind {
    /// Returns the mnemonic the response carries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Call => "CALL",
            Self::CallCode => "CALLCODE",
            Self::DelegateCall => "DELEGATECALL",
            Self::StaticCall => "STATICCALL",
            Self::Create => "CREATE",
            Self::Create2 => "CREATE2",
        }
    }
}

/// One opcode about to run (executor-service §8.3).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TraceStep {
    /// State root before the opcode.
    pub state_root: B256,
    /// Depth, 1 for the outermost frame.
    pub depth: u32,
    /// Program counter.
    pub pc: u64,
    /// Gas before.
    pub gas: u64,
    /// Cost (executor-service §8.4).
    pub gas_cost: u64,
    /// Refund counter.
    pub gas_refund: u64,
    /// Opcode byte.
    pub op: u8,
    /// Stack, bottom first.
    pub stack: Vec<U256>,
    /// Changed part of memory.
    pub memory: Vec<u8>,
    /// Memory length.
    pub memory_size: u32,
    /// The offset at which `memory` starts.
    pub memory_offset: u32,
    /// Return data buffer.
    pub return_data: Bytes,
    /// Code address of the frame.
    pub contract_address: Address,
    /// Caller of the frame.
    pub contract_caller: Address,
    /// Value of the frame.
    pub contract_value: U256,
    /// Call data, on the first step of a frame and after it only.
    pub contract_data: Bytes,
    /// Gas given to the frame.
    pub contract_gas: u64,
    /// The way the frame was entered.
    pub contract_kind: FrameKind,
    /// Error placed on this step.
    pub error: RomError,
    /// Storage of the contract seen so far, on SLOAD and SSTORE.
    pub storage: BTreeMap<U256, U256>,
}

/// The numbers of one step, which later steps may still change.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepNumbers {
    /// Gas before.
    pub gas: u64,
    /// Cost (executor-service §8.4).
    pub gas_cost: u64,
    /// Refund counter.
    pub gas_refund: u64,
    /// Program counter; code is far shorter than 4 GiB.
    pub pc: u32,
    /// Opcode byte.
    pub op: u8,
    /// Error placed on this step.
    pub error: RomError,
}

/// The frame of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepFrame {
    /// Depth, 1 for the outermost frame.
    pub depth: u32,
    /// Code address of the frame.
    pub address: Address,
    /// Caller of the frame.
    pub caller: Address,
    /// Value of the frame.
    pub value: U256,
    /// Gas given to the frame.
    pub gas: u64,
    /// The way the frame was entered.
    pub kind: FrameKind,
}

/// A step to be added to [`TraceSteps`], as it is shown.
#[derive(Clone, Debug, Default)]
pub struct NewStep<'a> {
    /// Its numbers.
    pub numbers: StepNumbers,
    /// Its frame.
    pub frame: StepFrame,
    /// State root before the opcode.
    pub state_root: B256,
    /// Stack, bottom first.
    pub stack: &'a [U256],
    /// Words at the bottom of the stack that are sure to be those of the step before.
    pub stack_kept: usize,
    /// Changed part of memory.
    pub memory: &'a [u8],
    /// Memory length.
    pub memory_size: u32,
    /// The offset at which `memory` starts.
    pub memory_offset: u32,
    /// Return data buffer.
    pub return_data: Bytes,
    /// Call data, on the first step of a frame and after it only.
    pub contract_data: Bytes,
}

/// The steps of a trace, as changes from each to the next.
#[derive(Clone, Debug, Default)]
pub struct TraceSteps {
    steps: Vec<PackedStep>,
    frames: Vec<StepFrame>,
    roots: Vec<B256>,
    /// Stack words that differ from those of the step before, of all steps.
    words: Vec<U256>,
    /// Changed parts of memory, of all steps.
    memory: Vec<u8>,
    /// Return data and call data; the first is the empty one.
    buffers: Vec<Bytes>,
    /// Slots read or written, in order, with the account they belong to.
    slots: Vec<(Address, U256, U256)>,
    /// Stack of the last step.
    stack: Vec<U256>,
    /// Bytes of the buffers.
    buffer_bytes: usize,
}

/// One step. Positions have 32 bits: there are no more of anything than opcodes run.
#[derive(Clone, Debug)]
struct PackedStep {
    numbers: StepNumbers,
    frame: u32,
    root: u32,
    /// Words of the stack before that stay.
    stack_kept: u32,
    /// Words put on top of them.
    stack_new: u32,
    memory_changed: u32,
    memory_size: u32,
    memory_offset: u32,
    /// Positions in `buffers`.
    return_data: u32,
    contract_data: u32,
    /// Slots up to which the storage of the last one's account is shown; 0 for none.
    slots_shown: u32,
}

impl TraceSteps {
    /// True if there is no step.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Returns the number of steps.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Returns the bytes that the steps take in memory.
    pub fn bytes(&self) -> usize {
        let tables = size_of_val(&*self.steps) + size_of_val(&*self.frames) + size_of_val(&*self.roots);
        let contents = size_of_val(&*self.words) + self.memory.len() + size_of_val(&*self.slots);
        tables + contents + size_of_val(&*self.buffers) + self.buffer_bytes
    }

    /// Returns the numbers of the last step.
    pub fn last(&self) -> Option<&StepNumbers> {
        self.steps.last().map(|step| &step.numbers)
    }

    /// Returns the numbers of the last step, to be changed.
    pub fn last_mut(&mut self) -> Option<&mut StepNumbers> {
        self.steps.last_mut().map(|step| &mut step.numbers)
    }

    /// Returns the numbers of the step before the last one.
    pub fn last_but_one(&self) -> Option<&StepNumbers> {
        self.steps.iter().nth_back(1).map(|step| &step.numbers)
    }

    /// Returns the depth of the last step.
    pub fn last_depth(&self) -> Option<u32> {
        Some(self.frames.get(self.steps.last()?.frame as usize)?.depth)
    }

    /// Adds a step without anything: one that is counted and not recorded (executor-service §5.3).
    pub fn push_empty(&mut self) {
        self.push(NewStep::default());
    }

    /// Returns the height of the stack that the last step shows.
    pub fn stack_len(&self) -> usize {
        self.stack.len()
    }

    /// Adds a step. Returns how many words at the bottom of its stack are those of the step before.
    pub fn push(&mut self, step: NewStep<'_>) -> usize {
        let likely = step.stack_kept.min(self.stack.len()).min(step.stack.len());
        let more = self.stack[likely..].iter().zip(&step.stack[likely..]).take_while(|(old, new)| old == new).count();
        let kept = likely + more;
        let new_words = &step.stack[kept..];
        self.stack.truncate(kept);
        self.stack.extend_from_slice(new_words);
        self.words.extend_from_slice(new_words);
        self.memory.extend_from_slice(step.memory);
        let last = self.steps.last();
        let (last_return, last_data) = last.map_or((0, 0), |last| (last.return_data, last.contract_data));
        let packed = PackedStep {
            numbers: step.numbers,
            frame: index_of(&mut self.frames, step.frame),
            root: index_of(&mut self.roots, step.state_root),
            stack_kept: kept as u32,
            stack_new: new_words.len() as u32,
            memory_changed: step.memory.len() as u32,
            memory_size: step.memory_size,
            memory_offset: step.memory_offset,
            return_data: self.buffer(step.return_data, last_return),
            contract_data: self.buffer(step.contract_data, last_data),
            slots_shown: 0,
        };
        self.steps.push(packed);
        kept
    }

    /// Adds a step as it is shown, but for its storage, which [`Self::note_slot`] adds.
    pub fn push_shown(&mut self, step: TraceStep) {
        let numbers = StepNumbers {
            gas: step.gas,
            gas_cost: step.gas_cost,
            gas_refund: step.gas_refund,
            pc: u32::try_from(step.pc).unwrap_or(u32::MAX),
            op: step.op,
            error: step.error,
        };
        let frame = StepFrame {
            depth: step.depth,
            address: step.contract_address,
            caller: step.contract_caller,
            value: step.contract_value,
            gas: step.contract_gas,
            kind: step.contract_kind,
        };
        self.push(NewStep {
            numbers,
            frame,
            state_root: step.state_root,
            stack: &step.stack,
            stack_kept: 0,
            memory: &step.memory,
            memory_size: step.memory_size,
            memory_offset: step.memory_offset,
            return_data: step.return_data,
            contract_data: step.contract_data,
        });
    }

    /// Notes a slot, and shows all slots of its account on the last step if told so.
    pub fn note_slot(&mut self, address: Address, slot: U256, value: U256, shows: bool) {
        self.slots.push((address, slot, value));
        if shows && let Some(last) = self.steps.last_mut() {
            last.slots_shown = self.slots.len() as u32;
        }
    }

    /// Shows every step in order, as a node sees it.
    pub fn for_each(&self, mut show: impl FnMut(&TraceStep)) {
        let mut shown = TraceStep::default();
        let (mut words, mut memory, mut slots) = (self.words.iter(), &self.memory[..], self.slots.iter());
        let mut slots_seen = 0;
        let mut storage: HashMap<Address, BTreeMap<U256, U256>> = HashMap::new();
        for step in &self.steps {
            shown.stack.truncate(step.stack_kept as usize);
            shown.stack.extend(words.by_ref().take(step.stack_new as usize));
            let (changed, rest) = memory.split_at_checked(step.memory_changed as usize).unwrap_or_default();
            memory = rest;
            shown.memory.clear();
            shown.memory.extend_from_slice(changed);
            let mut account = None;
            if step.slots_shown > 0 {
                for (address, slot, value) in slots.by_ref().take(step.slots_shown as usize - slots_seen) {
                    storage.entry(*address).or_default().insert(*slot, *value);
                    account = Some(*address);
                }
                slots_seen = step.slots_shown as usize;
            }
            let account = account.and_then(|address| Some((address, storage.remove(&address)?)));
            let (account, slots_of_account) = account.unzip();
            shown.storage = slots_of_account.unwrap_or_default();
            self.show_rest(step, &mut shown);
            show(&shown);
            if let Some(account) = account {
                storage.insert(account, std::mem::take(&mut shown.storage));
            }
        }
    }

    /// Returns every step as a node sees it.
    pub fn to_vec(&self) -> Vec<TraceStep> {
        let mut steps = Vec::with_capacity(self.len());
        self.for_each(|step| steps.push(step.clone()));
        steps
    }

    /// Shows what of a step does not depend on those before it.
    fn show_rest(&self, step: &PackedStep, shown: &mut TraceStep) {
        let StepNumbers { gas, gas_cost, gas_refund, pc, op, error } = step.numbers;
        let StepFrame { depth, address, caller, value, gas: given, kind } = self.frames[step.frame as usize];
        (shown.gas, shown.gas_cost, shown.gas_refund) = (gas, gas_cost, gas_refund);
        (shown.pc, shown.op, shown.error, shown.depth) = (pc.into(), op, error, depth);
        shown.state_root = self.roots[step.root as usize];
        (shown.memory_size, shown.memory_offset) = (step.memory_size, step.memory_offset);
        (shown.contract_address, shown.contract_caller, shown.contract_value) = (address, caller, value);
        (shown.contract_gas, shown.contract_kind) = (given, kind);
        shown.return_data.clone_from(self.buffer_at(step.return_data));
        shown.contract_data.clone_from(self.buffer_at(step.contract_data));
    }

    fn buffer_at(&self, position: u32) -> &Bytes {
        static EMPTY: Bytes = Bytes::new();
        (position as usize).checked_sub(1).and_then(|at| self.buffers.get(at)).unwrap_or(&EMPTY)
    }

    /// Returns the position of a buffer; `last` is that of the step before.
    fn buffer(&mut self, bytes: Bytes, last: u32) -> u32 {
        if bytes.is_empty() {
            return 0;
        }
        let known = self.buffer_at(last);
        if (known.as_ptr(), known.len()) == (bytes.as_ptr(), bytes.len()) || *known == bytes {
            return last;
        }
        self.buffer_bytes += bytes.len();
        self.buffers.push(bytes);
        self.buffers.len() as u32
    }
}

/// Returns the position of an item that is mostly the last one.
fn index_of<T: PartialEq>(items: &mut Vec<T>, item: T) -> u32 {
    if items.last() != Some(&item) {
        items.push(item);
    }
    items.len() as u32 - 1
}

/// The steps as they are shown; for those who make traces by hand.
impl FromIterator<TraceStep> for TraceSteps {
    fn from_iter<I: IntoIterator<Item = TraceStep>>(steps: I) -> Self {
        let mut packed = Self::default();
        for mut step in steps {
            let (account, storage) = (step.contract_address, std::mem::take(&mut step.storage));
            packed.push_shown(step);
            for (slot, value) in storage {
                packed.note_slot(account, slot, value, true);
            }
        }
        packed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps() -> Vec<TraceStep> {
        let word = U256::from;
        let base = TraceStep { depth: 1, contract_address: Address::with_last_byte(7), ..TraceStep::default() };
        let data = Bytes::from(vec![9; 100]);
        vec![
            TraceStep { pc: 1, stack: vec![word(1), word(2)], memory: vec![1, 2], memory_size: 32, ..base.clone() },
            TraceStep { stack: vec![word(1), word(3), word(4)], return_data: data.clone(), ..base.clone() },
            TraceStep { storage: [(word(5), word(6))].into(), return_data: data.clone(), ..base.clone() },
            TraceStep { depth: 2, contract_data: data, state_root: B256::with_last_byte(1), ..base.clone() },
            TraceStep { storage: [(word(1), word(2)), (word(5), word(8))].into(), ..base },
            TraceStep::default(),
        ]
    }

    #[test]
    fn what_is_put_in_is_shown_again() {
        let packed: TraceSteps = steps().into_iter().collect();
        assert_eq!(format!("{:?}", packed.to_vec()), format!("{:?}", steps()));
        assert_eq!((packed.len(), packed.last_depth()), (6, Some(0)));
    }

    #[test]
    fn what_does_not_change_is_kept_once() {
        let same = || TraceStep {
            stack: vec![U256::MAX; 1024],
            return_data: vec![1; 100_000].into(),
            state_root: B256::repeat_byte(1),
            ..TraceStep::default()
        };
        let packed: TraceSteps = (0..1000).map(|_| same()).collect();
        let once: TraceSteps = [same()].into_iter().collect();
        let per_step = (packed.bytes() - once.bytes()) / 999;
        assert!(per_step <= 80, "{per_step} bytes a step");
    }
}
