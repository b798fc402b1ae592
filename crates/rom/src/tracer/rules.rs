//! What differs between the tracers of the forks (main-state-machine §9).

use zkevm_types::{ApiVersion, ForkRules, LogShape, RomError};

use crate::Program;

/// The rules of one fork's tracer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TracerRules {
    /// Blocks inside the batch.
    pub(crate) is_v2: bool,
    /// Effective prices, percentages and the two flags of opcodes; call data in the memory of its context.
    pub(crate) has_percentages: bool,
    /// The end of a transaction is written where the ROM's index says.
    pub(crate) results_follow_rom_index: bool,
    /// An error without a step is told by the number of opcodes, not by that of listed steps.
    pub(crate) counts_opcodes: bool,
    /// Logs with exact data and an index of the block; status checked against the error; LOG0 listed by its opcode.
    pub(crate) exact_logs: bool,
    /// Code and storage are among the touched data.
    pub(crate) touched_in_full: bool,
    /// An undecodable batch is an error of its transaction (V1).
    pub(crate) invalid_rlp_listed: bool,
    /// The tracer of the later provers (later-forks §7).
    pub(crate) later: bool,
}

impl TracerRules {
    /// Returns the rules for a program of this fork.
    pub(crate) fn new(program: &Program, rules: &ForkRules) -> Self {
        Self {
            is_v2: rules.api == ApiVersion::V2,
            has_percentages: rules.effective_percentage,
            results_follow_rom_index: rules.results_follow_rom_index,
            counts_opcodes: rules.results_follow_rom_index,
            exact_logs: rules.logs == LogShape::Exact,
            touched_in_full: rules.touched_accounts_in_full,
            invalid_rlp_listed: rules.invalid_rlp_listed,
            later: program.rules.shared_errors,
        }
    }

    /// True if a batch may end with this error while the sum of all changes of balances is not zero.
    pub(crate) fn may_leave_unbalanced(&self, error: RomError) -> bool {
        error.is_out_of_counters() && (self.later || error != RomError::OutOfCountersSha)
    }

    /// True if the error is one of the whole batch (V2).
    pub(crate) fn is_of_batch(&self, error: RomError) -> bool {
        let is_undecodable = matches!(
            error,
            RomError::InvalidRlp | RomError::InvalidDecodeChangeL2Block | RomError::InvalidNotFirstTxChangeL2Block
        );
        self.is_v2 && (error.is_out_of_counters() || is_undecodable || self.is_of_block(error))
    }

    /// True if the error is one of the block that begins (V2).
    pub(crate) fn is_of_block(&self, error: RomError) -> bool {
        let is_block_error = matches!(
            error,
            RomError::InvalidTxChangeL2BlockLimitTimestamp
                | RomError::InvalidTxChangeL2BlockMinTimestamp
                | RomError::InvalidL1InfoTreeIndex
        );
        self.is_v2 && is_block_error
    }

    /// True if the error belongs to the response of a transaction, not to an opcode.
    pub(crate) fn is_of_response(&self, error: RomError) -> bool {
        let by_version = match self.is_v2 {
            true => self.is_of_batch(error),
            false => error.is_out_of_counters() || (self.invalid_rlp_listed && error == RomError::InvalidRlp),
        };
        by_version || error.is_intrinsic()
    }
}
