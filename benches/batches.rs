//! Whole batches through the engine on one core, against the parts nobody can leave out.
//!
//! `cargo bench --bench batches`; one argument filters by name. All times are CPU time of the thread, the least of many runs.
//! The floor of a batch is: recovering its senders, running its transactions on an unmodified revm in memory, and the Poseidon
//! permutations its roots need at the speed of the kernel; each is measured here, in turn with the batch itself. The
//! permutations are those of a run without counters and with keys known from before: the nodes of every reported version, the
//! block info tree, the L2 hashes. Senders are recovered eight at a time where the processor can; the column "one by one" is the
//! same batch with libsecp256k1. A second table has the time by the clock with one helper, senders new and known.
//!
//! For scale: zkevm-prover needs about 1.6 to 1.9 s of one core for batches of this size.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use revm::context::TxEnv;
use revm::database::InMemoryDB;
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, TxKind};
use revm::state::{AccountInfo, Bytecode};
use revm::{Context, ExecuteCommitEvm, MainBuilder, MainContext};
use rustix::time::{ClockId, clock_gettime};

use zkevm_batch::{BatchItem, SenderCache, Transaction, decode, recover_signer};
use zkevm_executor::memory;
use zkevm_pool::{CancelToken, WorkerPool};
use zkevm_processor::Engine;
use zkevm_recovery::{Recoverer, Signature};
use zkevm_store::MemoryStore;
use zkevm_testkit::sample::workload::{MINTS_PER_BATCH, TOKEN_TRANSFERS_PER_BATCH, TRANSFERS_PER_BATCH};
use zkevm_testkit::sample::{Kind, Workload};
use zkevm_tools::table::Table;
use zkevm_tree::Digest;
use zkevm_tree::poseidon::hash_many;
use zkevm_types::BatchInput;
use zkevm_types::BatchOutput;
use zkevm_types::PhaseTimes;
use zkevm_types::{ApiVersion, ForkId};

/// The allocator of the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Eight accounts each: enough for a tree of a realistic depth, and as few as the public vectors of such batches have.
const MANY_CLIENTS: u64 = 512;
const ONE_CLIENT: u64 = 1;
/// Forks and states.
const SETTINGS: [(&str, u64, u64); 3] =
    [("fork 9", 9, MANY_CLIENTS), ("fork 6", 6, MANY_CLIENTS), ("fork 9, few accounts", 9, ONE_CLIENT)];
const KINDS: [(&str, Kind, usize); 3] = [
    ("transfers", Kind::Transfers, TRANSFERS_PER_BATCH),
    ("token transfers", Kind::TokenTransfers, TOKEN_TRANSFERS_PER_BATCH),
    ("mints", Kind::Mints, MINTS_PER_BATCH),
];
const ROUNDS: usize = 30;
/// States the kernel's speed is measured with: many full packs, little memory.
const STATES: usize = 1024;

/// A batch, its state and what is compared with it.
struct Case {
    input: BatchInput,
    silent: BatchInput,
    state: MemoryStore,
    transactions: Vec<(Transaction, Address)>,
    signatures: Vec<Signature>,
    accounts: InMemoryDB,
}

fn main() {
    memory::disable_transparent_huge_pages();
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let mut table = Table::new(&[
        "batch",
        "Mgas",
        "total",
        "one by one",
        "of that",
        "known",
        "uncounted",
        "recover",
        "revm",
        "hashes",
        "ns each",
        "floor",
        "ratio",
        "known ratio",
    ]);
    let mut split = Table::new(&[
        "batch, known senders, by the clock",
        "decode",
        "EVM",
        "tree",
        "rest",
        "all",
        "1 helper, new",
        "1 helper, known",
    ]);
    for (setting, fork, clients) in SETTINGS {
        for (what, kind, count) in KINDS {
            let name = format!("{count} {what}, {setting}");
            if filter.as_ref().is_none_or(|filter| name.contains(filter.as_str())) {
                let case = prepare(fork, clients, kind, count);
                table.row(measure(&name, &case));
                split.row(measure_split(name, &case));
            }
        }
    }
    println!("{table}\n{split}");
}

/// Measures the batch and its floor, taking turns.
fn measure(name: &str, case: &Case) -> Vec<String> {
    let mut engine = Engine::default();
    let output = execute(&engine, &case.input, &case.state);
    assert!(output.roots.is_some(), "{name}: {}", output.error_log);
    let hashes = execute(&engine, &case.silent, &case.state).phases.permutations;
    let states = vec![[7; 12]; STATES];
    let mut digests = vec![Digest::ZERO; STATES];
    let [mut total, mut single, mut known, mut uncounted, mut recover, mut plain, mut kernel] = [Duration::MAX; 7];
    for _ in 0..ROUNDS {
        engine = engine.with_senders(SenderCache::new());
        least(&mut total, || execute(&engine, &case.input, &case.state));
        least(&mut known, || execute(&engine, &case.input, &case.state));
        engine = engine.with_senders(SenderCache::with_recoverer(Recoverer::single()));
        least(&mut single, || execute(&engine, &case.input, &case.state));
        least(&mut uncounted, || execute(&engine, &case.silent, &case.state));
        least(&mut recover, || recover_all(case));
        let accounts = case.accounts.clone();
        least(&mut plain, || run_plain(case, accounts));
        least(&mut kernel, || hash_many(black_box(&states), black_box(&mut digests)));
    }
    let per_hash = kernel.as_secs_f64() / STATES as f64;
    let hashing = per_hash * hashes as f64;
    let floor = recover.as_secs_f64() + plain.as_secs_f64() + hashing;
    let mut row = vec![name.to_owned(), format!("{:.2}", output.gas_used as f64 / 1e6)];
    row.extend([in_ms(total), in_ms(single), format!("{:.2}", total.as_secs_f64() / single.as_secs_f64())]);
    row.extend([known, uncounted, recover, plain].map(in_ms));
    row.extend([hashes.to_string(), format!("{:.0}", per_hash * 1e9), format!("{:.2} ms", floor * 1e3)]);
    row.push(format!("{:.2}", total.as_secs_f64() / floor));
    row.push(format!("{:.2}", known.as_secs_f64() / total.as_secs_f64()));
    row
}

/// Splits the fastest run with known senders, and times new and known senders by the clock with one helper.
fn measure_split(name: String, case: &Case) -> Vec<String> {
    let engine = Engine::default();
    timed(&engine, case);
    let runs = (0..ROUNDS).map(|_| timed(&engine, case));
    let (total, phases) = runs.min_by_key(|(total, _)| *total).unwrap_or_default();
    let rest = total.saturating_sub(phases.decode + phases.recover + phases.evm + phases.tree);
    let mut engine = Engine::new(WorkerPool::new(1));
    timed(&engine, case);
    let [mut new, mut known] = [Duration::MAX; 2];
    for _ in 0..ROUNDS {
        engine = engine.with_senders(SenderCache::new());
        new = new.min(timed(&engine, case).0);
        known = known.min(timed(&engine, case).0);
    }
    let mut row = vec![name];
    row.extend([phases.decode, phases.evm, phases.tree, rest, total, new, known].map(in_ms));
    row
}

/// Runs the batch and returns its time by the clock, and where that went.
fn timed(engine: &Engine, case: &Case) -> (Duration, PhaseTimes) {
    let start = Instant::now();
    let output = execute(engine, &case.input, &case.state);
    (start.elapsed(), output.phases)
}

fn prepare(fork: u64, clients: u64, kind: Kind, count: usize) -> Case {
    let fork_id = ForkId::new(fork).expect("the fork is in the table");
    let workload = Arc::new(Workload::new(fork_id, clients).expect("the contracts assemble"));
    let genesis = workload.genesis().build().expect("the state is built in memory");
    let input = workload.chain(0, genesis.root.to_b256()).next_batch(kind, count);
    let state = MemoryStore::new(0);
    genesis.write_to(&state).expect("the state is kept in memory");
    let mut accounts = InMemoryDB::default();
    for account in &workload.genesis().accounts {
        let code = Bytecode::new_raw(account.code.clone());
        let info = AccountInfo { balance: account.balance, nonce: account.nonce, ..AccountInfo::from_bytecode(code) };
        accounts.insert_account_info(account.address, info);
        for (slot, value) in &account.storage {
            accounts.insert_account_storage(account.address, *slot, *value).expect("memory cannot fail");
        }
    }
    let implicit_block = fork_id.rules().api == ApiVersion::V1;
    let items = decode(&input.batch_l2_data, fork_id.rules(), false, implicit_block).expect("the batch is well formed");
    let transactions = items.into_iter().filter_map(|item| match item {
        BatchItem::Transaction(tx) => signer(&tx).map(|caller| (*tx, caller)),
        BatchItem::ChangeL2Block { .. } => None,
    });
    let transactions: Vec<_> = transactions.collect();
    assert_eq!(transactions.len(), count);
    let silent = BatchInput { no_counters: true, ..input.clone() };
    let signature = |(tx, _): &(Transaction, Address)| {
        let (hash, r, s) = (tx.signing_hash(), tx.r, tx.s);
        Signature { hash, r, s, is_odd: tx.v == 28 }
    };
    let signatures = transactions.iter().map(signature).collect();
    Case { input, silent, state, transactions, signatures, accounts }
}

fn execute(engine: &Engine, input: &BatchInput, state: &MemoryStore) -> BatchOutput {
    engine.process(input, state, &CancelToken::default()).expect("nothing cancels")
}

fn signer(tx: &Transaction) -> Option<Address> {
    recover_signer(tx.signing_hash(), tx.r, tx.s, tx.v, false)
}

fn recover_all(case: &Case) -> usize {
    let recoverer = Recoverer::detected().unwrap_or_default();
    case.signatures.chunks(64).map(|some| black_box(recoverer.recover(some)).len()).sum()
}

/// Runs the transactions one after the other on an unmodified EVM over accounts in memory.
fn run_plain(case: &Case, accounts: InMemoryDB) {
    let mut evm = Context::mainnet()
        .with_db(accounts)
        .modify_cfg_chained(|cfg| {
            cfg.set_spec_and_mainnet_gas_params(SpecId::BERLIN);
            cfg.chain_id = case.input.chain_id;
        })
        .build_mainnet();
    evm.ctx.block.beneficiary = case.input.coinbase;
    for (tx, caller) in &case.transactions {
        let call = TxEnv {
            caller: *caller,
            gas_limit: tx.gas_limit,
            gas_price: tx.gas_price.saturating_to(),
            kind: tx.to.map_or(TxKind::Create, TxKind::Call),
            value: tx.value,
            data: tx.data.clone(),
            nonce: tx.nonce,
            chain_id: tx.chain_id,
            ..TxEnv::default()
        };
        let result = evm.transact_commit(call).expect("the transaction is valid");
        assert!(black_box(result).is_success());
    }
}

/// Runs once more and keeps the least CPU time.
fn least<T>(time: &mut Duration, run: impl FnOnce() -> T) {
    let start = cpu_time();
    let result = black_box(run());
    *time = cpu_time().saturating_sub(start).min(*time);
    drop(result);
}

fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

fn in_ms(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
