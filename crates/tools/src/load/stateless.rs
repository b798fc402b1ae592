//! A sequencer's chain of stateless batches: after each block it asks for all blocks of the batch so far, as cdk-erigon does
//! (later-forks §9).
//!
//! Every client has a state of its own. It runs each block itself, so it knows the root after it and what the witness has to
//! hold, and a request costs here no more than its newest block.

use std::collections::BTreeSet;
use std::sync::Arc;

use revm::primitives::{Address, B256};
use tonic::transport::Channel;

use super::LoadError;
use super::client::{Answer, check, check_error, word};
use super::workload_mix::WorkloadMix;
use crate::engine::CommandEngine;
use zkevm_batch::{BatchItem, decode};
use zkevm_testkit::sample::Workload;
use zkevm_testkit::sample::workload::Chain;
use zkevm_testkit::stateless::{Head, Payloads, Source, StreamBlock, stream_from};
use zkevm_tree::Digest;
use zkevm_types::{ApiVersion, BatchInput, BatchOutput, ForkId, RomError};
use zkevm_wire::proto::executor::v1 as wire;
use zkevm_wire::proto::executor::v1::executor_service_client::ExecutorServiceClient;

/// Seconds from one block of a chain to the next; the first has this timestamp.
const SECONDS_PER_BLOCK: u64 = 1;

/// How the chains of a load are made.
#[derive(Clone, Debug)]
pub(super) struct ChainPlan {
    /// Fork of the batches.
    pub fork_id: ForkId,
    /// Seed of all accounts.
    pub seed: Option<u64>,
    /// Kinds of the blocks' transactions.
    pub mix: WorkloadMix,
    /// Blocks of a batch.
    pub blocks: usize,
    /// Transactions of a block.
    pub block_txs: usize,
}

/// The chain of one client.
pub(super) struct StatelessChain {
    plan: ChainPlan,
    client: u64,
    engine: CommandEngine,
    chain: Chain,
    /// The state at the start of the batch.
    start: Source,
    /// The state after its last block.
    latest: Source,
    /// Keys that the blocks of the batch touched.
    keys: BTreeSet<Digest>,
    /// Blocks of the batch.
    blocks: Vec<StreamBlock>,
    batch: u64,
    /// Blocks of earlier batches.
    blocks_before: u64,
}

/// A request with what its answer has to say.
#[derive(Clone, Debug)]
pub(super) struct Prefix {
    request: wire::ProcessStatelessBatchRequestV2,
    root: B256,
    old_root: B256,
    fork_id: u64,
    blocks: usize,
    txs: usize,
    /// Transactions that no request before had.
    new_txs: usize,
}

impl StatelessChain {
    /// Makes the state of a client.
    pub(super) fn new(client: u64, plan: ChainPlan, engine: CommandEngine) -> Result<Self, LoadError> {
        if plan.fork_id.rules().api != ApiVersion::V2 {
            return Err(format!("fork {} has no stateless batches", plan.fork_id).into());
        }
        // Other accounts for each client, so another root.
        let seed = plan.seed.unwrap_or_default().wrapping_mul(1 << 16).wrapping_add(client);
        let workload = Arc::new(Workload::seeded(plan.fork_id, 1, Some(seed))?);
        let start = Source::new(workload.genesis())?;
        let chain = workload.chain(0, start.state.root.to_b256());
        let latest = start.clone();
        Ok(Self {
            plan,
            client,
            engine,
            chain,
            start,
            latest,
            keys: BTreeSet::new(),
            blocks: Vec::new(),
            batch: 1,
            blocks_before: 0,
        })
    }

    /// Builds the next block, and the request for its batch so far.
    pub(super) fn next_prefix(&mut self) -> Result<Prefix, LoadError> {
        if self.blocks.len() == self.plan.blocks {
            self.start = self.latest.clone();
            self.keys.clear();
            self.blocks_before += self.blocks.len() as u64;
            self.blocks.clear();
            self.batch += 1;
        }
        let number = self.blocks_before + self.blocks.len() as u64 + 1;
        let kind = self.plan.mix.kind(self.client, number);
        let input = self.chain.next_batch(kind, self.plan.block_txs);
        let root = self.run(&input)?;
        self.blocks.extend(stream_blocks(&input)?);
        self.chain.state_root = root;
        Ok(self.prefix(&input, root, number * SECONDS_PER_BLOCK))
    }

    /// Runs one block on top of the latest, and notes what it touched.
    fn run(&mut self, block: &BatchInput) -> Result<B256, LoadError> {
        let output = self.engine.process(block, &self.latest)?;
        let roots = output.roots.ok_or_else(|| format!("a block was aborted here: {}", output.error_log))?;
        if output.error_rom != RomError::NoError {
            return Err(format!("a block failed here: {}", output.error_rom.name()).into());
        }
        match block.fork_id.rules().touched_accounts_in_full {
            true => self.note_touched(&output, block.coinbase),
            // This fork does not list slots. The next one touches the same.
            false => {
                let next = ForkId::new(block.fork_id.get() + 1).ok_or("no fork that lists slots")?;
                let output = self.engine.process(&BatchInput { fork_id: next, ..block.clone() }, &self.latest)?;
                self.note_touched(&output, block.coinbase);
            }
        }
        self.latest.advance(roots.new_state_root.into(), output.new_nodes, output.new_programs);
        Ok(roots.new_state_root)
    }

    fn note_touched(&mut self, output: &BatchOutput, coinbase: Address) {
        for address in output.read_write_addresses.keys().chain([&coinbase]) {
            self.start.know_account(*address);
            self.keys.extend(self.latest.know_account(*address));
        }
        for (address, account) in &output.read_write_addresses {
            for slot in account.storage.keys() {
                self.start.know_slot(*address, *slot);
                self.keys.insert(self.latest.know_slot(*address, *slot));
            }
        }
    }

    fn prefix(&self, input: &BatchInput, root: B256, timestamp: u64) -> Prefix {
        let head = Head { batch: self.batch, fork_id: input.fork_id.get() as u16, chain_id: input.chain_id as u32 };
        let blocks = &self.blocks;
        Prefix {
            request: wire::ProcessStatelessBatchRequestV2 {
                witness: self.start.witness_of(&self.keys).into(),
                data_stream: stream_from(self.blocks_before + 1, Payloads::Protobuf, head, blocks).into(),
                coinbase: input.coinbase.to_string(),
                old_acc_input_hash: vec![0; 32].into(),
                timestamp_limit: timestamp,
                forced_blockhash_l1: vec![0].into(),
                context_id: self.batch.to_string(),
                // As the node does for its first block; nobody looks at it.
                l1_info_tree_index_min_timestamp: (self.batch == 1).then_some((0, 0)).into_iter().collect(),
                ..Default::default()
            },
            root,
            old_root: self.start.state.root.to_b256(),
            fork_id: input.fork_id.get(),
            blocks: blocks.len(),
            txs: blocks.iter().map(|block| block.transactions.len()).sum(),
            new_txs: self.plan.block_txs,
        }
    }
}

impl Prefix {
    /// Sends the request and looks at everything of the answer that is known. An error that is no [`tonic::Status`] is a wrong
    /// answer.
    pub(super) async fn send(&self, client: &mut ExecutorServiceClient<Channel>) -> Result<Answer, LoadError> {
        let answer = client.process_stateless_batch_v2(self.request.clone()).await?.into_inner();
        check("fork_id", answer.fork_id, self.fork_id)?;
        if let Some(debug) = answer.debug.filter(|debug| !debug.error_log.is_empty()) {
            return Err(format!("error_log: {}", debug.error_log).into());
        }
        check_error(answer.error)?;
        check("error_rom", answer.error_rom, RomError::NoError.number())?;
        check("new_state_root", word(&answer.new_state_root)?, self.root)?;
        check("old_state_root", word(&answer.old_state_root)?, self.old_root)?;
        check("number of blocks", answer.block_responses.len(), self.blocks)?;
        let transactions: usize = answer.block_responses.iter().map(|block| block.responses.len()).sum();
        check("number of transactions", transactions, self.txs)?;
        for tx in answer.block_responses.iter().flat_map(|block| &block.responses) {
            check("error of a transaction", tx.error, RomError::NoError.number())?;
        }
        Ok(Answer {
            new_state_root: self.root,
            new_acc_input_hash: word(&answer.new_acc_input_hash)?,
            transactions: self.new_txs,
            gas_used: answer.gas_used,
        })
    }
}

/// Takes a batch apart into the blocks of its stream.
fn stream_blocks(input: &BatchInput) -> Result<Vec<StreamBlock>, LoadError> {
    let mut blocks: Vec<StreamBlock> = Vec::new();
    let items = decode(&input.batch_l2_data, input.fork_id.rules(), false, false)
        .map_err(|error| format!("a block does not decode: {error:?}"))?;
    for item in items {
        match item {
            BatchItem::ChangeL2Block { delta_timestamp, l1_info_index } => {
                blocks.push(StreamBlock { delta_timestamp, l1_info_index, ..StreamBlock::default() });
            }
            BatchItem::Transaction(tx) => {
                let block = blocks.last_mut().ok_or("a transaction outside a block")?;
                block.transactions.push((tx.percentage, tx.rlp()));
            }
        }
    }
    Ok(blocks)
}
