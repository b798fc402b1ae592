//! What a node would send for a batch: the witness as cdk-erigon writes it, and the data stream in both of its forms.

use std::collections::HashMap;

use prost::Message;
use revm::primitives::{Address, B256, Bytes, U256};
use zkevm_batch::{BatchItem, decode};
use zkevm_testkit::sample::Genesis;
use zkevm_testkit::sample::genesis::GenesisState;
use zkevm_tree::{Digest, LeafKind, NodeData, account_key, storage_key};
use zkevm_types::BatchInput;
use zkevm_types::{BatchContext, L1InfoLeaf, V2Context};
use zkevm_wire::proto::executor::v1 as wire;

/// Number of the first block of a stream.
pub const FIRST_BLOCK: u64 = 1;

/// A state with what its keys were made of.
pub struct Source {
    pub state: GenesisState,
    leaves: HashMap<Digest, (Address, LeafKind, U256)>,
}

impl Source {
    pub fn new(genesis: &Genesis) -> Self {
        use LeafKind::{Balance, CodeHash, CodeLength, Nonce, Storage};
        let mut leaves = HashMap::new();
        for account in &genesis.accounts {
            for kind in [Balance, Nonce, CodeHash, CodeLength] {
                leaves.insert(account_key(account.address, kind), (account.address, kind, U256::ZERO));
            }
            for &slot in account.storage.keys() {
                leaves.insert(storage_key(account.address, slot), (account.address, Storage, slot));
            }
        }
        Self { state: genesis.build().unwrap(), leaves }
    }

    /// Writes the tree down to the nodes for which `keep` says so; the others are pruned.
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
            return self.leaf(out, &key(path, &first), second);
        }
        out.extend([2, u8::from(!first.is_zero()) | u8::from(!second.is_zero()) << 1]);
        for (side, child) in [first, second].into_iter().enumerate().filter(|(_, child)| !child.is_zero()) {
            path.push(side as u64);
            self.node(out, child, path, keep);
            path.pop();
        }
    }

    fn leaf(&self, out: &mut Vec<u8>, key: &Digest, value: Digest) {
        let (address, kind, slot) = self.leaves[key];
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
            out.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// The two sets of payloads of a data stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payloads {
    /// Numbers in fixed places, as zkevm-prover reads them.
    Fixed,
    /// Messages of `datastream.v1`, as cdk-erigon writes them.
    Protobuf,
}

/// What the head of a stream says.
#[derive(Clone, Copy)]
pub struct Head {
    pub batch: u64,
    pub fork_id: u64,
    pub chain_id: u64,
}

/// A block of a stream. Transactions: percentage and signed RLP.
#[derive(Clone, Default)]
pub struct StreamBlock {
    pub delta_timestamp: u32,
    pub l1_info_index: u32,
    pub l1_info: L1InfoLeaf,
    pub transactions: Vec<(u8, Bytes)>,
}

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
    let numbered = || (FIRST_BLOCK..).zip(blocks);
    match payloads {
        Payloads::Fixed => numbered().flat_map(|(number, block)| fixed_block(head, number, block)).collect(),
        Payloads::Protobuf => {
            let start = BatchStart { number: head.batch, r#type: 1, fork_id: head.fork_id, chain_id: head.chain_id };
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
    start.extend(u16::try_from(head.fork_id).unwrap().to_be_bytes());
    start.extend(u32::try_from(head.chain_id).unwrap().to_be_bytes());
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

pub fn v2_context(input: &BatchInput) -> &V2Context {
    match &input.context {
        BatchContext::V2(context) => context,
        BatchContext::V1 { .. } => panic!("a batch of a V1 fork"),
    }
}

/// Takes a batch apart into the blocks of its stream.
fn blocks(input: &BatchInput) -> Vec<StreamBlock> {
    let mut blocks: Vec<StreamBlock> = Vec::new();
    for item in decode(&input.batch_l2_data, input.fork_id.rules(), false, false).unwrap() {
        match item {
            BatchItem::ChangeL2Block { delta_timestamp, l1_info_index } => blocks.push(StreamBlock {
                delta_timestamp,
                l1_info_index,
                l1_info: v2_context(input).l1_info_tree_data.get(&l1_info_index).cloned().unwrap_or_default(),
                transactions: Vec::new(),
            }),
            BatchItem::Transaction(tx) => blocks.last_mut().unwrap().transactions.push((tx.percentage, tx.rlp())),
        }
    }
    blocks
}

/// The request that carries a batch, with everything cdk-erigon fills in.
pub fn request(input: &BatchInput, witness: Vec<u8>, payloads: Payloads) -> wire::ProcessStatelessBatchRequestV2 {
    let context = v2_context(input);
    let head = Head { batch: input.old_batch_num + 1, fork_id: input.fork_id.get(), chain_id: input.chain_id };
    let word = |word: B256| prost::bytes::Bytes::copy_from_slice(word.as_slice());
    wire::ProcessStatelessBatchRequestV2 {
        witness: witness.into(),
        data_stream: stream(payloads, head, &blocks(input)).into(),
        coinbase: input.coinbase.to_string(),
        old_acc_input_hash: word(input.old_acc_input_hash),
        l1_info_root: word(context.l1_info_root),
        timestamp_limit: context.timestamp_limit,
        forced_blockhash_l1: vec![0].into(),
        context_id: head.batch.to_string(),
        trace_config: None,
        l1_info_tree_index_min_timestamp: context
            .l1_info_tree_data
            .iter()
            .map(|(index, leaf)| (u64::from(*index), leaf.min_timestamp))
            .collect(),
    }
}
