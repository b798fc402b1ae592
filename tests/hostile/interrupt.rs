//! Work that is told to stop: how much of its thread's time it goes on for.
//!
//! A call may go on for 50 ms of processor time (`STOP_MAX`). The inputs are such as one request may bring; each is told to stop
//! at several moments.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use revm::primitives::{Bytes, U256};
use zkevm_executor::actors::state;
use zkevm_pool::CancelToken;
use zkevm_processor::Engine;
use zkevm_store::{MemoryLimits, StateStore};
use zkevm_testkit::sample::easm::assemble;
use zkevm_types::BatchInput;
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::validate;

use crate::support::{A, GAS_MAX, call_of, is_long, with_code};

/// Processor time a call may go on for.
const STOP_MAX: Duration = Duration::from_millis(50);
/// Processor time this thread and the clock of the system are off by.
const SLACK: Duration = Duration::from_millis(10);
/// Share of an allocation's pages and the like: what a test without a quiet machine must leave.
const SHARED_MACHINE: u32 = 2;

const LIMITS: MemoryLimits = MemoryLimits { volatile_bytes_max: 512 << 20, permanent_bytes_max: 512 << 20 };

/// Code that has `data` in memory, from 0 on, and then does the same again and again.
fn looping_over(data: &[u8], again: &str) -> Bytes {
    let source = |at: usize| {
        format!("push {}\npush 0x{at:08x}\npush 0\ncodecopy\nagain:\n{again}\npush @again\njump", data.len())
    };
    // A number of four bytes, whatever it is.
    let code = assemble(&source(0x1000_0000)).unwrap();
    let at = code.windows(4).position(|window| window == [0x10, 0, 0, 0]).unwrap();
    let mut code = code.to_vec();
    let end = code.len() as u32;
    code[at..at + 4].copy_from_slice(&end.to_be_bytes());
    code.extend_from_slice(data);
    code.into()
}

fn looping(again: &str) -> Bytes {
    assemble(&format!("again:\n{again}\npush @again\njump")).unwrap()
}

/// A call of a precompile with so many bytes of memory.
fn precompile(number: u8, bytes: usize) -> String {
    format!("push 0\npush 0\npush {bytes}\npush 0\npush {number}\ngas\nstaticcall\npop")
}

/// Pairs of the generators of bn254.
fn pairs(count: usize) -> Vec<u8> {
    let words = [
        "1",
        "2",
        "198e9393920d483a7260bfb731fb5d25f1aa493335a9e71297e485b7aef312c2",
        "1800deef121f1e76426a00665e5c4479674322d4f75edadd46debd5cd992f6ed",
        "90689d0585ff075ec9e99ad690c3395bc4b313370b38ef355acdadcd122975b",
        "12c85ea5db8c6deb4aab71808dcb408fe3d1e7690c43d37b4ce6cc0166fa7daa",
    ];
    words.map(|word| U256::from_str_radix(word, 16).unwrap().to_be_bytes::<32>()).concat().repeat(count)
}

/// The operands of a modular exponentiation of so many bytes each.
fn exponentiation(base: usize, exponent: usize, modulus: usize) -> Vec<u8> {
    let lengths = [base, exponent, modulus].map(|bytes| U256::from(bytes).to_be_bytes::<32>()).concat();
    [&lengths[..], &vec![0xfe; base], &vec![0xff; exponent], &vec![0xfd; modulus]].concat()
}

fn requests() -> Vec<(&'static str, wire::ProcessBatchRequestV2)> {
    let calls = |code: Bytes| with_code(call_of(3, GAS_MAX), A, code);
    let of_curve = |number: u8, data: &[u8]| calls(looping_over(data, &precompile(number, data.len())));
    let many = if is_long() { 700_000_u32 } else { 100_000 };
    let mut nodes = call_of(1, 30_000);
    nodes.db = (0..many).map(|key| (format!("{key:x}"), "0".repeat(192))).collect();
    let mut programs = call_of(1, 30_000);
    let bytes = if is_long() { 100 << 20 } else { 8 << 20 };
    programs.contracts_bytecode = [("1".to_owned(), "5b".repeat(bytes))].into();
    let mut slots = call_of(1, 30_000);
    let state = (0..many).map(|key| (format!("{key:064x}"), "1".to_owned())).collect();
    slots.state_override.insert(format!("{A:#x}"), wire::OverrideAccountV2 { state, ..Default::default() });
    vec![
        ("1 000 signatures", call_of(1000, 21_000)),
        ("KECCAK256 over 3.7 MB", calls(looping("push 3700000\npush 0\nkeccak256\npop"))),
        ("SHA-256 over 3.7 MB", calls(looping(&precompile(2, 3_700_000)))),
        ("identity over 3.7 MB", calls(looping(&precompile(4, 3_700_000)))),
        ("ECRECOVER", calls(looping(&precompile(1, 128)))),
        ("ECMUL", of_curve(7, &pairs(1)[..64])),
        ("pairing of 860", of_curve(8, &pairs(860))),
        ("MODEXP of 1 024 bytes", of_curve(5, &exponentiation(1024, 690, 1024))),
        ("MODEXP of 64 bytes", of_curve(5, &exponentiation(64, 1024, 64))),
        ("CREATE2 with 1 MB", calls(looping("push 1\npush 1000000\npush 0\npush 0\ncreate2\npop"))),
        ("CODECOPY of 3.7 MB", calls(looping("push 3700000\npush 0\npush 0\ncodecopy"))),
        ("EXTCODECOPY of 3.7 MB", calls(looping("push 3700000\npush 0\npush 0\naddress\nextcodecopy"))),
        ("fresh slots written", calls(assemble("push 0\nagain:\nnumber\ngas\nsstore\npush @again\njump").unwrap())),
        (
            "fresh slots read",
            calls(assemble("push 0\nagain:\ndup1\nsload\npop\npush 1\nadd\npush @again\njump").unwrap()),
        ),
        ("code of many MB in place", with_code(call_of(1, 100_000), A, vec![0x5b; bytes].into())),
        ("nodes of the request", nodes),
        ("a program of the request", programs),
        ("slots in place", slots),
    ]
}

/// The processor time of a thread of this process.
fn time_of(thread: i32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat")).unwrap_or_default();
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

/// Runs a batch and keeps its state, as an executor does.
fn run(input: &BatchInput, cancel: &CancelToken) {
    let store = StateStore::in_memory(LIMITS);
    if let Ok(mut output) = Engine::default().process(input, &state::reader(&store, input), cancel) {
        let _ = state::persist(&store, input, &mut output, cancel);
    }
}

/// Returns the processor time that a batch goes on for when it is told to stop after `wait`; `None` if it had ended by then.
fn goes_on_for(input: &Arc<BatchInput>, wait: Duration) -> Option<Duration> {
    let (cancel, ended) = (CancelToken::default(), Arc::new(AtomicBool::new(false)));
    let (sender, receiver) = std::sync::mpsc::channel();
    let (runs, token, has_ended) = (Arc::clone(input), cancel.clone(), Arc::clone(&ended));
    let worker = std::thread::spawn(move || {
        let thread = rustix::thread::gettid().as_raw_nonzero().get();
        sender.send(thread).unwrap();
        run(&runs, &token);
        let time = time_of(thread);
        has_ended.store(true, Ordering::Relaxed);
        time
    });
    let thread = receiver.recv().unwrap();
    let begun = Instant::now();
    while time_of(thread) < wait && !ended.load(Ordering::Relaxed) && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let too_late = ended.load(Ordering::Relaxed);
    cancel.cancel();
    // Read afterwards: this thread may be kept waiting between the two.
    let told = time_of(thread);
    let time = worker.join().unwrap();
    (!too_late).then(|| time.saturating_sub(told))
}

#[test]
fn whatever_runs_stops_within_50_ms_of_its_time() {
    // Counted at ticks of the system's clock.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(50) {}
    if time_of(rustix::thread::gettid().as_raw_nonzero().get()).is_zero() {
        return zkevm_testkit::skip::missing_tool("no /proc/self/task/*/schedstat");
    }
    let mut late = Vec::new();
    for (name, mut request) in requests() {
        request.no_counters = 1;
        let input = Arc::new(validate::process_batch_v2(request, Default::default()).unwrap());
        let waits = [1, 20, 60, 150, 400, 1000].map(Duration::from_millis);
        let slowest = waits.into_iter().map_while(|wait| goes_on_for(&input, wait)).max().unwrap_or_default();
        println!("| {name} | {slowest:.1?} |");
        if slowest > SHARED_MACHINE * STOP_MAX + SLACK {
            late.push((name, slowest));
        }
    }
    assert!(late.is_empty(), "went on too long: {late:?}");
}
