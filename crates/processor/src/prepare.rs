//! What a transaction needs before it runs: its sender and its hashes (batch §8.1).
//!
//! While idle threads recover senders, items are prepared some at a time, just before the first of them runs. Else all are
//! prepared at once: one thread that recovers and runs in turn has neither's tables in its cache.

use std::time::Instant;

use revm::primitives::{Address, B256, Bytes, U256, keccak256};

use super::Observer;
use super::run::{Abort, BatchRun};
use zkevm_batch::observer::{DecodedBatch, Stage};
use zkevm_batch::{BatchItem, DecodedSoFar, Recovered, Signers, Transaction};
use zkevm_pool::Cancelled;
use zkevm_tree::Digest;
use zkevm_tree::poseidon::{linear_hash, linear_hash_many, linear_permutations};
use zkevm_types::ApiVersion;
use zkevm_types::RomError;

/// Items prepared at a time: what is alike fills the lanes of every kernel, and the first transaction starts early.
const ITEMS_TOGETHER: usize = 64;
/// Signers recovered between two looks whether the batch should stop: some ten milliseconds.
const SIGNERS_PER_LOOK: usize = 256;

/// A decoded item with everything that needs no state.
pub(crate) enum PreparedItem {
    /// Opens a block.
    ChangeL2Block {
        /// Seconds after the previous block.
        delta_timestamp: u32,
        /// Index into the L1 info tree.
        l1_info_index: u32,
    },
    /// A transaction.
    Transaction(Box<PreparedTx>),
}

/// A transaction with its hashes and its sender.
pub(crate) struct PreparedTx {
    /// The decoded transaction.
    pub(crate) tx: Transaction,
    /// Canonical signed RLP.
    pub(crate) rlp: Bytes,
    /// Ethereum hash.
    pub(crate) hash: B256,
    /// Poseidon L2 hash; zero in V1.
    pub l2_hash: Digest,
    /// Sender as the checks use it; `None` fails the signature check.
    pub(crate) signer: Option<Address>,
}

/// The items of a batch that have not run.
pub(super) struct Items {
    ready: std::vec::IntoIter<PreparedItem>,
    unprepared: std::vec::IntoIter<BatchItem>,
    /// Of the transactions among the unprepared.
    signers: Signers,
}

impl<O: Observer> BatchRun<'_, O> {
    /// Decodes the batch and begins to recover its senders. Inside is the error of a batch that does not decode. What an earlier
    /// batch has decoded and run is left out.
    pub(crate) fn prepare(
        &mut self,
        forced: bool,
        implicit_block: bool,
        so_far: DecodedSoFar,
    ) -> Result<Result<(), RomError>, Cancelled> {
        let start = Instant::now();
        let mut items = Vec::new();
        let data = &self.input.batch_l2_data;
        let decoded = zkevm_batch::decode_from(so_far, &mut items, data, self.rules, forced, implicit_block)
            .map(|decoded| self.decoded = decoded);
        self.phases.decode += start.elapsed();
        let (senders, recovery) = (&self.engine.senders, self.rules.recovery());
        self.evm
            .observer()
            .batch_decoded(DecodedBatch { items: &items, end: decoded, is_forced: forced }, |signatures| {
                signatures.iter().map(|signature| senders.recover_one(*signature, recovery)).collect()
            });
        if let Err(error) = decoded {
            self.note_l2_hashes(&items);
            return Ok(Err(error));
        }
        let start = Instant::now();
        let signatures: Vec<_> = items.iter().filter_map(BatchItem::transaction).map(Transaction::signature).collect();
        let signers = self.engine.senders.recover(&signatures, recovery, &self.engine.pool);
        self.phases.recover += start.elapsed();
        let all_first = !signers.are_shared() || self.needs_all_first();
        self.items = Some(Items { ready: Vec::new().into_iter(), unprepared: items.into_iter(), signers });
        if all_first {
            self.prepare_some(usize::MAX)?;
            self.expect_traces();
        }
        let judges = self.observer().judges_decoding();
        Ok(judges.then(|| self.observer().out_of_counters(Stage::Decoded)).flatten().map_or(Ok(()), Err))
    }

    /// Notes the hashes of what was decoded before the batch turned out to be undecodable.
    fn note_l2_hashes(&mut self, items: &[BatchItem]) {
        if !self.input.get_keys {
            return;
        }
        let recovery = self.rules.recovery();
        for tx in items.iter().filter_map(BatchItem::transaction) {
            let recovered = self.engine.senders.recover_one(tx.signature(), recovery);
            let from = self.input.from.or(recovered.signer).unwrap_or_default();
            self.state().note_program(linear_hash(&tx.l2_preimage(from)).to_b256());
        }
    }

    /// Traces depend on hashes of later transactions, an observer that judges decoding on all items; and some stores answer
    /// once for all.
    fn needs_all_first(&mut self) -> bool {
        self.input.trace.is_some() || self.observer().judges_decoding() || self.state().prefers_many()
    }

    /// Reads ahead what the transactions are sure to read, and these slots, if the store is one where that pays.
    pub(crate) fn read_ahead(&mut self, slots: &[(Address, U256)]) -> Result<(), Abort> {
        if !self.state().prefers_many() {
            return Ok(());
        }
        let accounts = self.prepared_items().iter().flat_map(|item| match item {
            PreparedItem::Transaction(prepared) => [prepared.signer, prepared.tx.to],
            PreparedItem::ChangeL2Block { .. } => [None; 2],
        });
        let accounts: Vec<_> = accounts.flatten().chain([self.input.coinbase]).collect();
        Ok(self.state().read_ahead(accounts, slots)?)
    }

    /// Returns what is prepared and has not run.
    pub(super) fn prepared_items(&self) -> &[PreparedItem] {
        self.items.as_ref().map_or(&[], |items| items.ready.as_slice())
    }

    /// Returns the next item, prepared.
    pub(crate) fn next_item(&mut self) -> Result<Option<PreparedItem>, Cancelled> {
        self.cancel.check()?;
        if self.prepared_items().is_empty() {
            self.prepare_some(ITEMS_TOGETHER)?;
        }
        Ok(self.items.as_mut().and_then(|items| items.ready.next()))
    }

    /// Prepares the items that will not run any more, so that the observer is told of all.
    pub(super) fn finish_decoding(&mut self) -> Result<(), Cancelled> {
        self.prepare_some(usize::MAX)?;
        self.items = None;
        Ok(())
    }

    /// Prepares all items that are left, and keeps them to run.
    pub(super) fn prepare_rest(&mut self) -> Result<(), Cancelled> {
        let mut ready: Vec<_> = self.items.as_mut().map(|items| items.ready.by_ref().collect()).unwrap_or_default();
        self.prepare_some(usize::MAX)?;
        if let Some(items) = &mut self.items {
            ready.extend(items.ready.by_ref());
            items.ready = ready.into_iter();
        }
        Ok(())
    }

    /// Prepares at most `count` items: what is alike is done together.
    fn prepare_some(&mut self, count: usize) -> Result<(), Cancelled> {
        let Some(mut items) = self.items.take() else { return Ok(()) };
        let group: Vec<BatchItem> = items.unprepared.by_ref().take(count).collect();
        if !group.is_empty() {
            items.ready = self.prepare_group(group, &mut items.signers)?.into_iter();
        }
        self.items = Some(items);
        Ok(())
    }

    fn prepare_group(&mut self, group: Vec<BatchItem>, signers: &mut Signers) -> Result<Vec<PreparedItem>, Cancelled> {
        let start = Instant::now();
        let transactions = || group.iter().filter_map(BatchItem::transaction);
        let count = transactions().count();
        let mut recovered = Vec::with_capacity(count);
        while recovered.len() < count {
            self.cancel.check()?;
            recovered.extend(signers.take(SIGNERS_PER_LOOK.min(count - recovered.len())));
        }
        let recovered_at = Instant::now();
        self.phases.recover += recovered_at - start;
        let senders = recovered.iter().map(|recovered| self.input.from.or(recovered.signer));
        self.evm
            .db()
            .learn_accounts(transactions().zip(senders.clone()).flat_map(|(tx, from)| [tx.to, from]).flatten());
        let l2_hashes = match self.rules.api {
            ApiVersion::V1 => vec![Digest::ZERO; recovered.len()],
            ApiVersion::V2 => {
                let preimages: Vec<Vec<u8>> =
                    transactions().zip(senders).map(|(tx, from)| tx.l2_preimage(from.unwrap_or_default())).collect();
                let preimages: Vec<&[u8]> = preimages.iter().map(Vec::as_slice).collect();
                self.phases.permutations += preimages.iter().map(|bytes| linear_permutations(bytes)).sum::<u64>();
                preimages.chunks(ITEMS_TOGETHER).flat_map(linear_hash_many).collect()
            }
        };
        let mut parts = recovered.into_iter().zip(l2_hashes);
        let prepare = |item| match item {
            BatchItem::ChangeL2Block { delta_timestamp, l1_info_index } => {
                self.observer().block_decoded();
                PreparedItem::ChangeL2Block { delta_timestamp, l1_info_index }
            }
            BatchItem::Transaction(tx) => {
                let (recovered, l2_hash) = parts.next().unwrap_or_default();
                if self.input.get_keys {
                    self.state().note_program(l2_hash.to_b256());
                }
                self.prepare_transaction(*tx, recovered, l2_hash)
            }
        };
        let prepared = group.into_iter().map(prepare).collect();
        self.phases.decode += recovered_at.elapsed();
        Ok(prepared)
    }

    fn prepare_transaction(&mut self, tx: Transaction, recovered: Recovered, l2_hash: Digest) -> PreparedItem {
        let signer = self.effective_signer(recovered.signer);
        self.observer().transaction_decoded(&tx, recovered);
        let rlp = tx.rlp();
        let hash = keccak256(&rlp);
        PreparedItem::Transaction(Box::new(PreparedTx { tx, rlp, hash, l2_hash, signer }))
    }

    /// Applies unsigned mode: V1 ignores the signature but refuses the zero address, V2 wants a recoverable one
    /// (batch §8.1).
    fn effective_signer(&self, recovered: Option<Address>) -> Option<Address> {
        match (self.input.from, self.rules.api) {
            (None, _) => recovered,
            (Some(from), ApiVersion::V1) => (!from.is_zero()).then_some(from),
            (Some(from), ApiVersion::V2) => recovered.map(|_| from),
        }
    }
}
