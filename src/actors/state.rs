//! State as the executors need it: read together with what a request brought along, kept after a batch.

use zkevm_pool::{CancelToken, Cancelled};
use zkevm_store::{Durability, NoState, RequestOverlay, StateStore, WitnessEntries, WriteSet};
use zkevm_tree::{Digest, StateReader, StoreError};
use zkevm_types::{BatchInput, BatchOutput, FlushIds, StateSource};

/// Returns a reader over the nodes and programs of the request and, unless it stands alone, over the kept state.
pub fn reader<'a>(store: &'a StateStore, input: &'a BatchInput) -> RequestOverlay<'a> {
    let base: &dyn StateReader = match input.state_source {
        StateSource::Store => store,
        StateSource::Witness { .. } => &NoState,
    };
    RequestOverlay { base, nodes: &input.db, programs: &input.contracts_bytecode }
}

/// The reason why the state of a batch was not kept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotKept {
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The call was given up.
    #[error(transparent)]
    Stopped(#[from] Cancelled),
}

/// Keeps the new nodes and programs of a batch that ran to its end, and those of its request, taking them out of the
/// output: permanently if the request says `update_merkle_tree`, else as volatile.
///
/// So a client without `update_merkle_tree` cannot make the process grow; its next batches can still start from its root
/// and use its `db` until others have filled the volatile budget. A client with it is stopped by [`StoreError::Full`], or
/// waits for the database. Entries of a request are shared with other requests, so only those go in that have the hash they
/// claim.
///
/// A stateless batch leaves nothing, unless it is to be kept.
///
/// Ends early, having kept nothing, when `cancel` says so.
///
/// Must be done before the answer goes out: the client's next batch starts from the new root. Takes one flush id for
/// the batch, and one for each map its request brought along that is not empty (executor-service §5.8). A batch that
/// was aborted has no ids to show.
pub fn persist(
    store: &StateStore,
    input: &BatchInput,
    output: &mut BatchOutput,
    cancel: &CancelToken,
) -> Result<FlushIds, NotKept> {
    let durability = if input.update_merkle_tree { Durability::Permanent } else { Durability::Volatile };
    let (nodes, programs) = (std::mem::take(&mut output.new_nodes), std::mem::take(&mut output.new_programs));
    let keeps = input.state_source != StateSource::Witness { keep: false };
    let mut set = WriteSet::default();
    if keeps {
        let verified = input.state_source != StateSource::Store;
        let entries = WitnessEntries { nodes: &input.db, programs: &input.contracts_bytecode, verified };
        let mut stopped = Ok(());
        let unknown = store.unknown_entries(entries, durability, &mut || {
            stopped = cancel.check();
            stopped.is_ok()
        })?;
        stopped?;
        set = unknown.unwrap_or_default();
    }
    if let Some(roots) = output.roots.as_ref().filter(|_| keeps && output.is_kept()) {
        set.nodes.extend(nodes);
        set.programs.extend(programs);
        set.latest_root = Some(Digest::from(roots.new_state_root));
    }
    let completed = output.is_kept();
    let maps = u64::from(!input.db.is_empty()) + u64::from(!input.contracts_bytecode.is_empty());
    if !keeps && !input.fork_id.rules().stateless_takes_flush_id {
        return Ok(FlushIds::default());
    }
    let ids = store.persist(set, durability, maps + u64::from(completed))?;
    Ok(if completed { ids } else { FlushIds::default() })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use revm::primitives::{B256, Bytes};

    use super::*;
    use zkevm_store::MemoryLimits;
    use zkevm_testkit::sample::genesis::GenesisState;
    use zkevm_testkit::sample::workload::Chain;
    use zkevm_testkit::sample::{Kind, Workload};
    use zkevm_types::ExecutorError;
    use zkevm_types::ForkId;

    const LIMITS: MemoryLimits = MemoryLimits { volatile_bytes_max: 64 << 20, permanent_bytes_max: 64 << 20 };

    fn chain() -> (Chain, GenesisState) {
        let workload = Arc::new(Workload::new(ForkId::new(9).unwrap(), 1).unwrap());
        let genesis = workload.genesis().build().unwrap();
        (workload.chain(0, genesis.root.to_b256()), genesis)
    }

    /// The next batch of the chain, with the genesis attached.
    fn with_genesis(chain: &mut Chain, genesis: &GenesisState, update_merkle_tree: bool) -> BatchInput {
        let mut input = chain.next_batch(Kind::TokenTransfers, 3);
        input.db = genesis.nodes.iter().map(|(hash, node)| (*hash, node.into())).collect();
        input.contracts_bytecode = genesis.programs.clone();
        input.update_merkle_tree = update_merkle_tree;
        input
    }

    fn execute(state: &StateStore, input: &BatchInput) -> BatchOutput {
        zkevm_processor::Engine::default().process(input, &reader(state, input), &CancelToken::default()).unwrap()
    }

    fn run(state: &StateStore, input: &BatchInput) -> Result<(BatchOutput, FlushIds), NotKept> {
        let mut output = execute(state, input);
        let flush = persist(state, input, &mut output, &CancelToken::default())?;
        Ok((output, flush))
    }

    fn root(output: &BatchOutput) -> B256 {
        assert_eq!(output.error, ExecutorError::NoError);
        output.roots.unwrap().new_state_root
    }

    #[test]
    fn later_batches_read_what_earlier_ones_brought_and_left() {
        for update_merkle_tree in [false, true] {
            let state = StateStore::in_memory(LIMITS);
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
    fn batches_without_update_merkle_tree_leave_nothing_permanent() {
        let state = StateStore::in_memory(LIMITS);
        let (mut chain, genesis) = chain();
        let input = with_genesis(&mut chain, &genesis, false);
        run(&state, &input).unwrap();
        assert_eq!(state.stats().memory.permanent_bytes, 0);
        assert!(state.stats().memory.volatile_bytes > 0);

        // The sequencer's way: the same batch again, this time permanently.
        let replayed = BatchInput { update_merkle_tree: true, ..input };
        run(&state, &replayed).unwrap();
        assert_eq!(state.stats().memory.volatile_bytes, 0);
        let permanent = state.stats().memory.permanent_bytes;
        run(&state, &BatchInput { update_merkle_tree: false, ..replayed }).unwrap();
        assert_eq!((state.stats().memory.permanent_bytes, state.stats().memory.volatile_bytes), (permanent, 0));
    }

    #[test]
    fn false_claims_of_a_request_do_not_reach_others() {
        let state = StateStore::in_memory(LIMITS);
        let (mut chain, genesis) = chain();
        let honest = with_genesis(&mut chain, &genesis, true);
        let expected = root(&execute(&state, &honest));

        let mut lies = honest.clone();
        lies.batch_l2_data = Bytes::new();
        lies.db.values_mut().for_each(|elements| elements[8] ^= 1);
        lies.db.insert(Digest([1, 2, 3, 4]), vec![0; 5].into());
        lies.contracts_bytecode.values_mut().for_each(|code| *code = Bytes::from_static(&[0]));
        run(&state, &lies).unwrap();
        let stats = state.stats().memory;
        assert_eq!((stats.nodes, stats.programs), (0, 0));
        let bare = BatchInput { db: Default::default(), contracts_bytecode: Default::default(), ..honest.clone() };
        assert_eq!(execute(&state, &bare).error, ExecutorError::DbKeyNotFound);

        run(&state, &honest).unwrap();
        run(&state, &lies).unwrap();
        assert_eq!(root(&execute(&state, &bare)), expected);
    }

    #[test]
    fn a_full_state_refuses_what_is_permanent_and_executes_the_rest() {
        let state = StateStore::in_memory(MemoryLimits { permanent_bytes_max: 1 << 10, ..LIMITS });
        let (mut chain, genesis) = chain();
        let input = with_genesis(&mut chain, &genesis, true);
        let error = run(&state, &input).unwrap_err();
        assert_eq!(error, NotKept::Store(StoreError::Full { bytes_max: 1 << 10 }));
        assert_eq!(state.stats().memory.permanent_bytes, 0);
        run(&state, &BatchInput { update_merkle_tree: false, ..input }).unwrap();
    }

    #[test]
    fn a_call_that_was_given_up_leaves_nothing() {
        let state = StateStore::in_memory(LIMITS);
        let (mut chain, genesis) = chain();
        let input = with_genesis(&mut chain, &genesis, true);
        let mut output = execute(&state, &input);
        let cancel = CancelToken::default();
        cancel.cancel();
        assert_eq!(persist(&state, &input, &mut output, &cancel), Err(Cancelled::Client.into()));
        assert_eq!(state.stats().memory.nodes, 0);
    }

    #[test]
    fn an_aborted_batch_leaves_only_what_it_brought() {
        let state = StateStore::in_memory(LIMITS);
        let (mut chain, genesis) = chain();
        let mut input = with_genesis(&mut chain, &genesis, true);
        input.old_state_root = B256::with_last_byte(1);
        let (output, flush) = run(&state, &input).unwrap();
        assert_eq!((output.error, flush), (ExecutorError::DbKeyNotFound, FlushIds::default()));
        assert_eq!(state.stats().memory.nodes, genesis.nodes.len());
        assert_eq!(state.stats().memory.programs, genesis.programs.len());
    }
}
