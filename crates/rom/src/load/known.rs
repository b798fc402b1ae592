//! Lines that are known by their digest: native code may take their place.

use std::collections::BTreeMap;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::build::Build;
use crate::program::{
    AddBytes, Command, CommandId, Divide, EventCommand, Jump, Limits, Line, NONE, Native, Natives, ProductLoop, Push,
    Range, ReadCode, Shift, Source, Sum, Term, flags,
};

/// SHA-256 of what lines do, as [`Texts::of`] writes it.
const KNOWN: [(Native, &str); 12] = [
    (Native::ProductLoop, "5b5d1fefc1469e0bf2be04dc2116351e2653cfb739ad380a5a1a6c2df503aa41"),
    (Native::ProductLoop, UNCHECKED_DOUBLINGS),
    (Native::ReadCode, "0f28d6d8c87dd2bd24f8ca2cc73e62d5153850ac6157e307c0a26aba340bf3ba"),
    (Native::Push, PUSHES_IN_BLOCKS),
    (Native::Push, "f37ed47d2a992962271ea9aca2ad1911bddf97682dd08c220c1a454ec758ef51"),
    (Native::Push, "a78a07735ac9e887d1d9e43b708b4426264f06aa0eef1efd7474071a0a3253d3"),
    (Native::Divide, "f8eab7c29d92d187961fbb716d8fcaa252c29c777d50983d4efcd2729647feaf"),
    (Native::ShiftBytes, "de23037c771a5d830fe8c5fcbc869b22dcac647d35ccd5048705a56799bacd1e"),
    (Native::ShiftBits, "de23037c771a5d830fe8c5fcbc869b22dcac647d35ccd5048705a56799bacd1e"),
    (Native::SplitOffset, "6da131bb242bb74fdda8c399906ea4924598691d66234d1af879ad23c6e397e7"),
    (Native::AddBytes, "685f0f7015280f0a8e2c6ce4aedb10dee91b3e86a0557aaddce4c003c1d60a85"),
    (Native::DataGas, "f54edb4f1f7584a06b2f5e5b1bc65bed82f6bbf3b5bdaffe1ad5823abdd3265e"),
];
/// ROMs of fork 7, whose doublings are not checked.
const UNCHECKED_DOUBLINGS: &str = "3337007f565d655e60e427759a37af9cb7b30531d1745097f08da321e276e8f5";
/// ROMs up to fork 7, which read the bytes of a PUSH in blocks.
const PUSHES_IN_BLOCKS: &str = "e74170f54c45fc27199af81dfcdc370cb423e80db7366895d2f546ba73455dce";
/// The coefficient of what is subtracted.
const MINUS_ONE: u64 = zkevm_tree::GOLDILOCKS_PRIME - 1;
/// Flags that say what a line does: those after them follow from them.
const KNOWN_FLAGS: u32 = flags::NATIVE - 1;
/// Lines of one part, at most.
const LINES_MAX: usize = 512;
/// Largest limit of a counter: what is left until there is a number for JMPN.
const LIMIT_MAX: u64 = 0xffff_ffff;

impl Build {
    /// Marks the lines at which native code can begin, if its lines are known; returns what that code needs.
    pub(super) fn natives(&mut self, limits: &Limits) -> Natives {
        let mut natives = Natives::default();
        let planned = limits.planned;
        if [planned.steps, planned.binaries, planned.arithmetics].iter().any(|limit| *limit > LIMIT_MAX) {
            return natives;
        }
        for native in Native::ALL {
            let (parts, entry) = native.labels();
            let Some(digest) = Texts::new(self, limits).digest(parts) else { continue };
            let is_known = KNOWN.contains(&(native, digest.as_str()));
            let Some(entry) = self.labels.get(entry).copied().filter(|_| is_known) else { continue };
            if self.set_places(native, &digest, &mut natives).is_some()
                && let Some(line) = self.lines.get_mut(entry as usize)
            {
                line.flags |= flags::NATIVE;
                line.native = Some(native);
            }
        }
        natives
    }

    /// Looks up what the native code for known lines needs.
    fn set_places(&self, native: Native, digest: &str, natives: &mut Natives) -> Option<()> {
        let label = |name: &str| self.labels.get(name).copied();
        match native {
            Native::ProductLoop => {
                let [x1, y1, x2, y2, k1, k2, sum_x, sum_y, both_x, both_y, both_empty] = self.offsets_of([
                    "mulPointEc_p1_x",
                    "mulPointEc_p1_y",
                    "mulPointEc_p2_x",
                    "mulPointEc_p2_y",
                    "mulPointEc_k1",
                    "mulPointEc_k2",
                    "mulPointEc_p3_x",
                    "mulPointEc_p3_y",
                    "mulPointEc_p12_x",
                    "mulPointEc_p12_y",
                    "mulPointEc_p12_empty",
                ])?;
                natives.product_loop = Some(ProductLoop {
                    operands: [x1, y1, x2, y2, k1, k2],
                    sum: [sum_x, sum_y],
                    both: [both_x, both_y],
                    both_empty,
                    doubling_ariths: u64::from(digest != UNCHECKED_DOUBLINGS),
                });
            }
            Native::ReadCode => {
                let [is_create, hash_id, address, length] =
                    self.offsets_of(["isCreateContract", "contractHashId", "txDestAddr", "bytecodeLength"])?;
                let read = self.find("readByteCode", "readCode", |line| line.hash.is_some())?;
                let table = label("mapping_opcodes")?;
                natives.read_code = Some(ReadCode { is_create, hash_id, address, length, read, table });
            }
            Native::Push => {
                let [hash_id, length, bytes] = self.offsets_of(["contractHashId", "bytecodeLength", "pushBytes"])?;
                let blocks = match digest {
                    PUSHES_IN_BLOCKS => Some(self.offsets_of(["numBlocks", "leftBytes", "accumulator"])?),
                    _ => None,
                };
                let returns_to = self.find("opAuxPUSHA", "opAuxPUSHB", |line| line.jump == Jump::Call)? + 1;
                natives.push = Some(Push { hash_id, length, bytes, blocks, returns_to, next: label("readCode")? });
            }
            Native::Divide => natives.divide = Some(self.divide()?),
            Native::ShiftBytes | Native::ShiftBits => {
                let [return_address, b, c, d, e] =
                    self.offsets_of(["tmpSHXZkPC2", "tmpVarBSHX", "tmpVarCSHX", "tmpVarDSHX", "tmpVarESHX"])?;
                let divides = label("divARITH")?;
                let is_division = |line: &Line| line.jump == Jump::Call && line.jump_to == divides;
                let divided = self.find("SHRarith", "SHLarith", is_division)? + 1;
                natives.shift = Some(Shift { divide: self.divide()?, return_address, kept: [b, c, d, e], divided });
            }
            Native::SplitOffset => {
                natives.split_offset = Some(self.offsets_of(["tmpVarAoffsetUtil", "tmpVarBoffsetUtil"])?);
            }
            Native::AddBytes => {
                let [word, count, hash_id, position, last_id] =
                    self.offsets_of(["auxBytes", "tmpVarDaddB", "batchHashDataId", "batchHashPos", "lastHashKIdUsed"])?;
                let start = label("utilsAddBatchHashBytebyByteLoop")?;
                let returns_of = |callee: &str| {
                    let callee = label(callee)?;
                    let is_call = |line: &Line| line.jump == Jump::Call && line.jump_to == callee;
                    Some(self.find("utilsAddBatchHashBytebyByteLoop", "checkBytecodeStartsEF", is_call)? + 1)
                };
                natives.add_bytes = Some(AddBytes {
                    word,
                    count,
                    hash_id,
                    position,
                    last_id,
                    start,
                    shift: label("SHRarith")?,
                    shifted: returns_of("SHRarith")?,
                    hashed: returns_of("addBatchHashData")?,
                });
            }
            Native::DataGas => natives.data_gas = self.offsets_of(["batchHashDataId"])?.into_iter().next(),
        }
        Some(())
    }

    fn divide(&self) -> Option<Divide> {
        let kept = ["tmpVarAArith", "tmpVarBArith", "tmpVarCArith", "tmpVarDArith", "tmpVarEArith"];
        let [return_address] = self.offsets_of(["tmpZkPCArith"])?;
        Some(Divide {
            operands: self.offsets_of(["arithA", "arithB"])?,
            results: self.offsets_of(["arithRes1", "arithRes2"])?,
            return_address,
            kept: self.offsets_of(kept)?,
        })
    }

    /// Returns the address of the first such line between two labels.
    fn find(&self, from: &str, to: &str, is_it: impl Fn(&Line) -> bool) -> Option<u32> {
        let (from, to) = (*self.labels.get(from)?, *self.labels.get(to)?);
        let place = self.lines.get(from as usize..to as usize)?.iter().position(is_it)?;
        u32::try_from(place).ok()?.checked_add(from)
    }
}

/// Writes lines as texts that are the same wherever the lines stand, and whatever the limits are.
struct Texts<'b> {
    build: &'b Build,
    limits: &'b Limits,
    /// The first label of each address.
    labels: BTreeMap<u32, &'b str>,
    /// The first name of each variable, by offset and whether it is one of the running context.
    variables: BTreeMap<(u32, bool), &'b str>,
}

impl<'b> Texts<'b> {
    fn new(build: &'b Build, limits: &'b Limits) -> Self {
        let mut labels = BTreeMap::new();
        for (name, address) in &build.labels {
            let first = labels.entry(*address).or_insert(&**name);
            *first = (*first).min(&**name);
        }
        let mut variables = BTreeMap::new();
        for (name, (offset, is_global, is_local)) in &build.memory_variables {
            for (is_used, use_ctx) in [(is_global, false), (is_local, true)] {
                if *is_used {
                    let first = variables.entry((*offset, use_ctx)).or_insert(name.as_str());
                    *first = (*first).min(name.as_str());
                }
            }
        }
        Self { build, limits, labels, variables }
    }

    /// Returns the digest of the lines between labels, `None` if there are no such lines.
    fn digest(&self, parts: &[(&str, &str)]) -> Option<String> {
        let mut hash = Sha256::new();
        for (start, end) in parts {
            let (start, end) = (*self.build.labels.get(*start)?, *self.build.labels.get(*end)?);
            let lines = self.build.lines.get(start as usize..end as usize)?;
            if lines.is_empty() || lines.len() > LINES_MAX {
                return None;
            }
            lines.iter().for_each(|line| hash.update(self.of(line, (start, end))));
        }
        Some(hash.finalize().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }))
    }

    /// Writes what a line does: addresses from the start of its part on, else by label; variables by name.
    fn of(&self, line: &Line, part: (u32, u32)) -> String {
        let flags = line.flags & KNOWN_FLAGS;
        let Line { sum, free, jump, sets_wide, sets_small, inc_stack, binary, arith, mem_align, hash, special, .. } =
            line;
        let is_target = *jump != Jump::None && *jump != Jump::Return && flags & flags::USE_JUMP == 0;
        let offset = match flags & (flags::IS_STACK | flags::IS_MEM) {
            0 if is_target => self.target(line.offset as u32, part),
            0 if flags & (flags::IND | flags::IND_RR) == 0 && flags & flags::ADDRESS != 0 => {
                self.variable(line.offset as u32, flags & flags::USE_CTX != 0)
            }
            _ => line.offset.to_string(),
        };
        let mut text = format!(
            "{flags:x} {free:?} {jump:?} {sets_wide:x} {sets_small:x} {inc_stack} {binary:?} {arith:?} {mem_align:?} {hash:?} \
             {special} {} {} {:?} {offset} {} {}",
            line.ind,
            line.ind_rr,
            line.free_scales,
            self.target(line.jump_to, part),
            self.target(line.else_to, part),
        );
        let terms_of = |terms: &Range| terms.get(&self.build.terms);
        let constant = match sum {
            Sum::Terms(terms, constant) => {
                let _ = write!(text, " {:?}", terms_of(terms));
                self.build.constants.get(*constant as usize)
            }
            Sum::Constant(constant) => self.build.constants.get(*constant as usize),
            Sum::Low(terms, constant) => {
                let terms = terms_of(terms);
                let _ = match self.margin(line, terms, *constant) {
                    Some((counter, margin)) => write!(text, " counter {counter} {margin}"),
                    None => write!(text, " {terms:?} {constant}"),
                };
                None
            }
            Sum::RegisterAndLow(register, terms, constant) => {
                let _ = write!(text, " {register} {:?} {constant}", terms_of(terms));
                None
            }
            Sum::Zero | Sum::Register(_) => {
                let _ = write!(text, " {sum:?}");
                None
            }
        };
        let _ = write!(text, " {constant:?}");
        self.write_command(&mut text, line.free_command);
        for commands in [line.before, line.after] {
            self.write_commands(&mut text, commands);
        }
        text.push('\n');
        text
    }

    /// Returns the counter that a line compares with its limit, and how much has to be left.
    fn margin(&self, line: &Line, terms: &[Term], constant: u64) -> Option<(usize, i128)> {
        let counter = match terms {
            [Term { source: Source::Step, coefficient: MINUS_ONE }] => 0,
            [Term { source: Source::Counter(counter), coefficient: MINUS_ONE }] => usize::from(*counter),
            _ => return None,
        };
        let limit = *self.limits.planned.to_array().get(counter)?;
        (line.jump == Jump::IfNegative).then(|| (counter, i128::from(limit) - i128::from(constant)))
    }

    fn write_commands(&self, text: &mut String, commands: Range) {
        for command in commands.get(&self.build.commands) {
            if let Command::Argument(root) = command {
                self.write_command(text, *root);
            }
        }
    }

    /// Writes a command and what is below it.
    fn write_command(&self, text: &mut String, id: CommandId) {
        let Some(command) = self.build.commands.get(id as usize) else { return };
        let below: &[CommandId] = match command {
            Command::Set { value, .. } => &[*value],
            Command::Unary(_, operand) => &[*operand],
            Command::Binary(_, left, right) => &[*left, *right],
            Command::If(operands) => operands,
            Command::Function(_, arguments) => arguments,
            Command::Event(EventCommand::Opcode(code)) => &[*code],
            _ => &[],
        };
        let _ = match command {
            Command::Number(place) => write!(text, " ({:?}", self.build.numbers.get(*place as usize)),
            Command::Memory { offset, use_ctx } => {
                write!(text, " ({} {use_ctx}", self.variable(*offset, *use_ctx))
            }
            Command::Unary(operation, _) => write!(text, " ({operation:?}"),
            Command::Binary(operation, ..) => write!(text, " ({operation:?}"),
            Command::If(_) => write!(text, " (if"),
            Command::Function(function, _) => write!(text, " ({function:?}"),
            Command::Set { variable, declares, .. } => write!(text, " (set {variable} {declares}"),
            Command::Event(EventCommand::Opcode(_)) => write!(text, " (opcode"),
            other => write!(text, " ({other:?}"),
        };
        below.iter().filter(|id| **id != NONE).for_each(|id| self.write_command(text, *id));
        text.push(')');
    }

    /// Writes an address of the program.
    fn target(&self, address: u32, (start, end): (u32, u32)) -> String {
        match self.labels.get(&address) {
            _ if (start..=end).contains(&address) => format!("+{}", address - start),
            Some(label) => (*label).to_owned(),
            None if address == NONE => "-".to_owned(),
            None => address.to_string(),
        }
    }

    /// Writes a variable of memory.
    fn variable(&self, offset: u32, use_ctx: bool) -> String {
        let name = self.variables.get(&(offset, use_ctx));
        name.map_or_else(|| offset.to_string(), |name| (*name).to_owned())
    }
}
