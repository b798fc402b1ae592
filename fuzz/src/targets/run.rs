//! Whole batches: decoding, senders, EVM, trees, counters and the answer, on the sample state.

use std::sync::{Arc, LazyLock};

use prost::Message;
use revm::primitives::{Address, B256, Bytes, U256, keccak256};
use zkevm_batch::{BatchItem, Transaction, decode};
use zkevm_pool::{CancelToken, WorkerPool};
use zkevm_processor::{Engine, PrefixCache};
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::easm::assemble;
use zkevm_testkit::sample::workload::token_address;
use zkevm_testkit::sample::{Account, BatchBuilder, Kind, Transfer, Workload};
use zkevm_types::{AccountOverride, ApiVersion, BatchContext, BatchInput, BatchOutput};
use zkevm_types::{CountersPolicy, FlushIds, ForkId, L1InfoLeaf, PhaseTimes, TraceConfig};
use zkevm_wire::respond::{ResponseContext, response_v1, response_v2};

use super::{Target, kind_of, workload};

/// The head chooses fork, gas and options; the rest is `batch_l2_data`.
pub const TARGET: Target = Target {
    name: "run",
    run: target,
    seeds,
    dictionary: &[
        &[0x0b, 0, 0, 0, 1, 0, 0, 0, 0],
        &[0x0b, 0, 0, 0, 1, 0, 0, 0, 1],
        // Memory far away, storage, a hash of much, calls of all kinds, creates, logs, the end.
        &[0x63, 0xff, 0xff, 0xff, 0xff],
        &[0x60, 1, 0x60, 2, 0x55],
        &[0x62, 4, 0xff, 0xff, 0x60, 0, 0x20],
        &[0x60, 64, 0x60, 0, 0x60, 128, 0x60, 0, 0x60, 0, 0x60, 5, 0x5a, 0xf1],
        &[0x60, 32, 0x60, 0, 0x60, 128, 0x60, 0, 0x60, 2, 0x5a, 0xfa],
        &[0x60, 0, 0x60, 0, 0x60, 32, 0x60, 0, 0x30, 0x5a, 0xf4],
        &[0x60, 32, 0x60, 0, 0x60, 0, 0xf0],
        &[0x60, 7, 0x60, 32, 0x60, 0, 0x60, 0, 0xf5],
        &[0x60, 1, 0x60, 32, 0x60, 0, 0xa1],
        &[0x60, 0, 0x35, 0x56, 0x5b],
        &[0x3d, 0x60, 0, 0x60, 0, 0x3e],
        &[0x33, 0xff],
        &[0xf8, 0xff],
        &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ],
    input_bytes_max: HEAD_BYTES + (2 << 10),
    memory_bytes_max: 64 << 20,
};

/// Fork, two bytes of options, gas.
const HEAD_BYTES: usize = 4;
const FORKS_FIRST: u64 = 4;
const FORKS: u64 = 10;
/// Gas of a block: some of it, so that an input is short whatever it does.
const GAS_LEAST: u64 = 22_000;
const GAS_STEP: u64 = 1_500;
/// Gas that the transactions of an input may ask for together: what takes longer than the driver allows is no bug.
const GAS_MAX: u64 = 2_000_000;
const PREFIX_BYTES: usize = 4 << 20;
const CHAIN_ID: u64 = 1001;
/// Leaf of the L1 info tree that batches may name.
const LEAF_INDEX: u32 = 1;

/// State and engine that the inputs share.
struct Bench {
    state: MemoryStore,
    root: B256,
    workload: Arc<Workload>,
    sender: Address,
    /// Remembers senders, keys and beginnings of batches.
    engine: Engine,
}

static BENCH: LazyLock<Bench> = LazyLock::new(|| {
    let workload = Arc::new(workload(9));
    let genesis = workload.genesis().build().expect("the sample state is a tree");
    let state = MemoryStore::new(0);
    genesis.write_to(&state).expect("the store has room");
    let sender = workload.chain(0, B256::ZERO).senders().next().expect("the sample has accounts");
    let engine = Engine::new(WorkerPool::none()).with_prefixes(PrefixCache::new(PREFIX_BYTES));
    Bench { state, root: genesis.root.to_b256(), workload, sender, engine }
});

/// Runs the batch on an engine that remembers what ran before, and on one that knows nothing. Their answers must be the same,
/// to the byte.
pub fn target(data: &[u8]) -> u64 {
    let Some((&head, data)) = data.split_first_chunk::<HEAD_BYTES>() else { return 0 };
    let bench = &*BENCH;
    let Some(input) = batch(bench, head, data) else { return 0 };
    let run = |engine: &Engine| {
        engine.process(&input, &bench.state, &CancelToken::default()).expect("nobody cancels the batch")
    };
    let (first, again) = (run(&bench.engine), run(&Engine::new(WorkerPool::none())));
    let kind = kind(&input, &first);
    for output in [&first, &again] {
        assert_eq!(output.reserved.max(output.counters), output.reserved, "counters above what is reserved for them");
        assert!(output.roots.is_some() || output.new_nodes.is_empty(), "an aborted batch leaves nodes");
    }
    let (first, again) = (comparable(&input, first), comparable(&input, again));
    assert!(first == again, "run again, the batch has another answer:\n{first:?}\n{again:?}");
    kind
}

/// Returns what an answer says: as sent, and as kept.
fn comparable(input: &BatchInput, mut output: BatchOutput) -> (Vec<u8>, String) {
    output.phases = PhaseTimes::default();
    output.new_nodes.sort_unstable();
    output.new_programs.sort_unstable();
    let kept = format!("{:?} {:?} {:?}", output.new_nodes, output.new_programs, output.model_counters);
    let context = ResponseContext::new(input, "fuzz".into());
    let sent = match input.context {
        BatchContext::V1 { .. } => response_v1(output, &context, FlushIds::default()).encode_to_vec(),
        BatchContext::V2(_) => response_v2(output, &context, FlushIds::default()).encode_to_vec(),
    };
    (sent, kept)
}

fn kind(input: &BatchInput, output: &BatchOutput) -> u64 {
    let blocks = output.blocks.iter().flat_map(|block| &block.transactions);
    let txs: Vec<_> = output.transactions.iter().chain(blocks).take(3).map(|tx| tx.error.number()).collect();
    let counters = output.counters.to_array().map(|counter| counter.checked_ilog2().unwrap_or(0) / 4);
    kind_of(&(input.fork_id.get(), output.error.number(), output.error_rom.number(), txs, counters))
}

/// Returns the batch that the bytes stand for, unless it asks for too much gas.
fn batch(bench: &Bench, [fork, first, second, gas]: [u8; HEAD_BYTES], data: &[u8]) -> Option<BatchInput> {
    let fork_id = ForkId::new(FORKS_FIRST + u64::from(fork) % FORKS).or(ForkId::new(FORKS_FIRST));
    let fork_id = fork_id.expect("the first fork is known");
    let first = |bit: u32| first >> bit & 1 != 0;
    let second = |bit: u32| second >> bit & 1 != 0;
    let context = match fork_id.rules().api {
        ApiVersion::V1 => {
            BatchContext::V1 { global_exit_root: B256::repeat_byte(u8::from(second(0))), eth_timestamp: 9 }
        }
        ApiVersion::V2 => BatchContext::V2(zkevm_types::V2Context {
            l1_info_root: B256::repeat_byte(3),
            timestamp_limit: if second(1) { 3 } else { u64::from(u32::MAX) },
            forced_blockhash_l1: B256::repeat_byte(u8::from(second(2) && second(3))),
            skip_verify_l1_info_root: !second(4),
            skip_first_change_l2_block: second(5),
            skip_write_block_info_root: second(6),
            l1_info_tree_data: [(LEAF_INDEX, leaf())].into(),
        }),
    };
    let data = Bytes::copy_from_slice(data);
    let empty = bench.workload.chain(0, bench.root).empty_batch();
    let transactions = transactions(fork_id, &data, &context);
    if transactions.iter().fold(0_u64, |sum, tx| sum.saturating_add(tx.gas_limit)) > GAS_MAX {
        return None;
    }
    let traced = transactions.first().filter(|_| first(5)).map(|tx| keccak256(tx.rlp()));
    Some(BatchInput {
        fork_id,
        batch_l2_data: data,
        from: first(0).then_some(bench.sender),
        no_counters: first(1),
        counters_policy: if first(2) { CountersPolicy::Report } else { CountersPolicy::Enforce },
        get_keys: first(3),
        update_merkle_tree: !first(4),
        trace: traced.map(|hash| TraceConfig {
            tx_hash: hash.0.into(),
            // The stack of every step makes answers of tens of megabytes, and two of them are compared.
            disable_stack: true,
            enable_memory: first(6),
            enable_return_data: first(7),
            ..TraceConfig::default()
        }),
        state_override: if second(7) { [(token_address(), replaced())].into() } else { Default::default() },
        block_gas_limit_max: GAS_LEAST + GAS_STEP * u64::from(gas),
        context,
        ..empty
    })
}

/// Returns the transactions; none if the batch does not decode.
fn transactions(fork: ForkId, data: &Bytes, context: &BatchContext) -> Vec<Transaction> {
    let (forced, skips_first) = match context {
        BatchContext::V2(context) => (context.is_forced(), context.skip_first_change_l2_block),
        BatchContext::V1 { .. } => (false, false),
    };
    let items = decode(data, fork.rules(), forced, forced || skips_first).unwrap_or_default();
    items.iter().filter_map(BatchItem::transaction).cloned().collect()
}

fn leaf() -> L1InfoLeaf {
    L1InfoLeaf { global_exit_root: B256::repeat_byte(4), min_timestamp: 1, ..L1InfoLeaf::default() }
}

/// The token with other code, which answers with its balance, and storage of its own.
fn replaced() -> AccountOverride {
    AccountOverride {
        balance: Some(U256::MAX),
        code: Some(Bytes::from_static(&[0x47, 0x60, 0, 0x52, 0x60, 1, 0x54, 0x60, 32, 0x60, 0, 0xf3])),
        state_diff: [(U256::from(1), U256::from(2))].into(),
        ..AccountOverride::default()
    }
}

/// Init codes: what a transaction that deploys runs.
const PROGRAMS: [&str; 6] = [
    "push 7 push 1 sstore push 1 sload push 0 mstore push 0x20 push 0 log0 push 32 push 0 return",
    // A contract that calls itself.
    "push 0x600035ff push 0 mstore push 4 push 28 push 0 create dup1 push 0 push 0 push 0 push 0 push 0 push 0 dup7 gas call",
    // Identity, SHA-256, MODEXP, and the first three precompiles of curves.
    "push 9 push 31 mstore push 64 push 0 push 200 push 0 push 4 gas staticcall push 32 push 0 push 200 push 0 push 2 gas
     staticcall push 1 push 0 mstore push 1 push 32 mstore push 1 push 64 mstore push 99 push 0 push 99 push 0 push 5 gas
     staticcall push 64 push 0 push 128 push 0 push 6 gas staticcall push 64 push 0 push 96 push 0 push 7 gas staticcall
     push 32 push 0 push 0 push 0 push 8 gas staticcall returndatasize push 0 push 0 returndatacopy",
    // Hashes in a circle.
    "again: push 0x400 push 0 keccak256 pop push @again jump",
    "push 3 push 32 push 0 push 0 create2 extcodehash push 0 mstore caller selfdestruct",
    "push 1 push 2 addmod push 5 push 3 exp push 7 sdiv push 2 signextend byte not push 0 mstore push 32 push 0 revert",
];

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let sender = Account::named("account 0");
    assert_eq!(sender.address(), BENCH.sender, "the account that deploys has money");
    for (number, fork) in (FORKS_FIRST..FORKS_FIRST + FORKS).enumerate() {
        let Some(fork_id) = ForkId::new(fork) else { continue };
        let head = |options: [u8; 2]| [number as u8, options[0], options[1], 100];
        let workload = Arc::new(workload(fork));
        let mut chain = workload.chain(0, BENCH.root);
        let mut batch = |kind, count| chain.next_batch(kind, count).batch_l2_data;
        let signed = [batch(Kind::Transfers, 1), batch(Kind::TokenTransfers, 1), batch(Kind::Mints, 1)];
        seeds.push([&head([0, 0])[..], &signed.concat()].concat());
        seeds.push([&head([0b1110_1000, 0b1000_0000])[..], &signed[1]].concat());
        for (nonce, program) in (0..).zip(PROGRAMS) {
            let mut builder = BatchBuilder::new(fork_id, CHAIN_ID);
            let deploy = Transfer {
                nonce: 0,
                gas_price: U256::ZERO,
                gas_limit: 100_000,
                to: None,
                value: U256::from(nonce),
                data: assemble(program).expect("the programs assemble"),
            };
            builder.block(1, LEAF_INDEX).transaction(&sender, &deploy);
            let data = builder.finish();
            // Without a signature, mutations of the program leave the sender.
            seeds.push([&head([1, 0])[..], &data].concat());
            seeds.push([&head([0b1110_0001, 0])[..], &data].concat());
        }
    }
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_run_their_transactions() {
        for seed in seeds() {
            let (&head, data) = seed.split_first_chunk::<HEAD_BYTES>().unwrap();
            let input = batch(&BENCH, head, data).unwrap();
            let output = BENCH.engine.process(&input, &BENCH.state, &CancelToken::default()).unwrap();
            assert!(output.roots.is_some() && output.gas_used > 21_000, "{head:?}: {output:?}");
            target(&seed);
        }
    }
}
