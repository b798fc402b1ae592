//! Log lines leave the program through a thread of their own, so that a slow terminal or pipe never holds up a batch.
//!
//! What waits for that thread has a bound of lines and of bytes; beyond it lines are dropped, and the next line that gets
//! through says how many. Of warnings and errors that one place in the program repeats, some are written and all are counted
//! (`repeats.rs`). A log that nobody reads keeps the process from ending for a moment only.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::time::FormatTime;

use self::prover::ProverFormat;
use self::repeats::{Repeats, Verdict};
use crate::config::{LogFormat, LogOptions};
use crate::text::{Escaped, escape_rest};

mod prover;
mod repeats;

/// Lines that may wait for the writing thread.
const LINES_MAX: usize = 16_384;
/// Time the writing thread has to write what is waiting when the program ends.
const END_LIMIT: Duration = Duration::from_secs(2);
/// Interval at which counts of lines left out are looked at.
const REPEATS_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the log running; dropped, it writes what is waiting, if somebody reads it.
pub struct LogGuard {
    sender: Sender<Message>,
    /// Says nothing, and ends with the thread.
    ended: Receiver<()>,
}

enum Message {
    Line(Vec<u8>),
    /// For standard error.
    ErrorLine(Vec<u8>),
    End,
}

impl Message {
    fn bytes(&self) -> usize {
        match self {
            Self::Line(line) | Self::ErrorLine(line) => line.len(),
            Self::End => 0,
        }
    }
}

/// Makes a warning of the log about itself.
type Notice = Box<dyn Fn(&str) -> String + Send>;

/// What the writers of lines and the thread share.
struct Shared {
    /// Bytes that wait for the thread.
    waiting: AtomicUsize,
    waiting_max: usize,
    line_max: usize,
    dropped: AtomicU64,
    repeats: Repeats,
    /// Errors go to standard error.
    errors_apart: bool,
}

impl Shared {
    fn new(options: &LogOptions) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            waiting_max: options.queue_bytes_max,
            line_max: options.line_bytes_max,
            dropped: AtomicU64::new(0),
            repeats: Repeats::new(options.repeats_max),
            errors_apart: options.format == LogFormat::Prover,
        }
    }
}

/// Sends every log line of the program to stdout; with the original's format errors to stderr, as it does.
pub fn start(options: LogOptions, prover_id: &str) -> Result<LogGuard, Box<dyn std::error::Error>> {
    let LogOptions { format, json, level, .. } = options;
    let (sender, receiver) = bounded(LINES_MAX);
    let shared = Arc::new(Shared::new(&options));
    let lines = Lines { sender: sender.clone(), shared: Arc::clone(&shared) };
    let subscriber = tracing_subscriber::fmt().with_writer(lines).with_max_level(level).with_ansi(false);
    match (format, json) {
        (LogFormat::Native, false) => {
            let fields = debug_fn(|writer, field, value| match field.name() {
                "message" => write!(writer, "{}", Escaped::message(value)),
                name => write!(writer, "{name}={}", Escaped::value(value)),
            });
            let subscriber = subscriber.fmt_fields(tracing_subscriber::field::MakeExt::delimited(fields, " "));
            tracing::subscriber::set_global_default(subscriber.finish())
        }
        (LogFormat::Native, true) => tracing::subscriber::set_global_default(subscriber.json().finish()),
        (LogFormat::Prover, json) => {
            let format = ProverFormat::new(prover_id, json);
            tracing::subscriber::set_global_default(subscriber.event_format(format).finish())
        }
    }?;
    let notice = notice(format, json, prover_id);
    let (end, ended) = bounded(0);
    std::thread::Builder::new().name("log".to_owned()).spawn(move || {
        write_lines(&receiver, &shared, &notice, &mut io::stdout(), &mut io::stderr());
        drop::<Sender<()>>(end);
    })?;
    Ok(LogGuard { sender, ended })
}

fn notice(format: LogFormat, json: bool, prover_id: &str) -> Notice {
    match (format, json) {
        (LogFormat::Native, false) => Box::new(|text| format!("zkWarning: {text}\n")),
        (LogFormat::Native, true) => Box::new(|text| {
            let mut at = String::new();
            // Writing to a String cannot fail.
            let _ = tracing_subscriber::fmt::time::SystemTime.format_time(&mut Writer::new(&mut at));
            let fields = serde_json::json!({ "message": text });
            let target = module_path!();
            format!("{}\n", serde_json::json!({"timestamp": at, "level": "WARN", "fields": fields, "target": target}))
        }),
        (LogFormat::Prover, json) => {
            let format = ProverFormat::new(prover_id, json);
            Box::new(move |text| format.line(SystemTime::now(), Level::WARN, text))
        }
    }
}

fn write_lines(
    lines: &Receiver<Message>,
    shared: &Shared,
    notice: &Notice,
    out: &mut impl Write,
    errors: &mut impl Write,
) {
    let mut looked_at = Instant::now();
    loop {
        let message = match lines.recv_timeout(REPEATS_INTERVAL) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Message::End),
        };
        let ends = matches!(message, Some(Message::End));
        let lost = shared.dropped.swap(0, Ordering::Relaxed);
        // A closed pipe is no reason to stop serving.
        if lost > 0 {
            let _ = out.write_all(notice(&format!("{lost} log lines dropped")).as_bytes());
        }
        if ends || looked_at.elapsed() >= REPEATS_INTERVAL {
            looked_at = Instant::now();
            for left_out in shared.repeats.take_left_out(ends) {
                let _ = out.write_all(notice(&left_out.to_string()).as_bytes());
            }
        }
        if let Some(message) = message {
            let _ = match &message {
                Message::Line(line) => out.write_all(line),
                Message::ErrorLine(line) => errors.write_all(line),
                Message::End => break,
            };
            shared.waiting.fetch_sub(message.bytes(), Ordering::Relaxed);
        }
        if lines.is_empty() {
            let _ = out.flush();
        }
    }
    let _ = out.flush();
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        // Nobody may be reading what the thread writes.
        let limit = Instant::now() + END_LIMIT;
        if self.sender.send_deadline(Message::End, limit).is_ok() {
            let _ = self.ended.recv_deadline(limit);
        }
    }
}

#[derive(Clone)]
struct Lines {
    sender: Sender<Message>,
    shared: Arc<Shared>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line::new(self, Message::Line, Verdict::Write)
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Line<'a> {
        let apart = self.shared.errors_apart && *meta.level() == Level::ERROR;
        let message = if apart { Message::ErrorLine } else { Message::Line };
        Line::new(self, message, self.shared.repeats.verdict(meta, Instant::now()))
    }
}

/// Collects one line and sends it when complete.
struct Line<'a> {
    lines: &'a Lines,
    message: fn(Vec<u8>) -> Message,
    verdict: Verdict,
    text: Vec<u8>,
    /// Bytes beyond the bound of a line.
    cut: usize,
}

impl<'a> Line<'a> {
    fn new(lines: &'a Lines, message: fn(Vec<u8>) -> Message, verdict: Verdict) -> Self {
        Self { lines, message, verdict, text: Vec::new(), cut: 0 }
    }
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.lines.shared.line_max.saturating_sub(self.text.len());
        let (kept, cut) = bytes.split_at(room.min(bytes.len()));
        self.text.extend_from_slice(kept);
        self.cut += cut.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        let shared = &self.lines.shared;
        let mut text = std::mem::take(&mut self.text);
        if let Verdict::LeaveOut(place) = &self.verdict {
            return shared.repeats.leave_out(place, &text);
        }
        if self.cut > 0 {
            // The bound may have cut a character in two.
            text = String::from_utf8_lossy(&text).into_owned().into_bytes();
            text.extend_from_slice(format!("… ({} bytes more, log.line_kib)\n", self.cut).as_bytes());
        }
        let text = escape_rest(text);
        let length = text.len();
        let waiting = shared.waiting.fetch_add(length, Ordering::Relaxed);
        let full = waiting.saturating_add(length) > shared.waiting_max;
        if full || self.lines.sender.try_send((self.message)(text)).is_err() {
            shared.waiting.fetch_sub(length, Ordering::Relaxed);
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(queue: usize, shared: Shared) -> (Lines, Receiver<Message>) {
        let (sender, receiver) = bounded(queue);
        (Lines { sender, shared: Arc::new(shared) }, receiver)
    }

    fn shared(line_max: usize, waiting_max: usize) -> Shared {
        let options = crate::config::ConfigBuilder::new().unwrap().build().unwrap().log;
        Shared::new(&LogOptions { line_bytes_max: line_max, queue_bytes_max: waiting_max, ..options })
    }

    fn written(lines: Lines, receiver: &Receiver<Message>) -> String {
        let shared = Arc::clone(&lines.shared);
        drop(lines);
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        write_lines(receiver, &shared, &notice(LogFormat::Native, false, ""), &mut out, &mut errors);
        assert_eq!(errors, b"");
        assert_eq!(shared.waiting.load(Ordering::Relaxed), 0);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_written_in_order_and_drops_are_told() {
        let (lines, receiver) = lines(2, shared(100, 1000));
        for text in ["one\n", "two\n", "lost\n"] {
            let _ = lines.make_writer().write_all(text.as_bytes());
        }
        assert_eq!(written(lines, &receiver), "zkWarning: 1 log lines dropped\none\ntwo\n");
    }

    #[test]
    fn bytes_that_wait_have_a_bound() {
        let (lines, receiver) = lines(100, shared(100, 10));
        for text in ["1234\n", "6789\n", "\n", "x\n"] {
            let _ = lines.make_writer().write_all(text.as_bytes());
        }
        assert_eq!(written(lines, &receiver), "zkWarning: 2 log lines dropped\n1234\n6789\n");
    }

    #[test]
    fn a_long_line_is_cut() {
        let (lines, receiver) = lines(2, shared(5, 1000));
        let mut line = lines.make_writer();
        for part in ["1234", "ä", "567\n"] {
            let _ = line.write_all(part.as_bytes());
        }
        drop(line);
        assert_eq!(written(lines, &receiver), "1234\u{fffd}… (5 bytes more, log.line_kib)\n");
    }

    #[test]
    fn warnings_of_the_log_have_the_form_of_its_lines() {
        assert_eq!(notice(LogFormat::Native, false, "")("a"), "zkWarning: a\n");
        let line: serde_json::Value = serde_json::from_str(&notice(LogFormat::Native, true, "")("a \"b\"")).unwrap();
        assert_eq!((&line["level"], &line["fields"]["message"]), (&"WARN".into(), &"a \"b\"".into()));
        assert!(line["timestamp"].as_str().is_some_and(|at| at.ends_with('Z')), "{line}");
        assert!(notice(LogFormat::Prover, false, "0123456789")("a").ends_with(" zkWarning: a\n"));
    }

    /// A pipe that nobody reads: every write blocks.
    #[test]
    fn a_log_that_nobody_reads_keeps_nobody() {
        struct Unread(Receiver<()>);
        impl Write for Unread {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                let _ = self.0.recv();
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (lines, receiver) = lines(1, shared(100, 1000));
        let (_open, never) = bounded::<()>(0);
        let (end, ended) = bounded(0);
        let (shared, sender) = (Arc::clone(&lines.shared), lines.sender.clone());
        std::thread::spawn(move || {
            write_lines(&receiver, &shared, &notice(LogFormat::Native, false, ""), &mut Unread(never), &mut io::sink());
            drop::<Sender<()>>(end);
        });
        let began = Instant::now();
        for _ in 0..10 {
            let _ = lines.make_writer().write_all(b"a line\n");
        }
        assert!(began.elapsed() < END_LIMIT / 2, "writing waited {:?}", began.elapsed());
        drop(LogGuard { sender, ended });
        let took = began.elapsed();
        assert!(took >= END_LIMIT && took < END_LIMIT * 3, "the end took {took:?}");
    }
}
