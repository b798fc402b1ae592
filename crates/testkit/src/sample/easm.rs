//! A small assembler for readable EVM code.
//!
//! One item per line or several separated by blanks; `;` starts a comment. `name:` puts a JUMPDEST and names it. `push`
//! takes a decimal or `0x` number, `@name`, `selector("…")` (4 bytes) or `topic("…")` (32 bytes) and picks the shortest
//! PUSH, never PUSH0, so the code runs under every fork. Everything else is a mnemonic.

use std::collections::HashMap;

use revm::bytecode::opcode::{JUMPDEST, OpCode, PUSH1};
use revm::primitives::{Bytes, U256, keccak256};

const LABEL_ROUNDS_MAX: usize = 4;

/// The reason why a source does not assemble.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AssemblyError {
    /// A word is no mnemonic.
    #[error("line {line}: unknown instruction `{word}`")]
    UnknownInstruction {
        /// Line, from 1.
        line: usize,
        /// The word.
        word: String,
    },
    /// `push` has no operand or one that cannot be read.
    #[error("line {line}: bad operand `{word}`")]
    BadOperand {
        /// Line, from 1.
        line: usize,
        /// The operand.
        word: String,
    },
    /// A label is used but not defined, or defined twice.
    #[error("label `{0}` is not defined exactly once")]
    Label(String),
    /// The code is too long for the jumps in it.
    #[error("label positions do not settle")]
    Unsettled,
}

enum Item {
    Op(u8),
    Push(Vec<u8>),
    PushLabel(String),
    Label(String),
}

/// Assembles `source` to code.
pub fn assemble(source: &str) -> Result<Bytes, AssemblyError> {
    let items = parse(source)?;
    // A label push is as wide as its target needs, and the targets move with the widths: repeat until nothing moves.
    let mut labels = HashMap::new();
    for _ in 0..LABEL_ROUNDS_MAX {
        let (code, positions) = emit(&items, &labels)?;
        if positions == labels {
            return Ok(code.into());
        }
        labels = positions;
    }
    Err(AssemblyError::Unsettled)
}

fn emit(items: &[Item], labels: &HashMap<String, usize>) -> Result<(Vec<u8>, HashMap<String, usize>), AssemblyError> {
    let first_round = labels.is_empty();
    let mut code = Vec::new();
    let mut positions = HashMap::new();
    for item in items {
        match item {
            Item::Op(op) => code.push(*op),
            Item::Push(bytes) => push(&mut code, bytes),
            Item::PushLabel(name) => {
                let target = labels.get(name).copied();
                let target = if first_round {
                    target.unwrap_or(0)
                } else {
                    target.ok_or_else(|| AssemblyError::Label(name.clone()))?
                };
                push(&mut code, &minimal(U256::from(target)));
            }
            Item::Label(name) => {
                if positions.insert(name.clone(), code.len()).is_some() {
                    return Err(AssemblyError::Label(name.clone()));
                }
                code.push(JUMPDEST);
            }
        }
    }
    if let Some(Item::PushLabel(name)) =
        items.iter().find(|item| matches!(item, Item::PushLabel(name) if !positions.contains_key(name)))
    {
        return Err(AssemblyError::Label(name.clone()));
    }
    Ok((code, positions))
}

/// `bytes` holds 1 to 32 bytes.
fn push(code: &mut Vec<u8>, bytes: &[u8]) {
    code.push(PUSH1 + (bytes.len() as u8).saturating_sub(1));
    code.extend_from_slice(bytes);
}

fn minimal(value: U256) -> Vec<u8> {
    let bytes = value.to_be_bytes_trimmed_vec();
    if bytes.is_empty() { vec![0] } else { bytes }
}

fn parse(source: &str) -> Result<Vec<Item>, AssemblyError> {
    let mut items = Vec::new();
    for (index, text) in source.lines().enumerate() {
        let line = index + 1;
        let text = text.split(';').next().unwrap_or_default();
        let mut words = text.split_whitespace();
        while let Some(word) = words.next() {
            if let Some(name) = word.strip_suffix(':') {
                items.push(Item::Label(name.to_owned()));
            } else if word == "push" {
                items.push(operand(words.next().unwrap_or_default(), line)?);
            } else {
                let op =
                    mnemonic(word).ok_or_else(|| AssemblyError::UnknownInstruction { line, word: word.to_owned() })?;
                items.push(Item::Op(op));
            }
        }
    }
    Ok(items)
}

fn operand(word: &str, line: usize) -> Result<Item, AssemblyError> {
    if let Some(name) = word.strip_prefix('@') {
        return Ok(Item::PushLabel(name.to_owned()));
    }
    let quoted = |name: &str| word.strip_prefix(name)?.strip_prefix("(\"")?.strip_suffix("\")");
    if let Some(signature) = quoted("selector") {
        return Ok(Item::Push(keccak256(signature)[..4].to_vec()));
    }
    if let Some(signature) = quoted("topic") {
        return Ok(Item::Push(keccak256(signature).to_vec()));
    }
    let number = match word.strip_prefix("0x") {
        Some(digits) if !digits.is_empty() => U256::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None if word.is_empty() => None,
        None => U256::from_str_radix(word, 10).ok(),
    };
    let number = number.ok_or_else(|| AssemblyError::BadOperand { line, word: word.to_owned() })?;
    Ok(Item::Push(minimal(number)))
}

fn mnemonic(word: &str) -> Option<u8> {
    let is_named = |op: &u8| OpCode::new(*op).is_some_and(|code| code.as_str().eq_ignore_ascii_case(word));
    // A sized push without its immediate would swallow the code after it.
    (0..=u8::MAX).filter(|op| !(PUSH1..PUSH1 + 32).contains(op)).find(is_named)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> String {
        hex::encode(assemble(source).unwrap())
    }

    #[test]
    fn pushes_are_as_short_as_the_number() {
        assert_eq!(code("push 0 push 255 push 0x100"), "600060ff610100");
        assert_eq!(code("push selector(\"transfer(address,uint256)\")"), "63a9059cbb");
        assert_eq!(code(&format!("push 0x{}", "ff".repeat(32))), format!("7f{}", "ff".repeat(32)));
    }

    #[test]
    fn labels_may_come_later_and_comments_are_ignored() {
        assert_eq!(code("push @end jump ; over it\n invalid\nend:\nstop"), "600456fe5b00");
    }

    #[test]
    fn a_far_label_widens_its_push() {
        let source = format!("push @end jump\n{}\nend: stop", "caller ".repeat(300));
        let assembled = assemble(&source).unwrap();
        assert_eq!(assembled[..4], [0x61, 0x01, 0x30, 0x56], "PUSH2 304 JUMP");
        assert_eq!(assembled[304], JUMPDEST);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let unknown = AssemblyError::UnknownInstruction { line: 2, word: "frobnicate".to_owned() };
        assert_eq!(assemble("stop\nfrobnicate"), Err(unknown));
        assert_eq!(assemble("push"), Err(AssemblyError::BadOperand { line: 1, word: String::new() }));
        assert_eq!(assemble("push @nowhere"), Err(AssemblyError::Label("nowhere".to_owned())));
        assert_eq!(assemble("a: a:"), Err(AssemblyError::Label("a".to_owned())));
        assert!(assemble(&format!("push 0x1{}", "00".repeat(32))).is_err());
        assert!(assemble("push1").is_err(), "sized pushes are the assembler's business");
    }
}
