//! A state that is not all there, as a witness brings it: what the ROM does not read may be missing (later-forks §8.7).

use std::collections::HashSet;
use std::sync::Mutex;

use revm::primitives::{Address, Bytes, U256};
use zkevm_pool::CancelToken;
use zkevm_processor::Engine;
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{BatchBuilder, Transfer};
use zkevm_tree::{Digest, LeafKind, NodeData, StateReader, StateTree, StoreError, account_key, linear_hash};
use zkevm_types::{BatchInput, BatchOutput, ExecutorError, RomError};

use super::support::{A, B, CHAIN_ID, State, V2, bytes, ether, fork, new_root, request, same, sender, transactions};

/// The code of B, which is longer than what stands for it when it is not there.
const CODE_OF_B: &str = "6007 6000 55 00";
const CODE_OF_B_BYTES: u64 = 6;

/// CALLCODE and CALL of B with more value than A has; both fail and run nothing.
const CALLCODE_WITHOUT_FUNDS: &str =
    "6000 6000 6000 6000 6001 73 3000000000000000000000000000000000000003 62020000 f2 50";
const CALL_WITHOUT_FUNDS: &str = "6000 6000 6000 6000 6001 73 3000000000000000000000000000000000000003 62020000 f1 50";
/// The rest of B that can be asked for.
const CODE_SIZE_TO_SLOT_1: &str = "73 3000000000000000000000000000000000000003 3b 6001 55";
const CALL: &str = "6000 6000 6000 6000 6000 73 3000000000000000000000000000000000000003 62020000 f1 50";
const STATICCALL: &str = "6000 6000 6000 6000 73 3000000000000000000000000000000000000003 62020000 fa 50";
const CODE_COPY: &str = "6001 6000 6000 73 3000000000000000000000000000000000000003 3c";
const CODE_HASH: &str = "73 3000000000000000000000000000000000000003 3f 50";

/// The precompile that returns its input.
const IDENTITY: Address = Address::with_last_byte(4);
const DELEGATECALL_OF_IDENTITY: &str = "6020 6000 6020 6000 6004 62020000 f4 6001 55";
const CALLCODE_OF_IDENTITY: &str = "6020 6000 6020 6000 6000 6004 62020000 f2 6001 55";

/// A part of a state, which remembers what is asked of it.
struct Part<'a> {
    whole: &'a dyn StateReader,
    hidden: HashSet<Digest>,
    asked: Mutex<HashSet<Digest>>,
}

impl<'a> Part<'a> {
    fn new(whole: &'a dyn StateReader, hidden: HashSet<Digest>) -> Self {
        Self { whole, hidden, asked: Mutex::default() }
    }

    fn shows(&self, hash: &Digest) -> bool {
        self.asked.lock().unwrap().insert(*hash);
        !self.hidden.contains(hash)
    }

    fn asked(self) -> HashSet<Digest> {
        self.asked.into_inner().unwrap()
    }
}

impl StateReader for Part<'_> {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        if self.shows(hash) { self.whole.node(hash) } else { Ok(None) }
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        if self.shows(hash) { self.whole.program(hash) } else { Ok(None) }
    }
}

fn state(code_of_a: &str) -> State {
    let account = |address, code| GenesisAccount { address, code: bytes(code), ..GenesisAccount::default() };
    let rich = GenesisAccount { address: sender().address(), balance: ether(1), ..GenesisAccount::default() };
    let b = GenesisAccount { balance: U256::from(5), ..account(B, CODE_OF_B) };
    // So that there is something to hide.
    let precompile = GenesisAccount { balance: U256::from(5), ..account(IDENTITY, "00") };
    State::new(vec![rich, account(A, code_of_a), b, precompile])
}

/// A batch with one call of `to`.
fn call(fork_id: u64, state: &State, to: Address) -> BatchInput {
    let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
    let transfer = Transfer {
        nonce: 0,
        gas_price: U256::from(1),
        gas_limit: 300_000,
        to: Some(to),
        value: U256::ZERO,
        data: Bytes::new(),
    };
    batch.block(1, 0).transaction(&sender(), &transfer);
    request(fork_id, state.root, batch.finish())
}

fn run(fork_id: u64, state: &State, part: &Part, to: Address) -> BatchOutput {
    Engine::default().process(&call(fork_id, state, to), part, &CancelToken::default()).expect("nothing cancels")
}

/// The program of B.
fn program_of_b() -> HashSet<Digest> {
    [linear_hash(&bytes(CODE_OF_B))].into()
}

/// Reads every leaf of an account.
fn walk(address: Address, state: &State, part: &Part) {
    for kind in [LeafKind::Balance, LeafKind::Nonce, LeafKind::CodeHash, LeafKind::CodeLength] {
        let mut tree = StateTree::new(part);
        let version = tree.open(state.root.into());
        tree.get(version, &account_key(address, kind)).expect("the state is there");
    }
}

/// The program of B, and the nodes that lead to nothing but leaves of an account.
fn all_of(address: Address, fork_id: u64, state: &State) -> HashSet<Digest> {
    let walked = Part::new(state.reader(), HashSet::new());
    walk(address, state, &walked);
    // What a batch reads that has nothing to do with it: a transaction to its own sender, and the contract.
    let others = Part::new(state.reader(), HashSet::new());
    run(fork_id, state, &others, sender().address());
    walk(A, state, &others);
    let others = others.asked();
    walked.asked().into_iter().filter(|hash| !others.contains(hash)).chain(program_of_b()).collect()
}

/// A call that its caller cannot pay loads nothing: neither the program, nor, with CALLCODE, any leaf of the receiver. Its
/// code can still be measured, whatever stands for it.
#[test]
fn a_call_without_funds_needs_no_code() {
    for &fork_id in V2 {
        for (name, code, hides_leaves) in [
            ("CALLCODE", CALLCODE_WITHOUT_FUNDS.to_owned(), true),
            ("CALLCODE", CALLCODE_WITHOUT_FUNDS.to_owned(), false),
            ("CALL", CALL_WITHOUT_FUNDS.to_owned(), false),
            ("CALL, EXTCODEHASH", [CALL_WITHOUT_FUNDS, CODE_HASH].concat(), false),
            ("CALL, EXTCODESIZE", [CALL_WITHOUT_FUNDS, CODE_SIZE_TO_SLOT_1].concat(), false),
        ] {
            let state = state(&code);
            let hidden = if hides_leaves { all_of(B, fork_id, &state) } else { program_of_b() };
            let what = format!("fork {fork_id}, {name}, {} hidden", hidden.len());
            let expected = run(fork_id, &state, &Part::new(state.reader(), HashSet::new()), A);
            same(&what, transactions(&expected)[0].error, RomError::NoError);
            let output = run(fork_id, &state, &Part::new(state.reader(), hidden), A);
            same(&what, new_root(&output), new_root(&expected));
            same(&what, &output.read_write_addresses, &expected.read_write_addresses);
        }
    }
}

/// Nobody looks at the account of a precompile that runs in the caller's place.
#[test]
fn a_precompile_needs_no_account() {
    for &fork_id in V2 {
        for (name, code) in [("DELEGATECALL", DELEGATECALL_OF_IDENTITY), ("CALLCODE", CALLCODE_OF_IDENTITY)] {
            let state = state(code);
            let hidden = all_of(IDENTITY, fork_id, &state);
            let what = format!("fork {fork_id}, {name}, {} hidden", hidden.len());
            let output = run(fork_id, &state, &Part::new(state.reader(), hidden), A);
            let expected = run(fork_id, &state, &Part::new(state.reader(), HashSet::new()), A);
            same(&what, new_root(&output), new_root(&expected));
        }
    }
}

#[test]
fn the_length_of_code_that_is_not_there_is_that_of_its_leaf() {
    let state = state(&[CALL_WITHOUT_FUNDS, CODE_SIZE_TO_SLOT_1].concat());
    let part = Part::new(state.reader(), program_of_b());
    let output = run(9, &state, &part, A);
    let length = output.read_write_addresses[&A].storage[&U256::from(1)];
    same("slot 1 of A", length, U256::from(CODE_OF_B_BYTES));
}

#[test]
fn code_that_is_loaded_must_be_there() {
    for &fork_id in V2 {
        for (name, code) in [
            ("CALL", CALL.to_owned()),
            ("STATICCALL", STATICCALL.to_owned()),
            ("EXTCODECOPY", CODE_COPY.to_owned()),
            ("CALL without funds, CALL", [CALL_WITHOUT_FUNDS, CALL].concat()),
            ("CALLCODE without funds, EXTCODECOPY", [CALLCODE_WITHOUT_FUNDS, CODE_COPY].concat()),
        ] {
            let state = state(&code);
            for hidden in [program_of_b(), all_of(B, fork_id, &state)] {
                let what = format!("fork {fork_id}, {name}, {} hidden", hidden.len());
                let output = run(fork_id, &state, &Part::new(state.reader(), hidden), A);
                same(&what, (output.error, output.roots), (ExecutorError::DbKeyNotFound, None));
                assert!(output.error_log.ends_with(" is missing"), "{what}: {}", output.error_log);
            }
        }
    }
}

/// Keys list the code that the ROM loads: that of B by an EXTCODECOPY which cannot pay for its memory, not by a call which its
/// caller cannot pay.
#[test]
fn keys_list_the_code_that_is_loaded() {
    let copies_too_much = format!("63ffffffff 6000 6000 73{} 3c", hex::encode(B));
    for &fork_id in V2 {
        for (code, listed) in [(CALL_WITHOUT_FUNDS, false), (CALLCODE_WITHOUT_FUNDS, false), (&copies_too_much, true)] {
            let state = state(code);
            let input = BatchInput { get_keys: true, ..call(fork_id, &state, A) };
            let keys = state.run(&input).program_keys;
            let [hash_of_b] = program_of_b().into_iter().collect::<Vec<_>>()[..] else { panic!("one program") };
            assert_eq!(keys.contains(&hash_of_b.to_b256()), listed, "fork {fork_id}, {code}");
        }
    }
}
