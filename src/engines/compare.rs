//! Two answers to one batch, field by field, under the names of the response. What the response of a fork does not send is no
//! difference (`zkevm_wire::respond`).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use alloy_primitives::{Address, B256};
use zkevm_types::{
    ApiVersion, BatchOutput, BlockOutput, Counters, ExecutorError, ForkRules, FullTrace, LogOutput, RomError,
    TouchedAccount, TraceContext, TxOutput,
};

/// Fields that differ.
type Fields = BTreeSet<&'static str>;

/// Fields of the counters used, in their order.
const COUNTERS: [&str; 8] = [
    "cnt_steps",
    "cnt_arithmetics",
    "cnt_binaries",
    "cnt_mem_aligns",
    "cnt_keccak_hashes",
    "cnt_poseidon_paddings",
    "cnt_poseidon_hashes",
    "cnt_sha256_hashes",
];

/// Those that the native engine counts as the ROM does: digests and tree accesses.
const EXACT: std::ops::Range<usize> = 4..8;

/// Fields of the counters needed free.
const RESERVES: [&str; 8] = [
    "cnt_reserve_steps",
    "cnt_reserve_arithmetics",
    "cnt_reserve_binaries",
    "cnt_reserve_mem_aligns",
    "cnt_reserve_keccak_hashes",
    "cnt_reserve_poseidon_paddings",
    "cnt_reserve_poseidon_hashes",
    "cnt_reserve_sha256_hashes",
];

/// Notes the fields of two structs that differ, each under its name in the response.
macro_rules! compare {
    ($found:ident, $a:ident, $b:ident, $($field:ident: $name:literal),+ $(,)?) => {
        $(if $a.$field != $b.$field { $found.insert($name); })+
    };
}

/// Returns the names of the fields in which the two answers to a batch of this fork differ. Of counters and reservations that the
/// native engine has bounds for, those whose bound is below.
pub fn differences(native: &BatchOutput, rom: &BatchOutput, rules: &ForkRules) -> Vec<&'static str> {
    let mut found = Fields::new();
    let version = rules.api;
    compare!(found, native, rom, error: "error");
    if version == ApiVersion::V2 {
        compare!(found, native, rom, invalid_batch: "invalid_batch", error_rom: "error_rom");
        if sorted(&native.smt_keys) != sorted(&rom.smt_keys) {
            found.insert("smt_keys");
        }
        if sorted(&native.program_keys) != sorted(&rom.program_keys) {
            found.insert("program_keys");
        }
    }
    if shown_accounts(native, rules) != shown_accounts(rom, rules) {
        found.insert("read_write_addresses");
    }
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
    blocks(&native.blocks, &rom.blocks, &mut found);
    transactions(&native.transactions, &rom.transactions, version, &mut found);
    counters(native, rom, rules, &mut found);
    found.into_iter().collect()
}

/// True if the batch ran out of counters.
pub(super) fn ran_out(output: &BatchOutput) -> bool {
    let in_blocks = output.blocks.iter().flat_map(|block| &block.transactions);
    let mut errors = in_blocks.chain(&output.transactions).map(|tx| tx.error).chain([output.error_rom]);
    errors.any(RomError::is_out_of_counters)
}

fn sorted(keys: &[B256]) -> BTreeSet<B256> {
    keys.iter().copied().collect()
}

/// Returns the touched accounts as the response has them (executor-service §6.3).
fn shown_accounts<'a>(output: &'a BatchOutput, rules: &ForkRules) -> Cow<'a, BTreeMap<Address, TouchedAccount>> {
    if rules.touched_accounts_in_full {
        return Cow::Borrowed(&output.read_write_addresses);
    }
    let shown = output.read_write_addresses.iter().map(|(address, account)| {
        let TouchedAccount { nonce, balance, .. } = *account;
        (*address, TouchedAccount { nonce, balance, ..TouchedAccount::default() })
    });
    Cow::Owned(shown.collect())
}

fn counters(native: &BatchOutput, rom: &BatchOutput, rules: &ForkRules, found: &mut Fields) {
    // A batch that stopped elsewhere counted something else, and so does one that never ends.
    let is_complete = rom.error == ExecutorError::NoError && !ran_out(native) && !ran_out(rom);
    if !is_complete || native.error != rom.error || native.error_rom != rom.error_rom {
        return;
    }
    let pairs = |native: Counters, rom: Counters| native.to_array().into_iter().zip(rom.to_array());
    for (place, (ours, count)) in pairs(native.counters, rom.counters).enumerate() {
        if ours < count || (EXACT.contains(&place) && ours != count) {
            found.insert(COUNTERS[place]);
        }
    }
    if rules.api == ApiVersion::V2 {
        for (place, (bound, reserved)) in pairs(native.reserved, rom.reserved).enumerate() {
            if bound < reserved {
                found.insert(RESERVES[place]);
            }
        }
    }
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
        transactions(&a.transactions, &b.transactions, ApiVersion::V2, found);
    }
}

fn transactions(native: &[TxOutput], rom: &[TxOutput], version: ApiVersion, found: &mut Fields) {
    if native.len() != rom.len() {
        found.insert("responses");
    }
    for (a, b) in native.iter().zip(rom) {
        compare!(found, a, b,
            tx_hash: "responses.tx_hash",
            rlp_tx: "responses.rlp_tx",
            return_value: "responses.return_value",
            gas_left: "responses.gas_left",
            gas_used: "responses.gas_used",
            gas_refunded: "responses.gas_refunded",
            error: "responses.error",
            create_address: "responses.create_address",
            state_root: "responses.state_root",
            effective_gas_price: "responses.effective_gas_price",
            effective_percentage: "responses.effective_percentage",
            has_gasprice_opcode: "responses.has_gasprice_opcode",
            has_balance_opcode: "responses.has_balance_opcode",
        );
        if version == ApiVersion::V2 {
            compare!(found, a, b,
                tx_hash_l2: "responses.tx_hash_l2",
                cumulative_gas_used: "responses.cumulative_gas_used",
                status: "responses.status",
            );
        }
        logs(a, b, found);
        traces(a.full_trace.as_deref(), b.full_trace.as_deref(), version, found);
    }
}

fn logs(native: &TxOutput, rom: &TxOutput, found: &mut Fields) {
    let (a, b): (&[LogOutput], &[LogOutput]) = (&native.logs, &rom.logs);
    if a != b || (!a.is_empty() && native.tx_index != rom.tx_index) {
        found.insert("responses.logs");
    }
}

fn traces(native: Option<&FullTrace>, rom: Option<&FullTrace>, version: ApiVersion, found: &mut Fields) {
    let (Some(a), Some(b)) = (native, rom) else {
        if native.is_some() != rom.is_some() {
            found.insert("responses.full_trace");
        }
        return;
    };
    if shown_context(&a.context, version) != shown_context(&b.context, version) {
        found.insert("responses.full_trace.context");
    }
    if step_hashes(a) != step_hashes(b) {
        found.insert("responses.full_trace.steps");
    }
}

/// Returns the context as the response has it (executor-service §8.2).
fn shown_context(context: &TraceContext, version: ApiVersion) -> TraceContext {
    match version {
        ApiVersion::V1 => TraceContext { tx_index: 0, chain_id: 0, ..context.clone() },
        ApiVersion::V2 => context.clone(),
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
    use alloy_primitives::U256;
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
        for (fork, reserves) in [(6, vec![]), (9, vec!["cnt_reserve_keccak_hashes"])] {
            let rules = ForkId::new(fork).unwrap().rules();
            let native = answer(fork);
            let mut rom = native.clone();
            rom.counters.steps -= 1;
            rom.reserved.keccaks -= 1;
            rom.phases = Default::default();
            assert_eq!(differences(&native, &rom, rules), [""; 0]);
            rom.counters.steps += 2;
            rom.gas_used += 1;
            rom.reserved.keccaks += 2;
            let list = transactions_of(&mut rom);
            list[1].logs[0].index += 7;
            let expected = [reserves, vec!["cnt_steps", "gas_used", "responses.logs"]].concat();
            assert_eq!(differences(&native, &rom, rules), expected);
            rom.counters.poseidons -= 1;
            assert!(differences(&native, &rom, rules).contains(&"cnt_poseidon_hashes"));
            transactions_of(&mut rom)[0].error = RomError::OutOfCountersStep;
            assert!(!differences(&native, &rom, rules).contains(&"cnt_poseidon_hashes"), "it stopped elsewhere");
            let list = transactions_of(&mut rom);
            list.pop();
            rom.roots = None;
            let found = differences(&native, &rom, rules);
            assert!(found.contains(&"responses") && found.contains(&"new_state_root"), "{found:?}");
        }
    }

    #[test]
    fn what_is_not_sent_is_no_difference() {
        for (fork, expected) in [(6, vec![]), (7, vec!["error_rom", "program_keys", "responses.status"])] {
            let native = answer(fork);
            let mut rom = native.clone();
            rom.error_rom = RomError::InvalidRlp;
            rom.program_keys.push(B256::repeat_byte(7));
            let list = transactions_of(&mut rom);
            list[0].status = !list[0].status;
            let account = rom.read_write_addresses.values_mut().next().unwrap();
            account.code_length = Some(U256::from(7));
            assert_eq!(differences(&native, &rom, ForkId::new(fork).unwrap().rules()), expected, "fork {fork}");
            let account = rom.read_write_addresses.values_mut().next().unwrap();
            account.nonce = Some(U256::from(7));
            let found = differences(&native, &rom, ForkId::new(fork).unwrap().rules());
            assert!(found.contains(&"read_write_addresses"), "fork {fork}");
        }
    }
}
