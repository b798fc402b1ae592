//! Known answers of the rules: what the ROM of each fork does, pinned case by case.
//!
//! The numbers are facts of the specification (evm appendix A, batch §3, §7, §10, §16), written here and read nowhere.

mod balances;
mod batch_errors;
mod calls;
mod counted;
mod creates;
mod examples;
mod forced;
mod missing;
mod opcodes;
mod out_of_counters;
mod overrides;
mod parts;
mod precompile_tables;
mod precompiles;
mod returned;
mod skips;
mod support;
mod touched;
mod traces;
mod uncounted;
