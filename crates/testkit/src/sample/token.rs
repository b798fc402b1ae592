//! The token contract of the sample state; its source is `token.easm` beside this file.

use revm::primitives::{Address, Bytes, U256, keccak256};

use super::easm::{AssemblyError, assemble};

/// The source of the contract.
pub const SOURCE: &str = include_str!("token.easm");

/// Storage slot of the total supply.
pub const TOTAL_SUPPLY_SLOT: U256 = U256::from_limbs([1, 0, 0, 0]);

/// Returns the code of the contract.
pub fn code() -> Result<Bytes, AssemblyError> {
    assemble(SOURCE)
}

/// Returns the storage slot of an address's balance.
pub fn balance_slot(owner: Address) -> U256 {
    let mut preimage = [0; 64];
    preimage[12..32].copy_from_slice(owner.as_slice());
    keccak256(preimage).into()
}

/// Returns the call data of `transfer(to, amount)`.
pub fn transfer_data(to: Address, amount: U256) -> Bytes {
    let mut data = keccak256("transfer(address,uint256)")[..4].to_vec();
    data.extend_from_slice(to.into_word().as_slice());
    data.extend_from_slice(&amount.to_be_bytes::<32>());
    data.into()
}

#[cfg(test)]
mod tests {
    use revm::context::TxEnv;
    use revm::context::result::ExecutionResult;
    use revm::database::InMemoryDB;
    use revm::primitives::TxKind;
    use revm::state::{AccountInfo, Bytecode};
    use revm::{Context, ExecuteCommitEvm, MainBuilder, MainContext};

    use super::*;

    const TOKEN: Address = Address::with_last_byte(0xcc);
    const OWNER: Address = Address::with_last_byte(0xaa);
    const RECEIVER: Address = Address::with_last_byte(0xbb);

    /// Runs calls of the owner, who has 100 tokens, on an unmodified EVM.
    fn call(calls: &[Bytes]) -> Vec<ExecutionResult> {
        let mut db = InMemoryDB::default();
        db.insert_account_info(TOKEN, AccountInfo::from_bytecode(Bytecode::new_raw(code().unwrap())));
        db.insert_account_storage(TOKEN, balance_slot(OWNER), U256::from(100)).unwrap();
        db.insert_account_storage(TOKEN, TOTAL_SUPPLY_SLOT, U256::from(100)).unwrap();
        let mut evm = Context::mainnet().with_db(db).build_mainnet();
        let run = |(nonce, data): (usize, &Bytes)| {
            let call = TxEnv::builder().caller(OWNER).nonce(nonce as u64).kind(TxKind::Call(TOKEN)).data(data.clone());
            evm.transact_commit(call.gas_limit(100_000).gas_price(0).build().unwrap()).unwrap()
        };
        calls.iter().enumerate().map(run).collect()
    }

    fn balance_data(owner: Address) -> Bytes {
        let mut data = keccak256("balanceOf(address)")[..4].to_vec();
        data.extend_from_slice(owner.into_word().as_slice());
        data.into()
    }

    fn word(result: &ExecutionResult) -> U256 {
        U256::from_be_slice(result.output().unwrap())
    }

    #[test]
    fn a_transfer_moves_tokens_and_says_so() {
        let supply: Bytes = keccak256("totalSupply()")[..4].to_vec().into();
        let calls = [
            transfer_data(RECEIVER, U256::from(30)),
            balance_data(OWNER),
            balance_data(RECEIVER),
            transfer_data(OWNER, U256::from(70)),
            balance_data(OWNER),
            supply,
        ];
        let results = call(&calls);
        assert!(results.iter().all(ExecutionResult::is_success), "{results:?}");
        assert_eq!(word(&results[0]), U256::ONE, "transfer returns true");
        assert_eq!(word(&results[1]), U256::from(70));
        assert_eq!(word(&results[2]), U256::from(30));
        assert_eq!(word(&results[4]), U256::from(70), "a transfer to oneself changes nothing");
        assert_eq!(word(&results[5]), U256::from(100));
        let log = &results[0].logs()[0];
        let topics = [keccak256("Transfer(address,address,uint256)"), OWNER.into_word(), RECEIVER.into_word()];
        assert_eq!(log.data.topics(), topics);
        assert_eq!(U256::from_be_slice(&log.data.data), U256::from(30));
    }

    #[test]
    fn too_much_or_nonsense_reverts() {
        let results = call(&[transfer_data(RECEIVER, U256::from(101)), Bytes::from_static(&[1, 2, 3, 4])]);
        assert!(results.iter().all(|result| matches!(result, ExecutionResult::Revert { .. })), "{results:?}");
    }

    #[test]
    fn the_source_assembles() {
        let code = code().unwrap();
        assert!(code.len() > 100 && code.len() < 400, "{} bytes", code.len());
    }

    #[test]
    fn call_data_has_the_standard_layout() {
        let data = transfer_data(Address::with_last_byte(7), U256::from(9));
        assert_eq!(data.len(), 68);
        assert_eq!(hex::encode(&data[..4]), "a9059cbb");
        assert_eq!(data[35], 7);
        assert_eq!(data[67], 9);
    }
}
