//! Log lines leave the program through a thread of their own, so that a slow terminal or pipe never holds up a batch.
//!
//! The channel to that thread has a bound; beyond it lines are dropped, and the next line that gets through says how many.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait for the writing thread.
const LINES_MAX: usize = 16_384;

/// Keeps the log running; dropped, it writes what is waiting.
pub struct LogGuard {
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Line(Vec<u8>),
    End,
}

/// Sends every log line of the program to stdout, as text or as JSON objects.
pub fn start(json: bool, level: tracing::Level) -> Result<LogGuard, Box<dyn std::error::Error>> {
    let (sender, receiver) = bounded(LINES_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let lines = Lines { sender: sender.clone(), dropped: Arc::clone(&dropped) };
    let thread = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(&receiver, &dropped, &mut io::stdout()))?;
    let subscriber = tracing_subscriber::fmt().with_writer(lines).with_max_level(level).with_ansi(false);
    let installed = if json {
        tracing::subscriber::set_global_default(subscriber.json().finish())
    } else {
        tracing::subscriber::set_global_default(subscriber.finish())
    };
    installed?;
    Ok(LogGuard { sender: Some(sender), thread: Some(thread) })
}

fn write_lines(lines: &Receiver<Message>, dropped: &AtomicU64, out: &mut impl Write) {
    while let Ok(Message::Line(line)) = lines.recv() {
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let _ = writeln!(out, "zkWarning: {lost} log lines dropped");
        }
        // A closed pipe is no reason to stop serving.
        let _ = out.write_all(&line);
        if lines.is_empty() {
            let _ = out.flush();
        }
    }
    let _ = out.flush();
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            let _ = sender.send(Message::End);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Lines {
    sender: Sender<Message>,
    dropped: Arc<AtomicU64>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, text: Vec::new() }
    }
}

/// Collects one line and sends it when complete.
struct Line<'a> {
    lines: &'a Lines,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let line = Message::Line(std::mem::take(&mut self.text));
        if self.lines.sender.try_send(line).is_err() {
            self.lines.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_in_order_and_drops_are_told() {
        let (sender, receiver) = bounded(2);
        let dropped = Arc::new(AtomicU64::new(0));
        let lines = Lines { sender: sender.clone(), dropped: Arc::clone(&dropped) };
        for text in ["one\n", "two\n", "lost\n"] {
            let _ = lines.make_writer().write_all(text.as_bytes());
        }
        drop((sender, lines));
        let mut out = Vec::new();
        write_lines(&receiver, &dropped, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), "zkWarning: 1 log lines dropped\none\ntwo\n");
    }
}
