use redb::TableDefinition;

use super::files::{FILE_NAME, LOG, LOG_FORMAT};
use super::version::{FORMAT_VERSION, FORMAT_VERSION_BEFORE};
use super::*;

fn set(number: u64) -> WriteSet {
    let mut leaf = [number; 12];
    leaf[8..].copy_from_slice(&[1, 0, 0, 0]);
    let mut branch = [number; 12];
    branch[8..].fill(0);
    WriteSet {
        nodes: vec![(Digest([number, 0, 0, 1]), leaf), (Digest([number, 0, 0, 2]), branch)],
        programs: vec![(Digest([number, 0, 0, 3]), Bytes::copy_from_slice(&[number as u8; 3]))],
        latest_root: Some(Digest([number, 0, 0, 1])),
    }
}

fn assert_holds(database: &EmbeddedDatabase, set: &WriteSet) {
    for (hash, node) in &set.nodes {
        assert_eq!(database.node(hash), Ok(Some(*node)));
    }
    for (hash, code) in &set.programs {
        assert_eq!(database.program(hash), Ok(Some(code.clone())));
    }
}

#[test]
fn what_was_committed_is_there_after_opening_again() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (set(1), set(2));
    {
        let database = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).unwrap();
        assert_eq!(database.latest_root(), Ok(Digest::ZERO));
        database.commit(&[&first, &second]).unwrap();
        database.commit(&[&first, &WriteSet { latest_root: None, ..first.clone() }]).unwrap();
        assert_holds(&database, &second);
    }
    let database = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).unwrap();
    assert_holds(&database, &first);
    assert_holds(&database, &second);
    assert_eq!(database.node(&Digest([9; 4])), Ok(None));
    assert_eq!(database.latest_root(), Ok(Digest([1, 0, 0, 1])));
    database.clear().unwrap();
    assert_eq!(database.node(&first.nodes[0].0), Ok(None));
    assert_eq!(database.latest_root(), Ok(Digest::ZERO));
    database.commit(&[&second]).unwrap();
    drop(database);
    let database = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).unwrap();
    assert_holds(&database, &second);
    assert_eq!(database.node(&first.nodes[0].0), Ok(None));
}

fn open(folder: &Path, recent_max: usize) -> EmbeddedDatabase {
    EmbeddedDatabase::open_with(folder, 1 << 20, recent_max, Duration::ZERO).unwrap()
}

/// Nodes whose first limbs are those of sixteen others.
fn colliding(numbers: std::ops::Range<u64>) -> WriteSet {
    let node = |number| (Digest([number, 1, 2, number % 16]), [number; 12]);
    WriteSet { nodes: numbers.map(node).collect(), ..WriteSet::default() }
}

#[test]
fn nodes_stay_apart_and_readable_on_their_way_into_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let all: Vec<_> = (0..40).map(|step| colliding(step * 7..step * 7 + 9)).collect();
    {
        let database = open(folder.path(), 20);
        for (number, set) in all.iter().enumerate() {
            database.commit(&[set]).unwrap();
            all[..=number].iter().for_each(|set| assert_holds(&database, set));
        }
        let snapshot = database.indexed_log.snapshot.read();
        assert!(snapshot.recent.len() <= 40, "{} offsets wait", snapshot.recent.len());
    }
    let database = open(folder.path(), 20);
    all.iter().for_each(|set| assert_holds(&database, set));
    assert_eq!(database.node(&Digest([9_999, 1, 2, 3])), Ok(None), "a collision with others that was never written");
}

#[test]
fn what_a_kill_left_out_of_the_index_is_read_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let sets: Vec<_> = (0..5).map(|step| colliding(step * 10..step * 10 + 10)).collect();
    {
        let database = open(folder.path(), 1000);
        database.commit(&sets.iter().collect::<Vec<_>>()).unwrap();
        database.commit(&[&set(1)]).unwrap();
    }
    // A commit that a kill cut short.
    let path = log_path(folder.path(), 1);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..], &whole[16..100]].concat()).unwrap();
    let database = open(folder.path(), 1000);
    sets.iter().for_each(|set| assert_holds(&database, set));
    assert_eq!(database.latest_root(), Ok(Digest([1, 0, 0, 1])));
    database.commit(&sets.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(database.writer.lock().end, whole.len() as u64, "the latest nodes are not written again");
    database.commit(&[&set(2)]).unwrap();
    drop(database);
    assert_holds(&open(folder.path(), 1), &set(2));
    std::fs::remove_file(&path).unwrap();
    let error = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).err().unwrap().to_string();
    assert!(error.contains("nodes-1.log"), "{error}");
}

#[test]
fn an_index_that_cannot_be_written_holds_writes_up_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path(), 10);
    // Nobody else can write to redb as long as this lasts.
    let transaction = database.indexed_log.index.hold();
    let sets: Vec<_> = (0..3).map(|step| colliding(step * 10..step * 10 + 10)).collect();
    sets.iter().for_each(|set| database.commit(&[set]).unwrap());
    std::thread::scope(|scope| {
        let late = scope.spawn(|| database.commit(&[&set(7)]));
        std::thread::sleep(Duration::from_millis(50));
        assert!(!late.is_finished(), "there are twice as many offsets as there should be");
        sets.iter().for_each(|set| assert_holds(&database, set));
        drop(transaction);
        late.join().unwrap().unwrap();
    });
    assert_holds(&database, &set(7));
}

#[test]
fn a_database_that_is_open_elsewhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let _open = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).unwrap();
    let error = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).err().unwrap().to_string();
    assert!(error.contains("state.redb") && error.contains("already open"), "{error}");
}

/// The sentence that a folder is refused with; its files must stay what they are.
fn refused(folder: &Path) -> String {
    let files = || -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        // Opening a redb file marks it as open.
        let mut files: Vec<_> = entries.filter(|path| !is_redb(path)).collect();
        files.sort();
        files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
    };
    let before = files();
    let error = EmbeddedDatabase::open(folder, 1 << 20, Duration::ZERO).err().unwrap().to_string();
    assert_eq!(files(), before, "{error}");
    error
}

/// True if redb opened the file, which it marks, or will make a database of it.
fn is_redb(path: &Path) -> bool {
    let content = std::fs::read(path).unwrap();
    content.starts_with(b"redb") || (content.is_empty() && path.ends_with(FILE_NAME))
}

fn assert_sentence(error: &str, parts: &[&str]) {
    for part in parts.iter().chain(&["format version 2", "store.path"]) {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

fn redb_with<T>(folder: &Path, write: impl FnOnce(&redb::WriteTransaction) -> T) {
    let redb = redb::Database::create(folder.join(FILE_NAME)).unwrap();
    let transaction = redb.begin_write().unwrap();
    write(&transaction);
    transaction.commit().unwrap();
}

#[test]
fn a_database_of_another_format_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), 10).commit(&[&set(1)]).unwrap();
    let set_version = |version: u64| {
        redb_with(folder.path(), |transaction| {
            transaction.open_table(LOG).unwrap().insert(LOG_FORMAT, version).unwrap();
        });
    };
    set_version(7);
    assert_sentence(&refused(folder.path()), &["state.redb", "has format version 7"]);
    set_version(FORMAT_VERSION);
    assert_holds(&open(folder.path(), 10), &set(1));

    let path = log_path(folder.path(), 1);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [b"zkevm-nodes v12\r", &whole[16..]].concat()).unwrap();
    assert_sentence(&refused(folder.path()), &["nodes-1.log", "has format version 12"]);
    std::fs::write(&path, [b"something else\r\n", &whole[16..]].concat()).unwrap();
    assert_sentence(&refused(folder.path()), &["nodes-1.log", "not a log of nodes"]);
    std::fs::write(&path, []).unwrap();
    assert_sentence(&refused(folder.path()), &["nodes-1.log", "empty"]);
    std::fs::write(&path, whole).unwrap();
    assert_holds(&open(folder.path(), 10), &set(1));
}

#[test]
fn a_database_without_a_format_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    redb_with(folder.path(), |transaction| {
        let mut log = transaction.open_table(LOG).unwrap();
        log.insert("number", 1).unwrap();
        log.insert("indexed", 16).unwrap();
    });
    assert_sentence(&refused(folder.path()), &["state.redb", "no format version"]);

    let folder = tempfile::tempdir().unwrap();
    let foreign: TableDefinition<&str, &str> = TableDefinition::new("of another program");
    redb_with(folder.path(), |transaction| {
        transaction.open_table(foreign).unwrap().insert("key", "value").unwrap();
    });
    assert_sentence(&refused(folder.path()), &["state.redb", "no format version"]);
    assert!(!log_path(folder.path(), 1).exists());
}

#[test]
fn foreign_files_are_refused_and_an_empty_one_is_a_new_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    for content in [&b"x"[..], &[b'x'; 10_000]] {
        std::fs::write(&path, content).unwrap();
        assert_sentence(&refused(folder.path()), &["state.redb", "not a database of redb"]);
    }
    // A kill while it was made.
    std::fs::write(&path, []).unwrap();
    std::fs::write(log_path(folder.path(), 1), b"zkevm-nod").unwrap();
    let database = open(folder.path(), 10);
    database.commit(&[&set(1)]).unwrap();
    drop(database);
    assert_holds(&open(folder.path(), 10), &set(1));
    assert_eq!(std::fs::read(log_path(folder.path(), 1)).unwrap(), b"zkevm-nod", "what is there is left alone");
    assert!(log_path(folder.path(), 2).exists());
}

#[test]
fn an_index_that_is_missing_or_empty_beside_a_log_is_refused_and_made_again_from_it() {
    let folder = tempfile::tempdir().unwrap();
    let sets: Vec<_> = (0..40).map(|step| colliding(step * 7..step * 7 + 9)).collect();
    {
        let database = open(folder.path(), 20);
        sets.iter().for_each(|set| database.commit(&[set]).unwrap());
        database.commit(&[&set(1), &set(2)]).unwrap();
    }
    let (index, log) = (folder.path().join(FILE_NAME), log_path(folder.path(), 1));
    let backup = folder.path().join("nodes-1-backup-2026.log");
    std::fs::copy(&log, &backup).unwrap();
    let whole = std::fs::read(&log).unwrap();
    let rebuild = || EmbeddedDatabase::rebuild(folder.path(), 1 << 20, |done, all| assert!(done <= all));
    let make = |content: Option<&[u8]>| match content {
        None => std::fs::remove_file(&index).unwrap(),
        Some(content) => std::fs::write(&index, content).unwrap(),
    };
    for content in [None, Some(&[][..]), Some(b"of something else"), Some(&whole)] {
        make(content);
        let before = std::fs::read(&index).ok();
        let error = EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).err().unwrap().to_string();
        assert!(error.contains(FILE_NAME) && error.contains("nothing was changed"), "{error}");
        assert_eq!(std::fs::read(&index).ok(), before);
        if content.is_none_or(<[u8]>::is_empty) {
            assert!(error.contains("nodes-1.log") && error.contains("zkevm-executor state rebuild"), "{error}");
        }
        let rebuilt = rebuild().unwrap();
        assert_eq!((rebuilt.latest_root, rebuilt.programs, rebuilt.log), (Digest([2, 0, 0, 1]), 2, log.clone()));
        assert_eq!(rebuilt.before.is_some(), content.is_some());
        assert_eq!(rebuilt.before.map(|path| std::fs::read(path).unwrap()), before, "the file before is kept");
        let database = open(folder.path(), 20);
        sets.iter().chain([&set(1), &set(2)]).for_each(|set| assert_holds(&database, set));
        assert_eq!(database.latest_root(), Ok(Digest([2, 0, 0, 1])));
        assert!(rebuild().unwrap_err().to_string().contains("already open"));
        drop(database);
        assert_eq!((std::fs::read(&log).unwrap(), std::fs::read(&backup).unwrap()), (whole.clone(), whole.clone()));
    }
    std::fs::copy(&log, log_path(folder.path(), 7)).unwrap();
    let error = rebuild().unwrap_err().to_string();
    assert!(error.contains("nodes-1.log") && error.contains("nodes-7.log"), "{error}");
}

#[test]
fn an_older_index_catches_up_with_nodes_and_programs() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), 10).commit(&[&colliding(0..30), &set(1)]).unwrap();
    let older = std::fs::read(folder.path().join(FILE_NAME)).unwrap();
    open(folder.path(), 10).commit(&[&colliding(30..60), &set(2)]).unwrap();
    open(folder.path(), 10).commit(&[&colliding(60..90), &set(3)]).unwrap();
    std::fs::write(folder.path().join(FILE_NAME), older).unwrap();
    let database = open(folder.path(), 10);
    [colliding(0..90), set(1), set(2), set(3)].iter().for_each(|set| assert_holds(&database, set));
    assert_eq!(database.latest_root(), Ok(Digest([3, 0, 0, 1])));
}

#[test]
fn an_index_is_opened_again_after_an_io_error() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path(), 20);
    database.commit(&[&colliding(0..100), &set(1)]).unwrap();
    for round in 2..5 {
        database.indexed_log.index.fail();
        // Opened again at once, or not tried so soon after the time before.
        if let Err(error) = database.program(&Digest([1, 0, 0, 3])) {
            let error = error.to_string();
            assert!(error.contains(FILE_NAME) && error.contains("No space left"), "{error}");
        }
        let limit = Instant::now() + Duration::from_secs(10);
        while database.probe().is_err() {
            assert!(Instant::now() < limit, "the index is not opened again");
            std::thread::sleep(Duration::from_millis(20));
        }
        // What was on its way into the index may have failed with it; the writer tries again.
        let sets = [&colliding(100 * round..100 * round + 50), &set(round)];
        while let Err(error) = database.commit(&sets) {
            assert!(Instant::now() < limit, "{error}");
        }
        assert_holds(&database, &colliding(0..100));
        (1..=round).for_each(|number| assert_holds(&database, &set(number)));
    }
    drop(database);
    let database = open(folder.path(), 20);
    (1..5).for_each(|number| assert_holds(&database, &set(number)));
}

#[test]
fn a_database_of_the_version_before_gets_its_programs_into_the_log() {
    let folder = tempfile::tempdir().unwrap();
    open(folder.path(), 10).commit(&[&colliding(0..30), &set(1)]).unwrap();
    // As the version before left it: a log without programs and without checksums of records, and its mark.
    let log = log_path(folder.path(), 1);
    std::fs::remove_file(folder.path().join(FILE_NAME)).unwrap();
    let nodes: Vec<([u8; 32], NodeData)> =
        colliding(0..30).nodes.iter().map(|(hash, node)| (hash_bytes(hash), *node)).collect();
    std::fs::write(&log, log_of_the_version_before(&nodes)).unwrap();
    EmbeddedDatabase::rebuild(folder.path(), 1 << 20, |_, _| {}).unwrap();
    redb_with(folder.path(), |transaction| {
        transaction.open_table(LOG).unwrap().insert(LOG_FORMAT, FORMAT_VERSION_BEFORE).unwrap();
        transaction
            .open_table(PROGRAMS)
            .unwrap()
            .insert(&hash_bytes(&Digest([1, 0, 0, 3])), &[1_u8, 1, 1][..])
            .unwrap();
    });
    let programs = WriteSet { programs: set(1).programs, ..WriteSet::default() };
    assert_holds(&open(folder.path(), 10), &programs);
    assert!(std::fs::read(&log).unwrap().starts_with(b"zkevm-nodes v2\r\n"));
    std::fs::remove_file(folder.path().join(FILE_NAME)).unwrap();
    let rebuilt = EmbeddedDatabase::rebuild(folder.path(), 1 << 20, |_, _| {}).unwrap();
    assert_eq!((rebuilt.nodes, rebuilt.programs), (30, 1));
    assert_holds(&open(folder.path(), 10), &programs);
    // Without a checksum of its own a record is hashed.
    let error = open(folder.path(), 10).node(&Digest([3, 1, 2, 3])).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

/// One group with these nodes, in format version 1.
fn log_of_the_version_before(nodes: &[([u8; 32], NodeData)]) -> Vec<u8> {
    let mut records = Vec::new();
    for (hash, node) in nodes {
        records.push(96);
        records.extend_from_slice(hash);
        records.extend_from_slice(&crate::encoding::node_bytes(node));
    }
    let mut group =
        [&[0xff, 0xff, 0xff, 0xff, 0xfe][..], b"log", &(records.len() as u64).to_le_bytes(), &[0xff; 32]].concat();
    group.extend_from_slice(&records);
    let checksum = crc32fast::hash(&group).to_le_bytes();
    [b"zkevm-nodes v1\r\n", &group[..], &checksum].concat()
}

#[test]
fn a_damaged_node_is_an_error_that_names_its_place_until_it_is_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let (set, others) = (colliding(0..1), colliding(1..40));
    open(folder.path(), 10).commit(&[&set, &others]).unwrap();
    let log = log_path(folder.path(), 1);
    let damage = || {
        let mut content = std::fs::read(&log).unwrap();
        let hash = hash_bytes(&set.nodes[0].0);
        let record = content.windows(32).rposition(|window| window == hash).unwrap();
        content[record + 40] ^= 4;
        std::fs::write(&log, content).unwrap();
    };
    // Into the index, so that the group is not read when the database is opened.
    std::fs::remove_file(folder.path().join(FILE_NAME)).unwrap();
    EmbeddedDatabase::rebuild(folder.path(), 1 << 20, |_, _| {}).unwrap();
    damage();
    {
        let database = open(folder.path(), 30);
        let error = database.node(&set.nodes[0].0).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. }) && error.to_string().contains("nodes-1.log, offset"),
            "{error}"
        );
        assert_holds(&database, &others);
        database.commit(&[&set]).unwrap();
        assert_holds(&database, &set);
        // In memory first, and then in the index.
        damage();
        database.node(&set.nodes[0].0).unwrap_err();
        database.commit(&[&set]).unwrap();
        database.commit(&[&colliding(100..140)]).unwrap();
        database.commit(&[&colliding(200..240)]).unwrap();
        assert_holds(&database, &set);
        assert_holds(&database, &others);
    }
    // Nothing that is read at the start is damaged, and the index names what is whole.
    let rest = open(folder.path(), 30);
    assert_holds(&rest, &others);
}
