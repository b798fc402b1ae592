//! Builds a state out of accounts.

use std::collections::HashMap;

use revm::primitives::{Address, Bytes, U256};

use zkevm_store::{Durability, MemoryStore, StateWriter};
use zkevm_tree::StoreError;
use zkevm_tree::poseidon::linear_hash;
use zkevm_tree::{Digest, LeafKind, NodeData, StateTree, TreeError, TreeRef, account_key, storage_key};

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
    /// Returns keys and values of all leaves (state-tree §5), zeros among them, and the programs by Poseidon code hash.
    pub fn leaves(&self) -> (Vec<(Digest, U256)>, HashMap<Digest, Bytes>) {
        let mut leaves: Vec<(Digest, U256)> = Vec::new();
        let mut programs = HashMap::new();
        for account in &self.accounts {
            let address = account.address;
            leaves.push((account_key(address, LeafKind::Balance), account.balance));
            leaves.push((account_key(address, LeafKind::Nonce), U256::from(account.nonce)));
            if !account.code.is_empty() {
                let code_hash = linear_hash(&account.code);
                leaves.push((account_key(address, LeafKind::CodeHash), code_hash.to_u256()));
                leaves.push((account_key(address, LeafKind::CodeLength), U256::from(account.code.len())));
                programs.insert(code_hash, account.code.clone());
            }
            leaves.extend(account.storage.iter().map(|(slot, value)| (storage_key(address, *slot), *value)));
        }
        (leaves, programs)
    }

    /// Builds the state.
    pub fn build(&self) -> Result<GenesisState, TreeError> {
        let (mut leaves, programs) = self.leaves();
        let nothing = MemoryStore::new(0);
        let mut tree = StateTree::new(&nothing);
        let state = tree.update(TreeRef::EMPTY, &mut leaves)?;
        let root = tree.root(state);
        Ok(GenesisState { root, nodes: tree.new_nodes(&[state]).into_iter().collect(), programs })
    }
}

impl GenesisState {
    /// Writes the state to a store, as permanent.
    pub fn write_to(&self, store: &dyn StateWriter) -> Result<(), StoreError> {
        let nodes: Vec<_> = self.nodes.iter().map(|(hash, node)| (*hash, *node)).collect();
        let programs: Vec<_> = self.programs.iter().map(|(hash, code)| (*hash, code.clone())).collect();
        store.write(&nodes, &programs, Durability::Permanent)
    }
}

#[cfg(test)]
mod tests {
    use revm::primitives::{address, b256};

    use super::*;

    #[test]
    fn two_accounts_have_the_root_of_the_specification() {
        let ether = U256::from(10).pow(U256::from(18));
        let account = |address, ether_count: u64| GenesisAccount {
            address,
            balance: ether * U256::from(ether_count),
            ..GenesisAccount::default()
        };
        let genesis = Genesis {
            accounts: vec![
                account(address!("617b3a3528F9cDd6630fd3301B9c8911F7Bf063D"), 100),
                account(address!("4d5Cf5032B2a844602278b01199ED191A86c93ff"), 200),
            ],
        };
        // batch §16.3
        let root = b256!("4a9bfcb163ec91c5beb22e6aca41592433092c8c7821b01d37fd0de483f9265d");
        assert_eq!(genesis.build().unwrap().root.to_b256(), root);
    }

    #[test]
    fn code_is_kept_under_its_hash() {
        let code = Bytes::from_static(&[0x60, 0x01]);
        let account = GenesisAccount { code: code.clone(), ..GenesisAccount::default() };
        let state = Genesis { accounts: vec![account] }.build().unwrap();
        assert_eq!(state.programs.get(&linear_hash(&code)), Some(&code));
        assert!(state.nodes.contains_key(&state.root));
    }
}
