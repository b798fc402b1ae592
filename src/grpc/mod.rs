//! The gRPC door: one file per service, and the conversions between wire and domain types (executor-service §1 to §8).

pub mod deadline;
pub mod encoded;
pub mod executor;
pub mod hashdb;
pub mod reception;
pub mod record;
pub mod remote;
pub mod respond;
pub mod server;
pub mod stats;
pub mod text;
pub mod tls;
pub mod validate;

mod lines;
mod listener;
mod status;
mod unpack;

/// Joins an error and its causes: the transport's own text is only `transport error`.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// The protobuf contracts, compiled from `proto/`.
pub mod proto {
    /// Descriptors of every contract, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contracts.bin"));

    /// Descriptors of the contracts whose client we are.
    pub const CLIENT_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/client_contracts.bin"));

    /// `executor.v1`: the public contract of the executor (executor-service §1).
    pub mod executor {
        #[allow(missing_docs, clippy::all)]
        pub mod v1 {
            tonic::include_proto!("executor.v1");
            // The server, whose responses are encoded before (`super::encoded`).
            tonic::include_proto!("executor.v1.ExecutorService");
        }
    }

    /// `hashdb.v1`: the public contract of the state database (hashdb-service §2 to §4).
    pub mod hashdb {
        #[allow(missing_docs, clippy::all)]
        pub mod v1 {
            tonic::include_proto!("hashdb.v1");
        }
    }

    /// `stats.v1`: our own statistics.
    pub mod stats {
        #[allow(missing_docs, clippy::all)]
        pub mod v1 {
            tonic::include_proto!("stats.v1");
        }
    }
}
