//! What one batch has accumulated so far.

use super::Counters;
use super::access::AccessLog;
use super::lengths::{keccak_blocks, poseidon_blocks, sha256_blocks};

/// Counters of a running batch. Lives beside the EVM's context; nothing is counted unless it is on.
#[derive(Debug, Default)]
pub struct Tally {
    on: bool,
    /// Real keccak, Poseidon and SHA-256 counters; the other fields stay zero.
    pub real: Counters,
    /// Tree accesses of the running transaction.
    pub accesses: AccessLog,
}

impl Tally {
    /// Creates a tally that counts.
    pub fn counting() -> Self {
        Self { on: true, ..Self::default() }
    }

    /// True if anything is counted: the request did not ask for `no_counters`.
    #[inline]
    pub const fn is_on(&self) -> bool {
        self.on
    }

    /// Counts a keccak digest.
    #[inline]
    pub const fn keccak(&mut self, bytes: u64) {
        self.real.keccaks += keccak_blocks(bytes);
    }

    /// Counts a linear Poseidon digest.
    #[inline]
    pub const fn linear_poseidon(&mut self, bytes: u64) {
        let blocks = poseidon_blocks(bytes);
        self.real.poseidon_paddings += blocks;
        self.real.poseidons += blocks;
    }

    /// Counts a SHA-256 digest.
    #[inline]
    pub const fn sha256(&mut self, bytes: u64) {
        self.real.sha256s += sha256_blocks(bytes);
    }
}
