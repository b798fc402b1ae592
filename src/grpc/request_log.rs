//! The two log lines of a call with the original's keys in its order (executor-service §11.2): what came, what goes back.
//!
//! Errors are told by their names in the contract, where the original has texts of its own.

use std::fmt::{self, Display, Formatter};

use prost::Message;
use revm::primitives::{B256, hex};

use crate::actors::Rpc;
use crate::text::Escaped;
use zkevm_types::BatchContext;
use zkevm_types::{BatchInput, ExecutorError, RomError};
use zkevm_wire::proto::executor::v1 as wire;

/// Bytes of `batch_l2_data` that are shown of each of its ends.
const DATA_ENDS_BYTES: usize = 10;

/// Displays as `ExecutorServiceImpl::<Rpc>() got …`.
pub(super) struct GotLine<'a> {
    pub(super) rpc: Rpc,
    pub(super) context_id: &'a str,
    pub(super) input: &'a BatchInput,
}

impl Display for GotLine<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let input = self.input;
        let data = &input.batch_l2_data;
        write!(f, "ExecutorServiceImpl::{}() got sequencerAddr={:#x}", self.rpc.name(), input.coinbase)?;
        write!(f, " batchL2DataLength={} batchL2Data=0x", data.len())?;
        match data.len() <= 2 * DATA_ENDS_BYTES {
            true => f.write_str(&hex::encode(data))?,
            false => {
                let (head, tail) = (&data[..DATA_ENDS_BYTES], &data[data.len() - DATA_ENDS_BYTES..]);
                write!(f, "{}...0x{}", hex::encode(head), hex::encode(tail))?;
            }
        }
        let (old_root, old_hash) = (Minimal(input.old_state_root), Minimal(input.old_acc_input_hash));
        write!(f, " oldStateRoot={old_root} oldAccInputHash={old_hash} oldBatchNum={}", input.old_batch_num)?;
        write!(f, " chainId={} forkId={} native", input.chain_id, input.fork_id.get())?;
        match &input.context {
            BatchContext::V1 { global_exit_root, eth_timestamp } => {
                write!(f, " globalExitRoot={} timestamp={eth_timestamp}", Minimal(*global_exit_root))?;
            }
            BatchContext::V2(context) => {
                let root = Minimal(context.l1_info_root);
                write!(f, " l1InfoRoot={root} timestampLimit={}", context.timestamp_limit)?;
            }
        }
        write!(f, " from={:#x}", input.from.unwrap_or_default())?;
        let (update, no_counters) = (u8::from(input.update_merkle_tree), u8::from(input.no_counters));
        write!(f, " bUpdateMerkleTree={update} bNoCounters={no_counters}")?;
        if let BatchContext::V2(context) = &input.context {
            let flags = [
                ("bGetKeys", input.get_keys),
                ("bSkipVerifyL1InfoRoot", context.skip_verify_l1_info_root),
                ("bSkipFirstChangeL2Block", context.skip_first_change_l2_block),
                ("bSkipWriteBlockInfoRoot", context.skip_write_block_info_root),
            ];
            flags.into_iter().try_for_each(|(key, set)| write!(f, " {key}={}", u8::from(set)))?;
        }
        f.write_str(" traceConfig=")?;
        match &input.trace {
            None => f.write_str("0")?,
            Some(trace) => {
                let flags = [trace.disable_storage, trace.disable_stack, trace.enable_memory, trace.enable_return_data];
                f.write_str("1")?;
                flags.into_iter().try_for_each(|set| write!(f, ",{}", u8::from(set)))?;
                write!(f, ",{:#x}", trace.tx_hash)?;
            }
        }
        write!(f, " UUID={}", Escaped::value(&format_args!("{}", self.context_id)))?;
        if let BatchContext::V2(context) = &input.context {
            let mut indices: Vec<u32> = context.l1_info_tree_data.keys().copied().collect();
            indices.sort_unstable();
            write!(f, " l1InfoTreeData.size={}=", indices.len())?;
            indices.into_iter().try_for_each(|index| write!(f, "{index},"))?;
            write!(f, " stateOverride.size={}", input.state_override.len())?;
        }
        Ok(())
    }
}

/// State and number the batch was built on.
#[derive(Clone, Copy)]
pub(super) struct BatchOrigin {
    pub(super) state_root: B256,
    pub(super) batch_num: u64,
}

impl From<&BatchInput> for BatchOrigin {
    fn from(input: &BatchInput) -> Self {
        Self { state_root: input.old_state_root, batch_num: input.old_batch_num }
    }
}

/// A response that has a line.
pub(super) trait LoggedResponse: Message {
    /// Writes what follows `returns`; `txs` says whether every transaction is told.
    fn line(&self, origin: BatchOrigin, txs: bool, f: &mut Formatter<'_>) -> fmt::Result;
}

/// Displays as `ExecutorServiceImpl::<Rpc>() returns …`.
pub(super) struct ReturnsLine<'a, R> {
    pub(super) rpc: Rpc,
    pub(super) origin: BatchOrigin,
    pub(super) response: &'a R,
    /// Tell every transaction as well.
    pub(super) txs: bool,
}

impl<R: LoggedResponse> Display for ReturnsLine<'_, R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "ExecutorServiceImpl::{}() returns", self.rpc.name())?;
        self.response.line(self.origin, self.txs, f)
    }
}

/// Writes the part between the errors and the blocks.
macro_rules! summary {
    ($f:expr, $response:expr, $origin:expr, $gas_used:expr $(, $key:literal = $counter:expr)?) => {{
        let (r, origin) = ($response, $origin);
        write!($f, " old_state_root={:#x}", origin.state_root)?;
        write!($f, " new_state_root={} new_acc_input_hash={}", word(&r.new_state_root), word(&r.new_acc_input_hash))?;
        write!($f, " new_local_exit_root={} old_batch_num={}", word(&r.new_local_exit_root), origin.batch_num)?;
        write!($f, " steps={} gasUsed={} counters.keccakF={}", r.cnt_steps, $gas_used, r.cnt_keccak_hashes)?;
        write!($f, " counters.poseidonG={}", r.cnt_poseidon_hashes)?;
        write!($f, " counters.paddingPG={} counters.memAlign={}", r.cnt_poseidon_paddings, r.cnt_mem_aligns)?;
        write!($f, " counters.arith={} counters.binary={}", r.cnt_arithmetics, r.cnt_binaries)?;
        $(write!($f, " {}={}", $key, $counter)?;)?
        write!($f, " flush_id={} last_sent_flush_id={}", r.flush_id, r.stored_flush_id)?;
    }};
}

/// Writes the transactions, numbered from `$first`.
macro_rules! transactions {
    ($f:expr, $txs:expr, $first:expr) => {
        for (i, tx) in ($first..).zip($txs) {
            write!($f, " tx[{i}].hash={} stateRoot={}", word(&tx.tx_hash), word(&tx.state_root))?;
            let limit = tx.gas_used.saturating_add(tx.gas_left);
            write!($f, " gasUsed={} gasLeft={} gasUsed+gasLeft={limit}", tx.gas_used, tx.gas_left)?;
            write!($f, " gasRefunded={} result={}", tx.gas_refunded, rom_error(tx.error))?;
        }
    };
}

impl LoggedResponse for wire::ProcessBatchResponse {
    fn line(&self, origin: BatchOrigin, txs: bool, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, " result={}", executor_error(self.error))?;
        summary!(f, self, origin, self.cumulative_gas_used);
        write!(f, " nTxs={}", self.responses.len())?;
        if txs {
            transactions!(f, &self.responses, 0_usize);
        }
        Ok(())
    }
}

impl LoggedResponse for wire::ProcessBatchResponseV2 {
    fn line(&self, origin: BatchOrigin, txs: bool, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, " result={}", executor_error(self.error))?;
        write!(f, " error_rom={}={}", self.error_rom, rom_error(self.error_rom))?;
        write!(f, " invalid_batch={}", self.invalid_batch)?;
        summary!(f, self, origin, self.gas_used, "counters.sha256F" = self.cnt_sha256_hashes);
        let blocks = &self.block_responses;
        let count: usize = blocks.iter().map(|block| block.responses.len()).sum();
        write!(f, " nBlocks={} nTxs={count}", blocks.len())?;
        if txs {
            let mut first = 0_usize;
            for (i, block) in blocks.iter().enumerate() {
                write!(f, " block[{i}].hash={} blockNumber={}", word(&block.block_hash), block.block_number)?;
                transactions!(f, &block.responses, first);
                first += block.responses.len();
            }
        }
        Ok(())
    }
}

/// A word without leading zeros.
struct Minimal(B256);

impl Display for Minimal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let digits = hex::encode(self.0);
        let digits = digits.trim_start_matches('0');
        write!(f, "0x{}", if digits.is_empty() { "0" } else { digits })
    }
}

fn word(bytes: &[u8]) -> String {
    format!("0x{}", hex::encode(bytes))
}

fn executor_error(number: i32) -> &'static str {
    ExecutorError::from_number(number).map_or("EXECUTOR_ERROR_UNSPECIFIED", ExecutorError::name)
}

fn rom_error(number: i32) -> &'static str {
    RomError::from_number(number).map_or("ROM_ERROR_UNSPECIFIED", RomError::name)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use zkevm_testkit::sample::Workload;
    use zkevm_types::ForkId;

    fn input(fork: u64) -> BatchInput {
        let workload = Arc::new(Workload::new(ForkId::new(fork).unwrap(), 1).unwrap());
        let mut input = workload.chain(0, B256::with_last_byte(0xab)).empty_batch();
        input.batch_l2_data = vec![7; 21].into();
        input.coinbase = Default::default();
        input.chain_id = 1000;
        input
    }

    #[test]
    fn what_came_has_the_originals_keys_in_order() {
        let zero = "0x0000000000000000000000000000000000000000";
        let common = format!(
            "got sequencerAddr={zero} batchL2DataLength=21 batchL2Data=0x07070707070707070707...0x07070707070707070707 \
             oldStateRoot=0xab oldAccInputHash=0x0 oldBatchNum=0 chainId=1000"
        );
        let mut v1 = input(6);
        v1.context = BatchContext::V1 { global_exit_root: B256::with_last_byte(5), eth_timestamp: 9 };
        v1.update_merkle_tree = true;
        v1.no_counters = false;
        let got = |rpc: Rpc, input: &BatchInput, rest: &str| {
            let line = GotLine { rpc, context_id: "me", input }.to_string();
            assert_eq!(line, format!("ExecutorServiceImpl::{}() {common} {rest}", rpc.name()));
        };
        got(
            Rpc::ProcessBatch,
            &v1,
            &format!(
                "forkId=6 native globalExitRoot=0x5 timestamp=9 from={zero} bUpdateMerkleTree=1 bNoCounters=0 traceConfig=0 \
                 UUID=me"
            ),
        );
        let mut v2 = input(9);
        let mut context = zkevm_types::V2Context { timestamp_limit: 9, ..Default::default() };
        context.l1_info_tree_data.insert(3, Default::default());
        context.l1_info_tree_data.insert(1, Default::default());
        v2.context = BatchContext::V2(context);
        v2.update_merkle_tree = false;
        v2.no_counters = true;
        got(
            Rpc::ProcessBatchV2,
            &v2,
            &format!(
                "forkId=9 native l1InfoRoot=0x0 timestampLimit=9 from={zero} bUpdateMerkleTree=0 bNoCounters=1 bGetKeys=0 \
                 bSkipVerifyL1InfoRoot=0 bSkipFirstChangeL2Block=0 bSkipWriteBlockInfoRoot=0 traceConfig=0 UUID=me \
                 l1InfoTreeData.size=2=1,3, stateOverride.size=0"
            ),
        );
    }

    #[test]
    fn what_goes_back_has_the_originals_keys_in_order() {
        let tx = wire::ProcessTransactionResponseV2 {
            tx_hash: vec![1].into(),
            state_root: vec![2].into(),
            gas_used: 3,
            gas_left: 4,
            error: 7,
            ..Default::default()
        };
        let block = wire::ProcessBlockResponseV2 {
            block_hash: vec![5].into(),
            block_number: 6,
            responses: vec![tx.clone()],
            ..Default::default()
        };
        let response = wire::ProcessBatchResponseV2 {
            new_state_root: vec![8].into(),
            cnt_sha256_hashes: 9,
            error: 1,
            error_rom: 1,
            block_responses: vec![block.clone(), block],
            ..Default::default()
        };
        let origin = BatchOrigin { state_root: B256::ZERO, batch_num: 10 };
        let line = |txs| ReturnsLine { rpc: Rpc::ProcessBatchV2, origin, response: &response, txs }.to_string();
        let zero = B256::ZERO;
        let short = format!(
            "ExecutorServiceImpl::ProcessBatchV2() returns result=EXECUTOR_ERROR_NO_ERROR error_rom=1=ROM_ERROR_NO_ERROR \
             invalid_batch=0 old_state_root={zero} new_state_root=0x08 new_acc_input_hash=0x new_local_exit_root=0x \
             old_batch_num=10 steps=0 gasUsed=0 counters.keccakF=0 counters.poseidonG=0 counters.paddingPG=0 \
             counters.memAlign=0 counters.arith=0 counters.binary=0 counters.sha256F=9 flush_id=0 last_sent_flush_id=0 \
             nBlocks=2 nTxs=2"
        );
        assert_eq!(line(false), short);
        let one = |block: u32| {
            format!(
                " block[{block}].hash=0x05 blockNumber=6 tx[{block}].hash=0x01 stateRoot=0x02 gasUsed=3 gasLeft=4 \
                 gasUsed+gasLeft=7 gasRefunded=0 result=ROM_ERROR_EXECUTION_REVERTED"
            )
        };
        assert_eq!(line(true), format!("{short}{}{}", one(0), one(1)));
        let response = wire::ProcessBatchResponse { error: 1, ..Default::default() };
        let line = ReturnsLine { rpc: Rpc::ProcessBatch, origin, response: &response, txs: true }.to_string();
        assert!(
            line.starts_with("ExecutorServiceImpl::ProcessBatch() returns result=EXECUTOR_ERROR_NO_ERROR old_state")
        );
        assert!(line.ends_with(" flush_id=0 last_sent_flush_id=0 nTxs=0"), "{line}");
    }
}
