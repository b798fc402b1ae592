//! Two flat messages side by side.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Flat, KEYS, field_of};
use crate::table::shorten;

/// Longest value printed, in characters.
const VALUE_CHARS_MAX: usize = 160;
const COUNTER_PREFIX: &str = "cnt_";
/// Tells how fast a server's database is, not what it computed.
const STORED_FLUSH_ID: &str = "stored_flush_id";

/// One place at which two answers differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The path of the field, with indexes.
    pub place: String,
    /// Our value.
    pub ours: String,
    /// The recorded value.
    pub recorded: String,
}

/// Comparison of one field within a case.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldResult {
    /// Places at which both sides agree.
    pub equal: usize,
    /// Places at which they do not.
    pub different: Vec<Difference>,
}

/// Field → result, for one case.
pub(super) type Comparison = BTreeMap<String, FieldResult>;

/// Compares place by place.
///
/// A place that only one side has is left to the count, key or set entry of the list, map or message it is in: that
/// entry exists on both sides and differs.
pub(super) fn compare(ours: &Flat, recorded: &Flat) -> Comparison {
    let mut comparison = Comparison::new();
    for (place, theirs) in recorded {
        let Some(mine) = ours.get(place) else { continue };
        let result = comparison.entry(field_of(place)).or_default();
        if mine == theirs {
            result.equal += 1;
        } else {
            let difference = Difference { place: place.clone(), ours: mine.clone(), recorded: theirs.clone() };
            result.different.push(difference);
        }
    }
    comparison
}

/// True for a field that is reported apart and never fails: a zk counter that is not `exact`, or the progress of the server's
/// database.
pub(super) fn never_fails(field: &str, exact: bool) -> bool {
    (field.starts_with(COUNTER_PREFIX) && !exact) || field == STORED_FLUSH_ID
}

impl Difference {
    /// Returns both values in a printable length; of key sets only what one side lacks.
    pub(super) fn short_values(&self) -> (String, String) {
        if self.place.ends_with(KEYS) {
            let set = |text: &str| text.split(',').filter(|key| !key.is_empty()).map(str::to_owned).collect();
            let (ours, recorded): (BTreeSet<String>, BTreeSet<String>) = (set(&self.ours), set(&self.recorded));
            let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| {
                let keys: Vec<_> = a.difference(b).map(String::as_str).collect();
                shorten(&format!("{} keys, only here: {}", a.len(), keys.join(", ")), 3 * VALUE_CHARS_MAX)
            };
            return (only(&ours, &recorded), only(&recorded, &ours));
        }
        (shorten(&self.ours, VALUE_CHARS_MAX), shorten(&self.recorded, VALUE_CHARS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(entries: &[(&str, &str)]) -> Flat {
        entries.iter().map(|(place, value)| (place.to_string(), value.to_string())).collect()
    }

    #[test]
    fn a_missing_element_shows_once_in_the_count() {
        let ours = flat(&[("logs (count)", "1"), ("logs[0].index", "0")]);
        let recorded = flat(&[("logs (count)", "2"), ("logs[0].index", "0"), ("logs[1].index", "1")]);
        let comparison = compare(&ours, &recorded);
        assert_eq!(comparison["logs (count)"].different.len(), 1);
        assert_eq!(comparison["logs.index"].equal, 1);
        assert!(comparison["logs.index"].different.is_empty());
    }

    #[test]
    fn key_sets_show_what_one_side_lacks() {
        let difference =
            Difference { place: "smt_keys (keys)".into(), ours: "0x01,0x02".into(), recorded: "0x02".into() };
        let (ours, recorded) = difference.short_values();
        assert_eq!(ours, "2 keys, only here: 0x01");
        assert_eq!(recorded, "1 keys, only here: ");
    }
}
