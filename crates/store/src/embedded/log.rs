//! The log of the embedded database: nodes in one file that is only ever added to.
//!
//! A file is [`FILE_MARK`], which holds the format version, and then groups, each synced before the next one begins. Integers
//! are little-endian.
//!
//! | part of a group | bytes |
//! |---|---|
//! | mark | 8, [`GROUP_MARK`] |
//! | length of the records | 8 |
//! | latest root from here on | 32, most significant limb first; `ff` throughout if the group says nothing about it |
//! | records | each: 1 byte, the length of the data; 32, the hash; 64 of content, and 32 of capacity unless that is zero |
//! | checksum of all of that | 4, CRC-32 |
//!
//! A kill or a power cut leaves at most one group that is not whole, the last. A group that is not whole and has a whole
//! one behind it is damage, and the file is refused.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::FileExt;
use std::path::Path;

use alloy_primitives::B256;

use super::version::{FORMAT_VERSION, found_version, refusal};
use crate::encoding::{CONTENT_BYTES, LATEST_ROOT_KEY, NODE_BYTES, hash_bytes, node_bytes};
use zkevm_tree::{Digest, NodeData};

/// What a log starts with: [`FILE_NAME`], the format version in decimal, an end of line.
const FILE_MARK: [u8; 16] = *b"zkevm-nodes v1\r\n";
const FILE_NAME: &[u8] = b"zkevm-nodes v";
const _: () = assert!(FORMAT_VERSION == 1, "the version is in the mark");
/// What a group starts with. No field element is like that.
const GROUP_MARK: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0xfe, b'l', b'o', b'g'];
const GROUP_HEAD_BYTES: usize = 8 + 8 + 32;
const CHECKSUM_BYTES: usize = 4;
const RECORD_HEAD_BYTES: usize = 1 + 32;
const RECORD_BYTES_MAX: usize = RECORD_HEAD_BYTES + NODE_BYTES;
/// Most nodes of one group: what is in memory at once when a group is read again.
pub(super) const GROUP_NODES_MAX: usize = 1 << 18;
const GROUP_RECORDS_BYTES_MAX: usize = GROUP_NODES_MAX * RECORD_BYTES_MAX;
/// Bytes handed to the operating system at once.
const WRITE_BYTES: usize = 1 << 20;

/// An open log. Anyone may read; only one thread may append.
pub(super) struct NodeLog {
    file: File,
}

/// What [`NodeLog::replay`] found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Where the next group goes.
    pub(super) end: u64,
    /// The last latest root in the part read.
    pub(super) latest_root: Option<Digest>,
}

impl NodeLog {
    /// Offset of the first group.
    pub(super) const START: u64 = FILE_MARK.len() as u64;

    /// Makes an empty log. Fails if there is a file of that name with more in it than a creation cut short leaves.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut before = Vec::new();
        (&file).take(Self::START + 1).read_to_end(&mut before)?;
        if !FILE_MARK.starts_with(&before)
            && (before.len() as u64 > Self::START || before.iter().any(|byte| *byte != 0))
        {
            return Err(Error::new(ErrorKind::AlreadyExists, refusal("the file is there, but no index names it")));
        }
        file.write_all_at(&FILE_MARK, 0)?;
        file.sync_all()?;
        // The name has to last as well.
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self { file })
    }

    /// Opens a log. Fails if the file is not one, or has another format version.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut mark = Vec::new();
        (&file).take(Self::START).read_to_end(&mut mark)?;
        if mark == FILE_MARK {
            return Ok(Self { file });
        }
        let found = match format_version(&mark) {
            Some(version) => found_version(version),
            None if mark.is_empty() => "the file is empty".to_owned(),
            None => "the file is not a log of nodes".to_owned(),
        };
        Err(Error::new(ErrorKind::InvalidData, refusal(found)))
    }

    /// Writes one group at `end`, of at most [`GROUP_NODES_MAX`] nodes, so that it survives once this returns.
    ///
    /// Returns each node's offset, in order, and where the next group goes. After an error the same `end` may be tried
    /// again.
    pub(super) fn append(
        &self,
        end: u64,
        nodes: &[(&Digest, &NodeData)],
        latest_root: Option<Digest>,
    ) -> Result<(Vec<u64>, u64)> {
        let length: usize = nodes.iter().map(|(_, node)| RECORD_HEAD_BYTES + data_bytes(node)).sum();
        let mut writer = Writer::new(&self.file, end);
        writer.put(&GROUP_MARK)?;
        writer.put(&(length as u64).to_le_bytes())?;
        writer.put(&latest_root.map_or(LATEST_ROOT_KEY, |root| hash_bytes(&root)))?;
        let mut offsets = Vec::with_capacity(nodes.len());
        for (hash, node) in nodes {
            offsets.push(writer.offset());
            let length = data_bytes(node);
            writer.put(&[length as u8])?;
            writer.put(&hash_bytes(hash))?;
            writer.put(&node_bytes(node)[..length])?;
        }
        let end = writer.finish()?;
        self.file.sync_data()?;
        Ok((offsets, end))
    }

    /// Reads every group from `from` on, where one begins, and calls `found` with each node's hash and offset.
    ///
    /// Cuts off a last group that is not whole. Fails if the file is shorter than `from` or damaged.
    pub(super) fn replay(&self, from: u64, mut found: impl FnMut(Digest, u64)) -> Result<Replayed> {
        let length = self.file.metadata()?.len();
        if length < from {
            return Err(damaged(format_args!("{length} bytes are left of at least {from}")));
        }
        let mut replayed = Replayed { end: from, latest_root: None };
        while let Some(group) = self.whole_group(replayed.end, length)? {
            let mut offset = replayed.end + GROUP_HEAD_BYTES as u64;
            let mut records = &group.records[..];
            while let Some((record, rest)) = split_record(records) {
                found(Digest::from(B256::from(record.hash)), offset);
                offset += (records.len() - rest.len()) as u64;
                records = rest;
            }
            if !records.is_empty() {
                return Err(damaged(format_args!("a record at {offset} is none")));
            }
            replayed.latest_root = group.latest_root.or(replayed.latest_root);
            replayed.end = offset + CHECKSUM_BYTES as u64;
        }
        if replayed.end < length {
            self.cut_off(replayed.end, length)?;
        }
        Ok(replayed)
    }

    /// Reads the record at an offset that [`Self::append`] or [`Self::replay`] named.
    pub(super) fn read(&self, offset: u64) -> Result<Record> {
        let mut bytes = [0; RECORD_BYTES_MAX];
        let mut filled = 0;
        loop {
            if let Some((record, _)) = split_record(&bytes[..filled]) {
                return Ok(record);
            }
            match self.file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => return Err(damaged(format_args!("no record at {offset}"))),
                Ok(more) => filled += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the group at an offset of a log of that length, `None` if there is no whole one.
    fn whole_group(&self, offset: u64, length: u64) -> Result<Option<WholeGroup>> {
        let mut head = [0; GROUP_HEAD_BYTES];
        let Some(rest) = length.checked_sub(offset + (GROUP_HEAD_BYTES + CHECKSUM_BYTES) as u64) else {
            return Ok(None);
        };
        self.file.read_exact_at(&mut head, offset)?;
        let (mark, sizes) = head.split_at(GROUP_MARK.len());
        let (records_bytes, root) = sizes.split_at(8);
        let records_bytes = u64::from_le_bytes(records_bytes.try_into().expect("eight bytes"));
        if mark != GROUP_MARK || records_bytes > rest || records_bytes > GROUP_RECORDS_BYTES_MAX as u64 {
            return Ok(None);
        }
        let mut records = vec![0; records_bytes as usize + CHECKSUM_BYTES];
        self.file.read_exact_at(&mut records, offset + GROUP_HEAD_BYTES as u64)?;
        let checksum = records.split_off(records_bytes as usize);
        let mut actual = crc32fast::Hasher::new();
        actual.update(&head);
        actual.update(&records);
        if actual.finalize().to_le_bytes()[..] != checksum {
            return Ok(None);
        }
        let latest_root = (root != LATEST_ROOT_KEY).then(|| Digest::from(B256::from_slice(root)));
        Ok(Some(WholeGroup { latest_root, records }))
    }

    /// Removes what is behind the last whole group. Fails if there is a whole group in it.
    fn cut_off(&self, end: u64, length: u64) -> Result<()> {
        let mut window = vec![0; WRITE_BYTES];
        let mut offset = end;
        while length - offset >= GROUP_MARK.len() as u64 {
            let bytes = window.len().min((length - offset) as usize);
            self.file.read_exact_at(&mut window[..bytes], offset)?;
            for at in 0..=bytes - GROUP_MARK.len() {
                if window[at..].starts_with(&GROUP_MARK) && self.whole_group(offset + at as u64, length)?.is_some() {
                    return Err(damaged(format_args!("the group at {end} is not whole, but one behind it is")));
                }
            }
            // A mark may begin in the last bytes of the window.
            offset += (bytes - GROUP_MARK.len() + 1) as u64;
        }
        tracing::warn!(offset = end, bytes = length - end, "the last write was cut short and is taken back");
        self.file.set_len(end)?;
        self.file.sync_all()
    }
}

/// A node as it is in the log.
pub(super) struct Record {
    /// The node's hash, most significant limb first.
    pub(super) hash: [u8; 32],
    data: [u8; NODE_BYTES],
    length: usize,
}

impl Record {
    /// Content, and capacity unless that is zero.
    pub(super) fn data(&self) -> &[u8] {
        &self.data[..self.length]
    }
}

struct WholeGroup {
    latest_root: Option<Digest>,
    records: Vec<u8>,
}

/// Takes the first record off; `None` if there is no whole one.
fn split_record(bytes: &[u8]) -> Option<(Record, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (hash, rest) = rest.split_first_chunk()?;
    let length = usize::from(*length);
    if length != CONTENT_BYTES && length != NODE_BYTES {
        return None;
    }
    let (content, rest) = rest.split_at_checked(length)?;
    let mut data = [0; NODE_BYTES];
    data[..length].copy_from_slice(content);
    Some((Record { hash: *hash, data, length }, rest))
}

/// Bytes of a node's data: a capacity of zeros, that of most nodes, is left out.
fn data_bytes(node: &NodeData) -> usize {
    if node[8..] == [0; 4] { CONTENT_BYTES } else { NODE_BYTES }
}

/// Returns the version in the mark of a log, `None` if it is no such mark.
fn format_version(mark: &[u8]) -> Option<u64> {
    let digits = mark.strip_prefix(FILE_NAME)?.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn damaged(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::InvalidData, format!("the file is damaged: {what}"))
}

/// Collects small writes into large ones, and their checksum.
struct Writer<'a> {
    file: &'a File,
    /// Where the buffer goes.
    start: u64,
    buffer: Vec<u8>,
    /// Of what is written, without the buffer.
    checksum: crc32fast::Hasher,
}

impl<'a> Writer<'a> {
    fn new(file: &'a File, start: u64) -> Self {
        Self { file, start, buffer: Vec::with_capacity(WRITE_BYTES + NODE_BYTES), checksum: crc32fast::Hasher::new() }
    }

    fn offset(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes the rest and the checksum, and returns where they end.
    fn finish(mut self) -> Result<u64> {
        self.checksum.update(&self.buffer);
        let checksum = self.checksum.clone().finalize();
        self.buffer.extend_from_slice(&checksum.to_le_bytes());
        self.flush()?;
        Ok(self.start)
    }

    fn flush(&mut self) -> Result<()> {
        self.checksum.update(&self.buffer);
        self.file.write_all_at(&self.buffer, self.start)?;
        self.start = self.offset();
        self.buffer.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Node `number` and its hash; every third has a capacity.
    fn node(number: u64) -> (Digest, NodeData) {
        let mut node = [number; 12];
        node[8..].fill(u64::from(number.is_multiple_of(3)));
        (Digest([number, number, 0, number + 1]), node)
    }

    fn append(log: &NodeLog, end: u64, numbers: std::ops::Range<u64>, root: Option<Digest>) -> (Vec<u64>, u64) {
        let nodes: Vec<_> = numbers.map(node).collect();
        let nodes: Vec<_> = nodes.iter().map(|(hash, node)| (hash, node)).collect();
        log.append(end, &nodes, root).unwrap()
    }

    fn replay(log: &NodeLog, from: u64) -> Result<(Vec<(Digest, u64)>, Replayed)> {
        let mut found = Vec::new();
        let replayed = log.replay(from, |hash, offset| found.push((hash, offset)))?;
        Ok((found, replayed))
    }

    #[test]
    fn what_was_appended_is_read_at_its_offset_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = NodeLog::create(&path).unwrap();
        // More than one write to the operating system.
        let (first, second_at) = append(&log, NodeLog::START, 0..20_000, Some(Digest([7; 4])));
        let (second, end) = append(&log, second_at, 20_000..20_003, None);
        let log = NodeLog::open(&path).unwrap();
        for (number, offset) in (0..).zip(first.iter().chain(&second)) {
            let ((hash, node), record) = (node(number), log.read(*offset).unwrap());
            assert_eq!((record.hash, record.data()), (hash_bytes(&hash), &node_bytes(&node)[..data_bytes(&node)]));
        }
        let (found, replayed) = replay(&log, NodeLog::START).unwrap();
        assert_eq!(replayed, Replayed { end, latest_root: Some(Digest([7; 4])) });
        let expected: Vec<_> = (0..).map(|number| node(number).0).zip(first.into_iter().chain(second)).collect();
        assert_eq!(found, expected);
        let (found, replayed) = replay(&log, second_at).unwrap();
        assert_eq!((found.len(), replayed), (3, Replayed { end, latest_root: None }));
        assert!(log.read(end).is_err());
        assert!(replay(&log, end + 1).is_err());
    }

    #[test]
    fn a_last_group_is_taken_back_wherever_it_was_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = NodeLog::create(&path).unwrap();
        let (_, kept) = append(&log, NodeLog::START, 0..3, Some(Digest([1; 4])));
        for cut_to in 0.. {
            let (_, end) = append(&log, kept, 3..5, Some(Digest([2; 4])));
            if kept + cut_to >= end {
                break;
            }
            log.file.set_len(kept + cut_to).unwrap();
            let (found, replayed) = replay(&log, NodeLog::START).unwrap();
            assert_eq!((found.len(), replayed), (3, Replayed { end: kept, latest_root: Some(Digest([1; 4])) }));
            assert_eq!(log.file.metadata().unwrap().len(), kept);
        }
        // A power cut may leave the length without the bytes.
        append(&log, kept, 3..5, None);
        log.file.write_all_at(&[0; 40], kept + 60).unwrap();
        assert_eq!(replay(&log, NodeLog::START).unwrap().1.end, kept);
    }

    #[test]
    fn a_damaged_group_with_a_whole_one_behind_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = NodeLog::create(&path).unwrap();
        let (offsets, second_at) = append(&log, NodeLog::START, 0..20_000, None);
        append(&log, second_at, 20_000..20_001, None);
        let length = log.file.metadata().unwrap().len();
        log.file.write_all_at(&[1], offsets[9_999] + 40).unwrap();
        let error = replay(&log, NodeLog::START).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("behind it"), "{error}");
        assert_eq!(log.file.metadata().unwrap().len(), length, "nothing is taken away");
        log.file.write_all_at(b"something else\r\n", 0).unwrap();
        assert!(NodeLog::open(&path).is_err());
    }
}
