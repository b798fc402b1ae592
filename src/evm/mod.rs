//! The EVM of the zkEVM: the fork table, and revm configured by it (evm §1, §11).

pub mod fork;
