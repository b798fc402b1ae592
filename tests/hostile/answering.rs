//! Health and reflection while executors, the threads of gRPC and those of HashDB have all they can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tonic::Request;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use zkevm_testkit::sample::easm::assemble;

use crate::support::{A, GAS_MAX, Hostile, call_of, with_code};

/// Time an answer may take here, where the attack has as much of the machine as the server.
const ANSWER_MAX: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_are_answered_while_all_threads_are_busy() {
    let server = Hostile::start().await;
    let loops = assemble("again:\npush 100000\npush 0\nkeccak256\npop\npush @again\njump").unwrap();
    let mut endless = with_code(call_of(40, GAS_MAX), A, loops);
    endless.no_counters = 1;
    // Decoded and validated where calls are answered, or beside.
    let mut large = call_of(1, 30_000);
    large.db = (0..8_000_u32).map(|key| (format!("{key:x}"), "0".repeat(192))).collect();
    let mut medium = call_of(1, 30_000);
    medium.db = (0..800_u32).map(|key| (format!("{key:x}"), "0".repeat(192))).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let mut calls = tokio::task::JoinSet::new();
    for request in [&endless, &large, &medium].into_iter().cycle().take(24) {
        let (mut client, request, stop) = (server.client(), request.clone(), Arc::clone(&stop));
        calls.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let mut request = Request::new(request.clone());
                request.set_timeout(Duration::from_secs(2));
                let _ = client.process_batch_v2(request).await;
            }
        });
    }
    let (mut health, mut reflection) =
        (HealthClient::new(server.channel.clone()), ServerReflectionClient::new(server.channel.clone()));
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        health.check(HealthCheckRequest::default()).await.unwrap();
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let asked = ServerReflectionRequest { host: String::new(), message_request };
        let mut answers = reflection.server_reflection_info(tokio_stream::iter([asked])).await.unwrap().into_inner();
        assert!(answers.message().await.unwrap().is_some());
        slowest = slowest.max(begun.elapsed());
    }
    assert!(slowest < ANSWER_MAX, "{slowest:?}");
    stop.store(true, Ordering::Relaxed);
    calls.join_all().await;
    println!("health and reflection: slowest {slowest:?}");
    server.end("24 callers on all threads").await;
}
