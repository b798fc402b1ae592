//! The virtual model: a fixed, deliberately high price for every operation (counters §4 to §14).
//!
//! [`Revision`] is the table of constants that differ between the releases of the reference; [`Prices`] are the prices of
//! one revision at one tree level. Prices add up: their order never matters.

mod modexp;
mod opcodes;
mod precompiles;
mod revision;
mod transaction;

pub(crate) use modexp::ModexpInput;
pub(crate) use opcodes::{Frame, Operands, is_priced_by_length};
pub(crate) use precompiles::{P256Class, Precompile};
pub use revision::{R7, R9, R12, R13, Revision};
pub(crate) use transaction::{CallPart, DecodedTx, SECP256K1_ORDER, SignatureClass};

use super::lengths::poseidon_blocks;
use zkevm_types::{Counters, ForkRules};

/// Prices of one revision at one level of the state tree.
#[derive(Clone, Copy, Debug)]
pub struct Prices {
    revision: &'static Revision,
    /// Poseidon hashes of a tree access in the batch charge (c_b).
    batch_access: u64,
    /// Poseidon hashes of a tree access elsewhere (c).
    access: u64,
}

/// Steps, arithmetics, binaries and mem-aligns.
const fn rows(s: u64, a: u64, b: u64, m: u64) -> Counters {
    Counters::from_array([s, a, b, m, 0, 0, 0, 0])
}

/// Poseidon hashes of tree accesses.
const fn accesses(hashes: u64) -> Counters {
    Counters::from_array([0, 0, 0, 0, 0, 0, hashes, 0])
}

/// Keccak blocks.
const fn keccaks(blocks: u64) -> Counters {
    Counters::from_array([0, 0, 0, 0, blocks, 0, 0, 0])
}

/// Paddings and hashes of a linear Poseidon digest of so many blocks.
const fn digest(blocks: u64) -> Counters {
    Counters::from_array([0, 0, 0, 0, 0, blocks, blocks, 0])
}

impl Prices {
    /// Level of the state tree whose accesses a fork's prices are those of; up to 32 they are all alike (counters §4). It
    /// only matters where Poseidon hashes are the model's.
    const STATE_TREE_LEVEL: u32 = 32;
    /// Poseidon hashes of an access to one of the small trees.
    const SMALL_TREE: u64 = 23;

    /// Makes the prices of a revision where the deepest path of the state tree has `level` branches (counters §4).
    pub fn new(revision: &'static Revision, level: u32) -> Self {
        // Bit length of 2^level plus the reference's allowance for what one transaction adds.
        let bits = u64::from((u128::from(1u8) << level.min(120)).saturating_add(50_000).ilog2() + 1);
        let scaled = |depth: u64| if revision.reduced_depth { 3 * depth / 5 } else { depth };
        Self { revision, batch_access: scaled(bits), access: scaled(bits.max(32)) }
    }

    /// Makes the prices of a fork.
    pub fn of_fork(rules: &ForkRules) -> Self {
        Self::new(Revision::of(rules.counter_prices), Self::STATE_TREE_LEVEL)
    }

    fn tree(&self, count: u64) -> Counters {
        accesses(count * self.access)
    }

    fn div(&self) -> Counters {
        rows(self.revision.division_steps, 1, 3, 0)
    }

    fn mul(&self) -> Counters {
        rows(self.revision.division_steps, 1, 1, 0)
    }

    fn shift_right(&self) -> Counters {
        rows(self.revision.division_steps, 1, 2, 0) + self.div()
    }

    fn shift_left(&self) -> Counters {
        let (s, b) = self.revision.shift_left;
        rows(s, 2, b, 0)
    }

    fn shift_right_bits(&self) -> Counters {
        rows(30, 0, 2, 0) + self.div()
    }

    fn offset(&self) -> Counters {
        rows(10, 0, 1, 0)
    }

    fn memory_word(&self) -> Counters {
        rows(40, 0, 2, 1) + self.offset() + self.shift_right() + self.shift_left()
    }

    fn memory_part(&self) -> Counters {
        rows(self.revision.memory_part_steps, 0, 2, 1) + self.offset() + self.shift_right() + self.shift_left()
    }

    fn memory_store(&self) -> Counters {
        let shifts = (self.shift_right() + self.shift_left()).times(2);
        rows(self.revision.memory_store_steps, 0, 1, 1) + self.offset() + shifts
    }

    fn calldata_read(&self) -> Counters {
        rows(25, 0, 0, 0) + self.memory_part()
    }

    /// Memory expansion for an operand of so many bytes.
    fn expansion(&self, bytes: u64) -> Counters {
        if bytes == 0 { rows(12, 0, 1, 0) } else { rows(50, 0, 5, 0) + self.mul() + self.div() }
    }

    /// Finding the byte length of a number of so many bytes.
    fn byte_length(&self, bytes: u64) -> Counters {
        rows(12, 0, 0, 0) + (rows(7, 0, 1, 0) + self.shift_right()).times(bytes)
    }

    fn mask_address(&self) -> Counters {
        rows(6, 0, 1, 0)
    }

    fn cold_account(&self) -> Counters {
        rows(100, 0, self.revision.cold_account_binaries, 0) + accesses(2 * Self::SMALL_TREE)
    }

    fn starts_with_ef(&self) -> Counters {
        rows(20, 0, 0, 0) + self.memory_part() + self.shift_right()
    }

    /// Linear Poseidon hash of memory.
    fn linear_hash(&self, bytes: u64) -> Counters {
        let word = rows(8, 0, 0, 0) + self.memory_word();
        rows(50, 0, 2, 0)
            + self.div()
            + word.times(bytes / 32)
            + self.memory_part()
            + self.shift_right()
            + digest(poseidon_blocks(bytes))
    }
}
