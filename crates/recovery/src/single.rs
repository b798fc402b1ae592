//! One key at a time, by libsecp256k1.

use secp256k1::ecdsa::{RecoverableSignature, RecoveryId};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};

use crate::{Key, Signature};

/// Recovers one key.
pub(crate) fn recover(signature: &Signature) -> Option<Key> {
    let mut compact = [0u8; 64];
    compact[..32].copy_from_slice(signature.r.as_slice());
    compact[32..].copy_from_slice(signature.s.as_slice());
    let id = RecoveryId::try_from(i32::from(signature.is_odd)).ok()?;
    let recoverable = RecoverableSignature::from_compact(&compact, id).ok()?;
    let key = SECP256K1.recover_ecdsa(Message::from_digest(signature.hash.0), &recoverable).ok()?;
    Some(coordinates(&key))
}

fn coordinates(key: &PublicKey) -> Key {
    let mut bytes = [0; 64];
    bytes.copy_from_slice(&key.serialize_uncompressed()[1..]);
    Key(bytes)
}

/// Returns the generator times 1, 2, … up to `count`, which is small.
pub(crate) fn generator_multiples(count: u32) -> Vec<Key> {
    let multiple = |factor: u32| {
        let mut secret = [0; 32];
        secret[28..].copy_from_slice(&factor.to_be_bytes());
        let secret = SecretKey::from_byte_array(secret).expect("it is from 1 to a few hundred");
        coordinates(&PublicKey::from_secret_key(SECP256K1, &secret))
    };
    (1..=count).map(multiple).collect()
}
