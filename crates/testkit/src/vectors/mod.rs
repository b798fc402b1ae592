//! Public test vectors and recorded answers, read from disk: data of others, so nothing here trusts a file.
//!
//! [`input`] reads one `executor-input` batch, [`manifest`] what is known about it, [`golden`] recorded
//! request/answer pairs, `walk` finds the files. Used by `process`, `conformance` and the tests, never by the server.

pub mod golden;
pub mod input;
pub mod json;
pub mod manifest;
mod walk;

pub use input::Vector;
pub use walk::{executor_inputs, is_executor_input};

use std::path::PathBuf;

/// The reason why a vector, a manifest or a recording could not be read.
#[derive(Debug, thiserror::Error)]
pub enum VectorError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file is not JSON of the expected shape.
    #[error("{}: {source}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The error of the parser, with its position.
        source: serde_json::Error,
    },
    /// A recorded message does not decode.
    #[error("{}: {source}", path.display())]
    Message {
        /// The file.
        path: PathBuf,
        /// The error of the parser, with its position.
        source: prost::DecodeError,
    },
    /// The batch belongs to a fork this build does not execute.
    #[error("fork {0} is not supported yet")]
    UnsupportedFork(u64),
    /// A value is out of its range.
    #[error("{key}: {problem}")]
    Value {
        /// The key in the file.
        key: String,
        /// The reason why it is refused.
        problem: String,
    },
}

impl VectorError {
    /// Names the key a value problem belongs to.
    fn value(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Value { key: key.into(), problem: problem.into() }
    }
}

/// Reads a file and names it in the error.
fn read(path: &std::path::Path) -> Result<Vec<u8>, VectorError> {
    std::fs::read(path).map_err(|source| VectorError::Read { path: path.to_path_buf(), source })
}
