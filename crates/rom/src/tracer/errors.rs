//! Where an error is written (main-state-machine §9.5, executor-service §7.3).

use zkevm_types::{RomError, TxOutput};

use super::Tracer;
use super::transactions::Entry;
use crate::{Abort, Variable, View};

/// The error of the whole batch (V2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BatchError {
    pub(super) is_invalid: bool,
    pub(super) error: RomError,
}

/// Names as the ROM tells them (executor-service §7.2).
const NAMES: [(&str, RomError); 34] = [
    ("OOG", RomError::OutOfGas),
    ("overflow", RomError::StackOverflow),
    ("underflow", RomError::StackUnderflow),
    ("invalidCodeSize", RomError::MaxCodeSizeExceeded),
    ("invalidAddressCollision", RomError::ContractAddressCollision),
    ("revert", RomError::ExecutionReverted),
    ("OOCS", RomError::OutOfCountersStep),
    ("OOCK", RomError::OutOfCountersKeccak),
    ("OOCB", RomError::OutOfCountersBinary),
    ("OOCM", RomError::OutOfCountersMem),
    ("OOCA", RomError::OutOfCountersArith),
    ("OOCPA", RomError::OutOfCountersPadding),
    ("OOCPO", RomError::OutOfCountersPoseidon),
    ("OOCSH", RomError::OutOfCountersSha),
    ("invalidJump", RomError::InvalidJump),
    ("invalidOpcode", RomError::InvalidOpcode),
    ("invalidStaticTx", RomError::InvalidStatic),
    ("invalidCodeStartsEF", RomError::InvalidBytecodeStartsEf),
    ("intrinsic_invalid_signature", RomError::IntrinsicInvalidSignature),
    ("intrinsic_invalid_chain_id", RomError::IntrinsicInvalidChainId),
    ("intrinsic_invalid_nonce", RomError::IntrinsicInvalidNonce),
    ("intrinsic_invalid_gas_limit", RomError::IntrinsicInvalidGasLimit),
    ("intrinsic_invalid_balance", RomError::IntrinsicInvalidBalance),
    ("intrinsic_invalid_batch_gas_limit", RomError::IntrinsicInvalidBatchGasLimit),
    ("intrinsic_invalid_sender_code", RomError::IntrinsicInvalidSenderCode),
    ("intrinsic_invalid_gas_overflow", RomError::IntrinsicTxGasOverflow),
    ("invalid_fork_id", RomError::UnsupportedForkId),
    ("invalidRLP", RomError::InvalidRlp),
    ("invalidDecodeChangeL2Block", RomError::InvalidDecodeChangeL2Block),
    ("invalidNotFirstTxChangeL2Block", RomError::InvalidNotFirstTxChangeL2Block),
    ("invalid_change_l2_block_limit_timestamp", RomError::InvalidTxChangeL2BlockLimitTimestamp),
    ("invalid_change_l2_block_min_timestamp", RomError::InvalidTxChangeL2BlockMinTimestamp),
    ("invalid_l1_info_tree_index", RomError::InvalidL1InfoTreeIndex),
    ("", RomError::NoError),
];

fn named(name: &str) -> Option<RomError> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, error)| *error)
}

impl Tracer<'_> {
    /// The ROM tells an error.
    pub(super) fn error(&mut self, name: &str, view: &View<'_, '_>) -> Result<(), Abort> {
        let error = named(name).ok_or(Abort::unspecified("the ROM tells an error of an unknown name"))?;
        self.last_error = Some(error);
        if self.rules.is_v2 { self.error_v2(error, view) } else { self.error_v1(error, view) }
    }

    fn error_v2(&mut self, error: RomError, view: &View<'_, '_>) -> Result<(), Abort> {
        if self.rules.is_of_batch(error) {
            self.batch_error = BatchError { is_invalid: true, error };
            self.kept_roots.clear();
            let Some(block) = &mut self.open else { return Ok(()) };
            if self.rules.is_of_block(error) || self.entries.is_empty() {
                block.error = error;
                return Ok(());
            }
        }
        let has_step = if self.rules.counts_opcodes { self.opcodes.count > 0 } else { !self.opcodes.steps.is_empty() };
        if self.rules.is_of_response(error) || !has_step {
            let is_lost = self.rules.is_of_batch(error);
            match self.target() {
                Some(entry) => entry.output.error = error,
                // The block is not listed, nor is the transaction.
                None if is_lost => {}
                None => return Err(Abort::unspecified("an error without a transaction")),
            }
            return Ok(());
        }
        self.error_of_opcode(error, view)
    }

    fn error_v1(&mut self, error: RomError, view: &View<'_, '_>) -> Result<(), Abort> {
        if error.is_out_of_counters() {
            self.kept_roots.clear();
        }
        if self.rules.is_of_response(error) || self.opcodes.steps.is_empty() {
            match self.target() {
                Some(entry) => entry.output.error = error,
                // The one entry of a batch that was not decoded.
                None => self.entries.push(Entry::bare(TxOutput { error, ..TxOutput::default() })),
            }
        }
        self.error_of_opcode(error, view)
    }

    /// Puts an error on the last step; the logs of its frame and of all that began after it are void.
    fn error_of_opcode(&mut self, error: RomError, view: &View<'_, '_>) -> Result<(), Abort> {
        if let Some(step) = self.opcodes.steps.last_mut() {
            step.error = error;
        }
        let last = super::low_u64(view.global(Variable::LastCtxUsed)?);
        self.logs.drop_contexts(view.context(), last);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_error_has_one_name() {
        for error in RomError::ALL {
            let names = NAMES.iter().filter(|(_, named)| named == error).count();
            // The ROM never tells this one.
            assert_eq!(names, usize::from(*error != RomError::BatchDataTooBig), "{error:?}");
        }
    }
}
