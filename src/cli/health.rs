//! `zkevm-executor health`: asks a running server for its health over gRPC. For health checks of containers.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use zkevm_wire::error_chain;

/// Flags of `health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Address of the gRPC port.
    #[arg(default_value = "127.0.0.1:50071")]
    address: String,
    /// Service to ask for; empty for the server as a whole.
    #[arg(long, default_value = "")]
    service: String,
    /// Seconds to wait for the answer.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// PEM file of the authority of the server's certificate: asks over TLS.
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Name in the server's certificate, if it is not the address.
    #[arg(long, requires = "tls_ca")]
    tls_name: Option<String>,
    /// PEM file of the client certificate, for mutual TLS.
    #[arg(long, value_name = "FILE", requires_all = ["tls_ca", "tls_key"])]
    tls_cert: Option<PathBuf>,
    /// PEM file of its key.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

/// Prints the status; an error unless it is SERVING.
pub fn run(args: &HealthArgs) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limit = Duration::from_secs(args.timeout);
    let asked = runtime.block_on(async { tokio::time::timeout(limit, ask(args)).await });
    let status = asked.map_err(|_| format!("no answer from {} within {} s", args.address, args.timeout))??;
    println!("{}", status.as_str_name());
    match status {
        ServingStatus::Serving => Ok(()),
        _ => Err(format!("{} is not serving", args.address).into()),
    }
}

async fn ask(args: &HealthArgs) -> Result<ServingStatus, Box<dyn std::error::Error>> {
    let scheme = if args.tls_ca.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", args.address))?;
    if let Some(tls) = tls(args)? {
        endpoint = endpoint.tls_config(tls)?;
    }
    let unreachable =
        |error: tonic::transport::Error| format!("cannot reach {}: {}", args.address, error_chain(&error));
    let channel = endpoint.connect().await.map_err(unreachable)?;
    let request = HealthCheckRequest { service: args.service.clone() };
    let answer = HealthClient::new(channel).check(request).await;
    let answer = answer.map_err(|status| format!("{} refused: {}", args.address, error_chain(&status)))?;
    Ok(answer.into_inner().status())
}

fn tls(args: &HealthArgs) -> Result<Option<ClientTlsConfig>, Box<dyn std::error::Error>> {
    let Some(ca) = &args.tls_ca else { return Ok(None) };
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
    if let Some(name) = &args.tls_name {
        tls = tls.domain_name(name);
    }
    if let (Some(cert), Some(key)) = (&args.tls_cert, &args.tls_key) {
        tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    Ok(Some(tls))
}

fn read(path: &PathBuf) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}
