//! What tests, benches, the demo and the load generator run on: generated workloads and signatures, and public vectors from disk.
//!
//! Decides: what a generated chain of batches looks like, how vectors and recordings are read. Must not know: the wire, servers.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod sample;
pub mod signatures;
pub mod skip;
pub mod stateless;
pub mod vectors;
