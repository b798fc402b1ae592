//! Records of the log: nodes and programs.
//!
//! | kind, 1 byte | then |
//! |---|---|
//! | 65, 97 | hash, 32; the 64 bytes of content, and with 97 the 32 of capacity; checksum of all of that, 4, CRC-32 |
//! | 64, 96 | the same without a checksum: written by format version 1 |
//! | 0 | hash, 32; length of the code, 4; the code, each 7 bytes followed by a zero, so that it never looks like a group |

use crate::encoding::{CONTENT_BYTES, NODE_BYTES, hash_bytes, node_bytes};
use zkevm_tree::{Digest, NodeData};

/// What makes a kind of the length of a node's data: a checksum follows.
const CHECKED: u8 = 1;
const PROGRAM: u8 = 0;
pub(super) const CHECKSUM_BYTES: usize = 4;
const HASH_BYTES: usize = 32;
const HEAD_BYTES: usize = 1 + HASH_BYTES;
const LENGTH_BYTES: usize = 4;
/// Bytes of code between two zeros.
const CODE_CHUNK: usize = 7;
/// Most bytes of a node's record.
pub(super) const NODE_RECORD_BYTES_MAX: usize = HEAD_BYTES + NODE_BYTES + CHECKSUM_BYTES;

/// A node as it is in the log.
#[derive(Clone, Copy)]
pub(super) struct NodeRecord {
    /// The node's hash, most significant limb first.
    pub(super) hash: [u8; HASH_BYTES],
    data: [u8; NODE_BYTES],
    length: usize,
    /// What its checksum says; `None` without one.
    pub(super) is_whole: Option<bool>,
}

impl NodeRecord {
    /// Content, and capacity unless that is zero.
    pub(super) fn data(&self) -> &[u8] {
        &self.data[..self.length]
    }
}

/// A program as it is in the log.
pub(super) struct ProgramRecord {
    /// The program's hash, most significant limb first.
    pub(super) hash: [u8; HASH_BYTES],
    /// The code.
    pub(super) code: Vec<u8>,
}

/// One entry of the log.
pub(super) enum Record {
    Node(NodeRecord),
    Program(ProgramRecord),
}

/// Takes the first record off; `None` if there is no whole one.
pub(super) fn split_record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    if bytes.first() == Some(&PROGRAM) {
        let (program, rest) = split_program(bytes)?;
        return Some((Record::Program(program), rest));
    }
    let (node, rest) = split_node(bytes)?;
    Some((Record::Node(node), rest))
}

/// Takes the record of a node off; `None` if there is no whole one. Its checksum may be wrong.
pub(super) fn split_node(bytes: &[u8]) -> Option<(NodeRecord, &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let length = usize::from(*kind & !CHECKED);
    if length != CONTENT_BYTES && length != NODE_BYTES {
        return None;
    }
    let (hash, rest) = rest.split_first_chunk()?;
    let (content, rest) = rest.split_at_checked(length)?;
    let mut data = [0; NODE_BYTES];
    data[..length].copy_from_slice(content);
    if kind & CHECKED == 0 {
        return Some((NodeRecord { hash: *hash, data, length, is_whole: None }, rest));
    }
    let (checksum, rest) = rest.split_first_chunk()?;
    let is_whole = crc32fast::hash(bytes.get(..HEAD_BYTES + length)?).to_le_bytes() == *checksum;
    Some((NodeRecord { hash: *hash, data, length, is_whole: Some(is_whole) }, rest))
}

fn split_program(bytes: &[u8]) -> Option<(ProgramRecord, &[u8])> {
    let (hash, rest) = bytes.get(1..)?.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk::<LENGTH_BYTES>()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (chunks, rest) = rest.split_at_checked(spread_bytes(length)?)?;
    let mut code = Vec::with_capacity(length);
    for chunk in chunks.chunks(CODE_CHUNK + 1) {
        let (zero, chunk) = chunk.split_last()?;
        if *zero != 0 {
            return None;
        }
        code.extend_from_slice(chunk);
    }
    Some((ProgramRecord { hash: *hash, code }, rest))
}

/// Returns the bytes of code with its zeros.
fn spread_bytes(length: usize) -> Option<usize> {
    length.checked_add(length.div_ceil(CODE_CHUNK))
}

/// Returns the bytes of a node's record.
pub(super) fn node_record_bytes(node: &NodeData) -> usize {
    HEAD_BYTES + data_bytes(node) + CHECKSUM_BYTES
}

/// Returns the bytes of a program's record; `None` if it is too long for one.
pub(super) fn program_record_bytes(code: &[u8]) -> Option<usize> {
    u32::try_from(code.len()).ok()?;
    spread_bytes(code.len())?.checked_add(HEAD_BYTES + LENGTH_BYTES)
}

/// Bytes of a node's data: a capacity of zeros, that of most nodes, is left out.
fn data_bytes(node: &NodeData) -> usize {
    if node[8..] == [0; 4] { CONTENT_BYTES } else { NODE_BYTES }
}

/// Appends the record of a node.
pub(super) fn put_node(buffer: &mut Vec<u8>, hash: &Digest, node: &NodeData) {
    let (start, length) = (buffer.len(), data_bytes(node));
    // 64 or 96.
    buffer.push(length as u8 | CHECKED);
    buffer.extend_from_slice(&hash_bytes(hash));
    buffer.extend_from_slice(&node_bytes(node)[..length]);
    let checksum = crc32fast::hash(&buffer[start..]);
    buffer.extend_from_slice(&checksum.to_le_bytes());
}

/// Appends the record of a program, whose length fits its record.
pub(super) fn put_program(buffer: &mut Vec<u8>, hash: &[u8; HASH_BYTES], code: &[u8]) {
    buffer.push(PROGRAM);
    buffer.extend_from_slice(hash);
    buffer.extend_from_slice(&(code.len() as u32).to_le_bytes());
    for chunk in code.chunks(CODE_CHUNK) {
        buffer.extend_from_slice(chunk);
        buffer.push(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let nodes = [[7; 12], [7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0]];
        for node in nodes {
            let mut bytes = Vec::new();
            put_node(&mut bytes, &Digest([1, 2, 3, 4]), &node);
            assert_eq!(bytes.len(), node_record_bytes(&node));
            let (record, rest) = split_node(&bytes).unwrap();
            assert!(rest.is_empty() && record.is_whole == Some(true));
            assert_eq!(record.hash, hash_bytes(&Digest([1, 2, 3, 4])));
            assert_eq!(record.data(), &node_bytes(&node)[..data_bytes(&node)]);
            for bit in 0..bytes.len() * 8 {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                let is_whole = split_node(&damaged).is_some_and(|(record, _)| record.is_whole == Some(true));
                assert!(!is_whole, "bit {bit}");
            }
            assert!((0..bytes.len()).all(|length| split_record(&bytes[..length]).is_none()));
        }
        for length in [0, 1, 6, 7, 8, 100] {
            let code: Vec<u8> = (0..length).map(|byte| byte as u8 | 1).collect();
            let mut bytes = Vec::new();
            put_program(&mut bytes, &[9; 32], &code);
            assert_eq!(Some(bytes.len()), program_record_bytes(&code));
            assert!((0..bytes.len()).all(|length| split_record(&bytes[..length]).is_none()));
            bytes.push(5);
            let Some((Record::Program(program), [5])) = split_record(&bytes) else { panic!("no program") };
            assert_eq!((program.hash, program.code), ([9; 32], code));
        }
    }
}
