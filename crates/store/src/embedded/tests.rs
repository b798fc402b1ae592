use redb::TableDefinition;

use super::files::{FILE_NAME, LOG, LOG_FORMAT};
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
    let transaction = database.indexed_log.redb.begin_write().unwrap();
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
    for part in parts.iter().chain(&["format version 1", "store.path"]) {
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
    set_version(1);
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
    // The nodes of a database whose index is gone are not written over.
    std::fs::write(&path, []).unwrap();
    assert_sentence(&refused(folder.path()), &["nodes-1.log", "no index names it"]);
}
