//! The phases of a transaction, as revm asks for them.

use super::*;

/// revm's transaction phases with the zkEVM's fees. The intrinsic checks have passed before.
pub(super) struct ZkHandler<DB, O> {
    pub(super) intrinsic_gas: u64,
    pub(super) end: Option<End>,
    pub(super) _evm: std::marker::PhantomData<(DB, O)>,
}

impl<DB: StateDatabase, O: EvmObserver> ZkHandler<DB, O> {
    fn pay(evm: &mut ZkEvm<DB, O>, to: Address, gas: u64) -> Result<(), DB::Error> {
        let amount = evm.inner.ctx.chain.gas_price.wrapping_mul(U256::from(gas));
        evm.inner.ctx.chain.touched.account(to, AccountLeaves::BALANCE);
        let mut account = evm.inner.ctx.journaled_state.load_account_mut(to)?.data;
        let balance = account.balance().wrapping_add(amount);
        account.set_balance(balance);
        evm.inner.ctx.chain.observer.fee_paid(to, balance);
        Ok(())
    }
}

impl<DB: StateDatabase, O: EvmObserver> Handler for ZkHandler<DB, O> {
    type Evm = ZkEvm<DB, O>;
    type Error = EVMError<DB::Error, InvalidTransaction>;
    type HaltReason = HaltReason;

    fn validate_env(&self, _evm: &mut Self::Evm) -> Result<(), Self::Error> {
        Ok(())
    }

    fn validate_initial_tx_gas(&self, _evm: &mut Self::Evm) -> Result<InitialAndFloorGas, Self::Error> {
        Ok(InitialAndFloorGas::new(self.intrinsic_gas, 0))
    }

    /// Bumps the nonce and reserves the fee, in 256 bits; both survive any later failure (batch §8.3).
    fn validate_against_state_and_deduct_caller(
        &self,
        evm: &mut Self::Evm,
        _gas: &mut InitialAndFloorGas,
    ) -> Result<(), Self::Error> {
        let fee = evm.inner.ctx.chain.gas_price.wrapping_mul(U256::from(evm.inner.ctx.tx.gas_limit));
        let caller = evm.inner.ctx.tx.caller;
        let mut account = evm.inner.ctx.journaled_state.load_account_mut(caller)?.data;
        let balance = account.balance().wrapping_sub(fee);
        account.set_balance(balance);
        account.bump_nonce();
        Ok(())
    }

    fn reimburse_caller(&self, evm: &mut Self::Evm, result: &mut FrameResult) -> Result<(), Self::Error> {
        let gas = result.gas();
        let gas_back = gas.remaining() + gas.refunded() as u64;
        let caller = evm.inner.ctx.tx.caller;
        // A transaction that halts pays nothing back: the ROM goes straight to the sequencer's fee.
        let end = result.instruction_result();
        evm.inner.ctx.chain.observer.execution_ended(result);
        if !end.is_ok() && end != InstructionResult::Revert {
            return Ok(());
        }
        Self::pay(evm, caller, gas_back)?;
        Ok(())
    }

    fn reward_beneficiary(&self, evm: &mut Self::Evm, result: &mut FrameResult) -> Result<(), Self::Error> {
        let gas = result.gas();
        let used = gas.limit() - gas.remaining() - gas.refunded() as u64;
        let beneficiary = evm.inner.ctx.block.beneficiary;
        Self::pay(evm, beneficiary, used)?;
        Ok(())
    }

    fn execution_result(
        &mut self,
        evm: &mut Self::Evm,
        result: FrameResult,
        result_gas: ResultGas,
    ) -> Result<ExecutionResult<HaltReason>, Self::Error> {
        std::mem::replace(evm.inner.ctx.error(), Ok(()))?;
        let gas = result.gas();
        let gas_left = gas.remaining() + gas.refunded() as u64;
        let logs = evm.inner.ctx.journaled_state.take_logs();
        let unsupported_precompile = evm.inner.ctx.chain.precompile_effect == PrecompileEffect::Unsupported;
        let instruction_result = result.instruction_result();
        let output = result.output().into_data();
        self.end = Some(End { result: instruction_result, gas_left, output, logs, unsupported_precompile });
        evm.inner.ctx.local.clear();
        evm.inner.frame_stack.clear();
        Ok(ExecutionResult::Revert { gas: result_gas, logs: Vec::new(), output: Bytes::new() })
    }
}
