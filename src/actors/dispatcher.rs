//! Which executor runs which job, and when: plain rules over the lanes and the executors, with the time as an argument.
//!
//! - A job goes to an idle executor at once: to the one that has been idle for the shortest time, whose core and caches are
//!   still warm. Lanes fill only while every executor that may take the job is busy.
//! - An executor that is free takes a small job first, but once these have had as many bytes as its last job of the bulk
//!   lane, and at the latest after [`SMALL_JOBS_IN_A_ROW_MAX`] of them, one of the bulk lane: neither lane starves, and a
//!   batch that is just not small waits little longer than one that just is.
//! - One executor more than configured, the reserved one, takes small jobs only. Its thread keeps the niceness of the
//!   process, so that while all others are in the middle of a full batch the operating system gives it a core. It costs a
//!   thread that mostly sleeps, and no core stays reserved when nothing small comes.
//! - While one of the others has just begun a small job ([`SMALL_JOB_TIME`]) and none is idle, the reserved one takes
//!   nothing: many small jobs would keep it busy, and whoever shares its core would starve with the job at hand. How long
//!   that job takes nobody knows, so a small job that waits while the reserved executor is idle is looked at again when
//!   that time is over ([`Dispatcher::look_again_at`]).
//!
//! A request that may run for long is no small one, whatever its size (`lanes.rs`).

use std::time::{Duration, Instant};

use super::lanes::{Lane, Lanes, QueueBounds, RequestFacts, Waiting};
use super::messages::BatchFailure;

/// Small jobs an executor takes one after the other while a job of the bulk lane waits.
const SMALL_JOBS_IN_A_ROW_MAX: u32 = 16;

/// How long an executor with a small job counts as one that will soon take the next.
pub(super) const SMALL_JOB_TIME: Duration = Duration::from_millis(5);

/// Number of an executor, from 0. The reserved one has the last.
pub(super) type WorkerId = usize;

/// A job and the executor it goes to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assignment<J> {
    pub(super) worker: WorkerId,
    pub(super) job: J,
}

/// One executor.
#[derive(Debug)]
struct Worker {
    /// Takes small jobs only.
    is_reserved: bool,
    is_busy: bool,
    /// When it began the small job it runs. Not noted of the reserved one.
    small_since: Option<Instant>,
    /// Bytes of small jobs that go before the next one of the bulk lane.
    priority_credit_bytes: usize,
    small_in_a_row: u32,
}

impl Worker {
    fn new(is_reserved: bool) -> Self {
        Self { is_reserved, is_busy: false, small_since: None, priority_credit_bytes: usize::MAX, small_in_a_row: 0 }
    }

    /// Returns the lanes it takes its next job from, in this order.
    fn lanes(&self) -> &'static [Lane] {
        let owes_bulk = self.priority_credit_bytes == 0 || self.small_in_a_row >= SMALL_JOBS_IN_A_ROW_MAX;
        match (self.is_reserved, owes_bulk) {
            (true, _) => &[Lane::Priority],
            (false, true) => &[Lane::Bulk, Lane::Priority],
            (false, false) => &[Lane::Priority, Lane::Bulk],
        }
    }

    /// Notes that it begins a job.
    fn begins(&mut self, lane: Lane, request_bytes: usize, now: Instant) {
        self.is_busy = true;
        self.small_since = (lane == Lane::Priority && !self.is_reserved).then_some(now);
        match lane {
            Lane::Priority => {
                self.priority_credit_bytes = self.priority_credit_bytes.saturating_sub(request_bytes);
                self.small_in_a_row = self.small_in_a_row.saturating_add(1);
            }
            Lane::Bulk => (self.priority_credit_bytes, self.small_in_a_row) = (request_bytes, 0),
        }
    }
}

/// The lanes and the executors.
#[derive(Debug)]
pub(super) struct Dispatcher<J> {
    lanes: Lanes<J>,
    workers: Vec<Worker>,
    /// The last one has been idle for the shortest time.
    idle: Vec<WorkerId>,
}

impl<J> Dispatcher<J> {
    /// Creates the dispatcher of `executors` executors, and of a reserved one if there is a priority lane. None of them
    /// gets a job before it has announced itself.
    pub(super) fn new(bounds: QueueBounds, executors: usize) -> Self {
        let mut workers: Vec<_> = (0..executors).map(|_| Worker::new(false)).collect();
        if bounds.has_priority_lane() {
            workers.push(Worker::new(true));
        }
        Self { lanes: Lanes::new(bounds), workers, idle: Vec::new() }
    }

    /// Assigns a job to an idle executor or puts it into its lane; gives it back with the reason if there is no room.
    pub(super) fn submit(
        &mut self,
        job: J,
        request: RequestFacts,
        now: Instant,
    ) -> Result<Option<Assignment<J>>, (J, BatchFailure)> {
        let lane = self.lanes.bounds().lane_of(&request);
        let job = Waiting { job, request };
        if let Some(place) = self.idle_for(lane, now) {
            return Ok(Some(self.assign(place, lane, job, now)));
        }
        self.lanes.push(job).map(|()| None).map_err(|(job, failure)| (job.job, failure))
    }

    /// Notes that an executor is free, and assigns it the next job if one waits for it.
    pub(super) fn worker_idle(&mut self, worker: WorkerId, now: Instant) -> Option<Assignment<J>> {
        let state = self.workers.get_mut(worker)?;
        (state.is_busy, state.small_since) = (false, None);
        // Its supervisor may have started it again while it was idle.
        self.idle.retain(|&other| other != worker);
        self.idle.push(worker);
        self.next_for(self.idle.len() - 1, now)
    }

    /// Assigns the reserved executor a small job that waits, if it is idle and nobody else will soon take one.
    pub(super) fn look_again(&mut self, now: Instant) -> Option<Assignment<J>> {
        let place = self.idle_reserved()?;
        self.next_for(place, now)
    }

    /// Returns when to look again; `None` while no small job waits for the reserved executor.
    pub(super) fn look_again_at(&self) -> Option<Instant> {
        if self.lanes.priority_len() == 0 || self.idle_reserved().is_none() {
            return None;
        }
        self.workers.iter().filter_map(|worker| worker.small_since).max().map(|since| since + SMALL_JOB_TIME)
    }

    /// Takes out the waiting jobs for which `discard` has a reason.
    pub(super) fn sweep<R>(&mut self, discard: impl Fn(&J) -> Option<R>) -> Vec<(J, R)> {
        self.lanes.sweep(discard)
    }

    /// Returns what waits.
    pub(super) fn lanes(&self) -> &Lanes<J> {
        &self.lanes
    }

    /// Returns the number of executors that are free.
    pub(super) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Returns the number of executors with a job.
    pub(super) fn busy(&self) -> usize {
        self.workers.iter().filter(|worker| worker.is_busy).count()
    }

    /// Assigns an idle executor the next job of the lanes it takes jobs from.
    fn next_for(&mut self, place: usize, now: Instant) -> Option<Assignment<J>> {
        let worker = &self.workers[self.idle[place]];
        if worker.is_reserved && self.small_job_ends_soon(now) {
            return None;
        }
        let (lane, job) = worker.lanes().iter().find_map(|&lane| Some((lane, self.lanes.pop(lane)?)))?;
        Some(self.assign(place, lane, job, now))
    }

    fn assign(&mut self, place: usize, lane: Lane, job: Waiting<J>, now: Instant) -> Assignment<J> {
        let worker = self.idle.remove(place);
        self.workers[worker].begins(lane, job.request.bytes, now);
        Assignment { worker, job: job.job }
    }

    /// Returns the place in the idle list of the executor that a job of this lane goes to.
    fn idle_for(&self, lane: Lane, now: Instant) -> Option<usize> {
        let other = self.idle.iter().rposition(|&worker| !self.workers[worker].is_reserved);
        match lane {
            // The others stay free for full batches.
            Lane::Priority => {
                self.idle_reserved().filter(|_| other.is_some() || !self.small_job_ends_soon(now)).or(other)
            }
            Lane::Bulk => other,
        }
    }

    fn idle_reserved(&self) -> Option<usize> {
        self.idle.iter().position(|&worker| self.workers[worker].is_reserved)
    }

    /// Returns true if an executor but the reserved one will soon take the next small job.
    fn small_job_ends_soon(&self, now: Instant) -> bool {
        let mut since = self.workers.iter().filter_map(|worker| worker.small_since);
        since.any(|since| now.saturating_duration_since(since) < SMALL_JOB_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: usize = 10;
    const FULL: usize = 100;

    fn facts(bytes: usize) -> RequestFacts {
        RequestFacts { bytes, may_be_long: false, peer: None }
    }

    /// A dispatcher whose executors have announced themselves, with a clock that stands still unless it is moved.
    struct Table {
        dispatcher: Dispatcher<&'static str>,
        now: Instant,
    }

    impl Table {
        fn new(executors: usize, small_bytes_max: usize) -> Self {
            let bounds = QueueBounds { jobs_max: 100, bytes_max: 10_000, small_bytes_max };
            let mut table = Self { dispatcher: Dispatcher::new(bounds, executors), now: Instant::now() };
            (0..table.dispatcher.workers.len()).for_each(|worker| assert_eq!(table.idle(worker), None));
            table
        }

        /// Submits a job; returns the executor it goes to at once.
        fn submit(&mut self, request_bytes: usize, job: &'static str) -> Option<WorkerId> {
            let assigned = self.dispatcher.submit(job, facts(request_bytes), self.now).unwrap()?;
            assert_eq!(assigned.job, job);
            Some(assigned.worker)
        }

        /// An executor is free; returns the job it gets.
        fn idle(&mut self, worker: WorkerId) -> Option<&'static str> {
            let assigned = self.dispatcher.worker_idle(worker, self.now)?;
            assert_eq!(assigned.worker, worker);
            Some(assigned.job)
        }

        fn look_again(&mut self) -> Option<(WorkerId, &'static str)> {
            self.dispatcher.look_again(self.now).map(|Assignment { worker, job }| (worker, job))
        }

        /// Lets one executor take this many jobs one after the other.
        fn drain(&mut self, worker: WorkerId, jobs: usize) -> Vec<&'static str> {
            (0..jobs).map(|_| self.idle(worker).unwrap()).collect()
        }
    }

    #[test]
    fn small_jobs_go_first_and_each_lane_keeps_its_order() {
        let mut table = Table::new(1, SMALL);
        assert_eq!(table.submit(SMALL, "long"), Some(1));
        assert_eq!(table.submit(FULL, "first"), Some(0));
        for (bytes, name) in [(FULL, "a"), (SMALL, "b"), (FULL, "c"), (SMALL, "d")] {
            assert_eq!(table.submit(bytes, name), None);
        }
        assert_eq!(table.drain(0, 4), ["b", "d", "a", "c"]);
        assert_eq!((table.idle(0), table.dispatcher.busy(), table.dispatcher.idle()), (None, 1, 1));
    }

    #[test]
    fn the_bulk_lane_does_not_starve() {
        let mut table = Table::new(1, SMALL);
        table.submit(SMALL, "long");
        table.submit(FULL * 9, "first");
        table.submit(FULL, "bulk");
        (0..40).for_each(|_| assert_eq!(table.submit(SMALL, "small"), None));
        let order = table.drain(0, 41);
        assert_eq!(order.iter().position(|name| *name == "bulk"), Some(SMALL_JOBS_IN_A_ROW_MAX as usize));
    }

    #[test]
    fn batches_that_are_just_not_small_take_turns_with_small_ones() {
        let mut table = Table::new(1, SMALL);
        table.submit(SMALL, "long");
        table.submit(SMALL * 2, "bulk");
        (0..4).for_each(|_| assert_eq!(table.submit(SMALL * 2, "bulk"), None));
        (0..8).for_each(|_| assert_eq!(table.submit(SMALL, "small"), None));
        assert_eq!(table.drain(0, 6), ["small", "small", "bulk", "small", "small", "bulk"]);
    }

    #[test]
    fn the_reserved_executor_takes_small_jobs_only() {
        let mut table = Table::new(1, SMALL);
        assert_eq!(table.submit(FULL, "a"), Some(0));
        assert_eq!(table.submit(FULL, "b"), None);
        assert_eq!(table.submit(SMALL, "c"), Some(1));
        assert_eq!(table.submit(SMALL, "d"), None);
        assert_eq!(table.idle(1), Some("d"));
        assert_eq!((table.idle(1), table.look_again(), table.idle(0)), (None, None, Some("b")));
    }

    #[test]
    fn the_reserved_executor_leaves_small_jobs_to_an_executor_that_has_just_begun_one() {
        let mut table = Table::new(1, SMALL);
        assert_eq!(table.submit(SMALL, "quick"), Some(1));
        assert_eq!(table.submit(SMALL, "a"), Some(0), "the reserved one is busy");
        assert_eq!(table.idle(1), None);
        assert_eq!(table.submit(SMALL, "b"), None, "the executor will be back soon");
        // It takes a full batch instead: the reserved one is given what waits.
        table.dispatcher.workers[0].priority_credit_bytes = 0;
        assert_eq!(table.submit(FULL, "c"), None);
        assert_eq!(table.idle(0), Some("c"));
        assert_eq!(table.look_again(), Some((1, "b")));
        // With a full batch at hand nobody is waited for.
        assert_eq!((table.idle(1), table.submit(SMALL, "d")), (None, Some(1)));
    }

    #[test]
    fn a_small_job_that_waits_for_one_that_computes_for_long_is_looked_at_again() {
        let mut table = Table::new(1, SMALL);
        assert_eq!((table.submit(SMALL, "quick"), table.submit(SMALL, "long")), (Some(1), Some(0)));
        assert_eq!(table.dispatcher.look_again_at(), None, "nothing waits");
        table.now += Duration::from_millis(1);
        assert_eq!((table.idle(1), table.submit(SMALL, "waits")), (None, None));
        assert_eq!(table.look_again(), None);
        let again = table.dispatcher.look_again_at().unwrap();
        assert_eq!(again - table.now, SMALL_JOB_TIME - Duration::from_millis(1));
        table.now = again;
        assert_eq!(table.look_again(), Some((1, "waits")));
        assert_eq!(table.dispatcher.look_again_at(), None);
        // The next one goes there at once.
        assert_eq!((table.idle(1), table.submit(SMALL, "next")), (None, Some(1)));
    }

    /// Whatever comes in whatever order: a small job that waits beside an idle reserved executor is looked at within
    /// [`SMALL_JOB_TIME`].
    #[test]
    fn no_small_job_waits_unseen() {
        let mut table = Table::new(2, SMALL);
        // A generator of the usual kind is enough: the same sequence in every run.
        let mut seed = 7_u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        let mut waited = 0;
        for _ in 0..100_000 {
            table.now += Duration::from_micros(random(2_000));
            match (random(3), random(3) as usize) {
                (0, _) => drop(table.dispatcher.submit("small", facts(SMALL), table.now)),
                (1, _) => drop(table.dispatcher.submit("bulk", facts(FULL), table.now)),
                (_, worker) if table.dispatcher.workers[worker].is_busy => drop(table.idle(worker)),
                _ => {}
            }
            while table.look_again().is_some() {}
            if table.dispatcher.lanes.priority_len() > 0 && table.dispatcher.idle_reserved().is_some() {
                let at = table.dispatcher.look_again_at().unwrap();
                assert!(at > table.now && at <= table.now + SMALL_JOB_TIME, "{:?}", at - table.now);
                waited += 1;
            }
        }
        assert!(waited > 100, "only {waited} of these moments");
    }

    #[test]
    fn the_executor_that_went_idle_last_is_first_to_work() {
        let mut table = Table::new(2, SMALL);
        let mut run = |bytes| {
            let worker = table.submit(bytes, "").unwrap();
            assert_eq!(table.idle(worker), None);
            worker
        };
        assert_eq!([run(FULL), run(FULL), run(SMALL), run(FULL)], [1, 1, 2, 1]);
        assert_eq!([table.submit(FULL, ""), table.submit(FULL, ""), table.submit(FULL, "")], [Some(1), Some(0), None]);
    }

    #[test]
    fn an_executor_that_announces_itself_twice_is_listed_once() {
        let mut table = Table::new(1, 0);
        assert_eq!((table.idle(0), table.idle(0), table.dispatcher.idle()), (None, None, 1));
        assert_eq!((table.submit(FULL, "a"), table.submit(FULL, "b")), (Some(0), None));
        assert_eq!(table.dispatcher.worker_idle(7, table.now), None, "nobody has this number");
    }

    #[test]
    fn one_lane_keeps_one_order() {
        let mut table = Table::new(1, 0);
        assert_eq!(table.submit(SMALL, "first"), Some(0));
        for (bytes, name) in [(FULL, "a"), (SMALL, "b"), (FULL, "c")] {
            assert_eq!(table.submit(bytes, name), None);
        }
        assert_eq!(table.drain(0, 3), ["a", "b", "c"]);
    }
}
