//! Where a batch is out of counters (counters §3, §15): the ROM's limits, and what policy `enforce` makes of numbers that
//! are partly bounds.

use zkevm_types::{Counters, ForkRules, RomError, RomVersion};

/// Rows of the machine for paddings, all of them: what the ROMs before fork 8 check against.
const PADDINGS_OF_OLD_ROMS: u64 = 149_796;

/// From this place on the counters are the ROM's own numbers: any excess is one.
const FIRST_REAL: usize = 4;

/// Multiple of its limit that a bound has to pass before it counts as an excess. A heuristic: the fullest recorded batch
/// that the ROM accepts is bounded by 1.97 times the limit of arithmetics.
const BOUND_FACTOR: u64 = 2;

/// Place of the binaries, whose bound is close while a batch is decoded: six to each byte of data, as in the ROM.
const BINARIES: usize = 2;

/// The counters, in the order of [`Counters::to_array`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counter {
    /// Rows of the main state machine.
    Steps,
    /// Arithmetic operations.
    Arithmetics,
    /// Binary operations.
    Binaries,
    /// Unaligned memory accesses.
    MemAligns,
    /// Keccak-f permutations.
    Keccaks,
    /// Blocks of linear Poseidon digests.
    PoseidonPaddings,
    /// Poseidon permutations.
    Poseidons,
    /// SHA-256 blocks.
    Sha256s,
}

impl Counter {
    /// Returns the error of a batch in which this counter ran out.
    pub(crate) const fn error(self) -> RomError {
        match self {
            Self::Steps => RomError::OutOfCountersStep,
            Self::Arithmetics => RomError::OutOfCountersArith,
            Self::Binaries => RomError::OutOfCountersBinary,
            Self::MemAligns => RomError::OutOfCountersMem,
            Self::Keccaks => RomError::OutOfCountersKeccak,
            Self::PoseidonPaddings => RomError::OutOfCountersPadding,
            Self::Poseidons => RomError::OutOfCountersPoseidon,
            Self::Sha256s => RomError::OutOfCountersSha,
        }
    }
}

const ALL: [Counter; 8] = [
    Counter::Steps,
    Counter::Arithmetics,
    Counter::Binaries,
    Counter::MemAligns,
    Counter::Keccaks,
    Counter::PoseidonPaddings,
    Counter::Poseidons,
    Counter::Sha256s,
];

/// Returns what a ROM checks against.
fn of(rules: &ForkRules) -> Counters {
    let max = rules.counters_max();
    match rules.rom {
        Some(RomVersion::Rom8 | RomVersion::Rom12 | RomVersion::Rom13) => max,
        _ => Counters { poseidon_paddings: PADDINGS_OF_OLD_ROMS, ..max },
    }
}

/// Returns the counter that a check of the ROM finds short: what is surely used, and what the check wants free.
///
/// Where one check looks at several, the ROM asks for binaries first, then arithmetics, then steps.
pub(crate) fn short(used: Counters, wanted: Counters, rules: &ForkRules) -> Option<Counter> {
    const ORDER: [usize; 8] = [2, 1, 0, 3, 4, 5, 6, 7];
    let (used, wanted, limits) = (used.to_array(), wanted.to_array(), of(rules).to_array());
    let is_short = |&place: &usize| wanted[place] > 0 && used[place].saturating_add(wanted[place]) > limits[place];
    ORDER.into_iter().find(is_short).map(|place| ALL[place])
}

/// Returns a bound of the counters raised to where what the ROM surely counts is in excess exactly when that passes the limit.
pub(crate) fn weighed(bound: Counters, at_least: Counters) -> Counters {
    let (mut values, sure) = (bound.to_array(), at_least.to_array());
    for (value, sure) in values.iter_mut().zip(sure).take(FIRST_REAL) {
        *value = (*value).max(sure.saturating_mul(BOUND_FACTOR));
    }
    Counters::from_array(values)
}

/// Returns the counter that runs out: of those in excess the one that is the largest multiple of where it ends.
///
/// The ROM stops at the first excess; as often as this is asked, that is nearly always the same counter.
pub(crate) fn exceeded(counters: Counters, rules: &ForkRules) -> Option<Counter> {
    worst(counters, rules, |place| if place < FIRST_REAL { BOUND_FACTOR } else { 1 })
}

/// Returns the counter that runs out while a batch is decoded, before anything ran: by this bound of its binaries, and by the
/// counters as [`weighed`].
pub(crate) fn exceeded_by_decoding(binaries: u64, counters: Counters, rules: &ForkRules) -> Option<Counter> {
    let mut decoding = [0; 8];
    decoding[BINARIES] = binaries;
    worst(Counters::from_array(decoding), rules, |_| 1).or_else(|| exceeded(counters, rules))
}

fn worst(counters: Counters, rules: &ForkRules, factor: impl Fn(usize) -> u64) -> Option<Counter> {
    let (values, limits) = (counters.to_array(), of(rules).to_array());
    // Multiples are compared without division: a / b > c / d as a · d > c · b.
    let ends = |place: usize| limits[place].saturating_mul(factor(place));
    let multiple = |place: usize, other: usize| u128::from(values[place]) * u128::from(ends(other));
    (0..ALL.len())
        .filter(|&place| values[place] > ends(place))
        .max_by(|&a, &b| multiple(a, b).cmp(&multiple(b, a)))
        .map(|place| ALL[place])
}

#[cfg(test)]
mod tests {
    use super::super::rom_costs::reservations;
    use super::*;
    use zkevm_types::ForkId;

    const MAX: Counters = Counters::from_array([7_968_988, 249_037, 498_074, 249_037, 2258, 142_307, 265_639, 1769]);

    fn rules(fork: u64) -> &'static ForkRules {
        ForkId::new(fork).unwrap().rules()
    }

    fn only(place: usize, value: u64) -> Counters {
        let mut values = [0; 8];
        values[place] = value;
        Counters::from_array(values)
    }

    #[test]
    fn real_counters_end_at_the_limit_and_bounds_at_twice_it() {
        for (place, limit) in MAX.to_array().into_iter().enumerate() {
            let last = if place < FIRST_REAL { 2 * limit } else { limit };
            assert_eq!(exceeded(only(place, last), rules(9)), None);
            assert_eq!(exceeded(only(place, last + 1), rules(9)), Some(ALL[place]));
        }
        // The older ROMs let all rows for paddings be used.
        assert_eq!(exceeded(only(5, 149_796), rules(7)), None);
        assert_eq!(exceeded(only(5, 149_797), rules(7)), Some(Counter::PoseidonPaddings));
    }

    #[test]
    fn the_largest_multiple_names_the_counter() {
        let mut values = MAX.times(3).to_array();
        values[4] += 1;
        assert_eq!(
            exceeded(Counters::from_array(values), rules(9)),
            Some(Counter::Keccaks),
            "a bound ends at twice its limit"
        );
        values[0] = u64::MAX;
        assert_eq!(exceeded(Counters::from_array(values), rules(9)), Some(Counter::Steps));
    }

    #[test]
    fn a_check_counts_what_is_used_and_what_it_wants() {
        let rom = rules(9);
        let keccaks = |count| Counters { keccaks: count, ..Counters::default() };
        assert_eq!(short(keccaks(1000), keccaks(1258), rom), None);
        assert_eq!(short(keccaks(1000), keccaks(1259), rom), Some(Counter::Keccaks));
        assert_eq!(short(keccaks(3000), Counters::default(), rom), None, "the check is about another counter");
        let pairs = reservations::pairing(RomVersion::Rom8, 16 * 192).stated;
        assert_eq!(short(Counters::default(), pairs, rom), Some(Counter::Arithmetics));
        let pairs = reservations::pairing(RomVersion::Rom8, 122 * 192).stated;
        assert_eq!(short(Counters::default(), pairs, rom), Some(Counter::Binaries));
        let paddings = only(5, 149_000);
        assert_eq!(short(Counters::default(), paddings, rom), Some(Counter::PoseidonPaddings));
        assert_eq!(short(Counters::default(), paddings, rules(7)), None);
    }

    #[test]
    fn decoding_ends_at_the_limit_of_binaries() {
        let nothing = Counters::default();
        assert_eq!(exceeded_by_decoding(MAX.binaries, nothing, rules(9)), None);
        assert_eq!(exceeded_by_decoding(MAX.binaries + 1, nothing, rules(9)), Some(Counter::Binaries));
        assert_eq!(exceeded_by_decoding(0, only(0, MAX.steps + 1), rules(9)), None);
    }

    #[test]
    fn what_is_sure_ends_at_the_limit() {
        let of = |bound, sure| exceeded(weighed(only(1, bound), only(1, sure)), rules(9));
        assert_eq!(of(MAX.arithmetics * 2, MAX.arithmetics), None);
        assert_eq!(of(MAX.arithmetics + 1, MAX.arithmetics + 1), Some(Counter::Arithmetics));
        assert_eq!(weighed(only(4, 10), only(4, 10)), only(4, 10), "a real counter is judged as it is");
    }
}
