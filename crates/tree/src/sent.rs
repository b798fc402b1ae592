//! Nodes that someone sent along, as they came.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};

use foldhash::fast::RandomState;

use super::{Digest, NodeData};

/// Nodes by the hash they are said to have. Nothing of them is checked.
///
/// The keys are a client's: it chooses them, or what they are the hashes of. Every map has a random seed of its own, which
/// nobody can learn who sees but the answer to the one request that the map lives for. So no keys can be made that meet in it.
pub type SentNodes = HashMap<Digest, NodeElements, RandomState>;

/// The elements of a node as someone sent it: any number of them, not reduced. As many as a node has take no memory elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeElements(Elements);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Elements {
    /// As many as a node has.
    Node(NodeData),
    /// Any other number.
    Other(Box<[u64]>),
}

impl Deref for NodeElements {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        match &self.0 {
            Elements::Node(node) => node,
            Elements::Other(elements) => elements,
        }
    }
}

impl DerefMut for NodeElements {
    fn deref_mut(&mut self) -> &mut [u64] {
        match &mut self.0 {
            Elements::Node(node) => node,
            Elements::Other(elements) => elements,
        }
    }
}

impl AsRef<[u64]> for NodeElements {
    fn as_ref(&self) -> &[u64] {
        self
    }
}

impl From<NodeData> for NodeElements {
    fn from(node: NodeData) -> Self {
        Self(Elements::Node(node))
    }
}

impl From<&NodeData> for NodeElements {
    fn from(node: &NodeData) -> Self {
        (*node).into()
    }
}

impl From<Vec<u64>> for NodeElements {
    fn from(elements: Vec<u64>) -> Self {
        Self(match NodeData::try_from(&elements[..]) {
            Ok(node) => Elements::Node(node),
            Err(_) => Elements::Other(elements.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_kept_as_they_came() {
        for count in 0..20_u64 {
            let elements: Vec<u64> = (0..count).collect();
            let mut sent = NodeElements::from(elements.clone());
            assert_eq!((&sent[..], sent.as_ref()), (&elements[..], &elements[..]));
            sent.iter_mut().for_each(|element| *element += 1);
            assert_eq!(sent, elements.iter().map(|element| element + 1).collect::<Vec<_>>().into());
        }
        assert_eq!(NodeElements::from(&[7; 12]), vec![7; 12].into());
    }
}
