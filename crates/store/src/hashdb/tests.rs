use super::*;
use crate::{DurableOptions, MemoryLimits};
use zkevm_tree::poseidon::linear_hash;

const UUID: &str = "one";

fn database() -> HashDb {
    database_with(SessionLimits::default())
}

fn database_with(limits: SessionLimits) -> HashDb {
    let memory = MemoryLimits { volatile_bytes_max: 1 << 24, permanent_bytes_max: 1 << 24 };
    HashDb::new(Arc::new(StateStore::in_memory(memory)), limits, false)
}

fn key(number: u64) -> Digest {
    Digest([number, 3, 5, 7])
}

fn call(root: Digest, number: u64, value: u64, batch_uuid: &str) -> SetCall<'_> {
    let value = U256::from(value);
    SetCall {
        root,
        key: key(number),
        value,
        persistence: Persistence::Database,
        batch_uuid,
        position: Position::default(),
    }
}

fn set(database: &HashDb, root: Digest, number: u64, value: u64) -> Digest {
    database.set(&call(root, number, value, UUID)).unwrap().0.new_root
}

fn value(database: &HashDb, root: Digest, number: u64, uuid: &str) -> Result<u64, HashDbError> {
    database.get(root, &key(number), uuid).0.map(|details| details.value.to())
}

fn is_missing(result: Result<u64, HashDbError>) -> bool {
    matches!(result, Err(HashDbError::Tree(TreeError::MissingNode(_))))
}

#[test]
fn a_session_is_invisible_until_its_flush() {
    let database = database();
    database.start_block(UUID).unwrap();
    let first = set(&database, Digest::ZERO, 1, 10);
    let second = set(&database, first, 2, 20);
    assert_eq!(value(&database, second, 1, UUID), Ok(10));
    assert!(is_missing(value(&database, second, 1, "")));
    assert!(is_missing(value(&database, second, 1, "another")));
    database.finish_block(UUID, second, Persistence::Database).unwrap();
    let ids = database.flush(UUID, Some(second), Persistence::Database).unwrap();
    assert_eq!(ids, FlushIds { flush_id: 1, stored_flush_id: 1 });
    assert_eq!(value(&database, second, 2, ""), Ok(20));
    assert_eq!(value(&database, first, 1, ""), Ok(10), "roots in between stay readable");
    assert_eq!(database.store().latest_root().unwrap(), second);
    assert_eq!(database.finish_tx(UUID, second, Persistence::Database), Err(SessionError::Unknown.into()));
}

#[test]
fn a_flush_without_root_keeps_what_was_written_and_the_first_root_drops_it() {
    let database = database();
    let root = set(&database, Digest::ZERO, 1, 10);
    database.flush(UUID, None, Persistence::Database).unwrap();
    assert_eq!(value(&database, root, 1, ""), Ok(10));
    let dropped = set(&database, root, 1, 11);
    database.flush(UUID, Some(root), Persistence::Database).unwrap();
    assert!(is_missing(value(&database, dropped, 1, "")));
    assert_eq!(database.store().latest_root().unwrap(), root);
    assert_eq!(database.flush("", None, Persistence::Database).unwrap().flush_id, 3);
}

#[test]
fn a_transaction_finished_with_an_earlier_root_is_undone() {
    let database = database();
    let first = set(&database, Digest::ZERO, 1, 10);
    let undone = set(&database, first, 1, 11);
    database.finish_tx(UUID, first, Persistence::Database).unwrap();
    assert_eq!(value(&database, undone, 1, UUID), Ok(11), "readable as long as the session lives");
    let last = set(&database, first, 2, 20);
    database.finish_tx(UUID, last, Persistence::Database).unwrap();
    database.flush(UUID, Some(last), Persistence::Database).unwrap();
    assert_eq!(value(&database, last, 1, ""), Ok(10));
    assert_eq!(value(&database, last, 2, ""), Ok(20));
    assert!(is_missing(value(&database, undone, 1, "")));
}

#[test]
fn a_block_finished_with_its_first_root_is_undone_and_earlier_blocks_stay() {
    let database = database();
    let first = set(&database, Digest::ZERO, 1, 10);
    let mut second = call(first, 1, 11, UUID);
    second.position = Position { block: 1, tx: 2 };
    let undone = database.set(&second).unwrap().0.new_root;
    database.finish_block(UUID, first, Persistence::Database).unwrap();
    database.flush(UUID, Some(first), Persistence::Database).unwrap();
    assert_eq!(value(&database, first, 1, ""), Ok(10));
    assert!(is_missing(value(&database, undone, 1, "")));
}

#[test]
fn writes_that_form_no_chain_are_refused_at_the_flush_and_the_session_stays() {
    let database = database();
    let other = database.set(&call(Digest::ZERO, 9, 9, "")).unwrap().0.new_root;
    let first = set(&database, Digest::ZERO, 1, 10);
    let stray = set(&database, other, 2, 20);
    let refused = database.flush(UUID, Some(stray), Persistence::Database);
    assert_eq!(refused, Err(SessionError::Broken.into()));
    assert_eq!(value(&database, first, 1, UUID), Ok(10));
    database.cancel(UUID).unwrap();
    assert!(is_missing(value(&database, first, 1, UUID)));
    assert_eq!(database.cancel(UUID), Err(SessionError::Unknown.into()));
}

#[test]
fn a_write_at_an_unknown_root_fails_and_spoils_nothing() {
    let database = database();
    let first = set(&database, Digest::ZERO, 1, 10);
    let unknown = Digest([1; 4]);
    assert!(database.set(&call(unknown, 1, 1, UUID)).is_err());
    let second = set(&database, first, 2, 20);
    database.flush(UUID, Some(second), Persistence::Database).unwrap();
    assert_eq!(value(&database, second, 2, ""), Ok(20));
}

#[test]
fn temporary_writes_end_with_the_session() {
    let database = database();
    let mut temporary = call(Digest::ZERO, 1, 10, UUID);
    temporary.persistence = Persistence::Temporary;
    let touched = database.set(&temporary).unwrap().0.new_root;
    let root = set(&database, Digest::ZERO, 2, 20);
    assert_eq!(value(&database, touched, 1, UUID), Ok(10));
    database.flush(UUID, Some(root), Persistence::Database).unwrap();
    assert!(is_missing(value(&database, touched, 1, "")));
    assert_eq!(value(&database, root, 2, ""), Ok(20));
}

#[test]
fn programs_are_kept_however_they_come() {
    let database = database();
    let (here, late) = (Position::default(), Position { block: 1, tx: 0 });
    let code = |byte: u8| Bytes::copy_from_slice(&[byte]);
    let hash = |byte: u8| linear_hash(&[byte]);
    let put = |byte, uuid: &str, position| {
        database.set_program(hash(byte), code(byte), Persistence::Database, uuid, position)
    };
    put(1, UUID, here).unwrap();
    assert_eq!(put(2, UUID, late), Err(SessionError::Position.into()));
    put(3, "", late).unwrap();
    assert_eq!(database.program(&hash(1), ""), Ok(None));
    assert_eq!(database.program(&hash(1), UUID), Ok(Some(code(1))));
    assert_eq!(database.program(&hash(3), ""), Ok(Some(code(3))));
    database.flush(UUID, None, Persistence::Cache).unwrap();
    assert_eq!(database.program(&hash(1), ""), Ok(Some(code(1))));
}

#[test]
fn a_program_under_a_hash_it_does_not_have_is_refused_and_counted() {
    let database = database();
    let (right, other) = (Bytes::from_static(&[0x60, 0x2a]), Bytes::from_static(&[0x60, 0x66]));
    let hash = linear_hash(&right);
    for uuid in ["", UUID] {
        for persistence in [Persistence::Cache, Persistence::Database, Persistence::Temporary] {
            let answer = database.set_program(hash, other.clone(), persistence, uuid, Position::default());
            assert_eq!(answer, Err(HashDbError::HashMismatch(hash)));
            assert_eq!(answer.unwrap_err().result_code(), 4);
            assert_eq!(database.program(&hash, uuid), Ok(None));
        }
    }
    database.set_program(hash, right.clone(), Persistence::Database, "", Position::default()).unwrap();
    database.set_program(hash, other, Persistence::Database, "", Position::default()).unwrap_err();
    assert_eq!(database.program(&hash, ""), Ok(Some(right)));
    assert_eq!(database.store().stats().integrity.refused_entries, 7);
}

#[test]
fn entries_are_loaded_only_with_the_hash_they_claim() {
    let database = database();
    let mut node = vec![7; 8];
    let hash = zkevm_tree::poseidon::hash(&[7; 8], &[0; 4]);
    let code = Bytes::from_static(&[1, 2]);
    let program = zkevm_tree::linear_hash(&code);
    let load = |node: &Vec<u64>, code: &Bytes| {
        let (nodes, programs) = (BTreeMap::from([(hash, node.clone())]), BTreeMap::from([(program, code.clone())]));
        database.load(&nodes, &programs, Durability::Permanent)
    };
    assert_eq!(load(&node, &Bytes::new()), Err(HashDbError::HashMismatch(program)));
    assert_eq!(database.store().node(&hash), Ok(None));
    load(&node, &code).unwrap();
    assert_eq!(database.store().node(&hash).unwrap().unwrap()[7..9], [7, 0]);
    node.pop();
    assert_eq!(load(&node, &code), Err(HashDbError::HashMismatch(hash)));
}

#[test]
fn sessions_have_bounds_and_idle_ones_give_way() {
    let limits = SessionLimits { sessions_max: 2, bytes_max: 4000, idle_max: Duration::ZERO };
    let database = database_with(limits);
    database.start_block("a").unwrap();
    database.start_block("b").unwrap();
    std::thread::sleep(Duration::from_millis(2));
    database.start_block("c").unwrap();
    assert_eq!(database.sessions.expired(), 2);
    let mut root = Digest::ZERO;
    let full = (0..20).find_map(|number| match database.set(&call(root, number, 1, "c")) {
        Ok((details, _)) => {
            root = details.new_root;
            None
        }
        Err(error) => Some(error),
    });
    assert_eq!(full, Some(SessionError::Full.into()));
    database.cancel("c").unwrap();
    database.set(&call(Digest::ZERO, 1, 1, "d")).unwrap();
}

/// Writes that make no nodes, and far positions, take memory too.
#[test]
fn steps_blocks_and_transactions_count_and_what_is_refused_does_not() {
    let database = database_with(SessionLimits { bytes_max: 10_000, ..SessionLimits::default() });
    let root = set(&database, Digest::ZERO, 1, 10);
    let mut far = call(root, 1, 10, UUID);
    for (block, tx, error) in [(1 << 16, 0, SessionError::Position), (0, 60_000, SessionError::Full)] {
        far.position = Position { block, tx };
        for _ in 0..20 {
            assert_eq!(database.set(&far).unwrap_err(), error.into());
        }
    }
    let same = call(root, 1, 10, UUID);
    let written = (0..200).take_while(|_| database.set(&same).is_ok()).count();
    assert!((1..100).contains(&written), "{written} writes of the same value");
    assert_eq!(database.set(&same).unwrap_err(), SessionError::Full.into());
    database.cancel(UUID).unwrap();
    let started = (0..1000).take_while(|_| database.start_block(UUID).is_ok()).count();
    assert!(started < 1000, "{started} blocks");
}

#[test]
fn a_reset_must_be_enabled() {
    let database = database();
    assert_eq!(database.reset(), Err(HashDbError::ResetDisabled));
    let enabled = HashDb { allow_reset: true, ..database };
    let root = enabled.set(&call(Digest::ZERO, 1, 1, "")).unwrap().0.new_root;
    enabled.reset().unwrap();
    assert!(is_missing(value(&enabled, root, 1, "")));
}

#[test]
fn reads_and_writes_report_the_nodes_they_needed() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Arc::new(crate::EmbeddedDatabase::open(folder.path(), 1 << 20, Duration::ZERO).unwrap());
    let options = DurableOptions { volatile_bytes_max: 1 << 20, cache_bytes_max: 1 << 20, queue: Default::default() };
    let store = Arc::new(StateStore::over(embedded, options).unwrap());
    let database = HashDb::new(store, SessionLimits::default(), false);
    let root = database.set(&call(Digest::ZERO, 1, 1, "")).unwrap().0.new_root;
    let (details, log) = database.set(&call(root, 2, 2, "")).unwrap();
    assert_eq!(log.len(), 2, "leaf and value");
    let (values, log) = database.read_tree(details.new_root, &[key(1), key(2), key(3)]);
    assert_eq!(values, Ok(vec![U256::from(1), U256::from(2), U256::ZERO]));
    assert!(log.iter().all(|(hash, node)| zkevm_tree::poseidon::hash_node(node) == *hash));
    let (_, log) = database.get(details.new_root, &key(1), "");
    assert!(log.contains_key(&details.new_root));
}
