//! revm's results as the ROM's errors (evm §8.1).

use revm::interpreter::InstructionResult;

use zkevm_types::RomError;

/// Returns the error the response shows for the end of a frame; `NoError` if it ended well.
pub fn rom_error(result: InstructionResult) -> RomError {
    use InstructionResult as R;
    match result {
        R::Stop | R::Return | R::SelfDestruct | R::Suspend => RomError::NoError,
        R::Revert => RomError::ExecutionReverted,
        R::StackOverflow => RomError::StackOverflow,
        R::StackUnderflow => RomError::StackUnderflow,
        R::InvalidJump => RomError::InvalidJump,
        R::OpcodeNotFound | R::InvalidFEOpcode | R::NotActivated => RomError::InvalidOpcode,
        R::StateChangeDuringStaticCall | R::CallNotAllowedInsideStatic => RomError::InvalidStatic,
        R::CreateCollision => RomError::ContractAddressCollision,
        R::CreateContractSizeLimit => RomError::MaxCodeSizeExceeded,
        R::CreateContractStartingWithEF => RomError::InvalidBytecodeStartsEf,
        // The ROM raises no error when a precompile called directly fails on its input: status 0, and the error stays
        // "none", as fork 7 answers. Forks 8 and 9 of the original abort the request with code 117 instead (evm §8.4).
        R::PrecompileError => RomError::NoError,
        _ => RomError::OutOfGas,
    }
}
