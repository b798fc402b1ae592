//! What the mock prover answers, question by question (executor-service §15.3).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::proto::v1::aggregator_message::Request;
use super::proto::v1::get_proof_response::{Proof, Result as ProofResult};
use super::proto::v1::get_status_response::Status;
use super::proto::v1::prover_message::Response;
use super::proto::v1::{
    AggregatorMessage, CancelResponse, FinalProof, GenAggregatedProofResponse, GenBatchProofResponse,
    GenFinalProofResponse, GetProofResponse, GetStatusResponse, ProverMessage, PublicInputs, PublicInputsExtended,
    Result as Outcome,
};
use super::stateless;
use crate::config::AggregatorProtocol;

/// The recursive proof of a batch.
const BATCH_PROOF: &str = "88888670604050723159190639550237390237901487387303122609079617855313706601738";
/// The recursive proof of two proofs.
const AGGREGATED_PROOF: &str = "99999670604050723159190639550237390237901487387303122609079617855313706601738";
/// Hex digits of a final proof: 24 words of 32 bytes. The test verifier takes any.
const FINAL_PROOF_DIGITS: usize = 24 * 64;
/// By these texts, put as ASCII into the bytes fields, an aggregator knows a mock and takes the roots of its own database.
const MOCK_STATE_ROOT: &str = "0x090bcaf734c4f06c93954a827b45a6e8c67b8e0fd1e0a35a1c5982d6961828f9";
const MOCK_ACC_INPUT_HASH: &str = "0x1afd6eaf13538380d99a245c2acc4a25481b54556ae080cf07d1facc0638cd8e";
const MOCK_LOCAL_EXIT_ROOT: &str = "0x17c04c3760510b48c6012742c540a81aba4bca2f78b9d14bfd2f123e2e53ea3e";
/// Requests the status claims to have in its queue.
const PENDING_REQUESTS: usize = 3;

/// The identity that the prover claims.
#[derive(Clone, Debug)]
pub struct ProverIdentity {
    /// Its name.
    pub name: String,
    /// The id of this process.
    pub id: String,
    /// The fork it claims to be made for.
    pub fork_id: u64,
}

/// The kinds of proof.
#[derive(Clone, Copy, Debug)]
enum ProofKind {
    Batch,
    Aggregated,
    Final,
}

/// The last request for a proof.
struct Job {
    id: String,
    kind: ProofKind,
    /// `None` once it was cancelled.
    started_at: Option<Instant>,
}

/// A prover that pretends: it computes nothing and every proof is ready after a fixed time.
pub struct MockProver {
    identity: ProverIdentity,
    protocol: AggregatorProtocol,
    proof_time: Duration,
    last: Option<Job>,
}

impl MockProver {
    /// Creates a prover that was asked for nothing yet.
    pub fn new(identity: ProverIdentity, protocol: AggregatorProtocol, proof_time: Duration) -> Self {
        Self { identity, protocol, proof_time, last: None }
    }

    /// Answers one question of the aggregator at the time `now`. The answer has the question's id.
    pub fn answer(&mut self, question: AggregatorMessage, now: Instant) -> ProverMessage {
        let ok = Outcome::Ok.into();
        let response = match question.request {
            Some(Request::GetStatusRequest(_)) => Some(Response::GetStatusResponse(self.status(now))),
            Some(Request::GenBatchProofRequest(_)) => {
                let id = self.start(ProofKind::Batch, now);
                Some(Response::GenBatchProofResponse(GenBatchProofResponse { id, result: ok }))
            }
            Some(Request::GenAggregatedProofRequest(request)) => {
                let proofs = [&request.recursive_proof_1, &request.recursive_proof_2];
                let (id, result) = self.start_of(ProofKind::Aggregated, &proofs, now);
                Some(Response::GenAggregatedProofResponse(GenAggregatedProofResponse { id, result }))
            }
            Some(Request::GenFinalProofRequest(request)) => {
                let (id, result) = self.start_of(ProofKind::Final, &[&request.recursive_proof], now);
                Some(Response::GenFinalProofResponse(GenFinalProofResponse { id, result }))
            }
            Some(Request::CancelRequest(request)) => {
                let result = self.cancel(&request.id, now).into();
                Some(Response::CancelResponse(CancelResponse { result }))
            }
            Some(Request::GetProofRequest(request)) => Some(Response::GetProofResponse(self.proof(request.id, now))),
            Some(Request::GenStatelessBatchProofRequest(request)) if self.protocol == AggregatorProtocol::V9 => {
                Some(Response::GenBatchProofResponse(self.start_stateless(&request.input, now)))
            }
            // A prover of this contract knows no more; the original answers the id alone.
            Some(Request::GenStatelessBatchProofRequest(_)) | None => None,
        };
        ProverMessage { id: question.id, response }
    }

    fn is_busy(&self, now: Instant) -> bool {
        let started_at = self.last.as_ref().and_then(|job| job.started_at);
        started_at.is_some_and(|started_at| now.saturating_duration_since(started_at) < self.proof_time)
    }

    /// Forgets what was asked before: like the original there is no queue.
    fn start(&mut self, kind: ProofKind, now: Instant) -> String {
        let id = random_id();
        self.last = Some(Job { id: id.clone(), kind, started_at: Some(now) });
        id
    }

    /// Starts a proof of other proofs. From v6.0.8 on these have to be JSON.
    fn start_of(&mut self, kind: ProofKind, proofs: &[&String], now: Instant) -> (String, i32) {
        let is_json = |proof: &&String| serde_json::from_str::<serde::de::IgnoredAny>(proof).is_ok();
        if self.protocol == AggregatorProtocol::V9 && !proofs.iter().all(is_json) {
            tracing::warn!("a proof that is no JSON");
            return (String::new(), Outcome::Error.into());
        }
        (self.start(kind, now), Outcome::Ok.into())
    }

    fn start_stateless(&mut self, input: &[u8], now: Instant) -> GenBatchProofResponse {
        match stateless::check(input, self.identity.fork_id) {
            Ok(()) => GenBatchProofResponse { id: self.start(ProofKind::Batch, now), result: Outcome::Ok.into() },
            Err(refusal) => {
                tracing::warn!(%refusal, "a stateless batch that cannot be proved");
                GenBatchProofResponse { id: String::new(), result: Outcome::Error.into() }
            }
        }
    }

    fn cancel(&mut self, id: &str, now: Instant) -> Outcome {
        let busy = self.is_busy(now);
        match &mut self.last {
            Some(job) if busy && job.id == id => {
                job.started_at = None;
                Outcome::Ok
            }
            _ => Outcome::Error,
        }
    }

    fn status(&self, now: Instant) -> GetStatusResponse {
        let busy = self.is_busy(now);
        let last_id = self.last.as_ref().map(|job| job.id.clone()).unwrap_or_default();
        let (status, last_computed, current) = match busy {
            true => (Status::Computing, random_id(), last_id),
            false => (Status::Idle, last_id, String::new()),
        };
        // A clock before 1970 is shown as 1970.
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (total_memory, free_memory) = memory_kb();
        GetStatusResponse {
            status: status.into(),
            last_computed_request_id: last_computed,
            last_computed_end_time: seconds,
            current_computing_request_id: current,
            current_computing_start_time: seconds,
            version_proto: "v0_0_1".to_owned(),
            version_server: "0.0.1".to_owned(),
            pending_request_queue_ids: (0..PENDING_REQUESTS).map(|_| random_id()).collect(),
            prover_name: self.identity.name.clone(),
            prover_id: self.identity.id.clone(),
            number_of_cores: std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64),
            total_memory,
            free_memory,
            fork_id: self.identity.fork_id,
        }
    }

    fn proof(&self, id: String, now: Instant) -> GetProofResponse {
        let Some(job) = self.last.as_ref().filter(|job| job.id == id) else {
            return unfinished(id, ProofResult::Error);
        };
        if self.is_busy(now) {
            return unfinished(id, ProofResult::Pending);
        }
        let proof = match job.kind {
            ProofKind::Batch => Proof::RecursiveProof(BATCH_PROOF.to_owned()),
            ProofKind::Aggregated => Proof::RecursiveProof(AGGREGATED_PROOF.to_owned()),
            ProofKind::Final => Proof::FinalProof(self.final_proof()),
        };
        GetProofResponse {
            id,
            proof: Some(proof),
            result: ProofResult::CompletedOk.into(),
            result_string: "completed".to_owned(),
        }
    }

    fn final_proof(&self) -> FinalProof {
        let public_inputs = PublicInputs {
            old_batch_num: 1,
            chain_id: 1000,
            fork_id: self.identity.fork_id,
            timestamp_limit: 1_000_000,
            ..PublicInputs::default()
        };
        FinalProof {
            proof: format!("0x{}", "1".repeat(FINAL_PROOF_DIGITS)),
            public: Some(PublicInputsExtended {
                public_inputs: Some(public_inputs),
                new_state_root: MOCK_STATE_ROOT.into(),
                new_acc_input_hash: MOCK_ACC_INPUT_HASH.into(),
                new_local_exit_root: MOCK_LOCAL_EXIT_ROOT.into(),
                new_batch_num: 2,
            }),
        }
    }
}

/// The original says `pending` for an unknown id too.
fn unfinished(id: String, result: ProofResult) -> GetProofResponse {
    GetProofResponse { id, proof: None, result: result.into(), result_string: "pending".to_owned() }
}

fn random_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// Returns total and free memory in kB as Linux reports them; zeros elsewhere.
fn memory_kb() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let value = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        rest.split_whitespace().next()?.parse().ok()
    };
    (value("MemTotal").unwrap_or(0), value("MemFree").unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use zkevm_wire::proto::aggregator::v1::{
        CancelRequest, GenBatchProofRequest, GenFinalProofRequest, GenStatelessBatchProofRequest, GetProofRequest,
        GetStatusRequest,
    };

    const PROOF_TIME: Duration = Duration::from_secs(10);

    fn prover() -> MockProver {
        prover_of(AggregatorProtocol::V6)
    }

    fn prover_of(protocol: AggregatorProtocol) -> MockProver {
        let identity = ProverIdentity { name: "test-prover".to_owned(), id: "me".to_owned(), fork_id: 9 };
        MockProver::new(identity, protocol, PROOF_TIME)
    }

    fn ask(prover: &mut MockProver, request: Request, now: Instant) -> Response {
        let answer = prover.answer(AggregatorMessage { id: "7".to_owned(), request: Some(request) }, now);
        assert_eq!(answer.id, "7");
        match answer.response {
            Some(response) => response,
            None => panic!("no response"),
        }
    }

    fn status(prover: &mut MockProver, now: Instant) -> GetStatusResponse {
        match ask(prover, Request::GetStatusRequest(GetStatusRequest {}), now) {
            Response::GetStatusResponse(status) => status,
            other => panic!("{other:?}"),
        }
    }

    fn proof(prover: &mut MockProver, id: &str, now: Instant) -> GetProofResponse {
        let request = GetProofRequest { id: id.to_owned(), timeout: 0 };
        match ask(prover, Request::GetProofRequest(request), now) {
            Response::GetProofResponse(proof) => proof,
            other => panic!("{other:?}"),
        }
    }

    fn start_batch(prover: &mut MockProver, now: Instant) -> String {
        match ask(prover, Request::GenBatchProofRequest(GenBatchProofRequest::default()), now) {
            Response::GenBatchProofResponse(started) if started.result() == Outcome::Ok => started.id,
            other => panic!("{other:?}"),
        }
    }

    fn cancel(prover: &mut MockProver, id: &str, now: Instant) -> Outcome {
        match ask(prover, Request::CancelRequest(CancelRequest { id: id.to_owned() }), now) {
            Response::CancelResponse(cancelled) => cancelled.result(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_fresh_prover_is_idle_and_says_who_it_is() {
        let status = status(&mut prover(), Instant::now());
        assert_eq!(status.status(), Status::Idle);
        assert_eq!((status.last_computed_request_id.as_str(), status.current_computing_request_id.as_str()), ("", ""));
        assert_eq!((status.version_proto.as_str(), status.version_server.as_str()), ("v0_0_1", "0.0.1"));
        assert_eq!((status.prover_name.as_str(), status.prover_id.as_str(), status.fork_id), ("test-prover", "me", 9));
        assert_eq!(status.pending_request_queue_ids.len(), 3);
        assert!(status.number_of_cores >= 1);
    }

    #[test]
    fn a_proof_is_pending_for_its_time_and_then_complete() {
        let (mut prover, start) = (prover(), Instant::now());
        let id = start_batch(&mut prover, start);
        let busy = start + PROOF_TIME - Duration::from_nanos(1);
        assert_eq!(status(&mut prover, busy).status(), Status::Computing);
        assert_eq!(status(&mut prover, busy).current_computing_request_id, id);
        let pending = proof(&mut prover, &id, busy);
        assert_eq!((pending.result(), pending.result_string.as_str()), (ProofResult::Pending, "pending"));
        let done = start + PROOF_TIME;
        assert_eq!(status(&mut prover, done).last_computed_request_id, id);
        let complete = proof(&mut prover, &id, done);
        assert_eq!((complete.result(), complete.result_string.as_str()), (ProofResult::CompletedOk, "completed"));
        assert_eq!(complete.proof, Some(Proof::RecursiveProof(BATCH_PROOF.to_owned())));
        let other = proof(&mut prover, "other", done);
        assert_eq!((other.id.as_str(), other.result(), other.proof), ("other", ProofResult::Error, None));
    }

    #[test]
    fn only_the_running_proof_can_be_cancelled() {
        let (mut prover, start) = (prover(), Instant::now());
        assert_eq!(cancel(&mut prover, "", start), Outcome::Error);
        let id = start_batch(&mut prover, start);
        assert_eq!(cancel(&mut prover, "other", start), Outcome::Error);
        assert_eq!(cancel(&mut prover, &id, start), Outcome::Ok);
        assert_eq!(status(&mut prover, start).status(), Status::Idle);
        assert_eq!(cancel(&mut prover, &id, start), Outcome::Error);
    }

    #[test]
    fn a_final_proof_has_the_texts_by_which_an_aggregator_knows_a_mock() {
        let (mut prover, start) = (prover(), Instant::now());
        let id = match ask(&mut prover, Request::GenFinalProofRequest(GenFinalProofRequest::default()), start) {
            Response::GenFinalProofResponse(started) => started.id,
            other => panic!("{other:?}"),
        };
        let Some(Proof::FinalProof(proof)) = proof(&mut prover, &id, start + PROOF_TIME).proof else {
            panic!("no final proof")
        };
        assert_eq!(proof.proof.len(), 2 + 1536);
        let public = proof.public.unwrap_or_default();
        assert_eq!((public.new_state_root.len(), public.new_local_exit_root.len()), (66, 66));
        assert_eq!(public.new_state_root, MOCK_STATE_ROOT.as_bytes());
        assert_eq!(public.new_batch_num, 2);
    }

    /// A message of the later contract: one leaf, fork 9, chain 1000.
    const STATELESS: &str =
        "0a290a2201 0700 54617b3a3528f9cdd6630fd3301b9c8911f7bf063d 493635c9adc5dea00000 20e8072809";

    #[test]
    fn stateless_batches_are_proved_under_the_later_contract() {
        let input: Vec<u8> = hex::decode(STATELESS.replace(' ', "")).unwrap();
        let ask_for = |input: Vec<u8>| {
            let request = GenStatelessBatchProofRequest { input: input.into() };
            let mut prover = prover_of(AggregatorProtocol::V9);
            match ask(&mut prover, Request::GenStatelessBatchProofRequest(request), Instant::now()) {
                Response::GenBatchProofResponse(started) => (started.result(), started.id.is_empty()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ask_for(input.clone()), (Outcome::Ok, false));
        // Another fork.
        let mut other = input;
        *other.last_mut().unwrap() = 12;
        assert_eq!(ask_for(other), (Outcome::Error, true));
        assert_eq!(ask_for(Vec::new()), (Outcome::Error, true));
    }

    #[test]
    fn proofs_that_are_no_json_are_refused_under_the_later_contract() {
        for (protocol, result) in [(AggregatorProtocol::V6, Outcome::Ok), (AggregatorProtocol::V9, Outcome::Error)] {
            let request = GenFinalProofRequest { recursive_proof: "{".to_owned(), ..Default::default() };
            match ask(&mut prover_of(protocol), Request::GenFinalProofRequest(request), Instant::now()) {
                Response::GenFinalProofResponse(started) => assert_eq!(started.result(), result, "{protocol:?}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn unknown_questions_get_the_id_alone() {
        let stateless = Request::GenStatelessBatchProofRequest(GenStatelessBatchProofRequest::default());
        for request in [None, Some(stateless)] {
            let answer = prover().answer(AggregatorMessage { id: "7".to_owned(), request }, Instant::now());
            assert_eq!((answer.id.as_str(), answer.response), ("7", None));
        }
    }
}
