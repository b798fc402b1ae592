//! `executor.v1.ExecutorService`: validates requests, submits them to the front, waits.

use std::sync::Arc;

use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::capture::RequestCapture;
use super::deadline::CallTiming;
use super::request_log::{BatchOrigin, LoggedResponse};
use super::witness_admission::WitnessAdmission;
use crate::actors::front::FrontHandle;
use crate::actors::stats::{StatsEvent, StatsReporter};
use crate::actors::{BatchFailure, BatchJob, Executed, Lifecycle, Phase, ReplyPort, Rpc, SendReply};
use crate::capture::RequestFiles;
use crate::telemetry::CallSpan;
use crate::text::cut_client_text;
use zkevm_pool::CancelToken;
use zkevm_store::StateStore;
use zkevm_types::FlushIds;
use zkevm_types::{BatchInput, BatchOutput, ExecutorError};
use zkevm_wire::preencoded::Encoded;
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::proto::executor::v1::executor_service_server::ExecutorService;
use zkevm_wire::respond::{ResponseContext, invalid_request_v1, invalid_request_v2, response_v1, response_v2};
use zkevm_wire::validate::{self, ValidationRules};

/// Bytes of one node in the `db` of a `ProcessBatchV2` request: key, value, and what is around them.
const NODE_MESSAGE_BYTES: usize = 64 + 192 + 8;

/// Turns an output into the response message of one API version.
type Convert<R> = fn(BatchOutput, &ResponseContext, FlushIds) -> R;

/// The executor service. Its methods run on gRPC threads and never execute a batch.
#[derive(Clone)]
pub struct ExecutorApi {
    front: FrontHandle,
    stats: StatsReporter,
    lifecycle: Lifecycle,
    rules: ValidationRules,
    store: Arc<StateStore>,
    prover_id: Arc<str>,
    capture: RequestCapture,
    witnesses: WitnessAdmission,
}

impl ExecutorApi {
    /// Creates the service over running actors.
    pub fn new(
        front: FrontHandle,
        stats: StatsReporter,
        lifecycle: Lifecycle,
        rules: ValidationRules,
        store: Arc<StateStore>,
        prover_id: Arc<str>,
        capture: RequestCapture,
    ) -> Self {
        let witnesses = WitnessAdmission::new(rules.witness.waiting_bytes_max);
        Self { front, stats, lifecycle, rules, store, prover_id, capture, witnesses }
    }

    /// Begins a call that brings a batch: takes the context id out of its message.
    fn take<T: prost::Message>(
        &self,
        rpc: Rpc,
        request: Request<T>,
        context_id: fn(&mut T) -> &mut String,
    ) -> (Call, T) {
        let mut trace = self.capture.trace(rpc, &request);
        let timing = request.extensions().get().copied().unwrap_or_else(CallTiming::unbounded);
        let mut message = request.into_inner();
        let request_bytes = message.encoded_len();
        let files = self.capture.request(rpc, &message);
        let context_id = cut_client_text(std::mem::take(context_id(&mut message)));
        trace.note_text("zkevm.context_id", &context_id);
        (Call { rpc, timing, request_bytes, context_id, files, trace }, message)
    }

    /// Counts and logs a request that fails validation, which is an answer.
    fn count_invalid(&self, call: Call, error: ExecutorError) {
        let Call { rpc, context_id, mut trace, .. } = call;
        self.stats.report(StatsEvent::InvalidRequest(error));
        tracing::warn!(rpc = rpc.name(), error = error.name(), context_id, "invalid request");
        trace.end_phase("validate");
        trace.note("zkevm.error", error.name());
        trace.finish();
    }

    /// Sends a valid batch to the front and waits for what comes back.
    async fn execute<R: LoggedResponse + 'static>(
        &self,
        call: Call,
        input: BatchInput,
        convert: Convert<R>,
    ) -> Result<Response<Encoded>, Status> {
        let Call { rpc, timing, request_bytes, context_id, files, mut trace } = call;
        self.capture.input(rpc, files.as_ref(), &context_id, &input);
        let origin = BatchOrigin::from(&input);
        let (sender, receiver) = oneshot::channel();
        let cancel = CancelToken::new(timing.deadline);
        let context = ResponseContext::new(&input, Arc::clone(&self.prover_id));
        trace.note("zkevm.fork_id", i64::try_from(input.fork_id.get()).unwrap_or(i64::MAX));
        trace.note("zkevm.old_batch_num", i64::try_from(input.old_batch_num).unwrap_or(i64::MAX));
        trace.end_phase("validate");
        // From here on, if this future is dropped, nobody waits for the batch any more.
        let mut waiting = Waiting { front: &self.front, cancel: cancel.clone(), timing, answered: false };
        self.front.submit(Box::new(BatchJob {
            rpc,
            input,
            request_bytes,
            context_id,
            files: files.clone(),
            trace,
            cancel,
            received_at: timing.arrived_at,
            reply: Box::new(OneshotReply {
                sender,
                context,
                convert,
                rpc,
                files,
                origin,
                capture: self.capture.clone(),
            }),
            in_flight: self.front.enter(),
        }));
        let answer = tokio::select! {
            biased;
            answer = receiver => answer,
            () = self.lifecycle.reached(Phase::Stopping) => return Err(BatchFailure::Stopped.into()),
        };
        waiting.answered = true;
        // The sender is dropped without a word only when a panic took the job with it.
        Ok(Response::new(answer.unwrap_or(Err(BatchFailure::Panicked))?))
    }
}

/// A call without its batch.
struct Call {
    rpc: Rpc,
    timing: CallTiming,
    /// Size of the request as sent, or of one that would bring as much.
    request_bytes: usize,
    /// The beginning of the free text of the client, for the log.
    context_id: String,
    /// Files to save about it.
    files: Option<RequestFiles>,
    /// Notes for its spans.
    trace: CallSpan,
}

/// Carries the answer of one batch to its handler.
struct OneshotReply<R> {
    sender: oneshot::Sender<Result<Encoded, BatchFailure>>,
    context: ResponseContext,
    convert: Convert<R>,
    rpc: Rpc,
    files: Option<RequestFiles>,
    origin: BatchOrigin,
    capture: RequestCapture,
}

impl<R: LoggedResponse + 'static> ReplyPort for OneshotReply<R> {
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    fn finish(self: Box<Self>, executed: Executed) -> SendReply {
        let Self { sender, context, convert, rpc, files, origin, capture } = *self;
        // A client that left in the meantime needs no answer.
        if sender.is_closed() {
            return Box::new(|| ());
        }
        let response = convert(executed.output, &context, executed.flush);
        capture.response(rpc, files.as_ref(), origin, &response);
        let encoded = Encoded::new(&response);
        Box::new(move || {
            let _ = sender.send(Ok(encoded));
        })
    }

    fn fail(self: Box<Self>, failure: BatchFailure) {
        let _ = self.sender.send(Err(failure));
    }
}

/// A handler waiting for its batch. Dropped before the answer, it stops the batch: queued or running.
struct Waiting<'a> {
    front: &'a FrontHandle,
    cancel: CancelToken,
    timing: CallTiming,
    answered: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        // A deadline cancels the token by itself and counts as expired, not as cancelled.
        let expired = self.timing.deadline.is_some_and(|deadline| std::time::Instant::now() >= deadline);
        if !expired {
            self.cancel.cancel();
        }
        self.front.note_abandoned();
    }
}

#[tonic::async_trait]
impl ExecutorService for ExecutorApi {
    async fn process_batch(&self, request: Request<wire::ProcessBatchRequest>) -> Result<Response<Encoded>, Status> {
        let (call, request) = self.take(Rpc::ProcessBatch, request, |request| &mut request.context_id);
        match validate::process_batch(request, self.rules) {
            Ok(input) => self.execute(call, input, response_v1).await,
            Err(error) => {
                self.count_invalid(call, error);
                Ok(Response::new(Encoded::new(&invalid_request_v1(error))))
            }
        }
    }

    async fn process_batch_v2(
        &self,
        request: Request<wire::ProcessBatchRequestV2>,
    ) -> Result<Response<Encoded>, Status> {
        let (call, request) = self.take(Rpc::ProcessBatchV2, request, |request| &mut request.context_id);
        match validate::process_batch_v2(request, self.rules) {
            Ok(input) => self.execute(call, input, response_v2).await,
            Err(error) => {
                self.count_invalid(call, error);
                Ok(Response::new(Encoded::new(&invalid_request_v2(error))))
            }
        }
    }

    async fn process_stateless_batch_v2(
        &self,
        request: Request<wire::ProcessStatelessBatchRequestV2>,
    ) -> Result<Response<Encoded>, Status> {
        let (mut call, request) = self.take(Rpc::ProcessStatelessBatchV2, request, |request| &mut request.context_id);
        let (rules, request_bytes) = (self.rules, call.request_bytes);
        let read =
            self.witnesses.run(request_bytes, move || validate::process_stateless_batch_v2(request, rules)).await;
        let validated = read.map_err(|failure| {
            self.stats.report(StatsEvent::unanswered(failure));
            Status::from(failure)
        })?;
        match validated {
            Ok(input) => {
                // In memory a witness is many times what it is on the wire: it counts as its nodes would in the other call.
                call.request_bytes = request_bytes.max(input.db.len() * NODE_MESSAGE_BYTES);
                self.execute(call, input, response_v2).await
            }
            Err(error) => {
                self.count_invalid(call, error);
                Ok(Response::new(Encoded::new(&invalid_request_v2(error))))
            }
        }
    }

    async fn get_flush_status(&self, _: Request<()>) -> Result<Response<Encoded>, Status> {
        let status = self.store.flush_status();
        Ok(Response::new(Encoded::new(&wire::GetFlushStatusResponse {
            stored_flush_id: status.stored_flush_id,
            storing_flush_id: status.storing_flush_id,
            last_flush_id: status.last_flush_id,
            pending_to_flush_nodes: status.pending_nodes,
            pending_to_flush_program: status.pending_programs,
            storing_nodes: status.storing_nodes,
            storing_program: status.storing_programs,
            prover_id: self.prover_id.to_string(),
        })))
    }
}
