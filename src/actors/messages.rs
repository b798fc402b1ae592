//! What travels between the servers and the actors, and between the actors.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::capture::RequestFiles;
use crate::telemetry::CallSpan;
use zkevm_pool::memory::{CallMemory, MemoryBound, MemoryBounds};
use zkevm_pool::{CancelToken, Cancelled};
use zkevm_types::FlushIds;
use zkevm_types::{BatchInput, BatchOutput};

/// The calls of the executor service (executor-service §1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rpc {
    /// `ProcessBatch`.
    ProcessBatch,
    /// `ProcessBatchV2`.
    ProcessBatchV2,
    /// `ProcessStatelessBatchV2`.
    ProcessStatelessBatchV2,
    /// `GetFlushStatus`.
    GetFlushStatus,
}

impl Rpc {
    /// Every call.
    pub const ALL: [Self; 4] =
        [Self::ProcessBatch, Self::ProcessBatchV2, Self::ProcessStatelessBatchV2, Self::GetFlushStatus];

    /// Returns the name in the contract.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProcessBatch => "ProcessBatch",
            Self::ProcessBatchV2 => "ProcessBatchV2",
            Self::ProcessStatelessBatchV2 => "ProcessStatelessBatchV2",
            Self::GetFlushStatus => "GetFlushStatus",
        }
    }

    /// Returns true if the call brings a batch to run.
    pub const fn brings_batch(self) -> bool {
        match self {
            Self::ProcessBatch | Self::ProcessBatchV2 | Self::ProcessStatelessBatchV2 => true,
            Self::GetFlushStatus => false,
        }
    }
}

/// The reason why a batch got no answer of its own. Domain failures are not here: they are answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchFailure {
    /// The queue is at its bound.
    #[error("the executor queue is full: {capacity} batches are waiting, try again later")]
    QueueFull {
        /// Bound of the queue.
        capacity: usize,
    },
    /// The requests in the queue are at their bound of bytes.
    #[error(
        "the executor queue is full: the waiting requests take {} MiB (executor.queue_mib), try again later",
        bytes_max >> 20
    )]
    QueueBytesFull {
        /// Bound of the bytes that wait.
        bytes_max: usize,
    },
    /// The requests that are being received are at their bound of bytes.
    #[error(
        "too much is being received at once: requests under way take {} MiB (limits.receive_mib), try again later",
        bytes_max >> 20
    )]
    ReceptionFull {
        /// Bound of the bytes that are received at the same time.
        bytes_max: usize,
    },
    /// The request did not come in completely in time.
    #[error("the request was not complete within {} s (limits.receive_seconds)", limit.as_secs_f64())]
    ReceptionSlow {
        /// Time a request may take to come in.
        limit: Duration,
    },
    /// The state this batch leaves cannot become permanent: memory is at its bound.
    #[error(
        "the state of the batch was not kept: permanent state is at its bound of {} MiB (state.permanent_mib)",
        bytes_max >> 20
    )]
    StateFull {
        /// Bound of permanent state.
        bytes_max: usize,
    },
    /// What the call asks for takes more memory than one may.
    #[error(
        "the call takes more than {} MiB of memory for what it asks for (limits.call_memory_mib)",
        bytes_max >> 20
    )]
    CallMemory {
        /// Bound of the memory of one call.
        bytes_max: usize,
    },
    /// All calls together take more memory than they may.
    #[error(
        "all calls together take {} MiB of memory for what they ask for (limits.memory_mib), try again later",
        bytes_max >> 20
    )]
    ServerMemory {
        /// Bound of the memory of all calls.
        bytes_max: usize,
    },
    /// The answer is larger than one may be.
    #[error("the answer would be larger than {} MiB (limits.answer_mib)", bytes_max >> 20)]
    AnswerTooLarge {
        /// Bound of one answer.
        bytes_max: usize,
    },
    /// The batch ran for as long as one may.
    #[error("the batch was given up after {} s (executor.batch_seconds)", limit.as_secs_f64())]
    TooLong {
        /// Longest run of a batch.
        limit: Duration,
    },
    /// New batches are not admitted any more.
    #[error("the server is shutting down and accepts no new batches")]
    Draining,
    /// The server stopped before the batch ended.
    #[error("the server stopped before the batch ended")]
    Stopped,
    /// The client left.
    #[error("the client cancelled the call")]
    Cancelled,
    /// The client's deadline passed.
    #[error("the deadline passed before the batch ended")]
    DeadlineExceeded,
    /// The batch made the executor panic.
    #[error("the batch made the executor fail; only this call is affected")]
    Panicked,
}

impl BatchFailure {
    /// Returns why a batch was given up; `bounds` are those it ran under.
    pub fn of(cancelled: Cancelled, bounds: MemoryBounds) -> Self {
        match cancelled {
            Cancelled::Client => Self::Cancelled,
            Cancelled::Deadline => Self::DeadlineExceeded,
            Cancelled::TooLong { limit } => Self::TooLong { limit },
            Cancelled::Memory(MemoryBound::Call) => Self::CallMemory { bytes_max: bounds.call_max },
            Cancelled::Memory(MemoryBound::All) => Self::ServerMemory { bytes_max: bounds.all_max },
            Cancelled::Memory(MemoryBound::Answer) => Self::AnswerTooLarge { bytes_max: bounds.answer_max },
        }
    }
}

/// Returns the bounds of the memory that a batch takes from.
pub(crate) fn bounds_of(cancel: &CancelToken) -> MemoryBounds {
    cancel.memory().map_or(MemoryBounds::NONE, CallMemory::bounds)
}

/// A batch that ran, with the flush ids of its writes.
#[derive(Debug)]
pub struct Executed {
    /// Its output; nodes and programs are taken out already.
    pub output: BatchOutput,
    /// Flush ids for the answer.
    pub flush: FlushIds,
}

/// Sends an answer that is ready.
pub type SendReply = Box<dyn FnOnce() + Send>;

/// The way back to the handler that waits for a batch.
pub trait ReplyPort: Send {
    /// True when nobody waits any more.
    fn is_closed(&self) -> bool;

    /// Makes the answer on the calling thread; it goes out when the returned function is called.
    fn finish(self: Box<Self>, executed: Executed) -> SendReply;

    /// Tells the handler that there is no answer.
    fn fail(self: Box<Self>, failure: BatchFailure);
}

/// One batch on its way through the actors. Dropping it unanswered makes the waiting handler fail the call.
pub struct BatchJob {
    /// Call it came by.
    pub rpc: Rpc,
    /// The validated request.
    pub input: BatchInput,
    /// Size of the request as sent, in bytes, or of one that would bring as much: decides about its lane, with
    /// `may_be_long`, and counts against the bound of the queue.
    pub request_bytes: usize,
    /// It may run for long, however small it is.
    pub may_be_long: bool,
    /// Who sent it: an address, of IPv6 the network. Peers take turns.
    pub peer: Option<IpAddr>,
    /// Free text of the client for the log.
    pub context_id: String,
    /// Files to save about it.
    pub files: Option<RequestFiles>,
    /// Notes for its spans.
    pub trace: CallSpan,
    /// Fires when the client leaves or its deadline passes.
    pub cancel: CancelToken,
    /// The time at which the call arrived.
    pub received_at: Instant,
    /// Way back.
    pub reply: Box<dyn ReplyPort>,
    /// Counts the job as in flight while it lives.
    pub in_flight: InFlightGuard,
}

impl BatchJob {
    /// Returns why running the job makes no sense any more, if so.
    pub fn given_up(&self) -> Option<BatchFailure> {
        match self.cancel.check() {
            Err(cancelled) => Some(BatchFailure::of(cancelled, bounds_of(&self.cancel))),
            Ok(()) => self.reply.is_closed().then_some(BatchFailure::Cancelled),
        }
    }
}

/// Counts the jobs between admission and answer.
#[derive(Clone, Debug, Default)]
pub struct InFlight {
    shared: Arc<InFlightShared>,
}

#[derive(Debug, Default)]
struct InFlightShared {
    jobs: AtomicUsize,
    none_left: Notify,
}

impl InFlight {
    /// Counts one more job until the guard is dropped.
    pub fn enter(&self) -> InFlightGuard {
        self.shared.jobs.fetch_add(1, Ordering::AcqRel);
        InFlightGuard { in_flight: self.clone() }
    }

    /// Waits until no job is in flight.
    pub async fn none_left(&self) {
        loop {
            let notified = self.shared.none_left.notified();
            if self.shared.jobs.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.await;
        }
    }
}

/// One job in flight.
#[derive(Debug)]
pub struct InFlightGuard {
    in_flight: InFlight,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        let shared = &self.in_flight.shared;
        if shared.jobs.fetch_sub(1, Ordering::AcqRel) == 1 {
            shared.none_left.notify_waiters();
        }
    }
}
