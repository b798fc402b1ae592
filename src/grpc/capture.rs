//! Capture of requests beside their answers: files, log lines and spans (executor-service §11.2, §11.4).

use prost::Message;
use tonic::Request;

use super::deadline::CallTiming;
use super::request_log::{BatchOrigin, GotLine, LoggedResponse, ReturnsLine};
use crate::actors::Rpc;
use crate::capture::{FileWriter, RequestFiles, input_json};
use crate::config::LogOptions;
use crate::telemetry::{CallSpan, Caller, Spans};
use crate::text::Beginning;
use zkevm_types::BatchInput;
use zkevm_wire::proto::executor::v1::executor_service_server::SERVICE_NAME as EXECUTOR_SERVICE;
use zkevm_wire::protobuf_text::{text_file, text_form};

/// Captures what the configuration asks for.
#[derive(Clone, Debug)]
pub struct RequestCapture {
    file_writer: FileWriter,
    log: LogOptions,
    spans: Option<Spans>,
}

impl RequestCapture {
    /// Creates the capture of one server.
    pub fn new(file_writer: FileWriter, log: LogOptions, spans: Option<Spans>) -> Self {
        Self { file_writer, log, spans }
    }

    /// Begins the notes for the spans of a call, if there are to be spans.
    pub(super) fn trace<T>(&self, rpc: Rpc, request: &Request<T>) -> CallSpan {
        let Some(spans) = &self.spans else { return CallSpan::default() };
        let header = |name| request.metadata().get(name).and_then(|value| value.to_str().ok());
        let caller = Caller { traceparent: header("traceparent"), tracestate: header("tracestate") };
        let timing = request.extensions().get().copied().unwrap_or_else(CallTiming::unbounded);
        CallSpan::begin(spans, EXECUTOR_SERVICE, rpc.name(), timing.arrived_at, caller)
    }

    /// Takes a request as it came, and names its files.
    pub(super) fn request(&self, rpc: Rpc, request: &impl Message) -> Option<RequestFiles> {
        let files = RequestFiles::new(&self.file_writer)?;
        if files.wants_request() {
            let encoded = request.encode_to_vec();
            files.request(encoded.len(), move || text_file(request_type(rpc), &encoded));
        }
        Some(files)
    }

    /// Takes a valid input before it runs.
    pub(super) fn input(&self, rpc: Rpc, files: Option<&RequestFiles>, context_id: &str, input: &BatchInput) {
        if let Some(files) = files {
            files.input(input);
        }
        if self.log.calls {
            tracing::info!("{}", GotLine { rpc, context_id, input });
        }
        if (self.log.input || self.log.input_json) && tracing::enabled!(tracing::Level::INFO) {
            let json = input_json(input, None).to_string();
            if self.log.input {
                tracing::info!("Input={}", self.beginning(&json));
            }
            if self.log.input_json {
                let json = json.replace('"', "'");
                tracing::info!("ExecutorServiceImpl::{}() Input={}", rpc.name(), self.beginning(&json));
            }
        }
    }

    /// Cuts a text here rather than in the log, which would format all of it.
    fn beginning<'a>(&self, text: &'a str) -> Beginning<'a> {
        Beginning { text, bytes_max: self.log.line_bytes_max }
    }

    /// Takes a response before it goes out; `origin` is what its batch was built on.
    pub(super) fn response(
        &self,
        rpc: Rpc,
        files: Option<&RequestFiles>,
        origin: BatchOrigin,
        response: &impl LoggedResponse,
    ) {
        if self.log.calls {
            tracing::info!("{}", ReturnsLine { rpc, origin, response, txs: self.log.txs });
        }
        let file = files.filter(|files| files.wants_response());
        let line = self.log.responses && tracing::enabled!(tracing::Level::INFO);
        if file.is_none() && !line {
            return;
        }
        let encoded = response.encode_to_vec();
        if line {
            tracing::info!(
                "ExecutorServiceImpl::{}() returns:\n{}",
                rpc.name(),
                self.beginning(&text_form(response_type(rpc), &encoded))
            );
        }
        if let Some(files) = file {
            files.response(encoded.len(), move || text_file(response_type(rpc), &encoded));
        }
    }
}

const fn request_type(rpc: Rpc) -> &'static str {
    match rpc {
        Rpc::ProcessBatch => "executor.v1.ProcessBatchRequest",
        Rpc::ProcessBatchV2 => "executor.v1.ProcessBatchRequestV2",
        Rpc::ProcessStatelessBatchV2 => "executor.v1.ProcessStatelessBatchRequestV2",
        Rpc::GetFlushStatus => "google.protobuf.Empty",
    }
}

const fn response_type(rpc: Rpc) -> &'static str {
    match rpc {
        Rpc::ProcessBatch => "executor.v1.ProcessBatchResponse",
        Rpc::ProcessBatchV2 | Rpc::ProcessStatelessBatchV2 => "executor.v1.ProcessBatchResponseV2",
        Rpc::GetFlushStatus => "executor.v1.GetFlushStatusResponse",
    }
}
