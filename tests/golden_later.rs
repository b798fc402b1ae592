//! Recorded answers for forks 9 to 13, stateless ones included, and stateless requests of running sequencers.
//!
//! Neither is part of this repository. Without them the tests say so and pass.

use clap::Parser;
use prost::Message;
use serde_json::Value;
use zkevm_pool::CancelToken;
use zkevm_processor::Engine;
use zkevm_store::{NoState, RequestOverlay};
use zkevm_testkit::skip;
use zkevm_tools::conformance::{self, ConformanceArgs};
use zkevm_types::BatchOutput;
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::validate::{self, ValidationRules};

/// Share of the recordings that runs by default, so that the whole test suite stays short.
const EVERY_BY_DEFAULT: &str = "9";

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    conformance: ConformanceArgs,
}

fn assert_conforms(part: &str, every: &str) {
    let Some(folder) = skip::later_recordings(part) else { return };
    let every = if std::env::var_os("ZKEVM_VECTORS_ALL").is_some() { "1" } else { every };
    let arguments = Arguments::parse_from(["later", "--golden", &folder.to_string_lossy(), "--every", every]);
    let passed = conformance::compare_all(&arguments.conformance).expect("the recordings are readable");
    assert!(passed, "some answers differ; the list is above (--nocapture)");
}

#[test]
fn stateless_answers_are_the_recorded_ones() {
    assert_conforms("stateless", "1");
}

#[test]
fn answers_of_forks_10_to_13_are_the_recorded_ones() {
    assert_conforms("vectors", EVERY_BY_DEFAULT);
    assert_conforms("variants", EVERY_BY_DEFAULT);
    assert_conforms("errors", "1");
}

#[test]
fn vectors_of_forks_10_to_13_end_in_their_roots() {
    let Some(folder) = skip::vectors("later-forks/executor-input") else { return };
    let arguments = Arguments::parse_from(["later", &folder.to_string_lossy()]);
    let passed = conformance::compare_all(&arguments.conformance).expect("the vectors are readable");
    assert!(passed, "some vectors differ; the list is above (--nocapture)");
}

/// A request alone: what its witness brings is all there is to read.
fn answer(request: &[u8]) -> BatchOutput {
    let request = wire::ProcessStatelessBatchRequestV2::decode(request).expect("a request");
    let input = validate::process_stateless_batch_v2(request, ValidationRules::default()).expect("a valid request");
    let state = RequestOverlay { base: &NoState, nodes: &input.db, programs: &input.contracts_bytecode };
    Engine::default().process(&input, &state, &CancelToken::default()).expect("nothing cancels")
}

#[test]
fn requests_of_running_sequencers_get_the_answers_of_the_prover() {
    let Some(index) = skip::stateless_requests("index.json") else { return };
    let entries: Vec<Value> = serde_json::from_slice(&std::fs::read(&index).expect("the index")).expect("JSON");
    assert!(!entries.is_empty());
    for entry in &entries {
        let file = entry["file"].as_str().expect("a name");
        let request = std::fs::read(index.with_file_name(file)).expect("the request");
        let output = answer(&request);
        assert_eq!(fields(&output), expected(entry), "{file}");
        let [counted, recorded] = counters(&output, &entry["prover_v9"]["counters"]);
        assert_eq!(counted[4..], recorded[4..], "{file}: keccaks, paddings, Poseidons, SHA-256");
        assert!(
            counted.iter().zip(recorded).all(|(ours, theirs)| *ours >= theirs),
            "{file}: {counted:?}, {recorded:?}"
        );
    }
}

/// The fields that the index lists.
fn fields(output: &BatchOutput) -> Value {
    let roots = output.roots.expect("the batch runs to its end");
    let hex = |bytes: &[u8]| hex::encode(bytes);
    let block = |block: &zkevm_types::BlockOutput| {
        let txs = block.transactions.iter().map(|tx| {
            serde_json::json!({
                "hash": hex(&tx.tx_hash[..]), "error": tx.error.number(), "gas_used": tx.gas_used,
                "state_root": hex(&tx.state_root[..]), "status": u32::from(tx.status), "logs": tx.logs.len(),
            })
        });
        serde_json::json!({
            "number": block.block_number, "error": block.error.number(), "gas_used": block.gas_used,
            "block_info_root": hex(&block.block_info_root[..]), "block_hash": hex(&block.block_hash[..]),
            "txs": txs.collect::<Vec<_>>(),
        })
    };
    serde_json::json!({
        "error": output.error.number(), "error_rom": output.error_rom.number(), "gas_used": output.gas_used,
        "new_state_root": hex(&roots.new_state_root[..]), "new_acc_input_hash": hex(&roots.new_acc_input_hash[..]),
        "new_local_exit_root": hex(&roots.new_local_exit_root[..]),
        "blocks": output.blocks.iter().map(block).collect::<Vec<_>>(),
    })
}

fn expected(entry: &Value) -> Value {
    let mut answer = entry["prover_v9"].clone();
    assert_eq!(answer["new_state_root"], entry["new_state_root"]);
    let fields = answer.as_object_mut().expect("an object");
    fields.retain(|name, _| name != "counters" && name != "fork_id");
    for block in fields["blocks"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
        block.retain(|name, _| !name.starts_with("cdk_erigon"));
    }
    answer
}

/// Our counters and the recorded ones, in the order of the specification.
fn counters(output: &BatchOutput, recorded: &Value) -> [[u64; 8]; 2] {
    let names =
        ["steps", "arithmetics", "binaries", "mem_aligns", "keccak_hashes", "poseidon_paddings", "poseidon_hashes"];
    let names = [&names[..], &["sha256_hashes"]].concat();
    let value = |at: usize| recorded[names[at]].as_u64().expect("a counter");
    [output.counters.to_array(), std::array::from_fn(value)]
}
