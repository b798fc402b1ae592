//! The executor actors: each on a thread of its own, one batch at a time, start to end.
//!
//! An executor tells the front that it is free when it starts and when it has answered a job, and gets the next one by
//! message. Its thread has nothing else to do, which is why that message's handler may block and compute. A panic inside a
//! batch costs that call; the actor then stops, its supervisor starts it again, and both are counted.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use actix::{Actor, ActorContext, Addr, Context, Handler, Supervised};

use super::diagnostics::running::{Running, RunningGuard};
use super::diagnostics::slowest::{Ended, Slowest};
use super::dispatcher::WorkerId;
use super::front::{FrontActor, Run, WorkerIdle};
use super::messages::{BatchFailure, BatchJob, Executed, bounds_of};
use super::state::{self, NotKept};
use super::stats::{BatchLogLine, BatchSample, BatchTotals, StatsEvent, StatsReporter};
use super::{BatchEngine, Rpc, panic_message};
use crate::capture::input_json;
use crate::scheduling::{lower_priority, request_short_slice};
use crate::telemetry::CallSpan;
use zkevm_pool::Cancelled;
use zkevm_store::StateStore;
use zkevm_tree::StoreError;
use zkevm_types::FlushIds;
use zkevm_types::PhaseTimes;
use zkevm_types::{BatchInput, BatchOutput, ExecutorError};

/// The parts that all executors share.
pub(super) struct ExecutorShared {
    pub(super) engine: Arc<dyn BatchEngine>,
    pub(super) state: Arc<StateStore>,
    pub(super) stats: StatsReporter,
    /// The batches at hand.
    pub(super) running: Arc<Running>,
    /// The slow batches.
    pub(super) slowest: Arc<Slowest>,
    /// Niceness of the threads but the reserved one's, where the system has that for a thread.
    pub(super) niceness: i32,
    /// Batches at fewer gas per second have their input logged; 0 for none.
    pub(super) input_gas_threshold: f64,
    /// Longest run of a batch; `None` for ever.
    pub(super) batch_limit: Option<Duration>,
    /// Calls counted for the log line (executor-service §10).
    pub(super) counter: AtomicU64,
}

/// Runs batches.
pub(super) struct ExecutorActor {
    number: WorkerId,
    /// Takes small jobs only.
    is_reserved: bool,
    front: Addr<FrontActor>,
    shared: Arc<ExecutorShared>,
}

impl ExecutorActor {
    pub(super) fn new(
        number: WorkerId,
        is_reserved: bool,
        front: Addr<FrontActor>,
        shared: Arc<ExecutorShared>,
    ) -> Self {
        Self { number, is_reserved, front, shared }
    }
}

impl Actor for ExecutorActor {
    type Context = Context<Self>;

    /// Also after a restart: the front gives an executor one job for each announcement.
    fn started(&mut self, _: &mut Self::Context) {
        // The reserved one runs for a moment only, for somebody who waits for just that: it goes before full batches.
        if self.is_reserved {
            request_short_slice();
        } else {
            lower_priority(self.shared.niceness);
        }
        self.front.do_send(WorkerIdle(self.number));
    }
}

impl Supervised for ExecutorActor {
    fn restarting(&mut self, _: &mut Self::Context) {
        self.shared.running.restarted(self.number);
        self.shared.stats.report(StatsEvent::ExecutorRestarted);
    }
}

impl Handler<Run> for ExecutorActor {
    type Result = ();

    fn handle(&mut self, Run(job): Run, ctx: &mut Self::Context) {
        let context_id = job.context_id.clone();
        match catch_unwind(AssertUnwindSafe(|| self.shared.run(self.number, job))) {
            Ok(()) => self.front.do_send(WorkerIdle(self.number)),
            Err(panic) => {
                tracing::error!(context_id, panic = panic_message(&*panic), "executor panicked, restarting it");
                self.shared.stats.report(StatsEvent::ExecutorPanicked);
                ctx.stop();
            }
        }
    }
}

impl ExecutorShared {
    /// Runs one job and answers it. On a panic the job is dropped unanswered, which fails the call.
    fn run(&self, executor: usize, mut job: Box<BatchJob>) {
        let started = Instant::now();
        job.trace.end_phase("queue");
        let running = self.running.begin(executor, &job);
        let id = running.as_ref().map_or(0, RunningGuard::id);
        let outcome = self.process(&job);
        match outcome {
            Ok(output) => self.answer(id, job, output, started),
            Err(cancelled) => {
                let failure = BatchFailure::of(cancelled, bounds_of(&job.cancel));
                self.stats.report(StatsEvent::Unanswered { failure, busy: started.elapsed() });
                job.reply.fail(failure);
            }
        }
    }

    /// Runs the batch; if its reads are to be saved, through a reader that notes them.
    fn process(&self, job: &BatchJob) -> Result<BatchOutput, Cancelled> {
        if let Some(limit) = self.batch_limit {
            job.cancel.begin_run(limit);
        }
        let reader = state::reader(&self.state, &job.input);
        let Some(reads) = job.files.as_ref().and_then(|files| files.db_reads(&job.input)) else {
            return self.engine.process(&job.input, &reader, &job.cancel);
        };
        let outcome = self.engine.process(&job.input, &reads.over(&reader), &job.cancel);
        reads.finish(outcome.as_ref().ok().and_then(|output| output.roots));
        outcome
    }

    /// Keeps the state, counts, answers, logs: in this order, so that a client never sees an answer ahead of its effects.
    fn answer(&self, id: u64, mut job: Box<BatchJob>, mut output: BatchOutput, started: Instant) {
        let PhaseTimes { decode, recover, evm, tree, .. } = output.phases;
        job.trace.end_phases(&[("decode", decode), ("recover senders", recover), ("evm", evm), ("tree", tree)]);
        let flush = match self.keep(&job, &mut output) {
            Ok(flush) => flush,
            Err(failure) => {
                self.stats.report(StatsEvent::Unanswered { failure, busy: started.elapsed() });
                return job.reply.fail(failure);
            }
        };
        job.trace.end_phase("store");
        let totals = BatchTotals::of(&output);
        self.note_differences(&job, &output);
        note_failure(&job, &output);
        let BatchJob {
            rpc,
            input,
            request_bytes,
            context_id,
            mut trace,
            received_at,
            reply,
            in_flight: _in_flight,
            ..
        } = *job;
        let send = reply.finish(Executed { output, flush });
        let finished_at = Instant::now();
        let sample = BatchSample {
            rpc,
            fork_id: input.fork_id.get(),
            bytes: input.batch_l2_data.len() as u64,
            totals,
            finished_at,
            busy: finished_at - started,
            queue_wait: started - received_at,
            latency: finished_at - received_at,
        };
        self.stats.report(StatsEvent::Batch(sample));
        send();
        trace.end_phase("respond");
        note_outcome(&mut trace, &totals);
        trace.finish();
        self.log(rpc, &context_id, &sample);
        self.log_slow_input(&input, &sample);
        self.slowest.note(Ended { id, context_id, input, request_bytes }, &sample);
    }

    /// Keeps the state of a batch. A full store fails the call, which clients try again; any other trouble is an answer.
    fn keep(&self, job: &BatchJob, output: &mut BatchOutput) -> Result<FlushIds, BatchFailure> {
        match state::persist(&self.state, &job.input, output, &job.cancel) {
            Ok(flush) => Ok(flush),
            Err(NotKept::Stopped(cancelled)) => Err(BatchFailure::of(cancelled, bounds_of(&job.cancel))),
            Err(NotKept::Store(error @ StoreError::Full { bytes_max })) => {
                tracing::warn!(%error, context_id = job.context_id, "batch refused");
                Err(BatchFailure::StateFull { bytes_max })
            }
            Err(NotKept::Store(error)) => {
                tracing::error!(%error, "state of a batch could not be written");
                output.error = ExecutorError::DbError;
                output.roots = None;
                Ok(FlushIds::default())
            }
        }
    }

    /// Counts the fields in which the engines differ, and logs them with the input, so that it can be run again.
    fn note_differences(&self, job: &BatchJob, output: &BatchOutput) {
        let fields = &output.engine.differences;
        if fields.is_empty() {
            return;
        }
        fields.iter().for_each(|field| self.stats.report(StatsEvent::EnginesDiffer(field)));
        let (context_id, fields) = (&job.context_id, fields.join(", "));
        if tracing::enabled!(tracing::Level::WARN) {
            let input = input_json(&job.input, None).to_string();
            tracing::warn!(context_id, fields, input, "the two engines answered a batch differently");
        }
    }

    /// Logs the input of a batch that ran at fewer gas per second than the threshold (executor-service §10).
    fn log_slow_input(&self, input: &BatchInput, sample: &BatchSample) {
        let gas_per_second = sample.totals.gas as f64 / sample.busy.as_secs_f64();
        if gas_per_second < self.input_gas_threshold && tracing::enabled!(tracing::Level::INFO) {
            let json = input_json(input, None).to_string().replace('"', "'");
            tracing::info!("TP={gas_per_second:.6}gas/s Input={json}");
        }
    }

    fn log(&self, rpc: Rpc, context_id: &str, sample: &BatchSample) {
        let counter = self.counter.fetch_add(1, Ordering::Relaxed) + 1;
        if !tracing::enabled!(tracing::Level::INFO) {
            return;
        }
        let line = BatchLogLine { counter, rpc, sample, rates: self.stats.rates() };
        if context_id.is_empty() {
            tracing::info!("{line}");
        } else {
            tracing::info!(context_id, "{line}");
        }
    }
}

/// Logs why the executor gave up a batch: the client may show a number only.
fn note_failure(job: &BatchJob, output: &BatchOutput) {
    if output.error != ExecutorError::NoError {
        let (context_id, rpc, error) = (&job.context_id, job.rpc.name(), output.error.name());
        tracing::warn!(rpc, error, error_log = output.error_log, context_id, "batch failed");
    }
}

/// Notes the outcome of the batch in the spans of its call.
fn note_outcome(trace: &mut CallSpan, totals: &BatchTotals) {
    trace.note("zkevm.transactions", i64::try_from(totals.txs).unwrap_or(i64::MAX));
    trace.note("zkevm.gas", i64::try_from(totals.gas).unwrap_or(i64::MAX));
    trace.note("zkevm.error", totals.error.name());
    trace.note("zkevm.error_rom", totals.error_rom.name());
    trace.note("zkevm.engine", totals.answered_by.name());
    if totals.rom_steps > 0 {
        trace.note("zkevm.rom_steps", i64::try_from(totals.rom_steps).unwrap_or(i64::MAX));
    }
}
