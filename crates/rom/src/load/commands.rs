//! Checks commands and numbers them (main-state-machine §8).

use alloy_primitives::Uint;

use super::build::Build;
use super::numbers::{self, shortened};
use super::raw::RawCommand;
use crate::Register;
use crate::memory::CONTEXT_SPAN;
use crate::program::{Argument, Binary, Command, CommandId, EventCommand, Forks, Function, Kind, NONE, Range, Unary};
use crate::rules::{Roots, Rules};
use crate::scalar::Scalar;

/// Most commands of a program: far above any.
const COMMANDS_MAX: usize = 1 << 22;

impl Build {
    /// Appends the commands of a slot, in order.
    pub(super) fn command_list(&mut self, raw: &[RawCommand]) -> Result<Range, String> {
        if raw.is_empty() {
            return Ok(Range::default());
        }
        let roots: Vec<CommandId> = raw.iter().map(|command| self.command(command)).collect::<Result<_, _>>()?;
        let first = self.commands.len() as u32;
        for root in &roots {
            self.push(Command::Argument(*root))?;
        }
        Ok(Range { first, count: roots.len() as u16 })
    }

    /// Appends a command and what is below it.
    pub(super) fn command(&mut self, raw: &RawCommand) -> Result<CommandId, String> {
        let command = match raw.op.as_str() {
            "number" => {
                let text = raw.number.as_deref().ok_or("a number without num")?;
                let (negative, magnitude) = numbers::signed(text)?;
                let mut limbs = [0; 9];
                limbs[..4].copy_from_slice(magnitude.as_limbs());
                let place = self.numbers.len() as u32;
                self.numbers.push(Scalar::new(negative, Uint::from_limbs(limbs)));
                Command::Number(place)
            }
            "declareVar" => Command::Declare(self.variable(raw)?),
            "getVar" => Command::Get(self.variable(raw)?),
            "setVar" => self.assignment(raw)?,
            "getReg" => Command::Register(register(raw)?),
            "getMemValue" => self.memory_value(raw)?,
            "if" => Command::If(self.operands::<3>(raw)?),
            "functionCall" => self.function_call(raw)?,
            name => {
                if let Some(operation) = unary(name) {
                    let [operand] = self.operands::<1>(raw)?;
                    Command::Unary(operation, operand)
                } else if let Some(operation) = binary(name) {
                    let [left, right] = self.operands::<2>(raw)?;
                    Command::Binary(operation, left, right)
                } else {
                    return Err(format!("unknown op {:?}", shortened(name)));
                }
            }
        };
        self.push(command)
    }

    fn push(&mut self, command: Command) -> Result<CommandId, String> {
        if self.commands.len() >= COMMANDS_MAX {
            return Err(format!("more than {COMMANDS_MAX} commands"));
        }
        let id = self.commands.len() as u32;
        self.commands.push(command);
        Ok(id)
    }

    /// Returns the number of a command's variable.
    fn variable(&mut self, raw: &RawCommand) -> Result<u32, String> {
        let name = raw.variable.as_deref().ok_or_else(|| format!("{} without varName", raw.op))?;
        if let Some(number) = self.known_variables.get(name) {
            return Ok(*number);
        }
        let number = self.variable_names.len() as u32;
        self.variable_names.push(name.into());
        self.known_variables.insert(name.into(), number);
        Ok(number)
    }

    fn assignment(&mut self, raw: &RawCommand) -> Result<Command, String> {
        let Some([left, right]) = raw.values.as_deref() else {
            return Err("setVar without two values".to_owned());
        };
        let declares = match left.op.as_str() {
            "declareVar" => true,
            "getVar" => false,
            other => return Err(format!("setVar to {:?}", shortened(other))),
        };
        let variable = self.variable(left)?;
        let value = self.operand(right)?;
        Ok(Command::Set { variable, declares, value })
    }

    fn memory_value(&mut self, raw: &RawCommand) -> Result<Command, String> {
        let offset = u32::try_from(raw.offset).ok().filter(|offset| u64::from(*offset) < CONTEXT_SPAN);
        let offset = offset.ok_or_else(|| format!("getMemValue at {}", raw.offset))?;
        let use_ctx = raw.use_ctx && self.rules.is_v2;
        Ok(Command::Memory { offset, use_ctx })
    }

    /// Appends the operands of an operator: each must be a number.
    fn operands<const N: usize>(&mut self, raw: &RawCommand) -> Result<[CommandId; N], String> {
        let values = raw.values.as_deref().unwrap_or(&[]);
        if values.len() != N {
            return Err(format!("{} with {} values instead of {N}", shortened(&raw.op), values.len()));
        }
        let mut operands = [NONE; N];
        for (operand, value) in operands.iter_mut().zip(values) {
            *operand = self.operand(value)?;
        }
        Ok(operands)
    }

    fn operand(&mut self, raw: &RawCommand) -> Result<CommandId, String> {
        let id = self.command(raw)?;
        match self.kind(id) {
            Kind::Fea => Err("a field vector where a number is needed".to_owned()),
            Kind::Scalar | Kind::Small => Ok(id),
        }
    }

    /// Returns what a command's value is.
    fn kind(&self, id: CommandId) -> Kind {
        match self.commands.get(id as usize) {
            Some(Command::Function(function, arguments)) => match function {
                // It gives what it gets.
                Function::LoadScalar => self.kind(arguments[0]),
                _ => function.kind(),
            },
            Some(Command::Event(_)) => Kind::Fea,
            Some(Command::BitLength(..)) => Kind::Small,
            Some(Command::Register(register)) => match register {
                Register::A | Register::B | Register::C | Register::D | Register::E | Register::Sr => Kind::Scalar,
                _ => Kind::Small,
            },
            _ => Kind::Scalar,
        }
    }

    fn function_call(&mut self, raw: &RawCommand) -> Result<Command, String> {
        let name = raw.function.as_deref().ok_or("functionCall without funcName")?;
        let parameters = raw.parameters.as_deref().unwrap_or(&[]);
        match name {
            "eventLog" => return self.event(parameters),
            "storeLog" => return store_log(parameters),
            "receiveLen" => return self.bit_length(parameters),
            _ => {}
        }
        let function = Function::named(name).ok_or_else(|| format!("unknown function {:?}", shortened(name)))?;
        if !is_in(function.forks(), self.rules) {
            return Err(format!("{name} is not part of fork {}", self.rules.id));
        }
        let expected = function.arguments();
        // The length of a comparison may be left out.
        let optional = usize::from(function == Function::SignedComparison);
        let is_any = expected == [Argument::Any];
        let fits = parameters.len() <= expected.len() && parameters.len() + optional >= expected.len();
        if !fits && !is_any {
            return Err(format!("{name} with {} arguments", parameters.len()));
        }
        let mut arguments = [NONE; 4];
        if is_any && function != Function::Log && function != Function::LoadScalar {
            // Not evaluated.
            return Ok(Command::Function(function, arguments));
        }
        if is_any && parameters.len() != 1 {
            return Err(format!("{name} with {} arguments", parameters.len()));
        }
        for ((argument, parameter), kind) in arguments.iter_mut().zip(parameters).zip(expected) {
            *argument = self.argument(name, parameter, *kind)?;
        }
        Ok(Command::Function(function, arguments))
    }

    fn argument(&mut self, name: &str, raw: &RawCommand, expected: Argument) -> Result<CommandId, String> {
        let id = self.command(raw)?;
        let kind = self.kind(id);
        let fits = match expected {
            Argument::Scalar => kind == Kind::Scalar,
            Argument::Small => kind == Kind::Small,
            Argument::Any => true,
        };
        if fits { Ok(id) } else { Err(format!("{name} with an argument of the wrong kind")) }
    }

    /// `receiveLen`: any number of arguments.
    fn bit_length(&mut self, parameters: &[RawCommand]) -> Result<Command, String> {
        if !self.rules.reserves {
            return Err(format!("receiveLen is not part of fork {}", self.rules.id));
        }
        let arguments: Vec<CommandId> = parameters
            .iter()
            .map(|raw| self.argument("receiveLen", raw, Argument::Scalar))
            .collect::<Result<_, _>>()?;
        let first = self.commands.len() as u32;
        for argument in &arguments {
            self.push(Command::Argument(*argument))?;
        }
        Ok(Command::BitLength(first, arguments.len() as u16))
    }

    /// `eventLog` (main-state-machine §9.1).
    fn event(&mut self, parameters: &[RawCommand]) -> Result<Command, String> {
        let unknown = || Err("an event of no known shape".to_owned());
        let Some(first) = parameters.first() else { return unknown() };
        if first.op == "functionCall" {
            let arguments = first.parameters.as_deref().unwrap_or(&[]);
            return match (first.function.as_deref(), arguments) {
                (Some("onOpcode"), [code]) if matches!(code.op.as_str(), "number" | "getReg") => {
                    let code = self.operand(code)?;
                    Ok(Command::Event(EventCommand::Opcode(code)))
                }
                (Some("onUpdateStorage"), [key, value]) => {
                    let (key, value) = (register(key)?, register(value)?);
                    Ok(Command::Event(EventCommand::UpdateStorage { key, value }))
                }
                _ => unknown(),
            };
        }
        if first.op != "getVar" {
            return unknown();
        }
        let event = match (first.variable.as_deref(), parameters) {
            (Some("onError"), [_, name, ..]) => {
                let Some(name) = name.variable.as_deref().filter(|_| name.op == "getVar") else { return unknown() };
                let place = self.error_names.iter().position(|known| **known == *name).unwrap_or_else(|| {
                    self.error_names.push(name.into());
                    self.error_names.len() - 1
                });
                EventCommand::Error(place as u32)
            }
            (Some("onStartBatch"), _) => EventCommand::StartBatch,
            (Some("onStartBlock"), _) => EventCommand::StartBlock,
            (Some("onProcessTx"), _) => EventCommand::ProcessTx,
            (Some("onFinishTx"), _) => EventCommand::FinishTx,
            (Some("onFinishBlock"), _) => EventCommand::FinishBlock,
            (Some("onFinishBatch"), _) => EventCommand::FinishBatch,
            _ => return unknown(),
        };
        Ok(Command::Event(event))
    }
}

/// `storeLog` (main-state-machine §9.1).
fn store_log(parameters: &[RawCommand]) -> Result<Command, String> {
    let [index, part, value] = parameters else { return Err("storeLog without three arguments".to_owned()) };
    let is_topic = match part.number.as_deref().filter(|_| part.op == "number") {
        Some("0") => false,
        Some("1") => true,
        _ => return Err("storeLog of an unknown part".to_owned()),
    };
    let (index, value) = (register(index)?, register(value)?);
    Ok(Command::Event(EventCommand::StoreLog { index, is_topic, value }))
}

/// Returns the register that a command names.
fn register(raw: &RawCommand) -> Result<Register, String> {
    if raw.op != "getReg" {
        return Err(format!("{:?} where a register is needed", shortened(&raw.op)));
    }
    let name = raw.register.as_deref().unwrap_or("");
    Register::named(name).ok_or_else(|| format!("unknown register {:?}", shortened(name)))
}

fn is_in(forks: Forks, rules: &Rules) -> bool {
    match forks {
        Forks::All => true,
        Forks::V1 => !rules.is_v2,
        Forks::V2 => rules.is_v2,
        Forks::Parity(has_parity) => (rules.roots == Roots::Parity) == has_parity,
        Forks::Later => rules.shared_errors,
        Forks::Numbered => rules.numbered_equations,
    }
}

fn unary(name: &str) -> Option<Unary> {
    Some(match name {
        "neg" => Unary::Neg,
        "not" => Unary::Not,
        "bitnot" => Unary::BitNot,
        _ => return None,
    })
}

fn binary(name: &str) -> Option<Binary> {
    Some(match name {
        "add" => Binary::Add,
        "sub" => Binary::Sub,
        "mul" => Binary::Mul,
        "div" => Binary::Div,
        "mod" => Binary::Mod,
        "or" => Binary::Or,
        "and" => Binary::And,
        "gt" => Binary::Gt,
        "ge" => Binary::Ge,
        "lt" => Binary::Lt,
        "le" => Binary::Le,
        "eq" => Binary::Eq,
        "ne" => Binary::Ne,
        "bitand" => Binary::BitAnd,
        "bitor" => Binary::BitOr,
        "bitxor" => Binary::BitXor,
        "shl" => Binary::Shl,
        "shr" => Binary::Shr,
        _ => return None,
    })
}
