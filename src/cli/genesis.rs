//! `zkevm-executor genesis`: loads a genesis in zkevm-node's format.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::Args;
use revm::primitives::{Address, B256, Bytes, U256};
use serde::Deserialize;

use super::state::{self, StoreArgs};
use zkevm_store::WriteSet;
use zkevm_testkit::sample::genesis::{Genesis, GenesisAccount, GenesisState};
use zkevm_tree::{Digest, TreeError};

/// Flags of `genesis`.
#[derive(Debug, Args)]
pub struct GenesisArgs {
    /// A zkevm-node genesis or network configuration: JSON with `genesis` and, if it is to be checked, `root`.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print the root and keep nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// The reason why a genesis cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum GenesisError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The file is not a genesis.
    #[error("{} is not a genesis: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The file says another root.
    #[error("the genesis has state root {built}, but its file says {expected}")]
    Root {
        /// Root of the accounts.
        built: B256,
        /// Root in the file.
        expected: B256,
    },
    /// The tree could not be built.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

/// The part of the file that matters here.
#[derive(Deserialize)]
struct File {
    root: Option<String>,
    genesis: Vec<Account>,
}

#[derive(Deserialize)]
struct Account {
    address: String,
    #[serde(default)]
    balance: Option<String>,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    bytecode: Option<String>,
    #[serde(default)]
    storage: HashMap<String, String>,
}

/// Reads a genesis, builds its state and compares the root with the file's, if it has one.
pub fn load(path: &Path) -> Result<GenesisState, GenesisError> {
    let text = std::fs::read_to_string(path).map_err(|source| GenesisError::Read { path: path.to_owned(), source })?;
    let format = |reason| GenesisError::Format { path: path.to_owned(), reason };
    let file: File = serde_json::from_str(&text).map_err(|error| format(error.to_string()))?;
    let root =
        file.root.map(|root| root.parse::<B256>().map_err(|_| format(std::format!("root {root:?} is not valid"))));
    let root = root.transpose()?;
    let accounts = file.genesis.into_iter().map(account).collect::<Result<Vec<_>, _>>().map_err(format)?;
    let state = Genesis { accounts }.build()?;
    let built = state.root.to_b256();
    match root {
        Some(expected) if expected != built => Err(GenesisError::Root { built, expected }),
        _ => Ok(state),
    }
}

fn account(account: Account) -> Result<GenesisAccount, String> {
    let address: Address =
        account.address.parse().map_err(|_| format!("address {:?} is not valid", account.address))?;
    let of = |what: &str, text: &str| format!("account {address}: {what} {text:?} is not valid");
    let number = |what: &str, text: &str| parse_number(text).ok_or_else(|| of(what, text));
    let nonce = account.nonce.as_deref().unwrap_or("0");
    let code = account.bytecode.as_deref().unwrap_or_default();
    let slots =
        account.storage.iter().map(|(slot, value)| Ok((number("slot", slot)?, number("storage value", value)?)));
    Ok(GenesisAccount {
        address,
        balance: number("balance", account.balance.as_deref().unwrap_or("0"))?,
        nonce: u64::try_from(number("nonce", nonce)?).map_err(|_| of("nonce", nonce))?,
        code: Bytes::from(hex::decode(code.trim_start_matches("0x")).map_err(|_| of("bytecode", code))?),
        storage: slots.collect::<Result<_, String>>()?,
    })
}

/// Reads a decimal number, or a hexadecimal one with 0x.
pub(super) fn parse_number(text: &str) -> Option<U256> {
    let (digits, radix) = match text.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let valid = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    if valid { U256::from_str_radix(digits, radix).ok() } else { None }
}

/// Loads the genesis and prints its root.
pub fn run(args: &GenesisArgs) -> Result<(), Box<dyn std::error::Error>> {
    let state = load(&args.file)?;
    if !args.dry_run {
        let database = state::open(&args.store)?;
        let set = WriteSet {
            nodes: state.nodes.iter().map(|(hash, node)| (*hash, *node)).collect(),
            programs: state.programs.iter().map(|(hash, code)| (*hash, code.clone())).collect(),
            // Another state may be the latest already.
            latest_root: (database.latest_root()? == Digest::ZERO).then_some(state.root),
        };
        database.commit(&[&set])?;
        eprintln!("kept {} nodes and {} programs", set.nodes.len(), set.programs.len());
    }
    println!("{}", state.root.to_b256());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(text: &str) -> Result<GenesisState, GenesisError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("genesis.json");
        std::fs::write(&path, text).unwrap();
        load(&path)
    }

    #[test]
    fn accounts_have_the_root_of_the_specification() {
        let text = r#"{"genesis": [
            {"address": "0x617b3a3528F9cDd6630fd3301B9c8911F7Bf063D", "balance": "100000000000000000000", "nonce": "0"},
            {"address": "0x4d5Cf5032B2a844602278b01199ED191A86c93ff", "balance": "0xad78ebc5ac6200000"}
        ]}"#;
        let root = "0x4a9bfcb163ec91c5beb22e6aca41592433092c8c7821b01d37fd0de483f9265d";
        assert_eq!(loaded(text).unwrap().root.to_b256().to_string(), root);
    }

    #[test]
    fn a_wrong_root_and_malformed_accounts_are_refused() {
        let text = r#"{"root": "0x0000000000000000000000000000000000000000000000000000000000000001", "genesis": []}"#;
        assert!(matches!(loaded(text), Err(GenesisError::Root { built: B256::ZERO, .. })));
        let account = |field: &str| {
            format!(r#"{{"genesis": [{{"address": "0x617b3a3528F9cDd6630fd3301B9c8911F7Bf063D", {field}}}]}}"#)
        };
        for field in [
            r#""balance": "1g""#,
            r#""nonce": "18446744073709551616""#,
            r#""bytecode": "0x123""#,
            r#""storage": {"-1": "1"}"#,
        ] {
            assert!(matches!(loaded(&account(field)), Err(GenesisError::Format { .. })), "{field}");
        }
    }
}
