//! State as the executors need it: read together with what a request brought along, kept after a batch.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::processor::{BatchInput, BatchOutput};
use crate::store::{
    Durability, MemoryLimits, MemoryStore, MemoryStoreStats, RequestOverlay, StateReader, StateWriter, StoreError,
    verified_nodes, verified_programs,
};

/// Flush ids an answer carries (executor-service §9); zero after an abort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlushIds {
    /// Names the write of this batch's state.
    pub flush_id: u64,
    /// Highest id known to be stored.
    pub stored_flush_id: u64,
}

/// Where batches read state from and leave it.
pub trait BatchState: Send + Sync + 'static {
    /// Returns a reader over the kept state and over the nodes and programs of the request.
    fn reader<'a>(&'a self, input: &'a BatchInput) -> Box<dyn StateReader + 'a>;

    /// Keeps the new nodes and programs of a batch that ran to its end, and those of its request, taking them out of the
    /// output: for good if the request says `update_merkle_tree`, else in this process only.
    ///
    /// Must be done before the answer goes out: the client's next batch starts from the new root.
    fn keep(&self, input: &BatchInput, output: &mut BatchOutput) -> Result<FlushIds, StoreError>;

    /// Returns what is kept and how often it could answer.
    fn stats(&self) -> MemoryStoreStats;
}

/// Hands out flush ids of a store where everything is stored as soon as it is written (executor-service §9).
#[derive(Debug, Default)]
pub struct FlushLedger {
    last_flush_id: AtomicU64,
}

impl FlushLedger {
    /// Takes the ids of one request: one for each map it brought along that is not empty, and one for the batch if it ran
    /// to its end. An aborted batch has no ids to show.
    pub fn flush(&self, input: &BatchInput, completed: bool) -> FlushIds {
        let maps = u64::from(!input.db.is_empty()) + u64::from(!input.contracts_bytecode.is_empty());
        let taken = maps + u64::from(completed);
        let last = self.last_flush_id.fetch_add(taken, Ordering::AcqRel) + taken;
        if completed { FlushIds { flush_id: last, stored_flush_id: last } } else { FlushIds::default() }
    }

    /// Returns the id handed out last.
    pub fn last(&self) -> u64 {
        self.last_flush_id.load(Ordering::Acquire)
    }
}

/// Keeps state in this process, within limits.
///
/// What a batch leaves behind, and what its request brought along, is kept for good if the request says
/// `update_merkle_tree` and as volatile if not. So a client without `update_merkle_tree` cannot make the process grow; its
/// next batches can still start from its root and use its `db` until others have filled the volatile budget. A client with
/// it is stopped by [`StoreError::Full`].
///
/// Entries of a request are shared with other requests, so only those go in that have the hash they claim. Entries that
/// are already there had it when they came and are not hashed again.
pub struct MemoryState {
    store: MemoryStore,
    flushes: FlushLedger,
}

impl MemoryState {
    /// Creates an empty state.
    pub fn new(limits: MemoryLimits) -> Self {
        Self { store: MemoryStore::with_limits(limits), flushes: FlushLedger::default() }
    }

    /// Keeps the nodes and programs the request brought along, aborted batch or not (executor-service §5.8).
    fn keep_brought(&self, input: &BatchInput, durability: Durability) -> Result<(), StoreError> {
        let mut claimed_nodes = Vec::new();
        for claim in &input.db {
            if !self.store.keep_known_node(claim.0, durability)? {
                claimed_nodes.push(claim);
            }
        }
        let mut claimed_programs = Vec::new();
        for claim in &input.contracts_bytecode {
            if !self.store.keep_known_program(claim.0, durability)? {
                claimed_programs.push(claim);
            }
        }
        self.store.write(&verified_nodes(claimed_nodes), &verified_programs(claimed_programs), durability)
    }
}

impl BatchState for MemoryState {
    fn reader<'a>(&'a self, input: &'a BatchInput) -> Box<dyn StateReader + 'a> {
        Box::new(RequestOverlay { base: &self.store, nodes: &input.db, programs: &input.contracts_bytecode })
    }

    fn keep(&self, input: &BatchInput, output: &mut BatchOutput) -> Result<FlushIds, StoreError> {
        let durability = if input.update_merkle_tree { Durability::Permanent } else { Durability::Volatile };
        self.keep_brought(input, durability)?;
        let (nodes, programs) = (std::mem::take(&mut output.new_nodes), std::mem::take(&mut output.new_programs));
        let completed = output.roots.is_some();
        if completed {
            self.store.write(&nodes, &programs, durability)?;
        }
        Ok(self.flushes.flush(input, completed))
    }

    fn stats(&self) -> MemoryStoreStats {
        self.store.stats()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use revm::primitives::{B256, Bytes};

    use super::*;
    use crate::evm::fork::ForkId;
    use crate::processor::{self, ExecutorError, Interrupt};
    use crate::sample::genesis::GenesisState;
    use crate::sample::workload::Chain;
    use crate::sample::{Kind, Workload};
    use crate::tree::Digest;

    const LIMITS: MemoryLimits = MemoryLimits { volatile_bytes_max: 64 << 20, permanent_bytes_max: 64 << 20 };

    fn chain() -> (Chain, GenesisState) {
        let workload = Arc::new(Workload::new(ForkId::new(9).unwrap(), 1).unwrap());
        let genesis = workload.genesis().build().unwrap();
        (workload.chain(0, genesis.root.to_b256()), genesis)
    }

    /// The next batch of the chain, with the genesis attached.
    fn with_genesis(chain: &mut Chain, genesis: &GenesisState, update_merkle_tree: bool) -> BatchInput {
        let mut input = chain.next_batch(Kind::TokenTransfers, 3);
        input.db = genesis.nodes.iter().map(|(hash, node)| (*hash, node.to_vec())).collect();
        input.contracts_bytecode = genesis.programs.clone();
        input.update_merkle_tree = update_merkle_tree;
        input
    }

    fn execute(state: &MemoryState, input: &BatchInput) -> BatchOutput {
        processor::process(input, &*state.reader(input), &Interrupt::default()).unwrap()
    }

    fn run(state: &MemoryState, input: &BatchInput) -> Result<(BatchOutput, FlushIds), StoreError> {
        let mut output = execute(state, input);
        let flush = state.keep(input, &mut output)?;
        Ok((output, flush))
    }

    fn root(output: &BatchOutput) -> B256 {
        assert_eq!(output.error, ExecutorError::NoError);
        output.roots.unwrap().new_state_root
    }

    #[test]
    fn later_batches_read_what_earlier_ones_brought_and_left() {
        for update_merkle_tree in [false, true] {
            let state = MemoryState::new(LIMITS);
            let (mut chain, genesis) = chain();
            let first = with_genesis(&mut chain, &genesis, update_merkle_tree);
            let (output, flush) = run(&state, &first).unwrap();
            assert_eq!(flush, FlushIds { flush_id: 3, stored_flush_id: 3 });
            assert!(output.new_nodes.is_empty() && output.new_programs.is_empty());
            chain.state_root = root(&output);
            let mut second = chain.next_batch(Kind::TokenTransfers, 3);
            second.update_merkle_tree = update_merkle_tree;
            assert_ne!(root(&run(&state, &second).unwrap().0), chain.state_root);
        }
    }

    #[test]
    fn batches_without_update_merkle_tree_leave_nothing_for_good() {
        let state = MemoryState::new(LIMITS);
        let (mut chain, genesis) = chain();
        let input = with_genesis(&mut chain, &genesis, false);
        run(&state, &input).unwrap();
        assert_eq!(state.stats().permanent_bytes, 0);
        assert!(state.stats().volatile_bytes > 0);

        // The sequencer's way: the same batch again, this time for good.
        let replayed = BatchInput { update_merkle_tree: true, ..input };
        run(&state, &replayed).unwrap();
        assert_eq!(state.stats().volatile_bytes, 0);
        let permanent = state.stats().permanent_bytes;
        run(&state, &BatchInput { update_merkle_tree: false, ..replayed }).unwrap();
        assert_eq!((state.stats().permanent_bytes, state.stats().volatile_bytes), (permanent, 0));
    }

    #[test]
    fn false_claims_of_a_request_do_not_reach_others() {
        let state = MemoryState::new(LIMITS);
        let (mut chain, genesis) = chain();
        let honest = with_genesis(&mut chain, &genesis, true);
        let expected = root(&execute(&state, &honest));

        let mut lies = honest.clone();
        lies.batch_l2_data = Bytes::new();
        lies.db.values_mut().for_each(|elements| elements[8] ^= 1);
        lies.db.insert(Digest([1, 2, 3, 4]), vec![0; 5]);
        lies.contracts_bytecode.values_mut().for_each(|code| *code = Bytes::from_static(&[0]));
        run(&state, &lies).unwrap();
        let stats = state.stats();
        assert_eq!((stats.nodes, stats.programs), (0, 0));
        let bare = BatchInput { db: Default::default(), contracts_bytecode: Default::default(), ..honest.clone() };
        assert_eq!(execute(&state, &bare).error, ExecutorError::DbKeyNotFound);

        run(&state, &honest).unwrap();
        run(&state, &lies).unwrap();
        assert_eq!(root(&execute(&state, &bare)), expected);
    }

    #[test]
    fn a_full_state_refuses_what_is_for_good_and_executes_the_rest() {
        let state = MemoryState::new(MemoryLimits { permanent_bytes_max: 1 << 10, ..LIMITS });
        let (mut chain, genesis) = chain();
        let input = with_genesis(&mut chain, &genesis, true);
        let error = run(&state, &input).unwrap_err();
        assert_eq!(error, StoreError::Full { bytes_max: 1 << 10 });
        assert_eq!(state.stats().permanent_bytes, 0);
        run(&state, &BatchInput { update_merkle_tree: false, ..input }).unwrap();
    }

    #[test]
    fn an_aborted_batch_leaves_only_what_it_brought() {
        let state = MemoryState::new(LIMITS);
        let (mut chain, genesis) = chain();
        let mut input = with_genesis(&mut chain, &genesis, true);
        input.old_state_root = B256::with_last_byte(1);
        let (output, flush) = run(&state, &input).unwrap();
        assert_eq!((output.error, flush), (ExecutorError::DbKeyNotFound, FlushIds::default()));
        assert_eq!(state.stats().nodes, genesis.nodes.len());
        assert_eq!(state.stats().programs, genesis.programs.len());
    }
}
