//! A damaged, cut or misplaced file of the embedded database: an error that names it, never a wrong value, never a shorter log.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use revm::primitives::{Bytes, U256};
use tempfile::TempDir;
use zkevm_store::{Database, DurableOptions, EmbeddedDatabase, QueueLimits, StateStore, WriteSet};
use zkevm_tree::{Digest, StateReader, StateTree, StoreError, TreeRef, linear_hash};

/// Places at which a bit is changed, in the log and in the index together.
const FLIPS: u64 = 1000;
/// Leaves of each commit; few in the last two, whose every byte is looked at.
const COMMITS: [u64; 6] = [100, 100, 100, 100, 2, 2];
const CACHE_BYTES: usize = 1 << 20;

/// A database that was closed in good order: its files, and what must be in it.
struct Sample {
    files: BTreeMap<PathBuf, Vec<u8>>,
    /// The roots after each commit, oldest first, with the number of leaves.
    roots: Vec<(Digest, u64)>,
    /// Ends of the groups of the log, first group first.
    group_ends: Vec<usize>,
}

fn key(number: u64) -> Digest {
    Digest([number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1, number * 3, number * 7919, number * 5])
}

fn value(number: u64) -> U256 {
    U256::from(number + 1) << 100 | U256::from(number * 1000)
}

fn program(number: u64) -> Bytes {
    Bytes::from(vec![number as u8; 300])
}

fn folder() -> TempDir {
    // In memory where that is possible: each change opens a database.
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(folder: &Path) -> Result<EmbeddedDatabase, StoreError> {
    EmbeddedDatabase::open(folder, CACHE_BYTES, Duration::ZERO)
}

impl Sample {
    fn new() -> Self {
        let folder = folder();
        let (mut roots, mut root, mut group_ends) = (Vec::new(), Digest::ZERO, Vec::new());
        let mut leaves = 0;
        for (commit, count) in COMMITS.into_iter().enumerate() {
            // Opened again and again, so that a part of the log is in the index.
            let database = open(folder.path()).unwrap();
            let mut tree = StateTree::new(&database);
            let at = if root.is_zero() { TreeRef::EMPTY } else { tree.open(root) };
            let mut writes: Vec<_> = (leaves..leaves + count).map(|number| (key(number), value(number))).collect();
            let version = tree.update(at, &mut writes).unwrap();
            root = tree.root(version);
            let code = program(commit as u64);
            let programs = vec![(linear_hash(&code), code)];
            let set = WriteSet { nodes: tree.new_nodes(&[version]), programs, latest_root: Some(root) };
            drop(tree);
            database.commit(&[&set]).unwrap();
            leaves += count;
            roots.push((root, leaves));
            drop(database);
            group_ends.push(fs::metadata(folder.path().join("nodes-1.log")).unwrap().len() as usize);
            if commit == 1 {
                EmbeddedDatabase::rebuild(folder.path(), CACHE_BYTES, |_, _| {}).unwrap();
                for entry in fs::read_dir(folder.path()).unwrap() {
                    let path = entry.unwrap().path();
                    if path.to_string_lossy().contains("before") {
                        fs::remove_file(path).unwrap();
                    }
                }
            }
        }
        let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let files = entries.map(|path| (path.file_name().unwrap().into(), fs::read(&path).unwrap())).collect();
        Self { files, roots, group_ends }
    }

    fn log(&self) -> &[u8] {
        &self.files[Path::new("nodes-1.log")]
    }

    /// Puts the files into a folder, one of them with another content.
    fn lay_out(&self, folder: &Path, name: &str, content: &[u8]) {
        for (path, whole) in &self.files {
            let content = if path == Path::new(name) { content } else { whole };
            fs::write(folder.join(path), content).unwrap();
        }
    }

    /// Opens the database and reads everything: each answer is right, or an error. Returns how many were errors, `None` if it
    /// does not open.
    fn check(&self, folder: &Path, what: &str) -> Option<usize> {
        let before = fs::metadata(folder.join("nodes-1.log")).unwrap().len();
        let found = self.read(folder, what);
        assert!(fs::metadata(folder.join("nodes-1.log")).unwrap().len() >= before, "{what}: the log became shorter");
        found
    }

    fn read(&self, folder: &Path, what: &str) -> Option<usize> {
        let opened = open(folder).and_then(|database| {
            let queue = QueueLimits::default();
            StateStore::over(Arc::new(database), DurableOptions { volatile_bytes_max: 0, cache_bytes_max: 0, queue })
        });
        let store = match opened {
            Ok(store) => store,
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(&folder.display().to_string()), "{what}: {error}");
                return None;
            }
        };
        let mut errors = 0;
        match store.latest_root() {
            Ok(latest) => assert!(self.roots.iter().any(|(root, _)| *root == latest), "{what}: a root of nothing"),
            Err(_) => errors += 1,
        }
        let (root, leaves) = self.roots[self.roots.len() - 1];
        for number in (0..leaves).step_by(3) {
            let mut tree = StateTree::new(&store);
            let at = tree.open(root);
            match tree.get(at, &key(number)) {
                Ok(found) => assert_eq!(found, value(number), "{what}: leaf {number} is wrong"),
                Err(_) => errors += 1,
            }
        }
        for commit in 0..COMMITS.len() {
            let code = program(commit as u64);
            match store.program(&linear_hash(&code)) {
                Ok(Some(found)) => assert_eq!(found, code, "{what}: program {commit} is wrong"),
                Ok(None) | Err(_) => errors += 1,
            }
        }
        Some(errors)
    }
}

#[test]
fn a_changed_bit_anywhere_is_an_error_or_nothing_and_never_a_wrong_value() {
    let (sample, folder) = (Sample::new(), folder());
    sample.lay_out(folder.path(), "", &[]);
    assert_eq!(sample.check(folder.path(), "whole"), Some(0));
    let mut random = 19_u64;
    let (mut refused, mut with_errors, mut unnoticed) = (0, 0, 0);
    for flip in 0..FLIPS {
        let name = if flip % 2 == 0 { "nodes-1.log" } else { "state.redb" };
        let mut content = sample.files[Path::new(name)].clone();
        // Knuth's generator: its upper bits will do.
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bit = (random >> 20) as usize % (content.len() * 8);
        content[bit / 8] ^= 1 << (bit % 8);
        sample.lay_out(folder.path(), name, &content);
        match sample.check(folder.path(), &format!("bit {bit} of {name}")) {
            None => refused += 1,
            Some(0) => unnoticed += 1,
            Some(_) => with_errors += 1,
        }
    }
    eprintln!(
        "of {FLIPS} changed bits {refused} refused the start, {with_errors} made reads fail, {unnoticed} did not matter"
    );
    assert!(refused > 0 && with_errors > 0);
}

#[test]
fn a_log_cut_at_each_byte_of_its_last_two_groups_starts_with_what_is_whole_or_not_at_all() {
    let (sample, folder) = (Sample::new(), folder());
    let ends = &sample.group_ends;
    let first = ends[ends.len() - 3];
    for cut in first..=sample.log().len() {
        sample.lay_out(folder.path(), "nodes-1.log", &sample.log()[..cut]);
        // Each byte is opened; a tenth of them is read as well.
        if cut % 10 == 0 || ends.contains(&cut) {
            sample.check(folder.path(), &format!("cut to {cut}"));
        }
        let database = open(folder.path()).unwrap_or_else(|error| panic!("cut to {cut}: {error}"));
        let whole = ends.iter().rposition(|end| *end <= cut).unwrap();
        assert_eq!(database.latest_root(), Ok(sample.roots[whole].0), "cut to {cut}");
        drop(database);
        assert_eq!(fs::read(folder.path().join("nodes-1.log")).unwrap(), sample.log()[..cut], "cut to {cut}");
    }
}

/// Wherever one bit of the log is another: a rebuild that is told to pass over it loses the record it is in and nothing else.
#[test]
fn a_rebuild_around_damage_keeps_every_other_record() {
    let (sample, folder) = (Sample::new(), folder());
    let log = || fs::read(folder.path().join("nodes-1.log")).unwrap();
    let index = folder.path().join("state.redb");
    sample.lay_out(folder.path(), "", &[]);
    let rebuild = || EmbeddedDatabase::rebuild(folder.path(), CACHE_BYTES, |_, _| {});
    let around = || EmbeddedDatabase::rebuild_around_damage(folder.path(), CACHE_BYTES, |_, _| {});
    let (whole, again) = (rebuild().unwrap(), around().unwrap());
    assert_eq!((whole.nodes, whole.programs, whole.latest_root), (again.nodes, again.programs, again.latest_root));
    assert!(whole.damaged.is_empty() && again.damaged.is_empty());
    // Mark, length and root of a group; a first record; a program, its length and its content; the checksum.
    let mut bits: Vec<usize> = Vec::new();
    for end in [&[16][..], &sample.group_ends].concat() {
        bits.extend([0, 9, 20, 48, 50, 90].map(|at| (end + at) * 8 + 3));
        bits.extend([2, 100, 300, 345, 349, 360, 383].map(|at| end.saturating_sub(at) * 8 + 6));
    }
    for bit in bits.into_iter().filter(|bit| (16 * 8..sample.log().len() * 8).contains(bit)) {
        let what = format!("bit {bit}");
        let mut damaged = sample.log().to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        sample.lay_out(folder.path(), "nodes-1.log", &damaged);
        let refused = rebuild().expect_err(&what).to_string();
        assert!(refused.contains("nodes-1.log") && refused.contains("--skip-damaged"), "{what}: {refused}");
        let rebuilt = around().unwrap_or_else(|error| panic!("{what}: {error}"));
        let lost = (whole.nodes + whole.programs) - (rebuilt.nodes + rebuilt.programs);
        assert!(lost <= 1, "{what}: {lost} records are gone: {rebuilt:?}");
        let [part] = &rebuilt.damaged[..] else { panic!("{what}: {rebuilt:?}") };
        assert!((part.offset..part.offset + part.bytes).contains(&(bit as u64 / 8)), "{what}: {part:?}");
        assert_eq!(log(), damaged, "{what}: the log is another");
        sample.check(folder.path(), &what).unwrap();
        // The server goes on behind it.
        let set = WriteSet { programs: vec![(linear_hash(b"new"), Bytes::from_static(b"new"))], ..WriteSet::default() };
        open(folder.path()).unwrap().commit(&[&set]).unwrap();
        assert_eq!(
            open(folder.path()).unwrap().program(&linear_hash(b"new")).unwrap(),
            Some(set.programs[0].1.clone())
        );
        assert_eq!(log()[..damaged.len()], damaged, "{what}: the log was written over");
        fs::remove_file(&index).unwrap();
        for entry in fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.to_string_lossy().contains("before") {
                fs::remove_file(entry).unwrap();
            }
        }
    }
}

fn state(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zkevm-executor"));
    command.args(arguments).arg("--data").arg(folder).output().unwrap()
}

#[test]
fn a_server_without_its_index_refuses_to_start_until_the_index_is_rebuilt() {
    let (sample, folder) = (Sample::new(), folder());
    let index = folder.path().join("state.redb");
    for missing in [true, false] {
        sample.lay_out(folder.path(), "state.redb", &[]);
        if missing {
            fs::remove_file(&index).unwrap();
        }
        for arguments in [&["state", "check"][..], &["serve", "--port", "0", "--hashdb-port", "0", "--http-port", "0"]]
        {
            let output = state(folder.path(), arguments);
            let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
            assert_eq!(output.status.code(), Some(1), "{text}");
            for part in ["state.redb", "nodes-1.log", "zkevm-executor state rebuild", "nothing was changed"] {
                assert!(text.contains(part), "{part:?} is not in {text}");
            }
            assert_eq!(fs::read(folder.path().join("nodes-1.log")).unwrap(), sample.log());
            assert_eq!(index.exists(), !missing);
        }
        let output = state(folder.path(), &["state", "rebuild"]);
        let text = String::from_utf8_lossy(&output.stdout);
        let (root, _) = sample.roots[sample.roots.len() - 1];
        assert!(output.status.success() && text.contains(&root.to_b256().to_string()), "{text}");
        let output = state(folder.path(), &["state", "check"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains(&format!("leaves    {}", COMMITS.iter().sum::<u64>())),
            "{text}"
        );
        assert_eq!(sample.check(folder.path(), "rebuilt"), Some(0));
    }
}
