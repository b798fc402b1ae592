//! Connections: made when needed, kept for the next who asks, given up when broken.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Config, Row, Transaction};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::tls::TlsRequest;

/// A value with its type: statements are sent in one round trip and not prepared, which also works behind a pooler.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// At most so many connections to one database.
pub(super) struct Pool {
    config: Config,
    tls: MakeRustlsConnect,
    /// Where it is, for messages: without user and password.
    place: String,
    idle: Mutex<Vec<Client>>,
    places: Semaphore,
    timeout: Duration,
}

/// Why the database did not do what it was asked for.
#[derive(Debug)]
pub(super) struct DatabaseError {
    sentence: String,
    /// Trying again will not help.
    is_final: bool,
}

impl DatabaseError {
    pub(super) fn closed() -> Self {
        Self { sentence: "the database is closed".to_owned(), is_final: true }
    }

    pub(super) fn is_final(&self) -> bool {
        self.is_final
    }

    /// Says what to do if the error is that a table is not there.
    pub(super) fn if_tables_are_missing(mut self) -> Self {
        if self.is_final {
            self.sentence += "; start once with --init-db to create schema and tables";
        }
        self
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        const FINAL: [SqlState; 5] = [
            SqlState::UNDEFINED_TABLE,
            SqlState::INVALID_SCHEMA_NAME,
            SqlState::INSUFFICIENT_PRIVILEGE,
            SqlState::UNDEFINED_COLUMN,
            SqlState::READ_ONLY_SQL_TRANSACTION,
        ];
        let is_final = error.code().is_some_and(|code| FINAL.contains(code));
        // The driver's own text often leaves out the reason.
        let reason = error.source().map(|source| format!(": {source}")).unwrap_or_default();
        Self { sentence: format!("PostgreSQL: {error}{reason}"), is_final }
    }
}

impl Pool {
    pub(super) fn new(url: &str, connections: usize, timeout: Duration) -> Result<Self, DatabaseError> {
        let refused = |reason: &str| DatabaseError { sentence: format!("store.url: {reason}"), is_final: true };
        let url = &with_escaped_user(url);
        let asked = TlsRequest::of(url).map_err(|reason| refused(&reason))?;
        // The parser's error names the option, never its value.
        let mut config: Config = asked.url.parse().map_err(|error: tokio_postgres::Error| {
            let reason = error.source().map(ToString::to_string).unwrap_or_default();
            refused(&format!("not a PostgreSQL URL: {reason}"))
        })?;
        if config.get_hosts().is_empty() {
            return Err(refused("no host"));
        }
        if let Some(mode) = asked.ssl_mode() {
            config.ssl_mode(mode);
        }
        let tls = asked.connector(config.get_ssl_negotiation()).map_err(|reason| refused(&reason))?;
        let place = place(&config);
        Ok(Self { config, tls, place, idle: Mutex::default(), places: Semaphore::new(connections.max(1)), timeout })
    }

    /// Returns where the database is: host, port and name.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Takes a connection, waiting for a free one.
    pub(super) async fn take(&self) -> Result<Connection<'_>, DatabaseError> {
        let Ok(permit) = self.places.acquire().await else { return Err(DatabaseError::closed()) };
        while let Some(client) = self.pop() {
            if !client.is_closed() {
                return Ok(Connection { pool: self, client, permit });
            }
        }
        let at = |sentence: String| DatabaseError { sentence: format!("{sentence} ({})", self.place), is_final: false };
        let connected = timeout(self.timeout, self.config.connect(self.tls.clone())).await;
        let connected = connected.map_err(|_| at(format!("PostgreSQL: no connection within {:?}", self.timeout)))?;
        let (client, connection) = connected.map_err(|error| at(DatabaseError::from(error).sentence))?;
        // Ends when the client is dropped or the connection breaks; the next statement then says so.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::warn!(%error, "connection to PostgreSQL ended");
            }
        });
        Ok(Connection { pool: self, client, permit })
    }

    fn pop(&self) -> Option<Client> {
        self.idle.lock().pop()
    }

    /// Runs one statement with parameters.
    pub(super) async fn query(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, DatabaseError> {
        let connection = self.take().await?;
        // A connection that is in the middle of something must not be used again, so it goes back only afterwards.
        let rows = self.in_time(connection.client.query_typed(sql, parameters)).await?;
        connection.give_back();
        Ok(rows?)
    }

    /// Runs a statement without parameters.
    pub(super) async fn execute(&self, sql: &str) -> Result<(), DatabaseError> {
        let connection = self.take().await?;
        let done = self.in_time(connection.client.batch_execute(sql)).await?;
        connection.give_back();
        Ok(done?)
    }

    /// Waits no longer than the limit.
    pub(super) async fn in_time<T>(&self, work: impl Future<Output = T>) -> Result<T, DatabaseError> {
        timeout(self.timeout, work).await.map_err(|_| {
            let sentence = format!("PostgreSQL: no answer within {:?} ({})", self.timeout, self.place);
            DatabaseError { sentence, is_final: false }
        })
    }
}

/// A connection in use. Dropped instead of given back, it is closed.
pub(super) struct Connection<'a> {
    pool: &'a Pool,
    client: Client,
    permit: SemaphorePermit<'a>,
}

impl Connection<'_> {
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Keeps the connection for the next who asks, unless it is broken.
    pub(super) fn give_back(self) {
        let Self { pool, client, permit } = self;
        let mut idle = pool.idle.lock();
        if client.is_closed() {
            // The server went away: the others are most likely broken as well, even if nobody has noticed.
            idle.clear();
        } else {
            idle.push(client);
        }
        drop(idle);
        drop(permit);
    }
}

/// Inserts rows of which some may be there already.
pub(super) async fn insert(
    transaction: &Transaction<'_>,
    sql: &str,
    rows: &[([u8; 32], Vec<u8>)],
) -> Result<(), tokio_postgres::Error> {
    let keys: Vec<&[u8]> = rows.iter().map(|(key, _)| &key[..]).collect();
    let values: Vec<&[u8]> = rows.iter().map(|(_, value)| &value[..]).collect();
    transaction.query_typed(sql, &[(&keys, Type::BYTEA_ARRAY), (&values, Type::BYTEA_ARRAY)]).await?;
    Ok(())
}

/// Returns the URL with every `@` of user and password escaped. For the driver the first one ends them, so that the rest of a
/// password would be a host, which messages name.
fn with_escaped_user(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://") else { return Cow::Borrowed(url) };
    // The options behind a question mark may hold an `@` as well, and so may the password before a slash: the last one in front
    // of a host ends it.
    let authority = rest.split('?').next().unwrap_or(rest);
    match authority.rsplit_once('@') {
        Some((user, _)) if user.contains('@') => {
            Cow::Owned(format!("{scheme}://{}{}", user.replace('@', "%40"), &rest[user.len()..]))
        }
        _ => Cow::Borrowed(url),
    }
}

fn place(config: &Config) -> String {
    use tokio_postgres::config::Host;
    let host = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    };
    let hosts: Vec<String> = config.get_hosts().iter().map(host).collect();
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("{}:{port}/{}", hosts.join(","), config.get_dbname().unwrap_or_default())
}
