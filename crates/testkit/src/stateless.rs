//! What a node sends for a stateless batch: the witness as cdk-erigon writes it, and the data stream in both of its forms
//! (executor-service §5.10).

use std::collections::{HashMap, HashSet};

use prost::Message;
use revm::primitives::{Address, Bytes, U256};
use zkevm_tree::{Digest, LeafKind, NodeData, StateReader, StoreError, TreeError, account_key, bit, storage_key};
use zkevm_types::L1InfoLeaf;

use crate::sample::Genesis;
use crate::sample::genesis::GenesisState;

/// Number of the first block of a stream.
pub const FIRST_BLOCK: u64 = 1;

/// A state with what its keys were made of.
#[derive(Clone, Debug)]
pub struct Source {
    /// The state.
    pub state: GenesisState,
    leaves: HashMap<Digest, (Address, LeafKind, U256)>,
}

impl Source {
    /// Builds the state, and remembers what each key belongs to.
    pub fn new(genesis: &Genesis) -> Result<Self, TreeError> {
        let mut source = Self { state: genesis.build()?, leaves: HashMap::new() };
        for account in &genesis.accounts {
            source.know_account(account.address);
            account.storage.keys().for_each(|slot| {
                source.know_slot(account.address, *slot);
            });
        }
        Ok(source)
    }

    /// Remembers what the keys of an account belong to, and returns them.
    pub fn know_account(&mut self, address: Address) -> [Digest; 4] {
        use LeafKind::{Balance, CodeHash, CodeLength, Nonce};
        [Balance, Nonce, CodeHash, CodeLength].map(|kind| {
            let key = account_key(address, kind);
            self.leaves.insert(key, (address, kind, U256::ZERO));
            key
        })
    }

    /// Remembers what the key of a slot belongs to, and returns it.
    pub fn know_slot(&mut self, address: Address, slot: U256) -> Digest {
        let key = storage_key(address, slot);
        self.leaves.insert(key, (address, LeafKind::Storage, slot));
        key
    }

    /// Moves the state on to what a batch made of it. Nodes that it has no more are given up.
    pub fn advance(
        &mut self,
        root: Digest,
        nodes: impl IntoIterator<Item = (Digest, NodeData)>,
        programs: impl IntoIterator<Item = (Digest, Bytes)>,
    ) {
        self.state.root = root;
        self.state.programs.extend(programs);
        let mut all = std::mem::take(&mut self.state.nodes);
        all.extend(nodes);
        let mut open = vec![root];
        while let Some(hash) = open.pop() {
            if let Some((hash, node)) = all.remove_entry(&hash) {
                if node[8] == 0 {
                    open.extend(halves(&node));
                } else {
                    let [_, value] = halves(&node);
                    self.state.nodes.extend(all.get(&value).map(|node| (value, *node)));
                }
                self.state.nodes.insert(hash, node);
            }
        }
    }

    /// Writes the witness of a batch that touches these keys as cdk-erigon does: the nodes on their paths, and the siblings
    /// of these.
    pub fn witness_of<'a>(&self, keys: impl IntoIterator<Item = &'a Digest>) -> Vec<u8> {
        let mut kept = HashSet::from([self.state.root]);
        for key in keys {
            let mut hash = self.state.root;
            let mut level = 0;
            while let Some(node) = self.state.nodes.get(&hash).filter(|node| node[8] == 0) {
                let children = halves(node);
                kept.extend(children);
                hash = children[usize::from(bit(key, level) != 0)];
                level += 1;
            }
        }
        self.witness(|hash| kept.contains(hash))
    }

    /// Writes the tree down to the nodes for which `keep` says so; the others are pruned.
    ///
    /// # Panics
    ///
    /// On a program of 64 KiB or more, which no account has.
    pub fn witness(&self, keep: impl Fn(&Digest) -> bool) -> Vec<u8> {
        let mut out = vec![1];
        self.node(&mut out, self.state.root, &mut Vec::new(), &keep);
        out
    }

    fn node(&self, out: &mut Vec<u8>, hash: Digest, path: &mut Vec<u64>, keep: &impl Fn(&Digest) -> bool) {
        if !keep(&hash) {
            out.push(3);
            out.extend(hash.to_b256());
            return;
        }
        let node = &self.state.nodes[&hash];
        let [first, second] = halves(node);
        if node[8] == 1 {
            match self.leaves.get(&key(path, &first)) {
                Some(leaf) => self.leaf(out, *leaf, second),
                // Nobody can say what the key belongs to.
                None => {
                    out.push(3);
                    out.extend(hash.to_b256());
                }
            }
            return;
        }
        out.extend([2, u8::from(!first.is_zero()) | u8::from(!second.is_zero()) << 1]);
        for (side, child) in [first, second].into_iter().enumerate().filter(|(_, child)| !child.is_zero()) {
            path.push(side as u64);
            self.node(out, child, path, keep);
            path.pop();
        }
    }

    fn leaf(&self, out: &mut Vec<u8>, (address, kind, slot): (Address, LeafKind, U256), value: Digest) {
        let limbs = &self.state.nodes[&value];
        let value = limbs[..8].iter().rev().fold(U256::ZERO, |value, limb| value << 32 | U256::from(*limb));
        if kind == LeafKind::CodeHash {
            out.push(4);
            cbor_bytes(out, &self.state.programs[&Digest::from_u256(value)]);
        }
        out.extend([7, kind as u8]);
        cbor_bytes(out, address.as_slice());
        if kind == LeafKind::Storage {
            cbor_bytes(out, &slot.to_be_bytes::<32>());
        }
        cbor_bytes(out, &value.to_be_bytes_trimmed_vec());
    }
}

impl StateReader for Source {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        Ok(self.state.nodes.get(hash).copied())
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state.programs.get(hash).cloned())
    }
}

fn halves(node: &NodeData) -> [Digest; 2] {
    [Digest([node[0], node[1], node[2], node[3]]), Digest([node[4], node[5], node[6], node[7]])]
}

/// Joins the turns of a path and what remains of the key below it.
fn key(path: &[u64], rest: &Digest) -> Digest {
    let mut key = rest.0;
    for (level, side) in path.iter().enumerate().rev() {
        key[level % 4] = key[level % 4] << 1 | side;
    }
    Digest(key)
}

fn cbor_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        length @ 0..24 => out.push(0x40 | length as u8),
        length @ 24..0x100 => out.extend([0x58, length as u8]),
        length => {
            out.push(0x59);
            out.extend(u16::try_from(length).expect("a program has fewer than 65 536 bytes").to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// The two sets of payloads of a data stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payloads {
    /// Numbers at fixed offsets, as zkevm-prover reads them.
    Fixed,
    /// Messages of `datastream.v1`, as cdk-erigon writes them.
    Protobuf,
}

/// The values in the head of a stream.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Number of the batch.
    pub batch: u64,
    /// Fork whose rules the batch follows; 16 bits in a stream of fixed offsets.
    pub fork_id: u16,
    /// Chain id of the L2 network; 32 bits in a stream of fixed offsets.
    pub chain_id: u32,
}

/// A block of a stream.
#[derive(Clone, Debug, Default)]
pub struct StreamBlock {
    /// Seconds after the previous block.
    pub delta_timestamp: u32,
    /// Index into the L1 info tree, 0 for none.
    pub l1_info_index: u32,
    /// The leaf at that index.
    pub l1_info: L1InfoLeaf,
    /// Transactions: effective percentage and signed RLP.
    pub transactions: Vec<(u8, Bytes)>,
}

/// Writes one entry of a stream.
pub fn entry(kind: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![2];
    out.extend((17 + payload.len() as u32).to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend(0_u64.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// Writes a stream, with the bookmarks and ends a node writes.
pub fn stream(payloads: Payloads, head: Head, blocks: &[StreamBlock]) -> Vec<u8> {
    stream_from(FIRST_BLOCK, payloads, head, blocks)
}

/// The same with the number of the first block.
pub fn stream_from(first: u64, payloads: Payloads, head: Head, blocks: &[StreamBlock]) -> Vec<u8> {
    let numbered = || (first..).zip(blocks);
    match payloads {
        Payloads::Fixed => numbered().flat_map(|(number, block)| fixed_block(head, number, block)).collect(),
        Payloads::Protobuf => {
            let start = BatchStart {
                number: head.batch,
                r#type: 1,
                fork_id: head.fork_id.into(),
                chain_id: head.chain_id.into(),
            };
            let mut out = [bookmark(1, head.batch), entry(1, &start.encode_to_vec())].concat();
            out.extend(numbered().flat_map(|(number, block)| protobuf_block(head, number, block)));
            let end = BatchEnd { number: head.batch, local_exit_root: vec![0; 32], state_root: vec![7; 32] };
            out.extend(entry(4, &end.encode_to_vec()));
            out
        }
    }
}

fn fixed_block(head: Head, number: u64, block: &StreamBlock) -> Vec<u8> {
    let mut start = [head.batch.to_be_bytes(), number.to_be_bytes(), 1_000_u64.to_be_bytes()].concat();
    start.extend(block.delta_timestamp.to_be_bytes());
    start.extend(block.l1_info_index.to_be_bytes());
    start.extend(block.l1_info.block_hash_l1);
    start.extend(block.l1_info.global_exit_root);
    start.extend([0xcb; 20]);
    start.extend(head.fork_id.to_be_bytes());
    start.extend(head.chain_id.to_be_bytes());
    let mut out = [entry(0xb0, &[0, 0, 0, 0, 0, 0, 0, 0, 1]), entry(1, &start)].concat();
    for (percentage, signed) in &block.transactions {
        let mut tx = vec![*percentage, 1];
        tx.extend([7; 32]);
        tx.extend((signed.len() as u32).to_be_bytes());
        tx.extend_from_slice(signed);
        out.extend(entry(2, &tx));
    }
    let end = [&number.to_be_bytes()[..], &[8; 32], &[9; 32]].concat();
    out.extend(entry(3, &end));
    out
}

fn protobuf_block(head: Head, number: u64, block: &StreamBlock) -> Vec<u8> {
    let start = L2Block {
        number,
        batch_number: head.batch,
        timestamp: 1_000,
        delta_timestamp: block.delta_timestamp,
        min_timestamp: block.l1_info.min_timestamp,
        l1_blockhash: block.l1_info.block_hash_l1.to_vec(),
        l1_infotree_index: block.l1_info_index,
        hash: vec![8; 32],
        state_root: vec![9; 32],
        global_exit_root: block.l1_info.global_exit_root.to_vec(),
        coinbase: vec![0xcb; 20],
        block_info_root: vec![6; 32],
    };
    let mut out = [bookmark(2, number), entry(2, &start.encode_to_vec())].concat();
    for (percentage, signed) in &block.transactions {
        let tx = Transaction {
            l2block_number: number,
            is_valid: true,
            encoded: signed.to_vec(),
            effective_gas_price_percentage: u32::from(*percentage),
            im_state_root: vec![7; 32],
        };
        out.extend(entry(3, &tx.encode_to_vec()));
    }
    out.extend(entry(6, &L2BlockEnd { number }.encode_to_vec()));
    out
}

fn bookmark(kind: i32, value: u64) -> Vec<u8> {
    entry(0xb0, &BookMark { r#type: kind, value }.encode_to_vec())
}

#[derive(Clone, PartialEq, Message)]
struct BatchStart {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(int32, tag = "2")]
    r#type: i32,
    #[prost(uint64, tag = "3")]
    fork_id: u64,
    #[prost(uint64, tag = "4")]
    chain_id: u64,
}

#[derive(Clone, PartialEq, Message)]
struct BatchEnd {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(bytes = "vec", tag = "2")]
    local_exit_root: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    state_root: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct L2Block {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint64, tag = "2")]
    batch_number: u64,
    #[prost(uint64, tag = "3")]
    timestamp: u64,
    #[prost(uint32, tag = "4")]
    delta_timestamp: u32,
    #[prost(uint64, tag = "5")]
    min_timestamp: u64,
    #[prost(bytes = "vec", tag = "6")]
    l1_blockhash: Vec<u8>,
    #[prost(uint32, tag = "7")]
    l1_infotree_index: u32,
    #[prost(bytes = "vec", tag = "8")]
    hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "9")]
    state_root: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    global_exit_root: Vec<u8>,
    #[prost(bytes = "vec", tag = "11")]
    coinbase: Vec<u8>,
    #[prost(bytes = "vec", tag = "13")]
    block_info_root: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct L2BlockEnd {
    #[prost(uint64, tag = "1")]
    number: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Transaction {
    #[prost(uint64, tag = "1")]
    l2block_number: u64,
    #[prost(bool, tag = "3")]
    is_valid: bool,
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
    #[prost(uint32, tag = "5")]
    effective_gas_price_percentage: u32,
    #[prost(bytes = "vec", tag = "6")]
    im_state_root: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct BookMark {
    #[prost(int32, tag = "1")]
    r#type: i32,
    #[prost(uint64, tag = "2")]
    value: u64,
}
