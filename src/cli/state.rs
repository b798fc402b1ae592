//! `zkevm-executor state`: reads the store without a server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use revm::primitives::{Address, B256, U256};

use super::genesis::parse_number;
use super::layers::{self, Layers};
use crate::config::StoreKind;
use crate::server::open_database;
use zkevm_store::{DamagedPart, Database, EmbeddedDatabase, VerifiedReader};
use zkevm_tree::{Digest, LeafKind, StateTree, TreeCheck, account_key, storage_key};

/// The progress of reading a log.
const PROGRESS: &str = "{bar:40} {bytes} of {total_bytes}, {eta} left";

/// Flags of `state`.
#[derive(Debug, Args)]
pub struct StateArgs {
    #[command(subcommand)]
    command: StateCommand,
}

#[derive(Debug, Subcommand)]
enum StateCommand {
    /// Prints balance, nonce, code and storage slots of an account.
    Get(GetArgs),
    /// Reads every node of a state and checks it against its hash.
    Check(CheckArgs),
    /// Makes the index of an embedded database anew from its log; the one before it gets another name.
    Rebuild(RebuildArgs),
    /// Makes the database, schema and tables included, where they are missing, and prints the latest state root.
    Init(StoreArgs),
}

/// The settings of the store.
pub type StoreArgs = Layers<layers::Store>;

#[derive(Debug, Args)]
struct GetArgs {
    /// The account.
    #[arg(value_name = "ADDRESS")]
    address: Address,
    /// State root; the latest one if not given.
    #[arg(long, value_name = "ROOT")]
    root: Option<B256>,
    /// Storage slot, decimal or hexadecimal with 0x; repeatable.
    #[arg(long, value_name = "SLOT", value_parser = slot)]
    slot: Vec<U256>,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Args)]
struct RebuildArgs {
    /// Passes over damaged parts of the log and keeps what is intact in and behind them, in place of refusing. Run `state
    /// check` afterwards.
    #[arg(long)]
    skip_damaged: bool,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// State root; the latest one if not given.
    #[arg(long, value_name = "ROOT")]
    root: Option<B256>,
    #[command(flatten)]
    store: StoreArgs,
}

fn slot(text: &str) -> Result<U256, String> {
    parse_number(text).ok_or_else(|| "expected a number".to_owned())
}

/// Opens the database that the server would use.
///
/// Fails if there is none, or the server has it open.
pub fn open(store: &StoreArgs) -> Result<Arc<dyn Database>, Box<dyn std::error::Error>> {
    let database = open_database(&store.config()?, Duration::ZERO)?;
    database.ok_or_else(|| "the store is in memory (store.kind), there is nothing to open".into())
}

/// Runs one of the subcommands.
pub fn run(args: &StateArgs) -> Result<(), Box<dyn std::error::Error>> {
    match &args.command {
        StateCommand::Get(args) => get(args),
        StateCommand::Check(args) => check(args),
        StateCommand::Rebuild(args) => rebuild(args),
        StateCommand::Init(store) => init(store),
    }
}

fn root_or_latest(database: &dyn Database, root: Option<B256>) -> Result<Digest, Box<dyn std::error::Error>> {
    match root {
        Some(root) => Ok(root.into()),
        None => Ok(database.latest_root()?),
    }
}

fn init(store: &StoreArgs) -> Result<(), Box<dyn std::error::Error>> {
    let database = open(&store.clone().with("store.init", "true", "state init"))?;
    println!("latest root  {}", database.latest_root()?.to_b256());
    Ok(())
}

fn rebuild(args: &RebuildArgs) -> Result<(), Box<dyn std::error::Error>> {
    let config = args.store.config()?;
    if config.store.kind != StoreKind::Embedded {
        return Err("only an embedded database (store.kind) has an index to rebuild".into());
    }
    let started = Instant::now();
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(PROGRESS)?);
    let progress = |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    };
    let (path, cache_bytes) = (&config.store.path, config.store.cache_bytes_max);
    let rebuilt = match args.skip_damaged {
        false => EmbeddedDatabase::rebuild(path, cache_bytes, progress),
        true => EmbeddedDatabase::rebuild_around_damage(path, cache_bytes, progress),
    }?;
    bar.finish_and_clear();
    println!("log          {}", rebuilt.log.display());
    for DamagedPart { offset, bytes, nodes, programs } in &rebuilt.damaged {
        println!("damaged      {bytes} bytes at {offset}: {nodes} nodes and {programs} programs kept");
    }
    if let Some(before) = &rebuilt.before {
        println!("index before {}", before.display());
    }
    println!("nodes        {}", rebuilt.nodes);
    println!("programs     {}", rebuilt.programs);
    println!("latest root  {}", rebuilt.latest_root.to_b256());
    println!("seconds      {:.1}", started.elapsed().as_secs_f64());
    if !rebuilt.damaged.is_empty() {
        println!("something may be missing: zkevm-executor state check tells if the latest root is whole");
    }
    Ok(())
}

fn get(args: &GetArgs) -> Result<(), Box<dyn std::error::Error>> {
    let database = open(&args.store)?;
    let root = root_or_latest(&*database, args.root)?;
    let reader = VerifiedReader(&*database);
    let mut tree = StateTree::new(&reader);
    let at = tree.open(root);
    let mut leaf = |kind| tree.get(at, &account_key(args.address, kind));
    let (balance, nonce) = (leaf(LeafKind::Balance)?, leaf(LeafKind::Nonce)?);
    let (code_hash, code_length) = (leaf(LeafKind::CodeHash)?, leaf(LeafKind::CodeLength)?);
    println!("root         {}", root.to_b256());
    println!("address      {}", args.address);
    println!("balance      {balance}");
    println!("nonce        {nonce}");
    println!("code hash    {}", B256::from(code_hash));
    println!("code length  {code_length}");
    for slot in &args.slot {
        let value = tree.get(at, &storage_key(args.address, *slot))?;
        println!("slot {slot:#x}  {value:#066x}");
    }
    Ok(())
}

fn check(args: &CheckArgs) -> Result<(), Box<dyn std::error::Error>> {
    let database = open(&args.store)?;
    let root = root_or_latest(&*database, args.root)?;
    let started = Instant::now();
    let count = TreeCheck::new(&*database).check(root)?;
    println!("root      {}", root.to_b256());
    println!("branches  {}", count.branches);
    println!("leaves    {}", count.leaves);
    println!("values    {}", count.values);
    println!("seconds   {:.1}", started.elapsed().as_secs_f64());
    Ok(())
}
