//! The state a request brings along, in front of the store (executor-service, `db` and `contracts_bytecode`).

use std::collections::HashMap;

use alloy_primitives::Bytes;

use crate::encoding::CONTENT_BYTES;
use zkevm_tree::goldilocks::canonical;
use zkevm_tree::poseidon::{hashes_of, linear_hash_many, linear_hash_while};
use zkevm_tree::{Digest, NodeData, SentNodes, StateReader, StoreError};

/// Elements of a node without its capacity.
const CONTENT_ELEMENTS: usize = CONTENT_BYTES / 8;
/// Nodes hashed from one question whether to go on to the next: a few milliseconds.
pub(crate) const NODES_TOGETHER: usize = 1 << 12;
/// Short programs of the same, and how long one is: as contracts are, at most (EIP-170).
const PROGRAMS_TOGETHER: usize = 64;
const SHORT_PROGRAM_BYTES: usize = 24_576;
/// Where an entry of a request is.
const PLACE: &str = "db of the request";

/// Reads a request's own entries first, then a store.
///
/// A request may say anything about its own batch, so entries are not verified on reading. Only verified ones may
/// go into a shared store.
#[derive(Clone, Copy)]
pub struct RequestOverlay<'a> {
    /// Answers what the request does not bring.
    pub base: &'a dyn StateReader,
    /// Nodes of the request by hash: as they came, of any length.
    pub nodes: &'a SentNodes,
    /// Programs of the request by Poseidon code hash.
    pub programs: &'a HashMap<Digest, Bytes>,
}

/// A state of which nothing is known: what a request that stands alone has behind its own entries.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoState;

impl StateReader for NoState {
    fn node(&self, _hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        Ok(None)
    }

    fn has_nodes(&self, hashes: &[Digest]) -> Result<bool, StoreError> {
        Ok(hashes.is_empty())
    }

    fn program(&self, _hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(None)
    }
}

impl RequestOverlay<'_> {
    /// Returns the request's nodes that have the hash they are said to have.
    pub fn verified_nodes(&self) -> Vec<(Digest, NodeData)> {
        verified_nodes(self.nodes)
    }

    /// Returns the request's programs that have the hash they are said to have.
    pub fn verified_programs(&self) -> Vec<(Digest, Bytes)> {
        verified_programs(self.programs)
    }
}

/// Returns those of these nodes that have the length of one, with canonical elements.
pub(crate) fn canonical_nodes<'a, E: AsRef<[u64]> + 'a>(
    entries: impl IntoIterator<Item = (&'a Digest, &'a E)>,
) -> impl Iterator<Item = (Digest, NodeData)> {
    entries.into_iter().filter_map(|(hash, elements)| Some((*hash, canonical_node(elements.as_ref())?)))
}

/// Returns the nodes that have the hash they are listed under, with canonical elements.
pub fn verified_nodes<'a, E: AsRef<[u64]> + 'a>(
    entries: impl IntoIterator<Item = (&'a Digest, &'a E)>,
) -> Vec<(Digest, NodeData)> {
    verified_nodes_while(entries, &mut || true).unwrap_or_default()
}

/// Returns the same; asks `goes_on` every few milliseconds, and gives up with `None` if told so.
pub(crate) fn verified_nodes_while<'a, E: AsRef<[u64]> + 'a>(
    entries: impl IntoIterator<Item = (&'a Digest, &'a E)>,
    goes_on: &mut dyn FnMut() -> bool,
) -> Option<Vec<(Digest, NodeData)>> {
    let mut nodes: Vec<(Digest, NodeData)> = canonical_nodes(entries).collect();
    let mut hashes = Vec::with_capacity(nodes.len());
    for nodes in nodes.chunks(NODES_TOGETHER) {
        if !goes_on() {
            return None;
        }
        let states: Vec<NodeData> = nodes.iter().map(|(_, data)| *data).collect();
        hashes.extend(hashes_of(&states));
    }
    let mut hashes = hashes.into_iter();
    nodes.retain(|(key, _)| Some(*key) == hashes.next());
    Some(nodes)
}

/// Returns the programs that have the hash they are listed under.
pub fn verified_programs<'a>(entries: impl IntoIterator<Item = (&'a Digest, &'a Bytes)>) -> Vec<(Digest, Bytes)> {
    verified_programs_while(entries, &mut || true).unwrap_or_default()
}

/// Returns the same; asks `goes_on` every few milliseconds, and gives up with `None` if told so.
pub(crate) fn verified_programs_while<'a>(
    entries: impl IntoIterator<Item = (&'a Digest, &'a Bytes)>,
    goes_on: &mut dyn FnMut() -> bool,
) -> Option<Vec<(Digest, Bytes)>> {
    let (short, long): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(_, code)| code.len() <= SHORT_PROGRAM_BYTES);
    let mut verified = Vec::new();
    for programs in short.chunks(PROGRAMS_TOGETHER) {
        if !goes_on() {
            return None;
        }
        let codes: Vec<&[u8]> = programs.iter().map(|(_, code)| code.as_ref()).collect();
        let hashed = programs.iter().zip(linear_hash_many(&codes)).filter(|((key, _), hash)| **key == *hash);
        verified.extend(hashed.map(|((hash, code), _)| (**hash, (*code).clone())));
    }
    for (hash, code) in long {
        if linear_hash_while(code, &mut *goes_on)? == *hash {
            verified.push((*hash, code.clone()));
        }
    }
    Some(verified)
}

impl StateReader for RequestOverlay<'_> {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        match self.nodes.get(hash) {
            None => self.base.node(hash),
            Some(elements) => canonical_node(elements).map(Some).ok_or_else(|| StoreError::InvalidNodeSize {
                hash: *hash,
                elements: elements.len(),
                place: PLACE.to_owned(),
            }),
        }
    }

    fn nodes(&self, hashes: &[Digest]) -> Result<Vec<Option<NodeData>>, StoreError> {
        let below: Vec<Digest> = hashes.iter().filter(|hash| !self.nodes.contains_key(hash)).copied().collect();
        let mut below = self.base.nodes(&below)?.into_iter();
        let node = |hash| if self.nodes.contains_key(hash) { self.node(hash) } else { Ok(below.next().flatten()) };
        hashes.iter().map(node).collect()
    }

    fn has_nodes(&self, hashes: &[Digest]) -> Result<bool, StoreError> {
        let below: Vec<Digest> = hashes.iter().filter(|hash| !self.nodes.contains_key(hash)).copied().collect();
        Ok(below.is_empty() || self.base.has_nodes(&below)?)
    }

    fn prefers_many(&self) -> bool {
        self.base.prefers_many()
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        match self.programs.get(hash) {
            None => self.base.program(hash),
            Some(code) => Ok(Some(code.clone())),
        }
    }
}

/// Returns a node with each element reduced modulo p (state-tree §1): of 12 elements, or of the 8 without capacity, which is
/// zeros then, as in a database (executor-service §5.8).
fn canonical_node(elements: &[u64]) -> Option<NodeData> {
    let mut node = [0; 12];
    if elements.len() != node.len() && elements.len() != CONTENT_ELEMENTS {
        return None;
    }
    node.iter_mut().zip(elements).for_each(|(place, element)| *place = canonical(*element));
    Some(node)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;
    use crate::writer::{Durability, StateWriter};
    use zkevm_tree::goldilocks::GOLDILOCKS_PRIME;
    use zkevm_tree::poseidon::{hash_node, linear_hash};

    fn overlay_of<R>(
        nodes: &[(Digest, Vec<u64>)],
        programs: &[(Digest, Bytes)],
        check: impl FnOnce(&MemoryStore, RequestOverlay<'_>) -> R,
    ) -> R {
        let base = MemoryStore::new(0);
        let (nodes, programs) = (
            nodes.iter().cloned().map(|(hash, elements)| (hash, elements.into())).collect(),
            programs.iter().cloned().collect(),
        );
        check(&base, RequestOverlay { base: &base, nodes: &nodes, programs: &programs })
    }

    const HASH: Digest = Digest([1, 2, 3, 4]);

    #[test]
    fn request_entries_win_over_the_store() {
        overlay_of(&[(HASH, vec![7; 12])], &[(HASH, Bytes::from_static(b"own"))], |base, overlay| {
            let other = Digest([5; 4]);
            let nodes = [(HASH, [1; 12]), (other, [2; 12])];
            let programs = [(HASH, Bytes::from_static(b"base")), (other, Bytes::from_static(b"other"))];
            base.write(&nodes, &programs, Durability::Permanent).unwrap();
            assert_eq!(overlay.node(&HASH), Ok(Some([7; 12])));
            assert_eq!(overlay.node(&other), Ok(Some([2; 12])));
            assert_eq!(overlay.program(&HASH), Ok(Some(Bytes::from_static(b"own"))));
            assert_eq!(overlay.program(&other), Ok(Some(Bytes::from_static(b"other"))));
            assert_eq!(overlay.node(&Digest([9; 4])), Ok(None));
        });
    }

    #[test]
    fn a_node_of_another_length_is_an_error() {
        for elements in [0, 4, 7, 9, 11, 13] {
            overlay_of(&[(HASH, vec![1; elements])], &[], |_, overlay| {
                let place = PLACE.to_owned();
                assert_eq!(overlay.node(&HASH), Err(StoreError::InvalidNodeSize { hash: HASH, elements, place }));
                assert_eq!(overlay.verified_nodes(), []);
            });
        }
    }

    #[test]
    fn elements_are_reduced() {
        let raw: Vec<u64> = (0..12).map(|i| GOLDILOCKS_PRIME + i).collect();
        let reduced: NodeData = std::array::from_fn(|i| i as u64);
        let hash = hash_node(&reduced);
        overlay_of(&[(hash, raw)], &[], |_, overlay| {
            assert_eq!(overlay.node(&hash), Ok(Some(reduced)));
            assert_eq!(overlay.verified_nodes(), [(hash, reduced)]);
        });
    }

    #[test]
    fn eight_elements_are_a_node_whose_capacity_is_zero() {
        let whole: NodeData = std::array::from_fn(|i| if i < 8 { i as u64 + 1 } else { 0 });
        let hash = hash_node(&whole);
        overlay_of(&[(hash, whole[..8].to_vec())], &[], |_, overlay| {
            assert_eq!(overlay.node(&hash), Ok(Some(whole)));
            assert_eq!(overlay.verified_nodes(), [(hash, whole)]);
        });
    }

    #[test]
    fn hashing_many_entries_ends_when_told_to() {
        let nodes: Vec<(Digest, Vec<u64>)> = (0..10_000).map(|i| (Digest([i; 4]), vec![i; 12])).collect();
        let programs: Vec<(Digest, Bytes)> = (0..200).map(|i| (Digest([i; 4]), vec![1; 1000].into())).collect();
        let long = [(HASH, Bytes::from(vec![1; 1 << 20]))];
        let asked = |most: usize| {
            let mut asked = 0;
            move || {
                asked += 1;
                asked < most
            }
        };
        let entries =
            |list: &[(Digest, Bytes)]| list.iter().map(|(hash, code)| (*hash, code.clone())).collect::<Vec<_>>();
        for most in [1, 2, 3] {
            let refs = nodes.iter().map(|(hash, elements)| (hash, elements));
            assert_eq!(verified_nodes_while(refs, &mut asked(most)), None);
            for list in [entries(&programs), entries(&long)] {
                let refs = list.iter().map(|(hash, code)| (hash, code));
                assert_eq!(verified_programs_while(refs, &mut asked(most)), None);
            }
        }
    }

    #[test]
    fn long_programs_are_verified_like_short_ones() {
        for len in [0, 1, SHORT_PROGRAM_BYTES, SHORT_PROGRAM_BYTES + 1, 100_000] {
            let code = Bytes::from(vec![0x5b; len]);
            let right = linear_hash(&code);
            overlay_of(&[], &[(right, code.clone()), (HASH, code.clone())], |_, overlay| {
                assert_eq!(overlay.verified_programs(), [(right, code)]);
            });
        }
    }

    #[test]
    fn entries_under_a_wrong_hash_are_not_verified() {
        let code = Bytes::from_static(&[0x12, 0x34]);
        let right = linear_hash(&code);
        overlay_of(&[(HASH, vec![1; 12])], &[(right, code.clone()), (HASH, code.clone())], |_, overlay| {
            assert_eq!(overlay.verified_nodes(), []);
            assert_eq!(overlay.verified_programs(), [(right, code)]);
        });
    }
}
