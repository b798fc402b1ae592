//! The reason why a batch ends before its time.

use std::borrow::Cow;

use zkevm_pool::Cancelled;
use zkevm_tree::{StoreError, TreeError};
use zkevm_types::ExecutorError;

/// The reason why a run was given up (main-state-machine §10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Abort {
    /// The batch is answered with this error; the text names the cause where the number does not.
    Error(ExecutorError, Cow<'static, str>),
    /// There will be no answer.
    Cancelled(Cancelled),
}

/// A mark of no version: only a damaged machine has one.
pub(crate) const UNKNOWN_VERSION: Abort = Abort::unspecified("a root of no version");

impl Abort {
    /// Returns an abort with an error that says everything.
    pub const fn new(error: ExecutorError) -> Self {
        Self::Error(error, Cow::Borrowed(""))
    }

    /// Returns an abort where the original process would have died (main-state-machine §10.3).
    pub const fn unspecified(cause: &'static str) -> Self {
        Self::Error(ExecutorError::Unspecified, Cow::Borrowed(cause))
    }
}

impl From<ExecutorError> for Abort {
    fn from(error: ExecutorError) -> Self {
        Self::new(error)
    }
}

impl From<Cancelled> for Abort {
    fn from(cancelled: Cancelled) -> Self {
        Self::Cancelled(cancelled)
    }
}

impl From<TreeError> for Abort {
    fn from(error: TreeError) -> Self {
        let number = match &error {
            TreeError::MissingNode(_) => ExecutorError::DbKeyNotFound,
            TreeError::CorruptNode(..) => ExecutorError::SmtInvalidDataSize,
            TreeError::Store(error) => return error.clone().into(),
            TreeError::TooManyNodes => ExecutorError::Unspecified,
        };
        Self::Error(number, error.to_string().into())
    }
}

impl From<StoreError> for Abort {
    fn from(error: StoreError) -> Self {
        let number = match error {
            StoreError::InvalidNodeSize { .. } => ExecutorError::SmtInvalidDataSize,
            StoreError::Damaged { .. } | StoreError::Full { .. } | StoreError::Unavailable(_) => ExecutorError::DbError,
        };
        Self::Error(number, error.to_string().into())
    }
}
