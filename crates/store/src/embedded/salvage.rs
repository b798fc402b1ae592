//! What is intact in a damaged part of a log.
//!
//! Where the next group begins is told by its mark and checksum. In between, every record counts whose content has the hash it
//! is listed under, wherever it begins: the lengths around it may be what is damaged, and a program may have the bytes of a
//! record in it.

use std::io::Result;
use std::os::unix::fs::FileExt;

use super::log::{Found, NodeLog};
use super::record::{ProgramRecord, Record, split_record};
use super::tail::next_whole_group;
use crate::encoding::{hash_from_bytes, node_from_bytes};
use zkevm_tree::poseidon::{hash_node, linear_hash};

/// Bytes of a damaged part in which records may begin, of those that are in memory at a time.
const WINDOW_BYTES: u64 = 64 << 20;
/// Bytes behind them into which the last record may reach. No program is that long: a request has fewer bytes.
const REACH_BYTES: u64 = 256 << 20;

/// A part of a log that was passed over, but for what is intact in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedPart {
    /// Where it begins in the file.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// Nodes that were kept.
    pub nodes: u64,
    /// Programs that were kept.
    pub programs: u64,
}

/// Calls `found` with each intact record from `offset` on, where a group should begin and does not, up to the next whole group
/// or the end of the log.
pub(super) fn salvage<E: From<std::io::Error>>(
    log: &NodeLog,
    offset: u64,
    mut found: impl FnMut(Found) -> std::result::Result<(), E>,
) -> std::result::Result<DamagedPart, E> {
    let length = log.length()?;
    // Behind the first byte: the group that begins here is the damaged one.
    let end = next_whole_group(log, (offset + 1).min(length), length)?.unwrap_or(length);
    let mut part = DamagedPart { offset, bytes: end - offset, nodes: 0, programs: 0 };
    let mut start = offset;
    while start < end {
        let bytes = read(log, start, end.min(start + WINDOW_BYTES + REACH_BYTES))?;
        let mut at = 0;
        while at < bytes.len().min(WINDOW_BYTES as usize) {
            let Some((record, rest)) = split_record(&bytes[at..]).filter(|(record, _)| is_intact(record)) else {
                at += 1;
                continue;
            };
            match record {
                Record::Node(_) => part.nodes += 1,
                Record::Program(_) => part.programs += 1,
            }
            found(Found { record, offset: start + at as u64 })?;
            at = bytes.len() - rest.len();
        }
        start += at as u64;
    }
    Ok(part)
}

fn read(log: &NodeLog, from: u64, until: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0; (until - from) as usize];
    log.file.read_exact_at(&mut bytes, from)?;
    Ok(bytes)
}

fn is_intact(record: &Record) -> bool {
    match record {
        Record::Node(node) => {
            let hash = hash_from_bytes(&node.hash);
            let data = || node_from_bytes(&hash, node.data(), String::new);
            node.is_whole != Some(false) && data().is_ok_and(|data| hash_node(&data) == hash)
        }
        // Zeros look like the record of a program without code.
        Record::Program(ProgramRecord { hash, code }) => !code.is_empty() && linear_hash(code) == hash_from_bytes(hash),
    }
}
