//! Recorded answers and requests of running sequencers, by the machine: counters and reservations are ordinary fields.

use std::path::PathBuf;

use clap::Parser;
use prost::Message;
use serde_json::Value;
use zkevm_pool::{CancelToken, WorkerPool};
use zkevm_rom::{RomEngine, Roms};
use zkevm_store::{NoState, RequestOverlay};
use zkevm_testkit::skip;
use zkevm_tools::conformance::{self, ConformanceArgs};
use zkevm_types::ExecutorError;
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::validate::{self, ValidationRules};

/// Share of the recordings that runs by default: the machine takes a second for a full batch in a build for tests.
const EVERY_BY_DEFAULT: &str = "40";

/// Names of the counters in the index, in their order.
const COUNTERS: [&str; 8] = [
    "steps",
    "arithmetics",
    "binaries",
    "mem_aligns",
    "keccak_hashes",
    "poseidon_paddings",
    "poseidon_hashes",
    "sha256_hashes",
];

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    conformance: ConformanceArgs,
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("ZKEVM_ROMS").map(PathBuf::from);
    if folder.is_none() {
        skip::missing_data("no folder of ROM files (set ZKEVM_ROMS)");
    }
    folder
}

#[test]
fn recorded_answers_are_those_of_the_machine() {
    let Some(roms) = folder() else { return };
    let every = if std::env::var_os("ZKEVM_VECTORS_ALL").is_some() { "1" } else { EVERY_BY_DEFAULT };
    let parts = ["vectors", "variants", "errors"];
    let recordings = parts.iter().filter_map(|part| skip::recordings(part));
    let later = parts.iter().chain(&["stateless"]).filter_map(|part| skip::later_recordings(part));
    for recordings in recordings.chain(later) {
        let (recordings, roms) = (recordings.to_string_lossy(), roms.to_string_lossy());
        let arguments = ["rom", "--golden", &recordings, "--engine", "rom", "--rom-dir", &roms, "--every", every];
        let passed = conformance::compare_all(&Arguments::parse_from(arguments).conformance);
        assert!(passed.expect("the recordings are readable"), "{recordings}: the list is above (--nocapture)");
    }
}

/// The original's counters of stateless requests as cdk-erigon sent them: all eight are the machine's.
#[test]
fn requests_of_running_sequencers_count_as_recorded() {
    let (Some(roms), Some(index)) = (folder(), skip::stateless_requests("index.json")) else { return };
    let engine = RomEngine::new(Roms::read(&roms).unwrap(), WorkerPool::none());
    let entries: Vec<Value> = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    let mut compared = 0;
    for entry in &entries {
        let file = entry["file"].as_str().unwrap();
        let request = std::fs::read(index.with_file_name(file)).unwrap();
        let request = wire::ProcessStatelessBatchRequestV2::decode(request.as_slice()).unwrap();
        let input = validate::process_stateless_batch_v2(request, ValidationRules::default()).unwrap();
        if !engine.has_fork(input.fork_id) {
            continue;
        }
        let state = RequestOverlay { base: &NoState, nodes: &input.db, programs: &input.contracts_bytecode };
        let output = engine.process(&input, &state, &CancelToken::default()).unwrap();
        assert_eq!(output.error, ExecutorError::NoError, "{file}: {}", output.error_log);
        let recorded = &entry["prover_v9"]["counters"];
        for (name, count) in COUNTERS.iter().zip(output.counters.to_array()) {
            assert_eq!(Some(count), recorded[name].as_u64(), "{file}: {name} of {recorded}");
        }
        compared += 1;
    }
    println!("{compared} of {} requests", entries.len());
}
