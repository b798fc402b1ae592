//! The format version of the files, and the sentence that refuses others.

use std::fmt::Display;

/// Version of the format of both files. Whatever changes their bytes raises it.
pub(super) const FORMAT_VERSION: u64 = 2;
/// Version before it, which is brought up to the present one when it is opened: its records have no checksums of their own,
/// and its log no programs.
pub(super) const FORMAT_VERSION_BEFORE: u64 = 1;

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

/// Says that the index is of no use and what to do. Whoever prints it puts the file's name in front.
pub(super) fn needs_rebuild(found: impl Display) -> String {
    format!(
        "{found}; the log of nodes beside it holds everything: put the index back that belongs to it, or make a new one \
         with `zkevm-executor state rebuild`; nothing was changed"
    )
}
