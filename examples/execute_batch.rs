//! Executes one batch of transfers in memory and prints the new state root: `cargo run --example execute_batch`.

use std::error::Error;
use std::sync::Arc;

use zkevm_pool::CancelToken;
use zkevm_processor::Engine;
use zkevm_store::{Durability, MemoryStore, StateWriter};
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_types::ForkId;

fn main() -> Result<(), Box<dyn Error>> {
    // A state of one client with a few funded accounts, and a batch of ten signed transfers among them.
    let workload = Arc::new(Workload::new(ForkId::new(9).ok_or("unknown fork")?, 1)?);
    let genesis = workload.genesis().build()?;
    let batch = workload.chain(0, genesis.root.to_b256()).next_batch(Kind::Transfers, 10);

    let store = MemoryStore::new(0);
    genesis.write_to(&store)?;
    let output = Engine::default().process(&batch, &store, &CancelToken::default())?;
    store.write(&output.new_nodes, &output.new_programs, Durability::Permanent)?;

    let roots = output.roots.ok_or(output.error_log)?;
    println!("{} gas, new state root {}", output.gas_used, roots.new_state_root);
    Ok(())
}
