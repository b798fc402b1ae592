//! What differs between the machines of the forks (main-state-machine §16), in one table.

/// The rules of one fork's machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Fork id.
    pub(crate) id: u64,
    /// Binary logarithm of the steps of a batch.
    pub(crate) steps_log2: u32,
    /// Binary logarithm of how many times more steps there are without counters.
    pub(crate) uncounted_log2: u32,
    /// The old batch number up to which the address bound is the old one; `None` if it is always the new one.
    pub(crate) old_bound_until: Option<u32>,
    /// A 256-bit constant takes the place of all sources, instead of being added.
    pub(crate) constant_overwrites: bool,
    /// Requests of the second API: blocks, flags that change lines, functions of L1 info.
    pub(crate) is_v2: bool,
    /// Keeps the largest reservation of each counter.
    pub(crate) reserves: bool,
    /// Highest number of a context; an access above it aborts.
    pub(crate) context_max: Option<u64>,
    /// Every binary mismatch has the error of the addition; SHA-256 errors of size and unknown digests are those of Poseidon.
    pub(crate) shared_errors: bool,
    /// Numbered equations, `assumeFree`, functions of fork 13.
    pub(crate) numbered_equations: bool,
    /// Which of two square roots a command gives.
    pub(crate) roots: Roots,
    /// Transactions carry an effective percentage.
    pub(crate) has_percentages: bool,
}

/// The square root modulo the prime of secp256k1 that a command gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Roots {
    /// The smaller one; the recordings show it.
    Smaller,
    /// The power (p + 1) / 4.
    Power,
    /// The one of the parity asked for.
    Parity,
}

const V1: Rules = Rules {
    id: 6,
    steps_log2: 23,
    uncounted_log2: 3,
    old_bound_until: None,
    constant_overwrites: true,
    is_v2: false,
    reserves: false,
    context_max: None,
    shared_errors: false,
    numbered_equations: false,
    roots: Roots::Parity,
    has_percentages: true,
};
const V2: Rules = Rules { id: 7, constant_overwrites: false, is_v2: true, ..V1 };
const RESERVING: Rules = Rules { id: 8, reserves: true, ..V2 };
const LATER: Rules =
    Rules { id: 10, steps_log2: 24, uncounted_log2: 8, context_max: Some(8191), shared_errors: true, ..RESERVING };
const LAST: Rules = Rules { id: 12, steps_log2: 25, ..LATER };

/// The last batch of the network's first version that ran under fork 4 with the old bound.
const OLD_BOUND_BATCHES: u32 = 382_000;

const TABLE: [Rules; 13] = [
    Rules { id: 1, old_bound_until: Some(u32::MAX), roots: Roots::Smaller, has_percentages: false, ..V1 },
    Rules { id: 2, old_bound_until: Some(u32::MAX), roots: Roots::Smaller, has_percentages: false, ..V1 },
    Rules { id: 3, old_bound_until: Some(u32::MAX), roots: Roots::Smaller, has_percentages: false, ..V1 },
    Rules { id: 4, old_bound_until: Some(OLD_BOUND_BATCHES), roots: Roots::Power, has_percentages: false, ..V1 },
    Rules { id: 5, roots: Roots::Power, ..V1 },
    V1,
    V2,
    RESERVING,
    Rules { id: 9, ..RESERVING },
    LATER,
    Rules { id: 11, ..LAST },
    LAST,
    Rules { id: 13, numbered_equations: true, ..LAST },
];

impl Rules {
    /// Returns the numbers of all forks.
    pub(crate) fn forks() -> impl Iterator<Item = u64> {
        TABLE.iter().map(|rules| rules.id)
    }

    /// Returns the rules of the fork with this number.
    pub(crate) fn of(number: u64) -> Option<&'static Self> {
        TABLE.iter().find(|rules| rules.id == number)
    }
}
