//! The one place where failures become gRPC statuses. Domain failures never do: they are OK answers (executor-service §2).

use tonic::Status;

use crate::actors::BatchFailure;
use zkevm_store::hashdb::{HashDbError, SessionError};
use zkevm_tree::StoreError;
use zkevm_tree::TreeError;

impl From<BatchFailure> for Status {
    fn from(failure: BatchFailure) -> Self {
        let sentence = failure.to_string();
        match failure {
            // The only status real clients retry on (executor-service §13.2).
            BatchFailure::QueueFull { .. }
            | BatchFailure::QueueBytesFull { .. }
            | BatchFailure::ReceptionFull { .. }
            | BatchFailure::StateFull { .. }
            | BatchFailure::CallMemory { .. }
            | BatchFailure::ServerMemory { .. }
            | BatchFailure::AnswerTooLarge { .. } => Self::resource_exhausted(sentence),
            BatchFailure::Draining | BatchFailure::Stopped | BatchFailure::Cancelled => Self::cancelled(sentence),
            BatchFailure::DeadlineExceeded | BatchFailure::ReceptionSlow { .. } | BatchFailure::TooLong { .. } => {
                Self::deadline_exceeded(sentence)
            }
            BatchFailure::Panicked => Self::internal(sentence),
        }
    }
}

/// Returns the status of a request that names something impossible (hashdb-service §4).
pub(super) fn malformed(sentence: String) -> Status {
    Status::cancelled(sentence)
}

/// Returns the status of a HashDB call that the end of the server interrupts.
pub(super) fn shutting_down() -> Status {
    Status::cancelled("the server is shutting down")
}

/// Returns the status of a HashDB call that panicked.
pub(super) fn hashdb_panicked() -> Status {
    Status::internal("the call made the database fail; only this call is affected")
}

/// Returns the status of a question for statistics that are not kept any more.
pub(super) fn statistics_stopped() -> Status {
    Status::unavailable("the statistics have stopped")
}

/// Returns the status of a HashDB failure, for the calls whose answer clients believe without looking at its code
/// (hashdb-service §4).
pub(super) fn hashdb_status(error: HashDbError) -> Status {
    let sentence = error.to_string();
    match error {
        HashDbError::Tree(TreeError::MissingNode(_)) => Status::not_found(sentence),
        HashDbError::Session(SessionError::Full)
        | HashDbError::Store(StoreError::Full { .. })
        | HashDbError::Tree(TreeError::TooManyNodes) => Status::resource_exhausted(sentence),
        HashDbError::Session(_) | HashDbError::ResetDisabled => Status::failed_precondition(sentence),
        HashDbError::Store(StoreError::Unavailable(_))
        | HashDbError::Tree(TreeError::Store(StoreError::Unavailable(_))) => Status::unavailable(sentence),
        HashDbError::Tree(_) | HashDbError::Store(_) => Status::data_loss(sentence),
        HashDbError::HashMismatch(_) => Status::cancelled(sentence),
    }
}
