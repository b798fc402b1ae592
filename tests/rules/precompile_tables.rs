//! P256VERIFY and MODEXP of fork 13 against public tables (later-forks §4, §13).

use revm::primitives::{Address, Bytes, U256};
use serde_json::Value;
use zkevm_testkit::sample::easm::assemble;
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{BatchBuilder, Transfer};
use zkevm_testkit::skip;
use zkevm_types::{BatchInput, RomError};

use super::support::{A, CHAIN_ID, State, bytes, ether, fork, new_root, request, sender, transactions};

/// Fork that has both.
const FORK: u64 = 13;
/// Calls in one batch.
const CALLS_TOGETHER: usize = 40;

fn table(file: &str) -> Option<Vec<Value>> {
    let path = skip::vectors(&format!("later-forks/unit/{file}"))?;
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let entries: Vec<Value> = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
    assert!(!entries.is_empty(), "{file} has no entries");
    Some(entries)
}

fn field(entry: &Value, name: &str) -> Bytes {
    let text = entry[name].as_str().unwrap_or_else(|| panic!("no {name} in {entry}"));
    bytes(text.strip_prefix("0x").unwrap_or(text))
}

/// Sends each input to a precompile through a contract that returns what came back; returns that and the gas of the call.
fn answers(fork_id: u64, number: u16, inputs: &[Bytes]) -> Vec<(Bytes, u64)> {
    let code = assemble(&format!(
        "calldatasize push 0 push 0 calldatacopy gas
         push 0 push 0 calldatasize push 0 push {number} gas staticcall pop
         gas swap1 sub push 0 mstore
         returndatasize push 0 push 32 returndatacopy returndatasize push 32 add push 0 return"
    ));
    let code = code.expect("the code assembles");
    let accounts = vec![
        GenesisAccount { address: sender().address(), balance: ether(1000), ..GenesisAccount::default() },
        GenesisAccount { address: A, code, ..GenesisAccount::default() },
    ];
    let state = State::new(accounts);
    let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
    batch.block(1, 0);
    for (nonce, data) in (0..).zip(inputs) {
        let transfer = Transfer {
            nonce,
            gas_price: U256::from(1),
            gas_limit: 20_000_000,
            to: Some(A),
            value: U256::ZERO,
            data: data.clone(),
        };
        batch.transaction(&sender(), &transfer);
    }
    let input = BatchInput { no_counters: true, ..request(fork_id, state.root, batch.finish()) };
    let output = state.run(&input);
    new_root(&output).expect("the batch runs");
    let returned = |tx: &zkevm_types::TxOutput| {
        assert_eq!(tx.error, RomError::NoError);
        let (gas, data) = tx.return_value.split_at(32);
        // 100 for the call, the rest for what stands between the two readings of the gas.
        (Bytes::copy_from_slice(data), U256::from_be_slice(gas).to::<u64>() - 120)
    };
    transactions(&output).into_iter().map(returned).collect()
}

fn all_answers(number: u16, inputs: &[Bytes]) -> Vec<(Bytes, u64)> {
    inputs.chunks(CALLS_TOGETHER).flat_map(|inputs| answers(FORK, number, inputs)).collect()
}

#[test]
fn p256_verify_answers_as_the_tables_say() {
    let (Some(rom), Some(node)) = (table("p256verify/rom-p256verify.json"), table("p256verify/erigon-p256Verify.json"))
    else {
        return;
    };
    let expected = rom.iter().map(|entry| (field(entry, "input"), field(entry, "expectedOutput")));
    let expected = expected.chain(node.iter().map(|entry| (field(entry, "Input"), field(entry, "Expected"))));
    let (inputs, outputs): (Vec<_>, Vec<_>) = expected.unzip();
    for ((input, output), (answer, gas)) in inputs.iter().zip(outputs).zip(all_answers(0x100, &inputs)) {
        assert_eq!((answer, gas), (output, 3450), "{input}");
    }
}

#[test]
fn p256_verify_pads_and_cuts_its_input_and_exists_in_fork_13_only() {
    let Some(rom) = table("p256verify/rom-p256verify.json") else { return };
    let valid: Vec<Bytes> =
        rom.iter().filter(|entry| entry["valid"] == true).map(|entry| field(entry, "input")).take(3).collect();
    let one = Bytes::from(U256::ONE.to_be_bytes_vec());
    let longer: Vec<Bytes> = valid.iter().map(|input| [&input[..], &[0xff; 40]].concat().into()).collect();
    assert!(all_answers(0x100, &longer).iter().all(|(answer, gas)| (answer, *gas) == (&one, 3450)));
    // What is cut off reads as zeros.
    let shorter: Vec<Bytes> = valid.iter().map(|input| input.slice(..input.len() - 1)).collect();
    let padded: Vec<Bytes> = shorter.iter().map(|input| [&input[..], &[0]].concat().into()).collect();
    assert_eq!(all_answers(0x100, &shorter), all_answers(0x100, &padded));
    for (fork_id, cold_gas) in [(9, 2500), (12, 2500)] {
        assert_eq!(answers(fork_id, 0x100, &valid[..1]), [(Bytes::new(), cold_gas)], "fork {fork_id}");
    }
}

#[test]
fn modexp_answers_as_the_tables_say() {
    let (Some(rom), Some(node)) = (table("modexp/rom-modexp.json"), table("modexp/erigon-modexp_eip2565.json")) else {
        return;
    };
    let mut expected: Vec<_> = rom.iter().map(|entry| (field(entry, "input"), field(entry, "result"), None)).collect();
    expected.extend(node.iter().map(|entry| (field(entry, "Input"), field(entry, "Expected"), entry["Gas"].as_u64())));
    for (input, output, gas) in expected {
        // One request each: the results are those of an empty buffer (evm Q15).
        let answer = answers(FORK, 5, std::slice::from_ref(&input)).remove(0);
        assert_eq!(answer.0, output, "{input}");
        assert!(gas.is_none_or(|gas| gas == answer.1), "{gas:?}, not {}: {input}", answer.1);
    }
}

/// A call with value moves it and undoes that with the call; the address is warm from the start.
#[test]
fn p256_verify_is_a_precompile_like_the_others() {
    let address = Address::left_padding_from(&[1, 0]);
    let case = |name| super::support::Case::new(name).to(address).gas_limit(100_000);
    super::support::check(&[
        case("a transaction with an input that is none")
            .forks(&[13])
            .tx(|tx| tx.value = U256::from(7))
            .gas_is(24_450)
            .status_is(true)
            .balance_is(address, 7),
        case("without gas enough").forks(&[13]).gas_limit(24_449).gas_is(24_449).error_is(RomError::OutOfGas),
        case("an ordinary account before fork 13").forks(&[7, 8, 9, 10, 11, 12]).gas_is(21_000),
    ]);
}
