//! A batch whose senders are recovered while it runs answers as one whose senders are all known before its first transaction
//! runs, as they are under policy `enforce`.

use revm::primitives::{Bytes, U256};
use zkevm_pool::WorkerPool;
use zkevm_processor::Engine;
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{Account, BatchBuilder, Transfer};
use zkevm_types::PhaseTimes;
use zkevm_types::{BatchInput, CountersPolicy};
use zkevm_types::{BatchOutput, ExecutorError, RomError};

use super::support::{A, ALL, CHAIN_ID, R, State, V2, bytes, ether, fork, request, sender, transactions, v2};

const TRANSACTIONS: u64 = 150;
/// Where the second block opens.
const SECOND_BLOCK: u64 = 100;
/// Writes the first word of the call data into slot 0.
const STORES: &str = "6000 35 6000 55";

fn state() -> State {
    let rich = GenesisAccount { address: sender().address(), balance: ether(1), ..GenesisAccount::default() };
    let contract = GenesisAccount { address: A, code: bytes(STORES), ..GenesisAccount::default() };
    State::new(vec![rich, contract])
}

/// Transfers and calls in two blocks, among them some of a sender without funds and some that nobody signed.
fn batch_data(fork_id: u64, second_block: (u32, u32)) -> Bytes {
    let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
    let mut unsigned = Vec::new();
    batch.block(1, 0);
    for number in 0..TRANSACTIONS {
        if number == SECOND_BLOCK {
            batch.block(second_block.0, second_block.1);
        }
        let is_call = number % 7 == 3;
        let transfer = Transfer {
            nonce: number,
            gas_price: U256::from(1),
            gas_limit: if is_call { 60_000 } else { 21_000 },
            to: Some(if is_call { A } else { R }),
            value: U256::from(u64::from(!is_call)),
            data: if is_call { U256::from(number).to_be_bytes_vec().into() } else { Bytes::new() },
        };
        batch.transaction(&sender(), &transfer);
        if number % 20 == 9 {
            batch.transaction(&Account::numbered(1), &Transfer { nonce: 0, ..transfer });
            if number % 40 == 9 {
                unsigned.push(batch.size_bytes() - 1 - usize::from(fork(fork_id).rules().effective_percentage));
            }
        }
    }
    let mut data = batch.finish().to_vec();
    unsigned.into_iter().for_each(|v| data[v] = 29);
    data.into()
}

/// Runs the batch on a new state with senders not known yet. Returns its output and all that is said in it.
fn run(input: impl Fn(&State) -> BatchInput, counters_policy: CountersPolicy) -> (BatchOutput, String) {
    let state = state();
    let input = BatchInput { counters_policy, ..input(&state) };
    let engine = Engine::new(WorkerPool::with_cores(2, 8));
    let output = BatchOutput { phases: PhaseTimes::default(), ..state.run_on(&engine, &input) };
    let said = format!("{output:#?}");
    (output, said)
}

fn run_both_ways(input: impl Fn(&State) -> BatchInput) -> BatchOutput {
    let [(in_parts, said), (_, expected)] =
        [CountersPolicy::Report, CountersPolicy::Enforce].map(|policy| run(&input, policy));
    assert!(said == expected, "in parts: {said}\n\nat once: {expected}");
    in_parts
}

#[test]
fn whole_batches() {
    for &fork_id in ALL {
        let output = run_both_ways(|state| request(fork_id, state.root, batch_data(fork_id, (1, 0))));
        let errors: Vec<RomError> = transactions(&output).iter().map(|tx| tx.error).collect();
        assert_eq!(errors.len(), 158, "fork {fork_id}");
        let count = |error| errors.iter().filter(|&&found| found == error).count();
        assert_eq!(count(RomError::IntrinsicInvalidSignature), 4, "fork {fork_id}");
        assert_eq!(count(RomError::IntrinsicInvalidBalance), 4, "fork {fork_id}");
        assert_eq!(count(RomError::NoError), 150, "fork {fork_id}");
    }
}

/// What does not run any more was decoded all the same.
#[test]
fn batches_that_stop_in_the_middle() {
    for &fork_id in V2 {
        let invalid = run_both_ways(|state| {
            let mut input = request(fork_id, state.root, batch_data(fork_id, (5_000, 0)));
            v2(&mut input).timestamp_limit = 1_000;
            input
        });
        assert_eq!(invalid.error_rom, RomError::InvalidTxChangeL2BlockLimitTimestamp, "fork {fork_id}");
        let all = run_both_ways(|state| request(fork_id, state.root, batch_data(fork_id, (1, 0))));
        assert!(invalid.counters.keccaks > 150 * 2 && invalid.counters.steps < all.counters.steps);

        let aborted = run_both_ways(|state| request(fork_id, state.root, batch_data(fork_id, (1, 7))));
        assert_eq!(aborted.error, ExecutorError::InvalidL1InfoTreeIndex, "fork {fork_id}");
    }
}
