//! The targets, and what the driver needs to know of each.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use revm::primitives::B256;
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_types::{BatchInput, ForkId};

pub mod batch;
pub mod config;
pub mod hashdb;
pub mod log;
pub mod rom;
pub mod run;
pub mod stream;
pub mod validate;
pub mod witness;

/// A reader of untrusted bytes.
#[derive(Clone, Copy)]
pub struct Target {
    /// Name on the command line.
    pub name: &'static str,
    /// Reads the bytes; panics on a bug. Returns the kind of answer.
    pub run: fn(&[u8]) -> u64,
    /// Returns valid inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes that mean something to the reader; mutations insert them.
    pub dictionary: &'static [&'static [u8]],
    /// Longest input that mutations make.
    pub input_bytes_max: usize,
    /// Memory that an input may take, beside what is allowed for each of its bytes.
    pub memory_bytes_max: usize,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    batch::TARGET,
    run::TARGET,
    witness::TARGET,
    stream::TARGET,
    validate::TARGET,
    hashdb::TARGET,
    log::TARGET,
    config::TARGET,
    rom::TARGET,
];

/// Returns the number of a kind of answer.
fn kind_of(answer: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    answer.hash(&mut hasher);
    hasher.finish()
}

/// Returns the text of an error without its numbers: errors that differ in them are of one kind.
fn without_digits(error: &impl std::fmt::Display) -> String {
    error.to_string().chars().filter(|character| !character.is_ascii_digit()).take(120).collect()
}

/// Returns a batch of each kind of transaction for a fork, on the root `root`.
fn batches(fork: u64, root: B256) -> Vec<BatchInput> {
    let workload = Arc::new(workload(fork));
    [(Kind::Transfers, 3), (Kind::TokenTransfers, 2), (Kind::Mints, 1)]
        .into_iter()
        .map(|(kind, count)| workload.chain(0, root).next_batch(kind, count))
        .collect()
}

fn workload(fork: u64) -> Workload {
    let fork = ForkId::new(fork).expect("forks of seeds are known");
    Workload::new(fork, 1).expect("the sample contracts assemble")
}
