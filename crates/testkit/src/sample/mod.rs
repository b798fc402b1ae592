//! Generated work: accounts, a genesis state, a token contract and signed batches.
//!
//! The demo, the benchmarks, the load tests and the tests all draw from here, so a number in one of them can be
//! reproduced in another. Everything is deterministic: the same call gives the same bytes.

pub mod account;
pub mod batch;
pub mod collectible;
pub mod easm;
pub mod genesis;
pub mod token;
pub mod workload;

pub use account::Account;
pub use batch::{BatchBuilder, Transfer};
pub use genesis::Genesis;
pub use workload::{Kind, Workload};
