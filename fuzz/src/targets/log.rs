//! The log of the embedded database, as it is found after a crash or on a damaged disk.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use tempfile::TempDir;
use zkevm_store::{Database, EmbeddedDatabase, WriteSet};
use zkevm_tree::{Digest, NodeData};

use super::{Target, kind_of, without_digits, workload};

/// The first byte says whether checksums are made right before the log is opened; the rest is the log.
pub const TARGET: Target = Target {
    name: "log",
    run: target,
    seeds,
    dictionary: &[
        b"zkevm-nodes v2\r\n",
        &GROUP_MARK,
        &[0; 8],
        &[0xff; 8],
        &[0xff; 32],
        &[64],
        &[65],
        &[96],
        &[97],
        &[0],
        &[97, 0, 0, 0, 0, 0, 0, 0],
    ],
    input_bytes_max: 16 << 10,
    memory_bytes_max: 32 << 20,
};

/// Start of a group in the log, and the bytes before and after its records.
const GROUP_MARK: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0xfe, b'l', b'o', b'g'];
const GROUP_HEAD_BYTES: usize = 48;
const CHECKSUM_BYTES: usize = 4;
const CACHE_BYTES: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(5);
const LOG_NAME: &str = "nodes-1.log";

/// A database with two groups in its log, taken apart; and the folder in which it is put together again.
struct Parts {
    folder: TempDir,
    /// Every file but the log: name and content.
    others: Vec<(PathBuf, Vec<u8>)>,
    log: Vec<u8>,
    nodes: Vec<(Digest, NodeData)>,
}

static PARTS: LazyLock<Parts> = LazyLock::new(Parts::new);

impl Parts {
    fn new() -> Self {
        // In memory where that is possible: each input opens a database.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder for databases");
        let state = workload(9).genesis().build().expect("the sample state is a tree");
        let nodes: Vec<_> = state.nodes.iter().map(|(hash, node)| (*hash, *node)).take(20).collect();
        let database = open(folder.path()).expect("a new database");
        let first = WriteSet { nodes: nodes[..12].to_vec(), programs: Vec::new(), latest_root: Some(nodes[0].0) };
        let second = WriteSet { nodes: nodes[12..].to_vec(), programs: Vec::new(), latest_root: None };
        for set in [first, second] {
            database.commit(&[&set]).expect("a new database can be written");
        }
        drop(database);
        let mut others = Vec::new();
        for entry in fs::read_dir(folder.path()).expect("the folder is there") {
            let path = entry.expect("the folder can be read").path();
            let content = fs::read(&path).expect("the file can be read");
            others.push((path, content));
        }
        let is_log = |(path, _): &mut (PathBuf, Vec<u8>)| path.ends_with(LOG_NAME);
        let log = others.extract_if(.., is_log).next().expect("the database has a log").1;
        Self { folder, others, log, nodes }
    }

    /// Puts the files in place, with this log.
    fn lay_out(&self, log: &[u8]) {
        for (path, content) in &self.others {
            fs::write(path, content).expect("the file can be written");
        }
        fs::write(self.folder.path().join(LOG_NAME), log).expect("the log can be written");
    }
}

fn open(folder: &Path) -> Result<EmbeddedDatabase, zkevm_tree::StoreError> {
    EmbeddedDatabase::open(folder, CACHE_BYTES, PATIENCE)
}

/// Opens the database with this log. If that works it must go on working: reads, a write, and opening it again.
pub fn target(data: &[u8]) -> u64 {
    let Some((&head, log)) = data.split_first() else { return 0 };
    let mut log = log.to_vec();
    if head & 1 != 0 {
        mend_checksums(&mut log);
    }
    let parts = &*PARTS;
    parts.lay_out(&log);
    let database = match open(parts.folder.path()) {
        Ok(database) => database,
        Err(error) => return kind_of(&without_digits(&error).rsplit(": ").next()),
    };
    let found = read_all(&database, &parts.nodes);
    let root = database.latest_root().expect("the latest root is in memory");
    let (hash, node) = (Digest([1, 2, 3, 4]), [9; 12]);
    let set = WriteSet { nodes: vec![(hash, node)], programs: Vec::new(), latest_root: None };
    database.commit(&[&set]).expect("what can be opened can be written");
    drop(database);

    let database = open(parts.folder.path()).expect("what could be opened and written can be opened again");
    assert_eq!(database.latest_root().ok(), Some(root), "opened again, the database has another latest root");
    assert_eq!(read_all(&database, &parts.nodes), found, "opened again, the database has other nodes");
    assert_eq!(read_all(&database, &[(hash, node)]), 1, "what was written is gone");
    kind_of(&(found, root.is_zero()))
}

/// Returns how many of the nodes are found.
fn read_all(database: &dyn Database, nodes: &[(Digest, NodeData)]) -> usize {
    nodes.iter().filter(|(hash, _)| matches!(database.node(hash), Ok(Some(_)))).count()
}

/// Writes the checksum that each group should have: without, mutations would only ever find that it is wrong.
fn mend_checksums(log: &mut [u8]) {
    let mut at = 0;
    while let Some(group) = log.get_mut(at..).filter(|rest| rest.len() >= GROUP_HEAD_BYTES) {
        let length = group[8..16].iter().rev().fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        let end = usize::try_from(length).ok().and_then(|length| length.checked_add(GROUP_HEAD_BYTES));
        let end = end.filter(|end| group.starts_with(&GROUP_MARK) && *end <= group.len() - CHECKSUM_BYTES);
        match end {
            Some(end) => {
                let checksum = crc32fast::hash(&group[..end]).to_le_bytes();
                group[end..end + CHECKSUM_BYTES].copy_from_slice(&checksum);
                at += end + CHECKSUM_BYTES;
            }
            None => at += 1,
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let log = &PARTS.log;
    let whole = |head: u8| [&[head][..], log].concat();
    vec![whole(0), whole(1), [&[0][..], &log[..16]].concat(), [&[0][..], &log[..log.len() - 5]].concat()]
}
