//! Counting outside the EVM: batch, blocks, decoding, intrinsic checks (exact-counters §2).
//!
//! Nothing here fails a batch: a store that cannot answer fails the execution itself at the same access.

use revm::primitives::{Address, U256};

use super::block_info::BlockHeader;
use super::run::{BatchRun, TxEnd};
use zkevm_batch::{BatchItem, Recovered, Transaction};
use zkevm_counters::lengths::KECCAK_RATE_BYTES;
use zkevm_counters::limits::{self, Counter};
use zkevm_counters::model::{DecodedTx, Prices, SECP256K1_ORDER, SignatureClass};
use zkevm_counters::paths::{self, ExitRoot, Fields, Opening, Rejection, Rom, wanted};
use zkevm_counters::replay;
use zkevm_counters::{Access, Tally};
use zkevm_evm::precompiles::ZkPrecompiles;
use zkevm_tree::{TreeError, TreeRef};
use zkevm_types::ApiVersion;
use zkevm_types::Counters;
use zkevm_types::CountersPolicy;
use zkevm_types::RomError;

/// Bytes of the accumulated input hash's digest: three words, a timestamp, an address, and with blocks another word.
const ACC_INPUT_HASH_BYTES: u64 = 32 + 32 + 32 + 8 + 20;
const FORCED_BLOCK_HASH_BYTES: u64 = 32;
/// Bytes of the digest that names a slot of a mapping: key and slot.
const MAPPING_KEY_BYTES: u64 = 64;
/// Bytes of the digest of an L1 info leaf.
const L1_INFO_LEAF_BYTES: u64 = 72;
/// Digests of 64 bytes from an L1 info leaf to the root.
const L1_INFO_LEVELS: u64 = 32;
/// Bytes of a ChangeL2Block item.
const CHANGE_L2_BLOCK_BYTES: usize = 9;
/// Bytes of a signature behind its list.
const SIGNATURE_BYTES: usize = 65;
/// Bytes of a public key, digested to an address.
const PUBLIC_KEY_BYTES: u64 = 64;

impl BatchRun<'_> {
    pub(super) fn tally(&mut self) -> &mut Tally {
        &mut self.evm.context().chain.counters
    }

    /// Starts a new tally, and returns the old one.
    pub(super) fn count_anew(&mut self) -> Tally {
        let tally = Tally::new(self.prices(), self.rules.rom.map(Rom::of), !self.input.no_counters);
        std::mem::replace(self.tally(), tally)
    }

    /// Notes a tree access of the running transaction.
    pub(super) fn count(&mut self, access: Access) {
        self.tally().accesses.push(access);
    }

    /// Counts what the ROM does on a path that the price lists leave out, in the forks whose paths are known.
    fn count_path(&mut self, cost: Counters) {
        if self.rules.rom.is_some() {
            self.tally().charge_beyond_model(cost);
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
        let bytes = self.input.batch_l2_data.len() as u64;
        let forced_block_hash = if self.rules.api == ApiVersion::V2 { FORCED_BLOCK_HASH_BYTES } else { 0 };
        let tally = self.tally();
        tally.keccak(bytes);
        tally.keccak(ACC_INPUT_HASH_BYTES + forced_block_hash);
    }

    /// Counts what decoding a transaction digests: the signed list, the public key, the L2 hash.
    pub(super) fn count_decoded(&mut self, tx: &Transaction, recovered: Recovered) {
        let real = self.decode_path(tx, recovered);
        let recovered = recovered.signer.is_some();
        let price = self.decode_price(tx, recovered);
        let extra = Counters { binaries: self.rules.recovery_extra_binaries, ..Counters::default() };
        if real.is_none() {
            self.reserve(price + wanted::RECOVERY);
        }
        let has_l2_hash = self.rules.api == ApiVersion::V2;
        let tally = self.tally();
        tally.charge_real(price, real.unwrap_or(price + extra));
        tally.keccak(tx.signed_rlp.len() as u64);
        if recovered {
            tally.keccak(PUBLIC_KEY_BYTES);
        }
        if has_l2_hash {
            tally.linear_poseidon(tx.l2_hash_bytes());
        }
    }

    /// Cost of decoding a transaction whose key is recovered: real without data, else the dearest.
    fn decode_path(&mut self, tx: &Transaction, recovered: Recovered) -> Option<Counters> {
        let (rom, ladder) = self.rules.rom.map(Rom::of).zip(recovered.ladder)?;
        let [nonce, gas_limit] = [tx.nonce, tx.gas_limit].map(|number| Some(U256::from(number)));
        let numbers = [nonce, Some(tx.gas_price), gas_limit, Some(tx.value), tx.chain_id.map(U256::from)];
        let decoded = rom.decoded(&Fields {
            numbers,
            has_recipient: tx.to.is_some(),
            list_bytes: tx.signed_rlp.len() as u64,
            data_bytes: tx.data.len() as u64,
        });
        let recovery = rom.recovery(ladder, tx.v, recovered.root_is_negated);
        self.reserve(decoded + wanted::RECOVERY);
        Some(decoded + recovery)
    }

    /// Counts the checks of a rejected transaction: the model has nothing for them.
    pub(super) fn count_rejected(&mut self, error: RomError, data_bytes: usize) {
        if let Some(rom) = self.rules.rom.map(Rom::of) {
            let why = match error {
                RomError::IntrinsicInvalidSignature | RomError::IntrinsicInvalidSenderCode => Rejection::Signature,
                RomError::IntrinsicInvalidChainId => Rejection::ChainId,
                RomError::IntrinsicInvalidNonce => Rejection::Nonce,
                RomError::IntrinsicInvalidBatchGasLimit => Rejection::GasLimit,
                RomError::IntrinsicInvalidGasLimit => Rejection::IntrinsicGas,
                RomError::IntrinsicTxGasOverflow => Rejection::GasOverflow,
                _ => Rejection::Balance,
            };
            self.count_path(rom.rejected(why, data_bytes as u64));
        }
    }

    /// Counts what adds up the gas of a transaction's data.
    pub(super) fn count_data_gas(&mut self, data_bytes: usize) {
        self.count_path(paths::data_gas(data_bytes as u64));
    }

    /// Counts a part of opening a block.
    pub(super) fn count_opening(&mut self, part: Opening) {
        self.count_path(paths::block_opened(part));
    }

    /// Notes what a check of the ROM wants free.
    pub(super) fn reserve(&mut self, wanted: Counters) {
        self.tally().reserve(wanted);
    }

    /// Settles the last transaction, and notes what the checks inside it can have wanted, if it was not a plain transfer.
    pub(super) fn settle_transaction(&mut self) {
        let tally = self.tally();
        tally.settle();
        if !matches!(tally.call.take(), Some((_, false))) {
            tally.reserve(wanted::CODE);
        }
    }

    /// Counts what a V1 batch does with its global exit root before it decodes.
    pub(super) fn count_exit_root(&mut self, root: ExitRoot) {
        self.count_path(Rom::exit_root(root));
    }

    fn prices(&mut self) -> Prices {
        self.tally().prices
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
        self.prices().decode(&DecodedTx {
            bytes: (tx.signed_rlp.len() + SIGNATURE_BYTES) as u64 + u64::from(self.rules.effective_percentage),
            data_bytes: tx.data.len() as u64,
            number_bytes: [length(tx.gas_price), gas_limit, length(tx.value), chain_id, nonce],
            signature,
        })
    }

    /// Charges the batch, once its decoding is over: the model charges nothing for one that does not decode.
    pub(super) fn count_batch_decoded(&mut self, decodes: bool, is_forced: bool) {
        let bytes = self.input.batch_l2_data.len() as u64;
        let price = self.prices().batch(bytes);
        self.reserve(wanted::DIVISION);
        // That it is forced is noted, and tested again at its first item.
        let tests = if bytes == 0 { 1 } else { 2 };
        let forced = Counters { steps: if is_forced { tests } else { 0 }, ..Counters::default() };
        let real = self.rules.rom.map(Rom::of).map_or(price, |rom| rom.batch(bytes) + forced);
        let tally = self.tally();
        if decodes {
            tally.charge_real(price, real);
        } else {
            tally.charge_beyond_model(real);
        }
    }

    /// Charges the decoding of a ChangeL2Block.
    pub(super) fn count_block_decoded(&mut self) {
        let price = self.prices().decode_block();
        self.tally().charge_real(price, paths::block_decoded());
    }

    /// Counts the transactions before the bad item of a batch that does not decode. The model has nothing for them, so the
    /// bound takes what they would cost, and the rest of the data as one transaction's.
    pub(super) fn count_undecodable(&mut self, items: Vec<BatchItem>, in_model: bool) {
        let model = self.tally().charges();
        let mut decoded_bytes = 0;
        for item in items {
            match item {
                BatchItem::ChangeL2Block { .. } => {
                    decoded_bytes += CHANGE_L2_BLOCK_BYTES;
                    self.count_block_decoded();
                }
                BatchItem::Transaction(tx) => {
                    decoded_bytes +=
                        tx.signed_rlp.len() + SIGNATURE_BYTES + usize::from(self.rules.effective_percentage);
                    // Before blocks, keys are recovered when a transaction runs.
                    let recovers = self.rules.api == ApiVersion::V2;
                    let recovered =
                        recovers.then(|| self.engine.senders.recover_one(tx.signature(), self.rules.recovery()));
                    self.count_decoded(&tx, recovered.unwrap_or_default());
                }
            }
        }
        let rest = self.undecodable_bound(decoded_bytes);
        let keccaks = self.claimed_keccaks(decoded_bytes);
        self.reserve(Counters { keccaks, ..Counters::default() });
        let tally = self.tally();
        let kept = if in_model { tally.charges() } else { model };
        tally.move_beyond_model(kept, rest);
    }

    /// Keccaks for a list as long as the one after the items that decode says it is.
    fn claimed_keccaks(&self, decoded_bytes: usize) -> u64 {
        let bytes = match self.input.batch_l2_data.get(decoded_bytes..).unwrap_or_default() {
            [first @ 0xf8..=0xfa, rest @ ..] => {
                rest.iter().take(usize::from(first - 0xf7)).fold(0, |length, byte| length << 8 | u64::from(*byte))
            }
            _ => 0,
        };
        (bytes + 5) / KECCAK_RATE_BYTES + 2
    }

    /// Bound for what comes after the items that decode: as much of one transaction as its list can hold, and the rest of
    /// the data digested word by word.
    fn undecodable_bound(&mut self, decoded_bytes: usize) -> Counters {
        let data = self.input.batch_l2_data.get(decoded_bytes..).unwrap_or_default();
        let list_bytes = match data {
            [first @ 0xc0..=0xf7, ..] => u64::from(first - 0xc0),
            [0xf8..=0xff, ..] => data.len() as u64,
            _ => 0,
        };
        let words = (data.len() as u64).div_ceil(32);
        let digest = Counters { steps: 300 + 12 * words, binaries: 20, arithmetics: 4, ..Counters::default() };
        let numbers = self.prices().decode(&DecodedTx {
            bytes: 0,
            data_bytes: 0,
            number_bytes: [32, 8, 32, 8, 8],
            signature: SignatureClass::Rejected,
        });
        if list_bytes == 0 {
            digest
        } else {
            digest + numbers + self.prices().data_bound(list_bytes.min(data.len() as u64))
        }
    }

    /// Counts the slot of the system contract's mapping that a new block writes, and charges the block.
    pub(super) fn count_block_opened(&mut self, has_l1_info: bool, forced: bool) {
        let price = self.prices().open_block(has_l1_info);
        self.reserve(wanted::BLOCK);
        let start = paths::block_opened(Opening::Start { forced });
        self.tally().charge_real(price, start);
        self.count_mapping_key();
    }

    /// Charges the block that each transaction is in the forks without blocks.
    pub(super) fn count_implicit_block(&mut self, end: &TxEnd) {
        if matches!(end, TxEnd::Included { .. }) {
            let price = self.prices().open_block(false);
            // Known paths have it among the fees.
            let real = self.rules.rom.map_or(price, |_| Counters::default());
            self.tally().charge_real(price, real);
        }
    }

    /// Counts the name of a mapping's slot.
    pub(super) fn count_mapping_key(&mut self) {
        self.tally().keccak(MAPPING_KEY_BYTES);
    }

    /// Counts the digests of an L1 info proof; the ROM makes them whether or not somebody looks at the root.
    pub(super) fn count_l1_info_proof(&mut self, index: u32) {
        self.reserve(Counters { keccaks: 1 + L1_INFO_LEVELS, ..Counters::default() });
        let proof = paths::l1_info_proof(index, self.rules.zero_l1_leaf_rule);
        let tally = self.tally();
        tally.charge_beyond_model(proof);
        tally.keccak(L1_INFO_LEAF_BYTES);
        (0..L1_INFO_LEVELS).for_each(|_| tally.keccak(MAPPING_KEY_BYTES));
    }

    /// Counts the header leaves of a block.
    pub(super) fn count_header(&mut self, block: &BlockHeader) {
        self.count_opening(Opening::Header);
        self.reserve(wanted::HEADER);
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
        self.add_poseidons(Ok(hashes));
    }

    /// Counts the receipt of an included transaction.
    pub(super) fn count_receipt(&mut self, status: bool, cumulative_gas_used: u64, percentage: u8) {
        self.reserve(wanted::RECEIPT);
        let hashes = self.replay.receipt(status, cumulative_gas_used != 0, percentage != 0);
        self.add_poseidons(Ok(hashes));
    }

    /// Counts the block info leaf that closes a block.
    pub(super) fn count_block_closed(&mut self, gas_used: u64) {
        self.reserve(wanted::CLOSE);
        self.tally().charge_beyond_model(paths::block_closed());
        let hashes = self.replay.close_block(gas_used != 0);
        self.add_poseidons(Ok(hashes));
    }

    /// Counts a slot read outside transactions, before anything changes.
    pub(super) fn count_slot_read(&mut self, address: Address, slot: U256) {
        if !self.input.no_counters {
            let version = self.world().version();
            let state = self.world().state_access();
            let key = state.keys.storage_key(address, slot);
            let hashes = replay::read(state.tree, version, &key);
            self.add_poseidons(hashes);
        }
    }

    /// Counts a slot write outside transactions, before it happens.
    pub(super) fn count_slot_write(&mut self, address: Address, slot: U256, present: bool) {
        if !self.input.no_counters {
            let mut version = self.world().version();
            let state = self.world().state_access();
            let key = state.keys.storage_key(address, slot);
            let hashes = replay::write(state.tree, &mut version, &key, present);
            self.add_poseidons(hashes);
        }
    }

    /// Prices the accesses of a transaction that started at `start`.
    pub(super) fn count_accesses(&mut self, start: TreeRef) {
        if self.input.no_counters {
            return;
        }
        let accesses = self.tally().accesses.take();
        let mut state = self.evm.db().state_access();
        let hashes = self.replay.transaction(&accesses, start, &mut state);
        self.tally().accesses.reuse(accesses);
        self.add_poseidons(hashes);
    }

    fn add_poseidons(&mut self, hashes: Result<u64, TreeError>) {
        self.tally().real.poseidons += hashes.unwrap_or(0);
    }

    /// True if a batch that runs out of counters ends there.
    pub(super) fn enforces_counters(&self) -> bool {
        self.input.counters_policy == CountersPolicy::Enforce && !self.input.no_counters
    }

    /// Returns the error of a batch that ran out of counters, under policy `enforce`. `decoding` says that nothing ran yet.
    pub(super) fn out_of_counters(&mut self, decoding: bool) -> Option<RomError> {
        if !self.enforces_counters() {
            return None;
        }
        let counters = self.counters();
        let exceeded = if decoding { limits::exceeded_by_decoding(counters) } else { limits::exceeded(counters) };
        exceeded.map(|counter| match counter {
            Counter::Steps => RomError::OutOfCountersStep,
            Counter::Arithmetics => RomError::OutOfCountersArith,
            Counter::Binaries => RomError::OutOfCountersBinary,
            Counter::MemAligns => RomError::OutOfCountersMem,
            Counter::Keccaks => RomError::OutOfCountersKeccak,
            Counter::PoseidonPaddings => RomError::OutOfCountersPadding,
            Counter::Poseidons => RomError::OutOfCountersPoseidon,
            Counter::Sha256s => RomError::OutOfCountersSha,
        })
    }

    /// Returns the counters as reported. Without counting there are only steps, as in the original.
    pub(super) fn counters(&mut self) -> Counters {
        let used = self.tally().used();
        if self.input.no_counters { Counters { steps: used.steps, ..Counters::default() } } else { used }
    }

    /// Returns the reservations as reported, never below the counters.
    pub(super) fn reservations(&mut self, used: Counters) -> Counters {
        let (reserved, wanted) = self.tally().reservations();
        if self.input.no_counters {
            // The checks saw nothing used.
            return used.max(wanted);
        }
        // Keccaks of the batch's end are set aside by dividing its length and one: a whole quotient counts once more.
        let whole = (self.input.batch_l2_data.len() as u64 + 1).is_multiple_of(KECCAK_RATE_BYTES);
        let most = reserved.keccaks.max(used.keccaks);
        let keccaks = if reserved == Counters::default() { 0 } else { most + u64::from(whole) };
        used.max(Counters { keccaks, ..reserved })
    }
}
