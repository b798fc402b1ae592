//! The gRPC door: one file per service, and the conversions between wire and domain types (executor-service §1 to §8).

pub mod deadline;
pub mod executor;
pub mod hashdb;
pub mod load_shed;
pub mod receive_budget;
pub mod record;
pub mod remote;
pub mod server;
pub mod stats;
pub mod tls;

mod lines;
mod listener;
mod status;
mod witness_admission;
