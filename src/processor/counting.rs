//! Counting outside the EVM: batch, blocks, decoding, intrinsic checks (exact-counters §2).
//!
//! Nothing here fails a batch: a store that cannot answer fails the execution itself at the same access.

use revm::primitives::{Address, U256};

use super::block_info::BlockHeader;
use super::run::{BatchRun, TxEnd};
use crate::batch::{BatchItem, Transaction, recover_signer};
use crate::counters::model::{DecodedTx, Prices, SECP256K1_ORDER, SignatureClass};
use crate::counters::replay;
use crate::counters::{Access, Counters};
use crate::evm::fork::ApiVersion;
use crate::evm::precompiles::ZkPrecompiles;
use crate::tree::{TreeError, TreeRef};

/// Bytes of the accumulated input hash's digest: three words, a timestamp, an address, a word.
const ACC_INPUT_HASH_BYTES: u64 = 32 + 32 + 32 + 8 + 20 + 32;
/// Bytes of the digest that names a slot of a mapping: key and slot.
const MAPPING_KEY_BYTES: u64 = 64;
/// Bytes of the digest of an L1 info leaf.
const L1_INFO_LEAF_BYTES: u64 = 72;
/// Digests of 64 bytes from an L1 info leaf to the root.
const L1_INFO_LEVELS: u64 = 32;
/// Bytes of a public key, digested to an address.
const PUBLIC_KEY_BYTES: u64 = 64;

impl BatchRun<'_> {
    fn counts(&mut self) -> bool {
        self.evm.context().chain.counters.is_on()
    }

    /// Notes a tree access of the running transaction.
    pub(super) fn count(&mut self, access: Access) {
        let tally = &mut self.evm.context().chain.counters;
        if tally.is_on() {
            tally.accesses.push(access);
        }
    }

    /// Notes the first touch of a transaction's sender.
    pub(super) fn count_touch(&mut self, address: Address) {
        if ZkPrecompiles::number(&address).is_none() {
            self.count(Access::TouchAccount(address));
        }
    }

    /// Counts the digests every batch ends with: its data and the accumulated input hash.
    pub(super) fn count_batch(&mut self) {
        if self.counts() {
            let bytes = self.input.batch_l2_data.len() as u64;
            let tally = &mut self.evm.context().chain.counters;
            tally.keccak(bytes);
            tally.keccak(ACC_INPUT_HASH_BYTES);
        }
    }

    /// Counts what decoding a transaction digests: the signed list, the public key, the L2 hash.
    pub(super) fn count_decoded(&mut self, tx: &Transaction, recovered: bool) {
        if !self.counts() {
            return;
        }
        let price = self.decode_price(tx, recovered);
        self.evm.context().chain.counters.charge(price);
        let has_l2_hash = self.rules.api == ApiVersion::V2;
        let tally = &mut self.evm.context().chain.counters;
        tally.keccak(tx.signed_rlp.len() as u64);
        if recovered {
            tally.keccak(PUBLIC_KEY_BYTES);
        }
        if has_l2_hash {
            tally.linear_poseidon(tx.l2_hash_bytes());
        }
    }

    fn prices(&mut self) -> Prices {
        self.evm.context().chain.counters.prices
    }

    fn decode_price(&mut self, tx: &Transaction, recovered: bool) -> Counters {
        let length = |number: U256| number.byte_len().max(1) as u64;
        let chain_id = tx.chain_id.map_or(0, |id| length(U256::from(id)));
        let [gas_limit, nonce] = [tx.gas_limit, tx.nonce].map(|number| length(U256::from(number)));
        let [r, s] = [tx.r, tx.s].map(|word| U256::from_be_bytes(word.0));
        let signature = if recovered {
            SignatureClass::Root
        } else {
            SignatureClass::of(U256::from(tx.v), r, s, SECP256K1_ORDER >> 1)
        };
        const SIGNATURE_BYTES: u64 = 65;
        self.prices().decode(&DecodedTx {
            bytes: tx.signed_rlp.len() as u64 + SIGNATURE_BYTES + u64::from(self.rules.effective_percentage),
            data_bytes: tx.data.len() as u64,
            number_bytes: [length(tx.gas_price), gas_limit, length(tx.value), chain_id, nonce],
            signature,
        })
    }

    /// Charges the batch, once its decoding is over: the model charges nothing for one that does not decode.
    pub(super) fn count_batch_decoded(&mut self, decodes: bool) {
        if self.counts() {
            let price = self.prices().batch(self.input.batch_l2_data.len() as u64);
            let tally = &mut self.evm.context().chain.counters;
            if decodes {
                tally.charge(price);
            } else {
                tally.charge_beyond_model(price);
            }
        }
    }

    /// Charges the decoding of a ChangeL2Block.
    pub(super) fn count_block_decoded(&mut self) {
        if self.counts() {
            let price = self.prices().decode_block();
            self.evm.context().chain.counters.charge(price);
        }
    }

    /// Counts the transactions before the bad item of a batch that does not decode. The model has nothing for them, so the
    /// bound takes what they would cost, and the rest of the data as one transaction's.
    pub(super) fn count_undecodable(&mut self, items: Vec<BatchItem>, in_model: bool) {
        if !self.counts() {
            return;
        }
        let model = self.evm.context().chain.counters.charges();
        for item in items {
            match item {
                BatchItem::ChangeL2Block { .. } => self.count_block_decoded(),
                BatchItem::Transaction(tx) => {
                    let (r, s) = (tx.r, tx.s);
                    let signer = recover_signer(tx.signing_hash(), r, s, tx.v, self.rules.ecrecover_infinity_bug);
                    self.count_decoded(&tx, signer.is_some());
                }
            }
        }
        if in_model {
            return self.count_block_decoded();
        }
        let rest = self.prices().decode(&DecodedTx {
            bytes: 0,
            data_bytes: self.input.batch_l2_data.len() as u64,
            number_bytes: [32, 8, 32, 8, 8],
            signature: SignatureClass::Rejected,
        });
        self.evm.context().chain.counters.move_beyond_model(model, rest);
    }

    /// Counts the slot of the system contract's mapping that a new block writes, and charges the block.
    pub(super) fn count_block_opened(&mut self, has_l1_info: bool) {
        if self.counts() {
            let price = self.prices().open_block(has_l1_info);
            self.evm.context().chain.counters.charge(price);
        }
        self.count_mapping_key();
    }

    /// Charges the block that each transaction is in the forks without blocks.
    pub(super) fn count_implicit_block(&mut self, end: &TxEnd) {
        if self.counts() && matches!(end, TxEnd::Included { .. }) {
            let price = self.prices().open_block(false);
            self.evm.context().chain.counters.charge(price);
        }
    }

    /// Counts the name of a mapping's slot.
    pub(super) fn count_mapping_key(&mut self) {
        if self.counts() {
            self.evm.context().chain.counters.keccak(MAPPING_KEY_BYTES);
        }
    }

    /// Counts the digests of an L1 info proof; the ROM makes them whether or not somebody looks at the root.
    pub(super) fn count_l1_info_proof(&mut self) {
        if self.counts() {
            let tally = &mut self.evm.context().chain.counters;
            tally.keccak(L1_INFO_LEAF_BYTES);
            (0..L1_INFO_LEVELS).for_each(|_| tally.keccak(MAPPING_KEY_BYTES));
        }
    }

    /// Counts the header leaves of a block.
    pub(super) fn count_header(&mut self, block: &BlockHeader) {
        if self.counts() {
            let present = [
                !block.parent_hash.is_zero(),
                !block.coinbase.is_zero(),
                block.number != 0,
                block.gas_limit != 0,
                !block.timestamp.is_zero(),
                !block.ger.is_zero(),
                !block.block_hash_l1.is_zero(),
            ];
            let hashes = self.replay.open_block(Some(present));
            self.add_poseidons(hashes);
        }
    }

    /// Counts the receipt of an included transaction.
    pub(super) fn count_receipt(&mut self, status: bool, cumulative_gas_used: u64, percentage: u8) {
        if self.counts() {
            let hashes = self.replay.receipt(status, cumulative_gas_used != 0, percentage != 0);
            self.add_poseidons(hashes);
        }
    }

    /// Counts the block info leaf that closes a block.
    pub(super) fn count_block_closed(&mut self, gas_used: u64) {
        if self.counts() {
            let hashes = self.replay.close_block(gas_used != 0);
            self.add_poseidons(hashes);
        }
    }

    /// Counts a slot read outside transactions, before anything changes.
    pub(super) fn count_slot_read(&mut self, address: Address, slot: U256) {
        if self.counts() {
            let version = self.world().version();
            let state = self.world().state_access();
            let key = state.keys.storage_key(address, slot);
            let hashes = replay::read(state.tree, version, &key);
            self.add_poseidons(hashes);
        }
    }

    /// Counts a slot write outside transactions, before it happens.
    pub(super) fn count_slot_write(&mut self, address: Address, slot: U256, value: U256) {
        if self.counts() {
            let mut version = self.world().version();
            let state = self.world().state_access();
            let key = state.keys.storage_key(address, slot);
            let hashes = replay::write(state.tree, &mut version, &key, !value.is_zero());
            self.add_poseidons(hashes);
        }
    }

    /// Prices the accesses of a transaction that started at `start`.
    pub(super) fn count_accesses(&mut self, start: TreeRef) {
        if !self.counts() {
            return;
        }
        let accesses = self.evm.context().chain.counters.accesses.take();
        let mut state = self.evm.db().state_access();
        let hashes = self.replay.transaction(&accesses, start, &mut state);
        self.evm.context().chain.counters.accesses.reuse(accesses);
        self.add_poseidons(hashes);
    }

    fn add_poseidons(&mut self, hashes: Result<u64, TreeError>) {
        self.evm.context().chain.counters.real.poseidons += hashes.unwrap_or(0);
    }

    /// Returns the counters as reported: real where the fork's rules say so, else the model's.
    pub(super) fn counters(&mut self) -> Counters {
        let real_hashes = self.rules.real_hash_counters;
        let tally = &self.evm.context().chain.counters;
        let bound = tally.bound();
        if !real_hashes {
            return bound;
        }
        let Counters { steps, arithmetics, binaries, mem_aligns, .. } = bound;
        Counters { steps, arithmetics, binaries, mem_aligns, ..tally.real }
    }
}
