//! `conformance --golden`: recorded requests replayed, whole answers compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::StreamExt;

use super::compare::{Difference, FieldResult, compare};
use super::fields::{Flat, flatten};
use super::summary::{CaseResult, Summary, Verdict};
use super::{ConformanceArgs, ConformanceError, answer, parallel, short_rlp, write_report};
use crate::engine::CommandEngine;
use zkevm_store::MemoryStore;
use zkevm_testkit::vectors::golden::{GoldenCase, Rpc, read_indexes};
use zkevm_types::ForkId;

const OUT_OF_COUNTERS: &str = "the recorded batch ran out of zk counters";
const SPUN_AT_PUSH: &str = "the recorded build of this fork never ends at a PUSH without data; the proven one does";
const FLAT_STREAM: &str = "the recorded build refuses data streams with fixed places, which are read here";
const UNKNOWN_FORK: &str = "the recorded build does not know this fork";
const NO_ROM: &str = "there is no ROM file of this fork";
const SHORT_RLP: &str = "the recorded build leaves out the length byte of data of one byte from 0x80 on";

/// Cases that run one after the other over one state; most groups have one case.
type Group = Vec<GoldenCase>;

/// Replays, prints, writes the report; returns whether nothing differs.
pub(super) fn run(args: &ConformanceArgs) -> Result<bool, ConformanceError> {
    let groups = args.sample(select(read_indexes(&args.paths)?, args));
    if groups.is_empty() {
        return Err(ConformanceError::Nothing);
    }
    let outcomes = match &args.server {
        Some(address) => replay_on_server(address, &groups, args.in_flight.into())?,
        None => replay_in_process(&groups, args, &args.engine.open()?),
    };
    let summary = Summary::new(outcomes);
    summary.print(args);
    write_report(args, &summary.to_json())?;
    Ok(summary.passed())
}

/// Filters and groups; a chain stays whole if any of its steps is wanted.
fn select(cases: Vec<GoldenCase>, args: &ConformanceArgs) -> Vec<Group> {
    let wanted = |case: &GoldenCase| {
        args.selects_fork(case.fork_id)
            && args.selects_name(&case.name)
            && args.variant.as_ref().is_none_or(|variant| *variant == case.variant)
    };
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for case in cases {
        let key = case.chain.as_ref().unwrap_or(&case.name);
        groups.entry(format!("{}/{key}", case.folder.display())).or_default().push(case);
    }
    let mut groups: Vec<Group> = groups.into_values().filter(|group| group.iter().any(wanted)).collect();
    groups.iter_mut().for_each(|group| group.sort_by_key(|case| case.step));
    groups
}

fn name(group: &Group) -> &str {
    group.first().map_or("", |case| case.name.as_str())
}

fn replay_in_process(groups: &[Group], args: &ConformanceArgs, engine: &CommandEngine) -> Vec<CaseResult> {
    let policy = args.counters.policy();
    let replay_group = |group: &Group| {
        let kept = MemoryStore::new(0);
        let replay = |case: &GoldenCase| {
            let ours = case.request().map_err(|error| error.to_string()).and_then(|request| {
                parallel::catch(|| answer::from_engine(case.rpc, &request, &kept, policy, engine))
                    .and_then(|answer| answer)
            });
            judge(case, ours, Judge::of(engine, case))
        };
        group.iter().map(replay).collect::<Vec<_>>()
    };
    let results = parallel::run_all(groups, args.thread_count(), name, replay_group);
    let failed = |group: &Group, why: String| {
        group.iter().map(|case| judge(case, Err(why.clone()), Judge::of(engine, case))).collect::<Vec<_>>()
    };
    results
        .into_iter()
        .zip(groups)
        .flat_map(|(result, group)| result.unwrap_or_else(|why| failed(group, why)))
        .collect()
}

fn replay_on_server(address: &str, groups: &[Group], in_flight: usize) -> Result<Vec<CaseResult>, ConformanceError> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(ConformanceError::Runtime)?;
    runtime.block_on(async {
        let client = answer::connect(address)
            .await
            .map_err(|source| ConformanceError::Connect { address: address.to_owned(), source })?;
        let bar = parallel::progress_bar(groups.len());
        let replay_group = |group: Arc<Group>| {
            let (mut client, bar) = (client.clone(), bar.clone());
            async move {
                let mut answers = Vec::with_capacity(group.len());
                for case in group.iter() {
                    let ours = match case.request() {
                        Ok(request) => answer::from_server(&mut client, case.rpc, &request).await,
                        Err(error) => Err(error.to_string()),
                    };
                    answers.push((case.clone(), ours));
                }
                bar.inc(1);
                answers
            }
        };
        let shared: Vec<Arc<Group>> = groups.iter().cloned().map(Arc::new).collect();
        let answers: Vec<_> =
            futures_util::stream::iter(shared).map(replay_group).buffer_unordered(in_flight).collect().await;
        bar.finish_and_clear();
        let mut outcomes: Vec<CaseResult> =
            answers.into_iter().flatten().map(|(case, ours)| judge(&case, ours, Judge::Bounds)).collect();
        outcomes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(outcomes)
    })
}

/// What is expected of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judge {
    /// Counters are bounds.
    Bounds,
    /// The engine gives up where the original does, spins where its ROM does, and counts what it counts.
    Exact,
    /// The engine that would do so has no ROM of this fork.
    WithoutRom,
}

impl Judge {
    fn of(engine: &CommandEngine, case: &GoldenCase) -> Self {
        match engine {
            CommandEngine::Native(_) => Self::Bounds,
            CommandEngine::Rom(engine) if engine.roms().program(case.fork_id).is_some() => Self::Exact,
            // What exists nowhere is refused by all.
            CommandEngine::Rom(_) if ForkId::new(case.fork_id).is_none() => Self::Exact,
            CommandEngine::Rom(_) => Self::WithoutRom,
        }
    }
}

/// Compares our answer with the recorded one.
fn judge(case: &GoldenCase, ours: Result<Vec<u8>, String>, judge: Judge) -> CaseResult {
    let exact = judge != Judge::Bounds;
    let reasons = [
        (judge == Judge::WithoutRom, NO_ROM),
        (case.out_of_counters() && !exact, OUT_OF_COUNTERS),
        (case.spun_at_push() && !exact, SPUN_AT_PUSH),
        (case.has_flat_stream(), FLAT_STREAM),
        (case.fork_was_unknown(), UNKNOWN_FORK),
    ];
    let known = reasons.into_iter().find(|(holds, _)| *holds).map(|(_, why)| why.to_owned());
    let given_up = if exact { case.no_answer().or_else(|| case.misread()) } else { case.own_abort() };
    let apart = given_up.or(known);
    let (name, fork_id) = (case.name.clone(), case.fork_id);
    let outcome = |ours, verdict| CaseResult { name, fork_id, apart, exact, ours, verdict };
    let message = match case.rpc {
        Rpc::ProcessBatch => "executor.v1.ProcessBatchResponse",
        Rpc::ProcessBatchV2 | Rpc::ProcessStatelessBatchV2 => "executor.v1.ProcessBatchResponseV2",
    };
    let flat = ours.and_then(|bytes| flatten(message, &bytes).map_err(|error| error.to_string()));
    let ours = match flat {
        Ok(ours) => ours,
        // A failure of ours is never excused by what the recorded program did.
        Err(why) => return CaseResult { apart: None, ..outcome(why.clone(), Verdict::Failed(why)) },
    };
    let short = short_answer(&ours);
    let recorded = match case.answer() {
        Ok(Some(bytes)) => flatten(message, &bytes).map_err(|error| error.to_string()),
        Ok(None) => return outcome(short, Verdict::Compared(no_answer(case))),
        Err(error) => Err(error.to_string()),
    };
    match recorded {
        Ok(recorded) => {
            let short_rlp = short_rlp::is_in(&ours, &recorded).then(|| SHORT_RLP.to_owned());
            let result = outcome(short, Verdict::Compared(compare(&ours, &recorded)));
            CaseResult { apart: result.apart.or(short_rlp), ..result }
        }
        Err(why) => outcome(short, Verdict::Failed(format!("recorded answer: {why}"))),
    }
}

/// The comparison with a server that gave no answer: one difference, so that the case is listed.
fn no_answer(case: &GoldenCase) -> super::compare::Comparison {
    let recorded = case.effect.clone().unwrap_or_else(|| "none".to_owned());
    let difference = Difference { place: "answer".to_owned(), ours: "an answer".to_owned(), recorded };
    BTreeMap::from([("answer".to_owned(), FieldResult { equal: 0, different: vec![difference] })])
}

fn short_answer(ours: &Flat) -> String {
    let value = |place: &str| ours.get(place).map_or("-", String::as_str);
    let rom = ours.get("error_rom").map(|error| format!(", error_rom {error}")).unwrap_or_default();
    format!("error {}{rom}, new_state_root {}", value("error"), value("new_state_root"))
}
