//! 10 000 damaged batches: the engine never panics, never hangs, and gives each the answer the specification names.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use revm::primitives::{B256, keccak256};
use zkevm_pool::CancelToken;
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::{BatchBuilder, Kind, Workload};
use zkevm_types::{ApiVersion, ForkId};
use zkevm_types::{BatchContext, BatchInput};
use zkevm_types::{BatchOutput, ExecutorError, RomError};

const MUTATIONS: usize = 10_000;
const FORKS: Range<u64> = 4..10;
const SEED: u64 = 0x7a6b_6576_6d21;
/// Bytes of a ChangeL2Block item.
const CHANGE_L2_BLOCK_BYTES: usize = 9;

/// SplitMix64: small, and the same numbers everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }
}

/// A valid batch of one fork with the state it runs on.
struct Base {
    input: BatchInput,
    state: MemoryStore,
}

impl Base {
    /// One block of transfers and one of token calls.
    fn new(fork: u64) -> Self {
        let workload = Arc::new(Workload::new(ForkId::new(fork).unwrap(), 1).unwrap());
        let genesis = workload.genesis().build().unwrap();
        let mut chain = workload.chain(0, genesis.root.to_b256());
        let mut input = chain.next_batch(Kind::Transfers, 2);
        let tokens = chain.next_batch(Kind::TokenTransfers, 1);
        input.batch_l2_data = [input.batch_l2_data.as_ref(), tokens.batch_l2_data.as_ref()].concat().into();
        let state = MemoryStore::new(0);
        genesis.write_to(&state).unwrap();
        Self { input, state }
    }
}

/// Damages a batch; returns what was done.
fn mutate(batch: &mut Vec<u8>, random: &mut Random) -> &'static str {
    let position = random.below(batch.len());
    match random.below(12) {
        0 | 1 => {
            batch[position] ^= 1 << random.below(8);
            "one bit flipped"
        }
        2 => {
            for _ in 0..1 + random.below(8) {
                let position = random.below(batch.len());
                batch[position] ^= 1 << random.below(8);
            }
            "some bits flipped"
        }
        3 => {
            batch.truncate(position);
            "cut off"
        }
        4 => {
            let count = 1 + random.below(16);
            batch.extend(std::iter::repeat_with(|| random.byte()).take(count));
            "bytes at the end"
        }
        5 => {
            batch.remove(position);
            "one byte left out"
        }
        6 => {
            batch.insert(position, random.byte());
            "one byte put in"
        }
        7 => {
            let end = (position + 1 + random.below(64)).min(batch.len());
            let copy = batch[position..end].to_vec();
            batch.splice(position..position, copy);
            "a piece twice"
        }
        8 => {
            let byte = random.below(CHANGE_L2_BLOCK_BYTES.min(batch.len()));
            batch[byte] = random.byte();
            "first item damaged"
        }
        9 => {
            let end = CHANGE_L2_BLOCK_BYTES.min(batch.len());
            batch.drain(..end);
            "first block item left out"
        }
        10 => {
            // The header of the first transaction's list, and the fields right behind it.
            let start = if batch[0] == 0x0b { CHANGE_L2_BLOCK_BYTES } else { 0 };
            let byte = (start + random.below(6)).min(batch.len() - 1);
            batch[byte] = [0x00, 0x7f, 0x80, 0x81, 0xb8, 0xbf, 0xc0, 0xf7, 0xf8, 0xfa, 0xfb, 0xff][random.below(12)];
            "header edited"
        }
        _ => {
            let count = 1 + random.below(300);
            *batch = std::iter::repeat_with(|| random.byte()).take(count).collect();
            "nothing but random bytes"
        }
    }
}

/// Checks the answer against the rules that hold for every batch (batch §3.3, §4, §10).
fn check(input: &BatchInput, output: &BatchOutput) -> Result<(), String> {
    let require = |holds: bool, rule: &str| if holds { Ok(()) } else { Err(rule.to_owned()) };
    match output.error {
        ExecutorError::NoError => {}
        // A damaged L1 info index points to an entry that nobody sent.
        ExecutorError::InvalidL1InfoTreeIndex => {
            return require(output.roots.is_none(), "an aborted batch has no roots");
        }
        error => return Err(format!("error {}", error.name())),
    }
    let roots = output.roots.ok_or("no roots without an error")?;
    require(roots.new_acc_input_hash == acc_input_hash(input), "the input hash covers the bytes as sent")?;
    match input.context {
        BatchContext::V1 { .. } => {
            let errors: Vec<RomError> = output.transactions.iter().map(|tx| tx.error).collect();
            require(output.blocks.is_empty() && !output.invalid_batch, "V1 has no blocks")?;
            // An absurd length in a list header runs out of keccaks before it is bad RLP (batch §3.1).
            if errors.iter().any(|error| matches!(error, RomError::InvalidRlp | RomError::OutOfCountersKeccak)) {
                require(errors.len() == 1, "an undecodable batch has one entry")?;
                return require(roots.new_state_root == input.old_state_root, "an undecodable batch changes nothing");
            }
            require(errors.iter().all(|error| !error.is_out_of_counters()), "no small batch is out of counters")
        }
        BatchContext::V2(_) => {
            require(output.transactions.is_empty(), "V2 lists transactions in blocks")?;
            if !output.invalid_batch {
                return require(output.error_rom == RomError::NoError, "a valid batch has no batch error");
            }
            let is_batch_error = (RomError::InvalidRlp.number()..=RomError::InvalidL1InfoTreeIndex.number())
                .contains(&output.error_rom.number())
                || output.error_rom == RomError::OutOfCountersKeccak;
            require(is_batch_error, "an invalid batch says why")?;
            require(roots.new_state_root == input.old_state_root, "an invalid batch changes nothing")
        }
    }
}

/// Written out here, from the formula, so that the engine is not compared with itself.
fn acc_input_hash(input: &BatchInput) -> B256 {
    let mut preimage = [input.old_acc_input_hash.as_slice(), keccak256(&input.batch_l2_data).as_slice()].concat();
    match &input.context {
        BatchContext::V1 { global_exit_root, eth_timestamp } => {
            preimage.extend_from_slice(global_exit_root.as_slice());
            preimage.extend_from_slice(&eth_timestamp.to_be_bytes());
            preimage.extend_from_slice(input.coinbase.as_slice());
        }
        BatchContext::V2(context) => {
            preimage.extend_from_slice(context.l1_info_root.as_slice());
            preimage.extend_from_slice(&context.timestamp_limit.to_be_bytes());
            preimage.extend_from_slice(input.coinbase.as_slice());
            preimage.extend_from_slice(context.forced_blockhash_l1.as_slice());
        }
    }
    keccak256(preimage)
}

/// Runs one mutation; an error tells how to see it again.
fn run(base: &Base, number: usize) -> Result<(), String> {
    let mut random = Random(SEED ^ (number as u64) << 20);
    let mut input = base.input.clone();
    let mut batch = input.batch_l2_data.to_vec();
    let done = mutate(&mut batch, &mut random);
    input.batch_l2_data = batch.into();
    let failed = |why: String| {
        format!(
            "mutation {number} (fork {}, {done}): {why}\n  batch_l2_data 0x{}",
            input.fork_id,
            hex::encode(&input.batch_l2_data)
        )
    };
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        zkevm_processor::Engine::default().process(&input, &base.state, &CancelToken::default())
    }));
    match outcome {
        Ok(Ok(output)) => check(&input, &output).map_err(failed),
        Ok(Err(cancelled)) => Err(failed(cancelled.to_string())),
        Err(_) => Err(failed("panic".to_owned())),
    }
}

#[test]
fn damaged_batches_get_the_answer_of_the_specification() {
    let bases: Vec<Base> = FORKS.map(Base::new).collect();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let work = || {
            let mut failures = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= MUTATIONS {
                    return failures;
                }
                failures.extend(run(&bases[number % bases.len()], number).err());
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("the worker catches panics")).collect()
    });
    let shown: Vec<&str> = failures.iter().take(10).map(String::as_str).collect();
    assert!(failures.is_empty(), "{} of {MUTATIONS} mutations:\n{}", failures.len(), shown.join("\n"));
}

#[test]
fn the_undamaged_batches_are_valid() {
    for fork in FORKS {
        let base = Base::new(fork);
        let output =
            zkevm_processor::Engine::default().process(&base.input, &base.state, &CancelToken::default()).unwrap();
        assert_eq!(output.error, ExecutorError::NoError, "fork {fork}: {}", output.error_log);
        let in_blocks = output.blocks.iter().flat_map(|block| &block.transactions);
        let transactions: Vec<_> = output.transactions.iter().chain(in_blocks).collect();
        assert_eq!(transactions.len(), 3, "fork {fork}");
        assert!(transactions.iter().all(|tx| tx.error == RomError::NoError), "fork {fork}: {transactions:?}");
        let has_blocks = base.input.fork_id.rules().api == ApiVersion::V2;
        assert_eq!(output.blocks.len(), if has_blocks { 2 } else { 0 }, "fork {fork}");
    }
}

#[test]
fn an_empty_batch_is_valid() {
    for fork in FORKS {
        let mut base = Base::new(fork);
        base.input.batch_l2_data = BatchBuilder::new(base.input.fork_id, base.input.chain_id).finish();
        let output =
            zkevm_processor::Engine::default().process(&base.input, &base.state, &CancelToken::default()).unwrap();
        let root = output.roots.expect("an empty batch has roots").new_state_root;
        assert_eq!(root, base.input.old_state_root, "fork {fork}");
    }
}
