//! A server over an embedded database in a folder of its own, and a client that works like zkevm-node's.

use std::path::Path;

use revm::primitives::U256;
use tonic::transport::Channel;
use zkevm_executor::config::{Config, ConfigBuilder};
use zkevm_executor::server::{RunningServer, Server};
use zkevm_tree::Digest;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;
use zkevm_wire::proto::hashdb::v1 as wire;
use zkevm_wire::proto::hashdb::v1::hash_db_service_client::HashDbServiceClient;

pub(crate) const DATABASE: i32 = wire::Persistence::Database as i32;
pub(crate) const CACHE: i32 = wire::Persistence::CacheUnspecified as i32;
pub(crate) const SUCCESS: i32 = wire::result_code::Code::Success as i32;
pub(crate) const NOT_FOUND: i32 = wire::result_code::Code::DbKeyNotFound as i32;

/// Free ports, two executors, an embedded database in `folder`.
pub(crate) fn config(folder: &Path) -> Config {
    let mut builder = ConfigBuilder::new().unwrap();
    let ports = "[grpc]\nhost = \"127.0.0.1\"\nport = 0\n[http]\nhost = \"127.0.0.1\"\nport = 0\n[hashdb]\nport = 0";
    builder.toml(ports, "test").unwrap();
    builder.toml("[executor]\nthreads = 2\n[store]\ncache_mib = 16", "test").unwrap();
    builder.flag("store.path", folder.to_str().unwrap(), "test").unwrap();
    builder.build().unwrap()
}

pub(crate) async fn start(folder: &Path) -> RunningServer {
    Server::new(config(folder)).start().await.unwrap()
}

pub(crate) async fn hashdb(server: &RunningServer) -> HashDbServiceClient<Channel> {
    let channel = connect(server.hashdb_addr()).await;
    HashDbServiceClient::new(channel).max_decoding_message_size(256 << 20)
}

pub(crate) async fn executor(server: &RunningServer) -> ExecutorServiceClient<Channel> {
    ExecutorServiceClient::new(connect(server.grpc_addr()).await)
}

pub(crate) async fn connect(address: std::net::SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

pub(crate) fn fea(digest: Digest) -> Option<wire::Fea> {
    let [fe0, fe1, fe2, fe3] = digest.0;
    Some(wire::Fea { fe0, fe1, fe2, fe3 })
}

pub(crate) fn digest(fea: Option<wire::Fea>) -> Digest {
    let wire::Fea { fe0, fe1, fe2, fe3 } = fea.expect("a root");
    Digest([fe0, fe1, fe2, fe3])
}

pub(crate) fn raw(key: u64) -> Digest {
    Digest([key, 0, 0, 0])
}

pub(crate) fn hex(root: Digest) -> String {
    format!("{:#066x}", root.to_u256())
}

pub(crate) fn code(result: Option<wire::ResultCode>) -> i32 {
    result.expect("a result").code
}

/// A session of zkevm-node's kind: every write starts from the root of the one before.
pub(crate) struct Session {
    pub client: HashDbServiceClient<Channel>,
    pub uuid: String,
    pub root: Digest,
}

impl Session {
    pub(crate) async fn start(client: HashDbServiceClient<Channel>, root: Digest) -> Self {
        Self::try_start(client, root).await.unwrap()
    }

    pub(crate) async fn try_start(
        mut client: HashDbServiceClient<Channel>,
        root: Digest,
    ) -> Result<Self, tonic::Status> {
        let uuid = uuid::Uuid::new_v4().to_string();
        let request =
            wire::StartBlockRequest { batch_uuid: uuid.clone(), old_state_root: hex(root), persistence: DATABASE };
        client.start_block(request).await?;
        Ok(Self { client, uuid, root })
    }

    pub(crate) async fn set(&mut self, key: Digest, value: U256) {
        self.try_set(key, value).await.unwrap();
    }

    pub(crate) async fn try_set(&mut self, key: Digest, value: U256) -> Result<(), tonic::Status> {
        let request = wire::SetRequest {
            old_root: fea(self.root),
            key: fea(key),
            value: format!("{value:064x}"),
            persistence: DATABASE,
            batch_uuid: self.uuid.clone(),
            ..Default::default()
        };
        self.root = digest(self.client.set(request).await?.into_inner().new_root);
        Ok(())
    }

    pub(crate) async fn set_program(&mut self, hash: Digest, code_bytes: &[u8]) {
        let request = wire::SetProgramRequest {
            key: fea(hash),
            data: code_bytes.to_vec().into(),
            persistence: DATABASE,
            batch_uuid: self.uuid.clone(),
            ..Default::default()
        };
        assert_eq!(code(self.client.set_program(request).await.unwrap().into_inner().result), SUCCESS);
    }

    /// Ends block and session; returns the root and the flush id.
    pub(crate) async fn flush(self) -> (Digest, u64) {
        self.try_flush().await.unwrap()
    }

    pub(crate) async fn try_flush(mut self) -> Result<(Digest, u64), tonic::Status> {
        let (batch_uuid, new_state_root) = (self.uuid.clone(), hex(self.root));
        let block = wire::FinishBlockRequest {
            batch_uuid: batch_uuid.clone(),
            new_state_root: new_state_root.clone(),
            persistence: DATABASE,
        };
        self.client.finish_block(block).await?;
        let request = wire::FlushRequest { batch_uuid, new_state_root, persistence: DATABASE };
        let answer = self.client.flush(request).await?.into_inner();
        assert_eq!(code(answer.result), SUCCESS);
        Ok((self.root, answer.flush_id))
    }
}

/// Reads a leaf outside any session; returns value and result code.
pub(crate) async fn get(client: &mut HashDbServiceClient<Channel>, root: Digest, key: Digest) -> (U256, i32) {
    let request = wire::GetRequest { root: fea(root), key: fea(key), ..Default::default() };
    let answer = client.get(request).await.unwrap().into_inner();
    assert_eq!(answer.value.len(), 64);
    (U256::from_str_radix(&answer.value, 16).unwrap(), code(answer.result))
}

/// Waits until a flush is stored.
pub(crate) async fn stored(client: &mut HashDbServiceClient<Channel>, flush_id: u64) {
    for _ in 0..2000 {
        if client.get_flush_status(()).await.unwrap().into_inner().stored_flush_id >= flush_id {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    panic!("flush {flush_id} was not stored in 10 s");
}
