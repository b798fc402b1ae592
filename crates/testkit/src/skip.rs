//! How a test says that it cannot run here, and where the data lies that is not part of the repository.
//!
//! A test without its data or its program is skipped: it returns, and so passes. It says so on the standard error of
//! the process, because the harness captures what the print macros of a passing test write. What could have been
//! installed is not skipped where `CI_FAIL_ON_SKIP` is `1`: there the test fails.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Set to `1` where every program that tests need is to be installed.
const FAIL_ON_SKIP: &str = "CI_FAIL_ON_SKIP";

/// Says that the calling test is skipped for want of a program, such as `no nginx (Debian's package nginx-light)`.
///
/// # Panics
///
/// If `CI_FAIL_ON_SKIP` is `1`.
pub fn missing_tool(reason: &str) {
    announce(reason);
    let fails = std::env::var_os(FAIL_ON_SKIP).is_some_and(|value| value == "1");
    assert!(!fails, "{reason}, and {FAIL_ON_SKIP} is 1");
}

/// Says that the calling test is skipped for want of data, such as `no recordings in ../golden`.
pub fn missing_data(reason: &str) {
    announce(reason);
}

/// Returns a file or folder of the public vectors, such as `unit/smt/smt-raw.json`; if it is not there, says that the
/// calling test is skipped.
///
/// The vectors lie in the folder of `ZKEVM_VECTORS`, by default in `shared/vectors` beside the repository.
pub fn vectors(part: &str) -> Option<PathBuf> {
    find(&vectors_folder(), part, "ZKEVM_VECTORS")
}

/// Returns a file or folder of the recorded answers, such as `vectors/INDEX.jsonl`; if it is not there, says that the
/// calling test is skipped.
///
/// The recordings lie in the folder of `ZKEVM_GOLDEN`, by default in `golden` beside the vectors.
pub fn recordings(part: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("ZKEVM_GOLDEN").map_or_else(|| vectors_folder().join("../golden"), PathBuf::from);
    find(&folder, part, "ZKEVM_GOLDEN")
}

/// Returns a file or folder of the recorded answers for forks 9 to 13, such as `stateless`; if it is not there, says that the
/// calling test is skipped.
///
/// The recordings lie in the folder of `ZKEVM_GOLDEN_LATER`, by default in `golden-later` beside the vectors.
pub fn later_recordings(part: &str) -> Option<PathBuf> {
    beside("golden-later", part, "ZKEVM_GOLDEN_LATER")
}

/// Returns a file of the stateless requests of running sequencers, such as `index.json`; if it is not there, says that the
/// calling test is skipped.
///
/// They lie in the folder of `ZKEVM_STATELESS`, by default in `stateless` beside the vectors.
pub fn stateless_requests(part: &str) -> Option<PathBuf> {
    beside("stateless", part, "ZKEVM_STATELESS")
}

/// Returns a file of the recorded ways through ROMs, such as `INDEX.json`; if it is not there, says that the calling test is
/// skipped.
///
/// They lie in the folder of `ZKEVM_ROM_STEPS`, by default in `rom-steps` beside the vectors.
pub fn rom_steps(part: &str) -> Option<PathBuf> {
    beside("rom-steps", part, "ZKEVM_ROM_STEPS")
}

fn beside(folder: &str, part: &str, variable: &str) -> Option<PathBuf> {
    let folder = std::env::var_os(variable).map_or_else(|| vectors_folder().join("..").join(folder), PathBuf::from);
    find(&folder, part, variable)
}

fn vectors_folder() -> PathBuf {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    std::env::var_os("ZKEVM_VECTORS").map_or_else(beside, PathBuf::from)
}

fn find(folder: &Path, part: &str, variable: &str) -> Option<PathBuf> {
    let path = folder.join(part);
    if path.exists() {
        return Some(path);
    }
    missing_data(&format!("nothing at {} (set {variable})", path.display()));
    None
}

/// Writes the line. The harness names the thread of a test after it.
fn announce(reason: &str) {
    let thread = std::thread::current();
    let line = format!("\nSKIPPED {}: {reason}\n", thread.name().unwrap_or("a test"));
    // In one piece, so that tests beside this one do not write into it.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
