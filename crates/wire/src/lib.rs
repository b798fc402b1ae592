//! The wire: the generated protobuf contracts, and requests to domain types and back (executor-service §1 to §8).
//!
//! Decides: which requests are valid, what a response looks like in each version of the API, what a witness and a data
//! stream say. Must not know: servers, actors, how a batch runs.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod decoded_size;
pub mod full_trace;
pub mod preencoded;
pub mod protobuf_text;
pub mod request;
pub mod respond;
pub mod stateless;
pub mod validate;

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

    /// `aggregator.v1`: the contract of an aggregator, whose client we are. Not part of server reflection.
    pub mod aggregator {
        #[allow(missing_docs, clippy::all)]
        pub mod v1 {
            tonic::include_proto!("aggregator.v1");
        }
    }
}
