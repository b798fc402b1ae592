//! The EVM of the zkEVM: revm configured by the fork table (evm §1, §11).
//!
//! Decides: how one transaction executes: changed opcodes, precompiles, errors, traces. Must not know: batches, the leaves of
//! blocks, where state lives.

pub mod bytecode;
pub mod context;
pub mod errors;
pub mod executor;
mod faults;
pub mod instructions;
pub mod modexp;
pub mod observer;
pub mod precompiles;
pub mod touch;
pub mod trace;
mod traced_run;
#[allow(unsafe_code)]
pub mod unchecked;
pub mod unpaid;
