//! Code under construction.

use alloy_primitives::{Bytes, U256};

use super::programs::MSTORE;

const PUSH0: u8 = 0x5f;
const PUSH1: u8 = 0x60;
const PUSH2: u8 = 0x61;
const PUSH32: u8 = 0x7f;
/// Bytes of a word.
const WORD: usize = 32;

/// Bytes of a program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Code(Vec<u8>);

impl Code {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn last(&self) -> Option<u8> {
        self.0.last().copied()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn op(&mut self, opcode: u8) {
        self.0.push(opcode);
    }

    pub(crate) fn ops(&mut self, opcodes: &[u8]) {
        self.bytes(opcodes);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Pushes a number in as few bytes as it needs, at least one.
    pub(crate) fn push(&mut self, value: U256) {
        let bytes = value.to_be_bytes_trimmed_vec();
        let bytes = if bytes.is_empty() { vec![0] } else { bytes };
        self.op(PUSH0 + bytes.len() as u8);
        self.bytes(&bytes);
    }

    pub(crate) fn small(&mut self, value: u8) {
        self.ops(&[PUSH1, value]);
    }

    /// Writes bytes to memory, the last word filled up with zeros.
    pub(crate) fn store(&mut self, offset: u16, bytes: &[u8]) {
        for (word, chunk) in bytes.chunks(WORD).enumerate() {
            self.op(PUSH32);
            self.bytes(chunk);
            self.0.resize(self.0.len() + WORD - chunk.len(), 0);
            self.op(PUSH2);
            self.bytes(&(offset + (word * WORD) as u16).to_be_bytes());
            self.op(MSTORE);
        }
    }
}

impl From<Code> for Bytes {
    fn from(code: Code) -> Self {
        code.0.into()
    }
}
