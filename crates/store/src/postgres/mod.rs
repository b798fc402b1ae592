//! PostgreSQL, in the schema and with the bytes of zkevm-prover, so that either program can take over the other's database
//! (hashdb-service §8, state-tree §9).
//!
//! | table | key | value |
//! |---|---|---|
//! | `state.nodes` | 32 bytes, most significant limb first | the 12 elements, 8 bytes each; 64 bytes are read as well |
//! | `state.nodes` | 32 bytes of `0xff` | the latest root, limbs in the order of node data |
//! | `state.program` | Poseidon code hash | the code |
//!
//! Plain SQL without extensions or functions: any engine that speaks PostgreSQL's protocol and knows `ON CONFLICT` and
//! `UNNEST` will do. Rows are inserted and, the latest root aside, never changed, so any number of executors may share a
//! database. Inserts are sorted by key: writers that meet wait for each other, and never in a circle.
//!
//! The driver is asynchronous and its callers are not: a [`AsyncBridge`] is between them.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy_primitives::{B256, Bytes};
use tokio_postgres::types::Type;

use crate::async_bridge::{AsyncBridge, Retries};
use crate::database::{Database, Entry, WriteSet};
use crate::encoding::{LATEST_ROOT_KEY, hash_bytes, node_bytes, node_from_bytes, root_from_row, root_row};
use pool::{DatabaseError, Parameter, Pool};
use zkevm_tree::{Digest, NodeData};
use zkevm_tree::{StateReader, StoreError};

mod pool;
mod tls;

/// Threads that drive the connections. They only move bytes.
const THREADS: usize = 2;
/// Rows of one statement.
const ROWS_PER_STATEMENT: usize = 8192;
/// Bytes of programs of one statement; a program that is larger goes alone.
const PROGRAM_BYTES_PER_STATEMENT: usize = 8 << 20;

/// The address of the database and how to deal with it.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// `postgresql://user:password@host:port/database`, with `sslmode` and `sslrootcert` as libpq knows them. Never shown: it
    /// may hold a password.
    pub url: String,
    /// Connections that may be open at the same time.
    pub connections: usize,
    /// Tries of a read after the first one failed.
    pub retries: u32,
    /// Wait before that.
    pub retry_after: Duration,
    /// Longest time connecting or one statement may take, and all tries of one read together.
    pub timeout: Duration,
    /// Table of nodes, with its schema.
    pub nodes_table: String,
    /// Table of programs, with its schema.
    pub program_table: String,
}

impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, connections, retries, retry_after, timeout, nodes_table, program_table } = self;
        f.debug_struct("PostgresOptions")
            .field("url", &"hidden")
            .field("connections", connections)
            .field("retries", retries)
            .field("retry_after", retry_after)
            .field("timeout", timeout)
            .field("nodes_table", nodes_table)
            .field("program_table", program_table)
            .finish()
    }
}

impl PostgresOptions {
    /// Returns options for a database with everything else at its default.
    pub fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            connections: 30,
            retries: 10,
            retry_after: Duration::from_millis(100),
            timeout: Duration::from_secs(30),
            nodes_table: "state.nodes".to_owned(),
            program_table: "state.program".to_owned(),
        }
    }
}

/// A database in PostgreSQL.
pub struct PostgresDatabase {
    bridge: AsyncBridge,
    pool: Arc<Pool>,
    sql: Arc<Sql>,
    /// Names of the tables of nodes and programs.
    tables: (String, String),
    retries: Retries,
    /// A node that is not there may be on its way: who only reads may be reading a replica (hashdb-service §7).
    lags: bool,
}

/// The statements, with the names of the tables in them.
struct Sql {
    schema: Vec<String>,
    create: Vec<String>,
    ready: String,
    node: String,
    nodes: String,
    program: String,
    insert_nodes: String,
    insert_programs: String,
    set_root: String,
    add_root: String,
    clear: [String; 2],
}

impl Sql {
    fn new(nodes: &str, program: &str) -> Self {
        let insert = |table: &str| {
            format!(
                "INSERT INTO {table} (hash, data) SELECT * FROM UNNEST($1::BYTEA[], $2::BYTEA[]) \
                 ON CONFLICT (hash) DO NOTHING"
            )
        };
        let create =
            |table: &str| format!("CREATE TABLE IF NOT EXISTS {table} (hash BYTEA PRIMARY KEY, data BYTEA NOT NULL)");
        let schema =
            |table: &str| table.split_once('.').map(|(schema, _)| format!("CREATE SCHEMA IF NOT EXISTS {schema}"));
        Self {
            schema: [schema(nodes), schema(program)].into_iter().flatten().collect(),
            create: vec![create(nodes), create(program)],
            ready: format!(
                "SELECT (SELECT COUNT(*) FROM (SELECT 1 FROM {nodes} LIMIT 1) AS n) + (SELECT COUNT(*) FROM (SELECT 1 FROM {program} LIMIT 1) AS p)"
            ),
            node: format!("SELECT data FROM {nodes} WHERE hash = $1"),
            nodes: format!("SELECT hash, data FROM {nodes} WHERE hash = ANY($1)"),
            program: format!("SELECT data FROM {program} WHERE hash = $1"),
            insert_nodes: insert(nodes),
            insert_programs: insert(program),
            set_root: format!(
                "INSERT INTO {nodes} (hash, data) VALUES ($1, $2) ON CONFLICT (hash) DO UPDATE SET data = EXCLUDED.data"
            ),
            add_root: format!("INSERT INTO {nodes} (hash, data) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING"),
            clear: [format!("DELETE FROM {nodes}"), format!("DELETE FROM {program}")],
        }
    }
}

impl PostgresDatabase {
    /// Connects. With `create` makes schema and tables where they are missing; unless `read_only` makes sure that there is a
    /// latest root.
    ///
    /// Fails if the URL or a table name is not one, the server cannot be reached within the retries, or the tables are not
    /// there.
    pub fn open(options: PostgresOptions, create: bool, read_only: bool) -> Result<Self, StoreError> {
        for table in [&options.nodes_table, &options.program_table] {
            if !is_table_name(table) {
                return Err(StoreError::Unavailable(format!("{table:?} is not a table name like state.nodes")));
            }
        }
        let bridge = AsyncBridge::new(THREADS, "postgres")
            .map_err(|error| StoreError::Unavailable(format!("cannot start threads for PostgreSQL: {error}")))?;
        let sql = Arc::new(Sql::new(&options.nodes_table, &options.program_table));
        let pool = Pool::new(&options.url, options.connections, options.timeout);
        let pool = Arc::new(pool.map_err(|error| StoreError::Unavailable(error.to_string()))?);
        let tables = (options.nodes_table, options.program_table);
        let PostgresOptions { retries: times, retry_after: pause, timeout: limit, .. } = options;
        let retries = Retries { times, pause, pause_max: pause, limit };
        let database = Self { bridge, pool, sql, tables, retries, lags: read_only };
        database.prepare(create, read_only)?;
        Ok(database)
    }

    fn prepare(&self, create: bool, read_only: bool) -> Result<(), StoreError> {
        let sql = Arc::clone(&self.sql);
        self.retry(move |pool| {
            let sql = Arc::clone(&sql);
            async move {
                if create {
                    for statement in sql.schema.iter().chain(&sql.create) {
                        pool.execute(statement).await?;
                    }
                }
                pool.query(&sql.ready, &[]).await.map_err(DatabaseError::if_tables_are_missing)?;
                if !read_only {
                    pool.query(&sql.add_root, &RootRow::new(&Digest::ZERO).parameters()).await?;
                }
                Ok(())
            }
        })
    }

    /// Runs work on the driver's threads and waits for it.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, DatabaseError>> + Send + 'static,
    ) -> Result<T, DatabaseError> {
        self.bridge.wait(work).unwrap_or_else(|| Err(DatabaseError::closed()))
    }

    /// Tries until it works, as often as configured.
    fn retry<T, F>(&self, work: impl Fn(Arc<Pool>) -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, DatabaseError>> + Send + 'static,
    {
        let read = self.retries.run(DatabaseError::is_final, || self.wait(work(Arc::clone(&self.pool))));
        read.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    /// Reads the value under one key.
    fn value(&self, statement: fn(&Sql) -> &str, key: [u8; 32]) -> Result<Option<Vec<u8>>, StoreError> {
        self.retry(|pool| {
            let sql = Arc::clone(&self.sql);
            async move {
                let rows = pool.query(statement(&sql), &[(&&key[..], Type::BYTEA)]).await?;
                rows.first().map(|row| row.try_get(0).map_err(DatabaseError::from)).transpose()
            }
        })
    }
}

/// Letters, digits and underscores, with at most one dot: nothing that could end the name inside a statement.
fn is_table_name(name: &str) -> bool {
    let is_word = |word: &str| {
        word.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && word.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    };
    name.len() <= 126 && name.split('.').count() <= 2 && name.split('.').all(is_word)
}

impl StateReader for PostgresDatabase {
    fn node(&self, hash: &Digest) -> Result<Option<NodeData>, StoreError> {
        let read = || self.value(|sql| &sql.node, hash_bytes(hash));
        let (mut found, limit) = (read()?, Instant::now() + self.retries.limit);
        let mut tries = if self.lags { self.retries.times } else { 0 };
        while found.is_none() && tries > 0 && Instant::now() < limit {
            tries -= 1;
            std::thread::sleep(self.retries.pause);
            found = read()?;
        }
        found.map(|data| node_from_bytes(hash, &data, || self.place(Entry::Node(hash)))).transpose()
    }

    fn nodes(&self, hashes: &[Digest]) -> Result<Vec<Option<NodeData>>, StoreError> {
        let mut found = Vec::with_capacity(hashes.len());
        for hashes in hashes.chunks(ROWS_PER_STATEMENT) {
            let keys: Arc<Vec<[u8; 32]>> = Arc::new(hashes.iter().map(hash_bytes).collect());
            let rows: HashMap<Vec<u8>, Vec<u8>> = self.retry(|pool| {
                let (sql, keys) = (Arc::clone(&self.sql), Arc::clone(&keys));
                async move {
                    let keys: Vec<&[u8]> = keys.iter().map(|key| &key[..]).collect();
                    let rows = pool.query(&sql.nodes, &[(&keys, Type::BYTEA_ARRAY)]).await?;
                    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
                }
            })?;
            for (hash, key) in hashes.iter().zip(&*keys) {
                let place = || self.place(Entry::Node(hash));
                found.push(rows.get(&key[..]).map(|data| node_from_bytes(hash, data, place)).transpose()?);
            }
        }
        Ok(found)
    }

    /// A round trip costs more than the rows of a level.
    fn prefers_many(&self) -> bool {
        true
    }

    fn program(&self, hash: &Digest) -> Result<Option<Bytes>, StoreError> {
        Ok(self.value(|sql| &sql.program, hash_bytes(hash))?.map(Bytes::from))
    }
}

impl Database for PostgresDatabase {
    /// One transaction; tried once, the writer tries again. The time limit is one of each statement: a large group on a slow
    /// database must get through at some time, however long all of it takes.
    fn commit(&self, sets: &[&WriteSet]) -> Result<(), StoreError> {
        let nodes =
            sets.iter().flat_map(|set| &set.nodes).map(|(hash, node)| (hash_bytes(hash), node_bytes(node).to_vec()));
        let nodes = sorted(nodes);
        let programs = sets.iter().flat_map(|set| &set.programs).map(|(hash, code)| (hash_bytes(hash), code.to_vec()));
        let programs = sorted(programs);
        let root = sets.iter().rev().find_map(|set| set.latest_root);
        let (pool, sql) = (Arc::clone(&self.pool), Arc::clone(&self.sql));
        let committed = self.wait(async move {
            let mut connection = pool.take().await?;
            // On any error the connection is closed, and the server rolls back.
            let transaction = pool.in_time(connection.client().transaction()).await??;
            for rows in nodes.chunks(ROWS_PER_STATEMENT) {
                pool.in_time(pool::insert(&transaction, &sql.insert_nodes, rows)).await??;
            }
            for rows in chunks_of_bytes(&programs, PROGRAM_BYTES_PER_STATEMENT) {
                pool.in_time(pool::insert(&transaction, &sql.insert_programs, rows)).await??;
            }
            if let Some(root) = root {
                let row = RootRow::new(&root);
                pool.in_time(transaction.query_typed(&sql.set_root, &row.parameters())).await??;
            }
            pool.in_time(transaction.commit()).await??;
            connection.give_back();
            Ok(())
        });
        committed.map_err(|error| StoreError::Unavailable(error.to_string()))
    }

    fn latest_root(&self) -> Result<Digest, StoreError> {
        let row = self.value(|sql| &sql.node, LATEST_ROOT_KEY)?;
        row.map_or(Ok(Digest::ZERO), |row| root_from_row(&row, || self.place(Entry::LatestRoot)))
    }

    fn clear(&self) -> Result<(), StoreError> {
        let sql = Arc::clone(&self.sql);
        self.retry(|pool| {
            let sql = Arc::clone(&sql);
            async move {
                for statement in &sql.clear {
                    pool.execute(statement).await?;
                }
                pool.query(&sql.add_root, &RootRow::new(&Digest::ZERO).parameters()).await?;
                Ok(())
            }
        })
    }

    fn place(&self, entry: Entry<'_>) -> String {
        let (table, key) = match entry {
            Entry::Node(hash) => (&self.tables.0, hash_bytes(hash)),
            Entry::Program(hash) => (&self.tables.1, hash_bytes(hash)),
            Entry::LatestRoot => (&self.tables.0, LATEST_ROOT_KEY),
        };
        format!("{table}, row {} of {}", B256::from(key), self.pool.place())
    }
}

/// The latest-root row.
struct RootRow {
    key: Vec<u8>,
    data: Vec<u8>,
}

impl RootRow {
    fn new(root: &Digest) -> Self {
        Self { key: LATEST_ROOT_KEY.to_vec(), data: root_row(root).to_vec() }
    }

    fn parameters(&self) -> [Parameter<'_>; 2] {
        [(&self.key, Type::BYTEA), (&self.data, Type::BYTEA)]
    }
}

type Row = ([u8; 32], Vec<u8>);

/// Returns each row once, by key.
fn sorted(rows: impl Iterator<Item = Row>) -> Vec<Row> {
    let mut rows: Vec<Row> = rows.collect();
    rows.sort_unstable_by_key(|(key, _)| *key);
    rows.dedup_by_key(|(key, _)| *key);
    rows
}

/// Splits rows so that no part with more than one row has more than `bytes_max` bytes of data, nor too many rows.
fn chunks_of_bytes(rows: &[Row], bytes_max: usize) -> impl Iterator<Item = &[Row]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |(_, data): &&Row| {
            bytes += data.len();
            bytes <= bytes_max
        };
        let count = rest.iter().take(ROWS_PER_STATEMENT).take_while(fits).count().max(1).min(rest.len());
        let (chunk, after) = rest.split_at(count);
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_names_are_tables() {
        for name in ["state.nodes", "nodes", "_a.b_1"] {
            assert!(is_table_name(name), "{name}");
        }
        for name in ["", ".", "a.", "a.b.c", "1a", "a b", "a;drop", "a\"b", "state.nodes--"] {
            assert!(!is_table_name(name), "{name}");
        }
    }

    #[test]
    fn statements_have_a_bound_of_bytes() {
        let rows: Vec<Row> = [3, 3, 9, 1, 1].map(|bytes| ([0; 32], vec![0; bytes])).to_vec();
        let sizes = |max| chunks_of_bytes(&rows, max).map(<[Row]>::len).collect::<Vec<_>>();
        assert_eq!(sizes(6), [2, 1, 2]);
        assert_eq!(sizes(1), [1, 1, 1, 1, 1]);
        assert_eq!(sizes(100), [5]);
        assert_eq!(chunks_of_bytes(&[], 10).count(), 0);
    }

    #[test]
    fn rows_are_sorted_and_distinct() {
        let row = |key, data| ([key; 32], vec![data]);
        assert_eq!(sorted([row(2, 1), row(1, 5), row(2, 1)].into_iter()), [row(1, 5), row(2, 1)]);
    }

    #[test]
    fn a_password_is_in_no_error() {
        for password in ["secret", "secret@secret", "@secret", "secret@secret.com:secret@", "secret@127.0.0.1:9@secret"]
        {
            let url = format!("postgresql://user:{password}@127.0.0.1:1/database?connect_timeout=1");
            let options = PostgresOptions { retries: 0, timeout: Duration::from_secs(2), ..PostgresOptions::new(&url) };
            let error = PostgresDatabase::open(options, false, false).err().unwrap().to_string();
            assert!(!error.contains("secret") && error.contains("(127.0.0.1:1/database)"), "{error}");
        }
        let options = PostgresOptions::new("postgresql://user:secret@host:port/database");
        let error = PostgresDatabase::open(options, false, false).err().unwrap().to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}
