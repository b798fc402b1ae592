//! A batch between two blocks, apart from the run that brought it there.

use revm::primitives::{B256, Bytes, U256};

use super::super::state_view::StateCheckpoint;
use super::{BatchRun, Halt};
use zkevm_batch::DecodedSoFar;
use zkevm_counters::{CounterMeter, RunSoFar};
use zkevm_evm::zk_evm::CarriedOver;
use zkevm_pool::Cancelled;
use zkevm_types::RomError;

/// What a run takes along from one block to the next.
#[derive(Debug)]
pub(crate) struct RunCheckpoint {
    decoded: DecodedSoFar,
    state: StateCheckpoint,
    evm: CarriedOver,
    counted: RunSoFar,
    gas_used: u64,
    gas_register: u64,
    last_price: U256,
    taken: Taken,
}

/// The memory that a run has taken for its results.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    results: usize,
    answer: usize,
}

impl RunCheckpoint {
    /// Returns its size in memory, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.state.bytes() + self.evm.bytes() + self.counted.bytes()
    }
}

impl BatchRun<'_, CounterMeter> {
    /// Returns where the run stands, after a block was closed and before the next one; `None` if the state is not hashed.
    pub(crate) fn checkpoint(&mut self) -> Option<RunCheckpoint> {
        Some(RunCheckpoint {
            decoded: self.decoded,
            state: self.state().checkpoint()?,
            evm: self.evm.carried_over(),
            counted: self.observer().run_so_far(),
            gas_used: self.gas_used,
            gas_register: self.gas_register,
            last_price: self.last_price,
            taken: self.taken,
        })
    }

    /// Decodes the rest of the batch.
    pub(crate) fn prepare_from(&mut self, checkpoint: &RunCheckpoint) -> Result<Result<(), RomError>, Cancelled> {
        self.observer().go_on_decoding_from(&checkpoint.counted);
        self.prepare(false, false, checkpoint.decoded)
    }

    /// Goes on from there; the batch is decoded, and nothing of it ran. `programs` are those deployed before.
    ///
    /// Returns false if the batch might have ended on the way: then it has to run from its start.
    pub(crate) fn go_on_from<'p>(
        &mut self,
        checkpoint: &RunCheckpoint,
        programs: impl IntoIterator<Item = &'p (B256, Bytes)>,
    ) -> Result<bool, Halt> {
        let RunCheckpoint { state, evm, counted, taken, .. } = checkpoint;
        (self.gas_used, self.gas_register) = (checkpoint.gas_used, checkpoint.gas_register);
        self.last_price = checkpoint.last_price;
        self.take_results(*taken)?;
        self.state().go_on_from(state, programs)?;
        self.evm.go_on_from(evm);
        Ok(self.observer().go_on_from(counted))
    }
}

impl<O: super::Observer> BatchRun<'_, O> {
    /// Takes the memory of results.
    fn take_results(&mut self, more: Taken) -> Result<(), Cancelled> {
        self.cancel.take(more.results)?;
        self.cancel.take_answer(more.answer)?;
        self.taken.results += more.results;
        self.taken.answer += more.answer;
        Ok(())
    }

    /// Takes the memory of a result of so many bytes, of which the answer shows so many.
    pub(super) fn take_result(&mut self, results: usize, answer: usize) -> Result<(), Cancelled> {
        self.take_results(Taken { results, answer })
    }
}
