//! Code out of random pieces. Each piece brings its operands, so most programs run a while.

use alloy_primitives::{Address, Bytes, U256};
use fastrand::Rng;

const ADD: u8 = 0x01;
const MSTORE: u8 = 0x52;
const SSTORE: u8 = 0x55;
const GAS: u8 = 0x5a;
const PUSH0: u8 = 0x5f;
const PUSH1: u8 = 0x60;
const POP: u8 = 0x50;

/// Numbers on whose two sides opcodes behave differently.
fn edge(rng: &mut Rng) -> U256 {
    let one = U256::from(1);
    match rng.u8(..12) {
        0..=4 => U256::from(rng.u64(..40)),
        5 => U256::MAX,
        6 => one << 255,
        7 => (one << 255) - one,
        8 => U256::from(rng.u64(..)),
        9 => one << rng.usize(..256),
        10 => U256::ZERO.wrapping_sub(U256::from(rng.u64(..40))),
        _ => U256::from_be_bytes(std::array::from_fn::<u8, 32, _>(|_| rng.u8(..))),
    }
}

fn push(code: &mut Vec<u8>, value: U256) {
    let bytes = value.to_be_bytes_trimmed_vec();
    let bytes = if bytes.is_empty() { vec![0] } else { bytes };
    code.push(PUSH0 + bytes.len() as u8);
    code.extend(bytes);
}

fn push_small(code: &mut Vec<u8>, value: u8) {
    code.extend([PUSH1, value]);
}

/// Returns the code of a contract.
pub(crate) fn program(rng: &mut Rng, contracts: &[Address]) -> Bytes {
    let mut code = Vec::new();
    for _ in 0..rng.usize(2..25) {
        piece(rng, &mut code, contracts);
    }
    match rng.u8(..8) {
        // Falls off the end.
        0 => {}
        1 => code.push(0x00),
        2 => code.push(0xfe),
        3 | 4 => end(rng, &mut code, 0xfd),
        _ => end(rng, &mut code, 0xf3),
    }
    code.into()
}

/// Returns the code of a deployment: a program, one that returns a program, or none.
pub(crate) fn init_code(rng: &mut Rng, contracts: &[Address]) -> Bytes {
    match rng.u8(..5) {
        0 => program(rng, contracts),
        1 => Bytes::new(),
        _ => deployer(rng).into(),
    }
}

/// Init code that returns some bytes.
fn deployer(rng: &mut Rng) -> Vec<u8> {
    let mut code = Vec::new();
    let first = if rng.u8(..8) == 0 { 0xef } else { [0x60, 0x5b, 0x00, 0x30][rng.usize(..4)] };
    push(&mut code, U256::from(first) << 248);
    push_small(&mut code, 0);
    code.push(MSTORE);
    push_small(&mut code, rng.u8(..40));
    push_small(&mut code, 0);
    code.push(if rng.u8(..6) == 0 { 0xfd } else { 0xf3 });
    code
}

fn end(rng: &mut Rng, code: &mut Vec<u8>, opcode: u8) {
    push_small(code, rng.u8(..70));
    push_small(code, rng.u8(..70));
    code.push(opcode);
}

fn piece(rng: &mut Rng, code: &mut Vec<u8>, contracts: &[Address]) {
    match rng.u8(..22) {
        0..=2 => calculation(rng, code),
        3..=5 => storage(rng, code),
        6 | 7 => memory(rng, code),
        8 => copies(rng, code),
        9 | 10 => log(rng, code),
        11..=13 => call(rng, code, contracts),
        14 => create(rng, code),
        15 | 16 => environment(rng, code, contracts),
        17 => hash(rng, code),
        18 => branch(rng, code, contracts),
        19 => repeat(rng, code),
        20 => push(code, edge(rng)),
        _ => rarely(rng, code, contracts),
    }
}

fn calculation(rng: &mut Rng, code: &mut Vec<u8>) {
    let (operands, opcode) = match rng.u8(..4) {
        0 => (1, [0x15, 0x19][rng.usize(..2)]),
        1 => (3, rng.u8(0x08..=0x09)),
        2 => (2, rng.u8(0x10..=0x14)),
        _ => (
            2,
            [0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x0b, 0x16, 0x17, 0x18, 0x1a, 0x1b, 0x1c, 0x1d][rng.usize(..15)],
        ),
    };
    (0..operands).for_each(|_| push(code, edge(rng)));
    code.push(opcode);
    if rng.bool() {
        push_small(code, rng.u8(..4));
        code.push(SSTORE);
    }
}

fn storage(rng: &mut Rng, code: &mut Vec<u8>) {
    if rng.u8(..3) == 0 {
        push_small(code, rng.u8(..4));
        code.extend([0x54, POP]);
        return;
    }
    let value = if rng.bool() { U256::from(rng.u8(..3)) } else { edge(rng) };
    push(code, value);
    push_small(code, rng.u8(..4));
    code.push(SSTORE);
}

fn memory(rng: &mut Rng, code: &mut Vec<u8>) {
    let offset = rng.u8(..100);
    match rng.u8(..3) {
        0 => {
            push_small(code, offset);
            code.extend([0x51, POP]);
        }
        kind => {
            push(code, edge(rng));
            push_small(code, offset);
            code.push(if kind == 1 { MSTORE } else { 0x53 });
        }
    }
}

fn copies(rng: &mut Rng, code: &mut Vec<u8>) {
    let opcode = [0x37, 0x39, 0x3e][rng.usize(..3)];
    let length = if opcode == 0x3e && rng.u8(..4) > 0 { 0 } else { rng.u8(..70) };
    push_small(code, length);
    push_small(code, if opcode == 0x3e { 0 } else { rng.u8(..40) });
    push_small(code, rng.u8(..70));
    code.push(opcode);
}

fn log(rng: &mut Rng, code: &mut Vec<u8>) {
    let topics = rng.u8(..5);
    (0..topics).for_each(|_| push(code, edge(rng)));
    push_small(code, [0, 1, 31, 32, 33, 64, 100][rng.usize(..7)]);
    push_small(code, rng.u8(..70));
    code.push(0xa0 + topics);
}

fn hash(rng: &mut Rng, code: &mut Vec<u8>) {
    push_small(code, rng.u8(..150));
    push_small(code, rng.u8(..70));
    code.extend([0x20, POP]);
}

fn target(rng: &mut Rng, contracts: &[Address]) -> U256 {
    let address = match rng.u8(..10) {
        0..=2 => Address::with_last_byte(rng.u8(1..=10)),
        3 => Address::repeat_byte(rng.u8(1..4)),
        _ => contracts[rng.usize(..contracts.len())],
    };
    U256::from_be_slice(address.as_slice())
}

fn call(rng: &mut Rng, code: &mut Vec<u8>, contracts: &[Address]) {
    let opcode = [0xf1, 0xf1, 0xf2, 0xf4, 0xfa][rng.usize(..5)];
    push_small(code, rng.u8(..70));
    push_small(code, rng.u8(..70));
    push_small(code, [0, 4, 32, 64, 128, 192][rng.usize(..6)]);
    push_small(code, rng.u8(..40));
    if matches!(opcode, 0xf1 | 0xf2) {
        push_small(code, if rng.u8(..4) == 0 { rng.u8(..5) } else { 0 });
    }
    push(code, target(rng, contracts));
    match rng.u8(..3) {
        0 => code.push(GAS),
        _ => push(code, U256::from(rng.u64(..60_000))),
    }
    code.push(opcode);
    match rng.u8(..3) {
        0 => code.push(POP),
        1 => {
            push_small(code, rng.u8(..4));
            code.push(SSTORE);
        }
        _ => code.extend([POP, 0x3d, POP]),
    }
}

fn create(rng: &mut Rng, code: &mut Vec<u8>) {
    let init = if rng.u8(..4) == 0 { Vec::new() } else { deployer(rng) };
    let init = &init[..init.len().min(64)];
    for (word, chunk) in init.chunks(32).enumerate() {
        let mut bytes = [0; 32];
        bytes[..chunk.len()].copy_from_slice(chunk);
        push(code, U256::from_be_bytes(bytes));
        push_small(code, 32 * word as u8);
        code.push(MSTORE);
    }
    let is_create2 = rng.bool();
    if is_create2 {
        push_small(code, rng.u8(..3));
    }
    push_small(code, init.len() as u8);
    push_small(code, 0);
    push_small(code, if rng.u8(..4) == 0 { rng.u8(..5) } else { 0 });
    code.push(if is_create2 { 0xf5 } else { 0xf0 });
    code.push(POP);
}

fn environment(rng: &mut Rng, code: &mut Vec<u8>, contracts: &[Address]) {
    match rng.u8(..4) {
        0 => {
            push(code, target(rng, contracts));
            code.push([0x31, 0x3b, 0x3f][rng.usize(..3)]);
        }
        1 => {
            push(code, edge(rng));
            code.push([0x35, 0x40][rng.usize(..2)]);
        }
        2 => {
            push_small(code, rng.u8(..40));
            push_small(code, rng.u8(..40));
            push_small(code, rng.u8(..40));
            push(code, target(rng, contracts));
            code.push(0x3c);
            return;
        }
        _ => code.push(
            [0x30, 0x32, 0x33, 0x34, 0x36, 0x38, 0x3a, 0x3d, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x58, 0x59, GAS]
                [rng.usize(..18)],
        ),
    }
    code.push(POP);
}

/// Jumps over a piece if a calldata word says so.
fn branch(rng: &mut Rng, code: &mut Vec<u8>, contracts: &[Address]) {
    let mut skipped = Vec::new();
    piece(rng, &mut skipped, contracts);
    push_small(code, rng.u8(..40));
    code.push(0x35);
    if rng.u8(..20) == 0 {
        push_small(code, rng.u8(..));
        code.push(0x57);
        return;
    }
    let destination = code.len() + 4 + skipped.len();
    code.push(0x61);
    code.extend((destination as u16).to_be_bytes());
    code.push(0x57);
    code.extend(skipped);
    code.push(0x5b);
}

/// A loop of a few rounds.
fn repeat(rng: &mut Rng, code: &mut Vec<u8>) {
    push_small(code, rng.u8(1..20));
    let start = code.len() as u16;
    code.push(0x5b);
    calculation(rng, code);
    // The calculation may leave a word: drop what is above the counter only if it does not store.
    if code.last() != Some(&SSTORE) {
        code.push(POP);
    }
    push_small(code, 1);
    code.extend([0x90, 0x03, 0x80, 0x61]);
    code.extend(start.to_be_bytes());
    code.extend([0x57, POP]);
}

fn rarely(rng: &mut Rng, code: &mut Vec<u8>, contracts: &[Address]) {
    match rng.u8(..6) {
        0 => code.push(rng.u8(..)),
        1 => {
            push(code, target(rng, contracts));
            code.push(0xff);
        }
        2 => {
            push(code, edge(rng));
            push(code, U256::from(rng.u8(..40)));
            code.extend([0x0a, POP]);
        }
        3 => code.push(PUSH0),
        4 => code.push(ADD),
        _ => {
            push(code, edge(rng));
            push(code, edge(rng));
            code.push(0xf3);
        }
    }
}

/// Returns input for a precompile, some of it well formed.
pub(crate) fn precompile_input(rng: &mut Rng) -> Vec<u8> {
    let length = [0, 1, 31, 32, 64, 96, 128, 192, 200][rng.usize(..9)];
    match rng.u8(..3) {
        0 => vec![0; length],
        1 => {
            // Small numbers in words: lengths of modexp, points of the curve.
            let mut input = vec![0; length];
            input.iter_mut().skip(31).step_by(32).for_each(|byte| *byte = rng.u8(..4));
            input
        }
        _ => (0..length).map(|_| rng.u8(..)).collect(),
    }
}
