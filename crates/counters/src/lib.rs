//! zk counters: what a batch would cost the prover, computed while it executes natively (counters §1, §2).
//!
//! Decides: what each event of a batch costs. Must not know: how a batch is executed. It listens as an observer
//! ([`BatchObserver`](zkevm_batch::observer::BatchObserver), [`EvmObserver`](zkevm_evm::observer::EvmObserver)) and changes
//! nothing; only under policy `enforce` it ends a batch.
//!
//! Eight counters are reported. Three kinds of numbers:
//!
//! * **real**: what the ROM itself would count on this batch;
//! * **bound**: never less than that, from real path costs where the path is known and the virtual price elsewhere;
//! * **virtual**: the model's price list alone, which is an upper bound by calibration.
//!
//! | Counter | Forks 1–3 | Forks 4–7 | Forks 8–13 |
//! |---|---|---|---|
//! | keccaks, paddings, Poseidons, SHA-256 | real | real | real |
//! | steps, arithmetics, binaries: batch, block, decoding, recovery, plain transfer, rejection | virtual (R7) | real | real |
//! | the same: data, code of an account called, bad signatures, undecodable batches | virtual (R7) | bound | bound |
//! | the same: opcodes in code of an account | virtual (R7) | bound: dearest paths | bound: dearest paths |
//! | the same: init code, CREATE, precompiles | virtual (R7) | virtual (R7) | virtual (R12, R13) |
//! | mem-aligns | virtual (R7) | as opcodes above | as opcodes above |
//! | reserved | – | as used | real for transfers, else bound |
//!
//! With `no_counters` only steps are reported, and what the checks of forks from 8 on wanted free.
//!
//! | Module | Job |
//! |---|---|
//! | `meter` | what one batch has accumulated: [`CounterMeter`] |
//! | `batch_events` | what it makes of the events between transactions |
//! | `evm_events` | what it makes of opcodes, frames and precompiles |
//! | `lengths` | digest lengths to keccak, Poseidon and SHA-256 blocks |
//! | `proof_accesses` | the tree accesses of a transaction, in the ROM's order, as they happen |
//! | `proof_cost` | the Poseidon hashes of each of them, by the shape the trees have at that moment |
//! | `key_trie` | the shape of a tree that only grows |
//! | [`model`] | the virtual price list, revision by revision |
//! | `rom_costs` | real costs of batches, blocks and transactions, and what the ROM's checks reserve |
//! | `opcodes` | the dearest path of each opcode |
//! | `run_so_far` | going on from where another meter stood: [`RunSoFar`] |
//! | `limits` | the ROM's limits, and what policy `enforce` makes of them |
//!
//! Nothing here reads state by itself or influences a root. Reverts never take anything back. `docs/counters.md` says how
//! near the numbers come.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod batch_events;
mod evm_events;
mod key_trie;
mod lengths;
mod limits;
mod meter;
pub mod model;
mod opcodes;
mod proof_accesses;
mod proof_cost;
mod rom_costs;
mod run_so_far;
mod sums;

pub use meter::CounterMeter;
pub use run_so_far::RunSoFar;
