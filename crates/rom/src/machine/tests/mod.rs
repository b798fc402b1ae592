//! Micro programs and their results (main-state-machine §14).

mod asm;
mod micro;
mod numbers;
mod properties;

use std::collections::HashMap;

use alloy_primitives::{Address, Bytes, U256};
use zkevm_pool::{CancelToken, WorkerPool};
use zkevm_tree::{Digest, NodeData, StateReader, StoreError, TreeMemory};
use zkevm_types::{AccountOverride, L1InfoLeaf};

use super::{Machine, Outcome};
use crate::fea::{self, Fea};
use crate::load::load_part;
use crate::{NoHandler, Program, Register, Request, RomTree};

/// A store of nothing.
struct Nothing;

impl StateReader for Nothing {
    fn node(&self, _hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        Ok(None)
    }

    fn program(&self, _hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
}

/// A program and its request.
struct Case {
    text: String,
    fork: u64,
    constants: Vec<(&'static str, u64)>,
    data: &'static [u8],
    change: fn(&mut Request<'_>),
}

/// What a program leaves.
struct Ran {
    outcome: Outcome,
    registers: super::Registers,
    words: HashMap<u64, Fea>,
    carry: bool,
    balance_sum: (U256, i64),
}

impl Case {
    /// A program of fork 9 and a request of zeros. The line that ends it is added.
    fn new(text: &str) -> Self {
        let text = format!("{text}\nfinalizeExecution: 0 => GAS");
        Self { text, fork: 9, constants: Vec::new(), data: &[], change: |_| {} }
    }

    fn fork(self, fork: u64) -> Self {
        Self { fork, ..self }
    }

    fn with(self, change: fn(&mut Request<'_>)) -> Self {
        Self { change, ..self }
    }

    fn program(&self) -> Program {
        load_part(&asm::assemble(&self.text, &self.constants), self.fork)
            .unwrap_or_else(|error| panic!("{}: {error}", self.text))
    }

    /// Runs the program, lines of the usual shapes in their own ways and in the general one: no difference.
    fn run(&self) -> Ran {
        let (quick, general) = (self.run_program(self.program()), self.run_program(self.program().without_shapes()));
        assert_eq!(quick.outcome, general.outcome, "{}", self.text);
        assert_eq!(quick.registers, general.registers, "{}", self.text);
        assert_eq!((&quick.words, quick.carry), (&general.words, general.carry), "{}", self.text);
        quick
    }

    fn run_program(&self, program: Program) -> Ran {
        let l1_info: HashMap<u32, L1InfoLeaf> = HashMap::new();
        let overrides: HashMap<Address, AccountOverride> = HashMap::new();
        let mut request = request(self.data, &l1_info, &overrides);
        (self.change)(&mut request);
        let tree = RomTree::new(&Nothing, WorkerPool::none(), TreeMemory::default());
        let mut machine = Machine::new(&program, &request, tree);
        let outcome = machine.run(&mut NoHandler, &CancelToken::default()).unwrap();
        let words = [5, 9 << 18 | 5, (9 << 18) + 0x1_0000 + 10, (9 << 18) + 0x2_0000 + 7]
            .into_iter()
            .filter_map(|address| Some((address, machine.memory().written(address)?)))
            .collect();
        Ran {
            outcome,
            registers: machine.registers().clone(),
            words,
            carry: machine.carry,
            balance_sum: machine.balance_sum,
        }
    }

    /// Returns the number of the error; 1 is none.
    fn error(&self) -> i32 {
        self.run().outcome.error.number()
    }
}

fn request<'a>(
    data: &'a [u8],
    l1_info: &'a HashMap<u32, L1InfoLeaf>,
    state_override: &'a HashMap<Address, AccountOverride>,
) -> Request<'a> {
    Request { batch_l2_data: data, ..Request::empty(l1_info, state_override) }
}

impl Ran {
    /// Returns a register as a number.
    fn get(&self, register: Register) -> U256 {
        self.registers.scalar(register).unwrap()
    }

    fn low(&self, register: Register) -> Fea {
        *self.registers.fea(register).unwrap()
    }

    fn steps(&self) -> u64 {
        self.outcome.counters.steps
    }
}

/// Minus one in limb 0.
fn minus_one() -> Fea {
    fea::low(fea::fe_of(-1))
}
