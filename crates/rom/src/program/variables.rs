//! The variables of memory that are read by name (main-state-machine §2.5).

use crate::rules::Rules;

/// A variable of memory that the machine or a listener reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of the ROM")]
pub enum Variable {
    TxDestAddr,
    TxCalldataLen,
    TxGasLimit,
    TxValue,
    TxNonce,
    TxGasPriceRlp,
    TxChainId,
    TxR,
    TxS,
    TxV,
    IsCreateContract,
    StorageAddr,
    TxSrcAddr,
    MemLength,
    GasRefund,
    RetDataCtx,
    RetDataOffset,
    RetDataLength,
    BytecodeLength,
    OriginCtx,
    GasCtx,
    IsCreate,
    TxSrcOriginAddr,
    TxGasPrice,
    NewAccInputHash,
    NewNumBatch,
    NewLocalExitRoot,
    GasCall,
    CurrentCtx,
    LastCtxUsed,
    EffectivePercentageRlp,
    CalldataCtx,
    CalldataOffset,
    BlockNum,
    CumulativeGasUsed,
    IsForced,
    SequencerAddr,
    BlockInfoSr,
    Timestamp,
    PreviousBlockHash,
    TxIndex,
    GerL1InfoTree,
    BlockHashL1InfoTree,
    L2TxHash,
    TxStatus,
    CurrentLogIndex,
}

/// The ROMs that have a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Since {
    /// All.
    Always,
    /// Those that know effective percentages.
    Percentages,
    /// Those of the second API.
    Blocks,
    /// Those whose machine keeps reservations.
    Reservations,
}

/// One row for each variable: its name, whether it stands in context 0, and which ROMs have it.
const TABLE: [(Variable, &str, bool, Since); Variable::COUNT] = [
    (Variable::TxDestAddr, "txDestAddr", false, Since::Always),
    (Variable::TxCalldataLen, "txCalldataLen", false, Since::Always),
    (Variable::TxGasLimit, "txGasLimit", false, Since::Always),
    (Variable::TxValue, "txValue", false, Since::Always),
    (Variable::TxNonce, "txNonce", false, Since::Always),
    (Variable::TxGasPriceRlp, "txGasPriceRLP", false, Since::Always),
    (Variable::TxChainId, "txChainId", false, Since::Always),
    (Variable::TxR, "txR", false, Since::Always),
    (Variable::TxS, "txS", false, Since::Always),
    (Variable::TxV, "txV", false, Since::Always),
    (Variable::IsCreateContract, "isCreateContract", false, Since::Always),
    (Variable::StorageAddr, "storageAddr", false, Since::Always),
    (Variable::TxSrcAddr, "txSrcAddr", false, Since::Always),
    (Variable::MemLength, "memLength", false, Since::Always),
    (Variable::GasRefund, "gasRefund", false, Since::Always),
    (Variable::RetDataCtx, "retDataCTX", false, Since::Always),
    (Variable::RetDataOffset, "retDataOffset", false, Since::Always),
    (Variable::RetDataLength, "retDataLength", false, Since::Always),
    (Variable::BytecodeLength, "bytecodeLength", false, Since::Always),
    (Variable::OriginCtx, "originCTX", false, Since::Always),
    (Variable::GasCtx, "gasCTX", false, Since::Always),
    (Variable::IsCreate, "isCreate", false, Since::Always),
    (Variable::TxSrcOriginAddr, "txSrcOriginAddr", true, Since::Always),
    (Variable::TxGasPrice, "txGasPrice", true, Since::Always),
    (Variable::NewAccInputHash, "newAccInputHash", true, Since::Always),
    (Variable::NewNumBatch, "newNumBatch", true, Since::Always),
    (Variable::NewLocalExitRoot, "newLocalExitRoot", true, Since::Always),
    (Variable::GasCall, "gasCall", true, Since::Always),
    (Variable::CurrentCtx, "currentCTX", true, Since::Always),
    (Variable::LastCtxUsed, "lastCtxUsed", true, Since::Always),
    (Variable::EffectivePercentageRlp, "effectivePercentageRLP", false, Since::Percentages),
    (Variable::CalldataCtx, "calldataCTX", false, Since::Percentages),
    (Variable::CalldataOffset, "calldataOffset", false, Since::Percentages),
    (Variable::BlockNum, "blockNum", true, Since::Blocks),
    (Variable::CumulativeGasUsed, "cumulativeGasUsed", true, Since::Blocks),
    (Variable::IsForced, "isForced", true, Since::Blocks),
    (Variable::SequencerAddr, "sequencerAddr", true, Since::Blocks),
    (Variable::BlockInfoSr, "blockInfoSR", true, Since::Blocks),
    (Variable::Timestamp, "timestamp", true, Since::Blocks),
    (Variable::PreviousBlockHash, "previousBlockHash", true, Since::Blocks),
    (Variable::TxIndex, "txIndex", true, Since::Blocks),
    (Variable::GerL1InfoTree, "gerL1InfoTree", false, Since::Blocks),
    (Variable::BlockHashL1InfoTree, "blockHashL1InfoTree", false, Since::Blocks),
    (Variable::L2TxHash, "l2TxHash", false, Since::Blocks),
    (Variable::TxStatus, "txStatus", false, Since::Blocks),
    (Variable::CurrentLogIndex, "currentLogIndex", true, Since::Reservations),
];

impl Variable {
    /// Number of variables.
    pub(crate) const COUNT: usize = 46;

    /// Returns every variable.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.0)
    }

    /// Returns the name in the ROM.
    pub fn name(self) -> &'static str {
        TABLE[self as usize].1
    }

    /// True if it stands in context 0 only.
    pub fn is_global(self) -> bool {
        TABLE[self as usize].2
    }

    /// True if every ROM of a fork with these rules has it.
    pub(crate) fn is_in(self, rules: &Rules) -> bool {
        match TABLE[self as usize].3 {
            Since::Always => true,
            Since::Percentages => rules.has_percentages,
            Since::Blocks => rules.is_v2,
            Since::Reservations => rules.reserves,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_in_the_order_of_the_variables() {
        for (place, (variable, ..)) in TABLE.iter().enumerate() {
            assert_eq!(*variable as usize, place, "{variable:?}");
        }
    }
}
