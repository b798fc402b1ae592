//! Log lines leave the program through a thread of their own, so that a slow terminal or pipe never holds up a batch.
//!
//! The channel to that thread has a bound; beyond it lines are dropped, and the next line that gets through says how many.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::SystemTime;

use crossbeam_channel::{Receiver, Sender, bounded};
use tracing_subscriber::fmt::MakeWriter;

use self::prover::ProverFormat;
use crate::config::{LogFormat, LogOptions};

mod prover;

/// Lines that may wait for the writing thread.
const LINES_MAX: usize = 16_384;

/// Keeps the log running; dropped, it writes what is waiting.
pub struct LogGuard {
    sender: Option<Sender<Message>>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Line(Vec<u8>),
    /// For standard error.
    ErrorLine(Vec<u8>),
    End,
}

/// Makes the line that tells how many were dropped.
type DropNotice = Box<dyn Fn(u64) -> String + Send>;

/// Sends every log line of the program to stdout; with the original's format errors to stderr, as it does.
pub fn start(options: LogOptions, prover_id: &str) -> Result<LogGuard, Box<dyn std::error::Error>> {
    let LogOptions { format, json, level, .. } = options;
    let (sender, receiver) = bounded(LINES_MAX);
    let dropped = Arc::new(AtomicU64::new(0));
    let errors_apart = format == LogFormat::Prover;
    let lines = Lines { sender: sender.clone(), dropped: Arc::clone(&dropped), errors_apart };
    let subscriber = tracing_subscriber::fmt().with_writer(lines).with_max_level(level).with_ansi(false);
    match (format, json) {
        (LogFormat::Native, false) => tracing::subscriber::set_global_default(subscriber.finish()),
        (LogFormat::Native, true) => tracing::subscriber::set_global_default(subscriber.json().finish()),
        (LogFormat::Prover, json) => {
            let format = ProverFormat::new(prover_id, json);
            tracing::subscriber::set_global_default(subscriber.event_format(format).finish())
        }
    }?;
    let notice = drop_notice(format, json, prover_id);
    let thread = std::thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || write_lines(&receiver, &dropped, &notice, &mut io::stdout(), &mut io::stderr()))?;
    Ok(LogGuard { sender: Some(sender), thread: Some(thread) })
}

fn drop_notice(format: LogFormat, json: bool, prover_id: &str) -> DropNotice {
    match format {
        LogFormat::Native => Box::new(|lost| format!("zkWarning: {lost} log lines dropped\n")),
        LogFormat::Prover => {
            let format = ProverFormat::new(prover_id, json);
            let text = |lost| format!("{lost} log lines dropped");
            Box::new(move |lost| format.line(SystemTime::now(), tracing::Level::WARN, &text(lost)))
        }
    }
}

fn write_lines(
    lines: &Receiver<Message>,
    dropped: &AtomicU64,
    notice: &DropNotice,
    out: &mut impl Write,
    errors: &mut impl Write,
) {
    while let Ok(message) = lines.recv() {
        let lost = dropped.swap(0, Ordering::Relaxed);
        // A closed pipe is no reason to stop serving.
        if lost > 0 {
            let _ = out.write_all(notice(lost).as_bytes());
        }
        let _ = match message {
            Message::Line(line) => out.write_all(&line),
            Message::ErrorLine(line) => errors.write_all(&line),
            Message::End => break,
        };
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
    /// Errors go to standard error.
    errors_apart: bool,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { lines: self, message: Message::Line, text: Vec::new() }
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Line<'a> {
        let apart = self.errors_apart && *meta.level() == tracing::Level::ERROR;
        let message = if apart { Message::ErrorLine } else { Message::Line };
        Line { lines: self, message, text: Vec::new() }
    }
}

/// Collects one line and sends it when complete.
struct Line<'a> {
    lines: &'a Lines,
    message: fn(Vec<u8>) -> Message,
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
        let line = (self.message)(std::mem::take(&mut self.text));
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
        let lines = Lines { sender: sender.clone(), dropped: Arc::clone(&dropped), errors_apart: false };
        for text in ["one\n", "two\n", "lost\n"] {
            let _ = lines.make_writer().write_all(text.as_bytes());
        }
        drop((sender, lines));
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let notice = drop_notice(LogFormat::Native, false, "");
        write_lines(&receiver, &dropped, &notice, &mut out, &mut errors);
        assert_eq!(String::from_utf8_lossy(&out), "zkWarning: 1 log lines dropped\none\ntwo\n");
        assert_eq!(errors, b"");
    }
}
