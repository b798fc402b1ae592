//! Runs commands (main-state-machine §8).

use alloy_primitives::U256;
use zkevm_types::{Counters, ExecutorError};

use super::Machine;
use super::arith::hints;
use super::modular::{BN254, Curve, Field, SECP256K1, SECP256K1_ORDER, SECP256R1_ORDER, fp2_mul};
use super::points::{self, Product};
use crate::Abort;
use crate::event::{Event, EventHandler, View};
use crate::fea::{self, Fea};
use crate::memory::context_base;
use crate::program::{Binary, Command, CommandId, EventCommand, Function, Kind, NONE, Range, Unary};
use crate::rules::Roots;
use crate::scalar::{Scalar, Wide};
use zkevm_tree::GOLDILOCKS_PRIME as P;

/// Words of a number of the long division, at most: eight times those of the largest modexp.
const DIVISION_WORDS_MAX: u64 = 512;
/// What a node of the L1 info tree is where proofs are not looked at (main-state-machine §8.4).
const SKIPPED_PROOF: U256 =
    alloy_primitives::uint!(0xd4e56740f876aef8c010b86a40d5f56745a118d0906a34e69aec8c0db1cb8fa3_U256);
/// Minus one.
const MINUS_ONE: u64 = P - 1;

/// Results of the long divisions: digits of 256 bits, the lowest first, without leading zeros.
#[derive(Debug, Default)]
pub(super) struct Division {
    quotient: Vec<U256>,
    remainder: Vec<U256>,
    short_quotient: Vec<U256>,
    short_remainder: U256,
}

impl Machine<'_, '_> {
    /// Runs the commands of a slot.
    pub(super) fn run_commands(&mut self, commands: Range, handler: &mut impl EventHandler) -> Result<(), Abort> {
        let program = self.program;
        for command in commands.get(&program.commands) {
            if let Command::Argument(root) = command {
                match self.kind(*root) {
                    Kind::Fea => self.command_fea(*root, handler).map(drop)?,
                    Kind::Scalar | Kind::Small => self.number(*root, handler).map(drop)?,
                }
            }
        }
        Ok(())
    }

    fn command(&self, id: CommandId) -> Command {
        self.program.commands.get(id as usize).copied().unwrap_or(Command::Get(NONE))
    }

    /// Returns what a command's value is.
    fn kind(&self, id: CommandId) -> Kind {
        match self.command(id) {
            Command::Function(Function::LoadScalar, arguments) => self.kind(arguments[0]),
            Command::Function(function, _) => function.kind(),
            Command::Event(_) => Kind::Fea,
            Command::BitLength(..) => Kind::Small,
            Command::Register(register) if self.registers.fea(register).is_none() => Kind::Small,
            _ => Kind::Scalar,
        }
    }

    /// Returns the value of a command as eight elements.
    pub(super) fn command_fea(&mut self, id: CommandId, handler: &mut impl EventHandler) -> Result<Fea, Abort> {
        match self.command(id) {
            Command::Event(event) => self.tell(event, handler).map(|()| fea::ZERO),
            Command::Function(Function::LoadScalar, arguments) => self.command_fea(arguments[0], handler),
            Command::Function(function, arguments) if function.kind() == Kind::Fea => {
                self.fea_function(function, &arguments, handler)
            }
            _ if self.kind(id) == Kind::Small => Ok(fea::low(fea::canonical_fe(self.number(id, handler)?.low_u64()))),
            _ => Ok(self.number(id, handler)?.to_fea()),
        }
    }

    /// Returns the value of a command as a number.
    fn number(&mut self, id: CommandId, handler: &mut impl EventHandler) -> Result<Scalar, Abort> {
        match self.command(id) {
            Command::Number(place) => Ok(self.program.numbers.get(place as usize).copied().unwrap_or(Scalar::ZERO)),
            Command::Declare(variable) => {
                self.assign(variable, Scalar::ZERO);
                Ok(Scalar::ZERO)
            }
            Command::Get(variable) => self.variable(variable),
            Command::Set { variable, declares, value } => {
                if declares {
                    self.assign(variable, Scalar::ZERO);
                } else {
                    self.variable(variable)?;
                }
                let value = self.number(value, handler)?;
                self.assign(variable, value);
                Ok(value)
            }
            Command::Register(register) => match self.registers.fea(register) {
                Some(fea) => Ok(fea::to_scalar(fea)?.into()),
                None => Ok(self.registers.small_value(register).into()),
            },
            Command::Memory { offset, use_ctx } => {
                let context = if use_ctx { self.registers.ctx() } else { 0 };
                let address = context_base(context).wrapping_add(offset.into());
                Ok(fea::to_scalar(&self.tree.resolved(self.memory.read(address))?)?.into())
            }
            Command::Unary(operation, operand) => {
                let operand = self.number(operand, handler)?;
                match operation {
                    Unary::Neg => Ok(operand.neg()),
                    Unary::Not => Ok(operand.is_zero().into()),
                    Unary::BitNot => operand.bit_not(),
                }
            }
            Command::Binary(operation, left, right) => {
                let left = self.number(left, handler)?;
                let right = self.number(right, handler)?;
                binary(operation, left, right)
            }
            Command::If([condition, then, otherwise]) => {
                let condition = self.number(condition, handler)?;
                self.number(if condition.is_zero() { otherwise } else { then }, handler)
            }
            Command::Function(Function::LoadScalar, arguments) => self.number(arguments[0], handler),
            Command::Function(function, arguments) => self.scalar_function(function, &arguments, handler),
            Command::BitLength(first, count) => self.bit_length(Range { first, count }, handler),
            Command::Argument(command) => self.number(command, handler),
            Command::Event(event) => self.tell(event, handler).map(|()| Scalar::ZERO),
        }
    }

    fn assign(&mut self, variable: u32, value: Scalar) {
        if let Some(place) = self.variables.get_mut(variable as usize) {
            *place = Some(value);
        }
    }

    fn variable(&self, variable: u32) -> Result<Scalar, Abort> {
        let value = self.variables.get(variable as usize).copied().flatten();
        value.ok_or(Abort::unspecified("a variable that was never declared"))
    }

    fn bit_length(&mut self, arguments: Range, handler: &mut impl EventHandler) -> Result<Scalar, Abort> {
        let mut longest = 0;
        let program = self.program;
        for argument in arguments.get(&program.commands) {
            if let Command::Argument(argument) = argument {
                longest = longest.max(self.number(*argument, handler)?.bit_len().saturating_sub(1));
            }
        }
        Ok((longest as u64).into())
    }

    /// Tells the listener of an event.
    fn tell(&mut self, event: EventCommand, handler: &mut impl EventHandler) -> Result<(), Abort> {
        let program = self.program;
        let event = match event {
            EventCommand::StartBatch => Event::StartBatch,
            EventCommand::StartBlock => Event::StartBlock,
            EventCommand::ProcessTx => Event::ProcessTx,
            EventCommand::FinishTx => Event::FinishTx,
            EventCommand::FinishBlock => Event::FinishBlock,
            EventCommand::FinishBatch => Event::FinishBatch,
            EventCommand::Error(name) => Event::Error(program.error_names.get(name as usize).map_or("", |name| name)),
            EventCommand::Opcode(code) => Event::Opcode(self.number(code, handler)?.low_u64() as u8),
            EventCommand::UpdateStorage { key, value } => Event::UpdateStorage { key, value },
            EventCommand::StoreLog { index, is_topic, value } => Event::StoreLog { index, is_topic, value },
        };
        self.show(event, handler)
    }

    /// Shows an event to the listener.
    pub(super) fn show(&mut self, event: Event<'_>, handler: &mut impl EventHandler) -> Result<(), Abort> {
        let program = self.program;
        let counters: Counters = self.registers.counters(self.step);
        let is_balanced = self.is_balanced();
        let mut view = View {
            program,
            request: self.request,
            registers: &self.registers,
            memory: &self.memory,
            tree: &mut self.tree,
            counters,
            is_balanced,
        };
        handler.event(event, &mut view)
    }

    /// Returns an argument that must be an address, a length or an index.
    fn small_argument(&mut self, id: CommandId, handler: &mut impl EventHandler) -> Result<u64, Abort> {
        match self.number(id, handler)?.low_u64() {
            value @ ..=0xffff_ffff => Ok(value),
            _ => Err(Abort::unspecified("an address, a length or an index out of range")),
        }
    }

    /// Returns an argument modulo 2^256.
    fn word(&mut self, id: CommandId, handler: &mut impl EventHandler) -> Result<U256, Abort> {
        Ok(self.number(id, handler)?.modulo_2_256())
    }

    /// Returns four arguments, those that are not there zero, reduced modulo a prime; they may be of any size and sign.
    fn elements<const N: usize>(
        &mut self,
        arguments: &[CommandId; 4],
        prime: U256,
        handler: &mut impl EventHandler,
    ) -> Result<[U256; N], Abort> {
        let mut values = [U256::ZERO; N];
        for (value, argument) in values.iter_mut().zip(arguments) {
            *value = self.number(*argument, handler)?.residue(prime);
        }
        Ok(values)
    }

    /// A function that gives eight elements (main-state-machine §8.4, §8.6).
    fn fea_function(
        &mut self,
        function: Function,
        arguments: &[CommandId; 4],
        handler: &mut impl EventHandler,
    ) -> Result<Fea, Abort> {
        let request = self.request;
        Ok(match function {
            Function::GetGlobalExitRoot => fea::to_fea(request.global_exit_root),
            Function::GetTimestamp => fea::low(fea::canonical_fe(request.eth_timestamp)),
            Function::GetSequencerAddr => fea::to_fea(U256::from_be_slice(request.sequencer.as_slice())),
            Function::GetTxsLen => fea::low(request.batch_l2_data.len() as u64),
            Function::GetTxs => {
                let from = self.small_argument(arguments[0], handler)?;
                let length = self.small_argument(arguments[1], handler)?;
                let bytes = (length <= 32).then(|| request.batch_l2_data.get(from as usize..(from + length) as usize));
                let bytes = bytes.flatten().ok_or(Abort::unspecified("getTxs beyond the end of the batch"))?;
                fea::to_fea(U256::from_be_slice(bytes))
            }
            Function::GetL1InfoRoot => fea::to_fea(request.l1_info_root),
            Function::GetTimestampLimit => fea::to_fea(U256::from(request.timestamp_limit)),
            Function::GetForcedBlockHashL1 => fea::to_fea(request.forced_blockhash_l1),
            Function::GetL1InfoGer | Function::GetL1InfoBlockHash | Function::GetL1InfoTimestamp => {
                let leaf = self.l1_leaf(arguments[0], handler)?;
                match function {
                    Function::GetL1InfoGer => fea::to_fea(leaf.global_exit_root.into()),
                    Function::GetL1InfoBlockHash => fea::to_fea(leaf.block_hash_l1.into()),
                    _ => fea::to_fea(U256::from(leaf.min_timestamp)),
                }
            }
            Function::GetSmtProof => self.smt_proof(arguments, handler)?,
            // The position is always 0 in this mode, before the last one.
            Function::BeforeLast => fea::low(MINUS_ONE),
            Function::Cond => {
                let is_zero = self.number(arguments[0], handler)?.is_zero();
                fea::low(if is_zero { 0 } else { MINUS_ONE })
            }
            Function::Exp => {
                let base = self.word(arguments[0], handler)?;
                let exponent = self.number(arguments[1], handler)?.low_u64();
                if exponent > 1 << 16 {
                    return Err(Abort::unspecified("an exponent out of range"));
                }
                fea::to_fea(base.wrapping_pow(U256::from(exponent)))
            }
            Function::MemAlignW0 | Function::MemAlignW1 | Function::MemAlign8W0 => {
                let word = self.word(arguments[0], handler)?;
                let value = self.word(arguments[1], handler)?;
                let offset = self.number(arguments[2], handler)?.low_u64();
                let result = match function {
                    Function::MemAlignW0 => hints::first_word(word, value, offset),
                    Function::MemAlignW1 => hints::second_word(word, value, offset),
                    _ => hints::byte(word, value, offset),
                };
                fea::to_fea(result.ok_or(Abort::unspecified("an unaligned offset out of range"))?)
            }
            Function::SignedComparison => fea::low(fea::fe_of(self.signed_comparison(arguments, handler)?)),
            Function::SignedComparisonWithConst => {
                let address = self.small_argument(arguments[0], handler)?;
                let constant = self.number(arguments[1], handler)?.low_u64();
                let order = self.word_at(address)?.cmp(&U256::from(constant));
                fea::low(fea::fe_of(order as i64))
            }
            Function::FirstDifference => fea::low(self.first_difference(arguments, handler)?),
            // It prints.
            Function::Log => {
                match self.kind(arguments[0]) {
                    Kind::Fea => self.command_fea(arguments[0], handler).map(drop)?,
                    Kind::Scalar | Kind::Small => self.number(arguments[0], handler).map(drop)?,
                }
                fea::ZERO
            }
            _ => self.scalar_function(function, arguments, handler)?.to_fea(),
        })
    }

    fn l1_leaf(
        &mut self,
        index: CommandId,
        handler: &mut impl EventHandler,
    ) -> Result<&zkevm_types::L1InfoLeaf, Abort> {
        let index = self.number(index, handler)?.low_u64();
        let leaf = u32::try_from(index).ok().and_then(|index| self.request.l1_info.get(&index));
        leaf.ok_or(Abort::new(ExecutorError::InvalidL1InfoTreeIndex))
    }

    fn smt_proof(&mut self, arguments: &[CommandId; 4], handler: &mut impl EventHandler) -> Result<Fea, Abort> {
        if self.request.skip_verify_l1_info_root {
            return Ok(fea::to_fea(SKIPPED_PROOF));
        }
        let level = self.small_argument(arguments[1], handler)?;
        let leaf = self.l1_leaf(arguments[0], handler)?;
        let node = leaf.smt_proof.get(level as usize);
        let node = node.ok_or(Abort::new(ExecutorError::InvalidL1InfoTreeSmtProofValue))?;
        Ok(fea::to_fea((*node).into()))
    }

    /// A function that gives a number (main-state-machine §8.5, §8.6).
    fn scalar_function(
        &mut self,
        function: Function,
        arguments: &[CommandId; 4],
        handler: &mut impl EventHandler,
    ) -> Result<Scalar, Abort> {
        const NO_INVERSE: Abort = Abort::new(ExecutorError::ArithEcrecoverDivideByZero);
        let inverse = |element: U256, prime: U256| Field(prime).inverse(element);
        Ok(match function {
            Function::InverseFp | Function::InverseFn | Function::InverseFnR1 => {
                let prime = match function {
                    Function::InverseFp => SECP256K1,
                    Function::InverseFn => SECP256K1_ORDER,
                    _ => SECP256R1_ORDER,
                };
                let [element] = self.elements(arguments, prime, handler)?;
                inverse(element, prime).ok_or(NO_INVERSE)?.into()
            }
            Function::Sqrt => {
                let square = self.number(arguments[0], handler)?;
                let is_smaller = self.program.rules.roots == Roots::Smaller;
                square_root(square, |root, other| is_smaller && other < root)
            }
            Function::SqrtParity => {
                let square = self.number(arguments[0], handler)?;
                let parity = self.number(arguments[1], handler)?;
                square_root(square, |root, _| Scalar::from(root.bit(0)) != parity)
            }
            Function::XAddPoint => self.added(Curve::Secp256k1, arguments, handler)?.0.into(),
            Function::YAddPoint => self.added(Curve::Secp256k1, arguments, handler)?.1.into(),
            Function::XAddPointR1 => self.added(Curve::Secp256r1, arguments, handler)?.0.into(),
            Function::YAddPointR1 => self.added(Curve::Secp256r1, arguments, handler)?.1.into(),
            Function::XDblPoint => self.doubled(Curve::Secp256k1, arguments, handler)?.0.into(),
            Function::YDblPoint => self.doubled(Curve::Secp256k1, arguments, handler)?.1.into(),
            Function::XDblPointR1 => self.doubled(Curve::Secp256r1, arguments, handler)?.0.into(),
            Function::YDblPointR1 => self.doubled(Curve::Secp256r1, arguments, handler)?.1.into(),
            Function::InverseBn254 => {
                let [element] = self.elements(arguments, BN254, handler)?;
                inverse(element, BN254).unwrap_or_default().into()
            }
            Function::Fp2InverseX | Function::Fp2InverseY => {
                let field = Field(BN254);
                let [a, b] = self.elements(arguments, BN254, handler)?;
                let norm = field.add(field.mul(a, a), field.mul(b, b));
                let scale = field.inverse(norm).unwrap_or_default();
                let part = if function == Function::Fp2InverseX { a } else { field.sub(U256::ZERO, b) };
                field.mul(part, scale).into()
            }
            Function::Fp2Add | Function::Fp2Sub => {
                let [a, b] = self.elements(arguments, BN254, handler)?;
                let field = Field(BN254);
                if function == Function::Fp2Add { field.add(a, b) } else { field.sub(a, b) }.into()
            }
            Function::Fp2MulX => fp2_mul(self.elements(arguments, BN254, handler)?).0.into(),
            Function::Fp2MulY => fp2_mul(self.elements(arguments, BN254, handler)?).1.into(),
            Function::BitwiseAnd
            | Function::BitwiseOr
            | Function::BitwiseXor
            | Function::BitwiseNot
            | Function::CompareLess
            | Function::CompareGreater
            | Function::CompareEqual => self.plain_function(function, arguments, handler)?,
            _ => self.division_function(function, arguments, handler)?,
        })
    }

    fn plain_function(
        &mut self,
        function: Function,
        arguments: &[CommandId; 4],
        handler: &mut impl EventHandler,
    ) -> Result<Scalar, Abort> {
        let left = self.number(arguments[0], handler)?;
        if function == Function::BitwiseNot {
            return left.bitwise(U256::MAX.into(), |a, b| a ^ b);
        }
        let right = self.number(arguments[1], handler)?;
        match function {
            Function::BitwiseAnd => left.bitwise(right, |a, b| a & b),
            Function::BitwiseOr => left.bitwise(right, |a, b| a | b),
            Function::BitwiseXor => left.bitwise(right, |a, b| a ^ b),
            Function::CompareLess => Ok((left < right).into()),
            Function::CompareGreater => Ok((left > right).into()),
            _ => Ok((left == right).into()),
        }
    }

    /// The long division and what it leaves (main-state-machine §8.6).
    fn division_function(
        &mut self,
        function: Function,
        arguments: &[CommandId; 4],
        handler: &mut impl EventHandler,
    ) -> Result<Scalar, Abort> {
        let digit = |digits: &[U256], place: u64| {
            let digit = usize::try_from(place).ok().and_then(|place| digits.get(place)).copied();
            digit.map(Scalar::from).ok_or(Abort::unspecified("a digit that the division does not have"))
        };
        match function {
            Function::Divide => {
                let dividend = self.digits(arguments[0], arguments[1], handler)?;
                let divisor = self.digits(arguments[2], arguments[3], handler)?;
                let (quotient, remainder) =
                    super::modular::divide(&dividend, &divisor).ok_or(Abort::unspecified("division by zero"))?;
                (self.division.quotient, self.division.remainder) = (quotient, remainder);
                Ok(Scalar::ZERO)
            }
            Function::DivideShort => {
                let dividend = self.digits(arguments[0], arguments[1], handler)?;
                let divisor = self.word(arguments[2], handler)?;
                let (quotient, remainder) =
                    super::modular::divide(&dividend, &[divisor]).ok_or(Abort::unspecified("division by zero"))?;
                self.division.short_quotient = quotient;
                self.division.short_remainder = remainder.first().copied().unwrap_or_default();
                Ok(Scalar::ZERO)
            }
            Function::LenQuotient => Ok((self.division.quotient.len() as u64).into()),
            Function::LenRemainder => Ok((self.division.remainder.len() as u64).into()),
            Function::LenQuotientShort => Ok((self.division.short_quotient.len() as u64).into()),
            Function::QuotientChunk => {
                let place = self.number(arguments[0], handler)?.low_u64();
                digit(&self.division.quotient, place)
            }
            Function::QuotientChunkShort => {
                let place = self.number(arguments[0], handler)?.low_u64();
                digit(&self.division.short_quotient, place)
            }
            Function::RemainderChunk => {
                let place = self.number(arguments[0], handler)?.low_u64();
                digit(&self.division.remainder, place)
            }
            Function::RemainderShort => Ok(self.division.short_remainder.into()),
            // They print.
            _ => Ok(Scalar::ZERO),
        }
    }

    /// Reads a number of several words from global memory.
    fn digits(
        &mut self,
        address: CommandId,
        length: CommandId,
        handler: &mut impl EventHandler,
    ) -> Result<Vec<U256>, Abort> {
        let address = self.small_argument(address, handler)?;
        let length = self.small_argument(length, handler)?;
        if length > DIVISION_WORDS_MAX {
            return Err(Abort::unspecified("a division of too many words"));
        }
        self.check_soon();
        (address..address + length).map(|word| fea::to_scalar(&self.tree.resolved(self.memory.read(word))?)).collect()
    }

    /// Returns a word of global memory that must have been written.
    fn word_at(&self, address: u64) -> Result<U256, Abort> {
        let word = self.memory.written(address).ok_or(Abort::new(ExecutorError::Assert))?;
        fea::to_scalar(&self.tree.resolved(word)?)
    }

    fn signed_comparison(&mut self, arguments: &[CommandId; 4], handler: &mut impl EventHandler) -> Result<i64, Abort> {
        let first = self.small_argument(arguments[0], handler)?;
        let second = self.small_argument(arguments[1], handler)?;
        let length = if arguments[2] == NONE { 1 } else { self.small_argument(arguments[2], handler)? };
        if length == 0 || length > DIVISION_WORDS_MAX {
            return Err(Abort::unspecified("a comparison of no words, or of too many"));
        }
        for word in (0..length).rev() {
            let place = word as i64 + 1;
            match self.word_at(first + word)?.cmp(&self.word_at(second + word)?) {
                std::cmp::Ordering::Greater => return Ok(place),
                std::cmp::Ordering::Less => return Ok(-place),
                std::cmp::Ordering::Equal => {}
            }
        }
        Ok(0)
    }

    fn first_difference(&mut self, arguments: &[CommandId; 4], handler: &mut impl EventHandler) -> Result<u64, Abort> {
        let address = self.small_argument(arguments[0], handler)?;
        let length = self.small_argument(arguments[1], handler)?;
        for word in (0..length.min(DIVISION_WORDS_MAX)).rev() {
            let digit = self.division.remainder.get(word as usize).ok_or(Abort::new(ExecutorError::Assert))?;
            if self.word_at(address + word)? != *digit {
                return Ok(word);
            }
        }
        Err(ExecutorError::Assert.into())
    }

    /// Returns the sum of two points; zero for points of the same x, which the equation refuses.
    fn added(
        &mut self,
        curve: Curve,
        arguments: &[CommandId; 4],
        handler: &mut impl EventHandler,
    ) -> Result<(U256, U256), Abort> {
        let operands = self.elements(arguments, curve.prime(), handler)?;
        Ok(self.sum_of_points(curve, operands).unwrap_or_default())
    }

    fn doubled(
        &mut self,
        curve: Curve,
        arguments: &[CommandId; 4],
        handler: &mut impl EventHandler,
    ) -> Result<(U256, U256), Abort> {
        let [x, y]: [U256; 2] = self.elements(arguments, curve.prime(), handler)?;
        Ok(self.doubled_point(curve, x, y).unwrap_or_default())
    }

    /// Returns the sum of two points, `None` if they have the same x.
    pub(super) fn sum_of_points(&mut self, curve: Curve, operands: [U256; 4]) -> Option<(U256, U256)> {
        // Where the loop is run by native code, its sums are not asked for.
        let is_skipped = self.intrinsics && self.program.natives.product_loop.is_some();
        let (memory, places) = (&self.memory, self.program.product.filter(|_| !is_skipped));
        self.points.sum(curve, operands, || {
            let read = |offset: u32| fea::to_scalar(&memory.read(offset.into())).ok();
            let [x1, y1, x2, y2, k1, k2] = places?;
            let points = [read(x1)?, read(y1)?, read(x2)?, read(y2)?];
            Some(Product { points, factors: [read(k1)?, read(k2)?] })
        })
    }

    /// Returns the double of a point, `None` if its y is zero.
    pub(super) fn doubled_point(&mut self, curve: Curve, x: U256, y: U256) -> Option<(U256, U256)> {
        self.points.double(curve, x, y)
    }
}

/// Returns a square root modulo the prime of secp256k1, 2^256 − 1 if there is none (main-state-machine §8.5).
///
/// Of the two the power (p + 1) / 4 counts, unless `is_other` prefers the other one.
fn square_root(square: Scalar, is_other: impl Fn(U256, U256) -> bool) -> Scalar {
    // The argument is taken as it is: one above the prime has no root.
    let root = square.to_u256().and_then(points::square_root);
    let Some(root) = root else { return U256::MAX.into() };
    let other = Field(SECP256K1).sub(U256::ZERO, root);
    if is_other(root, other) { other.into() } else { root.into() }
}

pub(super) fn binary(operation: Binary, left: Scalar, right: Scalar) -> Result<Scalar, Abort> {
    Ok(match operation {
        Binary::Add => left.add(right)?,
        Binary::Sub => left.sub(right)?,
        Binary::Mul => left.mul(right)?,
        Binary::Div => left.div(right)?,
        Binary::Mod => left.rem(right)?,
        Binary::Or => (!left.is_zero() || !right.is_zero()).into(),
        Binary::And => (!left.is_zero() && !right.is_zero()).into(),
        Binary::Gt => (left > right).into(),
        Binary::Ge => (left >= right).into(),
        Binary::Lt => (left < right).into(),
        Binary::Le => (left <= right).into(),
        Binary::Eq => (left == right).into(),
        Binary::Ne => (left != right).into(),
        Binary::BitAnd => left.bitwise(right, |a: Wide, b| a & b)?,
        Binary::BitOr => left.bitwise(right, |a: Wide, b| a | b)?,
        Binary::BitXor => left.bitwise(right, |a: Wide, b| a ^ b)?,
        Binary::Shl => left.shl(right)?,
        Binary::Shr => left.shr(right)?,
    })
}
