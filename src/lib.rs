//! The service: answers zkevm-prover's executor protocol around a native engine for Polygon zkEVM L2 batches.
//!
//! Decides: who waits, who runs where, what is refused, what operators see. Must not know: the rules of a batch.
//!
//! The engine lives in the crates below (`crates/`), which know nothing of this one: `zkevm-processor` executes a batch,
//! `zkevm-store` keeps its state, `zkevm-wire` turns requests into batches and outputs into responses. Here stand the actors
//! that run batches, the gRPC and HTTP services around them, and the command line. `ARCHITECTURE.md` is the map.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod actors;
pub mod aggregator;
pub mod capture;
pub mod cli;
pub mod config;
pub(crate) mod connections;
pub mod descriptors;
pub mod engines;
pub mod grpc;
pub mod http;
pub mod memory;
pub mod remote_database;
#[allow(unsafe_code)]
pub mod scheduling;
pub mod server;
pub mod telemetry;
pub(crate) mod text;
