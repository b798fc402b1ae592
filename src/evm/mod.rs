//! The EVM of the zkEVM: the fork table, and revm configured by it (evm §1, §11).

pub mod bytecode;
pub mod context;
pub mod errors;
pub mod executor;
mod faults;
pub mod instructions;
pub mod meter;
pub mod modexp;
pub mod precompiles;
pub mod touch;
pub mod trace;
mod traced_run;
pub mod unpaid;
