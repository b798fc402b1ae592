//! Fuzz targets: one for each reader of bytes that a client, a file or an operator can send.
//!
//! Decides: what a target feeds, what must hold for every input, how inputs are mutated. Must not know: how an input is run
//! and judged; that is the driver's (`main.rs`).
//!
//! A target is a `fn(&[u8]) -> u64` that panics where it finds a bug, so that libFuzzer can call it as it is:
//!
//! ```text
//! libfuzzer_sys::fuzz_target!(|data: &[u8]| { zkevm_fuzz::targets::batch::target(data); });
//! ```
//!
//! The number it returns stands for the kind of answer. The driver, which measures no coverage, goes on with inputs whose
//! kind it has not seen.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod mutate;
pub mod targets;
