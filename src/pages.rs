//! The pages of the process's memory.

/// Has the system back the memory of this process with pages of the usual size only (Linux: `PR_SET_THP_DISABLE`, prctl(2)).
///
/// The allocator asks for huge pages. The first touch of one clears 2 MiB, which takes longer than the batches that wait for
/// it: without them a hundredth of the calls with one transaction is not several milliseconds late, and less memory is
/// taken. Full batches take as long either way (docs/performance.md).
pub fn keep_small() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "huge pages could not be turned off");
    }
}
