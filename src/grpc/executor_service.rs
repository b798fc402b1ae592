//! `executor.v1.ExecutorService`: validates requests, submits them to the front, waits.

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::oneshot;
use tonic::{Request, Response, Status};

use super::answer_body::Answer;
use super::capture::RequestCapture;
use super::deadline::CallTiming;
use super::request_log::{BatchOrigin, LoggedResponse};
use super::witness_admission::WitnessAdmission;
use crate::actors::front::FrontHandle;
use crate::actors::stats::{StatsEvent, StatsReporter};
use crate::actors::{BatchFailure, BatchJob, Executed, Lifecycle, Phase, QueueBounds, ReplyPort, Rpc, SendReply};
use crate::capture::RequestFiles;
use crate::connections::Peer;
use crate::telemetry::CallSpan;
use crate::text::cut_client_text;
use zkevm_batch::BatchItem;
use zkevm_pool::CancelToken;
use zkevm_pool::memory::{CallMemory, MemoryBounds, MemoryBudget};
use zkevm_store::StateStore;
use zkevm_types::{BatchContext, BatchInput, BatchOutput, ExecutorError};
use zkevm_types::{FlushIds, TX_GAS_LIMIT_MAX};
use zkevm_wire::preencoded::{Encoded, INLINE_BYTES_MAX};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::proto::executor::v1::executor_service_server::ExecutorService;
use zkevm_wire::respond::{ResponseContext, invalid_request_v1, invalid_request_v2, response_v1, response_v2};
use zkevm_wire::stateless::WitnessMemo;
use zkevm_wire::validate::{self, ValidationRules};

/// Bytes of one node in the `db` of a `ProcessBatchV2` request: key, value, and what is around them.
const NODE_MESSAGE_BYTES: usize = 64 + 192 + 8;

/// Without counters nothing but gas ends a transaction: a call is short with this part of the gas only.
const UNCOUNTED_GAS_SHARE: u64 = 10;

/// Turns an output into the response message of one API version.
type Convert<R> = fn(BatchOutput, &ResponseContext, FlushIds) -> R;

/// Validates a request, and asks now and then whether to go on.
type Validate<T> = fn(T, ValidationRules, &mut dyn FnMut(usize) -> bool) -> Result<BatchInput, ExecutorError>;

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
    witness_memo: WitnessMemo,
    short: ShortCalls,
}

/// What is taken for a call that runs for a moment only.
#[derive(Clone, Copy, Debug)]
pub struct ShortCalls {
    /// Bytes of its request, at most.
    pub bytes_max: usize,
    /// Gas of its transactions, at most.
    pub gas_max: u64,
}

impl ShortCalls {
    /// Takes the sizes of the lanes.
    pub fn new(queue: &QueueBounds, gas_max: u64) -> Self {
        Self { bytes_max: queue.small_bytes_max, gas_max }
    }

    /// True if a request may run for long, however small it is: it asks for a trace, or its transactions have much gas, without
    /// counters a tenth of that. Of a request that is large anyway it is not asked.
    fn may_be_long(self, input: &BatchInput, request_bytes: usize) -> bool {
        if request_bytes > self.bytes_max {
            return false;
        }
        if input.trace.is_some() {
            return true;
        }
        let (forced, implicit_block) = match &input.context {
            BatchContext::V1 { .. } => (false, true),
            BatchContext::V2(context) => {
                (context.is_forced(), context.is_forced() || context.skip_first_change_l2_block)
            }
        };
        let mut items = Vec::new();
        // What comes before a fault counts: the batch ends there, and runs nothing.
        let _ =
            zkevm_batch::decode_into(&mut items, &input.batch_l2_data, input.fork_id.rules(), forced, implicit_block);
        let gas = items.iter().filter_map(BatchItem::transaction).map(|tx| tx.gas_limit.min(TX_GAS_LIMIT_MAX));
        let gas_max = if input.no_counters { self.gas_max / UNCOUNTED_GAS_SHARE } else { self.gas_max };
        gas.fold(0_u64, u64::saturating_add) > gas_max
    }
}

impl ExecutorApi {
    /// Creates the service over running actors. Until told of [`Self::with_short_calls`], only size makes a call long.
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
        let short = ShortCalls { bytes_max: 0, gas_max: 0 };
        let witness_memo = WitnessMemo::default();
        Self { front, stats, lifecycle, rules, store, prover_id, capture, witnesses, witness_memo, short }
    }

    /// Tells what makes a small request long all the same.
    #[must_use]
    pub fn with_short_calls(self, short: ShortCalls) -> Self {
        Self { short, ..self }
    }

    /// Puts a memory of hashes of witnesses in place.
    #[must_use]
    pub fn with_witness_memo(self, witness_memo: WitnessMemo) -> Self {
        Self { witness_memo, ..self }
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
        // Without the layer there is no bound.
        let memory = request.extensions().get().cloned().unwrap_or_else(|| MemoryBudget::default().call());
        let cancel = CancelToken::new(timing.deadline).with_memory(memory);
        let peer = request.extensions().get().map(|Peer(address)| *address);
        let mut message = request.into_inner();
        let request_bytes = message.encoded_len();
        let files = self.capture.request(rpc, &message);
        let context_id = cut_client_text(std::mem::take(context_id(&mut message)));
        trace.note_text("zkevm.context_id", &context_id);
        (Call { rpc, timing, cancel, request_bytes, peer, context_id, files, trace }, message)
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

    /// Validates a request: a large one where no other call waits for it, and while somebody waits for this one.
    async fn validated<T: Send + 'static>(
        &self,
        call: &Call,
        request: T,
        validate: Validate<T>,
    ) -> Result<Result<BatchInput, ExecutorError>, Status> {
        let rules = self.rules;
        if call.request_bytes <= INLINE_BYTES_MAX {
            return Ok(validate(request, rules, &mut |_| true));
        }
        let cancel = call.cancel.clone();
        // Dropped with this future: a validation whose client left ends.
        let waits = CancelOnDrop(cancel.clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut stopped = Ok(());
            let outcome = validate(request, rules, &mut |_| {
                stopped = cancel.check();
                stopped.is_ok()
            });
            stopped.map(|()| outcome)
        });
        let read = read.await;
        waits.keep();
        let bounds = call.cancel.memory().map_or(MemoryBounds::NONE, CallMemory::bounds);
        let read = read.map_err(|_| BatchFailure::Panicked);
        read.and_then(|outcome| outcome.map_err(|stopped| BatchFailure::of(stopped, bounds))).map_err(|failure| {
            self.stats.report(StatsEvent::unanswered(failure));
            failure.into()
        })
    }

    /// Sends a valid batch to the front and waits for what comes back.
    async fn execute<R: LoggedResponse + 'static>(
        &self,
        call: Call,
        input: BatchInput,
        convert: Convert<R>,
    ) -> Result<Response<Encoded>, Status> {
        let Call { rpc, timing, cancel, request_bytes, peer, context_id, files, mut trace } = call;
        self.capture.input(rpc, files.as_ref(), &context_id, &input);
        let origin = BatchOrigin::from(&input);
        let (sender, receiver) = oneshot::channel();
        let may_be_long = self.short.may_be_long(&input, request_bytes);
        let memory = cancel.memory().cloned();
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
            may_be_long,
            peer,
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
                memory,
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
        let answer = answer.unwrap_or(Err(BatchFailure::Panicked))?;
        let mut response = Response::new(Encoded::default());
        response.extensions_mut().insert(answer);
        Ok(response)
    }
}

/// A call without its batch.
struct Call {
    rpc: Rpc,
    timing: CallTiming,
    /// Stops it, and counts its memory.
    cancel: CancelToken,
    /// Size of the request as sent, or of one that would bring as much.
    request_bytes: usize,
    /// Who sent it.
    peer: Option<IpAddr>,
    /// The beginning of the free text of the client, for the log.
    context_id: String,
    /// Files to save about it.
    files: Option<RequestFiles>,
    /// Notes for its spans.
    trace: CallSpan,
}

/// Carries the answer of one batch to its handler.
struct OneshotReply<R> {
    sender: oneshot::Sender<Result<Answer, BatchFailure>>,
    context: ResponseContext,
    convert: Convert<R>,
    rpc: Rpc,
    files: Option<RequestFiles>,
    origin: BatchOrigin,
    capture: RequestCapture,
    memory: Option<CallMemory>,
}

impl<R: LoggedResponse + 'static> ReplyPort for OneshotReply<R> {
    fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    fn finish(self: Box<Self>, executed: Executed) -> SendReply {
        let Self { sender, context, convert, rpc, files, origin, capture, memory } = *self;
        // A client that left in the meantime needs no answer.
        if sender.is_closed() {
            return Box::new(|| ());
        }
        let response = convert(executed.output, &context, executed.flush);
        capture.response(rpc, files.as_ref(), origin, &response);
        let len = response.encoded_len();
        let bytes_max = memory.as_ref().map_or(usize::MAX, |memory| memory.bounds().answer_max);
        if len > bytes_max {
            return Box::new(move || {
                let _ = sender.send(Err(BatchFailure::AnswerTooLarge { bytes_max }));
            });
        }
        let bytes = Encoded::new(&response).into_bytes();
        drop(response);
        if let Some(memory) = &memory {
            // What the batch took is free but for the answer, which was counted as it grew.
            memory.shrink_to(len);
        }
        Box::new(move || {
            let _ = sender.send(Ok(Answer { bytes, memory }));
        })
    }

    fn fail(self: Box<Self>, failure: BatchFailure) {
        let _ = self.sender.send(Err(failure));
    }
}

/// Cancels a token when dropped, unless told to keep it.
struct CancelOnDrop(CancelToken);

impl CancelOnDrop {
    fn keep(mut self) {
        self.0 = CancelToken::default();
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
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
        match self.validated(&call, request, validate::process_batch_while).await? {
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
        match self.validated(&call, request, validate::process_batch_v2_while).await? {
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
        let (mut call, mut request) =
            self.take(Rpc::ProcessStatelessBatchV2, request, |request| &mut request.context_id);
        // The lines that say what is wrong with witness or stream name it.
        request.context_id.clone_from(&call.context_id);
        let (rules, memo, request_bytes) = (self.rules, self.witness_memo.clone(), call.request_bytes);
        let cancel = call.cancel.clone();
        // Dropped with this future: a reading whose client left ends.
        let waits = CancelOnDrop(cancel.clone());
        let read = self.witnesses.run(request_bytes, move || {
            let mut stopped = None;
            let outcome = validate::process_stateless_batch_v2_while(request, rules, &memo, &mut |bytes| {
                stopped = cancel.check().and_then(|()| cancel.take(bytes)).err();
                stopped.is_none()
            });
            stopped.map_or(Ok(outcome), Err)
        });
        let read = read.await;
        waits.keep();
        let bounds = call.cancel.memory().map_or(MemoryBounds::NONE, CallMemory::bounds);
        let read = read.and_then(|outcome| outcome.map_err(|stopped| BatchFailure::of(stopped, bounds)));
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
