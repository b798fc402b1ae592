//! Lines of the usual shapes (`load/shapes.rs`), done at once. Results, errors and their order are those of the general way.

use alloy_primitives::U256;

use super::Machine;
use super::registers::{small, wide};
use crate::Abort;
use crate::fea::{self, Fea, add_fe};
use crate::memory::{CONTEXT_SPAN, EVM_MEMORY, STACK, context_base};
use crate::program::{Addressing, Binary, Command, CommandId, Jump, Line, Shape, Sum, flags};

/// Largest element that is a positive number of 32 bits.
const ELEMENT_MAX: u64 = 0x7fff_ffff;
/// Addresses from here on are checked against bounds.
const UNCHECKED_MAX: u64 = 63_488;
/// Index of the counter of binary operations.
const BINARY: usize = 2;

impl Machine<'_, '_> {
    /// Runs a line of a shape of its own. Returns false, with nothing done, if only the general way can.
    #[inline(always)]
    pub(super) fn run_quick(&mut self, line: &Line) -> Result<bool, Abort> {
        if self.marks & line.touches != 0 {
            return Ok(false);
        }
        let op = match line.shape {
            Shape::General => return Ok(false),
            Shape::Low => {
                let value = self.quick_low(line);
                self.end_quick(line, value)?;
                return Ok(true);
            }
            Shape::SetLow => {
                let value = self.quick_low(line);
                if line.flags & flags::MEM_WRITE == 0 {
                    self.set_low(line, value);
                    self.end_quick(line, value)?;
                    return Ok(true);
                }
                fea::low(value)
            }
            Shape::Constant => match line.sum {
                Sum::Constant(place) => self.program.constants.get(place as usize).copied().unwrap_or(fea::ZERO),
                _ => fea::ZERO,
            },
            Shape::Copy => self.quick_register(line),
            Shape::CopyAndLow => {
                let mut op = self.quick_register(line);
                op[0] = add_fe(op[0], self.quick_low(line));
                op
            }
            Shape::Terms => match line.sum {
                Sum::Terms(terms, place) => {
                    let constant = self.program.constants.get(place as usize).copied().unwrap_or(fea::ZERO);
                    self.general_sum(terms, constant)
                }
                _ => fea::ZERO,
            },
            Shape::Load => {
                let address = self.quick_address(line)?;
                let op = self.memory.load(address);
                if fea::is_mark(&op) {
                    return Ok(false);
                }
                op
            }
            Shape::Binary => {
                let (result, carry) = self.binary_result(line)?;
                self.carry = carry;
                self.set_wide(line, &fea::to_fea(result));
                self.end_quick(line, result.as_limbs()[0] & 0xffff_ffff)?;
                if !self.request.no_counters {
                    self.registers.counters[BINARY] += 1;
                }
                return Ok(true);
            }
            Shape::HashByte => return self.run_hash_byte(line),
            Shape::Command => match self.quick_number(line.free_command) {
                Some(number) => fea::to_fea(number),
                None => return Ok(false),
            },
        };
        if line.flags & flags::MEM_WRITE != 0 {
            let address = self.quick_address(line)?;
            self.memory.write(address, &op)?;
        }
        self.set_wide(line, &op);
        self.end_quick(line, op[0])?;
        Ok(true)
    }

    /// Reads a byte of a hash machine's buffer that is there.
    #[inline]
    fn run_hash_byte(&mut self, line: &Line) -> Result<bool, Abort> {
        let Some((machine, _)) = line.hash else { return Ok(false) };
        let address = self.quick_address(line)?;
        let position = self.registers.small[small::HASHPOS];
        let Some(byte) = self.hashes.read_byte(machine, address, position)? else { return Ok(false) };
        self.set_low(line, byte.into());
        self.end_quick(line, byte.into())?;
        let position = &mut self.registers.small[small::HASHPOS];
        *position = add_fe(*position, 1);
        Ok(true)
    }

    #[inline(always)]
    fn quick_low(&self, line: &Line) -> u64 {
        match line.sum {
            Sum::Low(terms, constant) | Sum::RegisterAndLow(_, terms, constant) => self.low_sum(terms, constant),
            _ => 0,
        }
    }

    #[inline(always)]
    fn quick_register(&self, line: &Line) -> Fea {
        match line.sum {
            Sum::Register(place) | Sum::RegisterAndLow(place, ..) => {
                self.registers.wide.get(usize::from(place)).copied().unwrap_or(fea::ZERO)
            }
            _ => fea::ZERO,
        }
    }

    #[inline(always)]
    fn quick_address(&self, line: &Line) -> Result<u64, Abort> {
        let context = self.registers.small[small::CTX];
        match line.addressing {
            Addressing::Global => Ok(line.offset as u64),
            Addressing::Local if context <= self.context_max => {
                Ok((line.offset as u64).wrapping_add(context.wrapping_mul(CONTEXT_SPAN)))
            }
            Addressing::Stack => match unchecked(self.registers.small[small::SP], line.offset) {
                Some(relative) if context <= self.context_max => {
                    Ok(context_base(context).wrapping_add(STACK + relative))
                }
                _ => self.address(line),
            },
            Addressing::Indexed => match unchecked(self.registers.wide[wide::E][0], line.offset) {
                Some(relative) if context <= self.context_max => {
                    Ok(context_base(context).wrapping_add(EVM_MEMORY + relative))
                }
                _ => self.address(line),
            },
            Addressing::Local | Addressing::General => self.address(line),
        }
    }

    #[inline(always)]
    fn set_wide(&mut self, line: &Line, op: &Fea) {
        let mut sets = line.sets_wide;
        self.marks &= !sets;
        while sets != 0 {
            if let Some(register) = self.registers.wide.get_mut(sets.trailing_zeros() as usize) {
                *register = *op;
            }
            sets &= sets - 1;
        }
    }

    #[inline(always)]
    fn set_low(&mut self, line: &Line, value: u64) {
        let mut sets = line.sets_wide;
        self.marks &= !sets;
        while sets != 0 {
            if let Some(register) = self.registers.wide.get_mut(sets.trailing_zeros() as usize) {
                register[0] = value;
                register[1..].fill(0);
            }
            sets &= sets - 1;
        }
    }

    /// Sets the small registers and moves to the next line.
    #[inline(always)]
    fn end_quick(&mut self, line: &Line, value: u64) -> Result<(), Abort> {
        if line.flags & flags::SETS_SMALL != 0 {
            self.set_small_registers(line, value);
        }
        let next = self.registers.zkpc.wrapping_add(1);
        let taken = match line.jump {
            Jump::None => {
                self.registers.zkpc = next;
                return Ok(());
            }
            Jump::IfNegative => self.is_negative(line, value)?,
            Jump::IfCarry => self.carry,
            Jump::IfZero => value == 0,
            Jump::Always => true,
            Jump::Call => {
                if line.sets_small >> small::RR & 1 == 0 {
                    self.registers.small[small::RR] = next.into();
                }
                true
            }
            Jump::Return => {
                self.registers.zkpc = super::step::address_line(self.registers.small[small::RR]);
                return Ok(());
            }
        };
        self.registers.zkpc = if taken { line.target } else { line.otherwise };
        Ok(())
    }

    /// Returns the value of a plain command if neither it nor what it is made of passes 256 bits or falls below zero.
    fn quick_number(&self, id: CommandId) -> Option<U256> {
        match *self.program.commands.get(id as usize)? {
            Command::Number(place) => self.program.numbers.get(place as usize)?.to_u256(),
            Command::Register(register) => match self.registers.fea(register) {
                Some(fea) => fea::to_scalar(fea).ok(),
                None => Some(U256::from(self.registers.small_value(register))),
            },
            Command::Memory { offset, use_ctx } => {
                let context = if use_ctx { self.registers.ctx() } else { 0 };
                let word = self.memory.read(context_base(context).wrapping_add(offset.into()));
                if fea::is_mark(&word) { None } else { fea::to_scalar(&word).ok() }
            }
            Command::Binary(operation, left, right) => {
                quick_binary(operation, self.quick_number(left)?, self.quick_number(right)?)
            }
            Command::If([condition, then, otherwise]) => {
                self.quick_number(if self.quick_number(condition)?.is_zero() { otherwise } else { then })
            }
            _ => None,
        }
    }
}

/// Returns the sum of an element and an offset if it needs no check.
#[inline(always)]
fn unchecked(element: u64, offset: i32) -> Option<u64> {
    let relative = element.wrapping_add(i64::from(offset) as u64);
    (element <= ELEMENT_MAX && relative < UNCHECKED_MAX).then_some(relative)
}

/// Applies an operation to numbers below 2^256; `None` where the result may be none.
fn quick_binary(operation: Binary, left: U256, right: U256) -> Option<U256> {
    let truth = |is_true: bool| Some(U256::from(u64::from(is_true)));
    let bits = right.as_limbs()[0];
    match operation {
        Binary::Add => left.checked_add(right),
        Binary::Sub => left.checked_sub(right),
        Binary::Mul => left.checked_mul(right),
        Binary::Div => left.checked_div(right),
        Binary::Mod => left.checked_rem(right),
        Binary::Gt => truth(left > right),
        Binary::Ge => truth(left >= right),
        Binary::Lt => truth(left < right),
        Binary::Le => truth(left <= right),
        Binary::Eq => truth(left == right),
        Binary::Ne => truth(left != right),
        Binary::BitAnd => Some(left & right),
        Binary::BitOr => Some(left | right),
        Binary::BitXor => Some(left ^ right),
        Binary::Shl if bits < 256 && left.bit_len() + bits as usize <= 256 => Some(left << bits as usize),
        Binary::Shr if bits < 256 => Some(left >> bits as usize),
        Binary::And | Binary::Or | Binary::Shl | Binary::Shr => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::commands::binary;
    use super::*;
    use crate::scalar::Scalar;

    /// Where the quick way has a result, it is that of the numbers with a sign.
    #[test]
    fn quick_operations_are_those_of_signed_numbers() {
        use Binary::*;
        let one = U256::from(1);
        let numbers =
            [U256::ZERO, one, U256::from(5), U256::from(255), U256::from(256), one << 128, one << 255, U256::MAX];
        for operation in [Add, Sub, Mul, Div, Mod, Gt, Ge, Lt, Le, Eq, Ne, BitAnd, BitOr, BitXor, Shl, Shr] {
            for left in numbers {
                for right in numbers {
                    let Some(result) = quick_binary(operation, left, right) else { continue };
                    let expected = binary(operation, Scalar::from(left), Scalar::from(right));
                    assert_eq!(expected, Ok(Scalar::from(result)), "{operation:?} of {left} and {right}");
                }
            }
        }
        assert_eq!(quick_binary(Sub, U256::ZERO, one), None);
        assert_eq!(quick_binary(Add, U256::MAX, one), None);
        assert_eq!(quick_binary(Div, one, U256::ZERO), None);
    }
}
