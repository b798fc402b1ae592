//! Starts the actors on their threads and stops them again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::{Actor, Addr, AsyncContext, Supervisor};
use actix_rt::{Arbiter, System};

use super::BatchEngine;
use super::diagnostics::running::Running;
use super::diagnostics::slowest::Slowest;
use super::executor_actor::{ExecutorActor, ExecutorShared};
use super::front::{FrontActor, FrontHandle};
use super::gauges::FrontGauges;
use super::lanes::QueueBounds;
use super::lifecycle::Lifecycle;
use super::stats::{PoolGauges, StatsActor, StatsHandle, StatsReporter};
use super::writer::WriterActor;
use zkevm_store::StateStore;

/// Sizes of the actor system.
#[derive(Clone, Copy, Debug)]
pub struct ActorOptions {
    /// Executor actors, each with a thread of its own.
    pub executors: usize,
    /// Bounds of the jobs that wait for an executor.
    pub queue: QueueBounds,
    /// Length of a statistics window.
    pub stats_window: Duration,
    /// A batch that runs longer is reported; `None` for never.
    pub slow_after: Option<Duration>,
    /// Longest run of a batch; `None` for ever.
    pub batch_limit: Option<Duration>,
    /// Batches at fewer gas per second have their input logged; 0 for none.
    pub input_gas_threshold: f64,
    /// Niceness of the executors' threads but the reserved one's, where the system has that for a thread.
    pub executor_niceness: i32,
    /// Bytes of inputs that are kept of the slowest batches.
    pub slowest_input_bytes_max: usize,
}

/// The running actors.
pub struct ActorSystem {
    front: FrontHandle,
    stats: StatsHandle,
    /// Keeps the writer alive; `None` for a store without database.
    writer: Option<Addr<WriterActor>>,
    running: Arc<Running>,
    slowest: Arc<Slowest>,
    state: Arc<StateStore>,
    system: System,
    thread: JoinHandle<()>,
}

impl ActorSystem {
    /// Starts front, executors, statistics and writer, each on an arbiter of its own beside the actix system's thread.
    ///
    /// Fails when threads cannot be started.
    pub fn start(
        options: ActorOptions,
        engine: Arc<dyn BatchEngine>,
        state: Arc<StateStore>,
        lifecycle: Lifecycle,
    ) -> io::Result<Self> {
        let (ready, started) = mpsc::channel();
        let kept = Arc::clone(&state);
        let thread = std::thread::Builder::new().name("actix-system".to_owned()).spawn(move || {
            let runner = System::new();
            let actors = runner.block_on(async move { start_actors(options, engine, state, lifecycle) });
            let failed = actors.is_err();
            // The receiver waits for exactly this message.
            let _ = ready.send(actors.map(|actors| (actors, System::current())));
            if !failed && let Err(error) = runner.run() {
                tracing::error!(%error, "actor system ended badly");
            }
        })?;
        let gone = |_| io::Error::other("the actor system's thread ended before it was ready");
        let (actors, system) = started.recv().map_err(gone)??;
        let StartedActors { front, stats, writer, running, slowest } = actors;
        Ok(Self { front, stats, writer, running, slowest, state: kept, system, thread })
    }

    /// Returns the way to the front.
    pub fn front(&self) -> &FrontHandle {
        &self.front
    }

    /// Returns the way to the statistics.
    pub fn stats(&self) -> &StatsHandle {
        &self.stats
    }

    /// Returns the batch at hand of each executor.
    pub fn running(&self) -> &Arc<Running> {
        &self.running
    }

    /// Returns the slowest of the recent batches.
    pub fn slowest(&self) -> &Arc<Slowest> {
        &self.slowest
    }

    /// Stops every arbiter. An executor in the middle of a batch ends at its next look at its token.
    ///
    /// Waits for the writer to store what was accepted before, as long as it gets on: with something stored in every
    /// `store_limit`. Returns true if everything was stored.
    pub fn stop(self, store_limit: Duration) -> bool {
        let stored = self.state.close(store_limit);
        if !stored {
            let status = self.state.flush_status();
            tracing::error!(
                stored_flush_id = status.stored_flush_id,
                last_flush_id = status.last_flush_id,
                "stopped before all state was stored"
            );
        }
        drop(self.writer);
        self.system.stop();
        if self.thread.join().is_err() {
            tracing::error!("the actor system's thread panicked");
        }
        stored
    }
}

struct StartedActors {
    front: FrontHandle,
    stats: StatsHandle,
    writer: Option<Addr<WriterActor>>,
    running: Arc<Running>,
    slowest: Arc<Slowest>,
}

fn start_actors(
    options: ActorOptions,
    engine: Arc<dyn BatchEngine>,
    state: Arc<StateStore>,
    lifecycle: Lifecycle,
) -> io::Result<StartedActors> {
    let executors = options.executors + usize::from(options.queue.has_priority_lane());
    let gauges = Arc::new(FrontGauges::new(lifecycle.clone(), options.queue.jobs_max));
    let pool = PoolGauges { front: Arc::clone(&gauges), executors, lifecycle, state: Arc::clone(&state) };
    let (reporter, events) = StatsReporter::new();
    let stats_actor = StatsActor::new(options.stats_window, events, reporter.clone(), pool);
    let stats = StatsActor::start_in_arbiter(&Arbiter::try_new()?.handle(), |_| stats_actor);

    let mut writer = None;
    if state.needs_writer() {
        let actor = WriterActor::new(Arc::clone(&state), options.executor_niceness);
        writer = Some(Supervisor::start_in_arbiter(&Arbiter::try_new()?.handle(), |_| actor));
    }

    let running = Running::new((0..executors).map(|number| number >= options.executors), options.slow_after);
    let slowest = Slowest::new(options.slowest_input_bytes_max);
    let shared = Arc::new(ExecutorShared {
        engine,
        state,
        stats: reporter.clone(),
        running: Arc::clone(&running),
        slowest: Arc::clone(&slowest),
        niceness: options.executor_niceness,
        input_gas_threshold: options.input_gas_threshold,
        batch_limit: options.batch_limit,
        counter: AtomicU64::new(0),
    });
    let arbiters = (0..executors).map(|_| Ok(Arbiter::try_new()?.handle())).collect::<io::Result<Vec<_>>>()?;
    let front = {
        let (gauges, stats) = (Arc::clone(&gauges), reporter.clone());
        // Front and executors know each other: the front is made with the addresses of executors that are made with its own.
        FrontActor::start_in_arbiter(&Arbiter::try_new()?.handle(), move |ctx| {
            let front = ctx.address();
            let start = |(number, arbiter)| {
                let is_reserved = number >= options.executors;
                let executor = ExecutorActor::new(number, is_reserved, front.clone(), Arc::clone(&shared));
                Supervisor::start_in_arbiter(arbiter, |_| executor).recipient()
            };
            let workers = arbiters.iter().enumerate().map(start).collect();
            FrontActor::new(options.queue, options.executors, workers, gauges, stats)
        })
    };
    let front = FrontHandle::new(front, gauges, reporter.clone());
    Ok(StartedActors { front, stats: StatsHandle { stats, reporter }, writer, running, slowest })
}
