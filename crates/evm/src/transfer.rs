//! Moving value as the ROM does: sums are modulo 2^256 (evm §4.1). revm refuses a sum beyond that.
//!
//! No chain holds that much; replaced balances and made-up geneses can.

use revm::context::Journal;
use revm::context_interface::JournalTr;
use revm::context_interface::journaled_state::TransferError;
use revm::context_interface::journaled_state::account::JournaledAccountTr;
use revm::database_interface::Database;
use revm::primitives::{Address, U256};

/// True if the payer has the value and the receiver's balance passes 2^256 with it. Both are loaded.
pub(super) fn wraps<DB: Database>(journal: &Journal<DB>, from: Address, to: Address, value: U256) -> bool {
    let balance = |address| journal.inner.state.get(&address).map(|account| account.info.balance);
    from != to
        && balance(from).is_some_and(|balance| balance >= value)
        && balance(to).is_some_and(|balance| balance.checked_add(value).is_none())
}

/// Moves value that the payer has between two accounts, modulo 2^256; the running frame's failure takes it back.
pub(super) fn move_wrapping<DB: Database>(
    journal: &mut Journal<DB>,
    from: Address,
    to: Address,
    value: U256,
) -> Result<(), DB::Error> {
    let mut payer = journal.load_account_mut(from)?.data;
    let left = payer.balance().wrapping_sub(value);
    payer.set_balance(left);
    let mut receiver = journal.load_account_mut(to)?.data;
    let sum = receiver.balance().wrapping_add(value);
    receiver.set_balance(sum);
    Ok(())
}

/// Moves value between two loaded accounts. Returns the database's error alone: the payer has the value.
pub(super) fn move_value<DB: Database>(
    journal: &mut Journal<DB>,
    from: Address,
    to: Address,
    value: U256,
) -> Result<(), DB::Error> {
    if wraps(journal, from, to, value) {
        return move_wrapping(journal, from, to, value);
    }
    let _: Option<TransferError> = journal.transfer_loaded(from, to, value);
    Ok(())
}
