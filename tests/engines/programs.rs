//! Code out of random pieces. Each piece brings its operands, so most programs run a while.

use alloy_primitives::{Address, Bytes, U256};
use fastrand::Rng;
pub(crate) use revm::bytecode::opcode::MSTORE;
use revm::bytecode::opcode::{
    ADD, BLOCKHASH, CALL, CALLCODE, CREATE, CREATE2, DELEGATECALL, GAS, INVALID, JUMPDEST, JUMPI, KECCAK256, LOG0,
    MLOAD, MSTORE8, NUMBER, POP, RETURN, RETURNDATACOPY, RETURNDATASIZE, REVERT, SELFDESTRUCT, SLOAD, SSTORE,
    STATICCALL,
};
use zkevm_types::P256_VERIFY;

use super::code::Code;
use super::precompiles::{self, Precompiles};

/// Longest deployed code, in bytes (EIP-170).
const CODE_BYTES_MAX: u64 = 24_576;

/// Numbers on whose two sides opcodes behave differently.
pub(crate) fn edge(rng: &mut Rng) -> U256 {
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

/// An offset or a length: small as a rule, at an edge of what memory can be now and then.
fn extent(rng: &mut Rng) -> U256 {
    match rng.u8(..60) {
        0 => edge(rng),
        1 => U256::from(
            [0x1000_u32, 0x1_0000, 0x3f_ffe0, 0x3f_ffff, 0x40_0000, 0xffff_ffe0, 0xffff_ffff][rng.usize(..7)],
        ),
        2..=4 => U256::from(rng.u16(..1000)),
        _ => U256::from(rng.u8(..70)),
    }
}

/// Makes programs that know these contracts.
pub(crate) struct Programs<'a> {
    pub(crate) rng: &'a mut Rng,
    pub(crate) contracts: &'a [Address],
    pub(crate) precompiles: &'a mut Precompiles,
}

impl Programs<'_> {
    /// Returns the code of a contract.
    pub(crate) fn contract(&mut self) -> Bytes {
        let mut code = Code::default();
        for _ in 0..self.rng.usize(2..25) {
            self.piece(&mut code);
        }
        match self.rng.u8(..16) {
            // Falls off the end.
            0 | 1 => {}
            2 => code.op(0x00),
            3 => code.op(INVALID),
            // Ends inside the data of a PUSH, or before it.
            4 => {
                let missing = self.rng.u8(1..4);
                code.bytes(&[0x5f + missing + 2, 7, 0][..3 - usize::from(self.rng.u8(..3))]);
            }
            5 => self.self_destruct(&mut code),
            6..=9 => self.end(&mut code, REVERT),
            _ => self.end(&mut code, RETURN),
        }
        code.into()
    }

    /// Returns the code of a deployment: a program, one that returns a program, or none.
    pub(crate) fn init_code(&mut self) -> Bytes {
        match self.rng.u8(..6) {
            0 | 1 => self.contract(),
            2 => Bytes::new(),
            _ => self.deployer(),
        }
    }

    /// Init code that returns some bytes, with a few effects before.
    fn deployer(&mut self) -> Bytes {
        let mut code = Code::default();
        for _ in 0..self.rng.usize(..2) {
            self.effect(&mut code);
        }
        match self.rng.u8(..12) {
            0 => code.op(0x00),
            1 => {
                self.self_destruct(&mut code);
                return code.into();
            }
            // Long code: it begins with a zero, or whatever memory has.
            2 => {
                let around = CODE_BYTES_MAX - 1 + self.rng.u64(..3);
                code.push(U256::from([around, 4000, 0x8000, 0x3f_ffff][self.rng.usize(..4)]));
                code.small(0);
                code.op(RETURN);
            }
            _ => {
                let first = if self.rng.u8(..8) == 0 { 0xef } else { [0x60, 0x5b, 0x00, 0x30][self.rng.usize(..4)] };
                code.push(U256::from(first) << 248);
                code.small(0);
                code.op(MSTORE);
                code.small(self.rng.u8(..40));
                code.small(0);
                code.op(if self.rng.u8(..6) == 0 { REVERT } else { RETURN });
            }
        }
        code.into()
    }

    fn end(&mut self, code: &mut Code, opcode: u8) {
        code.push(extent(self.rng));
        code.push(extent(self.rng));
        code.op(opcode);
    }

    fn piece(&mut self, code: &mut Code) {
        match self.rng.u8(..30) {
            0..=2 => self.calculation(code),
            3..=5 => self.storage(code),
            6 | 7 => self.memory(code),
            8 | 9 => self.copy(code),
            10 | 11 => self.log(code),
            12..=14 => self.call(code),
            15 | 16 => self.precompile(code),
            17 | 18 => self.create(code),
            19 | 20 => self.environment(code),
            21 => self.hash(code),
            22 => self.branch(code),
            23 => self.repeat(code),
            24 => code.push(edge(self.rng)),
            25 | 26 => self.shuffle(code),
            27 => self.call_itself(code),
            _ => self.rarely(code),
        }
    }

    /// A piece that changes something.
    fn effect(&mut self, code: &mut Code) {
        match self.rng.u8(..5) {
            0 => self.log(code),
            1 => self.call(code),
            2 => self.memory(code),
            _ => self.storage(code),
        }
    }

    fn calculation(&mut self, code: &mut Code) {
        const TWO: [u8; 15] = [ADD, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x0b, 0x16, 0x17, 0x18, 0x1a, 0x1b, 0x1c, 0x1d];
        let (operands, opcode) = match self.rng.u8(..4) {
            0 => (1, [0x15, 0x19][self.rng.usize(..2)]),
            1 => (3, self.rng.u8(0x08..=0x09)),
            2 => (2, self.rng.u8(0x10..=0x14)),
            _ => (2, TWO[self.rng.usize(..TWO.len())]),
        };
        (0..operands).for_each(|_| code.push(edge(self.rng)));
        code.op(opcode);
        if self.rng.bool() {
            code.small(self.rng.u8(..4));
            code.op(SSTORE);
        }
    }

    fn storage(&mut self, code: &mut Code) {
        let slot = if self.rng.u8(..12) == 0 { edge(self.rng) } else { U256::from(self.rng.u8(..4)) };
        if self.rng.u8(..3) == 0 {
            code.push(slot);
            code.ops(&[SLOAD, POP]);
            return;
        }
        // Twice the same slot now and then: that is where refunds come and go.
        for _ in 0..self.rng.usize(1..3) {
            code.push(if self.rng.u8(..3) > 0 { U256::from(self.rng.u8(..3)) } else { edge(self.rng) });
            code.push(slot);
            code.op(SSTORE);
        }
    }

    fn memory(&mut self, code: &mut Code) {
        match self.rng.u8(..3) {
            0 => {
                code.push(extent(self.rng));
                code.ops(&[MLOAD, POP]);
            }
            kind => {
                code.push(edge(self.rng));
                code.push(extent(self.rng));
                code.op(if kind == 1 { MSTORE } else { MSTORE8 });
            }
        }
    }

    fn copy(&mut self, code: &mut Code) {
        let opcode = [0x37, 0x39, RETURNDATACOPY][self.rng.usize(..3)];
        if opcode == RETURNDATACOPY && self.rng.u8(..4) > 0 {
            // All there is.
            code.op(RETURNDATASIZE);
            code.small(0);
        } else {
            code.push(extent(self.rng));
            code.push(extent(self.rng));
        }
        code.push(extent(self.rng));
        code.op(opcode);
    }

    fn log(&mut self, code: &mut Code) {
        let topics = self.rng.u8(..5);
        (0..topics).for_each(|_| code.push(edge(self.rng)));
        match self.rng.u8(..8) {
            0 => code.push(extent(self.rng)),
            _ => code.small([0, 1, 31, 32, 33, 64, 100][self.rng.usize(..7)]),
        }
        code.push(extent(self.rng));
        code.op(LOG0 + topics);
    }

    fn hash(&mut self, code: &mut Code) {
        code.push(extent(self.rng));
        code.push(extent(self.rng));
        code.ops(&[KECCAK256, POP]);
    }

    fn target(&mut self) -> U256 {
        let address = match self.rng.u8(..12) {
            0 | 1 if self.rng.u8(..8) == 0 => precompiles::address(P256_VERIFY),
            0 | 1 => Address::with_last_byte(self.rng.u8(..=11)),
            2 => Address::repeat_byte(self.rng.u8(1..4)),
            _ => self.contracts[self.rng.usize(..self.contracts.len())],
        };
        let word = U256::from_be_slice(address.as_slice());
        // What stands above an address is ignored.
        if self.rng.u8(..30) == 0 { word | U256::from(7) << 200 } else { word }
    }

    fn call(&mut self, code: &mut Code) {
        let opcode = [CALL, CALL, CALLCODE, DELEGATECALL, STATICCALL][self.rng.usize(..5)];
        code.push(extent(self.rng));
        code.push(extent(self.rng));
        code.push(extent(self.rng));
        code.push(extent(self.rng));
        if matches!(opcode, CALL | CALLCODE) {
            match self.rng.u8(..8) {
                0 | 1 => code.small(self.rng.u8(..5)),
                2 => code.push(edge(self.rng)),
                _ => code.small(0),
            }
        }
        let target = self.target();
        code.push(target);
        self.gas_of_call(code);
        code.op(opcode);
        self.after_call(code);
    }

    fn gas_of_call(&mut self, code: &mut Code) {
        match self.rng.u8(..6) {
            0..=2 => code.op(GAS),
            3 => code.push(edge(self.rng)),
            _ => code.push(U256::from(self.rng.u64(..60_000))),
        }
    }

    /// Does something with whether a call succeeded, and with what it returned.
    fn after_call(&mut self, code: &mut Code) {
        match self.rng.u8(..4) {
            0 => code.op(POP),
            1 => {
                code.small(self.rng.u8(..4));
                code.op(SSTORE);
            }
            2 => {
                code.ops(&[POP, RETURNDATASIZE]);
                code.small(0);
                code.small(self.rng.u8(..40));
                code.op(RETURNDATACOPY);
            }
            _ => code.ops(&[POP, RETURNDATASIZE, POP]),
        }
    }

    /// Calls a precompile with input for it.
    fn precompile(&mut self, code: &mut Code) {
        let number = self.precompiles.number(self.rng);
        let input = self.precompiles.input(self.rng, number);
        let offset = self.rng.u16(..40);
        code.store(offset, &input);
        let opcode = [CALL, CALLCODE, DELEGATECALL, STATICCALL][self.rng.usize(..4)];
        code.push(extent(self.rng));
        code.push(extent(self.rng));
        code.push(U256::from(input.len()));
        code.push(U256::from(offset));
        if matches!(opcode, CALL | CALLCODE) {
            code.small(if self.rng.u8(..6) == 0 { 1 } else { 0 });
        }
        code.push(U256::from(number));
        self.gas_of_call(code);
        code.op(opcode);
        self.after_call(code);
    }

    /// Calls the running contract once more, with all the gas there is.
    fn call_itself(&mut self, code: &mut Code) {
        let opcode = [CALL, CALL, CALLCODE, DELEGATECALL, STATICCALL][self.rng.usize(..5)];
        code.small(self.rng.u8(..40));
        code.small(0);
        code.small(self.rng.u8(..40));
        code.small(0);
        if matches!(opcode, CALL | CALLCODE) {
            code.small(0);
        }
        code.ops(&[0x30, GAS, opcode, POP]);
    }

    fn create(&mut self, code: &mut Code) {
        let init = if self.rng.u8(..5) == 0 { self.init_code() } else { self.deployer() };
        let init = &init[..init.len().min(160)];
        code.store(0, init);
        let length = match self.rng.u8(..12) {
            0 => extent(self.rng),
            1 => U256::ZERO,
            _ => U256::from(init.len()),
        };
        let salt = self.rng.bool().then(|| self.rng.u8(..3));
        // Twice now and then: the second CREATE2 meets the first.
        for _ in 0..if self.rng.u8(..4) == 0 { 2 } else { 1 } {
            if let Some(salt) = salt {
                code.small(salt);
            }
            code.push(length);
            code.small(0);
            code.small(if self.rng.u8(..4) == 0 { self.rng.u8(..5) } else { 0 });
            code.op(if salt.is_some() { CREATE2 } else { CREATE });
            match self.rng.u8(..6) {
                0 => code.ops(&[RETURNDATASIZE, POP, POP]),
                // Calls what it made.
                1 => {
                    (0..5).for_each(|_| code.small(0));
                    code.ops(&[0x85, GAS, CALL, POP, POP]);
                }
                2 => code.op([0x31, 0x3b, 0x3f][self.rng.usize(..3)]),
                3 => {}
                _ => code.op(POP),
            }
        }
    }

    fn self_destruct(&mut self, code: &mut Code) {
        match self.rng.u8(..3) {
            0 => code.op(0x30),
            _ => {
                let target = self.target();
                code.push(target);
            }
        }
        code.op(SELFDESTRUCT);
    }

    fn environment(&mut self, code: &mut Code) {
        const ALONE: [u8; 19] = [
            0x30,
            0x32,
            0x33,
            0x34,
            0x36,
            0x38,
            0x3a,
            RETURNDATASIZE,
            0x41,
            0x42,
            NUMBER,
            0x44,
            0x45,
            0x46,
            0x47,
            0x48,
            0x58,
            0x59,
            GAS,
        ];
        match self.rng.u8(..6) {
            0 | 1 => {
                let target = self.target();
                code.push(target);
                code.op([0x31, 0x3b, 0x3f][self.rng.usize(..3)]);
            }
            2 => {
                code.push(edge(self.rng));
                code.op([0x35, BLOCKHASH][self.rng.usize(..2)]);
            }
            3 => {
                // A block before this one, or this one, or the next.
                code.small(self.rng.u8(..3));
                code.ops(&[NUMBER, 0x03, BLOCKHASH]);
            }
            4 => {
                (0..3).for_each(|_| code.push(extent(self.rng)));
                let target = self.target();
                code.push(target);
                code.op(0x3c);
                return;
            }
            _ => code.op(ALONE[self.rng.usize(..ALONE.len())]),
        }
        code.op(POP);
    }

    /// Jumps over a piece if a calldata word says so.
    fn branch(&mut self, code: &mut Code) {
        let mut skipped = Code::default();
        self.piece(&mut skipped);
        code.small(self.rng.u8(..40));
        code.op(0x35);
        if self.rng.u8(..20) == 0 {
            code.push(if self.rng.bool() { U256::from(self.rng.u8(..)) } else { edge(self.rng) });
            code.op(JUMPI);
            return;
        }
        let destination = code.len() + 4 + skipped.len();
        code.op(0x61);
        code.bytes(&(destination as u16).to_be_bytes());
        code.op(JUMPI);
        code.bytes(skipped.as_slice());
        code.op(JUMPDEST);
    }

    /// A loop: a few rounds, or until something runs out.
    fn repeat(&mut self, code: &mut Code) {
        code.small(self.rng.u8(1..20));
        let start = code.len() as u16;
        code.op(JUMPDEST);
        if self.rng.u8(..8) == 0 {
            // The stack fills up, or gas ends.
            code.ops(&[GAS, 0x61]);
            code.bytes(&start.to_be_bytes());
            code.op(0x56);
            return;
        }
        self.calculation(code);
        // The calculation may leave a word: drop what is above the counter only if it does not store.
        if code.last() != Some(SSTORE) {
            code.op(POP);
        }
        code.small(1);
        code.ops(&[0x90, 0x03, 0x80, 0x61]);
        code.bytes(&start.to_be_bytes());
        code.ops(&[JUMPI, POP]);
    }

    /// DUP and SWAP, deeper than the stack is now and then.
    fn shuffle(&mut self, code: &mut Code) {
        let words = self.rng.u8(1..17);
        (0..words).for_each(|_| code.push(edge(self.rng)));
        for _ in 0..self.rng.usize(1..4) {
            let depth = if self.rng.u8(..30) == 0 { self.rng.u8(..16) } else { self.rng.u8(..words) };
            code.op(if self.rng.bool() { 0x80 } else { 0x8f } + depth.max(1));
        }
    }

    fn rarely(&mut self, code: &mut Code) {
        match self.rng.u8(..7) {
            0 => code.op(self.rng.u8(..)),
            1 => self.self_destruct(code),
            2 => {
                code.push(edge(self.rng));
                code.push(if self.rng.bool() { U256::from(self.rng.u8(..40)) } else { edge(self.rng) });
                code.ops(&[0x0a, POP]);
            }
            3 => code.op(0x5f),
            4 => code.op(ADD),
            _ => {
                code.push(edge(self.rng));
                code.push(edge(self.rng));
                code.op([RETURN, REVERT][self.rng.usize(..2)]);
            }
        }
    }
}
