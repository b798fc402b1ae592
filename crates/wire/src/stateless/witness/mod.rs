//! The witness: a pruned tree in pre-order, and the programs of its accounts (executor-service §5.10).
//!
//! ```text
//! witness  01 node
//! node     02 mask node node?                                 branch: CBOR mask 1 left, 2 right, 3 both
//!          04 code, then one more node                        program: CBOR bytes
//!          07 kind address slot? value                        leaf: CBOR, the slot for storage only
//!          03 hash                                            a subtree left out: 32 bytes
//! ```
//!
//! Reading has two steps. The first builds the shape, the second hashes all leaves together and then the branches, level
//! by level from below, so that the hashes fill the lanes. A leaf must stand where its key leads.

mod memo;

pub use memo::WitnessMemo;

use std::collections::HashMap;

use alloy_primitives::{Address, B256, Bytes, U256};

use self::memo::{FoundLeaf, HashedLeaf};
use super::reader::Reader;
use zkevm_tree::poseidon::{hashes_of, linear_hash_many, linear_hash_while};
use zkevm_tree::{
    Digest, LeafKind, NodeData, SentNodes, branch_node, first_difference, key_of_turns, leaf_keys, leaf_node,
    remaining, value_node,
};

/// The one version there is.
const VERSION: u8 = 1;
/// Opcodes.
const BRANCH: u8 = 0x02;
const HASH: u8 = 0x03;
const CODE: u8 = 0x04;
const LEAF: u8 = 0x07;
/// Nodes that are read or hashed from one look whether to go on to the next.
const NODES_PER_LOOK: usize = 1024;
/// Memory of a node, from when it is read until its batch has run.
const NODE_BYTES: usize = 384;
/// Programs that are hashed together, each of so many bytes at most.
const PROGRAMS_TOGETHER: usize = 16;
const PROGRAM_BYTES_TOGETHER: usize = 32 << 10;
/// Deepest level of a node; the root's is 0.
const LEVEL_MAX: usize = 255;

/// A witness that has been read: what a batch may read of the state, and the state's root.
#[derive(Clone, Debug, Default)]
pub struct Witness {
    /// Root of the tree.
    pub root: Digest,
    /// Nodes by hash, 12 elements each: branches, leaves and values. What was pruned is not there.
    pub nodes: SentNodes,
    /// Programs by Poseidon code hash.
    pub programs: HashMap<Digest, Bytes>,
}

/// The reason why bytes are no witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessError {
    /// Not of the version known here.
    #[error("version {0} instead of {VERSION}")]
    Version(u8),
    /// Fewer bytes than the tree needs.
    #[error("ends in the middle of the tree")]
    Truncated,
    /// Not an opcode.
    #[error("unknown opcode {0:#04x}")]
    Opcode(u8),
    /// A CBOR item that is cut off, too long, or of another type.
    #[error("malformed CBOR item")]
    Cbor,
    /// A branch with no child or with more than two.
    #[error("a branch with mask {0}")]
    Mask(u64),
    /// A leaf that the state tree does not have.
    #[error("unknown kind of leaf {0}")]
    LeafKind(u8),
    /// More than 20 bytes of address.
    #[error("an address of more than 20 bytes")]
    Address,
    /// A leaf stands where its key does not lead.
    #[error("a leaf in the wrong place")]
    Misplaced,
    /// More levels than the original allows.
    #[error("more than {LEVEL_MAX} levels")]
    TooDeep,
    /// A limb of a hash is no field element.
    #[error("a hash that is none")]
    Hash,
    /// A program without a byte.
    #[error("an empty program")]
    EmptyProgram,
    /// A program that is followed by another.
    #[error("two programs in a row")]
    TwoPrograms,
    /// Reading was given up.
    #[error("given up")]
    GivenUp,
    /// More nodes than the server takes.
    #[error("more than {0} nodes (limits.witness_nodes)")]
    TooManyNodes(usize),
}

/// Reads a witness of at most `nodes_max` nodes. Bytes behind the tree are left unread, as the original does.
///
/// Every node and program in the result has the hash it stands under.
pub fn read_witness(bytes: &[u8], nodes_max: usize) -> Result<Witness, WitnessError> {
    read_witness_while(bytes, nodes_max, &WitnessMemo::default(), &mut |_| true)
}

/// Reads a witness as [`read_witness`] does; hashes that `memo` knows are not computed. Before each thousand or so nodes or
/// hashes `goes_on` is told the bytes of memory that they will take, and may give the reading up.
pub fn read_witness_while(
    bytes: &[u8],
    nodes_max: usize,
    memo: &WitnessMemo,
    goes_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Witness, WitnessError> {
    let mut shape = Shape { reader: Reader::new(bytes), nodes_max, ..Shape::default() };
    match shape.reader.byte() {
        Some(VERSION) => {}
        Some(version) => return Err(WitnessError::Version(version)),
        None => return Err(WitnessError::Truncated),
    }
    let top = shape.read_tree(goes_on)?;
    shape.hash(top, memo, goes_on)
}

/// What stands at a place of the tree. Numbers are indices into the lists of [`Shape`].
#[derive(Clone, Copy, Debug)]
enum Place {
    Empty,
    Branch(u32),
    Leaf(u32),
    Pruned(u32),
}

struct Branch {
    children: [Place; 2],
    level: u16,
}

/// A branch one of whose children is being read.
struct Open {
    branch: u32,
    /// 0 left, 1 right.
    side: usize,
    right_follows: bool,
}

/// Where a leaf was found: the turns that lead there.
struct Found {
    turns: Digest,
    level: u16,
}

#[derive(Default)]
struct Shape<'a> {
    reader: Reader<'a>,
    nodes_max: usize,
    branches: Vec<Branch>,
    leaves: Vec<(Address, LeafKind, U256)>,
    values: Vec<U256>,
    found: Vec<Found>,
    pruned: Vec<Digest>,
    programs: Vec<&'a [u8]>,
}

impl Shape<'_> {
    /// Reads one tree and returns its root. The branches on the way down are kept in a list instead of on the stack.
    fn read_tree(&mut self, goes_on: &mut dyn FnMut(usize) -> bool) -> Result<Place, WitnessError> {
        let mut open: Vec<Open> = Vec::new();
        for read in 0_usize.. {
            if read.is_multiple_of(NODES_PER_LOOK) && !goes_on(NODES_PER_LOOK * NODE_BYTES) {
                return Err(WitnessError::GivenUp);
            }
            let mut done = match self.read_node(&open)? {
                Node::Opened(branch) => {
                    open.push(branch);
                    continue;
                }
                Node::Done(place) => place,
            };
            loop {
                let Some(parent) = open.last_mut() else { return Ok(done) };
                let index = parent.branch;
                if let Some(branch) = self.branches.get_mut(index as usize) {
                    branch.children[parent.side] = done;
                }
                if parent.side == 0 && parent.right_follows {
                    parent.side = 1;
                    break;
                }
                open.pop();
                done = Place::Branch(index);
            }
        }
        Err(WitnessError::Truncated)
    }

    fn read_node(&mut self, open: &[Open]) -> Result<Node, WitnessError> {
        let level = open.len();
        if level > LEVEL_MAX {
            return Err(WitnessError::TooDeep);
        }
        let mut opcode = self.reader.byte().ok_or(WitnessError::Truncated)?;
        if opcode == CODE {
            self.program()?;
            // It is filed under its own hash, whatever the node behind it is.
            opcode = self.reader.byte().ok_or(WitnessError::Truncated)?;
        }
        match opcode {
            BRANCH => self.branch(level).map(Node::Opened),
            LEAF => self.leaf(open).map(Node::Done),
            HASH => self.pruned().map(Node::Done),
            CODE => Err(WitnessError::TwoPrograms),
            opcode => Err(WitnessError::Opcode(opcode)),
        }
    }

    fn branch(&mut self, level: usize) -> Result<Open, WitnessError> {
        let mask = self.reader.cbor_unsigned().ok_or(WitnessError::Cbor)?;
        let (side, right_follows) = match mask {
            1 => (0, false),
            2 => (1, false),
            3 => (0, true),
            _ => return Err(WitnessError::Mask(mask)),
        };
        self.check_room(1)?;
        let branch = push(&mut self.branches, Branch { children: [Place::Empty; 2], level: level as u16 });
        Ok(Open { branch, side, right_follows })
    }

    fn leaf(&mut self, open: &[Open]) -> Result<Place, WitnessError> {
        let kind = match self.reader.byte().ok_or(WitnessError::Truncated)? {
            0 => LeafKind::Balance,
            1 => LeafKind::Nonce,
            2 => LeafKind::CodeHash,
            3 => LeafKind::Storage,
            4 => LeafKind::CodeLength,
            kind => return Err(WitnessError::LeafKind(kind)),
        };
        let mut number = || self.reader.cbor_number().ok_or(WitnessError::Cbor);
        let address = number()?;
        let slot = if kind == LeafKind::Storage { number()? } else { U256::ZERO };
        let value = number()?;
        if address.bit_len() > 160 {
            return Err(WitnessError::Address);
        }
        // The leaf and its value.
        self.check_room(2)?;
        self.values.push(value);
        self.found.push(Found { turns: key_of_turns(open.iter().map(|branch| branch.side)), level: open.len() as u16 });
        let address = Address::from_word(B256::from(address));
        Ok(Place::Leaf(push(&mut self.leaves, (address, kind, slot))))
    }

    fn pruned(&mut self) -> Result<Place, WitnessError> {
        let word = self.reader.word().ok_or(WitnessError::Truncated)?;
        let hash = Digest::from(word);
        // The original dies of such a hash.
        if hash.to_b256() != word {
            return Err(WitnessError::Hash);
        }
        Ok(Place::Pruned(push(&mut self.pruned, hash)))
    }

    fn program(&mut self) -> Result<(), WitnessError> {
        let code = self.reader.cbor_bytes().ok_or(WitnessError::Cbor)?;
        if code.is_empty() {
            return Err(WitnessError::EmptyProgram);
        }
        self.programs.push(code);
        Ok(())
    }

    fn check_room(&self, more: usize) -> Result<(), WitnessError> {
        let nodes = self.branches.len() + 2 * self.leaves.len();
        // Indices have 32 bits.
        let nodes_max = self.nodes_max.min(u32::MAX as usize);
        if nodes + more > nodes_max { Err(WitnessError::TooManyNodes(self.nodes_max)) } else { Ok(()) }
    }

    /// Hashes everything, from the values up to the root.
    fn hash(
        self,
        top: Place,
        memo: &WitnessMemo,
        goes_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Witness, WitnessError> {
        let mut nodes =
            SentNodes::with_capacity_and_hasher(self.branches.len() + 2 * self.leaves.len(), Default::default());
        let leaves = self.hash_leaves(&mut nodes, memo, goes_on)?;
        let mut levels: Vec<Vec<u32>> = Vec::new();
        for (index, branch) in self.branches.iter().enumerate() {
            let level = usize::from(branch.level);
            if levels.len() <= level {
                levels.resize_with(level + 1, Vec::new);
            }
            levels[level].push(index as u32);
        }
        let mut branches = vec![Digest::ZERO; self.branches.len()];
        let of = |place: Place, branches: &[Digest]| match place {
            Place::Empty => Digest::ZERO,
            Place::Branch(index) => branches[index as usize],
            Place::Leaf(index) => leaves[index as usize],
            Place::Pruned(index) => self.pruned[index as usize],
        };
        let mut contents: Vec<[Digest; 2]> = Vec::with_capacity(NODES_PER_LOOK);
        for level in levels.iter().rev() {
            for level in level.chunks(NODES_PER_LOOK) {
                look(goes_on)?;
                contents.clear();
                contents.extend(
                    level.iter().map(|&index| self.branches[index as usize].children.map(|child| of(child, &branches))),
                );
                let hashes = hash_branches(&contents, memo);
                for ((&index, hash), [left, right]) in level.iter().zip(hashes).zip(&contents) {
                    branches[index as usize] = hash;
                    nodes.insert(hash, branch_node(left, right).into());
                }
            }
        }
        let hashes = self.hash_programs(memo, goes_on)?;
        // Copies: a slice would keep the whole witness in memory for as long as one program is.
        let programs = hashes.into_iter().zip(self.programs.iter().map(|code| Bytes::copy_from_slice(code))).collect();
        Ok(Witness { root: of(top, &branches), nodes, programs })
    }

    /// Checks that each leaf stands where its key leads, hashes it and its value, and returns the hashes of the leaves.
    fn hash_leaves(
        &self,
        nodes: &mut SentNodes,
        memo: &WitnessMemo,
        goes_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<Digest>, WitnessError> {
        let mut hashed = vec![HashedLeaf::default(); self.leaves.len()];
        let mut unknown: Vec<u32> = Vec::new();
        for (index, known) in hashed.iter_mut().enumerate() {
            match memo.leaf(&self.found_leaf(index)) {
                Some(leaf) => *known = leaf,
                None => unknown.push(index as u32),
            }
        }
        for chunk in unknown.chunks(NODES_PER_LOOK) {
            look(goes_on)?;
            let leaves: Vec<_> = chunk.iter().map(|&index| self.leaves[index as usize]).collect();
            for (&index, key) in chunk.iter().zip(leaf_keys(&leaves)) {
                hashed[index as usize].key = key;
            }
        }
        let misplaced = |(hashed, found): (&HashedLeaf, &Found)| {
            first_difference(&hashed.key, &found.turns).is_some_and(|level| level < usize::from(found.level))
        };
        if hashed.iter().zip(&self.found).any(misplaced) {
            return Err(WitnessError::Misplaced);
        }
        let rest = |index: usize, key: &Digest| remaining(key, usize::from(self.found[index].level));
        for chunk in unknown.chunks(NODES_PER_LOOK) {
            look(goes_on)?;
            let values: Vec<_> = chunk.iter().map(|&index| value_node(self.values[index as usize])).collect();
            let values = hashes_of(&values);
            let contents: Vec<_> = chunk
                .iter()
                .zip(&values)
                .map(|(&index, value)| leaf_node(&rest(index as usize, &hashed[index as usize].key), value))
                .collect();
            for ((&index, value), leaf) in chunk.iter().zip(values).zip(hashes_of(&contents)) {
                let index = index as usize;
                hashed[index] = HashedLeaf { value, leaf, ..hashed[index] };
                memo.insert_leaf(self.found_leaf(index), hashed[index]);
            }
        }
        for (index, HashedLeaf { key, value, leaf }) in hashed.iter().enumerate() {
            if index.is_multiple_of(NODES_PER_LOOK) {
                look(goes_on)?;
            }
            nodes.insert(*value, value_node(self.values[index]).into());
            nodes.insert(*leaf, leaf_node(&rest(index, key), value).into());
        }
        Ok(hashed.into_iter().map(|hashed| hashed.leaf).collect())
    }

    fn found_leaf(&self, index: usize) -> FoundLeaf {
        let (address, kind, slot) = self.leaves[index];
        FoundLeaf { address, kind, slot, value: self.values[index], level: self.found[index].level }
    }

    /// Returns the hashes of the programs; short ones are hashed together.
    fn hash_programs(
        &self,
        memo: &WitnessMemo,
        goes_on: &mut dyn FnMut(usize) -> bool,
    ) -> Result<Vec<Digest>, WitnessError> {
        let mut hashes: Vec<Option<Digest>> = self.programs.iter().map(|code| memo.program(code)).collect();
        let unknown: Vec<&[u8]> =
            self.programs.iter().zip(&hashes).filter(|(_, hash)| hash.is_none()).map(|(code, _)| *code).collect();
        let mut places = hashes.iter_mut().filter(|hash| hash.is_none());
        for programs in unknown.chunk_by(|one, next| one.len().max(next.len()) <= PROGRAM_BYTES_TOGETHER) {
            for programs in programs.chunks(PROGRAMS_TOGETHER) {
                look(goes_on)?;
                let hashed = match programs {
                    [program] => {
                        vec![linear_hash_while(program, || goes_on(0)).ok_or(WitnessError::GivenUp)?]
                    }
                    programs => linear_hash_many(programs),
                };
                for (code, hash) in programs.iter().zip(hashed) {
                    memo.insert_program(code, hash);
                    if let Some(place) = places.next() {
                        *place = Some(hash);
                    }
                }
            }
        }
        Ok(hashes.into_iter().map(Option::unwrap_or_default).collect())
    }
}

/// Hashes branches together, but for those that are known.
fn hash_branches(contents: &[[Digest; 2]], memo: &WitnessMemo) -> Vec<Digest> {
    let mut hashes = vec![Digest::ZERO; contents.len()];
    let mut unknown = Vec::new();
    for (index, (children, hash)) in contents.iter().zip(&mut hashes).enumerate() {
        match memo.branch(children) {
            Some(known) => *hash = known,
            None => unknown.push(index),
        }
    }
    let states: Vec<NodeData> =
        unknown.iter().map(|&index| branch_node(&contents[index][0], &contents[index][1])).collect();
    for (index, hash) in unknown.into_iter().zip(hashes_of(&states)) {
        hashes[index] = hash;
        memo.insert_branch(contents[index], hash);
    }
    hashes
}

/// What one opcode gave.
enum Node {
    /// A branch, whose first child comes next.
    Opened(Open),
    Done(Place),
}

fn push<T>(list: &mut Vec<T>, item: T) -> u32 {
    let index = list.len() as u32;
    list.push(item);
    index
}

fn look(goes_on: &mut dyn FnMut(usize) -> bool) -> Result<(), WitnessError> {
    if goes_on(0) { Ok(()) } else { Err(WitnessError::GivenUp) }
}

#[cfg(test)]
mod tests;
