//! Verification of what a read or write reports, with nothing but hashing (state-tree §11).

use alloy_primitives::U256;

use super::NodeData;
use super::digest::Digest;
use super::keys::value_hash;
use super::path::{KEY_BITS, bit, first_difference, remaining};
use super::poseidon::{hash, hash_node};
use super::smt::{GetDetails, SetDetails, SetMode};

/// The reason why a proof does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// More siblings than a key has bits.
    #[error("more siblings than a key has bits")]
    TooDeep,
    /// A sibling is not a branch.
    #[error("sibling at level {0} is not a branch")]
    NotABranch(usize),
    /// A sibling does not contain the node below it.
    #[error("sibling at level {0} does not contain the node below")]
    Path(usize),
    /// The topmost hash is not the root.
    #[error("siblings lead to another root")]
    Root,
    /// The other leaf cannot stand where the proof says.
    #[error("other leaf does not belong to this place")]
    OtherLeaf,
    /// The fields contradict each other.
    #[error("mode, values and leaves contradict each other")]
    Shape,
}

impl GetDetails {
    /// Checks that the value is what the tree with this root holds, or that the key is absent.
    pub fn verify(&self) -> Result<(), ProofError> {
        let depth = checked_depth(&self.siblings)?;
        let end = match self.other_leaf {
            Some((key, value)) => {
                if !self.value.is_zero() || value.is_zero() || parting(&self.key, &key)? < depth {
                    return Err(ProofError::OtherLeaf);
                }
                leaf_hash(&key, value, depth)
            }
            None => leaf_hash(&self.key, self.value, depth),
        };
        if climb(&self.key, &self.siblings, end, false)? == self.root { Ok(()) } else { Err(ProofError::Root) }
    }
}

impl SetDetails {
    /// Checks that writing the value turns the tree with the old root into the one with the new root.
    pub fn verify(&self) -> Result<(), ProofError> {
        let depth = checked_depth(&self.siblings)?;
        let own = |value: U256| leaf_hash(&self.key, value, depth);
        let (old_value, new_value) = (self.old_value, self.new_value);
        let values = (old_value.is_zero(), new_value.is_zero());
        let (old_end, new_end) = match (self.mode, self.other_leaf, values) {
            (SetMode::Update, None, (false, false)) => (own(old_value), own(new_value)),
            (SetMode::InsertNotFound, None, (true, false)) => (Digest::ZERO, own(new_value)),
            (SetMode::InsertFound, Some(other), (true, false)) => {
                (leaf_hash(&other.0, other.1, depth), self.pair(other, new_value, depth)?)
            }
            (SetMode::DeleteFound, Some(other), (false, true)) => {
                // A lifted leaf stops below a branch with two children.
                if self.siblings.last().is_some_and(|branch| half(branch, 0).is_zero() || half(branch, 1).is_zero()) {
                    return Err(ProofError::Shape);
                }
                (self.pair(other, old_value, depth)?, leaf_hash(&other.0, other.1, depth))
            }
            (SetMode::DeleteNotFound, None, (false, true)) => {
                // The sibling must be a branch: a leaf would have been lifted.
                if let Some(parent) = self.siblings.last() {
                    let [left, right] = &self.sibling_children;
                    if half(parent, 1 - bit(&self.key, depth - 1)) != branch_hash(left, right) {
                        return Err(ProofError::Shape);
                    }
                }
                (own(old_value), Digest::ZERO)
            }
            (SetMode::ZeroToZero, None, (true, true)) => (Digest::ZERO, Digest::ZERO),
            (SetMode::ZeroToZero, Some((key, value)), (true, true)) => {
                if value.is_zero() || parting(&self.key, &key)? < depth {
                    return Err(ProofError::OtherLeaf);
                }
                let leaf = leaf_hash(&key, value, depth);
                (leaf, leaf)
            }
            _ => return Err(ProofError::Shape),
        };
        let new_root = climb(&self.key, &self.siblings, new_end, false)?;
        let old_root = climb(&self.key, &self.siblings, old_end, true)?;
        if (old_root, new_root) == (self.old_root, self.new_root) { Ok(()) } else { Err(ProofError::Root) }
    }

    /// Hashes the smallest subtree at a depth that holds our leaf and another.
    fn pair(&self, other: (Digest, U256), value: U256, depth: usize) -> Result<Digest, ProofError> {
        let fork = parting(&self.key, &other.0)?;
        if other.1.is_zero() || fork < depth {
            return Err(ProofError::OtherLeaf);
        }
        let mut halves = [leaf_hash(&other.0, other.1, fork + 1); 2];
        halves[bit(&self.key, fork)] = leaf_hash(&self.key, value, fork + 1);
        let mut top = branch_hash(&halves[0], &halves[1]);
        for level in (depth..fork).rev() {
            let mut halves = [Digest::ZERO; 2];
            halves[bit(&self.key, level)] = top;
            top = branch_hash(&halves[0], &halves[1]);
        }
        Ok(top)
    }
}

fn checked_depth(siblings: &[NodeData]) -> Result<usize, ProofError> {
    if siblings.len() > KEY_BITS {
        return Err(ProofError::TooDeep);
    }
    match siblings.iter().position(|branch| branch[8..] != [0; 4]) {
        Some(level) => Err(ProofError::NotABranch(level)),
        None => Ok(siblings.len()),
    }
}

/// Returns the level at which two different keys part.
fn parting(key: &Digest, other: &Digest) -> Result<usize, ProofError> {
    first_difference(key, other).ok_or(ProofError::OtherLeaf)
}

/// Hashes from the end of the path to the root, with the node below put in (`replace`) or expected in each sibling.
fn climb(key: &Digest, siblings: &[NodeData], end: Digest, replace: bool) -> Result<Digest, ProofError> {
    let mut below = end;
    for (level, sibling) in siblings.iter().enumerate().rev() {
        let side = bit(key, level);
        let mut branch = *sibling;
        if replace {
            branch[side * 4..side * 4 + 4].copy_from_slice(&below.0);
        } else if half(sibling, side) != below {
            return Err(ProofError::Path(level));
        }
        below = hash_node(&branch);
    }
    Ok(below)
}

fn half(branch: &NodeData, side: usize) -> Digest {
    Digest(std::array::from_fn(|limb| branch[side * 4 + limb]))
}

/// Returns the hash of a leaf at a depth, zero for value zero.
fn leaf_hash(key: &Digest, value: U256, depth: usize) -> Digest {
    if value.is_zero() {
        return Digest::ZERO;
    }
    pair_hash(&remaining(key, depth), &value_hash(value), 1)
}

fn branch_hash(left: &Digest, right: &Digest) -> Digest {
    pair_hash(left, right, 0)
}

fn pair_hash(first: &Digest, second: &Digest, capacity: u64) -> Digest {
    let mut content = [0; 8];
    content[..4].copy_from_slice(&first.0);
    content[4..].copy_from_slice(&second.0);
    hash(&content, &[capacity, 0, 0, 0])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smt::{StateTree, TreeRef};
    use crate::testing::NodeMap;

    fn key(low: u64) -> Digest {
        Digest([low, 0, 0, 0])
    }

    #[test]
    fn a_read_proof_with_anything_changed_does_not_hold() {
        let store = NodeMap::default();
        let mut tree = StateTree::new(&store);
        let mut writes: Vec<_> = (0..9).map(|i| (key(i), U256::from(i + 1))).collect();
        let version = tree.update(TreeRef::EMPTY, &mut writes).unwrap();
        let present = tree.get_with_details(version, &key(5)).unwrap();
        let absent = tree.get_with_details(version, &key(16)).unwrap();
        assert_eq!((present.verify(), absent.verify()), (Ok(()), Ok(())));
        assert!(absent.other_leaf.is_some());

        let changed = GetDetails { value: U256::from(1), ..present.clone() };
        assert!(matches!(changed.verify(), Err(ProofError::Path(_))));
        let changed = GetDetails { root: Digest([1; 4]), ..present.clone() };
        assert_eq!(changed.verify(), Err(ProofError::Root));
        let changed = GetDetails { siblings: Vec::new(), ..present.clone() };
        assert_eq!(changed.verify(), Err(ProofError::Root));
        let changed = GetDetails { siblings: vec![[0; 12]; 257], ..present.clone() };
        assert_eq!(changed.verify(), Err(ProofError::TooDeep));
        let mut changed = present.clone();
        changed.siblings[0][8] = 1;
        assert_eq!(changed.verify(), Err(ProofError::NotABranch(0)));
        // A present key cannot be passed off as absent, neither by its own leaf nor by one from elsewhere.
        let own = Some((key(5), present.value));
        let changed = GetDetails { value: U256::ZERO, other_leaf: own, ..present.clone() };
        assert_eq!(changed.verify(), Err(ProofError::OtherLeaf));
        let changed = GetDetails { value: U256::ZERO, other_leaf: Some((key(2), U256::from(3))), ..present };
        assert_eq!(changed.verify(), Err(ProofError::OtherLeaf));
    }

    #[test]
    fn a_write_proof_with_anything_changed_does_not_hold() {
        let store = NodeMap::default();
        let mut tree = StateTree::new(&store);
        let mut version = TreeRef::EMPTY;
        let writes = [(1, 3), (0, 5), (2, 7), (1, 4), (9, 1), (9, 0), (1, 0), (5, 0), (0, 0)];
        for (low, value) in writes {
            let details;
            (version, details) = tree.set_with_details(version, &key(low), U256::from(value)).unwrap();
            assert_eq!(details.verify(), Ok(()), "{details:x?}");
            let changed = SetDetails { new_root: Digest([1; 4]), ..details.clone() };
            assert_eq!(changed.verify(), Err(ProofError::Root), "{changed:x?}");
            let changed = SetDetails { old_root: Digest([1; 4]), ..details.clone() };
            assert_eq!(changed.verify(), Err(ProofError::Root), "{changed:x?}");
            let changed = SetDetails { new_value: details.new_value + U256::from(1), ..details.clone() };
            assert!(changed.verify().is_err(), "{changed:x?}");
            let changed = SetDetails { old_value: details.old_value + U256::from(1), ..details };
            assert!(changed.verify().is_err(), "{changed:x?}");
        }
    }
}
