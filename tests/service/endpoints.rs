//! Answers, health, reflection, HTTP pages, start-up.

use std::time::Duration;

use tokio_stream::StreamExt;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use zkevm_executor::server::Server;
use zkevm_types::{ExecutorError, RomError};

use crate::support::{ABORT, GAS, TestServer, config, request_v1, request_v2};

#[tokio::test(flavor = "multi_thread")]
async fn a_v1_batch_is_answered() {
    let server = TestServer::start().await;
    let answer = server.client().await.process_batch(request_v1(b"ok")).await.unwrap().into_inner();
    assert_eq!(answer.error, ExecutorError::NoError.number());
    assert_eq!((answer.new_state_root.as_ref(), answer.fork_id), (&[0x11; 32][..], 6));
    assert_eq!((answer.new_batch_num, answer.cumulative_gas_used), (0, GAS));
    assert_eq!(answer.responses.len(), 1);
    assert_eq!(answer.responses[0].error, RomError::NoError.number());
    assert_eq!(answer.prover_id, server.running.prover_id());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_v2_batch_is_answered() {
    let server = TestServer::start().await;
    let answer = server.client().await.process_batch_v2(request_v2(b"ok")).await.unwrap().into_inner();
    assert_eq!((answer.error, answer.error_rom), (ExecutorError::NoError.number(), RomError::NoError.number()));
    assert_eq!((answer.gas_used, answer.fork_id, answer.block_responses.len()), (GAS, 9, 1));
    assert_eq!(answer.old_state_root.as_ref(), [0; 32]);
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_ids_count_successful_batches_and_the_maps_they_bring() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let mut flush_of = async |request| {
        let answer = client.process_batch_v2(request).await.unwrap().into_inner();
        (answer.flush_id, answer.stored_flush_id)
    };
    assert_eq!(flush_of(request_v2(b"ok")).await, (1, 1));
    assert_eq!(flush_of(request_v2(ABORT)).await, (0, 0), "an aborted batch shows no ids");
    assert_eq!(flush_of(request_v2(b"ok")).await, (2, 2));
    let mut with_maps = request_v2(b"ok");
    with_maps.db.insert("1".to_owned(), "0".repeat(12 * 16));
    with_maps.contracts_bytecode.insert("2".to_owned(), "00".to_owned());
    assert_eq!(flush_of(with_maps).await, (5, 5), "one id per map and one for the batch");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_batch_has_empty_roots_and_its_error() {
    let server = TestServer::start().await;
    let answer = server.client().await.process_batch_v2(request_v2(ABORT)).await.unwrap().into_inner();
    assert_eq!((answer.error, answer.error_rom), (ExecutorError::DbKeyNotFound.number(), RomError::NoError.number()));
    assert!(answer.new_state_root.is_empty() && answer.new_acc_input_hash.is_empty());
    assert_eq!((answer.gas_used, answer.fork_id), (0, 9));
    assert_eq!(answer.prover_id, server.running.prover_id());
}

#[tokio::test(flavor = "multi_thread")]
async fn flush_status_has_the_ids_of_the_answers() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    for flush_id in 0..3 {
        let status = client.get_flush_status(()).await.unwrap().into_inner();
        assert_eq!((status.stored_flush_id, status.last_flush_id), (flush_id, flush_id));
        assert_eq!((status.pending_to_flush_nodes, status.prover_id.as_str()), (0, server.running.prover_id()));
        client.process_batch_v2(request_v2(b"ok")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_far_over_four_mebibytes_pass() {
    let server = TestServer::start().await;
    let mut request = request_v2(b"ok");
    request.contracts_bytecode.insert("1".to_owned(), "00".repeat(20 << 20));
    let answer = server.client().await.process_batch_v2(request).await.unwrap().into_inner();
    assert_eq!(answer.error, ExecutorError::NoError.number());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_not_delayed_by_nagles_algorithm() {
    let server = TestServer::start().await;
    let mut client = server.client().await;
    let started = std::time::Instant::now();
    for _ in 0..50 {
        client.process_batch_v2(request_v2(b"ok")).await.unwrap();
    }
    let per_call = started.elapsed() / 50;
    assert!(per_call < Duration::from_millis(30), "{per_call:?} per call");
}

async fn health(client: &mut HealthClient<tonic::transport::Channel>, service: &str) -> HealthCheckResponse {
    client.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn health_follows_draining() {
    let server = TestServer::start().await;
    let mut client = HealthClient::new(server.channel().await);
    for service in ["", "executor.v1.ExecutorService", "stats.v1.StatsService"] {
        assert_eq!(health(&mut client, service).await.status(), ServingStatus::Serving, "{service:?}");
    }
    let mut watch = client.watch(HealthCheckRequest { service: String::new() }).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    server.running.drain();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    for service in ["", "executor.v1.ExecutorService", "stats.v1.StatsService"] {
        assert_eq!(health(&mut client, service).await.status(), ServingStatus::NotServing, "{service:?}");
    }
}

/// The two versions of reflection have the same messages under different packages.
macro_rules! reflected_services {
    ($server:expr, $version:ident) => {{
        use tonic_reflection::pb::$version as pb;
        let ask = pb::server_reflection_request::MessageRequest::ListServices(String::new());
        let request = pb::ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
        let mut client = pb::server_reflection_client::ServerReflectionClient::new($server.channel().await);
        let stream = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
        let response = stream.into_inner().next().await.unwrap().unwrap().message_response;
        let Some(pb::server_reflection_response::MessageResponse::ListServicesResponse(list)) = response else {
            panic!("not a list: {response:?}");
        };
        list.service.into_iter().map(|service| service.name).collect::<Vec<_>>()
    }};
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_the_services_in_both_versions() {
    let server = TestServer::start().await;
    for services in [reflected_services!(server, v1), reflected_services!(server, v1alpha)] {
        for name in ["executor.v1.ExecutorService", "stats.v1.StatsService", "grpc.health.v1.Health"] {
            assert!(services.iter().any(|service| service == name), "{name} is not in {services:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_ends_with_draining_and_liveness_does_not() {
    let server = TestServer::start().await;
    assert_eq!(server.get("/healthz").await, (200, "ok\n".to_owned()));
    assert_eq!(server.get("/readyz").await, (200, "ready\n".to_owned()));
    server.running.drain();
    assert_eq!(server.get("/healthz").await.0, 200);
    assert_eq!(server.get("/readyz").await, (503, "draining\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_an_error_that_names_it() {
    let server = TestServer::start().await;
    for (endpoint, taken) in [("gRPC", server.running.grpc_addr()), ("HTTP", server.running.http_addr())] {
        let mut config = config();
        if endpoint == "gRPC" {
            (config.grpc.host, config.grpc.port) = (taken.ip(), taken.port());
        } else {
            (config.http.host, config.http.port) = (taken.ip(), taken.port());
        }
        let Err(error) = Server::new(config).start().await else { panic!("{endpoint}: started twice") };
        let text = error.to_string();
        assert!(text.starts_with(&format!("{endpoint}: cannot listen on {taken}: ")), "{text}");
    }
}
