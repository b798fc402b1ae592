//! Native code in the place of known lines changes nothing: each generated batch is run with and without it.

use std::collections::BTreeMap;

use zkevm_executor::engines::differences;
use zkevm_pool::{CancelToken, WorkerPool};
use zkevm_rom::{Machine, NoHandler, Outcome, Request, RomEngine, RomTree};
use zkevm_store::{MemoryStore, RequestOverlay};
use zkevm_types::BatchInput;

/// How often each piece of native code ran, and the steps it took the place of.
#[derive(Default)]
pub(crate) struct Runs {
    by_name: BTreeMap<&'static str, (u64, u64)>,
    steps: u64,
}

impl Runs {
    /// Names of the pieces that never ran.
    pub(crate) fn idle(&self) -> Vec<&str> {
        self.by_name.iter().filter(|(_, (runs, _))| *runs == 0).map(|(name, _)| *name).collect()
    }

    pub(crate) fn print(&self) {
        for (name, (runs, steps)) in &self.by_name {
            println!("{name}: {runs} times, {steps} of {} steps", self.steps);
        }
    }
}

/// Returns what differs: in the answers, counters and messages included, and in the machines after the run.
pub(crate) fn compare(rom: &RomEngine, input: &BatchInput, runs: &mut Runs) -> Vec<String> {
    let nothing = MemoryStore::new(0);
    let state = RequestOverlay { base: &nothing, nodes: &input.db, programs: &input.contracts_bytecode };
    let answer =
        |intrinsics| rom.clone().with_intrinsics(intrinsics).process(input, &state, &CancelToken::default()).unwrap();
    let [quick, slow] = [true, false].map(answer);
    let mut found: Vec<String> =
        differences(&quick, &slow, input.fork_id.rules()).iter().map(ToString::to_string).collect();
    let mut note = |what: &str, is_equal: bool| {
        if !is_equal {
            found.push(what.to_owned());
        }
    };
    note("counters", quick.counters == slow.counters);
    note("reserved counters", quick.reserved == slow.reserved);
    note("message", quick.error_log == slow.error_log);

    let program = rom.roms().program(input.fork_id.get()).unwrap();
    let no_l1_info = Default::default();
    let request = Request::of(input, &no_l1_info);
    let machine = |intrinsics| {
        let tree = RomTree::new(&state, WorkerPool::none(), Default::default());
        Machine::new(program, &request, tree).with_intrinsics(intrinsics)
    };
    let run =
        |machine: &mut Machine<'_, '_>| -> Outcome { machine.run(&mut NoHandler, &CancelToken::default()).unwrap() };
    let [mut quick, mut slow] = [true, false].map(machine);
    let outcomes = [run(&mut quick), run(&mut slow)];
    note("outcome", outcomes[0] == outcomes[1]);
    note("registers", quick.registers() == slow.registers());
    note("memory", quick.memory() == slow.memory());
    runs.steps += outcomes[0].steps;
    for (name, count, steps) in quick.native_runs() {
        let sum = runs.by_name.entry(name).or_default();
        *sum = (sum.0 + count, sum.1 + steps);
    }
    found
}
