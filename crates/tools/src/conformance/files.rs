//! `conformance DIR…`: executor-input files executed, roots compared with the recorded answer or the file's own.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use prost::Message;
use revm::primitives::B256;
use serde_json::{Value, json};

use super::{ConformanceArgs, ConformanceError, parallel, write_report};
use crate::engine::CommandEngine;
use crate::table::{Table, shorten};
use zkevm_pool::Cancelled;
use zkevm_testkit::vectors::golden::{GoldenCase, Rpc, by_vector};
use zkevm_testkit::vectors::manifest::{Manifest, ManifestEntry};
use zkevm_testkit::vectors::{Vector, VectorError, executor_inputs};
use zkevm_types::BATCH_L2_DATA_MAX_BYTES;
use zkevm_types::ExecutorError;
use zkevm_types::TxOutput;
use zkevm_wire::proto::executor::v1 as wire;

const DIFFERENCES_PRINTED: usize = 60;
const TEXT_CHARS_MAX: usize = 300;

/// A file to execute and what is known about it.
struct Job {
    path: PathBuf,
    name: String,
    fork_id: u64,
    entry: Option<ManifestEntry>,
    recording: Option<GoldenCase>,
}

/// A value that is not the expected one.
struct Mismatch {
    what: String,
    ours: String,
    expected: String,
}

/// Result of a file.
enum Verdict {
    Equal,
    Different(Vec<Mismatch>),
    /// The recorded program gave up or ran out of counters: no answer to compare with.
    Apart(String),
    Skipped(String),
}

struct CaseResult {
    verdict: Verdict,
    ours: String,
}

/// An answer as far as this mode compares it.
struct Answer {
    error: i32,
    roots: Option<[B256; 3]>,
    transaction_roots: Vec<B256>,
}

/// Executes every file, prints the table, writes the report; returns whether nothing differs.
pub(super) fn run(args: &ConformanceArgs) -> Result<bool, ConformanceError> {
    let jobs = args.sample(jobs(args)?);
    if jobs.is_empty() {
        return Err(ConformanceError::Nothing);
    }
    let recorded = jobs.iter().filter(|job| job.recording.is_some()).count();
    println!("{} executor-input files, {recorded} of them with a recorded answer", jobs.len());
    let engine = args.engine.open()?;
    let results = parallel::run_all(&jobs, args.thread_count(), |job| job.name.as_str(), |job| execute(job, &engine));
    let outcomes: Vec<CaseResult> = results
        .into_iter()
        .map(|result| {
            result.unwrap_or_else(|panic| CaseResult {
                ours: panic.clone(),
                verdict: Verdict::Different(vec![mismatch("answer", panic, "an answer")]),
            })
        })
        .collect();
    print(&jobs, &outcomes, args.all);
    write_report(args, &to_json(&jobs, &outcomes))?;
    Ok(!outcomes.iter().any(|outcome| matches!(outcome.verdict, Verdict::Different(_))))
}

fn jobs(args: &ConformanceArgs) -> Result<Vec<Job>, ConformanceError> {
    let mut jobs = Vec::new();
    for given in &args.paths {
        let folder = if given.is_dir() { given.as_path() } else { given.parent().unwrap_or(Path::new(".")) };
        let manifest = Manifest::find(folder)?;
        let recordings = recordings(args, &manifest)?;
        for path in executor_inputs(std::slice::from_ref(given))? {
            let name = manifest.name_of(&path);
            let fork_id = match Vector::read_fork_id(&path) {
                Ok(fork_id) => fork_id,
                // Another kind of file that happens to carry the same keys, or a broken one: named when executed.
                Err(VectorError::Json { .. } | VectorError::Value { .. }) => 0,
                Err(error) => return Err(error.into()),
            };
            if args.selects_fork(fork_id) && args.selects_name(&name) {
                let entry = manifest.entry(&name).cloned();
                let recording = recordings.get(&name).cloned();
                jobs.push(Job { path, name, fork_id, entry, recording });
            }
        }
    }
    Ok(jobs)
}

fn recordings(args: &ConformanceArgs, manifest: &Manifest) -> Result<HashMap<String, GoldenCase>, VectorError> {
    if args.no_golden_answers {
        return Ok(HashMap::new());
    }
    match &args.golden_answers {
        Some(folder) => by_vector(folder),
        None => {
            let folder = manifest.root.join("../golden/vectors");
            if folder.join("INDEX.jsonl").is_file() { by_vector(&folder) } else { Ok(HashMap::new()) }
        }
    }
}

fn mismatch(what: impl Into<String>, ours: impl ToString, expected: impl ToString) -> Mismatch {
    Mismatch { what: what.into(), ours: ours.to_string(), expected: expected.to_string() }
}

fn execute(job: &Job, engine: &CommandEngine) -> CaseResult {
    let outcome = |verdict| CaseResult { verdict, ours: String::new() };
    let failed =
        |what: &str, error: &dyn std::error::Error| outcome(Verdict::Different(vec![mismatch(what, error, "-")]));
    let vector = match Vector::read(&job.path) {
        Ok(vector) => vector,
        Err(VectorError::UnsupportedFork(_)) => return outcome(Verdict::Skipped("not yet supported".to_owned())),
        Err(error) => return failed("file", &error),
    };
    let ours = match answer(&vector, engine) {
        Ok(answer) => answer,
        Err(error) => return failed("answer", &error),
    };
    let recorded = match job.recording.as_ref().map(read_answer).transpose() {
        Ok(recorded) => recorded.flatten(),
        Err(error) => return failed("recorded answer", &error),
    };
    let excuse = excuse(job, engine.is_exact());
    let mismatches = match recorded {
        Some(recorded) => differences(&ours, &recorded),
        None if excuse.is_some() => vec![mismatch("answer", "-", "none was recorded")],
        None if job.needs_unknown_option() => {
            return outcome(Verdict::Skipped("needs an option no fork has".to_owned()));
        }
        None => differences(&ours, &expected(&vector, job.entry.as_ref())),
    };
    let verdict = match (mismatches.is_empty(), excuse) {
        (true, _) => Verdict::Equal,
        (false, Some(excuse)) => Verdict::Apart(excuse),
        (false, None) => Verdict::Different(mismatches),
    };
    CaseResult { verdict, ours: ours.summary() }
}

/// Returns why the recorded program's answer, if any, is not the one the rules ask for.
fn excuse(job: &Job, exact: bool) -> Option<String> {
    match &job.recording {
        Some(case) if exact => case.no_answer(),
        Some(case) => case
            .own_abort()
            .or_else(|| case.out_of_counters().then(|| "the recorded batch ran out of zk counters".to_owned())),
        None => {
            let errors = &job.entry.as_ref()?.accept_errors;
            (!errors.is_empty()).then(|| format!("a reference executor aborts with error {errors:?}"))
        }
    }
}

impl Job {
    fn needs_unknown_option(&self) -> bool {
        self.entry.as_ref().is_some_and(|entry| entry.needs.iter().any(|need| need == "debug.gas_limit"))
    }
}

/// Executes the batch, after the one check of the service that vectors run into.
fn answer(vector: &Vector, engine: &CommandEngine) -> Result<Answer, Cancelled> {
    if vector.input.batch_l2_data.len() > BATCH_L2_DATA_MAX_BYTES {
        let error = ExecutorError::InvalidBatchL2Data.number();
        return Ok(Answer { error, roots: None, transaction_roots: Vec::new() });
    }
    let output = engine.process_vector(vector)?;
    let root = |tx: &TxOutput| tx.state_root;
    let in_blocks = output.blocks.iter().flat_map(|block| &block.transactions).map(root);
    Ok(Answer {
        error: output.error.number(),
        roots: output.roots.map(|roots| [roots.new_state_root, roots.new_acc_input_hash, roots.new_local_exit_root]),
        transaction_roots: output.transactions.iter().map(root).chain(in_blocks).collect(),
    })
}

fn read_answer(case: &GoldenCase) -> Result<Option<Answer>, VectorError> {
    let Some(bytes) = case.answer()? else { return Ok(None) };
    let undecodable = |source| VectorError::Message { path: case.file("rsp"), source };
    let root = |bytes: &[u8]| B256::left_padding_from(bytes.get(..32).unwrap_or(bytes));
    let roots = |new_state_root: &[u8], hash: &[u8], exit: &[u8]| {
        (!new_state_root.is_empty()).then(|| [root(new_state_root), root(hash), root(exit)])
    };
    Ok(Some(match case.rpc {
        Rpc::ProcessBatch => {
            let answer = wire::ProcessBatchResponse::decode(bytes.as_slice()).map_err(undecodable)?;
            Answer {
                error: answer.error,
                roots: roots(&answer.new_state_root, &answer.new_acc_input_hash, &answer.new_local_exit_root),
                transaction_roots: answer.responses.iter().map(|tx| root(&tx.state_root)).collect(),
            }
        }
        Rpc::ProcessBatchV2 | Rpc::ProcessStatelessBatchV2 => {
            let answer = wire::ProcessBatchResponseV2::decode(bytes.as_slice()).map_err(undecodable)?;
            let transactions = answer.block_responses.iter().flat_map(|block| &block.responses);
            Answer {
                error: answer.error,
                roots: roots(&answer.new_state_root, &answer.new_acc_input_hash, &answer.new_local_exit_root),
                transaction_roots: transactions.map(|tx| root(&tx.state_root)).collect(),
            }
        }
    }))
}

/// The result the file names, outdated values replaced. It has no roots of single transactions.
fn expected(vector: &Vector, entry: Option<&ManifestEntry>) -> Answer {
    let recomputed = entry.map(|entry| entry.recomputed).unwrap_or_default();
    let pick = |new: Option<zkevm_testkit::vectors::json::HexWord>, own: B256| new.map_or(own, |word| word.0);
    let own = vector.expected;
    let roots = [
        pick(recomputed.new_state_root, own.new_state_root),
        pick(recomputed.new_acc_input_hash, own.new_acc_input_hash),
        pick(recomputed.new_local_exit_root, own.new_local_exit_root),
    ];
    Answer { error: ExecutorError::NoError.number(), roots: Some(roots), transaction_roots: Vec::new() }
}

fn differences(ours: &Answer, expected: &Answer) -> Vec<Mismatch> {
    let mut found = Vec::new();
    if ours.error != expected.error {
        found.push(mismatch("error", ours.error, expected.error));
    }
    match (&ours.roots, &expected.roots) {
        (Some(ours), Some(expected)) => {
            let names = ["new_state_root", "new_acc_input_hash", "new_local_exit_root"];
            for ((name, ours), expected) in names.into_iter().zip(ours).zip(expected) {
                if ours != expected {
                    found.push(mismatch(name, ours, expected));
                }
            }
        }
        (None, None) => {}
        (ours, expected) => found.push(mismatch("roots", set(ours.is_some()), set(expected.is_some()))),
    }
    if expected.transaction_roots.is_empty() {
        return found;
    }
    let (count, wanted) = (ours.transaction_roots.len(), expected.transaction_roots.len());
    if count != wanted {
        found.push(mismatch("transactions", count, wanted));
    }
    let pairs = ours.transaction_roots.iter().zip(&expected.transaction_roots).enumerate();
    if let Some((index, (ours, expected))) = pairs.into_iter().find(|(_, (ours, expected))| ours != expected) {
        found.push(mismatch(format!("state root of transaction {index} (the first to differ)"), ours, expected));
    }
    found
}

fn set(is_set: bool) -> &'static str {
    if is_set { "set" } else { "not set" }
}

impl Answer {
    fn summary(&self) -> String {
        let root = self.roots.map_or_else(|| "none".to_owned(), |roots| roots[0].to_string());
        format!("error {}, new_state_root {root}", self.error)
    }
}

fn print(jobs: &[Job], outcomes: &[CaseResult], all: bool) {
    let limit = if all { usize::MAX } else { DIFFERENCES_PRINTED };
    let mut different = 0_usize;
    for (job, outcome) in jobs.iter().zip(outcomes) {
        let Verdict::Different(mismatches) = &outcome.verdict else { continue };
        different += 1;
        if different > limit {
            continue;
        }
        println!("{}", job.name);
        for mismatch in mismatches {
            println!("  {}", mismatch.what);
            println!("    ours      {}", shorten(&mismatch.ours, TEXT_CHARS_MAX));
            println!("    expected  {}", shorten(&mismatch.expected, TEXT_CHARS_MAX));
        }
    }
    if different > limit {
        println!("… and {} more files that differ (--all, --report FILE)", different - limit);
    }
    for (job, outcome) in jobs.iter().zip(outcomes) {
        if let Verdict::Apart(why) = &outcome.verdict {
            println!("apart: {}: {why}; our answer: {}", job.name, outcome.ours);
        }
    }
    print_forks(jobs, outcomes);
}

fn print_forks(jobs: &[Job], outcomes: &[CaseResult]) {
    #[derive(Default)]
    struct Sums {
        numbers: [usize; 5],
        reasons: BTreeMap<String, usize>,
    }
    let mut forks: BTreeMap<u64, Sums> = BTreeMap::new();
    for (job, outcome) in jobs.iter().zip(outcomes) {
        let sums = forks.entry(job.fork_id).or_default();
        let column = match &outcome.verdict {
            Verdict::Equal => 1,
            Verdict::Different(_) => 2,
            Verdict::Apart(_) => 3,
            Verdict::Skipped(reason) => {
                *sums.reasons.entry(reason.clone()).or_default() += 1;
                4
            }
        };
        sums.numbers[0] += 1;
        sums.numbers[column] += 1;
    }
    let mut table = Table::new(&["fork id", "cases", "equal", "different", "apart", "skipped", "reason"]);
    let mut total = [0; 5];
    for (fork, sums) in forks {
        total.iter_mut().zip(sums.numbers).for_each(|(total, number)| *total += number);
        let reasons: Vec<String> = sums.reasons.iter().map(|(reason, count)| format!("{reason} ({count})")).collect();
        let numbers = sums.numbers.iter().map(ToString::to_string);
        table.row(std::iter::once(fork.to_string()).chain(numbers).chain([reasons.join(", ")]).collect());
    }
    table.row(std::iter::once("all".to_owned()).chain(total.iter().map(ToString::to_string)).collect());
    println!("\n{table}");
}

fn to_json(jobs: &[Job], outcomes: &[CaseResult]) -> Value {
    let case = |(job, outcome): (&Job, &CaseResult)| {
        let (verdict, reason) = match &outcome.verdict {
            Verdict::Equal => ("equal", None),
            Verdict::Different(_) => ("different", None),
            Verdict::Apart(why) => ("apart", Some(why)),
            Verdict::Skipped(why) => ("skipped", Some(why)),
        };
        let mismatches = match &outcome.verdict {
            Verdict::Different(mismatches) => mismatches.as_slice(),
            _ => &[],
        };
        json!({
            "name": job.name, "forkID": job.fork_id, "verdict": verdict, "reason": reason, "ours": outcome.ours,
            "recorded": job.recording.is_some(),
            "differences": mismatches.iter()
                .map(|mismatch| json!({"what": mismatch.what, "ours": mismatch.ours, "expected": mismatch.expected}))
                .collect::<Vec<_>>(),
        })
    };
    json!({ "cases": jobs.iter().zip(outcomes).map(case).collect::<Vec<_>>() })
}
