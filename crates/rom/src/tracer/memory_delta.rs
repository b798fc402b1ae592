//! The part of memory that a step shows (executor-service §8.5).

use std::ops::Range;

/// Returns the bytes of `new` to show after `old`; an empty range at 0 if nothing is to be shown.
pub(super) fn changed(old: &[u8], new: &[u8]) -> Range<usize> {
    if old.len() > new.len() {
        return 0..new.len();
    }
    let (within, beyond) = new.split_at(old.len());
    let Some(start) = within.iter().zip(old).position(|(a, b)| a != b).or_else(|| {
        // Beyond the old length the first byte that is not zero counts.
        beyond.iter().position(|byte| *byte != 0).map(|at| old.len() + at)
    }) else {
        return 0..0;
    };
    let end_beyond = beyond.iter().rposition(|byte| *byte != 0).map(|at| old.len() + at + 1);
    let end_within = || within.iter().zip(old).rposition(|(a, b)| a != b).map(|at| at + 1);
    let end = end_beyond.or_else(end_within).unwrap_or(start);
    start..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_from_the_first_to_the_last_difference() {
        assert_eq!(changed(&[], &[0, 0]), 0..0);
        assert_eq!(changed(&[], &[0, 7, 0]), 1..2);
        assert_eq!(changed(&[1, 2, 3, 4], &[1, 9, 3, 8]), 1..4);
        assert_eq!(changed(&[1, 2], &[1, 2, 0, 5]), 3..4);
        assert_eq!(changed(&[1, 2], &[7, 2, 0, 0]), 0..1);
        assert_eq!(changed(&[1, 2], &[7, 2, 0, 5]), 0..4);
        assert_eq!(changed(&[1, 2, 3], &[1, 2]), 0..2);
        assert_eq!(changed(&[1, 2], &[1, 2]), 0..0);
    }
}
