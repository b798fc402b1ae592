//! The writer actor: the only one that writes to the database, on a thread of its own.
//!
//! Each step commits whatever has piled up meanwhile as one group. A group that fails is tried again until it is stored:
//! what was accepted is never dropped, and what comes after it waits behind it. A panic costs one try.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, Supervised};

use super::niceness::stand_back;
use super::panic_message;
use crate::store::{StateStore, WriterStep};

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

impl Actor for WriterActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        stand_back(self.niceness);
        ctx.notify(StoreNext);
    }
}

impl Supervised for WriterActor {}

impl Handler<StoreNext> for WriterActor {
    type Result = ();

    fn handle(&mut self, _: StoreNext, ctx: &mut Self::Context) {
        match catch_unwind(AssertUnwindSafe(|| self.store.write_next())) {
            Ok(WriterStep::Stored) => ctx.notify(StoreNext),
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
