//! The shape of a tree that starts empty and only grows: which keys stand where, without values and hashes.
//!
//! The prover's cost of an access depends on nothing else (state-tree §8). Keys are added in place; what a failed frame
//! added is taken back in order, newest first.

use zkevm_tree::{Digest, bit, first_difference};

/// A tree of keys.
#[derive(Debug, Default)]
pub(crate) struct KeyTrie {
    root: Slot,
    branches: Vec<[Slot; 2]>,
    leaves: Vec<Digest>,
    /// What was changed, oldest first.
    changes: Vec<Change>,
}

/// How far the changes went at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint(usize);

/// What stands at a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Slot {
    #[default]
    Empty,
    Branch(u32),
    Leaf(u32),
}

/// A place that got a key.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// The branch above the place and its side; `None` for the root.
    parent: Option<(u32, usize)>,
    before: Slot,
    branches: usize,
}

/// Where a key ends.
struct End {
    parent: Option<(u32, usize)>,
    place: Slot,
    depth: usize,
}

impl KeyTrie {
    /// Empties the tree, keeping its memory. Earlier checkpoints lose their meaning.
    pub(crate) fn clear(&mut self) {
        self.root = Slot::Empty;
        self.branches.clear();
        self.leaves.clear();
        self.changes.clear();
    }

    /// Returns the proof hash counter of reading a key (state-tree §8.1), and whether the key is there.
    pub(crate) fn read(&self, key: &Digest) -> (u64, bool) {
        let end = self.descend(key);
        let depth = end.depth as u64;
        match end.place {
            Slot::Leaf(leaf) => (depth + 2, self.leaves[leaf as usize] == *key),
            _ => (depth, false),
        }
    }

    /// Adds a key, if it is not there, and returns the proof hash counter of writing it (state-tree §8.2).
    pub(crate) fn write(&mut self, key: &Digest) -> u64 {
        let end = self.descend(key);
        let depth = end.depth as u64;
        let Slot::Leaf(other) = end.place else {
            let leaf = self.push_leaf(key);
            self.replace(&end, leaf, self.branches.len());
            return 2 * depth + 2;
        };
        let Some(parting) = first_difference(&self.leaves[other as usize], key) else {
            return 2 * depth + 4;
        };
        let branches = self.branches.len();
        let leaf = self.push_leaf(key);
        let mut children = [end.place; 2];
        children[bit(key, parting)] = leaf;
        let mut top = self.push_branch(children);
        for level in (end.depth..parting).rev() {
            let mut children = [Slot::Empty; 2];
            children[bit(key, level)] = top;
            top = self.push_branch(children);
        }
        self.replace(&end, top, branches);
        depth + parting as u64 + 6
    }

    /// Returns the proof hash counter of writing zero to a key that is not there (state-tree §8.2).
    pub(crate) fn write_nothing(&self, key: &Digest) -> u64 {
        self.read(key).0
    }

    /// Returns how far the changes went.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        Checkpoint(self.changes.len())
    }

    /// Takes back all changes since a checkpoint.
    pub(crate) fn revert(&mut self, checkpoint: Checkpoint) {
        while self.changes.len() > checkpoint.0
            && let Some(change) = self.changes.pop()
        {
            *self.place(change.parent) = change.before;
            self.branches.truncate(change.branches);
            self.leaves.pop();
        }
    }

    fn descend(&self, key: &Digest) -> End {
        let mut end = End { parent: None, place: self.root, depth: 0 };
        while let Slot::Branch(branch) = end.place {
            let side = bit(key, end.depth);
            end.parent = Some((branch, side));
            end.place = self.branches[branch as usize][side];
            end.depth += 1;
        }
        end
    }

    fn place(&mut self, parent: Option<(u32, usize)>) -> &mut Slot {
        match parent {
            Some((branch, side)) => &mut self.branches[branch as usize][side],
            None => &mut self.root,
        }
    }

    fn replace(&mut self, end: &End, by: Slot, branches: usize) {
        *self.place(end.parent) = by;
        self.changes.push(Change { parent: end.parent, before: end.place, branches });
    }

    fn push_leaf(&mut self, key: &Digest) -> Slot {
        self.leaves.push(*key);
        Slot::Leaf((self.leaves.len() - 1) as u32)
    }

    fn push_branch(&mut self, children: [Slot; 2]) -> Slot {
        self.branches.push(children);
        Slot::Branch((self.branches.len() - 1) as u32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use zkevm_tree::{StateTree, TreeRef};

    /// Keys that share long beginnings, and keys that do not.
    fn key() -> impl Strategy<Value = Digest> {
        prop_oneof![
            [0u64..4, 0..4, 0..4, 0..4].prop_map(Digest),
            [0u64..2, 0..2, 0..2, 0..2].prop_map(|limbs| Digest(limbs.map(|limb| limb << 40))),
            [any::<u32>(); 4].prop_map(|limbs| Digest(limbs.map(u64::from))),
        ]
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Read(Digest),
        Write(Digest),
        Enter,
        Leave(bool),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => key().prop_map(Step::Write),
            2 => key().prop_map(Step::Read),
            1 => Just(Step::Enter),
            1 => any::<bool>().prop_map(Step::Leave),
        ]
    }

    proptest! {
        #[test]
        fn costs_are_those_of_the_tree_itself(steps in prop::collection::vec(step(), 0..120)) {
            let mut trie = KeyTrie::default();
            let mut tree = StateTree::in_memory();
            let mut version = TreeRef::EMPTY;
            let mut frames = Vec::new();
            for step in steps {
                match step {
                    Step::Read(key) => {
                        let (hashes, is_there) = trie.read(&key);
                        prop_assert_eq!(hashes, tree.read_proof_hashes(version, &key).unwrap());
                        prop_assert_eq!(is_there, !tree.get(version, &key).unwrap().is_zero());
                        if !is_there {
                            let expected = tree.write_proof_hashes(version, &key, false).unwrap().0;
                            prop_assert_eq!(trie.write_nothing(&key), expected);
                        }
                    }
                    Step::Write(key) => {
                        let (hashes, next) = tree.write_proof_hashes(version, &key, true).unwrap();
                        prop_assert_eq!(trie.write(&key), hashes);
                        version = next;
                    }
                    Step::Enter => frames.push((version, trie.checkpoint())),
                    Step::Leave(keeps) => {
                        if let Some((before, checkpoint)) = frames.pop() && !keeps {
                            version = before;
                            trie.revert(checkpoint);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_cleared_trie_is_empty() {
        let mut trie = KeyTrie::default();
        trie.write(&Digest([1, 2, 3, 4]));
        trie.clear();
        assert_eq!(trie.read(&Digest([1, 2, 3, 4])), (0, false));
    }
}
