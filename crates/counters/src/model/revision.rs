//! What differs between the releases of the reference model (counters §5, §14).

use zkevm_types::CounterRevision;

/// Constants of one revision. Everything else is the same in all of them.
#[derive(Clone, Copy, Debug)]
pub struct Revision {
    /// Name in the specification.
    pub name: &'static str,
    /// Tree depths count 60 % instead of in full.
    pub reduced_depth: bool,
    /// Steps of a division and of a multiplication; also those of a byte shift's own part.
    pub division_steps: u64,
    /// Steps and binaries of a byte shift to the left.
    pub shift_left: (u64, u64),
    /// Own steps of reading part of a memory word.
    pub memory_part_steps: u64,
    /// Own steps of storing to memory.
    pub memory_store_steps: u64,
    /// Own binaries of the batch charge.
    pub batch_binaries: u64,
    /// The L1 info part is charged for every ChangeL2Block, and how many binaries it has.
    pub l1_info_always: bool,
    /// Binaries of the L1 info part.
    pub l1_info_binaries: u64,
    /// Binaries of testing whether an account is cold.
    pub cold_account_binaries: u64,
    /// Own binaries of processing a transaction.
    pub process_binaries: u64,
    /// AND, OR, XOR and NOT cost a tree access.
    pub bitwise_tree_access: bool,
    /// Bytes per keccak block of SHA3.
    pub sha3_rate_bytes: u64,
    /// The loop of LOG goes by bytes instead of words.
    pub log_by_bytes: bool,
    /// The init code of a creation transaction pays the surcharge too.
    pub surcharge_in_creation_tx: bool,
    /// PUSH in the init code of a creation transaction: own steps, binaries, and whether each byte pays a shift.
    pub push_in_creation_tx: (u64, u64, bool),
    /// PUSH in the init code of CREATE: own steps and binaries.
    pub push_in_create: (u64, u64),
    /// PUSH data is read in a loop over groups of four bytes.
    pub push_loop: bool,
    /// Binaries of checking a jump destination.
    pub jump_binaries: u64,
    /// Bytes SHA-256 pads by.
    pub sha256_padding_bytes: u64,
    /// Own cost of EC addition: steps, arithmetics, binaries.
    pub ec_add: [u64; 3],
    /// Own cost of EC multiplication.
    pub ec_mul: [u64; 3],
    /// Own cost of an EC pairing, and of each pair.
    pub ec_pairing: ([u64; 3], [u64; 3]),
    /// MODEXP is priced by its corrected formulas.
    pub modexp_corrected: bool,
    /// A zero field of a transaction with a wrong chain id counts as no byte.
    pub expensive_zero: bool,
}

/// Fork 7's release.
pub const R7: Revision = Revision {
    name: "R7",
    batch_binaries: 3,
    push_in_creation_tx: (14, 1, true),
    push_in_create: (24, 1),
    push_loop: true,
    jump_binaries: 0,
    ..R9
};

/// The release of forks 8 and 9.
pub const R9: Revision = Revision {
    name: "R9",
    reduced_depth: false,
    division_steps: 50,
    shift_left: (100, 4),
    memory_part_steps: 40,
    memory_store_steps: 100,
    batch_binaries: 5,
    l1_info_always: true,
    l1_info_binaries: 0,
    bitwise_tree_access: true,
    sha3_rate_bytes: 32,
    log_by_bytes: true,
    surcharge_in_creation_tx: true,
    push_in_creation_tx: (12, 0, false),
    sha256_padding_bytes: 1,
    ec_add: [323, 40, 33],
    ec_mul: [162_890, 19_161, 16_395],
    ec_pairing: ([171_269, 15_411, 650], [184_017, 13_694, 3986]),
    ..R12
};

/// The last calibration for forks up to 12: production for forks 8 and 9.
pub const R12: Revision = Revision {
    name: "R12",
    reduced_depth: true,
    division_steps: 40,
    shift_left: (40, 2),
    memory_part_steps: 30,
    memory_store_steps: 80,
    batch_binaries: 6,
    l1_info_always: false,
    l1_info_binaries: 1,
    cold_account_binaries: 3,
    process_binaries: 18,
    bitwise_tree_access: false,
    sha3_rate_bytes: 136,
    log_by_bytes: false,
    surcharge_in_creation_tx: false,
    push_in_creation_tx: (12, 0, true),
    push_in_create: (22, 0),
    push_loop: false,
    jump_binaries: 1,
    sha256_padding_bytes: 9,
    ec_add: [800, 50, 50],
    ec_mul: [175_000, 20_000, 20_000],
    ec_pairing: ([175_016, 17_500, 750], [200_000, 15_000, 4100]),
    modexp_corrected: false,
    expensive_zero: false,
};

/// The release of fork 13.
pub const R13: Revision =
    Revision { name: "R13", cold_account_binaries: 4, process_binaries: 19, modexp_corrected: true, ..R12 };

impl Revision {
    /// Returns the price list of a fork's revision.
    pub const fn of(revision: CounterRevision) -> &'static Self {
        match revision {
            CounterRevision::R7 => &R7,
            CounterRevision::R12 => &R12,
            CounterRevision::R13 => &R13,
        }
    }
}
