//! The EVM of the zkEVM: revm configured by the fork table (evm §1, §11).
//!
//! Decides: how one transaction executes: changed opcodes, precompiles, errors, traces. Must not know: batches, the leaves of
//! blocks, where state lives, who observes.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod access_log;
mod bytecode;
pub mod call_gas;
pub mod context;
mod error_order;
pub mod errors;
pub mod instructions;
pub mod interrupt;
mod modexp;
mod modexp_memory;
pub mod observer;
mod p256;
mod pairing;
pub mod precompiles;
mod returned;
pub mod trace;
mod trace_cost;
mod trace_memory;
mod traced_run;
pub mod transaction;
mod transfer;
#[allow(unsafe_code)]
pub mod unchecked;
pub mod zk_evm;
