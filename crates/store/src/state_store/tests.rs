use std::sync::atomic::{AtomicBool, Ordering};

use alloy_primitives::U256;

use super::*;
use zkevm_tree::{StateTree, TreeRef};

const OPTIONS: DurableOptions = DurableOptions {
    volatile_bytes_max: 64 << 20,
    cache_bytes_max: 0,
    queue: QueueLimits { backlog_bytes_max: 1 << 20, group_bytes_max: 1 << 18, wait_max: Duration::from_millis(20) },
};

/// A database in memory that can be told to fail.
#[derive(Default)]
struct Double {
    sets: Mutex<Vec<WriteSet>>,
    failing: AtomicBool,
    slow: AtomicBool,
}

impl StateReader for Double {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let sets = self.sets.lock();
        Ok(sets.iter().flat_map(|set| &set.nodes).find(|(known, _)| known == hash).map(|(_, node)| *node))
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        let sets = self.sets.lock();
        Ok(sets.iter().flat_map(|set| &set.programs).find(|(known, _)| known == hash).map(|(_, code)| code.clone()))
    }
}

impl Database for Double {
    fn commit(&self, sets: &[&WriteSet]) -> Result<(), StoreError> {
        if self.failing.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable("told to fail".to_owned()));
        }
        if self.slow.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.sets.lock().extend(sets.iter().map(|set| (*set).clone()));
        Ok(())
    }

    fn latest_root(&self) -> Result<Digest, StoreError> {
        Ok(self.sets.lock().iter().rev().find_map(|set| set.latest_root).unwrap_or_default())
    }

    fn clear(&self) -> Result<(), StoreError> {
        self.sets.lock().clear();
        Ok(())
    }

    fn place(&self, entry: Entry<'_>) -> String {
        format!("{entry:?}")
    }
}

fn store() -> (Arc<Double>, StateStore) {
    let database = Arc::new(Double::default());
    let store = StateStore::over(database.clone(), OPTIONS).unwrap();
    (database, store)
}

/// Sets keys one to `count` over a root; returns the new root and its set.
fn update(store: &dyn StateReader, root: Digest, count: u64, value: u64) -> (Digest, WriteSet) {
    let mut tree = StateTree::new(store);
    let at = if root.is_zero() { TreeRef::EMPTY } else { tree.open(root) };
    let mut writes: Vec<_> = (1..=count).map(|key| (Digest([key, key, 7, 7]), U256::from(value << 32 | key))).collect();
    let version = tree.update(at, &mut writes).unwrap();
    let root = tree.root(version);
    (root, WriteSet { nodes: tree.new_nodes(&[version]), latest_root: Some(root), ..WriteSet::default() })
}

fn assert_value(store: &dyn StateReader, root: Digest, key: u64, value: u64) {
    let mut tree = StateTree::new(store);
    let at = tree.open(root);
    assert_eq!(tree.get(at, &Digest([key, key, 7, 7])), Ok(U256::from(value << 32 | key)));
}

#[test]
fn what_is_for_good_is_readable_before_and_after_it_is_stored() {
    let (database, store) = store();
    let (root, set) = update(&store, Digest::ZERO, 20, 1);
    let ids = store.persist(set, Durability::Permanent, 1).unwrap();
    assert_eq!(ids, FlushIds { flush_id: 1, stored_flush_id: 0 });
    assert_eq!(store.latest_root(), Ok(root));
    assert_eq!(database.latest_root(), Ok(Digest::ZERO));
    assert_value(&store, root, 3, 1);
    assert!(matches!(store.write_next(), WriterStep::Stored { .. }));
    assert_eq!(store.flush_status().stored_flush_id, 1);
    assert_eq!(database.latest_root(), Ok(root));
    assert_value(&store, root, 3, 1);
    assert_value(&*database, root, 3, 1);
}

#[test]
fn a_failed_write_keeps_everything_readable_and_is_tried_again() {
    let (database, store) = store();
    database.failing.store(true, Ordering::Relaxed);
    let (first, set) = update(&store, Digest::ZERO, 20, 1);
    store.persist(set, Durability::Permanent, 1).unwrap();
    assert!(matches!(store.write_next(), WriterStep::Failed { flush_id: 1, .. }));
    let (second, set) = update(&store, first, 20, 2);
    store.persist(set, Durability::Permanent, 1).unwrap();
    assert!(matches!(store.write_next(), WriterStep::Failed { flush_id: 1, .. }));
    assert_eq!(store.flush_status().stored_flush_id, 0);
    assert_value(&store, second, 20, 2);
    database.failing.store(false, Ordering::Relaxed);
    assert!(matches!(store.write_next(), WriterStep::Stored { .. }));
    assert!(matches!(store.write_next(), WriterStep::Stored { .. }));
    assert_eq!(store.flush_status().stored_flush_id, 2);
    assert_value(&*database, first, 20, 1);
    assert_value(&*database, second, 20, 2);
    assert!(store.close(Duration::ZERO));
    assert!(matches!(store.write_next(), WriterStep::Closed));
}

#[test]
fn state_for_good_takes_the_volatile_state_it_builds_on_with_it() {
    let (database, store) = store();
    let (genesis, set) = update(&store, Digest::ZERO, 50, 1);
    store.persist(set, Durability::Volatile, 1).unwrap();
    let code = Bytes::from_static(&[1, 2, 3]);
    let program = Digest([5, 6, 7, 8]);
    store
        .persist(WriteSet { programs: vec![(program, code)], ..WriteSet::default() }, Durability::Volatile, 1)
        .unwrap();
    assert_eq!(store.flush_status().stored_flush_id, 2, "volatile state is never waited for");
    let mut tree = StateTree::new(&store);
    let at = tree.open(genesis);
    let version = tree.update(at, &mut [(Digest([1, 1, 7, 7]), program.to_u256())]).unwrap();
    let root = tree.root(version);
    let nodes = tree.new_nodes(&[version]);
    store.persist(WriteSet { nodes, ..WriteSet::default() }, Durability::Permanent, 1).unwrap();
    assert!(matches!(store.write_next(), WriterStep::Stored { .. }));
    (2..=50).for_each(|key| assert_value(&*database, root, key, 1));
    assert!(database.program(&program).unwrap().is_some());
    assert_eq!(database.latest_root(), Ok(Digest::ZERO));
}

#[test]
fn a_full_queue_refuses_and_keeps_nothing_of_what_it_refused() {
    let (database, store) = store();
    database.failing.store(true, Ordering::Relaxed);
    let (_, set) = update(&store, Digest::ZERO, 3000, 1);
    store.persist(set, Durability::Permanent, 1).unwrap();
    let (refused, set) = update(&store, Digest::ZERO, 3000, 2);
    let error = store.persist(set, Durability::Permanent, 1).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert_eq!(store.node(&refused), Ok(None));
    assert_eq!(store.flush_status().last_flush_id, 1);
}

#[test]
fn a_read_only_store_keeps_new_state_volatile_and_counts_no_flushes() {
    let (database, store) = store();
    let store = store.read_only(true);
    let (root, set) = update(&store, Digest::ZERO, 5, 1);
    assert_eq!(store.persist(set, Durability::Permanent, 1), Ok(FlushIds::default()));
    assert_value(&store, root, 5, 1);
    assert_eq!(store.flush_status(), FlushStatus::default());
    assert!(database.sets.lock().is_empty());
    assert_eq!(store.latest_root(), Ok(Digest::ZERO));
}

#[test]
fn clearing_forgets_all() {
    let (_, store) = store();
    let (root, set) = update(&store, Digest::ZERO, 5, 1);
    store.persist(set, Durability::Permanent, 1).unwrap();
    assert!(store.clear(Duration::ZERO).is_err(), "the set is not stored yet");
    store.write_next();
    store.clear(Duration::ZERO).unwrap();
    assert_eq!(store.node(&root), Ok(None));
    assert_eq!(store.latest_root(), Ok(Digest::ZERO));
}

#[test]
fn closing_waits_as_long_as_the_database_gets_on() {
    let limit = Duration::from_millis(400);
    let fill = |store: &StateStore| {
        (0..20).fold(Digest::ZERO, |root, value| {
            let (root, set) = update(store, root, 5, value + 1);
            store.persist(set, Durability::Permanent, 1).unwrap();
            root
        })
    };
    let one_by_one = QueueLimits { group_bytes_max: 1, ..OPTIONS.queue };

    let database = Arc::new(Double::default());
    let store = StateStore::over(database.clone(), DurableOptions { queue: one_by_one, ..OPTIONS }).unwrap();
    database.slow.store(true, Ordering::Relaxed);
    let root = fill(&store);
    std::thread::scope(|scope| {
        scope.spawn(|| while matches!(store.write_next(), WriterStep::Stored { .. }) {});
        assert!(store.close(limit), "a second of work, something every 50 ms");
    });
    assert_eq!(database.latest_root(), Ok(root));

    let (database, store) = self::store();
    database.failing.store(true, Ordering::Relaxed);
    fill(&store);
    assert!(!store.close(Duration::from_millis(10)), "nobody stores anything");
}

/// Changes what the database holds without changing the keys.
fn damage(database: &Double, nodes: bool) {
    for set in database.sets.lock().iter_mut() {
        if nodes {
            set.nodes.iter_mut().for_each(|(_, node)| node[0] ^= 1);
        }
        set.programs.iter_mut().for_each(|(_, code)| *code = Bytes::from_static(&[0x66]));
    }
}

#[test]
fn entries_of_the_database_without_their_hash_are_an_error_and_counted() {
    let (database, store) = store();
    let (root, mut set) = update(&store, Digest::ZERO, 20, 1);
    let program = zkevm_tree::linear_hash(&[0x2a]);
    set.programs.push((program, Bytes::from_static(&[0x2a])));
    let hashes: Vec<Digest> = set.nodes.iter().map(|(hash, _)| *hash).collect();
    store.persist(set, Durability::Permanent, 1).unwrap();
    assert!(matches!(store.write_next(), WriterStep::Stored { .. }));
    // A store that has nothing in its cache yet.
    let store = StateStore::over(database.clone(), OPTIONS).unwrap();
    damage(&database, false);
    let damaged = |hash, entry: Entry<'_>| StoreError::Damaged { hash, place: format!("{entry:?}") };
    assert_eq!(store.program(&program), Err(damaged(program, Entry::Program(&program))));
    assert_eq!(store.latest_root(), Ok(root));
    assert_value(&store, root, 3, 1);
    assert_eq!(store.stats().integrity.damaged_entries, 1);

    damage(&database, true);
    let store = StateStore::over(database.clone(), OPTIONS).unwrap();
    for hash in &hashes {
        assert_eq!(store.node(hash), Err(damaged(*hash, Entry::Node(hash))));
    }
    assert_eq!(store.nodes(&hashes), Err(damaged(hashes[0], Entry::Node(&hashes[0]))));
    assert_eq!(store.latest_root(), Err(damaged(root, Entry::Node(&root))));
    assert_eq!(store.failure(), None, "damage of entries does not keep others from being read");
    // The root of a tree that is not here.
    database.sets.lock().push(WriteSet { latest_root: Some(Digest([9; 4])), ..WriteSet::default() });
    let store = StateStore::over(database, OPTIONS).unwrap();
    assert_eq!(store.latest_root(), Err(damaged(Digest([9; 4]), Entry::LatestRoot)));
}

#[test]
fn what_keeps_state_from_being_written_is_said_until_it_is_gone() {
    let (database, store) = store();
    let (_, set) = update(&store, Digest::ZERO, 20, 1);
    store.persist(set, Durability::Permanent, 1).unwrap();
    assert_eq!(store.failure(), None);
    database.failing.store(true, Ordering::Relaxed);
    assert!(matches!(store.write_next(), WriterStep::Failed { .. }));
    store.probe();
    let failure = store.failure().unwrap();
    assert!(failure.contains("cannot be written") && failure.contains("told to fail"), "{failure}");
    database.failing.store(false, Ordering::Relaxed);
    assert!(matches!(store.write_next(), WriterStep::Stored { .. }));
    assert_eq!(store.failure(), None);
}
