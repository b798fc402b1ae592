//! The format version of the files, and the sentence that refuses others.

use std::fmt::Display;

/// Version of the format of both files. Whatever changes their bytes raises it.
pub(super) const FORMAT_VERSION: u64 = 1;

/// Says why a file is refused and what to do. Whoever prints it puts the file's name in front.
pub(super) fn refusal(found: impl Display) -> String {
    format!(
        "{found}, but this release reads and writes format version {FORMAT_VERSION}: start the release of \
         zkevm-executor that wrote the file, or name another folder in store.path; nothing was changed"
    )
}

/// Names the version found.
pub(super) fn found_version(version: u64) -> String {
    format!("the file has format version {version}")
}
