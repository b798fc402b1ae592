//! Runs many independent jobs over the cores, with a progress bar, and survives panics.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use parking_lot::Mutex;

const STACK_BYTES: usize = 64 << 20;
const SLOW_AFTER: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_millis(100);

thread_local! {
    static PANIC_MESSAGE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work` and turns a panic into its message and place.
pub(super) fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|_| PANIC_MESSAGE.take().unwrap_or_else(|| "panic without a message".to_owned()))
}

/// While it lives, panics are kept for [`catch`] instead of being printed.
pub(super) struct QuietPanics;

impl QuietPanics {
    /// Installs the hook.
    pub(super) fn install() -> Self {
        std::panic::set_hook(Box::new(|info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let text = info.payload_as_str().unwrap_or("panic with an unknown payload");
            PANIC_MESSAGE.set(Some(format!("panic at {place}: {text}")));
        }));
        Self
    }
}

impl Drop for QuietPanics {
    fn drop(&mut self) {
        let _ = std::panic::take_hook();
    }
}

/// Makes the progress bar; without a terminal it stays silent.
pub(super) fn progress_bar(count: usize) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{elapsed_precise} {bar:40} {pos}/{len} {per_sec} {msg}");
    ProgressBar::with_draw_target(Some(count as u64), target)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Runs every job on `threads` threads and returns the results in the order of the jobs.
///
/// A panic becomes `Err` with its message. A job that runs for long is named on standard error while it runs.
pub(super) fn run_all<J: Sync, R: Send>(
    jobs: &[J],
    threads: usize,
    name: impl Fn(&J) -> &str + Sync,
    work: impl Fn(&J) -> R + Sync,
) -> Vec<Result<R, String>> {
    let _quiet = QuietPanics::install();
    let bar = progress_bar(jobs.len());
    let next = AtomicUsize::new(0);
    let running: Vec<Mutex<Option<(usize, Instant)>>> = (0..threads).map(|_| Mutex::new(None)).collect();
    let results: Mutex<Vec<Option<Result<R, String>>>> = Mutex::new(jobs.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        let workers: Vec<_> = running
            .iter()
            .filter_map(|slot| {
                let (next, results, work, bar) = (&next, &results, &work, &bar);
                let worker = move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = jobs.get(index) else { break };
                        *slot.lock() = Some((index, Instant::now()));
                        let result = catch(|| work(job));
                        *slot.lock() = None;
                        results.lock()[index] = Some(result);
                        bar.inc(1);
                    }
                };
                std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, worker).ok()
            })
            .collect();
        let mut named = vec![false; jobs.len()];
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(TICK.min(Duration::from_millis(10 + jobs.len() as u64)));
            for (index, start) in running.iter().filter_map(|slot| *slot.lock()) {
                if start.elapsed() > SLOW_AFTER && !std::mem::replace(&mut named[index], true) {
                    bar.suspend(|| eprintln!("still running after {SLOW_AFTER:?}: {}", name(&jobs[index])));
                }
            }
        }
    });
    bar.finish_and_clear();
    let missing = || Err("no thread could be started".to_owned());
    results.into_inner().into_iter().map(|result| result.unwrap_or_else(missing)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_a_panic_costs_one_job() {
        let jobs: Vec<u32> = (0..50).collect();
        let results = run_all(&jobs, 4, |_| "job", |job| if *job == 7 { panic!("seven") } else { job * 2 });
        assert_eq!(results.len(), 50);
        assert_eq!(results[49], Ok(98));
        assert!(results[7].as_ref().unwrap_err().contains("seven"), "{:?}", results[7]);
    }
}
