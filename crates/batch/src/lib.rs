//! `batch_l2_data`: its grammar, its transactions, their senders, and the hashes made of them (batch §3, §4).
//!
//! Decides: what the bytes of a batch say, and who signed its transactions. Must not know: state, the EVM, forks other than by
//! the rules handed in.

#![cfg_attr(not(test), warn(clippy::unwrap_used))]

mod decode;
mod ecrecover_bits;
mod hashes;
mod l1_info;
pub mod observer;
mod signer;
mod transaction;

pub use decode::{BatchItem, DecodedSoFar, decode, decode_from, decode_into};
pub use ecrecover_bits::ScalarBits;
pub use hashes::{acc_input_hash_v1, acc_input_hash_v2, keccak_slot, log_hash, log_preimage};
pub use l1_info::{L1_INFO_TREE_LEVELS, ZERO_LEAF_HASH, l1_info_leaf_hash, l1_info_root};
pub use signer::{INFINITY_ADDRESS, Recovered, SenderCache, Signature, Signers, recover_infinity, recover_signer};
pub use transaction::Transaction;
