//! Full traces: what the original's tracer makes of failing calls and creates, and of earlier transactions
//! (executor-service §8).

use revm::bytecode::opcode;
use revm::primitives::{Address, Bytes, U256};
use zkevm_testkit::sample::genesis::GenesisAccount;
use zkevm_testkit::sample::{BatchBuilder, Transfer};
use zkevm_types::RomError;
use zkevm_types::{BatchInput, TraceConfig};
use zkevm_types::{FrameKind, TraceStep, TxOutput};

use super::support::{
    A, ALL, B, CHAIN_ID, CODE_OF_D, D, R, State, V2, bytes, ether, fork, request, sender, transactions,
};

/// One transaction of a batch: nonce, receiver (none deploys), data.
pub(crate) type Sent<'a> = (u64, Option<Address>, &'a str);

/// Runs a batch of one block and traces the transaction at `wanted`, memory and return data included.
pub(crate) fn run(
    fork_id: u64,
    codes: &[(Address, &str)],
    sent: &[Sent<'_>],
    wanted: usize,
    no_counters: bool,
) -> Vec<TxOutput> {
    let account =
        |&(address, code): &(Address, &str)| GenesisAccount { address, code: bytes(code), ..GenesisAccount::default() };
    let rich = GenesisAccount { address: sender().address(), balance: ether(1), ..GenesisAccount::default() };
    let state = State::new(codes.iter().map(account).chain([rich]).collect());
    let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
    batch.block(1, 0);
    for &(nonce, to, data) in sent {
        let data = bytes(data);
        let gas_price = U256::from(1);
        batch.transaction(&sender(), &Transfer { nonce, gas_price, gas_limit: 1_000_000, to, value: U256::ZERO, data });
    }
    let plain = BatchInput { no_counters, ..request(fork_id, state.root, batch.finish()) };
    let tx_hash = transactions(&state.run(&plain))[wanted].tx_hash;
    let tx_hash = tx_hash.0.into();
    let config = TraceConfig { enable_memory: true, enable_return_data: true, tx_hash, ..TraceConfig::default() };
    let output = state.run(&BatchInput { trace: Some(config), ..plain });
    transactions(&output).into_iter().cloned().collect()
}

/// The steps of a call of A, the only transaction.
fn steps(fork_id: u64, codes: &[(Address, &str)]) -> Vec<TraceStep> {
    steps_of(&run(fork_id, codes, &[(0, Some(A), "")], 0, false)[0])
}

fn steps_of(tx: &TxOutput) -> Vec<TraceStep> {
    tx.full_trace.as_ref().expect("a trace").steps.to_vec()
}

fn find(steps: &[TraceStep], op: u8, depth: u32) -> &TraceStep {
    steps.iter().find(|step| (step.op, step.depth) == (op, depth)).expect("such a step")
}

/// Code that calls `to` with this opcode, gas and value, and nothing else.
fn call(op: u8, gas: u32, to: Address, value: u8) -> String {
    let value = match op {
        opcode::CALL | opcode::CALLCODE => format!("60{value:02x}"),
        _ => String::new(),
    };
    format!("6000600060006000{value}73{}63{gas:08x}{op:02x}", hex::encode(to))
}

/// Code that creates a contract whose code is this byte; the init code is written to memory first.
fn create_of(byte: u8) -> String {
    format!("6960{byte:02x}60005360016000f3600052600a60166000f0")
}

#[test]
fn an_opcode_without_a_next_step_costs_what_the_original_s_table_says() {
    for &fork_id in ALL {
        for (code, op, cost) in [("a0", 0xa0, 375), ("a4", 0xa4, 1_875), ("5c", 0xfe, 0), ("5e", 0xfe, 0)] {
            let steps = steps(fork_id, &[(A, code)]);
            assert_eq!((steps[0].op, steps[0].gas_cost), (op, cost), "fork {fork_id}, {code}");
        }
    }
}

#[test]
fn a_create_that_cannot_pay_is_priced_by_the_gas_last_asked_for() {
    let b = call(opcode::CALL, 1_000, R, 0) + "600060006000f0";
    for &fork_id in ALL {
        let steps = steps(fork_id, &[(A, &call(opcode::CALL, 30_000, B, 0)), (B, &b)]);
        let failed = find(&steps, opcode::CREATE, 2);
        assert_eq!(failed.error, RomError::OutOfGas, "fork {fork_id}");
        assert_eq!(failed.gas_cost, failed.gas - 1_000, "fork {fork_id}");
    }
}

#[test]
fn a_create_without_funds_costs_less_what_the_caller_of_its_frame_keeps() {
    // A keeps more than B has, so the difference is negative: the cost of the step before is shown.
    for &fork_id in ALL {
        let steps = steps(fork_id, &[(A, &call(opcode::CALL, 100_000, B, 0)), (B, "600060006001f0")]);
        let failed = find(&steps, opcode::CREATE, 2);
        assert_eq!((failed.error, failed.gas_cost), (RomError::NoError, 3), "fork {fork_id}");
        // In the outermost frame nobody keeps anything; from fork 7 the length of the RLP stands there.
        let steps = self::steps(fork_id, &[(A, "600060006001f0")]);
        let kept = if V2.contains(&fork_id) { 35 } else { 0 };
        assert_eq!(find(&steps, opcode::CREATE, 1).gas_cost, 32_000 - kept, "fork {fork_id}");
    }
}

#[test]
fn a_call_that_ends_its_frame_costs_less_what_the_caller_s_caller_keeps() {
    let codes = [
        (A, call(opcode::CALL, u32::MAX, B, 0)),
        (B, call(opcode::STATICCALL, u32::MAX, D, 0)),
        (D, call(opcode::CALL, 0, R, 1)),
    ];
    let codes = codes.each_ref().map(|(address, code)| (*address, code.as_str()));
    for &fork_id in ALL {
        let steps = steps(fork_id, &codes);
        let first = find(&steps, opcode::CALL, 1);
        let failed = find(&steps, opcode::CALL, 3);
        assert_eq!(failed.error, RomError::InvalidStatic, "fork {fork_id}");
        assert_eq!(failed.gas_cost, failed.gas - (first.gas - first.gas_cost), "fork {fork_id}");
    }
}

#[test]
fn a_stop_behind_a_cheap_create_is_left_out_of_init_code_only() {
    for &fork_id in ALL {
        let in_a_call = steps(fork_id, &[(A, "600060006000f0")]);
        assert_eq!(in_a_call.last().map(|step| step.op), Some(opcode::STOP), "fork {fork_id}");
        let deploy = |data| steps_of(&run(fork_id, &[], &[(0, None, data)], 0, false)[0]);
        let last = deploy("600060006000f0").last().map(|step| step.op);
        assert_eq!(last, Some(opcode::CREATE), "fork {fork_id}");
        assert!(deploy("00").is_empty(), "fork {fork_id}");
    }
}

#[test]
fn a_create_in_a_static_frame_asks_for_what_its_static_gas_left() {
    for &fork_id in ALL {
        let a = call(opcode::STATICCALL, 200_000, B, 0);
        let steps = steps(fork_id, &[(A, &a), (B, "600060006000f0")]);
        let last = steps.last().expect("a step");
        let asked = (last.depth, last.contract_kind, last.contract_gas);
        assert_eq!(asked, (1, FrameKind::Create, 200_000 - 9 - 32_000), "fork {fork_id}");
    }
}

#[test]
fn the_caller_follows_the_kind_the_frame_is_shown_with() {
    // D's create fails and ends its frame, after which B's, entered by DELEGATECALL, is shown as a create.
    let b = call(opcode::CALL, 100_000, D, 0);
    for &fork_id in ALL {
        let steps = steps(fork_id, &[(A, &call(opcode::DELEGATECALL, 200_000, B, 0)), (B, &b), (D, "f0")]);
        let before = find(&steps, opcode::CALL, 2);
        assert_eq!((before.contract_kind, before.contract_caller), (FrameKind::DelegateCall, A), "fork {fork_id}");
        let after = find(&steps, opcode::STOP, 2);
        let shown = (after.contract_kind, after.contract_caller);
        assert_eq!(shown, (FrameKind::Create, sender().address()), "fork {fork_id}");
    }
}

#[test]
fn every_create_shows_what_the_first_of_the_batch_returned() {
    let identity = "60006000600160006000730000000000000000000000000000000000000004 61ffff f1";
    let (a, b) = (create_of(0xaa), create_of(0xbb) + identity);
    for &fork_id in ALL {
        let codes = [(A, a.as_str()), (B, b.as_str())];
        let outputs = run(fork_id, &codes, &[(0, Some(A), ""), (1, Some(B), "")], 1, false);
        assert!(outputs[0].full_trace.is_none(), "fork {fork_id}");
        let steps = steps_of(&outputs[1]);
        let behind = |op| steps.iter().position(|step| step.op == op && step.depth == 1).map(|at| at + 1);
        let returned = |step: &TraceStep| step.return_data.clone();
        let back = steps.iter().skip(behind(opcode::CREATE).expect("a create")).find(|step| step.depth == 1);
        assert_eq!(back.map(returned), Some(bytes("aa")), "fork {fork_id}");
        // A precompile is no frame of its own: its output is shown behind the code.
        let last = &steps[behind(opcode::CALL).expect("a call")];
        assert_eq!(last.return_data.len(), 2, "fork {fork_id}");
        assert_eq!(last.return_data[0], 0xaa, "fork {fork_id}");
    }
}

#[test]
fn in_fork_4_the_next_transaction_goes_on_with_it() {
    let creates = create_of(0xaa);
    for (forks, returned) in [(&ALL[..1], "aa"), (&ALL[1..], "")] {
        for &fork_id in forks {
            let codes = [(A, creates.as_str()), (B, "5b5b")];
            let outputs = run(fork_id, &codes, &[(0, Some(A), ""), (1, Some(B), "")], 1, false);
            let shown: Vec<_> = steps_of(&outputs[1]).iter().map(|step| step.return_data.clone()).collect();
            assert_eq!(shown, [bytes(returned), bytes(returned), bytes(returned)], "fork {fork_id}");
            // ECRECOVER of nothing returns nothing: behind it the frame shows its own return data.
            let calls = "6000600060006000600060016161a8f1 5b";
            let outputs = run(fork_id, &[(A, &creates), (B, calls)], &[(0, Some(A), ""), (1, Some(B), "")], 1, false);
            let steps = steps_of(&outputs[1]);
            let [before, behind] = [0, steps.len() - 1].map(|at| steps[at].return_data.clone());
            assert_eq!((before, behind), (bytes(returned), Bytes::new()), "fork {fork_id}");
            // A transaction without a call in between changes nothing.
            let sent = [(0, Some(A), ""), (1, Some(D), ""), (2, Some(B), "")];
            let outputs = run(fork_id, &[(A, &creates), (B, "5b"), (D, CODE_OF_D)], &sent, 2, false);
            assert_eq!(steps_of(&outputs[2])[0].return_data, bytes(returned), "fork {fork_id}");
        }
    }
}

/// The ROM of fork 4 keeps the height of the stack, saved by CALLDATACOPY, where the gas kept by the outermost frame's caller
/// would stand.
#[test]
fn in_fork_4_a_copy_of_call_data_changes_the_price_of_a_create() {
    // 1 below what the copy takes; then a create of nothing.
    let code = "6001 600060006000 37 600060006000 f0";
    let cost = |fork_id| find(&steps(fork_id, &[(A, code)]), opcode::CREATE, 1).gas_cost;
    assert_eq!((cost(4), cost(5), cost(6)), (32_000 - 1, 32_000, 32_000));
}

#[test]
fn in_fork_4_a_copy_of_init_code_does_too() {
    // 1 below what the copy takes; then a create without funds.
    let code = "6001 600060006000 39 600060006001 f0";
    let cost = |fork_id| {
        let in_init_code = steps_of(&run(fork_id, &[], &[(0, None, code)], 0, false)[0]);
        let in_code = steps(fork_id, &[(A, code)]);
        [in_init_code, in_code].map(|steps| find(&steps, opcode::CREATE, 1).gas_cost)
    };
    assert_eq!(cost(4), [32_000 - 1, 32_000]);
    assert_eq!((cost(5), cost(6)), ([32_000; 2], [32_000; 2]));
}

/// A PUSH that the end of the code cuts off pushes the bytes there are as a number, and the program counter stays at the end. The
/// code of a create is read from memory, where zeros follow it.
#[test]
fn the_data_of_a_push_ends_with_the_code_but_for_creates() {
    let stop = |steps: &[TraceStep], depth| {
        let stop = find(steps, opcode::STOP, depth);
        (stop.pc, stop.stack.clone())
    };
    // Creates with the two bytes PUSH3 1, and with the byte PUSH3.
    let (creates, creates_bare) = ("6162016000526002601e6000f0", "60626000526001601f6000f0");
    for &fork_id in ALL {
        let short = (2, vec![U256::from(1)]);
        assert_eq!(stop(&steps(fork_id, &[(A, "6201")]), 1), short, "fork {fork_id}");
        let deployed = steps_of(&run(fork_id, &[], &[(0, None, "6201")], 0, false)[0]);
        assert_eq!(stop(&deployed, 1), short, "fork {fork_id}");
        let full = (4, vec![U256::from(0x1_0000)]);
        assert_eq!(stop(&steps(fork_id, &[(A, creates)]), 2), full, "fork {fork_id}");
        let bare = (1, vec![U256::ZERO]);
        assert_eq!(stop(&steps(fork_id, &[(A, creates_bare)]), 2), bare, "fork {fork_id}");
    }
}

#[test]
fn a_nonce_beyond_64_bits_is_part_of_the_roots_of_steps() {
    for &fork_id in V2 {
        let account = |address, nonce, code| GenesisAccount {
            address,
            nonce,
            code: bytes(code),
            balance: ether(1),
            ..GenesisAccount::default()
        };
        let state = State::new(vec![account(A, 0, "5b"), account(sender().address(), u64::MAX, "")]);
        let mut batch = BatchBuilder::new(fork(fork_id), CHAIN_ID);
        let call = Transfer {
            nonce: u64::MAX,
            gas_price: U256::ZERO,
            gas_limit: 100_000,
            to: Some(A),
            value: U256::ZERO,
            data: Bytes::new(),
        };
        batch.block(1, 0).transaction(&sender(), &call);
        let plain = request(fork_id, state.root, batch.finish());
        let tx_hash = transactions(&state.run(&plain))[0].tx_hash;
        let trace = Some(TraceConfig { tx_hash: tx_hash.0.into(), ..TraceConfig::default() });
        let output = state.run(&BatchInput { trace, ..plain });
        // Without a fee nothing changes but the nonce.
        let tx = transactions(&output)[0];
        assert_eq!(steps_of(tx)[0].state_root, tx.state_root, "fork {fork_id}");
    }
}

#[test]
fn init_code_shows_no_return_data_of_its_calls() {
    // Calls D, which returns a word, and stops.
    let init = call(opcode::CALL, 10_000, D, 0);
    let length = init.len() / 2;
    // Copies what follows these 15 bytes to memory and creates with it.
    let code = format!("60{length:02x}600f60003960{length:02x}60006000f000{init}");
    for &fork_id in ALL {
        let codes = [(A, code.as_str()), (D, super::support::CODE_OF_D)];
        let steps = steps(fork_id, &codes);
        let last_of_init = find(&steps, opcode::STOP, 2);
        assert_eq!(last_of_init.return_data, Bytes::new(), "fork {fork_id}");
        // A deploy transaction is not a create to the original.
        let deploy = run(fork_id, &codes, &[(0, None, &init)], 0, false);
        let steps = steps_of(&deploy[0]);
        assert_eq!(steps.last().map(|step| step.return_data.len()), Some(32), "fork {fork_id}");
    }
}

#[test]
fn a_request_without_counters_shows_errors_on_its_empty_steps() {
    for &fork_id in ALL {
        let steps = steps_of(&run(fork_id, &[(A, "6000fe")], &[(0, Some(A), "")], 0, true)[0]);
        let shown: Vec<_> = steps.iter().map(|step| (step.gas, step.error)).collect();
        assert_eq!(shown, [(0, RomError::NoError), (0, RomError::InvalidOpcode)], "fork {fork_id}");
        // Even the STOP that stands for "no code" is a step then.
        let steps = steps_of(&run(fork_id, &[], &[(0, Some(R), "")], 0, true)[0]);
        assert_eq!(steps.len(), 1, "fork {fork_id}");
    }
}

#[test]
fn fork_7_writes_the_trace_to_the_entry_that_takes_the_result() {
    // LOG1 of a word, in the second transaction; the first has a nonce too high and is skipped.
    let codes = [(A, "600160206000a1")];
    let sent = [(5, Some(R), ""), (0, Some(A), "")];
    let outputs = run(7, &codes, &sent, 0, false);
    let trace = outputs[0].full_trace.as_ref().expect("a trace");
    assert_eq!((trace.steps.len(), trace.context.to), (5, Some(R)));
    assert_eq!(trace.context.gas_used, outputs[0].gas_used);
    assert_eq!((outputs[0].logs.len(), outputs[1].logs.len()), (0, 1));
    let outputs = run(7, &codes, &sent, 1, false);
    assert!(outputs[0].full_trace.is_none());
    let trace = outputs[1].full_trace.as_ref().expect("a trace");
    assert_eq!((trace.steps.len(), trace.context.from), (0, None));
    for fork_id in [8, 9] {
        assert!(steps_of(&run(fork_id, &codes, &sent, 0, false)[0]).is_empty(), "fork {fork_id}");
        assert_eq!(steps_of(&run(fork_id, &codes, &sent, 1, false)[1]).len(), 5, "fork {fork_id}");
    }
}

/// The result of the transaction that runs goes to the entry of the one that was skipped, its address if that one deploys.
#[test]
fn fork_7_gives_an_address_to_the_entry_that_takes_the_result() {
    let deploy = (9, None, "00");
    let outputs = run(7, &[], &[deploy, (0, Some(R), "")], 1, false);
    assert_eq!([outputs[0].create_address, outputs[1].create_address], [Some(R), None]);
    let outputs = run(7, &[], &[deploy, (0, None, "00")], 1, false);
    assert_eq!([outputs[0].create_address, outputs[1].create_address], [Some(sender().address().create(0)), None]);
    let outputs = run(7, &[], &[(9, Some(R), ""), (0, None, "00")], 1, false);
    assert_eq!([outputs[0].create_address, outputs[1].create_address], [None, None]);
}

/// An error that is told before any opcode ran is the transaction's own and takes the place of what the entry has; that of an
/// opcode fills a gap only.
#[test]
fn fork_7_overwrites_an_error_by_one_told_before_any_opcode() {
    let skipped = (9, Some(R), "");
    // RIPEMD-160, which no fork runs.
    let outputs = run(7, &[], &[skipped, (0, Some(Address::with_last_byte(3)), "")], 1, false);
    assert_eq!(outputs[0].error, RomError::ExecutionReverted);
    let outputs = run(7, &[(A, "fe")], &[skipped, (0, Some(A), "")], 1, false);
    assert_eq!(outputs[0].error, RomError::IntrinsicInvalidNonce);
}

/// In a static frame a create is charged for and wants its operands first; a call wants its operands and then refuses
/// value before any gas (evm §8.2).
#[test]
fn the_static_flag_has_its_place_among_the_checks() {
    for &fork_id in ALL {
        for (code, gas, op, error) in [
            ("a0", 100_000, 0xa0, RomError::StackUnderflow),
            ("f0", 100_000, 0xf0, RomError::StackUnderflow),
            ("600060006000f0", 31_000, 0xf0, RomError::OutOfGas),
            ("600060006000f0", 40_000, 0xf0, RomError::InvalidStatic),
            ("600160006000f1", 100_000, 0xf1, RomError::StackUnderflow),
            ("6000600060006000600160006000f1", 50, 0xf1, RomError::InvalidStatic),
        ] {
            let steps = steps(fork_id, &[(A, &call(opcode::STATICCALL, gas, B, 0)), (B, code)]);
            assert_eq!(find(&steps, op, 2).error, error, "fork {fork_id}, {code} with {gas} gas");
        }
    }
}

/// From fork 8 on topics are paid for with the fixed gas, before the static flag is looked at.
#[test]
fn topics_are_paid_for_before_the_static_flag() {
    for &fork_id in ALL {
        let steps = steps(fork_id, &[(A, &call(opcode::STATICCALL, 500, B, 0)), (B, "600060006000a1")]);
        let charged = fork(fork_id).rules().logs_charge_topics_first;
        let error = if charged { RomError::OutOfGas } else { RomError::InvalidStatic };
        assert_eq!((charged, find(&steps, opcode::LOG1, 2).error), (fork_id >= 8, error), "fork {fork_id}");
    }
}

/// An SLOAD has read its slot when it finds that it cannot pay.
#[test]
fn an_sload_that_cannot_pay_shows_its_slot() {
    for &fork_id in ALL {
        let steps = steps(fork_id, &[(A, &call(opcode::CALL, 100, B, 0)), (B, "600154")]);
        let sload = find(&steps, opcode::SLOAD, 2);
        let slots: Vec<_> = sload.storage.keys().copied().collect();
        assert_eq!((sload.error, slots), (RomError::OutOfGas, vec![U256::from(1)]), "fork {fork_id}");
    }
}

/// Logs stay with their own entry, so its index does too when another result is written over the rest.
#[test]
fn fork_7_shows_logs_with_the_index_of_their_transaction() {
    let codes = [(A, "600160206000a1")];
    // Skipped; run as number 0 and listed second; run as number 1, its result listed second.
    let sent = [(5, Some(R), ""), (0, Some(A), ""), (1, Some(R), "")];
    let outputs = run(7, &codes, &sent, 0, false);
    assert_eq!((outputs[1].logs.len(), outputs[1].tx_index), (1, 0));
}

/// The original knows of a log without data and topics by its opcode alone, which it may pass over without counters.
#[test]
fn an_empty_log_is_shown_where_its_opcode_is_looked_at() {
    for &fork_id in V2 {
        let logs = |no_counters| {
            run(fork_id, &[(A, "60006000a0 60016000a0")], &[(0, Some(A), "")], 0, no_counters)[0]
                .logs
                .iter()
                .map(|log| log.index)
                .collect::<Vec<_>>()
        };
        let (counted, uncounted) = match fork_id {
            7 => (vec![0], vec![0]),
            8 | 9 => (vec![0, 1], vec![1]),
            _ => (vec![0, 1], vec![0, 1]),
        };
        assert_eq!((logs(false), logs(true)), (counted, uncounted), "fork {fork_id}");
    }
}

/// Without counters steps are empty, but for those of LOG0 in later forks (main-state-machine §9.6).
#[test]
fn an_uncounted_log0_is_shown_in_full_from_fork_10_on() {
    // A byte is stored; B is called, which logs nothing; then a byte and a word are logged.
    let code = format!("607f600053 {} 50 6020600060016000a0a0", call(opcode::DELEGATECALL, 50_000, B, 0));
    let codes = [(A, code.as_str()), (B, "60ff604052 60006000a0")];
    for &fork_id in V2 {
        let output = &run(fork_id, &codes, &[(0, Some(A), "77")], 0, true)[0];
        let steps = steps_of(output);
        let shown: Vec<_> = steps.iter().filter(|step| **step != TraceStep::default()).collect();
        if fork_id < 10 {
            assert!(shown.is_empty(), "fork {fork_id}: {shown:?}");
            continue;
        }
        assert_eq!(shown.len(), 3, "fork {fork_id}: {shown:?}");
        let counted = steps_of(&run(fork_id, &codes, &[(0, Some(A), "77")], 0, false)[0]);
        let counted: Vec<_> = counted.iter().filter(|step| step.op == opcode::LOG0).collect();
        // Of the steps between them nothing is known: B's does not show how it was entered, its cost is that of the table, and
        // memory is compared with that of the LOG0 before.
        let plain = TraceStep { contract_kind: FrameKind::Call, contract_gas: 0, ..counted[0].clone() };
        let caller = sender().address();
        let (memory, memory_offset) = (vec![0xff], 95);
        let of_b = TraceStep { contract_caller: caller, gas_cost: 375, memory, memory_offset, ..plain };
        let memory = [vec![0x7f], vec![0; 31]].concat();
        let of_a = TraceStep { gas_cost: 375 + 8, memory, ..counted[1].clone() };
        let last = TraceStep { gas_cost: 375, ..counted[2].clone() };
        assert_eq!(shown, [&of_b, &of_a, &last], "fork {fork_id}");
    }
}
