//! Sums of a golden run: by field, by fork, and the cases listed apart.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::ConformanceArgs;
use super::compare::{Comparison, Difference, never_fails};
use crate::table::{Table, shorten};

/// Cases with differences that are named in the text output.
const CASES_LISTED: usize = 25;
/// Places that are printed of one case with `--all`.
const PLACES_LISTED: usize = 200;
const TEXT_CHARS_MAX: usize = 300;

/// Result of a replayed case.
#[derive(Debug)]
pub(super) enum Verdict {
    /// The answer was compared.
    Compared(Comparison),
    /// There was no answer from us: a panic, a gRPC status, an unreadable file.
    Failed(String),
}

/// One replayed case.
#[derive(Debug)]
pub(super) struct CaseResult {
    /// Name of the case.
    pub name: String,
    /// Fork id of its request.
    pub fork_id: u64,
    /// The reason why a difference would be expected here: the recorded program gave up, or ran out of counters.
    pub apart: Option<String>,
    /// Counters are compared like any field.
    pub exact: bool,
    /// Our answer in short.
    pub ours: String,
    /// The outcome of the comparison.
    pub verdict: Verdict,
}

/// Sums over one field.
#[derive(Debug, Default)]
struct FieldSums {
    cases: usize,
    equal: usize,
    examples: Vec<(String, Difference)>,
    higher: usize,
    lower: usize,
}

#[derive(Debug, Default)]
struct ForkSums {
    cases: usize,
    equal: usize,
    different: usize,
    apart: usize,
}

/// The result of a run.
#[derive(Debug)]
pub(super) struct Summary {
    fields: BTreeMap<String, FieldSums>,
    /// Fields that never fail.
    reported_apart: BTreeMap<String, FieldSums>,
    forks: BTreeMap<u64, ForkSums>,
    outcomes: Vec<CaseResult>,
}

impl CaseResult {
    /// True if every field is equal, but for those that never fail.
    fn is_equal(&self) -> bool {
        self.differences().next().is_none() && matches!(self.verdict, Verdict::Compared(_))
    }

    fn differences(&self) -> impl Iterator<Item = &Difference> {
        let comparison = match &self.verdict {
            Verdict::Compared(comparison) => Some(comparison),
            Verdict::Failed(_) => None,
        };
        let fields = comparison.into_iter().flatten().filter(|(field, _)| !never_fails(field, self.exact));
        fields.flat_map(|(_, result)| &result.different)
    }

    fn summary(&self) -> String {
        let count = self.differences().count();
        let Some(first) = self.differences().next() else { return "equal".to_owned() };
        let (ours, recorded) = first.short_values();
        format!("{count} places, first {}: ours {ours}, recorded {recorded}", first.place)
    }
}

impl Summary {
    /// Sums up.
    pub(super) fn new(outcomes: Vec<CaseResult>) -> Self {
        let mut summary =
            Self { fields: BTreeMap::new(), reported_apart: BTreeMap::new(), forks: BTreeMap::new(), outcomes };
        for outcome in &summary.outcomes {
            let fork = summary.forks.entry(outcome.fork_id).or_default();
            fork.cases += 1;
            if outcome.is_equal() {
                fork.equal += 1;
            } else if outcome.apart.is_some() {
                fork.apart += 1;
            } else {
                fork.different += 1;
            }
            let Verdict::Compared(comparison) = &outcome.verdict else { continue };
            if outcome.apart.is_some() && !outcome.is_equal() {
                continue;
            }
            for (field, result) in comparison {
                let sums =
                    if never_fails(field, outcome.exact) { &mut summary.reported_apart } else { &mut summary.fields };
                let sum = sums.entry(field.clone()).or_default();
                sum.cases += 1;
                let Some(first) = result.different.first() else {
                    sum.equal += 1;
                    continue;
                };
                sum.examples.push((outcome.name.clone(), first.clone()));
                if let (Ok(ours), Ok(recorded)) = (first.ours.parse::<u64>(), first.recorded.parse::<u64>()) {
                    sum.higher += usize::from(ours > recorded);
                    sum.lower += usize::from(ours < recorded);
                }
            }
        }
        summary
    }

    /// Cases that differ or failed and are not listed apart.
    fn different(&self) -> impl Iterator<Item = &CaseResult> {
        self.outcomes.iter().filter(|outcome| outcome.apart.is_none() && !outcome.is_equal())
    }

    fn apart(&self) -> impl Iterator<Item = (&CaseResult, &str)> {
        let apart = self.outcomes.iter().filter(|outcome| !outcome.is_equal());
        apart.filter_map(|outcome| outcome.apart.as_deref().map(|why| (outcome, why)))
    }

    /// True if nothing differs outside the cases listed apart.
    pub(super) fn passed(&self) -> bool {
        self.different().next().is_none()
    }

    /// Prints the tables and the first differences of each kind.
    pub(super) fn print(&self, args: &ConformanceArgs) {
        self.print_fields();
        self.print_examples(args.examples);
        self.print_cases(args.all);
        self.print_apart();
        self.print_forks();
    }

    fn print_fields(&self) {
        let mut table = Table::new(&["field", "equal", "different", "cases"]);
        for (field, sum) in &self.fields {
            let different = sum.cases - sum.equal;
            table.row(vec![field.clone(), sum.equal.to_string(), different.to_string(), sum.cases.to_string()]);
        }
        println!("{table}");
        if self.reported_apart.is_empty() {
            return;
        }
        let mut table = Table::new(&["reported apart", "equal", "ours higher", "ours lower", "cases"]);
        for (field, sum) in &self.reported_apart {
            let numbers = [sum.equal, sum.higher, sum.lower, sum.cases].map(|number| number.to_string());
            table.row(std::iter::once(field.clone()).chain(numbers).collect());
        }
        println!("{table}");
    }

    fn print_examples(&self, count: usize) {
        let differing = self.fields.iter().filter(|(_, sum)| !sum.examples.is_empty());
        for (field, sum) in differing {
            println!("{field}: {} cases differ", sum.examples.len());
            for (name, difference) in sum.examples.iter().take(count) {
                let (ours, recorded) = difference.short_values();
                println!("  {name}  {}\n    ours      {ours}\n    recorded  {recorded}", difference.place);
            }
        }
        println!();
    }

    fn print_cases(&self, all: bool) {
        let limit = if all { usize::MAX } else { CASES_LISTED };
        let mut failures: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        let mut compared = Vec::new();
        for outcome in self.different() {
            match &outcome.verdict {
                Verdict::Failed(why) => failures.entry(why).or_default().push(&outcome.name),
                Verdict::Compared(_) => compared.push(outcome),
            }
        }
        for (why, names) in failures {
            println!("{} cases without an answer: {}", names.len(), shorten(why, TEXT_CHARS_MAX));
            names.iter().take(limit).for_each(|name| println!("  {name}"));
        }
        if compared.is_empty() {
            return;
        }
        println!("{} cases differ:", compared.len());
        for outcome in compared.iter().take(limit) {
            println!("  {}  {}", outcome.name, outcome.summary());
            if all {
                for difference in outcome.differences().take(PLACES_LISTED) {
                    let (ours, recorded) = difference.short_values();
                    println!("    {}\n      ours      {ours}\n      recorded  {recorded}", difference.place);
                }
            }
        }
        if compared.len() > limit {
            println!("  … and {} more (--all, --report FILE)", compared.len() - limit);
        }
        println!();
    }

    fn print_apart(&self) {
        let mut by_reason: BTreeMap<&str, Vec<&CaseResult>> = BTreeMap::new();
        for (outcome, why) in self.apart() {
            by_reason.entry(why).or_default().push(outcome);
        }
        for (why, outcomes) in by_reason {
            println!("apart, {why} ({}):", outcomes.len());
            for outcome in outcomes {
                println!("  {}  our answer: {}", outcome.name, outcome.ours);
            }
        }
        println!();
    }

    fn print_forks(&self) {
        let mut table = Table::new(&["fork id", "cases", "equal", "different", "apart"]);
        let mut total = ForkSums::default();
        let row = |name: String, sum: &ForkSums| {
            let numbers = [sum.cases, sum.equal, sum.different, sum.apart].map(|number| number.to_string());
            std::iter::once(name).chain(numbers).collect()
        };
        for (fork, sum) in &self.forks {
            total.cases += sum.cases;
            total.equal += sum.equal;
            total.different += sum.different;
            total.apart += sum.apart;
            table.row(row(fork.to_string(), sum));
        }
        table.row(row("all".to_owned(), &total));
        println!("{table}");
    }

    /// Returns the whole result.
    pub(super) fn to_json(&self) -> Value {
        let sums = |sums: &BTreeMap<String, FieldSums>| {
            let entry = |(field, sum): (&String, &FieldSums)| {
                let names: Vec<&str> = sum.examples.iter().map(|(name, _)| name.as_str()).collect();
                let value = json!({
                    "cases": sum.cases, "equal": sum.equal, "different": sum.examples.len(),
                    "higher": sum.higher, "lower": sum.lower, "differentCases": names,
                });
                (field.clone(), value)
            };
            sums.iter().map(entry).collect::<serde_json::Map<_, _>>()
        };
        let case = |outcome: &CaseResult| {
            let places = outcome.differences().map(
                |difference| json!({"place": difference.place, "ours": difference.ours, "recorded": difference.recorded}),
            );
            json!({
                "name": outcome.name, "forkID": outcome.fork_id, "apart": outcome.apart, "ours": outcome.ours,
                "failure": match &outcome.verdict { Verdict::Failed(why) => Some(why), Verdict::Compared(_) => None },
                "differences": places.collect::<Vec<_>>(),
            })
        };
        let forks = self.forks.iter().map(|(fork, sum)| {
            let value = json!({
                "cases": sum.cases, "equal": sum.equal, "different": sum.different, "apart": sum.apart,
            });
            (fork.to_string(), value)
        });
        json!({
            "passed": self.passed(),
            "forks": forks.collect::<serde_json::Map<_, _>>(),
            "fields": sums(&self.fields),
            "reportedApart": sums(&self.reported_apart),
            "different": self.different().map(case).collect::<Vec<_>>(),
            "apart": self.apart().map(|(outcome, _)| case(outcome)).collect::<Vec<_>>(),
        })
    }
}
