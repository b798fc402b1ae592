//! The mock aggregator client against scripted aggregators.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};
use zkevm_executor::aggregator::{self, Backoff};
use zkevm_executor::capture::{FileWriter, StreamFiles};
use zkevm_executor::config::{AggregatorOptions, AggregatorProtocol, FileOptions};
use zkevm_wire::proto::aggregator::v1 as wire;
use zkevm_wire::proto::aggregator::v1::aggregator_message::Request as Question;
use zkevm_wire::proto::aggregator::v1::aggregator_service_server::{AggregatorService, AggregatorServiceServer};
use zkevm_wire::proto::aggregator::v1::get_proof_response::{Proof, Result as ProofResult};
use zkevm_wire::proto::aggregator::v1::get_status_response::Status as ProverStatus;
use zkevm_wire::proto::aggregator::v1::prover_message::Response as Answer;

use crate::support::{TestServer, config};

const LIMIT: Duration = Duration::from_secs(10);

/// One stream of a prover, seen from the aggregator.
struct ProverStream {
    questions: mpsc::Sender<Result<wire::AggregatorMessage, Status>>,
    answers: Streaming<wire::ProverMessage>,
    asked: u64,
}

impl ProverStream {
    async fn ask(&mut self, question: Question) -> Answer {
        self.asked += 1;
        self.ask_as(&format!("question-{}", self.asked), question).await
    }

    async fn ask_as(&mut self, id: &str, question: Question) -> Answer {
        let message = wire::AggregatorMessage { id: id.to_owned(), request: Some(question) };
        self.questions.send(Ok(message)).await.unwrap();
        let answer = tokio::time::timeout(LIMIT, self.answers.message()).await.unwrap().unwrap().unwrap();
        assert_eq!(answer.id, id);
        answer.response.unwrap()
    }

    async fn status(&mut self) -> wire::GetStatusResponse {
        match self.ask(Question::GetStatusRequest(wire::GetStatusRequest {})).await {
            Answer::GetStatusResponse(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// Polls until the proof is there, as an aggregator does.
    async fn proof(&mut self, id: &str) -> Proof {
        loop {
            let request = wire::GetProofRequest { id: id.to_owned(), timeout: 0 };
            let Answer::GetProofResponse(polled) = self.ask(Question::GetProofRequest(request)).await else {
                panic!("not a proof")
            };
            assert_eq!(polled.id, id);
            match polled.result() {
                ProofResult::Pending => tokio::time::sleep(Duration::from_millis(5)).await,
                ProofResult::CompletedOk => return polled.proof.unwrap(),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Hands every stream that opens to the test.
struct Script {
    streams: mpsc::Sender<ProverStream>,
}

#[tonic::async_trait]
impl AggregatorService for Script {
    type ChannelStream = ReceiverStream<Result<wire::AggregatorMessage, Status>>;

    async fn channel(
        &self,
        request: Request<Streaming<wire::ProverMessage>>,
    ) -> Result<Response<Self::ChannelStream>, Status> {
        let (questions, outgoing) = mpsc::channel(1);
        let stream = ProverStream { questions, answers: request.into_inner(), asked: 0 };
        self.streams.send(stream).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }
}

/// A running aggregator; dropping `stop` kills it.
struct Aggregator {
    address: SocketAddr,
    streams: mpsc::Receiver<ProverStream>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

impl Aggregator {
    async fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (streams, receiver) = mpsc::channel(4);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let server = tonic::transport::Server::builder()
                .add_service(AggregatorServiceServer::new(Script { streams }))
                .serve_with_incoming(TcpListenerStream::new(listener));
            tokio::select! {
                ended = server => ended.unwrap(),
                _ = stopped => {}
            }
        });
        Self { address, streams: receiver, stop, task }
    }

    async fn next_stream(&mut self) -> ProverStream {
        tokio::time::timeout(LIMIT, self.streams.recv()).await.expect("no prover came").unwrap()
    }
}

fn options(address: SocketAddr, proof_time: Duration) -> AggregatorOptions {
    AggregatorOptions {
        host: address.ip().to_string(),
        port: address.port(),
        proof_time,
        enabled: true,
        fork_id: 9,
        protocol: AggregatorProtocol::V6,
        prover_name: "test-prover".to_owned(),
    }
}

fn quick() -> Backoff {
    Backoff { first: Duration::from_millis(10), longest: Duration::from_millis(50) }
}

fn no_files() -> StreamFiles {
    StreamFiles::new(FileWriter::start(config().files).unwrap())
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Status, a batch proof, an aggregated one, a final one.
async fn prove_all(prover: &mut ProverStream) {
    let status = prover.status().await;
    assert_eq!((status.status(), status.fork_id), (ProverStatus::Idle, 9));

    let question = Question::GenBatchProofRequest(wire::GenBatchProofRequest::default());
    let Answer::GenBatchProofResponse(started) = prover.ask(question).await else { panic!("not a batch proof") };
    assert_eq!(started.result(), wire::Result::Ok);
    let Proof::RecursiveProof(batch) = prover.proof(&started.id).await else { panic!("not recursive") };

    let question = Question::GenAggregatedProofRequest(wire::GenAggregatedProofRequest {
        recursive_proof_1: batch.clone(),
        recursive_proof_2: batch.clone(),
    });
    let Answer::GenAggregatedProofResponse(started) = prover.ask(question).await else { panic!("not aggregated") };
    let Proof::RecursiveProof(aggregated) = prover.proof(&started.id).await else { panic!("not recursive") };
    assert_ne!(batch, aggregated);

    let question = Question::GenFinalProofRequest(wire::GenFinalProofRequest {
        recursive_proof: aggregated,
        aggregator_addr: "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266".to_owned(),
    });
    let Answer::GenFinalProofResponse(started) = prover.ask(question).await else { panic!("not final") };
    let Proof::FinalProof(last) = prover.proof(&started.id).await else { panic!("not final") };
    let root = last.public.unwrap().new_state_root;
    assert_eq!(&root[..], b"0x090bcaf734c4f06c93954a827b45a6e8c67b8e0fd1e0a35a1c5982d6961828f9");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_final_proof_is_completed_again_after_the_aggregator_restarts() {
    let mut first = Aggregator::start(any_port()).await;
    let options = options(first.address, Duration::from_millis(30));
    let client = tokio::spawn(aggregator::run(options, "id".to_owned(), quick(), no_files()));
    let mut prover = first.next_stream().await;
    prove_all(&mut prover).await;
    assert_eq!(prover.status().await.prover_name, "test-prover");

    // The aggregator ends one stream: the prover opens another.
    drop(prover);
    let prover = first.next_stream().await;

    // The aggregator dies in the middle of a stream and comes back on the same port.
    let address = first.address;
    drop(first.stop);
    drop((prover, first.streams));
    first.task.await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!client.is_finished(), "the client must go on trying");
    let mut second = Aggregator::start(address).await;
    prove_all(&mut second.next_stream().await).await;
    client.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_can_be_cancelled() {
    let mut aggregator = Aggregator::start(any_port()).await;
    let options = options(aggregator.address, Duration::from_secs(3600));
    let client = tokio::spawn(aggregator::run(options, "id".to_owned(), quick(), no_files()));
    let mut prover = aggregator.next_stream().await;
    let question = Question::GenBatchProofRequest(wire::GenBatchProofRequest::default());
    let Answer::GenBatchProofResponse(started) = prover.ask(question).await else { panic!("not a batch proof") };
    assert_eq!(prover.status().await.status(), ProverStatus::Computing);
    let question = Question::CancelRequest(wire::CancelRequest { id: started.id });
    let Answer::CancelResponse(cancelled) = prover.ask(question).await else { panic!("not cancelled") };
    assert_eq!(cancelled.result(), wire::Result::Ok);
    assert_eq!(prover.status().await.status(), ProverStatus::Idle);
    client.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_runs_the_client_beside_itself_with_its_own_id() {
    let mut aggregator = Aggregator::start(any_port()).await;
    let mut config = config();
    config.aggregator = options(aggregator.address, Duration::ZERO);
    let server = TestServer::start_with(config).await;
    let mut prover = aggregator.next_stream().await;
    assert_eq!(prover.status().await.prover_id, server.running.prover_id());
    server.assert_healthy().await;
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_the_stream_are_saved_under_the_originals_names() {
    let mut aggregator = Aggregator::start(any_port()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.aggregator = options(aggregator.address, Duration::ZERO);
    let output_path = folder.path().to_owned();
    config.files = FileOptions { output_path, subfolders: true, requests: true, responses: true, ..config.files };
    let server = TestServer::start_with(config).await;
    let mut prover = aggregator.next_stream().await;
    prover.status().await;
    // The id is the aggregator's: it must not lead out of the folder.
    prover.ask_as("../../../evil", Question::GetStatusRequest(wire::GetStatusRequest {})).await;
    server.running.shutdown().await;

    let mut files: Vec<(String, String)> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    let time = "YYYYMMDD_HHMMSS_uuuuuu_".len();
    let names: Vec<&str> = files.iter().map(|(name, _)| &name[time..]).collect();
    let ids = ["question-1", "_________evil"];
    let names_wanted: Vec<String> = ids
        .iter()
        .flat_map(|id| [format!("{id}.aggregator_request.txt"), format!("{id}.aggregator_response.txt")])
        .collect();
    assert_eq!(names, names_wanted);
    assert!(files[0].1.contains("id: \"question-1\"") && files[0].1.contains("get_status_request"), "{files:?}");
    assert!(files[1].1.contains("get_status_response") && files[1].1.contains("fork_id: 9"), "{files:?}");
    assert!(files[1].1.ends_with('\n'), "{files:?}");
}

/// Recursive proof of a range of batches.
struct Proved {
    first: u64,
    last: u64,
    proof: String,
}

async fn recursive_proof(prover: &mut ProverStream, question: Question) -> String {
    let started = match prover.ask(question).await {
        Answer::GenBatchProofResponse(started) => (started.id.clone(), started.result()),
        Answer::GenAggregatedProofResponse(started) => (started.id.clone(), started.result()),
        other => panic!("{other:?}"),
    };
    assert_eq!(started.1, wire::Result::Ok);
    match prover.proof(&started.0).await {
        Proof::RecursiveProof(proof) => proof,
        other => panic!("{other:?}"),
    }
}

/// Asks as a node does, in its order: a final proof for whole sequences, then two proofs to aggregate, then a batch
/// (executor-service §15.3). Sequences have one to four batches.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_asks_in_its_order_verifies_every_batch() {
    const BATCHES: u64 = 102;
    let mut aggregator = Aggregator::start(any_port()).await;
    let options = options(aggregator.address, Duration::from_millis(1));
    let client = tokio::spawn(aggregator::run(options, "id".to_owned(), quick(), no_files()));
    let mut prover = aggregator.next_stream().await;
    let mut ends = Vec::new();
    while ends.last().is_none_or(|&last| last < BATCHES) {
        let last: u64 = ends.last().copied().unwrap_or(0);
        ends.push((last + 1 + last % 4).min(BATCHES));
    }
    let starts = |batch: u64| batch == 1 || ends.contains(&(batch - 1));
    let sequence = |batch: u64| ends.iter().position(|&end| batch <= end);
    let (mut verified, mut next, mut proofs) = (0, 1, Vec::<Proved>::new());
    while verified < BATCHES {
        assert_eq!(prover.status().await.status(), ProverStatus::Idle, "verified {verified}, proved {next}");
        let whole = |proof: &Proved| starts(proof.first) && ends.contains(&proof.last);
        if let Some(at) = proofs.iter().position(|proof| proof.first == verified + 1 && whole(proof)) {
            let proof = proofs.remove(at);
            let request = wire::GenFinalProofRequest { recursive_proof: proof.proof, aggregator_addr: String::new() };
            let Answer::GenFinalProofResponse(started) = prover.ask(Question::GenFinalProofRequest(request)).await
            else {
                panic!("not final")
            };
            let Proof::FinalProof(_) = prover.proof(&started.id).await else { panic!("not final") };
            verified = proof.last;
            continue;
        }
        let joins = |pair: &[Proved]| {
            let [a, b] = pair else { return false };
            a.last + 1 == b.first && (sequence(a.first) == sequence(b.last) || whole(a) && whole(b))
        };
        if let Some(at) = proofs.windows(2).position(joins) {
            let second = proofs.remove(at + 1);
            let request = wire::GenAggregatedProofRequest {
                recursive_proof_1: proofs[at].proof.clone(),
                recursive_proof_2: second.proof,
            };
            proofs[at].proof = recursive_proof(&mut prover, Question::GenAggregatedProofRequest(request)).await;
            proofs[at].last = second.last;
            continue;
        }
        let request = wire::GenBatchProofRequest::default();
        let proof = recursive_proof(&mut prover, Question::GenBatchProofRequest(request)).await;
        proofs.push(Proved { first: next, last: next, proof });
        next += 1;
    }
    client.abort();
}

/// An aggregator of another fork ends each stream once it has the prover's status: the waits grow all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_prover_that_is_refused_after_each_connection_waits_longer_and_longer() {
    let mut aggregator = Aggregator::start(any_port()).await;
    let backoff = Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(5) };
    let options = options(aggregator.address, Duration::ZERO);
    let client = tokio::spawn(aggregator::run(options, "id".to_owned(), backoff, no_files()));
    let mut opened = Vec::new();
    for _ in 0..4 {
        let mut prover = aggregator.next_stream().await;
        opened.push(std::time::Instant::now());
        prover.status().await;
    }
    let waits: Vec<Duration> = opened.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, least_ms) in waits.iter().zip([100, 200, 400]) {
        assert!(*wait >= Duration::from_millis(least_ms), "{waits:?}");
    }
    client.abort();
}
