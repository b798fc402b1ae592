//! Recovering the sender of a signature (batch §8.1, evm §6.4).

use std::sync::Arc;
use std::time::Duration;

use alloy_primitives::{Address, B256, U256, address, keccak256, uint};
use quick_cache::sync::Cache;
use secp256k1::{PublicKey, SECP256K1, Scalar, SecretKey};

use super::ecrecover_bits::ScalarBits;
use zkevm_pool::{ChunkOptions, PendingResults, WorkerPool};
use zkevm_recovery::{Recoverer, Recovery};
use zkevm_types::RecoveryRules;

/// n/2, the largest legal s.
const S_MAX: U256 = uint!(0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0_U256);

/// Order of the field of secp256k1, and a quarter of the number after it: an exponent that takes square roots.
const FIELD: U256 = uint!(0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f_U256);
const ROOT_EXPONENT: U256 = uint!(0x3fffffffffffffffffffffffffffffffffffffffffffffffffffffffbfffff0c_U256);

/// Address that forks 4 and 5 recover when the public key is the point at infinity (evm Q5).
pub const INFINITY_ADDRESS: Address = address!("3f17f1962b36e491b30a40b2405849e597ba5fb5");

/// Signatures remembered: the same transaction comes back when it is pooled, sequenced, replayed and synchronised.
const REMEMBERED_SIGNATURES: usize = 1 << 17;

/// Signatures of one chunk: with eight at a time it takes a quarter of a millisecond, else half a millisecond. Fewer would
/// share an inversion among fewer.
const CHUNK_OF_LANES: usize = 64;
const CHUNK_OF_SINGLES: usize = 16;
/// Far more than a chunk takes.
const STEAL_TIMEOUT: Duration = Duration::from_millis(5);

/// A signature and what it signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Signature {
    /// Signed hash.
    pub hash: B256,
    /// r, not range-checked.
    pub r: B256,
    /// s, not range-checked.
    pub s: B256,
    /// v as sent; 27 or 28 when valid.
    pub v: u8,
}

/// The result of recovering a signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The signer, `None` if the signature is invalid.
    pub signer: Option<Address>,
    /// The bits that the zk counters of the recovery depend on; there when there is a signer.
    pub scalar_bits: Option<ScalarBits>,
    /// The root of r³ + 7 that the ROM's exponent yields has the other parity; told where the rules ask for it.
    pub root_is_negated: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct SignatureKey {
    signature: Signature,
    rules: RecoveryRules,
}

/// Remembers what signatures recovered to, up to 131 072 of them: about 20 MiB when full. Clones share the memory.
///
/// What a signature recovers to never changes, so nothing is ever forgotten but for room.
#[derive(Clone)]
pub struct SenderCache {
    known: Arc<Cache<SignatureKey, Recovered>>,
    recoverer: Recoverer,
}

impl SenderCache {
    /// Creates a cache that knows no signature; what it does not know is recovered as fast as the processor can.
    pub fn new() -> Self {
        Self::with_recoverer(Recoverer::detected().unwrap_or_default())
    }

    /// Creates a cache that knows no signature; what it does not know `recoverer` recovers.
    pub fn with_recoverer(recoverer: Recoverer) -> Self {
        Self { known: Arc::new(Cache::new(REMEMBERED_SIGNATURES)), recoverer }
    }

    /// Begins to recover the signers of a batch, as [`recover_signer`] does. What is not known is shared with the threads of
    /// `pool` that are idle, which go on while the batch runs with the first.
    pub fn recover(&self, signatures: &[Signature], rules: RecoveryRules, pool: &WorkerPool) -> Signers {
        let keys = signatures.iter().map(|signature| SignatureKey { signature: *signature, rules });
        let known: Vec<_> = keys.clone().map(|key| self.known.get(&key)).collect();
        let missing = keys.zip(&known).filter(|(_, known)| known.is_none()).map(|(key, _)| key).collect();
        let cache = self.clone();
        let items = if self.recoverer.has_lanes() { CHUNK_OF_LANES } else { CHUNK_OF_SINGLES };
        let chunks = ChunkOptions { items, steal_timeout: STEAL_TIMEOUT };
        let missing = pool.spawn_chunks(missing, chunks, move |keys| cache.recover_unknown(keys));
        Signers { known: known.into_iter(), missing }
    }

    /// Recovers a single signer.
    pub fn recover_one(&self, signature: Signature, rules: RecoveryRules) -> Recovered {
        self.recover(&[signature], rules, &WorkerPool::none()).take(1).pop().unwrap_or_default()
    }

    /// True if the signature was recovered before.
    pub fn knows(&self, signature: Signature, rules: RecoveryRules) -> bool {
        self.known.get(&SignatureKey { signature, rules }).is_some()
    }

    fn recover_unknown(&self, keys: &[SignatureKey]) -> Vec<Recovered> {
        let signatures: Vec<_> = keys.iter().map(|key| key.signature.for_recovery()).collect();
        let decide = |(key, recovery): (&SignatureKey, Recovery)| {
            let (signature, rules) = (key.signature, key.rules);
            let signer = signer(&signature, &recovery, rules.infinity_bug);
            let root_is_negated = rules.roots_count && signer.is_some() && root_is_negated(&signature, &recovery);
            let scalar_bits = recovery.scalars.filter(|_| signer.is_some()).map(ScalarBits::from);
            let recovered = Recovered { signer, scalar_bits, root_is_negated };
            self.known.insert(*key, recovered);
            recovered
        };
        keys.iter().zip(self.recoverer.recover(&signatures)).map(decide).collect()
    }
}

impl Default for SenderCache {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for SenderCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SenderCache").field("signatures", &self.known.len()).finish()
    }
}

/// The signers of a batch, in the order of its signatures.
pub struct Signers {
    /// What is remembered; `None` is the next of `missing`.
    known: std::vec::IntoIter<Option<Recovered>>,
    missing: PendingResults<SignatureKey, Recovered>,
}

impl Signers {
    /// True if idle threads recover, so that it pays to go on with the first.
    pub fn are_shared(&self) -> bool {
        self.missing.is_shared()
    }

    /// Returns the next `count` signers, fewer at the end; those not there yet are waited for.
    pub fn take(&mut self, count: usize) -> Vec<Recovered> {
        let known: Vec<_> = self.known.by_ref().take(count).collect();
        let mut missing = self.missing.take(known.iter().filter(|known| known.is_none()).count()).into_iter();
        known.into_iter().map(|known| known.or_else(|| missing.next()).unwrap_or_default()).collect()
    }
}

/// Recovers the signer of `hash`, `None` if the signature is invalid.
///
/// r must be in range and the x of a curve point, s at most n/2 and not zero, v 27 or 28. With `infinity_bug` a public key
/// at infinity is accepted as [`INFINITY_ADDRESS`].
pub fn recover_signer(hash: B256, r: B256, s: B256, v: u8, infinity_bug: bool) -> Option<Address> {
    let signature = Signature { hash, r, s, v };
    let recovery = Recoverer::single().recover(&[signature.for_recovery()]).pop()?;
    signer(&signature, &recovery, infinity_bug)
}

impl Signature {
    /// Returns 0 or 1, `None` for an invalid v.
    fn parity(&self) -> Option<u8> {
        self.v.checked_sub(27).filter(|&parity| parity <= 1)
    }

    fn for_recovery(&self) -> zkevm_recovery::Signature {
        let Self { hash, r, s, .. } = *self;
        zkevm_recovery::Signature { hash, r, s, is_odd: self.parity() == Some(1) }
    }
}

/// Decides about a signature whose key was looked for.
fn signer(signature: &Signature, recovery: &Recovery, infinity_bug: bool) -> Option<Address> {
    let Signature { hash, r, s, .. } = *signature;
    let parity = signature.parity().filter(|_| U256::from_be_bytes(s.0) <= S_MAX)?;
    match recovery.key {
        Some(key) => Some(Address::from_slice(&keccak256(key.0)[12..])),
        None => (infinity_bug && recover_infinity(hash, r, s, parity)).then_some(INFINITY_ADDRESS),
    }
}

/// True if the root of r³ + 7 that the exponent yields has the other parity than v asks for.
fn root_is_negated(signature: &Signature, recovery: &Recovery) -> bool {
    let root_is_odd = recovery.root_is_odd.unwrap_or_else(|| {
        let r = U256::from_be_bytes(signature.r.0);
        let square = r.mul_mod(r, FIELD).mul_mod(r, FIELD).add_mod(U256::from(7), FIELD);
        square.pow_mod(ROOT_EXPONENT, FIELD).bit(0)
    });
    root_is_odd == (signature.v == 27)
}

/// True if the signature is well formed and its public key would be the point at infinity: z·G = s·R.
pub fn recover_infinity(hash: B256, r: B256, s: B256, parity: u8) -> bool {
    let mut compressed = [0u8; 33];
    compressed[0] = 2 + parity;
    compressed[1..].copy_from_slice(r.as_slice());
    let (Ok(point), Ok(s), Ok(z)) =
        (PublicKey::from_slice(&compressed), Scalar::from_be_bytes(s.0), SecretKey::from_byte_array(hash.0))
    else {
        return false;
    };
    point.mul_tweak(SECP256K1, &s).is_ok_and(|s_r| s_r == PublicKey::from_secret_key(SECP256K1, &z))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy_primitives::b256;

    const HASH: B256 = b256!("5d62354c599338d6895f7898ad0a3e45beaae359f1a180c244f13d92dfeb3a5b");
    const R: B256 = b256!("f9ea8e90ae323e360a22bd0b1a972d15cb33df6ccbfbada4a0d49792d1164ea5");
    const S: B256 = b256!("6029d84d5093a7186fb5bf2f1b7258d57e9c09ac89c4cb8eb44a3c961c4dd89b");

    #[test]
    fn recovers_the_sender_of_the_specification_example() {
        let from = address!("617b3a3528F9cDd6630fd3301B9c8911F7Bf063D");
        assert_eq!(recover_signer(HASH, R, S, 27, false), Some(from));
        assert_ne!(recover_signer(HASH, R, S, 28, false), Some(from));
    }

    #[test]
    fn a_remembered_signer_is_the_recovered_one() {
        let signatures = [27, 28, 29, 27].map(|v| Signature { hash: HASH, r: R, s: S, v });
        let expected = signatures.map(|Signature { hash, r, s, v }| recover_signer(hash, r, s, v, false));
        let senders = SenderCache::new();
        for _ in 0..2 {
            let recovered = senders.recover(&signatures, RecoveryRules::default(), &WorkerPool::none()).take(4);
            assert_eq!(recovered.iter().map(|recovered| recovered.signer).collect::<Vec<_>>(), expected);
            assert!(recovered.iter().all(|recovered| recovered.signer.is_some() == recovered.scalar_bits.is_some()));
        }
    }

    #[test]
    fn one_of_both_parities_is_the_roots_own() {
        let rules = RecoveryRules { roots_count: true, ..RecoveryRules::default() };
        let signatures = [27, 28].map(|v| Signature { hash: HASH, r: R, s: S, v });
        let negated = signatures.map(|signature| SenderCache::new().recover_one(signature, rules).root_is_negated);
        assert_ne!(negated[0], negated[1]);
        let root = U256::from(45 * 45).pow_mod(ROOT_EXPONENT, FIELD);
        assert!(root == U256::from(45) || root == FIELD - U256::from(45));
    }

    #[test]
    fn refuses_values_out_of_range() {
        for (r, s, v) in
            [(R, S, 26), (R, S, 29), (R, B256::ZERO, 27), (B256::ZERO, S, 27), (B256::repeat_byte(0xff), S, 27)]
        {
            assert_eq!(recover_signer(HASH, r, s, v, true), None);
        }
        let high_s = B256::from(S_MAX + U256::from(1));
        assert_eq!(recover_signer(HASH, R, high_s, 27, false), None);
    }

    #[test]
    fn infinity_is_an_address_only_with_the_bug() {
        // R = G and z = s, so that the public key is s·G − z·G.
        let g_x = b256!("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798");
        let five = B256::with_last_byte(5);
        assert_eq!(recover_signer(five, g_x, five, 27, true), Some(INFINITY_ADDRESS));
        assert_eq!(recover_signer(five, g_x, five, 27, false), None);
    }
}
