//! The conformance tool can fail: recordings made here, replayed as they are and altered.

use std::fs;
use std::io::Write;
use std::path::Path;

use clap::Parser;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use zkevm_executor::cli::conformance::{self, ConformanceArgs};
use zkevm_executor::grpc::proto::executor::v1::{ProcessBatchRequestV2, ProcessBatchResponseV2};
use zkevm_executor::processor::ExecutorError;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    conformance: ConformanceArgs,
}

fn write_gz(path: &Path, message: &impl Message) {
    let mut file = GzEncoder::new(fs::File::create(path).unwrap(), Compression::default());
    file.write_all(&message.encode_to_vec()).unwrap();
    file.finish().unwrap();
}

/// Writes one recording of a request that validation refuses, with this answer, and replays it.
fn replay(answer: Option<ProcessBatchResponseV2>) -> (bool, serde_json::Value) {
    let folder = tempfile::tempdir().unwrap();
    let index = r#"{"name":"no-chain-id","rpc":"ProcessBatchV2","forkID":9,"variant":"validation","error":71}"#;
    // A case without an answer has no error in the index either.
    let index =
        if answer.is_some() { index.to_owned() } else { index.replace(",\"error\":71", ",\"effect\":\"no answer\"") };
    fs::write(folder.path().join("INDEX.jsonl"), index).unwrap();
    write_gz(&folder.path().join("no-chain-id.req.pb.gz"), &ProcessBatchRequestV2 { fork_id: 9, ..Default::default() });
    if let Some(answer) = answer {
        write_gz(&folder.path().join("no-chain-id.rsp.pb.gz"), &answer);
    }
    let report = folder.path().join("report.json");
    let paths = [folder.path().to_string_lossy(), report.to_string_lossy()];
    let arguments = ["conformance", "--golden", &paths[0], "--report", &paths[1]];
    let arguments = Arguments::parse_from(arguments);
    let passed = conformance::compare_all(&arguments.conformance).unwrap();
    (passed, serde_json::from_slice(&fs::read(report).unwrap()).unwrap())
}

fn right_answer() -> ProcessBatchResponseV2 {
    ProcessBatchResponseV2 { error: ExecutorError::InvalidChainId.number(), ..Default::default() }
}

#[test]
fn an_equal_answer_passes() {
    let (passed, report) = replay(Some(right_answer()));
    assert!(passed, "{report:#}");
    assert_eq!(report["fields"]["error"]["equal"], 1);
}

#[test]
fn an_altered_field_is_reported_with_both_values() {
    let (passed, report) = replay(Some(ProcessBatchResponseV2 { gas_used: 7, ..right_answer() }));
    assert!(!passed);
    let difference = &report["different"][0]["differences"][0];
    assert_eq!(difference["place"], "gas_used");
    assert_eq!(difference["ours"], "0");
    assert_eq!(difference["recorded"], "7");
}

#[test]
fn an_altered_counter_is_reported_apart() {
    let (passed, report) = replay(Some(ProcessBatchResponseV2 { cnt_steps: 7, ..right_answer() }));
    assert!(passed, "{report:#}");
    assert_eq!(report["reportedApart"]["cnt_steps"]["lower"], 1);
}

#[test]
fn a_volatile_field_counts_as_set_or_not() {
    let (passed, report) = replay(Some(ProcessBatchResponseV2 { prover_id: "other".into(), ..right_answer() }));
    assert!(!passed, "our answer has no prover_id here");
    assert_eq!(report["different"][0]["differences"][0]["recorded"], "set");
}

#[test]
fn a_request_the_original_did_not_answer_is_listed_apart() {
    let (passed, report) = replay(None);
    assert!(passed, "{report:#}");
    assert_eq!(report["apart"][0]["name"], "no-chain-id");
    assert!(report["apart"][0]["ours"].as_str().unwrap().contains("INVALID_CHAIN_ID"), "{report:#}");
}
