//! zk counters: what a batch would cost the prover, computed while it executes natively (counters §1, §2).
//!
//! Eight counters are reported. Three kinds of numbers:
//!
//! * **real**: what the ROM itself would count on this batch;
//! * **bound**: never less than that, from real path costs where the path is known and the virtual price elsewhere;
//! * **virtual**: the model's price list alone, which is an upper bound by calibration.
//!
//! | Counter | Forks 1–3 | Forks 4–7 | Forks 8, 9 |
//! |---|---|---|---|
//! | keccaks, paddings, Poseidons, SHA-256 | real | real | real |
//! | steps, arithmetics, binaries: batch, block, decoding, recovery, plain transfer, rejection | virtual (R7) | real | real |
//! | the same: data, code of an account called, bad signatures, undecodable batches | virtual (R7) | bound | bound |
//! | the same: opcodes in code of an account | virtual (R7) | bound: dearest paths | bound: dearest paths |
//! | the same: init code, CREATE, precompiles | virtual (R7) | virtual (R7) | virtual (R12) |
//! | mem-aligns | virtual (R7) | as opcodes above | as opcodes above |
//! | reserved | – | as used | real for transfers, else bound |
//!
//! With `no_counters` only steps are reported, and what the checks of forks 8 and 9 wanted free.
//!
//! | Room | Job |
//! |---|---|
//! | [`lengths`] | digest lengths to keccak, Poseidon and SHA-256 blocks |
//! | [`access`] | the tree accesses of a transaction, in the ROM's order, as they happen |
//! | [`replay`] | the shape of the three trees at each of those accesses: Poseidon hashes |
//! | [`model`] | the virtual price list, revision by revision |
//! | [`paths`] | real costs of batches, blocks and transactions, and what the ROM's checks want free |
//! | [`opcodes`] | the dearest path of each opcode |
//! | [`limits`] | the ROM's limits, and what policy `enforce` makes of them |
//! | [`CounterMeter`] | what one batch has accumulated, as an observer of the batch and of its EVM |
//!
//! Nothing here reads state by itself or influences a root. Reverts never take anything back. `docs/counters.md` says how
//! near the numbers come.

pub mod access;
mod batch_events;
mod evm_events;
pub mod lengths;
pub mod limits;
mod meter;
pub mod model;
pub mod opcodes;
pub mod paths;
pub mod replay;
mod shape;

pub use access::{Access, AccessLog};
pub use meter::CounterMeter;
