//! Keys that anyone can derive again: never to be used for anything of value.

use revm::primitives::{Address, B256, keccak256};
use secp256k1::{Message, PublicKey, SECP256K1, SecretKey};

/// An account of the sample state and its key.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    secret: SecretKey,
    address: Address,
}

/// A signature as a batch carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// r.
    pub r: B256,
    /// s, in the lower half.
    pub s: B256,
    /// 27 or 28.
    pub v: u8,
}

impl Account {
    /// Derives account `number`: its secret is the hash of a sentence with the number.
    pub fn numbered(number: u64) -> Self {
        Self::named(&format!("account {number}"))
    }

    /// Derives the account with this name.
    pub fn named(name: &str) -> Self {
        let mut digest = keccak256(format!("zkevm-executor sample {name}"));
        let secret = loop {
            match SecretKey::from_byte_array(digest.0) {
                Ok(secret) => break secret,
                // About one hash in 2^127 is no key.
                Err(_) => digest = keccak256(digest),
            }
        };
        let public = PublicKey::from_secret_key(SECP256K1, &secret).serialize_uncompressed();
        Self { secret, address: Address::from_slice(&keccak256(&public[1..])[12..]) }
    }

    /// Returns the address.
    pub fn address(&self) -> Address {
        self.address
    }

    /// Signs a hash.
    pub fn sign(&self, hash: B256) -> Signature {
        let signature = SECP256K1.sign_ecdsa_recoverable(Message::from_digest(hash.0), &self.secret);
        let (id, compact) = signature.serialize_compact();
        let (r, s) = compact.split_at(32);
        Signature { r: B256::from_slice(r), s: B256::from_slice(s), v: 27 + u8::from(i32::from(id) & 1 == 1) }
    }
}
