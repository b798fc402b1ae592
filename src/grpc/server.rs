//! The gRPC endpoint: its services, and the gate that every call of every service passes.
//!
//! Whatever is added to the routes, health and reflection included, is inside the gate: content type, deadline, counting,
//! refusal, bytes and time of the request. Each connection is served here, and ended once it has been idle for too long.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::answer_clock::CallTasks;
use super::call_count::{CallCount, CallNames};
use super::call_memory::CallMemoryLayer;
use super::deadline::DeadlineLayer;
use super::executor_service::ExecutorApi;
use super::hashdb::HashDbApi;
use super::listener::Handshake;
use super::load_shed::LoadShed;
use super::receive_budget::{ReceiveBudget, ReceiveLimit};
use super::stats::StatsApi;
use super::tls::{TlsError, TlsFiles};
use crate::actors::front::FrontHandle;
use crate::actors::stats::StatsReporter;
use crate::actors::{Lifecycle, Phase};
use crate::config::LimitOptions;
use crate::connections::{self, CallBody, ConnectionLimits, OpenCalls, Place};
use zkevm_pool::memory::MemoryBudget;
use zkevm_wire::proto::FILE_DESCRIPTOR_SET;
use zkevm_wire::proto::executor::v1::executor_service_server::{
    ExecutorServiceServer, SERVICE_NAME as EXECUTOR_SERVICE,
};
use zkevm_wire::proto::hashdb::v1::hash_db_service_server::{HashDbServiceServer, SERVICE_NAME as HASHDB_SERVICE};
use zkevm_wire::proto::stats::v1::stats_service_server::{SERVICE_NAME as STATS_SERVICE, StatsServiceServer};

/// Flow-control windows: large requests must not wait for a round trip every 64 KiB.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// Bytes of an answer that wait for the socket, beside the last piece of it.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// Bytes of one message of a call that only asks: statistics, health, reflection.
const QUESTION_BYTES_MAX: usize = 64 << 10;
/// Time a peer has to leave, its open calls answered, once it was told that the connection ends.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);

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
    /// Budget of the memory that calls take, shared by all ports.
    pub memory: MemoryBudget,
    /// The way in for counts of calls.
    pub stats: StatsReporter,
    /// The front, which knows what is refused unread.
    pub front: FrontHandle,
}

/// A gRPC server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum GrpcStartError {
    /// The embedded descriptors do not decode.
    #[error("reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The same.
    #[error("descriptors: {0}")]
    Descriptors(#[from] prost::DecodeError),
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
    stats: StatsApi,
    lifecycle: Lifecycle,
) -> Result<(SocketAddr, impl Future<Output = ()> + Send), GrpcStartError> {
    let executor = ExecutorServiceServer::new(executor)
        .max_decoding_message_size(endpoint.limits.message_bytes)
        .max_encoding_message_size(usize::MAX);
    let stats = StatsServiceServer::new(stats).max_decoding_message_size(QUESTION_BYTES_MAX);
    let routes = Routes::new(executor).add_service(stats);
    serve(endpoint, routes, &EXECUTOR_NAMES, lifecycle).await
}

/// The same for the HashDB service.
pub async fn open_hashdb(
    endpoint: Endpoint,
    hashdb: HashDbApi,
    lifecycle: Lifecycle,
) -> Result<(SocketAddr, impl Future<Output = ()> + Send), GrpcStartError> {
    let hashdb = HashDbServiceServer::new(hashdb)
        .max_decoding_message_size(endpoint.limits.message_bytes)
        .max_encoding_message_size(endpoint.limits.message_bytes);
    serve(endpoint, Routes::new(hashdb), &HASHDB_NAMES, lifecycle).await
}

/// What every call passes, from the outside in.
type Gate = DeadlineLayer<CallCount<LoadShed<ReceiveLimit<CallMemoryLayer<Routes>>>>>;

fn gate(endpoint: &Endpoint, routes: Routes) -> Result<Gate, prost::DecodeError> {
    let Endpoint { receiving, memory, limits, stats, front, .. } = endpoint.clone();
    let names = CallNames::of(&[
        FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ])?;
    let metered = CallMemoryLayer::new(routes.prepare(), memory, limits.answer);
    let admitted = LoadShed::new(ReceiveLimit::new(metered, receiving), front);
    Ok(DeadlineLayer::new(CallCount::new(admitted, names, stats)))
}

/// Adds health of the services called `names` and reflection, and serves.
async fn serve(
    endpoint: Endpoint,
    routes: Routes,
    names: &'static [&'static str],
    lifecycle: Lifecycle,
) -> Result<(SocketAddr, impl Future<Output = ()> + Send), GrpcStartError> {
    let (health_reporter, health) = tonic_health::server::health_reporter();
    report_health(&health_reporter, names, ServingStatus::Serving).await;
    let routes = routes
        .add_service(health.max_decoding_message_size(QUESTION_BYTES_MAX))
        .add_service(reflection().build_v1()?.max_decoding_message_size(QUESTION_BYTES_MAX))
        .add_service(reflection().build_v1alpha()?.max_decoding_message_size(QUESTION_BYTES_MAX));
    let gate = gate(&endpoint, routes)?;
    let Endpoint { address, tls, limits, .. } = endpoint;
    let acceptor = tls.map(|files| files.acceptor()).transpose()?;
    let handshake = Handshake { limit: limits.handshake, tls: acceptor, stall: limits.answer };
    let listen_error = |source| GrpcStartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    let port = Port { gate, handshake, limits, lifecycle: lifecycle.clone() };
    let places = ConnectionLimits { all: limits.connections, per_peer: limits.connections_per_peer };
    let run = async move {
        let serve = move |stream, place| port.clone().serve(stream, place);
        let serving = connections::serve(listener, places, lifecycle.clone(), serve);
        tokio::pin!(serving);
        let mut failing = false;
        loop {
            tokio::select! {
                () = &mut serving => return,
                () = lifecycle.reached(Phase::Draining) => break,
                () = lifecycle.failing_is_not(failing) => {}
            }
            failing = !failing;
            let status = if failing { ServingStatus::NotServing } else { ServingStatus::Serving };
            report_health(&health_reporter, names, status).await;
        }
        report_health(&health_reporter, names, ServingStatus::NotServing).await;
        serving.await;
    };
    Ok((bound, run))
}

/// What the connections of one port share.
#[derive(Clone)]
struct Port {
    gate: Gate,
    handshake: Handshake,
    limits: LimitOptions,
    lifecycle: Lifecycle,
}

impl Port {
    /// Serves one connection until it ends, has been without calls for too long, or the server stops.
    async fn serve(self, stream: TcpStream, place: Place) {
        let Self { gate, handshake, limits, lifecycle } = self;
        let io = match handshake.run(stream).await {
            Ok(io) => io,
            Err(reason) => return tracing::debug!(reason, "connection refused"),
        };
        let calls = OpenCalls::new();
        let counted = calls.clone();
        let peer = place.peer();
        let service = service_fn(move |mut request: http::Request<Incoming>| {
            let call = counted.begin();
            request.extensions_mut().insert(peer);
            // Routes are always ready, and so is what stands before them.
            let answer = gate.clone().call(request.map(Body::new));
            async move { answer.await.map(|answer| answer.map(|body| CallBody::new(body, call))) }
        });
        let connection = http2_of(&limits).serve_connection(TokioIo::new(io), service);
        tokio::pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => return note_end(ended),
            () = calls.idle(limits.idle) => {}
            () = lifecycle.reached(Phase::Stopping) => {}
        }
        connection.as_mut().graceful_shutdown();
        let left = async {
            tokio::time::sleep(LEAVE_LIMIT).await;
            calls.idle(Some(LEAVE_LIMIT)).await;
        };
        tokio::select! {
            ended = connection => note_end(ended),
            () = left => tracing::debug!("an idle connection was closed: its peer did not leave"),
        }
    }
}

fn note_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

fn http2_of(limits: &LimitOptions) -> http2::Builder<CallTasks> {
    let mut builder = http2::Builder::new(CallTasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(limits.header_bytes)
        .keep_alive_interval(Some(limits.keepalive))
        .keep_alive_timeout(limits.keepalive_timeout)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES);
    builder
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
