//! The two trace messages, whose steps are encoded from the form in which they were recorded (executor-service §8).
//!
//! As messages the steps of a trace take several times the bytes they are sent in. Here one step at a time is written
//! straight into the answer, and nothing else of it is made.

use std::marker::PhantomData;
use std::sync::Arc;

use alloy_primitives::U256;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, encode_key, encode_varint, encoded_len_varint, message, skip_field};
use prost::{DecodeError, Message};

use super::proto::executor::v1 as wire;
use zkevm_types::{TraceStep, TraceSteps};

/// `FullTrace`.
pub type FullTrace = Trace<wire::TransactionContext, wire::TransactionStep>;
/// `FullTraceV2`.
pub type FullTraceV2 = Trace<wire::TransactionContextV2, wire::TransactionStepV2>;

const CONTEXT_TAG: u32 = 1;
const STEPS_TAG: u32 = 2;

/// A trace: as decoded, or as recorded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace<C, S> {
    /// What the transaction was called with and what came of it.
    pub context: Option<C>,
    /// The steps of a trace that was decoded.
    pub steps: Vec<S>,
    /// The steps of one that will be encoded, in front of `steps`.
    recorded: Option<Recorded<S>>,
}

#[derive(Clone, Debug)]
struct Recorded<S> {
    steps: Arc<TraceSteps>,
    encoded_len: usize,
    _message: PhantomData<S>,
}

impl<S> PartialEq for Recorded<S> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.steps, &other.steps)
    }
}

impl<C, S> Trace<C, S> {
    /// Creates the message of a recorded trace.
    pub fn recorded(context: C, steps: TraceSteps) -> Self {
        let mut encoded_len = 0;
        steps.for_each(|step| {
            let len = step_len(step);
            encoded_len += key_len(STEPS_TAG) + encoded_len_varint(len as u64) + len;
        });
        let recorded = Recorded { steps: Arc::new(steps), encoded_len, _message: PhantomData };
        Self { context: Some(context), steps: Vec::new(), recorded: Some(recorded) }
    }
}

impl<C, S> Message for Trace<C, S>
where
    C: Message + Default,
    S: Message + Default,
{
    fn encode_raw(&self, buf: &mut impl BufMut) {
        if let Some(context) = &self.context {
            message::encode(CONTEXT_TAG, context, buf);
        }
        if let Some(recorded) = &self.recorded {
            recorded.steps.for_each(|step| {
                encode_key(STEPS_TAG, WireType::LengthDelimited, buf);
                encode_varint(step_len(step) as u64, buf);
                write_step(step, buf);
            });
        }
        message::encode_repeated(STEPS_TAG, &self.steps, buf);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            CONTEXT_TAG => message::merge(wire_type, self.context.get_or_insert_with(C::default), buf, ctx),
            STEPS_TAG => message::merge_repeated(wire_type, &mut self.steps, buf, ctx),
            _ => skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let context = self.context.as_ref().map_or(0, |context| message::encoded_len(CONTEXT_TAG, context));
        let recorded = self.recorded.as_ref().map_or(0, |recorded| recorded.encoded_len);
        context + recorded + message::encoded_len_repeated(STEPS_TAG, &self.steps)
    }

    fn clear(&mut self) {
        *self = Self { context: None, steps: Vec::new(), recorded: None };
    }
}

/// Somewhere the fields of a step go: bytes, or a count of them.
trait Fields {
    fn number(&mut self, tag: u32, number: u64);
    fn bytes(&mut self, tag: u32, bytes: &[u8]);
    /// A string of hexadecimal digits, also an empty one if `prefix` is not.
    fn hex(&mut self, tag: u32, prefix: &str, digits: Digits<'_>);
    fn message(&mut self, tag: u32, len: usize, fields: impl Fn(&mut Self));
}

/// Bytes as hexadecimal digits.
#[derive(Clone, Copy)]
struct Digits<'a> {
    bytes: &'a [u8],
    /// The first digit is left out.
    odd: bool,
}

impl<'a> Digits<'a> {
    /// All digits of these bytes.
    fn all(bytes: &'a [u8]) -> Self {
        Self { bytes, odd: false }
    }

    /// As few digits as a number needs, at least one. `bytes` are its big-endian bytes.
    fn of_number(bytes: &'a [u8; 32]) -> Self {
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count().min(31);
        Self { bytes: &bytes[zeros..], odd: bytes[zeros] < 0x10 }
    }

    fn len(self) -> usize {
        2 * self.bytes.len() - usize::from(self.odd)
    }

    fn write(self, buf: &mut impl BufMut) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        for (at, byte) in self.bytes.iter().enumerate() {
            if !(self.odd && at == 0) {
                buf.put_u8(HEX[usize::from(byte >> 4)]);
            }
            buf.put_u8(HEX[usize::from(byte & 15)]);
        }
    }
}

/// Writes into a buffer.
struct Writer<'a, B>(&'a mut B);

impl<B: BufMut> Fields for Writer<'_, B> {
    fn number(&mut self, tag: u32, number: u64) {
        if number != 0 {
            encode_key(tag, WireType::Varint, self.0);
            encode_varint(number, self.0);
        }
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            encode_key(tag, WireType::LengthDelimited, self.0);
            encode_varint(bytes.len() as u64, self.0);
            self.0.put_slice(bytes);
        }
    }

    fn hex(&mut self, tag: u32, prefix: &str, digits: Digits<'_>) {
        encode_key(tag, WireType::LengthDelimited, self.0);
        encode_varint((prefix.len() + digits.len()) as u64, self.0);
        self.0.put_slice(prefix.as_bytes());
        digits.write(self.0);
    }

    fn message(&mut self, tag: u32, len: usize, fields: impl Fn(&mut Self)) {
        encode_key(tag, WireType::LengthDelimited, self.0);
        encode_varint(len as u64, self.0);
        fields(self);
    }
}

/// Counts bytes.
#[derive(Default)]
struct Counter(usize);

impl Counter {
    fn delimited(&mut self, tag: u32, len: usize) {
        self.0 += key_len(tag) + encoded_len_varint(len as u64) + len;
    }
}

impl Fields for Counter {
    fn number(&mut self, tag: u32, number: u64) {
        if number != 0 {
            self.0 += key_len(tag) + encoded_len_varint(number);
        }
    }

    fn bytes(&mut self, tag: u32, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.delimited(tag, bytes.len());
        }
    }

    fn hex(&mut self, tag: u32, prefix: &str, digits: Digits<'_>) {
        self.delimited(tag, prefix.len() + digits.len());
    }

    fn message(&mut self, tag: u32, len: usize, _: impl Fn(&mut Self)) {
        self.delimited(tag, len);
    }
}

fn key_len(tag: u32) -> usize {
    encoded_len_varint(u64::from(tag << 3))
}

fn step_len(step: &TraceStep) -> usize {
    let mut counter = Counter::default();
    step_fields(step, &mut counter);
    counter.0
}

fn write_step(step: &TraceStep, buf: &mut impl BufMut) {
    step_fields(step, &mut Writer(buf));
}

/// Tells the fields of `TransactionStep`, which are those of `TransactionStepV2`.
fn step_fields(step: &TraceStep, to: &mut impl Fields) {
    // A request without counters has its steps counted, not recorded (executor-service §5.3).
    let is_recorded = step.depth != 0;
    if is_recorded {
        to.bytes(1, step.state_root.as_slice());
        to.number(2, step.depth.into());
        to.number(3, step.pc);
        to.number(4, step.gas);
        to.number(5, step.gas_cost);
        to.number(6, step.gas_refund);
        to.number(7, step.op.into());
        for word in &step.stack {
            to.hex(8, "", Digits::of_number(&word.to_be_bytes()));
        }
        to.bytes(9, &step.memory);
        to.number(10, step.memory_size.into());
        to.number(11, step.memory_offset.into());
        to.bytes(12, &step.return_data);
    }
    let mut counter = Counter::default();
    contract_fields(step, is_recorded, &mut counter);
    to.message(13, counter.0, |to| contract_fields(step, is_recorded, to));
    // Enumerations are numbers of 32 bits with sign.
    to.number(14, i64::from(step.error.number()) as u64);
    for (slot, value) in &step.storage {
        let mut counter = Counter::default();
        slot_fields(slot, value, &mut counter);
        to.message(15, counter.0, |to| slot_fields(slot, value, to));
    }
}

fn contract_fields(step: &TraceStep, is_recorded: bool, to: &mut impl Fields) {
    if is_recorded {
        to.hex(1, "", Digits::all(step.contract_address.as_slice()));
        to.hex(2, "", Digits::all(step.contract_caller.as_slice()));
    }
    to.hex(3, "0x", Digits::of_number(&step.contract_value.to_be_bytes()));
    if is_recorded {
        to.bytes(4, &step.contract_data);
        to.number(5, step.contract_gas);
        to.bytes(6, step.contract_kind.name().as_bytes());
    }
}

/// Slot and value, both minimal hex without `0x`.
fn slot_fields(slot: &U256, value: &U256, to: &mut impl Fields) {
    to.hex(1, "", Digits::of_number(&slot.to_be_bytes()));
    to.hex(2, "", Digits::of_number(&value.to_be_bytes()));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use alloy_primitives::{Address, B256};

    use super::*;
    use zkevm_types::{FrameKind, RomError};

    fn steps() -> Vec<TraceStep> {
        let word = U256::from;
        let storage = BTreeMap::from([(word(0), word(0)), (word(16), U256::MAX)]);
        vec![
            TraceStep {
                state_root: B256::repeat_byte(3),
                depth: 1,
                pc: 1 << 20,
                gas: u64::MAX,
                gas_cost: 300,
                gas_refund: 0,
                op: 0x55,
                stack: vec![word(0), word(1), word(0xab), word(0x123), U256::MAX],
                memory: vec![1; 200],
                memory_size: 224,
                memory_offset: 24,
                return_data: vec![2; 300].into(),
                contract_address: Address::with_last_byte(1),
                contract_caller: Address::repeat_byte(0xa0),
                contract_value: word(0x10),
                contract_data: vec![4; 5].into(),
                contract_gas: 7,
                contract_kind: FrameKind::DelegateCall,
                error: RomError::OutOfGas,
                storage,
            },
            TraceStep { depth: 2, error: RomError::NoError, ..TraceStep::default() },
            TraceStep { error: RomError::NoError, ..TraceStep::default() },
        ]
    }

    /// The step as the generated message has it.
    fn message(step: &TraceStep) -> wire::TransactionStepV2 {
        let hex = |number: &U256| format!("{number:x}");
        let storage = step.storage.iter().map(|(slot, value)| (hex(slot), hex(value))).collect();
        let value = format!("{:#x}", step.contract_value);
        let error = step.error.number();
        if step.depth == 0 {
            let contract = Some(wire::ContractV2 { value, ..Default::default() });
            return wire::TransactionStepV2 { contract, error, storage, ..Default::default() };
        }
        wire::TransactionStepV2 {
            state_root: step.state_root.to_vec().into(),
            depth: step.depth,
            pc: step.pc,
            gas: step.gas,
            gas_cost: step.gas_cost,
            gas_refund: step.gas_refund,
            op: step.op.into(),
            stack: step.stack.iter().map(hex).collect(),
            memory: step.memory.clone().into(),
            memory_size: step.memory_size,
            memory_offset: step.memory_offset,
            return_data: step.return_data.0.clone(),
            contract: Some(wire::ContractV2 {
                address: format!("{:x}", step.contract_address),
                caller: format!("{:x}", step.contract_caller),
                value,
                data: step.contract_data.0.clone(),
                gas: step.contract_gas,
                r#type: step.contract_kind.name().to_owned(),
            }),
            error,
            storage,
        }
    }

    #[test]
    fn recorded_steps_are_the_bytes_of_their_messages() {
        let context = wire::TransactionContextV2 { gas: 5, ..Default::default() };
        let recorded = FullTraceV2::recorded(context.clone(), steps().into_iter().collect());
        let messages = steps().iter().map(message).collect();
        let plain = FullTraceV2 { context: Some(context), steps: messages, recorded: None };
        let bytes = recorded.encode_to_vec();
        assert_eq!(bytes, plain.encode_to_vec());
        assert_eq!((bytes.len(), FullTraceV2::decode(&bytes[..]).unwrap()), (recorded.encoded_len(), plain));
    }
}
