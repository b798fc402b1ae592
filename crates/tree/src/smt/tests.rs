use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use alloy_primitives::{Address, B256, address, b256};
use proptest::prelude::*;

use super::*;
use crate::goldilocks::GOLDILOCKS_PRIME;
use crate::keys::{LeafKind, account_key, storage_key, value_hash};
use crate::poseidon::{hash_node, linear_hash};
use crate::testing::NodeMap;

fn raw(key: u64) -> Digest {
    Digest([key, 0, 0, 0])
}

fn word(value: u64) -> U256 {
    U256::from(value)
}

fn root_of(writes: &[(Digest, U256)]) -> B256 {
    let store = NodeMap::default();
    let mut tree = StateTree::new(&store);
    let version = tree.update(TreeRef::EMPTY, &mut writes.to_vec()).unwrap();
    tree.root(version).into()
}

#[test]
fn a_tree_in_memory_of_others_starts_empty() {
    let writes: Vec<_> = (1..200).map(|key| (raw(key), word(key))).collect();
    let root = root_of(&writes);
    let store = NodeMap::default();
    let (mut first, mut second) = (StateTree::new(&store), StateTree::new(&store));
    for tree in [&mut first, &mut second] {
        assert_eq!(tree.node_count(), 0);
        assert_eq!(tree.get(TreeRef::EMPTY, &raw(1)), Ok(U256::ZERO));
    }
    let version = second.update(TreeRef::EMPTY, &mut writes.clone()).unwrap();
    assert_eq!(second.root(version).to_b256(), root);
    drop((first, second));
    assert_eq!(root_of(&writes), root);
}

/// Writes what the versions added into the store.
fn flush(store: &NodeMap, tree: &StateTree<'_>, versions: &[TreeRef]) {
    store.write(&tree.new_nodes(versions));
}

/// Sets one after the other, each in a fresh tree over the store; returns the roots.
fn roots_one_by_one(writes: &[(Digest, U256)]) -> Vec<B256> {
    let store = NodeMap::default();
    let mut root = Digest::ZERO;
    writes
        .iter()
        .map(|write| {
            let mut tree = StateTree::new(&store);
            let opened = tree.open(root);
            let version = tree.update(opened, &mut [*write]).unwrap();
            root = tree.root(version);
            flush(&store, &tree, &[version]);
            root.into()
        })
        .collect()
}

#[test]
fn roots_of_hand_made_keys_are_known() {
    let two_64 = Digest([2, 1, 0, 0]);
    let high = Digest([0, 0, 0, 1 << 63]);
    let step_3 = b256!("0f740b94e3935291daf0998666160414f14a93bb7be05ad56df4df21ff817c1d");
    let step_6 = b256!("d864bbb3fadd160179bc8e153696b6d77850f08520ccf7f42d24d65a138e9a12");
    let steps = [
        (raw(0), word(0), B256::ZERO),
        (raw(1), word(2), b256!("7212762089bfe2505ebbd8f1696acb835ecaf394d0f8d191e4c026dab9ddcfa5")),
        (raw(1), word(3), step_3),
        (raw(0), word(5), b256!("eba194e361111da0b7836c43a81dcf1632758e204fd103492c85c6f507362b9b")),
        (raw(2), word(7), b256!("36be71fd9ceda4236f1b3b6ed9d75eac1eba0b83e97d2db95ef752c346edae60")),
        (two_64, word(8), step_6),
        (raw(2), word(7), step_6),
        (raw(4), word(0), step_6),
        (raw(0), word(0), b256!("96b701ddf133eb25de4ae077edd1195cce660a217a97079c8921abd1348e278e")),
        (two_64, word(0), b256!("c348b36d171c082c854a3897f3ec3b087678f9b679da5746838eb680df19bad6")),
        (raw(2), word(0), step_3),
        (raw(2), word(0), step_3),
        (raw(1), word(0), B256::ZERO),
        (high, U256::MAX, b256!("29d71122e583862ac29d4be85b29382327251f1211e9f5a55b1f1d8cf27cf630")),
        (raw(0), word(1), b256!("af02577166043550e1aaf58974e3056c837f0ba9ffdc26fc1084c4576ca349cb")),
        (high, word(0), b256!("42bb2f66296df03552203ae337815976ca9c1bf52cc1bdd59399ede8fea8a822")),
    ];
    let writes: Vec<_> = steps.iter().map(|(key, value, _)| (*key, *value)).collect();
    let expected: Vec<_> = steps.iter().map(|(.., root)| *root).collect();
    assert_eq!(roots_one_by_one(&writes), expected);
}

#[test]
fn deleting_beside_a_branch_leaves_a_one_child_branch() {
    let expected = b256!("7e837bbd9cbab40c88db7114f61e1d978fbaba594a578603c085cde36bbdc9a5");
    let roots = roots_one_by_one(&[(raw(1), word(3)), (raw(0), word(5)), (raw(2), word(7)), (raw(1), word(0))]);
    assert_eq!(roots[3], expected);
    assert_eq!(root_of(&[(raw(0), word(5)), (raw(2), word(7))]), expected);
}

#[test]
fn roots_of_published_raw_trees_are_known() {
    let many = [1 << 32, 0, 4803839316197376, 35791394, 4599194146, 365091809505837056];
    let numbered: Vec<_> = many.iter().zip(252..).map(|(key, value)| (raw(*key), word(value))).collect();
    let cases: [(Vec<(Digest, U256)>, B256); 8] = [
        (vec![(raw(0), word(1))], b256!("42bb2f66296df03552203ae337815976ca9c1bf52cc1bdd59399ede8fea8a822")),
        (vec![(raw(1), word(1))], b256!("b26e0de762d186d2efc35d9ff4388def6c96ec15f942d83d779141386fe1d2e1")),
        (vec![(raw(1), word(u64::MAX))], b256!("fe8e54ccf991c23ee0287172ef5dd21f7712b6f9ad22310650ae1c4b83527c96")),
        (vec![(raw(2), U256::MAX)], b256!("9cc0a048793c5ad151b83339e76e9cdc556efc2fbd3f6bea921f0087e3b31d6a")),
        (
            (0..4).map(|key| (raw(key), word(key + 1))).collect(),
            b256!("085130c4e67235dc830e48acdc6cee540cf204dd4fbfd43d579a838f58031b1f"),
        ),
        (
            vec![(raw(17185), word(1)), (raw(16929), word(1))],
            b256!("5eb96ea83a6f62628dcf350e96214fae3d852fa15d9ee98742b07864be9a5730"),
        ),
        (
            vec![(raw(0), word(1)), (raw(4369), word(2)), (raw(69905), word(3))],
            b256!("a7db6a59f3df30492054fe2419cf1584e4100f915c75e957938477562c2f2cea"),
        ),
        (numbered, b256!("43567b6b04f5d8d83d109002767462808e225a5c90f2a9afc9ed4672bd54676a")),
    ];
    for (writes, expected) in cases {
        assert_eq!(root_of(&writes), expected, "{writes:?}");
        assert_eq!(roots_one_by_one(&writes).last(), Some(&expected), "{writes:?}");
    }
}

#[test]
fn a_small_tree_consists_of_the_known_nodes() {
    let store = NodeMap::default();
    let mut tree = StateTree::new(&store);
    let version = tree.update(TreeRef::EMPTY, &mut [(raw(0), word(1)), (raw(1), word(2))]).unwrap();
    assert_eq!(tree.new_nodes(&[version]), [], "nothing is hashed before it is asked for");
    tree.hash_versions(&[version]);
    let nodes: BTreeMap<B256, NodeData> = tree.new_nodes(&[version]).into_iter().map(|(h, n)| (h.into(), n)).collect();
    let leaf_0 = [0, 0, 0, 0, 0xd074b8cee5dcf415, 0x2346a1b4c0f390e8, 0x47969c1f5a6a25b1, 0xda62fdf84a21108e];
    let leaf_1 = [0, 0, 0, 0, 0x7615b40971dc29f2, 0x303a082109d64fe0, 0x54f2216c0b37148d, 0xadb5787a1f8676b5];
    let branch = [
        0x9399ede8fea8a822,
        0xca9c1bf52cc1bdd5,
        0x52203ae337815976,
        0x42bb2f66296df035,
        0xc66461ffff8de5c4,
        0xa7219b1e91392ff8,
        0x937b7f127362e62b,
        0xa6c0289125f68e18,
    ];
    let with = |content: [u64; 8], first: u64| -> NodeData {
        std::array::from_fn(|i| if i < 8 { content[i] } else { u64::from(i == 8) * first })
    };
    let expected = BTreeMap::from([
        (b256!("08500ebd22ea34240552b4656fdc8df9ca878879093b107177357c066c619173"), with(branch, 0)),
        (b256!("42bb2f66296df03552203ae337815976ca9c1bf52cc1bdd59399ede8fea8a822"), with(leaf_0, 1)),
        (b256!("a6c0289125f68e18937b7f127362e62ba7219b1e91392ff8c66461ffff8de5c4"), with(leaf_1, 1)),
        (b256!("da62fdf84a21108e47969c1f5a6a25b12346a1b4c0f390e8d074b8cee5dcf415"), with([1, 0, 0, 0, 0, 0, 0, 0], 0)),
        (b256!("adb5787a1f8676b554f2216c0b37148d303a082109d64fe07615b40971dc29f2"), with([2, 0, 0, 0, 0, 0, 0, 0], 0)),
    ]);
    assert_eq!(nodes, expected);
}

#[test]
fn roots_of_one_account_are_known() {
    let account = address!("617b3a3528F9cDd6630fd3301B9c8911F7Bf063D");
    let key = |kind| account_key(account, kind);
    let slot = |number| storage_key(account, word(number));
    let code_hash = linear_hash(&[0x12, 0x34]).to_u256();
    let steps = [
        (
            key(LeafKind::Balance),
            word(10).pow(word(20)),
            b256!("5321e97596347ed38932cf308e5346af6208deaaf459b5ecc18ca2b23d97d15c"),
        ),
        (key(LeafKind::Nonce), word(7), b256!("17aa031d2bcd11fb15c80bb7b214694db1f2c7f1519f462e1ce6f06170272821")),
        (key(LeafKind::CodeHash), code_hash, b256!("18fa95e86b5900bb185a14fbad644d7eb477067707298abe597587bf209c21d1")),
        (key(LeafKind::CodeLength), word(2), b256!("eba438f12746da6e6de678b75b0d7c91b9f7ccd56b3e38ce8d90e4a0e7b56d2f")),
        (slot(0), word(0x2a), b256!("ff16ce4c528acd0ebff18b9a2484cd7675153dbec049fff8592089fbb1cc2681")),
        (slot(1), U256::MAX, b256!("0583fe3fa61e343a5f22dbab11feb9bbfa00e7389b1f346a2a7c9858488be083")),
        (slot(0), word(0), b256!("283841d20f6f52d6e1071c72f2d32a0e680191946997c2bb98e1e32bef8f8eb3")),
        (key(LeafKind::Nonce), word(0), b256!("c6b3092079874e8bd7121ec6da2a06b4131bca1e7fda24109419e1a6de36c258")),
    ];
    let writes: Vec<_> = steps.iter().map(|(key, value, _)| (*key, *value)).collect();
    let expected: Vec<_> = steps.iter().map(|(.., root)| *root).collect();
    assert_eq!(roots_one_by_one(&writes), expected);
}

#[test]
fn an_unchanged_value_gives_the_same_version_back() {
    let store = NodeMap::default();
    let mut tree = StateTree::new(&store);
    let version = tree.update(TreeRef::EMPTY, &mut [(raw(0), word(1)), (raw(1), word(2)), (raw(6), word(3))]).unwrap();
    let mut same = [(raw(6), word(3)), (raw(5), word(0)), (raw(0), word(1)), (raw(7), word(0))];
    assert_eq!(tree.update(version, &mut same), Ok(version));
    assert_eq!(tree.update(version, &mut []), Ok(version));
    assert_eq!(tree.update(TreeRef::EMPTY, &mut [(raw(5), word(0))]), Ok(TreeRef::EMPTY));
}

#[test]
fn the_last_of_several_writes_to_a_key_counts() {
    let store = NodeMap::default();
    let mut tree = StateTree::new(&store);
    let mut writes = [(raw(3), word(1)), (raw(9), word(2)), (raw(3), word(0)), (raw(3), word(7))];
    let version = tree.update(TreeRef::EMPTY, &mut writes).unwrap();
    assert_eq!(tree.get(version, &raw(3)), Ok(word(7)));
    assert_eq!(tree.get(version, &raw(9)), Ok(word(2)));
}

#[test]
fn an_unknown_root_is_a_missing_node() {
    let store = NodeMap::default();
    let mut tree = StateTree::new(&store);
    let root = Digest([1, 2, 3, 4]);
    let version = tree.open(root);
    assert_eq!(tree.get(version, &raw(0)), Err(TreeError::MissingNode(root)));
    assert_eq!(tree.update(version, &mut [(raw(0), word(1))]), Err(TreeError::MissingNode(root)));
    assert_eq!(tree.root(version), root);
}

/// Reads key 0 below a root with these nodes in the store.
fn get_from(root: Digest, nodes: &[(Digest, NodeData)], key: &Digest) -> Result<U256, TreeError> {
    let store = NodeMap::default();
    store.write(nodes);
    let mut tree = StateTree::new(&store);
    let version = tree.open(root);
    tree.get(version, key)
}

#[test]
fn corrupt_nodes_are_errors() {
    let root = Digest([9, 9, 9, 9]);
    let value = Digest([8, 8, 8, 8]);
    let leaf: NodeData = [0, 0, 0, 0, 8, 8, 8, 8, 1, 0, 0, 0];
    type Case<'a> = (&'a [(Digest, NodeData)], Digest, Corruption);
    let cases: [Case<'_>; 8] = [
        (&[(root, [0; 12])], root, Corruption::EmptyBranch),
        (&[(root, [0, 0, 0, 0, 8, 8, 8, 8, 2, 0, 0, 0])], root, Corruption::Capacity),
        (&[(root, [0, 0, 0, 0, 8, 8, 8, 8, 1, 0, 0, 1])], root, Corruption::Capacity),
        (&[(root, [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])], root, Corruption::EmptyValue),
        (&[(root, [GOLDILOCKS_PRIME, 0, 0, 0, 8, 8, 8, 8, 1, 0, 0, 0])], root, Corruption::RemainingKey),
        (&[(root, leaf), (value, [1 << 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])], value, Corruption::Value),
        (&[(root, leaf), (value, [0; 12])], value, Corruption::Value),
        (&[(root, leaf), (value, [1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0])], value, Corruption::Value),
    ];
    for (nodes, hash, what) in cases {
        assert_eq!(get_from(root, nodes, &raw(0)), Err(TreeError::CorruptNode(hash, what)), "{nodes:x?}");
    }
    assert_eq!(get_from(root, &[(root, leaf)], &raw(0)), Err(TreeError::MissingNode(value)));
}

#[test]
fn a_branch_that_contains_itself_ends_in_an_error() {
    let root = Digest([9, 9, 9, 9]);
    let branch = [9, 9, 9, 9, 9, 9, 9, 9, 0, 0, 0, 0];
    let expected = TreeError::CorruptNode(root, Corruption::TooDeep);
    assert_eq!(get_from(root, &[(root, branch)], &raw(0)), Err(expected.clone()));
    let store = NodeMap::default();
    store.write(&[(root, branch)]);
    let mut tree = StateTree::new(&store);
    let version = tree.open(root);
    assert_eq!(tree.update(version, &mut [(raw(0), word(1)), (raw(1), word(0))]), Err(expected));
}

#[test]
fn a_remaining_key_with_too_many_bits_is_corrupt() {
    // Below level 0, limb 0 has 63 bits left.
    let leaf: NodeData = [1 << 63, 0, 0, 0, 8, 8, 8, 8, 1, 0, 0, 0];
    let hash = Digest([7; 4]);
    let root = Digest([9; 4]);
    let nodes = [(root, [7, 7, 7, 7, 9, 9, 9, 9, 0, 0, 0, 0]), (hash, leaf)];
    assert_eq!(get_from(root, &nodes, &raw(0)), Err(TreeError::CorruptNode(hash, Corruption::RemainingKey)));
}

#[test]
fn a_lone_leaf_below_a_branch_cannot_be_deleted() {
    let value = value_hash(word(1));
    let leaf: NodeData = [0, 0, 0, 0, value.0[0], value.0[1], value.0[2], value.0[3], 1, 0, 0, 0];
    let leaf_hash = hash_node(&leaf);
    let mut branch: NodeData = [0; 12];
    branch[..4].copy_from_slice(&leaf_hash.0);
    let root = hash_node(&branch);
    let store = NodeMap::default();
    let nodes = [(root, branch), (leaf_hash, leaf), (value, [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])];
    store.write(&nodes);
    let mut tree = StateTree::new(&store);
    let version = tree.open(root);
    let error = TreeError::CorruptNode(root, Corruption::LoneLeaf);
    assert_eq!(tree.update(version, &mut [(raw(0), word(0))]), Err(error));
}

/// A store that counts calls for one node and for many.
struct Counting {
    nodes: BTreeMap<Digest, NodeData>,
    single: AtomicUsize,
    many: AtomicUsize,
}

impl StateReader for Counting {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        self.single.fetch_add(1, Relaxed);
        Ok(self.nodes.get(hash).copied())
    }

    fn nodes(&self, hashes: &[Digest]) -> Result<Vec<Option<NodeData>>, StoreError> {
        self.many.fetch_add(1, Relaxed);
        Ok(hashes.iter().map(|hash| self.nodes.get(hash).copied()).collect())
    }

    fn program(&self, _: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
}

#[test]
fn reading_ahead_leaves_nothing_to_read() {
    let key = |number: u64| account_key(Address::from_word(word(number).into()), LeafKind::Balance);
    let mut writes: Vec<_> = (1..=40).map(|number| (key(number), word(1000 + number))).collect();
    let empty = NodeMap::default();
    let mut tree = StateTree::new(&empty);
    let version = tree.update(TreeRef::EMPTY, &mut writes).unwrap();
    let root = tree.root(version);
    let nodes: BTreeMap<_, _> = tree.new_nodes(&[version]).into_iter().collect();
    // Two keys are asked for that are not there, one twice.
    let mut asked: Vec<Digest> = (1..=42).chain([1]).map(key).collect();

    let store = Counting { nodes: nodes.clone(), single: 0.into(), many: 0.into() };
    let mut tree = StateTree::new(&store);
    let version = tree.open(root);
    tree.read_ahead(version, &mut asked).unwrap();
    for number in 1..=42 {
        let expected = if number <= 40 { word(1000 + number) } else { U256::ZERO };
        assert_eq!(tree.get(version, &key(number)), Ok(expected));
    }
    assert_eq!(store.single.load(Relaxed), 0);
    assert!(store.many.load(Relaxed) < 20, "a call per level");

    // What is missing or corrupt is an error where it is needed, and nowhere else.
    let leaf = nodes.iter().find(|(_, node)| node[8] == 1).map(|(hash, _)| *hash).unwrap();
    for damage in [None, Some([7; 12])] {
        let mut nodes = nodes.clone();
        nodes.remove(&leaf);
        nodes.extend(damage.map(|node| (leaf, node)));
        let store = Counting { nodes, single: 0.into(), many: 0.into() };
        let mut tree = StateTree::new(&store);
        let version = tree.open(root);
        tree.read_ahead(version, &mut asked).unwrap();
        let failed: Vec<_> = (1..=40).filter_map(|number| tree.get(version, &key(number)).err()).collect();
        let expected = match damage {
            None => TreeError::MissingNode(leaf),
            Some(_) => TreeError::CorruptNode(leaf, Corruption::Capacity),
        };
        assert_eq!(failed, [expected]);
    }
}

/// Keys that share long prefixes, and some that do not.
fn key() -> impl Strategy<Value = Digest> {
    prop_oneof![
        any::<[u64; 4]>().prop_map(|limbs| limbs.map(|limb| limb % GOLDILOCKS_PRIME)),
        prop::array::uniform4(0..3u64),
        (0..8u64, 0..4usize, 50..64u32).prop_map(|(low, limb, bit)| {
            let mut limbs = [low, 0, 0, 0];
            limbs[limb] ^= 1 << bit;
            limbs.map(|limb| limb % GOLDILOCKS_PRIME)
        }),
    ]
    .prop_map(Digest)
}

/// Batches of writes over few keys, a third of them deletes.
fn batches() -> impl Strategy<Value = Vec<Vec<(Digest, U256)>>> {
    prop::collection::vec(key(), 1..25).prop_flat_map(|keys| {
        let value =
            prop_oneof![Just(U256::ZERO), (1..4u64).prop_map(word), any::<[u64; 4]>().prop_map(U256::from_limbs)];
        let write = (prop::sample::select(keys), value);
        prop::collection::vec(prop::collection::vec(write, 0..20), 1..6)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn bulk_updates_equal_single_sets_and_a_tree_built_afresh(batches in batches()) {
        let store = NodeMap::default();
        let mut tree = StateTree::new(&store);
        let mut version = TreeRef::EMPTY;
        let mut single = TreeRef::EMPTY;
        let mut model: BTreeMap<Digest, U256> = BTreeMap::new();
        for batch in &batches {
            version = tree.update(version, &mut batch.clone()).unwrap();
            for write in batch {
                single = tree.update(single, &mut [*write]).unwrap();
                model.insert(write.0, write.1);
            }
            tree.hash_versions(&[version, single]);
            prop_assert_eq!(tree.root(version), tree.root(single));
        }
        for (key, value) in &model {
            prop_assert_eq!(tree.get(version, key).unwrap(), *value);
        }
        let afresh: Vec<_> = model.into_iter().rev().collect();
        prop_assert_eq!(B256::from(tree.root(version)), root_of(&afresh));
    }

    #[test]
    fn roots_inside_the_tree_may_be_hashed_at_the_end(batches in batches(), asked in any::<u64>()) {
        let store = NodeMap::default();
        let (mut at_once, mut late) = (StateTree::new(&store), StateTree::new(&store));
        let (mut known, mut open) = (TreeRef::EMPTY, TreeRef::EMPTY);
        let (mut known_versions, mut open_versions) = (Vec::new(), Vec::new());
        // Of the first three, which stand at the same places, each may be written again.
        let holder = |number: usize| match asked >> 63 {
            0 => raw(number as u64 % 3),
            _ => Digest([number as u64, 7, 7, number as u64 * 0x9E37_79B9]),
        };
        for (number, batch) in batches.iter().enumerate() {
            known = at_once.update(known, &mut batch.clone()).unwrap();
            let root: U256 = at_once.root(known).to_b256().into();
            known = at_once.update(known, &mut [(holder(number), root)]).unwrap();
            known_versions.push(known);
            open = late.update(open, &mut batch.clone()).unwrap();
            open = late.update_to_root(open, holder(number), open).unwrap();
            open_versions.push(open);
            if asked >> number & 1 == 1 {
                prop_assert_eq!(late.get(open, &holder(number)).unwrap(), root);
            }
        }
        late.hash_versions(&open_versions);
        prop_assert_eq!(late.deferred_roots, 0);
        let roots = |tree: &mut StateTree<'_>, versions: &[TreeRef]| -> Vec<_> {
            versions.iter().map(|version| tree.root(*version)).collect()
        };
        prop_assert_eq!(roots(&mut late, &open_versions), roots(&mut at_once, &known_versions));
        let nodes = |tree: &StateTree<'_>, versions: &[TreeRef]| -> BTreeMap<_, _> {
            tree.new_nodes(versions).into_iter().collect()
        };
        prop_assert_eq!(nodes(&late, &open_versions), nodes(&at_once, &known_versions));
    }

    #[test]
    fn every_version_stays_readable_and_is_complete_in_a_store(batches in batches()) {
        let store = NodeMap::default();
        let mut tree = StateTree::new(&store);
        let mut versions = vec![TreeRef::EMPTY];
        let mut models: Vec<BTreeMap<Digest, U256>> = vec![BTreeMap::new()];
        for batch in &batches {
            versions.push(tree.update(versions[versions.len() - 1], &mut batch.clone()).unwrap());
            let mut model = models[models.len() - 1].clone();
            model.extend(batch.iter().copied());
            models.push(model);
        }
        tree.hash_versions(&versions);
        let nodes = tree.new_nodes(&versions);
        for (hash, data) in &nodes {
            prop_assert_eq!(hash_node(data), *hash);
        }
        let mut hashes: Vec<_> = nodes.iter().map(|(hash, _)| *hash).collect();
        hashes.sort();
        hashes.dedup();
        prop_assert_eq!(hashes.len(), nodes.len(), "a node is listed twice");
        let roots: Vec<Digest> = versions.iter().map(|version| tree.root(*version)).collect();
        let target = NodeMap::default();
        target.write(&nodes);
        for ((root, version), model) in roots.iter().zip(&versions).zip(&models) {
            let mut fresh = StateTree::new(&target);
            let opened = fresh.open(*root);
            for key in models[models.len() - 1].keys() {
                let expected = model.get(key).copied().unwrap_or_default();
                prop_assert_eq!(tree.get(*version, key).unwrap(), expected);
                prop_assert_eq!(fresh.get(opened, key).unwrap(), expected);
            }
            prop_assert_eq!(fresh.new_nodes(&[opened]), vec![]);
        }
    }

    #[test]
    fn every_single_set_and_get_proves_itself(batches in batches()) {
        let store = NodeMap::default();
        let mut tree = StateTree::new(&store);
        let mut version = TreeRef::EMPTY;
        let writes: Vec<_> = batches.into_iter().flatten().collect();
        for (key, value) in &writes {
            let before = tree.root(version);
            let (next, set) = tree.set_with_details(version, key, *value).unwrap();
            prop_assert_eq!(set.verify(), Ok(()), "{:x?}", set);
            prop_assert_eq!((set.old_root, set.new_root), (before, tree.root(next)));
            prop_assert_eq!(tree.update(version, &mut [(*key, *value)]).map(|same| tree.root(same)), Ok(set.new_root));
            version = next;
            for (key, _) in writes.iter().take(5) {
                let get = tree.get_with_details(version, key).unwrap();
                prop_assert_eq!(get.verify(), Ok(()), "{:x?}", get);
                prop_assert_eq!(get.value, tree.get(version, key).unwrap());
            }
        }
    }

    #[test]
    fn continuing_from_a_store_gives_the_same_roots(batches in batches()) {
        let store = NodeMap::default();
        let memory = NodeMap::default();
        let mut whole = StateTree::new(&memory);
        let (mut version, mut root) = (TreeRef::EMPTY, Digest::ZERO);
        for batch in &batches {
            version = whole.update(version, &mut batch.clone()).unwrap();
            let mut tree = StateTree::new(&store);
            let opened = tree.open(root);
            let next = tree.update(opened, &mut batch.clone()).unwrap();
            root = tree.root(next);
            flush(&store, &tree, &[next]);
            prop_assert_eq!(root, whole.root(version));
        }
    }
}

#[test]
fn block_info_tree_is_an_empty_tree_with_one_update() {
    let entries = [(raw(1), word(3)), (raw(2), word(0)), (raw(0), word(5))];
    assert_eq!(B256::from(super::root_of_entries(&mut entries.clone()).unwrap()), root_of(&entries));
    assert_eq!(super::root_of_entries(&mut []), Ok(Digest::ZERO));
}
