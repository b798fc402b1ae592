//! The writer actor: the only one that writes to the database, on a thread of its own.
//!
//! Each step commits whatever has piled up meanwhile as one group. If something has, more is coming, and a database that is
//! quick gets a pause before it: a commit costs a sync however small it is. A group that fails is tried again until it is stored:
//! what was accepted is never dropped, and what comes after it waits behind it. A panic costs one try.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, Supervised};

use super::panic_message;
use crate::scheduling::lower_priority;
use zkevm_store::{StateStore, WriterStep};

/// Share of the time that a quick database spends on commits: one in this many.
const BUSY_SHARE: u32 = 5;
/// Longest pause, and so what it adds to the time until something is stored.
const PAUSE_MAX: Duration = Duration::from_millis(25);
/// Wait before a failed write is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Tells the writer to store the next group.
struct StoreNext;

impl Message for StoreNext {
    type Result = ();
}

/// Stores the queue of one [`StateStore`].
pub(super) struct WriterActor {
    store: Arc<StateStore>,
    niceness: i32,
}

impl WriterActor {
    pub(super) fn new(store: Arc<StateStore>, niceness: i32) -> Self {
        Self { store, niceness }
    }
}

impl WriterActor {
    /// Returns how long to let sets pile up. Not at all if none has: then whoever brings the next may be waiting for it.
    fn pause_after(&self, took: Duration) -> Duration {
        let status = self.store.flush_status();
        if took > PAUSE_MAX || status.last_flush_id == status.stored_flush_id {
            return Duration::ZERO;
        }
        (took * (BUSY_SHARE - 1)).min(PAUSE_MAX)
    }
}

impl Actor for WriterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        lower_priority(self.niceness);
        ctx.notify(StoreNext);
    }
}

impl Supervised for WriterActor {}

impl Handler<StoreNext> for WriterActor {
    type Result = ();

    fn handle(&mut self, _: StoreNext, ctx: &mut Self::Context) {
        match catch_unwind(AssertUnwindSafe(|| self.store.write_next())) {
            Ok(WriterStep::Stored { took }) => match self.pause_after(took) {
                Duration::ZERO => ctx.notify(StoreNext),
                pause => drop(ctx.notify_later(StoreNext, pause)),
            },
            Ok(WriterStep::Failed { flush_id, error }) => {
                tracing::error!(flush_id, %error, "state could not be stored, trying again");
                ctx.notify_later(StoreNext, RETRY_AFTER);
            }
            // The queue is closed: the server is stopping, and so does the arbiter.
            Ok(WriterStep::Closed) => {}
            Err(panic) => {
                tracing::error!(panic = panic_message(&*panic), "writer panicked, trying again");
                ctx.notify_later(StoreNext, RETRY_AFTER);
            }
        }
    }
}
