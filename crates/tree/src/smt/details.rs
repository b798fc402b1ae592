//! Single reads and writes with the details that the HashDB service reports (state-tree §8).

use alloy_primitives::U256;

use super::update::with_bit;
use super::{Corruption, NodeKind, StateTree, TreeError, TreeRef, halves};
use crate::NodeData;
use crate::digest::Digest;
use crate::path::{bit, first_difference};

/// A read and its proof (state-tree §8.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetDetails {
    /// Root read from.
    pub root: Digest,
    /// Key read.
    pub key: Digest,
    /// Its value, zero if absent.
    pub value: U256,
    /// Branches on the path, root first.
    pub siblings: Vec<NodeData>,
    /// The other leaf (key and value) that stands where the key would.
    pub other_leaf: Option<(Digest, U256)>,
    /// Hashes a proof of this read takes.
    pub proof_hash_counter: u64,
}

impl GetDetails {
    /// False if another leaf stands where the key would.
    pub fn is_old_zero(&self) -> bool {
        self.other_leaf.is_none()
    }
}

/// The change that a write made to the shape of the tree (state-tree §8.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetMode {
    /// The key had a value and has another, or the same, now.
    Update,
    /// A new leaf in an empty place.
    InsertNotFound,
    /// A new leaf beside one that stood in its place.
    InsertFound,
    /// A leaf is gone and its sibling leaf was lifted.
    DeleteFound,
    /// A leaf is gone and nothing else moved.
    DeleteNotFound,
    /// An absent key stays absent.
    ZeroToZero,
}

impl SetMode {
    /// Returns the name that clients know.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::InsertNotFound => "insertNotFound",
            Self::InsertFound => "insertFound",
            Self::DeleteFound => "deleteFound",
            Self::DeleteNotFound => "deleteNotFound",
            Self::ZeroToZero => "zeroToZero",
        }
    }
}

/// A write and its proof (state-tree §8.2, §8.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetDetails {
    /// Root before.
    pub old_root: Digest,
    /// Root after.
    pub new_root: Digest,
    /// Key written.
    pub key: Digest,
    /// Branches on the path in the new tree, root first, down to where the trees have the same shape.
    pub siblings: Vec<NodeData>,
    /// The other leaf (key and value) involved: displaced, lifted, or standing where an absent key would.
    pub other_leaf: Option<(Digest, U256)>,
    /// Value before.
    pub old_value: U256,
    /// Value after.
    pub new_value: U256,
    /// The change to the shape of the tree.
    pub mode: SetMode,
    /// Hashes a proof of this write takes.
    pub proof_hash_counter: u64,
    /// Children of the deleted leaf's sibling branch; zero but for `DeleteNotFound` below the root.
    pub sibling_children: [Digest; 2],
}

impl SetDetails {
    /// False if another leaf was involved.
    pub fn is_old_zero(&self) -> bool {
        self.other_leaf.is_none()
    }
}

/// Where a key leads in a loaded tree.
struct Place {
    path: Vec<TreeRef>,
    found: Option<(Digest, U256)>,
}

impl StateTree<'_> {
    /// Reads one key with its proof.
    pub fn get_with_details(&mut self, at: TreeRef, key: &Digest) -> Result<GetDetails, TreeError> {
        let root = self.root(at);
        let Place { path, found } = self.place(at, key)?;
        let (value, other_leaf) = match found {
            Some((found_key, value)) if found_key == *key => (value, None),
            other => (U256::ZERO, other),
        };
        Ok(GetDetails {
            root,
            key: *key,
            value,
            siblings: path.iter().map(|branch| self.node_data(*branch)).collect(),
            other_leaf,
            proof_hash_counter: path.len() as u64 + if found.is_some() { 2 } else { 0 },
        })
    }

    /// Writes one key and proves it. The new version is hashed.
    pub fn set_with_details(
        &mut self,
        at: TreeRef,
        key: &Digest,
        value: U256,
    ) -> Result<(TreeRef, SetDetails), TreeError> {
        let old_root = self.root(at);
        let Place { path, found } = self.place(at, key)?;
        let depth = path.len();
        let mut details = SetDetails {
            old_root,
            new_root: old_root,
            key: *key,
            siblings: Vec::new(),
            other_leaf: found.filter(|(found_key, _)| found_key != key),
            old_value: found.filter(|(found_key, _)| found_key == key).map(|(_, value)| value).unwrap_or_default(),
            new_value: value,
            mode: SetMode::ZeroToZero,
            proof_hash_counter: 0,
            sibling_children: [Digest::ZERO; 2],
        };
        let mut kept_depth = depth;
        let (mode, hashes) = match (value.is_zero(), found) {
            (false, Some((found_key, _))) => match first_difference(&found_key, key) {
                None => (SetMode::Update, 2 * depth + 4),
                Some(fork) => (SetMode::InsertFound, depth + fork + 6),
            },
            (false, None) => (SetMode::InsertNotFound, 2 * depth + 2),
            (true, Some((found_key, _))) if found_key == *key => {
                kept_depth = self.delete_details(&path, key, &mut details)?;
                match details.other_leaf {
                    Some(_) => (SetMode::DeleteFound, depth + kept_depth + 5),
                    None if depth == 0 => (SetMode::DeleteNotFound, 2),
                    None => (SetMode::DeleteNotFound, 2 * depth + 3),
                }
            }
            (true, other) => (SetMode::ZeroToZero, depth + if other.is_some() { 2 } else { 0 }),
        };
        (details.mode, details.proof_hash_counter) = (mode, hashes as u64);
        let version = self.update(at, &mut [(*key, value)])?;
        details.new_root = self.root(version);
        let mut branches = self.place_branches(version, key)?;
        branches.truncate(kept_depth);
        details.siblings = branches.iter().map(|branch| self.node_data(*branch)).collect();
        Ok((version, details))
    }

    /// Looks at the sibling of a leaf about to be deleted; returns the depth the siblings keep.
    fn delete_details(&mut self, path: &[TreeRef], key: &Digest, details: &mut SetDetails) -> Result<usize, TreeError> {
        let Some((parent, above)) = path.split_last() else {
            return Ok(0);
        };
        let depth = path.len();
        let side = 1 - bit(key, depth - 1);
        let sibling = self.children(*parent)[side];
        match self.load(sibling, depth, &with_bit(key, depth - 1, side))? {
            NodeKind::Leaf(index) => {
                let leaf = self.leaves[index as usize];
                details.other_leaf = Some((leaf.key, self.value(leaf.value)?));
                let forks = above.iter().rposition(|branch| !self.children(*branch).contains(&TreeRef::EMPTY));
                Ok(forks.map_or(0, |level| level + 1))
            }
            NodeKind::Branch(_) => {
                let (left, right) = halves(&self.node_data(sibling));
                details.sibling_children = [left, right];
                Ok(depth)
            }
            NodeKind::Empty | NodeKind::Unloaded => {
                Err(TreeError::CorruptNode(self.hashes[parent.index()], Corruption::LoneLeaf))
            }
        }
    }

    fn place(&mut self, at: TreeRef, key: &Digest) -> Result<Place, TreeError> {
        let mut path = Vec::new();
        let (end, _) = self.descend(at, key, |branch| path.push(branch))?;
        let found = match self.leaf(end) {
            Some(leaf) => Some((leaf.key, self.value(leaf.value)?)),
            None => None,
        };
        Ok(Place { path, found })
    }

    fn place_branches(&mut self, at: TreeRef, key: &Digest) -> Result<Vec<TreeRef>, TreeError> {
        let mut path = Vec::new();
        self.descend(at, key, |branch| path.push(branch))?;
        Ok(path)
    }

    fn children(&self, branch: TreeRef) -> [TreeRef; 2] {
        match self.nodes[branch.index()].kind {
            NodeKind::Branch(children) => children,
            _ => [TreeRef::EMPTY; 2],
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::{B256, address, b256};

    use super::*;
    use crate::keys::{LeafKind, account_key, storage_key};
    use crate::poseidon::linear_hash;
    use crate::testing::NodeMap;

    fn raw(key: u64) -> Digest {
        Digest([key, 0, 0, 0])
    }

    /// Key, value; mode, counter, number of siblings, other leaf, old value.
    type Step = (Digest, U256, &'static str, u64, usize, Option<(Digest, U256)>, U256);

    fn step(
        key: Digest,
        value: u64,
        mode: &'static str,
        counter: u64,
        siblings: usize,
        other: Option<(u64, u64)>,
        old_value: u64,
    ) -> Step {
        let other = other.map(|(key, value)| (raw(key), U256::from(value)));
        (key, U256::from(value), mode, counter, siblings, other, U256::from(old_value))
    }

    #[test]
    fn details_of_single_sets_are_known() {
        let two_64 = Digest([2, 1, 0, 0]);
        let high = Digest([0, 0, 0, 1 << 63]);
        let mut steps = vec![
            step(raw(0), 0, "zeroToZero", 0, 0, None, 0),
            step(raw(1), 2, "insertNotFound", 2, 0, None, 0),
            step(raw(1), 3, "update", 4, 0, None, 2),
            step(raw(0), 5, "insertFound", 6, 0, Some((1, 3)), 0),
            step(raw(2), 7, "insertFound", 11, 1, Some((0, 5)), 0),
            step(two_64, 8, "insertNotFound", 6, 2, None, 0),
            step(raw(2), 7, "update", 14, 5, None, 7),
            step(raw(4), 0, "zeroToZero", 7, 5, Some((0, 5)), 0),
            step(raw(0), 0, "deleteFound", 12, 2, Some((2, 7)), 5),
            step(two_64, 0, "deleteFound", 8, 1, Some((2, 7)), 8),
            step(raw(2), 0, "deleteFound", 6, 0, Some((1, 3)), 7),
            step(raw(2), 0, "zeroToZero", 2, 0, Some((1, 3)), 0),
            step(raw(1), 0, "deleteNotFound", 2, 0, None, 3),
        ];
        steps.push((high, U256::MAX, "insertNotFound", 2, 0, None, U256::ZERO));
        steps.push((raw(0), U256::from(1), "insertFound", 261, 0, Some((high, U256::MAX)), U256::ZERO));
        steps.push((high, U256::ZERO, "deleteFound", 261, 0, Some((raw(0), U256::from(1))), U256::MAX));

        let store = NodeMap::default();
        let mut tree = StateTree::new(&store);
        let mut version = TreeRef::EMPTY;
        for (number, (key, value, mode, counter, siblings, other, old_value)) in steps.into_iter().enumerate() {
            let details;
            (version, details) = tree.set_with_details(version, &key, value).unwrap();
            let number = number + 1;
            assert_eq!(details.mode.name(), mode, "step {number}");
            assert_eq!(details.proof_hash_counter, counter, "step {number}");
            assert_eq!(details.siblings.len(), siblings, "step {number}");
            assert_eq!(details.other_leaf, other, "step {number}");
            assert_eq!(details.is_old_zero(), other.is_none(), "step {number}");
            assert_eq!(details.old_value, old_value, "step {number}");
            assert_eq!(details.verify(), Ok(()), "step {number}");
            let get = tree.get_with_details(version, &key).unwrap();
            assert_eq!(get.value, value, "step {number}");
            assert_eq!(get.verify(), Ok(()), "step {number}");
            if number == 6 {
                let level_0 = [
                    0x154ca4e7dd643645,
                    0x301418335bfcd845,
                    0xa148b0b55064c0e2,
                    0x540ecd0dda47a6d3,
                    0xdf58467103d4c03e,
                    0x9672df947332b4c2,
                    0x4bc0984d957e6dbb,
                    0x12df682a6448c60d,
                    0,
                    0,
                    0,
                    0,
                ];
                let level_1 = [
                    0x5e62a4c5a323684c,
                    0xadc6256b7c858f98,
                    0x68f05bb26995696d,
                    0x7290e93a8901c6e3,
                    0x9f10796fae8c4663,
                    0x67d90824294f6ed0,
                    0xc7818c7017b36af9,
                    0xcf58daf54cb99252,
                    0,
                    0,
                    0,
                    0,
                ];
                assert_eq!(details.siblings, [level_0, level_1]);
            }
        }
    }

    #[test]
    fn deleting_beside_a_branch_reports_its_children() {
        let store = NodeMap::default();
        let mut tree = StateTree::new(&store);
        let mut writes = [(raw(1), U256::from(3)), (raw(0), U256::from(5)), (raw(2), U256::from(7))];
        let version = tree.update(TreeRef::EMPTY, &mut writes).unwrap();
        let (_, details) = tree.set_with_details(version, &raw(1), U256::ZERO).unwrap();
        assert_eq!(details.mode, SetMode::DeleteNotFound);
        assert_eq!(details.proof_hash_counter, 5);
        assert_eq!(details.siblings.len(), 1);
        let left = b256!("7290e93a8901c6e368f05bb26995696dadc6256b7c858f985e62a4c5a323684c");
        assert_eq!(details.sibling_children.map(B256::from), [left, B256::ZERO]);
        assert_eq!(details.verify(), Ok(()));
    }

    #[test]
    fn details_of_reads_are_known() {
        let store = NodeMap::default();
        let mut tree = StateTree::new(&store);
        let mut writes = [(raw(0), U256::from(1)), (raw(1), U256::from(2))];
        let version = tree.update(TreeRef::EMPTY, &mut writes).unwrap();
        let cases = [(0, 1, None), (2, 0, Some((raw(0), U256::from(1)))), (3, 0, Some((raw(1), U256::from(2))))];
        for (key, value, other) in cases {
            let details = tree.get_with_details(version, &raw(key)).unwrap();
            assert_eq!(details.value, U256::from(value), "key {key}");
            assert_eq!(details.other_leaf, other, "key {key}");
            assert_eq!(details.proof_hash_counter, 3, "key {key}");
            assert_eq!(details.verify(), Ok(()), "key {key}");
        }
        let nothing = tree.get_with_details(TreeRef::EMPTY, &raw(7)).unwrap();
        assert_eq!((nothing.proof_hash_counter, nothing.is_old_zero()), (0, true));
        assert_eq!(nothing.verify(), Ok(()));
    }

    #[test]
    fn modes_and_counters_of_one_account_are_known() {
        let account = address!("617b3a3528F9cDd6630fd3301B9c8911F7Bf063D");
        let key = |kind| account_key(account, kind);
        let slot = |number: u64| storage_key(account, U256::from(number));
        let steps = [
            (key(LeafKind::Balance), U256::from(10).pow(U256::from(20)), "insertNotFound", 2),
            (key(LeafKind::Nonce), U256::from(7), "insertFound", 8),
            (key(LeafKind::CodeHash), linear_hash(&[0x12, 0x34]).to_u256(), "insertFound", 13),
            (key(LeafKind::CodeLength), U256::from(2), "insertNotFound", 4),
            (slot(0), U256::from(0x2a), "insertFound", 10),
            (slot(1), U256::MAX, "insertNotFound", 6),
            (slot(0), U256::ZERO, "deleteFound", 11),
            (key(LeafKind::Nonce), U256::ZERO, "deleteFound", 13),
        ];
        let store = NodeMap::default();
        let mut tree = StateTree::new(&store);
        let mut version = TreeRef::EMPTY;
        for (number, (key, value, mode, counter)) in steps.into_iter().enumerate() {
            let details;
            (version, details) = tree.set_with_details(version, &key, value).unwrap();
            assert_eq!((details.mode.name(), details.proof_hash_counter), (mode, counter), "step {}", number + 1);
            assert_eq!(details.verify(), Ok(()), "step {}", number + 1);
        }
    }
}
