//! The conformance tool can fail: recordings made here, replayed as they are and altered.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use clap::Parser;
use flate2::Compression;
use flate2::write::GzEncoder;
use prost::Message;
use tonic::transport::Endpoint;
use zkevm_executor::config::{ConfigBuilder, StoreKind};
use zkevm_executor::server::Server;
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_tools::conformance::{self, ConformanceArgs};
use zkevm_types::ExecutorError;
use zkevm_types::ForkId;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;
use zkevm_wire::proto::executor::v1::{ProcessBatchRequestV2, ProcessBatchResponseV2};
use zkevm_wire::request::Request;

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

/// Answers of a server with one executor to batches of several forks, as recordings.
async fn record_batches(folder: &Path) -> usize {
    let mut config = ConfigBuilder::new().unwrap().build().unwrap().on_free_local_ports();
    config.store.kind = StoreKind::Memory;
    (config.executor.threads, config.executor.small_batch_bytes_max) = (1, 0);
    let server = Server::new(config).start().await.unwrap();
    let channel = Endpoint::from_shared(format!("http://{}", server.grpc_addr())).unwrap().connect().await.unwrap();
    let mut client = ExecutorServiceClient::new(channel).max_decoding_message_size(256 << 20);
    let mut index = String::new();
    for number in 0..24_u64 {
        let fork = 4 + number % 6;
        let workload = Arc::new(Workload::new(ForkId::new(fork).unwrap(), 4).unwrap());
        let genesis = workload.genesis().build().unwrap();
        let kind = if number % 4 < 2 { Kind::Transfers } else { Kind::TokenTransfers };
        let mut input = workload.chain(number % 4, genesis.root.to_b256()).next_batch(kind, 1 + number as usize);
        input.update_merkle_tree = false;
        input.db = genesis.nodes.iter().map(|(hash, node)| (*hash, node.into())).collect();
        input.contracts_bytecode = genesis.programs;
        let request_file = folder.join(format!("batch-{number}.req.pb.gz"));
        let answer_file = folder.join(format!("batch-{number}.rsp.pb.gz"));
        let rpc = match Request::new(&input) {
            Request::V1(request) => {
                write_gz(&request_file, &*request);
                let answer = client.process_batch(*request).await.unwrap().into_inner();
                assert_eq!((answer.error, answer.responses.len()), (1, 1 + number as usize));
                write_gz(&answer_file, &answer);
                "ProcessBatch"
            }
            Request::V2(request) => {
                write_gz(&request_file, &*request);
                let answer = client.process_batch_v2(*request).await.unwrap().into_inner();
                assert_eq!((answer.error, answer.block_responses.len()), (1, 1));
                write_gz(&answer_file, &answer);
                "ProcessBatchV2"
            }
        };
        index += &format!(
            "{{\"name\":\"batch-{number}\",\"rpc\":\"{rpc}\",\"forkID\":{fork},\"variant\":\"generated\",\"error\":1}}\n"
        );
    }
    fs::write(folder.join("INDEX.jsonl"), index).unwrap();
    server.shutdown().await;
    24
}

#[tokio::test(flavor = "multi_thread")]
async fn many_threads_give_the_answers_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let batches = record_batches(folder.path()).await;
    let report = folder.path().join("report.json");
    let paths = [folder.path().to_string_lossy(), report.to_string_lossy()];
    for threads in ["1", "4"] {
        let arguments = ["conformance", "--golden", &paths[0], "--report", &paths[1], "--threads", threads];
        let arguments = Arguments::parse_from(arguments);
        let passed = conformance::compare_all(&arguments.conformance).unwrap();
        let report: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
        assert!(passed, "{threads} threads: {report:#}");
        assert_eq!(report["fields"]["new_state_root"]["equal"], batches, "{threads} threads");
        assert_eq!(report["reportedApart"]["cnt_keccak_hashes"]["equal"], batches, "{threads} threads: {report:#}");
    }
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
