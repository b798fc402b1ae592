//! The gRPC door: one file per service, and the conversions between wire and domain types (executor-service §1 to §8).

pub mod deadline;
pub mod executor;
pub mod hashdb;
pub mod remote;
pub mod respond;
pub mod server;
pub mod stats;
pub mod tls;
pub mod validate;

mod listener;
mod status;

/// The protobuf contracts, compiled from `proto/`.
pub mod proto {
    /// Descriptors of every contract, for server reflection.
    pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contracts.bin"));

    /// `executor.v1`: the public contract of the executor (executor-service §1).
    pub mod executor {
        #[allow(missing_docs, clippy::all)]
        pub mod v1 {
            tonic::include_proto!("executor.v1");
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
