//! What batches share: worker threads, senders, memory.

use std::sync::{Arc, Mutex, PoisonError};

use zkevm_batch::SenderCache;
use zkevm_counters::CounterMeter;
use zkevm_counters::model::Prices;
use zkevm_pool::{CancelToken, Cancelled, WorkerPool};
use zkevm_tree::{KeyCache, StateReader, TreeMemory};
use zkevm_types::{BatchContext, BatchInput, BatchOutput};

use super::prefixes::PrefixCache;
use super::{Observer, v1, v2};

/// Keys of each kind that are remembered from batch to batch; at most about 7 MiB. A full batch touches fewer.
const KEY_CACHE_CAPACITY: usize = 14_000;

/// Executes batches, on the threads of its callers.
///
/// Holds what batches share: a pool of worker threads that help while cores are idle, the senders recovered so far, and the
/// memory of batches that ended; and, if it is given a [`PrefixCache`], what batches came to, for those that begin as they
/// do. Clones share it; two engines share nothing. The default has no worker threads and no such cache.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    pub(crate) pool: WorkerPool,
    pub(crate) senders: SenderCache,
    pub(crate) prefixes: PrefixCache,
    /// One for each batch that ran at a time, the last used last.
    scratch: Arc<Mutex<Vec<Scratch>>>,
}

/// Memory that a batch leaves to the next one.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// Keys of the trees. What a key is never changes.
    pub(crate) keys: KeyCache,
    /// Memory of the state tree.
    pub(crate) state_tree: TreeMemory,
    /// Memory of the block info trees.
    pub(crate) block_tree: TreeMemory,
}

impl Default for Scratch {
    fn default() -> Self {
        let (state_tree, block_tree) = Default::default();
        Self { keys: KeyCache::new(KEY_CACHE_CAPACITY), state_tree, block_tree }
    }
}

impl Engine {
    /// Creates an engine whose batches are helped by the threads of `pool`.
    pub fn new(pool: WorkerPool) -> Self {
        Self { pool, ..Self::default() }
    }

    /// Puts another memory of senders in place.
    #[must_use]
    pub fn with_senders(self, senders: SenderCache) -> Self {
        Self { senders, ..self }
    }

    /// Remembers batches, so that one that begins as another did goes on from there.
    #[must_use]
    pub fn with_prefixes(self, prefixes: PrefixCache) -> Self {
        Self { prefixes, ..self }
    }

    /// Returns the senders recovered so far.
    pub fn senders(&self) -> &SenderCache {
        &self.senders
    }

    /// Executes one batch over the state that `state` reads, and counts its zk counters.
    ///
    /// Domain failures are part of the output; the only error is a cancellation.
    pub fn process(
        &self,
        input: &BatchInput,
        state: &dyn StateReader,
        cancel: &CancelToken,
    ) -> Result<BatchOutput, Cancelled> {
        let BatchContext::V2(context) = &input.context else {
            return self.process_priced(input, state, cancel, Prices::of_fork(input.fork_id.rules()));
        };
        if !self.prefixes.is_on() {
            return self.process_priced(input, state, cancel, Prices::of_fork(input.fork_id.rules()));
        }
        cancel.check()?;
        let _running = self.pool.batch_guard();
        let (mut output, meter) = v2::process_with_prefixes(self, input, context, state, cancel)?;
        meter.report(&mut output);
        Ok(output)
    }

    /// Executes one batch as [`Self::process`] does, with other prices for the virtual counters.
    pub fn process_priced(
        &self,
        input: &BatchInput,
        state: &dyn StateReader,
        cancel: &CancelToken,
        prices: Prices,
    ) -> Result<BatchOutput, Cancelled> {
        let (mut output, meter) = self.process_observed(input, state, cancel, CounterMeter::new(input, prices))?;
        meter.report(&mut output);
        Ok(output)
    }

    /// Executes one batch as [`Self::process`] does under an observer instead of counting: the counters of the answer are
    /// zero. Returns the observer too.
    pub fn process_observed<O: Observer>(
        &self,
        input: &BatchInput,
        state: &dyn StateReader,
        cancel: &CancelToken,
        observer: O,
    ) -> Result<(BatchOutput, O), Cancelled> {
        cancel.check()?;
        let _running = self.pool.batch_guard();
        match &input.context {
            BatchContext::V1 { global_exit_root, eth_timestamp } => {
                v1::process(self, input, *global_exit_root, *eth_timestamp, state, cancel, observer)
            }
            BatchContext::V2(context) => v2::process(self, input, context, state, cancel, observer),
        }
    }

    /// Returns the memory of the batch that ended last, or new memory.
    pub(crate) fn lend_scratch(&self) -> Scratch {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Keeps the memory of a batch that ended.
    pub(crate) fn keep_scratch(&self, scratch: Scratch) {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }
}
