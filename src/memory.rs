//! The memory of the process.

/// Makes the system back the memory of this process with pages of the usual size only (Linux: `PR_SET_THP_DISABLE`, prctl(2)).
///
/// The allocator asks for huge pages. The first touch of one clears 2 MiB, which takes longer than the small batch that waits
/// for it: one call in a hundred was several milliseconds late. Full batches take as long either way (docs/decisions/007-small-pages.md).
/// Where the system refuses, its setting stays as it is: called before there is a log to say so.
pub fn disable_transparent_huge_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
