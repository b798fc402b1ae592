//! Executes the chains again, with the engine in this process, and compares the roots with those that were answered.

use std::sync::Arc;

use revm::primitives::B256;
use serde::Serialize;

use super::LoadError;
use super::workload_mix::WorkloadMix;
use crate::engine::CommandEngine;
use zkevm_store::{Durability, MemoryStore, StateWriter};
use zkevm_testkit::sample::Workload;
use zkevm_testkit::sample::genesis::GenesisState;

/// Result of the check of roots.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Verified {
    /// Batches whose root was compared.
    pub batches: u64,
    /// The first difference of every chain that has one; a few of them.
    pub differences: Vec<String>,
}

const DIFFERENCES_KEPT: usize = 5;

/// Compares the answered roots of every client's chain, from its first batch on. Stops a chain at its first difference.
pub(super) fn chains<'a>(
    workload: &Arc<Workload>,
    genesis: &GenesisState,
    mix: &WorkloadMix,
    batch_txs: usize,
    roots: impl Iterator<Item = &'a [B256]>,
    engine: &CommandEngine,
) -> Result<Verified, LoadError> {
    let store = MemoryStore::new(0);
    genesis.write_to(&store)?;
    let mut verified = Verified::default();
    for (client, roots) in (0..).zip(roots) {
        let mut chain = workload.chain(client, genesis.root.to_b256());
        for (number, answered) in (0..).zip(roots) {
            let input = chain.next_batch(mix.kind(client, number), batch_txs);
            let output = engine.process(&input, &store)?;
            store.write(&output.new_nodes, &output.new_programs, Durability::Permanent)?;
            let roots = output.roots.ok_or("a batch was aborted here")?;
            verified.batches += 1;
            if roots.new_state_root != *answered {
                if verified.differences.len() < DIFFERENCES_KEPT {
                    let own = roots.new_state_root;
                    verified.differences.push(format!(
                        "client {client}, batch {number}: root {answered} answered, {own} executed here"
                    ));
                }
                break;
            }
            chain.state_root = roots.new_state_root;
            chain.acc_input_hash = roots.new_acc_input_hash;
        }
    }
    Ok(verified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::EngineArgs;
    use zkevm_types::ForkId;

    #[test]
    fn a_wrong_root_is_found() {
        let workload = Arc::new(Workload::new(ForkId::new(9).unwrap(), 1).unwrap());
        let genesis = workload.genesis().build().unwrap();
        let mix: WorkloadMix = "transfers".parse().unwrap();
        let wrong = [B256::with_last_byte(1), B256::with_last_byte(2)];
        let engine = EngineArgs::default().open().unwrap();
        let found = chains(&workload, &genesis, &mix, 2, std::iter::once(&wrong[..]), &engine).unwrap();
        assert_eq!((found.batches, found.differences.len()), (1, 1), "{found:?}");

        let own = found.differences[0].split("answered, ").nth(1).unwrap();
        let right: B256 = own.split(' ').next().unwrap().parse().unwrap();
        let found = chains(&workload, &genesis, &mix, 2, std::iter::once(&[right][..]), &engine).unwrap();
        assert_eq!((found.batches, found.differences.len()), (1, 0), "{found:?}");
    }
}
