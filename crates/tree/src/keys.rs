//! Keys of the state tree and the block info tree (state-tree §5), and the encoding of values (§4).

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use foldhash::fast::RandomState;

use alloy_primitives::{Address, U256};

use super::digest::Digest;
use super::node::value_node;
use super::poseidon::{hash, hash_many, hashes_of};

/// The part of an account that a leaf of the state tree holds (state-tree §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LeafKind {
    /// Balance in wei.
    Balance = 0,
    /// Nonce.
    Nonce = 1,
    /// Linear Poseidon hash of the code.
    CodeHash = 2,
    /// Word of one storage slot.
    Storage = 3,
    /// Length of the code in bytes.
    CodeLength = 4,
    /// Mark of an account touched in a transaction; stands in a tree of its own.
    TouchedAccount = 5,
    /// Mark of a storage slot touched in a transaction; stands in the same tree.
    TouchedSlot = 6,
}

/// The part of a block that a leaf of the block info tree of forks 7 and later holds (state-tree §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockInfoKind {
    /// Header field; the index says which: 0 previous block hash, 1 coinbase, 2 number, 3 gas limit, 4 timestamp,
    /// 5 global exit root, 6 L1 block hash, 7 gas used.
    Header = 7,
    /// Hash of a transaction; the index is the transaction's.
    TxHash = 8,
    /// Status of a transaction.
    Status = 9,
    /// Cumulative gas after a transaction.
    CumulativeGas = 10,
    /// A log; the index is the transaction's, beside it the log index counts.
    Log = 11,
    /// Effective percentage of a transaction.
    EffectivePercentage = 12,
}

/// H of twelve zeros: the capacity of every key but those of storage slots and logs.
static ZERO_CAPACITY: LazyLock<Digest> = LazyLock::new(|| hash(&[0; 8], &[0; 4]));

/// Hashes of the value nodes of 0 to 255: flags, percentages, small counters and slot numbers are everywhere.
static SMALL_VALUE_HASHES: LazyLock<[Digest; 256]> = LazyLock::new(|| {
    let states: [[u64; 12]; 256] =
        std::array::from_fn(|value| state_of(&value_limbs(U256::from(value)), &Digest::ZERO));
    let mut hashes = [Digest::ZERO; 256];
    hash_many(&states, &mut hashes);
    hashes
});

/// Returns the 8 limbs of 32 bits of a value, least significant first (state-tree §4).
pub fn value_limbs(value: U256) -> [u64; 8] {
    let mut limbs = [0; 8];
    for (pair, limb) in limbs.chunks_exact_mut(2).zip(value.as_limbs()) {
        pair[0] = limb & 0xffff_ffff;
        pair[1] = limb >> 32;
    }
    limbs
}

/// Returns the value of 8 limbs, `None` if one of them exceeds 32 bits (state-tree §4).
pub fn value_from_limbs(limbs: &[u64; 8]) -> Option<U256> {
    if limbs.iter().any(|limb| limb >> 32 != 0) {
        return None;
    }
    let mut words = [0; 4];
    for (word, pair) in words.iter_mut().zip(limbs.chunks_exact(2)) {
        *word = pair[0] | pair[1] << 32;
    }
    Some(U256::from_limbs(words))
}

/// Returns the hash of a value node (state-tree §4).
pub fn value_hash(value: U256) -> Digest {
    small_value_hash(value).unwrap_or_else(|| hash(&value_limbs(value), &[0; 4]))
}

/// Returns the hash of a value node if no hashing is needed for it.
pub(crate) fn small_value_hash(value: U256) -> Option<Digest> {
    match value.as_limbs() {
        [small @ 0..256, 0, 0, 0] => Some(SMALL_VALUE_HASHES[*small as usize]),
        _ => None,
    }
}

/// Returns the key of an account's balance, nonce, code hash or code length. For `Storage` it is the key of slot 0.
pub fn account_key(address: Address, kind: LeafKind) -> Digest {
    hash(&key_input(address_number(address), kind as u64), &ZERO_CAPACITY.0)
}

/// Returns the key of a storage slot.
pub fn storage_key(address: Address, slot: U256) -> Digest {
    storage_key_with_capacity(address, &slot_capacity(slot))
}

/// Returns the keys of many leaves, hashed together. The slot counts for `Storage` only.
pub fn leaf_keys(leaves: &[(Address, LeafKind, U256)]) -> Vec<Digest> {
    let slots = leaves.iter().filter(|leaf| leaf.1 == LeafKind::Storage).map(|leaf| leaf.2);
    // The capacity of a slot's keys is the hash of its number as a value.
    let mut capacities = hashes_of(&slots.map(value_node).collect::<Vec<_>>()).into_iter();
    let state = |&(address, kind, _): &(Address, LeafKind, U256)| {
        let capacity = if kind == LeafKind::Storage { capacities.next() } else { None };
        state_of(&key_input(address_number(address), kind as u64), &capacity.unwrap_or(*ZERO_CAPACITY))
    };
    hashes_of(&leaves.iter().map(state).collect::<Vec<_>>())
}

/// Block info keys of one kind for a run of indices.
type KeyRun = [Digest; KEYS_PER_RUN];

/// Indices whose keys are made together: two full packs of the widest kernel.
const KEYS_PER_RUN: usize = 16;
/// Runs of one kind; a batch has room for fewer transactions.
const KEY_RUNS: usize = 128;
/// Kinds from header to effective percentage.
const BLOCK_INFO_KINDS: usize = 6;

/// Keys of the block info tree, the same in every block: made on first use, 384 KiB at most. Those of logs have two
/// indices and are not here.
static BLOCK_INFO_KEYS: [[OnceLock<Box<KeyRun>>; KEY_RUNS]; BLOCK_INFO_KINDS] =
    [const { [const { OnceLock::new() }; KEY_RUNS] }; BLOCK_INFO_KINDS];

/// Returns a key of the block info tree. `log_index` counts for `Log` only.
pub fn block_info_key(kind: BlockInfoKind, index: u64, log_index: u64) -> Digest {
    known_block_info_key(kind, index).unwrap_or_else(|| {
        let capacity = if kind == BlockInfoKind::Log { slot_capacity(U256::from(log_index)) } else { *ZERO_CAPACITY };
        hash(&key_input(U256::from(index), kind as u64), &capacity.0)
    })
}

/// Returns the key of an entry that is no log and within the table.
fn known_block_info_key(kind: BlockInfoKind, index: u64) -> Option<Digest> {
    if kind == BlockInfoKind::Log {
        return None;
    }
    let index = usize::try_from(index).ok()?;
    let runs = BLOCK_INFO_KEYS.get(kind as usize - BlockInfoKind::Header as usize)?;
    let (run, place) = (index / KEYS_PER_RUN, index % KEYS_PER_RUN);
    let keys = runs.get(run)?.get_or_init(|| {
        let state = |place| {
            let index = U256::from(run * KEYS_PER_RUN + place);
            state_of(&key_input(index, kind as u64), &ZERO_CAPACITY)
        };
        let states: [[u64; 12]; KEYS_PER_RUN] = std::array::from_fn(state);
        let mut keys = Box::new([Digest::ZERO; KEYS_PER_RUN]);
        hash_many(&states, keys.as_mut_slice());
        keys
    });
    Some(keys[place])
}

fn storage_key_with_capacity(address: Address, capacity: &Digest) -> Digest {
    slot_key_with_capacity(address, LeafKind::Storage, capacity)
}

fn slot_key_with_capacity(address: Address, kind: LeafKind, capacity: &Digest) -> Digest {
    hash(&key_input(address_number(address), kind as u64), &capacity.0)
}

/// The capacity of a slot's keys is the hash of the slot number as a value; slot 0 thus shares [`ZERO_CAPACITY`].
fn slot_capacity(slot: U256) -> Digest {
    value_hash(slot)
}

fn address_number(address: Address) -> U256 {
    U256::from_be_slice(address.as_slice())
}

/// The number of an account (or block info entry) in positions 0 to 5, the kind in position 6.
fn key_input(number: U256, kind: u64) -> [u64; 8] {
    let mut input = value_limbs(number);
    input[6] = kind;
    input[7] = 0;
    input
}

fn state_of(input: &[u64; 8], capacity: &Digest) -> [u64; 12] {
    let mut state = [0; 12];
    state[..8].copy_from_slice(input);
    state[8..].copy_from_slice(&capacity.0);
    state
}

/// Remembers keys, so that each is hashed once. For one owner: a batch, or the thread that runs batches.
///
/// Holds at most `capacity` keys of each kind; when full it forgets all of that kind and starts again.
#[derive(Debug)]
pub struct KeyCache {
    accounts: HashMap<Address, AccountKeys, RandomState>,
    slots: HashMap<(Address, U256), Digest, RandomState>,
    touched_slots: HashMap<(Address, U256), Digest, RandomState>,
    slot_capacities: HashMap<U256, Digest, RandomState>,
    /// Block info keys of logs, by transaction and log: the same in every block.
    logs: HashMap<(u64, u64), Digest, RandomState>,
    capacity: usize,
}

/// The keys of one account, by [`LeafKind`]; the place of `Storage` is not used.
type AccountKeys = [Digest; 6];

/// Kinds of the keys of an account. One pack of lanes makes them all.
const ACCOUNT_KINDS: [LeafKind; 5] =
    [LeafKind::Balance, LeafKind::Nonce, LeafKind::CodeHash, LeafKind::CodeLength, LeafKind::TouchedAccount];

impl KeyCache {
    /// Creates a cache of at most `capacity` keys of each kind.
    pub fn new(capacity: usize) -> Self {
        Self {
            accounts: HashMap::default(),
            slots: HashMap::default(),
            touched_slots: HashMap::default(),
            slot_capacities: HashMap::default(),
            logs: HashMap::default(),
            capacity,
        }
    }

    /// Returns [`account_key`].
    pub fn account_key(&mut self, address: Address, kind: LeafKind) -> Digest {
        if !self.accounts.contains_key(&address) {
            self.learn_accounts([address]);
        }
        match self.accounts.get(&address) {
            Some(keys) if ACCOUNT_KINDS.contains(&kind) => keys[kind as usize],
            _ => account_key(address, kind),
        }
    }

    /// Makes the keys of these accounts together, as far as they are not known.
    pub fn learn_accounts(&mut self, addresses: impl IntoIterator<Item = Address>) {
        let mut unknown: Vec<Address> =
            addresses.into_iter().filter(|address| !self.accounts.contains_key(address)).collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown.truncate(self.capacity);
        if self.accounts.len() + unknown.len() > self.capacity {
            self.accounts.clear();
        }
        let states: Vec<[u64; 12]> = unknown
            .iter()
            .flat_map(|&address| {
                let number = address_number(address);
                ACCOUNT_KINDS.map(|kind| state_of(&key_input(number, kind as u64), &ZERO_CAPACITY))
            })
            .collect();
        let hashes = hashes_of(&states);
        for (address, hashes) in unknown.into_iter().zip(hashes.chunks_exact(ACCOUNT_KINDS.len())) {
            let mut keys = AccountKeys::default();
            for (kind, hash) in ACCOUNT_KINDS.into_iter().zip(hashes) {
                keys[kind as usize] = *hash;
            }
            self.accounts.insert(address, keys);
        }
    }

    /// Returns [`storage_key`].
    pub fn storage_key(&mut self, address: Address, slot: U256) -> Digest {
        make_room(&mut self.slots, self.capacity);
        make_room(&mut self.slot_capacities, self.capacity);
        *self.slots.entry((address, slot)).or_insert_with(|| {
            // Contracts share slot numbers, so the capacity is remembered by itself.
            let capacity = self.slot_capacities.entry(slot).or_insert_with(|| slot_capacity(slot));
            storage_key_with_capacity(address, capacity)
        })
    }

    /// Returns the key that marks a storage slot touched, in the tree that marks stand in.
    pub fn touched_slot_key(&mut self, address: Address, slot: U256) -> Digest {
        make_room(&mut self.touched_slots, self.capacity);
        make_room(&mut self.slot_capacities, self.capacity);
        *self.touched_slots.entry((address, slot)).or_insert_with(|| {
            let capacity = self.slot_capacities.entry(slot).or_insert_with(|| slot_capacity(slot));
            slot_key_with_capacity(address, LeafKind::TouchedSlot, capacity)
        })
    }

    /// Returns [`block_info_key`] of a log.
    pub fn log_key(&mut self, tx_index: u64, log_index: u64) -> Digest {
        make_room(&mut self.logs, self.capacity);
        let key = || block_info_key(BlockInfoKind::Log, tx_index, log_index);
        *self.logs.entry((tx_index, log_index)).or_insert_with(key)
    }

    /// Returns the keys of many entries of the block info tree; what is not known from before is hashed together.
    pub fn block_info_keys(&mut self, entries: &[(BlockInfoKind, u64, u64)]) -> Vec<Digest> {
        let mut keys: Vec<Digest> = Vec::with_capacity(entries.len());
        let mut unknown = Vec::new();
        for &(kind, index, log_index) in entries {
            let known = match kind {
                BlockInfoKind::Log => self.logs.get(&(index, log_index)).copied(),
                _ => known_block_info_key(kind, index),
            };
            if known.is_none() {
                unknown.push((keys.len(), kind, index, log_index));
            }
            keys.push(known.unwrap_or_default());
        }
        // As in `leaf_keys`, the capacity of a log's key is the hash of its number as a value.
        let logs =
            unknown.iter().filter(|entry| entry.1 == BlockInfoKind::Log).map(|entry| value_node(U256::from(entry.3)));
        let mut capacities = hashes_of(&logs.collect::<Vec<_>>()).into_iter();
        let state = |&(_, kind, index, _): &(usize, BlockInfoKind, u64, u64)| {
            let capacity = if kind == BlockInfoKind::Log { capacities.next() } else { None };
            state_of(&key_input(U256::from(index), kind as u64), &capacity.unwrap_or(*ZERO_CAPACITY))
        };
        let states: Vec<[u64; 12]> = unknown.iter().map(state).collect();
        for (&(place, kind, index, log_index), hash) in unknown.iter().zip(hashes_of(&states)) {
            keys[place] = hash;
            if kind == BlockInfoKind::Log {
                make_room(&mut self.logs, self.capacity);
                self.logs.insert((index, log_index), hash);
            }
        }
        keys
    }
}

fn make_room<K, V, S>(map: &mut HashMap<K, V, S>, capacity: usize) {
    if map.len() >= capacity {
        map.clear();
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, address, b256};
    use proptest::prelude::*;

    use super::*;

    const OTHER: Address = address!("617b3a3528F9cDd6630fd3301B9c8911F7Bf063D");
    const LAST: Address = Address::repeat_byte(0xff);

    #[test]
    fn values_hash_to_known_answers() {
        let counting: [u8; 32] = std::array::from_fn(|i| i as u8 + 1);
        let cases = [
            (U256::from(1), b256!("da62fdf84a21108e47969c1f5a6a25b12346a1b4c0f390e8d074b8cee5dcf415")),
            (
                U256::from(10).pow(U256::from(18)),
                b256!("f8bab960de6e29c9505c89e323a42b5189aec00ac9cf294b54364fe49cd259a1"),
            ),
            (U256::MAX, b256!("c7e34b64676ed7a893b242cc77fa885468487b5e7ab53f0746d39de2a878b842")),
            (U256::from_be_bytes(counting), b256!("145c28d5a3af991384d5fd4d20a33445175f192c1c0c7fc8e417f28241656744")),
        ];
        for (value, expected) in cases {
            assert_eq!(B256::from(value_hash(value)), expected, "{value}");
        }
        let limbs = value_limbs(U256::from_be_bytes(counting));
        assert_eq!(limbs[0], 0x1d1e_1f20);
        assert_eq!(limbs[7], 0x0102_0304);
    }

    #[test]
    fn small_values_hash_as_any_other() {
        for value in [0u64, 1, 2, 254, 255, 256, 1 << 32] {
            let value = U256::from(value);
            assert_eq!(value_hash(value), hash(&value_limbs(value), &[0; 4]), "{value}");
            let carried = value | U256::from(1) << 64;
            assert_eq!(value_hash(carried), hash(&value_limbs(carried), &[0; 4]), "{carried}");
        }
    }

    #[test]
    fn a_limb_above_32_bits_is_no_value() {
        assert_eq!(value_from_limbs(&[0, 0, 0, 0, 0, 0, 0, 1 << 32]), None);
        assert_eq!(value_from_limbs(&[0xffff_ffff; 8]), Some(U256::MAX));
    }

    #[test]
    fn account_keys_are_the_known_ones() {
        use LeafKind::*;
        let cases = [
            (Address::ZERO, Balance, b256!("3b5346a24bd1277bafe6652dcadddf5412db8589cfbbea69425642a70003dbd1")),
            (OTHER, Balance, b256!("649e63bfe1247ba44c2f3e938869b82dd24df1950f2d8f15cddc57c0d0fdd4ed")),
            (LAST, Balance, b256!("58b74b258a4d86b3e433352bc6ffab5d34ff066df14296459a1683b8a14ff001")),
            (Address::ZERO, Nonce, b256!("3eb21a5de81b5ba736b3935c8609cca755e260c3f586eaeb2bce9db8e9f4b79e")),
            (OTHER, Nonce, b256!("da69a3c4a8007a5a2879c9cc37ea44a26a4178e8c2545d53885eeae74812f9e5")),
            (LAST, Nonce, b256!("67079e9cc930714c30002e99bfaa8a6302c48fd75836371a4c1066f64fa91658")),
            (Address::ZERO, CodeHash, b256!("a08cbf91bd98ed9d26b7157b9d25463f89f446e0ceaef00e8c7331113e9367a6")),
            (OTHER, CodeHash, b256!("5a6e842cb68d83c4ffb70ccd72f577d6ed527cf3dd93fd73b5caf18055c4c4d7")),
            (LAST, CodeHash, b256!("ddd63612d41f6277eb6d47baaad9a5f322a860a8fc3936fbe01bf94ec27a6b51")),
            (Address::ZERO, CodeLength, b256!("5aa94c2946278fb526c314fbee796a2891489465dd174333a5b3be5229486700")),
            (OTHER, CodeLength, b256!("94dd7ee5f8d79f7b4cd7e8ce986ada1daeb3ca9407d4f6edd9a115757ed1da9e")),
            (LAST, CodeLength, b256!("4c9901902e9fe732b30b1ed4b798820c16a5f69d25b0a26eeb1ff5f05f8f0e81")),
        ];
        let mut cache = KeyCache::new(5);
        for _ in 0..2 {
            for (address, kind, expected) in cases {
                assert_eq!(B256::from(account_key(address, kind)), expected, "{address} {kind:?}");
                assert_eq!(B256::from(cache.account_key(address, kind)), expected, "cached {address} {kind:?}");
            }
        }
        let leaves = cases.map(|(address, kind, _)| (address, kind, U256::MAX));
        assert_eq!(leaf_keys(&leaves), cases.map(|(.., expected)| expected.into()), "the slot does not count");
    }

    #[test]
    fn keys_learned_together_are_those_made_alone() {
        let addresses: Vec<Address> = (0..20).map(Address::repeat_byte).collect();
        for capacity in [0, 1, 7, 100] {
            let mut cache = KeyCache::new(capacity);
            cache.learn_accounts(addresses.iter().chain(&addresses).copied());
            for &address in &addresses {
                for kind in ACCOUNT_KINDS.into_iter().chain([LeafKind::Storage, LeafKind::TouchedSlot]) {
                    assert_eq!(cache.account_key(address, kind), account_key(address, kind), "{address} {kind:?}");
                }
            }
            assert!(cache.accounts.len() <= capacity);
        }
    }

    #[test]
    fn storage_keys_are_the_known_ones() {
        let one = U256::from(1);
        let cases = [
            (Address::ZERO, U256::ZERO, b256!("1bb61d3f0fa6c77b1ae5de7d05de6c0044a4bdc767729629a8f674ff2e5311ff")),
            (OTHER, U256::ZERO, b256!("2533cc664a0e78a4aaea1a564954395f76fe9d6b8d16c4a99cb0c57989f26116")),
            (LAST, U256::ZERO, b256!("163bb35f1c673bf41ec7c10a13f0aea18891290717b0f84af71bd2f404ef397a")),
            (Address::ZERO, one, b256!("7d5801a973d2084911199de47e51591355d4d003a22b1adbbee2d6e288dd3c14")),
            (OTHER, one, b256!("b35535e70995538cc95341b82d65393a540570331f604ca89d9b6fad2288926a")),
            (LAST, one, b256!("6365716c23274ba7f4cf92177a3dfec2214e6d32a8a2efa6ac3a1c3a6b6d420c")),
            (OTHER, U256::MAX, b256!("72587073da246b645df0d58aa27f98917d556135d468a77d53c08ca6c5d2b3f3")),
        ];
        let mut cache = KeyCache::new(3);
        for _ in 0..2 {
            for (address, slot, expected) in cases {
                assert_eq!(B256::from(storage_key(address, slot)), expected, "{address} {slot}");
                assert_eq!(B256::from(cache.storage_key(address, slot)), expected, "cached {address} {slot}");
            }
        }
        let leaves = cases.map(|(address, slot, _)| (address, LeafKind::Storage, slot));
        assert_eq!(leaf_keys(&leaves), cases.map(|(.., expected)| expected.into()));
        let timestamp = storage_key(address!("000000000000000000000000000000005ca1ab1e"), U256::from(2));
        let expected = [13748230500842749409, 4428676446262882967, 12167292013585018040, 12161933621946006603];
        assert_eq!(timestamp, Digest(expected));
    }

    #[test]
    fn block_info_keys_are_the_known_ones() {
        use BlockInfoKind::*;
        let cases = [
            (Header, b256!("e610db456c9b15f16aabde5ad92c1221d7008e39ec2ccd75f36aeedc454c978d")),
            (TxHash, b256!("eb174d48616205ef6b5bb07bb775fa431a4e4ba3610a17fcb495c96722432b17")),
            (Log, b256!("db96dd65d01ca9ffbcbb19490f3b8338090176db325e55699e7878c55d6acbd7")),
        ];
        for (kind, expected) in cases {
            assert_eq!(B256::from(block_info_key(kind, 0, 0)), expected, "{kind:?}");
        }
        let entries = [(Header, 3, 0), (Log, 2, 5), (TxHash, 7, 1), (Log, 2, 0), (EffectivePercentage, 9, 9)];
        let alone: Vec<Digest> = entries.map(|(kind, index, log)| block_info_key(kind, index, log)).into();
        for mut cache in [KeyCache::new(1), KeyCache::new(100)] {
            assert_eq!(cache.log_key(2, 5), alone[1]);
            for _ in 0..2 {
                assert_eq!(cache.block_info_keys(&entries), alone);
            }
        }
        // The last key of the table and the first behind it.
        let last = (KEYS_PER_RUN * KEY_RUNS) as u64 - 1;
        for index in [last, last + 1, u64::from(u32::MAX)] {
            let input = key_input(U256::from(index), Status as u64);
            let expected = hash(&input, &ZERO_CAPACITY.0);
            assert_eq!(block_info_key(Status, index, 0), expected, "{index}");
            assert_eq!(KeyCache::new(1).block_info_keys(&[(Status, index, 0)]), [expected], "{index}");
        }
    }

    proptest! {
        #[test]
        fn limbs_give_the_value_back(limbs: [u64; 4]) {
            let value = U256::from_limbs(limbs);
            prop_assert_eq!(value_from_limbs(&value_limbs(value)), Some(value));
        }
    }
}
