//! Two executors on one PostgreSQL behind a plain gRPC load balancer: nginx with the configuration of `config/nginx`.

use std::collections::HashSet;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use revm::primitives::B256;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};
use zkevm_testkit::sample::Kind;
use zkevm_testkit::skip;
use zkevm_types::ExecutorError;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;
use zkevm_wire::request::Request;

use super::postgres::{chain, fill, serve};
use super::postgres_server::PostgresServer;
use super::support::{hashdb, stored};

struct Nginx {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Nginx {
    /// Starts nginx in front of these ports of executors; `None`, said loudly, if it is not installed.
    fn start(executors: [u16; 2], hashdbs: [u16; 2]) -> Option<Self> {
        let Ok(version) = Command::new("nginx").arg("-v").output() else {
            skip::missing_tool("no nginx (Debian's package nginx-light)");
            return None;
        };
        assert!(version.status.success());
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port, hashdb_port) = (free(), free());
        let mut text = include_str!("../../config/nginx/grpc.conf").to_owned();
        let ports = [("50071", port), ("50061", hashdb_port), ("50171", executors[0]), ("50172", executors[1])];
        for (from, to) in ports.into_iter().chain([("50161", hashdbs[0]), ("50162", hashdbs[1])]) {
            // A marker first: a free port may look like one that is still to be replaced.
            text = text.replace(&format!("listen {from} "), &format!("listen 127.0.0.1:{to} "));
            text = text.replace(&format!("127.0.0.1:{from};"), &format!("127.0.0.1:{to} ;"));
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("grpc.conf");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(&file).args(["-g", "daemon off;"]);
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        Some(Self { child, port, _folder: folder })
    }

    async fn connect(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.port)).unwrap();
        for _ in 0..200 {
            if let Ok(channel) = endpoint.connect().await {
                return channel;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("nginx does not come up");
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // A quick shutdown takes the workers along; killing the master would not.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_batches_goes_through_a_load_balancer() {
    let Some(postgres) = PostgresServer::start("two executors behind nginx") else { return };
    let (workload, genesis) = chain(1);
    fill(&postgres, &genesis);
    let servers = [serve(&postgres).await, serve(&postgres).await];
    let ports = servers.each_ref().map(|server| server.grpc_addr().port());
    let hashdb_ports = servers.each_ref().map(|server| server.hashdb_addr().port());
    let Some(nginx) = Nginx::start(ports, hashdb_ports) else { return };
    let mut client = ExecutorServiceClient::new(nginx.connect().await);
    let (mut chain, mut provers) = (workload.chain(0, genesis.root.to_b256()), HashSet::new());
    for number in 0..12 {
        let Request::V2(request) = Request::new(&chain.next_batch(Kind::Transfers, 3)) else { panic!("fork 9 is V2") };
        let answer = client.process_batch_v2(*request).await.unwrap().into_inner();
        assert_eq!(answer.error, ExecutorError::NoError.number(), "batch {number}");
        chain.state_root = B256::from_slice(&answer.new_state_root);
        chain.acc_input_hash = B256::from_slice(&answer.new_acc_input_hash);
        let server = servers.iter().find(|server| server.prover_id() == answer.prover_id).unwrap();
        stored(&mut hashdb(server).await, answer.flush_id).await;
        provers.insert(answer.prover_id);
    }
    assert_eq!(provers.len(), 2, "both executors had a part of the chain");
    drop(nginx);
    for server in servers {
        server.shutdown().await;
    }
}
