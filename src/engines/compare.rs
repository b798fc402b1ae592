//! Two answers to one batch, field by field, under the names of the response.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use zkevm_types::{BatchOutput, BlockOutput, FullTrace, LogOutput, TxOutput};

/// Fields that differ.
type Fields = BTreeSet<&'static str>;

/// Notes the fields of two structs that differ, each under its name in the response.
macro_rules! compare {
    ($found:ident, $a:ident, $b:ident, $($field:ident: $name:literal),+ $(,)?) => {
        $(if $a.$field != $b.$field { $found.insert($name); })+
    };
}

/// Returns the names of the fields in which the two answers differ, and of the counters whose bound is below the count.
pub fn differences(native: &BatchOutput, rom: &BatchOutput) -> Vec<&'static str> {
    let mut found = Fields::new();
    compare!(found, native, rom,
        error: "error",
        invalid_batch: "invalid_batch",
        error_rom: "error_rom",
        read_write_addresses: "read_write_addresses",
    );
    match (&native.roots, &rom.roots) {
        (Some(a), Some(b)) => {
            compare!(found, a, b,
                new_state_root: "new_state_root",
                new_acc_input_hash: "new_acc_input_hash",
                new_local_exit_root: "new_local_exit_root",
            );
            compare!(found, native, rom, gas_used: "gas_used");
        }
        (None, None) => {}
        _ => _ = found.insert("new_state_root"),
    }
    let sorted = |keys: &[alloy_primitives::B256]| keys.iter().copied().collect::<BTreeSet<_>>();
    if sorted(&native.smt_keys) != sorted(&rom.smt_keys) {
        found.insert("smt_keys");
    }
    if sorted(&native.program_keys) != sorted(&rom.program_keys) {
        found.insert("program_keys");
    }
    blocks(&native.blocks, &rom.blocks, &mut found);
    transactions(&native.transactions, &rom.transactions, &mut found);
    counters(native, rom, &mut found);
    found.into_iter().collect()
}

fn counters(native: &BatchOutput, rom: &BatchOutput, found: &mut Fields) {
    const NAMES: [&str; 8] = [
        "cnt_steps",
        "cnt_arithmetics",
        "cnt_binaries",
        "cnt_mem_aligns",
        "cnt_keccak_hashes",
        "cnt_poseidon_paddings",
        "cnt_poseidon_hashes",
        "cnt_sha256_hashes",
    ];
    // A batch that stopped elsewhere counted something else.
    if native.error != rom.error || native.error_rom != rom.error_rom {
        return;
    }
    let pairs = native.counters.to_array().into_iter().zip(rom.counters.to_array());
    found.extend(NAMES.into_iter().zip(pairs).filter(|(_, (bound, count))| bound < count).map(|(name, _)| name));
}

fn blocks(native: &[BlockOutput], rom: &[BlockOutput], found: &mut Fields) {
    if native.len() != rom.len() {
        found.insert("block_responses");
    }
    for (a, b) in native.iter().zip(rom) {
        compare!(found, a, b,
            parent_hash: "block_responses.parent_hash",
            coinbase: "block_responses.coinbase",
            gas_limit: "block_responses.gas_limit",
            block_number: "block_responses.block_number",
            timestamp: "block_responses.timestamp",
            ger: "block_responses.ger",
            block_hash_l1: "block_responses.block_hash_l1",
            gas_used: "block_responses.gas_used",
            block_info_root: "block_responses.block_info_root",
            block_hash: "block_responses.block_hash",
            error: "block_responses.error",
        );
        transactions(&a.transactions, &b.transactions, found);
    }
}

fn transactions(native: &[TxOutput], rom: &[TxOutput], found: &mut Fields) {
    if native.len() != rom.len() {
        found.insert("responses");
    }
    for (a, b) in native.iter().zip(rom) {
        compare!(found, a, b,
            tx_hash: "responses.tx_hash",
            tx_hash_l2: "responses.tx_hash_l2",
            rlp_tx: "responses.rlp_tx",
            return_value: "responses.return_value",
            gas_left: "responses.gas_left",
            gas_used: "responses.gas_used",
            cumulative_gas_used: "responses.cumulative_gas_used",
            gas_refunded: "responses.gas_refunded",
            error: "responses.error",
            create_address: "responses.create_address",
            state_root: "responses.state_root",
            effective_gas_price: "responses.effective_gas_price",
            effective_percentage: "responses.effective_percentage",
            has_gasprice_opcode: "responses.has_gasprice_opcode",
            has_balance_opcode: "responses.has_balance_opcode",
            status: "responses.status",
        );
        logs(a, b, found);
        traces(a.full_trace.as_deref(), b.full_trace.as_deref(), found);
    }
}

fn logs(native: &TxOutput, rom: &TxOutput, found: &mut Fields) {
    let (a, b): (&[LogOutput], &[LogOutput]) = (&native.logs, &rom.logs);
    if a != b || (!a.is_empty() && native.tx_index != rom.tx_index) {
        found.insert("responses.logs");
    }
}

fn traces(native: Option<&FullTrace>, rom: Option<&FullTrace>, found: &mut Fields) {
    let (Some(a), Some(b)) = (native, rom) else {
        if native.is_some() != rom.is_some() {
            found.insert("responses.full_trace");
        }
        return;
    };
    compare!(found, a, b, context: "responses.full_trace.context");
    if step_hashes(a) != step_hashes(b) {
        found.insert("responses.full_trace.steps");
    }
}

/// Returns a hash of each step: steps are packed, and two ways to pack them may show the same.
fn step_hashes(trace: &FullTrace) -> Vec<u64> {
    let mut hashes = Vec::with_capacity(trace.steps.len());
    trace.steps.for_each(|step| {
        let mut hasher = DefaultHasher::new();
        step.hash(&mut hasher);
        hashes.push(hasher.finish());
    });
    hashes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use zkevm_pool::CancelToken;
    use zkevm_processor::Engine;
    use zkevm_store::MemoryStore;
    use zkevm_testkit::sample::{Kind, Workload};
    use zkevm_types::ForkId;

    fn answer(fork: u64) -> BatchOutput {
        let workload = Arc::new(Workload::new(ForkId::new(fork).unwrap(), 1).unwrap());
        let genesis = workload.genesis().build().unwrap();
        let store = MemoryStore::new(0);
        genesis.write_to(&store).unwrap();
        let input = workload.chain(0, genesis.root.to_b256()).next_batch(Kind::TokenTransfers, 2);
        Engine::default().process(&input, &store, &CancelToken::default()).unwrap()
    }

    /// Returns those of the first block, or of the batch in forks without blocks.
    fn transactions_of(output: &mut BatchOutput) -> &mut Vec<TxOutput> {
        output.blocks.first_mut().map_or(&mut output.transactions, |block| &mut block.transactions)
    }

    #[test]
    fn names_what_differs_and_nothing_else() {
        for fork in [6, 9] {
            let native = answer(fork);
            let mut rom = native.clone();
            rom.counters.steps -= 1;
            rom.reserved.keccaks += 1;
            rom.phases = Default::default();
            assert_eq!(differences(&native, &rom), [""; 0]);
            rom.counters.steps += 2;
            rom.gas_used += 1;
            let list = transactions_of(&mut rom);
            list[1].logs[0].index += 7;
            assert_eq!(differences(&native, &rom), ["cnt_steps", "gas_used", "responses.logs"]);
            let list = transactions_of(&mut rom);
            list.pop();
            rom.roots = None;
            let found = differences(&native, &rom);
            assert!(found.contains(&"responses") && found.contains(&"new_state_root"), "{found:?}");
        }
    }
}
