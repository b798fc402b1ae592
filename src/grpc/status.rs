//! The one place where failures become gRPC statuses. Domain failures never do: they are OK answers (executor-service §2).

use tonic::Status;

use crate::actors::BatchFailure;
use crate::hashdb::{HashDbError, SessionError};
use crate::tree::StoreError;
use crate::tree::TreeError;

impl From<BatchFailure> for Status {
    fn from(failure: BatchFailure) -> Self {
        let sentence = failure.to_string();
        match failure {
            // The only status real clients retry on (executor-service §13.2).
            BatchFailure::QueueFull { .. }
            | BatchFailure::QueueBytesFull { .. }
            | BatchFailure::ReceptionFull { .. }
            | BatchFailure::StateFull { .. } => Self::resource_exhausted(sentence),
            BatchFailure::Draining | BatchFailure::Stopped | BatchFailure::Cancelled => Self::cancelled(sentence),
            BatchFailure::DeadlineExceeded | BatchFailure::ReceptionSlow { .. } => Self::deadline_exceeded(sentence),
            BatchFailure::Panicked => Self::internal(sentence),
        }
    }
}

/// For the calls whose answer clients believe without looking at its code (hashdb-service §4).
impl From<HashDbError> for Status {
    fn from(error: HashDbError) -> Self {
        let sentence = error.to_string();
        match error {
            HashDbError::Tree(TreeError::MissingNode(_)) => Self::not_found(sentence),
            HashDbError::Session(SessionError::Full)
            | HashDbError::Store(StoreError::Full { .. })
            | HashDbError::Tree(TreeError::TooManyNodes) => Self::resource_exhausted(sentence),
            HashDbError::Session(_) | HashDbError::ResetDisabled => Self::failed_precondition(sentence),
            HashDbError::Store(StoreError::Unavailable(_))
            | HashDbError::Tree(TreeError::Store(StoreError::Unavailable(_))) => Self::unavailable(sentence),
            HashDbError::Tree(_) | HashDbError::Store(_) => Self::data_loss(sentence),
            HashDbError::FalseClaim(_) => Self::cancelled(sentence),
        }
    }
}
