//! What a node expects of an executor for calls, estimates and its pool: the errors of a contract whose functions run out of each
//! counter, from a server with ROM files. The requests are made as zkevm-node makes them: unsigned, a block with one transaction.
//!
//! Needs ROM files: the folder of `ZKEVM_ROMS`.

use std::path::PathBuf;

use revm::primitives::{Address, Bytes, U256, address};
use zkevm_executor::config::EngineKind;
use zkevm_executor::server::Server;
use zkevm_rom::Roms;
use zkevm_testkit::sample::genesis::{GenesisAccount, GenesisState};
use zkevm_testkit::sample::{Account, BatchBuilder, Genesis, Transfer};
use zkevm_testkit::skip;
use zkevm_types::{
    BatchContext, BatchInput, Counters, CountersPolicy, ExecutorError, ForkId, RomError, StateSource, V2Context,
};
use zkevm_wire::proto::executor::v1 as wire;

use crate::engine::{Answer, connect, send};
use crate::support::config;

const CHAIN_ID: u64 = 1000;
/// The gas that the node gives a call that names none.
const GAS: u64 = 30_000_000;
/// Writes to a slot for ever.
const POSEIDONS: (Address, &str) = (address!("1000000000000000000000000000000000000001"), "60005b80600055600101600256");
/// Digests 1 000 000 bytes.
const KECCAKS: (Address, &str) = (address!("1000000000000000000000000000000000000002"), "620f4240600020600052");
/// Writes to memory for ever.
const STEPS: (Address, &str) = (address!("1000000000000000000000000000000000000003"), "5b6104d2600052600056");

fn sender() -> Account {
    Account::named("out of counters")
}

fn genesis() -> GenesisState {
    let rich = GenesisAccount {
        address: sender().address(),
        balance: U256::from(10).pow(U256::from(18)),
        ..GenesisAccount::default()
    };
    let contract = |(address, code): (Address, &str)| GenesisAccount {
        address,
        nonce: 1,
        code: hex::decode(code).unwrap().into(),
        ..GenesisAccount::default()
    };
    Genesis { accounts: vec![rich, contract(POSEIDONS), contract(KECCAKS), contract(STEPS)] }.build().unwrap()
}

fn request(genesis: &GenesisState, fork: u64, to: Address, gas_limit: u64, no_counters: bool) -> BatchInput {
    let fork_id = ForkId::new(fork).unwrap();
    let mut batch = BatchBuilder::new(fork_id, CHAIN_ID);
    batch.block(1, 0);
    let transfer =
        Transfer { nonce: 0, gas_price: U256::ZERO, gas_limit, to: Some(to), value: U256::ZERO, data: Bytes::new() };
    batch.transaction(&sender(), &transfer);
    BatchInput {
        fork_id,
        old_state_root: genesis.root.to_b256(),
        old_acc_input_hash: Default::default(),
        old_batch_num: 1,
        chain_id: CHAIN_ID,
        batch_l2_data: batch.finish(),
        coinbase: Address::repeat_byte(7),
        from: Some(sender().address()),
        update_merkle_tree: false,
        no_counters,
        counters_policy: CountersPolicy::Enforce,
        get_keys: false,
        context: BatchContext::V2(V2Context {
            timestamp_limit: u64::from(u32::MAX),
            skip_verify_l1_info_root: true,
            skip_write_block_info_root: true,
            ..V2Context::default()
        }),
        db: genesis.nodes.iter().map(|(hash, node)| (*hash, node.into())).collect(),
        contracts_bytecode: genesis.programs.clone(),
        state_source: StateSource::Store,
        block_gas_limit_max: u64::MAX,
        state_override: Default::default(),
        trace: None,
    }
}

/// Returns the errors of the executor, of the batch and of the transaction, if there is one.
fn errors(answer: &wire::ProcessBatchResponseV2) -> (i32, i32, Option<i32>) {
    let transaction = answer.block_responses.first().and_then(|block| block.responses.first());
    (answer.error, answer.error_rom, transaction.map(|tx| tx.error))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_estimates_and_the_pool_get_the_verdicts_of_the_rom() {
    let Some(folder) = std::env::var_os("ZKEVM_ROMS").map(PathBuf::from) else {
        return skip::missing_data("no folder of ROM files (set ZKEVM_ROMS)");
    };
    let roms = Roms::read(&folder).unwrap();
    let genesis = genesis();
    let fine = ExecutorError::NoError.number();
    let none = RomError::NoError.number();
    for kind in [EngineKind::Native, EngineKind::Rom] {
        let mut config = config();
        config.engine.kind = kind;
        config.engine.rom_dir = Some(folder.clone());
        let server = Server::new(config).start().await.unwrap();
        let mut client = connect(&server).await;
        for fork in [7, 9] {
            let Some(program) = roms.program(fork) else { continue };
            let limits: Counters = program.planned_limits();
            let mut ask = async |to: (Address, &str), gas, no_counters| match send(
                &mut client,
                &request(&genesis, fork, to.0, gas, no_counters),
            )
            .await
            .unwrap()
            {
                Answer::V2(answer) => *answer,
                Answer::V1(_) => panic!("not V2"),
            };
            // eth_call.
            let answer = ask(STEPS, GAS, true).await;
            assert_eq!(answer.error, ExecutorError::CountersOverflowSteps.number(), "{kind:?}, fork {fork}");
            let answer = ask(KECCAKS, GAS, true).await;
            let expected = (fine, RomError::OutOfCountersKeccak.number(), None);
            assert_eq!(errors(&answer), expected, "{kind:?}, fork {fork}");
            // eth_estimateGas, zkevm_estimateCounters, and what the pool tries.
            let answer = ask(POSEIDONS, GAS, false).await;
            let expected = (fine, RomError::OutOfCountersPoseidon.number(), None);
            assert_eq!(errors(&answer), expected, "{kind:?}, fork {fork}");
            assert!(u64::from(answer.cnt_poseidon_hashes) > limits.poseidons, "{kind:?}, fork {fork}");
            let answer = ask(POSEIDONS, 50_000, false).await;
            let expected = (fine, none, Some(RomError::OutOfGas.number()));
            assert_eq!(errors(&answer), expected, "{kind:?}, fork {fork}");
            let answer = ask((Address::with_last_byte(1), ""), GAS, false).await;
            assert_eq!(errors(&answer), (fine, none, Some(none)), "{kind:?}, fork {fork}");
            assert!(u64::from(answer.cnt_steps) <= limits.steps, "{kind:?}, fork {fork}");
        }
        server.shutdown().await;
    }
}
