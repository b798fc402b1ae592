//! Puts a program together, line by line, and checks it (main-state-machine §2.6).

use std::collections::HashMap;

use alloy_primitives::U256;

use super::draft::Draft;
use super::numbers::shortened;
use super::{Loaded, UNKNOWN_FIELDS_MAX};
use crate::fea::{self, Fea};
use crate::program::{
    Addressing, Command, Free, HashMachine, Jump, Limits, Line, MemAlign, NONE, Range, Shape, Source, Sum, Term,
    Variable, flags,
};
use crate::rules::Rules;
use crate::scalar::Scalar;
use crate::{Program, memory};
use zkevm_types::Counters;

/// The label whose line ends the run.
const FINAL_LABEL: &str = "finalizeExecution";
/// The name that unsigned requests do not jump to (main-state-machine §6.3).
const SENDER_CODE_LABEL: &str = "invalidIntrinsicTxSenderCode";
/// Labels of the counters, in the order of counters.
const COUNTER_LABELS: [&str; 8] = [
    "outOfCountersStep",
    "outOfCountersArith",
    "outOfCountersBinary",
    "outOfCountersMemalign",
    "outOfCountersKeccak",
    "outOfCountersPadding",
    "outOfCountersPoseidon",
    "outOfCountersSha256",
];
/// Variables of the product of points that a recovery computes; what is foreseen of it is compared, so that a ROM without
/// them is slower and nothing else.
const PRODUCT_VARIABLES: [&str; 6] =
    ["mulPointEc_p1_x", "mulPointEc_p1_y", "mulPointEc_p2_x", "mulPointEc_p2_y", "mulPointEc_k1", "mulPointEc_k2"];
/// Names of their constants.
const COUNTER_CONSTANTS: [&str; 8] =
    ["STEPS", "ARITH", "BINARY", "MEM_ALIGN", "KECCAK_F", "PADDING_PG", "POSEIDON_G", "SHA256_F"];

/// A program in the making.
pub(super) struct Build {
    pub(super) rules: &'static Rules,
    pub(super) lines: Vec<Line>,
    pub(super) terms: Vec<Term>,
    pub(super) constants: Vec<Fea>,
    known_constants: HashMap<Fea, u32>,
    pub(super) commands: Vec<Command>,
    pub(super) numbers: Vec<Scalar>,
    pub(super) error_names: Vec<Box<str>>,
    pub(super) variable_names: Vec<Box<str>>,
    pub(super) known_variables: HashMap<Box<str>, u32>,
    pub(super) labels: HashMap<Box<str>, u32>,
    named_constants: HashMap<String, U256>,
    /// Offset of each memory variable, and whether a line used it in context 0 and in another.
    pub(super) memory_variables: HashMap<String, (u32, bool, bool)>,
    files: Vec<Box<str>>,
    known_files: HashMap<String, u16>,
    places: Vec<(u16, u32)>,
    unknown_fields: Vec<String>,
}

impl Build {
    pub(super) fn new(rules: &'static Rules) -> Self {
        Self {
            rules,
            lines: Vec::new(),
            terms: Vec::new(),
            constants: Vec::new(),
            known_constants: HashMap::new(),
            commands: Vec::new(),
            numbers: Vec::new(),
            error_names: Vec::new(),
            variable_names: Vec::new(),
            known_variables: HashMap::new(),
            labels: HashMap::new(),
            named_constants: HashMap::new(),
            memory_variables: HashMap::new(),
            files: Vec::new(),
            known_files: HashMap::new(),
            places: Vec::new(),
            unknown_fields: Vec::new(),
        }
    }

    pub(super) fn line_count(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn unknown_field(&mut self, name: &str) {
        let name = shortened(name);
        if self.unknown_fields.len() < UNKNOWN_FIELDS_MAX && !self.unknown_fields.contains(&name) {
            self.unknown_fields.push(name);
        }
    }

    pub(super) fn add_label(&mut self, name: String, address: u32) {
        self.labels.insert(name.into(), address);
    }

    pub(super) fn add_constant(&mut self, name: String, value: U256) {
        self.named_constants.insert(name, value);
    }

    /// Checks a line and appends it.
    pub(super) fn add_line(&mut self, draft: Draft) -> Result<(), String> {
        self.check_fork(&draft)?;
        let mut line = Line {
            flags: flags_of(&draft),
            sum: self.sum(&draft)?,
            free: Free::None,
            jump: jump(&draft)?,
            reads: 0,
            reads_after: 0,
            sets_wide: draft.sets_wide,
            sets_small: draft.sets_small,
            inc_stack: draft.inc_stack,
            binary: binary(&draft, self.rules)?,
            arith: arith(&draft, self.rules)?,
            mem_align: at_most_one(&draft.mem_aligns, "memAlign kind")?,
            hash: at_most_one(&draft.hashes, "hash operation")?,
            reserve: 0,
            native: None,
            special: 0,
            offset: draft.offset.unwrap_or(0),
            ind: draft.ind,
            ind_rr: draft.ind_rr,
            jump_to: draft.jump_to.unwrap_or(NONE),
            else_to: draft.else_to.unwrap_or(NONE),
            free_command: NONE,
            free_scales: (draft.free.unwrap_or(0), draft.free0.unwrap_or(0)),
            before: Range::default(),
            after: Range::default(),
            shape: Shape::General,
            addressing: Addressing::General,
            touches: 0,
            target: NONE,
            otherwise: NONE,
        };
        self.set_free(&mut line, &draft)?;
        if line.binary.is_some() || line.arith.is_some() || line.mem_align.is_some() || line.hash.is_some() {
            line.flags |= flags::OPERATION;
        }
        line.before = self.command_list(&draft.before)?;
        line.after = self.command_list(&draft.after)?;
        if draft.use_jump && draft.jump_to.is_none() {
            return Err("useJmpAddr without jmpAddr".to_owned());
        }
        if draft.use_else && draft.else_to.is_none() {
            return Err("useElseAddr without elseAddr".to_owned());
        }
        self.remember_names(&draft)?;
        self.mark_reads(&mut line);
        self.lines.push(line);
        Ok(())
    }

    fn check_fork(&self, draft: &Draft) -> Result<(), String> {
        let refuse = |what: &str| Err(format!("{what} is not part of fork {}", self.rules.id));
        if !self.rules.is_v2 {
            if draft.free0.is_some_and(|scale| scale != 0) {
                return refuse("inFREE0");
            }
            if draft.hashes.iter().any(|(machine, _)| *machine == HashMachine::Sha256)
                || draft.sources.iter().any(|(source, _)| *source == Source::Counter(7))
            {
                return refuse("SHA-256");
            }
        }
        if draft.assume_free && !self.rules.numbered_equations {
            return refuse("assumeFree");
        }
        Ok(())
    }

    /// Returns the sum of the sources, in its simplest form.
    fn sum(&mut self, draft: &Draft) -> Result<Sum, String> {
        let constant = match (draft.wide_constant, draft.constant) {
            (Some(wide), _) => fea::to_fea(wide),
            (None, Some(low)) => fea::low(low),
            (None, None) => fea::ZERO,
        };
        if draft.wide_constant.is_some() && self.rules.constant_overwrites && !draft.sources.is_empty() {
            return Ok(Sum::Constant(self.constant(constant)));
        }
        let has_constant = constant != fea::ZERO;
        match (&draft.sources[..], has_constant) {
            ([], false) => Ok(Sum::Zero),
            ([], true) => Ok(Sum::Constant(self.constant(constant))),
            ([(Source::Wide(register), 1)], false) => Ok(Sum::Register(*register)),
            (sources, _) => {
                let low = constant;
                let is_low = low[1..] == [0; 7];
                let is_wide = |source: &Source| matches!(source, Source::Wide(_) | Source::RotatedC);
                let mut wide = sources.iter().filter(|(source, _)| is_wide(source));
                let wide = (wide.next().copied(), wide.next());
                let first = self.terms.len() as u32;
                let is_kept = |source: &Source| match wide {
                    (Some((Source::Wide(_), 1)), None) if is_low => !is_wide(source),
                    _ => true,
                };
                let kept = sources.iter().filter(|(source, _)| is_kept(source));
                self.terms
                    .extend(kept.map(|(source, coefficient)| Term { source: *source, coefficient: *coefficient }));
                let count = u16::try_from(self.terms.len() - first as usize).map_err(|_| "too many sources")?;
                match wide {
                    (None, _) if is_low => return Ok(Sum::Low(Range { first, count }, low[0])),
                    (Some((Source::Wide(register), 1)), None) if is_low => {
                        return Ok(Sum::RegisterAndLow(register, Range { first, count }, low[0]));
                    }
                    _ => {}
                }
                let constant = if has_constant { self.constant(constant) } else { NONE };
                Ok(Sum::Terms(Range { first, count }, constant))
            }
        }
    }

    fn constant(&mut self, value: Fea) -> u32 {
        let next = self.constants.len() as u32;
        *self.known_constants.entry(value).or_insert_with(|| {
            self.constants.push(value);
            next
        })
    }

    /// Says where the free input comes from (main-state-machine §5.1).
    fn set_free(&mut self, line: &mut Line, draft: &Draft) -> Result<(), String> {
        if line.free_scales == (0, 0) {
            // A file may name a command that nobody evaluates: it has to be a known one all the same.
            return match &draft.tag {
                Some(tag) if !tag.op.is_empty() => self.command(tag).map(drop),
                _ => Ok(()),
            };
        }
        let Some(tag) = &draft.tag else { return Err("a free input without freeInTag".to_owned()) };
        if !tag.op.is_empty() {
            line.free = Free::Command;
            line.free_command = self.command(tag)?;
            return Ok(());
        }
        let sources = [
            (draft.mem_op && !draft.mem_write, Free::Memory),
            (draft.tree_read, Free::TreeRead),
            (draft.tree_write, Free::TreeWrite),
            (line.hash.is_some(), Free::Hash),
            (draft.binary, Free::Binary),
            (line.mem_align == Some(MemAlign::Read), Free::MemAlign),
        ];
        let mut present = sources.iter().filter(|(is_present, _)| *is_present);
        line.free = match (present.next(), present.next()) {
            (Some((_, free)), None) => *free,
            _ => Free::Unclear,
        };
        Ok(())
    }

    /// Remembers the names of variables and files of a line.
    fn remember_names(&mut self, draft: &Draft) -> Result<(), String> {
        if let (Some(name), Some(offset)) = (&draft.offset_label, draft.offset) {
            let offset = u32::try_from(offset).map_err(|_| format!("{name} has a negative offset"))?;
            let entry = self.memory_variables.entry(name.clone()).or_insert((offset, false, false));
            entry.0 = offset;
            if draft.use_ctx {
                entry.2 = true;
            } else {
                entry.1 = true;
            }
        }
        let file = match &draft.file {
            None => "",
            Some(path) => path.rsplit('/').next().unwrap_or(path),
        };
        let number = match self.known_files.get(file) {
            Some(number) => *number,
            None => {
                let number = u16::try_from(self.files.len()).map_err(|_| "too many files")?;
                self.files.push(file.into());
                self.known_files.insert(file.to_owned(), number);
                number
            }
        };
        self.places.push((number, draft.line));
        Ok(())
    }

    /// Checks the program as a whole.
    pub(super) fn finish(mut self, is_whole: bool) -> Result<Loaded, String> {
        if self.lines.is_empty() {
            return Err("a program without lines".to_owned());
        }
        self.check_addresses()?;
        self.mark_lines(is_whole)?;
        let offsets = self.offsets(is_whole)?;
        let limits = self.limits(is_whole)?;
        let product = self.product();
        let natives = self.natives(&limits);
        self.shape_lines();
        if is_whole {
            self.check_constants()?;
        }
        let block_gas_limit = self.named_constants.get("BLOCK_GAS_LIMIT").map_or(0, |limit| limit.saturating_to());
        let unknown_fields = self.unknown_fields;
        let program = Program {
            rules: self.rules,
            lines: self.lines.into(),
            terms: self.terms.into(),
            constants: self.constants.into(),
            commands: self.commands.into(),
            numbers: self.numbers.into(),
            error_names: self.error_names.into(),
            variable_names: self.variable_names.into(),
            offsets,
            product,
            natives,
            limits,
            block_gas_limit,
            labels: self.labels,
            files: self.files.into(),
            places: self.places.into(),
        };
        Ok(Loaded { program, unknown_fields })
    }

    fn check_addresses(&self) -> Result<(), String> {
        let count = self.lines.len() as u32;
        if let Some((name, address)) = self.labels.iter().find(|(_, address)| **address >= count) {
            return Err(format!("label {} is line {address} of {count}", shortened(name)));
        }
        for (number, line) in self.lines.iter().enumerate() {
            let is_out = |address: u32| address != NONE && address >= count;
            if is_out(line.jump_to) || is_out(line.else_to) {
                return Err(format!("line {number}: a jump out of the program"));
            }
        }
        Ok(())
    }

    fn label(&self, name: &str, is_whole: bool) -> Result<Option<u32>, String> {
        match self.labels.get(name) {
            Some(address) => Ok(Some(*address)),
            None if is_whole => Err(format!("no label {name}")),
            None => Ok(None),
        }
    }

    /// Marks the lines at the labels that the machine looks up (main-state-machine §2.5).
    fn mark_lines(&mut self, is_whole: bool) -> Result<(), String> {
        let last = self.label(FINAL_LABEL, true)?.unwrap_or_default();
        self.mark(last, flags::FINAL, 0);
        let request_flags = [
            ("checkAndSaveFrom", flags::CHECK_AND_SAVE_FROM, true),
            ("checkFirstTxType", flags::CHECK_FIRST_TX_TYPE, self.rules.is_v2),
            ("writeBlockInfoRoot", flags::WRITE_BLOCK_INFO_ROOT, self.rules.is_v2),
            ("verifyMerkleProofEnd", flags::VERIFY_MERKLE_PROOF_END, self.rules.is_v2),
        ];
        for (name, special, is_used) in request_flags {
            if !is_used {
                continue;
            }
            if let Some(address) = self.label(name, is_whole)? {
                self.mark(address, flags::SPECIAL, special);
            }
        }
        for name in ["ecrecover_store_args", "ecrecover_end"] {
            self.label(name, is_whole)?;
        }
        if !self.rules.reserves {
            return Ok(());
        }
        for (place, name) in (1_u8..).zip(COUNTER_LABELS) {
            let Some(address) = self.label(name, is_whole)? else { continue };
            for line in &mut self.lines {
                if line.jump == Jump::IfNegative && line.jump_to == address && line.reserve == 0 {
                    line.reserve = place;
                }
            }
        }
        Ok(())
    }

    fn mark(&mut self, address: u32, flag: u32, special: u8) {
        if let Some(line) = self.lines.get_mut(address as usize) {
            // A request may replace the sum.
            line.flags = (line.flags | flag) & !(if special > 0 { flags::LOW_ONLY } else { 0 });
            line.special |= special;
        }
    }

    /// Returns the offsets of the variables that are read by name.
    fn offsets(&self, is_whole: bool) -> Result<[Option<u32>; Variable::COUNT], String> {
        let mut offsets = [None; Variable::COUNT];
        for variable in Variable::all() {
            let name = variable.name();
            let is_needed = is_whole && variable.is_in(self.rules);
            let Some((offset, is_global, is_local)) = self.memory_variables.get(name) else {
                if is_needed {
                    return Err(format!("no memory variable {name}"));
                }
                continue;
            };
            if u64::from(*offset) >= memory::STACK {
                return Err(format!("memory variable {name} has offset {offset}"));
            }
            let agrees = if variable.is_global() { !is_local } else { !is_global };
            if is_needed && !agrees {
                return Err(format!("memory variable {name} is used in the wrong context"));
            }
            offsets[variable as usize] = Some(*offset);
        }
        Ok(offsets)
    }

    fn product(&self) -> Option<[u32; 6]> {
        self.offsets_of(PRODUCT_VARIABLES)
    }

    pub(super) fn offsets_of<const N: usize>(&self, names: [&str; N]) -> Option<[u32; N]> {
        let mut offsets = [0; N];
        for (offset, name) in offsets.iter_mut().zip(names) {
            *offset = self.memory_variables.get(name)?.0;
        }
        Some(offsets)
    }

    fn limits(&self, is_whole: bool) -> Result<Limits, String> {
        let read = |suffix: &str| {
            let mut values = [u64::MAX; 8];
            for (value, counter) in values.iter_mut().zip(COUNTER_CONSTANTS) {
                let name = format!("MAX_CNT_{counter}{suffix}");
                match self.named_constants.get(&name) {
                    Some(constant) => *value = constant.saturating_to(),
                    None if is_whole && (counter != "SHA256_F" || self.rules.is_v2) => {
                        return Err(format!("no constant {name}"));
                    }
                    None => {}
                }
            }
            Ok(Counters::from_array(values))
        };
        Ok(Limits { planned: read("")?, hard: read("_LIMIT")? })
    }

    fn check_constants(&self) -> Result<(), String> {
        let fork = self.named_constants.get("FORK_ID").ok_or("no constant FORK_ID")?;
        if *fork != U256::from(self.rules.id) {
            return Err(format!("the ROM of fork {fork} instead of {}", self.rules.id));
        }
        if self.rules.is_v2 && !self.named_constants.contains_key("BLOCK_GAS_LIMIT") {
            return Err("no constant BLOCK_GAS_LIMIT".to_owned());
        }
        Ok(())
    }
}

fn flags_of(draft: &Draft) -> u32 {
    let hash_address = !draft.hashes.is_empty();
    let jump_address = draft.jumps.iter().any(|jump| *jump != Jump::Return);
    let unsigned = draft.use_else && draft.else_label.as_deref() == Some(SENDER_CODE_LABEL);
    let implied = draft.tag.as_ref().is_some_and(|tag| tag.op.is_empty());
    // What was read as the free input and nothing else cannot differ.
    let is_free_only = implied
        && draft.free == Some(1)
        && draft.free0.unwrap_or(0) == 0
        && draft.sources.is_empty()
        && draft.constant.unwrap_or(0) == 0
        && draft.wide_constant.is_none_or(|value| value.is_zero());
    let bits = [
        (draft.mem_op || draft.mem_write || hash_address || jump_address, flags::ADDRESS),
        (draft.use_ctx, flags::USE_CTX),
        (draft.is_stack, flags::IS_STACK),
        (draft.is_mem, flags::IS_MEM),
        (draft.ind != 0, flags::IND),
        (draft.ind_rr != 0, flags::IND_RR),
        (draft.mem_op && draft.mem_write, flags::MEM_WRITE),
        (draft.mem_op && !draft.mem_write && !is_free_only, flags::MEM_CHECK),
        (draft.assume_free, flags::ASSUME_FREE),
        (draft.assert, flags::ASSERT | flags::OPERATION),
        (draft.tree_read, flags::TREE_READ | flags::OPERATION),
        (draft.tree_write, flags::TREE_WRITE | flags::OPERATION),
        (draft.use_jump, flags::USE_JUMP),
        (draft.use_else, flags::USE_ELSE),
        (unsigned, flags::UNSIGNED_ELSE),
        (draft.repeat, flags::REPEAT),
        (is_free_only, flags::FREE_ONLY),
        (draft.sets_small != 0 || draft.inc_stack != 0 || draft.repeat, flags::SETS_SMALL),
    ];
    bits.iter().filter(|(is_set, _)| *is_set).fold(0, |flags, (_, bit)| flags | bit)
}

fn at_most_one<T: Copy>(found: &[T], what: &str) -> Result<Option<T>, String> {
    match found {
        [] => Ok(None),
        [one] => Ok(Some(*one)),
        _ => Err(format!("more than one {what}")),
    }
}

fn jump(draft: &Draft) -> Result<Jump, String> {
    Ok(at_most_one(&draft.jumps, "jump")?.unwrap_or(Jump::None))
}

fn binary(draft: &Draft, rules: &Rules) -> Result<Option<u8>, String> {
    if !draft.binary {
        return Ok(None);
    }
    let last = if rules.is_v2 { 8 } else { 7 };
    match draft.binary_opcode {
        Some(opcode) if opcode <= last => Ok(Some(opcode as u8)),
        Some(opcode) => Err(format!("binOpcode {opcode}")),
        None => Err("bin without binOpcode".to_owned()),
    }
}

/// Returns the number of the equation, from 0 on.
fn arith(draft: &Draft, rules: &Rules) -> Result<Option<u8>, String> {
    if rules.numbered_equations {
        return match (draft.arith, draft.arith_number) {
            _ if !draft.equations.is_empty() => Err("an equation by flag instead of number".to_owned()),
            (false, _) => Ok(None),
            (true, number @ 1..=8) => Ok(Some(number as u8 - 1)),
            (true, number) => Err(format!("arithEq {number}")),
        };
    }
    if draft.arith || draft.arith_number != 0 {
        return Err(format!("a numbered equation is not part of fork {}", rules.id));
    }
    let equation = at_most_one(&draft.equations, "equation")?;
    match equation {
        Some(number) if number > 2 && !rules.is_v2 => Err(format!("arithEq{number} is not part of fork {}", rules.id)),
        _ => Ok(equation),
    }
}
