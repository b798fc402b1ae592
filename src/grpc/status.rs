//! The one place where failures become gRPC statuses. Domain failures never do: they are OK answers (executor-service §2).

use tonic::Status;

use crate::actors::BatchFailure;

impl From<BatchFailure> for Status {
    fn from(failure: BatchFailure) -> Self {
        let sentence = failure.to_string();
        match failure {
            // The only status real clients retry on (executor-service §13.2).
            BatchFailure::QueueFull { .. } | BatchFailure::StateFull { .. } => Self::resource_exhausted(sentence),
            BatchFailure::Draining | BatchFailure::Stopped | BatchFailure::Cancelled => Self::cancelled(sentence),
            BatchFailure::DeadlineExceeded => Self::deadline_exceeded(sentence),
            BatchFailure::Panicked => Self::internal(sentence),
        }
    }
}
