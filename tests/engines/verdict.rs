//! What is compared of a batch, and what counts as a difference.

use zkevm_executor::engines::differences;
use zkevm_pool::CancelToken;
use zkevm_processor::Engine;
use zkevm_rom::RomEngine;
use zkevm_store::{MemoryStore, RequestOverlay};
use zkevm_types::{ApiVersion, BatchInput, BatchOutput, CountersPolicy, ExecutorError, RomError};

/// The two engines.
pub(crate) struct Pair {
    pub(crate) native: Engine,
    pub(crate) rom: RomEngine,
}

/// How the answers to a batch compare.
pub(crate) struct Verdict {
    /// What became of the batch: the names of its own error, and of those of its transactions.
    pub(crate) outcomes: Vec<&'static str>,
    /// Counters ran out: it was compared without them.
    pub(crate) is_uncounted: bool,
    /// The machine gave it up for a reason that only the original's own checks know.
    pub(crate) is_own_abort: bool,
    /// Fields that differ.
    pub(crate) differences: Vec<&'static str>,
    /// The answers compared, the native one first.
    pub(crate) answers: (BatchOutput, BatchOutput),
}

impl Pair {
    /// Answers a batch by both engines, the native one first.
    pub(crate) fn run(&self, input: &BatchInput) -> (BatchOutput, BatchOutput) {
        let nothing = MemoryStore::new(0);
        let state = RequestOverlay { base: &nothing, nodes: &input.db, programs: &input.contracts_bytecode };
        let cancel = CancelToken::default();
        (self.native.process(input, &state, &cancel).unwrap(), self.rom.process(input, &state, &cancel).unwrap())
    }

    /// Compares the answers to a batch. Where counters run out the native engine only judges on bounds: such a batch is run once
    /// more, without counters.
    pub(crate) fn compare(&self, input: &BatchInput) -> Verdict {
        let (mut native, mut rom) = self.run(input);
        let outcomes = outcomes(&rom);
        let is_uncounted = errors(&rom).any(RomError::is_out_of_counters);
        if is_uncounted {
            // What one check asks for alone is still judged.
            let counters_policy = CountersPolicy::Enforce;
            (native, rom) = self.run(&BatchInput { no_counters: true, counters_policy, ..input.clone() });
        }
        // The ROM files of forks 10 and 11 are of builds in which some code never ends; what is proven ends (later-forks §2.1).
        let other_build = rom.error == ExecutorError::CountersOverflowSteps
            && native.error != rom.error
            && !input.fork_id.rules().truncated_push_loops;
        // Without counters only the machine knows the number of steps.
        let without_counters = is_uncounted || input.no_counters;
        let is_beyond_steps = |output: &BatchOutput| output.error == ExecutorError::CountersOverflowSteps;
        let beyond_steps = without_counters && (is_beyond_steps(&rom) || is_beyond_steps(&native));
        let is_own_abort = is_own_abort(&rom) || other_build || beyond_steps;
        let mut differences = differences(&native, &rom, input.fork_id.rules());
        // No field of the response, but what decides whether there is one.
        if input.fork_id.rules().api == ApiVersion::V2 && native.engine.contexts != rom.engine.contexts {
            differences.push("contexts");
        }
        differences.retain(|field| !is_own_abort && !is_known(field, without_counters, &rom));
        Verdict { outcomes, is_uncounted, is_own_abort, differences, answers: (native, rom) }
    }
}

/// True if the original's own bookkeeping ended the batch: balances that do not add up (11), a number out of range (12), a status
/// against an error (117), too many contexts, or a wrong signature in a transaction to P256VERIFY (0); a hash that a LOG had begun
/// before it could not pay (46, 48, 51, fork 7).
fn is_own_abort(output: &BatchOutput) -> bool {
    use ExecutorError::*;
    matches!(
        output.error,
        BalanceMismatch
            | Fea2Scalar
            | InvalidTxStatusError
            | Unspecified
            | HashPSizeMismatch
            | HashPValueMismatch
            | HashPDigestDigestMismatch
    )
}

/// True for what is known to differ (docs/engines.md, known differences).
fn is_known(field: &str, without_counters: bool, output: &BatchOutput) -> bool {
    let never_ends = output.error == ExecutorError::CountersOverflowSteps;
    let misses_node = output.error == ExecutorError::DbKeyNotFound;
    match field {
        "read_write_addresses" => output.roots.is_none(),
        "responses" => output.roots.is_none() && (without_counters || misses_node),
        "smt_keys" | "program_keys" => never_ends || misses_node,
        "contexts" => output.roots.is_none(),
        _ => false,
    }
}

fn errors(output: &BatchOutput) -> impl Iterator<Item = RomError> {
    let in_blocks = output.blocks.iter().flat_map(|block| &block.transactions);
    in_blocks.chain(&output.transactions).map(|tx| tx.error).chain([output.error_rom])
}

fn outcomes(output: &BatchOutput) -> Vec<&'static str> {
    let mut names = vec![output.error.name()];
    names.extend(errors(output).map(RomError::name));
    names.sort_unstable();
    names.dedup();
    names
}
