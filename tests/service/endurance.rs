//! The binary as a process: hundreds of batches in flight, half of the clients killed, memory watched from outside.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_types::ExecutorError;
use zkevm_types::ForkId;
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;
use zkevm_wire::request::Request;

use crate::process::Process;
use crate::support::eventually;

const IN_FLIGHT: usize = 256;
const ROUNDS: usize = 6;
/// Rounds until pools and caches have their size.
const WARM_UP_ROUNDS: usize = 2;
const TXS_PER_BATCH: usize = 20;
const STATE_MIB: u64 = 32;
/// Growth allowed after the warm-up: the volatile state, and as much again for the allocator.
const GROWTH_MIB_MAX: u64 = 2 * STATE_MIB;

/// The same batch for every client, with its state, so that each can be the first.
fn request() -> wire::ProcessBatchRequestV2 {
    let workload = Arc::new(Workload::new(ForkId::new(9).unwrap(), 16).unwrap());
    let genesis = workload.genesis().build().unwrap();
    let mut input = workload.chain(0, genesis.root.to_b256()).next_batch(Kind::TokenTransfers, TXS_PER_BATCH);
    input.db = genesis.nodes.iter().map(|(hash, node)| (*hash, node.into())).collect();
    input.contracts_bytecode = genesis.programs;
    input.update_merkle_tree = false;
    let Request::V2(request) = Request::new(&input) else { panic!("not V2") };
    *request
}

/// Puts all batches in flight over 16 connections, kills every other client while they wait, and the connections with them.
async fn round(process: &Process, request: &Arc<wire::ProcessBatchRequestV2>) -> usize {
    let mut killed = JoinSet::new();
    let mut patient = JoinSet::new();
    for connection in 0..16 {
        let client = ExecutorServiceClient::new(process.channel().await).max_decoding_message_size(256 << 20);
        let calls = if connection % 2 == 0 { &mut killed } else { &mut patient };
        for _ in 0..IN_FLIGHT / 16 {
            let (mut client, request) = (client.clone(), Arc::clone(request));
            calls.spawn(async move { client.process_batch_v2((*request).clone()).await });
        }
    }
    tokio::time::sleep(Duration::from_millis(30)).await;
    killed.abort_all();
    let answers = patient.join_all().await;
    let right = answers.into_iter().map(|answer| answer.unwrap().into_inner());
    right.filter(|answer| answer.error == ExecutorError::NoError.number()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_clients_leave_no_work_and_no_memory_behind() {
    let volatile = format!("--set=state.volatile_mib={STATE_MIB}");
    let process = Process::start(Process::binary().args(["serve", "--threads=2", "--queue-capacity=512", &volatile]));
    let request = Arc::new(request());
    let started_mib = process.resident_mib();
    let mut resident_mib = Vec::new();
    for number in 0..ROUNDS {
        assert_eq!(round(&process, &request).await, IN_FLIGHT / 2, "round {number}");
        eventually("no batch is queued or running", async || {
            let now = process.stats().await.now.unwrap();
            (now.queue_length, now.executors_busy) == (0, 0)
        })
        .await;
        resident_mib.extend(process.resident_mib());
    }
    let stats = process.stats().await;
    let sums = stats.totals.as_ref().and_then(|totals| totals.sums).unwrap();
    let state = stats.now.and_then(|now| now.state).unwrap();
    println!("resident MiB: {started_mib:?} at the start, after each round {resident_mib:?}");
    println!("{sums:?}");
    println!("{state:?}");
    assert_eq!((sums.failed_batches, sums.refused, sums.expired), (0, 0, 0));
    assert!(sums.cancelled > 0, "no client was killed in time: {sums:?}");
    assert_eq!(state.permanent_bytes, 0);
    if let (Some(warm), Some(last)) = (resident_mib.get(WARM_UP_ROUNDS - 1), resident_mib.last()) {
        assert!(*last <= warm + GROWTH_MIB_MAX, "grew from {warm} to {last} MiB: {resident_mib:?}");
    }
}
