//! The collectible contract of the sample state; its source is `collectible.easm` beside this file.

use revm::primitives::{Address, Bytes, keccak256};

use super::easm::{AssemblyError, assemble};

/// The source of the contract.
pub const SOURCE: &str = include_str!("collectible.easm");

/// Returns the code of the contract.
pub fn code() -> Result<Bytes, AssemblyError> {
    assemble(SOURCE)
}

/// Returns the call data of `mint(to)`.
pub fn mint_data(to: Address) -> Bytes {
    [&keccak256("mint(address)")[..4], to.into_word().as_slice()].concat().into()
}

#[cfg(test)]
mod tests {
    use revm::context::TxEnv;
    use revm::context::result::ExecutionResult;
    use revm::database::InMemoryDB;
    use revm::primitives::{TxKind, U256};
    use revm::state::{AccountInfo, Bytecode};
    use revm::{Context, ExecuteCommitEvm, MainBuilder, MainContext};

    use super::*;

    #[test]
    fn a_mint_numbers_gives_and_says_so() {
        let (contract, owner) = (Address::with_last_byte(0xcc), Address::with_last_byte(0xaa));
        let mut db = InMemoryDB::default();
        db.insert_account_info(contract, AccountInfo::from_bytecode(Bytecode::new_raw(code().unwrap())));
        let mut evm = Context::mainnet().with_db(db).build_mainnet();
        let mut nonce = 0;
        let mut call = |data: Bytes| {
            let call = TxEnv::builder().caller(owner).nonce(nonce).kind(TxKind::Call(contract)).data(data);
            nonce += 1;
            evm.transact_commit(call.gas_limit(200_000).gas_price(0).build().unwrap()).unwrap()
        };
        let word = |result: &ExecutionResult| U256::from_be_slice(result.output().unwrap());
        let argument =
            |name: &str, word: U256| -> Bytes { [&keccak256(name)[..4], &word.to_be_bytes::<32>()].concat().into() };
        for number in 1..=2 {
            let result = call(mint_data(owner));
            assert_eq!(word(&result), U256::from(number), "{result:?}");
            let topics = [
                keccak256("Transfer(address,address,uint256)"),
                Address::ZERO.into_word(),
                owner.into_word(),
                U256::from(number).into(),
            ];
            assert_eq!(result.logs()[0].data.topics(), topics);
            assert_eq!(
                word(&call(argument("ownerOf(uint256)", U256::from(number)))),
                U256::from_be_bytes(owner.into_word().0)
            );
        }
        assert_eq!(
            word(&call(argument("balanceOf(address)", U256::from_be_bytes(owner.into_word().0)))),
            U256::from(2)
        );
        assert!(matches!(call(Bytes::new()), ExecutionResult::Revert { .. }));
    }
}
