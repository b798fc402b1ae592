//! The place of threads that compute for long behind those that answer calls, for which every microsecond counts.

/// Lets the threads that answer calls go before this one, as `executor.niceness` says.
#[cfg(target_os = "linux")]
pub(super) fn stand_back(niceness: i32) {
    let set = match niceness {
        0 => Ok(()),
        IDLE_CLASS => enter_idle_class(),
        more => add_niceness(more),
    };
    if let Err(error) = set {
        tracing::warn!(%error, niceness, "the niceness of a thread could not be set");
    }
}

/// The niceness that stands for Linux' idle class, `SCHED_IDLE`: unlike niceness, which shares a core out, whoever is not
/// in it goes before it at once (sched(7)).
#[cfg(target_os = "linux")]
const IDLE_CLASS: i32 = 20;

#[cfg(target_os = "linux")]
fn enter_idle_class() -> std::io::Result<()> {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
        thread_native_id,
    };
    let policy = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    let set = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, policy);
    set.map_err(|error| std::io::Error::other(format!("{error:?}")))
}

#[cfg(target_os = "linux")]
fn add_niceness(niceness: i32) -> std::io::Result<()> {
    use rustix::process::{getpid, getpriority_process, setpriority_process};
    // Linux has a niceness per thread: that of the process is its first thread's, and `None` is the calling thread.
    Ok(getpriority_process(Some(getpid())).and_then(|base| setpriority_process(None, base + niceness))?)
}

/// Elsewhere threads have no niceness of their own.
#[cfg(not(target_os = "linux"))]
pub(super) fn stand_back(_: i32) {}
