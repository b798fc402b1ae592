//! A checked ROM: what each line does, decoded once.

mod commands;
mod line;
mod natives;
mod registers;
mod variables;

use std::collections::HashMap;

pub(crate) use commands::{Argument, Binary, Command, CommandId, EventCommand, Forks, Function, Kind, Unary};
pub(crate) use line::{
    Addressing, Free, Hash, HashMachine, Jump, Line, MemAlign, NONE, Range, Shape, Source, Sum, Term, flags,
};
pub(crate) use natives::{AddBytes, Divide, Native, Natives, ProductLoop, Push, ReadCode, Shift};
pub use registers::Register;
pub use variables::Variable;

use crate::fea::Fea;
use crate::rules::Rules;
use crate::scalar::Scalar;
use zkevm_types::Counters;

/// A checked program. Made by [`crate::load`] only.
#[derive(Debug)]
pub struct Program {
    pub(crate) rules: &'static Rules,
    pub(crate) lines: Box<[Line]>,
    pub(crate) terms: Box<[Term]>,
    pub(crate) constants: Box<[Fea]>,
    pub(crate) commands: Box<[Command]>,
    pub(crate) numbers: Box<[Scalar]>,
    /// Names of errors, as `onError` has them.
    pub(crate) error_names: Box<[Box<str>]>,
    /// Names of the variables of commands; how many there are.
    pub(crate) variable_names: Box<[Box<str>]>,
    /// Offsets of the variables that are read by name.
    pub(crate) offsets: [Option<u32>; Variable::COUNT],
    /// Offsets of x1, y1, x2, y2, k1, k2 of the product of points that a recovery computes.
    pub(crate) product: Option<[u32; 6]>,
    /// What native code needs of lines that are known.
    pub(crate) natives: Natives,
    /// Limits whose passing is an error of the batch, and those a batch is planned with.
    pub(crate) limits: Limits,
    pub(crate) block_gas_limit: u64,
    pub(crate) labels: HashMap<Box<str>, u32>,
    pub(crate) files: Box<[Box<str>]>,
    pub(crate) places: Box<[(u16, u32)]>,
}

/// The counters that a ROM allows (main-state-machine §2.5).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// `MAX_CNT_…`: from them the reservations are counted.
    pub(crate) planned: Counters,
    /// `MAX_CNT_…_LIMIT`: nothing may pass them.
    pub(crate) hard: Counters,
}

/// Where a line stands in the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'p> {
    /// Name of the file, without folders; empty if the ROM does not say.
    pub file: &'p str,
    /// Line of the file.
    pub line: u32,
}

impl Program {
    /// Returns the number of the fork the program is for.
    pub fn fork(&self) -> u64 {
        self.rules.id
    }

    /// Returns the number of lines.
    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// Returns the address of a label.
    pub fn label(&self, name: &str) -> Option<u32> {
        self.labels.get(name).copied()
    }

    /// Returns every label and its address.
    pub fn labels(&self) -> impl Iterator<Item = (&str, u32)> {
        self.labels.iter().map(|(name, address)| (&**name, *address))
    }

    /// Returns the place of a line in the sources.
    pub fn place(&self, address: usize) -> Option<Place<'_>> {
        let (file, line) = *self.places.get(address)?;
        Some(Place { file: self.files.get(usize::from(file)).map_or("", |file| file), line })
    }

    /// Returns the offset of a variable that is read by name, `None` if the ROM has no such variable.
    pub fn offset(&self, variable: Variable) -> Option<u64> {
        self.offsets[variable as usize].map(u64::from)
    }

    /// Returns the gas limit of a block; 0 where the ROM knows none.
    pub fn block_gas_limit(&self) -> u64 {
        self.block_gas_limit
    }

    /// Returns the names of the pieces of native code that can take the place of lines ([`crate::Machine::with_intrinsics`]).
    pub fn intrinsics(&self) -> Vec<&'static str> {
        self.lines.iter().filter_map(|line| Some(line.native?.name())).collect()
    }

    /// Leaves every line to the general way to run lines: slower, and no answer differs. For comparisons.
    pub fn without_shapes(mut self) -> Self {
        self.lines.iter_mut().for_each(|line| line.shape = Shape::General);
        self
    }

    /// Returns the counters that no batch may pass.
    pub fn hard_limits(&self) -> Counters {
        self.limits.hard
    }

    /// Returns the counters from which reservations are counted.
    pub fn planned_limits(&self) -> Counters {
        self.limits.planned
    }
}
