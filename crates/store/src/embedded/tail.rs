//! What is behind the last whole group of a log: one that was being written, or damage.
//!
//! A group is reported as stored once all of it is on the disk. So a group some of whose bytes are not there was not reported,
//! and may be left out; one whose bytes are all there and do not have their checksum may have been, and must not.

use std::io::Result;
use std::os::unix::fs::FileExt;

use super::log::{GROUP_BYTES_MIN, GROUP_HEAD_BYTES, GROUP_MARK, NodeLog, WRITE_BYTES, damaged};
use super::record::CHECKSUM_BYTES;

/// What a disk writes whole or not at all. Nothing that was written is zero over as much.
const SECTOR_BYTES: u64 = 512;

/// Returns if the bytes from `end` to `length` are the beginning of a group or what a power cut left of it; logs that they are
/// left out.
///
/// Fails if they are damage.
pub(super) fn judge_tail(log: &NodeLog, end: u64, length: u64) -> Result<()> {
    refuse_whole_group(log, end, length)?;
    let missing = |what: &str| {
        tracing::warn!(offset = end, bytes = length - end, "{what}: it was not reported as stored and is left out");
        Ok(())
    };
    let mut head = [0; GROUP_HEAD_BYTES];
    let head = &mut head[..GROUP_HEAD_BYTES.min(usize::try_from(length - end).unwrap_or(usize::MAX))];
    log.file.read_exact_at(head, end)?;
    let mark = &head[..head.len().min(GROUP_MARK.len())];
    if !GROUP_MARK.starts_with(mark) {
        let sector_end = (end / SECTOR_BYTES + 1) * SECTOR_BYTES;
        if is_zero(log, end, sector_end.min(length))? {
            return missing("the last group was never written");
        }
        return Err(damaged(format_args!("what is at {end} is no group")));
    }
    if length - end < GROUP_BYTES_MIN {
        return missing("the last group was cut short");
    }
    let records_bytes = head[8..16].iter().rev().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    match end.checked_add(GROUP_BYTES_MIN).and_then(|start| start.checked_add(records_bytes)) {
        Some(group_end) if group_end <= length => {
            if has_hole(log, end, group_end)? {
                return missing("a part of the last group was never written");
            }
            Err(damaged(format_args!("the group at {end} is all there, but its checksum is wrong")))
        }
        _ if is_whole_but_for_its_length(log, end, length)? => {
            Err(damaged(format_args!("the group at {end} has a wrong length")))
        }
        _ => missing("the last group was cut short"),
    }
}

/// Fails if a whole group begins somewhere in the tail: then what is before it is not the last one.
fn refuse_whole_group(log: &NodeLog, end: u64, length: u64) -> Result<()> {
    match next_whole_group(log, end, length)? {
        Some(_) => Err(damaged(format_args!("the group at {end} is not whole, but one behind it is"))),
        None => Ok(()),
    }
}

/// Returns where the first whole group begins from an offset on.
pub(super) fn next_whole_group(log: &NodeLog, from: u64, length: u64) -> Result<Option<u64>> {
    let mut window = vec![0; WRITE_BYTES];
    let mut offset = from;
    while length - offset >= GROUP_MARK.len() as u64 {
        let bytes = window.len().min((length - offset) as usize);
        log.file.read_exact_at(&mut window[..bytes], offset)?;
        for at in 0..=bytes - GROUP_MARK.len() {
            if window[at..].starts_with(&GROUP_MARK) && log.whole_group(offset + at as u64, length)?.is_some() {
                return Ok(Some(offset + at as u64));
            }
        }
        // A mark may begin in the last bytes of the window.
        offset += (bytes - GROUP_MARK.len() + 1) as u64;
    }
    Ok(None)
}

/// True if all bytes are zero.
fn is_zero(log: &NodeLog, from: u64, until: u64) -> Result<bool> {
    let mut sector = [0; SECTOR_BYTES as usize];
    let sector = &mut sector[..SECTOR_BYTES.min(until.saturating_sub(from)) as usize];
    log.file.read_exact_at(sector, from)?;
    Ok(sector.iter().all(|byte| *byte == 0))
}

/// True if a sector of a group is zero throughout, or what is in the group of its last one, the checksum and more.
fn has_hole(log: &NodeLog, from: u64, until: u64) -> Result<bool> {
    let mut sector = from.next_multiple_of(SECTOR_BYTES);
    while sector < until {
        let end = (sector + SECTOR_BYTES).min(until);
        if end - sector > CHECKSUM_BYTES as u64 && is_zero(log, sector, end)? {
            return Ok(true);
        }
        sector = end;
    }
    Ok(false)
}

/// True if the tail is a whole group once its length is what it should be.
fn is_whole_but_for_its_length(log: &NodeLog, end: u64, length: u64) -> Result<bool> {
    let mut checksum = crc32fast::Hasher::new();
    let mut window = vec![0; WRITE_BYTES];
    let (mut offset, records_end) = (end, length - CHECKSUM_BYTES as u64);
    while offset < records_end {
        let bytes = window.len().min((records_end - offset) as usize);
        log.file.read_exact_at(&mut window[..bytes], offset)?;
        if offset == end {
            window[8..16].copy_from_slice(&(length - end - GROUP_BYTES_MIN).to_le_bytes());
        }
        checksum.update(&window[..bytes]);
        offset += bytes as u64;
    }
    let mut stored = [0; CHECKSUM_BYTES];
    log.file.read_exact_at(&mut stored, records_end)?;
    Ok(checksum.finalize().to_le_bytes() == stored)
}
