//! Priorities of threads: those that compute for long go behind those that answer calls, and these get a core as soon as they wake up.
//!
//! The only module with `unsafe` in the service: [`request_short_slice`] makes a system call that no crate wraps.

/// Lowers the priority of this thread behind those that answer calls, as `executor.niceness` says.
#[cfg(target_os = "linux")]
pub fn lower_priority(niceness: i32) {
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

/// Slice of a thread that works for moments only, in nanoseconds. The shortest that Linux allows.
#[cfg(target_os = "linux")]
const SHORT_SLICE: u64 = 100_000;

/// Lets this thread take the core of one with a longer slice when it wakes up (sched_setattr(2), Linux 6.12 and later).
///
/// Without that it waits until the slice of whoever runs there is over, 2.8 ms on a machine with many cores. Its share of
/// the cores stays what it was. For threads that sleep most of the time and work for a moment only. Earlier kernels take no
/// notice; where the system refuses, everything stays as it is: calls are answered all the same, only later.
#[cfg(target_os = "linux")]
pub fn request_short_slice() {
    let Ok(nice) = rustix::process::getpriority_process(None) else { return };
    let attributes = libc::sched_attr {
        size: size_of::<libc::sched_attr>() as u32,
        sched_policy: libc::SCHED_OTHER as u32,
        sched_flags: libc::SCHED_FLAG_KEEP_POLICY as u64,
        sched_nice: nice,
        sched_priority: 0,
        sched_runtime: SHORT_SLICE,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the system call reads `size` bytes of the structure it is given, which lives until it returns, and writes to
    // no memory of the process. Thread 0 is the calling one.
    let refused = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } != 0;
    if refused {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "the slice of a thread could not be set");
    }
}

/// Elsewhere threads have no slice of their own.
#[cfg(not(target_os = "linux"))]
pub fn request_short_slice() {}

/// Elsewhere threads have no niceness of their own.
#[cfg(not(target_os = "linux"))]
pub fn lower_priority(_: i32) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{getpid, getpriority_process};

    #[test]
    fn the_priority_of_one_thread_is_lowered_once_however_often_it_starts() {
        let base = getpriority_process(Some(getpid())).unwrap();
        let own = std::thread::spawn(|| {
            super::lower_priority(3);
            super::lower_priority(3);
            getpriority_process(None).unwrap()
        });
        assert_eq!(own.join().unwrap(), (base + 3).min(19));
        assert_eq!(getpriority_process(Some(getpid())).unwrap(), base, "the process stays as it is");
    }

    #[test]
    fn a_thread_that_wakes_soon_keeps_its_niceness() {
        let kept = std::thread::spawn(|| {
            super::lower_priority(2);
            let before = getpriority_process(None).unwrap();
            super::request_short_slice();
            (before, getpriority_process(None).unwrap())
        });
        let (before, after) = kept.join().unwrap();
        assert_eq!(after, before);
    }
}
