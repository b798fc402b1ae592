//! Chains of batches through a server that is restarted after every two, against the roots of one run in memory.

use std::collections::BTreeMap;

use prost::Message;
use prost::bytes::Bytes;
use revm::primitives::B256;
use zkevm_executor::config::{Config, StoreKind};
use zkevm_executor::server::{RunningServer, Server};
use zkevm_testkit::sample::Kind;
use zkevm_testkit::skip;
use zkevm_testkit::vectors::golden::{GoldenCase, Rpc, read_indexes};
use zkevm_types::ExecutorError;
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::request::Request;

use super::postgres::chain;
use super::support::*;

/// What an answer has of either version: error and root.
type Answer = (i32, Bytes);

async fn send(server: &RunningServer, request: Request) -> (Answer, Bytes) {
    let mut client = executor(server).await.max_decoding_message_size(64 << 20);
    match request {
        Request::V1(request) => {
            let answer = client.process_batch(*request).await.unwrap().into_inner();
            ((answer.error, answer.new_state_root), answer.new_acc_input_hash)
        }
        Request::V2(request) => {
            let answer = client.process_batch_v2(*request).await.unwrap().into_inner();
            ((answer.error, answer.new_state_root), answer.new_acc_input_hash)
        }
    }
}

/// Batches of the generated chain; 200 take a while with a debug build.
fn batches() -> usize {
    std::env::var("ZKEVM_CHAIN_BATCHES").ok().and_then(|batches| batches.parse().ok()).unwrap_or(20)
}

/// Runs the generated chain; returns the root after each batch.
async fn generated(config: &Config, restart: bool) -> Vec<B256> {
    let (workload, genesis) = chain(1);
    let mut chain = workload.chain(0, genesis.root.to_b256());
    let mut server = Server::new(config.clone()).start().await.unwrap();
    let mut roots = Vec::new();
    for number in 0..batches() {
        let kind = if number % 2 == 0 { Kind::Transfers } else { Kind::TokenTransfers };
        let mut input = chain.next_batch(kind, 3);
        input.update_merkle_tree = true;
        if number == 0 {
            input.db = genesis.nodes.iter().map(|(hash, node)| (*hash, node.into())).collect();
            input.contracts_bytecode = genesis.programs.clone();
        }
        let ((error, root), acc_input_hash) = send(&server, Request::new(&input)).await;
        assert_eq!(error, ExecutorError::NoError.number(), "batch {number}");
        chain.state_root = B256::from_slice(&root);
        chain.acc_input_hash = B256::from_slice(&acc_input_hash);
        roots.push(chain.state_root);
        if restart && number % 2 == 1 {
            assert!(server.shutdown().await);
            server = Server::new(config.clone()).start().await.unwrap();
        }
    }
    assert!(server.shutdown().await);
    roots
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generated_chain_does_not_notice_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = config(folder.path());
    let mut memory = embedded.clone();
    memory.store.kind = StoreKind::Memory;
    assert_eq!(generated(&embedded, true).await, generated(&memory, false).await);
}

fn recorded_chains() -> Option<BTreeMap<String, Vec<GoldenCase>>> {
    let folder = skip::recordings("variants")?;
    let mut chains: BTreeMap<String, Vec<GoldenCase>> = BTreeMap::new();
    for case in read_indexes(&[folder]).unwrap() {
        if let Some(chain) = case.chain.clone() {
            chains.entry(chain).or_default().push(case);
        }
    }
    chains.values_mut().for_each(|steps| steps.sort_by_key(|case| case.step));
    Some(chains)
}

/// Sends the steps; compares each answer's error and root with the recorded one.
async fn recorded(config: &Config, steps: &[GoldenCase], restart: bool) -> Vec<Answer> {
    let mut server = Server::new(config.clone()).start().await.unwrap();
    let mut answers = Vec::new();
    for (place, case) in steps.iter().enumerate() {
        let (request, answer) = (case.request().unwrap(), case.answer().unwrap().expect("chains were answered"));
        let (request, expected) = match case.rpc {
            Rpc::ProcessBatch => {
                let answer = wire::ProcessBatchResponse::decode(&*answer).unwrap();
                let request = Request::V1(Box::new(wire::ProcessBatchRequest::decode(&*request).unwrap()));
                (request, (answer.error, answer.new_state_root))
            }
            Rpc::ProcessStatelessBatchV2 => panic!("{}: a stateless step of a chain", case.name),
            Rpc::ProcessBatchV2 => {
                let answer = wire::ProcessBatchResponseV2::decode(&*answer).unwrap();
                let request = Request::V2(Box::new(wire::ProcessBatchRequestV2::decode(&*request).unwrap()));
                (request, (answer.error, answer.new_state_root))
            }
        };
        let (answer, _) = send(&server, request).await;
        assert_eq!((answer.0, hex::encode(&answer.1)), (expected.0, hex::encode(&expected.1)), "{}", case.name);
        answers.push(answer);
        if restart && place % 2 == 1 {
            assert!(server.shutdown().await);
            server = Server::new(config.clone()).start().await.unwrap();
        }
    }
    assert!(server.shutdown().await);
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_chains_do_not_notice_restarts() {
    let Some(chains) = recorded_chains() else { return };
    assert!(!chains.is_empty());
    for (name, steps) in chains {
        let folder = tempfile::tempdir().unwrap();
        let embedded = config(folder.path());
        let mut memory = embedded.clone();
        memory.store.kind = StoreKind::Memory;
        assert_eq!(recorded(&embedded, &steps, true).await, recorded(&memory, &steps, false).await, "{name}");
    }
}
