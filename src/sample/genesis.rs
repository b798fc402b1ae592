//! Builds a state out of accounts.

use std::collections::HashMap;

use revm::primitives::{Address, Bytes, U256};

/// An account of a genesis state.
#[derive(Clone, Debug, Default)]
pub struct GenesisAccount {
    /// Address.
    pub address: Address,
    /// Balance in wei.
    pub balance: U256,
    /// Nonce.
    pub nonce: u64,
    /// Code; empty for an account without.
    pub code: Bytes,
    /// Storage by slot.
    pub storage: HashMap<U256, U256>,
}

/// The accounts of a state.
#[derive(Clone, Debug, Default)]
pub struct Genesis {
    /// In no special order; addresses are distinct.
    pub accounts: Vec<GenesisAccount>,
}
