//! One client of the load: sends the batches of its chain, one at a time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use revm::primitives::B256;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::LoadError;
use super::client::{self, Answer};
use super::stateless::{Prefix, StatelessChain};
use super::workload_mix::WorkloadMix;
use zkevm_testkit::sample::workload::Chain;
use zkevm_types::BatchInput;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;

/// Latencies are kept in microseconds up to an hour, with three digits.
const LATENCY_US_MAX: u64 = 3_600_000_000;
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(10);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(1);
/// Pause after a call that failed without an answer: the server may be starting again.
const ERROR_PAUSE: Duration = Duration::from_millis(200);

/// Instructions that all clients share.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The time at which the first batch is due.
    pub start: Instant,
    /// No batch is sent from here on.
    pub end: Instant,
    /// Batches per second over all clients; `None` for a closed loop.
    pub rate: Option<f64>,
    /// Transactions per batch.
    pub batch_txs: usize,
    /// Kinds of batches.
    pub mix: WorkloadMix,
    /// Send refused batches again.
    pub retry_refused: bool,
    /// Answered roots that every client keeps for the check afterwards.
    pub roots_max: usize,
}

/// Sums that all clients add to while they run.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Next place in the schedule of the open loop.
    next_due: AtomicU64,
    /// Batches answered.
    pub answered: AtomicU64,
    /// Calls refused.
    pub refused: AtomicU64,
    /// Calls that failed otherwise, wrong answers included.
    pub errors: AtomicU64,
}

/// Observations of one client.
#[derive(Clone, Debug)]
pub(super) struct WorkerResult {
    /// Number of the client.
    pub client: u64,
    /// Batches answered.
    pub batches: u64,
    /// Transactions in them.
    pub txs: u64,
    /// Their gas.
    pub gas: u64,
    /// Places of the schedule taken (open loop).
    pub due: u64,
    /// Microseconds from the intended time of sending to the answer.
    pub latency: Histogram<u64>,
    /// Microseconds from the actual time of sending to the answer.
    pub service: Histogram<u64>,
    /// Microseconds until a call was refused.
    pub refusal: Histogram<u64>,
    /// Failed calls by gRPC status, refused ones excluded.
    pub errors: BTreeMap<String, u64>,
    /// The reason why the chain ended early: the answer was wrong.
    pub wrong: Option<String>,
    /// Answers whose roots were compared at once.
    pub checked: u64,
    /// State roots answered, from the first batch on, that are to be compared afterwards.
    pub roots: Vec<B256>,
}

/// The requests of one client, one after the other.
pub(super) enum Requests {
    /// Batches on top of a state that the server keeps.
    Stateful {
        /// Makes the batches.
        chain: Box<Chain>,
        /// Made but not answered; the chain goes on with it.
        pending: Option<BatchInput>,
    },
    /// Growing batches that bring their state along.
    Stateless {
        /// Makes the blocks.
        chain: Box<StatelessChain>,
        /// Made but not answered.
        pending: Option<Prefix>,
    },
}

impl Requests {
    /// Makes the next request, unless one waits to be sent again.
    fn prepare(&mut self, plan: &Plan, result: &WorkerResult) -> Result<(), LoadError> {
        match self {
            Self::Stateful { pending: Some(_), .. } | Self::Stateless { pending: Some(_), .. } => {}
            Self::Stateful { chain, pending } => {
                let kind = plan.mix.kind(result.client, result.batches);
                *pending = Some(chain.next_batch(kind, plan.batch_txs));
            }
            // It runs a block: other clients' threads take over what waits behind this one.
            Self::Stateless { chain, pending } => {
                *pending = Some(tokio::task::block_in_place(|| chain.next_prefix())?);
            }
        }
        Ok(())
    }

    async fn send(&self, channel: &mut ExecutorServiceClient<Channel>, txs: usize) -> Result<Answer, LoadError> {
        match self {
            Self::Stateful { pending: Some(input), .. } => client::send_checked(channel, input, txs).await,
            Self::Stateless { pending: Some(prefix), .. } => prefix.send(channel).await,
            Self::Stateful { pending: None, .. } | Self::Stateless { pending: None, .. } => {
                Err("no request was made".into())
            }
        }
    }

    /// Goes on from the answer to the request.
    fn advance(&mut self, answer: &Answer) {
        match self {
            Self::Stateful { chain, pending } => {
                chain.state_root = answer.new_state_root;
                chain.acc_input_hash = answer.new_acc_input_hash;
                *pending = None;
            }
            Self::Stateless { pending, .. } => *pending = None,
        }
    }

    /// True if the roots are known before the answer comes.
    fn knows_roots(&self) -> bool {
        matches!(self, Self::Stateless { .. })
    }
}

/// One client.
pub(super) struct Worker {
    requests: Requests,
    channel: ExecutorServiceClient<Channel>,
    plan: Plan,
    shared: Arc<Shared>,
    result: WorkerResult,
}

enum Outcome {
    Answered(Answer),
    Refused,
    Failed,
    Wrong(String),
}

impl Worker {
    /// Prepares the client with this number.
    pub(super) fn new(
        number: u64,
        requests: Requests,
        channel: ExecutorServiceClient<Channel>,
        plan: Plan,
        shared: Arc<Shared>,
    ) -> Self {
        let result = WorkerResult {
            client: number,
            batches: 0,
            txs: 0,
            gas: 0,
            due: 0,
            latency: histogram(),
            service: histogram(),
            refusal: histogram(),
            errors: BTreeMap::new(),
            wrong: None,
            checked: 0,
            roots: Vec::new(),
        };
        Self { requests, channel, plan, shared, result }
    }

    /// Sends until the time is over. After a wrong answer the chain ends: nothing could be built on it.
    pub(super) async fn run(mut self) -> WorkerResult {
        loop {
            // Made ahead: what that takes is no part of any latency.
            let made = self.requests.prepare(&self.plan, &self.result).map_err(|error| error.to_string());
            let Some(due) = self.next_due().await else { break };
            let sent = match made {
                Ok(()) => self.one_batch(due).await,
                Err(error) => Err(error),
            };
            if let Err(wrong) = sent {
                self.shared.errors.fetch_add(1, Ordering::Relaxed);
                self.result.wrong = Some(wrong);
                break;
            }
        }
        self.result
    }

    /// Waits for the next intended time of sending; `None` when the time is over.
    async fn next_due(&mut self) -> Option<Instant> {
        if Instant::now() >= self.plan.end {
            return None;
        }
        let Some(rate) = self.plan.rate else { return Some(Instant::now()) };
        let place = self.shared.next_due.fetch_add(1, Ordering::Relaxed);
        let due = self.plan.start + Duration::from_secs_f64(place as f64 / rate);
        if due >= self.plan.end {
            return None;
        }
        self.result.due += 1;
        tokio::time::sleep_until(due.into()).await;
        Some(due)
    }

    /// Sends one batch, again if it was refused and the plan says so.
    async fn one_batch(&mut self, due: Instant) -> Result<(), String> {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            match self.call(due).await {
                Outcome::Answered(_) => return Ok(()),
                Outcome::Wrong(wrong) => return Err(wrong),
                Outcome::Failed => {
                    tokio::time::sleep(ERROR_PAUSE).await;
                    return Ok(());
                }
                Outcome::Refused if self.plan.retry_refused && Instant::now() + pause < self.plan.end => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
                Outcome::Refused => {
                    // In a closed loop nothing else keeps the client from calling again at once.
                    if self.plan.rate.is_none() {
                        tokio::time::sleep(pause).await;
                    }
                    return Ok(());
                }
            }
        }
    }

    async fn call(&mut self, due: Instant) -> Outcome {
        let sent = Instant::now();
        let outcome = match self.requests.send(&mut self.channel, self.plan.batch_txs).await {
            Ok(answer) => Outcome::Answered(answer),
            Err(error) => match error.downcast_ref::<Status>() {
                Some(status) if status.code() == Code::ResourceExhausted => Outcome::Refused,
                Some(status) => {
                    *self.result.errors.entry(format!("{:?}", status.code())).or_default() += 1;
                    Outcome::Failed
                }
                None => Outcome::Wrong(error.to_string()),
            },
        };
        match &outcome {
            Outcome::Answered(answer) => {
                record(&mut self.result.latency, due.elapsed());
                record(&mut self.result.service, sent.elapsed());
                self.advance(*answer);
            }
            Outcome::Refused => {
                record(&mut self.result.refusal, sent.elapsed());
                self.shared.refused.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Failed => {
                self.shared.errors.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Wrong(_) => {}
        }
        outcome
    }

    fn advance(&mut self, answer: Answer) {
        self.requests.advance(&answer);
        self.result.batches += 1;
        self.result.txs += answer.transactions as u64;
        self.result.gas += answer.gas_used;
        if self.requests.knows_roots() {
            self.result.checked += 1;
        } else if self.result.roots.len() < self.plan.roots_max {
            self.result.roots.push(answer.new_state_root);
        }
        self.shared.answered.fetch_add(1, Ordering::Relaxed);
    }
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(time.as_micros().try_into().unwrap_or(u64::MAX).max(1));
}

/// An empty histogram of microseconds.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are in order and three digits are allowed")
}
