//! Files of single requests, for later study: request, input, database reads and response (executor-service §11.4).
//!
//! What is to be saved goes through a bounded channel to one thread, which also makes the text: neither a batch nor a call
//! waits for a disk. When the channel is full or the disk refuses, the file is lost, counted and logged, and nothing else
//! happens. Names are `<output path>/<time>_<request id>.<what>`; with subfolders `<output path>/YYYY/MM/DD/HH/…`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

mod file_writer;
mod input;
mod reads;

pub use file_writer::{FileWriter, FileWriterStats};
pub use input::input_json;
pub use reads::{DbReads, Reads, RecordingReader};

use zkevm_types::BatchInput;

use crate::config::FileOptions;

/// Returns the executor-input file of an input, as text.
pub fn input_file(input: &BatchInput) -> Vec<u8> {
    input::text(&input_json(input, None))
}

impl FileOptions {
    /// True when anything is saved.
    pub fn any(&self) -> bool {
        self.requests || self.inputs || self.db_reads || self.db_reads_on_change || self.responses
    }

    /// Returns folder and first part of the names of one request that came now.
    fn prefix(&self, now: SystemTime, request_id: uuid::Uuid) -> PathBuf {
        let time = timestamp(now);
        let mut path = self.output_path.clone();
        if self.subfolders {
            // Year, month, day, hour.
            path.extend([0..4, 4..6, 6..8, 9..11].map(|range| time.get(range).unwrap_or_default()));
        }
        path.join(format!("{time}_{request_id}"))
    }
}

/// Returns a time as the original writes it: `YYYYMMDD_HHMMSS_uuuuuu`, in UTC (executor-service §11.1, §11.4).
pub fn timestamp(at: SystemTime) -> String {
    let micros = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).subsec_micros();
    // `YYYY-MM-DDTHH:MM:SS…`, in UTC.
    let clock = prost_types::Timestamp { nanos: 0, ..prost_types::Timestamp::from(at) }.to_string();
    let part = |range| clock.get(range).unwrap_or_default();
    let (year, month, day) = (part(0..4), part(5..7), part(8..10));
    let (hour, minute, second) = (part(11..13), part(14..16), part(17..19));
    format!("{year}{month}{day}_{hour}{minute}{second}_{micros:06}")
}

/// Longest part of a peer's id in the name of a file: names may have 255 bytes.
const PEER_ID_CHARACTERS_MAX: usize = 100;

/// Returns an id that a peer chose so that it can be part of the name of a file: no separators, not too long.
fn file_part(id: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    id.chars().take(PEER_ID_CHARACTERS_MAX).map(|c| if allowed(c) { c } else { '_' }).collect()
}

/// The files of the messages of the aggregator's stream: `<output path>/<time>_<message id>.aggregator_….txt`, without
/// subfolders (executor-service §11.4).
#[derive(Clone, Debug)]
pub struct StreamFiles {
    file_writer: FileWriter,
}

impl StreamFiles {
    /// Saves what `file_writer` is told to save.
    pub fn new(file_writer: FileWriter) -> Self {
        Self { file_writer }
    }

    /// Saves a message of the aggregator if requests are saved. `encode` is only called then, `text` on the saving thread.
    pub fn request(&self, id: &str, encode: impl FnOnce() -> Vec<u8>, text: fn(&[u8]) -> Vec<u8>) {
        if self.file_writer.options().requests {
            self.save(id, "aggregator_request.txt", encode(), text);
        }
    }

    /// Saves the answer likewise if responses are saved.
    pub fn response(&self, id: &str, encode: impl FnOnce() -> Vec<u8>, text: fn(&[u8]) -> Vec<u8>) {
        if self.file_writer.options().responses {
            self.save(id, "aggregator_response.txt", encode(), text);
        }
    }

    fn save(&self, id: &str, what: &str, encoded: Vec<u8>, text: fn(&[u8]) -> Vec<u8>) {
        let name = format!("{}_{}.{what}", timestamp(SystemTime::now()), file_part(id));
        let path = self.file_writer.options().output_path.join(name);
        self.file_writer.save(path, encoded.len(), move || text(&encoded));
    }
}

/// The files of one request.
#[derive(Clone, Debug)]
pub struct RequestFiles {
    file_writer: FileWriter,
    prefix: PathBuf,
}

impl RequestFiles {
    /// Names the files of a request that came now; `None` when nothing is saved.
    pub fn new(file_writer: &FileWriter) -> Option<Self> {
        let prefix = file_writer
            .options()
            .any()
            .then(|| file_writer.options().prefix(SystemTime::now(), uuid::Uuid::new_v4()))?;
        Some(Self { file_writer: file_writer.clone(), prefix })
    }

    /// Saves the request, given as text made by `text` out of about `bytes` bytes.
    pub fn request(&self, bytes: usize, text: impl FnOnce() -> Vec<u8> + Send + 'static) {
        self.file_writer.save(self.path("executor_request.txt"), bytes, text);
    }

    /// Saves the response likewise.
    pub fn response(&self, bytes: usize, text: impl FnOnce() -> Vec<u8> + Send + 'static) {
        self.file_writer.save(self.path("executor_response.txt"), bytes, text);
    }

    /// True when requests are saved.
    pub fn wants_request(&self) -> bool {
        self.file_writer.options().requests
    }

    /// True when responses are saved.
    pub fn wants_response(&self) -> bool {
        self.file_writer.options().responses
    }

    /// Saves the input if inputs are saved.
    pub fn input(&self, input: &BatchInput) {
        if self.file_writer.options().inputs {
            let path = self.path(&format!("{}.process_batch_input.json", input.old_batch_num));
            let input = input.clone();
            self.file_writer.save(path, input::estimated_bytes(&input), move || input_file(&input));
        }
    }

    /// Starts to note what `input` reads, if that is saved.
    pub fn db_reads(&self, input: &BatchInput) -> Option<DbReads> {
        let options = self.file_writer.options();
        (options.db_reads || options.db_reads_on_change).then(|| {
            let path = self.path(&format!("{}.process_batch_input_db.json", input.old_batch_num));
            DbReads::new(self.file_writer.clone(), path, input.clone(), options.db_reads_on_change)
        })
    }

    fn path(&self, what: &str) -> PathBuf {
        let mut name = self.prefix.as_os_str().to_owned();
        name.push(".");
        name.push(what);
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ConfigBuilder;

    #[test]
    fn the_id_of_a_peer_leaves_the_folder_alone() {
        assert_eq!(file_part("7d3f-a_1"), "7d3f-a_1");
        assert_eq!(file_part("../../etc/pass\0\\ä"), "______etc_pass___");
        assert_eq!(file_part(&"x".repeat(1 << 20)).len(), PEER_ID_CHARACTERS_MAX);
    }

    #[test]
    fn names_are_those_of_the_original() {
        let at = UNIX_EPOCH + Duration::new(1_700_000_000, 1_234_567);
        let id = uuid::Uuid::nil();
        let mut options = ConfigBuilder::new().unwrap().build().unwrap().files;
        let name = "20231114_221320_001234_00000000-0000-0000-0000-000000000000";
        assert_eq!(options.prefix(at, id), PathBuf::from(format!("output/{name}")));
        options.subfolders = true;
        assert_eq!(options.prefix(at, id), PathBuf::from(format!("output/2023/11/14/22/{name}")));
    }
}
