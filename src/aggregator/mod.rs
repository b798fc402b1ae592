//! The mock aggregator client (executor-service §15.3): dials an aggregator like a prover and answers its questions with
//! proofs that only a test verifier accepts.
//!
//! What is answered is decided in `mock.rs`, without a network; here is the stream, opened again whenever it breaks.

use std::time::{Duration, Instant};

use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Endpoint;

mod mock;
mod stateless;

pub use mock::{MockProver, ProverIdentity};

use crate::capture::StreamFiles;
use crate::config::AggregatorOptions;
use proto::v1::aggregator_service_client::AggregatorServiceClient;
use zkevm_wire::error_chain;
use zkevm_wire::proto::aggregator as proto;
use zkevm_wire::protobuf_text::text_file;

/// Largest message of an aggregator: a batch with all state it needs.
const MESSAGE_BYTES_MAX: usize = 256 << 20;
/// Answers that may wait for the network. The aggregator asks one question at a time.
const ANSWERS_MAX: usize = 8;
/// Time to reach the aggregator.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The system notices a peer that vanished. Not HTTP/2 pings: gRPC servers of Go forbid frequent ones.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Waits between attempts to open the stream: doubling, until a stream has lasted.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The first wait.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl Default for Backoff {
    /// The original always waits the longest of these.
    fn default() -> Self {
        Self { first: Duration::from_millis(500), longest: Duration::from_secs(5) }
    }
}

impl Backoff {
    /// Counts the streams that ended early in a row, after one that lasted so long. An aggregator that refuses a prover asks
    /// for its status first, so an answer alone is no success.
    fn failures(self, before: u32, lasted: Duration) -> u32 {
        if lasted >= self.longest { 1 } else { before.saturating_add(1) }
    }

    /// Returns the wait after `failures` streams in a row that ended early, at least one.
    fn wait(self, failures: u32) -> Duration {
        let factor = 1 << failures.saturating_sub(1).min(16);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// Answers the aggregator for ever: opens the stream, and again after each failure. Drop the future to end it.
pub async fn run(options: AggregatorOptions, prover_id: String, backoff: Backoff, files: StreamFiles) {
    let target = format!("http://{}:{}", options.host, options.port);
    let identity = ProverIdentity { name: options.prover_name, id: prover_id, fork_id: options.fork_id };
    let mut prover = MockProver::new(identity, options.protocol, options.proof_time);
    let mut failures = 0;
    loop {
        let mut answered = 0;
        let opened_at = Instant::now();
        let ended = answer_stream(&target, &mut prover, &files, &mut answered).await;
        failures = backoff.failures(failures, opened_at.elapsed());
        let wait = backoff.wait(failures);
        let reason = match ended {
            Ok(()) => "closed by the aggregator".to_owned(),
            Err(error) => error_chain(error.as_ref()),
        };
        tracing::warn!(target, answered, reason, retry_ms = wait.as_millis(), "the stream to the aggregator ended");
        tokio::time::sleep(wait).await;
    }
}

/// Opens the stream and answers until it ends.
async fn answer_stream(
    target: &str,
    prover: &mut MockProver,
    files: &StreamFiles,
    answered: &mut u64,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let endpoint = Endpoint::from_shared(target.to_owned())?
        .connect_timeout(CONNECT_LIMIT)
        .tcp_keepalive(Some(TCP_KEEPALIVE))
        .tcp_nodelay(true);
    let mut client =
        AggregatorServiceClient::new(endpoint.connect().await?).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let (answers, outgoing) = mpsc::channel(ANSWERS_MAX);
    let mut questions = client.channel(ReceiverStream::new(outgoing)).await?.into_inner();
    tracing::info!(target, "connected to the aggregator");
    while let Some(question) = questions.message().await? {
        let id = question.id.clone();
        files.request(
            &id,
            || question.encode_to_vec(),
            |encoded| text_file("aggregator.v1.AggregatorMessage", encoded),
        );
        let answer = prover.answer(question, Instant::now());
        files.response(&id, || answer.encode_to_vec(), |encoded| text_file("aggregator.v1.ProverMessage", encoded));
        tracing::debug!(id, ?answer, "aggregator question answered");
        answers.send(answer).await?;
        *answered += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let backoff = Backoff { first: Duration::from_millis(500), longest: Duration::from_secs(5) };
        let waits: Vec<_> = [1, 2, 3, 4, 5, 1000].map(|failures| backoff.wait(failures).as_millis()).into();
        assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
    }

    #[test]
    fn only_a_stream_that_lasted_starts_the_waits_again() {
        let backoff = Backoff::default();
        let refused = Duration::from_millis(20);
        let mut failures = 0;
        for expected in 1..=5 {
            failures = backoff.failures(failures, refused);
            assert_eq!(failures, expected);
        }
        assert_eq!(backoff.failures(failures, backoff.longest), 1);
        assert_eq!(backoff.failures(u32::MAX, refused), u32::MAX);
    }
}
