//! The log of the embedded database: nodes and programs in one file that is only ever added to.
//!
//! A file is [`FILE_MARK`], which holds the format version, and then groups, each synced before the next one begins. Integers
//! are little-endian.
//!
//! | part of a group | bytes |
//! |---|---|
//! | mark | 8, [`GROUP_MARK`] |
//! | length of the records | 8 |
//! | latest root from here on | 32, most significant limb first; `ff` throughout if the group says nothing about it |
//! | records | [`super::record`] |
//! | checksum of all of that | 4, CRC-32 |
//!
//! A kill or a power cut leaves at most one group whose bytes are not all there, the last. It is taken back: the next group is
//! written over it. The file is never cut. Everything else that is not a whole group is damage, and the file is refused.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Read, Result};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy_primitives::{B256, Bytes};

use super::record::{
    CHECKSUM_BYTES, NODE_RECORD_BYTES_MAX, NodeRecord, Record, node_record_bytes, program_record_bytes, put_node,
    put_program, split_node, split_record,
};
use super::tail::judge_tail;
use super::version::{FORMAT_VERSION, FORMAT_VERSION_BEFORE, found_version, refusal};
use crate::encoding::{LATEST_ROOT_KEY, hash_bytes};
use zkevm_tree::{Digest, NodeData};

/// What a log starts with: [`FILE_NAME`], the format version in decimal, an end of line.
pub(super) const FILE_MARK: [u8; 16] = *b"zkevm-nodes v2\r\n";
/// What a log of the version before starts with.
const FILE_MARK_BEFORE: [u8; 16] = *b"zkevm-nodes v1\r\n";
const FILE_NAME: &[u8] = b"zkevm-nodes v";
const _: () = assert!(FORMAT_VERSION == 2 && FORMAT_VERSION_BEFORE == 1, "the versions are in the marks");
/// What a group starts with. No field element is like that.
pub(super) const GROUP_MARK: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0xfe, b'l', b'o', b'g'];
pub(super) const GROUP_HEAD_BYTES: usize = 8 + 8 + 32;
/// Bytes of a group without records.
pub(super) const GROUP_BYTES_MIN: u64 = (GROUP_HEAD_BYTES + CHECKSUM_BYTES) as u64;
/// Most nodes of one group: what is in memory at once when a group is read again.
pub(super) const GROUP_NODES_MAX: usize = 1 << 18;
/// Most bytes of programs in one group; one that is longer goes alone.
pub(super) const GROUP_PROGRAMS_BYTES_MAX: usize = 16 << 20;
/// Bytes handed to the operating system at once.
pub(super) const WRITE_BYTES: usize = 1 << 20;

/// An open log. Anyone may read; only one thread may append.
pub(super) struct NodeLog {
    pub(super) file: File,
    /// Behind the last whole group there may be bytes of another one up to here.
    unconfirmed: AtomicU64,
}

/// One entry found again, with its offset.
pub(super) struct Found {
    pub(super) record: Record,
    pub(super) offset: u64,
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

    /// Makes an empty log. Fails with [`ErrorKind::AlreadyExists`] if there is a file of that name.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        file.write_all_at(&FILE_MARK, 0)?;
        file.sync_all()?;
        // The name has to last as well.
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self { file, unconfirmed: AtomicU64::new(0) })
    }

    /// Opens a log of the present version or the one before. Fails if the file is not one.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut mark = Vec::new();
        (&file).take(Self::START).read_to_end(&mut mark)?;
        if mark == FILE_MARK || mark == FILE_MARK_BEFORE {
            return Ok(Self { file, unconfirmed: AtomicU64::new(0) });
        }
        let found = match format_version(&mark) {
            Some(version) => found_version(version),
            None if mark.is_empty() => "the file is empty".to_owned(),
            None => "the file is not a log of nodes".to_owned(),
        };
        Err(Error::new(ErrorKind::InvalidData, refusal(found)))
    }

    /// True if there is something in the file: more than a creation that was cut short leaves.
    pub(super) fn has_content(path: &Path) -> Result<bool> {
        let mut bytes = Vec::new();
        File::open(path)?.take(Self::START + 1).read_to_end(&mut bytes)?;
        let is_start = FILE_MARK.starts_with(&bytes) || FILE_MARK_BEFORE.starts_with(&bytes);
        Ok(!is_start && (bytes.len() as u64 > Self::START || bytes.iter().any(|byte| *byte != 0)))
    }

    /// Says in the file that it is of the present version.
    pub(super) fn set_version(&self) -> Result<()> {
        self.file.write_all_at(&FILE_MARK, 0)?;
        self.file.sync_data()
    }

    /// Returns the length of the file.
    pub(super) fn length(&self) -> Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    /// Writes one group at `end`, of at most [`GROUP_NODES_MAX`] nodes, so that it survives once this returns.
    ///
    /// Returns each node's offset, in order, and where the next group goes. After an error the same `end` may be tried
    /// again.
    pub(super) fn append(
        &self,
        end: u64,
        nodes: &[(&Digest, &NodeData)],
        programs: &[(&[u8; 32], &Bytes)],
        latest_root: Option<Digest>,
    ) -> Result<(Vec<u64>, u64)> {
        let too_long = || Error::new(ErrorKind::InvalidInput, "a program is too long for the log");
        let mut length: usize = nodes.iter().map(|(_, node)| node_record_bytes(node)).sum();
        for (_, code) in programs {
            let bytes = program_record_bytes(code).ok_or_else(too_long)?;
            length = length.checked_add(bytes).ok_or_else(too_long)?;
        }
        self.clear_unconfirmed(end)?;
        let group_end = end + (GROUP_HEAD_BYTES + length + CHECKSUM_BYTES) as u64;
        self.unconfirmed.fetch_max(group_end, Ordering::Relaxed);
        let mut writer = Writer::new(&self.file, end);
        writer.put(|buffer| {
            buffer.extend_from_slice(&GROUP_MARK);
            buffer.extend_from_slice(&(length as u64).to_le_bytes());
            buffer.extend_from_slice(&latest_root.map_or(LATEST_ROOT_KEY, |root| hash_bytes(&root)));
        })?;
        let mut offsets = Vec::with_capacity(nodes.len());
        for (hash, node) in nodes {
            offsets.push(writer.offset());
            writer.put(|buffer| put_node(buffer, hash, node))?;
        }
        for (hash, code) in programs {
            writer.put(|buffer| put_program(buffer, hash, code))?;
        }
        let end = writer.finish()?;
        self.file.sync_data()?;
        self.unconfirmed.store(0, Ordering::Relaxed);
        Ok((offsets, end))
    }

    /// Writes zeros over what an append before left behind `end`, so that nothing of it is left behind the next group. What
    /// was there was never reported as stored.
    fn clear_unconfirmed(&self, end: u64) -> Result<()> {
        let until = self.unconfirmed.load(Ordering::Relaxed).min(self.length()?);
        if until <= end {
            return Ok(());
        }
        let zeros = vec![0; WRITE_BYTES.min((until - end) as usize)];
        let mut offset = end;
        while offset < until {
            let bytes = zeros.len().min((until - offset) as usize);
            self.file.write_all_at(&zeros[..bytes], offset)?;
            offset += bytes as u64;
        }
        self.file.sync_data()
    }

    /// Reads every group from `from` on, where one begins, and calls `found` with each entry. `progress` is told how far it is.
    ///
    /// A last group whose bytes are not all there is left out, and written over by the next one. Fails if the file is shorter
    /// than `from` or damaged.
    pub(super) fn replay<E: From<Error>>(
        &self,
        from: u64,
        mut found: impl FnMut(Found) -> std::result::Result<(), E>,
        mut group_ends: impl FnMut(&Replayed) -> std::result::Result<(), E>,
    ) -> std::result::Result<Replayed, E> {
        let length = self.length()?;
        if length < from {
            return Err(damaged(format_args!("{length} bytes are left of at least {from}")).into());
        }
        let mut replayed = Replayed { end: from, latest_root: None };
        while let Some(group) = self.whole_group(replayed.end, length)? {
            let mut offset = replayed.end + GROUP_HEAD_BYTES as u64;
            let mut records = &group.records[..];
            while let Some((record, rest)) = split_record(records) {
                found(Found { record, offset })?;
                offset += (records.len() - rest.len()) as u64;
                records = rest;
            }
            if !records.is_empty() {
                return Err(damaged(format_args!("a record at {offset} is none")).into());
            }
            replayed.latest_root = group.latest_root.or(replayed.latest_root);
            replayed.end = offset + CHECKSUM_BYTES as u64;
            group_ends(&replayed)?;
        }
        if replayed.end < length {
            judge_tail(self, replayed.end, length)?;
            self.unconfirmed.store(length, Ordering::Relaxed);
        }
        Ok(replayed)
    }

    /// Reads the node at an offset that [`Self::append`] or [`Self::replay`] named.
    ///
    /// Fails with [`ErrorKind::InvalidData`] if there is none, or its checksum is wrong.
    pub(super) fn read(&self, offset: u64) -> Result<NodeRecord> {
        let mut bytes = [0; NODE_RECORD_BYTES_MAX];
        let mut filled = 0;
        loop {
            match split_node(&bytes[..filled]) {
                Some((NodeRecord { is_whole: Some(false), .. }, _)) => {
                    return Err(damaged(format_args!("the record at {offset} is not what was written")));
                }
                Some((record, _)) => return Ok(record),
                None if filled == bytes.len() => return Err(damaged(format_args!("no record at {offset}"))),
                None => {}
            }
            match self.file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64)) {
                Ok(0) => return Err(damaged(format_args!("no record at {offset}"))),
                Ok(more) => filled += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Returns the group at an offset of a log of that length, `None` if there is no whole one.
    pub(super) fn whole_group(&self, offset: u64, length: u64) -> Result<Option<WholeGroup>> {
        let mut head = [0; GROUP_HEAD_BYTES];
        let Some(rest) = offset.checked_add(GROUP_BYTES_MIN).and_then(|start| length.checked_sub(start)) else {
            return Ok(None);
        };
        self.file.read_exact_at(&mut head, offset)?;
        let (mark, sizes) = head.split_at(GROUP_MARK.len());
        let (records_bytes, root) = sizes.split_at(8);
        let records_bytes = records_bytes.iter().rev().fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
        if mark != GROUP_MARK || records_bytes > rest {
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
}

pub(super) struct WholeGroup {
    latest_root: Option<Digest>,
    records: Vec<u8>,
}

/// Returns the version in the mark of a log, `None` if it is no such mark.
fn format_version(mark: &[u8]) -> Option<u64> {
    let digits = mark.strip_prefix(FILE_NAME)?.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

pub(super) fn damaged(what: impl std::fmt::Display) -> Error {
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
        Self {
            file,
            start,
            buffer: Vec::with_capacity(WRITE_BYTES + NODE_RECORD_BYTES_MAX),
            checksum: crc32fast::Hasher::new(),
        }
    }

    fn offset(&self) -> u64 {
        self.start + self.buffer.len() as u64
    }

    fn put(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        fill(&mut self.buffer);
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
    use crate::encoding::{hash_from_bytes, node_bytes};

    /// Node `number` and its hash; every third has a capacity.
    fn node(number: u64) -> (Digest, NodeData) {
        let mut node = [number; 12];
        node[8..].fill(u64::from(number.is_multiple_of(3)));
        (Digest([number, number, 0, number + 1]), node)
    }

    fn append(log: &NodeLog, end: u64, numbers: std::ops::Range<u64>, root: Option<Digest>) -> (Vec<u64>, u64) {
        let nodes: Vec<_> = numbers.map(node).collect();
        let nodes: Vec<_> = nodes.iter().map(|(hash, node)| (hash, node)).collect();
        log.append(end, &nodes, &[], root).unwrap()
    }

    fn replay(log: &NodeLog, from: u64) -> Result<(Vec<(Digest, u64)>, Replayed)> {
        let mut found = Vec::new();
        let each = |Found { record, offset }| {
            if let Record::Node(node) = record {
                found.push((hash_from_bytes(&node.hash), offset));
            }
            Ok(())
        };
        let replayed = log.replay::<Error>(from, each, |_| Ok(()))?;
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
            let data = &node_bytes(&node)[..record.data().len()];
            assert_eq!((record.hash, record.data(), record.is_whole), (hash_bytes(&hash), data, Some(true)));
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
    fn a_last_group_is_left_out_wherever_it_was_cut_and_the_file_is_never_cut() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = NodeLog::create(&path).unwrap();
        let (_, kept) = append(&log, NodeLog::START, 0..3, Some(Digest([1; 4])));
        let (_, end) = append(&log, kept, 3..9, Some(Digest([2; 4])));
        for cut_to in kept..end {
            log.file.set_len(cut_to).unwrap();
            let log = NodeLog::open(&path).unwrap();
            let (found, replayed) = replay(&log, NodeLog::START).unwrap();
            assert_eq!((found.len(), replayed), (3, Replayed { end: kept, latest_root: Some(Digest([1; 4])) }));
            assert_eq!(log.length().unwrap(), cut_to);
            // What comes next, longer or shorter than what is left, is whole when the log is read again.
            let (_, shorter) = append(&log, kept, 20..21, None);
            let log = NodeLog::open(&path).unwrap();
            assert_eq!(replay(&log, NodeLog::START).unwrap().1.end, shorter, "cut to {cut_to}");
            assert!(log.length().unwrap() >= cut_to);
            append(&log, kept, 3..9, Some(Digest([2; 4])));
        }
        // A power cut may leave the length without the bytes.
        for from in [kept, kept + 1000] {
            append(&log, kept, 3..30, None);
            let zeros = vec![0; (log.length().unwrap() - from) as usize];
            log.file.write_all_at(&zeros, from).unwrap();
            assert_eq!(replay(&log, NodeLog::START).unwrap().1.end, kept, "zeros from {from}");
        }
    }

    #[test]
    fn a_changed_bit_in_the_last_group_is_damage_wherever_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = NodeLog::create(&path).unwrap();
        let (_, kept) = append(&log, NodeLog::START, 0..3, Some(Digest([1; 4])));
        let (_, end) = append(&log, kept, 3..9, Some(Digest([2; 4])));
        let whole = std::fs::read(&path).unwrap();
        for bit in NodeLog::START * 8..end * 8 {
            let mut damaged = whole.clone();
            damaged[bit as usize / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &damaged).unwrap();
            let error = replay(&NodeLog::open(&path).unwrap(), NodeLog::START).expect_err("damage").to_string();
            let at = if bit / 8 < kept { NodeLog::START } else { kept };
            assert!(error.contains("damaged") && error.contains(&at.to_string()), "bit {bit}: {error}");
            assert_eq!(std::fs::read(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn a_damaged_group_with_a_whole_one_behind_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let log = NodeLog::create(&path).unwrap();
        let (offsets, second_at) = append(&log, NodeLog::START, 0..20_000, None);
        append(&log, second_at, 20_000..20_001, None);
        let length = log.length().unwrap();
        log.file.write_all_at(&[1], offsets[9_999] + 40).unwrap();
        let error = replay(&log, NodeLog::START).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("behind it"), "{error}");
        let error = log.read(offsets[9_999]).err().unwrap();
        assert!(error.kind() == ErrorKind::InvalidData && error.to_string().contains(&offsets[9_999].to_string()));
        assert_eq!(log.length().unwrap(), length, "nothing is taken away");
        log.file.write_all_at(b"something else\r\n", 0).unwrap();
        assert!(NodeLog::open(&path).is_err());
    }

    #[test]
    fn a_new_log_takes_the_place_of_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, []).unwrap();
        assert_eq!(NodeLog::create(&path).err().unwrap().kind(), ErrorKind::AlreadyExists);
        for (content, has_content) in [
            (&b""[..], false),
            (b"zkevm-nod", false),
            (&FILE_MARK, false),
            (b"x", true),
            (&[0; 16], false),
            (&[0; 17], true),
        ] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(NodeLog::has_content(&path).unwrap(), has_content, "{content:?}");
        }
    }
}
