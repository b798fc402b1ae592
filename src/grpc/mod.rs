//! The gRPC services: one file per service, and the conversions between wire and domain types (executor-service §1 to §8).

pub mod call_memory;
pub mod capture;
pub mod deadline;
pub mod executor_service;
pub mod hashdb;
pub mod load_shed;
pub mod receive_budget;
pub mod server;
pub mod stats;
pub mod tls;

mod answer_body;
mod answer_clock;
mod call_count;
mod compression;
mod listener;
mod request_log;
mod status;
mod witness_admission;
