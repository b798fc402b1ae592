//! `ProcessBatch`: forks up to 6, one transaction = one block (batch §5).

use revm::primitives::{B256, U256};

use super::Observer;
use super::engine::Engine;
use super::prepare::{PreparedItem, PreparedTx};
use super::run::{Abort, BatchRun, Entry, GER_MANAGER_ADDRESS, Halt, TxEnd};
use zkevm_batch::observer::{ExitRoot, Stage};
use zkevm_batch::{DecodedSoFar, acc_input_hash_v1, keccak_slot};
use zkevm_evm::context::SYSTEM_ADDRESS;
use zkevm_pool::{CancelToken, Cancelled};
use zkevm_tree::StateReader;
use zkevm_tree::{GOLDILOCKS_PRIME, TreeRef};
use zkevm_types::BatchInput;
use zkevm_types::RomError;
use zkevm_types::{BatchOutput, TxOutput};

/// Slot of the transaction count in the system contract.
const TX_COUNT_SLOT: U256 = U256::ZERO;

/// Executes a V1 batch.
pub(crate) fn process<O: Observer>(
    engine: &Engine,
    input: &BatchInput,
    global_exit_root: B256,
    eth_timestamp: u64,
    state: &dyn StateReader,
    cancel: &CancelToken,
    observer: O,
) -> Result<(BatchOutput, O), Cancelled> {
    // The original keeps the timestamp in one field element.
    let eth_timestamp =
        if eth_timestamp >= GOLDILOCKS_PRIME { eth_timestamp - GOLDILOCKS_PRIME } else { eth_timestamp };
    let mut run = BatchRun::new(engine, input, state, cancel, observer);
    run.evm.context().block.timestamp = U256::from(eth_timestamp);
    let mut transactions = Vec::new();
    let end = execute(&mut run, global_exit_root, eth_timestamp, &mut transactions)?;
    let acc_input_hash = acc_input_hash_v1(
        input.old_acc_input_hash,
        &input.batch_l2_data,
        global_exit_root,
        eth_timestamp,
        input.coinbase,
    );
    let (output, observer) = run.finish(end, acc_input_hash)?;
    Ok((BatchOutput { transactions, ..output }, observer))
}

fn execute<O: Observer>(
    run: &mut BatchRun<'_, O>,
    global_exit_root: B256,
    eth_timestamp: u64,
    transactions: &mut Vec<TxOutput>,
) -> Result<Result<(), Abort>, Cancelled> {
    let (mut tx_count, batch_root) = match open(run, global_exit_root, eth_timestamp) {
        Ok(opened) => opened,
        Err(abort) => return Ok(Err(abort)),
    };
    run.observer().batch_data_hashed();
    if let Err(error) = run.prepare(false, false, DecodedSoFar::default())? {
        run.state().restore(batch_root);
        if error.is_out_of_counters() {
            transactions.push(undecoded(run, error));
        } else if run.rules.invalid_rlp_listed {
            transactions.push(undecodable(error));
        }
        return Ok(Ok(()));
    }
    if let Err(abort) = run.read_ahead(&[]) {
        return Ok(Err(abort));
    }
    let mut versions = Vec::new();
    let mut end = Ok(());
    while let Some(item) = run.next_item()? {
        let PreparedItem::Transaction(prepared) = item else { continue };
        match one_transaction(run, &prepared, &mut tx_count) {
            Ok(mut output) => {
                output.tx_index = transactions.len() as u32;
                let out_of_counters = match run.out_of_counters(Stage::Ran) {
                    Ok(out_of_counters) => out_of_counters,
                    Err(Halt::Cancelled(cancelled)) => return Err(cancelled),
                    Err(Halt::Abort(abort)) => {
                        end = Err(abort);
                        break;
                    }
                };
                if let Some(error) = out_of_counters {
                    undo_all(run, batch_root, &mut output, error);
                }
                transactions.push(output);
                versions.push(run.state().version());
                if out_of_counters.is_some() {
                    break;
                }
            }
            Err(Halt::Cancelled(cancelled)) => return Err(cancelled),
            Err(Halt::Abort(abort)) => {
                end = Err(abort);
                break;
            }
        }
    }
    run.state().hash_versions(&versions);
    for (output, version) in transactions.iter_mut().zip(versions) {
        output.state_root = run.state().root_of(version);
    }
    Ok(end)
}

/// Imports the global exit root and reads the transaction count (batch §5, steps 1 and 2).
fn open<O: Observer>(
    run: &mut BatchRun<'_, O>,
    global_exit_root: B256,
    eth_timestamp: u64,
) -> Result<(U256, TreeRef), Abort> {
    if !global_exit_root.is_zero() {
        let slot = keccak_slot(global_exit_root.into(), 0);
        run.observer().mapping_slot_hashed();
        let known = run.system_slot(GER_MANAGER_ADDRESS, slot)?;
        // The ROM tests the low 32 bits only.
        let is_new = known.as_limbs()[0] as u32 == 0;
        run.observer().exit_root_imported(if is_new { ExitRoot::New } else { ExitRoot::Known });
        if is_new {
            run.set_system_slot(GER_MANAGER_ADDRESS, slot, U256::from(eth_timestamp))?;
        }
    }
    let batch_root = run.state().version();
    let tx_count = run.system_slot(SYSTEM_ADDRESS, TX_COUNT_SLOT)?;
    Ok((tx_count, batch_root))
}

/// Runs a transaction and enters its state root into the system contract. The root of its response is left open.
fn one_transaction<O: Observer>(
    run: &mut BatchRun<'_, O>,
    prepared: &PreparedTx,
    tx_count: &mut U256,
) -> Result<TxOutput, Halt> {
    run.evm.context().block.number = tx_count.wrapping_add(U256::from(1));
    let (output, end) = run.transaction(prepared, Entry::of(prepared))?;
    if let TxEnd::Included { .. } = end {
        run.observer().implicit_block_opened();
        *tx_count = tx_count.wrapping_add(U256::from(1));
        run.set_system(TX_COUNT_SLOT, *tx_count)?;
        let version = run.state().version();
        run.observer().mapping_slot_hashed();
        run.set_system_root(keccak_slot(*tx_count, 1), version)?;
        let version = run.state().version();
        run.kept_versions.push(version);
    }
    Ok(output)
}

/// Turns the last transaction into the one that ran out of counters: the whole batch is undone, the entries of the
/// transactions before it stay (counters §15.1).
fn undo_all<O: Observer>(run: &mut BatchRun<'_, O>, batch_root: TreeRef, output: &mut TxOutput, error: RomError) {
    run.kept_versions.clear();
    run.state().restore(batch_root);
    output.error = error;
}

/// The one entry of a batch that ran out of counters while it was decoded: its end writes root and price (batch §11).
fn undecoded<O: Observer>(run: &mut BatchRun<'_, O>, error: RomError) -> TxOutput {
    let effective_gas_price = run.rules.effective_percentage.then_some(U256::ZERO);
    TxOutput { state_root: run.state().root(), effective_gas_price, ..undecodable(error) }
}

/// The one entry of a batch that does not decode (batch §3.3, §11).
fn undecodable(error: RomError) -> TxOutput {
    TxOutput { error, ..TxOutput::default() }
}
