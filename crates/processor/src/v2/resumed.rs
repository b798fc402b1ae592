//! A batch whose beginning was run before goes on where that ended.
//!
//! What it answers is what a run from the start answers. An earlier run counts only if all that decided it is the same, and
//! if what it read is there this time ([`PrefixCache`]); and what does not end well is run from its start after all.

use std::collections::HashSet;

use super::{Stop, V2Batch};
use crate::engine::Engine;
use crate::prefixes::{Checkpoint, PrefixKey, Segment};
use crate::run::{Abort, BatchRun};
use zkevm_counters::CounterMeter;
use zkevm_counters::model::Prices;
use zkevm_pool::{CancelToken, Cancelled};
use zkevm_tree::StateReader;
use zkevm_types::{BatchInput, BatchOutput, ExecutorError, V2Context};

/// Executes a V2 batch from the end of the longest beginning that is remembered, and remembers it.
pub(crate) fn process_with_prefixes(
    engine: &Engine,
    input: &BatchInput,
    context: &V2Context,
    state: &dyn StateReader,
    cancel: &CancelToken,
) -> Result<(BatchOutput, CounterMeter), Cancelled> {
    let start = || {
        let meter = CounterMeter::new(input, Prices::of_fork(input.fork_id.rules()));
        V2Batch::new(BatchRun::new(engine, input, state, cancel, meter), context)
    };
    let Some(key) = PrefixKey::of(input, context) else {
        let mut batch = start();
        let end = batch.execute();
        return batch.finish(end);
    };
    if let Some(before) = engine.prefixes.find(&key, input, context, state) {
        let mark = cancel.mark();
        let mut batch = start();
        match batch.execute_from(&before) {
            Err(Stop::Cancelled(cancelled)) => return Err(cancelled),
            Err(Stop::Invalid(_) | Stop::Abort(_)) => drop(batch),
            Ok(()) => {
                let (mut output, meter) = batch.finish_remembering(Ok(()), key.clone(), Some(&before))?;
                if output.error == ExecutorError::NoError {
                    engine.prefixes.note_reused(&before);
                    add_what_was_made(&before, &mut output);
                    return Ok((output, meter));
                }
            }
        }
        // How it ends can depend on what ran before: only a run from the start is sure to end so.
        engine.prefixes.note_rerun();
        cancel.give_back_to(mark);
    }
    let mut batch = start();
    let end = batch.execute();
    batch.finish_remembering(end, key, None)
}

impl V2Batch<'_, CounterMeter> {
    /// Runs what comes behind an earlier batch. Fails, with whatever error, if it does not end well.
    fn execute_from(&mut self, before: &Checkpoint) -> Result<(), Stop> {
        self.begin()?;
        self.run.prepare_from(&before.run)?.map_err(Stop::Invalid)?;
        if !self.run.go_on_from(&before.run, before.programs())? {
            return Err(Abort::new(ExecutorError::Assert, "the batch might have ended earlier").into());
        }
        self.block_number = before.block_number;
        self.timestamp = before.timestamp;
        self.closed.extend(before.blocks().cloned());
        self.run.read_ahead(&[])?;
        self.run_items()
    }

    /// Makes the answer of a batch that ran from its start, or from where `before` ended, and remembers it if it ended well.
    fn finish_remembering(
        mut self,
        end: Result<(), Stop>,
        key: PrefixKey,
        before: Option<&Checkpoint>,
    ) -> Result<(BatchOutput, CounterMeter), Cancelled> {
        let remembered = if end.is_ok() { self.remember(before) } else { None };
        let cache = self.run.engine.prefixes.clone();
        let (output, meter) = self.finish(end)?;
        if let Some((checkpoint, mut segment)) = remembered
            && output.error == ExecutorError::NoError
        {
            segment.new_nodes.clone_from(&output.new_nodes);
            cache.insert(key, checkpoint, segment);
        }
        Ok((output, meter))
    }

    /// Returns what a longer batch needs to go on from here; `None` if nothing ran.
    fn remember(&mut self, before: Option<&Checkpoint>) -> Option<(Checkpoint, Segment)> {
        let data = &self.run.input.batch_l2_data;
        let (bytes, blocks) = before.map_or((0, 0), |before| (before.bytes, before.blocks().count()));
        let leaf = |index: &u32| self.context.l1_info_tree_data.get(index).map(|leaf| (*index, leaf.clone()));
        let segment = Segment {
            // A copy: a slice would keep the whole request.
            bytes: data.get(bytes..).filter(|added| !added.is_empty())?.to_vec(),
            blocks: self.closed.get(blocks..).unwrap_or_default().to_vec(),
            l1_info: self.l1_indices.iter().filter_map(leaf).collect(),
            nodes_read: self.run.state().nodes_read(),
            programs_read: self.run.state().programs_read().to_vec(),
            programs: self.run.state().deployed_programs().map(|(hash, code)| (hash, code.clone())).collect(),
            ..Segment::default()
        };
        let mut checkpoint = Checkpoint::new(before, self.run.checkpoint()?);
        checkpoint.bytes = data.len();
        checkpoint.block_number = self.block_number;
        checkpoint.timestamp = self.timestamp;
        Some((checkpoint, segment))
    }
}

/// Adds what the earlier batch made, for a store that may have lost it. Nothing is listed twice.
fn add_what_was_made(before: &Checkpoint, output: &mut BatchOutput) {
    if output.new_nodes.is_empty() && before.segments.iter().all(|segment| segment.new_nodes.is_empty()) {
        return;
    }
    let mut listed: HashSet<_> = output.new_nodes.iter().map(|(hash, _)| *hash).collect();
    for (hash, node) in before.segments.iter().flat_map(|segment| &segment.new_nodes) {
        if listed.insert(*hash) {
            output.new_nodes.push((*hash, *node));
        }
    }
    let mut listed: HashSet<_> = output.new_programs.iter().map(|(hash, _)| *hash).collect();
    for (hash, code) in before.programs() {
        if listed.insert((*hash).into()) {
            output.new_programs.push(((*hash).into(), code.clone()));
        }
    }
}
