//! Connections of a gRPC port before HTTP/2 sees them: TLS, and the first bytes.
//!
//! A connection must have shown HTTP/2's first bytes (RFC 9113 §3.4), through TLS if that is on, within a time limit. What
//! speaks something else is told so and closed, and never reaches a handler. Later silence is the matter of HTTP/2 pings.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HTTP1_ANSWER: &[u8] =
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\nContent-Length: 37\r\n\
    Connection: close\r\n\r\nthis port speaks gRPC (HTTP/2) only.\n";
/// Reads of at most 4 KiB that an HTTP/1.1 client is heard out for.
const HTTP1_READS_MAX: usize = 16;
/// First byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 22;

/// Shakes hands with the peers of one port.
#[derive(Clone)]
pub(super) struct Handshake {
    pub(super) limit: Duration,
    pub(super) tls: Option<TlsAcceptor>,
    /// Time a peer may take nothing of what is sent to it.
    pub(super) stall: Duration,
}

impl Handshake {
    /// Returns the connection once it speaks HTTP/2, else why it does not.
    pub(super) async fn run(&self, stream: TcpStream) -> Result<Connection, String> {
        let shaken = tokio::time::timeout(self.limit, self.shake_hands(stream)).await;
        shaken.unwrap_or_else(|_| Err("no handshake in time".to_owned()))
    }

    async fn shake_hands(&self, stream: TcpStream) -> Result<Connection, String> {
        // Without it small answers take 40 ms.
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut io = match &self.tls {
            None => Io::Plain(stream),
            Some(acceptor) => {
                let accepted = acceptor.accept(stream).await;
                Io::Tls(Box::new(accepted.map_err(|error| format!("TLS handshake: {error}"))?))
            }
        };
        read_preface(&mut io).await?;
        Ok(Connection { io, preface_given: 0, stall: WriteStall { limit: self.stall, timer: None } })
    }
}

/// Reads the first bytes; answers what is not HTTP/2 in its own language where it has one.
async fn read_preface(io: &mut Io) -> Result<(), String> {
    let mut read = [0; PREFACE.len()];
    let mut length = 0;
    while length < read.len() {
        let more = io.read(&mut read[length..]).await.map_err(|error| error.to_string())?;
        if more == 0 {
            return Err("left before the first bytes".to_owned());
        }
        length += more;
        if read[..length] == PREFACE[..length] {
            continue;
        }
        if read[0] == TLS_HANDSHAKE {
            return Err("TLS to a port without TLS".to_owned());
        }
        if read[..length].is_ascii() {
            answer_http1(io).await;
            return Err("not HTTP/2".to_owned());
        }
        return Err("not a protocol of this port".to_owned());
    }
    Ok(())
}

/// Answers and hears the peer out: closing with something unread would be a reset, which can overtake the answer. Best effort;
/// the limit of the handshake ends it, and so does a peer that says too much.
async fn answer_http1(io: &mut Io) {
    if io.write_all(HTTP1_ANSWER).await.is_err() || io.shutdown().await.is_err() {
        return;
    }
    let mut rest = [0; 4096];
    for _ in 0..HTTP1_READS_MAX {
        match io.read(&mut rest).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection that has shown its preface.
pub(super) struct Connection {
    io: Io,
    /// Bytes of the preface, which was read already, that have been handed on.
    preface_given: usize,
    stall: WriteStall,
}

/// Ends a connection whose peer takes nothing of what is sent to it: what waits for it takes memory.
struct WriteStall {
    limit: Duration,
    timer: Option<Pin<Box<Sleep>>>,
}

impl WriteStall {
    /// Passes the outcome of a write on; fails once the peer has taken nothing for too long.
    fn judge<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(self.limit)));
        ready!(timer.as_mut().poll(cx));
        tracing::warn!(
            seconds = self.limit.as_secs_f64(),
            "a peer took nothing of its answers: its connection is closed (limits.answer_seconds)"
        );
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Calls a method of whichever stream it is.
macro_rules! delegate {
    ($io:expr, $method:ident($($argument:expr),*)) => {
        match $io {
            Io::Plain(stream) => Pin::new(stream).$method($($argument),*),
            Io::Tls(stream) => Pin::new(stream.as_mut()).$method($($argument),*),
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        delegate!(self.get_mut(), poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        delegate!(self.get_mut(), poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self.get_mut(), poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.get_mut(), poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self.get_mut(), poll_shutdown(cx))
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let waiting = &PREFACE[this.preface_given..];
        if waiting.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, buf);
        }
        let length = waiting.len().min(buf.remaining());
        buf.put_slice(&waiting[..length]);
        this.preface_given += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self { io, stall, .. } = self.get_mut();
        let written = Pin::new(io).poll_write(cx, bytes);
        stall.judge(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { io, stall, .. } = self.get_mut();
        let written = Pin::new(io).poll_write_vectored(cx, slices);
        stall.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { io, stall, .. } = self.get_mut();
        let flushed = Pin::new(io).poll_flush(cx);
        stall.judge(flushed, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}
