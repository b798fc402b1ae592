//! A HashDB service of another process as the database of this one (hashdb-service §9, `hashdb.url`).
//!
//! Reads ask `ReadTree` for the node as if it were a root, with one key for each way through the next levels: the answer
//! holds the node and the paths below it, so that going down a tree costs a call per few levels. Writes go
//! through `LoadDB` and `LoadProgramDB`, take a flush id there, and count as stored once the other side says so. If the other
//! process changed meanwhile, what it had not stored may be gone: the write fails, and the writer makes it again.
//!
//! Flush ids and prover id that clients of this process see are its own: a stored id says that the other side stored
//! everything up to it, however often the other process was restarted (hashdb-service §6, guarantee 5).

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use futures_util::future::try_join_all;
use revm::primitives::Bytes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use crate::grpc::hashdb::convert::{digest, fea};
use zkevm_store::encoding::{hash_bytes, node_bytes, node_from_bytes};
use zkevm_store::{AsyncBridge, Database, Entry, ReadCache, Retries, WriteSet};
use zkevm_tree::{Digest, NodeData};
use zkevm_tree::{StateReader, StoreError};
use zkevm_wire::proto::hashdb::v1 as wire;
use zkevm_wire::proto::hashdb::v1::hash_db_service_client::HashDbServiceClient;

/// Levels below a node that one read brings along, on every way.
const LEVELS: usize = 4;
/// Nodes of one `LoadDB`: below the 4 MiB that any gRPC server accepts.
const NODES_PER_CALL: usize = 8192;
/// Bytes of programs of one `LoadProgramDB`; a program that is larger goes alone.
const PROGRAM_BYTES_PER_CALL: usize = 2 << 20;
/// Reads that are under way for one caller.
const READS_AT_ONCE: usize = 16;
/// First and longest wait between two looks at the flush status.
const POLL: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));
/// Longest wait before a failed read is tried again; it doubles from the configured one up to this.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(1);

/// Address of the other HashDB, and limits of calls to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteOptions {
    /// `host:port` or `http://host:port`.
    pub url: String,
    /// Tries of a read after the first one failed.
    pub retries: u32,
    /// Wait before the first of these; it doubles.
    pub retry_after: Duration,
    /// Longest time of one call, of all tries of one read, and of storing one group.
    pub timeout: Duration,
    /// Bytes of one message, both ways.
    pub message_bytes: usize,
    /// Budget of nodes that reads brought along.
    pub cache_bytes_max: usize,
}

type Client = HashDbServiceClient<Channel>;

/// The HashDB service of another process.
pub struct RemoteDatabase {
    bridge: AsyncBridge,
    client: Client,
    options: RemoteOptions,
    ahead: ReadCache,
}

impl RemoteDatabase {
    /// Prepares the connection, which is made when needed, and again after it broke.
    ///
    /// Fails if the URL is not one.
    pub fn open(options: RemoteOptions) -> Result<Self, StoreError> {
        let unavailable = |what: &str, error: &dyn std::fmt::Display| {
            StoreError::Unavailable(format!("HashDB {}: {what}: {error}", options.url))
        };
        let bridge =
            AsyncBridge::new(1, "remote-hashdb").map_err(|error| unavailable("cannot start a thread", &error))?;
        let url = if options.url.contains("://") { options.url.clone() } else { format!("http://{}", options.url) };
        let endpoint = Endpoint::from_shared(url)
            .map_err(|error| unavailable("not an address", &error))?
            .connect_timeout(options.timeout)
            .timeout(options.timeout)
            .tcp_nodelay(true);
        // Even a connection that is made later needs a runtime around.
        let channel = {
            let _inside = bridge.enter();
            endpoint.connect_lazy()
        };
        let client = HashDbServiceClient::new(channel)
            .max_decoding_message_size(options.message_bytes)
            .max_encoding_message_size(options.message_bytes);
        let ahead = ReadCache::new(options.cache_bytes_max);
        Ok(Self { bridge, client, options, ahead })
    }

    fn failed(&self, status: &Status) -> StoreError {
        StoreError::Unavailable(format!("HashDB {}: {:?}: {}", self.options.url, status.code(), status.message()))
    }

    /// Runs work on the thread of the connection and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Status>> + Send + 'static,
    ) -> Result<T, Status> {
        self.bridge.wait(work).unwrap_or_else(|| Err(Status::cancelled("the connection is closed")))
    }

    /// Tries until it works, as often as configured.
    fn retry<T, F>(&self, work: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Status>> + Send + 'static,
    {
        let RemoteOptions { retries: times, retry_after: pause, timeout: limit, .. } = self.options;
        let retries = Retries { times, pause, pause_max: RETRY_AFTER_MAX, limit };
        retries.run(|_| false, || self.wait(work(self.client.clone()))).map_err(|status| self.failed(&status))
    }

    /// Takes the nodes of an answer; returns the one asked for.
    fn keep_ahead(&self, asked: &Digest, answer: wire::ReadTreeResponse) -> Result<Option<NodeData>, StoreError> {
        let mut found = None;
        for entry in answer.hash_value {
            let (Some(hash), Some(value)) = (entry.hash, entry.value) else { continue };
            let hash = digest(Some(hash));
            let node = node_from_bytes(&hash, &node_bytes(&elements(&value)), String::new)?;
            if hash == *asked {
                found = Some(node);
            } else {
                self.ahead.put_node(hash, node);
            }
        }
        Ok(found)
    }
}

fn elements(value: &wire::Fea12) -> NodeData {
    let wire::Fea12 { fe0, fe1, fe2, fe3, fe4, fe5, fe6, fe7, fe8, fe9, fe10, fe11 } = *value;
    [fe0, fe1, fe2, fe3, fe4, fe5, fe6, fe7, fe8, fe9, fe10, fe11]
}

/// Fails unless the code is one of these.
fn expect(result: Option<wire::ResultCode>, allowed: &[wire::result_code::Code]) -> Result<i32, Status> {
    let code = result.unwrap_or_default().code;
    if allowed.iter().any(|allowed| *allowed as i32 == code) {
        return Ok(code);
    }
    Err(Status::new(Code::Unavailable, format!("answered with result code {code}")))
}

/// Reads a node and what is below it. A node that is no root makes the service stumble somewhere below it, but the
/// answer has what was read until then; only an answer without the node is judged by its code.
async fn read(mut client: Client, hash: Digest) -> Result<wire::ReadTreeResponse, Status> {
    // Level n takes bit n / 4 of limb n % 4 (state-tree §7).
    let key = |way: usize| {
        let mut limbs = [0; 4];
        (0..LEVELS).for_each(|level| limbs[level % 4] |= ((way >> level & 1) as u64) << (level / 4));
        fea(&Digest(limbs))
    };
    let keys = (0..1 << LEVELS).map(key).collect();
    let answer = client.read_tree(wire::ReadTreeRequest { state_root: Some(fea(&hash)), keys }).await?.into_inner();
    let is_there = answer.hash_value.iter().any(|entry| entry.hash == Some(fea(&hash)));
    if !is_there {
        expect(answer.result, &[wire::result_code::Code::DbKeyNotFound])?;
    }
    Ok(answer)
}

impl StateReader for RemoteDatabase {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        if let Some(node) = self.ahead.node(hash) {
            return Ok(Some(node));
        }
        let answer = self.retry(|client| read(client, *hash))?;
        self.keep_ahead(hash, answer)
    }

    fn nodes(&self, hashes: &[Digest]) -> Result<Vec<Option<NodeData>>, StoreError> {
        let mut found = Vec::with_capacity(hashes.len());
        for asked in hashes.chunks(READS_AT_ONCE) {
            let known: Vec<_> = asked.iter().map(|hash| self.ahead.node(hash)).collect();
            let missing: Vec<Digest> =
                asked.iter().zip(&known).filter(|(_, known)| known.is_none()).map(|(hash, _)| *hash).collect();
            let reads =
                |client: Client| missing.iter().map(move |hash| read(client.clone(), *hash)).collect::<Vec<_>>();
            let answers = self.retry(|client| try_join_all(reads(client)))?;
            let mut answers = missing.iter().zip(answers);
            for known in known {
                found.push(match known {
                    Some(node) => Some(node),
                    None => answers.next().map_or(Ok(None), |(hash, answer)| self.keep_ahead(hash, answer))?,
                });
            }
        }
        Ok(found)
    }

    /// Calls are made beside each other.
    fn prefers_many(&self) -> bool {
        true
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        use wire::result_code::Code::{DbKeyNotFound, Success};
        let key = Some(fea(hash));
        self.retry(|mut client| async move {
            let request = wire::GetProgramRequest { key, ..Default::default() };
            let answer = client.get_program(request).await?.into_inner();
            let code = expect(answer.result, &[Success, DbKeyNotFound])?;
            Ok((code == Success as i32).then(|| Bytes::from(answer.data)))
        })
    }
}

impl Database for RemoteDatabase {
    /// Tried once, the writer tries again.
    fn commit(&self, sets: &[&WriteSet]) -> Result<(), StoreError> {
        let nodes: Vec<(String, wire::FeList)> = sets
            .iter()
            .flat_map(|set| &set.nodes)
            .map(|(hash, node)| (hex::encode(hash_bytes(hash)), wire::FeList { fe: node.to_vec() }))
            .collect();
        let programs: Vec<(String, prost::bytes::Bytes)> = sets
            .iter()
            .flat_map(|set| &set.programs)
            .map(|(hash, code)| (hex::encode(hash_bytes(hash)), code.0.clone()))
            .collect();
        let root = sets.iter().rev().find_map(|set| set.latest_root);
        let work = store(self.client.clone(), nodes, programs, root);
        let timeout = self.options.timeout;
        let in_time = async move {
            let late = |_| Status::deadline_exceeded("not stored in time");
            tokio::time::timeout(timeout, work).await.unwrap_or_else(|elapsed| Err(late(elapsed)))
        };
        self.wait(in_time).map_err(|status| self.failed(&status))
    }

    fn latest_root(&self) -> Result<Digest, StoreError> {
        self.retry(|mut client| async move {
            let answer = client.get_latest_state_root(()).await?.into_inner();
            expect(answer.result, &[wire::result_code::Code::Success])?;
            Ok(digest(answer.latest_root))
        })
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.ahead.clear();
        let mut client = self.client.clone();
        let reset = async move {
            let answer = client.reset_db(()).await?.into_inner();
            expect(answer.result, &[wire::result_code::Code::Success])
        };
        self.wait(reset).map(drop).map_err(|status| self.failed(&status))
    }

    fn place(&self, _: Entry<'_>) -> String {
        format!("HashDB {}", self.options.url)
    }
}

/// Sends everything, takes a flush id after it, and waits until that is stored.
async fn store(
    mut client: Client,
    nodes: Vec<(String, wire::FeList)>,
    programs: Vec<(String, prost::bytes::Bytes)>,
    root: Option<Digest>,
) -> Result<(), Status> {
    let prover_id = client.get_flush_status(()).await?.into_inner().prover_id;
    let mut calls: Vec<BTreeMap<_, _>> = vec![BTreeMap::new()];
    let mut bytes = 0;
    for (key, code) in programs {
        if bytes + code.len() > PROGRAM_BYTES_PER_CALL {
            calls.push(BTreeMap::new());
            bytes = 0;
        }
        bytes += code.len();
        calls.last_mut().into_iter().for_each(|call| drop(call.insert(key.clone(), code.clone())));
    }
    for input_program_db in calls.into_iter().filter(|call| !call.is_empty()) {
        client.load_program_db(wire::LoadProgramDbRequest { input_program_db, persistent: true }).await?;
    }
    for nodes in nodes.chunks(NODES_PER_CALL) {
        let input_db = nodes.iter().cloned().collect();
        client.load_db(wire::LoadDbRequest { input_db, persistent: true, state_root: None }).await?;
    }
    if let Some(root) = root {
        let state_root = Some(fea(&root));
        client.load_db(wire::LoadDbRequest { input_db: BTreeMap::new(), persistent: true, state_root }).await?;
    }
    let flush = wire::FlushRequest { persistence: wire::Persistence::Database as i32, ..Default::default() };
    let flushed = client.flush(flush).await?.into_inner();
    expect(flushed.result, &[wire::result_code::Code::Success])?;
    if flushed.flush_id == 0 {
        return Err(Status::failed_precondition("keeps nothing: it is read-only"));
    }
    let mut pause = POLL.0;
    loop {
        let status = client.get_flush_status(()).await?.into_inner();
        if status.prover_id != prover_id {
            return Err(Status::aborted("was restarted before everything was stored"));
        }
        if status.stored_flush_id >= flushed.flush_id {
            return Ok(());
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(POLL.1);
    }
}
