//! Spans of calls, as a scripted OpenTelemetry collector gets them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};
use zkevm_executor::config::{Config, SpanOptions};
use zkevm_wire::proto::executor::v1::ProcessBatchRequestV2;

use crate::support::{PANIC, TestServer, config, request_v2};

/// The trace a caller is in, and its span.
const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT_ID: &str = "b7ad6b7169203331";

/// Keeps what is sent to it.
#[derive(Clone, Default)]
struct Collector {
    spans: Arc<Mutex<Vec<Span>>>,
    resource: Arc<Mutex<Resource>>,
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for sent in request.into_inner().resource_spans {
            *self.resource.lock() = sent.resource.unwrap_or_default();
            self.spans.lock().extend(sent.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    async fn start() -> (Self, SocketAddr) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tonic::transport::Server::builder().add_service(TraceServiceServer::new(collector.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        (collector, address)
    }

    /// Returns the spans of calls, and for each of them its phases.
    fn calls(&self) -> Vec<(Span, Vec<Span>)> {
        let spans = self.spans.lock();
        let (phases, calls): (Vec<_>, Vec<_>) = spans.iter().cloned().partition(|span| !span.name.contains('/'));
        let of = |call: &Span| phases.iter().filter(|phase| phase.parent_span_id == call.span_id).cloned().collect();
        calls.iter().map(|call| (call.clone(), of(call))).collect()
    }
}

fn traced(collector: SocketAddr, sample_ratio: f64) -> Config {
    let otlp_url = format!("http://{collector}");
    Config { trace: SpanOptions { otlp_url, service_name: "test".to_owned(), sample_ratio }, ..config() }
}

fn text(attributes: &[KeyValue], key: &str) -> String {
    let value = attributes.iter().find(|attribute| attribute.key == key).and_then(|found| found.value.clone());
    match value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text,
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => number.to_string(),
        other => panic!("{key}: {other:?} in {attributes:?}"),
    }
}

/// A call with a context id, in a trace of its caller's if it says so.
fn call(data: &'static [u8], traceparent: Option<&str>) -> Request<ProcessBatchRequestV2> {
    let message = ProcessBatchRequestV2 { context_id: "my batch".to_owned(), ..request_v2(data) };
    let mut request = Request::new(message);
    if let Some(traceparent) = traceparent {
        request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    }
    request
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_a_span_with_its_phases_in_the_callers_trace() {
    let (collector, address) = Collector::start().await;
    let server = TestServer::start_with(traced(address, 1.0)).await;
    let traceparent = format!("00-{TRACE_ID}-{PARENT_ID}-01");
    server.client().await.process_batch_v2(call(b"ok", Some(&traceparent))).await.unwrap();
    let prover_id = server.running.prover_id().to_owned();
    // The stop sends what is waiting.
    server.running.shutdown().await;

    let calls = collector.calls();
    let [(span, phases)] = &calls[..] else { panic!("{calls:?}") };
    assert_eq!(span.name, "executor.v1.ExecutorService/ProcessBatchV2");
    assert_eq!((hex::encode(&span.trace_id), hex::encode(&span.parent_span_id)), (TRACE_ID.into(), PARENT_ID.into()));
    for (key, want) in [
        ("zkevm.context_id", "my batch"),
        ("zkevm.fork_id", "9"),
        ("zkevm.transactions", "1"),
        ("zkevm.gas", "21000"),
        ("zkevm.error", "EXECUTOR_ERROR_NO_ERROR"),
        ("rpc.method", "ProcessBatchV2"),
    ] {
        assert_eq!(text(&span.attributes, key), want, "{key}");
    }
    let names: Vec<&str> = phases.iter().map(|phase| phase.name.as_str()).collect();
    assert_eq!(names, ["receive", "validate", "queue", "decode", "recover senders", "evm", "tree", "store", "respond"]);
    let mut before = span.start_time_unix_nano;
    for phase in phases {
        assert_eq!(phase.trace_id, span.trace_id);
        assert!(before <= phase.start_time_unix_nano && phase.start_time_unix_nano <= phase.end_time_unix_nano);
        before = phase.end_time_unix_nano;
    }
    assert!(before <= span.end_time_unix_nano);
    let resource = collector.resource.lock().attributes.clone();
    assert_eq!((text(&resource, "service.name"), text(&resource, "service.instance.id")), ("test".into(), prover_id));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_without_an_answer_is_an_error_and_the_ratio_is_kept() {
    let (collector, address) = Collector::start().await;
    let server = TestServer::start_with(traced(address, 1.0)).await;
    server.client().await.process_batch_v2(call(PANIC, None)).await.unwrap_err();
    // The caller does not trace, and that decides.
    let not_sampled = format!("00-{TRACE_ID}-{PARENT_ID}-00");
    server.client().await.process_batch_v2(call(b"ok", Some(&not_sampled))).await.unwrap();
    // Nonsense counts as no trace at all.
    server.client().await.process_batch_v2(call(b"ok", Some("00-nonsense"))).await.unwrap();
    server.running.shutdown().await;
    let calls = collector.calls();
    let codes: Vec<i32> = calls.iter().map(|(span, _)| span.status.clone().unwrap_or_default().code).collect();
    assert_eq!(codes, [StatusCode::Error as i32, StatusCode::Ok as i32]);
    assert!(calls.iter().all(|(span, _)| span.parent_span_id.is_empty()), "{calls:?}");

    let (collector, address) = Collector::start().await;
    let server = TestServer::start_with(traced(address, 0.0)).await;
    server.client().await.process_batch_v2(call(b"ok", None)).await.unwrap();
    server.running.shutdown().await;
    assert!(collector.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_not_there_disturbs_nobody() {
    // Nobody listens on the port of a listener that is gone.
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let server = TestServer::start_with(traced(gone, 1.0)).await;
    for _ in 0..20 {
        server.assert_healthy().await;
    }
    let stopped = tokio::time::timeout(Duration::from_secs(60), server.running.shutdown()).await;
    assert_eq!(stopped, Ok(true));
}
