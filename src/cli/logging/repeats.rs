//! Warnings and errors that one place in the program repeats: some are written, all are counted.
//!
//! A client that sends wrong requests as fast as it can shall not fill the log. A place is a line of the source; of its lines
//! within an interval only the first are written, and a line says how many more there were.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::{Level, Metadata};

/// Length of an interval.
const INTERVAL: Duration = Duration::from_secs(10);
/// Bytes of a line left out that are kept as an example.
const EXAMPLE_BYTES: usize = 200;

/// Counts the lines of every place.
pub(super) struct Repeats {
    /// Lines of a place in an interval that are written; 0 for all.
    lines_max: u64,
    places: Mutex<HashMap<Identifier, Place>>,
}

struct Place {
    since: Instant,
    lines: u64,
    /// One that was left out.
    example: Option<String>,
}

/// What becomes of a line.
pub(super) enum Verdict {
    Write,
    /// It is one too many of its place.
    LeaveOut(Identifier),
}

/// Lines of one place that were left out in an interval.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    lines: u64,
    example: String,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lines, example } = self;
        write!(f, "{lines} lines more left out within {} s (log.repeats), like: {example}", INTERVAL.as_secs())
    }
}

impl Repeats {
    pub(super) fn new(lines_max: u64) -> Self {
        Self { lines_max, places: Mutex::default() }
    }

    /// Counts a line that happens at `now`. Information is never left out: one line per batch is what a log is for.
    pub(super) fn verdict(&self, meta: &Metadata<'_>, now: Instant) -> Verdict {
        if self.lines_max == 0 || *meta.level() > Level::WARN {
            return Verdict::Write;
        }
        let mut places = self.places.lock();
        let place = places.entry(meta.callsite()).or_insert(Place { since: now, lines: 0, example: None });
        place.lines += 1;
        if place.lines <= self.lines_max { Verdict::Write } else { Verdict::LeaveOut(meta.callsite()) }
    }

    /// Keeps the beginning of a line left out, of the first in an interval.
    pub(super) fn leave_out(&self, place: &Identifier, line: &[u8]) {
        let mut places = self.places.lock();
        if let Some(place) = places.get_mut(place)
            && place.example.is_none()
        {
            let head = line.get(..EXAMPLE_BYTES).unwrap_or(line);
            place.example = Some(String::from_utf8_lossy(head).trim_end().to_owned());
        }
    }

    /// Ends the intervals whose time is over, or all of them, and returns what was left out in them.
    pub(super) fn take_left_out(&self, all: bool) -> Vec<LeftOut> {
        let mut left_out = Vec::new();
        self.places.lock().retain(|_, place| {
            let ended = all || place.since.elapsed() >= INTERVAL;
            let lines = place.lines.saturating_sub(self.lines_max);
            if ended && lines > 0 {
                left_out.push(LeftOut { lines, example: place.example.take().unwrap_or_default() });
            }
            !ended
        });
        left_out
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// Leads events to a [`Repeats`].
    struct Judged(Arc<Repeats>, Arc<Mutex<Vec<bool>>>);

    impl<'a> MakeWriter<'a> for Judged {
        type Writer = std::io::Sink;

        fn make_writer(&'a self) -> std::io::Sink {
            std::io::sink()
        }

        fn make_writer_for(&'a self, meta: &Metadata<'_>) -> std::io::Sink {
            let verdict = self.0.verdict(meta, Instant::now());
            if let Verdict::LeaveOut(place) = &verdict {
                self.0.leave_out(place, &[b'x'; 1000]);
            }
            self.1.lock().push(matches!(verdict, Verdict::Write));
            std::io::sink()
        }
    }

    #[test]
    fn repeated_warnings_are_counted_and_information_is_all_written() {
        let (repeats, verdicts) = (Arc::new(Repeats::new(2)), Arc::default());
        let writer = Judged(Arc::clone(&repeats), Arc::clone(&verdicts));
        let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..5 {
                tracing::warn!("again");
                tracing::info!("always");
            }
            tracing::error!("once");
        });
        let written = verdicts.lock().iter().filter(|written| **written).count();
        assert_eq!(written, 2 + 5 + 1);
        assert!(repeats.take_left_out(false).is_empty(), "the interval is not over");
        let left_out = repeats.take_left_out(true);
        assert_eq!(left_out, [LeftOut { lines: 3, example: "x".repeat(EXAMPLE_BYTES) }]);
        assert_eq!(repeats.places.lock().len(), 0);
    }
}
