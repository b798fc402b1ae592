//! Programs that test an executor from outside: conformance with vectors and recordings, and load.
//!
//! Decides: what is compared and what is counted. Must not know: how a server is made.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod conformance;
pub mod engine;
pub mod load;
pub mod table;
