//! Log lines in zkevm-prover's outer form (executor-service §11.1), for those whose tools look for it.
//!
//! As text `YYYYMMDD_HHMMSS_uuuuuu <pid> <tid> <message>` in UTC, as JSON an object per line. Other than the original's
//! the JSON is escaped, and the text has the tags too, behind the message.

use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::capture::timestamp;
use crate::text::Escaped;

/// Characters of the process' UUID that stand for it.
const PID_CHARACTERS: usize = 7;
/// The last seven hex digits.
const TID_MASK: u64 = 0xfff_ffff;
/// Keys of the form itself; a tag of the same name gets an underscore.
const OWN_KEYS: [&str; 6] = ["level", "ts", "msg", "pid", "tid", "version"];

/// Formats events as the original does.
pub(super) struct ProverFormat {
    pid: String,
    json: bool,
}

impl ProverFormat {
    /// Creates the format for the process with this UUID; `json` for objects instead of text.
    pub(super) fn new(prover_id: &str, json: bool) -> Self {
        Self { pid: prover_id.chars().take(PID_CHARACTERS).collect(), json }
    }

    /// Returns a line, its end included, of the calling thread.
    pub(super) fn line(&self, at: SystemTime, level: Level, message: &str) -> String {
        self.render(at, level, &thread_digits(), &Fields { message: message.to_owned(), tags: Vec::new() })
    }

    fn render(&self, at: SystemTime, level: Level, tid: &str, fields: &Fields) -> String {
        match self.json {
            // Writing texts and numbers to memory cannot fail.
            true => self.json_line(at, level, tid, fields).unwrap_or_default(),
            false => self.text_line(at, level, tid, fields),
        }
    }

    fn text_line(&self, at: SystemTime, level: Level, tid: &str, Fields { message, tags }: &Fields) -> String {
        let prefix = match level {
            Level::ERROR => "zkError: ",
            Level::WARN => "zkWarning: ",
            _ => "",
        };
        let (message, at) = (Escaped::message(&format_args!("{message}")).to_string(), timestamp(at));
        let mut line = format!("{at} {} {tid} {prefix}{message}", self.pid);
        for (name, value) in tags {
            // Writing to a String cannot fail. Texts are quoted, and escaped as JSON is, which leaves some controls.
            let _ = write!(line, " {name}={}", Escaped::value(&format_args!("{value}")));
        }
        line.push('\n');
        line
    }

    fn json_line(&self, at: SystemTime, level: Level, tid: &str, fields: &Fields) -> serde_json::Result<String> {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut line = Vec::new();
        let mut serializer = serde_json::Serializer::new(&mut line);
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("level", &level.as_str().to_ascii_lowercase())?;
        object.serialize_entry("ts", &format!("{}.{:06}", since.as_secs(), since.subsec_micros()))?;
        object.serialize_entry("msg", &fields.message)?;
        object.serialize_entry("pid", &self.pid)?;
        object.serialize_entry("tid", tid)?;
        object.serialize_entry("version", env!("CARGO_PKG_VERSION"))?;
        for (name, value) in &fields.tags {
            match OWN_KEYS.contains(name) {
                true => object.serialize_entry(&format!("{name}_"), value)?,
                false => object.serialize_entry(name, value)?,
            }
        }
        object.end()?;
        line.push(b'\n');
        Ok(String::from_utf8_lossy(&line).into_owned())
    }
}

impl<S, N> FormatEvent<S, N> for ProverFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let tid = thread_digits();
        writer.write_str(&self.render(SystemTime::now(), *event.metadata().level(), &tid, &fields))
    }
}

/// What one event says.
#[derive(Default)]
struct Fields {
    message: String,
    tags: Vec<(&'static str, Value)>,
}

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        self.tags.push((field.name(), value));
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            _ => self.put(field, text.into()),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            _ => self.put(field, value.into()),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
}

/// Returns the digits that stand for the calling thread. Like the original's they tell threads apart, and nothing else.
fn thread_digits() -> String {
    let mut hasher = DefaultHasher::new();
    std::thread::current().id().hash(&mut hasher);
    format!("{:07x}", hasher.finish() & TID_MASK)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line(json: bool, level: Level, message: &str, tags: Vec<(&'static str, Value)>) -> String {
        let at = UNIX_EPOCH + Duration::new(1_700_000_000, 1_234_567);
        let format = ProverFormat::new("0123456789-abc", json);
        format.render(at, level, "00abcde", &Fields { message: message.to_owned(), tags })
    }

    #[test]
    fn text_lines_are_those_of_the_original() {
        for (level, prefix) in [(Level::INFO, ""), (Level::WARN, "zkWarning: "), (Level::ERROR, "zkError: ")] {
            let want = format!("20231114_221320_001234 0123456 00abcde {prefix}hello\n");
            assert_eq!(line(false, level, "hello", Vec::new()), want);
        }
        let tags = vec![("context_id", Value::from("a\n\"b\"")), ("count", Value::from(3))];
        let want = "20231114_221320_001234 0123456 00abcde done context_id=\"a\\n\\\"b\\\"\" count=3\n";
        assert_eq!(line(false, Level::INFO, "done", tags), want);
    }

    #[test]
    fn json_lines_have_the_originals_keys_in_order_and_are_escaped() {
        let tags = vec![("context_id", Value::from("a\"b")), ("count", Value::from(3)), ("level", Value::from("x"))];
        let own = r#"{"level":"warn","ts":"1700000000.001234","msg":"say \"hi\"","pid":"0123456","tid":"00abcde","#;
        let version = concat!(r#""version":""#, env!("CARGO_PKG_VERSION"), r#"","#);
        let want = format!("{own}{version}{}", r#""context_id":"a\"b","count":3,"level_":"x"}"#);
        assert_eq!(line(true, Level::WARN, "say \"hi\"", tags), want + "\n");
    }

    #[test]
    fn events_become_lines_of_their_thread() {
        #[derive(Clone, Default)]
        struct Written(std::sync::Arc<parking_lot::Mutex<Vec<u8>>>);
        impl std::io::Write for Written {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().extend_from_slice(bytes);
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let written = Written::default();
        let out = written.clone();
        let format = ProverFormat::new("0123456789", false);
        let subscriber = tracing_subscriber::fmt().event_format(format).with_writer(move || out.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(context_id = "c", n = 1_u32, up = true, error = %"e", "made {}", "up");
        });
        let text = String::from_utf8_lossy(&written.0.lock()).into_owned();
        let want =
            format!(" 0123456 {} zkWarning: made up context_id=\"c\" n=1 up=true error=\"e\"\n", thread_digits());
        assert_eq!(text.get(22..), Some(want.as_str()), "{text}");
        let other = std::thread::spawn(thread_digits).join();
        assert!(other.is_ok_and(|other| other.len() == 7 && other != thread_digits()));
    }
}
