//! Counting outside the EVM: batch, blocks, decoding, intrinsic checks (exact-counters §2).
//!
//! Nothing here fails a batch: a store that cannot answer fails the execution itself at the same access.

use revm::primitives::{Address, U256};

use super::lengths::{KECCAK_RATE_BYTES, keccak_blocks, poseidon_blocks};
use super::meter::CounterMeter;
use super::model::{CallPart, DecodedTx, SECP256K1_ORDER, SignatureClass};
use super::proof_accesses::Access;
use super::proof_cost;
use super::rom_costs::reservations::{self, Reservation};
use super::rom_costs::{self, Fields, Rejection, RomCosts};
use super::sums::Digests;
use zkevm_batch::observer::{BatchObserver, BlockHeader, BlockStep, DecodedBatch, ExitRoot, Stage, StateAccess};
use zkevm_batch::{BatchItem, Recovered, Signature, Transaction};
use zkevm_tree::{LeafKind, TreeError, TreeRef};
use zkevm_types::{ApiVersion, Counters, ExecutorError, RomError};

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

impl BatchObserver for CounterMeter {
    /// Counts the digests every batch ends with: its data and the accumulated input hash.
    fn batch_data_hashed(&mut self) {
        let forced_block_hash = if self.rules.api == ApiVersion::V2 { FORCED_BLOCK_HASH_BYTES } else { 0 };
        self.sums.keccak(self.batch_data.len() as u64);
        self.sums.keccak(ACC_INPUT_HASH_BYTES + forced_block_hash);
        self.end_keccaks = self.sums.real.keccaks;
    }

    fn batch_decoded(&mut self, batch: DecodedBatch<'_>, recover: impl FnOnce(&[Signature]) -> Vec<Recovered>) {
        // The model ends a forced batch at its first ChangeL2Block, decoded or not; any other bad item leaves it nothing.
        let is_in_model = match batch.end {
            Ok(()) => true,
            Err(error) => error == RomError::InvalidDecodeChangeL2Block && batch.is_forced,
        };
        self.charge_batch(is_in_model, batch.is_forced);
        self.decoded.items += batch.items.len() as u64;
        match batch.end {
            Ok(()) => {
                let digests: Digests = batch.items.iter().map(|item| self.digests_at_most(item)).sum();
                self.decoded.digests = self.decoded.digests + digests;
                if self.enforces {
                    self.decoded.at_most += batch.items.iter().map(|item| self.item_at_most(item)).sum::<Counters>();
                }
                self.set_decoding_apart();
            }
            Err(_) => {
                // Before blocks, keys are recovered when a transaction runs.
                let recovered = match self.rules.api {
                    ApiVersion::V1 => Vec::new(),
                    ApiVersion::V2 => {
                        let transactions = batch.items.iter().filter_map(BatchItem::transaction);
                        recover(&transactions.map(Transaction::signature).collect::<Vec<_>>())
                    }
                };
                self.count_undecodable(batch.items, recovered, is_in_model);
            }
        }
    }

    fn block_decoded(&mut self) {
        let price = self.prices.decode_block();
        self.decoding().charge_real(price, rom_costs::block_decoded());
    }

    /// Counts what decoding a transaction digests: the signed list, the public key, the L2 hash.
    fn transaction_decoded(&mut self, tx: &Transaction, recovered: Recovered) {
        let path = self.decode_path(tx, recovered);
        let recovered = recovered.signer.is_some();
        let price = self.decode_price(tx, recovered);
        let extra = Counters { binaries: self.rules.recovery_extra_binaries, ..Counters::default() };
        if path.is_none() {
            self.reserve_recovery(tx, price);
        }
        let has_l2_hash = self.rules.api == ApiVersion::V2;
        let sums = self.decoding();
        sums.charge_exact(price, path.map_or(price + extra, |path| path.at_most));
        sums.is_sure(path.map_or(Counters::default(), |path| path.at_least));
        sums.keccak(tx.signed_rlp.len() as u64);
        if recovered {
            sums.keccak(PUBLIC_KEY_BYTES);
        }
        if has_l2_hash {
            sums.linear_poseidon(tx.l2_hash_bytes());
        }
    }

    fn exit_root_imported(&mut self, root: ExitRoot) {
        self.count_path(RomCosts::exit_root(root));
    }

    fn mapping_slot_hashed(&mut self) {
        self.sums.keccak(MAPPING_KEY_BYTES);
    }

    fn slot_read(&mut self, address: Address, slot: U256, at: TreeRef, state: StateAccess<'_, '_>) {
        if self.counts_all {
            let key = state.keys.storage_key(address, slot);
            self.add_poseidons(proof_cost::read(state.tree, at, &key));
        }
    }

    fn slot_written(
        &mut self,
        address: Address,
        slot: U256,
        present: bool,
        mut at: TreeRef,
        state: StateAccess<'_, '_>,
    ) {
        if self.counts_all {
            let key = state.keys.storage_key(address, slot);
            self.add_poseidons(proof_cost::write(state.tree, &mut at, &key, present));
        }
    }

    /// Charges the block, and counts the slot of the system contract's mapping that it writes.
    fn block_started(&mut self, change: Option<u32>) {
        let price = self.prices.open_block(change.is_none_or(|index| index != 0));
        self.reserve(reservations::BLOCK);
        self.sums.charge_real(price, rom_costs::block_started(change.is_none()));
        self.mapping_slot_hashed();
    }

    fn block_step(&mut self, step: BlockStep) {
        self.count_path(rom_costs::block_step(step));
    }

    /// Counts the digests of the proof; the ROM makes them whether or not somebody looks at the root.
    fn l1_info_proved(&mut self, index: u32) {
        self.reserve(reservations::L1_INFO_PROOF);
        self.count_path(rom_costs::l1_info_proof(index, self.rules.zero_l1_leaf_rule));
        self.sums.keccak(L1_INFO_LEAF_BYTES);
        (0..L1_INFO_LEVELS).for_each(|_| self.sums.keccak(MAPPING_KEY_BYTES));
    }

    fn block_header_written(&mut self, header: &BlockHeader) {
        self.count_path(rom_costs::block_header());
        self.reserve(reservations::HEADER);
        let present = [
            !header.parent_hash.is_zero(),
            !header.coinbase.is_zero(),
            header.number != 0,
            header.gas_limit != 0,
            !header.timestamp.is_zero(),
            !header.ger.is_zero(),
            !header.block_hash_l1.is_zero(),
        ];
        let hashes = self.proof_cost.open_block(Some(present));
        self.add_poseidons(Ok(hashes));
    }

    fn transaction_started(&mut self, tx: &Transaction) {
        self.reserve(reservations::TRANSACTION);
        self.has_chain_id = tx.chain_id.is_some();
    }

    fn account_read(&mut self, address: Address, leaf: LeafKind) {
        self.accesses.push(Access::Read(address, leaf));
    }

    fn account_written(&mut self, address: Address, leaf: LeafKind, present: bool) {
        self.accesses.push(Access::Write(address, leaf, present));
    }

    fn sender_touched(&mut self, sender: Address) {
        if !self.has_chain_id && self.rom.is_some() {
            self.sums.take_back(rom_costs::NO_CHAIN_ID);
        }
        self.precompile_tested();
        if self.rules.precompile_number(&sender).is_none() {
            self.accesses.push(Access::TouchAccount(sender));
        } else {
            // An unsigned call: its path is a little shorter.
            self.sums.leave_unsure();
        }
    }

    /// Counts the checks up to the one that failed: the model has nothing for them.
    fn transaction_rejected(&mut self, tx: &Transaction, error: RomError) {
        let Some(rom) = self.rom else { return };
        let why = match error {
            RomError::IntrinsicInvalidSignature | RomError::IntrinsicInvalidSenderCode => Rejection::Signature,
            RomError::IntrinsicInvalidChainId => Rejection::ChainId,
            RomError::IntrinsicInvalidNonce => Rejection::Nonce,
            RomError::IntrinsicInvalidBatchGasLimit => Rejection::GasLimit,
            RomError::IntrinsicInvalidGasLimit => Rejection::IntrinsicGas,
            RomError::IntrinsicTxGasOverflow => Rejection::GasOverflow,
            _ => Rejection::Balance,
        };
        let checks = rom.rejected(why, tx.data.len() as u64, tx.to.is_none());
        // How far a product is off its range decides how long it takes to find out; code of the sender, and what a create
        // lacks, are found a little sooner.
        let is_known = match error {
            RomError::IntrinsicTxGasOverflow | RomError::IntrinsicInvalidSenderCode => false,
            _ => tx.data.is_empty() && (tx.to.is_some() || !matches!(why, Rejection::Balance)),
        };
        if is_known { self.count_path(checks) } else { self.count_bound(checks) }
    }

    /// Counts what adds up the gas of the data.
    fn transaction_accepted(&mut self, tx: &Transaction) {
        self.count_bound(rom_costs::data_gas(tx.data.len() as u64));
    }

    /// Notes what the checks inside the transaction can have wanted, if it was not a plain transfer.
    fn transaction_ran(&mut self) {
        self.flush_opcodes();
        if !matches!(self.call.take(), Some((_, false))) {
            self.reserve(reservations::CODE);
        }
    }

    /// Counts what stands around the code that was given up.
    fn transaction_given_up(&mut self) {
        let part = if self.call.is_some() { self.transaction_part } else { CallPart::Deploy(0) };
        self.processed(part);
        self.reserve(reservations::CODE);
        self.call = None;
    }

    /// Prices the accesses of the transaction.
    fn transaction_ended(&mut self, start: TreeRef, mut state: StateAccess<'_, '_>) {
        if self.counts_all {
            // A store that cannot answer fails the execution at the same access.
            let _: Result<(), TreeError> = self.price_accesses(start, &mut state);
            self.proof_cost.end_transaction();
        }
    }

    /// Charges the block that each transaction is in the forks without blocks.
    fn implicit_block_opened(&mut self) {
        let price = self.prices.open_block(false);
        // Known paths have it among the fees.
        let real = self.rom.map_or(price, |_| Counters::default());
        self.sums.charge_exact(price, real);
    }

    fn receipt_written(&mut self, status: bool, gas_used: u64, percentage: u8) {
        self.reserve(reservations::RECEIPT);
        let hashes = self.proof_cost.receipt(status, gas_used != 0, percentage != 0);
        self.add_poseidons(Ok(hashes));
    }

    fn block_closed(&mut self, gas_used: u64) {
        self.reserve(reservations::CLOSE);
        self.count_path(rom_costs::block_closed());
        let hashes = self.proof_cost.close_block(gas_used != 0);
        self.add_poseidons(Ok(hashes));
    }

    fn program_missing(&mut self, bytes: u64) {
        self.reserve(reservations::code_digest(bytes));
    }

    fn judges_decoding(&self) -> bool {
        self.decoding_may_exceed()
    }

    fn needs_decoding(&mut self) -> bool {
        self.may_exceed()
    }

    fn out_of_counters(&mut self, stage: Stage) -> Option<RomError> {
        self.exceeded(stage)
    }

    fn overflow(&mut self) -> Option<ExecutorError> {
        if self.passed_last_digest() {
            return Some(ExecutorError::AddressOutOfRange);
        }
        if self.passed_last_context() {
            return Some(ExecutorError::Unspecified);
        }
        self.passed_last_step().then_some(ExecutorError::CountersOverflowSteps)
    }
}

impl CounterMeter {
    /// Charges the batch, once its decoding is over: the model charges nothing for one that does not decode.
    fn charge_batch(&mut self, is_in_model: bool, is_forced: bool) {
        let bytes = self.batch_data.len() as u64;
        let price = self.prices.batch(bytes);
        self.reserve(reservations::DIVISION);
        // That it is forced is noted, and tested again at its first item.
        let tests = if bytes == 0 { 1 } else { 2 };
        let forced = Counters { steps: if is_forced { tests } else { 0 }, ..Counters::default() };
        let real = self.rom.map_or(price, |rom| rom.batch(bytes) + forced);
        if is_in_model {
            self.sums.charge_exact(price, real);
        } else {
            self.sums.charge_bound_only(real);
        }
        if self.rom.is_some() {
            self.sums.is_sure(real);
        }
    }

    /// Cost of decoding a transaction whose key is recovered: real without data, else the dearest.
    fn decode_path(&mut self, tx: &Transaction, recovered: Recovered) -> Option<DecodePath> {
        let (rom, bits) = self.rom.zip(recovered.scalar_bits)?;
        let decoded = rom.decoded(&fields(tx));
        let recovery = rom.recovery(bits, tx.v, recovered.root_is_negated);
        self.reserve_recovery(tx, decoded);
        let at_most = decoded + recovery;
        let at_least = match (rom.recovery_is_fitted, tx.data.is_empty()) {
            (true, _) => Counters::default(),
            (false, true) => at_most,
            (false, false) => recovery,
        };
        Some(DecodePath { at_most, at_least })
    }

    /// Notes the checks for the list's digest and before its key is recovered, with what was decoded of the transaction.
    fn reserve_recovery(&mut self, tx: &Transaction, decoded: Counters) {
        let mut check = reservations::RECOVERY;
        check.beyond += decoded;
        check.beyond.keccaks += keccak_blocks(tx.signed_rlp.len() as u64);
        check.stated = check.stated.max(reservations::keccak(tx.signed_rlp.len() as u64).stated);
        self.reserve_decoding(check);
    }

    /// Returns what decoding an item comes to at most, whatever its signature; keccaks as if its key is recovered.
    fn item_at_most(&self, item: &BatchItem) -> Counters {
        let BatchItem::Transaction(tx) = item else {
            return rom_costs::block_decoded().max(self.prices.decode_block());
        };
        let priced = self.decode_price(tx, false).max(self.decode_price(tx, true));
        let extra = Counters { binaries: self.rules.recovery_extra_binaries, ..Counters::default() };
        let known = self.rom.map(|rom| rom.decoded(&fields(tx)) + rom.dearest_recovery());
        // With a known path the price is left to signatures that yield no key, whose price has the same data in it.
        let Counters { steps, arithmetics, binaries, mem_aligns, .. } = known.unwrap_or(priced + extra);
        let poseidon_paddings = match self.rules.api {
            ApiVersion::V1 => 0,
            ApiVersion::V2 => poseidon_blocks(tx.l2_hash_bytes()),
        };
        Counters {
            steps,
            arithmetics,
            binaries,
            mem_aligns,
            keccaks: keccak_blocks(tx.signed_rlp.len() as u64) + keccak_blocks(PUBLIC_KEY_BYTES),
            poseidon_paddings,
            poseidons: poseidon_paddings,
            sha256s: 0,
        }
    }

    /// Returns the digests that decoding an item makes at most: those of its key are made if there is one.
    fn digests_at_most(&self, item: &BatchItem) -> Digests {
        match item {
            BatchItem::ChangeL2Block { .. } => Digests::default(),
            BatchItem::Transaction(_) => {
                Digests { keccak: 2, poseidon: u64::from(self.rules.api == ApiVersion::V2), sha256: 0 }
            }
        }
    }

    fn decode_price(&self, tx: &Transaction, recovered: bool) -> Counters {
        let length = |number: U256| number.byte_len().max(1) as u64;
        let chain_id = tx.chain_id.map_or(0, |id| length(U256::from(id)));
        let [gas_limit, nonce] = [tx.gas_limit, tx.nonce].map(|number| length(U256::from(number)));
        let [r, s] = [tx.r, tx.s].map(|word| U256::from_be_bytes(word.0));
        let signature = if recovered {
            SignatureClass::Root
        } else {
            SignatureClass::of(U256::from(tx.v), r, s, SECP256K1_ORDER >> 1)
        };
        self.prices.decode(&DecodedTx {
            bytes: self.item_bytes(tx) as u64,
            data_bytes: tx.data.len() as u64,
            number_bytes: [length(tx.gas_price), gas_limit, length(tx.value), chain_id, nonce],
            signature,
        })
    }

    /// Bytes of a transaction in the batch: list, signature and percentage.
    fn item_bytes(&self, tx: &Transaction) -> usize {
        tx.signed_rlp.len() + SIGNATURE_BYTES + usize::from(self.rules.effective_percentage)
    }

    /// Counts the items before the bad one of a batch that does not decode. The model has nothing for them, so the bound
    /// takes what they would cost, and the rest of the data as one transaction's.
    fn count_undecodable(&mut self, items: &[BatchItem], recovered: Vec<Recovered>, is_in_model: bool) {
        let model = self.sums.charged;
        let mut recovered = recovered.into_iter();
        let mut decoded_bytes = 0;
        for item in items {
            match item {
                BatchItem::ChangeL2Block { .. } => {
                    decoded_bytes += CHANGE_L2_BLOCK_BYTES;
                    self.block_decoded();
                }
                BatchItem::Transaction(tx) => {
                    decoded_bytes += self.item_bytes(tx);
                    self.transaction_decoded(tx, recovered.next().unwrap_or_default());
                }
            }
        }
        let data = self.batch_data.get(decoded_bytes..).unwrap_or_default();
        let (keccaks, rest) = (claimed_keccaks(data), self.undecodable_bound(data));
        let beyond = Counters { keccaks, ..Counters::default() };
        // Reading a number asks for a few binaries and a shift, whichever way it ends.
        let stated = Counters { steps: 500, arithmetics: 2, binaries: 10, ..beyond };
        self.reserve(Reservation { beyond, stated });
        let kept = if is_in_model { self.sums.charged } else { model };
        self.sums.move_to_bound(kept, rest);
        // The ROM may stop before the items in front of the bad one are all dealt with.
        self.sums.leave_unsure();
    }

    /// Bound for the data after the items that decode: as much of one transaction as its list can hold, and the rest of it
    /// digested word by word.
    fn undecodable_bound(&self, data: &[u8]) -> Counters {
        let list_bytes = match data {
            [first @ 0xc0..=0xf7, ..] => u64::from(first - 0xc0),
            [0xf8..=0xff, ..] => data.len() as u64,
            _ => 0,
        };
        let words = (data.len() as u64).div_ceil(32);
        let digest = Counters { steps: 300 + 12 * words, binaries: 20, arithmetics: 4, ..Counters::default() };
        let numbers = self.prices.decode(&DecodedTx {
            bytes: 0,
            data_bytes: 0,
            number_bytes: [32, 8, 32, 8, 8],
            signature: SignatureClass::Rejected,
        });
        if list_bytes == 0 {
            digest
        } else {
            digest + numbers + self.prices.data_bound(list_bytes.min(data.len() as u64))
        }
    }

    fn add_poseidons(&mut self, hashes: Result<u64, TreeError>) {
        self.sums.real.poseidons += hashes.unwrap_or(0);
    }
}

/// What decoding a transaction and recovering its key takes.
#[derive(Clone, Copy)]
struct DecodePath {
    at_most: Counters,
    at_least: Counters,
}

/// What decoding a transaction depends on.
fn fields(tx: &Transaction) -> Fields {
    let [nonce, gas_limit] = [tx.nonce, tx.gas_limit].map(|number| Some(U256::from(number)));
    Fields {
        numbers: [nonce, Some(tx.gas_price), gas_limit, Some(tx.value), tx.chain_id.map(U256::from)],
        has_recipient: tx.to.is_some(),
        list_bytes: tx.signed_rlp.len() as u64,
        data_bytes: tx.data.len() as u64,
    }
}

/// Keccaks that the ROM asks for before an item, and once it has read the header of a list, for one as long as it says it is
/// (batch §3.1).
fn claimed_keccaks(data: &[u8]) -> u64 {
    let (header_bytes, bytes) = match data {
        [first @ 0xf8..=0xfa, rest @ ..] => {
            let length_bytes = usize::from(first - 0xf7);
            let length = rest.iter().take(length_bytes).fold(0, |length, byte| length << 8 | u64::from(*byte));
            (1 + length_bytes as u64, length)
        }
        [first @ 0xc0..=0xf7, ..] => (1, u64::from(first - 0xc0)),
        _ => return 1,
    };
    1 + (header_bytes + bytes + 1) / KECCAK_RATE_BYTES
}
