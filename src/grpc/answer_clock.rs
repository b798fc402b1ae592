//! The time a client has for what it is given, and what ends its call when it does not take it.
//!
//! A connection asks the body of an answer for more only as the client's window opens, so that nobody there notices a client
//! that takes nothing. Each call is a task of its connection: here that task is given up once its time is over, and with it
//! the stream, which HTTP/2 then resets (CANCEL) with all that waits in it.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, Sleep};

tokio::task_local! {
    /// The clock of the call whose task runs.
    static CLOCK: AnswerClock;
}

/// Runs the calls of connections, each with a clock.
#[derive(Clone, Debug)]
pub(super) struct CallTasks;

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for CallTasks {
    fn execute(&self, call: F) {
        let clock = AnswerClock::default();
        tokio::spawn(CLOCK.scope(clock.clone(), async move {
            let mut call = pin!(call);
            let mut timer = None;
            // The call first: what it does decides whether time runs.
            let late = poll_fn(|cx| match call.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => clock.poll_late(&mut timer, cx).map(Some),
            });
            if let Some(time) = late.await {
                tracing::warn!(
                    seconds = time.as_secs_f64(),
                    "an answer was not taken by its client: its stream is reset (limits.answer_seconds)"
                );
            }
        }));
    }
}

/// The clock of one call. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct AnswerClock(Arc<Mutex<Option<Allowed>>>);

/// The time the client has for what it was given.
#[derive(Clone, Copy, Debug)]
struct Allowed {
    time: Duration,
    until: Instant,
}

impl AnswerClock {
    /// Returns the clock of the call that runs. Outside of the task of a call, one that nobody looks at.
    pub(super) fn of_call() -> Self {
        CLOCK.try_with(Self::clone).unwrap_or_default()
    }

    /// Gives the client `time` from now on.
    pub(super) fn start(&self, time: Duration) {
        // Far enough in the future is never.
        let until = Instant::now().checked_add(time);
        *self.0.lock() = until.map(|until| Allowed { time, until });
    }

    /// The client has taken all that it was given.
    pub(super) fn stop(&self) {
        *self.0.lock() = None;
    }

    /// Returns the time that was given once it is over.
    fn poll_late(&self, timer: &mut Option<Pin<Box<Sleep>>>, cx: &mut Context<'_>) -> Poll<Duration> {
        let Some(Allowed { time, until }) = *self.0.lock() else {
            *timer = None;
            return Poll::Pending;
        };
        let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if timer.deadline() != until {
            timer.as_mut().reset(until);
        }
        timer.as_mut().poll(cx).map(|()| time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::rt::Executor;
    use tokio::sync::oneshot;

    /// Runs a call that does something with its clock and then waits; returns whether it was given up soon.
    async fn is_given_up(act: impl FnOnce(AnswerClock) + Send + 'static) -> bool {
        let (sender, receiver) = oneshot::channel::<()>();
        CallTasks.execute(async move {
            act(AnswerClock::of_call());
            std::future::pending::<()>().await;
            drop(sender);
        });
        tokio::time::timeout(Duration::from_millis(500), receiver).await.is_ok()
    }

    #[tokio::test]
    async fn a_call_whose_client_takes_nothing_is_given_up() {
        assert!(is_given_up(|clock| clock.start(Duration::from_millis(20))).await);
        assert!(!is_given_up(|_| ()).await);
        assert!(!is_given_up(|clock| clock.start(Duration::MAX)).await);
        let stopped = |clock: AnswerClock| {
            clock.start(Duration::from_millis(20));
            clock.stop();
        };
        assert!(!is_given_up(stopped).await);
    }
}
