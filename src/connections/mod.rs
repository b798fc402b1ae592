//! Connections of every port: how many there may be, of one peer and of all, and the loop that accepts and serves them.
//!
//! A connection takes its place when it is accepted and frees it when it ends; one without a place is closed at once. Must not
//! know what is spoken on a connection.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::actors::{Lifecycle, Phase};

mod admission;
mod open_calls;

pub(crate) use admission::{Admission, ConnectionLimits, Peer, Place};
pub(crate) use open_calls::{CallBody, OpenCalls};

/// Wait after a failed accept: out of file descriptors, for example.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);
/// At most one line per this about connections that were refused.
const REFUSED_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Accepts the connections of one port until the server stops, then waits for those that are open. `serve` has to watch the
/// lifecycle itself. Dropping the future ends every connection.
pub(crate) async fn serve<F>(
    listener: TcpListener,
    limits: ConnectionLimits,
    lifecycle: Lifecycle,
    serve: impl Fn(TcpStream, Place) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let admission = Admission::new(limits);
    let mut connections = JoinSet::new();
    let mut refused = Refused::default();
    let stopping = lifecycle.reached(Phase::Stopping);
    tokio::pin!(stopping);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            () = &mut stopping => break,
        };
        match accepted.map(|(stream, peer)| (stream, admission.admit(peer.ip()))) {
            Ok((stream, Ok(place))) => drop(connections.spawn(serve(stream, place))),
            Ok((_, Err(reason))) => refused.note(reason, Instant::now()),
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
    // Nobody shall wait in the backlog of a port that is not served any more.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Counts refused connections and logs them now and then.
#[derive(Default)]
struct Refused {
    count: u64,
    logged_at: Option<Instant>,
}

impl Refused {
    fn note(&mut self, reason: admission::NoPlace, now: Instant) {
        self.count += 1;
        if self.logged_at.is_none_or(|at| now.saturating_duration_since(at) >= REFUSED_LOG_INTERVAL) {
            tracing::warn!(refused = self.count, "connections refused: {reason}");
            self.logged_at = Some(now);
        }
    }
}
