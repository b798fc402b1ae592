//! The precompiles of a fork (evm §6).

use revm::context::ContextTr;
use revm::context_interface::JournalTr;
use revm::handler::PrecompileProvider;
use revm::interpreter::{CallInputs, Gas, InstructionResult, InterpreterResult};
use revm::precompile::{EthPrecompileResult, bn254, hash, identity, secp256k1, secp256r1};
use revm::primitives::hardfork::SpecId;
use revm::primitives::{Address, AddressSet, B256, Bytes};

use super::context::{PrecompileEffect, StateDatabase, ZkContext};
use super::interrupt::{Interrupt, STEPS_PER_LOOK};
use super::modexp::{ModexpBuffer, ModexpOutcome};
use super::observer::{EvmObserver, PrecompileEnd, PrecompileRun};
use super::p256;
use super::pairing;
use zkevm_batch::{INFINITY_ADDRESS, recover_infinity};
use zkevm_types::{ForkRules, P256_VERIFY};

/// Gas of bn254 addition, multiplication and pairing (EIP-1108).
const BN_ADD_GAS: u64 = 150;
const BN_MUL_GAS: u64 = 6_000;

/// Number of the precompiles whose work is in the bytes of their input.
const SHA256: u16 = 2;
const IDENTITY: u16 = 4;

/// What ends a run whose batch stops: the interrupt knows why.
const STOPPED: &str = "the batch stops";

/// The precompiles of one batch.
#[derive(Debug)]
pub struct ZkPrecompiles {
    rules: &'static ForkRules,
    addresses: AddressSet,
    injected: bool,
    modexp: ModexpBuffer,
}

impl ZkPrecompiles {
    /// Creates the precompiles of a fork with a cleared modexp buffer.
    pub fn new(rules: &'static ForkRules) -> Self {
        let address = |number: u16| Address::left_padding_from(&number.to_be_bytes());
        let addresses = rules.precompile_numbers().map(address).collect();
        Self { rules, addresses, injected: false, modexp: ModexpBuffer::new(rules) }
    }

    /// Returns what MODEXP leaves to its next call.
    pub(crate) fn modexp(&self) -> &ModexpBuffer {
        &self.modexp
    }

    /// The same, to put another one in place.
    pub(crate) fn modexp_mut(&mut self) -> &mut ModexpBuffer {
        &mut self.modexp
    }

    fn ecrecover(&self, input: &[u8], gas_limit: u64) -> EthPrecompileResult {
        let mut output = secp256k1::ec_recover_run(input, gas_limit)?;
        if output.bytes.is_empty() && self.rules.ecrecover_infinity_bug {
            let mut padded = [0u8; 128];
            let present = input.len().min(128);
            padded[..present].copy_from_slice(&input[..present]);
            let word = |index: usize| B256::from_slice(&padded[32 * index..32 * (index + 1)]);
            let v = word(1);
            let parity = v[31].wrapping_sub(27);
            if v[..31].iter().all(|&byte| byte == 0)
                && parity <= 1
                && recover_infinity(word(0), word(2), word(3), parity)
            {
                output.bytes = INFINITY_ADDRESS.into_word().0.to_vec().into();
            }
        }
        Ok(output)
    }
}

impl<DB: StateDatabase, O: EvmObserver> PrecompileProvider<ZkContext<DB, O>> for ZkPrecompiles {
    type Output = InterpreterResult;

    fn set_spec(&mut self, _spec: SpecId) -> bool {
        !std::mem::replace(&mut self.injected, true)
    }

    fn run(
        &mut self,
        context: &mut ZkContext<DB, O>,
        inputs: &CallInputs,
    ) -> Result<Option<InterpreterResult>, String> {
        let Some(number) = self.rules.precompile_number(&inputs.bytecode_address) else {
            return Ok(None);
        };
        let gas_limit = inputs.gas_limit;
        let unspent = Gas::new(gas_limit);
        if !self.rules.has_precompile(number) {
            context.chain.precompile_effect = PrecompileEffect::Unsupported;
            return Ok(Some(InterpreterResult::new(InstructionResult::Revert, Bytes::new(), unspent)));
        }
        if stops_before(&mut context.chain.interrupt, number, inputs.input.len()) {
            return Err(STOPPED.to_owned());
        }
        let input = inputs.input.as_bytes(&*context).to_vec();
        let is_top_level = context.journal().depth() == 1;
        let output_bytes = inputs.return_memory_offset.len() as u64;
        let tell = |context: &mut ZkContext<DB, O>, end| {
            context.chain.observer.precompile_ended(&PrecompileRun { number, input: &input, output_bytes, end });
        };
        let result = match number {
            1 => self.ecrecover(&input, gas_limit),
            SHA256 => hash::sha256_run(&input, gas_limit),
            IDENTITY => identity::identity_run(&input, gas_limit),
            5 => {
                let Some(result) = self.modexp_result(context, &input, gas_limit, is_top_level) else {
                    return Err(STOPPED.to_owned());
                };
                let is_out_of_gas = result.result == InstructionResult::PrecompileOOG;
                tell(context, if is_out_of_gas { PrecompileEnd::OutOfGas } else { PrecompileEnd::Answered });
                return Ok(Some(result));
            }
            6 => bn254::run_add(&input, BN_ADD_GAS, gas_limit),
            7 => bn254::run_mul(&input, BN_MUL_GAS, gas_limit),
            P256_VERIFY => {
                let input = p256::padded(&input);
                let result = secp256r1::p256_verify(&input, gas_limit);
                let is_wrong = result.as_ref().is_ok_and(|output| output.bytes.is_empty());
                if is_wrong && self.rules.p256_keeps_returndata_of_wrong_signature && p256::is_well_formed(&input) {
                    context.chain.precompile_effect = PrecompileEffect::KeepReturnData;
                }
                result
            }
            _ => match pairing::run(&input, gas_limit, &mut context.chain.interrupt) {
                Some(result) => result,
                None => return Err(STOPPED.to_owned()),
            },
        };
        let end = match &result {
            Ok(output) if output.gas_used > gas_limit => PrecompileEnd::OutOfGas,
            Ok(output) if output.bytes.is_empty() => PrecompileEnd::Failed,
            Ok(_) => PrecompileEnd::Answered,
            Err(halt) if halt.is_oog() => PrecompileEnd::OutOfGas,
            Err(_) => PrecompileEnd::Failed,
        };
        tell(context, end);
        Ok(Some(match result {
            Ok(output) => success(gas_limit, output.gas_used, output.bytes),
            Err(halt) if halt.is_oog() => failure(InstructionResult::PrecompileOOG, gas_limit),
            Err(_) => failure(InstructionResult::PrecompileError, gas_limit),
        }))
    }

    fn warm_addresses(&self) -> &AddressSet {
        &self.addresses
    }
}

impl ZkPrecompiles {
    /// Returns `None` if the batch stops.
    fn modexp_result<DB: StateDatabase, O: EvmObserver>(
        &mut self,
        context: &mut ZkContext<DB, O>,
        input: &[u8],
        gas_limit: u64,
        is_top_level: bool,
    ) -> Option<InterpreterResult> {
        Some(match self.modexp.run(input, gas_limit, &mut context.chain.interrupt) {
            ModexpOutcome::Stopped => return None,
            ModexpOutcome::OutOfGas => failure(InstructionResult::PrecompileOOG, gas_limit),
            // Nested, the whole gas comes back; at the top all of it is taken (evm §6.3).
            ModexpOutcome::LengthFailure if is_top_level => failure(InstructionResult::PrecompileError, gas_limit),
            ModexpOutcome::LengthFailure => {
                InterpreterResult::new(InstructionResult::Revert, Bytes::new(), Gas::new(gas_limit))
            }
            ModexpOutcome::Empty { gas } => {
                context.chain.precompile_effect = PrecompileEffect::KeepReturnData;
                success(gas_limit, gas, Bytes::new())
            }
            ModexpOutcome::Output { gas, bytes } => {
                if self.rules.modexp_copies_whole_output {
                    context.chain.precompile_effect = PrecompileEffect::CopyWholeOutput;
                }
                success(gas_limit, gas, bytes.into())
            }
        })
    }
}

/// Counts the work of a call. True if the batch stops.
fn stops_before(interrupt: &mut Interrupt, number: u16, input_bytes: usize) -> bool {
    match number {
        SHA256 => interrupt.spend_hashing(input_bytes),
        IDENTITY => interrupt.spend_copying(input_bytes),
        // Points of curves and large numbers: looking takes nothing beside them.
        _ => interrupt.spend(STEPS_PER_LOOK),
    }
}

fn success(gas_limit: u64, gas_used: u64, bytes: Bytes) -> InterpreterResult {
    let mut gas = Gas::new(gas_limit);
    if !gas.record_regular_cost(gas_used) {
        return failure(InstructionResult::PrecompileOOG, gas_limit);
    }
    InterpreterResult::new(InstructionResult::Return, bytes, gas)
}

fn failure(result: InstructionResult, gas_limit: u64) -> InterpreterResult {
    let mut gas = Gas::new(gas_limit);
    gas.spend_all();
    InterpreterResult::new(result, Bytes::new(), gas)
}
