//! zk counters against their known answers: the virtual model's totals and the recorded counters of the ROM.
//!
//! The vectors and the recordings are not part of this repository. Without them a test says so and passes.

use std::path::PathBuf;
use std::sync::Arc;

use prost::Message;
use serde_json::Value;
use zkevm_counters::CounterMeter;
use zkevm_counters::model::{Prices, R7, R9, R12};
use zkevm_pool::CancelToken;
use zkevm_store::{Durability, MemoryStore, RequestOverlay, StateWriter};
use zkevm_testkit::skip;
use zkevm_testkit::vectors::golden::{GoldenCase, Rpc, read_indexes};
use zkevm_testkit::vectors::input::Vector;
use zkevm_types::BatchInput;
use zkevm_types::Counters;
use zkevm_wire::proto::executor::v1::{
    ProcessBatchRequest, ProcessBatchRequestV2, ProcessBatchResponse, ProcessBatchResponseV2,
    ProcessStatelessBatchRequestV2,
};
use zkevm_wire::validate::{self, ValidationRules};

const NAMES: [&str; 8] = ["steps", "arith", "binary", "memAlign", "keccaks", "padding", "poseidon", "sha256"];

/// Totals of the virtual model for the public vectors (counters §18).
const KNOWN_ANSWERS: &[u8] = include_bytes!("../docs/spec/counters-known-answers.json");

fn array(value: &Value) -> Option<[u64; 8]> {
    let numbers: Vec<u64> = match value {
        Value::Array(items) => items.iter().filter_map(Value::as_u64).collect(),
        Value::Object(items) => {
            NAMES.iter().map(|name| items.get(*name).and_then(Value::as_u64).unwrap_or(0)).collect()
        }
        _ => return None,
    };
    numbers.try_into().ok()
}

fn model(vector: &Vector, prices: Prices) -> [u64; 8] {
    let nothing = MemoryStore::new(0);
    let input = &vector.input;
    let state = RequestOverlay { base: &nothing, nodes: &input.db, programs: &input.contracts_bytecode };
    let output =
        zkevm_processor::Engine::default().process_priced(input, &state, &CancelToken::default(), prices).unwrap();
    output.model_counters.to_array()
}

/// Vectors whose totals are explained by something else than the revision (counters §18.4, and this engine's stop rule).
const EXPLAINED: [&str; 1] = [
    // Made with a test ROM of another transaction gas limit: the release refuses the transaction.
    "executor-input/fork-9/ethereum-tests/tests-30M/",
];

#[test]
fn the_model_gives_the_known_answers() {
    let Some(inputs) = skip::vectors("executor-input") else { return };
    let vectors = inputs.parent().expect("it has a name");
    let known: Value = serde_json::from_slice(KNOWN_ANSWERS).unwrap();
    let mut wrong = Vec::new();
    let mut checked = 0;
    let all = std::env::var_os("ZKEVM_VECTORS_ALL").is_some();
    for entry in known["vectors"].as_array().unwrap().iter().step_by(if all { 1 } else { 7 }) {
        let path = entry["path"].as_str().unwrap();
        let file = vectors.join(path);
        let vector = Vector::read(&file).unwrap();
        let mut check = |name: &str, prices: Prices, expected: Option<[u64; 8]>| {
            let Some(expected) = expected else { return };
            let ours = model(&vector, prices);
            checked += 1;
            if ours != expected && !EXPLAINED.iter().any(|folder| path.starts_with(folder)) {
                wrong.push(format!("{path} {name}\n  ours     {ours:?}\n  expected {expected:?}"));
            }
        };
        check("R12", Prices::new(&R12, 0), array(&entry["R12"]));
        let revision = match entry["file_revision"].as_str() {
            Some("R7") => &R7,
            Some("R9") => &R9,
            _ => continue,
        };
        let content: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        check(revision.name, Prices::new(revision, 0), array(&content["virtualCounters"]));
    }
    eprintln!("{checked} totals checked, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{} of {checked} totals differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Counters of a case and what was reserved, ours and the recorded ones, in the order of the specification.
struct Recorded {
    used: [[u64; 8]; 2],
    reserved: [[u64; 8]; 2],
    /// What the ROM surely counts, or wants free.
    at_least: [u64; 8],
    no_counters: bool,
}

fn recorded(case: &GoldenCase, kept: &MemoryStore) -> Option<Recorded> {
    let request = case.request().unwrap();
    let answer = case.answer().unwrap()?;
    let rules = ValidationRules::default();
    let (input, theirs, reserved) = match case.rpc {
        Rpc::ProcessBatch => {
            let input = validate::process_batch(ProcessBatchRequest::decode(&*request).unwrap(), rules).ok()?;
            let r = ProcessBatchResponse::decode(&*answer).unwrap();
            let theirs = [
                r.cnt_steps,
                r.cnt_arithmetics,
                r.cnt_binaries,
                r.cnt_mem_aligns,
                r.cnt_keccak_hashes,
                r.cnt_poseidon_paddings,
                r.cnt_poseidon_hashes,
                0,
            ];
            (input, theirs, [0; 8])
        }
        Rpc::ProcessBatchV2 | Rpc::ProcessStatelessBatchV2 => {
            let input = if case.rpc == Rpc::ProcessBatchV2 {
                validate::process_batch_v2(ProcessBatchRequestV2::decode(&*request).unwrap(), rules).ok()?
            } else {
                let request = ProcessStatelessBatchRequestV2::decode(&*request).unwrap();
                validate::process_stateless_batch_v2(request, rules).ok()?
            };
            let r = ProcessBatchResponseV2::decode(&*answer).unwrap();
            let theirs = [
                r.cnt_steps,
                r.cnt_arithmetics,
                r.cnt_binaries,
                r.cnt_mem_aligns,
                r.cnt_keccak_hashes,
                r.cnt_poseidon_paddings,
                r.cnt_poseidon_hashes,
                r.cnt_sha256_hashes,
            ];
            let reserved = [
                r.cnt_reserve_steps,
                r.cnt_reserve_arithmetics,
                r.cnt_reserve_binaries,
                r.cnt_reserve_mem_aligns,
                r.cnt_reserve_keccak_hashes,
                r.cnt_reserve_poseidon_paddings,
                r.cnt_reserve_poseidon_hashes,
                r.cnt_reserve_sha256_hashes,
            ];
            (input, theirs, reserved)
        }
    };
    let no_counters = input.no_counters;
    let [used, our_reserved, at_least] = run(&input, kept).map(Counters::to_array);
    let [theirs, their_reserved] = [theirs, reserved].map(|values| values.map(u64::from));
    Some(Recorded { used: [used, theirs], reserved: [our_reserved, their_reserved], at_least, no_counters })
}

/// What was used, what was reserved, and what the ROM surely counts or wants free.
fn run(input: &BatchInput, kept: &MemoryStore) -> [Counters; 3] {
    let state = RequestOverlay { base: kept, nodes: &input.db, programs: &input.contracts_bytecode };
    let meter = CounterMeter::new(input, Prices::of_fork(input.fork_id.rules()));
    let engine = zkevm_processor::Engine::default();
    let (mut output, mut meter) = engine.process_observed(input, &state, &CancelToken::default(), meter).unwrap();
    // The block that makes a batch invalid is counted to its end.
    let at_least = if output.invalid_batch { Counters::default() } else { meter.at_least() };
    meter.report(&mut output);
    kept.write(&state.verified_nodes(), &state.verified_programs(), Durability::Permanent).unwrap();
    kept.write(&output.new_nodes, &output.new_programs, Durability::Permanent).unwrap();
    [output.counters, output.reserved, at_least]
}

/// The counters from here on are the ROM's own numbers; those before are bounds.
const FIRST_REAL: usize = 4;

/// Hash counters are the recorded ones; the others and the reservations are never below, and what is sure never above.
///
/// Columns of the table: fork, case, apart, no_counters, then eight counters each of ours, the recorded ones, our
/// reservations and the recorded ones.
fn compare_counters(recordings: &[PathBuf], every: usize, table_variable: &str) {
    let every = if std::env::var_os("ZKEVM_VECTORS_ALL").is_some() { 1 } else { every };
    let mut cases = read_indexes(recordings).unwrap();
    cases.sort_by(|a, b| (&a.chain, a.step, &a.name).cmp(&(&b.chain, b.step, &b.name)));
    let dump = std::env::var_os(table_variable);
    let mut table = String::new();
    let mut wrong = Vec::new();
    let mut kept = Arc::new(MemoryStore::new(0));
    let mut chain = None;
    let only = std::env::var("ZKEVM_COUNTERS_ONLY").unwrap_or_default();
    for (place, case) in cases.iter().enumerate() {
        if !case.name.contains(&only) {
            continue;
        }
        let in_chain = case.chain.is_some();
        if !in_chain && place % every != 0 {
            continue;
        }
        if !in_chain || case.chain != chain {
            kept = Arc::new(MemoryStore::new(0));
            chain.clone_from(&case.chain);
        }
        let Some(Recorded { used: [ours, theirs], reserved, at_least, no_counters }) = recorded(case, &kept) else {
            continue;
        };
        let apart = case.own_abort().is_some()
            || case.out_of_counters()
            || case.spun_at_push()
            || case.has_flat_stream()
            || case.fork_was_unknown();
        if dump.is_some() {
            let cells = [ours, theirs, reserved[0], reserved[1]].concat();
            let cells: Vec<String> = cells.iter().map(u64::to_string).collect();
            table += &format!("{}\t{}\t{}\t{}\t{}\n", case.fork_id, case.name, apart, no_counters, cells.join("\t"));
        }
        if apart {
            continue;
        }
        if no_counters {
            if ours[0] < theirs[0] || ours[1..] != [0; 7] {
                wrong.push(format!("{} without counters: ours {ours:?}, recorded {theirs:?}", case.name));
            }
            continue;
        }
        let is_aborted = theirs == [0; 8];
        for (index, name) in NAMES.iter().enumerate() {
            let (ours, theirs) = (ours[index], theirs[index]);
            if ours < theirs || (index >= FIRST_REAL && ours != theirs) {
                wrong.push(format!("{} {name}: ours {ours}, recorded {theirs}", case.name));
            }
            // Of an aborted batch nothing is reported.
            if at_least[index] > theirs.max(reserved[1][index]) && !is_aborted {
                wrong.push(format!("{} {name}: sure of {}, recorded {theirs}", case.name, at_least[index]));
            }
            if reserved[0][index] < reserved[1][index] {
                let [ours, theirs] = reserved.map(|values| values[index]);
                wrong.push(format!("{} reserved {name}: ours {ours}, recorded {theirs}", case.name));
            }
        }
    }
    if let Some(path) = dump {
        std::fs::write(path, table).unwrap();
    }
    assert!(wrong.is_empty(), "{} counters:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn recorded_counters_are_met() {
    let folders = ["vectors", "variants", "errors"].map(skip::recordings);
    let [Some(vectors), Some(variants), Some(errors)] = folders else { return };
    compare_counters(&[vectors, variants, errors], 17, "ZKEVM_COUNTERS_TSV");
}

#[test]
fn recorded_counters_of_later_forks_are_met() {
    let folders = ["vectors", "variants"].map(skip::later_recordings);
    let [Some(vectors), Some(variants)] = folders else { return };
    compare_counters(&[vectors, variants], 9, "ZKEVM_COUNTERS_LATER_TSV");
}

#[test]
fn recorded_counters_of_stateless_batches_are_met() {
    let Some(stateless) = skip::later_recordings("stateless") else { return };
    compare_counters(&[stateless], 1, "ZKEVM_COUNTERS_STATELESS_TSV");
}
