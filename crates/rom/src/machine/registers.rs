//! The registers (main-state-machine §3.1).

use alloy_primitives::U256;
use zkevm_types::Counters;

use crate::fea::{self, Fea};
use crate::{Abort, Register};

/// Places in [`Registers::wide`].
pub(crate) mod wide {
    pub(crate) const A: usize = 0;
    pub(crate) const B: usize = 1;
    pub(crate) const C: usize = 2;
    pub(crate) const D: usize = 3;
    pub(crate) const E: usize = 4;
    pub(crate) const SR: usize = 5;
}

/// Places in [`Registers::small`].
pub(crate) mod small {
    pub(crate) const CTX: usize = 0;
    pub(crate) const SP: usize = 1;
    pub(crate) const PC: usize = 2;
    pub(crate) const GAS: usize = 3;
    pub(crate) const RR: usize = 4;
    pub(crate) const HASHPOS: usize = 5;
    pub(crate) const RCX: usize = 6;
}

/// The registers, and the counters, which lines can read as well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Registers {
    /// A, B, C, D, E, SR.
    pub(crate) wide: [Fea; 6],
    /// CTX, SP, PC, GAS, RR, HASHPOS, RCX.
    pub(crate) small: [u64; 7],
    /// Address of the line that runs, in `cmdAfter` of the next one.
    pub(crate) zkpc: u32,
    /// Steps (unused), then A, B, M, K, D, P, H.
    pub(crate) counters: [u64; 8],
}

impl Registers {
    /// Returns the number of the running context.
    pub fn ctx(&self) -> u64 {
        self.small[small::CTX]
    }

    /// Returns the stack pointer, a field element.
    pub fn sp(&self) -> u64 {
        self.small[small::SP]
    }

    /// Returns the program counter of the EVM.
    pub fn pc(&self) -> u64 {
        self.small[small::PC]
    }

    /// Returns the gas left.
    pub fn gas(&self) -> u64 {
        self.small[small::GAS]
    }

    /// Returns the address of the line.
    pub fn zkpc(&self) -> u32 {
        self.zkpc
    }

    /// Returns one of A, B, C, D, E, SR as it is, `None` for a small register.
    pub fn fea(&self, register: Register) -> Option<&Fea> {
        let place = match register {
            Register::A => wide::A,
            Register::B => wide::B,
            Register::C => wide::C,
            Register::D => wide::D,
            Register::E => wide::E,
            Register::Sr => wide::SR,
            _ => return None,
        };
        self.wide.get(place)
    }

    /// Returns a register as a number (main-state-machine §8.2), error 12 if it is none.
    pub fn scalar(&self, register: Register) -> Result<U256, Abort> {
        match self.fea(register) {
            Some(fea) => fea::to_scalar(fea),
            None => Ok(U256::from(self.small_value(register))),
        }
    }

    /// Returns the value of a small register as commands see it; 0 for others.
    pub(crate) fn small_value(&self, register: Register) -> u64 {
        match register {
            Register::Ctx => self.small[small::CTX] & 0xffff_ffff,
            Register::Sp => self.small[small::SP] & 0xffff,
            Register::Pc => self.small[small::PC] & 0xffff_ffff,
            Register::Gas => self.small[small::GAS],
            Register::ZkPc => u64::from(self.zkpc),
            Register::Rr => self.small[small::RR],
            Register::HashPos => self.small[small::HASHPOS],
            Register::CntArith => self.counters[1],
            Register::CntBinary => self.counters[2],
            Register::CntMemAlign => self.counters[3],
            Register::CntKeccakF => self.counters[4],
            Register::CntPaddingPg => self.counters[5],
            Register::CntPoseidonG => self.counters[6],
            // The step shows as zero in this mode, whatever it is.
            Register::Step | Register::A | Register::B | Register::C | Register::D | Register::E | Register::Sr => 0,
        }
    }

    /// Returns the counters; steps are those given.
    pub(crate) fn counters(&self, steps: u64) -> Counters {
        let [_, a, b, m, k, d, p, h] = self.counters;
        Counters::from_array([steps, a, b, m, k, d, p, h])
    }
}
