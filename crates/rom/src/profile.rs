//! Where the steps of a run go: by file of the ROM's sources and by label.

use std::collections::BTreeMap;

use crate::tracer::Tracer;
use crate::{Abort, Event, EventHandler, Program, TreeAccess, View};

/// How often each line ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    lines: Vec<u64>,
}

/// Steps of one part of a ROM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileEntry {
    /// File, or label.
    pub name: String,
    /// Steps that were run in it.
    pub steps: u64,
}

impl Profile {
    /// Returns the steps of each file of the sources that ran, most first.
    pub fn by_file(&self, program: &Program) -> Vec<ProfileEntry> {
        self.sums(|address| program.place(address).map_or("", |place| place.file))
    }

    /// Returns the steps from each label to the next one that ran, most first.
    pub fn by_label(&self, program: &Program) -> Vec<ProfileEntry> {
        let mut labels: Vec<(u32, &str)> = program.labels().map(|(name, address)| (address, name)).collect();
        labels.sort_unstable();
        self.sums(|address| {
            let after = labels.partition_point(|(start, _)| *start as usize <= address);
            after.checked_sub(1).and_then(|at| labels.get(at)).map_or("(start)", |(_, name)| name)
        })
    }

    /// Number of steps.
    pub fn steps(&self) -> u64 {
        self.lines.iter().sum()
    }

    fn sums<'p>(&self, name_of: impl Fn(usize) -> &'p str) -> Vec<ProfileEntry> {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for (address, steps) in self.lines.iter().enumerate().filter(|(_, steps)| **steps > 0) {
            *sums.entry(name_of(address)).or_default() += steps;
        }
        let entry = |(name, steps): (&str, u64)| ProfileEntry { name: name.to_owned(), steps };
        let mut entries: Vec<ProfileEntry> = sums.into_iter().map(entry).collect();
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.steps));
        entries
    }
}

/// A tracer that counts lines as well.
pub(crate) struct Profiled<'a> {
    pub(crate) tracer: Tracer<'a>,
    pub(crate) profile: Profile,
}

impl<'a> Profiled<'a> {
    /// Creates one for a program with so many lines.
    pub(crate) fn new(tracer: Tracer<'a>, lines: usize) -> Self {
        Self { tracer, profile: Profile { lines: vec![0; lines] } }
    }
}

impl EventHandler for Profiled<'_> {
    fn event(&mut self, event: Event<'_>, view: &mut View<'_, '_>) -> Result<(), Abort> {
        self.tracer.event(event, view)
    }

    fn tree_access(&mut self, access: &TreeAccess) -> Result<(), Abort> {
        self.tracer.tree_access(access)
    }

    fn line(&mut self, address: u32) {
        if let Some(steps) = self.profile.lines.get_mut(address as usize) {
            *steps += 1;
        }
    }
}
