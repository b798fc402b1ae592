//! Versions that hold the roots of versions before them, unhashed: what forks up to 6 make of every transaction (batch §5).
//!
//! Such a root is a deferred root: a value that stands for a root not computed yet. All versions are then hashed together at the end: the few nodes
//! between one root and the next follow each other, and what other versions need fills the lanes beside them.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BinaryHeap, HashMap};

use alloy_primitives::U256;
use foldhash::fast::RandomState;

use super::{NodeKind, StateTree, TreeError, TreeRef};
use crate::NodeData;
use crate::digest::Digest;
use crate::node::value_node;
use crate::poseidon::hash_many;

/// Nodes hashed at a time: one pack, so that what the next root waits for comes soon. There are seldom fewer that are ready.
const NODES_TOGETHER: usize = 4;
/// Nodes hashed from one look to the next: some ten milliseconds.
const NODES_PER_LOOK: usize = 1 << 13;

impl StateTree<'_> {
    /// Returns the version in which a key has the root of version `of` for its value, hashing nothing.
    pub fn update_to_root(&mut self, at: TreeRef, key: Digest, of: TreeRef) -> Result<TreeRef, TreeError> {
        if self.nodes[of.index()].hashed {
            return self.update(at, &mut [(key, self.hashes[of.index()].to_b256().into())]);
        }
        // Any value that differs from the old one makes the nodes.
        let other = if self.get(at, &key)? == U256::ONE { U256::from(2) } else { U256::ONE };
        let version = self.update(at, &mut [(key, other)])?;
        let (end, _) = self.descend(version, &key, |_| {})?;
        if let Some(leaf) = self.leaf(end) {
            let value = &mut self.values[leaf.value as usize];
            (value.value, value.hash, value.root_of) = (None, None, of);
            self.deferred_roots += 1;
        }
        Ok(version)
    }

    /// Sets a value that was the deferred root of a version that is hashed now.
    pub(super) fn resolve_root(&mut self, index: u32, root: Digest) -> U256 {
        let root = root.to_b256().into();
        let value = &mut self.values[index as usize];
        (value.value, value.root_of) = (Some(root), TreeRef::EMPTY);
        self.deferred_roots -= 1;
        root
    }

    /// Computes the hash of every node of these versions that has none yet, and of the versions whose roots they hold.
    pub(super) fn hash_with_deferred_roots(&mut self, versions: &[TreeRef]) {
        let mut schedule = HashSchedule::default();
        let plain_leaves = schedule.collect(self, versions);
        self.hash_values(&plain_leaves);
        schedule.link(self);
        let mut jobs = Vec::with_capacity(NODES_TOGETHER);
        let mut states = [[0; 12]; NODES_TOGETHER];
        let mut hashes = [Digest::ZERO; NODES_TOGETHER];
        let mut looked = 0;
        while !schedule.ready.is_empty() {
            looked += NODES_TOGETHER;
            if looked >= NODES_PER_LOOK {
                looked = 0;
                if self.is_stopped() {
                    return;
                }
            }
            jobs.clear();
            jobs.extend(std::iter::from_fn(|| schedule.ready.pop()).take(NODES_TOGETHER).map(|Reverse(job)| job.id()));
            let (states, hashes) = (&mut states[..jobs.len()], &mut hashes[..jobs.len()]);
            for (state, id) in states.iter_mut().zip(&jobs) {
                *state = schedule.content(self, *id);
            }
            hash_many(states, hashes);
            for (id, hash) in jobs.iter().zip(hashes) {
                schedule.done(self, *id, *hash);
            }
        }
    }
}

/// A job that can be done, the one made first before others: what a root waits for was made before what comes after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ready(u64);

impl Ready {
    fn new(made: TreeRef, id: u32) -> Self {
        Self(u64::from(made.0) << 32 | u64::from(id))
    }

    fn id(self) -> u32 {
        self.0 as u32
    }
}

/// The order in which nodes are hashed: which job waits for which. Jobs are the nodes from `base` on, by their handles, and after them the values that are roots.
#[derive(Default)]
struct HashSchedule {
    nodes: Vec<TreeRef>,
    base: u32,
    /// Handles from `base` to the last node.
    span: u32,
    roots: Vec<DeferredRoot>,
    /// Place in `roots` of a value.
    root_of_value: HashMap<u32, u32, RandomState>,
    jobs: Vec<Job>,
    /// Jobs that wait, and one more than the place of the next entry of the same list.
    waiting: Vec<(u32, u32)>,
    ready: BinaryHeap<Reverse<Ready>>,
}

/// What is to be hashed.
#[derive(Clone, Copy, Default)]
struct Job {
    /// How many others it waits for.
    waits_for: u32,
    /// One more than the place in `waiting` of the first that waits for it.
    first_waiting: u32,
}

/// A deferred root: a value that is the root of a version without hash.
struct DeferredRoot {
    value: u32,
    of: TreeRef,
}

impl HashSchedule {
    /// Finds all nodes without hash, in about the order in which they were made, and the values that are roots. Returns the
    /// leaves whose values are not.
    fn collect(&mut self, tree: &mut StateTree<'_>, versions: &[TreeRef]) -> Vec<TreeRef> {
        let mut plain_leaves = Vec::new();
        let mut stack = Vec::new();
        for version in versions {
            stack.push(*version);
            while let Some(at) = stack.pop() {
                let node = &mut tree.nodes[at.index()];
                if node.hashed || std::mem::replace(&mut node.visited, true) {
                    continue;
                }
                self.nodes.push(at);
                match node.kind {
                    NodeKind::Branch(children) => stack.extend(children),
                    NodeKind::Leaf(index) => {
                        let index = tree.leaves[index as usize].value;
                        let value = &tree.values[index as usize];
                        if value.root_of.is_empty() {
                            plain_leaves.push(at);
                        } else if let Entry::Vacant(entry) = self.root_of_value.entry(index) {
                            entry.insert(self.roots.len() as u32);
                            self.roots.push(DeferredRoot { value: index, of: value.root_of });
                            stack.push(value.root_of);
                        }
                    }
                    NodeKind::Empty | NodeKind::Unloaded => {}
                }
            }
        }
        plain_leaves
    }

    /// Notes which job waits for which, and which are ready.
    fn link(&mut self, tree: &StateTree<'_>) {
        let handles = || self.nodes.iter().map(|at| at.0);
        self.base = handles().min().unwrap_or_default();
        self.span = handles().max().unwrap_or_default() + 1 - self.base;
        let jobs = self.span as usize + self.roots.len();
        self.jobs = vec![Job::default(); jobs];
        self.waiting = Vec::with_capacity(2 * self.nodes.len());
        for at in std::mem::take(&mut self.nodes) {
            let id = at.0 - self.base;
            match tree.nodes[at.index()].kind {
                NodeKind::Branch(children) => {
                    for child in children.into_iter().filter(|child| !tree.nodes[child.index()].hashed) {
                        self.wait(id, child.0 - self.base);
                    }
                }
                NodeKind::Leaf(index) => {
                    if let Some(root) = self.root_of_value.get(&tree.leaves[index as usize].value) {
                        self.wait(id, self.span + root);
                    }
                }
                NodeKind::Empty | NodeKind::Unloaded => {}
            }
            if self.jobs[id as usize].waits_for == 0 {
                self.ready.push(Reverse(Ready::new(at, id)));
            }
        }
        for place in 0..self.roots.len() {
            let (id, of) = (self.span + place as u32, self.roots[place].of);
            if tree.nodes[of.index()].hashed {
                self.ready.push(Reverse(Ready::new(of, id)));
            } else {
                self.wait(id, of.0 - self.base);
            }
        }
    }

    /// Notes that a job waits for another.
    fn wait(&mut self, job: u32, other: u32) {
        self.jobs[job as usize].waits_for += 1;
        let first = &mut self.jobs[other as usize].first_waiting;
        self.waiting.push((job, *first));
        *first = self.waiting.len() as u32;
    }

    /// The place in `roots` of a job that is one.
    fn root(&self, id: u32) -> Option<&DeferredRoot> {
        id.checked_sub(self.span).map(|place| &self.roots[place as usize])
    }

    /// The 12 elements of a job that is ready.
    fn content(&self, tree: &mut StateTree<'_>, id: u32) -> NodeData {
        match self.root(id) {
            Some(&DeferredRoot { value, of }) => value_node(tree.resolve_root(value, tree.hashes[of.index()])),
            None => tree.node_data(TreeRef(self.base + id)),
        }
    }

    /// Keeps a hash, and marks ready the jobs that waited for it only.
    fn done(&mut self, tree: &mut StateTree<'_>, id: u32, hash: Digest) {
        match self.root(id) {
            Some(root) => {
                tree.permutations += 1;
                tree.values[root.value as usize].hash = Some(hash);
            }
            None => tree.set_hashes(&[TreeRef(self.base + id)], &[hash]),
        }
        let mut next = self.jobs[id as usize].first_waiting;
        while let Some(place) = next.checked_sub(1) {
            let (job, after) = self.waiting[place as usize];
            next = after;
            let waits_for = &mut self.jobs[job as usize].waits_for;
            *waits_for -= 1;
            if *waits_for == 0 {
                let made = self.root(job).map_or(TreeRef(self.base + job), |root| root.of);
                self.ready.push(Reverse(Ready::new(made, job)));
            }
        }
    }
}
