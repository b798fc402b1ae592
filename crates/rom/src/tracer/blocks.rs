//! Blocks (main-state-machine §9.3).

use zkevm_types::{BlockOutput, RomError};

use super::{Tracer, address_of, low_u64, outputs};
use crate::{Abort, Variable, View};

/// A block that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenBlock {
    /// The context it began in: its L1 info stands there.
    context: u64,
    coinbase: alloy_primitives::Address,
    pub(super) error: RomError,
}

impl Tracer<'_> {
    pub(super) fn start_block(&mut self, view: &View<'_, '_>) -> Result<(), Abort> {
        let coinbase = address_of(view.global(Variable::SequencerAddr)?);
        self.entries.clear();
        self.open = Some(OpenBlock { context: view.context(), coinbase, error: RomError::NoError });
        Ok(())
    }

    pub(super) fn finish_block(&mut self, view: &mut View<'_, '_>) -> Result<(), Abort> {
        let block = self.open.take().ok_or(Abort::unspecified("the end of a block that did not begin"))?;
        let root = view.state_root_digest()?;
        self.kept_roots.push(root);
        self.take(size_of::<BlockOutput>())?;
        self.closed.push(BlockOutput {
            parent_hash: view.global(Variable::PreviousBlockHash)?.into(),
            coinbase: block.coinbase,
            gas_limit: view.program.block_gas_limit(),
            block_number: low_u64(view.global(Variable::BlockNum)?),
            timestamp: low_u64(view.global(Variable::Timestamp)?),
            ger: view.local_of(Variable::GerL1InfoTree, block.context)?.into(),
            block_hash_l1: view.local_of(Variable::BlockHashL1InfoTree, block.context)?.into(),
            gas_used: low_u64(view.global(Variable::CumulativeGasUsed)?),
            block_info_root: view.global(Variable::BlockInfoSr)?.into(),
            block_hash: root.to_b256(),
            transactions: outputs(std::mem::take(&mut self.entries)),
            error: block.error,
        });
        self.logs.clear();
        Ok(())
    }
}
