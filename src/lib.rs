//! zkevm-executor: executes Polygon zkEVM L2 batches natively and answers zkevm-prover's executor protocol.
//!
//! Dependencies point down: `cli` → `grpc`, `http` → `actors` → `processor` → `evm`, `batch` → `tree` → `store`.
//! `pool`, `scheduling` and `pem` may be used by all of them; `stateless` reads what some requests bring, for `grpc`.
//! `processor` and everything below it know nothing of actix, tonic or prost. `ARCHITECTURE.md` is the map.

pub mod actors;
pub mod aggregator;
pub mod batch;
pub mod cli;
pub mod config;
pub mod counters;
pub mod dump;
pub mod evm;
pub mod grpc;
pub mod hashdb;
pub mod http;
pub mod pages;
mod pem;
pub mod pool;
pub mod processor;
pub mod sample;
pub mod scheduling;
pub mod server;
pub mod spans;
pub mod stateless;
pub mod store;
pub mod tree;
pub mod types;
pub mod vectors;
