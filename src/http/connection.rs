//! One connection of the HTTP port: HTTP/1.1 within limits of time.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::actors::{Lifecycle, Phase};
use crate::connections::Place;

/// What the connections of the port share.
#[derive(Clone)]
pub(super) struct Port {
    pub(super) router: Router,
    /// Time for the head of a request.
    pub(super) request_limit: Duration,
    /// Time for a reader to take what is ready for it.
    pub(super) answer_limit: Duration,
    pub(super) lifecycle: Lifecycle,
}

impl Port {
    /// Serves one connection until it ends, passes a limit, or the server stops.
    pub(super) async fn serve(self, stream: TcpStream, _place: Place) {
        let Self { router, request_limit, answer_limit, lifecycle } = self;
        let io = TokioIo::new(TakenInTime::new(stream, answer_limit));
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(request_limit);
        let connection = builder.serve_connection(io, TowerToHyperService::new(router));
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = lifecycle.reached(Phase::Stopping) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "an HTTP connection ended badly");
        }
    }
}

/// A stream whose peer must take what is written in time: from the first write that has to wait until all is written.
struct TakenInTime<S> {
    stream: S,
    limit: Duration,
    /// Runs while something waits to be written.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<S> TakenInTime<S> {
    fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, waiting: None }
    }

    /// Passes on what a write came to, unless the time is over.
    fn in_time<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_pending() {
            self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + self.limit)));
        }
        let Some(waiting) = &mut self.waiting else { return written };
        if waiting.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the reader took too long")));
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TakenInTime<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TakenInTime<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.in_time(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes once nothing is left to be written.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.stream).poll_flush(cx))?;
        this.waiting = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let closed = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.in_time(cx, closed)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn a_reader_that_takes_nothing_is_given_up() {
        let (ours, theirs) = tokio::io::duplex(10);
        let mut ours = TakenInTime::new(ours, LIMIT);
        let begun = Instant::now();
        let error = ours.write_all(&[0; 11]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() >= LIMIT);
        drop(theirs);
    }

    #[tokio::test]
    async fn a_reader_that_takes_a_little_now_and_then_is_given_up() {
        let (ours, mut theirs) = tokio::io::duplex(10);
        let mut ours = TakenInTime::new(ours, LIMIT);
        let dripping = tokio::spawn(async move {
            while theirs.read_u8().await.is_ok() {
                tokio::time::sleep(LIMIT / 10).await;
            }
        });
        let error = ours.write_all(&[0; 1000]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        drop(ours);
        dripping.await.unwrap();
    }

    #[tokio::test]
    async fn a_reader_that_takes_each_answer_in_time_stays() {
        let (ours, mut theirs) = tokio::io::duplex(10);
        let mut ours = TakenInTime::new(ours, LIMIT);
        let reading = tokio::spawn(async move {
            let mut read = [0; 20];
            for _ in 0..4 {
                tokio::time::sleep(LIMIT * 2 / 3).await;
                theirs.read_exact(&mut read).await.unwrap();
            }
        });
        for _ in 0..4 {
            ours.write_all(&[0; 20]).await.unwrap();
            ours.flush().await.unwrap();
        }
        reading.await.unwrap();
    }
}
