//! TLS and mutual TLS of the gRPC ports, with certificates made here.

use std::path::PathBuf;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use zkevm_executor::config::TlsOptions;
use zkevm_executor::server::Server;
use zkevm_types::ExecutorError;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;

use crate::support::{TestServer, config, request_v2};

/// Certificate and key in PEM.
struct Pair {
    cert: String,
    key: String,
}

/// An authority, and certificates of a server and a client by it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn issue(&self, name: &str) -> Pair {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        Pair { cert: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }
}

/// The files of a server called localhost.
fn files(folder: &tempfile::TempDir, authority: &Authority, mutual: bool) -> TlsOptions {
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let pair = authority.issue("localhost");
    TlsOptions {
        cert: Some(write("server.pem", &pair.cert)),
        key: Some(write("server.key", &pair.key)),
        client_ca: mutual.then(|| write("clients.pem", &authority.pem())),
    }
}

async fn start(tls: TlsOptions) -> TestServer {
    let mut config = config();
    config.tls = tls;
    config.limits.handshake = Duration::from_millis(500);
    TestServer::start_with(config).await
}

/// One batch over TLS; the error is that of the connection or of the call.
async fn call(server: &TestServer, ca: &Authority, identity: Option<&Pair>) -> Result<i32, String> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca.pem())).domain_name("localhost");
    if let Some(pair) = identity {
        tls = tls.identity(Identity::from_pem(&pair.cert, &pair.key));
    }
    let uri = format!("https://{}", server.running.grpc_addr());
    let endpoint = Channel::from_shared(uri).unwrap().tls_config(tls).unwrap();
    let channel = endpoint.connect().await.map_err(|error| format!("{error:?}"))?;
    let answer = ExecutorServiceClient::new(channel).process_batch_v2(request_v2(b"ok")).await;
    Ok(answer.map_err(|status| status.to_string())?.into_inner().error)
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_serves_clients_that_trust_the_authority() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let server = start(files(&folder, &authority, false)).await;
    assert_eq!(call(&server, &authority, None).await, Ok(ExecutorError::NoError.number()));
    let stranger = call(&server, &Authority::new(), None).await;
    assert!(stranger.is_err(), "{stranger:?}");
    assert_eq!(call(&server, &authority, None).await, Ok(ExecutorError::NoError.number()));
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mutual_tls_serves_only_clients_of_the_authority() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let server = start(files(&folder, &authority, true)).await;
    let (friend, stranger) = (authority.issue("friend"), Authority::new().issue("stranger"));
    assert!(call(&server, &authority, None).await.is_err());
    assert!(call(&server, &authority, Some(&stranger)).await.is_err());
    assert_eq!(call(&server, &authority, Some(&friend)).await, Ok(ExecutorError::NoError.number()));
    assert_eq!(server.double.started(), 1);
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plaintext_and_silence_to_the_tls_port_are_closed() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let server = start(files(&folder, &authority, false)).await;
    for sent in [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], b"GET / HTTP/1.1\r\n\r\n", b""] {
        let mut stream = TcpStream::connect(server.running.grpc_addr()).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "not closed after {sent:?}");
    }
    assert_eq!(call(&server, &authority, None).await, Ok(ExecutorError::NoError.number()));
    server.running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_files_are_named() {
    let (folder, authority) = (tempfile::tempdir().unwrap(), Authority::new());
    let good = files(&folder, &authority, true);
    let missing = folder.path().join("missing.pem");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let other_key = folder.path().join("other.key");
    std::fs::write(&other_key, authority.issue("other").key).unwrap();
    for (tls, named) in [
        (TlsOptions { cert: Some(missing.clone()), ..good.clone() }, &missing),
        (TlsOptions { cert: Some(empty.clone()), ..good.clone() }, &empty),
        (TlsOptions { key: Some(missing.clone()), ..good.clone() }, &missing),
        (TlsOptions { key: Some(other_key.clone()), ..good.clone() }, &other_key),
        (TlsOptions { client_ca: Some(empty.clone()), ..good.clone() }, &empty),
    ] {
        let mut config = config();
        config.tls = tls;
        let Err(error) = Server::new(config).start().await else { panic!("started without {}", named.display()) };
        assert!(error.to_string().starts_with(&format!("gRPC: TLS file {}: ", named.display())), "{error}");
        assert!(!error.to_string().contains("PRIVATE KEY"), "{error}");
    }
}
