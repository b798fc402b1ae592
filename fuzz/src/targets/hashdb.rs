//! Calls of the HashDB service, one after the other, on a server's database (hashdb-service §3, §4).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use prost::Message;
use revm::primitives::{Bytes, U256};
use tokio::runtime::Runtime;
use tonic::{Code, Request, Response, Status};
use zkevm_executor::actors::{Lifecycle, Phase};
use zkevm_executor::grpc::hashdb::HashDbApi;
use zkevm_store::hashdb::{HashDb, SessionLimits};
use zkevm_store::{Database, DurableOptions, Entry, MemoryLimits, QueueLimits, StateStore, WriteSet, WriterStep};
use zkevm_testkit::sample::genesis::GenesisState;
use zkevm_tree::poseidon::hash;
use zkevm_tree::{Digest, NodeData, StateReader, StoreError, linear_hash};
use zkevm_wire::proto::hashdb::v1 as wire;
use zkevm_wire::proto::hashdb::v1::hash_db_service_server::HashDbService;

use super::{Target, kind_of, workload};

/// The first byte chooses the store; then calls: their number, the length of the message in two bytes, the message.
pub const TARGET: Target = Target {
    name: "hashdb",
    run: target,
    seeds,
    dictionary: &[
        b"session",
        b"0x",
        b"0X",
        &[0x0a, 0x07, b's', b'e', b's', b's', b'i', b'o', b'n'],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        &[0xff, 0xff, 0xff, 0xff, 0x0f],
        &[0x20, 1],
        &[0x20, 2],
        &[0x38, 0x80, 0x80, 0x04],
        b"0000000000000000000000000000000000000000000000000000000000000000",
        b"ffffffffffffffff",
    ],
    input_bytes_max: 6 << 10,
    memory_bytes_max: 32 << 20,
};

const CALLS_MAX: usize = 24;
const SESSIONS_MAX: usize = 4;
const SESSION_BYTES: usize = 64 << 10;
const MEMORY_BYTES: usize = 1 << 20;
/// The names of the calls by their number.
const CALLS: [&str; 17] = [
    "Set",
    "Get",
    "SetProgram",
    "GetProgram",
    "LoadDb",
    "LoadProgramDb",
    "Flush",
    "FinishTx",
    "StartBlock",
    "FinishBlock",
    "ReadTree",
    "ConsolidateState",
    "Purge",
    "CancelBatch",
    "ResetDb",
    "GetLatestStateRoot",
    "GetFlushData",
];

static GENESIS: LazyLock<GenesisState> =
    LazyLock::new(|| workload(9).genesis().build().expect("the sample state is a tree"));
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().expect("a runtime can be made")
});

/// A database in memory that takes nothing under a wrong hash.
#[derive(Default)]
struct Checked(Mutex<Content>);

#[derive(Default)]
struct Content {
    nodes: HashMap<Digest, NodeData>,
    programs: HashMap<Digest, Bytes>,
    latest_root: Digest,
}

impl Checked {
    fn content<T>(&self, with: impl FnOnce(&mut Content) -> T) -> T {
        with(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl StateReader for Checked {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        Ok(self.content(|content| content.nodes.get(hash).copied()))
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(self.content(|content| content.programs.get(hash).cloned()))
    }
}

impl Database for Checked {
    fn commit(&self, sets: &[&WriteSet]) -> Result<(), StoreError> {
        self.content(|content| {
            for set in sets {
                set.nodes.iter().for_each(|(hash, node)| assert_node(hash, node));
                set.programs.iter().for_each(|(hash, code)| assert_program(hash, code));
                content.nodes.extend(set.nodes.iter().copied());
                content.programs.extend(set.programs.iter().cloned());
                if let Some(root) = set.latest_root {
                    let known = root.is_zero() || content.nodes.contains_key(&root);
                    assert!(known, "a latest root without a node: {}", root.to_b256());
                    content.latest_root = root;
                }
            }
        });
        Ok(())
    }

    fn latest_root(&self) -> Result<Digest, StoreError> {
        Ok(self.content(|content| content.latest_root))
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.content(|content| *content = Content::default());
        Ok(())
    }

    fn place(&self, _: Entry<'_>) -> String {
        "memory".to_owned()
    }
}

fn assert_node(key: &Digest, node: &NodeData) {
    let (content, capacity) = node.split_at(8);
    let found = hash(content.try_into().expect("8 elements"), capacity.try_into().expect("4 elements"));
    assert_eq!(found, *key, "a node under another hash is stored");
}

fn assert_program(key: &Digest, code: &[u8]) {
    assert_eq!(linear_hash(code), *key, "a program under another hash is stored");
}

/// Makes the calls, each answered before the next. What was written can be read; nothing is stored under a wrong hash.
pub fn target(data: &[u8]) -> u64 {
    let Some((&head, mut data)) = data.split_first() else { return 0 };
    let store = Arc::new(store(head & 1 != 0));
    let limits =
        SessionLimits { sessions_max: SESSIONS_MAX, bytes_max: SESSION_BYTES, idle_max: Duration::from_secs(600) };
    let database = Arc::new(HashDb::new(Arc::clone(&store), limits, head & 2 != 0));
    let lifecycle = Lifecycle::default();
    // GetFlushData does not wait any more.
    lifecycle.advance(Phase::Stopping);
    let api = HashDbApi::new(database, lifecycle, "fuzz".into(), 1);
    let mut caller = Caller { api, keys: BTreeSet::new(), kinds: Vec::new() };
    RUNTIME.block_on(async {
        for _ in 0..CALLS_MAX {
            let Some((&[call, low, high], rest)) = data.split_first_chunk::<3>() else { break };
            let (message, after) = rest.split_at(rest.len().min(usize::from(low) | usize::from(high) << 8));
            caller.call(usize::from(call) % CALLS.len(), message).await;
            store_all(&store);
            data = after;
        }
    });
    for key in &caller.keys {
        if let Some(node) = store.node(key).expect("the store works") {
            assert_node(key, &node);
        }
        if let Some(code) = store.program(key).expect("the store works") {
            assert_program(key, &code);
        }
    }
    caller.kinds.sort_unstable();
    caller.kinds.dedup();
    kind_of(&(head & 1, caller.kinds))
}

/// Returns a store with the sample state: in memory, or over a database with a queue and a cache in front.
fn store(durable: bool) -> StateStore {
    let limits = MemoryLimits { volatile_bytes_max: MEMORY_BYTES, permanent_bytes_max: MEMORY_BYTES };
    let store = match durable {
        false => StateStore::in_memory(limits),
        true => {
            let options = DurableOptions {
                volatile_bytes_max: MEMORY_BYTES,
                cache_bytes_max: MEMORY_BYTES,
                queue: QueueLimits::default(),
            };
            StateStore::over(Arc::new(Checked::default()), options).expect("an empty database")
        }
    };
    let nodes = GENESIS.nodes.iter().map(|(hash, node)| (*hash, *node)).collect();
    let programs = GENESIS.programs.iter().map(|(hash, code)| (*hash, code.clone())).collect();
    let set = WriteSet { nodes, programs, latest_root: Some(GENESIS.root) };
    store.persist(set, zkevm_store::Durability::Permanent, 0).expect("there is room");
    store_all(&store);
    store
}

/// Does the writer's work.
fn store_all(store: &StateStore) {
    let waits = |store: &StateStore| {
        let status = store.flush_status();
        status.pending_nodes + status.pending_programs > 0 || status.last_flush_id > status.stored_flush_id
    };
    while store.needs_writer() && waits(store) {
        assert!(matches!(store.write_next(), WriterStep::Stored { .. }), "the database takes everything");
    }
}

/// A client, and what it saw.
struct Caller {
    api: HashDbApi,
    /// Hashes that entries were listed under, and roots that were answered.
    keys: BTreeSet<Digest>,
    /// Call and code of each answer.
    kinds: Vec<(usize, i32, i32)>,
}

impl Caller {
    /// Makes the call of this number, if the message is one.
    async fn call(&mut self, number: usize, message: &[u8]) {
        let api = &self.api;
        let outcome = match CALLS[number] {
            "Set" => match read::<wire::SetRequest>(message) {
                Ok(request) => self.set(request.into_inner()).await,
                Err(status) => Err(status),
            },
            "SetProgram" => {
                let Ok(request) = read::<wire::SetProgramRequest>(message) else { return };
                self.keys.insert(digest(request.get_ref().key));
                coded(api.set_program(request).await, |answer| answer.result)
            }
            "LoadDb" => {
                let Ok(request) = read::<wire::LoadDbRequest>(message) else { return };
                self.keys.extend(request.get_ref().input_db.keys().filter_map(|key| of_text(key)));
                done(api.load_db(request).await)
            }
            "LoadProgramDb" => {
                let Ok(request) = read::<wire::LoadProgramDbRequest>(message) else { return };
                self.keys.extend(request.get_ref().input_program_db.keys().filter_map(|key| of_text(key)));
                done(api.load_program_db(request).await)
            }
            _ => self.other(number, message).await,
        };
        let status = outcome.as_ref().err().map_or(Code::Ok, Status::code);
        assert_ne!(status, Code::Internal, "{}: {outcome:?}", CALLS[number]);
        self.kinds.push((number, status as i32, outcome.unwrap_or_default()));
    }

    async fn other(&self, number: usize, message: &[u8]) -> Result<i32, Status> {
        let api = &self.api;
        match CALLS[number] {
            "Get" => coded(api.get(read(message)?).await, |answer| answer.result),
            "GetProgram" => coded(api.get_program(read(message)?).await, |answer| answer.result),
            "Flush" => coded(api.flush(read(message)?).await, |answer| answer.result),
            "FinishTx" => done(api.finish_tx(read(message)?).await),
            "StartBlock" => done(api.start_block(read(message)?).await),
            "FinishBlock" => done(api.finish_block(read(message)?).await),
            "ReadTree" => coded(api.read_tree(read(message)?).await, |answer| answer.result),
            "ConsolidateState" => coded(api.consolidate_state(read(message)?).await, |answer| answer.result),
            "Purge" => coded(api.purge(read(message)?).await, |answer| answer.result),
            "CancelBatch" => coded(api.cancel_batch(read(message)?).await, |answer| answer.result),
            "ResetDb" => coded(api.reset_db(read(message)?).await, |answer| answer.result),
            "GetLatestStateRoot" => coded(api.get_latest_state_root(read(message)?).await, |answer| answer.result),
            _ => coded(api.get_flush_data(read(message)?).await, |answer| answer.result),
        }
    }

    /// Writes a leaf. Outside of a session it must be there afterwards.
    async fn set(&mut self, request: wire::SetRequest) -> Result<i32, Status> {
        let (key, value, is_alone) = (request.key, request.value.clone(), request.batch_uuid.is_empty());
        let answer = self.api.set(Request::new(request)).await?.into_inner();
        self.keys.insert(digest(answer.new_root));
        if is_alone {
            let get = wire::GetRequest { root: answer.new_root, key, ..Default::default() };
            let read = self.api.get(Request::new(get)).await?.into_inner();
            let number = |text: &str| U256::from_str_radix(text, 16).ok();
            assert_eq!(number(&read.value), number(&value), "what was written is not what is read");
        }
        Ok(answer.result.unwrap_or_default().code)
    }
}

/// Reads a message as a server does: what is none does not reach the service.
fn read<T: Message + Default>(message: &[u8]) -> Result<Request<T>, Status> {
    T::decode(message).map(Request::new).map_err(|_| Status::unimplemented("no message"))
}

fn coded<T>(answer: Result<Response<T>, Status>, result: fn(T) -> Option<wire::ResultCode>) -> Result<i32, Status> {
    answer.map(|answer| result(answer.into_inner()).unwrap_or_default().code)
}

fn done(answer: Result<Response<()>, Status>) -> Result<i32, Status> {
    answer.map(|_| 0)
}

fn digest(fea: Option<wire::Fea>) -> Digest {
    let wire::Fea { fe0, fe1, fe2, fe3 } = fea.unwrap_or_default();
    Digest::from_u256(U256::from_limbs([fe0, fe1, fe2, fe3]))
}

fn fea(digest: &Digest) -> Option<wire::Fea> {
    let [fe0, fe1, fe2, fe3] = digest.0;
    Some(wire::Fea { fe0, fe1, fe2, fe3 })
}

fn of_text(key: &str) -> Option<Digest> {
    let digits = key.strip_prefix("0x").unwrap_or(key);
    U256::from_str_radix(digits, 16).ok().map(Digest::from_u256)
}

fn text(digest: &Digest) -> String {
    format!("{:x}", digest.to_b256())
}

/// Appends a call to an input.
fn push(input: &mut Vec<u8>, call: &str, message: &impl Message) {
    let message = message.encode_to_vec();
    input.push(CALLS.iter().position(|name| *name == call).expect("the call has a number") as u8);
    input.extend((message.len() as u16).to_le_bytes());
    input.extend(message);
}

/// Single calls, loads, and a session from its first write to its flush.
fn seeds() -> Vec<Vec<u8>> {
    let root = fea(&GENESIS.root);
    let key = |number: u64| fea(&Digest([number, 2, 3, number << 60]));
    let code = vec![0x60, 1, 0x60, 2, 0x55];
    let (node_hash, node) = GENESIS.nodes.iter().next().expect("the sample has nodes");
    let mut seeds = Vec::new();
    for (head, uuid) in [(0_u8, ""), (1, ""), (2, "session"), (3, "session")] {
        let batch_uuid = uuid.to_owned();
        let mut input = vec![head];
        for number in 1..=4 {
            let set = wire::SetRequest {
                old_root: root,
                key: key(number),
                value: format!("{number:x}"),
                persistence: number as i32 % 3,
                details: number % 2 == 0,
                get_db_read_log: true,
                batch_uuid: batch_uuid.clone(),
                ..Default::default()
            };
            push(&mut input, "Set", &set);
        }
        let program = wire::SetProgramRequest {
            key: fea(&linear_hash(&code)),
            data: code.clone().into(),
            persistence: 1,
            batch_uuid: batch_uuid.clone(),
            ..Default::default()
        };
        push(&mut input, "SetProgram", &program);
        let get_program = wire::GetProgramRequest { key: program.key, batch_uuid: batch_uuid.clone() };
        push(&mut input, "GetProgram", &get_program);
        let get = wire::GetRequest {
            root,
            key: key(1),
            details: true,
            get_db_read_log: true,
            batch_uuid: batch_uuid.clone(),
        };
        push(&mut input, "Get", &get);
        let new_state_root = text(&GENESIS.root);
        let finish = wire::FinishTxRequest {
            batch_uuid: batch_uuid.clone(),
            new_state_root: new_state_root.clone(),
            persistence: 1,
        };
        push(&mut input, "FinishTx", &finish);
        push(
            &mut input,
            "StartBlock",
            &wire::StartBlockRequest { batch_uuid: batch_uuid.clone(), ..Default::default() },
        );
        push(&mut input, "FinishBlock", &finish);
        let flush = wire::FlushRequest { batch_uuid: batch_uuid.clone(), persistence: 1, ..Default::default() };
        push(&mut input, "Flush", &flush);
        push(&mut input, "CancelBatch", &wire::CancelBatchRequest { batch_uuid: batch_uuid.clone() });
        push(&mut input, "GetLatestStateRoot", &());
        push(&mut input, "GetFlushData", &wire::GetFlushDataRequest::default());
        seeds.push(input);

        let mut input = vec![head];
        let entry = wire::FeList { fe: node.to_vec() };
        let load = wire::LoadDbRequest {
            input_db: [(text(node_hash), entry)].into(),
            persistent: head % 2 == 0,
            state_root: root,
        };
        push(&mut input, "LoadDb", &load);
        let programs = [(format!("0x{}", text(&linear_hash(&code))), code.clone().into())].into();
        push(&mut input, "LoadProgramDb", &wire::LoadProgramDbRequest { input_program_db: programs, persistent: true });
        let keys = (1..5).filter_map(key).collect();
        push(&mut input, "ReadTree", &wire::ReadTreeRequest { state_root: root, keys });
        let consolidate = wire::ConsolidateStateRequest { virtual_state_root: root, persistence: 1 };
        push(&mut input, "ConsolidateState", &consolidate);
        push(&mut input, "Purge", &wire::PurgeRequest { batch_uuid: batch_uuid.clone(), ..Default::default() });
        push(&mut input, "ResetDb", &());
        push(&mut input, "Get", &get);
        seeds.push(input);
    }
    seeds
}
