//! One batch, start to end: request, run, answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use alloy_primitives::B256;
use zkevm_pool::{CancelToken, Cancelled, WorkerPool};
use zkevm_tree::{Digest, StateReader, TreeMemory};
use zkevm_types::{BatchInput, BatchOutput, EngineName, EngineReport, ExecutorError, ForkId, PhaseTimes};

use crate::machine::Remains;
use crate::profile::{Profile, Profiled};
use crate::tracer::{Traced, Tracer, TracerRules};
use crate::{EventHandler, Machine, Memory, Outcome, Program, Request, RomTree, Roms};

/// Largest memory of a machine whose room is kept for the next one, in bytes: a full batch takes some 20 MiB.
const KEPT_BYTES_MAX: usize = 64 << 20;

/// Executes batches by running the ROM of their fork, on the threads of its callers.
///
/// Clones share the programs, the worker threads and the memory of batches that ended.
#[derive(Clone, Debug)]
pub struct RomEngine {
    roms: Arc<Roms>,
    pool: WorkerPool,
    /// One of each for each batch that ran at a time, the last used last.
    memory: Arc<Mutex<Vec<(TreeMemory, Remains)>>>,
    /// Whether known lines are run by native code.
    intrinsics: bool,
}

impl RomEngine {
    /// Creates an engine for the forks of these ROMs; the threads of `pool` help to hash.
    pub fn new(roms: Roms, pool: WorkerPool) -> Self {
        Self { roms: Arc::new(roms), pool, memory: Arc::default(), intrinsics: true }
    }

    /// Lets native code take the place of lines it knows, or not ([`Machine::with_intrinsics`]); no answer differs. It does
    /// unless told otherwise.
    pub fn with_intrinsics(self, intrinsics: bool) -> Self {
        Self { intrinsics, ..self }
    }

    /// Returns the ROMs.
    pub fn roms(&self) -> &Roms {
        &self.roms
    }

    /// True if there is a ROM for this fork.
    pub fn has_fork(&self, fork: ForkId) -> bool {
        self.roms.program(fork.get()).is_some()
    }

    /// Executes one batch over the state that `state` reads.
    ///
    /// Domain failures are part of the output, a fork without a ROM among them (error 10); the only error is a cancellation.
    pub fn process(
        &self,
        input: &BatchInput,
        state: &dyn StateReader,
        cancel: &CancelToken,
    ) -> Result<BatchOutput, Cancelled> {
        match self.roms.program(input.fork_id.get()) {
            Some(program) => self.run(program, input, state, cancel, |tracer| tracer, |tracer| tracer),
            None => Ok(refused(ExecutorError::UnsupportedForkId, format!("no ROM for fork {}", input.fork_id))),
        }
    }

    /// Executes one batch as [`Self::process`] does, and counts how often each line of the ROM runs; `None` without a ROM.
    /// No native code takes the place of lines.
    pub fn process_profiled(
        &self,
        input: &BatchInput,
        state: &dyn StateReader,
        cancel: &CancelToken,
    ) -> Result<Option<(BatchOutput, Profile)>, Cancelled> {
        let Some(program) = self.roms.program(input.fork_id.get()) else { return Ok(None) };
        let mut profile = Profile::default();
        let lines = program.line_count();
        let output = self.clone().with_intrinsics(false).run(
            program,
            input,
            state,
            cancel,
            |tracer| Profiled::new(tracer, lines),
            |profiled| {
                profile = profiled.profile;
                profiled.tracer
            },
        )?;
        Ok(Some((output, profile)))
    }

    /// Runs a batch with a listener around its tracer.
    fn run<'a, H: EventHandler>(
        &self,
        program: &Program,
        input: &'a BatchInput,
        state: &dyn StateReader,
        cancel: &CancelToken,
        listener: impl FnOnce(Tracer<'a>) -> H,
        tracer: impl FnOnce(H) -> Tracer<'a>,
    ) -> Result<BatchOutput, Cancelled> {
        cancel.check()?;
        let _running = self.pool.batch_guard();
        let start = Instant::now();
        let no_l1_info = HashMap::new();
        let request = Request::of(input, &no_l1_info);
        let (nodes, remains) = self.lend_memory();
        let tree = RomTree::new(state, self.pool.clone(), nodes);
        let mut machine = Machine::new(program, &request, tree).with_remains(remains).with_intrinsics(self.intrinsics);
        let mut listener = listener(Tracer::new(input, TracerRules::new(program, input.fork_id.rules())));
        let outcome = machine.run(&mut listener, cancel)?;
        let (rom_steps, contexts) = (outcome.steps, machine.contexts());
        let (mut tree, remains) = machine.into_parts();
        let mut output = answer(outcome, tracer(listener).finish(), input.old_state_root, &mut tree);
        let rom_time = start.elapsed();
        output.phases = PhaseTimes { evm: rom_time, permutations: tree.permutations(), ..PhaseTimes::default() };
        output.engine =
            EngineReport { answered_by: EngineName::Rom, rom_steps, rom_time, contexts, ..EngineReport::default() };
        self.keep_memory(tree.into_memory(), remains);
        Ok(output)
    }

    fn lend_memory(&self) -> (TreeMemory, Remains) {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn keep_memory(&self, nodes: TreeMemory, mut remains: Remains) {
        if remains.memory.bytes() > KEPT_BYTES_MAX {
            remains.memory = Memory::default();
        }
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).push((nodes, remains));
    }
}

/// Returns the answer to a batch that was not run.
fn refused(error: ExecutorError, message: String) -> BatchOutput {
    BatchOutput { error_log: message, ..BatchOutput::of_error(error) }
}

/// Puts the answer together: what an abort leaves of it, and what stays of the state (main-state-machine §10.2).
fn answer(outcome: Outcome, traced: Traced, old_root: B256, tree: &mut RomTree<'_>) -> BatchOutput {
    let roots = traced.roots.filter(|_| !outcome.is_aborted);
    let (mut new_nodes, mut new_programs) = Default::default();
    if roots.is_some_and(|roots| roots.new_state_root != old_root) {
        traced.kept_roots.iter().for_each(|root| tree.keep(*root));
        new_nodes = tree.new_nodes();
        // The machine makes a program of whatever it hashes this way; the state names those that are code.
        new_programs = tree.new_programs();
        new_programs.retain(|(hash, _)| traced.code_hashes.contains(hash));
    }
    let keys = |keys: Vec<Digest>| keys.into_iter().map(Digest::to_b256).collect();
    BatchOutput {
        error: outcome.error,
        roots,
        gas_used: traced.gas_used,
        transactions: traced.transactions,
        blocks: traced.blocks,
        invalid_batch: traced.invalid_batch,
        error_rom: traced.error_rom,
        read_write_addresses: traced.read_write_addresses,
        smt_keys: keys(outcome.smt_keys),
        program_keys: keys(outcome.program_keys),
        new_nodes,
        new_programs,
        counters: outcome.counters,
        reserved: outcome.reserved,
        ..refused(outcome.error, outcome.message)
    }
}
