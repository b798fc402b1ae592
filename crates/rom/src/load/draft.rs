//! The fields of one line, as they come (main-state-machine §2.2).

use alloy_primitives::U256;
use serde::de::{Error, IgnoredAny, MapAccess};

use super::numbers;
use super::raw::{Name, RawCommand, RawCommands};
use crate::program::{Hash, HashMachine, Jump, MemAlign, Source};

/// What was read of a line so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) sources: Vec<(Source, u64)>,
    /// Coefficients of the free input: all limbs, limb 0.
    pub(super) free: Option<u64>,
    pub(super) free0: Option<u64>,
    pub(super) tag: Option<RawCommand>,
    pub(super) constant: Option<u64>,
    pub(super) wide_constant: Option<U256>,
    pub(super) sets_wide: u8,
    pub(super) sets_small: u8,
    pub(super) mem_op: bool,
    pub(super) mem_write: bool,
    pub(super) assume_free: bool,
    pub(super) offset: Option<i32>,
    pub(super) offset_label: Option<String>,
    pub(super) ind: i32,
    pub(super) ind_rr: i32,
    pub(super) use_ctx: bool,
    pub(super) is_stack: bool,
    pub(super) is_mem: bool,
    pub(super) inc_stack: i8,
    pub(super) assert: bool,
    pub(super) tree_read: bool,
    pub(super) tree_write: bool,
    pub(super) hashes: Vec<(HashMachine, Hash)>,
    /// Numbers of the equations whose flag is set.
    pub(super) equations: Vec<u8>,
    pub(super) arith: bool,
    pub(super) arith_number: u64,
    pub(super) binary: bool,
    pub(super) binary_opcode: Option<u64>,
    pub(super) mem_aligns: Vec<MemAlign>,
    pub(super) jumps: Vec<Jump>,
    pub(super) jump_to: Option<u32>,
    pub(super) use_jump: bool,
    pub(super) else_to: Option<u32>,
    pub(super) else_label: Option<String>,
    pub(super) use_else: bool,
    pub(super) repeat: bool,
    pub(super) before: Vec<RawCommand>,
    pub(super) after: Vec<RawCommand>,
    pub(super) file: Option<String>,
    pub(super) line: u32,
}

/// True if a field of this name might do something: a machine that ignores it would compute a wrong root.
pub(super) fn acts(name: &str) -> bool {
    const PREFIXES: &[&str] = &[
        "in", "set", "hash", "arith", "memAlign", "JMP", "jmp", "CONST", "cmd", "free", "use", "is", "bin", "else",
        "call", "return", "repeat", "assert", "assume",
    ];
    let operation = name.len() > 1 && name.starts_with(['s', 'm']) && name[1..].starts_with(char::is_uppercase);
    operation || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

impl Draft {
    /// Reads the value of a field. Returns false, with nothing read, if no machine knows the field.
    pub(super) fn read_field<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<bool, M::Error> {
        if let Some(source) = source(name) {
            let coefficient = element(map)?;
            if coefficient != 0 {
                self.sources.push((source, coefficient));
            }
            return Ok(true);
        }
        if let Some((place, is_wide)) = setter(name) {
            let sets = if is_wide { &mut self.sets_wide } else { &mut self.sets_small };
            *sets |= u8::from(flag(map)?) << place;
            return Ok(true);
        }
        if let Some(hash) = hash(name) {
            if flag(map)? {
                self.hashes.push(hash);
            }
            return Ok(true);
        }
        if let Some(jump) = jump(name) {
            if flag(map)? {
                self.jumps.push(jump);
            }
            return Ok(true);
        }
        self.read_other(name, map)
    }

    fn read_other<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<bool, M::Error> {
        match name {
            "inFREE" => self.free = Some(element(map)?),
            "inFREE0" => self.free0 = Some(element(map)?),
            "freeInTag" => self.tag = Some(map.next_value()?),
            "CONST" => self.constant = Some(element(map)?),
            "CONSTL" => {
                let text = map.next_value::<Name<'_>>()?;
                self.wide_constant = Some(numbers::wide(&text.0).map_err(M::Error::custom)?);
            }
            "mOp" => self.mem_op = flag(map)?,
            "mWR" => self.mem_write = flag(map)?,
            "assumeFree" => self.assume_free = flag(map)?,
            "offset" => self.offset = Some(map.next_value()?),
            "offsetLabel" => self.offset_label = Some(map.next_value()?),
            "ind" => self.ind = map.next_value()?,
            "indRR" => self.ind_rr = map.next_value()?,
            "useCTX" => self.use_ctx = flag(map)?,
            "isStack" => self.is_stack = flag(map)?,
            "isMem" => self.is_mem = flag(map)?,
            "incStack" => self.inc_stack = step(map)?,
            "assert" => self.assert = flag(map)?,
            "sRD" => self.tree_read = flag(map)?,
            "sWR" => self.tree_write = flag(map)?,
            "arithEq0" | "arithEq1" | "arithEq2" | "arithEq3" | "arithEq4" | "arithEq5" => {
                if flag(map)? {
                    self.equations.push(name.as_bytes()[7] - b'0');
                }
            }
            "arith" => self.arith = flag(map)?,
            "arithEq" => self.arith_number = map.next_value()?,
            "bin" => self.binary = flag(map)?,
            "binOpcode" => self.binary_opcode = Some(map.next_value()?),
            "memAlignRD" => self.mem_align(map, MemAlign::Read)?,
            "memAlignWR" => self.mem_align(map, MemAlign::Write)?,
            "memAlignWR8" => self.mem_align(map, MemAlign::Write8)?,
            "jmpAddr" => self.jump_to = Some(map.next_value()?),
            "useJmpAddr" => self.use_jump = flag(map)?,
            "elseAddr" => self.else_to = Some(map.next_value()?),
            "elseAddrLabel" => self.else_label = Some(map.next_value()?),
            "useElseAddr" => self.use_else = flag(map)?,
            "repeat" => self.repeat = flag(map)?,
            "cmdBefore" => self.before = map.next_value::<RawCommands>()?.0,
            "cmdAfter" => self.after = map.next_value::<RawCommands>()?.0,
            "fileName" => self.file = Some(map.next_value()?),
            "line" => self.line = map.next_value()?,
            // For people, for the compiler, or for the proof.
            "lineStr" | "jmpAddrLabel" | "maxInd" | "baseLabel" | "sizeLabel" | "extraOffset" | "arithSame12"
            | "arithUseE" => {
                map.next_value::<IgnoredAny>()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn mem_align<'de, M: MapAccess<'de>>(&mut self, map: &mut M, kind: MemAlign) -> Result<(), M::Error> {
        if flag(map)? {
            self.mem_aligns.push(kind);
        }
        Ok(())
    }
}

/// Reads 0 or 1.
fn flag<'de, M: MapAccess<'de>>(map: &mut M) -> Result<bool, M::Error> {
    match map.next_value::<u64>()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(M::Error::custom(format!("{other} instead of 0 or 1"))),
    }
}

/// Reads −1, 0 or 1.
fn step<'de, M: MapAccess<'de>>(map: &mut M) -> Result<i8, M::Error> {
    match map.next_value::<i64>()? {
        step @ -1..=1 => Ok(step as i8),
        other => Err(M::Error::custom(format!("{other} instead of -1, 0 or 1"))),
    }
}

/// Reads a decimal number as a field element.
fn element<'de, M: MapAccess<'de>>(map: &mut M) -> Result<u64, M::Error> {
    numbers::element(&map.next_value::<Name<'_>>()?.0).map_err(M::Error::custom)
}

fn source(name: &str) -> Option<Source> {
    Some(match name {
        "inA" => Source::Wide(0),
        "inB" => Source::Wide(1),
        "inC" => Source::Wide(2),
        "inD" => Source::Wide(3),
        "inE" => Source::Wide(4),
        "inSR" => Source::Wide(5),
        "inCTX" => Source::Small(0),
        "inSP" => Source::Small(1),
        "inPC" => Source::Small(2),
        "inGAS" => Source::Small(3),
        "inRR" => Source::Small(4),
        "inHASHPOS" => Source::Small(5),
        "inRCX" => Source::Small(6),
        "inSTEP" => Source::Step,
        "inROTL_C" => Source::RotatedC,
        "inCntArith" => Source::Counter(1),
        "inCntBinary" => Source::Counter(2),
        "inCntMemAlign" => Source::Counter(3),
        "inCntKeccakF" => Source::Counter(4),
        "inCntPaddingPG" => Source::Counter(5),
        "inCntPoseidonG" => Source::Counter(6),
        "inCntSha256F" => Source::Counter(7),
        _ => return None,
    })
}

/// Returns the bit of a setter, and whether its register is a wide one.
fn setter(name: &str) -> Option<(u8, bool)> {
    Some(match name {
        "setA" => (0, true),
        "setB" => (1, true),
        "setC" => (2, true),
        "setD" => (3, true),
        "setE" => (4, true),
        "setSR" => (5, true),
        "setCTX" => (0, false),
        "setSP" => (1, false),
        "setPC" => (2, false),
        "setGAS" => (3, false),
        "setRR" => (4, false),
        "setHASHPOS" => (5, false),
        "setRCX" => (6, false),
        _ => return None,
    })
}

fn hash(name: &str) -> Option<(HashMachine, Hash)> {
    let rest = name.strip_prefix("hash")?;
    let machine = match rest.as_bytes().first()? {
        b'K' => HashMachine::Keccak,
        b'P' => HashMachine::Poseidon,
        b'S' => HashMachine::Sha256,
        _ => return None,
    };
    let what = match &rest[1..] {
        "" => Hash::Bytes,
        "1" => Hash::Byte,
        "Len" => Hash::Length,
        "Digest" => Hash::Digest,
        _ => return None,
    };
    Some((machine, what))
}

fn jump(name: &str) -> Option<Jump> {
    Some(match name {
        "JMP" => Jump::Always,
        "JMPN" => Jump::IfNegative,
        "JMPC" => Jump::IfCarry,
        "JMPZ" => Jump::IfZero,
        "call" => Jump::Call,
        "return" => Jump::Return,
        _ => return None,
    })
}
