//! One line, decoded.

use super::{CommandId, Native};

/// No place, no address, no command.
pub(crate) const NONE: u32 = u32::MAX;

/// Bits of [`Line::flags`].
pub(crate) mod flags {
    /// An address is computed.
    pub(crate) const ADDRESS: u32 = 1;
    /// The address stands in the running context.
    pub(crate) const USE_CTX: u32 = 1 << 1;
    pub(crate) const IS_STACK: u32 = 1 << 2;
    pub(crate) const IS_MEM: u32 = 1 << 3;
    /// E0 takes part in the address.
    pub(crate) const IND: u32 = 1 << 4;
    /// RR takes part in the address.
    pub(crate) const IND_RR: u32 = 1 << 5;
    pub(crate) const MEM_WRITE: u32 = 1 << 6;
    /// A word of memory is compared.
    pub(crate) const MEM_CHECK: u32 = 1 << 7;
    /// The memory takes the free input instead of the sum.
    pub(crate) const ASSUME_FREE: u32 = 1 << 8;
    pub(crate) const ASSERT: u32 = 1 << 9;
    pub(crate) const TREE_READ: u32 = 1 << 10;
    pub(crate) const TREE_WRITE: u32 = 1 << 11;
    /// The target is `jump_to`, not the address.
    pub(crate) const USE_JUMP: u32 = 1 << 12;
    /// `else_to` is where to go when a jump is not taken.
    pub(crate) const USE_ELSE: u32 = 1 << 13;
    /// Unsigned requests take the jump.
    pub(crate) const UNSIGNED_ELSE: u32 = 1 << 14;
    pub(crate) const REPEAT: u32 = 1 << 15;
    /// Requests change what the line does.
    pub(crate) const SPECIAL: u32 = 1 << 16;
    /// The run ends after this line.
    pub(crate) const FINAL: u32 = 1 << 17;
    /// A bin, arith, mem-align, hash or tree operation, or an assertion: everything beyond sums, memory and jumps.
    pub(crate) const OPERATION: u32 = 1 << 18;
    /// The sum is the implied free input and nothing else: what gave it need not be compared with it.
    pub(crate) const FREE_ONLY: u32 = 1 << 19;
    /// Some register is set, or the stack pointer moves.
    pub(crate) const SETS_SMALL: u32 = 1 << 20;

    /// Native code can begin here.
    pub(crate) const NATIVE: u32 = 1 << 21;

    /// The limbs of the sum matter: it is more than carried from one place to another.
    pub(crate) const INSPECTS: u32 = 1 << 22;
    /// The sum is the free input.
    pub(crate) const PLAIN_FREE: u32 = 1 << 23;
    /// The sum is limb 0 alone.
    pub(crate) const LOW_ONLY: u32 = 1 << 26;
    /// There are commands before or after the step.
    pub(crate) const BEFORE: u32 = 1 << 24;
    pub(crate) const AFTER: u32 = 1 << 25;

    /// Bits of [`super::Line::special`]: the label at the line.
    pub(crate) const CHECK_FIRST_TX_TYPE: u8 = 1;
    pub(crate) const WRITE_BLOCK_INFO_ROOT: u8 = 2;
    pub(crate) const VERIFY_MERKLE_PROOF_END: u8 = 4;
    pub(crate) const CHECK_AND_SAVE_FROM: u8 = 8;
}

/// What a line does. Addresses and places are checked when the program is loaded.
///
/// What nearly every step looks at stands in the first 64 bytes.
#[derive(Clone, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line {
    pub(crate) sum: Sum,
    pub(crate) flags: u32,
    pub(crate) offset: i32,
    /// Where a jump goes, and where the program goes on if it is not taken; of lines with a shape.
    pub(crate) target: u32,
    pub(crate) otherwise: u32,
    pub(crate) shape: Shape,
    pub(crate) addressing: Addressing,
    /// Bit n: the shape leaves the line to the general way if register n of A, B, C, D, E, SR is a mark.
    pub(crate) touches: u8,
    pub(crate) free: Free,
    pub(crate) jump: Jump,
    /// Bit n: register n of A, B, C, D, E, SR is set.
    pub(crate) sets_wide: u8,
    /// Bit n: register n of CTX, SP, PC, GAS, RR, HASHPOS, RCX is set.
    pub(crate) sets_small: u8,
    /// Bit n: the limbs of register n of A, B, C, D, E, SR matter.
    pub(crate) reads: u8,
    /// The same for the commands after the step.
    pub(crate) reads_after: u8,
    /// Index of the counter whose reservation the jump shows, plus one.
    pub(crate) reserve: u8,
    /// Added to SP.
    pub(crate) inc_stack: i8,
    /// Command of the free input.
    pub(crate) free_command: CommandId,
    pub(crate) binary: Option<u8>,
    pub(crate) hash: Option<(HashMachine, Hash)>,
    pub(crate) arith: Option<u8>,
    pub(crate) mem_align: Option<MemAlign>,
    pub(crate) jump_to: u32,
    pub(crate) else_to: u32,
    /// Native code that can begin here.
    pub(crate) native: Option<Native>,
    /// What requests change, if `SPECIAL`.
    pub(crate) special: u8,
    pub(crate) ind: i32,
    pub(crate) ind_rr: i32,
    /// Coefficients of the free input, of all limbs and in addition of limb 0. (1, 0) nearly always.
    pub(crate) free_scales: (u64, u64),
    pub(crate) before: Range,
    pub(crate) after: Range,
}

/// What a line does if it is one of the usual ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Anything.
    General,
    /// A sum of limb 0 decides a jump, or sets small registers, or nothing.
    Low,
    /// A sum of limb 0 sets registers, or goes to the memory.
    SetLow,
    /// The same of a constant, of a register, and of one to whose limb 0 something is added.
    Constant,
    Copy,
    CopyAndLow,
    /// The same of a sum of several terms.
    Terms,
    /// A word of memory sets registers.
    Load,
    /// What a binary operation gives sets registers.
    Binary,
    /// A byte out of a hash machine's buffer sets registers.
    HashByte,
    /// A number out of registers, memory and arithmetic sets registers.
    Command,
}

/// How the address of a line is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Addressing {
    /// As its flags say.
    General,
    /// The offset.
    Global,
    /// The offset, in the running context.
    Local,
    /// The offset from the stack pointer, in the stack of the running context.
    Stack,
    /// The offset from E0, in the EVM memory of the running context.
    Indexed,
}

/// The sum of the sources without the free input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    Zero,
    /// Place of the constant.
    Constant(u32),
    /// One of A, B, C, D, E, SR.
    Register(u8),
    /// Terms of limb 0 alone, and a constant of limb 0.
    Low(Range, u64),
    /// One of A, B, C, D, E, SR, and the same in its limb 0.
    RegisterAndLow(u8, Range, u64),
    /// Several terms, and the place of a constant or `NONE`.
    Terms(Range, u32),
}

/// Some neighbours: the first and how many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u32,
    pub(crate) count: u16,
}

impl Range {
    pub(crate) fn get<T>(self, all: &[T]) -> &[T] {
        let first = self.first as usize;
        all.get(first..first + usize::from(self.count)).unwrap_or(&[])
    }
}

/// A source and its coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Term {
    pub(crate) source: Source,
    pub(crate) coefficient: u64,
}

/// A source of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// One of A, B, C, D, E, SR.
    Wide(u8),
    /// One of CTX, SP, PC, GAS, RR, HASHPOS, RCX.
    Small(u8),
    /// One of the counters A, B, M, K, D, P, H, from 1 on.
    Counter(u8),
    Step,
    RotatedC,
}

/// Where the free input comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Free {
    /// There is none.
    None,
    Command,
    Memory,
    TreeRead,
    TreeWrite,
    Hash,
    Binary,
    MemAlign,
    /// No source, or more than one: error 33.
    Unclear,
}

/// The jumps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Jump {
    /// To the next line.
    None,
    Always,
    IfNegative,
    IfCarry,
    IfZero,
    Call,
    Return,
}

/// The kinds of unaligned memory accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MemAlign {
    Read,
    Write,
    Write8,
}

/// The three hash machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashMachine {
    Keccak,
    Poseidon,
    Sha256,
}

/// What a line asks of a hash machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    /// D0 bytes.
    Bytes,
    /// One byte.
    Byte,
    Length,
    Digest,
}
