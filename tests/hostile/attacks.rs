//! One request or a few that grow without end.

use std::time::{Duration, Instant};

use revm::primitives::Bytes;
use tonic::{Code, Request};
use zkevm_testkit::sample::easm::assemble;
use zkevm_wire::proto::executor::v1 as wire;

use crate::support::{A, B, GAS_MAX, Hostile, call_of, is_long, traced, with_code};

fn code(source: &str) -> Bytes {
    assemble(source).unwrap()
}

/// Code that loops until its gas ends, after `before`.
fn looping(before: &str) -> Bytes {
    code(&format!("{before}\nagain:\npush @again\njump"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_repeats_return_data_at_every_step() {
    let server = Hostile::start().await;
    let calls = looping(&format!("push 0\npush 0\npush 0\npush 0\npush 0\npush 0x{}\ngas\ncall\npop", "bb".repeat(20)));
    let request = with_code(call_of(1, GAS_MAX), A, calls);
    let request = with_code(request, B, code("push 100000\npush 0\nreturn"));
    server.refused(traced(request, true), "limits.answer_mib").await;
    server.end("traced loop behind 100 000 bytes of return data").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_repeats_a_deep_stack_at_every_step() {
    let server = Hostile::start().await;
    let request = with_code(call_of(1, GAS_MAX), A, looping(&"push 0xffffffffffffffff\n".repeat(1000)));
    server.refused(traced(request, false), "limits.answer_mib").await;
    server.end("traced loop over a stack of 1 000 words").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_shows_all_slots_at_each_of_them() {
    let server = Hostile::start().await;
    let reads = code("push 0\nagain:\ndup1\nsload\npop\npush 1\nadd\npush @again\njump");
    let request = with_code(call_of(1, GAS_MAX), A, reads);
    server.refused(traced(request, false), "limits.").await;
    server.end("traced loop over fresh slots").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_plain_trace_is_answered_within_the_bound() {
    let server = Hostile::start().await;
    // 2.5 million steps with the default limits, some 370 MB.
    let gas = if is_long() { 10_000_000 } else { 150_000 };
    let request = traced(with_code(call_of(1, gas), A, looping("")), false);
    let answer = server.client().process_batch_v2(request).await.unwrap().into_inner();
    let trace = answer.block_responses[0].responses[0].full_trace.as_ref().unwrap();
    assert!(trace.steps.len() > gas as usize / 5, "{} steps", trace.steps.len());
    drop(answer);
    server.end("plain trace of a loop").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn traced_loops_over_a_large_memory_end_with_their_deadline() {
    let server = Hostile::start().await;
    let writes = looping("push 1\npush 1048544\nmstore\nagain2:\npush 1\npush 1048544\nmstore\npush @again2\njump");
    let request = traced(with_code(call_of(1, GAS_MAX), A, writes), true);
    let mut calls = Vec::new();
    for _ in 0..3 {
        let mut client = server.client();
        let mut request = Request::new(request.clone());
        request.set_timeout(Duration::from_millis(400));
        calls.push(tokio::spawn(async move { client.process_batch_v2(request).await }));
    }
    for call in calls {
        let status = call.await.unwrap().map(|_| ()).unwrap_err();
        assert!(matches!(status.code(), Code::DeadlineExceeded | Code::ResourceExhausted), "{status}");
    }
    assert_free(&server).await;
    server.end("three traced loops over 1 MiB of memory").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hashing_a_hundred_kilobytes_in_a_loop_ends_with_its_deadline() {
    let server = Hostile::start().await;
    let hashes = code("again:\npush 100000\npush 0\nkeccak256\npop\npush @again\njump");
    let mut request = with_code(call_of(40, GAS_MAX), A, hashes);
    request.no_counters = 1;
    let mut request = Request::new(request);
    request.set_timeout(Duration::from_millis(300));
    let begun = Instant::now();
    let status = server.client().process_batch_v2(request).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status} after {:?}", begun.elapsed());
    assert_free(&server).await;
    server.end("40 loops of KECCAK256 over 100 kB").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_many_transactions_add_up() {
    let server = Hostile::start().await;
    let returns = code("push 3800000\npush 0\nreturn");
    let mut request = with_code(call_of(if is_long() { 400 } else { 10 }, GAS_MAX), A, returns);
    request.no_counters = 1;
    server.refused(request, "limits.").await;
    server.end("transactions that return 3.8 MB each").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_count_as_what_they_take_decoded() {
    let server = Hostile::start().await;
    let count = if is_long() { 16 << 20 } else { 1 << 20 };
    let proofs = wire::L1DataV2 { smt_proof: vec![Default::default(); count], ..Default::default() };
    let mut request = call_of(1, 30_000);
    request.l1_info_tree_data.insert(1, proofs);
    server.refused(request, "limits.call_memory_mib").await;
    let mut request = call_of(1, 30_000);
    let count = if is_long() { 5_000_000 } else { 200_000 };
    request.db = (0..count).map(|key: u32| (format!("{key:x}"), String::new())).collect();
    server.refused(request, "limits.call_memory_mib").await;
    server.end("a million empty items in a request").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_witness_counts_as_the_nodes_it_has() {
    let server = Hostile::start().await;
    // Single branches, one below the other, under a full tree: two bytes each.
    let levels = if is_long() { 14 } else { 9 };
    let mut tree = [&[0x02, 0x01].repeat(254 - levels)[..], &[0x03], &[0; 32]].concat();
    for _ in 0..levels {
        tree = [&[0x02, 0x03][..], &tree, &tree].concat();
    }
    let witness = [&[1][..], &tree].concat();
    let request = wire::ProcessStatelessBatchRequestV2 { witness: witness.into(), ..Default::default() };
    let status = server.client().process_stateless_batch_v2(request).await.map(|_| ()).unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("limits.call_memory_mib"), "{status}");
    server.end("a witness of single branches").await;
}

/// Checks that the executors are free soon, but for the client beside.
async fn assert_free(server: &Hostile) {
    let begun = Instant::now();
    while server.gauge("zkevm_executor_executors_busy").await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(10), "executors are still busy");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
