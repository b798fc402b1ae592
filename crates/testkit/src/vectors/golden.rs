//! Recorded request/answer pairs: an index of JSON lines and two gzipped protobuf messages per case.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{VectorError, read};
use zkevm_types::{ExecutorError, ForkId, RomError};

/// Largest message a recording may unpack to, in bytes.
const MESSAGE_BYTES_MAX: u64 = 256 << 20;
/// Folders below the one named in which an index is looked for.
const DEPTH_MAX: usize = 3;

/// The call that a recording belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum Rpc {
    /// Forks up to 6.
    ProcessBatch,
    /// Forks from 7.
    ProcessBatchV2,
    /// Forks from 7, with a witness and a data stream.
    ProcessStatelessBatchV2,
}

/// One line of an index, as far as replaying needs it.
#[derive(Clone, Debug, Deserialize)]
pub struct GoldenCase {
    /// Name of the case and, with its endings, of its files.
    pub name: String,
    /// The call.
    pub rpc: Rpc,
    /// Fork id of the request; an invalid request may carry any number.
    #[serde(rename = "forkID")]
    pub fork_id: u64,
    /// Path of the vector the request was made from.
    #[serde(default)]
    pub vector: Option<String>,
    /// Family of cases.
    #[serde(default)]
    pub variant: String,
    /// The change within the family.
    #[serde(default)]
    pub case: Option<String>,
    /// Requests of one chain run in order of `step` over one state.
    #[serde(default)]
    pub chain: Option<String>,
    /// Position in the chain.
    #[serde(default)]
    pub step: u32,
    /// The effect on the recorded server when there is no answer.
    #[serde(default)]
    pub effect: Option<String>,
    /// `error` of the answer.
    #[serde(default)]
    pub error: Option<i32>,
    /// `error_rom` of the answer (V2).
    #[serde(default)]
    pub error_rom: Option<i32>,
    /// Distinct errors of the answer's transactions, `NO_ERROR` left out.
    #[serde(default)]
    pub tx_errors: Option<Vec<i32>>,
    /// Folder of the index.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// Errors with which the recorded program gives up for reasons of its own (its overrides, its balance and status
/// checks, large chain ids): no rule of the batch asks for them.
const OWN_ABORTS: [(i32, &str); 6] = [
    (0, "an internal result without a number"),
    (11, "its balance check"),
    (12, "its field-element check of a large chain id"),
    (36, "its storage check of an overridden account"),
    (110, "its state manager on an overridden account"),
    (117, "its check of status against error"),
];

/// Cases with replaced accounts that the recorded program passes over, because their addresses are spelled in another way
/// than it looks for, or are none.
const OVERRIDES_PASSED_OVER: [&str; 3] = ["mixedcase", "override-badaddr", "override-emptyaddr"];

impl GoldenCase {
    /// Returns why there is no recorded answer, if there is none.
    pub fn no_answer(&self) -> Option<String> {
        let effect = || self.effect.clone().unwrap_or_else(|| "no answer was recorded".to_owned());
        self.error.is_none().then(effect)
    }

    /// Returns why the recorded program ran another request than the one it was sent, if it did.
    pub fn misread(&self) -> Option<String> {
        let is_passed_over = self.case.as_deref().is_some_and(|case| OVERRIDES_PASSED_OVER.contains(&case));
        is_passed_over.then(|| "the original passes over an override by the spelling of its address".to_owned())
    }

    /// Returns why the recorded program's answer is not what the rules say, if it is not.
    pub fn own_abort(&self) -> Option<String> {
        if let Some(why) = self.misread() {
            return Some(why);
        }
        match self.error {
            None => self.no_answer(),
            Some(error) => OWN_ABORTS
                .iter()
                .find(|(number, _)| *number == error)
                .map(|(number, why)| format!("the original aborts with error {number}: {why}")),
        }
    }

    /// True if the recorded program spun at a PUSH without data until it was out of steps, in a fork whose proven ROM ends
    /// there (later-forks §1).
    pub fn spun_at_push(&self) -> bool {
        let ends = ForkId::new(self.fork_id).is_some_and(|fork| !fork.rules().truncated_push_loops);
        ends && self.variant == "custom-push" && self.error == Some(ExecutorError::CountersOverflowSteps.number())
    }

    /// True if the recorded program refused a fork that exists here.
    pub fn fork_was_unknown(&self) -> bool {
        self.error == Some(ExecutorError::UnsupportedForkId.number()) && ForkId::new(self.fork_id).is_some()
    }

    /// True for a data stream with payloads of fixed places, which builds later than v6.0.2 refuse.
    pub fn has_flat_stream(&self) -> bool {
        self.rpc == Rpc::ProcessStatelessBatchV2
            && self.case.as_deref().is_some_and(|case| case.starts_with("public-"))
            && self.error == Some(ExecutorError::InvalidDataStream.number())
    }

    /// True if the recorded answer is an out-of-counters one.
    pub fn out_of_counters(&self) -> bool {
        let tx_errors = self.tx_errors.iter().flatten().copied();
        tx_errors.chain(self.error_rom).filter_map(RomError::from_number).any(RomError::is_out_of_counters)
    }

    /// Reads the serialised request.
    pub fn request(&self) -> Result<Vec<u8>, VectorError> {
        unpack(&self.file("req"))
    }

    /// Reads the serialised answer, `None` if the recorded server gave none.
    pub fn answer(&self) -> Result<Option<Vec<u8>>, VectorError> {
        let path = self.file("rsp");
        if path.is_file() { unpack(&path).map(Some) } else { Ok(None) }
    }

    /// Returns the path of the request (`req`) or answer (`rsp`).
    pub fn file(&self, kind: &str) -> PathBuf {
        self.folder.join(format!("{}.{kind}.pb.gz", self.name))
    }
}

/// Reads every index in `folders` or up to three levels below, in the order of the files.
pub fn read_indexes(folders: &[PathBuf]) -> Result<Vec<GoldenCase>, VectorError> {
    let mut cases = Vec::new();
    for folder in folders {
        read_below(folder, DEPTH_MAX, &mut cases)?;
    }
    Ok(cases)
}

/// Recorded answers by the vector they were made from, plain requests only.
pub fn by_vector(folder: &Path) -> Result<HashMap<String, GoldenCase>, VectorError> {
    let mut cases = HashMap::new();
    for case in read_index(&folder.join("INDEX.jsonl"))? {
        if let (Some(vector), "vector") = (&case.vector, case.variant.as_str()) {
            cases.insert(vector.clone(), case);
        }
    }
    Ok(cases)
}

fn read_below(folder: &Path, depth: usize, cases: &mut Vec<GoldenCase>) -> Result<(), VectorError> {
    let index = folder.join("INDEX.jsonl");
    if index.is_file() {
        cases.extend(read_index(&index)?);
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    let unreadable = |source| VectorError::Read { path: folder.to_path_buf(), source };
    let mut below = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_type().map_err(unreadable)?.is_dir() {
            below.push(entry.path());
        }
    }
    below.sort();
    below.iter().try_for_each(|path| read_below(path, depth - 1, cases))
}

fn read_index(path: &Path) -> Result<Vec<GoldenCase>, VectorError> {
    let text = read(path)?;
    let folder = path.parent().unwrap_or(Path::new(".")).to_path_buf();
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let case: GoldenCase = serde_json::from_slice(line)
                .map_err(|source| VectorError::Json { path: path.to_path_buf(), source })?;
            Ok(GoldenCase { folder: folder.clone(), ..case })
        })
        .collect()
}

fn unpack(path: &Path) -> Result<Vec<u8>, VectorError> {
    let packed = read(path)?;
    let mut message = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice())
        .take(MESSAGE_BYTES_MAX)
        .read_to_end(&mut message)
        .map_err(|source| VectorError::Read { path: path.to_path_buf(), source })?;
    Ok(message)
}
