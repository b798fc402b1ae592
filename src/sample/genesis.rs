//! Builds a state out of accounts.

use std::collections::HashMap;

use revm::primitives::{Address, Bytes, U256};

use crate::store::StoreError;
use crate::tree::{Digest, NodeData};

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

/// A built state.
#[derive(Clone, Debug, Default)]
pub struct GenesisState {
    /// Its root.
    pub root: Digest,
    /// Its nodes.
    pub nodes: HashMap<Digest, NodeData>,
    /// Its programs by Poseidon code hash.
    pub programs: HashMap<Digest, Bytes>,
}

impl Genesis {
    /// Builds the state.
    pub fn build(&self) -> Result<GenesisState, StoreError> {
        Ok(GenesisState::default())
    }
}
