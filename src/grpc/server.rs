//! The gRPC endpoint: its listener, limits, health and reflection.

use std::future::Future;
use std::net::SocketAddr;

use tokio::net::TcpListener;
use tonic::transport;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::deadline::DeadlineLayer;
use super::executor_service::ExecutorApi;
use super::hashdb::HashDbApi;
use super::listener::ConnectionGate;
use super::load_shed::LoadShed;
use super::receive_budget::{ReceiveBudget, ReceiveLimit};
use super::stats::StatsApi;
use super::tls::{TlsError, TlsFiles};
use crate::actors::front::FrontHandle;
use crate::actors::{Lifecycle, Phase};
use crate::config::LimitOptions;
use zkevm_wire::proto::FILE_DESCRIPTOR_SET;
use zkevm_wire::proto::executor::v1::executor_service_server::{
    ExecutorServiceServer, SERVICE_NAME as EXECUTOR_SERVICE,
};
use zkevm_wire::proto::hashdb::v1::hash_db_service_server::{HashDbServiceServer, SERVICE_NAME as HASHDB_SERVICE};
use zkevm_wire::proto::stats::v1::stats_service_server::{SERVICE_NAME as STATS_SERVICE, StatsServiceServer};

/// Flow-control windows: large requests must not wait for a round trip every 64 KiB.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Names whose health is reported; the empty one is the server as a whole.
const EXECUTOR_NAMES: [&str; 3] = ["", EXECUTOR_SERVICE, STATS_SERVICE];
const HASHDB_NAMES: [&str; 2] = ["", HASHDB_SERVICE];

/// One gRPC port: where it listens and what it admits.
#[derive(Clone)]
pub struct Endpoint {
    /// Address to listen on.
    pub address: SocketAddr,
    /// TLS, `None` for plaintext.
    pub tls: Option<TlsFiles>,
    /// Limits.
    pub limits: LimitOptions,
    /// Budget of the bytes being received, shared by all ports.
    pub receiving: ReceiveBudget,
}

/// A gRPC server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum GrpcStartError {
    /// The embedded descriptors do not decode.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// A file of TLS is wrong.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Address asked for.
        address: SocketAddr,
        /// Error of the system.
        source: std::io::Error,
    },
}

/// Listens for the executor and statistics services and returns the bound address with the server's future, which runs
/// until the lifecycle says stopping and the open calls have ended.
pub async fn open(
    endpoint: Endpoint,
    executor: ExecutorApi,
    front: FrontHandle,
    stats: StatsApi,
    lifecycle: Lifecycle,
) -> Result<(SocketAddr, impl Future<Output = Result<(), transport::Error>> + Send), GrpcStartError> {
    let executor = ExecutorServiceServer::new(executor)
        .max_decoding_message_size(endpoint.limits.message_bytes)
        .max_encoding_message_size(endpoint.limits.message_bytes);
    let executor = LoadShed::new(ReceiveLimit::new(executor, endpoint.receiving.clone()), front);
    let stats = ReceiveLimit::new(StatsServiceServer::new(stats), endpoint.receiving.clone());
    let router = builder(&endpoint.limits).add_service(DeadlineLayer::new(executor)).add_service(stats);
    serve(endpoint, router, &EXECUTOR_NAMES, lifecycle).await
}

/// The same for the HashDB service.
pub async fn open_hashdb(
    endpoint: Endpoint,
    hashdb: HashDbApi,
    lifecycle: Lifecycle,
) -> Result<(SocketAddr, impl Future<Output = Result<(), transport::Error>> + Send), GrpcStartError> {
    let hashdb = HashDbServiceServer::new(hashdb)
        .max_decoding_message_size(endpoint.limits.message_bytes)
        .max_encoding_message_size(endpoint.limits.message_bytes);
    let hashdb = ReceiveLimit::new(hashdb, endpoint.receiving.clone());
    let router = builder(&endpoint.limits).add_service(DeadlineLayer::new(hashdb));
    serve(endpoint, router, &HASHDB_NAMES, lifecycle).await
}

fn builder(limits: &LimitOptions) -> transport::Server {
    transport::Server::builder()
        .max_concurrent_streams(limits.streams_per_connection)
        .http2_max_header_list_size(limits.header_bytes)
        .http2_keepalive_interval(Some(limits.keepalive))
        .http2_keepalive_timeout(Some(limits.keepalive_timeout))
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
}

/// Adds health of the services called `names` and reflection, and serves.
async fn serve(
    endpoint: Endpoint,
    router: transport::server::Router,
    names: &'static [&'static str],
    lifecycle: Lifecycle,
) -> Result<(SocketAddr, impl Future<Output = Result<(), transport::Error>> + Send), GrpcStartError> {
    let Endpoint { address, tls, limits, .. } = endpoint;
    let gate = ConnectionGate {
        connections_max: limits.connections,
        handshake_limit: limits.handshake,
        tls: tls.map(|files| files.acceptor()).transpose()?,
    };
    let listen_error = |source| GrpcStartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    let incoming = gate.open(listener, lifecycle.clone());
    let (health_reporter, health) = tonic_health::server::health_reporter();
    report_health(&health_reporter, names, ServingStatus::Serving).await;
    let stopping = lifecycle.clone();
    let server = router
        .add_service(health)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .serve_with_incoming_shutdown(incoming, async move { stopping.reached(Phase::Stopping).await });
    let run = async move {
        tokio::pin!(server);
        tokio::select! {
            ended = &mut server => return ended,
            () = lifecycle.reached(Phase::Draining) => {}
        }
        report_health(&health_reporter, names, ServingStatus::NotServing).await;
        server.await
    };
    Ok((bound, run))
}

async fn report_health(reporter: &HealthReporter, names: &[&'static str], status: ServingStatus) {
    for name in names {
        reporter.set_service_status(*name, status).await;
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
